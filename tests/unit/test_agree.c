#include "witness/agree.h"

#include "tests/unit/told.h"

enum { NUMBER = 1, SERVICES = 2 };

static struct wire_service service[SERVICES];
static struct wire_hello hello;

static int make_hello(void **state)
{
    (void)state;
    memset(service, 0, sizeof service);
    for (uint8_t i = 0; i < SERVICES; i++) {
        memcpy(service[i].name, i == 0 ? "postgres" : "sessions", 8);
        told_first(&service[i].first, 2, 1);
        service[i].first.service = i;
    }
    hello = (struct wire_hello){ .services_n = SERVICES, .service = service };
    memcpy(hello.to, "wt1", 4);
    return 0;
}

static void what_is_not_said_is_nothing(void **state)
{
    (void)state;
    assert_int_not_equal(agree_said(&hello, NUMBER).name, 0);
    assert_int_equal(agree_said(&hello, SERVICES).name, 0);
}

static void name_and_kind_are_what_a_number_means(void **state)
{
    struct said before = agree_said(&hello, NUMBER), after;

    (void)state;
    service[NUMBER].first.kind = SERVICE_REDIS;
    after = agree_said(&hello, NUMBER);
    assert_false(before.name == after.name);
    service[NUMBER].first.kind = SERVICE_POSTGRES;
    service[NUMBER].name[9] = 'x'; /* behind its end */
    after = agree_said(&hello, NUMBER);
    assert_true(before.name == after.name);
    service[NUMBER].name[0] = 'S';
    after = agree_said(&hello, NUMBER);
    assert_false(before.name == after.name);
    assert_true(before.name == agree_name("sessions", SERVICE_POSTGRES));
}

/* Each field that makes another cluster of it, and one that does not. */
static void every_field_of_the_first_record_counts_but_addresses(void **state)
{
    struct record *r = &service[NUMBER].first, good = *r;
    struct said before = agree_said(&hello, NUMBER);

#define DIFFERS(change)                                                                            \
    do {                                                                                           \
        change;                                                                                    \
        assert_false(agree_said(&hello, NUMBER).first == before.first);                            \
        *r = good;                                                                                 \
    } while (0)

    (void)state;
    DIFFERS(r->ttl_ms++);
    DIFFERS(r->heartbeat_ms++);
    DIFFERS(r->durability = DURABILITY_SYNC);
    DIFFERS(r->goal = DURABILITY_SYNC);
    DIFFERS(r->sync_standbys++);
    DIFFERS(r->max_lag_bytes++);
    DIFFERS(r->voters ^= 1);
    DIFFERS(r->member[0].role = ROLE_WITNESS);
    DIFFERS(r->member[2].name[0] = 'x');
    DIFFERS(r->member[3].role = ROLE_DB);
    r->member[0].address[0] = 'z';
    assert_true(agree_said(&hello, NUMBER).first == before.first);
    hello.to[2] = '2'; /* our own name counts, too */
    assert_false(agree_said(&hello, NUMBER).first == before.first);
}

static void those_who_say_nothing_do_not_disagree(void **state)
{
    struct said said[4] = { { 0, 0 }, { 5, 6 }, { 0, 0 }, { 5, 6 } };
    struct agreement a = agree_find(said, 4);

    (void)state;
    assert_int_equal(a.sayers, 2);
    assert_true(a.is_on_name && a.is_on_first && a.name == 5);
    said[3].first = 7;
    a = agree_find(said, 4);
    assert_true(a.is_on_name && !a.is_on_first);
    said[3] = (struct said){ 8, 6 };
    a = agree_find(said, 4);
    assert_false(a.is_on_name || a.is_on_first);
    assert_int_equal(agree_find(said, 1).sayers, 0);
}

/* Once there is a cluster, files may differ: a member that joined has a line that others lack. */
static void where_there_is_a_record_nobody_begins_one(void **state)
{
    struct said said[3] = { { 5, 6 }, { 5, 0 }, { 5, 7 } };
    struct agreement a = agree_find(said, 3);

    (void)state;
    assert_true(a.has_record && a.is_on_first && a.is_on_name);
    said[1].first = 6;
    a = agree_find(said, 3);
    assert_false(a.has_record || a.is_on_first);
    said[1].first = 0;
    said[2].name = 8;
    a = agree_find(said, 3);
    assert_false(a.is_on_first || a.is_on_name);
    service[NUMBER].first.epoch = 1;
    assert_int_equal(agree_said(&hello, NUMBER).first, 0);
    assert_int_not_equal(agree_said(&hello, NUMBER).name, 0);
}

static void a_hello_may_not_contradict_itself(void **state)
{
    struct record *r = &service[NUMBER].first, good = *r;

    (void)state;
    assert_null(agree_fault(&hello, NUMBER, told_cluster));
    assert_non_null(agree_fault(&hello, NUMBER, told_cluster + 1));
    r->service = 0;
    assert_non_null(agree_fault(&hello, NUMBER, told_cluster));
    *r = good;
    r->heartbeat_ms = r->ttl_ms / 2;
    assert_null(agree_fault(&hello, NUMBER, told_cluster));
    r->heartbeat_ms++;
    assert_non_null(agree_fault(&hello, NUMBER, told_cluster));
    r->heartbeat_ms = 0;
    assert_non_null(agree_fault(&hello, NUMBER, told_cluster));
    *r = good;
    memcpy(service[NUMBER].name, service[0].name, HM_NAME_MAX);
    assert_non_null(agree_fault(&hello, NUMBER, told_cluster));
}

#define TEST(name) cmocka_unit_test_setup(name, make_hello)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_said_is_nothing),
        TEST(name_and_kind_are_what_a_number_means),
        TEST(every_field_of_the_first_record_counts_but_addresses),
        TEST(those_who_say_nothing_do_not_disagree),
        TEST(where_there_is_a_record_nobody_begins_one),
        TEST(a_hello_may_not_contradict_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
