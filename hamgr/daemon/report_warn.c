/* report_warn.c - what a person should act on, most urgent first. */
#include "daemon/report_inner.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    FAILURES_TOLD = 3,           /* rebuilds in a row, until a person should look */
    WRITING_TOLD_MS = 2000,      /* a vote on its way to the disk */
    STALL_TOLD_MS = 3600000,     /* a stall of the loop is worth a line for an hour */
    STRANGER_TOLD_MS = 60000,    /* it comes back every few seconds as long as it runs */
    LOST_TOLD_MS = 24 * 3600000, /* what was lost, for a day */
    LIST_MAX = 100,              /* bytes of a list in a line */
};

struct lines {
    char (*line)[REPORT_WARNING_SIZE];
    size_t n, max;
    const struct report *r;
};

HM_PRINTF(2, 3) static void warn(struct lines *l, const char *format, ...)
{
    char text[REPORT_WARNING_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* cut at the end at worst */
    va_end(args);
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->line[i], text) == 0) /* of another service already */
            return;
    if (l->n < l->max)
        memcpy(l->line[l->n++], text, sizeof text);
}

/* "12 s", "5 min", "3 h" */
static const char *span(hm_ms ms, char text[24])
{
    hm_ms s = ms / 1000;

    (void)snprintf(text, 24, "%" PRId64 " %s",
                   s < 120    ? s
                   : s < 7200 ? s / 60
                              : s / 3600,
                   s < 120    ? "s"
                   : s < 7200 ? "min"
                              : "h");
    return text;
}

/* "850 MB", "5.1 GB" */
static const char *size(uint64_t bytes, char text[24])
{
    double mb = (double)bytes / (1 << 20);

    if (mb < 1000)
        (void)snprintf(text, 24, "%.0f MB", mb);
    else
        (void)snprintf(text, 24, "%.1f GB", mb / 1024);
    return text;
}

/* --- the member itself ------------------------------------------------------------------------ */

static void about_state(struct lines *l, const struct report_service *s)
{
    const char *name = s->settings->name;

    if (s->core->state == ST_BLANK)
        warn(l, "%s: the voter's file of %s is missing: remove the member and add it again", name,
             l->r->settings->node);
    else if (s->core->state == ST_STOPPED)
        warn(l,
             "%s: the cluster was forced on without %s: stop hamgrd here, move state_dir, data_dir "
             "and hamgr.conf away, then 'hamgr join'",
             name, l->r->settings->node);
    else if (s->core->state == ST_OUTSIDE && l->r->is_joining)
        warn(l, "%s: %s asks to be added%s%s", name, l->r->settings->node,
             l->r->join_why[0] != '\0' ? ": " : "", l->r->join_why);
    else if (s->core->state == ST_OUTSIDE && s->core->is_removed && core_record(s->core) != NULL)
        warn(l,
             "%s: %s was removed: its copy is never promoted; stop hamgrd here, or empty state_dir "
             "and data_dir and 'hamgr join' again",
             name, l->r->settings->node);
    else if (s->core->state == ST_OUTSIDE)
        warn(l, "%s: the record does not name %s: 'hamgr member add' on the primary adds it", name,
             l->r->settings->node);
}

/* It goes on with what needs no disk: a holder renews, and gives away a server that died. */
static void about_disk(struct lines *l, const struct report_service *s)
{
    if (s->write_why != NULL && s->write_why[0] != '\0')
        warn(l, "%s: %s cannot write its votes (%s): look at the disk of %s", s->settings->name,
             l->r->settings->node, s->write_why, l->r->settings->state_dir);
}

static void about_loop(struct lines *l)
{
    const struct report *r = l->r;
    hm_ms ago_ms = r->now_ms - r->stall_at_ms;
    char ago[24];

    if (r->stall_latest_ms != 0 && ago_ms < STALL_TOLD_MS)
        warn(l, "hamgrd on %s stood still for %" PRId64 " ms, %s ago", r->settings->node,
             r->stall_latest_ms, span(ago_ms, ago));
}

static void about_sentinel(struct lines *l)
{
    const char *trouble = l->r->sentinel_trouble;

    if (trouble != NULL && trouble[0] != '\0')
        warn(l, "clients of Redis cannot ask %s where the primary is: %s", l->r->settings->node,
             trouble);
}

static void about_fence(struct lines *l, const struct report_service *s)
{
    const struct fence_report *f = &s->fence;

    if (s->core->config.role != ROLE_DB)
        return;
    if (!s->has_fence) {
        warn(l, "%s: hamgr-fence does not answer on %s: it can neither keep nor take the lease",
             s->settings->name, l->r->settings->node);
        return;
    }
    if (l->r->settings->fence == SETTINGS_FENCE_CHILD)
        warn(
            l,
            "hamgr-fence on %s is a child of hamgrd: it suspends and kills, but there is no kernel "
            "gate",
            l->r->settings->node);
    if (l->r->settings->is_gate_on && !f->has_gate)
        warn(l, "%s: the kernel gate does not work on %s%s%s", s->settings->name,
             l->r->settings->node, f->why[0] != '\0' ? ": " : "", f->why);
    else if (f->why[0] != '\0')
        warn(l, "%s: hamgr-fence on %s: %s", s->settings->name, l->r->settings->node, f->why);
    if (!f->has_lock || !f->has_priority)
        warn(l, "hamgr-fence on %s runs without %s: it may be late on a loaded machine",
             l->r->settings->node,
             f->has_lock       ? "real-time priority"
             : f->has_priority ? "locked memory"
                               : "locked memory and real-time priority");
}

/* What fills up is told in time, what hangs with the evidence. */
static void about_disks(struct lines *l, const struct report_service *s)
{
    const char *name = s->settings->name, *node = l->r->settings->node;
    char text[SERVICE_DISK_TEXT], wait[24];

    for (size_t i = 0; i < s->facts.disks_n; i++) {
        if (!service_disk_is_short(&s->facts.disk[i], l->r->settings))
            continue;
        service_disk_text(&s->facts.disk[i], text);
        warn(l, "%s: on %s %s", name, node, text);
    }
    if (s->writing_ms >= WRITING_TOLD_MS)
        warn(l, "%s: %s cannot write its vote for %s: the disk of state_dir hangs", name, node,
             span(s->writing_ms, wait));
}

/* --- voters ----------------------------------------------------------------------------------- */

static void about_voter(struct lines *l, const struct report_service *s, uint8_t slot,
                        const char *consequence)
{
    struct report_member m;
    char text[48] = "has not been heard since hamgrd started", silent[24];

    report_look(l->r, s, slot, &m);
    if (m.is_up)
        return;
    if (m.is_heard)
        (void)snprintf(text, sizeof text, "has not been heard for %s",
                       span(m.heard_ms_ago, silent));
    warn(l, "%s (%s) %s%s", m.member->name, member_role_name(m.member->role), text, consequence);
}

static void about_voters(struct lines *l, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    const char *consequence = "";
    unsigned n, heard;

    report_voters(l->r, s, &n, &heard);
    if (heard < n / 2 + 1)
        warn(l, "no majority: %u of %u voters are heard, %u are needed: no primary can be chosen",
             heard, n, n / 2 + 1);
    else if (heard == n / 2 + 1)
        consequence = ": one failure away from an outage";
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if ((rec->voters >> slot) & 1)
            about_voter(l, s, (uint8_t)slot, consequence);
    if (n % 2 == 0 && n != 0)
        warn(l, "%u voters survive no more failures than %u: add or remove a witness", n, n - 1);
}

/* A list with commas; what does not fit is left out. */
HM_PRINTF(2, 3) static void list(char text[LIST_MAX], const char *format, ...)
{
    size_t n = strlen(text);
    va_list args;

    if (n > 0 && n + 2 < LIST_MAX)
        n += (size_t)snprintf(text + n, LIST_MAX - n, ", ");
    va_start(args, format);
    (void)vsnprintf(text + n, LIST_MAX - n, format, args);
    va_end(args);
}

static bool is_in_file(const struct settings *file, const char *name)
{
    for (size_t i = 0; i < file->members_n; i++)
        if (strcmp(file->member[i].name, name) == 0)
            return true;
    return false;
}

static void list_differences(const struct settings *file, const struct record *rec,
                             char text[LIST_MAX])
{
    for (size_t i = 0; i < file->members_n; i++) {
        const struct settings_member *m = &file->member[i];
        uint8_t slot = record_find_name(rec, m->name);

        if (slot == HM_NOBODY)
            list(text, "%s is no member", m->name);
        else if (strcmp(rec->member[slot].address, m->address) != 0)
            list(text, "%s is at %s", m->name, rec->member[slot].address);
    }
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct member *m = &rec->member[slot];

        if (m->role != ROLE_NONE && m->role != ROLE_OBSERVER && !is_in_file(file, m->name))
            list(text, "%s is not in it", m->name);
    }
}

/* The record counts; but from a file that differs a node could not find the others again. */
static void about_file(struct lines *l, const struct report_service *s)
{
    const struct settings *file = l->r->settings;
    char what[LIST_MAX] = "";

    if (core_record(s->core) == NULL || s->core->state == ST_OUTSIDE || file->members_n == 0)
        return;
    list_differences(file, report_record(s->core), what);
    if (what[0] != '\0')
        warn(l, "the members in the file of %s are old (%s): see 'hamgr config show'", file->node,
             what);
}

/* --- the service ------------------------------------------------------------------------------ */

/* A pause that was forgotten looks like an outage: only the holder can end it. And a server that is
 * started by hand meanwhile waits in recovery, as on every start (ARCHITECTURE 5). */
static void about_pause(struct lines *l, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    const char *name = s->settings->name, *holder = "the primary";
    struct report_member m = { .is_up = true };

    if (rec->epoch != 0) {
        holder = rec->member[rec->holder].name;
        report_look(l->r, s, rec->holder, &m);
    }
    if (!m.is_up)
        warn(l,
             "%s is paused, and %s is lost: bring it back, or 'hamgr failover --force' on the "
             "member that is to go on",
             name, holder);
    else if (m.is_holder && rec->copy_id != 0 && m.gossip.copy_id != rec->copy_id &&
             (m.gossip.copy == COPY_STANDBY || m.gossip.copy == COPY_PRIMARY))
        warn(l,
             "%s is paused, and the copy of %s is not the one that the record names%s: 'hamgr "
             "resume', then 'hamgr failover --force' there goes on with its data",
             name, holder, m.gossip.copy == COPY_PRIMARY ? ", made a primary by hand" : "");
    else if (m.is_holder && m.gossip.copy == COPY_STANDBY)
        warn(l, "%s is paused, and the server of %s waits in recovery: 'hamgr resume' promotes it",
             name, holder);
    else
        warn(l, "%s is paused: nobody takes over if %s fails; go on with 'hamgr resume'", name,
             holder);
}

static void about_primary(struct lines *l, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    const char *name = s->settings->name;
    char stuck[REPORT_STUCK];
    hm_ms left_ms;

    if (rec->is_paused)
        about_pause(l, s);
    if (report_nobody_left(l->r, s, stuck))
        warn(l, "%s: no primary: %s", name, stuck);
    if (rec->epoch == 0)
        warn(l, "%s has had no primary yet", name);
    else if (!report_lease_left(l->r, s, &left_ms) && rec->holder == s->core->self)
        warn(l, "%s: %s has no lease: no commit is acknowledged", name, l->r->settings->node);
}

/* What is wrong only its own member knows. */
static void about_failures(struct lines *l, const struct report_service *s,
                           const struct report_member *m)
{
    const char *name = s->settings->name, *of = m->member->name;

    if (m->is_self && s->facts.trouble[0] != '\0')
        warn(l,
             "%s: the copy of %s could not be rebuilt, %u times: %.110s; mend that, then 'hamgr "
             "rebuild %s'",
             name, of, m->gossip.rebuild_failures, s->facts.trouble, of);
    else
        warn(l, "%s: the copy of %s could not be rebuilt, %u times: 'hamgr status' there says why",
             name, of, m->gossip.rebuild_failures);
}

/* A copy that does not stream cannot take over without loss, or at all. */
static void about_standby(struct lines *l, const struct report_service *s,
                          const struct report_member *m)
{
    const struct record *rec = report_record(s->core);
    const char *name = s->settings->name, *of = m->member->name;
    const char *trouble = m->is_self ? s->facts.trouble : "";
    const char *colon = trouble[0] != '\0' ? ": " : "";

    if (m->gossip.copy == COPY_PRIMARY)
        warn(l, "%s: %s runs as a primary, but %s is the holder: it must be taken down", name, of,
             rec->member[rec->holder].name);
    else if (m->gossip.rebuild_failures >= FAILURES_TOLD)
        about_failures(l, s, m);
    else if (m->gossip.wants_rebuild && m->gossip.copy != COPY_ABSENT &&
             m->gossip.copy != COPY_REBUILDING)
        warn(l, "%s: the copy of %s cannot go on and must be rebuilt%s%s", name, of, colon,
             trouble);
    else if (m->gossip.copy == COPY_REBUILDING)
        warn(l, "%s: the copy of %s is being rebuilt%s%s", name, of, colon, trouble);
    else if (m->gossip.copy != COPY_STANDBY)
        warn(l, "%s: the copy of %s is %s%s%s", name, of, copy_state_name(m->gossip.copy), colon,
             trouble);
    else if (!m->gossip.is_streaming)
        warn(l, "%s: %s does not stream from %s%s%s", name, of, rec->member[rec->holder].name,
             colon, trouble);
    else if (!m->gossip.is_healthy)
        warn(l, "%s: the standby of %s is not healthy%s%s", name, of, colon, trouble);
    else if (m->has_lag && rec->max_lag_bytes != 0 && m->lag_bytes > rec->max_lag_bytes &&
             rec->goal == DURABILITY_ASYNC)
        warn(l, "%s: %s is %" PRIu64 " bytes behind: more than max_lag_bytes, it cannot take over",
             name, of, m->lag_bytes);
}

/* What is received is safe, but a takeover waits until it is replayed, and readers see the past. */
static void about_replay(struct lines *l, const struct report_service *s,
                         const struct report_member *m)
{
    const struct service_replay *p = &s->facts.replay[m->slot];
    uint64_t lag = p->received > p->replayed ? p->received - p->replayed : 0;
    hm_ms limit_ms = (hm_ms)l->r->settings->replay_warn_seconds * 1000;
    char late[24], bytes[24];

    if (!p->is_known || limit_ms == 0 || p->behind_ms < limit_ms || m->gossip.is_delayed)
        return;
    warn(l, "%s: %s replays %s (%s) behind what it has, a takeover would wait for that: %s",
         s->settings->name, m->member->name, span(p->behind_ms, late), size(lag, bytes),
         m->is_self && s->facts.is_replay_paused
             ? "SELECT pg_wal_replay_resume() there"
             : "look for long queries, or a paused replay, there");
}

static void about_holder(struct lines *l, const struct report_service *s,
                         const struct report_member *m)
{
    const char *trouble = m->is_self ? s->facts.trouble : "";
    const char *verdict = m->is_self ? report_verdict(l->r, s) : NULL;
    const char *is = copy_state_name(m->gossip.copy);
    char stuck[REPORT_STUCK];

    if (report_holder_stuck(s, stuck)) {
        warn(l, "%s: no primary: %s", s->settings->name, stuck);
        return;
    }
    if (m->gossip.copy == COPY_PRIMARY && m->gossip.is_healthy)
        return;
    if (m->is_self && s->facts.stall[0] != '\0') {
        is = verdict != NULL && strcmp(verdict, "well") != 0 ? verdict : "late";
        trouble = s->facts.stall;
    } else if (m->gossip.copy == COPY_PRIMARY) {
        is = "not healthy";
    }
    warn(l, "%s: %s is the holder, but its copy is %s%s%s", s->settings->name, m->member->name, is,
         trouble[0] != '\0' ? ": " : "", trouble);
}

static void about_concern(struct lines *l, const struct report_service *s)
{
    if (s->facts.concern[0] != '\0')
        warn(l, "%s: the copy of %s: %s", s->settings->name, l->r->settings->node,
             s->facts.concern);
}

/* In async a failover may lose something: here it is. */
static void about_lost(struct lines *l, const struct report_service *s)
{
    if (s->facts.lost_ms != 0 && l->r->now_ms - s->facts.lost_ms < LOST_TOLD_MS)
        warn(l, "%s: %s", s->settings->name, s->facts.lost);
}

static bool is_standby(const struct report_member *m)
{
    return m->is_up && m->gossip.copy == COPY_STANDBY && m->gossip.is_streaming;
}

static void about_copies(struct lines *l, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    unsigned standbys = 0, members = 0;

    if (rec->epoch == 0)
        return;
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct report_member m;

        if (rec->member[slot].role != ROLE_DB)
            continue;
        report_look(l->r, s, (uint8_t)slot, &m);
        members++;
        if (m.is_holder) {
            if (m.is_up)
                about_holder(l, s, &m);
            continue;
        }
        if (m.is_up) {
            about_standby(l, s, &m);
            about_replay(l, s, &m);
        }
        if (is_standby(&m))
            standbys++;
    }
    if (standbys == 0 && members > 1)
        warn(l, "%s: no standby streams: nobody could take over from %s", s->settings->name,
             rec->member[rec->holder].name);
}

/* What is kept for another is lost to this disk; and who is not waited for must be made anew. */
static void about_slots(struct lines *l, const struct report_service *s)
{
    const char *name = s->settings->name, *node = l->r->settings->node;
    const struct service_facts *f = &s->facts;
    char held[24], most[24], ago[24];

    if (f->stranger_ms != 0 && l->r->now_ms - f->stranger_ms < STRANGER_TOLD_MS)
        warn(l, "%s: %s, and is no member: it was cut off; stop that server", name, f->stranger);
    for (size_t i = 0; i < f->drops_n; i++) {
        const struct service_drop *d = &f->drop[i];

        if (!d->is_over)
            warn(l,
                 "%s: %s dropped the slot of %s at %s, %s ago: %s: it is cloned when it comes back",
                 name, node, d->member, size(d->held_bytes, held),
                 span(l->r->now_ms - d->at_ms, ago), d->why);
    }
    for (size_t i = 0; i < f->slots_n; i++) {
        const struct service_slot *slot = &f->slot[i];

        if (f->slot_max_bytes != 0 && slot->held_bytes > f->slot_max_bytes / 2)
            warn(l, "%s: %s keeps %s of log for %s: its slot %s %s (slot_max_bytes)", name, node,
                 size(slot->held_bytes, held), slot->member,
                 slot->is_active ? "streams, but may hold only" : "is dropped above",
                 size(f->slot_max_bytes, most));
    }
    for (size_t i = 0; i < f->foreign_n; i++)
        warn(l,
             "%s: on %s a slot that nobody uses keeps %s of log: drop it with: "
             "SELECT pg_drop_replication_slot('%s')",
             name, node, size(f->foreign[i].held_bytes, held), f->foreign[i].name);
}

/* "; 3 sessions wait: start db2, 'hamgr status' there says what it lacks" */
static const char *what_to_do(const struct service_facts *f, const char *away, char text[112])
{
    char sessions[48] = "";

    if (f->has_waiting)
        (void)snprintf(sessions, sizeof sessions, "; %u session%s now", f->waiting,
                       f->waiting == 1 ? " waits" : "s wait");
    (void)snprintf(text, 112, "%s: bring back %s ('hamgr status' there)", sessions, away);
    return text;
}

static void add_name(char *list, size_t size, const char *name)
{
    size_t n = strlen(list);

    (void)snprintf(list + n, size - n, "%s%s", n > 0 ? " or " : "", name); /* cut at worst */
}

/* Fewer stream than must confirm a commit: clients wait, as strict promises. */
static void about_pair(struct lines *l, const struct report_service *s, const struct pair *p)
{
    char away[48] = "", next[112];
    unsigned streaming = 0;

    for (unsigned i = 0; i < p->n; i++) {
        struct report_member m;

        report_look(l->r, s, p->copies[i].member, &m);
        streaming += is_standby(&m);
        if (!is_standby(&m))
            add_name(away, sizeof away, m.member->name);
    }
    if (streaming < p->need)
        warn(l, "%s: commits wait: %u standby%s must confirm them, and %u stream%s%s",
             s->settings->name, p->need, p->need == 1 ? "" : "s", streaming,
             streaming == 1 ? "s" : "", what_to_do(&s->facts, away, next));
}

/* In strict nobody acknowledges alone: with no copy in a pair commits wait for the first. */
static void about_nobody(struct lines *l, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    char away[48] = "", next[112];

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct report_member m;

        if (rec->member[slot].role != ROLE_DB || slot == rec->holder)
            continue;
        report_look(l->r, s, slot, &m);
        if (!is_standby(&m))
            add_name(away, sizeof away, m.member->name);
    }
    if (away[0] != '\0')
        warn(l, "%s: commits wait: no standby is there that may confirm them%s", s->settings->name,
             what_to_do(&s->facts, away, next));
}

static void about_durability(struct lines *l, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    bool is_alone = false;

    if (s->facts.sessions_max != 0 && s->facts.sessions >= s->facts.sessions_max)
        warn(l,
             "%s: all %" PRIu32 " connections that clients may have on %s are taken: others are "
             "refused; look for idle ones, or raise max_connections",
             s->settings->name, s->facts.sessions_max, l->r->settings->node);
    if (s->facts.lax[0] != '\0')
        warn(l, "%s: %s: such commits may be lost in spite of '%s'", s->settings->name,
             s->facts.lax, durability_name(rec->goal));
    if (rec->epoch == 0 || rec->goal == DURABILITY_ASYNC)
        return;
    for (unsigned i = 0; i < rec->pairs_n; i++)
        is_alone = is_alone || pair_is_alone(&rec->pairs[i]);
    if (rec->durability != rec->goal)
        warn(l, "%s: '%s' was asked for, but only '%s' is promised yet", s->settings->name,
             durability_name(rec->goal), durability_name(rec->durability));
    else if (is_alone && rec->goal == DURABILITY_STRICT)
        about_nobody(l, s);
    else if (is_alone)
        warn(l, "%s: no standby is in sync: what is committed is on %s alone", s->settings->name,
             rec->member[rec->holder].name);
    for (unsigned i = 0; i < rec->pairs_n && rec->goal == DURABILITY_STRICT; i++)
        about_pair(l, s, &rec->pairs[i]);
}

size_t report_warnings(const struct report *r, char lines[][REPORT_WARNING_SIZE], size_t lines_max)
{
    struct lines l = { .line = lines, .max = lines_max, .r = r };
    unsigned voters_told_of = 0;
    char twin[REPORT_WARNING_SIZE];

    for (unsigned i = 0; report_twin(r, i, twin); i++)
        warn(&l, "%s", twin);
    for (size_t i = 0; i < r->services_n; i++) {
        about_state(&l, &r->service[i]);
        about_disk(&l, &r->service[i]);
        about_primary(&l, &r->service[i]);
        about_durability(&l, &r->service[i]);
        about_copies(&l, &r->service[i]);
        about_concern(&l, &r->service[i]);
        about_lost(&l, &r->service[i]);
        about_slots(&l, &r->service[i]);
        about_fence(&l, &r->service[i]);
        about_file(&l, &r->service[i]);
        about_disks(&l, &r->service[i]);
        /* The links are those of all services, so that the first one tells of silent voters. */
        if (voters_told_of++ == 0 && r->service[i].core->state != ST_OUTSIDE)
            about_voters(&l, &r->service[i]);
    }
    about_loop(&l);
    about_sentinel(&l);
    return l.n;
}
