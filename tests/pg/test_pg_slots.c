/* The slots that each member keeps for the others, on real servers: made, moved, dropped; and what
 * they are for, a member far behind that goes on from a new primary. Each test goes on from where
 * the one before it stopped. */
#include "tests/pg/await.h"
#include "tests/pg/in_turn.h"
#include "tests/pg/trio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DB1, DB2, DB3, MB = 1 << 20 };

static int open_trio(void **state)
{
    *state = trio_new();
    return 0;
}

static int close_trio(void **state)
{
    trio_free(*state);
    return 0;
}

static void promote(struct trio *t, unsigned int m, uint64_t timeline, uint64_t epoch)
{
    struct record *r = &t->record;

    r->epoch = epoch;
    r->holder = (uint8_t)m;
    r->copy_id = t->member[m].copy.copy_id;
    r->system_id = t->member[m].copy.system_id;
    r->version++;
    record_add_timeline(r, timeline, epoch, t->member[m].copy.at.offset);
    trio_tell(t);
    (void)trio_do(t, m, a_promotion(timeline, epoch));
}

static void expect_streaming(struct trio *t, unsigned int from, unsigned int to)
{
    char sql[160];

    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
                   " AND application_name = 'hamgr_db%u'",
                   to + 1);
    trio_until(t, from, sql, "1", 10000);
}

/* Some segments of log, of which a checkpoint then removes what nobody keeps. */
static void write_log(struct trio *t, unsigned int m, unsigned int segments)
{
    for (unsigned int i = 0; i < segments; i++)
        (void)trio_value(t, m, "INSERT INTO t VALUES (1); SELECT pg_switch_wal()");
    assert_string_equal(trio_value(t, m, "CHECKPOINT"), "");
    (void)trio_value(t, m, "INSERT INTO t VALUES (1)");
}

static void wait_for_replay(struct trio *t, unsigned int from, unsigned int to)
{
    char sql[96];

    (void)snprintf(sql, sizeof sql, "SELECT pg_last_wal_replay_lsn() >= '%s'",
                   trio_value(t, from, "SELECT pg_current_wal_lsn()"));
    trio_until(t, to, sql, "t", 10000);
}

static void three_members_stream(void **state)
{
    struct trio *t = *state;

    (void)trio_do(t, DB1, an_effect(DO_INIT));
    (void)trio_do(t, DB1, an_effect(DO_START));
    trio_until(t, DB1, "SELECT pg_is_in_recovery()", "t", 1000);
    promote(t, DB1, 3, 1);
    assert_string_equal(trio_value(t, DB1, "ALTER SYSTEM SET wal_keep_size = 0"), "");
    assert_string_equal(trio_value(t, DB1, "SELECT pg_reload_conf()"), "t");
    assert_string_equal(trio_value(t, DB1, "CREATE TABLE t (n int)"), "");
    assert_string_equal(
        trio_value(t, DB1,
                   "SELECT slot_name FROM pg_create_physical_replication_slot('barman', true)"),
        "barman");
    for (unsigned int m = DB2; m <= DB3; m++) {
        (void)trio_do(t, m, a_copy_effect(DO_CLONE, DB1));
        (void)trio_do(t, m, an_effect(DO_START));
        (void)trio_do(t, m, a_copy_effect(DO_FOLLOW, DB1));
        expect_streaming(t, DB1, m);
        assert_string_equal(trio_value(t, m, "SHOW wal_keep_size"), "0");
    }
    for (unsigned int m = DB1; m <= DB2; m++) /* for later */
        (void)trio_value(t, m,
                         "SELECT pg_create_physical_replication_slot('hamgr_' || n ||"
                         " '_00000000000000aa', true) FROM unnest(ARRAY['db3', 'gone']) n");
    passed();
}

static void a_standby_keeps_slots_for_the_others_and_moves_them(void **state)
{
    struct trio *t = *state;
    char sql[200], lsn[32];

    for (unsigned int m = DB2; m <= DB3; m++)
        trio_until(t, m,
                   "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'hamgr\\_db%'"
                   " AND slot_name NOT LIKE '%aa' AND restart_lsn IS NOT NULL AND NOT active",
                   "2", 10000);
    write_log(t, DB1, 1);
    (void)snprintf(lsn, sizeof lsn, "%s", trio_value(t, DB1, "SELECT pg_current_wal_lsn()"));
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM pg_replication_slots WHERE restart_lsn >= '%s'", lsn);
    trio_until(t, DB2, sql, "2", 20000);
    trio_until(t, DB3, sql, "2", 20000);
    passed();
}

static void slots_of_former_copies_and_members_are_dropped(void **state)
{
    struct trio *t = *state;

    for (unsigned int m = DB1; m <= DB2; m++)
        trio_until(t, m, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%aa'",
                   "0", 40000);
    passed();
}

/* restart_lsn on a standby keeps log there, through its restartpoints, until it is promoted. */
static void who_is_far_behind_goes_on_from_the_new_primary(void **state)
{
    struct trio *t = *state;

    (void)trio_do(t, DB3, an_effect(DO_FREEZE));
    wait_for_replay(t, DB1, DB2);
    write_log(t, DB1, 6);
    wait_for_replay(t, DB1, DB2);
    assert_string_equal(trio_value(t, DB2, "CHECKPOINT"), "");
    trio_kill(t, DB1);
    (void)trio_do(t, DB2, an_effect(DO_FREEZE));
    promote(t, DB2, 4, 2);
    assert_string_equal(trio_value(t, DB2, "CHECKPOINT"), "");
    (void)trio_do(t, DB3, a_copy_effect(DO_FOLLOW, DB2));
    expect_streaming(t, DB2, DB3);
    assert_string_equal(trio_value(t, DB2, "INSERT INTO t VALUES (2)"), "");
    trio_until(t, DB3, "SELECT count(*) FROM t WHERE n = 2", "1", 10000);
    passed();
}

static bool has_drop_of(const struct trio *t, const char *member)
{
    struct service_facts facts;

    service_postgres.describe(t->member[DB2].service, &facts);
    for (size_t i = 0; i < facts.drops_n; i++)
        if (strcmp(facts.drop[i].member, member) == 0 && facts.drop[i].held_bytes > 40 * MB)
            return true;
    return false;
}

static void a_slot_above_its_limit_is_dropped_and_reported(void **state)
{
    struct trio *t = *state;
    struct service_facts facts;

    (void)trio_value(t, DB2, "SELECT pg_create_physical_replication_slot('barman', true)");
    t->member[DB2].settings.service[0].slot_max_bytes = 40 * MB;
    trio_kill(t, DB3);
    write_log(t, DB2, 4); /* 64 MB */
    trio_until(t, DB2,
               "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'hamgr\\_db3%'", "0",
               20000);
    trio_await(t, has_drop_of(t, "db3"));
    trio_await(t, has_drop_of(t, "db1")); /* it is away for longer still */
    assert_string_equal(
        trio_value(t, DB2, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'barman'"),
        "1"); /* it holds back as much, and is nobody's business */
    service_postgres.describe(t->member[DB2].service, &facts);
    assert_int_equal(facts.foreign_n, 1);
    assert_string_equal(facts.foreign[0].name, "barman");
    assert_true(facts.foreign[0].held_bytes > 40 * MB);
    passed();
}

#define TEST(f) cmocka_unit_test_setup(f, go_on)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(three_members_stream),
        TEST(a_standby_keeps_slots_for_the_others_and_moves_them),
        TEST(slots_of_former_copies_and_members_are_dropped),
        TEST(who_is_far_behind_goes_on_from_the_new_primary),
        TEST(a_slot_above_its_limit_is_dropped_and_reported),
    };

    return cmocka_run_group_tests(tests, open_trio, close_trio);
}
