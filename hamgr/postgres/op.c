/* op.c - one copy operation after the other: how it begins, how long it may take, how it ends. What
 * its steps ask for is in op_ask.c. */
#include "postgres/op.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct op_kind *const kinds[] = {
    &op_start,  &op_rescue, &op_stop, &op_promote,    &op_follow,    &op_freeze, &op_fetch,
    &op_rewind, &op_clone,  &op_init, &op_checkpoint, &op_set_names, &op_prove,  &op_marker,
};

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
    op_forget_calls(op);
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
    op_forget_calls(op);
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
    op_drop_calls(s);
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
