/* Each order is answered once, with what became of it: repeated, late, overtaken or failed. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000 };

static struct told t;
static struct record record;

/* db1 of three runs the primary that the record names. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB1);
    told_record(&record, &t.first);
    told_primary(&t.copy, DB1);
    return 0;
}

static void runs_for(hm_ms ms)
{
    told_run(&t, t.now_ms + ms);
}

static void leads(void)
{
    (void)told_start_all(&t, &record, START_MS);
    runs_for(1000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    told_forget(&t);
}

static void order(enum order_kind kind, uint64_t id, uint8_t member)
{
    (void)told_order(&t, (struct order){ .kind = kind, .id = id, .member = member });
}

/* The newest step answered this order so. */
static void is_replied(uint64_t id, enum hm_rc rc, const char *why)
{
    for (size_t i = 0; i < t.todo.n; i++) {
        const struct core_effect *e = &t.todo.item[i];

        if (e->type != DO_REPLY || e->reply.order != id)
            continue;
        assert_string_equal(e->reply.why, why);
        assert_int_equal(e->reply.rc, rc);
        return;
    }
    fail_msg("order %llu is not answered", (unsigned long long)id);
}

/* --- repetitions -------------------------------------------------------------------------------
 */

static void has_paused_and_resumed(void)
{
    leads();
    order(ORDER_PAUSE, 5, 0);
    runs_for(1000);
    order(ORDER_RESUME, 6, 0);
    runs_for(1500);
    assert_int_equal(core_record(&t.core)->last_order, 6);
    assert_false(core_record(&t.core)->is_paused);
    told_forget(&t);
}

static void an_older_order_is_refused_and_leaves_the_one_under_way(void **state)
{
    (void)state;
    has_paused_and_resumed();
    t.stuck = 1u << DO_CHECKPOINT;
    order(ORDER_SWITCHOVER, 7, DB2);
    order(ORDER_PAUSE, 3, 0); /* before 7 is in the record ... */
    is_replied(3, HM_REFUSED, "a newer order has been carried out");
    runs_for(300);
    order(ORDER_PAUSE, 4, 0); /* ... and after */
    is_replied(4, HM_REFUSED, "a newer order has been carried out");
    runs_for(1000);
    assert_int_equal(core_record(&t.core)->switchover.phase, SWITCH_PREPARED);
    assert_int_equal(core_record(&t.core)->switchover.order, 7);
    assert_false(core_record(&t.core)->is_paused);
}

static void a_repeated_order_leaves_the_record_and_the_fence(void **state)
{
    uint64_t version;

    (void)state;
    has_paused_and_resumed();
    version = core_record(&t.core)->version;
    order(ORDER_RESUME, 6, 0);
    is_replied(6, HM_OK, "it was carried out before");
    assert_int_equal(t.core.order.kind, ORDER_NONE);
    runs_for(1000);
    assert_int_equal(core_record(&t.core)->version, version);
}

/* A deadline, for a step, for a primary that nobody would fence: it could die of it. */
static void a_resume_from_before_the_pause_leaves_the_fence_paused(void **state)
{
    (void)state;
    has_paused_and_resumed();
    order(ORDER_PAUSE, 7, 0);
    runs_for(1000);
    assert_int_equal(t.copy.fence, FENCE_PAUSED);
    told_forget(&t);
    order(ORDER_RESUME, 6, 0);
    is_replied(6, HM_REFUSED, "a newer order has been carried out");
    runs_for(1000);
    assert_int_equal(t.asked[DO_FENCE], 0);
    assert_true(core_record(&t.core)->is_paused);
}

/* --- failover --force --------------------------------------------------------------------------
 */

static void a_force_answers_the_order_that_it_ends(void **state)
{
    (void)state;
    leads();
    t.deaf = 0x1ff;
    order(ORDER_PAUSE, 1, 0);
    runs_for(300);
    assert_int_equal(t.asked[DO_REPLY], 0);
    order(ORDER_FORCE, 2, HM_NOBODY);
    is_replied(1, HM_REFUSED, "a failover was forced");
}

/* db2 hears nobody, and its disk is full. */
static void is_forced_in_vain(void)
{
    told_init(&t, 3, 0, DB2);
    told_record(&record, &t.first);
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    runs_for(5000);
    t.copy.follows = HM_NOBODY;
    t.copy.is_streaming = false;
    runs_for(500);
    t.is_disk_broken = true;
    told_forget(&t);
    order(ORDER_FORCE, 9, HM_NOBODY);
    assert_string_equal(core_state_name(t.core.state), "accept");
    runs_for(4000);
    assert_true(told_has(&t, "accept -> standing"));
}

static void a_force_that_fails_is_answered(void **state)
{
    (void)state;
    is_forced_in_vain();
    assert_int_equal(t.asked[DO_REPLY], 1);
    assert_int_equal(t.last[DO_REPLY].reply.order, 9);
    assert_int_equal(t.last[DO_REPLY].reply.rc, HM_TIMED_OUT);
    assert_int_equal(t.core.order.kind, ORDER_NONE);
}

static void a_force_that_failed_throws_nobody_out_later(void **state)
{
    (void)state;
    is_forced_in_vain();
    t.is_disk_broken = false;
    t.deaf = 0;
    t.gossip[DB1].copy = COPY_DOWN;
    t.gossip[DB1].is_healthy = false;
    runs_for(3000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->epoch, 4);
    assert_int_equal(core_record(&t.core)->cluster_incarnation, 0);
    assert_int_equal(core_record(&t.core)->voters, 0x07);
}

/* --- what the own disk, or the successor, cannot do ---------------------------------------------
 */

/* No change can be accepted here: the lease needs none, and a dead server is given away as ever. */
static void an_order_that_the_own_disk_refuses_is_answered_and_left(void **state)
{
    (void)state;
    leads();
    t.is_disk_broken = true;
    order(ORDER_PAUSE, 5, 0);
    runs_for(100);
    assert_int_equal(t.asked[DO_REPLY], 1);
    assert_int_equal(t.last[DO_REPLY].reply.rc, HM_FAILED);
    assert_non_null(strstr(t.last[DO_REPLY].reply.why, "state_dir"));
    runs_for(5000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(t.sent[MSG_ACCEPT], 0);
    order(ORDER_SWITCHOVER, 6, DB2);
    runs_for(100);
    assert_int_equal(t.asked[DO_REPLY], 2);
    t.copy.state = COPY_DOWN; /* the server died */
    runs_for(1000);
    assert_true(told_has(&t, "holder -> handover: the server died and a standby can take over"));
}

/* A disk that fails is tried again now and then, not as often as it can fail. */
static void a_change_that_the_own_disk_refuses_is_tried_again_with_pauses(void **state)
{
    (void)state;
    leads();
    t.is_disk_broken = true;
    t.core.order = (struct order){ .kind = ORDER_NONE };
    (void)told_order(
        &t, (struct order){
                .kind = ORDER_TIMING, .id = 5, .ttl_ms = 2000, .heartbeat_ms = TOLD_HEARTBEAT_MS });
    runs_for(2000);
    assert_in_range(t.asked[DO_PERSIST], 1, 6);
}

static void a_switchover_to_a_member_that_fell_silent_is_called_off(void **state)
{
    (void)state;
    leads();
    t.stuck = 1u << DO_STOP; /* it waits for a confirmation from there */
    t.copy.standby[DB2].is_streaming = true;
    t.copy.standby[DB2].copy_id = told_copy_id(DB2);
    runs_for(100);
    order(ORDER_SWITCHOVER, 5, DB2);
    runs_for(300);
    assert_string_equal(core_state_name(t.core.state), "handover");
    t.deaf = 1u << DB2;
    runs_for(TOLD_TTL_MS - 300);
    assert_string_equal(core_state_name(t.core.state), "handover");
    runs_for(1500);
    assert_true(told_has(&t, "it goes on itself"));
    assert_int_equal(t.last[DO_REPLY].reply.rc, HM_FAILED);
    assert_int_equal(t.sent[MSG_RELEASE], 0);
    assert_true(t.asked[DO_START] > 0);
    assert_int_equal(core_record(&t.core)->switchover.phase, SWITCH_NONE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(an_older_order_is_refused_and_leaves_the_one_under_way),
        TEST(a_repeated_order_leaves_the_record_and_the_fence),
        TEST(a_resume_from_before_the_pause_leaves_the_fence_paused),
        TEST(a_force_answers_the_order_that_it_ends),
        TEST(a_force_that_fails_is_answered),
        TEST(a_force_that_failed_throws_nobody_out_later),
        TEST(an_order_that_the_own_disk_refuses_is_answered_and_left),
        TEST(a_change_that_the_own_disk_refuses_is_tried_again_with_pauses),
        TEST(a_switchover_to_a_member_that_fell_silent_is_called_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
