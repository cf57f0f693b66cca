/* cli.h - the command line `hamgr`: what its files share.
 *
 * One table (commands.c) is the source of the argument check, the help, the shell completion and
 * the manual. A command writes its result to `out` and everything else to `err`, and returns an
 * exit code: 0 done, 1 failed, 2 usage, 3 refused by a safety rule, 4 no quorum, 5 timed out. */
#ifndef HAMGR_CLI_CLI_H
#define HAMGR_CLI_CLI_H

#include "settings/settings.h"
#include "wire/ctl.h"

#include <jansson.h>
#include <stdio.h>

enum { CLI_ARGS_MAX = 2 + HM_MEMBERS_MAX }; /* words of a command line, with those of the command */

/* Options, as bits: a command says which ones it knows. */
enum cli_option {
    CLI_CONFIG = 1 << 0,
    CLI_SERVICE = 1 << 1,
    CLI_JSON = 1 << 2,
    CLI_HELP = 1 << 3,
    CLI_VERSION = 1 << 4,
    CLI_WATCH = 1 << 5,
    CLI_TO = 1 << 6,
    CLI_DRY_RUN = 1 << 7,
    CLI_TIMEOUT = 1 << 8,
    CLI_UNIT = 1 << 9,
    CLI_DATA_DIR = 1 << 10,
    CLI_FORCE = 1 << 11,
    CLI_CLUSTER = 1 << 12,
    CLI_ROLE = 1 << 13,
    CLI_KEY = 1 << 14,
    CLI_NAME = 1 << 15,
    CLI_ADDRESS = 1 << 16,
    CLI_PRIORITY = 1 << 17,
    CLI_NOFAILOVER = 1 << 18,
    CLI_FOLLOW = 1 << 19,
    CLI_SET = 1 << 20,
    CLI_YES = 1 << 21,
};

struct cli {
    FILE *in, *out, *err; /* borrowed; in: what a person types */
    bool has_colour;      /* out is a terminal, and nobody objects */
    bool is_terminal;     /* out is one */
    unsigned columns;     /* of out */

    unsigned int given;  /* enum cli_option */
    const char *config;  /* path of the settings; SETTINGS_FILE unless given */
    const char *service; /* this and the rest: NULL unless given; borrowed from argv */
    const char *to;
    const char *unit;
    const char *data_dir;
    const char *cluster;
    const char *role;
    const char *key;
    const char *name;
    const char *address;
    const char *follow;
    const char *set;
    int16_t priority;
    hm_ms timeout_ms; /* 0 unless given */
    unsigned args_n;
    const char *arg[CLI_ARGS_MAX];
};

typedef enum ctl_exit cli_command(struct cli *c);

struct cli_row {
    const char *name, *args, *help;
    unsigned int options; /* that it knows beside those that all know */
    unsigned args_max;
    cli_command *run;
};

extern const struct cli_row cli_rows[];
extern const size_t cli_rows_n;

/* The whole program but for main(). */
enum ctl_exit cli_run(int argc, const char *const *argv, struct cli *c);

/* "hamgr: TEXT" to err. */
void cli_complain(struct cli *c, const char *format, ...) HM_PRINTF(2, 3);

/* The word of the table that `word` was probably meant to be, or NULL. */
const char *cli_nearest(const char *word, const char *const *known, size_t known_n);

/* --- help.c ----------------------------------------------------------------------------------- */

void cli_print_help(FILE *out);
void cli_print_command_help(FILE *out, const struct cli_row *row);
void cli_print_completion(FILE *out); /* for bash */

/* --- ask.c: hamgrd ---------------------------------------------------------------------------- */

/* Loads the settings for a command that only needs to find hamgrd and its files; complains of every
 * error. False: there are none. */
bool cli_load(struct cli *c, struct settings *ret);

/* Asks hamgrd; *ret_answer is the caller's. A failure has been told: as text to err, or as JSON to
 * out with --json, and then *ret_answer is untouched. The answer's rc is returned; one that is not
 * 0 comes with an answer only if that has checks to be printed. */
enum ctl_exit cli_ask(struct cli *c, const struct ctl_request *request, json_t **ret_answer);
/* Asks, and prints the answer: by `print`, or as it is with --json. */
enum ctl_exit cli_show(struct cli *c, const struct ctl_request *request,
                       void (*print)(struct cli *c, const json_t *answer));
/* The same without telling: what could not be done and what to do next stand in err and *ret_next,
 * NULL or a constant. An answer whose rc is not 0 is an answer here. */
enum hm_rc cli_call(const char *socket_path, const struct ctl_request *request, hm_ms timeout_ms,
                    json_t **ret_answer, const char **ret_next, struct hm_err *err) HM_MUST_CHECK;

/* Tells a failure with the next step, to err or, with --json, as a document to out. */
enum ctl_exit cli_tell_failure(struct cli *c, enum ctl_exit rc, const char *error,
                               const char *next);
void cli_print_json(struct cli *c, const json_t *j);
/* HOST:PORT of HOST or HOST:PORT. */
void cli_full_address(const char *address, char ret[HM_ADDRESS_MAX + 8]);

/* --- the commands ----------------------------------------------------------------------------- */

cli_command cli_status, cli_history, cli_switchover, cli_pause, cli_resume, cli_rebuild, cli_check,
    cli_diverged_list, cli_diverged_show, cli_diverged_purge, cli_config_check, cli_config_show,
    cli_keygen, cli_guard, cli_member_list, cli_member_add, cli_member_remove, cli_join,
    cli_explain, cli_what_if, cli_failover, cli_version, cli_help, cli_completion;

/* The documents as tables, for the commands and for tests. */
void cli_print_status(struct cli *c, const json_t *status);
void cli_print_history(struct cli *c, const json_t *history);
void cli_print_diverged(struct cli *c, const json_t *list);
/* A line about what diverged on this host, if there is any and it can be looked at. */
void cli_tell_diverged(struct cli *c);
void cli_print_members(struct cli *c, const json_t *members);
void cli_print_explain(struct cli *c, const json_t *answer);
void cli_print_what_if(struct cli *c, const json_t *answer);
/* Returns how many checks were not passed. */
size_t cli_print_checks(struct cli *c, const json_t *checks);

#endif
