#include "parts.h"

#include <string.h>

/* The operator: gives orders, waits for the reply, and replaces members that lost their state. */

uint8_t sim_holder(const struct sim *w, unsigned int service)
{
    for (unsigned int h = 0; h < w->hosts_n; h++) {
        const struct sim_node *n = &w->node[service][h];

        if (n->is_there && sim_core_is_alive(w, h) && !w->host[h].is_paused &&
            core_valid_until(&n->core) > sim_local_ms(w, h))
            return (uint8_t)h;
    }
    return SIM_NOWHERE;
}

static void send(struct sim *w, unsigned int service, uint8_t to)
{
    struct sim_operator *o = &w->operator[service];
    struct core_event ev = { .type = ON_ORDER };

    ev.order = o->order;
    o->is_waiting = true;
    o->asked = to;
    o->sent_us = w->now_us;
    sim_tell(w, TALE_ORDER, service, to, o->order.member, (uint32_t)o->order.kind, o->order.id, 0,
             NULL);
    sim_post(w, service, to, 500, &ev);
}

void sim_order(struct sim *w, unsigned int service, const struct order *order)
{
    struct sim_operator *o = &w->operator[service];
    uint8_t to = sim_holder(w, service);

    if (to == SIM_NOWHERE)
        return;
    o->order = *order;
    o->order.id = ++o->next_order;
    o->tries = 0;
    send(w, service, to);
}

void sim_operator_hears(struct sim *w, unsigned int service, unsigned int host,
                        const struct core_effect *e)
{
    struct sim_operator *o = &w->operator[service];

    sim_tell(w, TALE_TEXT, service, host, 0, 0, e->reply.order, e->reply.rc, e->reply.why);
    if (!o->is_waiting || e->reply.order != o->order.id)
        return;
    o->is_waiting = false;
}

/* ---- failover --force where a majority lives ------------------------------------------------ */

/* The standby with the most data of those that were not asked for yet. */
static uint8_t fullest(const struct sim *w, unsigned int service)
{
    uint8_t best = SIM_NOWHERE;

    for (uint8_t h = 0; h < w->hosts_n; h++) {
        const struct sim_node *n = &w->node[service][h];

        if (!n->is_there || !n->is_db || !w->host[h].is_member || !sim_core_is_alive(w, h) ||
            n->db.run != RUN_STANDBY || (w->operator[service].kept>> h & 1u) != 0)
            continue;
        if (best == SIM_NOWHERE || n->db.end > w->node[service][best].db.end)
            best = h;
    }
    return best;
}

void sim_operator_keep(struct sim *w, unsigned int service, uint8_t host)
{
    struct sim_operator *o = &w->operator[service];
    const struct record *r = check_newest(&w->check[service]);
    uint8_t to = sim_holder(w, service);

    o->kept |= (uint16_t)(1u << host);
    check_forced(&w->check[service], UINT32_C(1) << host);
    o->order = (struct order){ .kind = ORDER_KEEP,
                               .id = ++o->next_order,
                               .member = record_find_name(r, w->host[host].name) };
    o->tries = 0;
    send(w, service, to != SIM_NOWHERE ? to : host);
}

/* Nobody may be promoted by the rules: a person decides. False: there is nobody left to ask for. */
bool sim_operator_keeps(struct sim *w, unsigned int service)
{
    uint8_t host = fullest(w, service);

    if (host == SIM_NOWHERE || check_newest(&w->check[service]) == NULL)
        return false;
    sim_operator_keep(w, service, host);
    return true;
}

/* ---- what a look finds to do ---------------------------------------------------------------- */

static bool is_blank(const struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_node *n = &w->node[service][host];

    return sim_core_is_alive(w, host) && n->is_there &&
           (n->core.state == ST_BLANK || n->core.state == ST_STOPPED);
}

/* A member that lost its file, or that a forced failover left behind, comes back under a new
 * incarnation, after it was removed. */
static void replace_state(struct sim *w, unsigned int host)
{
    sim_daemon_kill(w, host);
    sim_host_wipe(w, host, true);
    sim_at(w, w->now_us + 50 * SIM_MS, EV_DAEMON, 0, host, 0, 0, w->host[host].boots);
}

/* A host has one state for all its services: what it leads is switched over first, or is lost. */
static bool is_needed_elsewhere(const struct sim *w, unsigned int service, unsigned int host)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        const struct record *r = check_newest(&w->check[s]);

        if (s != service && r != NULL && r->holder == record_find_name(r, w->host[host].name))
            return true;
    }
    return false;
}

static void add(struct sim *w, unsigned int service, unsigned int host)
{
    struct order o = { .kind = ORDER_MEMBER_ADD };

    o.added.incarnation = w->host[host].incarnation;
    o.added.role = w->host[host].role;
    memcpy(o.added.name, w->host[host].name, HM_NAME_MAX);
    memcpy(o.added.address, w->host[host].name, HM_NAME_MAX);
    o.member = HM_NOBODY;
    sim_order(w, service, &o);
}

static bool mend_member(struct sim *w, unsigned int service, unsigned int host,
                        const struct record *r)
{
    struct sim_host *h = &w->host[host];
    uint8_t named = record_find_name(r, h->name);
    struct order o = { .kind = ORDER_MEMBER_REMOVE, .member = named };

    if (h->role == ROLE_OBSERVER || !w->node[service][host].is_there)
        return false;
    if (!h->is_member ||
        (h->is_on && h->incarnation != 0 && named != HM_NOBODY &&
         r->member[named].incarnation != h->incarnation) ||
        (is_blank(w, service, host) && named != HM_NOBODY)) {
        if (named == HM_NOBODY)
            return false;
        if (named == r->holder) /* of this service; it was another one that led it to be removed */
            o = (struct order){ .kind = ORDER_SWITCHOVER, .member = HM_NOBODY };
        sim_order(w, service, &o);
        return true;
    }
    if (named != HM_NOBODY || !h->is_on || !h->daemon.is_running)
        return false;
    /* A member is its name and incarnation: nobody comes back as who he was. */
    if (is_blank(w, service, host) || w->node[service][host].file.promised.counter != 0) {
        if (is_needed_elsewhere(w, service, host))
            return false;
        replace_state(w, host);
        return true;
    }
    add(w, service, host);
    return true;
}

static void mend(struct sim *w, unsigned int service, const struct record *r)
{
    struct order o = { .kind = ORDER_RESUME, .member = HM_NOBODY };

    if (r->is_paused && !w->operator[service].wants_pause) {
        sim_order(w, service, &o);
        return;
    }
    if (r->old_voters != 0)
        return;
    for (unsigned int h = 0; h < w->hosts_n; h++)
        if (mend_member(w, service, h, r))
            return;
}

void sim_operator_looks(struct sim *w, const struct sim_event *e)
{
    struct sim_operator *o = &w->operator[e->service];
    uint8_t holder = sim_holder(w, e->service);

    sim_at(w, w->now_us + sim_draw(w, 200 * SIM_MS, 500 * SIM_MS), EV_OPERATOR, e->service,
           SIM_NOWHERE, 0, 0, 0);
    if (holder == SIM_NOWHERE)
        return;
    if (o->is_waiting) {
        if (w->now_us - o->sent_us < 6 * SIM_S)
            return;
        if (o->tries++ < 2 && o->order.kind != ORDER_SWITCHOVER)
            send(w, e->service, holder); /* the same order again: a repetition if it was done */
        else
            o->is_waiting = false;
        return;
    }
    if (w->is_healing || w->plan.operator_mends)
        mend(w, e->service, core_record(&w->node[e->service][holder].core));
}
