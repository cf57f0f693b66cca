/* wal.h - what the files of a data directory say: its control file, where each timeline forked, and
 * where the log on the disk ends.
 *
 * The log is read as the startup process of a standby would read it: from the last checkpoint (or
 * the start of a base backup) on, in each segment the file of the newest timeline that leads there,
 * up to the first record that is not whole. Never writes. Blocks: from a worker's job only. */
#ifndef HAMGR_POSTGRES_WAL_H
#define HAMGR_POSTGRES_WAL_H

#include "base/err.h"
#include "view/observation.h"

enum { WAL_HISTORY_MAX = 64, WAL_NAME_MAX = 25 };

enum wal_state { /* as PostgreSQL numbers them */
                 WAL_STARTING,
                 WAL_SHUT_DOWN,
                 WAL_SHUT_DOWN_IN_RECOVERY,
                 WAL_SHUTTING_DOWN,
                 WAL_IN_CRASH_RECOVERY,
                 WAL_IN_ARCHIVE_RECOVERY,
                 WAL_IN_PRODUCTION,
};

struct wal_control {
    uint64_t system_id;
    enum wal_state state;
    uint64_t redo;            /* where recovery begins ... */
    uint64_t timeline;        /* ... and on which timeline */
    uint64_t needed;          /* recovery must reach this point, ... */
    uint64_t needed_timeline; /* ... on this timeline; 0: any */
    uint32_t segment_bytes;
    uint32_t page_bytes;
    bool is_backup;      /* a backup_label: a clone or a rewound copy that never started */
    bool is_restored;    /* ... from a backup without a log of its own */
    bool was_primary;    /* the server that wrote it last was one; never with is_backup */
    int64_t changed_ns;  /* time of the newest change */
    uint64_t changed_id; /* its inode */
};

/* Where a timeline comes from: it has the bytes of each of `timeline[i]` from the end of the one
 * before up to `end[i]`; the last is the timeline itself and has no end (UINT64_MAX). */
struct wal_history {
    unsigned int n;
    uint64_t timeline[WAL_HISTORY_MAX];
    uint64_t end[WAL_HISTORY_MAX];
};

/* HM_BAD_INPUT: not a control file of PostgreSQL 13 to 18, or caught half-written; try again.
 * HM_FAILED: it cannot be read. */
enum hm_rc wal_read_control(const char *data_dir, struct wal_control *ret,
                            struct hm_err *err) HM_MUST_CHECK;

/* Timeline 1 has no file; for any other one without a file ret has it alone, and is returned false.
 * False as well when the file is garbled or too long. */
bool wal_read_history(const char *data_dir, uint64_t timeline, struct wal_history *ret);
bool wal_parse_history(const char *text, uint64_t timeline, struct wal_history *ret);
/* The timeline that wrote the byte before `offset`: what is written just there still belongs to the
 * one before. */
uint64_t wal_timeline_at(const struct wal_history *h, uint64_t offset);

/* The name of the file that has position `at`, 24 digits. */
void wal_segment_name(char name[WAL_NAME_MAX], uint64_t timeline, uint64_t at,
                      uint32_t segment_bytes);

/* How far the log in the files of log_dir is whole, from `from` on: is_record, a record ends there;
 * else it is the start of a segment, and what goes on there from the one before is not looked at.
 * HM_BAD_INPUT: there is not a single whole record. HM_FAILED.
 */
enum hm_rc wal_check(const char *data_dir, const char *log_dir, const struct wal_control *control,
                     uint64_t timeline, uint64_t from, bool is_record, uint64_t *ret_end,
                     struct hm_err *err) HM_MUST_CHECK;

/* Where the log ends. hint: a position that the log is known to reach, or 0: what is older than
 * its segment is then not read again. HM_BAD_INPUT: no whole record where recovery would begin, or
 * the log ends before the point that the data need. HM_FAILED: a file cannot be read. */
enum hm_rc wal_find_end(const char *data_dir, const struct wal_control *control, uint64_t hint,
                        struct position *ret, struct hm_err *err) HM_MUST_CHECK;

#endif
