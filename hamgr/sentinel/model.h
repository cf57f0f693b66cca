/* model.h - what the Sentinel endpoint answers from: a snapshot of the redis services as this
 * member believes them to be. Plain data, made by hamgrd (daemon/serve_sentinel.c), never changed
 * here.
 *
 * The words are those of a Sentinel: a service is a "master" of the service's name, its standbys
 * are "slaves", the hamgrd of the other db members are the other "sentinels". */
#ifndef HAMGR_SENTINEL_MODEL_H
#define HAMGR_SENTINEL_MODEL_H

#include "base/base.h"

enum { MODEL_ID_SIZE = 41 }; /* 40 hexadecimal digits, with the final NUL */

/* A server or a hamgrd, and where clients reach it. */
struct model_place {
    char host[HM_ADDRESS_MAX]; /* a literal address, or a name as the configuration has it */
    uint16_t port;
};

/* The hamgrd of another db member. */
struct model_sentinel {
    char id[MODEL_ID_SIZE];
    struct model_place at;
    bool is_up;     /* it is linked: its endpoint answers */
    hm_ms heard_ms; /* boot time; HM_NEVER: it was not heard of yet */
};

enum model_role { MODEL_ROLE_MASTER, MODEL_ROLE_SLAVE };

struct model_replica {
    struct model_place at;
    char run_id[MODEL_ID_SIZE]; /* of this run of the server; "": not known */
    bool is_up;                 /* it answers, and its data may be read */
    bool is_promoted;           /* it is becoming the master: nobody may begin to read there */
    hm_ms changed_ms;           /* since when it is up or down */
    hm_ms heard_ms;             /* as above */
    enum model_role reported;   /* the role that it was seen in last ... */
    hm_ms reported_ms;          /* ... and since when */
    bool is_linked;             /* it streams from the master */
    hm_ms link_changed_ms;
    struct model_place master; /* that it follows; port 0: nobody */
    uint32_t priority;         /* in Redis' sense: the lowest is the best, 0: never */
    uint64_t offset;
};

struct model_master {
    char name[HM_NAME_MAX];
    struct model_place at; /* the newest that could take writes */
    char run_id[MODEL_ID_SIZE];
    uint64_t epoch;         /* of `at` */
    char by[MODEL_ID_SIZE]; /* the sentinel on its member: who made it master */
    bool is_planned;        /* by a switchover */
    bool is_connected;      /* it was heard of a moment ago */
    bool is_sdown;          /* it takes no writes, as far as this member knows */
    bool is_odown;          /* ... and a majority of the voters hears no other word of it */
    bool is_failover;       /* its successor is being found, or promoted */
    hm_ms sdown_ms;         /* boot time; while it is down */
    hm_ms odown_ms;
    hm_ms heard_ms;
    hm_ms unsettled_ms; /* since when it is down, or a failover goes on; HM_NEVER: neither */
    hm_ms reported_ms;  /* since when it is the master */
    hm_ms down_after_ms;
    hm_ms failover_limit_ms;
    unsigned quorum;       /* voters that must agree: a majority */
    unsigned voters_heard; /* this member too */
    size_t replicas_n;
    struct model_replica replica[HM_MEMBERS_MAX];
};

struct model {
    char id[MODEL_ID_SIZE]; /* of this member's endpoint */
    hm_ms now_ms;           /* boot time when the snapshot was made */
    size_t sentinels_n;
    struct model_sentinel sentinel[HM_MEMBERS_MAX];
    size_t masters_n;
    struct model_master master[HM_SERVICES_MAX];
};

bool model_is_same_place(const struct model_place *a, const struct model_place *b);
/* The master of that name, or NULL. Borrowed from m. */
const struct model_master *model_find(const struct model *m, const char *name, size_t name_n);
/* "10.0.0.1:6379", "[fd00::1]:6379" */
enum { MODEL_PLACE_TEXT = HM_ADDRESS_MAX + 10 };
void model_place_text(const struct model_place *at, char text[MODEL_PLACE_TEXT]);

#endif
