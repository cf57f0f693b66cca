/* include.h - the generated file that redis.conf includes as its last line.
 *
 * The data of a Redis copy lives with its process, so a server that was started is another copy
 * than the one before, and may be an empty one. With this file it comes up as a read-only replica
 * of nobody: it acknowledges no write, keeps what it loaded, and refuses to hand that to replicas
 * of its own (NOMASTERLINK), so an empty one wipes nobody. What becomes of it is said over its
 * connection, by whoever holds the lease. The file says the same at all times: also with the lease
 * and in a pause, no server comes up writable by itself.
 *
 * `hamgr guard` writes it before a unit's server starts, hamgrd before it starts one itself. Blocks
 * on files; nothing here logs. */
#ifndef HAMGR_REDIS_INCLUDE_H
#define HAMGR_REDIS_INCLUDE_H

#include "base/err.h"

enum { INCLUDE_PATH_MAX = 160 };

/* RUN_DIR/redis-NAME.conf. */
void include_path(const char *run_dir, const char *service, char ret[INCLUDE_PATH_MAX]);

/* Writes the file, readable for everybody: it says nothing secret, and Redis runs as another user.
 * HM_FAILED, HM_NO_SPACE: what was there before is still there. */
enum hm_rc include_write(const char *run_dir, const char *service,
                         struct hm_err *err) HM_MUST_CHECK;

/* Whether the last line of config_file that says anything includes `include`. HM_REFUSED: it does
 * not, and err says which line to add. HM_FAILED: the file cannot be read. */
enum hm_rc include_check(const char *config_file, const char *include,
                         struct hm_err *err) HM_MUST_CHECK;

#endif
