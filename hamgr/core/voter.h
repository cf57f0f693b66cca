/* voter.h - one voter of one service's register: promises, acceptances, leases.
 *
 * The register is a compare-and-swap register of the CASPaxos family (D. Rystsov, "CASPaxos:
 * Replicated State Machines without logs", 2018) whose acceptance also grants a lease as in
 * PaxosLease (Trencseni, Gazso, Reinhardt, 2012). ARCHITECTURE 3 states the rules R1 to R9.
 *
 * The voter never sends and never writes: it says which answer may leave now, and which one only
 * after its state is on disk. It makes one durable change at a time (R3). No allocation, no clock.
 */
#ifndef HAMGR_CORE_VOTER_H
#define HAMGR_CORE_VOTER_H

#include "core/msg.h"
#include "core/record.h"

/* What must survive a power loss; written whole, with a checksum, before the answer leaves. */
struct voter_state {
    uint64_t incarnation; /* of this member */
    struct ballot promised;
    struct ballot accepted; /* counter 0: nothing accepted yet */
    hm_ms max_ttl_ms;       /* the longest lease that may have been granted */
    struct record record;   /* with `accepted` */
};

struct voter {
    struct voter_state durable; /* what is on disk */
    struct voter_state pending; /* what is being written, while is_writing */
    bool is_blank;              /* the file is missing: silent until added anew */
    bool is_writing;
    struct msg request; /* the request whose change is being written */

    hm_ms born_ms;
    struct {
        uint8_t member; /* HM_NOBODY: none */
        struct ballot ballot;
        hm_ms until_ms;
    } lease;
    struct {
        uint8_t member;
        struct ballot ballot;
    } released;
    struct {
        uint8_t member;
        hm_ms at_ms;
    } just_promised;
    hm_ms small_ttl_ms;       /* the longest ttl below max_ttl ... */
    hm_ms small_ttl_since_ms; /* ... and since when nothing longer was granted; HM_NEVER */
};

/* What became of a request. */
enum voter_says {
    VOTER_ANSWERS, /* *ret_answer may leave now */
    VOTER_WRITES,  /* v->pending must be on disk first: voter_written() */
    VOTER_LATER,   /* a change is being written: ask again after it (R3) */
    VOTER_SILENT,  /* nothing to say */
};

/* state: borrowed for the call; NULL when the file is missing: the voter stays silent. */
void voter_init(struct voter *v, const struct voter_state *state, hm_ms now_ms);

/* Takes one PREVOTE, PREPARE, ACCEPT, RENEW, RELEASE or FREEZE (its promise only). The caller has
 * checked that sender and cluster are right. ret_answer: type, ballot, version, seq and the
 * verdict are filled in; addressing is the caller's; its record is borrowed from the voter. */
enum voter_says voter_take(struct voter *v, const struct msg *m, hm_ms now_ms,
                           struct msg *ret_answer);

/* The change that voter_take() asked for is on disk (is_ok), or could not be written: then
 * nothing has changed and the answer refuses. A lease begins now. */
void voter_written(struct voter *v, bool is_ok, hm_ms now_ms, struct msg *ret_answer);

/* True while a lease of a member other than `member` is live. */
bool voter_has_lease_of_another(const struct voter *v, uint8_t member, hm_ms now_ms);
/* Boot-time ms at which the lease of another member than `member` has run out; 0: none. */
hm_ms voter_lease_end(const struct voter *v, uint8_t member);
/* Until when the voter is in quarantine; the holder that it accepted is let in before. */
hm_ms voter_quarantine_end(const struct voter *v);

#endif
