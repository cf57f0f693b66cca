/* Which member an address belongs to. */
#include "redis/hosts.h"

#include "base/clock.h"
#include "tests/cm.h"

#include <stdio.h>
#include <string.h>

static struct event_base *base;
static struct hosts *hosts;

static void note(const char *a, const char *b, const char *c)
{
    const char *const address[] = { a, b, c };
    struct record r = { .epoch = 1 };

    for (size_t i = 0; i < HM_ARRAY_LEN(address); i++) {
        r.member[i].role = address[i] != NULL ? ROLE_DB : ROLE_WITNESS;
        (void)snprintf(r.member[i].address, sizeof r.member[i].address, "%s",
                       address[i] != NULL ? address[i] : "10.0.0.9:7420");
    }
    hosts_note(hosts, &r);
}

static int set_up(void **state)
{
    struct hm_err err;

    (void)state;
    base = event_base_new();
    return hosts_new(base, &hosts, &err) == HM_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    hosts_free(hosts);
    event_base_free(base);
    return 0;
}

static void members_are_known_by_their_addresses(void **state)
{
    (void)state;
    assert_int_equal(hosts_find(hosts, "10.0.0.1"), HM_STRANGER);
    note("10.0.0.1:7420", "[2001:db8::1]:7420", NULL);
    assert_int_equal(hosts_find(hosts, "10.0.0.1"), 0);
    assert_int_equal(hosts_find(hosts, "::ffff:10.0.0.1"), 0);
    assert_int_equal(hosts_find(hosts, "2001:db8:0::1"), 1);
    assert_int_equal(hosts_find(hosts, "10.0.0.11"), HM_STRANGER);
    assert_int_equal(hosts_find(hosts, "10.0.0.9"), HM_STRANGER); /* a witness has no copy */
    assert_int_equal(hosts_find(hosts, ""), HM_STRANGER);
    note("10.0.0.2:7420", NULL, NULL);
    assert_int_equal(hosts_find(hosts, "10.0.0.1"), HM_STRANGER);
    assert_int_equal(hosts_find(hosts, "10.0.0.2"), 0);
    assert_int_equal(hosts_find(hosts, "2001:db8::1"), HM_STRANGER);
}

static void names_are_resolved_beside_the_loop(void **state)
{
    hm_ms end_ms = clock_boot_ms() + 20000;

    (void)state;
    note("localhost:7420", "no-such-host.invalid:7420", NULL);
    assert_int_equal(hosts_find(hosts, "localhost"), 0); /* at once, as it is written */
    while (hosts_find(hosts, "127.0.0.1") != 0 && clock_boot_ms() < end_ms)
        (void)event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(hosts_find(hosts, "127.0.0.1"), 0);
    assert_int_equal(hosts_find(hosts, "no-such-host.invalid"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_are_known_by_their_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_are_resolved_beside_the_loop, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
