#include "parts.h"

#include <string.h>

uint8_t sim_slot(const struct sim *w, unsigned int service, unsigned int by, unsigned int host)
{
    const struct sim_node *n = &w->node[service][by];
    const struct record *r = sim_core_is_alive(w, by) ? core_record(&n->core) : NULL;

    if (host == SIM_NOWHERE)
        return HM_NOBODY;
    if (r == NULL)
        return host < w->plan.db_n + w->plan.witness_n ? (uint8_t)host : HM_NOBODY;
    return w->host[host].incarnation == 0 ? HM_NOBODY : record_find(r, w->host[host].incarnation);
}

uint8_t sim_slot_host(const struct sim *w, unsigned int service, unsigned int by, uint8_t slot)
{
    const struct sim_node *n = &w->node[service][by];
    const struct record *r = sim_core_is_alive(w, by) ? core_record(&n->core) : NULL;

    if (slot >= HM_MEMBERS_MAX)
        return SIM_NOWHERE;
    if (r == NULL || r->member[slot].incarnation == 0)
        return slot < w->plan.db_n + w->plan.witness_n ? slot : SIM_NOWHERE;
    return sim_find_host(w, r->member[slot].incarnation);
}

/* ---- effects -------------------------------------------------------------------------------- */

static void carry_out(struct sim *w, unsigned int s, unsigned int h, const struct core_effect *e,
                      uint16_t *record, const struct record **record_of)
{
    if (e->type != DO_SEND) {
        sim_tell(w, TALE_EFFECT, s, h, e->type == DO_FENCE ? e->fence.mode : e->copy.member,
                 (uint32_t)e->type, e->op, e->copy.epoch, NULL);
        sim_trap(w, TRAP_EFFECT, e->type, s, h, h);
    }
    switch (e->type) {
    case DO_SEND:
        sim_send(w, s, h, &e->send, record, record_of);
        break;
    case DO_PERSIST:
        sim_persist(w, s, h, e->persist.ticket, e->persist.state);
        break;
    case DO_FENCE:
        sim_verb(w, s, h, VERB_FENCE, e);
        break;
    case DO_THAW:
        sim_verb(w, s, h, VERB_THAW, NULL);
        break;
    case DO_KILL:
        sim_verb(w, s, h, VERB_KILL, NULL);
        break;
    case DO_START:
    case DO_STOP:
    case DO_PROMOTE:
    case DO_FOLLOW:
    case DO_FREEZE:
    case DO_FETCH:
    case DO_RESCUE:
    case DO_REWIND:
    case DO_CLONE:
    case DO_INIT:
    case DO_CHECKPOINT:
    case DO_SET_NAMES:
    case DO_PROVE:
    case DO_MARKER:
        sim_op_ask(w, s, h, e);
        break;
    case DO_REPLY:
        sim_operator_hears(w, s, h, e);
        break;
    case DO_LOOK:
        sim_changed(w, s, h);
        break;
    case DO_REPOINT: /* clients here try everybody */
    case DO_ALERT:
    case CORE_EFFECTS_N:
        break;
    }
}

/* ---- one step ------------------------------------------------------------------------------- */

/* A core that asks for time again and again without letting any pass would hang its member. */
static void count_steps(struct sim *w, struct sim_node *n, hm_ms now_ms, unsigned int h)
{
    if (now_ms != n->last_ms)
        n->steps_in_ms = 0;
    n->last_ms = now_ms;
    if (++n->steps_in_ms > 5000 && w->host[h].deferred_n == 0)
        sim_violated(w, "LIVE", "host %s: more than 5000 steps in one ms", w->host[h].name);
}

void sim_feed(struct sim *w, unsigned int service, unsigned int host, struct core_event *ev)
{
    struct sim_node *n = &w->node[service][host];
    const struct record *record_of = NULL;
    uint16_t record = SIM_RECORDS_MAX;

    if (w->is_violated)
        return;
    ev->at_ms = sim_local_ms(w, host);
    ev->wall_ms = ev->at_ms + w->host[host].wall_ms;
    if (ev->type == ON_MESSAGE)
        check_received(&w->check[service], (int)host, &ev->message);
    else if (ev->type == ON_PERSISTED && ev->persisted.is_ok)
        check_persisted(&w->check[service], (int)host, &n->durable);
    count_steps(w, n, ev->at_ms, host);
    w->stats.steps++;
    if (core_step(&n->core, ev, &w->effects) != HM_OK) {
        const char *why = "older than the last event";

        if (core_event_check(ev, &why) == HM_OK)
            why = "older than the last event";
        sim_violated(w, "LIVE", "host %s refuses event '%s': %s", w->host[host].name,
                     core_event_name(ev->type), why);
        return;
    }
    if (n->core.state != n->told_state) {
        sim_tell(w, TALE_STATE, service, host, (unsigned int)n->told_state, n->core.rule,
                 (uint64_t)n->core.state, core_record(&n->core) ? core_record(&n->core)->epoch : 0,
                 NULL);
        n->told_state = n->core.state;
        sim_trap(w, TRAP_STATE, n->core.state, service, host, host);
    }
    check_stepped(&w->check[service], (int)host, &w->effects);
    w->is_cut_short = false;
    for (size_t i = 0; i < w->effects.n && !w->is_violated && !w->is_cut_short; i++)
        carry_out(w, service, host, &w->effects.item[i], &record, &record_of);
    sim_arm(w, service, host);
}

/* One EV_TICK is under way at a time, but for earlier ones that are asked for meanwhile. */
void sim_arm(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_node *n = &w->node[service][host];
    hm_ms deadline_ms = core_deadline(&n->core);
    int64_t at_us;

    if (deadline_ms == HM_NEVER || w->host[host].clock.is_stopped)
        return;
    at_us = sim_true_us(w, host, deadline_ms);
    if (at_us < w->now_us)
        at_us = w->now_us;
    /* Scheduling: usually at once, now and then some milliseconds late. */
    at_us += (prng_next(&w->prng) & 63) == 0 ? sim_draw(w, 0, 4 * SIM_MS) : 5;
    if (at_us >= n->tick_us && n->tick_us >= w->now_us)
        return;
    n->tick_us = at_us;
    sim_at(w, at_us, EV_TICK, service, host, 0, 0, w->host[host].daemon.life);
}

void sim_tick(struct sim *w, const struct sim_event *e)
{
    struct sim_node *n = &w->node[e->service][e->host];
    struct core_event ev;

    if (e->at_us >= n->tick_us || n->tick_us < w->now_us)
        n->tick_us = SIM_NEVER;
    if (core_deadline(&n->core) > sim_local_ms(w, e->host)) {
        sim_arm(w, e->service, e->host);
        return;
    }
    ev.type = ON_TICK;
    sim_feed(w, e->service, e->host, &ev);
}

/* ---- the start of hamgrd -------------------------------------------------------------------- */

static void first_record(const struct sim *w, unsigned int service, struct record *r)
{
    unsigned int members = w->plan.db_n + w->plan.witness_n;

    memset(r, 0, sizeof *r);
    r->cluster = w->cluster;
    r->cluster_incarnation = 1;
    r->service = (uint8_t)service;
    r->kind = w->plan.kind[service];
    r->holder = HM_NOBODY;
    r->ttl_ms = w->plan.ttl_ms;
    r->heartbeat_ms = w->plan.heartbeat_ms;
    r->durability = r->goal = w->plan.durability;
    r->sync_standbys = w->plan.sync_standbys;
    r->max_lag_bytes = w->plan.max_lag_bytes;
    for (unsigned int m = 0; m < members; m++) {
        r->member[m].role = w->host[m].role;
        memcpy(r->member[m].name, w->host[m].name, HM_NAME_MAX);
        memcpy(r->member[m].address, w->host[m].name, HM_NAME_MAX);
        r->voters |= (uint16_t)(1u << m);
    }
}

void sim_node_start(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_node *n = &w->node[service][host];
    const struct sim_host *h = &w->host[host];
    struct core_config config = {
        .cluster = w->cluster,
        .service = (uint8_t)service,
        .kind = w->plan.kind[service],
        .role = h->role,
        .incarnation = h->incarnation,
        .seed = prng_next(&w->prng),
        .priority = w->plan.priority[host],
        .is_nofailover = w->plan.is_nofailover[host],
        .fence_margin_ms = hm_max_ms(20, w->plan.ttl_ms / 30),
        .stall_timeout_ms = w->plan.stall_timeout_ms,
        .crash_wait_ms = w->plan.crash_wait_ms,
        .freeze_timeout_ms = w->plan.freeze_timeout_ms,
        .rescue_timeout_ms = w->plan.rescue_timeout_ms,
        .rescue_bytes = w->plan.rescue_bytes,
    };
    struct core_event ev = { .type = ON_START };

    memcpy(config.name, h->name, sizeof config.name);
    first_record(w, service, &config.first);
    core_init(&n->core, &config);
    n->told_state = ST_START;
    n->tick_us = SIM_NEVER;
    n->probe_us = 0;
    n->probe_is_asked = false;
    n->durable = n->file;
    judge_started(w, service, host);
    ev.start.state = n->has_file ? &n->file : NULL;
    sim_feed(w, service, host, &ev);
    if (n->is_db)
        sim_at(w, w->now_us + sim_draw(w, 0, 20 * SIM_MS), EV_PROBE, service, host, 0, 0,
               h->daemon.life);
}
