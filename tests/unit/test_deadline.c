#include "fence/deadline.h"

#include "tests/cm.h"

static struct deadline lease(hm_ms suspend_ms, hm_ms until_ms)
{
    struct deadline d = { .mode = FENCE_NONE };

    deadline_take(&d, FENCE_LEASE, suspend_ms, until_ms, true);
    return d;
}

static struct deadline in_mode(enum fence_mode mode, bool is_gate_open)
{
    struct deadline d = { .mode = FENCE_NONE };

    deadline_take(&d, mode, 7, 8, is_gate_open);
    return d;
}

static void a_lease_runs_until_just_before_its_deadline(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    assert_false(deadline_rung(&d, 999).must_stop);
    assert_true(deadline_rung(&d, 999).may_thaw);
    assert_true(deadline_rung(&d, 1000).must_stop);
    assert_false(deadline_rung(&d, 1000).may_thaw);
}

static void the_gate_outlives_the_processes_by_the_margin(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    assert_int_equal(deadline_rung(&d, 999).clients, DEADLINE_UNTIL);
    assert_int_equal(deadline_rung(&d, 1099).clients, DEADLINE_UNTIL);
    assert_int_equal(deadline_rung(&d, 1099).members, DEADLINE_UNTIL);
    assert_int_equal(deadline_rung(&d, 1100).clients, DEADLINE_CLOSED);
    assert_int_equal(deadline_rung(&d, 1100).members, DEADLINE_CLOSED);
}

static void clients_pass_under_a_lease_only_when_told_so(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    deadline_take(&d, FENCE_LEASE, 1000, 1100, false);
    assert_int_equal(deadline_rung(&d, 10).clients, DEADLINE_CLOSED);
    assert_int_equal(deadline_rung(&d, 10).members, DEADLINE_UNTIL);
}

static void before_anything_is_told_only_members_pass(void **state)
{
    struct deadline d = { .mode = FENCE_PAUSED };
    struct deadline_rung r;

    (void)state;
    deadline_start(&d, false, false);
    r = deadline_rung(&d, 0);
    assert_int_equal(d.mode, FENCE_NONE);
    assert_false(r.must_stop);
    assert_false(r.may_thaw);
    assert_int_equal(r.members, DEADLINE_OPEN);
    assert_int_equal(r.clients, DEADLINE_CLOSED);
}

static void a_lost_file_suspends_and_a_file_is_kept(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    deadline_start(&d, true, true);
    assert_int_equal(d.mode, FENCE_LEASE);
    deadline_start(&d, false, true);
    assert_int_equal(d.mode, FENCE_SUSPENDED);
    assert_true(deadline_rung(&d, 0).must_stop);
}

static void suspended_lets_nobody_pass_and_nothing_thaw(void **state)
{
    struct deadline d = in_mode(FENCE_SUSPENDED, true);
    struct deadline_rung r = deadline_rung(&d, 0);

    (void)state;
    assert_true(r.must_stop);
    assert_false(r.may_thaw);
    assert_int_equal(r.members, DEADLINE_CLOSED);
    assert_int_equal(r.clients, DEADLINE_CLOSED);
}

static void a_standby_and_a_pause_are_open_for_ever(void **state)
{
    static const enum fence_mode modes[] = { FENCE_STANDBY, FENCE_PAUSED };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(modes); i++) {
        struct deadline d = in_mode(modes[i], true);
        struct deadline_rung r = deadline_rung(&d, HM_NEVER);

        assert_false(r.must_stop);
        assert_true(r.may_thaw);
        assert_int_equal(r.members, DEADLINE_OPEN);
        assert_int_equal(r.clients, DEADLINE_OPEN);
        assert_true(deadline_next_ms(&d, 0) == HM_NEVER);
    }
}

static void an_extension_in_time_keeps_it_running(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    deadline_take(&d, FENCE_LEASE, 1250, 1350, true);
    assert_false(deadline_rung(&d, 1249).must_stop);
    assert_true(deadline_rung(&d, 1250).must_stop);
}

static void an_extension_behind_the_deadline_allows_a_thaw(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    assert_false(deadline_rung(&d, 1500).may_thaw);
    deadline_take(&d, FENCE_LEASE, 2000, 2100, true);
    assert_true(deadline_rung(&d, 1500).may_thaw);
}

static void a_deadline_may_be_taken_back(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    deadline_take(&d, FENCE_LEASE, 500, 600, true);
    assert_true(deadline_rung(&d, 500).must_stop);
}

static void it_looks_again_when_the_rung_changes(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    assert_true(deadline_next_ms(&d, 999) == 1000);
    assert_true(deadline_next_ms(&d, 1000) == 1100);
    assert_true(deadline_next_ms(&d, 1099) == 1100);
    assert_true(deadline_next_ms(&d, 1100) == HM_NEVER);
}

static void the_watchdog_is_fed_while_rightful_or_proved_stopped(void **state)
{
    struct deadline d = lease(1000, 1100);
    struct deadline standby = in_mode(FENCE_STANDBY, true);
    struct deadline suspended = in_mode(FENCE_SUSPENDED, false);

    (void)state;
    assert_true(deadline_is_safe(&d, 999, false));
    assert_false(deadline_is_safe(&d, 1000, false));
    assert_true(deadline_is_safe(&d, 1000, true));
    assert_true(deadline_is_safe(&standby, 1000, false));
    assert_false(deadline_is_safe(&suspended, 0, false));
    assert_true(deadline_is_safe(&suspended, 0, true));
}

/* --- clocks ------------------------------------------------------------------------------------
 */

static void distrust_needs_two_extensions(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    assert_true(deadline_distrust(&d));
    assert_true(deadline_rung(&d, 500).must_stop);
    assert_int_equal(deadline_rung(&d, 500).members, DEADLINE_CLOSED);
    assert_int_equal(deadline_rung(&d, 500).clients, DEADLINE_CLOSED);
    deadline_take(&d, FENCE_LEASE, 1250, 1350, true); /* may have been on its way */
    assert_false(deadline_rung(&d, 600).may_thaw);
    deadline_take(&d, FENCE_LEASE, 1250, 1350, true); /* the same again is no extension */
    assert_false(deadline_rung(&d, 600).may_thaw);
    deadline_take(&d, FENCE_LEASE, 1500, 1600, true);
    assert_true(deadline_rung(&d, 600).may_thaw);
    assert_false(deadline_rung(&d, 600).must_stop);
}

static void a_suspension_in_between_does_not_end_distrust(void **state)
{
    struct deadline d = lease(1000, 1100);

    (void)state;
    (void)deadline_distrust(&d);
    deadline_take(&d, FENCE_SUSPENDED, 0, 0, false);
    deadline_take(&d, FENCE_LEASE, 1000, 1100, true);
    assert_false(deadline_rung(&d, 600).may_thaw);
    deadline_take(&d, FENCE_LEASE, 1001, 1101, true);
    deadline_take(&d, FENCE_LEASE, 1002, 1102, true);
    assert_true(deadline_rung(&d, 600).may_thaw);
}

static void what_has_no_deadline_knows_no_distrust(void **state)
{
    struct deadline d = in_mode(FENCE_STANDBY, true);

    (void)state;
    assert_false(deadline_distrust(&d));
    assert_false(deadline_rung(&d, 0).must_stop);
    d = lease(1000, 1100);
    (void)deadline_distrust(&d);
    deadline_take(&d, FENCE_PAUSED, 0, 0, true);
    deadline_take(&d, FENCE_LEASE, 1000, 1100, true);
    assert_false(deadline_rung(&d, 500).must_stop);
}

static const struct deadline_clocks before = {
    .boot = 5000, .raw = 4000, .real = 900000, .tsc = 100, .has_tsc = true
};

static struct deadline_clocks after(hm_ms boot, hm_ms raw, hm_ms real, hm_ms tsc)
{
    return (struct deadline_clocks){ .boot = before.boot + boot,
                                     .raw = before.raw + raw,
                                     .real = before.real + real,
                                     .tsc = before.tsc + tsc,
                                     .has_tsc = true };
}

static bool disagree(hm_ms boot, hm_ms raw, hm_ms real, hm_ms tsc)
{
    struct deadline_clocks now = after(boot, raw, real, tsc);

    return deadline_clocks_disagree(&before, &now, 100);
}

static void clocks_that_go_alike_agree(void **state)
{
    (void)state;
    assert_false(disagree(250, 250, 250, 250));
    assert_false(disagree(0, 0, 0, 0));
}

static void each_clock_may_be_off_by_the_margin_and_no_more(void **state)
{
    (void)state;
    assert_false(disagree(350, 250, 350, 250)); /* asleep: boot time goes on, raw does not */
    assert_true(disagree(351, 250, 351, 250));
    assert_false(disagree(250, 350, 250, 350));
    assert_true(disagree(250, 351, 250, 351));
    assert_false(disagree(250, 250, 350, 250)); /* set forward, as after a pause */
    assert_true(disagree(250, 250, 351, 250));
    assert_false(disagree(250, 250, 250, 350)); /* a counter that was not paused */
    assert_true(disagree(250, 250, 250, 351));
    assert_true(disagree(250, 250, 250, 149));
}

static void real_time_may_be_set_back(void **state)
{
    (void)state;
    assert_false(disagree(250, 250, -3600000, 250));
}

static void a_counter_counts_only_when_both_readings_have_it(void **state)
{
    struct deadline_clocks now = after(250, 250, 250, 9999);
    struct deadline_clocks without = before;

    (void)state;
    without.has_tsc = false;
    assert_false(deadline_clocks_disagree(&without, &now, 100));
    now.has_tsc = false;
    assert_false(deadline_clocks_disagree(&before, &now, 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_runs_until_just_before_its_deadline),
        cmocka_unit_test(the_gate_outlives_the_processes_by_the_margin),
        cmocka_unit_test(clients_pass_under_a_lease_only_when_told_so),
        cmocka_unit_test(before_anything_is_told_only_members_pass),
        cmocka_unit_test(a_lost_file_suspends_and_a_file_is_kept),
        cmocka_unit_test(suspended_lets_nobody_pass_and_nothing_thaw),
        cmocka_unit_test(a_standby_and_a_pause_are_open_for_ever),
        cmocka_unit_test(an_extension_in_time_keeps_it_running),
        cmocka_unit_test(an_extension_behind_the_deadline_allows_a_thaw),
        cmocka_unit_test(a_deadline_may_be_taken_back),
        cmocka_unit_test(it_looks_again_when_the_rung_changes),
        cmocka_unit_test(the_watchdog_is_fed_while_rightful_or_proved_stopped),
        cmocka_unit_test(distrust_needs_two_extensions),
        cmocka_unit_test(a_suspension_in_between_does_not_end_distrust),
        cmocka_unit_test(what_has_no_deadline_knows_no_distrust),
        cmocka_unit_test(clocks_that_go_alike_agree),
        cmocka_unit_test(each_clock_may_be_off_by_the_margin_and_no_more),
        cmocka_unit_test(real_time_may_be_set_back),
        cmocka_unit_test(a_counter_counts_only_when_both_readings_have_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
