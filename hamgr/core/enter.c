/* enter.c - what begins with each state: the attempt, its votes and its time. */
#include "core/inner.h"

#include <string.h>

/* An attempt is given up when it had time for a few rounds and a slow disk. */
#define ATTEMPT_HEARTBEATS 4
#define FETCH_HEARTBEATS 40

static void clear_votes(struct core *c)
{
    c->granted = 0;
    c->refused = 0;
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        c->ask_at_ms[slot] = c->now_ms;
}

static void forget_lease(struct core *c)
{
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        c->acked_sent_ms[slot] = HM_PAST;
        c->acked_newest_ms[slot] = HM_PAST;
        c->acked_until_ms[slot] = HM_PAST;
    }
    c->valid_until_ms = HM_PAST;
    memset(c->sent, 0, sizeof c->sent);
}

static void new_ballot(struct core *c)
{
    c->mine.counter = ++c->top_counter;
    c->mine.incarnation = c->config.incarnation;
    c->mine.member = c->self;
    c->is_beaten = false;
}

/* Every phase has time for a few rounds; more after it was too little. */
static void begin_phase(struct core *c)
{
    hm_ms heartbeats = ATTEMPT_HEARTBEATS << hm_min_ms(c->failures / 2, 2);

    c->attempt_until_ms = c->now_ms + heartbeats * core_heartbeat_ms(c);
}

static void begin_attempt(struct core *c)
{
    new_ballot(c);
    clear_votes(c);
    c->not_empty = 0;
    c->adopted.epoch = 0;
    /* Before the first record a slot is whoever answers now: a replaced disk is another member. */
    if (core_known(c)->epoch == 0)
        memset(c->incarnations, 0, sizeof c->incarnations);
    memset(c->heard, 0, sizeof c->heard);
    c->attempt_seq = (uint32_t)prng_next(&c->prng);
    begin_phase(c);
}

/* Back from an attempt, or from a lease: wait a little longer every time. */
static void enter_standing(struct core *c, enum core_state before)
{
    bool is_deferring = before == ST_PREVOTE && c->moves[c->moves_n - 1].rule == RULE_DEFER;
    bool is_failed = before == ST_PREVOTE || before == ST_PREPARE || before == ST_FREEZE ||
                     before == ST_YIELD || before == ST_FETCH || before == ST_RESCUE ||
                     before == ST_ACCEPT;

    if (c->order.kind == ORDER_FORCE)
        core_drop_order(c, HM_TIMED_OUT, "the own voter could not accept it in time");
    if (core_is_holder_state(before)) {
        core_alert(c, ALERT_LOST_LEASE, core_known(c)->epoch);
        if (core_known(c)->holder == c->self) /* R4: no ACCEPT or RENEW of a higher one has left */
            c->lost = c->voter.durable.accepted;
    }
    c->stand_at_ms = c->now_ms;
    if (is_deferring) {
        c->has_deferred = true;
        return;
    }
    if (!is_failed) {
        c->lease_end_ms = c->now_ms;
        c->failures = 0;
        c->has_deferred = false;
        return;
    }
    c->stand_at_ms += core_jitter(c, c->failures);
    if (c->moves[c->moves_n - 1].rule == RULE_FORBIDDEN ||
        c->moves[c->moves_n - 1].rule == RULE_BEHIND ||
        c->moves[c->moves_n - 1].rule == RULE_ONLY_HOLDER)
        c->stand_at_ms += 2 * core_ttl_ms(c); /* whoever may go on is not to be disturbed */
    if (c->failures < 8)
        c->failures++;
    c->is_yielded_to = false;
}

static void enter_freeze(struct core *c)
{
    clear_votes(c);
    memset(c->answers, 0, sizeof c->answers);
    begin_phase(c);
    c->attempt_until_ms += c->config.freeze_timeout_ms;
}

static void enter_accept(struct core *c, enum core_state before)
{
    if (c->order.kind == ORDER_FORCE) {
        new_ballot(c); /* the draft is made: core_force_build() */
    } else {
        if (before == ST_RESCUE)
            core_end_rescue(c);
        core_takeover_build(c);
    }
    clear_votes(c);
    forget_lease(c);
    begin_phase(c);
}

/* Told when it begins: from here on the primary acknowledges alone, and nobody may take over. */
static void note_alone(struct core *c)
{
    const struct record *r = core_known(c);
    bool is_alone = r->goal != DURABILITY_ASYNC && r->pairs_n == 1 && pair_is_alone(&r->pairs[0]);

    if (is_alone && !c->is_alone)
        core_alert(c, ALERT_ALONE, r->epoch);
    c->is_alone = is_alone;
}

/* Why the order under way comes to nothing. */
static void end_order(struct core *c, enum core_state before)
{
    if (before == ST_HANDOVER && c->order.kind == ORDER_SWITCHOVER)
        core_drop_order(c, HM_FAILED,
                        c->moves[c->moves_n - 1].rule == RULE_NOT_GIVEN
                            ? "the named member could not be given everything: the primary goes "
                              "on, and its log says why"
                            : "the named member is not heard any more: the primary goes on");
    else if (before == ST_HOLDER_CHANGE && c->has_write_failed && c->order.kind != ORDER_NONE &&
             c->draft.last_order == c->order.id && core_known(c)->last_order != c->order.id)
        core_drop_order(c, HM_FAILED,
                        "the primary's hamgrd cannot write its vote: look at the disk of its "
                        "state_dir");
}

static void enter_holder(struct core *c, enum core_state before)
{
    end_order(c, before);
    c->is_chosen = true;
    c->adopted.epoch = 0; /* served its purpose: the record that runs is the known one */
    c->standing_ballot = c->mine;
    c->chosen_version = core_known(c)->version;
    c->failures = 0;
    if (before == ST_HANDOVER ||
        (c->released_at_ms != HM_PAST && c->released_epoch == core_known(c)->epoch)) {
        c->must_raise = true;
        c->regained_ms = c->now_ms;
    }
    c->released_at_ms = HM_PAST;
    c->lost.counter = 0;
    c->is_yielded_to = false;
    c->renewed.is_there = false;
    c->is_paused = core_known(c)->is_paused;
    c->valid_until_ms = core_lease_until(c, HM_PAST);
    c->had_lease = true;
    c->renew_at_ms = c->now_ms; /* the others follow on a RENEW, not on the ACCEPT (R6) */
    c->lagging = 0;
    note_alone(c);
    if (c->copy.state == COPY_SUSPENDED)
        core_take_stall(c); /* it thaws after a full round that began as the holder */
    if ((before == ST_ACCEPT || before == ST_HOLDER_CHANGE) &&
        c->alerted_epoch != core_known(c)->epoch) {
        core_alert(c, ALERT_NEW_PRIMARY, core_known(c)->epoch);
        c->alerted_epoch = core_known(c)->epoch;
    }
}

static void enter_holder_change(struct core *c, enum core_state before)
{
    if (before == ST_HOLDER_PREPARE) {
        c->draft = *core_base(c);
        c->draft.version++;
    } else {
        core_change_build(c, core_change_wanted(c));
    }
    c->has_write_failed = false;
    clear_votes(c);
}

void core_release(struct core *c, const struct ballot *ballot)
{
    c->released = *ballot;
    c->release_until_ms = c->now_ms + core_ttl_ms(c);
    c->release_at_ms = c->now_ms;
    c->lost.counter = 0;
    forget_lease(c);
}

static void enter_released(struct core *c)
{
    core_release(c, &c->mine);
    c->released_at_ms = c->now_ms;
    c->released_epoch = core_known(c)->epoch;
    clear_votes(c);
}

void core_enter(struct core *c, enum core_state s)
{
    enum core_state before = c->state;

    c->state = s;
    c->since_ms = c->now_ms;
    c->keep_at_ms = c->now_ms + core_heartbeat_ms(c) / 2;
    if (s == ST_STANDING)
        enter_standing(c, before);
    else if (s == ST_PREVOTE || s == ST_HOLDER_PREPARE)
        begin_attempt(c);
    else if (s == ST_PREPARE) {
        clear_votes(c);
        begin_phase(c);
    } else if (s == ST_FREEZE)
        enter_freeze(c);
    else if (s == ST_YIELD) {
        c->yield_to = core_longer_log(c);
        c->yield_at = c->answers[c->yield_to].at;
        c->attempt_until_ms = c->now_ms + 2 * core_ttl_ms(c);
        clear_votes(c);
    } else if (s == ST_RESCUE)
        core_begin_rescue(c);
    else if (s == ST_FETCH)
        c->attempt_until_ms = c->now_ms + FETCH_HEARTBEATS * core_heartbeat_ms(c);
    else if (s == ST_ACCEPT)
        enter_accept(c, before);
    else if (s == ST_HOLDER)
        enter_holder(c, before);
    else if (s == ST_HOLDER_CHANGE)
        enter_holder_change(c, before);
    else if (s == ST_RELEASED)
        enter_released(c);
    else if (s == ST_STOPPED)
        core_alert(c, ALERT_STOPPED, core_known(c)->epoch);
    if (core_is_holder_state(s) && s != ST_HOLDER)
        c->is_chosen = false;
    if (s == ST_FOLLOWING)
        c->failures = 0;
    if (s == ST_FOLLOWING || s == ST_STANDING)
        c->adopted.epoch = 0; /* of an attempt that is over: its members may be gone */
}
