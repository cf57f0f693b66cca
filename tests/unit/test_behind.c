#include "probe/behind.h"

#include "tests/cm.h"

#include <string.h>

static struct behind b;

static int setup(void **state)
{
    (void)state;
    memset(&b, 0, sizeof b);
    return 0;
}

static void who_has_taken_all_is_not_behind(void **state)
{
    (void)state;
    behind_note(&b, 0, 0, 1000);
    assert_int_equal(behind_ms(&b, 1000), 0);
    behind_note(&b, 500, 500, 2000);
    assert_int_equal(behind_ms(&b, 900000), 0);
}

static void the_oldest_that_waits_counts(void **state)
{
    (void)state;
    behind_note(&b, 500, 400, 1000);
    behind_note(&b, 600, 499, 2500);
    assert_int_equal(behind_ms(&b, 3000), 2000);
    behind_note(&b, 700, 500, 4000); /* what was there at 1000 is taken */
    assert_int_equal(behind_ms(&b, 4000), 1500);
    behind_note(&b, 700, 700, 5000);
    assert_int_equal(behind_ms(&b, 5000), 0);
}

/* A busy stream is always a little behind. */
static void who_follows_closely_is_not_behind(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < 1000; i++) {
        behind_note(&b, i * 100, i * 100 - 50, (hm_ms)i * 250);
        assert_true(behind_ms(&b, (hm_ms)i * 250) <= 250);
    }
}

static void marks_go_back_far_with_little_room(void **state)
{
    hm_ms now_ms = 0;

    (void)state;
    for (uint64_t i = 1; i < 100000; i++) {
        now_ms = (hm_ms)i * 1000;
        behind_note(&b, i, 0, now_ms);
        assert_true(b.n <= BEHIND_MAX);
    }
    assert_int_equal(behind_ms(&b, now_ms), now_ms - 1000);
    behind_note(&b, 100000, 50000, now_ms); /* half of it: as exact as the marks are apart */
    assert_true(behind_ms(&b, now_ms) <= 50000000);
    assert_true(behind_ms(&b, now_ms) >= 50000000 - b.step_ms);
}

static void a_copy_made_anew_begins_anew(void **state)
{
    (void)state;
    behind_note(&b, 5000, 4000, 1000);
    behind_note(&b, 300, 200, 100000);
    assert_int_equal(behind_ms(&b, 100000), 0);
    assert_int_equal(behind_ms(&b, 101000), 1000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        TEST(who_has_taken_all_is_not_behind),   TEST(the_oldest_that_waits_counts),
        TEST(who_follows_closely_is_not_behind), TEST(marks_go_back_far_with_little_room),
        TEST(a_copy_made_anew_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
