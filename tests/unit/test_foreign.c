/* What is not of this cluster: data of another database, members of a newer incarnation. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000 };

static struct told t;
static struct record record;

/* db2 hears db1 renew, and finds somebody else's primary in its data directory. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB2);
    told_record(&record, &t.first);
    t.leader = DB1;
    told_primary(&t.copy, DB2);
    t.copy.system_id = 12345;
    t.copy.fence = FENCE_NONE;
    t.copy.at = (struct position){ .timeline = 1, .offset = 99999999 };
    t.copy.began_epoch = 0;
    return 0;
}

static void runs_for(hm_ms ms)
{
    if (t.now_ms == 0)
        (void)told_start_all(&t, &record, START_MS);
    told_run(&t, t.now_ms + ms);
}

static void is_untouched(void)
{
    assert_int_equal(t.asked[DO_KILL], 0);
    assert_int_equal(t.asked[DO_STOP], 0);
    assert_int_equal(t.asked[DO_START], 0);
    assert_int_equal(t.asked[DO_REWIND], 0);
    assert_int_equal(t.asked[DO_CLONE], 0);
    assert_int_equal(t.copy.system_id, 12345);
}

static void a_primary_of_another_database_is_not_killed(void **state)
{
    (void)state;
    runs_for(3000);
    assert_string_equal(core_state_name(t.core.state), "following");
    assert_string_equal(copy_state_name(t.copy.state), "primary");
    is_untouched();
}

static void data_of_another_database_is_not_cloned_over(void **state)
{
    (void)state;
    t.copy.state = COPY_DOWN;
    runs_for(3000);
    is_untouched();
}

static void a_standby_of_another_database_is_not_stopped(void **state)
{
    (void)state;
    told_standby(&t.copy, DB2);
    t.copy.system_id = 12345;
    t.copy.at = (struct position){ .timeline = 1, .offset = 99999999 };
    t.copy.began_epoch = 0;
    runs_for(3000);
    is_untouched();
}

/* The other side: where there is no data, it does not matter whose it was. */
static void what_is_left_of_no_data_is_cloned_over(void **state)
{
    (void)state;
    t.copy.state = COPY_ABSENT;
    runs_for(3000);
    assert_int_equal(t.asked[DO_CLONE], 1);
    assert_string_equal(copy_state_name(t.copy.state), "standby");
    assert_int_equal(t.copy.follows, DB1);
}

static void who_hears_a_newer_incarnation_stops_and_says_so(void **state)
{
    struct msg m;

    (void)state;
    told_standby(&t.copy, DB2);
    runs_for(1000);
    assert_int_equal(t.asked[DO_ALERT], 0);
    m = told_message(&t, DB3, MSG_GOSSIP);
    m.cluster_incarnation++;
    (void)told_hear(&t, &m);
    assert_string_equal(core_state_name(t.core.state), "stopped");
    runs_for(3000);
    assert_int_equal(t.asked[DO_ALERT], 1);
    assert_int_equal(t.last[DO_ALERT].alert.kind, ALERT_STOPPED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(a_primary_of_another_database_is_not_killed),
        TEST(data_of_another_database_is_not_cloned_over),
        TEST(a_standby_of_another_database_is_not_stopped),
        TEST(what_is_left_of_no_data_is_cloned_over),
        TEST(who_hears_a_newer_incarnation_stops_and_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
