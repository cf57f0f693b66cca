/* salvage.c - before diverged log is overwritten: it is set aside, and told what it held.
 *
 * Comes before the first change of a rewind or a clone. The log's files are copied, pg_waldump says
 * what is in them, and the source's catalog gives names to tables where it can. Nothing here stops
 * a rebuild: what cannot be kept or told is said in the summary and in the log. */
#include "postgres/salvage.h"

#include "base/clock.h"
#include "base/log.h"
#include "postgres/datadir.h"
#include "postgres/lost_files.h"
#include "postgres/parting.h"
#include "postgres/wal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ASK_MS = 5000, DUMP_MS = 120000, SQL_MAX = 8192 };

struct salvage_job {
    struct op_job base;
    struct lost *lost;    /* the service's; nobody else touches it meanwhile */
    const char *lost_dir; /* borrowed from the settings */
    uint64_t max_bytes;
    struct record record;
    struct position at;
    uint64_t began_epoch;
};

static struct salvage_job *new_job(struct op *op,
                                   enum hm_rc (*run)(struct op_job *job, struct hm_err *err))
{
    struct salvage_job *job = (struct salvage_job *)op_new_job_of(op, sizeof *job, run);

    job->lost = op->s->lost;
    job->lost_dir = op->s->config.settings->lost_wal_dir;
    job->max_bytes = op->s->config.settings->lost_wal_max_bytes;
    return job;
}

static void go_on(struct op *op)
{
    free(op->s->lost);
    op->s->lost = NULL;
    op_close_fresh(op);
    op->after_salvage(op);
}

/* The first trouble is the one that is told. */
static void note_trouble(struct op *op, const char *what, const char *why)
{
    struct lost *l = op->s->lost;

    if (l->why[0] == 0)
        (void)snprintf(l->why, sizeof l->why, "%s: %.120s", what, why);
}

/* --- the end -----------------------------------------------------------------------------------
 */

static enum hm_rc write_down(struct op_job *base, struct hm_err *err)
{
    const struct salvage_job *job = (const struct salvage_job *)base;

    (void)err; /* what went wrong is in the summary and the log */
    base->number = lost_write(job->lost_dir, job->lost);
    return HM_OK;
}

/* For `hamgr status`. */
static void tell(struct op *op, const char *format, ...) HM_PRINTF(2, 3);
static void tell(struct op *op, const char *format, ...)
{
    struct service_facts *f = &op->s->facts;
    va_list args;

    f->lost_ms = clock_boot_ms();
    va_start(args, format);
    (void)vsnprintf(f->lost, sizeof f->lost, format, args);
    va_end(args);
    postgres_tell_history(&op->s->config, "%s", f->lost);
}

static void written(struct op *op)
{
    const struct lost *l = op->s->lost;

    log_warn(
        "diverged service=%s timeline=%llu from=%llX upto=%llX committed=%llu kept=%llu id=%s%s%s",
        l->service, (unsigned long long)l->timeline, (unsigned long long)l->from,
        (unsigned long long)l->upto, (unsigned long long)l->committed,
        (unsigned long long)l->kept_bytes, op->number != 0 ? l->id : "-",
        l->why[0] != 0 ? " note=" : "", l->why);
    if (l->committed == 0 && l->why[0] == 0) { /* log of the server's own, nobody's data */
        go_on(op);
        return;
    }
    if (op->number != 0)
        tell(op,
             "%llu committed transactions are on no other member; set aside: "
             "'hamgr diverged show %.60s' here",
             (unsigned long long)l->committed, l->id);
    else
        tell(op, "%llu committed transactions are on no other member, and not set aside: %.80s",
             (unsigned long long)l->committed, l->why);
    go_on(op);
}

static void write_summary(struct op *op)
{
    op_close_fresh(op);
    op_run_job(op, &new_job(op, write_down)->base, written);
}

/* --- names -------------------------------------------------------------------------------------
 */

static void name_tables(struct op *op);

/* op->count: the database whose tables come next. */
static void next_database(struct op *op)
{
    op->count++;
    name_tables(op);
}

static void tables_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    struct lost *l = op->s->lost;
    uint32_t database = l->database[op->count].oid;

    (void)why; /* they keep their numbers */
    for (int row = 0; outcome == CONN_ANSWERED && row < PQntuples(result); row++) {
        uint32_t file = (uint32_t)strtoul(PQgetvalue(result, row, 0), NULL, 10);

        for (unsigned int i = 0; i < l->tables_n; i++)
            if (l->table[i].file == file &&
                (l->table[i].database == database || l->table[i].database == 0))
                (void)snprintf(l->table[i].name, sizeof l->table[i].name, "%s",
                               PQgetvalue(result, row, 1));
    }
    next_database(op);
}

static void ask_tables(struct op *op)
{
    const struct lost *l = op->s->lost;
    char sql[SQL_MAX];
    size_t n;

    n = (size_t)snprintf(sql, sizeof sql,
                         "SELECT pg_relation_filenode(c.oid), quote_ident(nspname) || '.' ||"
                         " quote_ident(relname) FROM pg_class c JOIN pg_namespace s"
                         " ON s.oid = relnamespace WHERE pg_relation_filenode(c.oid) IN (0");
    for (unsigned int i = 0; i < l->tables_n && n + 32 < sizeof sql; i++)
        if (l->table[i].database == l->database[op->count].oid || l->table[i].database == 0)
            n += (size_t)snprintf(sql + n, sizeof sql - n, ",%lu", (unsigned long)l->table[i].file);
    (void)snprintf(sql + n, sizeof sql - n, ")");
    op_ask_fresh(op, sql, ASK_MS, tables_told);
}

static void name_tables(struct op *op)
{
    const struct lost *l = op->s->lost;
    char more[160];

    if (op->count >= l->databases_n) {
        write_summary(op);
        return;
    }
    (void)snprintf(more, sizeof more, "application_name='hamgr names'");
    conninfo_add(more, sizeof more, "dbname", l->database[op->count].name);
    op_connect_source(op, more, ask_tables, next_database);
}

static bool is_database_in(const struct lost *l, uint32_t oid)
{
    for (unsigned int i = 0; i < l->tables_n; i++)
        if (l->table[i].database == oid)
            return true;
    return false;
}

static void databases_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                           const char *why)
{
    struct lost *l = op->s->lost;

    if (outcome != CONN_ANSWERED)
        note_trouble(op, "tables have no names: the source did not tell its databases", why);
    for (int row = 0; outcome == CONN_ANSWERED && row < PQntuples(result); row++) {
        uint32_t oid = (uint32_t)strtoul(PQgetvalue(result, row, 0), NULL, 10);

        if (!is_database_in(l, oid) || l->databases_n == LOST_DATABASES_MAX)
            continue;
        l->database[l->databases_n].oid = oid;
        (void)snprintf(l->database[l->databases_n++].name, sizeof l->database[0].name, "%s",
                       PQgetvalue(result, row, 1));
    }
    op->count = 0;
    name_tables(op);
}

static void ask_databases(struct op *op)
{
    op_ask_fresh(op, "SELECT oid, datname FROM pg_database WHERE datallowconn", ASK_MS,
                 databases_told);
}

static void no_source(struct op *op)
{
    note_trouble(op, "tables have no names: no connection to the source", op->why);
    write_summary(op);
}

static void resolve_names(struct op *op)
{
    char more[160] = "application_name='hamgr names'";

    conninfo_add(more, sizeof more, "dbname", op->s->config.service->dbname);
    op_connect_source(op, more, ask_databases, no_source);
}

/* --- decoding ----------------------------------------------------------------------------------
 */

static void dump_said(void *ctx, const char *line)
{
    struct op *op = ctx;

    lost_take_line(op->s->lost, line);
}

static void dump_ended(void *ctx, const struct child_end *end)
{
    struct op *op = ctx;
    char how[128];

    op->child = NULL;
    if (!end->is_ok) {
        child_describe(end, how, sizeof how);
        note_trouble(op, "the summary is not complete: pg_waldump", how);
    }
    resolve_names(op);
}

/* The first file is named: without, pg_waldump asks any file in the folder for the size of a
 * segment, and one that was made ahead of time holds zeros. */
static void run_dump(struct op *op)
{
    const struct lost *l = op->s->lost;
    char program[OP_PATH_MAX], dir[OP_PATH_MAX], timeline[24], from[32], upto[32];
    char first[WAL_NAME_MAX];
    const char *const argv[] = { program, "-p", dir,  "-t", timeline,
                                 "-s",    from, "-e", upto, l->segment_bytes != 0 ? first : NULL,
                                 NULL };
    static const char *const env[] = { "LC_ALL=C.UTF-8", "LC_MESSAGES=C", "TZ=UTC", NULL };
    const struct child_config config = { .base = op->s->config.base,
                                         .argv = argv,
                                         .env = env,
                                         .limit_ms = DUMP_MS,
                                         .on_line = dump_said,
                                         .on_end = dump_ended,
                                         .ctx = op };
    struct hm_err err;

    (void)snprintf(program, sizeof program, "%s/pg_waldump", op->bin_dir);
    (void)snprintf(dir, sizeof dir, "%s/pg_wal", op->s->config.service->data_dir);
    (void)snprintf(timeline, sizeof timeline, "%llu", (unsigned long long)l->timeline);
    print_lsn(from, sizeof from, l->from);
    print_lsn(upto, sizeof upto, l->upto);
    if (l->segment_bytes != 0)
        wal_segment_name(first, l->timeline, l->from, l->segment_bytes);
    op_doing(op, "%s: reading what the diverged log held", core_effect_name(op->e.type));
    if (child_start(&config, &op->child, &err) == HM_OK)
        return;
    note_trouble(op, "the log was not read", err.text);
    write_summary(op);
}

/* number: whether there is a folder; text: the major version. */
static void kept(struct op *op)
{
    const struct lost *l = op->s->lost;

    if (op->number == 0) {
        if (l->why[0] != 0) {
            log_error("diverged log not kept service=%s: %s", l->service, l->why);
            tell(op, "log that is on no other member was not set aside: %.100s", l->why);
        }
        go_on(op);
    } else if (!op_find_programs(op, (int)strtol(op->text, NULL, 10))) {
        note_trouble(op, "the log was not read", "no program 'pg_waldump' found: set bin_dir");
        write_summary(op);
    } else {
        run_dump(op);
    }
}

/* --- what diverged -----------------------------------------------------------------------------
 */

static enum hm_rc keep(struct op_job *base, struct hm_err *err)
{
    const struct salvage_job *job = (const struct salvage_job *)base;
    int version = 0;

    if (datadir_version(base->data_dir, &version, err) == HM_OK)
        (void)snprintf(base->text, sizeof base->text, "%d", version);
    base->number = lost_keep(job->lost_dir, base->data_dir, job->max_bytes, job->lost);
    return HM_OK;
}

static struct lost *new_lost(const struct op *op, uint64_t from)
{
    const struct copy *seen = &op->s->seen;
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct lost *l = calloc(1, sizeof *l);
    char stamp[20] = "";
    struct tm tm;

    HM_BUG_ON(l == NULL);
    if (gmtime_r(&now, &tm) != NULL) {
        (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
        (void)strftime(l->made, sizeof l->made, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    (void)snprintf(l->service, sizeof l->service, "%s", op->s->config.service->name);
    (void)snprintf(l->member, sizeof l->member, "%s", op->s->config.settings->node);
    l->system_id = seen->system_id;
    l->timeline = seen->at.timeline;
    l->from = from;
    l->upto = seen->at.offset;
    (void)snprintf(l->id, sizeof l->id, "%.31s-%s-%llu-%llX", l->service, stamp,
                   (unsigned long long)l->timeline, (unsigned long long)l->upto);
    return l;
}

/* number: where the copy left the record's history; 0: not known. flag: what is kept begins before
 * that. */
static void fork_known(struct op *op)
{
    const struct copy *seen = &op->s->seen;
    bool holds_more = op->flag;

    op->flag = false;
    if (op->number == 0) {
        log_warn("diverged log not kept service=%s timeline=%llu: neither the record nor the copy "
                 "tells where it left the primary's history",
                 op->s->config.service->name, (unsigned long long)seen->at.timeline);
        tell(op, "whether it had log that is on no other member is not known: it left the history "
                 "of the record long ago");
    }
    if (op->number == 0 || op->number >= seen->at.offset) {
        go_on(op);
        return;
    }
    free(op->s->lost); /* of an operation that was given up; its jobs ended before this one */
    op->s->lost = new_lost(op, op->number);
    if (holds_more)
        note_trouble(op, "it holds more: where the logs part is not known", op->why);
    op_doing(op, "%s: setting the diverged log aside", core_effect_name(op->e.type));
    op_run_job(op, &new_job(op, keep)->base, kept);
}

/* All that is here is kept where the source does not tell. */
static void parting_known(struct op *op)
{
    op->flag = op->number == 0;
    if (op->flag)
        op->number = op->position;
    fork_known(op);
}

/* Made a primary by hand on a timeline of another member: its number tells of no fork. */
static void fork_read(struct op *op)
{
    const struct service *s = op->s;
    uint8_t writer = record_writer(&s->record, s->seen.at.timeline);

    if (s->seen.has_written && writer != HM_NOBODY && writer != s->self)
        parting_find(op, parting_known);
    else
        fork_known(op);
}

static enum hm_rc find_fork(struct op_job *base, struct hm_err *err)
{
    const struct salvage_job *job = (const struct salvage_job *)base;
    struct wal_history h;

    (void)err;
    (void)wal_read_history(base->data_dir, job->at.timeline, &h); /* or it stands alone */
    base->number = lost_fork(&job->record, &job->at, job->began_epoch, &h);
    return HM_OK;
}

void salvage_first(struct op *op, op_step *then)
{
    const struct service *s = op->s;
    struct salvage_job *job;

    op->after_salvage = then;
    if (s->notes.is_rebuilding || s->seen.state != COPY_DOWN || !s->seen.is_final ||
        s->seen.at.offset == 0 || s->record.epoch == 0 ||
        s->record.system_id != s->seen.system_id) {
        then(op);
        return;
    }
    job = new_job(op, find_fork);
    job->record = s->record;
    job->at = s->seen.at;
    job->began_epoch = s->seen.began_epoch;
    op_run_job(op, &job->base, fork_read);
}
