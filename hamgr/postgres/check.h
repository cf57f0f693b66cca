/* check.h - the parts of `hamgr check`. Only check*.c include it. */
#ifndef HAMGR_POSTGRES_CHECK_H
#define HAMGR_POSTGRES_CHECK_H

#include "postgres/inner.h"

enum { CHECK_RIGHTS_MAX = 8, CHECK_SLOTS_MAX = 5, CHECK_SQL_MAX = 1024 };

/* What asks for the rights of a database user. */
void check_rights_sql(const char *user, char *buffer, size_t size);
/* What the answer means: at most CHECK_RIGHTS_MAX findings; returns how many. */
size_t check_rights(const char *user, const PGresult *result, struct service_finding *ret);

extern const char *const check_slots_sql;
/* At most CHECK_SLOTS_MAX findings. */
size_t check_slots(const PGresult *result, struct service_finding *ret);

#endif
