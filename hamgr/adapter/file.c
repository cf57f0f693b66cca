/* file.c - see file.h. */
#include "adapter/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
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

enum hm_rc file_sync_dir(const char *path, struct hm_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum hm_rc rc = HM_OK;

    if (fd < 0)
        return hm_fail_errno(err, "cannot open '%s'", path);
    if (fsync(fd) != 0)
        rc = hm_fail_errno(err, "cannot sync '%s'", path);
    (void)close(fd); /* opened for reading */
    return rc;
}

bool file_remove_flat(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;

    if (dir == NULL && fd >= 0)
        (void)close(fd); /* opened for reading */
    if (dir == NULL)
        return errno == ENOENT;
    while ((entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(fd, entry->d_name, 0); /* what stays is told by rmdir() */
    (void)closedir(dir);                          /* opened for reading */
    return rmdir(path) == 0 || errno == ENOENT;
}
