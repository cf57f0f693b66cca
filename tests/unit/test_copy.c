/* What is done with the own copy: following, freezing, fencing. */
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

/* --- following ---------------------------------------------------------------------------------
 */

static void a_standby_follows_whoever_renews(void **state)
{
    (void)state;
    t.copy.follows = HM_NOBODY;
    runs_for(300);
    assert_int_equal(t.asked[DO_FOLLOW], 1);
    assert_int_equal(t.last[DO_FOLLOW].copy.member, DB1);
    assert_int_equal(t.last[DO_REPOINT].repoint.member, DB1);
}

/* R6: on a RENEW only, never on a record that was merely accepted. */
static void nobody_is_followed_before_it_renews(void **state)
{
    (void)state;
    t.leader = HM_NOBODY;
    t.deaf = 0x1ff;
    t.copy.follows = HM_NOBODY;
    runs_for(1000);
    assert_int_equal(t.asked[DO_FOLLOW], 0);
    assert_int_equal(t.asked[DO_REPOINT], 0);
}

static void is_told_to_follow(const char *name)
{
    memset(t.core.config.follow, 0, sizeof t.core.config.follow);
    memcpy(t.core.config.follow, name, strlen(name));
}

static void a_cascade_follows_its_standby_while_that_follows_the_holder(void **state)
{
    (void)state;
    is_told_to_follow("db3");
    runs_for(500);
    assert_int_equal(t.last[DO_FOLLOW].copy.member, DB3);
    assert_int_equal(t.copy.follows, DB3);
    told_forget(&t);
    t.gossip[DB3].is_streaming = false; /* it lost the primary */
    runs_for(500);
    assert_int_equal(t.asked[DO_FOLLOW], 1);
    assert_int_equal(t.copy.follows, DB1);
    t.gossip[DB3].is_streaming = true;
    runs_for(500);
    assert_int_equal(t.copy.follows, DB3);
    t.deaf = 1u << DB3; /* it is gone */
    runs_for(3 * TOLD_TTL_MS);
    assert_int_equal(t.copy.follows, DB1);
}

static void a_cascade_never_follows_another_one_nor_itself(void **state)
{
    (void)state;
    t.gossip[DB3].follows = DB2;
    is_told_to_follow("db3");
    runs_for(500);
    assert_int_equal(t.copy.follows, DB1);
    is_told_to_follow("db2");
    runs_for(500);
    assert_int_equal(t.copy.follows, DB1);
    is_told_to_follow("nobody");
    runs_for(500);
    assert_int_equal(t.copy.follows, DB1);
    assert_int_equal(t.asked[DO_FOLLOW], 0);
}

static void a_standby_that_follows_is_left_alone(void **state)
{
    (void)state;
    runs_for(1000);
    assert_int_equal(t.asked[DO_FOLLOW] + t.asked[DO_START] + t.asked[DO_REWIND], 0);
    assert_int_equal(t.copy.fence, FENCE_STANDBY);
}

/* Its slot is gone, say: the server itself tries for ever, and in vain. */
static void a_standby_that_does_not_stream_is_told_again(void **state)
{
    (void)state;
    t.copy.is_streaming = false;
    runs_for(40 * TOLD_HEARTBEAT_MS - 100);
    assert_int_equal(t.asked[DO_FOLLOW], 0);
    runs_for(200);
    assert_int_equal(t.asked[DO_FOLLOW], 1);
    assert_int_equal(t.last[DO_FOLLOW].copy.member, DB1);
    t.copy.is_streaming = false; /* and that did not help either */
    runs_for(40 * TOLD_HEARTBEAT_MS - 200);
    assert_int_equal(t.asked[DO_FOLLOW], 1);
    runs_for(400);
    assert_int_equal(t.asked[DO_FOLLOW], 2);
}

static void a_server_that_is_down_is_started_and_follows(void **state)
{
    (void)state;
    t.copy.state = COPY_DOWN;
    t.copy.follows = HM_NOBODY;
    runs_for(500);
    assert_int_equal(t.asked[DO_START], 1);
    assert_int_equal(t.asked[DO_FOLLOW], 1);
    assert_string_equal(copy_state_name(t.copy.state), "standby");
}

static void a_failed_operation_is_asked_for_again_but_not_at_once(void **state)
{
    (void)state;
    t.copy.follows = HM_NOBODY;
    t.failing = 1u << DO_FOLLOW;
    runs_for(TOLD_HEARTBEAT_MS - 10);
    assert_int_equal(t.asked[DO_FOLLOW], 1);
    runs_for(3000);
    assert_in_range(t.asked[DO_FOLLOW], 3, 8); /* doubling */
    t.failing = 0;
    runs_for(30000);
    assert_int_equal(t.copy.follows, DB1);
}

/* --- an old primary ----------------------------------------------------------------------------
 */

static void an_old_primary_that_hears_another_is_killed(void **state)
{
    (void)state;
    told_primary(&t.copy, DB2);
    t.copy.state = COPY_SUSPENDED;
    t.copy.fence = FENCE_SUSPENDED;
    t.stuck = 1u << DO_START;
    runs_for(300);
    assert_true(t.asked[DO_KILL] > 0);
    assert_int_equal(t.asked[DO_THAW], 0);
}

static void a_suspended_standby_is_thawed(void **state)
{
    (void)state;
    t.copy.state = COPY_SUSPENDED;
    runs_for(300);
    assert_int_equal(t.asked[DO_KILL], 0);
    assert_true(t.asked[DO_THAW] > 0);
    assert_string_equal(copy_state_name(t.copy.state), "standby");
}

static void a_primary_without_the_lease_is_fenced(void **state)
{
    (void)state;
    told_primary(&t.copy, DB2);
    t.copy.fence = FENCE_STANDBY;
    t.leader = HM_NOBODY;
    t.deaf = 0x1ff;
    runs_for(300);
    assert_int_equal(t.last[DO_FENCE].fence.mode, FENCE_SUSPENDED);
    assert_false(t.last[DO_FENCE].fence.is_gate_open);
}

/* --- log freeze --------------------------------------------------------------------------------
 */

static void freezes(uint8_t from)
{
    struct msg m = told_message(&t, from, MSG_FREEZE);

    m.ballot = told_ballot(20, from);
    m.seq = 5;
    (void)told_hear(&t, &m);
}

static void a_freeze_promises_stops_receiving_and_then_answers(void **state)
{
    (void)state;
    runs_for(100);
    t.leader = HM_NOBODY;
    t.stuck = 1u << DO_FREEZE;
    freezes(DB3);
    assert_int_equal(t.asked[DO_PERSIST], 1);
    assert_int_equal(t.asked[DO_FREEZE], 0);
    runs_for(50);
    assert_int_equal(t.core.voter.durable.promised.counter, 20);
    assert_int_equal(t.asked[DO_FREEZE], 1);
    assert_int_equal(t.sent[MSG_FREEZE_ANSWER], 0);
    t.stuck = 0;
    t.core.op.type = DO_SEND; /* the adapter gave it up */
    runs_for(100);
    assert_int_equal(t.sent[MSG_FREEZE_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_FREEZE_ANSWER].to, DB3);
    assert_int_equal(t.last_sent[MSG_FREEZE_ANSWER].at.offset, 2000);
    assert_int_equal(t.last_sent[MSG_FREEZE_ANSWER].copy_id, told_copy_id(DB2));
    assert_int_equal(t.copy.follows, HM_NOBODY);
}

static void a_copy_that_has_not_read_all_its_log_does_not_answer(void **state)
{
    (void)state;
    t.copy.is_final = false;
    runs_for(100);
    t.leader = HM_NOBODY;
    freezes(DB3);
    runs_for(500);
    assert_int_equal(t.sent[MSG_FREEZE_ANSWER], 0);
    t.copy.is_final = true;
    runs_for(200);
    assert_int_equal(t.sent[MSG_FREEZE_ANSWER], 1);
}

static void a_member_without_a_standby_refuses_the_freeze(void **state)
{
    (void)state;
    t.copy.state = COPY_ABSENT;
    t.stuck = 0xffffffffu;
    runs_for(100);
    t.leader = HM_NOBODY;
    freezes(DB3);
    runs_for(100);
    assert_int_equal(t.sent[MSG_FREEZE_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_FREEZE_ANSWER].refusal, REFUSE_NO_COPY);
}

/* R6: an older holder cannot make a frozen log stream again. */
static void only_a_holder_with_that_ballot_ends_the_freeze(void **state)
{
    (void)state;
    runs_for(100);
    freezes(DB3);
    runs_for(1000); /* db1 goes on renewing with ballot 7 */
    assert_int_equal(t.copy.follows, HM_NOBODY);
    assert_int_equal(t.last_sent[MSG_RENEW_ANSWER].refusal, REFUSE_HIGHER_BALLOT);
}

/* R6: what was renewed below the own promise is history, though nothing was frozen. */
static void nobody_is_followed_below_the_own_promise(void **state)
{
    struct msg m;

    (void)state;
    t.core.config.is_nofailover = true;
    runs_for(500);
    t.leader = HM_NOBODY;
    t.deaf = 0x1ff;
    runs_for(TOLD_TTL_MS + 100);
    m = told_message(&t, DB3, MSG_PREPARE);
    m.ballot = told_ballot(20, DB3);
    (void)told_hear(&t, &m);
    runs_for(10);
    assert_int_equal(t.core.voter.durable.promised.counter, 20);
    t.copy.follows = HM_NOBODY;
    runs_for(1000);
    assert_int_equal(t.asked[DO_FOLLOW], 0);
}

/* --- a holder whose server fails ----------------------------------------------------------------
 */

static void leads(void)
{
    told_init(&t, 2, 1, DB1);
    told_primary(&t.copy, DB1);
    t.gossip[DB2].at = t.copy.at;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    assert_string_equal(core_state_name(t.core.state), "holder");
    told_forget(&t);
}

static void in_async_a_crashed_server_may_recover_for_a_while(void **state)
{
    hm_ms crashed_ms;

    (void)state;
    leads();
    crashed_ms = t.probe_ms;
    t.copy.state = COPY_STARTING;
    t.copy.is_crashed = true;
    told_run(&t, crashed_ms + 499);
    assert_string_equal(core_state_name(t.core.state), "holder");
    told_run(&t, crashed_ms + 500);
    assert_true(told_has(&t, "holder -> handover: the server recovers from a crash"));
}

static void without_a_successor_the_server_is_started_again(void **state)
{
    (void)state;
    leads();
    t.gossip[DB2].is_healthy = false;
    told_run(&t, t.now_ms + 100);
    t.copy.state = COPY_DOWN;
    told_run(&t, t.now_ms + 500);
    assert_int_equal(t.asked[DO_START], 1);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(t.asked[DO_PROMOTE], 1); /* in place, under the same epoch */
    assert_int_equal(core_record(&t.core)->epoch, 3);
}

static void a_silent_fence_lets_the_lease_run_out(void **state)
{
    (void)state;
    leads();
    t.copy.fence_answers = false;
    told_run(&t, t.now_ms + TOLD_TTL_MS + 100);
    assert_true(told_has(&t, "-> standing: the lease could not be renewed"));
}

static void an_operation_that_the_adapter_forgot_is_asked_for_anew(void **state)
{
    (void)state;
    t.copy.follows = HM_NOBODY;
    t.stuck = 1u << DO_START;
    t.copy.state = COPY_DOWN;
    runs_for(500);
    assert_int_equal(t.asked[DO_START], 1);
    t.core.op.until_ms = t.now_ms + 100;
    runs_for(200);
    assert_int_equal(t.asked[DO_START], 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(a_standby_follows_whoever_renews),
        TEST(nobody_is_followed_before_it_renews),
        TEST(a_cascade_follows_its_standby_while_that_follows_the_holder),
        TEST(a_cascade_never_follows_another_one_nor_itself),
        TEST(a_standby_that_follows_is_left_alone),
        TEST(a_standby_that_does_not_stream_is_told_again),
        TEST(a_server_that_is_down_is_started_and_follows),
        TEST(a_failed_operation_is_asked_for_again_but_not_at_once),
        TEST(an_old_primary_that_hears_another_is_killed),
        TEST(a_suspended_standby_is_thawed),
        TEST(a_primary_without_the_lease_is_fenced),
        TEST(a_freeze_promises_stops_receiving_and_then_answers),
        TEST(a_copy_that_has_not_read_all_its_log_does_not_answer),
        TEST(a_member_without_a_standby_refuses_the_freeze),
        TEST(only_a_holder_with_that_ballot_ends_the_freeze),
        TEST(nobody_is_followed_below_the_own_promise),
        TEST(in_async_a_crashed_server_may_recover_for_a_while),
        TEST(without_a_successor_the_server_is_started_again),
        TEST(a_silent_fence_lets_the_lease_run_out),
        TEST(an_operation_that_the_adapter_forgot_is_asked_for_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
