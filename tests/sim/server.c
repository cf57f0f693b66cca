#include "parts.h"

#include <string.h>

/* The processes of one copy: how they start, end, crash, hang; and what probes see of them. */

static bool is_redis(const struct sim *w, unsigned int service)
{
    return w->plan.kind[service] == SERVICE_REDIS;
}

bool sim_db_runs(const struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_db *db = SIM_DB(w, service, host);

    return w->host[host].is_on && !w->host[host].is_paused && db->run != RUN_DOWN &&
           db->run != RUN_STARTING && !db->is_suspended && !db->is_hung;
}

int64_t sim_fsync_us(struct sim *w, unsigned int host)
{
    const struct sim_host *h = &w->host[host];

    return sim_draw_time(w, h->fsync_us) +
           (h->slow_disk_us > 0 ? sim_draw(w, 0, h->slow_disk_us) : 0);
}

/* ---- branches ------------------------------------------------------------------------------- */

uint16_t sim_branch_new(struct sim *w, unsigned int service, unsigned int host, uint16_t parent,
                        uint64_t fork, uint64_t timeline, uint64_t epoch, uint64_t system_id)
{
    uint16_t i = w->branches_n[service];

    if (i >= SIM_BRANCHES_MAX) {
        sim_violated(w, "LIVE", "service %u: more than %d timelines", service, SIM_BRANCHES_MAX);
        return (uint16_t)(i - 1);
    }
    w->branches_n[service]++;
    w->branch[service][i] = (struct sim_branch){
        .parent = parent,
        .host = (uint8_t)host,
        .fork = fork,
        .timeline = timeline,
        .epoch = epoch,
        .end = fork,
        .system_id = system_id,
        .began_us = w->now_us,
    };
    judge_branched(w, service, i);
    return i;
}

bool sim_log_has(const struct sim *w, unsigned int service, uint16_t tip, uint64_t tip_end,
                 uint16_t branch, uint64_t at)
{
    uint64_t limit = tip_end;

    for (uint16_t b = tip; b != SIM_NO_BRANCH; b = w->branch[service][b].parent) {
        if (b == branch)
            return at <= limit;
        if (w->branch[service][b].fork < limit)
            limit = w->branch[service][b].fork;
    }
    return false;
}

uint16_t sim_branch_at(const struct sim *w, unsigned int service, uint16_t tip, uint64_t at)
{
    uint16_t b = tip;

    while (w->branch[service][b].parent != SIM_NO_BRANCH && at <= w->branch[service][b].fork)
        b = w->branch[service][b].parent;
    return b;
}

/* ---- start ---------------------------------------------------------------------------------- */

/* What is in memory only is lost: an empty data set under a new id, or the last snapshot. */
static void load_snapshot(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    db->copy_id = db->server_id;
    db->is_other_copy = false;
    if (db->snapshot_branch != SIM_NO_BRANCH && sim_chance(w, w->plan.redis_saves_ppm)) {
        db->branch = db->snapshot_branch;
        db->end = db->flushed = db->snapshot_end;
        db->began_epoch = w->branch[service][db->branch].epoch;
        return;
    }
    db->branch =
        sim_branch_new(w, service, host, SIM_NO_BRANCH, 0, prng_next(&w->prng) >> 1 | 1, 0, 0);
    db->end = db->flushed = 0;
    db->began_epoch = 0;
    db->snapshot_branch = SIM_NO_BRANCH;
}

void sim_server_start(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    int64_t ready_us = is_redis(w, service) ? sim_draw(w, 3 * SIM_MS, 40 * SIM_MS)
                                            : sim_draw(w, 20 * SIM_MS, 300 * SIM_MS);

    if (!db->has_data || db->is_rebuilding || db->run != RUN_DOWN)
        return;
    db->run = RUN_STARTING;
    db->life++;
    db->server_id = ++w->unique;
    db->is_final = db->is_hung = db->is_stopping = db->is_streaming = false;
    db->follows = SIM_NOWHERE;
    db->names.state = w->plan.may_drop_flag && sim_chance(w, 200000) ? NAMES_EMPTY : NAMES_NOBODY;
    db->names.digest = 0;
    db->flag = db->is_flag_certain = db->names.state != NAMES_EMPTY;
    if (is_redis(w, service)) {
        db->flag = false;
        load_snapshot(w, service, host);
    }
    db->visible =
        db->end - (uint64_t)sim_draw(w, 0, (int64_t)(db->end < 200000 ? db->end : 200000));
    db->returned = 0;
    sim_tell(w, TALE_SERVER, service, host, 0, 0, db->end, 0, "starts");
    sim_at(w, w->now_us + ready_us, EV_SERVER, service, host, 0, 0, db->life);
    if (sim_fence_is_overdue(w, service, host) && w->host[host].helper.is_running &&
        !w->host[host].helper.is_paused)
        sim_suspend_soon(w, service, host);
    sim_changed(w, service, host);
}

/* Recovery has brought it so far that it answers. */
void sim_server_next(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);
    int64_t more_us;

    if (e->life != db->life || db->run != RUN_STARTING || db->is_suspended)
        return; /* when thawed it is asked again */
    db->run = RUN_STANDBY;
    db->is_crashed = db->has_written = false;
    db->flushed = db->end;
    more_us = sim_chance(w, 200000) ? sim_draw(w, 100 * SIM_MS, 2 * SIM_S)
                                    : sim_draw(w, 5 * SIM_MS, 100 * SIM_MS);
    if (is_redis(w, e->service))
        more_us = 1;
    sim_at(w, w->now_us + more_us, EV_FINAL, e->service, e->host, 0, 0, db->life);
    sim_tell(w, TALE_SERVER, e->service, e->host, 0, 0, db->end, 0, "is a standby");
    sim_changed(w, e->service, e->host);
}

void sim_server_final(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);

    if (e->life != db->life || db->run == RUN_DOWN || db->is_suspended)
        return;
    db->is_final = true;
    sim_changed(w, e->service, e->host);
}

/* ---- end ------------------------------------------------------------------------------------ */

/* What was written but not flushed: a process that dies leaves it to the kernel, mostly; a power
 * loss takes what had not reached the disk. */
static void cut_log(struct sim *w, unsigned int service, unsigned int host, bool is_power_loss)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (!is_power_loss && db->in_flight > db->end && sim_chance(w, 500000)) {
        db->end = db->in_flight;
        db->branch = sim_branch_at(w, service, db->in_flight_branch, db->end);
        db->began_epoch = w->branch[service][db->branch].epoch;
    }
    if (db->end > db->flushed)
        db->end = db->flushed + (uint64_t)sim_draw(w, 0, (int64_t)(db->end - db->flushed));
    if (is_power_loss)
        db->flushed = db->end;
}

void sim_server_end(struct sim *w, unsigned int service, unsigned int host, bool is_power_loss,
                    bool is_clean)
{
    struct sim_db *db = SIM_DB(w, service, host);
    struct sim_fence *f = &w->node[service][host].fence;

    if (db->branch != SIM_NO_BRANCH)
        cut_log(w, service, host, is_power_loss);
    if (db->run == RUN_DOWN)
        return;
    if (db->run == RUN_PRIMARY)
        db->was_primary = true;
    if (is_clean) {
        db->snapshot_branch = db->branch;
        db->snapshot_end = db->end;
    }
    sim_stream_end(w, service, host, is_power_loss);
    db->run = RUN_DOWN;
    db->life++;
    db->is_suspended = db->is_hung = db->is_stopping = db->is_crashed = false;
    db->is_flushing = false;
    db->waiting_head = db->waiting_tail;
    db->confirming_head = db->confirming_tail;
    f->is_suspending = f->is_thawing = false;
    f->life++;
    sim_changed(w, service, host);
}

void sim_server_orphaned(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->run != RUN_PRIMARY || !w->plan.has_orphans || is_redis(w, service)) {
        sim_server_end(w, service, host, false, false);
        return;
    }
    db->run = RUN_ORPHANS;
    db->was_primary = true;
    sim_tell(w, TALE_SERVER, service, host, 0, 0, db->end, 0, "loses its postmaster");
    sim_at(w, w->now_us + sim_draw(w, 0, 3 * SIM_S), EV_ORPHANS, service, host, 0, 0, db->life);
    if (w->host[host].helper.is_running)
        sim_at(w, w->now_us + sim_draw(w, 100, 2000), EV_HELPER, service, host, VERB_REAP, 0,
               w->host[host].helper.life);
    sim_changed(w, service, host);
}

void sim_orphans_end(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);

    if (e->life != db->life || db->run != RUN_ORPHANS)
        return;
    if (db->is_suspended)
        sim_at(w, w->now_us + 100 * SIM_MS, EV_ORPHANS, e->service, e->host, 0, 0, db->life);
    else
        sim_server_end(w, e->service, e->host, false, false);
}

/* A backend dies: the postmaster ends all others and starts anew by itself. */
void sim_server_crashed(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    bool restarts = !is_redis(w, service);

    if (db->run != RUN_PRIMARY && db->run != RUN_STANDBY)
        return;
    if (db->is_suspended)
        return;
    sim_tell(w, TALE_SERVER, service, host, 0, 0, db->end, 0, "crashes");
    sim_server_end(w, service, host, false, false);
    if (!restarts)
        return;
    sim_server_start(w, service, host);
    db->is_crashed = true;
}

void sim_server_hang(struct sim *w, unsigned int service, unsigned int host, bool is_hung)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->run == RUN_DOWN || db->is_hung == is_hung)
        return;
    db->is_hung = is_hung;
    db->hung_us = w->now_us;
    if (!is_hung)
        sim_server_goes_on(w, service, host);
    sim_changed(w, service, host);
}

/* ---- promotion ------------------------------------------------------------------------------ */

/* With its host alive a dead server loses nothing, not even in async: tail rescue. */
static void look_for_loss(struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_db *db = SIM_DB(w, service, host);
    const struct sim_client *c = &w->client[service];

    if (c->acked_end == 0 ||
        sim_log_has(w, service, db->branch, db->end, c->acked_branch, c->acked_end))
        return;
    w->stats.lossy++;
    if (w->plan.profile == PROFILE_CALM && c->gap_from_us >= 0 && c->gap_kind == GAP_KILLED &&
        !is_redis(w, service))
        sim_violated(w, "P3", "host %s is promoted without %lu, which a live host still has",
                     w->host[host].name, (unsigned long)c->acked_end);
}

void sim_server_promoted(struct sim *w, unsigned int service, unsigned int host, uint64_t timeline,
                         uint64_t epoch)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (is_redis(w, service))
        timeline = prng_next(&w->prng) >> 1 | 1; /* Redis draws its own id */
    db->branch =
        sim_branch_new(w, service, host, db->branch, db->end, timeline, epoch, db->system_id);
    db->run = RUN_PRIMARY;
    db->lacks_log = false;
    db->began_epoch = epoch;
    db->was_primary = db->has_written = true;
    db->is_final = true;
    db->end += 120; /* the record that ends recovery */
    db->flushed = db->end;
    db->returned = 0;
    w->branch[service][db->branch].end = db->end;
    w->stats.failovers++;
    sim_tell(w, TALE_SERVER, service, host, 0, 0, db->end, epoch, "is promoted");
    look_for_loss(w, service, host);
    judge_promoted(w, service, host);
    sim_changed(w, service, host);
}

/* hamgrd is stopped, standby.signal removed, and pg_ctl called: it goes on writing on the timeline
 * that it followed, with rows that nobody else has. No client knows of it. */
void sim_server_forged(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    const struct sim_branch *b = &w->branch[service][db->branch];

    sim_server_end(w, service, host, false, true);
    db->branch =
        sim_branch_new(w, service, host, db->branch, db->end, b->timeline, b->epoch, db->system_id);
    db->end += (uint64_t)sim_draw(w, 120, 100000);
    db->flushed = db->end;
    w->branch[service][db->branch].end = db->end;
    db->has_written = db->is_forged = true;
    sim_tell(w, TALE_SERVER, service, host, 0, 0, db->end, 0, "is made a primary by hand");
    if (sim_chance(w, 500000))
        return; /* and ended again */
    db->run = RUN_PRIMARY;
    db->life++;
    db->server_id = ++w->unique;
    db->is_final = true;
    db->names.state = NAMES_EMPTY;
    sim_changed(w, service, host);
}

/* After a thaw, a hang, or a pause of the whole host. */
void sim_server_goes_on(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->run == RUN_STARTING)
        sim_at(w, w->now_us + sim_draw(w, 1000, 50 * SIM_MS), EV_SERVER, service, host, 0, 0,
               db->life);
    else if (db->run != RUN_DOWN && !db->is_final)
        sim_at(w, w->now_us + sim_draw(w, 1000, 50 * SIM_MS), EV_FINAL, service, host, 0, 0,
               db->life);
    if (!sim_db_runs(w, service, host))
        return;
    if (db->run == RUN_STANDBY) {
        sim_at(w, w->now_us + 1000, EV_CONNECT, service, host, 0, 0, db->stream_life);
        return;
    }
    if (db->end > db->flushed && !db->is_flushing) {
        db->is_flushing = true;
        sim_at(w, w->now_us + sim_fsync_us(w, host), EV_FLUSH, service, host, 0, db->end, db->life);
    }
    sim_release_flushed(w, service, host);
    sim_kick(w, service, host);
    for (unsigned int x = 0; x < w->hosts_n; x++) {
        const struct sim_db *down = SIM_DB(w, service, x);

        if (db->sender[x].is_connected && down->is_streaming && down->follows == host &&
            down->stream_life == db->sender[x].stream_life)
            sim_at(w, w->now_us + sim_draw(w, 100, 2000), EV_REPORT, service, host, x,
                   down->flushed, db->life);
    }
}
