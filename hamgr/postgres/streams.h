/* streams.h - what of the log has arrived where: who streams from a primary, how far each standby
 * has replayed what it has, and how many sessions wait for a standby's word.
 *
 * Reads answers of the probe, keeps marks of the past for the times, and asks nothing by itself. */
#ifndef HAMGR_POSTGRES_STREAMS_H
#define HAMGR_POSTGRES_STREAMS_H

#include "base/log.h"
#include "postgres/inner.h"
#include "probe/behind.h"

struct streams {
    struct behind behind[HM_MEMBERS_MAX];
    uint64_t copy_id[HM_MEMBERS_MAX]; /* whose marks these are */
    uint64_t flushed; /* by all together, at the newest look at which that changed */
    hm_ms still_since_ms;
    struct log_repeat waiting;
};

/* list: "SLOT FLUSHED REPLAYED,SLOT FLUSHED REPLAYED" of a primary's walsenders. Fills in
 * c->standby and the facts. */
void streams_take_senders(struct streams *t, struct service *s, const char *list, struct copy *c,
                          hm_ms now_ms);
/* How many sessions of a primary wait; told in the log when nobody confirms anything. */
void streams_take_waiting(struct streams *t, struct service *s, unsigned int waiting,
                          const struct copy *c, hm_ms now_ms);
/* The own copy is a standby. */
void streams_take_own(struct streams *t, struct service *s, uint64_t received, uint64_t replayed,
                      bool is_paused, hm_ms now_ms);
/* Nothing is known: the server does not answer, or is something else now. */
void streams_forget(struct service *s);

#endif
