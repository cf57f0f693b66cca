#include "base/base.h"
#include "tests/cm.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/prng.h"
#include "base/text.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void the_earlier_and_the_later_moment_are_found(void **state)
{
    (void)state;
    assert_true(hm_min_ms(-1, 2) == -1);
    assert_true(hm_min_ms(2, -1) == -1);
    assert_true(hm_max_ms(-1, 2) == 2);
    assert_true(hm_max_ms(2, -1) == 2);
    assert_true(hm_min_ms(HM_NEVER, 5) == 5);
    assert_true(hm_max_ms(HM_NEVER, 5) == HM_NEVER);
}

static void a_time_to_wait_is_never_negative(void **state)
{
    (void)state;
    assert_int_equal(clock_timeval(2345).tv_sec, 2);
    assert_int_equal(clock_timeval(2345).tv_usec, 345000);
    assert_int_equal(clock_timeval(-1).tv_sec, 0);
    assert_int_equal(clock_timeval(-1).tv_usec, 0);
}

/* They stand in files. */
static void a_sum_stays_what_it_is(void **state)
{
    (void)state;
    assert_true(bytes_sum("", 0) == BYTES_SUM_BEGIN);
    assert_true(bytes_sum("a", 1) == 0xaf63dc4c8601ec8cu);
    assert_true(bytes_sum("foobar", 6) == 0x85944171f73967e8u);
    assert_true(bytes_sum_on(bytes_sum("foo", 3), "bar", 3) == bytes_sum("foobar", 6));
}

static void an_array_knows_its_length(void **state)
{
    const struct {
        char c[3];
    } five[5] = { 0 };

    (void)state;
    (void)five; /* only its type matters */
    assert_int_equal(HM_ARRAY_LEN(five), 5);
}

/* Runs `mistake` in a child; what it wrote to stderr goes to ret_said. Returns its wait status. */
static int run_in_child(void (*mistake)(void), char *ret_said, size_t size)
{
    int ends[2], status;
    size_t length = 0;
    ssize_t n;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL); /* cmocka and sanitizers would catch it */
        if (dup2(ends[1], STDERR_FILENO) >= 0)
            mistake();
        _exit(0);
    }
    (void)close(ends[1]); /* only the child writes */
    while (length < size - 1 && (n = read(ends[0], ret_said + length, size - 1 - length)) > 0)
        length += (size_t)n;
    ret_said[length] = '\0';
    (void)close(ends[0]); /* was only read */
    assert_true(waitpid(child, &status, 0) == child);
    return status;
}

static void claim_that_one_is_two(void)
{
    HM_BUG_ON(1 != 2);
}

static void claim_that_one_is_one(void)
{
    HM_BUG_ON(1 != 1);
}

static void draw_below_nothing(void)
{
    struct prng p;

    prng_seed(&p, 1);
    (void)prng_below(&p, 0);
}

static void draw_between_swapped_ends(void)
{
    struct prng p;

    prng_seed(&p, 1);
    (void)prng_between(&p, 1, 0);
}

static void draw_one_out_of_none(void)
{
    struct prng p;

    prng_seed(&p, 1);
    (void)prng_chance(&p, 1, 0);
}

static void write_without_a_buffer(void)
{
    struct text t;
    char c;

    text_init(&t, &c, 0);
}

static void fail_with_success(void)
{
    (void)hm_fail(NULL, HM_OK, "all is well");
}

static void a_bug_ends_the_program_and_says_where(void **state)
{
    char said[256];
    int status = run_in_child(claim_that_one_is_two, said, sizeof said);

    (void)state;
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_memory_equal(said, "tests/unit/test_base.c:", strlen("tests/unit/test_base.c:"));
    assert_non_null(strstr(said, ": bug: 1 != 2\n"));
}

static void where_there_is_no_bug_nothing_happens(void **state)
{
    char said[256];
    int status = run_in_child(claim_that_one_is_one, said, sizeof said);

    (void)state;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_string_equal(said, "");
}

static void wrong_use_of_the_base_modules_is_a_bug(void **state)
{
    static void (*const mistakes[])(void) = {
        draw_below_nothing,     draw_between_swapped_ends, draw_one_out_of_none,
        write_without_a_buffer, fail_with_success,
    };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(mistakes); i++) {
        char said[256];
        int status = run_in_child(mistakes[i], said, sizeof said);

        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        assert_non_null(strstr(said, ": bug: "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earlier_and_the_later_moment_are_found),
        cmocka_unit_test(a_time_to_wait_is_never_negative),
        cmocka_unit_test(a_sum_stays_what_it_is),
        cmocka_unit_test(an_array_knows_its_length),
        cmocka_unit_test(a_bug_ends_the_program_and_says_where),
        cmocka_unit_test(where_there_is_no_bug_nothing_happens),
        cmocka_unit_test(wrong_use_of_the_base_modules_is_a_bug),
    };

    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
