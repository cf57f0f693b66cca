#include "postgres/place.h"
#include "tests/cm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct ground {
    char root[64];
    char data[96];
    char keep[96];
    char wal[96];   /* where pg_wal leads to */
    char space[96]; /* a tablespace */
    struct hm_err err;
};

/* --- files ------------------------------------------------------------------------------------ */

static int shell(const char *format, ...) HM_PRINTF(1, 2);
static int shell(const char *format, ...)
{
    char command[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command);
}

static void expect(const char *dir, const char *name, const char *wanted)
{
    char path[600], text[128] = "";
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "re");
    if (f == NULL)
        fail_msg("'%s' is not there", path);
    else
        text[fread(text, 1, sizeof text - 1, f)] = 0;
    if (f != NULL)
        (void)fclose(f);
    assert_string_equal(text, wanted);
}

static bool has(const char *dir, const char *name)
{
    char path[600];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static int open_ground(void **state)
{
    struct ground *g = calloc(1, sizeof *g);

    assert_non_null(g);
    strcpy(g->root, "/tmp/hamgr-place-XXXXXX");
    if (mkdtemp(g->root) == NULL)
        return -1;
    (void)snprintf(g->data, sizeof g->data, "%s/data", g->root);
    (void)snprintf(g->keep, sizeof g->keep, "%s/keep", g->root);
    (void)snprintf(g->wal, sizeof g->wal, "%s/wal", g->root);
    (void)snprintf(g->space, sizeof g->space, "%s/space", g->root);
    *state = g;
    return 0;
}

static int close_ground(void **state)
{
    struct ground *g = *state;
    int rc = shell("rm -rf %s", g->root);

    free(g);
    return rc;
}

/* A copy with three files, the log elsewhere, and one tablespace that another version uses, too. */
static void make_old(const struct ground *g)
{
    assert_int_equal(
        shell("cd %s && rm -rf data* wal* space* keep* && mkdir -p data/global keep wal "
              "space/PG_15_1 space/PG_14_1 data/pg_tblspc &&"
              " for f in data/global/pg_control data/PG_VERSION data/extra wal/0001"
              " space/PG_15_1/t space/PG_14_1/t; do printf old >$f; done &&"
              " ln -s %s data/pg_wal && ln -s %s data/pg_tblspc/16400",
              g->root, g->wal, g->space),
        0);
}

static void make_all(struct ground *g, bool is_inside, struct layout *ret)
{
    char space[PLACE_PATH_MAX + 16];
    struct layout *l = ret;

    make_old(g);
    assert_int_equal(layout_find(g->data, g->keep, l, &g->err), HM_OK);
    if (is_inside) { /* as if it were a mount point */
        l->data.is_inside = true;
        (void)snprintf(l->data.fresh, PLACE_PATH_MAX, "%s/" PLACE_NEW, g->data);
        (void)snprintf(l->data.old, PLACE_PATH_MAX, "%s/" PLACE_OLD, g->data);
        l->log.is_inside = true;
        (void)snprintf(l->log.fresh, PLACE_PATH_MAX, "%s/" PLACE_NEW, g->wal);
        (void)snprintf(l->log.old, PLACE_PATH_MAX, "%s/" PLACE_OLD, g->wal);
    }
    assert_int_equal(layout_make_room(l, &g->err), HM_OK);
    (void)snprintf(space, sizeof space, "%s/" PLACE_NEW, g->space);
    assert_int_equal(
        shell("cd %s && mkdir -p global pg_tblspc %s/PG_15_1 &&"
              " for f in global/pg_control PG_VERSION newer %s/0002 %s/PG_15_1/t;"
              " do printf new >$f; done && ln -s %s pg_wal && ln -s %s pg_tblspc/16400",
              l->data.fresh, space, l->log.fresh, space, l->log.fresh, space),
        0);
}

static void expect_swapped(const struct ground *g, const struct layout *l)
{
    expect(g->data, "global/pg_control", "new");
    expect(g->data, "newer", "new");
    assert_false(has(g->data, "extra"));
    expect(l->data.old, "extra", "old");
    expect(g->wal, "0002", "new");
    assert_false(has(g->wal, "0001"));
    expect(g->data, "pg_wal/0002", "new");
    expect(g->space, "PG_15_1/t", "new");
    expect(g->space, "PG_14_1/t", "old");
    expect(g->data, "pg_tblspc/16400/PG_15_1/t", "new");
    assert_false(has(l->data.fresh, ""));
}

/* --- tests ------------------------------------------------------------------------------------ */

static void a_new_copy_takes_the_place_of_the_old_one(void **state)
{
    struct ground *g = *state;
    struct layout l;

    for (int is_inside = 0; is_inside < 2; is_inside++) {
        make_all(g, is_inside, &l);
        assert_int_equal(l.tablespaces_n, 1);
        assert_int_equal(layout_swap(&l, &g->err), HM_OK);
        expect_swapped(g, &l);
        assert_int_equal(layout_swap(&l, &g->err), HM_OK); /* it is */
        expect_swapped(g, &l);
    }
}

/* Runs the swap in a child and kills that at its n-th system call; false: it ended before. */
static bool is_killed_at(const struct layout *l, unsigned int n)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        _exit(layout_swap(l, NULL) == HM_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (unsigned int i = 0; i < n && WIFSTOPPED(status); i++) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    if (WIFEXITED(status)) {
        assert_int_equal(WEXITSTATUS(status), 0);
        return false;
    }
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return true;
}

static void a_swap_that_was_killed_anywhere_is_finished(void **state)
{
    struct ground *g = *state;
    struct layout l;
    bool is_killed = true;

    for (int is_inside = 0; is_inside < 2; is_inside++) {
        unsigned int n = 0;

        for (is_killed = true; is_killed; n += 2) { /* each has a stop before and one after it */
            make_all(g, is_inside, &l);
            is_killed = is_killed_at(&l, n);
            assert_int_equal(layout_swap(&l, &g->err), HM_OK);
            expect_swapped(g, &l);
        }
        assert_true(n > 40);
    }
}

/* Found anew after each, as hamgrd does: while nothing has the name, links to it are followed. */
static void a_swap_behind_links_is_found_again_wherever_it_was_killed(void **state)
{
    struct ground *g = *state;
    char entry[96];
    struct layout l, again;
    bool is_killed = true;

    (void)snprintf(g->wal, sizeof g->wal, "%s/way/wal", g->root);
    for (unsigned int n = 0; is_killed; n += 2) {
        assert_int_equal(shell("cd %s && rm -f way && ln -s . way", g->root), 0);
        (void)snprintf(entry, sizeof entry, "%s/way/entry", g->root);
        make_all(g, false, &l);
        assert_int_equal(shell("rm -f %s && ln -s data/ %s", entry, entry), 0);
        assert_int_equal(layout_find(entry, g->keep, &again, &g->err), HM_OK);
        assert_string_equal(again.data.fresh, l.data.fresh);
        is_killed = is_killed_at(&l, n);
        assert_int_equal(layout_find(entry, g->keep, &again, &g->err), HM_OK);
        assert_string_equal(again.data.target, l.data.target);
        assert_string_equal(again.log.fresh, l.log.fresh);
        assert_int_equal(layout_swap(&again, &g->err), HM_OK);
        expect_swapped(g, &l);
    }
}

static void a_slash_at_the_end_means_nothing(void **state)
{
    struct ground *g = *state;
    char path[128];
    struct place p;

    (void)snprintf(path, sizeof path, "%s//", g->data);
    assert_int_equal(place_find(path, &p, &g->err), HM_OK);
    assert_string_equal(p.target, g->data);
    (void)snprintf(path, sizeof path, "%s/a/b", g->data);
    assert_int_equal(place_find(path, &p, &g->err), HM_FAILED);
    assert_non_null(strstr(g->err.text, "/data/a', where 'b' is to be made"));
}

/* Both say that they are their own end. */
static void links_in_a_circle_are_refused(void **state)
{
    struct ground *g = *state;
    struct place p;

    assert_int_equal(shell("cd %s && ln -s keep data && ln -s data keep", g->root), 0);
    assert_int_equal(place_find(g->data, &p, &g->err), HM_FAILED);
}

static void a_copy_is_synced_with_all_that_belongs_to_it(void **state)
{
    struct ground *g = *state;

    make_old(g);
    assert_int_equal(place_sync_copy(g->data, &g->err), HM_OK);
    assert_int_equal(shell("rm -r %s", g->space), 0);
    assert_int_equal(place_sync_copy(g->data, &g->err), HM_FAILED);
    assert_non_null(strstr(g->err.text, "pg_tblspc/16400"));
    make_old(g);
    assert_int_equal(shell("rm -r %s", g->wal), 0);
    assert_int_equal(place_sync_copy(g->data, &g->err), HM_FAILED);
    assert_non_null(strstr(g->err.text, "data/pg_wal"));
}

static void a_copy_comes_where_nothing_was(void **state)
{
    struct ground *g = *state;
    struct layout l;

    assert_int_equal(mkdir(g->keep, 0700), 0);
    assert_int_equal(layout_find(g->data, g->keep, &l, &g->err), HM_OK);
    assert_int_equal(l.log.target[0], 0);
    assert_int_equal(layout_make_room(&l, &g->err), HM_OK);
    assert_int_equal(shell("printf new >%s/PG_VERSION", l.data.fresh), 0);
    assert_int_equal(layout_swap(&l, &g->err), HM_OK);
    expect(g->data, "PG_VERSION", "new");
}

static void a_link_is_followed(void **state)
{
    struct ground *g = *state;
    struct place p;

    assert_int_equal(mkdir(g->space, 0700), 0);
    assert_int_equal(symlink(g->space, g->data), 0);
    assert_int_equal(place_find(g->data, &p, &g->err), HM_OK);
    assert_string_equal(p.target, g->space);
    assert_false(p.is_inside);
}

static void a_mount_point_keeps_its_name(void **state)
{
    struct ground *g = *state;
    struct place p;

    assert_int_equal(place_find("/proc", &p, &g->err), HM_BAD_INPUT); /* nothing above it */
    assert_int_equal(place_find("/dev/shm", &p, &g->err), HM_OK);
    assert_true(p.is_inside);
    assert_string_equal(p.fresh, "/dev/shm/.hamgr-new");
}

/* The data directory may be gone when an attempt is gone on with. */
static void links_are_remembered(void **state)
{
    struct ground *g = *state;
    struct layout l;

    make_old(g);
    assert_int_equal(layout_find(g->data, g->keep, &l, &g->err), HM_OK);
    assert_int_equal(shell("rm -rf %s", g->data), 0);
    assert_int_equal(layout_find(g->data, g->keep, &l, &g->err), HM_OK);
    assert_string_equal(l.log.target, g->wal);
    assert_int_equal(l.tablespaces_n, 1);
    assert_string_equal(l.tablespace[0], g->space);
    layout_forget(g->keep);
    assert_int_equal(rmdir(g->keep), 0);
}

static void room_is_made_by_putting_the_old_copy_aside(void **state)
{
    struct ground *g = *state;
    uint64_t free_bytes, old_bytes;
    struct layout l;

    for (int is_inside = 0; is_inside < 2; is_inside++) {
        make_all(g, is_inside, &l);
        assert_int_equal(shell("head -c 3000000 /dev/zero >%s/extra", g->data), 0);
        assert_int_equal(layout_room(&l, &free_bytes, &old_bytes, &g->err), HM_OK);
        assert_true(free_bytes > 0 && old_bytes >= 3000000 && old_bytes < 4000000);
        assert_int_equal(layout_put_aside(&l, &g->err), HM_OK);
        assert_false(has(g->data, "global"));
        expect(l.data.old, "PG_VERSION", "old");
        assert_int_equal(shell("printf old >%s/extra", l.data.old), 0);
        assert_int_equal(layout_swap(&l, &g->err), HM_OK);
        expect_swapped(g, &l);
    }
}

static void note_path(void *ctx, const char *path)
{
    char *all = ctx;

    strcat(strcat(all, path), "\n");
}

static void leftovers_are_told(void **state)
{
    struct ground *g = *state;
    char all[2000] = "", wanted[600];
    struct layout l;

    make_old(g);
    assert_int_equal(layout_find(g->data, NULL, &l, &g->err), HM_OK);
    layout_each_leftover(&l, false, note_path, all);
    (void)snprintf(wanted, sizeof wanted,
                   "%s/data.hamgr-old\n%s/wal.hamgr-old\n%s/space/.hamgr-old\n", g->root, g->root,
                   g->root);
    assert_string_equal(all, wanted);
}

#define ON_GROUND(f) cmocka_unit_test_setup_teardown(f, open_ground, close_ground)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_GROUND(a_new_copy_takes_the_place_of_the_old_one),
        ON_GROUND(a_swap_that_was_killed_anywhere_is_finished),
        ON_GROUND(a_swap_behind_links_is_found_again_wherever_it_was_killed),
        ON_GROUND(a_slash_at_the_end_means_nothing),
        ON_GROUND(links_in_a_circle_are_refused),
        ON_GROUND(a_copy_is_synced_with_all_that_belongs_to_it),
        ON_GROUND(a_copy_comes_where_nothing_was),
        ON_GROUND(a_link_is_followed),
        ON_GROUND(a_mount_point_keeps_its_name),
        ON_GROUND(links_are_remembered),
        ON_GROUND(room_is_made_by_putting_the_old_copy_aside),
        ON_GROUND(leftovers_are_told),
    };

    return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
