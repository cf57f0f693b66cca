#include "parts.h"

/* The voter's file: written whole to a temporary file and renamed, so that a cut leaves the old
 * state or the new one; a torn temporary file is nothing that anybody reads. */

static int64_t write_time_us(struct sim *w, unsigned int host)
{
    const struct sim_host *h = &w->host[host];

    return sim_draw_time(w, h->write_us) +
           (h->slow_disk_us > 0 ? sim_draw(w, 0, h->slow_disk_us) : 0);
}

void sim_persist(struct sim *w, unsigned int service, unsigned int host, uint32_t ticket,
                 const struct voter_state *state)
{
    struct sim_node *n = &w->node[service][host];
    const struct sim_host *h = &w->host[host];
    bool is_failing = h->is_disk_full || sim_chance(w, w->plan.persist_fail_ppm);

    if (n->is_writing) {
        sim_violated(w, "LIVE", "host %s asks for a write while one is under way", h->name);
        return;
    }
    n->is_writing = true;
    n->writing = *state;
    n->writing_ticket = ticket;
    n->writing_fails = is_failing;
    /* A rename that was done before its directory could not be synced. */
    n->writing_is_there = is_failing && !h->is_disk_full && sim_chance(w, 500000);
    n->writing_life++;
    sim_at(w, w->now_us + write_time_us(w, host), EV_WRITTEN, service, host, 0, 0, n->writing_life);
    sim_trap(w, TRAP_WRITE, 0, service, host, host);
}

void sim_written(struct sim *w, const struct sim_event *e)
{
    struct sim_node *n = &w->node[e->service][e->host];
    struct core_event ev = { .type = ON_PERSISTED };

    if (!n->is_writing || e->life != n->writing_life)
        return;
    if (w->host[e->host].is_disk_hung) {
        sim_at(w, w->now_us + 20 * SIM_MS, EV_WRITTEN, e->service, e->host, 0, 0, e->life);
        return;
    }
    n->is_writing = false;
    if (!n->writing_fails) {
        n->file = n->durable = n->writing;
        n->has_file = true;
    } else if (n->writing_is_there) {
        n->file = n->writing;
        n->has_file = true;
    }
    ev.persisted.ticket = n->writing_ticket;
    ev.persisted.is_ok = !n->writing_fails;
    sim_post(w, e->service, e->host, 10, &ev);
}

void sim_write_torn(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_node *n = &w->node[service][host];

    if (!n->is_writing)
        return;
    n->is_writing = false;
    n->writing_life++;
    if ((!n->writing_fails && sim_chance(w, 500000)) || n->writing_is_there) {
        n->file = n->writing;
        n->has_file = true;
    }
}
