/* sentinel_view.h - what a core believes of a redis service, as a Sentinel would say it.
 *
 * The one thing it decides is when a new primary is told to clients: as soon as it takes writes,
 * and the old one can take none any more. The record names it earlier, while its copy is still
 * being promoted and its gate is closed; who connects then runs into the closed gate and tries
 * again only a second later. Until then the former primary is told, marked as down. Only looks at
 * the core. */
#ifndef HAMGR_DAEMON_SENTINEL_VIEW_H
#define HAMGR_DAEMON_SENTINEL_VIEW_H

#include "core/core.h"
#include "sentinel/model.h"

/* What must be remembered from one look to the next. Zero-initialised storage of the caller. */
struct sentinel_view {
    bool is_there; /* clients were told a primary */
    uint8_t slot;  /* that one ... */
    uint64_t epoch;
    struct model_place at;
    char run_id[MODEL_ID_SIZE];
    char by[MODEL_ID_SIZE];
    bool is_planned;
    hm_ms since_ms;
    bool is_sdown, is_odown, is_failover, is_unsettled;
    hm_ms sdown_ms, odown_ms, failover_ms, unsettled_ms;
    hm_ms heard_ms;
    uint64_t promoted_epoch; /* its promotion was heard of ... */
    hm_ms promoted_ms;       /* ... then */
    struct {
        uint64_t incarnation; /* whose the slot is; 0: nothing is remembered */
        bool is_up, is_linked;
        hm_ms changed_ms, link_changed_ms, reported_ms;
        enum model_role reported;
    } peer[HM_MEMBERS_MAX];
};

struct sentinel_view_service {
    const char *name;
    uint16_t port;
    const struct core *core;
    bool is_gate_open; /* of this host; true where there is none */
};

/* Fills *ret. ret_again_ms: when to look again at the latest; HM_NEVER: when something happens.
 * False: there has not been a primary yet; *ret is not touched. */
bool sentinel_view_look(struct sentinel_view *v, const struct sentinel_view_service *s,
                        hm_ms now_ms, struct model_master *ret, hm_ms *ret_again_ms);

/* The id of a member's endpoint: 40 digits that stay as long as its state directory. */
void sentinel_view_id(uint64_t cluster, uint64_t incarnation, char id[MODEL_ID_SIZE]);
/* Where a member's server or endpoint is: the host of its address, with that port. */
void sentinel_view_place(const struct member *m, uint16_t port, struct model_place *ret);

#endif
