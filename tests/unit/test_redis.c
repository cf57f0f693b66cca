/* What is different for Redis: ids drawn at the promotion, data gone with a restart. */
#include "core/core.h"

#include "tests/unit/told_redis.h"

enum { DB1, DB2, DB3, START_MS = 10000, QUIET_MS = START_MS + TOLD_TTL_MS + 1 };

static struct told t;
static struct record record;

static void is_member(uint8_t self)
{
    told_redis(&t, 2, 1, self);
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

/* ... but who takes nothing over; and the little that is only there may be lost in async. */
static void what_is_held_back_does_not_keep_it_from_going_on(void **state)
{
    (void)state;
    leads_as_db1();
    t.gossip[DB2].at.offset = 3001;
    t.gossip[DB2].is_nofailover = true;
    told_run(&t, t.now_ms + 200);
    t.copy.copy_id++;
    t.copy.server_id++;
    told_run(&t, t.now_ms + 1000);
    assert_int_not_equal(core_record(&t.core)->copy_id, t.copy.copy_id);
    t.gossip[DB2].at.offset = 3000;
    told_run(&t, t.now_ms + 1000);
    assert_int_equal(core_record(&t.core)->copy_id, t.copy.copy_id);
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

/* db2 of three; two of db2 and db3 have confirmed everything, and db3 lost what it had. */
static void cannot_have_enough_logs(void)
{
    told_redis(&t, 3, 0, DB2);
    told_record(&record, &t.first);
    record.durability = record.goal = DURABILITY_SYNC;
    record.pairs[0] = (struct pair){ .need = 1 };
    pair_add(&record.pairs[0], DB2, told_copy_id(DB2));
    pair_add(&record.pairs[0], DB3, told_copy_id(DB3));
    t.gossip[DB3].at = (struct position){ .timeline = 99 };
    t.gossip[DB1].copy = COPY_SUSPENDED;
    t.gossip[DB1].is_holder = true;
    t.gossip[DB1].sees_majority = true;
    t.frozen = 1u << DB3;
}

/* While it waits for logs that do not come nobody promises the holder anything. */
static void what_only_the_suspended_primary_has_is_left_to_it(void **state)
{
    (void)state;
    cannot_have_enough_logs();
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 4 * TOLD_TTL_MS);
    assert_true(told_has(&t, "freeze -> standing: only the last holder has everything"));
}

static void one_that_is_not_there_is_not_waited_for(void **state)
{
    (void)state;
    cannot_have_enough_logs();
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 4 * TOLD_TTL_MS);
    assert_true(told_has(&t, "prepare -> freeze: a majority promised"));
    assert_false(told_has(&t, "only the last holder has everything"));
}

/* --- giving away -------------------------------------------------------------------------------
 */

/* db1 leads, and gives itself away to db2; how that goes is for the test to say. */
static void switches_over(void)
{
    leads_as_db1();
    t.stuck = 1u << DO_STOP;
    t.copy.standby[DB2].is_streaming = true;
    t.copy.standby[DB2].copy_id = told_copy_id(DB2);
    told_run(&t, t.now_ms + 100);
    (void)told_order(&t, (struct order){ .kind = ORDER_SWITCHOVER, .id = 5, .member = DB2 });
    told_run(&t, t.now_ms + 300);
    assert_string_equal(core_state_name(t.core.state), "handover");
    assert_int_equal(t.asked[DO_STOP], 1);
}

static void stop_ends(bool is_ok)
{
    struct core_event ev = { .type = ON_DONE };

    t.copy.taken_at_ms = t.now_ms;
    ev.done.op = t.last[DO_STOP].op;
    ev.done.is_ok = is_ok;
    ev.done.copy = t.copy;
    ev.at_ms = t.now_ms;
    t.stuck = 0;
    (void)told_feed(&t, &ev);
}

static void goes_on_unharmed(void)
{
    told_run(&t, t.now_ms + 300);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(t.asked[DO_KILL] + t.asked[DO_START], 0);
    assert_int_equal(t.sent[MSG_RELEASE], 0);
    assert_int_equal(t.last[DO_REPLY].reply.rc, HM_FAILED);
    assert_int_equal(core_record(&t.core)->switchover.phase, SWITCH_NONE);
    assert_int_equal(t.asked[DO_STOP], 1);
}

/* What is in its memory would be lost with it: the stop is waited for, which takes a moment. */
static void a_switchover_that_fails_kills_nothing(void **state)
{
    (void)state;
    switches_over();
    t.deaf = 1u << DB2;
    told_run(&t, t.core.since_ms + TOLD_TTL_MS + 300);
    assert_string_equal(core_state_name(t.core.state), "handover");
    assert_int_equal(t.asked[DO_KILL], 0);
    stop_ends(false);
    assert_true(told_has(&t, "handover -> holder: its successor could not be given everything"));
    goes_on_unharmed();
}

static void a_switchover_that_fails_while_its_successor_is_heard_is_not_tried_again(void **state)
{
    (void)state;
    switches_over();
    stop_ends(false);
    goes_on_unharmed();
    told_run(&t, t.now_ms + 5000);
    assert_int_equal(t.asked[DO_STOP], 1);
}

/* Suspended, it has given nothing away yet. */
static void a_successor_lost_during_the_stop_is_not_waited_for(void **state)
{
    (void)state;
    switches_over();
    t.deaf = 1u << DB2;
    told_run(&t, t.now_ms + 3 * TOLD_HEARTBEAT_MS);
    t.copy.state = COPY_SUSPENDED;
    t.copy.fence = FENCE_SUSPENDED;
    stop_ends(true);
    assert_true(told_has(&t, "handover -> holder: the member that should take over fell silent"));
    told_run(&t, t.now_ms + 300);
    assert_true(t.asked[DO_THAW] > 0);
    assert_int_equal(t.sent[MSG_RELEASE] + t.asked[DO_KILL], 0);
}

/* --- an id that the record has not learned ------------------------------------------------------
 */

/* db1's server drew an id at 2000, db2 streamed from it, and db1 is lost before the record is told.
 */
static void streamed_from_an_open_stretch(bool was_heard)
{
    told_redis_of_three(&t, &record);
    record_add_timeline(&record, HM_TIMELINE_OPEN | 9, 3, 2000);
    t.copy.at = (struct position){ .timeline = 777, .offset = 2100 };
    if (was_heard)
        t.gossip[DB1].at = t.copy.at;
    t.leader = DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 200);
    t.leader = HM_NOBODY;
    t.deaf = 1u << DB1;
}

static void what_its_holder_was_heard_to_write_on_is_its_history(void **state)
{
    const struct record *r;

    (void)state;
    streamed_from_an_open_stretch(true);
    told_run(&t, t.now_ms + 3 * TOLD_TTL_MS);
    assert_string_equal(core_state_name(t.core.state), "holder");
    r = core_record(&t.core);
    assert_int_equal(r->epoch, 4);
    assert_int_equal(r->timelines[r->timelines_n - 2].timeline, 777);
    assert_int_equal(r->timelines[r->timelines_n - 2].start, 2000);
    assert_int_equal(record_timeline(r)->start, 2100);
}

static enum hm_rc is_forced(void)
{
    (void)told_order(&t, (struct order){ .kind = ORDER_FORCE, .id = 1, .member = HM_NOBODY });
    told_run(&t, t.now_ms + 300);
    return t.last[DO_REPLY].reply.rc;
}

static void else_only_a_person_may_say_so(void **state)
{
    const struct record *r;

    (void)state;
    streamed_from_an_open_stretch(false);
    told_run(&t, t.now_ms + 3 * TOLD_TTL_MS);
    assert_string_equal(core_state_name(t.core.state), "standing");
    assert_int_equal(t.core.rule, 35);
    t.deaf = 0x1ff; /* the others are off */
    assert_int_equal(is_forced(), HM_OK);
    r = core_record(&t.core);
    assert_int_equal(r->cluster_incarnation, record.cluster_incarnation + 1);
    assert_int_equal(r->timelines[r->timelines_n - 2].timeline, 777);
}

static void nor_is_a_copy_forced_that_cannot_be_of_it(void **state)
{
    (void)state;
    streamed_from_an_open_stretch(false);
    t.deaf = 0x1ff;
    t.copy.at.offset = 1999; /* before it began */
    told_run(&t, t.now_ms + 500);
    assert_int_equal(is_forced(), HM_REFUSED);
    t.copy.at = (struct position){ .timeline = 3, .offset = 2001 }; /* behind its parent's end,
                                                                     although db1 led there */
    told_run(&t, t.now_ms + 500);
    assert_int_equal(is_forced(), HM_REFUSED);
    t.copy.at.offset = 2000;
    told_run(&t, t.now_ms + 500);
    assert_int_equal(is_forced(), HM_OK);
}

/* --- the first of all ---------------------------------------------------------------------------
 */

/* Empty servers differ in nothing but what was drawn; one that never stands leads nobody. */
static void of_empty_servers_one_that_may_lead_founds(void **state)
{
    struct voter_state blank = { .incarnation = told_incarnation(DB2) };

    (void)state;
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct voter_state s = { .incarnation = told_incarnation(slot) };

        voter_init(&t.voter[slot], &s, START_MS);
    }
    t.gossip[DB1].epoch = 0;
    t.gossip[DB1].is_nofailover = true;
    t.gossip[DB1].at = (struct position){ .timeline = 99 };
    t.copy.at = (struct position){ .timeline = 98 };
    t.copy.began_epoch = t.gossip[DB1].began_epoch = 0;
    (void)told_start(&t, &blank, START_MS);
    told_run(&t, START_MS + 4000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->holder, DB2);
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
        TEST(what_is_held_back_does_not_keep_it_from_going_on),
        TEST(the_named_member_holds_its_epoch_again_behind_a_closed_gate),
        TEST(who_loses_its_data_after_the_freeze_does_not_take_over),
        TEST(what_only_the_suspended_primary_has_is_left_to_it),
        TEST(one_that_is_not_there_is_not_waited_for),
        TEST(a_switchover_that_fails_kills_nothing),
        TEST(a_switchover_that_fails_while_its_successor_is_heard_is_not_tried_again),
        TEST(a_successor_lost_during_the_stop_is_not_waited_for),
        TEST(what_its_holder_was_heard_to_write_on_is_its_history),
        TEST(else_only_a_person_may_say_so),
        TEST(nor_is_a_copy_forced_that_cannot_be_of_it),
        TEST(of_empty_servers_one_that_may_lead_founds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
