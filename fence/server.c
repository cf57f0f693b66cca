/* server.c - see server.h. */
#include "fence/server.h"

#include "base/log.h"
#include "fence/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PACKETS_AT_ONCE = 32 }; /* from one connection, before the deadlines are looked at again */

enum hm_rc server_open(struct server *s, const char *path, uid_t user, gid_t group,
                       struct hm_err *err)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    enum hm_rc rc = HM_OK;
    mode_t mask;
    int failed;

    for (size_t i = 0; i < SERVER_CONNS; i++)
        s->conn[i].fd = -1;
    s->user = user;
    if (strlen(path) >= sizeof at.sun_path)
        return hm_fail(err, HM_BAD_INPUT, "'%s' is too long for a socket", path);
    memcpy(at.sun_path, path, strlen(path) + 1);
    s->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listener < 0)
        return hm_fail_errno(err, "cannot make a socket");
    (void)unlink(path); /* of a helper that is gone: the lock says so */
    mask = umask(0117);
    failed = bind(s->listener, (struct sockaddr *)&at, sizeof at);
    (void)umask(mask);
    if (failed != 0 || listen(s->listener, SERVER_CONNS) != 0)
        rc = hm_fail_errno(err, "cannot listen at '%s'", path);
    else if (geteuid() == 0 && lchown(path, user, group) != 0)
        rc = hm_fail_errno(err, "cannot give '%s' to its user", path);
    if (rc != HM_OK) {
        (void)close(s->listener); /* nobody came in yet */
        s->listener = -1;
    }
    return rc;
}

static void drop(struct server_conn *c)
{
    (void)close(c->fd); /* what it did not read is told again */
    *c = (struct server_conn){ .fd = -1 };
}

void server_done(struct server *s)
{
    for (size_t i = 0; i < SERVER_CONNS; i++)
        if (s->conn[i].fd >= 0)
            drop(&s->conn[i]);
    if (s->listener >= 0)
        (void)close(s->listener); /* nobody is waited for */
    s->listener = -1;
}

static void send_report(struct server *s, struct server_conn *c, struct fence_report *r)
{
    r->version = FENCE_VERSION;
    r->has_lock = s->state.has_lock;
    r->has_priority = s->state.has_priority;
    r->has_watchdog = s->state.has_watchdog;
    if (send(c->fd, r, sizeof *r, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof *r)
        drop(c); /* gone, or it does not read: it comes again */
}

static void answer(struct server *s, struct server_conn *c, const struct fence_request *request,
                   const struct keeper *k, enum hm_rc rc, const char *why)
{
    struct fence_report r;

    memset(&r, 0, sizeof r);
    if (k != NULL)
        keeper_report(k, &r);
    else
        memcpy(r.service, request->service, sizeof r.service);
    r.seq = request->seq;
    r.rc = rc;
    if (rc != HM_OK)
        (void)snprintf(r.why, sizeof r.why, "%.*s", (int)sizeof r.why - 1, why);
    send_report(s, c, &r);
}

/* The newest who asks hears what comes by itself; the one before is a hamgrd that is gone, or that
 * should be. Root looks, and takes nobody's place. */
static void note_asker(struct server *s, struct server_conn *c, size_t service)
{
    if (c->hears[service])
        return;
    for (size_t i = 0; i < SERVER_CONNS; i++)
        if (&s->conn[i] != c && s->conn[i].fd >= 0 && s->conn[i].hears[service] &&
            s->conn[i].is_root == c->is_root)
            drop(&s->conn[i]);
    c->hears[service] = true;
}

static enum hm_rc carry_out(struct keeper *k, const struct fence_request *r, struct hm_err *err)
{
    switch (r->verb) {
    case FENCE_VERB_STATUS:
        return suspend_look(&k->procs, err);
    case FENCE_VERB_MODE:
        return keeper_mode(k, r, err);
    case FENCE_VERB_THAW:
        return keeper_thaw(k, err);
    case FENCE_VERB_KILL:
        keeper_kill(k);
        return HM_OK;
    case FENCE_VERB_START:
        if (k->service->control != CONTROL_SYSTEMD)
            return hm_fail(err, HM_REFUSED, "'%s' is not started by systemd", k->service->name);
        return unit_start(k->service->unit, err);
    case FENCE_VERB_DISTRUST:
        return keeper_destroy(k, r->peer, err);
    case FENCE_VERB_PEERS: /* of all services: take_packet() */
    case FENCE_VERB_HELLO:
        return HM_OK;
    case FENCE_VERBS_N:
        break;
    }
    return hm_fail(err, HM_BAD_INPUT, "unknown verb");
}

/* The file is how a cluster begins; who its members are now hamgrd knows. */
static enum hm_rc take_peers(struct server *s, const struct fence_request *r, struct hm_err *err)
{
    struct gate_peers peers = { 0 };

    if (s->keepers[0].tools->gate.fd < 0)
        return HM_OK; /* nothing that they could pass */
    for (size_t i = 0; i < HM_MEMBERS_MAX; i++)
        if (r->peers[i][0] != '\0' && !gate_add_peer(&peers, r->peers[i]))
            log_warn("gate member=%s: no literal address: it passes as a client only", r->peers[i]);
    return keepers_gate(s->keepers, s->keepers_n, &peers, err);
}

static void take_packet(struct server *s, struct server_conn *c, const void *packet, size_t size)
{
    struct fence_request r;
    struct hm_err err = { "" };
    struct keeper *k = NULL;
    const char *why;
    enum hm_rc rc;

    if (fence_request_check(packet, size, &r, &why) != HM_OK) {
        log_warn("wrong packet size=%zu: %s", size, why);
        drop(c);
        return;
    }
    for (size_t i = 0; i < s->keepers_n && k == NULL; i++) {
        if (strcmp(s->keepers[i].service->name, r.service) == 0) {
            k = &s->keepers[i];
            note_asker(s, c, i);
        }
    }
    if (k == NULL)
        rc = hm_fail(&err, HM_BAD_INPUT, "there is no service '%s'", r.service);
    else
        rc = r.verb == FENCE_VERB_PEERS ? take_peers(s, &r, &err) : carry_out(k, &r, &err);
    answer(s, c, &r, k, rc, err.text);
}

static void take_packets(struct server *s, struct server_conn *c)
{
    struct fence_request packet; /* one byte more shows what is too long */
    unsigned char bytes[sizeof packet + 1];

    for (int i = 0; i < PACKETS_AT_ONCE && c->fd >= 0; i++) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0)
            drop(c);
        else
            take_packet(s, c, bytes, (size_t)n);
    }
}

static void tell(struct server *s, struct server_conn *c, const struct keeper *k)
{
    struct fence_report r;

    memset(&r, 0, sizeof r);
    keeper_report(k, &r);
    send_report(s, c, &r);
}

/* Whoever comes hears how things stand: what happened while nobody was there. */
static bool take_caller(struct server *s)
{
    struct server_conn *c = NULL;
    struct ucred who;
    socklen_t size = sizeof who;
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 ||
        (who.uid != 0 && who.uid != s->user)) {
        log_warn("stranger refused uid=%lld", size == sizeof who ? (long long)who.uid : -1LL);
        (void)close(fd); /* nothing was said */
        return false;
    }
    for (size_t i = 0; i < SERVER_CONNS && c == NULL; i++)
        if (s->conn[i].fd < 0)
            c = &s->conn[i];
    if (c == NULL) { /* one that never said anything gives way */
        c = &s->conn[0];
        drop(c);
    }
    *c = (struct server_conn){ .fd = fd, .is_root = who.uid == 0 && s->user != 0 };
    for (size_t i = 0; i < s->keepers_n && c->fd >= 0; i++)
        tell(s, c, &s->keepers[i]);
    return true;
}

size_t server_poll(const struct server *s, struct pollfd *ret)
{
    size_t n = 0;

    ret[n++] = (struct pollfd){ .fd = s->listener, .events = POLLIN };
    for (size_t i = 0; i < SERVER_CONNS; i++)
        if (s->conn[i].fd >= 0)
            ret[n++] = (struct pollfd){ .fd = s->conn[i].fd, .events = POLLIN };
    return n;
}

bool server_take(struct server *s, const struct pollfd *polled, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; polled[i].revents != 0 && j < SERVER_CONNS; j++)
            if (s->conn[j].fd == polled[i].fd)
                take_packets(s, &s->conn[j]);
    return n > 0 && polled[0].revents != 0 && take_caller(s);
}

void server_tell(struct server *s)
{
    for (size_t i = 0; i < s->keepers_n; i++) {
        if (!s->keepers[i].is_news)
            continue;
        s->keepers[i].is_news = false;
        for (size_t j = 0; j < SERVER_CONNS; j++)
            if (s->conn[j].fd >= 0 && s->conn[j].hears[i])
                tell(s, &s->conn[j], &s->keepers[i]);
    }
}
