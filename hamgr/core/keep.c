/* keep.c - what only a person may decide while a majority lives: whose data go on.
 *
 * When every copy may lack what the last epoch confirmed (P2), or lacks more than max_lag_bytes
 * (P3), nobody is promoted, however long it lasts. A person may then name the copy that goes on as
 * it is. All else stays as always: the votes, the lease, the fence, and a new epoch, so that there
 * is never a second writer and the others follow by themselves. Nobody has to be off for that, as
 * with ORDER_FORCE, and nobody leaves the cluster. */
#include "core/inner.h"

#include <string.h>

bool core_has_no_primary(const struct record *r, enum copy_state state, uint64_t copy_id)
{
    switch (state) {
    case COPY_PRIMARY:
    case COPY_STANDBY:
        return r->copy_id != 0 && copy_id != r->copy_id;
    case COPY_ABSENT:
    case COPY_REBUILDING:
    case COPY_DOWN:
    case COPY_STARTING:
        return r->copy_id != 0;
    case COPY_UNKNOWN:
    case COPY_SUSPENDED:
    case COPY_STATES_N:
        break;
    }
    return false;
}

bool core_is_order_to_another(const struct core *c)
{
    return c->order.kind == ORDER_SWITCHOVER ||
           (c->order.kind == ORDER_KEEP && c->order.member != c->self);
}

/* A server that somebody made a primary by hand, and that runs under the lease already. */
static bool is_made_by_hand(const struct core *c, const struct record *r)
{
    return c->copy.state == COPY_PRIMARY && c->copy.is_healthy && c->copy.copy_id != r->copy_id &&
           r->kind == SERVICE_REDIS;
}

static const char *holder_fault(struct core *c, const struct order *o)
{
    const struct record *r = core_known(c);

    if (!core_has_no_primary(r, c->copy.state, c->copy.copy_id))
        return "there is a primary: 'hamgr switchover' moves it";
    if (o->member == c->self)
        return is_made_by_hand(c, r) || core_may_be_kept(c, r) ? NULL
                                                               : "its copy is no healthy standby";
    if (c->copy.state == COPY_PRIMARY)
        return "the server of the holder was made a primary by hand: keep its data, or make it a "
               "standby first";
    return core_may_keep(c, o->member) ? NULL : "the copy of that member is no healthy standby";
}

const char *core_keep_fault(struct core *c, const struct order *o)
{
    const struct record *r = core_known(c);

    if (!core_has_record(c) || r->epoch == 0 || c->voter.is_blank || c->is_outdated)
        return "only a database member that knows a record can be forced";
    if (r->is_paused)
        return "the cluster is paused: resume it first";
    if (r->old_voters != 0)
        return "a change of members is under way";
    if (!core_sees_majority(c))
        return "no majority is heard";
    if (core_is_holder_state(c->state))
        return holder_fault(c, o);
    if (guard_holder_is_heard(c))
        return "another member holds the lease";
    if (o->member != c->self)
        return "nobody holds the lease: ask the member that is to go on";
    return core_may_be_kept(c, r) ? NULL : "its copy is no healthy standby";
}

bool core_is_kept(const struct core *c, const struct record *r)
{
    bool is_named = r->switchover.phase == SWITCH_FORCED && r->switchover.to == c->self;
    bool is_ordered = c->order.kind == ORDER_KEEP && c->order.member == c->self;

    return (is_named || is_ordered) && r->epoch != 0 && !r->is_paused && core_may_be_kept(c, r);
}

void core_keep_build(struct core *c, const struct position *end)
{
    struct record *r = &c->draft;

    r->pairs_n = 1; /* what others confirmed in the old epoch counts no more */
    r->pairs[0] = pair_alone;
    core_next_epoch(c, CHANGE_FORCED, end);
    if (c->order.kind == ORDER_KEEP)
        r->last_order = c->order.id;
}

/* failover --force: this member alone, in a new incarnation of the cluster. */
void core_force_build(struct core *c)
{
    struct record *r = &c->draft;

    *r = *core_known(c);
    r->cluster_incarnation++;
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (slot != c->self)
            memset(&r->member[slot], 0, sizeof r->member[slot]);
    r->voters = core_slot_bit(c->self);
    r->old_voters = 0;
    r->is_paused = false;
    r->durability = DURABILITY_ASYNC;
    r->pairs_n = 1;
    r->pairs[0] = pair_alone;
    r->version++;
    if (!core_is_holder_copy(c, core_known(c)))
        core_next_epoch(c, CHANGE_FORCED, &c->copy.at);
    r->last_order = c->order.id;
}

/* Not at once: a server that came back may yet turn out to have everything, or another member. */
void core_tell_no_primary(struct core *c)
{
    const struct record *r = core_known(c);
    uint64_t copy = c->copy.copy_id != 0 ? c->copy.copy_id : HM_COUNTER_MAX;

    if (c->alerted_copy == copy || r->is_paused || c->copy.state == COPY_DOWN ||
        c->copy.state == COPY_STARTING || !core_has_no_primary(r, c->copy.state, c->copy.copy_id) ||
        !core_due(c, hm_max_ms(c->copy_since_ms, c->since_ms) + 2 * core_ttl_ms(c)))
        return;
    c->alerted_copy = copy;
    core_alert(c, ALERT_NO_PRIMARY, r->epoch);
}
