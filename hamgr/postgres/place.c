#include "postgres/place_inner.h"

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

    return lstat(path, &st) == 0;
}

enum hm_rc place_sync(const char *path, struct hm_err *err)
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

enum hm_rc place_find(const char *path, struct place *ret, struct hm_err *err)
{
    char real[PATH_MAX], parent[PLACE_PATH_MAX];
    struct place p = { .is_inside = false };
    const char *target = realpath(path, real);
    bool has_parent;
    enum hm_rc rc;
    char *slash;
    int n;

    if (target == NULL && errno != ENOENT)
        return hm_fail_errno(err, "cannot look at '%s'", path);
    if (target == NULL)
        target = path; /* of a link that leads nowhere the link itself is replaced */
    n = snprintf(p.target, sizeof p.target, "%s", target);
    if (n < 0 || (size_t)n >= sizeof p.target)
        return hm_fail(err, HM_BAD_INPUT, "the path '%.200s' is too long", target);
    memcpy(parent, p.target, sizeof parent);
    slash = strrchr(parent, '/');
    if (slash == NULL || slash == parent)
        return hm_fail(err, HM_BAD_INPUT, "'%s' has no directory above it", target);
    *slash = 0;
    has_parent = access(parent, W_OK | X_OK) == 0;
    p.is_inside = place_is_there(p.target) && (!has_parent || is_mount_point(p.target, parent));
    if (!p.is_inside && !has_parent)
        return hm_fail_errno(err, "a new copy is made in '%s', which hamgrd may not write", parent);
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
    ssize_t n = readlink(from, leads_to, sizeof leads_to);
    enum hm_rc rc;

    if (n < 0)
        return HM_OK; /* no link, or nothing */
    if ((size_t)n >= sizeof leads_to)
        return hm_fail(err, HM_BAD_INPUT, "the link '%s' is too long", from);
    leads_to[n] = 0;
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

enum hm_rc place_each_tablespace(const char *data_dir, place_tablespace *each, const char *keep,
                                 struct hm_err *err)
{
    char path[PLACE_PATH_MAX], link[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(path, data_dir, "pg_tblspc", err);
    struct dirent *entry;
    DIR *dir;

    if (rc != HM_OK)
        return rc;
    dir = opendir(path);
    while (rc == HM_OK && dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
            continue;
        rc = place_join(link, path, entry->d_name, err);
        if (rc == HM_OK)
            rc = each(link, entry->d_name, keep, err);
    }
    if (dir != NULL)
        (void)closedir(dir); /* opened for reading */
    return rc;
}

static enum hm_rc keep_tablespace(const char *link, const char *oid, const char *keep,
                                  struct hm_err *err)
{
    char name[64];

    (void)snprintf(name, sizeof name, LINKS "%.40s", oid);
    return keep_link(link, keep, name, err);
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
    ssize_t n;

    if (rc != HM_OK)
        return rc;
    n = readlink(path, leads_to, sizeof leads_to - 1);
    if (n < 0)
        return hm_fail_errno(err, "cannot read '%s'", path);
    leads_to[n] = 0;
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

static enum hm_rc add_link(const char *link, bool is_log, struct layout *l, struct hm_err *err)
{
    char leads_to[PLACE_PATH_MAX];
    ssize_t n = readlink(link, leads_to, sizeof leads_to - 1);

    if (n < 0 || leads_to[0] != '/')
        return HM_OK; /* no link, or nothing */
    leads_to[n] = 0;
    return is_log ? place_find(leads_to, &l->log, err) : add_tablespace(leads_to, l, err);
}

static enum hm_rc take_links_of(const char *data_dir, struct layout *l, struct hm_err *err)
{
    char path[PLACE_PATH_MAX], link[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(path, data_dir, "pg_wal", err);
    struct dirent *entry;
    DIR *dir;

    if (rc == HM_OK)
        rc = add_link(path, true, l, err);
    if (rc == HM_OK)
        rc = place_join(path, data_dir, "pg_tblspc", err);
    if (rc != HM_OK)
        return rc;
    dir = opendir(path);
    while (rc == HM_OK && dir != NULL && (entry = readdir(dir)) != NULL) {
        rc = place_join(link, path, entry->d_name, err);
        if (rc == HM_OK)
            rc = add_link(link, false, l, err);
    }
    if (dir != NULL)
        (void)closedir(dir); /* opened for reading */
    return rc;
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
        rc = place_each_tablespace(data_dir, keep_tablespace, keep, err);
    if (rc == HM_OK)
        rc = place_sync(keep, err);
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
