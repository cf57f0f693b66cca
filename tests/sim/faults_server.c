#include "parts.h"

#include "faults.h"

/* Faults of the servers and of their data, and which of them the design does not tolerate. */

uint8_t sim_primary(const struct sim *w, unsigned int service)
{
    for (unsigned int h = 0; h < w->hosts_n; h++)
        if (SIM_DB(w, service, h)->run == RUN_PRIMARY && sim_db_runs(w, service, h) &&
            !SIM_DB(w, service, h)->is_forged)
            return (uint8_t)h;
    return SIM_NOWHERE;
}

/* What it acknowledged alone is lost with it, and the record forbids everybody to take over. */
bool sim_has_all_elsewhere(const struct sim *w, unsigned int service)
{
    uint8_t holder = sim_holder(w, service);
    const struct record *r;

    if (holder == SIM_NOWHERE)
        return false;
    r = core_record(&w->node[service][holder].core);
    return r->durability == r->goal &&
           (r->goal == DURABILITY_ASYNC || (r->pairs_n == 1 && !pair_is_alone(&r->pairs[0])));
}

/* A Redis server that ends loses its data: somebody else must have all of it then, and be able
 * to say so. */
bool sim_may_lose_server(struct sim *w, unsigned int host)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        unsigned int others = 0;
        uint8_t primary = sim_primary(w, s);

        if (w->plan.kind[s] != SERVICE_REDIS || !w->node[s][host].is_db)
            continue;
        if (primary == SIM_NOWHERE || w->operator[s].wants_pause || !sim_has_all_elsewhere(w, s) ||
            !check_is_converged(&w->check[s], w->why))
            return false; /* a paused cluster takes nothing over */
        for (unsigned int h = 0; h < w->hosts_n; h++) {
            const struct sim_db *db = SIM_DB(w, s, h);

            if (w->node[s][h].is_there && !w->node[s][h].has_file)
                return false;
            if (h != host && sim_db_runs(w, s, h) && w->node[s][h].is_there &&
                (h == primary || (db->is_streaming && db->follows == primary)))
                others++;
        }
        if (others == 0)
            return false;
    }
    return true;
}

/* The operator has a member's copy made anew. */
static bool give_up_copy(struct sim *w, unsigned int s, unsigned int h)
{
    struct core_event ev = { .type = ON_ORDER };

    if (!sim_core_is_alive(w, h) || w->host[h].is_paused)
        return false;
    ev.order.kind = ORDER_REBUILD;
    ev.order.member = HM_NOBODY;
    ev.order.id = ++w->operator[s].next_order;
    sim_post(w, s, h, 500, &ev);
    return true;
}

/* What a standby had is as good as lost: somebody else must have all of it. */
static bool forge(struct sim *w, unsigned int s, unsigned int h)
{
    const struct sim_db *db = SIM_DB(w, s, h);

    if (db->run != RUN_STANDBY || w->plan.kind[s] == SERVICE_REDIS || db->is_fetching ||
        db->is_suspended || !db->is_final || !w->host[h].is_on || w->host[h].is_paused ||
        w->operator[s].wants_pause || !sim_may_lose_server(w, h) ||
        sim_primary(w, s) == SIM_NOWHERE || !check_is_converged(&w->check[s], w->why))
        return false;
    sim_daemon_kill(w, h);
    sim_helper_kill(w, h);
    sim_server_forged(w, s, h);
    return true;
}

bool sim_fault_server(struct sim *w, enum sim_fault_kind kind, unsigned int s, unsigned int h)
{
    struct sim_db *db = SIM_DB(w, s, h);

    if (!w->node[s][h].is_db)
        return false;
    switch ((int)kind) {
    case FAULT_SERVER_KILLED:
    case FAULT_SERVER_CRASHED:
        if (db->run == RUN_DOWN || w->host[h].is_paused || db->is_forged ||
            !sim_may_lose_server(w, h))
            return false;
        if (kind == FAULT_SERVER_KILLED)
            sim_server_orphaned(w, s, h);
        else
            sim_server_crashed(w, s, h);
        return true;
    case FAULT_SERVER_HUNG:
        sim_server_hang(w, s, h, true);
        return db->is_hung;
    case FAULT_COPY_WIPED:
        if (db->run == RUN_PRIMARY || db->was_primary || sim_primary(w, s) == SIM_NOWHERE ||
            w->plan.kind[s] == SERVICE_REDIS || !sim_may_lose_server(w, h) ||
            !check_is_converged(&w->check[s], w->why))
            return false;
        sim_server_end(w, s, h, false, false);
        db->has_data = db->is_rebuilding = db->has_written = db->is_forged = false;
        db->branch = SIM_NO_BRANCH;
        db->end = db->flushed = 0;
        db->copy_id = 0;
        return true;
    case FAULT_REPLAY:
        db->replay_blocked_until_us = w->now_us + sim_draw(w, 50 * SIM_MS, 3 * SIM_S);
        return true;
    case FAULT_NO_REWIND:
        db->rewind_is_impossible = true;
        return true;
    case FAULT_LOG_GONE:
        if (db->run != RUN_STANDBY || w->plan.kind[s] == SERVICE_REDIS || db->is_fetching ||
            sim_primary(w, s) == SIM_NOWHERE)
            return false;
        db->lacks_log = true;
        sim_disconnect(w, s, h);
        return true;
    case FAULT_REBUILD:
        return w->plan.kind[s] == SERVICE_POSTGRES && give_up_copy(w, s, h);
    case FAULT_BY_HAND:
        if (db->run != RUN_DOWN || !w->host[h].is_on || w->host[h].is_paused || db->is_forged)
            return false;
        sim_server_start(w, s, h);
        return true;
    case FAULT_FORGED:
        return forge(w, s, h);
    default:
        return false;
    }
}
