/* control.c - the control file and the history files: where recovery would begin, and along which
 * timelines. */
#include "postgres/wal.h"

#include "postgres/crc.h"
#include "postgres/datadir.h"
#include "postgres/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The same places in all versions from 13 to 18, on machines that align to eight bytes. */
enum {
    CONTROL_VERSION_AT = 8,
    CONTROL_STATE_AT = 16,
    CONTROL_REDO_AT = 40,
    CONTROL_TIMELINE_AT = 48,
    CONTROL_NEEDED_AT = 136,
    CONTROL_NEEDED_TIMELINE_AT = 144,
    CONTROL_PAGE_AT = 224,
    CONTROL_SEGMENT_AT = 228,
    CONTROL_CRC_AT = 288,    /* versions 1300 and 1700: PostgreSQL 13 to 16, and 17 */
    CONTROL_CRC_AT_18 = 292, /* version 1800 */
    CONTROL_READ = 512,
    TEXT_MAX = 16384,
};

static enum hm_rc read_start(const char *path, void *buffer, size_t size, size_t *ret_size,
                             struct stat *ret_stat, struct hm_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum hm_rc rc = HM_OK;
    ssize_t n;

    if (fd < 0)
        return hm_fail_errno(err, "cannot open '%s'", path);
    n = pread(fd, buffer, size, 0);
    if (n < 0 || (ret_stat != NULL && fstat(fd, ret_stat) != 0))
        rc = hm_fail_errno(err, "cannot read '%s'", path);
    else
        *ret_size = (size_t)n;
    (void)close(fd); /* opened for reading: nothing can be lost */
    return rc;
}

static bool is_whole(const unsigned char *raw)
{
    switch (raw_u32(raw + CONTROL_VERSION_AT)) {
    case 1300:
    case 1700:
        return crc_32c(0, raw, CONTROL_CRC_AT) == raw_u32(raw + CONTROL_CRC_AT);
    case 1800:
        return crc_32c(0, raw, CONTROL_CRC_AT_18) == raw_u32(raw + CONTROL_CRC_AT_18);
    default:
        return false;
    }
}

/* A clone, or a rewound copy: recovery begins where the backup began, whatever the control file
 * says, and the server that ran on this directory last is not the one that wrote it. */
static bool take_backup(const char *data_dir, struct wal_control *c)
{
    char path[512], text[1024], *at;
    uint32_t high, low, timeline;
    struct hm_err err;
    size_t size = 0;

    (void)snprintf(path, sizeof path, "%s/backup_label", data_dir);
    if (read_start(path, text, sizeof text - 1, &size, NULL, &err) != HM_OK)
        return errno == ENOENT;
    text[size] = 0;
    c->is_backup = true;
    /* pg_rewind names the timeline only as the first eight digits of the segment. */
    if (sscanf(text, "START WAL LOCATION: %" SCNx32 "/%" SCNx32 " (file %8" SCNx32, &high, &low,
               &timeline) != 3)
        return false;
    c->redo = (uint64_t)high << 32 | low;
    at = strstr(text, "START TIMELINE: ");
    if (at != NULL && sscanf(at, "START TIMELINE: %" SCNu32, &timeline) != 1)
        return false;
    c->timeline = timeline;
    return true;
}

enum hm_rc wal_read_control(const char *data_dir, struct wal_control *ret, struct hm_err *err)
{
    unsigned char raw[CONTROL_READ];
    struct wal_control c = { .system_id = 0 };
    char path[512];
    struct stat st;
    size_t size = 0;
    enum hm_rc rc;

    (void)snprintf(path, sizeof path, "%s/global/pg_control", data_dir);
    rc = read_start(path, raw, sizeof raw, &size, &st, err);
    if (rc != HM_OK)
        return rc;
    if (size < sizeof raw || !is_whole(raw))
        return hm_fail(err, HM_BAD_INPUT, "'%s' is torn or of an unknown version", path);
    c.system_id = raw_u64(raw);
    c.state = (enum wal_state)raw_u32(raw + CONTROL_STATE_AT);
    c.redo = raw_u64(raw + CONTROL_REDO_AT);
    c.timeline = raw_u32(raw + CONTROL_TIMELINE_AT);
    c.needed = raw_u64(raw + CONTROL_NEEDED_AT);
    c.needed_timeline = raw_u32(raw + CONTROL_NEEDED_TIMELINE_AT);
    c.page_bytes = raw_u32(raw + CONTROL_PAGE_AT);
    c.segment_bytes = raw_u32(raw + CONTROL_SEGMENT_AT);
    c.changed_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    c.changed_id = st.st_ino;
    if (c.segment_bytes < 1u << 20 || c.segment_bytes > 1u << 30 ||
        (c.segment_bytes & (c.segment_bytes - 1)) != 0 || c.page_bytes < 1024 ||
        c.page_bytes > 65536 || (c.page_bytes & (c.page_bytes - 1)) != 0)
        return hm_fail(err, HM_BAD_INPUT, "'%s' tells impossible sizes", path);
    if (!take_backup(data_dir, &c))
        return hm_fail(err, HM_BAD_INPUT, "the backup_label in '%s' is garbled", data_dir);
    c.is_restored = c.is_backup && datadir_is_restored(data_dir);
    c.was_primary = !c.is_backup && c.state != WAL_SHUT_DOWN_IN_RECOVERY &&
                    c.state != WAL_IN_ARCHIVE_RECOVERY && c.state != WAL_STARTING;
    *ret = c;
    return HM_OK;
}

/* --- history --------------------------------------------------------------------------------- */

static void alone(uint64_t timeline, struct wal_history *ret)
{
    ret->n = 1;
    ret->timeline[0] = timeline;
    ret->end[0] = UINT64_MAX;
}

/* A line: "1<tab>0/3000148<tab>why", or a comment. */
static bool take_line(const char *line, struct wal_history *h)
{
    uint32_t timeline, high, low;

    line += strspn(line, " \t");
    if (*line == 0 || *line == '#' || *line == '\n')
        return true;
    if (h->n + 1 >= WAL_HISTORY_MAX ||
        sscanf(line, "%" SCNu32 " %" SCNx32 "/%" SCNx32, &timeline, &high, &low) != 3)
        return false;
    if (h->n > 0 && timeline <= h->timeline[h->n - 1])
        return false;
    h->timeline[h->n] = timeline;
    h->end[h->n++] = (uint64_t)high << 32 | low;
    return true;
}

bool wal_parse_history(const char *text, uint64_t timeline, struct wal_history *ret)
{
    struct wal_history h = { .n = 0 };

    for (const char *line = text; line != NULL && *line != 0;) {
        const char *end = strchr(line, '\n');

        if (!take_line(line, &h))
            return false;
        line = end != NULL ? end + 1 : NULL;
    }
    if (h.n > 0 && h.timeline[h.n - 1] >= timeline)
        return false;
    h.timeline[h.n] = timeline;
    h.end[h.n++] = UINT64_MAX;
    *ret = h;
    return true;
}

bool wal_read_history(const char *data_dir, uint64_t timeline, struct wal_history *ret)
{
    char path[512];
    char *text;
    struct hm_err err;
    size_t size = 0;
    bool is_good;

    alone(timeline, ret);
    if (timeline <= 1)
        return true;
    text = malloc(TEXT_MAX);
    if (text == NULL)
        return false;
    (void)snprintf(path, sizeof path, "%s/pg_wal/%08" PRIX64 ".history", data_dir, timeline);
    is_good = read_start(path, text, TEXT_MAX - 1, &size, NULL, &err) == HM_OK;
    if (is_good) {
        text[size] = 0;
        is_good = size < TEXT_MAX - 1 && wal_parse_history(text, timeline, ret);
    }
    free(text);
    return is_good;
}

uint64_t wal_timeline_at(const struct wal_history *h, uint64_t offset)
{
    for (unsigned int i = 0; i + 1 < h->n; i++)
        if (offset <= h->end[i])
            return h->timeline[i];
    return h->n > 0 ? h->timeline[h->n - 1] : 0;
}
