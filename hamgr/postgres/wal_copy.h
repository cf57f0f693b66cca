/* wal_copy.h - tail rescue, the bytes: the end of a dead primary's log is read from its files, and
 * joined to the log of a standby that receives nothing.
 *
 * What comes is first gathered in a directory of its own below pg_wal, then checked record by
 * record from the last one that the standby replayed, and only then put in place: all of it, or
 * nothing. In files that are there only bytes behind the standby's own end are written; files that
 * are missing come whole and of full size. Nothing is ever truncated, and no file takes the place
 * of another. Which file it is follows from timeline and position; no name comes from anywhere
 * else. Blocks: from a worker's job only. */
#ifndef HAMGR_POSTGRES_WAL_COPY_H
#define HAMGR_POSTGRES_WAL_COPY_H

#include "postgres/wal.h"

enum { WAL_PIECE_MAX = 32 * 1024 };

/* What is to be joined. */
struct wal_range {
    uint64_t timeline; /* of the missing bytes and of the standby's end */
    uint64_t replayed; /* where a record ends; the check begins there */
    uint64_t received; /* the standby's end, perhaps in the middle of a record */
    uint64_t upto;     /* where the dead primary's last whole record ends */
    uint32_t segment_bytes;
    uint32_t page_bytes;
};

/* The first byte to be asked for: of the page in which the standby's log ends. */
uint64_t wal_range_first(const struct wal_range *r);

/* Reads `size` bytes of the log, which must not cross the end of a segment. HM_BAD_INPUT: they do,
 * or the file is too short, or of another size than segments are. HM_FAILED: it cannot be read. */
enum hm_rc wal_read_bytes(const char *data_dir, uint32_t segment_bytes, uint64_t timeline,
                          uint64_t at, void *ret_bytes, size_t size,
                          struct hm_err *err) HM_MUST_CHECK;

/* Makes room for all that will come, with the standby's own bytes before it. What an attempt before
 * left is thrown away. HM_NO_SPACE, HM_FAILED; HM_BAD_INPUT: the standby's own log is not there. */
enum hm_rc wal_gather_begin(const char *data_dir, const struct wal_range *r,
                            struct hm_err *err) HM_MUST_CHECK;
/* Takes bytes of one segment, at or behind wal_range_first(). HM_BAD_INPUT: they lie outside, or
 * differ from what the standby has: then the logs had parted before. */
enum hm_rc wal_gather_add(const char *data_dir, const struct wal_range *r, uint64_t at,
                          const void *bytes, size_t size, struct hm_err *err) HM_MUST_CHECK;
/* Checks all records up to `upto`, and puts everything in place, durably. HM_BAD_INPUT: a record is
 * not whole: nothing was touched. Any other failure: a part of it may be there, which does no harm.
 */
enum hm_rc wal_gather_end(const char *data_dir, const struct wal_control *control,
                          const struct wal_range *r, struct hm_err *err) HM_MUST_CHECK;
/* Throws away what was gathered. */
void wal_gather_forget(const char *data_dir);

#endif
