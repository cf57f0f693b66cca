#include "tests/unit/made_world.h"

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
    passes(TTL + 10); /* what was owed before has run out by then */
    grants(B, A, ballot(A, 1), 1);
    believes_until(A, RIGHT_NOW + TTL + 10 + TTL - TTL / 50);
    believes_until(A, RIGHT_NOW + TTL + 10 + TTL + 20);
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
        T(what_a_forced_failover_loses_was_agreed),
        T(a_new_cluster_that_nobody_ordered_is_found),
    };

    return cmocka_run_group_tests_name("check: register", tests, NULL, NULL);
}
