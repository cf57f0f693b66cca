/* wants.c - what each state asks of the others, in every step, until the facts show it. */
#include "core/inner.h"

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

/* Whoever is asked again keeps its promise fresh: for a heartbeat it encourages nobody else. Else
 * candidates on slow hosts would beat each other for ever, each while it waits for its logs. It
 * lasts as long as the attempt does, and a candidate that died is forgotten within a heartbeat. */
static void want_promises_kept(struct core *c, uint16_t slots)
{
    struct msg m = { .type = MSG_PREPARE, .seq = c->attempt_seq, .ballot = c->mine };

    if (!has_own_promise(c) || c->now_ms >= c->attempt_until_ms || !core_due(c, c->keep_at_ms))
        return;
    c->keep_at_ms = c->now_ms + core_heartbeat_ms(c) / 2;
    (void)core_due(c, c->keep_at_ms);
    core_ask_own_voter(c, &m);
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (slot != c->self && (slots & core_slot_bit(slot)) != 0) {
            m = (struct msg){ .type = MSG_PREPARE, .seq = c->attempt_seq, .ballot = c->mine };
            core_send_to(c, slot, &m);
        }
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

/* The disk of a voter that accepts only now was slower than those of a majority: the RENEW that
 * went out with their answers came too early for it, and it follows only on one (R6). */
void core_renew_for(struct core *c, const struct msg *accepted)
{
    if (c->state == ST_HOLDER && accepted->version == c->chosen_version &&
        ballot_compare(&accepted->ballot, &c->standing_ballot) == 0)
        c->renew_at_ms = c->now_ms;
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
        core_release(c, &c->lost);
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
        want_promises_kept(c, c->granted);
        break;
    case ST_FREEZE:
        want_frozen_logs(c);
        want_promises_kept(c, record_electorate(core_base(c)));
        break;
    case ST_RESCUE:
        want_promises_kept(c, record_electorate(core_base(c)));
        break;
    case ST_YIELD:
        want_yield(c);
        break;
    case ST_ACCEPT:
        want_acceptances(c);
        if (!has_own_acceptance(c)) /* it is being written: nobody else has been asked yet */
            want_promises_kept(c, record_electorate(core_base(c)));
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
