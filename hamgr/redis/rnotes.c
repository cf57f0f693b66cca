#include "redis/rnotes.h"

#include "adapter/store.h"
#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 512, PATH_BYTES = 512 };

#define FORMAT                                                                                     \
    "hamgr redis copy 1\nrun_id=%s\nprocess=%" PRId64 " %" PRIu64 " %016" PRIx64                   \
    "\nrenewals=%" PRIu64 "\nis_half=%d\nwas_primary=%d\n"

static size_t print_notes(const struct rnotes *n, char text[FILE_MAX])
{
    int size = snprintf(text, FILE_MAX, FORMAT, n->run_id, (int64_t)n->pid, n->started, n->boot_id,
                        n->renewals, n->is_half, n->was_primary);

    size += snprintf(text + size, (size_t)(FILE_MAX - size), "sum=%016" PRIx64 "\n",
                     bytes_sum(text, (size_t)size));
    return (size_t)size;
}

/* What is read must be what these values would be written as: nothing more, nothing less. */
static bool parse_notes(const char *text, struct rnotes *ret)
{
    struct rnotes n = { .run_id = "" };
    char again[FILE_MAX];
    const char *id = strstr(text, "run_id=");
    const char *rest = strstr(text, "\nprocess=");
    int is_half = 0, was_primary = 0;
    int64_t pid = 0;

    if (id == NULL || rest == NULL || rest < id + 7 || (size_t)(rest - id - 7) >= sizeof n.run_id)
        return false;
    memcpy(n.run_id, id + 7, (size_t)(rest - id - 7));
    if (sscanf(rest,
               "\nprocess=%" SCNd64 " %" SCNu64 " %" SCNx64 "\nrenewals=%" SCNu64
               "\nis_half=%d\nwas_primary=%d\n",
               &pid, &n.started, &n.boot_id, &n.renewals, &is_half, &was_primary) != 6)
        return false;
    n.pid = (pid_t)pid;
    n.is_half = is_half != 0;
    n.was_primary = was_primary != 0;
    (void)print_notes(&n, again);
    if (strcmp(text, again) != 0)
        return false;
    *ret = n;
    return true;
}

enum hm_rc rnotes_load(const char *state_dir, const char *service, struct rnotes *ret,
                       struct hm_err *err)
{
    char path[PATH_BYTES], text[FILE_MAX];
    ssize_t n;
    int fd;

    memset(ret, 0, sizeof *ret);
    (void)snprintf(path, sizeof path, "%s/%s.copy", state_dir, service);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return HM_OK;
    if (fd < 0)
        return hm_fail_errno(err, "cannot open '%s'", path);
    n = read(fd, text, sizeof text - 1);
    (void)close(fd); /* opened for reading: nothing can be lost */
    if (n < 0)
        return hm_fail_errno(err, "cannot read '%s'", path);
    text[n] = 0;
    if (!parse_notes(text, ret))
        return hm_fail(err, HM_BAD_INPUT,
                       "'%s' is torn or foreign: remove it to make this copy a new one", path);
    return HM_OK;
}

enum hm_rc rnotes_save(const char *state_dir, const char *service, const struct rnotes *n,
                       struct hm_err *err)
{
    char text[FILE_MAX], name[HM_NAME_MAX + 8];
    size_t size = print_notes(n, text);
    int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum hm_rc rc;

    if (dir < 0)
        return hm_fail_errno(err, "cannot open '%s'", state_dir);
    (void)snprintf(name, sizeof name, "%s.copy", service);
    rc = store_replace(dir, name, text, size, err);
    (void)close(dir); /* opened for reading: nothing can be lost */
    return rc;
}
