/* effect.h - all that the core can ask for, as plain data.
 *
 * Effects are carried out in order. Every effect may be asked for twice: when it is already so,
 * or under way, the adapter does nothing. Copy operations (DO_START to DO_MARKER) run one at a
 * time on a copy and are numbered; a newer one takes the place of one that can be given up
 * (effect_can_be_given_up()), and waits for any other. Each ends in an ON_DONE.
 *
 * DO_FENCE, DO_THAW, DO_KILL and DO_LOOK have no ON_DONE: a probe follows each of them at once.
 * DO_STOP may be left to run for 40 heartbeats, then DO_KILL follows. DO_MARKER ends well when a
 * transactional commit, written with synchronous_commit = on after the names were in force, has
 * returned, `need` copies of the pair have flushed it, and every walsender that may release commits
 * has sent it or is gone (it releases by the rule that it read last); it may take for ever.
 * DO_RESCUE ends within its own time limit; however it ends, the position probed after it is the
 * one that a promotion would begin at. `ballot` is what the dead member must have promised. */
#ifndef HAMGR_CORE_EFFECT_H
#define HAMGR_CORE_EFFECT_H

#include "core/event.h"
#include "core/msg.h"
#include "core/voter.h"

/* X(constant, text) */
#define CORE_EFFECTS(X)                                                                            \
    X(DO_SEND, "send")                                                                             \
    X(DO_PERSIST, "persist") /* write the voter's state, then ON_PERSISTED */                      \
    X(DO_FENCE, "fence")     /* tell hamgr-fence the mode, the deadline, the gate */               \
    X(DO_THAW, "thaw")       /* let a suspended copy go on */                                      \
    X(DO_KILL, "kill")       /* SIGKILL every process, destroy the port's sockets */               \
    X(DO_START, "start")     /* the server, as a standby that follows nobody */                    \
    X(DO_STOP, "stop")       /* a clean stop, everything streamed */                               \
    X(DO_PROMOTE, "promote") /* onto `timeline`, names set to nobody or empty before */            \
    X(DO_FOLLOW, "follow")   /* stream from `member` */                                            \
    X(DO_FREEZE, "freeze")   /* stop receiving, prove it, read the final position */               \
    X(DO_FETCH, "fetch")     /* stream from `member`'s frozen log up to `upto` */                  \
    X(DO_RESCUE, "rescue")   /* take from the files of dead `member` what is missing to `upto` */  \
    X(DO_REWIND, "rewind")   /* keep what diverged, then pg_rewind from `member` */                \
    X(DO_CLONE, "clone")     /* a new copy from `member` */                                        \
    X(DO_INIT, "init")       /* a new, empty database */                                           \
    X(DO_CHECKPOINT, "checkpoint")                                                                 \
    /* Redis knows no names: only the copies that they name may be attached; others are cut off */ \
    X(DO_SET_NAMES, "set-names") /* synchronous_standby_names, until a new connection shows it */  \
    X(DO_PROVE, "prove")         /* that a commit waits under the names that nobody has */         \
    X(DO_MARKER, "marker")       /* a commit returned; `need` flushed it, all got it */            \
    X(DO_LOOK, "look")           /* probe the copy now */                                          \
    X(DO_REPOINT, "repoint")     /* clients to `member` */                                         \
    X(DO_ALERT, "alert")                                                                           \
    X(DO_REPLY, "reply") /* how an order ended */

enum core_effect_type {
#define X(name, text) name,
    CORE_EFFECTS(X)
#undef X
        CORE_EFFECTS_N
};

enum alert_kind {
    ALERT_NONE,
    ALERT_NEW_PRIMARY,
    ALERT_LOST_LEASE,
    ALERT_REBUILD,       /* a copy diverged and is rewound or cloned */
    ALERT_REBUILD_FAILS, /* ... and that failed several times: a person should look */
    ALERT_ALONE,         /* sync, and no standby is there: commits are acknowledged alone */
    ALERT_BLANK,         /* the voter's file is missing */
    ALERT_DISK,          /* the voter's state cannot be written */
    ALERT_STOPPED,       /* the cluster has a newer incarnation */
    ALERT_NO_PRIMARY,    /* it holds the lease, and no copy may go on unless a person says so */
};

struct core_effect {
    enum core_effect_type type;
    uint32_t op; /* copy operations: comes back in ON_DONE */
    union {
        struct msg send; /* its record is borrowed from the core until the next core_step() */
        struct {
            uint32_t ticket;
            const struct voter_state *state; /* borrowed until ON_PERSISTED was fed */
        } persist;
        struct {
            enum fence_mode mode;
            hm_ms suspend_ms;  /* with FENCE_LEASE: when the helper suspends by itself, unless told
                                * anew: the deadline less the time that suspending may take */
            hm_ms until_ms;    /* with FENCE_LEASE: the holder's deadline, when the gate closes */
            bool is_gate_open; /* to clients; members pass until the deadline anyway, so that
                                * standbys stream before the first client is let in */
        } fence;
        struct {
            uint8_t member;
            struct ballot ballot;
            uint64_t timeline;
            uint64_t epoch;
            struct position upto;
        } copy;
        struct {
            enum names_state names;
            struct pair pair; /* with NAMES_PAIR */
        } names;
        struct {
            uint8_t member; /* HM_NOBODY: hold the clients */
            uint64_t epoch;
        } repoint;
        struct {
            enum alert_kind kind;
            uint64_t epoch;
        } alert;
        struct {
            uint64_t order;
            enum hm_rc rc;
            const char *why; /* a constant string */
        } reply;
    };
};

/* The most effects of one step: a message and a copy operation's worth for every member. */
#define CORE_EFFECTS_MAX 48

struct core_effects {
    size_t n;
    struct core_effect item[CORE_EFFECTS_MAX];
};

const char *core_effect_name(enum core_effect_type type);
bool effect_is_copy_operation(enum core_effect_type type);
bool effect_can_be_given_up(enum core_effect_type type);
/* Of two copy operations: they ask for the same, and only their ids differ. */
bool effect_is_same(const struct core_effect *a, const struct core_effect *b);

#endif
