#include "parts.h"

#include <string.h>

/* Copy operations: one at a time, as effect.h asks of the adapters. Each is a row of steps. */

static bool is_same(const struct sim_op *a, const struct sim_op *b)
{
    return a->type == b->type && a->host == b->host && a->timeline == b->timeline &&
           a->epoch == b->epoch && a->upto.offset == b->upto.offset &&
           a->names.state == b->names.state && a->names.digest == b->names.digest;
}

/* PostgreSQL knows members by their names only, not copies. */
static void names_of(const struct sim *w, unsigned int service, unsigned int host,
                     const struct core_effect *e, struct sim_names *ret)
{
    ret->state = e->type == DO_MARKER ? NAMES_PAIR : e->names.names;
    if (ret->state != NAMES_PAIR)
        return;
    if (pair_is_alone(&e->names.pair)) {
        ret->state = NAMES_EMPTY;
        return;
    }
    ret->pair = e->names.pair;
    ret->need = e->names.pair.need;
    ret->digest = pair_digest(&e->names.pair);
    for (unsigned int i = 0; i < e->names.pair.n; i++) {
        uint8_t x = sim_slot_host(w, service, host, e->names.pair.copies[i].member);

        if (x != SIM_NOWHERE)
            ret->hosts |= (uint16_t)(1u << x);
    }
}

static void op_of(const struct sim *w, unsigned int service, unsigned int host,
                  const struct core_effect *e, struct sim_op *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->type = e->type;
    ret->id = e->op;
    ret->daemon_life = w->host[host].daemon.life;
    ret->host = SIM_NOWHERE;
    switch ((int)e->type) {
    case DO_SET_NAMES:
    case DO_MARKER:
        names_of(w, service, host, e, &ret->names);
        break;
    case DO_PROMOTE:
        ret->timeline = e->copy.timeline;
        ret->epoch = e->copy.epoch;
        break;
    case DO_FETCH:
    case DO_RESCUE:
        ret->upto = e->copy.upto;
        ret->host = sim_slot_host(w, service, host, e->copy.member);
        break;
    case DO_FOLLOW:
    case DO_REWIND:
    case DO_CLONE:
        ret->host = sim_slot_host(w, service, host, e->copy.member);
        break;
    default:
        break;
    }
}

static int64_t first_delay_us(struct sim *w, unsigned int service, const struct sim_op *op)
{
    bool is_redis = w->plan.kind[service] == SERVICE_REDIS;

    switch ((int)op->type) {
    case DO_PROMOTE:
        return is_redis ? sim_draw(w, 500, 3000) : sim_draw(w, 5 * SIM_MS, 60 * SIM_MS);
    case DO_FREEZE:
        return is_redis ? sim_draw(w, 300, 2000)
                        : sim_draw(w, w->plan.freeze_us / 10, w->plan.freeze_us);
    case DO_CHECKPOINT:
        return is_redis ? 1000 : sim_draw_time(w, 60 * SIM_MS) + 10 * SIM_MS;
    case DO_SET_NAMES:
        return sim_chance(w, 50000) ? sim_draw(w, 5 * SIM_MS, 200 * SIM_MS)
                                    : sim_draw(w, 1 * SIM_MS, 10 * SIM_MS);
    case DO_FOLLOW:
        return sim_draw(w, 500, 8 * SIM_MS);
    default:
        return sim_draw(w, 300, 3000);
    }
}

/* A stop that is given up: a PostgreSQL that was told to stop goes on stopping; a Redis goes on. */
static void stop_given_up(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (!db->is_stopping)
        return;
    db->is_stopping = false;
    if (w->plan.kind[service] == SERVICE_POSTGRES && !db->is_suspended)
        sim_server_end(w, service, host, false, false);
}

static void start(struct sim *w, unsigned int service, unsigned int host, const struct sim_op *op)
{
    struct sim_op *cur = &SIM_DB(w, service, host)->op;
    uint32_t life = cur->life + 1;

    stop_given_up(w, service, host);
    *cur = *op;
    cur->life = life;
    cur->until_us = w->now_us + 30 * SIM_S;
    sim_at(w, w->now_us + first_delay_us(w, service, op), EV_OP, service, host, 0, 0, life);
}

void sim_op_ask(struct sim *w, unsigned int service, unsigned int host, const struct core_effect *e)
{
    struct sim_db *db = SIM_DB(w, service, host);
    struct sim_op op;

    if (!SIM_NODE(w, service, host)->is_db) {
        sim_violated(w, "LEGAL", "host %s is no db member and asks for %s", w->host[host].name,
                     core_effect_name(e->type));
        return;
    }
    op_of(w, service, host, e, &op);
    if (db->op.type == DO_SEND) {
        start(w, service, host, &op);
        return;
    }
    if (is_same(&db->op, &op)) {
        db->op.id = op.id;
        db->op.daemon_life = op.daemon_life;
        return;
    }
    if (effect_can_be_given_up(db->op.type))
        start(w, service, host, &op);
    else
        db->next = op;
}

/* ---- the short ones ------------------------------------------------------------------------- */

static int64_t step_start(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->op.step == 1) {
        if (db->run == RUN_STARTING)
            return 4 * SIM_MS;
        return db->run == RUN_STANDBY ? OP_ENDS_WELL : OP_FAILS;
    }
    if (!w->host[host].helper.is_running || !db->has_data || db->is_rebuilding ||
        db->run == RUN_PRIMARY || db->run == RUN_ORPHANS)
        return OP_FAILS;
    sim_server_start(w, service, host);
    db->op.step = 1;
    return 4 * SIM_MS;
}

static int64_t step_promote(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->run == RUN_PRIMARY && db->began_epoch == db->op.epoch)
        return OP_ENDS_WELL;
    if (db->run != RUN_STANDBY || db->is_suspended || db->is_streaming ||
        db->follows != SIM_NOWHERE || db->is_hung)
        return OP_FAILS;
    if (!db->is_final || db->replay_blocked_until_us > w->now_us)
        return 5 * SIM_MS;
    sim_server_promoted(w, service, host, db->op.timeline, db->op.epoch);
    return OP_ENDS_WELL;
}

static int64_t step_follow(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->run != RUN_STANDBY || db->is_suspended || db->is_hung || db->op.host == SIM_NOWHERE)
        return OP_FAILS;
    sim_follow(w, service, host, db->op.host, false);
    return OP_ENDS_WELL;
}

/* It proves that nothing is received any more, and reads all there is. */
static int64_t step_freeze(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (db->run != RUN_STANDBY || db->is_suspended || db->is_hung)
        return OP_FAILS;
    if (db->in_flight > db->end && !db->is_in_full_sync && sim_chance(w, 300000)) {
        db->end = db->flushed = db->in_flight; /* it had arrived already */
        db->branch = sim_branch_at(w, service, db->in_flight_branch, db->end);
        db->began_epoch = w->branch[service][db->branch].epoch;
    }
    sim_follow(w, service, host, SIM_NOWHERE, false);
    return db->is_final ? OP_ENDS_WELL : 2 * SIM_MS;
}

static int64_t step_checkpoint(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (!sim_db_runs(w, service, host))
        return OP_FAILS;
    if (w->plan.kind[service] == SERVICE_REDIS)
        return OP_ENDS_WELL;
    db->flag = db->names.state != NAMES_EMPTY;
    db->is_flag_certain = db->flag;
    sim_release_flushed(w, service, host);
    return OP_ENDS_WELL;
}

static int64_t step_set_names(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    if (!sim_db_runs(w, service, host))
        return OP_FAILS;
    sim_names_set(w, service, host, &db->op.names);
    return OP_ENDS_WELL;
}

static int64_t step(struct sim *w, unsigned int service, unsigned int host)
{
    switch ((int)SIM_DB(w, service, host)->op.type) {
    case DO_START:
        return step_start(w, service, host);
    case DO_STOP:
        return sim_op_stop(w, service, host);
    case DO_PROMOTE:
        return step_promote(w, service, host);
    case DO_FOLLOW:
        return step_follow(w, service, host);
    case DO_FREEZE:
        return step_freeze(w, service, host);
    case DO_FETCH:
        return sim_op_fetch(w, service, host);
    case DO_RESCUE:
        return sim_op_rescue(w, service, host);
    case DO_REWIND:
        return sim_op_rewind(w, service, host);
    case DO_CLONE:
        return sim_op_clone(w, service, host);
    case DO_INIT:
        return sim_op_init(w, service, host);
    case DO_CHECKPOINT:
        return step_checkpoint(w, service, host);
    case DO_SET_NAMES:
        return step_set_names(w, service, host);
    case DO_PROVE:
        return sim_op_prove(w, service, host);
    case DO_MARKER:
        return sim_op_marker(w, service, host);
    default:
        return OP_FAILS;
    }
}

/* ---- how they end --------------------------------------------------------------------------- */

static void ended(struct sim *w, unsigned int service, unsigned int host, bool is_ok)
{
    struct sim_db *db = SIM_DB(w, service, host);
    struct core_event ev;

    if (!is_ok)
        stop_given_up(w, service, host);
    sim_tell(w, TALE_DONE, service, host, 0, (uint32_t)db->op.type, is_ok, db->end, NULL);
    if (db->op.daemon_life == w->host[host].daemon.life && sim_core_is_alive(w, host)) {
        ev.type = ON_DONE;
        ev.done.op = db->op.id;
        ev.done.is_ok = is_ok;
        sim_notice_copy(w, service, host);
        sim_copy_now(w, service, host, &ev.done.copy);
        sim_post(w, service, host, sim_draw(w, 20, 600), &ev);
    }
    db->op.type = DO_SEND;
    db->op.life++;
    if (db->next.type != DO_SEND) {
        struct sim_op next = db->next;

        db->next.type = DO_SEND;
        if (next.daemon_life == w->host[host].daemon.life)
            start(w, service, host, &next);
    }
}

void sim_op_step(struct sim *w, const struct sim_event *e)
{
    struct sim_db *db = SIM_DB(w, e->service, e->host);
    int64_t more_us;

    if (e->life != db->op.life || db->op.type == DO_SEND)
        return;
    more_us = sim_chance(w, w->plan.op_fail_ppm) && db->op.type != DO_FREEZE
                  ? OP_FAILS
                  : step(w, e->service, e->host);
    if (e->life != db->op.life)
        return;
    if (more_us >= 0 && w->now_us < db->op.until_us)
        sim_at(w, w->now_us + more_us, EV_OP, e->service, e->host, 0, 0, e->life);
    else
        ended(w, e->service, e->host, more_us == OP_ENDS_WELL);
}

void sim_op_orphaned(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_db *db = SIM_DB(w, service, host);

    db->next.type = DO_SEND;
    if (db->op.type == DO_SEND || sim_chance(w, 500000))
        return; /* it goes on; nobody hears how it ends */
    stop_given_up(w, service, host);
    db->op.type = DO_SEND;
    db->op.life++;
    if (db->is_fetching)
        sim_follow(w, service, host, SIM_NOWHERE, false);
}
