/* rejoin.c - rewind, clone, init: a copy made anew, or made to fit again.
 *
 * From before the first change until all is done and durable the notes say is_rebuilding: such a
 * copy never starts and has no position, so every step here may be the last one. */
#include "postgres/op.h"

#include "base/clock.h"
#include "postgres/datadir.h"
#include "postgres/wal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SILENCE_MS = 600000, /* the source's checkpoint, or a large file without progress */
    PATH_DATA_NEW = 0,   /* places in op->paths */
    PATH_DATA_OLD = 1,
    PATH_KEEP = 2,
};

#define HOUR_MS 3600000

/* --- what all three need ---------------------------------------------------------------------- */

static void set_paths(struct op *op)
{
    const struct service_config *config = &op->s->config;

    (void)snprintf(op->paths[PATH_DATA_NEW], OP_PATH_MAX, "%s.hamgr-new",
                   config->service->data_dir);
    (void)snprintf(op->paths[PATH_DATA_OLD], OP_PATH_MAX, "%s.hamgr-old",
                   config->service->data_dir);
    (void)snprintf(op->paths[PATH_KEEP], OP_PATH_MAX, "%s/%s.kept", config->settings->state_dir,
                   config->service->name);
}

static uint64_t epoch_of(const struct record *r, uint64_t timeline)
{
    for (unsigned int i = 0; i < r->timelines_n; i++)
        if (r->timelines[i].timeline == timeline)
            return r->timelines[i].epoch;
    return 0;
}

static void forget_old(void *ctx, const struct child_end *end)
{
    (void)ctx;
    (void)end;
}

/* Nobody waits for it: a large directory takes a while. */
static void remove_old(struct op *op)
{
    char log[OP_PATH_MAX];
    const char *const argv[] = { "/bin/rm", "-rf", "--", op->paths[PATH_DATA_OLD], NULL };
    struct child_config config = { .base = op->s->config.base, .argv = argv, .on_end = forget_old };
    struct child *child = NULL;

    op_server_log(op, log);
    if (child_detach(&config, log, &child, NULL) == HM_OK) /* else the next clone removes it */
        child_free(child);
}

static enum hm_rc forget_configs(struct op_job *job, struct hm_err *err)
{
    (void)err;
    datadir_forget_configs(job->path[PATH_KEEP]);
    return HM_OK;
}

static void tidied(struct op *op)
{
    if (op->e.type != DO_REWIND)
        remove_old(op);
    op_succeed(op);
}

static void made(struct op *op)
{
    op_run_job(op, op_new_job(op, forget_configs), tidied);
}

/* Another copy from now on, whose log ends on the source's timeline; and the mark is dropped. */
static void note_made(struct op *op)
{
    struct notes changed = op->s->notes;

    changed.copy_id = notes_draw_copy_id();
    changed.timeline = op->source_timeline;
    changed.began_epoch = epoch_of(&op->s->record, op->source_timeline);
    changed.was_primary = false;
    changed.is_rebuilding = false;
    op_note(op, &changed, made);
}

static void note_rebuilding(struct op *op, op_step *then)
{
    struct notes changed = op->s->notes;

    changed.is_rebuilding = true;
    op_note(op, &changed, then);
}

static bool has_processes(const struct op *op)
{
    const struct copy *seen = &op->s->seen;

    return op->s->postmaster != 0 || (seen->state != COPY_DOWN && seen->state != COPY_ABSENT &&
                                      seen->state != COPY_REBUILDING);
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

    child_describe(end, how, sizeof how);
    if (end->is_ok && !is_same_timeline) {
        op_doing(op, "rewind: settings");
        job = op_new_job(op, accept_rewind);
        job->number = op->source_timeline;
        op_first_names(op, job->text, sizeof job->text);
        (void)op_conninfo(op, false, job->conninfo, sizeof job->conninfo); /* checked long ago */
        conninfo_add(job->conninfo, sizeof job->conninfo, "application_name", "hamgr rewind");
        op_run_job(op, job, note_made);
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
    op_run(op, argv, SILENCE_MS, rewound);
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
    op_run(op, argv, SILENCE_MS, recovered);
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

static void rewind_source_is_good(struct op *op)
{
    note_rebuilding(op, rewind_noted);
}

static void rewind_looked(struct op *op)
{
    if (has_processes(op))
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
    set_paths(op);
    op_look(op, rewind_looked);
}

const struct op_kind op_rewind = { DO_REWIND, begin_rewind, op_nothing, 24 * HOUR_MS };

/* --- clone ------------------------------------------------------------------------------------ */

/* In the new directory: settings of this node, then it takes the place of the old one. */
static enum hm_rc finish_clone(struct op_job *job, struct hm_err *err)
{
    char data_dir[SETTINGS_PATH_MAX];
    enum hm_rc rc = datadir_restore_configs(job->path[PATH_KEEP], job->path[PATH_DATA_NEW], err);

    if (rc != HM_OK)
        return rc;
    if (strlen(job->path[PATH_DATA_NEW]) >= sizeof job->data_dir)
        return hm_fail(err, HM_BAD_INPUT, "the path '%s' is too long", job->path[PATH_DATA_NEW]);
    memcpy(data_dir, job->data_dir, sizeof data_dir);
    (void)snprintf(job->data_dir, sizeof job->data_dir, "%.*s", SETTINGS_PATH_MAX - 1,
                   job->path[PATH_DATA_NEW]);
    rc = op_make_standby(job, err);
    if (rc != HM_OK)
        return rc;
    return datadir_swap(data_dir, job->path[PATH_DATA_NEW], job->path[PATH_DATA_OLD], err);
}

static void cloned(struct op *op, const struct child_end *end)
{
    struct op_job *job;
    char how[OP_WHY_MAX - 32];

    if (!end->is_ok) {
        child_describe(end, how, sizeof how);
        op_fail(op, "pg_basebackup failed: %s", how);
        return;
    }
    op_doing(op, "clone: settings");
    job = op_new_job(op, finish_clone);
    op_first_names(op, job->text, sizeof job->text);
    op_run_job(op, job, note_made);
}

static void clone_prepared(struct op *op)
{
    char program[OP_PATH_MAX], source[OP_CONNINFO_MAX];
    const char *const argv[] = { program,
                                 "--pgdata",
                                 op->paths[PATH_DATA_NEW],
                                 "--dbname",
                                 source,
                                 "--wal-method=stream",
                                 "--progress",
                                 "--checkpoint=fast",
                                 "--no-password",
                                 NULL };

    if (!op_find_programs(op, (int)op->number)) {
        op_fail(op, "no program 'pg_basebackup' found: set bin_dir");
        return;
    }
    (void)op_conninfo(op, true, source, sizeof source); /* checked when the source was asked */
    (void)snprintf(program, sizeof program, "%s/pg_basebackup", op->bin_dir);
    op_doing(op, "clone from %s", op_member_name(op, op->e.copy.member));
    op_run(op, argv, SILENCE_MS, cloned);
}

static enum hm_rc check_parent(const char *data_dir, struct hm_err *err)
{
    char parent[SETTINGS_PATH_MAX];
    char *slash;

    (void)snprintf(parent, sizeof parent, "%s", data_dir);
    slash = strrchr(parent, '/');
    if (slash == NULL || slash == parent)
        return hm_fail(err, HM_BAD_INPUT, "'%s' has no directory above it", data_dir);
    *slash = 0;
    if (access(parent, W_OK | X_OK) != 0)
        return hm_fail_errno(err, "a new copy is made in '%s', which hamgrd may not write", parent);
    return HM_OK;
}

static enum hm_rc prepare_clone(struct op_job *job, struct hm_err *err)
{
    int version = 0;
    enum hm_rc rc = check_parent(job->data_dir, err);

    if (rc == HM_OK)
        rc = datadir_keep_configs(job->data_dir, job->path[PATH_KEEP], err);
    if (rc == HM_OK && datadir_has_files(job->data_dir) &&
        datadir_version(job->data_dir, &version, NULL) != HM_OK)
        version = 0; /* half-made: whatever is installed */
    job->number = (uint64_t)version;
    return rc;
}

static void leftovers_removed(struct op *op, const struct child_end *end)
{
    char how[OP_WHY_MAX - 64];

    if (end->is_ok) {
        op_run_job(op, op_new_job(op, prepare_clone),
                   op->e.type == DO_INIT ? op_run_init : clone_prepared);
        return;
    }
    child_describe(end, how, sizeof how);
    op_fail(op, "cannot remove leftovers beside the data directory: %s", how);
}

static void remove_leftovers(struct op *op)
{
    const char *const argv[] = {
        "/bin/rm", "-rf", "--", op->paths[PATH_DATA_NEW], op->paths[PATH_DATA_OLD], NULL
    };

    op_doing(op, "%s: removing leftovers", core_effect_name(op->e.type));
    op_run(op, argv, SILENCE_MS, leftovers_removed);
}

static void clone_source_is_good(struct op *op)
{
    note_rebuilding(op, remove_leftovers);
}

static void clone_looked(struct op *op)
{
    if (has_processes(op))
        op_fail(op, "cannot clone: the copy is %s", copy_state_name(op->s->seen.state));
    else
        op_need_source(op, clone_source_is_good);
}

static void begin_clone(struct op *op)
{
    set_paths(op);
    op_look(op, clone_looked);
}

const struct op_kind op_clone = { DO_CLONE, begin_clone, op_nothing, 7 * 24 * HOUR_MS };

/* --- init ------------------------------------------------------------------------------------- */

static enum hm_rc finish_init(struct op_job *job, struct hm_err *err)
{
    return datadir_swap(job->data_dir, job->path[PATH_DATA_NEW], job->path[PATH_DATA_OLD], err);
}

static void first_run_ended(struct op *op, const struct child_end *end)
{
    char how[OP_WHY_MAX - 64];

    if (end->is_ok) {
        op->source_timeline = 1;
        op_run_job(op, op_new_job(op, finish_init), note_made);
        return;
    }
    child_describe(end, how, sizeof how);
    op_fail(op, "the new database does not run with its configuration: %s", how);
}

/* initdb noted its own max_connections and the like, and no server recovers with less than what is
 * noted: a first run notes what the administrator wants. */
static void initialised(struct op *op, const struct child_end *end)
{
    const struct settings_service *service = op->s->config.service;
    char program[OP_PATH_MAX], config_file[OP_PATH_MAX], data_dir[OP_PATH_MAX + 16];
    const char *argv[] = { program,     "--single", "-D", op->paths[PATH_DATA_NEW],
                           "-c",        data_dir,   "-c", config_file,
                           "template1", NULL };
    char how[OP_WHY_MAX - 32];

    if (!end->is_ok) {
        child_describe(end, how, sizeof how);
        op_fail(op, "initdb failed: %s", how);
        return;
    }
    (void)snprintf(program, sizeof program, "%s/postgres", op->bin_dir);
    (void)snprintf(data_dir, sizeof data_dir, "data_directory=%s", op->paths[PATH_DATA_NEW]);
    (void)snprintf(config_file, sizeof config_file, "config_file=%s", service->config_file);
    if (service->config_file[0] == 0) {
        argv[6] = "template1";
        argv[7] = NULL;
    }
    op_run(op, argv, SILENCE_MS, first_run_ended);
}

/* hamgrd itself comes in over the unix socket, as the user that it runs as. */
void op_run_init(struct op *op)
{
    char program[OP_PATH_MAX], user[HM_NAME_MAX + 16];
    const char *const argv[] = { program,
                                 "--pgdata",
                                 op->paths[PATH_DATA_NEW],
                                 "--data-checksums",
                                 "--auth-local=peer",
                                 "--auth-host=scram-sha-256",
                                 "--encoding=UTF8",
                                 "--locale=C.UTF-8",
                                 user,
                                 NULL };

    if (!op_find_programs(op, 0)) {
        op_fail(op, "no program 'initdb' found: set bin_dir");
        return;
    }
    (void)snprintf(program, sizeof program, "%s/initdb", op->bin_dir);
    (void)snprintf(user, sizeof user, "--username=%s", op->s->config.service->user);
    op_doing(op, "init");
    op_run(op, argv, SILENCE_MS, initialised);
}

static void init_looked(struct op *op)
{
    if (has_processes(op))
        op_fail(op, "cannot init: the copy is %s", copy_state_name(op->s->seen.state));
    else if (op->s->seen.state == COPY_DOWN)
        op_succeed(op); /* there are data already */
    else if (op->s->seen.state == COPY_REBUILDING)
        op_fail(op, "cannot init: a rebuild was cut short, and its data are still there");
    else
        remove_leftovers(op);
}

static void begin_init(struct op *op)
{
    set_paths(op);
    op_look(op, init_looked);
}

const struct op_kind op_init = { DO_INIT, begin_init, op_nothing, HOUR_MS };
