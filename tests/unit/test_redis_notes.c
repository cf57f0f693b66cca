/* What hamgrd must still know of a Redis server after a restart of its own. */
#include "redis/rnotes.h"

#include "tests/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_ID "382b67dff71a71ab868a0c22779e2f259fb4776e"

static char directory[64];
static struct hm_err err;

static int set_up(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/hamgr-rnotes-XXXXXX");
    assert_non_null(mkdtemp(directory));
    return 0;
}

static void path_of(char path[96])
{
    (void)snprintf(path, 96, "%s/cache.copy", directory);
}

static int tear_down(void **state)
{
    char path[96];

    (void)state;
    path_of(path);
    (void)unlink(path);
    return rmdir(directory);
}

static void write_file(const char *text, size_t size)
{
    char path[96];
    FILE *f;

    path_of(path);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fwrite(text, 1, size, f) == size);
    assert_int_equal(fclose(f), 0);
}

static size_t read_file(char text[1024])
{
    char path[96];
    size_t size;
    FILE *f;

    path_of(path);
    f = fopen(path, "re");
    assert_non_null(f);
    size = fread(text, 1, 1023, f);
    assert_int_equal(fclose(f), 0);
    text[size] = 0;
    return size;
}

static struct rnotes some_notes(void)
{
    return (struct rnotes){ .run_id = RUN_ID,
                            .pid = 4711,
                            .started = 123456789,
                            .boot_id = 0xfedcba9876543210u,
                            .renewals = 3,
                            .is_half = true,
                            .was_primary = true };
}

static void without_a_file_nothing_is_known(void **state)
{
    struct rnotes n;

    (void)state;
    assert_int_equal(rnotes_load(directory, "cache", &n, &err), HM_OK);
    assert_true(n.run_id[0] == 0 && n.renewals == 0 && !n.was_primary && !n.is_half);
}

static void what_is_saved_is_read_again(void **state)
{
    struct rnotes n = some_notes(), again;

    (void)state;
    assert_int_equal(rnotes_save(directory, "cache", &n, &err), HM_OK);
    assert_int_equal(rnotes_load(directory, "cache", &again, &err), HM_OK);
    assert_string_equal(again.run_id, RUN_ID);
    assert_true(again.pid == 4711 && again.started == 123456789 && again.renewals == 3);
    assert_true(again.boot_id == 0xfedcba9876543210u && again.is_half && again.was_primary);
    n = (struct rnotes){ .run_id = "" };
    assert_int_equal(rnotes_save(directory, "cache", &n, &err), HM_OK);
    assert_int_equal(rnotes_load(directory, "cache", &again, &err), HM_OK);
    assert_true(again.run_id[0] == 0 && again.pid == 0 && !again.is_half);
}

/* Every cut, and every byte that is another one. */
static void a_torn_or_edited_file_is_refused(void **state)
{
    struct rnotes n = some_notes(), again;
    char text[1024], bad[1024];
    size_t size;

    (void)state;
    assert_int_equal(rnotes_save(directory, "cache", &n, &err), HM_OK);
    size = read_file(text);
    for (size_t cut = 0; cut < size; cut++) {
        write_file(text, cut);
        assert_int_equal(rnotes_load(directory, "cache", &again, &err), HM_BAD_INPUT);
    }
    for (size_t i = 0; i < size; i++) {
        memcpy(bad, text, size);
        bad[i] = (char)(bad[i] ^ 1);
        write_file(bad, size);
        assert_int_equal(rnotes_load(directory, "cache", &again, &err), HM_BAD_INPUT);
    }
    assert_non_null(strstr(err.text, "is torn or foreign: remove it to make this copy a new one"));
    write_file("hamgr copy 1\nplace=\n", 20); /* of PostgreSQL */
    assert_int_equal(rnotes_load(directory, "cache", &again, &err), HM_BAD_INPUT);
}

static void without_its_directory_nothing_is_saved(void **state)
{
    struct rnotes n = some_notes();

    (void)state;
    assert_int_equal(rnotes_save("/nowhere/at/all", "cache", &n, &err), HM_FAILED);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_file_nothing_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_saved_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_or_edited_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_its_directory_nothing_is_saved, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
