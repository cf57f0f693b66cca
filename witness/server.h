/* server.h - the witness as a whole: the hub, the disk's thread, the clusters, and systemd.
 *
 * One process, one loop of the caller, one thread for the disk. There is no control socket: what it
 * does is in the log, in systemd's STATUS and in what members tell about their voters. */
#ifndef WITNESS_SERVER_H
#define WITNESS_SERVER_H

#include "net/link.h"
#include "settings/settings.h"
#include "witness/clusters.h"

struct server;

/* Listens and begins to serve every cluster of the settings, which are borrowed for the call.
 * HM_FAILED: the address cannot be bound, no thread, no directory. One cluster that cannot be
 * served is logged and does not stop the others. */
enum hm_rc server_new(struct event_base *base, const struct settings_witness *settings,
                      struct server **ret, struct hm_err *err) HM_MUST_CHECK;
/* Waits for the write that runs. NULL is fine. */
void server_free(struct server *s);

/* Takes a changed file over: new clusters are served from now on. What cannot change while the
 * program runs is logged: another address or directory, other keys, clusters that are gone. */
void server_update(struct server *s, const struct settings_witness *settings);
/* Logs what it does, a line for each cluster and register. */
void server_tell(const struct server *s);
void server_count(const struct server *s, struct clusters_counts *ret,
                  struct link_counts *ret_links);

#endif
