/* A member whose copy commits wait for can leave only when they wait for others (6.1, 6.3). */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000, SERVING_MS = START_MS + TOLD_TTL_MS + 400 };

static struct told t;
static struct record record;

static void stream(uint8_t slot)
{
    t.copy.standby[slot].is_streaming = true;
    t.copy.standby[slot].copy_id = told_copy_id(slot);
    t.copy.standby[slot].flushed = UINT64_MAX; /* all there is */
    t.gossip[slot].at = t.copy.at;
    t.gossip[slot].began_epoch = t.copy.began_epoch;
    t.gossip[slot].epoch = 4;
    t.gossip[slot].follows = DB2;
}

/* db2 of three leads in sync, and commits wait for one of the others. */
static int begin(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB2);
    told_record(&record, &t.first);
    t.deaf |= 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, SERVING_MS);
    t.deaf = 0;
    stream(DB1);
    stream(DB3);
    (void)told_order(&t, (struct order){ .kind = ORDER_DURABILITY,
                                         .id = 1,
                                         .durability = DURABILITY_SYNC,
                                         .sync_standbys = 1 });
    told_run(&t, t.now_ms + 500);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_SYNC);
    assert_int_equal(core_record(&t.core)->pairs[0].n, 2);
    return 0;
}

static void order(enum order_kind kind, uint64_t id, uint8_t member)
{
    told_forget(&t);
    (void)told_order(&t, (struct order){ .kind = kind, .id = id, .member = member });
}

static void is_replied(enum hm_rc rc, const char *why)
{
    assert_int_equal(t.asked[DO_REPLY], 1);
    assert_string_equal(t.last[DO_REPLY].reply.why, why);
    assert_int_equal(t.last[DO_REPLY].reply.rc, rc);
}

static void a_pause_keeps_those_that_commits_wait_for(void **state)
{
    (void)state;
    order(ORDER_PAUSE, 2, 0);
    told_run(&t, t.now_ms + 500);
    is_replied(HM_OK, "a majority accepted");
    order(ORDER_MEMBER_REMOVE, 3, DB1);
    is_replied(HM_REFUSED,
               "commits wait for its copy, and a pause leaves that as it is: 'hamgr resume' first");
    order(ORDER_RESUME, 4, 0);
    told_run(&t, t.now_ms + 500);
    order(ORDER_MEMBER_REMOVE, 5, DB1);
    told_run(&t, t.now_ms + 1000);
    is_replied(HM_OK, "a majority accepted");
    assert_int_equal(core_record(&t.core)->voters, 0x06);
}

static void what_a_removal_waited_for_is_told(void **state)
{
    (void)state;
    t.stuck = 1u << DO_MARKER; /* no commit ends any more */
    order(ORDER_MEMBER_REMOVE, 2, DB1);
    told_run(&t, t.now_ms + 80 * TOLD_HEARTBEAT_MS);
    is_replied(HM_TIMED_OUT,
               "commits still wait for its copy: only a primary whose server runs can end that");
    assert_int_equal(core_record(&t.core)->voters, 0x07);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_pause_keeps_those_that_commits_wait_for, begin),
        cmocka_unit_test_setup(what_a_removal_waited_for_is_told, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
