/* Operations on real PostgreSQL servers, in the order of a cluster's life: each test goes on from
 * where the one before it stopped. */
#include "tests/pg/await.h"
#include "tests/pg/in_turn.h"
#include "tests/pg/trio.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DB1, DB2, DB3 };

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

static void begin_timeline(struct trio *t, uint64_t timeline, uint64_t epoch, uint8_t holder)
{
    struct record *r = &t->record;

    r->epoch = epoch;
    r->holder = holder;
    r->version++;
    record_add_timeline(r, timeline, epoch, t->member[holder].copy.at.offset);
    trio_tell(t);
}

static bool has_file(const struct trio *t, unsigned int m, const char *name)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/data/%s", t->member[m].root, name);
    return access(path, F_OK) == 0;
}

static void expect_file(const struct trio *t, unsigned int m, const char *name, bool is_there)
{
    if (has_file(t, m, name) != is_there)
        fail_msg("db%u: '%s' is %sthere", m + 1, name, is_there ? "not " : "");
}

static void expect_streaming(struct trio *t, unsigned int from, unsigned int to)
{
    char sql[256];

    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
                   " AND application_name = 'hamgr_db%u'",
                   to + 1);
    trio_until(t, from, sql, "1", 10000);
    trio_until(t, to, "SELECT status FROM pg_stat_wal_receiver", "streaming", 10000);
}

static void wait_for_all(struct trio *t, unsigned int from, unsigned int to)
{
    char sql[256], lsn[64];

    (void)snprintf(lsn, sizeof lsn, "%s", trio_value(t, from, "SELECT pg_current_wal_lsn()"));
    (void)snprintf(sql, sizeof sql, "SELECT pg_last_wal_receive_lsn() >= '%s'", lsn);
    trio_until(t, to, sql, "t", 10000);
}

static void wait_for_replay(struct trio *t, unsigned int from, unsigned int to)
{
    char sql[256], lsn[64];

    (void)snprintf(lsn, sizeof lsn, "%s", trio_value(t, from, "SELECT pg_current_wal_lsn()"));
    (void)snprintf(sql, sizeof sql, "SELECT pg_last_wal_replay_lsn() >= '%s'", lsn);
    trio_until(t, to, sql, "t", 10000);
}

static void a_new_database_starts_as_a_standby_and_is_promoted(void **state)
{
    struct trio *t = *state;
    uint64_t copy_id;

    trio_fails(t, DB1, an_effect(DO_START), "cannot start: the copy is absent");
    (void)trio_do(t, DB1, an_effect(DO_INIT));
    assert_int_equal(t->member[DB1].copy.state, COPY_DOWN);
    copy_id = t->member[DB1].copy.copy_id;
    assert_true(copy_id != 0);
    (void)trio_do(t, DB1, an_effect(DO_INIT)); /* there are data: nothing to do */
    assert_true(t->member[DB1].copy.copy_id == copy_id);
    (void)trio_do(t, DB1, an_effect(DO_START));
    assert_int_equal(t->member[DB1].copy.state, COPY_STANDBY);
    assert_string_equal(trio_value(t, DB1, "SHOW data_checksums"), "on");
    (void)trio_do(t, DB1, an_effect(DO_START)); /* it runs: nothing to do */
    t->record.system_id = t->member[DB1].copy.system_id;
    trio_until(t, DB1, "SELECT pg_is_in_recovery()", "t", 1000);
    begin_timeline(t, 3, 1, DB1);
    print_message("promote a new database: %lld ms\n",
                  (long long)trio_do(t, DB1, a_promotion(3, 1)));
    assert_int_equal(t->member[DB1].copy.state, COPY_PRIMARY);
    assert_int_equal(t->member[DB1].copy.at.timeline, 3);
    assert_int_equal(t->member[DB1].copy.began_epoch, 1);
    expect_file(t, DB1, "standby.signal", true);
    expect_file(t, DB1, "pg_wal/00000002.history", true);
    (void)trio_do(t, DB1, a_promotion(3, 1)); /* it is: nothing to do */
    trio_fails(t, DB1, a_promotion(4, 2), "primary on timeline 3, not 4");
    passed();
}

/* One that was adopted never had the file; one whose hamgrd died while promoting may lack it. */
static void a_rightful_primary_is_given_its_standby_signal(void **state)
{
    struct trio *t = *state;
    const char *data = t->member[DB1].settings.service[0].data_dir;

    assert_int_equal(trio_shell("rm '%s/standby.signal'", data), 0);
    trio_reopen(t, DB1);
    t->record.holder = DB2;
    trio_tell(t);
    trio_let(t, 500);
    expect_file(t, DB1, "standby.signal", false); /* not the rightful one */
    t->record.holder = DB1;
    t->record.copy_id = t->member[DB1].copy.copy_id;
    trio_tell(t);
    trio_await(t, has_file(t, DB1, "standby.signal"));
    passed();
}

static void an_absent_copy_is_cloned_and_follows(void **state)
{
    struct trio *t = *state;

    (void)trio_value(t, DB1, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    for (unsigned int m = DB2; m <= DB3; m++) {
        (void)trio_do(t, m, a_copy_effect(DO_CLONE, DB1));
        assert_int_equal(t->member[m].copy.state, COPY_DOWN);
        assert_true(t->member[m].copy.copy_id != t->member[DB1].copy.copy_id);
        expect_file(t, m, "standby.signal", true);
        (void)trio_do(t, m, an_effect(DO_START));
        assert_int_equal(t->member[m].copy.follows, HM_NOBODY);
        print_message("follow: %lld ms\n", (long long)trio_do(t, m, a_copy_effect(DO_FOLLOW, DB1)));
        expect_streaming(t, DB1, m);
        assert_int_equal(t->member[m].copy.follows, DB1);
    }
    trio_until(t, DB2, "SELECT count(*) FROM t", "1000", 5000);
    assert_string_equal(
        trio_value(t, DB1, "SELECT count(*) FROM pg_replication_slots WHERE active"), "2");
    trio_fails(t, DB2, a_copy_effect(DO_FOLLOW, DB2), "cannot follow");
    passed();
}

static void commits_wait_for_the_named(void **state)
{
    struct trio *t = *state;
    struct pair pair = pair_alone;
    struct core_effect marker = an_effect(DO_MARKER);
    uint32_t op;

    t->record.goal = DURABILITY_SYNC;
    trio_tell(t);
    pair.need = 1;
    pair_add(&pair, DB2, t->member[DB2].copy.copy_id);
    pair.need = 1;
    marker.names.names = NAMES_PAIR;
    marker.names.pair = pair;
    trio_fails(t, DB1, an_effect(DO_PROVE), "commits wait for nobody");
    trio_fails(t, DB1, marker, "not in force");
    (void)trio_do(t, DB1, names_to(NAMES_NOBODY, NULL));
    assert_int_equal(t->member[DB1].copy.names, NAMES_NOBODY);
    print_message("prove: %lld ms\n", (long long)trio_do(t, DB1, an_effect(DO_PROVE)));
    (void)trio_do(t, DB1, names_to(NAMES_PAIR, &pair));
    assert_int_equal(t->member[DB1].copy.names, NAMES_PAIR);
    assert_true(t->member[DB1].copy.names_digest == pair_digest(&pair));
    print_message("marker: %lld ms\n", (long long)trio_do(t, DB1, marker));

    /* Nobody of the pair is there: no marker returns. It is given up, and leaves nobody waiting. */
    (void)trio_do(t, DB2, an_effect(DO_FREEZE));
    op = trio_ask(t, DB1, marker);
    trio_let(t, 500);
    assert_true(t->member[DB1].done_op != op);
    (void)trio_do(t, DB1, names_to(NAMES_EMPTY, NULL));
    trio_until(t, DB1, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", "0",
               2000);
    (void)trio_do(t, DB2, a_copy_effect(DO_FOLLOW, DB1));
    expect_streaming(t, DB1, DB2);
    passed();
}

static void a_marker_goes_on_when_the_standby_comes(void **state)
{
    struct trio *t = *state;
    struct pair pair = pair_alone;
    struct core_effect marker = an_effect(DO_MARKER);
    pid_t receiver;
    uint32_t op;

    pair_add(&pair, DB2, t->member[DB2].copy.copy_id);
    pair.need = 1;
    marker.names.names = NAMES_PAIR;
    marker.names.pair = pair;
    (void)trio_do(t, DB2, an_effect(DO_FREEZE));
    (void)trio_do(t, DB1, names_to(NAMES_PAIR, &pair));
    op = trio_ask(t, DB1, marker);
    trio_let(t, 300);
    (void)trio_do(t, DB2, a_copy_effect(DO_FOLLOW, DB1));
    (void)trio_wait(t, DB1, op, 10000);
    assert_true(t->member[DB1].is_ok);
    /* One that no commit waits for hangs: what it was not sent says nothing. */
    receiver = atoi(trio_value(t, DB3, "SELECT pid FROM pg_stat_get_wal_receiver()"));
    assert_true(receiver > 1 && kill(receiver, SIGSTOP) == 0);
    (void)trio_value(t, DB1, "SELECT pg_logical_emit_message(false, '', repeat('x', 40000000))");
    assert_true(trio_do(t, DB1, marker) < 5000);
    assert_int_equal(kill(receiver, SIGCONT), 0);
    (void)trio_do(t, DB1, names_to(NAMES_EMPTY, NULL));
    expect_streaming(t, DB1, DB2);
    passed();
}

static int by_size(const void *a, const void *b)
{
    return *(const hm_ms *)a < *(const hm_ms *)b ? -1 : *(const hm_ms *)a > *(const hm_ms *)b;
}

static void a_log_is_frozen(void **state)
{
    struct trio *t = *state;
    hm_ms took_ms[9];

    for (unsigned int i = 0; i < HM_ARRAY_LEN(took_ms); i++) {
        wait_for_replay(t, DB1, DB2);
        took_ms[i] = trio_do(t, DB2, an_effect(DO_FREEZE));
        assert_int_equal(t->member[DB2].copy.follows, HM_NOBODY);
        assert_false(t->member[DB2].copy.is_streaming);
        assert_true(t->member[DB2].copy.is_final);
        assert_string_equal(
            trio_value(t, DB2,
                       "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver'"),
            "0");
        (void)trio_do(t, DB2, a_copy_effect(DO_FOLLOW, DB1));
        expect_streaming(t, DB1, DB2);
    }
    qsort(took_ms, HM_ARRAY_LEN(took_ms), sizeof took_ms[0], by_size);
    print_message("freeze of an idle standby: median %lld ms, worst %lld ms\n",
                  (long long)took_ms[HM_ARRAY_LEN(took_ms) / 2],
                  (long long)took_ms[HM_ARRAY_LEN(took_ms) - 1]);
    passed();
}

static void a_log_is_frozen_while_replay_is_paused(void **state)
{
    struct trio *t = *state;

    (void)trio_value(t, DB2, "SELECT pg_wal_replay_pause()");
    if (TESTS_PG_MAJOR >= 14) /* before, it only tells what was asked for */
        trio_until(t, DB2, "SELECT pg_get_wal_replay_pause_state()", "paused", 10000);
    (void)trio_value(t, DB1, "INSERT INTO t SELECT generate_series(1, 100)");
    wait_for_all(t, DB1, DB2);
    print_message("freeze with replay paused: %lld ms\n",
                  (long long)trio_do(t, DB2, an_effect(DO_FREEZE)));
    assert_true(t->member[DB2].copy.is_final);
    (void)trio_value(t, DB2, "SELECT pg_wal_replay_resume()");
    (void)trio_do(t, DB2, a_copy_effect(DO_FOLLOW, DB1));
    expect_streaming(t, DB1, DB2);
    passed();
}

/* A reader that holds a lock, which replay then waits for. */
static PGconn *block_replay(struct trio *t, unsigned int primary, unsigned int standby)
{
    PGconn *reader = trio_connect(t, standby);

    PQclear(PQexec(reader, "BEGIN"));
    PQclear(PQexec(reader, "SELECT count(*) FROM t"));
    (void)trio_value(t, primary, "ALTER TABLE t ADD COLUMN IF NOT EXISTS x int");
    (void)trio_value(t, primary, "ALTER TABLE t DROP COLUMN x");
    wait_for_all(t, primary, standby);
    trio_until(t, standby,
               "SELECT wait_event_type FROM pg_stat_activity WHERE backend_type = 'startup'",
               "Lock", 5000);
    return reader;
}

static void a_blocked_replay_holds_up_neither_freeze_nor_promotion(void **state)
{
    struct trio *t = *state;
    PGconn *reader = block_replay(t, DB1, DB2);
    PGresult *result;

    /* The old primary goes on writing: who is to follow may not have more than who is promoted. */
    (void)trio_do(t, DB3, an_effect(DO_FREEZE));
    wait_for_all(t, DB1, DB2);
    print_message("freeze with replay blocked: %lld ms\n",
                  (long long)trio_do(t, DB2, an_effect(DO_FREEZE)));
    assert_true(t->member[DB2].copy.is_final);
    begin_timeline(t, 9, 2, DB2);
    print_message("promote with replay blocked: %lld ms\n",
                  (long long)trio_do(t, DB2, a_promotion(9, 2)));
    assert_int_equal(t->member[DB2].copy.state, COPY_PRIMARY);
    assert_int_equal(t->member[DB2].copy.at.timeline, 9);
    expect_file(t, DB2, "standby.signal", true);
    result = PQexec(reader, "SELECT 1");
    assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR); /* it was ended */
    PQclear(result);
    PQfinish(reader);
    (void)trio_do(t, DB3, a_copy_effect(DO_FOLLOW, DB2));
    expect_streaming(t, DB2, DB3);
    trio_until(t, DB3, "SELECT received_tli FROM pg_stat_wal_receiver", "9", 5000);
    passed();
}

static void a_diverged_primary_is_rewound(void **state)
{
    struct trio *t = *state;
    uint64_t copy_id = t->member[DB1].copy.copy_id;

    (void)trio_value(t, DB1, "INSERT INTO t SELECT generate_series(5000, 5100)");
    trio_fails(t, DB1, a_copy_effect(DO_REWIND, DB2), "cannot rewind: the copy is primary");
    trio_fails(t, DB1, a_copy_effect(DO_FOLLOW, DB2), "the copy is a primary");
    trio_kill(t, DB1);
    trio_await(t, t->member[DB1].copy.state == COPY_DOWN && t->member[DB1].died > 0);
    (void)trio_value(t, DB2, "CHECKPOINT");
    (void)trio_value(t, DB2, "INSERT INTO t SELECT 7");
    print_message("rewind: %lld ms\n", (long long)trio_do(t, DB1, a_copy_effect(DO_REWIND, DB2)));
    assert_int_equal(t->member[DB1].copy.state, COPY_DOWN);
    assert_true(t->member[DB1].copy.copy_id != copy_id);
    assert_false(t->member[DB1].copy.was_primary);
    expect_file(t, DB1, "standby.signal", true);
    (void)trio_do(t, DB1, an_effect(DO_START));
    (void)trio_do(t, DB1, a_copy_effect(DO_FOLLOW, DB2));
    expect_streaming(t, DB2, DB1);
    wait_for_replay(t, DB2, DB1);
    assert_string_equal(trio_value(t, DB1, "SELECT count(*) FROM t WHERE n >= 5000"), "0");
    assert_string_equal(trio_value(t, DB1, "SHOW listen_addresses"), "127.0.0.11");
    passed();
}

static void promotion_is_fast(void **state)
{
    struct trio *t = *state;
    unsigned int primary = DB2, standby = DB1;
    hm_ms took_ms[5];

    for (unsigned int i = 0; i < HM_ARRAY_LEN(took_ms); i++) {
        wait_for_replay(t, primary, standby);
        (void)trio_do(t, primary, an_effect(DO_STOP));
        assert_int_equal(t->member[primary].copy.state, COPY_DOWN);
        (void)trio_do(t, standby, an_effect(DO_FREEZE));
        begin_timeline(t, 20 + i, 10 + i, (uint8_t)standby);
        took_ms[i] = trio_do(t, standby, a_promotion(20 + i, 10 + i));
        /* What was stopped clean has nothing that the other has not. */
        (void)trio_do(t, primary, an_effect(DO_START));
        (void)trio_do(t, primary, a_copy_effect(DO_FOLLOW, (uint8_t)standby));
        expect_streaming(t, standby, primary);
        primary = standby;
        standby = DB1 + DB2 - standby;
    }
    qsort(took_ms, HM_ARRAY_LEN(took_ms), sizeof took_ms[0], by_size);
    print_message("promote: median %lld ms, worst %lld ms\n",
                  (long long)took_ms[HM_ARRAY_LEN(took_ms) / 2],
                  (long long)took_ms[HM_ARRAY_LEN(took_ms) - 1]);
    assert_int_equal(primary, DB1); /* an odd number of changes */
    /* It started with names that nobody has: in sync no commit returns before the proof. */
    assert_int_equal(t->member[DB1].copy.names, NAMES_NOBODY);
    assert_true(t->member[DB1].copy.is_flag_certain);
    (void)trio_do(t, DB1, names_to(NAMES_EMPTY, NULL));
    /* Several timelines behind: each would cost five seconds. */
    print_message("follow onto another timeline: %lld ms\n",
                  (long long)trio_do(t, DB3, a_copy_effect(DO_FOLLOW, DB1)));
    trio_until(t, DB3, "SELECT received_tli FROM pg_stat_wal_receiver", "24", 1000);
    expect_streaming(t, DB1, DB3);
    passed();
}

static void a_newer_operation_takes_the_place_of_one_that_can_be_given_up(void **state)
{
    struct trio *t = *state;
    uint32_t follow, freeze, again;

    follow = trio_ask(t, DB2, a_copy_effect(DO_FOLLOW, DB3));
    freeze = trio_ask(t, DB2, an_effect(DO_FREEZE));
    again = trio_ask(t, DB2, an_effect(DO_FREEZE)); /* the same: only its id is newer */
    (void)trio_wait(t, DB2, again, 10000);
    assert_true(t->member[DB2].is_ok);
    assert_int_equal(t->member[DB2].copy.follows, HM_NOBODY);
    trio_let(t, 300); /* nothing of what was given up comes later */
    assert_int_equal(t->member[DB2].done_op, again);
    assert_true(follow < freeze && freeze < again);
    assert_string_equal(trio_value(t, DB2, "SELECT pg_reload_conf()"), "t");
    trio_until(t, DB2, "SHOW primary_conninfo", "", 1000);
    passed();
}

static void what_cannot_be_given_up_is_waited_for(void **state)
{
    struct trio *t = *state;
    uint32_t stop, start;

    stop = trio_ask(t, DB2, an_effect(DO_STOP));
    start = trio_ask(t, DB2, an_effect(DO_START));
    (void)trio_wait(t, DB2, stop, 10000);
    assert_true(t->member[DB2].is_ok);
    (void)trio_wait(t, DB2, start, 20000);
    assert_true(t->member[DB2].is_ok);
    assert_int_equal(t->member[DB2].copy.state, COPY_STANDBY);
    passed();
}

static void what_is_missing_is_fetched_from_a_frozen_log(void **state)
{
    struct trio *t = *state;
    struct core_effect fetch = a_copy_effect(DO_FETCH, DB3);

    (void)trio_value(t, DB1, "INSERT INTO t SELECT generate_series(1, 1000)");
    wait_for_replay(t, DB1, DB3);
    (void)trio_do(t, DB3, an_effect(DO_FREEZE));
    assert_true(t->member[DB3].copy.at.offset > t->member[DB2].copy.at.offset);
    fetch.copy.upto = t->member[DB3].copy.at;
    print_message("fetch: %lld ms\n", (long long)trio_do(t, DB2, fetch));
    assert_int_equal(t->member[DB2].copy.follows, HM_NOBODY);
    assert_false(t->member[DB2].copy.is_streaming);
    assert_true(t->member[DB2].copy.at.offset >= fetch.copy.upto.offset);
    passed();
}

static void a_checkpoint_makes_the_flag_certain(void **state)
{
    struct trio *t = *state;

    (void)trio_do(t, DB2, names_to(NAMES_EMPTY, NULL));
    (void)trio_do(t, DB2, an_effect(DO_CHECKPOINT));
    assert_false(t->member[DB2].copy.is_flag_certain);
    (void)trio_do(t, DB2, names_to(NAMES_NOBODY, NULL));
    assert_false(t->member[DB2].copy.is_flag_certain);
    (void)trio_do(t, DB2, an_effect(DO_CHECKPOINT));
    assert_true(t->member[DB2].copy.is_flag_certain);
    passed();
}

static void a_server_that_dies_fails_what_needs_it(void **state)
{
    struct trio *t = *state;
    const enum core_effect_type types[] = { DO_FREEZE, DO_CHECKPOINT, DO_SET_NAMES };

    for (unsigned int i = 0; i < HM_ARRAY_LEN(types); i++) {
        struct core_effect e = an_effect(types[i]);
        uint32_t op;

        if (e.type == DO_SET_NAMES)
            e.names.names = NAMES_NOBODY;
        trio_let(t, 100);
        op = trio_ask(t, DB2, e);
        trio_kill(t, DB2);
        (void)trio_wait(t, DB2, op, 10000);
        assert_false(t->member[DB2].is_ok);
        (void)trio_do(t, DB2, an_effect(DO_START));
    }
    /* In the middle of its own start. */
    (void)trio_do(t, DB2, an_effect(DO_STOP));
    {
        uint32_t op = trio_ask(t, DB2, an_effect(DO_START));

        while (t->member[DB2].copy.state == COPY_DOWN)
            (void)event_base_loop(t->base, EVLOOP_ONCE);
        trio_kill(t, DB2);
        (void)trio_wait(t, DB2, op, 20000);
    }
    (void)trio_do(t, DB2, an_effect(DO_START));
    passed();
}

/* Left behind by a promotion that was cut short: PostgreSQL would neither start nor follow. */
static void leftovers_of_a_promotion_do_no_harm(void **state)
{
    struct trio *t = *state;

    (void)trio_do(t, DB2, an_effect(DO_STOP));
    assert_int_equal(trio_shell("for n in 31 32 33; do echo '# Placed by hamgr: x' >"
                                "'%s/data/pg_wal/000000'$n.history; done",
                                t->member[DB2].root),
                     0);
    (void)trio_do(t, DB2, an_effect(DO_START));
    assert_int_equal(trio_shell("for n in 31 32 33; do echo '# Placed by hamgr: x' >"
                                "'%s/data/pg_wal/000000'$n.history; done",
                                t->member[DB2].root),
                     0);
    (void)trio_do(t, DB2, a_copy_effect(DO_FOLLOW, DB1));
    expect_streaming(t, DB1, DB2);
    expect_file(t, DB2, "pg_wal/00000031.history", false);
    passed();
}

#if TESTS_PG >= 14 /* before, it changes only with a restart, and hamgr leaves it alone */
static void restore_command_is_given_back(void **state)
{
    struct trio *t = *state;

    (void)trio_value(t, DB2, "ALTER SYSTEM SET restore_command = 'false # it''s \\ ours'");
    (void)trio_value(t, DB2, "SELECT pg_reload_conf()");
    trio_until(t, DB2, "SHOW restore_command", "false # it's \\ ours", 2000);
    (void)trio_do(t, DB2, an_effect(DO_FREEZE));
    trio_until(t, DB2, "SHOW restore_command", "", 1000);
    trio_reopen(t, DB2);
    (void)trio_do(t, DB2, a_copy_effect(DO_FOLLOW, DB1));
    trio_until(t, DB2, "SHOW restore_command", "false # it's \\ ours", 1000);
    (void)trio_value(t, DB2, "ALTER SYSTEM RESET restore_command");
    (void)trio_value(t, DB2, "SELECT pg_reload_conf()");
    passed();
}
#endif

static void a_failed_rewind_or_clone_says_why(void **state)
{
    struct trio *t = *state;

    (void)trio_do(t, DB2, an_effect(DO_STOP));
    trio_fails(t, DB2, a_copy_effect(DO_REWIND, DB3),
               TESTS_PG_MAJOR >= 14
                   ? "cannot copy from db3: it is a standby"
                   : "source server must not be in recovery mode"); /* pg_rewind's */
    assert_int_equal(t->member[DB2].copy.state, COPY_DOWN);
    t->record.system_id++;
    trio_tell(t);
    trio_fails(t, DB2, a_copy_effect(DO_CLONE, DB1), "another database");
    t->record.system_id--;
    trio_tell(t);
    passed();
}

/* hamgrd ends in the middle of a clone: the copy is half-made, does not start, and is cloned. */
static void a_clone_that_was_cut_short_is_begun_again(void **state)
{
    struct trio *t = *state;
    struct service_facts facts;

    (void)trio_ask(t, DB2, a_copy_effect(DO_CLONE, DB1));
    do {
        (void)event_base_loop(t->base, EVLOOP_ONCE);
        service_postgres.describe(t->member[DB2].service, &facts);
    } while (strncmp(facts.doing, "clone from", 10) != 0);
    trio_reopen(t, DB2);
    trio_await(t, t->member[DB2].copy.state == COPY_REBUILDING);
    trio_fails(t, DB2, an_effect(DO_START), "half-made");
    trio_fails(t, DB2, a_copy_effect(DO_REWIND, DB1), "must be cloned");
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
    assert_int_equal(t->member[DB2].copy.state, COPY_DOWN);
    (void)trio_do(t, DB2, an_effect(DO_START));
    (void)trio_do(t, DB2, a_copy_effect(DO_FOLLOW, DB1));
    expect_streaming(t, DB1, DB2);
    passed();
}

static void the_server_outlives_hamgrd(void **state)
{
    struct trio *t = *state;

    trio_reopen(t, DB1);
    trio_await(t, t->member[DB1].copy.state == COPY_PRIMARY);
    (void)trio_do(t, DB1, a_promotion(24, 14));
    passed();
}

#define GOES_ON(f) cmocka_unit_test_setup(f, go_on)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GOES_ON(a_new_database_starts_as_a_standby_and_is_promoted),
        GOES_ON(a_rightful_primary_is_given_its_standby_signal),
        GOES_ON(an_absent_copy_is_cloned_and_follows),
        GOES_ON(commits_wait_for_the_named),
        GOES_ON(a_marker_goes_on_when_the_standby_comes),
        GOES_ON(a_log_is_frozen),
        GOES_ON(a_log_is_frozen_while_replay_is_paused),
        GOES_ON(a_blocked_replay_holds_up_neither_freeze_nor_promotion),
        GOES_ON(a_diverged_primary_is_rewound),
        GOES_ON(promotion_is_fast),
        GOES_ON(a_newer_operation_takes_the_place_of_one_that_can_be_given_up),
        GOES_ON(what_cannot_be_given_up_is_waited_for),
        GOES_ON(what_is_missing_is_fetched_from_a_frozen_log),
        GOES_ON(a_checkpoint_makes_the_flag_certain),
        GOES_ON(a_server_that_dies_fails_what_needs_it),
        GOES_ON(leftovers_of_a_promotion_do_no_harm),
#if TESTS_PG >= 14
        GOES_ON(restore_command_is_given_back),
#endif
        GOES_ON(a_failed_rewind_or_clone_says_why),
        GOES_ON(a_clone_that_was_cut_short_is_begun_again),
        GOES_ON(the_server_outlives_hamgrd),
    };

    return cmocka_run_group_tests_name("pg_ops", tests, open_trio, close_trio);
}
