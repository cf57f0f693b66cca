/* stop.c - the end of a primary in a planned change: nothing that it acknowledged may be missing
 * from its successor, and clients shall hardly notice.
 *
 * Writes are paused, which holds them up and refuses none; then the successor's own server is asked
 * how far it has come, because while writes are paused Redis asks its replicas for no confirmation,
 * and by themselves they give one in a second. Then everything is suspended behind the closed gate:
 * what is in memory is there again if nobody takes over. A successor that cannot be reached, or
 * that does not get everything, will not take over: then the stop fails, and writes go on. They do
 * so by themselves if hamgrd dies meanwhile. */
#include "redis/op.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REACH_MS = 1100, /* for a connection to the successor, one lost packet included; writes go on */
    CONFIRM_MS = 1500, /* longer than a replica takes to confirm by itself */
    SUSPEND_MS = 1500,
    SUSPEND_AGAIN_MS = 200,
    PEER_ASK_MS = 200,
    POLL_MS = 1,
    OWN_EACH = 16, /* polls of the successor between two looks at what is confirmed here */
    END_POLL_MS = 10,
    STOP_LIMIT_MS = 4000,
};
#define PAUSE_MS "5000" /* longer than all of it */

static void poll_confirmed(struct redis_op *op);

/* --- suspended -------------------------------------------------------------------------------- */

static void poll_suspended(struct redis_op *op)
{
    const struct service *s = op->s;
    const struct fence_report *f = &s->fence;
    hm_ms now_ms = clock_boot_ms();

    if (s->has_fence && f->mode == FENCE_SUSPENDED && !f->is_gate_open && f->processes > 0 &&
        f->stopped >= f->processes) {
        rop_succeed(op);
        return;
    }
    if (now_ms - op->since_ms > SUSPEND_MS) {
        rop_fail(op, "hamgr-fence did not suspend the server in time");
        return;
    }
    if (now_ms >= op->asked_ms + SUSPEND_AGAIN_MS) {
        op->asked_ms = now_ms;
        if (!s->config.host.suspend(s->config.host.ctx)) {
            rop_fail(op, "hamgr-fence does not answer, so the server cannot be suspended");
            return;
        }
    }
    rop_after(op, POLL_MS, poll_suspended);
}

static void suspend(struct redis_op *op)
{
    rop_doing(op, "stop: until the server is suspended");
    op->since_ms = clock_boot_ms();
    op->asked_ms = op->since_ms - SUSPEND_AGAIN_MS;
    poll_suspended(op);
}

/* --- confirmed -------------------------------------------------------------------------------- */

/* A replica of this very member, that has come as far as this. */
static bool has_peer_all(const struct redis_op *op, const redisReply *reply)
{
    char host[HM_ADDRESS_MAX];

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 5 ||
        !record_host(&op->s->record, op->s->self, host))
        return false;
    for (size_t i = 0; i < 4; i++)
        if (i != 2 && reply->element[i]->type != REDIS_REPLY_STRING)
            return false;
    return strcmp(reply->element[0]->str, "slave") == 0 &&
           strcmp(reply->element[1]->str, host) == 0 &&
           strcmp(reply->element[3]->str, "connected") == 0 && rop_role_offset(reply) >= op->offset;
}

/* The slot of the member that is to take over, HM_NOBODY: it is not known. */
static uint8_t successor(const struct service *s)
{
    const struct switchover *change = &s->record.switchover;

    return change->phase == SWITCH_NONE || change->to == s->self ? HM_NOBODY : change->to;
}

/* ROLE of a primary: for each replica its address, its port, and what it confirmed, as texts. One
 * that takes all data anew is not there. */
static bool have_replicas_all(const struct redis_op *op, const redisReply *reply)
{
    const redisReply *list = reply->elements > 2 ? reply->element[2] : NULL;
    uint8_t to = successor(op->s);
    bool has_successor = to == HM_NOBODY;

    if (list == NULL || list->type != REDIS_REPLY_ARRAY)
        return false;
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *one = list->element[i];

        if (one->type != REDIS_REPLY_ARRAY || one->elements < 3 ||
            one->element[0]->type != REDIS_REPLY_STRING ||
            one->element[2]->type != REDIS_REPLY_STRING ||
            strtoull(one->element[2]->str, NULL, 10) < op->offset)
            return false;
        has_successor |= hosts_find(op->s->hosts, one->element[0]->str) == to;
    }
    return has_successor;
}

static void own_told(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                     const char *why)
{
    if (outcome != RCONN_ANSWERED)
        rop_fail(op, "the server did not tell what its replicas have: %s", why);
    else if (have_replicas_all(op, reply))
        suspend(op);
    else
        rop_after(op, POLL_MS, poll_confirmed);
}

static void peer_told(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                      const char *why)
{
    struct redis_op *op = ctx;

    (void)why; /* then only what is confirmed here counts */
    if (op->has_ended)
        return;
    if (outcome == RCONN_ANSWERED && has_peer_all(op, reply))
        suspend(op);
    else
        rop_after(op, POLL_MS, poll_confirmed);
}

static void not_confirmed(struct redis_op *op)
{
    if (successor(op->s) != HM_NOBODY) {
        rop_fail(op, "the successor's server did not get everything in %d ms: writes go on",
                 CONFIRM_MS);
        return;
    }
    log_warn("replicas have not confirmed everything service=%s after_ms=%d: suspended anyway",
             op->s->config.service->name, CONFIRM_MS);
    suspend(op);
}

static void poll_confirmed(struct redis_op *op)
{
    static const char *const role[] = { "ROLE" };

    if (clock_boot_ms() - op->since_ms > CONFIRM_MS) {
        not_confirmed(op);
    } else if (++op->count % OWN_EACH == 0 || op->peer == NULL ||
               !rconn_ask(op->peer, 1, role, PEER_ASK_MS, peer_told, op)) {
        ROP_ASK(op, own_told, "ROLE");
    }
}

static void end_told(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                     const char *why)
{
    if (outcome != RCONN_ANSWERED) {
        rop_fail(op, "the server did not tell how far it is: %s", why);
        return;
    }
    op->offset = rop_role_offset(reply);
    op->since_ms = clock_boot_ms();
    op->count = 0;
    rop_doing(op, "stop: until the successor has everything");
    if (have_replicas_all(op, reply))
        suspend(op);
    else
        poll_confirmed(op);
}

/* --- paused ----------------------------------------------------------------------------------- */

static void paused(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                   const char *why)
{
    (void)reply;
    if (outcome != RCONN_ANSWERED)
        rop_fail(op, "writes cannot be paused: %s", why);
    else
        ROP_ASK(op, end_told, "ROLE");
}

static void pause_writes(struct redis_op *op)
{
    op->is_paused = true; /* also if the answer is lost */
    ROP_ASK(op, paused, "CLIENT", "PAUSE", PAUSE_MS, "WRITE");
}

static void peer_up(void *ctx)
{
    struct redis_op *op = ctx;

    if (!op->has_ended)
        pause_writes(op);
}

/* Later it is seen when it is asked. */
static void peer_down(void *ctx, const char *why)
{
    struct redis_op *op = ctx;

    if (!op->has_ended && !op->is_paused)
        rop_fail(op, "the successor's server cannot be reached: %s", why);
}

/* A literal one: as it attached, or as the record has it. */
static bool address_of(const struct service *s, uint8_t slot, char host[HM_ADDRESS_MAX])
{
    for (size_t i = 0; i < s->info.replicas_n; i++)
        if (slot != HM_NOBODY && hosts_find(s->hosts, s->info.replica[i].address) == slot) {
            (void)snprintf(host, HM_ADDRESS_MAX, "%s", s->info.replica[i].address);
            return address_is_literal(host);
        }
    return record_host(&s->record, slot, host) && address_is_literal(host);
}

static void reach_successor(struct redis_op *op)
{
    struct service *s = op->s;
    char host[HM_ADDRESS_MAX];
    struct rconn_config config = { .base = s->config.base,
                                   .host = host,
                                   .port = s->config.service->port,
                                   .user = s->config.service->user,
                                   .password = s->password,
                                   .connect_ms = REACH_MS,
                                   .on_up = peer_up,
                                   .on_down = peer_down,
                                   .ctx = op };
    struct hm_err err;

    if (!address_of(s, successor(s), host) || rconn_new(&config, &op->peer, &err) != HM_OK) {
        pause_writes(op);
        return;
    }
    rop_doing(op, "stop: reaching the successor's server");
    rconn_open(op->peer, false);
}

/* --- a standby, and the end ------------------------------------------------------------------- */

static void wait_for_end(struct redis_op *op);

static void end_looked(struct redis_op *op)
{
    if (op->s->seen.state == COPY_DOWN || op->s->seen.state == COPY_ABSENT)
        rop_succeed(op);
    else
        rop_after(op, END_POLL_MS, wait_for_end);
}

static void wait_for_end(struct redis_op *op)
{
    rop_look(op, end_looked);
}

/* It says nothing when it does what it is told. */
static void shut_down(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                      const char *why)
{
    (void)reply;
    if (outcome == RCONN_REFUSED)
        rop_fail(op, "the server refused to shut down: %s", why);
    else
        wait_for_end(op);
}

static void ask_to_shut_down(struct redis_op *op)
{
    op->s->is_stop_asked = true;
    ROP_ASK(op, shut_down, "SHUTDOWN");
}

static void stop_looked(struct redis_op *op)
{
    enum copy_state state = op->s->seen.state;

    if (state == COPY_DOWN || state == COPY_ABSENT)
        rop_succeed(op);
    else if (state == COPY_PRIMARY)
        rop_need_work(op, reach_successor);
    else if (state == COPY_STANDBY)
        rop_need_work(op, ask_to_shut_down);
    else
        rop_fail(op, "cannot stop: the copy is %s", copy_state_name(state));
}

static void begin_stop(struct redis_op *op)
{
    rop_look(op, stop_looked);
}

const struct rop_kind rop_stop = { DO_STOP, begin_stop, wait_for_end, STOP_LIMIT_MS };
