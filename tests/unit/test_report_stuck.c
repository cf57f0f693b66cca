/* What is told where nobody is primary although a majority lives. */
#include "daemon/report.h"

#include "tests/unit/made_report.h"

static int make_day(void **state)
{
    (void)state;
    made_well();
    return 0;
}

/* Both servers of a Redis were restarted, so that nobody may be promoted. */
static void a_holder_that_must_not_be_promoted_is_told_with_the_way_out(void **state)
{
    struct gossip *g = &made_core.view.peer[DB2].gossip;

    (void)state;
    made_rec->kind = SERVICE_REDIS;
    made_core.copy.state = COPY_STANDBY;
    made_core.copy.copy_id = 101;
    made_core.copy.is_final = true;
    made_core.copy.at = (struct position){ .timeline = 77, .offset = 1 };
    g->copy_id = 102;
    g->at = made_core.copy.at;
    made_warns(
        "pg: no primary: every server with the data of epoch 7 was restarted: what they confirmed "
        "last may be missing; 'hamgr failover --force' on db1 goes on with its data\n");
    made_rec->durability = made_rec->goal = DURABILITY_ASYNC;
    made_rec->pairs[0] = pair_alone;
    made_rec->max_lag_bytes = made_rec->last_known.offset;
    made_warns("pg: no primary: the server of db1 was restarted, and every copy lacks more than "
               "max_lag_bytes of epoch 7; 'hamgr failover --force' on db1 goes on with its data\n");
    made_core.copy.state = COPY_PRIMARY;
    made_warns(
        "pg: no primary: db1 holds the lease, and its server was made a primary by hand: nobody "
        "follows it; 'hamgr failover --force' on db1 goes on with its data\n");
    made_core.copy.state = COPY_ABSENT;
    made_core.copy.copy_id = 0;
    made_warns(
        "pg: no primary: db1 holds the lease, its data are gone, and no other is known to have "
        "all of epoch 7; 'hamgr failover --force' on db2 goes on with its data\n");
    made_rec->is_paused = true;
    made_core.copy.state = COPY_PRIMARY;
    made_core.copy.copy_id = 101;
    made_warns(
        "pg is paused, and the copy of db1 is not the one that the record names, made a primary "
        "by hand: 'hamgr resume', then 'hamgr failover --force' there goes on with its data\n");
}

static void nobody_who_may_take_over_is_told_with_the_way_out(void **state)
{
    (void)state;
    made_well_on_standby();
    made_rec->durability = made_rec->goal = DURABILITY_ASYNC;
    made_rec->pairs[0] = pair_alone;
    made_rec->max_lag_bytes = 16;
    made_core.state = ST_STANDING;
    made_core.voter.lease.until_ms = 0;
    made_core.copy.is_final = made_core.copy.fence_answers = true;
    made_core.copy_noted_ms = MADE_NOW_MS;
    made_core.released_at_ms = HM_PAST;
    made_core.copy.at.offset = made_rec->last_known.offset - 17;
    made_core.view.peer[DB1].gossip.at.offset = 0;
    made_heard(DB1, 7000);
    made_core.lease_end_ms = MADE_NOW_MS - 6000;
    made_warns(
        "pg: no primary: no other member may take over, something may be missing there ('hamgr "
        "explain'): bring db1 back; if it is lost for good, 'hamgr failover --force' on db2 goes "
        "on with its data\n"
        "pg: db2 is 17 bytes behind: more than max_lag_bytes, it cannot take over\n"
        "db1 (db) has not been heard for 7 s: one failure away from an outage\n");
}

#define TEST(f) cmocka_unit_test_setup(f, make_day)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_holder_that_must_not_be_promoted_is_told_with_the_way_out),
        TEST(nobody_who_may_take_over_is_told_with_the_way_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
