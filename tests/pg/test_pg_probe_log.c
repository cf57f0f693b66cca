/* test_pg_probe_log.c - where the log of a copy ends and on which timeline, running or not. */
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

/* --- conditions ------------------------------------------------------------------------------ */

static bool is_final(const struct world *w)
{
    return w->copy.is_final;
}

static bool is_streaming(const struct world *w)
{
    return w->copy.is_streaming && w->copy.follows == 1 - w->watched && w->copy.is_final;
}

static bool is_let_go(const struct world *w)
{
    return !w->copy.is_streaming && w->copy.follows == HM_NOBODY && w->copy.is_final;
}

static bool is_told_of_a_stranger(const struct world *w)
{
    return w->copy.follows == HM_STRANGER;
}

static bool is_cut_off(const struct world *w)
{
    return !w->copy.is_streaming && w->copy.is_final;
}

static bool is_healthy(const struct world *w)
{
    return w->copy.is_healthy;
}

static bool has_standby(const struct world *w)
{
    return w->copy.standby[1 - w->watched].is_streaming;
}

static bool is_on_timeline_2(const struct world *w)
{
    return w->copy.at.timeline == 2;
}

/* --- a database to begin with ---------------------------------------------------------------- */

static void a_database_is_made(void **state)
{
    struct world *w = *state;

    world_make_primary(w, 0);
    world_watch(w, 0);
    world_expect(w, COPY_DOWN, is_final, 3000);
}

/* --- the end of the log ---------------------------------------------------------------------- */

static void kill_at(struct world *w, uint64_t *ret_at)
{
    *ret_at = world_number(w, 0, flushed);
    world_signal(w, 0, SIGKILL);
}

static void the_log_ends_where_it_was_flushed(void **state)
{
    struct world *w = *state;
    uint64_t at;

    for (unsigned int round = 0; round < 4; round++) {
        world_unwatch(w);
        world_start(w, 0);
        world_write_some(w, 0);
        if (round == 1)
            (void)world_ask(w, 0, "SELECT pg_switch_wal()");
        if (round == 2)
            (void)world_ask(w, 0, "CHECKPOINT");
        if (round == 3) { /* the end is known from having watched it */
            world_watch(w, 0);
            world_expect(w, COPY_PRIMARY, is_healthy, 5000);
            world_let(w, 1500);
        }
        kill_at(w, &at);
        if (round != 3)
            world_watch(w, 0);
        world_expect(w, COPY_DOWN, is_final, 5000);
        assert_int_equal(w->copy.at.timeline, 1);
        if (round == 1) /* what a switch leaves empty belongs to it */
            assert_true(w->copy.at.offset % (16 << 20) == 0 && w->copy.at.offset - at < 16 << 20);
        else
            assert_true(w->copy.at.offset == at);
        assert_true(w->copy.was_primary);
    }
}

/* A few times at a random place under load; the server itself says afterwards where it ended. */
static void the_log_ends_where_recovery_ends(void **state)
{
    struct world *w = *state;

    for (unsigned int round = 0; round < 6; round++) {
        uint64_t began = w->copy.at.offset, ended;

        world_unwatch(w);
        world_start(w, 0);
        assert_int_equal(world_run("(while " WORLD_BIN
                                   "/psql -q -h %s/s1 -p %u -U postgres -c 'INSERT "
                                   "INTO t SELECT i, repeat(chr(64 + i), 900) FROM "
                                   "generate_series(1, 60) i' >load.log 2>&1; do :; done) &",
                                   w->top, WORLD_PORT),
                         0);
        world_await(w,
                    world_number(w, 0, flushed) > began + 50000); /* a busy machine may take long */
        world_let(w, 37 * round);
        world_signal(w, 0, SIGKILL);
        world_watch(w, 0);
        world_expect(w, COPY_DOWN, is_final, 5000);
        assert_int_equal(world_run("touch data1/standby.signal"), 0);
        ended = w->copy.at.offset;
        assert_true(ended > began + 50000); /* it was written until the end */
        world_start(w, 0);
        assert_int_equal(world_run("rm data1/standby.signal"), 0);
        world_expect(w, COPY_STANDBY, is_final, 8000);
        assert_true(w->copy.at.offset == ended);
        assert_true(world_number(w, 0, "SELECT pg_last_wal_replay_lsn() - '0/0'") == ended);
        world_stop(w, 0, "immediate");
    }
}

/* --- a standby ------------------------------------------------------------------------------- */

static void a_clone_is_another_copy(void **state)
{
    struct world *w = *state;
    uint64_t copy_id = w->copy.copy_id, system_id = w->copy.system_id;

    world_start(w, 0);
    world_make_standby(w, 1);
    world_watch(w, 1);
    world_expect(w, COPY_DOWN, is_final, 5000);
    assert_true(w->copy.copy_id != 0 && w->copy.copy_id != copy_id);
    assert_true(w->copy.system_id == system_id);
    assert_false(w->copy.was_primary);
}

static void a_standby_that_follows_nobody_has_read_everything(void **state)
{
    struct world *w = *state;
    uint64_t ended = w->copy.at.offset;

    world_note_record(w, 0, 1);
    /* It cannot go on before somebody writes into the pipe, so that it starts as long as we like.
     */
    assert_int_equal(world_run("mkfifo gate && echo \"restore_command='cat %s/gate; false'\" "
                               ">>data2/postgresql.conf",
                               w->top),
                     0);
    assert_int_equal(world_run("exec " WORLD_BIN "/postgres -D data2 >>log2 2>&1 &"), 0);
    world_expect(w, COPY_STARTING, NULL, 5000);
    world_let(w, 300);
    world_expect(w, COPY_STARTING, NULL, 1000);
    assert_true(w->copy.server_id != 0 && !w->copy.is_healthy && !w->copy.is_crashed);
    assert_true(w->copy.at.offset == 0 && !w->copy.is_final);
    assert_int_equal(world_run("exec 3>gate; rm gate"), 0);
    world_expect(w, COPY_STANDBY, is_let_go, 8000);
    assert_true(w->copy.at.offset == ended);
    assert_int_equal(w->copy.at.timeline, 1);
    assert_true(w->copy.is_healthy && w->copy.began_epoch == 0);
}

static void a_standby_streams_from_whom_it_was_told(void **state)
{
    struct world *w = *state;
    uint64_t at;

    world_follow(w, 1);
    world_expect(w, COPY_STANDBY, is_streaming, 8000);
    world_write_some(w, 0);
    at = world_number(w, 0, flushed);
    world_await(w, w->copy.at.offset >= at);
    assert_int_equal(w->copy.at.timeline, 1);
    /* It streams on the newest timeline of the record. */
    world_await(w, w->copy.began_epoch == 7 && w->service->notes.began_epoch == 7 &&
                       !w->service->notes.was_primary);
}

static void a_primary_names_its_standbys_by_their_slots(void **state)
{
    struct world *w = *state;
    char name[64], sql[256];

    postgres_slot_name(name, sizeof name, "db2", 0xabcdef);
    (void)snprintf(sql, sizeof sql, "SELECT pg_create_physical_replication_slot('%s')", name);
    (void)world_ask(w, 0, sql);
    world_watch(w, 0);
    world_note_record(w, 0, 1);
    world_expect(w, COPY_PRIMARY, is_healthy, 3000);
    assert_false(has_standby(w)); /* it streams without a slot: nobody knows which copy it is */
    world_set(w, 1, "primary_slot_name", name);
    world_expect(w, COPY_PRIMARY, has_standby, 5000);
    assert_true(w->copy.standby[1].copy_id == 0xabcdef);
    assert_true(w->copy.standby[1].flushed > 0);
    assert_true(w->copy.standby[1].flushed <= w->copy.at.offset);
    assert_false(w->copy.standby[0].is_streaming);
}

static void a_standby_that_was_cut_off_stays_where_it_is(void **state)
{
    struct world *w = *state;
    uint64_t at;

    world_watch(w, 1);
    world_note_record(w, 0, 1);
    world_expect(w, COPY_STANDBY, is_streaming, 5000);
    at = world_number(w, 0, flushed);
    world_await(w, w->copy.at.offset >= at);
    at = w->copy.at.offset;
    world_set(w, 1, "primary_conninfo", "");
    world_expect(w, COPY_STANDBY, is_let_go, 5000);
    assert_true(w->copy.at.offset >= at);
    assert_int_equal(w->copy.at.timeline, 1);
    assert_true(w->copy.is_healthy);
    /* Whom nobody knows is not the same as nobody: the server would not be promoted like that. */
    world_set(w, 1, "primary_conninfo", "host=127.0.0.9 port=1 application_name=hamgr_db2");
    world_expect(w, COPY_STANDBY, is_told_of_a_stranger, 5000);
    world_set(w, 1, "primary_conninfo", "");
    world_expect(w, COPY_STANDBY, is_let_go, 5000);
}

/* --- timelines ------------------------------------------------------------------------------- */

static void a_promotion_begins_a_timeline(void **state)
{
    struct world *w = *state;
    uint64_t at;

    world_follow(w, 1);
    world_expect(w, COPY_STANDBY, is_streaming, 8000);
    world_await(w, world_number(w, 0,
                                "SELECT count(*) FROM pg_stat_replication "
                                "WHERE state = 'streaming'") == 1);
    world_stop(w, 0, "fast"); /* ends when the standby has everything, if it is connected */
    world_expect(w, COPY_STANDBY, is_cut_off, 8000);
    at = w->copy.at.offset;
    (void)world_ask(w, 1, "SELECT pg_promote()");
    world_expect(w, COPY_PRIMARY, is_on_timeline_2, 5000);
    assert_true(w->copy.at.offset > at);
    world_await(w, w->service->notes.was_primary);
    assert_true(w->copy.began_epoch == 0); /* what was noted belongs to the timeline before */
}

static void who_follows_goes_over_to_the_new_timeline(void **state)
{
    struct world *w = *state;
    uint64_t fork;

    world_write_some(w, 1);
    world_watch(w, 0);
    world_note_record(w, 1, 2);
    world_expect(w, COPY_DOWN, is_final, 5000);
    assert_int_equal(w->copy.at.timeline, 1);
    assert_true(w->copy.was_primary);
    fork = w->copy.at.offset;
    assert_int_equal(world_run("touch data1/standby.signal"), 0);
    world_start(w, 0);
    world_expect(w, COPY_STANDBY, is_let_go, 8000);
    assert_int_equal(w->copy.at.timeline, 1);
    assert_true(w->copy.at.offset == fork);
    world_follow(w, 0);
    world_expect(w, COPY_STANDBY, is_on_timeline_2, 8000);
    world_await(w, w->copy.at.offset > fork); /* of which it may have received nothing yet */
    world_expect(w, COPY_STANDBY, is_streaming, 3000);
    world_await(w, w->copy.began_epoch == 7 && w->service->notes.timeline == 2 &&
                       !w->service->notes.was_primary);
}

static void the_timeline_is_known_after_a_restart_of_hamgrd(void **state)
{
    struct world *w = *state;
    uint64_t at = w->copy.at.offset;

    world_set(w, 0, "primary_conninfo", "");
    world_watch(w, 0);
    world_note_record(w, 1, 2);
    world_expect(w, COPY_STANDBY, is_let_go, 8000);
    assert_int_equal(w->copy.at.timeline, 2);
    assert_true(w->copy.at.offset >= at);
    assert_true(w->copy.began_epoch == 7);
    world_stop(w, 0, "immediate");
    at = w->copy.at.offset;
    world_expect(w, COPY_DOWN, is_final, 5000);
    assert_int_equal(w->copy.at.timeline, 2);
    assert_true(w->copy.at.offset == at);
    assert_false(w->copy.was_primary);
    assert_true(w->copy.began_epoch == 7);
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
        cmocka_unit_test(a_database_is_made),
        cmocka_unit_test(the_log_ends_where_it_was_flushed),
        cmocka_unit_test(the_log_ends_where_recovery_ends),
        cmocka_unit_test(a_clone_is_another_copy),
        cmocka_unit_test(a_standby_that_follows_nobody_has_read_everything),
        cmocka_unit_test(a_standby_streams_from_whom_it_was_told),
        cmocka_unit_test(a_primary_names_its_standbys_by_their_slots),
        cmocka_unit_test(a_standby_that_was_cut_off_stays_where_it_is),
        cmocka_unit_test(a_promotion_begins_a_timeline),
        cmocka_unit_test(who_follows_goes_over_to_the_new_timeline),
        cmocka_unit_test(the_timeline_is_known_after_a_restart_of_hamgrd),
    };

    return cmocka_run_group_tests_name("pg_probe_log", tests, set_up, tear_down);
}
