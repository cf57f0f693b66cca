#include "adapter/progress.h"
#include "tests/cm.h"

#include <stdio.h>
#include <string.h>

static void what_postgresql_tells_is_read(void **state)
{
    struct progress p = { .is_known = false };
    char text[80];

    (void)state;
    progress_print(&p, text, sizeof text);
    assert_string_equal(text, "");
    assert_true(progress_take(&p, "     0/4608000 kB (0%), 0/1 tablespace", 1000));
    progress_print(&p, text, sizeof text);
    assert_string_equal(text, "0 %, 0 B of 4.4 GB");
    assert_true(progress_take(&p, "1228800/4608000 kB (26%), 0/1 tablespace (/d/base/1)", 3000));
    assert_int_equal(p.percent, 26);
    assert_true(p.total == UINT64_C(4608000) * 1024);
    assert_true(p.bytes_per_s == UINT64_C(614400) * 1024);
    progress_print(&p, text, sizeof text);
    assert_string_equal(text, "26 %, 1.2 GB of 4.4 GB, 600 MB/s");
    /* More than was estimated at first. */
    assert_true(progress_take(&p, "4700000/4608000 kB (102%) copied", 3500));
    assert_int_equal(p.percent, 100);
}

static void a_percentage_of_any_program_is_read(void **state)
{
    struct progress p = { .is_known = false };
    char text[80];

    (void)state;
    assert_true(progress_take(&p, "P01 DETAIL: restore file base/5/1249 (440KB, 45.2%) x", 1000));
    assert_int_equal(p.percent, 45);
    progress_print(&p, text, sizeof text);
    assert_string_equal(text, "45 %");
    assert_true(progress_take(&p, "100%", 1000));
    assert_false(progress_take(&p, "waiting for checkpoint", 1000));
    assert_false(progress_take(&p, "a % sign", 1000));
    assert_false(progress_take(&p, "%", 1000));
    assert_false(progress_take(&p, ".%", 1000));
    assert_false(progress_take(&p, "", 1000));
    assert_int_equal(p.percent, 100);
    assert_true(progress_take(&p, "999999999999999999999999%", 1000));
    assert_int_equal(p.percent, 100);
}

static void the_rate_is_that_of_the_last_seconds(void **state)
{
    struct progress p = { .is_known = false };

    (void)state;
    assert_true(progress_take(&p, "0/100000 kB (0%)", 0));
    assert_true(progress_take(&p, "1000/100000 kB (1%)", 1000));
    assert_true(p.bytes_per_s == 1000 * 1024);
    assert_true(progress_take(&p, "2000/100000 kB (2%)", 2000));
    assert_true(p.bytes_per_s == 1000 * 1024);
    assert_true(progress_take(&p, "2500/100000 kB (2%)", 6000));
    assert_true(p.bytes_per_s == 300 * 1024);
    /* Another program begins again. */
    assert_true(progress_take(&p, "100/100000 kB (0%)", 7000));
    assert_true(p.bytes_per_s == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_postgresql_tells_is_read),
        cmocka_unit_test(a_percentage_of_any_program_is_read),
        cmocka_unit_test(the_rate_is_that_of_the_last_seconds),
    };

    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
