/* sockets.c - see sockets.h. */
#include "fence/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TRIES = 3,
    BATCH = 128, /* sockets that are destroyed in between two dumps; more take another round */
    /* Those that may hold what was written, or still take what is written. */
    STATES = 1 << TCP_ESTABLISHED | 1 << TCP_SYN_SENT | 1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 |
             1 << TCP_CLOSE_WAIT | 1 << TCP_LAST_ACK | 1 << TCP_CLOSING | 1 << TCP_CLOSE,
};

/* Which sockets are meant. */
struct choice {
    uint16_t port;
    bool is_peer; /* the port is the other end's, at one of these addresses */
    unsigned char v4[4];
    unsigned char v6[16];
    bool is_v4;
};

struct found {
    size_t n;
    size_t more; /* beyond what fits */
    uint8_t family[BATCH];
    struct inet_diag_sockid id[BATCH];
};

static struct found the_found; /* too large for a stack; one thread */

enum hm_rc sockets_open(struct sockets *s, struct hm_err *err)
{
    s->fd = -1;
    return netlink_open(NETLINK_SOCK_DIAG, &s->fd, err);
}

void sockets_done(struct sockets *s)
{
    if (s->fd >= 0)
        (void)close(s->fd); /* every answer was read */
    s->fd = -1;
}

static bool is_meant(const struct choice *c, const struct inet_diag_msg *m)
{
    static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
    const unsigned char *to = (const unsigned char *)m->id.idiag_dst;

    if (!c->is_peer)
        return m->id.idiag_sport == htons(c->port);
    if (m->id.idiag_dport != htons(c->port))
        return false;
    if (m->idiag_family == AF_INET)
        return c->is_v4 && memcmp(to, c->v4, sizeof c->v4) == 0;
    if (c->is_v4)
        return memcmp(to, mapped, sizeof mapped) == 0 &&
               memcmp(to + sizeof mapped, c->v4, sizeof c->v4) == 0;
    return memcmp(to, c->v6, sizeof c->v6) == 0;
}

static void note(const struct choice *c, const struct nlmsghdr *m, struct found *ret)
{
    const struct inet_diag_msg *d = NLMSG_DATA(m);

    if (m->nlmsg_type != SOCK_DIAG_BY_FAMILY || m->nlmsg_len < NLMSG_LENGTH(sizeof *d) ||
        !is_meant(c, d))
        return;
    if (ret->n == BATCH) {
        ret->more++;
        return;
    }
    ret->family[ret->n] = d->idiag_family;
    ret->id[ret->n] = d->id;
    ret->n++;
}

/* Reads a dump to its end; 0 or an errno. */
static int read_dump(int fd, const struct choice *c, struct found *ret)
{
    _Alignas(8) unsigned char answer[16384];

    for (;;) {
        ssize_t got = recv(fd, answer, sizeof answer, 0);
        size_t n = (size_t)got;
        const struct nlmsghdr *m = (const void *)answer;

        if (got < 0)
            return errno;
        for (; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
            const struct nlmsgerr *e = NLMSG_DATA(m);

            if (m->nlmsg_type == NLMSG_DONE)
                return 0;
            if (m->nlmsg_type == NLMSG_ERROR)
                return -e->error;
            note(c, m, ret);
        }
    }
}

/* The kernel chooses by the port already, in a small program of its own: at least and at most. */
static void put_filter(struct netlink *b, const struct choice *c)
{
    unsigned char least = c->is_peer ? INET_DIAG_BC_D_GE : INET_DIAG_BC_S_GE;
    unsigned char most = c->is_peer ? INET_DIAG_BC_D_LE : INET_DIAG_BC_S_LE;
    const struct inet_diag_bc_op program[] = {
        { .code = least, .yes = 8, .no = 20 },
        { .no = c->port },
        { .code = most, .yes = 8, .no = 12 },
        { .no = c->port },
    };

    netlink_put(b, INET_DIAG_REQ_BYTECODE, program, sizeof program);
}

static int dump(struct sockets *s, const struct choice *c, uint8_t family, struct found *ret)
{
    struct inet_diag_req_v2 fixed = { .sdiag_family = family,
                                      .sdiag_protocol = IPPROTO_TCP,
                                      .idiag_states = STATES };

    netlink_clear(&s->buffer);
    netlink_begin(&s->buffer, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &fixed, sizeof fixed);
    put_filter(&s->buffer, c);
    netlink_end(&s->buffer);
    if (send(s->fd, s->buffer.bytes, s->buffer.n, 0) < 0)
        return errno;
    return read_dump(s->fd, c, ret);
}

static int find(struct sockets *s, const struct choice *c, struct found *ret)
{
    int result;

    ret->n = ret->more = 0;
    result = dump(s, c, AF_INET, ret);
    return result != 0 ? result : dump(s, c, AF_INET6, ret);
}

/* 0, also when the socket has ended by itself; or an errno. */
static int destroy(struct sockets *s, uint8_t family, const struct inet_diag_sockid *id)
{
    struct inet_diag_req_v2 fixed = {
        .sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = STATES, .id = *id
    };
    int result;

    netlink_clear(&s->buffer);
    netlink_begin(&s->buffer, SOCK_DESTROY, NLM_F_ACK, &fixed, sizeof fixed);
    netlink_end(&s->buffer);
    result = netlink_talk(s->fd, &s->buffer, s->buffer.seq);
    return result == ENOENT || result == ESTALE ? 0 : result;
}

static enum hm_rc destroy_all(struct sockets *s, const struct choice *c, struct hm_err *err)
{
    struct found *f = &the_found;
    int result = 0;
    unsigned int left = TRIES;

    if (s->fd < 0)
        return hm_fail(err, HM_FAILED, "sockets cannot be destroyed here");
    for (;;) {
        int failed = find(s, c, f);

        if (failed != 0) {
            errno = failed;
            return hm_fail_errno(err, "cannot list the sockets of port %u", c->port);
        }
        if (f->n == 0)
            return HM_OK;
        if (left == 0)
            break;
        for (size_t i = 0; i < f->n; i++) {
            failed = destroy(s, f->family[i], &f->id[i]);
            if (failed != 0)
                result = failed;
        }
        if (f->more == 0)
            left--; /* else there is progress, and only the rest is looked for */
        else if (result != 0)
            break;
    }
    if (result == 0)
        return hm_fail(err, HM_FAILED, "%zu sockets of port %u are still there", f->n, c->port);
    errno = result;
    return hm_fail_errno(err, "cannot destroy %zu sockets of port %u", f->n, c->port);
}

enum hm_rc sockets_destroy(struct sockets *s, uint16_t port, struct hm_err *err)
{
    struct choice c = { .port = port };

    return destroy_all(s, &c, err);
}

enum hm_rc sockets_destroy_to(struct sockets *s, const char *peer, uint16_t port,
                              struct hm_err *err)
{
    struct choice c = { .port = port, .is_peer = true };

    c.is_v4 = inet_pton(AF_INET, peer, c.v4) == 1;
    if (!c.is_v4 && inet_pton(AF_INET6, peer, c.v6) != 1)
        return hm_fail(err, HM_BAD_INPUT, "'%.60s' is no literal address", peer);
    return destroy_all(s, &c, err);
}
