/* Who may attach to a real Redis server, and the marker that they have everything. */
#include "tests/redis/ops.h"

#include "tests/redis/await.h"

#include <signal.h>
#include <string.h>

/* --- names ----------------------------------------------------------------------------------- */

static void only_named_copies_are_attached(void **state)
{
    struct pair pair;

    (void)state;
    ops_lead(2);
    assert_int_equal(ops_attached(DB1), 2);
    pair = ops_pair_of(DB2, 1);
    w->record.pairs_n = 1;
    w->record.pairs[0] = pair;
    ops_note_goal(DURABILITY_SYNC);
    ops_do_twice(ops_names(DO_SET_NAMES, NAMES_PAIR, &pair));
    assert_int_equal(w->copy.names, NAMES_PAIR);
    assert_int_equal(w->copy.names_digest, pair_digest(&pair));
    world_await(w, ops_is_linked(DB2));
    world_await(w, strstr(world_ask(w, DB1, "CONFIG GET min-replicas-to-write"), "\n1") != NULL);
    for (unsigned int i = 0; i < 30; i++) { /* it tries again once a second */
        world_let(w, 100);
        assert_false(ops_is_linked(DB3));
        assert_int_equal(ops_attached(DB1), 1);
    }
    pair = ops_pair_of(DB2, 2);
    ops_do(ops_names(DO_SET_NAMES, NAMES_PAIR, &pair));
    world_await(w, ops_is_linked(DB3));
    assert_int_equal(ops_attached(DB1), 2);
}

static void a_stranger_attaches_in_async_only(void **state)
{
    struct pair pair;

    (void)state;
    ops_lead(1);
    ops_start(DB3);
    world_follow(w, DB3, DB1);
    pair = ops_pair_of(DB2, 1);
    w->record.pairs_n = 1;
    w->record.pairs[0] = pair;
    ops_note_goal(DURABILITY_SYNC);
    ops_do(ops_names(DO_SET_NAMES, NAMES_PAIR, &pair));
    world_await(w, ops_attached(DB1) == 1);
    world_let(w, 500);
    assert_false(ops_is_linked(DB3));
    assert_int_equal(ops_attached(DB1), 1);
    ops_note_goal(DURABILITY_ASYNC);
    ops_do(ops_names(DO_SET_NAMES, NAMES_EMPTY, NULL));
    world_await(w, ops_is_linked(DB3));
}

/* Somebody reads the ACL file anew, or adds the user by hand. */
static void who_gets_in_otherwise_is_cut_off_by_the_next_probe(void **state)
{
    (void)state;
    (void)ops_lead_in_sync(1);
    ops_start(DB3);
    assert_string_equal(
        world_ask(w, DB1, "ACL SETUSER other on >geheim +psync +replconf +ping +sync"), "OK");
    assert_string_equal(world_ask(w, DB3, "CONFIG SET masteruser other"), "OK");
    assert_string_equal(world_ask(w, DB3, "CONFIG SET masterauth geheim"), "OK");
    (void)world_ask(w, DB3, "REPLICAOF %s %u", world_host(w, DB1), (unsigned int)w->port);
    world_await(w, strstr(world_ask(w, DB1, "ACL GETUSER other"), "+psync") == NULL);
    world_await(w, ops_attached(DB1) == 1);
    assert_string_equal(world_ask(w, DB1, "ACL DELUSER hamgr.db2"), "1");
    world_await(w, strstr(world_ask(w, DB1, "ACL USERS"), "hamgr.db2") != NULL);
    world_await(w, ops_is_linked(DB2));
}

/* Or it would be refused, and try again thousands of times a second. */
static void a_standby_that_somebody_attached_logs_in_as_it_must(void **state)
{
    struct pair pair;

    (void)state;
    ops_lead(0);
    ops_start(DB2);
    world_follow(w, DB2, DB1);
    ops_watch(DB2);
    ops_note_goal(DURABILITY_SYNC);
    world_await(w,
                strcmp(world_ask(w, DB2, "CONFIG GET masteruser"), "masteruser\nhamgr.db2") == 0);
    ops_watch(DB1);
    pair = ops_pair_of(DB2, 1);
    w->record.pairs_n = 1;
    w->record.pairs[0] = pair;
    ops_note_goal(DURABILITY_SYNC);
    ops_do(ops_names(DO_SET_NAMES, NAMES_PAIR, &pair));
    world_await(w, ops_is_linked(DB2) && ops_attached(DB1) == 1);
    assert_non_null(strstr(world_ask(w, DB1, "CLIENT LIST TYPE replica"), "user=hamgr.db2"));
}

static void writes_are_refused_while_no_named_copy_is_there(void **state)
{
    (void)state;
    (void)ops_lead_in_sync(1);
    world_await(w, strcmp(world_ask(w, DB1, "SET a b"), "OK") == 0);
    world_signal(w, DB2, SIGKILL);
    world_await(w, strstr(world_ask(w, DB1, "SET a b"), "NOREPLICAS") != NULL);
    ops_do_twice(ops_names(DO_SET_NAMES, NAMES_EMPTY, NULL));
    assert_string_equal(world_ask(w, DB1, "SET a b"), "OK");
    ops_do_twice(ops_names(DO_SET_NAMES, NAMES_NOBODY, NULL));
    assert_non_null(strstr(world_ask(w, DB1, "SET a b"), "NOREPLICAS"));
}

/* The pair names it before it attaches: writes that went on alone must not fail for that. */
static void a_copy_that_comes_back_refuses_no_write_until_it_is_attached(void **state)
{
    struct pair pair;

    (void)state;
    pair = ops_lead_in_sync(1);
    assert_string_equal(world_ask(w, DB2, "REPLICAOF 127.0.0.1 1"), "OK");
    world_await(w, !w->copy.standby[DB2].is_streaming);
    ops_do(ops_names(DO_SET_NAMES, NAMES_EMPTY, NULL));
    assert_string_equal(world_ask(w, DB1, "SET a b"), "OK");
    ops_do(ops_names(DO_SET_NAMES, NAMES_PAIR, &pair));
    assert_string_equal(world_ask(w, DB1, "SET a b"), "OK");
    world_let(w, 1500);
    assert_string_equal(world_ask(w, DB1, "SET a b"), "OK");
    world_follow(w, DB2, DB1);
    world_await(w, strstr(world_ask(w, DB1, "CONFIG GET min-replicas-to-write"), "\n1") != NULL);
    assert_string_equal(world_ask(w, DB1, "SET a b"), "OK");
}

static void what_a_write_needs_is_put_right_when_somebody_changes_it(void **state)
{
    (void)state;
    (void)ops_lead_in_sync(1);
    assert_string_equal(world_ask(w, DB1, "CONFIG SET min-replicas-to-write 3"), "OK");
    assert_string_equal(world_ask(w, DB1, "CONFIG SET min-replicas-max-lag 1"), "OK");
    world_await(w, strstr(world_ask(w, DB1, "CONFIG GET min-replicas-to-write"), "\n1") != NULL);
    world_await(w, strstr(world_ask(w, DB1, "CONFIG GET min-replicas-max-lag"), "\n2") != NULL);
    assert_string_equal(world_ask(w, DB1, "CONFIG SET min-replicas-to-write 0"), "OK");
    world_await(w, strstr(world_ask(w, DB1, "CONFIG GET min-replicas-to-write"), "\n1") != NULL);
}

static void a_promotion_in_sync_acknowledges_nothing_yet(void **state)
{
    (void)state;
    ops_start(DB1);
    ops_watch(DB1);
    ops_note_goal(DURABILITY_SYNC);
    ops_do_twice(ops_names(DO_SET_NAMES, NAMES_NOBODY, NULL));
    ops_do_twice(ops_effect(DO_PROMOTE));
    assert_int_equal(w->copy.names, NAMES_NOBODY);
    assert_non_null(strstr(world_ask(w, DB1, "SET a b"), "NOREPLICAS"));
}

static void names_are_not_set_where_no_server_is(void **state)
{
    (void)state;
    ops_watch(DB1);
    world_expect(w, COPY_DOWN, NULL, LIMIT_MS);
    ops_fails(ops_names(DO_SET_NAMES, NAMES_EMPTY, NULL), "");
}

/* --- marker ---------------------------------------------------------------------------------- */

static void a_marker_ends_when_the_copies_have_everything(void **state)
{
    struct pair pair;
    uint32_t op;

    (void)state;
    pair = ops_lead_in_sync(1);
    ops_do_twice(ops_names(DO_MARKER, NAMES_PAIR, &pair));
    assert_true(w->copy.standby[DB2].is_streaming);
    ops_hang_behind(DB2);
    op = ops_begin(ops_names(DO_MARKER, NAMES_PAIR, &pair));
    world_let(w, 500);
    assert_int_not_equal(w->done_op, op);
    world_signal(w, DB2, SIGCONT);
    ops_wait(op);
    assert_true(w->done_is_ok);
}

static void a_marker_counts_the_named_copies_only(void **state)
{
    struct pair pair;
    uint32_t op;

    (void)state;
    pair = ops_lead_in_sync(1);
    world_hear(w, DB2, 999, DB1); /* another copy by now */
    op = ops_begin(ops_names(DO_MARKER, NAMES_PAIR, &pair));
    world_let(w, 300);
    assert_int_not_equal(w->done_op, op);
    world_hear(w, DB2, 100 + DB2, DB1);
    ops_wait(op);
    assert_true(w->done_is_ok);
}

static void a_marker_means_nothing_under_other_names(void **state)
{
    struct pair pair, other;

    (void)state;
    pair = ops_lead_in_sync(2);
    other = ops_pair_of(DB2, 2);
    ops_fails(ops_names(DO_MARKER, NAMES_PAIR, &other), "other names");
    ops_hang_behind(DB2);
    (void)ops_begin(ops_names(DO_MARKER, NAMES_PAIR, &pair));
    ops_do(ops_names(DO_SET_NAMES, NAMES_PAIR, &other)); /* in its place */
    world_signal(w, DB2, SIGCONT);
    ops_do(ops_names(DO_MARKER, NAMES_PAIR, &other));
}

/* Between two of its questions that does not matter; in the middle of one it fails, and is asked
 * for again. */
static void a_marker_is_not_stuck_when_its_connection_is_lost(void **state)
{
    struct pair pair;
    uint32_t op;

    (void)state;
    pair = ops_lead_in_sync(1);
    ops_hang_behind(DB2);
    op = ops_begin(ops_names(DO_MARKER, NAMES_PAIR, &pair));
    (void)world_ask(w, DB1, "CLIENT KILL TYPE normal SKIPME yes");
    world_let(w, 100);
    world_signal(w, DB2, SIGCONT);
    ops_wait(op);
    assert_true(w->done_is_ok || w->done_why[0] != 0);
    ops_do(ops_names(DO_MARKER, NAMES_PAIR, &pair));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ops_make_world, ops_end_world)
    const struct CMUnitTest tests[] = {
        TEST(only_named_copies_are_attached),
        TEST(a_stranger_attaches_in_async_only),
        TEST(who_gets_in_otherwise_is_cut_off_by_the_next_probe),
        TEST(a_standby_that_somebody_attached_logs_in_as_it_must),
        TEST(writes_are_refused_while_no_named_copy_is_there),
        TEST(a_copy_that_comes_back_refuses_no_write_until_it_is_attached),
        TEST(what_a_write_needs_is_put_right_when_somebody_changes_it),
        TEST(a_promotion_in_sync_acknowledges_nothing_yet),
        TEST(names_are_not_set_where_no_server_is),
        TEST(a_marker_ends_when_the_copies_have_everything),
        TEST(a_marker_counts_the_named_copies_only),
        TEST(a_marker_means_nothing_under_other_names),
        TEST(a_marker_is_not_stuck_when_its_connection_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
