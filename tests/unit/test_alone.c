/* A primary that acknowledges alone: that it is told, and that strict is not promised meanwhile. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, DB3, START_MS = 10000 };

static struct told t;
static struct record record;
static unsigned alerts; /* ALERT_ALONE so far */

/* Called before each step, while t.todo still holds what the step before asked for. */
static void count_alerts(const struct core_event *ev)
{
    (void)ev;
    for (size_t i = 0; i < t.todo.n; i++)
        if (t.todo.item[i].type == DO_ALERT && t.todo.item[i].alert.kind == ALERT_ALONE)
            alerts++;
}

/* db1 runs the primary that the record names; no standby is there. */
static int make_world(void **state)
{
    (void)state;
    told_init(&t, 3, 0, DB1);
    told_record(&record, &t.first);
    record.durability = DURABILITY_SYNC;
    record.goal = DURABILITY_SYNC;
    told_primary(&t.copy, DB1);
    for (uint8_t slot = DB2; slot <= DB3; slot++) {
        t.gossip[slot].copy = COPY_DOWN;
        t.gossip[slot].is_healthy = false;
    }
    alerts = 0;
    t.listen = count_alerts;
    return 0;
}

static void runs_for(hm_ms ms)
{
    if (t.now_ms == 0)
        (void)told_start_all(&t, &record, START_MS);
    told_run(&t, t.now_ms + ms);
}

static void wants_strict(void)
{
    (void)told_order(&t, (struct order){ .kind = ORDER_DURABILITY,
                                         .id = 1,
                                         .member = HM_NOBODY,
                                         .durability = DURABILITY_STRICT,
                                         .sync_standbys = 1 });
}

/* The operation that does not end ends after all. */
static void ends(enum core_effect_type op)
{
    struct told_event *e = told_post(&t, ON_DONE, t.now_ms + 1);

    t.stuck = 0;
    e->ev.done.op = t.last[op].op;
    e->op = op;
    e->asked = t.last[op];
}

static void who_acknowledges_alone_says_so_once(void **state)
{
    (void)state;
    runs_for(3000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(alerts, 1);
    t.copy.at.offset += record.max_lag_bytes;
    runs_for(20 * TOLD_TTL_MS); /* another version, as much alone as the one before */
    assert_true(core_record(&t.core)->version > record.version + 1);
    assert_int_equal(alerts, 1);
}

static void in_async_nobody_is_told(void **state)
{
    (void)state;
    record.durability = DURABILITY_ASYNC;
    record.goal = DURABILITY_ASYNC;
    runs_for(3000);
    assert_string_equal(core_state_name(t.core.state), "holder");
    assert_int_equal(alerts, 0);
}

static void strict_is_not_promised_while_commits_return_alone(void **state)
{
    (void)state;
    runs_for(1000);
    t.stuck = 1u << DO_SET_NAMES;
    wants_strict();
    runs_for(1000);
    assert_int_equal(core_record(&t.core)->goal, DURABILITY_STRICT);
    assert_int_equal(t.copy.names, NAMES_EMPTY);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_SYNC);
    ends(DO_SET_NAMES);
    runs_for(1000);
    assert_int_equal(t.copy.names, NAMES_NOBODY);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_STRICT);
}

/* The names alone say nothing: the server may not have told its backends yet. */
static void strict_is_promised_once_a_commit_was_seen_waiting(void **state)
{
    (void)state;
    runs_for(1000);
    t.stuck = 1u << DO_PROVE;
    wants_strict();
    runs_for(1000);
    assert_int_equal(t.copy.names, NAMES_NOBODY);
    assert_int_equal(t.asked[DO_PROVE], 1);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_SYNC);
    ends(DO_PROVE);
    runs_for(1000);
    assert_int_equal(core_record(&t.core)->durability, DURABILITY_STRICT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(who_acknowledges_alone_says_so_once),
        TEST(in_async_nobody_is_told),
        TEST(strict_is_not_promised_while_commits_return_alone),
        TEST(strict_is_promised_once_a_commit_was_seen_waiting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
