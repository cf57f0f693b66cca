/* rconn.h - an open connection to a Redis server, asked without waiting.
 *
 * RESP2; hiredis writes the commands and reads the answers, the socket and the time are ours: its
 * own asynchronous interface differs between the versions that distributions have, and knows no
 * deadlines in the older ones. Every question has a deadline; one that is late closes the
 * connection, because answers come in order. Opened again only by rconn_open(): whoever owns it
 * decides when. AUTH and a name for CLIENT LIST go first and are part of opening. A literal address
 * or a unix socket only: a name would be resolved on the loop.
 */
#ifndef HAMGR_REDIS_RCONN_H
#define HAMGR_REDIS_RCONN_H

#include "base/err.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>

struct rconn;

enum rconn_outcome {
    RCONN_ANSWERED, /* reply is set, and is no error */
    RCONN_REFUSED,  /* the server answered with an error: why is its text */
    RCONN_LOST,     /* no connection, or it broke: whether it was carried out is not known */
    RCONN_LATE,     /* no answer within the deadline: the same */
};

/* reply is freed after the call; why is borrowed, "" when answered. The callee may ask again, open
 * the connection anew, and free it. */
typedef void rconn_answered(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                            const char *why);

struct rconn_config {
    struct event_base *base;
    const char *host; /* a literal address; copied; NULL with `path` */
    uint16_t port;
    const char *path;         /* of a unix socket; copied; NULL with `host` */
    const char *user;         /* of the ACL; copied; NULL or "": the default user */
    const char *password;     /* copied, never logged; NULL or "": none */
    hm_ms connect_ms;         /* how long opening may take, with AUTH */
    void (*on_up)(void *ctx); /* may be NULL */
    void (*on_down)(void *ctx, const char *why); /* lost, or could not be opened; may be NULL */
    void *ctx;
};

/* HM_BAD_INPUT: no literal address, or too long a path. HM_FAILED: no memory. */
enum hm_rc rconn_new(const struct rconn_config *config, struct rconn **ret,
                     struct hm_err *err) HM_MUST_CHECK;
/* Questions that wait are forgotten: their callbacks do not come. NULL is fine. Also from within a
 * callback of this very connection. */
void rconn_free(struct rconn *c);
/* Opens it now if it is closed, anew if `is_fresh`: questions that wait end as RCONN_LOST then.
 * However it ends, on_up or on_down is called from the loop, not before this returns; that the one
 * before was lost is not told any more. */
void rconn_open(struct rconn *c, bool is_fresh);
/* What it logs in with from the next opening on; copied. False: no memory, and it stays as it was.
 */
bool rconn_set_password(struct rconn *c, const char *password);
bool rconn_is_up(const struct rconn *c);
/* Whether opening failed because nobody listens there (ECONNREFUSED, no such socket). */
bool rconn_is_nobody_there(const struct rconn *c);
/* Asks one command of n words. False: it is not up; no callback comes then. */
bool rconn_ask(struct rconn *c, size_t n, const char *const *words, hm_ms timeout_ms,
               rconn_answered *then, void *ctx);

#endif
