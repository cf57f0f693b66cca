/* A signal goes to the process that was found, and to none that has its number now. */
#include "postgres/probe.h"

#include "base/kernel.h"
#include "tests/cm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct probe p;

static void a_signal_goes_to_the_process_that_was_found(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        (void)pause(); /* until the signal ends it */
        _exit(1);
    }
    memset(&p, 0, sizeof p);
    p.pidfd = pidfd_open(child, 0);
    assert_true(p.pidfd >= 0);
    assert_true(probe_signal(&p, SIGTERM));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_false(probe_signal(&p, SIGTERM)); /* whoever has its number by now */
    assert_int_equal(errno, ESRCH);
    assert_int_equal(close(p.pidfd), 0);
    p.pidfd = -1;
    assert_false(probe_signal(&p, SIGTERM));
    assert_int_equal(errno, ESRCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_goes_to_the_process_that_was_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
