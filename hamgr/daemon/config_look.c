/* config_look.c - is the file sound from which hamgrd would start again, and what it names?
 *
 * hamgrd reads its file at its start only. A file that was changed meanwhile, and has an error, is
 * found when hamgrd does not come back: so SIGHUP and `hamgr check` look at it before. Nothing that
 * is in force changes by that. */
#include "daemon/config_look.h"

#include "daemon/reach.h"

#include <stdlib.h>
#include <string.h>

struct look_job {
    struct worker_job job; /* first */
    const char *file;      /* borrowed from the daemon's settings, which stay */
    struct settings settings;
    struct settings_errors errors;
    config_looked *then;
    void *ctx;
};

static void run_look(struct worker_job *job)
{
    struct look_job *l = (struct look_job *)job;

    if (settings_load(l->file, 0, &l->settings, &l->errors) != HM_OK)
        return; /* the errors say why */
    settings_errors_done(&l->errors);
    if (settings_check_files(&l->settings, &l->errors) != HM_OK)
        return; /* likewise */
}

static void done_look(struct worker_job *job)
{
    struct look_job *l = (struct look_job *)job;

    l->then(l->ctx, &l->errors);
    settings_errors_done(&l->errors);
    explicit_bzero(l, sizeof *l);
    free(l);
}

bool config_look(struct daemon *d, config_looked *then, void *ctx)
{
    struct look_job *l = calloc(1, sizeof *l);

    if (l == NULL || reach_worker(d) == NULL) {
        free(l);
        return false;
    }
    l->job.run = run_look;
    l->job.done = done_look;
    l->file = d->settings.file;
    l->then = then;
    l->ctx = ctx;
    worker_add(d->reach, &l->job);
    return true;
}

void config_tell(void *ctx, const struct settings_errors *errors)
{
    const struct daemon *d = ctx;

    for (size_t i = 0; i < errors->n; i++)
        log_error("reload refused: %s", errors->line[i]);
    if (errors->n > 0)
        log_error(
            "the settings of before stay in force; mend '%s' before the next start of hamgrd, "
            "which would fail or run without what it names: 'hamgr config check'",
            d->settings.file);
    else
        log_notice("'%s' is sound, and so is what it names; hamgrd uses it after a restart, which "
                   "leaves the databases alone",
                   d->settings.file);
}
