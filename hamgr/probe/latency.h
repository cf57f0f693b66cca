/* latency.h - how long the last writes took: a ring, and what a person wants to know of it.
 *
 * Pure: reads no clock. */
#ifndef HAMGR_PROBE_LATENCY_H
#define HAMGR_PROBE_LATENCY_H

#include "base/base.h"

enum { LATENCY_MAX = 240 }; /* of an idle server four minutes, of a busy one some more */

struct latency {
    uint32_t us[LATENCY_MAX]; /* the newest, in a ring */
    hm_ms at_ms[LATENCY_MAX]; /* when each was over */
    unsigned int n, next;
};

struct latency_summary {
    unsigned int n; /* writes that the rest is about; 0: none */
    uint32_t p50_us, p95_us, p99_us;
    uint32_t worst_us;
    hm_ms worst_at_ms;
};

void latency_note(struct latency *l, int64_t us, hm_ms now_ms);
void latency_summarise(const struct latency *l, struct latency_summary *ret);

#endif
