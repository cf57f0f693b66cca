/* rnotes.h - what hamgrd must still know of a Redis server after a restart of its own.
 *
 *     state_dir/NAME.copy
 *
 * The server tells everything else itself, but not while it is stopped, and not how often it took
 * all data anew. A torn or foreign file is an error with a clear message; none is empty notes.
 * rnotes_load() and rnotes_save() block. */
#ifndef HAMGR_REDIS_RNOTES_H
#define HAMGR_REDIS_RNOTES_H

#include "base/err.h"
#include "redis/info.h"

struct rnotes {
    char run_id[INFO_ID_SIZE]; /* of the newest run that was seen; "": none */
    pid_t pid;                 /* of its process ... */
    uint64_t started;          /* ... which began then, in clock ticks ... */
    uint64_t boot_id;          /* ... of that boot */
    uint64_t renewals;         /* how often it took all data anew since */
    bool is_half;              /* it began to, and that did not end */
    bool was_primary;
};

enum hm_rc rnotes_load(const char *state_dir, const char *service, struct rnotes *ret,
                       struct hm_err *err) HM_MUST_CHECK;
enum hm_rc rnotes_save(const char *state_dir, const char *service, const struct rnotes *n,
                       struct hm_err *err) HM_MUST_CHECK;

#endif
