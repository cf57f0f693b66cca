/* core.h - decides what this member does next for one service; does nothing itself.
 *
 * In: one event. Out: the effects that the adapters must carry out, in order.
 * The core reads no clock, allocates nothing, logs nothing, does no I/O: the same events always
 * give the same effects. It is level-triggered: in every step it compares what the record and
 * the lease say should be with what the probes say is, and asks for the difference. One thread
 * only. The same object files run in hamgrd, in the witness and in the simulator. */
#ifndef HAMGR_CORE_CORE_H
#define HAMGR_CORE_CORE_H

#include "base/prng.h"
#include "core/effect.h"
#include "core/event.h"
#include "core/voter.h"
#include "view/view.h"

/* X(constant, text) */
#define CORE_STATES(X)                                                                             \
    X(ST_START, "start")         /* nothing has been told yet */                                   \
    X(ST_BLANK, "blank")         /* the voter's file is missing */                                 \
    X(ST_STOPPED, "stopped")     /* the cluster has a newer incarnation */                         \
    X(ST_VOTING, "voting")       /* a witness: votes and nothing else */                           \
    X(ST_OBSERVING, "observing") /* an observer: asks for the record */                            \
    X(ST_OUTSIDE, "outside")     /* not, or not yet, a member of the record */                     \
    X(ST_FOLLOWING, "following") /* the lease of another member runs */                            \
    X(ST_STANDING, "standing")   /* no lease runs: may it take over, and when */                   \
    X(ST_PREVOTE, "prevote")                                                                       \
    X(ST_PREPARE, "prepare")                                                                       \
    X(ST_FREEZE, "freeze")                                                                         \
    X(ST_YIELD, "yield")   /* another log is longer: that member first */                          \
    X(ST_FETCH, "fetch")   /* nobody came: stream what is missing */                               \
    X(ST_RESCUE, "rescue") /* fetches what only the dead primary has */                            \
    X(ST_ACCEPT, "accept")                                                                         \
    X(ST_HOLDER, "holder")                                                                         \
    X(ST_HOLDER_PREPARE, "holder-prepare") /* a voter promised higher: prepare again */            \
    X(ST_HOLDER_CHANGE, "holder-change")   /* the next version of the record is on its way */      \
    X(ST_HANDOVER, "handover")             /* holds, and fences its copy to give it away */        \
    X(ST_RELEASED, "released")             /* gave the lease away and stands back */

enum core_state {
#define X(name, text) name,
    CORE_STATES(X)
#undef X
        CORE_STATES_N
};

#define HM_PAST INT64_MIN /* a deadline that never was in the future */

/* What does not come from the record. Timings default from the record's heartbeat when 0. */
struct core_config {
    uint64_t cluster;
    uint8_t service;
    enum service_kind kind;
    enum member_role role;
    uint64_t incarnation;
    uint64_t seed; /* of the jitter */
    char name[HM_NAME_MAX];
    int16_t priority;
    bool is_nofailover;
    char follow[HM_NAME_MAX]; /* the standby to stream from while it can be; empty: the primary */
    hm_ms fence_margin_ms;    /* how long suspending every process may take */
    hm_ms stall_timeout_ms;   /* a primary that cannot flush for so long is given away */
    hm_ms crash_wait_ms;      /* async: how long a primary may recover in place */
    hm_ms freeze_timeout_ms;  /* how long answers to LOG_FREEZE are waited for beyond need */
    hm_ms rescue_timeout_ms;  /* async: how long to fetch what only a dead primary has; 0: never */
    uint64_t rescue_bytes;    /* ... and how much at most */
    struct record first;      /* what a new cluster begins with: members, timing, modes; epoch 0 */
};

/* One transmission of ACCEPT or RENEW, so that its answer is counted from its own send time. */
struct sent {
    struct ballot ballot;
    uint32_t seq;
    hm_ms at_ms;
    hm_ms ttl_ms;
};
#define CORE_SENT_MAX 64
#define CORE_INBOX_MAX 4
#define CORE_MOVES_MAX 32

struct freeze_answer {
    bool is_there;
    struct position at;
    uint64_t began_epoch;
    uint64_t copy_id;
};

struct core {
    struct core_config config;
    struct prng prng;
    enum core_state state;
    struct {
        enum core_state from;
        uint16_t rule;
    } moves[CORE_MOVES_MAX]; /* the changes of state in the last step, in order */
    uint8_t moves_n;
    uint16_t rule; /* the row that decided last */
    hm_ms now_ms;
    hm_ms wall_ms;
    hm_ms wake_ms;  /* collected while a step looks at times */
    hm_ms since_ms; /* when the state was entered */
    uint8_t self;   /* own slot, or HM_NOBODY */
    uint32_t cluster_incarnation;

    struct voter voter;
    struct view view;
    struct copy copy; /* the newest probe of the own copy */
    bool has_copy;
    uint32_t probes;             /* how many have been heard of */
    uint32_t fence_asked_probes; /* ... when the fence was last told another mode */
    hm_ms copy_noted_ms;         /* when that probe was heard of */
    hm_ms stream_ms;             /* when it was last seen streaming, or told to */

    struct msg inbox[CORE_INBOX_MAX]; /* requests that wait for a write (R3); records are copied */
    struct record inbox_record[CORE_INBOX_MAX];
    uint8_t inbox_n;
    uint32_t ticket;

    /* The own attempt, or the lease. */
    struct ballot mine;
    struct ballot
        standing_ballot;  /* ballot of the record that runs: differs while preparing again */
    uint64_t top_counter; /* highest ballot counter seen anywhere */
    uint32_t attempt_seq; /* of its PREVOTE and PREPARE: an answer to a former life has another */
    hm_ms attempt_until_ms;
    hm_ms stand_at_ms;  /* not before: back-off */
    hm_ms lease_end_ms; /* when the lease was seen to have ended: objections bind from then on */
    uint8_t failures;   /* attempts in a row that failed */
    uint16_t granted;   /* slots that said yes in this phase */
    uint16_t lagging;   /* voters that do not have the record that runs */
    uint16_t refused;   /* slots that said no */
    uint16_t not_empty; /* slots that have accepted something: then there is no first record */
    bool is_beaten;     /* somebody promised or accepted higher */
    bool is_removed;    /* a voter said that this member is none */
    bool is_outdated;   /* a newer incarnation of the cluster was heard */
    hm_ms ask_at_ms[HM_MEMBERS_MAX];           /* when to ask this slot (again) */
    hm_ms keep_at_ms;                          /* when to keep the promises fresh */
    uint64_t incarnations[HM_MEMBERS_MAX];     /* of those who answered */
    uint64_t seen_incarnation[HM_MEMBERS_MAX]; /* of the slots when the view was last cleared */
    hm_ms
        majority_since_ms; /* a majority is heard without a break since then; HM_NEVER: it is not */
    bool is_yielded_to;    /* a candidate with a shorter log stood back for this member */
    bool wants_rebuild;    /* the own copy diverged */
    bool has_news;         /* an answer was heard since the last decision */
    bool must_raise;       /* nobody took over from here: the own server is started again */
    hm_ms regained_ms;     /* when it got back what nobody took; HM_PAST: never */
    bool is_alone;         /* the record that runs lets the primary acknowledge alone */
    bool has_deferred;     /* went back once to let another go first */
    bool had_lease;        /* since the daemon started */
    hm_ms gossip_at_ms;
    struct ballot adopted_ballot;
    struct record adopted;  /* the highest record that a promise carried; epoch 0: none */
    hm_ms copy_since_ms;    /* when the own copy was first seen under its present id */
    uint64_t seen_epoch;    /* of the holder whose ... */
    uint64_t seen_offset;   /* ... furthest position this is, ... */
    uint64_t seen_timeline; /* ... and the timeline that it wrote on as the primary; 0: not heard */
    struct {
        uint64_t epoch, offset; /* of the old primary, as each voter told with its promise */
    } heard[HM_MEMBERS_MAX];
    struct record draft; /* what ACCEPT carries */
    struct record hint;  /* while nothing is accepted here: what another voter accepted */
    struct freeze_answer answers[HM_MEMBERS_MAX];
    uint8_t rescue_from; /* the dead primary's slot, and how far its log goes */
    struct position rescue_upto;
    uint8_t yield_to;
    struct position yield_at;

    /* The lease held. */
    struct sent sent[CORE_SENT_MAX];
    uint32_t seq;
    hm_ms acked_sent_ms[HM_MEMBERS_MAX];   /* send time of the newest acknowledged transmission */
    hm_ms acked_newest_ms[HM_MEMBERS_MAX]; /* until when that very one supports the lease */
    hm_ms acked_until_ms[HM_MEMBERS_MAX];  /* until when it supports the lease; HM_PAST: never */
    hm_ms valid_until_ms;                  /* computed from them; HM_PAST: no lease */
    hm_ms renew_at_ms;
    bool is_paused;           /* paused is in force for this holder: not fenced */
    hm_ms distrust_before_ms; /* transmissions before this do not extend the fence */
    uint64_t chosen_version;  /* of the record under standing_ballot that a majority accepted */
    bool is_chosen;           /* ... and it is the one accepted here: no change is under way */
    struct ballot released;   /* never used again (R5) */
    hm_ms released_at_ms;     /* HM_PAST: did not release, or may stand again */
    uint64_t released_epoch;
    hm_ms release_until_ms; /* RELEASE is repeated until then ... */
    hm_ms release_at_ms;    /* ... and goes out next */
    struct ballot lost;     /* of the lease that ran out here and may run on at voters; counter 0:
                             * none, or released */

    /* Following. */
    struct {
        bool is_there;
        uint8_t holder;
        struct ballot ballot;
        uint64_t version;
        hm_ms at_ms;
    } renewed; /* the newest RENEW for the very record that is accepted here (R6) */

    /* LOG_FREEZE that this member promised. */
    struct {
        struct ballot ballot; /* counter 0: none */
        struct msg request;
        bool must_answer;
        bool is_frozen;     /* proved by the copy, under this ballot ... */
        uint64_t server_id; /* ... while this server ran */
    } freeze;

    /* The operation under way on the copy. */
    struct {
        enum core_effect_type type; /* DO_SEND: none */
        uint32_t id;
        uint64_t detail; /* tells two operations of one type apart */
        hm_ms until_ms;
    } op;
    uint32_t op_counter;
    hm_ms op_ended_ms;
    hm_ms op_retry_ms; /* a failed operation is not repeated before */
    uint8_t op_failures;
    enum core_effect_type op_failed;
    bool is_rewind_impossible;
    uint64_t written_copy;     /* seen down with log of its own at its end; 0: none ... */
    uint64_t written_timeline; /* ... which is on this timeline */
    uint64_t given_up_copy;    /* by the operator, to be made anew; 0: none */
    hm_ms rebuild_since_ms;    /* wanted since then */
    uint8_t led_by;            /* the holder that was followed in the last step, or HM_NOBODY */
    hm_ms kill_asked_ms;
    hm_ms thaw_asked_ms;
    enum fence_mode fence_asked;
    hm_ms fence_asked_until_ms;
    bool fence_asked_gate;
    hm_ms fence_asked_at_ms;

    /* Synchronous replication on the holder (6.1). */
    uint64_t opened_server;   /* server_id for which the gate was opened */
    uint64_t checkpoint_done; /* the switchover order for which a checkpoint was made */
    uint64_t proved_server;   /* server_id for which commits were seen waiting; 0: none */
    uint64_t marked_server;   /* server_id ... */
    uint64_t marked_digest;   /* ... and pair under which a marker returned */
    hm_ms primary_since_ms;
    uint64_t primary_server;           /* ... on this server_id */
    hm_ms streamed_ms[HM_MEMBERS_MAX]; /* when this slot was last seen streaming ... */
    hm_ms looked_ms;                   /* when a probe was asked for last */
    hm_ms moved_ms[HM_MEMBERS_MAX];    /* ... and when it had everything, or more than before */
    hm_ms changed_ms;                  /* when the record changed last */
    bool has_write_failed;             /* the own voter's newest, during this change */
    hm_ms change_again_ms;             /* not before: the disk failed a moment ago */

    hm_ms resume_after_ms; /* ORDER_RESUME: the fence must show a later deadline than this */
    struct order order;    /* under way; ORDER_NONE: none */
    hm_ms order_until_ms;
    uint64_t repointed_epoch;
    uint8_t repointed_to;
    uint64_t alerted_epoch;
    uint64_t alerted_copy; /* it is told that nobody may go on beside this own copy */

    struct core_effects *out; /* only inside core_step() */
};

/* Prepares a core. Nothing is decided before ON_START. config is copied. */
void core_init(struct core *c, const struct core_config *config);

/* Takes one event and decides.
 *
 * c       from core_init(); left untouched unless HM_OK is returned.
 * ev      borrowed for the call; ev->at_ms must never run backwards.
 * ret_do  owned by the caller, overwritten on HM_OK; may stay empty.
 *
 * HM_OK, or HM_BAD_INPUT if the event is malformed or older than the last. */
enum hm_rc core_step(struct core *c, const struct core_event *ev,
                     struct core_effects *ret_do) HM_MUST_CHECK;

/* Boot-time ms by which core_step() wants an ON_TICK, or HM_NEVER. */
hm_ms core_deadline(const struct core *c);

/* The lease: until when this member may let its copy be writable; HM_PAST if it holds none. */
hm_ms core_valid_until(const struct core *c);
/* Who leads as far as this member knows: itself while it holds the lease, or the holder that it
 * hears renewing the very record accepted here (R6); else HM_NOBODY. */
uint8_t core_leader(const struct core *c);
/* A holder with such a copy has no primary, and gets none by itself unless another copy takes over
 * or its server comes up: nothing is acknowledged. */
bool core_has_no_primary(const struct record *r, enum copy_state state, uint64_t copy_id);
/* True while too few copies would have what is committed, were the own one made anew. */
bool core_copy_is_needed(const struct core *c);
/* The newest record that this member accepted; NULL before the first. Borrowed from c. */
const struct record *core_record(const struct core *c);

/* True if that member, whose ballot was promised here, may read these bytes of the own server's
 * log: the server led, no process of it is left, and the lease was given away. */
bool core_gives_log(const struct core *c, uint64_t incarnation, const struct ballot *ballot,
                    const struct position *from, uint32_t size);

const char *core_state_name(enum core_state s);

#endif
