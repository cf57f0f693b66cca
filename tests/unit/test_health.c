/* test_health.c - how well a copy does its work, as it is told to people. */
#include "daemon/report_inner.h"

#include "tests/unit/made_report.h"

static struct report_service *s;

static int make_well(void **state)
{
    (void)state;
    made_well();
    s = &made.service[0];
    made_settings.disk_warn_percent = 10;
    made_settings.disk_warn_minutes = 60;
    return 0;
}

static void verdict_is(const char *wanted)
{
    const char *is = report_verdict(&made, s);

    assert_true((is == NULL) == (wanted == NULL));
    if (wanted != NULL)
        assert_string_equal(is, wanted);
}

/* The core's own probe found that, `ms` ago. */
static void sees(hm_ms stalled_ms, hm_ms hung_ms)
{
    made_core.copy.is_healthy = stalled_ms == 0;
    made_core.copy.stalled_ms = stalled_ms;
    made_core.copy.hung_ms = hung_ms;
    view_note_copy(&made_core.view, &made_core.copy, MADE_NOW_MS);
}

static bool warns_of(const char *text)
{
    char lines[32][REPORT_WARNING_SIZE];
    size_t n = report_warnings(&made, lines, 32);

    for (size_t i = 0; i < n; i++)
        if (strstr(lines[i], text) != NULL)
            return true;
    return false;
}

/* The path comes first, and is long: what is wrong with it must be seen all the same. */
static void why_a_rebuild_fails_is_told_to_its_end(void **state)
{
    struct service_facts *f = &made.service[0].facts;

    (void)state;
    made_well_on_standby();
    made_core.op_failed = DO_CLONE;
    made_core.op_failures = 6;
    (void)snprintf(f->trouble, sizeof f->trouble,
                   "cannot make '/srv/postgresql/15/main-wal/pg_wal.hamgr-new': No space left on "
                   "device");
    assert_true(
        warns_of("6 times: cannot make '/srv/postgresql/15/main-wal/pg_wal.hamgr-new': No space "
                 "left on device; mend that, then 'hamgr rebuild "));
}

static void taken_connections_are_told(void **state)
{
    struct service_facts *f = &made.service[0].facts;

    (void)state;
    f->sessions = 56;
    f->sessions_max = 57;
    assert_false(warns_of("connections"));
    f->sessions = 57;
    assert_true(
        warns_of("pg: all 57 connections that clients may have on db1 are taken: others are "
                 "refused; look for idle ones, or raise max_connections"));
}

static void late_is_not_gray(void **state)
{
    (void)state;
    made_core.config.stall_timeout_ms = 5000;
    sees(0, 0);
    verdict_is("well");
    sees(3600000, 0);
    verdict_is("overloaded");
    sees(5000, 2500);
    verdict_is("gray");
    sees(5000, 2499);
    verdict_is("overloaded");
    sees(4999, 4999);
    verdict_is("overloaded");
}

static void what_does_not_run_is_dead_or_nothing(void **state)
{
    (void)state;
    made_core.copy.state = COPY_DOWN;
    verdict_is("dead");
    made_core.copy.state = COPY_STARTING;
    made_core.copy.is_crashed = true;
    verdict_is("dead");
    made_core.copy.is_crashed = false;
    made_core.copy.state = COPY_SUSPENDED;
    verdict_is(NULL);
    made_core.has_copy = false;
    verdict_is(NULL);
}

static void a_stall_is_told_in_words(void **state)
{
    (void)state;
    made_core.config.stall_timeout_ms = 5000;
    sees(6000, 6000);
    (void)snprintf(s->facts.stall, sizeof s->facts.stall, "no commit returns for 6.0 s: why not");
    assert_true(warns_of("its copy is gray: no commit returns for 6.0 s: why not"));
    sees(6000, 0);
    assert_true(warns_of("its copy is overloaded: no commit returns for 6.0 s: why not"));
}

static void is_text(const struct service_disk *d, const char *wanted)
{
    char text[SERVICE_DISK_TEXT];

    service_disk_text(d, text);
    assert_string_equal(text, wanted);
}

static void room_is_told_in_words(void **state)
{
    struct service_disk d = { .what = "pg_wal",
                              .size_bytes = UINT64_C(20) << 30,
                              .free_bytes = UINT64_C(1288490189),
                              .full_in_ms = 12000000 };

    (void)state;
    is_text(&d, "the disk of pg_wal has 1.2 GB of 20 GB left (6 %): full in 3 h 20 min at the "
                "present rate");
    d.full_in_ms = HM_NEVER;
    is_text(&d, "the disk of pg_wal has 1.2 GB of 20 GB left (6 %)");
    d.free_bytes = (1 << 20) - 1;
    is_text(&d, "the disk of pg_wal is full: make room");
    d.free_bytes++;
    d.full_in_ms = 119999;
    is_text(&d, "the disk of pg_wal has 1.0 MB of 20 GB left (0 %): full in 119 s at the present "
                "rate");
    d.full_in_ms = INT64_C(86400000) * 9;
    is_text(&d, "the disk of pg_wal has 1.0 MB of 20 GB left (0 %): full in 9 days at the present "
                "rate");
}

static void a_disk_is_short_by_percent_or_by_time(void **state)
{
    struct service_disk d = { .size_bytes = 1000 << 20, .free_bytes = 100 << 20 };

    (void)state;
    d.full_in_ms = HM_NEVER;
    assert_false(service_disk_is_short(&d, &made_settings));
    d.free_bytes--;
    assert_true(service_disk_is_short(&d, &made_settings));
    d.free_bytes = 900 << 20;
    d.full_in_ms = 3600000;
    assert_false(service_disk_is_short(&d, &made_settings));
    d.full_in_ms--;
    assert_true(service_disk_is_short(&d, &made_settings));
    made_settings.disk_warn_minutes = 0;
    made_settings.disk_warn_percent = 0;
    assert_false(service_disk_is_short(&d, &made_settings));
    d.free_bytes = 5;
    assert_true(service_disk_is_short(&d, &made_settings)); /* full is full */
}

static void short_disks_and_hung_votes_are_warned_of(void **state)
{
    (void)state;
    s->facts.disks_n = 1;
    s->facts.disk[0] = (struct service_disk){ .what = "data", .size_bytes = 1 << 30 };
    s->facts.disk[0].full_in_ms = HM_NEVER;
    assert_true(warns_of("pg: on db1 the disk of data is full: make room"));
    s->facts.disk[0].free_bytes = 1 << 29;
    assert_false(warns_of("the disk of data"));
    s->writing_ms = 1999;
    assert_false(warns_of("cannot write its vote"));
    s->writing_ms = 12000;
    assert_true(warns_of("pg: db1 cannot write its vote for 12 s: the disk of state_dir hangs"));
}

static void all_of_it_is_in_the_document(void **state)
{
    json_t *facts = json_object(), *commits, *disk;

    (void)state;
    s->facts.commits = (struct latency_summary){
        .n = 3, .p50_us = 400, .p99_us = 2500, .worst_us = 9000, .worst_at_ms = MADE_NOW_MS - 7000
    };
    s->facts.disks_n = 1;
    s->facts.disk[0] = (struct service_disk){
        .what = "data", .size_bytes = 1 << 30, .free_bytes = 1 << 29, .full_in_ms = 7200000
    };
    assert_int_equal(report_add_health(facts, &made, s), 0);
    commits = json_object_get(facts, "commits");
    assert_int_equal(json_integer_value(json_object_get(commits, "n")), 3);
    assert_true(json_real_value(json_object_get(commits, "p50_ms")) > 0.39);
    assert_int_equal(json_integer_value(json_object_get(commits, "worst_ms_ago")), 7000);
    disk = json_array_get(json_object_get(facts, "disks"), 0);
    assert_int_equal(json_integer_value(json_object_get(disk, "free_bytes")), 1 << 29);
    assert_int_equal(json_integer_value(json_object_get(disk, "full_in_ms")), 7200000);
    assert_true(json_is_false(json_object_get(disk, "is_short")));
    assert_true(json_is_null(json_object_get(facts, "stall")));
    json_decref(facts);
}

static void commits_that_wait_are_told(void **state)
{
    (void)state;
    made_rec->goal = made_rec->durability = DURABILITY_STRICT;
    assert_false(warns_of("commits wait"));
    made_core.view.peer[DB2].gossip.is_streaming = false;
    assert_true(warns_of("pg: commits wait: 1 standby must confirm them, and 0 stream: bring back "
                         "db2 ('hamgr status' there)"));
    s->facts.has_waiting = true;
    s->facts.waiting = 3;
    assert_true(warns_of("and 0 stream; 3 sessions wait now: bring back db2"));
    s->facts.waiting = 1;
    assert_true(warns_of("; 1 session waits now: bring back db2"));
    made_rec->pairs[0] = pair_alone; /* whoever was in it is lost for good */
    assert_true(warns_of("pg: commits wait: no standby is there that may confirm them; 1 session "
                         "waits now: bring back db2"));
    made_rec->goal = made_rec->durability = DURABILITY_SYNC;
    assert_false(warns_of("commits wait"));
}

/* What is told of the standby, limit and all. */
static void replays(hm_ms behind_ms, bool is_paused)
{
    s->facts.replay[DB2] = (struct service_replay){
        .is_known = true, .received = 0x3000060, .replayed = 0x2000060, .behind_ms = behind_ms
    };
    s->facts.is_replay_paused = is_paused;
}

static void who_replays_late_is_told(void **state)
{
    (void)state;
    made_settings.replay_warn_seconds = 30;
    replays(29999, false);
    assert_false(warns_of("behind"));
    replays(30000, false);
    assert_true(warns_of("pg: db2 replays 30 s (16 MB) behind what it has, a takeover would wait "
                         "for that: look for long queries, or a paused replay, there"));
    made_core.view.peer[DB2].gossip.is_delayed = true;
    assert_false(warns_of("behind"));
    made_core.view.peer[DB2].gossip.is_delayed = false;
    made_settings.replay_warn_seconds = 0;
    assert_false(warns_of("behind"));
}

static void a_paused_replay_is_told_at_its_standby(void **state)
{
    (void)state;
    made_well_on_standby();
    made_settings.replay_warn_seconds = 30;
    replays(40000, true);
    assert_true(warns_of("a takeover would wait for that: SELECT pg_wal_replay_resume() there"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, make_well)
    const struct CMUnitTest tests[] = {
        TEST(why_a_rebuild_fails_is_told_to_its_end),
        TEST(taken_connections_are_told),
        TEST(late_is_not_gray),
        TEST(what_does_not_run_is_dead_or_nothing),
        TEST(a_stall_is_told_in_words),
        TEST(room_is_told_in_words),
        TEST(a_disk_is_short_by_percent_or_by_time),
        TEST(short_disks_and_hung_votes_are_warned_of),
        TEST(all_of_it_is_in_the_document),
        TEST(commits_that_wait_are_told),
        TEST(who_replays_late_is_told),
        TEST(a_paused_replay_is_told_at_its_standby),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
