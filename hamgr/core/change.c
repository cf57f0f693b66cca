/* change.c - which record comes next: a takeover, a change by the holder, an operator's order. */
#include "core/inner.h"

#include <string.h>

/* How long an order may take before it is answered with what stands in its way. */
#define ORDER_HEARTBEATS 80
/* How often, at most, the record is written only to tell how far the primary is. */
#define LAST_KNOWN_TTLS 8

/* --- taking over ---------------------------------------------------------------------------- */

static void first_record(struct core *c)
{
    struct record *r = &c->draft;

    *r = c->config.first;
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (r->member[slot].role != ROLE_NONE)
            r->member[slot].incarnation = c->incarnations[slot];
    r->version = 1;
    r->epoch = 1;
    r->holder = c->self;
    r->copy_id = c->copy.copy_id;
    r->system_id = c->copy.system_id;
    /* A primary that is adopted acknowledges alone, and no fence holds it yet. So nobody else may
     * go on from this version; the next one, written under lease and fence, follows the goal. */
    r->durability = DURABILITY_SYNC;
    r->pairs_n = 1;
    r->pairs[0] = pair_alone;
    r->timelines_n = 0;
    record_add_timeline(r, c->copy.at.timeline != 0 ? c->copy.at.timeline : 1, r->epoch, 0);
    r->last_known = c->copy.at;
    record_add_change(r, CHANGE_FIRST, c->wall_ms);
}

/* Timelines that began at or after the end of this log are not part of it. */
static void cut_history(struct record *r, const struct position *end)
{
    while (r->timelines_n > 1 && record_timeline(r)->timeline != end->timeline)
        r->timelines_n--;
}

static enum change_reason takeover_reason(const struct core *c, const struct record *old)
{
    if (old->switchover.phase != SWITCH_NONE && old->switchover.to == c->self)
        return CHANGE_SWITCHOVER;
    return c->voter.released.member == old->holder ? CHANGE_RELEASED : CHANGE_LEASE_RAN_OUT;
}

void core_next_epoch(struct core *c, enum change_reason reason, const struct position *end)
{
    struct record *r = &c->draft;
    uint64_t timeline = record_next_timeline(r);

    r->epoch++;
    r->holder = c->self;
    r->copy_id = c->copy.copy_id;
    /* What its holder drew is known now, or a person vouches for it. */
    if (core_is_open(r) && !record_is_on_history(r, end, 0))
        r->timelines[r->timelines_n - 1].timeline = end->timeline;
    cut_history(r, end);
    record_add_timeline(r, timeline, r->epoch, end->offset);
    r->last_known = (struct position){ .timeline = timeline, .offset = end->offset };
    r->switchover = (struct switchover){ .phase = SWITCH_NONE };
    record_add_change(r, reason, c->wall_ms);
}

void core_takeover_build(struct core *c)
{
    if (core_base(c)->epoch == 0) {
        first_record(c);
        return;
    }
    c->draft = *core_base(c);
    if (core_is_holder_copy(c, &c->draft) || core_is_named_holder(c, &c->draft)) {
        c->draft.version++; /* the same epoch goes on */
        c->draft.switchover = (struct switchover){ .phase = SWITCH_NONE };
        return;
    }
    c->draft.version++;
    if (core_is_kept(c, core_base(c))) {
        core_keep_build(c, &c->answers[c->self].at);
        return;
    }
    core_takeover_pairs(c, &c->draft);
    core_next_epoch(c, takeover_reason(c, core_base(c)), &c->answers[c->self].at);
}

/* --- changes by the holder ------------------------------------------------------------------ */

static bool is_redis_service(const struct record *r)
{
    return r->kind == SERVICE_REDIS;
}

static bool is_timeline_needed(const struct core *c, const struct record *r)
{
    const struct timeline *last = record_timeline(r);

    if (c->is_paused || c->copy.state != COPY_STANDBY || !c->copy.is_final ||
        c->copy.follows != HM_NOBODY || c->copy.copy_id != r->copy_id)
        return false;
    /* The last stretch is still to be begun, exactly here: then promote onto it. */
    return last->timeline == c->copy.at.timeline || last->start != c->copy.at.offset ||
           (is_redis_service(r) && (last->timeline & HM_TIMELINE_OPEN) == 0);
}

/* Redis draws its replication id at the promotion; the record learns it before the gate opens. */
static bool is_replication_id_new(const struct core *c, const struct record *r)
{
    return is_redis_service(r) && c->copy.state == COPY_PRIMARY && c->copy.copy_id == r->copy_id &&
           c->copy.at.timeline != record_timeline(r)->timeline;
}

/* What it has beyond the own log is little enough, and it takes nothing over itself. */
static bool is_let_go(const struct core *c, uint8_t slot, const struct gossip *g)
{
    const struct record *r = core_known(c);

    return r->durability == DURABILITY_ASYNC && core_says_unfit(c, slot) &&
           g->at.offset - c->copy.at.offset <= r->max_lag_bytes;
}

/* True only when every other db member was asked and none has a longer log that could be used. */
static bool has_longest_log(struct core *c)
{
    uint16_t others = record_db_members(core_known(c)) & (uint16_t)~core_slot_bit(c->self);

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct gossip *g;

        if ((others & core_slot_bit(slot)) == 0)
            continue;
        g = view_recent(&c->view, slot, c->now_ms - 2 * core_heartbeat_ms(c));
        if (!core_due(c, c->copy_since_ms + 2 * core_heartbeat_ms(c)))
            return false; /* what is known of the others is from before */
        if (g == NULL || g->copy == COPY_UNKNOWN || g->copy == COPY_STARTING ||
            (g->at.offset > c->copy.at.offset && !is_let_go(c, slot, g)))
            return false;
    }
    return true;
}

/* What is missing from the data that a Redis came back with: nothing in the sync modes, within
 * max_lag_bytes in async. With more it is not obeyed, whatever it says; the operator may force it.
 */
static bool loses_little(const struct core *c, const struct record *r)
{
    uint64_t was = core_primary_offset(c, r);
    uint64_t limit = r->durability == DURABILITY_ASYNC ? r->max_lag_bytes : 0;

    return was <= c->copy.at.offset || was - c->copy.at.offset <= limit;
}

/* The holder's data was made under it; or its Redis restarted as another copy and nobody has
 * more than what it came back with. */
static bool is_copy_new(struct core *c, const struct record *r)
{
    if (c->is_paused || c->copy.copy_id == 0 || c->copy.copy_id == r->copy_id)
        return false;
    if (r->copy_id == 0)
        return c->copy.state == COPY_DOWN || c->copy.state == COPY_STANDBY;
    /* Under a pair its copies may have confirmed more than anybody remembers here. */
    if (r->durability != DURABILITY_ASYNC && !(r->pairs_n == 1 && pair_is_alone(&r->pairs[0])))
        return false;
    return is_redis_service(r) && loses_little(c, r) && has_longest_log(c) &&
           (c->copy.state == COPY_PRIMARY || c->copy.state == COPY_STANDBY);
}

static bool is_last_known_old(const struct core *c, const struct record *r)
{
    return c->copy.state == COPY_PRIMARY && c->copy.copy_id == r->copy_id &&
           c->copy.at.timeline == record_timeline(r)->timeline &&
           c->copy.at.offset > r->last_known.offset &&
           c->copy.at.offset - r->last_known.offset > r->max_lag_bytes / 2 &&
           c->now_ms > c->changed_ms + LAST_KNOWN_TTLS * core_ttl_ms(c);
}

/* One step towards the pair that is wanted (6.1); core_change_wanted() has seen that it is due. */
static void next_pairs(struct core *c, struct record *r)
{
    struct pair wanted;

    core_desired_pair(c, &wanted);
    if (record_has_pair(r, pair_digest(&wanted))) {
        r->pairs_n = 1; /* it is in force and marked, or it is (empty, 0) */
        r->pairs[0] = wanted;
    } else if (pair_is_alone(&wanted) || r->pairs_n == HM_PAIRS_MAX) {
        r->pairs_n = 1; /* (empty, 0) lets nobody take over and may therefore replace all at once */
        r->pairs[0] = pair_alone;
    } else {
        r->pairs[r->pairs_n++] = wanted;
    }
}

static bool is_held_by_fence(const struct core *c)
{
    return c->copy.state != COPY_PRIMARY || c->copy.fence == FENCE_LEASE;
}

static bool are_pairs_to_change(struct core *c)
{
    const struct record *r = core_known(c);
    struct pair wanted;
    uint64_t digest;

    if (c->is_paused || c->copy.state != COPY_PRIMARY || c->copy.copy_id != r->copy_id ||
        !is_held_by_fence(c))
        return false;
    core_desired_pair(c, &wanted);
    digest = pair_digest(&wanted);
    if (!record_has_pair(r, digest))
        return true;
    return r->pairs_n > 1 && (pair_is_alone(&wanted) || (c->marked_digest == digest &&
                                                         c->marked_server == c->copy.server_id));
}

/* What is promised follows the goal: less at once, more only with a marker under one real pair. */
static bool is_durability_to_change(const struct core *c, const struct record *r)
{
    if (r->durability == r->goal || !is_held_by_fence(c))
        return false;
    /* strict is promised once no commit can return alone any more. */
    if (r->goal == DURABILITY_STRICT && r->durability == DURABILITY_SYNC)
        return c->copy.state == COPY_PRIMARY && c->copy.names != NAMES_EMPTY &&
               c->proved_server == c->copy.server_id;
    if (r->goal == DURABILITY_ASYNC || r->durability != DURABILITY_ASYNC)
        return true;
    return r->pairs_n == 1 && !pair_is_alone(&r->pairs[0]) &&
           c->marked_digest == pair_digest(&r->pairs[0]) && c->marked_server == c->copy.server_id &&
           c->copy.state == COPY_PRIMARY;
}

static bool is_in_a_pair(const struct record *r, uint8_t slot)
{
    for (unsigned i = 0; i < r->pairs_n; i++)
        for (unsigned j = 0; j < r->pairs[i].n; j++)
            if (r->pairs[i].copies[j].member == slot)
                return true;
    return false;
}

static bool is_order_to_write(struct core *c, const struct record *r)
{
    if (c->order.kind == ORDER_NONE || c->order.kind == ORDER_FORCE || c->order.id <= r->last_order)
        return false;
    if (c->order.kind == ORDER_KEEP)
        return core_keep_fault(c, &c->order) == NULL;
    /* From the moment that a version without the pause leaves, the fence must have a deadline:
     * one told after the order, so that no older word to the helper can still undo it. */
    if (c->order.kind == ORDER_RESUME && c->is_paused &&
        (c->copy.fence != FENCE_LEASE || c->copy.fence_until_ms <= c->resume_after_ms))
        return false;
    if (c->order.kind != ORDER_MEMBER_REMOVE || r->member[c->order.member].role != ROLE_DB)
        return true;
    return !is_in_a_pair(r, c->order.member); /* its copy leaves them first */
}

/* A switchover that cannot go on is taken out of the record. */
bool core_is_switchover_over(const struct core *c, const struct record *r)
{
    if (r->switchover.phase == SWITCH_NONE)
        return false;
    return r->switchover.order != c->order.id || !core_is_order_to_another(c);
}

enum change_kind core_change_wanted(struct core *c)
{
    const struct record *r = core_known(c);

    if (r->old_voters != 0)
        return CHANGE_END_JOINT;
    if (is_order_to_write(c, r))
        return CHANGE_ORDER;
    if (is_copy_new(c, r))
        return CHANGE_COPY;
    if (is_timeline_needed(c, r) || is_replication_id_new(c, r))
        return CHANGE_TIMELINE;
    if (are_pairs_to_change(c))
        return CHANGE_PAIRS;
    if (is_durability_to_change(c, r))
        return CHANGE_DURABILITY;
    if (core_is_switchover_over(c, r))
        return CHANGE_SWITCH_OFF;
    if (is_last_known_old(c, r))
        return CHANGE_LAST_KNOWN;
    return CHANGE_NOTHING;
}

/* An observer comes and goes without a vote: then no majority changes. */
static void change_voters(struct record *r, uint16_t added, uint16_t removed)
{
    uint16_t voters = (r->voters | added) & (uint16_t)~removed;

    r->old_voters = voters != r->voters ? r->voters : 0;
    r->voters = voters;
}

static void write_order(struct core *c, struct record *r)
{
    const struct order *o = &c->order;

    switch (o->kind) {
    case ORDER_PAUSE:
        r->is_paused = true;
        break;
    case ORDER_RESUME:
        r->is_paused = false;
        break;
    case ORDER_SWITCHOVER:
        r->switchover =
            (struct switchover){ .order = o->id, .to = o->member, .phase = SWITCH_PREPARED };
        break;
    case ORDER_TIMING:
        r->ttl_ms = o->ttl_ms;
        r->heartbeat_ms = o->heartbeat_ms;
        break;
    case ORDER_DURABILITY:
        r->goal = o->durability;
        r->sync_standbys = o->sync_standbys;
        break;
    case ORDER_MEMBER_ADD:
        r->member[o->member] = o->added;
        change_voters(r, o->added.role == ROLE_OBSERVER ? 0 : core_slot_bit(o->member), 0);
        break;
    case ORDER_MEMBER_REMOVE:
        if (r->member[o->member].role == ROLE_OBSERVER)
            memset(&r->member[o->member], 0, sizeof r->member[o->member]);
        change_voters(r, 0, core_slot_bit(o->member));
        break;
    case ORDER_KEEP:
        if (o->member == c->self)
            core_keep_build(c, &c->copy.at);
        else
            r->switchover =
                (struct switchover){ .order = o->id, .to = o->member, .phase = SWITCH_FORCED };
        break;
    case ORDER_NONE:
    case ORDER_CANCEL:
    case ORDER_REBUILD:
    case ORDER_FORCE:
        break;
    }
    r->last_order = o->id;
}

static void end_joint(struct record *r)
{
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if ((r->voters & core_slot_bit(slot)) == 0 && r->member[slot].role != ROLE_OBSERVER)
            memset(&r->member[slot], 0, sizeof r->member[slot]);
    r->old_voters = 0;
}

static void write_timeline(struct core *c, struct record *r)
{
    uint64_t timeline = record_next_timeline(r);

    if (c->copy.state == COPY_PRIMARY) {
        r->timelines[r->timelines_n - 1].timeline = c->copy.at.timeline;
        return;
    }
    cut_history(r, &c->copy.at);
    record_add_timeline(r, timeline, r->epoch, c->copy.at.offset);
}

void core_change_build(struct core *c, enum change_kind kind)
{
    struct record *r = &c->draft;

    *r = *core_known(c);
    r->version++;
    switch (kind) {
    case CHANGE_END_JOINT:
        end_joint(r);
        break;
    case CHANGE_ORDER:
        write_order(c, r);
        break;
    case CHANGE_COPY:
        r->copy_id = c->copy.copy_id;
        if (r->system_id == 0)
            r->system_id = c->copy.system_id;
        break;
    case CHANGE_TIMELINE:
        write_timeline(c, r);
        break;
    case CHANGE_PAIRS:
        next_pairs(c, r);
        break;
    case CHANGE_DURABILITY:
        r->durability = r->goal;
        if (r->goal == DURABILITY_ASYNC) {
            r->pairs_n = 1;
            r->pairs[0] = pair_alone;
        }
        break;
    case CHANGE_SWITCH_OFF:
        r->switchover = (struct switchover){ .phase = SWITCH_NONE };
        break;
    case CHANGE_NOTHING:
    case CHANGE_LAST_KNOWN:
        break;
    }
    if (c->copy.state == COPY_PRIMARY && c->copy.copy_id == r->copy_id)
        r->last_known = c->copy.at;
}

/* --- orders --------------------------------------------------------------------------------- */

static uint8_t free_slot(const struct record *r)
{
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (r->member[slot].role == ROLE_NONE && (record_electorate(r) & core_slot_bit(slot)) == 0)
            return slot;
    return HM_NOBODY;
}

static const char *switchover_fault(struct core *c, struct order *o)
{
    if (core_known(c)->is_paused)
        return "the cluster is paused: resume it first";
    if (o->member == HM_NOBODY)
        o->member = core_successor(c);
    if (o->member == HM_NOBODY)
        return "no standby can take over now";
    if (o->member == c->self)
        return "the named member is the primary already";
    return core_can_succeed(c, o->member) ? NULL : "the named member cannot take over now";
}

/* The voters that remain must be able to carry the change, or nothing could be chosen any more.
 * One that voted lately is heard; one whose file is missing says nothing. */
static bool would_stay_alive(const struct core *c, uint8_t leaving)
{
    struct record rest = { .voters = core_known(c)->voters & (uint16_t)~core_slot_bit(leaving) };

    return record_is_majority(&rest, view_heard(&c->view, c->now_ms - 2 * core_heartbeat_ms(c)) |
                                         core_slot_bit(c->self));
}

static const char *member_fault(const struct core *c, struct order *o)
{
    const struct record *r = core_known(c);

    if (r->old_voters != 0)
        return "another change of members is under way";
    if (o->kind == ORDER_MEMBER_ADD) {
        if (record_find_name(r, o->added.name) != HM_NOBODY)
            return "there is a member of that name: remove it first";
        if (record_find(r, o->added.incarnation) != HM_NOBODY)
            return "there is a member of that incarnation already";
        o->member = free_slot(r);
        return o->member == HM_NOBODY ? "the cluster has as many members as it can have" : NULL;
    }
    if (o->member >= HM_MEMBERS_MAX || r->member[o->member].role == ROLE_NONE)
        return "there is no such member";
    if (o->member == c->self)
        return "the primary's member cannot be removed: switch over first";
    if (r->member[o->member].role == ROLE_OBSERVER)
        return NULL;
    if (c->is_paused && is_in_a_pair(r, o->member))
        return "commits wait for its copy, and a pause leaves that as it is: 'hamgr resume' first";
    return would_stay_alive(c, o->member)
               ? NULL
               : "too few of the remaining voters are heard: repair or replace them first";
}

/* Why the order is refused; NULL: it is taken up. */
static const char *order_fault(struct core *c, struct order *o)
{
    const struct record *r = core_known(c);

    if (o->kind == ORDER_FORCE) {
        if (c->config.role != ROLE_DB || !core_has_record(c) || c->voter.is_blank || c->is_outdated)
            return "only a database member that knows a record can be forced";
        return core_is_holder_copy(c, r) || core_may_be_forced(c, r)
                   ? NULL
                   : "its copy is no healthy standby";
    }
    if (o->kind == ORDER_REBUILD)
        return core_rebuild_fault(c);
    if (o->kind == ORDER_KEEP && !core_is_holder_state(c->state))
        return core_keep_fault(c, o);
    if (!core_is_holder_state(c->state) || c->state == ST_HANDOVER)
        return "this member is not the holder";
    if (o->id == r->last_order)
        return NULL;
    if (o->id < r->last_order)
        return "a newer order has been carried out";
    if (c->order.kind != ORDER_NONE && o->kind != ORDER_CANCEL && o->kind != ORDER_KEEP)
        return "another order is under way";
    switch (o->kind) {
    case ORDER_SWITCHOVER:
        return switchover_fault(c, o);
    case ORDER_CANCEL:
        return c->order.kind == ORDER_SWITCHOVER ? NULL : "no switchover is under way";
    case ORDER_MEMBER_ADD:
    case ORDER_MEMBER_REMOVE:
        return member_fault(c, o);
    case ORDER_KEEP:
        return core_keep_fault(c, o);
    case ORDER_DURABILITY:
    case ORDER_NONE:
    case ORDER_PAUSE:
    case ORDER_RESUME:
    case ORDER_TIMING:
    case ORDER_REBUILD:
    case ORDER_FORCE:
        return NULL;
    }
    return "the order is unknown";
}

void core_drop_order(struct core *c, enum hm_rc rc, const char *why)
{
    core_reply(c, c->order.id, rc, why);
    c->order.kind = ORDER_NONE;
}

void core_take_order(struct core *c, const struct order *o)
{
    struct order wanted = *o;
    const char *fault = order_fault(c, &wanted);

    if (fault != NULL) {
        core_reply(c, o->id, HM_REFUSED, fault);
        return;
    }
    if (o->kind == ORDER_REBUILD) {
        core_give_up_copy(c);
        core_reply(c, o->id, HM_OK, "the copy is being made anew");
        return;
    }
    if (o->kind == ORDER_CANCEL) {
        core_drop_order(c, HM_REFUSED, "called off");
        core_reply(c, o->id, HM_OK, "the switchover is called off");
        return;
    }
    if (o->kind != ORDER_FORCE && o->id == core_known(c)->last_order) {
        core_reply(c, o->id, HM_OK, "it was carried out before");
        return;
    }
    if (c->order.kind != ORDER_NONE)
        core_drop_order(c, HM_REFUSED, "a failover was forced");
    c->order = wanted;
    c->resume_after_ms = c->valid_until_ms;
    c->order_until_ms = c->now_ms + ORDER_HEARTBEATS * core_heartbeat_ms(c);
    if (o->kind == ORDER_FORCE) {
        core_force_build(c);
        core_enter(c, ST_ACCEPT);
    }
}

/* What a change waited for in vain. */
static const char *late_because(const struct core *c)
{
    const struct record *r = core_known(c);

    if (c->order.kind == ORDER_MEMBER_REMOVE && r->member[c->order.member].role == ROLE_DB &&
        is_in_a_pair(r, c->order.member))
        return "commits still wait for its copy: only a primary whose server runs can end that";
    return "no majority accepted in time";
}

/* Answers the order under way when the record shows how it ended. */
void core_follow_order(struct core *c)
{
    const struct record *r = core_known(c);
    bool is_in_force = r->last_order >= c->order.id &&
                       ((core_is_holder_state(c->state) && c->is_chosen) || c->renewed.is_there);

    if (c->order.kind == ORDER_NONE)
        return;
    if (core_is_order_to_another(c)) {
        if (r->holder == c->order.member && core_followed_holder(c) == r->holder)
            core_drop_order(c, HM_OK, "the named member is primary");
        else if (core_due(c, c->order_until_ms))
            core_drop_order(c, HM_TIMED_OUT, "the named member did not become primary in time");
    } else if (is_in_force) {
        core_drop_order(c, HM_OK, "a majority accepted");
    } else if (c->order.kind == ORDER_KEEP && core_followed_holder(c) != HM_NOBODY) {
        core_drop_order(c, HM_REFUSED, "a holder is heard again: ask once more");
    } else if (core_due(c, c->order_until_ms)) {
        core_drop_order(c, HM_TIMED_OUT, late_because(c));
    }
}
