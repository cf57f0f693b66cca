/* carry_out.c - one switch over all effects of the core: each is handed to whoever does it. */
#include "daemon/daemon.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum { TRY_DISK_MS = 2000 };

static const char *member_name(const struct driver *d, uint8_t slot)
{
    const struct record *r = core_record(&d->core);

    if (slot >= HM_MEMBERS_MAX)
        return "nobody";
    if (r == NULL)
        r = &d->core.config.first;
    return r->member[slot].name;
}

void driver_add_fence(const struct driver *d, struct copy *copy)
{
    hm_ms timeout_ms = d->daemon->settings.timing.ttl_ms;

    copy->fence_answers = d->has_report && ad_fence_answers(d->fence, clock_boot_ms(), timeout_ms);
    copy->fence = d->report.mode;
    copy->fence_until_ms = d->report.mode == FENCE_LEASE ? d->report.until_ms : 0;
    copy->is_gate_open = d->report.is_gate_open;
}

bool driver_is_told(struct driver *d, char *text, size_t size)
{
    uint64_t hidden;
    size_t n = strlen(text);

    if (!log_burst_may(&d->steps, text, clock_boot_ms(), &hidden))
        return false;
    if (hidden > 0)
        (void)snprintf(text + n, size - n, " hidden=%llu", (unsigned long long)hidden);
    return true;
}

/* --- messages -----------------------------------------------------------------------------------
 */

static void send_message(struct driver *d, const struct msg *m)
{
    const struct wire_frame frame = { .type = WIRE_MSG, .msg = *m };
    const char *name = m->to < HM_MEMBERS_MAX ? member_name(d, m->to) : NULL;

    if (m->type != MSG_RELEASE) {
        (void)link_send(d->daemon->links, m->to_incarnation, name, &frame); /* lost: sent again */
        return;
    }
    if (ballot_compare(&m->ballot, &d->released) != 0)
        log_notice("lease released service=%s ballot=%llu: the copy can acknowledge nothing",
                   d->settings->name, (unsigned long long)m->ballot.counter);
    d->released = m->ballot;
    (void)link_send_urgent(d->daemon->links, m->to_incarnation, name, &frame); /* likewise */
}

/* --- the voter's state --------------------------------------------------------------------------
 */

static void write_state(struct worker_job *job)
{
    struct driver_write *w = (struct driver_write *)job;

    w->rc = store_save(&w->driver->daemon->store, w->driver->settings->name, &w->state, &w->err);
}

/* The last part of the text says what the disk said. */
static const char *disk_said(const struct hm_err *err)
{
    const char *colon = strrchr(err->text, ':');

    return colon != NULL && colon[1] == ' ' ? colon + 2 : err->text;
}

static void note_written(struct driver *d, const struct driver_write *w)
{
    uint64_t hidden = 0;

    if (w->rc != HM_OK && log_repeat_starts(&d->write_trouble, clock_boot_ms(), &hidden))
        log_error("vote refused service=%s hidden=%llu: %s: look at the disk of '%s'",
                  d->settings->name, (unsigned long long)hidden, w->err.text,
                  d->daemon->settings.state_dir);
    if (w->rc == HM_OK && log_repeat_ends(&d->write_trouble))
        log_notice("votes are written again service=%s", d->settings->name);
    (void)snprintf(d->write_why, sizeof d->write_why, "%.*s", (int)sizeof d->write_why - 1,
                   w->rc != HM_OK ? disk_said(&w->err) : "");
}

static void state_written(struct worker_job *job)
{
    struct driver_write *w = (struct driver_write *)job;
    struct driver *d = w->driver;
    struct core_event ev = { .type = ON_PERSISTED };

    w->began_ms = 0;
    note_written(d, w);
    ev.persisted.ticket = w->ticket;
    ev.persisted.is_ok = w->rc == HM_OK;
    driver_feed(d, &ev);
}

static void persist(struct driver *d, const struct core_effect *e)
{
    d->write.job.run = write_state;
    d->write.job.done = state_written;
    d->write.driver = d;
    d->write.ticket = e->persist.ticket;
    d->write.began_ms = clock_boot_ms();
    d->write.state = *e->persist.state;
    worker_add(d->daemon->disk, &d->write.job);
}

static void state_rewritten(struct worker_job *job)
{
    struct driver_write *w = (struct driver_write *)job;

    w->began_ms = 0;
    note_written(w->driver, w);
}

void driver_try_disk(struct driver *d)
{
    struct driver_write *w = &d->rewrite;
    hm_ms now_ms = clock_boot_ms();

    if (d->write_why[0] == '\0' || d->core.voter.is_writing || w->began_ms != 0 ||
        now_ms < d->tried_ms + TRY_DISK_MS)
        return;
    d->tried_ms = now_ms;
    *w = (struct driver_write){ .job = { .run = write_state, .done = state_rewritten },
                                .driver = d,
                                .began_ms = now_ms,
                                .state = d->core.voter.durable };
    worker_add(d->daemon->disk, &w->job);
}

/* --- the fence ----------------------------------------------------------------------------------
 */

static void fence(struct driver *d, const struct core_effect *e)
{
    struct fence_request request = { .verb = FENCE_VERB_MODE };
    char text[160];

    if (e->type == DO_FENCE && e->fence.mode == FENCE_LEASE && d->is_suspending)
        return; /* the end of the operation tells what is to be asked for next */
    if (e->type == DO_THAW)
        request.verb = FENCE_VERB_THAW;
    else if (e->type == DO_KILL)
        request.verb = FENCE_VERB_KILL;
    else {
        request.mode = e->fence.mode;
        request.suspend_ms = e->fence.suspend_ms;
        request.until_ms = e->fence.until_ms;
        request.is_gate_open = e->fence.is_gate_open;
    }
    (void)snprintf(text, sizeof text, "%s service=%s mode=%s", core_effect_name(e->type),
                   d->settings->name, e->type == DO_FENCE ? fence_mode_name(e->fence.mode) : "-");
    if ((e->type != DO_FENCE || d->report.mode != e->fence.mode) &&
        driver_is_told(d, text, sizeof text))
        log_info("%s", text);
    (void)ad_fence_ask(d->fence,
                       &request); /* not there: the probes say so, and it is asked again */
    /* Suspended already, as a stop may have left it: no news comes that would have it looked at. */
    if (e->type == DO_FENCE && e->fence.mode == FENCE_SUSPENDED &&
        d->report.mode == FENCE_SUSPENDED)
        d->type->look(d->service);
}

/* --- people -------------------------------------------------------------------------------------
 */

static void alert(struct driver *d, enum alert_kind kind, uint64_t epoch)
{
    static const char *const texts[] = {
        [ALERT_NONE] = "nothing",
        [ALERT_NEW_PRIMARY] = "this member is the new primary",
        [ALERT_LOST_LEASE] = "this member lost its lease",
        [ALERT_REBUILD] = "the copy cannot go on as it is: it is rewound or made anew",
        [ALERT_REBUILD_FAILS] =
            ("the copy could not be rebuilt several times: 'hamgr status' here says "
             "why; then 'hamgr rebuild' with this member's name"),
        [ALERT_ALONE] = "no standby is there: the primary acknowledges alone",
        [ALERT_BLANK] = "the voter's file is missing: this member must be removed and added again",
        [ALERT_DISK] = "the voter's state cannot be written: no vote from here",
        [ALERT_STOPPED] = "the cluster was forced on without this member: it has to join anew",
        [ALERT_NO_PRIMARY] =
            ("no primary: every copy may lack what was confirmed last; 'hamgr status' says "
             "why, and who may go on by 'hamgr failover --force'"),
    };
    bool is_first = kind == ALERT_REBUILD && d->core.copy.state == COPY_ABSENT;
    const char *what = is_first ? "there are no data here: a new copy is made" : texts[kind];
    char text[200];

    (void)snprintf(text, sizeof text, "alert service=%s epoch=%llu: %s", d->settings->name,
                   (unsigned long long)epoch, what);
    if (!driver_is_told(d, text, sizeof text))
        return;
    if (is_first)
        log_notice("%s", text);
    else
        log_warn("%s", text);
    if (kind != ALERT_NEW_PRIMARY) /* the record keeps the changes of primary */
        chronicle_note(d->chronicle, clock_wall_ms(), what);
}

/* How it ends is told by on_done(). */
static void note_rebuild(struct driver *d, const struct core_effect *e)
{
    if (e->type != DO_REWIND && e->type != DO_CLONE)
        return;
    d->rebuild_op = e->op;
    (void)snprintf(d->rebuild, sizeof d->rebuild, "the %s from %s",
                   e->type == DO_REWIND ? "rewind" : "clone", member_name(d, e->copy.member));
}

static void operate(struct driver *d, const struct core_effect *e)
{
    bool has_member = e->type != DO_SET_NAMES && e->type != DO_MARKER;
    char text[160];

    (void)snprintf(text, sizeof text, "operation service=%s %s member=%s", d->settings->name,
                   core_effect_name(e->type), has_member ? member_name(d, e->copy.member) : "-");
    if (driver_is_told(d, text, sizeof text))
        log_info("%s op=%u", text, e->op);
    d->is_suspending = false;
    note_rebuild(d, e);
    d->type->carry_out(d->service, e);
}

void driver_carry_out(struct driver *d, const struct core_effect *e)
{
    switch (e->type) {
    case DO_SEND:
        send_message(d, &e->send);
        break;
    case DO_PERSIST:
        persist(d, e);
        break;
    case DO_FENCE:
    case DO_THAW:
    case DO_KILL:
        fence(d, e);
        break;
    case DO_START:
    case DO_STOP:
    case DO_PROMOTE:
    case DO_FOLLOW:
    case DO_FREEZE:
    case DO_FETCH:
    case DO_RESCUE:
    case DO_REWIND:
    case DO_CLONE:
    case DO_INIT:
    case DO_CHECKPOINT:
    case DO_SET_NAMES:
    case DO_PROVE:
    case DO_MARKER:
        operate(d, e);
        break;
    case DO_LOOK:
        d->type->look(d->service);
        break;
    case DO_REPOINT:
        log_notice("primary service=%s is=%s epoch=%llu", d->settings->name,
                   member_name(d, e->repoint.member), (unsigned long long)e->repoint.epoch);
        break;
    case DO_ALERT:
        alert(d, e->alert.kind, e->alert.epoch);
        break;
    case DO_REPLY:
        orders_take_reply(d, e->reply.order, e->reply.rc, e->reply.why);
        break;
    case CORE_EFFECTS_N:
        break;
    }
}
