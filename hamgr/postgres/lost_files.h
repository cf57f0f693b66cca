/* lost_files.h - the directory of diverged logs: one folder for each, with the log's files, a
 * summary.json and a summary.txt. Made under a name that ends in ".part", renamed when it is whole.
 * Blocks: from a worker's job only. */
#ifndef HAMGR_POSTGRES_LOST_FILES_H
#define HAMGR_POSTGRES_LOST_FILES_H

#include "core/record.h"
#include "postgres/lost.h"
#include "postgres/wal.h"

/* Where a copy that ends at `at` left the record's history; UINT64_MAX: it did not; 0: not known.
 * began_epoch: of its timeline, as noted. h: of its timeline, from its own files. */
uint64_t lost_fork(const struct record *r, const struct position *at, uint64_t began_epoch,
                   const struct wal_history *h);

/* Copies the log's files from l->from to l->upto into a new folder l->id.part below `dir`, which is
 * made if need be. To stay within max_bytes the oldest folders of the service go first; what is
 * more than that alone, or does not fit on the disk, is not kept: l->kept_bytes is 0 and l->why
 * says so. False: this stretch was set aside before, or there can be no folder (l->why). */
bool lost_keep(const char *dir, const char *data_dir, uint64_t max_bytes, struct lost *l);
/* Writes both summaries and gives the folder its name. False: l->why says why. */
bool lost_write(const char *dir, struct lost *l);

#endif
