#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char cut_mark[] = "...";

const char *hm_rc_text(enum hm_rc rc)
{
#define HM_RC_TEXT(code, text) [code] = (text),
    static const char *const texts[] = { HM_RC_LIST(HM_RC_TEXT) };
#undef HM_RC_TEXT

    return (size_t)rc < HM_ARRAY_LEN(texts) ? texts[rc] : "unknown result";
}

/* Shows that bytes are missing, in a text that fills its buffer. */
static void mark_cut(struct hm_err *err)
{
    memcpy(err->text + sizeof err->text - sizeof cut_mark, cut_mark, sizeof cut_mark);
}

/* Appends at `used`, which may be the full buffer already; returns the length it would have. */
HM_PRINTF(3, 0)
static size_t append(struct hm_err *err, size_t used, const char *format, va_list args)
{
    size_t left = used < sizeof err->text ? sizeof err->text - used : 0;
    int n = vsnprintf(left > 0 ? err->text + used : NULL, left, format, args);

    return n > 0 ? used + (size_t)n : used; /* an encoding error adds nothing */
}

static size_t append_text(struct hm_err *err, size_t used, const char *text)
{
    size_t wanted = strlen(text);

    if (used < sizeof err->text) {
        size_t room = sizeof err->text - 1 - used;
        size_t n = wanted < room ? wanted : room;

        memcpy(err->text + used, text, n);
        err->text[used + n] = '\0';
    }
    return used + wanted;
}

static void finish(struct hm_err *err, size_t length)
{
    if (length >= sizeof err->text)
        mark_cut(err);
}

enum hm_rc hm_fail(struct hm_err *err, enum hm_rc rc, const char *format, ...)
{
    va_list args;

    HM_BUG_ON(rc == HM_OK);
    if (err == NULL)
        return rc;
    err->text[0] = '\0';
    va_start(args, format);
    finish(err, append(err, 0, format, args));
    va_end(args);
    return rc;
}

static enum hm_rc rc_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return HM_NO_SPACE;
    case ETIMEDOUT:
        return HM_TIMED_OUT;
    default:
        return HM_FAILED;
    }
}

enum hm_rc hm_fail_errno(struct hm_err *err, const char *format, ...)
{
    int number = errno;
    char reason[128];
    size_t length;
    va_list args;

    if (err == NULL)
        return rc_of_errno(number);
    err->text[0] = '\0';
    va_start(args, format);
    length = append(err, 0, format, args);
    va_end(args);
    length = append_text(err, length, ": ");
    length = append_text(err, length, strerror_r(number, reason, sizeof reason));
    finish(err, length);
    errno = number;
    return rc_of_errno(number);
}

void hm_wrap(struct hm_err *err, const char *format, ...)
{
    struct hm_err inner;
    size_t length;
    va_list args;

    if (err == NULL)
        return;
    inner = *err;
    err->text[0] = '\0';
    va_start(args, format);
    length = append(err, 0, format, args);
    va_end(args);
    length = append_text(err, length, ": ");
    finish(err, append_text(err, length, inner.text));
}
