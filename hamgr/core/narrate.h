/* narrate.h - a decision as one line for people: log, status, traces and told tests. */
#ifndef HAMGR_CORE_NARRATE_H
#define HAMGR_CORE_NARRATE_H

#include "core/core.h"

/* What the last step decided: "db2 rule 39 standing -> prevote: its turn has come", one after the
 * other where it moved more than once; where it did not move, "db2 rule 29 following: the lease of
 * another member runs". Cut to size; always NUL-terminated. Returns line. */
char *core_narrate(const struct core *c, char *line, size_t size);

/* The reason why the member is where it is, as in the decision table; never NULL. */
const char *core_why(const struct core *c);

/* The decision table as text, a row a line, in the order of decision. */
void core_print_rules(void (*print)(void *arg, const char *line), void *arg);

#endif
