/* faults.c - preloaded into the programs of one host: its wall clock is off, or its disk fails.
 *
 * A file that all of them map says by how much the wall clock is off, and with which error
 * everything fails that is written below one directory. What the test writes into it holds from the
 * next call on. The clocks that count on whatever happens are left alone, as a real jump leaves
 * them. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct faults {
    int64_t wall_s;
    int64_t disk_errno; /* 0: none */
};

static const struct faults none;
static const volatile struct faults *the_faults = &none;
static const char *the_dir;

__attribute__((constructor)) static void faults_begin(void)
{
    const char *path = getenv("FAULTS_FILE");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *at = MAP_FAILED;

    the_dir = getenv("FAULTS_DIR");
    if (fd >= 0) {
        at = mmap(NULL, sizeof(struct faults), PROT_READ, MAP_SHARED, fd, 0);
        (void)close(fd); /* opened for reading */
    }
    if (at != MAP_FAILED)
        the_faults = at;
}

/* --- the wall clock -------------------------------------------------------------------------- */

static int is_wall(clockid_t which)
{
    return which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t which, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, which, t);

    if (rc == 0 && is_wall(which))
        t->tv_sec += the_faults->wall_s;
    return rc;
}

int gettimeofday(struct timeval *t, void *zone)
{
    struct timespec now;

    (void)zone; /* obsolete */
    (void)clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret != NULL)
        *ret = now.tv_sec;
    return now.tv_sec;
}

/* --- the disk -------------------------------------------------------------------------------- */

static int disk_fails(int fd)
{
    char link[32], path[512];
    size_t length = the_dir != NULL ? strlen(the_dir) : 0;
    ssize_t n;

    if (the_faults->disk_errno == 0 || length == 0)
        return 0;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < (ssize_t)length || strncmp(path, the_dir, length) != 0)
        return 0;
    errno = (int)the_faults->disk_errno;
    return 1;
}

int fsync(int fd)
{
    return disk_fails(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return disk_fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    return disk_fails(fd) ? -1 : syscall(SYS_write, fd, bytes, size);
}
