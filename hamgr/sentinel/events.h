/* events.h - what changed between two snapshots, as the events that a real Sentinel publishes.
 * Pure.
 *
 * A change of master is told in one go when the new one can take writes (the snapshot's `at`
 * changes then), in the order of a Sentinel that led the failover: clients act upon +switch-master,
 * +slave, +elected-leader or +promoted-slave, and whatever they ask next has the new master in its
 * answer. */
#ifndef HAMGR_SENTINEL_EVENTS_H
#define HAMGR_SENTINEL_EVENTS_H

#include "sentinel/model.h"

/* Both texts are borrowed for the call. */
typedef void events_told(void *ctx, const char *channel, const char *payload);

void events_between(const struct model *before, const struct model *now, events_told *tell,
                    void *ctx);

#endif
