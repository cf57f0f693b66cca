/* orders_member.c - members are added and removed, and what a node must know that wants to join.
 *
 * A member is added only when it was reached where the others are to reach it, and when it has said
 * its incarnation on an authenticated link: so neither a wrong address nor a wrong key gets into
 * the record, and nobody has to type an incarnation. It is also asked whether it would vote: one
 * that was left behind by a forced failover never does, and would take the majority with it. */
#include "daemon/orders.h"

#include "base/clock.h"
#include "daemon/reach.h"

#include <stdlib.h>
#include <string.h>

enum { LINK_LIMIT_MS = 15000, CALL_LIMIT_MS = 30000, FIT_LIMIT_MS = 2000 };

/* --- adding -------------------------------------------------------------------------------------
 */

static bool find_role(const char *text, enum member_role *ret)
{
    static const enum member_role roles[] = { ROLE_DB, ROLE_WITNESS, ROLE_OBSERVER };

    if (text[0] == '\0')
        text = member_role_name(ROLE_DB);
    for (size_t i = 0; i < HM_ARRAY_LEN(roles); i++)
        if (strcmp(text, member_role_name(roles[i])) == 0) {
            *ret = roles[i];
            return true;
        }
    return false;
}

/* Asked for once more, for instance because another service refused it: that is no error. */
static bool is_member_already(const struct driver *driver, const struct member *wanted)
{
    const struct record *r = core_record(&driver->core);
    uint8_t slot = record_find_name(r, wanted->name);
    struct link_state link;

    if (slot == HM_NOBODY || r->member[slot].role != wanted->role ||
        strcmp(r->member[slot].address, wanted->address) != 0)
        return false;
    link_look(driver->daemon->links, wanted->name, &link);
    return link.incarnation == r->member[slot].incarnation;
}

static enum hm_rc check_new(const struct record *r, const struct member *wanted, struct hm_err *err)
{
    struct settings_member there[HM_MEMBERS_MAX];
    size_t n = 0;

    memset(there, 0, sizeof there);
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        if (r->member[slot].role == ROLE_NONE)
            continue;
        memcpy(there[n].name, r->member[slot].name, sizeof there[n].name);
        memcpy(there[n++].address, r->member[slot].address, sizeof there[0].address);
    }
    if (n == HM_MEMBERS_MAX)
        return hm_fail(err, HM_REFUSED, "the cluster has %d members, which is the most that fit",
                       HM_MEMBERS_MAX);
    return settings_check_member(wanted->name, wanted->address, there, n, NULL, err);
}

static struct daemon_order *find_waiting(struct daemon *d, uint64_t id)
{
    for (size_t i = 0; i < ORDERS_MAX; i++)
        if (d->order[i].id == id && d->order[i].added.role != ROLE_NONE)
            return &d->order[i];
    return NULL;
}

static void give_up(struct daemon_order *o, enum hm_rc rc, const char *why)
{
    struct daemon *d = o->driver->daemon;
    const struct record *r = core_record(&o->driver->core);
    char text[256], next[160];

    (void)snprintf(text, sizeof text, "%s cannot be reached at %s: %s", o->added.name,
                   o->added.address, why);
    (void)snprintf(next, sizeof next,
                   "start %s there with this cluster's name and key, and let "
                   "its port through the firewall; then again",
                   o->added.role == ROLE_WITNESS ? "hamgr-witness" : "hamgrd");
    if (r == NULL || record_find_name(r, o->added.name) == HM_NOBODY)
        link_undial(d->links, o->added.name);
    orders_end(d, o, rc, json_pack("{s:s, s:s}", "error", text, "next", next));
}

/* A member of an older version does not know the question, and need not answer it. */
static bool has_said_fit(struct daemon_order *o)
{
    struct daemon *d = o->driver->daemon;
    struct wire_frame frame = { .type = WIRE_CALL };
    json_t *request;
    char *text;

    if (o->fit_call != 0)
        return clock_boot_ms() >= o->fit_until_ms;
    o->fit_call = frame.call.id = ++d->calls;
    o->fit_until_ms = clock_boot_ms() + FIT_LIMIT_MS;
    request = json_pack("{s:s, s:s, s:I}", "command", CALL_MEMBER_FIT, "service",
                        o->driver->settings->name, CALL_CLUSTER_INCARNATION,
                        (json_int_t)core_record(&o->driver->core)->cluster_incarnation);
    text = json_dumps(request, JSON_COMPACT);
    frame.call.text = text;
    if (text != NULL)
        (void)link_send(d->links, 0, o->added.name, &frame); /* lost: the time limit answers */
    json_decref(request);
    free(text);
    return false;
}

bool orders_take_fitness(struct daemon *d, const struct link_peer *from, uint64_t call,
                         const char *text)
{
    struct daemon_order *o = NULL;
    json_t *document;

    for (size_t i = 0; i < ORDERS_MAX; i++)
        if (d->order[i].id != 0 && d->order[i].added.role != ROLE_NONE &&
            d->order[i].fit_call == call && strcmp(d->order[i].added.name, from->name) == 0)
            o = &d->order[i];
    if (o == NULL)
        return false;
    document = json_loads(text, 0, NULL);
    if (json_integer_value(json_object_get(document, "rc")) == HM_REFUSED) {
        link_undial(d->links, o->added.name);
        orders_end(d, o, HM_REFUSED, document);
        return true;
    }
    json_decref(document);
    o->fit_until_ms = 0;
    orders_look_for_member(o);
    return true;
}

void orders_say_fitness(const struct driver *driver, const struct asker *a, const json_t *request)
{
    json_int_t asked = json_integer_value(json_object_get(request, CALL_CLUSTER_INCARNATION));
    const struct record *r = core_record(&driver->core);
    struct daemon *d = driver->daemon;
    char text[128];

    if (driver->core.state != ST_STOPPED &&
        (r == NULL || asked <= (json_int_t)r->cluster_incarnation)) {
        orders_answer(d, a, HM_OK, json_object());
        return;
    }
    (void)snprintf(text, sizeof text, "%s has votes of the time before a failover was forced",
                   d->settings.node);
    orders_fail(d, a, HM_REFUSED, text,
                "on that host: systemctl stop hamgrd; move state_dir, data_dir and hamgr.conf "
                "away; hamgr join");
}

void orders_look_for_member(struct daemon_order *o)
{
    struct order order = { .kind = ORDER_MEMBER_ADD, .member = HM_NOBODY, .added = o->added };
    struct driver *driver = o->driver;
    char peer[HM_NAME_MAX];
    struct asker a = { .call = o->call, .is_own = o->is_own, .peer = peer, .peer_id = o->peer_id };
    struct link_state link;

    link_look(driver->daemon->links, o->added.name, &link);
    if (o->is_reached && link.is_up && link.incarnation != 0) {
        if (!has_said_fit(o))
            return;
        memcpy(peer, o->peer, sizeof peer); /* the same place may be taken again */
        o->id = 0;
        order.added.incarnation = link.incarnation;
        orders_give(driver, &a, &order);
    } else if (clock_boot_ms() >= o->until_ms) {
        give_up(o, HM_TIMED_OUT, link.why[0] != '\0' ? link.why : "no answer");
    }
}

void orders_note_link(struct daemon *d, const char *name)
{
    for (size_t i = 0; i < ORDERS_MAX; i++)
        if (d->order[i].id != 0 && d->order[i].added.role != ROLE_NONE &&
            strcmp(d->order[i].added.name, name) == 0)
            orders_look_for_member(&d->order[i]);
}

static void reached(void *ctx, uint64_t id, const char *why)
{
    struct daemon *d = ctx;
    struct daemon_order *o = find_waiting(d, id);

    if (o == NULL)
        return;
    if (why != NULL) {
        give_up(o, HM_FAILED, why);
        return;
    }
    o->is_reached = true;
    link_dial(d->links, o->added.name, o->added.address);
    orders_look_for_member(o);
}

void orders_add_member(struct driver *driver, const struct asker *a, const json_t *request)
{
    struct member wanted = { .role = ROLE_NONE };
    struct daemon *d = driver->daemon;
    struct daemon_order *o;
    struct hm_err err;
    enum hm_rc rc;

    (void)snprintf(wanted.name, sizeof wanted.name, "%s", orders_text(request, "name"));
    (void)snprintf(wanted.address, sizeof wanted.address, "%s", orders_text(request, "address"));
    if (!find_role(orders_text(request, "role"), &wanted.role)) {
        orders_fail(d, a, HM_BAD_INPUT, "a role is 'db', 'witness' or 'observer'", NULL);
        return;
    }
    if (is_member_already(driver, &wanted)) {
        orders_answer(d, a, HM_OK, json_pack("{s:s}", "text", "it is a member already"));
        return;
    }
    rc = check_new(core_record(&driver->core), &wanted, &err);
    if (rc != HM_OK) {
        orders_fail(d, a, HM_REFUSED, err.text,
                    "'hamgr member list' shows the members; one that is to come back anew is "
                    "removed first: hamgr member remove NAME");
        return;
    }
    o = orders_free(d);
    if (o == NULL) {
        orders_fail(d, a, HM_REFUSED, "too many orders wait for their end", "try again");
        return;
    }
    orders_begin(o, a, LINK_LIMIT_MS);
    o->id = ++d->calls;
    o->driver = driver;
    o->added = wanted;
    if (!reach(d, wanted.address, o->id, reached))
        give_up(o, HM_FAILED, "no memory");
}

/* --- removing -----------------------------------------------------------------------------------
 */

void orders_remove_member(struct driver *driver, const struct asker *a, const json_t *request)
{
    const char *name = orders_text(request, "name");
    struct order order = { .kind = ORDER_MEMBER_REMOVE };
    char text[96];

    order.member = record_find_name(core_record(&driver->core), name);
    if (order.member != HM_NOBODY) {
        orders_give(driver, a, &order);
        return;
    }
    (void)snprintf(text, sizeof text, "there is no member '%.32s'", name);
    orders_fail(driver->daemon, a, HM_BAD_INPUT, text, "'hamgr member list' shows the members");
}

/* --- the file that fits -------------------------------------------------------------------------
 */

/* Tags stand in the file only, and only in the member's own they count. */
static void copy_tags(const struct settings *file, struct settings_member *m)
{
    for (size_t i = 0; i < file->members_n; i++)
        if (strcmp(file->member[i].name, m->name) == 0) {
            m->priority = file->member[i].priority;
            m->is_nofailover = file->member[i].is_nofailover;
            memcpy(m->follow, file->member[i].follow, sizeof m->follow);
        }
}

static void take_members(const struct record *r, const struct settings *file, struct settings *s)
{
    s->members_n = 0;
    memset(s->member, 0, sizeof s->member);
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct member *from = &r->member[slot];
        struct settings_member *to = &s->member[s->members_n];

        if (from->role != ROLE_DB && from->role != ROLE_WITNESS)
            continue;
        memcpy(to->name, from->name, sizeof to->name);
        memcpy(to->address, from->address, sizeof to->address);
        to->role = from->role;
        copy_tags(file, to);
        s->members_n++;
    }
}

static char *conf_text(const struct daemon *d, const struct record *r)
{
    struct settings *s = malloc(sizeof *s);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (s != NULL && out != NULL) {
        *s = d->settings;
        if (r != NULL)
            take_members(r, &d->settings, s);
        settings_write(out, s);
        explicit_bzero(s->key, sizeof s->key);
    }
    free(s);
    if (out == NULL || fclose(out) != 0 || s == NULL) {
        free(text);
        return NULL;
    }
    return text;
}

static json_t *services_of(const struct daemon *d)
{
    json_t *list = json_array();

    for (size_t i = 0; i < d->drivers_n; i++) {
        const struct driver *driver = d->driver[i];
        const struct record *r = core_record(&driver->core);
        struct service_facts facts;

        memset(&facts, 0, sizeof facts);
        driver->type->describe(driver->service, &facts);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s*, s:s*}", "name", driver->settings->name, "holder",
                            r != NULL ? r->member[r->holder].name : NULL, "version",
                            facts.version[0] != '\0' ? facts.version : NULL));
    }
    return list;
}

json_t *orders_config(struct daemon *d)
{
    const struct record *r = d->drivers_n > 0 ? core_record(&d->driver[0]->core) : NULL;
    char *text = conf_text(d, r);
    json_t *document;

    if (text == NULL)
        return NULL;
    document = json_pack("{s:s, s:s, s:b, s:o}", "conf", text, "cluster", d->settings.cluster,
                         "has_record", r != NULL, "services", services_of(d));
    free(text);
    return document;
}

/* Asked by a node that is about to join. */
void orders_answer_config(struct daemon *d, const struct asker *a)
{
    json_t *document = orders_config(d);

    if (document == NULL)
        orders_fail(d, a, HM_FAILED, "no memory", NULL);
    else
        orders_answer(d, a, HM_OK, document);
}

bool orders_ask(struct daemon *d, const char *member, const json_t *request)
{
    const struct asker a = { .is_own = true, .peer = member };
    struct wire_frame frame = { .type = WIRE_CALL };
    struct daemon_order *o = orders_free(d);
    char *text = json_dumps(request, JSON_COMPACT);
    bool is_asked = false;

    if (o != NULL && text != NULL) {
        orders_begin(o, &a, CALL_LIMIT_MS);
        frame.call.id = ++d->calls;
        frame.call.text = text;
        is_asked = link_send(d->links, 0, member, &frame);
        o->id = is_asked ? frame.call.id : 0;
    }
    free(text);
    return is_asked;
}
