/* Real processes that call themselves `postgres`, in a directory of their own. */
#include "probe/procs.h"

#include "base/bytes.h"

#include "tests/cm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 16 };

struct place {
    char dir[64];
    pid_t child[CHILDREN_MAX];
    size_t n;
};

static struct procs found;

static int make_place(void **state)
{
    static struct place p;

    memset(&p, 0, sizeof p);
    strcpy(p.dir, "/tmp/hamgr-procs-XXXXXX");
    *state = &p;
    return mkdtemp(p.dir) == NULL ? -1 : 0;
}

static int clear_place(void **state)
{
    struct place *p = *state;

    for (size_t i = 0; i < p->n; i++) {
        (void)kill(p->child[i], SIGKILL);
        (void)waitpid(p->child[i], NULL, 0);
    }
    return rmdir(p->dir);
}

static void *rest(void *ctx)
{
    (void)ctx;
    for (;;)
        pause();
    return NULL;
}

/* Starts a process of that name in that directory; returns once it is in place. */
static pid_t start(struct place *p, const char *name, const char *dir, unsigned int threads,
                   unsigned int children)
{
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        pid_t self = getpid();
        pthread_t thread;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (chdir(dir) != 0 || prctl(PR_SET_NAME, name) != 0)
            _exit(1);
        while (children-- > 0) {
            if (fork() == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != self)
                    _exit(0); /* it died before it was asked for */
                rest(NULL);
            }
        }
        while (threads-- > 0)
            (void)pthread_create(&thread, NULL, rest, NULL);
        (void)!write(ready[1], "r", 1);
        rest(NULL);
    }
    p->child[p->n++] = pid;
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    return pid;
}

static const struct procs *scan(const struct place *p, const char *executable)
{
    struct procs_spec spec = { .executable = executable, .data_dir = p->dir };
    struct hm_err err;

    assert_int_equal(procs_scan(&spec, &found, &err), HM_OK);
    return &found;
}

static void suspend(pid_t pid)
{
    int status;

    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
}

static void nothing_runs_in_an_empty_directory(void **state)
{
    const struct procs *f = scan(*state, "postgres");

    assert_int_equal(f->n, 0);
    assert_int_equal(f->main_pid, 0);
}

static void a_process_belongs_by_name_and_directory(void **state)
{
    struct place *p = *state;
    pid_t pid = start(p, "postgres", p->dir, 0, 0);
    const struct procs *f;

    start(p, "postgres", "/tmp", 0, 0);
    start(p, "postmaster", p->dir, 0, 0);
    start(p, "postgre", p->dir, 0, 0);
    start(p, "postgres2", p->dir, 0, 0);
    f = scan(p, "postgres");
    assert_int_equal(f->n, 1);
    assert_int_equal(f->pid[0], pid);
    assert_int_equal(f->main_pid, pid);
    assert_int_equal(f->stopped, 0);
    assert_true(f->started[0] > 0);
}

static void a_server_may_have_two_names(void **state)
{
    struct place *p = *state;
    const struct procs_spec spec = { .executable = "redis-server",
                                     .or_else = "valkey-server",
                                     .data_dir = p->dir };
    struct hm_err err;

    start(p, "redis-server", p->dir, 0, 0);
    start(p, "valkey-server", p->dir, 0, 0);
    start(p, "redis-cli", p->dir, 0, 0);
    assert_int_equal(scan(p, "redis-server")->n, 1);
    assert_int_equal(procs_scan(&spec, &found, &err), HM_OK);
    assert_int_equal(found.n, 2);
}

static void the_executable_counts_as_well(void **state)
{
    struct place *p = *state;

    start(p, "something", p->dir, 0, 0);
    assert_int_equal(scan(p, "test_procs")->n, 1);
    assert_int_equal(scan(p, "test_proc")->n, 0);
}

static void a_link_to_the_directory_is_the_directory(void **state)
{
    struct place *p = *state;
    char link[80];
    struct procs_spec spec = { .executable = "postgres", .data_dir = link };

    start(p, "postgres", p->dir, 0, 0);
    (void)snprintf(link, sizeof link, "%s.link", p->dir);
    assert_int_equal(symlink(p->dir, link), 0);
    assert_int_equal(procs_scan(&spec, &found, NULL), HM_OK);
    (void)unlink(link);
    assert_int_equal(found.n, 1);
}

static void the_parent_of_the_others_is_the_main_one(void **state)
{
    struct place *p = *state;
    pid_t pid = start(p, "postgres", p->dir, 0, 3);
    const struct procs *f = scan(p, "postgres");

    assert_int_equal(f->n, 4);
    assert_int_equal(f->main_pid, pid);
}

static void of_two_alike_none_is_the_main_one(void **state)
{
    struct place *p = *state;

    start(p, "postgres", p->dir, 0, 0);
    start(p, "postgres", p->dir, 0, 0);
    assert_int_equal(scan(p, "postgres")->main_pid, 0);
    assert_int_equal(found.n, 2);
}

static void an_orphan_beside_a_family_is_not_the_main_one(void **state)
{
    struct place *p = *state;
    pid_t pid;

    start(p, "postgres", p->dir, 0, 0);
    pid = start(p, "postgres", p->dir, 0, 1);
    assert_int_equal(scan(p, "postgres")->main_pid, pid);
}

static void stopped_ones_are_counted(void **state)
{
    struct place *p = *state;
    pid_t pid = start(p, "postgres", p->dir, 0, 0);

    start(p, "postgres", p->dir, 0, 0);
    suspend(pid);
    assert_int_equal(scan(p, "postgres")->n, 2);
    assert_int_equal(found.stopped, 1);
    suspend(p->child[1]);
    assert_int_equal(scan(p, "postgres")->stopped, 2);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(waitpid(pid, NULL, WCONTINUED), pid);
    assert_int_equal(scan(p, "postgres")->stopped, 1);
}

static void every_thread_is_looked_at(void **state)
{
    struct place *p = *state;
    pid_t pid = start(p, "redis-server", p->dir, 3, 0);

    assert_int_equal(scan(p, "redis-server")->n, 1);
    assert_int_equal(found.stopped, 0);
    suspend(pid);
    assert_int_equal(scan(p, "redis-server")->stopped, 1);
}

static void looking_again_sees_states_but_nobody_new(void **state)
{
    struct place *p = *state;
    pid_t first = start(p, "postgres", p->dir, 0, 0);
    pid_t second = start(p, "postgres", p->dir, 0, 0);

    assert_int_equal(scan(p, "postgres")->n, 2);
    suspend(first);
    start(p, "postgres", p->dir, 0, 0);
    procs_look_again(&found);
    assert_int_equal(found.n, 2);
    assert_int_equal(found.stopped, 1);
    assert_int_equal(kill(second, SIGKILL), 0);
    assert_int_equal(waitpid(second, NULL, 0), second);
    procs_look_again(&found);
    assert_int_equal(found.stopped, 2);
    found.started[0]++; /* its number is another's now */
    assert_int_equal(kill(first, SIGCONT), 0);
    assert_int_equal(waitpid(first, NULL, WCONTINUED), first);
    procs_look_again(&found);
    assert_int_equal(found.stopped, 2);
    assert_false(procs_is_same(first, found.started[0]));
    assert_true(procs_is_same(first, found.started[0] - 1));
}

static void the_dead_are_not_listed(void **state)
{
    struct place *p = *state;
    pid_t pid = start(p, "postgres", p->dir, 0, 0);
    siginfo_t info;

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0); /* a zombie stays */
    assert_int_equal(scan(p, "postgres")->n, 0);
}

static void a_directory_that_is_not_there_has_no_processes(void **state)
{
    struct procs_spec spec = { .executable = "postgres", .data_dir = "/tmp/hamgr-no-such/dir" };

    (void)state;
    assert_int_equal(procs_scan(&spec, &found, NULL), HM_OK);
    assert_int_equal(found.n, 0);
}

/* rm -rf under a running server: it acknowledges on, and must be found to be stopped. */
static void a_removed_directory_has_its_processes_still(void **state)
{
    struct place *p = *state;
    pid_t pid = start(p, "postgres", p->dir, 0, 0);

    assert_int_equal(rmdir(p->dir), 0);
    assert_int_equal(scan(p, "postgres")->n, 1);
    assert_int_equal(found.pid[0], pid);
    assert_int_equal(mkdir(p->dir, 0700), 0); /* another one of that name */
    assert_int_equal(scan(p, "postgres")->n, 1);
    strcat(p->dir, "2");
    assert_int_equal(scan(p, "postgres")->n, 0);
    p->dir[strlen(p->dir) - 1] = '\0';
}

static void a_moved_directory_has_its_processes_still(void **state)
{
    struct place *p = *state;
    struct procs_home home = { .is_known = false };
    struct procs_spec spec = { .executable = "postgres", .data_dir = p->dir, .home = &home };
    pid_t pid = start(p, "postgres", p->dir, 0, 0);
    char aside[80];

    assert_int_equal(procs_scan(&spec, &found, NULL), HM_OK);
    assert_true(home.is_known);
    (void)snprintf(aside, sizeof aside, "%s.aside", p->dir);
    assert_int_equal(rename(p->dir, aside), 0);
    assert_int_equal(procs_scan(&spec, &found, NULL), HM_OK);
    assert_int_equal(found.n, 1);
    assert_int_equal(mkdir(p->dir, 0700), 0);
    assert_int_equal(procs_scan(&spec, &found, NULL), HM_OK);
    assert_int_equal(found.n, 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    p->n = 0;
    assert_int_equal(procs_scan(&spec, &found, NULL), HM_OK);
    assert_int_equal(found.n, 0);
    assert_false(home.is_known); /* its number may be another directory's tomorrow */
    assert_int_equal(rmdir(aside), 0);
}

static void a_process_keeps_its_start_time(void **state)
{
    struct place *p = *state;
    uint64_t started;

    start(p, "postgres", p->dir, 0, 0);
    started = scan(p, "postgres")->started[0];
    assert_true(scan(p, "postgres")->started[0] == started);
}

/* Where this test may make no cgroup, its own one must do: it is in it, and so are its children. */
static void what_is_in_the_cgroup_belongs_whatever_its_name(void **state)
{
    struct place *p = *state;
    char line[256];
    char path[256] = "";
    struct procs_spec spec = { .executable = "postgres", .data_dir = p->dir, .cgroup = path };
    FILE *f = fopen("/proc/self/cgroup", "re");
    bool is_there = false;
    pid_t pid = start(p, "anything", "/tmp", 0, 0);

    assert_non_null(f);
    while (path[0] == '\0' && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "0::", 3) == 0 || strstr(line, ":name=systemd:") != NULL)
            (void)snprintf(path, sizeof path, "%s", strrchr(line, ':') + 1);
    (void)fclose(f);
    path[strcspn(path, "\n")] = '\0';
    assert_int_equal(path[0], '/');
    assert_int_equal(procs_scan(&spec, &found, NULL), HM_OK);
    for (size_t i = 0; i < found.n; i++)
        is_there |= found.pid[i] == pid;
    assert_true(is_there);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, clear_place)

static void a_boot_has_one_number(void **state)
{
    (void)state;
    assert_true(procs_boot_id() == procs_boot_id());
    assert_true(procs_boot_id() != BYTES_SUM_BEGIN); /* the sum of nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_runs_in_an_empty_directory),
        TEST(a_process_belongs_by_name_and_directory),
        TEST(a_server_may_have_two_names),
        TEST(the_executable_counts_as_well),
        TEST(a_link_to_the_directory_is_the_directory),
        TEST(the_parent_of_the_others_is_the_main_one),
        TEST(of_two_alike_none_is_the_main_one),
        TEST(an_orphan_beside_a_family_is_not_the_main_one),
        TEST(stopped_ones_are_counted),
        TEST(every_thread_is_looked_at),
        TEST(looking_again_sees_states_but_nobody_new),
        TEST(the_dead_are_not_listed),
        TEST(a_directory_that_is_not_there_has_no_processes),
        TEST(a_removed_directory_has_its_processes_still),
        TEST(a_moved_directory_has_its_processes_still),
        TEST(a_process_keeps_its_start_time),
        TEST(what_is_in_the_cgroup_belongs_whatever_its_name),
        cmocka_unit_test(a_boot_has_one_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
