#include "base/text.h"

#include <string.h>

enum { U64_DIGITS_MAX = 20 };

static size_t room(const struct text *t)
{
    return t->is_truncated ? 0 : t->size - 1 - t->length;
}

static void add_bytes(struct text *t, const char *bytes, size_t n)
{
    memcpy(t->at + t->length, bytes, n);
    t->length += n;
    t->at[t->length] = '\0';
}

void text_init(struct text *t, char *buffer, size_t size_bytes)
{
    HM_BUG_ON(size_bytes == 0);
    *t = (struct text){ .at = buffer, .size = size_bytes };
    buffer[0] = '\0';
}

void text_add(struct text *t, const char *string)
{
    size_t wanted = strlen(string);
    size_t n = wanted < room(t) ? wanted : room(t);

    add_bytes(t, string, n);
    if (n < wanted)
        t->is_truncated = true;
}

void text_add_char(struct text *t, char c)
{
    text_add(t, (const char[]){ c, '\0' });
}

/* Half a number would be a wrong number: so all of it or nothing. */
static void add_number(struct text *t, bool is_negative, uint64_t magnitude)
{
    char digits[U64_DIGITS_MAX + 1];
    size_t first = sizeof digits;

    do {
        digits[--first] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude > 0);
    if (is_negative)
        digits[--first] = '-';

    if (sizeof digits - first <= room(t))
        add_bytes(t, digits + first, sizeof digits - first);
    else
        t->is_truncated = true;
}

void text_add_u64(struct text *t, uint64_t number)
{
    add_number(t, false, number);
}

void text_add_i64(struct text *t, int64_t number)
{
    add_number(t, number < 0, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

void text_pad(struct text *t, size_t column)
{
    while (t->length < column && !t->is_truncated)
        text_add_char(t, ' ');
}
