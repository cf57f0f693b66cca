#include "view/view.h"

#include <string.h>

void view_init(struct view *v)
{
    memset(v, 0, sizeof *v);
    v->bad_since_ms = HM_NEVER;
    v->healthy_since_ms = HM_NEVER;
    v->crashed_since_ms = HM_NEVER;
    v->stalled_since_ms = HM_NEVER;
    v->hung_since_ms = HM_NEVER;
    v->full_since_ms = HM_NEVER;
}

void view_note_gossip(struct view *v, uint8_t slot, const struct gossip *g, hm_ms now_ms)
{
    struct peer *p = &v->peer[slot];

    p->is_known = true;
    p->heard_ms = now_ms;
    p->gossip = *g;
}

static void note_since(hm_ms *since_ms, bool is_so, hm_ms now_ms)
{
    if (!is_so)
        *since_ms = HM_NEVER;
    else if (*since_ms == HM_NEVER)
        *since_ms = now_ms;
}

void view_note_copy(struct view *v, const struct copy *c, hm_ms now_ms)
{
    note_since(&v->bad_since_ms, !c->is_healthy, now_ms);
    note_since(&v->healthy_since_ms, c->is_healthy, now_ms);
    note_since(&v->crashed_since_ms, c->is_crashed, now_ms);
    note_since(&v->full_since_ms, c->is_full, now_ms);
    v->stalled_since_ms = c->stalled_ms > 0 ? now_ms - c->stalled_ms : HM_NEVER;
    v->hung_since_ms = c->hung_ms > 0 ? now_ms - c->hung_ms : HM_NEVER;
}

hm_ms view_gray_ms(const struct view *v, hm_ms stall_timeout_ms)
{
    if (v->stalled_since_ms == HM_NEVER || v->hung_since_ms == HM_NEVER)
        return HM_NEVER;
    return hm_max_ms(v->stalled_since_ms + stall_timeout_ms,
                     v->hung_since_ms + stall_timeout_ms / 2);
}

void view_forget(struct view *v, uint8_t slot)
{
    memset(&v->peer[slot], 0, sizeof v->peer[slot]);
}

const struct gossip *view_recent(const struct view *v, uint8_t slot, hm_ms since_ms)
{
    const struct peer *p = &v->peer[slot];

    return p->is_known && p->heard_ms >= since_ms ? &p->gossip : NULL;
}

uint16_t view_heard(const struct view *v, hm_ms since_ms)
{
    uint16_t heard = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (view_recent(v, (uint8_t)slot, since_ms) != NULL)
            heard |= (uint16_t)(1u << slot);
    return heard;
}
