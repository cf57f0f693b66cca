#include "redis/rconn.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { WHY_MAX = 256, READ_BYTES = 16384 };

enum rconn_state { RCONN_CLOSED, RCONN_CONNECTING, RCONN_GREETING, RCONN_UP };

struct question {
    struct question *next;
    hm_ms deadline_ms;
    rconn_answered *then;
    void *ctx;
    enum rconn_outcome outcome; /* of one that ended without an answer */
};

struct rconn {
    struct rconn_config config; /* its texts are not kept here */
    char *user, *password;      /* owned; NULL: none */
    struct sockaddr_storage address;
    socklen_t address_size;
    enum rconn_state state;
    int fd;                  /* owned; -1 when closed */
    uint64_t life;           /* of the connection: counts how often it was closed */
    redisReader *reader;     /* owned; NULL when closed */
    struct evbuffer *out;    /* owned; what the kernel has not taken yet */
    struct event *readable;  /* owned; NULL when closed */
    struct event *writeable; /* owned; NULL when closed */
    struct event *timer;     /* owned: deadline of opening, earliest deadline of a question */
    struct event *soon;      /* owned: tells what ended, from the loop and not from within a call */
    hm_ms until_ms;          /* deadline of opening */
    struct question *first, **end; /* owned; sent, in the order of the answers */
    struct question *over;         /* owned; ended without an answer, not told yet */
    bool is_nobody_there;
    bool is_down_due; /* on_down is to be told */
    bool is_freed;    /* freed when the last of our own callbacks has returned */
    unsigned depth;   /* of our own callbacks */
    char why[WHY_MAX];
};

/* --- texts ----------------------------------------------------------------------------------- */

/* One line; what a server sends may hold anything. */
static void take_why(struct rconn *c, const char *text)
{
    size_t n = 0;

    for (; *text != 0 && n + 1 < sizeof c->why; text++)
        c->why[n++] = (unsigned char)*text < ' ' ? ' ' : *text;
    c->why[n] = 0;
}

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* --- events ---------------------------------------------------------------------------------- */

static void arm(struct rconn *c)
{
    hm_ms earliest_ms = c->state == RCONN_UP ? HM_NEVER : c->until_ms;
    struct timeval tv;

    for (const struct question *q = c->first; q != NULL; q = q->next)
        earliest_ms = hm_min_ms(earliest_ms, q->deadline_ms);
    if (earliest_ms == HM_NEVER) {
        (void)evtimer_del(c->timer);
        return;
    }
    tv = clock_timeval(earliest_ms - clock_boot_ms());
    (void)evtimer_add(c->timer, &tv); /* fails only without memory; then a deadline is missed */
}

static void free_list(struct question *q)
{
    while (q != NULL) {
        struct question *next = q->next;

        free(q);
        q = next;
    }
}

static void free_event(struct event **event)
{
    if (*event != NULL)
        event_free(*event);
    *event = NULL;
}

/* Leaves nothing of the connection; the questions go to `over`, to be told from the loop. */
static void close_connection(struct rconn *c)
{
    hm_ms now_ms = clock_boot_ms();
    struct question **last = &c->over;

    free_event(&c->readable);
    free_event(&c->writeable);
    if (c->reader != NULL)
        redisReaderFree(c->reader);
    c->reader = NULL;
    if (c->fd >= 0)
        (void)close(c->fd); /* what was not sent is lost with it, and told so */
    c->fd = -1;
    c->state = RCONN_CLOSED;
    c->life++;
    (void)evbuffer_drain(c->out, evbuffer_get_length(c->out));
    (void)evtimer_del(c->timer);
    for (struct question *q = c->first; q != NULL; q = q->next)
        q->outcome = q->deadline_ms <= now_ms ? RCONN_LATE : RCONN_LOST;
    while (*last != NULL)
        last = &(*last)->next;
    *last = c->first;
    c->first = NULL;
    c->end = &c->first;
    event_active(c->soon, EV_TIMEOUT, 0);
}

static void drop(struct rconn *c, const char *why)
{
    take_why(c, why);
    close_connection(c);
    c->is_down_due = true;
}

/* --- writing --------------------------------------------------------------------------------- */

static void read_answers(struct rconn *c);

static void flush(struct rconn *c)
{
    int error = 0;

    while (error == 0 && evbuffer_get_length(c->out) > 0) {
        size_t size = evbuffer_get_length(c->out);
        const void *bytes = evbuffer_pullup(c->out, -1);
        ssize_t n = bytes == NULL ? 0 : send(c->fd, bytes, size, MSG_NOSIGNAL);

        if (n > 0)
            (void)evbuffer_drain(c->out, (size_t)n);
        else
            error = n == 0 ? ENOMEM : errno;
    }
    if (error == EAGAIN || error == EINTR) {
        (void)event_add(c->writeable, NULL); /* without it the deadline ends the connection */
    } else if (error != 0) {
        read_answers(c); /* whoever closes it may have said why */
        if (!c->is_freed && c->fd >= 0)
            drop(c, strerror(error));
    }
}

static bool put(struct rconn *c, size_t n, const char *const *words, hm_ms deadline_ms,
                rconn_answered *then, void *ctx)
{
    struct question *q = calloc(1, sizeof *q);
    char *command = NULL;
    /* It takes words that it could change, and does not. */
    long long size = redisFormatCommandArgv(&command, (int)n, (const char **)words, NULL);
    bool is_put = q != NULL && size > 0 && evbuffer_add(c->out, command, (size_t)size) == 0;

    if (size > 0)
        redisFreeCommand(command);
    if (!is_put) {
        free(q);
        return false;
    }
    q->deadline_ms = deadline_ms;
    q->then = then;
    q->ctx = ctx;
    *c->end = q;
    c->end = &q->next;
    arm(c);
    (void)event_add(c->writeable, NULL); /* several commands leave at once, from the loop */
    return true;
}

/* --- opening --------------------------------------------------------------------------------- */

static void is_up(struct rconn *c)
{
    c->state = RCONN_UP;
    c->why[0] = 0;
    arm(c);
    if (c->config.on_up != NULL)
        c->config.on_up(c->config.ctx);
}

/* Refused for a reason that concerns only this command: the rest may work, and says so if not. */
static bool is_name_unimportant(const char *why)
{
    return begins_with(why, "NOPERM") || begins_with(why, "BUSY") ||
           begins_with(why, "ERR unknown command");
}

static void on_named(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                     const char *why)
{
    struct rconn *c = ctx;

    (void)reply;
    if (outcome == RCONN_LOST || outcome == RCONN_LATE)
        return; /* on_down comes */
    if (outcome == RCONN_REFUSED && !is_name_unimportant(why))
        drop(c, why);
    else
        is_up(c);
}

static void on_authenticated(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                             const char *why)
{
    (void)reply;
    if (outcome == RCONN_REFUSED)
        drop(ctx, why);
}

/* Also without a password: a server that has no room for more clients takes the connection, says so
 * and closes it. */
static void greet(struct rconn *c)
{
    const char *name[] = { "CLIENT", "SETNAME", "hamgr" };
    const char *auth[] = { "AUTH", c->user, c->password != NULL ? c->password : "" };
    bool is_asked = true;

    c->state = RCONN_GREETING;
    (void)event_add(c->readable, NULL); /* without it the deadline ends the connection */
    if (c->user != NULL) {
        is_asked = put(c, 3, auth, c->until_ms, on_authenticated, c);
    } else if (c->password != NULL) {
        auth[1] = c->password;
        is_asked = put(c, 2, auth, c->until_ms, on_authenticated, c);
    }
    if (!is_asked || !put(c, 3, name, c->until_ms, on_named, c))
        drop(c, "no memory to ask");
}

static void connect_failed(struct rconn *c, int error)
{
    c->is_nobody_there = error == ECONNREFUSED || error == ENOENT;
    drop(c, error == EAGAIN ? "it takes no connection" : strerror(error));
}

static void connected(struct rconn *c)
{
    socklen_t size = sizeof(int);
    int error = 0;

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error != 0)
        connect_failed(c, error);
    else
        greet(c);
}

static void on_io(evutil_socket_t fd, short what, void *arg);

static void begin_opening(struct rconn *c)
{
    const int one = 1;

    c->is_nobody_there = false;
    c->fd = socket(c->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        drop(c, strerror(errno));
        return;
    }
    if (c->address.ss_family != AF_UNIX) /* without it answers come later, that is all */
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->reader = redisReaderCreate();
    c->readable = event_new(c->config.base, c->fd, EV_READ | EV_PERSIST, on_io, c);
    c->writeable = event_new(c->config.base, c->fd, EV_WRITE, on_io, c);
    if (c->reader == NULL || c->readable == NULL || c->writeable == NULL) {
        drop(c, "no memory for a connection");
        return;
    }
    if (connect(c->fd, (struct sockaddr *)&c->address, c->address_size) != 0 &&
        errno != EINPROGRESS) {
        connect_failed(c, errno);
        return;
    }
    c->state = RCONN_CONNECTING;
    c->until_ms = clock_boot_ms() + c->config.connect_ms;
    arm(c);
    (void)event_add(c->writeable, NULL); /* without it the deadline ends the connection */
}

/* --- answers --------------------------------------------------------------------------------- */

static void answer_first(struct rconn *c, redisReply *reply)
{
    struct question *q = c->first;
    bool is_refused = reply->type == REDIS_REPLY_ERROR;
    char why[WHY_MAX] = "";

    if (is_refused) {
        take_why(c, reply->str);
        memcpy(why, c->why, sizeof why);
    }
    if (q == NULL) { /* nobody asked: it says why it is about to close the connection */
        drop(c, is_refused ? why : "an answer that nobody asked for");
        freeReplyObject(reply);
        return;
    }
    c->first = q->next;
    if (c->first == NULL)
        c->end = &c->first;
    arm(c);
    q->then(q->ctx, is_refused ? RCONN_REFUSED : RCONN_ANSWERED, reply, why);
    freeReplyObject(reply);
    free(q);
}

/* Tells all answers that have come wholly. */
static void tell_answers(struct rconn *c)
{
    uint64_t life = c->life;

    while (!c->is_freed && c->life == life) {
        void *reply = NULL;

        if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
            drop(c, c->reader->errstr);
            return;
        }
        if (reply == NULL)
            return;
        answer_first(c, reply);
    }
}

static void read_answers(struct rconn *c)
{
    uint64_t life = c->life;
    char bytes[READ_BYTES];

    while (!c->is_freed && c->life == life) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            drop(c, n < 0 ? strerror(errno) : "the server closed the connection");
            return;
        }
        if (redisReaderFeed(c->reader, bytes, (size_t)n) != REDIS_OK) {
            drop(c, "no memory for an answer");
            return;
        }
        tell_answers(c);
        if (n < (ssize_t)sizeof bytes)
            return;
    }
}

/* --- callbacks of the loop ------------------------------------------------------------------- */

static void forget_password(struct rconn *c)
{
    if (c->password != NULL)
        explicit_bzero(c->password, strlen(c->password));
    free(c->password);
    c->password = NULL;
}

static void really_free(struct rconn *c)
{
    free_event(&c->readable);
    free_event(&c->writeable);
    free_event(&c->timer);
    free_event(&c->soon);
    if (c->reader != NULL)
        redisReaderFree(c->reader);
    if (c->out != NULL)
        evbuffer_free(c->out);
    if (c->fd >= 0)
        (void)close(c->fd); /* nobody waits for what was not sent */
    free_list(c->first);
    free_list(c->over);
    free(c->user);
    forget_password(c);
    free(c);
}

static void leave(struct rconn *c)
{
    c->depth--;
    if (c->is_freed && c->depth == 0)
        really_free(c);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct rconn *c = arg;

    (void)fd;
    c->depth++;
    if (c->state == RCONN_CONNECTING)
        connected(c);
    else if ((what & EV_READ) != 0)
        read_answers(c);
    if (!c->is_freed && c->fd >= 0 && c->state != RCONN_CONNECTING)
        flush(c);
    leave(c);
}

static void end_what_is_late(struct rconn *c)
{
    hm_ms now_ms = clock_boot_ms();

    if (c->state != RCONN_UP && c->until_ms <= now_ms) {
        drop(c, "the server did not take the connection in time");
        return;
    }
    for (const struct question *q = c->first; q != NULL; q = q->next)
        if (q->deadline_ms <= now_ms) {
            drop(c, "no answer in time");
            return;
        }
    arm(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct rconn *c = arg;

    (void)fd;
    (void)what;
    c->depth++;
    if (c->state == RCONN_GREETING || c->state == RCONN_UP)
        read_answers(c); /* after a stall of the loop the answer may be there */
    if (!c->is_freed && c->state != RCONN_CLOSED)
        end_what_is_late(c);
    leave(c);
}

static void on_soon(evutil_socket_t fd, short what, void *arg)
{
    struct rconn *c = arg;
    struct question *over = c->over;
    char why[WHY_MAX];

    (void)fd;
    (void)what;
    memcpy(why, c->why, sizeof why);
    c->over = NULL;
    c->depth++;
    while (over != NULL) {
        struct question *q = over;

        over = q->next;
        if (!c->is_freed)
            q->then(q->ctx, q->outcome, NULL, why);
        free(q);
    }
    if (c->is_down_due && !c->is_freed) {
        c->is_down_due = false;
        memcpy(why, c->why, sizeof why); /* perhaps it was opened anew, and could not be */
        if (c->config.on_down != NULL)
            c->config.on_down(c->config.ctx, why);
    }
    leave(c);
}

/* --- the door -------------------------------------------------------------------------------- */

static enum hm_rc take_address(struct rconn *c, const struct rconn_config *config,
                               struct hm_err *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&c->address;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&c->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&c->address;

    if (config->path != NULL) {
        size_t length = strlen(config->path);

        if (length >= sizeof un->sun_path)
            return hm_fail(err, HM_BAD_INPUT, "'%s' is too long for a unix socket", config->path);
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, config->path, length + 1);
        c->address_size = sizeof *un;
    } else if (inet_pton(AF_INET, config->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(config->port);
        c->address_size = sizeof *v4;
    } else if (inet_pton(AF_INET6, config->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(config->port);
        c->address_size = sizeof *v6;
    } else {
        return hm_fail(err, HM_BAD_INPUT, "a connection needs an address, not the name '%s'",
                       config->host);
    }
    return HM_OK;
}

/* True also for an empty text, of which nothing is kept. */
static bool keep(const char *text, char **ret)
{
    *ret = text != NULL && text[0] != 0 ? strdup(text) : NULL;
    return text == NULL || text[0] == 0 || *ret != NULL;
}

enum hm_rc rconn_new(const struct rconn_config *config, struct rconn **ret, struct hm_err *err)
{
    struct rconn *c = calloc(1, sizeof *c);
    enum hm_rc rc;

    if (c == NULL)
        return hm_fail(err, HM_FAILED, "no memory for a connection");
    c->config = *config;
    c->config.host = c->config.path = c->config.user = c->config.password = NULL;
    c->fd = -1;
    c->end = &c->first;
    rc = take_address(c, config, err);
    if (rc == HM_OK) {
        c->timer = evtimer_new(config->base, on_timer, c);
        c->soon = evtimer_new(config->base, on_soon, c);
        c->out = evbuffer_new();
        if (!keep(config->user, &c->user) || !keep(config->password, &c->password) ||
            c->timer == NULL || c->soon == NULL || c->out == NULL)
            rc = hm_fail(err, HM_FAILED, "no memory for a connection");
    }
    if (rc != HM_OK) {
        really_free(c);
        return rc;
    }
    *ret = c;
    return HM_OK;
}

void rconn_free(struct rconn *c)
{
    if (c == NULL)
        return;
    c->is_freed = true;
    if (c->depth == 0)
        really_free(c);
}

void rconn_open(struct rconn *c, bool is_fresh)
{
    if (c->is_freed || (c->state != RCONN_CLOSED && !is_fresh))
        return;
    if (c->state != RCONN_CLOSED) {
        take_why(c, "opened anew");
        close_connection(c);
    }
    c->is_down_due = false; /* that it was lost is told no more: it is being opened */
    begin_opening(c);
}

bool rconn_set_password(struct rconn *c, const char *password)
{
    char *copy = NULL;

    if (!keep(password, &copy))
        return false;
    forget_password(c);
    c->password = copy;
    return true;
}

bool rconn_is_up(const struct rconn *c)
{
    return c->state == RCONN_UP;
}

bool rconn_is_nobody_there(const struct rconn *c)
{
    return c->is_nobody_there;
}

bool rconn_ask(struct rconn *c, size_t n, const char *const *words, hm_ms timeout_ms,
               rconn_answered *then, void *ctx)
{
    return c->state == RCONN_UP && !c->is_freed &&
           put(c, n, words, clock_boot_ms() + timeout_ms, then, ctx);
}
