#include "parts.h"

#include <string.h>

/* ---- how the judge looks at the world ------------------------------------------------------- */

static int64_t eye_now_us(void *world)
{
    return ((struct sim_eyes *)world)->w->now_us;
}

static hm_ms eye_local_ms(void *world, int node)
{
    return sim_local_ms(((struct sim_eyes *)world)->w, (unsigned int)node);
}

static int64_t eye_true_us(void *world, int node, hm_ms local)
{
    return sim_true_us(((struct sim_eyes *)world)->w, (unsigned int)node, local);
}

static const struct core *eye_core(void *world, int node)
{
    const struct sim_eyes *e = world;
    const struct sim_node *n = &e->w->node[e->service][node];

    return n->is_there && sim_core_is_alive(e->w, (unsigned int)node) ? &n->core : NULL;
}

static const struct voter_state *eye_disk(void *world, int node)
{
    const struct sim_eyes *e = world;
    const struct sim_node *n = &e->w->node[e->service][node];

    return n->has_file ? &n->file : NULL;
}

static enum copy_state true_state(const struct sim_db *db)
{
    if (db->is_rebuilding)
        return COPY_REBUILDING;
    if (!db->has_data)
        return COPY_ABSENT;
    switch (db->run) {
    case RUN_DOWN:
        return COPY_DOWN;
    case RUN_ORPHANS:
        return db->was_primary ? COPY_PRIMARY : COPY_STARTING;
    case RUN_STARTING:
        return COPY_STARTING;
    case RUN_STANDBY:
        return COPY_STANDBY;
    case RUN_PRIMARY:
        return COPY_PRIMARY;
    }
    return COPY_UNKNOWN;
}

static void eye_copy(void *world, int node, struct check_copy *ret)
{
    const struct sim_eyes *e = world;
    const struct sim_db *db = &e->w->node[e->service][node].db;

    memset(ret, 0, sizeof *ret);
    ret->state = e->w->node[e->service][node].is_db ? true_state(db) : COPY_UNKNOWN;
    ret->is_suspended = db->is_suspended;
    ret->was_primary = db->was_primary;
    ret->is_forged = db->is_forged;
    ret->is_final = db->is_final || db->run == RUN_PRIMARY;
    ret->is_streaming = db->is_streaming;
    ret->follows = db->follows == SIM_NOWHERE ? HM_NOBODY : db->follows;
    ret->branch = db->branch == SIM_NO_BRANCH ? 0 : db->branch + UINT32_C(1);
    ret->end = db->end;
    ret->flushed = db->flushed;
    ret->copy_id =
        db->is_other_copy ? 0 : db->copy_id; /* no pair names it, whatever it is called */
    ret->server_id = db->server_id;
    ret->began_epoch = db->began_epoch;
    ret->names = db->names.state;
    ret->names_pair = db->names.pair;
}

/* ---- what the judge is told ----------------------------------------------------------------- */

void judge_begin(struct sim *w)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        struct check_eyes eyes = {
            .world = &w->eyes[s],
            .now_us = eye_now_us,
            .local_ms = eye_local_ms,
            .true_us = eye_true_us,
            .core = eye_core,
            .disk = eye_disk,
            .copy = eye_copy,
        };

        w->eyes[s] = (struct sim_eyes){ .w = w, .service = s };
        check_init(&w->check[s], &eyes, w->plan.kind[s], w->hosts_n);
    }
}

void judge_started(struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_node *n = &w->node[service][host];

    check_started(&w->check[service], (int)host, n->has_file ? &n->file : NULL);
}

void judge_stopped(struct sim *w, unsigned int host, bool is_host)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        check_stopped(&w->check[s], (int)host, is_host);
}

void judge_joined(struct sim *w, unsigned int host)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        check_joined(&w->check[s], (int)host, w->host[host].incarnation);
}

void judge_branched(struct sim *w, unsigned int service, uint16_t branch)
{
    const struct sim_branch *b = &w->branch[service][branch];

    check_branched(&w->check[service], branch + UINT32_C(1),
                   b->parent == SIM_NO_BRANCH ? 0 : b->parent + UINT32_C(1), b->fork);
}

void judge_promoted(struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_db *db = &w->node[service][host].db;

    check_promoted(&w->check[service], (int)host, db->branch + UINT32_C(1),
                   w->branch[service][db->branch].epoch);
}

void judge_acknowledged(struct sim *w, unsigned int service, unsigned int host,
                        const struct sim_write *write, bool is_confirmed)
{
    check_acknowledged(&w->check[service], (int)host, write->branch + UINT32_C(1), write->epoch,
                       write->end, write->released_us, is_confirmed);
}

void judge_excused(struct sim *w, unsigned int host, bool is_excused)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        enum fence_mode gate = w->node[s][host].fence.gate_mode;
        bool is_gate_shut_in_time = w->plan.has_gate && gate != FENCE_NONE && gate != FENCE_PAUSED;

        if (!is_excused || !is_gate_shut_in_time)
            check_excused(&w->check[s], (int)host, is_excused);
    }
}

void judge_clocks_stood(struct sim *w, unsigned int host)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        check_clocks_stood(&w->check[s], (int)host);
}

void judge_asked(struct sim *w)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        if (check_failed(&w->check[s]) && !w->is_violated)
            sim_violated(w, check_name(w->check[s].broken), "%s", w->check[s].what);
}
