/* file.c - see file.h. */
#include "adapter/file.h"

#include <errno.h>
#include <unistd.h>

enum hm_rc file_write_all(int fd, const uint8_t *bytes, size_t size, struct hm_err *err)
{
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return hm_fail_errno(err, "cannot write");
        bytes += n;
        size -= (size_t)n;
    }
    return HM_OK;
}
