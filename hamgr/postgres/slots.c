/* slots.c - asks the server for its slots every few seconds, and does what slots_plan.c says.
 *
 * A connection of its own for each round keeps a slow disk away from the operations. */
#include "postgres/slots.h"

#include "base/clock.h"
#include "base/log.h"
#include "postgres/extras.h"
#include "postgres/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

enum {
    ROUND_MS = 5000,
    SOON_MS = 1500,  /* something changed, or a limit is near */
    URGENT_MS = 500, /* the disk is short */
    HASTEN_MS = 200, /* members changed */
    FOREIGN_TOLD_MS = 3600000,
    ASK_MS = 5000,
    CHECKPOINT_MS = 600000,
    NEAR_PERCENT = 25, /* free, of the disk of the log: looked at more often */
};

struct disk_look {
    struct worker_job base;
    struct slots *slots;
    char path[SETTINGS_PATH_MAX + 16];
    uint64_t size, free; /* 0, 0: it cannot be looked at */
};

struct slots {
    struct service *s;
    struct event *timer; /* owned: the next round */
    struct conn *conn;   /* owned; NULL: the server is not being asked */
    struct disk_look disk;
    struct slots_memory memory;
    struct slot_step step[SLOT_STEPS_MAX];
    size_t n, at;
    bool is_under_way; /* a round */
    bool is_near;      /* a limit */
    bool has_changed;  /* in this round, other than by advancing */
    hm_ms ended_ms;    /* the newest round */
    hm_ms next_ms;     /* the next one begins; until then only the disk is looked at */
    struct slots_pace pace;
    hm_ms foreign_told_ms; /* 0: there are none that hold back log */
    struct log_repeat trouble;
    struct log_repeat stranger;
    struct extras extras;
    struct service_facts facts; /* of it only what slots_describe() gives */
};

static void take_step(struct slots *l);

/* --- rounds ------------------------------------------------------------------------------------
 */

static void arm(struct event *timer, hm_ms ms)
{
    const struct timeval tv = clock_timeval(ms);

    (void)evtimer_add(timer, &tv); /* no memory: slots are kept, and PostgreSQL limits them */
}

static void end_round(struct slots *l)
{
    bool is_soon = l->has_changed || l->is_near;

    l->is_under_way = false;
    conn_free(l->conn);
    l->conn = NULL;
    l->n = l->at = 0;
    l->has_changed = false;
    l->ended_ms = clock_boot_ms();
    l->next_ms = l->ended_ms + (is_soon ? SOON_MS : ROUND_MS);
    arm(l->timer, hm_min_ms(is_soon ? SOON_MS : ROUND_MS, slots_pause_ms(l->disk.free)));
}

static void give_up_round(struct slots *l)
{
    l->has_changed = false;
    l->is_near = false;
    end_round(l);
}

/* --- what was done -----------------------------------------------------------------------------
 */

static const char *member_name(const struct slots *l, uint8_t member)
{
    return member < HM_MEMBERS_MAX ? l->s->record.member[member].name : "";
}

static void note_drop(struct slots *l, const struct slot_step *step, const char *why)
{
    struct service_facts *f = &l->facts;
    struct service_drop *d;

    if (f->drops_n == SERVICE_DROPS_MAX)
        memmove(&f->drop[0], &f->drop[1], --f->drops_n * sizeof f->drop[0]);
    d = &f->drop[f->drops_n++];
    *d = (struct service_drop){ .held_bytes = step->held,
                                .at_ms = clock_boot_ms(),
                                .wall_ms = clock_wall_ms() };
    (void)snprintf(d->member, sizeof d->member, "%s", member_name(l, step->member));
    (void)snprintf(d->why, sizeof d->why, "%s", why);
    postgres_tell_history(&l->s->config, "the slot of %s was dropped here at %llu MB: %s",
                          d->member, (unsigned long long)step->held >> 20, why);
    log_warn("slot dropped service=%s slot=%s member=%s held_bytes=%llu: %s: that copy must be "
             "cloned when it comes back",
             l->s->config.service->name, step->name, d->member, (unsigned long long)step->held,
             why);
}

/* The address is what leads to it. */
static void note_stranger(struct slots *l, const char *name, const char *from)
{
    struct service_facts *f = &l->facts;
    uint64_t hidden;

    f->stranger_ms = clock_boot_ms();
    (void)snprintf(f->stranger, sizeof f->stranger, "%.46s streams as %.40s",
                   from[0] != '\0' ? from : "somebody on this host", name);
    if (log_repeat_starts(&l->stranger, f->stranger_ms, &hidden))
        log_error("stranger cut off service=%s: %s, which is another server: stop it, or give it "
                  "an application_name and a slot of its own hidden=%llu",
                  l->s->config.service->name, f->stranger, (unsigned long long)hidden);
}

static void tell(struct slots *l, const struct slot_step *step)
{
    const char *service = l->s->config.service->name;

    switch (step->act) {
    case SLOT_CREATE:
        log_notice("slot made service=%s slot=%s: %s finds its log here, too", service, step->name,
                   member_name(l, step->member));
        break;
    case SLOT_ADVANCE:
        break;
    case SLOT_DROP_REMOVED:
        log_notice("slot dropped service=%s slot=%s: its member left the cluster", service,
                   step->name);
        break;
    case SLOT_CUT:
        note_stranger(l, member_name(l, step->member), step->from);
        break;
    case SLOT_DROP_STALE:
        if (step->is_active)
            note_stranger(l, member_name(l, step->member), step->from);
        log_notice("slot dropped service=%s slot=%s: nobody will come back to it", service,
                   step->name);
        break;
    case SLOT_DROP_LOST:
        note_drop(l, step, "PostgreSQL removed what it held back");
        break;
    case SLOT_DROP_LIMIT:
        note_drop(l, step, "it held back more than slot_max_bytes");
        break;
    case SLOT_DROP_DISK:
        note_drop(l, step, "the disk of the log runs short");
        break;
    }
}

/* What is refused in every round is told once. A copy that came back has its slot in use. */
static void tell_refusal(struct slots *l, const struct slot_step *step, const char *why)
{
    const char *state = conn_sqlstate(l->conn);
    uint64_t hidden;

    if (strcmp(state, "55006") == 0 || !log_repeat_starts(&l->trouble, clock_boot_ms(), &hidden))
        return;
    log_warn("slot service=%s slot=%s: %s%s", l->s->config.service->name, step->name,
             strcmp(state, "53400") == 0 ? "raise max_replication_slots here: " : "", why);
}

/* --- steps -------------------------------------------------------------------------------------
 */

static void next_step(struct slots *l)
{
    l->at++;
    take_step(l);
}

static void checkpointed(void *ctx, enum conn_outcome outcome, const PGresult *result,
                         const char *why)
{
    struct slots *l = ctx;

    (void)result;
    if (outcome != CONN_ANSWERED)
        log_warn("log not removed yet service=%s: %s", l->s->config.service->name, why);
    next_step(l);
}

static void stepped(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct slots *l = ctx;
    const struct slot_step *step = &l->step[l->at];

    (void)result;
    if (outcome == CONN_LOST || outcome == CONN_LATE) {
        give_up_round(l);
        return;
    }
    if (outcome == CONN_ANSWERED) {
        tell(l, step);
        l->has_changed |= step->act != SLOT_ADVANCE;
        /* Only a checkpoint removes log: the next round must see what this one gave. */
        if (step->act == SLOT_DROP_DISK &&
            conn_ask(l->conn, "CHECKPOINT", CHECKPOINT_MS, checkpointed, l))
            return;
    } else {
        tell_refusal(l, step, why);
    }
    next_step(l);
}

static void have_extras(void *ctx)
{
    end_round(ctx);
}

/* Rarely enough for a look at what else there is to be warned of. */
static void finish_round(struct slots *l)
{
    bool is_primary = l->s->seen.state == COPY_PRIMARY;

    l->extras = (struct extras){ .conn = l->conn,
                                 .wants_lax = is_primary && l->s->record.goal != DURABILITY_ASYNC,
                                 .facts = &l->facts,
                                 .then = have_extras,
                                 .ctx = l };
    extras_ask(&l->extras);
}

/* Names are letters, digits and underscores only. Whoever streams by a slot must have let go of it
 * before it can be dropped. */
static void take_step(struct slots *l)
{
    const struct slot_step *step = &l->step[l->at];
    const char *name = step->name;
    char sql[640], lsn[24];

    if (l->at >= l->n) {
        finish_round(l);
        return;
    }
    if (step->act == SLOT_CREATE) {
        (void)snprintf(sql, sizeof sql, "SELECT pg_create_physical_replication_slot('%s', true)",
                       name);
    } else if (step->act == SLOT_ADVANCE) {
        print_lsn(lsn, sizeof lsn, step->to);
        (void)snprintf(sql, sizeof sql, "SELECT pg_replication_slot_advance('%s', '%s')", name,
                       lsn);
    } else if (step->act == SLOT_CUT) {
        (void)snprintf(sql, sizeof sql,
                       "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                       " WHERE slot_name = '%s' AND active",
                       name);
    } else if (step->is_active) {
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
    } else {
        (void)snprintf(sql, sizeof sql, "SELECT pg_drop_replication_slot('%s')", name);
    }
    if (!conn_ask(l->conn, sql, ASK_MS, stepped, l))
        give_up_round(l);
}

/* --- what is there -----------------------------------------------------------------------------
 */

/* Ours first: of the others only some are told. Those of a backup end with its connection. */
static const char look_sql[] =
    "SELECT p.lsn - '0/0', slot_name, active, wal_status = 'lost', restart_lsn - '0/0',"
    " (SELECT host(client_addr) FROM pg_stat_replication WHERE pid = active_pid)"
    " FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
    "   ELSE pg_current_wal_lsn() END AS lsn) p"
    " LEFT JOIN pg_replication_slots ON NOT temporary"
    " ORDER BY slot_name LIKE 'hamgr\\_%' DESC, restart_lsn";
enum { SEEN_END, SEEN_NAME, SEEN_ACTIVE, SEEN_LOST, SEEN_RESTART, SEEN_FROM };

/* Whoever streams under the name of a member, and not by a slot of ours. */
static const char strangers_sql[] =
    "SELECT application_name, host(client_addr), pg_terminate_backend(pid)"
    " FROM pg_stat_replication r"
    " WHERE application_name LIKE 'hamgr\\_%' AND state IN ('catchup', 'streaming')"
    " AND NOT EXISTS (SELECT FROM pg_replication_slots s"
    "   WHERE s.active_pid = r.pid AND s.slot_name LIKE 'hamgr\\_%')";

static void read_slot(const PGresult *result, int row, struct slot *slot)
{
    *slot = (struct slot){ .is_active = PQgetvalue(result, row, SEEN_ACTIVE)[0] == 't',
                           .is_lost = PQgetvalue(result, row, SEEN_LOST)[0] == 't',
                           .restart = strtoull(PQgetvalue(result, row, SEEN_RESTART), NULL, 10) };
    (void)snprintf(slot->name, sizeof slot->name, "%s", PQgetvalue(result, row, SEEN_NAME));
    (void)snprintf(slot->from, sizeof slot->from, "%s", PQgetvalue(result, row, SEEN_FROM));
}

/* A slot of another naming is nobody's business but the administrator's; who does not use it any
 * more should know what it costs. */
static void note_foreign(struct slots *l, const struct slots_seen *seen, const struct slot *slot)
{
    struct service_facts *f = &l->facts;
    struct service_slot *fact;

    if (slot->is_active || slot_held(seen, slot) == 0 || f->foreign_n == SERVICE_FOREIGN_MAX)
        return;
    fact = &f->foreign[f->foreign_n++];
    *fact = (struct service_slot){ .held_bytes = slot_held(seen, slot) };
    memcpy(fact->name, slot->name, sizeof fact->name);
}

static void tell_foreign(struct slots *l)
{
    const struct service_facts *f = &l->facts;
    hm_ms now_ms = clock_boot_ms();

    if (f->foreign_n == 0)
        l->foreign_told_ms = 0;
    if (f->foreign_n == 0 ||
        (l->foreign_told_ms != 0 && now_ms < l->foreign_told_ms + FOREIGN_TOLD_MS))
        return;
    l->foreign_told_ms = now_ms;
    for (size_t i = 0; i < f->foreign_n; i++)
        log_warn("slot unused service=%s slot=%s held_bytes=%llu: nobody streams by it: drop it "
                 "with: SELECT pg_drop_replication_slot('%s')",
                 l->s->config.service->name, f->foreign[i].name,
                 (unsigned long long)f->foreign[i].held_bytes, f->foreign[i].name);
}

static void read_slots(struct slots *l, const PGresult *result, struct slots_seen *seen)
{
    *seen = (struct slots_seen){ .n = 0 };
    l->facts.foreign_n = 0;
    for (int i = 0; i < PQntuples(result); i++) {
        struct slot slot;

        seen->end = strtoull(PQgetvalue(result, i, SEEN_END), NULL, 10);
        if (PQgetisnull(result, i, SEEN_NAME) != 0)
            continue;
        read_slot(result, i, &slot);
        if (!slots_is_ours(slot.name))
            note_foreign(l, seen, &slot);
        else if (seen->n < SLOTS_MAX)
            seen->slot[seen->n++] = slot;
    }
    tell_foreign(l);
}

static void note_facts(struct slots *l, const struct slots_seen *seen)
{
    struct service_facts *f = &l->facts;

    f->slots_n = 0;
    for (size_t i = 0; i < seen->n && f->slots_n < SERVICE_SLOTS_MAX; i++) {
        struct service_slot *fact = &f->slot[f->slots_n++];
        uint8_t member = HM_NOBODY;
        uint64_t copy_id;

        memcpy(fact->name, seen->slot[i].name, sizeof fact->name);
        (void)postgres_slot_parse(&l->s->record, fact->name, &member, &copy_id);
        (void)snprintf(fact->member, sizeof fact->member, "%s", member_name(l, member));
        fact->is_active = seen->slot[i].is_active;
        fact->held_bytes = slot_held(seen, &seen->slot[i]);
    }
}

static bool is_limit_near(const struct slots_world *w, const struct slots_seen *seen)
{
    if (w->disk_size != 0 && w->disk_free / NEAR_PERCENT < w->disk_size / 100)
        return true;
    for (size_t i = 0; i < seen->n; i++)
        if (w->max_bytes != 0 && slot_held(seen, &seen->slot[i]) > w->max_bytes / 2)
            return true;
    return slots_disk_is_short(w);
}

/* Whose slot was dropped streams again. */
static void end_drops(struct slots *l, const struct slots_world *w)
{
    for (size_t i = 0; i < l->facts.drops_n; i++) {
        struct service_drop *d = &l->facts.drop[i];
        uint8_t member = record_find_name(w->record, d->member);
        const struct gossip *g = member < HM_MEMBERS_MAX ? w->peer[member] : NULL;

        d->is_over |= member >= HM_MEMBERS_MAX || member == w->record->holder ||
                      (g != NULL && g->copy == COPY_STANDBY && g->is_streaming);
    }
}

/* A frozen standby may be asked for its log, and a copy on its way to something else is left alone.
 */
static bool may_look(const struct service *s)
{
    const struct copy *seen = &s->seen;

    if (s->op != NULL || s->record.epoch == 0 || s->self == HM_NOBODY || !s->is_followed)
        return false;
    return (seen->state == COPY_STANDBY && seen->is_streaming) ||
           (seen->state == COPY_PRIMARY && s->record.holder == s->self);
}

static struct slots_world world_of(const struct slots *l)
{
    return (struct slots_world){ .record = &l->s->record,
                                 .self = l->s->self,
                                 .timeline = l->s->seen.at.timeline,
                                 .max_bytes = l->s->config.service->slot_max_bytes,
                                 .disk_size = l->disk.size,
                                 .disk_free = l->disk.free,
                                 .full_ms = slots_full_ms(&l->pace),
                                 .now_ms = clock_boot_ms() };
}

static void plan(struct slots *l, const struct slots_seen *seen)
{
    const struct service_host *host = &l->s->config.host;
    struct gossip peer[HM_MEMBERS_MAX];
    struct slots_world w = world_of(l);

    for (uint8_t m = 0; m < HM_MEMBERS_MAX; m++)
        if (host->look_at_peer != NULL && host->look_at_peer(host->ctx, m, &peer[m]))
            w.peer[m] = &peer[m];
    note_facts(l, seen);
    end_drops(l, &w);
    l->is_near = is_limit_near(&w, seen);
    l->n = slots_plan(&w, seen, &l->memory, l->step);
}

static void told(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct slots *l = ctx;
    struct slots_seen seen;

    (void)why; /* the probe tells what is wrong with the server */
    if (outcome != CONN_ANSWERED || !may_look(l->s)) {
        give_up_round(l);
        return;
    }
    read_slots(l, result, &seen);
    plan(l, &seen);
    if (l->n == 0)
        (void)log_repeat_ends(&l->trouble);
    l->at = 0;
    take_step(l);
}

static void strangers_told(void *ctx, enum conn_outcome outcome, const PGresult *result,
                           const char *why)
{
    struct slots *l = ctx;

    (void)why; /* as above */
    for (int i = 0; outcome == CONN_ANSWERED && i < PQntuples(result); i++)
        note_stranger(l, PQgetvalue(result, i, 0), PQgetvalue(result, i, 1));
    if (outcome != CONN_ANSWERED || !conn_ask(l->conn, look_sql, ASK_MS, told, l))
        give_up_round(l);
}

static void up(void *ctx)
{
    struct slots *l = ctx;

    if (!conn_ask(l->conn, strangers_sql, ASK_MS, strangers_told, l))
        give_up_round(l);
}

static void down(void *ctx, const char *why)
{
    (void)why;
    give_up_round(ctx);
}

/* --- the disk ----------------------------------------------------------------------------------
 */

static void look_at_disk(struct worker_job *base)
{
    struct disk_look *d = (struct disk_look *)base;
    struct statvfs fs;

    d->size = d->free = 0;
    if (statvfs(d->path, &fs) != 0)
        return;
    d->size = (uint64_t)fs.f_blocks * fs.f_frsize;
    d->free = (uint64_t)fs.f_bavail * fs.f_frsize;
}

static void looked_at_disk(struct worker_job *base)
{
    struct slots *l = ((struct disk_look *)base)->slots;
    struct conn_config config = { .base = l->s->config.base,
                                  .conninfo = l->s->conninfo,
                                  .connect_ms = ASK_MS,
                                  .on_up = up,
                                  .on_down = down,
                                  .ctx = l };

    struct slots_world w;
    hm_ms now_ms = clock_boot_ms();

    slots_note_free(&l->pace, l->disk.free, now_ms);
    w = world_of(l);
    if (slots_disk_is_short(&w))
        l->next_ms = hm_min_ms(l->next_ms, l->ended_ms + URGENT_MS);
    if (now_ms < l->next_ms) {
        l->is_under_way = false;
        arm(l->timer, hm_min_ms(l->next_ms - now_ms, slots_pause_ms(l->disk.free)));
    } else if (!may_look(l->s) || conn_new(&config, &l->conn, NULL) != HM_OK) {
        give_up_round(l);
    } else {
        conn_open(l->conn, false);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct slots *l = arg;

    (void)fd;
    (void)what;
    if (!may_look(l->s)) {
        give_up_round(l);
        return;
    }
    l->is_under_way = true;
    l->disk.base.run = look_at_disk;
    l->disk.base.done = looked_at_disk;
    worker_add(l->s->worker, &l->disk.base);
}

/* --- the door ----------------------------------------------------------------------------------
 */

void slots_hasten(struct slots *l)
{
    if (l == NULL)
        return;
    l->next_ms = 0;
    if (!l->is_under_way)
        arm(l->timer, HASTEN_MS);
}

void slots_describe(const struct slots *l, struct service_facts *ret)
{
    ret->slot_max_bytes = l->s->config.service->slot_max_bytes;
    ret->slots_n = l->facts.slots_n;
    memcpy(ret->slot, l->facts.slot, sizeof ret->slot);
    ret->drops_n = l->facts.drops_n;
    memcpy(ret->drop, l->facts.drop, sizeof ret->drop);
    ret->foreign_n = l->facts.foreign_n;
    memcpy(ret->foreign, l->facts.foreign, sizeof ret->foreign);
    memcpy(ret->lax, l->facts.lax, sizeof ret->lax);
    ret->sessions = l->facts.sessions;
    ret->sessions_max = l->facts.sessions_max;
    ret->stranger_ms = l->facts.stranger_ms;
    memcpy(ret->stranger, l->facts.stranger, sizeof ret->stranger);
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
    l->disk.slots = l;
    (void)snprintf(l->disk.path, sizeof l->disk.path, "%s/pg_wal", s->config.service->data_dir);
    arm(l->timer, SOON_MS);
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
