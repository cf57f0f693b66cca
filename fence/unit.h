/* unit.h - starts a unit of systemd, so that a server never lives in the cgroup of hamgrd. */
#ifndef FENCE_UNIT_H
#define FENCE_UNIT_H

#include "base/err.h"

/* Asks for the start without waiting for it. HM_FAILED: systemctl cannot be run. */
enum hm_rc unit_start(const char *unit, struct hm_err *err) HM_MUST_CHECK;
/* Takes the children that ended and logs those that failed: after SIGCHLD. */
void unit_reap(void);

#endif
