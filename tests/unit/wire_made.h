/* wire_made.h - drawn messages, records, hellos and states that hamgr's checks let pass, for the
 * tests of the wire. Everything that may be set is set, to small and to extreme numbers alike. */
#ifndef TESTS_UNIT_WIRE_MADE_H
#define TESTS_UNIT_WIRE_MADE_H

#include "base/prng.h"
#include "tests/unit/entries.h"
#include "wire/wire.h"

static inline uint64_t made_u64(struct prng *p)
{
    switch (prng_below(p, 4)) {
    case 0:
        return 0;
    case 1:
        return prng_below(p, 300);
    case 2:
        return UINT64_MAX;
    default:
        return prng_next(p);
    }
}

static inline bool made_bool(struct prng *p)
{
    return prng_chance(p, 1, 2);
}

/* A text that may fill its array up to the NUL. */
static inline void made_text(struct prng *p, char *text, size_t size, size_t least)
{
    size_t n = (size_t)prng_between(p, (int64_t)least, (int64_t)size - 1);

    memset(text, 0, size);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)prng_between(p, 1, 127);
}

static inline struct ballot made_ballot(struct prng *p)
{
    return (struct ballot){ .counter = 1 + prng_below(p, HM_COUNTER_MAX),
                            .incarnation = made_u64(p),
                            .member = (uint8_t)prng_below(p, HM_MEMBERS_MAX) };
}

static inline struct position made_position(struct prng *p)
{
    return (struct position){ .timeline = made_u64(p), .offset = made_u64(p) };
}

static inline void made_members(struct prng *p, struct record *r)
{
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct member *m = &r->member[slot];

        m->role = (enum member_role)prng_below(p, ROLE_WITNESS + 1);
        if (slot == r->holder)
            m->role = ROLE_DB;
        if (m->role == ROLE_NONE && made_bool(p))
            continue;
        m->incarnation = made_u64(p);
        made_text(p, m->name, sizeof m->name, 1);
        made_text(p, m->address, sizeof m->address, 0);
        if (m->role != ROLE_NONE && made_bool(p))
            r->voters |= (uint16_t)(1u << slot);
        if (m->role != ROLE_NONE && made_bool(p))
            r->old_voters |= (uint16_t)(1u << slot);
    }
    r->voters |= (uint16_t)(1u << r->holder);
}

static inline void made_pairs(struct prng *p, struct record *r)
{
    r->pairs_n = (uint8_t)prng_between(p, 1, HM_PAIRS_MAX);
    for (unsigned i = 0; i < r->pairs_n; i++) {
        for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
            if (slot != r->holder && made_bool(p))
                pair_add(&r->pairs[i], slot, made_u64(p));
        if (r->pairs[i].n > 0)
            r->pairs[i].need = (uint8_t)prng_between(p, 1, r->pairs[i].n);
    }
}

static inline void made_history(struct prng *p, struct record *r)
{
    r->timelines_n = (uint8_t)prng_below(p, HM_TIMELINES_MAX + 1);
    for (unsigned i = 0; i < r->timelines_n; i++)
        r->timelines[i] = (struct timeline){ .timeline = made_u64(p),
                                             .epoch = made_u64(p),
                                             .start = made_u64(p) };
    r->changes_n = (uint8_t)prng_below(p, HM_CHANGES_MAX + 1);
    for (unsigned i = 0; i < r->changes_n; i++) {
        r->changes[i].epoch = made_u64(p);
        r->changes[i].at = (hm_ms)made_u64(p);
        r->changes[i].holder = (uint8_t)prng_below(p, 256);
        r->changes[i].reason = (enum change_reason)prng_below(p, CHANGE_FORCED + 1);
    }
}

static inline void made_record(struct prng *p, struct record *r)
{
    memset(r, 0, sizeof *r);
    r->cluster = made_u64(p);
    r->cluster_incarnation = (uint32_t)made_u64(p);
    r->service = (uint8_t)made_u64(p);
    r->kind = made_bool(p) ? SERVICE_REDIS : SERVICE_POSTGRES;
    r->version = 1 + prng_below(p, HM_COUNTER_MAX);
    r->epoch = 1 + prng_below(p, HM_COUNTER_MAX);
    r->holder = (uint8_t)prng_below(p, HM_MEMBERS_MAX);
    r->copy_id = made_u64(p);
    r->ttl_ms = prng_between(p, 2, HM_TTL_MAX_MS);
    r->heartbeat_ms = prng_between(p, 1, r->ttl_ms / 2);
    r->durability = (enum durability)prng_below(p, DURABILITY_STRICT + 1);
    r->goal = (enum durability)prng_below(p, DURABILITY_STRICT + 1);
    r->sync_standbys = (uint8_t)made_u64(p);
    r->max_lag_bytes = made_u64(p);
    r->system_id = made_u64(p);
    r->last_known = made_position(p);
    r->is_paused = made_bool(p);
    if (made_bool(p))
        r->switchover = (struct switchover){ .order = made_u64(p),
                                             .to = (uint8_t)prng_below(p, HM_MEMBERS_MAX),
                                             .phase = SWITCH_PREPARED };
    r->last_order = made_u64(p);
    made_members(p, r);
    made_pairs(p, r);
    made_history(p, r);
}

/* The longest record that there can be. */
static inline void made_longest_record(struct record *r)
{
    struct prng p;

    prng_seed(&p, 1);
    made_record(&p, r);
    memset(&r->member, 0, sizeof r->member);
    r->version = r->epoch = HM_COUNTER_MAX;
    r->cluster = r->copy_id = r->system_id = r->last_order = r->max_lag_bytes = UINT64_MAX;
    r->cluster_incarnation = UINT32_MAX;
    r->service = r->sync_standbys = UINT8_MAX;
    r->ttl_ms = HM_TTL_MAX_MS;
    r->heartbeat_ms = HM_TTL_MAX_MS / 2;
    r->durability = r->goal = DURABILITY_STRICT;
    r->kind = SERVICE_REDIS;
    r->is_paused = true;
    r->holder = 8;
    r->voters = r->old_voters = 0x1ff;
    r->switchover = (struct switchover){ .order = UINT64_MAX, .to = 8, .phase = SWITCH_PREPARED };
    r->last_known = (struct position){ .timeline = UINT64_MAX, .offset = UINT64_MAX };
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        r->member[slot].role = slot == 8 ? ROLE_DB : ROLE_WITNESS;
        r->member[slot].incarnation = UINT64_MAX;
        memset(r->member[slot].name, 'n', HM_NAME_MAX - 1);
        memset(r->member[slot].address, 'a', HM_ADDRESS_MAX - 1);
    }
    memset(r->pairs, 0, sizeof r->pairs);
    r->pairs_n = HM_PAIRS_MAX;
    for (unsigned i = 0; i < HM_PAIRS_MAX; i++) {
        for (uint8_t slot = 0; slot < HM_MEMBERS_MAX - 1; slot++)
            pair_add(&r->pairs[i], slot, UINT64_MAX);
        r->pairs[i].need = r->pairs[i].n;
    }
    r->timelines_n = HM_TIMELINES_MAX;
    for (unsigned i = 0; i < HM_TIMELINES_MAX; i++)
        r->timelines[i] =
            (struct timeline){ .timeline = UINT64_MAX, .epoch = UINT64_MAX, .start = UINT64_MAX };
    r->changes_n = HM_CHANGES_MAX;
    for (unsigned i = 0; i < HM_CHANGES_MAX; i++)
        r->changes[i] = (struct change){
            .epoch = UINT64_MAX, .at = INT64_MIN, .holder = UINT8_MAX, .reason = CHANGE_FORCED
        };
}

static inline void made_gossip(struct prng *p, struct gossip *g)
{
    g->copy = (enum copy_state)prng_below(p, COPY_STATES_N);
    g->copy_id = made_u64(p);
    g->at = made_position(p);
    g->began_epoch = made_u64(p);
    g->epoch = made_u64(p);
    g->priority = (int16_t)prng_between(p, INT16_MIN, INT16_MAX);
    g->follows = made_bool(p) ? HM_NOBODY : (uint8_t)prng_below(p, HM_MEMBERS_MAX);
    g->is_streaming = made_bool(p);
    g->is_final = made_bool(p);
    g->is_healthy = made_bool(p);
    g->is_nofailover = made_bool(p);
    g->is_delayed = made_bool(p);
    g->wants_rebuild = made_bool(p);
    g->sees_majority = made_bool(p);
    g->is_holder = made_bool(p);
    g->released = made_bool(p);
    g->is_rebuilding = made_bool(p);
    g->rebuilt_percent = (uint8_t)prng_between(p, 0, 100);
    g->rebuild_failures = (uint8_t)prng_between(p, 0, HM_FAILURES_MAX);
    g->is_open = made_bool(p);
}

/* A message that msg_check() lets pass; `record` is of the caller. */
static inline void made_msg(struct prng *p, struct msg *m, struct record *record)
{
    memset(m, 0, sizeof *m);
    m->type = (enum msg_type)prng_between(p, MSG_PREVOTE, MSG_TYPES_N - 1);
    m->service = (uint8_t)made_u64(p);
    m->from = made_bool(p) ? HM_NOBODY : (uint8_t)prng_below(p, HM_MEMBERS_MAX);
    m->to = made_bool(p) ? HM_NOBODY : (uint8_t)prng_below(p, HM_MEMBERS_MAX);
    m->from_incarnation = 1 + prng_below(p, UINT64_MAX);
    m->to_incarnation = made_u64(p);
    m->cluster = made_u64(p);
    m->cluster_incarnation = (uint32_t)made_u64(p);
    m->seq = 1 + (uint32_t)prng_below(p, UINT32_MAX);
    m->ballot = made_ballot(p);
    m->version = made_u64(p);
    m->ttl_ms = prng_between(p, 1, HM_TTL_MAX_MS);
    m->refusal = (enum refusal)prng_below(p, REFUSALS_N);
    if (made_bool(p))
        m->promised = made_ballot(p);
    m->remaining_ms = prng_between(p, 0, 2 * HM_TTL_MAX_MS);
    m->accepted = made_ballot(p);
    m->at = made_position(p);
    m->began_epoch = made_u64(p);
    m->copy_id = made_u64(p);
    made_gossip(p, &m->gossip);
    if (m->type != MSG_ACCEPT && made_bool(p))
        return;
    made_record(p, record);
    m->record = record;
    if (m->type == MSG_ACCEPT) {
        m->version = record->version;
        m->ttl_ms = record->ttl_ms;
    }
}

/* The trace's codec knows every field, too, and shares nothing with protobuf: what it writes of two
 * messages or states is the same only when they are. */
static inline void made_same_event(const struct core_event *a, const struct core_event *b)
{
    static uint8_t x[TRACE_ENTRY_MAX], y[TRACE_ENTRY_MAX];
    size_t n = put(a, x);

    assert_int_equal(put(b, y), n);
    assert_memory_equal(x, y, n);
}

static inline void made_same_msg(const struct msg *a, const struct msg *b)
{
    struct core_event x = { .type = ON_MESSAGE, .message = *a };
    struct core_event y = { .type = ON_MESSAGE, .message = *b };

    made_same_event(&x, &y);
}

static inline void made_same_state(const struct voter_state *a, const struct voter_state *b)
{
    struct core_event x = { .type = ON_START, .start.state = a };
    struct core_event y = { .type = ON_START, .start.state = b };

    made_same_event(&x, &y);
}

#endif
