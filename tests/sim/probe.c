#include "parts.h"

#include <string.h>

/* What probes see of a copy: late, and not more than a server tells. */

static enum copy_state seen_state(const struct sim_db *db)
{
    if (db->is_rebuilding)
        return COPY_REBUILDING;
    if (!db->has_data)
        return COPY_ABSENT;
    if (db->run != RUN_DOWN && db->is_suspended)
        return COPY_SUSPENDED;
    if (db->is_hung)
        return COPY_UNKNOWN;
    switch (db->run) {
    case RUN_DOWN:
        return COPY_DOWN;
    case RUN_ORPHANS:
        return COPY_UNKNOWN;
    case RUN_STARTING:
        return COPY_STARTING;
    case RUN_STANDBY:
        return COPY_STANDBY;
    case RUN_PRIMARY:
        return COPY_PRIMARY;
    }
    return COPY_UNKNOWN;
}

static void see_position(const struct sim *w, unsigned int service, const struct sim_db *db,
                         struct copy *ret)
{
    uint64_t at = db->end;
    uint16_t branch;

    if (db->branch == SIM_NO_BRANCH || ret->state == COPY_REBUILDING || ret->state == COPY_ABSENT ||
        ret->state == COPY_STARTING || ret->state == COPY_UNKNOWN)
        return;
    if (ret->state == COPY_DOWN && w->plan.kind[service] == SERVICE_REDIS)
        return;
    ret->is_final = db->is_final || ret->state == COPY_DOWN;
    if (!ret->is_final)
        at = db->visible;
    branch = sim_branch_at(w, service, db->branch, at);
    ret->at.timeline = w->branch[service][branch].timeline;
    if (branch != db->branch) /* the note that belongs to what it has read so far */
        ret->began_epoch = w->branch[service][branch].epoch;
    ret->at.offset = at;
}

static void see_standbys(const struct sim *w, unsigned int service, unsigned int host,
                         struct copy *ret)
{
    const struct sim_db *db = SIM_DB(w, service, host);

    for (unsigned int x = 0; x < w->hosts_n; x++) {
        uint8_t slot;

        if (!db->sender[x].is_connected)
            continue;
        slot = sim_slot(w, service, host, x);
        if (slot >= HM_MEMBERS_MAX)
            continue;
        ret->standby[slot].is_streaming = true;
        ret->standby[slot].copy_id = db->sender[x].copy_id;
        ret->standby[slot].flushed = db->sender[x].flushed;
    }
}

/* A stall, and whether anything proves that it is no overload. */
static void see_health(const struct sim *w, const struct sim_db *db, const struct sim_host *h,
                       struct copy *ret)
{
    bool answers = ret->state == COPY_STANDBY || ret->state == COPY_PRIMARY;
    bool is_sick = ret->state == COPY_PRIMARY && (h->is_disk_hung || h->is_overloaded);
    bool is_hung = ret->state == COPY_UNKNOWN && db->is_hung;

    ret->is_healthy = answers && !is_sick && !(ret->state == COPY_STANDBY && h->is_disk_full);
    ret->is_full = h->is_disk_full;
    if (is_sick || is_hung)
        ret->stalled_ms = 1 + (w->now_us - (is_hung ? db->hung_us : h->sick_us)) / 1000;
    if (is_hung || (is_sick && h->is_disk_hung))
        ret->hung_ms = ret->stalled_ms;
}

void sim_copy_now(const struct sim *w, unsigned int service, unsigned int host, struct copy *ret)
{
    const struct sim_db *db = SIM_DB(w, service, host);
    const struct sim_fence *f = &w->node[service][host].fence;
    const struct sim_host *h = &w->host[host];
    bool answers;

    memset(ret, 0, sizeof *ret);
    ret->taken_at_ms = sim_local_ms(w, host);
    ret->state = seen_state(db);
    answers = ret->state == COPY_STANDBY || ret->state == COPY_PRIMARY;
    ret->was_primary = db->was_primary;
    ret->has_written =
        ret->state == COPY_DOWN && db->has_written && w->plan.kind[service] == SERVICE_POSTGRES;
    see_health(w, db, h, ret);
    ret->is_crashed = db->is_crashed;
    ret->follows = HM_NOBODY;
    if (db->has_data && !db->is_rebuilding) {
        ret->copy_id = db->copy_id;
        ret->system_id = db->system_id;
        ret->began_epoch = db->began_epoch;
        ret->server_id = db->run == RUN_DOWN ? 0 : db->server_id;
    }
    see_position(w, service, db, ret);
    if (db->run == RUN_STANDBY) {
        ret->follows = sim_slot(w, service, host, db->follows);
        if (ret->follows == HM_NOBODY && db->follows != SIM_NOWHERE)
            ret->follows = HM_STRANGER;
        ret->is_streaming = db->is_streaming;
        ret->lacks_log = db->lacks_log && db->follows != SIM_NOWHERE && !db->is_fetching;
    } else {
        ret->lacks_log = db->lacks_log && ret->state == COPY_DOWN;
    }
    if (answers) {
        ret->names = db->names.state;
        ret->names_digest = db->names.state == NAMES_PAIR ? db->names.digest : 0;
        ret->is_flag_certain = db->is_flag_certain;
    }
    if (ret->state == COPY_PRIMARY)
        see_standbys(w, service, host, ret);
    ret->fence_answers = h->helper.is_running && !h->helper.is_paused;
    ret->fence = f->mode;
    ret->fence_until_ms = f->mode == FENCE_LEASE ? f->until_ms : 0;
    ret->is_gate_open = sim_gate_is_open(w, service, host);
}

/* Only a probe finds out that a Redis takes, or took, all data anew. */
void sim_notice_copy(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (!db->is_other_copy || seen_state(db) == COPY_UNKNOWN)
        return;
    db->is_other_copy = false;
    db->copy_id = ++w->unique;
    if (db->is_streaming) /* and the primary's hamgrd hears of it */
        SIM_DB(w, service, db->follows)->sender[host].copy_id = db->copy_id;
}

/* Probes of one copy keep their order: the next begins when the last has ended. */
static void look(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_node *n = &w->node[service][host];
    struct core_event ev;
    int64_t late_us = sim_draw(w, 100, 1500);

    if ((prng_next(&w->prng) & 127) == 0)
        late_us = sim_draw(w, 1 * SIM_MS, w->plan.probe_late_us);
    ev.type = ON_COPY;
    sim_notice_copy(w, service, host);
    sim_copy_now(w, service, host, &ev.copy);
    if (w->now_us + late_us <= n->probe_us)
        late_us = n->probe_us + 1 - w->now_us;
    n->probe_us = w->now_us + late_us;
    sim_post(w, service, host, late_us, &ev);
}

void sim_probe(struct sim *w, const struct sim_event *e)
{
    struct sim_node *n = &w->node[e->service][e->host];
    const struct record *r = core_record(&n->core);
    hm_ms interval_ms = hm_min_ms(r != NULL ? r->heartbeat_ms : w->plan.heartbeat_ms, 250);

    if (e->a == 1) {
        n->probe_is_asked = false;
        look(w, e->service, e->host);
        return;
    }
    look(w, e->service, e->host);
    sim_at(w, w->now_us + interval_ms * 1000 + sim_draw(w, 0, 2000), EV_PROBE, e->service, e->host,
           0, 0, w->host[e->host].daemon.life);
}

void sim_changed(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_node *n = &w->node[service][host];

    if (!sim_core_is_alive(w, host) || n->probe_is_asked || !n->is_there)
        return;
    n->probe_is_asked = true;
    sim_at(w, w->now_us + sim_draw(w, 50, 800), EV_PROBE, service, host, 1, 0,
           w->host[host].daemon.life);
}
