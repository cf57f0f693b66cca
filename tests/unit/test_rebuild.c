/* How the own copy is made anew: because it diverged, lacks what it needs, or by an order. */
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

/* --- diverged ----------------------------------------------------------------------------------
 */

static void a_diverged_copy_is_stopped_rewound_and_started(void **state)
{
    (void)state;
    t.copy.at = (struct position){ .timeline = 2, .offset = 1500 }; /* past 1000 */
    t.copy.began_epoch = 2;
    runs_for(1000);
    assert_int_equal(t.asked[DO_STOP], 1);
    assert_int_equal(t.asked[DO_REWIND], 1);
    assert_int_equal(t.last[DO_ALERT].alert.kind, ALERT_REBUILD);
    assert_string_equal(copy_state_name(t.copy.state), "standby");
    assert_int_equal(t.copy.follows, DB1);
}

static void what_cannot_be_rewound_is_cloned(void **state)
{
    (void)state;
    t.copy.at = (struct position){ .timeline = 2, .offset = 1500 };
    t.copy.began_epoch = 2;
    t.failing = 1u << DO_REWIND;
    runs_for(2000);
    assert_int_equal(t.asked[DO_CLONE], 1);
    assert_int_equal(t.copy.follows, DB1);
}

/* pg_rewind would see one timeline where there are two. */
static void another_epochs_timeline_of_the_same_number_is_cloned(void **state)
{
    (void)state;
    t.copy.state = COPY_DOWN;
    t.copy.began_epoch = 2;
    runs_for(1000);
    assert_int_equal(t.asked[DO_REWIND], 0);
    assert_int_equal(t.asked[DO_CLONE], 1);
}

static void no_data_or_half_of_it_is_cloned(void **state)
{
    (void)state;
    t.copy.state = COPY_ABSENT;
    t.copy.copy_id = 0;
    runs_for(1000);
    assert_int_equal(t.asked[DO_CLONE], 1);
    assert_int_equal(t.asked[DO_REWIND], 0);
}

/* 6.1: a member in a pair is not rebuilt until a record without it is accepted. */
static void a_copy_in_a_pair_is_not_rebuilt(void **state)
{
    (void)state;
    record.durability = DURABILITY_SYNC;
    record.goal = DURABILITY_SYNC;
    record.pairs[0] = pair_alone;
    pair_add(&record.pairs[0], DB2, told_copy_id(DB2));
    record.pairs[0].need = 1;
    t.copy.at = (struct position){ .timeline = 2, .offset = 1500 };
    t.copy.began_epoch = 2;
    runs_for(3000);
    assert_int_equal(t.asked[DO_STOP] + t.asked[DO_REWIND] + t.asked[DO_CLONE], 0);
    assert_true(t.last_sent[MSG_GOSSIP].gossip.wants_rebuild ||
                t.last_sent[MSG_RENEW_ANSWER].gossip.wants_rebuild);
}

/* What it needs next is gone: pg_rewind would see no difference. */
static void a_copy_that_lacks_its_log_is_stopped_and_cloned(void **state)
{
    (void)state;
    t.copy.is_streaming = false;
    t.copy.lacks_log = true;
    runs_for(2000);
    assert_int_equal(t.asked[DO_STOP], 1);
    assert_int_equal(t.asked[DO_REWIND], 0);
    assert_true(t.asked[DO_CLONE] > 0);
}

static void one_is_rebuilt_at_a_time(void **state)
{
    (void)state;
    t.copy.state = COPY_ABSENT;
    t.copy.copy_id = 0;
    t.gossip[DB3].is_rebuilding = true;
    runs_for(3000);
    assert_int_equal(t.asked[DO_CLONE], 0);
    t.gossip[DB3].is_rebuilding = false;
    runs_for(2000);
    assert_int_equal(t.asked[DO_CLONE], 1);
}

static void a_holder_without_a_primary_is_no_source(void **state)
{
    (void)state;
    t.copy.state = COPY_ABSENT;
    t.copy.copy_id = 0;
    t.gossip[DB1].copy = COPY_STARTING;
    runs_for(3000);
    assert_int_equal(t.asked[DO_CLONE], 0);
    t.gossip[DB1].copy = COPY_PRIMARY;
    runs_for(2000);
    assert_int_equal(t.asked[DO_CLONE], 1);
}

static void rebuilds_that_fail_wait_longer_and_longer(void **state)
{
    (void)state;
    t.copy.state = COPY_ABSENT;
    t.copy.copy_id = 0;
    t.failing = 1u << DO_CLONE;
    while (t.now_ms < START_MS + 20000 && t.last[DO_ALERT].alert.kind != ALERT_REBUILD_FAILS)
        runs_for(10);
    assert_int_equal(t.asked[DO_CLONE], 3);
    assert_in_range(t.last_sent[MSG_GOSSIP].gossip.rebuild_failures +
                        t.last_sent[MSG_RENEW_ANSWER].gossip.rebuild_failures,
                    2, 2 * HM_FAILURES_MAX);
    runs_for(300000);
    assert_in_range(t.asked[DO_CLONE], 20, 40); /* every 128 heartbeats in the end */
}

static const char *rebuild_told(void)
{
    (void)told_order(&t, (struct order){ .kind = ORDER_REBUILD, .id = 1, .member = HM_NOBODY });
    return t.last[DO_REPLY].reply.rc == HM_OK ? NULL : t.last[DO_REPLY].reply.why;
}

static void an_order_has_a_copy_made_anew(void **state)
{
    (void)state;
    runs_for(500);
    assert_null(rebuild_told());
    runs_for(2000);
    assert_int_equal(t.asked[DO_STOP], 1);
    assert_int_equal(t.asked[DO_REWIND], 0);
    assert_true(t.asked[DO_CLONE] > 0);
}

/* The holder changes its record: nobody is heard to renew it for a moment. */
static void a_change_of_the_record_comes(void)
{
    struct voter_state *s = &t.voter[DB1].durable;
    struct msg m = told_message(&t, DB1, MSG_ACCEPT);
    struct record changed = s->record;

    changed.version++;
    m.ballot = s->accepted;
    m.version = changed.version;
    m.ttl_ms = changed.ttl_ms;
    m.seq = ++t.seq;
    m.record = &changed;
    s->record = changed;
    (void)told_hear(&t, &m);
}

/* A copy that was in a pair leaves it first: that is a change of the record. */
static void an_order_outlasts_changes_of_the_record(void **state)
{
    (void)state;
    runs_for(500);
    assert_null(rebuild_told());
    for (int i = 0; i < 5; i++) {
        a_change_of_the_record_comes();
        runs_for(TOLD_HEARTBEAT_MS / 2);
        assert_true(t.core.wants_rebuild);
    }
    runs_for(2000);
    assert_int_equal(t.core.voter.durable.record.version, record.version + 5);
    assert_int_equal(t.asked[DO_STOP], 1);
    assert_true(t.asked[DO_CLONE] > 0);
}

/* Nobody leads any more: what was given up may be the best that there is. */
static void a_copy_that_was_given_up_counts_again_without_a_leader(void **state)
{
    (void)state;
    runs_for(500);
    t.gossip[DB3].is_rebuilding = true; /* so that it has to wait */
    assert_null(rebuild_told());
    runs_for(200);
    assert_true(t.core.wants_rebuild);
    t.leader = HM_NOBODY;
    t.deaf = 0x1ff;
    runs_for(2 * TOLD_TTL_MS);
    assert_false(t.core.wants_rebuild);
    assert_string_equal(copy_state_name(t.copy.state), "standby");
}

/* Two standbys are to be made anew: one of them streams while the other is away. */
static void a_copy_that_was_given_up_streams_until_its_turn(void **state)
{
    (void)state;
    runs_for(500);
    t.gossip[DB3].is_rebuilding = true;
    assert_null(rebuild_told());
    runs_for(3000);
    assert_int_equal(t.asked[DO_STOP] + t.asked[DO_CLONE], 0);
    t.copy.follows = HM_NOBODY; /* somebody changed it by hand */
    t.copy.is_streaming = false;
    runs_for(300);
    assert_int_equal(t.asked[DO_FOLLOW], 1);
    t.gossip[DB3].is_rebuilding = false;
    t.stuck = 1u << DO_STOP;
    runs_for(2000);
    assert_int_equal(t.asked[DO_STOP], 1);
    assert_true(t.last_sent[MSG_GOSSIP].gossip.is_rebuilding ||
                t.last_sent[MSG_RENEW_ANSWER].gossip.is_rebuilding); /* others wait from here on */
}

/* A person has looked: now, whatever failed before. */
static void an_order_ends_a_pause(void **state)
{
    unsigned int before;

    (void)state;
    t.copy.state = COPY_ABSENT;
    t.copy.copy_id = 0;
    t.failing = 1u << DO_CLONE;
    runs_for(60000);
    before = t.asked[DO_CLONE];
    assert_null(rebuild_told());
    runs_for(1500);
    assert_true(t.asked[DO_CLONE] > before);
}

static void a_copy_that_is_needed_is_not_made_anew(void **state)
{
    (void)state;
    record.durability = DURABILITY_SYNC;
    record.goal = DURABILITY_SYNC;
    record.pairs[0] = pair_alone;
    pair_add(&record.pairs[0], DB2, told_copy_id(DB2));
    record.pairs[0].need = 1;
    runs_for(500);
    assert_true(core_copy_is_needed(&t.core)); /* hamgrd then says what else can be done */
    assert_string_equal(rebuild_told(), "without this copy too few standbys would have what is "
                                        "committed: wait for another one");
    assert_int_equal(t.asked[DO_STOP] + t.asked[DO_CLONE], 0);
}

static void without_a_primary_nothing_is_made_anew(void **state)
{
    (void)state;
    t.leader = HM_NOBODY;
    t.deaf = 0x1ff;
    runs_for(500);
    assert_string_equal(rebuild_told(), "no primary is heard to copy from");
    assert_int_equal(t.asked[DO_STOP] + t.asked[DO_CLONE], 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(a_diverged_copy_is_stopped_rewound_and_started),
        TEST(what_cannot_be_rewound_is_cloned),
        TEST(another_epochs_timeline_of_the_same_number_is_cloned),
        TEST(no_data_or_half_of_it_is_cloned),
        TEST(a_copy_in_a_pair_is_not_rebuilt),
        TEST(a_copy_that_lacks_its_log_is_stopped_and_cloned),
        TEST(one_is_rebuilt_at_a_time),
        TEST(a_holder_without_a_primary_is_no_source),
        TEST(rebuilds_that_fail_wait_longer_and_longer),
        TEST(an_order_has_a_copy_made_anew),
        TEST(an_order_outlasts_changes_of_the_record),
        TEST(a_copy_that_was_given_up_counts_again_without_a_leader),
        TEST(a_copy_that_was_given_up_streams_until_its_turn),
        TEST(an_order_ends_a_pause),
        TEST(a_copy_that_is_needed_is_not_made_anew),
        TEST(without_a_primary_nothing_is_made_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
