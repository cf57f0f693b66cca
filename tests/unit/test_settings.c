#include "settings/settings.h"

#include "tests/unit/settings_file.h"

static void the_file_of_the_manual_is_read(void **state)
{
    struct settings s = load_good(
        "cluster  = \"shop\";\n"
        "key_file = \"/etc/hamgr/cluster.key\";\n"
        "members  = ( { name = \"db1\"; address = \"10.0.0.11:7420\"; role = \"db\"; },\n"
        "             { name = \"db2\"; address = \"10.0.0.12:7420\"; role = \"db\"; },\n"
        "             { name = \"w1\";  address = \"10.0.0.20:7420\"; role = \"witness\"; } );\n"
        "services = ( { type = \"postgres\"; name = \"pg\"; data_dir = "
        "\"/var/lib/postgresql/15/main\";\n"
        "               port = 5432; control = \"systemd:postgresql@15-main\"; } );\n");

    (void)state;
    assert_string_equal(s.file, "f");
    assert_string_equal(s.cluster, "shop");
    assert_int_equal(s.members_n, 3);
    assert_string_equal(s.member[0].name, "db1");
    assert_string_equal(s.member[0].address, "10.0.0.11:7420");
    assert_string_equal(s.member[0].host, "10.0.0.11");
    assert_int_equal(s.member[0].port, 7420);
    assert_int_equal(s.member[1].role, ROLE_DB);
    assert_int_equal(s.member[2].role, ROLE_WITNESS);
    assert_int_equal(s.services_n, 1);
    assert_string_equal(s.service[0].name, "pg");
    assert_int_equal(s.service[0].kind, SERVICE_POSTGRES);
    assert_int_equal(s.service[0].port, 5432);
    assert_int_equal(s.service[0].control, CONTROL_SYSTEMD);
    assert_string_equal(s.service[0].unit, "postgresql@15-main");
}

static void what_is_left_out_has_its_default(void **state)
{
    struct settings s = load_good(GOOD);
    const struct settings_service *service = &s.service[0];

    (void)state;
    assert_string_equal(s.state_dir, "/var/lib/hamgr");
    assert_string_equal(s.run_dir, "/run/hamgr");
    assert_int_equal(s.fence, SETTINGS_FENCE_SOCKET);
    assert_true(s.is_gate_on);
    assert_string_equal(s.watchdog, "");
    assert_string_equal(s.user, "postgres");
    assert_int_equal(s.timing.check_interval_ms, 500);
    assert_int_equal(s.timing.check_timeout_ms, 3000);
    assert_int_equal(s.timing.stall_timeout_ms, 5000);
    assert_int_equal(s.timing.crash_wait_ms, 1000);
    assert_int_equal(s.member[0].priority, 0);
    assert_false(s.member[0].is_nofailover);
    assert_int_equal(service->number, 0);
    assert_int_equal(service->port, 5432);
    assert_int_equal(service->control, CONTROL_DIRECT);
    assert_string_equal(service->unit, "");
    assert_string_equal(service->bin_dir, "");
    assert_string_equal(service->config_file, "");
    assert_string_equal(service->socket_dir, "/var/run/postgresql");
    assert_string_equal(service->user, "postgres");
    assert_string_equal(service->dbname, "postgres");
    assert_string_equal(service->replication_user, "postgres");
    assert_string_equal(service->passfile, "");
    assert_int_equal(service->durability, DURABILITY_ASYNC);
    assert_int_equal(service->sync_standbys, 1);
    assert_int_equal(service->max_lag_bytes, 16 << 20);
}

static void the_defaults_of_redis_are_its_own(void **state)
{
    struct settings s =
        load_good(TOP_LINES MEMBER_LINES "services = ( { type = \"redis\"; name = \"cache\"; "
                                         "data_dir = \"/r\"; config_file = \"/r.conf\"; "
                                         "socket = \"/r.sock\"; } );\n");
    const struct settings_service *service = &s.service[0];

    (void)state;
    assert_int_equal(service->kind, SERVICE_REDIS);
    assert_int_equal(service->port, 6379);
    assert_int_equal(service->control, CONTROL_DIRECT);
    assert_string_equal(service->config_file, "/r.conf");
    assert_string_equal(service->bin_dir, "");
    assert_string_equal(service->socket, "/r.sock");
    assert_string_equal(service->user, "");
    assert_string_equal(service->passfile, "");
    assert_string_equal(service->socket_dir, "");
    assert_string_equal(service->replication_user, "");
    assert_int_equal(service->durability, DURABILITY_ASYNC);
    assert_int_equal(service->max_lag_bytes, 16 << 20);
}

#define REDIS_LINES                                                                                \
    "services = ( { type = \"redis\"; name = \"cache\"; data_dir = \"/r\"; config_file = \"/c\"; " \
    "socket = \"/s\"; } );\n"

static void clients_of_redis_have_a_port(void **state)
{
    struct settings s =
        load_good(GOOD "sentinel_port = 0; sentinel_listen = \"::\";\n"
                       "sentinel_password_file = \"/pw\"; sentinel_clients_max = 10;");

    (void)state;
    assert_int_equal(s.sentinel_port, 0);
    assert_string_equal(s.sentinel_listen, "::");
    assert_string_equal(s.sentinel_password_file, "/pw");
    assert_int_equal(s.sentinel_clients_max, 10);
    s = load_good(GOOD);
    assert_int_equal(s.sentinel_port, 26379);
    assert_string_equal(s.sentinel_listen, "");
    assert_string_equal(s.sentinel_password_file, "");
    assert_int_equal(s.sentinel_clients_max, 12000);
    assert_string_equal(load_told(GOOD "sentinel_listen = \"db1\";"),
                        "f:8: sentinel_listen: 'db1' is no literal address\n");
    (void)load_good(GOOD "sentinel_port = 5432;"); /* without Redis nobody listens there */
    (void)load_good(TOP_LINES MEMBER_LINES REDIS_LINES "sentinel_port = 6378;");
    assert_string_equal(load_told(TOP_LINES MEMBER_LINES REDIS_LINES "sentinel_port = 6379;"),
                        "f:8: sentinel_port: 6379 is the port of 'cache'\n");
}

static void everything_can_be_set(void **state)
{
    struct settings s = load_good(
        TOP_LINES
        "node = \"db2\"; ttl_ms = 2000; heartbeat_ms = 300; fence_margin_ms = 150;\n"
        "freeze_timeout_ms = 400; check_interval_ms = 100; check_timeout_ms = 900;\n"
        "stall_timeout_ms = 800; crash_wait_ms = 0; state_dir = \"/s\"; run_dir = \"/r\";\n"
        "tail_rescue_timeout_ms = 0; tail_rescue_max_bytes = \"1GB\";\n"
        "fence = \"child\"; gate = false; watchdog = \"/dev/watchdog\"; user = \"pg\";\n"
        "members = ( { name = \"db1\"; address = \"h1:1\"; priority = -7; },\n"
        "{ name = \"db2\"; address = \"[fd00::2]:65535\"; nofailover = true; } );\n"
        "services = ( { type = \"postgres\"; name = \"a\"; data_dir = \"/a/\"; port = 1;\n"
        "bin_dir = \"/b\"; config_file = \"/c\"; socket_dir = \"/d\"; user = \"u v\";\n"
        "dbname = \"D\"; replication_user = \"R\"; passfile = \"/p\";\n"
        "durability = \"strict\"; sync_standbys = 1; max_lag_bytes = 5; } );");
    const struct settings_service *service = &s.service[0];

    (void)state;
    assert_string_equal(s.node, "db2");
    assert_int_equal(s.self, 1);
    assert_int_equal(s.timing.ttl_ms, 2000);
    assert_int_equal(s.timing.heartbeat_ms, 300);
    assert_int_equal(s.timing.fence_margin_ms, 150);
    assert_int_equal(s.timing.freeze_timeout_ms, 400);
    assert_int_equal(s.timing.check_interval_ms, 100);
    assert_int_equal(s.timing.check_timeout_ms, 900);
    assert_int_equal(s.timing.stall_timeout_ms, 800);
    assert_int_equal(s.timing.crash_wait_ms, 0);
    assert_int_equal(s.tail_rescue_timeout_ms, 0);
    assert_int_equal(s.tail_rescue_max_bytes, 1 << 30);
    assert_string_equal(s.state_dir, "/s");
    assert_string_equal(s.run_dir, "/r");
    assert_int_equal(s.fence, SETTINGS_FENCE_CHILD);
    assert_false(s.is_gate_on);
    assert_string_equal(s.watchdog, "/dev/watchdog");
    assert_string_equal(s.user, "pg");
    assert_int_equal(s.member[0].role, ROLE_DB);
    assert_int_equal(s.member[0].priority, -7);
    assert_string_equal(s.member[0].host, "h1");
    assert_int_equal(s.member[0].port, 1);
    assert_true(s.member[1].is_nofailover);
    assert_string_equal(s.member[1].host, "fd00::2");
    assert_string_equal(s.member[1].address, "[fd00::2]:65535");
    assert_int_equal(s.member[1].port, 65535);
    assert_string_equal(service->data_dir, "/a"); /* without the last '/' */
    assert_int_equal(service->port, 1);
    assert_string_equal(service->bin_dir, "/b");
    assert_string_equal(service->config_file, "/c");
    assert_string_equal(service->socket_dir, "/d");
    assert_string_equal(service->user, "u v");
    assert_string_equal(service->dbname, "D");
    assert_string_equal(service->replication_user, "R");
    assert_string_equal(service->passfile, "/p");
    assert_int_equal(service->durability, DURABILITY_STRICT);
    assert_int_equal(service->sync_standbys, 1);
    assert_int_equal(service->max_lag_bytes, 5);
}

static void replication_goes_by_the_same_user_unless_told(void **state)
{
    struct settings s =
        load_good(TOP_LINES MEMBER_LINES "services = ( { type = \"postgres\"; name = \"pg\"; "
                                         "data_dir = \"/d\"; user = \"me\"; } );");

    (void)state;
    assert_string_equal(s.service[0].replication_user, "me");
}

static void a_timing_is_a_set_of_times(void **state)
{
    struct settings s = load_good(GOOD "timing = \"default\";");

    (void)state;
    assert_int_equal(s.timing.ttl_ms, 1500);
    assert_int_equal(s.timing.heartbeat_ms, 250);
    assert_int_equal(s.timing.fence_margin_ms, 100);
    assert_int_equal(s.timing.freeze_timeout_ms, 500);
    assert_int_equal(load_good(GOOD).timing.ttl_ms, 1500);
    s = load_good(GOOD "timing = \"lan\";");
    assert_int_equal(s.timing.ttl_ms, 600);
    assert_int_equal(s.timing.heartbeat_ms, 100);
    assert_int_equal(s.timing.fence_margin_ms, 50);
    s = load_good(GOOD "timing = \"wan\";");
    assert_int_equal(s.timing.ttl_ms, 6000);
    assert_int_equal(s.timing.heartbeat_ms, 1000);
    assert_int_equal(s.timing.fence_margin_ms, 300);
    assert_int_equal(s.timing.freeze_timeout_ms, 2000);
}

static void a_single_time_goes_before_the_timing(void **state)
{
    struct settings s = load_good("ttl_ms = 700;\n" GOOD "timing = \"lan\";");

    (void)state;
    assert_int_equal(s.timing.ttl_ms, 700);
    assert_int_equal(s.timing.heartbeat_ms, 100);
}

static void services_promise_what_the_file_says_or_they_themselves(void **state)
{
    struct settings s = load_good(
        TOP_LINES MEMBER_LINES
        "services = ( { type = \"postgres\"; name = \"a\"; data_dir = \"/a\"; port = 1; },\n"
        "{ type = \"postgres\"; name = \"b\"; data_dir = \"/b\"; port = 2; durability = "
        "\"async\";\n"
        "  sync_standbys = 1; max_lag_bytes = \"1GB\"; } );\n"
        "durability = \"sync\"; sync_standbys = 2; max_lag_bytes = 8589934592;");

    (void)state;
    assert_int_equal(s.service[0].durability, DURABILITY_SYNC);
    assert_int_equal(s.service[0].sync_standbys, 2);
    assert_int_equal(s.service[0].max_lag_bytes, 8589934592);
    assert_int_equal(s.service[1].number, 1);
    assert_int_equal(s.service[1].durability, DURABILITY_ASYNC);
    assert_int_equal(s.service[1].sync_standbys, 1);
    assert_int_equal(s.service[1].max_lag_bytes, 1 << 30);
}

static void sizes_have_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {
        { "0", 0 },
        { "7", 7 },
        { "0x10", 16 },
        { "1234567890123", 1234567890123 },
        { "0x123456789AB", 0x123456789AB },
        { "5000000000L", 5000000000 },
        { "\"7\"", 7 },
        { "\"7B\"", 7 },
        { "\"3kB\"", 3072 },
        { "\"3 MB\"", 3 << 20 },
        { "\"2gb\"", 2ull << 30 },
        { "\"1TB\"", 1ull << 40 },
        { "\"1024TB\"", 1ull << 50 },
    };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(sizes); i++) {
        char text[1024];

        (void)snprintf(text, sizeof text, "%smax_lag_bytes = %s;", GOOD, sizes[i].text);
        assert_int_equal(load_good(text).service[0].max_lag_bytes, sizes[i].bytes);
    }
}

static void the_host_finds_itself_by_its_name(void **state)
{
    char host[256], text[1024];
    struct settings s;

    (void)state;
    assert_int_equal(gethostname(host, sizeof host), 0);
    host[strcspn(host, ".")] = '\0';
    if (strlen(host) >= HM_NAME_MAX)
        host[HM_NAME_MAX - 1] = '\0'; /* then it is none of the members, see below */
    (void)snprintf(text, sizeof text,
                   "cluster = \"c\"; key_file = \"/k\"; " SERVICE_LINES
                   "members = ( { name = \"x\"; address = \"a:1\"; },\n"
                   "            { name = \"%s\"; address = \"b:1\"; } );",
                   host);
    assert_string_equal(load_as(text, SETTINGS_WITHOUT_KEY, &s), "");
    assert_string_equal(s.node, host);
    assert_int_equal(s.self, 1);
    (void)snprintf(text, sizeof text,
                   "f: node: missing, and the host's name '%s' is none of the members\n", host);
    assert_string_equal(load_as(GOOD, SETTINGS_WITHOUT_KEY, NULL), text);
    assert_string_equal(load_as(GOOD, NO_FILES, &s), "");
    assert_int_equal(s.self, HM_NOBODY);
}

static void a_node_that_is_no_member_may_be_allowed(void **state)
{
    struct settings s;

    (void)state;
    assert_string_equal(load_as(GOOD "node = \"db9\";", SETTINGS_WITHOUT_KEY, NULL),
                        "f:8: node: 'db9' is none of the members\n");
    assert_string_equal(load_as(GOOD "node = \"db9\";", NO_FILES, &s), "");
    assert_string_equal(s.node, "db9");
    assert_int_equal(s.self, HM_NOBODY);
}

static void a_child_has_no_gate(void **state)
{
    (void)state;
    assert_false(load_good(GOOD "fence = \"child\";").is_gate_on);
    assert_true(load_good(GOOD "fence = \"socket\"; gate = true;").is_gate_on);
    assert_false(load_good(GOOD "gate = false;").is_gate_on);
    assert_string_equal(load_told(GOOD "fence = \"child\";\ngate = true;"),
                        "f:9: gate: not possible with fence = \"child\"\n");
}

/* --- full lists ---------------------------------------------------------------------------------
 */

static const char *with_members(unsigned int n)
{
    static char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "%s%smembers = (", TOP_LINES, SERVICE_LINES);

    for (unsigned int i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%s{ name = \"m%u\"; address = \"h:%u\"; }", i > 0 ? ",\n" : "", i,
                                 i + 1);
    (void)snprintf(text + used, sizeof text - used, ");\n");
    return text;
}

static const char *with_services(unsigned int n)
{
    static char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "%s%sservices = (", TOP_LINES, MEMBER_LINES);

    for (unsigned int i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%s{ type = \"postgres\"; name = \"s%u\"; data_dir = \"/d%u\"; "
                                 "port = %u; }",
                                 i > 0 ? ",\n" : "", i, i, 6000 + i);
    (void)snprintf(text + used, sizeof text - used, ");\n");
    return text;
}

static void nine_members_fit(void **state)
{
    struct settings s = load_good(with_members(9));

    (void)state;
    assert_int_equal(s.members_n, 9);
    assert_string_equal(s.member[8].name, "m8");
    assert_string_equal(load_told(with_members(10)), "f:4: members: 10 of them, at most 9 fit\n");
}

static void sixteen_services_fit(void **state)
{
    struct settings s = load_good(with_services(16));

    (void)state;
    assert_int_equal(s.services_n, 16);
    assert_string_equal(s.service[15].name, "s15");
    assert_int_equal(s.service[15].number, 15);
    assert_string_equal(load_told(with_services(17)),
                        "f:7: services: 17 of them, at most 16 fit\n");
}

/* --- what the core gets -------------------------------------------------------------------------
 */

static void the_first_record_is_what_the_file_says(void **state)
{
    struct settings s = load_good(with_services(3));
    struct record r;
    const char *why = NULL;

    (void)state;
    s.cluster_id = 77;
    s.service[2].durability = DURABILITY_STRICT;
    s.service[2].max_lag_bytes = 9;
    memset(&r, 0x55, sizeof r);
    settings_first_record(&s, &s.service[2], &r);
    assert_int_equal(r.cluster, 77);
    assert_int_equal(r.cluster_incarnation, 0);
    assert_int_equal(r.service, 2);
    assert_int_equal(r.kind, SERVICE_POSTGRES);
    assert_int_equal(r.version, 0);
    assert_int_equal(r.epoch, 0);
    assert_int_equal(r.ttl_ms, 1500);
    assert_int_equal(r.heartbeat_ms, 250);
    assert_int_equal(r.durability, DURABILITY_STRICT);
    assert_int_equal(r.goal, DURABILITY_STRICT);
    assert_int_equal(r.sync_standbys, 1);
    assert_int_equal(r.max_lag_bytes, 9);
    assert_int_equal(r.voters, 7);
    assert_int_equal(r.old_voters, 0);
    assert_int_equal(r.pairs_n, 0);
    assert_int_equal(r.timelines_n, 0);
    assert_int_equal(r.changes_n, 0);
    assert_string_equal(r.member[1].name, "db2");
    assert_string_equal(r.member[1].address, "10.0.0.12:7420");
    assert_int_equal(r.member[1].role, ROLE_DB);
    assert_int_equal(r.member[1].incarnation, 0);
    assert_int_equal(r.member[2].role, ROLE_WITNESS);
    assert_int_equal(r.member[3].role, ROLE_NONE);
    /* What the first holder makes of it passes the check of a record from outside. */
    r.epoch = r.version = 1;
    r.pairs_n = 1;
    assert_int_equal(record_check(&r, &why), HM_OK);
}

static void a_service_is_found_by_its_name(void **state)
{
    struct settings s = load_good(GOOD);

    (void)state;
    assert_ptr_equal(settings_service(&s, NULL), &s.service[0]);
    assert_ptr_equal(settings_service(&s, ""), &s.service[0]);
    assert_ptr_equal(settings_service(&s, "pg"), &s.service[0]);
    assert_null(settings_service(&s, "p"));
    s = load_good(with_services(2));
    assert_null(settings_service(&s, NULL));
    assert_null(settings_service(&s, ""));
    assert_ptr_equal(settings_service(&s, "s1"), &s.service[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_of_the_manual_is_read),
        cmocka_unit_test(what_is_left_out_has_its_default),
        cmocka_unit_test(the_defaults_of_redis_are_its_own),
        cmocka_unit_test(clients_of_redis_have_a_port),
        cmocka_unit_test(everything_can_be_set),
        cmocka_unit_test(replication_goes_by_the_same_user_unless_told),
        cmocka_unit_test(a_timing_is_a_set_of_times),
        cmocka_unit_test(a_single_time_goes_before_the_timing),
        cmocka_unit_test(services_promise_what_the_file_says_or_they_themselves),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(the_host_finds_itself_by_its_name),
        cmocka_unit_test(a_node_that_is_no_member_may_be_allowed),
        cmocka_unit_test(a_child_has_no_gate),
        cmocka_unit_test(nine_members_fit),
        cmocka_unit_test(sixteen_services_fit),
        cmocka_unit_test(the_first_record_is_what_the_file_says),
        cmocka_unit_test(a_service_is_found_by_its_name),
    };

    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
