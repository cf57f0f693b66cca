#include "postgres/gray.h"

#include "base/clock.h"
#include "postgres/probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A write of its own on a disk that commits do not show: that of the data, when the log has
 * another one. */
#define DATA_MS 5000
/* A commit that is out for so long at a look is worth a second opinion. */
#define SUSPICION_MS 100

/* One look, and the worst of what it finds. */
struct look {
    struct probe *p;
    struct gray *g;
    hm_ms now_ms;
    struct canary_seen log, data;
    hm_ms stalled_ms, hung_ms;
};

static int64_t monotonic_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* a clock that Linux has */
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* --- what is told ---------------------------------------------------------------------------- */

static const char *because(const struct look *l, bool is_hung, char text[96])
{
    int cpu = stuck_pressure(false), disk = stuck_pressure(true);

    if (l->p->missing != NULL)
        (void)snprintf(text, 96, "let another member take over");
    else if (is_hung && (l->log.hung_ms > 0 || l->data.hung_ms > 0))
        (void)snprintf(text, 96, "hamgr's own write is stuck, too%s",
                       l->log.has_counter ? ", and the disk completes nothing" : "");
    else if (is_hung)
        (void)snprintf(text, 96, "its process is %s",
                       stuck_is_stopped(&l->g->postmaster) || stuck_is_stopped(&l->g->pulse) ||
                               stuck_is_stopped(&l->g->question)
                           ? "stopped (T)"
                           : "stuck, and does not wait for the processor");
    else if (cpu >= 0 && disk >= 0)
        (void)snprintf(text, 96, "not proved to hang; waiting: processor %d %%, disk %d %%", cpu,
                       disk);
    else
        (void)snprintf(text, 96, "not proved to hang");
    return text;
}

/* What is proved comes before what is not, and then what is longer. */
static bool is_worse(const struct look *l, hm_ms stalled_ms, hm_ms hung_ms)
{
    if ((hung_ms > 0) != (l->hung_ms > 0))
        return hung_ms > 0;
    return stalled_ms > l->stalled_ms;
}

static void note(struct look *l, const char *what, hm_ms stalled_ms, hm_ms hung_ms)
{
    char text[96];

    hung_ms = hm_min_ms(hung_ms, stalled_ms);
    if (stalled_ms <= 0 || !is_worse(l, stalled_ms, hung_ms))
        return;
    l->stalled_ms = stalled_ms;
    l->hung_ms = hung_ms;
    (void)snprintf(l->g->words, sizeof l->g->words, "%s for %" PRId64 ".%" PRId64 " s: %s", what,
                   stalled_ms / 1000, stalled_ms % 1000 / 100, because(l, hung_ms > 0, text));
}

/* --- the evidence ---------------------------------------------------------------------------- */

/* A process that is stopped, or in the kernel while the disks complete nothing. */
static hm_ms proof_of(const struct look *l, const struct stuck *s, hm_ms stuck_ms)
{
    if (stuck_is_stopped(s))
        return stuck_ms;
    if (!stuck_is_in_kernel(s))
        return 0;
    if (!l->log.has_counter || !l->data.has_counter)
        return stuck_ms / 2;
    return hm_min_ms(stuck_ms, hm_min_ms(l->log.quiet_ms, l->data.quiet_ms));
}

static void look_at_commit(struct look *l)
{
    struct probe *p = l->p;
    hm_ms interval_ms = p->s->config.settings->timing.check_interval_ms;
    pid_t pid = p->third != NULL ? conn_backend(p->third) : 0;
    hm_ms stuck_ms;

    if (!p->is_pulse_out || l->now_ms < p->pulse_ms + SUSPICION_MS) {
        stuck_forget(&l->g->pulse);
        return;
    }
    stuck_ms = stuck_look(&l->g->pulse, pid, pid, l->now_ms);
    note(l, "no commit returns", l->now_ms - hm_max_ms(l->g->alive_ms, p->pulse_ms - interval_ms),
         hm_max_ms(l->log.hung_ms, proof_of(l, &l->g->pulse, stuck_ms)));
}

static void look_at_question(struct look *l)
{
    hm_ms hung_ms = hm_max_ms(l->log.hung_ms, l->data.hung_ms);

    note(l, "no answer", l->p->silent_since_ms != 0 ? l->now_ms - l->p->silent_since_ms : 0,
         hm_max_ms(hung_ms, proof_of(l, &l->g->question, l->g->question_stuck_ms)));
}

/* The main process has a connection to take in: asleep is as good as stopped. */
static void look_at_accept(struct look *l, bool is_urgent)
{
    struct gray *g = l->g;
    pid_t pid = l->p->s->postmaster;
    hm_ms out_ms, stuck_ms = stuck_look(&g->postmaster, pid, pid, l->now_ms);

    accept_keep(g->accept, l->now_ms, is_urgent || stuck_is_stopped(&g->postmaster));
    out_ms = accept_out_ms(g->accept, l->now_ms);
    if (out_ms < SUSPICION_MS)
        return;
    if (stuck_is_in_kernel(&g->postmaster))
        stuck_ms = proof_of(l, &g->postmaster, stuck_ms);
    note(l, "no new connection is taken in", out_ms, stuck_ms);
}

/* Commits show how the log's disk is; that of the data may hang behind them. */
static void look_at_data(struct look *l)
{
    if (canary_shares_disk(l->g->log, l->g->data))
        return;
    if (l->data.is_out)
        note(l, "no write to the data directory returns", l->data.out_ms, l->data.hung_ms);
}

/* Its files were taken away under it: nothing has to be proved. */
static void look_at_missing(struct look *l)
{
    struct gray *g = l->g;
    char what[64];

    if (l->p->missing == NULL) {
        g->missing_ms = 0;
        return;
    }
    if (g->missing_ms == 0)
        g->missing_ms = l->now_ms - 1;
    (void)snprintf(what, sizeof what, "%s is missing", l->p->missing);
    note(l, what, l->now_ms - g->missing_ms, l->now_ms - g->missing_ms);
}

static void keep_canaries(struct look *l, const struct copy *c)
{
    struct gray *g = l->g;
    bool is_late = c->state == COPY_UNKNOWN ||
                   (l->p->is_pulse_out && l->now_ms >= l->p->pulse_ms + SUSPICION_MS);

    if (is_late || !g->has_begun) {
        canary_begin(g->log, l->now_ms);
        canary_begin(g->data, l->now_ms);
        g->has_begun = true;
        g->data_ms = l->now_ms;
    } else if (l->now_ms >= g->data_ms + DATA_MS && !canary_shares_disk(g->log, g->data)) {
        canary_begin(g->data, l->now_ms);
        g->data_ms = l->now_ms;
    }
    canary_look(g->log, l->now_ms, &l->log);
    canary_look(g->data, l->now_ms, &l->data);
}

/* --- the door -------------------------------------------------------------------------------- */

void gray_note_silence(struct probe *p)
{
    pid_t pid = conn_backend(p->s->watch);
    hm_ms now_ms = clock_boot_ms();

    if (p->running.state != COPY_PRIMARY)
        return;
    canary_begin(p->gray->log, now_ms);
    canary_begin(p->gray->data, now_ms);
    p->gray->question_stuck_ms = stuck_look(&p->gray->question, pid, pid, now_ms);
}

void gray_note_pulse(struct probe *p)
{
    p->gray->pulse_us = monotonic_us();
}

void gray_note_returned(struct probe *p)
{
    gray_note_alive(p);
    latency_note(&p->gray->commits, monotonic_us() - p->gray->pulse_us, p->gray->alive_ms);
}

void gray_note_alive(struct probe *p)
{
    p->gray->alive_ms = clock_boot_ms();
}

/* Stopped by hamgr-fence, or on the way there: that is no stall. */
static bool is_held(const struct service *s)
{
    return s->has_fence && (s->fence.mode == FENCE_SUSPENDED || s->fence.stopped > 0);
}

void gray_look(struct probe *p, struct copy *c)
{
    struct look l = { .p = p, .g = p->gray, .now_ms = clock_boot_ms() };
    bool answers = c->state == COPY_PRIMARY || c->state == COPY_STANDBY;
    bool is_silent = c->state == COPY_UNKNOWN && p->pidfd >= 0;

    l.g->words[0] = 0;
    if ((!answers && !is_silent) || is_held(p->s)) {
        accept_forget(l.g->accept);
        stuck_forget(&l.g->postmaster);
        return;
    }
    if (answers) {
        stuck_forget(&l.g->question);
        l.g->question_stuck_ms = 0;
    }
    if (c->state != COPY_STANDBY)
        keep_canaries(&l, c);
    if (c->state == COPY_PRIMARY) {
        look_at_commit(&l);
        look_at_data(&l);
        look_at_missing(&l);
    } else if (is_silent) {
        look_at_question(&l);
    }
    look_at_accept(&l, is_silent);
    c->stalled_ms = l.stalled_ms;
    c->hung_ms = l.hung_ms;
    if (l.stalled_ms >= p->s->config.settings->timing.check_timeout_ms)
        c->is_healthy = false;
}

static enum hm_rc make(struct probe *p, struct gray *g, struct hm_err *err)
{
    const struct settings_service *c = p->s->config.service;
    char path[SETTINGS_PATH_MAX + 32];
    enum hm_rc rc;

    (void)snprintf(path, sizeof path, "%s/pg_wal", c->data_dir);
    rc = canary_new(p->s->config.base, path, &g->log, err);
    if (rc == HM_OK)
        rc = canary_new(p->s->config.base, c->data_dir, &g->data, err);
    if (rc != HM_OK)
        return rc;
    (void)snprintf(path, sizeof path, "%s/.s.PGSQL.%u",
                   c->socket_dir[0] != 0 ? c->socket_dir : "/var/run/postgresql",
                   (unsigned int)c->port);
    return accept_new(p->s->config.base, path, &g->accept, err);
}

enum hm_rc gray_new(struct probe *p, struct gray **ret, struct hm_err *err)
{
    struct gray *g = calloc(1, sizeof *g);
    enum hm_rc rc;

    if (g == NULL)
        return hm_fail(err, HM_FAILED, "no memory to watch a service");
    rc = make(p, g, err);
    if (rc != HM_OK) {
        gray_free(g);
        return rc;
    }
    *ret = g;
    return HM_OK;
}

void gray_free(struct gray *g)
{
    if (g == NULL)
        return;
    accept_free(g->accept);
    canary_free(g->log);
    canary_free(g->data);
    free(g);
}
