#include "postgres/accept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Each question costs the server one fork. */
#define INTERVAL_MS 10000

struct accept_probe {
    struct event_base *base; /* borrowed */
    struct sockaddr_un address;
    struct event *answer; /* owned; NULL: nothing is asked */
    int fd;               /* owned; -1 */
    hm_ms asked_ms;       /* when this question, or the last one, began; 0: never */
    bool is_out;
};

static void end(struct accept_probe *a)
{
    if (a->answer != NULL)
        event_free(a->answer);
    a->answer = NULL;
    if (a->fd >= 0)
        (void)close(a->fd); /* what was written is of no value */
    a->fd = -1;
    a->is_out = false;
}

/* Any byte, and the end of the connection, too: a process took it in. */
static void on_answer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    end(arg);
}

/* Length 8, code 80877103 (SSLRequest). A full queue of connections that nobody takes in is no
 * answer either; it is tried again with the next look. */
static void ask(struct accept_probe *a)
{
    static const unsigned char request[8] = { 0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f };
    const struct sockaddr *address = (const struct sockaddr *)&a->address;

    a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd >= 0 && connect(a->fd, address, sizeof a->address) == 0 &&
        write(a->fd, request, sizeof request) == (ssize_t)sizeof request)
        a->answer = event_new(a->base, a->fd, EV_READ, on_answer, a);
    else if (a->fd >= 0 && errno == EAGAIN) {
        (void)close(a->fd); /* nothing was written to it */
        a->fd = -1;
        return;
    }
    if (a->answer == NULL || event_add(a->answer, NULL) != 0)
        end(a); /* there is no such socket: other probes tell why */
}

void accept_keep(struct accept_probe *a, hm_ms now_ms, bool is_urgent)
{
    if (a->is_out) {
        if (a->fd < 0)
            ask(a);
        return;
    }
    if (!is_urgent && a->asked_ms != 0 && now_ms < a->asked_ms + INTERVAL_MS)
        return;
    a->asked_ms = now_ms;
    a->is_out = true;
    ask(a);
}

hm_ms accept_out_ms(const struct accept_probe *a, hm_ms now_ms)
{
    return a->is_out ? now_ms - a->asked_ms : 0;
}

void accept_forget(struct accept_probe *a)
{
    end(a);
    a->asked_ms = 0;
}

enum hm_rc accept_new(struct event_base *base, const char *socket, struct accept_probe **ret,
                      struct hm_err *err)
{
    struct accept_probe *a = calloc(1, sizeof *a);

    if (a == NULL)
        return hm_fail(err, HM_FAILED, "no memory to watch a server");
    a->base = base;
    a->fd = -1;
    a->address.sun_family = AF_UNIX;
    (void)snprintf(a->address.sun_path, sizeof a->address.sun_path, "%s", socket);
    *ret = a;
    return HM_OK;
}

void accept_free(struct accept_probe *a)
{
    if (a == NULL)
        return;
    end(a);
    free(a);
}
