/* Who has everything: sync pairs in the record and in the database (6.1). */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000, SERVING_MS = START_MS + TOLD_TTL_MS + 400 };

static struct told t;
static struct record record;

/* db2 of three; db1 and db3 stream or may take over. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB2);
    told_record(&record, &t.first);
    return 0;
}

static struct pair pair_of(uint8_t need, unsigned n, const uint8_t *slots)
{
    struct pair p = pair_alone;

    for (unsigned i = 0; i < n; i++)
        pair_add(&p, slots[i], told_copy_id(slots[i]));
    p.need = need;
    return p;
}

static void has_pairs(unsigned n, const struct pair *first, const struct pair *second)
{
    const struct record *r = core_record(&t.core);

    assert_int_equal(r->pairs_n, n);
    assert_true(pair_digest(&r->pairs[0]) == pair_digest(first));
    if (n > 1)
        assert_true(pair_digest(&r->pairs[1]) == pair_digest(second));
}

/* The standby of a slot streams from here, or does not. */
static void streams(uint8_t slot, bool is_streaming)
{
    t.copy.standby[slot].is_streaming = is_streaming;
    t.copy.standby[slot].copy_id = told_copy_id(slot);
    t.copy.standby[slot].flushed = UINT64_MAX; /* all there is */
}

static void follows_the_new_primary(uint8_t slot)
{
    t.gossip[slot].at = t.copy.at;
    t.gossip[slot].began_epoch = t.copy.began_epoch;
    t.gossip[slot].epoch = 4;
    t.gossip[slot].follows = DB2;
}

/* db2 has taken over and serves; db1 and db3 are back as standbys that do not stream yet. */
static void leads(void)
{
    t.deaf |= 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, SERVING_MS);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_string_equal(copy_state_name(t.copy.state), "primary");
    t.deaf = 0;
    follows_the_new_primary(DB1);
    follows_the_new_primary(DB3);
    told_run(&t, SERVING_MS + 100);
    told_forget(&t);
}

static void order_durability(uint64_t id, enum durability d, uint8_t standbys)
{
    (void)told_order(
        &t, (struct order){
                .kind = ORDER_DURABILITY, .id = id, .durability = d, .sync_standbys = standbys });
}

static void both_stream_in(enum durability d, uint8_t standbys)
{
    leads();
    streams(DB1, true);
    streams(DB3, true);
    order_durability(1, d, standbys);
}

static const uint8_t both[] = { DB1, DB3 };

/* --- growing -----------------------------------------------------------------------------------
 */

/* record {A, B}; nobody; prove; B; marker; record {B}; only then does the record say sync. */
static void sync_begins_with_the_record_and_ends_with_a_marker(void **state)
{
    struct pair pair = pair_of(1, 2, both);

    (void)state;
    both_stream_in(DURABILITY_SYNC, 1);
    t.stuck = 1u << DO_SET_NAMES;
    told_run(&t, t.now_ms + 200);
    has_pairs(2, &pair_alone, &pair);
    assert_int_equal(t.last[DO_SET_NAMES].names.names, NAMES_NOBODY);
    assert_int_equal(t.asked[DO_MARKER], 0);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_ASYNC);
}

static void names_that_nobody_has_are_proved_before_those_of_the_pair(void **state)
{
    (void)state;
    both_stream_in(DURABILITY_SYNC, 1);
    t.stuck = 1u << DO_PROVE;
    told_run(&t, t.now_ms + 300);
    assert_int_equal(t.copy.names, NAMES_NOBODY);
    assert_int_equal(t.asked[DO_PROVE], 1);
    assert_int_equal(t.asked[DO_SET_NAMES], 1);
    assert_int_equal(t.asked[DO_MARKER], 0);
}

static void the_old_pair_goes_only_after_a_marker(void **state)
{
    struct pair pair = pair_of(1, 2, both);

    (void)state;
    both_stream_in(DURABILITY_SYNC, 1);
    t.failing = 1u << DO_MARKER;
    told_run(&t, t.now_ms + 2000);
    assert_true(t.asked[DO_MARKER] > 2); /* asked again and again */
    assert_int_equal(t.copy.names, NAMES_PAIR);
    has_pairs(2, &pair_alone, &pair);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_ASYNC);
    t.failing = 0;
    told_run(&t, t.now_ms + 2000);
    has_pairs(1, &pair, NULL);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_SYNC);
}

static void as_many_standbys_as_ordered_are_waited_for(void **state)
{
    struct pair pair = pair_of(2, 2, both);

    (void)state;
    both_stream_in(DURABILITY_SYNC, 2);
    told_run(&t, t.now_ms + 500);
    has_pairs(1, &pair, NULL);
    assert_true(t.copy.names_digest == pair_digest(&pair));
}

static void a_standby_that_streams_joins(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair small = pair_of(1, 1, one), large = pair_of(1, 2, both);

    (void)state;
    leads();
    streams(DB3, true);
    order_durability(1, DURABILITY_SYNC, 1);
    told_run(&t, t.now_ms + 500);
    has_pairs(1, &small, NULL);
    streams(DB1, true);
    told_run(&t, t.now_ms + 500);
    has_pairs(1, &large, NULL);
}

static void who_may_not_become_primary_is_not_waited_for(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair small = pair_of(1, 1, one);

    (void)state;
    leads();
    t.gossip[DB1].is_nofailover = true;
    streams(DB1, true);
    streams(DB3, true);
    order_durability(1, DURABILITY_SYNC, 1);
    told_run(&t, t.now_ms + 500);
    has_pairs(1, &small, NULL);
}

static void a_cascade_keeps_no_place(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair small = pair_of(1, 1, one);

    (void)state;
    both_stream_in(DURABILITY_STRICT, 1);
    told_run(&t, t.now_ms + 500);
    t.gossip[DB1].follows = DB3;
    streams(DB1, false);
    told_run(&t, t.now_ms + 500);
    has_pairs(1, &small, NULL);
}

static void a_stream_of_another_copy_does_not_count(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair small = pair_of(1, 1, one);

    (void)state;
    leads();
    streams(DB1, true);
    streams(DB3, true);
    t.copy.standby[DB1].copy_id++; /* a stranger under its name */
    order_durability(1, DURABILITY_SYNC, 1);
    told_run(&t, t.now_ms + 500);
    has_pairs(1, &small, NULL);
}

/* --- shrinking ---------------------------------------------------------------------------------
 */

static void a_standby_that_is_gone_keeps_its_place_for_the_time_of_a_lease(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair large = pair_of(1, 2, both), small = pair_of(1, 1, one);
    hm_ms gone_ms;

    (void)state;
    both_stream_in(DURABILITY_SYNC, 1);
    told_run(&t, t.now_ms + 500);
    t.deaf = 1u << DB1;
    streams(DB1, false);
    gone_ms = t.now_ms;
    told_run(&t, gone_ms + TOLD_TTL_MS - TOLD_PROBE_MS);
    has_pairs(1, &large, NULL);
    told_run(&t, gone_ms + TOLD_TTL_MS + 300);
    has_pairs(1, &small, NULL);
}

/* A link that flaps, a disk that hangs: the connection is there, and commits would wait for ever.
 */
static void a_standby_that_is_stuck_is_not_waited_for(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair large = pair_of(1, 2, both), small = pair_of(1, 1, one);
    hm_ms stuck_ms;

    (void)state;
    both_stream_in(DURABILITY_SYNC, 1);
    told_run(&t, t.now_ms + 500);
    t.copy.standby[DB1].flushed = t.copy.at.offset - 100;
    told_run(&t, t.now_ms + TOLD_PROBE_MS);
    stuck_ms = t.now_ms;
    told_run(&t, stuck_ms + t.core.config.stall_timeout_ms - 2 * TOLD_PROBE_MS);
    has_pairs(1, &large, NULL);
    told_run(&t, stuck_ms + t.core.config.stall_timeout_ms + 300);
    has_pairs(1, &small, NULL);
    t.copy.standby[DB1].flushed += 50; /* not all, but it moves */
    told_run(&t, t.now_ms + 300);
    has_pairs(1, &large, NULL);
}

static void a_standby_whose_host_is_gone_is_not_waited_for_until_tcp_knows(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair large = pair_of(1, 2, both), small = pair_of(1, 1, one);
    hm_ms gone_ms;

    (void)state;
    t.core.config.stall_timeout_ms = 10 * TOLD_TTL_MS;
    both_stream_in(DURABILITY_SYNC, 1);
    told_run(&t, t.now_ms + 500);
    t.copy.standby[DB1].flushed = t.copy.at.offset - 100;
    t.probe_rarely = 10;
    t.deaf = 1u << DB1;
    gone_ms = t.now_ms;
    told_run(&t, gone_ms + TOLD_TTL_MS - TOLD_HEARTBEAT_MS);
    has_pairs(1, &large, NULL);
    told_run(&t, gone_ms + TOLD_TTL_MS + 20);
    has_pairs(1, &small, NULL);
    assert_in_range(t.asked[DO_LOOK], 5, 15); /* once a heartbeat, not more */
}

/* Its hamgrd is gone, not its server. */
static void a_standby_that_goes_on_streaming_is_waited_for(void **state)
{
    struct pair large = pair_of(1, 2, both);

    (void)state;
    both_stream_in(DURABILITY_SYNC, 1);
    t.probe_rarely = 10;
    t.deaf = 1u << DB1;
    for (unsigned i = 0; i < 100; i++) {
        told_run(&t, t.now_ms + TOLD_PROBE_MS);
        t.copy.at.offset += 100;
        t.copy.standby[DB1].flushed = t.copy.at.offset - 50;
        t.copy.standby[DB3].flushed = t.copy.at.offset - 50;
    }
    has_pairs(1, &large, NULL);
}

/* sync: the last standby is gone: record first, names second, and it is said aloud. */
static void the_last_standby_that_goes_leaves_the_primary_alone(void **state)
{
    (void)state;
    both_stream_in(DURABILITY_SYNC, 1);
    told_run(&t, t.now_ms + 500);
    t.deaf = 1u << DB1;
    streams(DB1, false);
    streams(DB3, false);
    t.gossip[DB3].copy = COPY_DOWN;
    told_run(&t, t.now_ms + TOLD_TTL_MS + 500);
    has_pairs(1, &pair_alone, NULL);
    assert_int_equal(t.copy.names, NAMES_EMPTY);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_SYNC);
}

static void in_strict_nobody_loses_its_place(void **state)
{
    struct pair pair = pair_of(1, 2, both);

    (void)state;
    both_stream_in(DURABILITY_STRICT, 1);
    told_run(&t, t.now_ms + 500);
    t.deaf = 1u << DB1;
    streams(DB1, false);
    streams(DB3, false);
    told_run(&t, t.now_ms + 5 * TOLD_TTL_MS);
    has_pairs(1, &pair, NULL);
    assert_int_equal(t.copy.names, NAMES_PAIR);
}

/* Both pairs name every standby, as two copies each; none of them has been heard yet. */
static void two_copies_of_each_member_in_the_record_fit_one_pair(void **state)
{
    (void)state;
    told_init(&t, HM_MEMBERS_MAX, 0, DB1);
    told_record(&record, &t.first);
    told_primary(&t.copy, DB1);
    record.durability = DURABILITY_STRICT;
    record.goal = DURABILITY_STRICT;
    record.pairs_n = 2;
    for (unsigned i = 0; i < 2; i++) {
        record.pairs[i] = pair_alone;
        record.pairs[i].need = 1;
        for (uint8_t slot = 1; slot < HM_MEMBERS_MAX; slot++)
            pair_add(&record.pairs[i], slot, told_copy_id(slot) + 100 * i);
    }
    for (unsigned slot = 1; slot < HM_MEMBERS_MAX; slot++)
        t.gossip[slot].copy_id = 0;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 3000);
    assert_string_equal(core_state_name(t.core.state), "holder");
}

static void strict_without_standbys_acknowledges_nothing(void **state)
{
    (void)state;
    leads();
    order_durability(1, DURABILITY_STRICT, 1);
    told_run(&t, t.now_ms + 1000);
    has_pairs(1, &pair_alone, NULL);
    assert_int_equal(t.copy.names, NAMES_NOBODY);
    assert_int_equal(t.asked[DO_MARKER], 0);
}

/* The goal is another, and the record still promises strict. */
static void strict_is_kept_until_it_is_taken_back(void **state)
{
    (void)state;
    both_stream_in(DURABILITY_STRICT, 1);
    told_run(&t, t.now_ms + 1000);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_STRICT);
    told_forget(&t);
    order_durability(2, DURABILITY_ASYNC, 0);
    while (core_record(&t.core)->durability == DURABILITY_STRICT) {
        assert_int_not_equal(t.copy.names, NAMES_EMPTY);
        told_run(&t, t.now_ms + 1);
    }
    told_run(&t, t.now_ms + 300);
    assert_int_equal(t.copy.names, NAMES_EMPTY);
}

static void async_is_promised_at_once(void **state)
{
    (void)state;
    both_stream_in(DURABILITY_SYNC, 1);
    told_run(&t, t.now_ms + 500);
    order_durability(2, DURABILITY_ASYNC, 0);
    told_run(&t, t.now_ms + 300);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_ASYNC);
    has_pairs(1, &pair_alone, NULL);
    assert_int_equal(t.copy.names, NAMES_EMPTY);
}

static void a_removed_member_leaves_the_pairs_first(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair small = pair_of(1, 1, one);

    (void)state;
    both_stream_in(DURABILITY_SYNC, 1);
    told_run(&t, t.now_ms + 500);
    t.stuck = 1u << DO_MARKER;
    (void)told_order(&t, (struct order){ .kind = ORDER_MEMBER_REMOVE, .id = 2, .member = DB1 });
    told_run(&t, t.now_ms + 300);
    assert_int_equal(core_record(&t.core)->voters, 0x07);
    assert_int_equal(core_record(&t.core)->pairs_n, 2);
    t.stuck = 0;
    t.core.op.type = DO_SEND; /* the adapter gave it up */
    told_run(&t, t.now_ms + 1000);
    has_pairs(1, &small, NULL);
    assert_int_equal(core_record(&t.core)->voters, 0x06);
}

/* --- taking over -------------------------------------------------------------------------------
 */

/* The record of db1 in sync, with db2 and db3 in its pair. */
static void promises(enum durability d, uint8_t need)
{
    static const uint8_t slots[] = { DB2, DB3 };

    record.durability = d;
    record.goal = d;
    record.sync_standbys = need;
    record.pairs[0] = pair_of(need, 2, slots);
}

static void fails_over(void)
{
    t.deaf |= 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, SERVING_MS + 2000);
}

static void enough_frozen_logs_let_a_candidate_take_over(void **state)
{
    (void)state;
    promises(DURABILITY_SYNC, 1); /* |C| - k + 1 = 2 answers */
    fails_over();
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(core_record(&t.core)->epoch, 4);
}

static void one_answer_too_few_and_nobody_takes_over(void **state)
{
    (void)state;
    promises(DURABILITY_SYNC, 1);
    t.frozen = 0;
    fails_over();
    assert_int_equal(t.sent[MSG_ACCEPT], 0);
    assert_true(told_has(&t, "freeze -> standing: not enough logs were frozen in time"));
}

/* need = 2 of 2: one answer, the own, meets every commit quorum. */
static void with_all_needed_the_own_answer_is_enough(void **state)
{
    (void)state;
    promises(DURABILITY_SYNC, 2);
    t.frozen = 0;
    t.gossip[DB3].copy = COPY_DOWN; /* not waited for */
    fails_over();
    assert_string_equal(core_state_name(t.core.state), "holder");
}

static void an_answer_of_another_copy_does_not_count(void **state)
{
    (void)state;
    promises(DURABILITY_SYNC, 1);
    t.gossip[DB3].copy_id++; /* rebuilt since */
    fails_over();
    assert_int_equal(t.sent[MSG_ACCEPT], 0);
}

static void the_own_answer_counts_only_in_the_pair(void **state)
{
    static const uint8_t one[] = { DB3 };

    (void)state;
    promises(DURABILITY_SYNC, 1);
    record.pairs[0] = pair_of(1, 1, one);
    t.frozen = 0;
    fails_over();
    assert_int_equal(t.sent[MSG_ACCEPT], 0);
    t.frozen = 1u << DB3;
    told_run(&t, t.now_ms + 3000);
    assert_string_equal(core_state_name(t.core.state), "holder");
}

static void acknowledged_alone_forbids_every_takeover(void **state)
{
    (void)state;
    promises(DURABILITY_SYNC, 1);
    record.pairs_n = 2;
    record.pairs[1] = pair_alone;
    fails_over();
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
    assert_string_equal(core_why(&t.core), "the last primary may have acknowledged commits alone");
}

static void every_pair_must_be_met(void **state)
{
    static const uint8_t one[] = { DB2 }, other[] = { DB3 };

    (void)state;
    promises(DURABILITY_SYNC, 1);
    record.pairs_n = 2;
    record.pairs[0] = pair_of(1, 1, one);
    record.pairs[1] = pair_of(1, 1, other);
    t.frozen = 0;
    fails_over();
    assert_int_equal(t.sent[MSG_ACCEPT], 0);
}

/* Nothing is acknowledged between the promotion and the proof. */
static void a_takeover_in_sync_promotes_under_names_that_nobody_has(void **state)
{
    (void)state;
    promises(DURABILITY_SYNC, 1);
    t.copy.names = NAMES_EMPTY;
    t.stuck = 1u << DO_PROMOTE;
    fails_over();
    assert_int_equal(t.last[DO_SET_NAMES].names.names, NAMES_NOBODY);
    assert_int_equal(t.copy.names, NAMES_NOBODY);
    assert_int_equal(t.asked[DO_PROMOTE], 1);
}

static void a_certain_flag_allows_one_pair_from_the_start(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair pair = pair_of(1, 1, one);

    (void)state;
    promises(DURABILITY_SYNC, 1);
    t.stuck = 1u << DO_PROMOTE;
    fails_over();
    has_pairs(1, &pair, NULL);
}

static void an_uncertain_flag_keeps_alone_in_the_record(void **state)
{
    static const uint8_t one[] = { DB3 };
    struct pair pair = pair_of(1, 1, one);

    (void)state;
    promises(DURABILITY_SYNC, 1);
    t.copy.is_flag_certain = false;
    t.stuck = 1u << DO_PROMOTE;
    fails_over();
    has_pairs(2, &pair_alone, &pair);
}

static void the_gate_opens_only_after_the_marker(void **state)
{
    (void)state;
    promises(DURABILITY_SYNC, 1);
    t.stuck = 1u << DO_MARKER;
    streams(DB3, true);
    fails_over();
    assert_string_equal(copy_state_name(t.copy.state), "primary");
    assert_true(t.asked[DO_MARKER] > 0);
    assert_false(t.copy.is_gate_open);
    t.stuck = 0;
    t.core.op.type = DO_SEND; /* the adapter gave it up */
    told_run(&t, t.now_ms + 500);
    assert_true(t.copy.is_gate_open);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(sync_begins_with_the_record_and_ends_with_a_marker),
        TEST(names_that_nobody_has_are_proved_before_those_of_the_pair),
        TEST(the_old_pair_goes_only_after_a_marker),
        TEST(as_many_standbys_as_ordered_are_waited_for),
        TEST(a_standby_that_streams_joins),
        TEST(who_may_not_become_primary_is_not_waited_for),
        TEST(a_cascade_keeps_no_place),
        TEST(a_stream_of_another_copy_does_not_count),
        TEST(a_standby_that_is_gone_keeps_its_place_for_the_time_of_a_lease),
        TEST(a_standby_that_is_stuck_is_not_waited_for),
        TEST(a_standby_that_goes_on_streaming_is_waited_for),
        TEST(a_standby_whose_host_is_gone_is_not_waited_for_until_tcp_knows),
        TEST(the_last_standby_that_goes_leaves_the_primary_alone),
        TEST(in_strict_nobody_loses_its_place),
        TEST(two_copies_of_each_member_in_the_record_fit_one_pair),
        TEST(strict_without_standbys_acknowledges_nothing),
        TEST(strict_is_kept_until_it_is_taken_back),
        TEST(async_is_promised_at_once),
        TEST(a_removed_member_leaves_the_pairs_first),
        TEST(enough_frozen_logs_let_a_candidate_take_over),
        TEST(one_answer_too_few_and_nobody_takes_over),
        TEST(with_all_needed_the_own_answer_is_enough),
        TEST(an_answer_of_another_copy_does_not_count),
        TEST(the_own_answer_counts_only_in_the_pair),
        TEST(acknowledged_alone_forbids_every_takeover),
        TEST(every_pair_must_be_met),
        TEST(a_takeover_in_sync_promotes_under_names_that_nobody_has),
        TEST(a_certain_flag_allows_one_pair_from_the_start),
        TEST(an_uncertain_flag_keeps_alone_in_the_record),
        TEST(the_gate_opens_only_after_the_marker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
