#include "fence/lease.h"

#include "tests/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOT = 88, BOOT_AT = 40 }; /* bytes of a slot; where the boot id stands in it */

struct place {
    char path[64];
    char file[80];
    int dir;
};

static const struct lease some = {
    .mode = FENCE_LEASE, .suspend_ms = 123456789, .until_ms = 123456889, .is_gate_open = true
};

static int set_up(void **state)
{
    static struct place p;

    strcpy(p.path, "/tmp/hamgr-lease-XXXXXX");
    if (mkdtemp(p.path) == NULL)
        return -1;
    (void)snprintf(p.file, sizeof p.file, "%s/pg.lease", p.path);
    p.dir = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = &p;
    return p.dir < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;

    (void)unlink(p->file);
    (void)close(p->dir);
    return rmdir(p->path);
}

static void save(const struct place *p, const struct lease *l)
{
    assert_int_equal(lease_save(p->dir, "pg", l, NULL), HM_OK);
}

static enum hm_rc load(const struct place *p, struct lease *ret, bool *ret_is_there)
{
    struct hm_err err;

    return lease_load(p->dir, "pg", ret, ret_is_there, &err);
}

static void assert_there(const struct place *p, const struct lease *wanted)
{
    struct lease l;
    bool is_there;

    assert_int_equal(load(p, &l, &is_there), HM_OK);
    assert_true(is_there);
    assert_int_equal(l.mode, wanted->mode);
    assert_true(l.suspend_ms == wanted->suspend_ms);
    assert_true(l.until_ms == wanted->until_ms);
    assert_int_equal(l.is_gate_open, wanted->is_gate_open);
}

static void patch(const struct place *p, long at, const void *bytes, size_t size)
{
    int fd = open(p->file, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, size, at), size);
    (void)close(fd);
}

static void no_file_is_none(void **state)
{
    struct lease l;
    bool is_there = true;

    assert_int_equal(load(*state, &l, &is_there), HM_OK);
    assert_false(is_there);
}

static void what_was_saved_is_loaded(void **state)
{
    save(*state, &some);
    assert_there(*state, &some);
}

static void the_newest_counts_however_often_it_is_saved(void **state)
{
    struct lease l = some;

    for (int i = 0; i < 100; i++) {
        l.until_ms++;
        l.is_gate_open = i % 3 == 0;
        l.mode = i % 2 == 0 ? FENCE_LEASE : FENCE_SUSPENDED;
        save(*state, &l);
        assert_there(*state, &l);
    }
}

static void the_file_does_not_grow(void **state)
{
    struct place *p = *state;
    struct stat st;

    for (int i = 0; i < 50; i++)
        save(p, &some);
    assert_int_equal(stat(p->file, &st), 0);
    assert_int_equal(st.st_size, 2 * SLOT);
}

static void a_torn_save_leaves_the_one_before(void **state)
{
    struct lease next = some;

    save(*state, &some); /* into the first slot */
    next.until_ms++;
    save(*state, &next); /* into the second */
    for (long at = SLOT; at < 2 * SLOT; at++) {
        struct place *p = *state;
        unsigned char byte;
        unsigned char wrong;
        int fd = open(p->file, O_RDONLY | O_CLOEXEC);

        assert_int_equal(pread(fd, &byte, 1, at), 1);
        (void)close(fd);
        wrong = byte ^ 0x40;
        patch(p, at, &wrong, 1);
        assert_there(p, &some);
        patch(p, at, &byte, 1);
        assert_there(p, &next);
    }
}

static void a_torn_file_is_repaired_by_the_next_save(void **state)
{
    struct place *p = *state;
    struct lease l;
    bool is_there;

    save(p, &some);
    patch(p, 9, "#", 1);
    assert_int_equal(load(p, &l, &is_there), HM_BAD_INPUT);
    save(p, &some);
    assert_there(p, &some);
}

static void every_length_but_the_whole_is_garbled(void **state)
{
    struct place *p = *state;
    struct lease l;
    bool is_there;

    for (long size = 0; size < SLOT; size++) {
        save(p, &some);
        assert_int_equal(truncate(p->file, size), 0);
        assert_int_equal(load(p, &l, &is_there), HM_BAD_INPUT);
        (void)unlink(p->file);
    }
}

static uint64_t sum_of(const unsigned char *p, size_t n)
{
    uint64_t sum = 14695981039346656037u;

    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * 1099511628211u;
    return sum;
}

static void a_file_of_another_boot_is_none(void **state)
{
    struct place *p = *state;
    unsigned char slot[SLOT];
    struct lease l;
    uint64_t sum;
    bool is_there = true;
    int fd;

    save(p, &some);
    fd = open(p->file, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, slot, SLOT, 0), SLOT);
    (void)close(fd);
    sum = sum_of(slot, SLOT - 8);
    assert_memory_equal(&sum, slot + SLOT - 8, 8); /* the test knows the format */
    slot[BOOT_AT] = slot[BOOT_AT] == 'f' ? '0' : 'f';
    sum = sum_of(slot, SLOT - 8);
    memcpy(slot + SLOT - 8, &sum, 8);
    patch(p, 0, slot, SLOT);
    assert_int_equal(load(p, &l, &is_there), HM_OK);
    assert_false(is_there);
    save(p, &some);
    assert_there(p, &some);
}

static void a_link_is_not_followed(void **state)
{
    struct place *p = *state;
    char target[96];

    (void)snprintf(target, sizeof target, "%s/target", p->path);
    assert_int_equal(symlink(target, p->file), 0);
    assert_int_not_equal(lease_save(p->dir, "pg", &some, NULL), HM_OK);
    assert_int_equal(access(target, F_OK), -1);
}

static void a_directory_that_is_gone_fails(void **state)
{
    struct hm_err err;
    struct lease l;
    bool is_there = true;

    (void)state;
    assert_int_equal(lease_save(-1, "pg", &some, &err), HM_FAILED);
    assert_int_equal(lease_load(-1, "pg", &l, &is_there, &err), HM_FAILED);
}

static void a_primary_is_allowed_by_a_live_lease_or_a_pause(void **state)
{
    struct lease l = some;

    (void)state;
    assert_true(lease_allows_primary(&l, l.suspend_ms - 1));
    assert_false(lease_allows_primary(&l, l.suspend_ms));
    l.mode = FENCE_PAUSED;
    assert_true(lease_allows_primary(&l, HM_NEVER));
    for (l.mode = FENCE_NONE; l.mode <= FENCE_PAUSED; l.mode++)
        if (l.mode != FENCE_LEASE && l.mode != FENCE_PAUSED)
            assert_false(lease_allows_primary(&l, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_file_is_none),
        TEST(what_was_saved_is_loaded),
        TEST(the_newest_counts_however_often_it_is_saved),
        TEST(the_file_does_not_grow),
        TEST(a_torn_save_leaves_the_one_before),
        TEST(a_torn_file_is_repaired_by_the_next_save),
        TEST(every_length_but_the_whole_is_garbled),
        TEST(a_file_of_another_boot_is_none),
        TEST(a_link_is_not_followed),
        TEST(a_directory_that_is_gone_fails),
        cmocka_unit_test(a_primary_is_allowed_by_a_live_lease_or_a_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
