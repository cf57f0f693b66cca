/* Bytes as a voter's state. No fuzzer guesses a checksum, so an input that begins with an even byte
 * is put into a sound envelope first. The seeds are states of tests/unit/wire_made.h. */
#include "core/trace.h"
#include "wire/wire.h"

#include <string.h>

enum { HEADER = 9, CHECKSUM = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void put_u32(uint8_t *to, uint32_t number)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(number >> (24 - 8 * i));
}

static size_t wrap(const uint8_t *body, size_t n, uint8_t *to)
{
    memcpy(to, "HMVS\1", 5);
    put_u32(to + 5, (uint32_t)n);
    memcpy(to + HEADER, body, n);
    put_u32(to + HEADER + n, trace_checksum(to, HEADER + n));
    return HEADER + n + CHECKSUM;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct wire_storage storage;
    static uint8_t wrapped[WIRE_STATE_MAX + HEADER + CHECKSUM], a[WIRE_STATE_MAX],
        b[WIRE_STATE_MAX];
    static struct voter_state state, again;
    struct hm_err err;
    size_t a_n, b_n;

    if (size == 0 || size > WIRE_STATE_MAX)
        return 0;
    bytes++;
    size--;
    if (bytes[-1] % 2 == 0) {
        size = wrap(bytes, size, wrapped);
        bytes = wrapped;
    }
    if (wire_unpack_state(bytes, size, "main", &storage, &state, &err) != HM_OK)
        return 0;
    HM_BUG_ON(wire_pack_state(&state, "main", a, sizeof a, &a_n, &err) != HM_OK);
    HM_BUG_ON(wire_unpack_state(a, a_n, "main", &storage, &again, &err) != HM_OK);
    HM_BUG_ON(wire_pack_state(&again, "main", b, sizeof b, &b_n, &err) != HM_OK);
    HM_BUG_ON(b_n != a_n || memcmp(a, b, a_n) != 0);
    return 0;
}
