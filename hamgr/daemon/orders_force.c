/* orders_force.c - hamgr failover --force: first what it would mean, then, with the cluster's name,
 * the order. Without a majority this member goes on alone; where one lives the data of this member
 * go on in a new epoch, and the member that holds the lease takes the order. */
#include "daemon/orders.h"

#include "core/explain.h"

#include <string.h>

static json_t *look(struct daemon *d, const struct driver *driver, const char **ret_why)
{
    struct report *r = calloc(1, sizeof *r);
    json_t *document = NULL;

    if (r == NULL)
        return NULL;
    daemon_fill_report(d, r);
    for (size_t i = 0; i < r->services_n && document == NULL; i++)
        if (r->service[i].core == &driver->core)
            document = report_force(r, &r->service[i], ret_why);
    free(r);
    return document;
}

static bool is_in_cluster(const json_t *meaning)
{
    return json_is_true(json_object_get(meaning, "keeps_members"));
}

/* `to` is typed with the cluster's name where the others stay: what was told must still be so. */
static bool is_as_told(const struct daemon *d, const json_t *request, const json_t *meaning)
{
    const char *to = orders_text(request, "to");

    return is_in_cluster(meaning) ? strcmp(to, d->settings.node) == 0 : to[0] == '\0';
}

static void give(struct driver *driver, const struct asker *a, const json_t *request, bool keeps)
{
    struct order order = { .kind = ORDER_FORCE, .member = HM_NOBODY };
    uint8_t leader = orders_leader(&driver->core);

    log_notice("failover forced by an operator service=%s members=%s", driver->settings->name,
               keeps ? "stay" : "left");
    if (keeps && leader != HM_NOBODY && leader != driver->core.self) {
        orders_pass_on(driver, a, request, leader);
        return;
    }
    if (keeps) {
        order.kind = ORDER_KEEP;
        order.member = driver->core.self;
    }
    orders_give(driver, a, &order);
}

void orders_force(struct daemon *d, const struct asker *a, const json_t *request)
{
    struct driver *driver = orders_driver(d, a, request);
    const char *typed = orders_text(request, "cluster"), *why = NULL;
    json_t *meaning;
    bool keeps, is_as_it_was;

    if (driver == NULL)
        return;
    meaning = look(d, driver, &why);
    if (meaning != NULL && why == NULL && typed[0] == '\0') {
        orders_answer(d, a, HM_OK, meaning);
        return;
    }
    keeps = is_in_cluster(meaning);
    is_as_it_was = is_as_told(d, request, meaning);
    json_decref(meaning);
    if (meaning == NULL)
        orders_fail(d, a, HM_FAILED, "hamgrd has no memory left", NULL);
    else if (why != NULL)
        orders_fail(d, a, HM_REFUSED, why, "'hamgr explain' shows each member and why");
    else if (strcmp(typed, d->settings.cluster) != 0)
        orders_fail(d, a, HM_REFUSED, "that is not the name of this cluster: nothing was done",
                    NULL);
    else if (!is_as_it_was)
        orders_fail(d, a, HM_REFUSED, "the cluster is not as it was: nothing was done",
                    "run it again, it says what it would mean now");
    else
        give(driver, a, request, keeps);
}

void orders_take_force(struct daemon *d, const struct asker *a, const json_t *request)
{
    struct driver *driver = orders_driver(d, a, request);
    struct order order = { .kind = ORDER_KEEP, .member = HM_NOBODY };
    const struct record *r;

    if (driver == NULL)
        return;
    r = core_record(&driver->core);
    if (r != NULL)
        order.member = record_find_name(r, orders_text(request, "to"));
    if (order.member == HM_NOBODY || core_leader(&driver->core) != driver->core.self)
        orders_fail(d, a, HM_REFUSED, "this member does not hold the lease", "try again");
    else
        orders_give(driver, a, &order);
}
