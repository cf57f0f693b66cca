/* text.h - builds a text in a buffer of fixed size, so that pure code needs no printf.
 *
 * Adding never fails: what does not fit is left out and is_truncated says so. The buffer always
 * holds a C string. Nothing is allocated; nothing here depends on the locale. */

#ifndef HAMGR_BASE_TEXT_H
#define HAMGR_BASE_TEXT_H

#include "base/base.h"

struct text {
    char *at;          /* borrowed from the caller of text_init() */
    size_t size;       /* bytes of the buffer, with the final NUL */
    size_t length;     /* characters in it, without the final NUL */
    bool is_truncated; /* something was left out; then nothing more is added */
};

/* Starts an empty text in a buffer that must live as long as t. A size of 0 is a bug. */
void text_init(struct text *t, char *buffer, size_t size_bytes);

/* Add at the end; as much as fits of a string, a number wholly or not at all. */
void text_add(struct text *t, const char *string);
void text_add_char(struct text *t, char c);
void text_add_u64(struct text *t, uint64_t number);
void text_add_i64(struct text *t, int64_t number);

/* Adds blanks until the text is `column` characters long; a longer text stays as it is. */
void text_pad(struct text *t, size_t column);

#endif
