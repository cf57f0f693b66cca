/* rejoin.c - rewind: a copy made to fit again; and what it shares with clone.c and init.c.
 *
 * From before the first change until all is done and durable the notes say is_rebuilding: such a
 * copy never starts and has no position, so every step here may be the last one. */
#include "postgres/op.h"

#include "base/clock.h"
#include "postgres/datadir.h"
#include "postgres/salvage.h"
#include "postgres/wal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOUR_MS 3600000

/* --- what all three need ---------------------------------------------------------------------- */

void rejoin_set_paths(struct op *op)
{
    const struct service_config *config = &op->s->config;

    (void)snprintf(op->paths[PATH_KEEP], OP_PATH_MAX, "%s/%s.kept", config->settings->state_dir,
                   config->service->name);
}

const char *rejoin_print_mark(const struct op *op, char *buffer)
{
    (void)snprintf(buffer, REJOIN_MARK_MAX, "HAMGR_REBUILDS=%s", op->s->config.service->data_dir);
    return buffer;
}

/* A program that works on the files of this copy. */
static void run_marked(struct op *op, const char *const *argv,
                       void (*then)(struct op *op, const struct child_end *end))
{
    char mark[REJOIN_MARK_MAX];
    const char *const env[] = { rejoin_print_mark(op, mark), NULL };

    op_run(op, argv, env, REJOIN_SILENCE_MS, then);
}

static uint64_t epoch_of(const struct record *r, uint64_t timeline)
{
    for (unsigned int i = 0; i < r->timelines_n; i++)
        if (r->timelines[i].timeline == timeline)
            return r->timelines[i].epoch;
    return 0;
}

/* --- what is left over ---------------------------------------------------------------------- */

enum { LEFTOVERS_MAX = 2 * (PLACE_TABLESPACES_MAX + 2) + 2 };

struct leftovers {
    const char *argv[LEFTOVERS_MAX + 4];
    size_t n;
    char path[LEFTOVERS_MAX][PLACE_PATH_MAX];
    size_t paths_n;
};

static void add_leftover(void *ctx, const char *path)
{
    struct leftovers *l = ctx;

    HM_BUG_ON(l->paths_n == LEFTOVERS_MAX);
    (void)snprintf(l->path[l->paths_n], PLACE_PATH_MAX, "%s", path);
    l->argv[l->n++] = l->path[l->paths_n++];
}

static void find_leftovers(const struct op *op, struct leftovers *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->argv[ret->n++] = "/bin/rm";
    ret->argv[ret->n++] = "-rf";
    ret->argv[ret->n++] = "--";
    layout_each_leftover(&op->layout, true, add_leftover, ret);
    layout_each_leftover(&op->layout, false, add_leftover, ret);
}

static void removed(struct op *op, const struct child_end *end)
{
    char how[OP_WHY_MAX - 64];

    if (end->is_ok) {
        op->after_change(op);
        return;
    }
    child_describe(end, how, sizeof how);
    op_fail(op, "cannot remove leftovers beside the data directory: %s", how);
}

void rejoin_remove(struct op *op, op_step *then)
{
    struct leftovers l;

    find_leftovers(op, &l);
    op->after_change = then;
    run_marked(op, l.argv, removed);
}

static void forgotten(void *ctx, const struct child_end *end)
{
    (void)ctx;
    (void)end; /* what is left is removed by the next clone */
}

static void old_is_known(struct op *op)
{
    char log[OP_PATH_MAX], mark[REJOIN_MARK_MAX];
    const char *const env[] = { rejoin_print_mark(op, mark), NULL };
    struct leftovers l;
    struct child_config config = {
        .base = op->s->config.base, .argv = l.argv, .env = env, .on_end = forgotten
    };
    struct child *child = NULL;

    op->s->may_have_old = false;
    if (op->number == 0) {
        op->after_work(op);
        return;
    }
    find_leftovers(op, &l);
    (void)op_server_log(op, log);
    if (child_detach(&config, log, &child, NULL) == HM_OK) /* else the next clone removes it */
        child_free(child);
    op->after_work(op);
}

static enum hm_rc find_old(struct op_job *job, struct hm_err *err)
{
    (void)err; /* what cannot be found out now is removed by the next clone */
    job->number = layout_find(job->data_dir, NULL, &job->layout, NULL) == HM_OK;
    return HM_OK;
}

/* Nobody waits for the end of it: a large directory takes a while. */
void rejoin_forget_old(struct op *op, op_step *then)
{
    op->after_work = then;
    if (op->s->may_have_old)
        op_run_job(op, op_new_job(op, find_old), old_is_known);
    else
        then(op);
}

static enum hm_rc forget_configs(struct op_job *job, struct hm_err *err)
{
    (void)err;
    layout_forget(job->path[PATH_KEEP]);
    datadir_forget_configs(job->path[PATH_KEEP]);
    return HM_OK;
}

static void made(struct op *op)
{
    op_run_job(op, op_new_job(op, forget_configs), op_succeed);
}

/* Another copy from now on, whose log ends on the source's timeline; and the mark is dropped. */
void rejoin_note_made(struct op *op)
{
    struct notes changed = op->s->notes;

    changed.copy_id = notes_draw_copy_id();
    changed.timeline = op->source_timeline;
    changed.began_epoch = epoch_of(&op->s->record, op->source_timeline);
    changed.was_primary = false;
    changed.is_rebuilding = false;
    changed.whole[0] = 0;
    changed.whole_timeline = 0;
    op_note(op, &changed, made);
}

void rejoin_note_rebuilding(struct op *op, op_step *then)
{
    struct notes changed = op->s->notes;

    changed.is_rebuilding = true;
    changed.whole[0] = 0;
    changed.whole_timeline = 0;
    op_note(op, &changed, then);
}

bool rejoin_has_processes(const struct op *op)
{
    const struct copy *seen = &op->s->seen;

    return op->s->postmaster != 0 || (seen->state != COPY_DOWN && seen->state != COPY_ABSENT &&
                                      seen->state != COPY_REBUILDING);
}

void rejoin_describe(const struct child_end *end, char *buffer, size_t size)
{
    static const char *const words[] = { "error: ", "FATAL: ", "ERROR: " };
    struct child_end shown = *end;
    char line[CHILD_LINE_MAX];

    for (size_t i = 0; i < HM_ARRAY_LEN(words); i++) {
        const char *at = strstr(end->output, words[i]);

        if (at == NULL)
            continue;
        (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\r\n"), at);
        shown.last = line;
        break;
    }
    child_describe(&shown, buffer, size);
}

/* --- rewind ----------------------------------------------------------------------------------- */

static enum hm_rc finish_rewind(struct op_job *job, struct hm_err *err)
{
    enum hm_rc rc = datadir_restore_configs(job->path[PATH_KEEP], job->data_dir, err);

    return rc == HM_OK ? op_make_standby(job, err) : rc;
}

/* Before 16 pg_rewind believes the source's control file, which names the former timeline until the
 * first checkpoint after a promotion: such a copy would never start. */
static enum hm_rc accept_rewind(struct op_job *job, struct hm_err *err)
{
    struct wal_control control;
    enum hm_rc rc = wal_read_control(job->data_dir, &control, err);

    if (rc == HM_OK && control.needed_timeline != job->number)
        return hm_fail(err, HM_FAILED,
                       "pg_rewind made a copy that needs timeline %llu where %llu is: it must be "
                       "cloned",
                       (unsigned long long)control.needed_timeline,
                       (unsigned long long)job->number);
    return rc == HM_OK ? finish_rewind(job, err) : rc;
}

static void rewind_given_back(struct op *op)
{
    op_fail(op, "%.*s", OP_WHY_MAX - 1, op->reason);
}

static void rewind_unmarked(struct op *op)
{
    struct notes changed = op->s->notes;

    changed.is_rebuilding = false;
    op_note(op, &changed, rewind_given_back);
}

/* It failed before it wrote anything: the copy is what it was. */
static void give_back(struct op *op)
{
    struct op_job *job = op_new_job(op, finish_rewind);

    op_first_names(op, job->text, sizeof job->text);
    op_run_job(op, job, rewind_unmarked);
}

/* "same timeline": pg_rewind sees no divergence where two primaries used one number. */
static void rewound(struct op *op, const struct child_end *end)
{
    bool is_same_timeline = strstr(end->output, "are on the same timeline") != NULL;
    bool is_touched = strstr(end->output, "need to copy") != NULL ||
                      strstr(end->output, "copied") != NULL || end->is_late ||
                      WIFSIGNALED(end->status);
    struct op_job *job;
    char how[128];

    rejoin_describe(end, how, sizeof how);
    if (end->is_ok && !is_same_timeline) {
        op_doing(op, "rewind: settings");
        job = op_new_job(op, accept_rewind);
        job->number = op->source_timeline;
        op_first_names(op, job->text, sizeof job->text);
        (void)op_conninfo(op, false, job->conninfo, sizeof job->conninfo); /* checked long ago */
        conninfo_add(job->conninfo, sizeof job->conninfo, "application_name", "hamgr rewind");
        op_run_job(op, job, rejoin_note_made);
        return;
    }
    if (is_same_timeline)
        (void)snprintf(op->reason, sizeof op->reason,
                       "pg_rewind sees no divergence on timeline %llu: the copy must be cloned",
                       (unsigned long long)op->source_timeline);
    else
        (void)snprintf(op->reason, sizeof op->reason, "pg_rewind failed: %s", how);
    if (is_touched)
        op_fail(op, "%s; the copy is half-made and must be cloned", op->reason);
    else
        give_back(op);
}

static void run_rewind(struct op *op)
{
    const struct settings_service *service = op->s->config.service;
    char program[OP_PATH_MAX], source[OP_CONNINFO_MAX + 64], config_file[OP_PATH_MAX];
    const char *argv[8] = { program,           "--progress",      "--target-pgdata",
                            service->data_dir, "--source-server", source };

    (void)op_conninfo(op, true, source, sizeof source); /* checked when the source was asked */
    conninfo_add(source, sizeof source, "dbname", service->dbname);
    (void)snprintf(program, sizeof program, "%s/pg_rewind", op->bin_dir);
    if (service->config_file[0] != 0 && op->version >= 15) {
        (void)snprintf(config_file, sizeof config_file, "--config-file=%s", service->config_file);
        argv[6] = config_file;
    }
    op_doing(op, "rewind from %s", op_member_name(op, op->e.copy.member));
    run_marked(op, argv, rewound);
}

static void recovered(struct op *op, const struct child_end *end)
{
    char how[128];

    if (end->is_ok) {
        run_rewind(op);
        return;
    }
    child_describe(end, how, sizeof how);
    (void)snprintf(op->reason, sizeof op->reason, "crash recovery before pg_rewind failed: %s",
                   how);
    give_back(op);
}

/* pg_rewind before 15 cannot be told where Debian keeps the configuration, so its own recovery
 * would not find it. */
static void run_recovery(struct op *op)
{
    const struct settings_service *service = op->s->config.service;
    char program[OP_PATH_MAX], config_file[OP_PATH_MAX];
    const char *const argv[] = { program, "--single",  "-F",        "-D", service->data_dir,
                                 "-c",    config_file, "template1", NULL };

    (void)snprintf(program, sizeof program, "%s/postgres", op->bin_dir);
    (void)snprintf(config_file, sizeof config_file, "config_file=%s", service->config_file);
    op_doing(op, "rewind: crash recovery first");
    run_marked(op, argv, recovered);
}

static void rewind_prepared(struct op *op)
{
    op->version = (int)op->number;
    if (!op_find_programs(op, op->version)) {
        (void)snprintf(op->reason, sizeof op->reason,
                       "no program 'pg_rewind' of version %d found: set bin_dir", op->version);
        give_back(op);
    } else if (op->s->config.service->config_file[0] != 0 && op->version < 15) {
        run_recovery(op);
    } else {
        run_rewind(op);
    }
}

/* The single-user server inside pg_rewind refuses to run as a standby, and on a copy that was
 * rewound before it would write a checkpoint of its own on the timeline of the source. */
static enum hm_rc prepare_rewind(struct op_job *job, struct hm_err *err)
{
    int version = 0;
    enum hm_rc rc = datadir_version(job->data_dir, &version, err);

    if (datadir_is_rewound(job->data_dir))
        return hm_fail(err, HM_REFUSED, "it was rewound before and never came up since");
    if (rc == HM_OK)
        rc = datadir_keep_configs(job->data_dir, job->path[PATH_KEEP], err);
    if (rc == HM_OK)
        rc = datadir_unmark_standby(job->data_dir, err);
    if (rc == HM_OK)
        rc = datadir_drop_pid_file(job->data_dir, err);
    job->number = (uint64_t)version;
    return rc;
}

static void rewind_noted(struct op *op)
{
    op_run_job(op, op_new_job(op, prepare_rewind), rewind_prepared);
}

static void rewind_salvaged(struct op *op)
{
    rejoin_note_rebuilding(op, rewind_noted);
}

static void rewind_source_is_good(struct op *op)
{
    salvage_first(op, rewind_salvaged);
}

static void rewind_looked(struct op *op)
{
    if (rejoin_has_processes(op))
        op_fail(op, "cannot rewind: the copy is %s", copy_state_name(op->s->seen.state));
    else if (op->s->notes.is_rebuilding)
        op_fail(op, "cannot rewind: an earlier rebuild was cut short, so the copy must be cloned");
    else if (op->s->seen.state == COPY_ABSENT)
        op_fail(op, "cannot rewind: there are no data in '%s'", op->s->config.service->data_dir);
    else
        op_need_source(op, rewind_source_is_good);
}

static void begin_rewind(struct op *op)
{
    rejoin_set_paths(op);
    op_look(op, rewind_looked);
}

const struct op_kind op_rewind = { DO_REWIND, begin_rewind, op_nothing, 24 * HOUR_MS };
