#include "postgres/room.h"

#include "adapter/worker.h"
#include "base/clock.h"
#include "base/log.h"
#include "postgres/place_inner.h"
#include "probe/forecast.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { LOOK_MS = 5000, WARN_AGAIN_MS = 3600000, PATH_SIZE = 600 };

/* Two segments of the log: a promotion begins a new one, and clients go on from there. */
#define LOG_ROOM_BYTES (UINT64_C(32) << 20)

struct spot {
    char what[SERVICE_DISK_NAME]; /* "data", "pg_wal", "tablespace 16384" */
    bool has_log;
    uint64_t disk; /* its device number */
    uint64_t size_bytes, free_bytes;
};

struct look {
    struct worker_job base;
    struct room *room;
    struct spot place[SERVICE_DISKS_MAX];
    size_t n;
};

struct known {
    struct spot place;
    struct forecast forecast;
    hm_ms warned_ms; /* 0: there is enough */
    hm_ms kept_ms;   /* when it was told for the history; 0: never */
};

struct room {
    const struct service_config *config; /* borrowed */
    struct worker *worker;               /* owned */
    struct event *tick;                  /* owned */
    struct look look;
    bool is_out;
    struct known known[SERVICE_DISKS_MAX];
    size_t n;
};

/* --- on the thread --------------------------------------------------------------------------- */

/* Places on one disk are one. */
static void add(struct look *l, const char *what, const char *path)
{
    struct spot *p = &l->place[l->n];
    struct statvfs fs;
    struct stat st;

    if (l->n == SERVICE_DISKS_MAX || stat(path, &st) != 0 || statvfs(path, &fs) != 0)
        return; /* not there: a copy that is absent, or being made */
    for (size_t i = 0; i < l->n; i++)
        if (l->place[i].disk == st.st_dev)
            return;
    (void)snprintf(p->what, sizeof p->what, "%.*s", SERVICE_DISK_NAME - 1, what);
    p->has_log = false;
    p->disk = st.st_dev;
    p->size_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    p->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    l->n++;
}

/* A place_tablespace. */
static enum hm_rc add_tablespace(void *ctx, const char *link, const char *oid, struct hm_err *err)
{
    char what[SERVICE_DISK_NAME];

    (void)err;
    (void)snprintf(what, sizeof what, "tablespace %.10s", oid);
    add(ctx, what, link);
    return HM_OK;
}

static void run(struct worker_job *base)
{
    struct look *l = (struct look *)base;
    const char *data_dir = l->room->config->service->data_dir;
    char path[PATH_SIZE];
    struct hm_err err;

    l->n = 0;
    add(l, "data", data_dir);
    (void)snprintf(path, sizeof path, "%s/pg_wal", data_dir);
    add(l, "pg_wal", path);
    if (l->n > 0)
        l->place[l->n - 1].has_log = true;
    if (l->n == 1)
        (void)snprintf(l->place[0].what, sizeof l->place[0].what, "data and pg_wal");
    if (place_each_tablespace(data_dir, add_tablespace, l, &err) != HM_OK)
        return; /* the next look finds what this one did not */
}

/* --- on the loop ----------------------------------------------------------------------------- */

static const struct known *known_of(const struct room *r, const struct spot *p)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->known[i].place.disk == p->disk)
            return &r->known[i];
    return NULL;
}

static void describe(const struct known *k, struct service_disk *ret)
{
    memcpy(ret->what, k->place.what, sizeof ret->what);
    ret->size_bytes = k->place.size_bytes;
    ret->free_bytes = k->place.free_bytes;
    ret->full_in_ms = forecast_full_ms(&k->forecast);
}

/* For the history, in which a disk that is now short and now not must not take every line. */
static void keep(const struct room *r, struct known *k, const char *text)
{
    hm_ms now_ms = clock_boot_ms();

    if (k->kept_ms != 0 && now_ms < k->kept_ms + WARN_AGAIN_MS)
        return;
    k->kept_ms = now_ms;
    if (r->config->host.note != NULL)
        r->config->host.note(r->config->host.ctx, text);
}

/* When it begins, every hour, and when it is over. */
static void warn(const struct room *r, struct known *k)
{
    const char *service = r->config->service->name;
    char text[SERVICE_DISK_TEXT];
    hm_ms now_ms = clock_boot_ms();
    struct service_disk d;
    bool is_short;

    describe(k, &d);
    service_disk_text(&d, text);
    is_short = service_disk_is_short(&d, r->config->settings);
    if (is_short && (k->warned_ms == 0 || now_ms >= k->warned_ms + WARN_AGAIN_MS)) {
        log_warn("disk short service=%s: %s", service, text);
        keep(r, k, text);
        k->warned_ms = now_ms;
    } else if (!is_short && k->warned_ms != 0) {
        log_notice("disk no longer short service=%s: %s", service, text);
        k->warned_ms = 0;
    }
}

static void done(struct worker_job *base)
{
    struct look *l = (struct look *)base;
    struct room *r = l->room;
    struct known now[SERVICE_DISKS_MAX];

    r->is_out = false;
    for (size_t i = 0; i < l->n; i++) {
        const struct known *before = known_of(r, &l->place[i]);

        now[i] = before != NULL ? *before : (struct known){ .place = l->place[i] };
        now[i].place = l->place[i];
        forecast_note(&now[i].forecast, now[i].place.free_bytes, clock_boot_ms());
    }
    memcpy(r->known, now, l->n * sizeof now[0]);
    r->n = l->n;
    for (size_t i = 0; i < r->n; i++)
        warn(r, &r->known[i]);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct room *r = arg;

    (void)fd;
    (void)what;
    if (r->is_out)
        return; /* the disk holds the last look up: what is known stays */
    r->is_out = true;
    r->look.base.run = run;
    r->look.base.done = done;
    r->look.room = r;
    worker_add(r->worker, &r->look.base);
}

static bool is_full(const struct known *k)
{
    struct service_disk d;

    describe(k, &d);
    return service_disk_is_full(&d);
}

bool room_is_full(const struct room *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (is_full(&r->known[i]))
            return true;
    return false;
}

bool room_is_enough(const struct room *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->known[i].place.has_log && r->known[i].place.free_bytes < LOG_ROOM_BYTES)
            return false;
    return !room_is_full(r);
}

void room_describe(const struct room *r, struct service_facts *ret)
{
    ret->disks_n = r->n;
    for (size_t i = 0; i < r->n; i++)
        describe(&r->known[i], &ret->disk[i]);
}

enum hm_rc room_new(const struct service_config *config, struct room **ret, struct hm_err *err)
{
    const struct timeval every = { .tv_sec = LOOK_MS / 1000 };
    struct room *r = calloc(1, sizeof *r);
    enum hm_rc rc;

    if (r == NULL)
        return hm_fail(err, HM_FAILED, "no memory to watch a disk");
    r->config = config;
    rc = worker_new(config->base, "hamgr-room", &r->worker, err);
    if (rc == HM_OK) {
        r->tick = event_new(config->base, -1, EV_PERSIST, on_tick, r);
        if (r->tick == NULL || event_add(r->tick, &every) != 0)
            rc = hm_fail(err, HM_FAILED, "no memory to watch a disk");
    }
    if (rc != HM_OK) {
        room_free(r);
        return rc;
    }
    on_tick(-1, 0, r);
    *ret = r;
    return HM_OK;
}

void room_free(struct room *r)
{
    if (r == NULL)
        return;
    if (r->tick != NULL)
        event_free(r->tick);
    worker_free(r->worker);
    free(r);
}
