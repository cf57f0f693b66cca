/* slots.c - drops replication slots that nobody will come back to, before what they keep fills the
 * disk.
 *
 * Each rewind and each clone makes another copy, with a slot of another name; and a former primary
 * keeps the slots of those who left it. Only slots that bear our name are looked at, and only one
 * that was in nobody's use in two rounds in a row is dropped: a copy makes its slot before it
 * connects. A member that was removed may still stream: its connection is ended first. A connection
 * of its own for each round keeps a slow disk away from the operations. */
#include "postgres/inner.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOTS_ROUND_MS = 15000,
    SLOTS_SOON_MS = 200,
    SLOTS_ASK_MS = 5000,
    SLOTS_MAX = 32,
    SLOT_NAME_BYTES = 64
};

struct slots {
    struct service *s;
    struct event *timer; /* owned */
    struct conn *conn;   /* owned; NULL: no round is under way */
    char stale[SLOTS_MAX][SLOT_NAME_BYTES];
    size_t stale_n; /* in the last round */
    char doomed[SLOTS_MAX][SLOT_NAME_BYTES];
    size_t doomed_n; /* still to be dropped in this one */
};

static void arm(struct slots *l, hm_ms in_ms)
{
    const struct timeval tv = { .tv_sec = in_ms / 1000, .tv_usec = in_ms % 1000 * 1000 };

    (void)evtimer_add(l->timer, &tv); /* no memory: slots are kept, and PostgreSQL limits them */
}

static void end_round(struct slots *l)
{
    conn_free(l->conn);
    l->conn = NULL;
    l->doomed_n = 0;
    arm(l, SLOTS_ROUND_MS);
}

/* hamgr_SOMEBODY_ and sixteen digits: nobody else names a slot so. */
static bool is_ours(const char *name)
{
    size_t n = strlen(name);

    return strncmp(name, "hamgr_", 6) == 0 && n > 6 + 1 + 16 && name[n - 17] == '_' &&
           strspn(name + n - 16, "0123456789abcdef") == 16;
}

bool slot_is_of_no_member(const struct record *r, const char *name, bool is_standby)
{
    uint64_t copy_id;
    uint8_t member;

    return !is_standby && is_ours(name) && !postgres_slot_parse(r, name, &member, &copy_id);
}

bool slot_is_stale(const struct record *r, const struct slot_seen *all, size_t n, size_t at,
                   bool is_standby)
{
    uint8_t member, other;
    uint64_t copy_id;

    if (all[at].is_active || !is_ours(all[at].name))
        return false;
    if (is_standby || !postgres_slot_parse(r, all[at].name, &member, &copy_id))
        return true; /* nobody streams from a standby; or the member was removed */
    for (size_t i = 0; i < n; i++)
        if (all[i].is_active && postgres_slot_parse(r, all[i].name, &other, &copy_id) &&
            other == member)
            return true; /* it has come back as another copy */
    return false;
}

static void drop_next(struct slots *l);

static void dropped(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct slots *l = ctx;
    const char *name = l->doomed[l->doomed_n];

    (void)result;
    if (outcome == CONN_ANSWERED)
        log_notice("slot dropped service=%s slot=%s: nobody will come back to it",
                   l->s->config.service->name, name);
    else
        log_warn("slot not dropped service=%s slot=%s why=\"%s\"", l->s->config.service->name, name,
                 why);
    drop_next(l);
}

static void drop_next(struct slots *l)
{
    const char *name;
    char sql[512];

    if (l->doomed_n == 0) {
        end_round(l);
        return;
    }
    name = l->doomed[--l->doomed_n]; /* letters, digits and underscores only */
    (void)snprintf(sql, sizeof sql,
                   "DO $$BEGIN"
                   " PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots"
                   " WHERE slot_name = '%s' AND active;"
                   " FOR i IN 1..40 LOOP"
                   " EXIT WHEN NOT EXISTS"
                   " (SELECT FROM pg_replication_slots WHERE slot_name = '%s' AND active);"
                   " PERFORM pg_sleep(0.05); END LOOP;"
                   " PERFORM pg_drop_replication_slot('%s'); END$$",
                   name, name, name);
    if (!conn_ask(l->conn, sql, SLOTS_ASK_MS, dropped, l))
        end_round(l);
}

static bool was_stale(const struct slots *l, const char *name)
{
    for (size_t i = 0; i < l->stale_n; i++)
        if (strcmp(l->stale[i], name) == 0)
            return true;
    return false;
}

/* Columns: slot_name, active, pg_is_in_recovery(). */
static void told(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct slots *l = ctx;
    struct slot_seen seen[SLOTS_MAX];
    char stale[SLOTS_MAX][SLOT_NAME_BYTES];
    size_t n = 0, stale_n = 0;
    bool is_standby = false;

    (void)why; /* the probe tells what is wrong with the server */
    if (outcome != CONN_ANSWERED) {
        l->stale_n = 0;
        end_round(l);
        return;
    }
    for (int i = 0; i < PQntuples(result) && n < SLOTS_MAX; i++, n++) {
        (void)snprintf(seen[n].name, sizeof seen[n].name, "%s", PQgetvalue(result, i, 0));
        seen[n].is_active = PQgetvalue(result, i, 1)[0] == 't';
        is_standby = PQgetvalue(result, i, 2)[0] == 't';
    }
    l->doomed_n = 0;
    for (size_t i = 0; i < n; i++) {
        if (slot_is_of_no_member(&l->s->record, seen[i].name, is_standby)) {
            memcpy(l->doomed[l->doomed_n++], seen[i].name, SLOT_NAME_BYTES);
            continue;
        }
        if (!slot_is_stale(&l->s->record, seen, n, i, is_standby))
            continue;
        memcpy(stale[stale_n++], seen[i].name, SLOT_NAME_BYTES);
        if (was_stale(l, seen[i].name))
            memcpy(l->doomed[l->doomed_n++], seen[i].name, SLOT_NAME_BYTES);
    }
    memcpy(l->stale, stale, stale_n * SLOT_NAME_BYTES);
    l->stale_n = stale_n;
    drop_next(l);
}

static void up(void *ctx)
{
    struct slots *l = ctx;

    if (!conn_ask(l->conn,
                  "SELECT slot_name, active, pg_is_in_recovery() FROM pg_replication_slots WHERE "
                  "slot_type = 'physical' AND slot_name LIKE 'hamgr\\_%'",
                  SLOTS_ASK_MS, told, l))
        end_round(l);
}

static void down(void *ctx, const char *why)
{
    (void)why;
    end_round(ctx);
}

/* A frozen standby may be asked for its log, and a copy on its way to something else is left alone.
 */
static bool may_look(const struct service *s)
{
    const struct copy *seen = &s->seen;

    if (s->op != NULL || s->record.epoch == 0)
        return false;
    return (seen->state == COPY_STANDBY && seen->is_streaming) ||
           (seen->state == COPY_PRIMARY && s->record.holder == s->self);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct slots *l = arg;
    struct conn_config config = { .base = l->s->config.base,
                                  .conninfo = l->s->conninfo,
                                  .connect_ms = SLOTS_ASK_MS,
                                  .on_up = up,
                                  .on_down = down,
                                  .ctx = l };

    (void)fd;
    (void)what;
    if (!may_look(l->s) || conn_new(&config, &l->conn, NULL) != HM_OK) {
        l->stale_n = 0;
        end_round(l);
        return;
    }
    conn_open(l->conn, false);
}

void slots_hasten(struct slots *l)
{
    if (l != NULL && l->conn == NULL)
        arm(l, SLOTS_SOON_MS);
}

enum hm_rc slots_new(struct service *s, struct slots **ret, struct hm_err *err)
{
    struct slots *l = calloc(1, sizeof *l);

    if (l != NULL)
        l->timer = evtimer_new(s->config.base, on_timer, l);
    if (l == NULL || l->timer == NULL) {
        free(l);
        return hm_fail(err, HM_FAILED, "no memory to look after slots");
    }
    l->s = s;
    arm(l, SLOTS_ROUND_MS);
    *ret = l;
    return HM_OK;
}

void slots_free(struct slots *l)
{
    if (l == NULL)
        return;
    conn_free(l->conn);
    event_free(l->timer);
    free(l);
}
