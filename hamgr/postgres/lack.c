/* lack.c - whether the log that a standby needs next is gone from where it should stream it.
 *
 * PostgreSQL writes that to the server's log and tries for ever. So the same question is asked that
 * the standby asks: to send the log from its end on. A worker asks, because libpq's answer to it is
 * a stream; and gives up after seconds. */
#include "postgres/op.h"

#include "base/clock.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 5000, NOT_KNOWN = 0, IS_THERE, IS_GONE, IS_END };

/* The first piece of the stream, or how it failed. */
static int take_stream(PGconn *conn)
{
    hm_ms until_ms = clock_boot_ms() + PATIENCE_MS;
    struct pollfd fd = { .fd = PQsocket(conn), .events = POLLIN };
    PGresult *result;
    char *bytes = NULL;
    const char *state;
    int n, found = NOT_KNOWN;

    while ((n = PQgetCopyData(conn, &bytes, 1)) == 0) {
        hm_ms left_ms = until_ms - clock_boot_ms();

        if (left_ms <= 0 || poll(&fd, 1, (int)left_ms) <= 0 || PQconsumeInput(conn) != 1)
            return NOT_KNOWN;
    }
    if (n > 0) {
        PQfreemem(bytes);
        return IS_THERE;
    }
    result = PQgetResult(conn);
    state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state != NULL && strcmp(state, "58P01") == 0) /* no such file */
        found = IS_GONE;
    PQclear(result);
    return found;
}

static int ask(const char *conninfo, uint64_t at, uint64_t timeline)
{
    PGconn *conn = PQconnectdb(conninfo);
    char sql[96], lsn[24];
    int found = NOT_KNOWN;
    PGresult *result;

    if (PQstatus(conn) == CONNECTION_OK) {
        print_lsn(lsn, sizeof lsn, at);
        (void)snprintf(sql, sizeof sql, "START_REPLICATION PHYSICAL %s TIMELINE %llu", lsn,
                       (unsigned long long)timeline);
        result = PQexec(conn, sql);
        if (PQresultStatus(result) == PGRES_COPY_BOTH)
            found = take_stream(conn);
        else if (PQresultStatus(result) == PGRES_TUPLES_OK)
            found = IS_END; /* that timeline ends just there */
        PQclear(result);
    }
    PQfinish(conn);
    return found;
}

/* room[0]: from where on; room[1]: the timeline of it; number: that of the source, and the answer.
 */
static enum hm_rc look_for_log(struct op_job *job, struct hm_err *err)
{
    int found = ask(job->conninfo, job->room[0], job->room[1]);

    (void)err;
    if (found == IS_END && job->number != job->room[1])
        found = ask(job->conninfo, job->room[0], job->number);
    job->number = (uint64_t)found;
    return HM_OK;
}

static void looked(struct op *op)
{
    const struct copy *seen = &op->s->seen;
    char lsn[24];

    if (op->number != IS_GONE) {
        op->after_only(op);
        return;
    }
    op->s->lacks_log_of = op->s->notes.copy_id;
    print_lsn(lsn, sizeof lsn, seen->at.offset);
    op_fail(op, "%s does not have the log from %s on any more: the copy must be cloned",
            op_member_name(op, op->e.copy.member), lsn);
}

void op_look_for_log(struct op *op, op_step *then)
{
    const struct copy *seen = &op->s->seen;
    struct op_job *job;
    struct hm_err err;

    op->after_only = then;
    if (seen->state != COPY_STANDBY || !seen->is_final || seen->at.offset == 0) {
        then(op);
        return;
    }
    if (op->s->resolver == NULL &&
        worker_new(op->s->config.base, "pg-names", &op->s->resolver, &err) != HM_OK) {
        op_fail(op, "%s", err.text);
        return;
    }
    job = op_new_job(op, look_for_log);
    (void)op_conninfo(op, true, job->conninfo, sizeof job->conninfo); /* checked for the slot */
    conninfo_add(job->conninfo, sizeof job->conninfo, "replication", "true");
    conninfo_add(job->conninfo, sizeof job->conninfo, "application_name", "hamgr look");
    job->room[0] = seen->at.offset;
    job->room[1] = seen->at.timeline;
    job->number = op->source_timeline;
    op_run_job_in(op, op->s->resolver, job, looked);
}
