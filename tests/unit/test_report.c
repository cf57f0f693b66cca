#include "daemon/report.h"

#include "tests/unit/made_report.h"

static int begin(void **state)
{
    (void)state;
    made_well();
    return 0;
}

/* Follows a path such as "services/0/members/1/name"; fails where it ends early. */
static const json_t *at(const json_t *j, const char *path)
{
    char part[64];
    size_t n;

    for (; *path != '\0'; path += n + (path[n] == '/')) {
        n = strcspn(path, "/");
        (void)snprintf(part, sizeof part, "%.*s", (int)n, path);
        j = json_is_array(j) ? json_array_get(j, (size_t)(part[0] - '0'))
                             : json_object_get(j, part);
        if (j == NULL)
            fail_msg("no '%s'", part);
    }
    return j;
}

#define MEMBER "services/0/members/"

static void is_text(const json_t *j, const char *path, const char *text)
{
    const char *is = json_string_value(at(j, path));

    if (is == NULL)
        fail_msg("%s is no text", path);
    assert_string_equal(is, text);
}

static void is_number(const json_t *j, const char *path, long long number)
{
    assert_true(json_is_integer(at(j, path)));
    assert_int_equal(json_integer_value(at(j, path)), number);
}

static void is_true(const json_t *j, const char *path, bool is)
{
    assert_true(json_is_boolean(at(j, path)));
    if (json_is_true(at(j, path)) != is)
        fail_msg("%s is not %d", path, (int)is);
}

static void is_null(const json_t *j, const char *path)
{
    assert_true(json_is_null(at(j, path)));
}

/* --- status ----------------------------------------------------------------------------------- */

static void status_tells_the_cluster_and_the_service(void **state)
{
    json_t *j = report_status(&made, NULL);

    (void)state;
    is_text(j, "cluster", "main");
    is_text(j, "node", "db1");
    is_text(j, "software", "hamgr " HAMGR_VERSION);
    assert_int_equal(strlen(json_string_value(at(j, "time"))), 20);
    is_number(j, "uptime_ms", 600000);
    is_number(j, "loop/stall_longest_ms", 3);
    is_null(j, "loop/stall_latest_ms");
    is_text(j, "services/0/name", "pg");
    is_text(j, "services/0/kind", "postgres");
    is_text(j, "services/0/state", "holder");
    is_number(j, "services/0/rule", 119);
    is_text(j, "services/0/why", "it holds the lease");
    is_number(j, "services/0/epoch", 7);
    is_number(j, "services/0/version", 12);
    is_text(j, "services/0/holder", "db1");
    is_number(j, "services/0/lease_left_ms", 1320);
    is_number(j, "services/0/ttl_ms", 1500);
    is_number(j, "services/0/heartbeat_ms", 250);
    is_true(j, "services/0/is_paused", false);
    is_text(j, "services/0/durability", "sync");
    is_text(j, "services/0/goal", "sync");
    is_number(j, "services/0/pairs/0/need", 1);
    is_text(j, "services/0/pairs/0/copies/0", "db2");
    is_null(j, "services/0/switchover");
    is_number(j, "services/0/voters/n", 3);
    is_number(j, "services/0/voters/heard", 3);
    is_number(j, "services/0/voters/majority", 2);
    is_text(j, "services/0/fence/mode", "lease");
    is_number(j, "services/0/fence/left_ms", 1100);
    assert_int_equal(json_array_size(at(j, "warnings")), 0);
    json_decref(j);
}

static void status_tells_each_member(void **state)
{
    json_t *j;

    (void)state;
    made_core.view.peer[DB2].gossip.at.offset = 0x3000000;
    made_core.view.peer[DB2].gossip.priority = 5;
    j = report_status(&made, "pg");
    is_text(j, MEMBER "0/name", "db1");
    is_true(j, MEMBER "0/is_self", true);
    is_true(j, MEMBER "0/is_holder", true);
    is_null(j, MEMBER "0/link");
    is_text(j, MEMBER "0/copy", "primary");
    is_text(j, MEMBER "0/position", "0/3000060");
    is_null(j, MEMBER "0/lag_bytes");
    is_null(j, MEMBER "0/follows");
    is_text(j, MEMBER "0/facts/version", "15.14");
    is_null(j, MEMBER "0/facts/doing");
    is_text(j, MEMBER "1/name", "db2");
    is_text(j, MEMBER "1/address", "10.0.0.2:7420");
    is_true(j, MEMBER "1/is_up", true);
    is_number(j, MEMBER "1/heard_ms_ago", 90);
    is_text(j, MEMBER "1/link", "up");
    is_text(j, MEMBER "1/copy", "standby");
    is_text(j, MEMBER "1/position", "0/3000000");
    is_number(j, MEMBER "1/timeline", 5);
    is_number(j, MEMBER "1/lag_bytes", 0x60);
    is_text(j, MEMBER "1/follows", "db1");
    is_true(j, MEMBER "1/is_streaming", true);
    is_number(j, MEMBER "1/priority", 5);
    is_text(j, MEMBER "2/role", "witness");
    is_true(j, MEMBER "2/is_voter", true);
    assert_null(json_object_get(at(j, MEMBER "2"), "copy"));
    json_decref(j);
}

static void a_standby_tells_the_lease_that_its_voter_granted(void **state)
{
    json_t *j;

    (void)state;
    made_well_on_standby();
    j = report_status(&made, NULL);
    is_text(j, "services/0/holder", "db1");
    is_number(j, "services/0/lease_left_ms", 1400);
    is_null(j, "services/0/fence/left_ms");
    assert_int_equal(json_array_size(at(j, "warnings")), 0);
    json_decref(j);
    made_core.voter.lease.until_ms = MADE_NOW_MS;
    j = report_status(&made, NULL);
    is_null(j, "services/0/lease_left_ms");
    json_decref(j);
}

static void before_the_first_record_the_settings_are_told(void **state)
{
    struct record first;
    json_t *j;

    (void)state;
    first = *made_rec;
    first.epoch = 0;
    made_core.config.first = first;
    memset(&made_core.voter.durable, 0, sizeof made_core.voter.durable);
    made_rec = &made_core.config.first;
    made_core.state = ST_STANDING;
    made_core.rule = 41;
    j = report_status(&made, NULL);
    is_null(j, "services/0/holder");
    is_null(j, "services/0/lease_left_ms");
    is_number(j, "services/0/epoch", 0);
    is_text(j, MEMBER "1/name", "db2");
    is_text(j, "warnings/0", "pg has had no primary yet");
    json_decref(j);
}

static void a_link_that_is_down_tells_why(void **state)
{
    json_t *j;

    (void)state;
    made_heard(W1, 12400);
    made_links[W1] = (struct link_state){ .why = "connection refused" };
    j = report_status(&made, NULL);
    is_text(j, MEMBER "2/link", "connection refused");
    is_true(j, MEMBER "2/is_up", false);
    json_decref(j);
}

static void a_name_chooses_one_service(void **state)
{
    struct settings_service second = made_settings.service[0];
    json_t *j;

    (void)state;
    second.name[1] = 'h';
    made.service[1] = made.service[0];
    made.service[1].settings = &second;
    made.services_n = 2;
    j = report_status(&made, NULL);
    assert_int_equal(json_array_size(at(j, "services")), 2);
    json_decref(j);
    j = report_status(&made, "ph");
    assert_int_equal(json_array_size(at(j, "services")), 1);
    is_text(j, "services/0/name", "ph");
    json_decref(j);
    j = report_status(&made, "none");
    assert_int_equal(json_array_size(at(j, "services")), 0);
    json_decref(j);
}

static void positions_are_written_as_their_kind_writes_them(void **state)
{
    json_t *j;

    (void)state;
    made_core.copy.at.offset = 0x1234abcd5678ull;
    j = report_status(&made, NULL);
    is_text(j, MEMBER "0/position", "1234/ABCD5678");
    is_number(j, MEMBER "1/lag_bytes", 0x1234abcd5678ll - 0x3000060);
    json_decref(j);
    made_rec->kind = SERVICE_REDIS;
    j = report_status(&made, NULL);
    is_text(j, MEMBER "0/position", "20017429960312");
    is_null(j, MEMBER "0/timeline"); /* the number stands for a replication id */
    json_decref(j);
}

/* --- history, members ------------------------------------------------------------------------- */

static void history_tells_the_changes(void **state)
{
    json_t *j = report_history(&made, "pg");

    (void)state;
    is_text(j, "services/0/name", "pg");
    is_number(j, "services/0/changes/0/epoch", 6);
    is_text(j, "services/0/changes/0/holder", "db2");
    is_text(j, "services/0/changes/0/reason", "the lease ran out");
    is_text(j, "services/0/changes/1/time", "2026-11-20T11:00:00Z");
    is_text(j, "services/0/changes/1/reason", "switchover");
    json_decref(j);
}

static void members_are_listed(void **state)
{
    json_t *j;

    (void)state;
    made_rec->member[W1].incarnation = 0;
    j = report_members(&made);
    is_text(j, "members/0/name", "db1");
    is_text(j, "members/0/incarnation", "00000000000000a0");
    is_text(j, "members/2/role", "witness");
    is_null(j, "members/2/incarnation");
    is_number(j, "members/2/heard_ms_ago", 110);
    is_text(j, "members/2/link", "up");
    json_decref(j);
}

/* --- warnings --------------------------------------------------------------------------------- */

static void a_good_day_has_no_warning(void **state)
{
    (void)state;
    made_warns("");
    made_well_on_standby();
    made_warns("");
}

static void a_silent_voter_is_told(void **state)
{
    (void)state;
    made_heard(W1, 1500);
    made_warns("");
    made_heard(W1, 12400);
    made_warns("w1 (witness) has not been heard for 12 s: one failure away from an outage\n");
    made_core.view.peer[W1].is_known = false;
    made_warns("w1 (witness) has not been heard since hamgrd started: one failure away from an "
               "outage\n");
}

static void a_lost_majority_is_told_first(void **state)
{
    (void)state;
    made_heard(DB2, 5000);
    made_heard(W1, 5000);
    made_core.valid_until_ms = HM_PAST;
    made_warns("pg: db1 has no lease: no commit is acknowledged\n"
               "pg: no standby streams: nobody could take over from db1\n"
               "no majority: 1 of 3 voters are heard, 2 are needed: no primary can be chosen\n"
               "db2 (db) has not been heard for 5 s\n"
               "w1 (witness) has not been heard for 5 s\n");
}

static void an_even_number_of_voters_is_told(void **state)
{
    (void)state;
    made_member(3, "w2", ROLE_WITNESS);
    made_core.view.peer[3] = made_core.view.peer[W1];
    made_warns("4 voters survive no more failures than 3: add or remove a witness\n");
}

static void commits_that_do_not_wait_are_told(void **state)
{
    (void)state;
    (void)snprintf(made.service[0].facts.lax, sizeof made.service[0].facts.lax,
                   "synchronous_commit is off for role bob");
    made_warns("pg: synchronous_commit is off for role bob: such commits may be lost in spite of "
               "'sync'\n");
}

static void a_pause_is_told(void **state)
{
    (void)state;
    made_rec->is_paused = true;
    made_warns("pg is paused: nobody takes over if db1 fails; go on with 'hamgr resume'\n");
    made_core.copy.state = COPY_STANDBY; /* somebody restarted the server */
    made_warns("pg is paused, and the server of db1 waits in recovery: 'hamgr resume' promotes it\n"
               "pg: db1 is the holder, but its copy is standby\n");
}

static void a_pause_without_its_primary_is_told_with_the_way_out(void **state)
{
    (void)state;
    made_well_on_standby();
    made_rec->is_paused = true;
    made_core.view.peer[DB1].heard_ms = MADE_NOW_MS - 5000;
    made_warns(
        "pg is paused, and db1 is lost: bring it back, or 'hamgr failover --force' on the member "
        "that is to go on\n"
        "db1 (db) has not been heard for 5 s: one failure away from an outage\n");
}

static void a_standby_that_does_not_stream_is_told(void **state)
{
    (void)state;
    made_well_on_standby();
    made_core.copy.is_streaming = false;
    (void)snprintf(made.service[0].facts.trouble, sizeof made.service[0].facts.trouble,
                   "no pg_hba.conf entry");
    made_warns("pg: db2 does not stream from db1: no pg_hba.conf entry\n"
               "pg: no standby streams: nobody could take over from db1\n");
}

static void a_copy_that_diverged_is_told(void **state)
{
    (void)state;
    made_core.view.peer[DB2].gossip.wants_rebuild = true;
    made_core.view.peer[DB2].gossip.is_streaming = false;
    made_warns("pg: the copy of db2 cannot go on and must be rebuilt\n"
               "pg: no standby streams: nobody could take over from db1\n");
}

static void a_second_primary_is_told(void **state)
{
    (void)state;
    made_core.view.peer[DB2].gossip.copy = COPY_PRIMARY;
    made_warns("pg: db2 runs as a primary, but db1 is the holder: it must be taken down\n"
               "pg: no standby streams: nobody could take over from db1\n");
}

static void a_text_that_is_no_utf8_is_told_all_the_same(void **state)
{
    json_t *j;

    (void)state;
    made_core.copy.is_healthy = false;
    (void)snprintf(made.service[0].facts.trouble, sizeof made.service[0].facts.trouble,
                   "Verbindung abgelehnt f\xfcr hamgr");
    (void)snprintf(made.service[0].facts.concern, sizeof made.service[0].facts.concern,
                   "it refuses writes (OOM)");
    made_links[W1] = (struct link_state){ .why = "cut within \xc3" };
    j = report_status(&made, NULL);
    is_text(j, MEMBER "0/facts/trouble", "Verbindung abgelehnt f?r hamgr");
    is_text(j, MEMBER "0/facts/concern", "it refuses writes (OOM)");
    is_text(j, MEMBER "2/link", "cut within ?");
    is_text(j, "warnings/0",
            "pg: db1 is the holder, but its copy is not healthy: Verbindung "
            "abgelehnt f?r hamgr");
    json_decref(j);
}

static void a_primary_that_is_unwell_is_told(void **state)
{
    (void)state;
    made_core.copy.is_healthy = false;
    made_warns("pg: db1 is the holder, but its copy is not healthy\n");
    made_core.copy.is_healthy = true;
    made_core.copy.state = COPY_SUSPENDED;
    made_warns("pg: db1 is the holder, but its copy is suspended\n");
}

static void a_promise_that_is_not_kept_yet_is_told(void **state)
{
    (void)state;
    made_rec->durability = DURABILITY_ASYNC;
    made_rec->pairs[0] = pair_alone;
    made_warns("pg: 'sync' was asked for, but only 'async' is promised yet\n");
    made_rec->durability = DURABILITY_SYNC;
    made_warns("pg: no standby is in sync: what is committed is on db1 alone\n");
    made_rec->goal = DURABILITY_ASYNC;
    made_rec->durability = DURABILITY_ASYNC;
    made_warns("");
}

static void a_lag_that_forbids_a_takeover_is_told_in_async(void **state)
{
    (void)state;
    made_rec->goal = DURABILITY_ASYNC;
    made_rec->durability = DURABILITY_ASYNC;
    made_rec->pairs[0] = pair_alone;
    made_core.copy.at.offset = 0x3000060 + (16u << 20);
    made_warns("");
    made_core.copy.at.offset++;
    made_warns("pg: db2 is 16777217 bytes behind: more than max_lag_bytes, it cannot take over\n");
}

static void a_weak_fence_is_told(void **state)
{
    (void)state;
    made.service[0].fence.has_gate = false;
    made_warns("pg: the kernel gate does not work on db1\n");
    made_settings.is_gate_on = false;
    made_warns("");
    made_settings.fence = SETTINGS_FENCE_CHILD;
    made_warns(
        "hamgr-fence on db1 is a child of hamgrd: it suspends and kills, but there is no kernel "
        "gate\n");
    made_settings.fence = SETTINGS_FENCE_SOCKET;
    made.service[0].fence.has_lock = false;
    made_warns(
        "hamgr-fence on db1 runs without locked memory: it may be late on a loaded machine\n");
    made.service[0].fence.has_priority = false;
    made_warns(
        "hamgr-fence on db1 runs without locked memory and real-time priority: it may be late "
        "on a loaded machine\n");
    made.service[0].has_fence = false;
    made_warns("pg: hamgr-fence does not answer on db1: it can neither keep nor take the lease\n");
}

static void a_member_that_cannot_take_part_is_told(void **state)
{
    (void)state;
    made_well_on_standby();
    made_core.state = ST_BLANK;
    made_warns("pg: the voter's file of db2 is missing: remove the member and add it again\n");
    made_core.state = ST_STOPPED;
    made_warns(
        "pg: the cluster was forced on without db2: stop hamgrd here, move state_dir, data_dir and "
        "hamgr.conf away, then 'hamgr join'\n");
}

static void a_member_that_is_none_is_told_why(void **state)
{
    (void)state;
    made_well_on_standby();
    made_core.state = ST_OUTSIDE;
    made_warns("pg: the record does not name db2: 'hamgr member add' on the primary adds it\n");
    made_core.is_removed = true;
    made_warns(
        "pg: db2 was removed: its copy is never promoted; stop hamgrd here, or empty state_dir "
        "and data_dir and 'hamgr join' again\n");
    made.is_joining = true;
    made.join_why = "db2 cannot be reached";
    made_warns("pg: db2 asks to be added: db2 cannot be reached\n");
}

static void file_says(size_t i, const char *name, const char *address)
{
    struct settings_member *m = &made_settings.member[i];

    memset(m, 0, sizeof *m);
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    (void)snprintf(m->address, sizeof m->address, "%s", address);
    made_settings.members_n = (uint8_t)(i + 1);
}

static void a_file_that_is_old_is_told(void **state)
{
    const struct member *member = core_record(&made_core)->member;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        file_says(i, member[i].name, member[i].address);
    made_warns("");
    file_says(1, member[1].name, "10.9.9.9:1");
    file_says(2, "db9", "10.9.9.10:1");
    made_warns(
        "the members in the file of db1 are old (db2 is at 10.0.0.2:7420, db9 is no member, w1 is "
        "not in it): see 'hamgr config show'\n");
}

static void a_disk_that_takes_no_votes_is_told(void **state)
{
    (void)state;
    made_well();
    strcpy(made_settings.state_dir, "/var/lib/hamgr");
    made.service[0].write_why = "No space left on device";
    made_warns("pg: db1 cannot write its votes (No space left on device): look at the disk of "
               "/var/lib/hamgr\n");
    made.service[0].write_why = "";
    made_warns("");
}

static void a_stall_is_told_for_an_hour(void **state)
{
    (void)state;
    made.now_ms += 4000000;
    made_core.view.peer[DB2].heard_ms = made.now_ms;
    made_core.view.peer[W1].heard_ms = made.now_ms;
    made_core.valid_until_ms = made.now_ms + 1000;
    made.stall_latest_ms = 800;
    made.stall_at_ms = made.now_ms - 3599999;
    made_warns("hamgrd on db1 stood still for 800 ms, 59 min ago\n");
    made.stall_at_ms--;
    made.sentinel_trouble = "why";
    made_warns("clients of Redis cannot ask db1 where the primary is: why\n");
}

static void lines_end_where_the_room_ends(void **state)
{
    char lines[2][REPORT_WARNING_SIZE];

    (void)state;
    made_heard(DB2, 5000);
    made_heard(W1, 5000);
    made_core.valid_until_ms = HM_PAST;
    assert_int_equal(report_warnings(&made, lines, 2), 2);
    assert_int_equal(report_warnings(&made, lines, 0), 0);
    memset(made_settings.node, 'x', sizeof made_settings.node - 1);
    memset(made.service[0].fence.why, 'y', sizeof made.service[0].fence.why - 1);
    made_core.valid_until_ms = MADE_NOW_MS + 1;
    assert_int_equal(report_warnings(&made, lines, 2), 2);
    assert_true(strlen(lines[1]) < REPORT_WARNING_SIZE);
}

static void a_cluster_of_the_largest_size_is_told(void **state)
{
    json_t *j;

    (void)state;
    for (unsigned slot = 3; slot < HM_MEMBERS_MAX; slot++) {
        made_member(slot, "m", ROLE_DB);
        made_core.view.peer[slot] = made_core.view.peer[DB2];
    }
    made.links = NULL;
    for (size_t i = 1; i < HM_SERVICES_MAX; i++)
        made.service[i] = made.service[0];
    made.services_n = HM_SERVICES_MAX;
    j = report_status(&made, NULL);
    assert_int_equal(json_array_size(at(j, "services")), HM_SERVICES_MAX);
    assert_int_equal(json_array_size(at(j, "services/0/members")), HM_MEMBERS_MAX);
    is_null(j, MEMBER "8/link");
    json_decref(j);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(status_tells_the_cluster_and_the_service),
        TEST(status_tells_each_member),
        TEST(a_standby_tells_the_lease_that_its_voter_granted),
        TEST(before_the_first_record_the_settings_are_told),
        TEST(a_link_that_is_down_tells_why),
        TEST(a_name_chooses_one_service),
        TEST(positions_are_written_as_their_kind_writes_them),
        TEST(history_tells_the_changes),
        TEST(members_are_listed),
        TEST(a_good_day_has_no_warning),
        TEST(a_silent_voter_is_told),
        TEST(a_lost_majority_is_told_first),
        TEST(an_even_number_of_voters_is_told),
        TEST(commits_that_do_not_wait_are_told),
        TEST(a_pause_is_told),
        TEST(a_pause_without_its_primary_is_told_with_the_way_out),
        TEST(a_standby_that_does_not_stream_is_told),
        TEST(a_copy_that_diverged_is_told),
        TEST(a_primary_that_is_unwell_is_told),
        TEST(a_second_primary_is_told),
        TEST(a_text_that_is_no_utf8_is_told_all_the_same),
        TEST(a_promise_that_is_not_kept_yet_is_told),
        TEST(a_lag_that_forbids_a_takeover_is_told_in_async),
        TEST(a_weak_fence_is_told),
        TEST(a_member_that_cannot_take_part_is_told),
        TEST(a_member_that_is_none_is_told_why),
        TEST(a_file_that_is_old_is_told),
        TEST(a_disk_that_takes_no_votes_is_told),
        TEST(a_stall_is_told_for_an_hour),
        TEST(lines_end_where_the_room_ends),
        TEST(a_cluster_of_the_largest_size_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
