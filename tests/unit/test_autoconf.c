#include "postgres/autoconf.h"
#include "tests/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *edit(const char *text, const char *name, const char *value)
{
    struct autoconf_setting set = { name, value };
    struct hm_err err;
    char *out = NULL;

    assert_int_equal(autoconf_edit(text, &set, 1, &out, &err), HM_OK);
    return out;
}

static void expect(const char *text, const char *name, const char *value, const char *wanted)
{
    char *out = edit(text, name, value);

    assert_string_equal(out, wanted);
    free(out);
}

static void a_setting_replaces_every_older_line_of_it(void **state)
{
    (void)state;
    expect("# Do not edit\nwork_mem = '4MB'\nprimary_conninfo = 'a'\n Primary_ConnInfo 'b'\n",
           "primary_conninfo", "c", "# Do not edit\nwork_mem = '4MB'\nprimary_conninfo = 'c'\n");
}

static void names_that_only_begin_alike_stay(void **state)
{
    (void)state;
    expect("primary_conninfo_x = 'a'\nx.primary_conninfo = 'b'\n", "primary_conninfo", "",
           "primary_conninfo_x = 'a'\nx.primary_conninfo = 'b'\nprimary_conninfo = ''\n");
}

static void no_value_takes_it_out(void **state)
{
    (void)state;
    expect("a = '1'\nb = '2'\n", "a", NULL, "b = '2'\n");
}

static void a_last_line_without_newline_is_ended(void **state)
{
    (void)state;
    expect("a = '1'", "b", "2", "a = '1'\nb = '2'\n");
    expect("", "b", "2", "b = '2'\n");
}

static void quotes_and_backslashes_come_back(void **state)
{
    const char *value = "ANY 1 (\"it's\", \"a\\b\")";
    char *out = edit("", "synchronous_standby_names", value);
    char buffer[64];

    (void)state;
    assert_string_equal(out, "synchronous_standby_names = 'ANY 1 (\"it''s\", \"a\\\\b\")'\n");
    assert_true(autoconf_get(out, "synchronous_standby_names", buffer, sizeof buffer));
    assert_string_equal(buffer, value);
    free(out);
}

static void a_value_of_several_lines_is_refused(void **state)
{
    struct autoconf_setting set = { "a", "1\nb = '2'" };
    struct hm_err err;
    char *out = NULL;

    (void)state;
    assert_int_equal(autoconf_edit("", &set, 1, &out, &err), HM_BAD_INPUT);
    assert_string_equal(err.text, "the value of a has several lines");
    assert_null(out);
}

static void the_last_of_several_values_counts(void **state)
{
    char buffer[8];

    (void)state;
    assert_true(autoconf_get("port = 1\nPORT 2 # two\n", "port", buffer, sizeof buffer));
    assert_string_equal(buffer, "2");
    assert_false(autoconf_get("# port = 1\n", "port", buffer, sizeof buffer));
}

static void a_value_just_fits_or_does_not(void **state)
{
    char buffer[4];

    (void)state;
    assert_true(autoconf_get("a = 'xyz'", "a", buffer, sizeof buffer));
    assert_false(autoconf_get("a = 'wxyz'", "a", buffer, sizeof buffer));
}

static void the_file_is_edited_in_place(void **state)
{
    struct autoconf_setting set[] = { { "primary_conninfo", "" }, { "work_mem", NULL } };
    char dir[] = "/tmp/hamgr-autoconf-XXXXXX";
    char path[64], text[128] = "";
    struct hm_err err;
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/" AUTOCONF_FILE, dir);
    assert_int_equal(autoconf_write(dir, set, 2, &err), HM_OK);
    f = fopen(path, "we");
    assert_non_null(f);
    (void)fputs("work_mem = '1MB'\nport = '1'\n", f);
    (void)fclose(f);
    assert_int_equal(autoconf_write(dir, set, 2, &err), HM_OK);
    f = fopen(path, "re");
    assert_non_null(f);
    (void)fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    assert_string_equal(text, "port = '1'\nprimary_conninfo = ''\n");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(autoconf_write(dir, set, 2, &err), HM_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_setting_replaces_every_older_line_of_it),
        cmocka_unit_test(names_that_only_begin_alike_stay),
        cmocka_unit_test(no_value_takes_it_out),
        cmocka_unit_test(a_last_line_without_newline_is_ended),
        cmocka_unit_test(quotes_and_backslashes_come_back),
        cmocka_unit_test(a_value_of_several_lines_is_refused),
        cmocka_unit_test(the_last_of_several_values_counts),
        cmocka_unit_test(a_value_just_fits_or_does_not),
        cmocka_unit_test(the_file_is_edited_in_place),
    };

    return cmocka_run_group_tests_name("autoconf", tests, NULL, NULL);
}
