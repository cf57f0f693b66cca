/* The event loop's own health, and timers in boot time. */
#include "tests/cm.h"

#include "base/clock.h"
#include "daemon/loop.h"

#include <string.h>

enum { ALARM_MS = 100 };

static int setup(void **state)
{
    static struct loop l;
    struct hm_err err;

    *state = &l;
    return loop_init(&l, ALARM_MS, &err) == HM_OK ? 0 : -1;
}

static int teardown(void **state)
{
    loop_done(*state);
    return 0;
}

static void a_delay_below_the_alarm_is_kept_and_told_to_nobody(void **state)
{
    struct loop *l = *state;
    hm_ms now_ms = clock_boot_ms();

    assert_false(loop_note(l, now_ms, now_ms - ALARM_MS + 1));
    assert_in_range(l->longest_ms, ALARM_MS - 1, ALARM_MS);
    assert_int_equal(l->latest_ms, 0);
}

static void a_delay_of_the_alarm_is_a_stall(void **state)
{
    struct loop *l = *state;
    hm_ms now_ms = clock_boot_ms();

    assert_true(loop_note(l, now_ms, now_ms - ALARM_MS));
    assert_in_range(l->latest_ms, ALARM_MS, ALARM_MS + 1);
    assert_int_equal(l->latest_at_ms, now_ms);
}

static void what_is_due_later_or_never_is_not_late(void **state)
{
    struct loop *l = *state;
    hm_ms now_ms = clock_boot_ms();

    assert_false(loop_note(l, now_ms, now_ms + 1));
    assert_false(loop_note(l, now_ms, HM_NEVER));
}

static void a_machine_that_slept_has_stalled(void **state)
{
    struct loop *l = *state;

    l->ahead_ms -= 5000; /* boot time went on for so long while monotonic time stood still */
    assert_true(loop_note(l, clock_boot_ms(), HM_NEVER));
    assert_in_range(l->latest_ms, 4999, 5001);
    assert_false(loop_note(l, clock_boot_ms(), HM_NEVER)); /* it is told once */
}

static void went_off(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *t = arg;

    (void)fd;
    (void)what;
    loop_timer_drain(t);
}

static void a_timer_goes_off_at_its_moment_and_once(void **state)
{
    struct loop *l = *state;
    struct loop_timer t;
    struct hm_err err;
    hm_ms at_ms;

    assert_int_equal(loop_timer_init(l, &t, went_off, &t, &err), HM_OK);
    at_ms = clock_boot_ms() + 20;
    loop_timer_set(&t, at_ms);
    assert_int_equal(event_base_loop(l->base, EVLOOP_ONCE), 0);
    assert_true(clock_boot_ms() >= at_ms);
    assert_true(t.at_ms == HM_NEVER);
    assert_int_equal(event_base_loop(l->base, EVLOOP_NONBLOCK), 0);
    loop_timer_done(&t);
}

static void a_moment_that_has_passed_is_now_and_never_is_never(void **state)
{
    struct loop *l = *state;
    struct loop_timer t;
    struct hm_err err;

    assert_int_equal(loop_timer_init(l, &t, went_off, &t, &err), HM_OK);
    loop_timer_set(&t, 1);
    assert_int_equal(event_base_loop(l->base, EVLOOP_ONCE), 0);
    assert_true(t.at_ms == HM_NEVER);
    loop_timer_set(&t, clock_boot_ms() + 1);
    loop_timer_set(&t, HM_NEVER);
    assert_int_equal(event_base_loop(l->base, EVLOOP_NONBLOCK), 0);
    assert_true(t.at_ms == HM_NEVER);
    loop_timer_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_delay_below_the_alarm_is_kept_and_told_to_nobody, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_delay_of_the_alarm_is_a_stall, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_due_later_or_never_is_not_late, setup, teardown),
        cmocka_unit_test_setup_teardown(a_machine_that_slept_has_stalled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_goes_off_at_its_moment_and_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_moment_that_has_passed_is_now_and_never_is_never, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
