#include "parts.h"

#include <string.h>

/* ---- clocks --------------------------------------------------------------------------------- */

int64_t sim_local_us(const struct sim *w, unsigned int host)
{
    const struct sim_clock *c = &w->host[host].clock;
    int64_t passed_us = w->now_us - c->since_us;

    return c->is_stopped ? c->local_us : c->local_us + passed_us + passed_us * c->ppm / 1000000;
}

/* Floor, for times before the boot, too. */
hm_ms sim_local_ms(const struct sim *w, unsigned int host)
{
    return sim_local_us(w, host) / 1000;
}

/* Beyond every run, and small enough to be multiplied. */
#define FAR_MS INT64_C(10000000000)

int64_t sim_true_us(const struct sim *w, unsigned int host, hm_ms local_ms)
{
    const struct sim_clock *c = &w->host[host].clock;
    int64_t ahead_us, us;

    if (local_ms >= FAR_MS || c->is_stopped)
        return SIM_NEVER;
    if (local_ms <= -FAR_MS)
        return INT64_MIN / 2;
    ahead_us = local_ms * 1000 - c->local_us;
    us = ahead_us - ahead_us * c->ppm / (1000000 + c->ppm);
    /* The first microsecond at which the clock shows it. */
    while (us + us * c->ppm / 1000000 < ahead_us)
        us++;
    while (us > 0 && us - 1 + (us - 1) * c->ppm / 1000000 >= ahead_us)
        us--;
    return c->since_us + us;
}

void sim_clock_set(struct sim *w, unsigned int host, int64_t local_us, int32_t ppm)
{
    w->host[host].clock = (struct sim_clock){
        .since_us = w->now_us,
        .local_us = local_us,
        .ppm = ppm,
    };
}

/* ---- hamgrd --------------------------------------------------------------------------------- */

bool sim_core_is_alive(const struct sim *w, unsigned int host)
{
    return w->host[host].is_on && w->host[host].daemon.is_running;
}

uint8_t sim_find_host(const struct sim *w, uint64_t incarnation)
{
    for (unsigned int h = 0; h < w->hosts_n; h++)
        if (w->host[h].incarnation == incarnation && incarnation != 0)
            return (uint8_t)h;
    return SIM_NOWHERE;
}

/* A state directory is made by the first start that finds none. */
static void make_state_directory(struct sim *w, unsigned int host)
{
    struct sim_host *h = &w->host[host];

    h->incarnation = prng_next(&w->prng) >> 8 | 1;
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        struct sim_node *n = &w->node[s][host];

        memset(&n->file, 0, sizeof n->file);
        n->file.incarnation = h->incarnation;
        n->durable = n->file;
        n->has_file = true;
        n->is_writing = false;
    }
    judge_joined(w, host);
}

void sim_daemon_start(struct sim *w, unsigned int host)
{
    struct sim_host *h = &w->host[host];

    if (!h->is_on || h->daemon.is_running || !w->node[0][host].is_there)
        return; /* a spare host has no hamgrd before it is to be a member */
    if (h->incarnation == 0)
        make_state_directory(w, host);
    h->daemon.is_running = true;
    h->daemon.is_paused = false;
    h->daemon.life++;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "hamgrd starts");
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        if (w->node[s][host].is_there)
            sim_node_start(w, s, host);
}

void sim_daemon_kill(struct sim *w, unsigned int host)
{
    struct sim_host *h = &w->host[host];

    if (!h->daemon.is_running)
        return;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "hamgrd ends");
    h->daemon.is_running = false;
    h->daemon.is_paused = false;
    h->daemon.life++;
    judge_stopped(w, host, false);
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        sim_write_torn(w, s, host);
        sim_op_orphaned(w, s, host);
        if (w->operator[s].is_waiting && w->operator[s].asked == host)
            w->operator[s].is_waiting = false;
    }
}

void sim_daemon_pause(struct sim *w, unsigned int host)
{
    struct sim_process *p = &w->host[host].daemon;

    if (!p->is_running || p->is_paused)
        return;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "hamgrd stands still");
    p->is_paused = true;
    p->paused_us = w->now_us;
}

static void notice_stall(struct sim *w, unsigned int host)
{
    struct core_event ev = { .type = ON_STALL };

    for (unsigned int s = 0; s < w->plan.services_n; s++)
        if (w->node[s][host].is_there)
            sim_feed(w, s, host, &ev);
}

void sim_daemon_resume(struct sim *w, unsigned int host, bool is_noticed)
{
    struct sim_process *p = &w->host[host].daemon;

    if (!p->is_running || !p->is_paused)
        return;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "hamgrd goes on");
    p->is_paused = false;
    if (w->host[host].is_paused)
        return;
    if (is_noticed && w->now_us - p->paused_us > 50 * SIM_MS)
        notice_stall(w, host);
    sim_undefer(w, host);
}

/* ---- hamgr-fence ---------------------------------------------------------------------------- */

void sim_helper_kill(struct sim *w, unsigned int host)
{
    struct sim_process *p = &w->host[host].helper;

    if (!p->is_running)
        return;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "hamgr-fence ends");
    p->is_running = false;
    p->is_paused = false;
    p->life++;
    judge_excused(w, host, true);
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        if (sim_chance(w, 100000))
            w->node[s][host].fence.file_is_valid = false;
}

void sim_helper_start(struct sim *w, unsigned int host)
{
    struct sim_process *p = &w->host[host].helper;

    if (!w->host[host].is_on || p->is_running)
        return;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "hamgr-fence starts");
    p->is_running = true;
    p->is_paused = false;
    p->life++;
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        if (w->node[s][host].is_db)
            sim_fence_back(w, s, host);
    sim_at(w, w->now_us + 20 * SIM_MS, EV_EXCUSED, 0, host, 0, 0, p->life);
}

void sim_helper_pause(struct sim *w, unsigned int host)
{
    struct sim_process *p = &w->host[host].helper;

    if (!p->is_running || p->is_paused)
        return;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "hamgr-fence stands still");
    p->is_paused = true;
    judge_excused(w, host, true);
}

void sim_helper_resume(struct sim *w, unsigned int host)
{
    struct sim_process *p = &w->host[host].helper;

    if (!p->is_running || !p->is_paused)
        return;
    p->is_paused = false;
    sim_undefer(w, host);
    sim_at(w, w->now_us + 20 * SIM_MS, EV_EXCUSED, 0, host, 0, 0, p->life);
}

/* ---- whole machines ------------------------------------------------------------------------- */

void sim_host_boot(struct sim *w, unsigned int host)
{
    struct sim_host *h = &w->host[host];
    bool starts_server = sim_chance(w, 300000);

    if (h->is_on)
        return;
    h->is_on = true;
    h->is_paused = false;
    h->boots++;
    sim_clock_set(w, host, sim_draw(w, 1 * SIM_S, 15 * SIM_S), h->clock.ppm);
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "the host boots");
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        sim_fence_boot(w, s, host);
        /* The unit is enabled: it comes up as a standby that follows nobody. */
        if (starts_server && w->node[s][host].is_db && !w->node[s][host].db.is_forged)
            sim_server_start(w, s, host);
    }
    sim_at(w, w->now_us + sim_draw(w, 100, 50 * SIM_MS), EV_FENCE, 0, host, 0, 0, h->boots);
    sim_at(w, w->now_us + sim_draw(w, 20 * SIM_MS, 400 * SIM_MS), EV_DAEMON, 0, host, 0, 0,
           h->boots);
}

void sim_host_lost(struct sim *w, unsigned int host)
{
    struct sim_host *h = &w->host[host];

    if (!h->is_on)
        return;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "the host loses power");
    judge_stopped(w, host, true);
    h->is_on = false;
    h->is_paused = false;
    h->clock.local_us = sim_local_us(w, host);
    h->clock.since_us = w->now_us;
    h->clock.is_stopped = false;
    h->daemon.is_running = h->daemon.is_paused = false;
    h->daemon.life++;
    h->helper.is_running = h->helper.is_paused = false;
    h->helper.life++;
    for (uint32_t i = 0; i < h->deferred_n; i++)
        if (w->deferred[host][i].type == EV_POST)
            sim_post_free(w, (uint16_t)w->deferred[host][i].a);
    h->deferred_n = 0;
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        struct sim_node *n = &w->node[s][host];

        sim_write_torn(w, s, host);
        sim_op_orphaned(w, s, host);
        n->db.op.type = n->db.next.type = DO_SEND;
        n->db.op.life++;
        if (n->is_db)
            sim_server_end(w, s, host, true, false);
        n->db.queued_head = n->db.queued_tail;
        sim_fence_boot(w, s, host);
        if (w->operator[s].asked == host)
            w->operator[s].is_waiting = false;
    }
    judge_excused(w, host, false);
}

void sim_host_pause(struct sim *w, unsigned int host, bool with_clocks)
{
    struct sim_host *h = &w->host[host];

    if (!h->is_on || h->is_paused)
        return;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0,
             with_clocks ? "the host stands still with its clocks" : "the host stands still");
    h->is_paused = true;
    h->paused_us = w->now_us;
    if (with_clocks) {
        h->clock.local_us = sim_local_us(w, host);
        h->clock.is_stopped = true;
    } else {
        judge_excused(w, host, true);
    }
}

void sim_host_resume(struct sim *w, unsigned int host, bool is_noticed)
{
    struct sim_host *h = &w->host[host];
    int64_t paused_us = w->now_us - h->paused_us;

    if (!h->is_on || !h->is_paused)
        return;
    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0, "the host goes on");
    h->is_paused = false;
    if (h->clock.is_stopped) {
        h->clock.is_stopped = false;
        h->clock.since_us = w->now_us;
        h->stopped_us += paused_us;
        h->clocks_resumed_us = w->now_us;
        judge_clocks_stood(w, host);
    }
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        /* The helper compares clocks, if one of them went on. */
        if (is_noticed && h->helper.is_running && !h->helper.is_paused &&
            w->node[s][host].fence.mode == FENCE_LEASE)
            sim_suspend_soon(w, s, host);
        w->node[s][host].tick_us = SIM_NEVER;
        w->node[s][host].fence.timer_us = SIM_NEVER;
    }
    if (is_noticed && paused_us > 50 * SIM_MS && h->daemon.is_running && !h->daemon.is_paused)
        notice_stall(w, host);
    sim_undefer(w, host);
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        if (h->daemon.is_running && w->node[s][host].is_there)
            sim_arm(w, s, host);
        if (w->node[s][host].is_db)
            sim_at(w, w->now_us, EV_HELPER_TIME, s, host, 0, 0, h->helper.life);
        if (w->node[s][host].is_db)
            sim_server_goes_on(w, s, host);
    }
    sim_at(w, w->now_us + 20 * SIM_MS, EV_EXCUSED, 0, host, 0, 0, h->helper.life);
}

void sim_host_wipe(struct sim *w, unsigned int host, bool is_all)
{
    struct sim_host *h = &w->host[host];

    sim_tell(w, TALE_TEXT, 0, host, 0, 0, 0, 0,
             is_all ? "the state directory is lost" : "the voter's file is lost");
    if (is_all)
        h->incarnation = 0;
    h->was_wiped = true;
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        w->node[s][host].has_file = false;
}
