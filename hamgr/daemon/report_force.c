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
            json_pack("{s:s,s:b,s:o}", "name", m.member->name, "is_up", (int)m.is_up,
                      "heard_ms_ago", m.is_heard ? json_integer(m.heard_ms_ago) : json_null()));
    }
    return rc == 0 ? list : NULL;
}

/* Only where the members cannot settle it themselves. */
static const char *obstacle(const struct core *c, const struct record *rec,
                            const struct explanation *x)
{
    const struct copy *copy = &c->copy;

    if (c->config.role != ROLE_DB || c->self == HM_NOBODY || rec->epoch == 0)
        return "this host has no database member that knows a record";
    if (x->outcome == OUTCOME_STAYS)
        return "there is a primary: 'hamgr switchover' moves it";
    if (x->outcome == OUTCOME_TAKEOVER)
        return "a majority is there and a member can take over by itself";
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
    struct explanation x;
    char text[TEXT_MAX];

    core_explain(c, 0, &x);
    loss_text(c, rec, c->self != HM_NOBODY ? &x.member[c->self] : &none, text);
    *ret_why = obstacle(c, rec, &x);
    return json_pack("{s:s,s:s,s:s,s:{s:i,s:i,s:i},s:s,s:o}", "cluster", r->settings->cluster,
                     "node", r->settings->node, "service", s->settings->name, "voters", "n",
                     (int)x.voters, "heard", (int)x.votes, "majority", (int)x.majority, "loss",
                     text, "others", others_of(r, s));
}
