/* entries.h - events of every kind as entries of a trace, for the tests that read traces. */
#ifndef TESTS_UNIT_ENTRIES_H
#define TESTS_UNIT_ENTRIES_H

#include "core/trace.h"
#include "tests/unit/told.h"

#include <stdlib.h>

/* --- events of every kind ----------------------------------------------------------------------
 */

static struct record some_record;
static struct voter_state some_state;
static struct told entries_told;

static inline void make_record(void)
{
    struct record first;

    told_first(&first, 3, 2);
    told_record(&some_record, &first);
    some_record.pairs_n = 2;
    pair_add(&some_record.pairs[1], 1, 1002);
    pair_add(&some_record.pairs[1], 2, 1003);
    some_record.pairs[1].need = 1;
    some_record.switchover = (struct switchover){ .order = 5, .to = 2, .phase = SWITCH_PREPARED };
    told_state(&some_state, &some_record, 1);
}

static inline void make_accept(struct msg *m)
{
    told_init(&entries_told, 3, 2, 1);
    *m = told_message(&entries_told, 0, MSG_ACCEPT);
    m->ballot = told_ballot(9, 0);
    m->version = some_record.version;
    m->ttl_ms = some_record.ttl_ms;
    m->seq = 3;
    m->gossip.priority = INT16_MIN;
    m->record = &some_record;
}

static inline void make_refusal(struct msg *m)
{
    told_init(&entries_told, 3, 2, 1);
    *m = told_message(&entries_told, 2, MSG_PREVOTE_ANSWER);
    m->ballot = told_ballot(9, 1);
    m->refusal = REFUSE_LIVE_LEASE;
    m->remaining_ms = 2 * HM_TTL_MAX_MS;
}

static inline bool make_order(unsigned i, struct order *o)
{
    static const struct order orders[] = {
        { .kind = ORDER_PAUSE, .id = 1 },
        { .kind = ORDER_RESUME, .id = 2 },
        { .kind = ORDER_SWITCHOVER, .id = 3, .member = HM_NOBODY },
        { .kind = ORDER_CANCEL, .id = 4 },
        { .kind = ORDER_TIMING, .id = 5, .ttl_ms = 900, .heartbeat_ms = 90 },
        { .kind = ORDER_DURABILITY, .id = 6, .durability = DURABILITY_STRICT, .sync_standbys = 2 },
        { .kind = ORDER_MEMBER_ADD,
          .id = 7,
          .added = { .role = ROLE_WITNESS, .incarnation = 8, .name = "wt9", .address = "x:1" } },
        { .kind = ORDER_MEMBER_REMOVE, .id = 8, .member = 8 },
        { .kind = ORDER_FORCE, .id = UINT64_MAX },
    };

    if (i >= HM_ARRAY_LEN(orders))
        return false;
    memcpy(o, &orders[i], sizeof *o);
    return true;
}

/* Number i of the events; false after the last. All that is not set is zero, padding too. */
static inline bool make_event(unsigned i, struct core_event *ev)
{
    memset(ev, 0, sizeof *ev);
    ev->at_ms = 1000 + i;
    ev->wall_ms = -5;
    switch (i) {
    case 0:
        ev->type = ON_START;
        ev->start.state = &some_state;
        return true;
    case 1:
        ev->type = ON_START;
        return true;
    case 2:
        ev->type = ON_TICK;
        return true;
    case 3:
        ev->type = ON_STALL;
        return true;
    case 4:
        ev->type = ON_PERSISTED;
        ev->persisted.ticket = UINT32_MAX;
        ev->persisted.is_ok = true;
        return true;
    case 5:
        ev->type = ON_COPY;
        told_standby(&ev->copy, 1);
        ev->copy.standby[8].is_streaming = true;
        ev->copy.standby[8].copy_id = 1;
        ev->copy.standby[8].flushed = UINT64_MAX;
        ev->copy.fence_until_ms = INT64_MIN;
        return true;
    case 6:
        ev->type = ON_DONE;
        ev->done.op = 17;
        told_primary(&ev->done.copy, 1);
        return true;
    case 7:
        ev->type = ON_MESSAGE;
        make_accept(&ev->message);
        return true;
    case 8:
        ev->type = ON_MESSAGE;
        make_refusal(&ev->message);
        return true;
    default:
        ev->type = ON_ORDER;
        return make_order(i - 9, &ev->order);
    }
}

static inline size_t put(const struct core_event *ev, uint8_t bytes[TRACE_ENTRY_MAX])
{
    const char *why = NULL;
    size_t size = 0;

    if (trace_put_event(ev, bytes, TRACE_ENTRY_MAX, &size, &why) != HM_OK)
        fail_msg("event %s cannot be written: %s", core_event_name(ev->type), why);
    return size;
}

/* Reads bytes that end where their memory ends, so that a sanitizer sees a byte too many. */
static inline enum hm_rc get_exactly(const uint8_t *bytes, size_t size,
                                     struct trace_storage *storage, struct core_event *ret_ev,
                                     const char **ret_why)
{
    uint8_t *exact = malloc(size + (size == 0));
    size_t used = 0;
    enum hm_rc rc;

    assert_non_null(exact);
    memcpy(exact, bytes, size);
    rc = trace_get_event(exact, size, storage, ret_ev, &used, ret_why);
    free(exact);
    if (rc == HM_OK)
        assert_int_equal(used, size);
    return rc;
}

/* Makes an entry of a body; returns its size. */
static inline size_t frame(uint8_t bytes[TRACE_ENTRY_MAX], const uint8_t *body, size_t n)
{
    uint32_t sum;

    if (body != bytes + TRACE_PREFIX)
        memmove(bytes + TRACE_PREFIX, body, n);
    sum = trace_checksum(bytes + TRACE_PREFIX, n);
    bytes[0] = (uint8_t)n;
    bytes[1] = (uint8_t)(n >> 8);
    for (unsigned i = 0; i < 4; i++)
        bytes[TRACE_PREFIX + n + i] = (uint8_t)(sum >> (8 * i));
    return TRACE_PREFIX + n + 4;
}

#endif
