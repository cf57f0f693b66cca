/* probe_find.c - how a round of the probe ends: each kind of finding, and what follows from it. */
#include "postgres/probe.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Between two looks at a server that starts: what waits for it should not wait longer. */
#define STARTING_MS 20
/* The same for what is left of a server whose main process died; all processes are gone through. */
#define ORPHANS_MS 50
/* A server that starts has not written its number yet, and looks like what is left of the last. */
#define ORPHANS_CERTAIN_MS 500
#define REAP_AGAIN_MS 1000

void probe_arm(struct event *timer, hm_ms after_ms)
{
    struct timeval tv = clock_timeval(after_ms);

    (void)evtimer_add(timer, &tv); /* fails only without memory: then a later event goes on */
}

void probe_trouble(struct probe *p, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(p->trouble, sizeof p->trouble, format, args);
    va_end(args);
}

/* --- findings -------------------------------------------------------------------------------- */

void probe_begin_copy(const struct probe *p, struct copy *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->taken_at_ms = p->taken_at_ms;
    ret->follows = HM_NOBODY;
    ret->was_primary = p->s->notes.was_primary;
    ret->copy_id = p->s->notes.copy_id;
    ret->system_id = p->files.has_control ? p->files.control.system_id : p->system_id;
}

/* A server that runs and tells nothing: never 0, and another one for each start. */
static uint64_t unnamed_server(const struct probe *p)
{
    uint64_t id = p->server_id ^ p->postmaster_id * 0x9e3779b97f4a7c15u;

    return id != 0 ? id : 1;
}

/* What is about to change is looked at more often. */
static hm_ms next_look_ms(const struct probe *p, const struct copy *c)
{
    if (p->is_again)
        return 0;
    if (c->state == COPY_STARTING || (c->state == COPY_STANDBY && !c->is_final))
        return STARTING_MS;
    if (c->state == COPY_UNKNOWN && p->pidfd < 0)
        return ORPHANS_MS;
    return p->s->config.settings->timing.check_interval_ms;
}

/* Asked for again while it is needed: hamgrd may have started after the death, and what the fence
 * helper was told may be lost. */
void probe_reap(struct probe *p, const char *why)
{
    struct service_host *host = &p->s->config.host;
    hm_ms now_ms = clock_boot_ms();

    if (p->reaped_ms != 0 && now_ms - p->reaped_ms < REAP_AGAIN_MS)
        return;
    p->reaped_ms = now_ms;
    host->on_died(host->ctx, why);
}

/* A standby without room could not go on as a primary. */
static void see_room(const struct probe *p, struct copy *c)
{
    c->is_full = room_is_full(p->s->room);
    if (c->state == COPY_STANDBY && !room_is_enough(p->s->room))
        c->is_healthy = false;
}

void probe_finish(struct probe *p, const struct copy *found)
{
    struct service *s = p->s;
    struct copy c = *found;

    p->phase = PROBE_IDLE;
    (void)evtimer_del(p->patience);
    if (c.state != COPY_UNKNOWN)
        p->orphans_since_ms = 0;
    if (s->notes.is_rebuilding) {
        /* Half-made, or about to be replaced: started by hand or with the host, it could be
         * writable, and nobody would be told. */
        if (s->postmaster != 0)
            probe_reap(p, "its copy is half-made");
        probe_begin_copy(p, &c);
        c.state = COPY_REBUILDING;
        c.copy_id = c.system_id = 0;
        c.was_primary = false;
    }
    if (c.state != COPY_PRIMARY && c.state != COPY_STANDBY)
        streams_forget(s);
    gray_look(p, &c);
    see_room(p, &c);
    if (c.state == COPY_PRIMARY || c.state == COPY_STANDBY) {
        p->running = c;
        probe_note_what_it_shows(p, &c);
        probe_keep_third(p, &c);
        s->facts.answered_ms = clock_boot_ms();
        p->silent_since_ms = 0;
        p->trouble[0] = 0;
        if (!c.is_final && p->third_why[0] != 0)
            probe_trouble(p, "its timeline is not known (is the user allowed REPLICATION?): %s",
                          p->third_why);
        else if (p->missing != NULL)
            probe_trouble(p, "its data directory lost %s: let another member take over",
                          p->missing);
        else if (!room_is_enough(s->room) && (c.is_full || c.state == COPY_STANDBY))
            probe_trouble(p, "its disk is full: make room");
        else if (!c.is_healthy)
            probe_trouble(p, "%s", p->gray->words);
        if (!conn_is_up(s->work))
            conn_open(s->work, false);
    }
    c.lacks_log = c.copy_id != 0 && c.copy_id == s->lacks_log_of &&
                  (c.state == COPY_STANDBY || c.state == COPY_DOWN);
    c.rebuilt_percent = s->facts.progress.percent;
    s->seen = c;
    probe_arm(p->tick, next_look_ms(p, &c));
    p->is_again = false;
    s->config.host.on_copy(s->config.host.ctx, &s->seen);
    postgres_keep_signal(s);
    waiters_tell(&p->waiters);
}

/* It runs, and does not tell what it is. */
void probe_finish_unknown(struct probe *p)
{
    struct copy c;

    probe_begin_copy(p, &c);
    c.state = COPY_UNKNOWN;
    c.server_id = p->is_life_known ? p->server_id : unnamed_server(p);
    probe_finish(p, &c);
}

void probe_finish_orphans(struct probe *p)
{
    hm_ms now_ms = clock_boot_ms();

    if (p->orphans_since_ms == 0)
        p->orphans_since_ms = now_ms;
    if (p->files.named != 0 && now_ms - p->orphans_since_ms >= ORPHANS_CERTAIN_MS)
        probe_reap(p, "its main process is gone and others are left");
    probe_trouble(p, "its main process is gone, and %zu others are left", p->files.processes);
    probe_finish_unknown(p);
}

void probe_finish_silent(struct probe *p, const char *why)
{
    hm_ms now_ms = clock_boot_ms();

    if (p->silent_since_ms == 0)
        p->silent_since_ms = p->taken_at_ms;
    probe_trouble(p, "does not answer for %" PRId64 ".%" PRId64 " s: %s",
                  (now_ms - p->silent_since_ms) / 1000, (now_ms - p->silent_since_ms) % 1000 / 100,
                  why);
    probe_finish_unknown(p);
}

void probe_finish_refused(struct probe *p, const char *next, const char *why)
{
    if (p->silent_since_ms == 0)
        p->silent_since_ms = p->taken_at_ms;
    p->is_refused = true;
    probe_trouble(p, "refuses hamgr's login: %s%s", next, why);
    probe_finish_unknown(p);
}

void probe_finish_suspended(struct probe *p)
{
    const struct copy *last = &p->running;
    struct copy c;

    probe_begin_copy(p, &c);
    c.state = COPY_SUSPENDED;
    c.server_id = p->is_life_known ? p->server_id : unnamed_server(p);
    if (p->is_life_known && last->server_id == p->server_id) {
        c.at = last->at;
        c.began_epoch = last->began_epoch;
        c.follows = last->follows;
        c.is_streaming = last->is_streaming;
    }
    p->trouble[0] = 0;
    probe_finish(p, &c);
}

void probe_finish_starting(struct probe *p)
{
    struct copy c;

    probe_begin_copy(p, &c);
    c.state = COPY_STARTING;
    c.server_id = unnamed_server(p);
    c.is_crashed = p->was_up && !p->files.is_stopping && !p->s->is_stop_asked;
    p->is_life_known = false;
    probe_finish(p, &c);
}

void probe_finish_down(struct probe *p)
{
    struct copy c;

    p->trouble[0] = 0;
    probe_begin_copy(p, &c);
    if (!p->files.has_data) {
        c.state = COPY_ABSENT;
        c.was_primary = false;
        c.copy_id = c.system_id = 0;
    } else {
        c.state = COPY_DOWN;
        probe_see_down(p, &c);
        if (c.is_final && p->s->notes.timeline == c.at.timeline)
            c.began_epoch = p->s->notes.began_epoch;
    }
    probe_finish(p, &c);
}
