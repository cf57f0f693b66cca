/* The core's door to the other members: who is heard, who is answered, what waits. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000 };

static struct told t;
static struct record record;

/* db2 of three and a witness; its voter has been up for long; nobody else speaks by itself. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 1, DB2);
    told_record(&record, &t.first);
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    t.core.voter.born_ms -= 2 * TOLD_TTL_MS;
    told_forget(&t);
    return 0;
}

static struct msg request(enum msg_type type, uint64_t counter, uint8_t from)
{
    struct msg m = told_message(&t, from, type);

    m.ballot = told_ballot(counter, from);
    m.version = record.version;
    m.ttl_ms = TOLD_TTL_MS;
    m.seq = 9;
    if (type == MSG_ACCEPT)
        m.record = &record;
    return m;
}

/* Nothing is answered, promised or believed. */
static void is_ignored(const struct msg *m)
{
    told_forget(&t);
    (void)told_hear(&t, m);
    assert_int_equal(t.sent[MSG_PREVOTE_ANSWER] + t.sent[MSG_PREPARE_ANSWER], 0);
    assert_int_equal(t.asked[DO_PERSIST], 0);
}

/* --- who is heard ------------------------------------------------------------------------------
 */

static void a_request_is_answered_to_its_sender(void **state)
{
    struct msg m = request(MSG_PREVOTE, 20, DB3);

    (void)state;
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_PREVOTE_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].to, DB3);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].to_incarnation, told_incarnation(DB3));
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].seq, 9);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].ballot.counter, 20);
}

static void another_cluster_or_service_is_not_heard(void **state)
{
    struct msg m = request(MSG_PREPARE, 20, DB3);

    (void)state;
    m.cluster++;
    is_ignored(&m);
    m.cluster--;
    m.service++;
    is_ignored(&m);
    m.service--;
    m.from_incarnation = told_incarnation(DB2); /* an echo */
    is_ignored(&m);
}

static void a_request_to_another_incarnation_is_not_heard(void **state)
{
    struct msg m = request(MSG_PREPARE, 20, DB3);

    (void)state;
    m.to_incarnation++;
    is_ignored(&m);
    m.to_incarnation = 0; /* not known yet */
    (void)told_hear(&t, &m);
    assert_int_equal(t.asked[DO_PERSIST], 1);
}

static void an_impostor_is_told_that_it_is_no_member(void **state)
{
    struct msg m = request(MSG_PREPARE, 20, DB3);

    (void)state;
    m.from_incarnation = 999;
    is_ignored(&m);
    m.type = MSG_PREVOTE;
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_PREVOTE_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].refusal, REFUSE_NOT_A_MEMBER);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].to, HM_NOBODY);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].to_incarnation, 999);
}

static void who_is_told_that_it_is_no_member_steps_outside(void **state)
{
    static struct record newer;
    struct msg m = told_message(&t, DB3, MSG_PREVOTE_ANSWER);

    (void)state;
    m.ballot = told_ballot(1, DB2);
    m.refusal = REFUSE_NOT_A_MEMBER;
    (void)told_hear(&t, &m); /* without a record it proves nothing */
    assert_string_not_equal(core_state_name(t.core.state), "outside");
    newer = *core_record(&t.core);
    newer.member[DB2].incarnation++;
    m.accepted = t.core.voter.durable.accepted;
    m.record = &newer;
    (void)told_hear(&t, &m); /* nor does one that is no newer than the own */
    assert_string_not_equal(core_state_name(t.core.state), "outside");
    newer.version++;
    (void)told_hear(&t, &m);
    assert_string_equal(core_state_name(t.core.state), "outside");
    told_run(&t, START_MS + 5000);
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
    t.leader = DB1; /* a holder that renews its record shows that it is a member */
    told_renew(&t);
    assert_string_equal(core_state_name(t.core.state), "following");
}

static void a_member_that_was_removed_is_told_so_when_it_gossips(void **state)
{
    struct msg m = told_message(&t, DB3, MSG_GOSSIP);

    (void)state;
    m.gossip.epoch = record.epoch;
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_RECORD], 0);
    m.from_incarnation = 999; /* another one in that slot, or nobody */
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_RECORD], 1);
    assert_int_equal(t.last_sent[MSG_RECORD].to_incarnation, 999);
    m.to_incarnation = 5; /* it speaks to somebody else */
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_RECORD], 1);
}

static void a_newer_record_without_this_member_tells_that_it_was_removed(void **state)
{
    static struct record newer;
    struct msg m = told_message(&t, DB3, MSG_RECORD);

    (void)state;
    newer = *core_record(&t.core);
    memset(&newer.member[DB2], 0, sizeof newer.member[DB2]);
    newer.voters &= (uint16_t) ~(1u << DB2);
    m.accepted = t.core.voter.durable.accepted;
    m.record = &newer;
    (void)told_hear(&t, &m);
    assert_string_not_equal(core_state_name(t.core.state), "outside");
    newer.version++;
    (void)told_hear(&t, &m);
    assert_string_equal(core_state_name(t.core.state), "outside");
    told_forget(&t);
    told_run(&t, START_MS + 5000);
    assert_int_equal(t.sent[MSG_GOSSIP], 0);
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
}

static void an_accept_whose_record_does_not_name_the_receiver_is_not_heard(void **state)
{
    struct msg m = request(MSG_ACCEPT, 20, DB1);

    (void)state;
    record.version++;
    m.version++;
    record.member[DB2].incarnation++;
    is_ignored(&m);
    record.member[DB2].incarnation--;
    record.holder = DB3; /* not the sender */
    is_ignored(&m);
    record.holder = DB1;
    (void)told_hear(&t, &m);
    assert_int_equal(t.asked[DO_PERSIST], 1);
}

/* --- incarnations of the cluster ---------------------------------------------------------------
 */

static void a_newer_incarnation_of_the_cluster_stops_the_member(void **state)
{
    struct msg m = request(MSG_PREVOTE, 20, DB3);

    (void)state;
    m.cluster_incarnation++;
    (void)told_hear(&t, &m);
    assert_non_null(strstr(t.line, "-> stopped: the cluster has a newer incarnation"));
    told_forget(&t);
    m.cluster_incarnation--;
    told_run(&t, START_MS + 5000);
    is_ignored(&m);
    assert_string_equal(core_state_name(t.core.state), "stopped");
}

static void an_older_incarnation_of_the_cluster_is_told(void **state)
{
    struct msg m;

    (void)state;
    record.cluster_incarnation = 3;
    told_init(&t, 3, 1, DB2);
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    told_forget(&t);
    m = request(MSG_PREPARE, 20, DB3);
    m.cluster_incarnation = 2;
    (void)told_hear(&t, &m);
    assert_int_equal(t.asked[DO_PERSIST], 0);
    assert_int_equal(t.last_sent[MSG_GOSSIP].to_incarnation, told_incarnation(DB3));
    assert_int_equal(t.last_sent[MSG_GOSSIP].cluster_incarnation, 3);
    m.type = MSG_GOSSIP; /* else two such members would go on for ever */
    told_forget(&t);
    (void)told_hear(&t, &m);
    assert_int_equal(t.asked[DO_SEND], 0);
}

/* --- R3: what waits for a write ----------------------------------------------------------------
 */

static void a_request_waits_for_the_write_and_is_then_answered(void **state)
{
    struct msg first = request(MSG_PREPARE, 20, DB3), second = request(MSG_PREVOTE, 21, DB1);

    (void)state;
    (void)told_hear(&t, &first);
    (void)told_hear(&t, &second);
    assert_int_equal(t.sent[MSG_PREVOTE_ANSWER], 0);
    assert_int_equal(t.core.inbox_n, 1);
    told_run(&t, START_MS + 2);
    assert_int_equal(t.sent[MSG_PREPARE_ANSWER], 1);
    assert_int_equal(t.sent[MSG_PREVOTE_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_PREVOTE_ANSWER].refusal, REFUSE_JUST_PROMISED);
    assert_int_equal(t.core.inbox_n, 0);
}

static void a_renewal_waits_for_the_write_of_a_promise(void **state)
{
    struct msg first = request(MSG_PREPARE, 20, DB3), renew = request(MSG_RENEW, 7, DB1);

    (void)state;
    (void)told_hear(&t, &first);
    (void)told_hear(&t, &renew);
    assert_int_equal(t.sent[MSG_RENEW_ANSWER], 0);
    told_run(&t, START_MS + 2);
    assert_int_equal(t.last_sent[MSG_RENEW_ANSWER].refusal, REFUSE_HIGHER_BALLOT);
}

static void a_renewal_passes_the_write_of_the_same_holders_accept(void **state)
{
    struct msg renew = request(MSG_RENEW, 7, DB1), accept;

    (void)state;
    record.version++;
    accept = request(MSG_ACCEPT, 7, DB1);
    (void)told_hear(&t, &accept);
    assert_int_equal(t.asked[DO_PERSIST], 1);
    (void)told_hear(&t, &renew);
    assert_int_equal(t.sent[MSG_RENEW_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_RENEW_ANSWER].refusal, REFUSE_NOTHING);
}

static void the_newer_of_two_waiting_requests_takes_the_place(void **state)
{
    struct msg first = request(MSG_PREPARE, 20, DB3), m = request(MSG_PREPARE, 21, DB1);

    (void)state;
    (void)told_hear(&t, &first);
    (void)told_hear(&t, &m);
    m.ballot.counter = 22;
    (void)told_hear(&t, &m);
    assert_int_equal(t.core.inbox_n, 1);
    told_run(&t, START_MS + 4);
    assert_int_equal(t.core.voter.durable.promised.counter, 22);
}

static void no_more_wait_than_there_is_room_for(void **state)
{
    static const enum msg_type types[] = { MSG_PREVOTE, MSG_PREPARE, MSG_RENEW, MSG_FREEZE,
                                           MSG_RELEASE };
    struct msg m = request(MSG_PREPARE, 20, DB3);

    (void)state;
    (void)told_hear(&t, &m);
    for (unsigned i = 0; i < CORE_INBOX_MAX + 1; i++) {
        m = request(types[i], 21, DB1);
        (void)told_hear(&t, &m);
        assert_int_equal(t.core.inbox_n, i < CORE_INBOX_MAX ? i + 1 : CORE_INBOX_MAX);
    }
    told_run(&t, START_MS + 10);
    assert_int_equal(t.core.inbox_n, 0);
    assert_int_equal(t.core.voter.durable.promised.counter, 21);
}

static void a_waiting_record_is_the_cores_own(void **state)
{
    struct msg m = request(MSG_PREPARE, 8, DB1);

    (void)state;
    (void)told_hear(&t, &m);
    record.version++;
    m = request(MSG_ACCEPT, 8, DB1);
    (void)told_hear(&t, &m);
    assert_int_equal(t.core.inbox_n, 1);
    memset(&record, 0xff, sizeof record);
    told_run(&t, START_MS + 10);
    assert_int_equal(core_record(&t.core)->version, 6);
    assert_int_equal(core_record(&t.core)->holder, DB1);
}

/* --- other roles -------------------------------------------------------------------------------
 */

static void a_witness_votes_and_does_nothing_else(void **state)
{
    struct msg m;

    (void)state;
    told_init(&t, 2, 1, 2);
    told_record(&record, &t.first);
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    t.core.voter.born_ms -= 2 * TOLD_TTL_MS;
    m = request(MSG_PREPARE, 20, DB2);
    (void)told_hear(&t, &m);
    told_run(&t, START_MS + 5000);
    assert_int_equal(t.sent[MSG_PREPARE_ANSWER], 1);
    assert_string_equal(core_why(&t.core), "it votes");
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
    assert_int_equal(t.asked[DO_FENCE], 0);
}

static void becomes_an_observer(void)
{
    struct core_config config;
    struct voter_state empty = { .incarnation = 500 };

    told_init(&t, 3, 0, DB1);
    told_config(&config, &t.first, DB1);
    config.role = ROLE_OBSERVER;
    config.incarnation = 500;
    memcpy(config.name, "app", 4);
    core_init(&t.core, &config);
    told_record(&record, &t.first);
    t.deaf = 0x1ff;
    (void)told_start(&t, &empty, START_MS);
}

static void reports(uint8_t from, uint64_t counter)
{
    struct msg m = told_message(&t, from, MSG_RECORD);

    m.to_incarnation = 500;
    m.accepted = told_ballot(counter, DB1);
    m.version = record.version;
    m.record = &record;
    (void)told_hear(&t, &m);
}

static void an_observer_asks_all_voters(void **state)
{
    (void)state;
    becomes_an_observer();
    told_run(&t, START_MS + TOLD_HEARTBEAT_MS);
    assert_string_equal(core_state_name(t.core.state), "observing");
    assert_true(t.sent[MSG_QUERY] >= 6);
    assert_null(core_record(&t.core));
}

static void an_observer_believes_a_majority(void **state)
{
    (void)state;
    becomes_an_observer();
    reports(DB1, 7);
    assert_null(core_record(&t.core));
    reports(DB1, 7);
    assert_null(core_record(&t.core));
    reports(DB2, 7);
    assert_non_null(core_record(&t.core));
    assert_int_equal(core_record(&t.core)->epoch, 3);
    record.epoch = 4;
    record.version++;
    reports(DB3, 8);
    assert_int_equal(core_record(&t.core)->epoch, 3);
    reports(DB2, 8);
    assert_int_equal(core_record(&t.core)->epoch, 4);
}

static void an_observer_does_not_go_back_to_an_older_record(void **state)
{
    (void)state;
    becomes_an_observer();
    reports(DB1, 7);
    reports(DB2, 7);
    record.epoch = 2;
    record.version = 4;
    reports(DB1, 6);
    reports(DB2, 6);
    reports(DB3, 6);
    assert_int_equal(core_record(&t.core)->epoch, 3);
}

static void an_observer_has_no_vote(void **state)
{
    struct msg m;

    (void)state;
    becomes_an_observer();
    m = request(MSG_PREPARE, 20, DB3);
    m.to_incarnation = 500;
    is_ignored(&m);
}

static void a_query_is_answered_with_the_record(void **state)
{
    struct msg m = told_message(&t, 8, MSG_QUERY);

    (void)state;
    m.from = HM_NOBODY;
    m.from_incarnation = 500;
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_RECORD], 1);
    assert_int_equal(t.last_sent[MSG_RECORD].to_incarnation, 500);
    assert_int_equal(t.last_sent[MSG_RECORD].version, record.version);
}

/* A member that was removed and added again has another slot than in the list that it was given:
 * what it said in the old one would be taken for somebody else's. */
static void who_is_asked_in_another_slot_asks_for_the_record_first(void **state)
{
    struct voter_state empty = { .incarnation = told_incarnation(DB2) };
    struct msg m, answer;

    (void)state;
    told_init(&t, 3, 1, DB2);
    t.deaf = 0x1ff;
    (void)told_start(&t, &empty, START_MS);
    record.member[6] = record.member[DB2];
    record.member[DB2].incarnation = 900;
    record.member[DB2].name[2] = '9';
    record.voters |= 1u << 6;
    m = request(MSG_RENEW, 7, DB1);
    m.to = 6;
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_RENEW_ANSWER], 0);
    assert_int_equal(t.sent[MSG_QUERY], 1);
    assert_int_equal(t.last_sent[MSG_QUERY].to_incarnation, told_incarnation(DB1));

    answer = told_message(&t, DB1, MSG_RECORD);
    answer.accepted = m.ballot;
    answer.version = record.version;
    answer.record = &record;
    (void)told_hear(&t, &answer);
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_RENEW_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_RENEW_ANSWER].from, 6);
    assert_int_equal(t.last_sent[MSG_RENEW_ANSWER].refusal, REFUSE_OTHER_RECORD);
}

/* The holder was added after this member's list was made: it is answered where it asks from. */
static void a_holder_that_the_own_list_does_not_name_is_answered(void **state)
{
    struct voter_state empty = { .incarnation = told_incarnation(DB2) };
    struct msg m;

    (void)state;
    told_init(&t, 3, 1, DB2);
    t.deaf = 0x1ff;
    (void)told_start(&t, &empty, START_MS);
    m = request(MSG_RENEW, 7, 5);
    m.to = DB2;
    m.from_incarnation = 700;
    (void)told_hear(&t, &m);
    assert_int_equal(t.sent[MSG_RENEW_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_RENEW_ANSWER].to_incarnation, 700);
    assert_int_equal(t.last_sent[MSG_RENEW_ANSWER].refusal, REFUSE_OTHER_RECORD);
}

/* db3 alone accepted a record in which db1 was replaced, and which forbids to take over. Whoever
 * met it in an attempt goes on answering the members of its own record afterwards. */
static void what_an_attempt_adopted_is_forgotten_when_it_is_over(void **state)
{
    struct record *newer = &t.voter[DB3].durable.record;

    (void)state;
    t.deaf = 1u << DB1;
    newer->version++;
    newer->is_paused = true;
    newer->member[DB1].incarnation = 900;
    told_run(&t, START_MS + 4 * TOLD_TTL_MS);
    assert_true(told_has(&t, "the record adopted forbids it"));
    assert_string_equal(core_state_name(t.core.state), "standing");
    told_forget(&t);
    t.leader = DB1;
    told_renew(&t);
    assert_int_equal(t.sent[MSG_RENEW_ANSWER], 1);
    assert_int_equal(t.last_sent[MSG_RENEW_ANSWER].to_incarnation, told_incarnation(DB1));
}

/* --- limits ------------------------------------------------------------------------------------
 */

/* The largest cluster, everybody talking: effects never come near the limit. */
static void the_largest_cluster_stays_within_the_effects_of_a_step(void **state)
{
    (void)state;
    told_init(&t, HM_MEMBERS_MAX, 0, DB2);
    told_record(&record, &t.first);
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + TOLD_TTL_MS + 500);
    assert_string_equal(core_state_name(t.core.state), "holder");
    for (uint8_t slot = 2; slot < HM_MEMBERS_MAX; slot++)
        t.voter[slot].durable.promised = told_ballot(60 + slot, slot);
    told_run(&t, t.now_ms + 1000);
    t.deaf = 0x1ff;
    told_run(&t, t.now_ms + 5000);
    t.deaf = 0;
    told_run(&t, t.now_ms + 5000);
    assert_in_range(t.most_effects, HM_MEMBERS_MAX, CORE_EFFECTS_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered_to_its_sender),
        TEST(another_cluster_or_service_is_not_heard),
        TEST(a_request_to_another_incarnation_is_not_heard),
        TEST(an_impostor_is_told_that_it_is_no_member),
        TEST(who_is_told_that_it_is_no_member_steps_outside),
        TEST(a_member_that_was_removed_is_told_so_when_it_gossips),
        TEST(a_newer_record_without_this_member_tells_that_it_was_removed),
        TEST(an_accept_whose_record_does_not_name_the_receiver_is_not_heard),
        TEST(a_newer_incarnation_of_the_cluster_stops_the_member),
        TEST(an_older_incarnation_of_the_cluster_is_told),
        TEST(a_request_waits_for_the_write_and_is_then_answered),
        TEST(a_renewal_waits_for_the_write_of_a_promise),
        TEST(a_renewal_passes_the_write_of_the_same_holders_accept),
        TEST(the_newer_of_two_waiting_requests_takes_the_place),
        TEST(no_more_wait_than_there_is_room_for),
        TEST(a_waiting_record_is_the_cores_own),
        TEST(a_witness_votes_and_does_nothing_else),
        TEST(an_observer_asks_all_voters),
        TEST(an_observer_believes_a_majority),
        TEST(an_observer_does_not_go_back_to_an_older_record),
        TEST(an_observer_has_no_vote),
        TEST(a_query_is_answered_with_the_record),
        TEST(who_is_asked_in_another_slot_asks_for_the_record_first),
        TEST(a_holder_that_the_own_list_does_not_name_is_answered),
        TEST(what_an_attempt_adopted_is_forgotten_when_it_is_over),
        TEST(the_largest_cluster_stays_within_the_effects_of_a_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
