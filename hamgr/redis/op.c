#include "redis/op.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORK_TRY_MS = 2, WORK_WAIT_MS = 3000 };

static const struct rop_kind *const kinds[] = {
    &rop_start,  &rop_stop,  &rop_promote, &rop_follow,     &rop_freeze,    &rop_fetch, &rop_rescue,
    &rop_rewind, &rop_clone, &rop_init,    &rop_checkpoint, &rop_set_names, &rop_prove, &rop_marker,
};

/* --- beginning and end ------------------------------------------------------------------------ */

static void begin(struct redis_op *op);

static void free_op(struct redis_op *op)
{
    rconn_free(op->peer);
    child_free(op->child);
    if (op->timer != NULL)
        event_free(op->timer);
    if (op->limit != NULL)
        event_free(op->limit);
    free(op);
}

static void ignore_answer(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                          const char *why)
{
    (void)ctx;
    (void)outcome;
    (void)reply;
    (void)why;
}

/* Lost with the connection, it does no harm: the pause ends by itself. */
static bool unpause(struct service *s)
{
    static const char *const words[] = { "CLIENT", "UNPAUSE" };

    return rconn_ask(s->work, HM_ARRAY_LEN(words), words, ROP_ASK_MS, ignore_answer, NULL);
}

static void let_writes_go_on(struct redis_op *op)
{
    if (op->is_paused && op->has_ended && op->is_ok)
        op->s->are_writes_paused = true;
    else if (op->is_paused)
        (void)unpause(op->s);
    op->is_paused = false;
}

void redis_op_note_primary(struct service *s)
{
    if (s->are_writes_paused && s->op == NULL)
        s->are_writes_paused = !unpause(s);
}

/* Frees it, now or when nothing can call it back any more. */
static void retire(struct redis_op *op)
{
    let_writes_go_on(op);
    op->is_over = true;
    if (op->calls == 0) {
        free_op(op);
        return;
    }
    if (op->timer != NULL)
        (void)evtimer_del(op->timer);
    if (op->limit != NULL)
        (void)evtimer_del(op->limit);
    rconn_free(op->peer);
    op->peer = NULL;
    child_free(op->child);
    op->child = NULL;
    op->next_old = op->s->old_ops;
    op->s->old_ops = op;
}

bool rop_is_called_back(struct redis_op *op)
{
    struct redis_op **at = &op->s->old_ops;

    op->calls--;
    if (!op->is_over)
        return true;
    if (op->calls > 0)
        return false;
    while (*at != op)
        at = &(*at)->next_old;
    *at = op->next_old;
    free_op(op);
    return false;
}

static void tell_end(struct redis_op *op)
{
    struct service *s = op->s;
    struct service_host *host = &s->config.host;
    struct redis_op *next = s->next_op;
    uint32_t id = op->e.op;
    bool is_ok = op->is_ok;
    char why[ROP_WHY_MAX];

    memcpy(why, op->why, sizeof why);
    s->op = NULL;
    s->next_op = NULL;
    s->facts.doing[0] = 0;
    memset(&s->facts.progress, 0, sizeof s->facts.progress);
    retire(op);
    if (next != NULL) {
        s->op = next;
        begin(next);
    }
    host->on_done(host->ctx, id, is_ok, why, &s->seen);
}

static void end(struct redis_op *op, bool is_ok)
{
    struct service *s = op->s;

    op->has_ended = true;
    op->is_ok = is_ok;
    let_writes_go_on(op);
    s->is_stop_asked = false;
    child_free(op->child);
    op->child = NULL;
    (void)evtimer_del(op->timer);
    (void)evtimer_del(op->limit);
    if (is_ok)
        op->why[0] = 0;
    (void)snprintf(s->facts.trouble, sizeof s->facts.trouble, "%.*s",
                   (int)sizeof s->facts.trouble - 1, op->why);
    rop_look(op, tell_end);
}

void rop_succeed(struct redis_op *op)
{
    if (op->has_ended)
        return;
    log_debug("operation done name=%s service=%s ms=%lld", core_effect_name(op->e.type),
              op->s->config.service->name, (long long)(clock_boot_ms() - op->begun_ms));
    end(op, true);
}

void rop_fail(struct redis_op *op, const char *format, ...)
{
    char text[ROP_WHY_MAX];
    va_list args;

    if (op->has_ended)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(op->why, text, sizeof op->why);
    end(op, false);
}

void rop_doing(struct redis_op *op, const char *format, ...)
{
    struct service_facts *f = &op->s->facts;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(f->doing, sizeof f->doing, format, args);
    va_end(args);
}

/* --- timers ----------------------------------------------------------------------------------- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct redis_op *op = arg;

    (void)fd;
    (void)what;
    op->on_timer(op);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
    struct redis_op *op = arg;

    (void)fd;
    (void)what;
    rop_fail(op, "%s: not done after %lld s: %s", core_effect_name(op->e.type),
             (long long)(op->kind->limit_ms / 1000), op->s->facts.doing);
}

static void arm(struct event *timer, hm_ms after_ms)
{
    struct timeval tv = clock_timeval(after_ms);

    (void)evtimer_add(timer, &tv); /* fails only without memory; then the limit ends it */
}

void rop_after(struct redis_op *op, hm_ms after_ms, rop_step *then)
{
    if (op->has_ended)
        return;
    op->on_timer = then;
    arm(op->timer, after_ms);
}

static void begin(struct redis_op *op)
{
    const struct service_config *config = &op->s->config;

    op->timer = evtimer_new(config->base, on_timer, op);
    op->limit = evtimer_new(config->base, on_limit, op);
    HM_BUG_ON(op->timer == NULL || op->limit == NULL); /* no memory: systemd starts hamgrd again */
    op->begun_ms = op->since_ms = clock_boot_ms();
    if (op->kind->limit_ms > 0)
        arm(op->limit, op->kind->limit_ms);
    rop_doing(op, "%s", core_effect_name(op->e.type));
    op->kind->begin(op);
}

/* --- what steps ask for ----------------------------------------------------------------------- */

static void looked(void *ctx)
{
    struct redis_op *op = ctx;

    if (rop_is_called_back(op))
        op->on_look(op);
}

void rop_look(struct redis_op *op, rop_step *then)
{
    op->on_look = then;
    op->calls++;
    redis_look(op->s, looked, op);
}

static void answered(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                     const char *why)
{
    struct redis_op *op = ctx;

    if (rop_is_called_back(op) && !op->has_ended)
        op->on_answer(op, outcome, reply, why);
}

void rop_ask_words(struct redis_op *op, rop_answered *then, hm_ms timeout_ms, size_t n,
                   const char *const *words)
{
    op->on_answer = then;
    if (rconn_ask(op->s->work, n, words, timeout_ms, answered, op))
        op->calls++;
    else
        then(op, RCONN_LOST, NULL, "the connection to the server is closed");
}

static void try_work(struct redis_op *op)
{
    const struct settings_service *service = op->s->config.service;

    if (rconn_is_up(op->s->work)) {
        op->on_work(op);
    } else if (clock_boot_ms() - op->work_since_ms > WORK_WAIT_MS) {
        rop_fail(op, "the server takes no connection of hamgrd at its port %u: look at its log",
                 service->port);
    } else {
        rconn_open(op->s->work, false);
        rop_after(op, WORK_TRY_MS, try_work);
    }
}

void rop_need_work(struct redis_op *op, rop_step *then)
{
    op->work_since_ms = clock_boot_ms();
    op->on_work = then;
    try_work(op);
}

/* "master", offset, replicas ... or "slave", host, port, state, offset. */
uint64_t rop_role_offset(const redisReply *reply)
{
    size_t at = 1;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING)
        return 0;
    if (strcmp(reply->element[0]->str, "slave") == 0)
        at = 4;
    if (at >= reply->elements || reply->element[at]->type != REDIS_REPLY_INTEGER ||
        reply->element[at]->integer < 0)
        return 0;
    return (uint64_t)reply->element[at]->integer;
}

/* --- the door --------------------------------------------------------------------------------- */

static const struct rop_kind *kind_of(enum core_effect_type type)
{
    for (size_t i = 0; i < HM_ARRAY_LEN(kinds); i++)
        if (kinds[i]->type == type)
            return kinds[i];
    return NULL;
}

static struct redis_op *new_op(struct service *s, const struct core_effect *e)
{
    struct redis_op *op = calloc(1, sizeof *op);

    HM_BUG_ON(op == NULL);
    op->s = s;
    op->e = *e;
    op->kind = kind_of(e->type);
    return op;
}

void redis_carry_out(struct service *s, const struct core_effect *e)
{
    HM_BUG_ON(kind_of(e->type) == NULL);
    if (s->op != NULL && effect_is_same(&s->op->e, e)) {
        s->op->e.op = e->op;
        return;
    }
    if (s->op != NULL && !effect_can_be_given_up(s->op->e.type)) {
        if (s->next_op != NULL)
            retire(s->next_op);
        s->next_op = new_op(s, e);
        return;
    }
    if (s->op != NULL) {
        log_debug("operation given up name=%s for=%s", core_effect_name(s->op->e.type),
                  core_effect_name(e->type));
        retire(s->op);
    }
    s->op = new_op(s, e);
    begin(s->op);
}

void redis_op_drop(struct service *s)
{
    if (s->op != NULL)
        retire(s->op);
    if (s->next_op != NULL)
        retire(s->next_op);
    s->op = s->next_op = NULL;
    while (s->old_ops != NULL) { /* nothing calls them any more: the service is closed */
        struct redis_op *op = s->old_ops;

        s->old_ops = op->next_old;
        free_op(op);
    }
}

void redis_op_note_death(struct service *s)
{
    struct redis_op *op = s->op;

    if (op == NULL || op->has_ended)
        return;
    if (op->kind->on_death != NULL)
        op->kind->on_death(op);
    else
        rop_fail(op, "the server ended during '%s'", core_effect_name(op->e.type));
}
