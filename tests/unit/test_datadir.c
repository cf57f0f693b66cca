#include "postgres/datadir.h"
#include "tests/cm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
    char root[64];
    char data[96];
    char fresh[96];
    char old[96];
    char keep[96];
    struct hm_err err;
};

static void path_of(char *buffer, size_t size, const char *dir, const char *name)
{
    (void)snprintf(buffer, size, "%s/%s", dir, name);
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[160];
    FILE *f;

    path_of(path, sizeof path, dir, name);
    f = fopen(path, "we");
    assert_non_null(f);
    (void)fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static bool has(const char *dir, const char *name)
{
    char path[160];

    path_of(path, sizeof path, dir, name);
    return access(path, F_OK) == 0;
}

static void expect(const char *dir, const char *name, const char *wanted)
{
    char path[160], text[128] = "";
    FILE *f;

    path_of(path, sizeof path, dir, name);
    f = fopen(path, "re");
    assert_non_null(f);
    (void)fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    assert_string_equal(text, wanted);
}

static int make_place(void **state)
{
    static struct place p;
    char wal[128];

    (void)snprintf(p.root, sizeof p.root, "/tmp/hamgr-datadir-XXXXXX");
    if (mkdtemp(p.root) == NULL)
        return -1;
    path_of(p.data, sizeof p.data, p.root, "data");
    path_of(p.fresh, sizeof p.fresh, p.root, "fresh");
    path_of(p.old, sizeof p.old, p.root, "old");
    path_of(p.keep, sizeof p.keep, p.root, "keep");
    path_of(wal, sizeof wal, p.data, "pg_wal");
    *state = &p;
    return mkdir(p.data, 0700) == 0 && mkdir(wal, 0700) == 0 && mkdir(p.fresh, 0700) == 0 ? 0 : -1;
}

static int remove_place(void **state)
{
    struct place *p = *state;
    char command[128];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", p->root);
    return system(command);
}

static void the_version_is_read(void **state)
{
    struct place *p = *state;
    int version = 0;

    assert_int_equal(datadir_version(p->data, &version, &p->err), HM_BAD_INPUT);
    put(p->data, "PG_VERSION", "15\n");
    assert_int_equal(datadir_version(p->data, &version, &p->err), HM_OK);
    assert_int_equal(version, 15);
    put(p->data, "PG_VERSION", "9.6\n");
    assert_int_equal(datadir_version(p->data, &version, &p->err), HM_BAD_INPUT);
}

static void an_empty_or_missing_directory_has_no_files(void **state)
{
    struct place *p = *state;

    assert_true(datadir_has_files(p->data));
    assert_false(datadir_has_files(p->fresh));
    assert_false(datadir_has_files(p->old));
}

static void the_mark_of_a_standby_comes_and_goes(void **state)
{
    struct place *p = *state;

    assert_int_equal(datadir_mark_standby(p->data, &p->err), HM_OK);
    assert_int_equal(datadir_mark_standby(p->data, &p->err), HM_OK);
    assert_true(has(p->data, "standby.signal"));
    put(p->data, "recovery.signal", "");
    assert_int_equal(datadir_unmark_standby(p->data, &p->err), HM_OK);
    assert_int_equal(datadir_unmark_standby(p->data, &p->err), HM_OK);
    assert_false(has(p->data, "standby.signal"));
    assert_false(has(p->data, "recovery.signal"));
    assert_int_equal(datadir_mark_standby(p->old, &p->err), HM_FAILED);
}

/* A process that is called postgres and works in the directory. */
static pid_t run_server(const char *data_dir)
{
    int ready[2];
    pid_t pid;
    char c;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        if (chdir(data_dir) == 0 && prctl(PR_SET_NAME, "postgres") == 0)
            (void)!write(ready[1], "", 1);
        (void)pause();
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(read(ready[0], &c, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return pid;
}

static void the_number_of_a_running_server_stays(void **state)
{
    struct place *p = *state;
    pid_t pid;

    put(p->data, "postmaster.pid", "1\n");
    pid = run_server(p->data);
    assert_int_equal(datadir_drop_pid_file(p->data, &p->err), HM_REFUSED);
    assert_true(has(p->data, "postmaster.pid"));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(datadir_drop_pid_file(p->data, &p->err), HM_OK);
    assert_false(has(p->data, "postmaster.pid"));
}

static void missing_histories_are_placed_below_the_timeline(void **state)
{
    struct place *p = *state;

    put(p->data, "pg_wal/00000003.history", "1\t0/3000000\tno recovery target specified\n");
    assert_int_equal(datadir_place_histories(p->data, 6, &p->err), HM_OK);
    assert_true(has(p->data, "pg_wal/00000002.history"));
    expect(p->data, "pg_wal/00000003.history", "1\t0/3000000\tno recovery target specified\n");
    assert_true(has(p->data, "pg_wal/00000004.history"));
    assert_true(has(p->data, "pg_wal/00000005.history"));
    assert_false(has(p->data, "pg_wal/00000006.history"));
}

/* PostgreSQL would take them for the newest timelines, and neither start nor follow. */
static void what_a_promotion_left_behind_is_removed(void **state)
{
    struct place *p = *state;

    put(p->data, "pg_wal/00000003.history", "1\t0/3000000\tno recovery target specified\n");
    assert_int_equal(datadir_place_histories(p->data, 0x20, &p->err), HM_OK);
    assert_true(has(p->data, "pg_wal/0000001F.history"));
    put(p->data, "pg_wal/00000021.history", ""); /* torn */
    assert_int_equal(datadir_place_histories(p->data, 0, &p->err), HM_OK);
    assert_true(has(p->data, "pg_wal/00000002.history"));
    assert_true(has(p->data, "pg_wal/00000003.history"));
    assert_false(has(p->data, "pg_wal/00000004.history"));
    assert_false(has(p->data, "pg_wal/0000001F.history"));
    assert_false(has(p->data, "pg_wal/00000021.history"));
}

static void a_timeline_that_exists_is_not_begun_again(void **state)
{
    struct place *p = *state;

    put(p->data, "pg_wal/00000003.history", "1\t0/3000000\tno recovery target specified\n");
    assert_int_equal(datadir_place_histories(p->data, 3, &p->err), HM_REFUSED);
    assert_string_equal(p->err.text, "timeline 3 exists here already, so 3 cannot be begun");
    assert_int_equal(datadir_place_histories(p->data, 4, &p->err), HM_OK);
    assert_int_equal(datadir_place_histories(p->data, 100001, &p->err), HM_BAD_INPUT);
}

static mode_t mode_of(const char *dir, const char *name)
{
    char path[300];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void configuration_survives_a_rebuild(void **state)
{
    struct place *p = *state;

    put(p->data, "postgresql.conf", "port = 1\n");
    put(p->data, "base", "old");
    put(p->data, "server.crt", "of this host\n");
    put(p->data, "server.key", "of this host\n");
    assert_int_equal(datadir_keep_configs(p->data, p->keep, &p->err), HM_OK);
    put(p->data, "postgresql.conf", "port = 2\n");
    put(p->data, "pg_hba.conf", "theirs\n");
    /* Cut short and begun again: what was kept first is right. */
    assert_int_equal(datadir_keep_configs(p->data, p->keep, &p->err), HM_OK);
    put(p->fresh, "postgresql.conf", "port = 2\n");
    put(p->fresh, "server.crt", "of the source\n");
    put(p->fresh, "server.key", "of the source\n");
    assert_int_equal(datadir_restore_configs(p->keep, p->fresh, &p->err), HM_OK);
    expect(p->fresh, "postgresql.conf", "port = 1\n");
    expect(p->fresh, "server.crt", "of this host\n");
    expect(p->fresh, "server.key", "of this host\n");
    assert_int_equal(mode_of(p->fresh, "server.key"), 0600); /* or the server would refuse it */
    assert_false(has(p->fresh, "base"));
    datadir_forget_configs(p->keep);
    assert_int_equal(access(p->keep, F_OK), -1);
}

static void a_directory_of_something_else_is_left_alone(void **state)
{
    struct place *p = *state;

    assert_int_equal(datadir_check_strangers("/nowhere", &p->err), HM_OK);
    put(p->data, "postmaster.opts", "left over"); /* and pg_wal */
    assert_int_equal(datadir_check_strangers(p->data, &p->err), HM_OK);
    put(p->data, "letters", "to whom it concerns");
    assert_int_equal(datadir_check_strangers(p->data, &p->err), HM_REFUSED);
    assert_non_null(
        strstr(p->err.text, "is no data directory, but has 'letters' in it: move that"));
    put(p->data, "PG_VERSION", "15\n"); /* then it is one */
    assert_int_equal(datadir_check_strangers(p->data, &p->err), HM_OK);
}

static void a_restored_copy_is_known_until_it_ran(void **state)
{
    struct place *p = *state;

    assert_int_equal(datadir_mark_restored(p->data, &p->err), HM_OK);
    assert_false(datadir_is_restored(p->data));
    put(p->data, "backup_label", "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n");
    assert_true(datadir_is_restored(p->data));
    assert_int_equal(datadir_unmark_restored(p->data, &p->err), HM_OK);
    assert_int_equal(datadir_unmark_restored(p->data, &p->err), HM_OK);
    assert_false(datadir_is_restored(p->data));
}

#define IN_A_PLACE(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_PLACE(the_version_is_read),
        IN_A_PLACE(an_empty_or_missing_directory_has_no_files),
        IN_A_PLACE(the_mark_of_a_standby_comes_and_goes),
        IN_A_PLACE(the_number_of_a_running_server_stays),
        IN_A_PLACE(missing_histories_are_placed_below_the_timeline),
        IN_A_PLACE(what_a_promotion_left_behind_is_removed),
        IN_A_PLACE(a_timeline_that_exists_is_not_begun_again),
        IN_A_PLACE(configuration_survives_a_rebuild),
        IN_A_PLACE(a_directory_of_something_else_is_left_alone),
        IN_A_PLACE(a_restored_copy_is_known_until_it_ran),
    };

    return cmocka_run_group_tests_name("datadir", tests, NULL, NULL);
}
