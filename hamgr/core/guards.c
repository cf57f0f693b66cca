/* guards.c - the conditions of the decision table. */
#include "core/inner.h"

bool always(struct core *c)
{
    (void)c;
    return true;
}

/* --- what the member is --------------------------------------------------------------------- */

bool cluster_is_newer(struct core *c)
{
    return c->is_outdated;
}

bool voter_is_blank(struct core *c)
{
    return c->voter.is_blank && !c->is_outdated && c->config.role != ROLE_OBSERVER;
}

bool is_member(struct core *c)
{
    return c->self != HM_NOBODY && !c->is_removed;
}

bool is_no_member(struct core *c)
{
    return !is_member(c) && !voter_is_blank(c) && !c->is_outdated &&
           c->config.role != ROLE_OBSERVER;
}

bool is_observer(struct core *c)
{
    return c->config.role == ROLE_OBSERVER;
}

bool is_witness(struct core *c)
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

bool lease_has_ended(struct core *c)
{
    return due(c, voter_lease_end(&c->voter, c->self)) && !is_accepting_from_another(c);
}

bool holder_is_heard(struct core *c)
{
    return voter_has_lease_of_another(&c->voter, c->self, c->now_ms);
}

/* --- standing: may it take over, and when ---------------------------------------------------- */

/* R9: until another epoch, or well for stall_timeout, or nobody took over for twice the ttl. */
bool stands_back(struct core *c)
{
    hm_ms healthy_ms = c->view.healthy_since_ms;

    if (c->released_at_ms == HM_PAST)
        return false;
    if (due(c, c->released_at_ms + 2 * ttl_ms(c)))
        return false;
    return healthy_ms == HM_NEVER || !due(c, healthy_ms + c->config.stall_timeout_ms);
}

bool is_paused_for_others(struct core *c)
{
    return known(c)->is_paused && !is_holder_copy(c, known(c));
}

bool is_not_to_stand(struct core *c)
{
    return c->config.is_nofailover && !is_holder_copy(c, known(c));
}

bool copy_cannot_lead(struct core *c)
{
    return !is_holder_copy(c, known(c)) && !copy_is_fit(c, known(c));
}

bool copy_is_behind(struct core *c)
{
    return copy_lags(c, known(c));
}

bool acknowledged_alone(struct core *c)
{
    return pairs_forbid(c, known(c));
}

/* The holder that the voter itself accepted need not wait for its own quarantine. */
bool voter_is_in_quarantine(struct core *c)
{
    return !(has_record(c) && known(c)->holder == c->self) &&
           !due(c, voter_quarantine_end(&c->voter));
}

/* A switchover names its successor; the others leave it two ttls. */
bool another_is_named(struct core *c)
{
    const struct switchover *s = &known(c)->switchover;

    return s->phase != SWITCH_NONE && s->to != c->self && !due(c, c->since_ms + 2 * ttl_ms(c));
}

bool turn_has_come(struct core *c)
{
    uint8_t rank;

    if (is_first_in_line(c, &rank))
        return due(c, c->stand_at_ms);
    return due(c, hm_max_ms(c->stand_at_ms, c->since_ms + rank * heartbeat_ms(c) / 2));
}

bool may_not_stand(struct core *c)
{
    return is_paused_for_others(c) || is_not_to_stand(c) || copy_cannot_lead(c) ||
           copy_is_behind(c) || acknowledged_alone(c);
}

/* --- the attempt ---------------------------------------------------------------------------- */

/* The first record needs every voter, each of them empty. */
static bool has_votes(const struct core *c, const struct record *r)
{
    uint16_t yes = votes(c, r);

    if (base(c)->epoch == 0)
        return c->not_empty == 0 && (yes & record_electorate(r)) == record_electorate(r);
    return record_is_majority(r, yes);
}

/* The prevotes brought news of a member that was silent when this one stood up: its suspended
 * copy, or its longer log. Once for each time that a lease ended. */
bool another_goes_first(struct core *c)
{
    uint8_t rank;

    return !c->has_deferred && majority_prevoted(c) && !is_first_in_line(c, &rank);
}

bool majority_prevoted(struct core *c)
{
    return has_votes(c, known(c));
}

bool attempt_is_old(struct core *c)
{
    return due(c, c->attempt_until_ms);
}

bool is_beaten(struct core *c)
{
    return c->is_beaten;
}

bool majority_promised(struct core *c)
{
    return (c->granted & slot_bit(c->self)) != 0 && has_votes(c, base(c));
}

bool promised_and_first(struct core *c)
{
    return majority_promised(c) && base(c)->epoch == 0;
}

bool promised_and_own(struct core *c)
{
    return majority_promised(c) && is_holder_copy(c, base(c));
}

bool promised_and_forbidden(struct core *c)
{
    const struct record *r = base(c);

    return majority_promised(c) &&
           (r->is_paused || !copy_is_fit(c, r) || copy_lags(c, r) || pairs_forbid(c, r) ||
            r->member[c->self].incarnation != c->config.incarnation);
}

bool promised_and_anothers(struct core *c)
{
    return majority_promised(c) && base(c)->holder != c->self;
}

bool another_is_ahead(struct core *c)
{
    return longer_log(c) != HM_NOBODY;
}

bool nothing_can_be_missing(struct core *c)
{
    return logs_suffice(c);
}

bool yielded_long_enough(struct core *c)
{
    return due(c, c->since_ms + 2 * heartbeat_ms(c));
}

bool has_fetched(struct core *c)
{
    return c->copy.state == COPY_STANDBY && c->copy.is_final &&
           record_compare(&c->copy.at, &c->yield_at) >= 0;
}

/* --- accepting ------------------------------------------------------------------------------ */

static bool is_accepted(const struct core *c)
{
    return (c->granted & slot_bit(c->self)) != 0 &&
           record_is_majority(&c->draft, votes(c, &c->draft));
}

bool majority_accepted(struct core *c)
{
    return is_accepted(c);
}

/* R2: the lease counts from the sending; a majority that comes later leaves nothing of it. */
bool accepted_too_late(struct core *c)
{
    return is_accepted(c) && c->now_ms >= lease_until(c, HM_PAST);
}

/* --- holding -------------------------------------------------------------------------------- */

bool deadline_has_passed(struct core *c)
{
    return due(c, c->valid_until_ms);
}

bool must_prepare_again(struct core *c)
{
    return c->is_beaten;
}

static bool may_act(const struct core *c)
{
    return !c->is_paused && !known(c)->is_paused && c->is_chosen;
}

bool server_died(struct core *c)
{
    return may_act(c) && c->copy.state == COPY_DOWN && successor(c) != HM_NOBODY;
}

/* A Redis server that came back is another copy, with less data than its standbys. */
bool server_lost_data(struct core *c)
{
    bool is_there = c->copy.state == COPY_STANDBY || c->copy.state == COPY_PRIMARY ||
                    c->copy.state == COPY_ABSENT || c->copy.state == COPY_REBUILDING;

    return may_act(c) && is_there && c->copy.copy_id != known(c)->copy_id &&
           successor(c) != HM_NOBODY;
}

bool server_stalls(struct core *c)
{
    hm_ms bad_ms = c->view.bad_since_ms;

    return may_act(c) && bad_ms != HM_NEVER && c->copy.state == COPY_PRIMARY &&
           due(c, hm_max_ms(bad_ms, c->primary_since_ms) + c->config.stall_timeout_ms) &&
           successor(c) != HM_NOBODY;
}

/* In a sync mode a standby has everything and is faster than the recovery; in async the
 * recovery loses nothing and is given some time first. */
bool server_crashed(struct core *c)
{
    hm_ms crashed_ms = c->view.crashed_since_ms;
    hm_ms wait_ms = known(c)->durability == DURABILITY_ASYNC ? c->config.crash_wait_ms : 0;

    return may_act(c) && crashed_ms != HM_NEVER && due(c, crashed_ms + wait_ms) &&
           successor(c) != HM_NOBODY;
}

bool switchover_is_ready(struct core *c)
{
    const struct record *r = known(c);

    return may_act(c) && r->switchover.phase == SWITCH_PREPARED &&
           c->checkpoint_done == r->switchover.order && can_succeed(c, r->switchover.to);
}

bool record_must_change(struct core *c)
{
    return change_wanted(c) != CHANGE_NOTHING;
}

/* --- giving away ---------------------------------------------------------------------------- */

/* No process is left, or all of them are stopped behind a closed gate. */
bool is_fenced(struct core *c)
{
    if (is_operating(c, DO_STOP))
        return false;
    return c->copy.state == COPY_DOWN || c->copy.state == COPY_ABSENT ||
           c->copy.state == COPY_REBUILDING ||
           (c->copy.state == COPY_SUSPENDED && c->copy.fence == FENCE_SUSPENDED);
}

bool may_stand_again(struct core *c)
{
    return !stands_back(c);
}
