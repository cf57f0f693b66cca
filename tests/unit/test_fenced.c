/* What proves that the own copy is fenced, and what a holder does that is not told so. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000, STOP_MS = 40 * TOLD_HEARTBEAT_MS };

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

static bool holds(void)
{
    return t.core.state == ST_HOLDER;
}

static void switches_over_to(uint8_t member)
{
    t.copy.standby[member].is_streaming = true;
    t.copy.standby[member].copy_id = told_copy_id(member);
    runs_for(100);
    (void)told_order(&t, (struct order){ .kind = ORDER_SWITCHOVER, .id = 1, .member = member });
}

/* The operation that does not end ends after all. */
static void ends(enum core_effect_type op)
{
    struct told_event *e = told_post(&t, ON_DONE, t.now_ms + 1);

    e->ev.done.op = t.last[op].op;
    e->op = op;
    e->asked = t.last[op];
}

/* --- the proof ---------------------------------------------------------------------------------
 */

/* A switchover that waits for its successor; a moment ago hamgr-fence came back without its file,
 * stopped the copy and was told to let it go on. No probe has seen it run again. */
static void is_thawed_while_the_successor_is_unwell(void)
{
    t.stuck = 1u << DO_CHECKPOINT;
    switches_over_to(DB2);
    runs_for(200);
    t.gossip[DB2].is_healthy = false;
    runs_for(150);
    t.stuck = 0;
    ends(DO_CHECKPOINT);
    runs_for(20);
    t.copy.fence = FENCE_SUSPENDED;
    t.copy.state = COPY_SUSPENDED;
    t.copy.is_gate_open = false;
    (void)told_probe(&t);
    t.probe_ms = t.now_ms + 500;
    for (unsigned i = 0; i < 400 && t.asked[DO_THAW] == 0; i++)
        runs_for(1);
    assert_int_equal(t.asked[DO_THAW], 1);
    assert_int_equal(t.copy.state, COPY_PRIMARY);
    assert_int_equal(t.core.copy.state, COPY_SUSPENDED);
}

static void a_probe_from_before_the_thaw_proves_no_fence(void **state)
{
    struct msg m;

    (void)state;
    leads();
    is_thawed_while_the_successor_is_unwell();
    t.gossip[DB2].is_healthy = true;
    m = told_message(&t, DB2, MSG_GOSSIP);
    (void)told_hear(&t, &m);
    assert_string_equal(core_state_name(t.core.state), "handover");
    told_run(&t, t.probe_ms - 1);
    assert_int_equal(t.sent[MSG_RELEASE], 0);
    assert_int_equal(t.last[DO_FENCE].fence.mode, FENCE_SUSPENDED);
    told_run(&t, t.probe_ms); /* the first one after the word to the helper */
    assert_true(t.sent[MSG_RELEASE] > 0);
    assert_int_equal(t.copy.fence, FENCE_SUSPENDED);
    assert_int_not_equal(t.copy.state, COPY_PRIMARY);
}

/* A server that died by itself: its sockets may hold what the kernel has not sent yet. */
static void dies(void)
{
    leads();
    t.copy.state = COPY_DOWN;
    t.copy.is_healthy = false;
    t.copy.fence = FENCE_SUSPENDED; /* by the helper itself, not on the word of the core */
    (void)told_probe(&t);
    t.probe_ms = t.now_ms + 300;
    assert_string_equal(core_state_name(t.core.state), "handover");
    assert_int_equal(t.last[DO_FENCE].fence.mode, FENCE_SUSPENDED);
}

/* It runs, and lets nobody in: recovery that takes long, or access rules that shut out hamgr. */
static void a_server_that_lets_nobody_in_is_given_away_after_a_while(void **state)
{
    (void)state;
    t.core.config.crash_wait_ms = 500;
    leads();
    t.stuck = 1u << DO_STOP;
    t.copy.state = COPY_STARTING;
    t.copy.is_healthy = false;
    runs_for(1500 - 2 * TOLD_PROBE_MS);
    assert_string_equal(core_state_name(t.core.state), "holder");
    runs_for(4 * TOLD_PROBE_MS);
    assert_non_null(strstr(t.story, "rule 114"));
}

static void a_server_that_is_down_is_fenced_before_the_lease_is_given_away(void **state)
{
    (void)state;
    dies();
    told_run(&t, t.probe_ms - 1);
    assert_int_equal(t.sent[MSG_RELEASE], 0);
    told_run(&t, t.probe_ms);
    assert_true(t.sent[MSG_RELEASE] > 0);
}

static void a_probe_that_began_before_the_word_to_the_helper_proves_no_fence(void **state)
{
    struct core_event late = { .type = ON_COPY };

    (void)state;
    dies();
    late.copy = t.copy;
    late.copy.taken_at_ms = t.now_ms - 1;
    late.at_ms = t.now_ms + 10;
    (void)told_feed(&t, &late);
    assert_string_equal(core_state_name(t.core.state), "handover");
    assert_int_equal(t.sent[MSG_RELEASE], 0);
}

/* --- the stop ----------------------------------------------------------------------------------
 */

static void a_stop_that_hangs(void)
{
    leads();
    t.stuck = 1u << DO_STOP;
    switches_over_to(DB2);
    for (unsigned i = 0; i < 100 && t.core.state != ST_HANDOVER; i++)
        runs_for(1);
    assert_string_equal(core_state_name(t.core.state), "handover");
    assert_int_equal(t.asked[DO_STOP], 1);
}

static void a_clean_stop_has_its_time(void **state)
{
    (void)state;
    a_stop_that_hangs();
    told_run(&t, t.core.since_ms + STOP_MS - 1);
    assert_int_equal(t.asked[DO_STOP], 1);
    assert_int_equal(t.asked[DO_KILL], 0);
    assert_int_equal(t.copy.fence, FENCE_LEASE); /* standbys still stream */
}

static void a_stop_waits_a_lease_time_for_a_lost_successor(void **state)
{
    (void)state;
    a_stop_that_hangs();
    t.deaf = 1u << DB2; /* and says nothing */
    told_run(&t, t.core.since_ms + TOLD_TTL_MS - 1);
    assert_int_equal(t.asked[DO_KILL], 0);
    told_run(&t, t.core.since_ms + TOLD_TTL_MS + TOLD_HEARTBEAT_MS);
    assert_int_equal(t.asked[DO_KILL], 1);
}

static void a_stop_waits_a_lease_time_for_a_successor_without_a_majority(void **state)
{
    (void)state;
    a_stop_that_hangs();
    t.gossip[DB2].sees_majority = false;
    told_run(&t, t.core.since_ms + TOLD_TTL_MS - 1);
    assert_int_equal(t.asked[DO_KILL], 0);
    told_run(&t, t.core.since_ms + TOLD_TTL_MS);
    assert_int_equal(t.asked[DO_KILL], 1);
}

static void a_clean_stop_that_hangs_is_followed_by_a_kill(void **state)
{
    (void)state;
    a_stop_that_hangs();
    told_run(&t, t.core.since_ms + STOP_MS);
    assert_int_equal(t.asked[DO_KILL], 1);
    assert_int_equal(t.last[DO_FENCE].fence.mode, FENCE_SUSPENDED);
    t.failing = 1u << DO_STOP; /* nothing is left to be stopped */
    ends(DO_STOP);
    runs_for(TOLD_PROBE_MS + 1);
    assert_true(told_has(&t, "handover -> released: its copy can acknowledge nothing any more"));
    assert_true(t.sent[MSG_RELEASE] > 0);
    assert_int_equal(t.copy.state, COPY_DOWN);
}

/* Clients are told of a new primary when it lets them in, wherever they ask. */
static void that_its_gate_is_open_is_told_at_once(void **state)
{
    (void)state;
    t.core.config.kind = SERVICE_REDIS;
    leads();
    t.is_fence_stuck = true;
    t.copy.is_gate_open = false;
    runs_for(TOLD_HEARTBEAT_MS + TOLD_PROBE_MS);
    assert_false(t.last_sent[MSG_RENEW].gossip.is_open);
    told_run(&t, t.core.renew_at_ms - 10);
    told_forget(&t);
    t.copy.is_gate_open = true;
    (void)told_probe(&t);
    assert_true(t.sent[MSG_RENEW] > 0);
    assert_true(t.last_sent[MSG_RENEW].gossip.is_open);
}

/* --- no probe ----------------------------------------------------------------------------------
 */

static void while_probes_come_late_the_holder_renews(void **state)
{
    (void)state;
    leads();
    for (unsigned i = 0; i < 5; i++) {
        t.probe_ms = t.copy.taken_at_ms + 2 * TOLD_TTL_MS - 1;
        told_run(&t, t.probe_ms - TOLD_HEARTBEAT_MS);
        told_forget(&t);
        runs_for(TOLD_HEARTBEAT_MS);
        assert_true(t.sent[MSG_RENEW] > 0);
    }
    assert_string_equal(core_state_name(t.core.state), "holder");
}

static void a_holder_without_a_probe_for_two_ttls_renews_no_more(void **state)
{
    (void)state;
    leads();
    t.probe_ms = START_MS + 60000;
    told_run(&t, t.copy.taken_at_ms + 2 * TOLD_TTL_MS - 1);
    assert_true(t.sent[MSG_RENEW] > 0);
    told_forget(&t);
    runs_for(TOLD_TTL_MS + TOLD_HEARTBEAT_MS);
    assert_int_equal(t.sent[MSG_RENEW], 0);
    assert_true(told_has(&t, "holder -> standing: the lease could not be renewed in time"));
    assert_int_equal(t.last[DO_FENCE].fence.mode, FENCE_SUSPENDED);
}

static void a_member_without_a_probe_for_two_ttls_does_not_stand(void **state)
{
    (void)state;
    leads();
    t.probe_ms = START_MS + 60000;
    told_run(&t, t.probe_ms - 1);
    assert_string_equal(core_state_name(t.core.state), "standing");
    assert_int_equal(t.core.rule, 34);
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
}

/* --- a lease that ran out ----------------------------------------------------------------------
 */

/* From now on db1 is heard and hears nobody. Ends in the step in which it loses its lease. */
static void loses_its_lease_deaf(void)
{
    leads();
    t.deaf = 0x1ff;
    for (unsigned i = 0; holds() && i < TOLD_TTL_MS; i++)
        runs_for(1);
    assert_true(told_has(&t, "holder -> standing: the lease could not be renewed in time"));
}

static void what_is_left_of_a_lost_lease_is_released_once_the_copy_is_suspended(void **state)
{
    struct ballot held;

    (void)state;
    loses_its_lease_deaf();
    held = t.core.lost;
    assert_true(held.counter > 0 && ballot_compare(&held, &t.core.mine) < 0);
    assert_int_equal(t.sent[MSG_RELEASE], 0); /* no probe has shown it yet */
    runs_for(TOLD_PROBE_MS);
    assert_string_equal(copy_state_name(t.copy.state), "suspended");
    assert_int_equal(t.sent[MSG_RELEASE], 2);
    assert_true(ballot_compare(&t.last_sent[MSG_RELEASE].ballot, &held) == 0);
    assert_false(t.last_sent[MSG_RELEASE].gossip.released); /* it does not stand back */
    assert_false(t.last_sent[MSG_RELEASE].gossip.sees_majority);
    runs_for(2 * TOLD_TTL_MS);
    assert_in_range(t.sent[MSG_RELEASE], 10, 80); /* repeated, for a while */
    assert_true(ballot_compare(&t.last_sent[MSG_RELEASE].ballot, &held) == 0);
}

static void it_is_not_released_before_that_is_proved(void **state)
{
    (void)state;
    t.is_fence_stuck = true;
    loses_its_lease_deaf();
    runs_for(2 * TOLD_TTL_MS);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
    assert_int_equal(t.sent[MSG_RELEASE], 0);
}

static void who_hears_a_majority_wins_it_back_instead(void **state)
{
    (void)state;
    leads();
    t.deaf = 0x1ff;
    told_run(&t, core_valid_until(&t.core) - 1);
    t.deaf = 0; /* too late for its lease */
    runs_for(500);
    assert_true(told_has(&t, "holder -> standing: the lease could not be renewed in time"));
    assert_int_equal(t.sent[MSG_RELEASE], 0);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->epoch, 3);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
}

/* Heard again after it released, it is the first to go on, with a higher ballot. */
static void who_released_what_was_left_goes_on_when_it_is_heard_again(void **state)
{
    struct ballot held;

    (void)state;
    loses_its_lease_deaf();
    held = t.core.lost;
    runs_for(TOLD_TTL_MS);
    assert_true(t.sent[MSG_RELEASE] > 0);
    t.deaf = 0;
    runs_for(1000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->epoch, 3);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
    assert_true(ballot_compare(&t.core.mine, &held) > 0);
    told_forget(&t);
    runs_for(1000);
    assert_int_equal(t.sent[MSG_RELEASE], 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(a_probe_from_before_the_thaw_proves_no_fence),
        TEST(a_server_that_lets_nobody_in_is_given_away_after_a_while),
        TEST(a_server_that_is_down_is_fenced_before_the_lease_is_given_away),
        TEST(a_probe_that_began_before_the_word_to_the_helper_proves_no_fence),
        TEST(a_clean_stop_has_its_time),
        TEST(a_stop_waits_a_lease_time_for_a_lost_successor),
        TEST(a_stop_waits_a_lease_time_for_a_successor_without_a_majority),
        TEST(that_its_gate_is_open_is_told_at_once),
        TEST(a_clean_stop_that_hangs_is_followed_by_a_kill),
        TEST(while_probes_come_late_the_holder_renews),
        TEST(a_holder_without_a_probe_for_two_ttls_renews_no_more),
        TEST(a_member_without_a_probe_for_two_ttls_does_not_stand),
        TEST(what_is_left_of_a_lost_lease_is_released_once_the_copy_is_suspended),
        TEST(it_is_not_released_before_that_is_proved),
        TEST(who_hears_a_majority_wins_it_back_instead),
        TEST(who_released_what_was_left_goes_on_when_it_is_heard_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
