#include "wire/wire.h"

#include "tests/cm.h"
#include "tests/unit/wire_made.h"

#include <stdio.h>

static struct wire_storage storage;
static struct hm_err err;

static size_t pack(const struct wire_frame *f, uint8_t *bytes)
{
    size_t used = 0;

    err.text[0] = 0;
    if (wire_pack(f, bytes, WIRE_LENGTH + WIRE_FRAME_MAX, &used, &err) != HM_OK)
        fail_msg("not packed: %s", err.text);
    assert_true(used >= WIRE_LENGTH);
    assert_int_equal((size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 |
                         bytes[3],
                     used - WIRE_LENGTH);
    return used - WIRE_LENGTH;
}

/* Reads bytes that end where their memory ends, so that a sanitizer sees a byte too many. */
static enum hm_rc unpack(const uint8_t *bytes, size_t size, struct wire_frame *ret)
{
    uint8_t *exact = malloc(size + (size == 0));
    enum hm_rc rc;

    assert_non_null(exact);
    memcpy(exact, bytes, size);
    rc = wire_unpack(exact, size, &storage, ret, &err);
    free(exact);
    return rc;
}

static uint8_t frame_bytes[WIRE_LENGTH + WIRE_FRAME_MAX];
static uint8_t *const body = frame_bytes + WIRE_LENGTH;

static void expect(const struct wire_frame *f, struct wire_frame *ret)
{
    size_t n = pack(f, frame_bytes);

    if (unpack(body, n, ret) != HM_OK)
        fail_msg("not read: %s", err.text);
    assert_int_equal(ret->type, f->type);
}

static void drawn_messages_come_out_as_they_went_in(void **state)
{
    static struct record record;
    struct wire_frame in = { .type = WIRE_MSG }, out;
    struct prng p;

    (void)state;
    print_message("seed=1\n");
    prng_seed(&p, 1);
    for (unsigned i = 0; i < 20000; i++) {
        made_msg(&p, &in.msg, &record);
        expect(&in, &out);
        made_same_msg(&in.msg, &out.msg);
        if (out.msg.record != NULL)
            assert_ptr_equal(out.msg.record, &storage.record);
    }
}

static void every_type_and_refusal_comes_through(void **state)
{
    static struct record record;
    struct wire_frame in = { .type = WIRE_MSG }, out;
    struct prng p;

    (void)state;
    prng_seed(&p, 2);
    for (unsigned type = 1; type < MSG_TYPES_N; type++) {
        do
            made_msg(&p, &in.msg, &record);
        while (in.msg.type != type);
        expect(&in, &out);
        assert_int_equal(out.msg.type, type);
    }
    in.msg.type = MSG_PREVOTE_ANSWER;
    for (unsigned why = 0; why < REFUSALS_N; why++) {
        in.msg.refusal = (enum refusal)why;
        expect(&in, &out);
        assert_int_equal(out.msg.refusal, why);
    }
    for (unsigned copy = 0; copy < COPY_STATES_N; copy++) {
        in.msg.gossip.copy = (enum copy_state)copy;
        expect(&in, &out);
        assert_int_equal(out.msg.gossip.copy, copy);
    }
}

static void the_numbers_of_types_are_for_ever(void **state)
{
    struct wire_frame in = { .type = WIRE_MSG };
    size_t n;

    (void)state;
    in.msg.type = MSG_RENEW;
    in.msg.service = 3;
    in.msg.from = 1;
    n = pack(&in, frame_bytes);
    assert_true(n > 8);
    assert_int_equal(body[0], 2 << 3 | 2); /* a message ... */
    assert_int_equal(body[2], 1 << 3);     /* ... whose type ... */
    assert_int_equal(body[3], 7);          /* ... is RENEW */
    assert_int_equal(body[4], 2 << 3);
    assert_int_equal(body[5], 3);
    assert_int_equal(body[6], 3 << 3);
    assert_int_equal(body[7], 1);
}

static void the_longest_record_fits(void **state)
{
    static struct record record;
    struct wire_frame in = { .type = WIRE_MSG }, out;
    const char *why = NULL;
    struct prng p;

    (void)state;
    prng_seed(&p, 3);
    made_msg(&p, &in.msg, &record);
    made_longest_record(&record);
    if (record_check(&record, &why) != HM_OK)
        fail_msg("no record: %s", why);
    in.msg.type = MSG_RECORD;
    in.msg.record = &record;
    expect(&in, &out);
    made_same_msg(&in.msg, &out.msg);
}

/* What may come out of bytes that nobody wrote like that. */
static void is_sound(const struct wire_frame *f)
{
    const char *why = NULL;

    switch (f->type) {
    case WIRE_MSG:
        if (msg_check(&f->msg, &why) != HM_OK)
            fail_msg("let in: %s", why);
        break;
    case WIRE_HELLO:
        assert_true(f->hello->services_n <= HM_SERVICES_MAX);
        assert_non_null(memchr(f->hello->from, 0, sizeof f->hello->from));
        break;
    case WIRE_CALL:
    case WIRE_REPLY:
        assert_non_null(memchr(f->call.text, 0, WIRE_TEXT_MAX + 1));
        break;
    case WIRE_LOG_ASK:
    case WIRE_LOG_PIECE:
        assert_true(f->log.size <= WIRE_LOG_MAX);
        break;
    default:
        fail_msg("a type that does not exist");
    }
}

static void try_cuts_and_flips(const struct wire_frame *f)
{
    size_t n = pack(f, frame_bytes);
    struct wire_frame out;

    for (size_t cut = 0; cut < n; cut++)
        if (unpack(body, cut, &out) == HM_OK)
            is_sound(&out);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (unpack(body, n, &out) == HM_OK)
            is_sound(&out);
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void make_hello(struct wire_hello *h, struct wire_service *services, uint8_t n)
{
    struct prng p;

    prng_seed(&p, 4);
    memset(h, 0, sizeof *h);
    h->version = WIRE_VERSION;
    h->incarnation = 77;
    h->instance = 0x123456789abcdef;
    (void)snprintf(h->rival, sizeof h->rival, "10.0.0.2");
    made_text(&p, h->software, sizeof h->software, sizeof h->software - 1);
    made_text(&p, h->cluster, sizeof h->cluster, sizeof h->cluster - 1);
    made_text(&p, h->from, sizeof h->from, sizeof h->from - 1);
    made_text(&p, h->to, sizeof h->to, sizeof h->to - 1);
    h->services_n = n;
    h->service = services;
    for (unsigned i = 0; i < n; i++) {
        memset(&services[i], 0, sizeof services[i]);
        made_text(&p, services[i].name, sizeof services[i].name, 5);
        told_first(&services[i].first, 3, 2);
        services[i].first.service = (uint8_t)i;
    }
}

static void garbled_frames_are_refused_or_sound(void **state)
{
    static struct record record;
    static struct wire_service services[2];
    struct wire_frame f = { .type = WIRE_MSG };
    struct wire_hello hello;
    struct prng p;

    (void)state;
    prng_seed(&p, 5);
    for (unsigned i = 0; i < 12; i++) {
        made_msg(&p, &f.msg, &record);
        try_cuts_and_flips(&f);
    }
    make_hello(&hello, services, 2);
    f = (struct wire_frame){ .type = WIRE_HELLO, .hello = &hello };
    try_cuts_and_flips(&f);
    f = (struct wire_frame){ .type = WIRE_CALL, .call = { .id = 9, .text = "{\"a\": 1}" } };
    try_cuts_and_flips(&f);
}

static void a_hello_comes_out_as_it_went_in(void **state)
{
    static struct wire_service services[HM_SERVICES_MAX];
    struct wire_hello hello;
    struct wire_frame in = { .type = WIRE_HELLO, .hello = &hello }, out;

    (void)state;
    make_hello(&hello, services, HM_SERVICES_MAX);
    expect(&in, &out);
    assert_ptr_equal(out.hello, &storage.hello);
    assert_int_equal(out.hello->version, WIRE_VERSION);
    assert_int_equal(out.hello->incarnation, 77);
    assert_int_equal(out.hello->instance, hello.instance);
    assert_string_equal(out.hello->rival, "10.0.0.2");
    assert_string_equal(out.hello->software, hello.software);
    assert_string_equal(out.hello->cluster, hello.cluster);
    assert_string_equal(out.hello->from, hello.from);
    assert_string_equal(out.hello->to, hello.to);
    assert_int_equal(out.hello->services_n, HM_SERVICES_MAX);
    for (unsigned i = 0; i < HM_SERVICES_MAX; i++) {
        assert_string_equal(out.hello->service[i].name, services[i].name);
        assert_memory_equal(&out.hello->service[i].first, &services[i].first,
                            sizeof services[i].first);
    }
    make_hello(&hello, services, 0);
    expect(&in, &out);
    assert_int_equal(out.hello->services_n, 0);
}

static void sixteen_of_the_longest_records_fit(void **state)
{
    static struct wire_service services[HM_SERVICES_MAX];
    struct wire_hello hello;
    struct wire_frame in = { .type = WIRE_HELLO, .hello = &hello }, out;

    (void)state;
    make_hello(&hello, services, HM_SERVICES_MAX);
    for (unsigned i = 0; i < HM_SERVICES_MAX; i++)
        made_longest_record(&services[i].first);
    expect(&in, &out);
    assert_int_equal(out.hello->services_n, HM_SERVICES_MAX);
    print_message("bytes=%zu arena=%zu of %d\n", pack(&in, frame_bytes), storage.arena_used,
                  WIRE_ARENA_MAX);
}

static void a_service_without_a_possible_record_is_refused(void **state)
{
    static struct wire_service services[1];
    struct wire_hello hello;
    struct wire_frame in = { .type = WIRE_HELLO, .hello = &hello }, out;

    (void)state;
    make_hello(&hello, services, 1);
    services[0].first.voters = 0;
    assert_int_equal(unpack(body, pack(&in, frame_bytes), &out), HM_BAD_INPUT);
    assert_string_equal(err.text, "not possible: voters");
    make_hello(&hello, services, 1);
    services[0].name[0] = 0;
    assert_int_equal(unpack(body, pack(&in, frame_bytes), &out), HM_BAD_INPUT);
}

static void texts_come_through_up_to_their_limit(void **state)
{
    static char text[WIRE_TEXT_MAX + 2];
    struct wire_frame in = { .type = WIRE_CALL, .call = { .id = UINT64_MAX, .text = text } }, out;
    size_t used;

    (void)state;
    memset(text, 'x', WIRE_TEXT_MAX);
    expect(&in, &out);
    assert_string_equal(out.call.text, text);
    assert_true(out.call.id == UINT64_MAX);
    in.type = WIRE_REPLY;
    expect(&in, &out);
    text[WIRE_TEXT_MAX] = 'x';
    assert_int_equal(wire_pack(&in, frame_bytes, sizeof frame_bytes, &used, &err), HM_NO_SPACE);
    text[0] = 0;
    expect(&in, &out);
    assert_string_equal(out.call.text, "");
}

static void a_small_buffer_is_not_overrun(void **state)
{
    static struct record record;
    struct wire_frame in = { .type = WIRE_MSG };
    static struct wire_service services[3];
    struct wire_hello hello;
    struct prng p;
    size_t n, used;

    (void)state;
    prng_seed(&p, 6);
    for (unsigned round = 0; round < 2; round++) {
        made_msg(&p, &in.msg, &record);
        if (round == 1) {
            make_hello(&hello, services, 3);
            in = (struct wire_frame){ .type = WIRE_HELLO, .hello = &hello };
        }
        n = pack(&in, frame_bytes) + WIRE_LENGTH;
        for (size_t size = 0; size <= n; size++) {
            uint8_t *exact = malloc(size + (size == 0));

            assert_non_null(exact);
            assert_int_equal(wire_pack(&in, exact, size, &used, &err),
                             size < n ? HM_NO_SPACE : HM_OK);
            free(exact);
        }
    }
}

/* --- frames that other versions may send ------------------------------------------------------ */

/* Adds unknown fields: a number, eight bytes, four bytes and a text. */
static size_t add_unknown(uint8_t *to)
{
    static const uint8_t fields[] = { 0xf8, 0x3f, 0x96, 0x01, /* 1023: varint */
                                      0xf1, 0x3f, 1,    2,    3,   4,
                                      5,    6,    7,    8,                /* 1022: fixed64 */
                                      0xed, 0x3f, 1,    2,    3,   4,     /* 1021: fixed32 */
                                      0xe2, 0x3f, 3,    'n',  'e', 'w' }; /* 1020: bytes */

    memcpy(to, fields, sizeof fields);
    return sizeof fields;
}

static void a_newer_version_with_more_fields_is_read(void **state)
{
    static struct record record;
    static uint8_t newer[512], old[256];
    struct wire_frame in = { .type = WIRE_MSG }, out;
    struct prng p;
    size_t n, at = 0;

    (void)state;
    prng_seed(&p, 7);
    do
        made_msg(&p, &in.msg, &record);
    while (in.msg.record != NULL);
    n = pack(&in, frame_bytes);
    assert_true(n < sizeof old);
    memcpy(old, body, n);
    n -= old[1] < 0x80 ? 2u : 3u; /* tag and length of the message */
    newer[at++] = 2 << 3 | 2;
    newer[at++] = (uint8_t)((n + 26) | 0x80);
    newer[at++] = (uint8_t)((n + 26) >> 7);
    assert_int_equal(add_unknown(newer + at), 26);
    at += 26;
    memcpy(newer + at, old + (old[1] < 0x80 ? 2 : 3), n);
    at += n;
    at += add_unknown(newer + at); /* and beside the message */
    if (unpack(newer, at, &out) != HM_OK)
        fail_msg("not read: %s", err.text);
    made_same_msg(&in.msg, &out.msg);
}

static void an_unknown_kind_of_frame_is_skipped(void **state)
{
    uint8_t bytes[64];
    struct wire_frame out;

    (void)state;
    assert_int_equal(unpack(bytes, add_unknown(bytes), &out), HM_REFUSED);
}

static void an_unknown_value_of_an_enum_is_bad(void **state)
{
    struct wire_frame in = { .type = WIRE_MSG }, out;
    static struct record record;
    struct prng p;
    size_t n;

    (void)state;
    prng_seed(&p, 8);
    do
        made_msg(&p, &in.msg, &record);
    while (in.msg.record != NULL);
    n = pack(&in, frame_bytes);
    for (unsigned number = 16; number < 128; number++) {
        body[body[1] < 0x80 ? 3 : 4] = (uint8_t)number;
        assert_int_equal(unpack(body, n, &out), HM_BAD_INPUT);
        assert_string_equal(err.text, "not possible: type of the message");
    }
}

static void a_text_is_neither_cut_nor_split(void **state)
{
    static struct wire_service services[1];
    struct wire_hello hello;
    struct wire_frame in = { .type = WIRE_HELLO, .hello = &hello }, out;
    uint8_t *name;
    size_t n;

    (void)state;
    make_hello(&hello, services, 0);
    memcpy(hello.from, "somebody", 9);
    n = pack(&in, frame_bytes);
    name = memmem(body, n, "somebody", 8);
    assert_non_null(name);
    name[4] = 0;
    assert_int_equal(unpack(body, n, &out), HM_BAD_INPUT);
    assert_string_equal(err.text, "not possible: a text has a NUL inside");
    /* a cluster of 32 bytes: one more than its array takes */
    assert_int_equal(unpack((const uint8_t *)"\x0a\x22\x1a\x20"
                                             "12345678901234567890123456789012",
                            36, &out),
                     HM_BAD_INPUT);
    assert_string_equal(err.text, "not possible: a text is too long");
    assert_int_equal(unpack((const uint8_t *)"\x0a\x21\x1a\x1f"
                                             "1234567890123456789012345678901",
                            35, &out),
                     HM_OK);
}

static void a_flood_of_parts_is_refused(void **state)
{
    static uint8_t flood[WIRE_FRAME_MAX + 1];
    struct wire_frame out;
    size_t at;

    (void)state;
    /* a hello with as many empty services as a frame can hold */
    flood[0] = 1 << 3 | 2;
    flood[1] = 0xfc;
    flood[2] = 0xff;
    flood[3] = 0x03; /* 65532 */
    for (at = 4; at < WIRE_FRAME_MAX; at += 2)
        flood[at] = 7 << 3 | 2;
    assert_int_equal(unpack(flood, WIRE_FRAME_MAX, &out), HM_BAD_INPUT);
    assert_int_equal(unpack(flood, WIRE_FRAME_MAX + 1, &out), HM_BAD_INPUT);
    assert_int_equal(unpack(flood, 0, &out), HM_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn_messages_come_out_as_they_went_in),
        cmocka_unit_test(every_type_and_refusal_comes_through),
        cmocka_unit_test(the_numbers_of_types_are_for_ever),
        cmocka_unit_test(the_longest_record_fits),
        cmocka_unit_test(garbled_frames_are_refused_or_sound),
        cmocka_unit_test(a_hello_comes_out_as_it_went_in),
        cmocka_unit_test(sixteen_of_the_longest_records_fit),
        cmocka_unit_test(a_service_without_a_possible_record_is_refused),
        cmocka_unit_test(texts_come_through_up_to_their_limit),
        cmocka_unit_test(a_small_buffer_is_not_overrun),
        cmocka_unit_test(a_newer_version_with_more_fields_is_read),
        cmocka_unit_test(an_unknown_kind_of_frame_is_skipped),
        cmocka_unit_test(an_unknown_value_of_an_enum_is_bad),
        cmocka_unit_test(a_text_is_neither_cut_nor_split),
        cmocka_unit_test(a_flood_of_parts_is_refused),
    };

    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
