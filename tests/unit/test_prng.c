#include "base/prng.h"
#include "tests/cm.h"

static int seed_it(void **state)
{
    static struct prng p;

    prng_seed(&p, 1);
    *state = &p;
    return 0;
}

static void the_same_seed_gives_the_same_numbers(void **state)
{
    struct prng *a = *state, b;

    prng_seed(&b, 1);
    for (int i = 0; i < 1000; i++)
        assert_true(prng_next(a) == prng_next(&b));
}

static void neighbouring_seeds_give_other_numbers(void **state)
{
    struct prng *a = *state, b;

    prng_seed(&b, 2);
    for (int i = 0; i < 1000; i++)
        assert_true(prng_next(a) != prng_next(&b));
}

/* A reported seed must mean the same story next year and on another machine. */
static void the_sequence_never_changes(void **state)
{
    struct prng p;

    (void)state;
    prng_seed(&p, 0);
    assert_true(prng_next(&p) == UINT64_C(0x99ec5f36cb75f2b4));
    assert_true(prng_next(&p) == UINT64_C(0xbf6e1f784956452a));
    prng_seed(&p, UINT64_MAX);
    assert_true(prng_next(&p) == UINT64_C(0x8f5520d52a7ead08));
}

static void below_one_is_always_zero(void **state)
{
    for (int i = 0; i < 100; i++)
        assert_int_equal(prng_below(*state, 1), 0);
}

static void below_reaches_every_number_and_none_more(void **state)
{
    unsigned int seen[7] = { 0 };

    for (int i = 0; i < 70000; i++) {
        uint64_t n = prng_below(*state, HM_ARRAY_LEN(seen));

        assert_true(n < HM_ARRAY_LEN(seen));
        seen[n]++;
    }
    for (size_t i = 0; i < HM_ARRAY_LEN(seen); i++)
        assert_in_range(seen[i], 9500, 10500);
}

/* Just above a half of all numbers, a plain modulo would draw the lower half twice as often. */
static void below_is_fair_for_a_huge_limit(void **state)
{
    uint64_t limit = UINT64_C(3) << 62;
    int lower = 0;

    for (int i = 0; i < 30000; i++)
        lower += prng_below(*state, limit) < limit / 3;
    assert_in_range(lower, 9600, 10400);
}

static void between_includes_both_ends(void **state)
{
    bool has_lo = false, has_hi = false;

    for (int i = 0; i < 1000; i++) {
        int64_t n = prng_between(*state, -2, 3);

        assert_true(n >= -2 && n <= 3);
        has_lo |= n == -2;
        has_hi |= n == 3;
    }
    assert_true(has_lo && has_hi);
}

static void between_equal_ends_there_is_one_number(void **state)
{
    assert_true(prng_between(*state, 5, 5) == 5);
    assert_true(prng_between(*state, INT64_MIN, INT64_MIN) == INT64_MIN);
}

static void between_takes_the_whole_range(void **state)
{
    bool has_negative = false, has_positive = false;

    for (int i = 0; i < 100; i++) {
        int64_t n = prng_between(*state, INT64_MIN, INT64_MAX);

        has_negative |= n < 0;
        has_positive |= n > 0;
    }
    assert_true(has_negative && has_positive);
}

static void chance_none_and_chance_all_are_certain(void **state)
{
    for (int i = 0; i < 1000; i++) {
        assert_false(prng_chance(*state, 0, 1000));
        assert_true(prng_chance(*state, 1000, 1000));
        assert_true(prng_chance(*state, 1001, 1000));
    }
}

static void chance_is_what_it_says(void **state)
{
    int hits = 0;

    for (int i = 0; i < 100000; i++)
        hits += prng_chance(*state, 1, 4);
    assert_in_range(hits, 24300, 25700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_same_seed_gives_the_same_numbers, seed_it),
        cmocka_unit_test_setup(neighbouring_seeds_give_other_numbers, seed_it),
        cmocka_unit_test(the_sequence_never_changes),
        cmocka_unit_test_setup(below_one_is_always_zero, seed_it),
        cmocka_unit_test_setup(below_reaches_every_number_and_none_more, seed_it),
        cmocka_unit_test_setup(below_is_fair_for_a_huge_limit, seed_it),
        cmocka_unit_test_setup(between_includes_both_ends, seed_it),
        cmocka_unit_test_setup(between_equal_ends_there_is_one_number, seed_it),
        cmocka_unit_test_setup(between_takes_the_whole_range, seed_it),
        cmocka_unit_test_setup(chance_none_and_chance_all_are_certain, seed_it),
        cmocka_unit_test_setup(chance_is_what_it_says, seed_it),
    };

    return cmocka_run_group_tests_name("prng", tests, NULL, NULL);
}
