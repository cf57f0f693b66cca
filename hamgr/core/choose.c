/* choose.c - which copy may take over, and which is best (ARCHITECTURE 6 and 6.1). */
#include "core/inner.h"

#include <string.h>

static hm_ms recent_ms(const struct core *c)
{
    return c->now_ms - 2 * core_heartbeat_ms(c);
}

bool core_sees_majority(const struct core *c)
{
    const struct record *r = core_known(c);

    return c->self != HM_NOBODY &&
           record_is_majority(r, view_heard(&c->view, recent_ms(c)) | core_slot_bit(c->self));
}

bool core_is_holder_copy(const struct core *c, const struct record *r)
{
    if (!c->has_copy || r->epoch == 0 || r->holder != c->self)
        return false;
    if (r->copy_id == 0)
        return true; /* the very first one is still being made: nothing was acknowledged */
    if (c->copy.copy_id != r->copy_id)
        return false;
    /* What a Redis server had is gone with its process. */
    return c->copy.state != COPY_ABSENT && c->copy.state != COPY_REBUILDING &&
           c->copy.state != COPY_UNKNOWN &&
           (r->kind != SERVICE_REDIS || c->copy.state != COPY_DOWN);
}

/* Before there is a history: the later timeline, then the longer log. What stands for the timeline
 * of a Redis is drawn by chance, and only tells two apart. */
static int compare_first(enum service_kind kind, const struct position *a, const struct position *b)
{
    int order = record_compare(a, b);

    if (a->timeline == b->timeline || (kind == SERVICE_REDIS && order != 0))
        return order;
    return a->timeline < b->timeline ? -1 : 1;
}

/* It has more to begin with; of two that have the same, one that never stands leaves it to others.
 */
static bool founds_before(const struct core *c, uint8_t slot, const struct gossip *g)
{
    if (c->copy.state == COPY_ABSENT)
        return g->copy != COPY_ABSENT || (slot < c->self && !g->is_nofailover);
    if (g->is_nofailover && record_compare(&g->at, &c->copy.at) == 0)
        return false;
    return compare_first(c->config.kind, &g->at, &c->copy.at) > 0;
}

/* Nothing has been recorded yet: a running primary is adopted; else, once it is known that
 * nobody runs one, a standby; and if nobody has data at all, the first db member makes some. */
static bool may_found(const struct core *c)
{
    uint16_t others = record_db_members(core_known(c)) & (uint16_t)~core_slot_bit(c->self);

    if (c->copy.state == COPY_PRIMARY || (c->copy.state == COPY_SUSPENDED && c->copy.was_primary))
        return true;
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct gossip *g;

        if ((others & core_slot_bit(slot)) == 0)
            continue;
        g = view_recent(&c->view, slot, recent_ms(c));
        if (g == NULL || g->copy == COPY_UNKNOWN || g->copy == COPY_PRIMARY)
            return false;
        if (founds_before(c, slot, g))
            return false;
    }
    return c->copy.state == COPY_ABSENT || (c->copy.state == COPY_STANDBY && c->copy.is_final);
}

/* A delayed copy would first have to replay what it put off. */
bool core_is_barred(const struct core *c)
{
    return c->config.is_nofailover || c->copy.is_delayed;
}

bool core_is_open(const struct record *r)
{
    const struct timeline *last = record_timeline(r);

    return last != NULL && (last->timeline & HM_TIMELINE_OPEN) != 0;
}

static bool has_timeline(const struct record *r, uint64_t timeline)
{
    for (unsigned i = 0; i < r->timelines_n; i++)
        if (r->timelines[i].timeline == timeline)
            return true;
    return timeline == 0;
}

bool core_is_on_history(const struct core *c, const struct record *r, const struct position *at,
                        uint64_t began_epoch)
{
    bool is_of_open = core_is_open(r) && !has_timeline(r, at->timeline) &&
                      at->offset >= record_timeline(r)->start;

    return record_is_on_history(r, at, began_epoch) ||
           (is_of_open && c->seen_epoch == r->epoch && c->seen_timeline == at->timeline);
}

static bool is_well(const struct core *c, const struct record *r)
{
    const struct copy *copy = &c->copy;

    return copy->state == COPY_STANDBY && copy->is_healthy && copy->is_final && !c->wants_rebuild &&
           !core_is_forged(c) && (r->system_id == 0 || copy->system_id == r->system_id);
}

bool core_copy_is_fit(const struct core *c, const struct record *r)
{
    if (!c->has_copy || c->config.role != ROLE_DB)
        return false;
    if (r->epoch == 0)
        return may_found(c);
    if ((r->voters & core_slot_bit(c->self)) == 0)
        return false; /* it is being removed */
    return is_well(c, r) && core_is_on_history(c, r, &c->copy.at, c->copy.began_epoch);
}

bool core_may_be_forced(const struct core *c, const struct record *r)
{
    return core_copy_is_fit(c, r) || (c->has_copy && c->config.role == ROLE_DB && is_well(c, r) &&
                                      core_is_open(r) && !has_timeline(r, c->copy.at.timeline) &&
                                      c->copy.at.offset >= record_timeline(r)->start);
}

bool core_may_be_kept(const struct core *c, const struct record *r)
{
    const struct copy *copy = &c->copy;

    return c->has_copy && c->config.role == ROLE_DB && (r->voters & core_slot_bit(c->self)) != 0 &&
           copy->state == COPY_STANDBY && copy->is_healthy && copy->is_final &&
           !core_is_forged(c) && (r->system_id == 0 || copy->system_id == r->system_id) &&
           (r->kind == SERVICE_REDIS || core_may_be_forced(c, r) ||
            core_is_on_history(c, r, &copy->at, copy->began_epoch));
}

uint64_t core_primary_offset(const struct core *c, const struct record *r)
{
    if (c->seen_epoch == r->epoch && c->seen_offset > r->last_known.offset)
        return c->seen_offset;
    return r->last_known.offset;
}

bool core_is_named_holder(const struct core *c, const struct record *r)
{
    return r->epoch != 0 && r->holder == c->self;
}

static bool is_within(uint64_t ahead, uint64_t behind, uint64_t limit)
{
    return ahead <= behind || ahead - behind <= limit;
}

bool core_copy_lags(const struct core *c, const struct record *r)
{
    uint64_t offset = r->last_known.offset;

    if (r->timelines_n > 0 && record_timeline(r)->start > offset)
        offset = record_timeline(r)->start; /* the primary was at least where it began */
    if (r->epoch == 0 || r->durability != DURABILITY_ASYNC || core_is_holder_copy(c, r) ||
        core_is_named_holder(c, r))
        return false;
    if (core_primary_offset(c, r) > offset)
        offset = core_primary_offset(c, r);
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (c->heard[slot].epoch == r->epoch && c->heard[slot].offset > offset)
            offset = c->heard[slot].offset;
    return !is_within(offset, c->copy.at.offset, r->max_lag_bytes);
}

bool core_pairs_forbid_others(const struct record *r)
{
    for (unsigned i = 0; i < r->pairs_n; i++)
        if (pair_is_alone(&r->pairs[i]))
            return true;
    return false;
}

bool core_pairs_forbid(const struct core *c, const struct record *r)
{
    if (r->epoch == 0 || core_is_named_holder(c, r) || r->durability == DURABILITY_ASYNC ||
        core_is_holder_copy(c, r))
        return false;
    return core_pairs_forbid_others(r);
}

/* --- rank ----------------------------------------------------------------------------------- */

static bool gossip_is_fit(const struct core *c, const struct record *r, const struct gossip *g)
{
    return g->copy == COPY_STANDBY && g->is_healthy && g->is_final && !g->is_nofailover &&
           !g->released && !g->wants_rebuild &&
           (r->epoch == 0 || core_is_on_history(c, r, &g->at, g->began_epoch));
}

bool core_says_unfit(const struct core *c, uint8_t slot)
{
    const struct gossip *g = view_recent(&c->view, slot, recent_ms(c));

    return g != NULL && !gossip_is_fit(c, core_known(c), g);
}

bool core_may_keep(const struct core *c, uint8_t slot)
{
    const struct gossip *g =
        slot < HM_MEMBERS_MAX ? view_recent(&c->view, slot, recent_ms(c)) : NULL;
    const struct record *r = core_known(c);

    return g != NULL && r->member[slot].role == ROLE_DB && (r->voters & core_slot_bit(slot)) != 0 &&
           g->copy == COPY_STANDBY && g->is_healthy && g->is_final &&
           (r->kind == SERVICE_REDIS || core_is_on_history(c, r, &g->at, g->began_epoch));
}

/* Orders two copies: position, then priority, then name. */
static int compare_copies(const struct record *r, uint8_t a, const struct gossip *ga, uint8_t b,
                          const struct gossip *gb)
{
    int order = record_compare(&ga->at, &gb->at);

    if (order == 0)
        order = ga->priority - gb->priority;
    if (order == 0)
        order = strncmp(r->member[b].name, r->member[a].name, HM_NAME_MAX);
    return order;
}

static bool is_ahead_of_me(const struct core *c, uint8_t slot, const struct gossip *mine)
{
    const struct record *r = core_known(c);
    const struct gossip *g = view_recent(&c->view, slot, recent_ms(c));

    if (g == NULL)
        return false;
    if (g->is_holder)
        return g->sees_majority; /* one that hears nobody cannot go on, whoever hears it */
    return gossip_is_fit(c, r, g) && compare_copies(r, slot, g, c->self, mine) > 0;
}

/* True for the copy that need not wait; else *ret_rank says how many go first. */
bool core_is_first_in_line(struct core *c, uint8_t *ret_rank)
{
    const struct record *r = core_known(c);
    struct gossip mine;
    uint8_t rank = 0;

    *ret_rank = 0;
    if (core_is_holder_copy(c, r) || c->is_yielded_to)
        return true;
    if (core_is_kept(c, r) || (r->switchover.phase != SWITCH_NONE && r->switchover.to == c->self))
        return true;
    core_make_gossip(c, &mine);
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (slot != c->self && is_ahead_of_me(c, slot, &mine))
            rank++;
    *ret_rank = rank;
    return rank == 0;
}

bool core_is_better_than(struct core *c, uint8_t slot)
{
    const struct record *r = core_known(c);
    const struct gossip *g = view_recent(&c->view, slot, recent_ms(c));
    struct gossip mine;

    if (g == NULL || core_is_holder_copy(c, r))
        return g != NULL;
    if (g->is_holder || (r->switchover.phase != SWITCH_NONE && r->switchover.to == slot))
        return false;
    core_make_gossip(c, &mine);
    return compare_copies(r, c->self, &mine, slot, g) > 0;
}

/* --- who could follow this holder ------------------------------------------------------------ */

bool core_can_succeed(struct core *c, uint8_t slot)
{
    const struct record *r = core_known(c);
    const struct gossip *g =
        slot < HM_MEMBERS_MAX && slot != c->self ? view_recent(&c->view, slot, recent_ms(c)) : NULL;

    if (g == NULL || r->member[slot].role != ROLE_DB || !gossip_is_fit(c, r, g))
        return false;
    if (r->durability == DURABILITY_ASYNC)
        return is_within(core_primary_offset(c, r), g->at.offset, r->max_lag_bytes);
    return !core_pairs_forbid_others(r) && record_pairs_have(r, slot, g->copy_id);
}

/* Everything can be streamed to it before the own copy stops: directly, or by one that streams from
 * here. What it says itself may be of a moment ago, when another member was the primary. */
bool core_streams_to(const struct core *c, uint8_t slot)
{
    const struct gossip *g = &c->view.peer[slot].gossip;

    if (c->copy.standby[slot].is_streaming && c->copy.standby[slot].copy_id == g->copy_id)
        return true;
    return g->is_streaming && g->follows < HM_MEMBERS_MAX && g->follows != slot &&
           c->copy.standby[g->follows].is_streaming;
}

uint8_t core_successor(struct core *c)
{
    const struct record *r = core_known(c);
    uint8_t best = HM_NOBODY;

    if (!core_sees_majority(c))
        return HM_NOBODY;
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        if (!core_can_succeed(c, slot))
            continue;
        if (best == HM_NOBODY || compare_copies(r, slot, &c->view.peer[slot].gossip, best,
                                                &c->view.peer[best].gossip) > 0)
            best = slot;
    }
    return best;
}

/* --- log freeze ----------------------------------------------------------------------------- */

static bool is_counted(const struct core *c, const struct record *r, const struct freeze_answer *a)
{
    return a->is_there && core_is_on_history(c, r, &a->at, a->began_epoch);
}

/* The own answer is of what the copy is now: the same data, frozen and not restarted since. What a
 * Redis server had is gone with its process. */
bool core_own_answer_stands(const struct core *c)
{
    return c->answers[c->self].is_there && c->copy.state == COPY_STANDBY &&
           c->copy.copy_id == c->answers[c->self].copy_id && c->freeze.is_frozen &&
           c->freeze.server_id == c->copy.server_id;
}

uint8_t core_longer_log(const struct core *c)
{
    const struct record *r = core_base(c);
    uint8_t best = c->self;

    if (!c->answers[c->self].is_there)
        return HM_NOBODY;
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (is_counted(c, r, &c->answers[slot]) &&
            record_compare(&c->answers[slot].at, &c->answers[best].at) > 0)
            best = slot;
    return best != c->self ? best : HM_NOBODY;
}

/* 6.1: answers to this very freeze from at least |C| - k + 1 copies of C, for every pair. One that
 * is ahead is as good as none: what it has alone is not in the own log. */
static bool pairs_are_met(const struct core *c, const struct record *r)
{
    for (unsigned i = 0; i < r->pairs_n; i++) {
        const struct pair *p = &r->pairs[i];
        unsigned met = 0;

        for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
            if (is_counted(c, r, &c->answers[slot]) &&
                pair_has(p, slot, c->answers[slot].copy_id) &&
                record_compare(&c->answers[slot].at, &c->answers[c->self].at) <= 0)
                met++;
        if (pair_is_alone(p) || met + p->need < p->n + 1u)
            return false;
    }
    return true;
}

bool core_may_go_without(const struct core *c)
{
    const struct record *r = core_base(c);
    uint8_t ahead = core_longer_log(c);

    if (r->kind != SERVICE_REDIS || ahead == HM_NOBODY || !core_own_answer_stands(c) ||
        !is_counted(c, r, &c->answers[c->self]))
        return false;
    if (r->durability != DURABILITY_ASYNC)
        return pairs_are_met(c, r);
    return !core_copy_lags(c, r) &&
           is_within(c->answers[ahead].at.offset, c->answers[c->self].at.offset, r->max_lag_bytes);
}

/* More answers than needed make the next pair larger, and show a longer log in async. */
static bool all_have_answered(const struct core *c, const struct record *r)
{
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct gossip *g = view_recent(&c->view, slot, recent_ms(c));

        if (slot == c->self || r->member[slot].role != ROLE_DB || g == NULL)
            continue;
        if (g->is_delayed)
            continue; /* it ends its log when its delay does */
        if (g->copy == COPY_STANDBY && ((c->granted | c->refused) & core_slot_bit(slot)) == 0)
            return false;
    }
    return true;
}

/* Every other copy has answered, and not enough of them count; the primary's own does not answer.
 * It is suspended only, and has everything. */
bool core_only_holder_suffices(struct core *c)
{
    const struct record *r = core_base(c);
    uint16_t others = record_db_members(r) & (uint16_t)~core_slot_bit(r->holder);
    const struct gossip *g = view_recent(&c->view, r->holder, c->now_ms - 2 * core_heartbeat_ms(c));

    return r->durability != DURABILITY_ASYNC && r->holder != c->self && g != NULL &&
           g->copy == COPY_SUSPENDED && g->copy_id == r->copy_id && g->is_holder &&
           g->sees_majority && ((c->granted | c->refused) & others) == others &&
           !pairs_are_met(c, r);
}

bool core_logs_suffice(struct core *c)
{
    const struct record *r = core_base(c);

    bool is_kept = core_is_kept(c, r);

    if (!core_own_answer_stands(c) || (!is_kept && !is_counted(c, r, &c->answers[c->self])))
        return false;
    if (!is_kept && r->durability != DURABILITY_ASYNC && !pairs_are_met(c, r))
        return false;
    return (all_have_answered(c, r) && !core_awaits_dead_end(c)) ||
           core_due(c, c->since_ms + c->config.freeze_timeout_ms);
}
