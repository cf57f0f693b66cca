/* event.h - all that the core can be told, as plain data.
 *
 * Every event carries the boot time at which it was taken up; time never runs backwards.
 * Start-up is an event too: what was on disk comes in through the same door. */
#ifndef HAMGR_CORE_EVENT_H
#define HAMGR_CORE_EVENT_H

#include "core/msg.h"
#include "core/voter.h"

/* X(constant, text) */
#define CORE_EVENTS(X)                                                                             \
    X(ON_START, "start")         /* the daemon started: what the voter's file held */              \
    X(ON_TICK, "tick")           /* time passed */                                                 \
    X(ON_MESSAGE, "message")     /* from a member that the link authenticated */                   \
    X(ON_PERSISTED, "persisted") /* how a DO_PERSIST ended */                                      \
    X(ON_COPY, "copy")           /* a probe of the own copy and its fence */                       \
    X(ON_DONE, "done")           /* how a copy operation ended */                                  \
    X(ON_STALL, "stall") /* the loop stalled or clocks disagree: time may have been lost */        \
    X(ON_ORDER, "order") /* from the operator */

enum core_event_type {
#define X(name, text) name,
    CORE_EVENTS(X)
#undef X
        CORE_EVENTS_N
};

enum order_kind {
    ORDER_NONE,
    ORDER_PAUSE,
    ORDER_RESUME,
    ORDER_SWITCHOVER,    /* to `member`, or to the best one if HM_NOBODY */
    ORDER_CANCEL,        /* calls a switchover off */
    ORDER_TIMING,        /* ttl_ms, heartbeat_ms */
    ORDER_DURABILITY,    /* durability, sync_standbys */
    ORDER_MEMBER_ADD,    /* `added`: name, address, role, incarnation */
    ORDER_MEMBER_REMOVE, /* `member` */
    ORDER_REBUILD,       /* makes the own copy anew; for the member itself, not for the holder */
    ORDER_FORCE,         /* failover --force: this member goes on alone, in a new incarnation */
    ORDER_KEEP,          /* the same where a majority lives: the data of `member` go on, in a new
                          * epoch; for the holder, or for that member when nobody holds the lease */
};

struct order {
    enum order_kind kind;
    uint64_t id; /* not 0; an order with an id not above the record's last_order is a repetition */
    uint8_t member;
    hm_ms ttl_ms;
    hm_ms heartbeat_ms;
    enum durability durability;
    uint8_t sync_standbys;
    struct member added;
};

struct core_event {
    enum core_event_type type;
    hm_ms at_ms;   /* boot time */
    hm_ms wall_ms; /* wall clock, only ever copied into the history for people */
    union {
        struct {
            const struct voter_state *state; /* borrowed; NULL: the file is missing */
        } start;
        struct msg message; /* its record is borrowed for the call */
        struct {
            uint32_t ticket;
            bool is_ok;
        } persisted;
        struct copy copy;
        struct {
            uint32_t op;
            bool is_ok;
            struct copy copy; /* probed after the operation ended */
        } done;
        struct order order;
    };
};

const char *core_event_name(enum core_event_type type);

/* Checks an event from outside: known type, limits, no contradictions in itself.
 * HM_BAD_INPUT names the first thing wrong in *ret_why (a constant string). */
enum hm_rc core_event_check(const struct core_event *ev, const char **ret_why) HM_MUST_CHECK;

#endif
