#include "probe/latency.h"

#include "tests/cm.h"

static void nothing_is_known_at_first(void **state)
{
    struct latency l = { .n = 0 };
    struct latency_summary s;

    (void)state;
    latency_summarise(&l, &s);
    assert_true(s.n == 0 && s.p50_us == 0 && s.worst_us == 0);
}

static void percentiles_are_values_that_were_measured(void **state)
{
    struct latency l = { .n = 0 };
    struct latency_summary s;

    (void)state;
    for (unsigned int i = 100; i > 0; i--)
        latency_note(&l, i * 1000, 5000 + i);
    latency_summarise(&l, &s);
    assert_int_equal(s.n, 100);
    assert_int_equal(s.p50_us, 50000);
    assert_int_equal(s.p95_us, 95000);
    assert_int_equal(s.p99_us, 99000);
    assert_int_equal(s.worst_us, 100000);
    assert_int_equal(s.worst_at_ms, 5100);
}

static void one_is_all_percentiles(void **state)
{
    struct latency l = { .n = 0 };
    struct latency_summary s;

    (void)state;
    latency_note(&l, 700, 1);
    latency_summarise(&l, &s);
    assert_true(s.n == 1 && s.p50_us == 700 && s.p99_us == 700);
}

static void the_oldest_are_forgotten(void **state)
{
    struct latency l = { .n = 0 };
    struct latency_summary s;

    (void)state;
    latency_note(&l, 9000000, 1);
    for (unsigned int i = 0; i < LATENCY_MAX - 1; i++)
        latency_note(&l, 100, 2);
    latency_summarise(&l, &s);
    assert_int_equal(s.worst_us, 9000000);
    latency_note(&l, 100, 3);
    latency_summarise(&l, &s);
    assert_int_equal(s.n, LATENCY_MAX);
    assert_int_equal(s.worst_us, 100);
}

static void what_does_not_fit_is_cut(void **state)
{
    struct latency l = { .n = 0 };
    struct latency_summary s;

    (void)state;
    latency_note(&l, INT64_MAX, 1);
    latency_note(&l, -5, 1);
    latency_summarise(&l, &s);
    assert_true(s.worst_us == UINT32_MAX && s.p50_us == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_at_first),
        cmocka_unit_test(percentiles_are_values_that_were_measured),
        cmocka_unit_test(one_is_all_percentiles),
        cmocka_unit_test(the_oldest_are_forgotten),
        cmocka_unit_test(what_does_not_fit_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
