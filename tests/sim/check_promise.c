/* check_promise.c - what leaves a member: is it on disk, and is it true? */
#include "check_inner.h"

/* --- the voter ------------------------------------------------------------------------------ */

bool check_owes_another(const struct check *ck, int node, int holder, int64_t *ret_left_us)
{
    const struct check_node *n = &ck->node[node];
    int64_t now_us = check_now(ck);

    if (node != holder && n->valid_until_ms > check_local(ck, node) && !n->clocks_stood &&
        !n->is_outside) {
        *ret_left_us = (n->valid_until_ms - check_local(ck, node)) * 1000;
        return true; /* it holds itself */
    }
    for (int h = 0; h < ck->nodes; h++) {
        int64_t left_us = ck->grant[n->identity][h].until_us - now_us;

        if (h != holder && left_us > 0) {
            *ret_left_us = left_us;
            return true;
        }
    }
    return false;
}

static void a_prevote(struct check *ck, int node, int to, const struct msg *m)
{
    int64_t left_us;

    if (check_owes_another(ck, node, to, &left_us))
        check_break(ck, INV_PROMISE,
                    "node %d: prevotes for node %d, and owes another its vote for %lld us", node,
                    to, (long long)left_us);
    check_attempt(ck, &m->ballot)->prevoted |= 1u << ck->node[node].identity;
}

static void a_promise(struct check *ck, int node, int to, const struct msg *m)
{
    const struct check_node *n = &ck->node[node];
    int64_t left_us;

    if (check_compare(&n->disk.promised, &m->ballot) != 0)
        check_break(ck, INV_PROMISE, "node %d: promises ballot %llu/%u, and has %llu/%u on disk",
                    node, (unsigned long long)m->ballot.counter, m->ballot.member,
                    (unsigned long long)n->disk.promised.counter, n->disk.promised.member);
    if (check_compare(&n->disk.accepted, &m->accepted) != 0 ||
        (m->accepted.counter != 0 &&
         (m->record == NULL || m->record->version != n->disk.record.version)))
        check_break(ck, INV_PROMISE, "node %d: promises without what it accepted", node);
    /* One that promised to LOG_FREEZE may answer PREPARE late; it counts for nothing then. */
    if (!check_attempt(ck, &m->ballot)->is_freezing && check_owes_another(ck, node, to, &left_us))
        check_break(ck, INV_PROMISE,
                    "node %d: promises to node %d, and owes another its vote for %lld us", node, to,
                    (long long)left_us);
    check_attempt(ck, &m->ballot)->promised |= 1u << n->identity;
}

/* A lease: to ACCEPT or RENEW. */
static void a_grant(struct check *ck, int node, int to, const struct msg *m)
{
    const struct check_node *n = &ck->node[node];
    struct check_grant *g;
    int64_t until_us;

    if (check_order(&n->disk.accepted, n->disk.record.version, &m->ballot, m->version) != 0)
        check_break(ck, INV_PROMISE,
                    "node %d: grants a lease for %llu/%u v%llu, and has %llu/%u v%llu on disk",
                    node, (unsigned long long)m->ballot.counter, m->ballot.member,
                    (unsigned long long)m->version, (unsigned long long)n->disk.accepted.counter,
                    n->disk.accepted.member, (unsigned long long)n->disk.record.version);
    if (check_compare(&n->disk.promised, &m->ballot) > 0)
        check_break(ck, INV_PROMISE, "node %d: grants a lease below its promise %llu/%u", node,
                    (unsigned long long)n->disk.promised.counter, n->disk.promised.member);
    if (m->ttl_ms > n->disk.max_ttl_ms)
        check_break(ck, INV_PROMISE, "node %d: grants %lld ms, and %lld ms is durable", node,
                    (long long)m->ttl_ms, (long long)n->disk.max_ttl_ms);
    /* A majority has promised the new holder: what the former ones were owed is void. */
    for (int h = 0; h < ck->nodes; h++)
        if (h != to && check_compare(&ck->grant[n->identity][h].ballot, &m->ballot) < 0)
            ck->grant[n->identity][h].until_us = 0;
    g = &ck->grant[n->identity][to];
    if (check_compare(&m->ballot, &ck->node[to].released) <= 0 ||
        check_compare(&m->ballot, &g->released) <= 0)
        return; /* nobody may use it any more */
    /* The fastest clock that the design allows, so that a voter that restarts with another one
     * and counts its quarantine by that still keeps its word. */
    until_us = check_now(ck) + m->ttl_ms * 100000 / 101;
    g->ballot = m->ballot;
    if (until_us > g->until_us)
        g->until_us = until_us;
}

/* What an answer to LOG_FREEZE says about the copy, against what the copy is. */
static void a_frozen_log(struct check *ck, int node, const struct msg *m)
{
    const struct check_node *n = &ck->node[node];
    struct check_attempt *a;
    struct check_copy c;

    if (check_compare(&n->disk.promised, &m->ballot) < 0)
        check_break(ck, INV_PROMISE, "node %d: answers LOG_FREEZE %llu/%u, promised only %llu/%u",
                    node, (unsigned long long)m->ballot.counter, m->ballot.member,
                    (unsigned long long)n->disk.promised.counter, n->disk.promised.member);
    check_look(ck, node, &c);
    if (c.is_streaming || check_is_writable(&c))
        check_break(ck, INV_LEGAL, "node %d: answers LOG_FREEZE while its copy %s", node,
                    c.is_streaming ? "streams" : "is a primary");
    if (c.state == COPY_ABSENT || c.state == COPY_REBUILDING || m->copy_id != c.copy_id)
        check_break(ck, INV_LEGAL, "node %d: answers LOG_FREEZE for a copy that it has not (%s)",
                    node, copy_state_name(c.state));
    /* Below what it has flushed it would hide commits; the rest may be lost in a crash. */
    if (m->at.offset < c.flushed || (c.state == COPY_STANDBY && m->at.offset > c.end))
        check_break(ck, INV_LEGAL, "node %d: says its log ends at %llu; it ends at %llu", node,
                    (unsigned long long)m->at.offset, (unsigned long long)c.end);
    /* One that restarted a moment ago has nothing new on its disk if it was frozen before. */
    if (c.state == COPY_STANDBY && !c.is_final && m->at.offset != c.end)
        check_break(ck, INV_LEGAL, "node %d: answers LOG_FREEZE before its log is read", node);
    a = check_attempt(ck, &m->ballot);
    a->answer[node].copy_id = c.copy_id;
    a->answer[node].branch = c.branch;
    a->answer[node].end = c.end;
}

/* --- the proposer --------------------------------------------------------------------------- */

static bool holds(const struct check *ck, int node)
{
    return ck->node[node].valid_until_ms > check_local(ck, node);
}

static uint32_t with_self(const struct check *ck, int node, uint32_t set)
{
    return set | 1u << ck->node[node].identity;
}

/* R4: the own promise is durable before anybody else is asked for one. */
static void own_promise_first(struct check *ck, int node, const struct msg *m)
{
    const struct check_node *n = &ck->node[node];

    if (check_compare(&n->disk.promised, &m->ballot) < 0)
        check_break(ck, INV_PROMISE,
                    "node %d: %s %llu/%u leaves, and its own disk promises %llu/%u", node,
                    msg_type_name(m->type), (unsigned long long)m->ballot.counter, m->ballot.member,
                    (unsigned long long)n->disk.promised.counter, n->disk.promised.member);
}

static void a_prepare(struct check *ck, int node, const struct msg *m)
{
    const struct check_node *n = &ck->node[node];
    const struct check_entry *e = check_accepted(ck, node);

    own_promise_first(ck, node, m);
    if (e == NULL || holds(ck, node) || n->is_outside)
        return;
    if (!check_majority(ck, &e->record,
                        with_self(ck, node, check_attempt(ck, &m->ballot)->prevoted),
                        !e->is_chosen))
        check_break(ck, INV_PROMISE, "node %d: PREPARE %llu/%u without a majority of prevotes",
                    node, (unsigned long long)m->ballot.counter, m->ballot.member);
}

/* A voter promises to LOG_FREEZE in spite of a lease, because a majority has promised before. */
static void a_freeze(struct check *ck, int node, const struct core *c, const struct msg *m)
{
    own_promise_first(ck, node, m);
    check_attempt(ck, &m->ballot)->is_freezing = true;
    if (ck->node[node].is_outside || c->adopted.epoch == 0)
        return;
    if (!check_majority(ck, &c->adopted,
                        with_self(ck, node, check_attempt(ck, &m->ballot)->promised), false))
        check_break(ck, INV_PROMISE, "node %d: LOG_FREEZE %llu/%u without a majority of promises",
                    node, (unsigned long long)m->ballot.counter, m->ballot.member);
}

/* R2: each transmission of ACCEPT and RENEW has a number of its own. */
static void has_own_number(struct check *ck, int node, const struct msg *m)
{
    int to = check_find(ck, m->to_incarnation);
    uint32_t *last;

    if (to < 0)
        return;
    last = &ck->node[node].last_seq[to];
    if (m->seq <= *last)
        check_break(ck, INV_PROMISE, "node %d: %s to node %d with number %u after %u", node,
                    msg_type_name(m->type), to, m->seq, *last);
    *last = m->seq;
}

static void an_accept(struct check *ck, int node, const struct msg *m)
{
    struct check_entry *e = check_entry(ck, &m->ballot, m->version);

    if (e == NULL || (e->acceptors >> ck->node[node].identity & 1u) == 0) {
        check_break(ck, INV_PROMISE, "node %d: ACCEPT %llu/%u v%llu is not on its own disk", node,
                    (unsigned long long)m->ballot.counter, m->ballot.member,
                    (unsigned long long)m->version);
        return;
    }
    if (m->record == NULL || e->hash != check_hash(m->record) || m->record->version != m->version)
        check_break(ck, INV_REGISTER,
                    "node %d: ACCEPT %llu/%u v%llu carries another record than before", node,
                    (unsigned long long)m->ballot.counter, m->ballot.member,
                    (unsigned long long)m->version);
    has_own_number(ck, node, m);
    if (check_compare(&m->ballot, &ck->node[node].accepting) > 0 && !check_failed(ck)) {
        ck->node[node].accepting = m->ballot;
        check_first_accept(ck, node, m);
    }
    ck->node[node].has_resumed = !e->record.is_paused;
}

/* R6: RENEW says that a majority has accepted; a holder past its deadline says nothing. */
static void a_renewal(struct check *ck, int node, const struct msg *m)
{
    const struct check_entry *e = check_accepted(ck, node);

    if (e == NULL || check_order(&e->ballot, e->version, &m->ballot, m->version) != 0)
        e = check_entry(ck, &m->ballot, m->version);
    if (e == NULL || !e->is_chosen)
        check_break(ck, INV_REGISTER, "node %d: RENEW %llu/%u v%llu, which no majority accepted",
                    node, (unsigned long long)m->ballot.counter, m->ballot.member,
                    (unsigned long long)m->version);
    else if (!holds(ck, node) && !e->record.is_paused)
        check_break(ck, INV_PROMISE, "node %d: renews past its deadline", node);
    has_own_number(ck, node, m);
}

/* R5 and the first rung of the ladder: fenced before the lease is given away. */
static void a_release(struct check *ck, int node, const struct msg *m)
{
    struct check_node *n = &ck->node[node];
    bool is_first = check_compare(&m->ballot, &n->released) > 0;
    struct check_copy c;

    if (is_first)
        n->released = m->ballot;
    for (int i = 0; i < ck->identities_n; i++)
        if (check_compare(&ck->grant[i][node].ballot, &m->ballot) <= 0)
            ck->grant[i][node].until_us = 0;
    if (!is_first && check_compare(&n->top, &m->ballot) > 0)
        return; /* said once more, and a new attempt is under way */
    if (holds(ck, node))
        check_break(ck, INV_LEASE, "node %d: still believes in the lease that it releases", node);
    check_look(ck, node, &c);
    if (check_is_writable(&c))
        check_break(ck, INV_LEGAL, "node %d: releases the lease, and its copy can acknowledge",
                    node);
    n->licence_us = 0;
}

/* Ballots are the proposer's own, of this life, and not released. */
static void is_own_ballot(struct check *ck, int node, const struct msg *m)
{
    struct check_node *n = &ck->node[node];

    if (n->is_blank)
        check_break(ck, INV_PROMISE, "node %d: %s from a member whose voter is blank", node,
                    msg_type_name(m->type));
    if (check_find(ck, m->ballot.incarnation) != node)
        check_break(ck, INV_PROMISE, "node %d: %s with the ballot of another", node,
                    msg_type_name(m->type));
    if (check_compare(&m->ballot, &n->barrier) <= 0)
        check_break(ck, INV_PROMISE, "node %d: %s goes on with ballot %llu of an earlier life",
                    node, msg_type_name(m->type), (unsigned long long)m->ballot.counter);
    if (check_compare(&m->ballot, &n->released) <= 0)
        check_break(ck, INV_PROMISE, "node %d: %s with ballot %llu, which it released", node,
                    msg_type_name(m->type), (unsigned long long)m->ballot.counter);
    if (check_compare(&m->ballot, &n->top) > 0)
        n->top = m->ballot;
}

static void a_request(struct check *ck, int node, const struct msg *m)
{
    is_own_ballot(ck, node, m);
    if (m->type == MSG_PREPARE) {
        check_begin(ck, node, &m->ballot);
        a_prepare(ck, node, m);
    } else if (m->type == MSG_FREEZE)
        a_freeze(ck, node, ck->eyes.core(ck->eyes.world, node), m);
    else if (m->type == MSG_ACCEPT)
        an_accept(ck, node, m);
    else
        a_renewal(ck, node, m);
}

/* Whoever asked is named by the ballot: a voter that knows no record yet cannot address it. */
static void an_answer(struct check *ck, int node, const struct msg *m)
{
    int to = check_find(ck, m->ballot.incarnation);
    const struct voter_state *disk = ck->eyes.disk(ck->eyes.world, node);

    if (m->refusal != REFUSE_NOTHING || to < 0)
        return;
    if (ck->node[node].is_blank || !ck->node[node].has_disk || disk == NULL) {
        check_break(ck, INV_PROMISE, "node %d: a blank voter answers %s", node,
                    msg_type_name(m->type));
        return;
    }
    if (m->type == MSG_PREVOTE_ANSWER)
        a_prevote(ck, node, to, m);
    else if (m->type == MSG_PREPARE_ANSWER)
        a_promise(ck, node, to, m);
    else if (m->type == MSG_FREEZE_ANSWER)
        a_frozen_log(ck, node, m);
    else
        a_grant(ck, node, to, m);
}

void check_message(struct check *ck, int node, const struct msg *m)
{
    switch ((int)m->type) {
    case MSG_PREVOTE:
        check_begin(ck, node, &m->ballot);
        break;
    case MSG_PREPARE:
    case MSG_FREEZE:
    case MSG_ACCEPT:
    case MSG_RENEW:
        a_request(ck, node, m);
        break;
    case MSG_RELEASE:
        a_release(ck, node, m);
        break;
    case MSG_PREVOTE_ANSWER:
    case MSG_PREPARE_ANSWER:
    case MSG_FREEZE_ANSWER:
    case MSG_ACCEPT_ANSWER:
    case MSG_RENEW_ANSWER:
        an_answer(ck, node, m);
        break;
    default:
        break;
    }
}
