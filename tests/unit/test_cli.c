#include "cli/cli.h"

#include "base/clock.h"
#include "cli/options.h"
#include "daemon/serve_ctl.h"
#include "fence/lease.h"
#include "tests/cm.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- running hamgr ---------------------------------------------------------------------------- */

static char folder[] = "/tmp/hamgr-cli-XXXXXX";
static char config[sizeof folder + 16], key[sizeof folder + 16];
static char *out, *err;

/* Runs it; words are split at single blanks, "@" stands for the settings' path. */
static enum ctl_exit hamgr(const char *line)
{
    struct cli c = { .columns = 80 };
    const char *argv[16] = { "hamgr" };
    size_t out_size, err_size;
    char words[400];
    enum ctl_exit rc;
    int argc = 1;

    free(out);
    free(err);
    c.out = open_memstream(&out, &out_size);
    c.err = open_memstream(&err, &err_size);
    assert_non_null(c.out);
    assert_non_null(c.err);
    assert_true(strlen(line) < sizeof words);
    (void)snprintf(words, sizeof words, "%s", line);
    for (char *at = words; *at != '\0';) {
        size_t n = strcspn(at, " ");
        bool is_last = at[n] == '\0';

        at[n] = '\0';
        argv[argc++] = strcmp(at, "@") == 0 ? config : at;
        at += n + !is_last;
    }
    rc = cli_run(argc, argv, &c);
    assert_int_equal(fclose(c.out), 0);
    assert_int_equal(fclose(c.err), 0);
    return rc;
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void write_config(const char *more)
{
    char text[1000];

    (void)snprintf(
        text, sizeof text,
        "cluster = \"main\";\nkey_file = \"%s\";\nnode = \"db1\";\n"
        "run_dir = \"%s\";\nstate_dir = \"%s\";\n"
        "members = (\n  { name = \"db1\"; address = \"127.0.0.1:7420\"; role = \"db\"; },\n"
        "  { name = \"db2\"; address = \"127.0.0.2:7420\"; role = \"db\"; },\n"
        "  { name = \"w1\"; address = \"127.0.0.3:7420\"; role = \"witness\"; } );\n"
        "services = ( { name = \"pg\"; type = \"postgres\"; "
        "data_dir = \"%s/data\"; port = 5432; %s } );\n",
        key, folder, folder, folder, more);
    write_file(config, text);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(config, sizeof config, "%s/hamgr.conf", folder);
    (void)snprintf(key, sizeof key, "%s/cluster.key", folder);
    write_config("");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    free(out);
    free(err);
    (void)unlink(config);
    (void)unlink(key);
    return rmdir(folder);
}

/* --- usage ------------------------------------------------------------------------------------ */

static void is_usage(const char *line, const char *why)
{
    assert_int_equal(hamgr(line), CTL_USAGE);
    assert_string_equal(out, "");
    has(err, why);
    assert_int_equal(strncmp(err, "hamgr: ", 7), 0);
    assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1); /* one line: not the whole help */
}

static void an_unknown_word_is_named_with_the_nearest_one(void **state)
{
    (void)state;
    is_usage("", "which command? 'hamgr help'");
    is_usage("statsu", "unknown command 'statsu', did you mean 'status'?");
    is_usage("swichover --to db2", "did you mean 'switchover'?");
    is_usage("config chek", "unknown command 'config chek', did you mean 'config check'?");
    is_usage("config", "unknown command 'config', did you mean 'config check'?");
    is_usage("members", "unknown command 'members'");
    is_usage("frobnicate", "unknown command 'frobnicate'; 'hamgr help' lists");
    is_usage("help frobnicate", "unknown command 'frobnicate'; 'hamgr help' lists");
    is_usage("help config chec", "unknown command 'config chec', did you mean 'config check'?");
}

static void an_unknown_option_is_named_with_the_nearest_one(void **state)
{
    (void)state;
    is_usage("status --jsno", "unknown option '--jsno', did you mean '--json'?");
    is_usage("status --wtach=1", "unknown option '--wtach', did you mean '--watch'?");
    is_usage("status -x", "unknown option '-x'; 'hamgr help COMMAND' lists");
    is_usage("status --frobnicate", "unknown option '--frobnicate'; 'hamgr help COMMAND'");
}

static void what_a_command_does_not_know_is_refused(void **state)
{
    (void)state;
    is_usage("status --to db2", "'status' knows no --to; 'hamgr help status' lists");
    is_usage("pause --dry-run", "'pause' knows no --dry-run");
    is_usage("keygen --json", "'keygen' knows no --json");
    is_usage("status db2", "'status' takes no 'db2'; 'hamgr help status' says");
    is_usage("switchover db2", "'switchover' takes no 'db2'");
    is_usage("keygen a b", "'keygen' takes no 'b'");
    is_usage("config check a b", "'config check' takes no 'b'");
    is_usage("what-if lose 1 2 3 4 5 6 7 8 9 10", "'10' is one word too many");
    is_usage("what-if lose", "lose which members?");
    is_usage("failover", "--force is for a majority that is lost for good");
    is_usage("config check @ --config @", "not both");
}

static void values_are_checked(void **state)
{
    (void)state;
    is_usage("switchover --to", "--to wants a MEMBER");
    is_usage("switchover --to=", "--to wants a MEMBER, not an empty word");
    is_usage("switchover --to 12345678901234567890123456789012", "at most 31 letters");
    is_usage("switchover --to db2 --to db3", "--to is given twice");
    is_usage("status --json=yes", "--json takes no value");
    is_usage("join 10.0.0.1 --priority high", "--priority 'high' is not a number from -1000");
    is_usage("join 10.0.0.1 --priority 1001", "from -1000 to 1000");
    is_usage("join", "'join' wants the ADDRESS of a database member");
    is_usage("member add db3", "'member add' wants a NAME and an ADDRESS");
    is_usage("member remove", "'member remove' wants the NAME of a member");
    is_usage("switchover --timeout soon", "--timeout 'soon' is not a number of seconds");
    is_usage("switchover --timeout 0", "from 0.001 to 3600");
    is_usage("switchover --timeout -1", "is not a number");
    is_usage("switchover --timeout nan", "is not a number");
    is_usage("switchover --timeout 3601", "from 0.001 to 3600");
    is_usage("switchover --timeout 5s", "is not a number");
}

static void help_and_version_are_no_errors(void **state)
{
    (void)state;
    assert_int_equal(hamgr("--version"), CTL_DONE);
    assert_string_equal(out, "hamgr " HAMGR_VERSION "\n");
    assert_int_equal(hamgr("status -V"), CTL_DONE);
    assert_int_equal(hamgr("--help"), CTL_DONE);
    has(out, "usage: hamgr COMMAND");
    assert_int_equal(hamgr("help"), CTL_DONE);
    has(out, "switchover");
    assert_int_equal(hamgr("switchover --help"), CTL_DONE);
    has(out, "[--to MEMBER] [--dry-run]");
    assert_int_equal(hamgr("help config check"), CTL_DONE);
    has(out, "hamgr config check [FILE]");
    assert_string_equal(err, "");
    for (size_t i = 0; i < cli_rows_n; i++) {
        char line[60];

        (void)snprintf(line, sizeof line, "%s --help", cli_rows[i].name);
        assert_int_equal(hamgr(line), CTL_DONE);
        has(out, cli_rows[i].help);
    }
}

static void words_behind_two_dashes_are_no_options(void **state)
{
    (void)state;
    is_usage("status -- --json", "'status' takes no '--json'");
}

static void the_nearest_word_is_near(void **state)
{
    const char *const known[] = { "status", "pause", "to" };

    (void)state;
    assert_string_equal(cli_nearest("sttaus", known, 3), "status"); /* letters swapped: one */
    assert_string_equal(cli_nearest("stat", known, 2) == NULL ? "none" : "one", "none");
    assert_string_equal(cli_nearest("paus", known, 3), "pause");
    assert_null(cli_nearest("abcdefgh", known, 3));
    assert_null(cli_nearest("", known, 2));
    assert_null(cli_nearest("a word that is longer than any word may be, by far", known, 3));
}

/* --- files ------------------------------------------------------------------------------------ */

static void a_key_is_made_once(void **state)
{
    char line[200];
    struct stat st;

    (void)state;
    (void)snprintf(line, sizeof line, "keygen %s", key);
    assert_int_equal(hamgr(line), CTL_DONE);
    has(out, "next: copy it to every member");
    has(out, "chown postgres: ");
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(hamgr(line), CTL_REFUSED);
    has(err, "exists already");
    has(err, "next: ");
}

static void settings_are_checked(void **state)
{
    (void)state;
    assert_int_equal(hamgr("config check --config @"), CTL_DONE);
    has(out, ": fine\n");
    assert_string_equal(err, "");
    assert_int_equal(hamgr("config check @"), CTL_DONE);
    has(out, ": fine (the key");
    write_config("prot = 1; frob = 2;");
    assert_int_equal(hamgr("config check @"), CTL_USAGE);
    assert_string_equal(out, "");
    has(err, "prot");
    has(err, "frob"); /* every error, not only the first */
    write_config("");
    assert_int_equal(hamgr("config check /nowhere/hamgr.conf"), CTL_USAGE);
    has(err, "/nowhere/hamgr.conf");
}

/* --- hamgrd ----------------------------------------------------------------------------------- */

static void save_lease(hm_ms left_ms)
{
    hm_ms until_ms = clock_boot_ms() + left_ms;
    struct lease l = { .mode = FENCE_LEASE, .suspend_ms = until_ms - 100, .until_ms = until_ms };
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct hm_err why;

    assert_true(dir >= 0);
    if (lease_save(dir, "pg", &l, &why) != HM_OK)
        fail_msg("%s", why.text);
    (void)close(dir);
}

static void remove_lease(void)
{
    char path[sizeof folder + 16];

    (void)snprintf(path, sizeof path, "%s/pg.lease", folder);
    assert_int_equal(unlink(path), 0);
}

static void a_hamgrd_that_is_down_is_told_with_the_next_step(void **state)
{
    json_t *j;

    (void)state;
    assert_int_equal(hamgr("status --config @"), CTL_FAILED);
    assert_string_equal(out, "");
    has(err, "hamgrd does not run on this host");
    has(err, "next: systemctl status hamgrd; journalctl -u hamgrd");
    has(err, "pg: the fence has not been told anything since the boot");
    save_lease(5000);
    assert_int_equal(hamgr("status --config @"), CTL_FAILED);
    has(err, "pg: its lease runs for another ");
    save_lease(0);
    assert_int_equal(hamgr("status --config @"), CTL_FAILED);
    has(err, "pg: its lease has run out");
    remove_lease();
    assert_int_equal(hamgr("status --config @ --json"), CTL_FAILED);
    assert_string_equal(err, "");
    j = json_loads(out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(j, "rc")), 1);
    has(json_string_value(json_object_get(j, "next")), "systemctl");
    json_decref(j);
    assert_int_equal(hamgr("version --config @"), CTL_DONE);
    has(out, "hamgrd: does not answer");
}

static void without_settings_hamgrd_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(hamgr("status --config /nowhere/hamgr.conf"), CTL_FAILED);
    has(err, "/nowhere/hamgr.conf");
    has(err, "without settings hamgrd cannot be found");
}

/* In the child: answers as the "to" or the "service" of the request wants it. */
static void on_request(void *ctx, struct serve_call *call, const json_t *request)
{
    struct ctl_request r;

    (void)ctx;
    ctl_read(request, &r);
    if (strcmp(r.to, "nobody") == 0)
        serve_fail(call, HM_REFUSED, "nobody is no member", "hamgr member list");
    else if (strcmp(r.to, "alone") == 0)
        serve_fail(call, HM_NO_QUORUM, "no majority", NULL);
    else if (strcmp(r.to, "late") == 0)
        return; /* never */
    else if (r.command == CTL_SWITCHOVER && r.is_dry_run && strcmp(r.to, "db2") == 0)
        serve_answer(
            call, HM_OK,
            json_pack("{s:[{s:s,s:b,s:s}]}", "checks", "name", "lag", "ok", 1, "text", "0 bytes"));
    else if (r.command == CTL_SWITCHOVER && r.is_dry_run)
        serve_answer(call, HM_REFUSED,
                     json_pack("{s:[{s:s,s:b,s:s}],s:s}", "checks", "name", "lag", "ok", 0, "text",
                               "9 bytes", "error", "it would be refused"));
    else if (r.command == CTL_SWITCHOVER)
        serve_answer(call, HM_OK,
                     json_pack("{s:i,s:s,s:s,s:I}", "epoch", 8, "from", "db1", "to", "db2",
                               "took_ms", (json_int_t)r.timeout_ms));
    else if (r.command == CTL_CHECK)
        serve_answer(call, HM_OK,
                     json_pack("{s:[{s:s,s:s,s:b,s:s,s:s}]}", "checks", "member", "db1", "name",
                               "wal_log_hints", "ok", 0, "text", "off", "next", "ALTER SYSTEM"));
    else if (strcmp(r.service, "none") == 0)
        serve_answer(call, HM_OK, json_pack("{s:[]}", "services"));
    else
        serve_answer(call, HM_OK,
                     json_pack("{s:s,s:s}", "software", "hamgr 9.9", "cluster",
                               r.service[0] != '\0' ? r.service : "main"));
}

static pid_t daemon_pid;

static void run_daemon(int ready)
{
    struct event_base *base = event_base_new();
    char path[sizeof folder + 16];
    struct serve_ctl *s;
    struct hm_err why;

    (void)snprintf(path, sizeof path, "%s/" CTL_SOCKET, folder);
    if (serve_ctl_new(base, path, on_request, NULL, &s, &why) != HM_OK || write(ready, "", 1) != 1)
        _exit(1);
    (void)event_base_dispatch(base);
    _exit(0);
}

static int start_daemon(void **state)
{
    int ready[2];
    char byte;

    (void)state;
    if (pipe2(ready, O_CLOEXEC) != 0)
        return -1;
    daemon_pid = fork();
    if (daemon_pid == 0)
        run_daemon(ready[1]);
    (void)close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        return -1;
    return close(ready[0]);
}

static int stop_daemon(void **state)
{
    char path[sizeof folder + 16];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/" CTL_SOCKET, folder);
    return kill(daemon_pid, SIGKILL) == 0 && waitpid(daemon_pid, NULL, 0) == daemon_pid
               ? unlink(path)
               : -1;
}

static void answers_are_printed(void **state)
{
    (void)state;
    assert_int_equal(hamgr("status -c @"), CTL_DONE);
    has(out, "cluster main");
    assert_int_equal(hamgr("status -c @ --service=ph"), CTL_DONE);
    has(out, "cluster ph");
    assert_int_equal(hamgr("--json -c @ status"), CTL_DONE);
    has(out, "\"software\": \"hamgr 9.9\"");
    assert_int_equal(hamgr("version -c @"), CTL_DONE);
    has(out, "hamgrd: hamgr 9.9");
    assert_int_equal(hamgr("pause -c @"), CTL_DONE);
    has(out, "until 'hamgr resume'");
    assert_int_equal(hamgr("resume -c @"), CTL_DONE);
    has(out, "automatic again");
    assert_int_equal(hamgr("history -c @"), CTL_DONE);
    assert_int_equal(hamgr("member list -c @"), CTL_DONE);
    has(out, "address");
    assert_string_equal(err, "");
}

static void orders_come_back_with_their_result(void **state)
{
    (void)state;
    assert_int_equal(hamgr("switchover -c @ --to db2 --timeout 1.5"), CTL_DONE);
    assert_string_equal(out, "db2 is the primary now, db1 was: epoch 8, took 1500 ms\n");
    assert_int_equal(hamgr("switchover -c @ --to db2 --dry-run"), CTL_DONE);
    has(out, "ok    lag: 0 bytes\nthe switchover could be done now\n");
    assert_int_equal(hamgr("switchover -c @ --to db3 --dry-run"), CTL_REFUSED);
    assert_string_equal(out, "FAIL  lag: 9 bytes\n");
    assert_string_equal(err, "hamgr: it would be refused\n");
    assert_int_equal(hamgr("check -c @"), CTL_FAILED);
    has(out, "FAIL  db1 wal_log_hints: off\n      next: ALTER SYSTEM\n1 of 1 not passed\n");
    assert_int_equal(hamgr("check -c @ --json"), CTL_FAILED);
    has(out, "\"wal_log_hints\"");
}

static void refusals_come_back_with_their_code(void **state)
{
    (void)state;
    assert_int_equal(hamgr("switchover -c @ --to nobody"), CTL_REFUSED);
    assert_string_equal(out, "");
    assert_string_equal(err, "hamgr: nobody is no member\n  next: hamgr member list\n");
    assert_int_equal(hamgr("switchover -c @ --to alone"), CTL_NO_QUORUM);
    assert_string_equal(err, "hamgr: no majority\n");
    assert_int_equal(hamgr("switchover -c @ --to nobody --json"), CTL_REFUSED);
    has(out, "\"rc\": 3");
    assert_string_equal(err, "");
}

static void a_service_that_does_not_exist_is_told(void **state)
{
    (void)state;
    assert_int_equal(hamgr("status -c @ --service none"), CTL_USAGE);
    assert_string_equal(out, "");
    has(err, "there is no service of that name");
}

static void a_hamgrd_that_does_not_answer_is_given_up(void **state)
{
    struct ctl_request r = { .command = CTL_SWITCHOVER, .to = "late" };
    char path[sizeof folder + 16];
    const char *next = NULL;
    struct hm_err why;
    json_t *answer;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/" CTL_SOCKET, folder);
    assert_int_equal(cli_call(path, &r, 300, &answer, &next, &why), HM_TIMED_OUT);
    has(why.text, "did not answer in time");
    assert_non_null(next);
    assert_int_equal(hamgr("switchover -c @ --to late --timeout 0.3"), CTL_TIMED_OUT);
}

/* In a child, because only a reader that is gone, or Ctrl-C, ends it. */
static void watching_ends_with_its_reader(void **state)
{
    const char *const argv[] = { "hamgr", "status", "--watch", "-c", config };
    hm_ms begun_ms = clock_boot_ms();
    char text[4000];
    unsigned shown = 0;
    pid_t child;
    int fd[2], status;

    (void)state;
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        struct cli c = { .columns = 80, .out = fdopen(fd[1], "w"), .err = stderr };

        (void)signal(SIGPIPE, SIG_IGN);
        (void)close(fd[0]);
        _exit((int)cli_run(5, argv, &c));
    }
    (void)close(fd[1]);
    while (shown < 2) {
        ssize_t n = read(fd[0], text, sizeof text - 1);

        assert_true(n > 0);
        text[n] = '\0';
        for (const char *at = text; (at = strstr(at, "cluster main")) != NULL; at++)
            shown++;
    }
    assert_in_range(clock_boot_ms() - begun_ms, 900, 3000);
    (void)close(fd[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CTL_FAILED);
}

#define LIVE(name) cmocka_unit_test_setup_teardown(name, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_word_is_named_with_the_nearest_one),
        cmocka_unit_test(an_unknown_option_is_named_with_the_nearest_one),
        cmocka_unit_test(what_a_command_does_not_know_is_refused),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(help_and_version_are_no_errors),
        cmocka_unit_test(words_behind_two_dashes_are_no_options),
        cmocka_unit_test(the_nearest_word_is_near),
        cmocka_unit_test(a_key_is_made_once),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(a_hamgrd_that_is_down_is_told_with_the_next_step),
        cmocka_unit_test(without_settings_hamgrd_is_not_found),
        LIVE(answers_are_printed),
        LIVE(watching_ends_with_its_reader),
        LIVE(orders_come_back_with_their_result),
        LIVE(refusals_come_back_with_their_code),
        LIVE(a_service_that_does_not_exist_is_told),
        LIVE(a_hamgrd_that_does_not_answer_is_given_up),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
