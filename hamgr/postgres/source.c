/* source.c - looks whether a member can be copied from, before anything of ours is touched.
 *
 * It must be the primary of this very database. For pg_rewind it must have made a checkpoint since
 * its promotion, too: before version 16 pg_rewind takes the timeline from the source's control
 * file, and the copy would need a point on the former timeline that is not there. */
#include "postgres/op.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_MS = 5000,
    AGAIN_MS = 200,
    TRY_MS = 5000, /* a failed rewind means a clone: a short break must not cost that */
    CHECKPOINT_MS = 600000,
    CHECKPOINT_AGAIN_MS = 1000,
};

/* --- whether it can be copied from
 * ------------------------------------------------------------------------------- */

static void ask_source(struct op *op);

static void source_failed(struct op *op)
{
    char why[OP_WHY_MAX];
    const char *name = op_member_name(op, op->e.copy.member);

    if (clock_boot_ms() - op->begun_ms < TRY_MS) {
        op_after(op, AGAIN_MS, ask_source);
        return;
    }
    memcpy(why, op->why, sizeof why);
    op_fail(op, "cannot copy from %s: %s%s", name, why,
            strstr(why, "pg_hba.conf") != NULL ? ": add a 'host replication' line there" : "");
}

static void source_bad(struct op *op, const char *why)
{
    (void)snprintf(op->why, sizeof op->why, "%s", why);
    source_failed(op);
}

static void source_is_good(struct op *op)
{
    op_close_fresh(op);
    op->after_change(op);
}

/* --- a checkpoint since its promotion --------------------------------------------------------- */

static void ask_checkpoint(struct op *op);

/* Refused: not allowed to us. PostgreSQL makes one itself, in some minutes. */
static void source_checkpointed(struct op *op, enum conn_outcome outcome, const PGresult *result,
                                const char *why)
{
    (void)result;
    if (outcome == CONN_LOST || outcome == CONN_LATE)
        source_bad(op, why);
    else
        op_after(op, outcome == CONN_ANSWERED ? 0 : CHECKPOINT_AGAIN_MS, ask_checkpoint);
}

static void source_checkpoint_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                                   const char *why)
{
    if (outcome != CONN_ANSWERED) {
        source_bad(op, why);
    } else if (strtoull(PQgetvalue(result, 0, 0), NULL, 10) >= op->source_timeline) {
        source_is_good(op);
    } else {
        op_doing(op, "%s: waiting for a checkpoint on %s", core_effect_name(op->e.type),
                 op_member_name(op, op->e.copy.member));
        op_ask_fresh(op, "CHECKPOINT", CHECKPOINT_MS, source_checkpointed);
    }
}

static void ask_checkpoint(struct op *op)
{
    op_ask_fresh(op, "SELECT timeline_id FROM pg_control_checkpoint()", ASK_MS,
                 source_checkpoint_told);
}

/* As pg_rewind itself will connect. */
static void connect_source(struct op *op)
{
    char conninfo[OP_CONNINFO_MAX + 64];

    (void)op_conninfo(op, true, conninfo, OP_CONNINFO_MAX); /* checked when it was asked first */
    conninfo_add(conninfo, sizeof conninfo, "dbname", op->s->config.service->dbname);
    op_connect(op, conninfo, "application_name='hamgr source'", ask_checkpoint, source_failed);
}

/* --- its role, its database --------------------------------------------------------------------
 */

static void source_role_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                             const char *why)
{
    if (outcome == CONN_ANSWERED && strcmp(PQgetvalue(result, 0, 0), "on") == 0) {
        source_bad(op, "it is a standby");
    } else if (outcome == CONN_LOST || outcome == CONN_LATE) {
        source_bad(op, why);
    } else if (op->e.type == DO_REWIND) {
        connect_source(op);
    } else { /* before 14 it cannot be asked here */
        source_is_good(op);
    }
}

/* Columns: systemid, timeline, xlogpos, dbname. */
static void source_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    uint64_t wanted = op->s->record.system_id;

    if (outcome != CONN_ANSWERED) {
        source_bad(op, why);
        return;
    }
    op->source_timeline = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    if (wanted != 0 && strtoull(PQgetvalue(result, 0, 0), NULL, 10) != wanted) {
        op_fail(op, "cannot copy from %s: it has another database (system identifier %s)",
                op_member_name(op, op->e.copy.member), PQgetvalue(result, 0, 0));
        return;
    }
    op_ask_fresh(op, "SHOW in_hot_standby", ASK_MS, source_role_told);
}

static void source_up(struct op *op)
{
    op_ask_fresh(op, "IDENTIFY_SYSTEM", ASK_MS, source_told);
}

static void source_address_known(struct op *op)
{
    op_connect_source(op, "replication=true application_name='hamgr source'", source_up,
                      source_failed);
}

static void ask_source(struct op *op)
{
    op_resolve(op, source_address_known);
}

void op_need_source(struct op *op, op_step *then)
{
    op->after_change = then;
    ask_source(op);
}
