/* parting.c - halves the stretch in which two logs of one timeline part, a page at a time.
 *
 * Behind the point where they part no page is the same again: each record names the one before it
 * and has a checksum of its own. A page that either side has not any more is older than what it
 * still keeps, and counts as the same. */
#include "postgres/parting.h"

#include "postgres/wal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ASK_MS = 5000, RECORD_HEAD = 24, PAGE_HEAD = 40 };
#define UNKNOWN UINT64_MAX /* the own file cannot be read; nothing here stops a rebuild */

/* In op->own: pages by their number. The newest of them that is the same is below `high`. */
struct parting {
    op_step *then;
    uint32_t segment_bytes;
    uint64_t low, high, asked; /* low: all before it is the same */
    size_t at;                 /* the first byte in page `high` that differs */
    bool has_begun;
    bool is_theirs; /* the source has the page that was asked for */
    unsigned char page[PARTING_PAGE];
};

struct parting_job {
    struct op_job base;
    struct parting p;
    struct position end;
};

size_t parting_compare(const unsigned char *own, const unsigned char *theirs, size_t n)
{
    size_t i = 0;

    while (i < n && own[i] == theirs[i])
        i++;
    return i;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool parting_read_hex(const char *text, unsigned char *ret, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);

        if (low < 0)
            return false;
        ret[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static struct parting *parting_of(const struct op *op)
{
    return op->own;
}

/* --- in the worker --------------------------------------------------------------------------- */

/* The first page of the oldest file of that timeline; they follow each other without a gap. */
static uint64_t first_page(const char *data_dir, uint64_t timeline, uint32_t segment_bytes)
{
    char path[OP_PATH_MAX], prefix[WAL_NAME_MAX], oldest[WAL_NAME_MAX] = "";
    const struct dirent *entry;
    unsigned int id, segment;
    DIR *dir;

    (void)snprintf(path, sizeof path, "%s/pg_wal", data_dir);
    (void)snprintf(prefix, sizeof prefix, "%08X", (unsigned int)timeline);
    dir = opendir(path);
    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL)
        if (strlen(entry->d_name) == WAL_NAME_MAX - 1 && strncmp(entry->d_name, prefix, 8) == 0 &&
            (oldest[0] == 0 || strcmp(entry->d_name, oldest) < 0))
            (void)snprintf(oldest, sizeof oldest, "%.*s", WAL_NAME_MAX - 1, entry->d_name);
    (void)closedir(dir);
    if (sscanf(oldest + 8 * (oldest[0] != 0), "%8X%8X", &id, &segment) != 2)
        return 0;
    return (((uint64_t)id << 32) + (uint64_t)segment * segment_bytes) / PARTING_PAGE;
}

/* room: the size of a segment, and the first page. */
static enum hm_rc look(struct op_job *base, struct hm_err *err)
{
    const struct parting_job *job = (const struct parting_job *)base;
    struct wal_control control;

    base->number = UNKNOWN;
    if (wal_read_control(base->data_dir, &control, err) != HM_OK)
        return HM_OK;
    base->number = 0;
    base->room[0] = control.segment_bytes;
    base->room[1] = first_page(base->data_dir, job->end.timeline, control.segment_bytes);
    return HM_OK;
}

static bool read_own(const struct parting_job *job, uint64_t at, unsigned char *ret, size_t n)
{
    char path[OP_PATH_MAX], name[WAL_NAME_MAX];
    ssize_t got;
    int fd;

    wal_segment_name(name, job->end.timeline, at, job->p.segment_bytes);
    (void)snprintf(path, sizeof path, "%s/pg_wal/%s", job->base.data_dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    got = pread(fd, ret, n, (off_t)(at % job->p.segment_bytes));
    (void)close(fd); /* it was only read */
    return got == (ssize_t)n;
}

/* number: the first byte that differs, or PARTING_PAGE. Bytes behind the own end are no log. */
static enum hm_rc compare(struct op_job *base, struct hm_err *err)
{
    const struct parting_job *job = (const struct parting_job *)base;
    uint64_t at = job->p.asked * PARTING_PAGE, left = job->end.offset - at;
    size_t n = left < PARTING_PAGE ? (size_t)left : PARTING_PAGE, same;
    unsigned char own[PARTING_PAGE];

    (void)err;
    base->number = UNKNOWN;
    if (!read_own(job, at, own, n))
        return HM_OK;
    same = parting_compare(own, job->p.page, n);
    base->number = same < n ? same : PARTING_PAGE;
    return HM_OK;
}

static struct parting_job *new_job(struct op *op,
                                   enum hm_rc (*run)(struct op_job *job, struct hm_err *err))
{
    struct parting_job *job = (struct parting_job *)op_new_job_of(op, sizeof *job, run);

    job->p = *parting_of(op);
    job->end = op->s->seen.at;
    return job;
}

/* --- on the loop -------------------------------------------------------------------------------
 */

static void end(struct op *op, uint64_t number)
{
    op_step *then = parting_of(op)->then;

    op->position = parting_of(op)->low * PARTING_PAGE;
    op->number = number;
    free(op->own);
    op->own = NULL;
    op_close_fresh(op);
    then(op);
}

static void not_told(struct op *op)
{
    end(op, 0);
}

static void ask_page(struct op *op);

/* number: 1 if no record begins just before the segment in which page `high` is the first: the
 * segment before it was ended early, and filled with zeros. */
static enum hm_rc look_before(struct op_job *base, struct hm_err *err)
{
    const struct parting_job *job = (const struct parting_job *)base;
    uint64_t at = job->p.high * PARTING_PAGE - RECORD_HEAD;
    static const unsigned char zeros[RECORD_HEAD];
    unsigned char own[RECORD_HEAD];

    (void)err;
    base->number = read_own(job, at, own, sizeof own) && memcmp(own, zeros, sizeof own) == 0;
    return HM_OK;
}

static void before_looked(struct op *op)
{
    uint64_t page = parting_of(op)->high * PARTING_PAGE;

    end(op, page - (op->number == 1 ? 0 : RECORD_HEAD));
}

/* The first record that differs does so in its head, which has its checksum; whoever reads from
 * just before its head meets this record first, or one more. A head may go on behind that of the
 * next page. */
static void end_where_parted(struct op *op)
{
    const struct parting *p = parting_of(op);
    uint64_t page = p->high * PARTING_PAGE;

    if (p->at >= PAGE_HEAD + RECORD_HEAD)
        end(op, ((page + p->at) & ~UINT64_C(7)) - (RECORD_HEAD - 8));
    else if (page > 0 && page % p->segment_bytes == 0)
        op_run_job(op, &new_job(op, look_before)->base, before_looked);
    else
        end(op, page - (page > 0 ? RECORD_HEAD : 0));
}

static void page_compared(struct op *op)
{
    struct parting *p = parting_of(op);
    bool is_same = op->number == PARTING_PAGE || !p->is_theirs;

    if (op->number == UNKNOWN || (!p->has_begun && !p->is_theirs)) {
        (void)snprintf(op->why, sizeof op->why, "a file of the log is gone");
        not_told(op);
        return;
    }
    if (!p->has_begun && is_same) {
        end(op, op->s->seen.at.offset);
        return;
    }
    p->has_begun = true;
    if (is_same) {
        p->low = p->asked + 1;
    } else {
        p->high = p->asked;
        p->at = (size_t)op->number;
    }
    if (p->low < p->high) {
        ask_page(op);
        return;
    }
    end_where_parted(op);
}

static void page_told(struct op *op, enum conn_outcome outcome, const PGresult *result,
                      const char *why)
{
    struct parting *p = parting_of(op);

    if (outcome != CONN_ANSWERED) {
        (void)snprintf(op->why, sizeof op->why, "%s", why);
        not_told(op);
        return;
    }
    p->is_theirs = PQntuples(result) == 1 && !PQgetisnull(result, 0, 0) &&
                   PQgetlength(result, 0, 0) == 2 * PARTING_PAGE &&
                   parting_read_hex(PQgetvalue(result, 0, 0), p->page, PARTING_PAGE);
    op_run_job(op, &new_job(op, compare)->base, page_compared);
}

static void ask_page(struct op *op)
{
    struct parting *p = parting_of(op);
    uint64_t at;
    char sql[256], name[WAL_NAME_MAX];

    p->asked = p->has_begun ? p->low + (p->high - p->low) / 2 : p->high;
    at = p->asked * PARTING_PAGE;
    wal_segment_name(name, op->s->seen.at.timeline, at, p->segment_bytes);
    (void)snprintf(sql, sizeof sql,
                   "SELECT encode(pg_read_binary_file('pg_wal/%s', %llu, %d, true), 'hex')", name,
                   (unsigned long long)(at % p->segment_bytes), PARTING_PAGE);
    op_ask_fresh(op, sql, ASK_MS, page_told);
}

static void looked(struct op *op)
{
    struct parting *p = parting_of(op);
    char more[160] = "application_name='hamgr parting'";

    p->segment_bytes = (uint32_t)op->room[0];
    p->low = op->room[1];
    p->high = (op->s->seen.at.offset - 1) / PARTING_PAGE;
    conninfo_add(more, sizeof more, "dbname", op->s->config.service->dbname);
    if (op->number == UNKNOWN || p->low > p->high)
        not_told(op);
    else
        op_connect_source(op, more, ask_page, not_told);
}

void parting_find(struct op *op, op_step *then)
{
    struct parting *p = op->own = calloc(1, sizeof *p);

    HM_BUG_ON(p == NULL);
    p->then = then;
    op_run_job(op, &new_job(op, look)->base, looked);
}
