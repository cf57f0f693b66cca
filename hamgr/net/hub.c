#include "net/guest.h"
#include "net/inner.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    BACKLOG = 512, /* of the listening socket: after a break everybody comes at once */
    ACCEPTS_AT_ONCE = 16,
    ACCEPTS_MAX = 64,
    LINKS_MAX = 4096,
    HANDSHAKE_MS = 2000, /* defaults */
    GRACE_MS = 200, /* nobody has to make room sooner: a handshake over a long way takes its time */
    SWEEP_MS = 1000,
    SILENCES = 10,          /* a connection that is silent for so many silence_ms is closed */
    LONG_SILENCE_MS = 3000, /* but not before this */
};

/* --- clusters and members -------------------------------------------------------------------- */

struct link_cluster *hub_find(struct link_hub *hub, const char *name, size_t size)
{
    struct link_cluster *c;

    TAILQ_FOREACH (c, &hub->clusters, in_hub)
        if (strlen(c->name) == size && memcmp(c->name, name, size) == 0)
            return c;
    return NULL;
}

static struct peer *find_peer(const struct link_cluster *c, const char *name)
{
    struct peer *p;

    TAILQ_FOREACH (p, &c->peers, in_cluster)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

/* A name that nobody uses any more makes room for another. */
static void forget_one(struct link_cluster *c)
{
    struct peer *p;

    TAILQ_FOREACH (p, &c->peers, in_cluster)
        if (!p->dial.is_on && p->dial.lookup == NULL && TAILQ_EMPTY(&p->conns))
            break;
    if (p == NULL)
        return;
    TAILQ_REMOVE(&c->peers, p, in_cluster);
    c->peers_n--;
    dial_free(p);
    free(p);
}

struct peer *hub_peer(struct link_cluster *c, const char *name)
{
    struct peer *p = find_peer(c, name);

    if (p != NULL || name[0] == 0 || strlen(name) >= HM_NAME_MAX)
        return p;
    if (c->peers_n == LINK_PEERS_MAX)
        forget_one(c);
    if (c->peers_n == LINK_PEERS_MAX)
        return NULL;
    p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->cluster = c;
    memcpy(p->name, name, strlen(name));
    TAILQ_INIT(&p->conns);
    TAILQ_INSERT_TAIL(&c->peers, p, in_cluster);
    c->peers_n++;
    return p;
}

struct conn *peer_best(const struct peer *p)
{
    struct conn *c, *best = NULL;

    TAILQ_FOREACH (c, &p->conns, in_peer)
        if (c->state == CONN_READY && (best == NULL || c->heard_ms >= best->heard_ms))
            best = c;
    return best;
}

bool peer_is_heard(const struct peer *p, hm_ms now_ms)
{
    const struct conn *best = peer_best(p);

    return best != NULL && now_ms - best->heard_ms < p->cluster->config.silence_ms;
}

enum hm_rc link_hub_add(struct link_hub *hub, const struct link_cluster_config *config,
                        struct link_cluster **ret_cluster, struct hm_err *err)
{
    size_t n = strlen(config->name);
    struct link_cluster *c;

    if (n == 0 || n >= HM_NAME_MAX)
        return hm_fail(err, HM_BAD_INPUT, "'%s' cannot be the name of a cluster", config->name);
    if (hub_find(hub, config->name, n) != NULL)
        return hm_fail(err, HM_BAD_INPUT, "there are two clusters '%s'", config->name);
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return hm_fail(err, HM_FAILED, "no memory for a cluster");
    c->hub = hub;
    c->config = *config;
    memcpy(c->name, config->name, n);
    memcpy(c->key, config->key, sizeof c->key);
    c->config.name = c->name;
    c->config.key = c->key;
    TAILQ_INIT(&c->peers);
    TAILQ_INSERT_TAIL(&hub->clusters, c, in_hub);
    *ret_cluster = c;
    return HM_OK;
}

static void free_cluster(struct link_cluster *c)
{
    struct peer *p;

    while ((p = TAILQ_FIRST(&c->peers)) != NULL) {
        TAILQ_REMOVE(&c->peers, p, in_cluster);
        dial_free(p);
        free(p);
    }
    OPENSSL_cleanse(c->key, sizeof c->key);
    free(c);
}

/* --- keys ------------------------------------------------------------------------------------ */

/* A guest has a key and does not know whose: that is clear where there is one cluster. */
static struct link_cluster *the_only_cluster(const struct link_hub *hub)
{
    struct link_cluster *c = TAILQ_FIRST(&hub->clusters);

    return c != NULL && TAILQ_NEXT(c, in_hub) == NULL ? c : NULL;
}

static bool find_key(void *user, const unsigned char *identity, size_t size,
                     struct tls_key *ret_key)
{
    struct conn *conn = user;

    if (identity != NULL && size == sizeof GUEST_IDENTITY - 1 &&
        memcmp(identity, GUEST_IDENTITY, size) == 0) {
        conn->is_guest = true;
        conn->cluster = the_only_cluster(conn->hub);
    } else if (identity != NULL) {
        conn->cluster = hub_find(conn->hub, (const char *)identity, size);
    }
    if (conn->cluster == NULL)
        return false;
    *ret_key = (struct tls_key){ .identity = conn->cluster->name, .key = conn->cluster->key };
    return true;
}

/* --- the clock ------------------------------------------------------------------------------- */

void hub_arm(struct link_hub *hub)
{
    const struct conn *first = TAILQ_FIRST(&hub->unfinished);
    hm_ms now_ms = clock_boot_ms();
    hm_ms wait_ms = SWEEP_MS;
    struct timeval wait;

    if (first == NULL && TAILQ_EMPTY(&hub->ready) && !hub->is_deaf)
        return;
    if (first != NULL)
        wait_ms = hm_max_ms(1, hm_min_ms(wait_ms, first->give_up_ms - now_ms));
    if (hub->is_deaf && hub->unfinished_n > 0)
        wait_ms = GRACE_MS;
    if (event_pending(hub->sweep, EV_TIMEOUT, NULL) && wait_ms == SWEEP_MS)
        return;
    wait = clock_timeval(wait_ms);
    if (event_add(hub->sweep, &wait) != 0)
        log_error("link_sweep why=\"no memory\"");
}

static void end_late_ones(struct link_hub *hub, hm_ms now_ms)
{
    struct conn *c;

    while ((c = TAILQ_FIRST(&hub->unfinished)) != NULL && now_ms >= c->give_up_ms)
        conn_end(c, END_REFUSED, "it did not say who it is in time");
}

static void end_silent_ones(struct link_hub *hub, hm_ms now_ms)
{
    struct conn *c, *next;

    for (c = TAILQ_FIRST(&hub->ready); c != NULL; c = next) {
        hm_ms limit_ms = hm_max_ms(SILENCES * c->cluster->config.silence_ms, LONG_SILENCE_MS);

        next = TAILQ_NEXT(c, in_hub);
        if (now_ms - c->heard_ms > limit_ms)
            conn_end(c, END_LOST, "silent for %lld ms", (long long)(now_ms - c->heard_ms));
        else
            datagram_care(c, now_ms);
    }
}

void hub_listen(struct link_hub *hub)
{
    if (hub->is_deaf && event_add(hub->listening, NULL) == 0)
        hub->is_deaf = false;
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct link_hub *hub = arg;
    hm_ms now_ms = clock_boot_ms();

    (void)fd;
    (void)what;
    end_late_ones(hub, now_ms);
    /* After a pause of our own everybody seems silent; what they said waits in the sockets. */
    if (now_ms - hub->swept_ms < 2 * SWEEP_MS)
        end_silent_ones(hub, now_ms);
    hub->swept_ms = now_ms;
    hub_listen(hub);
    hub_arm(hub);
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
    struct link_hub *hub = arg;
    struct conn *c;

    (void)fd;
    (void)what;
    while ((c = TAILQ_FIRST(&hub->dead)) != NULL)
        conn_bury(c);
}

/* --- accepting ------------------------------------------------------------------------------- */

static void go_deaf(struct link_hub *hub)
{
    (void)event_del(hub->listening); /* the end of a connection adds it again, or the sweep */
    hub->is_deaf = true;
    hub_arm(hub);
}

/* Without this a loop that is out of descriptors would turn as fast as it can. */
static void tell_exhausted(struct link_hub *hub, int number)
{
    uint64_t hidden;

    if (log_repeat_starts(&hub->accept_fails, clock_boot_ms(), &hidden))
        log_error("link_accept why=\"%s\" hidden=%llu", strerror(number),
                  (unsigned long long)hidden);
    go_deaf(hub);
}

/* After a witness was restarted, a thousand clusters come at once: were those who are shaking hands
 * thrown out for those who come, nobody would get in. A stranger that wants to keep members out has
 * to fill all places every GRACE_MS. */
static bool is_full(const struct link_hub *hub)
{
    const struct conn *oldest = TAILQ_FIRST(&hub->unfinished);

    return hub->unfinished_n >= hub->config.accepts_max && oldest != NULL &&
           clock_boot_ms() - oldest->began_ms < GRACE_MS;
}

static void take_one(struct link_hub *hub, int fd, const struct sockaddr *from)
{
    struct conn *oldest = TAILQ_FIRST(&hub->unfinished);

    if (hub->unfinished_n >= hub->config.accepts_max && oldest != NULL)
        conn_end(oldest, END_REFUSED, "too many that have not said who they are");
    if (hub->conns_n >= hub->config.links_max + hub->config.accepts_max) {
        hub->counts.refused++;
        (void)close(fd); /* nothing was said */
        return;
    }
    if (conn_accept(hub, fd, from) != NULL)
        hub_arm(hub);
}

static void on_knock(evutil_socket_t fd, short what, void *arg)
{
    struct link_hub *hub = arg;

    (void)what;
    for (unsigned i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        int accepted;

        if (is_full(hub)) {
            go_deaf(hub);
            return;
        }
        accepted = accept4(fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (accepted >= 0)
            take_one(hub, accepted, (const struct sockaddr *)&from);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            tell_exhausted(hub, errno);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static int bind_to(const struct addrinfo *at)
{
    static const int on = 1, off = 0;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (at->ai_family == AF_INET6) /* [::] shall mean everybody */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    (void)close(fd); /* errno of the failure counts; close() of a fresh socket keeps it */
    return -1;
}

/* Beside the door: the same address, the same port. */
static void hear_datagrams(struct link_hub *hub)
{
    struct sockaddr_storage at;
    socklen_t size = sizeof at;

    if (getsockname(hub->listen_fd, (struct sockaddr *)&at, &size) == 0)
        datagram_listen(hub, (struct sockaddr *)&at, size);
}

/* Without asking a resolver; returns what getaddrinfo() says. *ret_fd is -1 when it cannot listen.
 */
static int listen_on(const char *host, const char *port, int *ret_fd)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST };
    struct addrinfo *list;
    int rc = getaddrinfo(host, port, &hints, &list);

    *ret_fd = -1;
    if (rc != 0)
        return rc;
    for (const struct addrinfo *at = list; at != NULL && *ret_fd < 0; at = at->ai_next)
        *ret_fd = bind_to(at);
    freeaddrinfo(list);
    return 0;
}

/* The resolver may hang, and the lease does not wait for it: whoever is configured by a name
 * listens on all addresses of the host. */
static enum hm_rc open_door(struct link_hub *hub, struct hm_err *err)
{
    char host[HM_ADDRESS_MAX], port[8];
    int rc;

    if (!address_split(hub->config.listen, host, port))
        return hm_fail(err, HM_FAILED, "'%s' is not HOST:PORT", hub->config.listen);
    rc = listen_on(host, port, &hub->listen_fd);
    if (rc == EAI_NONAME) {
        rc = listen_on("::", port, &hub->listen_fd);
        if (hub->listen_fd < 0) /* a host without IPv6 */
            rc = listen_on("0.0.0.0", port, &hub->listen_fd);
    }
    if (rc != 0)
        return hm_fail(err, HM_FAILED, "'%s' is not known: %s", hub->config.listen,
                       gai_strerror(rc));
    if (hub->listen_fd < 0)
        return hm_fail_errno(err, "cannot listen on '%s'", hub->config.listen);
    hub->listening =
        event_new(hub->config.base, hub->listen_fd, EV_READ | EV_PERSIST, on_knock, hub);
    if (hub->listening == NULL || event_add(hub->listening, NULL) != 0)
        return hm_fail(err, HM_FAILED, "no memory for an event");
    hear_datagrams(hub);
    return HM_OK;
}

/* --- the hub --------------------------------------------------------------------------------- */

enum hm_rc link_hub_new(const struct link_hub_config *config, struct link_hub **ret_hub,
                        struct hm_err *err)
{
    struct link_hub *hub = calloc(1, sizeof *hub);
    uint64_t seed = (uint64_t)clock_boot_ms();
    enum hm_rc rc;

    if (hub == NULL)
        return hm_fail(err, HM_FAILED, "no memory for the links");
    hub->config = *config;
    if (config->accepts_max == 0)
        hub->config.accepts_max = ACCEPTS_MAX;
    if (config->links_max == 0)
        hub->config.links_max = LINKS_MAX;
    if (config->handshake_ms == 0)
        hub->config.handshake_ms = HANDSHAKE_MS;
    hub->instance = twin_draw();
    hub->listen_fd = -1;
    TAILQ_INIT(&hub->clusters);
    TAILQ_INIT(&hub->unfinished);
    TAILQ_INIT(&hub->dialling);
    TAILQ_INIT(&hub->ready);
    TAILQ_INIT(&hub->dead);
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) < 0)
        seed = (uint64_t)clock_boot_ms(); /* only jitter hangs on it */
    prng_seed(&hub->prng, seed);
    hub->sweep = event_new(config->base, -1, 0, on_sweep, hub);
    hub->reap = event_new(config->base, -1, 0, on_reap, hub);
    rc = hub->sweep != NULL && hub->reap != NULL
             ? tls_context(find_key, &hub->tls, err)
             : hm_fail(err, HM_FAILED, "no memory for an event");
    if (rc == HM_OK && config->listen != NULL)
        rc = open_door(hub, err);
    if (rc != HM_OK) {
        link_hub_free(hub);
        return rc;
    }
    *ret_hub = hub;
    return HM_OK;
}

static void end_all(struct conn_list *list)
{
    struct conn *c;

    while ((c = TAILQ_FIRST(list)) != NULL)
        conn_end(c, END_QUIETLY, "we end");
}

void link_hub_free(struct link_hub *hub)
{
    struct link_cluster *c;

    if (hub == NULL)
        return;
    TAILQ_FOREACH (c, &hub->clusters, in_hub) {
        struct peer *p;

        TAILQ_FOREACH (p, &c->peers, in_cluster)
            p->dial.is_on = false;
    }
    end_all(&hub->unfinished);
    end_all(&hub->dialling);
    end_all(&hub->ready);
    if (hub->reap != NULL)
        on_reap(-1, 0, hub);
    worker_free(hub->resolver); /* first: it may hold a lookup of a peer */
    while ((c = TAILQ_FIRST(&hub->clusters)) != NULL) {
        TAILQ_REMOVE(&hub->clusters, c, in_hub);
        free_cluster(c);
    }
    datagram_free(hub);
    if (hub->listening != NULL)
        event_free(hub->listening);
    if (hub->listen_fd >= 0)
        (void)close(hub->listen_fd); /* nothing is written to it */
    if (hub->sweep != NULL)
        event_free(hub->sweep);
    if (hub->reap != NULL)
        event_free(hub->reap);
    SSL_CTX_free(hub->tls);
    free(hub);
}

uint16_t link_hub_port(const struct link_hub *hub)
{
    struct sockaddr_storage at;
    socklen_t size = sizeof at;

    if (hub->listen_fd < 0 || getsockname(hub->listen_fd, (struct sockaddr *)&at, &size) < 0)
        return 0;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                          : ((struct sockaddr_in *)&at)->sin_port);
}

/* --- what callers ask ------------------------------------------------------------------------ */

static struct peer *find_incarnation(const struct link_cluster *c, uint64_t incarnation)
{
    struct peer *p;

    TAILQ_FOREACH (p, &c->peers, in_cluster)
        if (p->incarnation == incarnation && p->ready_n > 0)
            return p;
    return NULL;
}

static struct conn *find_link(const struct link_cluster *c, uint64_t incarnation, const char *name)
{
    const struct peer *p = incarnation != 0 ? find_incarnation(c, incarnation) : NULL;

    if (p == NULL && name != NULL)
        p = find_peer(c, name);
    return p != NULL ? peer_best(p) : NULL;
}

static bool send_frame(struct link_cluster *c, struct conn *to, const struct wire_frame *frame,
                       bool is_urgent)
{
    struct link_hub *hub = c->hub;
    bool is_sent = false;
    struct hm_err err;
    size_t used;

    if (to == NULL)
        return false;
    if (wire_pack(frame, hub->output, sizeof hub->output, &used, &err) != HM_OK) {
        log_error("link_send cluster=%s member=%s why=\"%s\"", c->name, to->peer->name, err.text);
        return false;
    }
    if (is_urgent)
        is_sent = datagram_send(to->peer, hub->output + WIRE_LENGTH, used - WIRE_LENGTH);
    return conn_send(to, hub->output, used, clock_boot_ms()) || is_sent;
}

bool link_send(struct link_cluster *c, uint64_t incarnation, const char *name,
               const struct wire_frame *frame)
{
    return send_frame(c, find_link(c, incarnation, name), frame, false);
}

bool link_send_urgent(struct link_cluster *c, uint64_t incarnation, const char *name,
                      const struct wire_frame *frame)
{
    return send_frame(c, find_link(c, incarnation, name), frame, true);
}

void link_look(const struct link_cluster *c, const char *name, struct link_state *ret)
{
    const struct peer *p = find_peer(c, name);

    memset(ret, 0, sizeof *ret);
    if (p == NULL) {
        (void)snprintf(ret->why, sizeof ret->why, "never heard of");
        return;
    }
    ret->is_up = peer_is_heard(p, clock_boot_ms());
    ret->heard_ms = p->heard_ms;
    ret->incarnation = p->incarnation;
    ret->lacks_datagrams = p->is_missed;
    ret->has_datagrams = !p->is_missed && p->datagram_ms != 0;
    if (!ret->is_up)
        (void)snprintf(ret->why, sizeof ret->why, "%s",
                       p->why[0] != 0 ? p->why
                                      : (p->ready_n > 0 ? "nothing is heard" : "not connected"));
}

void link_count(const struct link_hub *hub, struct link_counts *ret)
{
    const struct conn *c;

    *ret = hub->counts;
    ret->links = 0;
    TAILQ_FOREACH (c, &hub->ready, in_hub)
        ret->links++;
}
