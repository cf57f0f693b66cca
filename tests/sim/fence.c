#include "parts.h"

/* hamgr-fence of each host, and the kernel's gate, which needs no process at all. */

bool sim_gate_is_open(const struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_fence *f = &w->node[service][host].fence;

    if (!w->plan.has_gate)
        return true;
    switch (f->gate_mode) {
    case FENCE_LEASE:
        return f->gate_is_open && sim_local_ms(w, host) < f->gate_until_ms - 2;
    case FENCE_STANDBY:
    case FENCE_PAUSED:
        return true;
    case FENCE_SUSPENDED:
        return false;
    case FENCE_NONE:
        return f->gate_is_open;
    }
    return false;
}

bool sim_gate_lets_members(const struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_fence *f = &w->node[service][host].fence;

    if (!w->plan.has_gate)
        return true;
    return f->gate_mode == FENCE_LEASE ? sim_local_ms(w, host) < f->gate_until_ms - 2
                                       : f->gate_mode != FENCE_SUSPENDED;
}

void sim_verb(struct sim *w, unsigned int service, unsigned int host, enum sim_verb verb,
              const struct core_effect *e)
{
    struct sim_fence *f = &w->node[service][host].fence;
    struct sim_event ev = {
        .at_us = w->now_us + sim_draw(w, 50, 500),
        .type = EV_HELPER,
        .service = (uint8_t)service,
        .host = (uint8_t)host,
        .a = (uint32_t)verb,
        .life = w->host[host].helper.life,
    };

    if (!w->host[host].helper.is_running || !w->node[service][host].is_db)
        return;
    if (ev.at_us <= f->verb_us)
        ev.at_us = f->verb_us + 1;
    f->verb_us = ev.at_us;
    if (e != NULL) {
        ev.a |= (uint32_t)e->fence.mode << 8 | (uint32_t)e->fence.is_gate_open << 16;
        ev.b = (uint64_t)e->fence.until_ms;
        ev.c = e->fence.suspend_ms;
    }
    sim_push(w, &ev);
}

void sim_suspend_soon(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_node *n = &w->node[service][host];

    if (n->fence.is_thawing)
        n->fence.life++; /* the newest word counts: what went on is stopped again */
    n->fence.is_thawing = false;
    if (n->db.run == RUN_DOWN || n->db.is_suspended || n->fence.is_suspending)
        return;
    n->fence.is_suspending = true;
    sim_tell(w, TALE_FENCE, service, host, FENCE_SUSPENDED, 0, 0, 0, "suspends");
    sim_at(w, w->now_us + sim_draw(w, 1000, 3000), EV_SUSPENDED, service, host, 0, 0,
           n->fence.life);
}

bool sim_fence_is_overdue(const struct sim *w, unsigned int service, unsigned int host)
{
    const struct sim_fence *f = &w->node[service][host].fence;

    return f->mode == FENCE_SUSPENDED ||
           (f->mode == FENCE_LEASE && sim_local_ms(w, host) >= f->suspend_ms);
}

/* What the helper's mode asks for now; with a lease that is to look again later. */
static void enforce(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_fence *f = &w->node[service][host].fence;
    int64_t at_us;

    if (sim_fence_is_overdue(w, service, host)) {
        sim_suspend_soon(w, service, host);
        return;
    }
    if (f->mode != FENCE_LEASE || w->host[host].clock.is_stopped)
        return;
    at_us = sim_true_us(w, host, f->suspend_ms) + sim_draw(w, 20, 300);
    if (f->timer_us >= w->now_us && f->timer_us <= at_us)
        return;
    f->timer_us = at_us;
    sim_at(w, at_us, EV_HELPER_TIME, service, host, 0, 0, w->host[host].helper.life);
}

static void take_mode(struct sim *w, const struct sim_event *e)
{
    struct sim_fence *f = &w->node[e->service][e->host].fence;
    enum fence_mode mode = (enum fence_mode)(e->a >> 8 & 255);
    bool was_open = sim_gate_is_open(w, e->service, e->host);
    bool is_news = f->mode != mode || f->is_gate_open != (e->a >> 16 & 1);

    if (mode == FENCE_STANDBY && f->mode != FENCE_STANDBY)
        w->node[e->service][e->host].db.queued_head = w->node[e->service][e->host].db.queued_tail;
    f->mode = f->gate_mode = mode;
    f->suspend_ms = e->c;
    f->until_ms = f->gate_until_ms = (hm_ms)e->b;
    f->is_gate_open = f->gate_is_open = e->a >> 16 & 1;
    f->file_is_valid = true;
    enforce(w, e->service, e->host);
    if (!was_open)
        sim_gate_opened(w, e->service, e->host);
    if (is_news || mode == FENCE_SUSPENDED) {
        sim_tell(w, TALE_FENCE, e->service, e->host, mode, f->is_gate_open, 0, 0, "mode");
        sim_changed(w, e->service, e->host);
    }
}

static void thaw(struct sim *w, const struct sim_event *e)
{
    struct sim_node *n = &w->node[e->service][e->host];

    if (n->fence.mode == FENCE_NONE || sim_fence_is_overdue(w, e->service, e->host))
        return; /* the helper refuses what its own deadline forbids */
    if (!n->db.is_suspended && !n->fence.is_suspending)
        return;
    n->fence.is_suspending = false;
    n->fence.is_thawing = true;
    n->fence.life++;
    sim_at(w, w->now_us + sim_draw(w, 100, 1000), EV_THAWED, e->service, e->host, 0, 0,
           n->fence.life);
}

void sim_helper_takes(struct sim *w, const struct sim_event *e)
{
    switch ((enum sim_verb)(e->a & 255)) {
    case VERB_FENCE:
        take_mode(w, e);
        break;
    case VERB_THAW:
        thaw(w, e);
        break;
    case VERB_KILL:
        sim_at(w, w->now_us + sim_draw(w, 1000, 5000), EV_KILLED, e->service, e->host, 1, 0,
               w->node[e->service][e->host].db.life);
        break;
    case VERB_REAP:
        sim_at(w, w->now_us + sim_draw(w, 1000, 5000), EV_KILLED, e->service, e->host, 0, 0,
               w->node[e->service][e->host].db.life);
        break;
    }
}

void sim_helper_time(struct sim *w, const struct sim_event *e)
{
    struct sim_fence *f = &w->node[e->service][e->host].fence;

    if (e->at_us >= f->timer_us)
        f->timer_us = SIM_NEVER;
    if (f->mode == FENCE_LEASE)
        enforce(w, e->service, e->host);
}

void sim_suspended(struct sim *w, const struct sim_event *e)
{
    struct sim_node *n = &w->node[e->service][e->host];

    if (!n->fence.is_suspending || e->life != n->fence.life)
        return;
    n->fence.is_suspending = false;
    if (n->db.run == RUN_DOWN)
        return;
    n->db.is_suspended = true;
    sim_tell(w, TALE_SERVER, e->service, e->host, 0, 0, n->db.end, 0, "is suspended");
    sim_changed(w, e->service, e->host);
}

void sim_thawed(struct sim *w, const struct sim_event *e)
{
    struct sim_node *n = &w->node[e->service][e->host];

    if (e->life != n->fence.life)
        return;
    n->fence.is_thawing = false;
    if (!n->db.is_suspended)
        return;
    n->db.is_suspended = false;
    sim_tell(w, TALE_SERVER, e->service, e->host, 0, 0, n->db.end, 0, "is thawed");
    sim_server_goes_on(w, e->service, e->host);
    sim_changed(w, e->service, e->host);
}

/* The helper kills and destroys the sockets; what the kernel holds back for a process that died
 * by itself still leaves when the gate opens. */
void sim_killed(struct sim *w, const struct sim_event *e)
{
    struct sim_node *n = &w->node[e->service][e->host];

    if (n->db.life != e->life)
        return;
    n->db.queued_head = n->db.queued_tail;
    if (n->db.run == RUN_DOWN)
        return;
    sim_tell(w, TALE_SERVER, e->service, e->host, 0, 0, n->db.end, 0, "is killed");
    sim_server_end(w, e->service, e->host, false, false);
}

void sim_fence_boot(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_fence *f = &w->node[service][host].fence;

    f->mode = f->gate_mode = FENCE_NONE;
    f->is_gate_open = f->gate_is_open = false;
    f->file_is_valid = false;
    f->suspend_ms = f->until_ms = f->gate_until_ms = 0;
    f->timer_us = SIM_NEVER;
    f->is_suspending = f->is_thawing = false;
    f->verb_us = 0;
    f->life++;
}

/* The helper is there again: from its file, or on the safe side. */
void sim_fence_back(struct sim *w, unsigned int service, unsigned int host)
{
    struct sim_node *n = &w->node[service][host];
    struct sim_fence *f = &n->fence;

    f->timer_us = SIM_NEVER;
    f->is_suspending = f->is_thawing = false;
    f->life++;
    if (!f->file_is_valid && f->mode != FENCE_NONE) {
        f->mode = FENCE_SUSPENDED;
        f->is_gate_open = false;
    }
    enforce(w, service, host);
    if (n->db.run == RUN_ORPHANS)
        sim_verb(w, service, host, VERB_REAP, NULL);
    sim_changed(w, service, host);
}
