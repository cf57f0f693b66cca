/* clocks.c - see clocks.h. */
#include "fence/clocks.h"

#include "base/clock.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum { TRIES = 4, MEASURE_MS = 2000 };

static uint64_t counter(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#else
    return 0;
#endif
}

/* The processor promises that it counts at one speed, in every state of sleep. */
static bool counter_is_steady(void)
{
#if defined(__x86_64__)
    char text[4096];
    int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, sizeof text - 1);
    (void)close(fd); /* opened for reading */
    if (n <= 0)
        return false;
    text[n] = '\0';
    return strstr(text, " constant_tsc") != NULL && strstr(text, " nonstop_tsc") != NULL;
#else
    return false;
#endif
}

void clocks_init(struct clocks *c)
{
    *c = (struct clocks){ .has_counter = counter_is_steady() };
}

/* Its speed is measured once, against the raw clock, over some time. */
static void read_counter(struct clocks *c, uint64_t count, struct deadline_clocks *ret)
{
    ret->has_tsc = false;
    ret->tsc = 0;
    if (!c->has_counter)
        return;
    if (!c->has_first) {
        c->has_first = true;
        c->first_count = count;
        c->first_raw_ms = ret->raw;
    } else if (c->count_per_ms <= 0 && ret->raw - c->first_raw_ms >= MEASURE_MS) {
        c->count_per_ms = (double)(count - c->first_count) / (double)(ret->raw - c->first_raw_ms);
    } else if (c->count_per_ms > 0) {
        ret->has_tsc = true;
        ret->tsc = (hm_ms)((double)(count - c->first_count) / c->count_per_ms);
    }
}

void clocks_read(struct clocks *c, struct deadline_clocks *ret)
{
    uint64_t count = 0;

    for (int i = 0; i < TRIES; i++) {
        ret->boot = clock_read_ms(CLOCK_BOOTTIME);
        ret->raw = clock_read_ms(CLOCK_MONOTONIC_RAW);
        ret->real = clock_read_ms(CLOCK_REALTIME);
        count = counter();
        if (clock_read_ms(CLOCK_BOOTTIME) - ret->boot <= 1)
            break;
    }
    read_counter(c, count, ret);
}
