#include "base/text.h"
#include "tests/cm.h"

#include <string.h>

enum { SMALL = 8 }; /* room for seven characters */

struct small {
    char buffer[SMALL + 1]; /* one byte behind the text, to see that nobody writes there */
    struct text text;
};

static int start_small(void **state)
{
    static struct small s;

    memset(s.buffer, '#', sizeof s.buffer);
    text_init(&s.text, s.buffer, SMALL);
    *state = &s;
    return 0;
}

static int nothing_was_written_behind_it(void **state)
{
    struct small *s = *state;

    return s->buffer[SMALL] == '#' && strlen(s->buffer) == s->text.length ? 0 : -1;
}

static void a_new_text_is_empty(void **state)
{
    struct small *s = *state;

    assert_string_equal(s->buffer, "");
    assert_int_equal(s->text.length, 0);
    assert_false(s->text.is_truncated);
}

static void what_is_added_stands_in_order(void **state)
{
    struct small *s = *state;

    text_add(&s->text, "ab");
    text_add_char(&s->text, '=');
    text_add_u64(&s->text, 12);
    text_add_i64(&s->text, -3);
    assert_string_equal(s->buffer, "ab=12-3");
    assert_false(s->text.is_truncated);
}

static void a_string_one_too_long_is_cut(void **state)
{
    struct small *s = *state;

    text_add(&s->text, "12345678");
    assert_string_equal(s->buffer, "1234567");
    assert_true(s->text.is_truncated);
}

static void a_string_that_just_fits_is_whole(void **state)
{
    struct small *s = *state;

    text_add(&s->text, "1234567");
    assert_string_equal(s->buffer, "1234567");
    assert_false(s->text.is_truncated);
    text_add(&s->text, "");
    assert_false(s->text.is_truncated);
}

static void a_character_too_many_is_left_out(void **state)
{
    struct small *s = *state;

    text_add(&s->text, "123456");
    text_add_char(&s->text, '7');
    assert_false(s->text.is_truncated);
    text_add_char(&s->text, '8');
    assert_string_equal(s->buffer, "1234567");
    assert_true(s->text.is_truncated);
}

static void a_number_is_whole_or_missing(void **state)
{
    struct small *s = *state;

    text_add(&s->text, "abcd");
    text_add_u64(&s->text, 1000);
    assert_string_equal(s->buffer, "abcd");
    assert_true(s->text.is_truncated);
}

static void a_number_that_just_fits_is_there(void **state)
{
    struct small *s = *state;

    text_add(&s->text, "abcd");
    text_add_i64(&s->text, -99);
    assert_string_equal(s->buffer, "abcd-99");
    assert_false(s->text.is_truncated);
}

static void after_a_gap_nothing_more_is_added(void **state)
{
    struct small *s = *state;

    text_add(&s->text, "abcd");
    text_add_u64(&s->text, 1000);
    text_add(&s->text, "e");
    text_pad(&s->text, 7);
    assert_string_equal(s->buffer, "abcd");
}

static void padding_reaches_the_column(void **state)
{
    struct small *s = *state;

    text_add(&s->text, "ab");
    text_pad(&s->text, 5);
    assert_string_equal(s->buffer, "ab   ");
    text_pad(&s->text, 5);
    text_pad(&s->text, 3);
    assert_string_equal(s->buffer, "ab   ");
}

static void padding_stops_at_the_end_of_the_buffer(void **state)
{
    struct small *s = *state;

    text_pad(&s->text, 7);
    assert_false(s->text.is_truncated);
    text_pad(&s->text, 100);
    assert_string_equal(s->buffer, "       ");
    assert_true(s->text.is_truncated);
}

static void a_buffer_of_one_byte_holds_the_empty_text(void **state)
{
    char buffer[1];
    struct text t;

    (void)state;
    text_init(&t, buffer, sizeof buffer);
    text_add(&t, "a");
    assert_string_equal(buffer, "");
    assert_true(t.is_truncated);
}

static void the_extreme_numbers_are_right(void **state)
{
    char buffer[64];
    struct text t;

    (void)state;
    text_init(&t, buffer, sizeof buffer);
    text_add_u64(&t, 0);
    text_add_char(&t, ' ');
    text_add_u64(&t, UINT64_MAX);
    text_add_char(&t, ' ');
    text_add_i64(&t, INT64_MIN);
    assert_string_equal(buffer, "0 18446744073709551615 -9223372036854775808");
}

#define SMALL_TEST(f) cmocka_unit_test_setup_teardown(f, start_small, nothing_was_written_behind_it)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL_TEST(a_new_text_is_empty),
        SMALL_TEST(what_is_added_stands_in_order),
        SMALL_TEST(a_string_one_too_long_is_cut),
        SMALL_TEST(a_string_that_just_fits_is_whole),
        SMALL_TEST(a_character_too_many_is_left_out),
        SMALL_TEST(a_number_is_whole_or_missing),
        SMALL_TEST(a_number_that_just_fits_is_there),
        SMALL_TEST(after_a_gap_nothing_more_is_added),
        SMALL_TEST(padding_reaches_the_column),
        SMALL_TEST(padding_stops_at_the_end_of_the_buffer),
        cmocka_unit_test(a_buffer_of_one_byte_holds_the_empty_text),
        cmocka_unit_test(the_extreme_numbers_are_right),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
