/* server_inner.h - what the files of the server share. Nobody outside this folder includes it.
 *
 * listen.c lets clients in, client.c talks to one of them, server.c does what concerns all. */
#ifndef HAMGR_SENTINEL_SERVER_INNER_H
#define HAMGR_SENTINEL_SERVER_INNER_H

#include "base/log.h"
#include "sentinel/server.h"
#include "sentinel/session.h"

#include <sys/queue.h>

struct client {
    struct session session;
    struct sentinel_server *server; /* borrowed */
    struct event *read;             /* owned; not added while it is not to be heard */
    struct event *write;            /* owned; NULL unless something waits to leave */
    int fd;                         /* owned */
    bool is_ready;                  /* in `ready` */
    bool is_held;                   /* in `held`; its next request is in `in` */
    bool is_subscriber;             /* in `subscribers`, not in `idle` */
    hm_ms held_ms;                  /* until when that request waits; 0: it has not waited */
    char *in;                       /* owned: the beginning of a request */
    size_t in_n;
    char *out; /* owned: what waits to leave */
    size_t out_n, out_at;
    uint64_t next_event; /* the next that it is to be told */
    hm_ms active_ms;
    TAILQ_ENTRY(client) all;   /* in `subscribers` or in `idle` */
    TAILQ_ENTRY(client) queue; /* in `ready` or `held` */
};
TAILQ_HEAD(client_list, client);

enum { SENTINEL_ERROR_MAX = 256 };

struct waiting {
    uint64_t ticket; /* the client's id; 0: free */
    struct client *client;
    hm_ms until_ms;
    bool is_answered;
    char error[SENTINEL_ERROR_MAX]; /* with is_answered; "": it is done, or under way */
};

enum { SENTINEL_SCRATCH = 64 << 10, SENTINEL_WAITING_MAX = 8 };

struct sentinel_server {
    struct event_base *base; /* borrowed */
    struct session_host host;
    struct model model;
    struct pubsub_ring ring;
    hm_ms idle_ms;
    char *password; /* owned */
    bool (*failover)(void *ctx, uint64_t ticket, const char *master);
    void *ctx;

    /* listen.c */
    char listen[SENTINEL_LISTENS_MAX][HM_ADDRESS_MAX];
    uint16_t port;
    struct event *listener[SENTINEL_LISTENS_MAX]; /* owned, each with its socket */
    struct event *again;                          /* owned: listen or accept again */
    struct log_repeat trouble_told, files_told, full_told;
    char trouble[HM_ERR_TEXT_MAX];

    struct client_list idle;        /* no subscribers; the longest idle first */
    struct client_list subscribers; /* those before `cursor` have been visited in this round */
    struct client *cursor;          /* the next to visit; NULL: the round is over */
    uint64_t round_upto;            /* events that the round tells */
    struct client_list ready;       /* with requests that wait for their turn */
    struct client_list held;        /* session_should_wait(); who came first is first */
    struct event *pump;             /* owned */
    struct event *sweep;            /* owned */
    struct event *answer;           /* owned */
    struct event *release;          /* owned */
    struct waiting waiting[SENTINEL_WAITING_MAX];
    unsigned subscribers_n;
    unsigned held_n;
    unsigned release_n; /* of the held, to be looked at anew */
    uint64_t ids;
    uint64_t slow;
    size_t buffered;
    struct log_repeat slow_told, password_told;
    char in[RESP_COMMAND_MAX]; /* of the client whose turn it is */
    char out[SENTINEL_SCRATCH];
    struct resp_command command;
};

/* listen.c. Tries to listen; again by itself later. */
void sentinel_listen(struct sentinel_server *s);
void sentinel_listen_free(struct sentinel_server *s);
/* Descriptors for so many clients; returns for how many there are. */
unsigned sentinel_allow_files(unsigned clients_max);

/* client.c. Takes over the fd, also on failure (false). */
bool client_new(struct sentinel_server *s, int fd, bool is_local);
void client_free(struct client *c);
/* Goes on with the requests that it sent already. The client may be gone after it. */
void client_go_on(struct client *c);
/* Tells it the events up to round_upto, or until end_us of the monotonic clock. True: all of them.
 * The client may be gone after it, which *ret_is_gone says. */
bool client_tell(struct client *c, uint64_t upto, uint64_t end_us, bool *ret_is_gone);
/* Ends its waiting for a FAILOVER. */
void client_answer(struct client *c, const char *error);
void client_describe(void *ctx, const struct session *session, char text[SESSION_ABOUT_MAX]);

/* server.c */
void server_wake(struct sentinel_server *s); /* there is something to pump */
void server_make_ready(struct client *c);
void server_hold(struct client *c);
void server_note_lists(struct client *c); /* it became a subscriber, or none */
bool server_failover(void *ctx, struct session *session, const char *master);
void server_refused(void *ctx, const struct session *session);
void server_forget(struct client *c); /* it is no member of any list any more */
uint64_t server_us(void);

#endif
