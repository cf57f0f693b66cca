/* clone.c - a copy made anew: by pg_basebackup from the primary, or by the administrator's command.
 *
 * It is made beside the old one and takes its place at the end. What is decided is durable before
 * it is done: "rebuilding" before anything is touched, "whole" when the new copy is complete and on
 * the disk. Killed before that, it is begun anew; killed after that, the new copy is put into its
 * place by the next attempt, whatever was reached. The old copy is removed when the new one
 * streams, or before it is made where the disk has no room for both and the settings allow that. */
#include "postgres/op.h"

#include "adapter/leftover.h"
#include "base/clock.h"
#include "base/log.h"
#include "postgres/autoconf.h"
#include "postgres/datadir.h"
#include "postgres/salvage.h"
#include "postgres/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR_MS 3600000
#define SLACK (64u << 20) /* of room: the log that is written meanwhile */

enum { LEFTOVER_MS = 5000 };

/* Where the copy is that was noted as whole. */
enum { WHOLE_NOT, WHOLE_BESIDE, WHOLE_IN_PLACE };

static bool has_command(const struct op *op)
{
    return op->s->config.service->rebuild_command[0] != 0;
}

static void begin_attempt(struct op *op);

/* --- it is whole: into its place ---------------------------------------------------------------
 */

/* A restore writes down where the log before its end comes from; our own file would hide that. */
static enum hm_rc carry_restore_command(struct op_job *job, const char *text, struct hm_err *err)
{
    char value[OP_CONNINFO_MAX], own[OP_CONNINFO_MAX];
    struct autoconf_setting set = { "restore_command", value };
    char *kept = NULL;
    bool has_own;
    int dir;

    if (text == NULL || !autoconf_get(text, "restore_command", value, sizeof value))
        return HM_OK;
    dir = open(job->path[PATH_NEW], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return hm_fail_errno(err, "cannot open '%s'", job->path[PATH_NEW]);
    has_own = datadir_read(dir, AUTOCONF_FILE, 1 << 20, &kept, NULL) == HM_OK && kept != NULL &&
              autoconf_get(kept, "restore_command", own, sizeof own) && own[0] != 0;
    free(kept);
    (void)close(dir); /* opened for reading */
    return has_own ? HM_OK : autoconf_write(job->path[PATH_NEW], &set, 1, err);
}

static enum hm_rc restore_configs(struct op_job *job, struct hm_err *err)
{
    const char *fresh = job->path[PATH_NEW];
    char *text = NULL;
    enum hm_rc rc;
    int dir = open(fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return hm_fail_errno(err, "cannot open '%s'", fresh);
    rc = datadir_read(dir, AUTOCONF_FILE, 1 << 20, &text, err);
    (void)close(dir); /* opened for reading */
    if (rc == HM_OK)
        rc = datadir_restore_configs(job->path[PATH_KEEP], fresh, err);
    if (rc == HM_OK && datadir_is_restored(fresh))
        rc = carry_restore_command(job, text, err);
    else
        job->conninfo[0] = 0;
    free(text);
    return rc;
}

/* A standby with the settings of this node, before it has its place. */
static enum hm_rc make_ready(struct op_job *job, struct hm_err *err)
{
    enum hm_rc rc = restore_configs(job, err);

    return rc == HM_OK ? op_make_standby_in(job->path[PATH_NEW], job, err) : rc;
}

/* Gone on with where an earlier attempt had come to. */
static enum hm_rc finish(struct op_job *job, struct hm_err *err)
{
    enum hm_rc rc = HM_OK;

    if (!place_has_begun(&job->layout.data))
        rc = make_ready(job, err);
    if (rc == HM_OK)
        rc = datadir_check_unused(job->data_dir, err);
    return rc == HM_OK ? layout_swap(&job->layout, err) : rc;
}

static void finished(struct op *op)
{
    op->s->may_have_old = true;
    rejoin_note_made(op);
}

static void put_in_place(struct op *op)
{
    struct op_job *job = op_new_job(op, finish);

    op_doing(op, "clone: putting the new copy into its place");
    op_first_names(op, job->text, sizeof job->text);
    /* One that was restored may lack what was written since the backup. */
    (void)op_conninfo(op, false, job->conninfo, sizeof job->conninfo);
    conninfo_add(job->conninfo, sizeof job->conninfo, "application_name", "hamgr rebuild");
    op_run_job(op, job, finished);
}

/* --- what was made ------------------------------------------------------------------------------
 */

/* number: the database that it must be. What was copied is on the disk when this returns, with a
 * mark if a command made it: the settings may say otherwise when it is put into its place. */
static enum hm_rc accept_copy(struct op_job *job, struct hm_err *err)
{
    const char *fresh = job->path[PATH_NEW];
    struct wal_control control;
    int version;
    enum hm_rc rc = datadir_version(fresh, &version, err);

    if (rc == HM_OK)
        rc = wal_read_control(fresh, &control, err);
    if (rc != HM_OK)
        return rc;
    if (job->number != 0 && control.system_id != job->number)
        return hm_fail(err, HM_REFUSED,
                       "what was made in '%s' is another database (system identifier %" PRIu64
                       ", not %" PRIu64 ")",
                       fresh, control.system_id, job->number);
    if (!control.is_backup)
        return hm_fail(err, HM_REFUSED,
                       "what was made in '%s' is no base backup: it has no backup_label", fresh);
    rc = job->is_restored ? datadir_mark_restored(fresh, err) : datadir_unmark_restored(fresh, err);
    if (rc == HM_OK)
        rc = place_sync_copy(fresh, err);
    job->number = control.timeline;
    if (rc == HM_OK && !notes_identify_control(fresh, job->text, 64))
        rc = hm_fail(err, HM_FAILED, "'%s' cannot be told from others", fresh);
    return rc;
}

static void accepted(struct op *op)
{
    struct notes changed = op->s->notes;

    if (has_command(op)) /* a backup may be older than the newest timeline */
        op->source_timeline = op->number;
    changed.whole_timeline = op->source_timeline;
    (void)snprintf(changed.whole, sizeof changed.whole, "%.*s", (int)sizeof changed.whole - 1,
                   op->text);
    op_note(op, &changed, put_in_place);
}

/* What to do about failures that only a person can end. */
static const char *hint_of(const char *output)
{
    static const struct {
        const char *part, *hint;
    } hints[] = {
        { "No space left on device", "make room on that disk" },
        { "exists but is not empty",
          "empty that directory of a tablespace, which this member did not "
          "have before" },
        { "max_wal_senders", "raise max_wal_senders on the primary" },
        { "pg_hba.conf", "add a 'host replication' line to the primary's pg_hba.conf" },
        { "must be superuser or replication role", "ALTER ROLE ... REPLICATION on the primary" },
        { "Permission denied", "let hamgrd's user write there" },
    };

    for (size_t i = 0; i < HM_ARRAY_LEN(hints); i++)
        if (strstr(output, hints[i].part) != NULL)
            return hints[i].hint;
    return NULL;
}

static void copied(struct op *op, const struct child_end *end)
{
    const char *what = has_command(op) ? "rebuild_command" : "pg_basebackup";
    const char *hint = hint_of(end->output);
    char how[OP_WHY_MAX - 32];
    struct op_job *job;

    if (!end->is_ok) {
        rejoin_describe(end, how, sizeof how);
        op_fail(op, "%s failed: %.150s%s%s", what, how, hint != NULL ? ": " : "",
                hint != NULL ? hint : "");
        return;
    }
    op_doing(op, "clone: looking at what was made");
    job = op_new_job(op, accept_copy);
    job->number = op->s->record.system_id;
    job->is_restored = has_command(op);
    op_run_job(op, job, accepted);
}

/* --- room ---------------------------------------------------------------------------------------
 */

static enum hm_rc put_aside(struct op_job *job, struct hm_err *err)
{
    enum hm_rc rc = datadir_check_unused(job->data_dir, err);

    return rc == HM_OK ? layout_put_aside(&job->layout, err) : rc;
}

static void remove_old_first(struct op *op)
{
    op->is_removed = true;
    op_doing(op, "clone: removing the old copy first");
    op_run_job(op, op_new_job(op, put_aside), begin_attempt);
}

static void measured(struct op *op)
{
    const struct progress *p = &op->s->facts.progress;
    enum settings_room room = op->s->config.service->rebuild_room;
    uint64_t needed = (p->total > p->done ? p->total - p->done : 0) + SLACK;
    char need[16], have[16];

    if (op->child == NULL || op->room[0] >= needed)
        return;
    progress_bytes(needed, need, sizeof need);
    progress_bytes(op->room[0], have, sizeof have);
    if (room == ROOM_AUTO && !op->is_removed && op->room[0] + op->room[1] >= needed) {
        log_warn("no room for two copies service=%s free=%" PRIu64 " old=%" PRIu64
                 ": the old copy is removed before the new one is made",
                 op->s->config.service->name, op->room[0], op->room[1]);
        op_end_child(op);
        remove_old_first(op);
    } else if (room == ROOM_BOTH && op->room[0] + op->room[1] >= needed) {
        op_fail(op,
                "no room for two copies: %s needed, %s free beside the old one: make room, or set "
                "rebuild_room = \"auto\"",
                need, have);
    } else {
        op_fail(op, "no room for a copy: %s needed, %s free: make room on that disk", need, have);
    }
}

static enum hm_rc measure(struct op_job *job, struct hm_err *err)
{
    return layout_room(&job->layout, &job->room[0], &job->room[1], err);
}

/* As soon as it is known how much there is to copy. Tablespaces are on other disks, as a rule. */
static void told_progress(struct op *op)
{
    if (op->is_measured || op->s->facts.progress.total == 0 || op->layout.tablespaces_n > 0)
        return;
    op->is_measured = true;
    op_run_job(op, op_new_job(op, measure), measured);
}

/* --- copying ------------------------------------------------------------------------------------
 */

struct command {
    const char *argv[16 + 2 * PLACE_TABLESPACES_MAX];
    size_t n;
    char mapping[PLACE_TABLESPACES_MAX][2 * PLACE_PATH_MAX + 32];
};

static void add_arg(struct command *c, const char *arg)
{
    HM_BUG_ON(c->n + 1 >= HM_ARRAY_LEN(c->argv));
    c->argv[c->n++] = arg;
}

static void run_basebackup(struct op *op)
{
    const struct settings_service *service = op->s->config.service;
    char program[OP_PATH_MAX], source[OP_CONNINFO_MAX], rate[48], log[PLACE_PATH_MAX + 16];
    char mark[REJOIN_MARK_MAX];
    const char *const env[] = { rejoin_print_mark(op, mark), NULL };
    struct command c = { .n = 0 };

    (void)op_conninfo(op, true, source, sizeof source); /* checked when the source was asked */
    (void)snprintf(program, sizeof program, "%s/pg_basebackup", op->bin_dir);
    add_arg(&c, program);
    add_arg(&c, "--pgdata");
    add_arg(&c, op->paths[PATH_NEW]);
    add_arg(&c, "--dbname");
    add_arg(&c, source);
    add_arg(&c, "--wal-method=stream");
    add_arg(&c, "--progress");
    add_arg(&c, "--checkpoint=fast");
    add_arg(&c, "--no-password");
    if (service->rebuild_rate != 0) {
        (void)snprintf(rate, sizeof rate, "--max-rate=%" PRIu64 "k", service->rebuild_rate / 1024);
        add_arg(&c, rate);
    }
    if (op->layout.log.target[0] != 0) {
        (void)snprintf(log, sizeof log, "--waldir=%s", op->layout.log.fresh);
        add_arg(&c, log);
    }
    for (unsigned int i = 0; i < op->layout.tablespaces_n; i++) {
        const char *path = op->layout.tablespace[i];

        (void)snprintf(c.mapping[i], sizeof c.mapping[i], "--tablespace-mapping=%s=%s/" PLACE_NEW,
                       path, path);
        add_arg(&c, c.mapping[i]);
    }
    op->on_progress = told_progress;
    op_run(op, c.argv, env, REJOIN_SILENCE_MS, copied);
}

static void add_env(char *buffer, size_t size, const char **env, size_t *n, const char *text)
{
    (void)snprintf(buffer, size, "%s", text);
    env[(*n)++] = buffer;
}

/* What docs/rebuild.md promises to the administrator's command. */
static void run_command(struct op *op)
{
    enum { VARIABLES = 14, LENGTH = 512 };
    const struct settings_service *service = op->s->config.service;
    const char *const argv[] = { "/bin/sh", "-c", service->rebuild_command, NULL };
    char mark[REJOIN_MARK_MAX], host[HM_ADDRESS_MAX] = "", line[LENGTH], buffer[VARIABLES][LENGTH];
    const char *env[VARIABLES + 1] = { NULL };
    size_t n = 0;

    (void)record_host(&op->s->record, op->e.copy.member, host);
    env[n++] = rejoin_print_mark(op, mark);
#define ADD(...)                                                                                   \
    ((void)snprintf(line, sizeof line, __VA_ARGS__), add_env(buffer[n], LENGTH, env, &n, line))
    ADD("HAMGR_TARGET=%s", op->paths[PATH_NEW]);
    ADD("HAMGR_DATA_DIR=%s", service->data_dir);
    ADD("HAMGR_SERVICE=%s", service->name);
    ADD("HAMGR_CLUSTER=%s", op->s->config.settings->cluster);
    ADD("HAMGR_MEMBER=%s", op->s->config.settings->node);
    ADD("HAMGR_SOURCE_MEMBER=%s", op_member_name(op, op->e.copy.member));
    ADD("HAMGR_SOURCE_HOST=%s", host);
    ADD("HAMGR_SOURCE_PORT=%u", (unsigned int)service->port);
    ADD("HAMGR_SOURCE_USER=%s", service->replication_user);
    ADD("HAMGR_PASSFILE=%s", service->passfile);
    ADD("HAMGR_BIN_DIR=%s", op->bin_dir);
    ADD("HAMGR_SYSTEM_ID=%" PRIu64, op->s->record.system_id);
    ADD("HAMGR_RATE=%" PRIu64, service->rebuild_rate);
#undef ADD
    op->on_progress = told_progress;
    op_run(op, argv, env, 0, copied);
}

static void prepared(struct op *op)
{
    bool has_programs = op_find_programs(op, (int)op->number);

    op_doing(op, "clone from %s", op_member_name(op, op->e.copy.member));
    if (has_command(op))
        run_command(op);
    else if (has_programs)
        run_basebackup(op);
    else
        op_fail(op, "no program 'pg_basebackup' found: set bin_dir");
}

static enum hm_rc prepare(struct op_job *job, struct hm_err *err)
{
    int version = 0;
    enum hm_rc rc = datadir_keep_configs(job->data_dir, job->path[PATH_KEEP], err);

    if (rc == HM_OK)
        rc = layout_make_room(&job->layout, err);
    if (rc == HM_OK && (!datadir_has_files(job->data_dir) ||
                        datadir_version(job->data_dir, &version, NULL) != HM_OK))
        version = 0; /* half-made: whatever is installed */
    job->number = (uint64_t)version;
    return rc;
}

static void leftovers_removed(struct op *op)
{
    if (op->s->config.service->rebuild_room == ROOM_ONE && !op->is_removed)
        remove_old_first(op);
    else
        op_run_job(op, op_new_job(op, prepare), prepared);
}

/* Removing comes first: what an earlier attempt left takes room, is of no use, and has the name
 * that the old copy gets when it goes aside. */
static void begin_attempt(struct op *op)
{
    op_doing(op, "clone: removing leftovers");
    op->number = 0;
    rejoin_remove(op, leftovers_removed);
}

/* --- before -------------------------------------------------------------------------------------
 */

/* Nothing was touched up to here; from here on the old copy is given up. */
static void salvaged(struct op *op)
{
    rejoin_note_rebuilding(op, begin_attempt);
}

static void source_is_good(struct op *op)
{
    salvage_first(op, salvaged);
}

static void place_known(struct op *op)
{
    (void)snprintf(op->paths[PATH_NEW], OP_PATH_MAX, "%s", op->layout.data.fresh);
    op->source_timeline = op->s->notes.whole_timeline;
    if (op->number == WHOLE_IN_PLACE) {
        finished(op);
    } else if (op->number == WHOLE_BESIDE) {
        log_notice("clone goes on service=%s: the new copy was whole already",
                   op->s->config.service->name);
        put_in_place(op);
    } else {
        op_need_source(op, source_is_good);
    }
}

/* text: what tells the new copy that was whole, or ""; conninfo: the mark of earlier attempts. A
 * swap entry by entry moves the control file last: then all the rest is in its place. */
static enum hm_rc find_place(struct op_job *job, struct hm_err *err)
{
    char found[64];
    unsigned int ended;
    enum hm_rc rc = HM_OK;

    job->number = WHOLE_NOT;
    if (job->text[0] == 0)
        rc = datadir_check_strangers(job->data_dir, err);
    if (rc == HM_OK)
        rc = leftover_end(job->conninfo, LEFTOVER_MS, &ended, err);
    if (rc == HM_OK && mkdir(job->path[PATH_KEEP], 0700) != 0 && errno != EEXIST)
        rc = hm_fail_errno(err, "cannot make '%s'", job->path[PATH_KEEP]);
    if (rc == HM_OK)
        rc = layout_find(job->data_dir, job->path[PATH_KEEP], &job->layout, err);
    if (rc != HM_OK || job->text[0] == 0)
        return rc;
    if (notes_identify_control(job->layout.data.fresh, found, sizeof found) &&
        strcmp(found, job->text) == 0)
        job->number = WHOLE_BESIDE;
    else if (notes_identify_control(job->data_dir, found, sizeof found) &&
             strcmp(found, job->text) == 0)
        job->number = WHOLE_IN_PLACE;
    return rc;
}

static void looked(struct op *op)
{
    struct op_job *job;

    if (rejoin_has_processes(op)) {
        op_fail(op, "cannot clone: the copy is %s", copy_state_name(op->s->seen.state));
        return;
    }
    job = op_new_job(op, find_place);
    (void)rejoin_print_mark(op, job->conninfo);
    (void)snprintf(job->text, sizeof job->text, "%s",
                   op->s->notes.is_rebuilding ? op->s->notes.whole : "");
    op_run_job(op, job, place_known);
}

static void begin_clone(struct op *op)
{
    rejoin_set_paths(op);
    op_look(op, looked);
}

const struct op_kind op_clone = { DO_CLONE, begin_clone, op_nothing, 7 * 24 * HOUR_MS };
