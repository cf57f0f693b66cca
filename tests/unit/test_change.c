/* Which record comes next: the first one, a takeover, the holder's own changes, orders. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000, SERVING_MS = START_MS + TOLD_TTL_MS + 400 };

static struct told t;
static struct record record;

static int make_world(void **state)
{
    (void)state;
    told_init(&t, 2, 1, DB2);
    told_record(&record, &t.first);
    return 0;
}

/* db2 has taken over and serves. */
static void leads(void)
{
    t.deaf |= 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, SERVING_MS);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_string_equal(copy_state_name(t.copy.state), "primary");
    t.deaf = 0;
    t.gossip[DB1].at.offset = t.copy.at.offset;
    t.gossip[DB1].at.timeline = t.copy.at.timeline;
    t.gossip[DB1].began_epoch = t.copy.began_epoch;
    t.gossip[DB1].epoch = 4;
    t.gossip[DB1].follows = DB2;
    t.copy.standby[DB1].is_streaming = true;
    t.copy.standby[DB1].copy_id = told_copy_id(DB1);
    told_run(&t, SERVING_MS + 300);
    told_forget(&t);
}

static void order(enum order_kind kind, uint64_t id, uint8_t member)
{
    (void)told_order(&t, (struct order){ .kind = kind, .id = id, .member = member });
}

static void is_replied(uint64_t id, enum hm_rc rc, const char *why)
{
    assert_true(t.asked[DO_REPLY] > 0);
    assert_int_equal(t.last[DO_REPLY].reply.order, id);
    assert_string_equal(t.last[DO_REPLY].reply.why, why);
    assert_int_equal(t.last[DO_REPLY].reply.rc, rc);
}

/* --- the first record --------------------------------------------------------------------------
 */

static void starts_empty(uint8_t self)
{
    struct voter_state empty;

    told_init(&t, 2, 1, self);
    memset(&empty, 0, sizeof empty);
    for (unsigned slot = 0; slot < 3; slot++) {
        empty.incarnation = told_incarnation(slot);
        voter_init(&t.voter[slot], &empty, START_MS);
        memset(&t.gossip[slot], 0, sizeof t.gossip[slot]);
        t.gossip[slot].copy = slot < 2 ? COPY_ABSENT : COPY_UNKNOWN;
        t.gossip[slot].follows = HM_NOBODY;
    }
    t.copy.state = COPY_ABSENT;
    t.copy.copy_id = 0;
    t.copy.at = (struct position){ .offset = 0 };
    empty.incarnation = told_incarnation(self);
    (void)told_start(&t, &empty, START_MS);
}

static void the_first_db_member_founds_an_empty_cluster(void **state)
{
    const struct record *r;

    (void)state;
    starts_empty(DB1);
    told_run(&t, START_MS + 2000);
    assert_non_null(strstr(t.story, "prepare -> accept: every voter is empty: the first record"));
    assert_int_equal(t.asked[DO_INIT], 1);
    r = core_record(&t.core);
    assert_int_equal(r->epoch, 1);
    assert_int_equal(r->holder, DB1);
    assert_int_equal(r->copy_id, 4711);
    assert_int_equal(r->member[2].incarnation, told_incarnation(2));
    assert_int_equal(r->changes[0].reason, CHANGE_FIRST);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
}

static void the_second_db_member_leaves_it_to_the_first(void **state)
{
    (void)state;
    starts_empty(DB2);
    told_run(&t, START_MS + 3000);
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
    assert_null(core_record(&t.core));
}

static void one_that_never_stands_is_not_left_to(void **state)
{
    (void)state;
    starts_empty(DB2);
    t.gossip[DB1].is_nofailover = true;
    told_run(&t, START_MS + 3000);
    assert_int_equal(core_record(&t.core)->holder, DB2);
    assert_int_equal(t.asked[DO_INIT], 1);
}

static void the_first_record_needs_every_voter(void **state)
{
    (void)state;
    starts_empty(DB1);
    t.deaf = 1u << 2;
    told_run(&t, START_MS + 5000);
    assert_int_equal(t.sent[MSG_ACCEPT], 0);
    assert_null(core_record(&t.core));
}

static void one_voter_with_a_record_forbids_another_first(void **state)
{
    struct voter_state s;

    (void)state;
    starts_empty(DB1);
    told_record(&record, &t.first);
    told_state(&s, &record, 2);
    voter_init(&t.voter[2], &s, START_MS - 5000);
    told_run(&t, START_MS + 5000);
    assert_int_equal(t.asked[DO_INIT], 0);
    assert_true(core_record(&t.core) == NULL || core_record(&t.core)->epoch > 1);
}

static void a_running_primary_is_adopted(void **state)
{
    (void)state;
    starts_empty(DB2);
    told_primary(&t.copy, DB2);
    t.copy.at = (struct position){ .timeline = 6, .offset = 700 };
    t.copy.fence = FENCE_NONE;
    told_run(&t, START_MS + 2000);
    assert_non_null(core_record(&t.core));
    assert_int_equal(core_record(&t.core)->holder, DB2);
    assert_int_equal(core_record(&t.core)->copy_id, told_copy_id(DB2));
    assert_int_equal(core_record(&t.core)->timelines[0].timeline, 6);
    assert_int_equal(t.asked[DO_INIT], 0);
}

/* --- the holder's own changes ------------------------------------------------------------------
 */

static void the_last_known_position_is_refreshed(void **state)
{
    uint64_t version, at;

    (void)state;
    leads();
    version = core_record(&t.core)->version;
    at = core_record(&t.core)->last_known.offset;
    t.copy.at.offset = at + record.max_lag_bytes / 2;
    told_run(&t, t.now_ms + 20 * TOLD_TTL_MS);
    assert_int_equal(core_record(&t.core)->version, version);
    t.copy.at.offset++;
    told_run(&t, t.now_ms + 20 * TOLD_TTL_MS);
    assert_int_equal(core_record(&t.core)->version, version + 1);
    assert_int_equal(core_record(&t.core)->last_known.offset, t.copy.at.offset);
    assert_true(told_has(&t, "holder -> holder-change: the record must change"));
}

static void one_version_at_a_time(void **state)
{
    uint64_t version;

    (void)state;
    leads();
    version = core_record(&t.core)->version;
    t.is_disk_stuck = true;
    order(ORDER_PAUSE, 1, 0);
    told_run(&t, t.now_ms + 300);
    order(ORDER_RESUME, 2, 0);
    assert_int_equal(t.last[DO_PERSIST].persist.state->record.version, version + 1);
    is_replied(2, HM_REFUSED, "another order is under way");
}

/* --- pause, timing, durability -----------------------------------------------------------------
 */

static void a_pause_is_written_and_lifts_the_fence(void **state)
{
    (void)state;
    leads();
    order(ORDER_PAUSE, 1, 0);
    told_run(&t, t.now_ms + 300);
    is_replied(1, HM_OK, "a majority accepted");
    assert_true(core_record(&t.core)->is_paused);
    assert_int_equal(t.copy.fence, FENCE_PAUSED);
    assert_true(t.copy.is_gate_open);
}

static void a_resume_fences_before_it_is_written(void **state)
{
    hm_ms until_ms;

    (void)state;
    leads();
    order(ORDER_PAUSE, 1, 0);
    told_run(&t, t.now_ms + 300);
    told_forget(&t);
    order(ORDER_RESUME, 2, 0);
    assert_int_equal(t.sent[MSG_ACCEPT], 0);
    until_ms = t.now_ms + 300;
    told_run(&t, until_ms);
    is_replied(2, HM_OK, "a majority accepted");
    assert_false(core_record(&t.core)->is_paused);
    assert_int_equal(t.copy.fence, FENCE_LEASE);
}

static void a_repeated_order_is_answered_and_not_carried_out_again(void **state)
{
    uint64_t version;

    (void)state;
    leads();
    order(ORDER_PAUSE, 1, 0);
    told_run(&t, t.now_ms + 300);
    version = core_record(&t.core)->version;
    order(ORDER_PAUSE, 1, 0);
    told_run(&t, t.now_ms + 300);
    is_replied(1, HM_OK, "it was carried out before");
    assert_int_equal(core_record(&t.core)->version, version);
}

static void timing_is_changed_and_durable_at_the_voters(void **state)
{
    (void)state;
    leads();
    (void)told_order(
        &t, (struct order){ .kind = ORDER_TIMING, .id = 1, .ttl_ms = 6000, .heartbeat_ms = 200 });
    told_run(&t, t.now_ms + 800);
    is_replied(1, HM_OK, "a majority accepted");
    assert_int_equal(core_record(&t.core)->ttl_ms, 6000);
    assert_int_equal(t.voter[2].durable.max_ttl_ms, 6000);
    assert_true(core_valid_until(&t.core) > t.now_ms + 5000);
}

static void only_the_holder_takes_orders(void **state)
{
    (void)state;
    t.leader = DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    order(ORDER_PAUSE, 1, 0);
    is_replied(1, HM_REFUSED, "this member is not the holder");
}

static void an_order_that_no_majority_accepts_times_out(void **state)
{
    (void)state;
    leads();
    t.is_disk_stuck = true;
    order(ORDER_PAUSE, 1, 0);
    told_run(&t, t.now_ms + 80 * TOLD_HEARTBEAT_MS - 1);
    assert_int_equal(t.asked[DO_REPLY], 0);
    told_run(&t, t.now_ms + 1);
    is_replied(1, HM_TIMED_OUT, "no majority accepted in time");
}

/* --- members -----------------------------------------------------------------------------------
 */

static struct order add_order(uint64_t id, const char *name, uint64_t incarnation)
{
    struct order o = { .kind = ORDER_MEMBER_ADD, .id = id };

    o.added.role = ROLE_WITNESS;
    o.added.incarnation = incarnation;
    memcpy(o.added.name, name, strlen(name));
    return o;
}

/* The member that is added starts with an empty register. */
static void boots(uint8_t slot)
{
    struct voter_state empty;

    memset(&empty, 0, sizeof empty);
    empty.incarnation = told_incarnation(slot);
    voter_init(&t.voter[slot], &empty, t.now_ms);
    t.first.member[slot].role = ROLE_WITNESS;
}

static void a_member_is_added_by_joint_majorities(void **state)
{
    (void)state;
    leads();
    boots(3);
    (void)told_order(&t, add_order(1, "wt2", told_incarnation(3)));
    told_run(&t, t.now_ms + 500);
    is_replied(1, HM_OK, "a majority accepted");
    assert_int_equal(core_record(&t.core)->voters, 0x0f);
    assert_int_equal(core_record(&t.core)->old_voters, 0);
    assert_int_equal(t.voter[3].durable.record.version, core_record(&t.core)->version);
}

static void a_removed_member_leaves_the_record(void **state)
{
    (void)state;
    leads();
    order(ORDER_MEMBER_REMOVE, 1, 2);
    told_run(&t, t.now_ms + 500);
    is_replied(1, HM_OK, "a majority accepted");
    assert_int_equal(core_record(&t.core)->voters, 0x03);
    assert_int_equal(core_record(&t.core)->member[2].role, ROLE_NONE);
}

static void an_observer_comes_and_goes_without_a_vote(void **state)
{
    struct order o = add_order(1, "app", 77);

    (void)state;
    leads();
    o.added.role = ROLE_OBSERVER;
    (void)told_order(&t, o);
    assert_int_equal(t.core.draft.old_voters, 0);
    told_run(&t, t.now_ms + 500);
    is_replied(1, HM_OK, "a majority accepted");
    assert_int_equal(core_record(&t.core)->voters, 0x07);
    assert_string_equal(core_record(&t.core)->member[3].name, "app");
    order(ORDER_MEMBER_REMOVE, 2, 2); /* it stays when another leaves */
    told_run(&t, t.now_ms + 500);
    assert_int_equal(core_record(&t.core)->member[3].role, ROLE_OBSERVER);
    order(ORDER_MEMBER_REMOVE, 3, 3);
    told_run(&t, t.now_ms + 500);
    is_replied(3, HM_OK, "a majority accepted");
    assert_int_equal(core_record(&t.core)->member[3].role, ROLE_NONE);
    assert_int_equal(core_record(&t.core)->voters, 0x03);
}

/* Old voters db1, db2, wt1; new ones db1, db2: wt1 and db2 are no majority of the new ones. */
static void the_new_majority_alone_is_not_enough(void **state)
{
    (void)state;
    leads();
    t.deaf = 1u << DB1;
    order(ORDER_MEMBER_REMOVE, 1, 2);
    told_run(&t, t.now_ms + 1000);
    assert_int_equal(t.asked[DO_REPLY], 0);
    assert_int_equal(core_record(&t.core)->old_voters, 0x07);
    t.deaf = 0;
    told_run(&t, t.now_ms + 3000);
    is_replied(1, HM_OK, "a majority accepted");
}

static void the_holder_cannot_be_removed(void **state)
{
    (void)state;
    leads();
    order(ORDER_MEMBER_REMOVE, 1, DB2);
    is_replied(1, HM_REFUSED, "the primary's member cannot be removed: switch over first");
    order(ORDER_MEMBER_REMOVE, 2, 7);
    is_replied(2, HM_REFUSED, "there is no such member");
}

/* wt1 is silent: db2 alone would be left of two voters. */
static void those_who_remain_must_be_a_majority_that_lives(void **state)
{
    (void)state;
    leads();
    t.deaf = 1u << 2;
    told_run(&t, t.now_ms + 4 * TOLD_HEARTBEAT_MS);
    order(ORDER_MEMBER_REMOVE, 1, DB1);
    is_replied(1, HM_REFUSED,
               "too few of the remaining voters are heard: repair or replace them first");
    order(ORDER_MEMBER_REMOVE, 2, 2); /* the silent one itself may go */
    told_run(&t, t.now_ms + 1000);
    is_replied(2, HM_OK, "a majority accepted");
}

static void a_name_and_an_incarnation_are_used_once(void **state)
{
    (void)state;
    leads();
    (void)told_order(&t, add_order(1, "db1", 999));
    is_replied(1, HM_REFUSED, "there is a member of that name: remove it first");
    (void)told_order(&t, add_order(2, "wt9", told_incarnation(DB1)));
    is_replied(2, HM_REFUSED, "there is a member of that incarnation already");
}

static void a_full_cluster_takes_nobody(void **state)
{
    (void)state;
    told_init(&t, 2, HM_MEMBERS_MAX - 2, DB2);
    told_record(&record, &t.first);
    leads();
    (void)told_order(&t, add_order(1, "wt9", 999));
    is_replied(1, HM_REFUSED, "the cluster has as many members as it can have");
}

static void the_last_free_slot_can_be_taken(void **state)
{
    (void)state;
    told_init(&t, 2, HM_MEMBERS_MAX - 3, DB2);
    told_record(&record, &t.first);
    leads();
    boots(HM_MEMBERS_MAX - 1);
    (void)told_order(&t, add_order(1, "wt9", told_incarnation(HM_MEMBERS_MAX - 1)));
    told_run(&t, t.now_ms + 800);
    is_replied(1, HM_OK, "a majority accepted");
    assert_int_equal(core_record(&t.core)->voters, 0x1ff);
    assert_true(t.most_effects <= CORE_EFFECTS_MAX);
}

/* --- switchover --------------------------------------------------------------------------------
 */

static void a_switchover_stops_releases_and_leaves_it_to_the_named(void **state)
{
    (void)state;
    leads();
    order(ORDER_SWITCHOVER, 1, DB1);
    told_run(&t, t.now_ms + 200);
    assert_true(told_has(&t, "holder -> handover: a switchover was ordered"));
    assert_true(told_has(&t, "handover -> released: its copy can acknowledge nothing any more"));
    assert_int_equal(t.asked[DO_CHECKPOINT], 1);
    assert_int_equal(t.asked[DO_STOP], 1);
    assert_true(t.sent[MSG_RELEASE] > 0);
    assert_true(core_valid_until(&t.core) == HM_PAST);
    assert_int_equal(core_record(&t.core)->switchover.to, DB1);
}

/* A moment after the switchover before: nothing could be streamed to it before the stop. */
static void a_switchover_waits_until_its_successor_streams(void **state)
{
    (void)state;
    leads();
    t.copy.standby[DB1].is_streaming = false;
    told_run(&t, t.now_ms + 100);
    order(ORDER_SWITCHOVER, 1, DB1);
    told_run(&t, t.now_ms + 500);
    assert_int_equal(core_record(&t.core)->switchover.phase, SWITCH_PREPARED);
    assert_int_equal(t.asked[DO_STOP], 0);
    t.copy.standby[DB1].is_streaming = true;
    told_run(&t, t.now_ms + 200);
    assert_int_equal(t.asked[DO_STOP], 1);
}

static void the_best_standby_is_taken_when_none_is_named(void **state)
{
    (void)state;
    leads();
    order(ORDER_SWITCHOVER, 1, HM_NOBODY);
    told_run(&t, t.now_ms + 50);
    assert_int_equal(core_record(&t.core)->switchover.to, DB1);
}

static void a_switchover_to_who_cannot_take_over_is_refused(void **state)
{
    (void)state;
    leads();
    t.gossip[DB1].is_healthy = false;
    told_run(&t, t.now_ms + 100);
    order(ORDER_SWITCHOVER, 1, DB1);
    is_replied(1, HM_REFUSED, "the named member cannot take over now");
    order(ORDER_SWITCHOVER, 2, HM_NOBODY);
    is_replied(2, HM_REFUSED, "no standby can take over now");
    order(ORDER_SWITCHOVER, 3, DB2);
    is_replied(3, HM_REFUSED, "the named member is the primary already");
}

static void in_a_paused_cluster_nobody_switches_over(void **state)
{
    (void)state;
    leads();
    order(ORDER_PAUSE, 1, 0);
    told_run(&t, t.now_ms + 300);
    order(ORDER_SWITCHOVER, 2, DB1);
    is_replied(2, HM_REFUSED, "the cluster is paused: resume it first");
}

static void a_switchover_is_called_off(void **state)
{
    (void)state;
    leads();
    t.stuck = 1u << DO_CHECKPOINT;
    order(ORDER_SWITCHOVER, 1, DB1);
    told_run(&t, t.now_ms + 200);
    assert_int_equal(core_record(&t.core)->switchover.phase, SWITCH_PREPARED);
    order(ORDER_CANCEL, 2, 0);
    is_replied(2, HM_OK, "the switchover is called off");
    told_run(&t, t.now_ms + 200);
    assert_int_equal(core_record(&t.core)->switchover.phase, SWITCH_NONE);
    assert_int_equal(t.asked[DO_STOP], 0);
    order(ORDER_CANCEL, 3, 0);
    is_replied(3, HM_REFUSED, "no switchover is under way");
}

/* --- failover --force --------------------------------------------------------------------------
 */

static void a_forced_member_goes_on_alone_in_a_new_incarnation(void **state)
{
    (void)state;
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 3000);
    assert_string_equal(copy_state_name(t.copy.state), "standby");
    order(ORDER_FORCE, 9, 0);
    told_run(&t, t.now_ms + 1000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->cluster_incarnation, 1);
    assert_int_equal(core_record(&t.core)->voters, 1u << DB2);
    assert_int_equal(core_record(&t.core)->epoch, 4);
    assert_int_equal(core_record(&t.core)->changes[1].reason, CHANGE_FORCED);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
}

/* The member that it was told to follow is none of the new cluster: it must stop listening to it
 * all the same, or the server refuses to be promoted. */
static void a_forced_member_follows_no_stranger_when_it_is_promoted(void **state)
{
    (void)state;
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 3000);
    t.copy.follows = HM_STRANGER;
    t.copy.is_streaming = false;
    t.stuck = 1u << DO_FREEZE;
    order(ORDER_FORCE, 9, 0);
    told_run(&t, t.now_ms + 1000);
    assert_int_equal(t.asked[DO_PROMOTE], 0);
    t.stuck = 0;
    t.core.op.type = DO_SEND; /* the adapter gave it up */
    told_run(&t, t.now_ms + 1000);
    assert_int_equal(t.copy.follows, HM_NOBODY);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
}

static void a_witness_cannot_be_forced(void **state)
{
    (void)state;
    told_init(&t, 2, 1, 2);
    (void)told_start_all(&t, &record, START_MS);
    order(ORDER_FORCE, 9, 0);
    is_replied(9, HM_REFUSED, "only a database member that knows a record can be forced");
}

static void a_member_without_a_good_copy_cannot_be_forced(void **state)
{
    (void)state;
    t.copy.is_healthy = false;
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 3000);
    order(ORDER_FORCE, 9, 0);
    is_replied(9, HM_REFUSED, "its copy is no healthy standby");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(the_first_db_member_founds_an_empty_cluster),
        TEST(the_second_db_member_leaves_it_to_the_first),
        TEST(one_that_never_stands_is_not_left_to),
        TEST(the_first_record_needs_every_voter),
        TEST(one_voter_with_a_record_forbids_another_first),
        TEST(a_running_primary_is_adopted),
        TEST(the_last_known_position_is_refreshed),
        TEST(one_version_at_a_time),
        TEST(a_pause_is_written_and_lifts_the_fence),
        TEST(a_resume_fences_before_it_is_written),
        TEST(a_repeated_order_is_answered_and_not_carried_out_again),
        TEST(timing_is_changed_and_durable_at_the_voters),
        TEST(only_the_holder_takes_orders),
        TEST(an_order_that_no_majority_accepts_times_out),
        TEST(a_member_is_added_by_joint_majorities),
        TEST(a_removed_member_leaves_the_record),
        TEST(an_observer_comes_and_goes_without_a_vote),
        TEST(the_new_majority_alone_is_not_enough),
        TEST(the_holder_cannot_be_removed),
        TEST(those_who_remain_must_be_a_majority_that_lives),
        TEST(a_name_and_an_incarnation_are_used_once),
        TEST(a_full_cluster_takes_nobody),
        TEST(the_last_free_slot_can_be_taken),
        TEST(a_switchover_stops_releases_and_leaves_it_to_the_named),
        TEST(a_switchover_waits_until_its_successor_streams),
        TEST(the_best_standby_is_taken_when_none_is_named),
        TEST(a_switchover_to_who_cannot_take_over_is_refused),
        TEST(in_a_paused_cluster_nobody_switches_over),
        TEST(a_switchover_is_called_off),
        TEST(a_forced_member_goes_on_alone_in_a_new_incarnation),
        TEST(a_forced_member_follows_no_stranger_when_it_is_promoted),
        TEST(a_witness_cannot_be_forced),
        TEST(a_member_without_a_good_copy_cannot_be_forced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
