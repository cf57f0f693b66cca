/* help.c - what the tables say, as help and as completion for bash. */
#include "cli/options.h"

#include <string.h>

/* main() looks whether what is printed here arrived. */

static unsigned int known_by_all(void)
{
    return CLI_CONFIG | CLI_HELP | CLI_VERSION;
}

static void print_option(FILE *out, const struct cli_option_row *o)
{
    char text[40];

    (void)snprintf(text, sizeof text, "%s%s%s%s%s", o->letter != NULL ? o->letter : "",
                   o->letter != NULL ? ", " : "    ", o->name, o->value != NULL ? " " : "",
                   o->value != NULL ? o->value : "");
    (void)fprintf(out, "  %-24s %s\n", text, o->help);
}

static void print_options(FILE *out, unsigned int of)
{
    for (size_t i = 0; i < cli_option_rows_n; i++)
        if ((cli_option_rows[i].bit & of) != 0)
            print_option(out, &cli_option_rows[i]);
}

/* " [--to MEMBER] [--dry-run]" */
static void print_usage(FILE *out, const struct cli_row *row)
{
    (void)fprintf(out, "hamgr %s", row->name);
    for (size_t i = 0; i < cli_option_rows_n; i++) {
        const struct cli_option_row *o = &cli_option_rows[i];

        if ((o->bit & row->options) != 0)
            (void)fprintf(out, " [%s%s%s]", o->name, o->value != NULL ? " " : "",
                          o->value != NULL ? o->value : "");
    }
    (void)fprintf(out, "%s%s\n", row->args[0] != '\0' ? " " : "", row->args);
}

void cli_print_command_help(FILE *out, const struct cli_row *row)
{
    print_usage(out, row);
    (void)fprintf(out, "  %s\n\noptions\n", row->help);
    print_options(out, row->options | known_by_all());
    (void)fputs("\nMore: docs/commands.md\n", out);
}

void cli_print_help(FILE *out)
{
    (void)fputs("usage: hamgr COMMAND [OPTION...]\n\ncommands\n", out);
    for (size_t i = 0; i < cli_rows_n; i++)
        (void)fprintf(out, "  %-14s %s\n", cli_rows[i].name, cli_rows[i].help);
    (void)fputs("\noptions of every command\n", out);
    print_options(out, known_by_all());
    (void)fputs("\n'hamgr help COMMAND' lists the options of one command.\n"
                "Exit codes: 0 done, 1 failed, 2 usage, 3 refused by a safety rule, 4 no quorum,\n"
                "5 timed out.\n",
                out);
}

/* --- completion ------------------------------------------------------------------------------- */

/* The first words of all commands, or the second ones of those that begin with `first`. */
static void print_words(FILE *out, const char *first)
{
    const char *sep = "", *last = "";

    for (size_t i = 0; i < cli_rows_n; i++) {
        const char *name = cli_rows[i].name;
        size_t n = strcspn(name, " ");

        if (first == NULL && strncmp(last, name, n + 1) != 0)
            (void)fprintf(out, "%s%.*s", sep, (int)n, name);
        else if (first != NULL && name[n] == ' ' && strncmp(name, first, n) == 0)
            (void)fprintf(out, "%s%s", sep, name + n + 1);
        else
            continue;
        sep = " ";
        last = name;
    }
}

static void print_case(FILE *out, const struct cli_row *row)
{
    const char *sep = "";
    size_t n = strcspn(row->name, " ");

    (void)fprintf(out, "    %.*s) words=\"", (int)n, row->name);
    if (row->name[n] == ' ') {
        print_words(out, row->name);
        sep = " ";
    }
    for (size_t i = 0; i < cli_option_rows_n; i++)
        if ((cli_option_rows[i].bit & (row->options | known_by_all())) != 0) {
            (void)fprintf(out, "%s%s", sep, cli_option_rows[i].name);
            sep = " ";
        }
    (void)fputs("\" ;;\n", out);
}

void cli_print_completion(FILE *out)
{
    (void)fputs("# Completion of hamgr for bash; made by `hamgr completion`.\n"
                "_hamgr() {\n"
                "    local words command= i\n"
                "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                "        [[ ${COMP_WORDS[i]} == -* ]] || { command=${COMP_WORDS[i]}; break; }\n"
                "    done\n"
                "    case $command in\n"
                "    '') words=\"",
                out);
    print_words(out, NULL);
    (void)fputs("\" ;;\n", out);
    for (size_t i = 0; i < cli_rows_n; i++)
        print_case(out, &cli_rows[i]);
    (void)fputs("    *) words= ;;\n"
                "    esac\n"
                "    case ${COMP_WORDS[COMP_CWORD - 1]} in\n"
                "    --config | -c | check | keygen)\n"
                "        COMPREPLY=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\")) ;;\n"
                "    --data-dir) COMPREPLY=($(compgen -d -- \"${COMP_WORDS[COMP_CWORD]}\")) ;;\n"
                "    *) COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")) ;;\n"
                "    esac\n"
                "}\n"
                "complete -F _hamgr hamgr\n",
                out);
}
