/* probe_seen.c - reads what the server answered: who it is, where its data ends, whom it follows,
 * who follows it. */
#include "redis/probe.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_AGAIN_MS 5000

/* --- which run of the server, and which copy ---------------------------------------------------
 */

/* While it loads the data of a master, and after that was given up: its old data is gone. */
static bool is_half(const struct info *i, bool was_half)
{
    if (i->is_loading)
        return i->is_syncing || was_half;
    if (i->is_master || i->is_linked || i->replica_offset == i->master_offset)
        return false;
    return was_half || !info_is_whole(i);
}

static void note_run(struct redis_probe *p, const struct info *i)
{
    struct service *s = p->s;
    struct rnotes n = s->notes;
    bool is_new = strcmp(n.run_id, i->run_id) != 0;
    bool was_half = n.is_half && !is_new;

    if (is_new) {
        memcpy(n.run_id, i->run_id, sizeof n.run_id);
        n.renewals = 0;
    }
    if (is_new || p->pidfd < 0 || n.pid != i->pid) {
        n.pid = i->pid;
        n.boot_id = p->boot_id;
        (void)redis_probe_adopt(p, i->pid); /* not seen: its end is noticed by the connection's */
        (void)stuck_look(&p->main, i->pid, i->pid, p->taken_at_ms);
        n.started = p->main.started;
    }
    n.is_half = is_half(i, was_half);
    if (n.is_half && !was_half)
        n.renewals++; /* what it confirmed before, it has not any more */
    if (i->is_master)
        n.was_primary = true;
    else if (i->is_linked)
        n.was_primary = false;
    if (memcmp(&n, &s->notes, sizeof n) != 0)
        redis_note(s, &n);
}

/* A primary that drops a replica while it loads has it begin again, at once, and for ever if
 * nothing changes. */
static void count_resyncs(struct redis_probe *p, const struct info *i)
{
    bool was_resyncing = p->is_resyncing && strcmp(p->s->info.run_id, i->run_id) == 0;
    bool is_again = i->is_syncing ? i->synced < p->resynced : !i->is_loading;

    p->is_resyncing = !i->is_master && i->is_syncing;
    p->resynced = i->synced;
    if (i->is_master || i->is_linked)
        p->cut_off = 0;
    else if (was_resyncing && is_again)
        p->cut_off++;
}

/* What is made of it the core says soon; who did it only the server's log knows. */
static void tell_foreign_change(const struct service *s, const struct info *i)
{
    if (strcmp(s->info.run_id, i->run_id) != 0 || s->info.is_master == i->is_master ||
        s->op != NULL)
        return;
    log_warn("role changed by somebody else service=%s was=%s is=%s: its log says by whom",
             s->config.service->name, i->is_master ? "standby" : "primary",
             i->is_master ? "primary" : "standby");
}

/* --- whom it follows, who follows it ------------------------------------------------------------
 */

static uint8_t find_followed(const struct service *s, const struct info *i)
{
    char port[8];
    uint8_t slot;

    if (i->is_master)
        return HM_NOBODY;
    (void)snprintf(port, sizeof port, "%u", (unsigned int)i->master_port);
    if (strcmp(i->master_host, REDIS_NOBODY_HOST) == 0 && strcmp(port, REDIS_NOBODY_PORT) == 0)
        return HM_NOBODY;
    slot = hosts_find(s->hosts, i->master_host);
    return i->master_port == s->config.service->port ? slot : HM_STRANGER;
}

/* Which copy it is, only its member knows. */
static bool does_follow(const struct service *s, uint8_t slot, struct gossip *ret)
{
    const struct service_host *host = &s->config.host;

    return host->look_at_peer != NULL && host->look_at_peer(host->ctx, slot, ret) &&
           ret->copy == COPY_STANDBY && ret->follows == s->self;
}

/* A standby that streams, says its member, while the only replicas here have other addresses: it
 * connects from another network card, or through an address translation. */
static void tell_unmatched(struct redis_probe *p, const struct info_replica *stranger,
                           const struct copy *c)
{
    const struct service *s = p->s;
    char host[HM_ADDRESS_MAX];
    struct gossip g;

    p->unmatched[0] = 0;
    for (uint8_t slot = 0; stranger != NULL && slot < HM_MEMBERS_MAX; slot++) {
        const struct member *m = &s->record.member[slot];

        if (slot == s->self || m->role != ROLE_DB || c->standby[slot].is_streaming ||
            !does_follow(s, slot, &g) || !g.is_streaming)
            continue;
        (void)record_host(&s->record, slot, host);
        (void)snprintf(p->unmatched, sizeof p->unmatched,
                       "%.31s attaches as %.45s:%u: set its replica-announce-ip to %.40s", m->name,
                       stranger->address, (unsigned int)stranger->port, host);
        return;
    }
}

static void take_replicas(struct redis_probe *p, const struct info *i, struct copy *c)
{
    const struct service *s = p->s;
    const struct info_replica *stranger = NULL;

    for (size_t n = 0; n < i->replicas_n; n++) {
        const struct info_replica *x = &i->replica[n];
        uint8_t slot = x->is_online ? hosts_find(s->hosts, x->address) : HM_STRANGER;
        struct gossip g;

        if (x->is_online && (slot == HM_STRANGER || x->port != s->config.service->port))
            stranger = x;
        if (slot >= HM_MEMBERS_MAX || slot == s->self || x->port != s->config.service->port ||
            !does_follow(s, slot, &g))
            continue;
        c->standby[slot].is_streaming = true;
        c->standby[slot].copy_id = g.copy_id;
        c->standby[slot].flushed = x->offset;
    }
    tell_unmatched(p, stranger, c);
}

/* --- whether it can write ----------------------------------------------------------------------
 */

static void on_save(void *ctx, enum rconn_outcome outcome, const redisReply *reply, const char *why)
{
    struct redis_probe *p = ctx;

    (void)why;
    p->is_config_out = false;
    if (outcome == RCONN_ANSWERED && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[1]->type == REDIS_REPLY_STRING && reply->element[1]->len == 0)
        p->does_refuse = false; /* no snapshots are configured: that one was asked for by hand */
}

static void on_stop_writes(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                           const char *why)
{
    struct redis_probe *p = ctx;

    (void)why;
    p->does_refuse = outcome != RCONN_ANSWERED || reply->type != REDIS_REPLY_ARRAY ||
                     reply->elements != 2 || reply->element[1]->type != REDIS_REPLY_STRING ||
                     strcmp(reply->element[1]->str, "no") != 0;
}

void redis_probe_ask_config(struct redis_probe *p)
{
    static const char *const stop_writes[] = { "CONFIG", "GET", "stop-writes-on-bgsave-error" };
    static const char *const save[] = { "CONFIG", "GET", "save" };
    hm_ms now_ms = clock_boot_ms();

    if (p->is_config_out || (p->config_ms != 0 && now_ms < p->config_ms + CONFIG_AGAIN_MS))
        return;
    p->config_ms = now_ms;
    if (rconn_ask(p->s->watch, HM_ARRAY_LEN(stop_writes), stop_writes, PROBE_QUESTION_MS,
                  on_stop_writes, p))
        p->is_config_out =
            rconn_ask(p->s->watch, HM_ARRAY_LEN(save), save, PROBE_QUESTION_MS, on_save, p);
}

static void see_health(struct redis_probe *p, const struct info *i, struct copy *c)
{
    if (!i->is_save_ok)
        redis_probe_ask_config(p);
    else
        p->does_refuse = true; /* until it is known otherwise */
    c->is_full = !i->is_append_ok || (!i->is_save_ok && p->does_refuse);
    c->is_healthy = !c->is_full;
    if (c->is_full)
        redis_probe_trouble(p,
                            "it refuses writes, its last %s failed: make room on its disk, and "
                            "look at its log",
                            i->is_append_ok ? "snapshot" : "write to the AOF");
}

/* --- the finding -------------------------------------------------------------------------------
 */

static void see_names(const struct service *s, const struct info *i, struct copy *c)
{
    if (s->names == NAMES_UNKNOWN || strcmp(s->names_run_id, i->run_id) != 0)
        return;
    c->names = s->names;
    c->names_digest = s->names == NAMES_PAIR ? pair_digest(&s->pair) : 0;
    /* There is no flag that could be behind: who may attach is decided here. */
    c->is_flag_certain = s->names != NAMES_EMPTY;
}

static void see_facts(struct service *s, const struct info *i)
{
    if (i->valkey[0] != 0)
        (void)snprintf(s->facts.version, sizeof s->facts.version, "%.14s (Valkey)", i->valkey);
    else
        (void)snprintf(s->facts.version, sizeof s->facts.version, "%s", i->version);
    memset(s->facts.replay, 0, sizeof s->facts.replay);
    if (!i->is_master && s->self < HM_MEMBERS_MAX && !s->notes.is_half) /* it applies at once */
        s->facts.replay[s->self] = (struct service_replay){ .is_known = true,
                                                            .received = i->master_offset,
                                                            .replayed = i->replica_offset };
}

enum hm_rc redis_probe_take(struct redis_probe *p, struct copy *ret, const char **ret_why)
{
    struct service *s = p->s;
    struct info i;
    struct copy c;

    if (!info_parse(p->text, p->size, &i, ret_why))
        return HM_BAD_INPUT;
    note_run(p, &i);
    count_resyncs(p, &i);
    tell_foreign_change(s, &i);
    s->info = i;
    see_facts(s, &i);
    p->trouble[0] = 0;
    redis_probe_begin_copy(p, &c);
    c.server_id = info_copy_id(i.run_id, 0);
    c.follows = find_followed(s, &i);
    if (i.is_loading) {
        c.state = COPY_STARTING;
        redis_probe_trouble(p, i.is_syncing ? "it loads all data of its primary" : "it loads");
        *ret = c;
        return HM_OK;
    }
    c.state = i.is_master ? COPY_PRIMARY : COPY_STANDBY;
    if (!s->notes.is_half) {
        c.at.timeline = info_timeline(i.replication_id);
        c.at.offset = i.master_offset;
        c.is_final = true;
    }
    c.is_streaming = i.is_linked;
    see_names(s, &i, &c);
    see_health(p, &i, &c);
    if (s->notes.is_half)
        redis_probe_trouble(p, "it lost its data and waits for all of its primary's");
    if (i.is_master)
        take_replicas(p, &i, &c);
    *ret = c;
    return HM_OK;
}
