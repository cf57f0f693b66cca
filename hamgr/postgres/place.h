/* place.h - where a new copy is made beside the old one, and how it takes its place.
 *
 * Most data directories are renamed: DIR.hamgr-new and DIR are exchanged, what was there ends as
 * DIR.hamgr-old. A directory that cannot be renamed, because it is a mount point or the one above
 * it is not ours, keeps its name: the new copy is made in DIR/.hamgr-new, and what is in the two
 * changes places, entry by entry. The log in a directory of its own (a symbolic link pg_wal) and
 * tablespaces are treated alike. Every step may be the last one and is found and finished by the
 * next attempt: whoever calls has noted durably that the new copy is whole. Blocks: from a worker's
 * job only. */
#ifndef HAMGR_POSTGRES_PLACE_H
#define HAMGR_POSTGRES_PLACE_H

#include "base/err.h"

enum { PLACE_PATH_MAX = 320, PLACE_TABLESPACES_MAX = 16 };

#define PLACE_NEW ".hamgr-new"
#define PLACE_OLD ".hamgr-old"

struct place {
    char target[PLACE_PATH_MAX]; /* the directory, symbolic links resolved; "": there is none */
    char fresh[PLACE_PATH_MAX];  /* where the new one is made, on the same file system */
    char old[PLACE_PATH_MAX];    /* where what was there ends */
    bool is_inside;              /* both are in target, which keeps its name */
};

/* All of one copy. */
struct layout {
    struct place data;
    struct place log; /* of a pg_wal that is a symbolic link */
    unsigned int tablespaces_n;
    char tablespace[PLACE_TABLESPACES_MAX][PLACE_PATH_MAX]; /* their directories */
};

/* Where `path`, there or not, would be replaced: the same before, between and after the renames of
 * a swap, also through links. HM_BAD_INPUT: not possible there. HM_FAILED. */
enum hm_rc place_find(const char *path, struct place *ret, struct hm_err *err) HM_MUST_CHECK;
/* The same for a whole copy. What the data directory says of its links is kept in `keep`, a
 * directory that is there, because the data directory may be lost half-way; NULL: it is only
 * looked at. */
enum hm_rc layout_find(const char *data_dir, const char *keep, struct layout *ret,
                       struct hm_err *err) HM_MUST_CHECK;
/* Forgets the links in `keep`. */
void layout_forget(const char *keep);

/* Brings a whole copy to the disk, with its log and its tablespaces, which may be on others.
 * HM_NO_SPACE, HM_FAILED: what of it is durable is not known. */
enum hm_rc place_sync_copy(const char *dir, struct hm_err *err) HM_MUST_CHECK;
/* Makes the empty directories that a new copy is made in. */
enum hm_rc layout_make_room(const struct layout *l, struct hm_err *err) HM_MUST_CHECK;
/* Parts of the new copy may be in its place already, and nothing of the old one is. */
bool place_has_begun(const struct place *p);
/* Puts the new copy into the place of the old one: tablespaces, log, data directory. */
enum hm_rc layout_swap(const struct layout *l, struct hm_err *err) HM_MUST_CHECK;
/* What was there goes aside although the new copy is not there yet: there is no room for both. */
enum hm_rc layout_put_aside(const struct layout *l, struct hm_err *err) HM_MUST_CHECK;
/* Calls for each directory that may be left over: with is_new the new ones, else the old ones. */
void layout_each_leftover(const struct layout *l, bool is_new,
                          void (*call)(void *ctx, const char *path), void *ctx);
/* Bytes that can be had where the new copy is made, and those that the old one has there. */
enum hm_rc layout_room(const struct layout *l, uint64_t *ret_free, uint64_t *ret_old,
                       struct hm_err *err) HM_MUST_CHECK;

#endif
