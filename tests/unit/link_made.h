/* link_made.h - members with real sockets on the loopback, all in one event base, and a relay
 * between them that can stop passing bytes on. No test waits but for a condition, with a limit. */
#ifndef TESTS_UNIT_LINK_MADE_H
#define TESTS_UNIT_LINK_MADE_H

#include "base/clock.h"
#include "base/log.h"
#include "net/link.h"
#include "tests/cm.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MADE_SILENCE_MS = 250, MADE_RETRY_MS = 100, MADE_HANDSHAKE_MS = 500 };

/* Long, so that a machine that is busy with other things does not make links look dead; tests of
 * silence take the short one. */
static hm_ms made_silence_ms = 1000;

static const uint8_t made_key[32] = "0123456789abcdef0123456789abcde";
static const uint8_t made_other_key[32] = "another key of another cluster!";

static struct event_base *made_base;

/* A member: one hub with one cluster. */
struct side {
    struct link_hub *hub;
    struct link_cluster *cluster;
    struct wire_hello hello;
    char address[HM_ADDRESS_MAX];
    unsigned hellos, msgs, calls;
    uint32_t last_seq;
    struct link_peer last_from;
    char last_text[64];
    unsigned pieces;
    uint32_t last_size;
    bool learns; /* its name from the first hello, as a witness does */
    bool echoes; /* every message goes back */
};

static inline void side_hears(void *ctx, const struct link_peer *from, const struct wire_frame *f)
{
    struct side *s = ctx;

    s->last_from = *from;
    switch (f->type) {
    case WIRE_HELLO:
        s->hellos++;
        if (s->learns)
            memcpy(s->hello.from, f->hello->to, sizeof s->hello.from);
        break;
    case WIRE_MSG:
        s->msgs++;
        s->last_seq = f->msg.seq;
        if (s->echoes)
            (void)link_send(s->cluster, from->incarnation, NULL, f); /* as it may */
        break;
    case WIRE_CALL:
    case WIRE_REPLY:
        s->calls++;
        (void)snprintf(s->last_text, sizeof s->last_text, "%s", f->call.text);
        break;
    case WIRE_LOG_ASK:
    case WIRE_LOG_PIECE:
        s->pieces++;
        s->last_size = f->log.size;
        break;
    default:
        fail_msg("a frame of no type");
    }
}

/* listen: NULL: a port of the kernel's choice; "": none. */
static inline void side_open(struct side *s, const char *name, uint64_t incarnation,
                             const char *listen)
{
    struct link_hub_config hub = { .base = made_base,
                                   .listen = listen == NULL   ? "127.0.0.1:0"
                                             : listen[0] == 0 ? NULL
                                                              : listen,
                                   .accepts_max = 64,
                                   .links_max = 2000,
                                   .handshake_ms = MADE_HANDSHAKE_MS };
    struct link_cluster_config cluster = { .name = "prod",
                                           .key = made_key,
                                           .hello = &s->hello,
                                           .silence_ms = made_silence_ms,
                                           .retry_ms = MADE_RETRY_MS,
                                           .on_frame = side_hears,
                                           .ctx = s };
    struct hm_err err;

    memset(s, 0, sizeof *s);
    s->hello.version = WIRE_VERSION;
    s->hello.incarnation = incarnation;
    (void)snprintf(s->hello.cluster, sizeof s->hello.cluster, "prod");
    (void)snprintf(s->hello.from, sizeof s->hello.from, "%s", name);
    if (link_hub_new(&hub, &s->hub, &err) != HM_OK)
        fail_msg("no hub: %s", err.text);
    if (link_hub_add(s->hub, &cluster, &s->cluster, &err) != HM_OK)
        fail_msg("no cluster: %s", err.text);
    (void)snprintf(s->address, sizeof s->address, "127.0.0.1:%u", link_hub_port(s->hub));
}

static inline void side_close(struct side *s)
{
    link_hub_free(s->hub);
    s->hub = NULL;
}

static inline bool side_say(struct side *s, const char *to, uint32_t seq)
{
    struct wire_frame f = { .type = WIRE_MSG };

    f.msg.type = MSG_GOSSIP;
    f.msg.from_incarnation = s->hello.incarnation;
    f.msg.seq = seq;
    f.msg.gossip.follows = HM_NOBODY;
    return link_send(s->cluster, 0, to, &f);
}

static inline bool side_is_up(const struct side *s, const char *name)
{
    struct link_state state;

    link_look(s->cluster, name, &state);
    return state.is_up;
}

static inline uint64_t side_refused(const struct side *s)
{
    struct link_counts counts;

    link_count(s->hub, &counts);
    return counts.refused;
}

static inline unsigned side_links(const struct side *s)
{
    struct link_counts counts;

    link_count(s->hub, &counts);
    return counts.links;
}

/* --- the loop -------------------------------------------------------------------------------- */

static inline void made_alarm(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    *(bool *)arg = true;
}

/* Turns the loop until the condition holds; false: it did not within limit_ms. */
static inline bool made_run(bool (*is_so)(void *), void *arg, hm_ms limit_ms)
{
    struct timeval wait = clock_timeval(limit_ms);
    bool is_over = false;
    struct event *alarm = evtimer_new(made_base, made_alarm, &is_over);

    assert_non_null(alarm);
    assert_int_equal(evtimer_add(alarm, &wait), 0);
    while (!is_over && (is_so == NULL || !is_so(arg)))
        assert_int_not_equal(event_base_loop(made_base, EVLOOP_ONCE), -1);
    event_free(alarm);
    return is_so != NULL && is_so(arg);
}

/* Lets time pass, for what must not happen in it. */
static inline void made_pass(hm_ms ms)
{
    (void)made_run(NULL, NULL, ms);
}

/* --- a relay --------------------------------------------------------------------------------- */

enum { RELAY_MAX = 64, RELAY_KEPT = 4096 };

struct relay_pair {
    struct relay *relay;
    struct bufferevent *in, *out;
};

struct relay {
    struct evconnlistener *listener;
    struct sockaddr_in to;
    struct relay_pair pair[RELAY_MAX];
    unsigned n;
    unsigned lost_n; /* those before this one never pass anything on again */
    bool is_cut;     /* what is said is held back, and those who come get no answer */
    char address[HM_ADDRESS_MAX];
    uint8_t kept[RELAY_KEPT]; /* what the first client said */
    size_t kept_n;
};

static inline void relay_pass(struct bufferevent *from, void *arg)
{
    struct relay_pair *p = arg;
    struct bufferevent *to = from == p->in ? p->out : p->in;
    struct evbuffer *in = bufferevent_get_input(from);

    if (p->relay->is_cut || p - p->relay->pair < (ptrdiff_t)p->relay->lost_n)
        return;
    if (from == p->in && p == &p->relay->pair[0]) {
        ev_ssize_t n =
            evbuffer_copyout(in, p->relay->kept + p->relay->kept_n, RELAY_KEPT - p->relay->kept_n);

        p->relay->kept_n += n > 0 ? (size_t)n : 0;
    }
    if (to != NULL)
        assert_int_equal(bufferevent_write_buffer(to, in), 0);
}

static inline void relay_close(struct relay_pair *p)
{
    if (p->in != NULL)
        bufferevent_free(p->in);
    if (p->out != NULL)
        bufferevent_free(p->out);
    p->in = p->out = NULL;
}

static inline void relay_changed(struct bufferevent *bev, short what, void *arg)
{
    struct relay_pair *p = arg;

    (void)bev;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        relay_close(p);
}

static inline void relay_take(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from,
                              int size, void *arg)
{
    struct relay *r = arg;
    struct relay_pair *p = &r->pair[r->n];

    (void)l;
    (void)from;
    (void)size;
    assert_true(r->n < RELAY_MAX);
    r->n++;
    p->relay = r;
    p->in = bufferevent_socket_new(made_base, fd, BEV_OPT_CLOSE_ON_FREE);
    p->out = bufferevent_socket_new(made_base, -1, BEV_OPT_CLOSE_ON_FREE);
    assert_true(p->in != NULL && p->out != NULL);
    bufferevent_setcb(p->in, relay_pass, NULL, relay_changed, p);
    bufferevent_setcb(p->out, relay_pass, NULL, relay_changed, p);
    assert_int_equal(bufferevent_enable(p->in, EV_READ | EV_WRITE), 0);
    assert_int_equal(bufferevent_enable(p->out, EV_READ | EV_WRITE), 0);
    assert_int_equal(bufferevent_socket_connect(p->out, (struct sockaddr *)&r->to, sizeof r->to),
                     0);
}

static inline struct sockaddr_in made_loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static inline void relay_open(struct relay *r, const struct side *to)
{
    struct sockaddr_in at = made_loopback(0);
    socklen_t size = sizeof at;

    memset(r, 0, sizeof *r);
    r->to = made_loopback(link_hub_port(to->hub));
    r->listener = evconnlistener_new_bind(made_base, relay_take, r,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16,
                                          (struct sockaddr *)&at, sizeof at);
    assert_non_null(r->listener);
    assert_int_equal(getsockname(evconnlistener_get_fd(r->listener), (struct sockaddr *)&at, &size),
                     0);
    (void)snprintf(r->address, sizeof r->address, "127.0.0.1:%u", ntohs(at.sin_port));
}

/* Passes on what was held back, too. */
static inline void relay_cut(struct relay *r, bool is_cut)
{
    r->is_cut = is_cut;
    for (unsigned i = 0; i < r->n && !is_cut; i++) {
        if (r->pair[i].in != NULL)
            relay_pass(r->pair[i].in, &r->pair[i]);
        if (r->pair[i].out != NULL)
            relay_pass(r->pair[i].out, &r->pair[i]);
    }
}

static inline void relay_done(struct relay *r)
{
    evconnlistener_free(r->listener);
    for (unsigned i = 0; i < r->n; i++)
        relay_close(&r->pair[i]);
}

/* --- fixtures -------------------------------------------------------------------------------- */

static inline int made_begin(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(60); /* a condition that never holds ends the test */
    made_base = event_base_new();
    return made_base == NULL ? -1 : 0;
}

static inline int made_end(void **state)
{
    (void)state;
    event_base_free(made_base);
    return 0;
}

#endif
