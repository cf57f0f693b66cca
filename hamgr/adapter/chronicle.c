#include "adapter/chronicle.h"

#include "adapter/store.h"
#include "adapter/worker.h"
#include "base/bytes.h"
#include "settings/settings.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD "hamgr history 1\n"

enum { LINE_MAX_BYTES = CHRONICLE_TEXT + 64, FILE_BYTES = (CHRONICLE_MAX + 2) * LINE_MAX_BYTES };

struct lines {
    struct chronicle_line line[CHRONICLE_MAX];
    size_t n;
};

struct chronicle {
    struct worker_job job; /* first, so that a job is its chronicle */
    struct worker *worker; /* owned */
    char dir[SETTINGS_PATH_MAX];
    char name[HM_NAME_MAX + 16];
    struct lines now;
    struct lines writing; /* the job's */
    bool is_out;          /* the job */
    bool is_saved;   /* the job's: if not, it is tried again with the next line, or at the end */
    bool is_changed; /* since it began */
};

/* --- the file ----------------------------------------------------------------------------------
 */

/* Blocks. False: it is not on the disk. */
static bool save(const char *dir, const char *name, const struct lines *l)
{
    char *text = malloc(FILE_BYTES);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_saved = false;
    size_t n;

    if (text != NULL && fd >= 0) {
        n = (size_t)snprintf(text, FILE_BYTES, HEAD);
        for (size_t i = 0; i < l->n; i++)
            n += (size_t)snprintf(text + n, FILE_BYTES - n, "%" PRId64 " %" PRId64 " %u %s\n",
                                  l->line[i].first_ms, l->line[i].last_ms, l->line[i].times,
                                  l->line[i].text);
        n += (size_t)snprintf(text + n, FILE_BYTES - n, "sum=%016" PRIx64 "\n", bytes_sum(text, n));
        is_saved = store_replace(fd, name, text, n, NULL) == HM_OK;
    }
    free(text);
    if (fd >= 0)
        (void)close(fd); /* opened for reading: nothing can be lost */
    return is_saved;
}

static bool read_line(char *at, struct chronicle_line *ret)
{
    uint64_t number[3];

    for (size_t i = 0; i < HM_ARRAY_LEN(number); i++) {
        char *end;

        number[i] = strtoull(at, &end, 10);
        if (end == at || *end != ' ' || number[i] > INT64_MAX)
            return false;
        at = end + 1;
    }
    *ret = (struct chronicle_line){ .first_ms = (hm_ms)number[0],
                                    .last_ms = (hm_ms)number[1],
                                    .times = (unsigned int)number[2] };
    (void)snprintf(ret->text, sizeof ret->text, "%s", at);
    return true;
}

static bool parse(char *text, size_t size, struct lines *ret)
{
    const size_t sum_size = strlen("sum=0123456789abcdef\n");
    char *at = text + strlen(HEAD), *end, sum[32];

    ret->n = 0;
    if (size < strlen(HEAD) + sum_size || strncmp(text, HEAD, strlen(HEAD)) != 0)
        return false;
    (void)snprintf(sum, sizeof sum, "sum=%016" PRIx64 "\n", bytes_sum(text, size - sum_size));
    if (strcmp(sum, text + size - sum_size) != 0)
        return false;
    text[size - sum_size] = '\0';
    for (; *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        if (end == NULL || ret->n == CHRONICLE_MAX)
            return false;
        *end = '\0';
        if (!read_line(at, &ret->line[ret->n]))
            return false;
        ret->n++;
    }
    return true;
}

/* False: there is one, and it cannot be read. */
static bool load(const char *dir, const char *name, struct lines *ret)
{
    char path[SETTINGS_PATH_MAX + HM_NAME_MAX + 16];
    char *text = calloc(1, FILE_BYTES + 1);
    bool is_good = true;
    size_t size = 0;
    FILE *file;

    ret->n = 0;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    file = text != NULL ? fopen(path, "re") : NULL;
    if (file != NULL) {
        size = fread(text, 1, FILE_BYTES, file);
        is_good = ferror(file) == 0 && parse(text, size, ret);
        (void)fclose(file); /* opened for reading: nothing can be lost */
    }
    if (!is_good)
        ret->n = 0;
    free(text);
    return is_good;
}

/* --- writing -----------------------------------------------------------------------------------
 */

static void run(struct worker_job *job)
{
    struct chronicle *c = (struct chronicle *)job;

    c->is_saved = save(c->dir, c->name, &c->writing);
}

static void done(struct worker_job *job);

static void begin(struct chronicle *c)
{
    c->is_out = true;
    c->is_changed = false;
    c->writing = c->now;
    c->job.run = run;
    c->job.done = done;
    worker_add(c->worker, &c->job);
}

static void done(struct worker_job *job)
{
    struct chronicle *c = (struct chronicle *)job;

    c->is_out = false;
    if (c->is_changed)
        begin(c);
}

void chronicle_note(struct chronicle *c, hm_ms wall_ms, const char *text)
{
    struct chronicle_line line = { .first_ms = wall_ms, .last_ms = wall_ms, .times = 1 };
    struct chronicle_line *last;

    if (c == NULL)
        return;
    (void)snprintf(line.text, sizeof line.text, "%s", text);
    for (char *at = line.text; *at != '\0'; at++)
        if (*at == '\n')
            *at = ' ';
    last = c->now.n > 0 ? &c->now.line[c->now.n - 1] : NULL;
    if (last != NULL && strcmp(last->text, line.text) == 0) {
        last->last_ms = wall_ms;
        last->times++;
    } else {
        if (c->now.n == CHRONICLE_MAX)
            memmove(&c->now.line[0], &c->now.line[1], --c->now.n * sizeof c->now.line[0]);
        c->now.line[c->now.n++] = line;
    }
    c->is_changed = true;
    if (!c->is_out)
        begin(c);
}

const struct chronicle_line *chronicle_lines(const struct chronicle *c, size_t *ret_n)
{
    *ret_n = c != NULL ? c->now.n : 0;
    return c != NULL ? c->now.line : NULL;
}

/* --- the door ----------------------------------------------------------------------------------
 */

enum hm_rc chronicle_open(struct event_base *base, const char *state_dir, const char *service,
                          struct chronicle **ret, bool *ret_is_damaged, struct hm_err *err)
{
    struct chronicle *c = calloc(1, sizeof *c);
    enum hm_rc rc;

    if (c == NULL)
        return hm_fail(err, HM_FAILED, "no memory for the history");
    (void)snprintf(c->dir, sizeof c->dir, "%s", state_dir);
    (void)snprintf(c->name, sizeof c->name, "%s.history", service);
    rc = worker_new(base, "hamgr-history", &c->worker, err);
    if (rc != HM_OK) {
        free(c);
        return rc;
    }
    c->is_saved = true;
    *ret_is_damaged = !load(c->dir, c->name, &c->now);
    *ret = c;
    return HM_OK;
}

void chronicle_close(struct chronicle *c)
{
    if (c == NULL)
        return;
    worker_free(c->worker);
    if (c->is_out || c->is_changed || !c->is_saved)
        (void)save(c->dir, c->name, &c->now); /* history only: nothing depends on it */
    free(c);
}
