/* Bytes as a frame. What comes out can be written again, and what was written is always read as the
 * same. The seeds are frames of tests/unit/wire_made.h. */
#include "wire/wire.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct wire_storage first, second;
    static uint8_t a[WIRE_LENGTH + WIRE_FRAME_MAX], b[WIRE_LENGTH + WIRE_FRAME_MAX];
    struct wire_frame f, again;
    struct hm_err err;
    size_t a_n, b_n;

    if (wire_unpack(bytes, size, &first, &f, &err) != HM_OK)
        return 0;
    HM_BUG_ON(wire_pack(&f, a, sizeof a, &a_n, &err) != HM_OK);
    HM_BUG_ON(wire_unpack(a + WIRE_LENGTH, a_n - WIRE_LENGTH, &second, &again, &err) != HM_OK);
    HM_BUG_ON(again.type != f.type);
    HM_BUG_ON(wire_pack(&again, b, sizeof b, &b_n, &err) != HM_OK);
    HM_BUG_ON(b_n != a_n || memcmp(a, b, a_n) != 0);
    return 0;
}
