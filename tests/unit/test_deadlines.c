#include "witness/deadlines.h"

#include "base/clock.h"
#include "base/prng.h"
#include "tests/cm.h"

enum { WAITING = 300 };

static struct event_base *base;
static struct deadlines all;
static struct deadline one[WAITING];
static unsigned fired;
static hm_ms fired_ms;
static hm_ms latest_ms;

static void on_fired(void *ctx, hm_ms now_ms, hm_ms late_ms)
{
    (void)ctx;
    assert_true(late_ms >= 0);
    latest_ms = hm_max_ms(latest_ms, late_ms);
    fired++;
    fired_ms = now_ms;
    while (deadlines_due(&all, now_ms) != NULL)
        ;
}

static int make_all(void **state)
{
    struct hm_err err;

    (void)state;
    base = event_base_new();
    fired = 0;
    latest_ms = 0;
    for (unsigned i = 0; i < WAITING; i++)
        one[i] = (struct deadline){ 0 };
    if (deadlines_init(&all, base, on_fired, NULL, &err) != HM_OK)
        return -1;
    return deadlines_reserve(&all, WAITING) == HM_OK ? 0 : -1;
}

static int free_all(void **state)
{
    (void)state;
    deadlines_done(&all);
    event_base_free(base);
    return 0;
}

/* Sets, moves and takes out by chance, and compares with a look at all of them. */
static void the_first_one_is_always_the_one_that_is_due(void **state)
{
    struct prng p;
    hm_ms now_ms = 0;

    (void)state;
    prng_seed(&p, 1);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned which = (unsigned)prng_below(&p, WAITING);
        hm_ms first_ms = HM_NEVER;
        struct deadline *due;

        deadlines_set(&all, &one[which],
                      prng_chance(&p, 1, 8) ? HM_NEVER : now_ms + prng_between(&p, 0, 1000));
        for (unsigned i = 0; i < WAITING; i++)
            if (one[i].place != 0)
                first_ms = hm_min_ms(first_ms, one[i].at_ms);
        now_ms += prng_between(&p, 0, 5);
        due = deadlines_due(&all, now_ms);
        assert_true((due != NULL) == (first_ms <= now_ms));
        if (due != NULL) {
            assert_int_equal(due->at_ms, first_ms);
            assert_int_equal(due->place, 0);
        }
    }
}

static void the_timer_fires_at_the_first_and_again_at_the_next(void **state)
{
    hm_ms now_ms = clock_boot_ms();

    (void)state;
    deadlines_set(&all, &one[0], now_ms + 60000);
    deadlines_set(&all, &one[1], now_ms + 40);
    deadlines_set(&all, &one[2], now_ms + 90);
    while (fired < 1)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    assert_true(fired_ms >= now_ms + 40 && one[1].place == 0 && one[2].place != 0);
    while (fired < 2)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    assert_true(fired_ms >= now_ms + 90 && one[2].place == 0 && one[0].place != 0);
}

static void a_deadline_in_the_past_fires_at_once(void **state)
{
    (void)state;
    deadlines_set(&all, &one[0], 0);
    while (fired < 1)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    assert_int_equal(one[0].place, 0);
    assert_true(latest_ms < 30000); /* nothing stalled, however old it is */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_all, free_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_one_is_always_the_one_that_is_due),
        TEST(the_timer_fires_at_the_first_and_again_at_the_next),
        TEST(a_deadline_in_the_past_fires_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
