/* op_ask.c - what the steps of an operation ask for outside: the probe, the notes, a worker, a
 * server, a program.
 *
 * Each has a call that outlives its operation: what comes in for one that is over is dropped here,
 * and no step has to ask whether it still counts. */
#include "postgres/op.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORK_TRY_MS = 2, WORK_WAIT_MS = 3000, OP_ENV_MAX = 24 };

/* Something outside that will call back. It outlives its operation, which then does not hear. */
struct op_call {
    struct op_call *next;
    struct service *s;
    struct op *op; /* NULL: over */
    struct conn *conn;
    op_answered *answered;
    op_step *then;
};

/* --- calls -------------------------------------------------------------------------------------
 */

static struct op_call *new_call(struct op *op)
{
    struct op_call *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->s = op->s;
    call->op = op;
    call->next = op->s->calls;
    op->s->calls = call;
    return call;
}

/* Returns its operation, or NULL if that is over. */
static struct op *end_call(struct op_call *call)
{
    struct op_call **at = &call->s->calls;
    struct op *op = call->op;

    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    free(call);
    return op;
}

/* Callbacks of a connection that is freed do not come. */
static void drop_calls_of(struct service *s, const struct conn *conn)
{
    struct op_call **at = &s->calls;

    while (*at != NULL) {
        struct op_call *call = *at;

        if (call->conn != conn) {
            at = &call->next;
            continue;
        }
        *at = call->next;
        free(call);
    }
}

void op_forget_calls(struct op *op)
{
    for (struct op_call *call = op->s->calls; call != NULL; call = call->next)
        if (call->op == op)
            call->op = NULL;
}

void op_drop_calls(struct service *s)
{
    while (s->calls != NULL)
        (void)end_call(s->calls);
}

/* --- the probe and the notes --------------------------------------------------------------------
 */

static void looked(void *ctx)
{
    struct op_call *call = ctx;
    op_step *then = call->then;
    struct op *op = end_call(call);

    if (op != NULL)
        then(op);
}

void op_look(struct op *op, op_step *then)
{
    struct op_call *call = new_call(op);

    HM_BUG_ON(call == NULL);
    call->then = then;
    postgres_look(op->s, looked, call);
}

static void noted(struct service *s, bool is_ok, void *ctx)
{
    struct op_call *call = ctx;
    op_step *then = call->then;
    struct op *op = end_call(call);

    if (op == NULL)
        return;
    if (is_ok)
        then(op);
    else
        op_fail(op, "cannot write '%s/%s.copy': look at that directory's disk",
                s->config.settings->state_dir, s->config.service->name);
}

void op_note(struct op *op, const struct notes *changed, op_step *then)
{
    struct op_call *call = new_call(op);

    HM_BUG_ON(call == NULL);
    call->then = then;
    postgres_note(op->s, changed, noted, call);
}

/* --- a worker -----------------------------------------------------------------------------------
 */

static void run_job(struct worker_job *base)
{
    struct op_job *job = (struct op_job *)base;

    job->rc = job->run(job, &job->err);
}

static void job_done(struct worker_job *base)
{
    struct op_job *job = (struct op_job *)base;
    op_step *then = job->then;
    struct op *op = job->call == NULL ? NULL : end_call(job->call);

    if (op != NULL && job->rc != HM_OK) {
        op_fail(op, "%s", job->err.text);
    } else if (op != NULL) {
        op->number = job->number;
        op->layout = job->layout;
        memcpy(op->room, job->room, sizeof op->room);
        memcpy(op->text, job->text, sizeof op->text);
        then(op);
    }
    free(job);
}

struct op_job *op_new_job_of(struct op *op, size_t size,
                             enum hm_rc (*run)(struct op_job *, struct hm_err *))
{
    struct op_job *job = calloc(1, size);

    HM_BUG_ON(job == NULL);
    job->base.run = run_job;
    job->base.done = job_done;
    job->run = run;
    (void)snprintf(job->data_dir, sizeof job->data_dir, "%s", op->s->config.service->data_dir);
    for (unsigned int i = 0; i < HM_ARRAY_LEN(job->path); i++)
        memcpy(job->path[i], op->paths[i], sizeof job->path[i]);
    job->layout = op->layout;
    return job;
}

void op_run_job_in(struct op *op, struct worker *worker, struct op_job *job, op_step *then)
{
    job->then = then;
    job->call = new_call(op);
    HM_BUG_ON(job->call == NULL);
    worker_add(worker, &job->base);
}

void op_run_job(struct op *op, struct op_job *job, op_step *then)
{
    op_run_job_in(op, op->s->worker, job, then);
}

/* --- a server -----------------------------------------------------------------------------------
 */

static void answered(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct op_call *call = ctx;
    op_answered *then = call->answered;
    struct op *op = end_call(call);

    if (op != NULL)
        then(op, outcome, result, why);
}

static void ask(struct op *op, struct conn *conn, const char *sql, hm_ms timeout_ms,
                op_answered *then)
{
    struct op_call *call = new_call(op);

    HM_BUG_ON(call == NULL);
    call->conn = conn;
    call->answered = then;
    if (conn != NULL && conn_ask(conn, sql, timeout_ms, answered, call))
        return;
    (void)end_call(call);
    then(op, CONN_LOST, NULL, "the connection to the server is closed");
}

void op_ask_work(struct op *op, const char *sql, hm_ms timeout_ms, op_answered *then)
{
    ask(op, op->s->work, sql, timeout_ms, then);
}

void op_ask_fresh(struct op *op, const char *sql, hm_ms timeout_ms, op_answered *then)
{
    ask(op, op->fresh, sql, timeout_ms, then);
}

static void try_work(struct op *op)
{
    if (conn_is_up(op->s->work)) {
        op->after_work(op);
    } else if (clock_boot_ms() - op->since_ms > WORK_WAIT_MS) {
        op_fail(op,
                "the server does not take a connection at '%s', port %u: is '%s' a superuser "
                "there?",
                op->s->config.service->socket_dir, op->s->config.service->port,
                op->s->config.service->user);
    } else {
        conn_open(op->s->work, false);
        op_after(op, WORK_TRY_MS, try_work);
    }
}

void op_need_work(struct op *op, op_step *then)
{
    op->since_ms = clock_boot_ms();
    op->after_work = then;
    try_work(op);
}

static void fresh_up(void *ctx)
{
    struct op *op = ctx;

    op->on_fresh(op);
}

static void fresh_down(void *ctx, const char *why)
{
    struct op *op = ctx;

    if (op->has_ended)
        return;
    (void)snprintf(op->why, sizeof op->why, "%s", why);
    op->on_no_fresh(op);
}

void op_close_fresh(struct op *op)
{
    if (op->fresh == NULL)
        return;
    drop_calls_of(op->s, op->fresh);
    conn_free(op->fresh);
    op->fresh = NULL;
}

void op_connect(struct op *op, const char *conninfo, const char *more, op_step *then,
                op_step *or_else)
{
    char text[OP_CONNINFO_MAX + 256];
    struct conn_config config = { .base = op->s->config.base,
                                  .conninfo = text,
                                  .connect_ms = WORK_WAIT_MS,
                                  .on_up = fresh_up,
                                  .on_down = fresh_down,
                                  .ctx = op };
    struct hm_err err;

    op_close_fresh(op);
    op->on_fresh = then;
    op->on_no_fresh = or_else;
    (void)snprintf(text, sizeof text, "%s %s", conninfo, more);
    if (conn_new(&config, &op->fresh, &err) != HM_OK) {
        op_fail(op, "%s", err.text);
        return;
    }
    conn_open(op->fresh, false);
}

void op_connect_source(struct op *op, const char *more, op_step *then, op_step *or_else)
{
    char conninfo[OP_CONNINFO_MAX];

    if (!op_conninfo(op, true, conninfo, sizeof conninfo))
        op_fail(op, "the record has no address of member %u", op->e.copy.member);
    else
        op_connect(op, conninfo, more, then, or_else);
}

/* --- a program ----------------------------------------------------------------------------------
 */

static void child_ended(void *ctx, const struct child_end *how)
{
    struct op *op = ctx;

    op->child = NULL;
    op->on_child(op, how);
}

static void child_said(void *ctx, const char *line)
{
    struct op *op = ctx;
    struct service_facts *f = &op->s->facts;
    char text[80];

    if (!progress_take(&f->progress, line, clock_boot_ms())) {
        op_doing(op, "%s: %s", core_effect_name(op->e.type), line);
        return;
    }
    progress_print(&f->progress, text, sizeof text);
    op_doing(op, "%s from %s: %s", core_effect_name(op->e.type),
             op_member_name(op, op->e.copy.member), text);
    if (op->on_progress != NULL)
        op->on_progress(op);
}

void op_end_child(struct op *op)
{
    child_free(op->child);
    op->child = NULL;
}

void op_run(struct op *op, const char *const *argv, const char *const *env, hm_ms silence_ms,
            void (*then)(struct op *op, const struct child_end *end))
{
    const char *all[OP_ENV_MAX] = { "LC_ALL=C.UTF-8", "LC_MESSAGES=C", "PGAPPNAME=hamgr" };
    size_t n = 3;
    struct child_config config = { .base = op->s->config.base,
                                   .argv = argv,
                                   .env = all,
                                   .silence_ms = silence_ms,
                                   .on_line = child_said,
                                   .on_end = child_ended,
                                   .ctx = op };
    struct hm_err err;

    for (; env != NULL && env[n - 3] != NULL && n + 1 < HM_ARRAY_LEN(all); n++)
        all[n] = env[n - 3];
    op->on_child = then;
    memset(&op->s->facts.progress, 0, sizeof op->s->facts.progress);
    if (child_start(&config, &op->child, &err) != HM_OK)
        op_fail(op, "%s", err.text);
}
