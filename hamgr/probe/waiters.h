/* waiters.h - who waits for a round of a probe that begins after they asked.
 *
 * A round that is under way began before, and may tell of the past: who asks meanwhile is told by
 * the next one. A round that is cut short by another leaves its waiters to that. */
#ifndef HAMGR_PROBE_WAITERS_H
#define HAMGR_PROBE_WAITERS_H

struct waiter;

typedef void waiters_told(void *ctx);

struct waiters {          /* all zero: nobody waits */
    struct waiter *due;   /* owned: told by the round that is under way; the oldest first */
    struct waiter *later; /* owned: told by the next one; the oldest first */
};

/* Calls `then` once, from waiters_tell(), or never if waiters_done() comes first. */
void waiters_add(struct waiters *w, waiters_told *then, void *ctx);
/* A round begins. */
void waiters_begin(struct waiters *w);
/* The round has ended: tells all that it is due to, in the order in which they asked. They may add
 * others meanwhile, and begin another round. */
void waiters_tell(struct waiters *w);
/* Forgets all of them, untold. */
void waiters_done(struct waiters *w);

#endif
