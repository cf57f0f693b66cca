/* settings.c - prints what is made from the schema of the settings: a tool for `make golden`. */
#include "settings/settings.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";

    if (strcmp(what, "hamgr.conf") == 0) {
        settings_print_example(stdout);
    } else if (strcmp(what, "witness.conf") == 0) {
        settings_print_witness_example(stdout);
    } else if (strcmp(what, "settings.md") == 0) {
        settings_print_manual(stdout);
    } else {
        (void)fprintf(stderr, "usage: settings hamgr.conf|witness.conf|settings.md\n");
        return 2;
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
