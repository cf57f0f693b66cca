#include "cli/print.h"

#include "tests/unit/golden.h"
#include "tests/unit/made_report.h"

static struct cli cli;
static char *printed;
static size_t printed_size;

static int begin(void **state)
{
    (void)state;
    made_well();
    cli = (struct cli){ .columns = 80 };
    cli.out = open_memstream(&printed, &printed_size);
    cli.err = cli.out;
    return cli.out != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    free(printed);
    printed = NULL;
    return 0;
}

/* Ends printing; no line may be wider than the terminal. */
static const char *text(void)
{
    unsigned column = 0;

    assert_int_equal(fclose(cli.out), 0);
    for (const char *s = printed; *s != '\0'; s++) {
        if (*s == '\033')
            s += strcspn(s, "m");
        else
            column = *s == '\n' ? 0 : column + 1;
        if (column > cli.columns)
            fail_msg("a line is too wide in\n%s", printed);
    }
    return printed;
}

static void status_is(const char *golden)
{
    json_t *j = report_status(&made, NULL);

    assert_int_equal(json_object_set_new(j, "time", json_string("2026-11-20T11:00:00Z")), 0);
    cli_print_status(&cli, j);
    json_decref(j);
    golden_is(golden, text());
}

static void a_good_day(void **state)
{
    (void)state;
    status_is("status.txt");
}

static void a_good_day_on_a_standby(void **state)
{
    (void)state;
    made_well_on_standby();
    status_is("status-standby.txt");
}

static void before_the_first_primary(void **state)
{
    static struct record first;

    (void)state;
    first = *made_rec;
    first.epoch = 0;
    first.pairs_n = 0;
    first.durability = DURABILITY_ASYNC;
    made_core.config.first = first;
    memset(&made_core.voter.durable, 0, sizeof made_core.voter.durable);
    made_rec = &made_core.config.first;
    made_core.state = ST_STANDING;
    made_core.rule = 35;
    made_core.copy = (struct copy){ .state = COPY_ABSENT, .follows = HM_NOBODY };
    memset(&made_core.view.peer[DB2], 0, sizeof made_core.view.peer[DB2]);
    made_links[DB2] = (struct link_state){ .why = "connection refused" };
    status_is("status-new.txt");
}

static void a_bad_night(void **state)
{
    (void)state;
    made_rec->is_paused = true;
    made_rec->goal = DURABILITY_STRICT;
    made_rec->switchover = (struct switchover){ .order = 3, .to = DB2, .phase = SWITCH_PREPARED };
    made_heard(W1, 754321);
    made_links[W1] = (struct link_state){ .why = "10.0.0.3:7420: no route to host" };
    made_core.view.peer[DB2].gossip.is_streaming = false;
    made_core.view.peer[DB2].gossip.is_nofailover = true;
    made_core.copy.at.offset = 0x7000000;
    made_core.copy.is_healthy = false;
    made.service[0].fence.has_gate = false;
    made.service[0].fence.has_priority = false;
    (void)snprintf(made.service[0].fence.why, FENCE_WHY_MAX, "nftables: operation not permitted");
    made.stall_latest_ms = 412;
    made.stall_at_ms = MADE_NOW_MS - 65000;
    status_is("status-bad.txt");
}

static void a_member_cut_off_from_all_others(void **state)
{
    (void)state;
    made_heard(DB2, 5000);
    made_heard(W1, 5000);
    made_links[DB2] = (struct link_state){ .why = "no answer from 10.0.0.2 within 500 ms" };
    made_links[W1] = (struct link_state){ .why = "nothing is heard" };
    made_core.valid_until_ms = HM_PAST;
    made_core.copy.state = COPY_SUSPENDED;
    made_core.state = ST_PREVOTE;
    made_core.rule = 59;
    status_is("status-cut.txt");
}

static void a_copy_that_is_being_rebuilt(void **state)
{
    (void)state;
    made_well_on_standby();
    made_core.copy.state = COPY_REBUILDING;
    made_core.copy.at = (struct position){ 0, 0 };
    made_core.copy.is_streaming = false;
    made_core.wants_rebuild = true;
    (void)snprintf(made.service[0].facts.doing, sizeof made.service[0].facts.doing,
                   "pg_basebackup from db1: 412 of 9120 MB");
    status_is("status-rebuild.txt");
}

static void two_primaries_would_be_seen(void **state)
{
    (void)state;
    made_core.view.peer[DB2].gossip.copy = COPY_PRIMARY;
    status_is("status-two.txt");
}

static void long_names_and_hostile_texts_fit(void **state)
{
    struct member *m = &made_rec->member[DB2];

    (void)state;
    memset(m->name, 'n', sizeof m->name - 1);
    made_heard(DB2, 5000);
    made_links[DB2].is_up = false;
    (void)snprintf(made_links[DB2].why, sizeof made_links[DB2].why,
                   "a\033[2Jb\r\nc \xc2\x9bq \xff %s",
                   "a text that is much too long for the few columns that are left");
    (void)snprintf(made_rec->member[W1].name, HM_NAME_MAX, "z\xc3\xbcrich");
    status_is("status-long.txt");
}

static void colours_are_for_terminals(void **state)
{
    (void)state;
    cli.has_colour = true;
    made_heard(W1, 754321);
    status_is("status-colour.txt");
}

static void a_narrow_terminal_is_respected(void **state)
{
    (void)state;
    cli.columns = 40;
    made_heard(W1, 754321);
    status_is("status-narrow.txt");
}

static void history_is_a_table(void **state)
{
    json_t *j = report_history(&made, NULL);

    (void)state;
    cli_print_history(&cli, j);
    json_decref(j);
    golden_is("history.txt", text());
}

static void members_are_a_table(void **state)
{
    json_t *j;

    (void)state;
    made_heard(W1, 12400);
    made_links[W1] = (struct link_state){ .why = "connection refused" };
    j = report_members(&made);
    cli_print_members(&cli, j);
    json_decref(j);
    golden_is("members.txt", text());
}

static void failed_checks_come_first_with_what_to_do(void **state)
{
    json_t *j = json_loads(
        "[{\"member\":\"db1\",\"name\":\"hot_standby\",\"ok\":true,\"text\":\"on\"},"
        "{\"member\":\"db1\",\"name\":\"wal_log_hints\",\"ok\":false,"
        "\"text\":\"it is off and there are no checksums: pg_rewind would refuse this copy\","
        "\"next\":\"ALTER SYSTEM SET wal_log_hints = on\"},"
        "{\"name\":\"lag\",\"ok\":true}]",
        0, NULL);

    (void)state;
    assert_int_equal(cli_print_checks(&cli, j), 1);
    json_decref(j);
    golden_is("checks.txt", text());
}

static void help_comes_from_the_table(void **state)
{
    (void)state;
    cli_print_help(cli.out);
    golden_is("help.txt", text());
}

static void completion_is_the_file_that_is_installed(void **state)
{
    (void)state;
    cli.columns = 400;
    cli_print_completion(cli.out);
    golden_is("../../conf/completion/hamgr", text());
}

/* --- units ------------------------------------------------------------------------------------ */

static void is_bytes(uint64_t bytes, const char *expected)
{
    char is[24];

    print_bytes(is, bytes);
    assert_string_equal(is, expected);
}

static void is_span(hm_ms ms, const char *expected)
{
    char is[24];

    print_span(is, ms);
    assert_string_equal(is, expected);
}

static void bytes_have_a_unit(void **state)
{
    (void)state;
    is_bytes(0, "0 B");
    is_bytes(1023, "1023 B");
    is_bytes(1024, "1.0 kB");
    is_bytes(10188, "9.9 kB");
    is_bytes(10189, "10 kB");
    is_bytes(1047999, "1023 kB");
    is_bytes(1048576, "1.0 MB");
    is_bytes(16777216, "16 MB");
    is_bytes(UINT64_MAX, "16 EB");
}

static void spans_have_a_unit(void **state)
{
    (void)state;
    is_span(-5, "0.0 s");
    is_span(90, "0.1 s");
    is_span(9949, "9.9 s");
    is_span(9950, "9 s");
    is_span(119999, "119 s");
    is_span(120000, "2 min");
    is_span(7199999, "119 min");
    is_span(7200000, "2 h");
    is_span(172799999, "47 h");
    is_span(172800000, "2 d");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_day),
        TEST(a_good_day_on_a_standby),
        TEST(before_the_first_primary),
        TEST(a_bad_night),
        TEST(a_member_cut_off_from_all_others),
        TEST(a_copy_that_is_being_rebuilt),
        TEST(two_primaries_would_be_seen),
        TEST(long_names_and_hostile_texts_fit),
        TEST(colours_are_for_terminals),
        TEST(a_narrow_terminal_is_respected),
        TEST(history_is_a_table),
        TEST(members_are_a_table),
        TEST(failed_checks_come_first_with_what_to_do),
        TEST(help_comes_from_the_table),
        TEST(completion_is_the_file_that_is_installed),
        cmocka_unit_test(bytes_have_a_unit),
        cmocka_unit_test(spans_have_a_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
