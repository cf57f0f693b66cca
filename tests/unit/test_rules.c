#include "core/rules.h"

#include "core/narrate.h"
#include "tests/unit/told.h"

#include <stdio.h>

static bool is_last_of_its_state(size_t i)
{
    return i + 1 == rules_n || rules[i + 1].state != rules[i].state;
}

static void ids_rise_and_are_unique(void **state)
{
    (void)state;
    for (size_t i = 1; i < rules_n; i++)
        assert_true(rules[i - 1].id < rules[i].id);
}

static void every_state_ends_in_a_row_that_always_fits_and_stays(void **state)
{
    unsigned closed[CORE_STATES_N] = { 0 };

    (void)state;
    for (size_t i = 0; i < rules_n; i++) {
        if (rules[i].state == ST_ANY)
            continue;
        assert_int_equal(strcmp(rules[i].when_name, "always") == 0, is_last_of_its_state(i));
        if (!is_last_of_its_state(i))
            continue;
        closed[rules[i].state]++;
        assert_true(rules[i].to == rules[i].state || rules[i].state == ST_START);
    }
    for (unsigned s = 0; s < CORE_STATES_N; s++)
        if (closed[s] != 1)
            fail_msg("%s has %u rows that always fit", core_state_name(s), closed[s]);
}

static void rows_for_any_state_come_first(void **state)
{
    (void)state;
    for (size_t i = 1; i < rules_n; i++)
        assert_true(rules[i].state != ST_ANY || rules[i - 1].state == ST_ANY);
    assert_true(rules[0].state == ST_ANY);
}

static void a_row_is_found_by_its_id(void **state)
{
    (void)state;
    for (size_t i = 0; i < rules_n; i++)
        assert_ptr_equal(rule_find(rules[i].id), &rules[i]);
    assert_null(rule_find(0));
    assert_null(rule_find(UINT16_MAX));
}

static void every_row_says_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < rules_n; i++) {
        assert_true(strlen(rules[i].because) > 5);
        assert_non_null(rules[i].when_name);
        assert_in_range(rules[i].to, 0, CORE_STATES_N - 1);
        assert_in_range(rules[i].state, 0, ST_ANY);
    }
}

/* Only a member that must be added anew, or rebuilt, or has nothing but a vote, stays for good. */
static void every_state_can_be_left_but_the_final_ones(void **state)
{
    static const enum core_state final[] = { ST_BLANK, ST_STOPPED, ST_VOTING, ST_OBSERVING };
    bool may_leave[CORE_STATES_N] = { false };

    (void)state;
    for (size_t i = 0; i < rules_n; i++)
        if (rules[i].state != ST_ANY && rules[i].to != rules[i].state)
            may_leave[rules[i].state] = true;
    for (size_t i = 0; i < HM_ARRAY_LEN(final); i++) {
        assert_false(may_leave[final[i]]);
        may_leave[final[i]] = true;
    }
    for (unsigned s = 0; s < CORE_STATES_N; s++)
        if (!may_leave[s])
            fail_msg("%s cannot be left", core_state_name(s));
}

static void every_state_can_be_reached_from_the_start(void **state)
{
    bool is_reached[CORE_STATES_N] = { [ST_START] = true };

    (void)state;
    for (unsigned round = 0; round < CORE_STATES_N; round++)
        for (size_t i = 0; i < rules_n; i++)
            if (rules[i].state == ST_ANY || is_reached[rules[i].state])
                is_reached[rules[i].to] = true;
    for (unsigned s = 0; s < CORE_STATES_N; s++)
        if (!is_reached[s])
            fail_msg("%s cannot be reached", core_state_name(s));
}

static bool is_about_time(const struct rule *row)
{
    static const char *const names[] = { "attempt_is_old",      "lease_is_lost",
                                         "yielded_long_enough", "may_stand_again",
                                         "lease_has_ended",     "rescue_is_over" };

    for (size_t i = 0; i < HM_ARRAY_LEN(names); i++)
        if (strcmp(row->when_name, names[i]) == 0)
            return true;
    return false;
}

/* Nobody can get stuck where only an answer helps. */
static void every_waiting_state_has_a_way_out_by_time(void **state)
{
    static const enum core_state waiting[] = {
        ST_FOLLOWING, ST_PREVOTE,  ST_PREPARE, ST_FREEZE,         ST_YIELD,
        ST_FETCH,     ST_ACCEPT,   ST_HOLDER,  ST_HOLDER_PREPARE, ST_HOLDER_CHANGE,
        ST_HANDOVER,  ST_RELEASED, ST_RESCUE,
    };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(waiting); i++) {
        bool has_way_out = false;

        for (size_t j = 0; j < rules_n; j++)
            if (rules[j].state == waiting[i] && rules[j].to != waiting[i] &&
                is_about_time(&rules[j]))
                has_way_out = true;
        if (!has_way_out)
            fail_msg("%s may wait for ever", core_state_name(waiting[i]));
    }
}

/* The core starts in db1, which the record names as holder, so that it may be in any state. */
static void put_into(struct told *t, enum core_state s)
{
    static struct record r;

    told_init(t, 3, 0, 0);
    told_record(&r, &t->first);
    (void)told_start_all(t, &r, 1000);
    t->core.state = s;
    t->core.mine = told_ballot(99, 0);
    t->core.valid_until_ms = 2000;
    t->core.attempt_until_ms = 2000;
    t->core.yield_to = 1;
    t->core.has_copy = true;
    t->core.copy = t->copy;
}

static void each_state_decides_by_its_own_rows(void **state)
{
    static struct told t;

    (void)state;
    for (unsigned s = 0; s < CORE_STATES_N; s++) {
        const struct rule *row;

        put_into(&t, (enum core_state)s);
        (void)told_tick(&t, 1001);
        row = rule_find(t.core.moves_n > 0 ? t.core.moves[0].rule : t.core.rule);
        assert_non_null(row);
        if (row->state != ST_ANY)
            assert_string_equal(core_state_name((enum core_state)row->state),
                                core_state_name((enum core_state)s));
    }
}

static void each_state_stands_every_kind_of_copy_at_any_time(void **state)
{
    static const hm_ms later_ms[] = { 0, 1, 999, 1000, 5000, 100000 };
    static struct told t;

    (void)state;
    for (unsigned s = 0; s < CORE_STATES_N; s++)
        for (unsigned kind = 0; kind < COPY_STATES_N; kind++)
            for (size_t i = 0; i < HM_ARRAY_LEN(later_ms); i++) {
                put_into(&t, (enum core_state)s);
                t.copy.state = (enum copy_state)kind;
                t.now_ms += later_ms[i];
                (void)told_probe(&t);
                (void)told_tick(&t, t.now_ms + later_ms[i]);
                assert_true(t.most_effects <= CORE_EFFECTS_MAX / 2);
            }
}

/* Nobody becomes holder but by a majority that accepted; who holds may leave a change undone. */
static void only_a_majority_that_accepted_leads_to_the_lease(void **state)
{
    (void)state;
    for (size_t i = 0; i < rules_n; i++) {
        if (rules[i].to != ST_HOLDER || rules[i].state == ST_HOLDER)
            continue;
        if (strcmp(rules[i].when_name, "own_voter_fails") == 0)
            assert_int_equal(rules[i].state, ST_HOLDER_CHANGE);
        else if (strcmp(rules[i].when_name, "goes_on_alone") == 0 ||
                 strcmp(rules[i].when_name, "cannot_give_away") == 0)
            assert_int_equal(rules[i].state, ST_HANDOVER);
        else
            assert_string_equal(rules[i].when_name, "majority_accepted");
    }
}

static void compare_line(void *arg, const char *line)
{
    char golden[300];

    assert_non_null(fgets(golden, sizeof golden, arg));
    golden[strcspn(golden, "\n")] = 0;
    assert_string_equal(line, golden);
}

/* When a decision was changed on purpose: `make golden`, and look at the difference. */
static void the_printed_table_is_the_reviewed_one(void **state)
{
    FILE *golden = fopen("tests/golden/rules.txt", "re");
    char rest[2];

    (void)state;
    if (golden == NULL)
        skip(); /* called from elsewhere: `make check-rules` compares as well */
    core_print_rules(compare_line, golden);
    assert_null(fgets(rest, sizeof rest, golden));
    (void)fclose(golden); /* it was only read */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_rise_and_are_unique),
        cmocka_unit_test(every_state_ends_in_a_row_that_always_fits_and_stays),
        cmocka_unit_test(rows_for_any_state_come_first),
        cmocka_unit_test(a_row_is_found_by_its_id),
        cmocka_unit_test(every_row_says_why),
        cmocka_unit_test(every_state_can_be_left_but_the_final_ones),
        cmocka_unit_test(every_state_can_be_reached_from_the_start),
        cmocka_unit_test(every_waiting_state_has_a_way_out_by_time),
        cmocka_unit_test(each_state_decides_by_its_own_rows),
        cmocka_unit_test(each_state_stands_every_kind_of_copy_at_any_time),
        cmocka_unit_test(only_a_majority_that_accepted_leads_to_the_lease),
        cmocka_unit_test(the_printed_table_is_the_reviewed_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
