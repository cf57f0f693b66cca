/* A primary of Redis is given away: what it acknowledged is not lost, whatever goes wrong
 * meanwhile. */
#include "tests/redis/ops.h"

#include "tests/redis/await.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* --- stop ------------------------------------------------------------------------------------ */

/* Counts up as fast as it can, and notes what was acknowledged. */
struct writer {
    pthread_t thread;
    const char *socket;
    atomic_ullong acknowledged;
    atomic_bool must_end;
};

static void *write_on(void *arg)
{
    struct writer *writer = arg;
    redisContext *c = redisConnectUnix(writer->socket);
    unsigned long long n = 0;

    (void)redisSetTimeout(c, (struct timeval){ .tv_sec = 2 });
    while (!atomic_load(&writer->must_end) && c->err == 0) {
        redisReply *reply = redisCommand(c, "SET n %llu", ++n);

        if (reply != NULL && reply->type == REDIS_REPLY_STATUS)
            atomic_store(&writer->acknowledged, n);
        freeReplyObject(reply);
    }
    redisFree(c);
    return NULL;
}

static void begin_to_write(struct writer *writer)
{
    writer->socket = w->settings[DB1].service[0].socket;
    assert_int_equal(pthread_create(&writer->thread, NULL, write_on, writer), 0);
    world_await(w, atomic_load(&writer->acknowledged) > 100);
}

static void end_to_write(struct writer *writer)
{
    atomic_store(&writer->must_end, true);
    assert_int_equal(pthread_join(writer->thread, NULL), 0);
}

static void plan_change(uint8_t to)
{
    w->record.switchover = (struct switchover){ .order = 1, .to = to, .phase = SWITCH_PREPARED };
    service_redis.note_record(w->service, &w->record, (uint8_t)w->watched, true);
}

static void note_suspended(void)
{
    struct fence_report report = { .version = FENCE_VERSION,
                                   .mode = FENCE_SUSPENDED,
                                   .processes = 1,
                                   .stopped = 1,
                                   .is_held = true,
                                   .scanned_ms = clock_boot_ms() };

    service_redis.note_fence(w->service, true, &report);
}

/* Until it is asked to be suspended, which it is then; the operation must end well. */
static void is_suspended(uint32_t op)
{
    world_await(w, w->suspended > 0);
    note_suspended();
    ops_wait(op);
    if (!w->done_is_ok)
        fail_msg("stop failed: %s", w->done_why);
    assert_int_equal(w->copy.state, COPY_SUSPENDED);
}

static void a_planned_stop_loses_no_acknowledged_write(void **state)
{
    struct writer writer = { .must_end = false };
    hm_ms begun_ms;
    uint32_t op;

    (void)state;
    ops_lead(2);
    plan_change(DB2);
    begin_to_write(&writer);
    begun_ms = clock_boot_ms();
    op = ops_ask(ops_effect(DO_STOP));
    is_suspended(op);
    print_message("planned stop: %lld ms\n", (long long)(clock_boot_ms() - begun_ms));
    assert_true(clock_boot_ms() - begun_ms < 500);
    end_to_write(&writer);
    assert_true(strtoull(world_ask(w, DB2, "GET n"), NULL, 10) >=
                atomic_load(&writer.acknowledged));
    ops_watch(DB2);
    ops_do(ops_effect(DO_FREEZE));
    ops_do(ops_effect(DO_PROMOTE));
    assert_true(strtoull(world_ask(w, DB2, "GET n"), NULL, 10) >=
                atomic_load(&writer.acknowledged));
    ops_follow(DB3, DB2);
    assert_int_equal(world_number(w, DB2, "sync_full"), 0);
}

static void without_a_known_successor_all_replicas_must_confirm(void **state)
{
    uint32_t op;

    (void)state;
    ops_lead(1);
    assert_string_equal(world_ask(w, DB1, "SET a b"), "OK");
    op = ops_ask(ops_effect(DO_STOP));
    is_suspended(op);
    assert_string_equal(world_ask(w, DB2, "GET a"), "b");
}

static void a_replica_that_hangs_holds_up_the_stop_for_a_bounded_time(void **state)
{
    uint32_t op;

    (void)state;
    ops_lead(1);
    ops_hang_behind(DB2);
    op = ops_begin(ops_effect(DO_STOP));
    is_suspended(op);
    world_signal(w, DB2, SIGCONT);
}

/* It would take nothing over. Writes are not even held up. */
static void with_a_successor_that_is_not_reached_the_primary_goes_on(void **state)
{
    (void)state;
    ops_lead(1);
    plan_change(DB2);
    ops_hang_behind(DB2);
    (void)ops_begin(ops_effect(DO_STOP));
    assert_string_equal(world_ask(w, DB1, "SET a b"), "OK");
    ops_fails(ops_effect(DO_STOP), "cannot be reached");
    assert_int_equal(w->suspended, 0);
    assert_int_equal(w->copy.state, COPY_PRIMARY);
    world_signal(w, DB2, SIGCONT);
}

/* It follows nobody any more. */
static void with_a_successor_that_lacks_something_the_primary_goes_on(void **state)
{
    (void)state;
    ops_lead(1);
    plan_change(DB2);
    assert_string_equal(world_ask(w, DB2, "REPLICAOF NO ONE"), "OK");
    ops_fails(ops_effect(DO_STOP), "did not get everything");
    assert_int_equal(w->suspended, 0);
    assert_string_equal(world_ask(w, DB1, "SET a b"), "OK");
}

static void writes_go_on_when_nobody_suspends_the_server(void **state)
{
    struct writer writer = { .must_end = false };
    unsigned long long n;

    (void)state;
    ops_lead(1);
    plan_change(DB2);
    begin_to_write(&writer);
    w->is_helper_deaf = true;
    ops_fails(ops_effect(DO_STOP), "hamgr-fence does not answer");
    n = atomic_load(&writer.acknowledged);
    world_await(w, atomic_load(&writer.acknowledged) > n);
    end_to_write(&writer);
}

static void a_server_that_ends_while_it_stops_is_down(void **state)
{
    uint32_t op;

    (void)state;
    ops_lead(1);
    plan_change(DB2);
    ops_hang_behind(DB2);
    op = ops_begin(ops_effect(DO_STOP));
    world_signal(w, DB1, SIGKILL);
    ops_wait(op);
    assert_true(w->done_is_ok);
    assert_int_equal(w->copy.state, COPY_DOWN);
    ops_do(ops_effect(DO_STOP));
    world_signal(w, DB2, SIGCONT);
}

static void what_cannot_be_given_up_is_waited_for(void **state)
{
    unsigned int done_n;
    uint32_t last;

    (void)state;
    ops_lead(1);
    ops_hang_behind(DB2);
    (void)ops_begin(ops_effect(DO_STOP));
    done_n = w->done_n;
    (void)ops_ask(ops_names(DO_SET_NAMES, NAMES_EMPTY, NULL)); /* waits */
    (void)ops_ask(ops_effect(DO_STOP));                        /* the same: under way */
    last = ops_ask(ops_effect(DO_CHECKPOINT));                 /* in the place of what waits */
    world_await(w, w->suspended > 0);
    note_suspended();
    ops_wait(last);
    assert_int_equal(w->done_n, done_n + 2);
    assert_false(w->done_is_ok); /* there is nothing to do for a suspended server */
    world_signal(w, DB2, SIGCONT);
}

static void a_standby_is_ended(void **state)
{
    (void)state;
    ops_lead(1);
    ops_watch(DB2);
    world_expect(w, COPY_STANDBY, NULL, LIMIT_MS);
    ops_do_twice(ops_effect(DO_STOP));
    assert_int_equal(w->copy.state, COPY_DOWN);
    assert_int_equal(w->died_ms, 0); /* that was no accident */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ops_make_world, ops_end_world)
    const struct CMUnitTest tests[] = {
        TEST(a_planned_stop_loses_no_acknowledged_write),
        TEST(without_a_known_successor_all_replicas_must_confirm),
        TEST(a_replica_that_hangs_holds_up_the_stop_for_a_bounded_time),
        TEST(with_a_successor_that_is_not_reached_the_primary_goes_on),
        TEST(with_a_successor_that_lacks_something_the_primary_goes_on),
        TEST(writes_go_on_when_nobody_suspends_the_server),
        TEST(a_server_that_ends_while_it_stops_is_down),
        TEST(what_cannot_be_given_up_is_waited_for),
        TEST(a_standby_is_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
