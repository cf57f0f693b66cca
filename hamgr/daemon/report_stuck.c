/* report_stuck.c - why nobody is primary although a majority lives, and what a person can do. */
#include "daemon/report_inner.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    WHY_MAX = 180,
    TTLS_TOLD = 4, /* nobody took over for so many lease times */
};

/* What became of the copy of whoever holds the lease. */
static void holder_text(const struct record *rec, const struct explanation *x, char why[WHY_MAX])
{
    const char *of = rec->member[x->leader].name;
    bool is_redis = rec->kind == SERVICE_REDIS;

    if (x->leader_copy == COPY_PRIMARY)
        (void)snprintf(why, WHY_MAX,
                       "%s holds the lease, and its server was made a primary by hand: nobody "
                       "follows it",
                       of);
    else if (x->leader_copy == COPY_ABSENT || x->leader_copy == COPY_REBUILDING)
        (void)snprintf(
            why, WHY_MAX,
            "%s holds the lease, its data are gone, and no other is known to have all of "
            "epoch %" PRIu64,
            of, rec->epoch);
    else if (is_redis && rec->durability == DURABILITY_ASYNC)
        (void)snprintf(why, WHY_MAX,
                       "the server of %s was restarted, and every copy lacks more than "
                       "max_lag_bytes of epoch %" PRIu64,
                       of, rec->epoch);
    else if (is_redis)
        (void)snprintf(why, WHY_MAX,
                       "every server with the data of epoch %" PRIu64
                       " was restarted: what they confirmed last may be missing",
                       rec->epoch);
    else
        (void)snprintf(why, WHY_MAX,
                       "the copy of %s was replaced, and no other is known to have all of epoch "
                       "%" PRIu64,
                       of, rec->epoch);
}

bool report_stuck(const struct record *rec, const struct explanation *x, char text[REPORT_STUCK])
{
    char why[WHY_MAX];

    if (x->outcome != OUTCOME_NOBODY || rec->epoch == 0 || rec->is_paused)
        return false;
    if (x->has_no_primary)
        holder_text(rec, x, why);
    else
        (void)snprintf(why, sizeof why,
                       "no other member may take over, something may be missing there ('hamgr "
                       "explain'): bring %s back",
                       rec->member[rec->holder].name);
    if (x->fullest == HM_NOBODY)
        (void)snprintf(text, REPORT_STUCK, "%s; no copy that is heard could go on", why);
    else
        (void)snprintf(
            text, REPORT_STUCK, "%s; %s'hamgr failover --force' on %s goes on with its data", why,
            x->has_no_primary ? "" : "if it is lost for good, ", rec->member[x->fullest].name);
    return true;
}

bool report_holder_stuck(const struct report_service *s, char text[REPORT_STUCK])
{
    struct explanation x;

    core_explain(s->core, 0, &x);
    return x.has_no_primary && report_stuck(report_record(s->core), &x, text);
}

bool report_nobody_left(const struct report *r, const struct report_service *s,
                        char text[REPORT_STUCK])
{
    const struct core *c = s->core;
    hm_ms since_ms = hm_max_ms(c->lease_end_ms, c->renewed.at_ms);
    struct explanation x;

    if (c->state != ST_STANDING || r->now_ms < since_ms + TTLS_TOLD * report_record(c)->ttl_ms)
        return false;
    core_explain(c, 0, &x);
    return !x.has_no_primary && report_stuck(report_record(c), &x, text);
}
