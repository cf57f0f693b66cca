/* clocks.h - reads the clocks whose disagreement tells of a pause of the machine. */
#ifndef FENCE_CLOCKS_H
#define FENCE_CLOCKS_H

#include "fence/deadline.h"

struct clocks {
    bool has_counter; /* the processor's own, of constant speed */
    bool has_first;   /* a reading to measure its speed from */
    uint64_t first_count;
    hm_ms first_raw_ms;
    double count_per_ms; /* 0: not measured yet */
};

/* Looks whether the processor's counter can be used; its speed is measured anew, as it must be
 * after a pause, which may have fallen into the measurement. */
void clocks_init(struct clocks *c);
/* Reads all at one moment: again if the reader was interrupted in between. */
void clocks_read(struct clocks *c, struct deadline_clocks *ret);

#endif
