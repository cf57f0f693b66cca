#include "postgres/canary.h"

#include "adapter/worker.h"
#include "probe/stuck.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { AGAIN_MS = 1000, WRITE_BYTES = 4096, DIR_SIZE = 512 };

struct canary {
    struct worker_job job;
    struct worker *worker; /* owned */
    char dir[DIR_SIZE];
    bool is_out;
    hm_ms began_ms;
    int error; /* of the newest write; 0: it succeeded */

    atomic_int tid;      /* of the thread, once it has begun */
    atomic_ullong disk;  /* its device number; 0: not known */
    struct stuck thread; /* as it was seen while this write is under way */

    uint64_t writes; /* that the disk had completed at the last look ... */
    hm_ms quiet_since_ms;
    bool has_counter; /* ... if the kernel told */
};

/* --- on the thread --------------------------------------------------------------------------- */

/* A file without a name leaves nothing behind; where there is none, one that goes at once. */
static int open_file(const char *dir)
{
    char path[DIR_SIZE + 24];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    (void)snprintf(path, sizeof path, "%s/hamgr.canary", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)unlink(path); /* not gone: the next one takes it */
    return fd;
}

static int write_once(struct canary *c)
{
    static const char zeros[WRITE_BYTES];
    struct stat st;
    ssize_t n;
    int error = 0, fd;

    if (stat(c->dir, &st) == 0)
        atomic_store(&c->disk, st.st_dev);
    fd = open_file(c->dir);
    if (fd < 0)
        return errno;
    n = pwrite(fd, zeros, sizeof zeros, 0);
    if (n < 0)
        error = errno;
    else if (n < WRITE_BYTES)
        error = ENOSPC;
    else if (fdatasync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && error == 0)
        error = errno;
    return error;
}

static void run(struct worker_job *base)
{
    struct canary *c = (struct canary *)base;

    atomic_store(&c->tid, (int)syscall(SYS_gettid));
    c->error = write_once(c); /* the loop reads it in done() only */
}

static void done(struct worker_job *base)
{
    struct canary *c = (struct canary *)base;

    c->is_out = false;
    stuck_forget(&c->thread);
}

/* --- on the loop ----------------------------------------------------------------------------- */

void canary_begin(struct canary *c, hm_ms now_ms)
{
    if (c->is_out || (c->began_ms != 0 && now_ms < c->began_ms + AGAIN_MS))
        return;
    c->is_out = true;
    c->began_ms = now_ms;
    c->job.run = run;
    c->job.done = done;
    stuck_forget(&c->thread);
    worker_add(c->worker, &c->job);
}

/* Writes that the device, or the partition, has completed since the host booted. */
static bool read_counter(uint64_t disk, uint64_t *ret)
{
    char path[64];
    unsigned long long writes;
    FILE *f;
    int n;

    if (disk == 0 || major((dev_t)disk) == 0)
        return false;
    (void)snprintf(path, sizeof path, "/sys/dev/block/%u:%u/stat", major((dev_t)disk),
                   minor((dev_t)disk));
    f = fopen(path, "re");
    if (f == NULL)
        return false;
    n = fscanf(f, "%*u %*u %*u %*u %llu", &writes);
    (void)fclose(f); /* opened for reading: nothing can be lost */
    *ret = writes;
    return n == 1;
}

static void look_at_disk(struct canary *c, hm_ms now_ms)
{
    uint64_t writes = 0;
    bool had = c->has_counter;

    c->has_counter = read_counter(atomic_load(&c->disk), &writes);
    if (c->has_counter && (!had || writes != c->writes))
        c->quiet_since_ms = now_ms;
    c->writes = writes;
}

void canary_look(struct canary *c, hm_ms now_ms, struct canary_seen *ret)
{
    hm_ms hung_ms = 0;

    memset(ret, 0, sizeof *ret);
    look_at_disk(c, now_ms);
    ret->has_counter = c->has_counter;
    ret->quiet_ms = c->has_counter ? now_ms - c->quiet_since_ms : 0;
    ret->is_out = c->is_out;
    if (c->is_out) {
        ret->out_ms = now_ms - c->began_ms;
        hung_ms = stuck_look(&c->thread, getpid(), atomic_load(&c->tid), now_ms);
        ret->hung_ms = c->has_counter ? hm_min_ms(hung_ms, ret->quiet_ms) : hung_ms / 2;
    } else if (c->error != 0) {
        ret->is_refused = true;
        (void)snprintf(ret->why, sizeof ret->why, "%s", strerror(c->error));
    }
}

bool canary_shares_disk(const struct canary *a, const struct canary *b)
{
    uint64_t disk = atomic_load(&a->disk);

    return disk != 0 && disk == atomic_load(&b->disk);
}

enum hm_rc canary_new(struct event_base *base, const char *dir, struct canary **ret,
                      struct hm_err *err)
{
    struct canary *c = calloc(1, sizeof *c);
    enum hm_rc rc;

    if (c == NULL)
        return hm_fail(err, HM_FAILED, "no memory for a canary");
    (void)snprintf(c->dir, sizeof c->dir, "%s", dir);
    rc = worker_new(base, "hamgr-canary", &c->worker, err);
    if (rc != HM_OK) {
        free(c);
        return rc;
    }
    *ret = c;
    return HM_OK;
}

void canary_free(struct canary *c)
{
    if (c == NULL)
        return;
    worker_free(c->worker);
    free(c);
}
