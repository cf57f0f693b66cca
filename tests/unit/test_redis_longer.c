/* A longer log that no replica of Redis can have: who goes on without it, and when. */
#include "core/core.h"

#include "tests/unit/told_redis.h"

enum { DB1, DB2, DB3, START_MS = 10000, QUIET_MS = START_MS + TOLD_TTL_MS + 1 };

static struct told t;
static struct record record;

static int make_world(void **state)
{
    (void)state;
    told_init(&t, 2, 1, DB2);
    t.first.kind = SERVICE_REDIS;
    told_record(&record, &t.first);
    return 0;
}

/* db1 is lost, and db3, which takes nothing over, has more. */
static void finds_a_longer_log(uint64_t more)
{
    told_redis_of_three(&t, &record);
    t.deaf = 1u << DB1;
    t.gossip[DB3].is_nofailover = true;
    t.gossip[DB3].at.offset = 2000 + more;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, QUIET_MS + 100);
    assert_true(told_has(&t, "freeze -> yield: the log of another member is longer"));
}

static void what_little_another_has_alone_is_gone_without(void **state)
{
    (void)state;
    finds_a_longer_log(1000);
    told_run(&t, QUIET_MS + 500);
    assert_true(told_has(&t, "yield -> accept: the member with the longer log did not take over"));
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(record_timeline(core_record(&t.core))->start, 2000);
    assert_int_equal(t.asked[DO_FETCH], 0);
}

static void a_member_that_could_stand_is_given_a_lease(void **state)
{
    (void)state;
    finds_a_longer_log(1000);
    t.gossip[DB3].is_nofailover = false;
    told_run(&t, t.core.since_ms + TOLD_TTL_MS - 10);
    assert_string_equal(core_state_name(t.core.state), "yield");
    told_run(&t, t.now_ms + 100);
    assert_string_equal(core_state_name(t.core.state), "holder");
}

static void without_more_than_may_be_lost_nobody_takes_over(void **state)
{
    (void)state;
    finds_a_longer_log(1001);
    told_run(&t, QUIET_MS + 1000);
    assert_string_equal(core_state_name(t.core.state), "yield");
    assert_int_equal(t.core.rule, 84);
    told_run(&t, QUIET_MS + 20000);
    assert_true(told_has(&t, "yield -> standing: the member with the longer log did not"));
    assert_int_equal(core_record(&t.core)->epoch, 3);
    assert_int_equal(t.asked[DO_FETCH] + t.asked[DO_PROMOTE], 0);
}

static void has_pair(uint8_t need, bool with_db3)
{
    record.durability = record.goal = DURABILITY_SYNC;
    record.pairs[0] = (struct pair){ .need = need };
    pair_add(&record.pairs[0], DB2, told_copy_id(DB2));
    if (with_db3)
        pair_add(&record.pairs[0], DB3, told_copy_id(DB3));
}

/* The last primary came back as another copy with more than was confirmed, and takes nothing over.
 * That the pair has everything is known only after the yield has begun. */
static void an_answer_that_comes_late_still_counts(void **state)
{
    struct msg late;

    (void)state;
    has_pair(1, true);
    told_redis_of_three(&t, &record);
    t.frozen = 1u << DB1;
    t.gossip[DB1] = t.gossip[DB3];
    t.gossip[DB1].copy_id = told_copy_id(7);
    t.gossip[DB1].is_nofailover = true;
    t.gossip[DB1].at.offset = 2001;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, QUIET_MS + 300);
    assert_true(told_has(&t, "freeze -> yield: the log of another member is longer"));
    late = told_message(&t, DB3, MSG_FREEZE_ANSWER);
    late.ballot = t.core.mine;
    late.at = t.gossip[DB3].at;
    late.copy_id = told_copy_id(DB3);
    late.began_epoch = t.gossip[DB3].began_epoch;
    (void)told_hear(&t, &late);
    told_run(&t, t.now_ms + 2 * TOLD_TTL_MS);
    assert_true(told_has(&t, "yield -> accept: the member with the longer log did not take over"));
    assert_string_equal(core_state_name(t.core.state), "holder");
}

static void in_sync_a_copy_of_a_pair_is_waited_for(void **state)
{
    (void)state;
    has_pair(1, true);
    finds_a_longer_log(1);
    told_run(&t, QUIET_MS + 20000);
    assert_int_equal(core_record(&t.core)->epoch, 3);
}

static void in_sync_what_no_pair_needs_is_gone_without(void **state)
{
    (void)state;
    has_pair(1, false);
    finds_a_longer_log(100000);
    told_run(&t, QUIET_MS + 500);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_false(record_pairs_have(core_record(&t.core), DB3, told_copy_id(DB3)));
}

/* Nobody attaches before hamgrd said who may: so the new primary never counts as one that confirmed
 * alone, and db3 takes over when it dies a moment later. */
static void a_takeover_names_one_pair_from_the_start(void **state)
{
    const struct pair *pair;

    (void)state;
    has_pair(1, true);
    told_redis_of_three(&t, &record);
    t.deaf = 1u << DB1;
    t.gossip[DB3].at.offset = 2000;
    t.copy.names = NAMES_UNKNOWN;
    t.copy.is_flag_certain = false;
    t.stuck = 1u << DO_PROMOTE;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, QUIET_MS + 500);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->pairs_n, 1);
    pair = &core_record(&t.core)->pairs[0];
    assert_true(pair->n == 1 && pair->need == 1 && pair->copies[0].member == DB3);
    assert_int_equal(t.asked[DO_PROMOTE], 1);
    assert_int_equal(t.asked[DO_CHECKPOINT], 0);
}

/* Two are always needed to confirm, so one of any two has it. */
static void in_sync_enough_others_are_as_good(void **state)
{
    (void)state;
    has_pair(2, true);
    finds_a_longer_log(100);
    told_run(&t, QUIET_MS + 500);
    assert_string_equal(core_state_name(t.core.state), "holder");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(what_little_another_has_alone_is_gone_without),
        TEST(a_member_that_could_stand_is_given_a_lease),
        TEST(without_more_than_may_be_lost_nobody_takes_over),
        TEST(an_answer_that_comes_late_still_counts),
        TEST(in_sync_a_copy_of_a_pair_is_waited_for),
        TEST(in_sync_what_no_pair_needs_is_gone_without),
        TEST(a_takeover_names_one_pair_from_the_start),
        TEST(in_sync_enough_others_are_as_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
