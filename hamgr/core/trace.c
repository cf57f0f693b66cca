#include "core/trace.h"

#include "core/trace_code.h"

#include <string.h>

#define SUFFIX (TRACE_ENTRY_MAX - TRACE_PREFIX - TRACE_BODY_MAX)
#define TIMEOUT_MAX_MS 86400000 /* of a config: a day */

static const uint8_t magic[TRACE_MAGIC] = { 'H', 'M', 'T', 'R', TRACE_FORMAT };

/* --- frames ---------------------------------------------------------------------------------- */

uint32_t trace_checksum(const uint8_t *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

size_t trace_frame_size(const uint8_t prefix[TRACE_PREFIX])
{
    return TRACE_PREFIX + (size_t)(prefix[0] | prefix[1] << 8) + SUFFIX;
}

/* A codec that writes the body of a frame into the buffer. */
static struct codec begin_frame(uint8_t *buffer, size_t size)
{
    struct codec x = { .to = buffer + TRACE_PREFIX };

    if (size < TRACE_PREFIX + SUFFIX)
        return (struct codec){ .to = buffer, .why = trace_no_room };
    x.size = size - TRACE_PREFIX - SUFFIX;
    if (x.size > TRACE_BODY_MAX)
        x.size = TRACE_BODY_MAX;
    return x;
}

static enum hm_rc end_frame(const struct codec *x, uint8_t *buffer, size_t *ret_size,
                            const char **ret_why)
{
    uint32_t sum;

    if (x->why != NULL) {
        *ret_why = x->why;
        return x->why == trace_no_room ? HM_NO_SPACE : HM_BAD_INPUT;
    }
    buffer[0] = (uint8_t)x->at;
    buffer[1] = (uint8_t)(x->at >> 8);
    sum = trace_checksum(x->to, x->at);
    for (unsigned i = 0; i < SUFFIX; i++)
        x->to[x->at + i] = (uint8_t)(sum >> (8 * i));
    *ret_size = TRACE_PREFIX + x->at + SUFFIX;
    return HM_OK;
}

/* A codec that reads the body of the frame, if there is a whole one; else one with a fault. */
static struct codec open_frame(const uint8_t *bytes, size_t size)
{
    struct codec x = { .to = NULL };
    uint32_t sum = 0;

    if (size < TRACE_PREFIX) {
        x.why = "the trace ends within an entry";
        return x;
    }
    if (trace_frame_size(bytes) > TRACE_ENTRY_MAX) {
        x.why = "an entry is longer than any can be";
        return x;
    }
    if (trace_frame_size(bytes) > size) {
        x.why = "the trace ends within an entry";
        return x;
    }
    x.from = bytes + TRACE_PREFIX;
    x.size = trace_frame_size(bytes) - TRACE_PREFIX - SUFFIX;
    for (unsigned i = 0; i < SUFFIX; i++)
        sum |= (uint32_t)x.from[x.size + i] << (8 * i);
    if (sum != trace_checksum(x.from, x.size))
        x.why = "the checksum of an entry is wrong";
    return x;
}

static const char *frame_fault(const struct codec *x)
{
    if (x->why != NULL)
        return x->why;
    return x->at < x->size ? "an entry has bytes left over" : NULL;
}

/* --- the header ------------------------------------------------------------------------------ */

static bool is_timeout(hm_ms timeout_ms)
{
    return timeout_ms >= 0 && timeout_ms <= TIMEOUT_MAX_MS;
}

/* A first record is no record yet: what it lacks is filled in before it is looked at. */
static const char *config_fault(const struct core_config *c)
{
    struct record r = c->first;
    const char *why = NULL;

    if (c->role == ROLE_NONE || c->incarnation == 0)
        return "role or incarnation of the config";
    if (c->name[0] == 0 || memchr(c->name, 0, sizeof c->name) == NULL)
        return "name of the config";
    if (!is_timeout(c->stall_timeout_ms) || !is_timeout(c->crash_wait_ms) ||
        !is_timeout(c->freeze_timeout_ms) || !is_timeout(c->rescue_timeout_ms) ||
        !is_timeout(c->fence_margin_ms))
        return "time limit of the config";
    r.version = 1;
    r.epoch = 1;
    r.pairs_n = 1;
    r.pairs[0] = pair_alone;
    for (r.holder = 0; r.holder < HM_MEMBERS_MAX; r.holder++)
        if (r.member[r.holder].role == ROLE_DB)
            break;
    return record_check(&r, &why) == HM_OK ? NULL : why;
}

enum hm_rc trace_put_config(const struct core_config *config, uint8_t *buffer, size_t size,
                            size_t *ret_used, const char **ret_why)
{
    struct core_config copy = *config;
    const char *why = config_fault(config);
    struct codec x;
    size_t used;
    enum hm_rc rc;

    if (why != NULL || size < TRACE_MAGIC) {
        *ret_why = why != NULL ? why : trace_no_room;
        return why != NULL ? HM_BAD_INPUT : HM_NO_SPACE;
    }
    memcpy(buffer, magic, TRACE_MAGIC);
    x = begin_frame(buffer + TRACE_MAGIC, size - TRACE_MAGIC);
    trace_code_config(&x, &copy);
    rc = end_frame(&x, buffer + TRACE_MAGIC, &used, ret_why);
    if (rc == HM_OK)
        *ret_used = TRACE_MAGIC + used;
    return rc;
}

enum hm_rc trace_get_config(const uint8_t *bytes, size_t size, struct core_config *ret_config,
                            size_t *ret_used, const char **ret_why)
{
    struct core_config config;
    struct codec x;
    const char *why;

    memset(&config, 0, sizeof config);
    if (size < TRACE_MAGIC || memcmp(bytes, magic, TRACE_MAGIC - 1) != 0) {
        *ret_why = "this is no trace";
        return HM_BAD_INPUT;
    }
    if (bytes[TRACE_MAGIC - 1] != TRACE_FORMAT) {
        *ret_why = "the format of the trace is unknown";
        return HM_BAD_INPUT;
    }
    x = open_frame(bytes + TRACE_MAGIC, size - TRACE_MAGIC);
    trace_code_config(&x, &config);
    why = frame_fault(&x);
    if (why == NULL)
        why = config_fault(&config);
    if (why != NULL) {
        *ret_why = why;
        return HM_BAD_INPUT;
    }
    *ret_config = config;
    *ret_used = TRACE_MAGIC + TRACE_PREFIX + x.size + SUFFIX;
    return HM_OK;
}

/* --- entries --------------------------------------------------------------------------------- */

enum hm_rc trace_put_event(const struct core_event *ev, uint8_t *buffer, size_t size,
                           size_t *ret_used, const char **ret_why)
{
    struct trace_storage s;
    struct core_event copy;
    struct codec x;

    if (core_event_check(ev, ret_why) != HM_OK)
        return HM_BAD_INPUT;
    copy = *ev;
    if (ev->type == ON_MESSAGE && ev->message.record != NULL)
        s.record = *ev->message.record;
    if (ev->type == ON_START && ev->start.state != NULL)
        s.state = *ev->start.state;
    x = begin_frame(buffer, size);
    trace_code_event(&x, &copy, &s);
    return end_frame(&x, buffer, ret_used, ret_why);
}

enum hm_rc trace_get_event(const uint8_t *bytes, size_t size, struct trace_storage *storage,
                           struct core_event *ret_event, size_t *ret_used, const char **ret_why)
{
    struct codec x = open_frame(bytes, size);
    struct core_event ev;
    const char *why;

    memset(storage, 0, sizeof *storage);
    memset(&ev, 0, sizeof ev);
    trace_code_event(&x, &ev, storage);
    why = frame_fault(&x);
    if (why == NULL && core_event_check(&ev, ret_why) != HM_OK)
        return HM_BAD_INPUT;
    if (why != NULL) {
        *ret_why = why;
        return HM_BAD_INPUT;
    }
    *ret_event = ev;
    *ret_used = TRACE_PREFIX + x.size + SUFFIX;
    return HM_OK;
}
