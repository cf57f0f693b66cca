/* text.h - the text of a settings file before libconfig reads it; for this folder only.
 *
 * libconfig cuts numbers beyond 32 bits to something else without a word, opens whatever an
 * @include names, and finds a text that has no end only at the next quote. So big numbers get the
 * L that makes them long, and the rest is refused here. */
#ifndef HAMGR_SETTINGS_TEXT_H
#define HAMGR_SETTINGS_TEXT_H

#include "base/err.h"

enum { SETTINGS_FILE_MAX = 1 << 20 }; /* bytes of a file: 4096 clusters fit */

/* Reads a whole file. *ret_text is the caller's to free and ends in a NUL. HM_FAILED: it cannot be
 * read, or is no text of at most SETTINGS_FILE_MAX bytes. */
enum hm_rc text_read_file(const char *path, char **ret_text, struct hm_err *err) HM_MUST_CHECK;

/* What is wrong with a text before libconfig may see it. */
struct text_fault {
    unsigned int line; /* 0: nothing */
    const char *what;  /* constant */
};

/* A copy for libconfig, with the same lines; the caller's to free, NULL without memory. The first
 * thing wrong is in *ret_fault. */
char *text_for_libconfig(const char *text, struct text_fault *ret_fault) HM_MUST_CHECK;

#endif
