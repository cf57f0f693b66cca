/* sync.c - set-names, prove, marker: what synchronous replication needs of a server (ARCHITECTURE
 * 6.1). */
#include "postgres/op.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 5000, POLL_MS = 2, NUDGE_FIRST_MS = 20, NUDGE_MAX_MS = 1000 };

#define MINUTE_MS 60000
#define FOREVER_MS (60 * MINUTE_MS) /* the core gives it up long before */

/* What a commit of ours is; it waits like any other. */
#define COMMIT "SELECT pg_logical_emit_message(true, 'hamgr', 'marker')"

/* --- set-names ---------------------------------------------------------------------------------
 */

static void names_noted(struct op *op)
{
    op_succeed(op);
}

/* Noted once it is so: before that the probe must not take older names for these. */
static void names_changed(struct op *op)
{
    struct notes changed = op->s->notes;
    bool is_pair = op->e.names.names == NAMES_PAIR && !pair_is_alone(&op->e.names.pair);

    (void)snprintf(changed.names, sizeof changed.names, "%.*s", (int)sizeof changed.names - 1,
                   op->text);
    changed.names_digest = is_pair ? pair_digest(&op->e.names.pair) : 0;
    op_note(op, &changed, names_noted);
}

static void begin_set_names(struct op *op)
{
    char value[sizeof op->s->notes.names];

    if (!postgres_names_value(&op->s->record, op->e.names.names, &op->e.names.pair, value,
                              sizeof value)) {
        op_fail(op, "the names of the pair do not fit, or the record does not know a member of it");
        return;
    }
    if (value[0] == 0)
        op->s->flag_server_id = 0; /* whatever was certain ends here, however this ends */
    (void)snprintf(op->text, sizeof op->text, "%s", value);
    op_add_setting(op, "synchronous_standby_names", value);
    op_change(op, names_changed);
}

const struct op_kind op_set_names = { DO_SET_NAMES, begin_set_names, NULL, MINUTE_MS };

/* --- prove -------------------------------------------------------------------------------------
 */

static void open_waiter(struct op *op);

static void waiter_answered(struct op *op, enum conn_outcome outcome, const PGresult *result,
                            const char *why)
{
    (void)result;
    if (op->flag)
        return;
    if (outcome == CONN_ANSWERED)
        why = "commits return without waiting";
    (void)snprintf(op->why, sizeof op->why, "%s", why);
    op_after(op, POLL_MS, open_waiter);
}

/* Its commit may return: it is hamgr's own, and nobody acts upon it. */
static void waiter_ended(struct op *op, enum conn_outcome outcome, const PGresult *result,
                         const char *why)
{
    (void)outcome; /* its connection is closed anyway */
    (void)result;
    (void)why;
    op_succeed(op);
}

static void ask_waiter(struct op *op);

static void waiter_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    char sql[96];

    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot see whether a commit waits: %s", why);
        return;
    }
    if (PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "SyncRep") == 0) {
        op->flag = true; /* proved */
        (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", conn_backend(op->fresh));
        op_ask_work(op, sql, ASK_MS, waiter_ended);
        return;
    }
    op_after(op, POLL_MS, ask_waiter);
}

static void ask_waiter(struct op *op)
{
    char sql[128];
    int backend = op->fresh == NULL ? 0 : conn_backend(op->fresh);

    if (backend == 0)
        return; /* lost: its own callback opens another */
    (void)snprintf(sql, sizeof sql, "SELECT wait_event FROM pg_stat_activity WHERE pid = %d",
                   backend);
    op_ask_work(op, sql, ASK_MS, waiter_told);
}

static void waiter_up(struct op *op)
{
    op_ask_fresh(op, "SET synchronous_commit = on; " COMMIT, FOREVER_MS, waiter_answered);
    op_after(op, POLL_MS, ask_waiter);
}

static void waiter_refused(struct op *op)
{
    if (!op->flag)
        op_after(op, POLL_MS, open_waiter);
}

static void open_waiter(struct op *op)
{
    op_connect(op, op->s->conninfo, "application_name='hamgr proof'", waiter_up, waiter_refused);
}

static void primary_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                         const char *why)
{
    if (outcome != CONN_ANSWERED)
        op_fail(op, "cannot prove that commits wait: %s", why);
    else if (PQgetvalue(result, 0, 0)[0] != 'f')
        op_fail(op, "cannot prove that commits wait: the copy is no primary");
    else if (PQgetvalue(result, 0, 1)[0] == 0)
        op_fail(op, "commits wait for nobody: synchronous_standby_names is empty");
    else
        open_waiter(op);
}

static void ask_primary(struct op *op)
{
    op_ask_work(op, "SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names')",
                ASK_MS, primary_told);
}

static void begin_prove(struct op *op)
{
    op_need_work(op, ask_primary);
}

const struct op_kind op_prove = { DO_PROVE, begin_prove, NULL, 5 * MINUTE_MS };

/* --- marker ------------------------------------------------------------------------------------
 */

static void open_marker(struct op *op);
static void ask_standbys(struct op *op);

static void nudged(struct op *op, enum conn_outcome outcome, const PGresult *result,
                   const char *why);

/* Waiting commits are released when a standby confirms something new: on an idle server that is
 * nothing for seconds. */
static void nudge(struct op *op)
{
    op_ask_work(op, "BEGIN; SET LOCAL synchronous_commit = local; " COMMIT "; COMMIT", ASK_MS,
                nudged);
}

static void nudged(struct op *op, enum conn_outcome outcome, const PGresult *result,
                   const char *why)
{
    hm_ms pause_ms = (hm_ms)NUDGE_FIRST_MS << (op->count < 6 ? op->count : 6);

    (void)result;
    (void)why;
    if (outcome != CONN_ANSWERED)
        conn_open(op->s->work, false);
    op->count++;
    if (!op->flag)
        op_after(op, hm_min_ms(pause_ms, NUDGE_MAX_MS), nudge);
}

static bool is_of_pair(const struct op *op, const char *slot_name)
{
    uint8_t member;
    uint64_t copy_id;

    return postgres_slot_parse(&op->s->record, slot_name, &member, &copy_id) &&
           pair_has(&op->e.names.pair, member, copy_id);
}

/* A walsender releases commits by the rule that it read last, and shows its place in that: without
 * one it releases nothing, and may be as far behind as it likes. */
static bool may_release(const char *sync_priority)
{
    return atoi(sync_priority) != 0;
}

/* Columns: slot's name, flush_lsn, sent_lsn, sync_priority. A slot has one walsender, so none
 * counts twice. */
static void standbys_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                          const char *why)
{
    unsigned int have = 0;
    bool is_sent = true;

    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot see what the standbys have: %s", why);
        return;
    }
    for (int i = 0; i < PQntuples(result); i++) {
        uint64_t flushed = 0, sent = 0;

        (void)read_lsn(PQgetvalue(result, i, 1), &flushed); /* 0: nothing yet */
        (void)read_lsn(PQgetvalue(result, i, 2), &sent);
        have += flushed >= op->position && is_of_pair(op, PQgetvalue(result, i, 0));
        is_sent &= sent >= op->position || !may_release(PQgetvalue(result, i, 3));
    }
    if (have >= op->e.names.pair.need && is_sent) {
        op_succeed(op);
        return;
    }
    op_doing(op, "marker: flushed by %u of %u%s", have, op->e.names.pair.need,
             is_sent ? "" : ", not sent to all");
    op_after(op, POLL_MS, ask_standbys);
}

/* A walsender that only copies files, or has not begun, cannot release a commit by an older rule:
 * it reads the configuration before it streams. */
static void ask_standbys(struct op *op)
{
    op_ask_work(op,
                "SELECT coalesce(l.slot_name, ''), r.flush_lsn, r.sent_lsn, r.sync_priority"
                " FROM pg_stat_replication r LEFT JOIN pg_replication_slots l"
                " ON l.active_pid = r.pid WHERE r.state NOT IN ('startup', 'backup')",
                ASK_MS, standbys_told);
}

static void marker_returned(struct op *op, enum conn_outcome outcome, const PGresult *result,
                            const char *why)
{
    if (outcome != CONN_ANSWERED || !read_lsn(PQgetvalue(result, 0, 0), &op->position)) {
        (void)snprintf(op->why, sizeof op->why, "the marker was lost: %s", why);
        op_after(op, NUDGE_FIRST_MS, open_marker);
        return;
    }
    op->flag = true;
    op_close_fresh(op);
    op_after(op, 0, ask_standbys);
}

static void marker_sent(struct op *op)
{
    op->flag = false;
    op->count = 0;
    op_ask_fresh(op, "SET synchronous_commit = on; " COMMIT, FOREVER_MS, marker_returned);
    op_after(op, NUDGE_FIRST_MS, nudge);
}

static void marker_names_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                              const char *why)
{
    char wanted[sizeof op->s->notes.names];

    if (outcome != CONN_ANSWERED) {
        op_fail(op, "cannot write a marker: %s", why);
        return;
    }
    if (PQgetvalue(result, 0, 0)[0] != 'f') {
        op_fail(op, "cannot write a marker: the copy is no primary");
        return;
    }
    if (!postgres_names_value(&op->s->record, NAMES_PAIR, &op->e.names.pair, wanted,
                              sizeof wanted) ||
        strcmp(PQgetvalue(result, 0, 1), wanted) != 0) {
        op_fail(op, "the names of the pair are not in force: a marker would prove nothing");
        return;
    }
    marker_sent(op);
}

/* Opened after the names were set, so this server process has them. */
static void marker_up(struct op *op)
{
    op_ask_fresh(op, "SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names')",
                 ASK_MS, marker_names_told);
}

static void marker_refused(struct op *op)
{
    op->flag = false;
    op_after(op, NUDGE_FIRST_MS, open_marker);
}

static void open_marker(struct op *op)
{
    op_connect(op, op->s->conninfo, "application_name='hamgr marker'", marker_up, marker_refused);
}

static void begin_marker(struct op *op)
{
    op_doing(op, "marker: until a commit returns");
    op_need_work(op, open_marker);
}

const struct op_kind op_marker = { DO_MARKER, begin_marker, NULL, FOREVER_MS };
