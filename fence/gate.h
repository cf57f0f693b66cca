/* gate.h - the kernel's gate: packets from a service's port leave this host only while a set
 * element with a timeout is alive. It closes by itself, with no process running at all.
 *
 * One nftables table for all services of a cluster, `inet hamgr_CLUSTER_HASH`. Packets to members
 * pass while the service's port is in the set `members`, all others while it is in `clients`;
 * loopback is no exception. The table stays when the helper ends. */
#ifndef FENCE_GATE_H
#define FENCE_GATE_H

#include "fence/deadline.h"
#include "fence/netlink.h"

#include <netinet/in.h>

enum { GATE_NAME_MAX = 64 };

struct gate {
    int fd; /* -1: there is no gate */
    char table[GATE_NAME_MAX];
    struct netlink buffer;
};

/* How the gate stands for one port. */
struct gate_state {
    uint16_t port;
    enum deadline_gate members;
    enum deadline_gate clients;
    hm_ms until_ms; /* boot time, for DEADLINE_UNTIL */
};

/* A member's address, as far as it is a literal one. */
struct gate_peers {
    size_t n4;
    struct in_addr v4[HM_MEMBERS_MAX];
    size_t n6;
    struct in6_addr v6[HM_MEMBERS_MAX];
};

/* True if the host is a literal address, which is then in the list. */
bool gate_add_peer(struct gate_peers *peers, const char *host);

/* The name of the table: of the cluster, and of the directory that tells two on one host apart. */
void gate_name(struct gate *g, const char *cluster, const char *run_dir);
/* Opens the way to the kernel. g->fd is -1 on failure. gate_done() is due in any case. */
enum hm_rc gate_open(struct gate *g, struct hm_err *err) HM_MUST_CHECK;
void gate_done(struct gate *g); /* the table stays */

/* True if the table of an earlier helper guards this port. */
bool gate_guards(struct gate *g, uint16_t port);
/* Puts the whole table in place of the one before, in one transaction. */
enum hm_rc gate_build(struct gate *g, const struct gate_peers *peers,
                      const struct gate_state *states, size_t states_n,
                      struct hm_err *err) HM_MUST_CHECK;
/* Sets one port, in one transaction; on failure it is as before. */
enum hm_rc gate_set(struct gate *g, const struct gate_state *state,
                    struct hm_err *err) HM_MUST_CHECK;
/* Takes the table away: for tests and for `hamgr-fence --remove-gate`. */
enum hm_rc gate_remove(struct gate *g, struct hm_err *err) HM_MUST_CHECK;

#endif
