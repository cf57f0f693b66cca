#include "adapter/leftover.h"
#include "tests/cm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(const char *mark)
{
    const char *const argv[] = { "/bin/sleep", "100", NULL };
    const char *const env[] = { "A=1", mark, "B=2", NULL };
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execve(argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
        _exit(127);
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* exec() closed the other end */
    (void)close(ready[0]);
    return pid;
}

static void only_marked_processes_are_ended(void **state)
{
    char mark[64], other[64];
    pid_t marked[2], spared;
    struct hm_err err;
    unsigned int n;
    int status;

    (void)state;
    (void)snprintf(mark, sizeof mark, "HAMGR_TEST=%d", (int)getpid());
    (void)snprintf(other, sizeof other, "HAMGR_TEST=%d0", (int)getpid());
    assert_int_equal(leftover_end(mark, 5000, &n, &err), HM_OK);
    assert_int_equal(n, 0);
    marked[0] = start(mark);
    spared = start(other);
    marked[1] = start(mark);
    assert_int_equal(leftover_end(mark, 5000, &n, &err), HM_OK);
    assert_int_equal(n, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(waitpid(marked[i], &status, 0), marked[i]);
        assert_true(WIFSIGNALED(status));
    }
    assert_int_equal(waitpid(spared, &status, WNOHANG), 0);
    assert_int_equal(kill(spared, SIGKILL), 0);
    assert_int_equal(waitpid(spared, &status, 0), spared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_marked_processes_are_ended),
    };

    return cmocka_run_group_tests_name("leftover", tests, NULL, NULL);
}
