/* What INFO of real servers (7.0.15, and what differs in 6.2 and in Valkey) says, and what is left
 * of it when it is garbage. */
#include "redis/info.h"

#include "core/record.h"
#include "tests/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER                                                                                     \
    "# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:00000000\r\nredis_mode:standalone\r\n"     \
    "process_id:19740\r\nprocess_supervised:no\r\n"                                                \
    "run_id:382b67dff71a71ab868a0c22779e2f259fb4776e\r\ntcp_port:16701\r\n"                        \
    "executable:/usr/bin/redis-server\r\nconfig_file:\r\nio_threads_active:0\r\n"
#define PERSISTENCE                                                                                \
    "# Persistence\r\nloading:0\r\nasync_loading:0\r\nrdb_changes_since_last_save:0\r\n"           \
    "rdb_last_bgsave_status:ok\r\naof_enabled:0\r\naof_last_bgrewrite_status:ok\r\n"               \
    "aof_last_write_status:ok\r\n"
#define IDS                                                                                        \
    "master_failover_state:no-failover\r\n"                                                        \
    "master_replid:0baeb1cfe55554c0ea5712698d3ba09e1d233011\r\n"                                   \
    "master_replid2:46772187ca90203101204a92cf22addd73f4eea8\r\n"
#define MASTER                                                                                     \
    "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n"                                       \
    "slave0:ip=127.0.0.2,port=16703,state=online,offset=53,lag=1\r\n"                              \
    "slave1:ip=::1,port=16702,state=wait_bgsave,offset=0,lag=0\r\n" IDS                            \
    "master_repl_offset:56\r\nsecond_repl_offset:12\r\nrepl_backlog_active:1\r\n"
#define REPLICA_OF "# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:16701\r\n"

static struct info info;
static const char *why;

static bool parse(const char *text)
{
    why = "";
    memset(&info, 0xee, sizeof info);
    return info_parse(text, strlen(text), &info, &why);
}

static void a_primary_tells_where_it_is_and_who_follows(void **state)
{
    (void)state;
    assert_true(parse(PERSISTENCE MASTER SERVER));
    assert_string_equal(info.version, "7.0.15");
    assert_string_equal(info.run_id, "382b67dff71a71ab868a0c22779e2f259fb4776e");
    assert_int_equal(info.pid, 19740);
    assert_int_equal(info.port, 16701);
    assert_true(info.is_master && !info.is_loading && !info.is_syncing && !info.is_linked);
    assert_string_equal(info.replication_id, "0baeb1cfe55554c0ea5712698d3ba09e1d233011");
    assert_string_equal(info.second_id, "46772187ca90203101204a92cf22addd73f4eea8");
    assert_int_equal(info.second_offset, 12);
    assert_int_equal(info.master_offset, 56);
    assert_int_equal(info.replica_offset, 56);
    assert_true(info.is_save_ok && info.is_append_ok && info_is_whole(&info));
    assert_int_equal(info.replicas_n, 2);
    assert_string_equal(info.replica[0].address, "127.0.0.2");
    assert_int_equal(info.replica[0].port, 16703);
    assert_true(info.replica[0].is_online);
    assert_int_equal(info.replica[0].offset, 53);
    assert_string_equal(info.replica[1].address, "::1");
    assert_false(info.replica[1].is_online);
}

static void a_replica_tells_whom_it_follows(void **state)
{
    (void)state;
    assert_true(parse(SERVER PERSISTENCE REPLICA_OF
                      "master_link_status:up\r\nmaster_last_io_seconds_ago:1\r\n"
                      "master_sync_in_progress:0\r\nslave_read_repl_offset:70\r\n"
                      "slave_repl_offset:70\r\n" IDS "master_repl_offset:70\r\n"));
    assert_false(info.is_master);
    assert_string_equal(info.master_host, "127.0.0.1");
    assert_int_equal(info.master_port, 16701);
    assert_true(info.is_linked && !info.is_syncing && info_is_whole(&info));
    assert_int_equal(info.master_offset, 70);
    assert_int_equal(info.second_offset, -1);
    assert_int_equal(info.replicas_n, 0);
}

/* Measured: while the new data is received the old is there; then it is flushed, and the server
 * remembers no master any more, even if nothing comes of it. */
static void half_a_resynchronisation_is_not_whole(void **state)
{
    const char *received = SERVER PERSISTENCE REPLICA_OF
        "master_link_status:down\r\nmaster_sync_in_progress:1\r\nslave_repl_offset:53\r\n" IDS
        "master_repl_offset:53\r\n";
    const char *loaded =
        SERVER REPLICA_OF "loading:1\r\nmaster_link_status:down\r\nmaster_sync_in_progress:1\r\n"
                          "slave_repl_offset:1\r\n" IDS "master_repl_offset:53\r\n";
    const char *given_up = SERVER PERSISTENCE REPLICA_OF
        "master_link_status:down\r\nmaster_sync_in_progress:0\r\nslave_repl_offset:1\r\n" IDS
        "master_repl_offset:53\r\n";

    (void)state;
    assert_true(parse(received) && info.is_syncing && info_is_whole(&info));
    assert_true(parse(loaded) && info.is_syncing && info.is_loading && !info_is_whole(&info));
    assert_true(parse(given_up) && !info.is_syncing && !info_is_whole(&info));
}

/* Started with "replicaof" in its file, and nothing was there to load. */
static void a_new_replica_is_whole_and_has_nothing(void **state)
{
    (void)state;
    assert_true(parse(SERVER PERSISTENCE REPLICA_OF
                      "master_link_status:down\r\nmaster_sync_in_progress:0\r\n"
                      "slave_repl_offset:1\r\n" IDS "master_repl_offset:0\r\n"));
    assert_true(info_is_whole(&info) && info.master_offset == 0);
}

static void a_server_that_reads_its_file_is_loading(void **state)
{
    (void)state;
    assert_true(parse(SERVER "loading:1\r\nloading_loaded_perc:0.90\r\n" MASTER));
    assert_true(info.is_loading && !info_is_whole(&info));
}

static void writes_that_fail_are_told(void **state)
{
    (void)state;
    assert_true(parse(SERVER MASTER "loading:0\nrdb_last_bgsave_status:err\n"));
    assert_true(!info.is_save_ok && info.is_append_ok);
    assert_true(parse(SERVER MASTER "loading:0\naof_last_write_status:err\n"));
    assert_true(info.is_save_ok && !info.is_append_ok);
}

static void valkey_speaks_the_same(void **state)
{
    (void)state;
    assert_true(parse(PERSISTENCE MASTER
                      "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n"
                      "process_id:7\r\nrun_id:382b67dff71a71ab868a0c22779e2f259fb4776e\r\n"));
    assert_string_equal(info.version, "7.2.4");
    assert_string_equal(info.valkey, "8.0.1");
}

/* --- what is not there, and what is too much ---------------------------------------------------
 */

static void what_is_missing_is_named(void **state)
{
    (void)state;
    assert_false(parse(""));
    assert_string_equal(why, "INFO does not tell redis_version");
    assert_false(parse(SERVER MASTER));
    assert_string_equal(why, "INFO does not tell loading");
    assert_false(parse(SERVER PERSISTENCE));
    assert_string_equal(why, "INFO does not tell role");
    assert_false(parse(SERVER PERSISTENCE REPLICA_OF IDS "master_repl_offset:5\r\n"));
    assert_string_equal(why, "INFO does not tell master_link_status");
    assert_false(parse(PERSISTENCE MASTER "redis_version:7.0.15\r\nprocess_id:1\r\nrun_id:38\r\n"));
    assert_string_equal(why, "INFO does not tell run_id");
    assert_false(parse(PERSISTENCE SERVER IDS "role:sentinel\r\nmaster_repl_offset:1\r\n"));
    assert_string_equal(why, "INFO does not tell role");
    assert_false(parse(PERSISTENCE SERVER IDS "role:master\r\nmaster_repl_offset:-1\r\n"));
    assert_string_equal(why, "INFO does not tell master_repl_offset");
}

/* Every cut of a text gives a whole answer or names what is missing, and reads nothing behind it.
 */
static void a_text_that_is_cut_is_no_danger(void **state)
{
    static const char text[] = PERSISTENCE MASTER SERVER;
    unsigned int whole = 0;

    (void)state;
    for (size_t size = 0; size < sizeof text; size++) {
        char *copy = malloc(size + 1);

        assert_non_null(copy);
        memcpy(copy, text, size);
        why = NULL;
        if (info_parse(copy, size, &info, &why))
            whole++;
        else
            assert_non_null(why);
        free(copy);
    }
    assert_true(whole > 0);
}

static void lines_that_are_too_long_or_no_lines_are_skipped(void **state)
{
    char text[8192] = PERSISTENCE MASTER SERVER "garbage\r\n:\r\n::\r\nkey:\r\nslave:\r\nslave9\r\n"
                                                "slave2:\r\nslave3:=,,ip=,port=x\r\nloading";
    size_t n = strlen(text);

    (void)state;
    memset(text + n, 'x', sizeof text - n - 1);
    assert_true(parse(text));
    assert_int_equal(info.replicas_n, 2);
}

static void more_replicas_than_fit_are_left_out(void **state)
{
    char text[8192] = SERVER PERSISTENCE MASTER;

    (void)state;
    for (unsigned int i = 2; i < INFO_REPLICAS_MAX + 5; i++) {
        size_t n = strlen(text);

        (void)snprintf(text + n, sizeof text - n,
                       "slave%u:ip=10.0.0.%u,port=1,state=online,offset=%u,lag=0\r\n", i, i, i);
    }
    assert_true(parse(text));
    assert_int_equal(info.replicas_n, INFO_REPLICAS_MAX);
    assert_string_equal(info.replica[INFO_REPLICAS_MAX - 1].address, "10.0.0.17");
}

static void numbers_that_cannot_be_are_not_taken(void **state)
{
    (void)state;
    assert_true(parse(SERVER PERSISTENCE MASTER
                      "slave2:ip=1.1.1.1,port=99999,state=online,offset=99999999999999999999\r\n"));
    assert_int_equal(info.replica[2].port, 0);
    assert_int_equal(info.replica[2].offset, 0);
    assert_false(parse(PERSISTENCE SERVER "role:master\r\n" IDS
                                          "master_repl_offset:9223372036854775808\r\n"));
    assert_true(parse(PERSISTENCE SERVER "role:master\r\n" IDS
                                         "master_repl_offset:9223372036854775807\r\n"));
}

/* --- ids ------------------------------------------------------------------------------------- */

static void ids_are_numbers_that_differ(void **state)
{
    const char *a = "0baeb1cfe55554c0ea5712698d3ba09e1d233011";
    const char *b = "0baeb1cfe55554c0ea5712698d3ba09e1d233012";

    (void)state;
    assert_true(info_timeline(a) != 0 && info_timeline(a) != info_timeline(b));
    assert_true((info_timeline(a) & HM_TIMELINE_OPEN) == 0);
    assert_true((info_timeline(b) & HM_TIMELINE_OPEN) == 0);
    assert_true(info_timeline(a) == info_timeline(a));
    assert_true(info_copy_id(a, 0) != 0 && info_copy_id(a, 0) != info_copy_id(a, 1));
    assert_true(info_copy_id(a, 0) != info_copy_id(b, 0));
    assert_true(info_copy_id(a, 3) == info_copy_id(a, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_tells_where_it_is_and_who_follows),
        cmocka_unit_test(a_replica_tells_whom_it_follows),
        cmocka_unit_test(half_a_resynchronisation_is_not_whole),
        cmocka_unit_test(a_new_replica_is_whole_and_has_nothing),
        cmocka_unit_test(a_server_that_reads_its_file_is_loading),
        cmocka_unit_test(writes_that_fail_are_told),
        cmocka_unit_test(valkey_speaks_the_same),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(a_text_that_is_cut_is_no_danger),
        cmocka_unit_test(lines_that_are_too_long_or_no_lines_are_skipped),
        cmocka_unit_test(more_replicas_than_fit_are_left_out),
        cmocka_unit_test(numbers_that_cannot_be_are_not_taken),
        cmocka_unit_test(ids_are_numbers_that_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
