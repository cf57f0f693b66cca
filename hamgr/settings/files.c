/* files.c - the files and programs that settings name: are they there, and of use? */
#include "settings/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* false: it cannot be used at all, which was said. */
static bool look_at_file(struct reader *r, const char *setting, const char *path, struct stat *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int number = errno;

    if (fd < 0 || fstat(fd, ret) != 0) {
        reader_error(r, 0, "%s: '%s' cannot be read: %s", setting, path,
                     strerror(fd < 0 ? number : errno));
    } else if (!S_ISREG(ret->st_mode)) {
        reader_error(r, 0, "%s: '%s' is no file", setting, path);
    } else {
        (void)close(fd); /* opened for reading: nothing can be lost */
        return true;
    }
    if (fd >= 0)
        (void)close(fd); /* likewise */
    return false;
}

/* libpq passes over a password file that others can read, and asks for a password instead. */
static void look_at_passwords(struct reader *r, const char *setting, const char *path,
                              bool is_for_libpq)
{
    struct stat st;

    if (path[0] == '\0' || !look_at_file(r, setting, path, &st))
        return;
    if (is_for_libpq && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        reader_error(r, 0,
                     "%s: '%s' is not used while others than its owner may read it: chmod 600",
                     setting, path);
    else if (!is_for_libpq && st.st_size == 0)
        reader_error(r, 0, "%s: '%s' is empty", setting, path);
}

static bool has_program(const char *dir, const char *name)
{
    char path[SETTINGS_PATH_MAX + 32];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, X_OK) == 0;
}

static void look_at_programs(struct reader *r, const struct settings_service *s)
{
    static const char *const wanted[] = { "postgres", "pg_ctl", "pg_basebackup", "pg_rewind" };

    if (s->bin_dir[0] == '\0')
        return;
    if (s->kind == SERVICE_REDIS) {
        if (!has_program(s->bin_dir, "redis-server") && !has_program(s->bin_dir, "valkey-server"))
            reader_error(r, 0, "%s: bin_dir: there is no program '%s/redis-server'", s->name,
                         s->bin_dir);
        return;
    }
    for (size_t i = 0; i < HM_ARRAY_LEN(wanted); i++)
        if (!has_program(s->bin_dir, wanted[i]))
            reader_error(r, 0, "%s: bin_dir: there is no program '%s/%s'", s->name, s->bin_dir,
                         wanted[i]);
}

static void look_at_service(struct reader *r, const struct settings_service *s)
{
    char setting[HM_NAME_MAX + 16];
    struct stat st;

    (void)snprintf(setting, sizeof setting, "%s: passfile", s->name);
    look_at_passwords(r, setting, s->passfile, s->kind == SERVICE_POSTGRES);
    /* The server reads it, perhaps as another user; what is in data_dir comes with the copy. */
    if (s->config_file[0] != '\0' &&
        strncmp(s->config_file, s->data_dir, strlen(s->data_dir)) != 0 &&
        stat(s->config_file, &st) != 0 && (errno == ENOENT || errno == ENOTDIR))
        reader_error(r, 0, "%s: config_file: '%s' is not there", s->name, s->config_file);
    look_at_programs(r, s);
}

enum hm_rc settings_check_files(const struct settings *s, struct settings_errors *ret_errors)
{
    struct reader r = { .file = s->file };

    look_at_passwords(&r, "sentinel_password_file", s->sentinel_password_file, false);
    for (size_t i = 0; i < s->services_n; i++)
        look_at_service(&r, &s->service[i]);
    return reader_finish(&r, ret_errors);
}
