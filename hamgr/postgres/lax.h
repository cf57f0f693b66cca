/* lax.h - whose commits do not wait for a standby although the service is synchronous: a
 * synchronous_commit below "on" in the settings, or of a role or database. A session that lowers it
 * for itself is not seen. */
#ifndef HAMGR_POSTGRES_LAX_H
#define HAMGR_POSTGRES_LAX_H

#include "base/base.h"

#include <libpq-fe.h>

extern const char lax_sql[];

/* "synchronous_commit is off for role bob"; "" when everybody waits. */
void lax_read(const PGresult *result, char *ret_text, size_t size);

#endif
