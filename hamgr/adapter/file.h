/* file.h - what writing and removing files has in common. Blocks; nothing here logs. */
#ifndef HAMGR_ADAPTER_FILE_H
#define HAMGR_ADAPTER_FILE_H

#include "base/err.h"

#include <stdbool.h>

/* Writes all the bytes, however often write() is cut short or interrupted; does not sync.
 * HM_NO_SPACE, HM_FAILED: some of them may have been written. */
enum hm_rc file_write_all(int fd, const uint8_t *bytes, size_t size,
                          struct hm_err *err) HM_MUST_CHECK;

/* Brings what was made, renamed or removed in a directory to the disk. HM_FAILED. */
enum hm_rc file_sync_dir(const char *path, struct hm_err *err) HM_MUST_CHECK;

/* Removes a directory and the files in it; no link is followed. True: it is gone, or was not there.
 * False: something is left, a directory in it for example; errno says why. */
bool file_remove_flat(const char *path);

#endif
