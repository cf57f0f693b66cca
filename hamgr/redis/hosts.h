/* hosts.h - which member an address belongs to: what Redis calls its replicas and its master.
 *
 * Members' hosts that are names are resolved by a thread, again every half a minute; until then
 * they are known by their names only. */
#ifndef HAMGR_REDIS_HOSTS_H
#define HAMGR_REDIS_HOSTS_H

#include "base/err.h"
#include "core/record.h"

#include <event2/event.h>

struct hosts;

/* The thread is made when the first name is to be resolved. base is borrowed. */
enum hm_rc hosts_new(struct event_base *base, struct hosts **ret, struct hm_err *err) HM_MUST_CHECK;
void hosts_free(struct hosts *h);
/* The members that count from now on: those that hold a copy. */
void hosts_note(struct hosts *h, const struct record *r);
/* The slot of the member with this address or name; HM_STRANGER: nobody's. */
uint8_t hosts_find(struct hosts *h, const char *text);

#endif
