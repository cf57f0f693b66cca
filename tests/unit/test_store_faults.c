/* The store with every system call failing, one by one, and on disks that are full or read-only. */
#include "adapter/store.h"

#include "tests/unit/stored.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* --- system calls that fail on purpose -----------------------------------------------------------
 *
 * The program's own definitions come before the C library's: the call with that number fails, and
 * with is_power_lost all behind it, too. */

static struct {
    unsigned calls;
    unsigned failing; /* 0: none */
    bool is_power_lost;
    int number;
} faults;

static bool is_failing(void)
{
    faults.calls++;
    if (faults.failing == 0 || faults.calls < faults.failing ||
        (faults.calls > faults.failing && !faults.is_power_lost))
        return false;
    errno = faults.number;
    return true;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    return fd > STDERR_FILENO && is_failing() ? -1 : syscall(SYS_write, fd, bytes, size);
}

int fsync(int fd)
{
    return is_failing() ? -1 : (int)syscall(SYS_fsync, fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return is_failing() ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int unlinkat(int dir, const char *name, int flags)
{
    return is_failing() ? -1 : (int)syscall(SYS_unlinkat, dir, name, flags);
}

int openat(int dir, const char *name, int flags, ...)
{
    bool creates = (flags & O_CREAT) != 0;

    return creates && is_failing() ? -1 : (int)syscall(SYS_openat, dir, name, flags, 0600);
}

static void fail_call(unsigned n, int number, bool is_power_lost)
{
    faults.calls = 0;
    faults.failing = n;
    faults.number = number;
    faults.is_power_lost = is_power_lost;
}

static void fail_nothing(void)
{
    fail_call(0, 0, false);
}

/* --- calls that fail ---------------------------------------------------------------------------
 */

/* Runs `what` with its first call failing, then its second, ... until nothing fails any more. */
static void with_each_call_failing(bool is_power_lost, bool (*what)(void),
                                   void (*check)(bool is_ok))
{
    static const int numbers[] = { ENOSPC, EIO };
    unsigned n = 0;
    bool is_reached = true;

    while (is_reached) {
        n++;
        for (size_t i = 0; i < HM_ARRAY_LEN(numbers); i++) {
            bool is_ok;

            fail_call(n, numbers[i], is_power_lost);
            is_ok = what();
            is_reached = faults.calls >= n;
            fail_nothing();
            assert_true(is_ok || is_reached);
            check(is_ok);
        }
    }
    assert_true(n > 3);
}

static uint64_t saved_version; /* what the file held before */

static bool save_next(void)
{
    struct voter_state s;

    make_state(&s, saved_version + 1);
    return store_save(&store, "postgres", &s, &err) == HM_OK;
}

/* A failed save leaves what was there; only when the directory was not synced may it be either. */
static void what_was_saved_is_there(bool is_ok)
{
    bool may_be_new = is_ok || strstr(err.text, "directory") != NULL;
    struct voter_state s;

    open_store();
    load("postgres", &s);
    if (is_ok)
        saved_version++;
    else if (s.record.version != saved_version)
        assert_true(may_be_new && s.record.version == saved_version + 1);
    if (!may_be_new)
        assert_int_equal(s.record.version, saved_version);
    saved_version += 10;
    save("postgres", saved_version); /* and it goes on */
}

static void a_save_that_fails_leaves_what_was_there(void **state)
{
    struct voter_state s;

    (void)state;
    open_store();
    load("postgres", &s);
    saved_version = 1;
    save("postgres", saved_version);
    with_each_call_failing(false, save_next, what_was_saved_is_there);
    with_each_call_failing(true, save_next, what_was_saved_is_there);
}

static bool begin_everything(void)
{
    struct voter_state s;
    bool is_blank = false;

    if (store_open(folder, "main/db1", &store, &err) != HM_OK)
        return false;
    if (store_load(&store, "postgres", &s, &is_blank, &err) != HM_OK)
        return false;
    assert_false(is_blank);
    return true;
}

/* Wherever a first start was cut off, the next one begins as if there had been none. */
static void a_new_start_begins(bool is_ok)
{
    struct voter_state s;

    (void)is_ok;
    open_store();
    load("postgres", &s);
    assert_int_equal(s.promised.counter, 0);
    assert_true(s.incarnation == store.incarnation);
    assert_int_equal(store.begun_n, 1);
    store_done(&store);
    empty_folder();
}

static void a_first_start_that_fails_can_be_repeated(void **state)
{
    (void)state;
    with_each_call_failing(false, begin_everything, a_new_start_begins);
    with_each_call_failing(true, begin_everything, a_new_start_begins);
}

static void a_limit_on_the_files_size_is_a_failed_save(void **state)
{
    struct rlimit old, none;
    struct voter_state s;

    (void)state;
    open_store();
    load("postgres", &s);
    save("postgres", 5);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    none = old;
    none.rlim_cur = 64;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    make_state(&s, 6);
    assert_int_equal(store_save(&store, "postgres", &s, &err), HM_FAILED);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, SIG_DFL);
    assert_false(is_there("postgres.voter.tmp"));
    load("postgres", &s);
    assert_int_equal(s.record.version, 5);
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        (void)close(fd);
    return is_ok;
}

/* Whoever is not root becomes it in a user namespace. */
static bool have_own_mounts(void)
{
    char users[32], groups[32];
    uid_t uid = geteuid();

    if (uid == 0)
        return unshare(CLONE_NEWNS) == 0;
    (void)snprintf(users, sizeof users, "0 %u 1", (unsigned)uid);
    (void)snprintf(groups, sizeof groups, "0 %u 1", (unsigned)getegid());
    return unshare(CLONE_NEWNS | CLONE_NEWUSER) == 0 && write_text("/proc/self/uid_map", users) &&
           write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/gid_map", groups);
}

/* In a child with a file system of its own: 0, or the number of the step that went wrong. */
static int fill_a_file_system(void)
{
    static uint8_t block[4096];
    struct voter_state s;
    bool is_blank;
    int fd;

    if (!have_own_mounts() || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", folder, "tmpfs", 0, "size=64k") != 0)
        return 1;
    if (store_open(folder, "main/db1", &store, &err) != HM_OK ||
        store_load(&store, "postgres", &s, &is_blank, &err) != HM_OK)
        return 2;
    make_state(&s, 5);
    if (store_save(&store, "postgres", &s, &err) != HM_OK)
        return 3;
    fd = openat(store.dir, "filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof block) > 0)
        ;
    make_state(&s, 6);
    if (store_save(&store, "postgres", &s, &err) != HM_NO_SPACE)
        return 4;
    if (store_load(&store, "redis", &s, &is_blank, &err) != HM_NO_SPACE)
        return 5;
    if (store_load(&store, "postgres", &s, &is_blank, &err) != HM_OK || s.record.version != 5)
        return 6;
    if (mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0)
        return 7; /* refused: the filler is open for writing */
    (void)close(fd);
    if (mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
        return 8;
    if (store_save(&store, "postgres", &s, &err) != HM_FAILED)
        return 9;
    if (mount(NULL, folder, NULL, MS_REMOUNT, "size=64k") != 0 ||
        unlinkat(store.dir, "filler", 0) != 0)
        return 10;
    make_state(&s, 6);
    if (store_save(&store, "postgres", &s, &err) != HM_OK ||
        store_load(&store, "postgres", &s, &is_blank, &err) != HM_OK || s.record.version != 6)
        return 11;
    return 0;
}

static void a_disk_that_is_full_or_read_only_loses_nothing(void **state)
{
    int status;
    pid_t child;

    (void)state;
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(fill_a_file_system());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_save_that_fails_leaves_what_was_there),
        TEST(a_first_start_that_fails_can_be_repeated),
        TEST(a_limit_on_the_files_size_is_a_failed_save),
        TEST(a_disk_that_is_full_or_read_only_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
