#include "postgres/notes.h"

#include "tests/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char top[64], state_dir[96], data_dir[96];
};

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[512];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void make_data(const char *data_dir)
{
    char path[256];

    assert_int_equal(mkdir(data_dir, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/global", data_dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(path, "pg_control", "control");
}

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    assert_non_null(p);
    strcpy(p->top, "/tmp/hamgr-notes-XXXXXX");
    assert_non_null(mkdtemp(p->top));
    (void)snprintf(p->state_dir, sizeof p->state_dir, "%s/state", p->top);
    (void)snprintf(p->data_dir, sizeof p->data_dir, "%s/data", p->top);
    assert_int_equal(mkdir(p->state_dir, 0700), 0);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    char command[128];

    (void)snprintf(command, sizeof command, "rm -r %s", p->top);
    assert_int_equal(system(command), 0);
    free(p);
    return 0;
}

static struct notes loaded(const struct place *p)
{
    struct notes n;
    struct hm_err err;

    assert_int_equal(notes_load(p->state_dir, "pg", p->data_dir, &n, &err), HM_OK);
    return n;
}

static void save(const struct place *p, const struct notes *n)
{
    struct hm_err err;

    assert_int_equal(notes_save(p->state_dir, "pg", p->data_dir, n, &err), HM_OK);
}

static void without_data_there_is_no_copy(void **state)
{
    assert_true(loaded(*state).copy_id == 0);
}

static void a_new_copy_gets_an_id_that_stays(void **state)
{
    struct place *p = *state;
    struct notes n;

    make_data(p->data_dir);
    n = loaded(p);
    assert_true(n.copy_id != 0);
    assert_true(loaded(p).copy_id == n.copy_id);
}

static void everything_noted_is_read_again(void **state)
{
    struct place *p = *state;
    struct notes n = { .copy_id = UINT64_MAX - 1,
                       .timeline = 77,
                       .began_epoch = 12345678901234u,
                       .was_primary = true,
                       .names_digest = 0xfedcba9876543210u,
                       .names = "ANY 1 (\"hamgr_db1\", \"hamgr_db=2\")" };
    struct notes again;

    make_data(p->data_dir);
    save(p, &n);
    again = loaded(p);
    assert_true(again.copy_id == n.copy_id && again.timeline == 77);
    assert_true(again.began_epoch == n.began_epoch && again.was_primary && !again.is_rebuilding);
    assert_true(again.names_digest == n.names_digest);
    assert_string_equal(again.names, n.names);
}

static void a_copied_directory_is_another_copy(void **state)
{
    struct place *p = *state;
    struct notes before, after;
    char command[768];

    make_data(p->data_dir);
    before = loaded(p);
    before.was_primary = true;
    before.timeline = 3;
    save(p, &before);
    (void)snprintf(command, sizeof command, "cp -a %s %s.new && mv %s %s.old && mv %s.new %s",
                   p->data_dir, p->data_dir, p->data_dir, p->data_dir, p->data_dir, p->data_dir);
    assert_int_equal(system(command), 0);
    after = loaded(p);
    assert_true(after.copy_id != 0 && after.copy_id != before.copy_id);
    assert_false(after.was_primary);
    assert_true(after.timeline == 0);
}

static void the_mark_of_a_rebuild_outlives_the_directory(void **state)
{
    struct place *p = *state;
    struct notes n = { .is_rebuilding = true };

    save(p, &n);
    assert_true(loaded(p).is_rebuilding);
    make_data(p->data_dir);
    assert_true(loaded(p).is_rebuilding);
    n = loaded(p);
    n.is_rebuilding = false;
    save(p, &n);
    assert_false(loaded(p).is_rebuilding);
    assert_true(loaded(p).copy_id == n.copy_id);
}

static void a_torn_file_is_refused(void **state)
{
    static const char *const torn[] = { "", "hamgr copy 1\n", "hamgr copy 2\nplace=\n", "x" };
    struct place *p = *state;
    struct notes n = { .copy_id = 5 };
    struct hm_err err;
    char path[256];
    off_t size;

    make_data(p->data_dir);
    for (size_t i = 0; i < HM_ARRAY_LEN(torn); i++) {
        write_file(p->state_dir, "pg.copy", torn[i]);
        assert_int_equal(notes_load(p->state_dir, "pg", p->data_dir, &n, &err), HM_BAD_INPUT);
    }
    save(p, &n);
    (void)snprintf(path, sizeof path, "%s/pg.copy", p->state_dir);
    for (size = 0;; size++) { /* cut anywhere */
        struct stat whole;

        save(p, &n);
        assert_int_equal(stat(path, &whole), 0);
        if (size == whole.st_size)
            break;
        assert_int_equal(truncate(path, size), 0);
        assert_int_equal(notes_load(p->state_dir, "pg", p->data_dir, &n, &err), HM_BAD_INPUT);
    }
}

static void names_with_a_line_end_are_refused(void **state)
{
    struct place *p = *state;
    struct notes n = { .copy_id = 5, .names = "a\nb" };
    struct hm_err err;

    assert_int_equal(notes_save(p->state_dir, "pg", p->data_dir, &n, &err), HM_BAD_INPUT);
    memset(n.names, 'x', sizeof n.names - 1);
    assert_int_equal(notes_save(p->state_dir, "pg", p->data_dir, &n, &err), HM_OK);
}

static void ids_differ(void **state)
{
    (void)state;
    assert_true(notes_draw_copy_id() != notes_draw_copy_id());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_data_there_is_no_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_copy_gets_an_id_that_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everything_noted_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copied_directory_is_another_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_mark_of_a_rebuild_outlives_the_directory, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_torn_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_with_a_line_end_are_refused, set_up, tear_down),
        cmocka_unit_test(ids_differ),
    };

    return cmocka_run_group_tests_name("notes", tests, NULL, NULL);
}
