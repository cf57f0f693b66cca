/* slots.h - which replication slots a server should have: every member keeps one for every other
 * copy, so that whoever becomes primary has the log that the others still need.
 *
 * slots_plan.c compares what is there with what the members told, and says what is to be done; it
 * is pure. slots.c asks the server and does it. Slots of another naming are left alone: those that
 * nobody uses are told.
 *
 * A slot is dropped when its member left the cluster, or has another copy by now, for a while; when
 * it holds back more than slot_max_bytes; and when the disk of the log runs short and it holds back
 * a good part of that. Who streams by it is cut off only if that makes no headway, or if there is
 * no other way to keep the disk from filling up.
 *
 * The disk is looked at the more often the less is free: none is so fast that it could fill up
 * between two looks.
 *
 * A commit is acknowledged once connections of the right name have it, so nobody else may use the
 * name of a member: a server that somebody copied with its settings, say. Such a stranger is cut
 * off and told of, by its address. */
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
    SLOTS_REACT_MS = 3000,   /* a disk that is full within so long is short, whatever is free: to
                              * drop a slot takes a checkpoint */
    SLOTS_FASTEST = 400,     /* MiB that are written in a second at most ... */
    SLOTS_LOOKS = 4,         /* ... and at least so many looks before all that is free is used */
    SLOTS_PAUSE_MIN_MS = 250,
    SLOTS_PAUSE_MAX_MS = 5000,
    SLOTS_PACE_MS = 1000, /* files of the log are made one by one: a shorter time tells nothing */
    SLOTS_PACE_MAX = 16,
};

/* How much was free at the newest looks. */
struct slots_pace {
    uint64_t free[SLOTS_PACE_MAX]; /* the newest last */
    hm_ms at_ms[SLOTS_PACE_MAX];
    size_t n;
};

struct slot {
    char name[SLOT_NAME_BYTES];
    bool is_active;
    char from[48];    /* who streams by it: its address; "" not known */
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
    hm_ms full_ms; /* until that is used up, as fast as now; HM_NEVER: it is not */
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
    SLOT_DROP_STALE,   /* of a former copy */
    SLOT_DROP_LOST,    /* PostgreSQL made it useless */
    SLOT_DROP_LIMIT,   /* more than slot_max_bytes */
    SLOT_DROP_DISK,    /* the disk runs short */
    SLOT_CUT,          /* whoever streams by it is not its member: that one does not stream */
};

struct slot_step {
    enum slot_act act;
    char name[SLOT_NAME_BYTES];
    uint8_t member; /* HM_NOBODY: none of the record */
    bool is_active; /* who streams by it must be cut off first */
    uint64_t to;    /* SLOT_ADVANCE */
    uint64_t held;  /* bytes that a dropped one holds back */
    char from[48];  /* who streams by it */
};

enum { SLOT_STEPS_MAX = SLOTS_MAX + HM_MEMBERS_MAX };

/* Bytes that a slot holds back. */
uint64_t slot_held(const struct slots_seen *seen, const struct slot *slot);
bool slots_disk_is_short(const struct slots_world *w);
/* hamgr_SOMEBODY_ and sixteen digits: nobody else names a slot so. */
bool slots_is_ours(const char *name);

void slots_note_free(struct slots_pace *p, uint64_t free_bytes, hm_ms now_ms);
/* In how many ms nothing is left, at the rate of the last seconds; HM_NEVER: it does not become
 * less, or that is not known yet. */
hm_ms slots_full_ms(const struct slots_pace *p);
/* When to look again. */
hm_ms slots_pause_ms(uint64_t free_bytes);

/* Writes what is to be done, at most SLOT_STEPS_MAX, and returns how much; remembers `seen`. */
size_t slots_plan(const struct slots_world *w, const struct slots_seen *seen,
                  struct slots_memory *memory, struct slot_step *steps);

#endif
