#include "probe/stuck.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_SIZE = 4096 };

static bool read_text(const char *path, char text[TEXT_SIZE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, TEXT_SIZE - 1);
    (void)close(fd); /* opened for reading: nothing can be lost */
    if (n <= 0)
        return false;
    text[n] = 0;
    return true;
}

/* "PID (NAME) STATE PARENT ... STARTED": the 3rd and the 22nd; the name may hold anything. */
static bool read_stat(pid_t pid, pid_t tid, char *ret_state, uint64_t *ret_started)
{
    char path[64], text[TEXT_SIZE];
    unsigned long long started;
    const char *p;

    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    if (!read_text(path, text))
        return false;
    p = strrchr(text, ')');
    if (p == NULL ||
        sscanf(p + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
               "%llu",
               ret_state, &started) != 2)
        return false;
    *ret_started = started;
    return true;
}

static bool read_switches(pid_t pid, pid_t tid, uint64_t *ret)
{
    char path[64], text[TEXT_SIZE];
    const char *by_itself, *forced;

    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/status", (int)pid, (int)tid);
    if (!read_text(path, text))
        return false;
    by_itself = strstr(text, "\nvoluntary_ctxt_switches:");
    forced = strstr(text, "\nnonvoluntary_ctxt_switches:");
    if (by_itself == NULL || forced == NULL)
        return false;
    *ret = strtoull(strchr(by_itself, ':') + 1, NULL, 10) +
           strtoull(strchr(forced, ':') + 1, NULL, 10);
    return true;
}

void stuck_forget(struct stuck *s)
{
    memset(s, 0, sizeof *s);
}

hm_ms stuck_look(struct stuck *s, pid_t pid, pid_t tid, hm_ms now_ms)
{
    struct stuck seen = { .tid = tid, .since_ms = now_ms };

    if (pid <= 0 || tid <= 0 || !read_switches(pid, tid, &seen.switches) ||
        !read_stat(pid, tid, &seen.state, &seen.started)) {
        stuck_forget(s);
        return 0;
    }
    if (seen.state != 'R' && s->state != 0 && s->state != 'R' && seen.tid == s->tid &&
        seen.started == s->started && seen.switches == s->switches)
        seen.since_ms = s->since_ms;
    *s = seen;
    return now_ms - s->since_ms;
}

bool stuck_is_in_kernel(const struct stuck *s)
{
    return s->state == 'D';
}

bool stuck_is_stopped(const struct stuck *s)
{
    return s->state == 'T' || s->state == 't';
}

int stuck_pressure(bool is_disk)
{
    char text[TEXT_SIZE];
    const char *p;

    if (!read_text(is_disk ? "/proc/pressure/io" : "/proc/pressure/cpu", text))
        return -1;
    p = strstr(text, "some avg10=");
    return p != NULL ? (int)strtol(p + strlen("some avg10="), NULL, 10) : -1;
}
