/* probe_find.c - how a round of the probe ends: each kind of finding, and what follows from it. */
#include "redis/probe.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Between two looks at a server that starts: what waits for it should not wait longer. */
#define STARTING_MS 20
#define SCAN_AGAIN_MS 1000
#define DEATHS_TOLD 3
#define CUT_OFF_TOLD 2

void redis_probe_arm(struct event *timer, hm_ms after_ms)
{
    struct timeval tv = clock_timeval(after_ms);

    (void)evtimer_add(timer, &tv); /* fails only without memory: then a later event goes on */
}

void redis_probe_trouble(struct redis_probe *p, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(p->trouble, sizeof p->trouble, format, args);
    va_end(args);
}

const char *redis_trouble(const struct service *s)
{
    return s->probe->trouble;
}

/* --- the fence ------------------------------------------------------------------------------- */

/* What it reported may be old: it looks when it is asked to, or does something. */
static void ask_for_a_scan(struct redis_probe *p)
{
    struct service_host *host = &p->s->config.host;
    hm_ms now_ms = clock_boot_ms();

    if (host->scan == NULL || (p->scan_asked_ms != 0 && now_ms < p->scan_asked_ms + SCAN_AGAIN_MS))
        return;
    p->scan_asked_ms = now_ms;
    (void)host->scan(host->ctx); /* asked again after a while */
}

bool redis_probe_is_suspended(const struct redis_probe *p)
{
    const struct fence_report *f = &p->s->fence;
    pid_t pid = p->s->notes.pid;
    struct stuck main = { .tid = 0 };

    /* Stopped by somebody else it hangs: a thaw is not what is due then, but another primary. */
    if (!f->is_held || f->processes == 0 || f->stopped < f->processes)
        return false;
    if (p->pidfd < 0)
        return p->s->has_fence;
    (void)stuck_look(&main, pid, pid, p->taken_at_ms);
    return stuck_is_stopped(&main);
}

/* --- findings -------------------------------------------------------------------------------- */

void redis_probe_begin_copy(const struct redis_probe *p, struct copy *ret)
{
    const struct rnotes *n = &p->s->notes;

    memset(ret, 0, sizeof *ret);
    ret->taken_at_ms = p->taken_at_ms;
    ret->follows = HM_NOBODY;
    ret->was_primary = n->was_primary;
    if (n->run_id[0] != 0)
        ret->copy_id = info_copy_id(n->run_id, n->renewals);
}

/* Of one that runs: never 0. One that has not told its run yet gets a number of its own. */
static uint64_t server_id(const struct redis_probe *p)
{
    if (p->pidfd >= 0 && p->s->notes.run_id[0] != 0)
        return info_copy_id(p->s->notes.run_id, 0);
    return info_copy_id("", (uint64_t)p->silent_since_ms);
}

/* What is about to change is looked at more often. */
static hm_ms next_look_ms(const struct redis_probe *p, const struct copy *c)
{
    if (p->is_again)
        return 0;
    return c->state == COPY_STARTING ? STARTING_MS
                                     : p->s->config.settings->timing.check_interval_ms;
}

static void note_answer(struct redis_probe *p, const struct copy *c)
{
    struct service *s = p->s;

    p->running = *c;
    s->facts.answered_ms = clock_boot_ms();
    if (!rconn_is_up(s->work))
        rconn_open(s->work, false);
    redis_names_keep(s);
    if (c->state == COPY_PRIMARY)
        redis_op_note_primary(s);
}

void redis_probe_finish(struct redis_probe *p, const struct copy *found)
{
    struct service *s = p->s;

    p->phase = PROBE_IDLE;
    (void)evtimer_del(p->patience);
    s->seen = *found;
    if (found->state == COPY_PRIMARY || found->state == COPY_STANDBY)
        note_answer(p, found);
    if (found->state == COPY_DOWN || found->state == COPY_SUSPENDED) {
        p->silent_since_ms = 0;
        p->trouble[0] = 0;
    }
    redis_probe_arm(p->tick, next_look_ms(p, found));
    p->is_again = false;
    s->config.host.on_copy(s->config.host.ctx, &s->seen);
    waiters_tell(&p->waiters);
}

void redis_probe_tell_concern(const struct redis_probe *p, char *buffer, size_t size)
{
    const struct service *s = p->s;
    bool is_primary = s->seen.state == COPY_PRIMARY;

    buffer[0] = 0;
    if (is_primary && s->info.is_memory_full)
        (void)snprintf(buffer, size,
                       "it refuses writes (OOM): raise maxmemory, or choose a maxmemory-policy "
                       "that evicts");
    else if (is_primary && s->keep_why[0] != 0)
        (void)snprintf(buffer, size, "it cannot be said who may attach: %s", s->keep_why);
    else if (is_primary && p->unmatched[0] != 0)
        (void)snprintf(buffer, size, "%s", p->unmatched);
    else if (p->deaths >= DEATHS_TOLD && clock_boot_ms() - p->died_ms < REDIS_DEATHS_APART_MS)
        (void)snprintf(buffer, size, "its server ended %u times in a row: look at its log",
                       p->deaths);
    else if (p->cut_off >= CUT_OFF_TOLD)
        (void)snprintf(buffer, size,
                       "taking all data was cut off %u times in a row: look at both servers' logs; "
                       "raise the primary's client-output-buffer-limit for replicas",
                       p->cut_off);
}

void redis_probe_finish_unknown(struct redis_probe *p)
{
    struct copy c;

    redis_probe_begin_copy(p, &c);
    c.state = COPY_UNKNOWN;
    c.server_id = server_id(p);
    redis_probe_finish(p, &c);
}

/* A thread that waits for a disk may only be slow; one that runs, or would like to, is busy. */
static const char *hang(struct redis_probe *p, hm_ms *ret_ms)
{
    pid_t pid = p->s->notes.pid;
    hm_ms stuck_ms = p->pidfd < 0 ? 0 : stuck_look(&p->main, pid, pid, clock_boot_ms());
    bool is_fenced = p->s->has_fence && p->s->fence.is_held;

    *ret_ms = 0;
    if (stuck_ms == 0)
        return "";
    if (stuck_is_stopped(&p->main)) {
        *ret_ms = is_fenced ? 0 : stuck_ms;
        ask_for_a_scan(p);
        return ", its main thread is stopped";
    }
    if (stuck_is_in_kernel(&p->main))
        return ", its main thread waits for a disk";
    *ret_ms = stuck_ms;
    return ", its main thread sleeps and does not wake up";
}

void redis_probe_finish_silent(struct redis_probe *p, const char *why)
{
    const char *proof;
    struct copy c;

    if (p->silent_since_ms == 0)
        p->silent_since_ms = p->taken_at_ms;
    redis_probe_begin_copy(p, &c);
    c.state = COPY_UNKNOWN;
    c.server_id = server_id(p);
    c.stalled_ms = hm_max_ms(1, clock_boot_ms() - p->silent_since_ms);
    proof = hang(p, &c.hung_ms);
    redis_probe_trouble(p, "does not answer for %" PRId64 ".%" PRId64 " s: %s%s",
                        c.stalled_ms / 1000, c.stalled_ms % 1000 / 100, why, proof);
    redis_probe_finish(p, &c);
}

void redis_probe_finish_suspended(struct redis_probe *p)
{
    const struct copy *last = &p->running;
    struct copy c;

    redis_probe_begin_copy(p, &c);
    c.state = COPY_SUSPENDED;
    c.server_id = server_id(p);
    if (last->server_id == c.server_id && last->copy_id == c.copy_id) {
        c.at = last->at;
        c.is_final = last->is_final;
        c.follows = last->follows;
        c.is_streaming = last->is_streaming;
    }
    redis_probe_finish(p, &c);
}

void redis_probe_finish_starting(struct redis_probe *p)
{
    struct copy c;

    redis_probe_begin_copy(p, &c);
    c.state = COPY_STARTING;
    c.server_id = server_id(p);
    redis_probe_finish(p, &c);
}

/* What it had was in its memory: no position is left, only the id of what is gone. */
static void finish_down(struct redis_probe *p)
{
    struct copy c;

    redis_probe_begin_copy(p, &c);
    c.state = COPY_DOWN;
    redis_probe_finish(p, &c);
}

void redis_probe_finish_deaf(struct redis_probe *p, const char *why)
{
    struct service *s = p->s;
    const struct fence_report *f = &s->fence;
    bool is_left = s->has_fence && f->processes > 0 && f->scanned_ms > p->died_ms;

    if (s->info.run_id[0] != 0 && p->pidfd < 0) { /* it answered, and its process was never seen */
        s->info.run_id[0] = 0;
        p->died_ms = p->taken_at_ms;
        if (!s->is_stop_asked)
            s->config.host.on_died(s->config.host.ctx, "nobody listens on its port any more");
        redis_op_note_death(s);
        is_left = false;
    }
    if (p->pidfd < 0 && !is_left) {
        finish_down(p);
        return;
    }
    if (is_left && f->scanned_ms < p->taken_at_ms)
        ask_for_a_scan(p);
    redis_probe_trouble(p, "it runs, and nobody listens (look at socket and port): %s", why);
    redis_probe_finish_starting(p);
}
