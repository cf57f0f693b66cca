/* slots.h - which replication slots a server should have: every member keeps one for every other
 * copy, so that whoever becomes primary has the log that the others still need.
 *
 * slots_plan.c compares what is there with what the members told, and says what is to be done; it
 * is pure. slots.c asks the server and does it. Only slots of our naming are looked at.
 *
 * A slot is dropped when its member left the cluster, or streams as another copy, for a while; when
 * it holds back more than slot_max_bytes; and when the disk of the log runs short and it holds back
 * a good part of that. Who streams by it is cut off only if that makes no headway, or if there is
 * no other way to keep the disk from filling up. */
#ifndef HAMGR_POSTGRES_SLOTS_H
#define HAMGR_POSTGRES_SLOTS_H

#include "postgres/inner.h"

enum {
    SLOTS_MAX = 32, /* that are looked at */
    SLOT_NAME_BYTES = 64,
    SLOTS_STALE_MS = 15000,  /* how long nobody may come back to it: a copy makes its slot before it
                              * connects */
    SLOTS_STILL_MS = 60000,  /* a stream without headway for so long is hopeless */
    SLOTS_FREE_PERCENT = 10, /* free, of the disk of the log: less is short */
    SLOTS_PART_PERCENT = 5,  /* of that disk: to drop a slot that holds back less is no help */
};

struct slot {
    char name[SLOT_NAME_BYTES];
    bool is_active;
    bool is_lost;     /* PostgreSQL removed log that it held back (max_slot_wal_keep_size) */
    uint64_t restart; /* it holds back the log from here on; 0: none */
};

struct slots_seen {
    struct slot slot[SLOTS_MAX];
    size_t n;
    uint64_t end; /* of the log: written by a primary, replayed by a standby */
};

struct slots_world {
    const struct record *record;
    uint8_t self;
    uint64_t timeline;                         /* of the own copy */
    const struct gossip *peer[HM_MEMBERS_MAX]; /* NULL: not heard of late */
    uint64_t max_bytes;                        /* slot_max_bytes; 0: only the disk counts */
    uint64_t disk_size, disk_free;             /* of the log; 0, 0: not known */
    hm_ms now_ms;
};

/* What is remembered of a slot between two rounds. */
struct slot_mark {
    char name[SLOT_NAME_BYTES];
    hm_ms stale_since_ms; /* HM_NEVER: it is not */
    hm_ms still_since_ms; /* it holds back the log from `restart` on since then */
    uint64_t restart;
};

struct slots_memory {
    struct slot_mark mark[SLOTS_MAX];
    size_t n;
};

enum slot_act {
    SLOT_CREATE,
    SLOT_ADVANCE,
    SLOT_DROP_REMOVED, /* the member left the cluster */
    SLOT_DROP_STALE,   /* nobody will come back to it */
    SLOT_DROP_LOST,    /* PostgreSQL made it useless */
    SLOT_DROP_LIMIT,   /* more than slot_max_bytes */
    SLOT_DROP_DISK,    /* the disk runs short */
};

struct slot_step {
    enum slot_act act;
    char name[SLOT_NAME_BYTES];
    uint8_t member; /* HM_NOBODY: none of the record */
    bool is_active; /* who streams by it must be cut off first */
    uint64_t to;    /* SLOT_ADVANCE */
    uint64_t held;  /* bytes that a dropped one holds back */
};

enum { SLOT_STEPS_MAX = SLOTS_MAX + HM_MEMBERS_MAX };

/* Bytes that a slot holds back. */
uint64_t slot_held(const struct slots_seen *seen, const struct slot *slot);
bool slots_disk_is_short(const struct slots_world *w);
/* Writes what is to be done, at most SLOT_STEPS_MAX, and returns how much; remembers `seen`. */
size_t slots_plan(const struct slots_world *w, const struct slots_seen *seen,
                  struct slots_memory *memory, struct slot_step *steps);

#endif
