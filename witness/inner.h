/* inner.h - what clusters.c and its two halves share: cluster.c knows members and what they say,
 * reg.c has one register's core, its disk and its deadlines. Nobody else includes it. */
#ifndef WITNESS_INNER_H
#define WITNESS_INNER_H

#include "adapter/store.h"
#include "base/log.h"
#include "core/core.h"
#include "witness/agree.h"
#include "witness/clusters.h"
#include "witness/deadlines.h"

struct cluster;

enum reg_state {
    REG_IDLE,    /* not asked for yet, or disputed */
    REG_LOADING, /* the worker reads its file */
    REG_VOTES,   /* has a core */
    REG_BROKEN,  /* its file cannot be read, or is missing */
};

/* A job of the worker for one register; one at a time, because the core writes one at a time. */
struct reg_job {
    struct worker_job job; /* first */
    struct reg *reg;
    uint32_t ticket;
    const struct voter_state *saving; /* the core's own; it does not change while it is written */
    struct voter_state *loaded;       /* owned */
    bool is_blank;
    enum hm_rc rc;
    struct hm_err err;
};

/* One service of one cluster. */
struct reg {
    struct deadline deadline; /* first */
    struct cluster *cluster;
    uint8_t number;
    enum reg_state state;
    bool is_writing;
    bool is_dispute_told;
    bool must_settle; /* somebody said something new while the worker was at it */
    char name[HM_NAME_MAX];
    enum service_kind kind;
    struct said said[HM_MEMBERS_MAX]; /* by the cluster's peers */
    struct wire_service *newest;      /* owned: as the newest HELLO said; only until a record is */
    struct core *core;                /* owned; with REG_VOTES */
    struct reg_job work;
    struct log_repeat trouble; /* of the disk */
    struct log_repeat fault;   /* of what a member says */
    uint64_t told_epoch;
};

struct peer_name {
    char name[HM_NAME_MAX];
    hm_ms heard_ms; /* its HELLO */
};

enum cluster_state { CLUSTER_OPENING, CLUSTER_SERVED, CLUSTER_FAILED };

struct cluster {
    struct clusters *all;
    struct cluster *next;
    struct settings_cluster settings;
    enum cluster_state state;
    char own_name[HM_NAME_MAX]; /* as its members call this witness */
    struct wire_hello hello;
    struct link_cluster *links; /* the hub's */
    struct store store;         /* the worker's, once it is open */
    hm_ms born_ms;    /* when the lock was ours: no lease was granted from here since, unless ... */
    bool was_dropped; /* ... a core was given up: leases that it knew may live on */
    struct peer_name peer[HM_MEMBERS_MAX];
    struct reg *reg[HM_SERVICES_MAX]; /* owned, by number */
    struct log_repeat trouble;

    struct worker_job job; /* opens the directory */
    enum hm_rc rc;
    struct hm_err err;
};

struct clusters {
    struct clusters_config config;
    char state_dir[SETTINGS_PATH_MAX];
    struct cluster *first;
    struct cluster **end;
    size_t regs;
    struct deadlines deadlines;
    struct core_effects todo; /* of the newest step; too big for the stack */
    struct log_repeat stall;
    uint64_t messages, ignored, writes, failed_writes;
};

/* cluster.c */
struct cluster *cluster_new(struct clusters *all, const struct settings_cluster *settings);
void cluster_free(struct cluster *c);
void cluster_open(struct cluster *c); /* queues the job */
/* Says what a register's members disagree about, once for each dispute. */
void cluster_tell_dispute(struct reg *r, const char *what);

/* reg.c */
struct reg *reg_new(struct cluster *c, uint8_t number);
void reg_free(struct reg *r);
/* Looks at what the members say, and begins, keeps or gives up the register. */
void reg_settle(struct reg *r);
void reg_hear(struct reg *r, const struct msg *m);
void reg_tick(struct reg *r);
void reg_stall(struct reg *r);

#endif
