/* trace_code.h - what a body of a trace holds, for trace.c only.
 *
 * Each function describes one struct, for both directions: it writes the struct, or overwrites it
 * with what it reads. A fault is noted in the codec and ends both; then what was read is void. */
#ifndef HAMGR_CORE_TRACE_CODE_H
#define HAMGR_CORE_TRACE_CODE_H

#include "core/trace.h"

/* A place in a buffer that is written or read. */
struct codec {
    uint8_t *to;         /* written to; NULL: reading */
    const uint8_t *from; /* read from */
    size_t at;
    size_t size;
    const char *why; /* the first fault; from then on nothing is read or written */
};

/* Where a fault means that the buffer is too small, `why` is this very text. */
extern const char trace_no_room[];

void trace_code_config(struct codec *x, struct core_config *c);
/* While reading, *ev must be all zero; its pointers then lead into *s. */
void trace_code_event(struct codec *x, struct core_event *ev, struct trace_storage *s);

#endif
