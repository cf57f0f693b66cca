#include "adapter/store.h"

#include "tests/unit/stored.h"

/* --- what is written is read -------------------------------------------------------------------
 */

static void a_member_keeps_its_incarnation(void **state)
{
    uint64_t incarnation;

    (void)state;
    open_store();
    incarnation = store.incarnation;
    assert_int_not_equal(incarnation, 0);
    open_store();
    assert_true(store.incarnation == incarnation);
    store_done(&store);
    empty_folder();
    open_store();
    assert_false(store.incarnation == incarnation); /* another directory, another member */
}

static void a_directory_has_one_program(void **state)
{
    struct store second;

    (void)state;
    open_store();
    assert_int_equal(store_open(folder, "main/db1", &second, &err), HM_REFUSED);
    assert_non_null(strstr(err.text, folder));
    store_done(&store);
    assert_int_equal(store_open(folder, "main/db1", &second, &err), HM_OK);
    store_done(&second);
}

/* Copied from another host, say with its whole machine: both would vote, and hold the lease. */
static void a_directory_of_another_member_is_refused(void **state)
{
    struct store second;

    (void)state;
    open_store();
    store_done(&store);
    assert_int_equal(store_open(folder, "main/db2", &second, &err), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "it was made by 'main/db1', and this is 'main/db2'"));
    assert_int_equal(store_open(folder, "other/db1", &second, &err), HM_BAD_INPUT);
    open_store();
}

static void a_directory_that_is_not_there_is_told(void **state)
{
    struct store second;

    (void)state;
    assert_int_equal(store_open("/nowhere/hamgr", "main/db1", &second, &err), HM_FAILED);
    assert_non_null(strstr(err.text, "/nowhere/hamgr"));
}

static void a_new_register_is_empty_and_a_saved_one_as_it_was(void **state)
{
    struct voter_state s, saved;

    (void)state;
    open_store();
    load("postgres", &s);
    assert_int_equal(s.promised.counter, 0);
    assert_int_equal(s.accepted.counter, 0);
    assert_true(s.incarnation == store.incarnation);
    for (unsigned n = 1; n <= 3; n++) {
        make_state(&saved, n);
        save("postgres", n);
        load("postgres", &s);
        assert_int_equal(ballot_compare(&s.promised, &saved.promised), 0);
        assert_int_equal(s.record.version, n);
        assert_string_equal(s.record.member[2].name, saved.record.member[2].name);
    }
    open_store();
    load("postgres", &s);
    assert_int_equal(s.record.version, 3);
}

static void each_service_has_its_own_register(void **state)
{
    char name[HM_NAME_MAX];
    struct voter_state s;

    (void)state;
    open_store();
    for (unsigned i = 0; i < HM_SERVICES_MAX; i++) {
        (void)snprintf(name, sizeof name, "service%u", i);
        load(name, &s);
        save(name, 10 + i);
    }
    assert_int_equal(try_load("one-too-many"), HM_NO_SPACE);
    open_store();
    assert_int_equal(store.begun_n, HM_SERVICES_MAX);
    for (unsigned i = 0; i < HM_SERVICES_MAX; i++) {
        (void)snprintf(name, sizeof name, "service%u", i);
        load(name, &s);
        assert_int_equal(s.record.version, 10 + i);
    }
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
    static const char *const names[] = {
        "",        ".",         "..",
        ".hidden", "a/b",       "../x",
        "a b",     "new\nline", "a-name-that-is-longer-than-any-may-be"
    };

    (void)state;
    open_store();
    for (size_t i = 0; i < HM_ARRAY_LEN(names); i++)
        assert_int_equal(try_load(names[i]), HM_BAD_INPUT);
    assert_int_equal(store.begun_n, 0);
}

/* --- what must not be taken for an empty register -----------------------------------------------
 */

static void a_begun_register_without_its_file_is_blank(void **state)
{
    struct voter_state s = { .incarnation = 4711 };
    bool is_blank = false;

    (void)state;
    open_store();
    load("postgres", &s);
    remove_file("postgres.voter");
    s.incarnation = 4711;
    for (unsigned i = 0; i < 2; i++) { /* it stays so */
        assert_int_equal(store_load(&store, "postgres", &s, &is_blank, &err), HM_OK);
        assert_true(is_blank);
        assert_int_equal(s.incarnation, 4711);
        open_store();
    }
    load("redis", &s); /* others are not concerned */
}

static void voters_files_without_the_members_are_refused(void **state)
{
    struct store second;
    struct voter_state s;

    (void)state;
    open_store();
    load("postgres", &s);
    store_done(&store);
    remove_file("member");
    assert_int_equal(store_open(folder, "main/db1", &second, &err), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "postgres.voter"));
    assert_false(is_there("member"));
}

static void a_file_of_another_service_or_member_is_refused(void **state)
{
    struct voter_state s;
    char from[512], to[512];

    (void)state;
    open_store();
    load("postgres", &s);
    path_of("postgres.voter", from, sizeof from);
    path_of("redis.voter", to, sizeof to);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(try_load("redis"), HM_BAD_INPUT);
    remove_file("redis.voter");
    load("redis", &s); /* it was never begun: nothing is lost */

    make_state(&s, 1);
    s.incarnation++;
    assert_int_equal(store_save(&store, "redis", &s, &err), HM_OK);
    assert_int_equal(try_load("redis"), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "incarnation"));
}

static void a_voters_file_that_is_torn_or_garbled_is_refused(void **state)
{
    uint8_t good[WIRE_STATE_MAX], bad[WIRE_STATE_MAX + 8] = { 0 };
    struct voter_state s;
    size_t size;

    (void)state;
    open_store();
    load("postgres", &s);
    save("postgres", 7);
    size = read_all("postgres.voter", good, sizeof good);
    assert_true(size > 100);
    for (size_t n = 0; n < size; n++) {
        write_all("postgres.voter", good, n);
        assert_int_equal(try_load("postgres"), HM_BAD_INPUT);
        memcpy(bad, good, size);
        bad[n] ^= (uint8_t)(1u << (n % 8));
        write_all("postgres.voter", bad, size);
        assert_int_equal(try_load("postgres"), HM_BAD_INPUT);
    }
    memcpy(bad, good, size);
    write_all("postgres.voter", bad, size + 1); /* something behind it */
    assert_int_equal(try_load("postgres"), HM_BAD_INPUT);
    memset(bad, 0, sizeof bad);
    write_all("postgres.voter", bad, sizeof bad);
    assert_int_equal(try_load("postgres"), HM_BAD_INPUT);
    write_all("postgres.voter", good, size);
    load("postgres", &s);
    assert_int_equal(s.record.version, 7);
}

static void a_members_file_that_is_torn_or_garbled_is_refused(void **state)
{
    uint8_t good[4096], bad[4096] = { 0 };
    struct store second;
    struct voter_state s;
    size_t size;

    (void)state;
    open_store();
    load("postgres", &s);
    load("redis", &s);
    store_done(&store);
    size = read_all("member", good, sizeof good);
    for (size_t n = 0; n < size; n++) {
        write_all("member", good, n);
        assert_int_equal(store_open(folder, "main/db1", &second, &err), HM_BAD_INPUT);
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(bad, good, size);
            bad[n] ^= (uint8_t)(1u << bit);
            write_all("member", bad, size);
            assert_int_equal(store_open(folder, "main/db1", &second, &err), HM_BAD_INPUT);
        }
    }
    write_all("member", bad, sizeof bad);
    assert_int_equal(store_open(folder, "main/db1", &second, &err), HM_BAD_INPUT);
    write_all("member", good, size);
    open_store();
}

/* --- store_replace ------------------------------------------------------------------------------
 */

static void any_small_file_is_replaced_whole(void **state)
{
    char name[300];
    uint8_t bytes[16];

    (void)state;
    open_store();
    assert_int_equal(store_replace(store.dir, "notes", "first", 5, &err), HM_OK);
    assert_int_equal(store_replace(store.dir, "notes", "2", 1, &err), HM_OK);
    assert_int_equal(read_all("notes", bytes, sizeof bytes), 1);
    assert_int_equal(bytes[0], '2');
    assert_int_equal(store_replace(store.dir, "notes", "", 0, &err), HM_OK);
    assert_int_equal(read_all("notes", bytes, sizeof bytes), 0);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(store_replace(store.dir, name, "x", 1, &err), HM_BAD_INPUT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_member_keeps_its_incarnation),
        TEST(a_directory_has_one_program),
        TEST(a_directory_of_another_member_is_refused),
        TEST(a_directory_that_is_not_there_is_told),
        TEST(a_new_register_is_empty_and_a_saved_one_as_it_was),
        TEST(each_service_has_its_own_register),
        TEST(names_that_lead_elsewhere_are_refused),
        TEST(a_begun_register_without_its_file_is_blank),
        TEST(voters_files_without_the_members_are_refused),
        TEST(a_file_of_another_service_or_member_is_refused),
        TEST(a_voters_file_that_is_torn_or_garbled_is_refused),
        TEST(a_members_file_that_is_torn_or_garbled_is_refused),
        TEST(any_small_file_is_replaced_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
