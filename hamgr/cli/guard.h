/* guard.h - no PostgreSQL comes up writable without the lease.
 *
 * Run before a server starts, by systemd (conf/systemd) as root or as the server's user; works
 * without hamgrd. With a live lease, or a pause, the data directory is left as it is. Otherwise
 * standby.signal is written, so that the server comes up in recovery, where it acknowledges
 * nothing; hamgrd promotes it over SQL once it holds the lease. standby.signal is never removed
 * here: promoting costs a tenth of a second, while a server that recovers for long without it
 * could become writable after the lease has ended. primary_conninfo is left alone, too: following
 * a primary of the past does no harm, and hamgrd sets it right. */
#ifndef HAMGR_CLI_GUARD_H
#define HAMGR_CLI_GUARD_H

#include "base/err.h"

enum guard_did {
    GUARD_NO_DATA,   /* there is no database in the directory */
    GUARD_LEFT,      /* the lease allows a primary */
    GUARD_WAS_THERE, /* standby.signal stood there */
    GUARD_WRITTEN,   /* ... and was made durable now */
};

/* Makes the copy in data_dir safe to start.
 *
 * may_be_primary  the lease allows it (guard_lease()).
 *
 * HM_FAILED, HM_NO_SPACE: it may not start. */
enum hm_rc guard_apply(const char *data_dir, bool may_be_primary, enum guard_did *ret_did,
                       struct hm_err *err) HM_MUST_CHECK;

/* What the fence's file in run_dir says at now_ms: may the service be a primary. Whatever cannot be
 * read is no lease. why[0] is '\0' unless that is worth telling. */
bool guard_lease(const char *run_dir, const char *service, hm_ms now_ms, char why[HM_ERR_TEXT_MAX]);

/* Is hamgr only installed here: there is no settings file, and hamgrd has never run, because
 * systemd would have made state_dir for it (StateDirectory=). Then no server is any of its
 * business; a lost file of settings alone is not enough for that. */
bool guard_is_new_here(const char *settings_file, const char *state_dir);

#endif
