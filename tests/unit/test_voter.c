#include "core/voter.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, BORN_MS = 10000, NOW_MS = 20000 };

static struct voter voter;
static struct record record;
static struct msg answer;

/* A voter that accepted (7, db1) version 5 with a ttl of 1500 ms, and is long out of quarantine. */
static int make_voter(void **state)
{
    struct voter_state s;
    struct record first;

    (void)state;
    told_first(&first, 3, 0);
    told_record(&record, &first);
    told_state(&s, &record, 2);
    voter_init(&voter, &s, BORN_MS);
    return 0;
}

static struct msg request(enum msg_type type, uint64_t counter, uint8_t from)
{
    struct msg m = { .type = type,
                     .from = from,
                     .from_incarnation = told_incarnation(from),
                     .seq = 41,
                     .ballot = told_ballot(counter, from),
                     .version = record.version,
                     .ttl_ms = TOLD_TTL_MS };

    if (type == MSG_ACCEPT)
        m.record = &record;
    return m;
}

static enum voter_says take(const struct msg *m, hm_ms now_ms)
{
    return voter_take(&voter, m, now_ms, &answer);
}

static enum voter_says put(enum msg_type type, uint64_t counter, uint8_t from, hm_ms now_ms)
{
    struct msg m = request(type, counter, from);

    return take(&m, now_ms);
}

static void refuses(enum msg_type type, uint64_t counter, uint8_t from, hm_ms now_ms,
                    enum refusal why)
{
    assert_int_equal(put(type, counter, from, now_ms), VOTER_ANSWERS);
    assert_string_equal(refusal_text(answer.refusal), refusal_text(why));
}

static void grants(enum msg_type type, uint64_t counter, uint8_t from, hm_ms now_ms)
{
    refuses(type, counter, from, now_ms, REFUSE_NOTHING);
}

static void writes(enum msg_type type, uint64_t counter, uint8_t from, hm_ms now_ms)
{
    assert_int_equal(put(type, counter, from, now_ms), VOTER_WRITES);
}

/* Puts a request that is written at once. */
static void done(enum msg_type type, uint64_t counter, uint8_t from, hm_ms now_ms)
{
    writes(type, counter, from, now_ms);
    voter_written(&voter, true, now_ms, &answer);
    assert_int_equal(answer.refusal, REFUSE_NOTHING);
}

/* --- prevote -----------------------------------------------------------------------------------
 */

static void prevote_changes_nothing(void **state)
{
    struct voter before;

    (void)state;
    memcpy(&before, &voter, sizeof before);
    grants(MSG_PREVOTE, 8, DB2, NOW_MS);
    refuses(MSG_PREVOTE, 7, DB1, NOW_MS, REFUSE_HIGHER_BALLOT);
    refuses(MSG_PREVOTE, 8, DB2, BORN_MS, REFUSE_QUARANTINE);
    assert_memory_equal(&before, &voter, sizeof before);
}

static void prevote_waits_a_heartbeat_after_a_promise_to_another(void **state)
{
    (void)state;
    done(MSG_PREPARE, 8, DB2, NOW_MS);
    refuses(MSG_PREVOTE, 9, DB1, NOW_MS + 99, REFUSE_JUST_PROMISED);
    assert_int_equal(answer.remaining_ms, 1);
    grants(MSG_PREVOTE, 9, DB2, NOW_MS + 99);
    grants(MSG_PREVOTE, 9, DB1, NOW_MS + 100);
}

/* --- prepare -----------------------------------------------------------------------------------
 */

static void a_promise_is_kept_only_once_it_is_on_disk(void **state)
{
    (void)state;
    writes(MSG_PREPARE, 8, DB2, NOW_MS);
    assert_int_equal(voter.durable.promised.counter, 7);
    assert_int_equal(voter.pending.promised.counter, 8);
    voter_written(&voter, true, NOW_MS + 5, &answer);
    assert_int_equal(voter.durable.promised.counter, 8);
    assert_int_equal(answer.type, MSG_PREPARE_ANSWER);
    assert_int_equal(answer.seq, 41);
    assert_int_equal(answer.accepted.counter, 7);
    assert_ptr_equal(answer.record, &voter.durable.record);
}

static void a_failed_write_promises_nothing(void **state)
{
    struct voter_state before = voter.durable;

    (void)state;
    writes(MSG_PREPARE, 8, DB2, NOW_MS);
    voter_written(&voter, false, NOW_MS + 5, &answer);
    assert_int_equal(answer.refusal, REFUSE_DISK);
    assert_memory_equal(&before, &voter.durable, sizeof before);
    done(MSG_PREPARE, 8, DB2, NOW_MS + 6);
}

static void a_failed_write_accepts_nothing_and_grants_no_lease(void **state)
{
    (void)state;
    writes(MSG_ACCEPT, 8, DB2, NOW_MS);
    voter_written(&voter, false, NOW_MS + 5, &answer);
    assert_int_equal(answer.refusal, REFUSE_DISK);
    assert_int_equal(voter.durable.accepted.counter, 7);
    assert_int_equal(voter.lease.member, HM_NOBODY);
    grants(MSG_RENEW, 7, DB1, NOW_MS + 6);
}

static void a_ballot_is_promised_once_to_one(void **state)
{
    (void)state;
    refuses(MSG_PREPARE, 7, DB1, NOW_MS, REFUSE_HIGHER_BALLOT);
    done(MSG_PREPARE, 8, DB2, NOW_MS);
    grants(MSG_PREPARE, 8, DB2, NOW_MS); /* the answer was lost */
    refuses(MSG_PREPARE, 8, DB1, NOW_MS, REFUSE_HIGHER_BALLOT);
    assert_int_equal(answer.promised.member, DB2);
    done(MSG_PREPARE, 8, DB3, NOW_MS);
}

static void a_promise_that_was_accepted_upon_is_not_answered_again(void **state)
{
    (void)state;
    done(MSG_PREPARE, 8, DB2, NOW_MS);
    record.holder = DB2;
    done(MSG_ACCEPT, 8, DB2, NOW_MS);
    refuses(MSG_PREPARE, 8, DB2, NOW_MS, REFUSE_HIGHER_BALLOT);
}

static void a_live_lease_keeps_others_out_to_the_millisecond(void **state)
{
    (void)state;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    refuses(MSG_PREPARE, 8, DB2, NOW_MS + TOLD_TTL_MS, REFUSE_LIVE_LEASE);
    assert_int_equal(answer.remaining_ms, 1);
    refuses(MSG_PREVOTE, 8, DB2, NOW_MS + TOLD_TTL_MS, REFUSE_LIVE_LEASE);
    assert_true(voter_has_lease_of_another(&voter, DB2, NOW_MS + TOLD_TTL_MS));
    assert_false(voter_has_lease_of_another(&voter, DB2, NOW_MS + TOLD_TTL_MS + 1));
    grants(MSG_PREVOTE, 8, DB2, NOW_MS + TOLD_TTL_MS + 1);
    done(MSG_PREPARE, 8, DB2, NOW_MS + TOLD_TTL_MS + 1);
}

static void a_live_lease_lets_its_own_member_in(void **state)
{
    (void)state;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    assert_false(voter_has_lease_of_another(&voter, DB1, NOW_MS));
    assert_int_equal(voter_lease_end(&voter, DB1), 0);
    done(MSG_PREPARE, 8, DB1, NOW_MS + 1);
}

static void the_quarantine_keeps_others_out_to_the_millisecond(void **state)
{
    (void)state;
    refuses(MSG_PREPARE, 8, DB2, BORN_MS + TOLD_TTL_MS, REFUSE_QUARANTINE);
    assert_int_equal(answer.remaining_ms, 1);
    done(MSG_PREPARE, 8, DB2, BORN_MS + TOLD_TTL_MS + 1);
}

static void the_quarantine_lets_the_accepted_holder_in(void **state)
{
    (void)state;
    done(MSG_PREPARE, 8, DB1, BORN_MS);
}

static void the_quarantine_lasts_as_long_as_the_longest_lease(void **state)
{
    struct voter_state s;

    (void)state;
    told_state(&s, &record, 2);
    s.max_ttl_ms = 9000;
    voter_init(&voter, &s, BORN_MS);
    refuses(MSG_PREPARE, 8, DB2, BORN_MS + 9000, REFUSE_QUARANTINE);
    done(MSG_PREPARE, 8, DB2, BORN_MS + 9001);
}

static void an_empty_voter_has_no_quarantine(void **state)
{
    struct voter_state s = { .incarnation = 5 };

    (void)state;
    voter_init(&voter, &s, BORN_MS);
    assert_int_equal(voter_quarantine_end(&voter), 0);
    done(MSG_PREPARE, 1, DB2, BORN_MS);
    assert_null(answer.record);
}

static void a_missing_file_stays_silent(void **state)
{
    static const enum msg_type types[] = { MSG_PREVOTE, MSG_PREPARE, MSG_ACCEPT,
                                           MSG_RENEW,   MSG_RELEASE, MSG_FREEZE };

    (void)state;
    voter_init(&voter, NULL, BORN_MS);
    for (size_t i = 0; i < HM_ARRAY_LEN(types); i++)
        assert_int_equal(put(types[i], 99, DB1, NOW_MS), VOTER_SILENT);
    assert_false(voter.is_writing);
}

/* --- accept ------------------------------------------------------------------------------------
 */

static void an_acceptance_starts_the_lease_when_it_is_on_disk(void **state)
{
    (void)state;
    record.version = 6;
    writes(MSG_ACCEPT, 7, DB1, NOW_MS);
    assert_int_equal(voter.lease.member, HM_NOBODY);
    voter_written(&voter, true, NOW_MS + 300, &answer);
    assert_int_equal(answer.type, MSG_ACCEPT_ANSWER);
    assert_int_equal(answer.version, 6);
    assert_int_equal(voter.durable.record.version, 6);
    assert_int_equal(voter_lease_end(&voter, DB2), NOW_MS + 300 + TOLD_TTL_MS + 1);
}

static void accept_of_a_lower_version_does_not_overwrite(void **state)
{
    (void)state;
    record.version = 6;
    done(MSG_ACCEPT, 7, DB1, NOW_MS);
    record.version = 5;
    refuses(MSG_ACCEPT, 7, DB1, NOW_MS, REFUSE_OTHER_RECORD);
    assert_int_equal(voter.durable.record.version, 6);
}

static void accept_below_the_promise_is_refused(void **state)
{
    (void)state;
    done(MSG_PREPARE, 9, DB2, NOW_MS);
    record.version = 6;
    refuses(MSG_ACCEPT, 7, DB1, NOW_MS, REFUSE_HIGHER_BALLOT);
    refuses(MSG_ACCEPT, 9, DB1, NOW_MS, REFUSE_HIGHER_BALLOT);
    writes(MSG_ACCEPT, 9, DB2, NOW_MS);
}

/* R1 */
static void the_same_accept_is_answered_again_without_writing(void **state)
{
    (void)state;
    grants(MSG_ACCEPT, 7, DB1, NOW_MS);
    assert_false(voter.is_writing);
    assert_int_equal(voter_lease_end(&voter, DB2), NOW_MS + TOLD_TTL_MS + 1);
}

/* R1: one ballot and version name one record; whatever else comes under them is not stored. */
static void another_record_under_the_same_name_is_not_stored(void **state)
{
    struct record other = record;
    struct msg m = request(MSG_ACCEPT, 7, DB1);

    (void)state;
    other.epoch = 99;
    m.record = &other;
    assert_int_equal(take(&m, NOW_MS), VOTER_ANSWERS);
    assert_int_equal(voter.durable.record.epoch, 3);
}

static void an_accept_promises_its_ballot(void **state)
{
    (void)state;
    record.version = 6;
    done(MSG_ACCEPT, 12, DB1, NOW_MS);
    assert_int_equal(voter.durable.promised.counter, 12);
    refuses(MSG_PREPARE, 12, DB1, NOW_MS, REFUSE_HIGHER_BALLOT);
}

/* --- renew -------------------------------------------------------------------------------------
 */

static void renew_needs_exactly_what_is_accepted(void **state)
{
    struct msg m = request(MSG_RENEW, 7, DB1);

    (void)state;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    m.version = 4;
    assert_int_equal(take(&m, NOW_MS), VOTER_ANSWERS);
    assert_int_equal(answer.refusal, REFUSE_OTHER_RECORD);
    m.version = 6;
    assert_int_equal(take(&m, NOW_MS), VOTER_ANSWERS);
    assert_int_equal(answer.refusal, REFUSE_OTHER_RECORD);
    refuses(MSG_RENEW, 8, DB1, NOW_MS, REFUSE_OTHER_RECORD);
}

static void renew_below_the_promise_is_refused(void **state)
{
    (void)state;
    done(MSG_PREPARE, 8, DB2, NOW_MS);
    refuses(MSG_RENEW, 7, DB1, NOW_MS, REFUSE_HIGHER_BALLOT);
    assert_int_equal(answer.promised.counter, 8);
    assert_int_equal(voter.lease.member, HM_NOBODY);
}

/* R7 */
static void renew_above_the_durable_ttl_is_refused(void **state)
{
    struct msg m = request(MSG_RENEW, 7, DB1);

    (void)state;
    m.ttl_ms = TOLD_TTL_MS + 1;
    assert_int_equal(take(&m, NOW_MS), VOTER_ANSWERS);
    assert_int_equal(answer.refusal, REFUSE_TTL);
    assert_int_equal(voter.lease.member, HM_NOBODY);
    grants(MSG_RENEW, 7, DB1, NOW_MS);
}

static void renew_writes_nothing(void **state)
{
    struct voter_state before = voter.durable;

    (void)state;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    assert_memory_equal(&before, &voter.durable, sizeof before);
    assert_false(voter.is_writing);
}

static void a_shorter_renewal_does_not_shorten_the_lease(void **state)
{
    struct msg m = request(MSG_RENEW, 7, DB1);

    (void)state;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    m.ttl_ms = 100;
    assert_int_equal(take(&m, NOW_MS + 10), VOTER_ANSWERS);
    assert_int_equal(voter_lease_end(&voter, DB2), NOW_MS + TOLD_TTL_MS + 1);
}

/* --- R3: one durable change at a time ----------------------------------------------------------
 */

static void everything_waits_while_a_promise_is_written(void **state)
{
    static const enum msg_type types[] = { MSG_PREVOTE, MSG_PREPARE, MSG_ACCEPT,
                                           MSG_RENEW,   MSG_RELEASE, MSG_FREEZE };

    (void)state;
    writes(MSG_PREPARE, 8, DB1, NOW_MS);
    for (size_t i = 0; i < HM_ARRAY_LEN(types); i++)
        assert_int_equal(put(types[i], 7, DB1, NOW_MS), VOTER_LATER);
}

static void renew_passes_only_the_write_of_the_same_holders_accept(void **state)
{
    (void)state;
    record.version = 6;
    writes(MSG_ACCEPT, 7, DB1, NOW_MS);
    record.version = 5;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    assert_int_equal(put(MSG_RENEW, 7, DB2, NOW_MS), VOTER_LATER);
    assert_int_equal(put(MSG_ACCEPT, 7, DB1, NOW_MS), VOTER_LATER);
    assert_int_equal(put(MSG_PREVOTE, 9, DB1, NOW_MS), VOTER_LATER);
}

static void a_lease_renewed_during_the_write_is_not_shortened_by_it(void **state)
{
    (void)state;
    record.version = 6;
    writes(MSG_ACCEPT, 7, DB1, NOW_MS);
    record.version = 5;
    grants(MSG_RENEW, 7, DB1, NOW_MS + 50);
    voter_written(&voter, true, NOW_MS + 60, &answer);
    assert_int_equal(voter_lease_end(&voter, DB2), NOW_MS + 60 + TOLD_TTL_MS + 1);
}

/* --- R5: release -------------------------------------------------------------------------------
 */

static void release_drops_the_lease_and_kills_later_requests(void **state)
{
    (void)state;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    assert_int_equal(put(MSG_RELEASE, 7, DB1, NOW_MS), VOTER_SILENT);
    assert_false(voter_has_lease_of_another(&voter, DB2, NOW_MS));
    refuses(MSG_RENEW, 7, DB1, NOW_MS, REFUSE_RELEASED);
    refuses(MSG_ACCEPT, 7, DB1, NOW_MS, REFUSE_RELEASED);
    record.version = 6;
    refuses(MSG_ACCEPT, 7, DB1, NOW_MS, REFUSE_RELEASED);
    done(MSG_ACCEPT, 8, DB1, NOW_MS);
}

static void release_of_an_older_ballot_leaves_a_newer_lease(void **state)
{
    (void)state;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    assert_int_equal(put(MSG_RELEASE, 6, DB1, NOW_MS), VOTER_SILENT);
    assert_true(voter_has_lease_of_another(&voter, DB2, NOW_MS));
    grants(MSG_RENEW, 7, DB1, NOW_MS);
}

static void release_of_another_leaves_the_lease(void **state)
{
    (void)state;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    assert_int_equal(put(MSG_RELEASE, 99, DB2, NOW_MS), VOTER_SILENT);
    assert_true(voter_has_lease_of_another(&voter, DB2, NOW_MS));
}

static void a_late_release_does_not_lower_a_higher_one(void **state)
{
    (void)state;
    assert_int_equal(put(MSG_RELEASE, 9, DB1, NOW_MS), VOTER_SILENT);
    assert_int_equal(put(MSG_RELEASE, 7, DB1, NOW_MS), VOTER_SILENT);
    record.version = 6;
    refuses(MSG_ACCEPT, 9, DB1, NOW_MS, REFUSE_RELEASED);
}

/* --- R7: the longest lease ---------------------------------------------------------------------
 */

static void accept_ttl(hm_ms ttl_ms, hm_ms now_ms)
{
    struct msg m;

    record.version++;
    record.ttl_ms = ttl_ms;
    m = request(MSG_ACCEPT, 7, DB1);
    m.ttl_ms = ttl_ms;
    assert_int_equal(take(&m, now_ms), VOTER_WRITES);
    voter_written(&voter, true, now_ms, &answer);
}

static void a_longer_ttl_is_durable_with_its_accept(void **state)
{
    (void)state;
    accept_ttl(5000, NOW_MS);
    assert_int_equal(voter.durable.max_ttl_ms, 5000);
}

static void max_ttl_comes_down_only_after_it_has_passed(void **state)
{
    (void)state;
    accept_ttl(500, NOW_MS);
    assert_int_equal(voter.durable.max_ttl_ms, TOLD_TTL_MS);
    accept_ttl(500, NOW_MS + TOLD_TTL_MS);
    assert_int_equal(voter.durable.max_ttl_ms, TOLD_TTL_MS);
    accept_ttl(500, NOW_MS + TOLD_TTL_MS + 1);
    assert_int_equal(voter.durable.max_ttl_ms, 500);
}

static void a_long_lease_in_between_starts_the_wait_anew(void **state)
{
    (void)state;
    accept_ttl(500, NOW_MS);
    accept_ttl(TOLD_TTL_MS, NOW_MS + 1000);
    accept_ttl(500, NOW_MS + 1001);
    accept_ttl(500, NOW_MS + TOLD_TTL_MS + 1);
    assert_int_equal(voter.durable.max_ttl_ms, TOLD_TTL_MS);
    accept_ttl(500, NOW_MS + 1001 + TOLD_TTL_MS + 1);
    assert_int_equal(voter.durable.max_ttl_ms, 500);
}

/* --- log freeze --------------------------------------------------------------------------------
 */

static void freeze_promises_in_spite_of_a_lease_and_of_the_quarantine(void **state)
{
    struct voter_state s;

    (void)state;
    grants(MSG_RENEW, 7, DB1, NOW_MS);
    done(MSG_FREEZE, 8, DB2, NOW_MS);
    assert_int_equal(answer.type, MSG_FREEZE_ANSWER);
    assert_int_equal(voter.durable.promised.counter, 8);
    refuses(MSG_RENEW, 7, DB1, NOW_MS, REFUSE_HIGHER_BALLOT);
    told_state(&s, &record, 2);
    voter_init(&voter, &s, BORN_MS);
    done(MSG_FREEZE, 8, DB2, BORN_MS);
}

static void freeze_at_or_below_what_is_accepted_is_history(void **state)
{
    (void)state;
    assert_int_equal(put(MSG_FREEZE, 7, DB1, NOW_MS), VOTER_SILENT);
    assert_int_equal(put(MSG_FREEZE, 6, DB2, NOW_MS), VOTER_SILENT);
    writes(MSG_FREEZE, 7, DB2, NOW_MS);
}

static void freeze_below_the_promise_is_refused_and_the_same_is_granted_again(void **state)
{
    (void)state;
    done(MSG_PREPARE, 9, DB2, NOW_MS);
    refuses(MSG_FREEZE, 8, DB2, NOW_MS, REFUSE_HIGHER_BALLOT);
    grants(MSG_FREEZE, 9, DB2, NOW_MS);
    assert_false(voter.is_writing);
}

static void what_is_no_request_is_not_answered(void **state)
{
    (void)state;
    assert_int_equal(put(MSG_GOSSIP, 9, DB2, NOW_MS), VOTER_SILENT);
    assert_int_equal(put(MSG_RENEW_ANSWER, 9, DB2, NOW_MS), VOTER_SILENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_voter)
    const struct CMUnitTest tests[] = {
        TEST(prevote_changes_nothing),
        TEST(prevote_waits_a_heartbeat_after_a_promise_to_another),
        TEST(a_promise_is_kept_only_once_it_is_on_disk),
        TEST(a_failed_write_promises_nothing),
        TEST(a_failed_write_accepts_nothing_and_grants_no_lease),
        TEST(a_ballot_is_promised_once_to_one),
        TEST(a_promise_that_was_accepted_upon_is_not_answered_again),
        TEST(a_live_lease_keeps_others_out_to_the_millisecond),
        TEST(a_live_lease_lets_its_own_member_in),
        TEST(the_quarantine_keeps_others_out_to_the_millisecond),
        TEST(the_quarantine_lets_the_accepted_holder_in),
        TEST(the_quarantine_lasts_as_long_as_the_longest_lease),
        TEST(an_empty_voter_has_no_quarantine),
        TEST(a_missing_file_stays_silent),
        TEST(an_acceptance_starts_the_lease_when_it_is_on_disk),
        TEST(accept_of_a_lower_version_does_not_overwrite),
        TEST(accept_below_the_promise_is_refused),
        TEST(the_same_accept_is_answered_again_without_writing),
        TEST(another_record_under_the_same_name_is_not_stored),
        TEST(an_accept_promises_its_ballot),
        TEST(renew_needs_exactly_what_is_accepted),
        TEST(renew_below_the_promise_is_refused),
        TEST(renew_above_the_durable_ttl_is_refused),
        TEST(renew_writes_nothing),
        TEST(a_shorter_renewal_does_not_shorten_the_lease),
        TEST(everything_waits_while_a_promise_is_written),
        TEST(renew_passes_only_the_write_of_the_same_holders_accept),
        TEST(a_lease_renewed_during_the_write_is_not_shortened_by_it),
        TEST(release_drops_the_lease_and_kills_later_requests),
        TEST(release_of_an_older_ballot_leaves_a_newer_lease),
        TEST(release_of_another_leaves_the_lease),
        TEST(a_late_release_does_not_lower_a_higher_one),
        TEST(a_longer_ttl_is_durable_with_its_accept),
        TEST(max_ttl_comes_down_only_after_it_has_passed),
        TEST(a_long_lease_in_between_starts_the_wait_anew),
        TEST(freeze_promises_in_spite_of_a_lease_and_of_the_quarantine),
        TEST(freeze_at_or_below_what_is_accepted_is_history),
        TEST(freeze_below_the_promise_is_refused_and_the_same_is_granted_again),
        TEST(what_is_no_request_is_not_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
