#include "parts.h"

/* Replication, one event for what a standby has received and flushed, whatever it was. */

static bool is_redis(const struct sim *w, unsigned int service)
{
    return w->plan.kind[service] == SERVICE_REDIS;
}

uint64_t sim_append(struct sim *w, unsigned int service, unsigned int host, uint64_t size,
                    uint64_t id)
{
    struct sim_db *db = SIM_DB(w, service, host);

    db->end += size;
    if (w->branch[service][db->branch].end < db->end)
        w->branch[service][db->branch].end = db->end;
    if (db->waiting_tail - db->waiting_head < SIM_WRITES_MAX)
        db->waiting[db->waiting_tail++ % SIM_WRITES_MAX] = (struct sim_write){
            .end = db->end,
            .id = id,
            .branch = db->branch,
            .epoch = db->began_epoch,
            .at_us = w->now_us,
        };
    if (!db->is_flushing) {
        db->is_flushing = true;
        sim_at(w, w->now_us + (is_redis(w, service) ? 30 : sim_fsync_us(w, host)), EV_FLUSH,
               service, host, 0, db->end, db->life);
    }
    if (is_redis(w, service) && (prng_next(&w->prng) & 63) == 0) {
        db->snapshot_branch = db->branch;
        db->snapshot_end = db->end;
    }
    return db->end;
}

void sim_flushed(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);

    if (e->life != db->life)
        return;
    if ((w->host[e->host].is_disk_hung && !is_redis(w, e->service)) || db->is_hung) {
        sim_at(w, w->now_us + 20 * SIM_MS, EV_FLUSH, e->service, e->host, 0, e->b, e->life);
        return;
    }
    db->is_flushing = false;
    if (db->flushed < e->b)
        db->flushed = e->b;
    if (!sim_db_runs(w, e->service, e->host))
        return;
    sim_release_flushed(w, e->service, e->host);
    sim_kick(w, e->service, e->host);
    if (db->end > db->flushed && !db->is_flushing) {
        db->is_flushing = true;
        sim_at(w, w->now_us + sim_fsync_us(w, e->host), EV_FLUSH, e->service, e->host, 0, db->end,
               db->life);
    }
}

/* ---- sending -------------------------------------------------------------------------------- */

static bool are_same(const struct sim_names *a, const struct sim_names *b)
{
    return a->state == b->state && a->digest == b->digest;
}

/* A walsender reads its settings before it sends more, but handles replies by what it read last:
 * one that lags behind sends nothing. */
static void send_on(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    struct sim_db *up = SIM_DB(w, service, db->follows);
    struct sim_sender *sender = &up->sender[host];
    uint64_t end = up->run == RUN_STANDBY ? up->end : up->flushed;

    if (!sim_db_runs(w, service, db->follows) || !sender->is_connected || db->in_flight != 0 ||
        end <= db->end || (!is_redis(w, service) && !are_same(&sender->names, &up->names)))
        return;
    sender->sent = end;
    db->in_flight = end;
    db->in_flight_branch = up->branch;
    sim_at(w,
           w->now_us + sim_delay(w, db->follows, host) +
               (is_redis(w, service) ? 20 : sim_fsync_us(w, host)),
           EV_STREAM, service, host, 0, 0, db->stream_life);
}

void sim_kick(struct sim *w, unsigned int service, unsigned int host)
{
    for (unsigned int x = 0; x < w->hosts_n; x++) {
        const struct sim_db *db = SIM_DB(w, service, x);

        if (db->follows == host && db->is_streaming && !db->is_in_full_sync && x != host)
            send_on(w, service, x);
    }
}

static void take_in(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    uint16_t branch = sim_branch_at(w, service, db->in_flight_branch, db->in_flight);

    db->end = db->flushed = db->in_flight;
    db->in_flight = 0;
    db->was_primary = false;
    if (branch != db->branch) {
        db->branch = branch;
        db->began_epoch = w->branch[service][branch].epoch;
    }
    if (is_redis(w, service) && (prng_next(&w->prng) & 63) == 0) {
        db->snapshot_branch = db->branch;
        db->snapshot_end = db->end;
    }
}

static bool packets_pass(const struct sim *w, unsigned int service, unsigned int from,
                         unsigned int to)
{
    return sim_is_linked(w, from, to) && sim_is_linked(w, to, from) &&
           sim_gate_lets_members(w, service, from);
}

void sim_streamed(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);
    struct sim_db *up;

    if (e->life != db->stream_life || !db->is_streaming || db->in_flight == 0)
        return;
    up = SIM_DB(w, e->service, db->follows);
    if (!packets_pass(w, e->service, db->follows, e->host) ||
        !sim_db_runs(w, e->service, e->host) || w->host[e->host].is_disk_hung) {
        /* TCP tries again until one end gives up. */
        if (db->stalled_us == 0)
            db->stalled_us = w->now_us;
        if (db->upstream_life != up->life ||
            w->now_us - db->stalled_us > w->plan.stream_timeout_us) {
            sim_disconnect(w, e->service, e->host);
            sim_at(w, w->now_us + 1000, EV_CONNECT, e->service, e->host, 0, 0, db->stream_life);
        } else {
            sim_at(w, w->now_us + 30 * SIM_MS, EV_STREAM, e->service, e->host, 0, 0, e->life);
        }
        return;
    }
    db->stalled_us = 0;
    take_in(w, e->service, e->host);
    sim_at(w, w->now_us + sim_delay(w, e->host, db->follows), EV_REPORT, e->service, db->follows,
           e->host, db->flushed, db->upstream_life);
    send_on(w, e->service, e->host);
}

void sim_reported(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);
    struct sim_sender *sender = &db->sender[e->a];

    if (e->life != db->life || !sender->is_connected)
        return;
    if (!sim_is_linked(w, e->a, e->host)) {
        if (SIM_DB(w, e->service, e->a)->is_streaming &&
            SIM_DB(w, e->service, e->a)->follows == e->host)
            sim_at(w, w->now_us + 30 * SIM_MS, EV_REPORT, e->service, e->host, e->a, e->b, e->life);
        return;
    }
    if (!sim_db_runs(w, e->service, e->host))
        return; /* reported again when it goes on */
    if (sender->flushed < e->b)
        sender->flushed = e->b;
    if (is_redis(w, e->service))
        sim_confirm(w, e->service, e->host);
    else
        sim_release_by(w, e->service, e->host, e->a);
}

/* ---- connections ---------------------------------------------------------------------------- */

void sim_gone(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);

    if (!db->sender[e->a].is_connected || db->sender[e->a].stream_life != (uint32_t)e->b)
        return;
    db->sender[e->a].is_connected = false;
    sim_changed(w, e->service, e->host);
}

static void upstream_notices(struct sim *w, unsigned int service, unsigned int host,
                             bool is_power_loss)
{
    const struct sim_db *db = SIM_DB(w, service, host);
    bool hears = !is_power_loss && sim_is_linked(w, host, db->follows);

    sim_at(w,
           w->now_us + (hears ? 500 + sim_delay(w, host, db->follows)
                              : sim_draw(w, 500 * SIM_MS, w->plan.stream_timeout_us)),
           EV_GONE, service, db->follows, host, db->stream_life, 0);
}

void sim_disconnect(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->is_streaming) {
        upstream_notices(w, service, host, false);
        sim_changed(w, service, host);
    }
    db->is_streaming = false;
    db->is_in_full_sync = false;
    db->in_flight = 0;
    db->stalled_us = 0;
    db->stream_life++;
}

void sim_stream_end(struct sim *w, unsigned int service, unsigned int host, bool is_power_loss)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->is_streaming)
        upstream_notices(w, service, host, is_power_loss);
    db->is_streaming = db->is_fetching = false;
    db->is_in_full_sync = false;
    db->in_flight = 0;
    db->stream_life++;
    db->follows = SIM_NOWHERE;
    for (unsigned int x = 0; x < w->hosts_n; x++) {
        const struct sim_db *down = SIM_DB(w, service, x);

        db->sender[x].is_connected = false;
        if (down->follows != host || !down->is_streaming)
            continue;
        sim_at(w,
               w->now_us + (is_power_loss ? sim_draw(w, 500 * SIM_MS, w->plan.stream_timeout_us)
                                          : sim_draw(w, 500, 8 * SIM_MS)),
               EV_CONNECT, service, x, 0, 0, down->stream_life);
    }
}

void sim_follow(struct sim *w, unsigned int service, unsigned int host, uint8_t upstream,
                bool is_fetching)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (upstream == db->follows && is_fetching == db->is_fetching && upstream != SIM_NOWHERE)
        return;
    sim_disconnect(w, service, host);
    db->follows = upstream;
    db->is_fetching = is_fetching;
    if (upstream != SIM_NOWHERE && upstream != host)
        sim_at(w, w->now_us + sim_draw(w, 500, 6 * SIM_MS), EV_CONNECT, service, host, 0, 0,
               db->stream_life);
    sim_changed(w, service, host);
}

static bool may_connect(struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_db *db = SIM_DB(w, service, host);
    const struct sim_db *up = SIM_DB(w, service, db->follows);

    return (!db->lacks_log || db->is_fetching) && w->host[db->follows].is_on &&
           sim_db_runs(w, service, db->follows) && packets_pass(w, service, db->follows, host) &&
           !up->is_stopping &&
           (up->run == RUN_PRIMARY || (up->run == RUN_STANDBY && db->is_fetching));
}

/* A replica whose data is not on the primary's history is emptied and takes all of the primary's.
 */
static void begin_full_sync(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    sim_tell(w, TALE_SERVER, service, host, db->follows, 0, db->end, 0, "takes all data anew");
    db->is_in_full_sync = db->is_other_copy = true;
    db->branch =
        sim_branch_new(w, service, host, SIM_NO_BRANCH, 0, prng_next(&w->prng) >> 1 | 1, 0, 0);
    db->end = db->flushed = 0;
    db->began_epoch = 0;
    sim_at(w, w->now_us + sim_draw(w, 100 * SIM_MS, 1500 * SIM_MS), EV_CONNECT, service, host, 1, 0,
           db->stream_life);
}

static void end_full_sync(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    const struct sim_db *up = SIM_DB(w, service, db->follows);

    db->is_in_full_sync = false;
    db->in_flight = 0;
    db->branch = up->branch;
    db->end = db->flushed = up->flushed;
    db->began_epoch = up->began_epoch;
    db->was_primary = false;
}

static void connected(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    struct sim_db *up = SIM_DB(w, service, db->follows);

    db->is_streaming = true;
    db->in_flight = 0;
    db->stalled_us = 0;
    db->upstream_life = up->life;
    db->flushed = db->end;
    if (!db->is_fetching)
        db->was_primary = false;
    up->sender[host] = (struct sim_sender){
        .is_connected = true,
        .stream_life = db->stream_life,
        .copy_id = db->copy_id,
        .sent = db->end,
        .names = up->names,
    };
    sim_at(w, w->now_us + sim_delay(w, host, db->follows), EV_REPORT, service, db->follows, host,
           db->flushed, up->life);
    sim_changed(w, service, host);
    sim_changed(w, service, db->follows);
    send_on(w, service, host);
}

/* One try; also how a standby learns that its connection has ended. a: 1 full resynchronisation
 * has ended. */
void sim_connect(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);
    struct sim_db *up;

    if (e->life != db->stream_life || db->follows == SIM_NOWHERE || db->run != RUN_STANDBY ||
        db->follows == e->host)
        return;
    up = SIM_DB(w, e->service, db->follows);
    if ((db->is_streaming || db->is_in_full_sync) && db->upstream_life != up->life)
        sim_disconnect(w, e->service, e->host);
    if (db->is_streaming)
        return;
    if (!sim_db_runs(w, e->service, e->host) || !db->is_final ||
        !may_connect(w, e->service, e->host)) {
        if (db->is_in_full_sync)
            sim_disconnect(w, e->service, e->host);
        sim_at(w, w->now_us + sim_draw(w, 20 * SIM_MS, 150 * SIM_MS), EV_CONNECT, e->service,
               e->host, 0, 0, db->stream_life);
        return;
    }
    if (db->is_in_full_sync) {
        if (e->a != 1)
            return;
        end_full_sync(w, e->service, e->host);
    } else if (!sim_log_has(w, e->service, up->branch, up->end, db->branch, db->end)) {
        if (is_redis(w, e->service) && !db->is_fetching) {
            db->upstream_life = up->life;
            begin_full_sync(w, e->service, e->host);
            return;
        }
        sim_at(w, w->now_us + sim_draw(w, 100 * SIM_MS, 600 * SIM_MS), EV_CONNECT, e->service,
               e->host, 0, 0, db->stream_life);
        return;
    }
    connected(w, e->service, e->host);
}
