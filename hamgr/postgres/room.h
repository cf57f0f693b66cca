/* room.h - how much room the disks of a service have, and for how long that will do.
 *
 * Looks at the data directory, pg_wal and every tablespace every few seconds, in a thread of its
 * own: a disk that hangs must hold up nothing else. */
#ifndef HAMGR_POSTGRES_ROOM_H
#define HAMGR_POSTGRES_ROOM_H

#include "adapter/service.h"
#include "base/err.h"

#include <event2/event.h>

struct room;

enum hm_rc room_new(const struct service_config *config, struct room **ret,
                    struct hm_err *err) HM_MUST_CHECK;
/* Waits for a look under way, as worker_free() does. NULL is fine. */
void room_free(struct room *r);
/* A disk that the server writes to has next to nothing left: whatever needs room is refused. */
bool room_is_full(const struct room *r);
/* Enough on every disk to become a primary: some segments of the log, at least. */
bool room_is_enough(const struct room *r);
/* Fills in the disks, one entry each. */
void room_describe(const struct room *r, struct service_facts *ret);

#endif
