/* forecast.h - when will a disk be full, if it goes on like this?
 *
 * A straight line through what was free in the last ten minutes, so that one checkpoint, which
 * gives much back at once, does not change the answer. Pure: reads no clock. */
#ifndef HAMGR_PROBE_FORECAST_H
#define HAMGR_PROBE_FORECAST_H

#include "base/base.h"

enum {
    FORECAST_MAX = 60,        /* what is remembered ... */
    FORECAST_STEP_MS = 10000, /* ... at least so far apart */
    FORECAST_MIN_MS = 60000,  /* a shorter time tells nothing */
};

struct forecast {
    uint64_t free_bytes[FORECAST_MAX]; /* in a ring */
    hm_ms at_ms[FORECAST_MAX];
    unsigned int n, next;
};

/* What comes too soon after the last one is left out. */
void forecast_note(struct forecast *f, uint64_t free_bytes, hm_ms now_ms);
/* In how many ms nothing is left; HM_NEVER: it does not fill up, or that is not known yet. */
hm_ms forecast_full_ms(const struct forecast *f);

#endif
