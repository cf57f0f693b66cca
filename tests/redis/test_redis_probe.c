/* test_redis_probe.c - what service_redis says of a real server, in each state that it can be in.
 */
#include "redis/inner.h"
#include "tests/redis/await.h"
#include "tests/redis/world.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DB1, DB2, DB3 };

/* Enough that the master is seen to send it, and the replica to load it: in pieces, and slowly. */
#define SLOW_LOAD "key-load-delay 200\nloading-process-events-interval-bytes 2048\n"

/* --- conditions ------------------------------------------------------------------------------ */

static uint64_t noted_id, noted_timeline;

static bool is_final(const struct world *w)
{
    return w->copy.is_final;
}

static bool is_healthy(const struct world *w)
{
    return w->copy.is_healthy;
}

static bool streams(const struct world *w)
{
    return w->copy.is_streaming;
}

static bool is_another_copy(const struct world *w)
{
    return w->copy.copy_id != noted_id;
}

static bool is_full(const struct world *w)
{
    return w->copy.is_full && !w->copy.is_healthy;
}

static bool hangs(const struct world *w)
{
    return w->copy.hung_ms > 0 && w->copy.stalled_ms >= w->copy.hung_ms;
}

static bool stalls(const struct world *w)
{
    return w->copy.stalled_ms > 0;
}

static bool has_db2(const struct world *w)
{
    return w->copy.standby[DB2].is_streaming;
}

static bool is_on_another_history(const struct world *w)
{
    return w->copy.at.timeline != noted_timeline;
}

static void remove_snapshot(const struct world *w, unsigned int server)
{
    char path[160];

    (void)snprintf(path, sizeof path, "%s/dump.rdb", world_dir(w, server));
    (void)unlink(path); /* there need not be one */
}

/* --- a server that does not run -------------------------------------------------------------- */

static void nobody_is_down_and_has_nothing(void **state)
{
    struct world *w = *state;

    world_watch(w, DB1);
    world_expect(w, COPY_DOWN, NULL, 1000);
    assert_int_equal(w->seen, 1u << COPY_DOWN);
    assert_true(w->copy.copy_id == 0 && w->copy.server_id == 0 && w->copy.at.timeline == 0);
    assert_false(w->copy.is_final || w->copy.is_healthy || w->copy.was_primary);
    assert_int_equal(w->copy.follows, HM_NOBODY);
}

static void processes_that_nobody_can_reach_are_starting(void **state)
{
    struct world *w = *state;

    world_note_fence(w, 1, 0);
    world_expect(w, COPY_STARTING, NULL, 1000);
    assert_true(w->copy.server_id != 0);
    world_await(w, w->scans > 0); /* what the helper said may be old */
    world_note_fence(w, 0, 0);
    world_expect(w, COPY_DOWN, NULL, 1000);
}

/* --- a primary ------------------------------------------------------------------------------- */

static void a_start_is_seen(void **state)
{
    struct world *w = *state;

    world_start(w, DB1, NULL);
    world_note_record(w, DB1);
    world_expect(w, COPY_PRIMARY, is_healthy, 2000);
    assert_true(w->copy.copy_id != 0 && w->copy.server_id != 0 && w->copy.at.timeline != 0);
    assert_true(w->copy.is_final && w->copy.was_primary);
    assert_int_equal(w->copy.follows, HM_NOBODY);
    assert_int_equal(w->copy.names, NAMES_UNKNOWN);
    assert_string_equal(world_trouble(w), "");
}

static void a_standby_of_its_own_is_told_by_slot(void **state)
{
    struct world *w = *state;

    world_start(w, DB2, NULL);
    world_follow(w, DB2, DB1);
    world_let(w, 200);
    assert_false(w->copy.standby[DB2].is_streaming); /* which copy it is, nobody told */
    world_hear(w, DB2, 4711, DB1);
    world_expect(w, COPY_PRIMARY, has_db2, 2000);
    assert_int_equal(w->copy.standby[DB2].copy_id, 4711);
    world_write(w, DB1, 100, 10);
    world_await(w, w->copy.standby[DB2].flushed >= world_number(w, DB1, "master_repl_offset"));
    assert_true(w->copy.at.timeline == info_timeline(world_info(w, DB1, "master_replid")));
    assert_false(w->copy.standby[DB1].is_streaming || w->copy.standby[DB3].is_streaming);
    world_hear(w, DB2, 4711, DB3);
    world_await(w,
                !w->copy.standby[DB2].is_streaming); /* its member says that it follows another */
}

/* Its host has two network cards, or an address translation stands between. */
static void a_standby_that_comes_from_elsewhere_is_told(void **state)
{
    struct world *w = *state;
    struct service_facts facts;
    char wanted[160];

    world_hear(w, DB2, 4711, DB1);
    world_expect(w, COPY_PRIMARY, has_db2, 2000);
    service_redis.describe(w->service, &facts);
    assert_string_equal(facts.concern, "");
    (void)snprintf(w->record.member[DB2].address, sizeof w->record.member[DB2].address,
                   "127.0.0.77:7420");
    service_redis.note_record(w->service, &w->record, DB1, true);
    world_expect(w, COPY_PRIMARY, NULL, 2000);
    assert_false(w->copy.standby[DB2].is_streaming);
    service_redis.describe(w->service, &facts);
    (void)snprintf(wanted, sizeof wanted,
                   "db2 attaches as %s:%u: set its replica-announce-ip to 127.0.0.77",
                   world_host(w, DB2), w->port);
    assert_string_equal(facts.concern, wanted);
    world_note_record(w, DB1);
    world_expect(w, COPY_PRIMARY, has_db2, 2000);
    service_redis.describe(w->service, &facts);
    assert_string_equal(facts.concern, "");
}

static void its_position_is_the_offset(void **state)
{
    struct world *w = *state;
    uint64_t at;

    world_write(w, DB1, 100, 10);
    at = world_number(w, DB1, "master_repl_offset");
    world_expect(w, COPY_PRIMARY, NULL, 1000);
    assert_true(w->copy.at.offset >= at);
    assert_true(w->copy.at.offset <= world_number(w, DB1, "master_repl_offset"));
}

/* Redis says nothing when a snapshot fails but in INFO, and then refuses every write. */
static void a_primary_that_refuses_writes_is_full(void **state)
{
    struct world *w = *state;
    char path[160];

    /* The new file cannot take the place of this. */
    (void)snprintf(path, sizeof path, "%s/dump.rdb", world_dir(w, DB1));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_string_equal(world_ask(w, DB1, "CONFIG SET save %s", "3600 1"), "OK");
    (void)world_ask(w, DB1, "BGSAVE");
    world_expect(w, COPY_PRIMARY, is_full, 3000);
    assert_non_null(strstr(world_trouble(w), "snapshot failed"));
    assert_non_null(strstr(world_ask(w, DB1, "SET a b"), "MISCONF"));
    assert_string_equal(world_ask(w, DB1, "CONFIG SET stop-writes-on-bgsave-error no"), "OK");
    world_expect(w, COPY_PRIMARY, is_healthy, 7000);
    assert_int_equal(rmdir(path), 0);
    (void)world_ask(w, DB1, "BGSAVE");
    world_await(w, strcmp(world_info(w, DB1, "rdb_last_bgsave_status"), "ok") == 0);
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    (void)world_ask(w, DB1, "CONFIG SET save %s", "");
    (void)world_ask(w, DB1, "CONFIG SET stop-writes-on-bgsave-error yes");
}

/* --- it does not answer ---------------------------------------------------------------------- */

static void a_stopped_server_of_which_the_helper_knows_is_suspended(void **state)
{
    struct world *w = *state;
    struct position at = w->copy.at;
    uint64_t server_id = w->copy.server_id, copy_id = w->copy.copy_id;

    w->seen = 0;
    world_signal(w, DB1, SIGSTOP);
    world_note_fence(w, 1, 1);
    world_expect(w, COPY_SUSPENDED, NULL, 1000);
    assert_true(w->copy.server_id == server_id && w->copy.copy_id == copy_id);
    assert_true(w->copy.at.timeline == at.timeline && w->copy.at.offset >= at.offset);
    assert_true(w->copy.is_final && w->copy.was_primary && !w->copy.is_healthy);
    assert_true(w->copy.stalled_ms == 0 && w->copy.hung_ms == 0);
    world_signal(w, DB1, SIGCONT);
    world_note_fence(w, 1, 0);
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    assert_int_equal(w->seen & (1u << COPY_DOWN | 1u << COPY_STARTING | 1u << COPY_STANDBY), 0);
    assert_true(w->copy.server_id == server_id && w->died_ms == 0);
}

/* hamgrd starts while the server is stopped: the notes say which one that is. */
static void a_suspended_server_is_known_again_after_a_start_of_hamgrd(void **state)
{
    struct world *w = *state;
    uint64_t server_id = w->copy.server_id, copy_id = w->copy.copy_id;

    world_let(w, 50);
    world_signal(w, DB1, SIGSTOP);
    world_watch(w, DB1);
    world_note_fence(w, 1, 1);
    world_expect(w, COPY_SUSPENDED, NULL, 1000);
    assert_true(w->copy.server_id == server_id && w->copy.copy_id == copy_id);
    assert_true(w->copy.was_primary);
    assert_int_equal(w->seen, 1u << COPY_SUSPENDED);
    world_signal(w, DB1, SIGCONT);
    world_note_fence(w, 1, 0);
    world_note_record(w, DB1);
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
}

/* The helper did not do it: the server hangs, and /proc proves it. */
static void a_server_stopped_by_somebody_hangs_and_is_not_dead(void **state)
{
    struct world *w = *state;
    uint64_t server_id = w->copy.server_id;

    w->seen = 0;
    world_signal(w, DB1, SIGSTOP);
    world_expect(w, COPY_UNKNOWN, hangs, 4000);
    assert_true(w->copy.server_id == server_id && !w->copy.is_healthy);
    assert_non_null(strstr(world_trouble(w), "its main thread is stopped"));
    world_signal(w, DB1, SIGCONT);
    world_expect(w, COPY_PRIMARY, is_healthy, 2000);
    assert_int_equal(w->seen, 1u << COPY_PRIMARY | 1u << COPY_UNKNOWN);
    assert_true(w->copy.stalled_ms == 0 && w->copy.hung_ms == 0 && w->died_ms == 0);
}

static void ask_without_waiting(const struct world *w, unsigned int server, const char *format, ...)
{
    redisContext *c = redisConnectUnix(w->settings[server].service[0].socket);
    va_list args;
    int done = 0;

    assert_true(c != NULL && c->err == 0);
    va_start(args, format);
    assert_int_equal(redisvAppendCommand(c, format, args), REDIS_OK);
    va_end(args);
    while (done == 0)
        assert_int_equal(redisBufferWrite(c, &done), REDIS_OK);
    world_let((struct world *)w, 50); /* it has read it before the connection is closed */
    redisFree(c);
}

static void a_server_that_sleeps_hangs(void **state)
{
    struct world *w = *state;

    ask_without_waiting(w, DB1, "DEBUG SLEEP 4");
    world_expect(w, COPY_UNKNOWN, hangs, 4000);
    assert_non_null(strstr(world_trouble(w), "sleeps and does not wake up"));
    world_expect(w, COPY_PRIMARY, is_healthy, 5000);
}

/* It works for somebody, and nothing proves that it hangs; after busy-reply-threshold it says so.
 */
static void a_script_that_runs_for_long_is_no_hang(void **state)
{
    struct world *w = *state;

    assert_string_equal(world_ask(w, DB1, "CONFIG SET busy-reply-threshold 2500"), "OK");
    ask_without_waiting(w, DB1, "EVAL %s 0", "while true do end");
    world_expect(w, COPY_UNKNOWN, stalls, 3000);
    assert_true(w->copy.hung_ms == 0);
    world_await(w, strstr(world_trouble(w), "a script runs") != NULL);
    assert_true(w->copy.state == COPY_UNKNOWN && w->copy.hung_ms == 0 && w->copy.stalled_ms > 0);
    assert_string_equal(world_ask(w, DB1, "SCRIPT KILL"), "OK");
    world_expect(w, COPY_PRIMARY, is_healthy, 2000);
    assert_true(w->died_ms == 0);
}

/* --- a standby ------------------------------------------------------------------------------- */

static void a_standby_tells_whom_it_follows(void **state)
{
    struct world *w = *state;

    world_watch(w, DB2);
    world_note_record(w, DB3); /* nobody's hamgrd has told DB1 how DB2 would log in */
    world_expect(w, COPY_STANDBY, streams, 2000);
    assert_int_equal(w->copy.follows, DB1);
    assert_true(w->copy.is_final && w->copy.is_healthy && !w->copy.was_primary);
    assert_true(w->copy.at.timeline == info_timeline(world_info(w, DB1, "master_replid")));
    world_write(w, DB1, 10, 10);
    world_await(w, w->copy.at.offset >= world_number(w, DB1, "master_repl_offset"));
}

static void one_that_follows_nobody_keeps_its_position(void **state)
{
    struct world *w = *state;
    uint64_t timeline = w->copy.at.timeline, id = w->copy.copy_id;
    uint64_t offset;

    world_follow(w, DB2, WORLD_SERVERS);
    offset = world_number(w, DB2, "slave_repl_offset");
    world_await(w, w->copy.follows == HM_NOBODY);
    world_expect(w, COPY_STANDBY, is_final, 1000);
    assert_true(w->copy.at.timeline == timeline && w->copy.at.offset == offset);
    assert_true(!w->copy.is_streaming && w->copy.is_healthy && w->copy.copy_id == id);
}

static void one_that_follows_a_stranger_says_so(void **state)
{
    struct world *w = *state;

    (void)world_ask(w, DB2, "REPLICAOF 127.0.0.99 %u", (unsigned int)w->port);
    world_await(w, w->copy.follows == HM_STRANGER);
    (void)world_ask(w, DB2, "REPLICAOF %s 1", world_host(w, DB1));
    world_expect(w, COPY_STANDBY, NULL, 1000);
    world_await(w, w->copy.follows == HM_NOBODY); /* that is nobody's port */
    (void)world_ask(w, DB2, "REPLICAOF %s 2", world_host(w, DB1));
    world_await(w, w->copy.follows == HM_STRANGER);
    world_follow(w, DB2, DB1);
    world_await(w, w->copy.follows == DB1);
}

static void a_partial_resynchronisation_is_the_same_copy(void **state)
{
    struct world *w = *state;
    uint64_t id = w->copy.copy_id, partial = world_number(w, DB1, "sync_partial_ok");

    world_follow(w, DB2, WORLD_SERVERS);
    world_write(w, DB1, 50, 10);
    world_follow(w, DB2, DB1);
    world_expect(w, COPY_STANDBY, streams, 1000);
    assert_true(world_number(w, DB1, "sync_partial_ok") > partial);
    assert_true(w->copy.copy_id == id);
}

static void a_promotion_gives_another_history(void **state)
{
    struct world *w = *state;
    uint64_t id = w->copy.copy_id;

    noted_timeline = w->copy.at.timeline;
    assert_string_equal(world_ask(w, DB2, "REPLICAOF NO ONE"), "OK");
    world_expect(w, COPY_PRIMARY, is_on_another_history, 1000);
    assert_true(w->copy.copy_id == id && w->copy.was_primary);
    world_write(w, DB2, 50, 10); /* that nobody else has */
}

/* Its data is not on the primary's history: the old data goes when the new one is loaded, and what
 * it had confirmed with it. */
static void all_data_taken_anew_makes_another_copy(void **state)
{
    struct world *w = *state;

    world_write(w, DB1, 3000, 1000);
    (void)world_ask(w, DB2, "CONFIG SET key-load-delay 200");
    (void)world_ask(w, DB2, "CONFIG SET loading-process-events-interval-bytes 2048");
    noted_id = w->copy.copy_id;
    noted_timeline = w->copy.at.timeline;
    w->seen = 0;
    (void)world_ask(w, DB2, "REPLICAOF %s %u", world_host(w, DB1), (unsigned int)w->port);
    world_expect(w, COPY_STARTING, is_another_copy, 5000);
    assert_true(w->copy.at.timeline == 0 && !w->copy.is_final && !w->copy.is_healthy);
    assert_non_null(strstr(world_trouble(w), "loads all data of its primary"));
    (void)world_ask(w, DB2, "CONFIG SET key-load-delay 0");
    world_expect(w, COPY_STANDBY, streams, 10000);
    assert_true(w->copy.is_final && w->copy.copy_id != noted_id && !w->copy.was_primary);
    assert_true(w->copy.at.timeline == info_timeline(world_info(w, DB1, "master_replid")));
    noted_id = w->copy.copy_id;
}

static void a_start_of_hamgrd_does_not_change_the_copy(void **state)
{
    struct world *w = *state;

    world_let(w, 50);
    world_watch(w, DB2);
    world_note_record(w, DB3); /* nobody's hamgrd has told DB1 how DB2 would log in */
    world_expect(w, COPY_STANDBY, streams, 1000);
    assert_true(w->copy.copy_id == noted_id);
}

/* With swapdb the old data is there until the new one is: when the primary goes away in between, it
 * still is. What is in the pairs is void all the same: it could as well have been gone. */
static void a_resynchronisation_that_leaves_the_old_data_has_its_position(void **state)
{
    struct world *w = *state;
    uint64_t offset;

    world_follow(w, DB2, WORLD_SERVERS);
    assert_string_equal(world_ask(w, DB2, "REPLICAOF NO ONE"), "OK");
    world_write(w, DB2, 50, 10);
    offset = world_number(w, DB2, "master_repl_offset");
    (void)world_ask(w, DB1, "CONFIG SET rdbcompression no");
    world_write(w, DB1, 2000, 10000); /* more than fits in between */
    (void)world_ask(w, DB2, "CONFIG SET repl-diskless-load swapdb");
    (void)world_ask(w, DB2, "CONFIG SET key-load-delay 500");
    world_expect(w, COPY_PRIMARY, NULL, 1000);
    noted_id = w->copy.copy_id;
    noted_timeline = w->copy.at.timeline;
    (void)world_ask(w, DB2, "REPLICAOF %s %u", world_host(w, DB1), (unsigned int)w->port);
    world_expect(w, COPY_STARTING, is_another_copy, 5000);
    (void)world_ask(w, DB1, "ACL SETUSER default -psync -sync"); /* it may not come back */
    (void)world_ask(w, DB1, "CLIENT KILL TYPE replica");
    world_expect(w, COPY_STANDBY, is_final, 5000);
    assert_true(w->copy.copy_id != noted_id && w->copy.at.timeline == noted_timeline);
    assert_true(w->copy.at.offset >= offset && !w->copy.is_streaming);
    (void)world_ask(w, DB1, "ACL SETUSER default +psync +sync");
    (void)world_ask(w, DB2, "CONFIG SET repl-diskless-load disabled");
    (void)world_ask(w, DB2, "CONFIG SET key-load-delay 0");
    world_expect(w, COPY_STANDBY, streams, 5000);
}

/* The worst moment: the old data is gone, and the new one does not come. */
static void half_a_resynchronisation_has_no_position(void **state)
{
    struct world *w = *state;

    assert_string_equal(world_ask(w, DB2, "REPLICAOF NO ONE"), "OK");
    world_write(w, DB2, 50, 10);
    (void)world_ask(w, DB2, "CONFIG SET key-load-delay 200");
    (void)world_ask(w, DB1, "CONFIG SET repl-diskless-sync no");
    (void)world_ask(w, DB1, "CONFIG SET rdbcompression no");
    noted_id = w->copy.copy_id;
    (void)world_ask(w, DB2, "REPLICAOF %s %u", world_host(w, DB1), (unsigned int)w->port);
    world_expect(w, COPY_STARTING, is_another_copy, 5000);
    world_signal(w, DB2, SIGKILL);
    world_expect(w, COPY_DOWN, NULL, 1000);
    assert_true(w->copy.at.timeline == 0 && !w->copy.is_final);
}

/* --- the end of it --------------------------------------------------------------------------- */

static void a_death_is_noticed_at_once(void **state)
{
    struct world *w = *state;
    uint64_t copy_id;
    hm_ms killed_ms;

    world_watch(w, DB1);
    world_note_record(w, DB1);
    world_expect(w, COPY_PRIMARY, is_healthy, 2000);
    world_note_fence(w, 1, 0);
    world_let(w, 60); /* the helper's last look was before it died */
    copy_id = w->copy.copy_id;
    killed_ms = clock_boot_ms();
    world_signal(w, DB1, SIGKILL);
    world_expect(w, COPY_DOWN, NULL, 1000);
    assert_true(w->died_ms >= killed_ms && w->died_ms < killed_ms + 500);
    assert_true(w->copy.was_primary && w->copy.copy_id == copy_id && w->copy.server_id == 0);
    assert_true(w->copy.at.timeline == 0 && !w->copy.is_final);
}

static void a_restarted_server_is_another_copy(void **state)
{
    struct world *w = *state;

    noted_id = w->copy.copy_id;
    remove_snapshot(w, DB1);
    world_start(w, DB1, "replicaof 127.0.0.1 1\n");
    world_expect(w, COPY_STANDBY, is_final, 2000);
    assert_true(w->copy.copy_id != noted_id);
    assert_int_equal(w->copy.follows, HM_NOBODY);
    assert_true(w->copy.at.offset == 0 && w->copy.is_healthy && !w->copy.is_streaming);
}

static void one_that_was_told_to_end_did_not_die(void **state)
{
    struct world *w = *state;

    w->died_ms = 0;
    w->service->is_stop_asked = true;
    world_signal(w, DB1, SIGTERM);
    world_expect(w, COPY_DOWN, NULL, 1000);
    assert_true(w->died_ms == 0);
    w->service->is_stop_asked = false;
}

static void one_that_loads_its_file_is_starting(void **state)
{
    struct world *w = *state;

    world_start(w, DB1, NULL);
    world_write(w, DB1, 3000, 1000);
    assert_string_equal(world_ask(w, DB1, "SAVE"), "OK");
    world_signal(w, DB1, SIGTERM);
    w->seen = 0;
    world_start(w, DB1, SLOW_LOAD);
    world_expect(w, COPY_STARTING, NULL, 2000);
    world_await(w, strcmp(world_trouble(w), "it loads") == 0);
    assert_true(w->copy.at.timeline == 0 && w->copy.copy_id != 0);
    (void)world_ask(w, DB1, "CONFIG SET key-load-delay 0");
    world_expect(w, COPY_PRIMARY, is_healthy, 5000);
}

static int make_world(void **state)
{
    *state = world_new();
    return 0;
}

static int end_world(void **state)
{
    world_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_down_and_has_nothing),
        cmocka_unit_test(processes_that_nobody_can_reach_are_starting),
        cmocka_unit_test(a_start_is_seen),
        cmocka_unit_test(a_standby_of_its_own_is_told_by_slot),
        cmocka_unit_test(a_standby_that_comes_from_elsewhere_is_told),
        cmocka_unit_test(its_position_is_the_offset),
        cmocka_unit_test(a_primary_that_refuses_writes_is_full),
        cmocka_unit_test(a_stopped_server_of_which_the_helper_knows_is_suspended),
        cmocka_unit_test(a_suspended_server_is_known_again_after_a_start_of_hamgrd),
        cmocka_unit_test(a_server_stopped_by_somebody_hangs_and_is_not_dead),
        cmocka_unit_test(a_server_that_sleeps_hangs),
        cmocka_unit_test(a_script_that_runs_for_long_is_no_hang),
        cmocka_unit_test(a_standby_tells_whom_it_follows),
        cmocka_unit_test(one_that_follows_nobody_keeps_its_position),
        cmocka_unit_test(one_that_follows_a_stranger_says_so),
        cmocka_unit_test(a_partial_resynchronisation_is_the_same_copy),
        cmocka_unit_test(a_promotion_gives_another_history),
        cmocka_unit_test(all_data_taken_anew_makes_another_copy),
        cmocka_unit_test(a_start_of_hamgrd_does_not_change_the_copy),
        cmocka_unit_test(a_resynchronisation_that_leaves_the_old_data_has_its_position),
        cmocka_unit_test(half_a_resynchronisation_has_no_position),
        cmocka_unit_test(a_death_is_noticed_at_once),
        cmocka_unit_test(a_restarted_server_is_another_copy),
        cmocka_unit_test(one_that_was_told_to_end_did_not_die),
        cmocka_unit_test(one_that_loads_its_file_is_starting),
    };

    return cmocka_run_group_tests(tests, make_world, end_world);
}
