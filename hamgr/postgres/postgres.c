/* postgres.c - the door: what hamgrd knows as a service of kind PostgreSQL. */
#include "base/log.h"
#include "postgres/datadir.h"
#include "postgres/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* hamgr's own sessions never wait for a standby unless they say so, and see no schema of others. */
#define SESSION                                                                                    \
    "-c synchronous_commit=local -c statement_timeout=0 -c lock_timeout=0"                         \
    " -c default_transaction_read_only=off -c search_path=pg_catalog"

/* --- notes ----------------------------------------------------------------------------------- */

struct note_job {
    struct worker_job base;
    struct note_job *next; /* in the service's list, so that none is lost when it is closed */
    struct service *s;
    struct notes notes;
    enum hm_rc rc;
    struct hm_err err;
    void (*then)(struct service *s, bool is_ok, void *ctx);
    void *ctx;
};

static void run_note(struct worker_job *base)
{
    struct note_job *job = (struct note_job *)base;
    const struct settings_service *service = job->s->config.service;

    job->rc = notes_save(job->s->config.settings->state_dir, service->name, service->data_dir,
                         &job->notes, &job->err);
}

static void done_note(struct worker_job *base)
{
    struct note_job *job = (struct note_job *)base;
    struct service *s = job->s;
    struct note_job **at = &s->note_jobs;

    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (job->rc != HM_OK)
        log_error("note-failed service=%s why=\"%s\"", s->config.service->name, job->err.text);
    if (job->then != NULL)
        job->then(s, job->rc == HM_OK, job->ctx);
    free(job);
}

void postgres_note(struct service *s, const struct notes *changed,
                   void (*then)(struct service *s, bool is_ok, void *ctx), void *ctx)
{
    struct note_job *job = calloc(1, sizeof *job);

    HM_BUG_ON(job == NULL); /* nobody could be told that what must be durable is not */
    s->notes = *changed;
    s->probe->notes_written++;
    job->base.run = run_note;
    job->base.done = done_note;
    job->s = s;
    job->notes = *changed;
    job->then = then;
    job->ctx = ctx;
    job->next = s->note_jobs;
    s->note_jobs = job;
    worker_add(s->worker, &job->base);
}

/* --- connections ----------------------------------------------------------------------------- */

static void add_option(char *conninfo, size_t size, const char *keyword, const char *value)
{
    size_t n = strlen(conninfo);

    if (value[0] == 0)
        return;
    n += (size_t)snprintf(conninfo + n, size - n, "%s='", keyword);
    for (; *value != 0 && n + 4 < size; value++) {
        if (*value == '\'' || *value == '\\')
            conninfo[n++] = '\\';
        conninfo[n++] = *value;
    }
    (void)snprintf(conninfo + n, size - n, "' ");
}

static void make_conninfo(struct service *s)
{
    const struct settings_service *c = s->config.service;
    char port[8];

    (void)snprintf(port, sizeof port, "%u", (unsigned int)c->port);
    s->conninfo[0] = 0;
    add_option(s->conninfo, sizeof s->conninfo, "host",
               c->socket_dir[0] != 0 ? c->socket_dir : "/var/run/postgresql");
    add_option(s->conninfo, sizeof s->conninfo, "port", port);
    add_option(s->conninfo, sizeof s->conninfo, "user", c->user);
    add_option(s->conninfo, sizeof s->conninfo, "dbname",
               c->dbname[0] != 0 ? c->dbname : "postgres");
    add_option(s->conninfo, sizeof s->conninfo, "application_name", "hamgr");
    add_option(s->conninfo, sizeof s->conninfo, "options", SESSION);
}

static void on_watch_up(void *ctx)
{
    probe_note_up(((struct service *)ctx)->probe);
}

static void on_watch_down(void *ctx, const char *why)
{
    probe_note_down(((struct service *)ctx)->probe, why);
}

/* The probe opens both: it knows when there is a server. */
static enum hm_rc make_connections(struct service *s, struct hm_err *err)
{
    struct conn_config c = { .base = s->config.base,
                             .conninfo = s->conninfo,
                             .connect_ms = s->config.settings->timing.check_timeout_ms };
    enum hm_rc rc;

    make_conninfo(s);
    rc = conn_new(&c, &s->work, err);
    if (rc != HM_OK)
        return rc;
    c.connect_ms = 24 * 3600 * 1000; /* the probe's rounds have their own limit */
    c.on_up = on_watch_up;
    c.on_down = on_watch_down;
    c.ctx = s;
    return conn_new(&c, &s->watch, err);
}

/* --- standby.signal of a primary ---------------------------------------------------------------
 */

struct signal_job {
    struct worker_job base;
    struct service *s;
    enum hm_rc rc;
    struct hm_err err;
};

static void run_signal(struct worker_job *base)
{
    struct signal_job *job = (struct signal_job *)base;

    job->rc = datadir_mark_standby(job->s->config.service->data_dir, &job->err);
}

static void done_signal(struct worker_job *base)
{
    struct signal_job *job = (struct signal_job *)base;

    if (job->rc != HM_OK) {
        log_error("unguarded service=%s: a start by hand would be writable: %s",
                  job->s->config.service->name, job->err.text);
        job->s->signal_server_id = 0; /* tried again with the next probe */
    }
    job->s->signal_job = NULL;
    free(job);
}

/* PostgreSQL removes the file when it is promoted, and a primary that was adopted never had it.
 * With it every start, by hand or after a crash, comes up in recovery, and waits there for the
 * lease. */
void postgres_keep_signal(struct service *s)
{
    struct signal_job *job;
    bool is_rightful = s->is_followed && s->record.holder == s->self &&
                       s->seen.state == COPY_PRIMARY && s->seen.copy_id == s->record.copy_id;

    if (!is_rightful || s->signal_job != NULL || s->signal_server_id == s->seen.server_id)
        return;
    job = calloc(1, sizeof *job);
    if (job == NULL)
        return; /* the next probe tries again */
    job->base.run = run_signal;
    job->base.done = done_signal;
    job->s = s;
    s->signal_job = job;
    s->signal_server_id = s->seen.server_id;
    worker_add(s->worker, &job->base);
}

/* --- service.h ------------------------------------------------------------------------------- */

static void close_service(struct service *s)
{
    if (s->probe != NULL)
        postgres_op_drop(s);
    room_free(s->room);
    conn_free(s->work);
    conn_free(s->watch);
    worker_free(s->worker);
    slots_free(s->slots); /* its look at the disk is the worker's */
    probe_free(s->probe);
    free(s->signal_job);
    postgres_drop_gives(s);
    free(s->lost);
    while (s->note_jobs != NULL) {
        struct note_job *next = s->note_jobs->next;

        free(s->note_jobs);
        s->note_jobs = next;
    }
    free(s);
}

/* Processes of another user cannot be looked at: a server that runs would be taken for none. */
static enum hm_rc check_owner(const char *data_dir, struct hm_err *err)
{
    struct stat st;

    if (geteuid() == 0 || stat(data_dir, &st) != 0 || st.st_uid == geteuid())
        return HM_OK;
    return hm_fail(err, HM_BAD_INPUT, "'%s' belongs to user %u: hamgrd must run as that user",
                   data_dir, (unsigned int)st.st_uid);
}

static enum hm_rc open_service(const struct service_config *config, struct service **ret,
                               struct hm_err *err)
{
    struct service *s = calloc(1, sizeof *s);
    enum hm_rc rc;

    if (s == NULL)
        return hm_fail(err, HM_FAILED, "no memory for a service");
    s->config = *config;
    s->self = HM_NOBODY;
    s->may_have_old = true;
    s->seen.follows = HM_NOBODY;
    rc = check_owner(config->service->data_dir, err);
    if (rc == HM_OK)
        rc = notes_load(config->settings->state_dir, config->service->name,
                        config->service->data_dir, &s->notes, err);
    if (rc == HM_OK)
        rc = worker_new(config->base, "hamgr-pgfiles", &s->worker, err);
    if (rc == HM_OK)
        rc = room_new(&s->config, &s->room, err);
    if (rc == HM_OK)
        rc = make_connections(s, err);
    if (rc == HM_OK)
        rc = probe_new(s, &s->probe, err);
    if (rc == HM_OK)
        rc = slots_new(s, &s->slots, err);
    if (rc != HM_OK) {
        close_service(s);
        return rc;
    }
    probe_look(s->probe);
    *ret = s;
    return HM_OK;
}

static void look(struct service *s)
{
    probe_look(s->probe);
}

static void note_record(struct service *s, const struct record *r, uint8_t self, bool is_followed)
{
    if (memcmp(s->record.member, r->member, sizeof r->member) != 0)
        slots_hasten(s->slots);
    s->record = *r;
    s->self = self;
    s->is_followed = is_followed;
    postgres_keep_signal(s);
}

static void note_fence(struct service *s, bool is_there, const struct fence_report *report)
{
    bool is_news = is_there != s->has_fence;

    s->has_fence = is_there;
    if (is_there && report != NULL) {
        is_news = is_news || report->mode != s->fence.mode || report->stopped != s->fence.stopped ||
                  report->processes != s->fence.processes;
        s->fence = *report;
    }
    if (is_news)
        probe_look(s->probe);
}

static void describe(const struct service *s, struct service_facts *ret)
{
    *ret = s->facts;
    slots_describe(s->slots, ret);
    latency_summarise(&s->probe->gray->commits, &ret->commits);
    if (!s->probe->is_refused)
        (void)snprintf(ret->stall, sizeof ret->stall, "%s", s->probe->gray->words);
    room_describe(s->room, ret);
    if (s->probe->trouble[0] != 0)
        (void)snprintf(ret->trouble, sizeof ret->trouble, "%s", s->probe->trouble);
}

const struct service_type service_postgres = {
    .name = "postgres",
    .open = open_service,
    .close = close_service,
    .look = look,
    .carry_out = postgres_carry_out,
    .note_record = note_record,
    .note_fence = note_fence,
    .give_log = postgres_give_log,
    .take_log = postgres_take_log,
    .check = postgres_check,
    .describe = describe,
};
