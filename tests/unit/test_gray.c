/* test_gray.c - a primary that runs and does not do its work: hung, overloaded, or without room. */
#include "core/core.h"

#include "tests/unit/told.h"

enum { DB1, DB2, START_MS = 10000, STALL_MS = 1000 };

static struct told t;
static struct record record;

static int make_world(void **state)
{
    (void)state;
    told_init(&t, 2, 1, DB1);
    told_record(&record, &t.first);
    told_primary(&t.copy, DB1);
    return 0;
}

static void leads(void)
{
    t.gossip[DB2].at = t.copy.at;
    (void)told_start_all(&t, &record, START_MS);
    told_run(&t, START_MS + 500);
    assert_string_equal(core_state_name(t.core.state), "holder");
    t.copy.standby[DB2].is_streaming = true;
    t.copy.standby[DB2].copy_id = told_copy_id(DB2);
    told_forget(&t);
}

static void runs_for(hm_ms ms)
{
    told_run(&t, t.now_ms + ms);
}

static void is_holder(void)
{
    assert_string_equal(core_state_name(t.core.state), "holder");
}

/* From the next probe on; returns when that is. */
static hm_ms stalls(enum copy_state seen)
{
    t.copy.state = seen;
    t.copy.is_healthy = false;
    t.copy.stalled_ms = 1;
    return t.probe_ms - 1;
}

/* --- hung ------------------------------------------------------------------------------------ */

static void a_hung_server_is_given_away_after_the_stall_timeout(void **state)
{
    hm_ms since_ms;

    (void)state;
    leads();
    since_ms = stalls(COPY_PRIMARY);
    t.copy.hung_ms = 1;
    told_run(&t, since_ms + STALL_MS - 1);
    is_holder();
    told_run(&t, since_ms + STALL_MS);
    assert_true(told_has(&t, "holder -> handover: the server hangs"));
    assert_int_equal(t.last[DO_FENCE].fence.mode, FENCE_SUSPENDED);
}

/* How long it has stalled is the probe's word: what it saw before hamgrd's last look counts. */
static void a_stall_counts_from_its_beginning(void **state)
{
    hm_ms since_ms;

    (void)state;
    leads();
    since_ms = stalls(COPY_PRIMARY) - 400;
    t.copy.stalled_ms += 400;
    t.copy.hung_ms = 1;
    told_run(&t, since_ms + STALL_MS - 1);
    is_holder();
    told_run(&t, since_ms + STALL_MS);
    assert_true(told_has(&t, "rule 114"));
}

static void the_proof_must_cover_half_of_the_stall(void **state)
{
    hm_ms since_ms;

    (void)state;
    leads();
    (void)stalls(COPY_PRIMARY);
    runs_for(2 * STALL_MS);
    is_holder();
    since_ms = t.probe_ms - 1;
    t.copy.hung_ms = 1;
    told_run(&t, since_ms + STALL_MS / 2 - 1);
    is_holder();
    told_run(&t, since_ms + STALL_MS / 2);
    assert_true(told_has(&t, "rule 114"));
}

/* It does not even say that it is a primary any more; it was killed although nobody knows what it
 * is. */
static void a_server_that_answers_nothing_is_given_away_when_it_is_proved_to_hang(void **state)
{
    hm_ms since_ms;

    (void)state;
    leads();
    since_ms = stalls(COPY_UNKNOWN);
    t.copy.hung_ms = 1;
    told_run(&t, since_ms + STALL_MS - 1);
    is_holder();
    told_run(&t, since_ms + STALL_MS + 2 * TOLD_PROBE_MS);
    assert_true(told_has(&t, "rule 114"));
    assert_true(t.asked[DO_KILL] > 0);
    assert_true(t.sent[MSG_RELEASE] > 0);
}

/* No probe shows that it is fenced, perhaps because the disk holds up whoever looks: then the lease
 * runs out, and the helper's own deadline stops it. */
static void what_cannot_be_seen_to_be_fenced_loses_its_lease(void **state)
{
    hm_ms begin_ms;

    (void)state;
    leads();
    (void)stalls(COPY_UNKNOWN);
    t.copy.hung_ms = 1;
    for (unsigned i = 0; i < 100 && !told_has(&t, "rule 114"); i++)
        runs_for(TOLD_PROBE_MS);
    begin_ms = t.now_ms;
    while (t.now_ms < begin_ms + 6 * TOLD_TTL_MS && !told_has(&t, "rule 140")) {
        t.copy.state = COPY_UNKNOWN;
        runs_for(5);
    }
    assert_true(told_has(&t, "rule 140 handover -> standing"));
    assert_true(t.now_ms > begin_ms + 4 * TOLD_TTL_MS);
    assert_int_equal(t.sent[MSG_RELEASE], 0);
}

static void without_a_successor_it_stays(void **state)
{
    (void)state;
    leads();
    t.gossip[DB2].is_healthy = false;
    runs_for(2 * TOLD_HEARTBEAT_MS);
    (void)stalls(COPY_PRIMARY);
    t.copy.hung_ms = 1;
    runs_for(20 * STALL_MS);
    is_holder();
    t.gossip[DB2].is_healthy = true;
    runs_for(2 * TOLD_HEARTBEAT_MS);
    assert_true(told_has(&t, "rule 114"));
}

/* --- overloaded ------------------------------------------------------------------------------ */

static void an_overloaded_server_is_never_given_away(void **state)
{
    (void)state;
    leads();
    (void)stalls(COPY_PRIMARY);
    runs_for(600 * 1000);
    is_holder();
    t.copy.state = COPY_UNKNOWN; /* nor does it answer any more */
    runs_for(600 * 1000);
    is_holder();
    assert_false(told_has(&t, "handover"));
    assert_int_equal(t.asked[DO_KILL], 0);
}

/* Each proof that ends with a commit is forgotten. */
static void spells_are_not_added_up(void **state)
{
    (void)state;
    leads();
    for (unsigned i = 0; i < 20; i++) {
        (void)stalls(COPY_PRIMARY);
        t.copy.hung_ms = 1;
        runs_for(STALL_MS - 2 * TOLD_PROBE_MS);
        t.copy.is_healthy = true;
        t.copy.stalled_ms = t.copy.hung_ms = 0;
        runs_for(2 * TOLD_PROBE_MS);
    }
    is_holder();
    assert_false(told_has(&t, "handover"));
}

/* --- full ------------------------------------------------------------------------------------ */

static void a_full_primary_is_given_away_when_a_standby_has_room(void **state)
{
    hm_ms since_ms;

    (void)state;
    leads();
    since_ms = t.probe_ms;
    t.copy.is_full = true;
    told_run(&t, since_ms + STALL_MS - 1);
    is_holder();
    told_run(&t, since_ms + STALL_MS);
    assert_true(
        told_has(&t, "rule 118 holder -> handover: its disk is full and a standby has room"));
}

/* It may be read, and what was acknowledged is here; the standby lacks some of it. */
static void a_full_primary_is_kept_when_the_standby_does_not_stream(void **state)
{
    (void)state;
    leads();
    t.copy.standby[DB2].is_streaming = false;
    t.copy.is_full = true;
    runs_for(60 * 1000);
    is_holder();
}

static void when_every_member_is_full_it_goes_on(void **state)
{
    (void)state;
    leads();
    t.gossip[DB2].is_healthy = false; /* that is what a standby without room says */
    runs_for(2 * TOLD_HEARTBEAT_MS);
    t.copy.is_full = true;
    runs_for(60 * 1000);
    is_holder();
    assert_int_equal(t.asked[DO_KILL], 0);
}

/* Nobody took it: it is read, at least, and must not be taken down again and again. */
static void what_nobody_took_is_kept_for_a_while(void **state)
{
    hm_ms back_ms;

    (void)state;
    leads();
    t.copy.is_full = true;
    t.copy.was_primary = true;
    t.deaf = 0;
    runs_for(STALL_MS + 100);
    assert_true(t.sent[MSG_RELEASE] > 0);
    for (unsigned i = 0; i < 100 && strcmp(core_state_name(t.core.state), "holder") != 0; i++)
        runs_for(TOLD_PROBE_MS);
    is_holder();
    back_ms = t.now_ms;
    told_forget(&t);
    t.copy.state = COPY_PRIMARY;
    t.copy.is_healthy = true;
    told_run(&t, back_ms + 8 * TOLD_TTL_MS - 2 * TOLD_PROBE_MS);
    is_holder();
    assert_false(told_has(&t, "rule 118"));
    told_run(&t, back_ms + 8 * TOLD_TTL_MS + 2 * TOLD_PROBE_MS);
    assert_true(told_has(&t, "rule 118"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_world)
    const struct CMUnitTest tests[] = {
        TEST(a_hung_server_is_given_away_after_the_stall_timeout),
        TEST(a_stall_counts_from_its_beginning),
        TEST(the_proof_must_cover_half_of_the_stall),
        TEST(a_server_that_answers_nothing_is_given_away_when_it_is_proved_to_hang),
        TEST(what_cannot_be_seen_to_be_fenced_loses_its_lease),
        TEST(without_a_successor_it_stays),
        TEST(an_overloaded_server_is_never_given_away),
        TEST(spells_are_not_added_up),
        TEST(a_full_primary_is_given_away_when_a_standby_has_room),
        TEST(a_full_primary_is_kept_when_the_standby_does_not_stream),
        TEST(when_every_member_is_full_it_goes_on),
        TEST(what_nobody_took_is_kept_for_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
