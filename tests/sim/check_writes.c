/* check_writes.c - what clients were told: one writer (P1), nothing lost (P2), little lost (P3). */
#include "check_inner.h"

/* --- branches ------------------------------------------------------------------------------- */

struct check_branch *check_branch(struct check *ck, uint32_t id)
{
    for (int i = ck->branches_n - 1; i >= 0; i--)
        if (ck->branch[i].id == id)
            return &ck->branch[i];
    return NULL;
}

void check_branched(struct check *ck, uint32_t id, uint32_t parent, uint64_t fork)
{
    if (check_failed(ck))
        return;
    if (ck->branches_n == CHECK_BRANCHES_MAX) {
        check_break(ck, INV_LIVE, "the run has more than %d branches", CHECK_BRANCHES_MAX);
        return;
    }
    ck->branch[ck->branches_n++] =
        (struct check_branch){ .id = id, .parent = parent, .fork = fork };
}

bool check_contains(const struct check *ck, uint32_t tip, uint64_t end, uint32_t branch,
                    uint64_t at)
{
    for (int i = ck->branches_n - 1; i >= 0; i--) {
        const struct check_branch *b = &ck->branch[i];

        if (b->id != tip)
            continue; /* parents were told before their children */
        if (b->id == branch)
            return at <= end;
        tip = b->parent;
        if (b->fork < end)
            end = b->fork;
    }
    return false;
}

/* --- promotions ----------------------------------------------------------------------------- */

/* P2: the whole of what was acknowledged is on the new primary. */
static void has_all_writes(struct check *ck, int node, uint32_t branch, uint64_t epoch)
{
    for (int i = 0; i < ck->branches_n; i++) {
        const struct check_branch *b = &ck->branch[i];

        if (b->acked != 0 && !check_contains(ck, branch, UINT64_MAX, b->id, b->acked))
            check_break(ck, INV_P2,
                        "node %d is promoted (epoch %llu) without what branch %u acknowledged up "
                        "to %llu",
                        node, (unsigned long long)epoch, b->id, (unsigned long long)b->acked);
    }
}

/* A Redis that lost its data may go on if it knows nobody who has more. */
static bool knows_nobody_with_more(const struct check *ck, int node, const struct check_branch *b)
{
    const struct record *r = check_newest(ck);
    const struct check_node *n = &ck->node[node];

    if (ck->kind != SERVICE_REDIS || ck->promoted_node != node || r == NULL)
        return false;
    for (int i = 0; i < ck->nodes; i++)
        if (i != node && n->peer[i].end > b->fork + r->max_lag_bytes &&
            check_now(ck) - n->peer[i].at_us < r->ttl_ms * 1000)
            return false;
    return true;
}

/* ... while its record says that it was alone: in sync that is outside of P2, and said loudly. */
static bool has_lost_all_alone(const struct check *ck, int node, const struct check_branch *b)
{
    const struct record *r = check_newest(ck);

    return knows_nobody_with_more(ck, node, b) && check_has_pair(r, &(struct pair){ .n = 0 });
}

static void forget_acknowledged(struct check *ck)
{
    for (int i = 0; i < ck->branches_n; i++)
        ck->branch[i].acked = 0;
}

/* A diverged copy never becomes primary; in async a copy that is too far behind neither. */
static void is_on_history(struct check *ck, int node, const struct check_branch *b)
{
    const struct check_node *n = &ck->node[node];
    const struct record *r = check_newest(ck);

    if (ck->promoted_branch != 0 && b->parent != 0 &&
        !check_contains(ck, ck->promoted_branch, UINT64_MAX, b->parent, b->fork) &&
        !knows_nobody_with_more(ck, node, b))
        check_break(ck, INV_P3, "node %d: a copy that diverged from branch %u at %llu is promoted",
                    node, ck->promoted_branch, (unsigned long long)b->fork);
    if (r != NULL && r->durability == DURABILITY_ASYNC && b->fork < n->least_end &&
        ck->kind == SERVICE_POSTGRES)
        check_break(ck, INV_P3, "node %d: promoted at %llu, and %llu was the least", node,
                    (unsigned long long)b->fork, (unsigned long long)n->least_end);
}

void check_promoted(struct check *ck, int node, uint32_t branch, uint64_t epoch)
{
    struct check_node *n = &ck->node[node];
    struct check_branch *b = check_branch(ck, branch);

    if (check_failed(ck) || b == NULL || n->is_outside)
        return;
    b->epoch = epoch;
    if (n->told == FENCE_STANDBY || n->told == FENCE_NONE)
        check_break(ck, INV_LEGAL, "node %d: becomes primary, and the fence was told \"%s\"", node,
                    fence_mode_name(n->told));
    if (epoch == ck->promoted_epoch && ck->promoted_node != node && ck->promoted_node >= 0)
        check_break(ck, INV_EPOCH, "epoch %llu is promoted on node %d and on node %d",
                    (unsigned long long)epoch, ck->promoted_node, node);
    if (epoch < ck->promoted_epoch)
        return; /* late, and fenced: its acknowledgements would be seen */
    is_on_history(ck, node, b);
    if (has_lost_all_alone(ck, node, b))
        forget_acknowledged(ck);
    has_all_writes(ck, node, branch, epoch);
    if (ck->promoted_node >= 0 && ck->promoted_node != node)
        ck->failovers++;
    ck->promoted_epoch = epoch;
    ck->promoted_branch = branch;
    ck->promoted_node = node;
    n->least_end = 0;
}

/* --- acknowledgements ----------------------------------------------------------------------- */

/* P1: after anybody of a later epoch acknowledged, or could. */
static void is_the_only_writer(struct check *ck, int node, uint64_t epoch)
{
    const struct check_node *n = &ck->node[node];
    bool after_promotion = ck->promoted_epoch > epoch && ck->promoted_node != node;
    bool after_ack = ck->acked_epoch > epoch && ck->acked_node != node;

    /* A machine that stood still with its clocks may acknowledge for a moment. In the sync modes
     * that can only be what its standbys had confirmed before: P2 looks at each of them. */
    if ((!after_promotion && !after_ack) || n->is_excused || n->clocks_stood)
        return;
    check_break(ck, INV_P1, "node %d acknowledges in epoch %llu after node %d %s in epoch %llu",
                node, (unsigned long long)epoch, after_ack ? ck->acked_node : ck->promoted_node,
                after_ack ? "acknowledged" : "became primary",
                (unsigned long long)(after_ack ? ck->acked_epoch : ck->promoted_epoch));
}

/* A primary that ran before hamgr did, and whose helper has not been told anything yet: until it
 * has been, the record lets nobody else go on (6.1: the pair of nobody). */
static bool is_being_adopted(const struct check *ck, int node)
{
    const struct record *r = check_newest(ck);
    const struct core *c = ck->eyes.core(ck->eyes.world, node);

    if (r == NULL || r->version == 1)
        return true;
    return c != NULL && c->copy.fence == FENCE_NONE && r->epoch == 1 && r->pairs_n == 1 &&
           r->durability != DURABILITY_ASYNC && check_is_alone(&r->pairs[0]);
}

/* The ladder: nothing leaves after the lease that the fence was told of. */
static void is_within_its_lease(struct check *ck, int node)
{
    const struct check_node *n = &ck->node[node];
    int64_t over_us = check_now(ck) - n->licence_us;

    if (n->own_chosen >= 0 && ck->entry[n->own_chosen].record.is_paused)
        return; /* whatever the fence was told, it is not in force before the resume is */
    if (n->told == FENCE_PAUSED || n->told == FENCE_NONE || n->is_excused || n->clocks_stood)
        return;
    if (is_being_adopted(ck, node))
        return;
    if (over_us > 0)
        check_break(ck, INV_LEASE, "node %d acknowledges %lld us after its lease (fence: %s)", node,
                    (long long)over_us, fence_mode_name(n->told));
}

/* 6.1: whoever was told so, the pairs of the chosen record cover what is acknowledged. */
static bool is_covered(struct check *ck, const struct record *r, const struct pair *p,
                       uint32_t branch, uint64_t lsn)
{
    unsigned have = 0;

    for (unsigned i = 0; i < p->n; i++) {
        int node = check_slot(ck, r, p->copies[i].member);
        struct check_copy c;

        if (node < 0) {
            have++; /* gone with all it had: it may have had this, too */
            continue;
        }
        check_look(ck, node, &c);
        if (c.copy_id != p->copies[i].copy_id)
            have++;
        else if (check_contains(ck, c.branch, c.flushed, branch, lsn))
            have++;
    }
    return have >= p->need;
}

static void is_covered_by_a_pair(struct check *ck, int node, uint32_t branch, uint64_t epoch,
                                 uint64_t lsn)
{
    const struct record *r = check_newest(ck);

    if (r->epoch != epoch || check_slot(ck, r, r->holder) != node)
        return; /* taken over: is_not_lost() */
    for (unsigned i = 0; i < r->pairs_n; i++)
        if (is_covered(ck, r, &r->pairs[i], branch, lsn))
            return;
    check_break(ck, INV_P2, "node %d acknowledges %llu, and no pair of v%llu has it", node,
                (unsigned long long)lsn, (unsigned long long)r->version);
}

/* P2, for an acknowledgement that comes after a later primary began. */
static void is_not_lost(struct check *ck, int node, uint32_t branch, uint64_t epoch, uint64_t lsn)
{
    if (ck->promoted_epoch > epoch &&
        !check_contains(ck, ck->promoted_branch, UINT64_MAX, branch, lsn))
        check_break(ck, INV_P2,
                    "node %d acknowledges %llu in epoch %llu, and epoch %llu on node %d has it not",
                    node, (unsigned long long)lsn, (unsigned long long)epoch,
                    (unsigned long long)ck->promoted_epoch, ck->promoted_node);
}

void check_acknowledged(struct check *ck, int node, uint32_t branch, uint64_t epoch, uint64_t lsn,
                        int64_t released_us, bool is_confirmed)
{
    struct check_branch *b;

    if (check_failed(ck) || ck->node[node].is_outside)
        return;
    is_the_only_writer(ck, node, epoch);
    is_within_its_lease(ck, node);
    if (is_confirmed && released_us >= ck->node[node].sync_since_us) {
        is_covered_by_a_pair(ck, node, branch, epoch, lsn);
        is_not_lost(ck, node, branch, epoch, lsn);
        b = check_branch(ck, branch);
        if (b != NULL && lsn > b->acked)
            b->acked = lsn;
    }
    if (epoch >= ck->acked_epoch) {
        ck->acked_epoch = epoch;
        ck->acked_node = node;
    }
    check_calm_ack(ck);
    ck->acked_us = check_now(ck);
    ck->acked_last_node = node;
}
