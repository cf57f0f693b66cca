/* report_look.c - what is believed of each member of a service, read out of its core. */
#include "daemon/report_inner.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const struct record *report_record(const struct core *c)
{
    const struct record *accepted = core_record(c);

    if (accepted != NULL)
        return accepted;
    return c->hint.epoch != 0 ? &c->hint : &c->config.first;
}

/* What this member would tell the others about itself. */
static void own_gossip(const struct report *r, const struct report_service *s, struct gossip *g)
{
    const struct core *c = s->core;
    unsigned n, heard;

    memset(g, 0, sizeof *g);
    report_voters(r, s, &n, &heard);
    g->copy = c->has_copy ? c->copy.state : COPY_UNKNOWN;
    g->copy_id = c->copy.copy_id;
    g->at = c->copy.at;
    g->began_epoch = c->copy.began_epoch;
    g->priority = c->config.priority;
    g->follows = c->copy.follows == HM_STRANGER ? HM_NOBODY : c->copy.follows;
    g->is_streaming = c->copy.is_streaming;
    g->is_final = c->copy.is_final;
    g->is_healthy = c->copy.is_healthy;
    g->is_nofailover = c->config.is_nofailover || c->copy.is_delayed;
    g->is_delayed = c->copy.is_delayed;
    g->wants_rebuild = c->wants_rebuild;
    g->sees_majority = heard > n / 2;
    g->is_rebuilding = c->op.type == DO_REWIND || c->op.type == DO_CLONE;
    g->rebuilt_percent = g->is_rebuilding ? s->facts.progress.percent : 0;
    g->rebuild_failures =
        c->op_failed == DO_REWIND || c->op_failed == DO_CLONE ? c->op_failures : 0;
}

uint64_t report_primary_offset(const struct report_service *s)
{
    const struct core *c = s->core;
    const struct record *rec = report_record(c);
    uint64_t furthest = rec->last_known.offset;

    if (rec->epoch == 0)
        return 0;
    if (rec->holder == c->self && c->copy.at.offset > furthest)
        furthest = c->copy.at.offset;
    if (c->view.peer[rec->holder].is_known && c->view.peer[rec->holder].gossip.at.offset > furthest)
        furthest = c->view.peer[rec->holder].gossip.at.offset;
    if (c->seen_epoch == rec->epoch && c->seen_offset > furthest)
        furthest = c->seen_offset;
    return furthest;
}

void report_look(const struct report *r, const struct report_service *s, uint8_t slot,
                 struct report_member *ret)
{
    const struct core *c = s->core;
    const struct record *rec = report_record(c);
    uint64_t primary = report_primary_offset(s);

    memset(ret, 0, sizeof *ret);
    ret->slot = slot;
    ret->member = &rec->member[slot];
    ret->is_self = slot == c->self;
    ret->is_holder = rec->epoch != 0 && rec->holder == slot;
    ret->gossip.follows = HM_NOBODY;
    if (ret->is_self) {
        ret->is_heard = true;
        ret->is_up = true;
        own_gossip(r, s, &ret->gossip);
    } else if (c->view.peer[slot].is_known) {
        ret->is_heard = true;
        ret->heard_ms_ago = hm_max_ms(0, r->now_ms - c->view.peer[slot].heard_ms);
        ret->is_up = ret->heard_ms_ago <= rec->ttl_ms;
        ret->gossip = c->view.peer[slot].gossip;
    }
    ret->has_lag = !ret->is_holder && primary != 0 && ret->gossip.at.offset != 0;
    if (ret->has_lag && ret->gossip.at.offset < primary)
        ret->lag_bytes = primary - ret->gossip.at.offset;
}

void report_voters(const struct report *r, const struct report_service *s, unsigned *ret_n,
                   unsigned *ret_heard)
{
    const struct record *rec = report_record(s->core);
    uint16_t heard = view_heard(&s->core->view, r->now_ms - rec->ttl_ms);

    *ret_n = 0;
    *ret_heard = 0;
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        if (!((rec->voters >> slot) & 1))
            continue;
        (*ret_n)++;
        if (slot == s->core->self || ((heard >> slot) & 1))
            (*ret_heard)++;
    }
}

bool report_lease_left(const struct report *r, const struct report_service *s, hm_ms *ret_left_ms)
{
    const struct core *c = s->core;
    const struct record *rec = report_record(c);
    hm_ms until_ms = HM_PAST;

    if (rec->epoch == 0)
        return false;
    if (rec->holder == c->self)
        until_ms = core_valid_until(c);
    else if (c->voter.lease.member == rec->holder)
        until_ms = c->voter.lease.until_ms;
    if (until_ms <= r->now_ms)
        return false;
    *ret_left_ms = until_ms - r->now_ms;
    return true;
}

void report_time(hm_ms wall_ms, char text[32])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    if (gmtime_r(&seconds, &tm) == NULL || strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        (void)snprintf(text, 32, "?");
}
