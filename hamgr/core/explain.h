/* explain.h - who could take over, and what decides it: asked of the decision table itself.
 *
 * For each database member a copy of the core is turned into that member, as far as gossip tells
 * of it, and the rows of the table that refuse a takeover are asked. So an explanation cannot
 * differ from what would be decided; it is as good as the newest gossip. Changes nothing, no I/O,
 * no clock: the time is that of the newest event. */
#ifndef HAMGR_CORE_EXPLAIN_H
#define HAMGR_CORE_EXPLAIN_H

#include "core/core.h"

/* X(constant, text) */
#define EXPLAIN_VERDICTS(X)                                                                        \
    X(EXPLAIN_NONE, "none")         /* the slot is free, or has no copy */                         \
    X(EXPLAIN_LEADS, "leads")       /* it is the primary, and stays it */                          \
    X(EXPLAIN_HOLDS, "holds")       /* it holds the lease, and has no copy to make a primary of */ \
    X(EXPLAIN_CAN, "can")           /* it could take over now */                                   \
    X(EXPLAIN_LOST, "lost")         /* supposed to be */                                           \
    X(EXPLAIN_SILENT, "silent")     /* nothing was heard from it for two heartbeats */             \
    X(EXPLAIN_REFUSED, "refused")   /* `rule` keeps it from standing */                            \
    X(EXPLAIN_FEW_LOGS, "few-logs") /* commits may be known only to copies that are missing */     \
    X(EXPLAIN_NO_VOTES, "no-votes") /* no majority of the voters would be left */

enum explain_verdict {
#define X(name, text) name,
    EXPLAIN_VERDICTS(X)
#undef X
        EXPLAIN_VERDICTS_N
};

struct explained {
    enum explain_verdict verdict;
    uint16_t rule;        /* REFUSED: the row of the decision table */
    uint8_t rank;         /* CAN: how many go first */
    bool has_gossip;      /* the rest is known */
    struct position at;   /* end of its log */
    uint64_t behind;      /* bytes behind the furthest position known of the primary */
    uint8_t logs, needed; /* copies of the sync pair that is shortest of them, and how many it
                           * takes: for a sync mode */
};

/* X(constant, text) */
#define EXPLAIN_OUTCOMES(X)                                                                        \
    X(OUTCOME_STAYS, "stays")       /* the primary goes on */                                      \
    X(OUTCOME_TAKEOVER, "takeover") /* `successor` takes over */                                   \
    X(OUTCOME_NOBODY, "nobody")     /* the primary is lost, and nobody may take over */            \
    X(OUTCOME_STOPS, "stops")       /* no majority: whoever leads is suspended */

enum explain_outcome {
#define X(name, text) name,
    EXPLAIN_OUTCOMES(X)
#undef X
        EXPLAIN_OUTCOMES_N
};

struct explanation {
    enum explain_outcome outcome;
    uint8_t leader;    /* slot; HM_NOBODY: nobody leads now */
    uint8_t successor; /* TAKEOVER: slot */
    /* The leader holds the lease, and its copy, in this state, is not the one of its epoch. */
    bool has_no_primary;
    enum copy_state leader_copy;
    /* NOBODY: who has the most data of those that a person may let go on as they are (ORDER_KEEP);
     * slot, or HM_NOBODY. Positions of servers that were restarted say little. */
    uint8_t fullest;
    uint8_t votes, majority;
    uint8_t voters;
    bool is_last_majority; /* one more voter lost, and there is none */
    bool commits_wait;     /* STAYS: too few standbys are left for the pair that is in force */
    uint64_t at_risk;      /* TAKEOVER: acknowledged bytes that the successor may lack */
    uint64_t at_risk_most; /* ... and how many it could be at any other moment */
    hm_ms within_ms;       /* TAKEOVER, STOPS: about so long after the loss */
    struct explained member[HM_MEMBERS_MAX];
};

/* What would be if the members in `lost` (slots as bits; 0: none) were lost now with their hosts.
 * Whether a member could take over is told for the case that the leader is lost as well. */
void core_explain(const struct core *c, uint16_t lost, struct explanation *ret);

/* Why a person cannot let the data of this member's own copy go on, in a new epoch of the same
 * cluster (ORDER_KEEP), as far as is known here; a constant. NULL: it can be asked for. */
const char *core_keep_obstacle(const struct core *c);

const char *explain_verdict_name(enum explain_verdict v);
const char *explain_outcome_name(enum explain_outcome o);

#endif
