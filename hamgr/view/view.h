/* view.h - what this member believes about the others and about its own copy, and since when.
 *
 * It remembers the newest gossip of each slot and how long the own copy has been well or unwell.
 * "Not heard" is not "down": the core decides what silence means. No clock, no I/O. */
#ifndef HAMGR_VIEW_VIEW_H
#define HAMGR_VIEW_VIEW_H

#include "view/observation.h"

struct peer {
    bool is_known;
    hm_ms heard_ms; /* when anything was heard from it last */
    struct gossip gossip;
};

struct view {
    struct peer peer[HM_MEMBERS_MAX];
    hm_ms bad_since_ms; /* the own copy does not serve or flush since then; HM_NEVER: it is well */
    hm_ms healthy_since_ms; /* HM_NEVER: it is not well */
    hm_ms crashed_since_ms; /* it recovers by itself since then; HM_NEVER: it does not */
    hm_ms stalled_since_ms; /* it committed nothing since then; HM_NEVER: it does ... */
    hm_ms hung_since_ms;    /* ... and is proved to hang since then; HM_NEVER: it is not */
    hm_ms full_since_ms;    /* a disk of it is full since then; HM_NEVER: none is */
};

void view_init(struct view *v);
/* Slot `slot` said `g` at now_ms. */
void view_note_gossip(struct view *v, uint8_t slot, const struct gossip *g, hm_ms now_ms);
/* A probe of the own copy found `c`. */
void view_note_copy(struct view *v, const struct copy *c, hm_ms now_ms);
/* When its own copy counts as gray: a stall of that length, proved to be no overload for the second
 * half of it at least. HM_NEVER: it does not stall, or nothing proves that it hangs. */
hm_ms view_gray_ms(const struct view *v, hm_ms stall_timeout_ms);
/* What was believed about a slot is void: another member has it now. */
void view_forget(struct view *v, uint8_t slot);
/* The gossip of a slot if it was heard at or after since_ms, else NULL. Borrowed from v. */
const struct gossip *view_recent(const struct view *v, uint8_t slot, hm_ms since_ms);
/* The slots heard at or after since_ms. */
uint16_t view_heard(const struct view *v, hm_ms since_ms);

#endif
