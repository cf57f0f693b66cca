#include "parts.h"

/* The long copy operations: clean stop, fetch, rewind, clone, init, proof and marker. */

/* A Redis keeps its data only while it lives: it is suspended, and its gate closed. */
static int64_t stop_redis(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    struct core_effect e = { .type = DO_FENCE };

    e.fence.mode = FENCE_SUSPENDED;
    if (db->op.step == 1) {
        sim_verb(w, service, host, VERB_FENCE, &e);
        db->op.step = 2;
    }
    if (!db->is_suspended)
        return 500;
    db->is_stopping = false;
    return OP_ENDS_WELL;
}

/* The member that a planned change names, if any, has all that is here. */
static bool has_successor_all(struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_db *db = SIM_DB(w, service, host);
    const struct record *r =
        sim_core_is_alive(w, host) ? core_record(&w->node[service][host].core) : NULL;
    uint8_t to;

    if (r == NULL || r->switchover.phase == SWITCH_NONE)
        return true;
    to = sim_slot_host(w, service, host, r->switchover.to);
    return to != SIM_NOWHERE && db->sender[to].is_connected && db->sender[to].flushed >= db->end;
}

/* Everything is streamed to those that are connected, for a bounded time. A Redis goes on if its
 * successor does not get all of it. */
int64_t sim_op_stop(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->run == RUN_DOWN)
        return OP_ENDS_WELL;
    if (db->op.step == 2)
        return stop_redis(w, service, host);
    if (db->is_suspended || db->is_hung || db->run == RUN_ORPHANS || db->run == RUN_STARTING)
        return OP_FAILS;
    if (db->op.step == 0) {
        db->is_stopping = true;
        db->op.step = 1;
        db->op.until_us = w->now_us + 2 * SIM_S;
        if (db->run == RUN_PRIMARY)
            (void)sim_append(w, service, host, 104, 0);
        return sim_draw(w, 2 * SIM_MS, 15 * SIM_MS);
    }
    if (db->run == RUN_PRIMARY) {
        if (db->flushed < db->end)
            return 500;
        for (unsigned int x = 0; x < w->hosts_n; x++)
            if (db->sender[x].is_connected && db->sender[x].flushed < db->end &&
                w->now_us < db->op.until_us - SIM_S)
                return 1000;
    }
    if (w->plan.kind[service] == SERVICE_REDIS && db->run == RUN_PRIMARY)
        return has_successor_all(w, service, host) ? stop_redis(w, service, host) : OP_FAILS;
    sim_server_end(w, service, host, false, true);
    return OP_ENDS_WELL;
}

int64_t sim_op_fetch(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->run != RUN_STANDBY || db->op.host == SIM_NOWHERE || db->is_suspended)
        return OP_FAILS;
    if (w->plan.kind[service] == SERVICE_REDIS)
        return OP_FAILS; /* whoever follows nobody gives nothing: -NOMASTERLINK */
    if (db->op.step == 0) {
        db->op.step = 1;
        db->op.until_us = w->now_us + sim_draw(w, 1 * SIM_S, 5 * SIM_S);
        sim_follow(w, service, host, db->op.host, true);
        return 2 * SIM_MS;
    }
    if (db->end >= db->op.upto.offset) {
        sim_follow(w, service, host, SIM_NOWHERE, false);
        return OP_ENDS_WELL;
    }
    if (w->now_us > db->op.until_us - 10 * SIM_MS) {
        sim_follow(w, service, host, SIM_NOWHERE, false);
        return OP_FAILS;
    }
    return 2 * SIM_MS;
}

/* hamgrd there gives its files only to whom its voter promised, and only of a server without a
 * process. */
static bool gives_its_log(const struct sim *w, unsigned int service, unsigned int host,
                          unsigned int from)
{
    const struct sim_node *n = &w->node[service][from];

    return n->db.run == RUN_DOWN && n->db.has_data && !n->db.is_rebuilding &&
           n->db.op.type == DO_SEND && sim_core_is_alive(w, from) &&
           !w->host[from].daemon.is_paused && !w->host[from].is_paused &&
           !w->host[from].is_disk_hung && sim_is_linked(w, from, host) &&
           sim_is_linked(w, host, from) &&
           n->durable.promised.incarnation == w->host[host].incarnation;
}

/* The files are placed all together, or none is. */
int64_t sim_op_rescue(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    const struct sim_db *from;

    if (db->run != RUN_STANDBY || db->op.host == SIM_NOWHERE || db->is_suspended || db->is_hung ||
        db->is_streaming || db->follows != SIM_NOWHERE)
        return OP_FAILS;
    from = SIM_DB(w, service, db->op.host);
    if (db->op.step == 0) {
        db->op.step = 1;
        db->op.until_us = w->now_us + w->plan.rescue_timeout_ms * SIM_MS;
        return sim_draw(w, 3 * SIM_MS, 40 * SIM_MS) + sim_draw_time(w, 5 * SIM_MS);
    }
    if (!gives_its_log(w, service, host, db->op.host))
        return 5 * SIM_MS;
    if (from->end < db->op.upto.offset ||
        !sim_log_has(w, service, from->branch, from->end, db->branch, db->end))
        return OP_FAILS;
    db->branch = sim_branch_at(w, service, from->branch, db->op.upto.offset);
    db->end = db->flushed = db->op.upto.offset;
    w->stats.rescues++;
    sim_changed(w, service, host);
    return OP_ENDS_WELL;
}

/* ---- rewind, clone, init -------------------------------------------------------------------- */

static bool can_copy_from(const struct sim *w, unsigned int service, unsigned int host,
                          unsigned int from)
{
    return from != SIM_NOWHERE && from != host && sim_is_linked(w, from, host) &&
           sim_is_linked(w, host, from) && sim_db_runs(w, service, from) &&
           SIM_DB(w, service, from)->run == RUN_PRIMARY && sim_gate_lets_members(w, service, from);
}

/* The last byte that both logs have in common. */
static uint64_t common_end(const struct sim *w, unsigned int service, const struct sim_db *a,
                           uint16_t tip)
{
    uint64_t limit = a->end;

    for (uint16_t b = a->branch; b != SIM_NO_BRANCH; b = w->branch[service][b].parent) {
        uint64_t other = UINT64_MAX;

        for (uint16_t t = tip; t != SIM_NO_BRANCH; t = w->branch[service][t].parent) {
            if (t == b)
                return limit < other ? limit : other;
            if (w->branch[service][t].fork < other)
                other = w->branch[service][t].fork;
        }
        if (w->branch[service][b].fork < limit)
            limit = w->branch[service][b].fork;
    }
    return 0;
}

static void take_copy_of(struct sim *w, unsigned int service, unsigned int host, uint64_t end)
{
    struct sim_db *db = SIM_DB(w, service, host);
    const struct sim_db *from = SIM_DB(w, service, db->op.host);

    db->has_data = true;
    db->is_rebuilding = false;
    db->was_primary = db->has_written = db->is_forged = false;
    db->rewind_is_impossible = false;
    db->lacks_log = false;
    db->branch = sim_branch_at(w, service, from->branch, end);
    db->end = db->flushed = end;
    db->began_epoch = w->branch[service][db->branch].epoch;
    db->system_id = from->system_id;
    db->copy_id = ++w->unique;
}

/* Where pg_rewind believes that they parted: it looks at the numbers of timelines only. */
static uint64_t seen_fork(const struct sim *w, unsigned int service, const struct sim_db *a,
                          const struct sim_db *from)
{
    const struct sim_branch *branch = w->branch[service];
    uint64_t end = a->end;

    for (uint16_t b = a->branch; b != SIM_NO_BRANCH; b = branch[b].parent) {
        uint64_t other = from->end;

        for (uint16_t t = from->branch; t != SIM_NO_BRANCH; t = branch[t].parent) {
            if (branch[t].timeline == branch[b].timeline)
                return end < other ? end : other;
            other = branch[t].fork < other ? branch[t].fork : other;
        }
        end = branch[b].fork < end ? branch[b].fork : end;
    }
    return 0;
}

/* Half-made, and durably marked so, until it has succeeded. pg_rewind cannot help when both
 * wrote on the same timeline number: it sees no divergence, or one that is too late. */
int64_t sim_op_rewind(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    uint64_t end;

    if (db->op.step == 0) {
        if (db->run != RUN_DOWN || !db->has_data || !can_copy_from(w, service, host, db->op.host))
            return OP_FAILS;
        db->is_rebuilding = true;
        db->op.step = 1;
        sim_changed(w, service, host);
        return sim_draw(w, 300 * SIM_MS, 3 * SIM_S);
    }
    if (db->rewind_is_impossible || !can_copy_from(w, service, host, db->op.host) ||
        SIM_DB(w, service, db->op.host)->system_id != db->system_id)
        return OP_FAILS;
    end = common_end(w, service, db, SIM_DB(w, service, db->op.host)->branch);
    if (end < seen_fork(w, service, db, SIM_DB(w, service, db->op.host)))
        sim_violated(w, "LEGAL", "host %s: pg_rewind does not see all that diverged",
                     w->host[host].name);
    if (sim_chance(w, 500000))
        end = SIM_DB(w, service, db->op.host)->flushed;
    take_copy_of(w, service, host, end);
    return OP_ENDS_WELL;
}

int64_t sim_op_clone(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->op.step == 0) {
        if (db->run != RUN_DOWN || !can_copy_from(w, service, host, db->op.host))
            return OP_FAILS;
        db->is_rebuilding = true;
        db->op.step = 1;
        sim_changed(w, service, host);
        return sim_draw(w, 1 * SIM_S, 6 * SIM_S);
    }
    if (!can_copy_from(w, service, host, db->op.host))
        return OP_FAILS;
    take_copy_of(w, service, host, SIM_DB(w, service, db->op.host)->flushed);
    return OP_ENDS_WELL;
}

int64_t sim_op_init(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->has_data || db->run != RUN_DOWN)
        return db->has_data ? OP_ENDS_WELL : OP_FAILS;
    if (db->op.step == 0) {
        db->op.step = 1;
        return sim_draw(w, 500 * SIM_MS, 1500 * SIM_MS);
    }
    db->has_data = true;
    db->is_rebuilding = false;
    db->copy_id = ++w->unique;
    db->system_id = w->plan.kind[service] == SERVICE_REDIS ? 0 : ++w->unique;
    db->branch = sim_branch_new(w, service, host, SIM_NO_BRANCH, 0, 1, 0, db->system_id);
    db->end = db->flushed = 20000;
    w->branch[service][db->branch].end = db->end;
    return OP_ENDS_WELL;
}

/* ---- synchronous replication ---------------------------------------------------------------- */

/* A commit of our own is seen waiting: the flag is on, and so is every backend's. */
int64_t sim_op_prove(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (w->plan.kind[service] == SERVICE_REDIS)
        return OP_ENDS_WELL;
    if (db->run != RUN_PRIMARY || !sim_db_runs(w, service, host))
        return OP_FAILS;
    if (db->op.step == 0) {
        db->op.step = 1;
        return sim_draw(w, 1 * SIM_MS, 10 * SIM_MS);
    }
    if (db->names.state == NAMES_EMPTY || !db->flag) {
        (void)sim_append(w, service, host, 150, 0);
        return sim_draw(w, 5 * SIM_MS, 20 * SIM_MS);
    }
    return OP_ENDS_WELL;
}

static bool has_been_sent(const struct sim *w, const struct sim_db *db, uint64_t end)
{
    for (unsigned int x = 0; x < w->hosts_n; x++)
        if (db->sender[x].is_connected && db->sender[x].sent < end)
            return false;
    return true;
}

static bool has_reached(const struct sim *w, unsigned int service, unsigned int host,
                        const struct pair *pair, uint64_t end)
{
    const struct sim_db *db = SIM_DB(w, service, host);
    unsigned int have = 0;

    for (unsigned int i = 0; i < pair->n; i++) {
        uint8_t x = sim_slot_host(w, service, host, pair->copies[i].member);

        if (x != SIM_NOWHERE && db->sender[x].is_connected && db->sender[x].flushed >= end &&
            db->sender[x].copy_id == pair->copies[i].copy_id)
            have++;
    }
    return have >= pair->need;
}

/* A commit after the names were in force has returned, the copies have it, and no walsender is
 * left that could release by older names. Repeated: a release needs new log. */
int64_t sim_op_marker(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);
    bool is_redis = w->plan.kind[service] == SERVICE_REDIS;

    if (db->run != RUN_PRIMARY)
        return OP_FAILS;
    if (!sim_db_runs(w, service, host))
        return 5 * SIM_MS;
    if (!is_redis && (db->names.state != db->op.names.state ||
                      (db->names.state == NAMES_PAIR && db->names.digest != db->op.names.digest)))
        return OP_FAILS;
    if (db->op.step == 0 || (db->op.step % 32 == 0 && db->returned < db->op.marker)) {
        uint64_t end = sim_append(w, service, host, 150, 0);

        if (db->op.step == 0)
            db->op.marker = end;
    }
    db->op.step = (uint8_t)(db->op.step == 255 ? 1 : db->op.step + 1);
    db->op.until_us = w->now_us + SIM_S;
    if (db->returned >= db->op.marker && has_been_sent(w, db, db->op.marker) &&
        has_reached(w, service, host, &db->op.names.pair, db->op.marker))
        return OP_ENDS_WELL;
    return 2 * SIM_MS;
}
