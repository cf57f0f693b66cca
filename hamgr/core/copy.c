/* copy.c - what the own copy and its fence should be, and the operation that brings it closer.
 *
 * Everything here compares the newest probe with what the state and the record call for, in every
 * step. A wish stays until a probe shows it fulfilled; nothing is asked for only once. */
#include "core/inner.h"

#include <string.h>

#define OPERATION_TIMEOUT_MS 600000 /* a clone may take long; the adapter has its own limits */
#define OPERATION_DOUBLINGS_MAX 5

/* --- operations ------------------------------------------------------------------------------ */

bool core_is_operating(const struct core *c, enum core_effect_type type)
{
    return c->op.type == type;
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
    c->op.since_ms = c->now_ms;
    c->op.until_ms = c->now_ms + OPERATION_TIMEOUT_MS;
    e = core_ask(c, type);
    e->op = c->op.id;
    memset(&e->copy, 0, sizeof e->copy);
    e->copy.member = HM_NOBODY;
    return e;
}

static void note_standbys(struct core *c, const struct copy *copy)
{
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (copy->standby[slot].is_streaming)
            c->streamed_ms[slot] = c->now_ms;
}

static bool is_diverged(const struct core *c)
{
    return !record_is_on_history(core_known(c), &c->copy.at, c->copy.began_epoch);
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
    bool is_own = false;
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
    if (copy->copy_id != c->copy.copy_id) {
        c->is_rewind_impossible = false;
        c->copy_since_ms = c->now_ms;
    }
    if (copy->state == COPY_SUSPENDED && c->copy.state != COPY_SUSPENDED)
        core_take_stall(c); /* whatever made the helper stop it: a full round must follow */
    c->copy = *copy;
    c->has_copy = true;
    if ((copy->state == COPY_DOWN || copy->state == COPY_STANDBY) && !is_diverged(c))
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
        c->op_failures = c->op_failed == c->op.type
                             ? (uint8_t)hm_min_ms(c->op_failures + 1, OPERATION_DOUBLINGS_MAX)
                             : 1;
        c->op_failed = c->op.type;
        c->op_retry_ms =
            c->now_ms + (core_heartbeat_ms(c) << c->op_failures) / 2; /* to 16 of them */
    }
    c->op.type = DO_SEND;
}

/* --- fence ----------------------------------------------------------------------------------- */

static void ask_fence(struct core *c, enum fence_mode mode, hm_ms until_ms, bool is_gate_open)
{
    bool is_as_asked = c->fence_asked == mode && c->fence_asked_until_ms == until_ms &&
                       c->fence_asked_gate == is_gate_open;
    bool is_in_force = c->copy.fence == mode && c->copy.is_gate_open == is_gate_open;
    struct core_effect *e;

    if (is_as_asked && (is_in_force || !core_due(c, c->fence_asked_at_ms + core_heartbeat_ms(c))))
        return;
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

/* Extends the deadline by what a majority granted; after a stall only by what was granted since. */
static void fence_holder(struct core *c)
{
    hm_ms until_ms;
    bool is_open;

    if (c->is_paused && c->order.kind != ORDER_RESUME) {
        ask_fence(c, FENCE_PAUSED, 0, true);
        return;
    }
    until_ms = core_lease_until(c, c->distrust_before_ms);
    if (until_ms <= c->now_ms)
        return; /* nothing to extend by: the deadline that the helper has runs on */
    /* A copy that was running before the record was made keeps its clients. */
    is_open = core_gate_may_open(c);
    ask_fence(c, FENCE_LEASE, until_ms, is_open);
}

static void repeat_after_a_heartbeat(struct core *c, hm_ms *asked_ms, enum core_effect_type type)
{
    if (*asked_ms != 0 && !core_due(c, *asked_ms + core_heartbeat_ms(c)))
        return;
    *asked_ms = c->now_ms;
    (void)core_ask(c, type);
}

static void kill_copy(struct core *c)
{
    repeat_after_a_heartbeat(c, &c->kill_asked_ms, DO_KILL);
}

static void thaw_copy(struct core *c)
{
    repeat_after_a_heartbeat(c, &c->thaw_asked_ms, DO_THAW);
}

/* The fence holds the copy for one that a lease makes writable. */
static bool is_under_lease(const struct core *c)
{
    return c->copy.fence == FENCE_LEASE || c->copy.fence == FENCE_SUSPENDED;
}

static bool is_running(const struct core *c)
{
    return c->copy.state == COPY_STARTING || c->copy.state == COPY_STANDBY ||
           c->copy.state == COPY_PRIMARY || c->copy.state == COPY_SUSPENDED;
}

/* It looks like a standby, but a promotion may be under way, perhaps asked for before hamgrd
 * restarted, perhaps stopped in the middle. Only a new server is certainly a standby. */
static bool may_be_promoted(const struct core *c)
{
    return is_running(c) && c->copy.state != COPY_PRIMARY && is_under_lease(c);
}

/* --- the copy of a follower --------------------------------------------------------------------
 */

static void follow(struct core *c, uint8_t holder)
{
    const struct record *r = core_known(c);
    struct core_effect *e;

    /* Under the pairs of Redis a replica attaches only when a chosen record names it. */
    if (r->kind == SERVICE_REDIS && r->goal != DURABILITY_ASYNC &&
        !record_pairs_have(r, c->self, c->copy.copy_id))
        return;
    if ((record_timeline(r)->timeline & HM_TIMELINE_OPEN) != 0 || c->copy.follows == holder)
        return;
    e = core_ask_copy(c, DO_FOLLOW, holder);
    if (e != NULL)
        e->copy.member = holder;
}

/* A member in any pair is not rewound, cloned or stopped for it until the record lets it go. */
static bool may_rebuild(struct core *c)
{
    c->wants_rebuild = true;
    return !record_pairs_name(core_known(c), c->self, c->copy.copy_id);
}

static void rebuild(struct core *c, uint8_t holder)
{
    enum core_effect_type type = DO_CLONE;
    struct core_effect *e;

    if (!may_rebuild(c))
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

static bool is_redis(const struct core *c)
{
    return c->config.kind == SERVICE_REDIS;
}

/* The timeline number is known, but another epoch began it: pg_rewind would see no difference. */
static void note_collision(struct core *c)
{
    const struct record *r = core_known(c);

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
    } else if (c->copy.is_final && !is_diverged(c)) {
        c->wants_rebuild = false;
        start_standby(c);
    } else if (holder != HM_NOBODY) {
        note_collision(c);
        rebuild(c, holder);
    }
}

static void lead_standby(struct core *c, uint8_t holder)
{
    if (is_redis(c)) {
        follow(c, holder);
        return;
    }
    if (!c->copy.is_final)
        return;
    if (!is_diverged(c)) {
        c->wants_rebuild = false;
        follow(c, holder);
    } else if (may_rebuild(c)) {
        (void)core_ask_copy(c, DO_STOP, 0);
    }
}

/* holder: heard renewing the record accepted here (R6); only then may the copy be changed. */
static void want_follower(struct core *c, uint8_t holder)
{
    if (may_be_promoted(c)) {
        kill_copy(c);
        return;
    }
    switch (c->copy.state) {
    case COPY_SUSPENDED:
        thaw_copy(c);
        break;
    case COPY_PRIMARY:
        ask_fence(c, FENCE_SUSPENDED, 0, false);
        kill_copy(c);
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

/* Nobody is known to lead: keep a standby up, so that its position is known; touch no primary. */
static void want_waiting(struct core *c)
{
    bool is_old_primary = c->copy.was_primary && core_known(c)->holder == c->self && !is_redis(c);

    if (may_be_promoted(c) && !c->copy.was_primary && core_known(c)->holder != c->self)
        kill_copy(c); /* hamgr-fence came back without its file and stopped a standby */
    else if (c->copy.state == COPY_SUSPENDED && !is_under_lease(c) && !c->copy.was_primary)
        thaw_copy(c);
    if (c->copy.state != COPY_DOWN || is_old_primary)
        return;
    if (is_redis(c) || core_known(c)->epoch == 0 || (c->copy.is_final && !is_diverged(c)))
        start_standby(c);
}

/* --- log freeze --------------------------------------------------------------------------------
 */

/* Frozen from the promise on, until a holder with a ballot not below it renews. */
static bool is_frozen_by_promise(const struct core *c)
{
    if (c->freeze.ballot.counter == 0)
        return false;
    return !c->renewed.is_there || ballot_compare(&c->renewed.ballot, &c->freeze.ballot) < 0;
}

static void refuse_freeze(struct core *c)
{
    struct msg answer = { .type = MSG_FREEZE_ANSWER, .refusal = REFUSE_NO_COPY };

    answer.ballot = c->freeze.ballot;
    answer.seq = c->freeze.request.seq;
    answer.promised = c->voter.durable.promised;
    if (c->freeze.request.from == c->self)
        return;
    answer.to_incarnation = c->freeze.request.from_incarnation;
    core_send_to(c, c->freeze.request.from, &answer);
}

static void answer_freeze(struct core *c)
{
    struct msg answer = { .type = MSG_FREEZE_ANSWER };

    answer.ballot = c->freeze.ballot;
    answer.seq = c->freeze.request.seq;
    answer.promised = c->voter.durable.promised;
    answer.at = c->copy.at;
    answer.began_epoch = c->copy.began_epoch;
    answer.copy_id = c->copy.copy_id;
    if (c->freeze.request.from != c->self) {
        answer.to_incarnation = c->freeze.request.from_incarnation;
        core_send_to(c, c->freeze.request.from, &answer);
        return;
    }
    if (c->state != ST_FREEZE || ballot_compare(&c->mine, &c->freeze.ballot) != 0)
        return;
    c->answers[c->self] = (struct freeze_answer){ .is_there = true,
                                                  .at = answer.at,
                                                  .began_epoch = answer.began_epoch,
                                                  .copy_id = answer.copy_id };
    c->granted |= core_slot_bit(c->self);
    c->incarnations[c->self] = c->config.incarnation;
    c->has_news = true;
}

static bool is_freezable(const struct core *c)
{
    return c->copy.state == COPY_STANDBY && !c->wants_rebuild;
}

/* A copy with no certain position, or one that is or was the primary, has nothing to answer. */
static void want_frozen(struct core *c)
{
    struct core_effect *e;

    if (!is_freezable(c)) {
        if (c->freeze.must_answer && c->copy.state != COPY_UNKNOWN &&
            c->copy.state != COPY_STARTING) {
            c->freeze.must_answer = false;
            refuse_freeze(c);
        }
        return;
    }
    if (!c->freeze.is_frozen || c->copy.follows != HM_NOBODY || c->copy.is_streaming) {
        c->freeze.is_frozen = false;
        e = core_ask_copy(c, DO_FREEZE, c->freeze.ballot.counter);
        if (e != NULL)
            e->copy.ballot = c->freeze.ballot;
        return;
    }
    if (!c->freeze.must_answer || !c->copy.is_final)
        return;
    c->freeze.must_answer = false;
    answer_freeze(c);
}

static void want_fetched(struct core *c)
{
    struct core_effect *e = core_ask_copy(c, DO_FETCH, c->yield_at.offset);

    if (e == NULL)
        return;
    e->copy.member = c->yield_to;
    e->copy.upto = c->yield_at;
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
    if (r->durability != DURABILITY_ASYNC && !c->copy.is_flag_certain &&
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

    fence_holder(c);
    if (c->copy.state == COPY_SUSPENDED && is_own && c->is_chosen &&
        c->now_ms < core_lease_until(c, c->distrust_before_ms))
        thaw_copy(c);
    if (core_known(c)->is_paused)
        return;
    switch (c->copy.state) {
    case COPY_SUSPENDED:
        if (!is_own)
            kill_copy(c);
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

/* Giving away: after a switchover everything is streamed first; else no time is lost. */
static void want_fenced(struct core *c)
{
    bool is_planned = core_known(c)->switchover.phase != SWITCH_NONE && c->copy.is_healthy;

    if (guard_is_fenced(c))
        return;
    if (is_planned && c->copy.state == COPY_PRIMARY && c->op_failed != DO_STOP) {
        fence_holder(c);
        (void)core_ask_copy(c, DO_STOP, 0);
        return;
    }
    if (core_is_operating(c, DO_STOP)) {
        fence_holder(c);
        return;
    }
    ask_fence(c, FENCE_SUSPENDED, 0, false);
    if (is_running(c) && c->copy.state != COPY_SUSPENDED)
        kill_copy(c);
}

/* --- the door ----------------------------------------------------------------------------------
 */

/* No lease: what does not run needs no fence, but the sockets of a dead primary hold what the
 * kernel has not sent yet; the helper destroys them before it opens the gate. A primary loses its
 * lease when the helper's deadline comes, at the latest; asking as well costs nothing. */
static void fence_others(struct core *c)
{
    if (c->is_paused || c->copy.state == COPY_UNKNOWN)
        return;
    if (!is_running(c))
        ask_fence(c, FENCE_STANDBY, 0, true);
    else if (c->copy.fence == FENCE_PAUSED || may_be_promoted(c))
        return;
    else if (c->copy.state != COPY_PRIMARY)
        ask_fence(c, FENCE_STANDBY, 0, true);
    else if (core_has_record(c) && (c->copy.fence == FENCE_STANDBY || c->had_lease))
        ask_fence(c, FENCE_SUSPENDED, 0, false);
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
    fence_others(c);
    if (c->state == ST_STOPPED || c->state == ST_BLANK || c->state == ST_OUTSIDE)
        return;
    holder = core_followed_holder(c);
    if (c->is_paused)
        return;
    if (c->state == ST_FETCH)
        want_fetched(c);
    else if (is_frozen_by_promise(c))
        want_frozen(c);
    else if (holder != HM_NOBODY)
        want_follower(c, holder);
    if (holder == HM_NOBODY)
        want_waiting(c);
}
