/* check_rights.c - what the database user of the standbys may do, and the exact GRANT for what it
 * may not: a rewind that fails for want of a right is found out at the worst moment. */
#include "postgres/check.h"
#include "postgres/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMN_SUPER, COLUMN_REPLICATION, COLUMN_VERSION, COLUMN_CHECKPOINT, COLUMN_FIRST };

/* As pg_rewind calls them on its source. */
static const char *const functions[] = {
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
};

void check_rights_sql(const char *user, char *buffer, size_t size)
{
    char quoted[2 * HM_NAME_MAX + 4];
    size_t n;

    sql_quote(quoted, sizeof quoted, user);
    n = (size_t)snprintf(buffer, size,
                         "SELECT rolsuper, rolreplication, current_setting('server_version_num'),"
                         " coalesce((SELECT pg_has_role(r.oid, c.oid, 'usage') FROM pg_roles c"
                         " WHERE c.rolname = 'pg_checkpoint'), false)");
    for (size_t i = 0; i < HM_ARRAY_LEN(functions); i++)
        n += (size_t)snprintf(buffer + n, size - n,
                              ", has_function_privilege(r.oid, '%s', 'execute')", functions[i]);
    (void)snprintf(buffer + n, size - n, " FROM pg_roles r WHERE rolname = %s", quoted);
}

static void begin(struct service_finding *f, const char *name)
{
    memset(f, 0, sizeof *f);
    (void)snprintf(f->name, sizeof f->name, "%s", name);
}

static bool is_true(const PGresult *result, int column)
{
    return PQgetvalue(result, 0, column)[0] == 't';
}

static void look_at_functions(const char *user, const PGresult *result, struct service_finding *ret,
                              size_t *n)
{
    for (size_t i = 0; i < HM_ARRAY_LEN(functions); i++) {
        struct service_finding *f = &ret[*n];

        if (is_true(result, COLUMN_FIRST + (int)i))
            continue;
        begin(f, "rights for pg_rewind");
        (void)snprintf(f->text, sizeof f->text, "%s may not call %s: diverged copies are cloned",
                       user, functions[i]);
        (void)snprintf(f->next, sizeof f->next, "GRANT EXECUTE ON FUNCTION %s TO \"%s\"",
                       functions[i], user);
        (*n)++;
    }
}

size_t check_rights(const char *user, const PGresult *result, struct service_finding *ret)
{
    struct service_finding *f;
    size_t n = 0;

    if (PQntuples(result) == 0) {
        f = &ret[n++];
        begin(f, "replication_user");
        (void)snprintf(f->text, sizeof f->text, "there is no user %s", user);
        (void)snprintf(f->next, sizeof f->next, "CREATE ROLE \"%s\" LOGIN REPLICATION", user);
        return n;
    }
    if (is_true(result, COLUMN_SUPER)) {
        f = &ret[n++];
        begin(f, "replication_user");
        f->is_ok = true;
        (void)snprintf(f->text, sizeof f->text, "%s, a superuser", user);
        return n;
    }
    f = &ret[n++];
    begin(f, "replication_user");
    f->is_ok = is_true(result, COLUMN_REPLICATION);
    (void)snprintf(f->text, sizeof f->text, "%s%s", user,
                   f->is_ok ? "" : " may not replicate: no standby could stream or be cloned");
    if (!f->is_ok)
        (void)snprintf(f->next, sizeof f->next, "ALTER ROLE \"%s\" REPLICATION", user);
    look_at_functions(user, result, ret, &n);
    if (!is_true(result, COLUMN_CHECKPOINT) &&
        strtol(PQgetvalue(result, 0, COLUMN_VERSION), NULL, 10) >= 150000) {
        f = &ret[n++];
        begin(f, "rights for CHECKPOINT");
        (void)snprintf(f->text, sizeof f->text,
                       "%s may not: a rewind just after a promotion waits for PostgreSQL's own one",
                       user);
        (void)snprintf(f->next, sizeof f->next, "GRANT pg_checkpoint TO \"%s\"", user);
    }
    return n;
}
