/* inner.h - what the files of the core share among themselves; nobody else includes it. */
#ifndef HAMGR_CORE_INNER_H
#define HAMGR_CORE_INNER_H

#include "core/core.h"
#include "core/rules.h"

#define CORE_STOP_HEARTBEATS 40 /* how long a clean stop may take before the server is killed */

static inline uint16_t core_slot_bit(uint8_t slot)
{
    return (uint16_t)(1u << slot);
}

/* The one way to look at a time: true when `at_ms` has come, else core_deadline() will know. */
static inline bool core_due(struct core *c, hm_ms at_ms)
{
    if (c->now_ms >= at_ms)
        return true;
    c->wake_ms = hm_min_ms(c->wake_ms, at_ms);
    return false;
}

/* core.c: facts */
bool core_has_record(const struct core *c);
/* The record accepted here, or the one that a new cluster would begin with. */
const struct record *core_known(const struct core *c);
/* The record that an attempt builds on: the highest adopted, else core_known(). */
const struct record *core_base(const struct core *c);
hm_ms core_heartbeat_ms(const struct core *c);
hm_ms core_ttl_ms(const struct core *c);
bool core_holds_lease(const struct core *c); /* in a state of the holder, and before the deadline */
bool core_is_holder_state(enum core_state s);
/* The holder that renewed the very record accepted here (R6), or HM_NOBODY. */
uint8_t core_followed_holder(const struct core *c);
/* Slots whose yes counts in this phase, for the members of `r`. */
uint16_t core_votes(const struct core *c, const struct record *r);
hm_ms core_lease_until(const struct core *c, hm_ms sent_since_ms);

/* core.c: effects */
/* Only what is granted from now on extends the fence. */
void core_take_stall(struct core *c);
struct core_effect *core_ask(struct core *c, enum core_effect_type type);
void core_send_to(struct core *c, uint8_t slot, struct msg *m);
void core_alert(struct core *c, enum alert_kind kind, uint64_t epoch);
void core_reply(struct core *c, uint64_t order, enum hm_rc rc, const char *why);

/* exchange.c: requests and answers */
void core_take_message(struct core *c, const struct msg *m);
void core_take_persisted(struct core *c, bool is_ok);
/* Puts a request to the own voter as if it had come from the network. */
void core_ask_own_voter(struct core *c, struct msg *m);
void core_notice_record(struct core *c); /* another record is accepted here */
uint32_t core_next_seq(struct core *c, const struct ballot *ballot, hm_ms ttl);
void core_note_primary(struct core *c, uint8_t from, const struct gossip *g);
void core_make_gossip(struct core *c, struct gossip *g);
hm_ms core_jitter(struct core *c, unsigned doublings);

/* rules.c */
void core_decide(struct core *c);

/* enter.c */
void core_enter(struct core *c, enum core_state s);
/* Nothing that was granted counts from here on, and no ballot up to this one is used again (R5). */
void core_release(struct core *c, const struct ballot *ballot);

/* wants.c */
void core_want(struct core *c);
/* A voter took the record that runs only now: it must hear a RENEW after that. */
void core_renew_for(struct core *c, const struct msg *accepted);

/* copy.c */
/* Why the own copy is not to be made anew by an order; NULL: it may be. */
const char *core_rebuild_fault(const struct core *c);
void core_give_up_copy(struct core *c);
void core_want_copy(struct core *c);

/* operate.c */
/* Asks for an operation on the copy unless it is under way or was just refused. */
struct core_effect *core_ask_copy(struct core *c, enum core_effect_type type, uint64_t detail);
/* The stop was tried in vain since this attempt to give the lease away began. */
bool core_has_stop_failed(const struct core *c);
/* Rewind or clone. */
bool core_is_rebuild(enum core_effect_type type);
/* Its turn has come: what it had is being made anew, or was stopped for that. */
bool core_is_rebuilding(const struct core *c);
bool core_is_given_up(const struct core *c); /* by the operator, to be made anew */
bool core_is_operating(const struct core *c, enum core_effect_type type);
void core_take_done(struct core *c, uint32_t op, bool is_ok, const struct copy *copy);
void core_note_copy(struct core *c, const struct copy *copy);
/* What the probe shows is not on the record's history, or its history is another one. */
bool core_is_diverged(const struct core *c);
/* ... in a way that pg_rewind cannot see: log of its own on a timeline of another member. */
bool core_is_forged(const struct core *c);
/* It cannot go on from what it has: it diverged, lacks what it needs next, or the operator gave it
 * up. */
bool core_is_lost(const struct core *c);

/* fence.c */
void core_ask_fence(struct core *c, enum fence_mode mode, hm_ms until_ms, bool is_gate_open);
void core_fence_holder(struct core *c);
void core_fence_others(struct core *c);
bool core_is_pause_in_force(const struct core *c);
bool core_fence_answers(struct core *c);
void core_kill_copy(struct core *c);
void core_thaw_copy(struct core *c);
/* The fence holds the copy for one that a lease makes writable. */
bool core_is_under_lease(const struct core *c);
bool core_is_running(const struct core *c);
/* It looks like a standby, but a promotion may be under way. */
bool core_may_be_promoted(const struct core *c);

/* freeze.c */
bool core_is_frozen_by_promise(const struct core *c);
void core_want_frozen(struct core *c);

/* rescue.c */
/* The old holder, released and dead, whose end of log is not known yet. */
bool core_awaits_dead_end(const struct core *c);
/* The same, once it is known to be ahead of the own frozen log: its slot, or HM_NOBODY. */
uint8_t core_rescue_source(const struct core *c, struct position *ret_upto);
void core_begin_rescue(struct core *c);
void core_want_rescued(struct core *c);
void core_end_rescue(struct core *c);

/* sync.c */
void core_want_names(struct core *c);
/* The pair that the holder would have in force: alone when no standby can be waited for. */
void core_desired_pair(struct core *c, struct pair *ret_pair);
bool core_gate_may_open(struct core *c);
/* A primary under its lease, whose gate the newest probe saw open. */
bool core_lets_clients_in(const struct core *c);
void core_takeover_pairs(const struct core *c, struct record *r);

/* change.c */
enum change_kind {
    CHANGE_NOTHING,
    CHANGE_END_JOINT,
    CHANGE_ORDER,
    CHANGE_COPY,
    CHANGE_TIMELINE,
    CHANGE_PAIRS,
    CHANGE_DURABILITY,
    CHANGE_SWITCH_OFF,
    CHANGE_LAST_KNOWN,
};
enum change_kind core_change_wanted(struct core *c);
/* The switchover of the record cannot go on: nobody waits for it any more. */
bool core_is_switchover_over(const struct core *c, const struct record *r);
void core_change_build(struct core *c, enum change_kind kind);
void core_takeover_build(struct core *c);
/* The draft, a copy of its base with the next version, begins an epoch of the own copy at `end`. */
void core_next_epoch(struct core *c, enum change_reason reason, const struct position *end);
void core_take_order(struct core *c, const struct order *o);
void core_follow_order(struct core *c);
void core_drop_order(struct core *c, enum hm_rc rc, const char *why);

/* keep.c */
/* Why these data are not to go on by a person's order; NULL: they may. */
const char *core_keep_fault(struct core *c, const struct order *o);
/* Tells once that this holder has no primary, and nobody else may be one. */
void core_tell_no_primary(struct core *c);
/* A person decided that the data of the own copy go on, whatever they lack. */
bool core_is_kept(const struct core *c, const struct record *r);
void core_force_build(struct core *c);
/* The draft begins an epoch of the own copy that owes nothing to those before. */
void core_keep_build(struct core *c, const struct position *end);
/* The order under way moves the primary to another member. */
bool core_is_order_to_another(const struct core *c);

/* choose.c */
/* True if the record's epoch runs on this very copy: it has all that its epoch acknowledged. */
bool core_is_holder_copy(const struct core *c, const struct record *r);
bool core_copy_is_fit(const struct core *c, const struct record *r);
/* Marked nofailover, or delayed: it does not take over by itself. */
bool core_is_barred(const struct core *c);
/* How far the primary of that record was, as far as this member heard. */
uint64_t core_primary_offset(const struct core *c, const struct record *r);
/* True for the member that the record names: it may hold its epoch again whatever became of its
 * copy, if only to give it away; only the very copy of the record is made writable. */
bool core_is_named_holder(const struct core *c, const struct record *r);
/* The stretch that runs has not learned its replication id (HM_TIMELINE_OPEN). */
bool core_is_open(const struct record *r);
/* On the record's history; or, while that is open, on what its holder was heard to write on. The
 * record had not learned that, so no gate was open yet and nothing in it was acknowledged. */
bool core_is_on_history(const struct core *c, const struct record *r, const struct position *at,
                        uint64_t began_epoch);
/* What only a person may decide: that a copy that ends behind the beginning of an open stretch, on
 * a timeline that nobody was heard on, is of that stretch. */
bool core_may_be_forced(const struct core *c, const struct record *r);
/* ... and what may be kept by a person's order while a majority lives: a standby in order, of this
 * system. Of PostgreSQL one that is on the history, or as above; a Redis that restarted remembers
 * no history. */
bool core_may_be_kept(const struct core *c, const struct record *r);
/* The same of another member, by its gossip. */
bool core_may_keep(const struct core *c, uint8_t slot);
bool core_copy_lags(const struct core *c, const struct record *r);
/* True if the primary may have acknowledged alone: only its own copy can go on. */
bool core_pairs_forbid_others(const struct record *r);
bool core_pairs_forbid(const struct core *c, const struct record *r);
bool core_is_first_in_line(struct core *c, uint8_t *ret_rank);
bool core_is_better_than(struct core *c, uint8_t slot);
/* A standby that could take over from this holder now, or HM_NOBODY. */
uint8_t core_successor(struct core *c);
bool core_can_succeed(struct core *c, uint8_t slot);
/* Everything can be streamed to it before the own copy stops. */
bool core_streams_to(const struct core *c, uint8_t slot);
bool core_own_answer_stands(const struct core *c);
bool core_logs_suffice(struct core *c);
bool core_only_holder_suffices(struct core *c);
uint8_t core_longer_log(const struct core *c);
/* It is heard, and what it tells of its copy and itself keeps it from standing. */
bool core_says_unfit(const struct core *c, uint8_t slot);
/* A replica of Redis that follows nobody gives nothing: what another has beyond the own log is lost
 * when that one does not take over. True if no write that must be kept can be in it. */
bool core_may_go_without(const struct core *c);
bool core_sees_majority(const struct core *c);

#endif
