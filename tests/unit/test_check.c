/* The simulator's checker against worlds made by hand: each promise, broken and kept. */
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

static int64_t now_us(void *w)
{
    return ((struct world *)w)->now_us;
}

/* All clocks run alike here: drift is the simulator's business. */
static hm_ms local_ms(void *w, int node)
{
    (void)node;
    return ((struct world *)w)->now_us / 1000;
}

static int64_t true_us(void *w, int node, hm_ms local)
{
    (void)w;
    (void)node;
    return local * 1000;
}

static const struct core *core_of(void *w, int node)
{
    struct world *made = w;

    return made->is_dead[node] ? NULL : &made->core[node];
}

static const struct voter_state *disk_of(void *w, int node)
{
    return &((struct world *)w)->disk[node];
}

static void copy_of(void *w, int node, struct check_copy *ret)
{
    *ret = ((struct world *)w)->copy[node];
}

static uint64_t incarnation(int node)
{
    return (uint64_t)node + 100;
}

static uint64_t copy_id(int node)
{
    return (uint64_t)node + 200;
}

static int a_world(void **state)
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

static struct ballot ballot(int node, uint64_t counter)
{
    return (struct ballot){ .counter = counter,
                            .incarnation = incarnation(node),
                            .member = (uint8_t)node };
}

static struct record a_record(int holder, uint64_t version, uint64_t epoch)
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

static void writes(int node, const struct voter_state *state)
{
    world.disk[node] = *state;
    world.core[node].voter.durable = *state;
    check_persisted(&world.check, node, state);
}

static void promises(int node, struct ballot b)
{
    struct voter_state state = world.disk[node];

    state.promised = b;
    writes(node, &state);
}

static void accepts(int node, struct ballot b, const struct record *r)
{
    struct voter_state state = world.disk[node];

    state.promised = b;
    state.accepted = b;
    state.record = *r;
    if (state.max_ttl_ms < r->ttl_ms)
        state.max_ttl_ms = r->ttl_ms;
    writes(node, &state);
}

static struct core_effect *an_effect(enum core_effect_type type)
{
    struct core_effect *e = &world.did.item[world.did.n++];

    memset(e, 0, sizeof *e);
    e->type = type;
    return e;
}

static void step(int node)
{
    check_stepped(&world.check, node, &world.did);
    world.did.n = 0;
}

static struct msg *a_message(int from, int to, enum msg_type type, struct ballot b)
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

static void says(int from, int to, enum msg_type type, struct ballot b)
{
    (void)a_message(from, to, type, b);
    step(from);
}

static void says_promise(int from, int to, struct ballot b)
{
    struct msg *m = a_message(from, to, MSG_PREPARE_ANSWER, b);

    m->accepted = world.disk[from].accepted;
    m->record = m->accepted.counter != 0 ? &world.disk[from].record : NULL;
    step(from);
}

static uint32_t next_seq;

static void sends_accept(int from, int to, struct ballot b, const struct record *r)
{
    struct msg *m = a_message(from, to, MSG_ACCEPT, b);

    m->version = r->version;
    m->record = r;
    m->ttl_ms = r->ttl_ms;
    m->seq = ++next_seq;
    step(from);
}

static void sends_renewal(int from, int to, struct ballot b, uint64_t version)
{
    struct msg *m = a_message(from, to, MSG_RENEW, b);

    m->version = version;
    m->ttl_ms = TTL;
    m->seq = ++next_seq;
    step(from);
}

static void hears_renewal(int node, int from, struct ballot b, uint64_t version)
{
    struct msg m = { .type = MSG_RENEW,
                     .from = (uint8_t)from,
                     .from_incarnation = incarnation(from),
                     .ballot = b,
                     .version = version };

    check_received(&world.check, node, &m);
}

static void grants(int voter, int holder, struct ballot b, uint64_t version)
{
    struct msg *m = a_message(voter, holder, MSG_ACCEPT_ANSWER, b);

    m->version = version;
    m->ttl_ms = TTL;
    step(voter);
}

static void believes_until(int node, hm_ms until_ms)
{
    world.core[node].state = ST_HOLDER;
    world.core[node].valid_until_ms = until_ms;
    step(node);
}

static void loses(int node)
{
    world.core[node].state = ST_STANDING;
    world.core[node].valid_until_ms = HM_PAST;
    step(node);
}

static void passes(hm_ms ms)
{
    world.now_us += ms * 1000;
}

/* An attempt up to the promises of everybody in `voters`. */
static void attempts(int node, struct ballot b, unsigned voters)
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

static void takes(int node, struct ballot b, const struct record *r)
{
    accepts(node, b, r);
    sends_accept(node, W, b, r);
    accepts(W, b, r);
    grants(W, node, b, r->version);
}

/* A holds the lease of epoch 1, ballot 1, version 1, until TTL less its margin has passed. */
static void a_holds(void)
{
    struct record r = a_record(A, 1, 1);

    attempts(A, ballot(A, 1), 7);
    takes(A, ballot(A, 1), &r);
    accepts(B, ballot(A, 1), &r);
    grants(B, A, ballot(A, 1), 1);
    believes_until(A, RIGHT_NOW + TTL - TTL / 50);
    world.core[A].adopted.epoch = 0;
}

static void a_holds_in_sync(const struct pair *p)
{
    struct record r = a_record(A, 2, 1);

    a_holds();
    r.durability = DURABILITY_SYNC;
    r.pairs[0] = *p;
    takes(A, ballot(A, 1), &r);
    accepts(B, ballot(A, 1), &r);
}

static const struct pair pair_of_b = { .n = 1, .need = 1, .copies = { { 201, B } } };

static void is_broken(enum check_invariant invariant)
{
    assert_string_equal(check_name(world.check.broken), check_name(invariant));
}

#define is_kept() is_broken(INV_NONE)

/* --- BALLOT --------------------------------------------------------------------------------- */

static void a_promise_that_goes_back_is_found(void **state)
{
    (void)state;
    promises(B, ballot(A, 5));
    promises(B, ballot(W, 5));
    is_kept();
    promises(B, ballot(B, 5));
    is_broken(INV_BALLOT);
}

static void an_older_version_over_a_newer_is_found(void **state)
{
    struct record older = a_record(A, 1, 1);
    struct record newer = a_record(A, 2, 1);

    (void)state;
    accepts(B, ballot(A, 1), &newer);
    is_kept();
    accepts(B, ballot(A, 1), &older);
    is_broken(INV_BALLOT);
}

static void a_restart_with_less_than_was_written_is_found(void **state)
{
    struct voter_state before = world.disk[B];

    (void)state;
    promises(B, ballot(A, 5));
    check_started(&world.check, B, &world.disk[B]);
    is_kept();
    check_started(&world.check, B, &before);
    is_broken(INV_BALLOT);
}

static void a_blank_voter_that_writes_is_found(void **state)
{
    (void)state;
    check_started(&world.check, B, NULL);
    is_kept();
    promises(B, ballot(A, 5));
    is_broken(INV_BALLOT);
}

/* --- REGISTER and EPOCH --------------------------------------------------------------------- */

static void one_name_for_two_records_is_found(void **state)
{
    struct record one = a_record(A, 1, 1);
    struct record other = one;

    (void)state;
    accepts(A, ballot(A, 1), &one);
    accepts(B, ballot(A, 1), &other);
    is_kept();
    other.is_paused = true;
    accepts(W, ballot(A, 1), &other);
    is_broken(INV_REGISTER);
}

static void a_resent_accept_with_another_record_is_found(void **state)
{
    struct record sent = a_record(A, 1, 1);

    (void)state;
    a_holds();
    sends_accept(A, B, ballot(A, 1), &sent);
    is_kept();
    sent.max_lag_bytes++;
    sends_accept(A, B, ballot(A, 1), &sent);
    is_broken(INV_REGISTER);
}

static void an_accept_without_promises_is_found(void **state)
{
    struct record r = a_record(A, 1, 1);

    (void)state;
    promises(A, ballot(A, 1));
    accepts(A, ballot(A, 1), &r);
    sends_accept(A, B, ballot(A, 1), &r);
    is_broken(INV_REGISTER);
}

static void a_first_record_without_every_voter_is_found(void **state)
{
    struct record r = a_record(A, 1, 1);

    (void)state;
    attempts(A, ballot(A, 1), 1u << A | 1u << W);
    is_kept();
    takes(A, ballot(A, 1), &r);
    is_broken(INV_REGISTER);
}

static void a_record_that_knows_not_what_is_chosen_is_found(void **state)
{
    struct record r = a_record(B, 1, 1);

    (void)state;
    a_holds();
    passes(2 * TTL);
    loses(A);
    attempts(B, ballot(B, 2), 1u << B | 1u << W);
    is_kept();
    takes(B, ballot(B, 2), &r);
    is_broken(INV_REGISTER);
}

static void a_renewal_of_what_no_majority_accepted_is_found(void **state)
{
    struct record r = a_record(A, 2, 1);

    (void)state;
    a_holds();
    sends_renewal(A, B, ballot(A, 1), 1);
    is_kept();
    accepts(A, ballot(A, 1), &r);
    sends_renewal(A, B, ballot(A, 1), 2);
    is_broken(INV_REGISTER);
}

/* Four voters become three: three of the four must agree, not only two of the three. */
static void a_joint_change_with_the_new_majority_only_is_found(void **state)
{
    struct record r = a_record(A, 2, 1);

    (void)state;
    a_holds();
    check_joined(&world.check, W, 999);
    r.member[3] = (struct member){ .incarnation = incarnation(3), .role = ROLE_WITNESS };
    r.old_voters = 0xf;
    accepts(A, ballot(A, 1), &r);
    accepts(B, ballot(A, 1), &r);
    sends_renewal(A, B, ballot(A, 1), 2);
    is_broken(INV_REGISTER);
}

static void an_epoch_with_two_holders_is_found(void **state)
{
    struct record r = a_record(B, 2, 1);

    (void)state;
    a_holds();
    accepts(B, ballot(B, 2), &r);
    is_kept();
    accepts(W, ballot(B, 2), &r);
    is_broken(INV_EPOCH);
}

static void an_epoch_that_goes_back_is_found(void **state)
{
    struct record later = a_record(A, 2, 3);
    struct record earlier = a_record(A, 3, 2);

    (void)state;
    accepts(A, ballot(A, 1), &later);
    accepts(B, ballot(A, 1), &later);
    is_kept();
    accepts(A, ballot(A, 2), &earlier);
    accepts(B, ballot(A, 2), &earlier);
    is_broken(INV_EPOCH);
}

/* Order is that of ballots, not of time. */
static void an_older_record_may_be_chosen_later(void **state)
{
    struct record old = a_record(A, 1, 1);
    struct record new = a_record(B, 2, 2);

    (void)state;
    accepts(A, ballot(A, 1), &old);
    accepts(B, ballot(B, 2), &new);
    accepts(W, ballot(A, 1), &old);
    accepts(W, ballot(B, 2), &new);
    is_kept();
}

/* --- LEASE ---------------------------------------------------------------------------------- */

static void a_lease_as_long_as_the_voters_owe_is_fine(void **state)
{
    (void)state;
    a_holds();
    is_kept();
}

static void a_lease_longer_than_the_voters_owe_is_found(void **state)
{
    (void)state;
    a_holds();
    believes_until(A, RIGHT_NOW + TTL); /* no margin for the drift */
    is_broken(INV_LEASE);
}

static void a_holder_whose_clocks_stood_is_excused_until_it_renewed(void **state)
{
    (void)state;
    a_holds();
    check_clocks_stood(&world.check, A);
    believes_until(A, RIGHT_NOW + TTL + 1);
    is_kept();
    passes(10);
    grants(B, A, ballot(A, 1), 1);
    believes_until(A, RIGHT_NOW + TTL - TTL / 50 + 10);
    believes_until(A, RIGHT_NOW + TTL + 20);
    is_broken(INV_LEASE);
}

static void two_leases_at_once_are_found(void **state)
{
    struct record r = a_record(B, 2, 2);

    (void)state;
    a_holds();
    for (int i = 0; i < NODES; i++) /* the voters break their word */
        world.check.grant[i][A].until_us = 0;
    accepts(B, ballot(B, 2), &r);
    accepts(W, ballot(B, 2), &r);
    grants(W, B, ballot(B, 2), 2);
    is_kept();
    believes_until(B, RIGHT_NOW + TTL - TTL / 50);
    is_broken(INV_LEASE);
}

static void a_lease_after_the_other_is_fine(void **state)
{
    struct record r = a_record(B, 2, 2);

    (void)state;
    a_holds();
    passes(TTL);
    loses(A);
    attempts(B, ballot(B, 2), 1u << B | 1u << W);
    takes(B, ballot(B, 2), &r);
    believes_until(B, RIGHT_NOW + 2 * TTL - TTL / 50);
    is_kept();
}

/* --- PROMISE -------------------------------------------------------------------------------- */

static void a_prepare_before_the_own_promise_is_found(void **state)
{
    (void)state;
    says(W, A, MSG_PREVOTE_ANSWER, ballot(A, 1));
    says(A, W, MSG_PREPARE, ballot(A, 1));
    is_broken(INV_PROMISE);
}

static void a_promise_that_is_not_on_disk_is_found(void **state)
{
    (void)state;
    promises(W, ballot(A, 1));
    says_promise(W, A, ballot(A, 1));
    is_kept();
    says_promise(W, A, ballot(A, 2));
    is_broken(INV_PROMISE);
}

static void a_promise_that_hides_the_accepted_record_is_found(void **state)
{
    (void)state;
    a_holds();
    passes(2 * TTL);
    promises(W, ballot(B, 2));
    says(W, B, MSG_PREPARE_ANSWER, ballot(B, 2));
    is_broken(INV_PROMISE);
}

static void a_promise_while_a_lease_is_live_is_found(void **state)
{
    (void)state;
    a_holds();
    passes(TTL - 20);
    promises(W, ballot(B, 2));
    is_kept();
    says_promise(W, B, ballot(B, 2));
    is_broken(INV_PROMISE);
}

static void a_promise_after_a_release_is_fine(void **state)
{
    struct msg m = { .type = MSG_RELEASE, .from = A, .from_incarnation = incarnation(A) };

    (void)state;
    a_holds();
    world.copy[A].is_suspended = true;
    loses(A);
    says(A, W, MSG_RELEASE, ballot(A, 1));
    m.ballot = ballot(A, 1);
    check_received(&world.check, W, &m);
    promises(W, ballot(B, 2));
    says_promise(W, B, ballot(B, 2));
    is_kept();
}

static void a_restarted_voter_that_forgot_a_lease_is_found(void **state)
{
    (void)state;
    a_holds();
    check_stopped(&world.check, W, true);
    check_started(&world.check, W, &world.disk[W]);
    says(W, B, MSG_PREVOTE_ANSWER, ballot(B, 2));
    is_broken(INV_PROMISE);
}

static void an_answer_of_a_blank_voter_is_found(void **state)
{
    (void)state;
    check_started(&world.check, W, NULL);
    says(W, A, MSG_PREVOTE_ANSWER, ballot(A, 1));
    is_broken(INV_PROMISE);
}

static void a_prepare_without_prevotes_is_found(void **state)
{
    (void)state;
    a_holds();
    passes(2 * TTL);
    loses(A);
    promises(B, ballot(B, 2));
    says(B, W, MSG_PREPARE, ballot(B, 2));
    is_broken(INV_PROMISE);
}

static void a_lease_for_another_version_is_found(void **state)
{
    (void)state;
    a_holds();
    grants(B, A, ballot(A, 1), 2);
    is_broken(INV_PROMISE);
}

static void a_renewal_past_the_deadline_is_found(void **state)
{
    (void)state;
    a_holds();
    passes(TTL);
    sends_renewal(A, B, ballot(A, 1), 1);
    is_broken(INV_PROMISE);
}

static void a_released_ballot_used_again_is_found(void **state)
{
    (void)state;
    a_holds();
    world.copy[A].state = COPY_DOWN;
    loses(A);
    says(A, W, MSG_RELEASE, ballot(A, 1));
    is_kept();
    sends_renewal(A, B, ballot(A, 1), 1);
    is_broken(INV_PROMISE);
}

static void a_ballot_of_an_earlier_life_is_found(void **state)
{
    (void)state;
    a_holds();
    check_stopped(&world.check, A, false);
    check_started(&world.check, A, &world.disk[A]);
    sends_renewal(A, B, ballot(A, 1), 1);
    is_broken(INV_PROMISE);
}

static void a_number_used_twice_is_found(void **state)
{
    (void)state;
    a_holds();
    sends_renewal(A, B, ballot(A, 1), 1);
    is_kept();
    next_seq--;
    sends_renewal(A, B, ballot(A, 1), 1);
    is_broken(INV_PROMISE);
}

static void says_frozen(int from, int to, struct ballot b, uint64_t at)
{
    struct msg *m = a_message(from, to, MSG_FREEZE_ANSWER, b);

    m->at.offset = at;
    m->copy_id = copy_id(from);
    step(from);
}

static void a_freeze_without_a_promise_is_found(void **state)
{
    (void)state;
    world.copy[B].is_streaming = false;
    promises(B, ballot(A, 4));
    says_frozen(B, A, ballot(A, 4), 1000);
    is_kept();
    says_frozen(B, A, ballot(A, 5), 1000);
    is_broken(INV_PROMISE);
}

static void a_shorter_max_ttl_under_a_live_lease_is_found(void **state)
{
    struct voter_state shorter;

    (void)state;
    a_holds();
    shorter = world.disk[W];
    shorter.max_ttl_ms = TTL / 2;
    passes(TTL / 2 + 10);
    check_persisted(&world.check, W, &shorter);
    is_kept();
    passes(-100);
    shorter.max_ttl_ms = TTL / 3;
    check_persisted(&world.check, W, &shorter);
    is_broken(INV_PROMISE);
}

/* --- P1 ------------------------------------------------------------------------------------- */

static void acknowledges(int node, uint32_t branch, uint64_t epoch, uint64_t lsn)
{
    check_acknowledged(&world.check, node, branch, epoch, lsn, world.now_us, true);
}

static void b_is_promoted(void)
{
    check_branched(&world.check, 2, 1, 1000);
    world.check.node[B].told = FENCE_LEASE;
    check_promoted(&world.check, B, 2, 2);
}

static void an_acknowledgement_after_another_promotion_is_found(void **state)
{
    (void)state;
    a_holds();
    acknowledges(A, 1, 1, 1000);
    b_is_promoted();
    is_kept();
    acknowledges(A, 1, 1, 1010);
    is_broken(INV_P1);
}

static void a_machine_whose_clocks_stood_is_excused(void **state)
{
    (void)state;
    a_holds();
    b_is_promoted();
    check_clocks_stood(&world.check, A);
    acknowledges(A, 1, 1, 1010);
    is_kept();
}

static void an_acknowledgement_past_the_lease_is_found(void **state)
{
    (void)state;
    a_holds();
    world.check.node[A].told = FENCE_LEASE;
    passes(TTL - TTL / 50);
    acknowledges(A, 1, 1, 1000);
    is_kept();
    passes(1);
    acknowledges(A, 1, 1, 1001);
    is_broken(INV_LEASE);
}

/* --- P2 ------------------------------------------------------------------------------------- */

static void a_promotion_without_an_acknowledged_write_is_found(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    acknowledges(A, 1, 1, 1000);
    is_kept();
    check_branched(&world.check, 2, 1, 999);
    world.check.node[B].told = FENCE_LEASE;
    check_promoted(&world.check, B, 2, 2);
    is_broken(INV_P2);
}

static void a_promotion_with_all_acknowledged_writes_is_fine(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    acknowledges(A, 1, 1, 1000);
    b_is_promoted();
    is_kept();
}

static void the_same_loss_is_allowed_in_async(void **state)
{
    (void)state;
    a_holds();
    acknowledges(A, 1, 1, 1000);
    check_branched(&world.check, 2, 1, 999);
    world.check.node[B].told = FENCE_LEASE;
    check_promoted(&world.check, B, 2, 2);
    is_kept();
}

static void an_acknowledgement_that_no_pair_covers_is_found(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    acknowledges(A, 1, 1, 1000);
    is_kept();
    acknowledges(A, 1, 1, 1001);
    is_broken(INV_P2);
}

static void a_copy_that_was_replaced_covers_nothing_new(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    world.copy[B].copy_id = 777; /* what the old one had is not known any more */
    acknowledges(A, 1, 1, 1001);
    is_kept();
}

/* B takes over from the sync epoch of A, with or without an answer of its own pair. */
static void b_takes_over(const struct pair *p)
{
    struct record r = a_record(B, 3, 2);

    a_holds_in_sync(p);
    passes(2 * TTL);
    loses(A);
    world.copy[B].is_streaming = false;
    world.core[B].adopted = world.disk[B].record;
    attempts(B, ballot(B, 2), 1u << B | 1u << W);
    is_kept();
    r.durability = DURABILITY_SYNC;
    takes(B, ballot(B, 2), &r);
}

static void a_takeover_with_enough_logs_is_fine(void **state)
{
    (void)state;
    b_takes_over(&pair_of_b);
    is_kept();
}

static void an_own_log_outside_the_pair_counts_for_nothing(void **state)
{
    struct pair other = pair_of_b;

    (void)state;
    other.copies[0].copy_id = 888;
    b_takes_over(&other);
    is_broken(INV_P2);
}

static void a_takeover_after_acknowledging_alone_is_found(void **state)
{
    struct pair alone = { .n = 0 };

    (void)state;
    b_takes_over(&alone);
    is_broken(INV_P2);
}

static void one_log_too_few_is_found(void **state)
{
    struct pair two = { .n = 2, .need = 1, .copies = { { 201, B }, { 202, W } } };

    (void)state;
    b_takes_over(&two);
    is_broken(INV_P2);
}

/* --- P3 ------------------------------------------------------------------------------------- */

static void a_diverged_copy_that_is_promoted_is_found(void **state)
{
    (void)state;
    a_holds();
    b_is_promoted();
    check_branched(&world.check, 3, 1, 1001);
    world.check.node[A].told = FENCE_LEASE;
    check_promoted(&world.check, A, 3, 3);
    is_broken(INV_P3);
}

static void a_copy_that_stayed_behind_is_not_diverged(void **state)
{
    (void)state;
    a_holds();
    b_is_promoted();
    check_branched(&world.check, 3, 1, 1000);
    world.check.node[A].told = FENCE_LEASE;
    check_promoted(&world.check, A, 3, 3);
    is_kept();
}

static void b_takes_over_async(uint64_t end)
{
    struct record r = a_record(B, 2, 2);

    a_holds();
    passes(2 * TTL);
    loses(A);
    world.copy[B].is_streaming = false;
    world.copy[B].end = end;
    world.core[B].adopted = world.disk[B].record;
    world.core[B].adopted.last_known.offset = 1000;
    attempts(B, ballot(B, 2), 1u << B | 1u << W);
    takes(B, ballot(B, 2), &r);
}

static void a_takeover_within_the_lag_is_fine(void **state)
{
    (void)state;
    b_takes_over_async(900);
    is_kept();
}

static void a_takeover_beyond_the_lag_is_found(void **state)
{
    (void)state;
    b_takes_over_async(899);
    is_broken(INV_P3);
}

/* --- LEGAL ---------------------------------------------------------------------------------- */

static void tells_fence(int node, enum fence_mode mode, hm_ms until_ms)
{
    struct core_effect *e = an_effect(DO_FENCE);

    e->fence.mode = mode;
    e->fence.until_ms = until_ms;
    step(node);
}

static void a_fence_beyond_the_lease_is_found(void **state)
{
    (void)state;
    a_holds();
    tells_fence(A, FENCE_LEASE, RIGHT_NOW + TTL - TTL / 50);
    is_kept();
    tells_fence(A, FENCE_LEASE, RIGHT_NOW + TTL - TTL / 50 + 1);
    is_broken(INV_LEGAL);
}

static void an_open_fence_for_a_primary_is_found(void **state)
{
    (void)state;
    tells_fence(B, FENCE_STANDBY, 0);
    is_kept();
    tells_fence(A, FENCE_STANDBY, 0);
    is_broken(INV_LEGAL);
}

static void an_open_fence_during_a_promotion_is_found(void **state)
{
    (void)state;
    world.core[B].op.type = DO_PROMOTE;
    world.copy[B].state = COPY_DOWN;
    tells_fence(B, FENCE_STANDBY, 0);
    is_kept();
    world.copy[B].state = COPY_STANDBY;
    tells_fence(B, FENCE_STANDBY, 0);
    is_broken(INV_LEGAL);
}

static void a_fence_of_a_pause_that_nobody_chose_is_found(void **state)
{
    (void)state;
    a_holds();
    tells_fence(A, FENCE_PAUSED, 0);
    is_broken(INV_LEGAL);
}

static void a_is_paused(void)
{
    struct record r = a_record(A, 2, 1);

    a_holds();
    r.is_paused = true;
    takes(A, ballot(A, 1), &r);
    tells_fence(A, FENCE_PAUSED, 0);
    is_kept();
}

static void resumes(bool tells)
{
    struct record r = a_record(A, 3, 1);

    a_is_paused();
    accepts(A, ballot(A, 1), &r);
    if (tells) {
        struct core_effect *e = an_effect(DO_FENCE);

        e->fence.mode = FENCE_LEASE;
        e->fence.until_ms = RIGHT_NOW + 1;
    }
    sends_accept(A, B, ballot(A, 1), &r);
}

static void a_resume_that_fences_with_what_it_sends_is_fine(void **state)
{
    (void)state;
    resumes(true);
    is_kept();
}

static void a_resume_that_stays_unfenced_is_found(void **state)
{
    (void)state;
    resumes(false);
    is_broken(INV_LEGAL);
}

static void a_takeover_of_a_paused_cluster_is_found(void **state)
{
    struct record r = a_record(B, 3, 2);

    (void)state;
    a_is_paused();
    passes(2 * TTL);
    loses(A);
    world.copy[B].is_streaming = false;
    attempts(B, ballot(B, 2), 1u << B | 1u << W);
    world.core[B].adopted = world.disk[W].record;
    is_kept();
    takes(B, ballot(B, 2), &r);
    is_broken(INV_LEGAL);
}

static void promotes(int node, uint64_t epoch)
{
    struct core_effect *e = an_effect(DO_PROMOTE);

    e->copy.epoch = epoch;
    e->copy.timeline = epoch;
    step(node);
}

static void a_promotion_under_lease_and_fence_is_fine(void **state)
{
    (void)state;
    world.copy[A].state = COPY_STANDBY;
    a_holds();
    tells_fence(A, FENCE_LEASE, RIGHT_NOW + 1);
    promotes(A, 1);
    is_kept();
}

static void a_promotion_without_a_fence_is_found(void **state)
{
    (void)state;
    world.copy[A].state = COPY_STANDBY;
    a_holds();
    promotes(A, 1);
    is_broken(INV_LEGAL);
}

static void a_promotion_without_a_record_is_found(void **state)
{
    (void)state;
    world.copy[A].state = COPY_STANDBY;
    a_holds();
    tells_fence(A, FENCE_LEASE, RIGHT_NOW + 1);
    promotes(A, 2);
    is_broken(INV_LEGAL);
}

static void asks(int node, enum core_effect_type type, int member)
{
    an_effect(type)->copy.member = (uint8_t)member;
    step(node);
}

static void following_before_a_renewal_is_found(void **state)
{
    (void)state;
    a_holds();
    asks(B, DO_FOLLOW, A);
    is_broken(INV_LEGAL);
}

static void following_who_renews_is_fine(void **state)
{
    (void)state;
    a_holds();
    hears_renewal(B, A, ballot(A, 1), 1);
    asks(B, DO_FOLLOW, A);
    is_kept();
}

static void following_below_the_own_promise_is_found(void **state)
{
    (void)state;
    a_holds();
    hears_renewal(B, A, ballot(A, 1), 1);
    promises(B, ballot(B, 2));
    asks(B, DO_FOLLOW, A);
    is_broken(INV_LEGAL);
}

static void rebuilding_a_primary_is_found(void **state)
{
    (void)state;
    a_holds();
    hears_renewal(B, A, ballot(A, 1), 1);
    world.copy[B].state = COPY_DOWN;
    asks(B, DO_REWIND, A);
    is_kept();
    world.copy[B].state = COPY_PRIMARY;
    asks(B, DO_REWIND, A);
    is_broken(INV_LEGAL);
}

static void rebuilding_a_copy_of_a_pair_is_found(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    hears_renewal(B, A, ballot(A, 1), 2);
    asks(B, DO_CLONE, A);
    is_broken(INV_LEGAL);
}

static void sets_names(int node, enum names_state names, const struct pair *p)
{
    struct core_effect *e = an_effect(DO_SET_NAMES);

    e->names.names = names;
    if (p != NULL)
        e->names.pair = *p;
    step(node);
}

static void names_that_the_record_has_not_are_found(void **state)
{
    struct pair other = pair_of_b;

    (void)state;
    a_holds_in_sync(&pair_of_b);
    sets_names(A, NAMES_PAIR, &pair_of_b);
    sets_names(A, NAMES_NOBODY, NULL);
    is_kept();
    other.need = 0;
    sets_names(A, NAMES_PAIR, &other);
    is_broken(INV_LEGAL);
}

static void empty_names_in_sync_are_found(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    sets_names(A, NAMES_EMPTY, NULL);
    is_broken(INV_LEGAL);
}

static void a_marker_under_other_names_is_found(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    world.copy[A].names = NAMES_PAIR;
    world.copy[A].names_pair = pair_of_b;
    an_effect(DO_MARKER)->names.pair = pair_of_b;
    step(A);
    is_kept();
    world.copy[A].names = NAMES_NOBODY;
    an_effect(DO_MARKER)->names.pair = pair_of_b;
    step(A);
    is_broken(INV_LEGAL);
}

static void thawing_without_a_lease_is_found(void **state)
{
    (void)state;
    a_holds();
    world.copy[A].is_suspended = true;
    asks(A, DO_THAW, 0);
    is_kept();
    passes(TTL);
    loses(A);
    asks(A, DO_THAW, 0);
    is_broken(INV_LEGAL);
}

static void releasing_a_copy_that_runs_is_found(void **state)
{
    (void)state;
    a_holds();
    loses(A);
    says(A, W, MSG_RELEASE, ballot(A, 1));
    is_broken(INV_LEGAL);
}

static void a_frozen_log_that_is_not_read_is_found(void **state)
{
    (void)state;
    world.copy[B].is_streaming = false;
    world.copy[B].is_final = false;
    promises(B, ballot(A, 4));
    says_frozen(B, A, ballot(A, 4), 1000);
    is_broken(INV_LEGAL);
}

static void a_frozen_log_that_still_grows_is_found(void **state)
{
    (void)state;
    promises(B, ballot(A, 4));
    says_frozen(B, A, ballot(A, 4), 1000);
    is_broken(INV_LEGAL);
}

/* --- P4, P5, P6, LIVE ----------------------------------------------------------------------- */

static void a_healthy_cluster_has_converged(void **state)
{
    char why[CHECK_WHAT_MAX];

    (void)state;
    a_holds();
    acknowledges(A, 1, 1, 1000);
    assert_true(check_is_converged(&world.check, why));
    check_too_late(&world.check);
    is_kept();
}

static void no_primary_in_time_is_found(void **state)
{
    (void)state;
    a_holds();
    acknowledges(A, 1, 1, 1000);
    world.copy[A].is_suspended = true;
    check_too_late(&world.check);
    is_broken(INV_P4);
}

static void a_standby_that_does_not_stream_is_found(void **state)
{
    (void)state;
    a_holds();
    acknowledges(A, 1, 1, 1000);
    world.copy[B].is_streaming = false;
    check_too_late(&world.check);
    is_broken(INV_P6);
}

static void a_gap_that_nothing_explains_is_found(void **state)
{
    (void)state;
    a_holds();
    check_calm(&world.check, 100000);
    passes(99);
    acknowledges(A, 1, 1, 1000);
    passes(100);
    acknowledges(A, 1, 1, 1000);
    is_kept();
    passes(101);
    check_calm_ended(&world.check);
    is_broken(INV_P5);
}

static void an_epoch_that_nothing_explains_is_found(void **state)
{
    struct record r = a_record(B, 2, 2);

    (void)state;
    a_holds();
    check_calm(&world.check, 1000000);
    accepts(B, ballot(B, 2), &r);
    accepts(W, ballot(B, 2), &r);
    is_broken(INV_P5);
}

static void steps_without_end_are_found(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        step(A);
    is_kept();
    step(A);
    is_broken(INV_LIVE);
}

static void the_first_violation_is_the_one_that_is_told(void **state)
{
    (void)state;
    check_started(&world.check, B, NULL);
    promises(B, ballot(A, 5));
    acknowledges(A, 1, 1, 1000);
    b_is_promoted();
    acknowledges(A, 1, 1, 1010);
    is_broken(INV_BALLOT);
    assert_string_equal(world.check.what, "node 1: a blank voter wrote a state");
}

/* --- force ---------------------------------------------------------------------------------- */

static void b_begins_a_new_cluster(void)
{
    struct record r = a_record(B, 3, 2);

    a_holds_in_sync(&pair_of_b);
    acknowledges(A, 1, 1, 1000);
    r.cluster_incarnation = 1;
    r.voters = 1u << B;
    accepts(B, ballot(B, 2), &r);
}

static void what_a_forced_failover_loses_was_agreed(void **state)
{
    (void)state;
    check_forced(&world.check, 1u << B);
    b_begins_a_new_cluster();
    check_branched(&world.check, 2, 1, 900);
    world.check.node[B].told = FENCE_LEASE;
    check_promoted(&world.check, B, 2, 2);
    acknowledges(A, 1, 1, 1010); /* he vouched for it: it is off, as far as he knows */
    is_kept();
}

static void a_new_cluster_that_nobody_ordered_is_found(void **state)
{
    (void)state;
    b_begins_a_new_cluster();
    is_broken(INV_REGISTER);
}

#define T(f) cmocka_unit_test_setup(f, a_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_promise_that_goes_back_is_found),
        T(an_older_version_over_a_newer_is_found),
        T(a_restart_with_less_than_was_written_is_found),
        T(a_blank_voter_that_writes_is_found),
        T(one_name_for_two_records_is_found),
        T(a_resent_accept_with_another_record_is_found),
        T(an_accept_without_promises_is_found),
        T(a_first_record_without_every_voter_is_found),
        T(a_record_that_knows_not_what_is_chosen_is_found),
        T(a_renewal_of_what_no_majority_accepted_is_found),
        T(a_joint_change_with_the_new_majority_only_is_found),
        T(an_epoch_with_two_holders_is_found),
        T(an_epoch_that_goes_back_is_found),
        T(an_older_record_may_be_chosen_later),
        T(a_lease_as_long_as_the_voters_owe_is_fine),
        T(a_lease_longer_than_the_voters_owe_is_found),
        T(a_holder_whose_clocks_stood_is_excused_until_it_renewed),
        T(two_leases_at_once_are_found),
        T(a_lease_after_the_other_is_fine),
        T(a_prepare_before_the_own_promise_is_found),
        T(a_promise_that_is_not_on_disk_is_found),
        T(a_promise_that_hides_the_accepted_record_is_found),
        T(a_promise_while_a_lease_is_live_is_found),
        T(a_promise_after_a_release_is_fine),
        T(a_restarted_voter_that_forgot_a_lease_is_found),
        T(an_answer_of_a_blank_voter_is_found),
        T(a_prepare_without_prevotes_is_found),
        T(a_lease_for_another_version_is_found),
        T(a_renewal_past_the_deadline_is_found),
        T(a_released_ballot_used_again_is_found),
        T(a_ballot_of_an_earlier_life_is_found),
        T(a_number_used_twice_is_found),
        T(a_freeze_without_a_promise_is_found),
        T(a_shorter_max_ttl_under_a_live_lease_is_found),
        T(an_acknowledgement_after_another_promotion_is_found),
        T(a_machine_whose_clocks_stood_is_excused),
        T(an_acknowledgement_past_the_lease_is_found),
        T(a_promotion_without_an_acknowledged_write_is_found),
        T(a_promotion_with_all_acknowledged_writes_is_fine),
        T(the_same_loss_is_allowed_in_async),
        T(an_acknowledgement_that_no_pair_covers_is_found),
        T(a_copy_that_was_replaced_covers_nothing_new),
        T(a_takeover_with_enough_logs_is_fine),
        T(an_own_log_outside_the_pair_counts_for_nothing),
        T(a_takeover_after_acknowledging_alone_is_found),
        T(one_log_too_few_is_found),
        T(a_diverged_copy_that_is_promoted_is_found),
        T(a_copy_that_stayed_behind_is_not_diverged),
        T(a_takeover_within_the_lag_is_fine),
        T(a_takeover_beyond_the_lag_is_found),
        T(a_fence_beyond_the_lease_is_found),
        T(an_open_fence_for_a_primary_is_found),
        T(an_open_fence_during_a_promotion_is_found),
        T(a_fence_of_a_pause_that_nobody_chose_is_found),
        T(a_resume_that_fences_with_what_it_sends_is_fine),
        T(a_resume_that_stays_unfenced_is_found),
        T(a_takeover_of_a_paused_cluster_is_found),
        T(a_promotion_under_lease_and_fence_is_fine),
        T(a_promotion_without_a_fence_is_found),
        T(a_promotion_without_a_record_is_found),
        T(following_before_a_renewal_is_found),
        T(following_who_renews_is_fine),
        T(following_below_the_own_promise_is_found),
        T(rebuilding_a_primary_is_found),
        T(rebuilding_a_copy_of_a_pair_is_found),
        T(names_that_the_record_has_not_are_found),
        T(empty_names_in_sync_are_found),
        T(a_marker_under_other_names_is_found),
        T(thawing_without_a_lease_is_found),
        T(releasing_a_copy_that_runs_is_found),
        T(a_frozen_log_that_is_not_read_is_found),
        T(a_frozen_log_that_still_grows_is_found),
        T(a_healthy_cluster_has_converged),
        T(no_primary_in_time_is_found),
        T(a_standby_that_does_not_stream_is_found),
        T(a_gap_that_nothing_explains_is_found),
        T(an_epoch_that_nothing_explains_is_found),
        T(steps_without_end_are_found),
        T(the_first_violation_is_the_one_that_is_told),
        T(what_a_forced_failover_loses_was_agreed),
        T(a_new_cluster_that_nobody_ordered_is_found),
    };

    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
