/* check_inner.h - what the files of the checker share among themselves; nobody else includes it. */

#ifndef TESTS_SIM_CHECK_INNER_H
#define TESTS_SIM_CHECK_INNER_H

#include "check.h"

/* Times are told in whole milliseconds, and rounded twice on their way. */
#define ROUNDING_US 2000

/* check.c: the world, and who is who */
int64_t check_now(const struct check *ck);
hm_ms check_local(const struct check *ck, int node);
/* The identity that has this incarnation, or -1. */
int check_identity(const struct check *ck, uint64_t incarnation);
/* The node that has this incarnation, or -1. */
int check_find(const struct check *ck, uint64_t incarnation);
/* The node in this slot of a record, or -1. */
int check_slot(const struct check *ck, const struct record *r, uint8_t slot);
void check_look(const struct check *ck, int node, struct check_copy *ret);
/* True while the copy could acknowledge if a commit returned. */
static inline bool check_is_writable(const struct check_copy *c)
{
    return c->state == COPY_PRIMARY && !c->is_suspended;
}

/* check_register.c: order, majorities, entries, attempts */
int check_compare(const struct ballot *a, const struct ballot *b);
int check_order(const struct ballot *a, uint64_t a_version, const struct ballot *b,
                uint64_t b_version);
/* Identities of the slots in `slots`. */
uint32_t check_identities(const struct check *ck, const struct record *r, uint16_t slots);
/* True if `yes` (identities) is a majority of these slots. */
bool check_majority_of(const struct check *ck, const struct record *r, uint16_t slots,
                       uint32_t yes);
/* True if `yes` (identities) is a majority of the voters, and of the old ones if `is_joint`. */
bool check_majority(const struct check *ck, const struct record *r, uint32_t yes, bool is_joint);
uint64_t check_hash(const struct record *r);
/* The entry of (ballot, version), or NULL. */
struct check_entry *check_entry(struct check *ck, const struct ballot *ballot, uint64_t version);
/* The entry that node has accepted, or NULL. */
struct check_entry *check_accepted(struct check *ck, int node);
/* Notes that `identity` has (accepted, record) of the state on its disk for good. */
void check_note_accepted(struct check *ck, int node, const struct voter_state *state);
/* The attempt with this ballot; an empty one if its member does not use it now. */
struct check_attempt *check_attempt(struct check *ck, const struct ballot *ballot);
/* node asks for prevotes or promises; a new life may use ballots below those of prevotes. */
void check_begin(struct check *ck, int node, const struct ballot *ballot);
bool check_same_pair(const struct pair *a, const struct pair *b);
bool check_is_alone(const struct pair *p);
/* True if the record has this pair. */
bool check_has_pair(const struct record *r, const struct pair *p);

/* check_promise.c: messages */
void check_message(struct check *ck, int node, const struct msg *m);
/* True if `node` owes its vote to another holder than `holder` until later than now. */
bool check_owes_another(const struct check *ck, int node, int holder, int64_t *ret_left_us);

/* check_takeover.c: the first ACCEPT of a ballot */
void check_first_accept(struct check *ck, int node, const struct msg *m);

/* check_lease.c */
void check_lease(struct check *ck, int node, const struct core *c);

/* check_writes.c */
/* True if byte `at` of `branch` is in the log that ends at (tip, end). */
bool check_contains(const struct check *ck, uint32_t tip, uint64_t end, uint32_t branch,
                    uint64_t at);
struct check_branch *check_branch(struct check *ck, uint32_t id);

/* check_legal.c */
void check_effect(struct check *ck, int node, const struct core *c, const struct core_effect *e);

/* check_end.c */
void check_calm_epoch(struct check *ck, uint64_t epoch);
void check_calm_ack(struct check *ck);

#endif
