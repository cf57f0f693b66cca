#include "postgres/notes.h"

#include "adapter/store.h"
#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILE_MAX = 2048, PLACE_MAX = 160 };

#define FORMAT "hamgr copy 1\n"

/* --- the directory --------------------------------------------------------------------------- */

static bool look_at(const char *data_dir, const char *name, struct statx *ret)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/%s", data_dir, name);
    return statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, ret) == 0;
}

static size_t print_identity(const struct statx *at, char *buffer, size_t size)
{
    bool has_birth = (at->stx_mask & STATX_BTIME) != 0;
    int n = snprintf(buffer, size, "%" PRIu64 ".%" PRId64 ".%09" PRIu32 ".%" PRIu32 ":%" PRIu32,
                     (uint64_t)at->stx_ino, has_birth ? (int64_t)at->stx_btime.tv_sec : 0,
                     has_birth ? at->stx_btime.tv_nsec : 0, has_birth ? 0 : at->stx_dev_major,
                     has_birth ? 0 : at->stx_dev_minor);

    return n > 0 ? (size_t)n : 0;
}

bool notes_identify(const char *data_dir, char *buffer, size_t size)
{
    struct statx directory, control;
    size_t n;

    buffer[0] = 0;
    if (!look_at(data_dir, "global/pg_control", &control) || !look_at(data_dir, ".", &directory))
        return false;
    n = print_identity(&directory, buffer, size);
    if (n + 1 >= size)
        return false;
    buffer[n++] = ' ';
    (void)print_identity(&control, buffer + n, size - n);
    return true;
}

bool notes_identify_control(const char *data_dir, char *buffer, size_t size)
{
    struct statx control;

    buffer[0] = 0;
    return look_at(data_dir, "global/pg_control", &control) &&
           print_identity(&control, buffer, size) < size;
}

/* --- the file -------------------------------------------------------------------------------- */

static enum hm_rc print_notes(const struct notes *n, const char *place, char *buffer, size_t size,
                              size_t *ret_size, struct hm_err *err)
{
    int length = snprintf(buffer, size,
                          FORMAT "place=%s\ncopy_id=%016" PRIx64 "\ntimeline=%" PRIu64
                                 "\nbegan_epoch=%" PRIu64 "\nwas_primary=%d\nis_rebuilding=%d"
                                 "\nwhole_timeline=%" PRIu64 "\nwhole=%s\nnames_digest=%016" PRIx64
                                 "\nnames=%s\n",
                          place, n->copy_id, n->timeline, n->began_epoch, n->was_primary,
                          n->is_rebuilding, n->whole_timeline, n->whole, n->names_digest, n->names);

    if (length < 0 || (size_t)length + 32 > size || strchr(n->names, '\n') != NULL)
        return hm_fail(err, HM_BAD_INPUT, "the names of the standbys cannot be noted");
    *ret_size = (size_t)length;
    length = snprintf(buffer + *ret_size, size - *ret_size, "sum=%016" PRIx64 "\n",
                      bytes_sum(buffer, *ret_size));
    *ret_size += (size_t)length;
    return HM_OK;
}

/* Cuts the line KEY=VALUE off *at; false if another one stands there. */
static bool take_line(char **at, const char *key, char **ret_value)
{
    size_t length = strlen(key);
    char *end = strchr(*at, '\n');

    if (end == NULL || strncmp(*at, key, length) != 0 || (*at)[length] != '=')
        return false;
    *end = 0;
    *ret_value = *at + length + 1;
    *at = end + 1;
    return true;
}

static bool take_number(char **at, const char *key, int base, uint64_t *ret)
{
    char *value, *end;

    if (!take_line(at, key, &value) || *value == 0)
        return false;
    *ret = strtoull(value, &end, base);
    return *end == 0;
}

static bool is_sum_right(const char *text, size_t size)
{
    const size_t length = strlen("sum=0123456789abcdef\n");
    char sum[32];

    if (size < length)
        return false;
    (void)snprintf(sum, sizeof sum, "sum=%016" PRIx64 "\n", bytes_sum(text, size - length));
    return strcmp(sum, text + size - length) == 0;
}

static bool parse_notes(char *text, size_t size, struct notes *ret, char **ret_place)
{
    uint64_t was_primary, is_rebuilding;
    char *at = text + strlen(FORMAT);
    char *names, *whole = "";

    if (strncmp(text, FORMAT, strlen(FORMAT)) != 0 || !is_sum_right(text, size) ||
        !take_line(&at, "place", ret_place) || !take_number(&at, "copy_id", 16, &ret->copy_id) ||
        !take_number(&at, "timeline", 10, &ret->timeline) ||
        !take_number(&at, "began_epoch", 10, &ret->began_epoch) ||
        !take_number(&at, "was_primary", 10, &was_primary) ||
        !take_number(&at, "is_rebuilding", 10, &is_rebuilding))
        return false;
    /* Older files say nothing of it. */
    if (take_number(&at, "whole_timeline", 10, &ret->whole_timeline) &&
        !take_line(&at, "whole", &whole))
        return false;
    if (strlen(whole) >= sizeof ret->whole ||
        !take_number(&at, "names_digest", 16, &ret->names_digest) ||
        !take_line(&at, "names", &names) || strlen(names) >= sizeof ret->names)
        return false;
    ret->was_primary = was_primary != 0;
    ret->is_rebuilding = is_rebuilding != 0;
    (void)snprintf(ret->names, sizeof ret->names, "%s", names);
    (void)snprintf(ret->whole, sizeof ret->whole, "%s", whole);
    return true;
}

/* ret_size 0: there is no such file. */
static enum hm_rc read_file(const char *path, char *buffer, size_t size, size_t *ret_size,
                            struct hm_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t filled = 0;
    ssize_t n = 0;

    *ret_size = 0;
    if (fd < 0 && errno == ENOENT)
        return HM_OK;
    if (fd < 0)
        return hm_fail_errno(err, "cannot open '%s'", path);
    while (filled + 1 < size && (n = read(fd, buffer + filled, size - 1 - filled)) > 0)
        filled += (size_t)n;
    (void)close(fd); /* opened for reading: nothing can be lost */
    if (n < 0)
        return hm_fail_errno(err, "cannot read '%s'", path);
    buffer[filled] = 0;
    if (filled == 0)
        return hm_fail(err, HM_BAD_INPUT, "'%s' is empty: remove it to make this copy a new one",
                       path);
    *ret_size = filled;
    return HM_OK;
}

/* --- the door -------------------------------------------------------------------------------- */

static enum hm_rc save_as(const char *state_dir, const char *service, const char *place,
                          const struct notes *n, struct hm_err *err)
{
    char text[FILE_MAX], name[HM_NAME_MAX + 8];
    size_t size = 0;
    enum hm_rc rc;
    int dir;

    rc = print_notes(n, place, text, sizeof text, &size, err);
    if (rc != HM_OK)
        return rc;
    dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return hm_fail_errno(err, "cannot open '%s'", state_dir);
    (void)snprintf(name, sizeof name, "%s.copy", service);
    rc = store_replace(dir, name, text, size, err);
    (void)close(dir); /* opened for reading: nothing can be lost */
    return rc;
}

enum hm_rc notes_save(const char *state_dir, const char *service, const char *data_dir,
                      const struct notes *n, struct hm_err *err)
{
    char place[PLACE_MAX];

    (void)notes_identify(data_dir, place, sizeof place); /* without data: the empty place */
    return save_as(state_dir, service, place, n, err);
}

/* text: FILE_MAX bytes, in which *ret_place is then; NULL: there is no file. */
static enum hm_rc read_notes(const char *state_dir, const char *service, char *text,
                             struct notes *ret, char **ret_place, struct hm_err *err)
{
    char path[512];
    size_t size = 0;
    enum hm_rc rc;

    *ret_place = NULL;
    (void)snprintf(path, sizeof path, "%s/%s.copy", state_dir, service);
    rc = read_file(path, text, FILE_MAX, &size, err);
    if (rc == HM_OK && size > 0 && !parse_notes(text, size, ret, ret_place))
        rc = hm_fail(err, HM_BAD_INPUT,
                     "'%s' is torn or foreign: remove it to make this copy a new one", path);
    return rc;
}

enum hm_rc notes_look_rebuilding(const char *state_dir, const char *service, bool *ret,
                                 struct hm_err *err)
{
    struct notes n = { .is_rebuilding = false };
    char text[FILE_MAX], *place;
    enum hm_rc rc = read_notes(state_dir, service, text, &n, &place, err);

    if (rc == HM_OK)
        *ret = n.is_rebuilding;
    return rc;
}

enum hm_rc notes_load(const char *state_dir, const char *service, const char *data_dir,
                      struct notes *ret, struct hm_err *err)
{
    char place[PLACE_MAX], text[FILE_MAX], *noted;
    struct notes n = { .copy_id = 0 }, kept;
    bool has_data = notes_identify(data_dir, place, sizeof place);
    enum hm_rc rc = read_notes(state_dir, service, text, &n, &noted, err);

    if (rc != HM_OK)
        return rc;
    if (noted != NULL && strcmp(noted, place) == 0 && (n.copy_id != 0 || !has_data)) {
        *ret = n;
        return HM_OK;
    }
    kept = (struct notes){ .is_rebuilding = n.is_rebuilding, .whole_timeline = n.whole_timeline };
    memcpy(kept.whole, n.whole, sizeof kept.whole);
    n = kept;
    if (has_data) {
        n.copy_id = notes_draw_copy_id();
        rc = save_as(state_dir, service, place, &n, err);
        if (rc != HM_OK)
            return rc;
    }
    *ret = n;
    return HM_OK;
}

uint64_t notes_draw_copy_id(void)
{
    uint64_t id = 0;

    while (id == 0)
        if (getrandom(&id, sizeof id, GRND_NONBLOCK) != (ssize_t)sizeof id) {
            struct timespec now; /* before the kernel's generator is ready: the clock will do */

            (void)clock_gettime(CLOCK_REALTIME, &now);
            id = ((uint64_t)now.tv_sec << 32 ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 20);
        }
    return id;
}
