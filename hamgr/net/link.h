/* link.h - authenticated frames between members: TLS 1.3 over TCP with the cluster's key.
 *
 * A hub listens on one address and carries links of one or many clusters; the PSK identity in the
 * handshake is the cluster's name, so clusters cannot see each other. Nothing is parsed before the
 * handshake has ended; a peer without the right key, or one that does not finish in time, is
 * dropped, counted, and logged at most once a minute for each address.
 *
 * A frame is a datagram: link_send() never waits and never promises; what cannot leave at once
 * because the peer does not take it is dropped, never queued for long, because an old renewal is
 * worth nothing. A link on which nothing was heard for `silence_ms` is doubted: new connections are
 * tried beside it every `retry_ms`, each given up as fast, and the first that gets through takes
 * its place.
 *
 * Who dials whom: the caller says so with link_dial(). A link that was accepted works in both
 * directions all the same; when two links to one member exist, the one on which something was heard
 * last is used. Names in addresses are resolved off the loop. All on the loop of `base`, one
 * thread. */
#ifndef HAMGR_NET_LINK_H
#define HAMGR_NET_LINK_H

#include "base/err.h"
#include "wire/wire.h"

#include <event2/event.h>

struct link_hub;     /* all links of a program */
struct link_cluster; /* those of one cluster */

/* Who is at the other end, as its HELLO said. */
struct link_peer {
    char name[HM_NAME_MAX];
    uint64_t incarnation;
};

/* Something was received on an authenticated link. Everything is borrowed for the call. The callee
 * may send, and may not free the hub. */
typedef void link_heard(void *ctx, const struct link_peer *from, const struct wire_frame *frame);

struct link_hub_config {
    struct event_base *base;  /* borrowed, must outlive the hub */
    const char *listen;       /* HOST:PORT, "[::]:7420"; NULL: only dials */
    unsigned int accepts_max; /* connections accepted at once that have not said who they are: when
                               * there are more, the oldest goes; 0: 64 */
    unsigned int links_max;   /* all others: a stranger too many is refused; 0: 4096 */
    hm_ms handshake_ms;       /* a connection must say HELLO within this; 0: 2000 */
};

struct link_cluster_config {
    const char *name;               /* copied */
    const uint8_t *key;             /* 32 bytes; copied */
    const struct wire_hello *hello; /* what we say first; borrowed, may change between calls; `to`
                                     * is filled in for each dial */
    hm_ms silence_ms;               /* 2 to 3 heartbeats */
    hm_ms retry_ms;                 /* a heartbeat */
    link_heard *on_frame;           /* HELLO, too, as the first frame of each link */
    void *ctx;
};

/* Opens the hub; the listening socket is bound when it returns.
 * HM_FAILED: the address cannot be bound (named in err), or TLS cannot be set up. */
enum hm_rc link_hub_new(const struct link_hub_config *config, struct link_hub **ret_hub,
                        struct hm_err *err) HM_MUST_CHECK;
/* Closes every link. NULL is fine. Not from within a callback of it. */
void link_hub_free(struct link_hub *hub);

/* The port on which it listens, for tests that leave the choice to the kernel; 0: it does not. */
uint16_t link_hub_port(const struct link_hub *hub);

/* Adds a cluster: from now on its members are let in. HM_BAD_INPUT: the name is taken. The cluster
 * lives as long as the hub. */
enum hm_rc link_hub_add(struct link_hub *hub, const struct link_cluster_config *config,
                        struct link_cluster **ret_cluster, struct hm_err *err) HM_MUST_CHECK;

/* Keeps a link to that member from now on; a second call with another address replaces it. */
void link_dial(struct link_cluster *c, const char *name, const char *address);
/* Where a member listens that dials us: for link_send_urgent(). */
void link_tell_address(struct link_cluster *c, const char *name, const char *address);
void link_undial(struct link_cluster *c, const char *name);

/* Sends a frame to the member with that incarnation, or, where it is 0 or not linked, to the member
 * of that name (NULL: none). False: no such link is up, or it is full; nothing was sent. */
bool link_send(struct link_cluster *c, uint64_t incarnation, const char *name,
               const struct wire_frame *frame);

/* As link_send(), and by a datagram as well, which arrives also where nothing comes back and TCP
 * has stopped sending: see datagram.c. Only to members whose address is known; it may arrive twice,
 * and sooner than what was sent before. */
bool link_send_urgent(struct link_cluster *c, uint64_t incarnation, const char *name,
                      const struct wire_frame *frame);

/* What is known of the link to a member, for status. */
struct link_state {
    bool is_up;
    hm_ms heard_ms;       /* boot time of the last byte; 0: never */
    uint64_t incarnation; /* 0: not known */
    char why[96];         /* not up: the last failure */
    bool has_datagrams;   /* one came of late ... */
    bool lacks_datagrams; /* ... or none, although they should: filtered. Neither: not known */
};
void link_look(const struct link_cluster *c, const char *name, struct link_state *ret);

/* Two hosts that say to be the same member: one is not listened to, see twin.c. */
struct link_twin {
    char name[HM_NAME_MAX];
    bool is_self;   /* we are called that, and do not get in for it */
    char host[48];  /* that is heard under the name; "" with is_self */
    char other[48]; /* that says so, too */
};
/* The i-th of them; false: there are no more. */
bool link_twin(const struct link_cluster *c, unsigned i, struct link_twin *ret);

struct link_counts {
    uint64_t refused; /* strangers, wrong keys, handshakes that took too long, malformed frames,
                       * datagrams that no link has sealed, or that came before */
    uint64_t dropped; /* frames that could not leave at once */
    unsigned int links;
};
void link_count(const struct link_hub *hub, struct link_counts *ret);

#endif
