#include "postgres/conn.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { WHY_MAX = 256 };

enum conn_state { CONN_CLOSED, CONN_OPENING, CONN_UP };

struct question {
    struct question *next;
    char *sql; /* owned */
    hm_ms deadline_ms;
    bool is_sent;
    conn_answered *then;
    void *ctx;
    enum conn_outcome outcome; /* of one that ended without an answer */
};

struct conn {
    struct conn_config config; /* conninfo is not kept here */
    PQconninfoOption *option;  /* owned */
    PGconn *pg;                /* owned; NULL when closed */
    enum conn_state state;
    struct event *io;    /* owned; made anew whenever libpq may have another socket */
    struct event *timer; /* owned: pause, deadline of opening, earliest deadline of a question */
    struct event *soon;  /* owned: tells what ended, from the loop and not from within a call */
    hm_ms until_ms;      /* deadline of opening */
    struct question *first, **end;
    struct question *over; /* ended without an answer, not told yet */
    PGresult *result;      /* owned: the newest of the question that is being answered */
    bool is_down_due;      /* on_down is to be told */
    bool is_freed;         /* freed when the last of our own callbacks has returned */
    unsigned depth;        /* of our own callbacks */
    char why[WHY_MAX];
    char sqlstate[6];
};

static void on_io(evutil_socket_t fd, short what, void *arg);

/* --- texts ----------------------------------------------------------------------------------- */

static bool is_sqlstate(const char *at)
{
    return strspn(at, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && at[5] == ':';
}

/* libpq's texts have several lines; the code stands behind the severity, which is translated. */
static void take_why(struct conn *c, const char *text)
{
    const char *end = strstr(text, "\nLOCATION:");
    const char *code = strstr(text, ":  ");
    size_t n = 0;

    if (end == NULL)
        end = text + strlen(text);
    for (const char *at = text; at < end && n + 1 < sizeof c->why; at++)
        if (*at != '\n' && *at != '\t')
            c->why[n++] = *at;
        else if (n > 0 && c->why[n - 1] != ' ')
            c->why[n++] = ' ';
    while (n > 0 && c->why[n - 1] == ' ')
        n--;
    c->why[n] = 0;
    while (code != NULL && !is_sqlstate(code + 3))
        code = strstr(code + 3, ":  ");
    c->sqlstate[0] = 0;
    if (code != NULL) {
        memcpy(c->sqlstate, code + 3, 5);
        c->sqlstate[5] = 0;
    }
}

static void ignore_notice(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

/* --- events ---------------------------------------------------------------------------------- */

static void arm(struct conn *c, hm_ms after_ms)
{
    struct timeval tv = clock_timeval(after_ms);

    (void)evtimer_add(c->timer, &tv); /* fails only without memory; then a deadline is missed */
}

static void watch(struct conn *c, short what)
{
    if (c->io != NULL)
        event_free(c->io);
    c->io = event_new(c->config.base, PQsocket(c->pg), what, on_io, c);
    if (c->io != NULL)
        (void)event_add(c->io, NULL); /* without it the deadline ends the connection */
}

static void arm_questions(struct conn *c)
{
    hm_ms earliest_ms = HM_NEVER;

    for (const struct question *q = c->first; q != NULL; q = q->next)
        earliest_ms = hm_min_ms(earliest_ms, q->deadline_ms);
    if (earliest_ms == HM_NEVER)
        (void)evtimer_del(c->timer);
    else
        arm(c, earliest_ms - clock_boot_ms());
}

static void free_question(struct question *q)
{
    free(q->sql);
    free(q);
}

static void free_list(struct question *q)
{
    while (q != NULL) {
        struct question *next = q->next;

        free_question(q);
        q = next;
    }
}

/* Leaves nothing of the connection; the questions go to `over`, to be told from the loop. */
static void close_connection(struct conn *c)
{
    hm_ms now_ms = clock_boot_ms();
    struct question **last = &c->over;

    if (c->io != NULL)
        event_free(c->io);
    c->io = NULL;
    PQclear(c->result);
    c->result = NULL;
    PQfinish(c->pg);
    c->pg = NULL;
    c->state = CONN_CLOSED;
    (void)evtimer_del(c->timer);
    for (struct question *q = c->first; q != NULL; q = q->next)
        q->outcome = q->deadline_ms <= now_ms ? CONN_LATE : CONN_LOST;
    while (*last != NULL)
        last = &(*last)->next;
    *last = c->first;
    c->first = NULL;
    c->end = &c->first;
    event_active(c->soon, EV_TIMEOUT, 0);
}

static void drop(struct conn *c, const char *why)
{
    take_why(c, why);
    close_connection(c);
    c->is_down_due = true;
    if (c->config.reopen_ms > 0)
        arm(c, c->config.reopen_ms);
}

/* --- opening --------------------------------------------------------------------------------- */

static void begin_opening(struct conn *c)
{
    const char *keyword[64];
    const char *value[64];
    size_t n = 0;

    for (const PQconninfoOption *o = c->option; o->keyword != NULL && n < 62; o++) {
        if (o->val == NULL)
            continue;
        keyword[n] = o->keyword;
        value[n++] = o->val;
    }
    keyword[n] = NULL;
    value[n] = NULL;
    c->pg = PQconnectStartParams(keyword, value, 0);
    if (c->pg == NULL || PQstatus(c->pg) == CONNECTION_BAD) {
        drop(c, c->pg == NULL ? "no memory for a connection" : PQerrorMessage(c->pg));
        return;
    }
    c->state = CONN_OPENING;
    (void)PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE); /* the only way to the code of a refusal */
    (void)PQsetNoticeProcessor(c->pg, ignore_notice, NULL);
    c->until_ms = clock_boot_ms() + c->config.connect_ms;
    arm(c, c->config.connect_ms);
    watch(c, EV_WRITE);
}

static void go_on_opening(struct conn *c)
{
    switch (PQconnectPoll(c->pg)) {
    case PGRES_POLLING_READING:
        watch(c, EV_READ);
        break;
    case PGRES_POLLING_WRITING:
    case PGRES_POLLING_ACTIVE:
        watch(c, EV_WRITE);
        break;
    case PGRES_POLLING_OK:
        (void)evtimer_del(c->timer);
        if (PQsetnonblocking(c->pg, 1) != 0) {
            drop(c, PQerrorMessage(c->pg));
            break;
        }
        c->state = CONN_UP;
        c->why[0] = 0;
        c->sqlstate[0] = 0;
        watch(c, EV_READ | EV_PERSIST);
        if (c->config.on_up != NULL)
            c->config.on_up(c->config.ctx);
        break;
    case PGRES_POLLING_FAILED:
        drop(c, PQerrorMessage(c->pg));
        break;
    }
}

/* --- questions ------------------------------------------------------------------------------- */

static void flush(struct conn *c)
{
    int rest = PQflush(c->pg);

    if (rest < 0)
        drop(c, PQerrorMessage(c->pg));
    else
        watch(c, (short)(rest > 0 ? EV_READ | EV_WRITE | EV_PERSIST : EV_READ | EV_PERSIST));
}

static void send_first(struct conn *c)
{
    if (c->state != CONN_UP || c->first == NULL || c->first->is_sent)
        return;
    c->first->is_sent = true;
    if (PQsendQuery(c->pg, c->first->sql) != 1)
        drop(c, PQerrorMessage(c->pg));
    else
        flush(c);
}

static void answer_first(struct conn *c)
{
    struct question *q = c->first;
    PGresult *result = c->result;
    ExecStatusType status = PQresultStatus(result); /* of NULL: a fatal error */
    bool is_good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;

    c->result = NULL;
    c->first = q->next;
    if (c->first == NULL)
        c->end = &c->first;
    arm_questions(c);
    send_first(c);
    if (!is_good)
        take_why(c, result != NULL ? PQresultErrorMessage(result) : "an empty answer");
    q->then(q->ctx, is_good ? CONN_ANSWERED : CONN_REFUSED, result, is_good ? "" : c->why);
    PQclear(result);
    free_question(q);
}

/* Of several statements the last answer counts, or the first error, behind which nothing runs. */
static void keep_result(struct conn *c, PGresult *result)
{
    if (c->result != NULL && PQresultStatus(c->result) == PGRES_FATAL_ERROR) {
        PQclear(result);
        return;
    }
    PQclear(c->result);
    c->result = result;
}

static void read_answers(struct conn *c)
{
    bool is_read = PQconsumeInput(c->pg) == 1;

    while (c->state == CONN_UP && !c->is_freed && c->first != NULL && c->first->is_sent &&
           !PQisBusy(c->pg)) {
        PGresult *result = PQgetResult(c->pg);

        if (PQstatus(c->pg) == CONNECTION_BAD) {
            drop(c, result != NULL ? PQresultErrorMessage(result) : PQerrorMessage(c->pg));
            PQclear(result);
            return;
        }
        if (result == NULL) {
            answer_first(c);
            continue;
        }
        if (PQresultStatus(result) == PGRES_COPY_IN || PQresultStatus(result) == PGRES_COPY_OUT ||
            PQresultStatus(result) == PGRES_COPY_BOTH) {
            PQclear(result);
            drop(c, "COPY is not for this connection");
            return;
        }
        keep_result(c, result);
    }
    if (c->state == CONN_UP && (!is_read || PQstatus(c->pg) == CONNECTION_BAD))
        drop(c, PQerrorMessage(c->pg));
}

/* --- callbacks of the loop ------------------------------------------------------------------- */

static void really_free(struct conn *c)
{
    if (c->io != NULL)
        event_free(c->io);
    if (c->timer != NULL)
        event_free(c->timer);
    if (c->soon != NULL)
        event_free(c->soon);
    free_list(c->first);
    free_list(c->over);
    PQclear(c->result);
    PQfinish(c->pg);
    PQconninfoFree(c->option);
    free(c);
}

static void leave(struct conn *c)
{
    c->depth--;
    if (c->is_freed && c->depth == 0)
        really_free(c);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    c->depth++;
    if (c->state == CONN_OPENING) {
        go_on_opening(c);
    } else if (c->state == CONN_UP) {
        if ((what & EV_WRITE) != 0)
            flush(c);
        if (c->state == CONN_UP)
            read_answers(c);
    }
    leave(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    c->depth++;
    if (c->state == CONN_CLOSED) {
        begin_opening(c);
    } else if (c->state == CONN_OPENING) {
        if (clock_boot_ms() < c->until_ms)
            arm(c, c->until_ms - clock_boot_ms());
        else
            drop(c, "the server did not take the connection in time");
    } else {
        read_answers(c); /* after a stall of the loop the answer may be there */
        for (const struct question *q = c->first; !c->is_freed && q != NULL; q = q->next) {
            if (q->deadline_ms > clock_boot_ms())
                continue;
            drop(c, "no answer in time");
            break;
        }
        if (!c->is_freed && c->state == CONN_UP)
            arm_questions(c);
    }
    leave(c);
}

static void on_soon(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    bool is_down_due = c->is_down_due;
    struct question *over = c->over;
    char why[WHY_MAX];

    (void)fd;
    (void)what;
    memcpy(why, c->why, sizeof why);
    c->over = NULL;
    c->is_down_due = false;
    c->depth++;
    while (over != NULL) {
        struct question *q = over;

        over = q->next;
        if (!c->is_freed)
            q->then(q->ctx, q->outcome, NULL, why);
        free_question(q);
    }
    if (is_down_due && !c->is_freed && c->config.on_down != NULL)
        c->config.on_down(c->config.ctx, why);
    leave(c);
}

/* --- the door -------------------------------------------------------------------------------- */

static const char *option_of(const struct conn *c, const char *keyword)
{
    for (const PQconninfoOption *o = c->option; o->keyword != NULL; o++)
        if (strcmp(o->keyword, keyword) == 0)
            return o->val != NULL ? o->val : "";
    return "";
}

/* Several hosts are separated by commas. */
static bool is_without_names(const struct conn *c)
{
    const char *host = option_of(c, "host");

    if (option_of(c, "hostaddr")[0] != 0)
        return true;
    if (option_of(c, "service")[0] != 0 || host[0] == 0)
        return false;
    for (const char *at = host; at != NULL; at = strchr(at, ',')) {
        if (*at == ',')
            at++;
        if (*at != '/' && *at != '@')
            return false;
    }
    return true;
}

/* Kerberos asks servers of its own, and waits for them. */
static bool forbid_kerberos(struct conn *c)
{
    for (PQconninfoOption *o = c->option; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, "gssencmode") != 0 || o->val != NULL)
            continue;
        o->val = strdup("disable");
        return o->val != NULL;
    }
    return true;
}

enum hm_rc conn_new(const struct conn_config *config, struct conn **ret, struct hm_err *err)
{
    struct conn *c = calloc(1, sizeof *c);
    char *text = NULL;
    enum hm_rc rc;

    if (c == NULL)
        return hm_fail(err, HM_FAILED, "no memory for a connection");
    c->config = *config;
    c->config.conninfo = NULL;
    c->end = &c->first;
    c->option = PQconninfoParse(config->conninfo, &text);
    if (c->option == NULL) {
        rc = hm_fail(err, HM_BAD_INPUT, "a connection string that cannot be read: %s",
                     text != NULL ? text : "no memory");
        PQfreemem(text);
        goto out;
    }
    if (!is_without_names(c)) {
        rc = hm_fail(err, HM_BAD_INPUT,
                     "a connection needs an address or a socket's directory, not the name '%s'",
                     option_of(c, "host"));
        goto out;
    }
    c->timer = evtimer_new(config->base, on_timer, c);
    c->soon = evtimer_new(config->base, on_soon, c);
    if (!forbid_kerberos(c) || c->timer == NULL || c->soon == NULL) {
        rc = hm_fail(err, HM_FAILED, "no memory for a connection");
        goto out;
    }
    *ret = c;
    return HM_OK;
out:
    really_free(c);
    return rc;
}

void conn_free(struct conn *c)
{
    if (c == NULL)
        return;
    c->is_freed = true;
    if (c->depth == 0)
        really_free(c);
}

void conn_open(struct conn *c, bool is_fresh)
{
    if (c->state != CONN_CLOSED && !is_fresh)
        return;
    if (c->state != CONN_CLOSED) {
        take_why(c, "opened anew");
        close_connection(c);
    }
    begin_opening(c);
}

bool conn_is_up(const struct conn *c)
{
    return c->state == CONN_UP;
}

int conn_backend(const struct conn *c)
{
    return c->state == CONN_UP ? PQbackendPID(c->pg) : 0;
}

const char *conn_sqlstate(const struct conn *c)
{
    return c->sqlstate;
}

bool conn_ask(struct conn *c, const char *sql, hm_ms timeout_ms, conn_answered *then, void *ctx)
{
    struct question *q;

    if (c->state != CONN_UP || c->is_freed)
        return false;
    q = calloc(1, sizeof *q);
    if (q == NULL)
        return false;
    q->sql = strdup(sql);
    if (q->sql == NULL) {
        free_question(q);
        return false;
    }
    q->deadline_ms = clock_boot_ms() + timeout_ms;
    q->then = then;
    q->ctx = ctx;
    *c->end = q;
    c->end = &q->next;
    arm_questions(c);
    send_first(c);
    return true;
}
