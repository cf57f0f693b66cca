#include "adapter/chronicle.h"

#include "tests/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct event_base *base;
static struct chronicle *c;
static char dir[32], path[64];
static bool is_damaged;

static void open_it(void)
{
    struct hm_err err;

    if (chronicle_open(base, dir, "pg", &c, &is_damaged, &err) != HM_OK)
        fail_msg("%s", err.text);
}

static void open_again(void)
{
    chronicle_close(c);
    open_it();
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/hm-history-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/pg.history", dir);
    base = event_base_new();
    open_it();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    chronicle_close(c);
    event_base_free(base);
    (void)unlink(path);
    return rmdir(dir);
}

static const struct chronicle_line *line(size_t i)
{
    size_t n;
    const struct chronicle_line *lines = chronicle_lines(c, &n);

    assert_true(i < n);
    return &lines[i];
}

static size_t count(void)
{
    size_t n;

    (void)chronicle_lines(c, &n);
    return n;
}

static void lines_outlive_a_restart(void **state)
{
    (void)state;
    assert_false(is_damaged);
    assert_int_equal(count(), 0);
    chronicle_note(c, 1795000000000, "the slot of db2 was dropped here");
    chronicle_note(c, 1795000001000, "two\nlines");
    open_again();
    assert_false(is_damaged);
    assert_int_equal(count(), 2);
    assert_string_equal(line(0)->text, "the slot of db2 was dropped here");
    assert_true(line(0)->first_ms == 1795000000000 && line(0)->times == 1);
    assert_string_equal(line(1)->text, "two lines");
}

/* What is written while nobody closes: the thread does it. */
static void every_line_is_on_the_disk_soon(void **state)
{
    struct stat st;

    (void)state;
    chronicle_note(c, 1, "first");
    chronicle_note(c, 2, "second");
    for (unsigned int i = 0; i < 1000 && (stat(path, &st) != 0 || st.st_size < 50); i++) {
        const struct timeval tv = { .tv_usec = 10000 };

        (void)event_base_loopexit(base, &tv);
        (void)event_base_loop(base, 0);
    }
    assert_true(st.st_size > 50);
}

static void the_same_again_is_counted(void **state)
{
    (void)state;
    for (hm_ms at = 1; at <= 20; at++)
        chronicle_note(c, at * 1000, "the clone failed: no room");
    open_again();
    assert_int_equal(count(), 1);
    assert_int_equal(line(0)->times, 20);
    assert_true(line(0)->first_ms == 1000 && line(0)->last_ms == 20000);
}

static void only_the_newest_are_kept(void **state)
{
    char text[400];

    (void)state;
    for (unsigned int i = 0; i < CHRONICLE_MAX + 3; i++) {
        (void)snprintf(text, sizeof text, "%u %0300u", i, i); /* and each of them cut */
        chronicle_note(c, i, text);
    }
    open_again();
    assert_false(is_damaged);
    assert_int_equal(count(), CHRONICLE_MAX);
    assert_int_equal(strlen(line(0)->text), CHRONICLE_TEXT - 1);
    assert_true(strncmp(line(0)->text, "3 0", 3) == 0);
}

static void damage(size_t at, const char *bytes)
{
    FILE *file = fopen(path, "r+e");

    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_true(fputs(bytes, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_file_is_empty_and_told(void **state)
{
    static const size_t at[] = { 0, 20, 40 };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(at); i++) {
        chronicle_note(c, 1795000000000, "something");
        chronicle_close(c);
        damage(at[i], "#");
        open_it();
        assert_true(is_damaged);
        assert_int_equal(count(), 0);
    }
    chronicle_note(c, 5, "and goes on");
    open_again();
    assert_false(is_damaged);
    assert_int_equal(count(), 1);
    chronicle_close(c);
    assert_int_equal(truncate(path, 10), 0);
    open_it();
    assert_true(is_damaged);
}

static void a_disk_that_is_not_there_costs_only_history(void **state)
{
    (void)state;
    chronicle_close(c);
    (void)unlink(path);
    assert_int_equal(rmdir(dir), 0);
    open_it();
    assert_false(is_damaged);
    chronicle_note(c, 1, "kept as long as it runs");
    assert_int_equal(count(), 1);
    chronicle_note(NULL, 1, "nobody keeps it");
    assert_int_equal(mkdir(dir, 0700), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(lines_outlive_a_restart),          TEST(every_line_is_on_the_disk_soon),
        TEST(the_same_again_is_counted),        TEST(only_the_newest_are_kept),
        TEST(a_damaged_file_is_empty_and_told), TEST(a_disk_that_is_not_there_costs_only_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
