#include "daemon/report.h"

#include "base/clock.h"
#include "core/narrate.h"
#include "daemon/report_inner.h"
#include "wire/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- small values ----------------------------------------------------------------------------- */

/* NULL means that something could not be made; set() then tells, and all ends as "no memory". */
static int set(json_t *to, const char *key, json_t *value)
{
    return json_object_set_new(to, key, value);
}

static json_t *text_or_null(const char *s)
{
    return s != NULL && s[0] != '\0' ? ctl_text(s) : json_null();
}

static json_t *bytes(uint64_t n)
{
    return json_integer((json_int_t)(n > INT64_MAX ? INT64_MAX : n));
}

static json_t *name_of(const struct record *rec, uint8_t slot)
{
    return slot < HM_MEMBERS_MAX ? text_or_null(rec->member[slot].name) : json_null();
}

static json_t *position(enum service_kind kind, const struct position *at)
{
    char text[40];

    if (at->offset == 0)
        return json_null();
    if (kind == SERVICE_POSTGRES)
        (void)snprintf(text, sizeof text, "%" PRIX32 "/%07" PRIX32, (uint32_t)(at->offset >> 32),
                       (uint32_t)at->offset);
    else
        (void)snprintf(text, sizeof text, "%" PRIu64, at->offset);
    return json_string(text);
}

/* Redis has none: the number stands for a replication id, and tells nobody anything. */
static json_t *timeline(enum service_kind kind, const struct position *at)
{
    return kind == SERVICE_POSTGRES && at->timeline != 0 ? bytes(at->timeline) : json_null();
}

static const char *kind_name(enum service_kind kind)
{
    return kind == SERVICE_POSTGRES ? "postgres" : "redis";
}

static const char *reason_name(enum change_reason reason)
{
    switch (reason) {
    case CHANGE_FIRST:
        return "first primary of the cluster";
    case CHANGE_LEASE_RAN_OUT:
        return "the lease ran out";
    case CHANGE_RELEASED:
        return "the primary gave the lease away";
    case CHANGE_SWITCHOVER:
        return "switchover";
    case CHANGE_FORCED:
        return "forced by the operator";
    }
    return "?";
}

/* --- a service -------------------------------------------------------------------------------- */

static json_t *fence_of(const struct report_service *s, hm_ms now_ms)
{
    const struct fence_report *f = &s->fence;
    json_t *j = json_object();
    int rc = set(j, "is_there", json_boolean(s->has_fence));

    rc |= set(j, "mode", json_string(fence_mode_name(f->mode)));
    rc |= set(j, "left_ms",
              f->mode == FENCE_LEASE ? json_integer(hm_max_ms(0, f->suspend_ms - now_ms))
                                     : json_null());
    rc |= set(j, "has_gate", json_boolean(f->has_gate));
    rc |= set(j, "is_gate_open", json_boolean(f->is_gate_open));
    rc |= set(j, "has_lock", json_boolean(f->has_lock));
    rc |= set(j, "has_priority", json_boolean(f->has_priority));
    rc |= set(j, "has_watchdog", json_boolean(f->has_watchdog));
    rc |= set(j, "processes", json_integer(f->processes));
    rc |= set(j, "stopped", json_integer(f->stopped));
    rc |= set(j, "why", text_or_null(f->why));
    return rc == 0 ? j : NULL;
}

static json_t *pairs_of(const struct record *rec)
{
    json_t *list = json_array();
    int rc = 0;

    for (unsigned i = 0; i < rec->pairs_n; i++) {
        const struct pair *p = &rec->pairs[i];
        json_t *copies = json_array();

        for (unsigned k = 0; k < p->n; k++)
            rc |= json_array_append_new(copies, name_of(rec, p->copies[k].member));
        rc |= json_array_append_new(list,
                                    json_pack("{s:i,s:o}", "need", (int)p->need, "copies", copies));
    }
    return rc == 0 ? list : NULL;
}

static json_t *switchover_of(const struct record *rec)
{
    if (rec->switchover.phase == SWITCH_NONE)
        return json_null();
    return json_pack("{s:o,s:o}", "to", name_of(rec, rec->switchover.to), "order",
                     bytes(rec->switchover.order));
}

static json_t *progress_of(const struct progress *p)
{
    if (!p->is_known)
        return json_null();
    return json_pack("{s:i,s:o,s:o,s:o}", "percent", (int)p->percent, "done_bytes",
                     p->total != 0 ? bytes(p->done) : json_null(), "total_bytes",
                     p->total != 0 ? bytes(p->total) : json_null(), "bytes_per_s",
                     p->bytes_per_s != 0 ? bytes(p->bytes_per_s) : json_null());
}

static json_t *facts_of(const struct report *r, const struct report_service *s)
{
    json_t *j = json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "version", text_or_null(s->facts.version), "detail",
        text_or_null(s->facts.detail), "doing", text_or_null(s->facts.doing), "progress",
        progress_of(&s->facts.progress), "trouble", text_or_null(s->facts.trouble), "concern",
        text_or_null(s->facts.concern), "diverged", text_or_null(s->facts.lost));

    if (j == NULL || report_add_health(j, r, s) == 0)
        return j;
    json_decref(j);
    return NULL;
}

static int add_slots(json_t *j, const struct service_facts *f)
{
    int rc =
        set(j, "slot_max_bytes", f->slot_max_bytes != 0 ? bytes(f->slot_max_bytes) : json_null());

    rc |= set(j, "slots", report_slots(f));
    rc |= set(j, "foreign_slots", report_foreign_slots(f));
    return rc | set(j, "dropped_slots", report_dropped_slots(f));
}

static json_t *link_of(const struct report *r, const char *name)
{
    struct link_state link = { .is_up = false };

    if (r->links == NULL)
        return json_null();
    link_look(r->links, name, &link);
    if (link.is_up)
        return json_string("up");
    return ctl_text(link.why[0] != '\0' ? link.why : "not connected yet");
}

static int add_replay(json_t *j, const struct service_replay *p)
{
    uint64_t lag = p->received > p->replayed ? p->received - p->replayed : 0;
    int rc = set(j, "replay_lag_bytes", p->is_known ? bytes(lag) : json_null());

    return rc | set(j, "replay_lag_ms", p->is_known ? json_integer(p->behind_ms) : json_null());
}

static json_t *member_of(const struct report *r, const struct report_service *s, uint8_t slot)
{
    const struct record *rec = report_record(s->core);
    struct report_member m;
    json_t *j = json_object();
    int rc;

    report_look(r, s, slot, &m);
    rc = set(j, "name", json_string(m.member->name));
    rc |= set(j, "role", json_string(member_role_name(m.member->role)));
    rc |= set(j, "address", json_string(m.member->address));
    rc |= set(j, "is_self", json_boolean(m.is_self));
    rc |= set(j, "is_holder", json_boolean(m.is_holder));
    rc |= set(j, "is_voter", json_boolean((rec->voters >> slot) & 1));
    rc |= set(j, "is_up", json_boolean(m.is_up));
    rc |= set(j, "heard_ms_ago", m.is_heard ? json_integer(m.heard_ms_ago) : json_null());
    rc |= set(j, "link", m.is_self ? json_null() : link_of(r, m.member->name));
    if (m.member->role != ROLE_DB)
        return rc == 0 ? j : NULL;
    rc |= set(j, "copy", m.is_heard ? json_string(copy_state_name(m.gossip.copy)) : json_null());
    rc |= set(j, "position", position(rec->kind, &m.gossip.at));
    rc |= set(j, "timeline", timeline(rec->kind, &m.gossip.at));
    rc |= set(j, "lag_bytes", m.has_lag ? bytes(m.lag_bytes) : json_null());
    rc |= add_replay(j, &s->facts.replay[slot]);
    rc |= set(j, "is_streaming", json_boolean(m.gossip.is_streaming));
    rc |= set(j, "follows", m.is_heard ? name_of(rec, m.gossip.follows) : json_null());
    rc |= set(j, "is_healthy", json_boolean(m.gossip.is_healthy));
    rc |= set(j, "wants_rebuild", json_boolean(m.gossip.wants_rebuild));
    rc |= set(j, "is_rebuilding", json_boolean(m.gossip.is_rebuilding));
    rc |= set(j, "rebuilt_percent",
              m.gossip.is_rebuilding ? json_integer(m.gossip.rebuilt_percent) : json_null());
    rc |= set(j, "rebuild_failures", json_integer(m.gossip.rebuild_failures));
    rc |= set(j, "priority", json_integer(m.gossip.priority));
    rc |= set(j, "is_nofailover", json_boolean(m.gossip.is_nofailover));
    rc |= set(j, "is_delayed", json_boolean(m.gossip.is_delayed));
    rc |= set(j, "sees_majority", json_boolean(m.gossip.sees_majority));
    rc |= set(j, "facts", m.is_self ? facts_of(r, s) : json_null());
    return rc == 0 ? j : NULL;
}

static json_t *members_of(const struct report *r, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    json_t *list = json_array();
    int rc = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (rec->member[slot].role != ROLE_NONE)
            rc |= json_array_append_new(list, member_of(r, s, (uint8_t)slot));
    return rc == 0 ? list : NULL;
}

static json_t *voters_of(const struct report *r, const struct report_service *s)
{
    unsigned n, heard;

    report_voters(r, s, &n, &heard);
    return json_pack("{s:i,s:i,s:i}", "n", (int)n, "heard", (int)heard, "majority",
                     (int)(n / 2 + 1));
}

static int add_lease(json_t *j, const struct report *r, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    hm_ms left_ms;
    int rc;

    rc = set(j, "holder", rec->epoch != 0 ? name_of(rec, rec->holder) : json_null());
    rc |= set(j, "lease_left_ms",
              report_lease_left(r, s, &left_ms) ? json_integer(left_ms) : json_null());
    rc |= set(j, "ttl_ms", json_integer(rec->ttl_ms));
    rc |= set(j, "heartbeat_ms", json_integer(rec->heartbeat_ms));
    return rc | set(j, "is_paused", json_boolean(rec->is_paused));
}

static int add_durability(json_t *j, const struct record *rec)
{
    int rc = set(j, "durability", json_string(durability_name(rec->durability)));

    rc |= set(j, "goal", json_string(durability_name(rec->goal)));
    rc |= set(j, "sync_standbys", json_integer(rec->sync_standbys));
    rc |= set(j, "max_lag_bytes", bytes(rec->max_lag_bytes));
    return rc | set(j, "pairs", pairs_of(rec));
}

static json_t *waiting_of(const struct service_facts *f)
{
    return f->has_waiting ? json_integer((json_int_t)f->waiting) : json_null();
}

static json_t *service_of(const struct report *r, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    json_t *j = json_object();
    int rc;

    rc = set(j, "name", json_string(s->settings->name));
    rc |= set(j, "kind", json_string(kind_name(rec->kind)));
    rc |= set(j, "port", json_integer(s->settings->port));
    rc |= set(j, "state", json_string(core_state_name(s->core->state)));
    rc |= set(j, "rule", json_integer(s->core->rule));
    rc |= set(j, "why", json_string(core_why(s->core)));
    rc |= set(j, "epoch", bytes(rec->epoch));
    rc |= set(j, "version", bytes(rec->version));
    rc |= add_lease(j, r, s);
    rc |= add_durability(j, rec);
    rc |= set(j, "waiting_commits", waiting_of(&s->facts));
    rc |= set(j, "switchover", switchover_of(rec));
    rc |= set(j, "voters", voters_of(r, s));
    rc |= set(j, "fence", fence_of(s, r->now_ms));
    rc |= set(j, "members", members_of(r, s));
    rc |= add_slots(j, &s->facts);
    return rc == 0 ? j : NULL;
}

/* --- the documents ---------------------------------------------------------------------------- */

static json_t *of_each_service(const struct report *r, const char *service,
                               json_t *(*make)(const struct report *r,
                                               const struct report_service *s))
{
    json_t *list = json_array();
    int rc = 0;

    for (size_t i = 0; i < r->services_n; i++)
        if (service == NULL || service[0] == '\0' ||
            strcmp(service, r->service[i].settings->name) == 0)
            rc |= json_array_append_new(list, make(r, &r->service[i]));
    if (rc == 0)
        return list;
    json_decref(list);
    return NULL;
}

static int add_head(json_t *j, const struct report *r)
{
    char now[32];
    int rc;

    report_time(clock_wall_ms(), now);
    rc = set(j, "cluster", json_string(r->settings->cluster));
    rc |= set(j, "node", json_string(r->settings->node));
    rc |= set(j, "software", json_string("hamgr " HAMGR_VERSION));
    return rc | set(j, "time", json_string(now));
}

static json_t *loop_of(const struct report *r)
{
    json_t *j = json_object();
    bool has_latest = r->stall_latest_ms != 0;
    int rc = set(j, "stall_longest_ms", json_integer(r->stall_longest_ms));

    rc |= set(j, "stall_latest_ms", has_latest ? json_integer(r->stall_latest_ms) : json_null());
    rc |=
        set(j, "stall_ms_ago", has_latest ? json_integer(r->now_ms - r->stall_at_ms) : json_null());
    return rc == 0 ? j : NULL;
}

static json_t *warnings_of(const struct report *r)
{
    char lines[32][REPORT_WARNING_SIZE];
    size_t n = report_warnings(r, lines, HM_ARRAY_LEN(lines));
    json_t *list = json_array();
    int rc = 0;

    for (size_t i = 0; i < n; i++)
        rc |= json_array_append_new(list, ctl_text(lines[i]));
    return rc == 0 ? list : NULL;
}

static json_t *whole(json_t *j, int rc)
{
    if (rc == 0)
        return j;
    json_decref(j);
    return NULL;
}

json_t *report_status(const struct report *r, const char *service)
{
    json_t *j = json_object();
    int rc = add_head(j, r);

    rc |= set(j, "uptime_ms", json_integer(r->now_ms - r->started_ms));
    rc |= set(j, "loop", loop_of(r));
    rc |= set(j, "services", of_each_service(r, service, service_of));
    rc |= set(j, "warnings", warnings_of(r));
    return whole(j, rc);
}

static json_t *events_of(const struct report *r, const struct report_service *s)
{
    size_t n;
    const struct chronicle_line *line = chronicle_lines(s->chronicle, &n);
    json_t *list = json_array();
    int rc = 0;

    for (size_t i = 0; i < n; i++) {
        char first[32], last[32];

        report_time(line[i].first_ms, first);
        report_time(line[i].last_ms, last);
        rc |= json_array_append_new(list,
                                    json_pack("{s:s,s:s,s:i,s:s,s:o}", "time", first, "last", last,
                                              "times", (int)line[i].times, "member",
                                              r->settings->node, "text", ctl_text(line[i].text)));
    }
    return rc == 0 ? list : NULL;
}

static json_t *changes_of(const struct report *r, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    json_t *list = json_array();
    int rc = 0;

    for (unsigned i = 0; i < rec->changes_n; i++) {
        const struct change *c = &rec->changes[i];
        char at[32];

        report_time(c->at, at);
        rc |= json_array_append_new(list, json_pack("{s:o,s:s,s:o,s:s}", "epoch", bytes(c->epoch),
                                                    "time", at, "holder", name_of(rec, c->holder),
                                                    "reason", reason_name(c->reason)));
    }
    return json_pack("{s:s,s:o,s:o,s:o}", "name", s->settings->name, "changes",
                     rc == 0 ? list : NULL, "events", events_of(r, s), "dropped_slots",
                     report_dropped_slots(&s->facts));
}

json_t *report_history(const struct report *r, const char *service)
{
    json_t *j = json_object();
    int rc = add_head(j, r);

    rc |= set(j, "services", of_each_service(r, service, changes_of));
    return whole(j, rc);
}

/* Members are the same for every service but while they change: the first service is asked. */
static json_t *list_members(const struct report *r)
{
    const struct report_service *s = &r->service[0];
    json_t *list = json_array();
    int rc = 0;

    if (r->services_n == 0)
        return list;
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct record *rec = report_record(s->core);
        struct report_member m;
        char incarnation[20];

        if (rec->member[slot].role == ROLE_NONE)
            continue;
        report_look(r, s, (uint8_t)slot, &m);
        (void)snprintf(incarnation, sizeof incarnation, "%016" PRIx64, m.member->incarnation);
        rc |= json_array_append_new(
            list,
            json_pack("{s:s,s:s,s:s,s:o,s:b,s:b,s:b,s:o,s:o}", "name", m.member->name, "role",
                      member_role_name(m.member->role), "address", m.member->address, "incarnation",
                      m.member->incarnation != 0 ? json_string(incarnation) : json_null(),
                      "is_voter", (rec->voters >> slot) & 1, "is_self", (int)m.is_self, "is_up",
                      (int)m.is_up, "heard_ms_ago",
                      m.is_heard ? json_integer(m.heard_ms_ago) : json_null(), "link",
                      m.is_self ? json_null() : link_of(r, m.member->name)));
    }
    return rc == 0 ? list : NULL;
}

json_t *report_members(const struct report *r)
{
    json_t *j = json_object();
    int rc = add_head(j, r);

    rc |= set(j, "members", list_members(r));
    return whole(j, rc);
}
