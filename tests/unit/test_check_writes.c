#include "tests/unit/made_world.h"

/* --- P1 ------------------------------------------------------------------------------------- */

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
    a_holds_in_sync(&pair_of_b); /* the first record is still that of an adoption */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests_name("check: writes", tests, NULL, NULL);
}
