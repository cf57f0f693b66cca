/* place_swap.c - a new copy takes the place of the old one, in steps that can be gone on with. */
#include "postgres/place_inner.h"

#include "adapter/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK ".hamgr-aside" /* what was there is aside: what is there now is new */
#define CONTROL "global"    /* moved last: with it the new copy is known to be in its place */

void place_unmark(const struct place *p)
{
    char path[PLACE_PATH_MAX];

    if (p->is_inside && place_join(path, p->target, MARK, NULL) == HM_OK)
        (void)unlink(path); /* as a rule there is none */
}

bool place_has_begun(const struct place *p)
{
    char path[PLACE_PATH_MAX];

    return p->is_inside && place_join(path, p->target, MARK, NULL) == HM_OK && place_is_there(path);
}

/* --- entry by entry ----------------------------------------------------------------------------
 */

/* Ours, or of the file system itself. */
static bool is_apart(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, PLACE_NEW) == 0 ||
           strcmp(name, PLACE_OLD) == 0 || strcmp(name, MARK) == 0 ||
           strcmp(name, "lost+found") == 0;
}

static enum hm_rc move_entry(const char *from, const char *to, const char *name, struct hm_err *err)
{
    char source[PLACE_PATH_MAX], target[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(source, from, name, err);

    if (rc == HM_OK)
        rc = place_join(target, to, name, err);
    if (rc == HM_OK && rename(source, target) != 0)
        rc = hm_fail_errno(err, "cannot move '%s' to '%s'", source, to);
    return rc;
}

/* All but `last`. */
static enum hm_rc move_some(const char *from, const char *to, const char *last, size_t *ret_n,
                            struct hm_err *err)
{
    DIR *dir = opendir(from);
    struct dirent *entry;
    enum hm_rc rc = HM_OK;

    *ret_n = 0;
    if (dir == NULL)
        return hm_fail_errno(err, "cannot open '%s'", from);
    while (rc == HM_OK && (entry = readdir(dir)) != NULL)
        if (!is_apart(entry->d_name) && (last == NULL || strcmp(entry->d_name, last) != 0)) {
            rc = move_entry(from, to, entry->d_name, err);
            (*ret_n)++;
        }
    (void)closedir(dir); /* opened for reading */
    return rc;
}

/* `last` comes behind all others, when they are durable. A list that is read while it changes may
 * miss something: it is read until nothing is left. */
static enum hm_rc move_entries(const char *from, const char *to, const char *last,
                               struct hm_err *err)
{
    char path[PLACE_PATH_MAX];
    enum hm_rc rc;
    size_t n;

    do
        rc = move_some(from, to, last, &n, err);
    while (rc == HM_OK && n > 0);
    if (rc == HM_OK)
        rc = file_sync_dir(to, err);
    if (rc == HM_OK && last != NULL) {
        rc = place_join(path, from, last, err);
        if (rc == HM_OK && place_is_there(path))
            rc = move_entry(from, to, last, err);
    }
    if (rc == HM_OK)
        rc = file_sync_dir(to, err);
    return rc == HM_OK ? file_sync_dir(from, err) : rc;
}

static enum hm_rc mark_aside(const struct place *p, struct hm_err *err)
{
    char path[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(path, p->target, MARK, err);
    int fd;

    if (rc != HM_OK)
        return rc;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return hm_fail_errno(err, "cannot make '%s'", path);
    (void)close(fd); /* it is empty */
    return file_sync_dir(p->target, err);
}

static enum hm_rc put_inside_aside(const struct place *p, struct hm_err *err)
{
    enum hm_rc rc = place_make_dir(p->old, err);

    return rc == HM_OK ? move_entries(p->target, p->old, NULL, err) : rc;
}

static enum hm_rc swap_inside(const struct place *p, struct hm_err *err)
{
    char path[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(path, p->target, MARK, err);
    struct stat st;

    if (rc == HM_OK && !place_is_there(path)) {
        rc = put_inside_aside(p, err);
        if (rc == HM_OK)
            rc = mark_aside(p, err);
    }
    /* A mount point may have the mode of a file system that was just made. */
    if (rc == HM_OK && stat(p->fresh, &st) == 0)
        (void)chmod(p->target, st.st_mode & 0777); /* else the server says what it dislikes */
    if (rc == HM_OK)
        rc = move_entries(p->fresh, p->target, CONTROL, err);
    if (rc == HM_OK && rmdir(p->fresh) != 0)
        rc = hm_fail_errno(err, "cannot remove '%s'", p->fresh);
    if (rc == HM_OK)
        place_unmark(p);
    return rc;
}

/* --- a directory -------------------------------------------------------------------------------
 */

static enum hm_rc sync_above(const char *path, struct hm_err *err)
{
    char above[PLACE_PATH_MAX];

    (void)snprintf(above, sizeof above, "%s", path);
    *strrchr(above, '/') = 0; /* looked at by place_find() */
    return file_sync_dir(above, err);
}

static enum hm_rc rename_dir(const char *from, const char *to, struct hm_err *err)
{
    if (rename(from, to) != 0)
        return hm_fail_errno(err, "cannot rename '%s' to '%s'", from, to);
    return sync_above(to, err);
}

static enum hm_rc put_aside(const struct place *p, struct hm_err *err)
{
    if (p->is_inside)
        return put_inside_aside(p, err);
    return place_is_there(p->target) ? rename_dir(p->target, p->old, err) : HM_OK;
}

/* Without the new one it was done before. */
static enum hm_rc swap(const struct place *p, struct hm_err *err)
{
    enum hm_rc rc = HM_OK;

    if (!place_is_there(p->fresh))
        return HM_OK;
    if (p->is_inside)
        return swap_inside(p, err);
    if (place_is_there(p->target))
        rc = rename_dir(p->target, p->old, err);
    return rc == HM_OK ? rename_dir(p->fresh, p->target, err) : rc;
}

/* --- links -------------------------------------------------------------------------------------
 */

/* A link to the place where the new one was made leads to where it is from now on. */
static enum hm_rc relink(const char *path, const char *to, struct hm_err *err)
{
    char draft[PLACE_PATH_MAX + 16];

    (void)snprintf(draft, sizeof draft, "%s.hamgr", path);
    (void)unlink(draft); /* left over */
    if (symlink(to, draft) != 0 || rename(draft, path) != 0)
        return hm_fail_errno(err, "cannot make the link '%s'", path);
    return sync_above(path, err);
}

static enum hm_rc swap_log(const struct layout *l, struct hm_err *err)
{
    char path[PLACE_PATH_MAX], leads_to[PLACE_PATH_MAX];
    enum hm_rc rc = swap(&l->log, err);

    if (rc == HM_OK)
        rc = place_join(path, l->data.fresh, "pg_wal", err);
    if (rc == HM_OK)
        rc = place_read_link(path, leads_to, err); /* "": in its place already, or made otherwise */
    if (rc == HM_OK && strcmp(leads_to, l->log.fresh) == 0)
        rc = relink(path, l->log.target, err);
    return rc;
}

/* Only what the new copy has there: other versions keep their own in the same directory. */
static enum hm_rc swap_tablespace(const char *path, struct hm_err *err)
{
    char fresh[PLACE_PATH_MAX], old[PLACE_PATH_MAX], there[PLACE_PATH_MAX];
    enum hm_rc rc = place_join(fresh, path, PLACE_NEW, err);
    struct dirent *entry;
    DIR *dir;

    if (rc == HM_OK)
        rc = place_join(old, path, PLACE_OLD, err);
    if (rc != HM_OK)
        return rc;
    dir = opendir(fresh);
    if (dir == NULL)
        return errno == ENOENT ? HM_OK : hm_fail_errno(err, "cannot open '%s'", fresh);
    while (rc == HM_OK && (entry = readdir(dir)) != NULL) {
        if (is_apart(entry->d_name))
            continue;
        rc = place_join(there, path, entry->d_name, err);
        if (rc == HM_OK && place_is_there(there)) {
            rc = place_make_dir(old, err);
            if (rc == HM_OK)
                rc = move_entry(path, old, entry->d_name, err);
        }
        if (rc == HM_OK)
            rc = move_entry(fresh, path, entry->d_name, err);
    }
    (void)closedir(dir); /* opened for reading */
    if (rc == HM_OK)
        rc = file_sync_dir(path, err);
    if (rc == HM_OK && rmdir(fresh) != 0)
        rc = hm_fail_errno(err, "cannot remove '%s'", fresh);
    return rc;
}

static enum hm_rc relink_tablespace(void *ctx, const char *path, const char *oid,
                                    struct hm_err *err)
{
    char leads_to[PLACE_PATH_MAX];
    const size_t length = strlen("/" PLACE_NEW);
    enum hm_rc rc = place_read_link(path, leads_to, err);
    size_t n;

    (void)ctx;
    (void)oid;
    if (rc != HM_OK)
        return rc;
    n = strlen(leads_to);
    if (n < length || strcmp(leads_to + n - length, "/" PLACE_NEW) != 0)
        return HM_OK;
    leads_to[n - length] = 0;
    return relink(path, leads_to, err);
}

/* --- the door ----------------------------------------------------------------------------------
 */

enum hm_rc layout_swap(const struct layout *l, struct hm_err *err)
{
    enum hm_rc rc = HM_OK;

    for (unsigned int i = 0; rc == HM_OK && i < l->tablespaces_n; i++)
        rc = swap_tablespace(l->tablespace[i], err);
    if (rc == HM_OK)
        rc = place_each_tablespace(l->data.fresh, relink_tablespace, NULL, err);
    if (rc == HM_OK && l->log.target[0] != 0)
        rc = swap_log(l, err);
    return rc == HM_OK ? swap(&l->data, err) : rc;
}

enum hm_rc layout_put_aside(const struct layout *l, struct hm_err *err)
{
    enum hm_rc rc = put_aside(&l->data, err);

    if (rc == HM_OK && l->log.target[0] != 0)
        rc = put_aside(&l->log, err);
    return rc;
}
