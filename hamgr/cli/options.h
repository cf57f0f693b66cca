/* options.h - the options' table, for commands.c and help.c. */
#ifndef HAMGR_CLI_OPTIONS_H
#define HAMGR_CLI_OPTIONS_H

#include "cli/cli.h"

struct cli_option_row {
    const char *name, *letter; /* letter may be NULL */
    const char *value;         /* what to call it; NULL: it takes none */
    enum cli_option bit;
    const char *help;
};

extern const struct cli_option_row cli_option_rows[];
extern const size_t cli_option_rows_n;

/* The command that begins the words, and of how many words its name is; NULL: none. */
const struct cli_row *cli_find(const char *const *word, unsigned words_n, unsigned *ret_used);
void cli_unknown_command(struct cli *c, const char *const *word, unsigned words_n);

#endif
