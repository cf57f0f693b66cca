#include "adapter/journal.h"

#include "adapter/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- writing --------------------------------------------------------------------------------- */

/* Half an entry would make all later ones unreadable. */
static void take_back(struct journal_writer *w)
{
    w->is_torn = ftruncate(w->fd, (off_t)w->size_bytes) != 0;
}

static enum hm_rc add(struct journal_writer *w, const uint8_t *bytes, size_t size,
                      struct hm_err *err)
{
    enum hm_rc rc = file_write_all(w->fd, bytes, size, err);

    if (rc == HM_OK)
        w->size_bytes += size;
    else
        take_back(w);
    return rc;
}

enum hm_rc journal_create(const char *path, const struct core_config *config,
                          struct journal_writer *ret_w, struct hm_err *err)
{
    uint8_t bytes[TRACE_HEADER_MAX];
    const char *why;
    size_t size;
    enum hm_rc rc;

    *ret_w = (struct journal_writer){ .fd = -1 };
    rc = trace_put_config(config, bytes, sizeof bytes, &size, &why);
    if (rc != HM_OK)
        return hm_fail(err, rc, "journal '%s': %s", path, why);
    ret_w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0640);
    if (ret_w->fd < 0)
        return hm_fail_errno(err, "cannot create the journal '%s'", path);

    rc = add(ret_w, bytes, size, err);
    if (rc != HM_OK) {
        hm_wrap(err, "journal '%s'", path);
        (void)unlink(path); /* it is empty; the failure to write is what counts */
        journal_writer_done(ret_w);
    }
    return rc;
}

enum hm_rc journal_append(struct journal_writer *w, const struct core_event *ev, struct hm_err *err)
{
    uint8_t bytes[TRACE_ENTRY_MAX];
    const char *why;
    size_t size;
    enum hm_rc rc;

    if (w->fd < 0 || w->is_torn)
        return hm_fail(err, HM_FAILED, "the journal is closed, or ends in half an entry");
    rc = trace_put_event(ev, bytes, sizeof bytes, &size, &why);
    if (rc != HM_OK)
        return hm_fail(err, rc, "%s", why);
    return add(w, bytes, size, err);
}

void journal_writer_done(struct journal_writer *w)
{
    if (w->fd >= 0)
        (void)close(w->fd); /* nothing is held back that could be lost now */
    w->fd = -1;
}

/* --- reading --------------------------------------------------------------------------------- */

/* Reads as much of `size` as there is. */
static enum hm_rc read_some(FILE *file, uint8_t *bytes, size_t size, size_t *ret_size,
                            struct hm_err *err)
{
    errno = 0;
    *ret_size = fread(bytes, 1, size, file);
    return ferror(file) != 0 ? hm_fail_errno(err, "cannot read") : HM_OK;
}

/* Reads a frame; fewer bytes, when the file ends or no frame is so long, are the codec's to
 * refuse. */
static enum hm_rc read_frame(FILE *file, uint8_t bytes[TRACE_ENTRY_MAX], size_t *ret_size,
                             struct hm_err *err)
{
    size_t rest;
    enum hm_rc rc = read_some(file, bytes, TRACE_PREFIX, ret_size, err);

    if (rc != HM_OK || *ret_size < TRACE_PREFIX || trace_frame_size(bytes) > TRACE_ENTRY_MAX)
        return rc;
    rc = read_some(file, bytes + TRACE_PREFIX, trace_frame_size(bytes) - TRACE_PREFIX, &rest, err);
    *ret_size += rest;
    return rc;
}

static enum hm_rc read_header(struct journal_reader *r, struct hm_err *err)
{
    uint8_t bytes[TRACE_HEADER_MAX];
    size_t size, frame, used;
    const char *why;
    enum hm_rc rc = read_some(r->file, bytes, TRACE_MAGIC, &size, err);

    if (rc == HM_OK)
        rc = read_frame(r->file, bytes + size, &frame, err);
    if (rc != HM_OK)
        return rc;
    rc = trace_get_config(bytes, size + frame, &r->config, &used, &why);
    return rc == HM_OK ? HM_OK : hm_fail(err, rc, "%s", why);
}

enum hm_rc journal_open(const char *path, struct journal_reader *ret_r, struct hm_err *err)
{
    enum hm_rc rc;

    memset(ret_r, 0, sizeof *ret_r);
    ret_r->file = fopen(path, "rbe");
    if (ret_r->file == NULL)
        return hm_fail_errno(err, "cannot open the journal '%s'", path);
    rc = read_header(ret_r, err);
    if (rc != HM_OK)
        hm_wrap(err, "journal '%s'", path);
    return rc;
}

enum hm_rc journal_next(struct journal_reader *r, struct core_event *ret_ev, bool *ret_is_end,
                        struct hm_err *err)
{
    uint8_t bytes[TRACE_ENTRY_MAX];
    unsigned long long number = r->entries + 1;
    size_t size = 0, used;
    const char *why;
    enum hm_rc rc;

    if (r->file == NULL)
        return hm_fail(err, HM_FAILED, "the journal is closed");
    rc = read_frame(r->file, bytes, &size, err);
    if (rc == HM_OK && size > 0) {
        rc = trace_get_event(bytes, size, &r->storage, ret_ev, &used, &why);
        if (rc != HM_OK)
            rc = hm_fail(err, rc, "%s", why);
    }
    if (rc != HM_OK) {
        hm_wrap(err, "entry %llu", number);
        journal_reader_done(r);
        return rc;
    }
    *ret_is_end = size == 0;
    r->entries += size > 0;
    return HM_OK;
}

void journal_reader_done(struct journal_reader *r)
{
    if (r->file != NULL)
        (void)fclose(r->file); /* opened for reading: nothing can be lost */
    r->file = NULL;
}
