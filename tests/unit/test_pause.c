/* How long a pause is in force, and what must be in force before it ends. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000, ORDER_MS = 80 * TOLD_HEARTBEAT_MS };

static struct told t;
static struct record record, next;

/* db1 of three runs the primary that the record names. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB1);
    told_record(&record, &t.first);
    told_primary(&t.copy, DB1);
    return 0;
}

static void runs_for(hm_ms ms)
{
    told_run(&t, t.now_ms + ms);
}

static void order(enum order_kind kind, uint64_t id)
{
    (void)told_order(&t, (struct order){ .kind = kind, .id = id });
}

static void is_paused(void)
{
    (void)told_start_all(&t, &record, START_MS);
    runs_for(1000);
    order(ORDER_PAUSE, 1);
    runs_for(1000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_true(core_record(&t.core)->is_paused);
    assert_int_equal(t.copy.fence, FENCE_PAUSED);
    told_forget(&t);
}

/* The record without the pause is on its way to the own disk, and stays there. */
static void resumes_on_a_stuck_disk(void)
{
    is_paused();
    order(ORDER_RESUME, 2);
    t.is_disk_stuck = true;
    runs_for(300);
    assert_string_equal(core_state_name(t.core.state), "holder-change");
    assert_true(t.core.voter.is_writing);
    assert_int_equal(t.copy.fence, FENCE_LEASE);
    assert_int_equal(t.sent[MSG_ACCEPT], 0);
}

static void the_own_write_ends(void)
{
    struct core_event ev = { .type = ON_PERSISTED, .at_ms = t.now_ms };

    t.is_disk_stuck = false;
    ev.persisted.ticket = t.core.ticket;
    ev.persisted.is_ok = true;
    (void)told_feed(&t, &ev);
}

static bool asks_for(enum core_effect_type type)
{
    for (size_t i = 0; i < t.todo.n; i++)
        if (t.todo.item[i].type == type)
            return true;
    return false;
}

/* --- the resume --------------------------------------------------------------------------------
 */

static void a_resume_that_times_out_on_its_way_keeps_the_deadline(void **state)
{
    (void)state;
    resumes_on_a_stuck_disk();
    runs_for(ORDER_MS);
    assert_int_equal(t.last[DO_REPLY].reply.rc, HM_TIMED_OUT);
    assert_true(t.core.voter.is_writing);
    assert_int_equal(t.copy.fence, FENCE_LEASE);
    the_own_write_ends();
    assert_true(t.sent[MSG_ACCEPT] > 0);
    assert_false(asks_for(DO_FENCE)); /* nothing had to be mended in this step */
    assert_int_equal(t.copy.fence, FENCE_LEASE);
}

static void a_resume_leaves_only_when_the_fence_shows_a_deadline(void **state)
{
    (void)state;
    resumes_on_a_stuck_disk();
    t.copy.fence = FENCE_PAUSED; /* hamgr-fence came back with what its file said */
    (void)told_probe(&t);
    the_own_write_ends();
    assert_int_equal(t.sent[MSG_ACCEPT], 0);
    runs_for(TOLD_PROBE_MS + TOLD_HEARTBEAT_MS);
    assert_int_equal(t.copy.fence, FENCE_LEASE);
    assert_true(t.sent[MSG_ACCEPT] > 0);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_false(core_record(&t.core)->is_paused);
}

/* --- losing it ---------------------------------------------------------------------------------
 */

static void is_cut_off_in_a_resume(void)
{
    is_paused();
    order(ORDER_RESUME, 2);
    runs_for(1);
    t.is_disk_stuck = true;
    runs_for(60);
    t.deaf = 0x1ff;
    runs_for(2 * TOLD_TTL_MS);
    assert_true(core_valid_until(&t.core) == HM_PAST);
}

/* db2 leads epoch 4 on the same history, and renews from now on. */
static void is_led_by_db2(void)
{
    struct msg m = told_message(&t, DB2, MSG_ACCEPT);
    struct voter_state *s = &t.voter[DB2].durable;

    next = *core_record(&t.core);
    next.version += 3;
    next.epoch = 4;
    next.holder = DB2;
    next.copy_id = told_copy_id(DB2);
    record_add_timeline(&next, 4, 4, 2000);
    m.ballot = told_ballot(50, DB2);
    m.version = next.version;
    m.ttl_ms = next.ttl_ms;
    m.seq = 1000;
    m.record = &next;
    m.gossip.is_holder = true;
    (void)told_hear(&t, &m);
    s->promised = m.ballot;
    s->accepted = m.ballot;
    s->record = next;
    t.seq = m.seq;
    t.leader = DB2;
    t.renew_ms = t.now_ms + 10;
}

static void who_lost_the_lease_in_a_resume_is_suspended(void **state)
{
    (void)state;
    is_cut_off_in_a_resume();
    assert_int_equal(t.copy.state, COPY_PRIMARY); /* the record that it knows is a paused one */
    the_own_write_ends();
    assert_false(core_record(&t.core)->is_paused);
    assert_int_equal(t.last[DO_FENCE].fence.mode, FENCE_SUSPENDED);
    assert_int_equal(t.copy.state, COPY_SUSPENDED);
}

static void a_paused_primary_follows_whoever_leads_after_it(void **state)
{
    (void)state;
    is_cut_off_in_a_resume();
    t.is_disk_stuck = false;
    is_led_by_db2();
    the_own_write_ends();
    told_forget(&t);
    runs_for(4000);
    assert_string_equal(core_state_name(t.core.state), "following");
    assert_int_equal(core_record(&t.core)->epoch, 4);
    assert_int_equal(t.asked[DO_KILL], 1);
    assert_int_equal(t.asked[DO_START], 1);
    assert_int_equal(t.copy.follows, DB2);
    assert_int_equal(t.copy.fence, FENCE_STANDBY);
}

/* Only a pause of its own would excuse it from asking for the helper. */
static void a_pause_is_over_for_who_heard_another_renew(void **state)
{
    (void)state;
    is_cut_off_in_a_resume();
    the_own_write_ends();
    is_led_by_db2();
    runs_for(1000);
    assert_string_equal(core_state_name(t.core.state), "following");
    t.leader = HM_NOBODY;
    t.copy.fence_answers = false;
    told_forget(&t);
    runs_for(2 * TOLD_TTL_MS);
    assert_string_equal(core_state_name(t.core.state), "standing");
    assert_int_equal(t.core.rule, 34);
    assert_int_equal(t.sent[MSG_PREVOTE], 0);
}

static void a_paused_primary_of_a_former_incarnation_is_suspended(void **state)
{
    struct msg m;

    (void)state;
    is_paused();
    m = told_message(&t, DB2, MSG_GOSSIP);
    m.cluster_incarnation++;
    (void)told_hear(&t, &m);
    assert_string_equal(core_state_name(t.core.state), "stopped");
    assert_true(core_record(&t.core)->is_paused);
    assert_int_equal(t.last[DO_FENCE].fence.mode, FENCE_SUSPENDED);
    assert_int_equal(t.copy.state, COPY_SUSPENDED);
}

/* The other side: a pause that is in force keeps the primary running without a lease. */
static void a_paused_primary_without_a_lease_goes_on(void **state)
{
    (void)state;
    is_paused();
    t.deaf = 0x1ff;
    runs_for(4 * TOLD_TTL_MS);
    assert_true(core_valid_until(&t.core) == HM_PAST);
    assert_int_equal(t.copy.state, COPY_PRIMARY);
    assert_int_equal(t.copy.fence, FENCE_PAUSED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(a_resume_that_times_out_on_its_way_keeps_the_deadline),
        TEST(a_resume_leaves_only_when_the_fence_shows_a_deadline),
        TEST(who_lost_the_lease_in_a_resume_is_suspended),
        TEST(a_paused_primary_follows_whoever_leads_after_it),
        TEST(a_pause_is_over_for_who_heard_another_renew),
        TEST(a_paused_primary_of_a_former_incarnation_is_suspended),
        TEST(a_paused_primary_without_a_lease_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
