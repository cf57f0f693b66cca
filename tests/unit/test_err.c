#include "base/err.h"
#include "tests/cm.h"

#include <errno.h>
#include <string.h>

static void each_code_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(hm_rc_text(HM_OK), "done");
    assert_string_equal(hm_rc_text(HM_NO_SPACE), "no space left");
    for (enum hm_rc rc = HM_OK; rc < HM_RC_COUNT; rc++)
        assert_true(strlen(hm_rc_text(rc)) > 0);
}

static void a_number_that_is_no_code_has_a_text_too(void **state)
{
    (void)state;
    assert_string_equal(hm_rc_text(HM_RC_COUNT), "unknown result");
}

static void a_failure_returns_its_code_and_writes_its_text(void **state)
{
    struct hm_err err;

    (void)state;
    assert_int_equal(hm_fail(&err, HM_BAD_INPUT, "port %d is out of range", 70000), HM_BAD_INPUT);
    assert_string_equal(err.text, "port 70000 is out of range");
}

static void a_caller_may_want_the_code_only(void **state)
{
    (void)state;
    errno = ENOENT;
    assert_int_equal(hm_fail(NULL, HM_REFUSED, "no"), HM_REFUSED);
    assert_int_equal(hm_fail_errno(NULL, "no"), HM_FAILED);
    hm_wrap(NULL, "loading");
}

static void a_system_failure_names_the_reason_and_keeps_errno(void **state)
{
    struct hm_err err;

    (void)state;
    errno = ENOENT;
    assert_int_equal(hm_fail_errno(&err, "cannot open '%s'", "x"), HM_FAILED);
    assert_string_equal(err.text, "cannot open 'x': No such file or directory");
    assert_int_equal(errno, ENOENT);
}

static void a_full_disk_and_a_timeout_have_codes_of_their_own(void **state)
{
    struct hm_err err;

    (void)state;
    errno = ENOSPC;
    assert_int_equal(hm_fail_errno(&err, "writing"), HM_NO_SPACE);
    errno = EDQUOT;
    assert_int_equal(hm_fail_errno(&err, "writing"), HM_NO_SPACE);
    errno = ETIMEDOUT;
    assert_int_equal(hm_fail_errno(&err, "connecting"), HM_TIMED_OUT);
}

static void context_goes_in_front(void **state)
{
    struct hm_err err;

    (void)state;
    (void)hm_fail(&err, HM_BAD_INPUT, "format version %d is unknown", 7);
    hm_wrap(&err, "loading '%s'", "x");
    hm_wrap(&err, "starting");
    assert_string_equal(err.text, "starting: loading 'x': format version 7 is unknown");
}

/* Fills a text with `length` characters: the failure that is as long as the test wants. */
static void fail_with_length(struct hm_err *err, int length)
{
    (void)hm_fail(err, HM_FAILED, "%0*d", length, 1);
}

static void a_text_that_just_fits_is_whole(void **state)
{
    struct hm_err err;

    (void)state;
    fail_with_length(&err, HM_ERR_TEXT_MAX - 1);
    assert_int_equal(strlen(err.text), HM_ERR_TEXT_MAX - 1);
    assert_string_equal(err.text + HM_ERR_TEXT_MAX - 4, "001");
}

static void a_text_one_longer_is_cut_and_says_so(void **state)
{
    struct hm_err err;

    (void)state;
    fail_with_length(&err, HM_ERR_TEXT_MAX);
    assert_int_equal(strlen(err.text), HM_ERR_TEXT_MAX - 1);
    assert_string_equal(err.text + HM_ERR_TEXT_MAX - 5, "0...");
}

static void context_survives_and_the_end_is_cut(void **state)
{
    struct hm_err err;

    (void)state;
    fail_with_length(&err, HM_ERR_TEXT_MAX - 1 - 3); /* room for "a: " */
    hm_wrap(&err, "a");
    assert_string_equal(err.text + HM_ERR_TEXT_MAX - 4, "001");
    hm_wrap(&err, "b");
    assert_memory_equal(err.text, "b: a: 000", 9);
    assert_string_equal(err.text + HM_ERR_TEXT_MAX - 5, "0...");
}

static void a_long_context_leaves_no_room_for_the_rest(void **state)
{
    struct hm_err err;

    (void)state;
    (void)hm_fail(&err, HM_FAILED, "the rest");
    hm_wrap(&err, "%0*d", HM_ERR_TEXT_MAX + 50, 0);
    assert_int_equal(strlen(err.text), HM_ERR_TEXT_MAX - 1);
    assert_null(strstr(err.text, "rest"));
    assert_string_equal(err.text + HM_ERR_TEXT_MAX - 5, "0...");
}

static void a_long_system_failure_is_cut_in_the_reason(void **state)
{
    struct hm_err err;

    (void)state;
    errno = ENOENT;
    (void)hm_fail_errno(&err, "%0*d", HM_ERR_TEXT_MAX - 10, 0);
    assert_int_equal(strlen(err.text), HM_ERR_TEXT_MAX - 1);
    assert_string_equal(err.text + HM_ERR_TEXT_MAX - 12, "00: No s...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_code_has_a_text),
        cmocka_unit_test(a_number_that_is_no_code_has_a_text_too),
        cmocka_unit_test(a_failure_returns_its_code_and_writes_its_text),
        cmocka_unit_test(a_caller_may_want_the_code_only),
        cmocka_unit_test(a_system_failure_names_the_reason_and_keeps_errno),
        cmocka_unit_test(a_full_disk_and_a_timeout_have_codes_of_their_own),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(a_text_that_just_fits_is_whole),
        cmocka_unit_test(a_text_one_longer_is_cut_and_says_so),
        cmocka_unit_test(context_survives_and_the_end_is_cut),
        cmocka_unit_test(a_long_context_leaves_no_room_for_the_rest),
        cmocka_unit_test(a_long_system_failure_is_cut_in_the_reason),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
