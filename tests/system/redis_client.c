/* redis_client.c - client.c's counterpart for Redis: adds numbers to a set, and notes when each was
 * acknowledged, by whom.
 *
 *     probe-redis --log FILE --id N [--interval-ms 10] [--patience-ms 200] [--only] [--wait K]
 *                 [--port 6379] NAME=ADDRESS...
 *
 * One number is on its way at a time: SADD hamgr_probe:ID NUMBER; no number is used twice. With
 * --wait each is followed by WAIT K, on the same connection. Without an answer for --patience-ms
 * (0: for ever) the connection is given up, and the client races over all hosts for one whose ROLE
 * is master. With --only it never asks for the role and never looks elsewhere.
 *
 * The log, one line each, times in us of CLOCK_MONOTONIC:
 *     ack TIME HOST NUMBER         the server answered the SADD
 *     confirmed TIME HOST NUMBER   ... and WAIT said that at least K others have it
 *     open TIME HOST               connected, and a master as far as was asked
 *     trouble TIME HOST TEXT       a connection was given up or a write was refused
 * Ends on SIGTERM or SIGINT. Exit codes: 0, or 2 for a wrong command line. */
#include "tests/system/measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HOSTS_MAX = 8,
    ATTEMPTS_MAX = 8,         /* at the same time, for each host */
    ATTEMPT_EVERY_US = 25000, /* the next attempt while the one before is not answered */
    AGAIN_AFTER_US = 2000,    /* ... and after an answer that did not help */
    ATTEMPT_LIMIT_US = 200000,
    WAIT_MS = 100,      /* how long WAIT waits, with a patience */
    WAIT_LONG_MS = 500, /* ... and without one */
    POLLS_MAX = HOSTS_MAX * ATTEMPTS_MAX,
};

/* A connection; fd -1: none. */
struct link {
    int fd;
    redisReader *reader; /* owned */
};

/* One connection on its way to become the one that is used. */
struct attempt {
    struct link link;
    bool is_asking; /* connected, and asked for its role */
    int64_t deadline_us;
};

struct host {
    char name[MEASURE_NAME_SIZE];
    struct sockaddr_in address;
    int64_t next_us; /* of the next attempt */
    struct attempt attempt[ATTEMPTS_MAX];
};

struct client {
    struct measure m;
    int hosts_n;
    struct host host[HOSTS_MAX];

    struct link link; /* the one that is used, or none: racing */
    struct host *at;
    int waiting_n;  /* answers that are to come */
    int64_t number; /* of the newest write */
    int64_t sent_us;
    int64_t due_us; /* of the next one */
    bool was_taken; /* the newest write */
};

/* --- connections ----------------------------------------------------------------------------- */

static void link_close(struct link *l)
{
    if (l->fd >= 0)
        (void)close(l->fd); /* whatever was not sent is not acknowledged */
    if (l->reader)
        redisReaderFree(l->reader);
    *l = (struct link){ .fd = -1 };
}

static void link_open(struct link *l, const struct sockaddr_in *to)
{
    static const int on = 1;

    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    l->reader = redisReaderCreate();
    if (l->fd < 0 || !l->reader ||
        (connect(l->fd, (const void *)to, sizeof *to) != 0 && errno != EINPROGRESS)) {
        link_close(l);
        return;
    }
    (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* slower, if not */
}

/* Commands are short: a socket that does not take one at once is broken. */
static bool link_send(struct link *l, const char *text)
{
    return send(l->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

/* Takes what has come. False, and why: the connection is over. */
static bool link_hear(struct link *l, const char **ret_why)
{
    char bytes[4096];
    ssize_t n = recv(l->fd, bytes, sizeof bytes, 0);

    *ret_why = n == 0 ? "the server closed the connection" : strerror(errno);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    return n > 0 && redisReaderFeed(l->reader, bytes, (size_t)n) == REDIS_OK;
}

static redisReply *link_reply(struct link *l)
{
    void *reply = NULL;

    return redisReaderGetReply(l->reader, &reply) == REDIS_OK ? reply : NULL;
}

static void attempt_drop(struct attempt *a)
{
    link_close(&a->link);
    a->is_asking = false;
}

static void drop_attempts(struct client *c)
{
    for (int i = 0; i < c->hosts_n; i++)
        for (int k = 0; k < ATTEMPTS_MAX; k++)
            attempt_drop(&c->host[i].attempt[k]);
}

/* --- the race -------------------------------------------------------------------------------- */

/* Gives up the connection that is used; the race begins at once. */
static void leave(struct client *c, const char *why)
{
    measure_trouble(&c->m, c->at->name, why);
    link_close(&c->link);
    c->waiting_n = 0;
    for (int i = 0; i < c->hosts_n; i++)
        c->host[i].next_us = 0;
}

/* The attempt won: its connection is used from now on, all others are given up. */
static void settle(struct client *c, struct host *h, struct attempt *a)
{
    c->link = a->link;
    c->at = h;
    *a = (struct attempt){ .link.fd = -1 };
    drop_attempts(c);
    c->waiting_n = 0;
    c->due_us = measure_now_us();
    measure_open(&c->m, h->name);
}

static void attempt_start(struct host *h, int64_t now)
{
    for (int k = 0; k < ATTEMPTS_MAX; k++) {
        struct attempt *a = &h->attempt[k];

        if (a->link.fd >= 0)
            continue;
        link_open(&a->link, &h->address);
        a->is_asking = false;
        a->deadline_us = now + ATTEMPT_LIMIT_US;
        h->next_us = now + ATTEMPT_EVERY_US;
        return;
    }
}

/* What did not help is tried again soon, but not at once: a busy server must not drown. */
static void attempt_failed(struct host *h, struct attempt *a)
{
    attempt_drop(a);
    h->next_us = measure_now_us() + AGAIN_AFTER_US;
}

static bool is_master(const redisReply *r)
{
    return r->type == REDIS_REPLY_ARRAY && r->elements > 0 &&
           r->element[0]->type == REDIS_REPLY_STRING && strcmp(r->element[0]->str, "master") == 0;
}

static void attempt_go_on(struct client *c, struct host *h, struct attempt *a)
{
    const char *why;
    redisReply *r;
    bool is_good;

    if (!a->is_asking) {
        int error = 0;
        socklen_t size = sizeof error;

        if (getsockopt(a->link.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
            attempt_failed(h, a);
        else if (c->m.is_pinned)
            settle(c, h, a);
        else if (link_send(&a->link, "ROLE\r\n"))
            a->is_asking = true;
        else
            attempt_failed(h, a);
        return;
    }
    if (!link_hear(&a->link, &why)) {
        attempt_failed(h, a);
        return;
    }
    r = link_reply(&a->link);
    if (!r)
        return;
    is_good = is_master(r);
    freeReplyObject(r);
    if (is_good)
        settle(c, h, a);
    else
        attempt_failed(h, a);
}

/* --- the writes ------------------------------------------------------------------------------ */

static void send_next(struct client *c, int64_t now)
{
    char text[160];
    int n;

    c->number++;
    n = snprintf(text, sizeof text, "SADD hamgr_probe:%d %" PRId64 "\r\n", c->m.id, c->number);
    if (c->m.wait > 0) /* both always fit */
        (void)snprintf(text + n, sizeof text - (size_t)n, "WAIT %d %d\r\n", c->m.wait,
                       c->m.patience_us > 0 ? WAIT_MS : WAIT_LONG_MS);
    c->sent_us = now;
    c->due_us = now + c->m.interval_us;
    c->waiting_n = c->m.wait > 0 ? 2 : 1;
    c->was_taken = false;
    if (!link_send(&c->link, text))
        leave(c, "cannot send");
}

/* A primary that waits for its replicas may take the next one; others sends us elsewhere. */
static bool is_reason_to_leave(const char *error)
{
    return strncmp(error, "NOREPLICAS", 10) != 0;
}

/* False: the connection was given up. */
static bool take_reply(struct client *c, const redisReply *r)
{
    bool is_write = c->waiting_n == (c->m.wait > 0 ? 2 : 1);

    if (c->waiting_n == 0)
        return true; /* nobody asked */
    c->waiting_n--;
    if (r->type == REDIS_REPLY_ERROR) {
        if (!c->m.is_pinned && is_reason_to_leave(r->str)) {
            leave(c, r->str);
            return false;
        }
        measure_trouble(&c->m, c->at->name, r->str);
    } else if (is_write) {
        c->was_taken = true;
        measure_ack(&c->m, c->at->name, c->number);
        c->sent_us =
            measure_now_us() + WAIT_MS * 1000; /* WAIT may last, and its time-out is coarse */
    } else if (c->was_taken && r->type == REDIS_REPLY_INTEGER && r->integer >= c->m.wait) {
        measure_note(&c->m, "confirmed", c->at->name, c->number);
    }
    return true;
}

static void hear(struct client *c)
{
    const char *why;
    redisReply *r;
    bool goes_on = true;

    if (!link_hear(&c->link, &why)) {
        leave(c, why);
        return;
    }
    while (goes_on && (r = link_reply(&c->link)) != NULL) {
        goes_on = take_reply(c, r);
        freeReplyObject(r);
    }
}

/* --- the loop -------------------------------------------------------------------------------- */

/* Starts what is due and gives up what takes too long; returns when it wants to be called again. */
static int64_t turn_race(struct client *c, int64_t now)
{
    int64_t next = now + ATTEMPT_EVERY_US;

    for (int i = 0; i < c->hosts_n; i++) {
        struct host *h = &c->host[i];

        for (int k = 0; k < ATTEMPTS_MAX; k++) {
            struct attempt *a = &h->attempt[k];

            if (a->link.fd >= 0 && a->deadline_us <= now)
                attempt_drop(a);
            if (a->link.fd >= 0 && a->deadline_us < next)
                next = a->deadline_us;
        }
        if (h->next_us <= now)
            attempt_start(h, now);
        if (h->next_us < next)
            next = h->next_us;
    }
    return next;
}

static int64_t turn_used(struct client *c, int64_t now)
{
    if (c->waiting_n == 0 && c->due_us <= now)
        send_next(c, now);
    if (c->link.fd < 0)
        return now;
    if (c->waiting_n == 0)
        return c->due_us;
    if (c->m.patience_us == 0)
        return now + 1000000;
    if (c->sent_us + c->m.patience_us <= now) {
        leave(c, "no answer in time");
        return now;
    }
    return c->sent_us + c->m.patience_us;
}

/* Whose descriptor poll() spoke of; the attempt is NULL for the used one. */
struct ready {
    struct host *host;
    struct attempt *attempt;
    int fd;
};

static nfds_t gather(struct client *c, struct pollfd *fds, struct ready *who)
{
    nfds_t n = 0;

    if (c->link.fd >= 0) {
        fds[0] = (struct pollfd){ .fd = c->link.fd, .events = POLLIN };
        who[0] = (struct ready){ .host = c->at, .fd = c->link.fd };
        return 1;
    }
    for (int i = 0; i < c->hosts_n; i++)
        for (int k = 0; k < ATTEMPTS_MAX; k++) {
            struct attempt *a = &c->host[i].attempt[k];

            if (a->link.fd < 0)
                continue;
            fds[n] = (struct pollfd){ .fd = a->link.fd, .events = a->is_asking ? POLLIN : POLLOUT };
            who[n++] = (struct ready){ &c->host[i], a, a->link.fd };
        }
    return n;
}

static void run(struct client *c)
{
    struct pollfd fds[POLLS_MAX];
    struct ready who[POLLS_MAX];

    while (!measure_is_over()) {
        int64_t now = measure_now_us();
        int64_t next = c->link.fd >= 0 ? turn_used(c, now) : turn_race(c, now);
        nfds_t n = gather(c, fds, who);

        if (measure_wait(fds, n, now, next) <= 0)
            continue;
        for (nfds_t i = 0; i < n; i++) {
            if (fds[i].revents == 0)
                continue;
            if (!who[i].attempt) {
                if (c->link.fd == who[i].fd)
                    hear(c);
            } else if (who[i].attempt->link.fd == who[i].fd) {
                attempt_go_on(c, who[i].host, who[i].attempt);
            }
        }
    }
}

/* --- the command line ------------------------------------------------------------------------ */

static bool add_host(struct client *c, const char *arg)
{
    struct host *h = &c->host[c->hosts_n];
    const char *address;

    if (c->hosts_n == HOSTS_MAX || !measure_split(arg, h->name, &address))
        return false;
    h->address.sin_family = AF_INET;
    h->address.sin_port = htons(c->m.port);
    for (int k = 0; k < ATTEMPTS_MAX; k++)
        h->attempt[k].link.fd = -1;
    c->hosts_n++;
    return inet_pton(AF_INET, address, &h->address.sin_addr) == 1;
}

int main(int argc, char **argv)
{
    static struct client c = { .m = { .interval_us = 10000, .patience_us = 200000, .port = 6379 },
                               .link.fd = -1 };
    int at = measure_options(&c.m, argc, argv, true);

    if (at < 0)
        return 2;
    for (; at < argc; at++)
        if (!add_host(&c, argv[at])) {
            fprintf(stderr, "'%s' is no NAME=ADDRESS, or one too many\n", argv[at]);
            return 2;
        }
    measure_catch_signals();
    run(&c);
    measure_report(&c.m);
    drop_attempts(&c);
    link_close(&c.link);
    return 0;
}
