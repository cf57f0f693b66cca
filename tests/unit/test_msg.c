#include "core/msg.h"

#include "tests/unit/told.h"

static struct record record;
static struct msg m;

static int make_accept(void **state)
{
    struct record first;

    (void)state;
    told_first(&first, 3, 2);
    told_record(&record, &first);
    m = (struct msg){ .type = MSG_ACCEPT,
                      .from = 0,
                      .to = 1,
                      .from_incarnation = 101,
                      .seq = 1,
                      .ballot = told_ballot(9, 0),
                      .version = record.version,
                      .ttl_ms = record.ttl_ms,
                      .record = &record };
    m.gossip.follows = HM_NOBODY;
    return 0;
}

static const char *fault(void)
{
    const char *why = "none";

    assert_int_equal(msg_check(&m, &why), HM_BAD_INPUT);
    return why;
}

static void is_fine(void)
{
    const char *why = NULL;

    if (msg_check(&m, &why) != HM_OK)
        fail_msg("refused: %s", why);
}

static void a_sound_message_is_fine(void **state)
{
    (void)state;
    is_fine();
}

static void the_type_is_known(void **state)
{
    (void)state;
    m.type = MSG_NONE;
    assert_string_equal(fault(), "type of the message");
    m.type = MSG_TYPES_N;
    assert_string_equal(fault(), "type of the message");
    m.type = (enum msg_type) - 1;
    assert_string_equal(fault(), "type of the message");
}

static void slots_exist(void **state)
{
    (void)state;
    m.from = HM_MEMBERS_MAX - 1;
    is_fine();
    m.from = HM_NOBODY;
    is_fine();
    m.from = HM_MEMBERS_MAX;
    assert_string_equal(fault(), "sender or receiver of the message");
    m.from = 0;
    m.to = HM_NOBODY - 1;
    assert_string_equal(fault(), "sender or receiver of the message");
    m.to = 1;
    m.from_incarnation = 0;
    assert_string_equal(fault(), "sender or receiver of the message");
}

static void requests_name_a_ballot(void **state)
{
    (void)state;
    m.ballot.counter = 0;
    assert_string_equal(fault(), "ballot of the message");
    m.ballot = told_ballot(1, HM_MEMBERS_MAX);
    assert_string_equal(fault(), "ballot of the message");
    m.ballot = told_ballot(HM_COUNTER_MAX, 0);
    is_fine();
    m.ballot.counter++;
    assert_string_equal(fault(), "ballot of the message");
    m.ballot.counter = 0;
    m.type = MSG_GOSSIP;
    m.record = NULL;
    is_fine();
    m.type = MSG_QUERY;
    is_fine();
}

static void refusal_gossip_and_remaining_time_are_in_range(void **state)
{
    (void)state;
    m.refusal = REFUSALS_N;
    assert_string_equal(fault(), "refusal of the message");
    m.refusal = REFUSALS_N - 1;
    is_fine();
    m.gossip.copy = COPY_STATES_N;
    assert_string_equal(fault(), "gossip of the message");
    m.gossip.copy = COPY_STATES_N - 1;
    m.gossip.follows = HM_MEMBERS_MAX;
    assert_string_equal(fault(), "gossip of the message");
    m.gossip.follows = HM_MEMBERS_MAX - 1;
    m.remaining_ms = -1;
    assert_string_equal(fault(), "remaining time of the message");
    m.remaining_ms = 2 * HM_TTL_MAX_MS;
    is_fine();
    m.remaining_ms++;
    assert_string_equal(fault(), "remaining time of the message");
}

/* A counter at its end would shut out everybody for ever. */
static void no_promise_is_above_all_others(void **state)
{
    (void)state;
    m.promised.counter = HM_COUNTER_MAX;
    m.accepted.counter = HM_COUNTER_MAX;
    is_fine();
    m.promised.counter++;
    assert_string_equal(fault(), "promised or accepted ballot of the message");
    m.promised.counter--;
    m.accepted.counter++;
    assert_string_equal(fault(), "promised or accepted ballot of the message");
}

static void accept_carries_its_record(void **state)
{
    (void)state;
    m.version++;
    assert_string_equal(fault(), "record of the message");
    m.version--;
    m.ttl_ms++;
    assert_string_equal(fault(), "record of the message");
    m.ttl_ms--;
    record.pairs_n = 0;
    assert_string_equal(fault(), "number of sync pairs");
    m.record = NULL;
    assert_string_equal(fault(), "record of the message");
}

static void renew_has_a_possible_ttl_and_a_seq(void **state)
{
    (void)state;
    m.type = MSG_RENEW;
    m.record = NULL;
    m.ttl_ms = 1;
    is_fine();
    m.ttl_ms = 0;
    assert_string_equal(fault(), "ttl or seq of the message");
    m.ttl_ms = HM_TTL_MAX_MS;
    is_fine();
    m.ttl_ms = HM_TTL_MAX_MS + 1;
    assert_string_equal(fault(), "ttl or seq of the message");
    m.ttl_ms = 1;
    m.seq = 0;
    assert_string_equal(fault(), "ttl or seq of the message");
}

static void an_accepted_record_comes_with_its_ballot(void **state)
{
    (void)state;
    m.type = MSG_PREPARE_ANSWER;
    assert_string_equal(fault(), "accepted ballot of the message");
    m.accepted = told_ballot(7, 0);
    is_fine();
    record.voters = 0;
    assert_string_equal(fault(), "voters");
}

static void texts_exist_for_all_and_only_for_these(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MSG_TYPES_N; i++)
        assert_string_not_equal(msg_type_name((enum msg_type)i), "?");
    assert_string_equal(msg_type_name(MSG_TYPES_N), "?");
    for (unsigned i = 0; i < REFUSALS_N; i++)
        assert_string_not_equal(refusal_text((enum refusal)i), "?");
    assert_string_equal(refusal_text(REFUSALS_N), "?");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_accept)
    const struct CMUnitTest tests[] = {
        TEST(a_sound_message_is_fine),
        TEST(the_type_is_known),
        TEST(slots_exist),
        TEST(requests_name_a_ballot),
        TEST(refusal_gossip_and_remaining_time_are_in_range),
        TEST(no_promise_is_above_all_others),
        TEST(accept_carries_its_record),
        TEST(renew_has_a_possible_ttl_and_a_seq),
        TEST(an_accepted_record_comes_with_its_ballot),
        TEST(texts_exist_for_all_and_only_for_these),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
