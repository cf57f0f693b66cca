/* Who could take over and why not, as the decision table itself tells; and what is told of it. */
#include "cli/print.h"
#include "core/explain.h"

#include "tests/unit/golden.h"
#include "tests/unit/made_report.h"

static struct explanation x;

static int make_day(void **state)
{
    (void)state;
    made_well();
    return 0;
}

static void explain(unsigned lost)
{
    core_explain(&made_core, (uint16_t)lost, &x);
}

static void expect_refused(unsigned slot, uint16_t rule)
{
    assert_int_equal(x.member[slot].verdict, EXPLAIN_REFUSED);
    assert_int_equal(x.member[slot].rule, rule);
}

static void expect_outcome(unsigned lost, enum explain_outcome outcome)
{
    explain(lost);
    if (x.outcome != outcome)
        fail_msg("without %x: %s, not %s", lost, explain_outcome_name(x.outcome),
                 explain_outcome_name(outcome));
}

/* The copy of db2 itself, as its probe and its fence tell. */
static void make_own_standby(uint8_t follows, uint64_t offset)
{
    made_core.copy = (struct copy){ .state = COPY_STANDBY,
                                    .copy_id = 2,
                                    .is_healthy = true,
                                    .is_final = true,
                                    .fence_answers = true,
                                    .follows = follows,
                                    .at = { .timeline = 5, .offset = offset } };
    made_core.copy_noted_ms = MADE_NOW_MS;
    made_core.released_at_ms = HM_PAST;
}

/* db3, another standby in the pair: one of both must have acknowledged. */
static void add_third(void)
{
    made_member(2, "db3", ROLE_DB);
    made_member(3, "w1", ROLE_WITNESS);
    pair_add(&made_rec->pairs[0], 2, 3);
    made_heard(2, 70);
    made_standby(2, DB1);
    made_heard(3, 70);
}

/* --- one member ------------------------------------------------------------------------------- */

static void the_standby_of_a_pair_could_take_over(void **state)
{
    (void)state;
    explain(0);
    assert_int_equal(x.outcome, OUTCOME_STAYS);
    assert_int_equal(x.leader, DB1);
    assert_int_equal(x.member[DB1].verdict, EXPLAIN_LEADS);
    assert_int_equal(x.member[DB2].verdict, EXPLAIN_CAN);
    assert_int_equal(x.member[DB2].rank, 0);
    assert_int_equal(x.member[DB2].logs, 1);
    assert_int_equal(x.member[DB2].needed, 1);
    assert_int_equal(x.member[W1].verdict, EXPLAIN_NONE);
}

static void the_standby_says_the_same_of_itself(void **state)
{
    (void)state;
    made_well_on_standby();
    make_own_standby(DB1, 0x3000060);
    made_core.renewed.is_there = true;
    made_core.renewed.holder = DB1;
    made_core.renewed.ballot = made_core.voter.durable.accepted;
    made_core.renewed.version = made_rec->version;
    made_core.renewed.at_ms = MADE_NOW_MS - 100;
    explain(0);
    assert_int_equal(x.member[DB2].verdict, EXPLAIN_CAN);
    made_core.copy.fence_answers = false;
    explain(0);
    expect_refused(DB2, 34);
}

/* While the service is paused no other holder takes its place, and it stays the last one heard. */
static void who_was_lost_during_a_pause_leads_no_more(void **state)
{
    (void)state;
    made_well_on_standby();
    make_own_standby(DB1, 0x3000060);
    made_rec->is_paused = true;
    made_core.renewed.is_there = true;
    made_core.renewed.holder = DB1;
    made_core.renewed.ballot = made_core.voter.durable.accepted;
    made_core.renewed.version = made_rec->version;
    made_core.renewed.at_ms = MADE_NOW_MS - made_rec->ttl_ms;
    explain(0);
    assert_int_equal(x.leader, DB1);
    made_core.renewed.at_ms--;
    made_core.view.peer[DB1].heard_ms = MADE_NOW_MS - 5000;
    explain(0);
    assert_int_equal(x.leader, HM_NOBODY);
    assert_int_equal(x.outcome, OUTCOME_NOBODY); /* so that it may be forced */
    expect_refused(DB2, 32);
}

static void what_the_table_refuses_is_told_by_its_row(void **state)
{
    struct gossip *g = &made_core.view.peer[DB2].gossip;

    (void)state;
    g->is_nofailover = true;
    explain(0);
    expect_refused(DB2, 33);
    g->is_nofailover = false;
    g->is_healthy = false;
    explain(0);
    expect_refused(DB2, 35);
    g->is_healthy = true;
    made_rec->is_paused = true;
    explain(0);
    expect_refused(DB2, 32);
    made_rec->is_paused = false;
    made_rec->pairs[0] = pair_alone;
    explain(0);
    expect_refused(DB2, 37);
}

static void a_lag_is_measured_against_its_limit_in_async(void **state)
{
    struct gossip *g = &made_core.view.peer[DB2].gossip;

    (void)state;
    made_rec->durability = made_rec->goal = DURABILITY_ASYNC;
    made_rec->pairs[0] = pair_alone;
    made_rec->max_lag_bytes = 32;
    g->at.offset = made_rec->last_known.offset - 32;
    explain(1u << DB1);
    assert_int_equal(x.member[DB2].verdict, EXPLAIN_CAN);
    assert_int_equal(x.outcome, OUTCOME_TAKEOVER);
    assert_int_equal(x.at_risk, 32);
    assert_int_equal(x.at_risk_most, 32);
    g->at.offset--;
    explain(1u << DB1);
    expect_refused(DB2, 36);
    assert_int_equal(x.member[DB2].behind, 33);
    assert_int_equal(x.outcome, OUTCOME_NOBODY);
}

static void a_copy_outside_the_pair_needs_the_logs_of_those_inside(void **state)
{
    (void)state;
    add_third();
    made_core.view.peer[2].is_known = false; /* db3 is silent */
    explain(0);
    assert_int_equal(x.member[2].verdict, EXPLAIN_SILENT);
    assert_int_equal(x.member[DB2].verdict, EXPLAIN_FEW_LOGS);
    assert_int_equal(x.member[DB2].logs, 1);
    assert_int_equal(x.member[DB2].needed, 2);
    made_core.view.peer[2].is_known = true;
    explain(0);
    assert_int_equal(x.member[DB2].verdict, EXPLAIN_CAN);
}

static void the_longer_log_goes_first(void **state)
{
    (void)state;
    add_third();
    made_core.view.peer[2].gossip.at.offset += 8;
    explain(1u << DB1);
    assert_int_equal(x.member[DB2].rank, 1);
    assert_int_equal(x.member[2].rank, 0);
    assert_int_equal(x.successor, 2);
}

/* --- what would be ---------------------------------------------------------------------------- */

static void the_loss_of_the_primary_is_a_takeover_without_loss(void **state)
{
    (void)state;
    expect_outcome(1u << DB1, OUTCOME_TAKEOVER);
    assert_int_equal(x.successor, DB2);
    assert_int_equal(x.at_risk, 0);
    assert_int_equal(x.within_ms, 1500);
    assert_true(x.is_last_majority);
    assert_int_equal(x.member[DB1].verdict, EXPLAIN_LOST);
}

static void the_loss_of_the_standby_lets_commits_wait(void **state)
{
    (void)state;
    expect_outcome(1u << DB2, OUTCOME_STAYS);
    assert_true(x.commits_wait);
    expect_outcome(1u << W1, OUTCOME_STAYS);
    assert_false(x.commits_wait);
    assert_true(x.is_last_majority);
}

static void the_loss_of_the_majority_stops_everything(void **state)
{
    (void)state;
    expect_outcome(1u << DB2 | 1u << W1, OUTCOME_STOPS);
    assert_int_equal(x.votes, 1);
    assert_int_equal(x.majority, 2);
    expect_outcome(1u << DB1 | 1u << W1, OUTCOME_STOPS);
    assert_int_equal(x.member[DB2].verdict, EXPLAIN_NO_VOTES);
}

static void nothing_is_changed_by_asking(void **state)
{
    static struct core before;

    (void)state;
    before = made_core;
    explain(1u << DB1);
    assert_memory_equal(&before, &made_core, sizeof before);
}

/* --- forced ----------------------------------------------------------------------------------- */

static void expect_forced(const char *why, const char *loss)
{
    const char *told = NULL;
    json_t *j = report_force(&made, &made.service[0], &told);

    if (why == NULL)
        assert_null(told);
    else
        assert_string_equal(told, why);
    if (strstr(print_text(j, "loss"), loss) == NULL)
        fail_msg("may be lost: %s", print_text(j, "loss"));
    json_decref(j);
}

/* db2, when db1 and w1 have been silent for a minute. */
static void make_left_over(void)
{
    made_well_on_standby();
    make_own_standby(HM_NOBODY, 0x3000040);
    made_core.view.peer[DB1].heard_ms = made_core.view.peer[W1].heard_ms = MADE_NOW_MS - 60000;
}

static void nothing_is_forced_where_a_majority_lives(void **state)
{
    (void)state;
    expect_forced("there is a primary: 'hamgr switchover' moves it", "");
    make_left_over();
    made_core.view.peer[W1].heard_ms = MADE_NOW_MS - 100;
    expect_forced("a majority is there and a member can take over by itself", "");
}

static void what_may_be_lost_is_told_before_it_is_forced(void **state)
{
    (void)state;
    make_left_over();
    expect_forced(NULL, "nothing that was acknowledged");
    made_rec->durability = made_rec->goal = DURABILITY_ASYNC;
    made_rec->pairs[0] = pair_alone;
    made_rec->last_known.offset += 77;
    expect_forced(NULL, "77 bytes of log");
    made_core.copy.is_final = false;
    expect_forced("the copy on this host is no healthy standby: try another member", "");
}

/* Both servers of a Redis were restarted: db1 holds the lease of epoch 7 with another copy. */
static void make_all_restarted(void)
{
    made_rec->kind = SERVICE_REDIS;
    make_own_standby(HM_NOBODY, 1);
    made_core.copy.copy_id = 101;
    made_core.copy.at.timeline = 77;
    made_core.view.peer[DB2].gossip.copy_id = 102;
    made_core.view.peer[DB2].gossip.at = (struct position){ .timeline = 78, .offset = 1 };
}

static void a_holder_without_the_copy_of_its_epoch_is_no_primary(void **state)
{
    (void)state;
    make_all_restarted();
    expect_outcome(0, OUTCOME_NOBODY);
    assert_true(x.has_no_primary);
    assert_int_equal(x.member[DB1].verdict, EXPLAIN_HOLDS);
    assert_int_equal(x.fullest, DB1);
    made_core.view.peer[DB2].gossip.at.offset = 2;
    expect_outcome(0, OUTCOME_NOBODY);
    assert_int_equal(x.fullest, DB2);
    expect_outcome(1u << DB2, OUTCOME_NOBODY);
    assert_int_equal(x.fullest, DB1);
    made_core.copy.state = COPY_PRIMARY; /* by hand: what clients write is there */
    expect_outcome(0, OUTCOME_NOBODY);
    assert_int_equal(x.fullest, DB1);
    made_core.copy.copy_id = made_rec->copy_id;
    expect_outcome(0, OUTCOME_STAYS);
}

static bool keeps_members(const char **ret_why)
{
    json_t *j = report_force(&made, &made.service[0], ret_why);
    bool keeps = json_is_true(json_object_get(j, "keeps_members"));

    json_decref(j);
    return keeps;
}

static void where_a_majority_lives_nobody_has_to_leave(void **state)
{
    const char *why;

    (void)state;
    make_all_restarted();
    assert_true(keeps_members(&why));
    assert_null(why);
    expect_forced(NULL, "all that this server did not load from its disk");
    made_core.view.peer[DB2].gossip.at.offset = 500;
    expect_forced(NULL, "; db2 has 499 bytes more: rather there?");
    made_core.copy.state = COPY_PRIMARY;
    made_core.copy.copy_id = made_rec->copy_id;
    expect_forced("there is a primary: 'hamgr switchover' moves it", "");
    make_left_over();
    assert_false(keeps_members(&why));
    assert_null(why);
}

static void the_same_is_known_beside_the_holder(void **state)
{
    struct gossip *g = &made_core.view.peer[DB1].gossip;

    (void)state;
    made_well_on_standby();
    made_rec->kind = SERVICE_REDIS;
    make_own_standby(HM_NOBODY, 1);
    made_core.copy.copy_id = 102;
    made_core.copy.at.timeline = 78;
    made_core.renewed.is_there = true;
    made_core.renewed.holder = DB1;
    made_core.renewed.ballot = made_core.voter.durable.accepted;
    made_core.renewed.version = made_rec->version;
    made_core.renewed.at_ms = MADE_NOW_MS - 100;
    g->copy = COPY_STANDBY;
    g->copy_id = 101;
    expect_outcome(0, OUTCOME_NOBODY);
    assert_int_equal(x.member[DB1].verdict, EXPLAIN_HOLDS);
    expect_forced(NULL, "all that this server did not load");
    g->copy = COPY_PRIMARY;
    expect_forced("the server of the holder was made a primary by hand: run this there, or make it "
                  "a standby first",
                  "");
    g->copy_id = made_rec->copy_id;
    expect_forced("there is a primary: 'hamgr switchover' moves it", "");
}

/* --- told ------------------------------------------------------------------------------------- */

static void print_as(const char *golden, void (*print)(struct cli *c, const json_t *answer),
                     const struct ctl_request *request)
{
    struct cli cli = { .columns = 80 };
    char *printed = NULL;
    size_t size = 0;
    json_t *answer = NULL;
    struct hm_err err;

    cli.out = cli.err = open_memstream(&printed, &size);
    assert_non_null(cli.out);
    assert_int_equal(report_explain(&made, request, &answer, &err), HM_OK);
    print(&cli, answer);
    json_decref(answer);
    assert_int_equal(fclose(cli.out), 0);
    golden_is(golden, printed);
    free(printed);
}

static void people_read_it_as_a_table(void **state)
{
    struct ctl_request r = { .command = CTL_EXPLAIN };

    (void)state;
    add_third();
    made_core.view.peer[2].gossip.is_nofailover = true;
    print_as("explain.txt", cli_print_explain, &r);
    r.members_n = 1;
    strcpy(r.member[0], "db1");
    print_as("what-if.txt", cli_print_what_if, &r);
}

static void an_unknown_member_is_refused_by_name(void **state)
{
    struct ctl_request r = { .command = CTL_EXPLAIN, .members_n = 1, .member = { "db9" } };
    json_t *answer = NULL;
    struct hm_err err;

    (void)state;
    assert_int_equal(report_explain(&made, &r, &answer, &err), HM_BAD_INPUT);
    assert_string_equal(err.text, "there is no member 'db9'");
}

#define TEST(f) cmocka_unit_test_setup(f, make_day)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_standby_of_a_pair_could_take_over),
        TEST(the_standby_says_the_same_of_itself),
        TEST(who_was_lost_during_a_pause_leads_no_more),
        TEST(what_the_table_refuses_is_told_by_its_row),
        TEST(a_lag_is_measured_against_its_limit_in_async),
        TEST(a_copy_outside_the_pair_needs_the_logs_of_those_inside),
        TEST(the_longer_log_goes_first),
        TEST(the_loss_of_the_primary_is_a_takeover_without_loss),
        TEST(the_loss_of_the_standby_lets_commits_wait),
        TEST(the_loss_of_the_majority_stops_everything),
        TEST(nothing_is_changed_by_asking),
        TEST(nothing_is_forced_where_a_majority_lives),
        TEST(what_may_be_lost_is_told_before_it_is_forced),
        TEST(a_holder_without_the_copy_of_its_epoch_is_no_primary),
        TEST(where_a_majority_lives_nobody_has_to_leave),
        TEST(the_same_is_known_beside_the_holder),
        TEST(people_read_it_as_a_table),
        TEST(an_unknown_member_is_refused_by_name),
    };

    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
