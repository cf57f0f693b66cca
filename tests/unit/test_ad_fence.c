/* hamgrd's end of the socket against the helper's own: server.c and keeper.c in another process,
 * with a data directory in which nothing runs. */
#include "adapter/ad_fence.h"

#include "base/clock.h"
#include "fence/server.h"
#include "tests/cm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct world {
    char dir[64];
    char socket[80];
    struct event_base *base;
    struct event *limit;
    struct ad_fence *fence;
    pid_t helper;
    /* what was heard */
    unsigned int reports;
    unsigned int losses;
    struct fence_report last;
    /* what run() waits for */
    bool (*is_enough)(const struct world *w);
    bool is_late;
};

/* The helper: enough of main.c to answer. `names`: its services. */
static void serve(const char *dir, const char *const *names, size_t n)
{
    static struct settings_service service[HM_SERVICES_MAX];
    static struct keeper keeper[HM_SERVICES_MAX];
    static struct keeper_tools tools = { .gate.fd = -1, .sockets.fd = -1 };
    static struct server server;
    struct pollfd polled[SERVER_CONNS + 1];
    char path[80];

    tools.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(service[i].name, sizeof service[i].name, "%s", names[i]);
        (void)snprintf(service[i].data_dir, sizeof service[i].data_dir, "%s", dir);
        keeper_start(&keeper[i], &tools, &service[i]);
    }
    server.keepers = keeper;
    server.keepers_n = n;
    (void)snprintf(path, sizeof path, "%s/fence.sock", dir);
    if (server_open(&server, path, geteuid(), getegid(), NULL) != HM_OK)
        _exit(1);
    for (;;) {
        size_t count = server_poll(&server, polled);

        if (poll(polled, count, -1) < 0)
            continue;
        (void)server_take(&server, polled, count);
        server_tell(&server);
    }
}

static pid_t start_helper(const struct world *w)
{
    static const char *const names[] = { "other", "pg" };
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(w->dir, names, 2);
    }
    return pid;
}

static void end_helper(struct world *w)
{
    if (w->helper != 0) {
        (void)kill(w->helper, SIGKILL);
        (void)waitpid(w->helper, NULL, 0);
    }
    w->helper = 0;
}

static void on_limit(evutil_socket_t fd, short what, void *ctx)
{
    struct world *w = ctx;

    (void)fd;
    (void)what;
    w->is_late = true;
    (void)event_base_loopbreak(w->base);
}

static void on_report(void *ctx, bool is_there, const struct fence_report *report)
{
    struct world *w = ctx;

    if (is_there)
        w->reports++;
    else
        w->losses++;
    w->last = *report;
    if (w->is_enough != NULL && w->is_enough(w))
        (void)event_base_loopbreak(w->base);
}

/* Runs the loop until that has been heard; false after `limit_ms`. */
static bool run(struct world *w, bool (*is_enough)(const struct world *w), int limit_ms)
{
    struct timeval tv = { .tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000 };

    w->is_enough = is_enough;
    w->is_late = false;
    assert_int_equal(event_add(w->limit, &tv), 0);
    (void)event_base_dispatch(w->base);
    (void)event_del(w->limit);
    return !w->is_late;
}

static int set_up(void **state)
{
    static struct world w;

    memset(&w, 0, sizeof w);
    strcpy(w.dir, "/tmp/hamgr-ad-fence-XXXXXX");
    if (mkdtemp(w.dir) == NULL)
        return -1;
    (void)snprintf(w.socket, sizeof w.socket, "%s/fence.sock", w.dir);
    w.base = event_base_new();
    w.limit = evtimer_new(w.base, on_limit, &w);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const files[] = { "fence.sock", "pg.lease", ".pg.lease", "other.lease",
                                         ".other.lease" };
    struct world *w = *state;

    ad_fence_free(w->fence);
    event_free(w->limit);
    event_base_free(w->base);
    end_helper(w);
    while (waitpid(-1, NULL, 0) > 0)
        ; /* the child, which was told to end */
    for (size_t i = 0; i < HM_ARRAY_LEN(files); i++) {
        char path[128];

        (void)snprintf(path, sizeof path, "%s/%s", w->dir, files[i]);
        (void)unlink(path);
    }
    return rmdir(w->dir);
}

static void make_fence(struct world *w, const char *service, const char *const *child)
{
    struct ad_fence_config config = { .base = w->base,
                                      .socket = w->socket,
                                      .service = service,
                                      .child_argv = child,
                                      .on_report = on_report,
                                      .ctx = w };

    assert_int_equal(ad_fence_new(&config, &w->fence, NULL), HM_OK);
}

static bool has_report(const struct world *w)
{
    return w->reports > 0;
}

static bool has_loss(const struct world *w)
{
    return w->losses > 0;
}

static bool has_report_after_loss(const struct world *w)
{
    static unsigned int before;

    if (w->losses == 0)
        before = w->reports;
    return w->losses > 0 && w->reports > before;
}

static bool has_answer(const struct world *w)
{
    return w->reports > 0 && w->last.seq > 1; /* the first request is ad_fence's own */
}

static bool is_lease(const struct world *w)
{
    return w->last.mode == FENCE_LEASE;
}

static bool never(const struct world *w)
{
    (void)w;
    return false;
}

static void a_helper_that_is_there_is_heard_at_once(void **state)
{
    struct world *w = *state;

    w->helper = start_helper(w);
    make_fence(w, "pg", NULL);
    assert_false(ad_fence_answers(w->fence, clock_boot_ms(), 1000));
    assert_true(run(w, has_report, 2000));
    assert_string_equal(w->last.service, "pg"); /* not the other's greeting */
    assert_int_equal(w->last.mode, FENCE_NONE);
    assert_true(ad_fence_answers(w->fence, clock_boot_ms(), 1000));
}

static void a_request_comes_back_as_a_report(void **state)
{
    struct world *w = *state;
    struct fence_request r = { .verb = FENCE_VERB_MODE,
                               .mode = FENCE_LEASE,
                               .suspend_ms = clock_boot_ms() + 60000,
                               .until_ms = clock_boot_ms() + 60100,
                               .is_gate_open = true };

    w->helper = start_helper(w);
    make_fence(w, "pg", NULL);
    assert_true(run(w, has_report, 2000));
    assert_true(ad_fence_ask(w->fence, &r));
    assert_true(run(w, is_lease, 2000));
    assert_int_equal(w->last.rc, HM_OK);
    assert_true(w->last.until_ms == r.until_ms && w->last.suspend_ms == r.suspend_ms);
    assert_true(w->last.is_gate_open);
}

static void what_the_helper_refuses_is_heard_with_its_reason(void **state)
{
    struct world *w = *state;
    struct fence_request r = { .verb = FENCE_VERB_THAW };

    w->helper = start_helper(w);
    make_fence(w, "pg", NULL);
    assert_true(run(w, has_report, 2000));
    assert_true(ad_fence_ask(w->fence, &r));
    assert_true(run(w, has_answer, 2000));
    assert_int_equal(w->last.rc, HM_REFUSED);
    assert_non_null(strstr(w->last.why, "not thawed"));
}

static void without_a_helper_nothing_is_sent(void **state)
{
    struct world *w = *state;
    struct fence_request r = { .verb = FENCE_VERB_STATUS };

    make_fence(w, "pg", NULL);
    assert_false(run(w, has_report, 300));
    assert_false(ad_fence_ask(w->fence, &r));
    assert_false(ad_fence_answers(w->fence, clock_boot_ms(), 1000));
    assert_int_equal(w->losses, 0); /* it was not there before */
    w->helper = start_helper(w);
    assert_true(run(w, has_report, 2000));
}

static void a_helper_that_went_away_is_told_of_and_found_again(void **state)
{
    struct world *w = *state;

    w->helper = start_helper(w);
    make_fence(w, "pg", NULL);
    assert_true(run(w, has_report, 2000));
    end_helper(w);
    assert_true(run(w, has_loss, 2000));
    assert_false(ad_fence_answers(w->fence, clock_boot_ms(), 1000));
    assert_string_equal(w->last.service, "pg"); /* the last known */
    w->helper = start_helper(w);
    assert_true(run(w, has_report_after_loss, 2000));
    assert_int_equal(w->losses, 1);
}

static void a_helper_that_hangs_does_not_answer(void **state)
{
    struct world *w = *state;
    struct fence_request r = { .verb = FENCE_VERB_STATUS };
    hm_ms asked_ms;

    w->helper = start_helper(w);
    make_fence(w, "pg", NULL);
    assert_true(run(w, has_report, 2000));
    (void)run(w, never, 50); /* its own question is answered, too */
    assert_int_equal(kill(w->helper, SIGSTOP), 0);
    asked_ms = clock_boot_ms();
    assert_true(ad_fence_ask(w->fence, &r));
    assert_false(run(w, never, 150));
    assert_true(ad_fence_answers(w->fence, asked_ms, 100));
    assert_false(ad_fence_answers(w->fence, clock_boot_ms(), 100));
    for (int i = 0; i < 1000; i++)
        (void)ad_fence_ask(w->fence, &r); /* more than fits: it never waits */
    assert_false(ad_fence_answers(w->fence, clock_boot_ms(), 100));
    assert_int_equal(kill(w->helper, SIGCONT), 0);
    assert_false(run(w, never, 700)); /* it looks at the processes for each of them */
    assert_true(ad_fence_answers(w->fence, clock_boot_ms(), 100));
    assert_int_equal(w->losses, 0);
}

static void one_that_hangs_is_noticed_without_being_asked(void **state)
{
    struct world *w = *state;

    w->helper = start_helper(w);
    make_fence(w, "pg", NULL);
    assert_true(run(w, has_report, 2000));
    assert_int_equal(kill(w->helper, SIGSTOP), 0);
    (void)run(w, never, 2500);
    assert_false(ad_fence_answers(w->fence, clock_boot_ms(), 300));
    assert_int_equal(kill(w->helper, SIGCONT), 0);
}

static void a_service_that_the_helper_does_not_know_is_refused(void **state)
{
    struct world *w = *state;

    w->helper = start_helper(w);
    make_fence(w, "third", NULL);
    assert_true(run(w, has_report, 2000));
    assert_int_equal(w->last.rc, HM_BAD_INPUT);
}

static void a_child_is_started_and_started_again(void **state)
{
    struct world *w = *state;
    const char *const child[] = { "/proc/self/exe", "--serve", w->dir, "pg", NULL };
    pid_t pid;
    FILE *f;
    char path[64];

    make_fence(w, "pg", child);
    assert_true(run(w, has_report, 3000));
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    (void)fclose(f);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_true(run(w, has_loss, 2000));
    assert_true(run(w, has_report_after_loss, 3000));
    assert_int_equal(kill(pid, 0), -1); /* it was reaped */
}

static void a_child_that_cannot_be_started_is_no_helper(void **state)
{
    struct world *w = *state;
    const char *const child[] = { "hamgr-no-such-program", NULL };

    make_fence(w, "pg", child);
    assert_false(run(w, has_report, 400));
    assert_false(ad_fence_answers(w->fence, clock_boot_ms(), 1000));
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    struct world *w = *state;
    char path[200];
    struct ad_fence_config config = { .base = w->base, .socket = path, .service = "pg" };

    memset(path, 'x', sizeof path);
    path[108] = '\0';
    assert_int_equal(ad_fence_new(&config, &w->fence, NULL), HM_BAD_INPUT);
    path[107] = '\0';
    assert_int_equal(ad_fence_new(&config, &w->fence, NULL), HM_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_helper_that_is_there_is_heard_at_once),
        TEST(a_request_comes_back_as_a_report),
        TEST(what_the_helper_refuses_is_heard_with_its_reason),
        TEST(without_a_helper_nothing_is_sent),
        TEST(a_helper_that_went_away_is_told_of_and_found_again),
        TEST(a_helper_that_hangs_does_not_answer),
        TEST(one_that_hangs_is_noticed_without_being_asked),
        TEST(a_service_that_the_helper_does_not_know_is_refused),
        TEST(a_child_is_started_and_started_again),
        TEST(a_child_that_cannot_be_started_is_no_helper),
        TEST(a_path_that_is_too_long_is_refused),
    };

    if (argc == 4 && strcmp(argv[1], "--serve") == 0) {
        const char *const names[] = { argv[3] };

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(argv[2], names, 1);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
