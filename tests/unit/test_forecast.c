#include "probe/forecast.h"

#include "tests/cm.h"

static struct forecast f;

static int make_forecast(void **state)
{
    (void)state;
    f = (struct forecast){ .n = 0 };
    return 0;
}

static void is_near(hm_ms is_ms, hm_ms wanted_ms)
{
    assert_true(is_ms >= wanted_ms - wanted_ms / 100 && is_ms <= wanted_ms + wanted_ms / 100);
}

/* `bytes` less with every step, from 100 MB on. */
static void shrinks(unsigned int steps, uint64_t bytes)
{
    for (unsigned int i = 0; i < steps; i++)
        forecast_note(&f, 100000000 - i * bytes, 1000 + (hm_ms)i * FORECAST_STEP_MS);
}

static void a_disk_that_fills_up_is_full_when_the_line_says(void **state)
{
    (void)state;
    shrinks(31, 1000000); /* 100 kB/s, 70 MB are left */
    is_near(forecast_full_ms(&f), 700000);
}

static void less_than_a_minute_tells_nothing(void **state)
{
    (void)state;
    assert_true(forecast_full_ms(&f) == HM_NEVER);
    shrinks(6, 1000000);
    assert_true(forecast_full_ms(&f) == HM_NEVER);
    shrinks(7, 1000000); /* what is not newer is left out: one more */
    assert_true(forecast_full_ms(&f) != HM_NEVER);
}

static void one_that_does_not_fill_up_is_never_full(void **state)
{
    (void)state;
    shrinks(40, 0);
    assert_true(forecast_full_ms(&f) == HM_NEVER);
    for (unsigned int i = 40; i < 100; i++)
        forecast_note(&f, 100000000 + i * 1000, 1000 + (hm_ms)i * FORECAST_STEP_MS);
    assert_true(forecast_full_ms(&f) == HM_NEVER);
}

static void only_the_last_ten_minutes_count(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 500; i++)
        forecast_note(&f, 1000000000 - i * 10, 1000 + (hm_ms)i * FORECAST_STEP_MS);
    for (unsigned int i = 500; i < 560; i++)
        forecast_note(&f, 1000000000 - (i - 499) * 10000000, 1000 + (hm_ms)i * FORECAST_STEP_MS);
    is_near(forecast_full_ms(&f), 400000);
}

static void a_checkpoint_in_between_changes_little(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 60;
         i++) /* 1 MB each step, and every 20 of them 10 are given back */
        forecast_note(&f, 1000000000 - i * 1000000 + i / 20 * 10000000,
                      1000 + (hm_ms)i * FORECAST_STEP_MS);
    assert_true(forecast_full_ms(&f) > 10000000 && forecast_full_ms(&f) < 40000000);
}

static void a_file_that_came_and_went_is_no_trend(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 20; i++)
        forecast_note(&f, i >= 2 && i < 6 ? 0 : 1000000000 - i * 1000,
                      1000 + (hm_ms)i * FORECAST_STEP_MS);
    assert_true(forecast_full_ms(&f) > 3600000);
    f = (struct forecast){ .n = 0 };
    for (unsigned int i = 0; i < 20; i++)
        forecast_note(&f, i >= 14 && i < 18 ? 0 : 1000000000 - i * 1000,
                      1000 + (hm_ms)i * FORECAST_STEP_MS);
    assert_true(forecast_full_ms(&f) > 3600000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_forecast)
    const struct CMUnitTest tests[] = {
        TEST(a_disk_that_fills_up_is_full_when_the_line_says),
        TEST(less_than_a_minute_tells_nothing),
        TEST(one_that_does_not_fill_up_is_never_full),
        TEST(only_the_last_ten_minutes_count),
        TEST(a_checkpoint_in_between_changes_little),
        TEST(a_file_that_came_and_went_is_no_trend),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
