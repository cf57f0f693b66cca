/* test_redis_rconn.c - a connection to a real server: in order, late, lost, freed at any moment. */
#include "redis/rconn.h"

#include "tests/redis/await.h"
#include "tests/redis/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { DB1, SOON_MS = 10000 };

struct client {
    struct world *w;
    struct rconn *c;
    unsigned int ups, downs;
    char down_why[256];
    unsigned int answers[4]; /* by outcome */
    long long numbers[64];
    size_t numbers_n;
    size_t size; /* of the newest answer, if it is a text */
    char why[256];
    bool must_free, must_reopen, must_ask;
};

static struct client x;

/* --- asking ---------------------------------------------------------------------------------- */

static void on_answer(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                      const char *why)
{
    struct client *t = ctx;
    const char *const ping[] = { "PING" };

    t->answers[outcome]++;
    (void)snprintf(t->why, sizeof t->why, "%s", why);
    assert_true((reply != NULL) == (outcome == RCONN_ANSWERED || outcome == RCONN_REFUSED));
    assert_true((why[0] == 0) == (outcome == RCONN_ANSWERED));
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
        t->numbers[t->numbers_n++ % HM_ARRAY_LEN(t->numbers)] = reply->integer;
    t->size = reply != NULL && reply->type == REDIS_REPLY_STRING ? reply->len : 0;
    if (t->must_ask) {
        t->must_ask = false;
        assert_true(rconn_ask(t->c, 1, ping, SOON_MS, on_answer, t));
    }
    if (t->must_reopen) {
        t->must_reopen = false;
        rconn_open(t->c, true);
        assert_false(rconn_is_up(t->c));
    }
    if (t->must_free) {
        rconn_free(t->c);
        t->c = NULL;
    }
}

static bool ask(hm_ms timeout_ms, size_t n, const char *const *words)
{
    return rconn_ask(x.c, n, words, timeout_ms, on_answer, &x);
}

#define ASK(timeout_ms, ...)                                                                       \
    ask(timeout_ms, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *),           \
        (const char *const[]){ __VA_ARGS__ })

static void on_up(void *ctx)
{
    ((struct client *)ctx)->ups++;
}

static void on_down(void *ctx, const char *why)
{
    struct client *t = ctx;

    t->downs++;
    (void)snprintf(t->down_why, sizeof t->down_why, "%s", why);
}

static struct rconn_config config_of(struct world *w)
{
    return (struct rconn_config){ .base = w->base,
                                  .path = w->settings[DB1].service[0].socket,
                                  .connect_ms = SOON_MS,
                                  .on_up = on_up,
                                  .on_down = on_down,
                                  .ctx = &x };
}

static void make(struct world *w, const struct rconn_config *config)
{
    struct hm_err err;

    rconn_free(x.c);
    memset(&x, 0, sizeof x);
    x.w = w;
    assert_int_equal(rconn_new(config, &x.c, &err), HM_OK);
}

static void open_it(struct world *w)
{
    struct rconn_config config = config_of(w);

    make(w, &config);
    rconn_open(x.c, false);
    assert_true(x.ups == 0 && x.downs == 0);
    world_await(w, rconn_is_up(x.c));
    assert_true(x.ups == 1 && x.downs == 0);
}

/* --- opening --------------------------------------------------------------------------------- */

static void names_and_long_paths_are_refused(void **state)
{
    struct world *w = *state;
    struct rconn_config config = { .base = w->base, .host = "localhost", .port = 1 };
    struct rconn *c = NULL;
    char path[200];
    struct hm_err err;

    assert_int_equal(rconn_new(&config, &c, &err), HM_BAD_INPUT);
    assert_string_equal(err.text, "a connection needs an address, not the name 'localhost'");
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = 0;
    config.path = path;
    assert_int_equal(rconn_new(&config, &c, &err), HM_BAD_INPUT);
}

static void where_nobody_listens_is_told(void **state)
{
    struct world *w = *state;
    struct rconn_config config = config_of(w);

    make(w, &config);
    rconn_open(x.c, false);
    world_await(w, x.downs == 1);
    assert_true(rconn_is_nobody_there(x.c) && !rconn_is_up(x.c));
    assert_false(ASK(SOON_MS, "PING"));
    config.path = NULL;
    config.host = "127.0.0.1";
    config.port = w->port;
    make(w, &config);
    rconn_open(x.c, false);
    world_await(w, x.downs == 1);
    assert_true(rconn_is_nobody_there(x.c));
    assert_string_equal(x.down_why, "Connection refused");
}

/* What a stopped server looks like: the kernel takes the connection, and nobody says a word. */
static void one_that_says_nothing_is_given_up(void **state)
{
    struct world *w = *state;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct rconn_config config = config_of(w);
    char path[sizeof address.sun_path];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(path, sizeof path, "%s/silent", w->top);
    memcpy(address.sun_path, path, sizeof path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    config.path = path;
    config.connect_ms = 50;
    make(w, &config);
    rconn_open(x.c, false);
    world_await(w, x.downs == 1);
    assert_string_equal(x.down_why, "the server did not take the connection in time");
    assert_false(rconn_is_nobody_there(x.c));
    (void)close(fd);
}

/* --- answers --------------------------------------------------------------------------------- */

static void answers_come_in_order(void **state)
{
    struct world *w = *state;

    world_start(w, DB1, NULL);
    open_it(w);
    for (size_t i = 0; i < HM_ARRAY_LEN(x.numbers); i++)
        assert_true(ASK(SOON_MS, "INCR", "n"));
    world_await(w, x.numbers_n == HM_ARRAY_LEN(x.numbers));
    for (size_t i = 0; i < HM_ARRAY_LEN(x.numbers); i++)
        assert_int_equal(x.numbers[i], i + 1);
    assert_int_equal(x.answers[RCONN_ANSWERED], HM_ARRAY_LEN(x.numbers));
}

static void an_error_is_an_answer(void **state)
{
    struct world *w = *state;

    assert_true(ASK(SOON_MS, "INCR", "n", "too many"));
    x.must_ask = true; /* the callee may ask again */
    world_await(w, x.answers[RCONN_REFUSED] == 1 && x.answers[RCONN_ANSWERED] == 65);
    assert_true(rconn_is_up(x.c) && x.downs == 0);
}

static void words_may_hold_anything_and_be_large(void **state)
{
    struct world *w = *state;
    size_t size = 3000000;
    char *text = malloc(size + 1);

    assert_non_null(text);
    memset(text, '\n', size);
    text[size] = 0;
    assert_true(ASK(SOON_MS, "SET", "large", text));
    assert_true(ASK(SOON_MS, "GET", "large"));
    free(text);
    world_await(w, x.answers[RCONN_ANSWERED] == 67);
    assert_int_equal(x.size, size);
}

static void by_tcp_it_is_the_same(void **state)
{
    struct world *w = *state;
    struct rconn_config config = config_of(w);

    config.path = NULL;
    config.host = world_host(w, DB1);
    config.port = w->port;
    make(w, &config);
    rconn_open(x.c, false);
    world_await(w, rconn_is_up(x.c));
    assert_true(ASK(SOON_MS, "CLIENT", "GETNAME"));
    world_await(w, x.size == strlen("hamgr"));
}

/* --- its end --------------------------------------------------------------------------------- */

static void one_that_is_late_closes_the_connection(void **state)
{
    struct world *w = *state;

    open_it(w);
    assert_true(ASK(30, "BLPOP", "nothing", "0"));
    assert_true(ASK(SOON_MS, "PING")); /* behind it in the queue */
    world_await(w, x.downs == 1);
    assert_true(x.answers[RCONN_LATE] == 1 && x.answers[RCONN_LOST] == 1);
    assert_string_equal(x.down_why, "no answer in time");
    rconn_open(x.c, false);
    world_await(w, x.ups == 2);
}

static void one_that_is_opened_anew_loses_what_waits(void **state)
{
    struct world *w = *state;

    assert_true(ASK(SOON_MS, "PING"));
    rconn_open(x.c, true);
    assert_int_equal(x.answers[RCONN_LOST], 1); /* that of the test before: not from within */
    world_await(w, x.ups == 3);
    assert_true(x.answers[RCONN_LOST] == 2 && x.downs == 1);
    assert_true(ASK(SOON_MS, "PING"));
    x.must_reopen = true; /* from within an answer */
    world_await(w, x.ups == 4);
    assert_true(x.downs == 1);
}

static void whoever_is_told_of_a_loss_may_open_it(void **state)
{
    struct world *w = *state;

    assert_true(ASK(SOON_MS, "BLPOP", "nothing", "0"));
    world_let(w, 20);
    x.must_reopen = true;
    (void)world_ask(w, DB1, "CLIENT KILL TYPE normal");
    world_await(w, x.ups == 5);
    assert_true(x.downs == 1); /* it is open again: nobody need hear that it was not */
}

static void it_may_be_freed_from_within_an_answer(void **state)
{
    struct world *w = *state;

    assert_true(ASK(SOON_MS, "PING"));
    assert_true(ASK(SOON_MS, "PING")); /* its callback never comes */
    x.answers[RCONN_ANSWERED] = 0;
    x.must_free = true;
    world_await(w, x.c == NULL);
    world_let(w, 20);
    assert_int_equal(x.answers[RCONN_ANSWERED], 1);
    open_it(w);
    assert_true(ASK(SOON_MS, "BLPOP", "nothing", "0"));
    x.must_free = true;
    world_signal(w, DB1, SIGKILL); /* ... and from within the news of a loss */
    world_await(w, x.c == NULL);
    world_let(w, 20);
    assert_true(x.answers[RCONN_LOST] == 1 && x.downs == 0);
}

static int make_world(void **state)
{
    *state = world_new();
    return 0;
}

static int end_world(void **state)
{
    rconn_free(x.c);
    world_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_long_paths_are_refused),
        cmocka_unit_test(where_nobody_listens_is_told),
        cmocka_unit_test(one_that_says_nothing_is_given_up),
        cmocka_unit_test(answers_come_in_order),
        cmocka_unit_test(an_error_is_an_answer),
        cmocka_unit_test(words_may_hold_anything_and_be_large),
        cmocka_unit_test(by_tcp_it_is_the_same),
        cmocka_unit_test(one_that_is_late_closes_the_connection),
        cmocka_unit_test(one_that_is_opened_anew_loses_what_waits),
        cmocka_unit_test(whoever_is_told_of_a_loss_may_open_it),
        cmocka_unit_test(it_may_be_freed_from_within_an_answer),
    };

    return cmocka_run_group_tests(tests, make_world, end_world);
}
