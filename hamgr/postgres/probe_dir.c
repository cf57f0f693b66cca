/* probe_dir.c - what happens to the data directory under a server that runs.
 *
 * Somebody removes it: PostgreSQL itself notices that within a minute, and until then a primary
 * fails its clients, and a standby confirms what will never be read again. Once a round a worker
 * looks for the files without which no server can be started.
 *
 * Somebody promotes a standby by hand: the file that asks for it is there some 20 ms before
 * anything can be committed, so the server is ended before it is a second primary. Who removes
 * standby.signal and restarts the server is met by `hamgr guard` and the probe. */
#include "postgres/probe.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define PROMOTE_FILE "promote" /* made by pg_ctl promote and pg_promote() */

struct dir_job {
    struct worker_job base;
    struct probe *p;
    const char *data_dir; /* borrowed from the settings */
    int inotify;
    uint64_t postmaster_id;
    const char *missing; /* a constant; NULL: all are there */
};

/* --- in the worker --------------------------------------------------------------------------- */

static bool is_gone(const char *data_dir, const char *name)
{
    char path[SETTINGS_PATH_MAX + 32];

    (void)snprintf(path, sizeof path, "%s/%s", data_dir, name);
    return access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

static void run(struct worker_job *base)
{
    static const char *const needed[] = { "PG_VERSION", "global/pg_control" };
    struct dir_job *job = (struct dir_job *)base;

    job->missing = NULL;
    for (size_t i = 0; i < HM_ARRAY_LEN(needed) && job->missing == NULL; i++)
        if (is_gone(job->data_dir, needed[i]))
            job->missing = needed[i];
    /* Each time, because a clone may have put another directory into its place; of one that is
     * watched already nothing changes. Without it the next probe sees the promotion. */
    if (job->inotify >= 0)
        (void)inotify_add_watch(job->inotify, job->data_dir, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

/* --- on the loop ----------------------------------------------------------------------------- */

/* Certainly a standby of somebody else's primary: nothing that was acknowledged ends with it. */
static bool is_harmless(const struct service *s)
{
    return s->has_fence && s->fence.mode == FENCE_STANDBY && s->record.epoch != 0 &&
           s->record.holder != s->self && !s->record.is_paused;
}

static void done(struct worker_job *base)
{
    struct dir_job *job = (struct dir_job *)base;
    struct probe *p = job->p;
    bool is_news = p->missing != job->missing;

    p->is_dir_out = false;
    if (p->pidfd < 0 || job->postmaster_id != p->postmaster_id)
        return; /* of a server that has ended */
    p->missing = job->missing;
    if (is_news && p->missing != NULL)
        log_error("data directory damaged service=%s missing=%s/%s", p->s->config.service->name,
                  job->data_dir, p->missing);
    if (p->missing != NULL && is_harmless(p->s))
        probe_reap(p, "its data directory is gone");
    if (is_news)
        probe_look(p);
}

void probe_dir_look(struct probe *p)
{
    struct dir_job *job = p->dir_job;

    if (p->is_dir_out || p->pidfd < 0)
        return;
    if (job == NULL) {
        job = calloc(1, sizeof *job);
        if (job == NULL)
            return; /* the next round tries again */
        p->dir_job = job;
    }
    *job = (struct dir_job){ .base = { .run = run, .done = done },
                             .p = p,
                             .data_dir = p->s->config.service->data_dir,
                             .inotify = p->inotify,
                             .postmaster_id = p->postmaster_id };
    p->is_dir_out = true;
    worker_add(p->s->worker, &job->base);
}

static void on_promote_file(struct probe *p)
{
    if (p->s->seen.state != COPY_STANDBY || !is_harmless(p->s))
        return;
    p->reaped_ms = 0; /* now, whatever was killed a moment ago */
    probe_reap(p, "somebody promotes it by hand: use 'hamgr switchover', or 'hamgr pause' first");
    probe_look(p);
}

static void on_change(evutil_socket_t fd, short what, void *arg)
{
    _Alignas(struct inotify_event) char buffer[4096];
    struct probe *p = arg;
    ssize_t n = read(fd, buffer, sizeof buffer);

    (void)what;
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *change = (const struct inotify_event *)(void *)(buffer + at);

        if (change->len > 0 && strcmp(change->name, PROMOTE_FILE) == 0)
            on_promote_file(p);
        at += (ssize_t)(sizeof *change + change->len);
    }
}

/* --- the door -------------------------------------------------------------------------------- */

/* A kernel that has no watch to give away costs only the time until the next probe. */
void probe_dir_init(struct probe *p)
{
    p->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (p->inotify < 0)
        return;
    p->changes = event_new(p->s->config.base, p->inotify, EV_READ | EV_PERSIST, on_change, p);
    if (p->changes != NULL)
        (void)event_add(p->changes, NULL); /* fails only without memory */
}

void probe_dir_done(struct probe *p)
{
    if (p->changes != NULL)
        event_free(p->changes);
    if (p->inotify >= 0)
        (void)close(p->inotify); /* nothing was written to it */
    free(p->dir_job);
}
