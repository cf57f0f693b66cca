/* behind.h - for how long has something been there that was not taken yet?
 *
 * Of two positions one runs ahead, as what a standby has received, and one follows, as what it has
 * replayed. Both are only looked at now and then, so that the answer is never too high, and too low
 * by the time between two marks at most. No wall clock is needed, and who has nothing to do is not
 * behind. Pure: reads no clock. */
#ifndef HAMGR_PROBE_BEHIND_H
#define HAMGR_PROBE_BEHIND_H

#include "base/base.h"

enum {
    BEHIND_MAX = 32,       /* marks; when there is no room, every second one goes ... */
    BEHIND_STEP_MS = 1000, /* ... and they are set this far apart, then twice as far ... */
};

struct behind {
    uint64_t ahead[BEHIND_MAX]; /* what was there at that time, and is not taken yet */
    hm_ms at_ms[BEHIND_MAX];
    unsigned int n;
    hm_ms step_ms; /* 0: as at the beginning */
    uint64_t taken;
};

/* All zero is a good beginning. Who went back, as a copy made anew does, begins anew. */
void behind_note(struct behind *b, uint64_t ahead, uint64_t taken, hm_ms now_ms);
/* How long the oldest of what is not taken has been there; 0: all is taken. */
hm_ms behind_ms(const struct behind *b, hm_ms now_ms);

#endif
