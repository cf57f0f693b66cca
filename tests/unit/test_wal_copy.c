/* Tail rescue, the bytes: what a standby lacks is gathered, checked, and put in place. */
#include "postgres/wal_copy.h"

#include "tests/unit/made_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct made_log made; /* what the dead primary has */
static char folder[64], primary[128], standby[128];
static const struct wal_control control = { .system_id = 0x1122334455667788,
                                            .segment_bytes = LOG_SEGMENT,
                                            .page_bytes = LOG_PAGE };
static struct wal_range range;
static struct hm_err err;

/* --- directories ------------------------------------------------------------------------------ */

static void segment_path(char path[512], const char *data_dir, uint64_t at)
{
    char name[WAL_NAME_MAX];

    wal_segment_name(name, range.timeline, at, LOG_SEGMENT);
    (void)snprintf(path, 512, "%s/pg_wal/%s", data_dir, name);
}

/* A whole segment file with the log's bytes up to `upto`, and `rest` behind them. */
static void write_segment(const char *data_dir, uint64_t at, uint64_t upto, int rest)
{
    unsigned char *bytes = malloc(LOG_SEGMENT);
    size_t n = upto > at ? (size_t)(upto - at) : 0;
    char path[512];
    int fd;

    assert_non_null(bytes);
    memset(bytes, rest, LOG_SEGMENT);
    memcpy(bytes, made.bytes + (at - LOG_BASE), n < LOG_SEGMENT ? n : LOG_SEGMENT);
    segment_path(path, data_dir, at);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, LOG_SEGMENT), LOG_SEGMENT);
    assert_int_equal(close(fd), 0);
    free(bytes);
}

static void read_segment(const char *data_dir, uint64_t at, unsigned char *ret)
{
    assert_int_equal(wal_read_bytes(data_dir, LOG_SEGMENT, range.timeline, at - at % LOG_SEGMENT,
                                    ret, LOG_SEGMENT, &err),
                     HM_OK);
}

static int make_folders(void **state)
{
    char path[256];

    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/hamgr-copy-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(primary, sizeof primary, "%s/primary", folder);
    (void)snprintf(standby, sizeof standby, "%s/standby", folder);
    for (unsigned i = 0; i < 2; i++) {
        const char *dir = i == 0 ? primary : standby;

        (void)snprintf(path, sizeof path, "%s/pg_wal", dir);
        if (mkdir(dir, 0700) != 0 || mkdir(path, 0700) != 0)
            return -1;
    }
    return 0;
}

static int remove_folders(void **state)
{
    char command[128];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* A standby that received up to `received`, and replayed up to the record that ends at `replayed`.
 */
static void a_standby(uint64_t replayed, uint64_t received, int rest)
{
    range = (struct wal_range){ .timeline = made.timeline,
                                .replayed = replayed,
                                .received = received,
                                .upto = made.end,
                                .segment_bytes = LOG_SEGMENT,
                                .page_bytes = LOG_PAGE };
    for (uint64_t at = LOG_BASE; at < made.end; at += LOG_SEGMENT)
        write_segment(primary, at, made.end, 0);
    for (uint64_t at = LOG_BASE; at < received; at += LOG_SEGMENT)
        write_segment(standby, at, received, rest);
}

/* --- the way from here to there --------------------------------------------------------------- */

static enum hm_rc add_all(void)
{
    unsigned char bytes[WAL_PIECE_MAX];
    enum hm_rc rc = HM_OK;

    for (uint64_t at = wal_range_first(&range); rc == HM_OK && at < range.upto;) {
        uint64_t in_segment = LOG_SEGMENT - at % LOG_SEGMENT;
        size_t n = sizeof bytes;

        if (n > range.upto - at)
            n = (size_t)(range.upto - at);
        if (n > in_segment)
            n = (size_t)in_segment;
        assert_int_equal(wal_read_bytes(primary, LOG_SEGMENT, range.timeline, at, bytes, n, &err),
                         HM_OK);
        rc = wal_gather_add(standby, &range, at, bytes, n, &err);
        at += n;
    }
    return rc;
}

static void is_gone(void)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/pg_wal/hamgr-rescue", standby);
    assert_int_equal(access(path, F_OK), -1);
}

static void rescues(void)
{
    char log_dir[256];
    uint64_t end = 0;

    assert_int_equal(wal_gather_begin(standby, &range, &err), HM_OK);
    assert_int_equal(add_all(), HM_OK);
    if (wal_gather_end(standby, &control, &range, &err) != HM_OK)
        fail_msg("%s", err.text);
    is_gone();
    (void)snprintf(log_dir, sizeof log_dir, "%s/pg_wal", standby);
    assert_int_equal(
        wal_check(standby, log_dir, &control, range.timeline, range.replayed, true, &end, &err),
        HM_OK);
    assert_true(end == range.upto);
}

/* --- stories ---------------------------------------------------------------------------------- */

static void what_is_missing_is_joined_in_one_segment(void **state)
{
    static unsigned char before[LOG_SEGMENT], after[LOG_SEGMENT];
    uint64_t at;

    (void)state;
    log_begin(&made, 1);
    log_fill(&made, LOG_BASE + 50000, 100);
    at = made.end;
    log_fill(&made, LOG_BASE + 90000, 300);
    a_standby(at, at, 0xee); /* a file that was used before: garbage behind the end */
    read_segment(standby, at, before);
    rescues();
    read_segment(standby, at, after);
    assert_memory_equal(before, after, at % LOG_SEGMENT);
    for (uint64_t i = made.end; i % LOG_PAGE != 0; i++)
        assert_int_equal(after[i % LOG_SEGMENT], 0); /* the rest of the last page */
    assert_int_equal(after[LOG_SEGMENT - 1], 0xee);  /* and no byte more */
}

static void missing_segments_come_whole(void **state)
{
    struct stat st;
    char path[512];
    uint64_t at;

    (void)state;
    log_begin(&made, 3);
    log_fill(&made, LOG_BASE + LOG_SEGMENT - 20000, 500);
    at = made.end;
    log_fill(&made, LOG_BASE + 3 * LOG_SEGMENT + 777, 5000);
    a_standby(at, at, 0);
    write_segment(standby, LOG_BASE + 2 * LOG_SEGMENT, 0, 0xdd); /* kept for later use */
    rescues();
    for (uint64_t s = LOG_BASE; s < made.end; s += LOG_SEGMENT) {
        segment_path(path, standby, s);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, LOG_SEGMENT);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_nlink, 1);
    }
}

/* The receiver wrote half a record; more of the log is not replayed yet. */
static void a_torn_end_is_completed(void **state)
{
    uint64_t replayed, begin;

    (void)state;
    log_begin(&made, 1);
    log_fill(&made, LOG_BASE + 40000, 64);
    replayed = made.end;
    log_fill(&made, LOG_BASE + LOG_SEGMENT - 3000, 700);
    begin = log_add(&made, 20000); /* goes over the border */
    a_standby(replayed, begin + 2900, 0);
    rescues();
}

static void ends_at_borders_are_ends_too(void **state)
{
    (void)state;
    for (uint64_t received = LOG_BASE + LOG_SEGMENT - LOG_PAGE; received <= LOG_BASE + LOG_SEGMENT;
         received += LOG_PAGE) {
        uint64_t replayed;

        log_begin(&made, 1);
        log_fill(&made, LOG_BASE + 900000, 64);
        replayed = made.end;
        log_fill(&made, LOG_BASE + LOG_SEGMENT + 90000, 64);
        a_standby(replayed, received, 0);
        rescues();
    }
}

static void much_that_is_not_replayed_is_not_read_again(void **state)
{
    uint64_t replayed;

    (void)state;
    log_begin(&made, 1);
    log_fill(&made, LOG_BASE + 10000, 64);
    replayed = made.end;
    log_fill(&made, LOG_BASE + 3 * LOG_SEGMENT, 3000);
    a_standby(replayed, LOG_BASE + 2 * LOG_SEGMENT + 5000, 0);
    range.replayed = replayed;
    rescues();
}

/* Timeline 2 begins in the middle of a segment, whose file has both. */
static void a_log_with_a_change_of_timeline_in_it(void **state)
{
    char path[256];
    FILE *history;
    uint64_t at, fork;

    (void)state;
    log_begin(&made, 1);
    log_fill(&made, LOG_BASE + 30000, 100);
    fork = made.end;
    made.timeline = 2;
    log_fill(&made, LOG_BASE + 60000, 100);
    at = made.end;
    log_fill(&made, LOG_BASE + LOG_SEGMENT + 60000, 900);
    a_standby(at, at, 0);
    (void)snprintf(path, sizeof path, "%s/pg_wal/00000002.history", standby);
    history = fopen(path, "we");
    assert_non_null(history);
    (void)fprintf(history, "1\t%X/%X\tfor a test\n", (unsigned)(fork >> 32), (unsigned)fork);
    assert_int_equal(fclose(history), 0);
    rescues();
}

/* --- what must not come in -------------------------------------------------------------------- */

static void standard(void)
{
    uint64_t at;

    log_begin(&made, 1);
    log_fill(&made, LOG_BASE + 50000, 100);
    at = made.end;
    log_fill(&made, LOG_BASE + LOG_SEGMENT + 90000, 300);
    a_standby(at, at, 0);
}

static void a_record_that_is_not_whole_leaves_all_as_it_was(void **state)
{
    static unsigned char before[LOG_SEGMENT], after[LOG_SEGMENT];
    char path[512];

    (void)state;
    standard();
    read_segment(standby, LOG_BASE, before);
    made.bytes[LOG_SEGMENT + 70000] ^= 1;
    write_segment(primary, LOG_BASE + LOG_SEGMENT, made.end, 0);
    assert_int_equal(wal_gather_begin(standby, &range, &err), HM_OK);
    assert_int_equal(add_all(), HM_OK);
    assert_int_equal(wal_gather_end(standby, &control, &range, &err), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "is whole up to"));
    read_segment(standby, LOG_BASE, after);
    assert_memory_equal(before, after, LOG_SEGMENT);
    segment_path(path, standby, LOG_BASE + LOG_SEGMENT);
    assert_int_equal(access(path, F_OK), -1);
    is_gone();
}

static void logs_that_parted_are_not_joined(void **state)
{
    (void)state;
    standard();
    made.bytes[range.received - LOG_BASE - 1] ^= 1;
    write_segment(primary, LOG_BASE, made.end, 0);
    assert_int_equal(wal_gather_begin(standby, &range, &err), HM_OK);
    assert_int_equal(add_all(), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "differ"));
}

static void what_was_not_asked_for_is_refused(void **state)
{
    static const unsigned char bytes[WAL_PIECE_MAX + 1];
    uint64_t first;

    (void)state;
    standard();
    first = wal_range_first(&range);
    assert_int_equal(wal_gather_begin(standby, &range, &err), HM_OK);
    assert_int_equal(wal_gather_add(standby, &range, first - 1, bytes, 1, &err), HM_BAD_INPUT);
    assert_int_equal(wal_gather_add(standby, &range, range.upto, bytes, 1, &err), HM_BAD_INPUT);
    assert_int_equal(wal_gather_add(standby, &range, range.upto - 1, bytes, 2, &err), HM_BAD_INPUT);
    assert_int_equal(wal_gather_add(standby, &range, LOG_BASE + LOG_SEGMENT - 1, bytes, 2, &err),
                     HM_BAD_INPUT);
    assert_int_equal(
        wal_gather_add(standby, &range, LOG_BASE + LOG_SEGMENT, bytes, sizeof bytes, &err),
        HM_BAD_INPUT);
    assert_int_equal(wal_gather_add(standby, &range, LOG_BASE + LOG_SEGMENT, bytes, 0, &err),
                     HM_BAD_INPUT);
}

static void a_file_of_another_size_is_not_written(void **state)
{
    struct stat st;
    char path[512];

    (void)state;
    standard();
    write_segment(standby, LOG_BASE + LOG_SEGMENT, 0, 0);
    segment_path(path, standby, LOG_BASE + LOG_SEGMENT);
    assert_int_equal(truncate(path, 8192), 0);
    assert_int_equal(wal_gather_begin(standby, &range, &err), HM_OK);
    assert_int_equal(add_all(), HM_OK);
    assert_int_equal(wal_gather_end(standby, &control, &range, &err), HM_BAD_INPUT);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 8192);
}

static void only_segments_are_read(void **state)
{
    unsigned char bytes[64];
    char path[512], other[512];

    (void)state;
    standard();
    assert_int_equal(
        wal_read_bytes(primary, LOG_SEGMENT, 1, LOG_BASE + LOG_SEGMENT - 1, bytes, 2, &err),
        HM_BAD_INPUT);
    assert_int_equal(wal_read_bytes(primary, LOG_SEGMENT, 1, LOG_BASE, bytes, 0, &err),
                     HM_BAD_INPUT);
    assert_int_equal(wal_read_bytes(primary, LOG_SEGMENT, 2, LOG_BASE, bytes, 1, &err), HM_FAILED);
    segment_path(path, primary, LOG_BASE);
    (void)snprintf(other, sizeof other, "%s/elsewhere", folder);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(wal_read_bytes(primary, LOG_SEGMENT, 1, LOG_BASE, bytes, 1, &err), HM_FAILED);
}

static void what_an_attempt_left_is_thrown_away(void **state)
{
    (void)state;
    standard();
    assert_int_equal(wal_gather_begin(standby, &range, &err), HM_OK);
    assert_int_equal(add_all(), HM_OK);
    rescues();
    wal_gather_forget(standby); /* nothing there: fine */
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, make_folders, remove_folders)
    const struct CMUnitTest tests[] = {
        STORY(what_is_missing_is_joined_in_one_segment),
        STORY(missing_segments_come_whole),
        STORY(a_torn_end_is_completed),
        STORY(ends_at_borders_are_ends_too),
        STORY(much_that_is_not_replayed_is_not_read_again),
        STORY(a_log_with_a_change_of_timeline_in_it),
        STORY(a_record_that_is_not_whole_leaves_all_as_it_was),
        STORY(logs_that_parted_are_not_joined),
        STORY(what_was_not_asked_for_is_refused),
        STORY(a_file_of_another_size_is_not_written),
        STORY(only_segments_are_read),
        STORY(what_an_attempt_left_is_thrown_away),
    };

    return cmocka_run_group_tests_name("wal_copy", tests, NULL, NULL);
}
