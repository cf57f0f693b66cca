/* A primary that somebody made by hand, past every guard, on a timeline that another member wrote.
 */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000 };

static struct told t;
static struct record record;

/* db2 hears db1 renew. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB2);
    told_record(&record, &t.first);
    t.leader = DB1;
    return 0;
}

static void runs_for(hm_ms ms)
{
    if (t.now_ms == 0)
        (void)told_start_all(&t, &record, START_MS);
    told_run(&t, t.now_ms + ms);
}

/* Started past every guard on the timeline that db1 writes, and ended again. */
static void make_primary_by_hand(uint64_t offset)
{
    t.copy.state = COPY_DOWN;
    t.copy.was_primary = t.copy.has_written = true;
    t.copy.at = (struct position){ .timeline = 3, .offset = offset };
}

/* The record remembers who held an epoch before the last one. */
static void was_held_by(uint64_t epoch, uint8_t holder)
{
    record.changes[1] = record.changes[0];
    record.changes[0].epoch = epoch;
    record.changes[0].holder = holder;
    record.changes_n = 2;
}

static void a_primary_made_by_hand_is_cloned(void **state)
{
    (void)state;
    make_primary_by_hand(1500); /* not even further than db1 is */
    runs_for(1000);
    assert_int_equal(t.asked[DO_REWIND], 0);
    assert_int_equal(t.asked[DO_CLONE], 1);
    assert_string_equal(copy_state_name(t.copy.state), "standby");
    assert_int_equal(t.copy.copy_id, told_copy_id(DB2) + 5000);
    assert_int_equal(t.copy.follows, DB1);
}

static void one_that_still_runs_is_killed_first(void **state)
{
    (void)state;
    make_primary_by_hand(2500);
    t.copy.state = COPY_PRIMARY;
    t.copy.is_streaming = false;
    t.copy.follows = HM_NOBODY;
    t.stuck = 1u << DO_CLONE;
    runs_for(1000);
    assert_int_equal(t.copy.fence, FENCE_STANDBY);
    assert_true(t.asked[DO_KILL] > 0);
    assert_int_equal(t.asked[DO_START] + t.asked[DO_REWIND], 0);
    assert_int_equal(t.asked[DO_CLONE], 1);
}

/* As a standby it would have the longest log of all. */
static void nor_is_it_started_while_nobody_leads(void **state)
{
    (void)state;
    t.leader = HM_NOBODY;
    make_primary_by_hand(2500);
    runs_for(5000);
    assert_int_equal(t.asked[DO_START] + t.asked[DO_CLONE] + t.asked[DO_PROMOTE], 0);
    assert_string_equal(core_state_name(t.core.state), "standing");
}

/* Before hamgrd knew any record it was started, or somebody did it by hand. */
static void nor_does_it_count_once_it_runs_as_a_standby(void **state)
{
    (void)state;
    t.leader = HM_NOBODY;
    make_primary_by_hand(2500);
    runs_for(300);
    told_standby(&t.copy, DB2);
    t.copy.at.offset = 2500;
    t.copy.follows = HM_NOBODY;
    t.copy.is_streaming = false;
    t.deaf = 1u << DB1; /* the primary is lost */
    runs_for(4 * TOLD_TTL_MS);
    assert_int_equal(t.asked[DO_PROMOTE] + t.sent[MSG_PREVOTE], 0);
    assert_true(t.last_sent[MSG_GOSSIP].gossip.wants_rebuild);
    t.deaf = 0;
    t.leader = DB1;
    t.renew_ms = t.now_ms;
    runs_for(2000);
    assert_int_equal(t.asked[DO_STOP], 1);
    assert_int_equal(t.asked[DO_REWIND], 0);
    assert_int_equal(t.asked[DO_CLONE], 1);
    assert_int_equal(t.copy.follows, DB1);
}

/* Its member was added anew and knows no record yet; a new cluster has none anywhere. */
static void it_is_started_without_a_record_only_where_there_is_none(void **state)
{
    struct voter_state none = { .incarnation = told_incarnation(DB2) };

    (void)state;
    t.leader = HM_NOBODY;
    make_primary_by_hand(2500);
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        voter_init(&t.voter[slot], &none, START_MS);
    t.gossip[DB1].epoch = 0;
    (void)told_start(&t, &none, START_MS);
    told_run(&t, START_MS + 2000);
    assert_int_equal(t.asked[DO_START], 0); /* db3 has one */
    t.gossip[DB3].epoch = 0;
    t.deaf = 1u << DB3;
    told_run(&t, t.now_ms + 3000);
    assert_int_equal(t.asked[DO_START], 0); /* db3 is not heard */
    t.deaf = 0;
    told_run(&t, t.now_ms + 500);
    assert_int_equal(t.asked[DO_START], 1);
}

/* pg_rewind would go back to where the history left the timeline, and see nothing before. */
static void nor_does_an_older_timeline_of_another_member_help(void **state)
{
    (void)state;
    make_primary_by_hand(900);
    t.copy.at.timeline = 2;
    t.copy.began_epoch = 2;
    was_held_by(2, DB3);
    runs_for(1000);
    assert_int_equal(t.asked[DO_REWIND], 0);
    assert_int_equal(t.asked[DO_CLONE], 1);
}

static void what_it_wrote_as_the_holder_is_no_reason(void **state)
{
    (void)state;
    make_primary_by_hand(900);
    t.copy.at.timeline = 2;
    t.copy.began_epoch = 2;
    was_held_by(2, DB2);
    runs_for(1000);
    assert_int_equal(t.asked[DO_REWIND] + t.asked[DO_CLONE], 0);
    assert_int_equal(t.asked[DO_START], 1);
    assert_int_equal(t.copy.follows, DB1);
}

#define TEST(name) cmocka_unit_test_setup(name, make_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_primary_made_by_hand_is_cloned),
        TEST(one_that_still_runs_is_killed_first),
        TEST(nor_is_it_started_while_nobody_leads),
        TEST(nor_does_it_count_once_it_runs_as_a_standby),
        TEST(it_is_started_without_a_record_only_where_there_is_none),
        TEST(nor_does_an_older_timeline_of_another_member_help),
        TEST(what_it_wrote_as_the_holder_is_no_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
