#include "redis/include.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What redis/inner.h calls REDIS_NOBODY. */
static const char text[] =
    "# Made by hamgr before each start: a server comes up as a replica of nobody.\n"
    "replicaof 127.0.0.1 1\n"
    "replica-read-only yes\n";

void include_path(const char *run_dir, const char *service, char ret[INCLUDE_PATH_MAX])
{
    (void)snprintf(ret, INCLUDE_PATH_MAX, "%s/redis-%s.conf", run_dir, service);
}

static enum hm_rc write_text(int fd, struct hm_err *err)
{
    ssize_t n = write(fd, text, sizeof text - 1);

    if (n >= 0 && (size_t)n < sizeof text - 1)
        return hm_fail(err, HM_NO_SPACE, "cannot write all of it");
    /* Whatever the umask: another user reads it. */
    if (n < 0 || fchmod(fd, 0644) != 0 || fsync(fd) != 0)
        return hm_fail_errno(err, "cannot write it");
    return HM_OK;
}

/* Beside its place first: a server that starts meanwhile reads all of it, or the one before. */
enum hm_rc include_write(const char *run_dir, const char *service, struct hm_err *err)
{
    char path[INCLUDE_PATH_MAX], made[INCLUDE_PATH_MAX + 8];
    enum hm_rc rc;
    int fd;

    include_path(run_dir, service, path);
    (void)snprintf(made, sizeof made, "%s.new", path);
    if (unlink(made) != 0 && errno != ENOENT)
        return hm_fail_errno(err, "cannot remove '%s'", made);
    fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return hm_fail_errno(err, "cannot make '%s'", made);
    rc = write_text(fd, err);
    if (close(fd) != 0 && rc == HM_OK)
        rc = hm_fail_errno(err, "cannot write it");
    if (rc == HM_OK && rename(made, path) != 0)
        rc = hm_fail_errno(err, "cannot put it into its place");
    if (rc != HM_OK) {
        (void)unlink(made); /* if it cannot be removed, the next one tries again */
        hm_wrap(err, "'%s'", path);
    }
    return rc;
}

static const char blanks[] = " \t\r\n";

/* Cuts off the blanks around a text, in place. */
static char *trimmed(char *line)
{
    size_t n;

    line += strspn(line, blanks);
    for (n = strlen(line); n > 0 && strchr(blanks, line[n - 1]) != NULL; n--)
        ;
    line[n] = '\0';
    return line;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat sa, sb;

    return strcmp(a, b) == 0 || (stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
                                 sa.st_ino == sb.st_ino);
}

/* include PATH, or include "PATH" */
static bool includes(char *line, const char *include)
{
    static const char word[] = "include";
    size_t n = sizeof word - 1;
    char *path;

    if (strncasecmp(line, word, n) != 0 || line[n] == '\0' || strchr(blanks, line[n]) == NULL)
        return false;
    path = trimmed(line + n);
    n = strlen(path);
    if (n >= 2 && (path[0] == '"' || path[0] == '\'') && path[n - 1] == path[0]) {
        path[n - 1] = '\0';
        path++;
    }
    return is_same_file(path, include);
}

enum hm_rc include_check(const char *config_file, const char *include, struct hm_err *err)
{
    FILE *in = fopen(config_file, "re");
    char *line = NULL;
    size_t size = 0;
    bool is_last = false, is_read;

    if (in == NULL)
        return hm_fail_errno(err, "cannot open '%s'", config_file);
    while (getline(&line, &size, in) >= 0) {
        char *said = trimmed(line);

        if (said[0] != '\0' && said[0] != '#')
            is_last = includes(said, include);
    }
    is_read = !ferror(in);
    free(line);
    (void)fclose(in); /* opened for reading: nothing can be lost */
    if (!is_read)
        return hm_fail(err, HM_FAILED, "cannot read '%s'", config_file);
    if (!is_last)
        return hm_fail(err, HM_REFUSED, "the last line of '%s' must be: include %s", config_file,
                       include);
    return HM_OK;
}
