/* observation.h - findings as plain data: what a probe saw of the own copy, what a member tells.
 *
 * An observation judges nothing; view.h turns observations into belief. */
#ifndef HAMGR_VIEW_OBSERVATION_H
#define HAMGR_VIEW_OBSERVATION_H

#include "base/base.h"

#include <stdbool.h>
#include <stdint.h>

#define HM_NOBODY 255   /* a slot that is no member */
#define HM_STRANGER 254 /* a host that is no member of the record */

/* Where a copy's log ends. Positions compare only along one history: record_compare(). */
struct position {
    uint64_t
        timeline; /* PostgreSQL: timeline number; Redis: number of a replication id; 0: unknown */
    uint64_t offset; /* bytes: LSN or replication offset */
};

/* What the own database copy is, as far as probes know. X(constant, text) */
#define COPY_STATES(X)                                                                             \
    X(COPY_UNKNOWN, "unknown")   /* not probed yet, or the server does not answer */               \
    X(COPY_ABSENT, "absent")     /* no data */                                                     \
    X(COPY_DOWN, "down")         /* data, and no process of the service is left */                 \
    X(COPY_STARTING, "starting") /* processes, not ready */                                        \
    X(COPY_STANDBY, "standby")                                                                     \
    X(COPY_PRIMARY, "primary")       /* writable, but for the fence */                             \
    X(COPY_SUSPENDED, "suspended")   /* every process is stopped */                                \
    X(COPY_REBUILDING, "rebuilding") /* marked half-made: never starts, has no position */

enum copy_state {
#define X(name, text) name,
    COPY_STATES(X)
#undef X
        COPY_STATES_N
};

/* What every member tells about itself with every heartbeat. */
struct gossip {
    enum copy_state copy; /* COPY_UNKNOWN for a witness */
    uint64_t copy_id;
    struct position at;   /* the larger of received and replayed; offset 0: not known */
    uint64_t began_epoch; /* what the copy noted about its timeline; 0: nothing */
    uint64_t epoch;       /* of the newest record that it knows to be chosen */
    int16_t priority;     /* higher is better */
    uint8_t follows;      /* slot that it streams from, or HM_NOBODY */
    bool is_streaming;
    bool is_final; /* everything on its disk has been read */
    bool is_healthy;
    bool is_nofailover; /* it never takes over by itself: so marked, or delayed */
    bool is_delayed;    /* it replays later on purpose */
    bool wants_rebuild; /* it would be rewound or cloned, were it in no pair */
    bool sees_majority;
    bool is_holder;           /* it holds a lease, or regains one with its suspended copy */
    bool released;            /* it stands back after a release (R9) */
    bool is_rebuilding;       /* it is being rewound or cloned now: one at a time */
    uint8_t rebuilt_percent;  /* how far that is; 0: not known */
    uint8_t rebuild_failures; /* how often in a row that failed, up to HM_FAILURES_MAX */
    bool is_open;             /* the primary, under its lease: its gate lets clients in */
};

#define HM_FAILURES_MAX 20

enum names_state {
    NAMES_UNKNOWN,
    NAMES_EMPTY,  /* commits wait for nobody */
    NAMES_NOBODY, /* ANY 1 ("hamgr nobody"): no commit returns */
    NAMES_PAIR,   /* those of `names_digest` */
};

enum fence_mode {
    FENCE_NONE,      /* hamgr-fence has not been told anything since the host booted */
    FENCE_SUSPENDED, /* every process of the service stopped, the gate closed */
    FENCE_LEASE,     /* suspends by itself at `fence_until_ms` */
    FENCE_STANDBY,   /* a standby: nothing to fence; the port's sockets destroyed, the gate open */
    FENCE_PAUSED,    /* paused cluster: as it is, without a deadline */
};

/* What the probes found out about the own copy, its server and its fence. */
struct copy {
    hm_ms taken_at_ms; /* when the probe began */
    enum copy_state state;
    bool was_primary; /* DOWN, STARTING, SUSPENDED: the server last ran as a primary */
    bool has_written; /* DOWN: by its files the server was writable when it ended, so the end of
                       * its log is its own work; never with Redis, nor after a rewind or clone */
    bool is_healthy;  /* it answers, and a primary can flush */
    bool is_crashed;  /* it is recovering by itself after the crash of a process */
    hm_ms stalled_ms; /* it committed nothing, or did not answer, for so long; 0: not so */
    hm_ms hung_ms;    /* ... and for so long it is proved that it hangs, and does not only wait for
                       * its turn on a busy machine; 0: nothing proves that */
    bool is_full;     /* no room is left on one of its disks */
    uint64_t copy_id;
    uint64_t system_id;
    uint64_t server_id;   /* differs with every start of the server */
    struct position at;   /* end of log: the larger of received and replayed */
    bool is_final;        /* all log on its disk has been read: `at` is certain; without a
                           * timeline: no server could go on from what is there */
    uint64_t began_epoch; /* the epoch that began its timeline, as noted beside the data; 0: none */
    uint8_t follows;      /* slot that it is told to follow, HM_NOBODY, or HM_STRANGER */
    bool is_streaming;    /* it receives the log now, or has a receiver process */
    bool is_delayed;      /* a standby that replays later on purpose (recovery_min_apply_delay) */
    bool lacks_log;       /* what it needs next is gone from where it was told to stream from */
    uint8_t rebuilt_percent; /* of the rewind or clone under way; 0: not known */

    enum names_state names;
    uint64_t names_digest;
    bool is_flag_certain; /* the server started with names, or a checkpoint came after they were set
                           */

    struct {
        bool is_streaming;
        uint64_t copy_id;
        uint64_t flushed;      /* bytes */
    } standby[HM_MEMBERS_MAX]; /* a primary's walsenders, by slot */

    bool fence_answers;
    enum fence_mode fence;
    hm_ms fence_until_ms;
    bool is_gate_open;
};

const char *copy_state_name(enum copy_state s);
const char *fence_mode_name(enum fence_mode m);

#endif
