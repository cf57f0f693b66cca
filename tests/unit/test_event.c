/* Events that are malformed, out of range or older than the last: refused, and nothing changes. */
#include "core/event.h"

#include "tests/unit/told.h"

enum { DB1, DB2, START_MS = 10000 };

static struct told t;
static struct record record;
static struct voter_state saved;

static int make_world(void **state)
{
    (void)state;
    told_init(&t, 2, 1, DB2);
    told_record(&record, &t.first);
    told_state(&saved, &record, DB2);
    return 0;
}

static const char *fault(const struct core_event *ev)
{
    const char *why = "none";

    assert_int_equal(core_event_check(ev, &why), HM_BAD_INPUT);
    return why;
}

static void is_fine(const struct core_event *ev)
{
    const char *why = NULL;

    if (core_event_check(ev, &why) != HM_OK)
        fail_msg("refused: %s", why);
}

/* Refused by the core, which stays as it was, byte for byte; the effects stay untouched, too. */
static void is_refused(const struct core_event *ev)
{
    static struct core before;
    static struct core_effects todo, untouched;

    memset(&todo, 0x5a, sizeof todo);
    memcpy(&untouched, &todo, sizeof todo);
    memcpy(&before, &t.core, sizeof before);
    assert_int_equal(core_step(&t.core, ev, &todo), HM_BAD_INPUT);
    assert_memory_equal(&before, &t.core, sizeof before);
    assert_memory_equal(&todo, &untouched, sizeof todo);
}

static void the_type_and_the_time_are_checked(void **state)
{
    struct core_event ev = { .type = ON_TICK };

    (void)state;
    is_fine(&ev);
    ev.at_ms = -1;
    assert_string_equal(fault(&ev), "time of the event");
    ev.at_ms = INT64_MAX / 4;
    is_fine(&ev);
    ev.at_ms++; /* a sum of times could overflow */
    assert_string_equal(fault(&ev), "time of the event");
    ev.at_ms = -1;
    ev.type = ON_MESSAGE;
    ev.message = told_message(&t, DB1, MSG_GOSSIP);
    assert_string_equal(fault(&ev), "time of the event");
    ev.at_ms = 0;
    is_fine(&ev);
    ev.type = CORE_EVENTS_N;
    assert_string_equal(fault(&ev), "type of the event");
    ev.type = (enum core_event_type) - 1;
    assert_string_equal(fault(&ev), "type of the event");
}

static void a_saved_state_is_checked(void **state)
{
    struct core_event ev = { .type = ON_START };

    (void)state;
    is_fine(&ev); /* the file is missing */
    ev.start.state = &saved;
    is_fine(&ev);
    saved.promised = told_ballot(6, 0);
    assert_string_equal(fault(&ev), "a promise below what is accepted");
    saved.promised = told_ballot(8, 0);
    is_fine(&ev);
    saved.record.pairs_n = 0;
    assert_string_equal(fault(&ev), "number of sync pairs");
    saved.promised = told_ballot(HM_COUNTER_MAX + 1, 0);
    assert_string_equal(fault(&ev), "promised ballot");
    saved.max_ttl_ms = HM_TTL_MAX_MS + 1;
    assert_string_equal(fault(&ev), "longest ttl");
    saved.max_ttl_ms = -1;
    assert_string_equal(fault(&ev), "longest ttl");
    saved.incarnation = 0;
    assert_string_equal(fault(&ev), "incarnation of the member");
}

static void nothing_accepted_needs_no_record(void **state)
{
    struct voter_state empty = { .incarnation = 5, .max_ttl_ms = HM_TTL_MAX_MS };
    struct core_event ev = { .type = ON_START };

    (void)state;
    ev.start.state = &empty;
    is_fine(&ev);
}

static void a_probe_is_checked(void **state)
{
    struct core_event ev = { .type = ON_COPY };

    (void)state;
    ev.copy = t.copy;
    is_fine(&ev);
    ev.copy.follows = HM_STRANGER;
    is_fine(&ev);
    ev.copy.follows = HM_MEMBERS_MAX;
    assert_string_equal(fault(&ev), "member it follows");
    ev.copy.names = (enum names_state)(NAMES_PAIR + 1);
    assert_string_equal(fault(&ev), "names or fence of the copy");
    ev.copy.state = COPY_STATES_N;
    assert_string_equal(fault(&ev), "state of the copy");
    ev.type = ON_DONE;
    ev.done.copy = t.copy;
    is_fine(&ev);
    ev.done.copy.fence = (enum fence_mode)(FENCE_PAUSED + 1);
    assert_string_equal(fault(&ev), "names or fence of the copy");
}

static const char *order_fault(struct order o)
{
    struct core_event ev = { .type = ON_ORDER };

    ev.order = o;
    return fault(&ev);
}

static void order_is_fine(struct order o)
{
    struct core_event ev = { .type = ON_ORDER };

    ev.order = o;
    is_fine(&ev);
}

static void an_order_has_a_kind_and_an_id(void **state)
{
    (void)state;
    order_is_fine((struct order){ .kind = ORDER_PAUSE, .id = 1 });
    assert_string_equal(order_fault((struct order){ .kind = ORDER_PAUSE }),
                        "kind or id of the order");
    assert_string_equal(order_fault((struct order){ .kind = ORDER_NONE, .id = 1 }),
                        "kind or id of the order");
    assert_string_equal(order_fault((struct order){ .kind = ORDER_KEEP + 1, .id = 1 }),
                        "kind or id of the order");
}

static void an_order_names_a_slot(void **state)
{
    struct order o = { .kind = ORDER_SWITCHOVER, .id = 1, .member = HM_NOBODY };

    (void)state;
    order_is_fine(o);
    o.member = HM_MEMBERS_MAX - 1;
    order_is_fine(o);
    o.member = HM_MEMBERS_MAX;
    assert_string_equal(order_fault(o), "member of the order");
    o.kind = ORDER_MEMBER_REMOVE;
    o.member = HM_NOBODY;
    assert_string_equal(order_fault(o), "member of the order");
}

static void ordered_times_have_limits(void **state)
{
    struct order o = { .kind = ORDER_TIMING, .id = 1, .ttl_ms = 200, .heartbeat_ms = 100 };

    (void)state;
    order_is_fine(o);
    o.ttl_ms = 199;
    assert_string_equal(order_fault(o), "ttl or heartbeat of the order");
    o.ttl_ms = HM_TTL_MAX_MS;
    order_is_fine(o);
    o.ttl_ms++;
    assert_string_equal(order_fault(o), "ttl or heartbeat of the order");
    o.ttl_ms = 200;
    o.heartbeat_ms = 0;
    assert_string_equal(order_fault(o), "ttl or heartbeat of the order");
    o.heartbeat_ms = INT64_MAX;
    assert_string_equal(order_fault(o), "ttl or heartbeat of the order");
}

static void ordered_durability_has_limits(void **state)
{
    struct order o = { .kind = ORDER_DURABILITY,
                       .id = 1,
                       .durability = DURABILITY_STRICT,
                       .sync_standbys = HM_MEMBERS_MAX - 1 };

    (void)state;
    order_is_fine(o);
    o.sync_standbys++;
    assert_string_equal(order_fault(o), "durability of the order");
    o.sync_standbys = 0;
    o.durability = (enum durability)(DURABILITY_STRICT + 1);
    assert_string_equal(order_fault(o), "durability of the order");
}

static void a_member_to_add_is_described(void **state)
{
    struct order o = { .kind = ORDER_MEMBER_ADD,
                       .id = 1,
                       .added = { .role = ROLE_DB, .incarnation = 7, .name = "db9" } };

    (void)state;
    order_is_fine(o);
    o.added.role = ROLE_OBSERVER;
    order_is_fine(o);
    o.added.role = ROLE_NONE;
    assert_string_equal(order_fault(o), "the member to add");
    o.added.role = (enum member_role)(ROLE_OBSERVER + 1);
    assert_string_equal(order_fault(o), "the member to add");
    o.added.role = ROLE_WITNESS;
    o.added.incarnation = 0;
    assert_string_equal(order_fault(o), "the member to add");
    o.added.incarnation = 7;
    memset(o.added.name, 'x', HM_NAME_MAX);
    assert_string_equal(order_fault(o), "the member to add");
    o.added.name[HM_NAME_MAX - 1] = 0;
    order_is_fine(o);
    memset(o.added.address, 'x', HM_ADDRESS_MAX);
    assert_string_equal(order_fault(o), "the member to add");
    o.added.name[0] = 0;
    assert_string_equal(order_fault(o), "the member to add");
}

/* --- at the core's door ------------------------------------------------------------------------
 */

static void nothing_is_taken_before_the_start(void **state)
{
    struct core_event ev = { .type = ON_TICK, .at_ms = 5 };

    (void)state;
    is_refused(&ev);
    ev.type = ON_STALL;
    is_refused(&ev);
}

static void a_second_start_is_refused(void **state)
{
    struct core_event ev = { .type = ON_START, .at_ms = START_MS + 1 };

    (void)state;
    (void)told_start(&t, &saved, START_MS);
    ev.start.state = &saved;
    is_refused(&ev);
}

static void the_state_of_another_member_is_refused(void **state)
{
    struct core_event ev = { .type = ON_START, .at_ms = START_MS };

    (void)state;
    saved.incarnation++;
    ev.start.state = &saved;
    is_refused(&ev);
}

static void time_never_runs_backwards(void **state)
{
    struct core_event ev = { .type = ON_TICK, .at_ms = START_MS - 1 };

    (void)state;
    (void)told_start(&t, &saved, START_MS);
    is_refused(&ev);
    ev.at_ms = START_MS;
    (void)told_feed(&t, &ev);
    ev.at_ms = START_MS + 5;
    (void)told_feed(&t, &ev);
    ev.at_ms = START_MS + 4;
    is_refused(&ev);
}

static void what_was_not_asked_to_be_written_was_not_written(void **state)
{
    struct core_event ev = { .type = ON_PERSISTED, .at_ms = START_MS };
    struct msg m;

    (void)state;
    ev.persisted.is_ok = true;
    (void)told_start(&t, &saved, START_MS);
    is_refused(&ev);
    t.is_disk_stuck = true;
    m = told_message(&t, DB1, MSG_PREPARE);
    m.ballot = told_ballot(9, DB1);
    (void)told_hear(&t, &m);
    assert_int_equal(t.asked[DO_PERSIST], 1);
    ev.persisted.ticket = t.last[DO_PERSIST].persist.ticket + 1;
    is_refused(&ev);
    ev.persisted.ticket--;
    (void)told_feed(&t, &ev);
    is_refused(&ev);
}

static void malformed_events_change_nothing(void **state)
{
    struct core_event ev = { .type = CORE_EVENTS_N, .at_ms = START_MS };

    (void)state;
    (void)told_start_all(&t, &record, START_MS);
    is_refused(&ev);
    ev.type = ON_MESSAGE;
    ev.message = told_message(&t, DB1, MSG_TYPES_N);
    is_refused(&ev);
    ev.message = told_message(&t, DB1, MSG_ACCEPT);
    ev.message.ballot = told_ballot(9, DB1);
    is_refused(&ev);
    ev.type = ON_COPY;
    ev.copy = t.copy;
    ev.copy.follows = 77;
    is_refused(&ev);
    ev.type = ON_ORDER;
    ev.order = (struct order){ .kind = ORDER_PAUSE };
    is_refused(&ev);
}

static void a_forgotten_operation_is_taken_for_none(void **state)
{
    struct core_event ev = { .type = ON_DONE, .at_ms = START_MS };

    (void)state;
    (void)told_start_all(&t, &record, START_MS);
    ev.done.op = 77;
    ev.done.copy = t.copy;
    (void)told_feed(&t, &ev);
    assert_int_equal(t.asked[DO_PERSIST], 0);
}

static void names_exist_for_all_and_only_for_these(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CORE_EVENTS_N; i++)
        assert_string_not_equal(core_event_name((enum core_event_type)i), "?");
    assert_string_equal(core_event_name(CORE_EVENTS_N), "?");
    for (unsigned i = 0; i <= DO_REPLY; i++)
        assert_string_not_equal(core_effect_name((enum core_effect_type)i), "?");
    assert_string_equal(core_effect_name((enum core_effect_type)(DO_REPLY + 1)), "?");
    for (unsigned i = 0; i < CORE_STATES_N; i++)
        assert_string_not_equal(core_state_name((enum core_state)i), "?");
    assert_string_equal(core_state_name(CORE_STATES_N), "?");
}

static void only_what_waits_or_is_set_again_can_be_given_up(void **state)
{
    (void)state;
    assert_true(effect_can_be_given_up(DO_FOLLOW));
    assert_true(effect_can_be_given_up(DO_MARKER));
    assert_false(effect_can_be_given_up(DO_PROMOTE));
    assert_false(effect_can_be_given_up(DO_REWIND));
    for (unsigned i = 0; i <= DO_REPLY; i++)
        if (effect_can_be_given_up((enum core_effect_type)i))
            assert_true(effect_is_copy_operation((enum core_effect_type)i));
    assert_false(effect_is_copy_operation(DO_KILL));
    assert_true(effect_is_copy_operation(DO_START));
    assert_true(effect_is_copy_operation(DO_MARKER));
    assert_false(effect_is_copy_operation(DO_REPOINT));
}

static void operations_are_the_same_when_they_ask_for_the_same_whatever_their_ids(void **state)
{
    struct core_effect a = { .type = DO_FOLLOW, .op = 1, .copy = { .member = 2, .epoch = 7 } };
    struct core_effect b = { .type = DO_FOLLOW, .op = 2, .copy = { .member = 2, .epoch = 7 } };
    struct core_effect c = { .type = DO_SET_NAMES, .op = 3, .names = { .names = NAMES_PAIR } };
    struct core_effect d = c;

    (void)state;
    assert_true(effect_is_same(&a, &b));
    b.copy.upto.offset = 1;
    assert_false(effect_is_same(&a, &b));
    b = a;
    b.type = DO_FETCH;
    assert_false(effect_is_same(&a, &b));
    assert_true(effect_is_same(&c, &d));
    d.names.pair.need = 1;
    assert_false(effect_is_same(&c, &d));
    d = c;
    d.names.names = NAMES_EMPTY;
    assert_false(effect_is_same(&c, &d));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(the_type_and_the_time_are_checked),
        TEST(a_saved_state_is_checked),
        TEST(nothing_accepted_needs_no_record),
        TEST(a_probe_is_checked),
        TEST(an_order_has_a_kind_and_an_id),
        TEST(an_order_names_a_slot),
        TEST(ordered_times_have_limits),
        TEST(ordered_durability_has_limits),
        TEST(a_member_to_add_is_described),
        TEST(nothing_is_taken_before_the_start),
        TEST(a_second_start_is_refused),
        TEST(the_state_of_another_member_is_refused),
        TEST(time_never_runs_backwards),
        TEST(what_was_not_asked_to_be_written_was_not_written),
        TEST(malformed_events_change_nothing),
        TEST(a_forgotten_operation_is_taken_for_none),
        TEST(names_exist_for_all_and_only_for_these),
        TEST(only_what_waits_or_is_set_again_can_be_given_up),
        TEST(operations_are_the_same_when_they_ask_for_the_same_whatever_their_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
