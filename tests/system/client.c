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
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
    char name[32];
    char conninfo[256];
    int64_t next_us;  /* of the next attempt */
    int64_t limit_us; /* for each */
    struct attempt attempt[ATTEMPTS_MAX];
};

struct client {
    int id;
    int64_t interval_us;
    int64_t patience_us; /* 0: for ever */
    bool is_pinned;
    const char *port;
    FILE *log;
    int hosts_n;
    struct host host[HOSTS_MAX];

    PGconn *conn; /* owned; the one that is used, NULL: racing */
    struct host *at;
    bool is_waiting;  /* for an answer */
    bool was_refused; /* the answer that has begun is an error */
    int64_t number;   /* of the newest INSERT */
    int64_t sent_us;
    int64_t due_us; /* of the next one */

    int64_t acks_n;
    int64_t last_ack_us;
    int64_t longest_us; /* between two acknowledgements */
    int64_t troubles_n;
};

static volatile sig_atomic_t is_over;

static void on_signal(int signo)
{
    (void)signo;
    is_over = 1;
}

static int64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void note_trouble(struct client *c, const struct host *h, const char *text)
{
    c->troubles_n++;
    fprintf(c->log, "trouble %" PRId64 " %s %.*s\n", now_us(), h->name, (int)strcspn(text, "\n"),
            text);
    (void)fflush(c->log); /* whoever reads the log sees what is missing */
}

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
    note_trouble(c, c->at, why);
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
    c->due_us = now_us();
    fprintf(c->log, "open %" PRId64 " %s\n", now_us(), h->name);
    (void)fflush(c->log); /* as above */
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
    h->next_us = now_us() + AGAIN_AFTER_US;
}

static void attempt_connected(struct client *c, struct host *h, struct attempt *a)
{
    if (c->is_pinned) {
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

static void note_ack(struct client *c)
{
    int64_t now = now_us();

    fprintf(c->log, "ack %" PRId64 " %s %" PRId64 "\n", now, c->at->name, c->number);
    (void)fflush(c->log); /* as above */
    if (c->acks_n++ > 0 && now - c->last_ack_us > c->longest_us)
        c->longest_us = now - c->last_ack_us;
    c->last_ack_us = now;
}

static void send_next(struct client *c, int64_t now)
{
    char sql[128];

    c->number++;
    (void)snprintf(sql, sizeof sql, "INSERT INTO hamgr_probe (client, n) VALUES (%d, %" PRId64 ")",
                   c->id, c->number); /* always fits */
    c->sent_us = now;
    c->due_us = now + c->interval_us;
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
            note_ack(c);
        } else {
            note_trouble(c, c->at, PQresultErrorMessage(r));
            c->was_refused = true;
        }
        PQclear(r);
    }
    if (PQstatus(c->conn) == CONNECTION_BAD)
        leave(c, "the server closed the connection");
    else if (!PQisBusy(c->conn) && c->was_refused && !c->is_pinned)
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
    if (c->patience_us == 0)
        return now + 1000000;
    if (c->sent_us + c->patience_us <= now) {
        leave(c, "no answer in time");
        return now;
    }
    return c->sent_us + c->patience_us;
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

static void run(struct client *c, const sigset_t *during_wait)
{
    struct pollfd fds[POLLS_MAX];
    struct ready who[POLLS_MAX];

    while (!is_over) {
        int64_t now = now_us();
        int64_t next = c->conn ? turn_used(c, now) : turn_race(c, now);
        nfds_t n = gather(c, fds, who);
        struct timespec wait = { 0, 0 };

        if (next > now)
            wait = (struct timespec){ (next - now) / 1000000, (next - now) % 1000000 * 1000 };
        if (ppoll(fds, n, &wait, during_wait) <= 0)
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
    const char *equals = strchr(arg, '=');

    if (!equals || c->hosts_n == HOSTS_MAX || (size_t)(equals - arg) >= sizeof h->name)
        return false;
    (void)snprintf(h->name, sizeof h->name, "%.*s", (int)(equals - arg), arg); /* checked above */
    (void)snprintf(h->conninfo, sizeof h->conninfo, /* a cut one would be refused by libpq */
                   "hostaddr=%s port=%s user=postgres dbname=postgres sslmode=disable "
                   "gssencmode=disable application_name=probe",
                   equals + 1, c->port);
    h->limit_us = ATTEMPT_LIMIT_US;
    c->hosts_n++;
    return true;
}

static bool read_options(struct client *c, int argc, char **argv)
{
    static const struct option known[] = {
        { "log", required_argument, NULL, 'l' },
        { "id", required_argument, NULL, 'i' },
        { "interval-ms", required_argument, NULL, 'n' },
        { "port", required_argument, NULL, 'p' },
        { "patience-ms", required_argument, NULL, 'w' },
        { "only", no_argument, NULL, 'o' },
        { NULL, 0, NULL, 0 },
    };
    int o;

    while ((o = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (o) {
        case 'l':
            c->log = fopen(optarg, "we");
            break;
        case 'i':
            c->id = atoi(optarg);
            break;
        case 'n':
            c->interval_us = atoi(optarg) * (int64_t)1000;
            break;
        case 'p':
            c->port = optarg;
            break;
        case 'w':
            c->patience_us = atoi(optarg) * (int64_t)1000;
            break;
        case 'o':
            c->is_pinned = true;
            break;
        default:
            return false;
        }
    }
    for (; optind < argc; optind++)
        if (!add_host(c, argv[optind]))
            return false;
    return c->log && c->hosts_n > 0 && (!c->is_pinned || c->hosts_n == 1);
}

int main(int argc, char **argv)
{
    static struct client c = { .interval_us = 10000, .patience_us = 200000, .port = "5432" };
    const struct sigaction stop = { .sa_handler = on_signal };
    sigset_t blocked, during_wait;

    if (!read_options(&c, argc, argv)) {
        fprintf(stderr, "usage: probe-client --log FILE --id N [--interval-ms N] [--patience-ms N] "
                        "[--only] [--port N] NAME=ADDRESS...\n");
        return 2;
    }
    /* The signals come only while ppoll() waits, so that none is missed between test and wait. */
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGTERM);
    (void)sigaddset(&blocked, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &blocked, &during_wait); /* cannot fail with these arguments */
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    run(&c, &during_wait);

    printf("acknowledged=%" PRId64 " longest_gap_ms=%.1f troubles=%" PRId64 "\n", c.acks_n,
           (double)c.longest_us / 1000.0, c.troubles_n);
    drop_attempts(&c);
    PQfinish(c.conn);
    (void)fclose(c.log); /* every line was flushed */
    return 0;
}
