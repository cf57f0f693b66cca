/* cmd_diverged.c - hamgr diverged list, show, purge: logs that only an old primary on this host
 * had, set aside before a rebuild overwrote them. Reads the folders itself; hamgrd need not run. */
#include "cli/print.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDERS_MAX = 1000, NAME_SIZE = 96, PATH_SIZE = SETTINGS_PATH_MAX + NAME_SIZE + 16 };

/* What there is, newest last: names are SERVICE-TIME-TIMELINE-END. */
struct folders {
    char dir[SETTINGS_PATH_MAX];
    size_t n;
    char name[FOLDERS_MAX][NAME_SIZE];
};

/* --- looking -----------------------------------------------------------------------------------
 */

static const char *time_of(const char *name)
{
    const char *at = name + strlen(name);

    for (unsigned dashes = 0; at > name && dashes < 3; dashes += at[0] == '-')
        at--;
    return at;
}

static int compare(const void *a, const void *b)
{
    return strcmp(time_of(a), time_of(b));
}

static bool is_wanted(const struct cli *c, const char *name)
{
    size_t n = c->service != NULL ? strlen(c->service) : 0;
    size_t length = strlen(name);

    if (name[0] == '.' || length >= NAME_SIZE ||
        (length > 5 && strcmp(name + length - 5, ".part") == 0))
        return false;
    return n == 0 || (strncmp(name, c->service, n) == 0 && time_of(name) == name + n);
}

static void take_names(const struct cli *c, DIR *dir, struct folders *ret)
{
    const struct dirent *entry;

    while ((entry = readdir(dir)) != NULL && ret->n < FOLDERS_MAX)
        if (is_wanted(c, entry->d_name))
            memcpy(ret->name[ret->n++], entry->d_name, strlen(entry->d_name) + 1); /* fits */
    qsort(ret->name, ret->n, NAME_SIZE, compare);
}

/* False: it has been told why. No directory is one with nothing in it. */
static bool look(struct cli *c, struct folders *ret)
{
    struct settings *settings = malloc(sizeof *settings);
    struct hm_err err;
    DIR *dir;

    ret->n = 0;
    if (settings == NULL || !cli_load(c, settings)) {
        free(settings);
        (void)cli_tell_failure(c, CTL_FAILED, "without settings lost_wal_dir is not known",
                               "hamgr config check");
        return false;
    }
    memcpy(ret->dir, settings->lost_wal_dir, sizeof ret->dir);
    free(settings);
    dir = opendir(ret->dir);
    if (dir == NULL && errno == ENOENT)
        return true;
    if (dir == NULL) {
        (void)hm_fail_errno(&err, "cannot look into '%s'", ret->dir);
        (void)cli_tell_failure(c, CTL_FAILED, err.text, "be root or hamgrd's user");
        return false;
    }
    take_names(c, dir, ret);
    (void)closedir(dir);
    return true;
}

static json_t *summary_of(const struct folders *f, size_t i)
{
    char path[PATH_SIZE];
    json_t *j;

    (void)snprintf(path, sizeof path, "%s/%s/summary.json", f->dir, f->name[i]);
    j = json_load_file(path, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(j)) {
        json_decref(j);
        j = json_pack("{s:s,s:s}", "id", f->name[i], "why", "its summary.json cannot be read");
    }
    (void)snprintf(path, sizeof path, "%s/%s", f->dir, f->name[i]);
    (void)json_object_set_new(j, "dir", json_string(path)); /* no memory: without it */
    return j;
}

/* The folder of that name, or the newest; f->n: there is none. */
static size_t find(const struct folders *f, const char *name)
{
    if (name == NULL)
        return f->n > 0 ? f->n - 1 : 0;
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->name[i], name) == 0)
            return i;
    return f->n;
}

/* --- list --------------------------------------------------------------------------------------
 */

void cli_print_diverged(struct cli *c, const json_t *list)
{
    struct print_line l;
    const json_t *d;
    char size[24];
    size_t i;

    print_begin(&l, c);
    print_add(&l, PRINT_DIM, json_array_size(list) > 0 ? "set aside" : "nothing diverged here");
    if (json_array_size(list) > 0) {
        print_to(&l, 22);
        print_add(&l, PRINT_DIM, "commits");
        print_to(&l, 31);
        print_add(&l, PRINT_DIM, "kept");
        print_to(&l, 40);
        print_add(&l, PRINT_DIM, "id");
    }
    print_end(&l);
    json_array_foreach(list, i, d)
    {
        print_begin(&l, c);
        print_add(&l, PRINT_PLAIN, print_text(d, "made"));
        print_to(&l, 22);
        print_addf(&l, PRINT_BOLD, "%lld", print_number(d, "committed"));
        print_to(&l, 31);
        print_bytes(size, (uint64_t)print_number(d, "kept_bytes"));
        print_add(&l, PRINT_PLAIN, size);
        print_to(&l, 40);
        print_add(&l, PRINT_PLAIN, print_text(d, "id"));
        print_end(&l);
    }
}

enum ctl_exit cli_diverged_list(struct cli *c)
{
    struct folders *f = malloc(sizeof *f);
    json_t *list = json_array(), *j;

    if (f == NULL || list == NULL || !look(c, f)) {
        free(f);
        json_decref(list);
        return CTL_FAILED;
    }
    for (size_t i = 0; i < f->n; i++) {
        j = summary_of(f, i);
        (void)json_object_del(j, "commits"); /* it may not have it */
        (void)json_array_append_new(list, j);
    }
    free(f);
    if ((c->given & CLI_JSON) != 0) {
        j = json_pack("{s:i,s:O}", "rc", 0, "diverged", list);
        cli_print_json(c, j);
        json_decref(j);
    } else {
        cli_print_diverged(c, list);
    }
    json_decref(list);
    return CTL_DONE;
}

void cli_tell_diverged(struct cli *c)
{
    struct settings *settings = malloc(sizeof *settings);
    struct folders *f = calloc(1, sizeof *f);
    DIR *dir = NULL;

    if (settings != NULL && f != NULL && cli_load(c, settings))
        dir = opendir(settings->lost_wal_dir);
    if (dir != NULL) {
        take_names(c, dir, f);
        (void)closedir(dir);
        if (f->n > 0)
            (void)fprintf(c->out,
                          "%zu stretches of log that only this host had are set aside: "
                          "'hamgr diverged list'\n",
                          f->n);
    }
    free(f);
    free(settings);
}

/* --- show --------------------------------------------------------------------------------------
 */

static enum ctl_exit no_such(struct cli *c, struct folders *f)
{
    enum ctl_exit rc = cli_tell_failure(c, CTL_FAILED,
                                        c->args_n > 0 ? "there is no such diverged log on this host"
                                                      : "nothing diverged on this host",
                                        c->args_n > 0 ? "hamgr diverged list" : NULL);

    free(f);
    return rc;
}

/* Names of tables come from a database: nothing in them may steer a terminal. */
static bool print_file(struct cli *c, const char *path)
{
    FILE *in = fopen(path, "re");
    int letter;

    if (in == NULL)
        return false;
    while ((letter = fgetc(in)) != EOF)
        (void)fputc(letter == '\n' || !iscntrl(letter) ? letter : '?', c->out);
    (void)fclose(in); /* it was only read */
    return true;
}

enum ctl_exit cli_diverged_show(struct cli *c)
{
    struct folders *f = malloc(sizeof *f);
    char path[PATH_SIZE];
    size_t i;
    json_t *j;

    if (f == NULL || !look(c, f)) {
        free(f);
        return CTL_FAILED;
    }
    i = find(f, c->args_n > 0 ? c->arg[0] : NULL);
    if (i == f->n)
        return no_such(c, f);
    if ((c->given & CLI_JSON) != 0) {
        j = json_pack("{s:i,s:o}", "rc", 0, "diverged", summary_of(f, i));
        cli_print_json(c, j);
        json_decref(j);
    } else {
        (void)snprintf(path, sizeof path, "%s/%s/summary.txt", f->dir, f->name[i]);
        if (!print_file(c, path))
            (void)fprintf(c->out, "%s has no summary\n", f->name[i]);
        (void)fprintf(c->out, "\nfiles: %s/%s\n", f->dir, f->name[i]);
    }
    free(f);
    return CTL_DONE;
}

/* --- purge -------------------------------------------------------------------------------------
 */

/* Everything in it but folders, of which there are none, and then itself. No link is followed: as a
 * rule root does this, in a directory of hamgrd's user. */
static bool purge(const struct folders *f, size_t i, uint64_t *bytes)
{
    const struct dirent *entry;
    char path[PATH_SIZE];
    struct stat st;
    DIR *dir;
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", f->dir, f->name[i]);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            *bytes += (uint64_t)st.st_size;
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* else rmdir() fails */
    }
    if (dir != NULL)
        (void)closedir(dir);
    return rmdir(path) == 0;
}

static enum ctl_exit tell_purged(struct cli *c, const json_t *gone, uint64_t bytes)
{
    char size[24];
    json_t *j;

    if ((c->given & CLI_JSON) != 0) {
        j = json_pack("{s:i,s:O,s:I}", "rc", 0, "purged", gone, "bytes", (json_int_t)bytes);
        cli_print_json(c, j);
        json_decref(j);
    } else {
        print_bytes(size, bytes);
        (void)fprintf(c->out, "purged %zu, %s\n", json_array_size(gone), size);
    }
    return CTL_DONE;
}

enum ctl_exit cli_diverged_purge(struct cli *c)
{
    struct folders *f = malloc(sizeof *f);
    enum ctl_exit rc = CTL_FAILED;
    json_t *gone = json_array();
    uint64_t bytes = 0;
    struct hm_err err;
    bool is_all = c->args_n > 0 && strcmp(c->arg[0], "all") == 0;
    size_t i, end;

    if (f == NULL || gone == NULL || !look(c, f))
        goto out;
    if (c->args_n == 0) {
        cli_complain(c, "which one? 'hamgr diverged list' shows them; 'all' for all of them");
        rc = CTL_USAGE;
        goto out;
    }
    i = is_all ? 0 : find(f, c->arg[0]);
    if (i == f->n && !is_all) {
        rc = no_such(c, f);
        f = NULL;
        goto out;
    }
    for (end = is_all ? f->n : i + 1; i < end; i++) {
        if (!purge(f, i, &bytes)) {
            (void)hm_fail_errno(&err, "cannot remove '%s/%s'", f->dir, f->name[i]);
            rc = cli_tell_failure(c, CTL_FAILED, err.text, "be root or hamgrd's user");
            goto out;
        }
        (void)json_array_append_new(gone, json_string(f->name[i]));
    }
    rc = tell_purged(c, gone, bytes);
out:
    json_decref(gone);
    free(f);
    return rc;
}
