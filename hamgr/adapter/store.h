/* store.h - what a voter must not forget: one file for each service, one for the member itself.
 *
 *     state_dir/member              whose it is, its incarnation, and the services whose registers
 *                                   were begun here
 *     state_dir/NAME.voter          the voter's state (wire_pack_state())
 *
 * A write is: temporary file, fsync, rename, fsync of the directory, so that power may fail at any
 * point. A register that was begun and whose file is missing is lost, not empty: store_load() says
 * so, and the voter stays silent. A torn or foreign file stops the program with a clear message.
 * Everything here may block: call it at start, or from a worker's job. Nothing logs. */
#ifndef HAMGR_ADAPTER_STORE_H
#define HAMGR_ADAPTER_STORE_H

#include "base/err.h"
#include "core/voter.h"

enum { STORE_OWNER_MAX = 2 * HM_NAME_MAX + 4 };

struct store {
    int dir;              /* of state_dir; owned */
    int lock;             /* state_dir/lock is held: a second program is refused; owned */
    uint64_t incarnation; /* of this member, drawn when the directory was first used */
    char owner[STORE_OWNER_MAX];
    size_t begun_n;
    char begun[HM_SERVICES_MAX][HM_NAME_MAX];
};

/* Opens the directory and reads `member`, or makes it in a directory that holds no voter's file.
 *
 * owner  "CLUSTER/NODE", one line: votes copied to another host would be cast twice.
 *
 * HM_BAD_INPUT: `member` is torn or of another owner, or is missing beside voters' files.
 * HM_REFUSED: another program has the directory. HM_FAILED, HM_NO_SPACE. */
enum hm_rc store_open(const char *state_dir, const char *owner, struct store *ret,
                      struct hm_err *err) HM_MUST_CHECK;
void store_done(struct store *s);

/* Reads a voter's state; the first time ever an empty one is written and noted in `member`.
 *
 * ret_is_blank  true: the register was begun here and its file is gone; ret is then untouched.
 *
 * HM_BAD_INPUT: torn, garbled, of another service or member. HM_FAILED, HM_NO_SPACE. */
enum hm_rc store_load(struct store *s, const char *service, struct voter_state *ret,
                      bool *ret_is_blank, struct hm_err *err) HM_MUST_CHECK;

/* Writes a voter's state durably. On failure what was there before is still there; only when the
 * directory could not be synced, either of the two may be found later. Nothing is lost by that: the
 * voter answers as if nothing had been written, and a register may hold more than it told. */
enum hm_rc store_save(const struct store *s, const char *service, const struct voter_state *state,
                      struct hm_err *err) HM_MUST_CHECK;

/* Writes any small file of ours the same way; dir is an open directory, not with O_PATH. One writer
 * for each name: the draft is NAME.tmp. */
enum hm_rc store_replace(int dir, const char *name, const void *bytes, size_t size,
                         struct hm_err *err) HM_MUST_CHECK;

#endif
