/* Settings written as a file, and a member that is to be added. */
#include "settings/settings.h"

#include "tests/cm.h"

#include <stdlib.h>
#include <string.h>

static const char everything[] =
    "cluster = \"shop\"; key_file = \"/etc/hamgr/cluster.key\"; node = \"db2\";\n"
    "members = (\n"
    "  { name = \"db1\"; address = \"10.0.0.11:7420\"; priority = -5; },\n"
    "  { name = \"db2\"; address = \"[fd00::2]:7421\"; nofailover = true; follow = \"db1\"; },\n"
    "  { name = \"w1\"; address = \"witness.example:7420\"; role = \"witness\"; }\n"
    ");\n"
    "services = (\n"
    "  { type = \"postgres\"; name = \"pg\"; data_dir = \"/srv/\\\"pg\\\"\"; port = 54321;\n"
    "    control = \"systemd:postgresql@15-main\"; bin_dir = \"/usr/lib/postgresql/15/bin\";\n"
    "    replication_user = \"rep\"; durability = \"strict\"; max_lag_bytes = 0; },\n"
    "  { type = \"postgres\"; name = \"other\"; data_dir = \"/srv/other\"; port = 5433; },\n"
    "  { type = \"redis\"; name = \"cache\"; data_dir = \"/srv/cache\"; config_file = "
    "\"/etc/r.conf\";\n"
    "    socket = \"/run/r.sock\"; user = \"ha\"; passfile = \"/etc/r.pass\"; },\n"
    "  { type = \"redis\"; name = \"queue\"; data_dir = \"/srv/queue\"; port = 6380;\n"
    "    control = \"systemd:redis-server@queue\"; config_file = \"/etc/q.conf\";\n"
    "    socket = \"/run/q.sock\"; }\n"
    ");\n"
    "timing = \"lan\"; check_interval_ms = 700; max_lag_bytes = \"8GB\"; gate = false;\n"
    "watchdog = \"/dev/watchdog\"; state_dir = \"/var/lib/else\"; user = \"pg\";\n";

static struct settings load(const char *text)
{
    struct settings_errors errors;
    struct settings s;
    enum hm_rc rc = settings_load_text(text, "test", SETTINGS_WITHOUT_KEY, &s, &errors);

    for (size_t i = 0; i < errors.n; i++)
        print_error("%s\n", errors.line[i]);
    settings_errors_done(&errors);
    assert_int_equal(rc, HM_OK);
    return s;
}

static char *written(const struct settings *s)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    settings_write(out, s);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void what_is_written_gives_the_same_settings(void **state)
{
    struct settings before = load(everything), after;
    char *text = written(&before);

    (void)state;
    after = load(text);
    assert_memory_equal(&before.timing, &after.timing, sizeof before.timing);
    assert_memory_equal(before.member, after.member, sizeof before.member);
    assert_memory_equal(before.service, after.service, sizeof before.service);
    assert_memory_equal(&before, &after, sizeof before);
    assert_non_null(strstr(text, "timing = \"lan\";"));
    assert_null(strstr(text, "ttl_ms"));
    free(text);
}

static void times_of_no_set_are_written_one_by_one(void **state)
{
    struct settings before = load(everything), after;
    char *text;

    (void)state;
    before.timing.ttl_ms = 777;
    text = written(&before);
    after = load(text);
    assert_memory_equal(&before.timing, &after.timing, sizeof before.timing);
    assert_null(strstr(text, "timing ="));
    free(text);
}

static void a_host_may_have_some_settings_otherwise(void **state)
{
    struct settings s = load(everything), before = s;
    struct hm_err err;

    (void)state;
    assert_int_equal(
        settings_change(&s, "state_dir = \"/srv/hamgr\"; socket_dir = \"/run/pg\";", &err), HM_OK);
    assert_string_equal(s.state_dir, "/srv/hamgr");
    assert_string_equal(s.service[0].socket_dir, "/run/pg");
    assert_string_equal(s.service[1].socket_dir, "/run/pg");
    assert_string_equal(s.service[2].socket_dir, "");
    s = before;
    assert_int_equal(settings_change(&s, "passfile = \"/p\";", &err), HM_OK);
    assert_string_equal(s.service[0].passfile, "/p");
    assert_string_equal(s.service[2].passfile, "/p");
    s = before;
    assert_int_equal(settings_change(&s, "state_dir = \"/srv/hamgr\"; members = ();", &err),
                     HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "'members' is no setting that a host has for itself"));
    assert_int_equal(settings_change(&s, "ttl_ms = 1;", &err), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "below the minimum"));
    assert_int_equal(settings_change(&s, "state_dir = ", &err), HM_BAD_INPUT);
    assert_memory_equal(&s, &before, sizeof s);
}

static void is_refused(const char *name, const char *address, const char *why)
{
    const struct settings s = load(everything);
    struct hm_err err;

    assert_int_equal(settings_check_member(name, address, s.member, s.members_n, NULL, &err),
                     HM_BAD_INPUT);
    assert_string_equal(err.text, why);
}

static void a_new_member_needs_a_name_and_an_address_of_its_own(void **state)
{
    const struct settings s = load(everything);
    char host[HM_ADDRESS_MAX];
    struct hm_err err;

    (void)state;
    assert_int_equal(
        settings_check_member("db3", "[fd00::3]:7420", s.member, s.members_n, host, &err), HM_OK);
    assert_string_equal(host, "fd00::3");
    is_refused("db1", "10.0.0.13:7420", "there is a member named 'db1' already");
    is_refused("DB1", "10.0.0.13:7420", "'DB1' and 'db1' would have the same replication slot");
    is_refused("db3", "10.0.0.11:7420", "'10.0.0.11:7420' is the address of 'db1' already");
    is_refused("db3", "0.0.0.0:7420", "'0.0.0.0:7420' is not where the others reach it");
    is_refused("db3", "10.0.0.13", "'10.0.0.13' is not HOST:PORT");
    is_refused("", "10.0.0.13:7420", "a name has 1 to 31 characters");
    is_refused("db 3", "10.0.0.13:7420",
               "'db 3' has something else than letters, digits, '.', '_' and '-'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_gives_the_same_settings),
        cmocka_unit_test(times_of_no_set_are_written_one_by_one),
        cmocka_unit_test(a_host_may_have_some_settings_otherwise),
        cmocka_unit_test(a_new_member_needs_a_name_and_an_address_of_its_own),
    };

    return cmocka_run_group_tests_name("settings written", tests, NULL, NULL);
}
