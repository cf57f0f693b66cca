/* Pieces of a log as frames: there and back, and what is refused. */
#include "wire/wire.h"

#include "tests/cm.h"

#include <string.h>

static uint8_t buffer[WIRE_LENGTH + WIRE_FRAME_MAX], bytes[WIRE_LOG_MAX + 1];
static struct wire_storage storage;
static struct hm_err err;

static struct wire_frame make(enum wire_type type, uint32_t size)
{
    return (struct wire_frame){ .type = type,
                                .log = { .service = 3,
                                         .id = 0x8899aabbccddeeff,
                                         .ballot = { .counter = 7, .incarnation = 99, .member = 2 },
                                         .at = { .timeline = 5, .offset = 1ull << 40 },
                                         .size = size,
                                         .bytes = type == WIRE_LOG_PIECE ? bytes : NULL } };
}

static void goes_there_and_back(enum wire_type type, uint32_t size)
{
    struct wire_frame in = make(type, size), out;
    size_t used;

    assert_int_equal(wire_pack(&in, buffer, sizeof buffer, &used, &err), HM_OK);
    assert_int_equal(wire_unpack(buffer + WIRE_LENGTH, used - WIRE_LENGTH, &storage, &out, &err),
                     HM_OK);
    assert_int_equal(out.type, type);
    assert_int_equal(out.log.service, 3);
    assert_true(out.log.id == in.log.id);
    assert_int_equal(out.log.ballot.counter, 7);
    assert_int_equal(out.log.ballot.incarnation, 99);
    assert_int_equal(out.log.ballot.member, 2);
    assert_int_equal(out.log.at.timeline, 5);
    assert_true(out.log.at.offset == in.log.at.offset);
    assert_int_equal(out.log.size, size);
    if (type == WIRE_LOG_PIECE && size > 0)
        assert_memory_equal(out.log.bytes, bytes, size);
}

static void asked_and_given(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    goes_there_and_back(WIRE_LOG_ASK, 1);
    goes_there_and_back(WIRE_LOG_ASK, WIRE_LOG_MAX);
    goes_there_and_back(WIRE_LOG_PIECE, WIRE_LOG_MAX);
    goes_there_and_back(WIRE_LOG_PIECE, 0);
}

static void more_than_a_piece_is_not_sent(void **state)
{
    struct wire_frame in = make(WIRE_LOG_PIECE, WIRE_LOG_MAX + 1);
    size_t used;

    (void)state;
    assert_int_equal(wire_pack(&in, buffer, sizeof buffer, &used, &err), HM_NO_SPACE);
}

/* A request that says one size and brings bytes, or a piece that lies about its own. */
static void a_size_that_lies_is_refused(void **state)
{
    struct wire_frame in = make(WIRE_LOG_PIECE, 100), out;
    size_t used, n;

    (void)state;
    assert_int_equal(wire_pack(&in, buffer, sizeof buffer, &used, &err), HM_OK);
    n = used - WIRE_LENGTH;
    for (size_t i = 0; i < 60; i++) { /* the head, where the numbers are */
        uint8_t was = buffer[WIRE_LENGTH + i];

        for (unsigned change = 1; change < 256; change++) {
            buffer[WIRE_LENGTH + i] = (uint8_t)(was + change);
            if (wire_unpack(buffer + WIRE_LENGTH, n, &storage, &out, &err) == HM_OK &&
                (out.type == WIRE_LOG_PIECE || out.type == WIRE_LOG_ASK))
                assert_true(out.log.size <= WIRE_LOG_MAX);
        }
        buffer[WIRE_LENGTH + i] = was;
    }
    for (size_t cut = 0; cut < n; cut++)
        if (wire_unpack(buffer + WIRE_LENGTH, cut, &storage, &out, &err) == HM_OK)
            assert_true(out.type != WIRE_LOG_PIECE || out.log.size == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_and_given),
        cmocka_unit_test(more_than_a_piece_is_not_sent),
        cmocka_unit_test(a_size_that_lies_is_refused),
    };

    return cmocka_run_group_tests_name("wire_log", tests, NULL, NULL);
}
