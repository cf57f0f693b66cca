/* operate.c - operations on the own copy, one at a time, and what probes and results tell of it. */
#include "core/inner.h"

#include <string.h>

#define OPERATION_TIMEOUT_MS 600000 /* a clone may take long; the adapter has its own limits */
#define OPERATION_DOUBLINGS_MAX 5
#define REBUILD_FAILURES_TOLD 3
#define REBUILD_DOUBLINGS_MAX 8 /* 128 heartbeats: half a minute with the default ones */

bool core_is_rebuild(enum core_effect_type type)
{
    return type == DO_REWIND || type == DO_CLONE;
}

bool core_is_operating(const struct core *c, enum core_effect_type type)
{
    return c->op.type == type;
}

bool core_has_stop_failed(const struct core *c)
{
    return c->op_failed == DO_STOP && c->op_failures > 0 && c->op_ended_ms >= c->since_ms;
}

static bool is_idle(struct core *c)
{
    if (c->op.type == DO_SEND)
        return true;
    if (!core_due(c, c->op.until_ms))
        return false;
    c->op.type = DO_SEND; /* the adapter forgot it: ask anew */
    return true;
}

/* Asks for an operation on the copy. NULL: it is under way, another one must end first, or it
 * failed a moment ago. One that can be given up makes room. */
struct core_effect *core_ask_copy(struct core *c, enum core_effect_type type, uint64_t detail)
{
    struct core_effect *e;

    if (!is_idle(c)) {
        if (c->op.type == type && c->op.detail == detail)
            return NULL;
        if (!effect_can_be_given_up(c->op.type))
            return NULL;
    }
    if (c->op_failed == type && c->op_failures > 0 && !core_due(c, c->op_retry_ms))
        return NULL;
    c->op.type = type;
    c->op.id = ++c->op_counter;
    c->op.detail = detail;
    c->op.until_ms = c->now_ms + OPERATION_TIMEOUT_MS;
    e = core_ask(c, type);
    e->op = c->op.id;
    memset(&e->copy, 0, sizeof e->copy);
    e->copy.member = HM_NOBODY;
    return e;
}

static void note_standbys(struct core *c, const struct copy *copy)
{
    /* What it had flushed by now may be compared with what was there at the probe before. */
    bool is_same_server = c->copy.state == COPY_PRIMARY && c->copy.server_id == copy->server_id;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        bool was_there = is_same_server && c->copy.standby[slot].is_streaming &&
                         c->copy.standby[slot].copy_id == copy->standby[slot].copy_id;

        if (!copy->standby[slot].is_streaming)
            continue;
        c->streamed_ms[slot] = c->now_ms;
        if (!was_there || copy->standby[slot].flushed > c->copy.standby[slot].flushed ||
            copy->standby[slot].flushed >= c->copy.at.offset)
            c->moved_ms[slot] = c->now_ms;
    }
}

/* Somebody started it as a primary, past every guard, on a timeline that another member wrote.
 * Neither its number nor its end shows it: it may even end where the other has a record, too. What
 * its files said stays known when it runs as a standby again. */
bool core_is_forged(const struct core *c)
{
    uint8_t writer = record_writer(core_known(c), c->written_timeline);

    return c->written_copy != 0 && c->copy.copy_id == c->written_copy &&
           c->copy.at.timeline == c->written_timeline && writer != HM_NOBODY && writer != c->self;
}

static void note_written(struct core *c, const struct copy *copy)
{
    if (copy->state != COPY_DOWN || !copy->has_written || copy->at.timeline == 0)
        return;
    c->written_copy = copy->copy_id;
    c->written_timeline = copy->at.timeline;
}

bool core_is_diverged(const struct core *c)
{
    return core_is_forged(c) ||
           !core_is_on_history(c, core_known(c), &c->copy.at, c->copy.began_epoch);
}

bool core_is_lost(const struct core *c)
{
    return core_is_diverged(c) || c->copy.lacks_log || core_is_given_up(c);
}

/* What was proved under certain names is void when others are seen. */
static void note_names(struct core *c, const struct copy *copy)
{
    if (copy->state != COPY_PRIMARY)
        return;
    if (copy->names == NAMES_EMPTY)
        c->proved_server = 0;
    if (copy->names != NAMES_PAIR || copy->names_digest != c->marked_digest)
        c->marked_digest = 0;
}

static void store_copy(struct core *c, const struct copy *copy)
{
    bool is_own = false, was_open = core_lets_clients_in(c);

    if (copy->state == COPY_PRIMARY &&
        (c->copy.state != COPY_PRIMARY || copy->server_id != c->copy.server_id) &&
        copy->server_id != c->primary_server) {
        c->primary_since_ms = c->now_ms;
        c->primary_server = copy->server_id;
    }
    if (copy->state == COPY_PRIMARY) {
        note_standbys(c, copy);
        c->must_raise = false;
        is_own = copy->copy_id == core_known(c)->copy_id;
    }
    note_names(c, copy);
    note_written(c, copy);
    if (copy->is_streaming || copy->follows != c->copy.follows)
        c->stream_ms = c->now_ms;
    if (copy->copy_id != c->copy.copy_id) {
        c->is_rewind_impossible = false;
        c->copy_since_ms = c->now_ms;
    }
    if (copy->state == COPY_SUSPENDED && c->copy.state != COPY_SUSPENDED)
        core_take_stall(c); /* whatever made the helper stop it: a full round must follow */
    c->copy = *copy;
    c->has_copy = true;
    if (c->config.kind == SERVICE_REDIS && !was_open && core_lets_clients_in(c) &&
        core_is_holder_state(c->state))
        c->renew_at_ms = c->now_ms; /* the Sentinel endpoints of the others tell clients of it */
    c->copy_noted_ms = c->now_ms;
    c->probes++;
    if ((copy->state == COPY_DOWN || copy->state == COPY_STANDBY) && !core_is_lost(c))
        c->wants_rebuild = false;
    view_note_copy(&c->view, copy, c->now_ms);
    if (is_own) {
        struct gossip own;

        core_make_gossip(c, &own);
        core_note_primary(c, c->self, &own);
    }
}

/* A probe that began before the last operation ended tells of a world that is gone. */
void core_note_copy(struct core *c, const struct copy *copy)
{
    if (c->has_copy && copy->taken_at_ms <= c->op_ended_ms)
        return;
    store_copy(c, copy);
}

static void note_success(struct core *c)
{
    switch ((int)c->op.type) {
    case DO_FREEZE:
        c->freeze.is_frozen = c->op.detail == c->freeze.ballot.counter;
        c->freeze.server_id = c->copy.server_id;
        break;
    case DO_PROVE:
        c->proved_server = c->copy.server_id;
        break;
    case DO_MARKER:
        c->marked_digest = c->op.detail;
        c->marked_server = c->copy.server_id;
        break;
    case DO_CHECKPOINT:
        c->checkpoint_done = c->op.detail;
        break;
    default:
        break;
    }
}

/* The pause doubles, to 16 heartbeats; a rebuild is dear, and gets longer ones. A rewind that fails
 * is followed by a clone at once: it is one attempt. */
static void note_failure(struct core *c)
{
    bool is_same = c->op_failed == c->op.type;
    bool is_rebuild = core_is_rebuild(c->op.type);
    hm_ms doublings;

    c->op_failures = is_same ? (uint8_t)hm_min_ms(c->op_failures + 1, HM_FAILURES_MAX) : 1;
    c->op_failed = c->op.type;
    doublings =
        hm_min_ms(c->op_failures, is_rebuild ? REBUILD_DOUBLINGS_MAX : OPERATION_DOUBLINGS_MAX);
    c->op_retry_ms = c->now_ms + (core_heartbeat_ms(c) << doublings) / 2;
    if (is_rebuild && c->op_failures == REBUILD_FAILURES_TOLD)
        core_alert(c, ALERT_REBUILD_FAILS, 0);
}

void core_take_done(struct core *c, uint32_t op, bool is_ok, const struct copy *copy)
{
    if (c->op.type == DO_SEND || op != c->op.id)
        return; /* of an operation that was given up */
    c->op_ended_ms = c->now_ms;
    store_copy(c, copy);
    if (is_ok) {
        note_success(c);
        c->op_failures = 0;
    } else {
        if (c->op.type == DO_REWIND)
            c->is_rewind_impossible = true;
        note_failure(c);
    }
    c->op.type = DO_SEND;
}
