/* made_world.h - a world made by hand, for the tests of the simulator's checker.
 *
 * Two databases and a witness; the tests say what happens and ask what the checker found. */

#ifndef TESTS_UNIT_MADE_WORLD_H
#define TESTS_UNIT_MADE_WORLD_H

#include "tests/cm.h"
#include "tests/sim/check.h"

#include <string.h>

enum { A, B, W, NODES };
enum { TTL = 1000, RIGHT_NOW = 5000 };

static struct world {
    struct check check;
    int64_t now_us;
    struct core core[NODES];
    bool is_dead[NODES];
    struct voter_state disk[NODES];
    struct check_copy copy[NODES];
    struct core_effects did;
} world;

static inline int64_t now_us(void *w)
{
    return ((struct world *)w)->now_us;
}

/* All clocks run alike here: drift is the simulator's business. */
static inline hm_ms local_ms(void *w, int node)
{
    (void)node;
    return ((struct world *)w)->now_us / 1000;
}

static inline int64_t true_us(void *w, int node, hm_ms local)
{
    (void)w;
    (void)node;
    return local * 1000;
}

static inline const struct core *core_of(void *w, int node)
{
    struct world *made = w;

    return made->is_dead[node] ? NULL : &made->core[node];
}

static inline const struct voter_state *disk_of(void *w, int node)
{
    return &((struct world *)w)->disk[node];
}

static inline void copy_of(void *w, int node, struct check_copy *ret)
{
    *ret = ((struct world *)w)->copy[node];
}

static inline uint64_t incarnation(int node)
{
    return (uint64_t)node + 100;
}

static inline uint64_t copy_id(int node)
{
    return (uint64_t)node + 200;
}

static inline int a_world(void **state)
{
    struct check_eyes eyes = { &world, now_us, local_ms, true_us, core_of, disk_of, copy_of };

    memset(&world, 0, sizeof world);
    world.now_us = RIGHT_NOW * INT64_C(1000);
    check_init(&world.check, &eyes, SERVICE_POSTGRES, NODES);
    check_branched(&world.check, 1, 0, 0);
    for (int i = 0; i < NODES; i++) {
        world.core[i].state = ST_FOLLOWING;
        world.core[i].valid_until_ms = HM_PAST;
        world.disk[i].incarnation = incarnation(i);
        world.disk[i].max_ttl_ms = 0;
        world.copy[i] = (struct check_copy){ .state = i == A ? COPY_PRIMARY : COPY_STANDBY,
                                             .is_final = true,
                                             .follows = i == A ? HM_NOBODY : A,
                                             .is_streaming = i != A,
                                             .branch = 1,
                                             .end = 1000,
                                             .flushed = 1000,
                                             .copy_id = copy_id(i) };
        check_joined(&world.check, i, incarnation(i));
        check_started(&world.check, i, &world.disk[i]);
    }
    world.copy[W] = (struct check_copy){ .state = COPY_UNKNOWN, .follows = HM_NOBODY };
    *state = &world;
    return 0;
}

/* --- how a test says what happens ----------------------------------------------------------- */

static inline struct ballot ballot(int node, uint64_t counter)
{
    return (struct ballot){ .counter = counter,
                            .incarnation = incarnation(node),
                            .member = (uint8_t)node };
}

static inline struct record a_record(int holder, uint64_t version, uint64_t epoch)
{
    struct record r = { .cluster = 1,
                        .version = version,
                        .epoch = epoch,
                        .holder = (uint8_t)holder,
                        .copy_id = copy_id(holder),
                        .ttl_ms = TTL,
                        .heartbeat_ms = 100,
                        .voters = 7,
                        .pairs_n = 1,
                        .timelines_n = 1,
                        .max_lag_bytes = 100 };

    for (int i = 0; i < NODES; i++) {
        r.member[i].incarnation = incarnation(i);
        r.member[i].role = i == W ? ROLE_WITNESS : ROLE_DB;
    }
    r.timelines[0] = (struct timeline){ .timeline = epoch, .epoch = epoch, .start = 1000 };
    return r;
}

static inline void writes(int node, const struct voter_state *state)
{
    world.disk[node] = *state;
    world.core[node].voter.durable = *state;
    check_persisted(&world.check, node, state);
}

static inline void promises(int node, struct ballot b)
{
    struct voter_state state = world.disk[node];

    state.promised = b;
    writes(node, &state);
}

static inline void accepts(int node, struct ballot b, const struct record *r)
{
    struct voter_state state = world.disk[node];

    state.promised = b;
    state.accepted = b;
    state.record = *r;
    if (state.max_ttl_ms < r->ttl_ms)
        state.max_ttl_ms = r->ttl_ms;
    writes(node, &state);
}

static inline struct core_effect *an_effect(enum core_effect_type type)
{
    struct core_effect *e = &world.did.item[world.did.n++];

    memset(e, 0, sizeof *e);
    e->type = type;
    return e;
}

static inline void step(int node)
{
    check_stepped(&world.check, node, &world.did);
    world.did.n = 0;
}

static inline struct msg *a_message(int from, int to, enum msg_type type, struct ballot b)
{
    struct msg *m = &an_effect(DO_SEND)->send;

    m->type = type;
    m->from = (uint8_t)from;
    m->to = (uint8_t)to;
    m->from_incarnation = incarnation(from);
    m->to_incarnation = incarnation(to);
    m->ballot = b;
    return m;
}

static inline void says(int from, int to, enum msg_type type, struct ballot b)
{
    (void)a_message(from, to, type, b);
    step(from);
}

static inline void says_promise(int from, int to, struct ballot b)
{
    struct msg *m = a_message(from, to, MSG_PREPARE_ANSWER, b);

    m->accepted = world.disk[from].accepted;
    m->record = m->accepted.counter != 0 ? &world.disk[from].record : NULL;
    step(from);
}

static uint32_t next_seq;

static inline void sends_accept(int from, int to, struct ballot b, const struct record *r)
{
    struct msg *m = a_message(from, to, MSG_ACCEPT, b);

    m->version = r->version;
    m->record = r;
    m->ttl_ms = r->ttl_ms;
    m->seq = ++next_seq;
    step(from);
}

static inline void sends_renewal(int from, int to, struct ballot b, uint64_t version)
{
    struct msg *m = a_message(from, to, MSG_RENEW, b);

    m->version = version;
    m->ttl_ms = TTL;
    m->seq = ++next_seq;
    step(from);
}

static inline void hears_renewal(int node, int from, struct ballot b, uint64_t version)
{
    struct msg m = { .type = MSG_RENEW,
                     .from = (uint8_t)from,
                     .from_incarnation = incarnation(from),
                     .ballot = b,
                     .version = version };

    check_received(&world.check, node, &m);
}

static inline void grants(int voter, int holder, struct ballot b, uint64_t version)
{
    struct msg *m = a_message(voter, holder, MSG_ACCEPT_ANSWER, b);

    m->version = version;
    m->ttl_ms = TTL;
    step(voter);
}

static inline void believes_until(int node, hm_ms until_ms)
{
    world.core[node].state = ST_HOLDER;
    world.core[node].valid_until_ms = until_ms;
    step(node);
}

static inline void loses(int node)
{
    world.core[node].state = ST_STANDING;
    world.core[node].valid_until_ms = HM_PAST;
    step(node);
}

static inline void passes(hm_ms ms)
{
    world.now_us += ms * 1000;
}

/* An attempt up to the promises of everybody in `voters`. */
static inline void attempts(int node, struct ballot b, unsigned voters)
{
    says(node, W, MSG_PREVOTE, b);
    for (int i = 0; i < NODES; i++)
        if (i != node && (voters >> i & 1u) != 0)
            says(i, node, MSG_PREVOTE_ANSWER, b);
    promises(node, b);
    says(node, W, MSG_PREPARE, b);
    for (int i = 0; i < NODES; i++)
        if (i != node && (voters >> i & 1u) != 0) {
            promises(i, b);
            says_promise(i, node, b);
        }
}

static inline void takes(int node, struct ballot b, const struct record *r)
{
    accepts(node, b, r);
    sends_accept(node, W, b, r);
    accepts(W, b, r);
    grants(W, node, b, r->version);
}

/* A holds the lease of epoch 1, ballot 1, version 1, until TTL less its margin has passed. */
static inline void a_holds(void)
{
    struct record r = a_record(A, 1, 1);

    attempts(A, ballot(A, 1), 7);
    takes(A, ballot(A, 1), &r);
    accepts(B, ballot(A, 1), &r);
    grants(B, A, ballot(A, 1), 1);
    believes_until(A, RIGHT_NOW + TTL - TTL / 50);
    world.core[A].adopted.epoch = 0;
}

static inline void a_holds_in_sync(const struct pair *p)
{
    struct record r = a_record(A, 2, 1);

    a_holds();
    r.durability = DURABILITY_SYNC;
    r.pairs[0] = *p;
    takes(A, ballot(A, 1), &r);
    accepts(B, ballot(A, 1), &r);
}

static const struct pair pair_of_b = { .n = 1, .need = 1, .copies = { { 201, B } } };

static inline void is_broken(enum check_invariant invariant)
{
    assert_string_equal(check_name(world.check.broken), check_name(invariant));
}

#define is_kept() is_broken(INV_NONE)

static inline void says_frozen(int from, int to, struct ballot b, uint64_t at)
{
    struct msg *m = a_message(from, to, MSG_FREEZE_ANSWER, b);

    m->at.offset = at;
    m->copy_id = copy_id(from);
    step(from);
}

static inline void acknowledges(int node, uint32_t branch, uint64_t epoch, uint64_t lsn)
{
    check_acknowledged(&world.check, node, branch, epoch, lsn, world.now_us, true);
}

static inline void b_is_promoted(void)
{
    check_branched(&world.check, 2, 1, 1000);
    world.check.node[B].told = FENCE_LEASE;
    check_promoted(&world.check, B, 2, 2);
}

static inline void tells_fence(int node, enum fence_mode mode, hm_ms until_ms)
{
    struct core_effect *e = an_effect(DO_FENCE);

    e->fence.mode = mode;
    e->fence.until_ms = until_ms;
    step(node);
}

#define T(f) cmocka_unit_test_setup(f, a_world)

#endif
