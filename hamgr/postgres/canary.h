/* canary.h - a small write of hamgrd's own on a database's disk, in a thread of its own.
 *
 * A commit that does not return may wait for a busy disk, or for one that hangs. The canary does
 * what a commit does, a write and fdatasync() of a file without a name, and is watched while it
 * does: hung is a disk on which this thread neither runs nor waits for the processor, and which
 * completes no write of anybody. It writes only when asked to. */
#ifndef HAMGR_POSTGRES_CANARY_H
#define HAMGR_POSTGRES_CANARY_H

#include "base/err.h"

#include <event2/event.h>

struct canary;

struct canary_seen {
    bool is_out;      /* a write is under way ... */
    hm_ms out_ms;     /* ... for so long */
    hm_ms hung_ms;    /* it is proved for so long that the disk hangs; 0: it is not. Half of it only
                       * counts where the kernel does not tell what the disk completes. */
    hm_ms quiet_ms;   /* the disk has completed nothing for so long, as far as is known */
    bool has_counter; /* the kernel tells what the disk completes */
    bool is_refused;  /* the newest write failed: why says how */
    char why[96];
};

/* dir is copied. HM_FAILED: no thread. */
enum hm_rc canary_new(struct event_base *base, const char *dir, struct canary **ret,
                      struct hm_err *err) HM_MUST_CHECK;
/* Waits for the write under way, as worker_free() does. NULL is fine. */
void canary_free(struct canary *c);
/* Begins a write, unless one is under way or the last one began a moment ago. */
void canary_begin(struct canary *c, hm_ms now_ms);
/* Looks at it and at its disk. What is told for how long counts from the first look that found it
 * so: two looks prove something, and the more the longer. */
void canary_look(struct canary *c, hm_ms now_ms, struct canary_seen *ret);

/* True if they are known to write to one and the same disk. */
bool canary_shares_disk(const struct canary *a, const struct canary *b);

#endif
