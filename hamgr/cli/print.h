/* print.h - lines of a table for people: columns, colours, units. Never wider than c->columns.
 *
 * Texts may come from a database or from another host: what could steer a terminal is left out. */
#ifndef HAMGR_CLI_PRINT_H
#define HAMGR_CLI_PRINT_H

#include "cli/cli.h"

enum print_colour { PRINT_PLAIN, PRINT_BOLD, PRINT_GREEN, PRINT_YELLOW, PRINT_RED, PRINT_DIM };

/* One line that grows to the right. Storage of the caller. */
struct print_line {
    struct cli *c;
    unsigned column; /* behind the last letter */
    unsigned at;     /* where the next one comes; blanks are written with it */
    bool is_full;    /* it was cut at the right edge; nothing more is added */
};

void print_begin(struct print_line *l, struct cli *c);
/* Adds a text in a colour; cuts at the edge. */
void print_add(struct print_line *l, enum print_colour colour, const char *text);
void print_addf(struct print_line *l, enum print_colour colour, const char *format, ...)
    HM_PRINTF(3, 4);
/* What is added next stands in that column, or behind one blank. */
void print_to(struct print_line *l, unsigned column);
void print_end(struct print_line *l);

/* A text broken at blanks into lines, the first behind `first`, the others indented as far. */
void print_wrapped(struct cli *c, enum print_colour colour, const char *first, const char *text);

/* "0 B", "96 B", "1.5 kB", "16 MB" */
void print_bytes(char text[24], uint64_t bytes);
/* "0.1 s", "12 s", "3 min", "2 h", "5 d" */
void print_span(char text[24], hm_ms ms);

/* Fields of a document: what is not there, or null, is "" , 0 or false. */
const char *print_text(const json_t *j, const char *key);
long long print_number(const json_t *j, const char *key);
bool print_is(const json_t *j, const char *key);

#endif
