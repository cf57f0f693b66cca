/* inner.h - what the files of the core share among themselves; nobody else includes it. */
#ifndef HAMGR_CORE_INNER_H
#define HAMGR_CORE_INNER_H

#include "core/core.h"
#include "core/rules.h"

static inline uint16_t slot_bit(uint8_t slot)
{
    return (uint16_t)(1u << slot);
}

/* The one way to look at a time: true when `at_ms` has come, else core_deadline() will know. */
static inline bool due(struct core *c, hm_ms at_ms)
{
    if (c->now_ms >= at_ms)
        return true;
    c->wake_ms = hm_min_ms(c->wake_ms, at_ms);
    return false;
}

/* core.c: facts */
bool has_record(const struct core *c);
/* The record accepted here, or the one that a new cluster would begin with. */
const struct record *known(const struct core *c);
/* The record that an attempt builds on: the highest adopted, else known(). */
const struct record *base(const struct core *c);
hm_ms heartbeat_ms(const struct core *c);
hm_ms ttl_ms(const struct core *c);
bool holds_lease(const struct core *c); /* in a state of the holder, and before the deadline */
bool is_holder_state(enum core_state s);
/* The holder that renewed the very record accepted here (R6), or HM_NOBODY. */
uint8_t followed_holder(struct core *c);
/* Slots whose yes counts in this phase, for the members of `r`. */
uint16_t votes(const struct core *c, const struct record *r);
hm_ms lease_until(const struct core *c, hm_ms sent_since_ms);

/* core.c: effects */
struct core_effect *ask(struct core *c, enum core_effect_type type);
void send_to(struct core *c, uint8_t slot, struct msg *m);
void alert(struct core *c, enum alert_kind kind, uint64_t epoch);
void reply(struct core *c, uint64_t order, enum hm_rc rc, const char *why);

/* exchange.c: requests and answers */
void take_message(struct core *c, const struct msg *m);
void take_persisted(struct core *c, bool is_ok);
/* Puts a request to the own voter as if it had come from the network. */
void ask_own_voter(struct core *c, struct msg *m);
void notice_record(struct core *c); /* another record is accepted here */
uint32_t next_seq(struct core *c, hm_ms ttl);
void make_gossip(struct core *c, struct gossip *g);
hm_ms jitter(struct core *c, unsigned doublings);

/* rules.c */
void decide(struct core *c);
void enter(struct core *c, enum core_state s);

/* wants.c */
void want(struct core *c);

/* copy.c */
void want_copy(struct core *c);
/* Asks for an operation on the copy unless it is under way or was just refused. */
struct core_effect *ask_copy(struct core *c, enum core_effect_type type, uint64_t detail);
bool is_operating(const struct core *c, enum core_effect_type type);
void take_done(struct core *c, uint32_t op, bool is_ok, const struct copy *copy);
void note_copy(struct core *c, const struct copy *copy);

/* sync.c */
void want_names(struct core *c);
/* The pair that the holder would have in force: alone when no standby can be waited for. */
void desired_pair(struct core *c, struct pair *ret_pair);
bool gate_may_open(struct core *c);
void takeover_pairs(const struct core *c, struct record *r);

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
    CHANGE_REBALLOT,
};
enum change_kind change_wanted(struct core *c);
void change_build(struct core *c, enum change_kind kind);
void takeover_build(struct core *c);
void force_build(struct core *c);
void take_order(struct core *c, const struct order *o);
void follow_order(struct core *c);

/* choose.c */
/* True if the record's epoch runs on this very copy: it has all that its epoch acknowledged. */
bool is_holder_copy(const struct core *c, const struct record *r);
bool copy_is_fit(const struct core *c, const struct record *r);
bool copy_lags(const struct core *c, const struct record *r);
bool pairs_forbid(const struct core *c, const struct record *r);
bool is_first_in_line(struct core *c, uint8_t *ret_rank);
bool is_better_than(struct core *c, uint8_t slot);
/* A standby that could take over from this holder now, or HM_NOBODY. */
uint8_t successor(struct core *c);
bool can_succeed(struct core *c, uint8_t slot);
bool logs_suffice(struct core *c);
uint8_t longer_log(const struct core *c);
bool sees_majority(const struct core *c);

#endif
