#include "daemon/serve_sentinel.h"

#include "base/address.h"
#include "base/clock.h"
#include "daemon/orders.h"
#include "daemon/sentinel_view.h"
#include "sentinel/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_MS = 500, PASSWORD_MAX = 512 };

struct serve_sentinel {
    struct daemon *daemon; /* borrowed */
    struct sentinel_server *server;
    struct event *timer; /* owned: members fall silent without a word */
    struct model model;
    struct sentinel_view view[HM_SERVICES_MAX]; /* by driver */
};

/* --- the snapshot -------------------------------------------------------------------------------
 */

static bool is_redis(const struct driver *driver)
{
    return driver->settings->kind == SERVICE_REDIS;
}

/* The other members that have an endpoint: those with databases, as any of the records has them. */
static void fill_sentinels(struct serve_sentinel *s, const struct core *c)
{
    const struct record *r = core_record(c);
    struct link_state link;

    for (uint8_t slot = 0; r != NULL && slot < HM_MEMBERS_MAX; slot++) {
        const struct member *m = &r->member[slot];
        struct model_sentinel *sentinel = &s->model.sentinel[s->model.sentinels_n];

        if (m->role != ROLE_DB || slot == c->self || m->incarnation == 0)
            continue;
        link_look(s->daemon->links, m->name, &link);
        sentinel_view_id(r->cluster, m->incarnation, sentinel->id);
        sentinel_view_place(m, s->daemon->settings.sentinel_port, &sentinel->at);
        sentinel->is_up = link.is_up;
        sentinel->heard_ms = link.heard_ms != 0 ? link.heard_ms : HM_NEVER;
        s->model.sentinels_n++;
    }
}

static void fill_masters(struct serve_sentinel *s, hm_ms *ret_again_ms)
{
    struct daemon *d = s->daemon;
    hm_ms again_ms;

    *ret_again_ms = HM_NEVER;
    for (size_t i = 0; i < d->drivers_n; i++) {
        const struct driver *driver = d->driver[i];
        const struct sentinel_view_service service = {
            .name = driver->settings->name,
            .port = driver->settings->port,
            .core = &driver->core,
            .is_gate_open =
                !driver->has_report || !driver->report.has_gate || driver->report.is_gate_open,
        };

        if (!is_redis(driver))
            continue;
        if (s->model.sentinels_n == 0)
            fill_sentinels(s, &driver->core);
        if (sentinel_view_look(&s->view[i], &service, s->model.now_ms,
                               &s->model.master[s->model.masters_n], &again_ms))
            s->model.masters_n++;
        *ret_again_ms = hm_min_ms(*ret_again_ms, again_ms);
    }
}

void serve_sentinel_note(struct serve_sentinel *s)
{
    struct timeval wait = { .tv_usec = LOOK_MS * 1000 };
    hm_ms again_ms;

    if (s == NULL)
        return;
    s->model.now_ms = clock_boot_ms();
    s->model.sentinels_n = s->model.masters_n = 0;
    fill_masters(s, &again_ms);
    sentinel_server_show(s->server, &s->model);
    if (again_ms < s->model.now_ms + LOOK_MS)
        wait.tv_usec = (suseconds_t)hm_max_ms(1, again_ms - s->model.now_ms) * 1000;
    (void)event_add(s->timer, &wait); /* fails only without memory: the next step looks again */
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    serve_sentinel_note(arg);
}

/* --- FAILOVER -----------------------------------------------------------------------------------
 */

static bool on_failover(void *ctx, uint64_t ticket, const char *master)
{
    struct serve_sentinel *s = ctx;
    const struct asker a = { .ticket = ticket };
    json_t *request = json_pack("{s:s, s:s}", "command", "switchover", "service", master);

    if (request == NULL)
        return false;
    orders_take(s->daemon, &a, request); /* answers in any case */
    json_decref(request);
    return true;
}

void serve_sentinel_answer(struct serve_sentinel *s, uint64_t ticket, enum hm_rc rc,
                           const json_t *document)
{
    const char *why = json_string_value(json_object_get(document, "error"));
    char text[256];

    if (s == NULL)
        return;
    if (why == NULL)
        why = hm_rc_text(rc);
    if (strcmp(why, "another order is under way") == 0)
        (void)snprintf(text, sizeof text, "INPROG Failover already in progress");
    else
        (void)snprintf(text, sizeof text, "NOGOODSLAVE No suitable replica to promote: %s", why);
    sentinel_server_answer(s->server, ticket, rc == HM_OK ? NULL : text);
}

/* --- beginning and end --------------------------------------------------------------------------
 */

/* The first line of the file; it need not end. */
static enum hm_rc read_password(const char *path, char password[PASSWORD_MAX], struct hm_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO would wait */
    enum hm_rc rc = HM_OK;
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return hm_fail_errno(err, "sentinel_password_file: cannot open '%s'", path);
    n = read(fd, password, PASSWORD_MAX - 1);
    if (fstat(fd, &st) != 0 || n < 0)
        rc = hm_fail_errno(err, "sentinel_password_file: cannot read '%s'", path);
    else if ((st.st_mode & (S_IWGRP | S_IRWXO)) != 0)
        rc = hm_fail(err, HM_BAD_INPUT,
                     "sentinel_password_file: '%s' may be used by others: run `chmod g-w,o= %s`",
                     path, path);
    else
        password[n] = '\0';
    (void)close(fd); /* it was only read */
    if (rc == HM_OK)
        password[strcspn(password, "\r\n")] = '\0';
    if (rc == HM_OK && password[0] == '\0')
        rc = hm_fail(err, HM_BAD_INPUT, "sentinel_password_file: '%s' has no password in it", path);
    return rc;
}

/* By default where the member is reached, and by those on this host. */
static void choose_addresses(const struct settings *s, struct sentinel_config *config)
{
    const char *own = s->member[s->self].host;

    if (s->sentinel_listen[0] != '\0') {
        config->listen[0] = s->sentinel_listen;
    } else if (!address_is_literal(own)) {
        config->listen[0] = "::";
    } else {
        config->listen[0] = own;
        config->listen[1] = strcmp(own, "127.0.0.1") != 0 ? "127.0.0.1" : NULL;
    }
}

static enum hm_rc open_server(struct serve_sentinel *s, struct hm_err *err)
{
    const struct settings *settings = &s->daemon->settings;
    char password[PASSWORD_MAX] = "";
    struct sentinel_config config = { .base = s->daemon->loop.base,
                                      .port = settings->sentinel_port,
                                      .clients_max = settings->sentinel_clients_max,
                                      .failover = on_failover,
                                      .ctx = s };
    enum hm_rc rc = HM_OK;

    choose_addresses(settings, &config);
    if (settings->sentinel_password_file[0] != '\0') {
        rc = read_password(settings->sentinel_password_file, password, err);
        config.password = password;
    }
    if (rc == HM_OK)
        rc = sentinel_server_new(&config, &s->server, err);
    explicit_bzero(password, sizeof password);
    return rc;
}

enum hm_rc serve_sentinel_new(struct daemon *d, struct serve_sentinel **ret, struct hm_err *err)
{
    struct serve_sentinel *s;
    bool has_redis = false;
    enum hm_rc rc;

    for (size_t i = 0; i < d->drivers_n; i++)
        has_redis = has_redis || is_redis(d->driver[i]);
    if (!has_redis || d->settings.sentinel_port == 0)
        return HM_OK;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return hm_fail(err, HM_FAILED, "no memory");
    s->daemon = d;
    sentinel_view_id(d->settings.cluster_id, d->store.incarnation, s->model.id);
    rc = open_server(s, err);
    s->timer = evtimer_new(d->loop.base, on_time, s);
    if (rc == HM_OK && s->timer == NULL)
        rc = hm_fail(err, HM_FAILED, "no memory");
    if (rc != HM_OK) {
        serve_sentinel_free(s);
        return rc;
    }
    serve_sentinel_note(s);
    *ret = s;
    return HM_OK;
}

void serve_sentinel_free(struct serve_sentinel *s)
{
    if (s == NULL)
        return;
    if (s->timer != NULL)
        event_free(s->timer);
    sentinel_server_free(s->server);
    free(s);
}

const char *serve_sentinel_trouble(const struct serve_sentinel *s)
{
    return s != NULL ? sentinel_server_trouble(s->server) : "";
}
