/* process.c - see process.h. */
#include "fence/process.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    STACK_SIZE = 160 * 1024, /* what the helper may need of it, with much to spare */
    PRIORITY = 10,           /* below the kernel's own threads */
};

/* The stack grows by page faults: those happen now. */
static void touch_stack(void)
{
    volatile unsigned char room[STACK_SIZE];

    for (size_t i = 0; i < sizeof room; i += 1024)
        room[i] = 0;
}

static bool is_needed(const char *path, const char *own)
{
    const char *base = strrchr(path, '/');

    if (path[0] != '/')
        return strncmp(path, "[v", 2) != 0; /* not the kernel's own pages */
    return strcmp(path, own) == 0 || strncmp(base, "/libc.so", 8) == 0 ||
           strncmp(base, "/ld-linux", 9) == 0;
}

enum hm_rc process_lock_memory(struct hm_err *err)
{
    char own[256];
    char line[512];
    enum hm_rc rc = HM_OK;
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    FILE *f = fopen("/proc/self/maps", "re");

    if (f == NULL || n < 0) {
        rc = hm_fail_errno(err, "cannot read the own map of memory");
        goto out;
    }
    own[n] = '\0';
    touch_stack();
    while (rc == HM_OK && fgets(line, sizeof line, f) != NULL) {
        unsigned long from;
        unsigned long to;
        char rights[8];
        int at = 0;

        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%lx-%lx %7s %*x %*s %*u %n", &from, &to, rights, &at) != 3 ||
            rights[0] != 'r' || !is_needed(line + at, own))
            continue;
        if (mlock((const void *)from, to - from) != 0)
            rc = hm_fail_errno(err, "cannot lock the memory");
    }
out:
    if (f != NULL)
        (void)fclose(f); /* opened for reading */
    return rc;
}

enum hm_rc process_raise_priority(struct hm_err *err)
{
    struct sched_param how = { .sched_priority = PRIORITY };

    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &how) != 0)
        return hm_fail_errno(err, "cannot get real-time priority");
    return HM_OK;
}

void process_notify(const char *text)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n;
    int fd;

    if (path == NULL || (path[0] != '/' && path[0] != '@'))
        return;
    n = strlen(path);
    if (n >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, n);
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    /* If it is lost, systemd starts the helper again: nothing else can be done about it. */
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    (void)close(fd);
}

hm_ms process_notify_ms(void)
{
    const char *text = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    long long every_us = text == NULL ? 0 : strtoll(text, NULL, 10);

    if (every_us <= 0 || (pid != NULL && strtol(pid, NULL, 10) != getpid()))
        return HM_NEVER;
    return every_us / 2000;
}
