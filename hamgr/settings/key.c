#include "settings/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_DIGITS = 2 * SETTINGS_KEY_SIZE, KEY_FILE_MAX = KEY_DIGITS + 1 };

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool key_parse(const char *text, size_t size, uint8_t ret_key[SETTINGS_KEY_SIZE])
{
    if (size == KEY_DIGITS + 1 && text[KEY_DIGITS] == '\n')
        size--;
    if (size != KEY_DIGITS)
        return false;
    for (size_t i = 0; i < size; i++)
        if (digit_value(text[i]) < 0)
            return false;
    for (size_t i = 0; i < SETTINGS_KEY_SIZE; i++)
        ret_key[i] = (uint8_t)(digit_value(text[2 * i]) * 16 + digit_value(text[2 * i + 1]));
    return true;
}

/* What is wrong with an open key file, or NULL. */
static const char *key_take(int fd, uint8_t ret_key[SETTINGS_KEY_SIZE])
{
    char text[KEY_FILE_MAX + 1]; /* one more shows that there is more */
    size_t used = 0;
    ssize_t n = 1;
    bool is_key;

    while (used < sizeof text && n != 0) {
        n = read(fd, text + used, sizeof text - used);
        if (n < 0 && errno != EINTR)
            return strerror(errno);
        used += n > 0 ? (size_t)n : 0;
    }
    is_key = key_parse(text, used, ret_key);
    explicit_bzero(text, sizeof text);
    return is_key ? NULL : "is no key: 64 hexadecimal digits, as `hamgr keygen` writes them";
}

bool key_read(struct reader *r, unsigned int line, const char *path, const char *file,
              uint8_t ret_key[SETTINGS_KEY_SIZE])
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO would wait */
    const char *why = NULL;
    struct stat st;

    if (fd < 0) {
        reader_error(r, line, "%s: cannot open '%s': %s%s", path, file, strerror(errno),
                     errno == ENOENT ? "; `hamgr keygen` makes a key" : "");
        return false;
    }
    if (fstat(fd, &st) != 0)
        why = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        why = "is no file";
    else if ((st.st_mode & (S_IWGRP | S_IRWXO)) != 0)
        reader_error(r, line, "%s: '%s' may be used by others (mode %04o): run `chmod g-w,o= %s`",
                     path, file, (unsigned int)st.st_mode & 07777, file);
    else
        why = key_take(fd, ret_key);
    if (why != NULL)
        reader_error(r, line, "%s: '%s': %s", path, file, why);
    (void)close(fd); /* opened for reading: nothing can be lost */
    return why == NULL && (st.st_mode & (S_IWGRP | S_IRWXO)) == 0;
}

enum hm_rc settings_read_key(const char *path, uint8_t ret_key[SETTINGS_KEY_SIZE],
                             struct hm_err *err)
{
    struct reader r = { .file = "key" };
    enum hm_rc rc = HM_OK;

    if (!key_read(&r, 0, "file", path, ret_key))
        rc = hm_fail(err, HM_BAD_INPUT, "%s", r.errors_n > 0 ? r.error[0].text : "no memory");
    for (size_t i = 0; i < r.errors_n; i++)
        free(r.error[i].text);
    free(r.error);
    return rc;
}

uint64_t key_cluster_id(const char *cluster, const uint8_t key[SETTINGS_KEY_SIZE])
{
    static const char what[] = "hamgr cluster";
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint64_t id = 0;
    bool is_good;

    is_good = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(md, what, sizeof what - 1) == 1 &&
              EVP_DigestUpdate(md, cluster, strlen(cluster)) == 1 &&
              EVP_DigestUpdate(md, key, SETTINGS_KEY_SIZE) == 1 &&
              EVP_DigestFinal_ex(md, digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    HM_BUG_ON(!is_good); /* SHA-256 over a few bytes fails only without memory */
    for (size_t i = 0; i < sizeof id; i++)
        id = id << 8 | digest[i];
    return id != 0 ? id : 1;
}

static void print_hex(const uint8_t *bytes, size_t size, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
}

void settings_secret(const uint8_t key[SETTINGS_KEY_SIZE], const char *what, const char *name,
                     char ret[SETTINGS_SECRET_SIZE])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool is_good;

    /* With the final NULs no two texts run together. */
    is_good = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(md, what, strlen(what) + 1) == 1 &&
              EVP_DigestUpdate(md, name, strlen(name) + 1) == 1 &&
              EVP_DigestUpdate(md, key, SETTINGS_KEY_SIZE) == 1 &&
              EVP_DigestFinal_ex(md, digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    HM_BUG_ON(!is_good); /* SHA-256 over a few bytes fails only without memory */
    print_hex(digest, SETTINGS_KEY_SIZE, ret);
    ret[SETTINGS_SECRET_SIZE - 1] = 0;
    explicit_bzero(digest, sizeof digest);
}

static enum hm_rc draw(char text[KEY_FILE_MAX], struct hm_err *err)
{
    uint8_t key[SETTINGS_KEY_SIZE];
    ssize_t n;

    do
        n = getrandom(key, sizeof key, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof key)
        return hm_fail_errno(err, "the kernel gives no random bytes");
    print_hex(key, sizeof key, text);
    text[KEY_DIGITS] = '\n';
    explicit_bzero(key, sizeof key);
    return HM_OK;
}

/* The mode is set again, because a umask may take bits from the owner, too. */
static bool write_key(int fd, const char text[KEY_FILE_MAX])
{
    ssize_t n;

    if (fchmod(fd, S_IRUSR | S_IWUSR) != 0)
        return false;
    n = write(fd, text, KEY_FILE_MAX);
    if (n >= 0 && n < KEY_FILE_MAX)
        errno = ENOSPC;
    return n == KEY_FILE_MAX && fsync(fd) == 0;
}

enum hm_rc settings_make_key(const char *path, struct hm_err *err)
{
    char text[KEY_FILE_MAX];
    enum hm_rc rc = draw(text, err);
    bool is_written;
    int fd;

    if (rc != HM_OK)
        return rc;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0 && errno == EEXIST) {
        rc = hm_fail(err, HM_REFUSED, "'%s' exists already: a key is never written over", path);
    } else if (fd < 0) {
        rc = hm_fail_errno(err, "cannot create '%s'", path);
    } else {
        is_written = write_key(fd, text);
        if (!is_written)
            rc = hm_fail_errno(err, "cannot write '%s'", path);
        if (close(fd) != 0 && is_written) {
            rc = hm_fail_errno(err, "cannot write '%s'", path);
            is_written = false;
        }
        if (!is_written)
            (void)unlink(path); /* half a key is no key; the failure is told already */
    }
    explicit_bzero(text, sizeof text);
    return rc;
}
