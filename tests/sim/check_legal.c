/* check_legal.c - effects that the world must not meet, whatever the core believed. */
#include "check_inner.h"

static bool holds(const struct check *ck, int node)
{
    return ck->node[node].valid_until_ms > check_local(ck, node);
}

/* The newest chosen record that names this node as the holder, or NULL. */
static const struct record *own_chosen(const struct check *ck, int node)
{
    int i = ck->node[node].own_chosen;

    return i < 0 ? NULL : &ck->entry[i].record;
}

/* --- the fence ------------------------------------------------------------------------------ */

static void fence_lease(struct check *ck, int node, const struct core_effect *e)
{
    const struct check_node *n = &ck->node[node];
    hm_ms now_ms = check_local(ck, node);

    if (e->fence.until_ms > n->valid_until_ms || e->fence.until_ms <= now_ms)
        check_break(ck, INV_LEGAL,
                    "node %d: tells the fence %+lld ms, and the lease is valid for %+lld ms", node,
                    (long long)(e->fence.until_ms - now_ms),
                    (long long)(n->valid_until_ms == HM_PAST ? 0 : n->valid_until_ms - now_ms));
}

/* Without a deadline the copy must be none that could acknowledge, now or soon. */
static void fence_standby(struct check *ck, int node, const struct core *c)
{
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (copy.state == COPY_PRIMARY)
        check_break(ck, INV_LEGAL, "node %d: the fence is told of a standby, and it is a primary",
                    node);
    if (c->op.type == DO_PROMOTE && copy.state == COPY_STANDBY)
        check_break(ck, INV_LEGAL, "node %d: the fence is told of a standby that is promoted",
                    node);
}

/* Paused counts from the choice of a record that says so until one is sent that does not. */
static void fence_paused(struct check *ck, int node)
{
    const struct record *r = own_chosen(ck, node);

    if (r == NULL || !r->is_paused)
        check_break(ck, INV_LEGAL, "node %d: unfenced, and no record chosen says paused", node);
    else if (ck->node[node].has_resumed &&
             check_compare(&ck->node[node].top, &ck->node[node].disk.accepted) == 0 &&
             !ck->node[node].disk.record.is_paused)
        check_break(ck, INV_LEGAL, "node %d: unfenced after it sent a record that is not paused",
                    node);
}

static void a_fence(struct check *ck, int node, const struct core *c, const struct core_effect *e)
{
    switch (e->fence.mode) {
    case FENCE_LEASE:
        fence_lease(ck, node, e);
        break;
    case FENCE_STANDBY:
        fence_standby(ck, node, c);
        break;
    case FENCE_PAUSED:
        fence_paused(ck, node);
        break;
    case FENCE_NONE:
    case FENCE_SUSPENDED:
        break;
    }
    ck->node[node].told = e->fence.mode;
}

/* --- the copy ------------------------------------------------------------------------------- */

static void a_promotion(struct check *ck, int node, const struct core_effect *e)
{
    const struct record *r = check_newest(ck);
    const struct check_node *n = &ck->node[node];
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (!holds(ck, node) || n->told != FENCE_LEASE)
        check_break(ck, INV_LEGAL, "node %d: promotes %s", node,
                    holds(ck, node) ? "before the fence has a deadline" : "without a lease");
    if (copy.is_streaming)
        check_break(ck, INV_LEGAL, "node %d: promotes a copy that still streams", node);
    /* After its clocks stood it cannot know that somebody took over meanwhile. hamgr-fence suspends
     * the copy until a full round of renewals; what it acknowledges is looked at elsewhere. */
    if (n->clocks_stood && (r == NULL || r->epoch > e->copy.epoch))
        return;
    if (r == NULL || check_slot(ck, r, r->holder) != node || r->epoch != e->copy.epoch)
        check_break(ck, INV_LEGAL, "node %d: promotes for epoch %llu, which no record gives it",
                    node, (unsigned long long)e->copy.epoch);
    if (r == NULL || check_failed(ck))
        return;
    if (r->copy_id != copy.copy_id)
        check_break(ck, INV_LEGAL, "node %d: promotes another copy than the record names", node);
    if (copy.state == COPY_STANDBY && r->timelines_n > 0 &&
        (r->timelines[r->timelines_n - 1].timeline != e->copy.timeline ||
         r->timelines[r->timelines_n - 1].start != copy.end))
        check_break(ck, INV_LEGAL,
                    "node %d: promotes at %llu onto timeline %llu; the record says %llu at %llu",
                    node, (unsigned long long)copy.end, (unsigned long long)e->copy.timeline,
                    (unsigned long long)r->timelines[r->timelines_n - 1].timeline,
                    (unsigned long long)r->timelines[r->timelines_n - 1].start);
    if (r->durability != DURABILITY_ASYNC && copy.names == NAMES_EMPTY &&
        !check_has_pair(r, &(struct pair){ .n = 0 }))
        check_break(ck, INV_LEGAL, "node %d: promotes with empty names under pairs", node);
}

/* Was this node heard to renew a chosen record, with a ballot not below the own promise (R6)? */
static bool is_heard_holder(struct check *ck, int node, int holder)
{
    const struct check_node *n = &ck->node[node];
    const struct check_entry *e;

    if (check_compare(&n->renewed[holder].ballot, &n->disk.promised) < 0)
        return false;
    e = check_entry(ck, &n->renewed[holder].ballot, n->renewed[holder].version);
    return e != NULL && e->is_chosen;
}

static bool hears_anybody(struct check *ck, int node)
{
    for (int i = 0; i < ck->nodes; i++)
        if (is_heard_holder(ck, node, i))
            return true;
    return false;
}

static void a_change_of_copy(struct check *ck, int node, const struct core *c,
                             const struct core_effect *e)
{
    const struct record *known = &c->voter.durable.record;
    int from = check_slot(ck, known, e->copy.member);
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (copy.state == COPY_PRIMARY)
        check_break(ck, INV_LEGAL, "node %d: %s on a primary", node, core_effect_name(e->type));
    if (from < 0 || !is_heard_holder(ck, node, from))
        check_break(ck, INV_LEGAL, "node %d: %s from node %d, which it has not heard renewing",
                    node, core_effect_name(e->type), from);
}

static bool is_in_a_pair(const struct check *ck, const struct record *r, int node, uint64_t copy_id)
{
    for (unsigned i = 0; i < r->pairs_n; i++)
        for (unsigned j = 0; j < r->pairs[i].n; j++)
            if (check_slot(ck, r, r->pairs[i].copies[j].member) == node &&
                r->pairs[i].copies[j].copy_id == copy_id)
                return true;
    return false;
}

/* As far as the member knows: a record that has not reached it cannot hold it back, and the id of
 * its next copy makes that safe. */
static void a_rebuild(struct check *ck, int node)
{
    const struct check_node *n = &ck->node[node];
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (copy.copy_id != 0 && n->entry >= 0 && is_in_a_pair(ck, &n->disk.record, node, copy.copy_id))
        check_break(ck, INV_LEGAL, "node %d: a copy in a pair is rebuilt", node);
}

static void a_fetch(struct check *ck, int node, const struct core *c, const struct core_effect *e)
{
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (copy.state == COPY_PRIMARY)
        check_break(ck, INV_LEGAL, "node %d: fetches on a primary", node);
    if (c->state != ST_FETCH || e->copy.member >= HM_MEMBERS_MAX)
        check_break(ck, INV_LEGAL, "node %d: fetches outside a takeover", node);
}

/* Only from a copy without a process, by a candidate that the owner promised. */
static void a_rescue(struct check *ck, int node, const struct core *c, const struct core_effect *e)
{
    const struct record *r = check_newest(ck);
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (copy.state == COPY_PRIMARY)
        check_break(ck, INV_LEGAL, "node %d: rescues on a primary", node);
    if (c->state != ST_RESCUE || e->copy.member >= HM_MEMBERS_MAX || e->copy.member == c->self)
        check_break(ck, INV_LEGAL, "node %d: rescues outside a takeover", node);
    else if (r != NULL && r->epoch == core_record(c)->epoch && r->durability != DURABILITY_ASYNC)
        check_break(ck, INV_LEGAL, "node %d: rescues in a sync mode", node);
}

/* A suspended primary goes on only if nobody took over. */
static void a_thaw(struct check *ck, int node)
{
    const struct record *r = check_newest(ck);
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (copy.state != COPY_PRIMARY || !copy.is_suspended)
        return;
    if (ck->node[node].clocks_stood)
        return; /* it cannot know, and what it acknowledges is looked at elsewhere */
    if (!holds(ck, node))
        check_break(ck, INV_LEGAL, "node %d: thaws a primary without a lease", node);
    else if (r == NULL || check_slot(ck, r, r->holder) != node || r->copy_id != copy.copy_id)
        check_break(ck, INV_LEGAL, "node %d: thaws a primary, and another epoch began", node);
}

/* R6: a suspended copy is killed by its own holder, or when another is heard renewing. */
static void a_kill(struct check *ck, int node, const struct core *c)
{
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (copy.state != COPY_PRIMARY || !copy.is_suspended || copy.is_forged || holds(ck, node) ||
        c->state == ST_HANDOVER || c->state == ST_RELEASED)
        return;
    if (!hears_anybody(ck, node))
        check_break(ck, INV_LEGAL, "node %d: kills its suspended copy, and nobody has renewed",
                    node);
}

/* Asked twice it does nothing; where anything was ever acknowledged it must not be asked at all. */
static void an_init(struct check *ck, int node)
{
    const struct record *r = check_newest(ck);
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (!holds(ck, node) || r == NULL || r->epoch != 1 || ck->promoted_epoch > 1 ||
        (copy.state != COPY_ABSENT && ck->acked_us != 0))
        check_break(ck, INV_LEGAL, "node %d: makes a new database where there was one", node);
}

/* --- synchronous replication ---------------------------------------------------------------- */

/* Names never let through what the chosen record, and one that may be chosen soon, do not. */
static void some_names(struct check *ck, int node, const struct core_effect *e)
{
    const struct record *r = own_chosen(ck, node);
    const struct check_entry *soon = check_accepted(ck, node);
    const struct pair alone = { .n = 0 };

    if (e->names.names == NAMES_NOBODY)
        return;
    if (r == NULL) {
        check_break(ck, INV_LEGAL, "node %d: sets names before a record is chosen", node);
        return;
    }
    if (e->names.names == NAMES_PAIR) {
        if (!check_has_pair(r, &e->names.pair) ||
            (soon != NULL && !check_has_pair(&soon->record, &e->names.pair)))
            check_break(ck, INV_LEGAL,
                        "node %d: sets a pair of %u copies, %u needed, that v%llu does not have",
                        node, e->names.pair.n, e->names.pair.need, (unsigned long long)r->version);
        return;
    }
    if (r->durability != DURABILITY_ASYNC &&
        (r->durability == DURABILITY_STRICT || !check_has_pair(r, &alone)))
        check_break(ck, INV_LEGAL, "node %d: sets empty names in %s", node,
                    durability_name(r->durability));
}

static void a_marker(struct check *ck, int node, const struct core_effect *e)
{
    struct check_copy copy;

    check_look(ck, node, &copy);
    if (copy.state == COPY_PRIMARY &&
        (copy.names != NAMES_PAIR || !check_same_pair(&copy.names_pair, &e->names.pair)))
        check_break(ck, INV_LEGAL, "node %d: writes a marker before its pair is in force", node);
}

/* A member that writes its own record has decided: what it hears later comes too late. */
static void a_write(struct check *ck, int node, const struct core_effect *e)
{
    struct check_node *n = &ck->node[node];

    if (n->is_blank)
        check_break(ck, INV_BALLOT, "node %d: a blank voter writes", node);
    if (check_find(ck, e->persist.state->accepted.incarnation) != node)
        return;
    n->draft_epoch = n->heard_epoch;
    n->draft_end = n->heard_end;
}

void check_effect(struct check *ck, int node, const struct core *c, const struct core_effect *e)
{
    if (ck->node[node].is_outside)
        return;
    switch (e->type) {
    case DO_FENCE:
        a_fence(ck, node, c, e);
        break;
    case DO_THAW:
        a_thaw(ck, node);
        break;
    case DO_KILL:
        a_kill(ck, node, c);
        break;
    case DO_PROMOTE:
        a_promotion(ck, node, e);
        break;
    case DO_FETCH:
        a_fetch(ck, node, c, e);
        break;
    case DO_RESCUE:
        a_rescue(ck, node, c, e);
        break;
    case DO_REWIND:
    case DO_CLONE:
        a_rebuild(ck, node);
        a_change_of_copy(ck, node, c, e);
        break;
    case DO_FOLLOW:
        a_change_of_copy(ck, node, c, e);
        break;
    case DO_INIT:
        an_init(ck, node);
        break;
    case DO_SET_NAMES:
        some_names(ck, node, e);
        break;
    case DO_MARKER:
        a_marker(ck, node, e);
        break;
    case DO_PERSIST:
        a_write(ck, node, e);
        break;
    case DO_SEND:
    case DO_START:
    case DO_STOP:
    case DO_FREEZE:
    case DO_CHECKPOINT:
    case DO_PROVE:
    case DO_LOOK:
    case DO_REPOINT:
    case DO_ALERT:
    case DO_REPLY:
    case CORE_EFFECTS_N:
        break;
    }
}
