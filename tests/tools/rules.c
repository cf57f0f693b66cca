/* rules.c - prints the decision table, a row a line: `make rules`. */
#include "core/narrate.h"

#include <stdio.h>

static void print_line(void *arg, const char *line)
{
    (void)fprintf(arg, "%s\n", line); /* main() looks for failures once, at the end */
}

int main(void)
{
    core_print_rules(print_line, stdout);
    return fflush(stdout) == 0 && ferror(stdout) == 0 ? 0 : 1;
}
