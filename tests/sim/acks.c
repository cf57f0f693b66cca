#include "parts.h"

/* When a commit returns, and when its acknowledgement leaves the host. */

/* The packet leaves: from here on the client may have it. */
static void leaves(struct sim *w, unsigned int service, unsigned int host,
                   const struct sim_write *write)
{
    struct sim_db *db = SIM_DB(w, service, host);

    w->stats.acks++;
    w->client[service].acked_branch = write->branch;
    w->client[service].acked_end = write->end;
    if (w->plan.kind[service] == SERVICE_POSTGRES) {
        judge_acknowledged(w, service, host, write, true);
    } else {
        judge_acknowledged(w, service, host, write, false);
        if (w->plan.sync_standbys > 0 && db->confirming_tail - db->confirming_head < SIM_WRITES_MAX)
            db->confirming[db->confirming_tail++ % SIM_WRITES_MAX] = *write;
    }
    sim_client_hears(w, service, host);
}

static void returns(struct sim *w, unsigned int service, unsigned int host, struct sim_write *write)
{
    struct sim_db *db = SIM_DB(w, service, host);

    write->released_us = w->now_us;
    if (db->returned < write->end)
        db->returned = write->end;
    if (write->id == 0)
        return;
    if (sim_gate_is_open(w, service, host))
        leaves(w, service, host, write);
    else if (db->queued_tail - db->queued_head < SIM_WRITES_MAX)
        db->queued[db->queued_tail++ % SIM_WRITES_MAX] = *write;
}

static void release_up_to(struct sim *w, unsigned int service, unsigned int host, uint64_t end)
{
    struct sim_db *db = SIM_DB(w, service, host);

    while (db->waiting_head != db->waiting_tail &&
           db->waiting[db->waiting_head % SIM_WRITES_MAX].end <= end)
        returns(w, service, host, &db->waiting[db->waiting_head++ % SIM_WRITES_MAX]);
}

/* Backends wait only while the shared flag says that there are names at all. */
void sim_release_flushed(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (!db->flag && sim_db_runs(w, service, host))
        release_up_to(w, service, host, db->flushed);
}

/* The position that `need` of `hosts` have reported; 0: there are not so many. */
static uint64_t reported_by(const struct sim_db *db, uint16_t hosts, unsigned int need)
{
    uint64_t best[SIM_HOSTS_MAX] = { 0 };
    unsigned int n = 0;

    for (unsigned int x = 0; x < SIM_HOSTS_MAX; x++) {
        unsigned int i = n;

        if (!db->sender[x].is_connected || (hosts >> x & 1) == 0)
            continue;
        for (; i > 0 && best[i - 1] < db->sender[x].flushed; i--)
            best[i] = best[i - 1];
        best[i] = db->sender[x].flushed;
        n++;
    }
    return need >= 1 && need <= n ? best[need - 1] : 0;
}

void sim_release_by(struct sim *w, unsigned int service, unsigned int host, unsigned int sender)
{
    struct sim_db *db = SIM_DB(w, service, host);
    const struct sim_names *names = &db->sender[sender].names;
    uint64_t end;

    if (names->state != NAMES_PAIR || (names->hosts >> sender & 1) == 0)
        return;
    end = reported_by(db, names->hosts, names->need);
    release_up_to(w, service, host, end < db->flushed ? end : db->flushed);
}

void sim_confirm(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    uint64_t end;

    /* A replica that is in no pair is not let in, or its WAIT is not believed. */
    if (db->names.state != NAMES_PAIR)
        return;
    end = reported_by(db, db->names.hosts, db->names.need);

    while (db->confirming_head != db->confirming_tail) {
        struct sim_write *write = &db->confirming[db->confirming_head % SIM_WRITES_MAX];

        if (write->end > end)
            return;
        write->released_us = w->now_us;
        db->confirming_head++;
        if (sim_gate_is_open(w, service, host))
            judge_acknowledged(w, service, host, write, true);
    }
}

void sim_gate_opened(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (!sim_gate_is_open(w, service, host))
        return;
    while (db->queued_head != db->queued_tail)
        leaves(w, service, host, &db->queued[db->queued_head++ % SIM_WRITES_MAX]);
}

/* ---- synchronous_standby_names -------------------------------------------------------------- */

void sim_flag_set(struct sim *w, unsigned int service, unsigned int host)
{
    int64_t delay_us = sim_chance(w, 100000) ? sim_draw(w, 0, w->plan.checkpointer_us * 40)
                                             : sim_draw(w, 0, w->plan.checkpointer_us);

    sim_at(w, w->now_us + delay_us, EV_FLAG, service, host, 0, 0, SIM_DB(w, service, host)->life);
}

void sim_flag(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);

    if (e->life != db->life)
        return;
    if (!sim_db_runs(w, e->service, e->host)) {
        sim_at(w, w->now_us + 20 * SIM_MS, EV_FLAG, e->service, e->host, 0, 0, e->life);
        return;
    }
    db->flag = db->names.state != NAMES_EMPTY;
    sim_release_flushed(w, e->service, e->host);
}

void sim_senders(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);

    if (e->life != db->life || !db->sender[e->a].is_connected)
        return;
    if (!sim_db_runs(w, e->service, e->host)) {
        sim_at(w, w->now_us + 20 * SIM_MS, EV_SENDERS, e->service, e->host, e->a, 0, e->life);
        return;
    }
    db->sender[e->a].names = db->names;
    sim_release_by(w, e->service, e->host, e->a);
    sim_kick(w, e->service, e->host);
}

void sim_names_set(struct sim *w, unsigned int service, unsigned int host,
                   const struct sim_names *names)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (w->plan.kind[service] == SERVICE_REDIS) {
        db->names = *names;
        sim_changed(w, service, host);
        return;
    }
    if (names->state == NAMES_EMPTY || db->names.state == NAMES_EMPTY)
        db->is_flag_certain = false;
    db->names = *names;
    sim_clients_hurry(w); /* writes while names change are the ones to look at */
    for (unsigned int x = 0; x < w->hosts_n; x++)
        if (db->sender[x].is_connected)
            sim_at(w,
                   w->now_us + (sim_chance(w, 100000) ? sim_draw(w, 0, 600 * SIM_MS)
                                                      : sim_draw(w, 0, w->plan.sender_us)),
                   EV_SENDERS, service, host, x, 0, db->life);
    sim_flag_set(w, service, host);
    sim_changed(w, service, host);
}
