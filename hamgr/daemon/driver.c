/* driver.c - the only file that knows both the event loop and the core: events in, effects out.
 *
 * A callback reads, makes an event, feeds it. What an adapter reports while effects are carried out
 * is queued, so the core is never entered twice. */
#include "daemon/daemon.h"

#include "base/clock.h"
#include "core/narrate.h"

#include <stdlib.h>
#include <string.h>

/* Followers and the leader itself may note the record's history beside their copy. */
static void tell_record(struct driver *d)
{
    const struct record *r = core_record(&d->core);
    uint8_t leader = core_leader(&d->core);

    if (r == NULL || d->service == NULL)
        return;
    if (d->told_version == r->version && d->told_leader == leader &&
        ballot_compare(&d->told_ballot, &d->core.voter.durable.accepted) == 0)
        return;
    d->told_version = r->version;
    d->told_leader = leader;
    d->told_ballot = d->core.voter.durable.accepted;
    members_note(d->daemon);
    d->type->note_record(d->service, r, d->core.self, leader != HM_NOBODY);
}

static void step(struct driver *d, struct core_event *ev)
{
    char line[400];

    ev->at_ms = clock_boot_ms(); /* the one place where time enters */
    ev->wall_ms = clock_wall_ms();
    if (core_step(&d->core, ev, &d->todo) != HM_OK) {
        log_warn("event refused service=%s type=%s", d->settings->name, core_event_name(ev->type));
        return;
    }
    if (d->core.moves_n > 0)
        log_notice("decision service=%s %s", d->settings->name,
                   core_narrate(&d->core, line, sizeof line));
    for (size_t i = 0; i < d->todo.n; i++)
        driver_carry_out(d, &d->todo.item[i]);
    tell_record(d);
}

static void step_all(struct driver *d, const struct core_event *ev)
{
    struct core_event next = *ev;

    d->is_stepping = true;
    step(d, &next);
    while (d->queue_n > 0) {
        next = d->queue[d->queue_first];
        d->queue_first = (d->queue_first + 1) % DRIVER_QUEUE_MAX;
        d->queue_n--;
        step(d, &next);
    }
    d->is_stepping = false;
    rebuild_order_note(d);
    loop_timer_set(&d->timer, core_deadline(&d->core));
    driver_try_disk(d);
    sd_tell(d->daemon);
    serve_sentinel_note(d->daemon->sentinel);
}

void driver_feed(struct driver *d, const struct core_event *ev)
{
    if (d->is_stepping) {
        /* What is lost here is asked for again: the core is level-triggered. */
        if (d->queue_n < DRIVER_QUEUE_MAX)
            d->queue[(d->queue_first + d->queue_n++) % DRIVER_QUEUE_MAX] = *ev;
        return;
    }
    if (!d->is_started && ev->type != ON_START)
        return;
    if (d->is_started && loop_note(&d->daemon->loop, clock_boot_ms(), core_deadline(&d->core)))
        step_all(d, &(struct core_event){ .type = ON_STALL });
    step_all(d, ev);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct driver *d = arg;

    (void)fd;
    (void)what;
    loop_timer_drain(&d->timer);
    driver_feed(d, &(struct core_event){ .type = ON_TICK });
}

/* --- what the service and the fence report ------------------------------------------------------
 */

static void on_copy(void *ctx, const struct copy *copy)
{
    struct driver *d = ctx;
    struct core_event ev = { .type = ON_COPY, .copy = *copy };

    driver_add_fence(d, &ev.copy);
    driver_feed(d, &ev);
    /* It may have begun before the newest operation ended, and was not believed. */
    if (d->service != NULL && copy->taken_at_ms <= d->core.op_ended_ms)
        d->type->look(d->service);
}

/* Suspended in the end of a planned change: its clients learn now, and not when it is killed, that
 * somebody else will answer them. A reset acknowledges nothing, and passes the closed gate. */
static void part_from_clients(struct driver *d)
{
    struct fence_request request = { .verb = FENCE_VERB_DISTRUST };

    if (d->report.has_gate)                     /* else the helper has no right to it */
        (void)ad_fence_ask(d->fence, &request); /* not there: they hear of it by the kill */
}

static void on_done(void *ctx, uint32_t op, bool is_ok, const char *why, const struct copy *copy)
{
    struct driver *d = ctx;
    struct core_event ev = { .type = ON_DONE };
    char text[320];

    (void)snprintf(text, sizeof text, "operation failed service=%s: %s", d->settings->name, why);
    if (!is_ok && driver_is_told(d, text, sizeof text))
        log_warn("%s op=%u", text, op);
    if (d->is_suspending && is_ok)
        part_from_clients(d);
    d->is_suspending = false;
    if (op == d->rebuild_op) {
        (void)snprintf(text, sizeof text, "%s %s%s", d->rebuild,
                       is_ok ? "is done" : "failed: ", is_ok ? "" : why);
        chronicle_note(d->chronicle, clock_wall_ms(), text);
    }
    ev.done.op = op;
    ev.done.is_ok = is_ok;
    ev.done.copy = *copy;
    driver_add_fence(d, &ev.done.copy);
    driver_feed(d, &ev);
}

static void on_died(void *ctx, const char *why)
{
    struct driver *d = ctx;
    const struct core_effect kill = { .type = DO_KILL };
    char text[320];

    /* With a full disk the server dies again with every start. */
    (void)snprintf(text, sizeof text, "server killed service=%s: every process of it, because %s",
                   d->settings->name, why);
    if (driver_is_told(d, text, sizeof text))
        log_error("%s", text);
    driver_carry_out(d, &kill);
}

static void note(void *ctx, const char *text)
{
    chronicle_note(((struct driver *)ctx)->chronicle, clock_wall_ms(), text);
}

static bool start_unit(void *ctx)
{
    struct driver *d = ctx;
    struct fence_request request = { .verb = FENCE_VERB_START };

    return d->fence != NULL && ad_fence_ask(d->fence, &request);
}

static bool suspend(void *ctx)
{
    struct driver *d = ctx;
    struct fence_request request = { .verb = FENCE_VERB_MODE, .mode = FENCE_SUSPENDED };

    d->is_suspending = true;
    return d->fence != NULL && ad_fence_ask(d->fence, &request);
}

static bool scan(void *ctx)
{
    struct driver *d = ctx;
    struct fence_request request = { .verb = FENCE_VERB_STATUS };

    return d->fence != NULL && ad_fence_ask(d->fence, &request);
}

/* A renewal that only moved the deadline is no news. */
static bool is_news(const struct fence_report *a, const struct fence_report *b)
{
    return a->mode != b->mode || a->is_gate_open != b->is_gate_open ||
           a->processes != b->processes || a->stopped != b->stopped || a->is_held != b->is_held ||
           a->has_gate != b->has_gate;
}

static void on_report(void *ctx, bool is_there, const struct fence_report *report)
{
    struct driver *d = ctx;
    bool had = d->has_report;
    bool has_changed = had != is_there || is_news(&d->report, report);

    d->has_report = is_there;
    d->report = *report;
    if (!had && is_there)
        members_tell_fence(d->daemon);
    if (had != is_there)
        log_notice("fence service=%s is_there=%d gate=%d", d->settings->name, is_there,
                   report->has_gate);
    if (is_there && report->rc != HM_OK)
        log_warn("fence refused service=%s: %s", d->settings->name, report->why);
    if (d->service == NULL)
        return;
    d->type->note_fence(d->service, is_there, report);
    if (has_changed || (report->seq != 0 && report->rc != HM_OK))
        d->type->look(d->service);
}

/* --- beginning and end --------------------------------------------------------------------------
 */

static void configure(const struct driver *d, struct core_config *ret)
{
    const struct settings *s = &d->daemon->settings;
    const struct settings_member *self = &s->member[s->self];

    memset(ret, 0, sizeof *ret);
    ret->cluster = s->cluster_id;
    ret->service = d->settings->number;
    ret->kind = d->settings->kind;
    ret->role = self->role;
    ret->incarnation = d->daemon->store.incarnation;
    ret->seed = ret->incarnation ^ (uint64_t)clock_wall_ms();
    memcpy(ret->name, self->name, sizeof ret->name);
    ret->priority = self->priority;
    ret->is_nofailover = self->is_nofailover;
    memcpy(ret->follow, self->follow, sizeof ret->follow);
    ret->fence_margin_ms = s->timing.fence_margin_ms;
    ret->stall_timeout_ms = s->timing.stall_timeout_ms;
    /* Redis waits for no disk: what does not answer for so long, and is proved to hang, hangs. */
    if (ret->kind == SERVICE_REDIS)
        ret->stall_timeout_ms = hm_min_ms(ret->stall_timeout_ms, s->timing.check_timeout_ms);
    ret->crash_wait_ms = s->timing.crash_wait_ms;
    ret->freeze_timeout_ms = s->timing.freeze_timeout_ms;
    ret->rescue_timeout_ms = s->tail_rescue_timeout_ms;
    ret->rescue_bytes = s->tail_rescue_max_bytes;
    settings_first_record(s, d->settings, &ret->first);
    if (d->daemon->is_joining) { /* there is a cluster: it begins none, and waits to be added */
        memset(ret->first.member, 0, sizeof ret->first.member);
        ret->first.voters = 0;
    }
}

static enum hm_rc open_fence(struct driver *d, struct hm_err *err)
{
    const struct settings *s = &d->daemon->settings;
    const char *const child[] = { "hamgr-fence", "--child", "-c", s->file, NULL };
    char path[SETTINGS_PATH_MAX + 16];
    struct ad_fence_config config = { .base = d->daemon->loop.base,
                                      .socket = path,
                                      .service = d->settings->name,
                                      .child_argv = s->fence == SETTINGS_FENCE_CHILD ? child : NULL,
                                      .on_report = on_report,
                                      .ctx = d };

    (void)snprintf(path, sizeof path, "%s/fence.sock", s->run_dir);
    return ad_fence_new(&config, &d->fence, err);
}

static bool look_at_peer(void *ctx, uint8_t member, struct gossip *ret)
{
    const struct core *c = &((struct driver *)ctx)->core;
    const struct record *r = core_record(c);
    const struct gossip *g =
        r != NULL ? view_recent(&c->view, member, clock_boot_ms() - r->ttl_ms) : NULL;

    if (g != NULL)
        *ret = *g;
    return g != NULL;
}

static enum hm_rc open_chronicle(struct driver *d, struct hm_err *err)
{
    const char *dir = d->daemon->settings.state_dir, *name = d->settings->name;
    bool is_damaged = false;
    enum hm_rc rc =
        chronicle_open(d->daemon->loop.base, dir, name, &d->chronicle, &is_damaged, err);

    if (rc == HM_OK && is_damaged)
        log_warn("history lost service=%s: '%s/%s.history' is damaged: it begins anew", name, dir,
                 name);
    return rc;
}

static enum hm_rc open_service(struct driver *d, struct hm_err *err)
{
    struct service_config config = {
        .base = d->daemon->loop.base,
        .settings = &d->daemon->settings,
        .service = d->settings,
        .incarnation = d->daemon->store.incarnation,
        .host = { .ctx = d,
                  .on_copy = on_copy,
                  .on_done = on_done,
                  .on_died = on_died,
                  .start_unit = start_unit,
                  .scan = scan,
                  .suspend = suspend,
                  .ask_log = pass_log_ask,
                  .note = note,
                  .look_at_peer = look_at_peer },
    };

    d->type = d->settings->kind == SERVICE_REDIS ? &service_redis : &service_postgres;
    return d->type->open(&config, &d->service, err);
}

enum hm_rc driver_new(struct daemon *daemon, const struct settings_service *settings,
                      struct driver **ret, struct hm_err *err)
{
    struct core_event start = { .type = ON_START };
    struct core_config config;
    struct voter_state *state;
    bool is_blank = false;
    struct driver *d;
    enum hm_rc rc;

    d = calloc(1, sizeof *d);
    state = calloc(1, sizeof *state);
    if (d == NULL || state == NULL) {
        rc = hm_fail(err, HM_FAILED, "no memory");
        goto out;
    }
    d->daemon = daemon;
    d->settings = settings;
    d->told_leader = HM_NOBODY;
    d->timer.fd = -1;
    rc = store_load(&daemon->store, settings->name, state, &is_blank, err);
    if (rc != HM_OK)
        goto out;
    rc = loop_timer_init(&daemon->loop, &d->timer, on_deadline, d, err);
    if (rc != HM_OK)
        goto out;
    rebuild_order_load(d);
    rc = open_chronicle(d, err);
    if (rc == HM_OK)
        rc = open_fence(d, err);
    if (rc != HM_OK)
        goto out;
    configure(d, &config);
    core_init(&d->core, &config);
    start.start.state = is_blank ? NULL : state;
    driver_feed(d, &start);
    d->is_started = true;
    rc = open_service(d, err);
out:
    free(state);
    if (rc != HM_OK) {
        hm_wrap(err, "service '%s'", settings->name);
        driver_free(d);
        return rc;
    }
    *ret = d;
    return HM_OK;
}

void driver_free(struct driver *d)
{
    if (d == NULL)
        return;
    if (d->service != NULL)
        d->type->close(d->service);
    chronicle_close(d->chronicle); /* after who notes there */
    ad_fence_free(d->fence);
    loop_timer_done(&d->timer);
    free(d);
}
