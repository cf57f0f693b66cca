#include "postgres/place_inner.h"

#include "adapter/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LINKS "links." /* in the directory of what is kept */

enum { LINKS_MAX = 8 }; /* of one path */

/* --- small things ------------------------------------------------------------------------------
 */

enum hm_rc place_join(char *buffer, const char *dir, const char *name, struct hm_err *err)
{
    int n = snprintf(buffer, PLACE_PATH_MAX, "%s/%s", dir, name);

    if (n < 0 || n >= PLACE_PATH_MAX)
        return hm_fail(err, HM_BAD_INPUT, "the path '%.200s/%.60s' is too long", dir, name);
    return HM_OK;
}

bool place_is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

enum hm_rc place_read_link(const char *path, char *ret, struct hm_err *err)
{
    ssize_t n = readlink(path, ret, PLACE_PATH_MAX);

    if (n >= PLACE_PATH_MAX)
        return hm_fail(err, HM_BAD_INPUT, "the link '%s' is too long", path);
    if (n < 0 && errno != EINVAL && errno != ENOENT && errno != ENOTDIR)
        return hm_fail_errno(err, "cannot read the link '%s'", path);
    ret[n > 0 ? n : 0] = 0;
    return HM_OK;
}

enum hm_rc place_make_dir(const char *path, struct hm_err *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return hm_fail_errno(err, "cannot make '%s'", path);
    return HM_OK;
}

/* --- where -------------------------------------------------------------------------------------
 */

/* Of a mount on the same file system only the kernel can tell. */
static bool is_mount_point(const char *path, const char *parent)
{
    struct statx own, above;

    if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &own) != 0 ||
        statx(AT_FDCWD, parent, 0, STATX_BASIC_STATS, &above) != 0)
        return false;
    if ((own.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
        (own.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0)
        return true;
    return own.stx_dev_major != above.stx_dev_major || own.stx_dev_minor != above.stx_dev_minor;
}

static enum hm_rc beside(const struct place *p, const char *name, char *buffer, struct hm_err *err)
{
    int n = snprintf(buffer, PLACE_PATH_MAX, "%s%s%s", p->target, p->is_inside ? "/" : "", name);

    if (n < 0 || n >= PLACE_PATH_MAX)
        return hm_fail(err, HM_BAD_INPUT, "the path '%.200s' is too long", p->target);
    return HM_OK;
}

static void drop_slashes(char *path)
{
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = 0;
}

static enum hm_rc copy_path(char *to, const char *from, struct hm_err *err)
{
    int n = snprintf(to, PLACE_PATH_MAX, "%s", from);

    if (n < 0 || n >= PLACE_PATH_MAX)
        return hm_fail(err, HM_BAD_INPUT, "the path '%.200s' is too long", from);
    drop_slashes(to);
    return HM_OK;
}

/* Splits it before the last slash. HM_BAD_INPUT: that is the root, or there is none. */
static enum hm_rc split(char *path, const char **ret_name, struct hm_err *err)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL || slash == path)
        return hm_fail(err, HM_BAD_INPUT, "'%s' has no directory above it", path);
    *slash = 0;
    *ret_name = slash + 1;
    return HM_OK;
}

static enum hm_rc follow_link(char *path, const char *leads_to, struct hm_err *err)
{
    char above[PLACE_PATH_MAX];
    const char *name = "";
    enum hm_rc rc;

    if (leads_to[0] == '/')
        return copy_path(path, leads_to, err);
    memcpy(above, path, sizeof above);
    rc = split(above, &name, err);
    if (rc == HM_OK)
        rc = place_join(path, above, leads_to, err);
    drop_slashes(path);
    return rc;
}

static enum hm_rc resolve_above(char *path, struct hm_err *err)
{
    char above[PLACE_PATH_MAX], real[PATH_MAX];
    const char *name = "";
    enum hm_rc rc;

    memcpy(above, path, sizeof above);
    rc = split(above, &name, err);
    if (rc != HM_OK)
        return rc;
    if (realpath(above, real) == NULL)
        return hm_fail_errno(err, "cannot look at '%s', where '%s' is to be made", above, name);
    return place_join(path, real, name, err);
}

/* Of what is not there the directory above is: in the middle of a swap nothing has the name, and
 * all links that lead to it are still to be followed. */
static enum hm_rc resolve_missing(char *path, struct hm_err *err)
{
    char leads_to[PLACE_PATH_MAX] = "";
    enum hm_rc rc = place_read_link(path, leads_to, err);

    for (unsigned int i = 0; rc == HM_OK && leads_to[0] != 0 && i < LINKS_MAX; i++) {
        rc = follow_link(path, leads_to, err);
        if (rc == HM_OK)
            rc = place_read_link(path, leads_to, err);
    }
    return rc == HM_OK ? resolve_above(path, err) : rc;
}

/* Links resolved, whether it is there or not. */
static enum hm_rc resolve(const char *path, char *ret, struct hm_err *err)
{
    char real[PATH_MAX];
    enum hm_rc rc;

    if (realpath(path, real) != NULL)
        return copy_path(ret, real, err);
    if (errno != ENOENT)
        return hm_fail_errno(err, "cannot look at '%s'", path);
    rc = copy_path(ret, path, err);
    return rc == HM_OK ? resolve_missing(ret, err) : rc;
}

enum hm_rc place_find(const char *path, struct place *ret, struct hm_err *err)
{
    char parent[PLACE_PATH_MAX];
    struct place p = { .is_inside = false };
    const char *name = "";
    bool has_parent;
    int why;
    enum hm_rc rc = resolve(path, p.target, err);

    if (rc != HM_OK)
        return rc;
    memcpy(parent, p.target, sizeof parent);
    rc = split(parent, &name, err);
    if (rc != HM_OK)
        return rc;
    has_parent = access(parent, W_OK | X_OK) == 0;
    why = errno;
    p.is_inside = place_is_there(p.target) && (!has_parent || is_mount_point(p.target, parent));
    if (!p.is_inside && !has_parent) {
        errno = why;
        return hm_fail_errno(err, "a new copy is made in '%s', which hamgrd may not write", parent);
    }
    rc = beside(&p, PLACE_NEW, p.fresh, err);
    if (rc == HM_OK)
        rc = beside(&p, PLACE_OLD, p.old, err);
    if (rc == HM_OK)
        *ret = p;
    return rc;
}

/* --- links -------------------------------------------------------------------------------------
 */

/* What is kept already is older, and right: an attempt that was cut short had begun. */
static enum hm_rc keep_link(const char *from, const char *keep, const char *name,
                            struct hm_err *err)
{
    char path[PLACE_PATH_MAX], leads_to[PLACE_PATH_MAX];
    enum hm_rc rc = place_read_link(from, leads_to, err);

    if (rc != HM_OK || leads_to[0] == 0)
        return rc;
    if (leads_to[0] != '/')
        return hm_fail(err, HM_BAD_INPUT,
                       "the link '%s' leads to '%s': make it an absolute path, or set "
                       "rebuild_command",
                       from, leads_to);
    rc = place_join(path, keep, name, err);
    if (rc == HM_OK && symlink(leads_to, path) != 0 && errno != EEXIST)
        rc = hm_fail_errno(err, "cannot keep '%s'", path);
    return rc;
}

enum hm_rc place_each_tablespace(const char *data_dir, place_tablespace *each, void *ctx,
                                 struct hm_err *err)
{
    char path[PLACE_PATH_MAX], link[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(path, data_dir, "pg_tblspc", err);
    struct dirent *entry;
    DIR *dir;

    if (rc != HM_OK)
        return rc;
    dir = opendir(path);
    if (dir == NULL)
        return errno == ENOENT ? HM_OK : hm_fail_errno(err, "cannot open '%s'", path);
    while (rc == HM_OK && (entry = readdir(dir)) != NULL) {
        if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
            continue;
        rc = place_join(link, path, entry->d_name, err);
        if (rc == HM_OK)
            rc = each(ctx, link, entry->d_name, err);
    }
    (void)closedir(dir); /* opened for reading */
    return rc;
}

static enum hm_rc keep_tablespace(void *ctx, const char *link, const char *oid, struct hm_err *err)
{
    const char *const *keep = ctx;
    char name[64];

    (void)snprintf(name, sizeof name, LINKS "%.40s", oid);
    return keep_link(link, *keep, name, err);
}

/* One that was cloned by hand may have two of them in one directory. */
static enum hm_rc add_tablespace(const char *path, struct layout *l, struct hm_err *err)
{
    for (unsigned int i = 0; i < l->tablespaces_n; i++)
        if (strcmp(l->tablespace[i], path) == 0)
            return HM_OK;
    if (l->tablespaces_n == PLACE_TABLESPACES_MAX)
        return hm_fail(err, HM_BAD_INPUT,
                       "more than %d tablespaces cannot be cloned: set rebuild_command",
                       PLACE_TABLESPACES_MAX);
    (void)snprintf(l->tablespace[l->tablespaces_n++], PLACE_PATH_MAX, "%s", path);
    return HM_OK;
}

static enum hm_rc take_link(const char *keep, const char *name, struct layout *l,
                            struct hm_err *err)
{
    char path[PLACE_PATH_MAX], leads_to[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(path, keep, name, err);

    if (rc == HM_OK)
        rc = place_read_link(path, leads_to, err);
    if (rc == HM_OK && leads_to[0] == 0)
        rc = hm_fail(err, HM_BAD_INPUT, "'%s' is no link", path);
    if (rc != HM_OK)
        return rc;
    if (strcmp(name, LINKS "pg_wal") == 0)
        return place_find(leads_to, &l->log, err);
    return add_tablespace(leads_to, l, err);
}

static enum hm_rc take_links(const char *keep, struct layout *l, struct hm_err *err)
{
    DIR *dir = opendir(keep);
    struct dirent *entry;
    enum hm_rc rc = HM_OK;

    if (dir == NULL)
        return hm_fail_errno(err, "cannot open '%s'", keep);
    while (rc == HM_OK && (entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, LINKS, strlen(LINKS)) == 0)
            rc = take_link(keep, entry->d_name, l, err);
    (void)closedir(dir); /* opened for reading */
    return rc;
}

/* Relative ones cannot be kept: what is looked at only has none that matters. */
static enum hm_rc take_tablespace(void *ctx, const char *link, const char *oid, struct hm_err *err)
{
    char leads_to[PLACE_PATH_MAX];
    enum hm_rc rc = place_read_link(link, leads_to, err);

    (void)oid;
    return rc == HM_OK && leads_to[0] == '/' ? add_tablespace(leads_to, ctx, err) : rc;
}

static enum hm_rc take_links_of(const char *data_dir, struct layout *l, struct hm_err *err)
{
    char path[PLACE_PATH_MAX], leads_to[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(path, data_dir, "pg_wal", err);

    if (rc == HM_OK)
        rc = place_read_link(path, leads_to, err);
    if (rc == HM_OK && leads_to[0] == '/')
        rc = place_find(leads_to, &l->log, err);
    return rc == HM_OK ? place_each_tablespace(data_dir, take_tablespace, l, err) : rc;
}

enum hm_rc layout_find(const char *data_dir, const char *keep, struct layout *ret,
                       struct hm_err *err)
{
    struct layout l = { .tablespaces_n = 0 };
    char path[PLACE_PATH_MAX];
    enum hm_rc rc = place_find(data_dir, &l.data, err);

    if (rc == HM_OK && keep == NULL) {
        rc = take_links_of(data_dir, &l, err);
        if (rc == HM_OK)
            *ret = l;
        return rc;
    }
    if (rc == HM_OK)
        rc = place_join(path, data_dir, "pg_wal", err);
    if (rc == HM_OK)
        rc = keep_link(path, keep, LINKS "pg_wal", err);
    if (rc == HM_OK)
        rc = place_each_tablespace(data_dir, keep_tablespace, &keep, err);
    if (rc == HM_OK)
        rc = file_sync_dir(keep, err);
    if (rc == HM_OK)
        rc = take_links(keep, &l, err);
    if (rc == HM_OK)
        *ret = l;
    return rc;
}

void layout_forget(const char *keep)
{
    int fd = open(keep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    if (dir == NULL && fd >= 0)
        (void)close(fd); /* opened for reading */
    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, LINKS, strlen(LINKS)) == 0)
            (void)unlinkat(fd, entry->d_name, 0); /* a leftover is used once more */
    (void)closedir(dir);
}

/* --- onto the disk -----------------------------------------------------------------------------
 */

static enum hm_rc sync_disk_of(const char *path, struct hm_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum hm_rc rc = HM_OK;

    if (fd < 0)
        return hm_fail_errno(err, "cannot open '%s'", path);
    if (syncfs(fd) != 0)
        rc = hm_fail_errno(err, "cannot sync the disk of '%s'", path);
    (void)close(fd); /* opened for reading */
    return rc;
}

static enum hm_rc sync_tablespace(void *ctx, const char *link, const char *oid, struct hm_err *err)
{
    (void)ctx;
    (void)oid;
    return sync_disk_of(link, err);
}

enum hm_rc place_sync_copy(const char *dir, struct hm_err *err)
{
    char path[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(path, dir, "pg_wal", err);

    if (rc == HM_OK)
        rc = place_each_tablespace(dir, sync_tablespace, NULL, err);
    if (rc == HM_OK)
        rc = sync_disk_of(path, err);
    return rc == HM_OK ? sync_disk_of(dir, err) : rc;
}

/* --- room --------------------------------------------------------------------------------------
 */

enum hm_rc layout_make_room(const struct layout *l, struct hm_err *err)
{
    char path[PLACE_PATH_MAX];
    enum hm_rc rc = place_make_dir(l->data.fresh, err);

    place_unmark(&l->data); /* of a swap that ended just before it was taken away */
    if (rc == HM_OK && l->log.target[0] != 0) {
        place_unmark(&l->log);
        rc = place_make_dir(l->log.fresh, err);
    }
    for (unsigned int i = 0; rc == HM_OK && i < l->tablespaces_n; i++) {
        rc = place_make_dir(l->tablespace[i], err);
        if (rc == HM_OK)
            rc = place_join(path, l->tablespace[i], PLACE_NEW, err);
        if (rc == HM_OK)
            rc = place_make_dir(path, err);
    }
    return rc;
}

static void add_size(int above, const char *name, uint64_t *sum, unsigned int depth)
{
    int fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    struct stat st;

    if (dir == NULL && fd >= 0)
        (void)close(fd); /* opened for reading */
    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        *sum += (uint64_t)st.st_blocks * 512;
        if (S_ISDIR(st.st_mode) && depth > 0)
            add_size(fd, entry->d_name, sum, depth - 1);
    }
    (void)closedir(dir); /* opened for reading */
}

enum hm_rc layout_room(const struct layout *l, uint64_t *ret_free, uint64_t *ret_old,
                       struct hm_err *err)
{
    enum { DEEPEST = 8 };
    struct statvfs fs;
    uint64_t old = 0;

    if (statvfs(l->data.fresh, &fs) != 0)
        return hm_fail_errno(err, "cannot look at '%s'", l->data.fresh);
    add_size(AT_FDCWD, l->data.target, &old, DEEPEST);
    *ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    *ret_old = old;
    return HM_OK;
}

static void each(void (*call)(void *, const char *), void *ctx, const char *dir, const char *name)
{
    char path[PLACE_PATH_MAX];

    if (place_join(path, dir, name, NULL) == HM_OK)
        call(ctx, path);
}

void layout_each_leftover(const struct layout *l, bool is_new,
                          void (*call)(void *ctx, const char *path), void *ctx)
{
    call(ctx, is_new ? l->data.fresh : l->data.old);
    if (l->log.target[0] != 0)
        call(ctx, is_new ? l->log.fresh : l->log.old);
    for (unsigned int i = 0; i < l->tablespaces_n; i++)
        each(call, ctx, l->tablespace[i], is_new ? PLACE_NEW : PLACE_OLD);
}
