/* Frames beside TCP, for what must arrive when nothing comes back.
 *
 * A host that is heard and hears nobody cannot speak for long by TCP: once what it said stays
 * unacknowledged, TCP repeats the oldest bytes, ever more seldom, and sends nothing new. A datagram
 * needs no answer. It is sealed with a key of the link that it belongs to (seal.h), goes to the
 * same address and port, and may get lost; so nothing relies on it that TCP would not bring in the
 * end. An empty one now and then shows the other end whether datagrams arrive at all. */
#include "net/inner.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DATAGRAM_MAX = 1200, /* bytes of a frame: no path takes less than this and its head */
    AT_ONCE = 32,        /* read in one turn of the loop */
    SHOWN_EVERY_MS = 60000,
    MISSED_MS = 150000 /* a link without one for so long: they are filtered */
};

static socklen_t size_of(const struct sockaddr_storage *to)
{
    return to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* A socket of the moment: datagrams are seldom, and need no address of their own. */
static bool send_to(const struct sockaddr_storage *to, const uint8_t *bytes, size_t size)
{
    int fd = socket(to->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool is_sent;

    if (fd < 0)
        return false;
    is_sent = sendto(fd, bytes, size, 0, (const struct sockaddr *)to, size_of(to)) >= 0;
    (void)close(fd); /* the datagram is the kernel's */
    return is_sent;
}

/* The two ends may disagree on which connection is the best one: one on each. */
bool datagram_send(struct peer *p, const uint8_t *bytes, size_t size)
{
    uint8_t sealed[DATAGRAM_MAX + SEAL_MORE];
    bool is_sent = false;
    struct conn *c;

    if (size > DATAGRAM_MAX || p->dial.address[0] == 0 || !dial_find(p, clock_boot_ms()))
        return false;
    TAILQ_FOREACH (c, &p->conns, in_peer) {
        if (c->state != CONN_READY || !c->has_seals)
            continue;
        if (!seal_close(&c->says, bytes, size, sealed)) {
            ERR_clear_error();
            continue;
        }
        for (unsigned i = 0; i < p->dial.found_n; i++)
            is_sent = send_to(&p->dial.found[i], sealed, size + SEAL_MORE) || is_sent;
    }
    return is_sent;
}

static void show(struct peer *p, hm_ms now_ms)
{
    static const uint8_t nothing[1] = { 0 };

    if (p->shown_ms != 0 && now_ms - p->shown_ms < SHOWN_EVERY_MS)
        return;
    p->shown_ms = now_ms;
    (void)datagram_send(p, nothing, 0); /* lost: the next one */
}

/* Only who dials us is sure to have our address. */
static void look(struct conn *c, hm_ms now_ms)
{
    struct peer *p = c->peer;

    if (!c->is_accepted || p->is_missed ||
        now_ms - hm_max_ms(c->began_ms, p->datagram_ms) < MISSED_MS)
        return;
    p->is_missed = true;
    log_warn(
        "link_datagrams cluster=%s member=%s address=%s why=\"none arrives: is UDP to our port "
        "filtered? A primary that cannot hear is replaced later without them\"",
        p->cluster->name, p->name, c->address);
}

void datagram_care(struct conn *c, hm_ms now_ms)
{
    show(c->peer, now_ms);
    look(c, now_ms);
}

/* --- hearing --------------------------------------------------------------------------------- */

static struct conn *find_sealed(struct link_hub *hub, const uint8_t *bytes, size_t size)
{
    struct conn *c;

    if (size < SEAL_MORE)
        return NULL;
    TAILQ_FOREACH (c, &hub->ready, in_hub)
        if (c->has_seals && memcmp(c->hears.id, bytes, SEAL_ID) == 0)
            return c;
    return NULL;
}

static void take(struct conn *c, const uint8_t *bytes, size_t size)
{
    struct link_cluster *cluster = c->cluster;
    struct link_peer from = { .incarnation = c->peer->incarnation };
    struct wire_frame f;
    struct hm_err err;

    c->peer->datagram_ms = clock_boot_ms();
    if (c->peer->is_missed)
        log_info("link_datagrams cluster=%s member=%s they arrive", cluster->name, c->peer->name);
    c->peer->is_missed = false;
    if (size == 0)
        return;
    if (wire_unpack(bytes, size, &c->hub->storage, &f, &err) != HM_OK || f.type != WIRE_MSG) {
        c->hub->counts.refused++; /* of a newer version, for all we know */
        return;
    }
    memcpy(from.name, c->peer->name, sizeof from.name);
    cluster->config.on_frame(cluster->config.ctx, &from, &f);
}

static void on_datagrams(evutil_socket_t fd, short what, void *arg)
{
    struct link_hub *hub = arg;
    uint8_t sealed[DATAGRAM_MAX + SEAL_MORE + 1], plain[sizeof sealed];

    (void)what;
    for (unsigned i = 0; i < AT_ONCE; i++) {
        ssize_t n = recv(fd, sealed, sizeof sealed, 0);
        struct conn *c;

        if (n < 0 && errno != ECONNREFUSED && errno != EINTR)
            return;
        c = n < 0 ? NULL : find_sealed(hub, sealed, (size_t)n);
        if (c != NULL && seal_open(&c->hears, sealed, (size_t)n, plain))
            take(c, plain, (size_t)n - SEAL_MORE);
        else
            hub->counts.refused++; /* not told: anybody can send these from any address */
    }
}

void datagram_listen(struct link_hub *hub, const struct sockaddr *at, socklen_t size)
{
    static const int off = 0;
    int fd = socket(at->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && at->sa_family == AF_INET6) /* as the listening socket */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd >= 0 && bind(fd, at, size) == 0)
        hub->datagrams = event_new(hub->config.base, fd, EV_READ | EV_PERSIST, on_datagrams, hub);
    if (hub->datagrams != NULL && event_add(hub->datagrams, NULL) == 0)
        return;
    log_warn("link_datagrams address=%s why=\"%s\": a primary that hears nobody is replaced later",
             hub->config.listen, strerror(errno));
    if (hub->datagrams != NULL)
        event_free(hub->datagrams);
    hub->datagrams = NULL;
    if (fd >= 0)
        (void)close(fd); /* nothing was read */
}

void datagram_free(struct link_hub *hub)
{
    int fd;

    if (hub->datagrams == NULL)
        return;
    fd = event_get_fd(hub->datagrams);
    event_free(hub->datagrams);
    (void)close(fd); /* nothing is written to it */
}
