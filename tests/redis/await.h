/* await.h - waiting in tests with real servers.
 *
 * A limit in a call says what the thing takes at most on a quiet machine. Machines that run tests
 * are not quiet: REDIS_PATIENCE times as long is waited before a test fails. */
#ifndef HAMGR_TESTS_REDIS_AWAIT_H
#define HAMGR_TESTS_REDIS_AWAIT_H

#include "base/clock.h"

#define REDIS_PATIENCE 10

/* Runs the loop until the condition holds. */
#define world_await(w, condition)                                                                  \
    do {                                                                                           \
        const hm_ms await_end_ms = clock_boot_ms() + 20000;                                        \
                                                                                                   \
        while (!(condition)) {                                                                     \
            if (clock_boot_ms() > await_end_ms)                                                    \
                fail_msg("after 20 s still not: %s", #condition);                                  \
            world_let(w, 2);                                                                       \
        }                                                                                          \
    } while (0)

#endif
