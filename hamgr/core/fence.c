/* fence.c - what the helper and the kernel's gate are told, and what that says of the own copy. */
#include "core/inner.h"

void core_ask_fence(struct core *c, enum fence_mode mode, hm_ms until_ms, bool is_gate_open)
{
    bool is_as_asked = c->fence_asked == mode && c->fence_asked_until_ms == until_ms &&
                       c->fence_asked_gate == is_gate_open;
    bool is_in_force = c->copy.fence == mode && c->copy.is_gate_open == is_gate_open;
    struct core_effect *e;

    if (is_as_asked && (is_in_force || !core_due(c, c->fence_asked_at_ms + core_heartbeat_ms(c))))
        return;
    if (c->fence_asked != mode)
        c->fence_asked_probes = c->probes;
    c->fence_asked = mode;
    c->fence_asked_until_ms = until_ms;
    c->fence_asked_gate = is_gate_open;
    c->fence_asked_at_ms = c->now_ms;
    e = core_ask(c, DO_FENCE);
    e->fence.mode = mode;
    e->fence.suspend_ms = until_ms - c->config.fence_margin_ms;
    e->fence.until_ms = until_ms;
    e->fence.is_gate_open = is_gate_open;
}

/* The pause excuses only the holder of a paused record, in a cluster that is still this one. */
bool core_is_pause_in_force(const struct core *c)
{
    const struct record *r = core_known(c);

    return c->is_paused && r->is_paused && r->holder == c->self && !c->is_outdated;
}

/* Nobody says that the helper lives once the probes are silent. */
bool core_fence_answers(struct core *c)
{
    return c->copy.fence_answers && !core_due(c, c->copy_noted_ms + 2 * core_ttl_ms(c));
}

/* A version without the pause is ordered, or on its way: from now on the fence has a deadline. */
static bool is_resuming(const struct core *c)
{
    return c->order.kind == ORDER_RESUME || !core_known(c)->is_paused ||
           (c->state == ST_HOLDER_CHANGE && !c->draft.is_paused) ||
           (c->voter.is_writing && c->voter.request.type == MSG_ACCEPT &&
            !c->voter.pending.record.is_paused);
}

/* Extends the deadline by what a majority granted; after a stall only by what was granted since. */
void core_fence_holder(struct core *c)
{
    hm_ms until_ms;
    bool is_open;

    if (c->is_paused && !is_resuming(c)) {
        core_ask_fence(c, FENCE_PAUSED, 0, true);
        return;
    }
    until_ms = core_lease_until(c, c->distrust_before_ms);
    if (until_ms <= c->now_ms)
        return; /* nothing to extend by: the deadline that the helper has runs on */
    /* A copy that was running before the record was made keeps its clients. */
    is_open = core_gate_may_open(c);
    core_ask_fence(c, FENCE_LEASE, until_ms, is_open);
}

static void repeat_after_a_heartbeat(struct core *c, hm_ms *asked_ms, enum core_effect_type type)
{
    if (*asked_ms != 0 && !core_due(c, *asked_ms + core_heartbeat_ms(c)))
        return;
    *asked_ms = c->now_ms;
    (void)core_ask(c, type);
}

void core_kill_copy(struct core *c)
{
    repeat_after_a_heartbeat(c, &c->kill_asked_ms, DO_KILL);
}

void core_thaw_copy(struct core *c)
{
    repeat_after_a_heartbeat(c, &c->thaw_asked_ms, DO_THAW);
}

/* The fence holds the copy for one that a lease makes writable. */
bool core_is_under_lease(const struct core *c)
{
    return c->copy.fence == FENCE_LEASE || c->copy.fence == FENCE_SUSPENDED;
}

bool core_is_running(const struct core *c)
{
    return c->copy.state == COPY_STARTING || c->copy.state == COPY_STANDBY ||
           c->copy.state == COPY_PRIMARY || c->copy.state == COPY_SUSPENDED;
}

/* It looks like a standby, but a promotion may be under way, perhaps asked for before hamgrd
 * restarted, perhaps stopped in the middle. Only a new server is certainly a standby. */
bool core_may_be_promoted(const struct core *c)
{
    return core_is_running(c) && c->copy.state != COPY_PRIMARY && core_is_under_lease(c);
}

/* No lease: what does not run needs no fence, but the sockets of a dead primary hold what the
 * kernel has not sent yet; the helper destroys them before it opens the gate. A primary loses its
 * lease when the helper's deadline comes, at the latest; asking as well costs nothing. */
void core_fence_others(struct core *c)
{
    if (core_is_pause_in_force(c) || c->copy.state == COPY_UNKNOWN)
        return;
    if (!core_is_running(c))
        core_ask_fence(c, FENCE_STANDBY, 0, true);
    else if (core_may_be_promoted(c)) {
        if (c->had_lease)
            core_ask_fence(c, FENCE_SUSPENDED, 0, false);
    } else if (c->copy.fence == FENCE_PAUSED && c->copy.state != COPY_PRIMARY)
        return;
    else if (c->copy.state != COPY_PRIMARY)
        core_ask_fence(c, FENCE_STANDBY, 0, true);
    else if (core_has_record(c) && (c->copy.fence == FENCE_STANDBY || c->had_lease))
        core_ask_fence(c, FENCE_SUSPENDED, 0, false);
}
