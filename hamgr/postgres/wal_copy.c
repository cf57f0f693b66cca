#include "postgres/wal_copy.h"

#include "adapter/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "hamgr-rescue" /* below pg_wal: on its disk, and PostgreSQL does not look at it */

enum { PATH_SIZE = 512, COPY_BYTES = 1 << 20 };

uint64_t wal_range_first(const struct wal_range *r)
{
    return r->received - r->received % r->page_bytes;
}

static uint64_t segment_start(const struct wal_range *r, uint64_t at)
{
    return at - at % r->segment_bytes;
}

/* Where the gathered bytes begin: with the page that the check begins in. A standby may have much
 * that it has not replayed; of that no more than a segment is read again. */
static uint64_t gathered_from(const struct wal_range *r)
{
    uint64_t page = r->replayed - r->replayed % r->page_bytes;
    uint64_t segment = segment_start(r, r->received);

    return page > segment ? page : segment;
}

/* --- files ----------------------------------------------------------------------------------- */

static void path_of(char path[PATH_SIZE], const char *data_dir, bool is_gathered,
                    const struct wal_range *r, uint64_t at)
{
    char name[WAL_NAME_MAX];

    wal_segment_name(name, r->timeline, at, r->segment_bytes);
    (void)snprintf(path, PATH_SIZE, "%s/pg_wal/%s%s", data_dir, is_gathered ? FOLDER "/" : "",
                   name);
}

static enum hm_rc read_all(int fd, const char *path, off_t from, void *bytes, size_t size,
                           struct hm_err *err)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = pread(fd, (char *)bytes + got, size - got, from + (off_t)got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return hm_fail_errno(err, "cannot read '%s'", path);
        if (n == 0)
            return hm_fail(err, HM_BAD_INPUT, "'%s' is too short", path);
        got += (size_t)n;
    }
    return HM_OK;
}

static enum hm_rc write_all(int fd, const char *path, off_t to, const void *bytes, size_t size,
                            struct hm_err *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(fd, (const char *)bytes + done, size - done, to + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return hm_fail_errno(err, "cannot write '%s'", path);
        done += (size_t)n;
    }
    return HM_OK;
}

/* A regular file of a segment's size. */
static enum hm_rc open_segment(const char *path, int flags, uint32_t segment_bytes, int *ret_fd,
                               struct hm_err *err)
{
    struct stat st;
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW);
    enum hm_rc rc;

    if (fd < 0)
        return hm_fail_errno(err, "cannot open '%s'", path);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)segment_bytes) {
        *ret_fd = fd;
        return HM_OK;
    }
    rc = hm_fail(err, HM_BAD_INPUT, "'%s' has not the size of a segment", path);
    (void)close(fd); /* nothing was written */
    return rc;
}

static enum hm_rc sync_and_close(int fd, const char *path, enum hm_rc rc, struct hm_err *err)
{
    if (rc == HM_OK && fsync(fd) != 0)
        rc = hm_fail_errno(err, "cannot sync '%s'", path);
    if (close(fd) != 0 && rc == HM_OK)
        rc = hm_fail_errno(err, "cannot close '%s'", path);
    return rc;
}

enum hm_rc wal_read_bytes(const char *data_dir, uint32_t segment_bytes, uint64_t timeline,
                          uint64_t at, void *ret_bytes, size_t size, struct hm_err *err)
{
    const struct wal_range r = { .timeline = timeline, .segment_bytes = segment_bytes };
    char path[PATH_SIZE];
    int fd = -1;
    enum hm_rc rc;

    if (size == 0 || at % segment_bytes + size > segment_bytes)
        return hm_fail(err, HM_BAD_INPUT, "%zu bytes at %" PRIX64 " are not of one segment", size,
                       at);
    path_of(path, data_dir, false, &r, at);
    rc = open_segment(path, O_RDONLY, segment_bytes, &fd, err);
    if (rc != HM_OK)
        return rc;
    rc = read_all(fd, path, (off_t)(at % segment_bytes), ret_bytes, size, err);
    (void)close(fd); /* it was only read */
    return rc;
}

/* --- gathering ------------------------------------------------------------------------------- */

void wal_gather_forget(const char *data_dir)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof path, "%s/pg_wal/" FOLDER, data_dir);
    (void)file_remove_flat(
        path); /* what stays is in nobody's way: the next attempt comes here first */
}

/* Room on the disk for all of it: writing to a log file must never fail for want of that. */
static enum hm_rc take_room(int fd, const char *path, uint32_t segment_bytes, struct hm_err *err)
{
    int number = posix_fallocate(fd, 0, (off_t)segment_bytes);

    if (number == 0)
        return HM_OK;
    errno = number;
    return hm_fail_errno(err, "no room for '%s'", path);
}

/* Of full size, with nothing but zeros in it, which no reader takes for a record. Only one that
 * will be a log file itself needs all its room. */
static enum hm_rc make_segment(const char *path, uint32_t segment_bytes, bool needs_room,
                               struct hm_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    enum hm_rc rc = HM_OK;

    if (fd < 0)
        return hm_fail_errno(err, "cannot make '%s'", path);
    if (needs_room)
        rc = take_room(fd, path, segment_bytes, err);
    else if (ftruncate(fd, (off_t)segment_bytes) != 0)
        rc = hm_fail_errno(err, "no room for '%s'", path);
    if (close(fd) != 0 && rc == HM_OK)
        rc = hm_fail_errno(err, "cannot close '%s'", path);
    return rc;
}

/* The standby's own bytes from `from` on, up to `upto`, all of one segment. */
static enum hm_rc copy_own(const char *data_dir, const struct wal_range *r, uint64_t from,
                           uint64_t upto, struct hm_err *err)
{
    char path[PATH_SIZE];
    unsigned char *bytes;
    int fd = -1;
    enum hm_rc rc;

    path_of(path, data_dir, true, r, from);
    rc = open_segment(path, O_WRONLY, r->segment_bytes, &fd, err);
    if (rc != HM_OK)
        return rc;
    bytes = malloc(COPY_BYTES);
    if (bytes == NULL)
        rc = hm_fail(err, HM_FAILED, "no memory to copy the log");
    while (rc == HM_OK && from < upto) {
        size_t n = upto - from < COPY_BYTES ? (size_t)(upto - from) : COPY_BYTES;

        rc = wal_read_bytes(data_dir, r->segment_bytes, r->timeline, from, bytes, n, err);
        if (rc == HM_OK)
            rc = write_all(fd, path, (off_t)(from % r->segment_bytes), bytes, n, err);
        from += n;
    }
    free(bytes);
    if (close(fd) != 0 && rc == HM_OK)
        rc = hm_fail_errno(err, "cannot close '%s'", path);
    return rc;
}

enum hm_rc wal_gather_begin(const char *data_dir, const struct wal_range *r, struct hm_err *err)
{
    char path[PATH_SIZE], own[PATH_SIZE];
    enum hm_rc rc = HM_OK;

    wal_gather_forget(data_dir);
    (void)snprintf(path, sizeof path, "%s/pg_wal/" FOLDER, data_dir);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return hm_fail_errno(err, "cannot make '%s'", path);
    for (uint64_t at = segment_start(r, gathered_from(r)); rc == HM_OK && at < r->upto;
         at += r->segment_bytes) {
        uint64_t from = at < gathered_from(r) ? gathered_from(r) : at;
        uint64_t end = at + r->segment_bytes;

        path_of(path, data_dir, true, r, at);
        path_of(own, data_dir, false, r, at);
        rc = make_segment(path, r->segment_bytes, access(own, F_OK) != 0, err);
        if (rc == HM_OK && from < wal_range_first(r))
            rc = copy_own(data_dir, r, from, end < wal_range_first(r) ? end : wal_range_first(r),
                          err);
    }
    if (rc != HM_OK)
        wal_gather_forget(data_dir);
    return rc;
}

/* What both have must be the same. */
static enum hm_rc compare_own(const char *data_dir, const struct wal_range *r, uint64_t at,
                              const void *bytes, size_t size, struct hm_err *err)
{
    unsigned char own[WAL_PIECE_MAX];
    size_t both = r->received > at ? (size_t)(r->received - at) : 0;
    enum hm_rc rc;

    if (both > size)
        both = size;
    if (both == 0)
        return HM_OK;
    rc = wal_read_bytes(data_dir, r->segment_bytes, r->timeline, at, own, both, err);
    if (rc == HM_OK && memcmp(own, bytes, both) != 0)
        rc = hm_fail(err, HM_BAD_INPUT, "the logs differ before %" PRIX64 ": they had parted",
                     r->received);
    return rc;
}

enum hm_rc wal_gather_add(const char *data_dir, const struct wal_range *r, uint64_t at,
                          const void *bytes, size_t size, struct hm_err *err)
{
    char path[PATH_SIZE];
    int fd = -1;
    enum hm_rc rc;

    if (size == 0 || size > WAL_PIECE_MAX || at < wal_range_first(r) || at + size > r->upto ||
        at % r->segment_bytes + size > r->segment_bytes)
        return hm_fail(err, HM_BAD_INPUT, "%zu bytes at %" PRIX64 " were not asked for", size, at);
    rc = compare_own(data_dir, r, at, bytes, size, err);
    if (rc != HM_OK)
        return rc;
    path_of(path, data_dir, true, r, at);
    rc = open_segment(path, O_WRONLY, r->segment_bytes, &fd, err);
    if (rc != HM_OK)
        return rc;
    rc = write_all(fd, path, (off_t)(at % r->segment_bytes), bytes, size, err);
    if (close(fd) != 0 && rc == HM_OK)
        rc = hm_fail_errno(err, "cannot close '%s'", path);
    return rc;
}

/* --- putting in place ------------------------------------------------------------------------ */

static enum hm_rc check_records(const char *data_dir, const struct wal_control *control,
                                const struct wal_range *r, struct hm_err *err)
{
    char folder[PATH_SIZE];
    uint64_t from = r->replayed > gathered_from(r) ? r->replayed : gathered_from(r);
    uint64_t end = 0;
    enum hm_rc rc;

    (void)snprintf(folder, sizeof folder, "%s/pg_wal/" FOLDER, data_dir);
    rc = wal_check(data_dir, folder, control, r->timeline, from, from == r->replayed, &end, err);
    if (rc == HM_OK && end != r->upto)
        rc = hm_fail(err, HM_BAD_INPUT, "what came is whole up to %" PRIX64 ", not to %" PRIX64,
                     end, r->upto);
    return rc;
}

/* Behind the standby's own end, up to the end of the page in which the last record ends: that page
 * holds zeros there, whatever an old use of the file left in it. */
static enum hm_rc fill_segment(const char *data_dir, const struct wal_range *r, uint64_t at,
                               struct hm_err *err)
{
    uint64_t from = at < r->received ? r->received : at;
    uint64_t last = (r->upto + r->page_bytes - 1) / r->page_bytes * r->page_bytes;
    uint64_t end = at + r->segment_bytes < last ? at + r->segment_bytes : last;
    char path[PATH_SIZE], gathered[PATH_SIZE];
    unsigned char bytes[WAL_PIECE_MAX];
    int to = -1, source = -1;
    enum hm_rc rc;

    path_of(path, data_dir, false, r, at);
    path_of(gathered, data_dir, true, r, at);
    rc = open_segment(gathered, O_RDONLY, r->segment_bytes, &source, err);
    if (rc == HM_OK)
        rc = open_segment(path, O_WRONLY, r->segment_bytes, &to, err);
    while (rc == HM_OK && from < end) {
        size_t n = end - from < sizeof bytes ? (size_t)(end - from) : sizeof bytes;
        off_t offset = (off_t)(from % r->segment_bytes);

        rc = read_all(source, gathered, offset, bytes, n, err);
        if (rc == HM_OK)
            rc = write_all(to, path, offset, bytes, n, err);
        from += n;
    }
    if (source >= 0)
        (void)close(source); /* it was only read */
    return to >= 0 ? sync_and_close(to, path, rc, err) : rc;
}

/* A file that is missing is linked, whole and on the disk; one that is there is written into. */
static enum hm_rc place_segment(const char *data_dir, const struct wal_range *r, uint64_t at,
                                struct hm_err *err)
{
    char path[PATH_SIZE], gathered[PATH_SIZE];
    int fd = -1;
    enum hm_rc rc;

    path_of(path, data_dir, false, r, at);
    path_of(gathered, data_dir, true, r, at);
    if (access(path, F_OK) == 0)
        return fill_segment(data_dir, r, at, err);
    rc = open_segment(gathered, O_WRONLY, r->segment_bytes, &fd, err);
    if (rc == HM_OK)
        rc = sync_and_close(fd, gathered, take_room(fd, gathered, r->segment_bytes, err), err);
    if (rc == HM_OK && link(gathered, path) != 0)
        return errno == EEXIST ? fill_segment(data_dir, r, at, err)
                               : hm_fail_errno(err, "cannot make '%s'", path);
    return rc;
}

/* The last segment first: a server that reads meanwhile finds nothing new until the first page of
 * it is there, and then everything. */
enum hm_rc wal_gather_end(const char *data_dir, const struct wal_control *control,
                          const struct wal_range *r, struct hm_err *err)
{
    uint64_t first = segment_start(r, r->received);
    uint64_t at = segment_start(r, r->upto - 1);
    char path[PATH_SIZE];
    enum hm_rc rc = check_records(data_dir, control, r, err);

    while (rc == HM_OK) {
        rc = place_segment(data_dir, r, at, err);
        if (at == first)
            break;
        at -= r->segment_bytes;
    }
    (void)snprintf(path, sizeof path, "%s/pg_wal", data_dir);
    if (rc == HM_OK)
        rc = file_sync_dir(path, err);
    wal_gather_forget(data_dir);
    return rc;
}
