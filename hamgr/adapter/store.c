#include "adapter/store.h"

#include "base/bytes.h"
#include "wire/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#define MEMBER_FILE "member"
#define LOCK_FILE "lock"
#define VOTER_SUFFIX ".voter"
#define FORMAT_LINE "hamgr-member 1\n"

enum { MEMBER_MAX = 2048, FILE_NAME_MAX = HM_NAME_MAX + sizeof VOTER_SUFFIX };

/* --- names ----------------------------------------------------------------------------------- */

/* Of a service; it becomes the name of a file and a word of a line. */
static bool is_file_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t length = strnlen(name, HM_NAME_MAX);

    return length > 0 && length < HM_NAME_MAX && name[0] != '.' && strspn(name, allowed) == length;
}

static enum hm_rc voter_file(const char *service, char *ret_name, struct hm_err *err)
{
    if (!is_file_name(service))
        return hm_fail(err, HM_BAD_INPUT, "a service may not be called '%.*s'", HM_NAME_MAX,
                       service);
    (void)snprintf(ret_name, FILE_NAME_MAX, "%s" VOTER_SUFFIX, service);
    return HM_OK;
}

/* --- reading --------------------------------------------------------------------------------- */

/* Reads a whole file that is shorter than `size`; ENOENT is told by *ret_is_there. */
static enum hm_rc read_file(int dir, const char *name, uint8_t *bytes, size_t size,
                            size_t *ret_used, bool *ret_is_there, struct hm_err *err)
{
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    size_t used = 0;
    enum hm_rc rc = HM_OK;

    *ret_is_there = fd >= 0 || errno != ENOENT;
    if (fd < 0)
        return *ret_is_there ? hm_fail_errno(err, "cannot open '%s'", name) : HM_OK;
    while (used < size) {
        ssize_t n = read(fd, bytes + used, size - used);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = hm_fail_errno(err, "cannot read '%s'", name);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    if (rc == HM_OK && used == size)
        rc = hm_fail(err, HM_BAD_INPUT, "'%s' is longer than any file of hamgr", name);
    (void)close(fd); /* opened for reading: nothing can be lost */
    *ret_used = used;
    return rc;
}

/* --- the member's file -------------------------------------------------------------------------
 *
 *     hamgr-member 1
 *     owner main/db1
 *     incarnation 00c0ffee00c0ffee
 *     begun postgres
 *     sum 0123456789abcdef
 */

static size_t print_member(const struct store *s, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, FORMAT_LINE "owner %s\nincarnation %016" PRIx64 "\n",
                                s->owner, s->incarnation);

    for (size_t i = 0; i < s->begun_n; i++)
        n += (size_t)snprintf(text + n, size - n, "begun %s\n", s->begun[i]);
    n += (size_t)snprintf(text + n, size - n, "sum %016" PRIx64 "\n", bytes_sum(text, n));
    HM_BUG_ON(n >= size);
    return n;
}

/* Takes what it understands; whether that was all is seen by printing it again. */
static void scan_member(char *text, struct store *s)
{
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "owner ", 6) == 0) {
            (void)snprintf(s->owner, sizeof s->owner, "%s", line + 6);
        } else if (strncmp(line, "incarnation ", 12) == 0) {
            s->incarnation = strtoull(line + 12, NULL, 16);
        } else if (strncmp(line, "begun ", 6) == 0 && is_file_name(line + 6) &&
                   s->begun_n < HM_SERVICES_MAX) {
            char *name = s->begun[s->begun_n++];

            memset(name, 0, HM_NAME_MAX);
            memcpy(name, line + 6, strlen(line + 6));
        }
    }
}

static enum hm_rc read_member(struct store *s, bool *ret_is_there, struct hm_err *err)
{
    char text[MEMBER_MAX], copy[MEMBER_MAX], again[MEMBER_MAX];
    size_t length = 0;
    enum hm_rc rc =
        read_file(s->dir, MEMBER_FILE, (uint8_t *)text, sizeof text, &length, ret_is_there, err);

    if (rc != HM_OK || !*ret_is_there)
        return rc;
    text[length] = '\0'; /* read_file() leaves room for it */
    memcpy(copy, text, length + 1);
    scan_member(copy, s);
    if (s->incarnation == 0 || print_member(s, again, sizeof again) != length ||
        memcmp(again, text, length) != 0)
        return hm_fail(err, HM_BAD_INPUT, "'" MEMBER_FILE "' is torn or garbled");
    return HM_OK;
}

static enum hm_rc write_member(const struct store *s, struct hm_err *err)
{
    char text[MEMBER_MAX];

    return store_replace(s->dir, MEMBER_FILE, text, print_member(s, text, sizeof text), err);
}

/* --- opening --------------------------------------------------------------------------------- */

static enum hm_rc lock_directory(struct store *s, struct hm_err *err)
{
    s->lock = openat(s->dir, LOCK_FILE, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->lock < 0)
        return hm_fail_errno(err, "cannot open '" LOCK_FILE "'");
    if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
        return HM_OK;
    if (errno == EWOULDBLOCK)
        return hm_fail(err, HM_REFUSED, "another program has this directory");
    return hm_fail_errno(err, "cannot lock '" LOCK_FILE "'");
}

static bool is_voter_file(const char *name)
{
    size_t length = strlen(name), suffix = strlen(VOTER_SUFFIX);

    return length > suffix && strcmp(name + length - suffix, VOTER_SUFFIX) == 0;
}

/* A voter's file without the member's: whose promises those are is not known any more. */
static enum hm_rc refuse_voter_files(const struct store *s, struct hm_err *err)
{
    enum hm_rc rc = HM_OK;
    struct dirent *entry;
    DIR *dir;
    int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return hm_fail_errno(err, "cannot open the directory");
    dir = fdopendir(fd);
    if (dir == NULL) {
        rc = hm_fail_errno(err, "cannot read the directory");
        (void)close(fd); /* opened for reading */
        return rc;
    }
    errno = 0;
    while (rc == HM_OK && (entry = readdir(dir)) != NULL)
        if (is_voter_file(entry->d_name))
            rc = hm_fail(err, HM_BAD_INPUT, "'%s' is there, but '" MEMBER_FILE "' is missing",
                         entry->d_name);
    if (rc == HM_OK && errno != 0)
        rc = hm_fail_errno(err, "cannot read the directory");
    (void)closedir(dir); /* and fd with it */
    return rc;
}

/* The first time ever in this directory. */
static enum hm_rc make_member(struct store *s, struct hm_err *err)
{
    enum hm_rc rc = refuse_voter_files(s, err);

    while (rc == HM_OK && s->incarnation == 0)
        if (getrandom(&s->incarnation, sizeof s->incarnation, 0) != sizeof s->incarnation)
            rc = hm_fail_errno(err, "no random numbers");
    return rc == HM_OK ? write_member(s, err) : rc;
}

/* A voter that is there twice votes twice. */
static enum hm_rc check_owner(const struct store *s, const char *owner, struct hm_err *err)
{
    if (strcmp(s->owner, owner) == 0)
        return HM_OK;
    return hm_fail(err, HM_BAD_INPUT,
                   "it was made by '%s', and this is '%s': give this one an empty directory",
                   s->owner, owner);
}

enum hm_rc store_open(const char *state_dir, const char *owner, struct store *ret,
                      struct hm_err *err)
{
    struct store s = { .dir = -1, .lock = -1 };
    bool is_there = false;
    enum hm_rc rc;

    s.dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s.dir < 0)
        return hm_fail_errno(err, "cannot open the state directory '%s'", state_dir);
    rc = lock_directory(&s, err);
    if (rc == HM_OK)
        rc = read_member(&s, &is_there, err);
    if (rc == HM_OK && is_there)
        rc = check_owner(&s, owner, err);
    if (rc == HM_OK && !is_there) {
        (void)snprintf(s.owner, sizeof s.owner, "%s", owner);
        rc = make_member(&s, err);
    }
    if (rc != HM_OK) {
        hm_wrap(err, "state directory '%s'", state_dir);
        store_done(&s);
        return rc;
    }
    *ret = s;
    return HM_OK;
}

void store_done(struct store *s)
{
    if (s->lock >= 0)
        (void)close(s->lock); /* gives the lock back */
    if (s->dir >= 0)
        (void)close(s->dir); /* opened for reading */
    s->lock = -1;
    s->dir = -1;
}

/* --- voters ---------------------------------------------------------------------------------- */

static bool is_begun(const struct store *s, const char *service)
{
    for (size_t i = 0; i < s->begun_n; i++)
        if (strcmp(s->begun[i], service) == 0)
            return true;
    return false;
}

static enum hm_rc note_begun(struct store *s, const char *service, struct hm_err *err)
{
    struct store next = *s;
    enum hm_rc rc;

    if (s->begun_n == HM_SERVICES_MAX)
        return hm_fail(err, HM_NO_SPACE, "'" MEMBER_FILE "' names %d services already",
                       HM_SERVICES_MAX);
    strcpy(next.begun[next.begun_n++], service); /* is_file_name() has measured it */
    rc = write_member(&next, err);
    if (rc == HM_OK)
        *s = next;
    return rc;
}

/* Unpacking wants more than a thread's stack has. */
static enum hm_rc unpack(const struct store *s, const char *service, const uint8_t *bytes,
                         size_t size, struct voter_state *ret, struct hm_err *err)
{
    struct wire_storage *storage = malloc(sizeof *storage);
    struct voter_state state;
    enum hm_rc rc;

    if (storage == NULL)
        return hm_fail(err, HM_FAILED, "out of memory");
    rc = wire_unpack_state(bytes, size, service, storage, &state, err);
    free(storage);
    if (rc == HM_OK && state.incarnation != s->incarnation)
        rc = hm_fail(err, HM_BAD_INPUT, "it belongs to another incarnation of this member");
    if (rc == HM_OK)
        *ret = state;
    return rc;
}

/* The first time ever: the empty register is durable before the note that it was begun. Power may
 * fail between the two: then the file is there, as empty as it was written, because no promise is
 * made before both are; and a register that is noted has its file, or has lost it. */
enum hm_rc store_load(struct store *s, const char *service, struct voter_state *ret,
                      bool *ret_is_blank, struct hm_err *err)
{
    struct voter_state state = { .incarnation = s->incarnation };
    uint8_t bytes[WIRE_STATE_MAX + 1];
    char name[FILE_NAME_MAX];
    bool is_there = false;
    size_t size = 0;
    enum hm_rc rc = voter_file(service, name, err);

    if (rc == HM_OK)
        rc = read_file(s->dir, name, bytes, sizeof bytes, &size, &is_there, err);
    if (rc == HM_OK && !is_there && is_begun(s, service)) {
        *ret_is_blank = true;
        return HM_OK;
    }
    if (rc == HM_OK)
        rc = is_there ? unpack(s, service, bytes, size, &state, err)
                      : store_save(s, service, &state, err);
    if (rc == HM_OK && !is_begun(s, service))
        rc = note_begun(s, service, err);
    if (rc != HM_OK) {
        hm_wrap(err, "loading the register of '%.*s'", HM_NAME_MAX, service);
        return rc;
    }
    *ret = state;
    *ret_is_blank = false;
    return HM_OK;
}

enum hm_rc store_save(const struct store *s, const char *service, const struct voter_state *state,
                      struct hm_err *err)
{
    uint8_t bytes[WIRE_STATE_MAX];
    char name[FILE_NAME_MAX];
    size_t size = 0;
    enum hm_rc rc = voter_file(service, name, err);

    if (rc == HM_OK)
        rc = wire_pack_state(state, service, bytes, sizeof bytes, &size, err);
    if (rc == HM_OK)
        rc = store_replace(s->dir, name, bytes, size, err);
    if (rc != HM_OK)
        hm_wrap(err, "saving the register of '%.*s'", HM_NAME_MAX, service);
    return rc;
}
