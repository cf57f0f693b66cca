/* conn.h - an open connection to a PostgreSQL server, asked without waiting.
 *
 * Questions go out one after the other; each has a deadline of ours. A connection that is lost or
 * late is closed, and opened again by itself, so that it is there before it is needed. Everything
 * on the loop; an address with a name in it is refused, because libpq would resolve it on the loop.
 */
#ifndef HAMGR_POSTGRES_CONN_H
#define HAMGR_POSTGRES_CONN_H

#include "base/err.h"

#include <event2/event.h>
#include <libpq-fe.h>

struct conn;

enum conn_outcome {
    CONN_ANSWERED, /* result is set: rows, or nothing to return */
    CONN_REFUSED,  /* the server answered with an error: result and why are set */
    CONN_LOST, /* no connection, or it broke: whether the question was carried out is not known */
    CONN_LATE, /* no answer within the deadline: the same */
};

/* result is freed after the call; why is borrowed, "" when answered. The callee may ask again. */
typedef void conn_answered(void *ctx, enum conn_outcome outcome, const PGresult *result,
                           const char *why);

struct conn_config {
    struct event_base *base;
    const char *conninfo;     /* copied; host= must be a socket directory, or hostaddr= be given */
    hm_ms connect_ms;         /* how long opening may take */
    hm_ms reopen_ms;          /* pause before it is tried again; 0: only by conn_open() */
    void (*on_up)(void *ctx); /* opened; may be NULL */
    void (*on_down)(void *ctx, const char *why); /* lost, or could not be opened; may be NULL */
    void *ctx;
};

enum hm_rc conn_new(const struct conn_config *config, struct conn **ret,
                    struct hm_err *err) HM_MUST_CHECK;
/* Questions that wait are forgotten: their callbacks do not come. NULL is fine. Also from within a
 * callback of this very connection. */
void conn_free(struct conn *c);
/* Opens it now if it is closed, anew if `is_fresh`: questions that wait end as CONN_LOST then. */
void conn_open(struct conn *c, bool is_fresh);
bool conn_is_up(const struct conn *c);
/* The server process at the other end; 0 if it is not up. */
int conn_backend(const struct conn *c);
/* The SQLSTATE of the newest error: of a refusal to open, of a CONN_REFUSED, of what ended it.
 * Empty when the error did not come from the server; emptied when the connection opens. */
const char *conn_sqlstate(const struct conn *c);
/* Asks (simple protocol: several statements in one are one transaction). False: it is not up; no
 * callback comes then. */
bool conn_ask(struct conn *c, const char *sql, hm_ms timeout_ms, conn_answered *then, void *ctx);

#endif
