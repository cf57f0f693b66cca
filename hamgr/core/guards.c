/* guards.c - the conditions of the decision table. */
#include "core/inner.h"

#define SETTLE_HEARTBEATS 2 /* a link that was cut is back within these */

bool guard_always(struct core *c)
{
    (void)c;
    return true;
}

/* --- what the member is --------------------------------------------------------------------- */

bool guard_cluster_is_newer(struct core *c)
{
    return c->is_outdated;
}

bool guard_voter_is_blank(struct core *c)
{
    return c->voter.is_blank && !c->is_outdated && c->config.role != ROLE_OBSERVER;
}

bool guard_is_member(struct core *c)
{
    return c->self != HM_NOBODY && !c->is_removed;
}

bool guard_is_no_member(struct core *c)
{
    return !guard_is_member(c) && !guard_voter_is_blank(c) && !c->is_outdated &&
           c->config.role != ROLE_OBSERVER;
}

bool guard_is_observer(struct core *c)
{
    return c->config.role == ROLE_OBSERVER;
}

bool guard_is_witness(struct core *c)
{
    return c->config.role == ROLE_WITNESS;
}

/* --- following ------------------------------------------------------------------------------ */

/* A change of the record that is being written grants a lease as soon as it is on disk. */
static bool is_accepting_from_another(const struct core *c)
{
    return c->voter.is_writing && c->voter.request.type == MSG_ACCEPT &&
           c->voter.request.from != c->self;
}

bool guard_lease_has_ended(struct core *c)
{
    return core_due(c, voter_lease_end(&c->voter, c->self)) && !is_accepting_from_another(c);
}

bool guard_holder_is_heard(struct core *c)
{
    return voter_has_lease_of_another(&c->voter, c->self, c->now_ms);
}

/* --- standing: may it take over, and when ---------------------------------------------------- */

/* R9: until another epoch, or well for stall_timeout, or nobody took over for twice the ttl. */
bool guard_stands_back(struct core *c)
{
    hm_ms healthy_ms = c->view.healthy_since_ms;

    if (c->released_at_ms == HM_PAST)
        return false;
    if (core_due(c, c->released_at_ms + 2 * core_ttl_ms(c)))
        return false;
    if (!core_is_holder_copy(c, core_known(c)) && !core_copy_is_fit(c, core_known(c)))
        return true; /* well or not, it could not lead */
    return healthy_ms == HM_NEVER || !core_due(c, healthy_ms + c->config.stall_timeout_ms);
}

bool guard_is_paused_for_others(struct core *c)
{
    return core_known(c)->is_paused && !core_is_named_holder(c, core_known(c));
}

bool guard_is_not_to_stand(struct core *c)
{
    return core_is_barred(c) && !core_is_holder_copy(c, core_known(c)) &&
           !core_is_kept(c, core_known(c));
}

/* Without the helper nothing would stop a primary whose lease ran out. */
bool guard_fence_is_silent(struct core *c)
{
    return c->has_copy && !core_fence_answers(c) && !core_is_pause_in_force(c);
}

bool guard_copy_cannot_lead(struct core *c)
{
    return !core_is_holder_copy(c, core_known(c)) && !core_copy_is_fit(c, core_known(c)) &&
           !core_is_named_holder(c, core_known(c)) && !core_is_kept(c, core_known(c));
}

bool guard_copy_is_behind(struct core *c)
{
    return core_copy_lags(c, core_known(c)) && !core_is_kept(c, core_known(c));
}

bool guard_acknowledged_alone(struct core *c)
{
    return core_pairs_forbid(c, core_known(c)) && !core_is_kept(c, core_known(c));
}

/* The holder that the voter itself accepted need not wait for its own quarantine. */
bool guard_voter_is_in_quarantine(struct core *c)
{
    return !(core_has_record(c) && core_known(c)->holder == c->self) &&
           !core_due(c, voter_quarantine_end(&c->voter));
}

/* A switchover names its successor; the others leave it two ttls. Who gave the lease away for it
 * has stood back as long already. */
bool guard_another_is_named(struct core *c)
{
    const struct switchover *s = &core_known(c)->switchover;
    hm_ms since_ms = c->released_at_ms != HM_PAST ? c->released_at_ms : c->since_ms;

    return s->phase != SWITCH_NONE && s->to != c->self &&
           !core_due(c, since_ms + 2 * core_ttl_ms(c));
}

/* Whoever was cut off itself cannot know whether the holder is lost or was cut off with it: the
 * holder, whose copy is only suspended, gets the time to be heard again, and needs a thaw only. */
static bool has_settled(struct core *c)
{
    hm_ms settled_ms = c->majority_since_ms == HM_NEVER
                           ? HM_NEVER
                           : c->majority_since_ms + SETTLE_HEARTBEATS * core_heartbeat_ms(c);

    return core_is_holder_copy(c, core_known(c)) || c->is_yielded_to ||
           core_due(c, hm_min_ms(settled_ms, c->lease_end_ms + core_ttl_ms(c)));
}

bool guard_turn_has_come(struct core *c)
{
    uint8_t rank;

    /* It could hold its epoch, but not lead: anybody who can goes first. */
    if (core_is_named_holder(c, core_known(c)) && !core_is_holder_copy(c, core_known(c)) &&
        !core_copy_is_fit(c, core_known(c)) && !core_due(c, c->since_ms + 2 * core_ttl_ms(c)))
        return false;
    if (!has_settled(c))
        return false;
    if (core_is_first_in_line(c, &rank))
        return core_due(c, c->stand_at_ms);
    return core_due(c, hm_max_ms(c->stand_at_ms, c->since_ms + rank * core_heartbeat_ms(c) / 2));
}

bool guard_may_not_stand(struct core *c)
{
    return guard_is_paused_for_others(c) || guard_is_not_to_stand(c) || guard_fence_is_silent(c) ||
           guard_copy_cannot_lead(c) || guard_copy_is_behind(c) || guard_acknowledged_alone(c);
}

/* --- the attempt ---------------------------------------------------------------------------- */

/* The first record needs every voter, each of them empty. */
static bool has_votes(const struct core *c, const struct record *r)
{
    uint16_t yes = core_votes(c, r);

    if (core_base(c)->epoch == 0)
        return c->not_empty == 0 && (yes & record_electorate(r)) == record_electorate(r);
    return record_is_majority(r, yes);
}

/* The prevotes brought news of a member that was silent when this one stood up: its suspended
 * copy, or its longer log. Once for each time that a lease ended. */
bool guard_another_goes_first(struct core *c)
{
    uint8_t rank;

    return !c->has_deferred && guard_majority_prevoted(c) && !core_is_first_in_line(c, &rank);
}

/* What the own voter is writing may be a record with other voters. It could not promise meanwhile
 * anyway. */
bool guard_majority_prevoted(struct core *c)
{
    return !c->voter.is_writing && has_votes(c, core_known(c));
}

bool guard_attempt_is_old(struct core *c)
{
    return core_due(c, c->attempt_until_ms);
}

bool guard_is_beaten(struct core *c)
{
    return c->is_beaten;
}

bool guard_majority_promised(struct core *c)
{
    return (c->granted & core_slot_bit(c->self)) != 0 && has_votes(c, core_base(c));
}

bool guard_promised_and_first(struct core *c)
{
    return guard_majority_promised(c) && core_base(c)->epoch == 0;
}

bool guard_promised_and_own(struct core *c)
{
    return guard_majority_promised(c) &&
           (core_is_holder_copy(c, core_base(c)) || core_is_named_holder(c, core_base(c)));
}

bool guard_promised_and_forbidden(struct core *c)
{
    const struct record *r = core_base(c);

    return guard_majority_promised(c) &&
           (r->is_paused || r->member[c->self].incarnation != c->config.incarnation ||
            (!core_is_kept(c, r) &&
             (!core_copy_is_fit(c, r) || core_copy_lags(c, r) || core_pairs_forbid(c, r))));
}

bool guard_promised_and_anothers(struct core *c)
{
    return guard_majority_promised(c) && core_base(c)->holder != c->self;
}

bool guard_another_is_ahead(struct core *c)
{
    return core_longer_log(c) != HM_NOBODY && !core_is_kept(c, core_base(c));
}

/* The answers may have told of a position of the old primary that was not known before. */
bool guard_log_is_behind(struct core *c)
{
    return c->answers[c->self].is_there && core_copy_lags(c, core_base(c)) &&
           !core_is_kept(c, core_base(c));
}

bool guard_nothing_can_be_missing(struct core *c)
{
    return core_logs_suffice(c) && !core_is_kept(c, core_base(c)) &&
           !guard_dead_primary_has_more(c);
}

bool guard_is_decided(struct core *c)
{
    return core_logs_suffice(c) && core_is_kept(c, core_base(c));
}

/* Until this member gives up nobody would promise the holder. */
bool guard_only_holder_suffices(struct core *c)
{
    return core_only_holder_suffices(c);
}

bool guard_dead_primary_has_more(struct core *c)
{
    struct position upto;

    return core_logs_suffice(c) && core_rescue_source(c, &upto) != HM_NOBODY;
}

/* The operation has ended as well: until then the log may still grow. */
bool guard_is_rescued(struct core *c)
{
    return !core_is_operating(c, DO_RESCUE) && c->copy.state == COPY_STANDBY && c->copy.is_final &&
           c->copy.at.timeline == c->rescue_upto.timeline &&
           c->copy.at.offset >= c->rescue_upto.offset;
}

/* It is tried once: whoever waits for a writable primary has waited long enough. */
bool guard_rescue_is_over(struct core *c)
{
    bool has_failed =
        c->op_failed == DO_RESCUE && c->op_failures > 0 && c->op_ended_ms >= c->since_ms;

    return !core_is_operating(c, DO_RESCUE) && (has_failed || core_due(c, c->attempt_until_ms));
}

static bool is_redis(const struct core *c)
{
    return core_base(c)->kind == SERVICE_REDIS;
}

/* Redis: what is missing cannot be fetched (core_may_go_without()), so there is nothing to do but
 * to leave the member with the longer log more time, unless it says that it does not stand. */
bool guard_yielded_long_enough(struct core *c)
{
    return !is_redis(c) && core_due(c, c->since_ms + 2 * core_heartbeat_ms(c));
}

bool guard_may_go_without(struct core *c)
{
    hm_ms wait_ms = core_says_unfit(c, c->yield_to) ? 2 * core_heartbeat_ms(c) : core_ttl_ms(c);

    return is_redis(c) && core_due(c, c->since_ms + wait_ms) && core_may_go_without(c);
}

bool guard_must_wait_for_it(struct core *c)
{
    return is_redis(c) && !core_may_go_without(c);
}

bool guard_has_fetched(struct core *c)
{
    return c->copy.state == COPY_STANDBY && c->copy.is_final &&
           record_compare(&c->copy.at, &c->yield_at) >= 0;
}

/* --- accepting ------------------------------------------------------------------------------ */

static bool is_accepted(const struct core *c)
{
    return (c->granted & core_slot_bit(c->self)) != 0 &&
           record_is_majority(&c->draft, core_votes(c, &c->draft));
}

bool guard_majority_accepted(struct core *c)
{
    return is_accepted(c);
}

/* R2: the lease counts from the sending; a majority that comes later leaves nothing of it. */
bool guard_accepted_too_late(struct core *c)
{
    return is_accepted(c) && c->now_ms >= core_lease_until(c, HM_PAST);
}

/* --- holding -------------------------------------------------------------------------------- */

/* A machine that stood still with its clocks finds another holder before its deadline comes. */
bool guard_lease_is_lost(struct core *c)
{
    if (core_known(c)->holder != c->self)
        return true;
    return core_due(c, c->valid_until_ms);
}

bool guard_must_prepare_again(struct core *c)
{
    return c->is_beaten;
}

static bool may_act(const struct core *c)
{
    return !c->is_paused && !core_known(c)->is_paused && c->is_chosen;
}

bool guard_server_died(struct core *c)
{
    return may_act(c) && !c->must_raise && c->copy.state == COPY_DOWN &&
           core_successor(c) != HM_NOBODY;
}

/* Nobody took over a moment ago: another attempt waits. */
static bool may_try_again(struct core *c)
{
    return c->regained_ms == HM_PAST || core_due(c, c->regained_ms + 8 * core_ttl_ms(c));
}

/* A Redis server that came back is another copy, with less data than its standbys. */
bool guard_server_lost_data(struct core *c)
{
    bool is_there = c->copy.state == COPY_STANDBY || c->copy.state == COPY_PRIMARY ||
                    c->copy.state == COPY_ABSENT || c->copy.state == COPY_REBUILDING;

    return may_try_again(c) && may_act(c) && is_there &&
           c->copy.copy_id != core_known(c)->copy_id && core_successor(c) != HM_NOBODY;
}

/* When a server that runs, and does not do its work, is to be given away; HM_NEVER: it is not. What
 * is only late on a busy machine is late on the next one, too: without a proof that it hangs it
 * keeps its clients. One that is not up yet after a while lets nobody in. */
static hm_ms given_up_ms(const struct core *c)
{
    hm_ms wait_ms = c->config.stall_timeout_ms;

    if (c->copy.state == COPY_STARTING)
        return c->view.bad_since_ms == HM_NEVER
                   ? HM_NEVER
                   : hm_max_ms(c->view.bad_since_ms, c->primary_since_ms) + wait_ms +
                         c->config.crash_wait_ms;
    if (c->copy.state != COPY_PRIMARY && c->copy.state != COPY_UNKNOWN)
        return HM_NEVER;
    return hm_max_ms(view_gray_ms(&c->view, wait_ms), c->primary_since_ms + wait_ms);
}

bool guard_server_stalls(struct core *c)
{
    hm_ms at_ms = given_up_ms(c);

    return may_try_again(c) && may_act(c) && at_ms != HM_NEVER && core_due(c, at_ms) &&
           core_successor(c) != HM_NOBODY;
}

/* It answers, and refuses whatever needs room. A standby without room is not healthy, so that a
 * successor has some; one that does not stream lacks what was acknowledged, which is all still
 * here. */
bool guard_server_is_full(struct core *c)
{
    hm_ms full_ms = c->view.full_since_ms;
    uint8_t successor = core_successor(c);

    return may_try_again(c) && may_act(c) && c->copy.state == COPY_PRIMARY && full_ms != HM_NEVER &&
           core_due(c, hm_max_ms(full_ms, c->primary_since_ms) + c->config.stall_timeout_ms) &&
           successor != HM_NOBODY && core_streams_to(c, successor);
}

/* In a sync mode a standby has everything and is faster than the recovery; in async the
 * recovery loses nothing and is given some time first. */
bool guard_server_crashed(struct core *c)
{
    hm_ms crashed_ms = c->view.crashed_since_ms;
    hm_ms wait_ms = core_known(c)->durability == DURABILITY_ASYNC ? c->config.crash_wait_ms : 0;

    return may_act(c) && !c->must_raise && crashed_ms != HM_NEVER &&
           core_due(c, crashed_ms + wait_ms) && core_successor(c) != HM_NOBODY;
}

/* A forced one needs no checkpoint, and nothing is streamed: the holder has no primary. */
static bool is_forced_away(struct core *c)
{
    const struct record *r = core_known(c);

    return may_act(c) && r->switchover.phase == SWITCH_FORCED && r->switchover.to != c->self &&
           c->order.kind == ORDER_KEEP && c->order.id == r->switchover.order &&
           core_keep_fault(c, &c->order) == NULL;
}

bool guard_switchover_is_ready(struct core *c)
{
    const struct record *r = core_known(c);

    if (is_forced_away(c))
        return true;
    return may_act(c) && r->switchover.phase == SWITCH_PREPARED && !core_is_switchover_over(c, r) &&
           c->checkpoint_done == r->switchover.order && core_can_succeed(c, r->switchover.to) &&
           core_streams_to(c, r->switchover.to);
}

bool guard_record_must_change(struct core *c)
{
    return core_change_wanted(c) != CHANGE_NOTHING && core_due(c, c->change_again_ms);
}

/* R4: nobody else has heard of the change, so it can be left for later, and the primary is watched
 * meanwhile. Not after preparing again: then the record must be accepted under the new ballot. */
bool guard_own_voter_fails(struct core *c)
{
    bool is_accepted_here =
        record_order(&c->voter.durable.accepted, c->voter.durable.record.version, &c->mine,
                     c->draft.version) == 0;

    return c->has_write_failed && !c->voter.is_writing && !is_accepted_here &&
           ballot_compare(&c->mine, &c->standing_ballot) == 0;
}

/* --- giving away ---------------------------------------------------------------------------- */

/* No process is left, or all of them are stopped; and the gate is closed. */
bool guard_is_fenced(struct core *c)
{
    if (core_is_operating(c, DO_STOP))
        return false;
    if (c->thaw_asked_ms != 0 && c->copy.taken_at_ms <= c->thaw_asked_ms)
        return false; /* the probe is older than the last word to the helper */
    if (c->fence_asked != FENCE_SUSPENDED || c->probes == c->fence_asked_probes ||
        c->copy.taken_at_ms < c->fence_asked_at_ms)
        return false;
    if (c->copy.fence != FENCE_SUSPENDED)
        return false; /* the kernel may still hold acknowledgements behind an open gate */
    return c->copy.state == COPY_DOWN || c->copy.state == COPY_ABSENT ||
           c->copy.state == COPY_REBUILDING || c->copy.state == COPY_SUSPENDED;
}

/* The stop of a Redis leaves it suspended, because its data end with it. */
static bool is_stopped(const struct core *c)
{
    return (c->copy.state == COPY_DOWN || (is_redis(c) && c->copy.state == COPY_SUSPENDED)) &&
           !core_is_operating(c, DO_STOP);
}

/* The member that a switchover names fell silent, and this one has not begun to fence its copy.
 * While that stops it gets the time of a lease to be heard again: whatever the stop still waits for
 * would come from there. Once stopped, nothing is given to somebody who cannot take it now. */
bool guard_successor_is_lost(struct core *c)
{
    const struct switchover *s = &core_known(c)->switchover;
    hm_ms heard_ms;

    if (s->phase == SWITCH_NONE || s->to >= HM_MEMBERS_MAX || c->fence_asked == FENCE_SUSPENDED)
        return false;
    heard_ms = c->view.peer[s->to].heard_ms;
    if (is_stopped(c))
        return core_due(c, heard_ms + 2 * core_heartbeat_ms(c));
    return core_due(c, hm_max_ms(heard_ms, c->since_ms) + core_ttl_ms(c));
}

bool guard_goes_on_alone(struct core *c)
{
    return is_stopped(c) && guard_successor_is_lost(c);
}

/* The stop of a Redis that fails has ended nothing, and writes go on already. One of PostgreSQL
 * cannot be called back. */
bool guard_cannot_give_away(struct core *c)
{
    return is_redis(c) && core_has_stop_failed(c) &&
           core_known(c)->switchover.phase != SWITCH_NONE && c->copy.state == COPY_PRIMARY &&
           c->fence_asked != FENCE_SUSPENDED;
}

bool guard_may_stand_again(struct core *c)
{
    return !guard_stands_back(c);
}
