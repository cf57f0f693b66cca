/* accept.h - does the main process still take connections in?
 *
 * Connections that are open work on while the main process hangs, and the kernel takes new ones in
 * its name. So now and then one is opened that asks only whether it may be encrypted: the answer
 * comes before any authentication, needs none of max_connections and is not logged as a failure. */
#ifndef HAMGR_POSTGRES_ACCEPT_H
#define HAMGR_POSTGRES_ACCEPT_H

#include "base/err.h"

#include <event2/event.h>

struct accept_probe;

/* socket: the server's unix socket, copied. HM_FAILED: no memory. */
enum hm_rc accept_new(struct event_base *base, const char *socket, struct accept_probe **ret,
                      struct hm_err *err) HM_MUST_CHECK;
void accept_free(struct accept_probe *a);
/* Asks, when the last answer is old enough; at once if `is_urgent`. */
void accept_keep(struct accept_probe *a, hm_ms now_ms, bool is_urgent);
/* For how long the question has not been answered; 0: none is out. */
hm_ms accept_out_ms(const struct accept_probe *a, hm_ms now_ms);
/* Another main process, or none: what was asked is void. */
void accept_forget(struct accept_probe *a);

#endif
