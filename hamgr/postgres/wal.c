/* wal.c - reads the log on the disk, record by record, up to the first that is not whole. */
#include "postgres/wal.h"

#include "postgres/crc.h"
#include "postgres/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CHUNK = 1 << 20,
    PAGE_HEADER = 24,
    PAGE_HEADER_LONG = 40, /* of a segment's first page */
    RECORD_HEADER = 24,
    RECORD_PREV_AT = 8,
    RECORD_INFO_AT = 16,
    RECORD_RMGR_AT = 17,
    RECORD_CRC_AT = 20,
    RECORD_MAX = 1020 << 20,
    FLAG_CONTINUES = 1,
    FLAG_LONG = 2,
    FLAG_OVERWRITES = 8, /* the record that should go on here was given up */
    FLAGS = 15,
    INFO_SWITCH = 0x40, /* of resource manager 0: the rest of the segment is empty */
    NEAR = 8 << 20,     /* so little is read from the checkpoint on, whatever else is known */
};

enum found { FOUND, FOUND_END, FOUND_ERROR };

struct reader {
    const char *data_dir;
    const char *log_dir; /* where the files are; NULL: pg_wal */
    const struct wal_control *control;
    struct wal_history history; /* of the newest timeline on the disk */
    int fd;
    uint64_t segment; /* that is open; UINT64_MAX: none */
    uint64_t file_timeline;
    uint64_t chunk; /* position of the chunk in memory; UINT64_MAX: none */
    size_t chunk_size;
    unsigned char *bytes;  /* CHUNK; owned */
    unsigned char *record; /* owned */
    size_t record_room;
    uint16_t magic;         /* of the first page; all others have the same */
    uint32_t page_timeline; /* of the newest page; it never falls */
    uint64_t seen_timeline; /* of the file of the newest whole record */
    struct hm_err *err;
};

static uint64_t aligned(uint64_t n)
{
    return (n + 7) & ~(uint64_t)7;
}

/* --- files ----------------------------------------------------------------------------------- */

static void close_segment(struct reader *r)
{
    if (r->fd >= 0)
        (void)close(r->fd); /* opened for reading: nothing can be lost */
    r->fd = -1;
    r->segment = UINT64_MAX;
    r->chunk = UINT64_MAX;
}

void wal_segment_name(char name[WAL_NAME_MAX], uint64_t timeline, uint64_t at,
                      uint32_t segment_bytes)
{
    uint64_t segment = at / segment_bytes, per_id = ((uint64_t)1 << 32) / segment_bytes;

    (void)snprintf(name, WAL_NAME_MAX, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32, (uint32_t)timeline,
                   (uint32_t)(segment / per_id), (uint32_t)(segment % per_id));
}

/* The file of the newest timeline that has begun in this segment or before. */
static enum found open_segment(struct reader *r, uint64_t segment)
{
    close_segment(r);
    for (unsigned int i = r->history.n; i-- > 0;) {
        char path[512], name[WAL_NAME_MAX];

        if (i > 0 && r->history.end[i - 1] / r->control->segment_bytes > segment)
            continue;
        wal_segment_name(name, r->history.timeline[i], segment * r->control->segment_bytes,
                         r->control->segment_bytes);
        if (r->log_dir != NULL)
            (void)snprintf(path, sizeof path, "%s/%s", r->log_dir, name);
        else
            (void)snprintf(path, sizeof path, "%s/pg_wal/%s", r->data_dir, name);
        r->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (r->fd < 0 && errno == ENOENT)
            continue;
        if (r->fd < 0) {
            (void)hm_fail_errno(r->err, "cannot open '%s'", path);
            return FOUND_ERROR;
        }
        r->segment = segment;
        r->file_timeline = r->history.timeline[i];
        return FOUND;
    }
    return FOUND_END;
}

static enum found read_chunk(struct reader *r, uint64_t at)
{
    off_t offset = (off_t)(at % r->control->segment_bytes);
    ssize_t n;

    r->chunk_size = 0;
    while (r->chunk_size < CHUNK) {
        n = pread(r->fd, r->bytes + r->chunk_size, CHUNK - r->chunk_size,
                  offset + (off_t)r->chunk_size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            (void)hm_fail_errno(r->err, "cannot read the log at %" PRIX64, at);
            return FOUND_ERROR;
        }
        if (n == 0)
            break;
        r->chunk_size += (size_t)n;
    }
    r->chunk = at;
    return FOUND;
}

/* --- pages ----------------------------------------------------------------------------------- */

static size_t header_size(const struct reader *r, uint64_t page)
{
    return page % r->control->segment_bytes == 0 ? PAGE_HEADER_LONG : PAGE_HEADER;
}

static bool is_known_timeline(const struct reader *r, uint32_t timeline)
{
    for (unsigned int i = 0; i < r->history.n; i++)
        if (r->history.timeline[i] == timeline)
            return true;
    return false;
}

static bool is_page_valid(struct reader *r, uint64_t page, const unsigned char *at)
{
    uint16_t magic, flags;
    uint32_t timeline = raw_u32(at + 4);
    bool is_long = header_size(r, page) == PAGE_HEADER_LONG;

    memcpy(&magic, at, sizeof magic);
    memcpy(&flags, at + 2, sizeof flags);
    if ((r->magic != 0 ? magic != r->magic : magic >> 8 != 0xd1) || (flags & ~FLAGS) != 0)
        return false;
    if (raw_u64(at + 8) != page || ((flags & FLAG_LONG) != 0) != is_long)
        return false;
    if (is_long && (raw_u64(at + 24) != r->control->system_id ||
                    raw_u32(at + 32) != r->control->segment_bytes ||
                    raw_u32(at + 36) != r->control->page_bytes))
        return false;
    if (timeline < r->page_timeline || !is_known_timeline(r, timeline))
        return false;
    r->magic = magic;
    r->page_timeline = timeline;
    return true;
}

/* page: its first byte's position. The result is valid until the next call. */
static enum found get_page(struct reader *r, uint64_t page, const unsigned char **ret)
{
    uint64_t segment = page / r->control->segment_bytes;
    uint64_t chunk = page & ~(uint64_t)(CHUNK - 1);
    enum found found = FOUND;

    if (segment != r->segment)
        found = open_segment(r, segment);
    if (found == FOUND && chunk != r->chunk)
        found = read_chunk(r, chunk);
    if (found != FOUND)
        return found;
    if (page - chunk + r->control->page_bytes > r->chunk_size ||
        !is_page_valid(r, page, r->bytes + (page - chunk)))
        return FOUND_END;
    *ret = r->bytes + (page - chunk);
    return FOUND;
}

static unsigned int page_flags(const unsigned char *page)
{
    uint16_t flags;

    memcpy(&flags, page + 2, sizeof flags);
    return flags;
}

/* --- records --------------------------------------------------------------------------------- */

static bool make_room(struct reader *r, size_t size)
{
    unsigned char *more;

    if (size <= r->record_room)
        return true;
    more = realloc(r->record, size);
    if (more == NULL)
        return false;
    r->record = more;
    r->record_room = size;
    return true;
}

static bool is_record_valid(const struct reader *r, size_t size, uint64_t at, uint64_t before)
{
    uint64_t prev = raw_u64(r->record + RECORD_PREV_AT);
    uint32_t crc;

    if (before != 0 ? prev != before : prev >= at)
        return false;
    crc = crc_32c(0, r->record + RECORD_HEADER, size - RECORD_HEADER);
    crc = crc_32c(crc, r->record, RECORD_CRC_AT);
    return crc == raw_u32(r->record + RECORD_CRC_AT);
}

/* Gathers the record that begins at `at` and goes on over pages. ret_overwritten: the page where
 * it was given up; then FOUND_END. */
static enum found gather(struct reader *r, uint64_t at, size_t size, uint64_t *ret_end,
                         uint64_t *ret_overwritten)
{
    size_t page_bytes = r->control->page_bytes;
    uint64_t page = at - at % page_bytes;
    size_t offset = (size_t)(at - page);
    size_t got = 0;

    for (;;) {
        const unsigned char *bytes;
        enum found found = get_page(r, page, &bytes);
        size_t piece;

        if (found != FOUND)
            return found;
        if (got > 0) {
            offset = header_size(r, page);
            if ((page_flags(bytes) & FLAG_OVERWRITES) != 0) {
                *ret_overwritten = page;
                return FOUND_END;
            }
            if ((page_flags(bytes) & FLAG_CONTINUES) == 0 || raw_u32(bytes + 16) != size - got)
                return FOUND_END;
        }
        piece = page_bytes - offset < size - got ? page_bytes - offset : size - got;
        memcpy(r->record + got, bytes + offset, piece);
        got += piece;
        if (got == size) {
            *ret_end = page + aligned(offset + piece);
            return FOUND;
        }
        page += page_bytes;
    }
}

/* Reads the record at *at, where one may begin; `before` began the one before, 0 if unknown. */
static enum found read_record(struct reader *r, uint64_t *at, uint64_t before, uint64_t *ret_end)
{
    size_t page_bytes = r->control->page_bytes;

    for (;;) {
        uint64_t page = *at - *at % page_bytes;
        uint64_t overwritten = 0;
        const unsigned char *bytes;
        enum found found = get_page(r, page, &bytes);
        size_t size;

        if (found != FOUND)
            return found;
        if (*at == page) {
            *at += header_size(r, page);
            if ((page_flags(bytes) & FLAG_CONTINUES) != 0)
                return FOUND_END;
        }
        size = raw_u32(bytes + (*at - page));
        if (size < RECORD_HEADER || size > RECORD_MAX)
            return FOUND_END;
        if (!make_room(r, size))
            return FOUND_END; /* a length that nobody wrote */
        found = gather(r, *at, size, ret_end, &overwritten);
        if (found == FOUND_END && overwritten != 0) {
            *at = overwritten;
            continue;
        }
        if (found != FOUND)
            return found;
        if (!is_record_valid(r, size, *at, before))
            return FOUND_END;
        if (r->record[RECORD_RMGR_AT] == 0 && (r->record[RECORD_INFO_AT] & 0xf0) == INFO_SWITCH)
            *ret_end += (r->control->segment_bytes - *ret_end % r->control->segment_bytes) %
                        r->control->segment_bytes;
        return FOUND;
    }
}

/* The first record that begins in or after this segment. */
static enum found first_record(struct reader *r, uint64_t segment_start, uint64_t *ret_at)
{
    size_t page_bytes = r->control->page_bytes;

    for (uint64_t page = segment_start;; page += page_bytes) {
        const unsigned char *bytes;
        enum found found = get_page(r, page, &bytes);
        size_t header = header_size(r, page);
        uint64_t rest;

        if (found != FOUND)
            return found;
        rest = (page_flags(bytes) & FLAG_CONTINUES) != 0 ? raw_u32(bytes + 16) : 0;
        if (rest > page_bytes - header)
            continue;
        *ret_at = page + header + aligned(rest);
        return FOUND;
    }
}

/* ret->offset 0: not a single whole record. */
static enum found walk(struct reader *r, uint64_t at, struct position *ret)
{
    uint64_t before = 0, end = 0;
    enum found found;

    ret->offset = 0;
    while ((found = read_record(r, &at, before, &end)) == FOUND) {
        r->seen_timeline = r->file_timeline;
        before = at;
        at = end;
        ret->offset = end;
    }
    return found == FOUND_ERROR ? FOUND_ERROR : FOUND;
}

/* --- the door -------------------------------------------------------------------------------- */

/* As a standby chooses it: the highest number that is reached without a gap, if it descends. */
static void choose_history(struct reader *r)
{
    uint64_t first = r->control->timeline;

    (void)wal_read_history(r->data_dir, first, &r->history);
    for (uint64_t timeline = first + 1;; timeline++) {
        struct wal_history h;

        if (!wal_read_history(r->data_dir, timeline, &h))
            return;
        for (unsigned int i = 0; i + 1 < h.n; i++)
            if (h.timeline[i] == first && h.end[i] >= r->control->redo)
                r->history = h;
    }
}

static void take_timeline(struct reader *r, struct position *ret)
{
    struct wal_history h = r->history;

    while (h.n > 1 && h.timeline[h.n - 1] != r->seen_timeline)
        h.n--; /* ends of its own: it was read beyond where a newer one forked, or not at all */
    ret->timeline = wal_timeline_at(&h, ret->offset);
}

static enum found find_end(struct reader *r, uint64_t hint, struct position *ret)
{
    uint64_t segment_bytes = r->control->segment_bytes;
    uint64_t start = hint - hint % segment_bytes;
    enum found found = FOUND_END;

    if (hint > r->control->redo + NEAR && start > r->control->redo) {
        found = first_record(r, start, &start);
        if (found == FOUND)
            found = walk(r, start, ret);
        if (found == FOUND && ret->offset < hint)
            found = FOUND_END;
        r->page_timeline = 0;
    }
    if (found == FOUND_END)
        found = walk(r, r->control->redo, ret);
    return found;
}

enum hm_rc wal_find_end(const char *data_dir, const struct wal_control *control, uint64_t hint,
                        struct position *ret, struct hm_err *err)
{
    struct reader r = { .data_dir = data_dir, .control = control, .fd = -1, .err = err };
    struct position end = { .offset = 0 };
    enum hm_rc rc = HM_OK;

    r.segment = r.chunk = UINT64_MAX;
    r.bytes = malloc(CHUNK);
    if (r.bytes == NULL)
        return hm_fail(err, HM_FAILED, "no memory to read the log");
    choose_history(&r);
    if (find_end(&r, hint, &end) == FOUND_ERROR)
        rc = HM_FAILED;
    else if (end.offset == 0 && control->is_restored) /* all of it comes from elsewhere */
        end = (struct position){ .timeline = control->timeline, .offset = control->redo };
    else if (end.offset == 0)
        rc = hm_fail(err, HM_BAD_INPUT,
                     "no whole record of the log at %" PRIX32 "/%" PRIX32
                     ", where recovery would begin: restore this copy or let it be cloned",
                     (uint32_t)(control->redo >> 32), (uint32_t)control->redo);
    else if (end.offset < control->needed && !control->is_backup) /* else the rest is streamed */
        rc = hm_fail(err, HM_BAD_INPUT,
                     "the log ends at %" PRIX32 "/%" PRIX32 ", but the data need it up to %" PRIX32
                     "/%" PRIX32 ": restore this copy or let it be cloned",
                     (uint32_t)(end.offset >> 32), (uint32_t)end.offset,
                     (uint32_t)(control->needed >> 32), (uint32_t)control->needed);
    if (rc == HM_OK) {
        if (end.timeline == 0)
            take_timeline(&r, &end);
        *ret = end;
    }
    close_segment(&r);
    free(r.bytes);
    free(r.record);
    return rc;
}

enum hm_rc wal_check(const char *data_dir, const char *log_dir, const struct wal_control *control,
                     uint64_t timeline, uint64_t from, bool is_record, uint64_t *ret_end,
                     struct hm_err *err)
{
    struct reader r = {
        .data_dir = data_dir, .log_dir = log_dir, .control = control, .fd = -1, .err = err
    };
    struct position end = { .offset = 0 };
    enum found found = FOUND;

    r.segment = r.chunk = UINT64_MAX;
    r.bytes = malloc(CHUNK);
    if (r.bytes == NULL)
        return hm_fail(err, HM_FAILED, "no memory to read the log");
    (void)wal_read_history(data_dir, timeline, &r.history); /* or it stands alone */
    if (!is_record)
        found = first_record(&r, from, &from);
    if (found == FOUND)
        found = walk(&r, from, &end);
    close_segment(&r);
    free(r.bytes);
    free(r.record);
    if (found == FOUND_ERROR)
        return HM_FAILED;
    if (end.offset == 0 && (is_record || found != FOUND))
        return hm_fail(err, HM_BAD_INPUT, "no whole record of the log at %" PRIX32 "/%" PRIX32,
                       (uint32_t)(from >> 32), (uint32_t)from);
    *ret_end = end.offset != 0 ? end.offset : from;
    return HM_OK;
}
