/* Told stories of one member: register, lease, takeover, handing over. */
#include "core/core.h"
#include "core/rules.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, WT1, START_MS = 10000 };

static struct told t;
static struct record record;

/* db2 of db1, db2 and a witness; nobody is silent, nobody leads. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 2, 1, DB2);
    told_record(&record, &t.first);
    return 0;
}

/* The moment until which db2's own voter is in quarantine is the first at which it stands up. */
enum { QUIET_MS = START_MS + TOLD_TTL_MS + 1 };

static void stays_because(const char *why)
{
    if (strstr(core_why(&t.core), why) == NULL)
        fail_msg("%s: %s", core_state_name(t.core.state), core_why(&t.core));
}

static void takes_over(void)
{
    t.deaf |= 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, QUIET_MS + 30);
    assert_string_equal(core_state_name(t.core.state), "holder");
}

/* db2 holds the lease, its copy is promoted and serves. */
static void leads(void)
{
    takes_over();
    told_run(&t, QUIET_MS + 300);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
    assert_string_equal(core_state_name(t.core.state), "holder");
    told_forget(&t);
}

/* --- following and taking over -----------------------------------------------------------------
 */

static void nobody_stands_up_before_the_lease_ran_out(void **state)
{
    const char *line;

    (void)state;
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 4000);
    t.leader = DB1;
    told_renew(&t);
    told_tick(&t, START_MS + 4000);
    assert_string_equal(t.line, "db2 rule 29 following: the lease of another member runs");
    line = told_tick(&t, START_MS + 4000 + TOLD_TTL_MS);
    assert_string_equal(line, "db2 rule 29 following: the lease of another member runs");
    line = told_tick(&t, START_MS + 4000 + TOLD_TTL_MS + 1);
    assert_non_null(strstr(line, "following -> standing: no lease runs"));
}

/* What it writes may name other voters. */
static void prevotes_count_only_when_the_own_voter_has_written(void **state)
{
    (void)state;
    (void)told_start_all(&t, &record, START_MS);
    t.core.granted = core_record(&t.core)->voters;
    for (unsigned slot = 0; slot < 3; slot++)
        t.core.incarnations[slot] = told_incarnation(slot);
    assert_true(rule_find(53)->when(&t.core));
    t.core.voter.is_writing = true;
    assert_false(rule_find(53)->when(&t.core));
}

static void the_deadline_is_asked_for_when_the_lease_ends(void **state)
{
    (void)state;
    t.deaf = 0x1ff;
    t.leader = DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    t.core.gossip_at_ms = HM_NEVER; /* nothing else is due */
    (void)told_tick(&t, t.now_ms);
    assert_true(core_deadline(&t.core) <= START_MS + 500 + TOLD_TTL_MS + 1);
}

static void a_lost_holder_is_replaced(void **state)
{
    (void)state;
    takes_over();
    assert_non_null(strstr(t.story, "standing -> prevote: its turn has come"));
    assert_non_null(strstr(t.story, "prevote -> prepare: a majority would promise"));
    assert_non_null(strstr(t.story, "prepare -> freeze: a majority promised"));
    assert_non_null(strstr(t.story, "freeze -> accept: no acknowledged commit"));
    assert_non_null(strstr(t.story, "accept -> holder: a majority accepted"));
    assert_int_equal(core_record(&t.core)->epoch, 4);
    assert_int_equal(core_record(&t.core)->holder, DB2);
    assert_int_equal(core_record(&t.core)->changes[1].reason, CHANGE_LEASE_RAN_OUT);
}

static void a_takeover_begins_a_timeline_that_nobody_used(void **state)
{
    const struct record *r;

    (void)state;
    takes_over();
    r = core_record(&t.core);
    assert_int_equal(r->timelines_n, 3);
    assert_int_equal(r->timelines[2].timeline, 4);
    assert_int_equal(r->timelines[2].epoch, 4);
    assert_int_equal(r->timelines[2].start, 2000);
    told_run(&t, QUIET_MS + 100);
    assert_int_equal(t.last[DO_PROMOTE].copy.timeline, 4);
    assert_int_equal(t.last[DO_PROMOTE].copy.epoch, 4);
}

static void nobody_takes_over_without_a_majority(void **state)
{
    (void)state;
    t.deaf = (1u << DB1) | (1u << 2);
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 20000);
    assert_int_equal(t.asked[DO_PROMOTE], 0);
    assert_int_equal(t.sent[MSG_PREPARE], 0);
    assert_int_equal(t.core.voter.durable.promised.counter, 7);
    assert_non_null(strstr(t.story, "prevote -> standing: no majority would promise in time"));
}

static void the_quarantine_of_the_own_voter_is_waited_for(void **state)
{
    (void)state;
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, QUIET_MS - 1);
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
    stays_because("its voter restarted");
    told_run(&t, QUIET_MS);
    assert_int_equal(t.sent[MSG_PREVOTE], 2);
}

/* R8 */
static void a_failed_attempt_waits_half_to_four_heartbeats(void **state)
{
    hm_ms stood_ms = 0, waits[8];
    unsigned n = 0;

    (void)state;
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    for (hm_ms at_ms = START_MS; n < HM_ARRAY_LEN(waits) && at_ms < START_MS + 30000; at_ms++) {
        enum core_state before = t.core.state;

        told_run(&t, at_ms);
        if (before == ST_PREVOTE && t.core.state == ST_STANDING)
            stood_ms = at_ms;
        if (before == ST_STANDING && t.core.state == ST_PREVOTE && stood_ms != 0)
            waits[n++] = at_ms - stood_ms;
    }
    assert_int_equal(n, HM_ARRAY_LEN(waits));
    assert_in_range(waits[0], TOLD_HEARTBEAT_MS / 2, TOLD_HEARTBEAT_MS * 3 / 2);
    for (unsigned i = 0; i < n; i++)
        assert_in_range(waits[i], TOLD_HEARTBEAT_MS / 2, 4 * TOLD_HEARTBEAT_MS);
}

static void a_member_marked_nofailover_does_not_stand(void **state)
{
    (void)state;
    t.core.config.is_nofailover = true;
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 5000);
    stays_because("it is marked nofailover");
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
}

static void a_delayed_copy_does_not_stand(void **state)
{
    (void)state;
    t.copy.is_delayed = true;
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 5000);
    stays_because("it is marked nofailover, or delayed");
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
    assert_true(t.last_sent[MSG_GOSSIP].gossip.is_nofailover);
    assert_true(t.last_sent[MSG_GOSSIP].gossip.is_delayed);
}

static void in_a_paused_cluster_nobody_else_stands(void **state)
{
    (void)state;
    record.is_paused = true;
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 5000);
    stays_because("the cluster is paused");
}

static void a_copy_off_the_history_does_not_stand(void **state)
{
    (void)state;
    t.copy.at.timeline = 9;
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 5000);
    stays_because("its copy is no healthy standby");
}

/* R4: the own voter has durably promised before PREPARE leaves, and accepted before ACCEPT does. */
static void nothing_leaves_before_the_own_voter_has_written(void **state)
{
    (void)state;
    t.deaf = 1u << DB1;
    t.is_disk_stuck = true;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, QUIET_MS + 300);
    assert_int_equal(t.asked[DO_PERSIST], 1);
    assert_int_equal(t.sent[MSG_PREPARE], 0);
    assert_int_equal(t.sent[MSG_FREEZE], 0);
}

static void a_broken_disk_promises_nothing_and_is_told(void **state)
{
    (void)state;
    t.deaf = 1u << DB1;
    t.is_disk_broken = true;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, QUIET_MS + 3000);
    assert_int_equal(t.sent[MSG_PREPARE], 0);
    assert_int_equal(t.core.voter.durable.promised.counter, 7);
    assert_true(t.asked[DO_ALERT] > 0);
    assert_int_equal(t.last[DO_ALERT].alert.kind, ALERT_DISK);
}

/* A missing file is no empty register: the member says nothing until it is added anew. */
static void a_missing_file_stays_silent(void **state)
{
    const char *line;
    struct msg m;

    (void)state;
    line = told_start(&t, NULL, START_MS);
    assert_non_null(strstr(line, "start -> blank: the voter's file is missing"));
    assert_int_equal(t.last[DO_ALERT].alert.kind, ALERT_BLANK);
    m = told_message(&t, DB1, MSG_PREPARE);
    m.ballot = told_ballot(9, DB1);
    (void)told_hear(&t, &m);
    m.type = MSG_QUERY;
    (void)told_hear(&t, &m);
    told_run(&t, START_MS + 10000);
    assert_int_equal(t.asked[DO_SEND], 0);
    assert_int_equal(t.asked[DO_PERSIST], 0);
    assert_int_equal(t.asked[DO_PROMOTE], 0);
}

/* --- the lease ---------------------------------------------------------------------------------
 */

/* Answers the newest transmission of this kind as a voter would. */
static struct msg grant(uint8_t from, const struct msg *m)
{
    struct msg answer = told_message(&t, from, MSG_RENEW_ANSWER);

    if (m->type == MSG_ACCEPT)
        answer.type = MSG_ACCEPT_ANSWER;
    answer.seq = m->seq;
    answer.ballot = m->ballot;
    answer.version = m->version;
    answer.ttl_ms = m->ttl_ms;
    answer.promised = m->ballot;
    return answer;
}

/* A leading world in which the others are deaf; the test answers by hand. */
static hm_ms renews_by_hand(struct msg *ret_renew)
{
    leads();
    told_run(&t, t.core.renew_at_ms - 1);
    t.deaf = 0x1ff;
    told_run(&t, t.core.renew_at_ms);
    *ret_renew = t.last_sent[MSG_RENEW];
    return t.now_ms;
}

/* ttl 1500: the holder gives up 30 ms before the voters do, counted from its sending. */
static void the_deadline_counts_from_sending_less_a_fiftieth(void **state)
{
    struct msg renew, answer;
    hm_ms sent_ms;

    (void)state;
    sent_ms = renews_by_hand(&renew);
    answer = grant(2, &renew);
    t.now_ms = sent_ms + 40;
    (void)told_hear(&t, &answer);
    assert_int_equal(core_valid_until(&t.core), sent_ms + TOLD_TTL_MS - TOLD_TTL_MS / 50);
}

static void the_fiftieth_is_rounded_up(void **state)
{
    struct msg renew, answer;
    hm_ms sent_ms;

    (void)state;
    record.ttl_ms = 1501;
    sent_ms = renews_by_hand(&renew);
    answer = grant(2, &renew);
    (void)told_hear(&t, &answer);
    assert_int_equal(core_valid_until(&t.core), sent_ms + 1501 - 31);
}

/* R2: an answer counts from the very transmission that it answers, also when it comes late. */
static void a_late_answer_counts_from_its_own_sending(void **state)
{
    struct msg first, answer;
    hm_ms sent_ms;

    (void)state;
    sent_ms = renews_by_hand(&first);
    told_run(&t, sent_ms + 3 * TOLD_HEARTBEAT_MS);
    assert_int_not_equal(t.last_sent[MSG_RENEW].seq, first.seq);
    answer = grant(2, &first);
    (void)told_hear(&t, &answer);
    assert_int_equal(core_valid_until(&t.core), sent_ms + TOLD_TTL_MS - 30);
}

static void an_answer_to_what_was_never_sent_counts_nothing(void **state)
{
    struct msg renew, answer;
    hm_ms before_ms;

    (void)state;
    (void)renews_by_hand(&renew);
    before_ms = core_valid_until(&t.core);
    answer = grant(2, &renew);
    answer.seq += 7;
    (void)told_hear(&t, &answer);
    answer.seq = 0;
    (void)told_hear(&t, &answer);
    assert_int_equal(core_valid_until(&t.core), before_ms);
}

/* Nobody hears the ACCEPT that ends an attempt. */
static struct msg sends_its_first_accept(void)
{
    for (hm_ms at_ms = QUIET_MS; t.core.state != ST_ACCEPT && at_ms < QUIET_MS + 500; at_ms++)
        told_run(&t, at_ms);
    t.deaf = 0x1ff;
    for (unsigned i = 0; t.sent[MSG_ACCEPT] == 0 && i < 50; i++)
        told_run(&t, t.now_ms + 1);
    assert_true(t.sent[MSG_ACCEPT] > 0);
    return t.last_sent[MSG_ACCEPT];
}

/* R2: each resend of an ACCEPT has its own seq, and only its own send time counts. */
static void a_resent_accept_counts_only_from_its_own_send_time(void **state)
{
    struct msg first, answer;
    hm_ms sent_ms;

    (void)state;
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    first = sends_its_first_accept();
    sent_ms = t.now_ms;
    told_run(&t, sent_ms + 160);
    assert_true(t.sent[MSG_ACCEPT] > 2);
    assert_int_not_equal(t.last_sent[MSG_ACCEPT].seq, first.seq);
    answer = grant(2, &first);
    (void)told_hear(&t, &answer);
    assert_int_equal(t.core.state, ST_HOLDER);
    assert_true(core_valid_until(&t.core) <= sent_ms + TOLD_TTL_MS - 30);
}

/* R2: whoever hears of its majority after the deadline has no lease. */
static void a_majority_that_comes_too_late_gives_no_lease(void **state)
{
    struct msg first, answer;
    hm_ms sent_ms;

    (void)state;
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    first = sends_its_first_accept();
    sent_ms = t.now_ms;
    answer = grant(2, &first);
    t.core.attempt_until_ms = HM_NEVER; /* a member that was paused does not see this pass */
    t.now_ms = sent_ms + TOLD_TTL_MS - 30;
    (void)told_hear(&t, &answer);
    assert_string_equal(core_state_name(t.core.state), "standing");
    assert_non_null(strstr(t.line, "accept -> standing"));
}

static void the_holder_stops_renewing_at_its_deadline(void **state)
{
    struct msg renew;
    hm_ms until_ms;

    (void)state;
    (void)renews_by_hand(&renew);
    until_ms = core_valid_until(&t.core);
    told_run(&t, until_ms - 1);
    assert_string_equal(core_state_name(t.core.state), "holder");
    told_forget(&t);
    told_run(&t, until_ms);
    assert_true(told_has(&t, "holder -> standing"));
    assert_int_equal(t.sent[MSG_RENEW], 0);
    assert_true(core_valid_until(&t.core) == HM_PAST);
}

static void the_fence_is_told_the_deadline_less_the_margin(void **state)
{
    struct msg renew, answer;
    hm_ms sent_ms;

    (void)state;
    sent_ms = renews_by_hand(&renew);
    answer = grant(2, &renew);
    (void)told_hear(&t, &answer);
    assert_int_equal(t.last[DO_FENCE].fence.mode, FENCE_LEASE);
    assert_int_equal(t.last[DO_FENCE].fence.until_ms, sent_ms + TOLD_TTL_MS - 30);
    assert_int_equal(t.last[DO_FENCE].fence.suspend_ms, sent_ms + TOLD_TTL_MS - 30 - 50);
}

/* A stall: what was sent before it no longer extends the fence. */
static void after_a_stall_only_a_new_round_extends_the_fence(void **state)
{
    struct core_event stall = { .type = ON_STALL };
    struct msg before, answer;
    unsigned asked;

    (void)state;
    (void)renews_by_hand(&before);
    stall.at_ms = t.now_ms + 20;
    (void)told_feed(&t, &stall);
    assert_int_not_equal(t.last_sent[MSG_RENEW].seq, before.seq);
    asked = t.asked[DO_FENCE];
    answer = grant(2, &before);
    (void)told_hear(&t, &answer);
    assert_int_equal(t.asked[DO_FENCE], asked);
    answer = grant(2, &t.last_sent[MSG_RENEW]);
    (void)told_hear(&t, &answer);
    assert_int_equal(t.asked[DO_FENCE], asked + 1);
    assert_int_equal(t.last[DO_FENCE].fence.until_ms, t.now_ms + TOLD_TTL_MS - 30);
}

static void a_higher_promise_makes_the_holder_prepare_again(void **state)
{
    uint64_t before;

    (void)state;
    leads();
    before = core_record(&t.core)->epoch;
    t.voter[2].durable.promised = told_ballot(50, DB1);
    told_run(&t, t.now_ms + 300);
    assert_true(told_has(&t, "holder -> holder-prepare: a voter promised a higher ballot"));
    assert_true(told_has(&t, "holder-prepare -> holder-change: a majority promised"));
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_true(t.core.mine.counter > 50);
    assert_int_equal(core_record(&t.core)->epoch, before);
    assert_false(told_has(&t, "standing"));
}

static void a_voter_that_lost_the_record_gets_it_again(void **state)
{
    (void)state;
    leads();
    t.deaf = 1u << DB1;
    t.voter[2].durable.accepted = told_ballot(7, DB1);
    t.voter[2].durable.record = record;
    told_run(&t, t.now_ms + 200);
    assert_true(t.sent[MSG_ACCEPT] > 0);
    assert_int_equal(t.voter[2].durable.record.epoch, 4);
    assert_string_equal(core_state_name(t.core.state), "holder");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(nobody_stands_up_before_the_lease_ran_out),
        TEST(prevotes_count_only_when_the_own_voter_has_written),
        TEST(the_deadline_is_asked_for_when_the_lease_ends),
        TEST(a_lost_holder_is_replaced),
        TEST(a_takeover_begins_a_timeline_that_nobody_used),
        TEST(nobody_takes_over_without_a_majority),
        TEST(the_quarantine_of_the_own_voter_is_waited_for),
        TEST(a_failed_attempt_waits_half_to_four_heartbeats),
        TEST(a_member_marked_nofailover_does_not_stand),
        TEST(a_delayed_copy_does_not_stand),
        TEST(in_a_paused_cluster_nobody_else_stands),
        TEST(a_copy_off_the_history_does_not_stand),
        TEST(nothing_leaves_before_the_own_voter_has_written),
        TEST(a_broken_disk_promises_nothing_and_is_told),
        TEST(a_missing_file_stays_silent),
        TEST(the_deadline_counts_from_sending_less_a_fiftieth),
        TEST(the_fiftieth_is_rounded_up),
        TEST(a_late_answer_counts_from_its_own_sending),
        TEST(an_answer_to_what_was_never_sent_counts_nothing),
        TEST(a_resent_accept_counts_only_from_its_own_send_time),
        TEST(a_majority_that_comes_too_late_gives_no_lease),
        TEST(the_holder_stops_renewing_at_its_deadline),
        TEST(the_fence_is_told_the_deadline_less_the_margin),
        TEST(after_a_stall_only_a_new_round_extends_the_fence),
        TEST(a_higher_promise_makes_the_holder_prepare_again),
        TEST(a_voter_that_lost_the_record_gets_it_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
