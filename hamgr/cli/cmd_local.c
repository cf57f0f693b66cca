/* cmd_local.c - what needs no hamgrd: config check, keygen, version, help. */
#include "cli/options.h"
#include "cli/print.h"

#include <stdlib.h>
#include <string.h>

#define KEY_FILE "/etc/hamgr/cluster.key"

/* A file that was named may be of another host, and its key out of reach; that of this host is
 * checked as hamgrd will read it. */
enum ctl_exit cli_config_check(struct cli *c)
{
    bool is_named = c->args_n > 0;
    const char *path = is_named ? c->arg[0] : c->config;
    struct settings *settings = malloc(sizeof *settings);
    struct settings_errors errors;
    enum hm_rc rc;

    if (settings == NULL)
        return cli_tell_failure(c, CTL_FAILED, "no memory", NULL);
    if (is_named && (c->given & CLI_CONFIG) != 0) {
        free(settings);
        cli_complain(c, "'config check' takes a FILE or --config FILE, not both");
        return CTL_USAGE;
    }
    rc = settings_load(path, is_named ? SETTINGS_WITHOUT_NODE | SETTINGS_WITHOUT_KEY : 0, settings,
                       &errors);
    if (rc == HM_OK && !is_named) {
        settings_errors_done(&errors);
        rc = settings_check_files(settings, &errors);
    }
    for (size_t i = 0; i < errors.n; i++)
        (void)fprintf(c->err, "%s\n", errors.line[i]);
    settings_errors_done(&errors);
    if (rc == HM_OK)
        (void)fprintf(c->out, "%s: fine%s\n", path,
                      is_named ? " (the key and this host's own name were not looked at)" : "");
    free(settings);
    return rc == HM_OK ? CTL_DONE : CTL_USAGE;
}

enum ctl_exit cli_keygen(struct cli *c)
{
    const char *path = c->args_n > 0 ? c->arg[0] : KEY_FILE;
    struct hm_err err;
    enum hm_rc rc;

    rc = settings_make_key(path, &err);
    if (rc != HM_OK)
        return cli_tell_failure(c, ctl_exit_of(rc), err.text,
                                rc == HM_REFUSED ? "name another file, or use the key that is there"
                                                 : NULL);
    (void)fprintf(c->out,
                  "%s: a new cluster key, which only its owner can read\n"
                  "next: copy it to every member of the cluster, the witness too, for instance\n"
                  "    scp -p %s root@db2:%s\n"
                  "and let hamgrd's user have it (hamgr-witness on a witness):\n"
                  "    chown postgres: %s && chmod 0600 %s\n",
                  path, path, path, path, path);
    return CTL_DONE;
}

static json_t *text_or_null(const char *s)
{
    return s[0] != '\0' ? json_string(s) : json_null();
}

/* hamgrd's version is told if it answers; that it does not is no failure of this command. */
enum ctl_exit cli_version(struct cli *c)
{
    struct ctl_request request = { .command = CTL_VERSION };
    char path[SETTINGS_PATH_MAX + sizeof CTL_SOCKET + 1];
    struct settings *settings = calloc(1, sizeof *settings);
    struct settings_errors errors = { .n = 0 };
    const char *next, *running = "does not answer";
    json_t *answer = NULL, *j;
    struct hm_err err;

    if (settings != NULL && settings_load(c->config, SETTINGS_WITHOUT_NODE | SETTINGS_WITHOUT_KEY,
                                          settings, &errors) == HM_OK) {
        (void)snprintf(path, sizeof path, "%s/" CTL_SOCKET, settings->run_dir);
        if (cli_call(path, &request, 2000, &answer, &next, &err) == HM_OK)
            running = print_text(answer, "software")[0] != '\0' ? print_text(answer, "software")
                                                                : "runs, but does not tell";
    }
    settings_errors_done(&errors);
    if ((c->given & CLI_JSON) != 0) {
        j = json_pack("{s:i,s:s,s:o}", "rc", 0, "software", "hamgr " HAMGR_VERSION, "hamgrd",
                      text_or_null(print_text(answer, "software")));
        cli_print_json(c, j);
        json_decref(j);
    } else {
        (void)fprintf(c->out, "hamgr " HAMGR_VERSION "\nhamgrd: %s\n", running);
    }
    json_decref(answer);
    free(settings);
    return CTL_DONE;
}

enum ctl_exit cli_help(struct cli *c)
{
    const struct cli_row *row;
    unsigned used;

    if (c->args_n == 0) {
        cli_print_help(c->out);
        return CTL_DONE;
    }
    row = cli_find(c->arg, c->args_n, &used);
    if (row == NULL || used != c->args_n) {
        cli_unknown_command(c, c->arg, c->args_n);
        return CTL_USAGE;
    }
    cli_print_command_help(c->out, row);
    return CTL_DONE;
}

enum ctl_exit cli_completion(struct cli *c)
{
    cli_print_completion(c->out);
    return CTL_DONE;
}
