/* clusters.h - the clusters that a witness serves, each a name, a key and a few registers.
 *
 * A witness is configured with names and keys only. What a cluster consists of its members say
 * when they connect: the HELLO names the services by number, the record that a new cluster would
 * begin with, and the name under which they know the witness. For each service one core votes
 * (ROLE_WITNESS); its promises are kept under STATE_DIR/CLUSTER, a store of its own with an
 * incarnation of its own. A core is made when a HELLO has named its service, never before.
 *
 * Members must agree: on the names of the services by number always, on the first record as long
 * as there is none. Where they do not, that service gets no vote from here, and the log says who
 * differs. Nothing here ends the program: one cluster's trouble is not the others'. */
#ifndef WITNESS_CLUSTERS_H
#define WITNESS_CLUSTERS_H

#include "adapter/worker.h"
#include "net/link.h"
#include "settings/settings.h"

struct clusters;

struct clusters_config {
    struct event_base *base; /* borrowed */
    struct link_hub *hub;    /* borrowed; freed before the clusters */
    struct worker *disk;     /* borrowed; freed after the hub and before the clusters */
    const char *state_dir;   /* copied; must exist */
};

/* HM_FAILED: out of memory, no timer. */
enum hm_rc clusters_new(const struct clusters_config *config, struct clusters **ret,
                        struct hm_err *err) HM_MUST_CHECK;
void clusters_free(struct clusters *all);

/* Begins to serve a cluster: its directory is made or opened by the worker, then its members are
 * let in. One that is served already stays as it is.
 * HM_BAD_INPUT: the name cannot be one of a directory. HM_FAILED: out of memory. */
enum hm_rc clusters_add(struct clusters *all, const struct settings_cluster *settings,
                        struct hm_err *err) HM_MUST_CHECK;
/* True if it was added; *ret_has_key: with this very key. */
bool clusters_has(const struct clusters *all, const struct settings_cluster *settings,
                  bool *ret_has_key);

/* Tries again what failed for want of a disk. Call it now and then. */
void clusters_retry(struct clusters *all);

struct clusters_counts {
    size_t clusters; /* members are let in */
    size_t opening;  /* their directories are not open yet */
    size_t failed;   /* their directories cannot be opened */
    size_t voting;   /* registers that vote */
    size_t broken;   /* registers that cannot be read, or are missing */
    size_t disputed; /* registers about which the members disagree */
    uint64_t messages;
    uint64_t writes; /* of promises and acceptances */
    uint64_t failed_writes;
    uint64_t ignored; /* messages that no register takes */
};
void clusters_count(const struct clusters *all, struct clusters_counts *ret);
/* Logs a line for each cluster and register. */
void clusters_tell(const struct clusters *all);

#endif
