#include "wire/wire_inner.h"

#include <string.h>

/* --- writing --------------------------------------------------------------------------------- */

static void put_pairs(struct wire_record *out, const struct record *r)
{
    HM_BUG_ON(r->pairs_n > HM_PAIRS_MAX);
    for (unsigned i = 0; i < r->pairs_n; i++) {
        const struct pair *p = &r->pairs[i];
        Hamgr__Pair *pair = &out->pair[i];

        HM_BUG_ON(p->n > HM_MEMBERS_MAX);
        hamgr__pair__init(pair);
        pair->need = p->need;
        pair->n_copies = p->n;
        pair->copies = out->copies[i];
        for (unsigned j = 0; j < p->n; j++) {
            Hamgr__CopyName *copy = &out->copy[i][j];

            hamgr__copy_name__init(copy);
            copy->copy_id = p->copies[j].copy_id;
            copy->member = p->copies[j].member;
            out->copies[i][j] = copy;
        }
        out->pairs[i] = pair;
    }
    out->record.n_pairs = r->pairs_n;
    out->record.pairs = out->pairs;
}

static void put_history(struct wire_record *out, const struct record *r)
{
    HM_BUG_ON(r->timelines_n > HM_TIMELINES_MAX || r->changes_n > HM_CHANGES_MAX);
    for (unsigned i = 0; i < r->timelines_n; i++) {
        Hamgr__Timeline *t = out->timelines[i] = &out->timeline[i];

        hamgr__timeline__init(t);
        t->timeline = r->timelines[i].timeline;
        t->epoch = r->timelines[i].epoch;
        t->start = r->timelines[i].start;
    }
    out->record.n_timelines = r->timelines_n;
    out->record.timelines = out->timelines;
    for (unsigned i = 0; i < r->changes_n; i++) {
        Hamgr__Change *c = out->changes[i] = &out->change[i];

        hamgr__change__init(c);
        c->epoch = r->changes[i].epoch;
        c->at = r->changes[i].at;
        c->holder = r->changes[i].holder;
        c->reason =
            (Hamgr__ChangeReason)wire_put_enum(WIRE_ENUM_CHANGE_REASON, r->changes[i].reason);
    }
    out->record.n_changes = r->changes_n;
    out->record.changes = out->changes;
}

static void put_members(struct wire_record *out, const struct record *r)
{
    size_t n = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct member *from = &r->member[slot];
        Hamgr__Member *m = &out->member[n];

        /* a free slot may still say who had it */
        if (from->role == ROLE_NONE && from->incarnation == 0 && from->name[0] == 0 &&
            from->address[0] == 0)
            continue;
        hamgr__member__init(m);
        m->slot = slot;
        m->incarnation = from->incarnation;
        m->role = (Hamgr__Role)wire_put_enum(WIRE_ENUM_ROLE, from->role);
        m->name = wire_put_text(from->name, sizeof from->name);
        m->address = wire_put_text(from->address, sizeof from->address);
        out->members[n++] = m;
    }
    out->record.n_members = n;
    out->record.members = out->members;
}

static Hamgr__Switchover *put_switchover(Hamgr__Switchover *out, const struct switchover *s)
{
    hamgr__switchover__init(out);
    out->order = s->order;
    out->to = s->to;
    out->phase = (Hamgr__SwitchPhase)wire_put_enum(WIRE_ENUM_SWITCH_PHASE, s->phase);
    return s->order != 0 || s->to != 0 || s->phase != SWITCH_NONE ? out : NULL;
}

Hamgr__Record *wire_put_record(struct wire_record *out, const struct record *r)
{
    Hamgr__Record *to = &out->record;

    hamgr__record__init(to);
    to->cluster = r->cluster;
    to->cluster_incarnation = r->cluster_incarnation;
    to->service = r->service;
    to->kind = (Hamgr__Kind)wire_put_enum(WIRE_ENUM_KIND, r->kind);
    to->version = r->version;
    to->epoch = r->epoch;
    to->holder = r->holder;
    to->copy_id = r->copy_id;
    to->ttl_ms = r->ttl_ms;
    to->heartbeat_ms = r->heartbeat_ms;
    to->durability = (Hamgr__Durability)wire_put_enum(WIRE_ENUM_DURABILITY, r->durability);
    to->goal = (Hamgr__Durability)wire_put_enum(WIRE_ENUM_DURABILITY, r->goal);
    to->sync_standbys = r->sync_standbys;
    to->max_lag_bytes = r->max_lag_bytes;
    to->system_id = r->system_id;
    to->last_known = wire_put_position(&out->last_known, &r->last_known);
    to->is_paused = r->is_paused;
    to->switchover = put_switchover(&out->switchover, &r->switchover);
    to->last_order = r->last_order;
    to->voters = r->voters;
    to->old_voters = r->old_voters;
    put_pairs(out, r);
    put_history(out, r);
    put_members(out, r);
    return to;
}

/* --- reading --------------------------------------------------------------------------------- */

static void get_pairs(const Hamgr__Record *in, struct record *ret, const char **why)
{
    if (in->n_pairs > HM_PAIRS_MAX) {
        wire_note(why, "number of sync pairs");
        return;
    }
    for (size_t i = 0; i < in->n_pairs; i++) {
        const Hamgr__Pair *pair = in->pairs[i];
        struct pair *p = &ret->pairs[i];

        if (pair->n_copies > HM_MEMBERS_MAX) {
            wire_note(why, "size of a sync pair");
            return;
        }
        p->need = wire_get_u8(pair->need, why);
        p->n = (uint8_t)pair->n_copies;
        for (size_t j = 0; j < pair->n_copies; j++) {
            p->copies[j].copy_id = pair->copies[j]->copy_id;
            p->copies[j].member = wire_get_u8(pair->copies[j]->member, why);
        }
    }
    ret->pairs_n = (uint8_t)in->n_pairs;
}

static void get_history(const Hamgr__Record *in, struct record *ret, const char **why)
{
    if (in->n_timelines > HM_TIMELINES_MAX || in->n_changes > HM_CHANGES_MAX) {
        wire_note(why, "length of the history");
        return;
    }
    for (size_t i = 0; i < in->n_timelines; i++) {
        ret->timelines[i].timeline = in->timelines[i]->timeline;
        ret->timelines[i].epoch = in->timelines[i]->epoch;
        ret->timelines[i].start = in->timelines[i]->start;
    }
    ret->timelines_n = (uint8_t)in->n_timelines;
    for (size_t i = 0; i < in->n_changes; i++) {
        struct change *c = &ret->changes[i];

        c->epoch = in->changes[i]->epoch;
        c->at = in->changes[i]->at;
        c->holder = wire_get_u8(in->changes[i]->holder, why);
        c->reason = (enum change_reason)wire_get_enum(WIRE_ENUM_CHANGE_REASON,
                                                      (unsigned)in->changes[i]->reason, why);
    }
    ret->changes_n = (uint8_t)in->n_changes;
}

static void get_members(const Hamgr__Record *in, struct record *ret, const char **why)
{
    uint16_t seen = 0;

    for (size_t i = 0; i < in->n_members; i++) {
        const Hamgr__Member *from = in->members[i];
        struct member *m;

        if (from->slot >= HM_MEMBERS_MAX || (seen & (1u << from->slot)) != 0) {
            wire_note(why, "slot of a member");
            return;
        }
        seen |= (uint16_t)(1u << from->slot);
        m = &ret->member[from->slot];
        m->incarnation = from->incarnation;
        m->role = (enum member_role)wire_get_enum(WIRE_ENUM_ROLE, (unsigned)from->role, why);
        wire_get_text(&from->name, m->name, sizeof m->name, why);
        wire_get_text(&from->address, m->address, sizeof m->address, why);
    }
}

static void get_switchover(const Hamgr__Switchover *in, struct switchover *ret, const char **why)
{
    if (in == NULL)
        return;
    ret->order = in->order;
    ret->to = wire_get_u8(in->to, why);
    ret->phase = (enum switch_phase)wire_get_enum(WIRE_ENUM_SWITCH_PHASE, (unsigned)in->phase, why);
}

void wire_get_record(const Hamgr__Record *in, struct record *ret, const char **why)
{
    memset(ret, 0, sizeof *ret);
    ret->cluster = in->cluster;
    ret->cluster_incarnation = in->cluster_incarnation;
    ret->service = wire_get_u8(in->service, why);
    ret->kind = (enum service_kind)wire_get_enum(WIRE_ENUM_KIND, (unsigned)in->kind, why);
    ret->version = in->version;
    ret->epoch = in->epoch;
    ret->holder = wire_get_u8(in->holder, why);
    ret->copy_id = in->copy_id;
    ret->ttl_ms = in->ttl_ms;
    ret->heartbeat_ms = in->heartbeat_ms;
    ret->durability =
        (enum durability)wire_get_enum(WIRE_ENUM_DURABILITY, (unsigned)in->durability, why);
    ret->goal = (enum durability)wire_get_enum(WIRE_ENUM_DURABILITY, (unsigned)in->goal, why);
    ret->sync_standbys = wire_get_u8(in->sync_standbys, why);
    ret->max_lag_bytes = in->max_lag_bytes;
    ret->system_id = in->system_id;
    ret->last_known = wire_get_position(in->last_known);
    ret->is_paused = in->is_paused != 0;
    get_switchover(in->switchover, &ret->switchover, why);
    ret->last_order = in->last_order;
    ret->voters = wire_get_u16(in->voters, why);
    ret->old_voters = wire_get_u16(in->old_voters, why);
    get_pairs(in, ret, why);
    get_history(in, ret, why);
    get_members(in, ret, why);
}
