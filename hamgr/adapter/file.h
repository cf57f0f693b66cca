/* file.h - what writing files has in common. Blocks; nothing here logs. */
#ifndef HAMGR_ADAPTER_FILE_H
#define HAMGR_ADAPTER_FILE_H

#include "base/err.h"

/* Writes all the bytes, however often write() is cut short or interrupted; does not sync.
 * HM_NO_SPACE, HM_FAILED: some of them may have been written. */
enum hm_rc file_write_all(int fd, const uint8_t *bytes, size_t size,
                          struct hm_err *err) HM_MUST_CHECK;

#endif
