/* await.h - waiting in tests with real servers.
 *
 * A limit in a call says what the thing takes at most on a quiet machine. Machines that run tests
 * are not quiet: PG_PATIENCE times as long is waited before a test fails. */
#ifndef HAMGR_TESTS_PG_AWAIT_H
#define HAMGR_TESTS_PG_AWAIT_H

#include "base/clock.h"

#define PG_PATIENCE 10

/* Runs the loop by `let(ctx, ms)` until the condition holds. */
#define pg_await(let, ctx, condition)                                                              \
    do {                                                                                           \
        const hm_ms await_end_ms = clock_boot_ms() + 20000;                                        \
                                                                                                   \
        while (!(condition)) {                                                                     \
            if (clock_boot_ms() > await_end_ms)                                                    \
                fail_msg("after 20 s still not: %s", #condition);                                  \
            let(ctx, 5);                                                                           \
        }                                                                                          \
    } while (0)

#define world_await(w, condition) pg_await(world_let, w, condition)
#define trio_await(t, condition) pg_await(trio_let, t, condition)

#endif
