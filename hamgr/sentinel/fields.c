/* fields.c - masters, replicas and sentinels with the fields of a real 7.0.15. */
#include "sentinel/inner.h"

#include "base/text.h"

enum { FIELDS_OF_MASTER = 20, FIELDS_OF_REPLICA = 21, FIELDS_OF_SENTINEL = 14, FLAGS_SIZE = 96 };

static void put_field(struct resp_out *o, const char *name, const char *value)
{
    resp_put_text(o, name);
    resp_put_text(o, value);
}

static void put_number(struct resp_out *o, const char *name, uint64_t value)
{
    resp_put_text(o, name);
    resp_put_u64(o, value);
}

/* How long ago; 0 for what never was, as a Sentinel has it. */
static void put_since(struct resp_out *o, const char *name, hm_ms since_ms, hm_ms now_ms)
{
    put_number(o, name,
               since_ms == HM_NEVER || since_ms > now_ms ? 0 : (uint64_t)(now_ms - since_ms));
}

static void put_place(struct resp_out *o, const struct model_place *at, const char *run_id)
{
    put_field(o, "ip", at->host);
    put_number(o, "port", at->port);
    put_field(o, "runid", run_id);
}

/* Heartbeats stand for the PINGs that a Sentinel would send. */
static void put_link(struct resp_out *o, bool is_up, hm_ms heard_ms, hm_ms now_ms)
{
    put_number(o, "link-pending-commands", 0);
    put_number(o, "link-refcount", 1);
    put_since(o, "last-ping-sent", is_up ? HM_NEVER : heard_ms, now_ms);
    put_since(o, "last-ok-ping-reply", heard_ms, now_ms);
    put_since(o, "last-ping-reply", heard_ms, now_ms);
}

static void add_flag(struct text *t, bool is_set, const char *flag)
{
    if (!is_set)
        return;
    text_add(t, t->length > 0 ? "," : "");
    text_add(t, flag);
}

void put_master(struct resp_out *o, const struct model *all, const struct model_master *m,
                hm_ms now_ms)
{
    char flags[FLAGS_SIZE];
    struct text t;

    text_init(&t, flags, sizeof flags);
    add_flag(&t, m->is_sdown, "s_down");
    add_flag(&t, m->is_odown, "o_down");
    add_flag(&t, true, "master");
    add_flag(&t, !m->is_connected, "disconnected");
    add_flag(&t, m->is_failover, "failover_in_progress");

    resp_put_map(o, FIELDS_OF_MASTER + (m->is_sdown ? 1u : 0u) + (m->is_odown ? 1u : 0u));
    put_field(o, "name", m->name);
    put_place(o, &m->at, m->run_id);
    put_field(o, "flags", flags);
    put_link(o, m->is_connected, m->heard_ms, now_ms);
    if (m->is_sdown)
        put_since(o, "s-down-time", m->sdown_ms, now_ms);
    if (m->is_odown)
        put_since(o, "o-down-time", m->odown_ms, now_ms);
    put_number(o, "down-after-milliseconds", (uint64_t)m->down_after_ms);
    put_since(o, "info-refresh", m->heard_ms, now_ms);
    put_field(o, "role-reported", "master");
    put_since(o, "role-reported-time", m->reported_ms, now_ms);
    put_number(o, "config-epoch", m->epoch);
    put_number(o, "num-slaves", m->replicas_n);
    put_number(o, "num-other-sentinels", count_sentinels(all));
    put_number(o, "quorum", m->quorum);
    put_number(o, "failover-timeout", (uint64_t)m->failover_limit_ms);
    put_number(o, "parallel-syncs", m->replicas_n > 0 ? m->replicas_n : 1);
}

/* Whoever is told of one that becomes the master, and begins to read there, would do so for ever:
 * the libraries that do not look at the role have no word but "s_down" to stay away. */
static const char *flags_of_replica(const struct model_replica *r)
{
    if (!r->is_up)
        return "s_down,slave,disconnected";
    return r->is_promoted ? "s_down,slave,promoted" : "slave";
}

void put_replica(struct resp_out *o, const struct model_master *m, const struct model_replica *r,
                 hm_ms now_ms)
{
    bool is_down = !r->is_up || r->is_promoted;
    char name[MODEL_PLACE_TEXT];

    model_place_text(&r->at, name);
    resp_put_map(o, FIELDS_OF_REPLICA + (is_down ? 1u : 0u));
    put_field(o, "name", name);
    put_place(o, &r->at, r->run_id);
    put_field(o, "flags", flags_of_replica(r));
    put_link(o, r->is_up, r->heard_ms, now_ms);
    if (is_down)
        put_since(o, "s-down-time", r->changed_ms, now_ms);
    put_number(o, "down-after-milliseconds", (uint64_t)m->down_after_ms);
    put_since(o, "info-refresh", r->heard_ms, now_ms);
    put_field(o, "role-reported", r->reported == MODEL_ROLE_MASTER ? "master" : "slave");
    put_since(o, "role-reported-time", r->reported_ms, now_ms);
    put_since(o, "master-link-down-time", r->is_linked ? HM_NEVER : r->link_changed_ms, now_ms);
    put_field(o, "master-link-status", r->is_linked ? "ok" : "err");
    put_field(o, "master-host", r->master.port != 0 ? r->master.host : "?");
    put_number(o, "master-port", r->master.port);
    put_number(o, "slave-priority", r->priority);
    put_number(o, "slave-repl-offset", r->offset);
    put_number(o, "replica-announced", 1);
}

void put_sentinel(struct resp_out *o, const struct model_master *m, const struct model_sentinel *s,
                  hm_ms now_ms)
{
    resp_put_map(o, FIELDS_OF_SENTINEL);
    put_field(o, "name", s->id);
    put_place(o, &s->at, s->id);
    put_field(o, "flags", "sentinel");
    put_link(o, s->is_up, s->heard_ms, now_ms);
    put_number(o, "down-after-milliseconds", (uint64_t)m->down_after_ms);
    put_since(o, "last-hello-message", s->heard_ms, now_ms);
    put_field(o, "voted-leader", "?");
    put_number(o, "voted-leader-epoch", 0);
}

unsigned count_sentinels(const struct model *all)
{
    unsigned n = 0;

    for (size_t i = 0; i < all->sentinels_n; i++)
        n += all->sentinel[i].is_up ? 1 : 0;
    return n;
}
