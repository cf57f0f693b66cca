/* serve_ctl.h - the control socket: run_dir/hamgrd.sock.
 *
 * A request is one line of JSON, {"command": "status", ...}; the answer is one JSON document with
 * "rc" (an exit code of the command line), "error" and "next" where rc is not 0, and then the end.
 * Root and hamgrd's own user are heard, everybody else gets an error. Requests are bounded in
 * length, number and time; a client that does not read is dropped. */
#ifndef HAMGR_DAEMON_SERVE_CTL_H
#define HAMGR_DAEMON_SERVE_CTL_H

#include "base/err.h"

#include <event2/event.h>
#include <jansson.h>

struct serve_ctl;
struct serve_call; /* a request that waits for its answer */

/* Must answer by serve_answer(), now or later. request is borrowed for the call. */
typedef void serve_ctl_heard(void *ctx, struct serve_call *call, const json_t *request);

/* The socket is there when it returns; an old one without a listener is replaced.
 * HM_REFUSED: another hamgrd listens there. HM_FAILED. */
enum hm_rc serve_ctl_new(struct event_base *base, const char *path, serve_ctl_heard *on_request,
                         void *ctx, struct serve_ctl **ret, struct hm_err *err) HM_MUST_CHECK;
/* Calls that still wait are dropped: later answers to them must not come. Removes the socket. */
void serve_ctl_free(struct serve_ctl *s);

/* Answers; takes over `answer` (its "rc" is set from rc). The call is gone then, also if its client
 * has left meanwhile. */
void serve_answer(struct serve_call *call, enum hm_rc rc, json_t *answer);
/* The same for a failure: {"rc", "error", "next"}; next may be NULL. */
void serve_fail(struct serve_call *call, enum hm_rc rc, const char *error, const char *next);

#endif
