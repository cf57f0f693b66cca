#include "core/trace.h"

#include "base/prng.h"
#include "tests/unit/entries.h"

/* --- what is written can be read ---------------------------------------------------------------
 */

static void every_event_can_be_read_again(void **state)
{
    uint8_t bytes[TRACE_ENTRY_MAX], again[TRACE_ENTRY_MAX];
    struct trace_storage storage;
    struct core_event ev, back;
    const char *why = NULL;

    (void)state;
    make_record();
    for (unsigned i = 0; make_event(i, &ev); i++) {
        size_t size = put(&ev, bytes);

        memset(&back, 0xff, sizeof back);
        if (get_exactly(bytes, size, &storage, &back, &why) != HM_OK)
            fail_msg("event %u cannot be read: %s", i, why);
        assert_int_equal(put(&back, again), size);
        assert_memory_equal(again, bytes, size);
        if (ev.type == ON_MESSAGE && ev.message.record != NULL)
            assert_ptr_equal(back.message.record, &storage.record);
        if (ev.type == ON_START && ev.start.state != NULL)
            assert_ptr_equal(back.start.state, &storage.state);
    }
}

static void the_config_can_be_read_again(void **state)
{
    uint8_t bytes[TRACE_HEADER_MAX], again[TRACE_HEADER_MAX];
    struct core_config config, back;
    struct record first;
    const char *why = NULL;
    size_t size, used;

    (void)state;
    told_first(&first, 3, 2);
    told_config(&config, &first, 1);
    config.priority = -3;
    config.seed = UINT64_MAX;
    assert_int_equal(trace_put_config(&config, bytes, sizeof bytes, &size, &why), HM_OK);
    assert_int_equal(trace_get_config(bytes, size, &back, &used, &why), HM_OK);
    assert_int_equal(used, size);
    assert_int_equal(back.priority, -3);
    assert_true(back.seed == UINT64_MAX);
    assert_int_equal(trace_put_config(&back, again, sizeof again, &used, &why), HM_OK);
    assert_int_equal(used, size);
    assert_memory_equal(again, bytes, size);
}

/* Whoever adds a field describes it in trace_code.c, raises TRACE_FORMAT, and mends this. */
static void no_field_was_added_unnoticed(void **state)
{
    (void)state;
    assert_int_equal(TRACE_FORMAT, 7);
    assert_int_equal(sizeof(struct gossip), 64);
    assert_int_equal(sizeof(struct copy), 368);
    assert_int_equal(sizeof(struct order), 160);
    assert_int_equal(sizeof(struct msg), 248);
    assert_int_equal(sizeof(struct record), 2952);
    assert_int_equal(sizeof(struct voter_state) - sizeof(struct record), 64);
    assert_int_equal(sizeof(struct core_config) - sizeof(struct record), 160);
}

static void fill_record(struct record *r)
{
    memset(r, 0xff, sizeof *r);
    r->kind = SERVICE_REDIS;
    r->version = HM_COUNTER_MAX;
    r->epoch = HM_COUNTER_MAX;
    r->holder = 8;
    r->ttl_ms = HM_TTL_MAX_MS;
    r->heartbeat_ms = HM_TTL_MAX_MS / 2;
    r->durability = DURABILITY_STRICT;
    r->goal = DURABILITY_STRICT;
    r->pairs_n = HM_PAIRS_MAX;
    for (unsigned i = 0; i < HM_PAIRS_MAX; i++) {
        r->pairs[i].n = HM_MEMBERS_MAX - 1; /* all but the holder */
        r->pairs[i].need = HM_MEMBERS_MAX - 1;
        for (unsigned j = 0; j < HM_MEMBERS_MAX; j++)
            r->pairs[i].copies[j].member = (uint8_t)j;
    }
    r->timelines_n = HM_TIMELINES_MAX;
    r->changes_n = HM_CHANGES_MAX;
    for (unsigned i = 0; i < HM_CHANGES_MAX; i++) {
        r->changes[i].reason = CHANGE_FORCED;
        r->changes[i].at = INT64_MIN;
    }
    r->is_paused = true;
    r->switchover.phase = SWITCH_PREPARED;
    r->switchover.to = 8;
    r->voters = 0x1ff;
    r->old_voters = 0x1ff;
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        r->member[slot].role = ROLE_DB;
        r->member[slot].name[HM_NAME_MAX - 1] = 0;
        r->member[slot].address[HM_ADDRESS_MAX - 1] = 0;
    }
}

/* How many bytes of a struct make no difference to the entry: its padding, and nothing else. */
static unsigned count_silent(const struct core_event *ev, void *part, size_t size)
{
    uint8_t before[TRACE_ENTRY_MAX], after[TRACE_ENTRY_MAX], *bytes = part;
    size_t n = put(ev, before), used;
    unsigned silent = 0;

    for (size_t i = 0; i < size; i++) {
        const char *why = NULL;

        bytes[i] ^= 1;
        if (trace_put_event(ev, after, sizeof after, &used, &why) == HM_OK && used == n &&
            memcmp(before, after, n) == 0)
            silent++;
        bytes[i] ^= 1;
    }
    return silent;
}

/* Bytes between the fields, on 64 bits, and those of the ninth copies, that no pair can use. The
 * tail of a message is what follows its record. */
enum {
    RECORD_PADDING = 416 + HM_PAIRS_MAX * 9,
    MSG_PADDING = 26,
    TAIL_PADDING = 4,
    COPY_PADDING = 101,
    STATE_PADDING = RECORD_PADDING + 14,
};

static void no_field_is_left_out(void **state)
{
    static struct record r;
    struct core_event ev;

    (void)state;
    fill_record(&r);
    make_record();
    assert_true(make_event(7, &ev));
    ev.message.version = r.version;
    ev.message.ttl_ms = r.ttl_ms;
    ev.message.record = &r;
    assert_int_equal(count_silent(&ev, &r, sizeof r), RECORD_PADDING);
    assert_int_equal(count_silent(&ev, &ev.message, offsetof(struct msg, record)), MSG_PADDING);
    assert_int_equal(
        count_silent(&ev, &ev.message.at, sizeof ev.message - offsetof(struct msg, at)),
        TAIL_PADDING);
    assert_true(make_event(5, &ev));
    assert_int_equal(count_silent(&ev, &ev.copy, sizeof ev.copy), COPY_PADDING);
    assert_true(make_event(0, &ev));
    some_state.record = r;
    assert_int_equal(count_silent(&ev, &some_state, sizeof some_state), STATE_PADDING);
}

static void the_largest_event_fits_an_entry(void **state)
{
    static struct record r;
    uint8_t bytes[TRACE_ENTRY_MAX];
    struct trace_storage storage;
    struct core_event ev, back;
    const char *why = NULL;
    size_t size;

    (void)state;
    fill_record(&r);
    make_record();
    assert_true(make_event(7, &ev));
    ev.message.version = r.version;
    ev.message.ttl_ms = r.ttl_ms;
    ev.message.at = (struct position){ .timeline = UINT64_MAX, .offset = UINT64_MAX };
    ev.message.cluster = UINT64_MAX;
    ev.message.record = &r;
    size = put(&ev, bytes);
    assert_true(size < TRACE_ENTRY_MAX);
    assert_int_equal(get_exactly(bytes, size, &storage, &back, &why), HM_OK);
    assert_int_equal(storage.record.pairs_n, HM_PAIRS_MAX);
    assert_int_equal(storage.record.timelines_n, HM_TIMELINES_MAX);
    assert_int_equal(storage.record.changes_n, HM_CHANGES_MAX);
    assert_true(storage.record.changes[HM_CHANGES_MAX - 1].at == INT64_MIN);
}

/* --- what cannot be written --------------------------------------------------------------------
 */

static void a_buffer_that_is_too_small_is_refused(void **state)
{
    uint8_t bytes[TRACE_ENTRY_MAX];
    struct core_event ev;
    const char *why = NULL;

    (void)state;
    make_record();
    for (unsigned i = 0; make_event(i, &ev); i++) {
        size_t size = put(&ev, bytes), used = 99;

        for (size_t room = 0; room < size; room++) {
            uint8_t *exact = malloc(room + (room == 0));

            assert_non_null(exact);
            assert_int_equal(trace_put_event(&ev, exact, room, &used, &why), HM_NO_SPACE);
            assert_int_equal(used, 99);
            assert_string_equal(why, "the buffer is too small");
            free(exact);
        }
        assert_int_equal(trace_put_event(&ev, bytes, size, &used, &why), HM_OK);
    }
}

static void a_malformed_event_is_not_written(void **state)
{
    uint8_t bytes[TRACE_ENTRY_MAX];
    struct core_event ev;
    const char *why = NULL;
    size_t used = 99;

    (void)state;
    make_record();
    some_record.pairs_n = HM_PAIRS_MAX + 1;
    assert_true(make_event(7, &ev));
    assert_int_equal(trace_put_event(&ev, bytes, sizeof bytes, &used, &why), HM_BAD_INPUT);
    assert_string_equal(why, "number of sync pairs");
    assert_int_equal(used, 99);
}

static void a_config_that_no_core_may_be_given_is_not_written(void **state)
{
    uint8_t bytes[TRACE_HEADER_MAX];
    struct core_config good, bad;
    struct record first;
    const char *why = NULL;
    size_t used;

    (void)state;
    told_first(&first, 2, 1);
    told_config(&good, &first, 0);
    bad = good;
    bad.incarnation = 0;
    assert_int_equal(trace_put_config(&bad, bytes, sizeof bytes, &used, &why), HM_BAD_INPUT);
    assert_string_equal(why, "role or incarnation of the config");
    bad = good;
    memset(bad.name, 'x', sizeof bad.name);
    assert_int_equal(trace_put_config(&bad, bytes, sizeof bytes, &used, &why), HM_BAD_INPUT);
    assert_string_equal(why, "name of the config");
    bad = good;
    bad.fence_margin_ms = -1;
    assert_int_equal(trace_put_config(&bad, bytes, sizeof bytes, &used, &why), HM_BAD_INPUT);
    assert_string_equal(why, "time limit of the config");
    bad = good;
    bad.first.heartbeat_ms = 0;
    assert_int_equal(trace_put_config(&bad, bytes, sizeof bytes, &used, &why), HM_BAD_INPUT);
    assert_string_equal(why, "ttl or heartbeat");
    assert_int_equal(trace_put_config(&good, bytes, 4, &used, &why), HM_NO_SPACE);
    assert_int_equal(trace_put_config(&good, bytes, 100, &used, &why), HM_NO_SPACE);
}

/* --- what cannot be read -----------------------------------------------------------------------
 */

static void no_part_of_an_entry_passes_for_a_whole(void **state)
{
    uint8_t bytes[TRACE_ENTRY_MAX];
    struct trace_storage storage;
    struct core_event ev, back;

    (void)state;
    make_record();
    for (unsigned i = 0; make_event(i, &ev); i++) {
        size_t size = put(&ev, bytes);

        memset(&back, 0x55, sizeof back);
        ev = back;
        for (size_t part = 0; part < size; part++) {
            const char *why = NULL;

            assert_int_equal(get_exactly(bytes, part, &storage, &back, &why), HM_BAD_INPUT);
            assert_string_equal(why, "the trace ends within an entry");
        }
        assert_memory_equal(&back, &ev, sizeof ev);
    }
}

static void one_bit_that_turned_is_found(void **state)
{
    uint8_t bytes[TRACE_ENTRY_MAX];
    struct trace_storage storage;
    struct core_event ev, back;
    size_t size;

    (void)state;
    make_record();
    assert_true(make_event(7, &ev));
    size = put(&ev, bytes);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        const char *why = NULL;

        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(get_exactly(bytes, size, &storage, &back, &why), HM_BAD_INPUT);
        assert_non_null(why);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void garbled_bodies_are_refused(void **state)
{
    static const struct {
        uint8_t n, body[14];
        const char *why;
    } garbled[] = {
        { 0, { 0 }, "an entry ends within a value" },
        { 2, { ON_TICK, 0 }, "an entry ends within a value" },
        { 3, { ON_TICK, 0x80, 0 }, "a number is not in its shortest form" },
        { 4, { ON_TICK, 2, 0, 0 }, "an entry has bytes left over" },
        { 3, { CORE_EVENTS_N, 2, 0 }, "a number is out of range" },
        { 3, { ON_TICK, 1, 0 }, "time of the event" },
        { 5, { ON_PERSISTED, 2, 0, 1, 2 }, "a number is out of range" },
        { 12,
          { ON_TICK, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0 },
          "a number is too large for any field" },
        { 12,
          { ON_TICK, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0 },
          "a number is too large for any field" },
    };
    uint8_t bytes[TRACE_ENTRY_MAX];
    struct trace_storage storage;
    struct core_event back;

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(garbled); i++) {
        size_t size = frame(bytes, garbled[i].body, garbled[i].n);
        const char *why = NULL;

        assert_int_equal(get_exactly(bytes, size, &storage, &back, &why), HM_BAD_INPUT);
        assert_string_equal(why, garbled[i].why);
    }
}

static void an_entry_longer_than_any_is_refused_unread(void **state)
{
    const uint8_t most[TRACE_PREFIX] = { TRACE_BODY_MAX & 0xff, TRACE_BODY_MAX >> 8 };
    const uint8_t more[TRACE_PREFIX] = { 1, TRACE_BODY_MAX >> 8 };
    struct trace_storage storage;
    struct core_event back;
    const char *why = NULL;

    (void)state;
    assert_int_equal(trace_frame_size(most), TRACE_ENTRY_MAX);
    assert_int_equal(trace_frame_size(more), TRACE_ENTRY_MAX + 1);
    assert_int_equal(get_exactly(most, sizeof most, &storage, &back, &why), HM_BAD_INPUT);
    assert_string_equal(why, "the trace ends within an entry");
    assert_int_equal(get_exactly(more, sizeof more, &storage, &back, &why), HM_BAD_INPUT);
    assert_string_equal(why, "an entry is longer than any can be");
}

static void what_is_no_header_is_refused(void **state)
{
    uint8_t bytes[TRACE_HEADER_MAX];
    struct core_config config, back;
    struct record first;
    const char *why = NULL;
    size_t size, used;

    (void)state;
    told_first(&first, 3, 2);
    told_config(&config, &first, 1);
    assert_int_equal(trace_put_config(&config, bytes, sizeof bytes, &size, &why), HM_OK);
    for (size_t part = 0; part < size; part++) {
        assert_int_equal(trace_get_config(bytes, part, &back, &used, &why), HM_BAD_INPUT);
        assert_string_equal(why, part < TRACE_MAGIC ? "this is no trace"
                                                    : "the trace ends within an entry");
    }
    bytes[4]++;
    assert_int_equal(trace_get_config(bytes, size, &back, &used, &why), HM_BAD_INPUT);
    assert_string_equal(why, "the format of the trace is unknown");
    bytes[4]--;
    bytes[0] = 'X';
    assert_int_equal(trace_get_config(bytes, size, &back, &used, &why), HM_BAD_INPUT);
    assert_string_equal(why, "this is no trace");
}

/* --- random mutations --------------------------------------------------------------------------
 */

/* Changes a few bytes of the body, or its length. Returns the new length. */
static size_t mutate(struct prng *p, uint8_t *body, size_t n)
{
    uint64_t changes = 1 + prng_below(p, 4);

    for (uint64_t i = 0; i < changes; i++) {
        size_t at = (size_t)prng_below(p, n);

        switch (prng_below(p, 5)) {
        case 0:
            body[at] = (uint8_t)prng_next(p);
            break;
        case 1:
            body[at] ^= (uint8_t)(1u << prng_below(p, 8));
            break;
        case 2:
            body[at] = prng_chance(p, 1, 2) ? 0xff : 0;
            break;
        case 3: /* a byte less */
            memmove(body + at, body + at + 1, n - at - 1);
            n -= n > 1;
            break;
        default: /* a byte more */
            if (n == TRACE_BODY_MAX)
                break;
            memmove(body + at + 1, body + at, n - at);
            body[at] = (uint8_t)prng_below(p, 3);
            n++;
        }
    }
    return n;
}

/* Whatever is read is whole: writing it again gives the same bytes. */
static void check_mutant(const uint8_t *bytes, size_t size, unsigned *read, unsigned *refused)
{
    uint8_t again[TRACE_ENTRY_MAX];
    struct trace_storage storage;
    struct core_event back;
    const char *why = NULL;

    if (get_exactly(bytes, size, &storage, &back, &why) != HM_OK) {
        assert_non_null(why);
        ++*refused;
        return;
    }
    ++*read;
    assert_int_equal(put(&back, again), size);
    assert_memory_equal(again, bytes, size);
}

static void mutated_entries_are_refused_or_read_whole(void **state)
{
    uint8_t bytes[TRACE_ENTRY_MAX], mutant[TRACE_ENTRY_MAX];
    unsigned read = 0, refused = 0;
    struct core_event ev;
    struct prng p;

    (void)state;
    print_message("seed=1\n");
    prng_seed(&p, 1);
    make_record();
    for (unsigned i = 0; make_event(i, &ev); i++) {
        size_t size = put(&ev, bytes);

        for (unsigned round = 0; round < 2000; round++) {
            size_t n = size - TRACE_PREFIX - 4;

            memcpy(mutant, bytes, size);
            n = mutate(&p, mutant + TRACE_PREFIX, n);
            check_mutant(mutant, frame(mutant, mutant + TRACE_PREFIX, n), &read, &refused);
        }
    }
    assert_true(read > 1000 && refused > 1000); /* else the mutations prove nothing */
}

static void random_bytes_are_refused(void **state)
{
    uint8_t bytes[300];
    struct prng p;

    (void)state;
    prng_seed(&p, 2);
    for (unsigned round = 0; round < 5000; round++) {
        size_t size = (size_t)prng_below(&p, sizeof bytes);
        struct trace_storage storage;
        struct core_config config;
        struct core_event back;
        const char *why = NULL;
        size_t used;

        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)prng_next(&p);
        assert_int_equal(get_exactly(bytes, size, &storage, &back, &why), HM_BAD_INPUT);
        assert_int_equal(trace_get_config(bytes, size, &config, &used, &why), HM_BAD_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_can_be_read_again),
        cmocka_unit_test(the_config_can_be_read_again),
        cmocka_unit_test(no_field_was_added_unnoticed),
        cmocka_unit_test(no_field_is_left_out),
        cmocka_unit_test(the_largest_event_fits_an_entry),
        cmocka_unit_test(a_buffer_that_is_too_small_is_refused),
        cmocka_unit_test(a_malformed_event_is_not_written),
        cmocka_unit_test(a_config_that_no_core_may_be_given_is_not_written),
        cmocka_unit_test(no_part_of_an_entry_passes_for_a_whole),
        cmocka_unit_test(one_bit_that_turned_is_found),
        cmocka_unit_test(garbled_bodies_are_refused),
        cmocka_unit_test(an_entry_longer_than_any_is_refused_unread),
        cmocka_unit_test(what_is_no_header_is_refused),
        cmocka_unit_test(mutated_entries_are_refused_or_read_whole),
        cmocka_unit_test(random_bytes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
