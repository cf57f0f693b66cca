/* orders_check.c - hamgr check: what the service finds about its server, and what this member knows
 * of the way to the others. */
#include "daemon/config_look.h"
#include "daemon/orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check_call {
    struct daemon *daemon;   /* borrowed */
    struct driver *driver;   /* likewise */
    struct serve_call *call; /* borrowed: it waits for the answer */
    struct service_finding file;
};

/* No memory: one row less. */
static void add(json_t *checks, const struct service_finding *f)
{
    (void)json_array_append_new(checks, json_pack("{s:s, s:b, s:s, s:s}", "name", f->name, "ok",
                                                  f->is_ok, "text", f->text, "next", f->next));
}

/* A primary that hears nobody can say by a datagram only that it gave up. */
static void look_at_datagrams(const struct link_state *link, const struct daemon_member *m,
                              struct service_finding *ret)
{
    *ret = (struct service_finding){ .is_ok = !link->lacks_datagrams };
    (void)snprintf(ret->name, sizeof ret->name, "UDP from %.38s", m->name);
    if (link->lacks_datagrams) {
        (void)snprintf(ret->text, sizeof ret->text,
                       "nothing arrives: a primary there that hears nobody is replaced later");
        (void)snprintf(
            ret->next, sizeof ret->next,
            "let UDP through to our port, the same as for TCP, in every firewall between");
    } else {
        (void)snprintf(ret->text, sizeof ret->text, "%s",
                       link->has_datagrams ? "arrives"
                       : m->role == ROLE_WITNESS
                           ? "it sends none: its own log says whether ours arrive"
                           : "not known yet: that takes three minutes of a link");
    }
}

static void add_datagrams(const struct daemon *d, json_t *checks)
{
    for (size_t i = 0; i < d->members.n; i++) {
        const struct daemon_member *m = &d->members.row[i];
        struct link_state link;
        struct service_finding f;

        if (!m->is_wanted || m->role == ROLE_OBSERVER || strcmp(m->name, d->settings.node) == 0)
            continue;
        link_look(d->links, m->name, &link);
        look_at_datagrams(&link, m, &f);
        add(checks, &f);
    }
}

static void checked(void *ctx, const struct service_finding *findings, size_t n)
{
    struct check_call *c = ctx;
    json_t *checks = json_array();

    add(checks, &c->file);
    for (size_t i = 0; i < n; i++)
        add(checks, &findings[i]);
    add_datagrams(c->daemon, checks);
    serve_answer(c->call, HM_OK, json_pack("{s:o}", "checks", checks));
    free(c);
}

/* What hamgrd would start with the next time. */
static void looked(void *ctx, const struct settings_errors *errors)
{
    struct check_call *c = ctx;
    struct service_finding *f = &c->file;

    f->is_ok = errors->n == 0;
    (void)snprintf(f->name, sizeof f->name, "hamgr.conf");
    (void)snprintf(f->text, sizeof f->text, "%s",
                   errors->n > 0 ? errors->line[0] : "sound, with the files that it names");
    if (errors->n > 0)
        (void)snprintf(f->next, sizeof f->next,
                       "mend it before hamgrd is started again; 'hamgr config check' shows all");
    c->driver->type->check(c->driver->service, checked, c);
}

void orders_check(struct daemon *d, struct serve_call *call, const json_t *request)
{
    const struct asker a = { .call = call };
    struct driver *driver = orders_driver(d, &a, request);
    struct check_call *c = driver != NULL ? calloc(1, sizeof *c) : NULL;

    if (driver == NULL)
        return;
    if (c == NULL) {
        orders_fail(d, &a, HM_FAILED, "no memory", NULL);
        return;
    }
    *c = (struct check_call){ .daemon = d, .driver = driver, .call = call };
    if (!config_look(d, looked, c))
        looked(c, &(struct settings_errors){ 0 });
}
