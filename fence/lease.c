/* lease.c - see lease.h.
 *
 * Every heartbeat writes this file, so it is not made anew each time: it has two slots of fixed
 * size, and a save overwrites the older one with a higher number. Half-written, a slot fails its
 * checksum and the other one counts, which is right: the new mode was not in force yet. It lies on
 * a memory file system and need not survive the kernel, so nothing is flushed. */
#include "fence/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = 2, BOOT_SIZE = 40, LEASE_MAGIC = 0x6c656d68 }; /* "hmel" */

struct slot {
    uint32_t magic;
    uint32_t mode;
    uint64_t number; /* the higher one counts */
    int64_t suspend_ms;
    int64_t until_ms;
    uint64_t is_gate_open;
    char boot[BOOT_SIZE]; /* boot id as text */
    uint64_t sum;         /* of all before */
};

_Static_assert(sizeof(struct slot) == 88, "the file has no padding");

static enum hm_rc boot_id(char ret[BOOT_SIZE], struct hm_err *err)
{
    static char known[BOOT_SIZE]; /* a process does not live through a boot */
    ssize_t n;
    int fd;

    if (known[0] == '\0') {
        fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return hm_fail_errno(err, "cannot open the boot id");
        n = read(fd, known, sizeof known - 1);
        (void)close(fd); /* opened for reading */
        if (n < 36) {
            known[0] = '\0';
            return hm_fail(err, HM_FAILED, "the boot id is too short");
        }
        memset(known + 36, 0, sizeof known - 36);
    }
    memcpy(ret, known, BOOT_SIZE);
    return HM_OK;
}

static uint64_t sum_of(const struct slot *s)
{
    const unsigned char *p = (const void *)s;
    uint64_t sum = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < offsetof(struct slot, sum); i++)
        sum = (sum ^ p[i]) * 1099511628211u;
    return sum;
}

static bool is_whole(const struct slot *s)
{
    return s->magic == LEASE_MAGIC && s->sum == sum_of(s) && s->mode <= FENCE_PAUSED &&
           s->number < UINT64_MAX && s->is_gate_open <= 1;
}

/* The slot that counts, or -1; *ret_n is how much was there at all. */
static int read_slots(int fd, struct slot slots[SLOTS], ssize_t *ret_n)
{
    int best = -1;

    memset(slots, 0, sizeof *slots * SLOTS);
    *ret_n = pread(fd, slots, sizeof *slots * SLOTS, 0);
    for (int i = 0; *ret_n > 0 && i < SLOTS; i++)
        if (is_whole(&slots[i]) && (best < 0 || slots[i].number > slots[best].number))
            best = i;
    return best;
}

static enum hm_rc open_file(int dir, const char *service, int flags, int *ret_fd,
                            struct hm_err *err)
{
    char name[HM_NAME_MAX + 8];

    (void)snprintf(name, sizeof name, "%s.lease", service); /* names are short */
    *ret_fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (*ret_fd < 0)
        return hm_fail_errno(err, "cannot open '%s'", name);
    return HM_OK;
}

enum hm_rc lease_save(int dir, const char *service, const struct lease *l, struct hm_err *err)
{
    struct slot slots[SLOTS];
    struct slot s = { .magic = LEASE_MAGIC,
                      .mode = l->mode,
                      .suspend_ms = l->suspend_ms,
                      .until_ms = l->until_ms,
                      .is_gate_open = l->is_gate_open,
                      .number = 1 };
    enum hm_rc rc = boot_id(s.boot, err);
    ssize_t n;
    int best;
    int fd;

    if (rc != HM_OK)
        return rc;
    rc = open_file(dir, service, O_RDWR | O_CREAT, &fd, err);
    if (rc != HM_OK)
        return rc;
    best = read_slots(fd, slots, &n);
    if (best >= 0)
        s.number = slots[best].number + 1;
    s.sum = sum_of(&s);
    n = pwrite(fd, &s, sizeof s, best == 0 ? sizeof s : 0);
    if (n != (ssize_t)sizeof s) {
        if (n >= 0)
            errno = ENOSPC;
        rc = hm_fail_errno(err, "cannot write '%s.lease'", service);
    }
    if (close(fd) != 0 && rc == HM_OK)
        rc = hm_fail_errno(err, "cannot write '%s.lease'", service);
    return rc;
}

enum hm_rc lease_load(int dir, const char *service, struct lease *ret, bool *ret_is_there,
                      struct hm_err *err)
{
    struct slot slots[SLOTS];
    char boot[BOOT_SIZE];
    enum hm_rc rc = boot_id(boot, err);
    ssize_t n;
    int best;
    int fd;

    if (rc != HM_OK)
        return rc;
    rc = open_file(dir, service, O_RDONLY, &fd, err);
    if (rc != HM_OK && errno == ENOENT) {
        *ret_is_there = false;
        return HM_OK;
    }
    if (rc != HM_OK)
        return rc;
    best = read_slots(fd, slots, &n);
    if (n < 0)
        rc = hm_fail_errno(err, "cannot read '%s.lease'", service);
    else if (best < 0)
        rc = hm_fail(err, HM_BAD_INPUT, "'%s.lease' is torn or garbled", service);
    (void)close(fd); /* opened for reading */
    if (rc != HM_OK)
        return rc;
    *ret_is_there = memcmp(slots[best].boot, boot, sizeof boot) == 0;
    if (*ret_is_there)
        *ret = (struct lease){ .mode = (enum fence_mode)slots[best].mode,
                               .suspend_ms = slots[best].suspend_ms,
                               .until_ms = slots[best].until_ms,
                               .is_gate_open = slots[best].is_gate_open != 0 };
    return HM_OK;
}

bool lease_allows_primary(const struct lease *l, hm_ms now_ms)
{
    return l->mode == FENCE_PAUSED || (l->mode == FENCE_LEASE && now_ms < l->suspend_ms);
}
