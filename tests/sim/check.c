#include "check.h"

#include "check_inner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* More steps of one core within one of its milliseconds are a loop. */
#define STEPS_IN_A_MS_MAX 1000

const char *check_name(enum check_invariant invariant)
{
    static const char *const names[] = {
#define X(name, text) [name] = text,
        CHECK_INVARIANTS(X)
#undef X
    };

    return (unsigned)invariant < CHECK_INVARIANTS_N ? names[invariant] : "?";
}

void check_break(struct check *ck, enum check_invariant invariant, const char *format, ...)
{
    va_list args;

    if (check_failed(ck))
        return;
    ck->broken = invariant;
    ck->broken_us = check_now(ck);
    va_start(args, format);
    (void)vsnprintf(ck->what, sizeof ck->what, format, args); /* cut is good enough */
    va_end(args);
}

/* --- the world, and who is who -------------------------------------------------------------- */

int64_t check_now(const struct check *ck)
{
    return ck->eyes.now_us(ck->eyes.world);
}

hm_ms check_local(const struct check *ck, int node)
{
    return ck->eyes.local_ms(ck->eyes.world, node);
}

void check_look(const struct check *ck, int node, struct check_copy *ret)
{
    ck->eyes.copy(ck->eyes.world, node, ret);
}

int check_identity(const struct check *ck, uint64_t incarnation)
{
    for (int i = 0; i < ck->identities_n; i++)
        if (ck->identity[i].incarnation == incarnation)
            return i;
    return -1;
}

int check_find(const struct check *ck, uint64_t incarnation)
{
    int i = check_identity(ck, incarnation);

    return i < 0 ? -1 : ck->identity[i].node;
}

int check_slot(const struct check *ck, const struct record *r, uint8_t slot)
{
    if (slot >= HM_MEMBERS_MAX || r->member[slot].incarnation == 0)
        return -1;
    return check_find(ck, r->member[slot].incarnation);
}

/* --- life ----------------------------------------------------------------------------------- */

void check_init(struct check *ck, const struct check_eyes *eyes, enum service_kind kind, int nodes)
{
    /* The entries are many and are written before they are read. */
    memset(ck, 0, offsetof(struct check, entry));
    ck->eyes = *eyes;
    ck->kind = kind;
    ck->nodes = nodes;
    ck->newest = -1;
    ck->promoted_node = -1;
    ck->acked_node = -1;
    ck->acked_last_node = -1;
    for (int i = 0; i < CHECK_NODES_MAX; i++) {
        ck->node[i].identity = -1;
        ck->node[i].entry = -1;
        ck->node[i].own_chosen = -1;
        ck->node[i].valid_until_ms = HM_PAST;
        ck->node[i].sync_since_us = INT64_MAX;
    }
}

void check_joined(struct check *ck, int node, uint64_t incarnation)
{
    struct check_node *n = &ck->node[node];

    if (ck->identities_n == CHECK_IDENTITIES_MAX) {
        check_break(ck, INV_LIVE, "the run has more than %d incarnations: raise the limit",
                    CHECK_IDENTITIES_MAX);
        return;
    }
    ck->identity[ck->identities_n].incarnation = incarnation;
    ck->identity[ck->identities_n].node = node;
    n->identity = ck->identities_n++;
    n->has_disk = false;
    n->is_outside = false;
    n->entry = -1;
    n->own_chosen = -1;
    memset(&n->disk, 0, sizeof n->disk);
    memset(&n->top, 0, sizeof n->top);
    memset(&n->barrier, 0, sizeof n->barrier);
    memset(&n->released, 0, sizeof n->released);
    memset(&n->accepting, 0, sizeof n->accepting);
}

/* Durable state never goes back within one incarnation. */
static void must_not_go_back(struct check *ck, int node, const struct voter_state *now)
{
    const struct voter_state *old = &ck->node[node].disk;

    if (check_compare(&now->promised, &old->promised) < 0)
        check_break(ck, INV_BALLOT, "node %d: promised goes back from %llu/%u to %llu/%u", node,
                    (unsigned long long)old->promised.counter, old->promised.member,
                    (unsigned long long)now->promised.counter, now->promised.member);
    if (check_order(&now->accepted, now->record.version, &old->accepted, old->record.version) < 0)
        check_break(
            ck, INV_BALLOT, "node %d: accepted goes back from %llu/%u v%llu to %llu/%u v%llu", node,
            (unsigned long long)old->accepted.counter, old->accepted.member,
            (unsigned long long)old->record.version, (unsigned long long)now->accepted.counter,
            now->accepted.member, (unsigned long long)now->record.version);
    if (check_compare(&now->promised, &now->accepted) < 0)
        check_break(ck, INV_BALLOT, "node %d: accepted %llu/%u above what it promised, %llu/%u",
                    node, (unsigned long long)now->accepted.counter, now->accepted.member,
                    (unsigned long long)now->promised.counter, now->promised.member);
}

void check_started(struct check *ck, int node, const struct voter_state *state)
{
    struct check_node *n = &ck->node[node];

    n->is_live = true;
    n->is_blank = state == NULL;
    n->valid_until_ms = HM_PAST;
    n->barrier = n->top;
    memset(n->renewed, 0, sizeof n->renewed);
    memset(n->peer, 0, sizeof n->peer);
    n->heard_epoch = 0;
    n->heard_end = 0;
    n->heard_most = 0;
    n->has_resumed = false;
    memset(n->last_seq, 0, sizeof n->last_seq);
    n->step_ms = HM_PAST;
    if (state == NULL)
        return;
    if (n->has_disk)
        must_not_go_back(ck, node, state);
    n->has_disk = true;
    n->disk = *state;
    if (state->accepted.counter != 0)
        check_note_accepted(ck, node, state);
}

void check_stopped(struct check *ck, int node, bool is_host)
{
    struct check_node *n = &ck->node[node];

    n->is_live = false;
    n->valid_until_ms = HM_PAST;
    if (is_host) {
        n->licence_us = 0;
        n->told = FENCE_NONE;
        n->clocks_stood = false;
    }
}

/* R7: the longest ttl comes down only when no lease that it granted can be live. */
static void must_cover_leases(struct check *ck, int node, const struct voter_state *now)
{
    const struct check_node *n = &ck->node[node];
    int64_t covered_us = check_now(ck) + now->max_ttl_ms * 100000 / 101 + ROUNDING_US;

    if (now->max_ttl_ms >= n->disk.max_ttl_ms)
        return;
    for (int h = 0; h < ck->nodes; h++)
        if (ck->grant[n->identity][h].until_us > covered_us)
            check_break(ck, INV_PROMISE,
                        "node %d: max_ttl comes down to %lld ms with a longer lease live", node,
                        (long long)now->max_ttl_ms);
}

void check_persisted(struct check *ck, int node, const struct voter_state *state)
{
    struct check_node *n = &ck->node[node];

    if (check_failed(ck))
        return;
    if (n->is_blank)
        check_break(ck, INV_BALLOT, "node %d: a blank voter wrote a state", node);
    must_not_go_back(ck, node, state);
    must_cover_leases(ck, node, state);
    n->has_disk = true;
    n->disk = *state;
    if (state->accepted.counter != 0)
        check_note_accepted(ck, node, state);
}

/* What the other members are told before they may forget it. */
void check_received(struct check *ck, int node, const struct msg *m)
{
    struct check_node *n = &ck->node[node];
    int from = check_find(ck, m->from_incarnation);
    const struct core *c = ck->eyes.core(ck->eyes.world, node);
    struct check_grant *g;

    if (from < 0)
        return;
    if (m->type == MSG_RENEW && check_order(&m->ballot, m->version, &n->renewed[from].ballot,
                                            n->renewed[from].version) > 0) {
        n->renewed[from].ballot = m->ballot;
        n->renewed[from].version = m->version;
    } else if (m->type == MSG_RELEASE && n->identity >= 0) {
        g = &ck->grant[n->identity][from];
        if (check_compare(&g->ballot, &m->ballot) <= 0)
            g->until_us = 0;
        if (check_compare(&g->released, &m->ballot) < 0)
            g->released = m->ballot;
    }
    n->peer[from].at_us = check_now(ck);
    n->peer[from].end = m->gossip.copy == COPY_STANDBY ? m->gossip.at.offset : 0;
    if (m->gossip.copy == COPY_PRIMARY && m->gossip.is_holder &&
        m->gossip.epoch >= n->heard_epoch) {
        if (m->gossip.epoch > n->heard_epoch || m->gossip.at.offset > n->heard_most)
            n->heard_most = m->gossip.at.offset;
        n->heard_epoch = m->gossip.epoch;
        /* What comes after the decision to take over cannot be blamed on it. */
        if (c == NULL || c->state != ST_ACCEPT)
            n->heard_end = m->gossip.at.offset;
    }
}

/* --- a step --------------------------------------------------------------------------------- */

static void check_loop(struct check *ck, int node)
{
    struct check_node *n = &ck->node[node];
    hm_ms now_ms = check_local(ck, node);

    if (now_ms != n->step_ms) {
        n->step_ms = now_ms;
        n->steps = 0;
    }
    if (++n->steps > STEPS_IN_A_MS_MAX)
        check_break(ck, INV_LIVE, "node %d: more than %d steps within one millisecond", node,
                    STEPS_IN_A_MS_MAX);
}

void check_stepped(struct check *ck, int node, const struct core_effects *did)
{
    const struct core *c = ck->eyes.core(ck->eyes.world, node);
    bool has_resumed;

    if (check_failed(ck))
        return;
    check_loop(ck, node);
    if (c == NULL)
        return;
    check_lease(ck, node, c);
    has_resumed = ck->node[node].has_resumed;
    for (size_t i = 0; i < did->n; i++) {
        if (did->item[i].type == DO_SEND)
            check_message(ck, node, &did->item[i].send);
        else
            check_effect(ck, node, c, &did->item[i]);
    }
    /* A paused cluster is over for its holder before anybody else can hear that it is. */
    if (!has_resumed && ck->node[node].has_resumed && ck->node[node].told == FENCE_PAUSED)
        check_break(ck, INV_LEGAL, "node %d: resumes in what it sends, and stays unfenced", node);
}

/* --- what excuses --------------------------------------------------------------------------- */

void check_clocks_stood(struct check *ck, int node)
{
    ck->node[node].clocks_stood = true;
    ck->node[node].stood_ms = check_local(ck, node);
}

void check_excused(struct check *ck, int node, bool is_excused)
{
    ck->node[node].is_excused = is_excused;
}

void check_forced(struct check *ck, uint32_t survivors)
{
    ck->forced |= survivors;
}
