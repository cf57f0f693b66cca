/* change.c - settings of the running server: by ALTER SYSTEM, until a new connection shows them. */
#include "postgres/op.h"

#include "base/clock.h"
#include "base/kernel.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum {
    ASK_MS = 5000,
    AGAIN_MS = 2,
    RESTORE_COMMAND_RELOADS = 140000,
    /* How often in a row no receiver may be there until none comes any more. */
    READING_LOOKS = 3,
    STREAM_LOOKS = 50,
};

/* --- the only connection that changes settings -------------------------------------------------
 */

static void ask_for_others(struct op *op);

static void others_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot look for older connections of hamgr: %s", why);
        return;
    }
    if (PQntuples(result) > 0) {
        op_after(op, AGAIN_MS, ask_for_others);
        return;
    }
    op->s->only_work = conn_backend(op->s->work);
    op->after_work(op);
}

/* A change that was sent over a connection that was then lost may yet be carried out, after a newer
 * one: its server process must be gone first. */
static void ask_for_others(struct op *op)
{
    op_ask_work(op,
                "SET application_name = 'hamgr work';"
                " SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'hamgr work' AND pid <> pg_backend_pid()",
                ASK_MS, others_told);
}

static void have_work(struct op *op)
{
    op->after_work = op->after_only;
    if (op->s->only_work != 0 && op->s->only_work == conn_backend(op->s->work))
        op->after_work(op);
    else
        ask_for_others(op);
}

void op_need_only_work(struct op *op, op_step *then)
{
    op->after_only = then;
    op_need_work(op, have_work);
}

/* --- changing ----------------------------------------------------------------------------------
 */

void op_add_setting(struct op *op, const char *name, const char *value)
{
    struct op_setting *set = &op->set[op->set_n++];

    HM_BUG_ON(op->set_n > HM_ARRAY_LEN(op->set));
    set->name = name;
    set->is_reset = value == NULL;
    (void)snprintf(set->value, sizeof set->value, "%s", value == NULL ? "" : value);
}

static void reload(struct op *op);
static void alter_next(struct op *op);
static void open_fresh(struct op *op);

static void altered(struct op *op, enum conn_outcome outcome, const PGresult *result,
                    const char *why)
{
    (void)result;
    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot change %s: %s", op->set[op->set_at].name, why);
        return;
    }
    op->set_at++;
    alter_next(op);
}

static void alter_next(struct op *op)
{
    const struct op_setting *set = &op->set[op->set_at];
    char quoted[2 * OP_CONNINFO_MAX + 4], sql[2 * OP_CONNINFO_MAX + 96];

    if (op->set_at == op->set_n) {
        reload(op);
        return;
    }
    sql_quote(quoted, sizeof quoted, set->value);
    if (set->is_reset)
        (void)snprintf(sql, sizeof sql, "ALTER SYSTEM RESET %s", set->name);
    else
        (void)snprintf(sql, sizeof sql, "ALTER SYSTEM SET %s = %s", set->name, quoted);
    op_ask_work(op, sql, ASK_MS, altered);
}

static void reloaded(struct op *op, enum conn_outcome outcome, const PGresult *result,
                     const char *why)
{
    (void)result;
    if (outcome != CONN_ANSWERED)
        op_fail(op, "cannot reload the configuration: %s", why);
    else
        open_fresh(op);
}

static void reload(struct op *op)
{
    op_ask_work(op, "SELECT pg_reload_conf()", ASK_MS, reloaded);
}

static bool shows_all(const struct op *op, const PGresult *result)
{
    for (unsigned int i = 0; i < op->set_n; i++)
        if (!op->set[i].is_reset && strcmp(PQgetvalue(result, 0, (int)i), op->set[i].value) != 0)
            return false;
    return true;
}

static void shown(struct op *op, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    op_step *then = op->after_change;

    if (outcome != CONN_ANSWERED)
        (void)snprintf(op->why, sizeof op->why, "a new connection was refused: %s", why);
    else
        (void)snprintf(op->why, sizeof op->why, "a new connection does not show %s yet",
                       op->set[0].name);
    if (outcome != CONN_ANSWERED || !shows_all(op, result)) {
        op_after(op, AGAIN_MS, open_fresh);
        return;
    }
    op->why[0] = 0;
    op->set_n = 0;
    then(op);
}

/* Asked on a connection opened after the reload: the postmaster has read the settings, and has told
 * all its processes before it made this one. */
static void fresh_opened(struct op *op)
{
    char sql[512] = "SELECT ";
    size_t n = strlen(sql);

    for (unsigned int i = 0; i < op->set_n; i++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, "%scurrent_setting('%s')", i > 0 ? ", " : "",
                              op->set[i].name);
    op_ask_fresh(op, sql, ASK_MS, shown);
}

static void fresh_refused(struct op *op)
{
    op_after(op, AGAIN_MS, open_fresh);
}

static void open_fresh(struct op *op)
{
    op_connect(op, op->s->conninfo, "application_name='hamgr check'", fresh_opened, fresh_refused);
}

static void begin_change(struct op *op)
{
    op->set_at = 0;
    alter_next(op);
}

void op_change(struct op *op, op_step *then)
{
    op->after_change = then;
    op_need_only_work(op, begin_change);
}

/* --- restore_command ---------------------------------------------------------------------------
 *
 * It is the administrator's. While a log is frozen it is empty, in postgresql.auto.conf; a value
 * that stood there before is kept in state_dir/NAME.restore_command.
 */

static void saved_path(const struct op *op, char *buffer, size_t size)
{
    (void)snprintf(buffer, size, "%s/%s.restore_command", op->s->config.settings->state_dir,
                   op->s->config.service->name);
}

static void silenced(struct op *op)
{
    op_add_setting(op, "restore_command", "");
    op->after_silence(op);
}

static void command_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                         const char *why)
{
    struct op_job *job;

    if (outcome != CONN_ANSWERED || PQntuples(result) != 1) {
        op_fail(op, "cannot read restore_command: %s", why);
        return;
    }
    if (PQgetvalue(result, 0, 0)[0] == 0 ||
        atoi(PQgetvalue(result, 0, 2)) < RESTORE_COMMAND_RELOADS) {
        op->after_silence(op);
        return;
    }
    if (strcmp(PQgetvalue(result, 0, 1), "auto") != 0) {
        silenced(op);
        return;
    }
    job = op_new_job(op, op_save_text);
    saved_path(op, job->path[0], sizeof job->path[0]);
    (void)snprintf(job->text, sizeof job->text, "%s", PQgetvalue(result, 0, 0));
    op_run_job(op, job, silenced);
}

static void ask_command(struct op *op)
{
    op_ask_work(op,
                "SELECT setting, CASE WHEN sourcefile LIKE '%postgresql.auto.conf' THEN 'auto'"
                " ELSE '' END, current_setting('server_version_num')"
                " FROM pg_settings WHERE name = 'restore_command'",
                ASK_MS, command_told);
}

void op_add_silence(struct op *op, op_step *then)
{
    op->after_silence = then;
    op_add_setting(op, "primary_conninfo", "");
    op_need_only_work(op, ask_command);
}

static void command_loaded(struct op *op)
{
    if (op->text[0] != 0)
        op_add_setting(op, "restore_command", op->text);
    else
        op_add_setting(op, "restore_command", NULL);
    op->after_silence(op);
}

static void source_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    struct op_job *job;

    if (outcome != CONN_ANSWERED || PQntuples(result) != 1) {
        op_fail(op, "cannot read restore_command: %s", why);
        return;
    }
    if (strcmp(PQgetvalue(result, 0, 0), "taken") != 0) {
        op->after_silence(op);
        return;
    }
    job = op_new_job(op, op_load_text);
    saved_path(op, job->path[0], sizeof job->path[0]);
    op_run_job(op, job, command_loaded);
}

static void ask_source(struct op *op)
{
    op_ask_work(op,
                "SELECT CASE WHEN setting = '' AND sourcefile LIKE '%postgresql.auto.conf'"
                " AND current_setting('server_version_num')::int >= 140000 THEN 'taken' ELSE '' END"
                " FROM pg_settings WHERE name = 'restore_command'",
                ASK_MS, source_told);
}

void op_add_restore_command(struct op *op, op_step *then)
{
    op->after_silence = then;
    op_need_only_work(op, ask_source);
}

/* --- the receiver ------------------------------------------------------------------------------
 */

static void ask_receiver(struct op *op);

/* Only a process of this very server: its number may have become another's. */
static bool is_child_of(pid_t pid, pid_t parent)
{
    char path[64], text[512];
    const char *at;
    FILE *f;
    size_t n;
    int found = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (f == NULL)
        return false;
    n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f); /* opened for reading */
    text[n] = 0;
    at = strrchr(text, ')');
    return at != NULL && sscanf(at + 1, " %*c %d", &found) == 1 && found == parent;
}

/* False: the operation has failed. */
static bool end_one(struct op *op, pid_t pid)
{
    /* Held before it is looked at: the number cannot become another process' in between. */
    int pidfd = pidfd_open(pid, 0);
    bool is_ours, may = true;

    (void)snprintf(op->why, sizeof op->why, "the WAL receiver, process %d, does not end", (int)pid);
    if (pidfd < 0)
        return true; /* it has ended; else the next look finds it again */
    is_ours = op->s->postmaster == 0 || is_child_of(pid, op->s->postmaster);
    if (is_ours)
        may = pidfd_send_signal(pidfd, SIGTERM, NULL, 0) == 0 || errno != EPERM;
    (void)close(pidfd); /* nothing was written to it */
    if (may)
        return true;
    op_fail(op, "may not end the WAL receiver, process %d: hamgrd must run as the database's user",
            (int)pid);
    return false;
}

/* The startup process may have asked for a receiver just before it read the settings, and that one
 * is not there yet. Where it sleeps between two tries it has not, and reads the settings before it
 * does; where it waits for a stream it has. Else it reads the log, and time has to tell. */
static unsigned int looks_needed(const char *startup_waits_for)
{
    if (strcmp(startup_waits_for, "RecoveryRetrieveRetryInterval") == 0)
        return 1;
    return strcmp(startup_waits_for, "RecoveryWalStream") == 0 ? STREAM_LOOKS : READING_LOOKS;
}

/* Columns: backend_type, pid, wait_event. */
static void receiver_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                          const char *why)
{
    unsigned int needed = READING_LOOKS;

    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot look for the WAL receiver: %s", why);
        return;
    }
    op->count++;
    for (int i = 0; i < PQntuples(result); i++) {
        if (strcmp(PQgetvalue(result, i, 0), "startup") == 0) {
            needed = looks_needed(PQgetvalue(result, i, 2));
            continue;
        }
        op->count = 0;
        if (!end_one(op, (pid_t)atoi(PQgetvalue(result, i, 1))))
            return;
    }
    if (op->count >= needed)
        op->after_change(op);
    else
        op_after(op, AGAIN_MS, ask_receiver);
}

static void ask_receiver(struct op *op)
{
    op_ask_fresh(op,
                 "SELECT backend_type, pid, wait_event FROM pg_stat_activity"
                 " WHERE backend_type IN ('walreceiver', 'startup')",
                 ASK_MS, receiver_told);
}

void op_end_receiver(struct op *op, op_step *then)
{
    op->after_change = then;
    op->count = 0;
    ask_receiver(op);
}
