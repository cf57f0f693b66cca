/* rules.c - every decision of a member, one row each. The first row that fits wins. */
#include "core/rules.h"

#include "core/inner.h"

#include <string.h>

#define ROW(id, state, when, to, because)                                                          \
    {                                                                                              \
        id, state, guard_##when, #when, to, because                                                \
    }

/* clang-format off */
const struct rule rules[] = {
    /*  id   in state           when                     goes to            because */
    ROW(  1, ST_ANY,            cluster_is_newer,        ST_STOPPED,        "the cluster has a newer incarnation: this member must be rebuilt"),
    ROW(  2, ST_ANY,            voter_is_blank,          ST_BLANK,          "the voter's file is missing: remove the member and add it again"),
    ROW(  3, ST_ANY,            is_no_member,            ST_OUTSIDE,        "the record does not name this member"),

    ROW(  5, ST_START,          is_observer,             ST_OBSERVING,      "an observer has no vote"),
    ROW(  6, ST_START,          is_witness,              ST_VOTING,         "a witness has no copy"),
    ROW(  7, ST_START,          always,                  ST_FOLLOWING,      "a database member begins by listening"),
    ROW(  8, ST_BLANK,          always,                  ST_BLANK,          "the voter's file is missing: remove the member and add it again"),
    ROW(  9, ST_STOPPED,        always,                  ST_STOPPED,        "the cluster has a newer incarnation: this member must be rebuilt"),
    ROW( 10, ST_VOTING,         always,                  ST_VOTING,         "it votes"),
    ROW( 11, ST_OBSERVING,      always,                  ST_OBSERVING,      "it asks the voters for the record"),
    ROW( 12, ST_OUTSIDE,        is_member,               ST_START,          "the record names this member"),
    ROW( 13, ST_OUTSIDE,        always,                  ST_OUTSIDE,        "not a member: waiting to be added"),

    ROW( 20, ST_FOLLOWING,      lease_has_ended,         ST_STANDING,       "no lease runs"),
    ROW( 29, ST_FOLLOWING,      always,                  ST_FOLLOWING,      "the lease of another member runs"),

    ROW( 30, ST_STANDING,       holder_is_heard,         ST_FOLLOWING,      "a holder was heard"),
    ROW( 31, ST_STANDING,       stands_back,             ST_STANDING,       "it released the lease and leaves it to the others"),
    ROW( 32, ST_STANDING,       is_paused_for_others,    ST_STANDING,       "the cluster is paused: only its holder may go on"),
    ROW( 33, ST_STANDING,       is_not_to_stand,         ST_STANDING,       "it is marked nofailover, or delayed"),
    ROW( 34, ST_STANDING,       fence_is_silent,         ST_STANDING,       "hamgr-fence does not answer"),
    ROW( 35, ST_STANDING,       copy_cannot_lead,        ST_STANDING,       "its copy is no healthy standby on the record's history"),
    ROW( 36, ST_STANDING,       copy_is_behind,          ST_STANDING,       "its copy is further behind than max_lag_bytes"),
    ROW( 37, ST_STANDING,       acknowledged_alone,      ST_STANDING,       "the last primary may have acknowledged commits alone"),
    ROW( 38, ST_STANDING,       voter_is_in_quarantine,  ST_STANDING,       "its voter restarted: leases that it forgot may be live"),
    ROW( 39, ST_STANDING,       another_is_named,        ST_STANDING,       "a switchover names another member"),
    ROW( 40, ST_STANDING,       turn_has_come,           ST_PREVOTE,        "its turn has come"),
    ROW( 41, ST_STANDING,       always,                  ST_STANDING,       "it waits for its turn"),

    ROW( 50, ST_PREVOTE,        holder_is_heard,         ST_FOLLOWING,      "a holder was heard"),
    ROW( 51, ST_PREVOTE,        may_not_stand,           ST_STANDING,       "it may not take over any more"),
    ROW( 52, ST_PREVOTE,        another_goes_first,      ST_STANDING,       "a member heard again goes first"),
    ROW( 53, ST_PREVOTE,        majority_prevoted,       ST_PREPARE,        "a majority would promise"),
    ROW( 57, ST_PREVOTE,        is_beaten,               ST_PREVOTE,        "a higher ballot is promised: it asks with a higher one"),
    ROW( 58, ST_PREVOTE,        attempt_is_old,          ST_STANDING,       "no majority would promise in time"),
    ROW( 59, ST_PREVOTE,        always,                  ST_PREVOTE,        "it waits for prevotes"),

    ROW( 60, ST_PREPARE,        is_beaten,               ST_STANDING,       "a higher ballot is promised"),
    ROW( 61, ST_PREPARE,        promised_and_first,      ST_ACCEPT,         "every voter is empty: the first record"),
    ROW( 62, ST_PREPARE,        promised_and_own,        ST_ACCEPT,         "the record names this member: its epoch goes on"),
    ROW( 63, ST_PREPARE,        promised_and_forbidden,  ST_STANDING,       "the record adopted forbids it"),
    ROW( 64, ST_PREPARE,        majority_promised,       ST_FREEZE,         "a majority promised"),
    ROW( 66, ST_PREPARE,        holder_is_heard,         ST_FOLLOWING,      "a holder was heard"),
    ROW( 68, ST_PREPARE,        attempt_is_old,          ST_STANDING,       "no majority promised in time"),
    ROW( 69, ST_PREPARE,        always,                  ST_PREPARE,        "it waits for promises"),

    ROW( 70, ST_FREEZE,         is_beaten,               ST_STANDING,       "a higher ballot is promised"),
    ROW( 71, ST_FREEZE,         another_is_ahead,        ST_YIELD,          "the log of another member is longer"),
    ROW( 72, ST_FREEZE,         log_is_behind,           ST_STANDING,       "its log ends further behind than max_lag_bytes"),
    ROW( 73, ST_FREEZE,         nothing_can_be_missing,  ST_ACCEPT,         "no acknowledged commit can be missing"),
    ROW( 74, ST_FREEZE,         dead_primary_has_more,   ST_RESCUE,         "the dead primary's host has log that nobody else has"),
    ROW( 75, ST_FREEZE,         is_decided,              ST_ACCEPT,         "a person decided that its data go on, whatever they lack"),
    ROW( 76, ST_FREEZE,         only_holder_suffices,    ST_STANDING,       "only the last holder has everything, and it is there"),
    ROW( 78, ST_FREEZE,         attempt_is_old,          ST_STANDING,       "not enough logs were frozen in time"),
    ROW( 79, ST_FREEZE,         always,                  ST_FREEZE,         "it waits for frozen logs"),

    ROW( 80, ST_YIELD,          holder_is_heard,         ST_FOLLOWING,      "a holder was heard"),
    ROW( 81, ST_YIELD,          yielded_long_enough,     ST_FETCH,          "the member with the longer log did not take over"),
    ROW( 82, ST_YIELD,          may_go_without,          ST_ACCEPT,         "the member with the longer log did not take over, and nothing that must be kept is only there"),
    ROW( 83, ST_YIELD,          attempt_is_old,          ST_STANDING,       "the member with the longer log did not take over in time"),
    ROW( 84, ST_YIELD,          must_wait_for_it,        ST_YIELD,          "only the member with the longer log can take over: a replica of Redis gives its log to nobody"),
    ROW( 89, ST_YIELD,          always,                  ST_YIELD,          "the member with the longer log goes first"),

    ROW( 90, ST_FETCH,          holder_is_heard,         ST_FOLLOWING,      "a holder was heard"),
    ROW( 91, ST_FETCH,          has_fetched,             ST_PREVOTE,        "what was missing has been streamed"),
    ROW( 98, ST_FETCH,          attempt_is_old,          ST_STANDING,       "what is missing could not be streamed in time"),
    ROW( 99, ST_FETCH,          always,                  ST_FETCH,          "it streams what is missing"),

    ROW(100, ST_ACCEPT,         is_beaten,               ST_STANDING,       "a higher ballot is promised"),
    ROW(101, ST_ACCEPT,         accepted_too_late,       ST_STANDING,       "a majority accepted after the lease had run out"),
    ROW(102, ST_ACCEPT,         majority_accepted,       ST_HOLDER,         "a majority accepted"),
    ROW(108, ST_ACCEPT,         attempt_is_old,          ST_STANDING,       "no majority accepted in time"),
    ROW(109, ST_ACCEPT,         always,                  ST_ACCEPT,         "it waits for acceptances"),

    ROW(110, ST_HOLDER,         lease_is_lost,           ST_STANDING,       "the lease could not be renewed in time"),
    ROW(111, ST_HOLDER,         must_prepare_again,      ST_HOLDER_PREPARE, "a voter promised a higher ballot"),
    ROW(112, ST_HOLDER,         server_died,             ST_HANDOVER,       "the server died and a standby can take over"),
    ROW(113, ST_HOLDER,         server_lost_data,        ST_HANDOVER,       "the server restarted as another copy and a standby has the data"),
    ROW(114, ST_HOLDER,         server_stalls,           ST_HANDOVER,       "the server hangs and a standby can take over"),
    ROW(115, ST_HOLDER,         server_crashed,          ST_HANDOVER,       "the server recovers from a crash and a standby can take over"),
    ROW(116, ST_HOLDER,         switchover_is_ready,     ST_HANDOVER,       "a switchover was ordered, or another copy was forced"),
    ROW(117, ST_HOLDER,         record_must_change,      ST_HOLDER_CHANGE,  "the record must change"),
    ROW(118, ST_HOLDER,         server_is_full,          ST_HANDOVER,       "its disk is full and a standby has room"),
    ROW(119, ST_HOLDER,         always,                  ST_HOLDER,         "it holds the lease"),

    ROW(120, ST_HOLDER_PREPARE, lease_is_lost,           ST_STANDING,       "the lease could not be renewed in time"),
    ROW(121, ST_HOLDER_PREPARE, is_beaten,               ST_HOLDER_PREPARE, "a still higher ballot is promised"),
    ROW(122, ST_HOLDER_PREPARE, promised_and_anothers,   ST_STANDING,       "the record names another holder"),
    ROW(123, ST_HOLDER_PREPARE, majority_promised,       ST_HOLDER_CHANGE,  "a majority promised"),
    ROW(128, ST_HOLDER_PREPARE, attempt_is_old,          ST_HOLDER_PREPARE, "no majority promised in time"),
    ROW(129, ST_HOLDER_PREPARE, always,                  ST_HOLDER_PREPARE, "it waits for promises and holds the lease"),

    ROW(130, ST_HOLDER_CHANGE,  lease_is_lost,           ST_STANDING,       "the lease could not be renewed in time"),
    ROW(131, ST_HOLDER_CHANGE,  must_prepare_again,      ST_HOLDER_PREPARE, "a voter promised a higher ballot"),
    ROW(132, ST_HOLDER_CHANGE,  majority_accepted,       ST_HOLDER,         "a majority accepted the change"),
    ROW(133, ST_HOLDER_CHANGE,  own_voter_fails,         ST_HOLDER,         "its own voter cannot write the change: it holds the lease without it"),
    ROW(139, ST_HOLDER_CHANGE,  always,                  ST_HOLDER_CHANGE,  "it waits for acceptances and holds the lease"),

    ROW(140, ST_HANDOVER,       lease_is_lost,           ST_STANDING,       "the lease could not be renewed in time"),
    ROW(141, ST_HANDOVER,       is_fenced,               ST_RELEASED,       "its copy can acknowledge nothing any more"),
    ROW(142, ST_HANDOVER,       goes_on_alone,           ST_HOLDER,         "the member that should take over fell silent: it goes on itself"),
    ROW(143, ST_HANDOVER,       cannot_give_away,        ST_HOLDER,         "its successor could not be given everything: it goes on itself"),
    ROW(149, ST_HANDOVER,       always,                  ST_HANDOVER,       "it fences its copy to give the lease away"),

    ROW(150, ST_RELEASED,       holder_is_heard,         ST_FOLLOWING,      "a holder was heard"),
    ROW(151, ST_RELEASED,       may_stand_again,         ST_STANDING,       "nobody took over"),
    ROW(159, ST_RELEASED,       always,                  ST_RELEASED,       "it gave the lease away"),

    ROW(160, ST_RESCUE,         is_beaten,               ST_STANDING,       "a higher ballot is promised"),
    ROW(161, ST_RESCUE,         holder_is_heard,         ST_FOLLOWING,      "a holder was heard"),
    ROW(162, ST_RESCUE,         is_rescued,              ST_ACCEPT,         "all that the dead primary had is here"),
    ROW(163, ST_RESCUE,         rescue_is_over,          ST_ACCEPT,         "what the dead primary had could not be fetched in time"),
    ROW(169, ST_RESCUE,         always,                  ST_RESCUE,         "it fetches what only the dead primary had"),
};
/* clang-format on */

const size_t rules_n = HM_ARRAY_LEN(rules);

/* The first row of each state, so that a step does not walk the whole table. */
static const struct rule *first_row(unsigned state)
{
    static const uint8_t first[CORE_STATES_N] = {
        [ST_START] = 3,          [ST_BLANK] = 6,     [ST_STOPPED] = 7,    [ST_VOTING] = 8,
        [ST_OBSERVING] = 9,      [ST_OUTSIDE] = 10,  [ST_FOLLOWING] = 12, [ST_STANDING] = 14,
        [ST_PREVOTE] = 26,       [ST_PREPARE] = 33,  [ST_FREEZE] = 41,    [ST_YIELD] = 50,
        [ST_FETCH] = 56,         [ST_ACCEPT] = 60,   [ST_HOLDER] = 65,    [ST_HOLDER_PREPARE] = 75,
        [ST_HOLDER_CHANGE] = 81, [ST_HANDOVER] = 86, [ST_RELEASED] = 91,  [ST_RESCUE] = 94,
    };

    return &rules[first[state]];
}

const struct rule *rule_find(uint16_t id)
{
    for (size_t i = 0; i < rules_n; i++)
        if (rules[i].id == id)
            return &rules[i];
    return NULL;
}

static const struct rule *fitting_row(struct core *c)
{
    const struct rule *row;

    for (row = rules; row->state == ST_ANY; row++)
        if (c->state != row->to && row->when(c))
            return row;
    for (row = first_row(c->state); row->state == c->state; row++)
        if (row->when(c))
            return row;
    hm_bug(__FILE__, __LINE__, "every state ends in a row that always fits");
}

/* A row that leads to its own state is a reason to stay; only an attempt that was beaten, or that
 * a holder must make, begins the state anew. */
static bool begins_anew(const struct rule *row)
{
    return (row->to == ST_HOLDER_PREPARE || row->to == ST_PREVOTE) && row->when != guard_always;
}

static void note_move(struct core *c, const struct rule *row)
{
    HM_BUG_ON(c->moves_n == CORE_MOVES_MAX); /* the table goes in circles */
    c->moves[c->moves_n].from = c->state;
    c->moves[c->moves_n].rule = row->id;
    c->moves_n++;
}

void core_decide(struct core *c)
{
    for (unsigned moves = 0; moves < 16; moves++) {
        const struct rule *row;

        c->wake_ms = HM_NEVER;
        row = fitting_row(c);
        c->rule = row->id;
        if (row->to == c->state && !begins_anew(row))
            return;
        note_move(c, row);
        core_enter(c, row->to);
    }
}
