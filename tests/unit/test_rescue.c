/* Tail rescue as the core decides it: from whom, when, and what becomes of it (7.5). */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000, END_MS = START_MS + 200 };

static struct told t;
static struct record record;

/* db2 of three; the server of db1 has died with 500 bytes that nobody else has, and db1 has given
 * its lease away. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB2);
    told_record(&record, &t.first);
    record.durability = DURABILITY_ASYNC;
    t.core.config.rescue_timeout_ms = 1000;
    t.core.config.rescue_bytes = 1000;
    t.gossip[DB1].copy = COPY_DOWN;
    t.gossip[DB1].released = true;
    t.gossip[DB1].at.offset = 2500;
    t.gossip[DB1].is_streaming = false;
    t.gossip[DB1].is_healthy = false;
    t.gossip[DB3].is_nofailover = true;
    t.frozen = 1u << DB3; /* a copy that is no standby has no frozen log */
    return 0;
}

static void starts(void)
{
    struct msg release;

    (void)told_start_all(&t, &record, START_MS);
    t.core.voter.born_ms -= 2 * TOLD_TTL_MS;
    t.core.majority_since_ms = HM_PAST;
    release = told_message(&t, DB1, MSG_RELEASE);
    release.ballot = told_ballot(7, DB1);
    (void)told_hear(&t, &release);
}

static void leads_from(uint64_t offset)
{
    const struct record *r = core_record(&t.core);

    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(record_timeline(r)->start, offset);
    assert_int_equal(t.asked[DO_PROMOTE], 1);
}

static void what_the_dead_primary_has_is_fetched_before_the_record_is_drawn_up(void **state)
{
    (void)state;
    starts();
    told_run(&t, END_MS);
    assert_true(told_has(&t, "freeze -> rescue: the dead primary's host has log"));
    assert_true(told_has(&t, "rescue -> accept: all that the dead primary had is here"));
    assert_int_equal(t.asked[DO_RESCUE], 1);
    assert_int_equal(t.last[DO_RESCUE].copy.member, DB1);
    assert_int_equal(t.last[DO_RESCUE].copy.upto.offset, 2500);
    assert_int_equal(t.last[DO_RESCUE].copy.ballot.member, DB2);
    leads_from(2500);
}

static void goes_on_without_when_it_fails(void **state)
{
    (void)state;
    t.failing = 1u << DO_RESCUE;
    starts();
    told_run(&t, END_MS);
    assert_true(told_has(&t, "rescue -> accept: what the dead primary had could not be fetched"));
    assert_int_equal(t.asked[DO_RESCUE], 1);
    leads_from(2000);
}

/* As long as it runs the log may still grow: nothing is drawn up. */
static void an_operation_that_does_not_end_holds_it_up(void **state)
{
    (void)state;
    t.stuck = 1u << DO_RESCUE;
    starts();
    told_run(&t, START_MS + 1900);
    assert_string_equal(core_state_name(t.core.state), "rescue");
    assert_true(t.sent[MSG_PREPARE] > 10); /* the promises are kept fresh */
}

static void whoever_is_beaten_leaves_it(void **state)
{
    struct msg refusal;

    (void)state;
    t.stuck = 1u << DO_RESCUE;
    starts();
    told_run(&t, START_MS + 200);
    refusal = told_message(&t, DB3, MSG_PREPARE_ANSWER);
    refusal.ballot = t.core.mine;
    refusal.seq = t.core.attempt_seq;
    refusal.refusal = REFUSE_HIGHER_BALLOT;
    refusal.promised = told_ballot(50, DB3);
    (void)told_hear(&t, &refusal);
    assert_true(told_has(&t, "rescue -> standing: a higher ballot is promised"));
}

static void asks_nobody(void)
{
    starts();
    told_run(&t, START_MS + 800);
    assert_int_equal(t.asked[DO_RESCUE], 0);
    leads_from(2000);
}

static void not_while_the_old_server_runs(void **state)
{
    (void)state;
    t.gossip[DB1].copy = COPY_SUSPENDED;
    asks_nobody();
}

static void not_from_one_that_keeps_its_lease_in_mind(void **state)
{
    (void)state;
    t.gossip[DB1].released = false;
    asks_nobody();
}

static void not_over_a_change_of_timeline(void **state)
{
    (void)state;
    t.gossip[DB1].at = (struct position){ .timeline = 2, .offset = 2500 };
    asks_nobody();
}

static void not_more_than_the_limit(void **state)
{
    (void)state;
    t.core.config.rescue_bytes = 499;
    asks_nobody();
}

static void not_when_it_is_switched_off(void **state)
{
    (void)state;
    t.core.config.rescue_timeout_ms = 0;
    asks_nobody();
}

static void not_from_another_copy_than_the_records(void **state)
{
    (void)state;
    t.gossip[DB1].copy_id++;
    asks_nobody();
}

/* How far it goes is being read: that takes a moment, and no more than freeze_timeout. */
static void waits_for_the_end_to_be_read(void **state)
{
    (void)state;
    t.gossip[DB1].is_final = false;
    starts();
    told_run(&t, START_MS + 150);
    assert_string_equal(core_state_name(t.core.state), "freeze");
    t.gossip[DB1].is_final = true;
    told_run(&t, START_MS + 400);
    leads_from(2500);
}

static void does_not_wait_for_ever_for_the_end(void **state)
{
    (void)state;
    t.gossip[DB1].is_final = false;
    asks_nobody();
}

/* db1's own part: it refuses the freeze, for it is no standby, but not before it knows its end. */
static void a_dead_primary_tells_its_end_with_the_refusal(void **state)
{
    struct msg freeze;

    (void)state;
    told_init(&t, 3, 0, DB1);
    told_primary(&t.copy, DB1);
    t.copy.state = COPY_DOWN;
    t.copy.is_healthy = false;
    t.copy.is_final = false;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 10);
    freeze = told_message(&t, DB2, MSG_FREEZE);
    freeze.ballot = told_ballot(9, DB2);
    (void)told_hear(&t, &freeze);
    told_run(&t, START_MS + 100);
    assert_int_equal(t.sent[MSG_FREEZE_ANSWER], 0);
    t.copy.is_final = true;
    t.copy.at.offset = 2500;
    told_run(&t, START_MS + 200);
    assert_int_equal(t.sent[MSG_FREEZE_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_FREEZE_ANSWER].refusal, REFUSE_NO_COPY);
    assert_int_equal(t.last_sent[MSG_FREEZE_ANSWER].gossip.at.offset, 2500);
    assert_true(t.last_sent[MSG_FREEZE_ANSWER].gossip.is_final);
}

/* ... and gives its log only to whom it promised, and only what is there for certain. */
static void only_the_promised_candidate_may_read(void **state)
{
    const struct position at = { .timeline = 3, .offset = 2100 };
    const struct position older = { .timeline = 2, .offset = 2100 };
    struct ballot b = told_ballot(9, DB2), lower = told_ballot(8, DB2);
    uint64_t db2 = told_incarnation(DB2);

    (void)state;
    told_init(&t, 3, 0, DB1);
    told_primary(&t.copy, DB1);
    t.copy.state = COPY_DOWN;
    t.copy.is_healthy = false;
    t.copy.at.offset = 2500;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 10);
    t.core.state = ST_RELEASED;
    t.core.released_at_ms = t.now_ms;
    t.core.voter.durable.promised = b;
    assert_true(core_gives_log(&t.core, db2, &b, &at, 400));
    assert_false(core_gives_log(&t.core, db2, &b, &at, 401));
    assert_false(core_gives_log(&t.core, db2, &b, &at, 0));
    assert_false(core_gives_log(&t.core, db2, &b, &older, 1));
    assert_false(core_gives_log(&t.core, db2, &lower, &at, 1));
    assert_false(core_gives_log(&t.core, told_incarnation(DB3), &b, &at, 1));
    t.core.copy.is_final = false;
    assert_false(core_gives_log(&t.core, db2, &b, &at, 1));
    t.core.copy.is_final = true;
    t.core.copy.state = COPY_SUSPENDED;
    assert_false(core_gives_log(&t.core, db2, &b, &at, 1));
    t.core.copy.state = COPY_DOWN;
    t.core.released_at_ms = HM_PAST;
    assert_false(core_gives_log(&t.core, db2, &b, &at, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_the_dead_primary_has_is_fetched_before_the_record_is_drawn_up,
                               make_world),
        cmocka_unit_test_setup(goes_on_without_when_it_fails, make_world),
        cmocka_unit_test_setup(an_operation_that_does_not_end_holds_it_up, make_world),
        cmocka_unit_test_setup(whoever_is_beaten_leaves_it, make_world),
        cmocka_unit_test_setup(not_while_the_old_server_runs, make_world),
        cmocka_unit_test_setup(not_from_one_that_keeps_its_lease_in_mind, make_world),
        cmocka_unit_test_setup(not_over_a_change_of_timeline, make_world),
        cmocka_unit_test_setup(not_more_than_the_limit, make_world),
        cmocka_unit_test_setup(not_when_it_is_switched_off, make_world),
        cmocka_unit_test_setup(not_from_another_copy_than_the_records, make_world),
        cmocka_unit_test_setup(waits_for_the_end_to_be_read, make_world),
        cmocka_unit_test_setup(does_not_wait_for_ever_for_the_end, make_world),
        cmocka_unit_test_setup(a_dead_primary_tells_its_end_with_the_refusal, make_world),
        cmocka_unit_test_setup(only_the_promised_candidate_may_read, make_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
