/* chronicle.h - what happened to the copy of this member, kept over restarts of hamgrd for `hamgr
 * history`: rebuilds, dropped slots, disks that ran short, alerts.
 *
 * Only what this member saw itself; the newest CHRONICLE_MAX lines, in one small file of state_dir
 * that is written anew by a thread of its own. Nothing depends on it: a file that is damaged counts
 * as empty, and a disk that cannot be written costs the lines of before the next restart only. */
#ifndef HAMGR_ADAPTER_CHRONICLE_H
#define HAMGR_ADAPTER_CHRONICLE_H

#include "base/err.h"

#include <event2/event.h>

enum { CHRONICLE_MAX = 64, CHRONICLE_TEXT = 160 };

/* One that is the same as the newest before it counts as that one. */
struct chronicle_line {
    hm_ms first_ms, last_ms; /* wall clock, for people */
    unsigned int times;
    char text[CHRONICLE_TEXT];
};

struct chronicle;

/* Reads state_dir/SERVICE.history; blocks, at the start of hamgrd only. HM_FAILED: no memory, no
 * thread. *ret_is_damaged: there was a file, and it is not to be read. */
enum hm_rc chronicle_open(struct event_base *base, const char *state_dir, const char *service,
                          struct chronicle **ret, bool *ret_is_damaged,
                          struct hm_err *err) HM_MUST_CHECK;
/* Waits for a write under way; what was noted since it began is written, too. NULL is fine. */
void chronicle_close(struct chronicle *c);
/* NULL is fine: then nothing is kept. */
void chronicle_note(struct chronicle *c, hm_ms wall_ms, const char *text);
/* The lines, the oldest first; borrowed until the next note. */
const struct chronicle_line *chronicle_lines(const struct chronicle *c, size_t *ret_n);

#endif
