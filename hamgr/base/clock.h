/* clock.h - the time that hamgr counts in. */
#ifndef HAMGR_BASE_CLOCK_H
#define HAMGR_BASE_CLOCK_H

#include "base/base.h"

#include <sys/time.h>
#include <time.h>

/* Milliseconds of a clock that Linux has. */
hm_ms clock_read_ms(clockid_t which);
/* Milliseconds of CLOCK_BOOTTIME: it goes on while the machine sleeps, and nobody sets it. */
hm_ms clock_boot_ms(void);
/* Milliseconds since 1970, for people only. */
hm_ms clock_wall_ms(void);
/* A time to wait, as libevent wants it; none if it is negative. */
struct timeval clock_timeval(hm_ms wait_ms);

#endif
