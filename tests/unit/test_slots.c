#include "postgres/slots.h"

#include "tests/cm.h"

#include <stdio.h>
#include <string.h>

/* db1 is the primary, db2 and db3 follow it; what is asked is db2 unless a test says otherwise. */
enum { DB1, DB2, DB3, MB = 1 << 20 };

static struct record record;
static struct gossip gossip[HM_MEMBERS_MAX];
static struct slots_world world;
static struct slots_seen seen;
static struct slots_memory memory;
static struct slot_step step[SLOT_STEPS_MAX];
static size_t steps;

static uint64_t copy_of(unsigned int member)
{
    return 0xa0 + member;
}

static int setup(void **state)
{
    (void)state;
    memset(&record, 0, sizeof record);
    memset(gossip, 0, sizeof gossip);
    memset(&world, 0, sizeof world);
    memset(&seen, 0, sizeof seen);
    memset(&memory, 0, sizeof memory);
    record.epoch = 1;
    record.holder = DB1;
    record.copy_id = copy_of(DB1);
    for (unsigned int m = DB1; m <= DB3; m++) {
        record.member[m].role = ROLE_DB;
        (void)snprintf(record.member[m].name, sizeof record.member[m].name, "db%u", m + 1);
        gossip[m].copy = m == DB1 ? COPY_PRIMARY : COPY_STANDBY;
        gossip[m].copy_id = copy_of(m);
        gossip[m].at = (struct position){ 3, 500 * MB };
        gossip[m].follows = m == DB1 ? HM_NOBODY : DB1;
        gossip[m].is_streaming = m != DB1;
        world.peer[m] = &gossip[m];
    }
    world.record = &record;
    world.self = DB2;
    world.peer[DB2] = NULL;
    world.timeline = 3;
    world.now_ms = 1000000;
    world.full_ms = HM_NEVER;
    seen.end = 500 * MB;
    return 0;
}

static struct slot *has_slot(const char *name, uint64_t restart)
{
    struct slot *slot = &seen.slot[seen.n++];

    (void)snprintf(slot->name, sizeof slot->name, "%s", name);
    slot->restart = restart;
    return slot;
}

static struct slot *has_slot_of(unsigned int member, uint64_t restart)
{
    char name[SLOT_NAME_BYTES];

    postgres_slot_name(name, sizeof name, record.member[member].name, copy_of(member));
    return has_slot(name, restart);
}

/* db2 has what it needs, so that tests see only their own. */
static void has_all(uint64_t restart)
{
    (void)has_slot_of(DB1, 500 * MB);
    (void)has_slot_of(DB3, restart);
}

static void plan(void)
{
    steps = slots_plan(&world, &seen, &memory, step);
}

static void plan_after(hm_ms ms)
{
    world.now_ms += ms;
    plan();
}

static void expect(size_t i, enum slot_act act, const char *name)
{
    assert_true(i < steps);
    assert_int_equal(step[i].act, act);
    assert_string_equal(step[i].name, name);
}

/* --- what must be there --- */

static void a_standby_has_a_slot_for_every_other_copy(void **state)
{
    (void)state;
    plan();
    assert_int_equal(steps, 2);
    expect(0, SLOT_CREATE, "hamgr_db1_00000000000000a0");
    expect(1, SLOT_CREATE, "hamgr_db3_00000000000000a2");
}

static void slots_are_moved_after_their_copies(void **state)
{
    (void)state;
    has_all(300 * MB);
    gossip[DB3].at.offset = 310 * MB;
    plan();
    assert_int_equal(steps, 1);
    expect(0, SLOT_ADVANCE, "hamgr_db3_00000000000000a2");
    assert_true(step[0].to == 310 * MB);
    gossip[DB3].at.offset = 310 * MB;
    seen.slot[1].restart = 310 * MB; /* and never back */
    plan();
    assert_int_equal(steps, 0);
}

static void no_slot_is_moved_further_than_its_own_server_is(void **state)
{
    (void)state;
    has_all(300 * MB);
    gossip[DB3].at.offset = 600 * MB;
    plan();
    assert_true(step[0].to == 500 * MB);
}

/* Its end may lie on what nobody else has: it is not known how much of it is on this history. */
static void nothing_is_moved_after_another_timeline(void **state)
{
    (void)state;
    has_all(300 * MB);
    gossip[DB3].at.timeline = 2;
    plan();
    assert_int_equal(steps, 0);
}

static void who_streams_from_here_moves_its_slot_itself(void **state)
{
    (void)state;
    world.self = DB1;
    world.peer[DB1] = NULL;
    world.peer[DB2] = &gossip[DB2];
    plan();
    assert_int_equal(steps, 0); /* it makes it itself, too */
    (void)has_slot_of(DB2, 300 * MB);
    has_slot_of(DB3, 300 * MB)->is_active = true;
    plan();
    assert_int_equal(steps, 0);
}

/* db3 streams from db2, a cascade: the primary keeps its slot, too. */
static void the_primary_keeps_slots_of_those_who_follow_others(void **state)
{
    (void)state;
    world.self = DB1;
    world.peer[DB1] = NULL;
    world.peer[DB2] = &gossip[DB2];
    gossip[DB3].follows = DB2;
    plan();
    assert_int_equal(steps, 1);
    expect(0, SLOT_CREATE, "hamgr_db3_00000000000000a2");
}

static void who_is_away_keeps_its_slot_as_it_was(void **state)
{
    (void)state;
    has_all(300 * MB);
    world.peer[DB3] = NULL; /* silent */
    plan();
    plan_after(3600000);
    assert_int_equal(steps, 0);
    world.peer[DB3] = &gossip[DB3];
    gossip[DB3].copy = COPY_DOWN;
    plan();
    gossip[DB3].copy = COPY_STANDBY;
    gossip[DB3].is_streaming = false;
    plan_after(3600000);
    assert_int_equal(steps, 0);
}

static void no_slot_for_a_copy_that_would_lose_it_at_once(void **state)
{
    (void)state;
    (void)has_slot_of(DB1, 500 * MB);
    world.max_bytes = 100 * MB;
    gossip[DB3].at.offset = 400 * MB;
    plan();
    assert_int_equal(steps, 0);
    gossip[DB3].at.offset++;
    plan();
    expect(0, SLOT_CREATE, "hamgr_db3_00000000000000a2");
}

static void a_former_primary_is_no_copy_to_keep_log_for(void **state)
{
    (void)state;
    (void)has_slot_of(DB1, 500 * MB);
    gossip[DB3].copy = COPY_PRIMARY; /* and not the holder */
    plan();
    assert_int_equal(steps, 0);
}

/* --- what must go --- */

static void slots_of_former_copies_go_after_a_while(void **state)
{
    (void)state;
    has_all(500 * MB);
    (void)has_slot("hamgr_db3_0000000000000001", 300 * MB);
    (void)has_slot("hamgr_db2_0000000000000001", 300 * MB); /* its own */
    plan();
    plan_after(SLOTS_STALE_MS - 1);
    assert_int_equal(steps, 0);
    plan_after(1);
    assert_int_equal(steps, 2);
    expect(0, SLOT_DROP_STALE, "hamgr_db3_0000000000000001");
    expect(1, SLOT_DROP_STALE, "hamgr_db2_0000000000000001");
}

/* Somebody copied db3 with its settings, and started it: it has a slot, but db3 says who it is. */
static void who_streams_as_another_copy_of_a_member_is_cut_off(void **state)
{
    (void)state;
    world.self = DB1;
    world.peer[DB1] = NULL;
    has_slot_of(DB3, 500 * MB)->is_active = true;
    has_slot("hamgr_db3_0000000000000001", 500 * MB)->is_active = true;
    memcpy(seen.slot[1].from, "10.0.0.9", sizeof "10.0.0.9");
    plan();
    plan_after(SLOTS_STALE_MS - 1);
    assert_int_equal(steps, 0);
    plan_after(1);
    assert_int_equal(steps, 1);
    expect(0, SLOT_DROP_STALE, "hamgr_db3_0000000000000001");
    assert_true(step[0].is_active);
    assert_string_equal(step[0].from, "10.0.0.9");
}

/* ... and it was faster than db3, which finds its slot in use. */
static void who_keeps_a_member_out_of_its_slot_is_cut_off(void **state)
{
    (void)state;
    world.self = DB1;
    world.peer[DB1] = NULL;
    has_slot_of(DB3, 500 * MB)->is_active = true;
    gossip[DB3].is_streaming = false;
    plan();
    plan_after(SLOTS_STALE_MS - 1);
    assert_int_equal(steps, 0);
    plan_after(1);
    assert_int_equal(steps, 1);
    expect(0, SLOT_CUT, "hamgr_db3_00000000000000a2");
    plan_after(1); /* the member may need a while */
    assert_int_equal(steps, 0);
    gossip[DB3].is_streaming = true;
    plan_after(SLOTS_STALE_MS);
    assert_int_equal(steps, 0);
    gossip[DB3].follows = DB2; /* on its way to another */
    gossip[DB3].is_streaming = false;
    plan();
    plan_after(SLOTS_STALE_MS);
    assert_int_equal(steps, 0);
}

/* It may never get so far as to stream, for want of a free slot. */
static void who_tells_another_copy_needs_the_former_slot_no_more(void **state)
{
    (void)state;
    has_all(500 * MB);
    (void)has_slot("hamgr_db3_0000000000000001", 300 * MB);
    gossip[DB3].is_streaming = false;
    gossip[DB3].copy = COPY_DOWN;
    plan();
    plan_after(SLOTS_STALE_MS);
    assert_int_equal(steps, 1);
    expect(0, SLOT_DROP_STALE, "hamgr_db3_0000000000000001");
}

/* Rebuilt again and again: only the newest slot of a copy that has no name now stays. */
static void of_several_slots_the_newest_stays(void **state)
{
    (void)state;
    (void)has_slot_of(DB1, 500 * MB);
    (void)has_slot("hamgr_db3_0000000000000007", 400 * MB);
    (void)has_slot("hamgr_db3_0000000000000001", 500 * MB);
    (void)has_slot("hamgr_db3_0000000000000003", 300 * MB);
    (void)has_slot("hamgr_db3_0000000000000005", 500 * MB);
    gossip[DB3].copy = COPY_REBUILDING;
    gossip[DB3].copy_id = 0;
    plan();
    plan_after(SLOTS_STALE_MS);
    assert_int_equal(steps, 3);
    expect(0, SLOT_DROP_STALE, "hamgr_db3_0000000000000007");
    expect(1, SLOT_DROP_STALE, "hamgr_db3_0000000000000001");
    expect(2, SLOT_DROP_STALE, "hamgr_db3_0000000000000003");
}

static void who_streams_here_is_the_newest_of_a_silent_member(void **state)
{
    (void)state;
    has_all(300 * MB);
    (void)has_slot("hamgr_db3_0000000000000001", 500 * MB);
    world.peer[DB3] = NULL;
    seen.slot[1].is_active = true;
    plan();
    plan_after(SLOTS_STALE_MS);
    assert_int_equal(steps, 1);
    expect(0, SLOT_DROP_STALE, "hamgr_db3_0000000000000001");
}

static void what_is_no_longer_stale_begins_anew(void **state)
{
    (void)state;
    has_all(500 * MB);
    (void)has_slot("hamgr_db3_0000000000000001", 300 * MB);
    plan();
    seen.slot[2].is_active = true;
    plan_after(SLOTS_STALE_MS - 1);
    seen.slot[2].is_active = false;
    plan_after(1);
    assert_int_equal(steps, 0);
}

static void a_removed_member_is_forgotten_with_its_slot(void **state)
{
    (void)state;
    has_all(500 * MB);
    has_slot("hamgr_db9_00000000000000a9", 300 * MB)->is_active = true;
    plan();
    plan_after(SLOTS_STALE_MS);
    assert_int_equal(steps, 1);
    expect(0, SLOT_DROP_REMOVED, "hamgr_db9_00000000000000a9");
    assert_int_equal(step[0].member, HM_NOBODY);
    assert_true(step[0].is_active); /* who streams by it is cut off */
}

static void the_primary_forgets_a_removed_member_at_once(void **state)
{
    (void)state;
    world.self = DB1;
    (void)has_slot("hamgr_db9_00000000000000a9", 300 * MB);
    plan();
    assert_int_equal(steps, 1);
    expect(0, SLOT_DROP_REMOVED, "hamgr_db9_00000000000000a9");
}

static void foreign_slots_are_never_touched(void **state)
{
    (void)state;
    has_all(500 * MB);
    (void)has_slot("hamgr_backup", 1);
    (void)has_slot("barman", 1);
    (void)has_slot("hamgr_00000000000000a9", 1);
    has_slot("pg_receivewal", 1)->is_lost = true;
    world.max_bytes = MB;
    world.disk_size = 1000 * MB;
    world.disk_free = MB;
    plan();
    plan_after(SLOTS_STALE_MS);
    assert_int_equal(steps, 0);
}

static void what_postgresql_made_useless_goes_at_once(void **state)
{
    (void)state;
    has_all(0);
    seen.slot[1].is_lost = true;
    plan();
    assert_int_equal(steps, 1); /* and is not made again in the same round */
    expect(0, SLOT_DROP_LOST, "hamgr_db3_00000000000000a2");
}

/* --- limits --- */

static void a_slot_is_dropped_just_above_its_limit(void **state)
{
    (void)state;
    has_all(400 * MB);
    world.peer[DB3] = NULL;
    world.max_bytes = 100 * MB;
    plan();
    assert_int_equal(steps, 0);
    seen.end++;
    plan();
    assert_int_equal(steps, 1);
    expect(0, SLOT_DROP_LIMIT, "hamgr_db3_00000000000000a2");
    assert_int_equal(step[0].member, DB3);
    assert_true(step[0].held == 100 * MB + 1);
}

static void without_a_limit_only_the_disk_counts(void **state)
{
    (void)state;
    has_all(1);
    world.peer[DB3] = NULL;
    plan();
    assert_int_equal(steps, 0);
    world.disk_size = 1000 * MB;
    world.disk_free = 100 * MB; /* ten percent */
    plan();
    assert_int_equal(steps, 0);
    world.disk_free--;
    plan();
    assert_int_equal(steps, 1);
    expect(0, SLOT_DROP_DISK, "hamgr_db3_00000000000000a2");
}

static void who_streams_is_cut_off_only_without_headway(void **state)
{
    (void)state;
    has_all(300 * MB);
    seen.slot[1].is_active = true;
    world.max_bytes = 100 * MB;
    plan();
    plan_after(SLOTS_STILL_MS - 1);
    assert_int_equal(steps, 0);
    seen.slot[1].restart++;
    plan_after(1);
    plan_after(SLOTS_STILL_MS - 1);
    assert_int_equal(steps, 0);
    plan_after(1);
    assert_int_equal(steps, 1);
    assert_true(step[0].is_active);
}

static void what_holds_back_little_is_no_help_to_a_short_disk(void **state)
{
    (void)state;
    has_all(450 * MB + 1);
    world.peer[DB3] = NULL;
    world.disk_size = 1000 * MB;
    world.disk_free = MB;
    plan();
    assert_int_equal(steps, 0);
    seen.slot[1].restart--;
    plan();
    expect(0, SLOT_DROP_DISK, "hamgr_db3_00000000000000a2");
}

static void a_short_disk_costs_one_slot_at_a_time(void **state)
{
    (void)state;
    has_all(300 * MB);
    seen.slot[0].restart = 200 * MB;
    seen.slot[0].is_active = true; /* holds back more, but is in use */
    (void)has_slot("hamgr_db3_0000000000000007", 250 * MB);
    world.peer[DB3] = world.peer[DB1] = NULL;
    world.disk_size = 1000 * MB;
    plan();
    assert_int_equal(steps, 1);
    expect(0, SLOT_DROP_DISK, "hamgr_db3_0000000000000007");
    seen.n = 1;
    plan();
    assert_int_equal(steps, 1); /* nothing else is left */
    expect(0, SLOT_DROP_DISK, "hamgr_db1_00000000000000a0");
    assert_true(step[0].is_active);
}

static void no_slot_is_made_on_a_short_disk(void **state)
{
    (void)state;
    world.disk_size = 1000 * MB;
    plan();
    assert_int_equal(steps, 0);
}

static void as_many_slots_as_are_looked_at(void **state)
{
    char name[SLOT_NAME_BYTES];

    (void)state;
    for (unsigned int i = 0; i < SLOTS_MAX; i++) {
        (void)snprintf(name, sizeof name, "hamgr_db9_%016x", i);
        (void)has_slot(name, 1);
    }
    plan();
    assert_int_equal(steps, 2);
    plan_after(SLOTS_STALE_MS);
    assert_int_equal(steps, SLOTS_MAX + 2);
}

static void a_disk_that_fills_up_at_once_is_short(void **state)
{
    (void)state;
    has_all(1);
    world.peer[DB3] = NULL;
    world.disk_size = 1000 * MB;
    world.disk_free = 600 * MB;
    world.full_ms = SLOTS_REACT_MS;
    plan();
    assert_int_equal(steps, 0);
    world.full_ms--;
    plan();
    assert_int_equal(steps, 1);
    expect(0, SLOT_DROP_DISK, "hamgr_db3_00000000000000a2");
}

static void the_pace_is_that_of_the_last_seconds(void **state)
{
    struct slots_pace pace = { .n = 0 };

    (void)state;
    assert_true(slots_full_ms(&pace) == HM_NEVER);
    slots_note_free(&pace, 600 * MB, 1000);
    assert_true(slots_full_ms(&pace) == HM_NEVER);
    slots_note_free(&pace, 500 * MB, 1999);
    assert_true(slots_full_ms(&pace) == HM_NEVER);
    slots_note_free(&pace, 500 * MB, 2000);
    assert_int_equal(slots_full_ms(&pace), 5000); /* 100 MB a second */
    for (hm_ms at_ms = 2250; at_ms <= 10000; at_ms += 250)
        slots_note_free(&pace, 500 * MB, at_ms);
    assert_true(slots_full_ms(&pace) == HM_NEVER); /* and none since */
    slots_note_free(&pace, 300 * MB, 10250);
    assert_int_equal(slots_full_ms(&pace), 1500);
    slots_note_free(&pace, 0, 10500);
    assert_int_equal(slots_full_ms(&pace), 0);
}

static void the_less_is_free_the_sooner_it_is_looked_at(void **state)
{
    (void)state;
    assert_int_equal(slots_pause_ms(0), SLOTS_PAUSE_MIN_MS);
    assert_int_equal(slots_pause_ms(UINT64_C(1600) * MB), 1000);
    assert_int_equal(slots_pause_ms(UINT64_C(1) << 40), SLOTS_PAUSE_MAX_MS);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_standby_has_a_slot_for_every_other_copy),
        TEST(slots_are_moved_after_their_copies),
        TEST(no_slot_is_moved_further_than_its_own_server_is),
        TEST(nothing_is_moved_after_another_timeline),
        TEST(who_streams_from_here_moves_its_slot_itself),
        TEST(the_primary_keeps_slots_of_those_who_follow_others),
        TEST(who_is_away_keeps_its_slot_as_it_was),
        TEST(no_slot_for_a_copy_that_would_lose_it_at_once),
        TEST(a_former_primary_is_no_copy_to_keep_log_for),
        TEST(slots_of_former_copies_go_after_a_while),
        TEST(who_tells_another_copy_needs_the_former_slot_no_more),
        TEST(of_several_slots_the_newest_stays),
        TEST(who_streams_here_is_the_newest_of_a_silent_member),
        TEST(a_disk_that_fills_up_at_once_is_short),
        TEST(the_pace_is_that_of_the_last_seconds),
        TEST(the_less_is_free_the_sooner_it_is_looked_at),
        TEST(who_streams_as_another_copy_of_a_member_is_cut_off),
        TEST(who_keeps_a_member_out_of_its_slot_is_cut_off),
        TEST(what_is_no_longer_stale_begins_anew),
        TEST(a_removed_member_is_forgotten_with_its_slot),
        TEST(the_primary_forgets_a_removed_member_at_once),
        TEST(foreign_slots_are_never_touched),
        TEST(what_postgresql_made_useless_goes_at_once),
        TEST(a_slot_is_dropped_just_above_its_limit),
        TEST(without_a_limit_only_the_disk_counts),
        TEST(who_streams_is_cut_off_only_without_headway),
        TEST(what_holds_back_little_is_no_help_to_a_short_disk),
        TEST(a_short_disk_costs_one_slot_at_a_time),
        TEST(no_slot_is_made_on_a_short_disk),
        TEST(as_many_slots_as_are_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
