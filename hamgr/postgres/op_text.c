/* op_text.c - the texts that operations hand to PostgreSQL and its programs. */
#include "postgres/op.h"

#include "adapter/store.h"
#include "base/address.h"
#include "postgres/datadir.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void postgres_tell_history(const struct service_config *config, const char *format, ...)
{
    char text[200];
    va_list args;

    if (config->host.note == NULL)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* cut at the end at worst */
    va_end(args);
    config->host.note(config->host.ctx, text);
}

const char *op_member_name(const struct op *op, uint8_t slot)
{
    const struct record *r = &op->s->record;

    return slot < HM_MEMBERS_MAX && r->member[slot].role != ROLE_NONE ? r->member[slot].name : "?";
}

/* The HOST of HOST:PORT or [HOST]:PORT. */
/* With E'' only where it is needed; right whatever standard_conforming_strings says. */
void sql_quote(char *buffer, size_t size, const char *value)
{
    const char *prefix = strchr(value, '\\') != NULL ? "E'" : "'";
    size_t n = strlen(prefix);

    HM_BUG_ON(size < 4 + 2 * strlen(value));
    memcpy(buffer, prefix, n);
    for (; *value != 0; value++) {
        if (*value == '\'' || *value == '\\')
            buffer[n++] = *value;
        buffer[n++] = *value;
    }
    buffer[n++] = '\'';
    buffer[n] = 0;
}

void conninfo_add(char *buffer, size_t size, const char *key, const char *value)
{
    size_t n = strlen(buffer);

    HM_BUG_ON(n + strlen(key) + 2 * strlen(value) + 5 > size);
    n += (size_t)sprintf(buffer + n, "%s%s='", n > 0 ? " " : "", key); /* measured above */
    for (; *value != 0; value++) {
        if (*value == '\'' || *value == '\\')
            buffer[n++] = '\\';
        buffer[n++] = *value;
    }
    buffer[n++] = '\'';
    buffer[n] = 0;
}

/* A connection that broke without a word is given up within about the time of a lease. */
static void add_patience(const struct op *op, char *buffer, size_t size)
{
    hm_ms ttl_ms = op->s->config.settings->timing.ttl_ms;
    hm_ms silence_ms = hm_max_ms(ttl_ms, 1000);
    char number[24];

    conninfo_add(buffer, size, "connect_timeout", "2");
    conninfo_add(buffer, size, "keepalives_idle", "1");
    conninfo_add(buffer, size, "keepalives_interval", "1");
    (void)snprintf(number, sizeof number, "%lld", (long long)((silence_ms + 999) / 1000));
    conninfo_add(buffer, size, "keepalives_count", number);
    (void)snprintf(number, sizeof number, "%lld", (long long)silence_ms * 2);
    conninfo_add(buffer, size, "tcp_user_timeout", number);
}

bool op_conninfo(const struct op *op, bool has_hostaddr, char *buffer, size_t size)
{
    const struct settings_service *service = op->s->config.service;
    char host[HM_ADDRESS_MAX], port[8];

    buffer[0] = 0;
    if (!record_host(&op->s->record, op->e.copy.member, host))
        return false;
    (void)snprintf(port, sizeof port, "%u", service->port);
    conninfo_add(buffer, size, "host", host);
    if (has_hostaddr)
        conninfo_add(buffer, size, "hostaddr", op->hostaddr);
    conninfo_add(buffer, size, "port", port);
    conninfo_add(buffer, size, "user", service->replication_user);
    if (service->passfile[0] != 0)
        conninfo_add(buffer, size, "passfile", service->passfile);
    add_patience(op, buffer, size);
    return true;
}

bool read_lsn(const char *text, uint64_t *ret)
{
    unsigned int high, low;
    char rest;

    if (sscanf(text, "%X/%X%c", &high, &low, &rest) != 2)
        return false;
    *ret = (uint64_t)high << 32 | low;
    return true;
}

void print_lsn(char *buffer, size_t size, uint64_t lsn)
{
    (void)snprintf(buffer, size, "%X/%X", (unsigned int)(lsn >> 32),
                   (unsigned int)(lsn & 0xffffffffu));
}

/* --- names of hosts ----------------------------------------------------------------------------
 */

static enum hm_rc resolve(struct op_job *job, struct hm_err *err)
{
    struct addrinfo wanted = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    int number = getaddrinfo(job->path[0], NULL, &wanted, &found);

    if (number != 0)
        return hm_fail(err, HM_FAILED,
                       "the name '%s' has no address (%s): look at DNS or /etc/hosts", job->path[0],
                       gai_strerror(number));
    number = getnameinfo(found->ai_addr, found->ai_addrlen, job->text, sizeof job->text, NULL, 0,
                         NI_NUMERICHOST);
    freeaddrinfo(found);
    if (number != 0)
        return hm_fail(err, HM_FAILED, "the address of '%s' cannot be printed", job->path[0]);
    return HM_OK;
}

/* A worker of its own: a resolver that hangs must not hold up a promotion. */
static void resolved(struct op *op)
{
    (void)snprintf(op->hostaddr, sizeof op->hostaddr, "%.*s", HM_ADDRESS_MAX - 1, op->text);
    op->after_work(op);
}

void op_resolve(struct op *op, op_step *then)
{
    struct service *s = op->s;
    char host[HM_ADDRESS_MAX];
    struct op_job *job;
    struct hm_err err;

    if (!record_host(&op->s->record, op->e.copy.member, host)) {
        op_fail(op, "the record has no address of member %u", op->e.copy.member);
        return;
    }
    if (address_is_literal(host)) {
        (void)snprintf(op->hostaddr, sizeof op->hostaddr, "%s", host);
        then(op);
        return;
    }
    if (s->resolver == NULL &&
        worker_new(s->config.base, "pg-names", &s->resolver, &err) != HM_OK) {
        op_fail(op, "%s", err.text);
        return;
    }
    job = op_new_job(op, resolve);
    (void)snprintf(job->path[0], sizeof job->path[0], "%s", host);
    op->after_work = then;
    op_run_job_in(op, s->resolver, job, resolved);
}

/* --- programs ----------------------------------------------------------------------------------
 */

static bool has_program(const char *dir, size_t n, const char *program)
{
    char path[OP_PATH_MAX];

    (void)snprintf(path, sizeof path, "%.*s/%s", (int)n, dir, program);
    return access(path, X_OK) == 0;
}

bool op_find_programs(struct op *op, int version)
{
    const char *own = op->s->config.service->bin_dir;
    const char *path = getenv("PATH");

    if (own[0] != 0) {
        (void)snprintf(op->bin_dir, sizeof op->bin_dir, "%s", own);
        return has_program(own, strlen(own), "postgres");
    }
    for (int v = version > 0 ? version : 30; v >= (version > 0 ? version : 13); v--) {
        (void)snprintf(op->bin_dir, sizeof op->bin_dir, "/usr/lib/postgresql/%d/bin", v);
        if (has_program(op->bin_dir, strlen(op->bin_dir), "postgres"))
            return true;
    }
    while (path != NULL && *path != 0) {
        size_t n = strcspn(path, ":");

        (void)snprintf(op->bin_dir, sizeof op->bin_dir, "%.*s", (int)n, path);
        if (n > 0 && has_program(path, n, "postgres"))
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

#define SERVER_LOG_MAX (8 << 20)

uint64_t op_server_log(const struct op *op, char path[OP_PATH_MAX])
{
    char aside[OP_PATH_MAX];
    struct stat st = { .st_size = 0 };

    (void)snprintf(path, OP_PATH_MAX, "%s.hamgr-server.log", op->s->config.service->data_dir);
    (void)snprintf(aside, sizeof aside, "%s.hamgr-server.log.1", op->s->config.service->data_dir);
    if (lstat(path, &st) != 0 || (st.st_size > SERVER_LOG_MAX && rename(path, aside) == 0))
        return 0;
    return (uint64_t)st.st_size; /* if it cannot be renamed, it goes on growing, as any log does */
}

#define REASON_WINDOW 16384

/* Where the message of a line that ended a server begins, or NULL. */
static const char *reason_in(const char *line)
{
    const char *fatal = strstr(line, "FATAL:"), *panic = strstr(line, "PANIC:");

    return panic != NULL && (fatal == NULL || panic < fatal) ? panic : fatal;
}

/* "FATAL:  could not ..." with one blank. */
static void copy_reason(const char *from, char *to, size_t size)
{
    size_t n = 0;

    for (; *from != 0 && n + 1 < size; from++)
        if (*from != ' ' || n == 0 || to[n - 1] != ' ')
            to[n++] = *from;
    to[n] = 0;
}

enum hm_rc op_read_reason(struct op_job *job, struct hm_err *err)
{
    char text[REASON_WINDOW + 1], *rest = NULL;
    int fd = open(job->path[0], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    off_t from = (off_t)job->number, end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t n;

    (void)err; /* without a reason the failure is told all the same */
    job->text[0] = 0;
    if (fd < 0)
        return HM_OK;
    if (end - from > REASON_WINDOW)
        from = end - REASON_WINDOW;
    n = pread(fd, text, REASON_WINDOW, from);
    (void)close(fd); /* opened for reading */
    text[n > 0 ? n : 0] = 0;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        if (reason_in(line) != NULL)
            copy_reason(reason_in(line), job->text, OP_REASON_MAX);
    return HM_OK;
}

/* --- files -------------------------------------------------------------------------------------
 */

/* Splits path[0] into an open directory and a name in it. */
static enum hm_rc open_parent(char *path, int *ret_dir, const char **ret_name, struct hm_err *err)
{
    char *slash = strrchr(path, '/');

    HM_BUG_ON(slash == NULL);
    *slash = 0;
    *ret_name = slash + 1;
    *ret_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_dir >= 0 ? HM_OK : hm_fail_errno(err, "cannot open '%s'", path);
}

enum hm_rc op_save_text(struct op_job *job, struct hm_err *err)
{
    const char *name;
    int dir;
    enum hm_rc rc = open_parent(job->path[0], &dir, &name, err);

    if (rc != HM_OK)
        return rc;
    rc = store_replace(dir, name, job->text, strlen(job->text), err);
    (void)close(dir); /* opened for reading */
    return rc;
}

enum hm_rc op_load_text(struct op_job *job, struct hm_err *err)
{
    const char *name;
    char *text = NULL;
    int dir;
    enum hm_rc rc = open_parent(job->path[0], &dir, &name, err);

    if (rc != HM_OK)
        return rc;
    rc = datadir_read(dir, name, sizeof job->text - 1, &text, err);
    (void)close(dir); /* opened for reading */
    if (rc == HM_OK)
        (void)snprintf(job->text, sizeof job->text, "%s", text != NULL ? text : "");
    free(text);
    return rc;
}
