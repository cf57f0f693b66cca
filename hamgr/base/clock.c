/* clock.c - see clock.h. */
#include "base/clock.h"

hm_ms clock_read_ms(clockid_t which)
{
    struct timespec t;

    (void)clock_gettime(which, &t); /* cannot fail for a clock that Linux has had since 2.6.39 */
    return (hm_ms)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

hm_ms clock_boot_ms(void)
{
    return clock_read_ms(CLOCK_BOOTTIME);
}

hm_ms clock_wall_ms(void)
{
    return clock_read_ms(CLOCK_REALTIME);
}

struct timeval clock_timeval(hm_ms wait_ms)
{
    hm_ms ms = hm_max_ms(0, wait_ms);

    return (struct timeval){ .tv_sec = (time_t)(ms / 1000),
                             .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
}
