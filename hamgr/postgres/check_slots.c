/* check_slots.c - replication slots that nobody uses keep log for ever, and slots may run out. */
#include "postgres/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMN_MAX, COLUMN_USED, COLUMN_NAME, COLUMN_HELD };

/* hamgr looks after those that it named itself. The first row has no name where there are none. */
const char *const check_slots_sql =
    "SELECT current_setting('max_replication_slots'),"
    " (SELECT count(*) FROM pg_replication_slots),"
    " slot_name, p.lsn - restart_lsn"
    " FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
    "   ELSE pg_current_wal_lsn() END AS lsn) p"
    " LEFT JOIN pg_replication_slots ON NOT active AND NOT temporary AND restart_lsn < p.lsn"
    "   AND slot_name !~ '^hamgr_.+_[0-9a-f]{16}$'"
    " ORDER BY restart_lsn LIMIT 4";

static void look_at_number(const PGresult *result, struct service_finding *ret)
{
    long max = strtol(PQgetvalue(result, 0, COLUMN_MAX), NULL, 10);
    long used = strtol(PQgetvalue(result, 0, COLUMN_USED), NULL, 10);

    memset(ret, 0, sizeof *ret);
    (void)snprintf(ret->name, sizeof ret->name, "replication slots");
    ret->is_ok = used < max;
    (void)snprintf(ret->text, sizeof ret->text, "%ld of %ld are in use%s", used, max,
                   ret->is_ok ? "" : ": no standby could be cloned");
    if (!ret->is_ok)
        (void)snprintf(ret->next, sizeof ret->next,
                       "ALTER SYSTEM SET max_replication_slots = %ld; then restart the server",
                       used + 4);
}

static void look_at_unused(const PGresult *result, int row, struct service_finding *ret)
{
    const char *name = PQgetvalue(result, row, COLUMN_NAME);

    memset(ret, 0, sizeof *ret);
    (void)snprintf(ret->name, sizeof ret->name, "slot %.42s", name);
    (void)snprintf(ret->text, sizeof ret->text,
                   "nobody uses it, and it keeps %lld MB of log, more and more",
                   strtoll(PQgetvalue(result, row, COLUMN_HELD), NULL, 10) >> 20);
    (void)snprintf(ret->next, sizeof ret->next, "SELECT pg_drop_replication_slot('%s')", name);
}

size_t check_slots(const PGresult *result, struct service_finding *ret)
{
    size_t n = 0;

    if (PQntuples(result) == 0)
        return 0;
    look_at_number(result, &ret[n++]);
    for (int row = 0; row < PQntuples(result) && n < CHECK_SLOTS_MAX; row++)
        if (PQgetisnull(result, row, COLUMN_NAME) == 0)
            look_at_unused(result, row, &ret[n++]);
    return n;
}
