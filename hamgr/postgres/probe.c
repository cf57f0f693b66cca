/* probe.c - leads one round of the probe after the other, each to its finding. */
#include "postgres/probe.h"

#include "base/clock.h"
#include "base/kernel.h"
#include "probe/procs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long the server may take to answer before it is seen whether it is stopped. */
#define SUSPICION_MS 60
/* The connection outlives a suspension, so its own deadline is out of reach; rounds have theirs. */
#define QUESTION_MS (24 * 3600 * 1000)

static void begin(struct probe *p);

static hm_ms timeout_ms(const struct probe *p)
{
    return p->s->config.settings->timing.check_timeout_ms;
}

/* --- the main process ------------------------------------------------------------------------ */

static void forget_postmaster(struct probe *p)
{
    if (p->death != NULL)
        event_free(p->death);
    p->death = NULL;
    if (p->pidfd >= 0)
        (void)close(p->pidfd); /* nothing was written to it */
    p->pidfd = -1;
    p->postmaster_id = 0;
    p->was_up = false;
    p->is_life_known = false;
    p->s->postmaster = 0;
    p->missing = NULL;
    probe_drop_third(p);
}

static void on_death(evutil_socket_t fd, short what, void *arg)
{
    struct probe *p = arg;
    struct service *s = p->s;

    (void)fd;
    (void)what;
    forget_postmaster(p);
    p->files.pid_file_ns = -1; /* whatever was scanned before is old */
    p->files.is_scanned = false;
    if (!s->is_stop_asked)
        s->config.host.on_died(s->config.host.ctx, "its main process died");
    postgres_op_note_death(s);
    if (p->phase == PROBE_OPENING || p->phase == PROBE_ASKING)
        begin(p);
    else
        probe_look(p);
}

bool probe_signal(const struct probe *p, int number)
{
    if (p->pidfd < 0) {
        errno = ESRCH;
        return false;
    }
    return pidfd_send_signal(p->pidfd, number, NULL, 0) == 0;
}

static void adopt_postmaster(struct probe *p)
{
    struct files *f = &p->files;

    p->pidfd = f->pidfd;
    f->pidfd = -1;
    p->postmaster_id = ((uint64_t)f->postmaster << 40) ^ f->started ^ p->boot_id;
    if (p->postmaster_id == 0)
        p->postmaster_id = 1;
    p->s->postmaster = f->postmaster;
    p->was_up = false;
    p->is_life_known = false;
    p->death = event_new(p->s->config.base, p->pidfd, EV_READ, on_death, p);
    if (p->death == NULL || event_add(p->death, NULL) != 0)
        forget_postmaster(p); /* without memory it is looked for again */
}

/* --- asking ---------------------------------------------------------------------------------- */

static bool is_suspect(const struct probe *p)
{
    const struct fence_report *f = &p->s->fence;

    if (p->s->seen.state == COPY_SUSPENDED)
        return true;
    return p->s->has_fence &&
           (f->mode == FENCE_SUSPENDED || (f->processes > 0 && f->stopped >= f->processes));
}

/* As hamgr-fence saw it, which looks at processes and at no disk. */
static bool is_stopped_by_fence(const struct probe *p)
{
    const struct fence_report *f = &p->s->fence;

    return p->s->has_fence && f->mode == FENCE_SUSPENDED && f->processes > 0 &&
           f->stopped >= f->processes;
}

static void open_or_ask(struct probe *p);

/* The server's answer is what this round waits for; an older one is only counted. */
static bool is_of_this_round(struct probe *p)
{
    p->answered++;
    return p->phase == PROBE_ASKING && p->answered == p->question;
}

/* Lost in the middle: it died, it recovers, or somebody ended our process. */
static void ask_again(struct probe *p)
{
    p->tries++;
    p->phase = PROBE_FILES;
    (void)probe_ask_files(p, true);
}

static void on_answer(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct probe *p = ctx;
    struct copy c;

    if (!is_of_this_round(p))
        return;
    switch (outcome) {
    case CONN_ANSWERED:
        probe_begin_copy(p, &c);
        if (probe_take_answer(p, result, &c))
            probe_finish(p, &c);
        else
            probe_finish_silent(p, "an answer that hamgr does not understand");
        break;
    case CONN_REFUSED:
        p->is_life_known = false; /* the statement is prepared anew */
        conn_open(p->s->watch, true);
        probe_finish_silent(p, why);
        break;
    case CONN_LOST:
    case CONN_LATE:
        ask_again(p);
        break;
    }
}

static void ask(struct probe *p, const char *sql, conn_answered *then)
{
    p->phase = PROBE_ASKING;
    if (conn_ask(p->s->watch, sql, QUESTION_MS, then, p))
        p->question = ++p->asked;
    else
        probe_finish_silent(p, "no memory to ask");
}

static void on_life(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct probe *p = ctx;

    if (!is_of_this_round(p))
        return;
    if (outcome == CONN_LOST || outcome == CONN_LATE) {
        ask_again(p);
    } else if (outcome == CONN_REFUSED || !probe_take_life(p, result)) {
        conn_open(p->s->watch, true);
        probe_finish_silent(p,
                            outcome == CONN_REFUSED ? why : "it does not say how it was started");
    } else {
        p->was_up = true;
        ask(p, probe_ask_sql, on_answer);
    }
}

static void on_prepared(void *ctx, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    struct probe *p = ctx;

    (void)result;
    if (!is_of_this_round(p))
        return;
    if (outcome == CONN_LOST || outcome == CONN_LATE) {
        ask_again(p);
    } else if (outcome == CONN_REFUSED) {
        conn_open(p->s->watch, true);
        probe_finish_silent(p, why);
    } else {
        p->is_prepared = true;
        ask(p, probe_life_sql, on_life);
    }
}

static void open_or_ask(struct probe *p)
{
    if (!conn_is_up(p->s->watch)) {
        p->phase = PROBE_OPENING;
        conn_open(p->s->watch, false);
    } else if (!p->is_prepared) {
        ask(p, probe_prepare_sql, on_prepared);
    } else if (!p->is_life_known) {
        ask(p, probe_life_sql, on_life);
    } else {
        ask(p, probe_ask_sql, on_answer);
    }
}

void probe_note_up(struct probe *p)
{
    p->is_refused = false;
    p->is_prepared = false;
    p->is_life_known = false;
    if (p->phase == PROBE_OPENING)
        open_or_ask(p);
}

static const char *next_step(const char *sqlstate)
{
    if (strcmp(sqlstate, "53300") == 0)
        return "raise superuser_reserved_connections: ";
    if (strncmp(sqlstate, "28", 2) == 0)
        return "let hamgr's user in (pg_hba.conf, user, dbname): ";
    if (strcmp(sqlstate, "3D000") == 0)
        return "set dbname to a database that exists: ";
    return "";
}

void probe_note_down(struct probe *p, const char *why)
{
    const char *state = conn_sqlstate(p->s->watch);
    const char *fatal = strstr(why, "FATAL:"); /* behind what libpq says of the socket */

    p->is_prepared = false;
    if (p->phase != PROBE_OPENING) {
        if (p->phase == PROBE_IDLE && p->pidfd >= 0)
            probe_look(p);
        return;
    }
    /* No socket yet, or 57P03: it starts, stops or recovers. */
    if (state[0] == 0 || strcmp(state, "57P03") == 0) {
        probe_trouble(p, "%s", why);
        probe_finish_starting(p);
        return;
    }
    probe_finish_refused(p, next_step(state), fatal != NULL ? fatal : why);
}

/* --- rounds ---------------------------------------------------------------------------------- */

void probe_take_files(struct probe *p)
{
    struct files *f = &p->files;
    bool is_all_stopped = f->is_scanned && f->processes > 0 && f->stopped == f->processes;

    if (f->pidfd >= 0 && p->pidfd < 0)
        adopt_postmaster(p);
    if (p->files_round != p->round) { /* looked at before this round: it tells of the past */
        if (p->phase == PROBE_FILES || p->has_scanned)
            (void)probe_ask_files(p, true);
        return;
    }
    if (p->phase != PROBE_FILES) {
        if (p->phase != PROBE_IDLE && is_all_stopped)
            probe_finish_suspended(p);
        return;
    }
    if (is_all_stopped) {
        probe_finish_suspended(p);
    } else if (p->pidfd >= 0) {
        if (p->tries > 2)
            probe_finish_silent(p, "it ends every connection");
        else
            open_or_ask(p);
    } else if (!f->is_scanned) {
        probe_finish_silent(p, f->why[0] != 0 ? f->why : "its processes cannot be looked at");
    } else if (f->processes > 0) {
        probe_finish_orphans(p);
    } else {
        probe_finish_down(p);
    }
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
    struct probe *p = arg;
    hm_ms left_ms = p->taken_at_ms + timeout_ms(p) - clock_boot_ms();

    (void)fd;
    (void)what;
    if (p->phase == PROBE_IDLE)
        return;
    gray_note_silence(p);
    if (left_ms > 0) {
        if (p->phase != PROBE_FILES && !p->has_scanned)
            p->has_scanned = probe_ask_files(p, true);
        probe_arm(p->patience, left_ms);
        return;
    }
    if (p->phase == PROBE_FILES && p->was_stopped && is_stopped_by_fence(p)) {
        probe_finish_suspended(p); /* and it looked again meanwhile */
        return;
    }
    if (p->phase == PROBE_FILES) {
        probe_finish_silent(p, "the disk does not answer: look at it");
        return;
    }
    conn_open(p->s->watch, true);
    probe_finish_silent(p, p->phase == PROBE_OPENING ? "it takes no connection" : "it hangs");
}

static void begin(struct probe *p)
{
    p->round++;
    p->taken_at_ms = clock_boot_ms();
    p->tries = 0;
    p->has_scanned = false;
    p->was_stopped = is_stopped_by_fence(p);
    p->is_again = false;
    (void)evtimer_del(p->tick);
    probe_arm(p->patience, hm_min_ms(SUSPICION_MS, timeout_ms(p)));
    waiters_begin(&p->waiters);
    probe_dir_look(p);
    if (p->pidfd < 0 || is_suspect(p)) {
        p->phase = PROBE_FILES;
        (void)probe_ask_files(p, is_suspect(p));
    } else {
        open_or_ask(p);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct probe *p = arg;

    (void)fd;
    (void)what;
    if (p->phase == PROBE_IDLE)
        begin(p);
}

void probe_look(struct probe *p)
{
    p->is_again = true;
    if (p->phase == PROBE_IDLE)
        probe_arm(p->tick, 0);
}

void postgres_look(struct service *s, waiters_told *then, void *ctx)
{
    waiters_add(&s->probe->waiters, then, ctx);
    probe_look(s->probe);
}

/* --- the door -------------------------------------------------------------------------------- */

enum hm_rc probe_new(struct service *s, struct probe **ret, struct hm_err *err)
{
    struct probe *p = calloc(1, sizeof *p);
    enum hm_rc rc;

    if (p == NULL)
        return hm_fail(err, HM_FAILED, "no memory to watch a service");
    p->s = s;
    p->pidfd = -1;
    p->files.pidfd = -1;
    p->boot_id = procs_boot_id();
    probe_dir_init(p);
    p->tick = evtimer_new(s->config.base, on_tick, p);
    p->patience = evtimer_new(s->config.base, on_patience, p);
    (void)notes_identify(s->config.service->data_dir, p->files.place, sizeof p->files.place);
    rc = p->tick == NULL || p->patience == NULL
             ? hm_fail(err, HM_FAILED, "no memory to watch a service")
             : worker_new(s->config.base, "hamgr-log", &p->reader, err);
    if (rc == HM_OK)
        rc = gray_new(p, &p->gray, err);
    if (rc != HM_OK) {
        probe_free(p);
        return rc;
    }
    *ret = p;
    return HM_OK;
}

void probe_free(struct probe *p)
{
    if (p == NULL)
        return;
    worker_free(p->reader);
    gray_free(p->gray);
    forget_postmaster(p);
    if (p->files.pidfd >= 0)
        (void)close(p->files.pidfd); /* nothing was written to it */
    if (p->tick != NULL)
        event_free(p->tick);
    if (p->patience != NULL)
        event_free(p->patience);
    waiters_done(&p->waiters);
    probe_dir_done(p);
    free(p->files_job);
    free(p->end_job);
    free(p->history_job);
    free(p);
}
