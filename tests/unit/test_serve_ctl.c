#include "daemon/serve_ctl.h"

#include "base/clock.h"
#include "tests/cm.h"
#include "wire/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The server under test runs in this process; its clients are sockets of this process, too. */
static char folder[] = "/tmp/hamgr-ctl-XXXXXX";
static char path[sizeof folder + 16];
static struct event_base *base;
static struct serve_ctl *server;

static unsigned heard;
static bool is_late;               /* do not answer at once ... */
static struct serve_call *waiting; /* ... but when the test says so */

static void on_request(void *ctx, struct serve_call *call, const json_t *request)
{
    assert_ptr_equal(ctx, &heard);
    heard++;
    waiting = call;
    if (!is_late)
        serve_answer(call, HM_OK, json_pack("{s:O}", "heard", json_object_get(request, "command")));
}

static enum hm_rc serve(struct serve_ctl **ret, struct hm_err *err)
{
    return serve_ctl_new(base, path, on_request, &heard, ret, err);
}

static int begin(void **state)
{
    struct hm_err err;

    (void)state;
    heard = 0;
    is_late = false;
    waiting = NULL;
    base = event_base_new();
    if (serve(&server, &err) == HM_OK)
        return 0;
    (void)fprintf(stderr, "%s\n", err.text);
    return -1;
}

static int end(void **state)
{
    (void)state;
    serve_ctl_free(server);
    event_base_free(base);
    return access(path, F_OK) == 0 ? -1 : 0;
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL || chmod(folder, 0755) != 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/hamgrd.sock", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int try_connect(void)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static int client(void)
{
    int fd = try_connect();

    assert_true(fd >= 0);
    return fd;
}

static void say(int fd, const char *bytes)
{
    assert_int_equal(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

/* Lets the server work until the client has the whole answer; returns it. */
static json_t *answer(int fd, hm_ms limit_ms)
{
    hm_ms until_ms = clock_boot_ms() + limit_ms;
    static char text[20000];
    size_t n = 0;

    while (clock_boot_ms() < until_ms) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        ssize_t got;

        (void)event_base_loop(base, EVLOOP_NONBLOCK);
        if (poll(&p, 1, 1) <= 0)
            continue;
        got = read(fd, text + n, sizeof text - n);
        if (got > 0) {
            n += (size_t)got;
            continue;
        }
        (void)close(fd);
        return json_loadb(text, n, 0, NULL);
    }
    fail_msg("no answer within %d ms", (int)limit_ms);
    return NULL;
}

static void turn(unsigned rounds)
{
    while (rounds-- > 0)
        (void)event_base_loop(base, EVLOOP_NONBLOCK);
}

static void is_answer(json_t *j, int rc, const char *key, const char *text)
{
    assert_non_null(j);
    assert_int_equal(json_integer_value(json_object_get(j, "rc")), rc);
    if (key != NULL) {
        const char *is = json_string_value(json_object_get(j, key));

        assert_non_null(is);
        if (strstr(is, text) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", is, text);
    }
    json_decref(j);
}

/* --- requests --------------------------------------------------------------------------------- */

static void a_request_is_answered(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "{\"command\":\"status\"}\n");
    is_answer(answer(fd, 2000), 0, "heard", "status");
    assert_int_equal(heard, 1);
}

static void a_request_may_come_in_pieces(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "{\"comm");
    turn(5);
    say(fd, "and\":\"ping\"}");
    turn(5);
    assert_int_equal(heard, 0);
    say(fd, "\n");
    is_answer(answer(fd, 2000), 0, "heard", "ping");
}

static void the_end_of_sending_ends_a_request_too(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "{\"command\":\"ping\"}");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    is_answer(answer(fd, 2000), 0, "heard", "ping");
}

static void one_connection_brings_one_request(void **state)
{
    int fd = client();

    (void)state;
    is_late = true;
    say(fd, "{\"command\":\"ping\"}\n{\"command\":\"pause\"}\n");
    turn(10);
    say(fd, "{\"command\":\"resume\"}\n");
    turn(10);
    assert_int_equal(heard, 1);
    serve_answer(waiting, HM_OK, json_object());
    is_answer(answer(fd, 2000), 0, NULL, NULL);
    assert_int_equal(heard, 1);
}

static void an_answer_may_come_later(void **state)
{
    int fd = client();

    (void)state;
    is_late = true;
    say(fd, "{\"command\":\"switchover\"}\n");
    turn(10);
    assert_non_null(waiting);
    serve_fail(waiting, HM_REFUSED, "db2 is behind", "hamgr status");
    is_answer(answer(fd, 2000), 3, "error", "db2 is behind");
}

static void a_long_answer_arrives_whole(void **state)
{
    json_t *list = json_array(), *j;
    int fd = client();

    (void)state;
    is_late = true;
    say(fd, "{\"command\":\"status\"}\n");
    turn(10);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(json_array_append_new(list, json_integer(1000000 + i)), 0);
    serve_answer(waiting, HM_OK, json_pack("{s:o}", "list", list));
    j = answer(fd, 2000);
    assert_int_equal(json_array_size(json_object_get(j, "list")), 1000);
    json_decref(j);
}

static void a_garbled_request_is_refused(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "GET / HTTP/1.0\r\n\r\n");
    is_answer(answer(fd, 2000), 2, "error", "no JSON");
    fd = client();
    say(fd, "\n");
    is_answer(answer(fd, 2000), 2, "error", "no JSON");
    fd = client();
    say(fd, "{\"command\":\"obey\"}\n");
    is_answer(answer(fd, 2000), 2, "error", "unknown command 'obey'");
    assert_int_equal(heard, 0);
}

static void an_oversized_request_is_refused(void **state)
{
    static char line[3 * CTL_REQUEST_MAX];
    int fd = client();

    (void)state;
    memset(line, 'x', sizeof line - 1);
    say(fd, line);
    is_answer(answer(fd, 2000), 2, "error", "at most 4096 bytes");

    fd = client(); /* the longest one that is heard */
    memset(line, ' ', sizeof line);
    memcpy(line, "{\"command\":\"ping\"}", 18);
    line[CTL_REQUEST_MAX] = '\n';
    line[CTL_REQUEST_MAX + 1] = '\0';
    say(fd, line);
    is_answer(answer(fd, 2000), 0, "heard", "ping");
    assert_int_equal(heard, 1);
}

static void a_slow_request_is_given_up_after_five_seconds(void **state)
{
    hm_ms begun_ms = clock_boot_ms();
    int fd = client();

    (void)state;
    say(fd, "{\"command\":");
    is_answer(answer(fd, 8000), 5, "error", "did not come in time");
    assert_in_range(clock_boot_ms() - begun_ms, 4900, 6500);
    assert_int_equal(heard, 0);
}

/* --- clients that leave ----------------------------------------------------------------------- */

static void a_client_that_leaves_early_is_forgotten(void **state)
{
    int fd = client();

    (void)state;
    say(fd, "{\"command\":");
    (void)close(fd);
    turn(10);
    assert_int_equal(heard, 0);
    fd = client();
    say(fd, "{\"command\":\"ping\"}\n");
    is_answer(answer(fd, 2000), 0, "heard", "ping");
}

static void an_answer_for_a_client_that_left_is_dropped(void **state)
{
    int fd = client();

    (void)state;
    is_late = true;
    say(fd, "{\"command\":\"switchover\"}\n");
    turn(10);
    assert_non_null(waiting);
    (void)close(fd);
    turn(10);
    serve_answer(waiting, HM_OK, json_object());
    turn(10);
}

static void calls_that_wait_end_with_the_server(void **state)
{
    struct hm_err err;
    int fd = client(), gone = client();

    (void)state;
    is_late = true;
    say(fd, "{\"command\":\"ping\"}\n");
    say(gone, "{\"command\":\"ping\"}\n");
    turn(20);
    assert_int_equal(heard, 2);
    (void)close(gone);
    turn(10);
    serve_ctl_free(server);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(serve(&server, &err), HM_OK);
    assert_null(answer(fd, 2000)); /* the end, and no answer */
}

static void one_client_too_many_is_turned_away(void **state)
{
    int fd[33];

    (void)state;
    for (unsigned i = 0; i < 32; i++) {
        fd[i] = client();
        turn(3);
    }
    fd[32] = client();
    is_answer(answer(fd[32], 2000), 1, "error", "too many requests");
    (void)close(fd[0]);
    turn(10);
    fd[0] = client();
    say(fd[0], "{\"command\":\"ping\"}\n");
    is_answer(answer(fd[0], 2000), 0, "heard", "ping");
    for (unsigned i = 1; i < 32; i++)
        (void)close(fd[i]);
    turn(40);
}

/* --- who is heard ----------------------------------------------------------------------------- */

/* As nobody, in a child; the socket is opened to all for this, because its mode would keep nobody
 * out before the credentials are looked at. */
static void another_user_is_refused(void **state)
{
    int pipe_fd[2];
    char text[300] = "";
    ssize_t n;
    pid_t child;

    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can become somebody else */
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fd;

        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(1);
        fd = try_connect();
        if (fd < 0 || send(fd, "{\"command\":\"pause\"}\n", 20, MSG_NOSIGNAL) < 0)
            _exit(2);
        n = read(fd, text, sizeof text);
        _exit(n > 0 && write(pipe_fd[1], text, (size_t)n) == n ? 0 : 3);
    }
    (void)close(pipe_fd[1]);
    for (int status;;) {
        struct pollfd p = { .fd = pipe_fd[0], .events = POLLIN };

        turn(1);
        (void)poll(&p, 1, 1);
        if (waitpid(child, &status, WNOHANG) == child) {
            assert_int_equal(status, 0);
            break;
        }
    }
    n = read(pipe_fd[0], text, sizeof text - 1);
    assert_true(n > 0);
    (void)close(pipe_fd[0]);
    is_answer(json_loadb(text, (size_t)n, 0, NULL), 3, "error", "only root and hamgrd's own user");
    assert_int_equal(heard, 0);
}

/* --- the socket ------------------------------------------------------------------------------- */

static void the_socket_is_open_to_user_and_group_only(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
}

static void a_second_hamgrd_is_refused(void **state)
{
    struct serve_ctl *second = NULL;
    struct hm_err err;
    int fd;

    (void)state;
    assert_int_equal(serve(&second, &err), HM_REFUSED);
    assert_non_null(strstr(err.text, "another hamgrd listens"));
    fd = client(); /* the first one is still there */
    say(fd, "{\"command\":\"ping\"}\n");
    is_answer(answer(fd, 2000), 0, "heard", "ping");
}

static void a_socket_left_over_is_replaced(void **state)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct hm_err err;
    int fd;

    (void)state;
    serve_ctl_free(server);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1), 0);
    (void)close(fd);
    assert_int_equal(serve(&server, &err), HM_OK);
    fd = client();
    say(fd, "{\"command\":\"ping\"}\n");
    is_answer(answer(fd, 2000), 0, "heard", "ping");
}

static void a_file_in_the_way_is_left_alone(void **state)
{
    struct serve_ctl *s = NULL;
    struct hm_err err;
    int fd;

    (void)state;
    serve_ctl_free(server);
    server = NULL;
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(serve(&s, &err), HM_FAILED);
    assert_non_null(strstr(err.text, "is no socket"));
    assert_int_equal(unlink(path), 0);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    char longer[200];
    struct serve_ctl *s = NULL;
    struct hm_err err;

    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(serve_ctl_new(base, longer, on_request, NULL, &s, &err), HM_FAILED);
    assert_non_null(strstr(err.text, "too long"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered),
        TEST(a_request_may_come_in_pieces),
        TEST(the_end_of_sending_ends_a_request_too),
        TEST(one_connection_brings_one_request),
        TEST(an_answer_may_come_later),
        TEST(a_long_answer_arrives_whole),
        TEST(a_garbled_request_is_refused),
        TEST(an_oversized_request_is_refused),
        TEST(a_slow_request_is_given_up_after_five_seconds),
        TEST(a_client_that_leaves_early_is_forgotten),
        TEST(an_answer_for_a_client_that_left_is_dropped),
        TEST(calls_that_wait_end_with_the_server),
        TEST(one_client_too_many_is_turned_away),
        TEST(another_user_is_refused),
        TEST(the_socket_is_open_to_user_and_group_only),
        TEST(a_second_hamgrd_is_refused),
        TEST(a_socket_left_over_is_replaced),
        TEST(a_file_in_the_way_is_left_alone),
        TEST(a_path_that_is_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
