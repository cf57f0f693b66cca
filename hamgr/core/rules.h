/* rules.h - the decision table: every decision of a member, one row each.
 *
 * The first row that fits the state decides. Rows look at facts, not at events, so a lost event
 * costs time, not the decision. Ids are stable, rise, and leave gaps; they appear in logs,
 * status and traces. The table is printed by `make rules`. */
#ifndef HAMGR_CORE_RULES_H
#define HAMGR_CORE_RULES_H

#include "core/core.h"

#define RULE_NAMED 39     /* from here on the rows only wait for others: the member could stand */
#define RULE_FORBIDDEN 63 /* the record adopted names a reason that will not pass soon */
#define RULE_BEHIND 72
#define RULE_ONLY_HOLDER 76
#define RULE_DEFER 52 /* the row whose way back to standing is no failure */
#define RULE_NOT_GIVEN 143
#define ST_ANY CORE_STATES_N /* a row for every state but the one it leads to */

typedef bool guard(struct core *c);

struct rule {
    uint16_t id;
    unsigned state; /* enum core_state, or ST_ANY */
    guard *when;
    const char *when_name;
    enum core_state to;
    const char *because;
};

extern const struct rule rules[];
extern const size_t rules_n;

/* The row with that id, or NULL. */
const struct rule *rule_find(uint16_t id);

#define GUARDS(X)                                                                                  \
    X(always)                                                                                      \
    X(cluster_is_newer)                                                                            \
    X(voter_is_blank)                                                                              \
    X(is_observer)                                                                                 \
    X(is_no_member)                                                                                \
    X(is_witness)                                                                                  \
    X(is_member)                                                                                   \
    X(lease_has_ended)                                                                             \
    X(holder_is_heard)                                                                             \
    X(stands_back)                                                                                 \
    X(is_paused_for_others)                                                                        \
    X(is_not_to_stand)                                                                             \
    X(fence_is_silent)                                                                             \
    X(copy_cannot_lead)                                                                            \
    X(copy_is_behind)                                                                              \
    X(acknowledged_alone)                                                                          \
    X(voter_is_in_quarantine)                                                                      \
    X(another_is_named)                                                                            \
    X(turn_has_come)                                                                               \
    X(may_not_stand)                                                                               \
    X(another_goes_first)                                                                          \
    X(majority_prevoted)                                                                           \
    X(attempt_is_old)                                                                              \
    X(is_beaten)                                                                                   \
    X(promised_and_first)                                                                          \
    X(promised_and_own)                                                                            \
    X(promised_and_forbidden)                                                                      \
    X(majority_promised)                                                                           \
    X(another_is_ahead)                                                                            \
    X(log_is_behind)                                                                               \
    X(nothing_can_be_missing)                                                                      \
    X(dead_primary_has_more)                                                                       \
    X(is_decided)                                                                                  \
    X(only_holder_suffices)                                                                        \
    X(is_rescued)                                                                                  \
    X(rescue_is_over)                                                                              \
    X(yielded_long_enough)                                                                         \
    X(may_go_without)                                                                              \
    X(must_wait_for_it)                                                                            \
    X(has_fetched)                                                                                 \
    X(accepted_too_late)                                                                           \
    X(majority_accepted)                                                                           \
    X(lease_is_lost)                                                                               \
    X(must_prepare_again)                                                                          \
    X(server_died)                                                                                 \
    X(server_lost_data)                                                                            \
    X(server_stalls)                                                                               \
    X(server_is_full)                                                                              \
    X(server_crashed)                                                                              \
    X(switchover_is_ready)                                                                         \
    X(record_must_change)                                                                          \
    X(promised_and_anothers)                                                                       \
    X(is_fenced)                                                                                   \
    X(own_voter_fails)                                                                             \
    X(successor_is_lost)                                                                           \
    X(goes_on_alone)                                                                               \
    X(cannot_give_away)                                                                            \
    X(may_stand_again)

#define X(name) bool guard_##name(struct core *c);
GUARDS(X)
#undef X

#endif
