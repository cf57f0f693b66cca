#include "parts.h"

#include "faults.h"

/* A majority is lost for good: the operator vouches that the others are off, and makes one member
 * the whole cluster, in a new incarnation. The others come back later as they were and must stop
 * by themselves; then they are wiped and added. */

enum { FORCE_ORDER, FORCE_LOOK, FORCE_WAIT };

static void next(struct sim *w, int64_t after_us, uint32_t step)
{
    sim_at(w, w->now_us + after_us, EV_FORCE, 0, SIM_NOWHERE, step, 0, 0);
}

bool sim_force_begin(struct sim *w)
{
    uint8_t survivor = (uint8_t)sim_draw(w, 0, w->plan.db_n - 1);

    if (w->force.is_on || w->force.is_done || w->hosts_n < 3 || w->now_us < 8 * SIM_S ||
        w->now_us > w->plan.faults_end_us - 22 * SIM_S || !w->host[survivor].is_on)
        return false;
    for (unsigned int h = 0; h < w->hosts_n; h++)
        if (w->host[h].is_member && (!w->host[h].is_on || !w->node[0][h].has_file))
            return false;
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        if (w->operator[s].is_waiting || w->operator[s].wants_pause || !check_is_converged(
                &w->check[s], w->why))
            return false;
    w->force.is_on = w->force.is_done = true;
    w->force.survivor = survivor;
    w->trap.kind = TRAP_NONE;
    sim_faults_end(w);
    for (unsigned int h = 0; h < w->hosts_n; h++)
        if (h != survivor)
            sim_host_lost(w, h);
    next(w, w->plan.ttl_ms * 1000 + sim_draw(w, 1 * SIM_S, 4 * SIM_S), FORCE_ORDER);
    return true;
}

static void order(struct sim *w)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        struct core_event ev = { .type = ON_ORDER };

        check_forced(&w->check[s], UINT32_C(1) << w->force.survivor);
        ev.order.kind = ORDER_FORCE;
        ev.order.member = HM_NOBODY;
        ev.order.id = ++w->operator[s].next_order;
        sim_tell(w, TALE_ORDER, s, w->force.survivor, HM_NOBODY, ORDER_FORCE, ev.order.id, 0, NULL);
        sim_post(w, s, w->force.survivor, 500, &ev);
    }
}

static bool is_forced(const struct sim *w)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        const struct record *r = core_record(&w->node[s][w->force.survivor].core);

        if (!sim_core_is_alive(w, w->force.survivor) || r == NULL || r->cluster_incarnation < 2)
            return false;
    }
    return true;
}

/* Until everybody has heard that the old cluster is over, nothing else may happen: cut off from
 * the survivor, the others would be the majority that the operator said was lost. */
static bool is_known_to_all(const struct sim *w)
{
    for (unsigned int h = 0; h < w->hosts_n; h++)
        for (unsigned int s = 0; s < w->plan.services_n; s++) {
            const struct sim_node *n = &w->node[s][h];

            if (!n->is_there || !w->host[h].is_member || h == w->force.survivor)
                continue;
            if (!sim_core_is_alive(w, h) ||
                (n->core.state != ST_STOPPED && n->file.accepted.counter != 0 &&
                 n->file.record.cluster_incarnation < 2))
                return false;
        }
    return true;
}

void sim_force_step(struct sim *w, const struct sim_event *e)
{
    if (!w->force.is_on)
        return;
    if (!w->host[w->force.survivor].is_on || !sim_core_is_alive(w, w->force.survivor)) {
        next(w, 500 * SIM_MS, e->a);
        return;
    }
    if (e->a == FORCE_WAIT) {
        if (is_known_to_all(w) || ++w->force.looks > 40)
            w->force.is_on = false;
        else
            next(w, 500 * SIM_MS, FORCE_WAIT);
        return;
    }
    if (e->a == FORCE_ORDER) {
        order(w);
        next(w, 500 * SIM_MS, FORCE_LOOK);
        return;
    }
    if (!is_forced(w)) {
        next(w, 500 * SIM_MS, ++w->force.looks % 16 == 0 ? FORCE_ORDER : FORCE_LOOK);
        return;
    }
    w->plan.operator_mends = true;
    w->force.looks = 0;
    next(w, 1 * SIM_S, FORCE_WAIT);
    for (unsigned int h = 0; h < w->hosts_n; h++)
        if (!w->host[h].is_on)
            sim_at(w, w->now_us + sim_draw(w, 10 * SIM_MS, 4 * SIM_S), EV_BOOT, 0, h, 0, 0,
                   w->host[h].boots);
}
