/* wants.c - what each state asks of the others, in every step, until the facts show it. */
#include "core/inner.h"

#include <string.h>

/* An attempt is given up when it had time for a few rounds and a slow disk. */
#define ATTEMPT_HEARTBEATS 4
#define FETCH_HEARTBEATS 40

/* --- entering a state ---------------------------------------------------------------------------
 */

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
                     before == ST_FETCH || before == ST_RESCUE || before == ST_ACCEPT;

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
        c->moves[c->moves_n - 1].rule == RULE_BEHIND)
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
                        "the named member is not heard any more: the primary goes on");
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
    if (before == ST_ACCEPT && c->alerted_epoch != core_known(c)->epoch) {
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

/* Nothing that was granted counts from here on, and no ballot up to this one is used again (R5). */
static void release(struct core *c, const struct ballot *ballot)
{
    c->released = *ballot;
    c->release_until_ms = c->now_ms + core_ttl_ms(c);
    c->release_at_ms = c->now_ms;
    c->lost.counter = 0;
    forget_lease(c);
}

static void enter_released(struct core *c)
{
    release(c, &c->mine);
    c->released_at_ms = c->now_ms;
    c->released_epoch = core_known(c)->epoch;
    clear_votes(c);
}

void core_enter(struct core *c, enum core_state s)
{
    enum core_state before = c->state;

    c->state = s;
    c->since_ms = c->now_ms;
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

/* --- asking the voters
 * ---------------------------------------------------------------------------- */

static bool is_time_to_ask(struct core *c, uint8_t slot)
{
    if (!core_due(c, c->ask_at_ms[slot]))
        return false;
    c->ask_at_ms[slot] = c->now_ms + core_jitter(c, 0);
    (void)core_due(c, c->ask_at_ms[slot]);
    return true;
}

/* Every transmission of ACCEPT has a seq of its own (R2). */
static struct msg make_request(struct core *c, enum msg_type type)
{
    struct msg m = { .type = type, .seq = c->attempt_seq, .ballot = c->mine };

    if (type == MSG_ACCEPT) {
        m.version = c->draft.version;
        m.ttl_ms = c->draft.ttl_ms;
        m.record = &c->draft;
        m.seq = core_next_seq(c, &m.ballot, m.ttl_ms);
    }
    return m;
}

/* Puts a request to every slot of `slots` that has not answered and whose turn it is. */
static void ask_slots(struct core *c, uint16_t slots, enum msg_type type)
{
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct msg m;

        if ((slots & core_slot_bit(slot)) == 0 || slot == c->self)
            continue;
        if (((c->granted | c->refused) & core_slot_bit(slot)) != 0 || !is_time_to_ask(c, slot))
            continue;
        m = make_request(c, type);
        core_send_to(c, slot, &m);
    }
}

static void ask_self(struct core *c, enum msg_type type)
{
    struct msg m;

    if ((c->granted & core_slot_bit(c->self)) != 0 || c->voter.is_writing ||
        !is_time_to_ask(c, c->self))
        return;
    m = make_request(c, type);
    core_ask_own_voter(c, &m);
}

static bool has_own_promise(const struct core *c)
{
    return ballot_compare(&c->voter.durable.promised, &c->mine) == 0;
}

static bool has_own_acceptance(const struct core *c)
{
    return record_order(&c->voter.durable.accepted, c->voter.durable.record.version, &c->mine,
                        c->draft.version) == 0;
}

static void want_prevotes(struct core *c)
{
    ask_self(c, MSG_PREVOTE);
    ask_slots(c, record_electorate(core_known(c)), MSG_PREVOTE);
}

/* R4: the own voter has promised on disk before anybody else is asked. */
static void want_promises(struct core *c)
{
    if ((c->granted & core_slot_bit(c->self)) == 0)
        ask_self(c, MSG_PREPARE);
    if (has_own_promise(c))
        ask_slots(c, record_electorate(core_base(c)), MSG_PREPARE);
}

static void want_frozen_logs(struct core *c)
{
    struct msg own = { .type = MSG_FREEZE, .ballot = c->mine };

    if (c->answers[c->self].is_there && !core_own_answer_stands(c)) {
        c->answers[c->self].is_there = false; /* it answers anew, with what it has now */
        c->granted &= (uint16_t)~core_slot_bit(c->self);
    }
    if (!c->answers[c->self].is_there && !c->voter.is_writing && is_time_to_ask(c, c->self))
        core_ask_own_voter(c, &own);
    ask_slots(c, record_db_members(core_base(c)), MSG_FREEZE);
}

static void want_yield(struct core *c)
{
    struct msg m = { .type = MSG_YIELD, .ballot = c->mine, .at = c->yield_at };

    if (is_time_to_ask(c, c->yield_to))
        core_send_to(c, c->yield_to, &m);
}

/* R4: the own voter has accepted it. And a holder sends a version without the pause only when the
 * fence shows a deadline; from then on the pause is not in force. */
static bool may_draft_leave(struct core *c)
{
    bool is_resume = c->is_paused && !c->draft.is_paused;

    if (!has_own_acceptance(c) ||
        (is_resume && c->state == ST_HOLDER_CHANGE && c->copy.fence != FENCE_LEASE))
        return false;
    c->is_paused = c->is_paused && c->draft.is_paused;
    return true;
}

static void want_acceptances(struct core *c)
{
    if (!has_own_acceptance(c) || (c->granted & core_slot_bit(c->self)) == 0)
        ask_self(c, MSG_ACCEPT);
    if (may_draft_leave(c))
        ask_slots(c, record_electorate(&c->draft), MSG_ACCEPT);
}

/* --- renewing
 * --------------------------------------------------------------------------------------- */

static void send_record(struct core *c, uint8_t slot)
{
    struct msg m = { .type = MSG_ACCEPT, .ballot = c->standing_ballot };

    m.version = core_known(c)->version;
    m.ttl_ms = core_ttl_ms(c);
    m.record = core_known(c);
    m.seq = core_next_seq(c, &m.ballot, m.ttl_ms);
    core_send_to(c, slot, &m);
}

/* A copy that cannot be seen to be fenced is not waited for: without a lease the helper stops it by
 * its own deadline, and the others take over. */
static bool gives_away_too_long(struct core *c)
{
    hm_ms limit_ms = 4 * core_ttl_ms(c);

    if (core_known(c)->switchover.phase != SWITCH_NONE)
        limit_ms += CORE_STOP_HEARTBEATS * core_heartbeat_ms(c);
    return c->state == ST_HANDOVER && core_due(c, c->since_ms + limit_ms);
}

/* A holder whose fence does not answer, or whose deadline has passed, lets its lease run out. */
static bool may_renew(struct core *c)
{
    return !gives_away_too_long(c) && c->now_ms < c->valid_until_ms &&
           (core_fence_answers(c) || c->is_paused);
}

/* One transmission to all, the own voter included: the same moment, the same seq. */
static void send_everywhere(struct core *c, uint16_t electorate, const struct msg *request)
{
    struct msg m = *request;

    core_ask_own_voter(c, &m);
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (slot != c->self && (electorate & core_slot_bit(slot)) != 0) {
            m = *request;
            core_send_to(c, slot, &m);
        }
}

/* A change on its way renews by itself: those who have it answer again without writing. RENEW is
 * for records that a majority accepted. */
static void want_renewals(struct core *c)
{
    struct msg m = { .type = MSG_RENEW, .ballot = c->standing_ballot };

    if (!may_renew(c) || !core_due(c, c->renew_at_ms))
        return;
    c->renew_at_ms = c->now_ms + core_heartbeat_ms(c);
    (void)core_due(c, c->renew_at_ms);
    if (c->state == ST_HOLDER_CHANGE && may_draft_leave(c))
        m = make_request(c, MSG_ACCEPT);
    else {
        m.version = c->chosen_version;
        m.ttl_ms = core_ttl_ms(c);
        m.seq = core_next_seq(c, &m.ballot, m.ttl_ms);
    }
    send_everywhere(c, record_electorate(core_known(c)), &m);
}

static void want_lagging_up(struct core *c)
{
    uint16_t lagging = c->lagging;

    c->lagging = 0;
    if (c->state != ST_HOLDER || !may_renew(c))
        return;
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if ((lagging & core_slot_bit(slot)) != 0)
            send_record(c, slot);
}

/* Its lease ran out here, but a holder that hears nobody may have been heard until then, and the
 * voters count from what they heard. Once its copy can acknowledge nothing it gives them back what
 * is left. It does not stand back as after a handover (R9): it is the first to go on if it is heard
 * again before another took over. One that hears a majority wins its lease back at once instead. */
static void want_lost_lease_given_up(struct core *c)
{
    if (c->lost.counter != 0 && !core_sees_majority(c) && guard_is_fenced(c))
        release(c, &c->lost);
}

/* RELEASE may be lost; it is repeated while the lease could still stand in somebody's way. */
static void want_release(struct core *c)
{
    const struct msg m = { .type = MSG_RELEASE, .ballot = c->released };

    if (c->now_ms >= c->release_until_ms || !core_due(c, c->release_at_ms))
        return;
    c->release_at_ms = c->now_ms + core_jitter(c, 0);
    (void)core_due(c, c->release_at_ms);
    send_everywhere(c, record_electorate(core_known(c)), &m);
}

/* --- gossip
 * ----------------------------------------------------------------------------------------- */

static void gossip_to(struct core *c, uint16_t slots)
{
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct msg m = { .type = MSG_GOSSIP };

        if (slot != c->self && (slots & core_slot_bit(slot)) != 0)
            core_send_to(c, slot, &m);
    }
}

/* The holder's renewals carry its gossip, and the answers to them go back to it; what is left is
 * to tell the others. */
static void want_gossip(struct core *c)
{
    uint16_t slots = record_electorate(core_known(c));

    if (c->self == HM_NOBODY || !core_due(c, c->gossip_at_ms))
        return;
    c->gossip_at_ms = c->now_ms + core_heartbeat_ms(c);
    (void)core_due(c, c->gossip_at_ms);
    if (core_is_holder_state(c->state))
        return;
    if (c->voter.lease.member < HM_MEMBERS_MAX && guard_holder_is_heard(c))
        slots &= (uint16_t)~core_slot_bit(c->voter.lease.member);
    gossip_to(c, slots);
}

static void want_record(struct core *c)
{
    uint16_t slots = record_electorate(c->draft.epoch != 0 ? &c->draft : &c->config.first);

    if (!core_due(c, c->gossip_at_ms))
        return;
    c->gossip_at_ms = c->now_ms + core_heartbeat_ms(c);
    (void)core_due(c, c->gossip_at_ms);
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct msg m = { .type = MSG_QUERY };

        if ((slots & core_slot_bit(slot)) != 0)
            core_send_to(c, slot, &m);
    }
}

static void want_repointed(struct core *c)
{
    uint8_t holder = core_followed_holder(c);
    struct core_effect *e;

    if (holder == HM_NOBODY || c->config.role != ROLE_DB ||
        (c->repointed_epoch == core_known(c)->epoch && c->repointed_to == holder))
        return;
    c->repointed_epoch = core_known(c)->epoch;
    c->repointed_to = holder;
    e = core_ask(c, DO_REPOINT);
    e->repoint.member = holder;
    e->repoint.epoch = core_known(c)->epoch;
}

/* --- the door
 * --------------------------------------------------------------------------------------- */

static void want_of_state(struct core *c)
{
    switch (c->state) {
    case ST_PREVOTE:
        want_prevotes(c);
        break;
    case ST_PREPARE:
        want_promises(c);
        break;
    case ST_FREEZE:
        want_frozen_logs(c);
        break;
    case ST_RESCUE:
        core_want_promises_kept(c);
        break;
    case ST_YIELD:
        want_yield(c);
        break;
    case ST_ACCEPT:
        want_acceptances(c);
        break;
    case ST_HOLDER:
    case ST_HANDOVER:
        want_renewals(c);
        want_lagging_up(c);
        break;
    case ST_HOLDER_PREPARE:
        want_renewals(c);
        want_promises(c);
        break;
    case ST_HOLDER_CHANGE:
        want_renewals(c);
        want_acceptances(c);
        break;
    case ST_OBSERVING:
        want_record(c);
        break;
    case ST_START:
    case ST_BLANK:
    case ST_STOPPED:
    case ST_VOTING:
    case ST_OUTSIDE:
    case ST_FOLLOWING:
    case ST_STANDING:
    case ST_FETCH:
    case ST_RELEASED:
    case CORE_STATES_N:
        break;
    }
}

/* Not beside an ACCEPT: until then nothing of a higher ballot has left (R5). */
static void want_nothing_kept(struct core *c)
{
    if (c->state != ST_RELEASED && c->state != ST_STANDING && c->state != ST_PREVOTE &&
        c->state != ST_PREPARE)
        return;
    want_lost_lease_given_up(c);
    want_release(c);
}

void core_want(struct core *c)
{
    want_nothing_kept(c);
    want_of_state(c);
    core_want_copy(c);
    core_follow_order(c);
    want_repointed(c);
    if (c->state != ST_BLANK && c->state != ST_STOPPED && c->state != ST_OBSERVING &&
        c->state != ST_OUTSIDE)
        want_gossip(c);
}
