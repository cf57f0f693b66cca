#include "postgres/lost_files.h"

#include "adapter/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATH_SIZE = 640, COPY_BYTES = 1 << 18 };
#define SPARE_BYTES (UINT64_C(32) << 20) /* that stay free on the disk */

/* Cuts what is too long: a path that was cut is found by nobody. */
static void HM_PRINTF(3, 4) put(char *to, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(to, size, format, args);
    va_end(args);
}

/* --- where it parted ---------------------------------------------------------------------------
 */

/* Where the record left that timeline; 0: the record does not have it. */
static uint64_t left_at(const struct record *r, uint64_t timeline, uint64_t epoch)
{
    for (unsigned int i = r->timelines_n; i-- > 0;) {
        const struct timeline *t = &r->timelines[i];

        if (t->timeline != timeline || (epoch != 0 && t->epoch != 0 && t->epoch != epoch))
            continue;
        return i + 1u < r->timelines_n ? r->timelines[i + 1].start : UINT64_MAX;
    }
    return 0;
}

uint64_t lost_fork(const struct record *r, const struct position *at, uint64_t began_epoch,
                   const struct wal_history *h)
{
    uint64_t end = left_at(r, at->timeline, began_epoch), own = at->offset;

    if (end != 0)
        return end < at->offset ? end : UINT64_MAX;
    for (unsigned int i = h->n; i-- > 0;) {
        if (h->timeline[i] == at->timeline)
            continue;
        own = h->end[i] < own ? h->end[i] : own;
        end = left_at(r, h->timeline[i], 0);
        if (end != 0)
            return end < own ? end : own;
    }
    return 0;
}

/* --- folders -----------------------------------------------------------------------------------
 */

static void note(struct lost *l, const char *what, const char *path)
{
    if (l->why[0] == 0)
        put(l->why, sizeof l->why, "%s '%s': %s", what, path, strerror(errno));
}

static uint64_t folder_bytes(const char *path)
{
    const struct dirent *entry;
    uint64_t sum = 0;
    struct stat st;
    DIR *folder = opendir(path);

    if (folder == NULL)
        return 0;
    while ((entry = readdir(folder)) != NULL)
        if (fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
    (void)closedir(folder);
    return sum;
}

static bool ends_in(const char *text, const char *with)
{
    size_t n = strlen(text), m = strlen(with);

    return n >= m && strcmp(text + n - m, with) == 0;
}

/* Of the service: names are SERVICE-TIME-TIMELINE-END, so the smallest is the oldest. The name of
 * another service may begin like this one and go on with a dash, but not with a time. */
static bool is_of(const struct lost *l, const char *name)
{
    static const char time[] = "00000000T000000Z-";
    size_t n = strlen(l->service);

    if (strncmp(name, l->service, n) != 0 || name[n] != '-' || strlen(name) >= LOST_ID_MAX)
        return false;
    name += n + 1;
    for (size_t i = 0; time[i] != 0; i++)
        if (time[i] == '0' ? name[i] < '0' || name[i] > '9' : name[i] != time[i])
            return false;
    return true;
}

static bool is_own_part(const struct lost *l, const char *name)
{
    size_t n = strlen(l->id);

    return strncmp(name, l->id, n) == 0 && strcmp(name + n, ".part") == 0;
}

struct folders {
    uint64_t bytes; /* of all */
    char oldest[LOST_ID_MAX + 8];
    bool has_this; /* the same stretch was set aside before */
};

static void look_at_folders(const char *dir, const struct lost *l, struct folders *ret)
{
    const char *stretch = strchr(l->id + strlen(l->service) + 1, '-'); /* behind the time */
    const struct dirent *entry;
    DIR *folder = opendir(dir);
    char path[PATH_SIZE];

    memset(ret, 0, sizeof *ret);
    if (folder == NULL)
        return;
    while ((entry = readdir(folder)) != NULL) {
        if (!is_of(l, entry->d_name) || is_own_part(l, entry->d_name))
            continue;
        put(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (ends_in(entry->d_name, ".part")) {
            (void)file_remove_flat(path); /* an attempt that was cut short */
            continue;
        }
        ret->bytes += folder_bytes(path);
        ret->has_this = ret->has_this || (stretch != NULL && ends_in(entry->d_name, stretch));
        if (ret->oldest[0] == 0 || strcmp(entry->d_name, ret->oldest) < 0)
            put(ret->oldest, sizeof ret->oldest, "%.*s", LOST_ID_MAX, entry->d_name);
    }
    (void)closedir(folder);
}

/* True if so much may be kept; the oldest go for it. */
static bool make_room(const char *dir, struct lost *l, uint64_t need, uint64_t max_bytes)
{
    struct folders all;
    struct statvfs disk;
    char path[PATH_SIZE];

    if (need > max_bytes) {
        put(l->why, sizeof l->why,
            "the log's files are not kept: %" PRIu64 " bytes, and lost_wal_max_bytes is "
            "%" PRIu64,
            need, max_bytes);
        return false;
    }
    for (look_at_folders(dir, l, &all); all.oldest[0] != 0 && all.bytes + need > max_bytes;
         look_at_folders(dir, l, &all)) {
        put(path, sizeof path, "%s/%s", dir, all.oldest);
        if (!file_remove_flat(path))
            break;
    }
    if (statvfs(dir, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < need + SPARE_BYTES) {
        put(l->why, sizeof l->why,
            "the log's files are not kept: %" PRIu64 " bytes do not fit on the disk of "
            "lost_wal_dir",
            need);
        return false;
    }
    return true;
}

/* --- copying -----------------------------------------------------------------------------------
 */

static bool copy_bytes(int from, int to, char *bytes, uint64_t *ret_size)
{
    ssize_t n;

    *ret_size = 0;
    while ((n = read(from, bytes, COPY_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        for (ssize_t done = 0; done < n;) {
            ssize_t w = write(to, bytes + done, (size_t)(n - done));

            if (w < 0 && errno != EINTR)
                return false;
            done += w > 0 ? w : 0;
        }
        *ret_size += (uint64_t)n;
    }
    return fsync(to) == 0;
}

static bool copy_file(const char *from, const char *to, uint64_t *ret_size)
{
    char *bytes = malloc(COPY_BYTES);
    int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
    bool is_ok = false;

    if (in >= 0 && bytes != NULL)
        out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out >= 0)
        is_ok = copy_bytes(in, out, bytes, ret_size);
    if (out >= 0 && close(out) != 0)
        is_ok = false;
    if (in >= 0)
        (void)close(in); /* it was only read */
    free(bytes);
    return is_ok;
}

/* Each segment from the file of the newest timeline that has it. */
static bool copy_segment(const char *data_dir, const char *to_dir, const struct wal_history *h,
                         uint32_t segment_bytes, uint64_t at, struct lost *l)
{
    char name[WAL_NAME_MAX], from[PATH_SIZE], to[PATH_SIZE];
    uint64_t size = 0;

    for (unsigned int i = h->n; i-- > 0;) {
        wal_segment_name(name, h->timeline[i], at, segment_bytes);
        put(from, sizeof from, "%s/pg_wal/%s", data_dir, name);
        if (access(from, F_OK) == 0)
            break;
    }
    put(to, sizeof to, "%s/%s", to_dir, name);
    if (!copy_file(from, to, &size)) {
        note(l, "the log is not kept whole: cannot copy", from);
        return false;
    }
    l->kept_bytes += size;
    return true;
}

static void copy_log(const char *data_dir, const char *to_dir, uint32_t segment_bytes,
                     struct lost *l)
{
    struct wal_history h;
    char from[PATH_SIZE], to[PATH_SIZE];
    uint64_t size;

    (void)wal_read_history(data_dir, l->timeline, &h); /* or it stands alone */
    for (uint64_t at = l->from - l->from % segment_bytes; at < l->upto; at += segment_bytes)
        if (!copy_segment(data_dir, to_dir, &h, segment_bytes, at, l))
            return;
    put(from, sizeof from, "%s/pg_wal/%08" PRIX32 ".history", data_dir, (uint32_t)l->timeline);
    put(to, sizeof to, "%s/%08" PRIX32 ".history", to_dir, (uint32_t)l->timeline);
    if (access(from, F_OK) == 0 && copy_file(from, to, &size))
        l->kept_bytes += size;
}

/* Durably: a folder is not kept when the directory that it is in is not. */
static bool make_dir(const char *dir)
{
    char above[PATH_SIZE];

    if (mkdir(dir, 0700) != 0)
        return errno == EEXIST;
    put(above, sizeof above, "%s/..", dir);
    return file_sync_dir(above, NULL) == HM_OK;
}

bool lost_keep(const char *dir, const char *data_dir, uint64_t max_bytes, struct lost *l)
{
    struct wal_control control;
    struct folders all;
    char path[PATH_SIZE];
    struct hm_err err;
    uint64_t need;

    if (!make_dir(dir)) {
        note(l, "cannot make", dir);
        return false;
    }
    look_at_folders(dir, l, &all);
    if (all.has_this)
        return false;
    put(path, sizeof path, "%s/%s.part", dir, l->id);
    (void)file_remove_flat(path); /* of an attempt that was given up within this second */
    if (mkdir(path, 0700) != 0) {
        note(l, "cannot make", path);
        return false;
    }
    if (wal_read_control(data_dir, &control, &err) != HM_OK) {
        put(l->why, sizeof l->why, "%.*s", LOST_WHY_MAX - 1, err.text);
        return true;
    }
    l->segment_bytes = control.segment_bytes;
    need = l->upto - l->from + 2ull * control.segment_bytes;
    need -= need % control.segment_bytes;
    if (make_room(dir, l, need, max_bytes))
        copy_log(data_dir, path, control.segment_bytes, l);
    return true;
}

/* --- the summary -------------------------------------------------------------------------------
 */

static bool write_summary(const char *folder, const char *name, const struct lost *l,
                          bool (*print)(const struct lost *l, FILE *out))
{
    char path[PATH_SIZE];
    FILE *out;
    bool is_ok;

    put(path, sizeof path, "%s/%s", folder, name);
    out = fopen(path, "we");
    if (out == NULL)
        return false;
    is_ok = print(l, out) && fsync(fileno(out)) == 0;
    return fclose(out) == 0 && is_ok;
}

bool lost_write(const char *dir, struct lost *l)
{
    char part[PATH_SIZE], path[PATH_SIZE];

    lost_end(l);
    put(part, sizeof part, "%s/%s.part", dir, l->id);
    put(path, sizeof path, "%s/%s", dir, l->id);
    if (write_summary(part, "summary.json", l, lost_print_json) &&
        write_summary(part, "summary.txt", l, lost_print_text) &&
        file_sync_dir(part, NULL) == HM_OK && rename(part, path) == 0 &&
        file_sync_dir(dir, NULL) == HM_OK)
        return true;
    note(l, "cannot write", part);
    return false;
}
