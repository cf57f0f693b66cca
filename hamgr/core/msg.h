/* msg.h - what members say to each other about one service, as plain data.
 *
 * The wire format is another module's business; so is who the peer is (TLS). A message names
 * its sender by slot and incarnation, and its cluster by id and incarnation. */
#ifndef HAMGR_CORE_MSG_H
#define HAMGR_CORE_MSG_H

#include "core/record.h"

/* X(constant, text) */
#define MSG_TYPES(X)                                                                               \
    X(MSG_NONE, "none")                                                                            \
    X(MSG_PREVOTE, "prevote") /* would you promise `ballot`? */                                    \
    X(MSG_PREVOTE_ANSWER, "prevote-answer")                                                        \
    X(MSG_PREPARE, "prepare")               /* promise `ballot` */                                 \
    X(MSG_PREPARE_ANSWER, "prepare-answer") /* with what is accepted */                            \
    X(MSG_ACCEPT, "accept") /* accept `record` as (ballot, version), start a lease */              \
    X(MSG_ACCEPT_ANSWER, "accept-answer")                                                          \
    X(MSG_RENEW, "renew") /* the lease of (ballot, version), `ttl_ms` more */                      \
    X(MSG_RENEW_ANSWER, "renew-answer")                                                            \
    X(MSG_RELEASE, "release") /* my leases up to `ballot` are over */                              \
    X(MSG_FREEZE, "freeze")   /* promise `ballot`, stop receiving the log, say how far */          \
    X(MSG_FREEZE_ANSWER, "freeze-answer")                                                          \
    X(MSG_YIELD, "yield")   /* your log is longer than mine: stand */                              \
    X(MSG_GOSSIP, "gossip") /* how I am */                                                         \
    X(MSG_QUERY, "query")   /* an observer asks for the record */                                  \
    X(MSG_RECORD, "record") /* what I accepted */

enum msg_type {
#define X(name, text) name,
    MSG_TYPES(X)
#undef X
        MSG_TYPES_N
};

/* Why a voter says no; the texts are shown to the operator. X(constant, text) */
#define REFUSALS(X)                                                                                \
    X(REFUSE_NOTHING, "granted")                                                                   \
    X(REFUSE_HIGHER_BALLOT, "a higher ballot is promised")                                         \
    X(REFUSE_LIVE_LEASE, "the lease of another member is live")                                    \
    X(REFUSE_QUARANTINE, "the voter restarted; leases that it forgot may be live")                 \
    X(REFUSE_RELEASED, "the sender released this ballot")                                          \
    X(REFUSE_JUST_PROMISED, "another member was promised within a heartbeat")                      \
    X(REFUSE_BETTER_CANDIDATE, "the voter is a better candidate itself")                           \
    X(REFUSE_OTHER_RECORD, "another version of the record is accepted")                            \
    X(REFUSE_TTL, "the ttl is above what is durable")                                              \
    X(REFUSE_NOT_A_MEMBER, "the sender is not a member of the record")                             \
    X(REFUSE_INCARNATION, "the cluster has a newer incarnation")                                   \
    X(REFUSE_DISK, "the state could not be written")                                               \
    X(REFUSE_NO_COPY, "there is no copy whose position is certain")

enum refusal {
#define X(name, text) name,
    REFUSALS(X)
#undef X
        REFUSALS_N
};

struct msg {
    enum msg_type type;
    uint8_t service;
    uint8_t from; /* slots; HM_NOBODY: an observer, or a member that knows no record yet */
    uint8_t to;
    uint64_t from_incarnation;
    uint64_t to_incarnation; /* 0: not known yet */
    uint64_t cluster;
    uint32_t cluster_incarnation;

    uint32_t seq; /* requests: one for each transmission; answers: that of the request */
    struct ballot ballot;
    uint64_t version;
    hm_ms ttl_ms;

    enum refusal refusal;   /* answers */
    struct ballot promised; /* answers: the voter's promise */
    hm_ms remaining_ms;     /* with LIVE_LEASE and QUARANTINE */

    struct ballot accepted;      /* PREPARE_ANSWER, RECORD and some refusals; counter 0: nothing */
    const struct record *record; /* ACCEPT, and with `accepted`; borrowed, NULL if there is none */

    struct position at;   /* FREEZE_ANSWER: the final position; YIELD: the longer one */
    uint64_t began_epoch; /* FREEZE_ANSWER */
    uint64_t copy_id;     /* FREEZE_ANSWER */

    struct gossip gossip; /* every message between members */
};

const char *msg_type_name(enum msg_type type);
const char *refusal_text(enum refusal why);

/* Checks what a message from outside must fulfil: known type, slots within their limits, a
 * record where one is needed and one that record_check() lets pass, a ttl that is possible.
 * HM_BAD_INPUT names the first thing wrong in *ret_why (a constant string). */
enum hm_rc msg_check(const struct msg *m, const char **ret_why) HM_MUST_CHECK;

#endif
