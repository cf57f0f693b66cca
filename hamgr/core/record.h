/* record.h - the record of one service: who is primary, since when, and who has everything.
 *
 * A record is plain data without pointers. The register (voter.h) replicates it; only the member
 * that holds the service, or is about to, derives a new version from the one that it adopted.
 * Members are named by their slot, 0 to HM_MEMBERS_MAX - 1, in the record's own table; a slot is
 * used again only under another incarnation. Nothing here does I/O, allocates or reads a clock. */
#ifndef HAMGR_CORE_RECORD_H
#define HAMGR_CORE_RECORD_H

#include "base/base.h"
#include "base/err.h"
#include "view/observation.h"

#include <stdbool.h>
#include <stdint.h>

#define HM_TTL_MAX_MS 600000            /* no lease is longer: ten minutes */
#define HM_COUNTER_MAX (UINT64_MAX / 2) /* of ballots, versions and epochs: never reached */

/* One proposer's attempt. Totally ordered: counter, then slot, then incarnation. */
struct ballot {
    uint64_t counter; /* 0: no ballot at all */
    uint64_t incarnation;
    uint8_t member;
};

enum member_role { ROLE_NONE, ROLE_DB, ROLE_WITNESS, ROLE_OBSERVER };
enum service_kind { SERVICE_POSTGRES, SERVICE_REDIS };
enum durability { DURABILITY_ASYNC, DURABILITY_SYNC, DURABILITY_STRICT };

struct member {
    uint64_t incarnation;  /* drawn when its state directory was made; 0: not known yet */
    enum member_role role; /* ROLE_NONE: the slot is free */
    char name[HM_NAME_MAX];
    char address[HM_ADDRESS_MAX];
};

/* A stretch of history: `timeline` was begun by `epoch` at `start` bytes. */
struct timeline {
    uint64_t timeline;
    uint64_t epoch;
    uint64_t start;
};

/* One copy of the data. The id changes with every clone, rewind, restore or replaced
 * directory; for Redis with every start of the server. */
struct copy_name {
    uint64_t copy_id;
    uint8_t member;
};

/* Commits may be acknowledged once `need` of `copies` have flushed them (ARCHITECTURE 6.1).
 * need = 0, n = 0: the primary acknowledges alone. */
struct pair {
    uint8_t n;
    uint8_t need;
    struct copy_name copies[HM_MEMBERS_MAX];
};

enum switch_phase {
    SWITCH_NONE,
    SWITCH_PREPARED, /* chosen: the holder makes a checkpoint, stops its copy clean and releases */
    SWITCH_FORCED,   /* chosen: the holder has no primary and releases; a person vouches for `to` */
};

struct switchover {
    uint64_t order; /* the operator's order; 0: none */
    uint8_t to;     /* slot */
    enum switch_phase phase;
};

enum change_reason {
    CHANGE_FIRST,
    CHANGE_LEASE_RAN_OUT,
    CHANGE_RELEASED,
    CHANGE_SWITCHOVER,
    CHANGE_FORCED,
};

struct change {
    uint64_t epoch;
    hm_ms at; /* wall clock, for people only */
    uint8_t holder;
    enum change_reason reason;
};

struct record {
    uint64_t cluster;             /* cluster id */
    uint32_t cluster_incarnation; /* rises with `failover --force` */
    uint8_t service;
    enum service_kind kind;

    uint64_t version; /* rises with every record derived; with the ballot it names one record */
    uint64_t epoch;   /* counts changes of primary; 0: no record */
    uint8_t holder;
    uint64_t copy_id; /* the copy that the holder's epoch runs on */

    hm_ms ttl_ms;
    hm_ms heartbeat_ms;

    enum durability durability; /* what is promised now */
    enum durability goal;       /* what the operator asked for; promised once a marker came back */
    uint8_t sync_standbys;      /* k, as asked for */
    uint64_t max_lag_bytes;     /* async: nobody further behind takes over by itself */

    uint8_t pairs_n;
    struct pair pairs[HM_PAIRS_MAX];

    uint64_t system_id; /* PostgreSQL system identifier; Redis: 0 */
    uint8_t timelines_n;
    struct timeline timelines[HM_TIMELINES_MAX]; /* oldest first; the oldest are forgotten */
    struct position last_known;                  /* of the primary, when this version was written */

    bool is_paused;
    struct switchover switchover;
    uint64_t last_order; /* the newest operator's order that this record carries out */

    uint16_t voters;     /* slots that vote */
    uint16_t old_voters; /* while a change of members is under way: the slots before; else 0 */
    struct member member[HM_MEMBERS_MAX]; /* by slot */

    uint8_t changes_n;
    struct change changes[HM_CHANGES_MAX]; /* newest last */
};

/* < 0, 0, > 0 as a is below, equal to or above b. */
int ballot_compare(const struct ballot *a, const struct ballot *b);
/* Orders (ballot, version): what "newer record" means everywhere. */
int record_order(const struct ballot *a, uint64_t a_version, const struct ballot *b,
                 uint64_t b_version);

/* True if `votes` is a majority of the voters, and of the old ones while members change. */
bool record_is_majority(const struct record *r, uint16_t votes);
/* True if leases granted by `votes` keep every other candidate out. While members change, each
 * candidate still needs a majority of the old voters, so theirs is what counts. */
bool record_is_lease_majority(const struct record *r, uint16_t votes);
/* Slots to ask for votes: voters and old voters. */
uint16_t record_electorate(const struct record *r);
/* Slots of db members. */
uint16_t record_db_members(const struct record *r);
/* The slot of the member with that incarnation, or HM_NOBODY. */
uint8_t record_find(const struct record *r, uint64_t incarnation);
/* The slot of the member with that name, or HM_NOBODY. */
uint8_t record_find_name(const struct record *r, const char *name);

/* True if `p` lies on the record's history: its timeline is known and it does not pass the
 * point where the next one begins. `began_epoch` is the epoch that the copy itself noted for
 * its timeline (0: not noted); another epoch under the same number is another timeline. */
bool record_is_on_history(const struct record *r, const struct position *p, uint64_t began_epoch);
/* Compares two positions that are both on the history: < 0, 0, > 0. */
int record_compare(const struct position *a, const struct position *b);
/* The slot of the member that alone wrote on this timeline; HM_NOBODY: it is not on the history, or
 * nobody remembers, or that member left. */
uint8_t record_writer(const struct record *r, uint64_t timeline);
/* The stretch of history that runs now; NULL if there is none. Borrowed from r. */
const struct timeline *record_timeline(const struct record *r);
/* Appends a stretch; the oldest is forgotten when the table is full. */
void record_add_timeline(struct record *r, uint64_t timeline, uint64_t epoch, uint64_t start);
/* Appends a change of primary; the oldest is forgotten when the table is full. */
void record_add_change(struct record *r, enum change_reason reason, hm_ms wall_ms);
/* Redis draws its replication id only when it is promoted: until the record has learned it, the
 * stretch carries this bit, and nobody follows. */
#define HM_TIMELINE_OPEN (1ull << 63)

/* The HOST of a member's address. False, and then it is "": there is no such member, or its address
 * is none. */
bool record_host(const struct record *r, uint8_t slot, char host[HM_ADDRESS_MAX]);

/* A timeline number higher than any in the history; for Redis one that is still open. */
uint64_t record_next_timeline(const struct record *r);

/* Checks what a record from outside must fulfil before the core looks at it: counts within
 * their limits, slots that exist, need <= n, one holder that is a db member, a majority that
 * exists. HM_BAD_INPUT names the first thing wrong in *ret_why (a constant string). */
enum hm_rc record_check(const struct record *r, const char **ret_why) HM_MUST_CHECK;

/* Pairs. A digest names a pair by its content, whatever the order of its copies; never 0. */
extern const struct pair pair_alone; /* (empty, 0) */
uint64_t pair_digest(const struct pair *p);
bool pair_is_alone(const struct pair *p);
bool pair_has(const struct pair *p, uint8_t member, uint64_t copy_id);
/* Adds a copy; refused silently only when it is there already. Copies must fit the table. */
void pair_add(struct pair *p, uint8_t member, uint64_t copy_id);
bool record_has_pair(const struct record *r, uint64_t digest);
/* True if this very copy is in a pair of the record: then it may not be rebuilt. */
bool record_pairs_have(const struct record *r, uint8_t member, uint64_t copy_id);

/* The same; copy_id 0, a copy that is gone or half-made: any copy of that member. */
bool record_pairs_name(const struct record *r, uint8_t member, uint64_t copy_id);

const char *member_role_name(enum member_role role);
const char *durability_name(enum durability d);

#endif
