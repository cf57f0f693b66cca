/* test_pg_gray.c - a real server that runs and does not do its work: is it proved that it hangs? */
#include "postgres/probe.h"
#include "tests/pg/world.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct world *the_world;

static bool is_healthy(const struct world *w)
{
    return w->copy.is_healthy && w->copy.stalled_ms == 0;
}

static bool is_proved(const struct world *w)
{
    return w->copy.hung_ms > 0 && w->copy.stalled_ms >= w->copy.hung_ms;
}

static void says(const struct world *w, const char *what, const char *why)
{
    struct service_facts facts;

    service_postgres.describe(w->service, &facts);
    if (strstr(facts.stall, what) == NULL || strstr(facts.stall, why) == NULL)
        fail_msg("it says: %s", facts.stall);
}

static void a_primary_that_is_well_stalls_nowhere(void **state)
{
    struct world *w = *state;
    struct service_facts facts;

    world_make_primary(w, 0);
    world_start(w, 0);
    world_watch(w, 0);
    world_expect(w, COPY_PRIMARY, is_healthy, 10000);
    world_let(w, 2500);
    world_expect(w, COPY_PRIMARY, is_healthy, 5000);
    assert_true(w->copy.hung_ms == 0 && !w->copy.is_full);
    service_postgres.describe(w->service, &facts);
    assert_string_equal(facts.stall, "");
    assert_true(facts.commits.n > 0 && facts.commits.p50_us > 0);
    assert_true(facts.commits.worst_us >= facts.commits.p99_us);
    assert_true(facts.disks_n == 1 && facts.disk[0].free_bytes > 0);
    assert_string_equal(facts.disk[0].what, "data and pg_wal");
}

/* The process that commits is stopped: others answer, and what is late is proved to hang. */
static void a_commit_that_cannot_return_is_a_stall(void **state)
{
    struct world *w = *state;
    pid_t pid = conn_backend(w->service->probe->third);

    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    world_expect(w, COPY_PRIMARY, is_proved, 20000);
    says(w, "no commit returns", "stopped (T)");
    assert_int_equal(kill(pid, SIGCONT), 0);
    world_expect(w, COPY_PRIMARY, is_healthy, 10000);
    says(w, "", "");
}

static void a_main_process_that_takes_nobody_in_is_a_stall(void **state)
{
    struct world *w = *state;
    pid_t pid = world_postmaster(w, 0);

    assert_int_equal(kill(pid, SIGSTOP), 0);
    world_expect(w, COPY_PRIMARY, is_proved, 20000);
    says(w, "no new connection is taken in", "stopped (T)");
    assert_int_equal(kill(pid, SIGCONT), 0);
    world_expect(w, COPY_PRIMARY, is_healthy, 10000);
}

/* Hamgr's own connection is stopped, and no other can be opened. */
static void a_server_that_answers_nothing_is_proved_to_hang(void **state)
{
    struct world *w = *state;
    pid_t main_pid = world_postmaster(w, 0), pid = conn_backend(w->service->watch);

    assert_int_equal(kill(main_pid, SIGSTOP), 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    world_expect(w, COPY_UNKNOWN, is_proved, 20000);
    assert_false(w->copy.is_healthy);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(kill(main_pid, SIGCONT), 0);
    world_expect(w, COPY_PRIMARY, is_healthy, 20000);
}

static void what_the_fence_stopped_is_no_stall(void **state)
{
    struct world *w = *state;
    struct fence_report report = { .mode = FENCE_SUSPENDED, .processes = 1, .stopped = 1 };

    world_signal(w, 0, SIGSTOP);
    service_postgres.note_fence(w->service, true, &report);
    world_expect(w, COPY_SUSPENDED, NULL, 5000);
    assert_true(w->copy.stalled_ms == 0 && w->copy.hung_ms == 0);
    world_signal(w, 0, SIGCONT);
    report = (struct fence_report){ .mode = FENCE_LEASE };
    service_postgres.note_fence(w->service, true, &report);
    world_expect(w, COPY_PRIMARY, is_healthy, 10000);
}

static int make_world(void **state)
{
    *state = the_world = world_new();
    return 0;
}

static int free_world(void **state)
{
    (void)state;
    world_free(the_world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_that_is_well_stalls_nowhere),
        cmocka_unit_test(a_commit_that_cannot_return_is_a_stall),
        cmocka_unit_test(a_main_process_that_takes_nobody_in_is_a_stall),
        cmocka_unit_test(a_server_that_answers_nothing_is_proved_to_hang),
        cmocka_unit_test(what_the_fence_stopped_is_no_stall),
    };

    return cmocka_run_group_tests(tests, make_world, free_world);
}
