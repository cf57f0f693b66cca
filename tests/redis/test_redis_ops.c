/* What hamgrd does to real Redis servers: every operation, twice, and cut short in the middle. */
#include "tests/redis/ops.h"

#include "tests/redis/await.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void is_process(unsigned int server, pid_t pid)
{
    w->pid[server] = pid; /* so that it is killed in the end */
}

/* --- start ----------------------------------------------------------------------------------- */

static void a_server_is_started_as_a_replica_of_nobody(void **state)
{
    (void)state;
    world_start(w, DB1, NULL); /* its file says nothing of a replica */
    world_signal(w, DB1, SIGKILL);
    ops_watch(DB1);
    ops_do_twice(ops_effect(DO_START));
    is_process(DB1, (pid_t)world_number(w, DB1, "process_id"));
    assert_int_equal(w->copy.state, COPY_STANDBY);
    assert_int_equal(w->copy.follows, HM_NOBODY);
    assert_string_equal(world_info(w, DB1, "role"), "slave");
    assert_non_null(strstr(world_ask(w, DB1, "SET a b"), "READONLY"));
}

static void what_its_file_includes_is_there_before_it_starts(void **state)
{
    const struct settings_service *redis = &w->settings[DB1].service[0];
    FILE *f;

    (void)state;
    world_start(w, DB1, NULL);
    world_signal(w, DB1, SIGKILL);
    f = fopen(redis->config_file, "ae");
    assert_non_null(f);
    (void)fprintf(f, "include %s/redis-cache.conf\n", w->settings[DB1].run_dir);
    assert_int_equal(fclose(f), 0);
    ops_watch(DB1);
    ops_do(ops_effect(DO_START));
    is_process(DB1, (pid_t)world_number(w, DB1, "process_id"));
    assert_string_equal(world_info(w, DB1, "role"), "slave");
}

static void an_empty_server_is_made_by_starting_it(void **state)
{
    (void)state;
    world_start(w, DB1, NULL);
    world_signal(w, DB1, SIGKILL);
    ops_watch(DB1);
    ops_do(ops_effect(DO_INIT));
    is_process(DB1, (pid_t)world_number(w, DB1, "process_id"));
    assert_int_equal(w->copy.state, COPY_STANDBY);
}

static void a_server_that_hamgrd_started_outlives_it(void **state)
{
    pid_t pid;

    (void)state;
    world_start(w, DB1, NULL);
    world_signal(w, DB1, SIGKILL);
    ops_watch(DB1);
    ops_do(ops_effect(DO_START));
    pid = (pid_t)world_number(w, DB1, "process_id");
    is_process(DB1, pid);
    assert_int_equal(getsid(pid), pid);
    world_unwatch(w);
    assert_int_equal(kill(pid, 0), 0);
    assert_string_equal(world_ask(w, DB1, "PING"), "PONG");
}

static void a_server_that_does_not_start_says_where_to_look(void **state)
{
    struct settings_service *redis = &w->settings[DB1].service[0];
    FILE *f = fopen(redis->config_file, "we");

    (void)state;
    assert_non_null(f);
    (void)fprintf(f, "no-such-setting 1\n");
    assert_int_equal(fclose(f), 0);
    ops_watch(DB1);
    ops_fails(ops_effect(DO_START), "the server did not start (exit status 1");
    assert_non_null(strstr(w->done_why, "look at"));
}

static void a_program_that_is_not_there_is_told(void **state)
{
    (void)state;
    (void)strcpy(w->settings[DB1].service[0].bin_dir, "/nowhere");
    ops_watch(DB1);
    ops_fails(ops_effect(DO_START), "set bin_dir");
}

static void a_unit_is_started_by_the_helper(void **state)
{
    struct settings_service *redis = &w->settings[DB1].service[0];
    uint32_t op;

    (void)state;
    redis->control = CONTROL_SYSTEMD;
    (void)strcpy(redis->unit, "redis-server");
    ops_watch(DB1);
    world_expect(w, COPY_DOWN, NULL, LIMIT_MS);
    w->is_helper_deaf = true;
    ops_fails(ops_effect(DO_START), "hamgr-fence does not answer");
    w->is_helper_deaf = false;
    op = ops_begin(ops_effect(DO_START));
    assert_int_equal(w->started, 1);
    ops_start(DB1);
    ops_wait(op);
    assert_true(w->done_is_ok);
    assert_int_equal(w->copy.state, COPY_STANDBY);
}

static void a_unit_that_comes_up_as_a_primary_is_told(void **state)
{
    struct settings_service *redis = &w->settings[DB1].service[0];
    uint32_t op;

    (void)state;
    redis->control = CONTROL_SYSTEMD;
    (void)strcpy(redis->unit, "redis-server");
    ops_watch(DB1);
    world_expect(w, COPY_DOWN, NULL, LIMIT_MS);
    op = ops_begin(ops_effect(DO_START));
    world_start(w, DB1, NULL);
    ops_wait(op);
    assert_false(w->done_is_ok);
    assert_non_null(strstr(w->done_why, "as a primary"));
}

/* --- follow, freeze, promote ----------------------------------------------------------------- */

static void a_standby_is_told_whom_to_follow(void **state)
{
    (void)state;
    ops_lead(0);
    ops_start(DB2);
    ops_watch(DB2);
    ops_do_twice(ops_following(DB1));
    world_expect(w, COPY_STANDBY, NULL, LIMIT_MS);
    world_await(w, ops_is_linked(DB2));
    assert_string_equal(world_info(w, DB2, "master_host"), "127.0.0.1");
    ops_fails(ops_following(DB2), "no address");
    ops_fails(ops_following(HM_NOBODY), "no address");
    ops_watch(DB1);
    ops_fails(ops_following(DB2), "the copy is primary");
}

static void a_frozen_copy_keeps_what_it_has(void **state)
{
    struct position at;

    (void)state;
    ops_lead(1);
    world_write(w, DB1, 100, 100);
    ops_watch(DB2);
    world_await(w, world_number(w, DB2, "slave_repl_offset") ==
                       world_number(w, DB1, "master_repl_offset"));
    world_expect(w, COPY_STANDBY, NULL, LIMIT_MS);
    at = w->copy.at;
    ops_do_twice(ops_effect(DO_FREEZE));
    assert_int_equal(w->copy.follows, HM_NOBODY);
    assert_false(w->copy.is_streaming);
    assert_int_equal(w->copy.at.offset, at.offset);
    assert_int_equal(w->copy.at.timeline, at.timeline);
    world_write(w, DB1, 200, 100); /* nothing of this arrives any more */
    world_let(w, 300);
    assert_int_equal(world_number(w, DB2, "slave_repl_offset"), at.offset);
    assert_string_equal(world_ask(w, DB2, "EXISTS k100 k200"), "1");
    ops_fails(ops_effect(DO_FETCH), "NOMASTERLINK");
}

static void a_promotion_keeps_the_offset_and_the_others_go_on_from_it(void **state)
{
    struct position at;

    (void)state;
    ops_lead(2);
    world_write(w, DB1, 100, 100);
    world_await(w, world_number(w, DB2, "slave_repl_offset") ==
                       world_number(w, DB3, "slave_repl_offset"));
    ops_watch(DB3);
    ops_do(ops_effect(DO_FREEZE));
    ops_watch(DB2);
    ops_fails(ops_effect(DO_PROMOTE), "still follows somebody");
    ops_do(ops_effect(DO_FREEZE));
    at = w->copy.at;
    ops_do_twice(ops_effect(DO_PROMOTE));
    assert_int_equal(w->copy.state, COPY_PRIMARY);
    assert_int_equal(w->copy.at.offset, at.offset);
    assert_int_not_equal(w->copy.at.timeline, at.timeline);
    assert_int_equal(w->copy.names, NAMES_EMPTY);
    world_write(w, DB2, 10, 10);
    ops_follow(DB3, DB2);
    assert_int_equal(world_number(w, DB2, "sync_partial_ok"), 1);
    assert_int_equal(world_number(w, DB2, "sync_full"), 0);
    world_await(w, strcmp(world_ask(w, DB3, "GET k1"), "xxxxxxxxxx1") == 0);
}

static bool has_ended(redisContext *c)
{
    redisReply *reply = redisCommand(c, "PING");

    freeReplyObject(reply); /* NULL is fine */
    return reply == NULL;
}

static void a_promotion_ends_the_connections_of_readers(void **state)
{
    redisContext *reader, *beside;

    (void)state;
    ops_lead(1);
    ops_watch(DB2);
    ops_do(ops_effect(DO_FREEZE));
    reader = redisConnect(world_host(w, DB2), w->port);
    beside = redisConnect(world_host(w, DB1), w->port);
    assert_non_null(reader);
    assert_non_null(beside);
    assert_false(has_ended(reader));
    ops_do(ops_effect(DO_PROMOTE));
    world_await(w, has_ended(reader));
    assert_false(has_ended(beside));
    world_expect(w, COPY_PRIMARY, NULL, LIMIT_MS); /* our own go on */
    redisFree(reader);
    redisFree(beside);
}

static void a_primary_is_not_frozen(void **state)
{
    (void)state;
    ops_lead(0);
    ops_fails(ops_effect(DO_FREEZE), "the copy is primary");
    ops_fails(ops_effect(DO_START), "the copy is primary");
}

static void what_a_copy_of_redis_never_needs_fails_at_once(void **state)
{
    (void)state;
    ops_start(DB1);
    ops_watch(DB1);
    world_expect(w, COPY_STANDBY, NULL, LIMIT_MS);
    ops_fails(ops_effect(DO_REWIND), "resynchronises by itself");
    ops_fails(ops_effect(DO_CLONE), "resynchronises by itself");
    ops_fails(ops_effect(DO_RESCUE), "gone with its process");
    ops_do_twice(ops_effect(DO_CHECKPOINT));
    ops_do_twice(ops_effect(DO_PROVE));
}

static void an_operation_fails_when_its_server_ends(void **state)
{
    uint32_t op;

    (void)state;
    ops_lead(0);
    world_signal(w, DB1, SIGSTOP); /* it does not answer any more */
    op = ops_begin(ops_effect(DO_PROMOTE));
    world_signal(w, DB1, SIGKILL);
    ops_wait(op);
    assert_false(w->done_is_ok);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ops_make_world, ops_end_world)
    const struct CMUnitTest tests[] = {
        TEST(a_server_is_started_as_a_replica_of_nobody),
        TEST(what_its_file_includes_is_there_before_it_starts),
        TEST(an_empty_server_is_made_by_starting_it),
        TEST(a_server_that_hamgrd_started_outlives_it),
        TEST(a_server_that_does_not_start_says_where_to_look),
        TEST(a_program_that_is_not_there_is_told),
        TEST(a_unit_is_started_by_the_helper),
        TEST(a_unit_that_comes_up_as_a_primary_is_told),
        TEST(a_standby_is_told_whom_to_follow),
        TEST(a_frozen_copy_keeps_what_it_has),
        TEST(a_promotion_keeps_the_offset_and_the_others_go_on_from_it),
        TEST(a_promotion_ends_the_connections_of_readers),
        TEST(a_primary_is_not_frozen),
        TEST(what_a_copy_of_redis_never_needs_fails_at_once),
        TEST(an_operation_fails_when_its_server_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
