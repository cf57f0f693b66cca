#include "tests/unit/made_world.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        T(a_healthy_cluster_has_converged),
        T(no_primary_in_time_is_found),
        T(a_standby_that_does_not_stream_is_found),
        T(a_gap_that_nothing_explains_is_found),
        T(an_epoch_that_nothing_explains_is_found),
        T(steps_without_end_are_found),
        T(the_first_violation_is_the_one_that_is_told),
    };

    return cmocka_run_group_tests_name("check: promise", tests, NULL, NULL);
}
