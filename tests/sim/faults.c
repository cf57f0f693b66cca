#include "parts.h"

#include "faults.h"

#include <string.h>

_Static_assert((int)SIM_FAULTS_N <= (int)SIM_FAULTS_MAX, "the plan has a weight for each kind");

const char *sim_fault_name(unsigned int kind)
{
    static const char *const names[] = {
#define X(name, text, weight) text,
        SIM_FAULTS(X)
#undef X
    };

    return kind < SIM_FAULTS_N ? names[kind] : "?";
}

/* Each run has favourites, so that rare pairs of faults meet often in some. */
void sim_draw_weights(struct sim *w)
{
    static const uint32_t usual[] = {
#define X(name, text, weight) weight,
        SIM_FAULTS(X)
#undef X
    };

    for (unsigned int k = 0; k < SIM_FAULTS_N; k++) {
        int64_t draw = sim_draw(w, 0, 9);

        w->plan.weight[k] = usual[k] * (draw < 3 ? 0 : draw < 8 ? 2 : 8);
    }
    if (w->plan.profile == PROFILE_AIMED)
        w->plan.weight[FAULT_TRAP] = w->plan.weight[FAULT_PATTERN] = 100;
    if (!w->plan.may_pause_clocks)
        w->plan.weight[FAULT_HOST_STOOD] = 0;
}

/* Much shorter than a lease, about a lease, or long. */
static int64_t draw_length(struct sim *w)
{
    int64_t draw = sim_draw(w, 0, 9), ttl_us = w->plan.ttl_ms * 1000;

    if (draw < 3)
        return sim_draw(w, 3 * SIM_MS, 150 * SIM_MS);
    if (draw < 8)
        return sim_draw(w, ttl_us / 4, ttl_us * 2);
    return sim_draw(w, 1 * SIM_S, 8 * SIM_S);
}

/* ---- what must not happen: faults beyond the design --------------------------------------------
 */

/* One voter at a time may lose its disk, and not before the one before has been replaced. */
static bool may_wipe(struct sim *w, unsigned int host)
{
    if (w->plan.db_n + w->plan.witness_n < 3 || w->now_us > w->plan.faults_end_us - 5 * SIM_S ||
        !w->plan.operator_mends)
        return false;
    for (unsigned int s = 0; s < w->plan.services_n; s++) {
        uint8_t holder = sim_holder(w, s);
        const struct record *r;

        if (holder == SIM_NOWHERE || holder == host)
            return false;
        r = core_record(&w->node[s][holder].core);
        if (r->old_voters != 0 || __builtin_popcount(r->voters) < 3)
            return false;
        for (unsigned int h = 0; h < w->hosts_n; h++) {
            if (!w->node[s][h].is_there || !w->host[h].is_member)
                continue;
            if (record_find(r, w->host[h].incarnation) == HM_NOBODY || !w->node[s][h].has_file)
                return false;
        }
    }
    return true;
}

/* ---- faults of hosts and processes ------------------------------------------------------------
 */

static bool hit_process(struct sim *w, enum sim_fault_kind kind, unsigned int h)
{
    switch ((int)kind) {
    case FAULT_HOST_LOST:
    case FAULT_WITNESS_LOST:
        if (!sim_may_lose_server(w, h) || !w->host[h].is_on)
            return false;
        sim_host_lost(w, h);
        return true;
    case FAULT_HOST_PAUSED:
    case FAULT_HOST_STOOD:
        sim_host_pause(w, h, kind == FAULT_HOST_STOOD);
        return w->host[h].is_paused;
    case FAULT_DAEMON_KILLED:
        sim_daemon_kill(w, h);
        return true;
    case FAULT_DAEMON_PAUSED:
        sim_daemon_pause(w, h);
        return true;
    case FAULT_HELPER_KILLED:
        sim_helper_kill(w, h);
        return true;
    case FAULT_HELPER_PAUSED:
        sim_helper_pause(w, h);
        return true;
    default:
        return false;
    }
}

/* ---- network and disks ------------------------------------------------------------------------
 */

static void cut(struct sim *w, unsigned int from, unsigned int to, int by)
{
    if (from != to)
        w->link[from][to].cuts = (uint16_t)(w->link[from][to].cuts + by);
}

static void cut_all(struct sim *w, const struct sim_fault *f, int by)
{
    for (unsigned int x = 0; x < w->hosts_n; x++) {
        if (f->kind != FAULT_DUMB)
            cut(w, x, f->host, by);
        if (f->kind != FAULT_DEAF)
            cut(w, f->host, x, by);
    }
}

static void spoil_links(struct sim *w, int sign)
{
    for (unsigned int a = 0; a < w->hosts_n; a++)
        for (unsigned int b = 0; b < w->hosts_n; b++) {
            struct sim_link *l = &w->link[a][b];

            l->loss_ppm = (uint32_t)((int64_t)l->loss_ppm + sign * 120000);
            l->twice_ppm = (uint32_t)((int64_t)l->twice_ppm + sign * 60000);
            l->jitter_us += sign * 30 * SIM_MS;
        }
}

static bool hit_net_or_disk(struct sim *w, struct sim_fault *f)
{
    struct sim_host *h = &w->host[f->host];

    switch (f->kind) {
    case FAULT_LINK_CUT:
        f->other =
            w->cut_other != SIM_NOWHERE ? w->cut_other : (uint8_t)sim_draw(w, 0, w->hosts_n - 1);
        cut(w, f->host, f->other, 1);
        return true;
    case FAULT_ISOLATED:
    case FAULT_DEAF:
    case FAULT_DUMB:
    case FAULT_BLIP:
        cut_all(w, f, 1);
        return true;
    case FAULT_NET_BAD:
        spoil_links(w, 1);
        return true;
    case FAULT_DISK_SLOW:
        if (h->slow_disk_us != 0)
            return false;
        h->slow_disk_us = sim_chance(w, 300000) ? sim_draw(w, 200 * SIM_MS, 3 * SIM_S)
                                                : sim_draw(w, 5 * SIM_MS, 200 * SIM_MS);
        return true;
    case FAULT_DISK_FULL:
        if (h->is_disk_full)
            return false;
        return h->is_disk_full = true;
    case FAULT_DISK_HUNG:
        if (h->is_disk_hung || h->is_overloaded)
            return false;
        h->sick_us = w->now_us;
        return h->is_disk_hung = true;
    case FAULT_OVERLOADED:
        if (h->is_disk_hung || h->is_overloaded)
            return false;
        h->sick_us = w->now_us;
        return h->is_overloaded = true;
    case FAULT_CLIENT_CUT:
        if (w->client_is_cut[f->host])
            return false;
        return w->client_is_cut[f->host] = true;
    case FAULT_WALL_JUMP:
        h->wall_ms += sim_draw(w, -100000000, 100000000);
        return true;
    default:
        return false;
    }
}

static bool hit_state(struct sim *w, struct sim_fault *f)
{
    if (!may_wipe(w, f->host) || !w->host[f->host].is_on)
        return false;
    if (f->kind == FAULT_STATE_WIPED && sim_chance(w, 500000) && sim_may_lose_server(w, f->host))
        sim_host_lost(w, f->host);
    else
        sim_daemon_kill(w, f->host);
    sim_host_wipe(w, f->host, f->kind == FAULT_STATE_WIPED);
    return true;
}

static bool hit_many(struct sim *w, struct sim_fault *f)
{
    for (unsigned int h = 0; h < w->hosts_n; h++)
        for (unsigned int s = 0; s < w->plan.services_n; s++)
            if (f->kind == FAULT_ALL_LOST && w->plan.kind[s] == SERVICE_REDIS &&
                w->node[s][h].is_db && w->plan.profile != PROFILE_STORY)
                return false; /* then its data is gone for good; a story may tell of that */
    for (unsigned int h = 0; h < w->hosts_n; h++) {
        if (!w->host[h].is_on || !w->host[h].is_member)
            continue;
        if (f->kind == FAULT_ALL_LOST) {
            sim_host_lost(w, h);
            sim_at(w, w->now_us + sim_draw(w, 200 * SIM_MS, 3 * SIM_S), EV_BOOT, 0, h, 0, 0,
                   w->host[h].boots);
        } else {
            sim_daemon_kill(w, h);
            sim_at(w, w->now_us + sim_draw(w, 1 * SIM_MS, 600 * SIM_MS), EV_DAEMON, 0, h, 0, 0,
                   w->host[h].boots);
        }
    }
    return true;
}

/* The operator takes a witness out, and puts it back later. */
static bool remove_witness(struct sim *w, struct sim_fault *f)
{
    if (w->plan.witness_n == 0)
        return false;
    f->host = (uint8_t)(w->plan.db_n + sim_draw(w, 0, w->plan.witness_n - 1));
    if (!w->host[f->host].is_member)
        return false;
    w->host[f->host].is_member = false;
    w->plan.operator_mends = true;
    return true;
}

/* ---- begin and end ----------------------------------------------------------------------------
 */

static uint8_t draw_host(struct sim *w, enum sim_fault_kind kind, unsigned int service)
{
    uint8_t holder = sim_holder(w, service);

    if (kind == FAULT_WITNESS_LOST)
        return w->plan.witness_n == 0
                   ? SIM_NOWHERE
                   : (uint8_t)(w->plan.db_n + sim_draw(w, 0, w->plan.witness_n - 1));
    if ((kind == FAULT_BLIP || sim_chance(w, 400000)) && holder != SIM_NOWHERE)
        return holder;
    return (uint8_t)sim_draw(w, 0, w->hosts_n - 1);
}

static bool hit(struct sim *w, struct sim_fault *f)
{
    switch (f->kind) {
    case FAULT_STATE_WIPED:
    case FAULT_FILE_LOST:
        return hit_state(w, f);
    case FAULT_ALL_LOST:
    case FAULT_ROLLING:
        return hit_many(w, f);
    case FAULT_TRAP:
        sim_trap_arm(w);
        return true;
    case FAULT_FORCE:
        return sim_force_begin(w);
    case FAULT_PATTERN:
        return sim_fault_pattern(w);
    case FAULT_REMOVE_WITNESS:
        return remove_witness(w, f);
    case FAULT_SWITCHOVER:
    case FAULT_CANCEL:
    case FAULT_PAUSE:
    case FAULT_TIMING:
    case FAULT_DURABILITY:
    case FAULT_MEMBER:
        return sim_fault_order(w, (enum sim_fault_kind)f->kind);
    default:
        return hit_process(w, (enum sim_fault_kind)f->kind, f->host) ||
               sim_fault_server(w, (enum sim_fault_kind)f->kind, f->service, f->host) ||
               hit_net_or_disk(w, f);
    }
}

bool sim_fault(struct sim *w, enum sim_fault_kind kind, unsigned int host, int64_t lasts_us)
{
    uint8_t service = (uint8_t)sim_draw(w, 0, w->plan.services_n - 1);
    struct sim_fault f = { .kind = (uint8_t)kind, .service = service };
    unsigned int i = 0;

    while (i < HM_ARRAY_LEN(w->fault) && w->fault[i].kind != FAULT_NONE)
        i++;
    f.host = host == SIM_NOWHERE ? draw_host(w, kind, service) : (uint8_t)host;
    if (i == HM_ARRAY_LEN(w->fault) || f.host == SIM_NOWHERE || !w->host[f.host].is_on)
        return false;
    if (lasts_us == 0)
        lasts_us = draw_length(w);
    sim_tell(w, TALE_FAULT, f.service, f.host, 0, kind, 0, 0, NULL);
    if (!hit(w, &f)) {
        sim_tell(w, TALE_TEXT, f.service, f.host, 0, 0, 0, 0, "(nothing came of it)");
        return false;
    }
    w->stats.faults++;
    w->stats.fault_kinds[kind]++;
    w->fault[i] = f;
    sim_at(w, w->now_us + lasts_us, EV_HEAL, service, SIM_NOWHERE, i, kind, 0);
    sim_clients_hurry(w);
    return true;
}

static void heal_host(struct sim *w, unsigned int h)
{
    uint32_t boots = w->host[h].boots;

    if (w->force.is_on && h != w->force.survivor)
        return; /* it is off until the force is done */
    if (!w->host[h].is_on) {
        sim_at(w, w->now_us, EV_BOOT, 0, h, 0, 0, boots);
        return;
    }
    sim_host_resume(w, h, sim_chance(w, 700000));
    sim_daemon_resume(w, h, sim_chance(w, 850000));
    sim_helper_resume(w, h);
    sim_at(w, w->now_us, EV_FENCE, 0, h, 0, 0, boots);
    sim_at(w, w->now_us, EV_DAEMON, 0, h, 0, 0, boots);
}

static void heal_disk(struct sim_host *h, enum sim_fault_kind kind)
{
    if (kind == FAULT_DISK_SLOW)
        h->slow_disk_us = 0;
    else if (kind == FAULT_DISK_FULL)
        h->is_disk_full = false;
    else if (kind == FAULT_DISK_HUNG)
        h->is_disk_hung = false;
    else
        h->is_overloaded = false;
}

static void heal(struct sim *w, struct sim_fault *f)
{
    struct sim_host *h = &w->host[f->host];

    switch (f->kind) {
    case FAULT_HOST_PAUSED:
    case FAULT_HOST_STOOD:
        sim_host_resume(w, f->host, sim_chance(w, 700000));
        break;
    case FAULT_DAEMON_PAUSED:
        sim_daemon_resume(w, f->host, sim_chance(w, 850000));
        break;
    case FAULT_HELPER_PAUSED:
        sim_helper_resume(w, f->host);
        break;
    case FAULT_SERVER_HUNG:
        sim_server_hang(w, f->service, f->host, false);
        break;
    case FAULT_LINK_CUT:
        cut(w, f->host, f->other, -1);
        break;
    case FAULT_ISOLATED:
    case FAULT_DEAF:
    case FAULT_DUMB:
    case FAULT_BLIP:
        cut_all(w, f, -1);
        break;
    case FAULT_NET_BAD:
        spoil_links(w, -1);
        break;
    case FAULT_DISK_SLOW:
    case FAULT_DISK_FULL:
    case FAULT_DISK_HUNG:
    case FAULT_OVERLOADED:
        heal_disk(h, f->kind);
        break;
    case FAULT_CLIENT_CUT:
        w->client_is_cut[f->host] = false;
        break;
    case FAULT_REMOVE_WITNESS:
        h->is_member = true;
        break;
    case FAULT_PAUSE:
        sim_fault_order_heal(w, f);
        break;
    case FAULT_HOST_LOST:
    case FAULT_WITNESS_LOST:
    case FAULT_DAEMON_KILLED:
    case FAULT_HELPER_KILLED:
    case FAULT_STATE_WIPED:
    case FAULT_FILE_LOST:
    case FAULT_FORGED:
        heal_host(w, f->host);
        break;
    default:
        break;
    }
    f->kind = FAULT_NONE;
}

void sim_fault_heal(struct sim *w, const struct sim_event *e)
{
    struct sim_fault *f = &w->fault[e->a];

    if (f->kind == FAULT_NONE || f->kind != e->b)
        return;
    if (f->kind < FAULT_WALL_JUMP)
        sim_tell(w, TALE_HEAL, f->service, f->host, 0, f->kind, 0, 0, NULL);
    sim_clients_hurry(w);
    heal(w, f);
}

void sim_faults_end(struct sim *w)
{
    for (unsigned int i = 0; i < HM_ARRAY_LEN(w->fault); i++)
        if (w->fault[i].kind != FAULT_NONE && w->fault[i].kind != FAULT_FORCE)
            heal(w, &w->fault[i]);
}

void sim_heal_all(struct sim *w)
{
    sim_calm_end(w);
    sim_faults_end(w);
    w->trap.kind = TRAP_NONE;
    w->plan.persist_fail_ppm = w->plan.op_fail_ppm = 0;
    for (unsigned int h = 0; h < w->hosts_n; h++) {
        heal_host(w, h);
        for (unsigned int x = 0; x < w->hosts_n; x++)
            w->link[h][x].loss_ppm = 0;
        for (unsigned int s = 0; s < w->plan.services_n; s++) {
            SIM_DB(w, s, h)->replay_blocked_until_us = 0;
            w->operator[s].wants_pause = false;
        }
    }
}

void sim_fault_next(struct sim *w)
{
    uint32_t sum = 0;
    int64_t draw;

    if (w->is_healing)
        return;
    if (w->force.is_on) { /* enough for the moment */
        sim_at(w, w->now_us + 500 * SIM_MS, EV_FAULT, 0, SIM_NOWHERE, 0, 0, 0);
        return;
    }
    if (w->plan.profile <= PROFILE_SAFE) {
        sim_calm_next(w);
        return;
    }
    sim_at(w, w->now_us + sim_draw(w, w->plan.fault_gap_us / 4, w->plan.fault_gap_us * 7 / 4),
           EV_FAULT, 0, SIM_NOWHERE, 0, 0, 0);
    if (w->now_us < 3 * SIM_S && w->plan.profile != PROFILE_HARSH)
        return; /* let it begin in peace, mostly */
    for (unsigned int k = 0; k < SIM_FAULTS_N; k++)
        sum += w->plan.weight[k];
    if (sum == 0)
        return;
    draw = sim_draw(w, 0, (int64_t)sum - 1);
    for (unsigned int k = 0; k < SIM_FAULTS_N; k++) {
        draw -= w->plan.weight[k];
        if (draw < 0) {
            (void)sim_fault(w, (enum sim_fault_kind)k, SIM_NOWHERE, 0);
            return;
        }
    }
}
