/* inner.h - what the files of link.h share; nobody else includes it.
 *
 * hub.c has the hub, its clusters and its clock; conn.c one connection from its first byte to its
 * end; dial.c when to make which; datagram.c what goes beside TCP. Nothing is freed where a
 * callback of it may still run: what has ended is put on the hub's list of the dead and freed after
 * the turn of the loop. */
#ifndef HAMGR_NET_INNER_H
#define HAMGR_NET_INNER_H

#include "adapter/worker.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/prng.h"
#include "net/link.h"
#include "net/seal.h"
#include "net/strangers.h"
#include "net/tls.h"

#include <event2/bufferevent.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum {
    LINK_OUTPUT_MAX = 128 * 1024, /* bytes that may wait for a peer */
    LINK_PEERS_MAX = 32,          /* names in one cluster that we keep in mind */
    LINK_TO_ONE_MAX = 4,          /* ready connections with one member */
    LINK_ADDRESSES_MAX = 4,       /* of one name */
    LINK_FORMER_MAX = 4,          /* instances of one member that we keep in mind */
};

enum conn_state {
    CONN_CONNECTING, /* TCP, dialled */
    CONN_TLS,        /* shaking hands */
    CONN_HELLO,      /* the key is proven; who is it? */
    CONN_READY,
    CONN_DEAD,
};

struct conn {
    TAILQ_ENTRY(conn) in_hub;  /* in one of the hub's lists, by state */
    TAILQ_ENTRY(conn) in_peer; /* if it has a peer */
    struct link_hub *hub;
    struct link_cluster *cluster; /* NULL: not known yet */
    struct peer *peer;            /* dialled: from the start; accepted: once it said HELLO */
    enum conn_state state;
    bool is_accepted;
    bool is_guest; /* see guest.h */
    bool is_told;  /* that there is another of its name: nothing it says counts (twin.c) */
    bool is_void;  /* it is to end without sending what waits */
    int fd;
    struct event *connecting; /* owned; CONN_CONNECTING only */
    struct bufferevent *bev;  /* owned, with fd; after that */
    hm_ms began_ms;
    hm_ms tls_ms;     /* when the handshake began */
    hm_ms give_up_ms; /* when not ready by then */
    hm_ms heard_ms;
    hm_ms sent_ms;
    bool has_seals;                      /* for datagrams; */
    struct seal says, hears;             /* ready only */
    uint64_t written;                    /* bytes that TCP had been given when we looked last */
    hm_ms stuck_ms;                      /* since when output waits; 0: nothing does */
    char address[STRANGERS_ADDRESS_MAX]; /* of the other end, without its port */
};
TAILQ_HEAD(conn_list, conn);

/* A name that is being looked up, on the worker. */
struct lookup {
    struct worker_job job; /* first: the worker's pointer is ours */
    struct peer *peer;
    char address[HM_ADDRESS_MAX];
    struct sockaddr_storage found[LINK_ADDRESSES_MAX];
    unsigned found_n;
    char why[96];
};

struct dial {
    bool is_on;
    char address[HM_ADDRESS_MAX];
    struct sockaddr_storage found[LINK_ADDRESSES_MAX];
    unsigned found_n;
    unsigned next;         /* of `found` to be tried */
    hm_ms looked_up_ms;    /* 0: never */
    struct lookup *lookup; /* owned; on the worker; NULL: none */
    hm_ms lost_ms;         /* since when there is no link that is heard; 0: there is one */
    hm_ms next_try_ms;
    struct event *timer; /* owned */
    struct log_repeat failing;
};

/* A member as far as links go. Lives as long as its cluster. */
struct peer {
    TAILQ_ENTRY(peer) in_cluster;
    struct link_cluster *cluster;
    char name[HM_NAME_MAX];
    uint64_t incarnation;                  /* as the newest link said; 0: not known */
    uint64_t instance;                     /* likewise; 0: an older program */
    uint64_t former[LINK_FORMER_MAX];      /* newest first */
    char host[STRANGERS_ADDRESS_MAX];      /* where it was heard last */
    char twin_host[STRANGERS_ADDRESS_MAX]; /* where another one of its name was refused; "": none */
    hm_ms twin_ms;                         /* when, the last time */
    struct conn_list conns;
    unsigned ready_n;
    hm_ms heard_ms;
    hm_ms datagram_ms; /* when one was heard last; 0: never */
    hm_ms shown_ms;    /* when an empty one was sent last */
    bool is_missed;    /* that none arrives was told */
    char why[96];
    struct dial dial;
};
TAILQ_HEAD(peer_list, peer);

struct link_cluster {
    TAILQ_ENTRY(link_cluster) in_hub;
    struct link_hub *hub;
    struct link_cluster_config config; /* `name` and `key` point to these: */
    char name[HM_NAME_MAX];
    uint8_t key[TLS_KEY_SIZE];
    struct peer_list peers;
    unsigned peers_n;
    char twin_host[STRANGERS_ADDRESS_MAX]; /* of another one of our own name */
    hm_ms twin_until_ms;                   /* until when we are mute for it; 0: never were */
    struct log_repeat twin_repeat;
};
TAILQ_HEAD(cluster_list, link_cluster);

struct link_hub {
    struct link_hub_config config;
    SSL_CTX *tls;
    int listen_fd; /* -1: none */
    struct event *listening;
    struct event *datagrams; /* owned, with its socket; NULL: none are heard */
    struct event *sweep;
    struct event *reap;
    bool is_deaf; /* not accepting: out of descriptors, or too many at once */
    hm_ms swept_ms;
    uint64_t instance;       /* drawn when it began; 0: none */
    struct worker *resolver; /* NULL until a name has to be looked up */
    struct cluster_list clusters;
    struct conn_list unfinished; /* accepted, not ready; oldest first */
    struct conn_list dialling;
    struct conn_list ready;
    struct conn_list dead;
    unsigned unfinished_n, conns_n;
    struct link_counts counts;
    struct strangers strangers;
    struct log_repeat accept_fails;
    struct prng prng;
    struct wire_storage storage;
    uint8_t output[WIRE_LENGTH + WIRE_FRAME_MAX];
};

/* --- conn.c ---------------------------------------------------------------------------------- */

enum conn_end {
    END_QUIETLY,  /* we do not need it any more; what was sent may still arrive */
    END_REPLACED, /* a newer one has its place: what still waits in the kernel is void */
    END_LOST,     /* the other end, or the network */
    END_REFUSED,  /* it is none of us, or does not keep to the rules: counted and told */
};

/* Takes over fd. NULL: no memory; fd is closed then. */
struct conn *conn_accept(struct link_hub *hub, int fd, const struct sockaddr *from);
/* Begins to connect. NULL: it cannot even begin; p->why says so. */
struct conn *conn_dial(struct peer *p, const struct sockaddr_storage *to, hm_ms give_up_ms);
/* Ends it; freed after this turn of the loop. */
void conn_end(struct conn *c, enum conn_end how, const char *format, ...) HM_PRINTF(3, 4);
/* Frees what conn_end() has left. */
void conn_bury(struct conn *c);
/* Hands bytes over; false: too much waits already, or for too long. */
bool conn_send(struct conn *c, const uint8_t *bytes, size_t size, hm_ms now_ms);
/* False while what we say does not arrive: TCP repeats it. A connection on which something is heard
 * again after a break may still be stuck in our direction, for each side repeats at its own pace;
 * one that is doubted has to show that all it had to carry the last time we looked has arrived. */
bool conn_gets_through(struct conn *c, bool is_doubted);
/* Says only that we are there. */
void conn_ping(struct conn *c, hm_ms now_ms);

/* Our HELLO to `to`, or that `rival` has its name; `hello` is filled in. False: it cannot leave. */
bool conn_say_hello(struct conn *c, struct wire_hello *hello, const char *to, const char *rival);
/* Counts a refusal and tells of it, as END_REFUSED does. */
void conn_tell_refused(struct conn *c, const char *why);

/* --- twin.c ---------------------------------------------------------------------------------- */

/* A number that no other start of a program has; 0: the kernel gives none. */
uint64_t twin_draw(void);
/* True: this connection gets nobody in, for there are two of the peer's name, or of ours. It ended,
 * or does so once the other end knows. */
bool twin_is_about(struct conn *c, struct peer *p, const struct wire_hello *h);
/* The member of that HELLO is ready on c. */
void twin_note(struct peer *p, const struct conn *c, const struct wire_hello *h);
/* A member hears another one of our name there: ends all links. */
void twin_told(struct conn *c, const char *rival);
/* True while nobody gets linked for that. */
bool twin_is_mute(const struct link_cluster *c);

/* --- datagram.c ------------------------------------------------------------------------------ */

/* Hears datagrams at that address from now on; where it cannot, it says so and goes on without. */
void datagram_listen(struct link_hub *hub, const struct sockaddr *at, socklen_t size);
void datagram_free(struct link_hub *hub);
/* One frame, without its length, to a member whose address is known. False: no way to send it. */
bool datagram_send(struct peer *p, const uint8_t *bytes, size_t size);
/* Of a ready connection, every second and when it gets ready: lets the member see once a minute
 * that datagrams reach it, and tells once of one that is never heard by them. */
void datagram_care(struct conn *c, hm_ms now_ms);

/* --- hub.c ----------------------------------------------------------------------------------- */

struct link_cluster *hub_find(struct link_hub *hub, const char *name, size_t size);
/* The member of that name; made if need be. NULL: there are too many. */
struct peer *hub_peer(struct link_cluster *c, const char *name);
/* The ready connection on which something was heard last, or NULL. */
struct conn *peer_best(const struct peer *p);
/* True while that was not longer than silence_ms ago. */
bool peer_is_heard(const struct peer *p, hm_ms now_ms);
/* There is room for one more: accepts again, if it had stopped. */
void hub_listen(struct link_hub *hub);
/* Sets the sweep for the next thing that runs out. */
void hub_arm(struct link_hub *hub);

/* --- dial.c ---------------------------------------------------------------------------------- */

/* Looks whether the member needs a new connection, now. */
void dial_soon(struct peer *p);
/* A connection with the member is ready: the other attempts are not needed any more. */
void dial_done(struct peer *p, struct conn *with);
void dial_free(struct peer *p);
/* Sees to it that it is known where the member listens. False: not yet. */
bool dial_find(struct peer *p, hm_ms now_ms);

#endif
