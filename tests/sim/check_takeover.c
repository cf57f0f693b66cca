/* check_takeover.c - the first ACCEPT of a ballot: had its proposer the right to it?
 *
 * Counted anew from the answers that left the voters, which are at least those that arrived. */
#include "check_inner.h"

/* True if the copy of `node` is the one that this record's epoch runs on. */
static bool is_its_copy(const struct check *ck, int node, const struct record *r,
                        const struct check_copy *own)
{
    return check_slot(ck, r, r->holder) == node && r->copy_id == own->copy_id;
}

/* The promises: a majority of the members before this ballot, and all voters for the first record.
 * A member that is the only voter may add another with its first ACCEPT that leaves. */
static void has_promises(struct check *ck, int node, const struct msg *m)
{
    uint32_t promised = check_attempt(ck, &m->ballot)->promised | (1u << ck->node[node].identity);
    uint32_t voters = check_identities(ck, m->record, m->record->voters);
    uint16_t before = m->record->old_voters != 0 ? m->record->old_voters : m->record->voters;

    if (!check_majority_of(ck, m->record, before, promised))
        check_break(ck, INV_REGISTER,
                    "node %d: ACCEPT %llu/%u v%llu without a majority of promises", node,
                    (unsigned long long)m->ballot.counter, m->ballot.member,
                    (unsigned long long)m->version);
    if (ck->newest < 0 && m->record->version == 1 && (voters & ~promised) != 0)
        check_break(ck, INV_REGISTER, "node %d: the first record, and not every voter is asked",
                    node);
}

/* Whatever was chosen below this ballot was in one of the promises. */
static void knows_what_is_chosen(struct check *ck, int node, const struct msg *m)
{
    const struct check_entry *newest = ck->newest < 0 ? NULL : &ck->entry[ck->newest];

    if (newest == NULL || check_compare(&newest->ballot, &m->ballot) >= 0)
        return;
    if (m->record->version <= newest->version || m->record->epoch < newest->record.epoch)
        check_break(ck, INV_REGISTER,
                    "node %d: ACCEPT %llu/%u v%llu epoch %llu, and v%llu epoch %llu is chosen",
                    node, (unsigned long long)m->ballot.counter, m->ballot.member,
                    (unsigned long long)m->version, (unsigned long long)m->record->epoch,
                    (unsigned long long)newest->version, (unsigned long long)newest->record.epoch);
}

/* Copies of the pair that are known to reach no further than the candidate's own. */
static unsigned met(struct check *ck, int node, const struct record *old, const struct pair *p,
                    const struct check_attempt *a, const struct check_copy *own)
{
    unsigned n = 0;

    for (unsigned i = 0; i < p->n; i++) {
        int from = check_slot(ck, old, p->copies[i].member);

        if (from < 0)
            continue;
        if (from == node)
            n += own->copy_id == p->copies[i].copy_id;
        else if (a->answer[from].copy_id == p->copies[i].copy_id)
            n += check_contains(ck, own->branch, own->end, a->answer[from].branch,
                                a->answer[from].end);
    }
    return n;
}

/* 6.1: for every pair answers from |C| - k + 1 copies of C, and nobody is ahead. */
static void has_everything(struct check *ck, int node, const struct record *old,
                           const struct check_attempt *a, const struct check_copy *own)
{
    for (unsigned i = 0; i < old->pairs_n; i++) {
        const struct pair *p = &old->pairs[i];
        unsigned n = met(ck, node, old, p, a, own);

        if (check_is_alone(p))
            check_break(ck, INV_P2,
                        "node %d: takes over from epoch %llu, which may have acknowledged alone",
                        node, (unsigned long long)old->epoch);
        else if (n + p->need < p->n + 1u)
            check_break(ck, INV_P2,
                        "node %d: takes over from epoch %llu with %u of the %u logs that pair %u "
                        "asks for (%u copies, %u needed)",
                        node, (unsigned long long)old->epoch, n, p->n - p->need + 1u, i, p->n,
                        p->need);
    }
}

/* P3: what this member itself was told about the primary. */
static void is_not_behind(struct check *ck, int node, const struct record *old,
                          const struct check_copy *own)
{
    struct check_node *n = &ck->node[node];
    uint64_t end = old->last_known.offset;

    if (n->draft_epoch == old->epoch && n->draft_end > end)
        end = n->draft_end;
    n->least_end = end > old->max_lag_bytes ? end - old->max_lag_bytes : 0;
    if (own->end < n->least_end)
        check_break(ck, INV_P3, "node %d: takes over %llu bytes behind, and %llu may be lost", node,
                    (unsigned long long)(end - own->end), (unsigned long long)old->max_lag_bytes);
}

static void may_take_over(struct check *ck, int node, const struct record *old, const struct msg *m)
{
    struct check_copy own;
    bool is_decided; /* by a person, whatever is missing in that copy */

    check_look(ck, node, &own);
    ck->node[node].least_end = 0;
    if (is_its_copy(ck, node, old, &own))
        return;
    is_decided = (ck->forced >> node & 1u) != 0;
    if (old->is_paused)
        check_break(ck, INV_LEGAL, "node %d: takes over a paused cluster", node);
    if (own.is_streaming || check_is_writable(&own))
        check_break(ck, INV_LEGAL, "node %d: takes over while its copy %s", node,
                    own.is_streaming ? "streams" : "is a primary");
    if (is_decided)
        return;
    if (old->durability == DURABILITY_ASYNC)
        is_not_behind(ck, node, old, &own);
    else
        has_everything(ck, node, old, check_attempt(ck, &m->ballot), &own);
}

void check_first_accept(struct check *ck, int node, const struct msg *m)
{
    const struct core *c = ck->eyes.core(ck->eyes.world, node);

    if (ck->node[node].is_outside)
        return;
    if (check_slot(ck, m->record, m->record->holder) != node)
        check_break(ck, INV_REGISTER, "node %d: ACCEPT names slot %u as the holder", node,
                    m->record->holder);
    has_promises(ck, node, m);
    knows_what_is_chosen(ck, node, m);
    if (c->adopted.epoch != 0 && m->record->epoch > c->adopted.epoch)
        may_take_over(ck, node, &c->adopted, m);
}
