/* sync.c - who has everything: the sync pairs of ARCHITECTURE 6.1, in the record and in the
 * database. */
#include "core/inner.h"

static bool is_silent(struct core *c, uint8_t slot, hm_ms since_ms)
{
    const struct peer *p = &c->view.peer[slot];

    return !p->is_known || core_due(c, p->heard_ms + since_ms + 1);
}

/* Its connection is there, and nothing gets through: a link that flaps, a disk that hangs; or its
 * host is gone without a word, and TCP does not know yet: then the newest probes, made for that,
 * show that nothing moves (look_at_silent()). Redis confirms by WAIT, which its clients limit
 * themselves. */
static bool is_stuck(struct core *c, uint8_t slot)
{
    hm_ms moved_ms = hm_max_ms(c->moved_ms[slot], c->primary_since_ms);

    if (core_known(c)->kind == SERVICE_REDIS || !c->copy.standby[slot].is_streaming)
        return false;
    if (is_silent(c, slot, core_ttl_ms(c)))
        return c->copy.taken_at_ms - moved_ms >= core_ttl_ms(c) / 2;
    return core_due(c, moved_ms + c->config.stall_timeout_ms);
}

/* A standby counts as lost when it has not streamed for the time of a lease. */
static bool has_streamed_lately(struct core *c, uint8_t slot)
{
    return !core_due(c, hm_max_ms(c->streamed_ms[slot], c->primary_since_ms) + core_ttl_ms(c)) &&
           !is_stuck(c, slot);
}

static bool is_leaving(const struct core *c, uint8_t slot)
{
    return c->order.kind == ORDER_MEMBER_REMOVE && c->order.member == slot;
}

/* A copy that a pair may name: a db member that streams from here and may become primary. */
static bool may_be_waited_for(struct core *c, uint8_t slot, const struct gossip *g)
{
    if (core_known(c)->member[slot].role != ROLE_DB || is_leaving(c, slot))
        return false;
    if ((core_known(c)->voters & core_slot_bit(slot)) == 0)
        return false;
    return g->copy == COPY_STANDBY && !g->is_nofailover && !g->wants_rebuild && g->copy_id != 0;
}

/* In strict a standby that is away keeps its place: commits wait for it. */
static bool keeps_its_place(struct core *c, uint8_t slot, uint64_t copy_id)
{
    const struct peer *p = &c->view.peer[slot];

    if (core_known(c)->member[slot].role != ROLE_DB || is_leaving(c, slot))
        return false;
    if (p->is_known && (p->gossip.wants_rebuild || p->gossip.is_nofailover ||
                        (p->gossip.copy_id != 0 && p->gossip.copy_id != copy_id)))
        return false;
    if (p->is_known && p->gossip.is_streaming && p->gossip.follows != HM_NOBODY &&
        p->gossip.follows != c->self && p->gossip.follows != core_known(c)->holder)
        return false; /* a cascade: what it has it does not tell us */
    return core_known(c)->goal == DURABILITY_STRICT || has_streamed_lately(c, slot);
}

static bool names_member(const struct pair *pair, uint8_t slot)
{
    for (unsigned i = 0; i < pair->n; i++)
        if (pair->copies[i].member == slot)
            return true;
    return false;
}

/* Commits wait for a standby that is silent. Its stream is looked at with every heartbeat, so that
 * it is known when its lease time is over whether anything moved: else they would wait for the next
 * probe and the one after. */
static void look_at_silent(struct core *c)
{
    const struct record *r = core_known(c);
    bool is_one_silent = false;

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (record_pairs_name(r, slot, 0) && c->copy.standby[slot].is_streaming &&
            is_silent(c, slot, core_ttl_ms(c) / 4))
            is_one_silent = true;
    if (!is_one_silent ||
        !core_due(c, hm_max_ms(c->looked_ms, c->copy_noted_ms) + core_heartbeat_ms(c)))
        return;
    c->looked_ms = c->now_ms;
    (void)core_ask(c, DO_LOOK);
}

static void keep_places(struct core *c, struct pair *pair)
{
    const struct record *r = core_known(c);

    for (unsigned i = r->pairs_n; i-- > 0;) /* the newest names the newest copies */
        for (unsigned j = 0; j < r->pairs[i].n; j++) {
            const struct copy_name *copy = &r->pairs[i].copies[j];

            if (!names_member(pair, copy->member) &&
                keeps_its_place(c, copy->member, copy->copy_id))
                pair_add(pair, copy->member, copy->copy_id);
        }
}

static void add_streaming(struct core *c, struct pair *pair)
{
    bool is_redis = core_known(c)->kind == SERVICE_REDIS;

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct gossip *g = view_recent(&c->view, slot, c->now_ms - core_ttl_ms(c));

        if (slot == c->self || g == NULL || names_member(pair, slot) ||
            !may_be_waited_for(c, slot, g))
            continue;
        /* A Redis replica attaches only after it is in a pair, so it cannot stream before. */
        if (is_redis ? !g->is_healthy
                     : !c->copy.standby[slot].is_streaming ||
                           c->copy.standby[slot].copy_id != g->copy_id || is_stuck(c, slot))
            continue;
        pair_add(pair, slot, g->copy_id);
    }
}

void core_desired_pair(struct core *c, struct pair *ret_pair)
{
    const struct record *r = core_known(c);
    uint8_t wanted = r->sync_standbys > 0 ? r->sync_standbys : 1;

    *ret_pair = pair_alone;
    if (r->goal == DURABILITY_ASYNC)
        return;
    keep_places(c, ret_pair);
    add_streaming(c, ret_pair);
    ret_pair->need = wanted <= ret_pair->n ? wanted : ret_pair->n;
    /* strict never acknowledges with fewer: it waits under a pair that nobody can meet. */
    if (r->goal == DURABILITY_STRICT && ret_pair->n < wanted)
        *ret_pair = pair_alone;
}

/* --- the takeover's pairs -------------------------------------------------------------------- */

static void add_answers(const struct core *c, const struct record *r, bool is_exact,
                        struct pair *pair)
{
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct freeze_answer *a = &c->answers[slot];
        int order;

        if (slot == c->self || !a->is_there || r->member[slot].role != ROLE_DB ||
            c->view.peer[slot].gossip.is_nofailover || (r->voters & core_slot_bit(slot)) == 0)
            continue;
        order = record_compare(&a->at, &c->answers[c->self].at);
        if (order > 0 || (is_exact && order < 0) ||
            !core_is_on_history(c, r, &a->at, a->began_epoch))
            continue; /* what is ahead was gone without */
        pair_add(pair, slot, a->copy_id);
    }
}

/* Whether nothing can be acknowledged before the names of the new pair are in force. Who may attach
 * to a primary of Redis is decided by hamgrd, and nobody does before it has said so: there is no
 * flag that could be behind. */
static bool is_certain(const struct core *c, const struct record *r)
{
    return r->kind == SERVICE_REDIS || (c->copy.is_flag_certain && c->copy.names != NAMES_EMPTY);
}

/* r: the adopted record, about to become the takeover's; its history is still the old one. */
void core_takeover_pairs(const struct core *c, struct record *r)
{
    uint8_t wanted = r->sync_standbys > 0 ? r->sync_standbys : 1;
    struct pair exact = pair_alone;
    struct pair others = pair_alone;

    if (r->durability == DURABILITY_ASYNC) {
        r->pairs_n = 1;
        r->pairs[0] = pair_alone;
        return;
    }
    add_answers(c, r, true, &exact);
    add_answers(c, r, false, &others);
    r->pairs_n = 0;
    if (exact.n >= wanted && is_certain(c, r)) {
        exact.need = wanted;
        r->pairs[r->pairs_n++] = exact;
        return;
    }
    r->pairs[r->pairs_n++] = pair_alone;
    if (exact.n >= wanted)
        others = exact;
    if (others.n == 0 || (r->durability == DURABILITY_STRICT && others.n < wanted))
        return;
    others.need = wanted <= others.n ? wanted : others.n;
    r->pairs[r->pairs_n++] = others;
}

/* --- the database ---------------------------------------------------------------------------- */

static void set_names(struct core *c, enum names_state names, const struct pair *pair)
{
    uint64_t detail = names == NAMES_PAIR ? pair_digest(pair) : (uint64_t)names;
    struct core_effect *e;

    if (names == NAMES_EMPTY)
        c->proved_server = 0;
    if (c->marked_digest != detail)
        c->marked_digest = 0; /* the marker vouches for the names that it was written under */
    e = core_ask_copy(c, DO_SET_NAMES, detail);
    if (e == NULL)
        return;
    e->names.names = names;
    e->names.pair = names == NAMES_PAIR ? *pair : pair_alone;
}

/* While names are being set, what a probe saw before means nothing. */
static enum names_state seen_names(const struct core *c)
{
    return core_is_operating(c, DO_SET_NAMES) ? NAMES_UNKNOWN : c->copy.names;
}

/* Commits are acknowledged alone only when the record says so, and never in strict: neither once it
 * is asked for, nor until it is no longer promised. */
static void want_alone(struct core *c)
{
    const struct record *r = core_known(c);
    bool is_strict = r->goal == DURABILITY_STRICT || r->durability == DURABILITY_STRICT;
    enum names_state names = is_strict ? NAMES_NOBODY : NAMES_EMPTY;

    if (seen_names(c) != names)
        set_names(c, names, NULL);
    else if (names == NAMES_NOBODY && c->proved_server != c->copy.server_id)
        (void)core_ask_copy(c, DO_PROVE, c->copy.server_id);
}

/* Whether commits wait at all is one flag that the checkpointer sets late; so a commit must be
 * seen waiting under names that nobody has before the names of a pair mean anything. */
static void want_pair(struct core *c, const struct pair *pair)
{
    uint64_t digest = pair_digest(pair);
    bool has_names = seen_names(c) == NAMES_PAIR && c->copy.names_digest == digest;
    struct core_effect *e;

    if (c->proved_server != c->copy.server_id) {
        if (has_names && core_known(c)->pairs_n == 1 &&
            core_known(c)->durability != DURABILITY_ASYNC)
            c->proved_server = c->copy.server_id; /* set by us before hamgrd restarted */
        else if (seen_names(c) != NAMES_NOBODY) {
            set_names(c, NAMES_NOBODY, NULL);
            return;
        } else {
            (void)core_ask_copy(c, DO_PROVE, c->copy.server_id);
            return;
        }
    }
    if (!has_names) {
        set_names(c, NAMES_PAIR, pair);
        return;
    }
    if (c->marked_digest == digest && c->marked_server == c->copy.server_id)
        return;
    e = core_ask_copy(c, DO_MARKER, digest);
    if (e != NULL) {
        e->names.names = NAMES_PAIR;
        e->names.pair = *pair;
    }
}

/* The database follows the record that is chosen, never the other way round. */
void core_want_names(struct core *c)
{
    struct pair wanted;

    if (!c->is_chosen || c->state == ST_HANDOVER)
        return;
    look_at_silent(c);
    core_desired_pair(c, &wanted);
    if (!record_has_pair(core_known(c), pair_digest(&wanted)))
        return;
    if (pair_is_alone(&wanted)) {
        if (core_known(c)->pairs_n == 1)
            want_alone(c);
        return;
    }
    want_pair(c, &wanted);
}

/* The gate opens when the record is chosen and what it promises is in force; for the same server
 * it stays open from then on. */
bool core_lets_clients_in(const struct core *c)
{
    return c->copy.state == COPY_PRIMARY && c->copy.fence == FENCE_LEASE && c->copy.is_gate_open;
}

bool core_gate_may_open(struct core *c)
{
    const struct record *r = core_known(c);
    bool is_promised;

    if (c->copy.state != COPY_PRIMARY && c->copy.state != COPY_SUSPENDED)
        return false;
    if (c->copy.server_id == c->opened_server)
        return true;
    if (!c->is_chosen || c->copy.state != COPY_PRIMARY || c->copy.copy_id != r->copy_id)
        return false;
    if (r->kind == SERVICE_REDIS && c->copy.at.timeline != record_timeline(r)->timeline)
        return false;
    is_promised = r->durability == DURABILITY_ASYNC || c->marked_server == c->copy.server_id ||
                  (r->pairs_n == 1 && pair_is_alone(&r->pairs[0]) &&
                   (c->copy.names == NAMES_EMPTY || r->durability == DURABILITY_STRICT));
    if (!is_promised && !c->copy.is_gate_open)
        return false;
    c->opened_server = c->copy.server_id;
    return true;
}
