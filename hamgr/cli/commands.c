/* commands.c - the table of commands and options, and how a command line is read by it. */
#include "cli/cli.h"
#include "cli/options.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ORDER (CLI_SERVICE | CLI_JSON | CLI_TIMEOUT)
#define JOIN                                                                                       \
    (CLI_KEY | CLI_NAME | CLI_ADDRESS | CLI_DATA_DIR | CLI_PRIORITY | CLI_NOFAILOVER |             \
     CLI_FOLLOW | CLI_SET | CLI_JSON | CLI_TIMEOUT)

/* clang-format off */
const struct cli_row cli_rows[] = {
    { "status",       "",          "what the cluster is, and why",                    CLI_SERVICE | CLI_JSON | CLI_WATCH,                0, cli_status },
    { "history",      "",          "who was primary, since when, and why",            CLI_SERVICE | CLI_JSON,                            0, cli_history },
    { "explain",      "",          "who could take over now, and who not, and why",   CLI_SERVICE | CLI_JSON,                            0, cli_explain },
    { "what-if lose", "MEMBER...", "what would be if these members were lost",        CLI_SERVICE | CLI_JSON,                            HM_MEMBERS_MAX, cli_what_if },
    { "switchover",   "",          "hand the primary over to another member",         ORDER | CLI_TO | CLI_DRY_RUN,                      0, cli_switchover },
    { "failover",     "",          "go on alone after the majority was lost for good", ORDER | CLI_FORCE | CLI_CLUSTER,                  0, cli_failover },
    { "pause",        "",          "no automatic action until 'resume'",              ORDER,                                             0, cli_pause },
    { "resume",       "",          "automatic failover again",                        ORDER,                                             0, cli_resume },
    { "rebuild",      "MEMBER",    "make a member's copy anew from the primary",      ORDER | CLI_YES,                                   1, cli_rebuild },
    { "check",        "",          "what a server's settings lack, and the change",   CLI_SERVICE | CLI_JSON,                            0, cli_check },
    { "member list",  "",          "the members, and how long ago each was heard",    CLI_JSON,                                          0, cli_member_list },
    { "member add",   "NAME ADDRESS", "add a member that runs and can be reached",       CLI_ROLE | CLI_JSON | CLI_TIMEOUT,                 2, cli_member_add },
    { "member remove", "NAME",     "forget a member, with its replication slots",     CLI_JSON | CLI_TIMEOUT,                            1, cli_member_remove },
    { "join",         "ADDRESS",   "make this new host a member of a cluster",        JOIN,                                              1, cli_join },
    { "diverged list", "",         "log that only an old primary on this host had",   CLI_SERVICE | CLI_JSON,                            0, cli_diverged_list },
    { "diverged show", "[ID]",     "what it held: transactions, tables",              CLI_SERVICE | CLI_JSON,                            1, cli_diverged_show },
    { "diverged purge", "ID|all",  "remove it",                                       CLI_SERVICE | CLI_JSON,                            1, cli_diverged_purge },
    { "config check", "[FILE]",    "show all errors in the settings",                 0,                                                 1, cli_config_check },
    { "config show",  "",          "the settings that fit the cluster as it is now",  CLI_JSON,                                          0, cli_config_show },
    { "keygen",       "[FILE]",    "draw a new cluster key",                          0,                                                 1, cli_keygen },
    { "guard",        "[SERVICE]", "before a server starts: no primary without lease", CLI_SERVICE | CLI_UNIT | CLI_DATA_DIR,            1, cli_guard },
    { "version",      "",          "of this program and of hamgrd",                   CLI_JSON,                                          0, cli_version },
    { "help",         "[COMMAND]", "this list, or what one command knows",            0,                                                 2, cli_help },
    { "completion",   "",          "print the completion for bash",                   0,                                                 0, cli_completion },
};

const struct cli_option_row cli_option_rows[] = {
    { "--config",   "-c", "FILE",    CLI_CONFIG,   "settings to use instead of " SETTINGS_FILE },
    { "--service",  "-s", "NAME",    CLI_SERVICE,  "only this service" },
    { "--json",     "-j", NULL,      CLI_JSON,     "print JSON (docs/json.md)" },
    { "--help",     "-h", NULL,      CLI_HELP,     "help" },
    { "--version",  "-V", NULL,      CLI_VERSION,  "version of this program" },
    { "--watch",    "-w", NULL,      CLI_WATCH,    "again every second, until Ctrl-C" },
    { "--to",       NULL, "MEMBER",  CLI_TO,       "the new primary; without it the best one" },
    { "--dry-run",  "-n", NULL,      CLI_DRY_RUN,  "only say whether it could be done" },
    { "--yes",      "-y", NULL,      CLI_YES,      "do not ask" },
    { "--timeout",  NULL, "SECONDS", CLI_TIMEOUT,  "give up after so long" },
    { "--unit",     NULL, "UNIT",    CLI_UNIT,     "the service that this systemd unit runs" },
    { "--force",    NULL, NULL,      CLI_FORCE,    "a person decides; what may be lost is shown first" },
    { "--cluster",  NULL, "NAME",    CLI_CLUSTER,  "the cluster's name, for scripts that cannot type it" },
    { "--data-dir", NULL, "DIR",     CLI_DATA_DIR, "the service with this data directory; 'join': where it is to be" },
    { "--role",     NULL, "ROLE",    CLI_ROLE,     "db (the default), witness or observer" },
    { "--key",      "-k", "FILE",    CLI_KEY,      "the cluster's key" },
    { "--name",     NULL, "NAME",    CLI_NAME,     "of the new member; without it the host's name" },
    { "--address",  NULL, "ADDRESS", CLI_ADDRESS,  "where the others reach it; without it the way to the cluster" },
    { "--priority", NULL, "NUMBER",  CLI_PRIORITY, "between equally good standbys the higher one takes over" },
    { "--nofailover", NULL, NULL,    CLI_NOFAILOVER, "it never becomes primary by itself" },
    { "--follow",   NULL, "MEMBER",  CLI_FOLLOW,   "stream from that standby instead of the primary" },
    { "--set",      NULL, "SETTINGS", CLI_SET,     "what this host has otherwise: 'state_dir = \"/srv/hamgr\";'" },
};
/* clang-format on */

const size_t cli_rows_n = HM_ARRAY_LEN(cli_rows);
const size_t cli_option_rows_n = HM_ARRAY_LEN(cli_option_rows);

void cli_complain(struct cli *c, const char *format, ...)
{
    va_list args;

    (void)fputs("hamgr: ", c->err); /* a failure to complain cannot be complained of */
    va_start(args, format);
    (void)vfprintf(c->err, format, args);
    va_end(args);
    (void)fputc('\n', c->err);
}

/* --- options ---------------------------------------------------------------------------------- */

static const struct cli_option_row *find_option(const char *word, size_t length)
{
    for (size_t i = 0; i < cli_option_rows_n; i++) {
        const struct cli_option_row *o = &cli_option_rows[i];

        if ((strlen(o->name) == length && strncmp(o->name, word, length) == 0) ||
            (o->letter != NULL && strcmp(o->letter, word) == 0))
            return o;
    }
    return NULL;
}

static bool unknown_option(struct cli *c, const char *word, size_t length)
{
    const char *known[32], *meant;
    char name[40];

    HM_BUG_ON(cli_option_rows_n > HM_ARRAY_LEN(known));
    for (size_t i = 0; i < cli_option_rows_n; i++)
        known[i] = cli_option_rows[i].name;
    (void)snprintf(name, sizeof name, "%.*s", (int)length, word);
    meant = cli_nearest(name, known, cli_option_rows_n);
    if (meant != NULL)
        cli_complain(c, "unknown option '%s', did you mean '%s'?", name, meant);
    else
        cli_complain(c, "unknown option '%s'; 'hamgr help COMMAND' lists those there are", name);
    return false;
}

/* Seconds, with or without a fraction, as milliseconds. */
static bool take_timeout(struct cli *c, const char *value)
{
    double seconds;
    char *end;

    seconds = strtod(value, &end);
    if (!isdigit((unsigned char)value[0]) || *end != '\0' ||
        !(seconds >= 0.001 && seconds <= CTL_TIMEOUT_MAX_MS / 1000.0)) {
        cli_complain(c, "--timeout '%s' is not a number of seconds from 0.001 to %d", value,
                     CTL_TIMEOUT_MAX_MS / 1000);
        return false;
    }
    c->timeout_ms = (hm_ms)(seconds * 1000);
    return true;
}

static bool take_priority(struct cli *c, const char *value)
{
    char *end;
    long number = strtol(value, &end, 10);

    if (*end != '\0' || number < -1000 || number > 1000) {
        cli_complain(c, "--priority '%s' is not a number from -1000 to 1000", value);
        return false;
    }
    c->priority = (int16_t)number;
    return true;
}

/* Where the text of an option goes; NULL: it has none. */
static const char **field_of(struct cli *c, enum cli_option bit)
{
    switch (bit) {
    case CLI_CONFIG:
        return &c->config;
    case CLI_SERVICE:
        return &c->service;
    case CLI_TO:
        return &c->to;
    case CLI_CLUSTER:
        return &c->cluster;
    case CLI_UNIT:
        return &c->unit;
    case CLI_DATA_DIR:
        return &c->data_dir;
    case CLI_ROLE:
        return &c->role;
    case CLI_KEY:
        return &c->key;
    case CLI_NAME:
        return &c->name;
    case CLI_ADDRESS:
        return &c->address;
    case CLI_FOLLOW:
        return &c->follow;
    case CLI_SET:
        return &c->set;
    case CLI_NOFAILOVER:
    case CLI_JSON:
    case CLI_HELP:
    case CLI_VERSION:
    case CLI_WATCH:
    case CLI_DRY_RUN:
    case CLI_FORCE:
    case CLI_TIMEOUT:
    case CLI_PRIORITY:
    case CLI_YES:
        break;
    }
    return NULL;
}

static bool take_value(struct cli *c, const struct cli_option_row *o, const char *value)
{
    const char **field = field_of(c, o->bit);
    bool is_name = o->bit == CLI_SERVICE || o->bit == CLI_TO || o->bit == CLI_CLUSTER ||
                   o->bit == CLI_NAME || o->bit == CLI_FOLLOW;

    if (value[0] == '\0' || (is_name && strlen(value) >= HM_NAME_MAX)) {
        cli_complain(c, "%s wants a %s%s", o->name, o->value,
                     value[0] == '\0' ? ", not an empty word" : " of at most 31 letters");
        return false;
    }
    if (o->bit == CLI_TIMEOUT)
        return take_timeout(c, value);
    if (o->bit == CLI_PRIORITY)
        return take_priority(c, value);
    if (field != NULL)
        *field = value;
    return true;
}

/* An option with its value, as "--to db2" or "--to=db2"; *i is moved behind both. */
static bool take_option(struct cli *c, int argc, const char *const *argv, int *i)
{
    const char *word = argv[*i], *value;
    size_t length = strcspn(word, "=");
    const struct cli_option_row *o = find_option(word, length);

    value = word[length] == '=' ? word + length + 1 : NULL;
    if (o == NULL)
        return unknown_option(c, word, length);
    if ((c->given & o->bit) != 0) {
        cli_complain(c, "%s is given twice", o->name);
        return false;
    }
    c->given |= o->bit;
    if (o->value == NULL) {
        if (value != NULL)
            cli_complain(c, "%s takes no value", o->name);
        return value == NULL;
    }
    if (value == NULL && *i + 1 < argc)
        value = argv[++*i];
    if (value == NULL) {
        cli_complain(c, "%s wants a %s", o->name, o->value);
        return false;
    }
    return take_value(c, o, value);
}

/* --- commands --------------------------------------------------------------------------------- */

/* How many of the words name the row's command: 0, 1 or 2. */
static unsigned words_of(const struct cli_row *row, const char *const *word, unsigned words_n)
{
    size_t first = strcspn(row->name, " ");

    if (words_n == 0 || strlen(word[0]) != first || strncmp(row->name, word[0], first) != 0)
        return 0;
    if (row->name[first] == '\0')
        return 1;
    return words_n > 1 && strcmp(row->name + first + 1, word[1]) == 0 ? 2 : 0;
}

const struct cli_row *cli_find(const char *const *word, unsigned words_n, unsigned *ret_used)
{
    for (size_t i = 0; i < cli_rows_n; i++) {
        *ret_used = words_of(&cli_rows[i], word, words_n);
        if (*ret_used != 0)
            return &cli_rows[i];
    }
    return NULL;
}

void cli_unknown_command(struct cli *c, const char *const *word, unsigned words_n)
{
    const char *known[32], *meant;
    char name[80];

    HM_BUG_ON(cli_rows_n > HM_ARRAY_LEN(known));
    for (size_t i = 0; i < cli_rows_n; i++)
        known[i] = cli_rows[i].name;
    (void)snprintf(name, sizeof name, "%s%s%s", word[0], words_n > 1 ? " " : "",
                   words_n > 1 ? word[1] : "");
    meant = cli_nearest(name, known, cli_rows_n);
    if (meant == NULL)
        meant = cli_nearest(word[0], known, cli_rows_n);
    for (size_t i = 0; meant == NULL && i < cli_rows_n; i++)
        if (strncmp(known[i], word[0], strlen(word[0])) == 0 && known[i][strlen(word[0])] == ' ')
            meant = known[i];
    if (meant != NULL)
        cli_complain(c, "unknown command '%s', did you mean '%s'?", name, meant);
    else
        cli_complain(c, "unknown command '%s'; 'hamgr help' lists those there are", name);
}

/* What was given must be what the command knows. */
static bool fits(struct cli *c, const struct cli_row *row)
{
    unsigned int known = row->options | CLI_CONFIG | CLI_HELP | CLI_VERSION;

    for (size_t i = 0; i < cli_option_rows_n; i++)
        if ((c->given & cli_option_rows[i].bit & ~known) != 0) {
            cli_complain(c, "'%s' knows no %s; 'hamgr help %s' lists its options", row->name,
                         cli_option_rows[i].name, row->name);
            return false;
        }
    if (c->args_n > row->args_max) {
        cli_complain(c, "'%s' takes no '%s'; 'hamgr help %s' says what it takes", row->name,
                     c->arg[row->args_max], row->name);
        return false;
    }
    return true;
}

static enum ctl_exit run_words(struct cli *c, const char *const *word, unsigned words_n)
{
    const struct cli_row *row;
    unsigned used;

    if ((c->given & CLI_VERSION) != 0) {
        (void)fprintf(c->out, "hamgr " HAMGR_VERSION "\n"); /* main() looks whether it arrived */
        return CTL_DONE;
    }
    if (words_n == 0) {
        if ((c->given & CLI_HELP) == 0) {
            cli_complain(c, "which command? 'hamgr help' lists them, 'hamgr status' is a start");
            return CTL_USAGE;
        }
        cli_print_help(c->out);
        return CTL_DONE;
    }
    row = cli_find(word, words_n, &used);
    if (row == NULL) {
        cli_unknown_command(c, word, words_n);
        return CTL_USAGE;
    }
    if ((c->given & CLI_HELP) != 0) {
        cli_print_command_help(c->out, row);
        return CTL_DONE;
    }
    for (; used < words_n; used++)
        c->arg[c->args_n++] = word[used];
    return fits(c, row) ? row->run(c) : CTL_USAGE;
}

enum ctl_exit cli_run(int argc, const char *const *argv, struct cli *c)
{
    const char *word[CLI_ARGS_MAX];
    unsigned words_n = 0;
    bool are_options = true;

    c->config = SETTINGS_FILE;
    for (int i = 1; i < argc; i++) {
        if (are_options && strcmp(argv[i], "--") == 0) {
            are_options = false;
        } else if (are_options && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!take_option(c, argc, argv, &i))
                return CTL_USAGE;
        } else if (words_n == HM_ARRAY_LEN(word)) {
            cli_complain(c, "'%s' is one word too many; 'hamgr help' says what there is", argv[i]);
            return CTL_USAGE;
        } else {
            word[words_n++] = argv[i];
        }
    }
    return run_words(c, word, words_n);
}
