/* Traces fed to cores: the same events give the same effects, and no garbled one does harm. */
#include "core/trace.h"

#include "base/prng.h"
#include "tests/unit/entries.h"

enum { TRACE_MAX = 4 << 20, STEPS_MAX = 4000 };

static uint8_t recorded[TRACE_MAX];
static size_t recorded_n;
static size_t entry_at[STEPS_MAX + 1]; /* where each entry begins */
static size_t entries_n;

static void listen(const struct core_event *ev)
{
    assert_true(recorded_n + TRACE_ENTRY_MAX <= TRACE_MAX && entries_n < STEPS_MAX);
    entry_at[entries_n++] = recorded_n;
    recorded_n += put(ev, recorded + recorded_n);
    entry_at[entries_n] = recorded_n;
}

/* db2 follows, takes over when db1 falls silent, is paused, changes its members, hands over. */
static void record_a_story(void)
{
    static struct told t;
    static struct record r;
    const char *why = NULL;

    recorded_n = entries_n = 0;
    told_init(&t, 3, 2, 1);
    assert_int_equal(trace_put_config(&t.core.config, recorded, sizeof recorded, &recorded_n, &why),
                     HM_OK);
    t.listen = listen;
    told_record(&r, &t.first);
    r.goal = DURABILITY_SYNC;
    t.leader = 0;
    (void)told_start_all(&t, &r, 1000);
    told_run(&t, 3000);
    t.leader = HM_NOBODY;
    t.deaf = 1;
    told_run(&t, 8000);
    assert_int_equal(t.core.state, ST_HOLDER);
    (void)told_order(
        &t, (struct order){ .kind = ORDER_TIMING, .id = 1, .ttl_ms = 1000, .heartbeat_ms = 100 });
    told_run(&t, 9000);
    (void)told_order(&t, (struct order){ .kind = ORDER_MEMBER_REMOVE, .id = 2, .member = 4 });
    told_run(&t, 10000);
    t.deaf = 0xff;
    told_run(&t, 14000);
    assert_true(entries_n > 300);
}

/* Both runs happen in the same memory, so that pointers into the core are the same as well. */
static struct core core;
static struct core_effects effects;

static uint64_t digest_of(const void *bytes, size_t size, uint64_t digest)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < size; i++)
        digest = (digest ^ at[i]) * 0x100000001b3u;
    return digest;
}

static void prepare(void)
{
    struct core_config config;
    const char *why = NULL;
    size_t used;

    memset(&core, 0, sizeof core);
    assert_int_equal(trace_get_config(recorded, recorded_n, &config, &used, &why), HM_OK);
    assert_int_equal(used, entry_at[0]);
    core_init(&core, &config);
}

/* Feeds the whole trace; notes a digest of the effects of every step. */
static void replay(uint64_t digests[STEPS_MAX])
{
    static struct trace_storage storage;
    static struct core_event ev;

    prepare();
    for (size_t i = 0; i < entries_n; i++) {
        const char *why = NULL;
        size_t used;

        assert_int_equal(trace_get_event(recorded + entry_at[i], recorded_n - entry_at[i], &storage,
                                         &ev, &used, &why),
                         HM_OK);
        assert_int_equal(used, entry_at[i + 1] - entry_at[i]);
        memset(&effects, 0, sizeof effects);
        assert_int_equal(core_step(&core, &ev, &effects), HM_OK);
        digests[i] = digest_of(&effects, sizeof effects, 1469598103934665603u);
    }
}

static void the_same_events_give_the_same_effects_and_the_same_core(void **state)
{
    static uint64_t first[STEPS_MAX], second[STEPS_MAX];
    static struct core after;

    (void)state;
    record_a_story();
    replay(first);
    memcpy(&after, &core, sizeof core);
    replay(second);
    for (size_t i = 0; i < entries_n; i++)
        if (first[i] != second[i])
            fail_msg("step %zu asked for something else", i);
    assert_memory_equal(&after, &core, sizeof core);
}

static void a_replayed_run_ends_where_the_recorded_one_did(void **state)
{
    static uint64_t digests[STEPS_MAX];

    (void)state;
    record_a_story();
    replay(digests);
    assert_int_equal(core.state, ST_STANDING);
    assert_int_equal(core_record(&core)->epoch, 4);
    assert_int_equal(core_record(&core)->last_order, 2);
    assert_int_equal(core_record(&core)->ttl_ms, 1000);
}

/* --- mutations ---------------------------------------------------------------------------------
 */

static size_t mutate(struct prng *p, uint8_t *body, size_t n)
{
    uint64_t changes = 1 + prng_below(p, 3);

    for (uint64_t i = 0; i < changes; i++) {
        size_t at = (size_t)prng_below(p, n);
        uint64_t how = prng_below(p, 4);

        if (how == 0)
            body[at] = (uint8_t)(prng_next(p) & 0x7f);
        else if (how == 1)
            body[at] ^= (uint8_t)(1u << prng_below(p, 7));
        else if (how == 2)
            body[at] = 0;
        else
            body[at] = body[prng_below(p, n)];
    }
    return n;
}

/* One step of a run in which some entries are garbled, doubled or lost. */
static bool step_garbled(struct prng *p, size_t i)
{
    static struct trace_storage storage;
    static struct core_event ev;
    static struct core before;
    uint8_t bytes[TRACE_ENTRY_MAX];
    size_t size = entry_at[i + 1] - entry_at[i], used;
    const char *why = NULL;

    if (prng_chance(p, 1, 50))
        return true;
    memcpy(bytes, recorded + entry_at[i], size);
    if (prng_chance(p, 1, 5)) {
        size_t n = mutate(p, bytes + TRACE_PREFIX, size - TRACE_PREFIX - 4);

        size = frame(bytes, bytes + TRACE_PREFIX, n);
    }
    if (trace_get_event(bytes, size, &storage, &ev, &used, &why) != HM_OK)
        return true;
    if (ev.at_ms > core.now_ms + 10000)
        ev.at_ms = core.now_ms; /* else all that follows would be older */
    memcpy(&before, &core, sizeof core);
    if (core_step(&core, &ev, &effects) == HM_OK)
        return true;
    assert_memory_equal(&before, &core, sizeof core);
    return false;
}

static void garbled_events_never_break_a_core(void **state)
{
    unsigned refused = 0;

    (void)state;
    record_a_story();
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct prng p;

        prng_seed(&p, seed);
        prepare();
        for (size_t i = 0; i < entries_n; i++)
            refused += !step_garbled(&p, i);
    }
    assert_true(refused > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_events_give_the_same_effects_and_the_same_core),
        cmocka_unit_test(a_replayed_run_ends_where_the_recorded_one_did),
        cmocka_unit_test(garbled_events_never_break_a_core),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
