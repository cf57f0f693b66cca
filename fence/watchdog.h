/* watchdog.h - the hardware watchdog: it resets the machine when it is not fed.
 *
 * When to feed it is decided in deadline.c and tested there. This part, the device itself, could
 * not be tried where it was written: that kernel has no watchdog, not even softdog. */
#ifndef FENCE_WATCHDOG_H
#define FENCE_WATCHDOG_H

#include "base/err.h"

enum { WATCHDOG_TIMEOUT_S = 10, WATCHDOG_FEED_MS = 2000 };

struct watchdog {
    int fd; /* -1: none */
};

/* Opens the device, which starts it. w->fd is -1 on failure. watchdog_done() is due in any case. */
enum hm_rc watchdog_open(struct watchdog *w, const char *device, struct hm_err *err) HM_MUST_CHECK;
void watchdog_feed(struct watchdog *w);
/* is_safe: the machine may live on without a helper; else it is left armed. */
void watchdog_done(struct watchdog *w, bool is_safe);

#endif
