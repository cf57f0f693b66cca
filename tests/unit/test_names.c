#include "postgres/inner.h"

#include "tests/cm.h"

#include <string.h>

static struct record made_record(void)
{
    struct record r = { .epoch = 1 };

    r.member[0] = (struct member){ .role = ROLE_DB, .name = "db1" };
    r.member[1] = (struct member){ .role = ROLE_DB, .name = "db-1" };
    r.member[3] = (struct member){ .role = ROLE_DB, .name = "db_1" };
    r.member[4] = (struct member){ .role = ROLE_DB, .name = "DB1" };
    return r;
}

static void a_slot_names_member_and_copy(void **state)
{
    char name[64];

    (void)state;
    postgres_slot_name(name, sizeof name, "db1", 0x1234abcdu);
    assert_string_equal(name, "hamgr_db1_000000001234abcd");
}

static void the_longest_slot_fits_into_what_postgres_allows(void **state)
{
    char name[128];

    (void)state;
    postgres_slot_name(name, sizeof name, "Abcdefghij-bcdefghij.bcdefghij1", UINT64_MAX);
    assert_true(strlen(name) <= 63);
    assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(name));
}

static void every_slot_is_read_again(void **state)
{
    struct record r = made_record();
    const uint64_t ids[] = { 0, 1, 0x0123456789abcdefu, UINT64_MAX };

    (void)state;
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        for (size_t i = 0; i < HM_ARRAY_LEN(ids) && r.member[slot].role != ROLE_NONE; i++) {
            char name[64];
            uint8_t member = HM_NOBODY;
            uint64_t copy_id = 7;

            postgres_slot_name(name, sizeof name, r.member[slot].name, ids[i]);
            assert_true(postgres_slot_parse(&r, name, &member, &copy_id));
            assert_int_equal(member, slot);
            assert_true(copy_id == ids[i]);
        }
    }
}

static void foreign_slots_are_not_ours(void **state)
{
    static const char *const names[] = {
        "",
        "hamgr_",
        "hamgr_db1",
        "hamgr_db1_",
        "hamgr_db1_000000001234abc",   /* a digit too few */
        "hamgr_db1_000000001234abcde", /* one too many */
        "hamgr_db1_000000001234abcG",
        "hamgr_db2_000000001234abcd", /* no such member */
        "standby_000000001234abcd",
    };
    struct record r = made_record();
    uint8_t slot;
    uint64_t copy_id;

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(names); i++)
        assert_false(postgres_slot_parse(&r, names[i], &slot, &copy_id));
}

static void names_say_whom_a_commit_waits_for(void **state)
{
    struct record r = made_record();
    struct pair pair = { .n = 2, .need = 1, .copies = { { 5, 3 }, { 9, 0 } } };
    char value[512];

    (void)state;
    assert_true(postgres_names_value(&r, NAMES_EMPTY, NULL, value, sizeof value));
    assert_string_equal(value, "");
    assert_int_equal(postgres_names_state(value), NAMES_EMPTY);
    assert_true(postgres_names_value(&r, NAMES_NOBODY, NULL, value, sizeof value));
    assert_string_equal(value, "ANY 1 (\"hamgr nobody\")");
    assert_int_equal(postgres_names_state(value), NAMES_NOBODY);
    assert_true(postgres_names_value(&r, NAMES_PAIR, &pair, value, sizeof value));
    assert_string_equal(value, "ANY 1 (\"hamgr_db1\", \"hamgr_db_1\")");
    assert_int_equal(postgres_names_state(value), NAMES_PAIR);
    assert_true(postgres_names_value(&r, NAMES_PAIR, &pair_alone, value, sizeof value));
    assert_string_equal(value, "");
}

static void names_that_do_not_fit_are_refused(void **state)
{
    struct record r = made_record();
    struct pair pair = { .n = 1, .need = 1, .copies = { { 5, 0 } } };
    struct pair stranger = { .n = 1, .need = 1, .copies = { { 5, 2 } } };
    char value[20]; /* ANY 1 ("hamgr_db1") and the NUL */

    (void)state;
    assert_true(postgres_names_value(&r, NAMES_PAIR, &pair, value, sizeof value));
    assert_false(postgres_names_value(&r, NAMES_PAIR, &pair, value, sizeof value - 1));
    assert_false(postgres_names_value(&r, NAMES_PAIR, &stranger, value, sizeof value));
    assert_false(postgres_names_value(&r, NAMES_UNKNOWN, NULL, value, sizeof value));
}

static void a_quote_in_a_name_stays_inside(void **state)
{
    struct record r = { .epoch = 1 };
    struct pair pair = { .n = 1, .need = 1, .copies = { { 5, 0 } } };
    char value[64];

    (void)state;
    r.member[0] = (struct member){ .role = ROLE_DB, .name = "a\"b" };
    assert_true(postgres_names_value(&r, NAMES_PAIR, &pair, value, sizeof value));
    assert_string_equal(value, "ANY 1 (\"hamgr_a\"\"b\")");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_names_member_and_copy),
        cmocka_unit_test(the_longest_slot_fits_into_what_postgres_allows),
        cmocka_unit_test(every_slot_is_read_again),
        cmocka_unit_test(foreign_slots_are_not_ours),
        cmocka_unit_test(names_say_whom_a_commit_waits_for),
        cmocka_unit_test(names_that_do_not_fit_are_refused),
        cmocka_unit_test(a_quote_in_a_name_stays_inside),
    };

    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
