#include "core/trace_code.h"

#include <string.h>

const char trace_no_room[] = "the buffer is too small";

/* --- values ---------------------------------------------------------------------------------- */

/* Each function below takes a value and gives one back: what was read, or what was written. */

static bool is_reading(const struct codec *x)
{
    return x->to == NULL;
}

static void note_fault(struct codec *x, const char *why)
{
    if (x->why == NULL)
        x->why = why;
}

static uint8_t code_byte(struct codec *x, uint8_t byte)
{
    if (x->why != NULL)
        return 0;
    if (x->at == x->size) {
        note_fault(x, is_reading(x) ? "an entry ends within a value" : trace_no_room);
        return 0;
    }
    if (is_reading(x))
        return x->from[x->at++];
    x->to[x->at++] = byte;
    return byte;
}

static uint64_t read_varint(struct codec *x)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = code_byte(x, 0);

        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) != 0)
            continue;
        if (byte == 0 && shift > 0)
            note_fault(x, "a number is not in its shortest form");
        return value;
    }
    note_fault(x, "a number is too large for any field");
    return 0;
}

static void write_varint(struct codec *x, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        (void)code_byte(x, (uint8_t)(value | 0x80)); /* what goes wrong is in x->why */
    (void)code_byte(x, (uint8_t)value);
}

static uint64_t code_number(struct codec *x, uint64_t value, uint64_t max)
{
    if (is_reading(x))
        value = read_varint(x);
    if (value > max) {
        note_fault(x, "a number is out of range");
        return 0;
    }
    if (!is_reading(x))
        write_varint(x, value);
    return x->why == NULL ? value : 0;
}

static uint64_t code_u64(struct codec *x, uint64_t value)
{
    return code_number(x, value, UINT64_MAX);
}

static uint32_t code_u32(struct codec *x, uint32_t value)
{
    return (uint32_t)code_number(x, value, UINT32_MAX);
}

static uint16_t code_u16(struct codec *x, uint16_t value)
{
    return (uint16_t)code_number(x, value, UINT16_MAX);
}

static uint8_t code_u8(struct codec *x, uint8_t value)
{
    return code_byte(x, value);
}

static uint8_t code_count(struct codec *x, uint8_t value, uint8_t max)
{
    return (uint8_t)code_number(x, value, max);
}

static bool code_bool(struct codec *x, bool value)
{
    return code_number(x, value, 1) != 0;
}

/* An enum whose values are 0 to last. */
static unsigned code_enum(struct codec *x, unsigned value, unsigned last)
{
    return (unsigned)code_number(x, value, last);
}

static int64_t code_ms(struct codec *x, int64_t value)
{
    uint64_t bits = (uint64_t)value << 1;

    bits = code_u64(x, value < 0 ? ~bits : bits);
    return (bits & 1) != 0 ? -(int64_t)(bits >> 1) - 1 : (int64_t)(bits >> 1);
}

static int16_t code_i16(struct codec *x, int16_t value)
{
    int64_t wide = code_ms(x, value);

    if (wide < INT16_MIN || wide > INT16_MAX) {
        note_fault(x, "a number is out of range");
        return 0;
    }
    return (int16_t)wide;
}

/* A text fills its array or ends in a NUL; the rest of the array is read as NULs. */
static void code_text(struct codec *x, char *text, size_t size)
{
    size_t n = (size_t)code_number(x, strnlen(text, size), size);

    if (is_reading(x))
        memset(text, 0, size);
    for (size_t i = 0; i < n && x->why == NULL; i++) {
        text[i] = (char)code_byte(x, (uint8_t)text[i]);
        if (text[i] == 0)
            note_fault(x, "a text ends before its length");
    }
}

/* --- records --------------------------------------------------------------------------------- */

static void code_ballot(struct codec *x, struct ballot *b)
{
    b->counter = code_u64(x, b->counter);
    b->incarnation = code_u64(x, b->incarnation);
    b->member = code_u8(x, b->member);
}

static void code_position(struct codec *x, struct position *p)
{
    p->timeline = code_u64(x, p->timeline);
    p->offset = code_u64(x, p->offset);
}

static void code_member(struct codec *x, struct member *m)
{
    m->incarnation = code_u64(x, m->incarnation);
    m->role = (enum member_role)code_enum(x, m->role, ROLE_OBSERVER);
    code_text(x, m->name, sizeof m->name);
    code_text(x, m->address, sizeof m->address);
}

static void code_pair(struct codec *x, struct pair *p)
{
    p->n = code_count(x, p->n, HM_MEMBERS_MAX);
    p->need = code_u8(x, p->need);
    for (unsigned i = 0; i < p->n; i++) {
        p->copies[i].copy_id = code_u64(x, p->copies[i].copy_id);
        p->copies[i].member = code_u8(x, p->copies[i].member);
    }
}

static void code_history(struct codec *x, struct record *r)
{
    r->timelines_n = code_count(x, r->timelines_n, HM_TIMELINES_MAX);
    for (unsigned i = 0; i < r->timelines_n; i++) {
        struct timeline *t = &r->timelines[i];

        t->timeline = code_u64(x, t->timeline);
        t->epoch = code_u64(x, t->epoch);
        t->start = code_u64(x, t->start);
    }
    r->changes_n = code_count(x, r->changes_n, HM_CHANGES_MAX);
    for (unsigned i = 0; i < r->changes_n; i++) {
        struct change *change = &r->changes[i];

        change->epoch = code_u64(x, change->epoch);
        change->at = code_ms(x, change->at);
        change->holder = code_u8(x, change->holder);
        change->reason = (enum change_reason)code_enum(x, change->reason, CHANGE_FORCED);
    }
}

static void code_modes(struct codec *x, struct record *r)
{
    r->ttl_ms = code_ms(x, r->ttl_ms);
    r->heartbeat_ms = code_ms(x, r->heartbeat_ms);
    r->durability = (enum durability)code_enum(x, r->durability, DURABILITY_STRICT);
    r->goal = (enum durability)code_enum(x, r->goal, DURABILITY_STRICT);
    r->sync_standbys = code_u8(x, r->sync_standbys);
    r->max_lag_bytes = code_u64(x, r->max_lag_bytes);
    r->is_paused = code_bool(x, r->is_paused);
    r->switchover.order = code_u64(x, r->switchover.order);
    r->switchover.to = code_u8(x, r->switchover.to);
    r->switchover.phase = (enum switch_phase)code_enum(x, r->switchover.phase, SWITCH_FORCED);
    r->last_order = code_u64(x, r->last_order);
}

static void code_record(struct codec *x, struct record *r)
{
    r->cluster = code_u64(x, r->cluster);
    r->cluster_incarnation = code_u32(x, r->cluster_incarnation);
    r->service = code_u8(x, r->service);
    r->kind = (enum service_kind)code_enum(x, r->kind, SERVICE_REDIS);
    r->version = code_u64(x, r->version);
    r->epoch = code_u64(x, r->epoch);
    r->holder = code_u8(x, r->holder);
    r->copy_id = code_u64(x, r->copy_id);
    r->system_id = code_u64(x, r->system_id);
    code_modes(x, r);
    r->pairs_n = code_count(x, r->pairs_n, HM_PAIRS_MAX);
    for (unsigned i = 0; i < r->pairs_n; i++)
        code_pair(x, &r->pairs[i]);
    code_history(x, r);
    code_position(x, &r->last_known);
    r->voters = code_u16(x, r->voters);
    r->old_voters = code_u16(x, r->old_voters);
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        code_member(x, &r->member[slot]);
}

static void code_voter_state(struct codec *x, struct voter_state *s)
{
    s->incarnation = code_u64(x, s->incarnation);
    code_ballot(x, &s->promised);
    code_ballot(x, &s->accepted);
    s->max_ttl_ms = code_ms(x, s->max_ttl_ms);
    if (s->accepted.counter != 0)
        code_record(x, &s->record);
}

void trace_code_config(struct codec *x, struct core_config *c)
{
    c->cluster = code_u64(x, c->cluster);
    c->service = code_u8(x, c->service);
    c->kind = (enum service_kind)code_enum(x, c->kind, SERVICE_REDIS);
    c->role = (enum member_role)code_enum(x, c->role, ROLE_OBSERVER);
    c->incarnation = code_u64(x, c->incarnation);
    c->seed = code_u64(x, c->seed);
    code_text(x, c->name, sizeof c->name);
    c->priority = code_i16(x, c->priority);
    c->is_nofailover = code_bool(x, c->is_nofailover);
    code_text(x, c->follow, sizeof c->follow);
    c->stall_timeout_ms = code_ms(x, c->stall_timeout_ms);
    c->crash_wait_ms = code_ms(x, c->crash_wait_ms);
    c->freeze_timeout_ms = code_ms(x, c->freeze_timeout_ms);
    c->rescue_timeout_ms = code_ms(x, c->rescue_timeout_ms);
    c->rescue_bytes = code_u64(x, c->rescue_bytes);
    c->fence_margin_ms = code_ms(x, c->fence_margin_ms);
    code_record(x, &c->first);
}

/* --- events ---------------------------------------------------------------------------------- */

static void code_gossip(struct codec *x, struct gossip *g)
{
    g->copy = (enum copy_state)code_enum(x, g->copy, COPY_STATES_N - 1);
    g->copy_id = code_u64(x, g->copy_id);
    code_position(x, &g->at);
    g->began_epoch = code_u64(x, g->began_epoch);
    g->epoch = code_u64(x, g->epoch);
    g->priority = code_i16(x, g->priority);
    g->follows = code_u8(x, g->follows);
    g->is_streaming = code_bool(x, g->is_streaming);
    g->is_final = code_bool(x, g->is_final);
    g->is_healthy = code_bool(x, g->is_healthy);
    g->is_nofailover = code_bool(x, g->is_nofailover);
    g->is_delayed = code_bool(x, g->is_delayed);
    g->wants_rebuild = code_bool(x, g->wants_rebuild);
    g->sees_majority = code_bool(x, g->sees_majority);
    g->is_holder = code_bool(x, g->is_holder);
    g->released = code_bool(x, g->released);
    g->is_rebuilding = code_bool(x, g->is_rebuilding);
    g->rebuilt_percent = code_u8(x, g->rebuilt_percent);
    g->rebuild_failures = code_u8(x, g->rebuild_failures);
    g->is_open = code_bool(x, g->is_open);
}

static void code_message(struct codec *x, struct msg *m, struct record *record)
{
    m->type = (enum msg_type)code_enum(x, m->type, MSG_TYPES_N - 1);
    m->service = code_u8(x, m->service);
    m->from = code_u8(x, m->from);
    m->to = code_u8(x, m->to);
    m->from_incarnation = code_u64(x, m->from_incarnation);
    m->to_incarnation = code_u64(x, m->to_incarnation);
    m->cluster = code_u64(x, m->cluster);
    m->cluster_incarnation = code_u32(x, m->cluster_incarnation);
    m->seq = code_u32(x, m->seq);
    code_ballot(x, &m->ballot);
    m->version = code_u64(x, m->version);
    m->ttl_ms = code_ms(x, m->ttl_ms);
    m->refusal = (enum refusal)code_enum(x, m->refusal, REFUSALS_N - 1);
    code_ballot(x, &m->promised);
    m->remaining_ms = code_ms(x, m->remaining_ms);
    code_ballot(x, &m->accepted);
    code_position(x, &m->at);
    m->began_epoch = code_u64(x, m->began_epoch);
    m->copy_id = code_u64(x, m->copy_id);
    code_gossip(x, &m->gossip);
    if (code_bool(x, m->record != NULL)) {
        code_record(x, record);
        m->record = record;
    }
}

static void code_standbys(struct codec *x, struct copy *c)
{
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        c->standby[slot].is_streaming = code_bool(x, c->standby[slot].is_streaming);
        c->standby[slot].copy_id = code_u64(x, c->standby[slot].copy_id);
        c->standby[slot].flushed = code_u64(x, c->standby[slot].flushed);
    }
}

static void code_copy(struct codec *x, struct copy *c)
{
    c->taken_at_ms = code_ms(x, c->taken_at_ms);
    c->state = (enum copy_state)code_enum(x, c->state, COPY_STATES_N - 1);
    c->was_primary = code_bool(x, c->was_primary);
    c->has_written = code_bool(x, c->has_written);
    c->is_healthy = code_bool(x, c->is_healthy);
    c->is_crashed = code_bool(x, c->is_crashed);
    c->stalled_ms = code_ms(x, c->stalled_ms);
    c->hung_ms = code_ms(x, c->hung_ms);
    c->is_full = code_bool(x, c->is_full);
    c->copy_id = code_u64(x, c->copy_id);
    c->system_id = code_u64(x, c->system_id);
    c->server_id = code_u64(x, c->server_id);
    code_position(x, &c->at);
    c->is_final = code_bool(x, c->is_final);
    c->began_epoch = code_u64(x, c->began_epoch);
    c->follows = code_u8(x, c->follows);
    c->is_streaming = code_bool(x, c->is_streaming);
    c->is_delayed = code_bool(x, c->is_delayed);
    c->lacks_log = code_bool(x, c->lacks_log);
    c->rebuilt_percent = code_u8(x, c->rebuilt_percent);
    c->names = (enum names_state)code_enum(x, c->names, NAMES_PAIR);
    c->names_digest = code_u64(x, c->names_digest);
    c->is_flag_certain = code_bool(x, c->is_flag_certain);
    code_standbys(x, c);
    c->fence_answers = code_bool(x, c->fence_answers);
    c->fence = (enum fence_mode)code_enum(x, c->fence, FENCE_PAUSED);
    c->fence_until_ms = code_ms(x, c->fence_until_ms);
    c->is_gate_open = code_bool(x, c->is_gate_open);
}

static void code_order(struct codec *x, struct order *o)
{
    o->kind = (enum order_kind)code_enum(x, o->kind, ORDER_KEEP);
    o->id = code_u64(x, o->id);
    if (o->kind == ORDER_SWITCHOVER || o->kind == ORDER_MEMBER_REMOVE)
        o->member = code_u8(x, o->member);
    if (o->kind == ORDER_TIMING) {
        o->ttl_ms = code_ms(x, o->ttl_ms);
        o->heartbeat_ms = code_ms(x, o->heartbeat_ms);
    }
    if (o->kind == ORDER_DURABILITY) {
        o->durability = (enum durability)code_enum(x, o->durability, DURABILITY_STRICT);
        o->sync_standbys = code_u8(x, o->sync_standbys);
    }
    if (o->kind == ORDER_MEMBER_ADD)
        code_member(x, &o->added);
}

static void code_start(struct codec *x, struct core_event *ev, struct voter_state *state)
{
    if (code_bool(x, ev->start.state != NULL)) {
        code_voter_state(x, state);
        ev->start.state = state;
    }
}

void trace_code_event(struct codec *x, struct core_event *ev, struct trace_storage *s)
{
    ev->type = (enum core_event_type)code_enum(x, ev->type, CORE_EVENTS_N - 1);
    ev->at_ms = code_ms(x, ev->at_ms);
    ev->wall_ms = code_ms(x, ev->wall_ms);
    switch (ev->type) {
    case ON_START:
        code_start(x, ev, &s->state);
        break;
    case ON_MESSAGE:
        code_message(x, &ev->message, &s->record);
        break;
    case ON_PERSISTED:
        ev->persisted.ticket = code_u32(x, ev->persisted.ticket);
        ev->persisted.is_ok = code_bool(x, ev->persisted.is_ok);
        break;
    case ON_COPY:
        code_copy(x, &ev->copy);
        break;
    case ON_DONE:
        ev->done.op = code_u32(x, ev->done.op);
        ev->done.is_ok = code_bool(x, ev->done.is_ok);
        code_copy(x, &ev->done.copy);
        break;
    case ON_ORDER:
        code_order(x, &ev->order);
        break;
    case ON_TICK:
    case ON_STALL:
    case CORE_EVENTS_N:
        break;
    }
}
