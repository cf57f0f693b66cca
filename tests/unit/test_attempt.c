/* A candidate on a slow host: others leave it the time, and none of it is lost to its own disk. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000 };

static struct told t;
static struct record record;

/* db2 of three stands: db1 is lost. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB2);
    told_record(&record, &t.first);
    record.durability = record.goal = DURABILITY_SYNC;
    record.pairs[0].need = 1;
    pair_add(&record.pairs[0], DB2, told_copy_id(DB2));
    pair_add(&record.pairs[0], DB3, told_copy_id(DB3));
    t.deaf = 1u << DB1;
    return 0;
}

static void is_in(enum core_state s)
{
    if (t.now_ms == 0) {
        (void)told_start_all(&t, &record, START_MS);
        t.core.voter.born_ms -= 2 * TOLD_TTL_MS;
    }
    for (unsigned i = 0; i < 5000 && t.core.state != s; i++)
        told_run(&t, t.now_ms + 1);
    assert_string_equal(core_state_name(t.core.state), core_state_name(s));
}

static enum refusal prevoted_by(uint8_t slot)
{
    struct msg ask = told_message(&t, DB1, MSG_PREVOTE), answer;

    ask.to = slot;
    ask.to_incarnation = told_incarnation(slot);
    ask.ballot = told_ballot(t.core.mine.counter + 1, DB1);
    assert_int_equal(voter_take(&t.voter[slot], &ask, t.now_ms, &answer), VOTER_ANSWERS);
    return answer.refusal;
}

/* Its receiver takes long to end, or that of another does. */
static void whoever_waits_for_logs_keeps_its_promises_fresh(void **state)
{
    (void)state;
    t.frozen = 0; /* db3 takes its time */
    is_in(ST_FREEZE);
    told_run(&t, t.now_ms + 390);
    assert_string_equal(core_state_name(t.core.state), "freeze");
    assert_int_equal(prevoted_by(DB3), REFUSE_JUST_PROMISED);
    t.stuck = 1u << DO_FREEZE; /* the own one, too */
    is_in(ST_STANDING);
    is_in(ST_FREEZE);
    told_run(&t, t.now_ms + 390);
    assert_string_equal(core_state_name(t.core.state), "freeze");
    assert_int_equal(prevoted_by(DB3), REFUSE_JUST_PROMISED);
}

static void whoever_waits_no_longer_is_forgotten_within_a_heartbeat(void **state)
{
    (void)state;
    t.frozen = 0;
    t.stuck = 1u << DO_FREEZE;
    is_in(ST_FREEZE);
    t.core.stand_at_ms = HM_NEVER;
    is_in(ST_STANDING);
    t.core.stand_at_ms = t.now_ms + 100000;
    told_run(&t, t.now_ms + TOLD_HEARTBEAT_MS);
    assert_int_equal(prevoted_by(DB3), REFUSE_NOTHING);
}

/* Of its ttl only what the others needed has passed when they have accepted. */
static void the_own_vote_counts_from_when_the_others_are_asked(void **state)
{
    struct told_event *written;

    (void)state;
    is_in(ST_FREEZE);
    t.is_disk_stuck = true;
    is_in(ST_ACCEPT);
    told_run(&t, t.now_ms + 300);
    assert_string_equal(core_state_name(t.core.state), "accept");
    assert_int_equal(t.sent[MSG_ACCEPT], 0); /* R4 */
    t.is_disk_stuck = false;
    written = told_post(&t, ON_PERSISTED, t.now_ms);
    written->ev.persisted.ticket = t.core.ticket;
    written->ev.persisted.is_ok = true;
    told_run(&t, t.now_ms + 20);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_in_range(core_valid_until(&t.core) - t.now_ms, TOLD_TTL_MS - 30 - 50, TOLD_TTL_MS - 30);
}

#define TEST(name) cmocka_unit_test_setup(name, make_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whoever_waits_for_logs_keeps_its_promises_fresh),
        TEST(whoever_waits_no_longer_is_forgotten_within_a_heartbeat),
        TEST(the_own_vote_counts_from_when_the_others_are_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
