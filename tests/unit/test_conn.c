#include "postgres/conn.h"

#include "base/clock.h"
#include "tests/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Everything that needs a server is in tests/pg/test_pg_conn.c; here is nobody, or a socket that
 * listens and never says a word, which is what a stopped postmaster looks like. */

struct place {
    struct event_base *base;
    char directory[64];
    char conninfo[128];
    int listener;
    unsigned int ups, downs;
    char why[256];
    struct conn *freed_on_down;
};

static void on_up(void *ctx)
{
    ((struct place *)ctx)->ups++;
}

static void on_down(void *ctx, const char *why)
{
    struct place *p = ctx;

    p->downs++;
    (void)snprintf(p->why, sizeof p->why, "%s", why);
    conn_free(p->freed_on_down);
    p->freed_on_down = NULL;
}

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    assert_non_null(p);
    p->base = event_base_new();
    p->listener = -1;
    strcpy(p->directory, "/tmp/hamgr-conn-XXXXXX");
    assert_non_null(mkdtemp(p->directory));
    (void)snprintf(p->conninfo, sizeof p->conninfo, "host=%s port=5432 user=u dbname=d",
                   p->directory);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    char path[128];

    if (p->listener >= 0)
        (void)close(p->listener);
    (void)snprintf(path, sizeof path, "%s/.s.PGSQL.5432", p->directory);
    (void)unlink(path);
    (void)rmdir(p->directory);
    event_base_free(p->base);
    free(p);
    return 0;
}

static void listen_silently(struct place *p)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.5432", p->directory);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->listener >= 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(p->listener, 8), 0);
}

static struct conn *made(struct place *p, const char *conninfo, hm_ms connect_ms, hm_ms reopen_ms)
{
    struct conn_config config = { .base = p->base,
                                  .conninfo = conninfo,
                                  .connect_ms = connect_ms,
                                  .reopen_ms = reopen_ms,
                                  .on_up = on_up,
                                  .on_down = on_down,
                                  .ctx = p };
    struct conn *c = NULL;
    struct hm_err err;

    assert_int_equal(conn_new(&config, &c, &err), HM_OK);
    return c;
}

static void run_until_down(struct place *p, unsigned int downs)
{
    hm_ms limit_ms = clock_boot_ms() + 5000;

    while (p->downs < downs && clock_boot_ms() < limit_ms)
        (void)event_base_loop(p->base, EVLOOP_ONCE);
    assert_int_equal(p->downs, downs);
}

static void an_address_with_a_name_is_refused(void **state)
{
    static const char *const bad[] = { "host=localhost",     "dbname=x", "host=/tmp,example.org",
                                       "postgresql://db1/x", "host=",    "service=x host=/tmp" };
    static const char *const good[] = { "host=/tmp", "host=db1 hostaddr=127.0.0.1", "hostaddr=::1",
                                        "host=/tmp,/run" };
    struct place *p = *state;

    for (size_t i = 0; i < HM_ARRAY_LEN(bad); i++) {
        struct conn_config config = { .base = p->base, .conninfo = bad[i], .connect_ms = 1 };
        struct conn *c = NULL;
        struct hm_err err;

        assert_int_equal(conn_new(&config, &c, &err), HM_BAD_INPUT);
        assert_null(c);
        assert_non_null(strstr(err.text, "not the name"));
    }
    for (size_t i = 0; i < HM_ARRAY_LEN(good); i++)
        conn_free(made(p, good[i], 1, 0));
}

static void a_garbled_connection_string_is_refused(void **state)
{
    struct place *p = *state;
    struct conn_config config = { .base = p->base, .conninfo = "host", .connect_ms = 1 };
    struct conn *c = NULL;
    struct hm_err err;

    assert_int_equal(conn_new(&config, &c, &err), HM_BAD_INPUT);
    assert_null(c);
}

static void nobody_there_is_told_with_the_reason(void **state)
{
    struct place *p = *state;
    struct conn *c = made(p, p->conninfo, 1000, 0);

    assert_false(conn_is_up(c));
    assert_int_equal(conn_backend(c), 0);
    assert_false(conn_ask(c, "SELECT 1", 100, NULL, NULL));
    conn_open(c, false);
    assert_int_equal(p->downs, 0); /* never from within a call */
    run_until_down(p, 1);
    assert_non_null(strstr(p->why, "No such file"));
    assert_string_equal(conn_sqlstate(c), "");
    assert_int_equal(p->ups, 0);
    conn_free(c);
}

static void it_is_tried_again_by_itself(void **state)
{
    struct place *p = *state;
    struct conn *c = made(p, p->conninfo, 1000, 10);
    hm_ms begin_ms = clock_boot_ms();

    conn_open(c, false);
    run_until_down(p, 4);
    assert_true(clock_boot_ms() - begin_ms >= 3 * 10);
    conn_free(c);
}

static void a_server_that_says_nothing_is_late(void **state)
{
    struct place *p = *state;
    struct conn *c;
    hm_ms begin_ms = clock_boot_ms();

    listen_silently(p);
    c = made(p, p->conninfo, 60, 0);
    conn_open(c, false);
    run_until_down(p, 1);
    assert_in_range(clock_boot_ms() - begin_ms, 60, 2000);
    assert_non_null(strstr(p->why, "in time"));
    conn_free(c);
}

static void it_may_be_freed_while_it_opens(void **state)
{
    struct place *p = *state;
    struct conn *c;

    listen_silently(p);
    c = made(p, p->conninfo, 60, 10);
    conn_open(c, false);
    (void)event_base_loop(p->base, EVLOOP_NONBLOCK);
    conn_free(c);
    (void)event_base_loop(p->base, EVLOOP_NONBLOCK);
    assert_int_equal(p->downs, 0);
}

static void it_may_be_freed_by_its_own_callback(void **state)
{
    struct place *p = *state;

    p->freed_on_down = made(p, p->conninfo, 1000, 10);
    conn_open(p->freed_on_down, false);
    run_until_down(p, 1);
    assert_null(p->freed_on_down);
    assert_int_equal(event_base_loop(p->base, EVLOOP_NONBLOCK), 1); /* nothing is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_with_a_name_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_garbled_connection_string_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there_is_told_with_the_reason, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_tried_again_by_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_that_says_nothing_is_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_may_be_freed_while_it_opens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_may_be_freed_by_its_own_callback, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
