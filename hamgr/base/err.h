/* err.h - how a function says that it failed: a code for the program, a text for the person.
 *
 * The text is written where the failure is known and gets context in front on its way up:
 * "loading 'x': format version 7 is unknown". This module never logs and never ends the program. */

#ifndef HAMGR_BASE_ERR_H
#define HAMGR_BASE_ERR_H

#include "base/base.h"

/* All results. The text says what happened in general; what exactly happened is in the hm_err. */
#define HM_RC_LIST(X)                                                                              \
    X(HM_OK, "done")                                                                               \
    X(HM_FAILED, "failed")                                                                         \
    X(HM_BAD_INPUT, "bad input")                                                                   \
    X(HM_REFUSED, "refused by a safety rule")                                                      \
    X(HM_NO_QUORUM, "no quorum")                                                                   \
    X(HM_TIMED_OUT, "timed out")                                                                   \
    X(HM_NO_SPACE, "no space left")

#define HM_RC_ENUM(code, text) code,
enum hm_rc { HM_RC_LIST(HM_RC_ENUM) HM_RC_COUNT };
#undef HM_RC_ENUM

enum { HM_ERR_TEXT_MAX = 256 }; /* bytes of a failure's text, with the final NUL */

/* A failure's text; storage of the caller. Meaningful only after a function returned a failure.
 * A text that does not fit is cut at its end and then ends in "...", so the context, which stands
 * in front, survives. */
struct hm_err {
    char text[HM_ERR_TEXT_MAX];
};

/* The general text of a code, a constant; "unknown result" for a number that is no code. */
const char *hm_rc_text(enum hm_rc rc);

/* Writes the text and returns rc, so that a failure is one statement:
 *     return hm_fail(err, HM_BAD_INPUT, "port %d is out of range", port);
 *
 * err  overwritten; may be NULL when the caller wants the code only.
 * rc   the failure; HM_OK is a bug in the caller and ends the program. */
enum hm_rc hm_fail(struct hm_err *err, enum hm_rc rc, const char *format, ...) HM_PRINTF(3, 4);

/* The same for a failed system call: adds ": " and the text of errno, and leaves errno as it is.
 * Returns HM_NO_SPACE for ENOSPC and EDQUOT, HM_TIMED_OUT for ETIMEDOUT, else HM_FAILED. */
enum hm_rc hm_fail_errno(struct hm_err *err, const char *format, ...) HM_PRINTF(2, 3);

/* Puts context and ": " in front of the text; err may be NULL. */
void hm_wrap(struct hm_err *err, const char *format, ...) HM_PRINTF(2, 3);

#endif
