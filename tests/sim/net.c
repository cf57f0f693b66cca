#include "parts.h"

bool sim_is_linked(const struct sim *w, unsigned int from, unsigned int to)
{
    return w->host[from].is_on && w->host[to].is_on && (from == to || w->link[from][to].cuts == 0);
}

int64_t sim_delay(struct sim *w, unsigned int from, unsigned int to)
{
    const struct sim_link *l = &w->link[from][to];

    return from == to ? 20 : l->delay_us + sim_draw(w, 0, l->jitter_us);
}

/* Who is meant: the member of that incarnation, or before any record the one that the
 * configuration has in that slot. */
static uint8_t destination(const struct sim *w, const struct msg *m)
{
    if (m->to_incarnation != 0)
        return sim_find_host(w, m->to_incarnation);
    return m->to < w->plan.db_n + w->plan.witness_n ? m->to : SIM_NOWHERE;
}

static void put_on_wire(struct sim *w, unsigned int service, unsigned int to, const struct msg *m,
                        uint16_t record, int64_t at_us)
{
    uint16_t i = sim_post_new(w);
    struct sim_post *p;

    if (i >= SIM_POSTS_MAX)
        return;
    p = &w->post[i];
    p->ev.type = ON_MESSAGE;
    p->ev.message = *m;
    p->ev.message.record = NULL;
    p->record = record;
    if (record < SIM_RECORDS_MAX)
        sim_record_take(w, record);
    /* Whom it reaches is known on arrival: `b` is the incarnation that it was sent to. */
    sim_at(w, at_us, EV_POST, service, to, i, w->host[to].incarnation, 0);
}

void sim_send(struct sim *w, unsigned int service, unsigned int host, const struct msg *m,
              uint16_t *record, const struct record **record_of)
{
    uint8_t to = destination(w, m);
    struct sim_link *l;
    int64_t at_us;

    if (to == SIM_NOWHERE)
        return;
    sim_tell(w, TALE_SEND, service, host, to, (uint32_t)m->type | (uint32_t)m->refusal << 8,
             m->ballot.counter, m->version, NULL);
    sim_trap(w, TRAP_SEND, m->type, service, host, to);
    if (!sim_is_linked(w, host, to) || w->host[to].incarnation == 0)
        return;
    l = &w->link[host][to];
    if (sim_chance(w, l->loss_ppm))
        return;
    if (m->record != NULL && m->record != *record_of) {
        *record = sim_record_new(w, m->record);
        *record_of = m->record;
        if (*record >= SIM_RECORDS_MAX) {
            *record_of = NULL;
            return; /* as good as lost */
        }
    }
    at_us = w->now_us + sim_delay(w, host, to);
    if (l->is_ordered && at_us <= l->last_us)
        at_us = l->last_us + 1;
    l->last_us = at_us;
    put_on_wire(w, service, to, m, m->record == NULL ? SIM_RECORDS_MAX : *record, at_us);
    if (sim_chance(w, l->twice_ppm)) {
        int64_t ttl_us = w->plan.ttl_ms * 1000;
        int64_t more_us = !sim_chance(w, l->late_ppm) ? sim_draw(w, 0, 20 * SIM_MS)
                          : sim_chance(w, 500000)     ? sim_draw(w, ttl_us / 2, ttl_us * 2)
                                                      : sim_draw(w, 100 * SIM_MS, 8 * SIM_S);

        put_on_wire(w, service, to, m, m->record == NULL ? SIM_RECORDS_MAX : *record,
                    at_us + more_us);
    }
}
