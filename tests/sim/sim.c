#include "sim.h"

#include "parts.h"

#include <stdlib.h>
#include <string.h>

void sim_init(struct sim *w)
{
    memset(w, 0, sizeof *w);
    w->heap_size = 4096;
    w->heap = malloc(w->heap_size * sizeof *w->heap);
    w->post = malloc(SIM_POSTS_MAX * sizeof *w->post);
    w->record = malloc(SIM_RECORDS_MAX * sizeof *w->record);
    HM_BUG_ON(w->heap == NULL || w->post == NULL || w->record == NULL);
}

void sim_done(struct sim *w)
{
    free(w->heap);
    free(w->post);
    free(w->record);
    for (unsigned int h = 0; h < SIM_HOSTS_MAX; h++)
        free(w->deferred[h]);
}

/* ---- dispatch ------------------------------------------------------------------------------- */

static void deliver(struct sim *w, const struct sim_event *e)
{
    struct sim_post *p = &w->post[e->a];
    const struct sim_host *h = &w->host[e->host];
    struct sim_node *n = &w->node[e->service][e->host];
    /* A message is for an incarnation, all else for one life of hamgrd. */
    bool is_for_it = p->ev.type == ON_MESSAGE ? e->b == h->incarnation : e->life == h->daemon.life;

    if (is_for_it && h->is_on && h->daemon.is_running && n->is_there) {
        if (p->record < SIM_RECORDS_MAX)
            p->ev.message.record = &w->record[p->record];
        sim_feed(w, e->service, e->host, &p->ev);
    }
    sim_post_free(w, (uint16_t)e->a);
}

/* Does the event wait for a process that stands still? */
static bool is_to_wait(const struct sim *w, const struct sim_event *e)
{
    const struct sim_host *h;

    if (e->host >= w->hosts_n)
        return false;
    h = &w->host[e->host];
    if (!h->is_on)
        return false;
    switch ((int)e->type) {
    case EV_RESUME:
    case EV_HEAL:
    case EV_TRAP:
    case EV_FAULT:
    case EV_EXCUSED:
    case EV_STORY:
    case EV_SCRIPT:
        return false;
    case EV_POST:
    case EV_TICK:
    case EV_PROBE:
        return h->is_paused || (h->daemon.is_running && h->daemon.is_paused);
    case EV_HELPER:
    case EV_HELPER_TIME:
        return h->is_paused || (h->helper.is_running && h->helper.is_paused);
    default:
        return h->is_paused;
    }
}

static bool is_void(const struct sim *w, const struct sim_event *e)
{
    const struct sim_host *h = &w->host[e->host];

    switch ((int)e->type) {
    case EV_TICK:
    case EV_PROBE:
        return e->life != h->daemon.life || !h->daemon.is_running;
    case EV_HELPER:
    case EV_HELPER_TIME:
        return e->life != h->helper.life || !h->helper.is_running;
    case EV_BOOT:
    case EV_DAEMON:
    case EV_FENCE:
        return e->life != h->boots;
    default:
        return false;
    }
}

static void excused(struct sim *w, const struct sim_event *e)
{
    const struct sim_host *h = &w->host[e->host];

    if (h->is_on && !h->is_paused && h->helper.is_running && !h->helper.is_paused)
        judge_excused(w, e->host, false);
}

static void phase(struct sim *w, const struct sim_event *e);

static void dispatch_host(struct sim *w, const struct sim_event *e)
{
    switch ((int)e->type) {
    case EV_HELPER:
        sim_helper_takes(w, e);
        break;
    case EV_HELPER_TIME:
        sim_helper_time(w, e);
        break;
    case EV_SUSPENDED:
        sim_suspended(w, e);
        break;
    case EV_KILLED:
        sim_killed(w, e);
        break;
    case EV_THAWED:
        sim_thawed(w, e);
        break;
    case EV_BOOT:
        sim_host_boot(w, e->host);
        break;
    case EV_DAEMON:
        sim_daemon_start(w, e->host);
        break;
    case EV_FENCE:
        sim_helper_start(w, e->host);
        break;
    case EV_EXCUSED:
        excused(w, e);
        break;
    case EV_RESUME:
        sim_host_resume(w, e->host, e->a != 0);
        break;
    default:
        break;
    }
}

static void dispatch_db(struct sim *w, const struct sim_event *e)
{
    switch ((int)e->type) {
    case EV_OP:
        sim_op_step(w, e);
        break;
    case EV_SERVER:
        sim_server_next(w, e);
        break;
    case EV_FINAL:
        sim_server_final(w, e);
        break;
    case EV_ORPHANS:
        sim_orphans_end(w, e);
        break;
    case EV_FLUSH:
        sim_flushed(w, e);
        break;
    case EV_STREAM:
        sim_streamed(w, e);
        break;
    case EV_REPORT:
        sim_reported(w, e);
        break;
    case EV_CONNECT:
        sim_connect(w, e);
        break;
    case EV_GONE:
        sim_gone(w, e);
        break;
    case EV_FLAG:
        sim_flag(w, e);
        break;
    case EV_SENDERS:
        sim_senders(w, e);
        break;
    default:
        dispatch_host(w, e);
    }
}

static void dispatch(struct sim *w, const struct sim_event *e)
{
    switch ((int)e->type) {
    case EV_POST:
        deliver(w, e);
        break;
    case EV_TICK:
        sim_tick(w, e);
        break;
    case EV_PROBE:
        sim_probe(w, e);
        break;
    case EV_WRITTEN:
        sim_written(w, e);
        break;
    case EV_CLIENT:
        sim_clients(w, e);
        break;
    case EV_FAULT:
        sim_fault_next(w);
        break;
    case EV_TRAP:
        sim_trap_sprung(w, e->service, e->host, e->a);
        break;
    case EV_HEAL:
        sim_fault_heal(w, e);
        break;
    case EV_OPERATOR:
        sim_operator_looks(w, e);
        break;
    case EV_PHASE:
        phase(w, e);
        break;
    case EV_FORCE:
        sim_force_step(w, e);
        break;
    case EV_SCRIPT:
        sim_script(w, e);
        break;
    case EV_STORY:
        sim_story_step(w, e);
        break;
    default:
        dispatch_db(w, e);
    }
}

/* ---- phases --------------------------------------------------------------------------------- */

/* The first service that is not yet where it should be; services_n if there is none. */
static unsigned int not_converged(struct sim *w)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        if (!check_is_converged(&w->check[s], w->why))
            return s;
    return w->plan.services_n;
}

/* a: 0 faults end, 1 is it well by now? */
static void phase(struct sim *w, const struct sim_event *e)
{
    unsigned int s = e->a == 0 ? 0 : not_converged(w);

    if (e->a == 0) {
        w->is_healing = true;
        if (w->plan.profile == PROFILE_STORY)
            sim_story_ended(w);
        sim_heal_all(w);
        sim_tell(w, TALE_TEXT, 0, SIM_NOWHERE, 0, 0, 0, 0, "==== all faults end ====");
    } else if (s == w->plan.services_n) {
        if (w->converged_us < 0)
            w->converged_us = w->now_us;
        /* It must stay so for a while. */
        if (w->now_us - w->converged_us > 1 * SIM_S)
            w->is_over = true;
    } else {
        w->converged_us = -1;
        if (w->now_us > w->plan.converged_by_us) {
            check_too_late(&w->check[s]);
            if (w->check[s].is_stuck && sim_operator_keeps(w, s)) {
                w->plan.converged_by_us = w->now_us + 15 * SIM_S;
            } else {
                w->stats.stuck++; /* or a violation: the judge says which */
                w->is_over = true;
            }
        }
    }
    sim_at(w, w->now_us + 100 * SIM_MS, EV_PHASE, 0, SIM_NOWHERE, 1, 0, 0);
}

/* ---- run ------------------------------------------------------------------------------------ */

static void clear(struct sim *w, uint64_t seed)
{
    bool is_traced = w->is_traced, is_verbose = w->is_verbose;
    size_t from = offsetof(struct sim, now_us), to = offsetof(struct sim, heap);

    memset((char *)w + from, 0, to - from);
    memset(&w->stats, 0, sizeof w->stats);
    w->seed = seed;
    w->is_traced = is_traced;
    w->is_verbose = is_verbose;
    w->trace_n = 0;
    w->is_violated = false;
    w->converged_us = -1;
    w->cut_other = SIM_NOWHERE;
    prng_seed(&w->prng, seed);
    sim_queue_clear(w);
}

void sim_loop(struct sim *w)
{
    struct sim_event e;

    while (!w->is_over && !w->is_violated && sim_next(w, &e)) {
        w->events_now = e.at_us == w->now_us ? w->events_now + 1 : 0;
        if (w->events_now > 100000 || w->stats.events > 5000000)
            sim_violated(w, "LIVE", "time does not pass: event %u of host %u again and again",
                         e.type, e.host);
        w->now_us = e.at_us;
        w->stats.events++;
        if (is_to_wait(w, &e))
            sim_defer(w, &e);
        else if (e.host >= SIM_HOSTS_MAX || !is_void(w, &e))
            dispatch(w, &e);
        judge_asked(w);
    }
    w->stats.sim_us = (uint64_t)w->now_us;
}

void sim_begin(struct sim *w, uint64_t seed)
{
    clear(w, seed);
}

void sim_run(struct sim *w, uint64_t seed)
{
    sim_begin(w, seed);
    sim_draw_plan(w);
    sim_draw_world(w);
    sim_at(w, w->plan.faults_end_us, EV_PHASE, 0, SIM_NOWHERE, 0, 0, 0);
    sim_at(w, 0, EV_FAULT, 0, SIM_NOWHERE, 0, 0, 0);
    sim_loop(w);
}
