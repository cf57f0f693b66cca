/* hamgr diverged: what it lists, shows and removes, with folders made by hand. */
#include "cli/cli.h"

#include "tests/cm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], config[96];
static char *out, *err;

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int make_folder(void **state)
{
    char text[900];

    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/hamgr-diverged-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(config, sizeof config, "%s/hamgr.conf", folder);
    (void)snprintf(
        text, sizeof text,
        "cluster = \"main\"; key_file = \"%s/key\"; node = \"db1\"; run_dir = \"%s\";\n"
        "state_dir = \"%s\";\n"
        "members = ( { name = \"db1\"; address = \"127.0.0.1:7420\"; },\n"
        "  { name = \"db2\"; address = \"127.0.0.2:7420\"; } );\n"
        "services = ( { name = \"pg\"; type = \"postgres\"; data_dir = \"%s/data\"; } );\n",
        folder, folder, folder, folder);
    write_file(config, text);
    return 0;
}

static int remove_folder(void **state)
{
    char command[96];

    (void)state;
    free(out);
    free(err);
    out = err = NULL;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void make_diverged(const char *id, const char *made, unsigned commits)
{
    char path[256], text[400];

    (void)snprintf(path, sizeof path, "%s/lost", folder);
    (void)mkdir(path, 0700); /* there already, the second time */
    (void)snprintf(path, sizeof path, "%s/lost/%s", folder, id);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/lost/%s/summary.json", folder, id);
    (void)snprintf(
        text, sizeof text,
        "{\"id\": \"%s\", \"made\": \"%s\", \"committed\": %u, \"kept_bytes\": 16777216, "
        "\"commits\": [{\"xid\": 7}]}",
        id, made, commits);
    write_file(path, text);
    (void)snprintf(path, sizeof path, "%s/lost/%s/summary.txt", folder, id);
    (void)snprintf(text, sizeof text, "%u transactions\n\033[31mred\n", commits);
    write_file(path, text);
}

static enum ctl_exit hamgr(const char *const *words)
{
    struct cli c = { .columns = 80 };
    const char *argv[8] = { "hamgr", "-c", config };
    size_t out_size, err_size;
    enum ctl_exit rc;
    int argc = 3;

    free(out);
    free(err);
    c.out = open_memstream(&out, &out_size);
    c.err = open_memstream(&err, &err_size);
    for (; *words != NULL; words++)
        argv[argc++] = *words;
    rc = cli_run(argc, argv, &c);
    assert_int_equal(fclose(c.out), 0);
    assert_int_equal(fclose(c.err), 0);
    return rc;
}
#define HAMGR(...) hamgr((const char *const[]){ __VA_ARGS__, NULL })

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void two(void)
{
    make_diverged("pg-20261121T010145Z-1-9", "2026-11-21T01:01:45Z", 136);
    make_diverged("pg-20261120T010145Z-3-A", "2026-11-20T01:01:45Z", 2);
    make_diverged("pg-20261122T010145Z-3-A.part", "2026-11-22T01:01:45Z", 3);
}

static void nothing_is_no_failure(void **state)
{
    (void)state;
    assert_int_equal(HAMGR("diverged", "list"), CTL_DONE);
    has(out, "nothing diverged here");
    assert_int_equal(HAMGR("diverged", "list", "--json"), CTL_DONE);
    has(out, "\"diverged\": []");
    assert_int_equal(HAMGR("diverged", "show"), CTL_FAILED);
    has(err, "nothing diverged");
    assert_int_equal(HAMGR("diverged", "purge", "all"), CTL_DONE);
    has(out, "purged 0");
}

static void all_whole_ones_are_listed_oldest_first(void **state)
{
    (void)state;
    two();
    assert_int_equal(HAMGR("diverged", "list"), CTL_DONE);
    has(out, "2026-11-21T01:01:45Z  136      16 MB    pg-20261121T010145Z-1-9\n");
    assert_true(strstr(out, "pg-20261120") < strstr(out, "pg-20261121"));
    assert_null(strstr(out, ".part"));
    assert_int_equal(HAMGR("diverged", "list", "--json"), CTL_DONE);
    has(out, "\"committed\": 136");
    assert_null(strstr(out, "commits\":"));
    assert_int_equal(HAMGR("diverged", "list", "--service", "p"), CTL_DONE);
    has(out, "nothing diverged here");
}

/* What `hamgr history` adds to its table. */
static void history_mentions_them(void **state)
{
    struct cli c = { .config = config };
    size_t size;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        free(out);
        c.out = open_memstream(&out, &size);
        cli_tell_diverged(&c);
        assert_int_equal(fclose(c.out), 0);
        if (i == 0)
            assert_string_equal(out, "");
        else
            has(out, "2 stretches of log that only this host had");
        if (i == 0)
            two();
    }
}

static void the_newest_is_shown_or_the_one_named(void **state)
{
    (void)state;
    two();
    assert_int_equal(HAMGR("diverged", "show"), CTL_DONE);
    has(out, "136 transactions\n?[31mred\n");
    has(out, "/lost/pg-20261121T010145Z-1-9\n");
    assert_int_equal(HAMGR("diverged", "show", "pg-20261120T010145Z-3-A", "--json"), CTL_DONE);
    has(out, "\"committed\": 2");
    has(out, "\"xid\": 7");
    assert_int_equal(HAMGR("diverged", "show", "../hamgr.conf"), CTL_FAILED);
    has(err, "no such diverged log");
    has(err, "hamgr diverged list");
}

static void what_is_named_is_removed(void **state)
{
    (void)state;
    two();
    assert_int_equal(HAMGR("diverged", "purge"), CTL_USAGE);
    assert_int_equal(HAMGR("diverged", "purge", "../lost"), CTL_FAILED);
    assert_int_equal(HAMGR("diverged", "purge", "pg-20261121T010145Z-1-9"), CTL_DONE);
    has(out, "purged 1");
    assert_int_equal(HAMGR("diverged", "purge", "all", "--json"), CTL_DONE);
    has(out, "pg-20261120T010145Z-3-A");
    assert_int_equal(HAMGR("diverged", "list"), CTL_DONE);
    has(out, "nothing diverged here");
}

/* Root does this, in a directory where others may write. */
static void a_link_is_not_followed_by_purge(void **state)
{
    char dear[160], path[200];

    (void)state;
    two();
    (void)snprintf(dear, sizeof dear, "%s/dear", folder);
    assert_int_equal(mkdir(dear, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/letter", dear);
    write_file(path, "dear");
    (void)snprintf(path, sizeof path, "%s/lost/pg-20261119T010145Z-1-9", folder);
    assert_int_equal(symlink(dear, path), 0);
    assert_int_equal(HAMGR("diverged", "purge", "all"), CTL_FAILED);
    (void)snprintf(path, sizeof path, "%s/letter", dear);
    assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        STORY(nothing_is_no_failure),    STORY(all_whole_ones_are_listed_oldest_first),
        STORY(history_mentions_them),    STORY(the_newest_is_shown_or_the_one_named),
        STORY(what_is_named_is_removed), STORY(a_link_is_not_followed_by_purge),
    };

    return cmocka_run_group_tests_name("cli_diverged", tests, NULL, NULL);
}
