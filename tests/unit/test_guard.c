#include "cli/guard.h"

#include "base/clock.h"
#include "cli/cli.h"
#include "fence/lease.h"
#include "postgres/notes.h"
#include "tests/cm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder with settings, a run_dir with the fence's file, and a data directory, each test anew. */
static char folder[40], config[80], run_dir[80], data_dir[80], version_file[100], signal_file[100];
static char *out, *err;

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void write_config(const char *second_service)
{
    char text[1200];

    (void)snprintf(
        text, sizeof text,
        "cluster = \"main\";\nkey_file = \"%s/key\";\nnode = \"db1\";\n"
        "run_dir = \"%s\";\nstate_dir = \"%s\";\n"
        "members = ( { name = \"db1\"; address = \"127.0.0.1:7420\"; role = \"db\"; } );\n"
        "services = ( { name = \"pg\"; type = \"postgres\"; data_dir = \"%s\"; "
        "port = 5432; control = \"systemd:postgresql@15-main\"; } %s );\n",
        folder, run_dir, folder, data_dir, second_service);
    write_file(config, text);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/hamgr-guard-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(config, sizeof config, "%s/hamgr.conf", folder);
    (void)snprintf(run_dir, sizeof run_dir, "%s/run", folder);
    (void)snprintf(data_dir, sizeof data_dir, "%s/data", folder);
    (void)snprintf(version_file, sizeof version_file, "%s/PG_VERSION", data_dir);
    (void)snprintf(signal_file, sizeof signal_file, "%s/standby.signal", data_dir);
    if (mkdir(run_dir, 0700) != 0 || mkdir(data_dir, 0700) != 0)
        return -1;
    write_file(version_file, "15\n");
    write_config("");
    return 0;
}

static int end(void **state)
{
    char line[80];

    (void)state;
    free(out);
    free(err);
    out = NULL;
    err = NULL;
    (void)snprintf(line, sizeof line, "rm -r '%s'", folder);
    return system(line);
}

/* Runs `hamgr guard`; more: up to two further words. */
static enum ctl_exit guard(const char *option, const char *value)
{
    const char *argv[] = { "hamgr", "guard", "--config", config, option, value };
    int argc = option == NULL ? 4 : value == NULL ? 5 : 6;
    struct cli c = { .columns = 80 };
    size_t out_size, err_size;
    enum ctl_exit rc;

    free(out);
    free(err);
    c.out = open_memstream(&out, &out_size);
    c.err = open_memstream(&err, &err_size);
    rc = cli_run(argc, argv, &c);
    assert_int_equal(fclose(c.out), 0);
    assert_int_equal(fclose(c.err), 0);
    return rc;
}

static void save_lease(enum fence_mode mode, hm_ms left_ms)
{
    hm_ms until_ms = clock_boot_ms() + left_ms;
    struct lease l = { .mode = mode, .suspend_ms = until_ms - 100, .until_ms = until_ms };
    struct hm_err why;
    int dir = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(dir >= 0);
    if (lease_save(dir, "pg", &l, &why) != HM_OK)
        fail_msg("%s", why.text);
    (void)close(dir);
}

static bool is_standby(void)
{
    return access(signal_file, F_OK) == 0;
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

/* --- with and without the lease --------------------------------------------------------------- */

static void without_a_lease_the_copy_starts_as_a_standby(void **state)
{
    (void)state;
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    assert_string_equal(out,
                        "guard: pg: no lease: it starts as a standby (standby.signal written)\n");
    assert_true(is_standby());
    assert_int_equal(guard(NULL, NULL), CTL_DONE); /* again changes nothing */
    assert_string_equal(out, "guard: pg: no lease: it starts as a standby\n");
    assert_true(is_standby());
}

/* With the lease, too: that is of another time, or of another copy. */
static void a_half_made_copy_does_not_start(void **state)
{
    struct notes n = { .copy_id = 1, .is_rebuilding = true };
    struct hm_err why;
    char path[80];

    (void)state;
    save_lease(FENCE_LEASE, 60000);
    assert_int_equal(notes_save(folder, "pg", data_dir, &n, &why), HM_OK);
    assert_int_equal(guard(NULL, NULL), CTL_REFUSED);
    has(err, "half-made");
    has(err, "hamgr status");
    n.is_rebuilding = false;
    assert_int_equal(notes_save(folder, "pg", data_dir, &n, &why), HM_OK);
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    (void)snprintf(path, sizeof path, "%s/pg.copy", folder);
    write_file(path, "hamgr copy 1\ntorn");
    assert_int_equal(guard(NULL, NULL), CTL_FAILED);
    has(err, "is torn");
}

static void a_live_lease_leaves_the_copy_as_it_is(void **state)
{
    (void)state;
    save_lease(FENCE_LEASE, 60000);
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    has(out, "left as it is");
    assert_false(is_standby());
    write_file(signal_file, "");
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    assert_true(is_standby()); /* never removed: hamgrd promotes */
}

static void a_pause_leaves_the_copy_as_it_is(void **state)
{
    (void)state;
    save_lease(FENCE_PAUSED, 0);
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    assert_false(is_standby());
}

static void what_has_ended_is_no_lease(void **state)
{
    (void)state;
    save_lease(FENCE_LEASE, 0);
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    assert_true(is_standby());
}

static void other_modes_are_no_lease(void **state)
{
    static const enum fence_mode modes[] = { FENCE_NONE, FENCE_SUSPENDED, FENCE_STANDBY };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(modes); i++) {
        save_lease(modes[i], 60000);
        assert_int_equal(guard(NULL, NULL), CTL_DONE);
        assert_true(is_standby());
        assert_int_equal(unlink(signal_file), 0);
    }
}

static void a_garbled_lease_is_none_and_is_told(void **state)
{
    char path[100];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/pg.lease", run_dir);
    write_file(path, "no lease at all");
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    has(err, "taken for no lease");
    assert_true(is_standby());
}

static void before_the_first_start_of_the_fence_there_is_no_lease(void **state)
{
    (void)state;
    assert_int_equal(rmdir(run_dir), 0);
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    assert_string_equal(err, "");
    assert_true(is_standby());
}

/* --- the directory ---------------------------------------------------------------------------- */

static void where_no_database_is_nothing_is_done(void **state)
{
    (void)state;
    assert_int_equal(unlink(version_file), 0);
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    has(out, "no database there");
    assert_false(is_standby());
    assert_int_equal(rmdir(data_dir), 0);
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    has(out, "no database there");
}

static void the_file_belongs_to_the_owner_of_the_directory(void **state)
{
    struct stat st;

    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can write for another */
    assert_int_equal(chown(data_dir, 65534, 65533), 0);
    assert_int_equal(guard(NULL, NULL), CTL_DONE);
    assert_int_equal(stat(signal_file, &st), 0);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(st.st_gid, 65533);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void what_cannot_be_made_safe_must_not_start(void **state)
{
    (void)state;
    assert_int_equal(symlink("/nowhere", signal_file), 0);
    assert_int_equal(guard(NULL, NULL), CTL_FAILED);
    has(err, "is no plain file");
    has(err, "must not start");
    assert_int_equal(unlink(signal_file), 0);
    assert_int_equal(unlink(version_file), 0);
    assert_int_equal(rmdir(data_dir), 0);
    write_file(data_dir, "");
    assert_int_equal(guard(NULL, NULL), CTL_FAILED);
    has(err, "cannot open");
}

/* --- Redis ------------------------------------------------------------------------------------ */

static char redis_conf[80], include_file[100];

static void write_redis(const char *last_line)
{
    char second[400], text[400];

    (void)snprintf(redis_conf, sizeof redis_conf, "%s/redis.conf", folder);
    (void)snprintf(include_file, sizeof include_file, "%s/redis-cache.conf", run_dir);
    (void)snprintf(second, sizeof second,
                   ", { name = \"cache\"; type = \"redis\"; data_dir = \"%s/cache\"; "
                   "config_file = \"%s\"; socket = \"/s\"; control = \"systemd:redis-server\"; }",
                   folder, redis_conf);
    write_config(second);
    (void)snprintf(text, sizeof text, "port 6379\n%s", last_line);
    write_file(redis_conf, text);
}

/* The configuration ends in the include's path, with this before and behind it. */
static enum ctl_exit guard_redis(const char *before, const char *after)
{
    char line[300];

    write_redis("");
    (void)snprintf(line, sizeof line, "%s%s%s", before, include_file, after);
    write_redis(line);
    (void)unlink(include_file);
    return guard("--unit", "redis-server.service");
}

static void is_replica_of_nobody(void)
{
    char text[300] = "";
    struct stat st;
    int fd = open(include_file, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    assert_int_equal(fstat(fd, &st), 0);
    (void)close(fd);
    has(text, "\nreplicaof 127.0.0.1 1\nreplica-read-only yes\n");
    assert_int_equal(st.st_mode & 0777, 0644); /* Redis is another user */
}

static void redis_starts_as_a_replica_of_nobody(void **state)
{
    mode_t before = umask(077);

    (void)state;
    assert_int_equal(guard_redis("include ", "\n"), CTL_DONE);
    has(out, "guard: cache: it starts as a replica of nobody");
    is_replica_of_nobody();
    save_lease(FENCE_PAUSED, 0); /* the data live with the process: never, whoever has the lease */
    write_file(include_file, "replicaof no one\n");
    assert_int_equal(guard("cache", NULL), CTL_DONE);
    is_replica_of_nobody();
    (void)umask(before);
}

static void the_include_must_be_the_last_line(void **state)
{
    static const char *const good[][2] = { { "include ", "" },
                                           { "\tINCLUDE   \"", "\"  \r\n\n# the end\n\n" },
                                           { "include /x\ninclude '", "'\n" } };
    static const char *const bad[][2] = { { "# ", "\n" },         { "include ", "\nport 1\n" },
                                          { "# include ", "\n" }, { "include ", ".old\n" },
                                          { "includes ", "\n" },  { "include\n#", "\n" } };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(good); i++)
        assert_int_equal(guard_redis(good[i][0], good[i][1]), CTL_DONE);
    for (size_t i = 0; i < HM_ARRAY_LEN(bad); i++) {
        assert_int_equal(guard_redis(bad[i][0], bad[i][1]), CTL_FAILED);
        has(err, "must be: include ");
        has(err, include_file);
        is_replica_of_nobody(); /* it is there once the line is */
    }
    assert_int_equal(unlink(redis_conf), 0);
    assert_int_equal(guard("cache", NULL), CTL_FAILED);
    has(err, "cannot open");
}

static void without_a_place_for_the_include_redis_does_not_start(void **state)
{
    (void)state;
    write_redis("");
    assert_int_equal(rmdir(run_dir), 0);
    assert_int_equal(guard("cache", NULL), CTL_FAILED);
    has(err, "must not start");
}

/* --- which service ---------------------------------------------------------------------------- */

static void a_service_is_found_by_unit_directory_and_name(void **state)
{
    char dotted[100];

    (void)state;
    assert_int_equal(guard("--unit", "postgresql@15-main.service"), CTL_DONE);
    assert_true(is_standby());
    assert_int_equal(unlink(signal_file), 0);
    (void)snprintf(dotted, sizeof dotted, "%s/../data/", data_dir);
    assert_int_equal(guard("--data-dir", dotted), CTL_DONE);
    assert_true(is_standby());
    assert_int_equal(unlink(signal_file), 0);
    assert_int_equal(guard("--service", "pg"), CTL_DONE);
    assert_true(is_standby());
    assert_int_equal(unlink(signal_file), 0);
    assert_int_equal(guard("pg", NULL), CTL_DONE);
    assert_true(is_standby());
    assert_int_equal(guard("--service=pg", "pg"), CTL_USAGE);
}

static void what_is_not_of_hamgr_is_left_alone(void **state)
{
    (void)state;
    assert_int_equal(guard("--unit", "postgresql@15-other"), CTL_DONE);
    has(out, "postgresql@15-other is no service of hamgr");
    assert_int_equal(guard("--data-dir", "/var/lib/other"), CTL_DONE);
    assert_int_equal(guard("--service", "other"), CTL_USAGE);
    has(err, "there is no service 'other'\n");
    assert_false(is_standby());
}

static void of_several_services_one_must_be_named(void **state)
{
    char second[200];

    (void)state;
    (void)snprintf(
        second, sizeof second,
        ", { name = \"other\"; type = \"postgres\"; data_dir = \"%s/other\"; port = 5433; }",
        folder);
    write_config(second);
    assert_int_equal(guard(NULL, NULL), CTL_USAGE);
    has(err, "which service?");
    assert_int_equal(guard("--service", "pg"), CTL_DONE);
    assert_true(is_standby());
}

static void without_settings_a_directory_that_is_named_is_made_safe(void **state)
{
    (void)state;
    write_file(config, "frob = 1;\n");
    assert_int_equal(guard(NULL, NULL), CTL_FAILED);
    has(err, "without settings");
    assert_false(is_standby());
    save_lease(FENCE_LEASE, 60000); /* nobody can know whose */
    assert_int_equal(guard("--data-dir", data_dir), CTL_DONE);
    assert_true(is_standby());
}

static void where_hamgr_was_never_set_up_it_is_told_apart_from_lost_settings(void **state)
{
    (void)state;
    assert_false(guard_is_new_here(config, run_dir));
    assert_false(guard_is_new_here(config, "/tmp/hamgr-no-such"));
    assert_int_equal(unlink(config), 0);
    assert_false(guard_is_new_here(config, run_dir)); /* hamgrd has run: they are lost */
    assert_true(guard_is_new_here(config, "/tmp/hamgr-no-such"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_lease_the_copy_starts_as_a_standby),
        TEST(a_half_made_copy_does_not_start),
        TEST(a_live_lease_leaves_the_copy_as_it_is),
        TEST(a_pause_leaves_the_copy_as_it_is),
        TEST(what_has_ended_is_no_lease),
        TEST(other_modes_are_no_lease),
        TEST(a_garbled_lease_is_none_and_is_told),
        TEST(before_the_first_start_of_the_fence_there_is_no_lease),
        TEST(where_no_database_is_nothing_is_done),
        TEST(the_file_belongs_to_the_owner_of_the_directory),
        TEST(what_cannot_be_made_safe_must_not_start),
        TEST(redis_starts_as_a_replica_of_nobody),
        TEST(the_include_must_be_the_last_line),
        TEST(without_a_place_for_the_include_redis_does_not_start),
        TEST(a_service_is_found_by_unit_directory_and_name),
        TEST(what_is_not_of_hamgr_is_left_alone),
        TEST(of_several_services_one_must_be_named),
        TEST(without_settings_a_directory_that_is_named_is_made_safe),
        TEST(where_hamgr_was_never_set_up_it_is_told_apart_from_lost_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
