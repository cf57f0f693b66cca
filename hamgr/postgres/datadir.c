#include "postgres/datadir.h"

#include "adapter/store.h"
#include "probe/procs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_MAX = 8 << 20, HISTORY_MAX = 1 << 20, PATH_SIZE = 512, TIMELINES_MAX = 100000 };

#define HISTORY_MARK "# Placed by hamgr"
#define HISTORY_TEXT HISTORY_MARK ": this copy never ran on this timeline.\n"

/* A certificate names its host: clients that verify it would not take the source's for ours. */
static const char *const configs[] = { "postgresql.conf",      "pg_hba.conf", "pg_ident.conf",
                                       "postgresql.auto.conf", "server.crt",  "server.key" };

/* --- small things ------------------------------------------------------------------------------
 */

static enum hm_rc open_dir(const char *path, int *ret, struct hm_err *err)
{
    *ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret >= 0 ? HM_OK : hm_fail_errno(err, "cannot open '%s'", path);
}

static void close_dir(int dir)
{
    if (dir >= 0)
        (void)close(dir); /* opened for reading */
}

enum hm_rc datadir_read(int dir, const char *name, size_t max, char **ret, struct hm_err *err)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    enum hm_rc rc = HM_OK;
    struct stat st;
    char *text = NULL;
    size_t n = 0;
    ssize_t got = 1;

    *ret = NULL;
    if (fd < 0)
        return errno == ENOENT ? HM_OK : hm_fail_errno(err, "cannot open '%s'", name);
    if (fstat(fd, &st) != 0 || (size_t)st.st_size > max)
        rc = hm_fail(err, HM_BAD_INPUT, "'%s' is too long", name);
    if (rc == HM_OK && (text = malloc((size_t)st.st_size + 1)) == NULL)
        rc = hm_fail(err, HM_FAILED, "no memory for '%s'", name);
    while (rc == HM_OK && n < (size_t)st.st_size && got != 0) {
        got = read(fd, text + n, (size_t)st.st_size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = hm_fail_errno(err, "cannot read '%s'", name);
        else
            n += (size_t)got;
    }
    (void)close(fd); /* opened for reading */
    if (rc != HM_OK) {
        free(text);
        return rc;
    }
    text[n] = 0;
    *ret = text;
    return HM_OK;
}

enum hm_rc datadir_version(const char *data_dir, int *ret, struct hm_err *err)
{
    char *text = NULL;
    int dir, version = 0;
    enum hm_rc rc = open_dir(data_dir, &dir, err);

    if (rc != HM_OK)
        return rc;
    rc = datadir_read(dir, "PG_VERSION", 64, &text, err);
    close_dir(dir);
    if (rc == HM_OK && (text == NULL || (version = atoi(text)) < 10))
        rc = hm_fail(err, HM_BAD_INPUT, "'%s' is no data directory of PostgreSQL 10 or later",
                     data_dir);
    if (rc == HM_OK)
        *ret = version;
    free(text);
    return rc;
}

bool datadir_has_files(const char *data_dir)
{
    DIR *dir = opendir(data_dir);
    struct dirent *entry;
    bool has_some = false;

    if (dir == NULL)
        return errno != ENOENT;
    while (!has_some && (entry = readdir(dir)) != NULL)
        has_some = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    (void)closedir(dir); /* opened for reading */
    return has_some;
}

/* As PostgreSQL names what it makes, and hamgr and file systems theirs. */
static bool is_expected(const char *name)
{
    static const char *const begins[] = { "pg_",      "PG_VERSION", "postgresql.", "postmaster.",
                                          "recovery", "backup_",    ".hamgr-",     "hamgr." };
    static const char *const names[] = { ".",
                                         "..",
                                         "base",
                                         "global",
                                         "log",
                                         "lost+found",
                                         "standby.signal",
                                         "current_logfiles",
                                         "conf.d",
                                         "tablespace_map",
                                         "server.crt",
                                         "server.key" };

    for (size_t i = 0; i < HM_ARRAY_LEN(begins); i++)
        if (strncmp(name, begins[i], strlen(begins[i])) == 0)
            return true;
    for (size_t i = 0; i < HM_ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

enum hm_rc datadir_check_strangers(const char *data_dir, struct hm_err *err)
{
    DIR *dir = opendir(data_dir);
    struct dirent *entry;
    enum hm_rc rc = HM_OK;

    if (dir == NULL)
        return errno == ENOENT ? HM_OK : hm_fail_errno(err, "cannot open '%s'", data_dir);
    if (faccessat(dirfd(dir), "PG_VERSION", F_OK, 0) == 0) {
        (void)closedir(dir); /* opened for reading */
        return HM_OK;
    }
    while (rc == HM_OK && (entry = readdir(dir)) != NULL)
        if (!is_expected(entry->d_name))
            rc = hm_fail(err, HM_REFUSED,
                         "'%s' is no data directory, but has '%.80s' in it: move that away, or "
                         "correct data_dir",
                         data_dir, entry->d_name);
    (void)closedir(dir); /* opened for reading */
    return rc;
}

static enum hm_rc drop_file(const char *data_dir, const char *name, struct hm_err *err)
{
    int dir;
    enum hm_rc rc = open_dir(data_dir, &dir, err);

    if (rc != HM_OK)
        return rc;
    if (unlinkat(dir, name, 0) != 0 && errno != ENOENT)
        rc = hm_fail_errno(err, "cannot remove '%s/%s'", data_dir, name);
    else if (fsync(dir) != 0)
        rc = hm_fail_errno(err, "cannot sync '%s'", data_dir);
    close_dir(dir);
    return rc;
}

enum hm_rc datadir_mark_standby(const char *data_dir, struct hm_err *err)
{
    int dir;
    enum hm_rc rc = open_dir(data_dir, &dir, err);

    if (rc != HM_OK)
        return rc;
    rc = store_replace(dir, "standby.signal", "", 0, err);
    if (rc != HM_OK)
        hm_wrap(err, "data directory '%s'", data_dir);
    close_dir(dir);
    return rc;
}

enum hm_rc datadir_unmark_standby(const char *data_dir, struct hm_err *err)
{
    enum hm_rc rc = drop_file(data_dir, "standby.signal", err);

    return rc == HM_OK ? drop_file(data_dir, "recovery.signal", err) : rc;
}

#define RESTORED "hamgr.restored"

enum hm_rc datadir_mark_restored(const char *data_dir, struct hm_err *err)
{
    int dir;
    enum hm_rc rc = open_dir(data_dir, &dir, err);

    if (rc != HM_OK)
        return rc;
    rc = store_replace(dir, RESTORED, "", 0, err);
    close_dir(dir);
    return rc;
}

enum hm_rc datadir_unmark_restored(const char *data_dir, struct hm_err *err)
{
    return drop_file(data_dir, RESTORED, err);
}

/* The server renames backup_label when it runs. */
bool datadir_is_restored(const char *data_dir)
{
    char path[PATH_SIZE];
    bool is_restored;

    (void)snprintf(path, sizeof path, "%s/" RESTORED, data_dir);
    is_restored = access(path, F_OK) == 0;
    (void)snprintf(path, sizeof path, "%s/backup_label", data_dir);
    return is_restored && access(path, F_OK) == 0;
}

bool datadir_is_rewound(const char *data_dir)
{
    struct hm_err err;
    char *text = NULL;
    int dir = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_rewound = dir >= 0 && datadir_read(dir, "backup_label", 4096, &text, &err) == HM_OK &&
                      text != NULL && strstr(text, "BACKUP METHOD: pg_rewind") != NULL;

    free(text);
    if (dir >= 0)
        (void)close(dir); /* opened for reading: nothing can be lost */
    return is_rewound;
}

enum hm_rc datadir_check_unused(const char *data_dir, struct hm_err *err)
{
    const struct procs_spec spec = { .executable = "postgres", .data_dir = data_dir };
    struct procs *procs = malloc(sizeof *procs);
    enum hm_rc rc;

    if (procs == NULL)
        return hm_fail(err, HM_FAILED, "no memory to look for processes");
    rc = procs_scan(&spec, procs, err);
    if (rc == HM_OK && procs->n > 0)
        rc = hm_fail(err, HM_REFUSED, "process %d works in '%s'", (int)procs->pid[0], data_dir);
    free(procs);
    return rc;
}

/* The file is what keeps a second server out. */
enum hm_rc datadir_drop_pid_file(const char *data_dir, struct hm_err *err)
{
    enum hm_rc rc = datadir_check_unused(data_dir, err);

    return rc != HM_OK ? rc : drop_file(data_dir, "postmaster.pid", err);
}

/* --- timelines ---------------------------------------------------------------------------------
 */

/* The number of "0000000A.history"; 0: another file. */
static unsigned long history_number(const char *name)
{
    char *end;

    if (strlen(name) != 16 || strcmp(name + 8, ".history") != 0 ||
        strspn(name, "0123456789ABCDEF") != 8)
        return 0;
    return strtoul(name, &end, 16);
}

static void history_name(char *buffer, size_t size, unsigned long number)
{
    (void)snprintf(buffer, size, "%08lX.history", number);
}

/* One that was torn before it was synced is empty; a real one never is. */
static bool is_placed(int dir, const char *name)
{
    char *text = NULL;
    bool is_ours;

    if (datadir_read(dir, name, HISTORY_MAX, &text, NULL) != HM_OK || text == NULL)
        return false;
    is_ours = text[0] == 0 || strncmp(text, HISTORY_MARK, sizeof HISTORY_MARK - 1) == 0;
    free(text);
    return is_ours;
}

/* Calls for every history file; a failure ends it. */
static enum hm_rc for_each_history(int dir,
                                   enum hm_rc (*look)(int dir, const char *name,
                                                      unsigned long *highest, struct hm_err *err),
                                   unsigned long *highest, struct hm_err *err)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    enum hm_rc rc = HM_OK;

    if (list == NULL) {
        rc = hm_fail_errno(err, "cannot list pg_wal");
        close_dir(fd);
        return rc;
    }
    while (rc == HM_OK && (entry = readdir(list)) != NULL)
        if (history_number(entry->d_name) != 0)
            rc = look(dir, entry->d_name, highest, err);
    (void)closedir(list); /* and fd with it */
    return rc;
}

static enum hm_rc note_real(int dir, const char *name, unsigned long *highest, struct hm_err *err)
{
    unsigned long number = history_number(name);

    (void)err;
    if (number > *highest && !is_placed(dir, name))
        *highest = number;
    return HM_OK;
}

static enum hm_rc drop_above(int dir, const char *name, unsigned long *highest, struct hm_err *err)
{
    if (history_number(name) <= *highest)
        return HM_OK;
    if (unlinkat(dir, name, 0) != 0 && errno != ENOENT)
        return hm_fail_errno(err, "cannot remove pg_wal/%s", name);
    return HM_OK;
}

/* Not synced: what is lost with the power is placed again by the next start. */
static enum hm_rc place(int dir, unsigned long number, struct hm_err *err)
{
    char name[32];
    int fd;
    ssize_t n;

    history_name(name, sizeof name, number);
    fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? HM_OK : hm_fail_errno(err, "cannot create pg_wal/%s", name);
    n = write(fd, HISTORY_TEXT, sizeof HISTORY_TEXT - 1);
    if (close(fd) != 0 || n != sizeof HISTORY_TEXT - 1)
        return hm_fail_errno(err, "cannot write pg_wal/%s", name);
    return HM_OK;
}

enum hm_rc datadir_place_histories(const char *data_dir, uint64_t timeline, struct hm_err *err)
{
    unsigned long highest = 1;
    char path[PATH_SIZE];
    uint64_t until;
    int dir = -1;
    enum hm_rc rc;

    (void)snprintf(path, sizeof path, "%s/pg_wal", data_dir);
    if (timeline > TIMELINES_MAX)
        return hm_fail(err, HM_BAD_INPUT, "timeline %llu is out of range",
                       (unsigned long long)timeline);
    rc = open_dir(path, &dir, err);
    if (rc == HM_OK)
        rc = for_each_history(dir, note_real, &highest, err);
    if (rc == HM_OK && timeline != 0 && highest >= timeline)
        rc = hm_fail(err, HM_REFUSED, "timeline %lu exists here already, so %llu cannot be begun",
                     highest, (unsigned long long)timeline);
    if (rc == HM_OK)
        rc = for_each_history(dir, drop_above, &highest, err);
    until = timeline != 0 ? timeline : highest;
    for (uint64_t number = 2; rc == HM_OK && number < until; number++)
        rc = place(dir, (unsigned long)number, err);
    close_dir(dir);
    return rc;
}

/* --- configuration -----------------------------------------------------------------------------
 */

static enum hm_rc copy_file(int from, int to, const char *name, struct hm_err *err)
{
    char *text = NULL;
    enum hm_rc rc = datadir_read(from, name, CONFIG_MAX, &text, err);

    if (rc == HM_OK && text != NULL)
        rc = store_replace(to, name, text, strlen(text), err);
    free(text);
    return rc;
}

static enum hm_rc copy_configs(const char *from, const char *to, bool is_new_only,
                               struct hm_err *err)
{
    int from_dir = -1, to_dir = -1;
    enum hm_rc rc = open_dir(from, &from_dir, err);

    if (rc == HM_OK)
        rc = open_dir(to, &to_dir, err);
    for (size_t i = 0; rc == HM_OK && i < HM_ARRAY_LEN(configs); i++)
        if (!is_new_only || faccessat(to_dir, configs[i], F_OK, 0) != 0)
            rc = copy_file(from_dir, to_dir, configs[i], err);
    close_dir(from_dir);
    close_dir(to_dir);
    return rc;
}

enum hm_rc datadir_keep_configs(const char *data_dir, const char *keep, struct hm_err *err)
{
    enum hm_rc rc;

    if (mkdir(keep, 0700) != 0 && errno != EEXIST)
        return hm_fail_errno(err, "cannot make '%s'", keep);
    if (!datadir_has_files(data_dir))
        return HM_OK;
    rc = copy_configs(data_dir, keep, true, err);
    if (rc != HM_OK)
        hm_wrap(err, "keeping the configuration of '%s'", data_dir);
    return rc;
}

enum hm_rc datadir_restore_configs(const char *keep, const char *data_dir, struct hm_err *err)
{
    enum hm_rc rc = copy_configs(keep, data_dir, false, err);

    if (rc != HM_OK)
        hm_wrap(err, "putting the configuration back into '%s'", data_dir);
    return rc;
}

void datadir_forget_configs(const char *keep)
{
    int dir = open(keep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return;
    for (size_t i = 0; i < HM_ARRAY_LEN(configs); i++)
        (void)unlinkat(dir, configs[i], 0); /* a leftover is used once more */
    close_dir(dir);
    (void)rmdir(keep); /* the same */
}
