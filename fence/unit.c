/* unit.c - see unit.h. */
#include "fence/unit.h"

#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/wait.h>

/* The helper blocks the signals that it reads from a descriptor; a child wants them as usual. Its
 * priority is reset by the kernel (SCHED_RESET_ON_FORK). */
enum hm_rc unit_start(const char *unit, struct hm_err *err)
{
    char *argv[] = { (char[]){ "systemctl" },
                     (char[]){ "start" },
                     (char[]){ "--no-block" },
                     (char[]){ "--no-ask-password" },
                     (char[]){ "--" },
                     NULL,
                     NULL };
    static char *const environment[] = { NULL };
    char name[128];
    posix_spawnattr_t attr;
    sigset_t none;
    size_t n = 0;
    pid_t pid;
    int failed;

    while (unit[n] != '\0' && n < sizeof name - 1) {
        name[n] = unit[n];
        n++;
    }
    name[n] = '\0';
    argv[5] = name;
    failed = posix_spawnattr_init(&attr);
    if (failed == 0) {
        (void)sigemptyset(&none);
        (void)posix_spawnattr_setsigmask(&attr, &none); /* these two cannot fail */
        (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
        failed = posix_spawn(&pid, "/usr/bin/systemctl", NULL, &attr, argv, environment);
        (void)posix_spawnattr_destroy(&attr);
    }
    if (failed == 0)
        return HM_OK;
    errno = failed;
    return hm_fail_errno(err, "cannot run systemctl for '%s'", unit);
}

void unit_reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            log_warn("systemctl failed pid=%d status=%d", (int)pid, status);
}
