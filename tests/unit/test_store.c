#include "adapter/store.h"

#include "tests/unit/told.h"
#include "wire/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* --- a directory of its own for each test -------------------------------------------------------
 */

static char folder[64];
static struct store store;
static struct record record;
static struct hm_err err;

static void path_of(const char *name, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", folder, name);
}

static void empty_folder(void)
{
    char path[512];
    DIR *dir = opendir(folder);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        path_of(entry->d_name, path, sizeof path);
        if (entry->d_name[0] != '.')
            assert_int_equal(unlink(path), 0);
    }
    (void)closedir(dir);
}

static int make_folder(void **state)
{
    struct record first;

    (void)state;
    fail_nothing();
    told_first(&first, 2, 1);
    told_record(&record, &first);
    (void)snprintf(folder, sizeof folder, "/tmp/hamgr-store-XXXXXX");
    store = (struct store){ .dir = -1, .lock = -1 };
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    fail_nothing();
    store_done(&store);
    empty_folder();
    return rmdir(folder);
}

static void open_store(void)
{
    store_done(&store);
    if (store_open(folder, &store, &err) != HM_OK)
        fail_msg("%s", err.text);
}

static void load(const char *service, struct voter_state *ret)
{
    bool is_blank = true;

    if (store_load(&store, service, ret, &is_blank, &err) != HM_OK)
        fail_msg("%s", err.text);
    assert_false(is_blank);
}

static enum hm_rc try_load(const char *service)
{
    struct voter_state s;
    bool is_blank;

    return store_load(&store, service, &s, &is_blank, &err);
}

/* The n-th state of a voter: each has another promise and another version of the record. */
static void make_state(struct voter_state *s, uint64_t n)
{
    told_state(s, &record, 2);
    s->incarnation = store.incarnation;
    s->promised.counter = 100 + n;
    s->record.version = n;
}

static void save(const char *service, uint64_t n)
{
    struct voter_state s;

    make_state(&s, n);
    if (store_save(&store, service, &s, &err) != HM_OK)
        fail_msg("%s", err.text);
}

static size_t read_all(const char *name, uint8_t *bytes, size_t size)
{
    char path[512];
    FILE *f;
    size_t n;

    path_of(name, path, sizeof path);
    f = fopen(path, "re");
    assert_non_null(f);
    n = fread(bytes, 1, size, f);
    (void)fclose(f);
    return n;
}

static void write_all(const char *name, const uint8_t *bytes, size_t size)
{
    char path[512];
    FILE *f;

    path_of(name, path, sizeof path);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void remove_file(const char *name)
{
    char path[512];

    path_of(name, path, sizeof path);
    assert_int_equal(unlink(path), 0);
}

static bool is_there(const char *name)
{
    char path[512];

    path_of(name, path, sizeof path);
    return access(path, F_OK) == 0;
}

/* --- what is written is read -------------------------------------------------------------------
 */

static void a_member_keeps_its_incarnation(void **state)
{
    uint64_t incarnation;

    (void)state;
    open_store();
    incarnation = store.incarnation;
    assert_int_not_equal(incarnation, 0);
    open_store();
    assert_true(store.incarnation == incarnation);
    store_done(&store);
    empty_folder();
    open_store();
    assert_false(store.incarnation == incarnation); /* another directory, another member */
}

static void a_directory_has_one_program(void **state)
{
    struct store second;

    (void)state;
    open_store();
    assert_int_equal(store_open(folder, &second, &err), HM_REFUSED);
    assert_non_null(strstr(err.text, folder));
    store_done(&store);
    assert_int_equal(store_open(folder, &second, &err), HM_OK);
    store_done(&second);
}

static void a_directory_that_is_not_there_is_told(void **state)
{
    struct store second;

    (void)state;
    assert_int_equal(store_open("/nowhere/hamgr", &second, &err), HM_FAILED);
    assert_non_null(strstr(err.text, "/nowhere/hamgr"));
}

static void a_new_register_is_empty_and_a_saved_one_as_it_was(void **state)
{
    struct voter_state s, saved;

    (void)state;
    open_store();
    load("postgres", &s);
    assert_int_equal(s.promised.counter, 0);
    assert_int_equal(s.accepted.counter, 0);
    assert_true(s.incarnation == store.incarnation);
    for (unsigned n = 1; n <= 3; n++) {
        make_state(&saved, n);
        save("postgres", n);
        load("postgres", &s);
        assert_int_equal(ballot_compare(&s.promised, &saved.promised), 0);
        assert_int_equal(s.record.version, n);
        assert_string_equal(s.record.member[2].name, saved.record.member[2].name);
    }
    open_store();
    load("postgres", &s);
    assert_int_equal(s.record.version, 3);
}

static void each_service_has_its_own_register(void **state)
{
    char name[HM_NAME_MAX];
    struct voter_state s;

    (void)state;
    open_store();
    for (unsigned i = 0; i < HM_SERVICES_MAX; i++) {
        (void)snprintf(name, sizeof name, "service%u", i);
        load(name, &s);
        save(name, 10 + i);
    }
    assert_int_equal(try_load("one-too-many"), HM_NO_SPACE);
    open_store();
    assert_int_equal(store.begun_n, HM_SERVICES_MAX);
    for (unsigned i = 0; i < HM_SERVICES_MAX; i++) {
        (void)snprintf(name, sizeof name, "service%u", i);
        load(name, &s);
        assert_int_equal(s.record.version, 10 + i);
    }
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
    static const char *const names[] = {
        "",        ".",         "..",
        ".hidden", "a/b",       "../x",
        "a b",     "new\nline", "a-name-that-is-longer-than-any-may-be"
    };

    (void)state;
    open_store();
    for (size_t i = 0; i < HM_ARRAY_LEN(names); i++)
        assert_int_equal(try_load(names[i]), HM_BAD_INPUT);
    assert_int_equal(store.begun_n, 0);
}

/* --- what must not be taken for an empty register -----------------------------------------------
 */

static void a_begun_register_without_its_file_is_blank(void **state)
{
    struct voter_state s = { .incarnation = 4711 };
    bool is_blank = false;

    (void)state;
    open_store();
    load("postgres", &s);
    remove_file("postgres.voter");
    s.incarnation = 4711;
    for (unsigned i = 0; i < 2; i++) { /* it stays so */
        assert_int_equal(store_load(&store, "postgres", &s, &is_blank, &err), HM_OK);
        assert_true(is_blank);
        assert_int_equal(s.incarnation, 4711);
        open_store();
    }
    load("redis", &s); /* others are not concerned */
}

static void voters_files_without_the_members_are_refused(void **state)
{
    struct store second;
    struct voter_state s;

    (void)state;
    open_store();
    load("postgres", &s);
    store_done(&store);
    remove_file("member");
    assert_int_equal(store_open(folder, &second, &err), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "postgres.voter"));
    assert_false(is_there("member"));
}

static void a_file_of_another_service_or_member_is_refused(void **state)
{
    struct voter_state s;
    char from[512], to[512];

    (void)state;
    open_store();
    load("postgres", &s);
    path_of("postgres.voter", from, sizeof from);
    path_of("redis.voter", to, sizeof to);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(try_load("redis"), HM_BAD_INPUT);
    remove_file("redis.voter");
    load("redis", &s); /* it was never begun: nothing is lost */

    make_state(&s, 1);
    s.incarnation++;
    assert_int_equal(store_save(&store, "redis", &s, &err), HM_OK);
    assert_int_equal(try_load("redis"), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "incarnation"));
}

static void a_voters_file_that_is_torn_or_garbled_is_refused(void **state)
{
    uint8_t good[WIRE_STATE_MAX], bad[WIRE_STATE_MAX + 8] = { 0 };
    struct voter_state s;
    size_t size;

    (void)state;
    open_store();
    load("postgres", &s);
    save("postgres", 7);
    size = read_all("postgres.voter", good, sizeof good);
    assert_true(size > 100);
    for (size_t n = 0; n < size; n++) {
        write_all("postgres.voter", good, n);
        assert_int_equal(try_load("postgres"), HM_BAD_INPUT);
        memcpy(bad, good, size);
        bad[n] ^= (uint8_t)(1u << (n % 8));
        write_all("postgres.voter", bad, size);
        assert_int_equal(try_load("postgres"), HM_BAD_INPUT);
    }
    memcpy(bad, good, size);
    write_all("postgres.voter", bad, size + 1); /* something behind it */
    assert_int_equal(try_load("postgres"), HM_BAD_INPUT);
    memset(bad, 0, sizeof bad);
    write_all("postgres.voter", bad, sizeof bad);
    assert_int_equal(try_load("postgres"), HM_BAD_INPUT);
    write_all("postgres.voter", good, size);
    load("postgres", &s);
    assert_int_equal(s.record.version, 7);
}

static void a_members_file_that_is_torn_or_garbled_is_refused(void **state)
{
    uint8_t good[4096], bad[4096] = { 0 };
    struct store second;
    struct voter_state s;
    size_t size;

    (void)state;
    open_store();
    load("postgres", &s);
    load("redis", &s);
    store_done(&store);
    size = read_all("member", good, sizeof good);
    for (size_t n = 0; n < size; n++) {
        write_all("member", good, n);
        assert_int_equal(store_open(folder, &second, &err), HM_BAD_INPUT);
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(bad, good, size);
            bad[n] ^= (uint8_t)(1u << bit);
            write_all("member", bad, size);
            assert_int_equal(store_open(folder, &second, &err), HM_BAD_INPUT);
        }
    }
    write_all("member", bad, sizeof bad);
    assert_int_equal(store_open(folder, &second, &err), HM_BAD_INPUT);
    write_all("member", good, size);
    open_store();
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

    if (store_open(folder, &store, &err) != HM_OK)
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

/* In a child with a file system of its own: 0, or the number of the step that went wrong. */
static int fill_a_file_system(void)
{
    static uint8_t block[4096];
    struct voter_state s;
    bool is_blank;
    int fd;

    if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", folder, "tmpfs", 0, "size=64k") != 0)
        return 1;
    if (store_open(folder, &store, &err) != HM_OK ||
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

/* --- store_replace ------------------------------------------------------------------------------
 */

static void any_small_file_is_replaced_whole(void **state)
{
    char name[300];
    uint8_t bytes[16];

    (void)state;
    open_store();
    assert_int_equal(store_replace(store.dir, "notes", "first", 5, &err), HM_OK);
    assert_int_equal(store_replace(store.dir, "notes", "2", 1, &err), HM_OK);
    assert_int_equal(read_all("notes", bytes, sizeof bytes), 1);
    assert_int_equal(bytes[0], '2');
    assert_int_equal(store_replace(store.dir, "notes", "", 0, &err), HM_OK);
    assert_int_equal(read_all("notes", bytes, sizeof bytes), 0);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(store_replace(store.dir, name, "x", 1, &err), HM_BAD_INPUT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_member_keeps_its_incarnation),
        TEST(a_directory_has_one_program),
        TEST(a_directory_that_is_not_there_is_told),
        TEST(a_new_register_is_empty_and_a_saved_one_as_it_was),
        TEST(each_service_has_its_own_register),
        TEST(names_that_lead_elsewhere_are_refused),
        TEST(a_begun_register_without_its_file_is_blank),
        TEST(voters_files_without_the_members_are_refused),
        TEST(a_file_of_another_service_or_member_is_refused),
        TEST(a_voters_file_that_is_torn_or_garbled_is_refused),
        TEST(a_members_file_that_is_torn_or_garbled_is_refused),
        TEST(a_save_that_fails_leaves_what_was_there),
        TEST(a_first_start_that_fails_can_be_repeated),
        TEST(a_limit_on_the_files_size_is_a_failed_save),
        TEST(a_disk_that_is_full_or_read_only_loses_nothing),
        TEST(any_small_file_is_replaced_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
