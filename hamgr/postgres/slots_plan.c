#include "postgres/slots.h"

#include <stdio.h>
#include <string.h>

struct plan {
    const struct slots_world *w;
    const struct slots_seen *seen;
    struct slot_step *step;
    size_t n;
    bool is_doomed[SLOTS_MAX];
};

uint64_t slot_held(const struct slots_seen *seen, const struct slot *slot)
{
    return slot->restart != 0 && seen->end > slot->restart ? seen->end - slot->restart : 0;
}

static uint64_t part_of(uint64_t size, unsigned int percent)
{
    return size / 100 * percent;
}

bool slots_disk_is_short(const struct slots_world *w)
{
    return w->disk_size != 0 && (w->disk_free < part_of(w->disk_size, SLOTS_FREE_PERCENT) ||
                                 w->full_ms < SLOTS_REACT_MS);
}

/* --- the pace of the disk ----------------------------------------------------------------------
 */

void slots_note_free(struct slots_pace *p, uint64_t free_bytes, hm_ms now_ms)
{
    if (p->n == SLOTS_PACE_MAX) {
        p->n--;
        memmove(&p->free[0], &p->free[1], p->n * sizeof p->free[0]);
        memmove(&p->at_ms[0], &p->at_ms[1], p->n * sizeof p->at_ms[0]);
    }
    p->free[p->n] = free_bytes;
    p->at_ms[p->n++] = now_ms;
}

hm_ms slots_full_ms(const struct slots_pace *p)
{
    size_t last = p->n - 1, first = last;
    double lost;

    if (p->n == 0)
        return HM_NEVER;
    while (first > 0 && p->at_ms[last] - p->at_ms[first] < SLOTS_PACE_MS)
        first--;
    if (p->at_ms[last] - p->at_ms[first] < SLOTS_PACE_MS || p->free[last] >= p->free[first])
        return HM_NEVER;
    lost = (double)(p->free[first] - p->free[last]) / (double)(p->at_ms[last] - p->at_ms[first]);
    return (hm_ms)((double)p->free[last] / lost);
}

hm_ms slots_pause_ms(uint64_t free_bytes)
{
    uint64_t ms = free_bytes / ((uint64_t)SLOTS_LOOKS * SLOTS_FASTEST * (1 << 20) / 1000);

    if (ms > SLOTS_PAUSE_MAX_MS)
        return SLOTS_PAUSE_MAX_MS;
    return ms < SLOTS_PAUSE_MIN_MS ? SLOTS_PAUSE_MIN_MS : (hm_ms)ms;
}

static struct slot_step *add(struct plan *p, enum slot_act act, const char *name, uint8_t member)
{
    struct slot_step *step = &p->step[p->n++];

    *step = (struct slot_step){ .act = act, .member = member };
    (void)snprintf(step->name, sizeof step->name, "%s", name);
    return step;
}

static void drop(struct plan *p, size_t at, enum slot_act act)
{
    const struct slot *slot = &p->seen->slot[at];
    uint8_t member = HM_NOBODY;
    struct slot_step *step;
    uint64_t copy_id;

    (void)postgres_slot_parse(p->w->record, slot->name, &member, &copy_id);
    step = add(p, act, slot->name, member);
    step->is_active = slot->is_active;
    step->held = slot_held(p->seen, slot);
    memcpy(step->from, slot->from, sizeof step->from);
    p->is_doomed[at] = act != SLOT_CUT;
}

/* --- who is there ------------------------------------------------------------------------------
 */

bool slots_is_ours(const char *name)
{
    size_t n = strlen(name);

    return strncmp(name, "hamgr_", 6) == 0 && n > 6 + 1 + 16 && name[n - 17] == '_' &&
           strspn(name + n - 16, "0123456789abcdef") == 16;
}

/* What a member told, if its copy is one that will need the log: it streams, or is the primary. */
static const struct gossip *whole_copy(const struct slots_world *w, uint8_t member)
{
    const struct gossip *g = w->peer[member];

    if (member == w->self || w->record->member[member].role != ROLE_DB || g == NULL ||
        g->copy_id == 0)
        return NULL;
    if (g->copy == COPY_STANDBY && g->is_streaming)
        return g;
    if (g->copy == COPY_PRIMARY && w->record->holder == member && w->record->copy_id == g->copy_id)
        return g;
    return NULL;
}

/* A newer one of the same member is there. One that was made later holds back less; if it is not
 * so, the one that stays holds back what the other would have. */
static bool has_newer(const struct plan *p, const struct slot *slot, uint8_t member)
{
    uint64_t other_id;
    uint8_t other;

    for (size_t i = 0; i < p->seen->n; i++) {
        const struct slot *candidate = &p->seen->slot[i];

        if (candidate == slot ||
            !postgres_slot_parse(p->w->record, candidate->name, &other, &other_id) ||
            other != member)
            continue;
        if (candidate->is_active || candidate->restart > slot->restart ||
            (candidate->restart == slot->restart && candidate > slot))
            return true;
    }
    return false;
}

/* A copy that was made anew never becomes the former one again. What is half-made, or not there,
 * tells no name. */
static bool is_of_former_copy(const struct plan *p, const struct slot *slot, uint8_t member,
                              uint64_t copy_id)
{
    const struct gossip *g = p->w->peer[member];

    if (g != NULL && g->copy_id != 0)
        return g->copy_id != copy_id;
    return has_newer(p, slot, member);
}

/* It streams from here, and says as which copy. */
static bool is_known_as_another(const struct plan *p, uint8_t member, uint64_t copy_id)
{
    const struct gossip *g = whole_copy(p->w, member);

    return g != NULL && g->copy == COPY_STANDBY && g->follows == p->w->self &&
           g->copy_id != copy_id;
}

/* It should stream from here as this very copy, and does not. */
static bool is_kept_out(const struct plan *p, uint8_t member, uint64_t copy_id)
{
    const struct gossip *g = member < HM_MEMBERS_MAX ? p->w->peer[member] : NULL;

    return g != NULL && g->copy == COPY_STANDBY && g->follows == p->w->self && !g->is_streaming &&
           g->copy_id == copy_id;
}

/* --- what must go ------------------------------------------------------------------------------
 */

/* False: somebody may come back to it. */
static bool is_stale(const struct plan *p, const struct slot *slot, enum slot_act *ret_act)
{
    uint64_t copy_id;
    uint8_t member;

    *ret_act = SLOT_DROP_REMOVED;
    if (!postgres_slot_parse(p->w->record, slot->name, &member, &copy_id))
        return true;
    *ret_act = SLOT_DROP_STALE;
    if (!slot->is_active)
        return member == p->w->self || is_of_former_copy(p, slot, member, copy_id);
    if (is_known_as_another(p, member, copy_id))
        return true;
    *ret_act = SLOT_CUT;
    return is_kept_out(p, member, copy_id);
}

/* The holder knows its members; the record of a standby may be that of the past. */
static hm_ms patience_ms(const struct plan *p, enum slot_act act)
{
    return act == SLOT_DROP_REMOVED && p->w->record->holder == p->w->self ? 0 : SLOTS_STALE_MS;
}

static struct slot_mark remembered(const struct slots_memory *m, const struct slot *slot,
                                   hm_ms now_ms)
{
    struct slot_mark mark = { .stale_since_ms = HM_NEVER, .still_since_ms = now_ms };

    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->mark[i].name, slot->name) == 0)
            mark = m->mark[i];
    memcpy(mark.name, slot->name, sizeof mark.name);
    if (mark.restart != slot->restart)
        mark.still_since_ms = now_ms;
    mark.restart = slot->restart;
    return mark;
}

/* Slots that serve nobody, or too long. */
static void weed(struct plan *p, struct slots_memory *memory)
{
    struct slots_memory now = { .n = p->seen->n };
    hm_ms now_ms = p->w->now_ms;

    for (size_t i = 0; i < p->seen->n; i++) {
        const struct slot *slot = &p->seen->slot[i];
        struct slot_mark *mark = &now.mark[i];
        enum slot_act act;

        *mark = remembered(memory, slot, now_ms);
        if (!slots_is_ours(slot->name))
            continue;
        if (!is_stale(p, slot, &act))
            mark->stale_since_ms = HM_NEVER;
        else if (mark->stale_since_ms == HM_NEVER)
            mark->stale_since_ms = now_ms;
        if (slot->is_lost)
            drop(p, i, SLOT_DROP_LOST);
        else if (mark->stale_since_ms != HM_NEVER &&
                 now_ms >= mark->stale_since_ms + patience_ms(p, act)) {
            drop(p, i, act);
            mark->stale_since_ms = act == SLOT_CUT ? HM_NEVER : mark->stale_since_ms;
        } else if (p->w->max_bytes != 0 && slot_held(p->seen, slot) > p->w->max_bytes &&
                   (!slot->is_active || now_ms >= mark->still_since_ms + SLOTS_STILL_MS))
            drop(p, i, SLOT_DROP_LIMIT);
    }
    *memory = now;
}

/* One at a time, and the space comes back only with a checkpoint: who is away goes before who
 * streams, who holds back most before others. */
static void relieve(struct plan *p)
{
    size_t best = SLOTS_MAX;

    if (!slots_disk_is_short(p->w))
        return;
    for (size_t i = 0; i < p->seen->n; i++) {
        const struct slot *slot = &p->seen->slot[i];
        const struct slot *other = best < SLOTS_MAX ? &p->seen->slot[best] : NULL;

        if (p->is_doomed[i])
            return; /* one is dropped already: see what that gives */
        if (!slots_is_ours(slot->name) ||
            slot_held(p->seen, slot) < part_of(p->w->disk_size, SLOTS_PART_PERCENT))
            continue;
        if (other == NULL || (other->is_active && !slot->is_active) ||
            (other->is_active == slot->is_active &&
             slot_held(p->seen, slot) > slot_held(p->seen, other)))
            best = i;
    }
    if (best < SLOTS_MAX)
        drop(p, best, SLOT_DROP_DISK);
}

/* --- what must be there ------------------------------------------------------------------------
 */

/* Who would be behind the limit at once would lose its slot at once. */
static bool is_near(const struct plan *p, const struct gossip *g)
{
    return p->w->max_bytes == 0 || g->at.offset + p->w->max_bytes > p->seen->end;
}

/* Who streams from here makes its slot and moves it itself. Elsewhere it is moved after its copy,
 * and only as far as that is known to be on this history. */
static void keep_for(struct plan *p, uint8_t member)
{
    const struct gossip *g = whole_copy(p->w, member);
    const struct slot *slot = NULL;
    char name[SLOT_NAME_BYTES];
    uint64_t to;

    if (g == NULL || g->follows == p->w->self)
        return;
    postgres_slot_name(name, sizeof name, p->w->record->member[member].name, g->copy_id);
    for (size_t i = 0; i < p->seen->n; i++) {
        if (strcmp(p->seen->slot[i].name, name) != 0)
            continue;
        if (p->is_doomed[i])
            return;
        slot = &p->seen->slot[i];
    }
    if (slot == NULL) {
        if (is_near(p, g) && !slots_disk_is_short(p->w))
            (void)add(p, SLOT_CREATE, name, member);
        return;
    }
    to = g->at.offset < p->seen->end ? g->at.offset : p->seen->end;
    if (!slot->is_active && slot->restart != 0 && to > slot->restart &&
        g->at.timeline == p->w->timeline)
        add(p, SLOT_ADVANCE, name, member)->to = to;
}

size_t slots_plan(const struct slots_world *w, const struct slots_seen *seen,
                  struct slots_memory *memory, struct slot_step *steps)
{
    struct plan p = { .w = w, .seen = seen, .step = steps };

    weed(&p, memory);
    relieve(&p);
    for (uint8_t member = 0; member < HM_MEMBERS_MAX; member++)
        keep_for(&p, member);
    return p.n;
}
