/* check.c - the settings that hamgr needs of a PostgreSQL server, as a table, and what is wrong
 * with those that a server has. */
#include "postgres/check.h"
#include "postgres/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_TIMEOUT_MS 5000

enum need {
    NEED_IS,       /* exactly this text */
    NEED_IS_NOT,   /* anything else */
    NEED_WAITS,    /* this text, or the stronger one */
    NEED_AT_LEAST, /* this number and as many for each member of the cluster as `each` says */
};

static const struct check {
    const char *name;
    enum need need;
    const char *text;
    int number;
    int each;
    bool needs_restart;
    const char *why;
} checks[] = {
    /* clang-format off */
    { "fsync",             NEED_IS,       "on",    0, 0, false, "without it a power loss corrupts the data" },
    { "full_page_writes",  NEED_IS,       "on",    0, 0, false, "pg_rewind needs it" },
    { "hot_standby",       NEED_IS,       "on",    0, 0, true,  "hamgr asks a standby how far it is" },
    { "restart_after_crash", NEED_IS,     "on",    0, 0, false, "the server recovers in place from the crash of a backend" },
    { "wal_level",         NEED_IS_NOT, "minimal", 0, 0, true,  "standbys need the log" },
    { "listen_addresses",  NEED_IS_NOT, "localhost", 0, 0, true, "standbys connect from other hosts" },
    { "synchronous_commit", NEED_WAITS,   "on",    0, 0, false, "commits would be acknowledged before a standby has them" },
    { "max_wal_senders",   NEED_AT_LEAST, NULL,    2, 1, true,  "each member streams, and may be cloned" },
    { "max_replication_slots", NEED_AT_LEAST, NULL, 0, 1, true, "each member keeps a slot for each other" },
    { "recovery_target_timeline", NEED_IS, "latest", 0, 0, true, "standbys go on to the new primary's timeline" },
    /* clang-format on */
};

/* hamgr's own connections lower synchronous_commit for themselves: what counts is the file. */
static const char settings_sql[] =
    "SELECT name, CASE WHEN name <> 'synchronous_commit' THEN setting ELSE coalesce(("
    "SELECT f.setting FROM pg_file_settings f WHERE f.name = 'synchronous_commit' AND f.applied "
    "ORDER BY seqno DESC LIMIT 1), boot_val) END FROM pg_settings";

struct asking {
    struct service *s; /* borrowed */
    service_checked *then;
    void *ctx;
    struct service_finding findings[HM_ARRAY_LEN(checks) + 2 + CHECK_RIGHTS_MAX + CHECK_SLOTS_MAX];
    size_t n;
};

static const char *find(const PGresult *result, const char *name)
{
    for (int row = 0; row < PQntuples(result); row++)
        if (strcmp(PQgetvalue(result, row, 0), name) == 0)
            return PQgetvalue(result, row, 1);
    return "";
}

static unsigned int members_n(const struct service *s)
{
    unsigned int n = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX && s->record.epoch != 0; slot++)
        n += s->record.member[slot].role == ROLE_DB;
    for (uint8_t i = 0; i < s->config.settings->members_n && s->record.epoch == 0; i++)
        n += s->config.settings->member[i].role == ROLE_DB;
    return n;
}

static void look_at(const struct service *s, const struct check *c, const char *value,
                    struct service_finding *ret)
{
    int wanted = c->number + c->each * (int)members_n(s);
    const char *after =
        c->needs_restart ? "; then restart the server" : "; SELECT pg_reload_conf()";
    char number[16];

    memset(ret, 0, sizeof *ret);
    (void)snprintf(ret->name, sizeof ret->name, "%s", c->name);
    (void)snprintf(number, sizeof number, "%d", wanted);
    if (c->need == NEED_AT_LEAST)
        ret->is_ok = strtol(value, NULL, 10) >= wanted;
    else if (c->need == NEED_WAITS)
        ret->is_ok = strcmp(value, c->text) == 0 || strcmp(value, "remote_apply") == 0;
    else
        ret->is_ok = (strcmp(value, c->text) == 0) == (c->need == NEED_IS);
    if (ret->is_ok) {
        (void)snprintf(ret->text, sizeof ret->text, "%s", value);
        return;
    }
    (void)snprintf(ret->text, sizeof ret->text, "is %.40s, but %s", value, c->why);
    if (c->need == NEED_IS_NOT)
        (void)snprintf(ret->next, sizeof ret->next, "set %s to another value than %s%s", c->name,
                       c->text, after);
    else
        (void)snprintf(ret->next, sizeof ret->next, "ALTER SYSTEM SET %s = %s%s", c->name,
                       c->need == NEED_AT_LEAST ? number : c->text, after);
}

/* pg_rewind needs to know which pages a diverged copy touched. */
static void look_at_hints(const PGresult *result, struct service_finding *ret)
{
    memset(ret, 0, sizeof *ret);
    (void)snprintf(ret->name, sizeof ret->name, "wal_log_hints");
    ret->is_ok = strcmp(find(result, "wal_log_hints"), "on") == 0 ||
                 strcmp(find(result, "data_checksums"), "on") == 0;
    (void)snprintf(ret->text, sizeof ret->text, "%s",
                   ret->is_ok ? "on, or data checksums are"
                              : "is off, and so are checksums: pg_rewind could not be used");
    if (!ret->is_ok)
        (void)snprintf(ret->next, sizeof ret->next,
                       "ALTER SYSTEM SET wal_log_hints = on; then restart the server");
}

/* In these minor releases commits wait for standbys from the very start of a server on. */
static void look_at_version(const PGresult *result, struct service_finding *ret)
{
    static const int good[][2] = { { 13, 21 }, { 14, 18 }, { 15, 13 }, { 16, 9 }, { 17, 5 } };
    long number = strtol(find(result, "server_version_num"), NULL, 10);
    int major = (int)(number / 10000);
    int minor = (int)(number % 10000);

    memset(ret, 0, sizeof *ret);
    (void)snprintf(ret->name, sizeof ret->name, "server version");
    (void)snprintf(ret->text, sizeof ret->text, "%s", find(result, "server_version"));
    ret->is_ok = major >= 13;
    if (!ret->is_ok)
        (void)snprintf(ret->next, sizeof ret->next, "upgrade to 13 or later");
    for (size_t i = 0; i < HM_ARRAY_LEN(good); i++)
        if (major == good[i][0] && minor < good[i][1]) {
            ret->is_ok = false;
            (void)snprintf(ret->next, sizeof ret->next,
                           "upgrade to %d.%d: before, commits may not wait just after a start",
                           good[i][0], good[i][1]);
        }
}

static void fail(const struct asking *a, const char *why)
{
    struct service_finding f = { .is_ok = false };

    (void)snprintf(f.name, sizeof f.name, "connection");
    (void)snprintf(f.text, sizeof f.text, "no answer of the server: %.130s", why);
    (void)snprintf(f.next, sizeof f.next, "see the server's log");
    a->then(a->ctx, &f, 1);
}

static void slots_told(void *ctx, enum conn_outcome outcome, const PGresult *result,
                       const char *why)
{
    struct asking *a = ctx;

    if (outcome != CONN_ANSWERED) {
        fail(a, why);
    } else {
        a->n += check_slots(result, &a->findings[a->n]);
        a->then(a->ctx, a->findings, a->n);
    }
    free(a);
}

static void rights_told(void *ctx, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    struct asking *a = ctx;

    if (outcome != CONN_ANSWERED) {
        fail(a, why);
    } else {
        a->n += check_rights(a->s->config.service->replication_user, result, &a->findings[a->n]);
        if (conn_ask(a->s->watch, check_slots_sql, CHECK_TIMEOUT_MS, slots_told, a))
            return;
        fail(a, "it is not connected");
    }
    free(a);
}

static void answered(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct asking *a = ctx;
    char sql[CHECK_SQL_MAX];

    if (outcome == CONN_ANSWERED) {
        look_at_version(result, &a->findings[a->n++]);
        look_at_hints(result, &a->findings[a->n++]);
        for (size_t i = 0; i < HM_ARRAY_LEN(checks); i++)
            look_at(a->s, &checks[i], find(result, checks[i].name), &a->findings[a->n++]);
        check_rights_sql(a->s->config.service->replication_user, sql, sizeof sql);
        if (conn_ask(a->s->watch, sql, CHECK_TIMEOUT_MS, rights_told, a))
            return;
        why = "it is not connected";
    }
    fail(a, why);
    free(a);
}

void postgres_check(struct service *s, service_checked *then, void *ctx)
{
    struct asking *a = malloc(sizeof *a);
    const struct asking here = { .s = s, .then = then, .ctx = ctx };

    if (a == NULL) {
        fail(&here, "no memory");
        return;
    }
    *a = here;
    if (conn_ask(s->watch, settings_sql, CHECK_TIMEOUT_MS, answered, a))
        return;
    free(a);
    fail(&here, s->probe->trouble[0] != '\0' ? s->probe->trouble : "it is not connected");
}
