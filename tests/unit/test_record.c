#include "core/record.h"

#include "tests/unit/told.h"

static struct record r;

static int make_record(void **state)
{
    struct record first;

    (void)state;
    told_first(&first, 3, 2);
    told_record(&r, &first);
    return 0;
}

static const char *fault(void)
{
    const char *why = "none";

    assert_int_equal(record_check(&r, &why), HM_BAD_INPUT);
    return why;
}

static void is_fine(void)
{
    const char *why = NULL;

    if (record_check(&r, &why) != HM_OK)
        fail_msg("refused: %s", why);
    assert_null(why);
}

/* --- order -------------------------------------------------------------------------------------
 */

static void ballots_are_ordered_by_counter_then_member_then_incarnation(void **state)
{
    struct ballot low = { .counter = 1, .member = 8, .incarnation = 9 };
    struct ballot high = { .counter = 2, .member = 0, .incarnation = 1 };
    struct ballot member = { .counter = 2, .member = 1, .incarnation = 0 };
    struct ballot incarnation = { .counter = 2, .member = 1, .incarnation = 1 };

    (void)state;
    assert_true(ballot_compare(&low, &high) < 0);
    assert_true(ballot_compare(&high, &member) < 0);
    assert_true(ballot_compare(&member, &incarnation) < 0);
    assert_true(ballot_compare(&incarnation, &member) > 0);
    assert_true(ballot_compare(&member, &member) == 0);
}

static void no_ballot_is_below_all_and_equal_to_none(void **state)
{
    struct ballot none = { .member = 5 }, other = { .member = 1 }, first = { .counter = 1 };

    (void)state;
    assert_true(ballot_compare(&none, &first) < 0);
    assert_true(ballot_compare(&none, &other) == 0);
}

static void the_version_decides_between_records_of_one_ballot(void **state)
{
    struct ballot a = told_ballot(1, 0), b = told_ballot(2, 0);

    (void)state;
    assert_true(record_order(&a, 1, &a, 2) < 0);
    assert_true(record_order(&a, 2, &a, 2) == 0);
    assert_true(record_order(&a, 9, &b, 1) < 0);
    assert_true(record_order(&b, 1, &a, 9) > 0);
}

/* --- majorities --------------------------------------------------------------------------------
 */

static void a_majority_is_more_than_half_of_the_voters(void **state)
{
    (void)state;
    r.voters = 0x1f;
    assert_false(record_is_majority(&r, 0x03));
    assert_true(record_is_majority(&r, 0x07));
    r.voters = 0x0f;
    assert_false(record_is_majority(&r, 0x03));
    assert_true(record_is_majority(&r, 0x07));
    r.voters = 0x01;
    assert_true(record_is_majority(&r, 0x01));
    assert_false(record_is_majority(&r, 0x02));
    r.voters = 0x1ff;
    assert_false(record_is_majority(&r, 0x0f));
    assert_true(record_is_majority(&r, 0x1f));
}

static void votes_of_others_do_not_count(void **state)
{
    (void)state;
    r.voters = 0x07;
    assert_false(record_is_majority(&r, 0x1f9));
}

static void a_change_of_members_needs_both_majorities(void **state)
{
    (void)state;
    r.old_voters = 0x07;
    r.voters = 0x0f;
    assert_false(record_is_majority(&r, 0x03)); /* old: 2 of 3, new: 2 of 4 */
    assert_false(record_is_majority(&r, 0x09)); /* old: 1 of 3 */
    assert_true(record_is_majority(&r, 0x0b));
    assert_int_equal(record_electorate(&r), 0x0f);
    r.voters = 0x03;
    assert_int_equal(record_electorate(&r), 0x07);
}

static void members_are_found_by_incarnation_and_name(void **state)
{
    (void)state;
    assert_int_equal(record_db_members(&r), 0x07);
    assert_int_equal(record_find(&r, told_incarnation(4)), 4);
    assert_int_equal(record_find(&r, 5), HM_NOBODY);
    assert_int_equal(record_find_name(&r, "wt2"), 4);
    assert_int_equal(record_find_name(&r, "wt3"), HM_NOBODY);
    r.member[4].role = ROLE_NONE;
    assert_int_equal(record_find(&r, told_incarnation(4)), HM_NOBODY);
    assert_int_equal(record_find_name(&r, "wt2"), HM_NOBODY);
}

/* --- history -----------------------------------------------------------------------------------
 */

static bool is_on_history(uint64_t timeline, uint64_t offset, uint64_t began_epoch)
{
    struct position p = { .timeline = timeline, .offset = offset };

    return record_is_on_history(&r, &p, began_epoch);
}

static void a_position_past_the_next_beginning_is_off_the_history(void **state)
{
    (void)state;
    assert_true(is_on_history(2, 1000, 2));
    assert_false(is_on_history(2, 1001, 2));
    assert_true(is_on_history(3, UINT64_MAX, 3));
    assert_false(is_on_history(4, 0, 0));
    assert_false(is_on_history(1, 0, 0));
}

/* Two members may have begun a timeline under the same number without knowing of each other. */
static void another_epochs_timeline_of_the_same_number_is_another(void **state)
{
    (void)state;
    assert_true(is_on_history(3, 1500, 0));
    assert_true(is_on_history(3, 1500, 3));
    assert_false(is_on_history(3, 1500, 2));
}

/* What anybody else has on it, beyond what that member sent, nobody knows of. */
static void a_timeline_is_written_by_who_held_its_epoch(void **state)
{
    (void)state;
    r.changes_n = 2;
    r.changes[0].epoch = 2;
    r.changes[0].holder = 1;
    r.changes[1].epoch = 3;
    r.changes[1].holder = 0;
    assert_int_equal(record_writer(&r, 2), 1);
    assert_int_equal(record_writer(&r, 3), 0);
    assert_int_equal(record_writer(&r, 4), HM_NOBODY); /* not on the history */
    r.changes[0].epoch = 1;
    assert_int_equal(record_writer(&r, 2), HM_NOBODY); /* forgotten */
    r.member[0].role = ROLE_NONE;
    assert_int_equal(record_writer(&r, 3), HM_NOBODY); /* it left, and may be back elsewhere */
}

static void positions_are_compared_by_their_bytes(void **state)
{
    struct position a = { .timeline = 3, .offset = 1 }, b = { .timeline = 2, .offset = 2 };

    (void)state;
    assert_true(record_compare(&a, &b) < 0);
    assert_true(record_compare(&b, &a) > 0);
    assert_true(record_compare(&a, &a) == 0);
}

static void the_oldest_timeline_is_forgotten_when_the_table_is_full(void **state)
{
    (void)state;
    for (uint64_t i = 4; i <= HM_TIMELINES_MAX + 1; i++)
        record_add_timeline(&r, i, i, 1000 * i);
    assert_int_equal(r.timelines_n, HM_TIMELINES_MAX);
    assert_int_equal(r.timelines[0].timeline, 2);
    record_add_timeline(&r, 99, 99, 99000);
    assert_int_equal(r.timelines_n, HM_TIMELINES_MAX);
    assert_int_equal(r.timelines[0].timeline, 3);
    assert_int_equal(record_timeline(&r)->timeline, 99);
    is_fine();
    r.timelines_n = 0;
    assert_null(record_timeline(&r));
}

static void the_oldest_change_is_forgotten_when_the_table_is_full(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < HM_CHANGES_MAX; i++) {
        r.epoch++;
        record_add_change(&r, CHANGE_RELEASED, (hm_ms)i);
    }
    assert_int_equal(r.changes_n, HM_CHANGES_MAX);
    assert_int_equal(r.changes[0].reason, CHANGE_LEASE_RAN_OUT);
    record_add_change(&r, CHANGE_FORCED, 99);
    assert_int_equal(r.changes_n, HM_CHANGES_MAX);
    assert_int_equal(r.changes[0].epoch, 4);
    assert_int_equal(r.changes[HM_CHANGES_MAX - 1].at, 99);
    is_fine();
}

static void the_next_timeline_is_higher_than_any(void **state)
{
    (void)state;
    assert_int_equal(record_next_timeline(&r), 4);
    r.timelines[0].timeline = 17;
    assert_int_equal(record_next_timeline(&r), 18);
    r.kind = SERVICE_REDIS;
    assert_true((record_next_timeline(&r) & HM_TIMELINE_OPEN) != 0);
}

/* --- what a record must fulfil -----------------------------------------------------------------
 */

static void a_sound_record_is_fine(void **state)
{
    (void)state;
    is_fine();
}

static void the_holder_is_a_voting_db_member(void **state)
{
    (void)state;
    r.holder = 3; /* a witness */
    assert_string_equal(fault(), "holder");
    r.holder = HM_MEMBERS_MAX;
    assert_string_equal(fault(), "holder");
    r.holder = HM_NOBODY;
    assert_string_equal(fault(), "holder");
    r.holder = 2;
    is_fine();
    r.voters = 0x1b;
    assert_string_equal(fault(), "holder");
}

static void voters_are_members(void **state)
{
    (void)state;
    r.voters = 0;
    assert_string_equal(fault(), "voters");
    r.voters = 0x3f;
    assert_string_equal(fault(), "voters");
    r.voters = 0x1f;
    r.old_voters = 0x20;
    assert_string_equal(fault(), "voters");
}

static void as_many_members_as_there_are_slots(void **state)
{
    (void)state;
    for (unsigned slot = 5; slot < HM_MEMBERS_MAX; slot++) {
        r.member[slot] = r.member[4];
        r.voters |= (uint16_t)(1u << slot);
    }
    is_fine();
    r.voters |= 1u << HM_MEMBERS_MAX;
    assert_string_equal(fault(), "voters");
}

static void names_and_addresses_end(void **state)
{
    (void)state;
    memset(r.member[1].name, 'x', HM_NAME_MAX - 1);
    memset(r.member[1].address, 'x', HM_ADDRESS_MAX - 1);
    is_fine();
    r.member[1].address[HM_ADDRESS_MAX - 1] = 'x';
    assert_string_equal(fault(), "address of a member");
    r.member[1].name[HM_NAME_MAX - 1] = 'x';
    assert_string_equal(fault(), "name of a member");
    r.member[1].name[0] = 0;
    assert_string_equal(fault(), "name of a member");
    r.member[1].role = (enum member_role)7;
    assert_string_equal(fault(), "role of a member");
}

static void an_observer_is_a_member_that_does_not_vote(void **state)
{
    (void)state;
    r.member[1].role = ROLE_OBSERVER;
    assert_string_equal(fault(), "voters");
    r.voters &= (uint16_t) ~(1u << 1);
    is_fine();
}

static void one_to_four_pairs(void **state)
{
    (void)state;
    r.pairs_n = 0;
    assert_string_equal(fault(), "number of sync pairs");
    for (unsigned i = 0; i < HM_PAIRS_MAX; i++)
        r.pairs[i] = pair_alone;
    r.pairs_n = HM_PAIRS_MAX;
    is_fine();
    r.pairs_n = HM_PAIRS_MAX + 1;
    assert_string_equal(fault(), "number of sync pairs");
}

static void a_pair_needs_no_more_than_it_has(void **state)
{
    struct pair *p = &r.pairs[0];

    (void)state;
    pair_add(p, 1, 5);
    p->need = 1;
    is_fine();
    p->need = 2;
    assert_string_equal(fault(), "size of a sync pair");
    p->need = 0;
    assert_string_equal(fault(), "size of a sync pair");
    p->n = 0;
    is_fine();
    p->need = 1;
    assert_string_equal(fault(), "size of a sync pair");
    p->n = HM_MEMBERS_MAX + 1;
    assert_string_equal(fault(), "size of a sync pair");
}

static void a_pair_names_members_but_never_the_holder(void **state)
{
    struct pair *p = &r.pairs[0];

    (void)state;
    pair_add(p, 1, 5);
    p->need = 1;
    p->copies[0].member = r.holder;
    assert_string_equal(fault(), "member of a sync pair");
    p->copies[0].member = HM_MEMBERS_MAX;
    assert_string_equal(fault(), "member of a sync pair");
    p->copies[0].member = HM_MEMBERS_MAX - 1;
    is_fine();
}

/* Two copies of each of many members would not fit when pairs are joined. */
static void a_pair_names_one_copy_of_a_member(void **state)
{
    struct pair *p = &r.pairs[0];

    (void)state;
    pair_add(p, 1, 5);
    pair_add(p, 2, 5);
    p->need = 1;
    is_fine();
    pair_add(p, 1, 6);
    assert_string_equal(fault(), "member of a sync pair");
}

static void lists_end_at_their_limits(void **state)
{
    (void)state;
    r.timelines_n = HM_TIMELINES_MAX;
    r.changes_n = HM_CHANGES_MAX;
    is_fine();
    r.timelines_n = HM_TIMELINES_MAX + 1;
    assert_string_equal(fault(), "length of the history");
    r.timelines_n = 1;
    r.changes_n = HM_CHANGES_MAX + 1;
    assert_string_equal(fault(), "length of the history");
}

static void ttl_and_heartbeat_have_limits(void **state)
{
    (void)state;
    r.ttl_ms = HM_TTL_MAX_MS;
    is_fine();
    r.ttl_ms = HM_TTL_MAX_MS + 1;
    assert_string_equal(fault(), "ttl or heartbeat");
    r.heartbeat_ms = 100;
    r.ttl_ms = 200;
    is_fine();
    r.ttl_ms = 199;
    assert_string_equal(fault(), "ttl or heartbeat");
    r.heartbeat_ms = 0;
    assert_string_equal(fault(), "ttl or heartbeat");
    r.heartbeat_ms = -1;
    assert_string_equal(fault(), "ttl or heartbeat");
    r.ttl_ms = INT64_MAX;
    r.heartbeat_ms = 100;
    assert_string_equal(fault(), "ttl or heartbeat");
}

static void a_huge_heartbeat_is_refused_without_overflow(void **state)
{
    (void)state;
    r.heartbeat_ms = INT64_MAX;
    assert_string_equal(fault(), "ttl or heartbeat");
}

static void numbers_begin_with_one_and_end(void **state)
{
    (void)state;
    r.epoch = 0;
    assert_string_equal(fault(), "epoch or version");
    r.epoch = 1;
    r.version = 0;
    assert_string_equal(fault(), "epoch or version");
    r.version = 1;
    is_fine();
    r.version = HM_COUNTER_MAX;
    r.epoch = HM_COUNTER_MAX;
    is_fine();
    r.epoch++;
    assert_string_equal(fault(), "epoch or version");
    r.epoch--;
    r.version++;
    assert_string_equal(fault(), "epoch or version");
}

static void modes_are_known(void **state)
{
    (void)state;
    r.durability = DURABILITY_STRICT;
    r.goal = DURABILITY_STRICT;
    is_fine();
    r.goal = (enum durability)3;
    assert_string_equal(fault(), "durability or kind");
    r.goal = DURABILITY_SYNC;
    r.kind = (enum service_kind)2;
    assert_string_equal(fault(), "durability or kind");
}

static void a_switchover_has_a_target(void **state)
{
    (void)state;
    r.switchover = (struct switchover){ .phase = SWITCH_PREPARED, .to = HM_MEMBERS_MAX };
    assert_string_equal(fault(), "target of the switchover");
    r.switchover.to = HM_MEMBERS_MAX - 1;
    is_fine();
    r.switchover = (struct switchover){ .phase = SWITCH_NONE, .to = HM_NOBODY };
    is_fine();
}

/* --- pairs -------------------------------------------------------------------------------------
 */

static void a_digest_names_the_content_of_a_pair(void **state)
{
    struct pair a = { .need = 1 }, b = { .need = 1 };

    (void)state;
    pair_add(&a, 1, 11);
    pair_add(&a, 2, 12);
    pair_add(&b, 2, 12);
    pair_add(&b, 1, 11);
    assert_true(pair_digest(&a) == pair_digest(&b));
    b.need = 2;
    assert_true(pair_digest(&a) != pair_digest(&b));
    b = a;
    b.copies[0].copy_id++;
    assert_true(pair_digest(&a) != pair_digest(&b));
    b = a;
    b.copies[0].member++;
    assert_true(pair_digest(&a) != pair_digest(&b));
    assert_true(pair_digest(&pair_alone) != 0);
    assert_true(pair_is_alone(&pair_alone));
    assert_false(pair_is_alone(&a));
}

static void a_copy_is_added_once(void **state)
{
    struct pair p = pair_alone;

    (void)state;
    for (uint8_t i = 0; i < HM_MEMBERS_MAX; i++) {
        pair_add(&p, i, 5);
        pair_add(&p, i, 5);
    }
    assert_int_equal(p.n, HM_MEMBERS_MAX);
    assert_true(pair_has(&p, 3, 5));
    assert_false(pair_has(&p, 3, 6));
}

static void pairs_of_a_record_are_found(void **state)
{
    (void)state;
    r.pairs_n = 2;
    r.pairs[1] = pair_alone;
    pair_add(&r.pairs[1], 2, 77);
    r.pairs[1].need = 1;
    assert_true(record_has_pair(&r, pair_digest(&pair_alone)));
    assert_true(record_has_pair(&r, pair_digest(&r.pairs[1])));
    assert_true(record_pairs_have(&r, 2, 77));
    assert_false(record_pairs_have(&r, 2, 78));
    assert_true(record_pairs_name(&r, 2, 77));
    assert_false(record_pairs_name(&r, 2, 78));
    assert_true(record_pairs_name(&r, 2, 0)); /* a copy that is gone: any of that member */
    assert_false(record_pairs_name(&r, 1, 0));
    r.pairs_n = 1;
    assert_false(record_has_pair(&r, pair_digest(&r.pairs[1])));
    assert_false(record_pairs_have(&r, 2, 77));
}

static void names_are_known_and_others_harmless(void **state)
{
    (void)state;
    assert_string_equal(member_role_name(ROLE_WITNESS), "witness");
    assert_string_equal(member_role_name((enum member_role)9), "?");
    assert_string_equal(durability_name(DURABILITY_STRICT), "strict");
    assert_string_equal(durability_name((enum durability)9), "?");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_record)
    const struct CMUnitTest tests[] = {
        TEST(ballots_are_ordered_by_counter_then_member_then_incarnation),
        TEST(no_ballot_is_below_all_and_equal_to_none),
        TEST(the_version_decides_between_records_of_one_ballot),
        TEST(a_majority_is_more_than_half_of_the_voters),
        TEST(votes_of_others_do_not_count),
        TEST(a_change_of_members_needs_both_majorities),
        TEST(members_are_found_by_incarnation_and_name),
        TEST(a_position_past_the_next_beginning_is_off_the_history),
        TEST(another_epochs_timeline_of_the_same_number_is_another),
        TEST(a_timeline_is_written_by_who_held_its_epoch),
        TEST(positions_are_compared_by_their_bytes),
        TEST(the_oldest_timeline_is_forgotten_when_the_table_is_full),
        TEST(the_oldest_change_is_forgotten_when_the_table_is_full),
        TEST(the_next_timeline_is_higher_than_any),
        TEST(a_sound_record_is_fine),
        TEST(the_holder_is_a_voting_db_member),
        TEST(voters_are_members),
        TEST(as_many_members_as_there_are_slots),
        TEST(names_and_addresses_end),
        TEST(an_observer_is_a_member_that_does_not_vote),
        TEST(one_to_four_pairs),
        TEST(a_pair_needs_no_more_than_it_has),
        TEST(a_pair_names_members_but_never_the_holder),
        TEST(a_pair_names_one_copy_of_a_member),
        TEST(lists_end_at_their_limits),
        TEST(ttl_and_heartbeat_have_limits),
        TEST(a_huge_heartbeat_is_refused_without_overflow),
        TEST(numbers_begin_with_one_and_end),
        TEST(modes_are_known),
        TEST(a_switchover_has_a_target),
        TEST(a_digest_names_the_content_of_a_pair),
        TEST(a_copy_is_added_once),
        TEST(pairs_of_a_record_are_found),
        TEST(names_are_known_and_others_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
