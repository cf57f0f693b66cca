/* When clients are told of a new primary, and how the others are told, out of a core's belief. */
#include "daemon/sentinel_view.h"

#include "tests/cm.h"

#include <stdio.h>
#include <string.h>

enum { DB1, DB2, DB3, W1 };

#define START_MS 1000000

static struct core core;
static struct record *rec;
static struct sentinel_view view;
static struct sentinel_view_service service;
static struct model_master master;
static hm_ms now_ms, again_ms;

static void add_member(unsigned slot, const char *name, enum member_role role)
{
    struct member *m = &rec->member[slot];

    m->incarnation = 0xa0 + slot;
    m->role = role;
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    (void)snprintf(m->address, sizeof m->address, "10.0.0.%u:7420", slot + 1);
    rec->voters |= (uint16_t)(1u << slot);
}

/* Somebody is heard now, with a copy in that state that follows the primary. */
static void hear(unsigned slot, enum copy_state copy)
{
    struct peer *p = &core.view.peer[slot];

    p->is_known = true;
    p->heard_ms = now_ms;
    p->gossip = (struct gossip){ .copy = copy,
                                 .copy_id = 0xc0 + slot,
                                 .at = { .timeline = 5, .offset = 700 + slot },
                                 .follows = copy == COPY_STANDBY ? rec->holder : HM_NOBODY,
                                 .is_streaming = copy == COPY_STANDBY,
                                 .is_healthy = true,
                                 .is_holder = slot == rec->holder };
}

/* This member hears the holder renew the record that it has (R6). */
static void follow(void)
{
    core.state = ST_FOLLOWING;
    core.renewed.is_there = true;
    core.renewed.holder = rec->holder;
    core.renewed.ballot = core.voter.durable.accepted;
    core.renewed.version = rec->version;
    core.renewed.at_ms = now_ms;
    core.now_ms = now_ms;
}

/* The next epoch begins; the replication id of it is not known yet. */
static void take_over(uint8_t holder, enum change_reason reason)
{
    rec->version++;
    rec->epoch++;
    rec->holder = holder;
    record_add_timeline(rec, HM_TIMELINE_OPEN | 9, rec->epoch, 900);
    record_add_change(rec, reason, 0);
}

static void promote(void)
{
    rec->version++;
    rec->timelines[rec->timelines_n - 1].timeline = 6;
}

/* db2, a standby of db1, looks. */
static int begin(void **state)
{
    (void)state;
    memset(&core, 0, sizeof core);
    memset(&view, 0, sizeof view);
    view_init(&core.view);
    now_ms = START_MS;
    rec = &core.voter.durable.record;
    rec->cluster = 0xc1;
    rec->kind = SERVICE_REDIS;
    rec->version = 12;
    rec->epoch = 7;
    rec->holder = DB1;
    rec->ttl_ms = 1500;
    rec->heartbeat_ms = 250;
    add_member(DB1, "db1", ROLE_DB);
    add_member(DB2, "db2", ROLE_DB);
    add_member(DB3, "db3", ROLE_DB);
    add_member(W1, "w1", ROLE_WITNESS);
    record_add_timeline(rec, 5, 7, 1);
    core.voter.durable.accepted =
        (struct ballot){ .counter = 9, .incarnation = 0xa0, .member = DB1 };
    core.self = DB2;
    core.valid_until_ms = HM_PAST;
    core.has_copy = true;
    core.copy = (struct copy){ .state = COPY_STANDBY,
                               .copy_id = 0xc1,
                               .follows = DB1,
                               .is_streaming = true,
                               .at = { .timeline = 5, .offset = 690 } };
    service = (struct sentinel_view_service){
        .name = "cache", .port = 6379, .core = &core, .is_gate_open = true
    };
    hear(DB1, COPY_PRIMARY);
    hear(DB3, COPY_STANDBY);
    hear(W1, COPY_UNKNOWN);
    follow();
    return 0;
}

static void look(void)
{
    assert_true(sentinel_view_look(&view, &service, now_ms, &master, &again_ms));
}

static void is_told(const char *host, bool is_sdown, bool is_odown, bool is_failover)
{
    look();
    assert_string_equal(master.at.host, host);
    assert_int_equal(master.is_sdown, is_sdown);
    assert_int_equal(master.is_odown, is_odown);
    assert_int_equal(master.is_failover, is_failover);
    assert_int_equal(master.unsettled_ms != HM_NEVER, is_sdown || is_failover);
}

static void nothing_is_told_before_the_first_record(void **state)
{
    (void)state;
    core.voter.durable.accepted.counter = 0;
    rec->epoch = 0;
    assert_false(sentinel_view_look(&view, &service, now_ms, &master, &again_ms));
}

static void a_good_day(void **state)
{
    (void)state;
    is_told("10.0.0.1", false, false, false);
    assert_string_equal(master.name, "cache");
    assert_int_equal(master.at.port, 6379);
    assert_string_equal(master.run_id, "00000000000000c0000000000000000000000000");
    assert_string_equal(master.by, "00000000000000c100000000000000a000000000");
    assert_int_equal(master.epoch, 7);
    assert_true(master.is_connected);
    assert_int_equal(master.quorum, 3);
    assert_int_equal(master.voters_heard, 4);
    assert_int_equal(master.replicas_n, 2);
    assert_string_equal(master.replica[0].at.host, "10.0.0.2");
    assert_int_equal(master.replica[0].offset, 690);
    assert_true(master.replica[0].is_up);
    assert_true(master.replica[0].is_linked);
    assert_string_equal(master.replica[0].master.host, "10.0.0.1");
    assert_string_equal(master.replica[1].at.host, "10.0.0.3");
    assert_int_equal(master.replica[1].priority, 100);
    assert_int_equal(again_ms, HM_NEVER);
}

static void a_start_with_an_old_record_tells_it_as_down(void **state)
{
    (void)state;
    view_init(&core.view);
    core.renewed.is_there = false;
    is_told("10.0.0.1", true, false, false);
    hear(DB1, COPY_PRIMARY);
    follow();
    is_told("10.0.0.1", false, false, false);
}

static void a_silent_primary_is_down_and_with_a_majority_out(void **state)
{
    (void)state;
    is_told("10.0.0.1", false, false, false);
    now_ms += 1501;
    core.renewed.is_there = false;
    core.state = ST_STANDING;
    is_told("10.0.0.1", true, false, false);
    assert_false(master.is_connected);
    assert_int_equal(master.voters_heard, 1);
    hear(DB3, COPY_STANDBY);
    hear(W1, COPY_UNKNOWN);
    is_told("10.0.0.1", true, true, false);
    assert_int_equal(master.odown_ms, now_ms);
    core.state = ST_FREEZE;
    is_told("10.0.0.1", true, true, true);
}

static void a_dead_server_is_down_at_once(void **state)
{
    (void)state;
    is_told("10.0.0.1", false, false, false);
    hear(DB1, COPY_DOWN);
    is_told("10.0.0.1", true, false, false);
    assert_false(master.is_connected);
}

/* Others: the record that has the replication id was chosen, and the gate had time to open. */
static void another_member_is_told_when_its_gate_is_open(void **state)
{
    (void)state;
    is_told("10.0.0.1", false, false, false);
    take_over(DB3, CHANGE_LEASE_RAN_OUT);
    core.renewed.is_there = false;
    hear(DB3, COPY_STANDBY);
    is_told("10.0.0.1", true, true, true);
    follow();
    is_told("10.0.0.1", true, true, true);
    assert_int_equal(again_ms, HM_NEVER);
    hear(DB3, COPY_PRIMARY); /* its gate is still closed */
    is_told("10.0.0.1", true, true, true);
    promote();
    is_told("10.0.0.1", true, true, true); /* accepted here, but not known to be chosen */
    assert_int_equal(again_ms, HM_NEVER);
    follow();
    is_told("10.0.0.1", true, true, true);
    assert_int_equal(again_ms, now_ms + rec->heartbeat_ms);
    core.view.peer[DB3].gossip.is_open = true;
    is_told("10.0.0.3", false, false, false);
    assert_int_equal(master.epoch, 8);
    assert_false(master.is_planned);
    assert_int_equal(master.replica[0].reported, MODEL_ROLE_MASTER);
    assert_false(master.replica[0].is_up);
}

/* Of an older version: it does not say when its gate is open. */
static void a_member_that_says_nothing_of_its_gate_is_told_after_a_heartbeat(void **state)
{
    (void)state;
    is_told("10.0.0.1", false, false, false);
    take_over(DB3, CHANGE_LEASE_RAN_OUT);
    promote();
    hear(DB3, COPY_PRIMARY);
    follow();
    is_told("10.0.0.1", true, true, true);
    now_ms += rec->heartbeat_ms - 1;
    is_told("10.0.0.1", true, true, true);
    now_ms += 1;
    is_told("10.0.0.3", false, false, false);
}

static void this_member_is_told_when_its_own_gate_is_open(void **state)
{
    (void)state;
    is_told("10.0.0.1", false, false, false);
    take_over(DB2, CHANGE_SWITCHOVER);
    core.state = ST_HOLDER;
    core.valid_until_ms = now_ms + 1000;
    service.is_gate_open = false;
    is_told("10.0.0.1", false, false, true);
    core.copy.state = COPY_PRIMARY;
    core.copy.follows = HM_NOBODY;
    promote();
    is_told("10.0.0.1", false, false, true);
    service.is_gate_open = true; /* still that of a standby */
    is_told("10.0.0.1", false, false, true);
    service.is_gate_open = false;
    core.is_chosen = true;
    is_told("10.0.0.1", false, false, true);
    assert_true(master.replica[0].is_up); /* the next master is no standby that fails */
    assert_true(master.replica[0].is_promoted);
    assert_false(master.replica[1].is_promoted);
    assert_int_equal(master.replica[0].reported, MODEL_ROLE_SLAVE);
    service.is_gate_open = true;
    is_told("10.0.0.2", false, false, false);
    assert_true(master.is_planned);
    assert_false(master.replica[0].is_promoted || master.replica[1].is_promoted);
    assert_string_equal(master.by, "00000000000000c100000000000000a100000000");
    core.valid_until_ms = now_ms - 1;
    is_told("10.0.0.2", true, true, false);
    core.is_paused = true;
    is_told("10.0.0.2", false, false, false);
}

static void a_switchover_is_a_failover_under_way(void **state)
{
    (void)state;
    rec->switchover.phase = SWITCH_PREPARED;
    is_told("10.0.0.1", false, false, true);
    now_ms += 1499;
    hear(DB1, COPY_SUSPENDED);
    is_told("10.0.0.1", false, false, true);
    now_ms += 1; /* that is no short pause any more */
    is_told("10.0.0.1", true, false, true);
}

static void the_same_member_again_is_no_change(void **state)
{
    (void)state;
    is_told("10.0.0.1", false, false, false);
    take_over(DB1, CHANGE_LEASE_RAN_OUT);
    promote();
    follow();
    is_told("10.0.0.1", true, true, true);
    core.view.peer[DB1].gossip.is_open = true;
    is_told("10.0.0.1", false, false, false);
    assert_int_equal(master.epoch, 8);
}

static void only_copies_that_can_be_read_are_up(void **state)
{
    static const enum copy_state not_readable[] = { COPY_DOWN,    COPY_STARTING, COPY_SUSPENDED,
                                                    COPY_UNKNOWN, COPY_ABSENT,   COPY_PRIMARY };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(not_readable); i++) {
        hear(DB3, not_readable[i]);
        look();
        assert_false(master.replica[1].is_up);
        assert_false(master.replica[1].is_linked);
        assert_int_equal(master.replica[1].master.port, 0);
    }
    assert_int_equal(master.replica[1].reported, MODEL_ROLE_MASTER);
    now_ms += 10;
    hear(DB3, COPY_STANDBY);
    look();
    assert_true(master.replica[1].is_up);
    assert_int_equal(master.replica[1].changed_ms, now_ms);
    assert_int_equal(master.replica[1].reported, MODEL_ROLE_SLAVE);
    assert_int_equal(master.replica[1].reported_ms, now_ms);
    now_ms += 1501;
    look();
    assert_false(master.replica[1].is_up);
}

static void a_standby_is_shown_when_it_streams_and_stays(void **state)
{
    (void)state;
    core.view.peer[DB3].gossip.is_streaming = false;
    look();
    assert_false(master.replica[1].is_up); /* it has just come back */
    core.view.peer[DB3].gossip.is_streaming = true;
    look();
    assert_true(master.replica[1].is_up);
    core.view.peer[DB3].gossip.is_streaming = false;
    look();
    assert_true(master.replica[1].is_up); /* the primary is lost: old data are better than none */
    assert_false(master.replica[1].is_linked);
}

/* Redis' scale runs the other way, and 0 is never. */
static void priorities_are_turned_round(void **state)
{
    (void)state;
    core.view.peer[DB3].gossip.priority = 30;
    look();
    assert_int_equal(master.replica[1].priority, 70);
    core.view.peer[DB3].gossip.priority = 1000;
    look();
    assert_int_equal(master.replica[1].priority, 1);
    core.view.peer[DB3].gossip.priority = -1000;
    look();
    assert_int_equal(master.replica[1].priority, 1100);
    core.view.peer[DB3].gossip.is_nofailover = true;
    look();
    assert_int_equal(master.replica[1].priority, 0);
}

static void a_place_is_the_host_of_an_address(void **state)
{
    struct member m = { .address = "[fd00::3]:7420" };
    struct model_place place;

    (void)state;
    sentinel_view_place(&m, 6379, &place);
    assert_string_equal(place.host, "fd00::3");
    (void)snprintf(m.address, sizeof m.address, "db1.example.org:7420");
    sentinel_view_place(&m, 26379, &place);
    assert_string_equal(place.host, "db1.example.org");
    assert_int_equal(place.port, 26379);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_told_before_the_first_record),
        TEST(a_good_day),
        TEST(a_start_with_an_old_record_tells_it_as_down),
        TEST(a_silent_primary_is_down_and_with_a_majority_out),
        TEST(a_dead_server_is_down_at_once),
        TEST(another_member_is_told_when_its_gate_is_open),
        TEST(a_member_that_says_nothing_of_its_gate_is_told_after_a_heartbeat),
        TEST(this_member_is_told_when_its_own_gate_is_open),
        TEST(a_switchover_is_a_failover_under_way),
        TEST(the_same_member_again_is_no_change),
        TEST(only_copies_that_can_be_read_are_up),
        TEST(a_standby_is_shown_when_it_streams_and_stays),
        TEST(priorities_are_turned_round),
        TEST(a_place_is_the_host_of_an_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
