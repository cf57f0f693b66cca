/* parting.h - where two logs of one timeline part: a copy that was made a primary by hand wrote on
 * the number that it followed, so no history tells it. Its log is compared with that of the source,
 * page by page. */
#ifndef HAMGR_POSTGRES_PARTING_H
#define HAMGR_POSTGRES_PARTING_H

#include "postgres/op.h"

enum { PARTING_PAGE = 8192 };

/* A step of a rewind or a clone, once the source is known. op->number is then where the own log,
 * seen last in op->s->seen, stops being the source's, at most a record too early; the end of the
 * own log if it never does; 0 if the source did not tell (op->why). op->position is where the own
 * log begins: what is older is not here any more. Nothing is changed. */
void parting_find(struct op *op, op_step *then);

/* The first byte of `own` that `theirs` has not the same; n if there is none. */
size_t parting_compare(const unsigned char *own, const unsigned char *theirs, size_t n);
/* Reads n bytes from their hexadecimal text; false: it is none, or not so long. */
bool parting_read_hex(const char *text, unsigned char *ret, size_t n);

#endif
