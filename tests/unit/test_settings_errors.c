#include "settings/settings.h"

#include "tests/unit/settings_file.h"

/* A wrong line behind a good file (it is line 8), and what is said of it. */
static void lines_are_told(const char *const (*lines)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char text[2048], told[2048];

        (void)snprintf(text, sizeof text, "%s%s", GOOD, lines[i][0]);
        (void)snprintf(told, sizeof told, "%s%s%s", lines[i][1][0] != '\0' ? "f:8: " : "",
                       lines[i][1], lines[i][1][0] != '\0' ? "\n" : "");
        assert_string_equal(load_told(text), told);
    }
}

/* The same for the insides of a second member, or of a second service. */
static void fields_are_told(const char *before, const char *line, const char *const (*fields)[2],
                            size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char text[2048], told[2048];

        (void)snprintf(text, sizeof text, "%s%s%s", before, fields[i][0], " } );\n");
        (void)snprintf(told, sizeof told, "%s%s%s", fields[i][1][0] != '\0' ? line : "",
                       fields[i][1], fields[i][1][0] != '\0' ? "\n" : "");
        assert_string_equal(load_told(text), told);
    }
}

#define THIRTY_ONE "a234567890123456789012345678901"
#define LINES(...)                                                                                 \
    do {                                                                                           \
        static const char *const lines[][2] = { __VA_ARGS__ };                                     \
                                                                                                   \
        (void)state;                                                                               \
        lines_are_told(lines, HM_ARRAY_LEN(lines));                                                \
    } while (0)
#define MEMBER_FIELDS(...)                                                                         \
    do {                                                                                           \
        static const char *const fields[][2] = { __VA_ARGS__ };                                    \
                                                                                                   \
        (void)state;                                                                               \
        fields_are_told(TOP_LINES SERVICE_LINES                                                    \
                        "members = ( { name = \"db1\"; address = \"10.0.0.1:7420\"; },\n{ ",       \
                        "f:5: ", fields, HM_ARRAY_LEN(fields));                                    \
    } while (0)
#define SERVICE_FIELDS(...)                                                                        \
    do {                                                                                           \
        static const char *const fields[][2] = { __VA_ARGS__ };                                    \
                                                                                                   \
        (void)state;                                                                               \
        fields_are_told(TOP_LINES MEMBER_LINES "services = ( { type = \"postgres\"; name = "       \
                                               "\"pg\"; data_dir = \"/d\"; },\n{ ",                \
                        "f:8: ", fields, HM_ARRAY_LEN(fields));                                    \
    } while (0)

static void unknown_settings_are_told_with_what_was_meant(void **state)
{
    LINES({ "hartbeat_ms = 100;", "unknown setting 'hartbeat_ms', did you mean 'heartbeat_ms'?" },
          { "heart_beat_ms = 1;", "unknown setting 'heart_beat_ms', did you mean 'heartbeat_ms'?" },
          { "tlt_ms = 1500;", "unknown setting 'tlt_ms', did you mean 'ttl_ms'?" },
          { "nod = \"x\";", "unknown setting 'nod', did you mean 'node'?" },
          { "keyfile = \"x\";", "unknown setting 'keyfile', did you mean 'key_file'?" },
          { "Gate = true;", "unknown setting 'Gate', did you mean 'gate'?" },
          { "colour = 1;", "unknown setting 'colour'" }, { "x = 1;", "unknown setting 'x'" },
          { "data_dir = \"/x\";", "unknown setting 'data_dir': it belongs into a service" },
          { "priority = 1;", "unknown setting 'priority': it belongs into a member" },
          { "an_unknown_name_that_is_very_long_indeed_so_long_that_it_must_be_cut_off = 1;",
            "unknown setting 'an_unknown_name_that_is_very_long_indeed_so_long_that_it_mus'" },
          { "http = \"[::]:80\";", "unknown setting 'http'" });
}

static void unknown_settings_of_entries_are_told_with_their_list(void **state)
{
    MEMBER_FIELDS(
        { "name = \"b\"; address = \"h:1\"; rol = \"db\";",
          "members: unknown setting 'rol', did you mean 'role'?" },
        { "name = \"b\"; address = \"h:1\"; nofail = true;", "members: unknown setting 'nofail'" },
        { "name = \"b\"; address = \"h:1\"; timing = \"lan\";",
          "members: unknown setting 'timing': it belongs outside of the list" });
}

static void unknown_settings_of_services_are_told(void **state)
{
    SERVICE_FIELDS({ "type = \"postgres\"; name = \"b\"; data_dir = \"/b\"; port = 2; prot = 5;",
                     "services: unknown setting 'prot', did you mean 'port'?" },
                   { "type = \"postgres\"; name = \"b\"; data_dir = \"/b\"; port = 2; gate = true;",
                     "services: unknown setting 'gate': it belongs outside of the list" });
}

static void a_wrong_type_is_told_with_what_was_found(void **state)
{
    LINES({ "node = 5;", "node: expected a text in quotes, found the number 5" },
          { "node = true;", "node: expected a text in quotes, found true" },
          { "node = 1.5;", "node: expected a text in quotes, found the number 1.5" },
          { "node = { };", "node: expected a text in quotes, found a group in { }" },
          { "node = ( );", "node: expected a text in quotes, found a list in ( )" },
          { "node = [ ];", "node: expected a text in quotes, found an array in [ ]" },
          { "ttl_ms = \"5\";", "ttl_ms: expected a number, found the text '5'" },
          { "ttl_ms = 5.0;", "ttl_ms: expected a number, found the number 5" },
          { "ttl_ms = false;", "ttl_ms: expected a number, found false" },
          { "gate = 1;", "gate: expected true or false, found the number 1" },
          { "gate = \"yes\";", "gate: expected true or false, found the text 'yes'" },
          { "max_lag_bytes = true;",
            "max_lag_bytes: expected a number of bytes or a text like \"16MB\", found true" },
          { "timing = 1;", "timing: expected a text in quotes, found the number 1" },
          { "state_dir = 1;", "state_dir: expected a text in quotes, found the number 1" });
}

static void lists_and_groups_are_told_apart(void **state)
{
    (void)state;
    assert_string_equal(load_told(TOP_LINES SERVICE_LINES "members = { };"),
                        "f:4: members: expected a list in ( ), found a group in { }\n");
    assert_string_equal(load_told(TOP_LINES SERVICE_LINES "members = \"x\";"),
                        "f:4: members: expected a list in ( ), found the text 'x'\n");
    assert_string_equal(load_told(TOP_LINES MEMBER_LINES "services = [ 1, 2 ];"),
                        "f:7: services: expected a list in ( ), found an array in [ ]\n");
    assert_string_equal(load_told(TOP_LINES MEMBER_LINES "services = ( 1,\n\"x\" );"),
                        "f:7: services: expected a group in { }, found the number 1\n"
                        "f:8: services: expected a group in { }, found the text 'x'\n");
    assert_string_equal(load_told(TOP_LINES SERVICE_LINES "members = ( );"),
                        "f:4: members: is empty\n");
    assert_string_equal(load_told(TOP_LINES MEMBER_LINES "services = ( );"),
                        "f:7: services: is empty\n");
}

static void numbers_have_limits(void **state)
{
    LINES(
        { "ttl_ms = 20;", "ttl_ms: 20 is below the minimum 400" },
        { "ttl_ms = 399; heartbeat_ms = 20;", "ttl_ms: 399 is below the minimum 400" },
        { "ttl_ms = 400; heartbeat_ms = 133;", "" }, { "ttl_ms = 600000;", "" },
        { "ttl_ms = 600001;", "ttl_ms: 600001 is above the maximum 600000" },
        { "ttl_ms = -1;", "ttl_ms: -1 is below the minimum 400" },
        { "ttl_ms = 4294967296;", "ttl_ms: 4294967296 is above the maximum 600000" },
        { "heartbeat_ms = 19;", "heartbeat_ms: 19 is below the minimum 20" },
        { "heartbeat_ms = 20;", "" }, { "heartbeat_ms = 200000; ttl_ms = 600000;", "" },
        { "heartbeat_ms = 200001; ttl_ms = 600000;",
          "heartbeat_ms: 200001 is above the maximum 200000" },
        { "fence_margin_ms = 9;", "fence_margin_ms: 9 is below the minimum 10" },
        { "fence_margin_ms = 10;", "" }, { "freeze_timeout_ms = 50;", "" },
        { "freeze_timeout_ms = 49;", "freeze_timeout_ms: 49 is below the minimum 50" },
        { "freeze_timeout_ms = 600001;", "freeze_timeout_ms: 600001 is above the maximum 600000" },
        { "check_interval_ms = 49;", "check_interval_ms: 49 is below the minimum 50" },
        { "check_interval_ms = 50;", "" },
        { "check_timeout_ms = 99;", "check_timeout_ms: 99 is below the minimum 100" },
        { "check_timeout_ms = 100;", "" },
        { "stall_timeout_ms = 499;", "stall_timeout_ms: 499 is below the minimum 500" },
        { "stall_timeout_ms = 500;", "" },
        { "crash_wait_ms = -1;", "crash_wait_ms: -1 is below the minimum 0" },
        { "crash_wait_ms = 600000;", "" },
        { "crash_wait_ms = 600001;", "crash_wait_ms: 600001 is above the maximum 600000" },
        { "sync_standbys = 0;", "sync_standbys: 0 is below the minimum 1" },
        { "sync_standbys = 8;", "" },
        { "sync_standbys = 9;", "sync_standbys: 9 is above the maximum 8" });
}

static void sizes_have_limits(void **state)
{
    LINES({ "max_lag_bytes = -1;", "max_lag_bytes: -1 is below the minimum 0" },
          { "max_lag_bytes = \"1025TB\";", "max_lag_bytes: 1025TB is above the maximum 1024TB" },
          { "max_lag_bytes = \"99999999999999999999999999TB\";",
            "max_lag_bytes: 99999999999999999999999999TB is above the maximum 1024TB" },
          { "max_lag_bytes = 1125899906842624;", "" },
          { "max_lag_bytes = 1125899906842625;",
            "max_lag_bytes: 1125899906842625 is above the maximum 1024TB" },
          { "max_lag_bytes = \"16XB\";",
            "max_lag_bytes: '16XB' is no size: write bytes, or a number with kB, MB, GB or TB" },
          { "max_lag_bytes = \"MB\";",
            "max_lag_bytes: 'MB' is no size: write bytes, or a number with kB, MB, GB or TB" },
          { "max_lag_bytes = \"-1MB\";",
            "max_lag_bytes: '-1MB' is no size: write bytes, or a number with kB, MB, GB or TB" },
          { "max_lag_bytes = \"1.5MB\";",
            "max_lag_bytes: '1.5MB' is no size: write bytes, or a number with kB, MB, GB or TB" },
          { "max_lag_bytes = \"\";", "max_lag_bytes: is empty" });
}

static void times_must_fit_together(void **state)
{
    LINES({ "ttl_ms = 750;", "" },
          { "ttl_ms = 749;", "ttl_ms: 749 is less than three times heartbeat_ms (250)" },
          { "heartbeat_ms = 500;", "" },
          { "heartbeat_ms = 501;", "ttl_ms: 1500 is less than three times heartbeat_ms (501)" },
          { "fence_margin_ms = 499;", "" },
          { "fence_margin_ms = 500;",
            "fence_margin_ms: 500 is not less than a third of ttl_ms (1500)" },
          { "timing = \"wan\"; ttl_ms = 2999;",
            "ttl_ms: 2999 is less than three times heartbeat_ms (1000)" },
          { "timing = \"wan\"; heartbeat_ms = 100; ttl_ms = 900;",
            "fence_margin_ms: 300 is not less than a third of ttl_ms (900)" },
          /* Of a value that is wrong by itself nothing else is said. */
          { "ttl_ms = 1; heartbeat_ms = 5000;", "ttl_ms: 1 is below the minimum 400" });
}

static void choices_are_named(void **state)
{
    LINES({ "timing = \"fast\";", "timing: 'fast' is none of: default, lan, wan" },
          { "timing = \"LAN\";", "timing: 'LAN' is none of: default, lan, wan" },
          { "durability = \"full\";", "durability: 'full' is none of: async, sync, strict" },
          { "fence = \"none\";", "fence: 'none' is none of: socket, child" },
          { "fence = \"\";", "fence: is empty" });
}

static void names_have_a_form(void **state)
{
    LINES({ "node = \"\";", "node: is empty" },
          { "node = \"-a\";", "node: '-a' does not begin with a letter or a digit" },
          { "node = \".\";", "node: '.' does not begin with a letter or a digit" },
          { "node = \"a b\";",
            "node: 'a b' has something else than letters, digits, '.', '_' and '-'" },
          { "node = \"a/b\";",
            "node: 'a/b' has something else than letters, digits, '.', '_' and '-'" },
          { "node = \"b\xc3\xa4r\";",
            "node: 'b\xc3\xa4r' has something else than letters, digits, '.', '_' and '-'" },
          { "node = \"a\\nb\";", "node: has a control character" }, { "node = \"9.A_z-\";", "" },
          { "node = \"" THIRTY_ONE "\";", "" },
          { "node = \"" THIRTY_ONE "2\";",
            "node: 'a23456789012345678901234567890...' is longer than 31 characters" });
}

static void paths_have_a_form(void **state)
{
    LINES({ "state_dir = \"var/lib\";", "state_dir: 'var/lib' does not begin with '/'" },
          { "state_dir = \"/a\\tb\";", "state_dir: has a control character" },
          { "watchdog = \"\";", "watchdog: is empty" });
}

static void texts_have_a_greatest_length(void **state)
{
    static const struct {
        const char *setting, *before, *after;
        size_t most;
    } longest[] = {
        { "cluster", "", "", 31 },
        { "state_dir", "/", "", 255 },
        { "key_file", "/", "", 255 },
        { "run_dir", "/", "", 90 }, /* sockets in it */
        { "services.socket_dir", "/", "", 92 },
        { "services.data_dir", "/", "", 255 },
        { "services.dbname", "", "", 31 },
        { "members.address", "", ":7420", 63 },
    };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(longest); i++) {
        const char *dot = strchr(longest[i].setting, '.');
        const char *name = dot != NULL ? dot + 1 : longest[i].setting;
        size_t fixed = strlen(longest[i].before) + strlen(longest[i].after);
        char value[600], text[2048], told[1024], x[300];

        for (size_t n = longest[i].most; n <= longest[i].most + 1; n++) {
            memset(x, 'x', sizeof x);
            (void)snprintf(value, sizeof value, "%s%.*s%s", longest[i].before, (int)(n - fixed), x,
                           longest[i].after);
            (void)snprintf(text, sizeof text,
                           "%s = \"%s\";\n"
                           "%s%smembers = ( { name = \"a\"; %s = \"%s\";%s } );\n"
                           "services = ( { name = \"a\"; type = \"postgres\"; %s = \"%s\";%s } );",
                           dot == NULL ? name : "timing", dot == NULL ? value : "lan",
                           strcmp(name, "cluster") == 0 ? "" : "cluster = \"c\";\n",
                           strcmp(name, "key_file") == 0 ? "" : "key_file = \"/k\";\n",
                           strcmp(name, "address") == 0 ? name : "role",
                           strcmp(name, "address") == 0 ? value : "db",
                           strcmp(name, "address") == 0 ? "" : " address = \"h:1\";",
                           dot != NULL && longest[i].setting[0] == 's' ? name : "passfile",
                           dot != NULL && longest[i].setting[0] == 's' ? value : "/p",
                           strcmp(name, "data_dir") == 0 ? "" : " data_dir = \"/d\";");
            (void)snprintf(told, sizeof told, "%s: '%.30s...' is longer than %zu characters",
                           longest[i].setting, value, longest[i].most);
            if (n == longest[i].most)
                assert_string_equal(load_told(text), "");
            else
                assert_non_null(strstr(load_told(text), told));
        }
    }
}

static void addresses_have_a_form(void **state)
{
#define NAMED(address) "name = \"b\"; address = \"" address "\";"
    MEMBER_FIELDS(
        { NAMED("10.0.0.2:1"), "" }, { NAMED("db-2.example_x.com:65535"), "" },
        { NAMED("[::1]:7420"), "" }, { NAMED("[fe80::1%eth0.1]:7420"), "" },
        { NAMED("10.0.0.2"), "members.address: '10.0.0.2' is not HOST:PORT" },
        { NAMED(":7420"), "members.address: ':7420' is not HOST:PORT" },
        { NAMED("[::1]"), "members.address: '[::1]' is not HOST:PORT" },
        { NAMED("[]:7420"), "members.address: '[]:7420' is not HOST:PORT" },
        { NAMED("fd00::1:7420"),
          "members.address: 'fd00::1:7420': an IPv6 address stands in brackets: [HOST]:PORT" },
        { NAMED("h:"), "members.address: the port of 'h:' is no number from 1 to 65535" },
        { NAMED("h:0"), "members.address: the port of 'h:0' is no number from 1 to 65535" },
        { NAMED("h:65536"), "members.address: the port of 'h:65536' is no number from 1 to 65535" },
        { NAMED("h:7420x"), "members.address: the port of 'h:7420x' is no number from 1 to 65535" },
        { NAMED("h:+1"), "members.address: the port of 'h:+1' is no number from 1 to 65535" },
        { NAMED("h:000001"),
          "members.address: the port of 'h:000001' is no number from 1 to 65535" },
        { NAMED("10.0.0.256:1"), "members.address: '10.0.0.256' is no IPv4 address" },
        { NAMED("10.0.0:1"), "members.address: '10.0.0' is no IPv4 address" },
        { NAMED("[10.0.0.1]:1"), "members.address: '10.0.0.1' is no IPv6 address" },
        { NAMED("[fd00::x]:1"), "members.address: 'fd00::x' is no IPv6 address" },
        { NAMED("[fe80::1%]:1"), "members.address: 'fe80::1%' is no IPv6 address" },
        { NAMED("a b:1"), "members.address: 'a b' is neither the name nor the address of a host" },
        { NAMED("-h:1"), "members.address: '-h' is neither the name nor the address of a host" },
        { NAMED("0.0.0.0:7420"),
          "members.address: '0.0.0.0:7420' is not where the others reach it" },
        { NAMED("[::]:7420"), "members.address: '[::]:7420' is not where the others reach it" },
        { NAMED("[0:0::0]:1"), "members.address: '[0:0::0]:1' is not where the others reach it" },
        { NAMED("h/x:1"), "members.address: 'h/x' is neither the name nor the address of a host" });
}

static void members_must_differ(void **state)
{
    MEMBER_FIELDS(
        { "name = \"db1\"; address = \"10.0.0.2:7420\";",
          "members.name: there are two members named 'db1'" },
        { "name = \"DB1\"; address = \"10.0.0.2:7420\";",
          "members.name: 'db1' and 'DB1' would have the same replication slot" },
        { "name = \"db1\"; address = \"h:1\"; }, { name = \"db1\"; address = \"h:2\";",
          "members.name: there are two members named 'db1'\n"
          "f:5: members.name: there are two members named 'db1'" },
        { "name = \"a-b\"; address = \"h:1\"; }, { name = \"a.b\"; address = \"h:2\";",
          "members.name: 'a-b' and 'a.b' would have the same replication slot" },
        { "name = \"a_b\"; address = \"h:1\"; }, { name = \"a-B\"; address = \"h:2\";",
          "members.name: 'a_b' and 'a-B' would have the same replication slot" },
        { "name = \"a_b\"; address = \"h:1\"; }, { name = \"ab\"; address = \"h:2\";", "" },
        { "name = \"b\"; address = \"10.0.0.1:7420\";",
          "members.address: '10.0.0.1:7420' is the address of 'db1' already" },
        { "name = \"b\"; address = \"10.0.0.1:7421\";", "" },
        { "name = \"b\"; address = \"[::1]:1\"; }, { name = \"c\"; address = \"[0:0::1]:1\";",
          "members.address: '[0:0::1]:1' is the address of 'b' already" },
        { "name = \"b\"; address = \"Host:1\"; }, { name = \"c\"; address = \"host:1\";",
          "members.address: 'host:1' is the address of 'b' already" });
}

static void entries_need_their_settings(void **state)
{
    MEMBER_FIELDS({ "address = \"h:1\";", "members.name: missing" },
                  { "name = \"b\";", "members.address: missing" },
                  { "", "members.name: missing\nf:5: members.address: missing" },
                  { "name = \"b\"; address = \"h:1\"; role = \"boss\";",
                    "members.role: 'boss' is none of: db, witness" },
                  { "name = \"b\"; address = \"h:1\"; priority = 1001;",
                    "members.priority: 1001 is above the maximum 1000" },
                  { "name = \"b\"; address = \"h:1\"; priority = 1000;", "" },
                  { "name = \"b\"; address = \"h:1\"; priority = -1001;",
                    "members.priority: -1001 is below the minimum -1000" });
}

#define SECOND "type = \"postgres\"; name = \"b\"; "

static void services_need_their_settings(void **state)
{
    SERVICE_FIELDS(
        { SECOND "port = 1;", "services.data_dir: missing" },
        { "name = \"b\"; data_dir = \"/b\"; port = 1;", "services.type: missing" },
        { "type = \"postgres\"; data_dir = \"/b\"; port = 1;", "services.name: missing" },
        { "type = \"mysql\"; name = \"b\"; data_dir = \"/b\"; port = 1;",
          "services.type: 'mysql' is none of: postgres, redis" },
        { SECOND "data_dir = \"b\"; port = 1;", "services.data_dir: 'b' does not begin with '/'" },
        { SECOND "data_dir = \"/b\"; port = 0;", "services.port: 0 is below the minimum 1" },
        { SECOND "data_dir = \"/b\"; port = 65536;",
          "services.port: 65536 is above the maximum 65535" },
        { SECOND "data_dir = \"/b\"; port = 65535;", "" },
        { SECOND "data_dir = \"/b\"; port = 1; user = \"\";", "services.user: is empty" },
        { SECOND "data_dir = \"/b\"; port = 1; user = \"" THIRTY_ONE "\";", "" },
        { SECOND "data_dir = \"/b\"; port = 1; user = \"" THIRTY_ONE "2\";",
          "services.user: 'a23456789012345678901234567890...' is longer than 31 characters" },
        { SECOND "data_dir = \"/b\"; port = 1; durability = \"x\";",
          "services.durability: 'x' is none of: async, sync, strict" },
        { SECOND "data_dir = \"/b\"; port = 1; sync_standbys = 9;",
          "services.sync_standbys: 9 is above the maximum 8" },
        { SECOND "data_dir = \"/b\"; port = 1; max_lag_bytes = \"x\";",
          "services.max_lag_bytes: 'x' is no size: write bytes, or a number with kB, MB, GB or "
          "TB" });
}

static void the_control_of_a_service_has_a_form(void **state)
{
#define CONTROL(text) SECOND "data_dir = \"/b\"; port = 1; control = \"" text "\";"
#define SIXTY "u23456789012345678901234567890123456789012345678901234567890"
    SERVICE_FIELDS(
        { CONTROL("pg_ctl"), "" }, { CONTROL("systemd:a@b-1.service"), "" },
        { CONTROL("systemd:postgresql@15-main\\\\x2d:_"), "" },
        { CONTROL("systemd"),
          "services.control: 'systemd' is neither 'pg_ctl' nor 'systemd:UNIT'" },
        { CONTROL("PG_CTL"), "services.control: 'PG_CTL' is neither 'pg_ctl' nor 'systemd:UNIT'" },
        { CONTROL("systemd:"), "services.control: '' is no name of a unit" },
        { CONTROL("systemd:-x"), "services.control: '-x' is no name of a unit" },
        { CONTROL("systemd:a b"), "services.control: 'a b' is no name of a unit" },
        { CONTROL("systemd:a;b"), "services.control: 'a;b' is no name of a unit" },
        { CONTROL("systemd:../x"), "services.control: '../x' is no name of a unit" },
        { CONTROL("systemd:" SIXTY "123"), "" },
        { CONTROL("systemd:" SIXTY "1234"),
          "services.control: the unit's name is longer than 63 characters" });
}

#define REDIS "type = \"redis\"; name = \"r\"; data_dir = \"/r\"; "

static void redis_has_settings_of_its_own(void **state)
{
#define REDIS_CONTROL(text) REDIS "config_file = \"/c\"; socket = \"/s\"; control = \"" text "\";"
    SERVICE_FIELDS(
        { REDIS "config_file = \"/c\"; socket = \"/s\";", "" },
        { REDIS "socket = \"/s\";", "services.config_file: missing" },
        { REDIS "config_file = \"/c\";", "services.socket: missing" },
        { REDIS "config_file = \"/c\"; socket = \"/s\"; user = \"u\"; passfile = \"/p\";", "" },
        { REDIS_CONTROL("redis-server"), "" }, { REDIS_CONTROL("systemd:redis"), "" },
        { REDIS_CONTROL("pg_ctl"),
          "services.control: 'pg_ctl' is neither 'redis-server' nor 'systemd:UNIT'" },
        { SECOND "data_dir = \"/b\"; port = 1; control = \"redis-server\";",
          "services.control: 'redis-server' is neither 'pg_ctl' nor 'systemd:UNIT'" },
        { REDIS "config_file = \"/c\"; socket = \"/s\"; socket_dir = \"/s\";",
          "services: unknown setting 'socket_dir': it belongs into a service of type postgres" },
        { REDIS "config_file = \"/c\"; socket = \"/s\"; slot_max_bytes = 1;",
          "services: unknown setting 'slot_max_bytes': it belongs into a service of type "
          "postgres" },
        { SECOND "data_dir = \"/b\"; port = 1; socket = \"/s\";",
          "services: unknown setting 'socket': it belongs into a service of type redis" },
        { REDIS "config_file = \"/c\"; socket = \"/s\"; sokcet = \"/t\";",
          "services: unknown setting 'sokcet', did you mean 'socket'?" });
}

static void redis_servers_must_differ(void **state)
{
#define OTHER "type = \"redis\"; name = \"q\"; "
    SERVICE_FIELDS({ REDIS "config_file = \"/c\"; socket = \"/s\"; }, { " OTHER
                           "data_dir = \"/q\"; port = 2; "
                           "config_file = \"/cq\"; socket = \"/sq\";",
                     "" },
                   { REDIS "config_file = \"/c\"; socket = \"/s\"; }, { " OTHER
                           "data_dir = \"/q\"; config_file = \"/cq\"; socket = \"/sq\";",
                     "services.port: 6379 is that of 'r' already" },
                   { REDIS "config_file = \"/c\"; socket = \"/s\"; }, { " OTHER
                           "data_dir = \"/r\"; port = 2; config_file = \"/cq\"; socket = \"/sq\";",
                     "services.data_dir: '/r' is that of 'r' already" },
                   { REDIS "config_file = \"/c\"; socket = \"/s\"; }, { " OTHER
                           "data_dir = \"/q\"; port = 2; config_file = \"/c\"; socket = \"/sq\";",
                     "services.config_file: '/c' is that of 'r' already" },
                   { REDIS "config_file = \"/c\"; socket = \"/s\"; }, { " OTHER
                           "data_dir = \"/q\"; port = 2; config_file = \"/cq\"; socket = \"/s\";",
                     "services.socket: '/s' is that of 'r' already" });
}

static void services_must_differ(void **state)
{
    SERVICE_FIELDS(
        { "type = \"postgres\"; name = \"pg\"; data_dir = \"/b\"; port = 1;",
          "services.name: there are two services named 'pg'" },
        { SECOND "data_dir = \"/d/\"; port = 1;",
          "services.data_dir: '/d' is that of 'pg' already" },
        { SECOND "data_dir = \"/b\";", "services.port: 5432 is that of 'pg' already" },
        { SECOND
          "data_dir = \"/b\"; port = 1; control = \"systemd:u.service\"; }, { type = \"postgres\"; "
          "name = \"c\"; data_dir = \"/c\"; port = 2; control = \"systemd:u\";",
          "services.control: 'u' is that of 'b' already" });
}

static void strict_needs_enough_standbys(void **state)
{
    LINES({ "durability = \"strict\";", "" }, { "durability = \"sync\"; sync_standbys = 2;", "" });
    assert_string_equal(load_told(GOOD "durability = \"strict\"; sync_standbys = 2;"),
                        "f:7: services.sync_standbys: 'pg' is strict and wants 2, but there are 1 "
                        "other db members\n");
}

static void one_member_must_be_able_to_lead(void **state)
{
    (void)state;
    assert_string_equal(load_told(TOP_LINES SERVICE_LINES
                                  "\nmembers = ( { name = \"w\"; address = \"h:1\"; role = "
                                  "\"witness\"; } );"),
                        "f:5: members: none has role = \"db\"\n");
}

static void what_is_missing_is_told_first(void **state)
{
    (void)state;
    assert_string_equal(load_told(""), "f: cluster: missing\nf: key_file: missing\n"
                                       "f: members: missing\nf: services: missing\n");
    assert_string_equal(load_told("gate = 1;\n" MEMBER_LINES SERVICE_LINES),
                        "f: cluster: missing\nf: key_file: missing\n"
                        "f:1: gate: expected true or false, found the number 1\n");
}

static void all_errors_are_told_in_the_order_of_the_file(void **state)
{
    (void)state;
    assert_string_equal(load_told("hartbeat_ms = 5;\n"
                                  "services = (\n"
                                  "  { type = \"postgres\"; name = \"a\";\n"
                                  "    data_dir = \"/a\"; prot = 1; } );\n"
                                  "key_file = \"k\";\n"
                                  "members = (\n"
                                  "  { name = \"a\"; address = \"h\";\n"
                                  "    role = 5; } );\n"
                                  "ttl_ms = 1;\n"),
                        "f: cluster: missing\n"
                        "f:1: unknown setting 'hartbeat_ms', did you mean 'heartbeat_ms'?\n"
                        "f:4: services: unknown setting 'prot', did you mean 'port'?\n"
                        "f:5: key_file: 'k' does not begin with '/'\n"
                        "f:7: members.address: 'h' is not HOST:PORT\n"
                        "f:8: members.role: expected a text in quotes, found the number 5\n"
                        "f:9: ttl_ms: 1 is below the minimum 400\n");
}

static void a_syntax_error_is_told_with_its_line(void **state)
{
    LINES({ "ttl_ms = ;", "syntax error" }, { "ttl_ms 5", "syntax error" },
          { "timing = \"lan;\nuser = \"a\";\n", "a text in quotes does not end in its line" },
          { "timing = \"lan", "a text in quotes does not end in its line" },
          { "timing = \"lan\\\";", "a text in quotes does not end in its line" },
          { "\"", "a text in quotes does not end in its line" },
          { "/* x\n", "a comment has no end" }, { "/*/", "a comment has no end" }, { "/**/", "" },
          { "gate = true; gate = true;", "duplicate setting name" });
    assert_string_equal(load_told("cluster = \"a\";\n\ngate = yes;\n"), "f:3: syntax error\n");
}

static void other_files_are_not_read(void **state)
{
    LINES({ "@include \"/etc/passwd\"", "@include: all settings stand in one file" },
          { "  @include \"x\"", "@include: all settings stand in one file" },
          { "# @include \"x\"", "" }, { "/* \n@include \"x\"\n */", "" },
          { "// @include \"x\"", "" });
    assert_string_equal(load_told(GOOD "user = \"@include\";"), "");
}

static void a_text_from_outside_cannot_forge_a_line(void **state)
{
    LINES({ "timing = \"x\\nf:9: y\";", "timing: 'x?f:9: y' is none of: default, lan, wan" });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_settings_are_told_with_what_was_meant),
        cmocka_unit_test(unknown_settings_of_entries_are_told_with_their_list),
        cmocka_unit_test(unknown_settings_of_services_are_told),
        cmocka_unit_test(a_wrong_type_is_told_with_what_was_found),
        cmocka_unit_test(lists_and_groups_are_told_apart),
        cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(times_must_fit_together),
        cmocka_unit_test(choices_are_named),
        cmocka_unit_test(names_have_a_form),
        cmocka_unit_test(paths_have_a_form),
        cmocka_unit_test(texts_have_a_greatest_length),
        cmocka_unit_test(addresses_have_a_form),
        cmocka_unit_test(members_must_differ),
        cmocka_unit_test(entries_need_their_settings),
        cmocka_unit_test(services_need_their_settings),
        cmocka_unit_test(the_control_of_a_service_has_a_form),
        cmocka_unit_test(services_must_differ),
        cmocka_unit_test(redis_has_settings_of_its_own),
        cmocka_unit_test(redis_servers_must_differ),
        cmocka_unit_test(strict_needs_enough_standbys),
        cmocka_unit_test(one_member_must_be_able_to_lead),
        cmocka_unit_test(what_is_missing_is_told_first),
        cmocka_unit_test(all_errors_are_told_in_the_order_of_the_file),
        cmocka_unit_test(a_syntax_error_is_told_with_its_line),
        cmocka_unit_test(other_files_are_not_read),
        cmocka_unit_test(a_text_from_outside_cannot_forge_a_line),
    };

    return cmocka_run_group_tests_name("settings errors", tests, NULL, NULL);
}
