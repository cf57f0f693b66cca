/* When to make which connection.
 *
 * A member that is dialled has a timer. While something is heard from it, the timer only sees to it
 * that we are heard as well. Once nothing was heard for silence_ms, or TCP has to repeat what we
 * said, the link is doubted, and a new connection is begun every retry_ms, beside the old one and
 * beside each other, each given up after four times that: TCP itself repeats its first packet only
 * after a second, and what it repeats on an old connection comes ever later, so after a short break
 * a fresh first packet is what gets through soonest, at most retry_ms after the network is back. A
 * handshake needs three round trips: it ends in time up to round trips of about one heartbeat.
 * After ten seconds the pauses grow to a second, and each attempt may take as long as a handshake
 * may. */
#include "net/inner.h"

#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EAGER_MS = 10000,        /* so long after a loss attempts come every retry_ms */
    PAUSE_MAX_MS = 1000,     /* then ever slower, down to this */
    ATTEMPT_MIN_MS = 400,    /* no attempt is given up sooner */
    LOOK_UP_AGAIN_MS = 15000 /* a name may have moved */
};

/* --- addresses ------------------------------------------------------------------------------- */

/* Looks an address up; flags may forbid to ask anybody. Returns what getaddrinfo() says. */
static int look_up(const char *address, int flags, struct sockaddr_storage *found, unsigned *ret_n)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV };
    struct addrinfo *list, *at;
    char host[HM_ADDRESS_MAX], port[8];
    unsigned n = 0;
    int rc;

    if (!address_split(address, host, port))
        return EAI_SERVICE;
    rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0)
        return rc;
    for (at = list; at != NULL && n < LINK_ADDRESSES_MAX; at = at->ai_next) {
        if (at->ai_family != AF_INET && at->ai_family != AF_INET6)
            continue;
        memset(&found[n], 0, sizeof found[n]);
        memcpy(&found[n++], at->ai_addr, at->ai_addrlen);
    }
    freeaddrinfo(list);
    *ret_n = n;
    return n > 0 ? 0 : EAI_NONAME;
}

static void on_worker(struct worker_job *job)
{
    struct lookup *l = (struct lookup *)job;
    int rc = look_up(l->address, AI_ADDRCONFIG, l->found, &l->found_n);

    if (rc != 0)
        (void)snprintf(l->why, sizeof l->why, "'%s' is not known: %s", l->address,
                       gai_strerror(rc));
}

static void on_looked_up(struct worker_job *job)
{
    struct lookup *l = (struct lookup *)job;
    struct peer *p = l->peer;
    struct dial *d = &p->dial;

    d->lookup = NULL;
    d->looked_up_ms = clock_boot_ms();
    if (strcmp(l->address, d->address) != 0) {
        d->looked_up_ms = 0; /* the answer to an old question */
    } else if (l->found_n > 0) {
        memcpy(d->found, l->found, sizeof d->found);
        d->found_n = l->found_n;
        d->next_try_ms = 0;
    } else if (d->found_n == 0) {
        (void)snprintf(p->why, sizeof p->why, "%s", l->why); /* else the old ones are tried on */
    }
    free(l);
    dial_soon(p);
}

/* Asks the resolver, unless it is asked already. */
static void ask_resolver(struct peer *p, hm_ms now_ms)
{
    struct link_hub *hub = p->cluster->hub;
    struct dial *d = &p->dial;
    struct hm_err err;

    if (d->lookup != NULL || (d->looked_up_ms != 0 && now_ms - d->looked_up_ms < LOOK_UP_AGAIN_MS))
        return;
    d->looked_up_ms = now_ms;
    if (hub->resolver == NULL &&
        worker_new(hub->config.base, "resolver", &hub->resolver, &err) != HM_OK) {
        (void)snprintf(p->why, sizeof p->why, "%.*s", (int)sizeof p->why - 1, err.text);
        return;
    }
    d->lookup = calloc(1, sizeof *d->lookup);
    if (d->lookup == NULL)
        return; /* asked again later */
    d->lookup->job.run = on_worker;
    d->lookup->job.done = on_looked_up;
    d->lookup->peer = p;
    (void)snprintf(d->lookup->address, sizeof d->lookup->address, "%s", d->address);
    worker_add(hub->resolver, &d->lookup->job);
}

/* --- attempts -------------------------------------------------------------------------------- */

static hm_ms pause_ms(const struct peer *p, hm_ms now_ms)
{
    hm_ms retry_ms = p->cluster->config.retry_ms;
    hm_ms lost_for_ms = now_ms - p->dial.lost_ms;
    hm_ms pause = retry_ms;

    if (lost_for_ms > EAGER_MS)
        pause = hm_max_ms(retry_ms, hm_min_ms(PAUSE_MAX_MS, lost_for_ms / 20));
    /* a little off the beat, so that many members do not come at once */
    return hm_max_ms(1, pause - (hm_ms)prng_below(&p->cluster->hub->prng, (uint64_t)pause / 8 + 1));
}

static hm_ms attempt_ms(const struct peer *p, hm_ms now_ms)
{
    hm_ms eager_ms = hm_max_ms(ATTEMPT_MIN_MS, 4 * p->cluster->config.retry_ms);

    if (now_ms - p->dial.lost_ms > EAGER_MS)
        return hm_max_ms(eager_ms, p->cluster->hub->config.handshake_ms);
    return eager_ms;
}

enum attempts {
    LATE_ONES,     /* those whose time is over */
    NEEDLESS_ONES, /* and those that the other side cannot know to be ready */
    ALL_ONES,
};

/* Once our hello is on its way the other side may use the connection already. Were it closed then
 * because the other side's own one came first, two members that dial each other at the same moment
 * would end with none. */
static void end_attempts(struct peer *p, enum attempts which, hm_ms now_ms)
{
    struct conn *c, *next;

    for (c = TAILQ_FIRST(&p->conns); c != NULL; c = next) {
        next = TAILQ_NEXT(c, in_peer);
        if (c->state == CONN_READY)
            continue;
        if (which == ALL_ONES || (which == NEEDLESS_ONES && c->state != CONN_HELLO))
            conn_end(c, END_QUIETLY, "not needed any more");
        else if (now_ms >= c->give_up_ms)
            conn_end(c, END_LOST, "no answer from %s within %lld ms", c->address,
                     (long long)(c->give_up_ms - c->began_ms));
    }
}

/* True when the other end's kernel has just answered: then the network is fine, and the member is
 * only busy. After a witness was restarted a thousand clusters come at once, and more attempts of
 * each would keep all of them out. */
static bool is_shaking_hands(const struct peer *p, hm_ms now_ms)
{
    const struct conn *c;

    TAILQ_FOREACH (c, &p->conns, in_peer)
        if ((c->state == CONN_TLS || c->state == CONN_HELLO) &&
            now_ms - c->tls_ms < 2 * p->cluster->config.retry_ms)
            return true;
    return false;
}

bool dial_find(struct peer *p, hm_ms now_ms)
{
    struct dial *d = &p->dial;

    if (d->found_n == 0 && look_up(d->address, AI_NUMERICHOST, d->found, &d->found_n) != 0)
        d->found_n = 0;
    else
        d->looked_up_ms = d->looked_up_ms != 0 ? d->looked_up_ms : now_ms;
    if (d->found_n == 0 || now_ms - d->looked_up_ms >= LOOK_UP_AGAIN_MS)
        ask_resolver(p, now_ms);
    return d->found_n > 0;
}

static void attempt(struct peer *p, hm_ms now_ms)
{
    struct dial *d = &p->dial;

    if (dial_find(p, now_ms))
        (void)conn_dial(p, &d->found[d->next++ % d->found_n], attempt_ms(p, now_ms));
}

static void arm(struct peer *p, hm_ms at_ms, hm_ms now_ms)
{
    const struct timeval wait = clock_timeval(hm_max_ms(1, at_ms - now_ms));

    if (event_add(p->dial.timer, &wait) != 0)
        log_error("link_timer cluster=%s member=%s", p->cluster->name, p->name);
}

static void look(struct peer *p)
{
    hm_ms now_ms = clock_boot_ms();
    hm_ms silence_ms = p->cluster->config.silence_ms;
    struct dial *d = &p->dial;
    struct conn *best = peer_best(p);
    bool is_fine = peer_is_heard(p, now_ms);
    hm_ms next_ms;

    if (best != NULL)
        is_fine = conn_gets_through(best, d->lost_ms != 0) && is_fine;
    if (best != NULL && now_ms - best->sent_ms >= silence_ms / 2)
        conn_ping(best, now_ms);
    if (is_fine) {
        d->lost_ms = 0;
        d->next_try_ms = 0;
        end_attempts(p, NEEDLESS_ONES, now_ms);
        next_ms = hm_min_ms(best->heard_ms, best->sent_ms - silence_ms / 2) + silence_ms;
    } else {
        if (d->lost_ms == 0)
            d->lost_ms = now_ms;
        end_attempts(p, LATE_ONES, now_ms);
        if (now_ms >= d->next_try_ms) {
            d->next_try_ms = now_ms + pause_ms(p, now_ms);
            if (!is_shaking_hands(p, now_ms))
                attempt(p, now_ms);
        }
        next_ms = d->next_try_ms;
    }
    /* a ping that cannot leave is not tried without a pause */
    arm(p, hm_max_ms(next_ms, now_ms + silence_ms / 8), now_ms);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    look(arg);
}

void dial_soon(struct peer *p)
{
    if (p->dial.is_on)
        arm(p, 0, 0);
}

void dial_done(struct peer *p, struct conn *with)
{
    hm_ms now_ms = clock_boot_ms();
    struct conn *c, *next;

    if (!p->dial.is_on)
        return;
    (void)log_repeat_ends(&p->dial.failing); /* that it is up was told already */
    end_attempts(p, NEEDLESS_ONES, now_ms);
    /* Of the ones that we made ourselves and that are silent or stuck, this one takes the place.
     * Those of the other side it closes itself, or the sweep does: two members that closed each
     * other's connections would never have one. */
    for (c = TAILQ_FIRST(&p->conns); c != NULL && !with->is_accepted; c = next) {
        next = TAILQ_NEXT(c, in_peer);
        if (c != with && c->state == CONN_READY && !c->is_accepted &&
            (now_ms - c->heard_ms >= p->cluster->config.silence_ms || !conn_gets_through(c, true)))
            conn_end(c, END_REPLACED, "a newer connection takes its place");
    }
    dial_soon(p);
}

/* --- the door -------------------------------------------------------------------------------- */

void link_tell_address(struct link_cluster *c, const char *name, const char *address)
{
    struct peer *p = hub_peer(c, name);

    if (p == NULL || strlen(address) >= sizeof p->dial.address)
        return; /* only datagrams need it */
    (void)snprintf(p->dial.address, sizeof p->dial.address, "%s", address);
    p->dial.found_n = 0;
    p->dial.looked_up_ms = 0;
}

void link_dial(struct link_cluster *c, const char *name, const char *address)
{
    struct peer *p = hub_peer(c, name);
    struct dial *d;

    if (p == NULL) {
        log_error("link_dial cluster=%s member=%s why=\"too many members\"", c->name, name);
        return;
    }
    d = &p->dial;
    if (d->is_on && strcmp(d->address, address) == 0)
        return;
    if (d->timer == NULL)
        d->timer = event_new(c->hub->config.base, -1, 0, on_timer, p);
    if (d->timer == NULL || strlen(address) >= sizeof d->address) {
        log_error("link_dial cluster=%s member=%s address=%s why=\"no memory, or too long\"",
                  c->name, name, address);
        return;
    }
    end_attempts(p, ALL_ONES, clock_boot_ms());
    (void)snprintf(d->address, sizeof d->address, "%s", address);
    d->is_on = true;
    d->found_n = 0;
    d->next = 0;
    d->looked_up_ms = 0;
    d->next_try_ms = 0;
    dial_soon(p);
}

void link_undial(struct link_cluster *c, const char *name)
{
    struct peer *p;
    struct conn *conn, *next;

    TAILQ_FOREACH (p, &c->peers, in_cluster)
        if (strcmp(p->name, name) == 0)
            break;
    if (p == NULL || !p->dial.is_on)
        return;
    p->dial.is_on = false;
    (void)event_del(p->dial.timer); /* it exists, as it is on */
    end_attempts(p, ALL_ONES, clock_boot_ms());
    for (conn = TAILQ_FIRST(&p->conns); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, in_peer);
        if (!conn->is_accepted)
            conn_end(conn, END_QUIETLY, "not dialled any more");
    }
}

void dial_free(struct peer *p)
{
    if (p->dial.timer != NULL)
        event_free(p->dial.timer);
    free(p->dial.lookup);
}
