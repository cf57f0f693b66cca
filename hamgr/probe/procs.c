/* procs.c - see procs.h.
 *
 * Nothing is allocated and no file of the database's disk is opened: hamgr-fence scans in the
 * middle of whatever made it suspend, and a disk that hangs may be just that. The name is looked at
 * before the working directory, because a stranger's may lie on a file system that does not
 * answer. */
#include "probe/procs.h"

#include "base/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATH_SIZE = 512,
    LINE_SIZE = 1024,
    LISTING_SIZE = 16384, /* of directory entries read at once */
};

/* What /proc/PID/stat says. */
struct proc_stat {
    char state;
    pid_t parent;
    long threads;
    uint64_t started;
};

/* What a scan needs to know of each process, and its own list does not keep. */
struct scan {
    const struct procs_spec *spec;
    bool has_dir; /* the data directory exists */
    struct stat dir;
    bool was_met; /* a process works in it */
    struct procs *ret;
    pid_t parent[PROCS_MAX];
};

/* Too large for a stack; each service scans on a thread of its own. */
static _Thread_local struct scan the_scan;

/* A small file as a string; negative if it is not there (any more). */
static ssize_t read_small(int dir, const char *name, char *ret, size_t size)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -1;
    n = read(fd, ret, size - 1);
    (void)close(fd); /* opened for reading: nothing can be lost */
    if (n >= 0)
        ret[n] = '\0';
    return n;
}

/* "PID (NAME) STATE PARENT ..."; the name may hold blanks and parentheses. */
static bool parse_stat(const char *text, struct proc_stat *ret)
{
    const char *p = strrchr(text, ')');
    int parent;
    unsigned long long started;

    if (p == NULL ||
        sscanf(p + 1,
               " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
               &ret->state, &parent, &ret->threads, &started) != 4)
        return false;
    ret->parent = parent;
    ret->started = started;
    return true;
}

/* Calls `each` for every entry of an open directory that is a number. */
static bool for_each_number(int dir, bool (*each)(void *ctx, int dir, const char *name), void *ctx)
{
    _Alignas(struct dirent64) char listing[LISTING_SIZE];
    ssize_t n;

    while ((n = getdents64(dir, listing, sizeof listing)) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *entry = (const void *)(listing + at);

            if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
                !each(ctx, dir, entry->d_name))
                return false;
            at += entry->d_reclen;
        }
    }
    return n == 0 || errno == ENOENT; /* a process that ended has no tasks to list */
}

static bool pending_stop(const char *status, const char *key)
{
    const char *p = strstr(status, key);

    return p != NULL && (strtoull(p + strlen(key), NULL, 16) >> (SIGSTOP - 1) & 1) != 0;
}

/* In the kernel with the stop waiting: it cannot come back to its own code without stopping. A
 * process under a tracer is no different: the tracer can make it go on, but not past the stop. */
static bool will_stop(int dir)
{
    char status[4096];

    return read_small(dir, "status", status, sizeof status) > 0 &&
           (pending_stop(status, "\nSigPnd:") || pending_stop(status, "\nShdPnd:"));
}

static bool state_is_stopped(int dir, char state)
{
    switch (state) {
    case 'T': /* stopped */
    case 'Z': /* dead, and so on */
    case 'X':
    case 'x':
        return true;
    case 'D': /* in the kernel, where signals wait */
    case 't': /* held by a tracer */
        return will_stop(dir);
    default:
        return false;
    }
}

static bool thread_is_stopped(void *ctx, int tasks, const char *name)
{
    struct proc_stat stat;
    char text[LINE_SIZE];
    int dir;
    bool is_stopped;

    (void)ctx;
    dir = openat(tasks, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return true; /* it ended meanwhile */
    is_stopped = read_small(dir, "stat", text, sizeof text) <= 0 ||
                 (parse_stat(text, &stat) && state_is_stopped(dir, stat.state));
    (void)close(dir); /* nothing was written */
    return is_stopped;
}

static bool process_is_stopped(int dir, const struct proc_stat *stat)
{
    bool is_stopped;
    int tasks;

    if (stat->threads <= 1)
        return state_is_stopped(dir, stat->state);
    tasks = openat(dir, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tasks < 0)
        return errno == ENOENT;
    is_stopped = for_each_number(tasks, thread_is_stopped, NULL);
    (void)close(tasks); /* opened for reading */
    return is_stopped;
}

static bool is_called(const char *exe, const char *process, const char *wanted)
{
    static const char gone[] = " (deleted)"; /* the package was upgraded */
    size_t n = strlen(wanted);

    if (strncmp(exe, wanted, n) == 0 && (exe[n] == '\0' || strcmp(exe + n, gone) == 0))
        return true;
    /* The kernel cuts names at 15 characters. */
    return strncmp(process, wanted, 15) == 0 && strlen(process) == strnlen(wanted, 15);
}

/* The executable's name decides, or what the process is called: Debian's redis-server is a link
 * to another name, which only the latter shows. */
static bool name_fits(int dir, const struct procs_spec *spec)
{
    char path[PATH_SIZE];
    char name[32] = "";
    const char *base;
    ssize_t n = readlinkat(dir, "exe", path, sizeof path - 1);

    if (n <= 0)
        return false; /* the kernel's own, dead, or not ours to see */
    path[n] = '\0';
    base = strrchr(path, '/');
    base = base == NULL ? path : base + 1;
    if (read_small(dir, "comm", name, sizeof name) > 0)
        name[strcspn(name, "\n")] = '\0';
    return is_called(base, name, spec->executable) ||
           (spec->or_else != NULL && is_called(base, name, spec->or_else));
}

/* The kernel still knows what a removed directory was called. */
static bool worked_here(const struct scan *s, int dir)
{
    static const char gone[] = " (deleted)";
    char path[PATH_SIZE];
    size_t length = strlen(s->spec->data_dir);
    ssize_t n = readlinkat(dir, "cwd", path, sizeof path - 1);

    if (n <= 0)
        return false;
    path[n] = '\0';
    while (length > 1 && s->spec->data_dir[length - 1] == '/')
        length--;
    return strncmp(path, s->spec->data_dir, length) == 0 && strcmp(path + length, gone) == 0;
}

static bool works_here(struct scan *s, int dir)
{
    const struct procs_home *home = s->spec->home;
    struct stat cwd;

    if (fstatat(dir, "cwd", &cwd, 0) != 0)
        return false;
    if (s->has_dir && cwd.st_dev == s->dir.st_dev && cwd.st_ino == s->dir.st_ino) {
        s->was_met = true;
        return true;
    }
    if (home != NULL && home->is_known && cwd.st_dev == home->device && cwd.st_ino == home->inode)
        return true;
    return worked_here(s, dir);
}

static void keep_home(const struct scan *s)
{
    struct procs_home *home = s->spec->home;

    if (home == NULL)
        return;
    if (s->was_met)
        *home = (struct procs_home){ .is_known = true,
                                     .device = s->dir.st_dev,
                                     .inode = s->dir.st_ino };
    else if (s->ret->n == 0)
        home->is_known = false;
}

/* Adds a process that belongs to the service; false when there is no room. */
static bool add(struct scan *s, int dir, pid_t pid)
{
    struct procs *p = s->ret;
    struct proc_stat stat;
    char text[LINE_SIZE];

    if (read_small(dir, "stat", text, sizeof text) <= 0 || !parse_stat(text, &stat) ||
        ((stat.state == 'Z' || stat.state == 'X') && stat.threads <= 1))
        return true; /* it ended meanwhile */
    if (p->n == PROCS_MAX)
        return false;
    p->pid[p->n] = pid;
    p->started[p->n] = stat.started;
    s->parent[p->n] = stat.parent;
    p->is_stopped[p->n] = process_is_stopped(dir, &stat);
    p->n++;
    return true;
}

static bool look_at(void *ctx, int proc, const char *name)
{
    struct scan *s = ctx;
    bool has_room = true;
    /* An open directory of a process never becomes another's that got the same number. */
    int dir = openat(proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return true; /* it ended meanwhile */
    if (name_fits(dir, s->spec) && works_here(s, dir))
        has_room = add(s, dir, (pid_t)strtol(name, NULL, 10));
    (void)close(dir); /* nothing was written */
    return has_room;
}

static bool is_listed(const struct procs *p, pid_t pid)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->pid[i] == pid)
            return true;
    return false;
}

/* Adds a process of the cgroup that was not found by its name. False: no room. */
static bool add_number(struct scan *s, int proc, long pid)
{
    char name[24];
    bool has_room;
    int dir;

    if (pid <= 0 || is_listed(s->ret, (pid_t)pid))
        return true;
    (void)snprintf(name, sizeof name, "%ld", pid); /* fits any number */
    dir = openat(proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return true; /* it ended meanwhile */
    has_room = add(s, dir, (pid_t)pid);
    (void)close(dir); /* nothing was written */
    return has_room;
}

static int open_cgroup(const char *cgroup)
{
    static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified",
                                          "/sys/fs/cgroup/systemd" };
    char path[PATH_SIZE];
    int fd = -1;

    for (size_t i = 0; fd < 0 && i < HM_ARRAY_LEN(mounts); i++) {
        int n = snprintf(path, sizeof path, "%s/%s/cgroup.procs", mounts[i], cgroup);

        if (n > 0 && (size_t)n < sizeof path)
            fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    return fd;
}

/* Adds what is in the cgroup, whatever it is called: one number in each line. */
static bool add_cgroup(struct scan *s, int proc)
{
    char part[LINE_SIZE];
    bool has_room = true;
    long pid = 0;
    ssize_t n;
    int fd;

    if (s->spec->cgroup == NULL || s->spec->cgroup[0] == '\0')
        return true;
    fd = open_cgroup(s->spec->cgroup);
    if (fd < 0)
        return true; /* there is none while nothing of the service runs */
    while (has_room && (n = read(fd, part, sizeof part)) > 0) {
        for (ssize_t i = 0; has_room && i < n; i++) {
            if (part[i] >= '0' && part[i] <= '9') {
                pid = pid * 10 + (part[i] - '0');
            } else {
                has_room = add_number(s, proc, pid);
                pid = 0;
            }
        }
    }
    (void)close(fd); /* opened for reading */
    return has_room;
}

static bool has_children(const struct scan *s, pid_t pid)
{
    for (size_t i = 0; i < s->ret->n; i++)
        if (s->parent[i] == pid)
            return true;
    return false;
}

/* Nobody's child here; of several (orphans of a postmaster that died) the one with children. */
static pid_t main_of(const struct scan *s)
{
    pid_t alone = 0;
    pid_t head = 0;
    size_t alone_n = 0;
    size_t head_n = 0;

    for (size_t i = 0; i < s->ret->n; i++) {
        pid_t pid = s->ret->pid[i];

        if (is_listed(s->ret, s->parent[i]))
            continue;
        alone = pid;
        alone_n++;
        if (has_children(s, pid)) {
            head = pid;
            head_n++;
        }
    }
    if (alone_n == 1)
        return alone;
    return head_n == 1 ? head : 0;
}

enum hm_rc procs_scan(const struct procs_spec *spec, struct procs *ret, struct hm_err *err)
{
    struct scan *s = &the_scan;
    bool is_read;
    int proc;

    s->spec = spec;
    s->ret = ret;
    s->was_met = false;
    ret->n = ret->stopped = 0;
    ret->main_pid = 0;
    s->has_dir = stat(spec->data_dir, &s->dir) == 0;
    if (!s->has_dir && errno != ENOENT && errno != ENOTDIR)
        return hm_fail_errno(err, "cannot look at '%s'", spec->data_dir);
    proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return hm_fail_errno(err, "cannot open /proc");
    is_read = for_each_number(proc, look_at, s) && add_cgroup(s, proc);
    (void)close(proc); /* opened for reading */
    if (!is_read && ret->n == PROCS_MAX)
        return hm_fail(err, HM_NO_SPACE, "more than %d processes in '%s'", PROCS_MAX,
                       spec->data_dir);
    if (!is_read)
        return hm_fail_errno(err, "cannot list /proc");
    for (size_t i = 0; i < ret->n; i++)
        ret->stopped += ret->is_stopped[i];
    ret->main_pid = main_of(s);
    keep_home(s);
    return HM_OK;
}

bool procs_is_same(pid_t pid, uint64_t started)
{
    char path[32];
    char text[LINE_SIZE];
    struct proc_stat stat;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid); /* fits any number */
    return read_small(AT_FDCWD, path, text, sizeof text) > 0 && parse_stat(text, &stat) &&
           stat.started == started;
}

static bool one_is_stopped(pid_t pid, uint64_t started)
{
    char path[32];
    char text[LINE_SIZE];
    struct proc_stat stat;
    bool is_stopped;
    int dir;

    (void)snprintf(path, sizeof path, "/proc/%d", (int)pid); /* fits any number */
    dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT; /* it ended */
    is_stopped =
        read_small(dir, "stat", text, sizeof text) <= 0 ||
        (parse_stat(text, &stat) && (stat.started != started || process_is_stopped(dir, &stat)));
    (void)close(dir); /* nothing was written */
    return is_stopped;
}

void procs_look_again(struct procs *p)
{
    p->stopped = 0;
    for (size_t i = 0; i < p->n; i++) {
        p->is_stopped[i] = one_is_stopped(p->pid[i], p->started[i]);
        p->stopped += p->is_stopped[i];
    }
}

uint64_t procs_boot_id(void)
{
    char text[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);

    if (fd >= 0)
        (void)close(fd); /* opened for reading: nothing can be lost */
    return bytes_sum(text, n > 0 ? (size_t)n : 0);
}
