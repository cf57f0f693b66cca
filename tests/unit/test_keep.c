/* failover --force where a majority lives: a person decides whose data go on. */
#include "core/explain.h"

#include "tests/unit/told_redis.h"

enum { DB1, DB2, W1, START_MS = 10000 };

static struct told t;
static struct record record;

/* db1 leads a Redis in sync, and db2 is in the pair. */
static void is_member(uint8_t self)
{
    told_redis(&t, 2, 1, self);
    told_record(&record, &t.first);
    record.durability = record.goal = DURABILITY_SYNC;
    record.pairs[0] = (struct pair){ .n = 1, .need = 1 };
    record.pairs[0].copies[0] = (struct copy_name){ .copy_id = told_copy_id(DB2), .member = DB2 };
}

static int make_world(void **state)
{
    (void)state;
    is_member(DB1);
    return 0;
}

static void keep(uint8_t member)
{
    (void)told_order(&t, (struct order){ .kind = ORDER_KEEP, .id = 9, .member = member });
}

static void is_replied(enum hm_rc rc, const char *why)
{
    assert_true(t.asked[DO_REPLY] > 0);
    assert_int_equal(t.last[DO_REPLY].reply.order, 9);
    assert_string_equal(t.last[DO_REPLY].reply.why, why);
    assert_int_equal(t.last[DO_REPLY].reply.rc, rc);
}

static void is_in_state(const char *name)
{
    assert_string_equal(core_state_name(t.core.state), name);
}

static void restarted(struct copy *c)
{
    c->state = COPY_STANDBY;
    c->copy_id += 100;
    c->server_id += 100;
    c->at = (struct position){ .timeline = 5555, .offset = 1 };
    c->follows = HM_NOBODY;
    c->is_streaming = false;
    c->is_final = c->is_healthy = true;
}

/* Both servers were restarted: db1 holds the lease of its epoch again, and nobody is promoted. */
static void all_are_restarted(void)
{
    told_primary(&t.copy, DB1);
    restarted(&t.copy);
    t.gossip[DB2].copy_id += 100;
    t.gossip[DB2].at = (struct position){ .timeline = 6666, .offset = 1 };
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 5 * TOLD_TTL_MS);
    is_in_state("holder");
    assert_int_equal(core_record(&t.core)->epoch, 3);
    assert_int_equal(t.asked[DO_PROMOTE], 0);
    told_forget(&t);
}

static void is_epoch_of(uint8_t holder, uint64_t copy_id)
{
    const struct record *r = core_record(&t.core);

    assert_int_equal(r->epoch, 4);
    assert_int_equal(r->holder, holder);
    assert_int_equal(r->copy_id, copy_id);
    assert_int_equal(r->changes[r->changes_n - 1].reason, CHANGE_FORCED);
    assert_int_equal(r->cluster_incarnation, record.cluster_incarnation);
    assert_int_equal(r->voters, record.voters);
    assert_int_equal(r->switchover.phase, SWITCH_NONE);
}

/* --- the holder's own data ---------------------------------------------------------------------
 */

static void what_was_restarted_goes_on_when_a_person_says_so(void **state)
{
    (void)state;
    all_are_restarted();
    keep(DB1);
    told_run(&t, t.now_ms + 500);
    is_replied(HM_OK, "a majority accepted");
    is_in_state("holder");
    is_epoch_of(DB1, told_copy_id(DB1) + 100);
    assert_string_equal(copy_state_name(t.copy.state), "primary");
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_SYNC);
}

static void it_is_told_once_that_nobody_may_go_on(void **state)
{
    unsigned told = 0;

    (void)state;
    told_primary(&t.copy, DB1);
    restarted(&t.copy);
    t.gossip[DB2].copy_id += 100;
    t.gossip[DB2].at = (struct position){ .timeline = 6666, .offset = 1 };
    (void)told_start_all(&t, &record, START_MS);
    while (t.now_ms < START_MS + 10 * TOLD_TTL_MS) {
        unsigned before = t.asked[DO_ALERT];

        told_run(&t, t.now_ms + 1);
        told += t.asked[DO_ALERT] != before && t.last[DO_ALERT].alert.kind == ALERT_NO_PRIMARY;
    }
    assert_int_equal(told, 1);
}

static void a_server_made_a_primary_by_hand_is_adopted(void **state)
{
    (void)state;
    all_are_restarted();
    t.copy.state = COPY_PRIMARY;
    told_run(&t, t.now_ms + 300);
    assert_int_equal(core_record(&t.core)->epoch, 3);
    keep(DB2); /* not while this one takes writes */
    is_replied(HM_REFUSED, "the server of the holder was made a primary by hand: keep its data, or "
                           "make it a standby first");
    keep(DB1);
    told_run(&t, t.now_ms + 500);
    is_replied(HM_OK, "a majority accepted");
    is_epoch_of(DB1, told_copy_id(DB1) + 100);
    assert_int_equal(t.asked[DO_KILL], 0);
}

/* --- another member's --------------------------------------------------------------------------
 */

static void the_holder_gives_the_lease_to_the_member_that_is_to_go_on(void **state)
{
    (void)state;
    all_are_restarted();
    keep(DB2);
    told_run(&t, t.now_ms + 300);
    assert_true(told_has(&t, "holder -> handover: a switchover was ordered, or another copy"));
    assert_true(told_has(&t, "handover -> released: its copy can acknowledge nothing any more"));
    assert_int_equal(core_record(&t.core)->switchover.phase, SWITCH_FORCED);
    assert_int_equal(core_record(&t.core)->switchover.to, DB2);
    assert_int_equal(core_record(&t.core)->epoch, 3);
}

static void if_that_one_does_not_take_it_the_order_is_over(void **state)
{
    (void)state;
    all_are_restarted();
    keep(DB2);
    told_run(&t, t.now_ms + 100 * TOLD_HEARTBEAT_MS);
    is_replied(HM_TIMED_OUT, "the named member did not become primary in time");
    is_in_state("holder");
    assert_int_equal(core_record(&t.core)->switchover.phase, SWITCH_NONE);
    assert_int_equal(core_record(&t.core)->epoch, 3);
}

static void whoever_the_record_names_takes_over_whatever_it_lacks(void **state)
{
    (void)state;
    is_member(DB2);
    restarted(&t.copy);
    t.gossip[DB1].copy = COPY_DOWN;
    record.switchover = (struct switchover){ .order = 8, .to = DB2, .phase = SWITCH_FORCED };
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 3 * TOLD_TTL_MS);
    is_in_state("holder");
    assert_true(told_has(&t, "freeze -> accept: a person decided that its data go on"));
    is_epoch_of(DB2, t.copy.copy_id);
}

static void without_that_it_does_not(void **state)
{
    (void)state;
    is_member(DB2);
    restarted(&t.copy);
    t.gossip[DB1].copy = COPY_DOWN;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 5 * TOLD_TTL_MS);
    is_in_state("standing");
    assert_int_equal(t.core.rule, 35);
}

/* --- nobody holds the lease --------------------------------------------------------------------
 */

static void who_is_too_far_behind_goes_on_when_a_person_says_so(void **state)
{
    struct core_config config;

    (void)state;
    told_init(&t, 2, 1, DB2);
    told_config(&config, &t.first, DB2);
    core_init(&t.core, &config);
    told_record(&record, &t.first);
    t.copy.at.offset = record.last_known.offset - record.max_lag_bytes - 1;
    t.deaf = 1u << DB1;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 5 * TOLD_TTL_MS);
    is_in_state("standing");
    assert_int_equal(t.core.rule, 36);
    assert_null(core_keep_obstacle(&t.core));
    keep(DB2);
    told_run(&t, t.now_ms + 2 * TOLD_TTL_MS);
    is_replied(HM_OK, "a majority accepted");
    is_in_state("holder");
    is_epoch_of(DB2, told_copy_id(DB2));
    assert_string_equal(copy_state_name(t.copy.state), "primary");
}

/* --- refused ------------------------------------------------------------------------------------
 */

static void nothing_is_forced_beside_a_primary(void **state)
{
    (void)state;
    told_primary(&t.copy, DB1);
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    is_in_state("holder");
    keep(DB2);
    is_replied(HM_REFUSED, "there is a primary: 'hamgr switchover' moves it");
    keep(DB1);
    is_replied(HM_REFUSED, "there is a primary: 'hamgr switchover' moves it");
}

static void nor_while_the_cluster_is_paused(void **state)
{
    (void)state;
    record.is_paused = true;
    told_primary(&t.copy, DB1);
    restarted(&t.copy);
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 5 * TOLD_TTL_MS);
    keep(DB1);
    is_replied(HM_REFUSED, "the cluster is paused: resume it first");
}

static void nor_with_a_copy_that_is_not_in_order(void **state)
{
    (void)state;
    all_are_restarted();
    t.gossip[DB2].is_healthy = false;
    t.copy.is_healthy = false;
    told_run(&t, t.now_ms + 300);
    keep(DB2);
    is_replied(HM_REFUSED, "the copy of that member is no healthy standby");
    keep(DB1);
    is_replied(HM_REFUSED, "its copy is no healthy standby");
}

static void without_a_majority_nobody_is_asked(void **state)
{
    (void)state;
    is_member(DB2);
    restarted(&t.copy);
    t.deaf = 0x1ff;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 3 * TOLD_TTL_MS);
    keep(DB2);
    is_replied(HM_REFUSED, "no majority is heard");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(what_was_restarted_goes_on_when_a_person_says_so),
        TEST(it_is_told_once_that_nobody_may_go_on),
        TEST(a_server_made_a_primary_by_hand_is_adopted),
        TEST(the_holder_gives_the_lease_to_the_member_that_is_to_go_on),
        TEST(if_that_one_does_not_take_it_the_order_is_over),
        TEST(whoever_the_record_names_takes_over_whatever_it_lacks),
        TEST(without_that_it_does_not),
        TEST(who_is_too_far_behind_goes_on_when_a_person_says_so),
        TEST(nothing_is_forced_beside_a_primary),
        TEST(nor_while_the_cluster_is_paused),
        TEST(nor_with_a_copy_that_is_not_in_order),
        TEST(without_a_majority_nobody_is_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
