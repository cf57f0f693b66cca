/* The endpoint on a real socket: requests in pieces, crowds, slow readers, waiting. */
#include "sentinel/server.h"

#include "base/clock.h"
#include "daemon/loop.h"
#include "sentinel/session.h"
#include "tests/unit/made_model.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, ANSWER_MAX = 1 << 20, SENTINEL_SCRATCH_SIZE = 64 << 10 };

static struct loop loop;
static struct sentinel_server *server;
static struct model model;
static struct sentinel_config config;
static uint64_t ticket;
static char answer[ANSWER_MAX];

static bool on_failover(void *ctx, uint64_t t, const char *master)
{
    (void)ctx;
    assert_string_equal(master, "cache");
    ticket = t;
    return true;
}

static void open_server(void)
{
    struct hm_err err;

    config.base = loop.base;
    config.failover = on_failover;
    if (config.listen[0] == NULL)
        config.listen[0] = "127.0.0.1";
    if (config.clients_max == 0)
        config.clients_max = 50;
    assert_int_equal(sentinel_server_new(&config, &server, &err), HM_OK);
    sentinel_server_show(server, &model);
}

static int begin(void **state)
{
    struct hm_err err;

    (void)state;
    memset(&config, 0, sizeof config);
    ticket = 0;
    made_model(&model, 1);
    assert_int_equal(loop_init(&loop, 1000, &err), HM_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sentinel_server_free(server);
    server = NULL;
    loop_done(&loop);
    return 0;
}

/* One turn of the loop, and never for long. */
static void turn(void)
{
    const struct timeval ms = { .tv_usec = 1000 };

    assert_int_equal(event_base_loopexit(loop.base, &ms), 0);
    assert_true(event_base_dispatch(loop.base) >= 0);
}

static int connected(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(sentinel_server_port(server)) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Turns the loop until n bytes came, or the end, which *ret_is_over says; then what came. */
static const char *heard(int fd, size_t n, bool *ret_is_over)
{
    hm_ms until_ms = clock_boot_ms() + PATIENCE_MS;
    size_t used = 0;
    ssize_t got = 0;

    *ret_is_over = false;
    while (used < n && !*ret_is_over) {
        assert_true(clock_boot_ms() < until_ms);
        turn();
        got = recv(fd, answer + used, n - used, MSG_DONTWAIT);
        if (got > 0)
            used += (size_t)got;
        else if (got == 0 || errno != EAGAIN)
            *ret_is_over = true;
    }
    answer[used] = '\0';
    return answer;
}

static void hears(int fd, const char *text)
{
    bool is_over;

    assert_string_equal(heard(fd, strlen(text), &is_over), text);
}

static void is_over(int fd)
{
    bool is;

    assert_string_equal(heard(fd, 1, &is), "");
    assert_true(is);
}

static void is_silent(int fd)
{
    for (int i = 0; i < 20; i++)
        turn();
    assert_int_equal(recv(fd, answer, 1, MSG_DONTWAIT), -1);
}

/* --- requests -----------------------------------------------------------------------------------
 */

static void requests_come_in_pieces_and_in_crowds(void **state)
{
    static const char text[] = "*2\r\n$4\r\nPING\r\n$3\r\nabc\r\nPING x\r\n";
    int fd;

    (void)state;
    open_server();
    fd = connected();
    for (size_t i = 0; i < sizeof text - 1; i++) {
        assert_int_equal(send(fd, text + i, 1, 0), 1);
        turn();
    }
    hears(fd, "$3\r\nabc\r\n$1\r\nx\r\n");
    for (int i = 0; i < 500; i++)
        say(fd, "PING\r\n");
    for (int i = 0; i < 500; i++)
        hears(fd, "+PONG\r\n");
    say(fd, "\r\n*0\r\nPING\r\n");
    hears(fd, "+PONG\r\n");
    (void)close(fd); /* the server notices */
}

static void what_is_no_request_ends_the_connection(void **state)
{
    int fd;

    (void)state;
    open_server();
    fd = connected();
    say(fd, "PING\r\n*x\r\n");
    hears(fd, "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n");
    is_over(fd);
    (void)close(fd);
    fd = connected();
    say(fd, "QUIT\r\nPING\r\n");
    hears(fd, "+OK\r\n");
    is_over(fd);
    (void)close(fd);
}

/* It is answered to the last request all the same, when it reads at last. */
static void a_client_that_does_not_read_is_not_read(void **state)
{
    enum { REQUESTS = 20000 };
    hm_ms until_ms = clock_boot_ms() + PATIENCE_MS;
    size_t sent = 0, answers = 0, size = strlen("SENTINEL MASTERS\r\n") * REQUESTS;
    char *requests = malloc(size + 1);
    struct sentinel_counts n;
    ssize_t got;
    int fd;

    (void)state;
    open_server();
    fd = connected();
    assert_non_null(requests);
    for (size_t i = 0; i < REQUESTS; i++)
        memcpy(requests + i * strlen("SENTINEL MASTERS\r\n"), "SENTINEL MASTERS\r\n", 18);
    for (int quiet = 0; quiet < 50 && sent < size; turn(), quiet++) {
        got = send(fd, requests + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (got > 0) {
            sent += (size_t)got;
            quiet = 0;
        }
    }
    sentinel_server_count(server, &n);
    assert_int_equal(n.slow, 0);
    assert_true(n.buffered > 0);
    assert_true(n.buffered <= SENTINEL_SCRATCH_SIZE + RESP_COMMAND_MAX);
    while (answers < 2 * REQUESTS) { /* *1 and *40 each */
        assert_true(clock_boot_ms() < until_ms);
        turn();
        if (sent < size) {
            got = send(fd, requests + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += got > 0 ? (size_t)got : 0;
        }
        while ((got = recv(fd, answer, sizeof answer, MSG_DONTWAIT)) > 0)
            for (ssize_t i = 0; i < got; i++)
                answers += answer[i] == '*';
    }
    sentinel_server_count(server, &n);
    assert_int_equal(n.buffered, 0);
    free(requests);
    (void)close(fd);
}

/* --- events -------------------------------------------------------------------------------------
 */

static void subscribers_are_told_in_order(void **state)
{
    int fd, other;

    (void)state;
    open_server();
    fd = connected();
    other = connected();
    say(fd, "SUBSCRIBE +switch-master +slave\r\n");
    hears(fd, "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$"
              "6\r\n+slave\r\n"
              ":2\r\n");
    say(other, "HELLO 3\r\nPSUBSCRIBE +switch*\r\n");
    (void)heard(other, 100, &(bool){ false });
    for (int i = 0; i < 10; i++)
        turn();
    (void)recv(other, answer, sizeof answer, MSG_DONTWAIT);
    made_model(&model, 2);
    sentinel_server_show(server, &model);
    hears(fd, "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$33\r\ncache 10.0.0.1 6379 10.0.0.2 "
              "6379\r\n"
              "*3\r\n$7\r\nmessage\r\n$6\r\n+slave\r\n$55\r\n"
              "slave 10.0.0.1:6379 10.0.0.1 6379 @ cache 10.0.0.2 6379\r\n");
    hears(other, ">4\r\n$8\r\npmessage\r\n$8\r\n+switch*\r\n$14\r\n+switch-master\r\n$33\r\n"
                 "cache 10.0.0.1 6379 10.0.0.2 6379\r\n");
    is_silent(other);
    (void)close(fd);
    (void)close(other);
}

static void who_subscribes_later_is_told_nothing_old(void **state)
{
    int fd;

    (void)state;
    open_server();
    fd = connected();
    say(fd, "PING\r\n");
    hears(fd, "+PONG\r\n");
    made_model(&model, 2);
    sentinel_server_show(server, &model);
    say(fd, "SUBSCRIBE +slave\r\n");
    hears(fd, "*3\r\n$9\r\nsubscribe\r\n$6\r\n+slave\r\n:1\r\n");
    made_model(&model, 3);
    sentinel_server_show(server, &model);
    say(fd, "UNSUBSCRIBE +slave\r\nSUBSCRIBE +slave\r\n");
    hears(fd, "*3\r\n$7\r\nmessage\r\n$6\r\n+slave\r\n$55\r\n"
              "slave 10.0.0.1:6379 10.0.0.1 6379 @ cache 10.0.0.3 6379\r\n");
    (void)close(fd);
}

static void a_subscriber_that_does_not_read_is_cut_off(void **state)
{
    hm_ms until_ms = clock_boot_ms() + PATIENCE_MS;
    struct sentinel_counts n = { 0 };
    int fd, other, small = 4096;

    (void)state;
    open_server();
    fd = connected();
    other = connected();
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    say(fd, "PSUBSCRIBE * * ?* +* *a*\r\n");
    say(other, "SUBSCRIBE +switch-master\r\n");
    hears(other, "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n");
    for (unsigned i = 0; n.slow == 0; i++) {
        assert_true(clock_boot_ms() < until_ms);
        made_model(&model, i % 3 + 1);
        sentinel_server_show(server, &model);
        turn();
        (void)recv(other, answer, sizeof answer, MSG_DONTWAIT);
        sentinel_server_count(server, &n);
        assert_true(n.buffered <= SENTINEL_OUT_MAX);
    }
    for (int i = 0; i < 10; i++)
        turn();
    sentinel_server_count(server, &n);
    assert_int_equal(n.clients, 1);
    assert_int_equal(n.subscribers, 1);
    assert_int_equal(n.buffered, 0);
    (void)close(fd);
    (void)close(other);
}

/* --- who comes and who goes ---------------------------------------------------------------------
 */

static void one_client_too_many_is_turned_away(void **state)
{
    struct sentinel_counts n;
    int fd[11];

    (void)state;
    config.clients_max = 10;
    open_server();
    for (size_t i = 0; i < HM_ARRAY_LEN(fd); i++)
        fd[i] = connected();
    hears(fd[10], "-ERR max number of clients reached\r\n");
    is_over(fd[10]);
    (void)close(fd[0]);
    say(fd[9], "PING\r\n");
    hears(fd[9], "+PONG\r\n");
    (void)close(fd[10]);
    fd[10] = connected();
    fd[0] = connected();
    hears(fd[0], "-ERR max number of clients reached\r\n");
    sentinel_server_count(server, &n);
    assert_int_equal(n.clients, 10);
    assert_int_equal(n.rejected, 2);
    for (size_t i = 0; i < HM_ARRAY_LEN(fd); i++)
        (void)close(fd[i]);
}

static void who_says_nothing_for_long_is_let_go(void **state)
{
    int idle, subscriber;

    (void)state;
    config.idle_ms = 1;
    open_server();
    idle = connected();
    subscriber = connected();
    say(subscriber, "SUBSCRIBE a\r\n");
    hears(subscriber, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    is_over(idle);
    say(subscriber, "PING\r\n");
    hears(subscriber, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    (void)close(idle);
    (void)close(subscriber);
}

static void a_port_that_is_taken_is_tried_again(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof at;
    hm_ms until_ms = clock_boot_ms() + PATIENCE_MS;
    int fd, taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(taken, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&at, &size), 0);
    config.port = ntohs(at.sin_port);
    open_server();
    assert_non_null(strstr(sentinel_server_trouble(server), "cannot listen on 127.0.0.1 port"));
    (void)close(taken);
    while (sentinel_server_trouble(server)[0] != '\0') {
        assert_true(clock_boot_ms() < until_ms);
        turn();
    }
    fd = connected();
    say(fd, "PING\r\n");
    hears(fd, "+PONG\r\n");
    (void)close(fd);
}

/* --- waiting ------------------------------------------------------------------------------------
 */

static void a_failover_is_answered_when_it_is_refused_or_begun(void **state)
{
    int fd;

    (void)state;
    open_server();
    fd = connected();
    say(fd, "SENTINEL FAILOVER cache\r\nPING\r\n");
    while (ticket == 0)
        turn();
    sentinel_server_answer(server, ticket, "NOGOODSLAVE No suitable replica to promote: why");
    hears(fd, "-NOGOODSLAVE No suitable replica to promote: why\r\n+PONG\r\n");
    say(fd, "SENTINEL FAILOVER cache\r\nPING\r\n");
    hears(fd, "+OK\r\n+PONG\r\n"); /* nobody refused it in time */
    sentinel_server_answer(server, ticket, "late");
    is_silent(fd);
    say(fd, "SENTINEL FAILOVER cache\r\n");
    ticket = 0;
    while (ticket == 0)
        turn();
    (void)close(fd); /* the asker has left */
    for (int i = 0; i < 10; i++)
        turn();
    sentinel_server_answer(server, ticket, NULL);
    turn();
}

static void who_asks_during_a_failover_hears_of_the_new_master(void **state)
{
    static const char ask[] = "SENTINEL GET-MASTER-ADDR-BY-NAME cache\r\nPING\r\n";
    int fd, gone;

    (void)state;
    model.master[0].is_sdown = true;
    model.master[0].unsettled_ms = clock_boot_ms();
    open_server();
    fd = connected();
    gone = connected();
    say(gone, ask);
    say(fd, "SENTINEL REPLICAS nope\r\n");
    hears(fd, "-ERR No such master with that name\r\n");
    say(fd, ask);
    for (int i = 0; i < 20; i++)
        turn();
    (void)close(gone);
    made_model(&model, 2);
    sentinel_server_show(server, &model);
    hears(fd, "*2\r\n$8\r\n10.0.0.2\r\n$4\r\n6379\r\n+PONG\r\n");
    (void)close(fd);
}

static void nobody_waits_for_ever(void **state)
{
    hm_ms began_ms = clock_boot_ms();
    int fd;

    (void)state;
    model.master[0].is_sdown = true;
    model.master[0].unsettled_ms = began_ms;
    open_server();
    fd = connected();
    say(fd, "SENTINEL GET-MASTER-ADDR-BY-NAME cache\r\n");
    hears(fd, "*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n");
    assert_true(clock_boot_ms() - began_ms >= SESSION_HOLD_MS - 10);
    (void)close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_come_in_pieces_and_in_crowds),
        TEST(what_is_no_request_ends_the_connection),
        TEST(a_client_that_does_not_read_is_not_read),
        TEST(subscribers_are_told_in_order),
        TEST(who_subscribes_later_is_told_nothing_old),
        TEST(a_subscriber_that_does_not_read_is_cut_off),
        TEST(one_client_too_many_is_turned_away),
        TEST(who_says_nothing_for_long_is_let_go),
        TEST(a_port_that_is_taken_is_tried_again),
        TEST(a_failover_is_answered_when_it_is_refused_or_begun),
        TEST(who_asks_during_a_failover_hears_of_the_new_master),
        TEST(nobody_waits_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
