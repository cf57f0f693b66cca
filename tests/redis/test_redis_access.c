/* test_redis_access.c - servers that run and do not let hamgrd in, or not as far as it must. */
#include "redis/inner.h"
#include "tests/redis/await.h"
#include "tests/redis/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DB1, DB2 };

static bool is_healthy(const struct world *w)
{
    return w->copy.is_healthy;
}

static void without_the_password_it_says_what_to_set(void **state)
{
    struct world *w = *state;

    world_start(w, DB1, NULL);
    (void)world_ask(w, DB1, "CONFIG SET requirepass secret");
    world_watch(w, DB1);
    world_expect(w, COPY_UNKNOWN, NULL, 1000);
    assert_non_null(strstr(world_trouble(w), "set passfile: NOAUTH"));
    assert_true(w->copy.stalled_ms == 0 && w->copy.server_id != 0 && w->died_ms == 0);
}

static void write_password(struct world *w, const char *text)
{
    struct settings_service *service = &w->settings[DB1].service[0];
    FILE *f;

    (void)snprintf(service->passfile, sizeof service->passfile, "%s/pass", w->top);
    f = fopen(service->passfile, "we");
    assert_non_null(f);
    (void)fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void with_it_all_is_well(void **state)
{
    struct world *w = *state;

    write_password(w, "wrong\n");
    world_watch(w, DB1);
    world_expect(w, COPY_UNKNOWN, NULL, 1000);
    assert_non_null(strstr(world_trouble(w), "look at user and passfile: WRONGPASS"));
    write_password(w, "secret\nanything\n");
    world_watch(w, DB1);
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    assert_string_equal(w->service->password, "secret");
}

static void a_user_of_the_acl_is_logged_in(void **state)
{
    struct world *w = *state;
    struct settings_service *service = &w->settings[DB1].service[0];

    world_signal(w, DB1, SIGKILL);
    world_start(w, DB1, "user hamgr on >other ~* &* +@all\n");
    (void)snprintf(service->user, sizeof service->user, "hamgr");
    write_password(w, "other");
    world_watch(w, DB1);
    world_expect(w, COPY_PRIMARY, is_healthy, 5000);
}

/* Whether the server or the file was changed first, and without a restart of hamgrd. */
static void a_password_that_was_changed_is_read_again(void **state)
{
    struct world *w = *state;
    struct settings_service *service = &w->settings[DB1].service[0];

    (void)world_ask(w, DB1, "ACL SETUSER hamgr >another <other");
    (void)world_ask(w, DB1, "CLIENT KILL USER hamgr");
    world_await(w, strstr(world_trouble(w), "look at user and passfile: WRONGPASS") != NULL);
    write_password(w, "another\n");
    world_expect(w, COPY_PRIMARY, is_healthy, 5000);
    assert_string_equal(w->service->password, "another");
    write_password(w, "third\n");
    (void)world_ask(w, DB1, "ACL SETUSER hamgr >third <another");
    (void)world_ask(w, DB1, "CLIENT KILL USER hamgr");
    world_await(w, strcmp(w->service->password, "third") == 0);
    world_expect(w, COPY_PRIMARY, is_healthy, 5000);
    world_await(w, rconn_is_up(w->service->work)); /* that one, too */
    service->user[0] = service->passfile[0] = 0;
    world_watch(w, DB1);
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
}

static const char *concern(const struct world *w)
{
    static struct service_facts facts;

    service_redis.describe(w->service, &facts);
    return facts.concern;
}

/* A standby has the same data, so that giving it away would help nobody. */
static void a_full_memory_is_told_and_is_no_illness(void **state)
{
    struct world *w = *state;

    world_watch(w, DB1);
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    assert_string_equal(concern(w), "");
    world_write(w, DB1, 2000, 1000);
    assert_string_equal(world_ask(w, DB1, "CONFIG SET maxmemory 1mb"), "OK");
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    assert_non_null(strstr(concern(w), "OOM"));
    assert_string_equal(world_ask(w, DB1, "CONFIG SET maxmemory-policy allkeys-lru"), "OK");
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    assert_string_equal(concern(w), "");
    assert_string_equal(world_ask(w, DB1, "CONFIG SET maxmemory 0"), "OK");
    assert_string_equal(world_ask(w, DB1, "FLUSHALL"), "OK");
}

/* Whoever takes all connections cannot make it look dead: ours is there already. */
static void a_server_full_of_clients_is_still_seen(void **state)
{
    struct world *w = *state;
    redisContext *c[32] = { NULL };
    redisReply *reply = NULL;
    size_t n = 0;

    assert_string_equal(world_ask(w, DB1, "CONFIG SET maxclients 16"), "OK");
    for (; n < HM_ARRAY_LEN(c); n++) {
        c[n] = redisConnectUnix(w->settings[DB1].service[0].socket);
        reply = redisCommand(c[n], "PING");
        if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
            break;
        freeReplyObject(reply);
    }
    freeReplyObject(reply);
    w->seen = 0;
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    assert_int_equal(w->seen, 1u << COPY_PRIMARY);
    w->died_ms = 0;
    world_watch(w, DB1); /* and one that comes too late says why */
    for (size_t i = 0; i < 2; i++)
        c[n + 1 + i] = redisConnectUnix(w->settings[DB1].service[0].socket);
    world_expect(w, COPY_UNKNOWN, NULL, 1000);
    assert_non_null(strstr(world_trouble(w), "raise maxclients"));
    for (size_t i = 0; i < HM_ARRAY_LEN(c); i++)
        if (c[i] != NULL)
            redisFree(c[i]);
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    assert_true(w->died_ms == 0);
}

static void one_that_ends_our_connections_is_not_dead(void **state)
{
    struct world *w = *state;

    w->seen = 0;
    (void)world_ask(w, DB1, "CLIENT KILL TYPE normal SKIPME yes");
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
    assert_int_equal(w->seen, 1u << COPY_PRIMARY);
    assert_true(w->died_ms == 0);
}

static void what_hamgr_may_not_ask_is_named(void **state)
{
    struct world *w = *state;

    (void)world_ask(w, DB1, "ACL SETUSER default -info");
    world_expect(w, COPY_UNKNOWN, NULL, 1000);
    assert_non_null(strstr(world_trouble(w), "let hamgr's user run INFO"));
    (void)world_ask(w, DB1, "ACL SETUSER default +info");
    world_expect(w, COPY_PRIMARY, is_healthy, 1000);
}

/* In between it looks well: a full disk, for example, lets it start, and ends it with the next
 * write. */
static void a_standby_that_dies_again_and_again_is_told(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 4; i++) { /* the first was a primary */
        assert_string_equal(concern(w), "");
        world_signal(w, DB1, SIGKILL);
        world_start(w, DB1, "replicaof 127.0.0.1 1\n");
        world_expect(w, COPY_STANDBY, NULL, 5000);
    }
    assert_string_equal(concern(w), "its server ended 3 times in a row: look at its log");
}

static bool is_taking_data(const struct world *w)
{
    return w->service->info.is_syncing && w->service->info.synced > 0;
}

static bool is_linked(const struct world *w)
{
    return w->service->info.is_linked;
}

/* The server begins again by itself, and again gets nowhere: nothing but the link shows it. */
static void data_that_never_arrives_is_told(void **state)
{
    struct world *w = *state;

    world_start(w, DB2,
                "repl-diskless-sync yes\nrepl-diskless-sync-delay 0\n"
                "rdb-key-save-delay 20000\n");
    world_write(w, DB2, 2000, 1000); /* forty seconds of it */
    world_watch(w, DB1);             /* its deaths are forgotten */
    world_expect(w, COPY_STANDBY, NULL, 1000);
    (void)world_ask(w, DB1, "REPLICAOF %s %u", world_host(w, DB2), w->port);
    while (strstr(concern(w), "taking all data was cut off") == NULL) {
        world_expect(w, COPY_STANDBY, is_taking_data, 5000);
        (void)world_ask(w, DB2, "CLIENT KILL TYPE replica");
    }
    assert_non_null(strstr(concern(w), "client-output-buffer-limit"));
    (void)world_ask(w, DB2, "CONFIG SET rdb-key-save-delay 0");
    /* Redis 8 lets the process go on that writes the data for nobody, and waits for its end. */
    world_expect(w, COPY_STANDBY, is_linked, 9000);
    assert_string_equal(concern(w), "");
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
        cmocka_unit_test(without_the_password_it_says_what_to_set),
        cmocka_unit_test(with_it_all_is_well),
        cmocka_unit_test(a_user_of_the_acl_is_logged_in),
        cmocka_unit_test(a_password_that_was_changed_is_read_again),
        cmocka_unit_test(a_server_full_of_clients_is_still_seen),
        cmocka_unit_test(a_full_memory_is_told_and_is_no_illness),
        cmocka_unit_test(one_that_ends_our_connections_is_not_dead),
        cmocka_unit_test(what_hamgr_may_not_ask_is_named),
        cmocka_unit_test(a_standby_that_dies_again_and_again_is_told),
        cmocka_unit_test(data_that_never_arrives_is_told),
    };

    return cmocka_run_group_tests(tests, make_world, end_world);
}
