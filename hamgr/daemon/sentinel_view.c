#include "daemon/sentinel_view.h"

#include <stdio.h>
#include <string.h>

/* Redis' own scale: 100 unless said otherwise, the lowest is best, 0 is never. */
enum { PRIORITY_USUAL = 100, PRIORITY_WORST = 2000, FAILOVER_LIMIT_MS = 120000 };

/* What is believed of a slot, of the own copy or by gossip. */
struct seen {
    bool is_heard; /* within the lease time */
    hm_ms heard_ms;
    enum copy_state copy;
    uint64_t copy_id;
    uint64_t offset;
    uint8_t follows;
    bool is_streaming;
    bool has_lease;
    int16_t priority;
    bool is_nofailover;
    bool lets_clients_in; /* by its own word; of another member */
};

static void see_self(const struct core *c, hm_ms now_ms, struct seen *ret)
{
    *ret = (struct seen){ .is_heard = true,
                          .heard_ms = now_ms,
                          .copy = c->has_copy ? c->copy.state : COPY_UNKNOWN,
                          .copy_id = c->copy.copy_id,
                          .offset = c->copy.at.offset,
                          .follows = c->copy.follows,
                          .is_streaming = c->copy.is_streaming,
                          .has_lease = core_valid_until(c) > now_ms || c->is_paused,
                          .priority = c->config.priority,
                          .is_nofailover = c->config.is_nofailover || c->copy.is_delayed };
}

static void see(const struct core *c, uint8_t slot, hm_ms now_ms, struct seen *ret)
{
    const struct peer *p = &c->view.peer[slot];

    if (slot == c->self) {
        see_self(c, now_ms, ret);
        return;
    }
    *ret = (struct seen){ .heard_ms = HM_NEVER, .follows = HM_NOBODY };
    if (!p->is_known)
        return;
    *ret = (struct seen){ .is_heard = p->heard_ms >= now_ms - core_record(c)->ttl_ms,
                          .heard_ms = p->heard_ms,
                          .copy = p->gossip.copy,
                          .copy_id = p->gossip.copy_id,
                          .offset = p->gossip.at.offset,
                          .follows = p->gossip.follows,
                          .is_streaming = p->gossip.is_streaming,
                          .has_lease = p->gossip.is_holder,
                          .priority = p->gossip.priority,
                          .is_nofailover = p->gossip.is_nofailover,
                          .lets_clients_in = p->gossip.is_open };
}

/* --- texts --------------------------------------------------------------------------------------
 */

void sentinel_view_id(uint64_t cluster, uint64_t incarnation, char id[MODEL_ID_SIZE])
{
    (void)snprintf(id, MODEL_ID_SIZE, "%016llx%016llx00000000", (unsigned long long)cluster,
                   (unsigned long long)incarnation);
}

/* Stands for the run of a server: gossip tells the copy's id, which is another with each run. */
static void print_run(uint64_t copy_id, char run_id[MODEL_ID_SIZE])
{
    run_id[0] = '\0';
    if (copy_id != 0)
        (void)snprintf(run_id, MODEL_ID_SIZE, "%016llx%024d", (unsigned long long)copy_id, 0);
}

void sentinel_view_place(const struct member *m, uint16_t port, struct model_place *ret)
{
    const char *colon = strrchr(m->address, ':');
    size_t n = colon != NULL ? (size_t)(colon - m->address) : strlen(m->address);
    bool is_bracketed = n >= 2 && m->address[0] == '[' && m->address[n - 1] == ']';

    (void)snprintf(ret->host, sizeof ret->host, "%.*s", (int)(is_bracketed ? n - 2 : n),
                   m->address + (is_bracketed ? 1 : 0));
    ret->port = port;
}

/* --- when a new primary is told -----------------------------------------------------------------
 */

/* Its replication id is in the record, which a majority has chosen: it is promoted, and its gate is
 * being opened. */
static bool is_promotion_known(const struct core *c, const struct record *r)
{
    const struct timeline *t = record_timeline(r);

    return core_leader(c) == r->holder && t != NULL && t->epoch == r->epoch &&
           (t->timeline & HM_TIMELINE_OPEN) == 0;
}

static bool takes_writes(const struct seen *s)
{
    return s->is_heard && s->copy == COPY_PRIMARY && s->has_lease;
}

/* May clients be told of the record's holder now? *ret_again_ms: when to look again, if not. */
static bool is_open(struct sentinel_view *v, const struct sentinel_view_service *s,
                    const struct record *r, const struct seen *holder, hm_ms now_ms,
                    hm_ms *ret_again_ms)
{
    if (r->holder == s->core->self)
        return takes_writes(holder) && s->is_gate_open && is_promotion_known(s->core, r) &&
               s->core->is_chosen;
    if (!is_promotion_known(s->core, r))
        return false;
    if (v->promoted_epoch != r->epoch) {
        v->promoted_epoch = r->epoch;
        v->promoted_ms = now_ms;
    }
    /* It says so as soon as its gate is open; one of an older version never does. */
    if (holder->lets_clients_in || now_ms >= v->promoted_ms + r->heartbeat_ms)
        return true;
    *ret_again_ms = v->promoted_ms + r->heartbeat_ms;
    return false;
}

static bool is_switchover(const struct record *r)
{
    return r->changes_n > 0 && r->changes[r->changes_n - 1].reason == CHANGE_SWITCHOVER &&
           r->changes[r->changes_n - 1].epoch == r->epoch;
}

static void announce(struct sentinel_view *v, const struct sentinel_view_service *s,
                     const struct record *r, hm_ms now_ms)
{
    if (!v->is_there || v->slot != r->holder)
        v->since_ms = now_ms;
    v->is_there = true;
    v->slot = r->holder;
    v->epoch = r->epoch;
    v->is_planned = is_switchover(r);
    v->is_sdown = v->is_odown = false;
    v->heard_ms = HM_NEVER;
    v->run_id[0] = '\0';
    sentinel_view_place(&r->member[r->holder], s->port, &v->at);
    sentinel_view_id(r->cluster, r->member[r->holder].incarnation, v->by);
}

/* --- the primary --------------------------------------------------------------------------------
 */

/* It is standing for the lease itself. */
static bool is_candidate(enum core_state s)
{
    return s == ST_PREPARE || s == ST_FREEZE || s == ST_YIELD || s == ST_FETCH || s == ST_RESCUE ||
           s == ST_ACCEPT;
}

static void set(bool *flag, hm_ms *since_ms, bool is_set, hm_ms now_ms)
{
    if (is_set && !*flag)
        *since_ms = now_ms;
    *flag = is_set;
}

static void count_voters(const struct core *c, const struct record *r, hm_ms now_ms,
                         struct model_master *ret)
{
    uint16_t heard = view_heard(&c->view, now_ms - r->ttl_ms);
    unsigned n = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        if (!((r->voters >> slot) & 1))
            continue;
        n++;
        ret->voters_heard += slot == c->self || ((heard >> slot) & 1) ? 1 : 0;
    }
    ret->quorum = n / 2 + 1;
}

static void fill_master(struct sentinel_view *v, const struct sentinel_view_service *s,
                        const struct record *r, hm_ms now_ms, struct model_master *ret)
{
    const struct core *c = s->core;
    bool has_successor = v->epoch != r->epoch;
    bool is_planned = r->switchover.phase != SWITCH_NONE || (has_successor && is_switchover(r));
    bool is_up, is_failover = has_successor || is_planned || is_candidate(c->state);
    struct seen seen;

    see(c, v->slot, now_ms, &seen);
    is_up = takes_writes(&seen) ||
            (v->promoted_epoch == v->epoch && now_ms < v->promoted_ms + r->heartbeat_ms);
    if (seen.heard_ms != HM_NEVER)
        v->heard_ms = seen.heard_ms;
    if (seen.copy == COPY_PRIMARY)
        print_run(seen.copy_id, v->run_id);
    count_voters(c, r, now_ms, ret);
    /* Nothing is wrong with what is being handed over, unless that takes long. */
    set(&v->is_failover, &v->failover_ms, is_failover, now_ms);
    is_planned = is_planned && now_ms < v->failover_ms + r->ttl_ms;
    set(&v->is_sdown, &v->sdown_ms, (has_successor || !is_up) && !is_planned, now_ms);
    set(&v->is_odown, &v->odown_ms,
        v->is_sdown &&
            (has_successor || (ret->voters_heard >= ret->quorum && core_leader(c) == HM_NOBODY)),
        now_ms);

    (void)snprintf(ret->name, sizeof ret->name, "%s", s->name);
    ret->at = v->at;
    memcpy(ret->run_id, v->run_id, sizeof ret->run_id);
    memcpy(ret->by, v->by, sizeof ret->by);
    ret->epoch = v->epoch;
    ret->is_planned = v->is_planned;
    ret->is_connected = seen.is_heard && (seen.copy == COPY_PRIMARY || seen.copy == COPY_STANDBY);
    ret->is_sdown = v->is_sdown;
    ret->is_odown = v->is_odown;
    ret->is_failover = is_failover;
    set(&v->is_unsettled, &v->unsettled_ms, ret->is_sdown || ret->is_failover, now_ms);
    ret->unsettled_ms = v->is_unsettled ? v->unsettled_ms : HM_NEVER;
    ret->sdown_ms = v->sdown_ms;
    ret->odown_ms = v->odown_ms;
    ret->heard_ms = v->heard_ms;
    ret->reported_ms = v->since_ms;
    ret->down_after_ms = r->ttl_ms;
    ret->failover_limit_ms = FAILOVER_LIMIT_MS;
}

/* --- the others ---------------------------------------------------------------------------------
 */

static uint32_t priority_of(const struct seen *s)
{
    int priority = PRIORITY_USUAL - s->priority;

    if (s->is_nofailover)
        return 0;
    if (priority < 1)
        return 1;
    return (uint32_t)(priority < PRIORITY_WORST ? priority : PRIORITY_WORST);
}

/* The record names it, and clients were not told of it yet. */
static bool is_being_promoted(const struct sentinel_view *v, const struct record *r, uint8_t slot)
{
    return slot == r->holder && v->epoch != r->epoch;
}

/* Remembers since when a copy is as it is. */
static void note_peer(struct sentinel_view *v, const struct record *r, uint8_t slot,
                      const struct seen *seen, hm_ms now_ms)
{
    bool is_standby = seen->is_heard && seen->copy == COPY_STANDBY;
    bool is_known = v->peer[slot].incarnation == r->member[slot].incarnation;
    /* One that comes back is shown when it streams: until then its gate may be closed, and what it
     * has may be on its way out. One that was shown stays, because old data are better than none.
     */
    bool is_up = is_standby && (seen->is_streaming || (is_known && v->peer[slot].is_up));
    bool is_linked = is_standby && seen->is_streaming;
    enum model_role was = v->peer[slot].reported;

    if (is_being_promoted(v, r, slot) && seen->copy == COPY_PRIMARY)
        return; /* it is the next master, and no standby that fails */

    if (!is_known) {
        memset(&v->peer[slot], 0, sizeof v->peer[slot]);
        v->peer[slot].incarnation = r->member[slot].incarnation;
        v->peer[slot].changed_ms = v->peer[slot].link_changed_ms = now_ms;
        v->peer[slot].reported_ms = now_ms;
        v->peer[slot].reported = was = MODEL_ROLE_SLAVE;
    }
    if (v->peer[slot].is_up != is_up)
        v->peer[slot].changed_ms = now_ms;
    if (v->peer[slot].is_linked != is_linked)
        v->peer[slot].link_changed_ms = now_ms;
    v->peer[slot].is_up = is_up;
    v->peer[slot].is_linked = is_linked;
    if (slot == v->slot || (seen->is_heard && seen->copy == COPY_PRIMARY))
        v->peer[slot].reported = MODEL_ROLE_MASTER;
    else if (is_up)
        v->peer[slot].reported = MODEL_ROLE_SLAVE;
    if (v->peer[slot].reported != was)
        v->peer[slot].reported_ms = now_ms;
}

static void fill_replica(const struct sentinel_view *v, const struct sentinel_view_service *s,
                         const struct record *r, uint8_t slot, const struct seen *seen,
                         struct model_replica *ret)
{
    bool follows_member =
        seen->follows < HM_MEMBERS_MAX && r->member[seen->follows].role == ROLE_DB;

    *ret = (struct model_replica){ .is_up = v->peer[slot].is_up,
                                   .is_promoted = is_being_promoted(v, r, slot),
                                   .changed_ms = v->peer[slot].changed_ms,
                                   .heard_ms = seen->heard_ms,
                                   .reported = v->peer[slot].reported,
                                   .reported_ms = v->peer[slot].reported_ms,
                                   .is_linked = v->peer[slot].is_linked,
                                   .link_changed_ms = v->peer[slot].link_changed_ms,
                                   .priority = priority_of(seen),
                                   .offset = seen->offset };
    sentinel_view_place(&r->member[slot], s->port, &ret->at);
    print_run(seen->copy_id, ret->run_id);
    if (follows_member)
        sentinel_view_place(&r->member[seen->follows], s->port, &ret->master);
}

bool sentinel_view_look(struct sentinel_view *v, const struct sentinel_view_service *s,
                        hm_ms now_ms, struct model_master *ret, hm_ms *ret_again_ms)
{
    const struct record *r = core_record(s->core);
    struct seen seen;

    *ret_again_ms = HM_NEVER;
    if (r == NULL || r->epoch == 0)
        return false;
    see(s->core, r->holder, now_ms, &seen);
    /* The first one is told as it stands in the record: marked as down, if it is. */
    if (!v->is_there || (v->epoch != r->epoch && is_open(v, s, r, &seen, now_ms, ret_again_ms)))
        announce(v, s, r, now_ms);
    memset(ret, 0, sizeof *ret);
    fill_master(v, s, r, now_ms, ret);
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        if (r->member[slot].role != ROLE_DB)
            continue;
        see(s->core, slot, now_ms, &seen);
        note_peer(v, r, slot, &seen, now_ms);
        if (slot != v->slot)
            fill_replica(v, s, r, slot, &seen, &ret->replica[ret->replicas_n++]);
    }
    return true;
}
