/* Which copy may take over, which is best, and what the others do about it (6). */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000, QUIET_MS = START_MS + TOLD_TTL_MS + 1 };

static struct told t;
static struct record record;

/* db2 of three; db1 is lost. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB2);
    told_record(&record, &t.first);
    t.deaf = 1u << DB1;
    return 0;
}

static void starts(void)
{
    (void)told_start_all(&t, &record, START_MS);
}

/* Its voter has been up for long, and it has heard db3 before it first looks at its copy. */
/* Its voter is out of quarantine, and it hears a majority from now on. */
static void hears_others(void)
{
    struct msg m;

    starts();
    t.core.voter.born_ms -= 2 * TOLD_TTL_MS;
    m = told_message(&t, DB3, MSG_GOSSIP);
    (void)told_hear(&t, &m);
}

/* ... as it always did. */
static void stands_at_once(void)
{
    hears_others();
    t.core.majority_since_ms = HM_PAST;
    told_run(&t, t.now_ms);
}

static hm_ms first_prevote_ms(void)
{
    for (hm_ms at_ms = t.now_ms; at_ms < START_MS + 5000; at_ms++) {
        told_run(&t, at_ms);
        if (t.sent[MSG_PREVOTE] > 0)
            return at_ms;
    }
    return HM_NEVER;
}

static void stays_because(const char *why)
{
    if (strstr(core_why(&t.core), why) == NULL)
        fail_msg("%s: %s", core_state_name(t.core.state), core_why(&t.core));
}

/* --- may it ------------------------------------------------------------------------------------
 */

static void a_copy_as_far_behind_as_allowed_may_take_over(void **state)
{
    (void)state;
    t.copy.at.offset = 2000 - record.max_lag_bytes;
    t.gossip[DB3].is_nofailover = true;
    starts();
    told_run(&t, QUIET_MS + 500);
    assert_true(t.sent[MSG_PREVOTE] > 0);
}

static void a_copy_one_byte_further_behind_may_not(void **state)
{
    (void)state;
    t.copy.at.offset = 2000 - record.max_lag_bytes - 1;
    t.gossip[DB3].is_nofailover = true;
    starts();
    told_run(&t, QUIET_MS + 500);
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
    stays_because("its copy is further behind than max_lag_bytes");
}

static void without_a_limit_nobody_is_too_far_behind(void **state)
{
    (void)state;
    record.max_lag_bytes = UINT64_MAX;
    t.copy.at.offset = 1500;
    t.gossip[DB3].is_nofailover = true;
    starts();
    told_run(&t, QUIET_MS + 500);
    assert_true(t.sent[MSG_PREVOTE] > 0);
}

static void what_the_holder_told_last_counts_for_the_lag(void **state)
{
    struct msg m;

    (void)state;
    t.gossip[DB3].is_nofailover = true;
    starts();
    m = told_message(&t, DB1, MSG_GOSSIP);
    m.gossip.at.offset = 2000 + record.max_lag_bytes + 1;
    (void)told_hear(&t, &m);
    told_run(&t, QUIET_MS + 500);
    stays_because("its copy is further behind than max_lag_bytes");
}

static void answers_for_db3(enum msg_type type)
{
    struct msg m = told_message(&t, DB3, type);

    m.ballot = t.core.mine;
    m.seq = t.core.attempt_seq;
    m.accepted = told_ballot(7, DB1);
    m.record = &record;
    m.at.offset = 2000 + record.max_lag_bytes + 1;
    (void)told_hear(&t, &m);
}

/* db2 accepted its own next epoch once, and nobody else did: what db3 heard of the primary of the
 * epoch that is adopted in the end counts all the same. */
static void what_a_voter_heard_counts_beside_an_epoch_that_was_not_chosen(void **state)
{
    struct voter_state *own = &t.core.voter.durable;

    (void)state;
    t.deaf = 0x1ff;
    starts();
    own->accepted = told_ballot(6, DB2);
    own->record.version++;
    own->record.epoch++;
    own->record.holder = DB2;
    own->record.copy_id = told_copy_id(DB2);
    (void)first_prevote_ms();
    answers_for_db3(MSG_PREVOTE_ANSWER);
    assert_string_equal(core_state_name(t.core.state), "prepare");
    told_run(&t, t.now_ms + 5); /* the own promise is on disk */
    answers_for_db3(MSG_PREPARE_ANSWER);
    assert_true(told_has(&t, "the record adopted forbids it"));
}

static void a_copy_that_has_not_read_all_its_log_may_not(void **state)
{
    (void)state;
    t.copy.is_final = false;
    starts();
    told_run(&t, QUIET_MS + 500);
    stays_because("its copy is no healthy standby");
}

static void a_copy_of_another_system_may_not(void **state)
{
    (void)state;
    t.copy.system_id = 8;
    starts();
    told_run(&t, QUIET_MS + 500);
    stays_because("its copy is no healthy standby");
}

/* --- who first ---------------------------------------------------------------------------------
 */

static void the_longer_log_goes_first(void **state)
{
    (void)state;
    t.gossip[DB3].at.offset = 2001;
    stands_at_once();
    assert_int_equal(first_prevote_ms(), START_MS + TOLD_HEARTBEAT_MS / 2);
}

static void of_two_equal_logs_the_higher_priority_goes_first(void **state)
{
    (void)state;
    t.gossip[DB3].priority = 1;
    stands_at_once();
    assert_int_equal(first_prevote_ms(), START_MS + TOLD_HEARTBEAT_MS / 2);
}

static void of_two_equal_members_the_first_name_goes_first(void **state)
{
    (void)state;
    stands_at_once();
    assert_int_equal(first_prevote_ms(), START_MS + 1);
}

static void who_was_cut_off_gives_the_holder_two_heartbeats_to_be_heard(void **state)
{
    (void)state;
    hears_others();
    assert_in_range(first_prevote_ms(), START_MS + 2 * TOLD_HEARTBEAT_MS,
                    START_MS + 2 * TOLD_HEARTBEAT_MS + 1);
}

static void the_suspended_holder_goes_first(void **state)
{
    struct msg m;

    (void)state;
    t.deaf = 0;
    t.gossip[DB1].copy = COPY_SUSPENDED;
    t.gossip[DB1].is_holder = true;
    t.gossip[DB1].sees_majority = true;
    hears_others();
    t.core.majority_since_ms = HM_PAST;
    m = told_message(&t, DB1, MSG_GOSSIP);
    (void)told_hear(&t, &m);
    assert_int_equal(first_prevote_ms(), START_MS + TOLD_HEARTBEAT_MS / 2);
}

static void a_holder_that_hears_nobody_is_not_waited_for(void **state)
{
    (void)state;
    t.deaf = 0;
    t.gossip[DB1].copy = COPY_SUSPENDED;
    t.gossip[DB1].is_holder = true;
    stands_at_once();
    assert_int_equal(first_prevote_ms(), START_MS + 1);
}

static void who_may_not_take_over_is_not_waited_for(void **state)
{
    (void)state;
    t.gossip[DB3].at.offset = 2001;
    t.gossip[DB3].is_nofailover = true;
    stands_at_once();
    assert_int_equal(first_prevote_ms(), START_MS + 1);
}

static void the_member_that_a_switchover_names_goes_first(void **state)
{
    (void)state;
    t.gossip[DB3].at.offset = 2001;
    record.switchover = (struct switchover){ .order = 1, .to = DB2, .phase = SWITCH_PREPARED };
    stands_at_once();
    assert_int_equal(first_prevote_ms(), START_MS + 1);
}

static void the_others_leave_it_to_the_named_for_two_leases(void **state)
{
    (void)state;
    record.switchover = (struct switchover){ .order = 1, .to = DB3, .phase = SWITCH_PREPARED };
    starts();
    told_run(&t, START_MS + 2 * TOLD_TTL_MS - 1);
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
    stays_because("a switchover names another member");
    told_run(&t, START_MS + 2 * TOLD_TTL_MS + 500);
    assert_true(t.sent[MSG_PREVOTE] > 0);
}

static void asks_for_a_prevote(uint8_t from)
{
    struct msg m = told_message(&t, from, MSG_PREVOTE);

    m.ballot = told_ballot(20, from);
    told_forget(&t);
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_PREVOTE_ANSWER], 1);
}

/* A voter with the longer log objects, for two heartbeats after the lease ended at most. */
static void a_better_candidate_objects_for_two_heartbeats(void **state)
{
    (void)state;
    t.gossip[DB3].at.offset = 1999;
    t.deaf = 0x1ff;
    stands_at_once();
    told_run(&t, START_MS + 2 * TOLD_HEARTBEAT_MS - 1);
    asks_for_a_prevote(DB3);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].refusal, REFUSE_BETTER_CANDIDATE);
    told_run(&t, START_MS + 2 * TOLD_HEARTBEAT_MS);
    asks_for_a_prevote(DB3);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].refusal, REFUSE_NOTHING);
}

static void a_worse_candidate_does_not_object(void **state)
{
    (void)state;
    t.gossip[DB3].at.offset = 2001;
    t.deaf = 0x1ff;
    stands_at_once();
    told_run(&t, START_MS + 10);
    asks_for_a_prevote(DB3);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].refusal, REFUSE_NOTHING);
}

/* --- yielding and fetching ---------------------------------------------------------------------
 */

/* db3 is ahead by a byte, cannot take over, and is found to be ahead only when logs are frozen. */
static void finds_a_longer_log(void)
{
    t.gossip[DB3].is_nofailover = true;
    t.gossip[DB3].at.offset = 2001;
    starts();
    told_run(&t, QUIET_MS + 100);
    assert_true(told_has(&t, "freeze -> yield: the log of another member is longer"));
    assert_true(t.sent[MSG_YIELD] > 0);
    assert_int_equal(t.last_sent[MSG_YIELD].to, DB3);
    assert_int_equal(t.last_sent[MSG_YIELD].at.offset, 2001);
}

static void a_longer_log_goes_first_and_is_fetched_when_nobody_comes(void **state)
{
    (void)state;
    finds_a_longer_log();
    told_run(&t, QUIET_MS + 1000);
    assert_true(told_has(&t, "yield -> fetch: the member with the longer log did not take over"));
    assert_int_equal(t.last[DO_FETCH].copy.member, DB3);
    assert_int_equal(t.last[DO_FETCH].copy.upto.offset, 2001);
    assert_true(told_has(&t, "fetch -> prevote: what was missing has been streamed"));
    assert_int_equal(t.copy.at.offset, 2001);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->timelines[2].start, 2001);
}

static void fetching_has_an_end(void **state)
{
    (void)state;
    t.stuck = 1u << DO_FETCH;
    finds_a_longer_log();
    told_run(&t, QUIET_MS + 6000);
    assert_true(told_has(&t, "fetch -> standing: what is missing could not be streamed in time"));
}

static void who_is_yielded_to_stands_up_at_once(void **state)
{
    struct msg m;

    (void)state;
    t.gossip[DB3].at.offset = 2001; /* db2 would wait for db3 */
    stands_at_once();
    told_run(&t, START_MS + 10);
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
    m = told_message(&t, DB3, MSG_YIELD);
    m.ballot = told_ballot(20, DB3);
    (void)told_hear(&t, &m);
    assert_true(t.sent[MSG_PREVOTE] > 0);
}

/* --- the own copy ------------------------------------------------------------------------------
 */

/* db1 itself comes back with its suspended copy: no freeze, no new epoch, a pause only. */
static void a_suspended_holder_thaws_under_its_own_epoch(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB1);
    told_primary(&t.copy, DB1);
    t.copy.state = COPY_SUSPENDED;
    t.copy.fence = FENCE_SUSPENDED;
    starts();
    told_run(&t, START_MS + 500);
    assert_true(told_has(&t, "prepare -> accept: the record names this member"));
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->epoch, 3);
    assert_int_equal(t.asked[DO_THAW], 1);
    assert_int_equal(t.sent[MSG_FREEZE], 0);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
}

/* R9 */
static void who_released_stands_back_for_two_leases_or_until_it_was_well(void **state)
{
    hm_ms released_ms;

    (void)state;
    told_init(&t, 2, 1, DB1);
    told_primary(&t.copy, DB1);
    t.gossip[DB2].at = t.copy.at;
    starts();
    told_run(&t, START_MS + 500);
    assert_string_equal(core_state_name(t.core.state), "holder");
    t.copy.state = COPY_DOWN; /* the server died */
    t.copy.is_healthy = false;
    for (unsigned i = 0; t.core.state != ST_RELEASED && i < 200; i++)
        told_run(&t, t.now_ms + 1);
    assert_true(told_has(&t, "holder -> handover: the server died and a standby can take over"));
    assert_string_equal(core_state_name(t.core.state), "released");
    released_ms = t.now_ms;
    told_forget(&t);
    t.stuck = 1u << DO_START;
    told_run(&t, released_ms + 2 * TOLD_TTL_MS - 1);
    assert_string_equal(core_state_name(t.core.state), "released");
    assert_true(t.sent[MSG_RELEASE] > 2); /* it may be lost, and is repeated */
    told_run(&t, released_ms + 2 * TOLD_TTL_MS);
    assert_true(told_has(&t, "released -> standing: nobody took over"));
}

/* R5: an answer to what was released counts for nothing. */
static void answers_after_a_release_count_for_nothing(void **state)
{
    struct msg late;

    (void)state;
    told_init(&t, 2, 1, DB1);
    told_primary(&t.copy, DB1);
    starts();
    told_run(&t, START_MS + 500);
    late = told_message(&t, 2, MSG_RENEW_ANSWER);
    late.seq = t.last_sent[MSG_RENEW].seq;
    late.ballot = t.last_sent[MSG_RENEW].ballot;
    late.version = t.last_sent[MSG_RENEW].version;
    late.ttl_ms = TOLD_TTL_MS;
    t.copy.state = COPY_DOWN;
    for (unsigned i = 0; t.core.state != ST_RELEASED && i < 200; i++)
        told_run(&t, t.now_ms + 1);
    assert_string_equal(core_state_name(t.core.state), "released");
    assert_true(core_valid_until(&t.core) == HM_PAST);
    (void)told_hear(&t, &late);
    assert_true(core_valid_until(&t.core) == HM_PAST);
    assert_true(ballot_compare(&late.ballot, &t.core.released) <= 0);
    told_run(&t, t.now_ms + 3 * TOLD_TTL_MS);
    assert_true(ballot_compare(&t.core.mine, &late.ballot) > 0); /* never used again */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(a_copy_as_far_behind_as_allowed_may_take_over),
        TEST(a_copy_one_byte_further_behind_may_not),
        TEST(without_a_limit_nobody_is_too_far_behind),
        TEST(what_the_holder_told_last_counts_for_the_lag),
        TEST(what_a_voter_heard_counts_beside_an_epoch_that_was_not_chosen),
        TEST(a_copy_that_has_not_read_all_its_log_may_not),
        TEST(a_copy_of_another_system_may_not),
        TEST(the_longer_log_goes_first),
        TEST(of_two_equal_logs_the_higher_priority_goes_first),
        TEST(of_two_equal_members_the_first_name_goes_first),
        TEST(who_was_cut_off_gives_the_holder_two_heartbeats_to_be_heard),
        TEST(the_suspended_holder_goes_first),
        TEST(a_holder_that_hears_nobody_is_not_waited_for),
        TEST(who_may_not_take_over_is_not_waited_for),
        TEST(the_member_that_a_switchover_names_goes_first),
        TEST(the_others_leave_it_to_the_named_for_two_leases),
        TEST(a_better_candidate_objects_for_two_heartbeats),
        TEST(a_worse_candidate_does_not_object),
        TEST(a_longer_log_goes_first_and_is_fetched_when_nobody_comes),
        TEST(fetching_has_an_end),
        TEST(who_is_yielded_to_stands_up_at_once),
        TEST(a_suspended_holder_thaws_under_its_own_epoch),
        TEST(who_released_stands_back_for_two_leases_or_until_it_was_well),
        TEST(answers_after_a_release_count_for_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
