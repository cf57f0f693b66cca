/* copy.c - what the own copy and its fence should be, and the operation that brings it closer.
 *
 * Everything here compares the newest probe with what the state and the record call for, in every
 * step. A wish stays until a probe shows it fulfilled; nothing is asked for only once. */
#include "core/inner.h"

#define TURN_HEARTBEATS 3    /* until others have heard that a rebuild has begun */
#define STREAM_HEARTBEATS 40 /* how long a follower may be without a stream before it is mended */

#include <string.h>

static bool is_redis(const struct core *c)
{
    return c->config.kind == SERVICE_REDIS;
}

/* --- the copy of a follower --------------------------------------------------------------------
 */

/* It is told whom to follow, and a stream runs, or did a moment ago. Without one it is told again:
 * somebody may have dropped its slot. */
static bool is_led_by(struct core *c, uint8_t holder)
{
    hm_ms since_ms = hm_max_ms(c->stream_ms, c->op_ended_ms);

    return c->copy.follows == holder &&
           (c->copy.is_streaming ||
            !core_due(c, since_ms + STREAM_HEARTBEATS * core_heartbeat_ms(c)));
}

static void follow(struct core *c, uint8_t holder)
{
    const struct record *r = core_known(c);
    struct core_effect *e;

    /* Under the pairs of Redis a replica attaches only when a chosen record names it. */
    if (r->kind == SERVICE_REDIS && r->goal != DURABILITY_ASYNC &&
        !record_pairs_have(r, c->self, c->copy.copy_id))
        return;
    if ((record_timeline(r)->timeline & HM_TIMELINE_OPEN) != 0 || is_led_by(c, holder))
        return;
    e = core_ask_copy(c, DO_FOLLOW, holder);
    if (e != NULL)
        e->copy.member = holder;
}

/* Without a leader for the time of a lease there is nobody to copy from, and what was given up may
 * be the best that is left. A moment without one, as after every change of the record, is too short
 * for that: it would get back into the pairs, and leaving them is the next change. */
bool core_is_given_up(const struct core *c)
{
    return c->given_up_copy != 0 && c->copy.copy_id == c->given_up_copy &&
           c->now_ms < c->renewed.at_ms + core_ttl_ms(c);
}

/* Its turn has come: what it had is being made anew, or was stopped for that. */
bool core_is_rebuilding(const struct core *c)
{
    bool is_stopped = c->op.type == DO_STOP || c->copy.state == COPY_DOWN;

    return core_is_rebuild(c->op.type) ||
           (core_is_given_up(c) && c->wants_rebuild && is_stopped && c->op_failures == 0);
}

/* A member in any pair is not rewound, cloned or stopped for it until the record lets it go. */
static bool may_rebuild(struct core *c)
{
    if (!c->wants_rebuild)
        c->rebuild_since_ms = c->now_ms;
    c->wants_rebuild = true;
    return !record_pairs_name(core_known(c), c->self, c->copy.copy_id);
}

/* One rebuild at a time in the cluster: the primary has clients to serve. Who begins is heard of
 * with the next gossip; when several want to, those in lower slots come first. */
static bool is_own_turn(struct core *c)
{
    const struct record *r = core_known(c);
    hm_ms recent_ms = c->now_ms - r->ttl_ms;
    hm_ms since_ms = hm_max_ms(c->rebuild_since_ms, c->op_ended_ms);
    unsigned before = 0, others = 0;

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct gossip *g = slot == c->self ? NULL : view_recent(&c->view, slot, recent_ms);

        if (g == NULL || r->member[slot].role != ROLE_DB || slot == r->holder)
            continue;
        if (g->is_rebuilding)
            return false;
        others++;
        before += g->wants_rebuild && slot < c->self;
    }
    return others == 0 ||
           core_due(c, since_ms + (hm_ms)(1 + before) * TURN_HEARTBEATS * core_heartbeat_ms(c));
}

/* A holder that is not there yet is no source. */
static bool has_source(const struct core *c, uint8_t holder)
{
    const struct gossip *g = view_recent(&c->view, holder, c->now_ms - core_known(c)->ttl_ms);

    return g != NULL && g->copy == COPY_PRIMARY;
}

static void rebuild(struct core *c, uint8_t holder)
{
    enum core_effect_type type = DO_CLONE;
    struct core_effect *e;

    if (!may_rebuild(c) || !has_source(c, holder) || (!core_is_rebuilding(c) && !is_own_turn(c)))
        return;
    if (c->copy.state != COPY_ABSENT && !c->is_rewind_impossible && c->copy.system_id != 0 &&
        c->copy.system_id == core_known(c)->system_id)
        type = DO_REWIND;
    e = core_ask_copy(c, type, holder);
    if (e == NULL)
        return;
    e->copy.member = holder;
    core_alert(c, ALERT_REBUILD, core_known(c)->epoch);
}

bool core_copy_is_needed(const struct core *c)
{
    const struct record *r = core_known(c);

    for (unsigned i = 0; i < r->pairs_n; i++)
        if (pair_has(&r->pairs[i], c->self, c->copy.copy_id) && r->pairs[i].n <= r->pairs[i].need)
            return true;
    return false;
}

const char *core_rebuild_fault(const struct core *c)
{
    const struct record *r = core_known(c);

    if (c->config.role != ROLE_DB || c->self == HM_NOBODY)
        return "this member has no copy";
    if (is_redis(c))
        return "a copy of Redis resynchronises by itself";
    if (r->is_paused)
        return "the cluster is paused: resume it first";
    if (core_is_holder_state(c->state) || r->holder == c->self)
        return "this member is the primary: switch over first";
    /* Not core_followed_holder(): every change of the record is a moment without one. */
    if (!c->renewed.is_there || c->now_ms >= c->renewed.at_ms + core_ttl_ms(c))
        return "no primary is heard to copy from";
    if (c->copy.state == COPY_PRIMARY || c->copy.state == COPY_SUSPENDED)
        return "the copy is taken down already";
    return core_copy_is_needed(c) ? "without this copy too few standbys would have what is "
                                    "committed: wait for another one"
                                  : NULL;
}

void core_give_up_copy(struct core *c)
{
    c->given_up_copy = c->copy.copy_id;
    c->is_rewind_impossible = true;
    c->op_failures = 0; /* a person has looked: now, whatever failed before */
    c->op_retry_ms = c->now_ms;
}

/* The timeline number is known, but another epoch began it, or another member wrote it: pg_rewind
 * would see no difference. Nor does it help a copy that is on the history. */
static void note_collision(struct core *c)
{
    const struct record *r = core_known(c);

    if (!core_is_diverged(c) || core_is_forged(c))
        c->is_rewind_impossible = true;
    for (unsigned i = 0; i < r->timelines_n; i++)
        if (r->timelines[i].timeline == c->copy.at.timeline && c->copy.began_epoch != 0 &&
            r->timelines[i].epoch != c->copy.began_epoch)
            c->is_rewind_impossible = true;
}

/* A standby is started only when the fence takes it for one: under a lease mode the same server
 * could have been told to promote before hamgrd restarted. */
static void start_standby(struct core *c)
{
    if (c->copy.fence == FENCE_STANDBY)
        (void)core_ask_copy(c, DO_START, 0);
}

static void raise_copy(struct core *c, uint8_t holder)
{
    if (is_redis(c)) {
        start_standby(c);
    } else if (!c->copy.is_final) {
        return; /* how far its log goes is still being read */
    } else if (!core_is_lost(c)) {
        c->wants_rebuild = false;
        start_standby(c);
    } else if (holder != HM_NOBODY) {
        note_collision(c);
        rebuild(c, holder);
    }
}

/* A cascade: the standby that the settings name, while it streams from the holder itself. One step
 * only, so that no two wait for each other; whatever is wrong with it, the holder is there. */
static uint8_t upstream(const struct core *c, uint8_t holder)
{
    const struct record *r = core_known(c);
    uint8_t slot = c->config.follow[0] != 0 ? record_find_name(r, c->config.follow) : HM_NOBODY;
    const struct gossip *g;

    if (slot == HM_NOBODY || slot == c->self || slot == holder)
        return holder;
    g = view_recent(&c->view, slot, c->now_ms - 2 * core_ttl_ms(c));
    if (g == NULL || g->copy != COPY_STANDBY || !g->is_healthy || g->wants_rebuild ||
        !g->is_streaming || g->follows != holder)
        return holder;
    return slot;
}

/* A copy that is whole, but was given up by the operator, streams until its turn comes. */
static bool may_go_down(struct core *c, uint8_t holder)
{
    if (core_is_diverged(c) || c->copy.lacks_log)
        return true;
    return has_source(c, holder) && is_own_turn(c);
}

static void lead_standby(struct core *c, uint8_t holder)
{
    if (is_redis(c)) {
        follow(c, holder);
        return;
    }
    if (!c->copy.is_final)
        return;
    if (!core_is_lost(c)) {
        c->wants_rebuild = false;
        follow(c, upstream(c, holder));
    } else if (may_rebuild(c) && may_go_down(c, holder)) {
        (void)core_ask_copy(c, DO_STOP, 0);
    } else if (!core_is_diverged(c) && !c->copy.lacks_log) {
        follow(c, upstream(c, holder));
    }
}

static bool is_foreign(const struct core *c)
{
    uint64_t system_id = core_known(c)->system_id;

    return c->copy.state != COPY_ABSENT && system_id != 0 && c->copy.system_id != 0 &&
           c->copy.system_id != system_id;
}

/* holder: heard renewing the record accepted here (R6); only then may the copy be changed. */
static void want_follower(struct core *c, uint8_t holder)
{
    if (is_foreign(c))
        return; /* not a copy of this service at all: nobody but its owner may touch it */
    if (core_may_be_promoted(c)) {
        core_kill_copy(c);
        return;
    }
    switch (c->copy.state) {
    case COPY_SUSPENDED:
        core_thaw_copy(c);
        break;
    case COPY_PRIMARY:
        core_ask_fence(c, FENCE_SUSPENDED, 0, false);
        core_kill_copy(c);
        break;
    case COPY_DOWN:
        raise_copy(c, holder);
        break;
    case COPY_ABSENT:
    case COPY_REBUILDING:
        if (is_redis(c))
            start_standby(c);
        else
            rebuild(c, holder);
        break;
    case COPY_STANDBY:
        lead_standby(c, holder);
        break;
    case COPY_UNKNOWN:
    case COPY_STARTING:
    case COPY_STATES_N:
        break;
    }
}

/* Before a record is known, a log of its own may be the first primary's, or one that somebody made
 * by hand; once it runs nothing shows that any more. The first record needs all voters anyway. */
static bool may_be_the_first(const struct core *c)
{
    const struct record *r = core_known(c);

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX && c->copy.has_written; slot++) {
        const struct gossip *g = view_recent(&c->view, slot, c->now_ms - r->ttl_ms);

        if (slot != c->self && (record_electorate(r) & core_slot_bit(slot)) != 0 &&
            (g == NULL || g->epoch != 0))
            return false;
    }
    return true;
}

/* Nobody is known to lead: keep a standby up, so that its position is known; touch no primary. */
static void want_waiting(struct core *c)
{
    bool is_old_primary = c->copy.was_primary && core_known(c)->holder == c->self && !is_redis(c);

    /* With nobody to copy from, what is here counts again. */
    if (!core_is_diverged(c) && !core_is_given_up(c))
        c->wants_rebuild = false;
    if (core_may_be_promoted(c) && !c->copy.was_primary && core_known(c)->holder != c->self)
        core_kill_copy(c); /* hamgr-fence came back without its file and stopped a standby */
    else if (c->copy.state == COPY_SUSPENDED && !core_is_under_lease(c) && !c->copy.was_primary)
        core_thaw_copy(c);
    if (c->copy.state != COPY_DOWN || is_old_primary || core_is_given_up(c))
        return;
    if (is_redis(c) || (core_known(c)->epoch == 0 ? may_be_the_first(c)
                                                  : c->copy.is_final && !core_is_diverged(c)))
        start_standby(c);
}

/* --- the copy of a holder ----------------------------------------------------------------------
 */

static void promote(struct core *c)
{
    const struct record *r = core_known(c);
    const struct timeline *last = record_timeline(r);
    struct core_effect *e;

    if (!c->copy.is_final || !c->is_chosen || c->copy.copy_id != r->copy_id)
        return;
    if (c->copy.follows != HM_NOBODY || c->copy.is_streaming) {
        e = core_ask_copy(c, DO_FREEZE, c->freeze.ballot.counter);
        if (e != NULL)
            e->copy.ballot = c->freeze.ballot;
        return;
    }
    if (last->timeline == c->copy.at.timeline || last->start != c->copy.at.offset)
        return; /* the record gets another stretch of history first */
    /* From here on it could acknowledge: the lease and the closed gate must be in force. */
    if (c->copy.fence != FENCE_LEASE || !core_holds_lease(c))
        return;
    if (r->goal != DURABILITY_ASYNC && c->copy.names != NAMES_NOBODY) {
        e = core_ask_copy(c, DO_SET_NAMES, NAMES_NOBODY);
        if (e != NULL)
            e->names.names = NAMES_NOBODY;
        return;
    }
    /* Without (empty, 0) in the record nothing may be acknowledged by a server whose backends do
     * not know yet that they wait; a checkpoint makes the checkpointer tell them. */
    if (r->durability != DURABILITY_ASYNC && !c->copy.is_flag_certain && !is_redis(c) &&
        !core_pairs_forbid_others(r)) {
        (void)core_ask_copy(c, DO_CHECKPOINT, c->copy.server_id);
        return;
    }
    e = core_ask_copy(c, DO_PROMOTE, last->timeline);
    if (e == NULL)
        return;
    e->copy.timeline = last->timeline;
    e->copy.epoch = r->epoch;
}

static void want_checkpoint(struct core *c)
{
    const struct switchover *s = &core_known(c)->switchover;

    if (s->phase == SWITCH_PREPARED && c->is_chosen && c->checkpoint_done != s->order)
        (void)core_ask_copy(c, DO_CHECKPOINT, s->order);
}

static void want_primary(struct core *c)
{
    const struct record *r = core_known(c);

    if (c->is_chosen && c->copy.copy_id == r->copy_id &&
        (c->repointed_epoch != r->epoch || c->repointed_to != c->self)) {
        struct core_effect *e = core_ask(c, DO_REPOINT);

        e->repoint.member = c->self;
        e->repoint.epoch = r->epoch;
        c->repointed_epoch = r->epoch;
        c->repointed_to = c->self;
    }
    want_checkpoint(c);
    if (c->op.type != DO_CHECKPOINT)
        core_want_names(c);
}

static void want_holder(struct core *c)
{
    bool is_own = c->copy.copy_id == core_known(c)->copy_id;

    c->given_up_copy = 0; /* what is here is what all others copy from */
    c->wants_rebuild = false;
    core_fence_holder(c);
    core_tell_no_primary(c);
    if (c->copy.state == COPY_SUSPENDED && is_own && c->is_chosen &&
        c->now_ms < core_lease_until(c, c->distrust_before_ms))
        core_thaw_copy(c);
    if (core_known(c)->is_paused)
        return;
    switch (c->copy.state) {
    case COPY_SUSPENDED:
        if (!is_own)
            core_kill_copy(c);
        break;
    case COPY_DOWN:
        (void)core_ask_copy(c, DO_START, 0);
        break;
    case COPY_ABSENT:
        if (core_known(c)->epoch == 1 && core_known(c)->copy_id == 0)
            (void)core_ask_copy(c, DO_INIT, 0);
        break;
    case COPY_STANDBY:
        promote(c);
        break;
    case COPY_PRIMARY:
        want_primary(c);
        break;
    case COPY_UNKNOWN:
    case COPY_STARTING:
    case COPY_REBUILDING:
    case COPY_STATES_N:
        break;
    }
}

/* A server that stops waits for its standbys, and cannot be called back. If the successor is lost
 * meanwhile, waiting for it only makes the outage longer. The stop of a Redis waits for a moment
 * only, and fails then without harm; to kill it would be to lose what is in its memory. */
static bool has_time_to_stop(struct core *c)
{
    const struct switchover *s = &core_known(c)->switchover;
    hm_ms ttl_ms = core_ttl_ms(c);
    const struct gossip *g;

    if (s->phase != SWITCH_PREPARED ||
        core_due(c, c->since_ms + CORE_STOP_HEARTBEATS * core_heartbeat_ms(c)))
        return false;
    if (is_redis(c) || !core_due(c, c->since_ms + ttl_ms))
        return true;
    g = view_recent(&c->view, s->to, c->now_ms - ttl_ms);
    return g != NULL && g->sees_majority;
}

/* Giving away: after a switchover everything is streamed first, if it does not take too long;
 * else no time is lost. */
static void want_fenced(struct core *c)
{
    bool may_stop = has_time_to_stop(c);

    if (guard_is_fenced(c))
        return;
    if (guard_successor_is_lost(c) && !is_redis(c)) {
        core_fence_holder(c);
        if (core_is_operating(c, DO_STOP))
            c->op.type = DO_SEND; /* it waits for what nobody will confirm */
        if (core_is_running(c))
            core_kill_copy(c);
        return;
    }
    if (may_stop && c->copy.is_healthy && c->copy.state == COPY_PRIMARY && !core_has_stop_failed(c))
        (void)core_ask_copy(c, DO_STOP, 0);
    if (may_stop && core_is_operating(c, DO_STOP)) {
        core_fence_holder(c);
        return;
    }
    if (core_is_operating(c, DO_STOP))
        c->op.type = DO_SEND; /* however it ends, the kill decides */
    core_ask_fence(c, FENCE_SUSPENDED, 0, false);
    if (c->copy.state == COPY_UNKNOWN || (core_is_running(c) && c->copy.state != COPY_SUSPENDED))
        core_kill_copy(c);
}

/* --- the door ----------------------------------------------------------------------------------
 */

static void want_fetched(struct core *c)
{
    struct core_effect *e = core_ask_copy(c, DO_FETCH, c->yield_at.offset);

    if (e == NULL)
        return;
    e->copy.member = c->yield_to;
    e->copy.upto = c->yield_at;
}

/* What failed was waiting for a pause; with a source that has just come, or come back, it may go
 * well. */
static void note_leader(struct core *c, uint8_t holder)
{
    if (holder != HM_NOBODY && c->led_by != holder && core_is_rebuild(c->op_failed))
        c->op_retry_ms = c->now_ms;
    c->led_by = holder;
}

void core_want_copy(struct core *c)
{
    uint8_t holder;

    if (c->config.role != ROLE_DB || !c->has_copy || c->state == ST_START)
        return;
    if (c->state == ST_HANDOVER) {
        want_fenced(c);
        return;
    }
    if (core_is_holder_state(c->state)) {
        want_holder(c);
        return;
    }
    core_fence_others(c);
    if (c->state == ST_STOPPED || c->state == ST_BLANK || c->state == ST_OUTSIDE)
        return;
    holder = core_followed_holder(c);
    if (core_is_given_up(c))
        (void)core_due(c, c->renewed.at_ms + core_ttl_ms(c));
    note_leader(c, holder);
    if (core_is_pause_in_force(c))
        return;
    if (c->state == ST_FETCH)
        want_fetched(c);
    else if (c->state == ST_RESCUE)
        core_want_rescued(c);
    else if (core_is_frozen_by_promise(c))
        core_want_frozen(c);
    else if (holder != HM_NOBODY)
        want_follower(c, holder);
    if (holder == HM_NOBODY)
        want_waiting(c);
}
