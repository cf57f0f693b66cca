/* session.h - what one client of the Sentinel endpoint says, and what it is answered. No sockets.
 *
 * The server gives it one request after the other; the replies go to a buffer of the server's. It
 * knows no other client, and answers from the snapshot alone, so that whatever clients do, hamgrd's
 * decisions are not touched. The one order, SENTINEL FAILOVER, goes the way of `hamgr switchover`.
 */
#ifndef HAMGR_SENTINEL_SESSION_H
#define HAMGR_SENTINEL_SESSION_H

#include "sentinel/model.h"
#include "sentinel/pubsub.h"
#include "sentinel/resp.h"

/* Clients compare versions: what is told is the one whose answers these are. */
#define SESSION_REDIS_VERSION "7.0.15"

enum {
    SESSION_NAME_MAX = 128, /* bytes of CLIENT SETNAME */
    SESSION_ABOUT_MAX = 256,
    SESSION_HOLD_MS = 1000,  /* below the time-outs that clients have by default */
    SESSION_FRESH_MS = 3000, /* after that nobody waits: it may last */
};

struct session;

/* What all clients of an endpoint share. */
struct session_host {
    const struct model *model; /* borrowed; newer with time */
    const char *password;      /* borrowed; NULL: none is needed */
    uint16_t port;
    hm_ms now_ms;
    hm_ms started_ms;
    unsigned clients_n, clients_max;
    uint64_t connections, commands, rejected;
    /* Begins a switchover of that master; the client's next reply is the server's affair then
     * (session.is_waiting). False: too much waits. */
    bool (*failover)(void *ctx, struct session *s, const char *master);
    /* "addr=... laddr=... fd=...": CLIENT INFO. */
    void (*describe)(void *ctx, const struct session *s, char text[SESSION_ABOUT_MAX]);
    /* A password was wrong: for the log. */
    void (*refused)(void *ctx, const struct session *s);
    void *ctx;
};

/* Zero-initialised storage of the caller; session_done() is due. */
struct session {
    uint64_t id;
    char *name; /* owned; NULL: none */
    struct pubsub pubsub;
    hm_ms began_ms;
    bool is_resp3;
    bool is_known; /* it said the password, or none is needed */
    bool is_local; /* it comes from this host */
    bool is_waiting;
    bool is_ended; /* to be closed when its replies have left */
};

void session_done(struct session *s);
/* True: it asks where a master is that went down, or is being moved, a moment ago. If the answer
 * waits, by SESSION_HOLD_MS at most, it is as a rule where the new one is; a client that is told of
 * the old one connects in vain, or, told that there is none, asks again only after a second. */
bool session_should_wait(const struct session *s, const struct session_host *host,
                         const struct resp_command *c);
/* Answers one request, which has a word at least. */
void session_take(struct session *s, struct session_host *host, const struct resp_command *c,
                  struct resp_out *o);

#endif
