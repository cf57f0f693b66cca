#include "net/inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* the C library's struct tcp_info ends too early */
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* --- making ---------------------------------------------------------------------------------- */

static void note_address(struct conn *c, const struct sockaddr *from)
{
    socklen_t size =
        from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    if (getnameinfo(from, size, c->address, sizeof c->address, NULL, 0, NI_NUMERICHOST) != 0)
        (void)snprintf(c->address, sizeof c->address, "?");
}

/* Frames are small and urgent. What a dead peer never acknowledged is given up by the kernel, too.
 */
static void tune(int fd)
{
    static const int on = 1;
    static const unsigned int user_timeout_ms = 30000;

    /* the link works without, only worse */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

static struct conn *conn_new(struct link_hub *hub, int fd, const struct sockaddr *other,
                             hm_ms give_up_ms)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->hub = hub;
    c->fd = fd;
    c->began_ms = clock_boot_ms();
    c->give_up_ms = c->began_ms + give_up_ms;
    note_address(c, other);
    tune(fd);
    hub->conns_n++;
    return c;
}

static void on_readable(struct bufferevent *bev, void *arg);
static void on_drained(struct bufferevent *bev, void *arg);
static void on_changed(struct bufferevent *bev, short what, void *arg);

/* False: no memory. */
static bool start_tls(struct conn *c)
{
    SSL *ssl = tls_new(c->hub->tls, c);

    if (ssl == NULL)
        return false;
    c->bev = bufferevent_openssl_socket_new(c->hub->config.base, c->fd, ssl,
                                            c->is_accepted ? BUFFEREVENT_SSL_ACCEPTING
                                                           : BUFFEREVENT_SSL_CONNECTING,
                                            BEV_OPT_CLOSE_ON_FREE);
    if (c->bev == NULL)
        return false;
    c->fd = -1; /* the bufferevent's now */
    c->state = CONN_TLS;
    c->tls_ms = clock_boot_ms();
    bufferevent_setcb(c->bev, on_readable, on_drained, on_changed, c);
    return bufferevent_enable(c->bev, EV_READ | EV_WRITE) == 0;
}

struct conn *conn_accept(struct link_hub *hub, int fd, const struct sockaddr *from)
{
    struct conn *c = conn_new(hub, fd, from, hub->config.handshake_ms);

    if (c == NULL) {
        (void)close(fd); /* nothing was written */
        return NULL;
    }
    c->is_accepted = true;
    TAILQ_INSERT_TAIL(&hub->unfinished, c, in_hub);
    hub->unfinished_n++;
    if (start_tls(c))
        return c;
    conn_end(c, END_LOST, "no memory for TLS");
    return NULL;
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    socklen_t size = sizeof errno;
    int number = 0;

    (void)what;
    event_free(c->connecting);
    c->connecting = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) < 0)
        number = errno;
    if (number != 0)
        conn_end(c, END_LOST, "cannot connect to %s: %s", c->address, strerror(number));
    else if (!start_tls(c))
        conn_end(c, END_LOST, "no memory for TLS");
}

struct conn *conn_dial(struct peer *p, const struct sockaddr_storage *to, hm_ms give_up_ms)
{
    const struct sockaddr *at = (const struct sockaddr *)to;
    socklen_t size =
        at->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    struct link_hub *hub = p->cluster->hub;
    struct conn *c = NULL;
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        c = conn_new(hub, fd, at, give_up_ms);
    if (c == NULL) {
        (void)snprintf(p->why, sizeof p->why, "no socket: %s", strerror(errno));
        if (fd >= 0)
            (void)close(fd); /* not connected yet */
        return NULL;
    }
    c->cluster = p->cluster;
    c->peer = p;
    TAILQ_INSERT_TAIL(&p->conns, c, in_peer);
    TAILQ_INSERT_TAIL(&hub->dialling, c, in_hub);
    if (connect(fd, at, size) < 0 && errno != EINPROGRESS) {
        conn_end(c, END_LOST, "cannot connect to %s: %s", c->address, strerror(errno));
        return NULL;
    }
    c->connecting = event_new(hub->config.base, fd, EV_WRITE, on_connected, c);
    if (c->connecting != NULL && event_add(c->connecting, NULL) == 0)
        return c;
    conn_end(c, END_LOST, "no memory for an event");
    return NULL;
}

/* --- ending ---------------------------------------------------------------------------------- */

static void leave_list(struct conn *c)
{
    struct link_hub *hub = c->hub;

    if (c->state == CONN_READY) {
        TAILQ_REMOVE(&hub->ready, c, in_hub);
    } else if (c->is_accepted) {
        TAILQ_REMOVE(&hub->unfinished, c, in_hub);
        hub->unfinished_n--;
        hub_listen(hub);
    } else {
        TAILQ_REMOVE(&hub->dialling, c, in_hub);
    }
}

void conn_tell_refused(struct conn *c, const char *why)
{
    uint64_t hidden;

    c->hub->counts.refused++;
    if (strangers_tell(&c->hub->strangers, c->address, clock_boot_ms(), &hidden))
        log_warn("link_refused address=%s cluster=%s why=\"%s\" hidden=%llu", c->address,
                 c->cluster != NULL ? c->cluster->name : "?", why, (unsigned long long)hidden);
}

static void leave_peer(struct conn *c, enum conn_end how, const char *why)
{
    struct peer *p = c->peer;
    bool was_ready = c->state == CONN_READY;
    uint64_t hidden;

    TAILQ_REMOVE(&p->conns, c, in_peer);
    if (how == END_LOST || how == END_REFUSED)
        (void)snprintf(p->why, sizeof p->why, "%.*s", (int)sizeof p->why - 1, why);
    if (was_ready && --p->ready_n == 0)
        log_notice("link_down cluster=%s member=%s why=\"%s\"", p->cluster->name, p->name, why);
    else if (!was_ready && how == END_LOST && p->ready_n == 0 &&
             log_repeat_starts(&p->dial.failing, clock_boot_ms(), &hidden))
        log_warn("link_fails cluster=%s member=%s address=%s why=\"%s\" hidden=%llu",
                 p->cluster->name, p->name, p->dial.address, why, (unsigned long long)hidden);
    if (was_ready && p->dial.is_on)
        dial_soon(p);
}

void conn_end(struct conn *c, enum conn_end how, const char *format, ...)
{
    struct link_hub *hub = c->hub;
    char why[128];
    va_list args;

    if (c->state == CONN_DEAD)
        return;
    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (how == END_REFUSED)
        conn_tell_refused(c, why);
    c->is_void = c->state == CONN_READY && how != END_QUIETLY;
    leave_list(c);
    if (c->peer != NULL)
        leave_peer(c, how, why);
    c->state = CONN_DEAD;
    c->peer = NULL;
    if (c->bev != NULL) {
        bufferevent_setcb(c->bev, NULL, NULL, NULL, NULL);
        (void)bufferevent_disable(c->bev, EV_READ | EV_WRITE); /* it is freed soon anyway */
    }
    if (c->connecting != NULL)
        (void)event_del(c->connecting); /* likewise */
    TAILQ_INSERT_TAIL(&hub->dead, c, in_hub);
    event_active(hub->reap, EV_TIMEOUT, 0);
}

void conn_bury(struct conn *c)
{
    /* What waits there is old: it shall not arrive after what a newer connection brings. */
    static const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    int fd = c->bev != NULL ? bufferevent_getfd(c->bev) : c->fd;

    TAILQ_REMOVE(&c->hub->dead, c, in_hub);
    c->hub->conns_n--;
    if (fd >= 0 && c->is_void)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once); /* best effort */
    if (c->connecting != NULL)
        event_free(c->connecting);
    if (c->bev != NULL)
        bufferevent_free(c->bev);
    else if (c->fd >= 0)
        (void)close(c->fd);
    OPENSSL_cleanse(&c->says, sizeof c->says);
    OPENSSL_cleanse(&c->hears, sizeof c->hears);
    free(c);
}

/* --- sending --------------------------------------------------------------------------------- */

static void on_drained(struct bufferevent *bev, void *arg)
{
    struct conn *c = arg;

    (void)bev;
    c->stuck_ms = 0;
}

bool conn_send(struct conn *c, const uint8_t *bytes, size_t size, hm_ms now_ms)
{
    size_t waiting = evbuffer_get_length(bufferevent_get_output(c->bev));

    if (waiting == 0)
        c->stuck_ms = 0;
    if (waiting + size > LINK_OUTPUT_MAX ||
        (c->stuck_ms != 0 && now_ms - c->stuck_ms > c->cluster->config.silence_ms) ||
        bufferevent_write(c->bev, bytes, size) != 0) {
        c->hub->counts.dropped++;
        return false;
    }
    if (c->stuck_ms == 0)
        c->stuck_ms = now_ms;
    c->sent_ms = now_ms;
    return true;
}

bool conn_gets_through(struct conn *c, bool is_doubted)
{
    uint64_t before = c->written;
    struct tcp_info info;
    socklen_t size = sizeof info;
    int fd = bufferevent_getfd(c->bev), waiting = 0;

    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
        ioctl(fd, SIOCOUTQ, &waiting) < 0)
        return true; /* then silence alone has to tell */
    c->written = (uint64_t)info.tcpi_bytes_acked + (uint64_t)(unsigned)waiting;
    if (is_doubted)
        return waiting == 0 || info.tcpi_bytes_acked >= before;
    return info.tcpi_unacked == 0 || info.tcpi_retransmits == 0;
}

/* A frame of no bytes: whoever hears it knows that the link is alive, and nothing else. */
void conn_ping(struct conn *c, hm_ms now_ms)
{
    static const uint8_t empty[WIRE_LENGTH] = { 0 };

    (void)conn_send(c, empty, sizeof empty, now_ms); /* full: then it is not idle */
}

bool conn_say_hello(struct conn *c, struct wire_hello *hello, const char *to, const char *rival)
{
    struct wire_frame f = { .type = WIRE_HELLO, .hello = hello };
    struct hm_err err;
    size_t used;

    hello->instance = c->hub->instance;
    (void)snprintf(hello->to, sizeof hello->to, "%s", to);
    (void)snprintf(hello->rival, sizeof hello->rival, "%s", rival);
    return wire_pack(&f, c->hub->output, sizeof c->hub->output, &used, &err) == HM_OK &&
           conn_send(c, c->hub->output, used, clock_boot_ms());
}

/* False: it ended. */
static bool send_hello(struct conn *c, const char *to)
{
    struct wire_hello hello = *c->cluster->config.hello;
    bool is_question = !c->is_accepted && twin_is_mute(c->cluster);

    if (conn_say_hello(c, &hello, to, is_question ? c->cluster->twin_host : ""))
        return true;
    conn_end(c, END_LOST, "the hello cannot leave");
    return false;
}

/* --- hearing --------------------------------------------------------------------------------- */

/* One of several ready connections with one member that has been silent for longest is too many. */
static void drop_surplus(struct peer *p, const struct conn *newest)
{
    struct conn *c, *oldest = NULL;

    if (p->ready_n <= LINK_TO_ONE_MAX)
        return;
    TAILQ_FOREACH (c, &p->conns, in_peer)
        if (c != newest && c->state == CONN_READY &&
            (oldest == NULL || c->heard_ms < oldest->heard_ms))
            oldest = c;
    if (oldest != NULL)
        conn_end(oldest, END_REPLACED, "there are newer ones");
}

/* The member came back as somebody new: what it said before is void. */
static void drop_former(struct peer *p, struct conn *newest)
{
    struct conn *c, *next;

    for (c = TAILQ_FIRST(&p->conns); c != NULL; c = next) {
        next = TAILQ_NEXT(c, in_peer);
        if (c != newest && c->state == CONN_READY)
            conn_end(c, END_REPLACED, "the member was started anew");
    }
}

static void become_ready(struct conn *c, struct peer *p, const struct wire_hello *h)
{
    struct link_hub *hub = c->hub;
    bool is_first = p->ready_n == 0;
    bool is_new =
        p->incarnation != 0 && (p->incarnation != h->incarnation || p->instance != h->instance);

    leave_list(c);
    if (c->peer == NULL) {
        c->peer = p;
        TAILQ_INSERT_TAIL(&p->conns, c, in_peer);
    }
    c->state = CONN_READY;
    TAILQ_INSERT_TAIL(&hub->ready, c, in_hub);
    p->ready_n++;
    p->incarnation = h->incarnation;
    twin_note(p, c, h);
    p->heard_ms = c->heard_ms;
    p->why[0] = 0;
    if (is_new)
        drop_former(p, c);
    drop_surplus(p, c);
    if (is_first || is_new)
        log_info("link_up cluster=%s member=%s address=%s %s", p->cluster->name, p->name,
                 c->address, c->is_accepted ? "accepted" : "dialled");
    dial_done(p, c);
    if (!c->is_accepted) /* the other end is ready, too */
        datagram_care(c, c->heard_ms);
    hub_arm(hub);
}

/* Why this HELLO is refused, or NULL. */
static const char *hello_fault(const struct conn *c, const struct wire_hello *h)
{
    const char *self = c->cluster->config.hello->from;

    if (strcmp(h->cluster, c->cluster->name) != 0 && !(c->is_guest && h->cluster[0] == 0))
        return "its hello names another cluster than its key";
    if (h->from[0] == 0)
        return "its hello does not say who it is";
    if (h->incarnation == 0)
        return "its hello has no incarnation";
    if (strcmp(h->from, self) == 0)
        return "it has our own name";
    if (c->peer != NULL && strcmp(h->from, c->peer->name) != 0)
        return "another member answers at this address";
    return NULL;
}

/* The first frame. One that accepts answers after it has heard, for a witness learns only from the
 * other's HELLO what it is called in this cluster. False: it ended. */
static bool take_hello(struct conn *c, const struct wire_frame *f)
{
    const struct wire_hello *h = f->hello;
    struct link_cluster *cluster = c->cluster;
    struct link_peer from = { .incarnation = h->incarnation };
    struct peer *p;
    const char *why = hello_fault(c, h);

    if (why != NULL) {
        conn_end(c, c->is_accepted ? END_REFUSED : END_LOST, "%s: '%s'", why, h->from);
        return false;
    }
    memcpy(from.name, h->from, sizeof from.name);
    p = hub_peer(cluster, from.name);
    if (p == NULL) {
        conn_end(c, END_REFUSED, "too many members of this cluster");
        return false;
    }
    if (twin_is_about(c, p, h))
        return c->state != CONN_DEAD;
    if (c->is_accepted && cluster->config.hello->from[0] != 0 && !send_hello(c, ""))
        return false;
    if (!c->is_accepted || cluster->config.hello->from[0] != 0) {
        become_ready(c, p, h);
        cluster->config.on_frame(cluster->config.ctx, &from, f);
        return c->state == CONN_READY;
    }
    cluster->config.on_frame(cluster->config.ctx, &from, f);
    if (c->state == CONN_DEAD)
        return false;
    if (cluster->config.hello->from[0] == 0) {
        conn_end(c, END_REFUSED, "nobody has told us our name in this cluster");
        return false;
    }
    if (!send_hello(c, ""))
        return false;
    become_ready(c, p, h);
    return true;
}

/* False: it ended. */
static bool take_frame(struct conn *c, const uint8_t *bytes, size_t size)
{
    struct link_cluster *cluster = c->cluster;
    struct link_peer from;
    struct wire_frame f;
    struct hm_err err;
    enum hm_rc rc = wire_unpack(bytes, size, &c->hub->storage, &f, &err);

    if (c->is_told || (rc == HM_REFUSED && c->state == CONN_READY))
        return true; /* its end is near; of a newer version */
    if (rc != HM_OK) {
        conn_end(c, END_REFUSED, "%s", err.text);
        return false;
    }
    if (c->state == CONN_READY && f.type != WIRE_HELLO) {
        memset(&from, 0, sizeof from);
        memcpy(from.name, c->peer->name, sizeof from.name);
        from.incarnation = c->peer->incarnation;
        cluster->config.on_frame(cluster->config.ctx, &from, &f);
        return c->state == CONN_READY;
    }
    if (c->state == CONN_HELLO && f.type == WIRE_HELLO)
        return take_hello(c, &f);
    if (c->state == CONN_READY && f.hello->rival[0] != 0) {
        twin_told(c, f.hello->rival);
        return false;
    }
    conn_end(c, END_REFUSED, "it says hello at the wrong time");
    return false;
}

static void note_heard(struct conn *c)
{
    c->heard_ms = clock_boot_ms();
    if (c->peer != NULL && c->state == CONN_READY)
        c->peer->heard_ms = c->heard_ms;
}

/* Who is heard answers: a member that only listens to us would take the link for dead. */
static void answer_silence(struct conn *c)
{
    if (c->state == CONN_READY && c->heard_ms - c->sent_ms >= c->cluster->config.silence_ms / 4)
        conn_ping(c, c->heard_ms);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
    struct conn *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    uint8_t head[WIRE_LENGTH];

    if (c->state != CONN_HELLO && c->state != CONN_READY)
        return; /* nothing is looked at before the key is proven */
    note_heard(c);
    while (evbuffer_copyout(in, head, sizeof head) == (ev_ssize_t)sizeof head) {
        size_t size =
            (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        uint8_t *frame;

        if (size > WIRE_FRAME_MAX) {
            conn_end(c, END_REFUSED, "a frame of %zu bytes", size);
            return;
        }
        if (evbuffer_get_length(in) < WIRE_LENGTH + size)
            break;
        frame = evbuffer_pullup(in, (ev_ssize_t)(WIRE_LENGTH + size));
        if (frame == NULL) {
            conn_end(c, END_LOST, "no memory for a frame");
            return;
        }
        if (size > 0 && !take_frame(c, frame + WIRE_LENGTH, size))
            return;
        if (evbuffer_drain(in, WIRE_LENGTH + size) != 0)
            return;
    }
    answer_silence(c);
}

static void on_proven(struct conn *c)
{
    if (c->cluster == NULL || !tls_is_proven(bufferevent_openssl_get_ssl(c->bev))) {
        conn_end(c, END_REFUSED, "the handshake ended without our key");
        return;
    }
    c->state = CONN_HELLO;
    c->has_seals = seal_make(bufferevent_openssl_get_ssl(c->bev), &c->says, &c->hears);
    note_heard(c);
    if (!c->is_accepted)
        (void)send_hello(c, c->peer->name); /* if not, it has ended */
}

/* Peers come and go in the middle of a handshake without being strangers: whoever dials gives
 * attempts up. A handshake that fails is another matter. */
static void on_changed(struct bufferevent *bev, short what, void *arg)
{
    struct conn *c = arg;
    int os_error = errno;
    unsigned long number = bufferevent_get_openssl_error(bev);
    const char *fault = tls_fault(number);
    const char *why = fault;

    ERR_clear_error();
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        on_proven(c);
        return;
    }
    if (why == NULL)
        why = (what & BEV_EVENT_EOF) != 0 || os_error == 0 ? "closed by the other end"
                                                           : strerror(os_error);
    if (evbuffer_get_length(bufferevent_get_input(bev)) > 0 && c->state == CONN_HELLO) {
        fault = "";
        why = "it ended within its first frame";
    }
    if (fault != NULL && (c->is_accepted || c->state == CONN_READY))
        conn_end(c, END_REFUSED, "%s", why);
    else if (c->state == CONN_TLS)
        conn_end(c, END_LOST, "handshake with %s: %s", c->address, why);
    else
        conn_end(c, END_LOST, "%s: %s", c->address, why);
}
