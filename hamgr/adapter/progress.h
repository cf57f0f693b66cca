/* progress.h - how far something long is, and how fast, out of the lines that programs write. */
#ifndef HAMGR_ADAPTER_PROGRESS_H
#define HAMGR_ADAPTER_PROGRESS_H

#include "base/base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    bool is_known;
    uint8_t percent;      /* at most 100 */
    uint64_t done;        /* bytes; 0 with total 0: only the percentage is known */
    uint64_t total;       /* bytes, as estimated; 0: not known */
    uint64_t bytes_per_s; /* lately; 0: not known yet */
    hm_ms from_ms;        /* since when that is counted ... */
    uint64_t from_done;   /* ... and how much was done then */
};

/* Takes a line such as "  123/4567 kB (2%), 0/1 tablespace" of pg_basebackup and pg_rewind, or one
 * of any program with a percentage in it. False: it tells nothing, and p is as it was. */
bool progress_take(struct progress *p, const char *line, hm_ms now_ms);
/* "27 %, 1.2 GB of 4.5 GB, 88 MB/s"; "" when nothing is known. */
void progress_print(const struct progress *p, char *buffer, size_t size);
/* "1.2 GB" */
void progress_bytes(uint64_t bytes, char *buffer, size_t size);

#endif
