#include "postgres/autoconf.h"

#include "adapter/store.h"
#include "postgres/datadir.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { AUTOCONF_MAX = 1 << 20 };

static const char *skip_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\f' || *at == '\v')
        at++;
    return at;
}

/* Where the line's name ends; NULL if the line does not set `name`. */
static const char *after_name(const char *line, const char *name)
{
    size_t n = strlen(name);

    line = skip_blanks(line);
    if (strncasecmp(line, name, n) != 0)
        return NULL;
    line += n;
    return isalnum((unsigned char)*line) || *line == '_' || *line == '.' || *line == '$' ? NULL
                                                                                         : line;
}

static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');

    return end == NULL ? line + strlen(line) : end + 1;
}

static bool is_set(const char *line, const struct autoconf_setting *set, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (after_name(line, set[i].name) != NULL)
            return true;
    return false;
}

static void put_value(char **at, const char *value)
{
    for (; *value != 0; value++) {
        if (*value == '\'' || *value == '\\')
            *(*at)++ = *value;
        *(*at)++ = *value;
    }
}

enum hm_rc autoconf_edit(const char *text, const struct autoconf_setting *set, size_t n, char **ret,
                         struct hm_err *err)
{
    size_t size = strlen(text) + 2;
    char *out, *at;

    for (size_t i = 0; i < n; i++) {
        if (set[i].value == NULL)
            continue;
        if (strpbrk(set[i].value, "\r\n") != NULL)
            return hm_fail(err, HM_BAD_INPUT, "the value of %s has several lines", set[i].name);
        size += strlen(set[i].name) + 2 * strlen(set[i].value) + sizeof " = ''\n";
    }
    out = at = malloc(size);
    if (out == NULL)
        return hm_fail(err, HM_FAILED, "no memory for '" AUTOCONF_FILE "'");
    for (const char *line = text; *line != 0; line = next_line(line)) {
        size_t length = (size_t)(next_line(line) - line);

        if (is_set(line, set, n))
            continue;
        memcpy(at, line, length);
        at += length;
    }
    if (at > out && at[-1] != '\n')
        *at++ = '\n';
    for (size_t i = 0; i < n; i++) {
        if (set[i].value == NULL)
            continue;
        at += sprintf(at, "%s = '", set[i].name); /* measured above */
        put_value(&at, set[i].value);
        at += sprintf(at, "'\n");
    }
    *at = 0;
    *ret = out;
    return HM_OK;
}

/* A value as PostgreSQL reads it: quoted, with doubled quotes and backslashes, or a bare word. */
static bool read_value(const char *at, char *buffer, size_t size)
{
    bool is_quoted;
    size_t n = 0;

    at = skip_blanks(at);
    if (*at == '=')
        at = skip_blanks(at + 1);
    is_quoted = *at == '\'';
    if (is_quoted)
        at++;
    for (; *at != 0 && *at != '\n'; at++) {
        if (is_quoted && *at == '\'' && *++at != '\'')
            break;
        if (!is_quoted && (*at == '#' || isspace((unsigned char)*at)))
            break;
        if (is_quoted && *at == '\\' && at[1] != 0)
            at++;
        if (n + 1 >= size)
            return false;
        buffer[n++] = *at;
    }
    buffer[n] = 0;
    return true;
}

bool autoconf_get(const char *text, const char *name, char *buffer, size_t size)
{
    bool is_found = false;

    for (const char *line = text; *line != 0; line = next_line(line)) {
        const char *at = after_name(line, name);

        if (at != NULL)
            is_found = read_value(at, buffer, size);
    }
    return is_found;
}

enum hm_rc autoconf_write(const char *data_dir, const struct autoconf_setting *set, size_t n,
                          struct hm_err *err)
{
    char *text = NULL, *edited = NULL;
    int dir = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum hm_rc rc;

    if (dir < 0)
        return hm_fail_errno(err, "cannot open '%s'", data_dir);
    rc = datadir_read(dir, AUTOCONF_FILE, AUTOCONF_MAX, &text, err);
    if (rc == HM_OK)
        rc = autoconf_edit(text != NULL ? text : "", set, n, &edited, err);
    if (rc == HM_OK && (text == NULL || strcmp(text, edited) != 0))
        rc = store_replace(dir, AUTOCONF_FILE, edited, strlen(edited), err);
    if (rc != HM_OK)
        hm_wrap(err, "settings in '%s'", data_dir);
    free(text);
    free(edited);
    (void)close(dir); /* opened for reading */
    return rc;
}
