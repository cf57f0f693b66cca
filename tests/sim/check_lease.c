/* check_lease.c - how long a holder may believe that it holds. */
#include "check_inner.h"

/* Identities that owe their vote to the holder until `until_us`, its own voter always. The slack
 * is the rounding of times only: the design's margin covers the drift. */
static uint32_t supporters(const struct check *ck, int node, int64_t until_us)
{
    uint32_t set = 1u << ck->node[node].identity;

    for (int i = 0; i < ck->identities_n; i++)
        if (ck->grant[i][node].until_us + ROUNDING_US >= until_us)
            set |= 1u << i;
    return set;
}

/* Until the change of members is chosen, whoever takes over needs a majority of the old voters,
 * whether or not he knows of the change; from then on of both. A majority that he cannot do without
 * is enough for the lease. */
static bool is_owed_by_majority(const struct check *ck, const struct check_entry *e, uint32_t yes)
{
    const struct record *r = &e->record;

    if (r->old_voters == 0)
        return check_majority_of(ck, r, r->voters, yes);
    return check_majority_of(ck, r, r->old_voters, yes) ||
           (e->is_chosen && check_majority_of(ck, r, r->voters, yes));
}

static void must_be_only_one(struct check *ck, int node, int64_t until_us)
{
    int64_t now_us = check_now(ck);

    for (int i = 0; i < ck->nodes; i++) {
        const struct check_node *other = &ck->node[i];

        if (i == node || other->licence_us <= now_us || other->clocks_stood || other->is_outside)
            continue;
        check_break(ck, INV_LEASE, "node %d holds until %+lld us and node %d until %+lld us", node,
                    (long long)(until_us - now_us), i, (long long)(other->licence_us - now_us));
    }
}

/* True if the deadline comes from what was sent after the clocks stood still: the next full round
 * of renewals heals a holder. */
static bool is_renewed_since(const struct check_node *n)
{
    hm_ms ttl_ms = n->disk.max_ttl_ms;

    /* A change of members may bring back support from before: what its voters owed then has run out
     * after one ttl. */
    return n->valid_until_ms - ttl_ms + ttl_ms / 50 >= n->stood_ms + ttl_ms;
}

void check_lease(struct check *ck, int node, const struct core *c)
{
    struct check_node *n = &ck->node[node];
    const struct check_entry *e;
    hm_ms until_ms = core_valid_until(c);
    int64_t until_us;
    bool is_owed;

    if (until_ms == n->valid_until_ms)
        return;
    n->valid_until_ms = until_ms;
    if (until_ms <= check_local(ck, node) || n->is_outside)
        return;

    until_us = ck->eyes.true_us(ck->eyes.world, node, until_ms);
    e = check_accepted(ck, node);
    if (n->is_blank || e == NULL) {
        check_break(ck, INV_LEASE, "node %d: a lease without a durable record", node);
        return;
    }
    is_owed = is_owed_by_majority(ck, e, supporters(ck, node, until_us));
    if (n->clocks_stood && is_owed && is_renewed_since(n))
        n->clocks_stood = false;
    else if (!is_owed && !n->clocks_stood)
        check_break(ck, INV_LEASE,
                    "node %d: believes in its lease for %lld us more than a majority owes it", node,
                    (long long)(until_us - check_now(ck)));
    if (n->clocks_stood)
        return;
    must_be_only_one(ck, node, until_us);
    if (until_us > n->licence_us)
        n->licence_us = until_us;
}
