/* What is different for Redis: ids drawn at the promotion, data gone with a restart. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000, QUIET_MS = START_MS + TOLD_TTL_MS + 1 };

static struct told t;
static struct record record;

static void is_member(uint8_t self)
{
    struct core_config config;

    told_init(&t, 2, 1, self);
    t.first.kind = SERVICE_REDIS;
    told_config(&config, &t.first, self);
    core_init(&t.core, &config);
    told_record(&record, &t.first);
}

static int make_world(void **state)
{
    (void)state;
    is_member(DB2);
    return 0;
}

static void leads_as_db1(void)
{
    is_member(DB1);
    told_primary(&t.copy, DB1);
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    assert_string_equal(core_state_name(t.core.state), "holder");
    told_forget(&t);
}

/* --- following ---------------------------------------------------------------------------------
 */

static void a_server_without_data_is_started_and_follows(void **state)
{
    (void)state;
    t.leader = DB1;
    t.copy.state = COPY_ABSENT;
    t.copy.follows = HM_NOBODY;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    assert_int_equal(t.asked[DO_START], 1);
    assert_int_equal(t.asked[DO_CLONE] + t.asked[DO_REWIND], 0);
    assert_int_equal(t.copy.follows, DB1);
}

static void a_server_that_is_down_is_started(void **state)
{
    (void)state;
    t.leader = DB1;
    t.copy.state = COPY_DOWN;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    assert_int_equal(t.asked[DO_START], 1);
}

/* In sync a replica attaches only when a chosen record names its copy. */
static void in_sync_a_replica_waits_until_a_pair_names_it(void **state)
{
    (void)state;
    record.goal = DURABILITY_SYNC;
    t.leader = DB1;
    t.copy.follows = HM_NOBODY;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    assert_int_equal(t.asked[DO_FOLLOW], 0);
}

static void nobody_follows_a_history_that_is_still_open(void **state)
{
    (void)state;
    record_add_timeline(&record, HM_TIMELINE_OPEN | 9, 3, 2000);
    t.leader = DB1;
    t.copy.follows = HM_NOBODY;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    assert_int_equal(t.asked[DO_FOLLOW], 0);
}

/* --- leading -----------------------------------------------------------------------------------
 */

static void a_takeover_learns_the_replication_id_before_the_gate_opens(void **state)
{
    (void)state;
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    t.stuck = 1u << DO_PROMOTE;
    told_run(&t, QUIET_MS + 200);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_true((record_timeline(core_record(&t.core))->timeline & HM_TIMELINE_OPEN) != 0);
    assert_false(t.copy.is_gate_open);
    t.stuck = 0;
    t.core.op.type = DO_SEND; /* the adapter gave it up */
    told_run(&t, QUIET_MS + 600);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
    assert_int_equal(record_timeline(core_record(&t.core))->timeline, 777);
    assert_true(t.copy.is_gate_open);
}

/* The server restarted by itself, empty; a standby has what it had. */
static void a_server_that_lost_its_data_gives_the_lease_away(void **state)
{
    (void)state;
    leads_as_db1();
    t.copy.copy_id++;
    t.copy.server_id++;
    t.copy.at = (struct position){ .timeline = 55, .offset = 0 };
    told_run(&t, t.now_ms + 300);
    assert_true(told_has(&t, "holder -> handover: the server restarted as another copy"));
    assert_true(told_has(&t, "handover -> released: its copy can acknowledge nothing any more"));
}

/* Nobody has more than what the server came back with. */
static void a_server_that_came_back_with_most_goes_on(void **state)
{
    (void)state;
    leads_as_db1();
    t.gossip[DB2].at.offset = 1000;
    t.gossip[DB2].is_healthy = false;
    told_run(&t, t.now_ms + 200);
    t.copy.copy_id++;
    t.copy.server_id++;
    told_run(&t, t.now_ms + 1000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->copy_id, t.copy.copy_id);
    assert_int_equal(core_record(&t.core)->epoch, 3);
}

/* Its epoch goes on, so that it can be given away or raised; nothing is let through meanwhile. */
static void the_named_member_holds_its_epoch_again_behind_a_closed_gate(void **state)
{
    (void)state;
    is_member(DB1);
    told_primary(&t.copy, DB1);
    t.copy.state = COPY_DOWN;
    t.copy.is_gate_open = false;
    t.deaf = 1u << DB2;
    t.stuck = 1u << DO_START;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 2 * TOLD_TTL_MS - 1); /* whoever can lead goes first */
    assert_string_equal(core_state_name(t.core.state), "standing");
    told_run(&t, START_MS + 2 * TOLD_TTL_MS + 200);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->epoch, 3);
    assert_int_equal(t.asked[DO_START], 1);
    assert_int_equal(t.asked[DO_PROMOTE], 0);
    assert_false(t.copy.is_gate_open);
}

/* What it froze and told is gone with the process: it may not take over with what it has now. */
static void who_loses_its_data_after_the_freeze_does_not_take_over(void **state)
{
    (void)state;
    record.durability = record.goal = DURABILITY_SYNC;
    record.pairs[0] = (struct pair){ .n = 1, .need = 1 };
    record.pairs[0].copies[0] = (struct copy_name){ .copy_id = told_copy_id(DB2), .member = DB2 };
    t.frozen = 0; /* db1 is heard, and takes its time */
    (void)told_start_all(&t, &record, START_MS);
    while (!t.core.answers[DB2].is_there && t.now_ms < START_MS + 10000)
        told_run(&t, t.now_ms + 1);
    assert_string_equal(core_state_name(t.core.state), "freeze");
    t.copy.copy_id++;
    t.copy.server_id++;
    t.copy.at = (struct position){ .timeline = 99 };
    told_run(&t, t.now_ms + 5000);
    assert_false(told_has(&t, "no acknowledged commit can be missing"));
    assert_int_equal(core_record(&t.core)->epoch, record.epoch);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(a_server_without_data_is_started_and_follows),
        TEST(a_server_that_is_down_is_started),
        TEST(in_sync_a_replica_waits_until_a_pair_names_it),
        TEST(nobody_follows_a_history_that_is_still_open),
        TEST(a_takeover_learns_the_replication_id_before_the_gate_opens),
        TEST(a_server_that_lost_its_data_gives_the_lease_away),
        TEST(a_server_that_came_back_with_most_goes_on),
        TEST(the_named_member_holds_its_epoch_again_behind_a_closed_gate),
        TEST(who_loses_its_data_after_the_freeze_does_not_take_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
