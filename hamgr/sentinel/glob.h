/* glob.h - the patterns of PSUBSCRIBE, with the meaning that Redis gives them. Pure. */
#ifndef HAMGR_SENTINEL_GLOB_H
#define HAMGR_SENTINEL_GLOB_H

#include "base/base.h"

/* True if the whole text fits: '*' is any text, '?' any byte, [a-c] and [^a-c] one byte of a set
 * (or not), '\' takes the next byte as it is. A set without an end reaches to the pattern's end.
 * Takes at most pattern_n times text_n steps. */
bool glob_fits(const char *pattern, size_t pattern_n, const char *text, size_t text_n);

#endif
