/* datadir.h - files of the data directory of a server that is stopped, or about to be promoted.
 *
 * Everything here blocks: from a worker's job only. Nothing here asks whether a server runs. */
#ifndef HAMGR_POSTGRES_DATADIR_H
#define HAMGR_POSTGRES_DATADIR_H

#include "base/err.h"

/* Reads a file of `dir` into new memory of the caller, with a final NUL; NULL: there is none.
 * HM_BAD_INPUT: longer than max. HM_FAILED. */
enum hm_rc datadir_read(int dir, const char *name, size_t max, char **ret,
                        struct hm_err *err) HM_MUST_CHECK;

/* The major version that made it. HM_BAD_INPUT: no PostgreSQL's data directory. HM_FAILED. */
enum hm_rc datadir_version(const char *data_dir, int *ret, struct hm_err *err) HM_MUST_CHECK;
/* False: it does not exist, or has nothing in it. */
bool datadir_has_files(const char *data_dir);

/* HM_REFUSED: what is there is no data directory, nor what is left of one, so that nobody but its
 * owner may take it away. */
enum hm_rc datadir_check_strangers(const char *data_dir, struct hm_err *err) HM_MUST_CHECK;

/* A copy that a command of the administrator's made, which has not run since: it has no log of its
 * own to recover from. Durably. */
enum hm_rc datadir_mark_restored(const char *data_dir, struct hm_err *err) HM_MUST_CHECK;
enum hm_rc datadir_unmark_restored(const char *data_dir, struct hm_err *err) HM_MUST_CHECK;
bool datadir_is_restored(const char *data_dir);

/* standby.signal, durably: with it a server comes up in recovery and stays there. */
enum hm_rc datadir_mark_standby(const char *data_dir, struct hm_err *err) HM_MUST_CHECK;
/* Takes it away again, and recovery.signal: pg_rewind's own recovery refuses both. */
enum hm_rc datadir_unmark_standby(const char *data_dir, struct hm_err *err) HM_MUST_CHECK;

/* pg_rewind was here and the server did not run since: recovery begins where it says, and ends only
 * beyond the log that it brought along. */
bool datadir_is_rewound(const char *data_dir);

/* HM_REFUSED: processes of a server work in the directory. HM_FAILED: that cannot be found out. */
enum hm_rc datadir_check_unused(const char *data_dir, struct hm_err *err) HM_MUST_CHECK;

/* A postmaster.pid that a dead server left behind: the number may be another process' by now.
 * HM_REFUSED: a server works in the directory. */
enum hm_rc datadir_drop_pid_file(const char *data_dir, struct hm_err *err) HM_MUST_CHECK;

/* Timeline history files that stand for numbers which this copy never ran on.
 *
 * PostgreSQL promotes onto the first number without a history file, so placing files for all below
 * makes it take the one that it shall. They say nothing but who placed them; PostgreSQL takes such
 * a timeline for nobody's child and ignores it. Above the newest real timeline they would keep the
 * server from starting and from following, so there all of them are removed, and below it, where a
 * standby asks a primary for each of them, those that are missing are placed.
 *
 * timeline  to be promoted onto, higher than any real one: placed up to it; 0: none.
 *
 * HM_REFUSED: that timeline exists already. HM_BAD_INPUT: it is out of range. HM_FAILED,
 * HM_NO_SPACE. */
enum hm_rc datadir_place_histories(const char *data_dir, uint64_t timeline,
                                   struct hm_err *err) HM_MUST_CHECK;

/* Configuration that lies in the data directory and is this node's own: pg_rewind and a clone bring
 * the source's instead. Copied to `keep`, which is made; what is there already is older, and right:
 * a rebuild that was cut short had begun. */
enum hm_rc datadir_keep_configs(const char *data_dir, const char *keep,
                                struct hm_err *err) HM_MUST_CHECK;
/* Copies them back, durably. The copies stay until datadir_forget_configs(). */
enum hm_rc datadir_restore_configs(const char *keep, const char *data_dir,
                                   struct hm_err *err) HM_MUST_CHECK;
void datadir_forget_configs(const char *keep);

#endif
