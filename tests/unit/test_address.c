/* test_address.c - where a host ends and a port begins. */
#include "base/address.h"

#include "tests/cm.h"

#include <string.h>

static void assert_split(const char *address, const char *is_host, const char *is_port)
{
    char host[HM_ADDRESS_MAX], port[8], alone[HM_ADDRESS_MAX];

    assert_int_equal(address_split(address, host, port), is_host[0] != '\0');
    assert_string_equal(host, is_host);
    assert_string_equal(port, is_port);
    assert_int_equal(address_host(address, alone), is_host[0] != '\0');
    assert_string_equal(alone, is_host);
}

static void the_host_is_what_stands_before_the_port(void **state)
{
    (void)state;
    assert_split("10.0.0.1:7420", "10.0.0.1", "7420");
    assert_split("[2001:db8::1]:7420", "2001:db8::1", "7420");
    assert_split("[::]:1", "::", "1");
    assert_split("db1.example:7420", "db1.example", "7420");
}

static void what_is_no_address_has_neither(void **state)
{
    (void)state;
    assert_split("", "", "");
    assert_split(":7420", "", "");
    assert_split("[]:7420", "", "");
    assert_split("[::1:7420", "", "");
    assert_split("db1", "", "");
    assert_split("db1:", "", "");
    assert_split("/tmp/socket", "", "");
    assert_split("2001:db8::1:7420", "", "");
}

static void what_is_too_long_is_no_address(void **state)
{
    char longest[HM_ADDRESS_MAX + 8];

    (void)state;
    memset(longest, 'a', HM_ADDRESS_MAX);
    memcpy(longest + HM_ADDRESS_MAX - 1, ":7420", 6);
    longest[HM_ADDRESS_MAX - 2] = '\0';
    assert_split(longest, "", "");
    longest[HM_ADDRESS_MAX - 2] = 'a';
    assert_int_equal(address_host(longest, (char[HM_ADDRESS_MAX]){ "" }), true);
    memset(longest, 'a', HM_ADDRESS_MAX);
    memcpy(longest + HM_ADDRESS_MAX, ":7420", 6);
    assert_split(longest, "", "");
    assert_split("db1:1234567", "db1", "1234567");
    assert_split("db1:12345678", "", "");
}

static void a_name_is_no_literal_address(void **state)
{
    (void)state;
    assert_true(address_is_literal("10.0.0.1"));
    assert_true(address_is_literal("2001:db8::1"));
    assert_false(address_is_literal("[2001:db8::1]"));
    assert_false(address_is_literal("10.0.0.1:7420"));
    assert_false(address_is_literal("db1"));
    assert_false(address_is_literal(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_is_what_stands_before_the_port),
        cmocka_unit_test(what_is_no_address_has_neither),
        cmocka_unit_test(what_is_too_long_is_no_address),
        cmocka_unit_test(a_name_is_no_literal_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
