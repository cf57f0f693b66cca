/* rescue.c - tail rescue: what only a dead primary's files have is fetched through the member link
 * and joined to this standby's log, which receives nothing meanwhile. And the other side: pieces of
 * the log are read for whoever the core lets have them.
 *
 * The candidate asks for every piece, a few at a time: the sender never has more on its way than
 * was asked for, so that renewals are never kept waiting. A piece that does not come is asked for
 * again, until the time is over. Nothing of this copy's own log is touched before all is there and
 * was checked. */
#include "postgres/op.h"

#include "base/clock.h"
#include "base/log.h"
#include "postgres/probe.h"
#include "postgres/wal_copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_MS = 5000,
    WINDOW = 2, /* pieces on their way */
    TICK_MS = 10,
    AGAIN_MS = 150,  /* a piece that did not come is asked for again */
    REFUSED_MS = 20, /* one that was refused: the other side may not be ready yet */
    REPLAY_POLL_MS = 2,
    BLOCKED_MS = 30, /* how long readers may hold up replay before they are ended */
    NUDGE_MS = 250,
    LIMIT_MS =
        60000, /* with all replay; until the files are in place it is tail_rescue_timeout_ms */
};

struct piece {
    uint64_t at; /* 0: free */
    uint32_t size;
    hm_ms again_ms;
    bool is_written; /* it came, and is on its way to the disk */
};

struct rescue {
    uint64_t id;
    struct wal_range range;
    uint64_t next; /* to be asked for */
    struct piece window[WINDOW];
    uint64_t here; /* bytes that are gathered */
    hm_ms nudge_ms;
    hm_ms unblock_ms;
};

struct rescue_job {
    struct op_job base;
    struct wal_range range;
    uint64_t at;
    size_t size;
    uint8_t bytes[WAL_PIECE_MAX];
};

static struct rescue *rescue_of(struct op *op)
{
    return op->own;
}

static struct rescue_job *new_job(struct op *op,
                                  enum hm_rc (*run)(struct op_job *job, struct hm_err *err))
{
    struct rescue_job *job = (struct rescue_job *)op_new_job_of(op, sizeof *job, run);

    job->range = rescue_of(op)->range;
    return job;
}

/* --- giving up ---------------------------------------------------------------------------------
 */

static enum hm_rc forget(struct op_job *job, struct hm_err *err)
{
    (void)err;
    wal_gather_forget(job->data_dir);
    return HM_OK;
}

static void forgotten(struct op *op)
{
    op_fail(op, "%s", op->reason);
}

static void give_up(struct op *op, const char *why)
{
    (void)snprintf(op->reason, sizeof op->reason, "%s", why);
    op_run_job(op, op_new_job(op, forget), forgotten);
}

/* --- replaying ---------------------------------------------------------------------------------
 */

static void poll_replay(struct op *op);

static void polled_again(struct op *op, enum conn_outcome outcome, const PGresult *result,
                         const char *why)
{
    (void)outcome; /* it is looked at again */
    (void)result;
    (void)why;
    op_after(op, REPLAY_POLL_MS, poll_replay);
}

static void rescued(struct op *op)
{
    const struct rescue *r = rescue_of(op);

    log_notice("rescued service=%s from=%s bytes=%llu ms=%lld", op->s->config.service->name,
               op_member_name(op, op->e.copy.member),
               (unsigned long long)(r->range.upto - r->range.received),
               (long long)(clock_boot_ms() - op->begun_ms));
    op_succeed(op);
}

static void replay_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    struct rescue *r = rescue_of(op);
    hm_ms now_ms = clock_boot_ms();

    if (outcome != CONN_ANSWERED) {
        op_fail(op, "the server did not tell how far it has replayed: %s", why);
    } else if (strtoull(PQgetvalue(result, 0, 0), NULL, 10) >= r->range.upto) {
        rescued(op);
    } else if (now_ms >= r->unblock_ms) {
        r->unblock_ms = now_ms + BLOCKED_MS;
        op_ask_work(op, op_unblock_sql, ASK_MS, polled_again);
    } else if (now_ms >= r->nudge_ms) {
        r->nudge_ms = now_ms + NUDGE_MS;
        op_ask_work(op, "SELECT pg_reload_conf()", ASK_MS, polled_again);
    } else {
        op_after(op, REPLAY_POLL_MS, poll_replay);
    }
}

static void poll_replay(struct op *op)
{
    op_ask_work(op, "SELECT pg_last_wal_replay_lsn() - '0/0'", ASK_MS, replay_told);
}

/* The startup process looks into pg_wal every 5 s, or at once when it is told to read its settings.
 */
static void placed(struct op *op)
{
    struct rescue *r = rescue_of(op);

    op_doing(op, "rescue: replaying what was fetched");
    r->unblock_ms = clock_boot_ms() + BLOCKED_MS;
    poll_replay(op);
}

static enum hm_rc place(struct op_job *base, struct hm_err *err)
{
    const struct rescue_job *job = (const struct rescue_job *)base;
    struct wal_control control;
    enum hm_rc rc = wal_read_control(base->data_dir, &control, err);

    return rc == HM_OK ? wal_gather_end(base->data_dir, &control, &job->range, err) : rc;
}

/* --- fetching ----------------------------------------------------------------------------------
 */

static void tick(struct op *op);
static void written(struct op *op);

static bool ask_for(struct op *op, struct piece *p)
{
    const struct service_host *host = &op->s->config.host;
    const struct rescue *r = rescue_of(op);
    struct service_log_ask ask = { .id = r->id,
                                   .ballot = op->e.copy.ballot,
                                   .from = { .timeline = r->range.timeline, .offset = p->at },
                                   .size = p->size };

    p->again_ms = clock_boot_ms() + AGAIN_MS;
    return host->ask_log != NULL && host->ask_log(host->ctx, op->e.copy.member, &ask);
}

/* Never across the end of a segment. */
static void next_piece(struct rescue *r, struct piece *p)
{
    uint64_t left = r->range.upto - r->next;
    uint64_t in_segment = r->range.segment_bytes - r->next % r->range.segment_bytes;

    p->at = r->next;
    p->size = WAL_PIECE_MAX - (uint32_t)(r->next % WAL_PIECE_MAX);
    if (p->size > left)
        p->size = (uint32_t)left;
    if (p->size > in_segment)
        p->size = (uint32_t)in_segment;
    p->is_written = false;
    r->next += p->size;
}

static void ask_more(struct op *op)
{
    struct rescue *r = rescue_of(op);
    hm_ms now_ms = clock_boot_ms();

    for (unsigned int i = 0; i < WINDOW; i++) {
        struct piece *p = &r->window[i];

        if (p->at == 0 && r->next < r->range.upto)
            next_piece(r, p);
        else if (p->at == 0 || p->is_written || now_ms < p->again_ms)
            continue;
        (void)ask_for(op, p); /* no link: asked again */
    }
}

static void tick(struct op *op)
{
    hm_ms limit_ms = op->s->config.settings->tail_rescue_timeout_ms;
    const struct rescue *r = rescue_of(op);
    char why[160];

    if (clock_boot_ms() - op->begun_ms > limit_ms) {
        (void)snprintf(why, sizeof why, "%llu of %llu bytes came from %s in %lld ms",
                       (unsigned long long)r->here,
                       (unsigned long long)(r->range.upto - wal_range_first(&r->range)),
                       op_member_name(op, op->e.copy.member), (long long)limit_ms);
        give_up(op, why);
        return;
    }
    ask_more(op);
    op_after(op, TICK_MS, tick);
}

static enum hm_rc add(struct op_job *base, struct hm_err *err)
{
    const struct rescue_job *job = (const struct rescue_job *)base;
    enum hm_rc rc =
        wal_gather_add(job->base.data_dir, &job->range, job->at, job->bytes, job->size, err);

    base->number = job->at;
    if (rc != HM_OK)
        wal_gather_forget(job->base.data_dir);
    return rc;
}

static void written(struct op *op)
{
    struct rescue *r = rescue_of(op);

    for (unsigned int i = 0; i < WINDOW; i++)
        if (r->window[i].at == op->number && r->window[i].is_written) {
            r->here += r->window[i].size;
            r->window[i].at = 0;
        }
    op_doing(op, "rescue: %llu of %llu kB from %s", (unsigned long long)(r->here / 1024),
             (unsigned long long)((r->range.upto - wal_range_first(&r->range)) / 1024),
             op_member_name(op, op->e.copy.member));
    if (r->here == r->range.upto - wal_range_first(&r->range)) {
        op_after(op, LIMIT_MS, op_nothing); /* from here on only the whole operation has a limit */
        op_run_job(op, &new_job(op, place)->base, placed);
    } else {
        ask_more(op);
    }
}

void postgres_take_log(struct service *s, uint64_t id, uint64_t at, const uint8_t *bytes,
                       size_t size)
{
    struct op *op = s->op;
    struct rescue *r = op != NULL && op->e.type == DO_RESCUE ? rescue_of(op) : NULL;

    if (r == NULL || op->has_ended || r->id != id || at == 0)
        return;
    for (unsigned int i = 0; i < WINDOW; i++) {
        struct piece *p = &r->window[i];
        struct rescue_job *job;

        if (p->at != at || p->is_written)
            continue;
        if (size != p->size) {
            p->again_ms = clock_boot_ms() + REFUSED_MS;
            return;
        }
        p->is_written = true;
        job = new_job(op, add);
        job->at = at;
        job->size = size;
        memcpy(job->bytes, bytes, size);
        op_run_job(op, &job->base, written);
        return;
    }
}

/* --- beginning ---------------------------------------------------------------------------------
 */

static enum hm_rc prepare(struct op_job *base, struct hm_err *err)
{
    struct rescue_job *job = (struct rescue_job *)base;
    struct wal_control control;
    enum hm_rc rc = wal_read_control(base->data_dir, &control, err);

    if (rc != HM_OK)
        return rc;
    base->number = (uint64_t)control.segment_bytes << 32 | control.page_bytes;
    job->range.segment_bytes = control.segment_bytes;
    job->range.page_bytes = control.page_bytes;
    return wal_gather_begin(base->data_dir, &job->range, err);
}

static void prepared(struct op *op)
{
    struct rescue *r = rescue_of(op);

    r->range.segment_bytes = (uint32_t)(op->number >> 32);
    r->range.page_bytes = (uint32_t)op->number;
    r->next = wal_range_first(&r->range);
    r->id = (uint64_t)clock_wall_ms() << 20 ^ op->e.op;
    tick(op);
}

static void state_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                       const char *why)
{
    struct rescue *r = rescue_of(op);
    const struct position *at = &op->s->seen.at;

    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot rescue: %s", why);
    } else if (PQgetvalue(result, 0, 0)[0] != 't' || PQgetvalue(result, 0, 1)[0] != 0 ||
               PQgetvalue(result, 0, 2)[0] != 'f') {
        op_fail(op, "cannot rescue: the copy is no standby whose log is frozen");
    } else if (PQgetvalue(result, 0, 3)[0] == 't') {
        op_fail(op, "cannot rescue: replay is paused: SELECT pg_wal_replay_resume()");
    } else {
        r->range.timeline = op->e.copy.upto.timeline;
        r->range.upto = op->e.copy.upto.offset;
        r->range.replayed = strtoull(PQgetvalue(result, 0, 4), NULL, 10);
        r->range.received = at->offset > r->range.replayed ? at->offset : r->range.replayed;
        if (r->range.upto <= r->range.received)
            op_succeed(op);
        else if (at->timeline != r->range.timeline)
            op_fail(op, "cannot rescue: the log goes on over a change of timeline");
        else
            op_run_job(op, &new_job(op, prepare)->base, prepared);
    }
}

static void ask_state(struct op *op)
{
    op_ask_work(op,
                "SELECT pg_is_in_recovery(), current_setting('primary_conninfo'),"
                " EXISTS (SELECT FROM pg_stat_get_activity(NULL)"
                "         WHERE backend_type = 'walreceiver'),"
                " pg_is_wal_replay_paused(), pg_last_wal_replay_lsn() - '0/0'",
                ASK_MS, state_told);
}

static void begin_rescue(struct op *op)
{
    op->own = calloc(1, sizeof(struct rescue));
    HM_BUG_ON(op->own == NULL);
    op_need_work(op, ask_state);
}

const struct op_kind op_rescue = { DO_RESCUE, begin_rescue, NULL, LIMIT_MS };

/* --- the other side ----------------------------------------------------------------------------
 */

struct give_job {
    struct worker_job base;
    struct give_job *next; /* the service's */
    struct service *s;
    struct service_log_ask ask;
    service_log_given *then;
    void *ctx;
    const char *data_dir; /* borrowed from the settings */
    uint32_t segment_bytes;
    bool is_ok;
    struct hm_err err;
    uint8_t bytes[WAL_PIECE_MAX];
};

static void run_give(struct worker_job *base)
{
    struct give_job *job = (struct give_job *)base;

    job->is_ok =
        wal_read_bytes(job->data_dir, job->segment_bytes, job->ask.from.timeline,
                       job->ask.from.offset, job->bytes, job->ask.size, &job->err) == HM_OK;
}

static void gave(struct worker_job *base)
{
    struct give_job *job = (struct give_job *)base;

    for (struct give_job **at = &job->s->give_jobs; *at != NULL; at = &(*at)->next)
        if (*at == job) {
            *at = job->next;
            break;
        }
    job->s->give_jobs_n--;
    if (!job->is_ok)
        log_warn("log not given service=%s: %s", job->s->config.service->name, job->err.text);
    job->then(job->ctx, &job->ask, job->bytes, job->is_ok ? job->ask.size : 0);
    free(job);
}

bool postgres_give_log(struct service *s, const struct service_log_ask *ask,
                       service_log_given *then, void *ctx)
{
    uint32_t segment_bytes = probe_segment_bytes(s->probe);
    struct give_job *job;

    if (segment_bytes == 0 || ask->size == 0 || ask->size > WAL_PIECE_MAX || s->op != NULL ||
        s->give_jobs_n >= 2 * WINDOW)
        return false;
    job = calloc(1, sizeof *job);
    if (job == NULL)
        return false;
    *job = (struct give_job){ .base = { .run = run_give, .done = gave },
                              .s = s,
                              .ask = *ask,
                              .then = then,
                              .ctx = ctx,
                              .data_dir = s->config.service->data_dir,
                              .segment_bytes = segment_bytes };
    job->next = s->give_jobs;
    s->give_jobs = job;
    s->give_jobs_n++;
    worker_add(s->worker, &job->base);
    return true;
}

void postgres_drop_gives(struct service *s)
{
    while (s->give_jobs != NULL) {
        struct give_job *next = s->give_jobs->next;

        free(s->give_jobs);
        s->give_jobs = next;
    }
}
