/* stuck.h - does a thread hang, or does it only wait for its turn?
 *
 * On an overloaded machine a thread that has something to do is runnable, or runs now and then: the
 * kernel counts how often it was put on a processor. One that is neither, from one look to the
 * next, hangs in the kernel or is stopped. Reads /proc only, which no disk can hold up. */
#ifndef HAMGR_PROBE_STUCK_H
#define HAMGR_PROBE_STUCK_H

#include "base/base.h"

#include <sys/types.h>

/* What was seen of one thread; begins zeroed. */
struct stuck {
    pid_t tid;
    uint64_t started; /* so that a number used again is another thread */
    uint64_t switches;
    hm_ms since_ms; /* it has not run since then, as far as was looked */
    char state;     /* as in /proc: R, S, D, T ...; 0: it is not there */
};

/* Looks at a thread; a process is its own first thread. Returns for how long it is known not to
 * have run, nor to have wanted to; 0: it did, is another one than at the last look, or is gone. */
hm_ms stuck_look(struct stuck *s, pid_t pid, pid_t tid, hm_ms now_ms);
/* Forgets what was seen. */
void stuck_forget(struct stuck *s);
/* In the kernel where nothing disturbs it: a disk, usually. */
bool stuck_is_in_kernel(const struct stuck *s);
/* Stopped by a signal, or by whoever traces it. */
bool stuck_is_stopped(const struct stuck *s);

/* How many percent of the last ten seconds somebody waited for the processor, or for a disk;
 * negative: this kernel does not tell. For people: nothing is decided by it. */
int stuck_pressure(bool is_disk);

#endif
