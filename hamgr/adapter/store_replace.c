/* store_replace.c - one small file put in the place of another, so that power may fail at any
 * point. Apart from store.c because others write small files, too, and want nothing else of it. */
#include "adapter/file.h"
#include "adapter/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SUFFIX ".tmp"

/* All of it is on the disk when this returns HM_OK: also what a late failure would have hit, since
 * close() reports what fsync() did not (network file systems). */
static enum hm_rc write_new(int dir, const char *name, const void *bytes, size_t size,
                            struct hm_err *err)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    enum hm_rc rc;

    if (fd < 0)
        return hm_fail_errno(err, "cannot create '%s'", name);
    rc = file_write_all(fd, bytes, size, err);
    if (rc == HM_OK && fsync(fd) != 0)
        rc = hm_fail_errno(err, "cannot sync '%s'", name);
    if (close(fd) != 0 && rc == HM_OK)
        rc = hm_fail_errno(err, "cannot close '%s'", name);
    return rc;
}

enum hm_rc store_replace(int dir, const char *name, const void *bytes, size_t size,
                         struct hm_err *err)
{
    char draft[256];
    int length = snprintf(draft, sizeof draft, "%s" SUFFIX, name);
    enum hm_rc rc;

    if (length < 0 || (size_t)length >= sizeof draft)
        return hm_fail(err, HM_BAD_INPUT, "writing '%s': the name is too long", name);
    rc = write_new(dir, draft, bytes, size, err);
    if (rc == HM_OK && renameat(dir, draft, dir, name) != 0)
        rc = hm_fail_errno(err, "cannot rename '%s'", draft);
    if (rc != HM_OK) {
        (void)unlinkat(dir, draft, 0); /* gives its space back; a leftover is written over */
    } else if (fsync(dir) != 0) {
        rc = hm_fail_errno(err, "cannot sync the directory");
    }
    if (rc != HM_OK)
        hm_wrap(err, "writing '%s'", name);
    return rc;
}
