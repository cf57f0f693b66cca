/* reach.h - can an address be connected to from here? Names are resolved and connections tried on a
 * thread of their own; nothing is said over them. */
#ifndef HAMGR_DAEMON_REACH_H
#define HAMGR_DAEMON_REACH_H

#include "daemon/daemon.h"

/* why: NULL if somebody listens there. */
typedef void reach_told(void *ctx, uint64_t id, const char *why);

/* A thread for what may block and is not urgent; made when it is first needed. NULL: it cannot be.
 */
struct worker *reach_worker(struct daemon *d);

/* Tries HOST:PORT for some seconds; `then` comes on the loop, with d. False: no memory. */
bool reach(struct daemon *d, const char *address, uint64_t id, reach_told *then);

#endif
