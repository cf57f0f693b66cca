#include "postgres/lax.h"

#include <stdio.h>

/* hamgr's own connections lower it for themselves: what counts is the file. */
const char lax_sql[] =
    "SELECT who, value FROM ("
    "SELECT 'everybody' AS who, (SELECT setting FROM pg_file_settings"
    "   WHERE name = 'synchronous_commit' AND applied ORDER BY seqno DESC LIMIT 1) AS value"
    " UNION ALL SELECT coalesce(nullif(concat_ws(' in ',"
    "   'role ' || (SELECT rolname FROM pg_roles r WHERE r.oid = setrole),"
    "   'database ' || (SELECT datname FROM pg_database d WHERE d.oid = setdatabase)), ''),"
    "   'all roles'), substr(c, 20)"
    " FROM pg_db_role_setting, unnest(setconfig) c WHERE c LIKE 'synchronous\\_commit=%') x"
    " WHERE lower(value) NOT IN ('on', 'remote_apply', 'true', 'yes', '1')"
    " ORDER BY who <> 'everybody', who";

void lax_read(const PGresult *result, char *ret_text, size_t size)
{
    int n = PQntuples(result);

    ret_text[0] = '\0';
    if (n == 1)
        (void)snprintf(ret_text, size, "synchronous_commit is %.12s for %.60s",
                       PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 0));
    else if (n > 1)
        (void)snprintf(ret_text, size, "synchronous_commit is %.12s for %.60s, and %d more",
                       PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 0), n - 1);
}
