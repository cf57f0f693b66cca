/* redis.c - the door: what hamgrd knows as a service of kind Redis. */
#include "base/log.h"
#include "redis/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- notes ----------------------------------------------------------------------------------- */

/* One write at a time; what changed meanwhile is written after it. */
struct note_job {
    struct worker_job base;
    struct service *s;
    struct rnotes notes;
    bool is_out;
    enum hm_rc rc;
    struct hm_err err;
};

static void run_note(struct worker_job *base)
{
    struct note_job *job = (struct note_job *)base;
    const struct service_config *config = &job->s->config;

    job->rc =
        rnotes_save(config->settings->state_dir, config->service->name, &job->notes, &job->err);
}

static void write_notes(struct note_job *job);

static void done_note(struct worker_job *base)
{
    struct note_job *job = (struct note_job *)base;

    job->is_out = false;
    if (job->rc != HM_OK) /* the next change tries again */
        log_error("note-failed service=%s why=\"%s\"", job->s->config.service->name, job->err.text);
    else if (memcmp(&job->notes, &job->s->notes, sizeof job->notes) != 0)
        write_notes(job);
}

static void write_notes(struct note_job *job)
{
    job->base.run = run_note;
    job->base.done = done_note;
    job->notes = job->s->notes;
    job->is_out = true;
    worker_add(job->s->worker, &job->base);
}

void redis_note(struct service *s, const struct rnotes *changed)
{
    s->notes = *changed;
    if (!s->note_job->is_out)
        write_notes(s->note_job);
}

/* --- connections ----------------------------------------------------------------------------- */

static void on_watch_up(void *ctx)
{
    redis_probe_note_up(((struct service *)ctx)->probe);
}

static void on_watch_down(void *ctx, const char *why)
{
    redis_probe_note_down(((struct service *)ctx)->probe, why);
}

enum { PASSWORD_MAX = 512 };

/* The first line of the file. */
static enum hm_rc read_password(const char *path, char *password, size_t size, struct hm_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return hm_fail_errno(err, "cannot open passfile '%s'", path);
    n = read(fd, password, size - 1);
    (void)close(fd); /* opened for reading: nothing can be lost */
    if (n < 0)
        return hm_fail_errno(err, "cannot read passfile '%s'", path);
    password[n] = 0;
    password[strcspn(password, "\r\n")] = 0;
    if (password[0] == 0)
        return hm_fail(err, HM_BAD_INPUT, "passfile '%s' begins with an empty line", path);
    if (strlen(password) + 1 == size)
        return hm_fail(err, HM_BAD_INPUT, "the password in '%s' is too long", path);
    return HM_OK;
}

/* One look at the pass file at a time. */
struct pass_job {
    struct worker_job base;
    struct service *s;
    bool is_out;
    bool has_failed; /* told once */
    enum hm_rc rc;
    struct hm_err err;
    char password[PASSWORD_MAX];
};

static void run_pass(struct worker_job *base)
{
    struct pass_job *job = (struct pass_job *)base;

    job->rc = read_password(job->s->config.service->passfile, job->password, sizeof job->password,
                            &job->err);
}

static void take_password(struct service *s, const char *password)
{
    char *copy = strdup(password);

    if (copy == NULL || !rconn_set_password(s->work, copy) ||
        !rconn_set_password(s->watch, copy)) { /* the next refusal tries again */
        free(copy);
        return;
    }
    if (s->password != NULL)
        explicit_bzero(s->password, strlen(s->password));
    free(s->password);
    s->password = copy;
    log_info("passfile read again service=%s", s->config.service->name);
    redis_probe_look(s->probe);
}

static void done_pass(struct worker_job *base)
{
    struct pass_job *job = (struct pass_job *)base;
    struct service *s = job->s;

    job->is_out = false;
    if (job->rc != HM_OK && !job->has_failed)
        log_warn("passfile-failed service=%s why=\"%s\"", s->config.service->name, job->err.text);
    else if (job->rc == HM_OK && (s->password == NULL || strcmp(job->password, s->password) != 0))
        take_password(s, job->password);
    job->has_failed = job->rc != HM_OK;
    explicit_bzero(job->password, sizeof job->password);
}

void redis_read_password_again(struct service *s)
{
    struct pass_job *job = s->pass_job;

    if (s->config.service->passfile[0] == 0 || job->is_out)
        return;
    job->base.run = run_pass;
    job->base.done = done_pass;
    job->is_out = true;
    worker_add(s->worker, &job->base);
}

/* The probe opens both: it knows when there is a server. */
static enum hm_rc make_connections(struct service *s, struct hm_err *err)
{
    const struct settings_service *service = s->config.service;
    char password[PASSWORD_MAX] = "";
    struct rconn_config c = {
        .base = s->config.base,
        .path = service->socket, /* a closed gate holds back TCP, also within the host */
        .user = service->user,
        .password = password,
        .connect_ms = s->config.settings->timing.check_timeout_ms,
    };
    enum hm_rc rc = HM_OK;

    if (service->passfile[0] != 0)
        rc = read_password(service->passfile, password, sizeof password, err);
    if (rc == HM_OK && password[0] != 0) {
        s->password = strdup(password);
        if (s->password == NULL)
            rc = hm_fail(err, HM_FAILED, "no memory for a connection");
    }
    if (rc == HM_OK)
        rc = rconn_new(&c, &s->work, err);
    c.connect_ms = PROBE_QUESTION_MS; /* the probe's rounds have their own limit */
    c.on_up = on_watch_up;
    c.on_down = on_watch_down;
    c.ctx = s;
    if (rc == HM_OK)
        rc = rconn_new(&c, &s->watch, err);
    explicit_bzero(password, sizeof password);
    return rc;
}

/* --- service.h ------------------------------------------------------------------------------- */

static void close_service(struct service *s)
{
    if (s->probe != NULL)
        redis_op_drop(s);
    rconn_free(s->work);
    rconn_free(s->watch);
    worker_free(s->worker);
    redis_probe_free(s);
    hosts_free(s->hosts);
    free(s->note_job);
    free(s->pass_job);
    if (s->password != NULL)
        explicit_bzero(s->password, strlen(s->password));
    free(s->password);
    free(s);
}

static enum hm_rc open_service(const struct service_config *config, struct service **ret,
                               struct hm_err *err)
{
    struct service *s = calloc(1, sizeof *s);
    enum hm_rc rc;

    if (s == NULL)
        return hm_fail(err, HM_FAILED, "no memory for a service");
    s->note_job = calloc(1, sizeof *s->note_job);
    s->pass_job = calloc(1, sizeof *s->pass_job);
    if (s->note_job == NULL || s->pass_job == NULL) {
        close_service(s);
        return hm_fail(err, HM_FAILED, "no memory for a service");
    }
    s->config = *config;
    s->note_job->s = s->pass_job->s = s;
    s->self = HM_NOBODY;
    s->seen.follows = HM_NOBODY;
    rc = rnotes_load(config->settings->state_dir, config->service->name, &s->notes, err);
    if (rc == HM_OK)
        rc = worker_new(config->base, "hamgr-notes", &s->worker, err);
    if (rc == HM_OK)
        rc = hosts_new(config->base, &s->hosts, err);
    if (rc == HM_OK)
        rc = make_connections(s, err);
    if (rc == HM_OK)
        rc = redis_probe_new(s, err);
    if (rc != HM_OK) {
        close_service(s);
        return rc;
    }
    redis_probe_look(s->probe);
    *ret = s;
    return HM_OK;
}

static void look(struct service *s)
{
    redis_probe_look(s->probe);
}

static void note_record(struct service *s, const struct record *r, uint8_t self, bool is_followed)
{
    s->record = *r;
    s->self = self;
    s->is_followed = is_followed;
    hosts_note(s->hosts, r);
}

static void note_fence(struct service *s, bool is_there, const struct fence_report *report)
{
    bool is_news = is_there != s->has_fence;

    s->has_fence = is_there;
    if (is_there && report != NULL) {
        is_news = is_news || report->mode != s->fence.mode || report->stopped != s->fence.stopped ||
                  report->processes != s->fence.processes || report->is_held != s->fence.is_held;
        s->fence = *report;
    }
    if (is_news)
        redis_probe_note_fence(s);
}

/* What a server of Redis had is gone with it. */
static bool give_log(struct service *s, const struct service_log_ask *ask, service_log_given *then,
                     void *ctx)
{
    (void)s;
    (void)ask;
    (void)then;
    (void)ctx;
    return false;
}

static void take_log(struct service *s, uint64_t id, uint64_t at, const uint8_t *bytes, size_t size)
{
    (void)s;
    (void)id;
    (void)at;
    (void)bytes;
    (void)size;
}

/* "offset 1234, 2 of 2 replicas online, at most 0 bytes behind" */
static void tell_primary(const struct info *i, char *text, size_t size)
{
    uint64_t lag = 0;
    size_t online = 0;
    int n;

    for (size_t k = 0; k < i->replicas_n; k++) {
        const struct info_replica *r = &i->replica[k];

        online += r->is_online;
        if (r->is_online && i->master_offset > r->offset && i->master_offset - r->offset > lag)
            lag = i->master_offset - r->offset;
    }
    n = snprintf(text, size, "offset %" PRIu64 ", %zu of %zu replicas online", i->master_offset,
                 online, i->replicas_n);
    if (online > 0 && n > 0 && (size_t)n < size)
        (void)snprintf(text + n, size - (size_t)n, ", at most %" PRIu64 " bytes behind", lag);
}

/* Of what the server said last; nothing of one that says nothing. */
static void tell_detail(const struct service *s, char *text, size_t size)
{
    const struct info *i = &s->info;

    text[0] = '\0';
    if (s->seen.state == COPY_PRIMARY)
        tell_primary(i, text, size);
    else if (s->seen.state == COPY_STANDBY && s->seen.follows == HM_NOBODY)
        (void)snprintf(text, size, "offset %" PRIu64 ", follows nobody", i->replica_offset);
    else if (s->seen.state == COPY_STANDBY)
        (void)snprintf(text, size, "offset %" PRIu64 ", link to %.64s:%u %s", i->replica_offset,
                       i->master_host, (unsigned int)i->master_port,
                       i->is_linked    ? "up"
                       : i->is_syncing ? "down: it takes all data anew"
                                       : "down");
}

static void describe(const struct service *s, struct service_facts *ret)
{
    *ret = s->facts;
    tell_detail(s, ret->detail, sizeof ret->detail);
    if (s->seen.stalled_ms > 0)
        (void)snprintf(ret->stall, sizeof ret->stall, "%s", s->probe->trouble);
    if (s->probe->trouble[0] != 0)
        (void)snprintf(ret->trouble, sizeof ret->trouble, "%s", s->probe->trouble);
    redis_probe_tell_concern(s->probe, ret->concern, sizeof ret->concern);
}

const struct service_type service_redis = {
    .name = "redis",
    .open = open_service,
    .close = close_service,
    .look = look,
    .carry_out = redis_carry_out,
    .note_record = note_record,
    .note_fence = note_fence,
    .give_log = give_log,
    .take_log = take_log,
    .check = redis_check,
    .describe = describe,
};
