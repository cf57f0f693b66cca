/* probe_seen.c - what the server is asked, and what its answer means.
 *
 * One prepared statement for primaries and standbys alike. It reads functions where the views would
 * join more than is needed: it runs several times a second. */
#include "postgres/probe.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LIFE_CONTROL,
    LIFE_VERSION,
    LIFE_SYSTEM,
    LIFE_CHECKPOINTER,
    LIFE_AS_STARTED,
    LIFE_NAMES,
    LIFE_TIMELINE,
    LIFE_NEEDED_TIMELINE,
    LIFE_COLUMNS
};

const char *const probe_life_sql =
    "SELECT (SELECT pg_control_version FROM pg_control_system()),"
    " current_setting('server_version'),"
    " (SELECT system_identifier FROM pg_control_system()),"
    " (SELECT pid || ' ' || extract(epoch FROM backend_start) FROM pg_stat_get_activity(NULL)"
    "   WHERE backend_type = 'checkpointer'),"
    " pg_conf_load_time() <= pg_postmaster_start_time(),"
    " current_setting('synchronous_standby_names'),"
    " (SELECT timeline_id FROM pg_control_checkpoint()),"
    " (SELECT min_recovery_end_timeline FROM pg_control_recovery())";

enum {
    SEEN_IN_RECOVERY,
    SEEN_TIMELINE,
    SEEN_FLUSHED,
    SEEN_RECEIVED,
    SEEN_REPLAYED,
    SEEN_CONNINFO,
    SEEN_NAMES,
    SEEN_RECEIVER,
    SEEN_PROCESSES,
    SEEN_SENDERS,
    SEEN_DELAY,
    SEEN_PAUSED,
    SEEN_WAITING,
    SEEN_COLUMNS
};

const char *const probe_prepare_sql =
    "PREPARE hamgr_look AS SELECT pg_is_in_recovery(),"
    " CASE WHEN pg_is_in_recovery() THEN NULL"
    "   ELSE left(pg_walfile_name(pg_current_wal_flush_lsn()), 8) END,"
    " CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_flush_lsn() - '0/0' END,"
    " pg_last_wal_receive_lsn() - '0/0',"
    " pg_last_wal_replay_lsn() - '0/0',"
    " current_setting('primary_conninfo'),"
    " current_setting('synchronous_standby_names'),"
    " CASE WHEN pg_is_in_recovery()"
    "   THEN (SELECT received_tli || ' ' || status FROM pg_stat_get_wal_receiver()) END,"
    " CASE WHEN pg_is_in_recovery()"
    "   THEN (SELECT string_agg(backend_type || ' ' || coalesce(wait_event, ''), ',')"
    "         FROM pg_stat_get_activity(NULL)"
    "         WHERE backend_type IN ('startup', 'walreceiver')) END,"
    " CASE WHEN pg_is_in_recovery() THEN NULL"
    "   ELSE (SELECT string_agg(slot_name || ' ' || (flush_lsn - '0/0') || ' '"
    "           || coalesce(replay_lsn - '0/0', 0), ',')"
    "         FROM pg_stat_get_wal_senders() w, pg_get_replication_slots() s"
    "         WHERE s.active_pid = w.pid AND w.state = 'streaming' AND flush_lsn IS NOT NULL) END,"
    " current_setting('recovery_min_apply_delay'),"
    " CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END,"
    " CASE WHEN pg_is_in_recovery() THEN NULL"
    "   ELSE (SELECT count(*) FROM pg_stat_get_activity(NULL)"
    "         WHERE wait_event = 'SyncRep' AND application_name NOT LIKE 'hamgr %') END";

const char *const probe_ask_sql = "EXECUTE hamgr_look";

/* Never 0. */
static uint64_t hash(uint64_t sum, const char *text)
{
    sum = bytes_sum_on(sum, text, strlen(text));
    return sum != 0 ? sum : 1;
}

static uint64_t number(const PGresult *result, int column)
{
    return strtoull(PQgetvalue(result, 0, column), NULL, 10);
}

static bool is_null(const PGresult *result, int column)
{
    return PQgetisnull(result, 0, column) != 0;
}

static bool is_true(const PGresult *result, int column)
{
    return PQgetvalue(result, 0, column)[0] == 't';
}

/* --- once for each life of the server -------------------------------------------------------- */

/* The checkpointer is started with the server, and anew when the server recovers in place. */
bool probe_take_life(struct probe *p, const PGresult *result)
{
    struct service *s = p->s;
    uint64_t server_id;

    if (PQntuples(result) != 1 || PQnfields(result) != LIFE_COLUMNS ||
        is_null(result, LIFE_CHECKPOINTER))
        return false;
    server_id = hash(p->postmaster_id, PQgetvalue(result, 0, LIFE_CHECKPOINTER));
    (void)snprintf(s->facts.version, sizeof s->facts.version, "%s",
                   PQgetvalue(result, 0, LIFE_VERSION));
    p->system_id = number(result, LIFE_SYSTEM);
    p->is_life_known = true;
    if (server_id == p->server_id)
        return true; /* only the connection was lost */
    p->server_id = server_id;
    p->is_final = false;
    p->reached = (struct position){ .offset = 0 };
    p->path = number(result, LIFE_TIMELINE);
    if (number(result, LIFE_NEEDED_TIMELINE) > p->path)
        p->path = number(result, LIFE_NEEDED_TIMELINE);
    p->is_path_certain = false;
    p->history_of = 0;
    probe_ask_history(p);
    if (is_true(result, LIFE_AS_STARTED) && PQgetvalue(result, 0, LIFE_NAMES)[0] != 0)
        s->flag_server_id = server_id;
    return true;
}

/* --- whom it follows ------------------------------------------------------------------------- */

static bool is_host_of(const char *address, const char *host)
{
    size_t length;

    if (*address == '[')
        address++;
    length = strlen(host);
    return length > 0 && strncmp(address, host, length) == 0 &&
           (address[length] == ':' || address[length] == ']' || address[length] == 0);
}

static uint8_t find_host(const struct service *s, const char *host)
{
    const struct settings *settings = s->config.settings;

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (s->record.member[slot].role == ROLE_DB &&
            is_host_of(s->record.member[slot].address, host))
            return slot;
    for (uint8_t i = 0; i < settings->members_n; i++) /* while there is no record */
        if (host[0] != 0 && strcmp(settings->member[i].host, host) == 0)
            return record_find_name(&s->record, settings->member[i].name);
    return HM_NOBODY;
}

/* Only what hamgr wrote names a member: it carries the name that this member streams under. What
 * names nobody in the record, a member of former days for one, must still go before a promotion. */
static uint8_t find_followed(const struct service *s, const char *conninfo)
{
    PQconninfoOption *options = conninfo[0] != 0 ? PQconninfoParse(conninfo, NULL) : NULL;
    const char *host = "", *address = "", *name = "";
    char own[HM_NAME_MAX + 8];
    uint8_t slot = HM_NOBODY;

    if (options == NULL)
        return conninfo[0] != 0 ? HM_STRANGER : HM_NOBODY;
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (o->val == NULL)
            continue;
        if (strcmp(o->keyword, "host") == 0)
            host = o->val;
        else if (strcmp(o->keyword, "hostaddr") == 0)
            address = o->val;
        else if (strcmp(o->keyword, "application_name") == 0)
            name = o->val;
    }
    (void)snprintf(own, sizeof own, "hamgr_%s", s->config.settings->node);
    if (strcmp(name, own) == 0) {
        slot = find_host(s, host);
        if (slot == HM_NOBODY)
            slot = find_host(s, address);
    }
    PQconninfoFree(options);
    return slot != HM_NOBODY ? slot : HM_STRANGER;
}

/* --- positions ------------------------------------------------------------------------------- */

static void take_primary(struct probe *p, const PGresult *result, struct copy *c)
{
    c->state = COPY_PRIMARY;
    c->at.timeline = strtoull(PQgetvalue(result, 0, SEEN_TIMELINE), NULL, 16);
    c->at.offset = number(result, SEEN_FLUSHED);
    c->is_final = true;
    p->path = c->at.timeline;
    p->reached = c->at;
    streams_take_senders(&p->streams, p->s, PQgetvalue(result, 0, SEEN_SENDERS), c, p->taken_at_ms);
    streams_take_waiting(&p->streams, p->s, (unsigned int)number(result, SEEN_WAITING), c,
                         p->taken_at_ms);
}

/* The position of a standby: the larger of received and replayed, on the timeline that wrote its
 * last byte. After the receiver asked for a new timeline, "received" goes back to the beginning of
 * a segment; so what was once reached stays, as long as it is on the same timeline. */
static void take_standby(struct probe *p, const PGresult *result, struct copy *c)
{
    const char *receiver = PQgetvalue(result, 0, SEEN_RECEIVER);
    uint64_t received = number(result, SEEN_RECEIVED);
    uint64_t replayed = number(result, SEEN_REPLAYED);
    uint64_t received_timeline = strtoull(receiver, NULL, 10);

    c->state = COPY_STANDBY;
    if (received_timeline > p->path)
        p->path = received_timeline;
    p->is_path_certain |= received_timeline != 0;
    if (p->path != p->history_of)
        probe_ask_history(p);
    c->at.offset = received > replayed ? received : replayed;
    c->at.timeline =
        p->history_of == p->path ? wal_timeline_at(&p->history, c->at.offset) : p->path;
    if (c->at.timeline < p->reached.timeline ||
        (c->at.timeline == p->reached.timeline && c->at.offset < p->reached.offset))
        c->at = p->reached;
    else if (p->history_of == p->path && p->is_path_certain)
        p->reached = c->at;
    streams_take_own(&p->streams, p->s, received, replayed, is_true(result, SEEN_PAUSED),
                     p->taken_at_ms);
    /* The server asks for more only after it has read all that was on its disk. */
    p->is_final |=
        !is_null(result, SEEN_RECEIVED) || strstr(PQgetvalue(result, 0, SEEN_PROCESSES),
                                                  "startup RecoveryRetrieveRetryInterval") != NULL;
    c->is_final = p->is_final && p->is_path_certain && p->history_of == p->path;
    c->is_delayed = strcmp(PQgetvalue(result, 0, SEEN_DELAY), "0") != 0;
    c->follows = find_followed(p->s, PQgetvalue(result, 0, SEEN_CONNINFO));
    c->is_streaming = strstr(PQgetvalue(result, 0, SEEN_PROCESSES), "walreceiver") != NULL;
    p->is_receiving = strstr(receiver, " streaming") != NULL;
}

/* --- the rest -------------------------------------------------------------------------------- */

static void take_names(struct service *s, const char *value, struct copy *c)
{
    c->names = postgres_names_state(value);
    if (c->names == NAMES_PAIR && strcmp(value, s->notes.names) == 0)
        c->names_digest = s->notes.names_digest;
    if (c->names == NAMES_EMPTY)
        s->flag_server_id = 0;
    c->is_flag_certain = s->flag_server_id != 0 && s->flag_server_id == c->server_id;
}

bool probe_take_answer(struct probe *p, const PGresult *result, struct copy *ret)
{
    struct copy c = *ret;

    if (PQntuples(result) != 1 || PQnfields(result) != SEEN_COLUMNS)
        return false;
    c.server_id = p->server_id;
    c.system_id = p->system_id;
    p->is_receiving = false;
    if (is_true(result, SEEN_IN_RECOVERY))
        take_standby(p, result, &c);
    else
        take_primary(p, result, &c);
    if (p->s->notes.timeline == c.at.timeline)
        c.began_epoch = p->s->notes.began_epoch;
    take_names(p->s, PQgetvalue(result, 0, SEEN_NAMES), &c);
    c.is_healthy = p->missing == NULL; /* gray.c knows more */
    *ret = c;
    return true;
}

/* --- what is noted of it --------------------------------------------------------------------- */

/* On the record's newest timeline, by the stream of its holder or as the holder itself, a copy
 * learns which epoch began it. What it noted of that number before is never changed: then the
 * number was used twice, and the core must see it. */
void probe_note_what_it_shows(struct probe *p, const struct copy *c)
{
    struct service *s = p->s;
    const struct record *r = &s->record;
    const struct timeline *newest = r->epoch != 0 ? record_timeline(r) : NULL;
    struct notes n = s->notes;
    bool is_holder = c->state == COPY_PRIMARY && r->epoch != 0 && r->holder == s->self &&
                     c->copy_id == r->copy_id;
    bool follows_holder = c->state == COPY_STANDBY && r->epoch != 0 && s->is_followed &&
                          p->is_receiving && c->follows == r->holder;

    if (c->state == COPY_PRIMARY)
        n.was_primary = true;
    else if (follows_holder)
        n.was_primary = false;
    if ((is_holder || follows_holder) && newest != NULL && c->at.timeline == newest->timeline &&
        n.timeline != newest->timeline) {
        n.timeline = newest->timeline;
        n.began_epoch = newest->epoch;
    }
    if (n.was_primary != s->notes.was_primary || n.timeline != s->notes.timeline)
        postgres_note(s, &n, NULL, NULL);
}
