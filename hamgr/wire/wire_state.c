/* The voter's state as bytes:
 *
 *     "HMVS"  format (1 byte)  length of the body (4 bytes, high one first)
 *     body: State of hamgr.proto
 *     CRC-32C of everything before it (4 bytes, high one first)
 *
 * The checksum covers the header, too, and nothing may come behind it: a file that was torn, or
 * written over by something longer, is never taken for a state. */
#include "base/bytes.h"
#include "core/trace.h"
#include "wire/wire_inner.h"

#include <string.h>

enum { MAGIC = 4, FORMAT = 1, HEADER = MAGIC + 1 + 4, CHECKSUM = 4 };

static const uint8_t magic[MAGIC] = { 'H', 'M', 'V', 'S' };

enum hm_rc wire_pack_state(const struct voter_state *state, const char *service, uint8_t *buffer,
                           size_t size, size_t *ret_used, struct hm_err *err)
{
    Hamgr__State out = HAMGR__STATE__INIT;
    Hamgr__Ballot promised, accepted;
    struct wire_record record;
    size_t body;

    out.service = wire_put_text(service, HM_NAME_MAX);
    out.incarnation = state->incarnation;
    out.promised = wire_put_ballot(&promised, &state->promised);
    out.accepted = wire_put_ballot(&accepted, &state->accepted);
    out.max_ttl_ms = state->max_ttl_ms;
    if (state->accepted.counter != 0)
        out.record = wire_put_record(&record, &state->record);
    body = hamgr__state__get_packed_size(&out);
    if (HEADER + body + CHECKSUM > size)
        return hm_fail(err, HM_NO_SPACE, "a voter's state of %zu bytes does not fit", body);
    memcpy(buffer, magic, MAGIC);
    buffer[MAGIC] = FORMAT;
    bytes_put(buffer + MAGIC + 1, 4, (uint32_t)body);
    (void)hamgr__state__pack(&out, buffer + HEADER); /* as many bytes as it said before */
    bytes_put(buffer + HEADER + body, 4, trace_checksum(buffer, HEADER + body));
    *ret_used = HEADER + body + CHECKSUM;
    return HM_OK;
}

/* HM_OK when the bytes are a whole body with its header and checksum. */
static enum hm_rc check_envelope(const uint8_t *bytes, size_t size, struct hm_err *err)
{
    if (size < HEADER || memcmp(bytes, magic, MAGIC) != 0)
        return hm_fail(err, HM_BAD_INPUT, "this is no voter's state");
    if (bytes[MAGIC] != FORMAT)
        return hm_fail(err, HM_BAD_INPUT, "format %d is unknown", bytes[MAGIC]);
    if (size > WIRE_STATE_MAX || size < HEADER + CHECKSUM ||
        (uint32_t)bytes_get(bytes + MAGIC + 1, 4) != size - HEADER - CHECKSUM)
        return hm_fail(err, HM_BAD_INPUT, "%zu bytes are not the length that it says", size);
    if ((uint32_t)bytes_get(bytes + size - CHECKSUM, 4) != trace_checksum(bytes, size - CHECKSUM))
        return hm_fail(err, HM_BAD_INPUT, "the checksum is wrong");
    return HM_OK;
}

static const char *state_fault(const struct voter_state *s)
{
    const char *why = NULL;

    if (s->incarnation == 0)
        return "incarnation of the member";
    if (s->max_ttl_ms < 0 || s->max_ttl_ms > HM_TTL_MAX_MS)
        return "longest ttl";
    if (s->promised.counter > HM_COUNTER_MAX)
        return "promised ballot";
    if (s->accepted.counter == 0)
        return NULL;
    if (ballot_compare(&s->promised, &s->accepted) < 0)
        return "a promise below what is accepted";
    return record_check(&s->record, &why) == HM_OK ? NULL : why;
}

static const char *get_state(const Hamgr__State *in, struct voter_state *ret)
{
    const char *why = NULL;

    memset(ret, 0, sizeof *ret);
    ret->incarnation = in->incarnation;
    ret->promised = wire_get_ballot(in->promised, &why);
    ret->accepted = wire_get_ballot(in->accepted, &why);
    ret->max_ttl_ms = in->max_ttl_ms;
    if ((in->record != NULL) != (ret->accepted.counter != 0))
        return "record and accepted ballot";
    if (in->record != NULL)
        wire_get_record(in->record, &ret->record, &why);
    return why != NULL ? why : state_fault(ret);
}

enum hm_rc wire_unpack_state(const uint8_t *bytes, size_t size, const char *service,
                             struct wire_storage *storage, struct voter_state *ret,
                             struct hm_err *err)
{
    ProtobufCAllocator arena = wire_arena(storage);
    char name[HM_NAME_MAX];
    struct voter_state state;
    const char *why = NULL;
    Hamgr__State *in;
    enum hm_rc rc;

    rc = check_envelope(bytes, size, err);
    if (rc != HM_OK)
        return rc;
    in = hamgr__state__unpack(&arena, size - HEADER - CHECKSUM, bytes + HEADER);
    if (in == NULL)
        return hm_fail(err, HM_BAD_INPUT, "its content is garbled");
    wire_get_text(&in->service, name, sizeof name, &why);
    if (why != NULL || strcmp(name, service) != 0)
        return hm_fail(err, HM_BAD_INPUT, "it belongs to the service '%s', not to '%s'", name,
                       service);
    why = get_state(in, &state);
    if (why != NULL)
        return hm_fail(err, HM_BAD_INPUT, "not possible: %s", why);
    *ret = state;
    return HM_OK;
}
