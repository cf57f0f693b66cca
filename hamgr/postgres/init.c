/* init.c - the first copy of all: a new, empty database. */
#include "postgres/datadir.h"
#include "postgres/op.h"

#include <stdio.h>
#include <string.h>

#define HOUR_MS 3600000

static enum hm_rc finish_init(struct op_job *job, struct hm_err *err)
{
    return layout_swap(&job->layout, err);
}

static void first_run_ended(struct op *op, const struct child_end *end)
{
    char how[OP_WHY_MAX - 64];

    if (end->is_ok) {
        op->source_timeline = 1;
        op_run_job(op, op_new_job(op, finish_init), rejoin_note_made);
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
    const char *argv[] = { program,  "--single", "-D",        op->paths[PATH_NEW], "-c",
                           data_dir, "-c",       config_file, "template1",         NULL };
    char how[OP_WHY_MAX - 32];

    if (!end->is_ok) {
        child_describe(end, how, sizeof how);
        op_fail(op, "initdb failed: %s", how);
        return;
    }
    (void)snprintf(program, sizeof program, "%s/postgres", op->bin_dir);
    (void)snprintf(data_dir, sizeof data_dir, "data_directory=%s", op->paths[PATH_NEW]);
    (void)snprintf(config_file, sizeof config_file, "config_file=%s", service->config_file);
    if (service->config_file[0] == 0) {
        argv[6] = "template1";
        argv[7] = NULL;
    }
    op_run(op, argv, NULL, REJOIN_SILENCE_MS, first_run_ended);
}

/* hamgrd itself comes in over the unix socket, as the user that it runs as. */
static void run_init(struct op *op)
{
    char program[OP_PATH_MAX], user[HM_NAME_MAX + 16];
    const char *const argv[] = { program,
                                 "--pgdata",
                                 op->paths[PATH_NEW],
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
    op_run(op, argv, NULL, REJOIN_SILENCE_MS, initialised);
}

static enum hm_rc make_room(struct op_job *job, struct hm_err *err)
{
    return layout_make_room(&job->layout, err);
}

static void leftovers_removed(struct op *op)
{
    op_run_job(op, op_new_job(op, make_room), run_init);
}

static void place_known(struct op *op)
{
    (void)snprintf(op->paths[PATH_NEW], OP_PATH_MAX, "%s", op->layout.data.fresh);
    rejoin_remove(op, leftovers_removed);
}

static enum hm_rc find_place(struct op_job *job, struct hm_err *err)
{
    enum hm_rc rc = datadir_check_strangers(job->data_dir, err);

    return rc == HM_OK ? layout_find(job->data_dir, NULL, &job->layout, err) : rc;
}

static void init_looked(struct op *op)
{
    if (rejoin_has_processes(op))
        op_fail(op, "cannot init: the copy is %s", copy_state_name(op->s->seen.state));
    else if (op->s->seen.state == COPY_DOWN)
        op_succeed(op); /* there are data already */
    else if (op->s->seen.state == COPY_REBUILDING)
        op_fail(op, "cannot init: a rebuild was cut short, and its data are still there");
    else
        op_run_job(op, op_new_job(op, find_place), place_known);
}

static void begin_init(struct op *op)
{
    rejoin_set_paths(op);
    op_look(op, init_looked);
}

const struct op_kind op_init = { DO_INIT, begin_init, op_nothing, HOUR_MS };
