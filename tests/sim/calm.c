#include "parts.h"

#include "faults.h"

/* Runs with one clean fault at a time: there the write gap is measured, or there must be none. */

enum { CALM_PAUSE_MS = 500 };

static bool is_well(struct sim *w)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        if (!check_is_converged(&w->check[s], w->why) ||
            (w->plan.db_n > 1 && !sim_has_all_elsewhere(w, s)))
            return false;
    return true;
}

static bool is_busy(const struct sim *w)
{
    return w->client[0].dense_until_us > w->now_us;
}

static void look_again(struct sim *w, int64_t after_us)
{
    sim_at(w, w->now_us + after_us, EV_FAULT, 0, SIM_NOWHERE, 0, 0, 0);
}

static void measured(struct sim *w)
{
    unsigned int s = (unsigned int)sim_draw(w, 0, w->plan.services_n - 1);
    uint8_t primary = sim_primary(w, s);
    int64_t ttl_us = w->plan.ttl_ms * 1000;
    struct order o = { .kind = ORDER_SWITCHOVER, .member = HM_NOBODY };
    enum sim_gap kind = (enum sim_gap)sim_draw(w, 0, GAP_KINDS - 1);

    if (primary == SIM_NOWHERE || (w->plan.db_n < 2 && kind != GAP_BLIP))
        return;
    switch (kind) {
    case GAP_HOST_LOST:
        if (!sim_fault(w, FAULT_HOST_LOST, primary, 4 * SIM_S))
            return;
        break;
    case GAP_KILLED:
        if (!sim_fault(w, FAULT_SERVER_KILLED, primary, 1 * SIM_S))
            return;
        break;
    case GAP_SWITCHOVER:
        sim_order(w, s, &o);
        break;
    case GAP_BLIP:
        if (!sim_fault(w, FAULT_BLIP, primary, sim_draw(w, ttl_us / 10, ttl_us / 2)))
            return;
        break;
    case GAP_KINDS:
        return;
    }
    sim_gap_begin(w, s, kind);
    w->is_measuring = true;
}

/* Nobody but a voter that is not needed, or hamgrd for a moment; or a primary that is only late,
 * however long. */
static void harmless(struct sim *w)
{
    unsigned int s = 0;
    uint8_t holder = sim_holder(w, s);
    unsigned int h = (unsigned int)sim_draw(w, 0, w->hosts_n - 1);
    unsigned int voters = w->plan.db_n + w->plan.witness_n;

    if (holder == SIM_NOWHERE || h >= voters)
        return;
    if (w->host[h].role == ROLE_WITNESS && voters > 2 && sim_chance(w, 700000)) {
        (void)sim_fault(w, sim_chance(w, 500000) ? FAULT_WITNESS_LOST : FAULT_ISOLATED, h,
                        sim_draw(w, 100 * SIM_MS, 1500 * SIM_MS));
        return;
    }
    if (h == holder && sim_chance(w, 500000)) {
        (void)sim_fault(w, FAULT_OVERLOADED, h,
                        sim_draw(w, 1, 4) * w->plan.stall_timeout_ms * 1000);
        return;
    }
    (void)sim_fault(w, FAULT_DAEMON_KILLED, h, sim_draw(w, 1 * SIM_MS, w->plan.ttl_ms * 1000 / 8));
}

void sim_calm_next(struct sim *w)
{
    if (w->is_measuring) {
        for (unsigned int s = 0; s < w->plan.services_n; s++)
            sim_gap_end(w, s);
        w->is_measuring = false;
    }
    if (w->now_us < 3 * SIM_S || !is_well(w)) {
        look_again(w, CALM_PAUSE_MS * SIM_MS);
        return;
    }
    if (w->plan.profile == PROFILE_SAFE) {
        if (w->now_us > 8 * SIM_S && !w->is_calm) {
            w->is_calm = true;
            for (unsigned int s = 0; s < w->plan.services_n; s++)
                check_calm(&w->check[s], w->plan.ttl_ms * 1000);
        }
        if (w->is_calm)
            harmless(w);
        look_again(w, sim_draw(w, 2 * SIM_S, 5 * SIM_S));
        return;
    }
    if (!is_busy(w)) { /* so that something is on its way when the fault strikes */
        sim_clients_hurry(w);
        look_again(w, sim_draw(w, 100, 300) * SIM_MS);
        return;
    }
    measured(w);
    look_again(w, w->is_measuring ? 6 * SIM_S : CALM_PAUSE_MS * SIM_MS);
}

void sim_calm_end(struct sim *w)
{
    if (w->is_calm)
        for (unsigned int s = 0; s < w->plan.services_n; s++)
            check_calm_ended(&w->check[s]);
    w->is_calm = false;
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        w->client[s].gap_from_us = -1;
}
