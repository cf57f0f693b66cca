/* client.c - a client that measures: writes numbers and notes when each was acknowledged, by whom.
 *
 *     probe-client --log FILE --id N [--interval-ms 10] [--patience-ms 200] [--only]
 *                  [--port 5432] NAME=ADDRESS...
 *
 * One number is on its way at a time, in a transaction of its own; no number is used twice, so what
 * was acknowledged can be looked up afterwards. Without an answer for --patience-ms (0: for ever)
 * the connection is given up, and the client races over all hosts for one that is writable. With
 * --only it never asks for the role and never looks elsewhere: a client that believes in its host.
 *
 * The log, one line each, times in us of CLOCK_MONOTONIC:
 *     ack TIME HOST NUMBER        the server said that it is committed
 *     open TIME HOST              connected, and writable as far as was asked
 *     trouble TIME HOST TEXT      a connection was given up or an INSERT was refused
 * Ends on SIGTERM or SIGINT. Exit codes: 0, or 2 for a wrong command line. */
#include "tests/system/measure.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <string.h>

enum {
    HOSTS_MAX = 8,
    ATTEMPTS_MAX = 8,         /* at the same time, for each host */
    ATTEMPT_EVERY_US = 25000, /* the next attempt while the one before is not answered */
    AGAIN_AFTER_US = 5000,    /* ... and after an answer that did not help */
    ATTEMPT_LIMIT_US = 200000,
    ATTEMPT_PATIENCE_US = 3200000, /* ... when attempt after attempt comes too late */
    POLLS_MAX = HOSTS_MAX * ATTEMPTS_MAX + 1,
};

enum stage { STAGE_NONE, STAGE_CONNECTING, STAGE_ASKING };

/* One connection on its way to become the one that is used. */
struct attempt {
    enum stage stage;
    PGconn *conn;     /* owned */
    short events;     /* what poll() waits for */
    bool is_writable; /* so it answered */
    int64_t deadline_us;
};

struct host {
    char name[MEASURE_NAME_SIZE];
    char conninfo[256];
    int64_t next_us;  /* of the next attempt */
    int64_t limit_us; /* for each */
    struct attempt attempt[ATTEMPTS_MAX];
};

struct client {
    struct measure m;
    int hosts_n;
    struct host host[HOSTS_MAX];

    PGconn *conn; /* owned; the one that is used, NULL: racing */
    struct host *at;
    bool is_waiting;  /* for an answer */
    bool was_refused; /* the answer that has begun is an error */
    int64_t number;   /* of the newest INSERT */
    int64_t sent_us;
    int64_t due_us; /* of the next one */
};

static void attempt_drop(struct attempt *a)
{
    PQfinish(a->conn);
    *a = (struct attempt){ .stage = STAGE_NONE };
}

static void drop_attempts(struct client *c)
{
    for (int i = 0; i < c->hosts_n; i++)
        for (int k = 0; k < ATTEMPTS_MAX; k++)
            if (c->host[i].attempt[k].stage != STAGE_NONE)
                attempt_drop(&c->host[i].attempt[k]);
}

/* Gives up the connection that is used; the race begins at once. */
static void leave(struct client *c, const char *why)
{
    measure_trouble(&c->m, c->at->name, why);
    PQfinish(c->conn);
    c->conn = NULL;
    c->is_waiting = false;
    for (int i = 0; i < c->hosts_n; i++)
        c->host[i].next_us = 0;
}

/* The attempt won: its connection is used from now on, all others are given up. */
static void settle(struct client *c, struct host *h, struct attempt *a)
{
    c->conn = a->conn;
    c->at = h;
    *a = (struct attempt){ .stage = STAGE_NONE };
    drop_attempts(c);
    for (int i = 0; i < c->hosts_n; i++)
        c->host[i].limit_us = ATTEMPT_LIMIT_US;
    c->is_waiting = false;
    c->due_us = measure_now_us();
    measure_open(&c->m, h->name);
}

static void attempt_start(struct host *h, int64_t now)
{
    for (int k = 0; k < ATTEMPTS_MAX; k++) {
        struct attempt *a = &h->attempt[k];

        if (a->stage != STAGE_NONE)
            continue;
        a->conn = PQconnectStart(h->conninfo);
        a->stage = STAGE_CONNECTING;
        a->events = POLLOUT;
        a->deadline_us = now + h->limit_us;
        h->next_us = now + ATTEMPT_EVERY_US;
        if (!a->conn || PQstatus(a->conn) == CONNECTION_BAD)
            attempt_drop(a);
        return;
    }
}

/* What did not help is tried again soon, but not at once: a busy server must not drown. */
static void attempt_failed(struct host *h, struct attempt *a)
{
    attempt_drop(a);
    h->next_us = measure_now_us() + AGAIN_AFTER_US;
}

static void attempt_connected(struct client *c, struct host *h, struct attempt *a)
{
    if (c->m.is_pinned) {
        settle(c, h, a);
        return;
    }
    if (!PQsendQuery(a->conn, "SELECT pg_is_in_recovery() OR "
                              "current_setting('transaction_read_only')::bool")) {
        attempt_failed(h, a);
        return;
    }
    a->stage = STAGE_ASKING;
    a->events = POLLIN;
}

static void attempt_ask(struct client *c, struct host *h, struct attempt *a)
{
    PGresult *r;

    if (!PQconsumeInput(a->conn)) {
        attempt_failed(h, a);
        return;
    }
    while (!PQisBusy(a->conn)) {
        r = PQgetResult(a->conn);
        if (!r) {
            if (a->is_writable)
                settle(c, h, a);
            else
                attempt_failed(h, a);
            return;
        }
        a->is_writable = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1 &&
                         strcmp(PQgetvalue(r, 0, 0), "f") == 0;
        PQclear(r);
    }
}

static void attempt_go_on(struct client *c, struct host *h, struct attempt *a)
{
    if (a->stage == STAGE_ASKING) {
        attempt_ask(c, h, a);
        return;
    }
    switch (PQconnectPoll(a->conn)) {
    case PGRES_POLLING_READING:
        a->events = POLLIN;
        break;
    case PGRES_POLLING_WRITING:
        a->events = POLLOUT;
        break;
    case PGRES_POLLING_OK:
        attempt_connected(c, h, a);
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
    default:
        attempt_failed(h, a);
        break;
    }
}

static void send_next(struct client *c, int64_t now)
{
    char sql[128];

    c->number++;
    (void)snprintf(sql, sizeof sql, "INSERT INTO hamgr_probe (client, n) VALUES (%d, %" PRId64 ")",
                   c->m.id, c->number); /* always fits */
    c->sent_us = now;
    c->due_us = now + c->m.interval_us;
    c->was_refused = false;
    if (!PQsendQuery(c->conn, sql)) {
        leave(c, PQerrorMessage(c->conn));
        return;
    }
    c->is_waiting = true;
}

/* Takes what the server sent. A refusal ends the connection, too, but for a pinned client. */
static void hear(struct client *c)
{
    PGresult *r;

    if (!PQconsumeInput(c->conn)) {
        leave(c, PQerrorMessage(c->conn));
        return;
    }
    while (!PQisBusy(c->conn)) {
        r = PQgetResult(c->conn);
        if (!r)
            break;
        if (PQresultStatus(r) == PGRES_COMMAND_OK) {
            measure_ack(&c->m, c->at->name, c->number);
        } else {
            measure_trouble(&c->m, c->at->name, PQresultErrorMessage(r));
            c->was_refused = true;
        }
        PQclear(r);
    }
    if (PQstatus(c->conn) == CONNECTION_BAD)
        leave(c, "the server closed the connection");
    else if (!PQisBusy(c->conn) && c->was_refused && !c->m.is_pinned)
        leave(c, "refused");
    else if (!PQisBusy(c->conn))
        c->is_waiting = false;
}

/* Starts what is due and gives up what takes too long; returns when it wants to be called again. */
static int64_t turn_race(struct client *c, int64_t now)
{
    int64_t next = now + ATTEMPT_EVERY_US;

    for (int i = 0; i < c->hosts_n; i++) {
        struct host *h = &c->host[i];

        for (int k = 0; k < ATTEMPTS_MAX; k++) {
            struct attempt *a = &h->attempt[k];

            if (a->stage != STAGE_NONE && a->deadline_us <= now) {
                /* It listens, and is too busy to answer in time: asking more would keep it so. */
                if (PQstatus(a->conn) != CONNECTION_STARTED && h->limit_us < ATTEMPT_PATIENCE_US)
                    h->limit_us *= 2;
                attempt_drop(a);
            }
            if (a->stage != STAGE_NONE && a->deadline_us < next)
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
    if (!c->is_waiting && c->due_us <= now)
        send_next(c, now);
    if (!c->conn)
        return now;
    if (!c->is_waiting)
        return c->due_us;
    if (c->m.patience_us == 0)
        return now + 1000000;
    if (c->sent_us + c->m.patience_us <= now) {
        leave(c, "no answer in time");
        return now;
    }
    return c->sent_us + c->m.patience_us;
}

/* What poll() said about one descriptor, and whose it is; the attempt is NULL for the used one. */
struct ready {
    struct host *host;
    struct attempt *attempt;
    PGconn *conn;
};

static nfds_t gather(struct client *c, struct pollfd *fds, struct ready *who)
{
    nfds_t n = 0;

    if (c->conn) {
        fds[n] = (struct pollfd){ .fd = PQsocket(c->conn), .events = POLLIN };
        who[n++] = (struct ready){ .host = c->at, .conn = c->conn };
        return n;
    }
    for (int i = 0; i < c->hosts_n; i++)
        for (int k = 0; k < ATTEMPTS_MAX; k++) {
            struct attempt *a = &c->host[i].attempt[k];

            if (a->stage == STAGE_NONE)
                continue;
            fds[n] = (struct pollfd){ .fd = PQsocket(a->conn), .events = a->events };
            who[n++] = (struct ready){ &c->host[i], a, a->conn };
        }
    return n;
}

static void run(struct client *c)
{
    struct pollfd fds[POLLS_MAX];
    struct ready who[POLLS_MAX];

    while (!measure_is_over()) {
        int64_t now = measure_now_us();
        int64_t next = c->conn ? turn_used(c, now) : turn_race(c, now);
        nfds_t n = gather(c, fds, who);

        if (measure_wait(fds, n, now, next) <= 0)
            continue;
        for (nfds_t i = 0; i < n; i++) {
            if (fds[i].revents == 0)
                continue;
            if (!who[i].attempt) {
                if (c->conn == who[i].conn)
                    hear(c);
            } else if (who[i].attempt->conn == who[i].conn) {
                attempt_go_on(c, who[i].host, who[i].attempt);
            }
        }
    }
}

static bool add_host(struct client *c, const char *arg)
{
    struct host *h = &c->host[c->hosts_n];
    const char *address;

    if (c->hosts_n == HOSTS_MAX || !measure_split(arg, h->name, &address))
        return false;
    (void)snprintf(h->conninfo, sizeof h->conninfo, /* a cut one would be refused by libpq */
                   "hostaddr=%s port=%u user=postgres dbname=postgres sslmode=disable "
                   "gssencmode=disable application_name=probe",
                   address, c->m.port);
    h->limit_us = ATTEMPT_LIMIT_US;
    c->hosts_n++;
    return true;
}

int main(int argc, char **argv)
{
    static struct client c = { .m = { .interval_us = 10000, .patience_us = 200000, .port = 5432 } };
    int at = measure_options(&c.m, argc, argv, false);

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
    PQfinish(c.conn);
    return 0;
}
