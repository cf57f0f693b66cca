#include "adapter/file.h"
#include "tests/cm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/hamgr-file-XXXXXX");
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int remove_root(void **state)
{
    char command[96];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static const char *below(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void make_file(const char *name)
{
    FILE *f = fopen(below(name), "we");

    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
}

static void a_directory_is_synced(void **state)
{
    struct hm_err err;

    (void)state;
    assert_int_equal(file_sync_dir(root, &err), HM_OK);
    assert_int_equal(file_sync_dir(below("none"), &err), HM_FAILED);
    make_file("file");
    assert_int_equal(file_sync_dir(below("file"), &err), HM_FAILED);
    assert_non_null(strstr(err.text, "cannot open"));
}

static void a_directory_goes_with_its_files(void **state)
{
    (void)state;
    assert_true(file_remove_flat(below("dir"))); /* it was not there */
    assert_int_equal(mkdir(below("dir"), 0700), 0);
    make_file("dir/file");
    make_file("dir/.hidden");
    assert_true(file_remove_flat(below("dir")));
    assert_int_not_equal(access(below("dir"), F_OK), 0);
}

static void a_directory_in_it_stays(void **state)
{
    (void)state;
    assert_int_equal(mkdir(below("dir"), 0700), 0);
    assert_int_equal(mkdir(below("dir/dear"), 0700), 0);
    assert_false(file_remove_flat(below("dir")));
    assert_int_equal(errno, ENOTEMPTY);
    assert_int_equal(access(below("dir/dear"), F_OK), 0);
}

static void no_link_is_followed(void **state)
{
    (void)state;
    assert_int_equal(mkdir(below("dear"), 0700), 0);
    make_file("dear/file");
    assert_int_equal(symlink("dear", below("link")), 0);
    assert_false(file_remove_flat(below("link")));
    assert_int_equal(access(below("dear/file"), F_OK), 0);
}

#define IN_ROOT(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOT(a_directory_is_synced),
        IN_ROOT(a_directory_goes_with_its_files),
        IN_ROOT(a_directory_in_it_stays),
        IN_ROOT(no_link_is_followed),
    };

    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
