#include "view/view.h"

#include "tests/cm.h"

static struct view v;

static int make_view(void **state)
{
    (void)state;
    view_init(&v);
    return 0;
}

static void nobody_is_known_at_first(void **state)
{
    (void)state;
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        assert_null(view_recent(&v, slot, INT64_MIN));
    assert_int_equal(view_heard(&v, INT64_MIN), 0);
    assert_true(v.bad_since_ms == HM_NEVER && v.healthy_since_ms == HM_NEVER);
}

static void gossip_is_recent_to_the_millisecond(void **state)
{
    struct gossip g = { .copy_id = 7 };

    (void)state;
    view_note_gossip(&v, 3, &g, 1000);
    assert_int_equal(view_recent(&v, 3, 1000)->copy_id, 7);
    assert_null(view_recent(&v, 3, 1001));
    assert_int_equal(view_heard(&v, 1000), 1u << 3);
    assert_int_equal(view_heard(&v, 1001), 0);
}

static void the_newest_gossip_counts(void **state)
{
    struct gossip g = { .copy_id = 7 };

    (void)state;
    view_note_gossip(&v, HM_MEMBERS_MAX - 1, &g, 1000);
    g.copy_id = 8;
    view_note_gossip(&v, HM_MEMBERS_MAX - 1, &g, 1000);
    assert_int_equal(view_recent(&v, HM_MEMBERS_MAX - 1, 0)->copy_id, 8);
    view_forget(&v, HM_MEMBERS_MAX - 1);
    assert_null(view_recent(&v, HM_MEMBERS_MAX - 1, 0));
}

static void a_spell_counts_from_its_first_probe(void **state)
{
    struct copy c = { .is_healthy = true };

    (void)state;
    view_note_copy(&v, &c, 100);
    view_note_copy(&v, &c, 200);
    assert_int_equal(v.healthy_since_ms, 100);
    assert_true(v.bad_since_ms == HM_NEVER && v.crashed_since_ms == HM_NEVER);
    c.is_healthy = false;
    c.is_crashed = true;
    view_note_copy(&v, &c, 300);
    view_note_copy(&v, &c, 400);
    assert_true(v.healthy_since_ms == HM_NEVER);
    assert_int_equal(v.bad_since_ms, 300);
    assert_int_equal(v.crashed_since_ms, 300);
    c.is_crashed = false;
    view_note_copy(&v, &c, 500);
    assert_int_equal(v.bad_since_ms, 300);
    assert_true(v.crashed_since_ms == HM_NEVER);
}

static void names_exist_for_all_and_only_for_these(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COPY_STATES_N; i++)
        assert_string_not_equal(copy_state_name((enum copy_state)i), "?");
    assert_string_equal(copy_state_name(COPY_STATES_N), "?");
    for (unsigned i = 0; i <= FENCE_PAUSED; i++)
        assert_string_not_equal(fence_mode_name((enum fence_mode)i), "?");
    assert_string_equal(fence_mode_name((enum fence_mode)(FENCE_PAUSED + 1)), "?");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_view)
    const struct CMUnitTest tests[] = {
        TEST(nobody_is_known_at_first),
        TEST(gossip_is_recent_to_the_millisecond),
        TEST(the_newest_gossip_counts),
        TEST(a_spell_counts_from_its_first_probe),
        TEST(names_exist_for_all_and_only_for_these),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
