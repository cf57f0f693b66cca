/* report_force.c - what a forced failover would do, and what it may lose. */
#include "core/explain.h"
#include "daemon/report_inner.h"
#include "wire/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 300 };

static bool is_own_epoch(const struct core *c, const struct record *rec)
{
    return c->has_copy && rec->holder == c->self && c->copy.copy_id == rec->copy_id;
}

/* 6.1: then its log, or those that are heard with it, has every commit that was acknowledged. */
static bool is_complete(const struct record *rec, const struct explained *own)
{
    return rec->durability != DURABILITY_ASYNC && own->needed != 0 && own->logs >= own->needed &&
           own->rank == 0;
}

static void loss_text(const struct core *c, const struct record *rec, const struct explained *own,
                      char text[TEXT_MAX])
{
    if (is_own_epoch(c, rec))
        (void)snprintf(text, TEXT_MAX, "nothing: this copy is the primary's own");
    else if (is_complete(rec, own))
        (void)snprintf(text, TEXT_MAX,
                       "nothing that was acknowledged: this copy had to have every commit (%s)",
                       durability_name(rec->durability));
    else
        (void)snprintf(text, TEXT_MAX,
                       "%" PRIu64
                       " bytes of log that the primary is known to have had, and whatever "
                       "it wrote after it was last heard",
                       own->behind);
}

static const struct member *fuller(const struct report *r, const struct report_service *s,
                                   uint64_t *ret_more)
{
    const struct record *rec = report_record(s->core);
    const struct member *best = NULL;

    *ret_more = 0;
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct report_member m;

        if (rec->member[slot].role != ROLE_DB || slot == s->core->self)
            continue;
        report_look(r, s, (uint8_t)slot, &m);
        if (!m.is_up || m.gossip.copy != COPY_STANDBY ||
            m.gossip.at.offset <= s->core->copy.at.offset + *ret_more)
            continue;
        *ret_more = m.gossip.at.offset - s->core->copy.at.offset;
        best = m.member;
    }
    return best;
}

/* The data of this copy go on, and the others are made anew from it. */
static void kept_text(const struct report *r, const struct report_service *s,
                      const struct explained *own, char text[TEXT_MAX])
{
    const struct core *c = s->core;
    const struct record *rec = report_record(c);
    const struct member *other;
    char more_text[100] = "";
    uint64_t more;

    other = fuller(r, s, &more);
    if (other != NULL)
        (void)snprintf(more_text, sizeof more_text,
                       "; %s has %" PRIu64 " bytes more: rather there?", other->name, more);
    if (rec->kind == SERVICE_REDIS && !record_is_on_history(rec, &c->copy.at, 0))
        (void)snprintf(text, TEXT_MAX,
                       "all that this server did not load from its disk when it was restarted: "
                       "compare DBSIZE and the age of the files with the other servers first%s",
                       more_text);
    else
        (void)snprintf(text, TEXT_MAX,
                       "%" PRIu64 " bytes of log that the primary is known to have had, and "
                       "whatever it wrote after it was last heard%s",
                       own->behind, more_text);
}

static bool has_copy(const struct report_member *m)
{
    return m->is_heard && m->member->role == ROLE_DB;
}

/* A copy that is gone, or half made, ends nowhere. */
static bool has_position(const struct report_member *m)
{
    return has_copy(m) && m->gossip.at.offset != 0;
}

static json_t *others_of(const struct report *r, const struct report_service *s)
{
    const struct record *rec = report_record(s->core);
    json_t *list = json_array();
    int rc = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct report_member m;

        if (rec->member[slot].role == ROLE_NONE || slot == s->core->self)
            continue;
        report_look(r, s, (uint8_t)slot, &m);
        rc |= json_array_append_new(
            list,
            json_pack(
                "{s:s,s:b,s:o,s:o,s:o}", "name", m.member->name, "is_up", (int)m.is_up,
                "heard_ms_ago", m.is_heard ? json_integer(m.heard_ms_ago) : json_null(), "copy",
                has_copy(&m) ? json_string(copy_state_name(m.gossip.copy)) : json_null(),
                "position",
                has_position(&m) ? json_integer((json_int_t)m.gossip.at.offset) : json_null()));
    }
    return rc == 0 ? list : NULL;
}

/* With a majority the others stay, and what they have follows. While the service is paused its
 * holder may write without a lease: only a person can say that it is off. */
static bool keeps_members(const struct record *rec, const struct explanation *x)
{
    return x->votes >= x->majority && !(rec->is_paused && x->leader == HM_NOBODY);
}

static bool can_anybody(const struct explanation *x)
{
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (x->member[slot].verdict == EXPLAIN_CAN)
            return true;
    return false;
}

/* Only where the members cannot settle it themselves. */
static const char *obstacle(const struct core *c, const struct record *rec,
                            const struct explanation *x)
{
    const struct copy *copy = &c->copy;
    const char *why;

    if (c->config.role != ROLE_DB || c->self == HM_NOBODY || rec->epoch == 0)
        return "this host has no database member that knows a record";
    if (x->outcome == OUTCOME_TAKEOVER)
        return "a majority is there and a member can take over by itself";
    if (keeps_members(rec, x)) {
        why = core_keep_obstacle(c);
        if (why == NULL && can_anybody(x))
            why = "a member can take over by itself";
        return why;
    }
    if (x->outcome == OUTCOME_STAYS)
        return "there is a primary: 'hamgr switchover' moves it";
    if (is_own_epoch(c, rec))
        return NULL;
    if (!c->has_copy || copy->state != COPY_STANDBY || !copy->is_healthy || !copy->is_final ||
        c->wants_rebuild)
        return "the copy on this host is no healthy standby: try another member";
    return NULL;
}

json_t *report_force(const struct report *r, const struct report_service *s, const char **ret_why)
{
    const struct core *c = s->core;
    const struct record *rec = report_record(c);
    struct explained none = { .verdict = EXPLAIN_NONE };
    const struct explained *own;
    struct explanation x;
    char text[TEXT_MAX];
    bool keeps;

    core_explain(c, 0, &x);
    keeps = keeps_members(rec, &x);
    own = c->self != HM_NOBODY ? &x.member[c->self] : &none;
    if (keeps)
        kept_text(r, s, own, text);
    else
        loss_text(c, rec, own, text);
    *ret_why = obstacle(c, rec, &x);
    return json_pack("{s:s,s:s,s:s,s:b,s:{s:i,s:i,s:i},s:s,s:I,s:o}", "cluster",
                     r->settings->cluster, "node", r->settings->node, "service", s->settings->name,
                     "keeps_members", (int)keeps, "voters", "n", (int)x.voters, "heard",
                     (int)x.votes, "majority", (int)x.majority, "loss", text, "position",
                     (json_int_t)c->copy.at.offset, "others", others_of(r, s));
}
