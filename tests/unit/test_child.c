#include "adapter/child.h"
#include "tests/cm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct seen {
    struct event_base *base;
    unsigned int ends;
    bool is_ok;
    bool is_late;
    char output[CHILD_OUTPUT_MAX];
    char why[256];
    unsigned int lines;
    char line[CHILD_LINE_MAX];
};

static int make_loop(void **state)
{
    static struct seen s;

    (void)signal(SIGCHLD, SIG_DFL); /* a test before may have failed while it was ignored */
    memset(&s, 0, sizeof s);
    s.base = event_base_new();
    *state = &s;
    return s.base == NULL ? -1 : 0;
}

static int free_loop(void **state)
{
    struct seen *s = *state;

    child_done();
    event_base_free(s->base);
    return 0;
}

static void note_line(void *ctx, const char *line)
{
    struct seen *s = ctx;

    s->lines++;
    (void)snprintf(s->line, sizeof s->line, "%s", line);
}

static void note_end(void *ctx, const struct child_end *end)
{
    struct seen *s = ctx;

    s->ends++;
    s->is_ok = end->is_ok;
    s->is_late = end->is_late;
    (void)snprintf(s->output, sizeof s->output, "%s", end->output);
    child_describe(end, s->why, sizeof s->why);
    (void)event_base_loopbreak(s->base);
}

static struct child *shell(struct seen *s, const char *script, hm_ms limit_ms, hm_ms silence_ms)
{
    static const char *const env[] = { "HAMGR_TEST=from us", NULL };
    const char *const argv[] = { "/bin/sh", "-c", script, NULL };
    struct child_config config = { .base = s->base,
                                   .argv = argv,
                                   .env = env,
                                   .limit_ms = limit_ms,
                                   .silence_ms = silence_ms,
                                   .on_line = note_line,
                                   .on_end = note_end,
                                   .ctx = s };
    struct child *c = NULL;
    struct hm_err err;

    assert_int_equal(child_start(&config, &c, &err), HM_OK);
    return c;
}

static void run(struct seen *s)
{
    struct timeval limit = { .tv_sec = 20 };

    (void)event_base_loopexit(s->base, &limit);
    (void)event_base_dispatch(s->base);
    assert_int_equal(s->ends, 1);
}

static void its_end_and_its_words_are_told(void **state)
{
    struct seen *s = *state;

    (void)shell(s, "echo one; echo \"$HAMGR_TEST\" >&2", 0, 0);
    run(s);
    assert_true(s->is_ok);
    assert_string_equal(s->output, "one\nfrom us\n");
    assert_string_equal(s->why, "exit status 0: from us");
    assert_int_equal(s->lines, 2);
}

/* A starter that ignores SIGCHLD hands that down, and the kernel then keeps no exit status. One
 * that ended before it is watched could not be watched at all: this one waits for the other end of
 * a pipe. */
static void an_end_that_nobody_kept_is_no_success(void **state)
{
    char dir[] = "/tmp/child.XXXXXX", path[32], script[64];
    struct seen *s = *state;
    int fd;

    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/go", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)snprintf(script, sizeof script, "read x <%s; exit 3", path);
    (void)signal(SIGCHLD, SIG_IGN);
    (void)shell(s, script, 0, 0);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0 && close(fd) == 0);
    run(s);
    (void)signal(SIGCHLD, SIG_DFL);
    assert_int_equal(unlink(path) | rmdir(dir), 0);
    assert_false(s->is_ok);
    assert_string_equal(s->why, "exit status 255");
}

static void a_failure_is_told_with_its_last_line(void **state)
{
    struct seen *s = *state;

    (void)shell(s, "echo first; echo 'the cause  '; echo; exit 3", 0, 0);
    run(s);
    assert_false(s->is_ok);
    assert_string_equal(s->why, "exit status 3: the cause");
}

static void a_signal_is_told(void **state)
{
    struct seen *s = *state;

    (void)shell(s, "kill -TERM $$", 0, 0);
    run(s);
    assert_false(s->is_ok);
    assert_string_equal(s->why, "signal 15 (Terminated)");
}

static void a_limit_kills_it_and_what_it_started(void **state)
{
    struct seen *s = *state;

    (void)shell(s, "sleep 1000 & echo $!; wait", 100, 0);
    run(s);
    assert_true(s->is_late);
    assert_false(s->is_ok);
    /* Dead, or a zombie that its new parent has not taken yet. */
    for (unsigned int i = 0; i < 2000; i++) {
        char path[CHILD_LINE_MAX + 16], text[256] = "";
        FILE *f;

        (void)snprintf(path, sizeof path, "/proc/%s/stat", s->line);
        f = fopen(path, "re");
        if (f == NULL)
            return;
        (void)fgets(text, sizeof text, f);
        (void)fclose(f);
        if (text[0] == 0 || strstr(text, ") Z ") != NULL)
            return;
        (void)poll(NULL, 0, 1);
    }
    fail_msg("the grandchild lives");
}

static void words_put_off_the_limit_of_silence(void **state)
{
    struct seen *s = *state;

    (void)shell(s, "for i in 1 2 3 4; do sleep 0.6; printf '%s%%\\r' $i; done", 0, 2000);
    run(s);
    assert_true(s->is_ok);
    assert_int_equal(s->lines, 4);
    assert_string_equal(s->line, "4%");
}

static void silence_kills(void **state)
{
    struct seen *s = *state;

    (void)shell(s, "echo once; sleep 1000", 0, 200);
    run(s);
    assert_true(s->is_late);
}

static void only_the_end_of_much_output_is_kept(void **state)
{
    struct seen *s = *state;

    (void)shell(s, "i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); done", 0, 0);
    run(s);
    assert_int_equal(strlen(s->output), CHILD_OUTPUT_MAX - 1);
    assert_string_equal(s->output + strlen(s->output) - 10, "line-1999\n");
    assert_int_equal(s->lines, 2000);
}

static void a_pipe_held_by_others_does_not_hide_the_end(void **state)
{
    struct seen *s = *state;

    (void)shell(s, "setsid sleep 5 & echo done", 0, 0);
    run(s);
    assert_true(s->is_ok);
    assert_string_equal(s->output, "done\n");
}

static void a_missing_program_is_said_at_once(void **state)
{
    struct seen *s = *state;
    const char *const argv[] = { "/nowhere/postgres", NULL };
    struct child_config config = { .base = s->base, .argv = argv, .on_end = note_end, .ctx = s };
    struct child *c = NULL;
    struct hm_err err;

    assert_int_equal(child_start(&config, &c, &err), HM_FAILED);
    assert_string_equal(err.text, "cannot run '/nowhere/postgres': No such file or directory");
    assert_null(c);
}

static void nothing_is_inherited(void **state)
{
    struct seen *s = *state;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)shell(s, "ls /proc/self/fd | wc -l; cat; kill -0 -$$ && echo leads", 0, 0);
    run(s);
    assert_true(s->is_ok);
    /* 0, 1, 2 and the one that ls reads with. */
    assert_string_equal(s->output, "4\nleads\n");
    (void)close(fd);
}

static void a_freed_child_is_killed_and_reaped(void **state)
{
    struct seen *s = *state;
    struct child *c = shell(s, "sleep 1000", 0, 0);
    pid_t pid = child_pid(c);

    child_free(c);
    for (unsigned int i = 0; i < 200 && kill(pid, 0) == 0; i++)
        (void)event_base_loop(s->base, EVLOOP_ONCE);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    assert_int_equal(s->ends, 0);
}

static void a_detached_program_outlives_its_handle(void **state)
{
    struct seen *s = *state;
    char log[] = "/tmp/hamgr-child-XXXXXX";
    const char *const argv[] = { "/bin/sh", "-c", "sleep 0.3; echo late; exec sleep 1000", NULL };
    struct child_config config = { .base = s->base, .argv = argv, .on_end = note_end, .ctx = s };
    struct child *c = NULL;
    struct hm_err err;
    char text[32] = "";
    pid_t pid;
    int fd = mkstemp(log);

    assert_true(fd >= 0);
    assert_int_equal(child_detach(&config, log, &c, &err), HM_OK);
    pid = child_pid(c);
    assert_int_equal(getsid(pid), pid);
    child_free(c);
    for (unsigned int i = 0; i < 5000 && pread(fd, text, sizeof text - 1, 0) == 0; i++)
        (void)poll(NULL, 0, 1);
    assert_string_equal(text, "late\n");
    assert_int_equal(kill(pid, SIGKILL), 0);
    for (unsigned int i = 0; i < 200 && kill(pid, 0) == 0; i++)
        (void)event_base_loop(s->base, EVLOOP_ONCE);
    assert_int_equal(s->ends, 0);
    (void)close(fd);
    (void)unlink(log);
}

static void the_end_of_a_detached_program_is_told(void **state)
{
    struct seen *s = *state;
    char log[] = "/tmp/hamgr-child-XXXXXX";
    const char *const argv[] = { "/bin/sh", "-c", "exit 2", NULL };
    struct child_config config = { .base = s->base, .argv = argv, .on_end = note_end, .ctx = s };
    struct child *c = NULL;
    struct hm_err err;
    int fd = mkstemp(log);

    assert_int_equal(child_detach(&config, log, &c, &err), HM_OK);
    run(s);
    assert_string_equal(s->why, "exit status 2");
    (void)close(fd);
    (void)unlink(log);
}

#define IN_A_LOOP(f) cmocka_unit_test_setup_teardown(f, make_loop, free_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_LOOP(its_end_and_its_words_are_told),
        IN_A_LOOP(an_end_that_nobody_kept_is_no_success),
        IN_A_LOOP(a_failure_is_told_with_its_last_line),
        IN_A_LOOP(a_signal_is_told),
        IN_A_LOOP(a_limit_kills_it_and_what_it_started),
        IN_A_LOOP(words_put_off_the_limit_of_silence),
        IN_A_LOOP(silence_kills),
        IN_A_LOOP(only_the_end_of_much_output_is_kept),
        IN_A_LOOP(a_pipe_held_by_others_does_not_hide_the_end),
        IN_A_LOOP(a_missing_program_is_said_at_once),
        IN_A_LOOP(nothing_is_inherited),
        IN_A_LOOP(a_freed_child_is_killed_and_reaped),
        IN_A_LOOP(a_detached_program_outlives_its_handle),
        IN_A_LOOP(the_end_of_a_detached_program_is_told),
    };

    (void)signal(SIGCHLD, SIG_DFL); /* whoever started it may ignore it */
    return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
