#include "base/log.h"

#include "tests/cm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* stderr goes to a seqpacket socket meanwhile, which keeps each write() apart. */
struct caught {
    int stderr_fd; /* the real one */
    int to;        /* what stands in for it */
    int from;
    char line[4096];
};

static int catch_stderr(void **state)
{
    static struct caught c;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return -1;
    c = (struct caught){ .stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3),
                         .to = pair[0],
                         .from = pair[1] };
    *state = &c;
    (void)unsetenv("JOURNAL_STREAM");
    return dup2(c.to, STDERR_FILENO) < 0 ? -1 : 0;
}

static int give_stderr_back(void **state)
{
    struct caught *c = *state;

    (void)unsetenv("JOURNAL_STREAM");
    (void)dup2(c->stderr_fd, STDERR_FILENO);
    (void)close(c->stderr_fd);
    (void)close(c->to);
    (void)close(c->from);
    return 0;
}

/* What the next write() wrote; "" if there was none. */
static const char *next_write(struct caught *c)
{
    ssize_t n = recv(c->from, c->line, sizeof c->line - 1, 0);

    c->line[n > 0 ? n : 0] = '\0';
    return c->line;
}

static void name_the_journal(unsigned long long inode_off)
{
    char stream[64];
    struct stat st;

    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    (void)snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino + inode_off);
    assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
}

static void the_program_and_the_level_stand_in_front(void **state)
{
    struct caught *c = *state;

    log_init("hamgrd", LOG_LEVEL_DEBUG);
    log_error("lease_lost service=%s", "pg");
    assert_string_equal(next_write(c), "hamgrd: error lease_lost service=pg\n");
    log_warn("a=%d", 1);
    assert_string_equal(next_write(c), "hamgrd: warn a=1\n");
    log_notice("b");
    assert_string_equal(next_write(c), "hamgrd: notice b\n");
    log_info("c");
    assert_string_equal(next_write(c), "hamgrd: info c\n");
    log_debug("d");
    assert_string_equal(next_write(c), "hamgrd: debug d\n");
    assert_string_equal(next_write(c), "");
}

static void the_journal_gets_priorities(void **state)
{
    struct caught *c = *state;

    name_the_journal(0);
    log_init("hamgrd", LOG_LEVEL_DEBUG);
    log_error("a");
    assert_string_equal(next_write(c), "<3>a\n");
    log_warn("b");
    assert_string_equal(next_write(c), "<4>b\n");
    log_notice("c");
    assert_string_equal(next_write(c), "<5>c\n");
    log_info("d");
    assert_string_equal(next_write(c), "<6>d\n");
    log_debug("e");
    assert_string_equal(next_write(c), "<7>e\n");
}

static void an_inherited_name_of_another_journal_counts_for_nothing(void **state)
{
    struct caught *c = *state;

    name_the_journal(1);
    log_init("hamgrd", LOG_LEVEL_INFO);
    log_info("a");
    assert_string_equal(next_write(c), "hamgrd: info a\n");
    (void)setenv("JOURNAL_STREAM", "garbage", 1);
    log_init("hamgrd", LOG_LEVEL_INFO);
    log_info("b");
    assert_string_equal(next_write(c), "hamgrd: info b\n");
}

static void what_is_too_detailed_is_left_out(void **state)
{
    struct caught *c = *state;

    log_init("hamgrd", LOG_LEVEL_WARN);
    log_notice("hidden");
    assert_string_equal(next_write(c), "");
    log_warn("shown");
    assert_string_equal(next_write(c), "hamgrd: warn shown\n");
    log_init("hamgrd", LOG_LEVEL_ERROR);
    log_warn("hidden");
    assert_string_equal(next_write(c), "");
}

static void a_fact_stays_on_one_line(void **state)
{
    struct caught *c = *state;

    log_init("hamgrd", LOG_LEVEL_INFO);
    log_info("said text=\"%s\"", "one\ntwo\tthree\x1b[0m\x7f \xc3\xa9");
    assert_string_equal(next_write(c), "hamgrd: info said text=\"one two three [0m  \xc3\xa9\"\n");
}

static void a_long_line_is_cut(void **state)
{
    struct caught *c = *state;
    static char text[5000];
    size_t fits = 2048 - strlen("hamgrd: info ") - 1;

    memset(text, 'x', sizeof text - 1);
    log_init("hamgrd", LOG_LEVEL_INFO);
    log_info("%s", text);
    assert_int_equal(strlen(next_write(c)), 2048);
    assert_string_equal(c->line + 2048 - 5, "x...\n");
    text[fits] = '\0';
    log_info("%s", text);
    assert_int_equal(strlen(next_write(c)), 2048);
    assert_string_equal(c->line + 2048 - 5, "xxxx\n");
}

static void errno_stays_as_it_is(void **state)
{
    struct caught *c = *state;

    log_init("hamgrd", LOG_LEVEL_INFO);
    errno = EBADF;
    log_info("a");
    assert_int_equal(errno, EBADF);
    assert_string_equal(next_write(c), "hamgrd: info a\n");
    (void)dup2(c->stderr_fd, STDERR_FILENO);
    (void)close(STDERR_FILENO); /* the write fails */
    errno = ENOENT;
    log_info("b");
    assert_int_equal(errno, ENOENT);
}

static void a_repeating_failure_is_told_once_a_minute(void **state)
{
    struct log_repeat r = { 0 };
    uint64_t hidden = 99;

    (void)state;
    assert_false(log_repeat_ends(&r));
    assert_true(log_repeat_starts(&r, 1000, &hidden));
    assert_int_equal(hidden, 0);
    hidden = 99;
    assert_false(log_repeat_starts(&r, 1001, &hidden));
    assert_false(log_repeat_starts(&r, 60999, &hidden));
    assert_int_equal(hidden, 99);
    assert_true(log_repeat_starts(&r, 61000, &hidden));
    assert_int_equal(hidden, 2);
    assert_false(log_repeat_starts(&r, 120999, &hidden));
    assert_true(log_repeat_ends(&r));
    assert_false(log_repeat_ends(&r));
    assert_true(log_repeat_starts(&r, 121000, &hidden));
    assert_int_equal(hidden, 0);
}

static void a_failure_at_time_zero_lasts_as_well(void **state)
{
    struct log_repeat r = { 0 };
    uint64_t hidden;

    (void)state;
    assert_true(log_repeat_starts(&r, 0, &hidden));
    assert_false(log_repeat_starts(&r, 1, &hidden));
    assert_true(log_repeat_ends(&r));
}

static bool may(struct log_burst *b, const char *line, hm_ms now_ms)
{
    uint64_t hidden;

    return log_burst_may(b, line, now_ms, &hidden);
}

static void steps_in_turns_are_told_three_times_and_then_once_a_minute(void **state)
{
    struct log_burst b = { 0 };
    uint64_t hidden = 9;

    (void)state;
    for (hm_ms i = 0; i < 3; i++) {
        assert_true(may(&b, "suspend", 1000 + i));
        assert_true(may(&b, "kill", 1000 + i));
    }
    for (hm_ms i = 0; i < 7; i++)
        assert_false(may(&b, "suspend", 60993 + i));
    assert_true(log_burst_may(&b, "suspend", 61000, &hidden));
    assert_int_equal(hidden, 7);
    assert_false(may(&b, "suspend", 61001));
    assert_true(log_burst_may(&b, "suspend", 121000, &hidden));
    assert_int_equal(hidden, 1);
}

static void a_step_that_is_over_may_be_told_again(void **state)
{
    struct log_burst b = { 0 };
    uint64_t hidden = 9;

    (void)state;
    assert_true(may(&b, "suspend", 1000));
    assert_true(log_burst_may(&b, "suspend", 61000, &hidden));
    assert_int_equal(hidden, 0);
    assert_true(may(&b, "suspend", 61001));
    assert_true(may(&b, "suspend", 61002));
    assert_false(may(&b, "suspend", 61003));
}

static void the_oldest_of_too_many_lines_is_forgotten(void **state)
{
    struct log_burst b = { 0 };
    char line[16];

    (void)state;
    for (int i = 0; i < LOG_BURST_LINES + 1; i++)
        for (int k = 0; k < LOG_BURST_TIMES; k++) {
            (void)snprintf(line, sizeof line, "%d", i);
            assert_true(may(&b, line, 1000 + i));
        }
    assert_false(may(&b, "1", 1100));
    assert_true(may(&b, "0", 1100));
}

#define CAUGHT(test) cmocka_unit_test_setup_teardown(test, catch_stderr, give_stderr_back)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CAUGHT(the_program_and_the_level_stand_in_front),
        CAUGHT(the_journal_gets_priorities),
        CAUGHT(an_inherited_name_of_another_journal_counts_for_nothing),
        CAUGHT(what_is_too_detailed_is_left_out),
        CAUGHT(a_fact_stays_on_one_line),
        CAUGHT(a_long_line_is_cut),
        CAUGHT(errno_stays_as_it_is),
        cmocka_unit_test(a_repeating_failure_is_told_once_a_minute),
        cmocka_unit_test(a_failure_at_time_zero_lasts_as_well),
        cmocka_unit_test(steps_in_turns_are_told_three_times_and_then_once_a_minute),
        cmocka_unit_test(a_step_that_is_over_may_be_told_again),
        cmocka_unit_test(the_oldest_of_too_many_lines_is_forgotten),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
