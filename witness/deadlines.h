/* deadlines.h - which of many registers wants to be woken first, and a timer for it.
 *
 * A heap, so that a thousand clusters cost no look at all of them, and one timer that counts
 * CLOCK_BOOTTIME. It fires in steps of DEADLINES_STEP_MS: a witness may be that late, and many
 * clusters are served in one turn of the loop. */
#ifndef WITNESS_DEADLINES_H
#define WITNESS_DEADLINES_H

#include "base/err.h"

#include <event2/event.h>

enum { DEADLINES_STEP_MS = 10 };

/* A member of what waits; zero-initialised. */
struct deadline {
    hm_ms at_ms;
    size_t place; /* in the heap, from 1; 0: it does not wait */
};

/* late_ms: how much later than asked for the loop came; the due ones are taken by deadlines_due().
 */
typedef void deadlines_fired(void *ctx, hm_ms now_ms, hm_ms late_ms);

struct deadlines {
    struct deadline **heap; /* owned; its first place stays unused */
    size_t n;
    size_t room;
    int fd;
    struct event *event;
    hm_ms armed_ms; /* HM_NEVER: the timer is off */
    bool is_firing; /* the timer is set once, afterwards */
    deadlines_fired *fired;
    void *ctx;
};

/* HM_FAILED: no timer. */
enum hm_rc deadlines_init(struct deadlines *d, struct event_base *base, deadlines_fired *fired,
                          void *ctx, struct hm_err *err) HM_MUST_CHECK;
void deadlines_done(struct deadlines *d);

/* Makes room for n that wait. HM_FAILED: out of memory. */
enum hm_rc deadlines_reserve(struct deadlines *d, size_t n) HM_MUST_CHECK;
/* Sets or moves a deadline; HM_NEVER takes it out. There must be room: a bug otherwise. */
void deadlines_set(struct deadlines *d, struct deadline *which, hm_ms at_ms);
/* Takes the first one out if it is due, else NULL. */
struct deadline *deadlines_due(struct deadlines *d, hm_ms now_ms);

#endif
