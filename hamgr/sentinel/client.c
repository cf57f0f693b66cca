/* client.c - one client of the endpoint: bytes in, requests through its session, bytes out. */
#include "sentinel/server_inner.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REQUESTS_AT_ONCE = 32,
    FLUSH_ABOVE = 16 << 10, /* of replies, before the next request is looked at */
};

/* --- its end ------------------------------------------------------------------------------------
 */

static void drop_in(struct client *c)
{
    c->server->buffered -= c->in_n;
    free(c->in);
    c->in = NULL;
    c->in_n = 0;
}

static void drop_out(struct client *c)
{
    c->server->buffered -= c->out_n;
    free(c->out);
    c->out = NULL;
    c->out_n = c->out_at = 0;
    if (c->write != NULL)
        event_free(c->write);
    c->write = NULL;
}

void client_free(struct client *c)
{
    server_forget(c);
    drop_in(c);
    drop_out(c);
    if (c->read != NULL)
        event_free(c->read);
    session_done(&c->session);
    (void)close(c->fd); /* what did not leave is not wanted */
    c->server->host.clients_n--;
    free(c);
}

static void cut_off(struct client *c, const char *why)
{
    uint64_t hidden;

    c->server->slow++;
    if (log_repeat_starts(&c->server->slow_told, clock_boot_ms(), &hidden))
        log_warn("sentinel client cut off id=%llu: %s", (unsigned long long)c->session.id, why);
    client_free(c);
}

/* --- out ----------------------------------------------------------------------------------------
 */

static void on_writable(evutil_socket_t fd, short what, void *arg);

static bool is_stuck(const struct client *c)
{
    return c->out != NULL;
}

/* Keeps what the socket does not take now. False: too much of it; nothing was kept. */
static bool keep(struct client *c, const char *bytes, size_t n)
{
    const struct timeval patience = { .tv_sec = SENTINEL_SLOW_S };
    struct sentinel_server *s = c->server;
    size_t left = c->out_n - c->out_at;
    char *grown;

    if (left + n > SENTINEL_OUT_MAX || s->buffered + left + n > SENTINEL_BUFFERS_MAX)
        return false;
    grown = malloc(left + n);
    if (grown == NULL)
        return false;
    if (left > 0)
        memcpy(grown, c->out + c->out_at, left);
    memcpy(grown + left, bytes, n);
    s->buffered += left + n;
    s->buffered -= c->out_n;
    free(c->out);
    c->out = grown;
    c->out_n = left + n;
    c->out_at = 0;
    if (c->write != NULL)
        return true;
    (void)event_del(c->read); /* fails for no event that was made */
    c->write = event_new(s->base, c->fd, EV_WRITE, on_writable, c);
    return c->write != NULL && event_priority_set(c->write, SENTINEL_PRIORITY) == 0 &&
           event_add(c->write, &patience) == 0;
}

/* Sends what was written to the scratch. False: the client is gone. */
static bool flush(struct client *c, struct resp_out *o)
{
    size_t sent = 0;

    if (o->is_full) {
        cut_off(c, "a reply was longer than its buffer");
        return false;
    }
    while (!is_stuck(c) && sent < o->n) {
        ssize_t n = send(c->fd, o->at + sent, o->n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            client_free(c);
            return false;
        }
    }
    if (sent < o->n && !keep(c, o->at + sent, o->n - sent)) {
        cut_off(c, "it does not take what it is sent");
        return false;
    }
    o->n = 0;
    return true;
}

static void hear_again(struct client *c)
{
    (void)event_add(c->read, NULL); /* fails only without memory */
    if (c->in_n > 0)
        server_make_ready(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval patience = { .tv_sec = SENTINEL_SLOW_S };
    struct client *c = arg;
    ssize_t n;

    if (what & EV_TIMEOUT) {
        cut_off(c, "it took nothing for long");
        return;
    }
    n = send(fd, c->out + c->out_at, c->out_n - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        client_free(c);
        return;
    }
    c->out_at += n > 0 ? (size_t)n : 0;
    if (c->out_at < c->out_n) {
        if (event_add(c->write, &patience) != 0)
            client_free(c);
        return;
    }
    drop_out(c);
    if (c->session.is_ended)
        client_free(c);
    else if (!c->session.is_waiting && !c->is_held)
        hear_again(c);
}

/* --- events -------------------------------------------------------------------------------------
 */

bool client_tell(struct client *c, uint64_t upto, uint64_t end_us, bool *ret_is_gone)
{
    struct sentinel_server *s = c->server;
    struct resp_out o;

    *ret_is_gone = true;
    resp_out_init(&o, s->out, sizeof s->out, c->session.is_resp3);
    while (c->next_event < upto) {
        const struct pubsub_event *e = pubsub_look(&s->ring, c->next_event);

        if (e == NULL) {
            cut_off(c, "it missed events: too many wait");
            return true;
        }
        pubsub_tell(&c->session.pubsub, e->channel, e->payload, &o);
        c->next_event++;
        if ((o.n > FLUSH_ABOVE && !flush(c, &o)))
            return true;
        if (server_us() >= end_us)
            break;
    }
    if (!flush(c, &o))
        return true;
    *ret_is_gone = false;
    return c->next_event >= upto;
}

/* A client is told what happened before its next request is answered. False: not all of it yet, or
 * the client is gone. */
static bool catch_up(struct client *c, bool *ret_is_gone)
{
    *ret_is_gone = false;
    return !c->is_subscriber || c->next_event >= c->server->ring.next ||
           (client_tell(c, c->server->ring.next, server_us() + SENTINEL_SLICE_US, ret_is_gone) &&
            !*ret_is_gone);
}

/* --- in -----------------------------------------------------------------------------------------
 */

/* What is left of the input waits with the client. False: the client is gone. */
static bool keep_in(struct client *c, const char *bytes, size_t n)
{
    struct sentinel_server *s = c->server;
    char *kept;

    if (n == 0)
        return true;
    kept = s->buffered + n <= SENTINEL_BUFFERS_MAX ? malloc(n) : NULL;
    if (kept == NULL) {
        cut_off(c, "no room for what it sent");
        return false;
    }
    memcpy(kept, bytes, n);
    c->in = kept;
    c->in_n = n;
    s->buffered += n;
    return true;
}

/* The request is to wait, and has not waited long enough yet. */
static bool may_wait(struct client *c)
{
    struct sentinel_server *s = c->server;

    if (!session_should_wait(&c->session, &s->host, &s->command))
        return false;
    if (c->held_ms == 0)
        c->held_ms = s->host.now_ms + SESSION_HOLD_MS;
    return s->host.now_ms < c->held_ms;
}

/* Answers requests until there is no whole one, or it is another client's turn, which *ret_is_more
 * says. Returns the bytes consumed. */
static size_t answer(struct client *c, size_t n, struct resp_out *o, bool *ret_is_more)
{
    struct sentinel_server *s = c->server;
    char why[RESP_ERROR_MAX], text[RESP_ERROR_MAX + 8];
    size_t at = 0, consumed = 0;

    *ret_is_more = false;
    for (int i = 0; at < n && !c->session.is_ended && !c->session.is_waiting; i++) {
        enum resp_result r = resp_parse(
            s->in + at, n - at, c->session.is_known ? RESP_WORDS_MAX : RESP_STRANGER_WORDS_MAX,
            &s->command, &consumed, why);

        if (r == RESP_MORE)
            return at;
        if (r == RESP_BAD) {
            (void)snprintf(text, sizeof text, "ERR %s", why);
            resp_put_error(o, text);
            c->session.is_ended = true;
            return n;
        }
        if (s->command.words_n > 0 && may_wait(c)) {
            server_hold(c);
            return at;
        }
        at += consumed;
        c->held_ms = 0;
        if (s->command.words_n > 0)
            session_take(&c->session, &s->host, &s->command, o);
        if (i + 1 >= REQUESTS_AT_ONCE || o->n > FLUSH_ABOVE) {
            *ret_is_more = at < n;
            return at;
        }
    }
    return at;
}

/* n bytes of input are in the scratch. */
static void process(struct client *c, size_t n)
{
    struct sentinel_server *s = c->server;
    bool is_more = false, is_gone = false;
    struct resp_out o;
    size_t at;

    if (!catch_up(c, &is_gone)) {
        if (!is_gone && keep_in(c, s->in, n))
            server_make_ready(c);
        return;
    }
    s->host.now_ms = clock_boot_ms();
    resp_out_init(&o, s->out, sizeof s->out, c->session.is_resp3);
    at = answer(c, n, &o, &is_more);
    if (!flush(c, &o))
        return;
    if (c->session.is_ended) {
        if (!is_stuck(c))
            client_free(c);
        return;
    }
    server_note_lists(c);
    if (!keep_in(c, s->in + at, n - at))
        return;
    if (c->session.is_waiting || c->is_held)
        (void)event_del(c->read); /* fails for no event that was made */
    else if (is_more && !is_stuck(c))
        server_make_ready(c);
}

/* Moves what it sent before into the scratch; returns its length. */
static size_t unkeep_in(struct client *c)
{
    size_t n = c->in_n;

    if (n > 0)
        memcpy(c->server->in, c->in, n);
    drop_in(c);
    return n;
}

void client_go_on(struct client *c)
{
    if (is_stuck(c) || c->session.is_waiting || c->session.is_ended)
        return;
    (void)event_add(c->read, NULL); /* it may have been held; fails only without memory */
    process(c, unkeep_in(c));
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    struct sentinel_server *s = c->server;
    size_t before = c->in_n;
    ssize_t n;

    (void)what;
    if (before == sizeof s->in || c->is_ready)
        return; /* its turn comes, by the pump */
    n = recv(fd, s->in + before, sizeof s->in - before, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_free(c);
        return;
    }
    (void)unkeep_in(c); /* in front of it */
    process(c, before + (size_t)n);
}

void client_answer(struct client *c, const char *error)
{
    struct sentinel_server *s = c->server;
    struct resp_out o;

    c->session.is_waiting = false;
    resp_out_init(&o, s->out, sizeof s->out, c->session.is_resp3);
    if (error != NULL)
        resp_put_error(&o, error);
    else
        resp_put_simple(&o, "OK");
    if (flush(c, &o) && !is_stuck(c))
        hear_again(c);
}

/* --- its beginning ------------------------------------------------------------------------------
 */

bool client_new(struct sentinel_server *s, int fd, bool is_local)
{
    struct client *c = calloc(1, sizeof *c);

    if (c == NULL) {
        (void)close(fd); /* nothing was promised */
        return false;
    }
    c->server = s;
    c->fd = fd;
    c->session.id = ++s->ids;
    c->session.began_ms = c->active_ms = s->host.now_ms;
    c->session.is_known = s->host.password == NULL;
    c->session.is_local = is_local;
    TAILQ_INSERT_TAIL(&s->idle, c, all);
    s->host.clients_n++;
    c->read = event_new(s->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    if (c->read == NULL || event_priority_set(c->read, SENTINEL_PRIORITY) != 0 ||
        event_add(c->read, NULL) != 0) {
        client_free(c);
        return false;
    }
    return true;
}

static void print_address(const struct sockaddr_storage *at, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool is_v4 = at->ss_family == AF_INET;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)at;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)at;

    (void)evutil_inet_ntop(at->ss_family,
                           is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, host,
                           sizeof host); /* else "?" */
    (void)snprintf(text, size, is_v4 ? "%s:%u" : "[%s]:%u", host,
                   ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
}

void client_describe(void *ctx, const struct session *session, char text[SESSION_ABOUT_MAX])
{
    const struct client *c =
        (const struct client *)((const char *)session - offsetof(struct client, session));
    struct sockaddr_storage peer = { 0 }, own = { 0 };
    socklen_t peer_size = sizeof peer, own_size = sizeof own;
    char from[INET6_ADDRSTRLEN + 10], to[INET6_ADDRSTRLEN + 10];

    (void)ctx;
    (void)getpeername(c->fd, (struct sockaddr *)&peer, &peer_size); /* else "?" */
    (void)getsockname(c->fd, (struct sockaddr *)&own, &own_size);
    print_address(&peer, from, sizeof from);
    print_address(&own, to, sizeof to);
    (void)snprintf(text, SESSION_ABOUT_MAX, "addr=%s laddr=%s fd=%d", from, to, c->fd);
}
