/* lease.h - the fence's deadline in a file: what survives the helper's own restart, and what
 * `hamgr guard` asks before a server may start as a primary.
 *
 *     run_dir/NAME.lease   mode, deadlines in boot time, gate, boot id, checksum
 *
 * Written before a mode takes effect. A file of another boot is no file. */
#ifndef FENCE_LEASE_H
#define FENCE_LEASE_H

#include "base/err.h"
#include "view/observation.h"

struct lease {
    enum fence_mode mode;
    hm_ms suspend_ms; /* boot time */
    hm_ms until_ms;
    bool is_gate_open;
};

/* HM_FAILED, HM_NO_SPACE: what was there before is still there. dir is an open directory. */
enum hm_rc lease_save(int dir, const char *service, const struct lease *l,
                      struct hm_err *err) HM_MUST_CHECK;
/* ret_is_there: false when there is none, or one of another boot; ret is then untouched.
 * HM_BAD_INPUT: torn or garbled. HM_FAILED. */
enum hm_rc lease_load(int dir, const char *service, struct lease *ret, bool *ret_is_there,
                      struct hm_err *err) HM_MUST_CHECK;

/* True if a server may be, or come up as, a primary now: a live lease, or a pause. */
bool lease_allows_primary(const struct lease *l, hm_ms now_ms);

#endif
