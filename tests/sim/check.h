/* check.h - the promises of DESIGN.md, asked for after every step of the simulator.
 *
 * It shares no code with the core: it compares ballots, counts majorities and walks histories by
 * itself, reads public fields, and of the core's functions calls only core_valid_until(). It
 * knows nothing of the simulator either: it sees the world through struct check_eyes, and is told
 * by the hooks below what happens. One struct check watches one service. It never changes the
 * world and draws no random numbers, so a run is the same with it and without it.
 *
 * The first violation is kept and nothing is checked after it: the world looks at
 * check_failed() after each event and ends the run.
 *
 * Words: a node is a host of the world, 0 to CHECK_NODES_MAX - 1, whatever slot it has in a
 * record. An identity is a node under one incarnation. A branch is a stretch of log that one
 * promotion (or one empty start) began, unique in the world, whatever timeline number it shows.
 * "us" is true time. */

#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "core/core.h"

enum {
    CHECK_NODES_MAX = 12,
    CHECK_IDENTITIES_MAX = 32, /* nodes times incarnations in one run */
    CHECK_ENTRIES_MAX = 768,   /* (ballot, version) that are remembered */
    CHECK_BRANCHES_MAX = 1024,
    CHECK_WHAT_MAX = 400,
};

/* X(constant, name) */
#define CHECK_INVARIANTS(X)                                                                        \
    X(INV_NONE, "none")                                                                            \
    X(INV_LEASE, "LEASE")       /* one lease at a time, and never longer than the voters' */       \
    X(INV_P1, "P1")             /* one writer */                                                   \
    X(INV_P2, "P2")             /* nothing acknowledged is lost */                                 \
    X(INV_P3, "P3")             /* bounded loss in async; never a diverged copy */                 \
    X(INV_P4, "P4")             /* a majority always can */                                        \
    X(INV_P5, "P5")             /* no needless outage */                                           \
    X(INV_P6, "P6")             /* convergence */                                                  \
    X(INV_BALLOT, "BALLOT")     /* durable state never goes back */                                \
    X(INV_EPOCH, "EPOCH")       /* one holder for an epoch, and epochs rise */                     \
    X(INV_REGISTER, "REGISTER") /* (ballot, version) names one record; chosen ones form a line */  \
    X(INV_PROMISE, "PROMISE")   /* nothing leaves before it is on disk; leases are respected */    \
    X(INV_LEGAL, "LEGAL")       /* an effect that the world must not meet */                       \
    X(INV_LIVE, "LIVE")         /* no busy loop */

enum check_invariant {
#define X(name, text) name,
    CHECK_INVARIANTS(X)
#undef X
        CHECK_INVARIANTS_N
};

/* What a copy of the data really is, whatever probes say. */
struct check_copy {
    enum copy_state state; /* PRIMARY also while orphaned backends could acknowledge */
    bool is_suspended;     /* every process is stopped: state tells what it would be if thawed */
    bool was_primary;
    bool is_forged;    /* made a primary by hand: nobody ever had the right to it */
    bool is_final;     /* all log on its disk has been read (true for every running primary) */
    bool is_streaming; /* it receives the log at this moment */
    uint8_t follows;   /* node that it is set to follow, or HM_NOBODY */
    uint32_t branch;
    uint64_t end;     /* bytes on that branch: received */
    uint64_t flushed; /* bytes on that branch that a power loss leaves there */
    uint64_t copy_id;
    uint64_t server_id;
    uint64_t began_epoch;
    enum names_state names; /* synchronous_standby_names as a new connection shows it */
    struct pair names_pair; /* with NAMES_PAIR */
};

/* How the checker looks at the world; every function gets `world`. node < the nodes given to
 * check_init(). */
struct check_eyes {
    void *world;
    int64_t (*now_us)(void *world);
    hm_ms (*local_ms)(void *world, int node);                 /* boot time of the host, now */
    int64_t (*true_us)(void *world, int node, hm_ms local);   /* when its boot time shows `local` */
    const struct core *(*core)(void *world, int node);        /* NULL: hamgrd does not run */
    const struct voter_state *(*disk)(void *world, int node); /* NULL: the file is missing */
    void (*copy)(void *world, int node, struct check_copy *ret); /* brings lazy state up to date */
};

/* An entry of the register: what (ballot, version) names, and who has accepted it for good. */
struct check_entry {
    struct ballot ballot;
    uint64_t version;
    uint64_t hash;      /* of the record's content */
    uint32_t acceptors; /* identities */
    bool is_chosen;
    int64_t chosen_us;
    struct record record;
};

/* A ballot: who promised it, who froze for it. */
struct check_attempt {
    struct ballot ballot;
    uint32_t prevoted; /* identities that said they would */
    uint32_t promised; /* identities whose promise left */
    bool is_freezing;  /* LOG_FREEZE left, so a majority has promised */
    struct {
        uint64_t copy_id; /* 0: no answer to LOG_FREEZE left */
        uint32_t branch;
        uint64_t end;
    } answer[CHECK_NODES_MAX];
};

struct check_branch {
    uint32_t id;
    uint32_t parent; /* 0: none, it began empty */
    uint64_t fork;   /* where it leaves its parent */
    uint64_t epoch;  /* that its promotion carried; 0: begun before hamgr */
    uint64_t acked;  /* highest acknowledged and promised end on it; 0: nothing */
};

struct check_node {
    int identity;      /* now; -1: none yet */
    bool is_live;      /* hamgrd runs */
    bool is_blank;     /* it started without the voter's file */
    bool is_outside;   /* a failover was forced without it */
    bool is_excused;   /* the fence helper does not run in time, and there is no gate */
    bool clocks_stood; /* since its last full round of renewals */
    hm_ms stood_ms;    /* its boot time then */
    bool has_disk;
    struct voter_state disk; /* the newest state that was reported as written, or loaded */
    int entry;               /* of what is accepted there; -1: none */

    hm_ms valid_until_ms;    /* as the core said last */
    int64_t licence_us;      /* the copy may acknowledge until then; survives hamgrd */
    struct ballot top;       /* highest ballot it ever proposed */
    struct ballot barrier;   /* of an earlier life: everything up to it is over */
    struct ballot released;  /* everything up to it is over */
    struct ballot accepting; /* the highest whose first ACCEPT was looked at */
    int own_chosen;          /* the highest chosen entry that this node holds; -1: none */
    int64_t sync_since_us; /* since when its chosen records promise sync; INT64_MAX: they do not */
    bool has_resumed;      /* the newest record that it sent as a holder is not paused */
    enum fence_mode told;  /* what the fence helper was told last */
    uint64_t least_end;    /* async: what the copy that it promotes must reach */

    struct {
        struct ballot ballot; /* counter 0: none */
        uint64_t version;
    } renewed[CHECK_NODES_MAX];         /* the newest RENEW received from each in this life */
    uint32_t last_seq[CHECK_NODES_MAX]; /* of ACCEPT and RENEW to each node, in this life */
    struct {
        int64_t at_us;
        uint64_t end;        /* of its standby */
    } peer[CHECK_NODES_MAX]; /* what each said about itself last, in this life */
    uint64_t heard_epoch;    /* the newest position of a primary that it heard of in this life */
    uint64_t heard_end;
    uint64_t heard_most;  /* the highest of that epoch */
    uint64_t draft_epoch; /* what it had heard when it wrote its own record */
    uint64_t draft_end;

    hm_ms step_ms; /* busy loop */
    uint32_t steps;
};

/* What a voter owes to a holder. */
struct check_grant {
    struct ballot ballot;
    int64_t until_us;       /* no other member before this, however fast its clock runs */
    struct ballot released; /* by the holder, as far as the voter was told */
};

struct check {
    struct check_eyes eyes;
    int nodes;
    enum service_kind kind;

    enum check_invariant broken;
    int64_t broken_us;
    char what[CHECK_WHAT_MAX];

    int identities_n;
    struct {
        uint64_t incarnation;
        int node;
    } identity[CHECK_IDENTITIES_MAX];
    struct check_node node[CHECK_NODES_MAX];
    struct check_grant grant[CHECK_IDENTITIES_MAX][CHECK_NODES_MAX]; /* voter, holder */

    int entries_n;
    int newest;      /* the chosen entry that is highest in order; -1: none yet */
    uint32_t forced; /* nodes to which a failover was forced, and no record of it is chosen yet */
    struct check_attempt attempt[CHECK_NODES_MAX]; /* of each, the newest */
    struct check_attempt elsewhere;                /* what is said about any other ballot */
    int branches_n;
    struct check_branch branch[CHECK_BRANCHES_MAX];

    uint64_t promoted_epoch; /* the highest epoch that was promoted, */
    uint32_t promoted_branch;
    int promoted_node;
    uint64_t acked_epoch; /* the highest that acknowledged */
    int acked_node;
    int64_t acked_us;    /* when an acknowledgement left last, */
    int acked_last_node; /* and where */
    uint64_t failovers;  /* changes of holder among promotions: for the statistics */

    bool is_stuck; /* see check_too_late() */
    bool is_calm;  /* P5: only faults that must not be felt */
    int64_t calm_gap_us;
    int64_t calm_acked_us;
    uint64_t calm_epoch;

    struct check_entry entry[CHECK_ENTRIES_MAX]; /* last: not cleared by check_init() */
};

/* Starts to watch one service of a world with `nodes` hosts. */
void check_init(struct check *ck, const struct check_eyes *eyes, enum service_kind kind, int nodes);

/* True once an invariant is broken; then check_name(ck->broken), ck->what and ck->broken_us. */
static inline bool check_failed(const struct check *ck)
{
    return ck->broken != INV_NONE;
}
const char *check_name(enum check_invariant invariant);

/* --- what the world tells ------------------------------------------------------------------- */

/* The state directory of `node` has this incarnation from now on: at the start of the run, and
 * when a host is wiped or replaced. */
void check_joined(struct check *ck, int node, uint64_t incarnation);
/* hamgrd starts, before its core takes ON_START with this state (NULL: the file is missing). */
void check_started(struct check *ck, int node, const struct voter_state *state);
/* hamgrd ended, whyever. is_host: its host lost power, so no process of the service is left. */
void check_stopped(struct check *ck, int node, bool is_host);
/* Before the core takes ON_MESSAGE. */
void check_received(struct check *ck, int node, const struct msg *m);
/* Before the core takes ON_PERSISTED with is_ok: what is on disk now. (Not for is_ok = false.) */
void check_persisted(struct check *ck, int node, const struct voter_state *state);
/* After each core_step(), before its first effect is carried out. */
void check_stepped(struct check *ck, int node, const struct core_effects *did);

/* A branch begins: a promotion, or an empty data directory (parent 0). Branches that are there
 * at the start of the run are told as well. id must not be 0. */
void check_branched(struct check *ck, uint32_t id, uint32_t parent, uint64_t fork);
/* The copy of `node` became writable on `branch`, which check_branched() told before. Not for a
 * server that comes up as the primary that it was before hamgr (the adoption at the start). */
void check_promoted(struct check *ck, int node, uint32_t branch, uint64_t epoch);
/* The packet that acknowledges the write that ends at `lsn` leaves the host. epoch: began_epoch
 * of the copy when it executed the write. released_us: when the commit returned, that is when its
 * rule was fulfilled. is_confirmed: PostgreSQL always true; Redis: WAIT was answered for it. */
void check_acknowledged(struct check *ck, int node, uint32_t branch, uint64_t epoch, uint64_t lsn,
                        int64_t released_us, bool is_confirmed);

/* --- what excuses --------------------------------------------------------------------------- */

/* The host goes on after all of its clocks stood still. */
void check_clocks_stood(struct check *ck, int node);
/* From now on (until told otherwise) the fence helper of a node without a gate does not run in
 * time: it is dead or stopped, or the whole host stands still. Told with is_excused = false when
 * the helper has run again and has done what was overdue. */
void check_excused(struct check *ck, int node, bool is_excused);
/* The operator orders a forced failover to `survivors` (bits of nodes): a record of a new cluster
 * that names nobody else may be chosen from now on. Once it is, all other nodes are outside: he
 * vouched that they are off. Or, where a majority lives, that one of them goes on with what it has
 * in an epoch that says so, in the same cluster: from then on what was acknowledged before is not
 * asked for any more, and all else is as always. */
void check_forced(struct check *ck, uint32_t survivors);

/* --- P5, P4 and P6 -------------------------------------------------------------------------- */

/* From now on only faults that P5 says are not felt: no new epoch, and while clients write no gap
 * between acknowledgements above gap_us. check_calm_ended() before anything else happens. */
void check_calm(struct check *ck, int64_t gap_us);
void check_calm_ended(struct check *ck);

/* The newest chosen record, or NULL. */
const struct record *check_newest(const struct check *ck);

/* Is every member where P4 and P6 want it? If not, *ret_why (CHECK_WHAT_MAX bytes) says what is
 * missing. Cheap enough for every 50 ms after the faults ended. */
bool check_is_converged(struct check *ck, char *ret_why);
/* The time is over and it has not converged: P4 without a working primary, else P6. When no copy
 * that exists may take over by the rules, ck->is_stuck is set instead: only a force helps. */
void check_too_late(struct check *ck);
/* True if some copy may take over by the rules, or holds already. */
bool check_has_eligible(struct check *ck);

/* --- for the parts of the checker ----------------------------------------------------------- */

void check_break(struct check *ck, enum check_invariant invariant, const char *format, ...)
    HM_PRINTF(3, 4);

#endif
