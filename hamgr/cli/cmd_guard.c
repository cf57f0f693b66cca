/* cmd_guard.c - hamgr guard: finds the service that is about to start, and has it made safe. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/guard.h"
#include "postgres/notes.h"
#include "redis/include.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool is_same_unit(const char *a, const char *b)
{
    static const char suffix[] = ".service";
    size_t n = strlen(a), m = strlen(b), s = sizeof suffix - 1;

    if (n > s && strcmp(a + n - s, suffix) == 0)
        n -= s;
    if (m > s && strcmp(b + m - s, suffix) == 0)
        m -= s;
    return n > 0 && n == m && strncmp(a, b, n) == 0;
}

/* The same directory, however it is written. */
static bool is_same_dir(const char *a, const char *b)
{
    char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
    bool is_same = strcmp(real_a != NULL ? real_a : a, real_b != NULL ? real_b : b) == 0;

    free(real_a);
    free(real_b);
    return is_same;
}

static bool is_meant(const struct cli *c, const struct settings_service *s)
{
    if (c->service != NULL && strcmp(c->service, s->name) != 0)
        return false;
    if (c->unit != NULL && (s->control != CONTROL_SYSTEMD || !is_same_unit(c->unit, s->unit)))
        return false;
    return c->data_dir == NULL || is_same_dir(c->data_dir, s->data_dir);
}

static enum ctl_exit guard_dir(struct cli *c, const char *who, const char *data_dir, bool may)
{
    static const char *const texts[] = {
        [GUARD_NO_DATA] = "no database there: nothing to do",
        [GUARD_LEFT] = "the lease allows a primary: left as it is",
        [GUARD_WAS_THERE] = "no lease: it starts as a standby",
        [GUARD_WRITTEN] = "no lease: it starts as a standby (standby.signal written)",
    };
    enum guard_did did;
    struct hm_err err;

    if (guard_apply(data_dir, may, &did, &err) != HM_OK)
        return cli_tell_failure(c, CTL_FAILED, err.text,
                                "the server must not start before this is mended");
    (void)fprintf(c->out, "guard: %s: %s\n", who, texts[did]);
    return CTL_DONE;
}

/* With the lease and in a pause, too: what starts is another copy (redis/include.h). */
static enum ctl_exit guard_redis(struct cli *c, const struct settings *settings,
                                 const struct settings_service *s)
{
    char path[INCLUDE_PATH_MAX];
    struct hm_err err;

    include_path(settings->run_dir, s->name, path);
    if (include_write(settings->run_dir, s->name, &err) != HM_OK)
        return cli_tell_failure(c, CTL_FAILED, err.text,
                                "the server must not start before this is mended");
    if (include_check(s->config_file, path, &err) != HM_OK)
        return cli_tell_failure(c, CTL_FAILED, err.text,
                                "else the server could start as a second primary: add the line");
    (void)fprintf(c->out, "guard: %s: it starts as a replica of nobody (%s)\n", s->name, path);
    return CTL_DONE;
}

/* What a rewind or a clone that was cut short left would serve rows of two histories. */
static enum ctl_exit guard_half_made(struct cli *c, const struct settings *settings,
                                     const struct settings_service *s)
{
    bool is_half_made;
    struct hm_err err;

    if (notes_look_rebuilding(settings->state_dir, s->name, &is_half_made, &err) != HM_OK)
        return cli_tell_failure(c, CTL_FAILED, err.text,
                                "the server must not start before this is mended");
    if (is_half_made)
        return cli_tell_failure(c, CTL_REFUSED, "the copy is half-made, and must not start",
                                "hamgrd makes it anew by itself, and starts it: hamgr status");
    return CTL_DONE;
}

static enum ctl_exit guard_service(struct cli *c, const struct settings *settings,
                                   const struct settings_service *s)
{
    char why[HM_ERR_TEXT_MAX];
    enum ctl_exit rc;
    bool may;

    if (s->kind == SERVICE_REDIS)
        return guard_redis(c, settings, s);
    rc = guard_half_made(c, settings, s);
    if (rc != CTL_DONE)
        return rc;
    may = guard_lease(settings->run_dir, s->name, clock_boot_ms(), why);
    if (why[0] != '\0')
        cli_complain(c, "%s: taken for no lease", why);
    return guard_dir(c, s->name, s->data_dir, may);
}

/* Without settings nobody knows of a lease, but a directory that was named can be made safe. */
static enum ctl_exit guard_blindly(struct cli *c)
{
    if (c->data_dir != NULL)
        return guard_dir(c, c->data_dir, c->data_dir, false);
    return cli_tell_failure(c, CTL_FAILED, "without settings the data directory is not known",
                            "hamgr config check, or name it with --data-dir");
}

static enum ctl_exit guard_meant(struct cli *c, const struct settings *settings)
{
    const struct settings_service *meant = NULL;
    unsigned found = 0;

    for (unsigned i = 0; i < settings->services_n; i++)
        if (is_meant(c, &settings->service[i])) {
            meant = &settings->service[i];
            found++;
        }
    if (found == 1)
        return guard_service(c, settings, meant);
    if (found > 1) {
        cli_complain(c, "which service? name it with --service, --unit or --data-dir");
        return CTL_USAGE;
    }
    if (c->service != NULL) {
        cli_complain(c, "%s: there is no service '%s'%s", settings->file, c->service,
                     c->unit != NULL || c->data_dir != NULL ? " of that unit or directory" : "");
        return CTL_USAGE;
    }
    /* A drop-in for postgresql@.service meets every cluster of the host, also those that are none
     * of hamgr's business. */
    (void)fprintf(c->out, "guard: %s is no service of hamgr: left as it is\n",
                  c->unit != NULL       ? c->unit
                  : c->data_dir != NULL ? c->data_dir
                                        : "this");
    return CTL_DONE;
}

enum ctl_exit cli_guard(struct cli *c)
{
    static const char state_dir[] = "/var/lib/hamgr"; /* of hamgrd.service, whatever is set */
    struct settings *settings;
    enum ctl_exit rc;

    if (c->args_n > 0 && c->service != NULL) {
        cli_complain(c, "'guard' takes a SERVICE or --service NAME, not both");
        return CTL_USAGE;
    }
    if (c->args_n > 0)
        c->service = c->arg[0];
    if (c->unit != NULL && guard_is_new_here(c->config, state_dir)) {
        (void)fprintf(c->out, "guard: hamgr is not set up here yet: %s is left as it is\n",
                      c->unit);
        return CTL_DONE;
    }
    settings = malloc(sizeof *settings);
    if (settings == NULL)
        return cli_tell_failure(c, CTL_FAILED, "no memory", NULL);
    rc = cli_load(c, settings) ? guard_meant(c, settings) : guard_blindly(c);
    free(settings);
    return rc;
}
