/* witness.h - the witness as a whole: the hub, the disk's thread, the clusters, and systemd.
 *
 * One process, one loop of the caller, one thread for the disk. There is no control socket: what it
 * does is in the log, in systemd's STATUS and in what members tell about their voters. */
#ifndef WITNESS_WITNESS_H
#define WITNESS_WITNESS_H

#include "net/link.h"
#include "settings/settings.h"
#include "witness/clusters.h"

struct witness;

/* Listens and begins to serve every cluster of the settings, which are borrowed for the call.
 * HM_FAILED: the address cannot be bound, no thread, no directory. One cluster that cannot be
 * served is logged and does not stop the others. */
enum hm_rc witness_new(struct event_base *base, const struct settings_witness *settings,
                       struct witness **ret, struct hm_err *err) HM_MUST_CHECK;
/* Waits for the write that runs. NULL is fine. */
void witness_free(struct witness *s);

/* Takes a changed file over: new clusters are served from now on. What cannot change while the
 * program runs is logged: another address or directory, other keys, clusters that are gone. */
void witness_update(struct witness *s, const struct settings_witness *settings);
/* Logs what it does, a line for each cluster and register. */
void witness_tell(const struct witness *s);
/* Where it listens: the kernel's choice where the settings say port 0. */
uint16_t witness_port(const struct witness *s);
void witness_count(const struct witness *s, struct clusters_counts *ret,
                   struct link_counts *ret_links);

#endif
