#include "settings/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fills `text`; says how much in *ret_used. */
static enum hm_rc read_all(int fd, char *text, size_t size, size_t *ret_used, struct hm_err *err)
{
    size_t used = 0;
    ssize_t n = 1;

    while (used < size && n != 0) {
        n = read(fd, text + used, size - used);
        if (n < 0 && errno != EINTR)
            return hm_fail_errno(err, "cannot read the file");
        used += n > 0 ? (size_t)n : 0;
    }
    *ret_used = used;
    return HM_OK;
}

enum hm_rc text_read_file(const char *path, char **ret_text, struct hm_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO would wait */
    char *text = NULL;
    enum hm_rc rc;
    struct stat st;
    size_t used = 0;

    if (fd < 0)
        return hm_fail_errno(err, "cannot open the file");
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = hm_fail(err, HM_FAILED, "is no file");
        goto out;
    }
    text = malloc(SETTINGS_FILE_MAX + 2);
    if (text == NULL) {
        rc = hm_fail(err, HM_FAILED, "no memory");
        goto out;
    }
    rc = read_all(fd, text, SETTINGS_FILE_MAX + 1, &used, err);
    if (rc != HM_OK)
        goto out;
    if (used > SETTINGS_FILE_MAX) {
        rc = hm_fail(err, HM_FAILED, "is longer than %d bytes", SETTINGS_FILE_MAX);
        goto out;
    }
    text[used] = '\0';
    if (strlen(text) != used) {
        rc = hm_fail(err, HM_FAILED, "is no text: it has a zero byte");
        goto out;
    }
    *ret_text = text;
    text = NULL;
out:
    free(text);
    (void)close(fd); /* opened for reading: nothing can be lost */
    return rc;
}

/* How long a comment or a quoted text is that begins here; 0: neither begins. */
static size_t skipped(const char *at)
{
    size_t n;

    if (at[0] == '#' || (at[0] == '/' && at[1] == '/'))
        return strcspn(at, "\n");
    if (at[0] == '/' && at[1] == '*') {
        const char *end = strstr(at + 2, "*/");

        return end != NULL ? (size_t)(end - at) + 2 : strlen(at);
    }
    if (at[0] != '"')
        return 0;
    for (n = 1; at[n] != '\0' && at[n] != '"'; n++)
        if (at[n] == '\\' && at[n + 1] != '\0')
            n++;
    return at[n] == '"' ? n + 1 : n;
}

/* How long the word or number is that begins here; 0: another sign. */
static size_t word(const char *at)
{
    size_t n = 0;

    while (isalnum((unsigned char)at[n]) || at[n] == '_' || at[n] == '.' || at[n] == '*' ||
           (n > 0 && at[n] == '-'))
        n++;
    return n;
}

/* A whole number that may not fit 32 bits. */
static bool is_big(const char *at, size_t n)
{
    bool is_hex = n > 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X');

    for (size_t i = is_hex ? 2 : 0; i < n; i++)
        if (!(is_hex ? isxdigit((unsigned char)at[i]) : isdigit((unsigned char)at[i])))
            return false;
    return n >= 10;
}

/* What is wrong with the n characters that belong together, or NULL. */
static const char *fault_of(const char *at, size_t n)
{
    if (at[0] == '"' && (n < 2 || at[n - 1] != '"' || memchr(at, '\n', n) != NULL))
        return "a text in quotes does not end in its line";
    if (at[0] == '/' && at[1] == '*' && (n < 4 || at[n - 1] != '/' || at[n - 2] != '*'))
        return "a comment has no end";
    if (strncmp(at, "@include", 8) == 0)
        return "@include: all settings stand in one file";
    return NULL;
}

char *text_for_libconfig(const char *text, struct text_fault *ret_fault)
{
    char *copy = malloc(strlen(text) / 10 + strlen(text) + 2); /* each L has ten digits before it */
    size_t used = 0, n;
    unsigned int line = 1;

    if (copy == NULL)
        return NULL;
    *ret_fault = (struct text_fault){ 0 };
    for (; *text != '\0'; text += n) {
        const char *fault;
        size_t of_word = 0;

        n = skipped(text);
        if (n == 0)
            n = of_word = word(text);
        if (n == 0)
            n = 1;
        fault = fault_of(text, n);
        if (fault != NULL && ret_fault->line == 0)
            *ret_fault = (struct text_fault){ .line = line, .what = fault };
        for (size_t i = 0; i < n; i++)
            line += text[i] == '\n';
        memcpy(copy + used, text, n);
        used += n;
        if (of_word > 0 && is_big(text, of_word))
            copy[used++] = 'L';
    }
    copy[used++] = '\n'; /* a comment that nothing ends is a syntax error to libconfig */
    copy[used] = '\0';
    return copy;
}
