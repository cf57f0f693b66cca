/* join_files.c - the host that joins: is it fit, and what it gets. */
#include "cli/join.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netdb.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- is it fit ----------------------------------------------------------------------------------
 */

HM_PRINTF(2, 3) static void set_next(struct join *j, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(j->next, sizeof j->next, format, args); /* cut at worst */
    va_end(args);
}

/* Nothing but what file systems put there themselves. */
static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    bool is_empty = true;
    struct dirent *e;

    if (dir == NULL)
        return errno == ENOENT;
    while (is_empty && (e = readdir(dir)) != NULL)
        is_empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                   strcmp(e->d_name, "lost+found") == 0;
    (void)closedir(dir); /* opened for reading */
    return is_empty;
}

static enum hm_rc look_at_data(struct join *j, const struct settings_service *s, struct hm_err *err)
{
    char parent[SETTINGS_PATH_MAX];

    /* A server of Redis takes what its primary has, whatever it finds. */
    if (s->kind == SERVICE_POSTGRES && !is_empty(s->data_dir)) {
        set_next(j, "mv %s %s.old   (or join with another --data-dir)", s->data_dir, s->data_dir);
        return hm_fail(err, HM_REFUSED,
                       "'%s' is not empty, or cannot be read: the data of %s go there", s->data_dir,
                       s->name);
    }
    memcpy(parent, s->data_dir, sizeof parent);
    (void)dirname(parent);
    if (access(parent, F_OK) != 0) {
        set_next(j, "install -d -o %s -m 0755 %s", j->settings.user, parent);
        return hm_fail(err, HM_REFUSED, "'%s' does not exist: the data of %s go below it", parent,
                       s->name);
    }
    if (s->config_file[0] != '\0' && access(s->config_file, F_OK) != 0) {
        set_next(j, "scp -p %s:%s %s", j->answer.from, s->config_file, s->config_file);
        return hm_fail(err, HM_REFUSED, "'%s' does not exist: %s starts with it", s->config_file,
                       s->name);
    }
    return HM_OK;
}

static enum hm_rc look_at_redis(struct join *j, const struct settings_service *s,
                                struct hm_err *err)
{
    static const char *const programs[] = { "valkey-server", "redis-server" };
    char path[SETTINGS_PATH_MAX + 32];

    if (s->control == CONTROL_SYSTEMD)
        return HM_OK; /* the unit knows where its program is */
    for (size_t i = 0; i < HM_ARRAY_LEN(programs); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", s->bin_dir[0] != '\0' ? s->bin_dir : "/usr/bin",
                       programs[i]);
        if (access(path, X_OK) == 0)
            return HM_OK;
    }
    set_next(j, "apt-get install redis-server, or set bin_dir");
    return hm_fail(err, HM_REFUSED, "'%s' is not there", path);
}

/* version: of the server on the member that answered, "15.14 (Debian ...)"; NULL: not known. */
static enum hm_rc look_at_programs(struct join *j, const struct settings_service *s,
                                   const char *version, struct hm_err *err)
{
    char path[SETTINGS_PATH_MAX + 32];
    long major = version != NULL ? strtol(version, NULL, 10) : 0;

    if (s->kind == SERVICE_REDIS)
        return look_at_redis(j, s, err);
    if (s->bin_dir[0] != '\0')
        (void)snprintf(path, sizeof path, "%s/pg_basebackup", s->bin_dir);
    else if (major > 0)
        (void)snprintf(path, sizeof path, "/usr/lib/postgresql/%ld/bin/pg_basebackup", major);
    else
        return HM_OK; /* cannot be known here; hamgrd says so */
    if (access(path, X_OK) == 0)
        return HM_OK;
    if (major > 0)
        set_next(j, "apt-get install postgresql-%ld", major);
    else
        set_next(j, "install the programs that the other members have");
    return hm_fail(err, HM_REFUSED, "'%s' is not there: %s runs PostgreSQL %s", path,
                   j->answer.from, version != NULL ? version : "");
}

static enum hm_rc look_at_host(struct join *j, struct hm_err *err)
{
    char path[SETTINGS_PATH_MAX + 16];
    const struct passwd *user = getpwnam(j->settings.user);

    if (user == NULL) {
        set_next(j, "install the database's package, which makes that user");
        return hm_fail(err, HM_REFUSED, "there is no user '%s' here", j->settings.user);
    }
    if (geteuid() != 0 && geteuid() != user->pw_uid) {
        set_next(j, "run it as root (sudo)");
        return hm_fail(err, HM_REFUSED, "files for user '%s' cannot be made", j->settings.user);
    }
    (void)snprintf(path, sizeof path, "%s/member", j->settings.state_dir);
    if (access(path, F_OK) == 0) {
        set_next(j, "stop hamgrd; mv %s %s.old", j->settings.state_dir, j->settings.state_dir);
        return hm_fail(err, HM_REFUSED,
                       "'%s' has the votes of a former member: nobody comes back as who he was",
                       j->settings.state_dir);
    }
    return HM_OK;
}

/* hamgrd listens there; with a name it listens on all addresses of the host. */
static enum hm_rc look_at_address(struct join *j, struct hm_err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };
    struct addrinfo *at;
    bool is_elsewhere = false;
    int fd;

    if (getaddrinfo(j->self.host, NULL, &hints, &at) != 0)
        return HM_OK;
    fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        is_elsewhere = bind(fd, at->ai_addr, at->ai_addrlen) != 0 && errno == EADDRNOTAVAIL;
        (void)close(fd); /* nothing was sent */
    }
    freeaddrinfo(at);
    if (!is_elsewhere)
        return HM_OK;
    set_next(j, "give one of this host with --address: 'ip address' lists them");
    return hm_fail(err, HM_REFUSED, "'%s' is no address of this host", j->self.host);
}

enum hm_rc join_look(struct join *j, const json_t *services, struct hm_err *err)
{
    enum hm_rc rc = look_at_host(j, err);

    if (rc == HM_OK)
        rc = look_at_address(j, err);
    for (size_t i = 0; rc == HM_OK && i < j->settings.services_n; i++) {
        const char *version =
            json_string_value(json_object_get(json_array_get(services, i), "version"));

        rc = look_at_data(j, &j->settings.service[i], err);
        if (rc == HM_OK)
            rc = look_at_programs(j, &j->settings.service[i], version, err);
    }
    return rc;
}

/* --- what it gets -------------------------------------------------------------------------------
 */

static enum hm_rc own(const char *path, const struct passwd *user, struct hm_err *err)
{
    if (geteuid() != 0 || chown(path, user->pw_uid, user->pw_gid) == 0)
        return HM_OK;
    return hm_fail_errno(err, "cannot give '%s' to %s", path, user->pw_name);
}

/* What was made or renamed in the directory of that path outlives a power cut. */
static enum hm_rc sync_parent(const char *path, struct hm_err *err)
{
    char dir[SETTINGS_PATH_MAX + 8];
    enum hm_rc rc = HM_OK;
    int fd;

    (void)snprintf(dir, sizeof dir, "%s", path);
    fd = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        rc = hm_fail_errno(err, "cannot sync the directory of '%s'", path);
    if (fd >= 0)
        (void)close(fd); /* opened for reading: nothing can be lost */
    return rc;
}

static enum hm_rc make_dir(const char *path, mode_t mode, struct hm_err *err)
{
    if (mkdir(path, mode) == 0)
        return sync_parent(path, err);
    return errno == EEXIST ? HM_OK : hm_fail_errno(err, "cannot make '%s'", path);
}

/* Directory by directory; only those that are missing are made. */
static enum hm_rc make_dirs(const char *path, mode_t mode, struct hm_err *err)
{
    char part[SETTINGS_PATH_MAX];
    enum hm_rc rc = HM_OK;

    (void)snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL && rc == HM_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = make_dir(part, 0755, err);
        *slash = '/';
    }
    return rc == HM_OK ? make_dir(part, mode, err) : rc;
}

/* Whole, under a new name first: a file that is there is the whole file. */
static enum hm_rc write_file(const char *path, const char *text, mode_t mode,
                             const struct passwd *user, struct hm_err *err)
{
    char draft[SETTINGS_PATH_MAX + 8];
    size_t size = strlen(text);
    bool is_written;
    enum hm_rc rc;
    int fd;

    (void)snprintf(draft, sizeof draft, "%s.tmp", path);
    (void)unlink(draft); /* of an attempt before; else open() says so */
    fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return hm_fail_errno(err, "cannot create '%s'", draft);
    /* The file, not its name: that is in a directory where the user may put another one. */
    is_written = fchmod(fd, mode) == 0 && write(fd, text, size) == (ssize_t)size &&
                 (geteuid() != 0 || fchown(fd, user->pw_uid, user->pw_gid) == 0) && fsync(fd) == 0;
    rc = is_written ? HM_OK : hm_fail_errno(err, "cannot write '%s'", draft);
    (void)close(fd); /* synced, or failed already */
    if (rc == HM_OK && rename(draft, path) != 0)
        rc = hm_fail_errno(err, "cannot rename '%s'", draft);
    if (rc != HM_OK)
        (void)unlink(draft); /* the failure is told */
    else
        rc = sync_parent(path, err);
    return rc;
}

static enum hm_rc write_key(const struct join *j, const struct passwd *user, struct hm_err *err)
{
    char text[2 * SETTINGS_KEY_SIZE + 2];
    enum hm_rc rc;

    for (size_t i = 0; i < SETTINGS_KEY_SIZE; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", j->key[i]);
    (void)snprintf(text + 2 * SETTINGS_KEY_SIZE, 2, "\n");
    rc = write_file(j->key_file, text, 0600, user, err);
    explicit_bzero(text, sizeof text);
    return rc;
}

static enum hm_rc write_conf(struct join *j, const struct passwd *user, struct hm_err *err)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    enum hm_rc rc;

    if (out != NULL) {
        (void)fprintf(out,
                      "# Written by `hamgr join`; `hamgr config show` prints what fits later.\n");
        settings_write(out, &j->settings);
    }
    if (out == NULL || fclose(out) != 0) {
        free(text);
        return hm_fail(err, HM_FAILED, "no memory");
    }
    rc = write_file(j->conf, text, 0644, user, err);
    free(text);
    return rc;
}

enum hm_rc join_write(struct join *j, struct hm_err *err)
{
    const struct passwd *user = getpwnam(j->settings.user);
    char path[SETTINGS_PATH_MAX + 16], dir[SETTINGS_PATH_MAX];
    enum hm_rc rc;

    if (user == NULL)
        return hm_fail(err, HM_FAILED, "there is no user '%s' any more", j->settings.user);
    (void)snprintf(dir, sizeof dir, "%s", j->conf);
    rc = make_dirs(dirname(dir), 0755, err);
    if (rc == HM_OK)
        rc = make_dirs(j->settings.state_dir, 0700, err);
    if (rc == HM_OK)
        rc = own(j->settings.state_dir, user, err);
    (void)snprintf(path, sizeof path, "%s/joining", j->settings.state_dir);
    if (rc == HM_OK)
        rc = write_file(path, "hamgrd asks to be added\n", 0600, user, err);
    if (rc == HM_OK)
        rc = write_key(j, user, err);
    if (rc == HM_OK)
        rc = write_conf(j, user, err);
    return rc;
}
