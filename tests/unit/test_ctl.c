#include "wire/ctl.h"

#include "tests/cm.h"

#include <string.h>

static json_t *parsed(const char *line)
{
    struct hm_err err;
    json_t *j = NULL;

    if (ctl_parse(line, strlen(line), &j, &err) != HM_OK)
        fail_msg("%s: %s", line, err.text);
    return j;
}

static void is_refused(const char *line, const char *why)
{
    struct hm_err err;
    json_t *j = NULL;

    assert_int_equal(ctl_parse(line, strlen(line), &j, &err), HM_BAD_INPUT);
    assert_null(j);
    if (strstr(err.text, why) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", line, err.text, why);
}

static void a_request_comes_back_as_it_was_made(void **state)
{
    struct ctl_request in = { .command = CTL_SWITCHOVER,
                              .service = "pg",
                              .to = "db2",
                              .is_dry_run = true,
                              .timeout_ms = CTL_TIMEOUT_MAX_MS };
    struct ctl_request out;
    json_t *made = ctl_make(&in), *read;
    char *line = json_dumps(made, JSON_COMPACT);

    (void)state;
    assert_string_equal(line, "{\"command\":\"switchover\",\"service\":\"pg\",\"to\":\"db2\","
                              "\"dry_run\":true,\"timeout_ms\":3600000}");
    read = parsed(line);
    ctl_read(read, &out);
    assert_int_equal(out.command, CTL_SWITCHOVER);
    assert_string_equal(out.service, "pg");
    assert_string_equal(out.to, "db2");
    assert_true(out.is_dry_run);
    assert_int_equal(out.timeout_ms, CTL_TIMEOUT_MAX_MS);
    json_decref(made);
    json_decref(read);
    free(line);
}

static void a_member_is_named_with_address_and_role(void **state)
{
    struct ctl_request in = {
        .command = CTL_MEMBER_ADD, .name = "db3", .address = "[fd00::3]:7420", .role = "observer"
    };
    struct ctl_request out;
    json_t *made = ctl_make(&in);
    char *line = json_dumps(made, JSON_COMPACT);
    json_t *read = parsed(line);

    (void)state;
    ctl_read(read, &out);
    assert_memory_equal(&in, &out, sizeof in);
    json_decref(made);
    json_decref(read);
    free(line);
    is_refused("{\"command\": \"member_add\", \"role\": \"king\"}", "a role is");
    is_refused("{\"command\": \"member_add\", \"address\": \"\"}", "1 to 63 letters");
    is_refused("{\"command\": \"member_add\", \"address\": \"a b\"}", "no address may have");
    is_refused("{\"command\": \"member_add\", \"name\": 7}", "not a text");
}

static void what_is_not_named_is_empty(void **state)
{
    struct ctl_request out;
    json_t *read = parsed(" {\"command\": \"ping\"} ");

    (void)state;
    ctl_read(read, &out);
    assert_int_equal(out.command, CTL_PING);
    assert_string_equal(out.service, "");
    assert_string_equal(out.to, "");
    assert_false(out.is_dry_run);
    assert_int_equal(out.timeout_ms, 0);
    json_decref(read);
}

static void every_command_has_a_name_that_is_understood(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CTL_COMMANDS_N; i++) {
        struct ctl_request in = { .command = (enum ctl_command)i }, out;
        json_t *made = ctl_make(&in);
        char *line = json_dumps(made, 0);
        json_t *read = parsed(line);

        ctl_read(read, &out);
        assert_int_equal(out.command, i);
        json_decref(made);
        json_decref(read);
        free(line);
    }
    assert_string_equal(ctl_command_name(CTL_COMMANDS_N), "?");
}

static void garbage_is_refused(void **state)
{
    (void)state;
    is_refused("", "no JSON");
    is_refused("status", "no JSON");
    is_refused("{\"command\":\"ping\"", "no JSON");
    is_refused("{\"command\":\"ping\"} x", "no JSON");
    is_refused("{\"command\":\"ping\",\"command\":\"pause\"}", "duplicate");
    is_refused("[\"ping\"]", "no JSON object");
    is_refused("{}", "names no command");
    is_refused("{\"command\":7}", "not a text");
    is_refused("{\"command\":\"frobnicate\"}", "unknown command 'frobnicate'");
}

static void a_field_that_is_not_known_is_refused(void **state)
{
    (void)state;
    is_refused("{\"command\":\"switchover\",\"at\":\"22:00\"}", "unknown field 'at'");
}

static void a_value_out_of_its_range_is_refused(void **state)
{
    (void)state;
    is_refused("{\"command\":\"ping\",\"service\":\"\"}", "field 'service': a name has 1 to 31");
    is_refused("{\"command\":\"ping\",\"service\":\"12345678901234567890123456789012\"}",
               "1 to 31");
    json_decref(parsed("{\"command\":\"ping\",\"service\":\"1234567890123456789012345678901\"}"));
    is_refused("{\"command\":\"ping\",\"to\":\"a b\"}", "letters");
    is_refused("{\"command\":\"ping\",\"to\":null}", "not a text");
    is_refused("{\"command\":\"ping\",\"dry_run\":\"yes\"}", "true or false");
    is_refused("{\"command\":\"ping\",\"timeout_ms\":0}", "from 1 to 3600000");
    is_refused("{\"command\":\"ping\",\"timeout_ms\":3600001}", "from 1 to 3600000");
    is_refused("{\"command\":\"ping\",\"timeout_ms\":1.5}", "from 1 to 3600000");
}

static void a_request_has_a_longest_size(void **state)
{
    static char line[CTL_REQUEST_MAX + 2];
    const char head[] = "{\"command\":\"ping\"}";
    struct hm_err err;
    json_t *j = NULL;

    (void)state;
    memset(line, ' ', sizeof line);
    memcpy(line, head, sizeof head - 1);
    assert_int_equal(ctl_parse(line, CTL_REQUEST_MAX, &j, &err), HM_OK);
    json_decref(j);
    assert_int_equal(ctl_parse(line, CTL_REQUEST_MAX + 1, &j, &err), HM_BAD_INPUT);
}

static void results_become_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(ctl_exit_of(HM_OK), 0);
    assert_int_equal(ctl_exit_of(HM_FAILED), 1);
    assert_int_equal(ctl_exit_of(HM_NO_SPACE), 1);
    assert_int_equal(ctl_exit_of(HM_BAD_INPUT), 2);
    assert_int_equal(ctl_exit_of(HM_REFUSED), 3);
    assert_int_equal(ctl_exit_of(HM_NO_QUORUM), 4);
    assert_int_equal(ctl_exit_of(HM_TIMED_OUT), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_back_as_it_was_made),
        cmocka_unit_test(a_member_is_named_with_address_and_role),
        cmocka_unit_test(what_is_not_named_is_empty),
        cmocka_unit_test(every_command_has_a_name_that_is_understood),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(a_field_that_is_not_known_is_refused),
        cmocka_unit_test(a_value_out_of_its_range_is_refused),
        cmocka_unit_test(a_request_has_a_longest_size),
        cmocka_unit_test(results_become_exit_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
