#include "parts.h"

#include "faults.h"

#include <stdio.h>
#include <string.h>

/* Everything about a run that is drawn once: the cluster, its timing, its hosts, its network. */

static void draw_shape(struct sim *w)
{
    static const struct {
        uint8_t chance, db, witness, spare;
    } shapes[] = {
        { 34, 2, 1, 0 }, { 21, 3, 0, 0 }, { 17, 3, 2, 0 }, { 6, 2, 2, 0 }, { 5, 2, 1, 1 },
        { 5, 1, 0, 2 },  { 4, 3, 1, 0 },  { 4, 3, 0, 1 },  { 4, 5, 0, 0 },
    };
    int64_t draw = sim_draw(w, 0, 99);

    for (size_t i = 0; i < HM_ARRAY_LEN(shapes); i++) {
        w->plan.db_n = shapes[i].db;
        w->plan.witness_n = shapes[i].witness;
        w->plan.spare_n = shapes[i].spare;
        draw -= shapes[i].chance;
        if (draw < 0)
            return;
    }
}

static void draw_services(struct sim *w)
{
    int64_t draw = sim_draw(w, 0, 99);

    w->plan.services_n = draw < 80 ? 1 : 2;
    w->plan.kind[0] = draw < 60 || draw >= 80 ? SERVICE_POSTGRES : SERVICE_REDIS;
    w->plan.kind[1] = SERVICE_REDIS;
}

static void draw_timing(struct sim *w)
{
    struct sim_plan *p = &w->plan;
    int64_t draw = sim_draw(w, 0, 99);

    if (draw < 40) {
        p->timing = 0;
        p->ttl_ms = 1500;
        p->heartbeat_ms = 250;
    } else if (draw < 75) {
        p->timing = 1;
        p->ttl_ms = 600;
        p->heartbeat_ms = 100;
    } else {
        p->timing = 2;
        p->ttl_ms = sim_draw(w, 4, 30) * 100;
        p->heartbeat_ms = p->ttl_ms / sim_draw(w, 5, 8);
    }
    p->stall_timeout_ms = p->ttl_ms * sim_draw(w, 1, 4);
    p->crash_wait_ms = sim_draw(w, 1, 20) * 100;
    p->freeze_timeout_ms = p->heartbeat_ms * sim_draw(w, 1, 3);
    p->rescue_timeout_ms = p->heartbeat_ms * sim_draw(w, 0, 8);
    p->rescue_bytes = 1u << sim_draw(w, 12, 24);
}

static void draw_durability(struct sim *w)
{
    struct sim_plan *p = &w->plan;
    int64_t draw = sim_draw(w, 0, 99);

    p->sync_standbys = 1;
    p->max_lag_bytes = 1u << sim_draw(w, 16, 24);
    if (draw < 35) {
        p->durability = DURABILITY_ASYNC;
    } else if (draw < 80 || p->db_n == 1) { /* strict acknowledges nothing without a standby */
        p->durability = DURABILITY_SYNC;
        if (p->db_n == 3 && sim_chance(w, 250000))
            p->sync_standbys = 2;
    } else {
        p->durability = DURABILITY_STRICT;
        if (p->db_n == 3 && sim_chance(w, 150000))
            p->sync_standbys = 2;
    }
}

static void draw_profile(struct sim *w)
{
    struct sim_plan *p = &w->plan;
    int64_t draw = sim_draw(w, 0, 99);

    p->profile = draw < 8    ? PROFILE_CALM
                 : draw < 14 ? PROFILE_SAFE
                 : draw < 52 ? PROFILE_MIXED
                 : draw < 72 ? PROFILE_HARSH
                             : PROFILE_AIMED;
    switch (p->profile) {
    case PROFILE_CALM:
    case PROFILE_SAFE:
    case PROFILE_STORY:
    case PROFILES:
        p->fault_gap_us = 1 * SIM_S;
        break;
    case PROFILE_MIXED:
        p->fault_gap_us = sim_draw(w, 800, 4000) * SIM_MS;
        break;
    case PROFILE_HARSH:
        p->fault_gap_us = sim_draw(w, 150, 1200) * SIM_MS;
        break;
    case PROFILE_AIMED:
        p->fault_gap_us = sim_draw(w, 400, 2500) * SIM_MS;
        break;
    }
}

void sim_draw_plan(struct sim *w)
{
    struct sim_plan *p = &w->plan;

    draw_profile(w);
    draw_shape(w);
    draw_services(w);
    draw_timing(w);
    draw_durability(w);
    p->has_gate = sim_chance(w, 600000);
    p->is_adopted = p->db_n > 1 && sim_chance(w, 650000);
    p->may_pause_clocks = sim_chance(w, 500000);
    p->may_drop_flag = sim_chance(w, 150000);
    p->has_orphans = sim_chance(w, 500000);
    p->operator_mends = sim_chance(w, 600000);
    p->sender_us = sim_chance(w, 250000) ? 400 * SIM_MS : 30 * SIM_MS;
    p->checkpointer_us = sim_chance(w, 200000) ? 80 * SIM_MS : 15 * SIM_MS;
    p->redis_saves_ppm = sim_chance(w, 500000) ? 800000 : 0;
    p->probe_late_us = sim_chance(w, 300000) ? 300 * SIM_MS : 10 * SIM_MS;
    p->freeze_us = p->profile >= PROFILE_MIXED && sim_chance(w, 100000)
                       ? sim_draw(w, 100 * SIM_MS, 1500 * SIM_MS)
                       : 20 * SIM_MS;
    p->stream_timeout_us = sim_draw(w, 600, 4000) * SIM_MS;
    p->persist_fail_ppm = p->profile >= PROFILE_HARSH && sim_chance(w, 150000) ? 10000 : 0;
    if (p->profile == PROFILE_CALM) { /* usual servers: these are measured */
        p->sender_us = 30 * SIM_MS;
        p->rescue_timeout_ms = 1000;
        p->rescue_bytes = 64u << 20;
    }
    if (p->profile == PROFILE_CALM && p->durability == DURABILITY_STRICT &&
        p->sync_standbys + 1 >= p->db_n)
        p->durability = DURABILITY_SYNC; /* else there is nothing to measure */
    p->op_fail_ppm = p->profile >= PROFILE_MIXED && sim_chance(w, 250000) ? 150000 : 0;
    p->faults_end_us = sim_draw(w, 54, 62) * SIM_S;
    p->converged_by_us = p->faults_end_us + sim_draw(w, 45, 60) * SIM_S;
    sim_draw_weights(w);
}

/* ---- the world of the plan ------------------------------------------------------------------ */

static void draw_links(struct sim *w)
{
    bool is_calm = w->plan.profile <= PROFILE_SAFE || w->plan.profile == PROFILE_STORY;
    int64_t delay_us = sim_chance(w, 800000) || is_calm ? sim_draw(w, 50, 1000)
                                                        : sim_draw(w, 1 * SIM_MS, 15 * SIM_MS);
    bool is_ordered = is_calm || sim_chance(w, 400000);
    uint32_t loss_ppm = is_calm || sim_chance(w, 400000) ? 0 : (uint32_t)sim_draw(w, 100, 30000);
    uint32_t twice_ppm = is_calm || sim_chance(w, 400000) ? 0 : (uint32_t)sim_draw(w, 1000, 250000);

    if (delay_us > w->plan.heartbeat_ms * 1000 / 12)
        delay_us = w->plan.heartbeat_ms * 1000 / 12;
    for (unsigned int a = 0; a < w->hosts_n; a++)
        for (unsigned int b = 0; b < w->hosts_n; b++)
            w->link[a][b] = (struct sim_link){
                .delay_us = delay_us / 2 + sim_draw(w, 0, delay_us),
                .jitter_us = delay_us / 2 + 20,
                .loss_ppm = loss_ppm,
                .twice_ppm = twice_ppm,
                .late_ppm = 200000,
                .is_ordered = is_ordered,
            };
    if (is_calm || sim_chance(w, 700000))
        return;
    /* One direction is slow: answers come after the next request has left. */
    for (unsigned int n = 0; n < 2; n++) {
        unsigned int a = (unsigned int)sim_draw(w, 0, w->hosts_n - 1);

        for (unsigned int b = 0; b < w->hosts_n; b++)
            if (n == 0 || sim_chance(w, 300000))
                w->link[a][b].delay_us += sim_draw(w, 0, w->plan.heartbeat_ms * 500);
    }
}

static void draw_host(struct sim *w, unsigned int h)
{
    struct sim_host *host = &w->host[h];
    const struct sim_plan *p = &w->plan;
    bool is_witness = h >= p->db_n && h < p->db_n + p->witness_n;

    host->role = is_witness ? ROLE_WITNESS : ROLE_DB;
    if (h < (unsigned int)(p->db_n + p->witness_n))
        (void)snprintf(host->name, sizeof host->name, is_witness ? "w%u" : "db%u",
                       is_witness ? h - p->db_n + 1 : h + 1);
    else
        (void)snprintf(host->name, sizeof host->name, "db%u", h - p->witness_n + 1);
    host->is_on = true;
    host->is_member = true;
    host->boots = 1;
    host->clocks_resumed_us = -1;
    host->helper.is_running = true;
    host->helper.life = 1;
    host->write_us = sim_draw(w, 100, 3000);
    host->fsync_us = sim_draw(w, 150, 3000);
    host->wall_ms = sim_draw(w, 0, 1000000000);
    sim_clock_set(w, h, sim_draw(w, 5 * SIM_S, 100000 * SIM_S),
                  sim_chance(w, 300000) ? (sim_chance(w, 500000) ? 10000 : -10000)
                                        : (int32_t)sim_draw(w, -10000, 10000));
    if (p->profile != PROFILE_STORY)
        w->plan.is_nofailover[h] =
            p->profile >= PROFILE_MIXED && h == 2 && p->db_n >= 3 && sim_chance(w, 150000);
    w->plan.priority[h] = sim_chance(w, 200000) ? (int16_t)sim_draw(w, -10, 10) : 0;
}

/* Servers that ran before hamgr came: a primary on the first host, standbys that follow it. */
static void adopt(struct sim *w, unsigned int s, unsigned int h, uint16_t branch)
{
    struct sim_db *db = SIM_DB(w, s, h);
    struct sim_fence *f = &w->node[s][h].fence;

    db->has_data = true;
    db->branch = branch;
    db->end = db->flushed = 1000000;
    w->branch[s][branch].end = db->end;
    db->copy_id = ++w->unique;
    db->server_id = ++w->unique;
    db->system_id = w->branch[s][branch].system_id;
    db->life = 1;
    db->is_final = true;
    f->gate_is_open = true;
    if (h == 0) {
        db->run = RUN_PRIMARY;
        db->was_primary = db->has_written = true;
        db->names.state = NAMES_EMPTY;
        return;
    }
    db->run = RUN_STANDBY;
    db->names.state = w->plan.may_drop_flag ? NAMES_EMPTY : NAMES_NOBODY;
    db->flag = db->is_flag_certain = db->names.state == NAMES_NOBODY;
    if (w->plan.kind[s] == SERVICE_REDIS)
        db->flag = false;
    db->follows = 0;
    sim_at(w, 1000, EV_CONNECT, s, h, 0, 0, db->stream_life);
}

static void empty_copy(struct sim *w, unsigned int s, unsigned int h)
{
    struct sim_db *db = SIM_DB(w, s, h);

    if (w->plan.kind[s] == SERVICE_POSTGRES)
        return;
    db->has_data = true; /* Redis needs nothing to begin with */
    db->branch = sim_branch_new(w, s, h, SIM_NO_BRANCH, 0, prng_next(&w->prng) >> 1 | 1, 0, 0);
    db->copy_id = ++w->unique;
}

static void draw_service(struct sim *w, unsigned int s)
{
    const struct sim_plan *p = &w->plan;
    uint16_t branch = SIM_NO_BRANCH;

    w->client[s].next_id = 1;
    w->client[s].gap_from_us = -1;
    w->operator[s].asked = SIM_NOWHERE;
    if (p->is_adopted)
        branch = sim_branch_new(w, s, 0, SIM_NO_BRANCH, 0, 1, 0,
                                p->kind[s] == SERVICE_REDIS ? 0 : ++w->unique);
    for (unsigned int h = 0; h < w->hosts_n; h++) {
        struct sim_node *n = &w->node[s][h];

        n->is_db = w->host[h].role == ROLE_DB;
        n->is_there = h < (unsigned int)(p->db_n + p->witness_n);
        n->db.branch = n->db.snapshot_branch = SIM_NO_BRANCH;
        n->db.follows = SIM_NOWHERE;
        sim_fence_boot(w, s, h);
        if (!n->is_db)
            continue;
        if (p->is_adopted && n->is_there)
            adopt(w, s, h, branch);
        else
            empty_copy(w, s, h);
    }
    sim_at(w, sim_draw(w, 0, 100 * SIM_MS), EV_CLIENT, s, SIM_NOWHERE, 0, 0, 0);
    sim_at(w, 1 * SIM_S, EV_OPERATOR, s, SIM_NOWHERE, 0, 0, 0);
}

void sim_draw_world(struct sim *w)
{
    const struct sim_plan *p = &w->plan;

    w->cluster = prng_next(&w->prng) | 1;
    w->unique = 1000;
    w->hosts_n = (uint8_t)(p->db_n + p->witness_n + p->spare_n);
    for (unsigned int h = 0; h < w->hosts_n; h++)
        draw_host(w, h);
    draw_links(w);
    judge_begin(w);
    for (unsigned int s = 0; s < p->services_n; s++)
        draw_service(w, s);
    for (unsigned int h = 0; h < w->hosts_n; h++) {
        if (h >= (unsigned int)(p->db_n + p->witness_n)) {
            w->host[h].is_member = false; /* joins later */
            continue;
        }
        sim_at(w, sim_draw(w, 0, 500 * SIM_MS), EV_DAEMON, 0, h, 0, 0, w->host[h].boots);
    }
}
