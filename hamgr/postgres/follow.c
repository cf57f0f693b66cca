/* follow.c - stream from a member, and stream only what is missing from a frozen one. */
#include "postgres/op.h"

#include "base/clock.h"
#include "postgres/datadir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_MS = 5000,
    FETCH_POLL_MS = 2,
    FETCH_LIMIT_MS = 30000,
    HASTEN_POLL_MS = 5,
    HASTEN_MS = 1500, /* how long a stream is waited for, and helped to begin */
};

/* --- our slot on the other one -----------------------------------------------------------------
 */

static void slot_is_there(struct op *op);

static void slot_refused(struct op *op)
{
    const char *name = op_member_name(op, op->e.copy.member);
    char why[OP_WHY_MAX];

    memcpy(why, op->why, sizeof why);
    if (strstr(why, "pg_hba.conf") != NULL)
        op_fail(op,
                "%s lets us not replicate: add a line 'host replication %s OUR-ADDRESS "
                "scram-sha-256' there: %s",
                name, op->s->config.service->replication_user, why);
    else
        op_fail(op, "cannot create the slot on %s: %s", name, why);
}

static void slot_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                      const char *why)
{
    const char *state =
        outcome == CONN_REFUSED ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

    if (outcome == CONN_ANSWERED || (state != NULL && strcmp(state, "42710") == 0)) {
        slot_is_there(op);
        return;
    }
    if (state != NULL && strcmp(state, "53400") == 0) {
        op_fail(op, "cannot create the slot on %s: raise max_replication_slots there: %s",
                op_member_name(op, op->e.copy.member), why);
        return;
    }
    (void)snprintf(op->why, sizeof op->why, "%s", why);
    slot_refused(op);
}

static void own_slot(const struct op *op, char *buffer, size_t size)
{
    postgres_slot_name(buffer, size, op_member_name(op, op->s->self), op->s->notes.copy_id);
}

/* Columns: systemid, timeline, xlogpos, dbname. */
static void upstream_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                          const char *why)
{
    char name[72], sql[160];

    if (outcome != CONN_ANSWERED) {
        (void)snprintf(op->why, sizeof op->why, "%s", why);
        slot_refused(op);
        return;
    }
    op->source_timeline = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    own_slot(op, name, sizeof name);
    (void)snprintf(sql, sizeof sql, "CREATE_REPLICATION_SLOT \"%s\" PHYSICAL RESERVE_WAL", name);
    op_ask_fresh(op, sql, ASK_MS, slot_told);
}

static void replication_up(struct op *op)
{
    op_ask_fresh(op, "IDENTIFY_SYSTEM", ASK_MS, upstream_told);
}

static void address_known(struct op *op)
{
    op_connect_source(op, "replication=true application_name='hamgr slot'", replication_up,
                      slot_refused);
}

/* Leftovers of a promotion that did not happen would hide the timelines of the other one. */
static enum hm_rc tidy_histories(struct op_job *job, struct hm_err *err)
{
    return datadir_place_histories(job->data_dir, 0, err);
}

static void make_slot(struct op *op)
{
    op_resolve(op, address_known);
}

/* --- follow ------------------------------------------------------------------------------------
 */

static void ask_stream(struct op *op);

static void hastened(struct op *op, enum conn_outcome outcome, const PGresult *result,
                     const char *why)
{
    (void)outcome; /* it is looked at again */
    (void)result;
    (void)why;
    op_after(op, HASTEN_POLL_MS, ask_stream);
}

static void no_stream_came(struct op *op)
{
    op_look_for_log(op, op_succeed);
}

/* A stream that did not begin in time is told by probes; it is followed all the same. */
static void stream_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    (void)why;
    if (outcome == CONN_ANSWERED && PQgetvalue(result, 0, 0)[0] == 't')
        rejoin_forget_old(op, op_succeed);
    else if (outcome != CONN_ANSWERED)
        op_succeed(op);
    else if (clock_boot_ms() - op->since_ms > HASTEN_MS)
        op_look(op, no_stream_came);
    else if (PQgetvalue(result, 0, 1)[0] == 't')
        op_ask_work(op, "SELECT pg_reload_conf()", ASK_MS, hastened);
    else
        op_after(op, HASTEN_POLL_MS, ask_stream);
}

/* Where a timeline ends the receiver stops, and the startup process sleeps for
 * wal_retrieve_retry_interval, five seconds, before it goes on to the next one (measured). A reload
 * wakes it. */
static void ask_stream(struct op *op)
{
    char sql[384];

    (void)snprintf(sql, sizeof sql,
                   "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming' AND "
                   "received_tli >= %llu), EXISTS (SELECT FROM pg_stat_activity WHERE backend_type "
                   "= 'startup' AND wait_event = 'RecoveryRetrieveRetryInterval')",
                   (unsigned long long)op->source_timeline);
    op_ask_work(op, sql, ASK_MS, stream_told);
}

static void followed(struct op *op)
{
    op->since_ms = clock_boot_ms();
    if (op->e.type == DO_FETCH)
        op_poll_fetch(op);
    else
        ask_stream(op);
}

static void follow_changed(struct op *op)
{
    struct notes changed = op->s->notes;

    op_close_fresh(op);
    if (op->e.type == DO_FETCH || !changed.was_primary) {
        followed(op);
        return;
    }
    changed.was_primary = false;
    op_note(op, &changed, followed);
}

static void follow_settings_ready(struct op *op)
{
    op_change(op, follow_changed);
}

/* What the primary's end of the stream does when this member is cut off. Left to itself it waits
 * for the answer to ever rarer retransmissions, and holds the slot: after a cut of half a minute
 * the standby could not come back for as long again. */
static void add_senders_patience(const struct op *op, char *conninfo, size_t size)
{
    long long silence_ms = hm_max_ms(op->s->config.settings->timing.ttl_ms, 1000) * 4;
    char options[160];

    (void)snprintf(options, sizeof options,
                   "-c tcp_user_timeout=%lld -c tcp_keepalives_idle=1 -c tcp_keepalives_interval=1 "
                   "-c tcp_keepalives_count=%lld",
                   silence_ms, (silence_ms + 999) / 1000);
    conninfo_add(conninfo, size, "options", options);
}

static void log_is_there(struct op *op);

/* Told to follow once more, and no stream: perhaps there is nothing to stream. PostgreSQL's
 * receiver counts as streaming for a moment even then. */
static void slot_is_there(struct op *op)
{
    const struct copy *seen = &op->s->seen;

    op_close_fresh(op);
    if (op->e.type == DO_FOLLOW && seen->follows == op->e.copy.member && !seen->is_streaming)
        op_look_for_log(op, log_is_there);
    else
        log_is_there(op);
}

/* The name is what the primary's names mean; the slot lets no second connection of this copy in. */
static void log_is_there(struct op *op)
{
    char conninfo[OP_CONNINFO_MAX], name[72];

    (void)op_conninfo(op, false, conninfo, sizeof conninfo); /* checked when the slot was made */
    (void)snprintf(name, sizeof name, "hamgr_%s", op_member_name(op, op->s->self));
    conninfo_add(conninfo, sizeof conninfo, "application_name", name);
    add_senders_patience(op, conninfo, sizeof conninfo);
    op->set_n = 0;
    op_add_setting(op, "primary_conninfo", conninfo);
    own_slot(op, name, sizeof name);
    op_add_setting(op, "primary_slot_name", name);
    if (op->e.type == DO_FETCH)
        follow_settings_ready(op);
    else
        op_add_restore_command(op, follow_settings_ready);
}

static void recovery_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                          const char *why)
{
    if (outcome != CONN_ANSWERED)
        op_fail(op, "cannot follow: %s", why);
    else if (PQgetvalue(result, 0, 0)[0] != 't')
        op_fail(op, "cannot follow: the copy is a primary");
    else
        op_run_job(op, op_new_job(op, tidy_histories), make_slot);
}

static void ask_recovery(struct op *op)
{
    op_ask_work(op, "SELECT pg_is_in_recovery()", ASK_MS, recovery_told);
}

static void begin_follow(struct op *op)
{
    const struct service *s = op->s;

    if (s->self == HM_NOBODY || s->notes.copy_id == 0 || op->e.copy.member == s->self)
        op_fail(op, "cannot follow: this member is not in the record, or has no copy");
    else
        op_need_work(op, ask_recovery);
    op->s->lacks_log_of = 0;
    if (!op->has_ended)
        op_doing(op, "%s %s", core_effect_name(op->e.type), op_member_name(op, op->e.copy.member));
}

const struct op_kind op_follow = { DO_FOLLOW, begin_follow, NULL, 30000 };

/* --- fetch -------------------------------------------------------------------------------------
 */

/* However it ends, the log is frozen again; and that is proved. */
static void fetch_frozen(struct op *op)
{
    char have[24], want[24];

    if (op->position >= op->e.copy.upto.offset) {
        op_succeed(op);
        return;
    }
    print_lsn(have, sizeof have, op->position);
    print_lsn(want, sizeof want, op->e.copy.upto.offset);
    op_fail(op, "received only up to %s of %s from %s: look at the server's log", have, want,
            op_member_name(op, op->e.copy.member));
}

static void fetch_ended(struct op *op)
{
    op_end_receiver(op, fetch_frozen);
}

static void fetch_silenced(struct op *op)
{
    op_change(op, fetch_ended);
}

static void fetch_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                       const char *why)
{
    if (outcome != CONN_ANSWERED || !read_lsn(PQgetvalue(result, 0, 0), &op->position)) {
        op_fail(op, "cannot read what was received: %s", why);
        return;
    }
    if (op->position < op->e.copy.upto.offset && clock_boot_ms() - op->since_ms < FETCH_LIMIT_MS) {
        op_after(op, FETCH_POLL_MS, op_poll_fetch);
        return;
    }
    op->set_n = 0;
    op_add_silence(op, fetch_silenced);
}

void op_poll_fetch(struct op *op)
{
    op_ask_work(op,
                "SELECT greatest(coalesce(pg_last_wal_receive_lsn(), '0/0'),"
                " coalesce(pg_last_wal_replay_lsn(), '0/0'))",
                ASK_MS, fetch_told);
}

const struct op_kind op_fetch = { DO_FETCH, begin_follow, NULL, FETCH_LIMIT_MS + 30000 };
