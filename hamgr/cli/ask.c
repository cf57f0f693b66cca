/* ask.c - a request to hamgrd, and its answer. */
#include "base/clock.h"
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NEXT_DAEMON "systemctl status hamgrd; journalctl -u hamgrd -e"

enum {
    ANSWER_MS = 5000,  /* how long hamgrd may take for what it knows by itself */
    ORDER_MS = 125000, /* ... for what it carries out; its own limit is two minutes */
};

bool cli_load(struct cli *c, struct settings *ret)
{
    struct settings_errors errors;
    enum hm_rc rc;

    rc = settings_load(c->config, SETTINGS_WITHOUT_NODE | SETTINGS_WITHOUT_KEY, ret, &errors);
    for (size_t i = 0; i < errors.n; i++)
        (void)fprintf(c->err, "%s\n", errors.line[i]);
    settings_errors_done(&errors);
    return rc == HM_OK;
}

void cli_print_json(struct cli *c, const json_t *j)
{
    (void)json_dumpf(j, c->out, JSON_INDENT(2)); /* main() looks whether it arrived */
    (void)fputc('\n', c->out);
}

enum ctl_exit cli_tell_failure(struct cli *c, enum ctl_exit rc, const char *error, const char *next)
{
    json_t *j;

    if ((c->given & CLI_JSON) == 0) {
        cli_complain(c, "%s", error);
        if (next != NULL)
            (void)fprintf(c->err, "  next: %s\n", next);
        return rc;
    }
    j = json_pack("{s:i,s:s}", "rc", (int)rc, "error", error);
    if (next != NULL)
        (void)json_object_set_new(j, "next", json_string(next)); /* at worst it is left out */
    cli_print_json(c, j);
    json_decref(j);
    return rc;
}

/* --- the connection --------------------------------------------------------------------------- */

static bool wait_for(int fd, short what, hm_ms until_ms)
{
    struct pollfd p = { .fd = fd, .events = what };
    hm_ms left_ms;

    do {
        left_ms = hm_max_ms(0, until_ms - clock_boot_ms());
    } while (poll(&p, 1, (int)left_ms) < 0 && errno == EINTR);
    return p.revents != 0;
}

static enum hm_rc no_connection(const char *path, int why, const char **ret_next,
                                struct hm_err *err)
{
    *ret_next = NEXT_DAEMON;
    if (why == ENOENT || why == ECONNREFUSED)
        return hm_fail(err, HM_FAILED, "hamgrd does not run on this host: nobody listens on '%s'",
                       path);
    if (why == EAGAIN)
        return hm_fail(err, HM_TIMED_OUT, "hamgrd does not take any request");
    if (why == EACCES || why == EPERM)
        *ret_next = "run it as root (sudo) or as hamgrd's user";
    errno = why;
    return hm_fail_errno(err, "cannot connect to '%s'", path);
}

static enum hm_rc open_connection(const char *path, int *ret_fd, const char **ret_next,
                                  struct hm_err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd, why;

    if (strlen(path) >= sizeof address.sun_path)
        return hm_fail(err, HM_FAILED, "'%s' is too long for a socket's path", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return hm_fail_errno(err, "cannot make a socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        why = errno;
        (void)close(fd); /* nothing was sent */
        return no_connection(path, why, ret_next, err);
    }
    *ret_fd = fd;
    return HM_OK;
}

/* hamgrd may refuse before it has read the request; then sending fails, and the answer is there. */
static void send_request(int fd, const char *line, hm_ms until_ms)
{
    size_t sent = 0, size = strlen(line);

    while (sent < size) {
        ssize_t n = send(fd, line + sent, size - sent, MSG_NOSIGNAL);

        if (n > 0)
            sent += (size_t)n;
        else if (errno != EINTR && (errno != EAGAIN || !wait_for(fd, POLLOUT, until_ms)))
            return;
    }
}

/* Everything until the end; ret_text is the caller's. */
static enum hm_rc read_answer(int fd, hm_ms until_ms, char **ret_text, size_t *ret_size,
                              struct hm_err *err)
{
    size_t size = 0;
    char *text = malloc(CTL_ANSWER_MAX + 1);

    if (text == NULL)
        return hm_fail(err, HM_FAILED, "no memory");
    for (;;) {
        ssize_t n = recv(fd, text + size, CTL_ANSWER_MAX + 1 - size, 0);

        if (n > 0)
            size += (size_t)n;
        if (size > CTL_ANSWER_MAX) {
            free(text);
            return hm_fail(err, HM_FAILED, "the answer of hamgrd is too long");
        }
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            break; /* the end; reset: it did not read all that we sent */
        if (n < 0 && errno == EAGAIN && !wait_for(fd, POLLIN, until_ms)) {
            free(text);
            return hm_fail(err, HM_TIMED_OUT, "hamgrd did not answer in time");
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            free(text);
            return hm_fail_errno(err, "cannot read the answer of hamgrd");
        }
    }
    *ret_text = text;
    *ret_size = size;
    return HM_OK;
}

static enum hm_rc understand(const char *text, size_t size, json_t **ret_answer,
                             const char **ret_next, struct hm_err *err)
{
    json_t *j;

    *ret_next = NEXT_DAEMON;
    if (size == 0)
        return hm_fail(err, HM_FAILED, "hamgrd ended before it answered");
    j = json_loadb(text, size, 0, NULL);
    if (json_is_integer(json_object_get(j, "rc"))) {
        *ret_answer = j;
        return HM_OK;
    }
    json_decref(j);
    return hm_fail(err, HM_FAILED, "the answer of hamgrd is garbled");
}

enum hm_rc cli_call(const char *socket_path, const struct ctl_request *request, hm_ms timeout_ms,
                    json_t **ret_answer, const char **ret_next, struct hm_err *err)
{
    hm_ms until_ms = clock_boot_ms() + timeout_ms;
    char line[CTL_REQUEST_MAX + 1], *text = NULL;
    json_t *j = ctl_make(request);
    size_t size;
    enum hm_rc rc;
    int fd = -1;

    *ret_next = NULL;
    size = json_dumpb(j, line, sizeof line - 2, JSON_COMPACT);
    json_decref(j);
    if (size == 0 || size > sizeof line - 2)
        return hm_fail(err, HM_FAILED, "no memory");
    line[size] = '\n';
    line[size + 1] = '\0';
    rc = open_connection(socket_path, &fd, ret_next, err);
    if (rc != HM_OK)
        return rc;
    send_request(fd, line, until_ms);
    rc = read_answer(fd, until_ms, &text, &size, err);
    if (rc == HM_OK)
        rc = understand(text, size, ret_answer, ret_next, err);
    else
        *ret_next = NEXT_DAEMON;
    free(text);
    (void)close(fd); /* everything that mattered has been read */
    return rc;
}

/* --- what commands use ------------------------------------------------------------------------ */

static hm_ms patience(const struct ctl_request *request)
{
    bool is_order = request->command == CTL_SWITCHOVER || request->command == CTL_PAUSE ||
                    request->command == CTL_RESUME || request->command == CTL_REBUILD ||
                    request->command == CTL_CHECK || request->command == CTL_MEMBER_ADD ||
                    request->command == CTL_MEMBER_REMOVE;

    if (request->timeout_ms != 0)
        return request->timeout_ms;
    return is_order ? ORDER_MS : ANSWER_MS;
}

/* A document about one service only, which is about none. */
static bool is_unknown_service(const struct cli *c, const json_t *answer)
{
    const json_t *services = json_object_get(answer, "services");

    return c->service != NULL && json_is_array(services) && json_array_size(services) == 0;
}

enum ctl_exit cli_ask(struct cli *c, const struct ctl_request *request, json_t **ret_answer)
{
    char path[SETTINGS_PATH_MAX + sizeof CTL_SOCKET + 1];
    struct settings *settings = malloc(sizeof *settings);
    const char *next, *error;
    struct hm_err err;
    json_t *answer;
    enum hm_rc rc;
    int is;

    if (settings == NULL || !cli_load(c, settings)) {
        free(settings);
        return cli_tell_failure(c, CTL_FAILED, "without settings hamgrd cannot be found",
                                "hamgr config check");
    }
    (void)snprintf(path, sizeof path, "%s/" CTL_SOCKET, settings->run_dir);
    free(settings);
    rc = cli_call(path, request, patience(request), &answer, &next, &err);
    if (rc != HM_OK)
        return cli_tell_failure(c, ctl_exit_of(rc), err.text, next);
    is = (int)json_integer_value(json_object_get(answer, "rc"));
    if (is < CTL_DONE || is > CTL_TIMED_OUT)
        is = CTL_FAILED; /* a code that a newer hamgrd may have */
    error = json_string_value(json_object_get(answer, "error"));
    if (is == CTL_DONE && is_unknown_service(c, answer)) {
        json_decref(answer);
        return cli_tell_failure(c, CTL_USAGE, "there is no service of that name",
                                "'hamgr status' lists the services");
    }
    if (is == CTL_DONE || error == NULL || json_object_get(answer, "checks") != NULL) {
        *ret_answer = answer;
        return (enum ctl_exit)is;
    }
    if ((c->given & CLI_JSON) != 0)
        cli_print_json(c, answer);
    else
        (void)cli_tell_failure(c, (enum ctl_exit)is, error,
                               json_string_value(json_object_get(answer, "next")));
    json_decref(answer);
    return (enum ctl_exit)is;
}

enum ctl_exit cli_show(struct cli *c, const struct ctl_request *request,
                       void (*print)(struct cli *c, const json_t *answer))
{
    json_t *answer = NULL;
    enum ctl_exit rc = cli_ask(c, request, &answer);

    if (answer == NULL)
        return rc;
    if ((c->given & CLI_JSON) != 0)
        cli_print_json(c, answer);
    else
        print(c, answer);
    json_decref(answer);
    return rc;
}
