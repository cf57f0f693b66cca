/* test_stuck.c - a thread that hangs, and one that only waits for its turn. */
#include "probe/stuck.h"

#include "tests/cm.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_MS = 20000 };

static pid_t child;

/* A child that computes, or sleeps. */
static void start(bool is_busy)
{
    child = fork();
    assert_true(child >= 0);
    if (child != 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (volatile unsigned long i = 0;; i++)
        if (!is_busy)
            (void)poll(NULL, 0, -1);
}

static int end(void **state)
{
    (void)state;
    if (child > 0) {
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
    }
    child = 0;
    return 0;
}

static void let_pass(int ms)
{
    (void)poll(NULL, 0, ms);
}

/* Looks until the state is that one. The times are made up: only looks count. */
static void wait_for(struct stuck *s, char wanted)
{
    for (int ms = 0; ms < LIMIT_MS; ms += 10) {
        (void)stuck_look(s, child, child, 1000);
        if (s->state == wanted)
            return;
        let_pass(10);
    }
    fail_msg("it is in state %c", s->state);
}

static void one_that_is_stopped_is_stuck_from_the_first_look_on(void **state)
{
    struct stuck s = { .tid = 0 };

    (void)state;
    start(true);
    assert_int_equal(kill(child, SIGSTOP), 0);
    wait_for(&s, 'T');
    stuck_forget(&s);
    assert_int_equal(stuck_look(&s, child, child, 5000), 0);
    let_pass(20);
    assert_int_equal(stuck_look(&s, child, child, 6000), 1000);
    assert_int_equal(stuck_look(&s, child, child, 9000), 4000);
    assert_true(stuck_is_stopped(&s) && !stuck_is_in_kernel(&s));
}

static int64_t cpu_ns(void)
{
    struct timespec used;
    clockid_t clock;

    assert_int_equal(clock_getcpuclockid(child, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

/* On a busy machine who may run does not at once. */
static void wait_until_it_runs(void)
{
    int64_t before = cpu_ns();

    for (int ms = 0; ms < LIMIT_MS && cpu_ns() - before < 1000000; ms += 10)
        let_pass(10);
}

static void one_that_went_on_in_between_is_not(void **state)
{
    struct stuck s = { .tid = 0 }, other = { .tid = 0 };

    (void)state;
    start(true);
    assert_int_equal(kill(child, SIGSTOP), 0);
    wait_for(&s, 'T');
    assert_int_equal(kill(child, SIGCONT), 0);
    wait_for(&other, 'R');
    wait_until_it_runs();
    assert_int_equal(kill(child, SIGSTOP), 0);
    wait_for(&other, 'T');
    assert_int_equal(stuck_look(&s, child, child, 9000), 0);
    assert_int_equal(stuck_look(&s, child, child, 9500), 500);
}

static void one_that_waits_for_the_processor_is_not(void **state)
{
    struct stuck s = { .tid = 0 };

    (void)state;
    start(true);
    wait_for(&s, 'R');
    for (hm_ms at_ms = 2000; at_ms < 5000; at_ms += 1000)
        assert_int_equal(stuck_look(&s, child, child, at_ms), 0);
}

static void one_that_sleeps_is_known_as_such(void **state)
{
    struct stuck s = { .tid = 0 };

    (void)state;
    start(false);
    wait_for(&s, 'S');
    assert_false(stuck_is_in_kernel(&s) || stuck_is_stopped(&s));
}

static void one_that_is_gone_is_not_stuck(void **state)
{
    struct stuck s = { .tid = 0 };
    pid_t pid;

    (void)state;
    start(false);
    wait_for(&s, 'S');
    pid = child;
    (void)end(NULL);
    assert_int_equal(stuck_look(&s, pid, pid, 9000), 0);
    assert_int_equal(s.state, 0);
    assert_int_equal(stuck_look(&s, 0, 0, 9000), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, end)
    const struct CMUnitTest tests[] = {
        TEST(one_that_is_stopped_is_stuck_from_the_first_look_on),
        TEST(one_that_went_on_in_between_is_not),
        TEST(one_that_waits_for_the_processor_is_not),
        TEST(one_that_sleeps_is_known_as_such),
        TEST(one_that_is_gone_is_not_stuck),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
