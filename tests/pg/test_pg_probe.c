/* test_pg_probe.c - what service_postgres says of a real server, in each state that it can be in.
 */
#include "postgres/inner.h"
#include "tests/pg/await.h"
#include "tests/pg/world.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char flushed[] = "SELECT pg_current_wal_flush_lsn() - '0/0'";

static struct world *the_world;

enum { LONG_MS = 2200 }; /* longer than a server may take to answer, see world.c */

/* --- conditions ------------------------------------------------------------------------------ */

static bool is_final(const struct world *w)
{
    return w->copy.is_final;
}

static bool is_healthy(const struct world *w)
{
    return w->copy.is_healthy;
}

static bool has_nobody(const struct world *w)
{
    return w->copy.names == NAMES_NOBODY;
}

static bool has_pair(const struct world *w)
{
    return w->copy.names == NAMES_PAIR;
}

static bool has_empty(const struct world *w)
{
    return w->copy.names == NAMES_EMPTY;
}

/* --- a copy that cannot be watched ------------------------------------------------------------ */

static void a_directory_of_another_user_is_refused(void **state)
{
    struct world *w = *state;
    struct settings_service other = w->settings[0].service[0];
    struct service_config config = { .base = w->base,
                                     .settings = &w->settings[0],
                                     .service = &other };
    struct service *s = NULL;
    struct hm_err err;

    (void)snprintf(other.data_dir, sizeof other.data_dir, "/etc");
    assert_int_equal(service_postgres.open(&config, &s, &err), HM_BAD_INPUT);
    assert_string_equal(err.text, "'/etc' belongs to user 0: hamgrd must run as that user");
}

/* --- a copy that does not run ---------------------------------------------------------------- */

static void no_directory_is_absent(void **state)
{
    struct world *w = *state;

    world_watch(w, 0);
    world_expect(w, COPY_ABSENT, NULL, 2000);
    assert_true(w->copy.copy_id == 0 && w->copy.system_id == 0 && w->copy.server_id == 0);
    assert_int_equal(w->copy.follows, HM_NOBODY);
    assert_false(w->copy.is_healthy);
}

static void a_new_database_is_down_where_its_log_ends(void **state)
{
    struct world *w = *state;

    world_make_primary(w, 0);
    world_expect(w, COPY_DOWN, is_final, 3000); /* it appeared while we watched */
    assert_true(w->copy.copy_id != 0 && w->copy.system_id != 0 && w->copy.server_id == 0);
    assert_int_equal(w->copy.at.timeline, 1);
    assert_true(w->copy.was_primary);
}

/* --- a primary ------------------------------------------------------------------------------- */

static void a_start_is_seen(void **state)
{
    struct world *w = *state;
    uint64_t copy_id = w->copy.copy_id;

    w->seen = 0;
    assert_int_equal(world_run("exec " WORLD_BIN "/postgres -D %s >>log1 2>&1 &", world_dir(w, 0)),
                     0);
    world_expect(w, COPY_PRIMARY, is_healthy, 10000);
    assert_true((w->seen & (1u << COPY_UNKNOWN | 1u << COPY_STANDBY)) == 0);
    assert_true(w->copy.copy_id == copy_id && w->copy.server_id != 0);
    assert_true(w->copy.system_id ==
                world_number(w, 0, "SELECT system_identifier FROM pg_control_system()"));
    assert_int_equal(w->copy.at.timeline, 1);
    assert_true(w->copy.is_final);
    assert_int_equal(w->copy.names, NAMES_EMPTY);
    assert_false(w->copy.is_flag_certain);
}

static void its_position_is_what_it_flushed(void **state)
{
    struct world *w = *state;
    uint64_t at;

    world_write_some(w, 0);
    at = world_number(w, 0, flushed);
    world_expect(w, COPY_PRIMARY, NULL, 2000);
    assert_true(w->copy.at.offset >= at);
    assert_true(w->copy.at.offset <= world_number(w, 0, flushed));
}

static void names_are_read_as_what_they_mean(void **state)
{
    struct world *w = *state;

    world_set(w, 0, "synchronous_standby_names", "ANY 1 (\"hamgr nobody\")");
    world_expect(w, COPY_PRIMARY, has_nobody, 2000);
    assert_false(w->copy.is_flag_certain);
    world_set(w, 0, "synchronous_standby_names", "ANY 1 (\"hamgr_db2\")");
    world_expect(w, COPY_PRIMARY, has_pair, 2000);
    assert_true(w->copy.names_digest == 0); /* nothing is noted of it */
    {
        struct notes n = w->service->notes;

        n.names_digest = 4711;
        strcpy(n.names, "ANY 1 (\"hamgr_db2\")");
        postgres_note(w->service, &n, NULL, NULL);
    }
    world_expect(w, COPY_PRIMARY, has_pair, 2000);
    assert_true(w->copy.names_digest == 4711);
}

static void a_start_with_names_makes_the_flag_certain(void **state)
{
    struct world *w = *state;
    uint64_t before = w->copy.server_id;

    world_stop(w, 0, "fast");
    world_expect(w, COPY_DOWN, is_final, 3000);
    world_start(w, 0);
    world_expect(w, COPY_PRIMARY, has_pair, 5000);
    assert_true(w->copy.is_flag_certain);
    assert_true(w->copy.server_id != before);
    world_set(w, 0, "synchronous_standby_names", "");
    world_expect(w, COPY_PRIMARY, has_empty, 2000);
    assert_false(w->copy.is_flag_certain);
    world_set(w, 0, "synchronous_standby_names", "ANY 1 (\"hamgr nobody\")");
    world_expect(w, COPY_PRIMARY, has_nobody, 2000);
    assert_false(w->copy.is_flag_certain); /* a checkpoint has to come first */
    world_set(w, 0, "synchronous_standby_names", "");
    world_expect(w, COPY_PRIMARY, has_empty, 2000);
}

static void an_idle_primary_proves_that_it_can_write(void **state)
{
    struct world *w = *state;
    uint64_t before;

    world_let(w, 200);
    before = w->copy.at.offset;
    world_let(w, 3300);
    world_await(w, w->copy.is_healthy && w->copy.at.offset > before);
    assert_true(w->copy.at.offset - before < 100000); /* seldom; some pages for their hints */
}

static void exhausted_connections_do_not_matter(void **state)
{
    struct world *w = *state;
    PGconn *pg[32];
    unsigned int refused = 0;

    for (size_t i = 0; i < HM_ARRAY_LEN(pg); i++) {
        pg[i] = PQconnectdb("host=127.0.0.1 port=54731 user=postgres dbname=postgres");
        refused += PQstatus(pg[i]) != CONNECTION_OK;
    }
    assert_true(refused > 0);
    w->seen = 0;
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    world_let(w, 300);
    assert_int_equal(w->seen, 1u << COPY_PRIMARY);
    for (size_t i = 0; i < HM_ARRAY_LEN(pg); i++)
        PQfinish(pg[i]);
}

/* --- stopped, hung, crashed ------------------------------------------------------------------ */

static void all_processes_stopped_is_suspended(void **state)
{
    struct world *w = *state;
    uint64_t server_id = w->copy.server_id;

    w->died_ms = 0;
    w->has_seen_unknown = false;
    world_signal(w, 0, SIGSTOP);
    world_expect(w, COPY_SUSPENDED, NULL, 2000);
    assert_false(w->has_seen_unknown); /* it never counted as hung */
    assert_true(w->copy.was_primary && w->copy.server_id == server_id);
    assert_int_equal(w->copy.at.timeline, 1);
    assert_true(w->copy.at.offset != 0);
    w->seen = 0;
    world_let(w, LONG_MS);
    assert_int_equal(w->seen, 1u << COPY_SUSPENDED);
    world_signal(w, 0, SIGCONT);
    world_expect(w, COPY_PRIMARY, is_healthy, 2000);
    assert_true(w->copy.server_id == server_id);
    assert_true(w->died_ms == 0);
}

static void a_stopped_postmaster_does_not_hide_the_server(void **state)
{
    struct world *w = *state;
    pid_t pid = world_postmaster(w, 0);

    assert_int_equal(kill(pid, SIGSTOP), 0);
    w->seen = 0;
    world_let(w, LONG_MS);
    assert_int_equal(w->seen, 1u << COPY_PRIMARY); /* the open connection answers */
    assert_int_equal(kill(pid, SIGCONT), 0);
}

static void a_server_that_takes_no_connection_is_unknown(void **state)
{
    struct world *w = *state;
    struct service_facts facts;
    pid_t pid = world_postmaster(w, 0);

    assert_int_equal(kill(pid, SIGSTOP), 0);
    world_watch(w, 0); /* hamgrd starts anew */
    world_expect(w, COPY_UNKNOWN, NULL, 3000);
    assert_false(w->copy.is_healthy);
    assert_true(w->copy.server_id != 0);
    service_postgres.describe(w->service, &facts);
    assert_non_null(strstr(facts.trouble, "does not answer"));
    assert_int_equal(kill(pid, SIGCONT), 0);
    world_expect(w, COPY_PRIMARY, is_healthy, 3000);
    service_postgres.describe(w->service, &facts);
    assert_string_equal(facts.trouble, "");
    assert_int_equal(strtol(facts.version, NULL, 10), TESTS_PG_MAJOR);
}

static bool was_unknown(const struct world *w)
{
    return w->has_seen_unknown;
}

static void a_backend_that_hangs_is_found_out(void **state)
{
    struct world *w = *state;
    int backend = conn_backend(w->service->watch);

    assert_true(backend > 0);
    w->has_seen_unknown = false;
    assert_int_equal(kill(backend, SIGSTOP), 0);
    world_expect(w, COPY_PRIMARY, was_unknown, 5000); /* another connection tells soon */
    assert_int_equal(kill(backend, SIGCONT), 0);
    world_expect(w, COPY_PRIMARY, is_healthy, 3000);
}

static void a_crash_of_a_backend_is_another_start(void **state)
{
    struct world *w = *state;
    uint64_t server_id = w->copy.server_id;
    PGconn *pg = world_connect(w, 0);

    w->has_seen_crash = false;
    w->died_ms = 0;
    world_write_some(w, 0);
    assert_int_equal(kill(PQbackendPID(pg), SIGKILL), 0);
    PQfinish(pg);
    world_await(w, w->has_seen_crash);
    world_expect(w, COPY_PRIMARY, is_healthy, 5000);
    assert_false(w->copy.is_crashed);
    assert_true(w->copy.server_id != server_id);
    assert_true(w->died_ms == 0);
}

static void the_death_of_the_postmaster_is_told_at_once(void **state)
{
    struct world *w = *state;
    PGconn *pg = world_connect(w, 0);
    hm_ms begin_ms;

    assert_int_equal(
        PQsendQuery(pg, "SELECT count(*) FROM generate_series(1, 300000000) i WHERE i % 7 = 1"), 1);
    world_let(w, 100);
    begin_ms = clock_boot_ms();
    w->died_ms = 0;
    assert_int_equal(kill(world_postmaster(w, 0), SIGKILL), 0);
    w->seen = 0;
    world_await(w, w->died_ms != 0);
    assert_true(w->died_ms - begin_ms < 500); /* no probe told it */
    world_expect(w, COPY_UNKNOWN, NULL, 2000);
    assert_true(w->copy.was_primary && w->copy.server_id != 0);
    world_let(w, 500);
    assert_true((w->seen & 1u << COPY_DOWN) == 0); /* an orphan is a process of the service */
    world_signal(w, 0, SIGKILL);
    PQfinish(pg);
    world_expect(w, COPY_DOWN, is_final, 3000);
    assert_true(w->copy.server_id == 0);
}

/* Of orphans that were left while hamgrd did not run, too. */
static void orphans_are_killed_though_nobody_saw_the_death(void **state)
{
    struct world *w = *state;
    pid_t postmaster;
    hm_ms begin_ms;
    PGconn *pg;

    world_unwatch(w);
    world_start(w, 0);
    pg = world_connect(w, 0);
    assert_int_equal(
        PQsendQuery(pg, "SELECT count(*) FROM generate_series(1, 300000000) i WHERE i % 7 = 1"), 1);
    (void)PQflush(pg);
    postmaster = world_postmaster(w, 0);
    assert_int_equal(kill(postmaster, SIGKILL), 0);
    world_await(w, kill(postmaster, 0) != 0); /* else its death would be seen after all */
    begin_ms = clock_boot_ms();
    world_watch(w, 0);
    world_expect(w, COPY_UNKNOWN, NULL, 2000);
    world_await(w, w->died_ms != 0);
    assert_true(w->died_ms - begin_ms >= 500); /* it could have been a server that starts */
    world_signal(w, 0, SIGKILL);
    PQfinish(pg);
    world_expect(w, COPY_DOWN, is_final, 3000);
    w->died_ms = 0;
    world_let(w, 1200);
    assert_true(w->died_ms == 0);
}

static void a_half_made_copy_that_runs_is_killed(void **state)
{
    struct world *w = *state;
    struct notes notes = w->service->notes;

    notes.is_rebuilding = true;
    postgres_note(w->service, &notes, NULL, NULL);
    world_expect(w, COPY_REBUILDING, NULL, 2000);
    w->died_ms = 0;
    world_let(w, 300);
    assert_true(w->died_ms == 0);
    world_start(w, 0); /* by hand */
    world_expect(w, COPY_REBUILDING, NULL, 2000);
    world_await(w, w->died_ms != 0);
    world_signal(w, 0, SIGKILL);
    notes.is_rebuilding = false;
    postgres_note(w->service, &notes, NULL, NULL);
    world_expect(w, COPY_DOWN, is_final, 3000);
}

static int set_up(void **state)
{
    the_world = world_new();
    *state = the_world;
    return 0;
}

static int tear_down(void **state)
{
    world_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_of_another_user_is_refused),
        cmocka_unit_test(no_directory_is_absent),
        cmocka_unit_test(a_new_database_is_down_where_its_log_ends),
        cmocka_unit_test(a_start_is_seen),
        cmocka_unit_test(its_position_is_what_it_flushed),
        cmocka_unit_test(names_are_read_as_what_they_mean),
        cmocka_unit_test(a_start_with_names_makes_the_flag_certain),
        cmocka_unit_test(an_idle_primary_proves_that_it_can_write),
        cmocka_unit_test(exhausted_connections_do_not_matter),
        cmocka_unit_test(all_processes_stopped_is_suspended),
        cmocka_unit_test(a_stopped_postmaster_does_not_hide_the_server),
        cmocka_unit_test(a_server_that_takes_no_connection_is_unknown),
        cmocka_unit_test(a_backend_that_hangs_is_found_out),
        cmocka_unit_test(a_crash_of_a_backend_is_another_start),
        cmocka_unit_test(the_death_of_the_postmaster_is_told_at_once),
        cmocka_unit_test(orphans_are_killed_though_nobody_saw_the_death),
        cmocka_unit_test(a_half_made_copy_that_runs_is_killed),
    };

    return cmocka_run_group_tests_name("pg_probe", tests, set_up, tear_down);
}
