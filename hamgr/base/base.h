/* base.h - the few types, attributes and limits that every other file may rely on.
 *
 * It holds no state and does nothing: whatever needs code has its own module beside it. */

#ifndef HAMGR_BASE_BASE_H
#define HAMGR_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAMGR_VERSION "0.1"

/* Milliseconds of CLOCK_BOOTTIME. Never wall-clock time; only differences mean anything. */
typedef int64_t hm_ms;

/* The moment that does not come: a deadline nobody waits for. */
#define HM_NEVER INT64_MAX

/* Limits. Each list in hamgr has one of these, and a test at the limit. */
enum {
    HM_MEMBERS_MAX = 9,    /* members of a cluster: databases, witnesses and observers */
    HM_NAME_MAX = 32,      /* bytes of a name, with the final NUL */
    HM_ADDRESS_MAX = 64,   /* bytes of host and port, with the final NUL */
    HM_PAIRS_MAX = 4,      /* sync pairs of one record */
    HM_CHANGES_MAX = 16,   /* changes of primary that a record remembers */
    HM_TIMELINES_MAX = 32, /* timelines that a record remembers */
    HM_SERVICES_MAX = 16,  /* services of one cluster */
};

/* The caller must look at what the function returns. */
#define HM_MUST_CHECK __attribute__((warn_unused_result))

/* Argument number `text` is a printf format for the arguments from number `first` on; `first` is 0
 * where these come as a va_list. */
#define HM_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* Elements of an array. Wrong for a pointer, which the compiler says (-Wsizeof-pointer-div). */
#define HM_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* Ends the program when `cond` holds: only for our own mistakes, in releases, too. Never to be
 * reachable from a packet, a file, a setting or a database; those are refused with an hm_err. */
#define HM_BUG_ON(cond) ((cond) ? hm_bug(__FILE__, __LINE__, #cond) : (void)0)

/* Writes "FILE:LINE: bug: TEXT" to stderr and aborts. Does not return, allocates nothing. */
_Noreturn void hm_bug(const char *file, int line, const char *text);

static inline hm_ms hm_min_ms(hm_ms a, hm_ms b)
{
    return a < b ? a : b;
}

static inline hm_ms hm_max_ms(hm_ms a, hm_ms b)
{
    return a > b ? a : b;
}

#endif
