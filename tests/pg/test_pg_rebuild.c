/* Copies that are made anew, killed in every phase, by a command of the administrator's, and
 * because the log that they need is gone. Each test goes on from where the one before it stopped.
 */
#include "tests/pg/in_turn.h"
#include "tests/pg/trio.h"

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DB1, DB2 };

#define RESTORE                                                                                    \
    "echo $HAMGR_CLUSTER $HAMGR_SERVICE $HAMGR_MEMBER $HAMGR_SOURCE_MEMBER $HAMGR_SYSTEM_ID"       \
    " $HAMGR_DATA_DIR >$HAMGR_DATA_DIR/../told; echo 50%%; "                                       \
    "$HAMGR_BIN_DIR/pg_basebackup -D $HAMGR_TARGET -h $HAMGR_SOURCE_HOST"                          \
    " -p $HAMGR_SOURCE_PORT -U $HAMGR_SOURCE_USER -c fast -X none"

static int open_trio(void **state)
{
    struct trio *t = trio_new();

    *state = t;
    (void)trio_do(t, DB1, an_effect(DO_INIT));
    (void)trio_do(t, DB1, an_effect(DO_START));
    t->record.system_id = t->member[DB1].copy.system_id;
    t->record.epoch = 1;
    t->record.holder = DB1;
    t->record.version++;
    record_add_timeline(&t->record, 2, 1, t->member[DB1].copy.at.offset);
    trio_tell(t);
    (void)trio_do(t, DB1, a_promotion(2, 1));
    (void)trio_value(t, DB1, "CREATE TABLE t AS SELECT generate_series(1, 20000) AS n");
    (void)trio_value(t, DB1, "ALTER SYSTEM SET wal_keep_size = 0");
    (void)trio_value(t, DB1, "SELECT pg_reload_conf()");
    return 0;
}

static int close_trio(void **state)
{
    trio_free(*state);
    return 0;
}

static struct settings_service *settings_of(struct trio *t, unsigned int m)
{
    return &t->member[m].settings.service[0];
}

static void set_command(struct trio *t, const char *command)
{
    struct settings_service *s = settings_of(t, DB2);

    (void)snprintf(s->rebuild_command, sizeof s->rebuild_command, "%s", command);
}

static bool is_beside(struct trio *t, const char *name)
{
    char path[400];

    (void)snprintf(path, sizeof path, "%s%s", settings_of(t, DB2)->data_dir, name);
    return access(path, F_OK) == 0;
}

/* It runs, has everything, and nothing is left of what was before. */
static void expect_whole(struct trio *t)
{
    char sql[160], rows[32];

    assert_int_equal(t->member[DB2].copy.state, COPY_DOWN);
    (void)trio_do(t, DB2, an_effect(DO_START));
    (void)trio_do(t, DB2, a_copy_effect(DO_FOLLOW, DB1));
    trio_until(t, DB2, "SELECT status FROM pg_stat_wal_receiver", "streaming", 30000);
    (void)snprintf(rows, sizeof rows, "%s", trio_value(t, DB1, "SELECT count(*) FROM t"));
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM t");
    trio_until(t, DB2, sql, rows, 30000);
    trio_until(t, DB2, "SHOW listen_addresses", "127.0.0.12", 1000);
    for (int i = 0; i < 300 && (is_beside(t, ".hamgr-old") || is_beside(t, ".hamgr-new")); i++)
        trio_let(t, 100);
    assert_false(is_beside(t, ".hamgr-old") || is_beside(t, ".hamgr-new"));
}

/* Slots of the copies before are dropped by their primary every now and then; here they come fast.
 */
static void stop_all(struct trio *t)
{
    (void)trio_value(t, DB1,
                     "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots"
                     " WHERE NOT active");
    if (t->member[DB2].copy.state == COPY_STANDBY)
        (void)trio_do(t, DB2, an_effect(DO_STOP));
}

static void wait_for_doing(struct trio *t, const char *phase)
{
    struct service_facts facts;

    do {
        (void)event_base_loop(t->base, EVLOOP_ONCE);
        service_postgres.describe(t->member[DB2].service, &facts);
    } while (strncmp(facts.doing, phase, strlen(phase)) != 0);
}

/* Sends SIGKILL to each process that works for a rebuild of db2; how many there were. */
static unsigned int kill_clone(struct trio *t)
{
    char mark[300], path[64], text[65536];
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    unsigned int n = 0;

    (void)snprintf(mark, sizeof mark, "HAMGR_REBUILDS=%s", settings_of(t, DB2)->data_dir);
    assert_non_null(proc);
    while ((entry = readdir(proc)) != NULL) {
        FILE *f;
        size_t size;

        (void)snprintf(path, sizeof path, "/proc/%.20s/environ", entry->d_name);
        f = isdigit((unsigned char)entry->d_name[0]) ? fopen(path, "re") : NULL;
        size = f != NULL ? fread(text, 1, sizeof text, f) : 0;
        if (f != NULL)
            (void)fclose(f);
        if (memmem(text, size, mark, strlen(mark)) != NULL &&
            kill((pid_t)atoi(entry->d_name), SIGKILL) == 0)
            n++;
    }
    (void)closedir(proc);
    return n;
}

static void a_copy_is_cloned_within_its_rate(void **state)
{
    struct trio *t = *state;
    struct service_facts facts;
    bool has_progress = false;
    uint32_t op;

    settings_of(t, DB2)->rebuild_rate = 16 << 20;
    op = trio_ask(t, DB2, a_copy_effect(DO_CLONE, DB1));
    while (t->member[DB2].done_op != op) {
        (void)event_base_loop(t->base, EVLOOP_ONCE);
        service_postgres.describe(t->member[DB2].service, &facts);
        has_progress = has_progress || (facts.progress.total > 1 << 20);
    }
    if (!t->member[DB2].is_ok)
        fail_msg("%s", t->member[DB2].why);
    assert_true(has_progress);
    settings_of(t, DB2)->rebuild_rate = 0;
    expect_whole(t);
    passed();
}

static void a_clone_that_is_killed_is_begun_anew(void **state)
{
    struct trio *t = *state;
    uint32_t op;

    stop_all(t);
    settings_of(t, DB2)->rebuild_rate = 4 << 20; /* slow enough to be met */
    op = trio_ask(t, DB2, a_copy_effect(DO_CLONE, DB1));
    wait_for_doing(t, "clone from db1: ");
    assert_true(kill_clone(t) > 0);
    (void)trio_wait(t, DB2, op, 20000);
    assert_false(t->member[DB2].is_ok);
    assert_non_null(strstr(t->member[DB2].why, "pg_basebackup failed: signal 9"));
    assert_int_equal(t->member[DB2].copy.state, COPY_REBUILDING);
    assert_true(is_beside(t, "/PG_VERSION")); /* the old one is still there */
    settings_of(t, DB2)->rebuild_rate = 0;
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
    expect_whole(t);
    passed();
}

/* hamgrd ends in each phase, and is started again. */
static void a_restart_in_any_phase_is_gone_on_with(void **state)
{
    static const char *const phases[] = {
        "clone", "clone: removing leftovers", "clone from", "clone: looking", "clone: putting",
    };
    struct trio *t = *state;

    for (unsigned int i = 0; i < HM_ARRAY_LEN(phases); i++) {
        stop_all(t);
        (void)trio_ask(t, DB2, a_copy_effect(DO_CLONE, DB1));
        wait_for_doing(t, phases[i]);
        trio_reopen(t, DB2);
        trio_let(t, 300);
        print_message("restarted at '%s': %s\n", phases[i],
                      copy_state_name(t->member[DB2].copy.state));
        (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
        expect_whole(t);
    }
    passed();
}

/* Whole, and its place cannot be taken: nothing is copied again. */
static void a_whole_copy_is_only_put_into_its_place(void **state)
{
    struct trio *t = *state;
    const char *root = t->member[DB2].root;
    uint32_t op;

    stop_all(t);
    op = trio_ask(t, DB2, a_copy_effect(DO_CLONE, DB1));
    wait_for_doing(t, "clone from");
    assert_int_equal(trio_shell("chmod 500 %s", root), 0);
    (void)trio_wait(t, DB2, op, 60000);
    assert_false(t->member[DB2].is_ok);
    assert_non_null(strstr(t->member[DB2].why, "cannot rename"));
    trio_reopen(t, DB2);
    trio_let(t, 300);
    assert_int_equal(t->member[DB2].copy.state, COPY_REBUILDING);
    assert_int_equal(trio_shell("chmod 700 %s", root), 0);
    set_command(t, "echo must not run; exit 1");
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
    set_command(t, "");
    expect_whole(t);
    passed();
}

static void an_own_command_makes_the_copy(void **state)
{
    struct trio *t = *state;

    stop_all(t);
    set_command(t, RESTORE);
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
    (void)trio_value(t, DB1, "INSERT INTO t SELECT generate_series(1, 1000)");
    expect_whole(t);
    assert_int_equal(
        trio_shell("grep -q '^ *pg db2 db1 [0-9]* /.*/db2/data$' %s/told", t->member[DB2].root), 0);
    (void)trio_do(t, DB2, an_effect(DO_STOP)); /* it ran: from now on it is as any other */
    (void)trio_do(t, DB2, an_effect(DO_START));
    assert_int_equal(t->member[DB2].copy.follows, HM_NOBODY);
    passed();
}

static void an_own_command_that_fails_says_why(void **state)
{
    struct trio *t = *state;

    stop_all(t);
    set_command(t, "echo looking; echo no backup of that name >&2; exit 3");
    trio_fails(t, DB2, a_copy_effect(DO_CLONE, DB1),
               "rebuild_command failed: exit status 3: no backup of that name");
    set_command(t, "true");
    trio_fails(t, DB2, a_copy_effect(DO_CLONE, DB1), "is no data directory of PostgreSQL");
    set_command(t, "$HAMGR_BIN_DIR/initdb -D $HAMGR_TARGET --no-sync >/dev/null");
    trio_fails(t, DB2, a_copy_effect(DO_CLONE, DB1), "is another database");
    set_command(t, RESTORE "; rm $HAMGR_TARGET/backup_label");
    set_command(t, "$HAMGR_BIN_DIR/pg_basebackup -D $HAMGR_TARGET -h $HAMGR_SOURCE_HOST"
                   " -p $HAMGR_SOURCE_PORT -U $HAMGR_SOURCE_USER -c fast"
                   " && rm $HAMGR_TARGET/backup_label");
    trio_fails(t, DB2, a_copy_effect(DO_CLONE, DB1), "has no backup_label");
    set_command(t, "");
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
    expect_whole(t);
    passed();
}

/* A program that outlives hamgrd must not write to what the next attempt begins. */
static void what_a_killed_hamgrd_left_running_is_ended(void **state)
{
    struct trio *t = *state;

    stop_all(t);
    set_command(t, "setsid sh -c 'while :; do echo x >>$HAMGR_TARGET/intruder; done' & wait");
    (void)trio_ask(t, DB2, a_copy_effect(DO_CLONE, DB1));
    wait_for_doing(t, "clone from");
    for (int i = 0; i < 300 && !is_beside(t, ".hamgr-new/intruder"); i++)
        trio_let(t, 100);
    assert_true(is_beside(t, ".hamgr-new/intruder"));
    trio_reopen(t, DB2);
    set_command(t, "");
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
    assert_int_equal(kill_clone(t), 0);
    assert_false(is_beside(t, "/intruder"));
    expect_whole(t);
    passed();
}

/* By hand, while the new copy is made; the program that stands for it is found as a server is. */
static void a_copy_that_somebody_started_is_not_taken_away(void **state)
{
    struct trio *t = *state;

    stop_all(t);
    set_command(t, RESTORE "; cp /bin/sleep $HAMGR_DATA_DIR/../postgres; cd $HAMGR_DATA_DIR;"
                           " setsid ../postgres 100 >/dev/null 2>&1 &"
                           " until [ $(cat /proc/$!/comm) = postgres ]; do :; done");
    trio_fails(t, DB2, a_copy_effect(DO_CLONE, DB1), " works in '");
    assert_true(is_beside(t, "/PG_VERSION"));
    assert_true(is_beside(t, ".hamgr-new/PG_VERSION"));
    set_command(t, "");
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1)); /* ends it: it has the mark */
    expect_whole(t);
    passed();
}

static void the_old_copy_goes_first_where_that_is_wanted(void **state)
{
    struct trio *t = *state;
    uint32_t op;

    stop_all(t);
    assert_int_equal(trio_shell("mkdir %s.hamgr-old && touch %s.hamgr-old/left-over",
                                settings_of(t, DB2)->data_dir, settings_of(t, DB2)->data_dir),
                     0);
    settings_of(t, DB2)->rebuild_room = ROOM_ONE;
    op = trio_ask(t, DB2, a_copy_effect(DO_CLONE, DB1));
    wait_for_doing(t, "clone from");
    assert_false(is_beside(t, "/PG_VERSION"));
    assert_false(is_beside(t, ".hamgr-old"));
    (void)trio_wait(t, DB2, op, 60000);
    assert_true(t->member[DB2].is_ok);
    settings_of(t, DB2)->rebuild_room = ROOM_AUTO;
    expect_whole(t);
    passed();
}

static void files_of_others_are_not_replaced(void **state)
{
    struct trio *t = *state;
    const char *data = settings_of(t, DB2)->data_dir;

    stop_all(t);
    assert_int_equal(
        trio_shell("mv %s %s.aside && mkdir %s && echo dear >%s/letter", data, data, data, data),
        0);
    trio_let(t, 500);
    trio_fails(t, DB2, a_copy_effect(DO_CLONE, DB1),
               "is no data directory, but has 'letter' in it");
    assert_int_equal(
        trio_shell("test -f %s/letter && rm -r %s && mv %s.aside %s", data, data, data, data), 0);
    trio_let(t, 500);
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
    expect_whole(t);
    passed();
}

/* The log in a directory of its own, by a symbolic link. */
static void a_log_of_its_own_stays_there(void **state)
{
    struct trio *t = *state;
    const char *root = t->member[DB2].root;

    stop_all(t);
    assert_int_equal(trio_shell("cd %s && mv data/pg_wal log && ln -s $PWD/log data/pg_wal", root),
                     0);
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
    assert_int_equal(trio_shell("cd %s && test \"$(readlink data/pg_wal)\" = $PWD/log &&"
                                " ls log | grep -q 000000 && ! test -e log/.hamgr-new",
                                root),
                     0);
    expect_whole(t);
    for (int i = 0; i < 300 && is_beside(t, "/../log.hamgr-old"); i++) /* it is removed last */
        trio_let(t, 100);
    assert_int_equal(trio_shell("cd %s && ! ls -d log.hamgr-* >/dev/null 2>&1", root), 0);
    passed();
}

static void a_log_that_is_gone_is_found_out(void **state)
{
    struct trio *t = *state;

    (void)trio_do(t, DB2, an_effect(DO_FREEZE));
    trio_until(t, DB1, "SELECT count(*) FROM pg_replication_slots WHERE active", "0", 10000);
    (void)trio_value(t, DB1,
                     "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
    for (int i = 0; i < 4; i++) {
        (void)trio_value(t, DB1, "INSERT INTO t SELECT generate_series(1, 100)");
        (void)trio_value(t, DB1, "SELECT pg_switch_wal()");
        (void)trio_value(t, DB1, "CHECKPOINT");
    }
    /* A receiver counts as streaming for a moment: then the next attempt finds it out. */
    for (int i = 0; i < 100 && !t->member[DB2].copy.lacks_log; i++) {
        (void)trio_wait(t, DB2, trio_ask(t, DB2, a_copy_effect(DO_FOLLOW, DB1)), 60000);
        trio_let(t, 300);
    }
    assert_false(t->member[DB2].is_ok);
    assert_non_null(strstr(t->member[DB2].why, "on any more: the copy must be cloned"));
    assert_true(t->member[DB2].copy.lacks_log);
    (void)trio_do(t, DB2, an_effect(DO_STOP));
    assert_true(t->member[DB2].copy.lacks_log);
    (void)trio_do(t, DB2, a_copy_effect(DO_CLONE, DB1));
    assert_false(t->member[DB2].copy.lacks_log);
    expect_whole(t);
    /* One that only has no stream for a while lacks nothing. */
    (void)trio_value(t, DB1, "ALTER SYSTEM SET max_wal_senders = 10");
    (void)trio_do(t, DB2, an_effect(DO_FREEZE));
    (void)trio_value(t, DB1, "INSERT INTO t SELECT generate_series(1, 100)");
    (void)trio_do(t, DB2, a_copy_effect(DO_FOLLOW, DB1));
    assert_false(t->member[DB2].copy.lacks_log);
    passed();
}

static unsigned int checks_n;
static struct service_finding checks[64];

static void take_checks(void *ctx, const struct service_finding *findings, size_t n)
{
    (void)ctx;
    assert_true(n <= HM_ARRAY_LEN(checks));
    memcpy(checks, findings, n * sizeof checks[0]);
    checks_n = (unsigned int)n;
}

static unsigned int count_rights(struct trio *t)
{
    unsigned int n = 0;

    checks_n = 0;
    service_postgres.check(t->member[DB1].service, take_checks, NULL);
    while (checks_n == 0)
        (void)event_base_loop(t->base, EVLOOP_ONCE);
    for (unsigned int i = 0; i < checks_n; i++)
        if (!checks[i].is_ok && strstr(checks[i].text, "clerk") != NULL) {
            print_message("%s: %s; next: %s\n", checks[i].name, checks[i].text, checks[i].next);
            (void)trio_value(t, DB1, checks[i].next);
            n++;
        }
    return n;
}

/* What is printed is what has to be typed. */
static void missing_rights_are_told(void **state)
{
    struct trio *t = *state;

    (void)snprintf(settings_of(t, DB1)->replication_user, HM_NAME_MAX, "clerk");
    assert_int_equal(count_rights(t), 1); /* there is no such user */
    assert_int_equal(count_rights(t),
                     TESTS_PG_MAJOR >= 15 ? 5 : 4); /* from 15 on CHECKPOINT can be let */
    assert_int_equal(count_rights(t), 0);
    (void)trio_value(t, DB1, "ALTER ROLE clerk NOREPLICATION");
    assert_int_equal(count_rights(t), 1);
    (void)snprintf(settings_of(t, DB1)->replication_user, HM_NAME_MAX, "postgres");
    assert_int_equal(count_rights(t), 0);
    passed();
}

#define IN_TURN(f) cmocka_unit_test_setup(f, go_on)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_TURN(a_copy_is_cloned_within_its_rate),
        IN_TURN(a_clone_that_is_killed_is_begun_anew),
        IN_TURN(a_restart_in_any_phase_is_gone_on_with),
        IN_TURN(a_whole_copy_is_only_put_into_its_place),
        IN_TURN(an_own_command_makes_the_copy),
        IN_TURN(an_own_command_that_fails_says_why),
        IN_TURN(what_a_killed_hamgrd_left_running_is_ended),
        IN_TURN(a_copy_that_somebody_started_is_not_taken_away),
        IN_TURN(the_old_copy_goes_first_where_that_is_wanted),
        IN_TURN(files_of_others_are_not_replaced),
        IN_TURN(a_log_of_its_own_stays_there),
        IN_TURN(a_log_that_is_gone_is_found_out),
        IN_TURN(missing_rights_are_told),
    };

    return cmocka_run_group_tests_name("pg rebuild", tests, open_trio, close_trio);
}
