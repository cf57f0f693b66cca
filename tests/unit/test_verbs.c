#include "fence/verbs.h"

#include "tests/cm.h"

#include <string.h>

union request {
    struct fence_request r;
    unsigned char bytes[sizeof(struct fence_request) + 1];
};

union report {
    struct fence_report r;
    unsigned char bytes[sizeof(struct fence_report) + 1];
};

static const char *why;

static union request good_request(void)
{
    union request u;

    memset(&u, 0, sizeof u);
    u.r.version = FENCE_VERSION;
    u.r.seq = 1;
    u.r.verb = FENCE_VERB_MODE;
    strcpy(u.r.service, "pg");
    u.r.mode = FENCE_LEASE;
    u.r.suspend_ms = 1000;
    u.r.until_ms = 1100;
    u.r.is_gate_open = true;
    return u;
}

static union report good_report(void)
{
    union report u;

    memset(&u, 0, sizeof u);
    u.r.version = FENCE_VERSION;
    strcpy(u.r.service, "pg");
    u.r.mode = FENCE_LEASE;
    u.r.suspend_ms = 1000;
    u.r.until_ms = 1100;
    u.r.processes = 3;
    u.r.stopped = 3;
    return u;
}

static bool is_request(const union request *u)
{
    struct fence_request ret;

    return fence_request_check(u, sizeof u->r, &ret, &why) == HM_OK;
}

static bool is_report(const union report *u)
{
    struct fence_report ret;

    return fence_report_check(u, sizeof u->r, &ret, &why) == HM_OK;
}

static void a_good_request_is_taken_as_it_is(void **state)
{
    union request u = good_request();
    struct fence_request ret;

    (void)state;
    assert_int_equal(fence_request_check(&u, sizeof u.r, &ret, &why), HM_OK);
    assert_memory_equal(&ret, &u.r, sizeof ret);
}

static void only_the_exact_size_is_a_request(void **state)
{
    union request u = good_request();
    struct fence_request ret = { .seq = 77 };

    (void)state;
    for (size_t size = 0; size <= sizeof u.bytes; size++) {
        if (size == sizeof u.r)
            continue;
        assert_int_equal(fence_request_check(&u, size, &ret, &why), HM_BAD_INPUT);
        assert_string_equal(why, "size");
    }
    assert_int_equal(ret.seq, 77);
}

static void put(void *packet, size_t at, int number)
{
    memcpy((unsigned char *)packet + at, &number, sizeof number);
}

static void numbers_out_of_range_are_refused(void **state)
{
    union request u = good_request();

    (void)state;
    u.r.version++;
    assert_false(is_request(&u));
    assert_string_equal(why, "version");
    u = good_request();
    u.r.seq = 0;
    assert_false(is_request(&u));
    u = good_request();
    put(&u, offsetof(struct fence_request, verb), FENCE_VERBS_N - 1);
    assert_true(is_request(&u));
    put(&u, offsetof(struct fence_request, verb), FENCE_VERBS_N);
    assert_false(is_request(&u));
    assert_string_equal(why, "verb");
    put(&u, offsetof(struct fence_request, verb), -1);
    assert_false(is_request(&u));
    u = good_request();
    put(&u, offsetof(struct fence_request, mode), FENCE_PAUSED);
    assert_true(is_request(&u));
    put(&u, offsetof(struct fence_request, mode), FENCE_PAUSED + 1);
    assert_false(is_request(&u));
    assert_string_equal(why, "mode");
    u = good_request();
    u.bytes[offsetof(struct fence_request, is_gate_open)] = 2;
    assert_false(is_request(&u));
    assert_string_equal(why, "gate");
}

static void nobody_can_be_told_nothing(void **state)
{
    union request u = good_request();

    (void)state;
    u.r.mode = FENCE_NONE;
    assert_false(is_request(&u));
    u.r.verb = FENCE_VERB_STATUS;
    assert_true(is_request(&u));
}

static void texts_need_an_end_and_the_name_a_letter(void **state)
{
    union request u = good_request();

    (void)state;
    memset(u.r.service, 'x', sizeof u.r.service);
    assert_false(is_request(&u));
    u.r.service[HM_NAME_MAX - 1] = '\0';
    assert_true(is_request(&u));
    u.r.service[0] = '\0';
    assert_false(is_request(&u));
    u = good_request();
    memset(u.r.peer, 'x', sizeof u.r.peer);
    assert_false(is_request(&u));
    assert_string_equal(why, "address");
    u.r.peer[HM_ADDRESS_MAX - 1] = '\0';
    assert_true(is_request(&u));
    memset(u.r.peers[HM_MEMBERS_MAX - 1], 'x', HM_ADDRESS_MAX);
    assert_false(is_request(&u));
    assert_string_equal(why, "address of a member");
    u.r.peers[HM_MEMBERS_MAX - 1][HM_ADDRESS_MAX - 1] = '\0';
    assert_true(is_request(&u));
}

static void deadlines_of_a_lease_stand_in_order_and_in_range(void **state)
{
    union request u = good_request();

    (void)state;
    u.r.suspend_ms = u.r.until_ms;
    assert_true(is_request(&u));
    u.r.suspend_ms++;
    assert_false(is_request(&u));
    assert_string_equal(why, "deadlines out of order");
    u.r.suspend_ms = -5; /* right after the boot the margin may reach before it */
    assert_true(is_request(&u));
    u.r.until_ms = HM_NEVER;
    assert_false(is_request(&u));
    assert_string_equal(why, "deadline out of range");
    u.r.until_ms = 0;
    u.r.suspend_ms = INT64_MIN;
    assert_false(is_request(&u));
    u.r.mode = FENCE_STANDBY; /* which has none */
    assert_true(is_request(&u));
}

static void a_good_report_is_taken_as_it_is(void **state)
{
    union report u = good_report();
    struct fence_report ret;

    (void)state;
    assert_int_equal(fence_report_check(&u, sizeof u.r, &ret, &why), HM_OK);
    assert_memory_equal(&ret, &u.r, sizeof ret);
}

static void a_wrong_report_is_refused(void **state)
{
    static const size_t bools[] = {
        offsetof(struct fence_report, is_gate_open), offsetof(struct fence_report, has_gate),
        offsetof(struct fence_report, has_lock),     offsetof(struct fence_report, has_priority),
        offsetof(struct fence_report, has_watchdog), offsetof(struct fence_report, is_held),
    };
    union report u = good_report();
    struct fence_report ret;

    (void)state;
    assert_int_equal(fence_report_check(&u, sizeof u.r - 1, &ret, &why), HM_BAD_INPUT);
    assert_int_equal(fence_report_check(&u, sizeof u.r + 1, &ret, &why), HM_BAD_INPUT);
    u.r.version = 0;
    assert_false(is_report(&u));
    for (size_t i = 0; i < HM_ARRAY_LEN(bools); i++) {
        u = good_report();
        u.bytes[bools[i]] = 1;
        assert_true(is_report(&u));
        u.bytes[bools[i]] = 2;
        assert_false(is_report(&u));
    }
    u = good_report();
    put(&u, offsetof(struct fence_report, rc), HM_RC_COUNT);
    assert_false(is_report(&u));
    u = good_report();
    put(&u, offsetof(struct fence_report, mode), FENCE_PAUSED + 1);
    assert_false(is_report(&u));
    u = good_report();
    memset(u.r.why, 'x', sizeof u.r.why);
    assert_false(is_report(&u));
    u = good_report();
    memset(u.r.service, 'x', sizeof u.r.service);
    assert_false(is_report(&u));
    u = good_report();
    u.r.stopped = 4;
    assert_false(is_report(&u));
    u = good_report();
    u.r.suspend_ms = 1101;
    assert_false(is_report(&u));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_request_is_taken_as_it_is),
        cmocka_unit_test(only_the_exact_size_is_a_request),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(nobody_can_be_told_nothing),
        cmocka_unit_test(texts_need_an_end_and_the_name_a_letter),
        cmocka_unit_test(deadlines_of_a_lease_stand_in_order_and_in_range),
        cmocka_unit_test(a_good_report_is_taken_as_it_is),
        cmocka_unit_test(a_wrong_report_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
