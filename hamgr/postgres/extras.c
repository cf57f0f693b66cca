#include "postgres/extras.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASK_MS = 5000 };

static const char crowd_sql[] =
    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
    " current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int";

/* hamgr's own connections lower it for themselves: what counts is the file. */
static const char lax_sql[] =
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

static void read_lax(const PGresult *result, char *ret_text, size_t size)
{
    int n = PQntuples(result);

    ret_text[0] = '\0';
    if (n == 1)
        (void)snprintf(ret_text, size, "synchronous_commit is %.12s for %.60s",
                       PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 0));
    else if (n > 1)
        (void)snprintf(ret_text, size, "synchronous_commit is %.12s for %.48s, and %d more",
                       PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 0), n - 1);
}

static uint32_t number(const PGresult *result, int column)
{
    return (uint32_t)strtoul(PQgetvalue(result, 0, column), NULL, 10);
}

static void lax_told(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct extras *x = ctx;

    (void)why; /* asked again before long */
    if (outcome == CONN_ANSWERED)
        read_lax(result, x->facts->lax, sizeof x->facts->lax);
    x->then(x->ctx);
}

static void look_for_lax(struct extras *x)
{
    if (!x->wants_lax)
        x->facts->lax[0] = '\0';
    if (!x->wants_lax || !conn_ask(x->conn, lax_sql, ASK_MS, lax_told, x))
        x->then(x->ctx);
}

static void crowd_told(void *ctx, enum conn_outcome outcome, const PGresult *result,
                       const char *why)
{
    struct extras *x = ctx;
    bool is_there = outcome == CONN_ANSWERED && PQntuples(result) == 1 && PQnfields(result) == 2;

    (void)why; /* asked again before long */
    x->facts->sessions = is_there ? number(result, 0) : 0;
    x->facts->sessions_max = is_there ? number(result, 1) : 0;
    look_for_lax(x);
}

void extras_ask(struct extras *x)
{
    if (!conn_ask(x->conn, crowd_sql, ASK_MS, crowd_told, x))
        look_for_lax(x);
}
