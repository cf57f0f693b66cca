#include "adapter/leftover.h"

#include "base/clock.h"
#include "base/kernel.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENVIRONMENT_MAX = 256 << 10 };

/* The environment is a row of texts, each with a NUL at its end. */
static bool has_mark(const char *text, size_t size, const char *mark)
{
    size_t length = strlen(mark) + 1;

    for (size_t at = 0; at + length <= size; at += strnlen(text + at, size - at) + 1)
        if (memcmp(text + at, mark, length) == 0)
            return true;
    return false;
}

/* Of other users nothing can be read: they are not ours. */
static bool is_marked(const char *pid, const char *mark, char *buffer)
{
    char path[64];
    size_t filled = 0;
    ssize_t n = 0;
    int fd;

    (void)snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (filled < ENVIRONMENT_MAX &&
           (n = read(fd, buffer + filled, ENVIRONMENT_MAX - filled)) > 0)
        filled += (size_t)n;
    (void)close(fd); /* opened for reading */
    return has_mark(buffer, filled, mark);
}

/* Opened before it is looked at: the number could become another's. */
static enum hm_rc end_one(const char *name, const char *mark, char *buffer, hm_ms until_ms,
                          unsigned int *n, struct hm_err *err)
{
    int fd = pidfd_open((pid_t)atoi(name), 0);
    struct pollfd end = { .fd = fd, .events = POLLIN };
    enum hm_rc rc = HM_OK;
    hm_ms left_ms;

    if (fd < 0)
        return HM_OK; /* gone */
    if (is_marked(name, mark, buffer) && pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0) {
        (*n)++;
        left_ms = hm_max_ms(until_ms - clock_boot_ms(), 0);
        if (poll(&end, 1, (int)left_ms) <= 0)
            rc = hm_fail(err, HM_TIMED_OUT,
                         "process %s, left over from an earlier attempt, does not end", name);
    }
    (void)close(fd); /* nothing was written */
    return rc;
}

static enum hm_rc end_all(DIR *dir, const char *mark, char *buffer, hm_ms until_ms, unsigned int *n,
                          struct hm_err *err)
{
    struct dirent *entry;
    enum hm_rc rc = HM_OK;

    while (rc == HM_OK && (entry = readdir(dir)) != NULL)
        if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != (int)getpid())
            rc = end_one(entry->d_name, mark, buffer, until_ms, n, err);
    return rc;
}

enum hm_rc leftover_end(const char *mark, hm_ms limit_ms, unsigned int *ret_n, struct hm_err *err)
{
    hm_ms until_ms = clock_boot_ms() + limit_ms;
    char *buffer = malloc(ENVIRONMENT_MAX);
    unsigned int n = 0, before;
    enum hm_rc rc;

    *ret_n = 0;
    if (buffer == NULL)
        return hm_fail(err, HM_FAILED, "no memory to look for processes");
    do { /* one that was forked meanwhile is found by another look */
        DIR *dir = opendir("/proc");

        before = n;
        if (dir == NULL) {
            rc = hm_fail_errno(err, "cannot open '/proc'");
            break;
        }
        rc = end_all(dir, mark, buffer, until_ms, &n, err);
        (void)closedir(dir); /* opened for reading */
    } while (rc == HM_OK && n > before);
    free(buffer);
    *ret_n = n;
    return rc;
}
