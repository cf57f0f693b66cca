/* notes.h - what hamgr remembers about the copy of a service that the data directory cannot tell.
 *
 *     state_dir/NAME.copy
 *
 * Kept beside the voter's state and not in the data directory, where a clone would copy it. The
 * directory is recognised by what a copy cannot have the same: inodes and birth times of it and of
 * its control file, and the device where a file system knows no birth times (the numbers of devices
 * change when a host boots). Another directory is another copy and gets another id; only the mark
 * of a rebuild stays, until whoever rebuilds takes it away. Blocks: from a worker's job or at start
 * only. */
#ifndef HAMGR_POSTGRES_NOTES_H
#define HAMGR_POSTGRES_NOTES_H

#include "base/err.h"

struct notes {
    uint64_t copy_id;        /* 0: no data */
    uint64_t timeline;       /* ... */
    uint64_t began_epoch;    /* ... was begun by this epoch; 0: not known */
    bool was_primary;        /* the server last ran as a primary */
    bool is_rebuilding;      /* rewind or clone under way: never start, no position */
    uint64_t whole_timeline; /* ... of the new copy that is not in its place yet ... */
    char whole[64]; /* ... and what tells its control file from others; "": there is none that is
                     * whole */
    uint64_t names_digest; /* of the pair last set as synchronous_standby_names ... */
    char names[512];       /* ... and the value that says so */
};

/* Reads them and compares them with the directory; a copy that is new to us gets an id, which is
 * written before this returns. HM_BAD_INPUT: torn. HM_FAILED, HM_NO_SPACE. */
enum hm_rc notes_load(const char *state_dir, const char *service, const char *data_dir,
                      struct notes *ret, struct hm_err *err) HM_MUST_CHECK;
/* Reads only whether the copy is half-made; without a file it is not. HM_BAD_INPUT: torn.
 * HM_FAILED. */
enum hm_rc notes_look_rebuilding(const char *state_dir, const char *service, bool *ret,
                                 struct hm_err *err) HM_MUST_CHECK;
/* Writes them durably, with the directory as it is now. */
enum hm_rc notes_save(const char *state_dir, const char *service, const char *data_dir,
                      const struct notes *n, struct hm_err *err) HM_MUST_CHECK;
/* Writes what tells this directory from every other, at most 159 characters; the empty text and
 * false when there are no data. */
bool notes_identify(const char *data_dir, char *buffer, size_t size);
/* The same for its control file alone, which keeps that when the directory is moved. */
bool notes_identify_control(const char *data_dir, char *buffer, size_t size);
/* A number that no copy had: for a copy that was rewound, cloned or made. */
uint64_t notes_draw_copy_id(void);

#endif
