/* serve_sentinel.h - the Sentinel endpoint of hamgrd: see sentinel/server.h.
 *
 * Opened where there is a redis service and sentinel_port is not 0. It looks at the drivers and
 * changes nothing of theirs; the one order that clients can give, SENTINEL FAILOVER, is given as
 * `hamgr switchover` is. */
#ifndef HAMGR_DAEMON_SERVE_SENTINEL_H
#define HAMGR_DAEMON_SERVE_SENTINEL_H

#include "base/err.h"

#include <jansson.h>

struct daemon;
struct serve_sentinel;

/* *ret stays NULL with HM_OK where there is nothing to serve. HM_FAILED, HM_BAD_INPUT: the password
 * file. A port that is taken is no failure: see serve_sentinel_trouble(). */
enum hm_rc serve_sentinel_new(struct daemon *d, struct serve_sentinel **ret,
                              struct hm_err *err) HM_MUST_CHECK;
void serve_sentinel_free(struct serve_sentinel *s); /* NULL is fine, as in all of these */

/* Something may have changed: called after each step of a core. */
void serve_sentinel_note(struct serve_sentinel *s);
/* An order that a client gave by FAILOVER ended. document is borrowed. */
void serve_sentinel_answer(struct serve_sentinel *s, uint64_t ticket, enum hm_rc rc,
                           const json_t *document);
/* Why clients cannot ask this member; "": they can. */
const char *serve_sentinel_trouble(const struct serve_sentinel *s);

#endif
