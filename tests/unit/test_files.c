/* The files and programs that settings name. */
#include "settings/settings.h"

#include "tests/unit/settings_file.h"

static char folder[32];
static struct settings s;

static const char *in_folder(const char *name)
{
    static char path[64];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/files.XXXXXX");
    s = load_good(GOOD);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int end(void **state)
{
    char command[64];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command); /* the folder's name is ours */
}

static void made(const char *name, mode_t mode)
{
    files_write(in_folder(name), "*:*:*:*:secret\n");
    assert_int_equal(chmod(in_folder(name), mode), 0);
}

/* The one error, in three pieces. */
static void tells(const char *before, const char *path, const char *after)
{
    struct settings_errors e;
    char expected[256];
    enum hm_rc rc = settings_check_files(&s, &e);

    (void)snprintf(expected, sizeof expected, "%s%s%s", before, path, after);
    assert_int_equal(rc, e.n == 0 ? HM_OK : HM_BAD_INPUT);
    assert_string_equal(files_told(&e), expected);
}

static void what_is_not_named_is_not_missed(void **state)
{
    (void)state;
    tells("", "", "");
}

static void a_password_file_is_read_and_nobody_elses(void **state)
{
    struct settings_service *pg = &s.service[0];

    (void)state;
    (void)snprintf(pg->passfile, sizeof pg->passfile, "%s", in_folder("pass"));
    tells("f: pg: passfile: '", pg->passfile, "' cannot be read: No such file or directory\n");
    made("pass", 0640);
    tells("f: pg: passfile: '", pg->passfile,
          "' is not used while others than its owner may read it: chmod 600\n");
    made("pass", 0600);
    tells("", "", "");
    (void)snprintf(pg->passfile, sizeof pg->passfile, "%s", folder);
    tells("f: pg: passfile: '", folder, "' is no file\n");
    pg->kind = SERVICE_REDIS; /* hamgrd reads it by itself, and needs a line in it */
    (void)snprintf(pg->passfile, sizeof pg->passfile, "%s", in_folder("pass"));
    made("pass", 0640);
    tells("", "", "");
    files_write(in_folder("pass"), "");
    tells("f: pg: passfile: '", pg->passfile, "' is empty\n");
}

static void clients_of_redis_need_their_password(void **state)
{
    (void)state;
    (void)snprintf(s.sentinel_password_file, sizeof s.sentinel_password_file, "%s",
                   in_folder("sentinel"));
    tells("f: sentinel_password_file: '", s.sentinel_password_file,
          "' cannot be read: No such file or directory\n");
    made("sentinel", 0600);
    tells("", "", "");
}

static void programs_are_where_they_are_said_to_be(void **state)
{
    static const char *const programs[] = { "postgres", "pg_ctl", "pg_basebackup" };
    struct settings_service *pg = &s.service[0];

    (void)state;
    memcpy(pg->bin_dir, folder, sizeof folder);
    for (size_t i = 0; i < HM_ARRAY_LEN(programs); i++)
        made(programs[i], 0755);
    tells("f: pg: bin_dir: there is no program '", in_folder("pg_rewind"), "'\n");
    made("pg_rewind", 0644); /* there, and no program */
    tells("f: pg: bin_dir: there is no program '", in_folder("pg_rewind"), "'\n");
    made("pg_rewind", 0755);
    tells("", "", "");
    pg->kind = SERVICE_REDIS;
    tells("f: pg: bin_dir: there is no program '", in_folder("redis-server"), "'\n");
    made("valkey-server", 0755);
    tells("", "", "");
}

/* A host that waits for its first copy has none yet; and hamgrd need not be able to read it. */
static void a_configuration_apart_from_the_data_is_there(void **state)
{
    struct settings_service *pg = &s.service[0];

    (void)state;
    (void)snprintf(pg->config_file, sizeof pg->config_file, "/data/pg/postgresql.conf");
    tells("", "", "");
    (void)snprintf(pg->config_file, sizeof pg->config_file, "%s", in_folder("postgresql.conf"));
    tells("f: pg: config_file: '", pg->config_file, "' is not there\n");
    made("postgresql.conf", 0000);
    tells("", "", "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_named_is_not_missed),
        TEST(a_password_file_is_read_and_nobody_elses),
        TEST(clients_of_redis_need_their_password),
        TEST(programs_are_where_they_are_said_to_be),
        TEST(a_configuration_apart_from_the_data_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
