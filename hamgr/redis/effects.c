/* effects.c - start, promote, follow, freeze, and what a copy of Redis never needs. */
#include "redis/op.h"

#include "base/clock.h"
#include "redis/include.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    START_POLL_MS = 10,
    START_LOOK_MS = 250,
    APPEAR_MS = 15000, /* how long a unit may take until there is a process */
    LOADING_POLL_MS = 10,
};

#define MINUTE_MS 60000

/* --- start ------------------------------------------------------------------------------------ */

static void wait_for_standby(struct redis_op *op);

static void fail_to_start(struct redis_op *op, const char *how)
{
    rop_fail(op, "the server did not start%s: look at %s", how, op->text);
}

/* The number behind `key` in what INFO says; 0: it is not there. */
static uint64_t info_number(const redisReply *reply, const char *key)
{
    const char *at = reply->type == REDIS_REPLY_STRING ? strstr(reply->str, key) : NULL;

    return at != NULL ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* With much data it takes minutes, and somebody may be waiting for it. */
static void loading_told(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                         const char *why)
{
    struct progress *p = &op->s->facts.progress;
    char text[80];

    (void)why;
    if (outcome == RCONN_ANSWERED)
        p->total = info_number(reply, "loading_total_bytes:");
    if (outcome == RCONN_ANSWERED && p->total > 0) {
        p->done = info_number(reply, "loading_loaded_bytes:");
        p->percent = (uint8_t)(p->done >= p->total ? 100 : p->done * 100 / p->total);
        p->is_known = true;
        progress_print(p, text, sizeof text);
        rop_doing(op, "start: loading the data: %s", text);
    }
    op->count = 0;
    rop_after(op, START_POLL_MS, wait_for_standby);
}

static void start_looked(struct redis_op *op)
{
    switch (op->s->seen.state) {
    case COPY_STANDBY:
        rop_succeed(op);
        return;
    case COPY_PRIMARY:
        rop_fail(op, "the server came up as a primary: 'hamgr check' says what is missing in its "
                     "redis.conf");
        return;
    case COPY_SUSPENDED:
        rop_fail(op, "the server was suspended while it started");
        return;
    case COPY_DOWN:
    case COPY_ABSENT:
        if (op->flag || clock_boot_ms() - op->since_ms > APPEAR_MS) {
            fail_to_start(op, "");
            return;
        }
        break;
    case COPY_STARTING:
        op->flag = true; /* it has been there: when it is gone, it failed */
        ROP_ASK(op, loading_told, "INFO", "persistence");
        return;
    case COPY_UNKNOWN:
    case COPY_REBUILDING:
    case COPY_STATES_N:
        break;
    }
    op->count = 0;
    rop_after(op, START_POLL_MS, wait_for_standby);
}

/* A connection is tried often, everything else is looked at now and then. */
static void wait_for_standby(struct redis_op *op)
{
    rconn_open(op->s->work, false);
    if (rconn_is_up(op->s->work) || ++op->count * START_POLL_MS > START_LOOK_MS)
        rop_look(op, start_looked);
    else
        rop_after(op, START_POLL_MS, wait_for_standby);
}

static void server_exited(void *ctx, const struct child_end *end)
{
    struct redis_op *op = ctx;
    char how[96], text[100];

    op->child = NULL;
    child_describe(end, how, sizeof how);
    (void)snprintf(text, sizeof text, " (%s)", how);
    fail_to_start(op, text);
}

/* An absolute path of the program, as systemd would find it: Redis, where it is there, else Valkey.
 */
static bool find_program(const struct settings_service *service, char *buffer, size_t size)
{
    static const char *const programs[] = { "redis-server", "valkey-server" };
    static const char *const dirs[] = { "/usr/bin", "/usr/local/bin" };

    for (size_t i = 0; i < HM_ARRAY_LEN(programs) * HM_ARRAY_LEN(dirs); i++) {
        const char *dir = dirs[i % HM_ARRAY_LEN(dirs)];

        (void)snprintf(buffer, size, "%s/%s", service->bin_dir[0] != 0 ? service->bin_dir : dir,
                       programs[i / HM_ARRAY_LEN(dirs)]);
        if (access(buffer, X_OK) == 0)
            return true;
    }
    return false;
}

/* Of a session of its own, so that it outlives hamgrd. What stands behind the file wins: a replica
 * of nobody, in the foreground, for hamgrd's own service manager no news. */
static void spawn(struct redis_op *op)
{
    const struct settings_service *service = op->s->config.service;
    char program[SETTINGS_PATH_MAX + 16];
    const char *const argv[] = { program,
                                 service->config_file,
                                 "--daemonize",
                                 "no",
                                 "--supervised",
                                 "no",
                                 "--replicaof",
                                 REDIS_NOBODY_HOST,
                                 REDIS_NOBODY_PORT,
                                 "--replica-read-only",
                                 "yes",
                                 NULL };
    struct child_config config = {
        .base = op->s->config.base, .argv = argv, .on_end = server_exited, .ctx = op
    };
    struct hm_err err;

    if (!find_program(service, program, sizeof program)) {
        rop_fail(op, "no program 'redis-server' or 'valkey-server' found: set bin_dir");
        return;
    }
    /* For a start by hand it is there, too; run_dir is in memory: this does not wait for a disk. */
    if (include_write(op->s->config.settings->run_dir, service->name, &err) != HM_OK) {
        rop_fail(op, "%s", err.text);
        return;
    }
    (void)snprintf(op->text, sizeof op->text, "%.*s/redis-server.log", (int)sizeof op->text - 32,
                   service->data_dir);
    if (child_detach(&config, op->text, &op->child, &err) != HM_OK)
        rop_fail(op, "%s", err.text);
    else
        wait_for_standby(op);
}

/* What redis.conf includes must be there, or the server refuses to start. */
struct include_job {
    struct worker_job base;
    struct redis_op *op;
    char run_dir[SETTINGS_PATH_MAX];
    char service[HM_NAME_MAX];
    enum hm_rc rc;
    struct hm_err err;
};

static void run_include(struct worker_job *base)
{
    struct include_job *job = (struct include_job *)base;

    job->rc = include_write(job->run_dir, job->service, &job->err);
}

static void include_done(struct worker_job *base)
{
    struct include_job *job = (struct include_job *)base;
    struct redis_op *op = job->op;

    if (rop_is_called_back(op) && !op->has_ended) {
        if (job->rc != HM_OK)
            rop_fail(op, "cannot start: %s", job->err.text);
        else
            spawn(op);
    }
    free(job);
}

static void write_include(struct redis_op *op)
{
    struct include_job *job = calloc(1, sizeof *job);

    HM_BUG_ON(job == NULL); /* no memory: systemd starts hamgrd again */
    job->base.run = run_include;
    job->base.done = include_done;
    job->op = op;
    memcpy(job->run_dir, op->s->config.settings->run_dir, sizeof job->run_dir);
    memcpy(job->service, op->s->config.service->name, sizeof job->service);
    op->calls++;
    worker_add(op->s->worker, &job->base);
}

static void start_unit(struct redis_op *op)
{
    const struct service_config *config = &op->s->config;

    (void)snprintf(op->text, sizeof op->text, "journalctl -u %s", config->service->unit);
    if (config->host.start_unit(config->host.ctx))
        wait_for_standby(op);
    else
        rop_fail(op, "hamgr-fence does not answer, so the unit '%s' cannot be started",
                 config->service->unit);
}

static void start_first_looked(struct redis_op *op)
{
    enum copy_state state = op->s->seen.state;

    if (state == COPY_STANDBY) {
        rop_succeed(op);
        return;
    }
    if (state != COPY_DOWN && state != COPY_ABSENT && state != COPY_STARTING) {
        rop_fail(op, "cannot start: the copy is %s", copy_state_name(state));
        return;
    }
    op->since_ms = clock_boot_ms();
    rop_doing(op, "start: waiting until the server answers");
    if (state == COPY_STARTING) {
        (void)snprintf(op->text, sizeof op->text, "its log");
        wait_for_standby(op);
    } else if (op->s->config.service->control == CONTROL_SYSTEMD) {
        start_unit(op);
    } else {
        write_include(op);
    }
}

static void begin_start(struct redis_op *op)
{
    rop_look(op, start_first_looked);
}

static void start_lost(struct redis_op *op)
{
    if (op->text[0] != 0)
        fail_to_start(op, " (it ended)");
}

const struct rop_kind rop_start = { DO_START, begin_start, start_lost, 60 * MINUTE_MS };
/* An empty server is made by starting it. */
const struct rop_kind rop_init = { DO_INIT, begin_start, start_lost, 60 * MINUTE_MS };

/* --- promote ---------------------------------------------------------------------------------- */

/* True: it was said why it cannot be done. */
static bool is_refused(struct redis_op *op, enum rconn_outcome outcome, const char *why)
{
    if (outcome != RCONN_ANSWERED)
        rop_fail(op, "cannot %s: %s", core_effect_name(op->e.type), why);
    return outcome != RCONN_ANSWERED;
}

/* True: it was said that it is no standby. */
static bool is_no_standby(struct redis_op *op)
{
    enum copy_state state = op->s->seen.state;

    if (state != COPY_STANDBY)
        rop_fail(op, "cannot %s: the copy is %s", core_effect_name(op->e.type),
                 copy_state_name(state));
    return state != COPY_STANDBY;
}

/* The replication id that the server drew is read by the last probe. */
static void promoted(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                     const char *why)
{
    (void)reply;
    if (!is_refused(op, outcome, why))
        rop_succeed(op);
}

static void readers_told(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                         const char *why)
{
    (void)ctx;
    (void)outcome; /* they would stay where they are, as they do on a server that stays a replica */
    (void)reply;
    (void)why;
}

/* Whoever reads from a replica asked for a replica, and would never learn that it is none any more:
 * client libraries look at the role only when they connect. Known by the address that clients are
 * told: our own connections come by the unix socket. Right behind the promotion, before anybody can
 * have heard of the new primary. */
static void let_readers_go(struct service *s)
{
    char host[HM_ADDRESS_MAX], place[HM_ADDRESS_MAX + 16];
    const char *const words[] = { "CLIENT", "KILL", "TYPE", "normal", "LADDR", place };

    if (!record_host(&s->record, s->self, host))
        return;
    (void)snprintf(place, sizeof place, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host,
                   s->config.service->port);
    (void)rconn_ask(s->work, HM_ARRAY_LEN(words), words, ROP_ASK_MS, readers_told, s);
}

static void ask_promotion(struct redis_op *op)
{
    struct service *s = op->s; /* op may be gone when its question could not be asked */

    ROP_ASK(op, promoted, "REPLICAOF", "NO", "ONE");
    let_readers_go(s);
}

static void promote_looked(struct redis_op *op)
{
    const struct copy *seen = &op->s->seen;

    if (seen->state == COPY_PRIMARY)
        rop_succeed(op);
    else if (is_no_standby(op))
        return;
    else if (seen->follows != HM_NOBODY || seen->is_streaming || op->s->info.is_syncing)
        rop_fail(op, "cannot promote: the copy still follows somebody");
    else
        rop_set_first_names(op, ask_promotion);
}

static void look_to_promote(struct redis_op *op)
{
    rop_look(op, promote_looked);
}

static void begin_promote(struct redis_op *op)
{
    rop_need_work(op, look_to_promote);
}

const struct rop_kind rop_promote = { DO_PROMOTE, begin_promote, NULL, MINUTE_MS };

/* --- follow and freeze ------------------------------------------------------------------------ */

static bool is_told_to_follow(const struct service *s, const char *host, uint16_t port)
{
    return strcmp(s->info.master_host, host) == 0 && s->info.master_port == port;
}

static void followed(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                     const char *why)
{
    (void)reply;
    if (!is_refused(op, outcome, why))
        rop_succeed(op);
}

/* The host and the port of the member to follow, as the record and the settings have them. */
static bool address_of(const struct redis_op *op, char host[HM_ADDRESS_MAX], char port[8])
{
    (void)snprintf(port, 8, "%u", op->s->config.service->port);
    return op->e.copy.member != op->s->self && op->s->self < HM_MEMBERS_MAX &&
           record_host(&op->s->record, op->e.copy.member, host);
}

static void ask_to_follow(struct redis_op *op)
{
    char host[HM_ADDRESS_MAX], port[8];

    if (!address_of(op, host, port))
        rop_fail(op, "cannot follow: the record changed");
    else if (is_told_to_follow(op->s, host, op->s->config.service->port))
        rop_succeed(op);
    else
        ROP_ASK(op, followed, "REPLICAOF", host, port);
}

static void follow_looked(struct redis_op *op)
{
    char host[HM_ADDRESS_MAX], port[8];

    if (is_no_standby(op))
        return;
    if (!address_of(op, host, port))
        rop_fail(op, "cannot follow: the record has no address of member %u", op->e.copy.member);
    else
        rop_log_in(op, ask_to_follow);
}

static void look_to_follow(struct redis_op *op)
{
    rop_look(op, follow_looked);
}

static void begin_follow(struct redis_op *op)
{
    rop_need_work(op, look_to_follow);
}

const struct rop_kind rop_follow = { DO_FOLLOW, begin_follow, NULL, MINUTE_MS };

static void look_to_freeze(struct redis_op *op);

static void freeze_proved(struct redis_op *op)
{
    const struct copy *seen = &op->s->seen;

    if (is_no_standby(op))
        return;
    if (seen->follows != HM_NOBODY || seen->is_streaming || op->s->info.is_syncing)
        rop_fail(op, "the copy receives again: somebody else told it to follow");
    else
        rop_succeed(op);
}

static void frozen(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                   const char *why)
{
    (void)reply;
    if (!is_refused(op, outcome, why))
        rop_look(op, freeze_proved);
}

/* A replica that loads all data anew takes no such command until it has them. */
static void freeze_looked(struct redis_op *op)
{
    const struct copy *seen = &op->s->seen;

    if (op->s->info.is_loading && seen->state == COPY_STARTING) {
        rop_doing(op, "freeze: until the data are loaded");
        rop_after(op, LOADING_POLL_MS, look_to_freeze);
    } else if (is_no_standby(op)) {
        return;
    } else if (seen->follows == HM_NOBODY && !seen->is_streaming && !op->s->info.is_syncing) {
        rop_succeed(op);
    } else {
        ROP_ASK(op, frozen, "REPLICAOF", REDIS_NOBODY_HOST, REDIS_NOBODY_PORT);
    }
}

static void look_to_freeze(struct redis_op *op)
{
    rop_look(op, freeze_looked);
}

static void begin_freeze(struct redis_op *op)
{
    rop_need_work(op, look_to_freeze);
}

const struct rop_kind rop_freeze = { DO_FREEZE, begin_freeze, NULL, MINUTE_MS / 2 };

/* --- what is never needed --------------------------------------------------------------------- */

static void refuse_fetch(struct redis_op *op)
{
    rop_fail(op, "a frozen copy of Redis gives nothing away (NOMASTERLINK)");
}

static void refuse_rescue(struct redis_op *op)
{
    rop_fail(op, "what a Redis server had is gone with its process");
}

static void refuse_rebuild(struct redis_op *op)
{
    rop_fail(op, "a copy of Redis resynchronises by itself");
}

static void running_looked(struct redis_op *op)
{
    enum copy_state state = op->s->seen.state;

    if (state == COPY_STANDBY || state == COPY_PRIMARY)
        rop_succeed(op);
    else
        rop_fail(op, "nothing to %s: the copy is %s", core_effect_name(op->e.type),
                 copy_state_name(state));
}

/* Everything is in memory at once. */
static void begin_checkpoint(struct redis_op *op)
{
    rop_look(op, running_looked);
}

const struct rop_kind rop_fetch = { DO_FETCH, refuse_fetch, NULL, MINUTE_MS };
const struct rop_kind rop_rescue = { DO_RESCUE, refuse_rescue, NULL, MINUTE_MS };
const struct rop_kind rop_rewind = { DO_REWIND, refuse_rebuild, NULL, MINUTE_MS };
const struct rop_kind rop_clone = { DO_CLONE, refuse_rebuild, NULL, MINUTE_MS };
const struct rop_kind rop_checkpoint = { DO_CHECKPOINT, begin_checkpoint, NULL, MINUTE_MS };
/* Nobody waits for a write but who asks with WAIT: there is no flag that must be seen in force. */
const struct rop_kind rop_prove = { DO_PROVE, rop_succeed, NULL, MINUTE_MS };
