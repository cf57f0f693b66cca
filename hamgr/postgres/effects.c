/* effects.c - start, stop, freeze, promote, checkpoint. */
#include "postgres/op.h"

#include "base/clock.h"
#include "postgres/datadir.h"
#include "postgres/probe.h"
#include "postgres/wal_copy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_MS = 5000,
    POLL_MS = 2,
    START_POLL_MS = 10,
    START_LOOK_MS = 250,
    APPEAR_MS = 15000, /* how long a unit may take until there is a process */
    BLOCKED_MS = 30,   /* how long replay may hold up a promotion before readers are ended */
    UNBLOCK_EACH_MS = 50,
    FINAL_POLL_MS = 10,
};

#define MINUTE_MS 60000

/* --- start -------------------------------------------------------------------------------------
 */

static void wait_for_standby(struct op *op);

/* What the server itself said is quoted, so that nobody needs to look for it. */
static void reason_read(struct op *op)
{
    if (op->text[0] != 0)
        op_fail(op, "%s: %s; more in %s", op->reason, op->text, op->paths[0]);
    else
        op_fail(op, "%s: look at %s", op->reason, op->paths[0]);
}

static void fail_to_start(struct op *op, const char *how)
{
    struct op_job *job;

    if (op->reason[0] != 0)
        return; /* seen by its exit and by its death */
    job = op_new_job(op, op_read_reason);
    (void)snprintf(op->reason, sizeof op->reason, "the server did not start%s", how);
    job->number = op->position;
    op_run_job(op, job, reason_read);
}

static void start_first_looked(struct op *op);

static void start_looked(struct op *op)
{
    bool is_own = op->paths[0][0] != 0; /* else somebody else's, which was met on its way */

    switch (op->s->seen.state) {
    case COPY_STANDBY:
        op_succeed(op);
        return;
    case COPY_PRIMARY:
        op_fail(op, "the server came up as a primary: did somebody remove standby.signal?");
        return;
    case COPY_SUSPENDED:
        op_fail(op, "the server was suspended while it started");
        return;
    case COPY_DOWN:
    case COPY_ABSENT:
        if (!is_own) {
            start_first_looked(op); /* it has ended */
            return;
        }
        if (op->flag || clock_boot_ms() - op->since_ms > APPEAR_MS) {
            fail_to_start(op, "");
            return;
        }
        break;
    case COPY_UNKNOWN:
    case COPY_STARTING:
    case COPY_REBUILDING:
    case COPY_STATES_N:
        op->flag = op->s->postmaster != 0; /* it has been there: when it is gone, it failed */
        break;
    }
    op->count = 0;
    op_after(op, START_POLL_MS, wait_for_standby);
}

/* A connection is tried often, everything else is looked at now and then. */
static void wait_for_standby(struct op *op)
{
    conn_open(op->s->work, false);
    if (conn_is_up(op->s->work) || ++op->count * START_POLL_MS > START_LOOK_MS)
        op_look(op, start_looked);
    else
        op_after(op, START_POLL_MS, wait_for_standby);
}

static void server_exited(void *ctx, const struct child_end *end)
{
    struct op *op = ctx;
    char how[96], text[100];

    op->child = NULL;
    child_describe(end, how, sizeof how);
    (void)snprintf(text, sizeof text, " (%s)", how);
    fail_to_start(op, text);
}

/* Of a session of its own, so that it outlives hamgrd. */
static void spawn(struct op *op)
{
    const struct settings_service *service = op->s->config.service;
    char program[OP_PATH_MAX], config_file[OP_PATH_MAX];
    const char *argv[] = { program, "-D", service->data_dir, NULL, NULL, NULL };
    struct child_config config = {
        .base = op->s->config.base, .argv = argv, .on_end = server_exited, .ctx = op
    };
    struct hm_err err;

    (void)snprintf(program, sizeof program, "%s/postgres", op->bin_dir);
    if (service->config_file[0] != 0) {
        (void)snprintf(config_file, sizeof config_file, "config_file=%s", service->config_file);
        argv[3] = "-c";
        argv[4] = config_file;
    }
    if (child_detach(&config, op->paths[0], &op->child, &err) != HM_OK)
        op_fail(op, "%s", err.text);
    else
        wait_for_standby(op);
}

static void prepared(struct op *op)
{
    const struct service_config *config = &op->s->config;

    op->is_touched = true;
    op->flag = false;
    op->since_ms = clock_boot_ms();
    op_doing(op, "start: waiting until the server answers");
    if (config->service->control == CONTROL_SYSTEMD) {
        (void)snprintf(op->paths[0], sizeof op->paths[0], "journalctl -u %s",
                       config->service->unit);
        if (config->host.start_unit(config->host.ctx))
            wait_for_standby(op);
        else
            op_fail(op, "hamgr-fence does not answer, so the unit '%s' cannot be started",
                    config->service->unit);
        return;
    }
    op->version = (int)op->number;
    if (!op_find_programs(op, op->version)) {
        op_fail(op, "no program 'postgres' of version %d found: set bin_dir", op->version);
        return;
    }
    op->position = op_server_log(op, op->paths[0]);
    spawn(op);
}

/* A standby that follows nobody. But one that was rewound or restored answers only when it has what
 * the source wrote meanwhile: the rebuild says where to stream that from, under a name that no
 * commit waits for, and so it stays until the server has run. Where commits shall wait, they wait
 * from the first one on. */
enum hm_rc op_make_standby_in(const char *data_dir, struct op_job *job, struct hm_err *err)
{
    struct autoconf_setting set[] = { { "synchronous_standby_names", job->text },
                                      { "primary_slot_name", "" },
                                      { "primary_conninfo", job->conninfo } };
    bool is_given =
        job->conninfo[0] == 0 && (datadir_is_rewound(data_dir) || datadir_is_restored(data_dir));
    size_t first = job->text[0] != 0 ? 0 : 1;
    int version = 0;
    enum hm_rc rc = datadir_version(data_dir, &version, err);

    if (rc == HM_OK)
        rc = datadir_mark_standby(data_dir, err);
    if (rc == HM_OK)
        rc = autoconf_write(data_dir, set + first, (is_given ? 2 : 3) - first, err);
    if (rc == HM_OK)
        rc = datadir_place_histories(data_dir, 0, err);
    if (rc == HM_OK)
        rc = datadir_drop_pid_file(data_dir, err);
    if (rc == HM_OK)
        wal_gather_forget(data_dir); /* of a rescue that was cut short */
    job->number = (uint64_t)version;
    return rc;
}

enum hm_rc op_make_standby(struct op_job *job, struct hm_err *err)
{
    return op_make_standby_in(job->data_dir, job, err);
}

void op_first_names(const struct op *op, char *buffer, size_t size)
{
    const struct record *r = &op->s->record;

    buffer[0] = 0;
    if (r->epoch != 0 && r->goal != DURABILITY_ASYNC &&
        !postgres_names_value(r, NAMES_NOBODY, NULL, buffer, size))
        buffer[0] = 0;
}

static void start_first_looked(struct op *op)
{
    const struct copy *seen = &op->s->seen;
    struct op_job *job;

    if (seen->state == COPY_STANDBY) {
        op_succeed(op);
        return;
    }
    if (op->s->notes.is_rebuilding) {
        op_fail(op, "the copy is half-made and must not start: it is cloned first");
        return;
    }
    if (seen->state == COPY_STARTING) {
        op->is_touched = true;
        op->since_ms = clock_boot_ms();
        wait_for_standby(op);
        return;
    }
    if (seen->state != COPY_DOWN) {
        op_fail(op, "cannot start: the copy is %s", copy_state_name(seen->state));
        return;
    }
    job = op_new_job(op, op_make_standby);
    op_first_names(op, job->text, sizeof job->text);
    op_run_job(op, job, prepared);
}

static void begin_start(struct op *op)
{
    op_look(op, start_first_looked);
}

static void start_lost(struct op *op)
{
    if (op->is_touched)
        op_look(op, start_looked);
}

const struct op_kind op_start = { DO_START, begin_start, start_lost, 15 * MINUTE_MS };

/* --- stop --------------------------------------------------------------------------------------
 */

static void wait_for_end(struct op *op);

static void stop_looked(struct op *op)
{
    if (op->s->seen.state == COPY_DOWN || op->s->seen.state == COPY_ABSENT)
        op_succeed(op);
    else
        op_after(op, START_POLL_MS, wait_for_end);
}

static void wait_for_end(struct op *op)
{
    op_look(op, stop_looked);
}

static void stop_first_looked(struct op *op)
{
    const struct copy *seen = &op->s->seen;
    pid_t pid = op->s->postmaster;

    if (seen->state == COPY_DOWN || seen->state == COPY_ABSENT) {
        op_succeed(op);
        return;
    }
    if (seen->state == COPY_SUSPENDED || pid == 0) {
        op_fail(op, "cannot stop: the copy is %s%s", copy_state_name(seen->state),
                pid == 0 ? " and has no main process" : "");
        return;
    }
    op->s->is_stop_asked = true;
    if (!probe_signal(op->s->probe, SIGINT) && errno != ESRCH) {
        op_fail(op, "may not signal the server, process %d: hamgrd must run as its user", (int)pid);
        return;
    }
    op_doing(op, "stop: until the standbys have everything");
    wait_for_end(op);
}

static void begin_stop(struct op *op)
{
    op_look(op, stop_first_looked);
}

const struct op_kind op_stop = { DO_STOP, begin_stop, wait_for_end, MINUTE_MS };

/* --- freeze ------------------------------------------------------------------------------------
 */

static void look_for_final(struct op *op);

static void final_looked(struct op *op)
{
    const struct copy *seen = &op->s->seen;

    if (seen->state != COPY_STANDBY) {
        op_fail(op, "cannot freeze: the copy is %s", copy_state_name(seen->state));
    } else if (seen->is_streaming || seen->follows != HM_NOBODY) {
        op_fail(op, "the copy receives again: somebody else changed primary_conninfo");
    } else if (seen->is_final) {
        op_succeed(op);
    } else {
        op_doing(op, "freeze: reading the log on its disk");
        op_after(op, FINAL_POLL_MS, look_for_final);
    }
}

static void look_for_final(struct op *op)
{
    op_look(op, final_looked);
}

static void freeze_changed(struct op *op)
{
    op_end_receiver(op, look_for_final);
}

static void freeze_silenced(struct op *op)
{
    op_change(op, freeze_changed);
}

static void freeze_recovery_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                                 const char *why)
{
    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot freeze: %s", why);
    } else if (PQgetvalue(result, 0, 0)[0] != 't') {
        op_fail(op, "cannot freeze: the copy is no standby");
    } else if (PQgetvalue(result, 0, 1)[0] != 0) {
        op_add_silence(op, freeze_silenced);
    } else {
        op_add_setting(op, "primary_conninfo", "");
        op_change(op, freeze_changed);
    }
}

static void ask_recovery(struct op *op)
{
    op_ask_work(op, "SELECT pg_is_in_recovery(), current_setting('restore_command')", ASK_MS,
                freeze_recovery_told);
}

static void begin_freeze(struct op *op)
{
    op_need_work(op, ask_recovery);
}

const struct op_kind op_freeze = { DO_FREEZE, begin_freeze, NULL, 30000 };

/* --- promote -----------------------------------------------------------------------------------
 */

static void poll_timeline(struct op *op);

static enum hm_rc mark_again(struct op_job *job, struct hm_err *err)
{
    return datadir_mark_standby(job->data_dir, err);
}

/* PostgreSQL took the mark away. Until it is there again, a start by anybody would make a primary
 * without the lease. */
static void promoted(struct op *op)
{
    op_run_job(op, op_new_job(op, mark_again), op_succeed);
}

static void timeline_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                          const char *why);

static void unblocked(struct op *op, enum conn_outcome outcome, const PGresult *result,
                      const char *why)
{
    (void)outcome; /* it is asked again */
    (void)result;
    (void)why;
    op_after(op, POLL_MS, poll_timeline);
}

/* A standby's readers may hold up replay for max_standby_streaming_delay. Who holds what is not
 * told for every kind of conflict; without an open transaction nobody holds anything. */
const char *const op_unblock_sql =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND xact_start IS NOT NULL"
    " AND application_name NOT LIKE 'hamgr%' AND EXISTS (SELECT FROM pg_stat_activity"
    " WHERE backend_type = 'startup' AND (wait_event LIKE 'RecoveryConflict%'"
    " OR wait_event_type IN ('Lock', 'BufferPin')))";

static void unblock(struct op *op)
{
    op_doing(op, "promote: ending readers that block replay");
    op_ask_work(op, op_unblock_sql, ASK_MS, unblocked);
}

static void poll_timeline(struct op *op)
{
    op_ask_work(op,
                "SELECT CASE WHEN pg_is_in_recovery() THEN ''"
                " ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END",
                ASK_MS, timeline_told);
}

static void timeline_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                          const char *why)
{
    hm_ms now_ms = clock_boot_ms();
    const char *hex;

    if (outcome != CONN_ANSWERED) {
        op_fail(op, "the server did not tell whether it was promoted: %s", why);
        return;
    }
    hex = PQgetvalue(result, 0, 0);
    if (hex[0] == 0 && now_ms - op->since_ms > BLOCKED_MS + op->count * UNBLOCK_EACH_MS) {
        op->count++;
        unblock(op);
    } else if (hex[0] == 0) {
        op_after(op, POLL_MS, poll_timeline);
    } else if (strtoull(hex, NULL, 16) != op->e.copy.timeline) {
        op_fail(op, "the copy is a primary on timeline %llu, not %llu: somebody else promoted it",
                strtoull(hex, NULL, 16), (unsigned long long)op->e.copy.timeline);
    } else {
        promoted(op);
    }
}

static void promotion_asked(struct op *op, enum conn_outcome outcome, const PGresult *result,
                            const char *why)
{
    (void)result;
    if (outcome != CONN_ANSWERED) {
        op_fail(op, "the server refused to be promoted: %s", why);
        return;
    }
    op->since_ms = clock_boot_ms();
    op->count = 0;
    poll_timeline(op);
}

static void promote_noted(struct op *op)
{
    op_ask_work(op, "SELECT pg_promote(false)", ASK_MS, promotion_asked);
}

/* Durable before PostgreSQL can be on the timeline: nobody else knows which epoch began it. */
static void histories_placed(struct op *op)
{
    struct notes changed = op->s->notes;

    changed.timeline = op->e.copy.timeline;
    changed.began_epoch = op->e.copy.epoch;
    changed.was_primary = true;
    op_note(op, &changed, promote_noted);
}

static enum hm_rc place_histories(struct op_job *job, struct hm_err *err)
{
    return datadir_place_histories(job->data_dir, job->number, err);
}

static void promote_ready(struct op *op)
{
    struct op_job *job = op_new_job(op, place_histories);

    job->number = op->e.copy.timeline;
    op_run_job(op, job, histories_placed);
}

static void promote_silenced(struct op *op)
{
    op_change(op, promote_ready);
}

static void state_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                       const char *why)
{
    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot promote: %s", why);
    } else if (PQgetvalue(result, 0, 0)[0] == 'f') {
        poll_timeline(op);
    } else if (PQgetvalue(result, 0, 1)[0] != 0) {
        op_fail(op, "cannot promote: the copy still follows somebody");
    } else if (PQgetvalue(result, 0, 2)[0] != 0) {
        /* An archive could hold a history file of a higher number. */
        op_add_silence(op, promote_silenced);
    } else {
        promote_ready(op);
    }
}

static void ask_state(struct op *op)
{
    op_ask_work(op,
                "SELECT pg_is_in_recovery(), current_setting('primary_conninfo'),"
                " current_setting('restore_command')",
                ASK_MS, state_told);
}

static void begin_promote(struct op *op)
{
    op_need_work(op, ask_state);
}

const struct op_kind op_promote = { DO_PROMOTE, begin_promote, NULL, MINUTE_MS };

/* --- checkpoint --------------------------------------------------------------------------------
 */

static void checkpointed(struct op *op, enum conn_outcome outcome, const PGresult *result,
                         const char *why)
{
    (void)result;
    if (outcome != CONN_ANSWERED) {
        op_fail(op, "the checkpoint failed: %s", why);
        return;
    }
    if (op->flag)
        op->s->flag_server_id = op->position;
    op_succeed(op);
}

static void names_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                       const char *why)
{
    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot make a checkpoint: %s", why);
        return;
    }
    op->flag = PQgetvalue(result, 0, 0)[0] != 0;
    op->position = op->s->seen.server_id;
    op_ask_fresh(op, "CHECKPOINT", 10 * MINUTE_MS, checkpointed);
}

/* Opened after whatever set the names, and not the connection of others: a checkpoint may take
 * minutes, and what comes next must not wait behind it. */
static void checkpoint_opened(struct op *op)
{
    op_ask_fresh(op, "SELECT current_setting('synchronous_standby_names')", ASK_MS, names_told);
}

static void checkpoint_refused(struct op *op)
{
    char why[OP_WHY_MAX];

    memcpy(why, op->why, sizeof why);
    op_fail(op, "cannot make a checkpoint: %s", why);
}

static void begin_checkpoint(struct op *op)
{
    op_connect(op, op->s->conninfo, "application_name='hamgr checkpoint'", checkpoint_opened,
               checkpoint_refused);
}

const struct op_kind op_checkpoint = { DO_CHECKPOINT, begin_checkpoint, NULL, 11 * MINUTE_MS };
