#include "postgres/op.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>
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

static const struct op_kind *const kinds[] = {
    &op_start,  &op_rescue, &op_stop, &op_promote,    &op_follow,    &op_freeze, &op_fetch,
    &op_rewind, &op_clone,  &op_init, &op_checkpoint, &op_set_names, &op_prove,  &op_marker,
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

/* --- beginning and end -------------------------------------------------------------------------
 */

static void begin(struct op *op);

static void ignore_answer(void *ctx, enum conn_outcome outcome, const PGresult *result,
                          const char *why)
{
    (void)ctx;
    (void)outcome;
    (void)result;
    (void)why;
}

/* A server process that waits for standbys does not notice that nobody is there any more. */
static void end_waiter(struct op *op)
{
    bool may_wait = op->e.type == DO_PROVE || op->e.type == DO_MARKER;
    char sql[64];

    if (!may_wait || op->fresh == NULL || !conn_is_up(op->fresh) || op->s->work == NULL)
        return;
    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", conn_backend(op->fresh));
    (void)conn_ask(op->s->work, sql, 1000, ignore_answer, NULL); /* else it waits on */
}

static void free_op(struct op *op)
{
    end_waiter(op);
    for (struct op_call *call = op->s->calls; call != NULL; call = call->next)
        if (call->op == op)
            call->op = NULL;
    op_close_fresh(op);
    child_free(op->child);
    if (op->timer != NULL)
        event_free(op->timer);
    if (op->limit != NULL)
        event_free(op->limit);
    free(op->own);
    free(op);
}

static void tell_end(struct op *op)
{
    struct service *s = op->s;
    struct service_host *host = &s->config.host;
    struct op *next = s->next_op;
    uint32_t id = op->e.op;
    bool is_ok = op->is_ok;
    char why[OP_WHY_MAX];

    memcpy(why, op->why, sizeof why);
    s->op = NULL;
    s->next_op = NULL;
    s->facts.doing[0] = 0;
    memset(&s->facts.progress, 0, sizeof s->facts.progress);
    free_op(op);
    if (next != NULL) {
        s->op = next;
        begin(next);
    }
    host->on_done(host->ctx, id, is_ok, why, &s->seen);
}

static void end(struct op *op, bool is_ok)
{
    struct service *s = op->s;

    if (op->has_ended)
        return;
    op->has_ended = true;
    op->is_ok = is_ok;
    s->is_stop_asked = false;
    op_close_fresh(op);
    child_free(op->child);
    op->child = NULL;
    (void)evtimer_del(op->timer);
    (void)evtimer_del(op->limit);
    if (is_ok)
        op->why[0] = 0;
    (void)snprintf(s->facts.trouble, sizeof s->facts.trouble, "%.*s",
                   (int)sizeof s->facts.trouble - 1, op->why);
    for (struct op_call *call = s->calls; call != NULL; call = call->next)
        if (call->op == op)
            call->op = NULL;
    op_look(op, tell_end);
}

void op_succeed(struct op *op)
{
    log_debug("operation done name=%s service=%s ms=%lld", core_effect_name(op->e.type),
              op->s->config.service->name, (long long)(clock_boot_ms() - op->begun_ms));
    end(op, true);
}

void op_fail(struct op *op, const char *format, ...)
{
    char text[OP_WHY_MAX];
    va_list args;

    if (op->has_ended)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)snprintf(op->why, sizeof op->why, "%s", text);
    end(op, false);
}

void op_nothing(struct op *op)
{
    (void)op;
}

void op_doing(struct op *op, const char *format, ...)
{
    struct service_facts *f = &op->s->facts;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(f->doing, sizeof f->doing, format, args);
    va_end(args);
}

/* --- timers ------------------------------------------------------------------------------------
 */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct op *op = arg;

    (void)fd;
    (void)what;
    op->on_timer(op);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
    struct op *op = arg;
    char doing[sizeof op->s->facts.doing];

    (void)fd;
    (void)what;
    memcpy(doing, op->s->facts.doing, sizeof doing);
    op_fail(op, "%s: not done after %lld s: %s", core_effect_name(op->e.type),
            (long long)(op->kind->limit_ms / 1000), op->why[0] != 0 ? op->why : doing);
}

static void arm(struct event *timer, hm_ms after_ms)
{
    struct timeval tv = clock_timeval(after_ms);

    (void)evtimer_add(timer, &tv); /* fails only without memory; then the limit ends it */
}

void op_after(struct op *op, hm_ms after_ms, op_step *then)
{
    if (op->has_ended)
        return;
    op->on_timer = then;
    arm(op->timer, after_ms);
}

static void begin(struct op *op)
{
    const struct service_config *config = &op->s->config;

    op->timer = evtimer_new(config->base, on_timer, op);
    op->limit = evtimer_new(config->base, on_limit, op);
    HM_BUG_ON(op->timer == NULL || op->limit == NULL); /* no memory: systemd starts hamgrd again */
    op->begun_ms = op->since_ms = clock_boot_ms();
    op->until_ms = op->begun_ms + op->kind->limit_ms;
    arm(op->limit, op->kind->limit_ms);
    op_doing(op, "%s", core_effect_name(op->e.type));
    op->kind->begin(op);
}

/* --- what steps ask for ------------------------------------------------------------------------
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

/* --- the door ----------------------------------------------------------------------------------
 */

static const struct op_kind *kind_of(enum core_effect_type type)
{
    for (size_t i = 0; i < HM_ARRAY_LEN(kinds); i++)
        if (kinds[i]->type == type)
            return kinds[i];
    return NULL;
}

static struct op *new_op(struct service *s, const struct core_effect *e)
{
    struct op *op = calloc(1, sizeof *op);

    HM_BUG_ON(op == NULL);
    op->s = s;
    op->e = *e;
    op->kind = kind_of(e->type);
    return op;
}

void postgres_carry_out(struct service *s, const struct core_effect *e)
{
    HM_BUG_ON(kind_of(e->type) == NULL);
    if (s->op != NULL && effect_is_same(&s->op->e, e)) {
        s->op->e.op = e->op;
        return;
    }
    if (s->op != NULL && !effect_can_be_given_up(s->op->e.type)) {
        if (s->next_op != NULL)
            free_op(s->next_op);
        s->next_op = new_op(s, e);
        return;
    }
    if (s->op != NULL) {
        log_debug("operation given up name=%s for=%s", core_effect_name(s->op->e.type),
                  core_effect_name(e->type));
        free_op(s->op);
    }
    s->op = new_op(s, e);
    begin(s->op);
}

void postgres_op_drop(struct service *s)
{
    if (s->op != NULL)
        free_op(s->op);
    if (s->next_op != NULL)
        free_op(s->next_op);
    s->op = s->next_op = NULL;
    while (s->calls != NULL)
        (void)end_call(s->calls);
    worker_free(s->resolver);
    s->resolver = NULL;
}

void postgres_op_note_death(struct service *s)
{
    struct op *op = s->op;

    if (op == NULL || op->has_ended)
        return;
    if (op->kind->on_death != NULL)
        op->kind->on_death(op);
    else
        op_fail(op, "the server ended during '%s'", core_effect_name(op->e.type));
}
