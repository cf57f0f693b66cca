/* ctl.h - requests of the command line and exit codes, shared by `hamgr` and hamgrd. */
#ifndef HAMGR_WIRE_CTL_H
#define HAMGR_WIRE_CTL_H

#include "base/err.h"

enum { CTL_REQUEST_MAX = 4096 }; /* bytes of a request */

/* Exit codes of `hamgr`, and "rc" in every answer: documented and stable. */
enum ctl_exit {
    CTL_DONE = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_REFUSED = 3,
    CTL_NO_QUORUM = 4,
    CTL_TIMED_OUT = 5,
};

enum ctl_exit ctl_exit_of(enum hm_rc rc);

#endif
