#include "adapter/journal.h"

#include "tests/unit/entries.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/hamgr-journal-XXXXXX";
static char path[sizeof folder + 8];
static struct core_config config;

static int make_folder(void **state)
{
    struct record first;

    (void)state;
    make_record();
    told_first(&first, 2, 1);
    told_config(&config, &first, 1);
    if (mkdtemp(folder) == NULL)
        return -1;
    memcpy(path, folder, sizeof folder - 1);
    memcpy(path + sizeof folder - 1, "/j", 3);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int remove_file(void **state)
{
    (void)state;
    (void)unlink(path); /* some tests leave none */
    return 0;
}

static void create(struct journal_writer *w)
{
    struct hm_err err;

    if (journal_create(path, &config, w, &err) != HM_OK)
        fail_msg("%s", err.text);
}

static void append(struct journal_writer *w, unsigned i)
{
    struct core_event ev;
    struct hm_err err;

    assert_true(make_event(i, &ev));
    if (journal_append(w, &ev, &err) != HM_OK)
        fail_msg("%s", err.text);
}

static unsigned count_entries(void)
{
    static struct journal_reader r;
    struct core_event ev;
    struct hm_err err;
    bool is_end = false;

    if (journal_open(path, &r, &err) != HM_OK)
        fail_msg("%s", err.text);
    while (!is_end)
        if (journal_next(&r, &ev, &is_end, &err) != HM_OK)
            fail_msg("%s", err.text);
    journal_reader_done(&r);
    return (unsigned)r.entries;
}

static void what_was_appended_is_read(void **state)
{
    static struct journal_reader r;
    struct journal_writer w;
    struct core_event ev, back;
    struct hm_err err;
    bool is_end = true;
    unsigned n = 0;

    (void)state;
    create(&w);
    for (; make_event(n, &ev); n++)
        append(&w, n);
    journal_writer_done(&w);
    assert_int_equal(journal_open(path, &r, &err), HM_OK);
    assert_string_equal(r.config.name, config.name);
    assert_int_equal(r.config.incarnation, config.incarnation);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(journal_next(&r, &back, &is_end, &err), HM_OK);
        assert_false(is_end);
        assert_true(make_event(i, &ev));
        assert_int_equal(back.type, ev.type);
        assert_int_equal(back.at_ms, ev.at_ms);
    }
    assert_int_equal(journal_next(&r, &back, &is_end, &err), HM_OK);
    assert_true(is_end);
    assert_int_equal(journal_next(&r, &back, &is_end, &err), HM_OK);
    assert_true(is_end);
    journal_reader_done(&r);
    journal_reader_done(&r);
}

static void an_entry_is_there_when_append_returns(void **state)
{
    struct journal_writer w;

    (void)state;
    create(&w);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(count_entries(), i);
        append(&w, i);
    }
    assert_int_equal(count_entries(), 3);
    journal_writer_done(&w);
}

static void a_journal_is_never_written_over(void **state)
{
    struct journal_writer w, second;
    struct hm_err err;

    (void)state;
    create(&w);
    append(&w, 0);
    assert_int_equal(journal_create(path, &config, &second, &err), HM_FAILED);
    assert_non_null(strstr(err.text, path));
    journal_writer_done(&second);
    journal_writer_done(&w);
    journal_writer_done(&w);
    assert_int_equal(count_entries(), 1);
}

static void a_bad_config_leaves_no_file(void **state)
{
    struct core_config bad = config;
    struct journal_writer w;
    struct hm_err err;

    (void)state;
    bad.incarnation = 0;
    assert_int_equal(journal_create(path, &bad, &w, &err), HM_BAD_INPUT);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_malformed_event_is_not_appended(void **state)
{
    struct core_event bad = { .type = CORE_EVENTS_N };
    struct journal_writer w;
    struct hm_err err;

    (void)state;
    create(&w);
    append(&w, 0);
    assert_int_equal(journal_append(&w, &bad, &err), HM_BAD_INPUT);
    append(&w, 1);
    journal_writer_done(&w);
    assert_int_equal(journal_append(&w, &bad, &err), HM_FAILED);
    assert_int_equal(count_entries(), 2);
}

static void limit_file(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The disk takes half an entry: the journal ends with the last whole one, and goes on later. */
static void half_an_entry_is_taken_back(void **state)
{
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    struct journal_writer w;
    struct core_event ev;
    struct hm_err err;

    (void)state;
    create(&w);
    append(&w, 2);
    limit_file((rlim_t)w.size_bytes + 20);
    assert_true(make_event(0, &ev));
    assert_int_equal(journal_append(&w, &ev, &err), HM_FAILED);
    assert_int_equal(count_entries(), 1);
    limit_file(RLIM_INFINITY);
    append(&w, 0);
    assert_int_equal(count_entries(), 2);
    journal_writer_done(&w);
    (void)signal(SIGXFSZ, before);
}

static void no_room_for_the_header_leaves_no_file(void **state)
{
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    struct journal_writer w;
    struct hm_err err;
    enum hm_rc rc;

    (void)state;
    limit_file(20);
    rc = journal_create(path, &config, &w, &err);
    limit_file(RLIM_INFINITY);
    assert_int_equal(rc, HM_FAILED);
    assert_int_equal(access(path, F_OK), -1);
    (void)signal(SIGXFSZ, before);
}

static void a_torn_end_is_named(void **state)
{
    static struct journal_reader r;
    struct journal_writer w;
    struct core_event ev;
    struct hm_err err;
    bool is_end;

    (void)state;
    create(&w);
    append(&w, 2);
    append(&w, 0);
    assert_int_equal(truncate(path, (off_t)w.size_bytes - 1), 0);
    journal_writer_done(&w);
    assert_int_equal(journal_open(path, &r, &err), HM_OK);
    assert_int_equal(journal_next(&r, &ev, &is_end, &err), HM_OK);
    assert_int_equal(journal_next(&r, &ev, &is_end, &err), HM_BAD_INPUT);
    assert_string_equal(err.text, "entry 2: the trace ends within an entry");
    assert_int_equal(journal_next(&r, &ev, &is_end, &err), HM_FAILED);
    journal_reader_done(&r);
}

static void an_oversized_entry_is_named(void **state)
{
    static struct journal_reader r;
    struct journal_writer w;
    struct core_event ev;
    struct hm_err err;
    bool is_end;

    (void)state;
    create(&w);
    assert_int_equal(write(w.fd, "\xff\xff\xff", 3), 3);
    journal_writer_done(&w);
    assert_int_equal(journal_open(path, &r, &err), HM_OK);
    assert_int_equal(journal_next(&r, &ev, &is_end, &err), HM_BAD_INPUT);
    assert_string_equal(err.text, "entry 1: an entry is longer than any can be");
    journal_reader_done(&r);
}

static void what_is_no_journal_is_refused(void **state)
{
    static struct journal_reader r;
    struct hm_err err;
    int fd;

    (void)state;
    assert_int_equal(journal_open(path, &r, &err), HM_FAILED);
    journal_reader_done(&r);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(journal_open(path, &r, &err), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "this is no trace"));
    journal_reader_done(&r);
    assert_int_equal(write(fd, "HMTR\7\4\0xxxxxxxxxxxx", 19), 19);
    assert_int_equal(close(fd), 0);
    assert_int_equal(journal_open(path, &r, &err), HM_BAD_INPUT);
    assert_non_null(strstr(err.text, "checksum"));
    journal_reader_done(&r);
    assert_int_equal(journal_open(folder, &r, &err), HM_FAILED);
    journal_reader_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_was_appended_is_read, remove_file),
        cmocka_unit_test_teardown(an_entry_is_there_when_append_returns, remove_file),
        cmocka_unit_test_teardown(a_journal_is_never_written_over, remove_file),
        cmocka_unit_test_teardown(a_bad_config_leaves_no_file, remove_file),
        cmocka_unit_test_teardown(a_malformed_event_is_not_appended, remove_file),
        cmocka_unit_test_teardown(half_an_entry_is_taken_back, remove_file),
        cmocka_unit_test_teardown(no_room_for_the_header_leaves_no_file, remove_file),
        cmocka_unit_test_teardown(a_torn_end_is_named, remove_file),
        cmocka_unit_test_teardown(an_oversized_entry_is_named, remove_file),
        cmocka_unit_test_teardown(what_is_no_journal_is_refused, remove_file),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
