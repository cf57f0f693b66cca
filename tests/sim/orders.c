#include "parts.h"

#include "faults.h"

/* What operators do while everything else goes wrong. */

static uint8_t draw_db_slot(struct sim *w, const struct record *r)
{
    uint16_t dbs = record_db_members(r);

    for (unsigned int tries = 0; tries < 8; tries++) {
        uint8_t slot = (uint8_t)sim_draw(w, 0, HM_MEMBERS_MAX - 1);

        if (dbs >> slot & 1)
            return slot;
    }
    return HM_NOBODY;
}

static int64_t slowest_link_us(const struct sim *w)
{
    int64_t slowest_us = 0;

    for (unsigned int a = 0; a < w->hosts_n; a++)
        for (unsigned int b = 0; b < w->hosts_n; b++)
            if (w->link[a][b].delay_us > slowest_us)
                slowest_us = w->link[a][b].delay_us;
    return slowest_us;
}

/* Another lease time, shorter or longer, but none that is over before an answer can come: with
 * that nobody could lead. */
static void draw_timing(struct sim *w, const struct record *r, struct order *o)
{
    int64_t least_ms = slowest_link_us(w) * 3 / 1000;

    (void)r;
    o->kind = ORDER_TIMING;
    o->ttl_ms = sim_draw(w, 4, 30) * 100;
    if (o->ttl_ms < least_ms)
        o->ttl_ms = least_ms;
    o->heartbeat_ms = o->ttl_ms / sim_draw(w, 5, 7);
}

static void draw_durability(struct sim *w, const struct record *r, struct order *o)
{
    int64_t draw = sim_draw(w, 0, 2);

    (void)r;
    o->kind = ORDER_DURABILITY;
    o->durability = draw == 0                        ? DURABILITY_ASYNC
                    : draw == 1 || w->plan.db_n == 1 ? DURABILITY_SYNC
                                                     : DURABILITY_STRICT;
    o->sync_standbys = 1;
}

/* A spare host joins, or leaves again. */
static bool change_member(struct sim *w)
{
    unsigned int first = w->plan.db_n + w->plan.witness_n;
    struct sim_host *h;
    unsigned int i;

    if (w->plan.spare_n == 0)
        return false;
    i = first + (unsigned int)sim_draw(w, 0, w->plan.spare_n - 1);
    h = &w->host[i];
    h->is_member = !h->is_member;
    w->plan.operator_mends = true;
    if (!h->is_member)
        return true;
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        w->node[s][i].is_there = true;
    sim_at(w, w->now_us + 20 * SIM_MS, EV_DAEMON, 0, i, 0, 0, h->boots);
    return true;
}

bool sim_fault_order(struct sim *w, enum sim_fault_kind kind)
{
    unsigned int s = (unsigned int)sim_draw(w, 0, w->plan.services_n - 1);
    uint8_t holder = sim_holder(w, s);
    struct order o = { .kind = ORDER_NONE, .member = HM_NOBODY };
    const struct record *r;

    if (kind == FAULT_MEMBER)
        return change_member(w);
    if (holder == SIM_NOWHERE || (w->operator[s].is_waiting && kind != FAULT_CANCEL))
        return false;
    r = core_record(&w->node[s][holder].core);
    switch ((int)kind) {
    case FAULT_SWITCHOVER:
        o.kind = ORDER_SWITCHOVER;
        o.member = sim_chance(w, 500000) ? HM_NOBODY : draw_db_slot(w, r);
        break;
    case FAULT_CANCEL:
        o.kind = ORDER_CANCEL;
        break;
    case FAULT_PAUSE:
        o.kind = ORDER_PAUSE;
        w->operator[s].wants_pause = true;
        break;
    case FAULT_TIMING:
        draw_timing(w, r, &o);
        break;
    case FAULT_DURABILITY:
        draw_durability(w, r, &o);
        break;
    default:
        return false;
    }
    sim_order(w, s, &o);
    return true;
}

/* The operator's mending resumes what is paused. */
void sim_fault_order_heal(struct sim *w, const struct sim_fault *f)
{
    (void)f;
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        w->operator[s].wants_pause = false;
    w->plan.operator_mends = true;
}
