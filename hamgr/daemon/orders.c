/* orders.c - requests of the command line: answered here, given to the core as orders, or passed on
 * to the member that holds the service.
 *
 * Whoever took an order from a person answers it: by the core's reply, by the other member's, or by
 * a time limit. Nothing waits for ever. */
#include "daemon/orders.h"

#include "base/clock.h"

#include <string.h>

#define CALL_LIMIT_MS 120000

void orders_answer(struct daemon *d, const struct asker *a, enum hm_rc rc, json_t *document)
{
    struct wire_frame frame = { .type = WIRE_REPLY };
    char *text;

    if (a->is_own) {
        members_take_answer(d, rc, document);
        json_decref(document);
        return;
    }
    if (a->call != NULL) {
        serve_answer(a->call, rc, document);
        return;
    }
    if (a->ticket != 0) {
        serve_sentinel_answer(d->sentinel, a->ticket, rc, document);
        json_decref(document);
        return;
    }
    (void)json_object_set_new(document, "rc", json_integer((json_int_t)rc)); /* no memory: no rc */
    text = json_dumps(document, JSON_COMPACT);
    json_decref(document);
    if (text == NULL)
        return;
    frame.call.id = a->peer_id;
    frame.call.text = text;
    (void)link_send(d->links, 0, a->peer, &frame); /* lost: the asker's time limit answers */
    free(text);
}

void orders_fail(struct daemon *d, const struct asker *a, enum hm_rc rc, const char *error,
                 const char *next)
{
    orders_answer(d, a, rc, json_pack("{s:s, s:s*}", "error", error, "next", next));
}

/* --- what waits ---------------------------------------------------------------------------------
 */

struct daemon_order *orders_free(struct daemon *d)
{
    const struct timeval second = { .tv_sec = 1 };

    for (size_t i = 0; i < ORDERS_MAX; i++)
        if (d->order[i].id == 0) {
            if (!event_pending(d->order_timer, EV_TIMEOUT, NULL))
                (void)event_add(d->order_timer, &second); /* fails only without memory */
            return &d->order[i];
        }
    return NULL;
}

void orders_begin(struct daemon_order *o, const struct asker *a, hm_ms limit_ms)
{
    memset(o, 0, sizeof *o);
    o->ticket = a->ticket;
    o->call = a->call;
    o->is_own = a->is_own;
    if (a->peer != NULL)
        (void)snprintf(o->peer, sizeof o->peer, "%s", a->peer);
    o->peer_id = a->peer_id;
    o->began_ms = clock_boot_ms();
    o->until_ms = o->began_ms + limit_ms;
}

void orders_end(struct daemon *d, struct daemon_order *o, enum hm_rc rc, json_t *document)
{
    const struct asker a = { .ticket = o->ticket,
                             .call = o->call,
                             .is_own = o->is_own,
                             .peer = o->peer,
                             .peer_id = o->peer_id };

    o->id = 0;
    orders_answer(d, &a, rc, document);
}

void orders_tick(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval second = { .tv_sec = 1 };
    hm_ms now_ms = clock_boot_ms();
    struct daemon *d = arg;
    bool is_waiting = false;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < ORDERS_MAX; i++) {
        struct daemon_order *o = &d->order[i];

        if (o->id == 0)
            continue;
        if (o->added.role != ROLE_NONE)
            orders_look_for_member(o);
        if (o->id != 0 && now_ms >= o->until_ms)
            orders_end(
                d, o, HM_TIMED_OUT,
                json_pack("{s:s, s:s}", "error", "no answer in time", "next",
                          "look at 'hamgr status' and 'hamgr history': it may have happened"));
        is_waiting = is_waiting || o->id != 0;
    }
    if (is_waiting)
        (void)event_add(d->order_timer, &second); /* fails only without memory */
}

void orders_done(struct daemon *d)
{
    for (size_t i = 0; i < ORDERS_MAX; i++)
        if (d->order[i].id != 0 && d->order[i].call != NULL)
            orders_end(d, &d->order[i], HM_FAILED,
                       json_pack("{s:s, s:s}", "error", "hamgrd is stopping", "next",
                                 "look at 'hamgr status' on another member"));
}

/* --- orders to the own core ---------------------------------------------------------------------
 */

/* Above the record's newest, and above all that were given out before. */
static uint64_t new_order_id(struct driver *d)
{
    const struct record *r = core_record(&d->core);
    uint64_t id = (uint64_t)clock_wall_ms();

    if (r != NULL && r->last_order >= id)
        id = r->last_order + 1;
    if (d->last_order >= id)
        id = d->last_order + 1;
    d->last_order = id;
    return id;
}

static const char *next_step(enum hm_rc rc)
{
    if (rc == HM_REFUSED)
        return "'hamgr status' shows each member and why";
    return rc == HM_TIMED_OUT ? "'hamgr status' shows what became of it" : NULL;
}

void orders_take_reply(struct driver *driver, uint64_t order, enum hm_rc rc, const char *why)
{
    struct daemon *d = driver->daemon;
    const struct record *r = core_record(&driver->core);
    json_t *document;

    log_notice("order service=%s id=%llu rc=%s: %s", driver->settings->name,
               (unsigned long long)order, hm_rc_text(rc), why);
    for (size_t i = 0; i < ORDERS_MAX; i++) {
        struct daemon_order *o = &d->order[i];

        if (o->id != order || o->driver != driver)
            continue;
        document = rc == HM_OK ? json_pack("{s:s, s:I}", "text", why, "took_ms",
                                           (json_int_t)(clock_boot_ms() - o->began_ms))
                               : json_pack("{s:s, s:s*}", "error", why, "next", next_step(rc));
        if (rc == HM_OK && o->is_switchover && r != NULL) {
            (void)json_object_set_new(document, "from", json_string(r->member[o->from].name));
            (void)json_object_set_new(document, "to", json_string(r->member[r->holder].name));
            (void)json_object_set_new(document, "epoch", json_integer((json_int_t)r->epoch));
        }
        orders_end(d, o, rc, document);
        return;
    }
}

void orders_give(struct driver *driver, const struct asker *a, struct order *order)
{
    struct daemon *d = driver->daemon;
    struct core_event ev = { .type = ON_ORDER };
    struct daemon_order *o = orders_free(d);

    if (o == NULL) {
        orders_fail(d, a, HM_REFUSED, "too many orders wait for their end", "try again");
        return;
    }
    orders_begin(o, a, CALL_LIMIT_MS);
    o->id = order->id = new_order_id(driver);
    o->driver = driver;
    o->is_switchover = order->kind == ORDER_SWITCHOVER;
    o->from = driver->core.self < HM_MEMBERS_MAX ? driver->core.self : 0;
    ev.order = *order;
    driver_feed(driver, &ev);
}

/* --- requests -----------------------------------------------------------------------------------
 */

const char *orders_text(const json_t *request, const char *key)
{
    const char *text = json_string_value(json_object_get(request, key));

    return text != NULL ? text : "";
}

struct driver *orders_driver(struct daemon *d, const struct asker *a, const json_t *request)
{
    const char *name = orders_text(request, "service");
    char text[128];

    if (name[0] == '\0' && d->drivers_n == 1)
        return d->driver[0];
    for (size_t i = 0; i < d->drivers_n; i++)
        if (strcmp(d->driver[i]->settings->name, name) == 0)
            return d->driver[i];
    if (name[0] == '\0')
        (void)snprintf(text, sizeof text, "there are %zu services: name one", d->drivers_n);
    else
        (void)snprintf(text, sizeof text, "there is no service '%.32s'", name);
    orders_fail(d, a, HM_BAD_INPUT, text, "'hamgr status' lists the services: --service NAME");
    return NULL;
}

void orders_pass_on(struct driver *driver, const struct asker *a, const json_t *request,
                    uint8_t leader)
{
    struct daemon *d = driver->daemon;
    struct wire_frame frame = { .type = WIRE_CALL };
    struct daemon_order *o;
    const char *name;
    char *text;

    if (leader == HM_NOBODY) {
        bool is_paused =
            core_record(&driver->core) != NULL && core_record(&driver->core)->is_paused;

        orders_fail(d, a, HM_NO_QUORUM,
                    is_paused ? "the service is paused, and its primary is not there"
                              : "no member holds the lease now",
                    is_paused ? "bring the primary back; if it is lost for good: 'hamgr failover "
                                "--force' on the member that is to go on"
                              : "'hamgr status' shows each member and why");
        return;
    }
    name = core_record(&driver->core)->member[leader].name;
    if (a->call == NULL && a->ticket == 0) { /* passed on once already: not in a circle */
        orders_answer(d, a, HM_REFUSED,
                      json_pack("{s:s, s:s, s:s}", "error", "another member leads", "next",
                                "try again", "leader", name));
        return;
    }
    o = orders_free(d);
    text = json_dumps(request, JSON_COMPACT);
    if (o == NULL || text == NULL) {
        orders_fail(d, a, HM_FAILED, "too many orders wait for their end", "try again");
    } else {
        orders_begin(o, a, CALL_LIMIT_MS);
        o->id = ++d->calls;
        (void)snprintf(o->peer, sizeof o->peer, "%s", name);
        frame.call.id = o->id;
        frame.call.text = text;
        if (!link_send(d->links, 0, name, &frame))
            orders_end(d, o, HM_FAILED,
                       json_pack("{s:s, s:s}", "error",
                                 "the member that it concerns cannot be reached", "next",
                                 "run the command there"));
    }
    free(text);
}

static void take_switchover(struct driver *driver, const struct asker *a, const json_t *request)
{
    const struct record *r = core_record(&driver->core);
    const char *to = orders_text(request, "to");
    struct order order = { .kind = ORDER_SWITCHOVER, .member = HM_NOBODY };
    char text[96];

    if (to[0] != '\0') {
        order.member = record_find_name(r, to);
        if (order.member == HM_NOBODY || r->member[order.member].role != ROLE_DB) {
            (void)snprintf(text, sizeof text, "'%.32s' is no db member", to);
            orders_fail(driver->daemon, a, HM_BAD_INPUT, text,
                        "'hamgr member list' shows the members");
            return;
        }
    }
    if (json_is_true(json_object_get(request, "dry_run")))
        orders_look_before(driver, a, order.member);
    else
        orders_give(driver, a, &order);
}

uint8_t orders_leader(const struct core *c)
{
    const struct record *r = core_record(c);
    uint8_t leader = core_leader(c);

    if (leader == c->self)
        return leader;
    return r != NULL && c->state == ST_FOLLOWING ? r->holder : HM_NOBODY;
}

/* Going on alone is an administrator's decision; so is taking the server down for it. */
static void refuse_needed(struct driver *driver, const struct asker *a)
{
    const struct settings_service *s = driver->settings;
    const struct record *r = core_record(&driver->core);
    const char *primary = r->member[r->holder].name;
    char next[800];

    (void)snprintf(
        next, sizeof next,
        "wait for another standby; if none will come, on %s: 'systemctl stop hamgrd', stop "
        "the server%s%s, wait until 'hamgr status' on %s %s, empty '%s', 'systemctl start "
        "hamgrd': it is cloned, and until it streams commits %s",
        driver->daemon->settings.node, s->unit[0] != '\0' ? " with systemctl stop " : "", s->unit,
        primary,
        r->goal == DURABILITY_STRICT ? "says that commits wait" : "says that no standby is in sync",
        s->data_dir, r->goal == DURABILITY_STRICT ? "wait" : "are on the primary alone");
    orders_fail(driver->daemon, a, HM_REFUSED,
                "without this copy too few standbys would have what is committed", next);
}

/* Each member makes its own copy anew. */
static void take_rebuild(struct driver *driver, const struct asker *a, const json_t *request)
{
    const struct record *r = core_record(&driver->core);
    const char *name = orders_text(request, "to");
    struct order order = { .kind = ORDER_REBUILD, .member = HM_NOBODY };
    uint8_t slot = r != NULL ? record_find_name(r, name) : HM_NOBODY;
    char text[96];

    if (slot == HM_NOBODY || r->member[slot].role != ROLE_DB) {
        (void)snprintf(text, sizeof text, "'%.32s' is no db member", name);
        orders_fail(driver->daemon, a, HM_BAD_INPUT, text, "'hamgr member list' shows the members");
    } else if (driver->core.state == ST_STOPPED) {
        orders_fail(driver->daemon, a, HM_REFUSED, "the cluster was forced on without this member",
                    "systemctl stop hamgrd; move state_dir, data_dir and hamgr.conf away; hamgr "
                    "join ADDRESS");
    } else if (slot == driver->core.self && core_copy_is_needed(&driver->core)) {
        refuse_needed(driver, a);
    } else if (slot == driver->core.self) {
        orders_give(driver, a, &order);
    } else {
        orders_pass_on(driver, a, request, slot);
    }
}

void orders_take(struct daemon *d, const struct asker *a, const json_t *request)
{
    const char *command = orders_text(request, "command");
    struct driver *driver = orders_driver(d, a, request);
    struct order order = { .member = HM_NOBODY };
    uint8_t leader;

    if (driver == NULL)
        return;
    if (strcmp(command, "rebuild") == 0) {
        take_rebuild(driver, a, request);
        return;
    }
    leader = orders_leader(&driver->core);
    if (leader == HM_NOBODY || leader != driver->core.self) {
        orders_pass_on(driver, a, request, leader);
        return;
    }
    if (strcmp(command, "switchover") == 0) {
        take_switchover(driver, a, request);
        return;
    }
    if (strcmp(command, "member_add") == 0) {
        orders_add_member(driver, a, request);
        return;
    }
    if (strcmp(command, "member_remove") == 0) {
        orders_remove_member(driver, a, request);
        return;
    }
    order.kind = strcmp(command, "pause") == 0 ? ORDER_PAUSE : ORDER_RESUME;
    orders_give(driver, a, &order);
}

static bool is_order(const char *command)
{
    return strcmp(command, "switchover") == 0 || strcmp(command, "pause") == 0 ||
           strcmp(command, "resume") == 0 || strcmp(command, "rebuild") == 0 ||
           strcmp(command, "member_add") == 0 || strcmp(command, "member_remove") == 0;
}

static json_t *look(struct daemon *d, const char *command, const char *service)
{
    struct report *r = calloc(1, sizeof *r);
    json_t *document = NULL;

    if (r == NULL)
        return NULL;
    daemon_fill_report(d, r);
    if (strcmp(command, "status") == 0)
        document = report_status(r, service);
    else if (strcmp(command, "history") == 0)
        document = report_history(r, service);
    else if (strcmp(command, "members") == 0)
        document = report_members(r);
    else if (strcmp(command, "config") == 0)
        document = orders_config(d);
    else if (strcmp(command, "ping") == 0 || strcmp(command, "version") == 0)
        document =
            json_pack("{s:s, s:s}", "node", d->settings.node, "software", "hamgr " HAMGR_VERSION);
    free(r);
    return document;
}

static void explain(struct daemon *d, struct serve_call *call, const json_t *request)
{
    struct report *r = calloc(1, sizeof *r);
    json_t *document = NULL;
    struct ctl_request asked;
    struct hm_err err;
    enum hm_rc rc;

    if (r == NULL) {
        serve_fail(call, HM_FAILED, "hamgrd has no memory left", NULL);
        return;
    }
    ctl_read(request, &asked);
    daemon_fill_report(d, r);
    rc = report_explain(r, &asked, &document, &err);
    free(r);
    if (rc != HM_OK)
        serve_fail(call, rc, err.text, "'hamgr member list' and 'hamgr status' show the names");
    else
        serve_answer(call, HM_OK, document);
}

void orders_take_request(void *ctx, struct serve_call *call, const json_t *request)
{
    const char *command = orders_text(request, "command");
    const struct asker a = { .call = call };
    struct daemon *d = ctx;
    json_t *document;

    if (is_order(command)) {
        log_notice("request command=%s service=%s", command, orders_text(request, "service"));
        orders_take(d, &a, request);
        return;
    }
    if (strcmp(command, "failover") == 0) {
        orders_force(d, &a, request);
        return;
    }
    if (strcmp(command, "explain") == 0) {
        explain(d, call, request);
        return;
    }
    if (strcmp(command, "check") == 0) {
        orders_check(d, call, request);
        return;
    }
    document = look(d, command, orders_text(request, "service"));
    if (document != NULL)
        serve_answer(call, HM_OK, document);
    else
        serve_fail(call, HM_BAD_INPUT, "hamgrd does not know this command",
                   "hamgr and hamgrd may be of different versions: 'hamgr version'");
}

/* --- between members ----------------------------------------------------------------------------
 */

static void take_call(struct daemon *d, const struct link_peer *from, const struct wire_frame *f)
{
    const struct asker a = { .peer = from->name, .peer_id = f->call.id };
    json_t *request = json_loads(f->call.text, 0, NULL);

    if (json_is_object(request) && is_order(orders_text(request, "command"))) {
        log_notice("request command=%s from=%s", orders_text(request, "command"), from->name);
        orders_take(d, &a, request);
    } else if (json_is_object(request) &&
               strcmp(orders_text(request, "command"), "failover") == 0) {
        log_notice("request command=failover from=%s", from->name);
        orders_take_force(d, &a, request);
    } else if (json_is_object(request) &&
               strcmp(orders_text(request, "command"), CALL_MEMBER_FIT) == 0) {
        struct driver *driver = orders_driver(d, &a, request);

        if (driver != NULL)
            orders_say_fitness(driver, &a, request);
    } else if (json_is_object(request) && strcmp(orders_text(request, "command"), "config") == 0) {
        orders_answer_config(d, &a);
    } else
        orders_fail(d, &a, HM_BAD_INPUT, "the request is malformed", NULL);
    json_decref(request);
}

static void take_answer(struct daemon *d, const struct link_peer *from, const struct wire_frame *f)
{
    json_t *document;
    json_int_t rc;

    if (orders_take_fitness(d, from, f->call.id, f->call.text))
        return;
    for (size_t i = 0; i < ORDERS_MAX; i++) {
        struct daemon_order *o = &d->order[i];

        if (o->id != f->call.id || o->driver != NULL || strcmp(o->peer, from->name) != 0)
            continue;
        document = json_loads(f->call.text, 0, NULL);
        rc = json_integer_value(json_object_get(document, "rc"));
        if (!json_is_object(document) || rc < 0 || rc >= HM_RC_COUNT) {
            json_decref(document);
            document = json_pack("{s:s}", "error", "the other member's answer is malformed");
            rc = HM_FAILED;
        }
        orders_end(d, o, (enum hm_rc)rc, document);
        return;
    }
}

void orders_take_frame(struct daemon *d, const struct link_peer *from,
                       const struct wire_frame *frame)
{
    if (frame->type == WIRE_CALL)
        take_call(d, from, frame);
    else
        take_answer(d, from, frame);
}
