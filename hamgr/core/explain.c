#include "core/explain.h"

#include "core/inner.h"

#include <string.h>

#define RULE_REFUSES_FIRST 31 /* the rows of ST_STANDING that refuse, in the decision table */

static const char *const verdict_names[] = {
#define X(name, text) [name] = text,
    EXPLAIN_VERDICTS(X)
#undef X
};

static const char *const outcome_names[] = {
#define X(name, text) [name] = text,
    EXPLAIN_OUTCOMES(X)
#undef X
};

const char *explain_verdict_name(enum explain_verdict v)
{
    return (unsigned)v < EXPLAIN_VERDICTS_N ? verdict_names[v] : "?";
}

const char *explain_outcome_name(enum explain_outcome o)
{
    return (unsigned)o < EXPLAIN_OUTCOMES_N ? outcome_names[o] : "?";
}

static unsigned count(uint16_t slots)
{
    unsigned n = 0;

    for (; slots != 0; slots &= (uint16_t)(slots - 1))
        n++;
    return n;
}

/* --- a member's own view -----------------------------------------------------------------------
 */

/* Everybody as this member knows them, itself among them; nobody who is lost. */
static void collect_view(struct core *s, const struct core *c, uint16_t gone)
{
    hm_ms since_ms = c->now_ms - core_ttl_ms(c);
    struct gossip mine;

    if (c->self != HM_NOBODY) {
        core_make_gossip(s, &mine);
        view_note_gossip(&s->view, c->self, &mine, c->now_ms);
    }
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        if ((gone & core_slot_bit(slot)) != 0 || s->view.peer[slot].heard_ms < since_ms)
            view_forget(&s->view, slot);
        else if (s->view.peer[slot].is_known)
            s->view.peer[slot].heard_ms = c->now_ms; /* late is not lost, here */
    }
}

static void copy_of_gossip(struct copy *copy, const struct gossip *g, const struct record *r)
{
    memset(copy, 0, sizeof *copy);
    copy->state = g->copy;
    copy->copy_id = g->copy_id;
    copy->at = g->at;
    copy->began_epoch = g->began_epoch;
    copy->is_final = g->is_final;
    copy->is_healthy = g->is_healthy;
    copy->follows = g->follows;
    copy->is_streaming = g->is_streaming;
    copy->system_id = r->system_id; /* not told, and refused by the member itself */
}

/* Turns a core into that of another member; what gossip does not tell is taken to be well. */
static void become(struct core *s, uint8_t slot)
{
    const struct record *r = core_known(s);
    const struct gossip *g = &s->view.peer[slot].gossip;

    s->self = slot;
    s->state = ST_STANDING;
    s->config.role = r->member[slot].role;
    s->config.incarnation = r->member[slot].incarnation;
    memcpy(s->config.name, r->member[slot].name, sizeof s->config.name);
    s->config.priority = g->priority;
    s->config.is_nofailover = g->is_nofailover;
    s->wants_rebuild = g->wants_rebuild;
    s->is_yielded_to = false;
    s->has_copy = true;
    copy_of_gossip(&s->copy, g, r);
    s->copy.fence_answers = true;
    s->copy_noted_ms = s->now_ms;
    s->voter.born_ms = s->now_ms - s->voter.durable.max_ttl_ms;
    s->voter.is_blank = false;
    s->view.healthy_since_ms = HM_NEVER;
    s->released_at_ms = g->released ? s->now_ms : HM_PAST;
}

/* --- one member --------------------------------------------------------------------------------
 */

/* The row that keeps it from standing; 0: none does. */
static uint16_t refusing_rule(struct core *s)
{
    for (size_t i = 0; i < rules_n; i++)
        if (rules[i].state == ST_STANDING && rules[i].id >= RULE_REFUSES_FIRST &&
            rules[i].id < RULE_NAMED && rules[i].when(s))
            return rules[i].id;
    return 0;
}

static bool is_counted(const struct core *s, const struct record *r, const struct copy_name *name)
{
    const struct gossip *g = &s->view.peer[name->member].gossip;

    return s->view.peer[name->member].is_known && g->copy == COPY_STANDBY && !g->wants_rebuild &&
           g->copy_id == name->copy_id && core_is_on_history(s, r, &g->at, g->began_epoch);
}

/* 6.1 with everybody answering who is heard: the pair that is shortest of logs. */
static void count_logs(const struct core *s, struct explained *e)
{
    const struct record *r = core_known(s);

    for (unsigned i = 0; i < r->pairs_n; i++) {
        const struct pair *p = &r->pairs[i];
        uint8_t logs = 0, needed = (uint8_t)(p->n - p->need + 1);

        for (unsigned k = 0; k < p->n; k++)
            logs += is_counted(s, r, &p->copies[k]);
        if (i > 0 && logs - needed >= e->logs - e->needed)
            continue;
        e->logs = logs;
        e->needed = needed;
    }
}

static bool needs_logs(struct core *s)
{
    const struct record *r = core_known(s);

    return r->epoch != 0 && r->durability != DURABILITY_ASYNC && !core_is_holder_copy(s, r);
}

static void judge(struct core *s, bool has_votes, struct explained *e)
{
    e->rule = refusing_rule(s);
    if (needs_logs(s))
        count_logs(s, e);
    if (e->rule != 0)
        e->verdict = EXPLAIN_REFUSED;
    else if (e->logs < e->needed)
        e->verdict = EXPLAIN_FEW_LOGS;
    else if (!has_votes)
        e->verdict = EXPLAIN_NO_VOTES;
    else
        e->verdict = EXPLAIN_CAN;
    if (e->verdict == EXPLAIN_CAN)
        (void)core_is_first_in_line(s, &e->rank);
}

static void explain_member(const struct core *base, const struct core *c, uint8_t slot,
                           bool has_votes, struct explained *e)
{
    struct core s = *base;
    const struct record *r = core_known(&s);
    uint64_t top = core_primary_offset(c, r);

    if (slot != c->self)
        become(&s, slot);
    e->has_gossip = s.copy.at.offset != 0;
    e->at = s.copy.at;
    e->behind = top > e->at.offset ? top - e->at.offset : 0;
    judge(&s, has_votes, e);
}

/* --- all of them -------------------------------------------------------------------------------
 */

static bool is_commit_short(const struct core *base, const struct record *r, uint16_t lost)
{
    for (unsigned i = 0; i < r->pairs_n; i++) {
        const struct pair *p = &r->pairs[i];
        unsigned left = 0;

        for (unsigned k = 0; k < p->n; k++)
            left += base->view.peer[p->copies[k].member].is_known &&
                    (lost & core_slot_bit(p->copies[k].member)) == 0;
        if (left < p->need)
            return true;
    }
    return false;
}

static void count_votes(const struct core *base, uint16_t lost, struct explanation *ret)
{
    const struct record *r = core_known(base);
    uint16_t heard = view_heard(&base->view, base->now_ms) & (uint16_t)~lost;
    uint16_t votes = heard & r->voters;

    ret->voters = (uint8_t)count(r->voters);
    ret->majority = (uint8_t)(ret->voters / 2 + 1);
    ret->votes = (uint8_t)count(votes);
    ret->is_last_majority = record_is_majority(r, heard) && ret->votes == ret->majority;
}

static bool may_go_on(const struct core *base, const struct explanation *ret, uint8_t slot)
{
    bool is_by_hand = slot == ret->leader && ret->leader_copy == COPY_PRIMARY;

    return is_by_hand || core_may_keep(base, slot);
}

/* The longest log; of two that are as long, the leader's needs no handover. */
static uint8_t fullest(const struct core *base, uint16_t lost, const struct explanation *ret)
{
    const struct record *r = core_known(base);
    uint8_t best = HM_NOBODY;

    if (r->is_paused || r->epoch == 0)
        return HM_NOBODY;
    if (ret->has_no_primary && ret->leader_copy == COPY_PRIMARY)
        return ret->leader; /* it runs as a primary already */
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        uint64_t end = base->view.peer[slot].gossip.at.offset;

        if ((lost & core_slot_bit(slot)) != 0 || !may_go_on(base, ret, slot))
            continue;
        if (best == HM_NOBODY || end > base->view.peer[best].gossip.at.offset ||
            (end == base->view.peer[best].gossip.at.offset && slot == ret->leader))
            best = slot;
    }
    return best;
}

/* What is down or starting is likely to come up, or is given away at once. */
static void look_at_leader(const struct core *all, struct explanation *ret)
{
    const struct record *r = core_known(all);
    const struct gossip *g;

    if (ret->leader >= HM_MEMBERS_MAX || !all->view.peer[ret->leader].is_known)
        return;
    g = &all->view.peer[ret->leader].gossip;
    ret->leader_copy = g->copy;
    ret->has_no_primary = g->copy != COPY_DOWN && g->copy != COPY_STARTING &&
                          core_has_no_primary(r, g->copy, g->copy_id);
}

static void foresee(const struct core *base, uint16_t lost, struct explanation *ret)
{
    const struct record *r = core_known(base);
    uint16_t heard = view_heard(&base->view, base->now_ms) & (uint16_t)~lost;
    bool is_led = ret->leader != HM_NOBODY && (lost & core_slot_bit(ret->leader)) == 0 &&
                  !ret->has_no_primary;

    ret->outcome = OUTCOME_NOBODY;
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (ret->member[slot].verdict == EXPLAIN_CAN &&
            (ret->successor == HM_NOBODY ||
             ret->member[slot].rank < ret->member[ret->successor].rank))
            ret->successor = slot;
    ret->within_ms = r->ttl_ms;
    if (!record_is_majority(r, heard)) {
        ret->outcome = OUTCOME_STOPS;
    } else if (is_led) {
        ret->outcome = OUTCOME_STAYS;
        ret->commits_wait = r->durability != DURABILITY_ASYNC && is_commit_short(base, r, lost);
    } else if (ret->successor != HM_NOBODY) {
        ret->outcome = OUTCOME_TAKEOVER;
        if (r->durability == DURABILITY_ASYNC) {
            ret->at_risk = ret->member[ret->successor].behind;
            ret->at_risk_most = r->max_lag_bytes;
        }
    }
    if (ret->outcome != OUTCOME_TAKEOVER)
        ret->successor = HM_NOBODY;
    if (ret->outcome == OUTCOME_NOBODY)
        ret->fullest = fullest(base, lost, ret);
}

/* While the service is paused nobody else becomes the holder, so that the last one heard would be
 * taken for the leader for ever: it leads as long as its lease can run. */
static uint8_t leading(const struct core *c)
{
    uint8_t leader = core_leader(c);

    if (leader != c->self && c->now_ms - c->renewed.at_ms > core_known(c)->ttl_ms)
        return HM_NOBODY;
    return leader;
}

void core_explain(const struct core *c, uint16_t lost, struct explanation *ret)
{
    struct core all = *c, base = *c;
    const struct record *r = core_known(c);
    uint16_t gone;
    bool has_votes;

    memset(ret, 0, sizeof *ret);
    ret->leader = leading(c);
    ret->successor = ret->fullest = HM_NOBODY;
    gone = ret->leader != HM_NOBODY ? lost | core_slot_bit(ret->leader) : lost;
    collect_view(&all, c, 0);
    collect_view(&base, c, gone);
    look_at_leader(&all, ret);
    count_votes(&all, lost, ret);
    has_votes = record_is_majority(r, view_heard(&base.view, base.now_ms));
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct explained *e = &ret->member[slot];

        if (r->member[slot].role != ROLE_DB)
            continue;
        if ((lost & core_slot_bit(slot)) != 0)
            e->verdict = EXPLAIN_LOST;
        else if (slot == ret->leader)
            e->verdict = ret->has_no_primary ? EXPLAIN_HOLDS : EXPLAIN_LEADS;
        else if (!base.view.peer[slot].is_known)
            e->verdict = EXPLAIN_SILENT;
        else
            explain_member(&base, c, slot, has_votes, e);
    }
    foresee(&all, lost, ret);
}

const char *core_keep_obstacle(const struct core *c)
{
    const struct order o = { .kind = ORDER_KEEP, .id = 1, .member = c->self };
    uint8_t leader = leading(c);
    const struct gossip *g;
    struct core s = *c;

    if (c->config.role != ROLE_DB || c->self == HM_NOBODY)
        return "this host has no database member that knows a record";
    if (leader == HM_NOBODY || leader == c->self)
        return core_keep_fault(&s, &o);
    g = &c->view.peer[leader].gossip;
    if (!c->view.peer[leader].is_known || !core_has_no_primary(core_known(c), g->copy, g->copy_id))
        return "there is a primary: 'hamgr switchover' moves it";
    if (g->copy == COPY_PRIMARY)
        return "the server of the holder was made a primary by hand: run this there, or make it a "
               "standby first";
    if (core_known(c)->is_paused)
        return "the cluster is paused: resume it first";
    return core_may_be_kept(c, core_known(c))
               ? NULL
               : "the copy on this host is no healthy standby: try another member";
}
