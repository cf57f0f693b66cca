/* service.h - what a kind of database offers to hamgrd: all that knows PostgreSQL is in postgres/,
 * all that knows Redis in redis/, a third kind is another folder.
 *
 * A service watches one copy and reports what it sees as a struct copy; it carries out copy
 * operations (effect.h), one at a time, and reports how each ended. It judges nothing and decides
 * nothing. Everything runs on the loop of `base` and returns at once: the database is asked
 * asynchronously, files of the data directory are touched by a worker or a child only, because a
 * hung disk must not stop the loop. */
#ifndef HAMGR_ADAPTER_SERVICE_H
#define HAMGR_ADAPTER_SERVICE_H

#include "adapter/progress.h"
#include "base/err.h"
#include "core/effect.h"
#include "fence/verbs.h"
#include "probe/latency.h"
#include "settings/settings.h"

#include <event2/event.h>

struct service; /* of the kind's own making */

/* A piece of a dead server's log that a candidate asks for (tail rescue). */
struct service_log_ask {
    uint64_t id;          /* of the asking operation; echoed */
    uint64_t asker;       /* incarnation of the member that asked */
    struct ballot ballot; /* that the dead one's voter must have promised */
    struct position from;
    uint32_t size;
};
/* size 0: it cannot be read. Borrowed for the call. */
typedef void service_log_given(void *ctx, const struct service_log_ask *ask, const uint8_t *bytes,
                               size_t size);

struct service_host {
    void *ctx;
    /* A probe found this. The fence's fields are left empty: the host fills them in. */
    void (*on_copy)(void *ctx, const struct copy *copy);
    /* A copy operation ended; `copy` was probed after it. why: when it failed, for the log. */
    void (*on_done)(void *ctx, uint32_t op, bool is_ok, const char *why, const struct copy *copy);
    /* The server's main process ended and nobody asked for it, or what runs must not run: all that
     * is there must be killed now. Told again while it is there. why: for the log. */
    void (*on_died)(void *ctx, const char *why);
    /* Have the helper start the unit (CONTROL_SYSTEMD). False: it does not answer. */
    bool (*start_unit)(void *ctx);
    /* Have the helper suspend every process of the service and close its gate, as the last step of
     * DO_STOP for a server whose data ends with it. False: it does not answer. */
    bool (*suspend)(void *ctx);
    /* Have the helper look at the processes anew; what it finds comes by note_fence. False: it does
     * not answer. NULL: there is no helper. */
    bool (*scan)(void *ctx);
    /* Send this to that member's hamgrd; what it gives comes by take_log. False: no link, ask again
     * later. NULL: there are no links. */
    bool (*ask_log)(void *ctx, uint8_t member, const struct service_log_ask *ask);
    /* A fact about the own copy that should outlive hamgrd, for `hamgr history`. NULL: nobody keeps
     * it. */
    void (*note)(void *ctx, const char *text);
    /* What that member told of itself within the lease time. False: nothing. NULL: nobody does. */
    bool (*look_at_peer)(void *ctx, uint8_t member, struct gossip *ret);
};

struct service_config {
    struct event_base *base;                /* borrowed */
    const struct settings *settings;        /* borrowed, outlives the service */
    const struct settings_service *service; /* borrowed */
    uint64_t incarnation;                   /* of this member */
    struct service_host host;
};

enum { SERVICE_SLOTS_MAX = 16, SERVICE_DROPS_MAX = 4, SERVICE_FOREIGN_MAX = 4 };

/* A replication slot that this member keeps for another copy. */
struct service_slot {
    char name[64];
    char member[HM_NAME_MAX]; /* empty: one that left the cluster */
    bool is_active;           /* a copy streams by it */
    uint64_t held_bytes;      /* of the log, that it keeps from being removed */
};

/* One that was dropped although its copy may come back: that is cloned then. */
struct service_drop {
    char member[HM_NAME_MAX]; /* empty: one that left the cluster */
    char why[48];
    uint64_t held_bytes;
    hm_ms at_ms, wall_ms;
    bool is_over; /* the member streams again */
};

/* How far a standby has replayed what it has: a takeover waits for the rest. */
struct service_replay {
    bool is_known;
    uint64_t received, replayed; /* bytes */
    hm_ms behind_ms;             /* how long the oldest of what is not replayed has been there */
};

enum { SERVICE_DISKS_MAX = 8, SERVICE_DISK_NAME = 32, SERVICE_DISK_TEXT = 160 };

/* A disk that the service writes to. */
struct service_disk {
    char what[SERVICE_DISK_NAME]; /* what lies on it: "data and pg_wal", "tablespace 16384" */
    uint64_t size_bytes;
    uint64_t free_bytes; /* for the database's user */
    hm_ms full_in_ms;    /* if it goes on like this; HM_NEVER: it does not fill up */
};

/* Writes fail. */
bool service_disk_is_full(const struct service_disk *d);
/* It is full, or soon will be, by disk_warn_percent and disk_warn_minutes. */
bool service_disk_is_short(const struct service_disk *d, const struct settings *s);
/* "the disk of pg_wal has 1.2 GB of 20 GB left (6 %): full in 3 h 20 min at the present rate" */
void service_disk_text(const struct service_disk *d, char text[SERVICE_DISK_TEXT]);

/* Facts about the service for `hamgr status`, beyond what the core needs. */
struct service_facts {
    char version[24];         /* of the server */
    char detail[160];         /* more that people want to know of the server; empty: none */
    char doing[160];          /* the operation under way; empty: none */
    struct progress progress; /* of it */
    char trouble[160];        /* why it does not answer, or why the last operation failed; empty */
    char concern[160];        /* what is wrong although the copy is well; empty */
    hm_ms lost_ms;            /* boot time of that; 0: never */
    char lost[160]; /* diverged log that was set aside here since hamgrd started; empty: none */
    /* Of the own copy, if it is a standby; of those that stream from it, if it is the primary. */
    struct service_replay replay[HM_MEMBERS_MAX];
    bool is_replay_paused; /* of the own copy, by somebody's order */
    bool has_waiting;      /* it is a primary and tells ... */
    unsigned int waiting;  /* ... how many sessions wait for a standby to confirm a commit */
    struct latency_summary commits; /* how long hamgr's own took, of a primary */
    char stall[160];                /* what stalls, and what is known of why; empty */
    size_t disks_n;
    struct service_disk disk[SERVICE_DISKS_MAX];
    uint64_t slot_max_bytes; /* in force; 0: only the disk counts */
    size_t slots_n;
    struct service_slot slot[SERVICE_SLOTS_MAX];
    size_t drops_n;
    struct service_drop drop[SERVICE_DROPS_MAX]; /* the newest last */
    uint32_t sessions;                           /* of clients, ours among them ... */
    uint32_t sessions_max;                       /* ... and how many there can be; 0: not known */
    char lax[120];      /* whose commits wait for nobody although they should; "": nobody's */
    char stranger[112]; /* who used a member's name, and from where */
    hm_ms stranger_ms;  /* when it was cut off last; 0: never */
    size_t foreign_n;   /* slots of others that nobody uses and that hold back log: never dropped */
    struct service_slot foreign[SERVICE_FOREIGN_MAX];
    hm_ms answered_ms; /* boot time of the newest answer; 0: never */
};

/* What `hamgr check` found about one thing, and the next step where it is not right. */
struct service_finding {
    char name[48];
    bool is_ok;
    char text[160];
    char next[160];
};
typedef void service_checked(void *ctx, const struct service_finding *findings, size_t n);

struct service_type {
    const char *name;
    /* Begins to watch. HM_FAILED, HM_BAD_INPUT: a setting that cannot work here. */
    enum hm_rc (*open)(const struct service_config *config, struct service **ret,
                       struct hm_err *err);
    void (*close)(struct service *s); /* the database is left alone */
    /* Probe now, and on_copy; several calls before the answer are one. */
    void (*look)(struct service *s);
    /* Begin a copy operation, as effect.h says. */
    void (*carry_out)(struct service *s, const struct core_effect *e);
    /* The newest record that this member accepted: who the members are and where, history, pairs.
     * is_followed: its holder is heard renewing it, or is this member. Borrowed for the call. */
    void (*note_record)(struct service *s, const struct record *r, uint8_t self, bool is_followed);
    /* What the fence helper reported: who is stopped, how many processes there are. */
    void (*note_fence)(struct service *s, bool is_there, const struct fence_report *report);
    /* Reads a piece of the log of a server that is down, whoever may have it being known already.
     * False: not now, and `then` does not come. */
    bool (*give_log)(struct service *s, const struct service_log_ask *ask, service_log_given *then,
                     void *ctx);
    /* A piece that was asked for came; size 0: it was refused. What nobody waits for is dropped. */
    void (*take_log)(struct service *s, uint64_t id, uint64_t at, const uint8_t *bytes,
                     size_t size);
    /* Looks at all that hamgr needs of the server; `then` comes once, now or later. */
    void (*check)(struct service *s, service_checked *then, void *ctx);
    void (*describe)(const struct service *s, struct service_facts *ret);
};

extern const struct service_type service_postgres;
extern const struct service_type service_redis;

#endif
