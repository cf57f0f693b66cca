/* fuzz_lease.c - any bytes as a lease file: garbled, or of another boot, or a lease; and a save
 * makes it whole again. */
#include "fence/lease.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool is_so)
{
    if (!is_so)
        abort();
}

static char path[] = "/tmp/hamgr-fuzz-lease-XXXXXX";
static int dir = -1;

static void clean(void)
{
    (void)unlinkat(dir, "pg.lease", 0);
    (void)rmdir(path); /* nothing else is in it */
}

static void make_folder(void)
{
    want(mkdtemp(path) != NULL);
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    want(dir >= 0 && atexit(clean) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lease l = { .mode = FENCE_LEASE, .suspend_ms = 1, .until_ms = 2 };
    bool is_there = false;
    int fd;

    if (dir < 0)
        make_folder();
    fd = openat(dir, "pg.lease", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    want(fd >= 0);
    want(write(fd, data, size) == (ssize_t)size);
    (void)close(fd);
    if (lease_load(dir, "pg", &l, &is_there, NULL) == HM_OK && is_there)
        want(fence_mode_name(l.mode)[0] != '\0');
    l.until_ms = 77;
    want(lease_save(dir, "pg", &l, NULL) == HM_OK);
    want(lease_load(dir, "pg", &l, &is_there, NULL) == HM_OK && is_there && l.until_ms == 77);
    return 0;
}
