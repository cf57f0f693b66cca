/* A witness on the loopback, asked for its votes by members with real links. */
#include "witness/witness.h"

#include "tests/unit/witnessed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/syscall.h>

/* The program's own fsync comes before the C library's; the witness's disk calls it. */
static atomic_bool is_disk_broken;

int fsync(int fd)
{
    if (atomic_load(&is_disk_broken)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* db1 and db2 of the first cluster are there; nothing was promised yet. */
static void start_two(void)
{
    start_witness(2);
    connect_puppet(make_puppet(DB1, 0, DB1));
    connect_puppet(make_puppet(DB2, 0, DB2));
}

static struct puppet *const db1 = &puppets[DB1];
static struct puppet *const db2 = &puppets[DB2];

static void it_votes_for_members_that_it_was_not_told_of(void **state)
{
    (void)state;
    start_two();
    assert_int_equal(prevote(db1, 1), REFUSE_NOTHING);
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);
    assert_int_equal(accept_record(db1, 1, 1), REFUSE_NOTHING);
    assert_int_equal(renew(db1, 1, 1), REFUSE_NOTHING);
    assert_int_equal(renew(db1, 1, 2), REFUSE_OTHER_RECORD);
    assert_int_equal(prepare(db2, 9), REFUSE_LIVE_LEASE);
    assert_true(db2->last[MSG_PREPARE_ANSWER].remaining_ms > 0);
    assert_int_equal(db2->last[MSG_PREPARE_ANSWER].accepted.counter, 1);
    assert_string_equal(db2->record.member[WT1].name, "wt1");
    assert_int_equal(counts().voting, 1);
    assert_true(counts().writes >= 2);
}

static void when_the_lease_ran_out_another_gets_the_vote(void **state)
{
    hm_ms accepted_ms;

    (void)state;
    start_two();
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);
    assert_int_equal(accept_record(db1, 1, 1), REFUSE_NOTHING);
    accepted_ms = clock_boot_ms();
    until(prepare(db2, 9) == REFUSE_NOTHING);
    assert_true(clock_boot_ms() - accepted_ms >= TOLD_TTL_MS - 50);
    assert_int_equal(renew(db1, 1, 1), REFUSE_HIGHER_BALLOT);
}

static void what_it_promised_survives_its_restart(void **state)
{
    uint64_t incarnation;

    (void)state;
    start_two();
    incarnation = db1->witness;
    assert_int_equal(prepare(db1, 5), REFUSE_NOTHING);
    assert_int_equal(accept_record(db1, 5, 3), REFUSE_NOTHING);
    restart_witness(2);
    assert_int_equal(prepare(db2, 9), REFUSE_QUARANTINE); /* the lease may live on */
    assert_int_equal(renew(db1, 5, 3), REFUSE_NOTHING);
    assert_true(db1->witness == incarnation);
    assert_int_equal(prepare(db1, 4), REFUSE_HIGHER_BALLOT);
    assert_int_equal(prepare(db1, 6), REFUSE_NOTHING);
    assert_int_equal(db1->last[MSG_PREPARE_ANSWER].accepted.counter, 5);
    assert_int_equal(db1->record.version, 3);
}

static void a_promise_without_a_record_survives_its_restart(void **state)
{
    (void)state;
    start_two();
    assert_int_equal(prepare(db1, 5), REFUSE_NOTHING);
    restart_witness(2);
    assert_int_equal(prepare(db2, 4), REFUSE_HIGHER_BALLOT);
    assert_int_equal(prepare(db2, 6), REFUSE_NOTHING);
}

static void clusters_and_services_are_apart(void **state)
{
    struct puppet *other;

    (void)state;
    start_two();
    other = make_puppet(2, 1, DB1);
    other->hello.services_n = 2;
    connect_puppet(other);
    assert_int_equal(prepare(db1, 50), REFUSE_NOTHING);
    assert_int_equal(prepare(other, 1), REFUSE_NOTHING);
    assert_false(other->witness == db1->witness); /* another member in each cluster */
    until(counts().voting == 3);

    /* A message that names the other cluster goes nowhere. */
    other->cluster = &clusters[0];
    gets_no_vote(other);
}

static void a_missing_file_has_no_vote_and_others_have(void **state)
{
    char path[256];

    (void)state;
    start_two();
    connect_puppet(make_puppet(2, 1, DB1));
    assert_int_equal(prepare(db1, 5), REFUSE_NOTHING);
    assert_int_equal(prepare(&puppets[2], 5), REFUSE_NOTHING);
    stop_witness();
    (void)snprintf(path, sizeof path, "%s/shop0/postgres.voter", folder);
    assert_int_equal(unlink(path), 0);
    start_witness(2);
    assert_int_equal(prepare(&puppets[2], 6), REFUSE_NOTHING);
    until(counts().broken == 1);
    gets_no_vote(db1);
}

static void a_torn_file_stops_its_register_only(void **state)
{
    char path[256];

    (void)state;
    start_two();
    db1->hello.services_n = db2->hello.services_n = 2;
    reconnect_puppet(db1);
    reconnect_puppet(db2);
    assert_int_equal(prepare(db1, 5), REFUSE_NOTHING);
    until(counts().voting == 2);
    stop_witness();
    (void)snprintf(path, sizeof path, "%s/shop0/redis.voter", folder);
    assert_int_equal(truncate(path, 10), 0);
    start_witness(2);
    assert_int_equal(prepare(db1, 6), REFUSE_NOTHING);
    until(counts().broken == 1);
}

static void a_torn_directory_stops_its_cluster_only(void **state)
{
    char path[256];

    (void)state;
    start_two();
    connect_puppet(make_puppet(2, 1, DB1));
    stop_witness();
    (void)snprintf(path, sizeof path, "%s/shop0/member", folder);
    assert_int_equal(truncate(path, 10), 0);
    start_witness(2);
    assert_int_equal(counts().failed, 1);
    assert_int_equal(counts().clusters, 1);
    assert_int_equal(prepare(&puppets[2], 5), REFUSE_NOTHING);
}

static void a_disk_that_fails_costs_promises_and_no_more(void **state)
{
    (void)state;
    start_two();
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);
    assert_int_equal(accept_record(db1, 1, 1), REFUSE_NOTHING);
    atomic_store(&is_disk_broken, true);
    assert_int_equal(prepare(db1, 2), REFUSE_DISK);
    assert_int_equal(accept_record(db1, 1, 2), REFUSE_DISK);
    assert_int_equal(renew(db1, 1, 1), REFUSE_NOTHING); /* nothing to write */
    assert_true(counts().failed_writes >= 2);
    atomic_store(&is_disk_broken, false);
    assert_int_equal(accept_record(db1, 1, 2), REFUSE_NOTHING);
    restart_witness(2);
    assert_int_equal(renew(db1, 1, 2), REFUSE_NOTHING);
}

static void a_register_that_could_not_be_begun_is_tried_again(void **state)
{
    (void)state;
    start_witness(1);
    atomic_store(&is_disk_broken, true);
    connect_puppet(make_puppet(DB1, 0, DB1));
    until(counts().broken == 1);
    atomic_store(&is_disk_broken, false);
    until(counts().voting == 1);
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);
}

/* --- members that disagree -------------------------------------------------------------------- */

static void two_first_records_get_no_vote(void **state)
{
    (void)state;
    start_witness(1);
    connect_puppet(make_puppet(DB1, 0, DB1));
    assert_int_equal(prepare(db1, 3), REFUSE_NOTHING);
    (void)make_puppet(DB2, 0, DB2);
    db2->service[0].first.ttl_ms += 1000;
    connect_puppet(db2);
    until(counts().disputed == 1);
    assert_int_equal(counts().voting, 0);
    gets_no_vote(db1);
    gets_no_vote(db2);

    db2->service[0].first.ttl_ms -= 1000;
    reconnect_puppet(db2);
    assert_int_equal(prepare(db2, 2), REFUSE_HIGHER_BALLOT); /* nothing was forgotten */
    assert_int_equal(prepare(db2, 4), REFUSE_NOTHING);
    assert_int_equal(counts().disputed, 0);
}

static void once_there_is_a_record_the_first_one_does_not_matter(void **state)
{
    (void)state;
    start_two();
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);
    assert_int_equal(accept_record(db1, 1, 1), REFUSE_NOTHING);
    db2->service[0].first.ttl_ms += 1000;
    reconnect_puppet(db2);
    assert_int_equal(prepare(db2, 2), REFUSE_LIVE_LEASE);
    restart_witness(1);
    assert_int_equal(renew(db1, 1, 1), REFUSE_NOTHING);
    assert_int_equal(prepare(db2, 2), REFUSE_LIVE_LEASE);
    assert_int_equal(counts().disputed, 0);
}

static void a_number_with_two_names_is_served_to_those_who_had_it_first(void **state)
{
    (void)state;
    start_two();
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);
    assert_int_equal(accept_record(db1, 1, 1), REFUSE_NOTHING);
    (void)snprintf(db2->service[0].name, HM_NAME_MAX, "redis");
    reconnect_puppet(db2);
    until(counts().disputed == 1);
    gets_no_vote(db2);
    assert_int_equal(renew(db1, 1, 1), REFUSE_NOTHING);

    /* All of them call it so: then it is another register. */
    (void)snprintf(db1->service[0].name, HM_NAME_MAX, "redis");
    reconnect_puppet(db1);
    assert_int_equal(prepare(db2, 1), REFUSE_NOTHING);
    assert_int_equal(counts().disputed, 0);
    assert_int_equal(counts().voting, 1);
}

static void a_name_with_two_numbers_is_one_register(void **state)
{
    struct wire_service swap;

    (void)state;
    start_two();
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);
    db2->hello.services_n = 2;
    swap = db2->service[0];
    db2->service[0] = db2->service[1];
    db2->service[1] = swap;
    db2->service[0].first.service = 0;
    db2->service[1].first.service = 1;
    reconnect_puppet(db2);
    until(counts().disputed == 2);
    assert_int_equal(counts().voting, 0);
    gets_no_vote(db1);
    gets_no_vote(db2);
}

static void a_hello_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    start_witness(1);
    (void)make_puppet(DB1, 0, DB1);
    db1->service[0].first.cluster++;
    connect_puppet(db1);
    gets_no_vote(db1);
    db1->service[0].first.cluster--;
    reconnect_puppet(db1);
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);
}

/* --- settings ----------------------------------------------------------------------------------
 */

static void a_cluster_that_is_added_is_served_at_once(void **state)
{
    struct settings_witness settings = { .clusters_n = 3, .cluster = clusters };

    (void)state;
    start_two();
    (void)snprintf(settings.listen, sizeof settings.listen, "127.0.0.1:0");
    (void)snprintf(settings.state_dir, sizeof settings.state_dir, "%s", folder);
    witness_update(witness, &settings);
    until(counts().clusters == 3);
    connect_puppet(make_puppet(2, 2, DB1));
    assert_int_equal(prepare(&puppets[2], 1), REFUSE_NOTHING);
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);

    settings.clusters_n = 1; /* gone from the file: served until the restart */
    witness_update(witness, &settings);
    assert_int_equal(prepare(&puppets[2], 2), REFUSE_NOTHING);
    assert_int_equal(counts().clusters, 3);
}

static struct clusters_counts counts_of(const struct witness *w)
{
    struct clusters_counts c;
    struct link_counts links;

    witness_count(w, &c, &links);
    return c;
}

/* The second one waits, and takes over once the first has ended. */
static void two_witnesses_do_not_share_a_directory(void **state)
{
    struct settings_witness settings = { .clusters_n = 1, .cluster = clusters };
    struct witness *second, *third;
    struct hm_err err;

    (void)state;
    start_two();
    (void)snprintf(settings.listen, sizeof settings.listen, "127.0.0.1:0");
    (void)snprintf(settings.state_dir, sizeof settings.state_dir, "%s", folder);
    assert_int_equal(witness_new(base, &settings, &second, &err), HM_OK);
    until(counts_of(second).opening == 0);
    assert_int_equal(counts_of(second).failed, 1);
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);

    (void)snprintf(settings.listen, sizeof settings.listen, "%s", listen_at);
    assert_int_equal(witness_new(base, &settings, &third, &err), HM_FAILED); /* the port is taken */
    stop_witness();
    until(counts_of(second).clusters == 1);
    witness_free(second);
}

/* A loop that was late by more than a tenth of a second tells every register. */
static void a_stalled_loop_goes_on(void **state)
{
    hm_ms end_ms;

    (void)state;
    start_two();
    assert_int_equal(prepare(db1, 1), REFUSE_NOTHING);
    assert_int_equal(accept_record(db1, 1, 1), REFUSE_NOTHING);
    turn_for(2 * TOLD_HEARTBEAT_MS);
    end_ms = clock_boot_ms() + 3 * TOLD_HEARTBEAT_MS;
    while (clock_boot_ms() < end_ms)
        ; /* the processor is not ours */
    assert_int_equal(renew(db1, 1, 1), REFUSE_NOTHING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_witness, remove_witness)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_votes_for_members_that_it_was_not_told_of),
        TEST(when_the_lease_ran_out_another_gets_the_vote),
        TEST(what_it_promised_survives_its_restart),
        TEST(a_promise_without_a_record_survives_its_restart),
        TEST(clusters_and_services_are_apart),
        TEST(a_missing_file_has_no_vote_and_others_have),
        TEST(a_torn_file_stops_its_register_only),
        TEST(a_torn_directory_stops_its_cluster_only),
        TEST(a_disk_that_fails_costs_promises_and_no_more),
        TEST(a_register_that_could_not_be_begun_is_tried_again),
        TEST(two_first_records_get_no_vote),
        TEST(once_there_is_a_record_the_first_one_does_not_matter),
        TEST(a_number_with_two_names_is_served_to_those_who_had_it_first),
        TEST(a_name_with_two_numbers_is_one_register),
        TEST(a_hello_that_contradicts_itself_is_refused),
        TEST(a_cluster_that_is_added_is_served_at_once),
        TEST(two_witnesses_do_not_share_a_directory),
        TEST(a_stalled_loop_goes_on),
    };

    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
