#include "parts.h"

/* Clients write all the time, to every copy that takes a write: whoever is primary, and whoever
 * wrongly thinks that it is. */

static bool takes_writes(const struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_db *db = SIM_DB(w, service, host);

    return (db->run == RUN_PRIMARY || (db->run == RUN_ORPHANS && db->was_primary)) &&
           sim_db_runs(w, service, host) && !db->is_stopping && !w->client_is_cut[host] &&
           !db->is_forged && db->waiting_tail - db->waiting_head < SIM_WRITES_MAX / 2;
}

void sim_clients(struct sim *w, const struct sim_event *e)
{
    struct sim_client *c = &w->client[e->service];
    bool is_dense = w->now_us < c->dense_until_us;
    int64_t pause_us =
        is_dense ? sim_draw(w, 4 * SIM_MS, 9 * SIM_MS) : sim_draw(w, 40 * SIM_MS, 110 * SIM_MS);

    for (unsigned int h = 0; h < w->hosts_n; h++)
        if (SIM_NODE(w, e->service, h)->is_db && takes_writes(w, e->service, h))
            (void)sim_append(w, e->service, h, (uint64_t)sim_draw(w, 100, 8000), c->next_id++);
    sim_at(w, w->now_us + pause_us, EV_CLIENT, e->service, SIM_NOWHERE, 0, 0, 0);
}

void sim_clients_hurry(struct sim *w)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        w->client[s].dense_until_us = w->now_us + 400 * SIM_MS;
}

void sim_client_hears(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_client *c = &w->client[service];

    if (w->client_is_cut[host])
        return;
    if (c->gap_from_us >= 0 && w->now_us - c->last_ack_us > c->gap_worst_us)
        c->gap_worst_us = w->now_us - c->last_ack_us;
    c->last_ack_us = w->now_us;
    c->acks++;
}

/* From here to sim_gap_end() the longest time without an acknowledgement counts. */
void sim_gap_begin(struct sim *w, unsigned int service, enum sim_gap kind)
{
    struct sim_client *c = &w->client[service];

    c->gap_from_us = w->now_us;
    c->gap_worst_us = 0;
    c->gap_kind = kind;
    c->dense_until_us = w->now_us + 4 * SIM_S;
}

void sim_gap_end(struct sim *w, unsigned int service)
{
    struct sim_client *c = &w->client[service];
    uint32_t i = w->stats.gaps_n;

    if (c->gap_from_us < 0)
        return;
    if (w->now_us - c->last_ack_us > c->gap_worst_us)
        c->gap_worst_us = w->now_us - c->last_ack_us;
    c->gap_from_us = -1;
    if (i >= HM_ARRAY_LEN(w->stats.gaps))
        return;
    w->stats.gaps[i].kind = (uint8_t)c->gap_kind;
    w->stats.gaps[i].timing = w->plan.timing;
    w->stats.gaps[i].gap_ms = (uint32_t)(c->gap_worst_us / 1000);
    w->stats.gaps_n++;
}
