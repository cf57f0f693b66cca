/* What a stretch of diverged log held, and the folders in which it is kept. */
#include "postgres/lost.h"
#include "postgres/lost_files.h"

#include "tests/cm.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct lost lost;
static char folder[64];

static int begin(void **state)
{
    (void)state;
    memset(&lost, 0, sizeof lost);
    (void)snprintf(lost.service, sizeof lost.service, "pg");
    (void)snprintf(lost.id, sizeof lost.id, "pg-20261121T010145Z-1-3017128");
    (void)snprintf(folder, sizeof folder, "/tmp/hamgr-lost-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int end(void **state)
{
    char command[96];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* --- lines -------------------------------------------------------------------------------------
 */

static void takes(const char *manager, unsigned xid, const char *desc)
{
    char line[400];

    (void)snprintf(line, sizeof line,
                   "rmgr: %-11s len (rec/tot):     59/    59, tx: %10u, lsn: 1/%08X, prev "
                   "1/01952C38, desc: %s",
                   manager, xid, 0x1000 + xid, desc);
    lost_take_line(&lost, line);
}

static void transactions_and_rows_are_counted(void **state)
{
    (void)state;
    takes("Heap", 742, "INSERT off 5 flags 0x08, blkref #0: rel 1663/5/16384 blk 0");
    takes("Heap", 742, "INSERT+INIT off 1 flags 0x00, blkref #0: rel 1663/5/16384 blk 1");
    takes("Btree", 742, "INSERT_LEAF off 3, blkref #0: rel 1663/5/16390 blk 1");
    takes("Transaction", 742, "COMMIT 2026-11-21 01:01:43.277876 UTC; inval msgs: catcache 50");
    takes("Heap", 743,
          "HOT_UPDATE off 1 xmax 743 flags 0x60 ; new off 2 xmax 0, blkref #0: rel "
          "1663/5/16384 blk 0");
    takes("Heap", 743, "DELETE off 2 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/7/99 blk 0");
    takes("Heap", 743, "LOCK off 2: xid 743: flags 0x00 LOCK_ONLY, blkref #0: rel 1663/7/98 blk 0");
    takes("Transaction", 743, "ABORT 2026-11-21 01:01:43.300000 UTC");
    takes("Heap2", 744, "MULTI_INSERT 3 tuples flags 0x02, blkref #0: rel 1663/5/16384 blk 2");
    takes("Heap2", 0,
          "PRUNE latestRemovedXid 0 nredirected 0 ndead 1, blkref #0: rel 1663/5/1 blk 0");
    takes("Heap", 746,
          "UPDATE off 1 xmax 746 flags 0x00 ; new off 1 xmax 0, blkref #0: rel "
          "1663/5/16384 blk 9, blkref #1: rel 1663/5/16384 blk 1");
    takes("Transaction", 745, "COMMIT 2026-11-21 01:02:00 UTC; subxacts: 746 747");
    takes("Transaction", 800, "COMMIT_PREPARED 744: 2026-11-21 01:03:00 UTC; gid x");
    takes("Transaction", 750, "PREPARE gid y: 2026-11-21 01:03:00 UTC");
    lost_take_line(&lost, "pg_waldump: error: whatever");
    lost_take_line(&lost, "rmgr: Heap");
    lost_end(&lost);
    assert_int_equal(lost.committed, 3);
    assert_int_equal(lost.aborted, 1);
    assert_int_equal(lost.records, 14);
    assert_int_equal(lost.unfinished, 2); /* 750, and 800, which only ended another */
    assert_int_equal(lost.commits_n, 3);
    assert_int_equal(lost.commit[0].xid, 742);
    assert_true(lost.commit[0].at == 0x1000012e6);
    assert_string_equal(lost.commit[0].time, "2026-11-21 01:01:43.277876 UTC");
    assert_int_equal(lost.commit[2].xid, 744);
    assert_string_equal(lost.first, "2026-11-21 01:01:43.277876 UTC");
    assert_string_equal(lost.last, "2026-11-21 01:03:00 UTC");
    assert_int_equal(lost.tables_n, 2);
    assert_int_equal(lost.table[0].file, 16384); /* the one with most */
    assert_int_equal(lost.table[0].inserted, 5);
    assert_int_equal(lost.table[0].updated, 2);
    assert_int_equal(lost.table[1].database, 7);
    assert_int_equal(lost.table[1].deleted, 1);
}

static void long_lists_have_an_end(void **state)
{
    char rel[64];

    (void)state;
    for (unsigned i = 1; i <= LOST_COMMITS_MAX + 5; i++)
        takes("Transaction", i, "COMMIT 2026-11-21 01:00:00 UTC");
    for (unsigned i = 1; i <= LOST_TABLES_MAX + 5; i++) {
        (void)snprintf(rel, sizeof rel, "INSERT off 1, blkref #0: rel 1/2/%u blk 0", i);
        takes("Heap", 1, rel);
    }
    assert_int_equal(lost.committed, LOST_COMMITS_MAX + 5);
    assert_int_equal(lost.commits_n, LOST_COMMITS_MAX);
    assert_int_equal(lost.tables_n, LOST_TABLES_MAX);
    assert_int_equal(lost.unfinished, 0);
    assert_true(lost.is_full);
    for (unsigned i = 1; i <= LOST_XIDS + 5; i++)
        takes("Standby", i, "LOCK");
    assert_int_equal(lost.unfinished, LOST_XIDS_MAX - LOST_COMMITS_MAX - 5);
    lost_end(&lost);
    assert_non_null(strstr(lost.why, "more tables or transactions than are listed"));
}

static void the_summary_is_json(void **state)
{
    char text[8192];
    FILE *out = fmemopen(text, sizeof text, "w");
    json_t *j, *table;

    (void)state;
    assert_non_null(out);
    takes("Heap", 742, "INSERT off 5, blkref #0: rel 1663/5/16384 blk 0");
    takes("Transaction", 742, "COMMIT 2026-11-21 01:01:43 UTC");
    lost.databases_n = 1;
    lost.database[0].oid = 5;
    (void)snprintf(lost.database[0].name, sizeof lost.database[0].name, "shop");
    (void)snprintf(lost.table[0].name, sizeof lost.table[0].name, "public.\"a\\\tb\"");
    lost.from = 0x100000010;
    lost.upto = 0x100000020;
    assert_true(lost_print_json(&lost, out));
    assert_int_equal(fclose(out), 0);
    j = json_loads(text, 0, NULL);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "from")), "1/10");
    assert_int_equal(json_integer_value(json_object_get(j, "bytes")), 16);
    assert_int_equal(json_array_size(json_object_get(j, "commits")), 1);
    table = json_array_get(json_object_get(j, "tables"), 0);
    assert_string_equal(json_string_value(json_object_get(table, "table")), "public.\"a\\\tb\"");
    assert_string_equal(json_string_value(json_object_get(table, "database")), "shop");
    json_decref(j);
}

/* --- where it parted ---------------------------------------------------------------------------
 */

static void a_fork_is_where_the_record_went_on(void **state)
{
    struct record r = { .timelines_n = 0 };
    struct wal_history h = { .n = 3, .timeline = { 1, 2, 9 }, .end = { 100, 260, UINT64_MAX } };
    struct position at = { .timeline = 2, .offset = 300 };

    (void)state;
    record_add_timeline(&r, 1, 1, 0);
    record_add_timeline(&r, 2, 2, 100);
    record_add_timeline(&r, 3, 3, 250);
    assert_int_equal(lost_fork(&r, &at, 2, &h), 250);
    at.offset = 250;
    assert_true(lost_fork(&r, &at, 2, &h) == UINT64_MAX); /* not a byte too much */
    at = (struct position){ .timeline = 3, .offset = 900 };
    assert_true(lost_fork(&r, &at, 3, &h) == UINT64_MAX);
    /* The same number, begun by somebody else: it parted where that timeline began. */
    h = (struct wal_history){ .n = 2, .timeline = { 2, 3 }, .end = { 240, UINT64_MAX } };
    assert_int_equal(lost_fork(&r, &at, 7, &h), 240);
    /* A number that the record does not know: with its parent, where the record left that. */
    h = (struct wal_history){ .n = 3, .timeline = { 1, 2, 9 }, .end = { 100, 260, UINT64_MAX } };
    at = (struct position){ .timeline = 9, .offset = 900 };
    assert_int_equal(lost_fork(&r, &at, 0, &h), 250);
    h = (struct wal_history){ .n = 1, .timeline = { 9 }, .end = { UINT64_MAX } };
    assert_int_equal(lost_fork(&r, &at, 0, &h), 0); /* nothing in common that is known */
}

/* --- folders -----------------------------------------------------------------------------------
 */

static void make_folder(const char *name, size_t bytes)
{
    char path[256];
    FILE *out;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/%s/000000010000000000000003", folder, name);
    out = fopen(path, "we");
    assert_non_null(out);
    assert_int_equal(fseek(out, (long)bytes - 1, SEEK_SET), 0);
    assert_int_equal(fputc(0, out), 0);
    assert_int_equal(fclose(out), 0);
}

static bool is_there(const char *name)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* There is no control file here, so no log can be copied; the folder and its summary still come. */
static void a_summary_is_kept_even_when_the_log_is_not(void **state)
{
    (void)state;
    make_folder("pg-20261121T010100Z-1-9.part", 10);
    assert_true(lost_keep(folder, "/nonexistent", 1 << 20, &lost));
    assert_false(is_there("pg-20261121T010100Z-1-9.part")); /* it was cut short */
    assert_int_equal(lost.kept_bytes, 0);
    assert_true(lost.why[0] != 0);
    assert_true(lost_write(folder, &lost));
    assert_true(is_there("pg-20261121T010145Z-1-3017128/summary.json"));
    assert_true(is_there("pg-20261121T010145Z-1-3017128/summary.txt"));
    assert_false(is_there("pg-20261121T010145Z-1-3017128.part"));
}

/* "pg" and "pg-old" share the directory, and the names of one begin as those of the other. */
static void folders_of_other_services_are_left_alone(void **state)
{
    (void)state;
    make_folder("pg-old-20261121T010100Z-1-9.part", 10);
    make_folder("pg-1-20261121T010100Z-1-3017128", 10);
    make_folder("pg-20261121T010100Z-1-9.part", 10);
    assert_true(lost_keep(folder, "/nonexistent", 1 << 20, &lost));
    assert_true(is_there("pg-old-20261121T010100Z-1-9.part"));
    assert_true(is_there("pg-1-20261121T010100Z-1-3017128"));
    assert_false(is_there("pg-20261121T010100Z-1-9.part"));
}

static void an_attempt_of_the_same_second_is_begun_anew(void **state)
{
    (void)state;
    make_folder("pg-20261121T010145Z-1-3017128.part", 10);
    assert_true(lost_keep(folder, "/nonexistent", 1 << 20, &lost));
    assert_false(is_there("pg-20261121T010145Z-1-3017128.part/000000010000000000000003"));
    assert_true(lost_write(folder, &lost));
}

/* Who may write there must not choose what is removed elsewhere. */
static void a_link_is_not_followed_when_folders_are_removed(void **state)
{
    char path[128];

    (void)state;
    make_folder("dear", 10);
    (void)snprintf(path, sizeof path, "%s/pg-20261121T010100Z-1-9.part", folder);
    assert_int_equal(symlink("dear", path), 0);
    assert_true(lost_keep(folder, "/nonexistent", 1 << 20, &lost));
    assert_true(is_there("dear/000000010000000000000003"));
}

static void the_same_stretch_is_not_set_aside_twice(void **state)
{
    (void)state;
    make_folder("pg-20261120T000000Z-1-3017128", 10);
    assert_false(lost_keep(folder, "/nonexistent", 1 << 20, &lost));
    assert_string_equal(lost.why, "");
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        STORY(transactions_and_rows_are_counted),
        STORY(long_lists_have_an_end),
        STORY(the_summary_is_json),
        STORY(a_fork_is_where_the_record_went_on),
        STORY(a_summary_is_kept_even_when_the_log_is_not),
        STORY(folders_of_other_services_are_left_alone),
        STORY(an_attempt_of_the_same_second_is_begun_anew),
        STORY(a_link_is_not_followed_when_folders_are_removed),
        STORY(the_same_stretch_is_not_set_aside_twice),
    };

    return cmocka_run_group_tests_name("lost", tests, NULL, NULL);
}
