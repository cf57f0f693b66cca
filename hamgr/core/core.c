#include "core/core.h"

#include "core/inner.h"

#include <string.h>

void core_init(struct core *c, const struct core_config *config)
{
    memset(c, 0, sizeof *c);
    c->config = *config;
    prng_seed(&c->prng, config->seed);
    c->seq = (uint32_t)prng_next(&c->prng); /* answers to a former life must not match */
    view_init(&c->view);
    voter_init(&c->voter, NULL, 0);
    c->state = ST_START;
    c->self = HM_NOBODY;
    c->wake_ms = HM_NEVER;
    c->now_ms = HM_PAST;
    c->copy.follows = HM_NOBODY;
    c->valid_until_ms = HM_PAST;
    c->released_at_ms = HM_PAST;
    c->regained_ms = HM_PAST;
    c->distrust_before_ms = HM_PAST;
    c->lease_end_ms = HM_PAST;
    c->majority_since_ms = HM_NEVER;
    c->yield_to = HM_NOBODY;
    c->repointed_to = HM_NOBODY;
    c->led_by = HM_NOBODY;
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        c->acked_sent_ms[slot] = HM_PAST;
        c->acked_newest_ms[slot] = HM_PAST;
        c->acked_until_ms[slot] = HM_PAST;
        c->streamed_ms[slot] = HM_PAST;
        c->moved_ms[slot] = HM_PAST;
    }
}

bool core_has_record(const struct core *c)
{
    return c->voter.durable.accepted.counter != 0;
}

const struct record *core_known(const struct core *c)
{
    if (core_has_record(c))
        return &c->voter.durable.record;
    return c->hint.epoch != 0 ? &c->hint : &c->config.first;
}

const struct record *core_base(const struct core *c)
{
    return c->adopted.epoch != 0 ? &c->adopted : core_known(c);
}

const struct record *core_record(const struct core *c)
{
    if (c->state == ST_OBSERVING)
        return c->draft.epoch != 0 ? &c->draft : NULL;
    return core_has_record(c) ? &c->voter.durable.record : NULL;
}

hm_ms core_heartbeat_ms(const struct core *c)
{
    return core_known(c)->heartbeat_ms;
}

hm_ms core_ttl_ms(const struct core *c)
{
    return core_known(c)->ttl_ms;
}

bool core_is_holder_state(enum core_state s)
{
    return s == ST_HOLDER || s == ST_HOLDER_PREPARE || s == ST_HOLDER_CHANGE || s == ST_HANDOVER;
}

bool core_holds_lease(const struct core *c)
{
    return core_is_holder_state(c->state) && c->now_ms < c->valid_until_ms;
}

uint8_t core_followed_holder(const struct core *c)
{
    if (!c->renewed.is_there || core_is_holder_state(c->state))
        return HM_NOBODY;
    if (record_order(&c->renewed.ballot, c->renewed.version, &c->voter.durable.accepted,
                     c->voter.durable.record.version) != 0)
        return HM_NOBODY;
    if (ballot_compare(&c->renewed.ballot, &c->voter.durable.promised) < 0)
        return HM_NOBODY;
    return c->renewed.holder;
}

uint8_t core_leader(const struct core *c)
{
    return core_holds_lease(c) ? c->self : core_followed_holder(c);
}

uint16_t core_votes(const struct core *c, const struct record *r)
{
    uint16_t yes = c->granted;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (r->member[slot].incarnation != 0 &&
            r->member[slot].incarnation != c->incarnations[slot])
            yes &= (uint16_t)~core_slot_bit((uint8_t)slot);
    return yes;
}

/* The deadline is the best one that a majority supports, each with its newest acknowledged
 * transmission (R2); it is counted from sending and ends before the voters' (ARCHITECTURE 3). */
hm_ms core_lease_until(const struct core *c, hm_ms sent_since_ms)
{
    const struct record *r = c->state == ST_ACCEPT ? &c->draft : core_known(c);
    const hm_ms *until_ms = sent_since_ms == HM_PAST ? c->acked_until_ms : c->acked_newest_ms;
    hm_ms best_ms = HM_PAST;

    for (unsigned i = 0; i < HM_MEMBERS_MAX; i++) {
        uint16_t supporters = 0;

        if (until_ms[i] <= best_ms)
            continue;
        for (unsigned j = 0; j < HM_MEMBERS_MAX; j++)
            if (until_ms[j] >= until_ms[i] && c->acked_sent_ms[j] >= sent_since_ms)
                supporters |= core_slot_bit((uint8_t)j);
        if (record_is_lease_majority(r, supporters))
            best_ms = until_ms[i];
    }
    return best_ms;
}

hm_ms core_valid_until(const struct core *c)
{
    return core_is_holder_state(c->state) ? c->valid_until_ms : HM_PAST;
}

hm_ms core_deadline(const struct core *c)
{
    return c->wake_ms;
}

struct core_effect *core_ask(struct core *c, enum core_effect_type type)
{
    struct core_effect *e;

    HM_BUG_ON(c->out->n == CORE_EFFECTS_MAX);
    e = &c->out->item[c->out->n++];
    e->type = type;
    e->op = 0;
    return e;
}

void core_alert(struct core *c, enum alert_kind kind, uint64_t epoch)
{
    struct core_effect *e = core_ask(c, DO_ALERT);

    e->alert.kind = kind;
    e->alert.epoch = epoch;
}

void core_reply(struct core *c, uint64_t order, enum hm_rc rc, const char *why)
{
    struct core_effect *e = core_ask(c, DO_REPLY);

    e->reply.order = order;
    e->reply.rc = rc;
    e->reply.why = why;
}

void core_send_to(struct core *c, uint8_t slot, struct msg *m)
{
    struct core_effect *e = core_ask(c, DO_SEND);

    m->service = c->config.service;
    m->from = c->self;
    m->to = slot;
    m->from_incarnation = c->config.incarnation;
    if (slot != HM_NOBODY && core_base(c)->member[slot].incarnation != 0)
        m->to_incarnation = core_base(c)->member[slot].incarnation;
    else if (slot != HM_NOBODY && c->incarnations[slot] != 0)
        m->to_incarnation = c->incarnations[slot]; /* else it answers whoever asked */
    m->cluster = c->config.cluster;
    m->cluster_incarnation = c->cluster_incarnation;
    core_make_gossip(c, &m->gossip);
    e->send = *m;
}

static void take_start(struct core *c, const struct voter_state *state)
{
    voter_init(&c->voter, state, c->now_ms);
    c->cluster_incarnation = core_known(c)->cluster_incarnation;
    c->top_counter = c->voter.durable.promised.counter;
    core_notice_record(c);
    if (c->voter.is_blank)
        core_alert(c, ALERT_BLANK, 0);
}

/* The loop stalled or the clocks disagree. Acknowledgements of what was sent before no longer
 * extend the fence; a full round of renewals must show that the lease is still ours. */
void core_take_stall(struct core *c)
{
    c->distrust_before_ms = c->now_ms;
    c->renew_at_ms = c->now_ms;
}

static void note_majority(struct core *c)
{
    if (!core_sees_majority(c))
        c->majority_since_ms = HM_NEVER;
    else if (c->majority_since_ms == HM_NEVER)
        c->majority_since_ms = c->now_ms;
}

static void take_event(struct core *c, const struct core_event *ev)
{
    switch (ev->type) {
    case ON_START:
        take_start(c, ev->start.state);
        break;
    case ON_MESSAGE:
        core_take_message(c, &ev->message);
        break;
    case ON_PERSISTED:
        core_take_persisted(c, ev->persisted.is_ok);
        break;
    case ON_COPY:
        core_note_copy(c, &ev->copy);
        break;
    case ON_DONE:
        core_take_done(c, ev->done.op, ev->done.is_ok, &ev->done.copy);
        break;
    case ON_STALL:
        core_take_stall(c);
        break;
    case ON_ORDER:
        core_take_order(c, &ev->order);
        break;
    case ON_TICK:
    case CORE_EVENTS_N:
        break;
    }
}

/* What must hold after every step, whatever happened; a breach is a bug of ours, and stopping is
 * safer than going on: the lease runs out and the fence helper suspends. */
static void check_promises(const struct core *c)
{
    HM_BUG_ON(core_is_holder_state(c->state) && core_known(c)->holder != c->self);
    HM_BUG_ON(core_is_holder_state(c->state) && ballot_compare(&c->mine, &c->released) <= 0);
    HM_BUG_ON(c->voter.is_blank && c->voter.is_writing);
    HM_BUG_ON(core_has_record(c) &&
              ballot_compare(&c->voter.durable.promised, &c->voter.durable.accepted) < 0);
}

static bool is_acceptable(const struct core *c, const struct core_event *ev)
{
    const char *why;

    if (core_event_check(ev, &why) != HM_OK || ev->at_ms < c->now_ms)
        return false;
    if ((ev->type == ON_START) != (c->now_ms == HM_PAST))
        return false;
    if (ev->type == ON_START && ev->start.state != NULL &&
        ev->start.state->incarnation != c->config.incarnation)
        return false;
    return ev->type != ON_PERSISTED || (c->voter.is_writing && ev->persisted.ticket == c->ticket);
}

enum hm_rc core_step(struct core *c, const struct core_event *ev, struct core_effects *ret_do)
{
    if (!is_acceptable(c, ev))
        return HM_BAD_INPUT;
    c->now_ms = ev->at_ms;
    c->wall_ms = ev->wall_ms;
    c->out = ret_do;
    ret_do->n = 0;
    c->moves_n = 0;
    take_event(c, ev);
    note_majority(c);
    /* The own voter answers within the step, and what it says may decide the next state. */
    for (unsigned rounds = 0; rounds < 16; rounds++) {
        c->has_news = false;
        core_decide(c);
        core_want(c);
        if (!c->has_news)
            break;
    }
    check_promises(c);
    c->out = NULL;
    return HM_OK;
}

const char *core_state_name(enum core_state s)
{
    static const char *const names[] = {
#define X(name, text) [name] = text,
        CORE_STATES(X)
#undef X
    };

    return (unsigned)s < CORE_STATES_N ? names[s] : "?";
}
