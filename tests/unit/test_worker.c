#include "adapter/worker.h"

#include "tests/cm.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { JOBS = 500 };

struct counted {
    struct worker_job job; /* first, so that a job is its counted */
    unsigned number;
    pthread_t ran_on;
    bool is_run;
    bool are_signals_blocked;
    int gate[2]; /* of a job that waits: reads until the other end is closed */
};

static struct event_base *base;
static struct worker *worker;
static struct counted jobs[JOBS];
static unsigned ran; /* the worker's, until a job's end was reported */
static unsigned ended[JOBS];
static unsigned ended_n;

static int make_worker(void **state)
{
    struct hm_err err;

    (void)state;
    memset(jobs, 0, sizeof jobs);
    ran = 0;
    ended_n = 0;
    base = event_base_new();
    if (worker_new(base, "a name that is too long", &worker, &err) != HM_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int free_worker(void **state)
{
    (void)state;
    worker_free(worker);
    worker = NULL;
    event_base_free(base);
    return 0;
}

static void count(struct worker_job *job)
{
    struct counted *c = (struct counted *)job;
    sigset_t mask;

    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    c->are_signals_blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGCHLD) == 1;
    c->ran_on = pthread_self();
    c->number = ran++;
    c->is_run = true;
}

static void note(struct worker_job *job)
{
    ended[ended_n++] = ((struct counted *)job)->number;
}

static void wait_at_gate(struct worker_job *job)
{
    struct counted *c = (struct counted *)job;
    char byte;

    if (read(c->gate[0], &byte, 1) == 0)
        count(job);
}

static void add(unsigned i)
{
    jobs[i].job.run = count;
    jobs[i].job.done = note;
    worker_add(worker, &jobs[i].job);
}

static void jobs_run_in_order_on_one_thread_and_end_on_the_loop(void **state)
{
    (void)state;
    for (unsigned i = 0; i < JOBS; i++)
        add(i);
    while (ended_n < JOBS)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_int_equal(ended[i], i);
        assert_int_equal(jobs[i].number, i);
        assert_true(jobs[i].are_signals_blocked);
        assert_true(pthread_equal(jobs[i].ran_on, jobs[0].ran_on));
        assert_false(pthread_equal(jobs[i].ran_on, pthread_self()));
    }
}

/* One that ended adds the next, the same storage again. */
static void add_again(struct worker_job *job)
{
    note(job);
    if (ended_n < JOBS)
        worker_add(worker, job);
}

static void a_job_may_be_queued_again_by_its_own_end(void **state)
{
    (void)state;
    jobs[0].job = (struct worker_job){ .run = count, .done = add_again };
    worker_add(worker, &jobs[0].job);
    while (ended_n < JOBS)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    assert_int_equal(ran, JOBS);
}

static void the_loop_goes_on_while_a_job_hangs(void **state)
{
    (void)state;
    assert_int_equal(pipe(jobs[0].gate), 0);
    jobs[0].job = (struct worker_job){ .run = wait_at_gate, .done = note };
    worker_add(worker, &jobs[0].job);
    add(1);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(event_base_loop(base, EVLOOP_NONBLOCK), 0);
    assert_int_equal(ended_n, 0);
    (void)close(jobs[0].gate[1]);
    while (ended_n < 2)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    assert_int_equal(ended[0], 0);
    assert_int_equal(ended[1], 1);
    (void)close(jobs[0].gate[0]);
}

static void *let_through(void *arg)
{
    (void)close(((struct counted *)arg)->gate[1]);
    return NULL;
}

/* The job that runs is waited for; those behind it are dropped, and so are ends not yet told. */
static void freeing_waits_for_the_job_that_runs_and_drops_the_rest(void **state)
{
    pthread_t helper;
    (void)state;
    assert_int_equal(pipe(jobs[0].gate), 0);
    jobs[0].job = (struct worker_job){ .run = wait_at_gate, .done = note };
    worker_add(worker, &jobs[0].job);
    for (unsigned i = 1; i < JOBS; i++)
        add(i);
    assert_int_equal(pthread_create(&helper, NULL, let_through, &jobs[0]), 0);
    worker_free(worker);
    worker = NULL;
    assert_int_equal(pthread_join(helper, NULL), 0);
    assert_int_equal(ended_n, 0);
    for (unsigned i = 1; i < JOBS; i++)
        assert_true(!jobs[i].is_run || jobs[i - 1].is_run);
    (void)close(jobs[0].gate[0]);
}

static void nothing_to_free_is_fine(void **state)
{
    (void)state;
    worker_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_worker, free_worker)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jobs_run_in_order_on_one_thread_and_end_on_the_loop),
        TEST(a_job_may_be_queued_again_by_its_own_end),
        TEST(the_loop_goes_on_while_a_job_hangs),
        TEST(freeing_waits_for_the_job_that_runs_and_drops_the_rest),
        cmocka_unit_test(nothing_to_free_is_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
