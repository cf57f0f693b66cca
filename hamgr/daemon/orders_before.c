/* orders_before.c - `hamgr switchover --dry-run`: looked at beforehand. */
#include "daemon/orders.h"

static void add_check(json_t *checks, const char *name, bool is_ok, const char *text)
{
    (void)json_array_append_new(
        checks, json_pack("{s:s, s:b, s:s}", "name", name, "ok", is_ok, "text", text));
}

static bool check_successor(const struct driver *driver, uint8_t slot, json_t *checks)
{
    const struct core *c = &driver->core;
    const struct record *r = core_record(c);
    const char *name = r->member[slot].name;
    const struct gossip *g = view_recent(&c->view, slot, c->now_ms - 2 * r->heartbeat_ms);
    uint64_t lag;
    char text[160];
    bool is_ok;

    if (g == NULL) {
        (void)snprintf(text, sizeof text, "%s is not heard", name);
        add_check(checks, name, false, text);
        return false;
    }
    lag = c->copy.at.offset > g->at.offset ? c->copy.at.offset - g->at.offset : 0;
    is_ok = g->copy == COPY_STANDBY && g->is_healthy && g->is_streaming && g->follows == c->self &&
            !g->is_nofailover && !g->wants_rebuild;
    (void)snprintf(text, sizeof text, "%s: %s%s%s%s%s, %llu bytes behind", name,
                   copy_state_name(g->copy), g->is_healthy ? "" : ", not healthy",
                   g->is_streaming && g->follows == c->self ? ", streaming" : ", not streaming",
                   g->is_delayed      ? ", delayed"
                   : g->is_nofailover ? ", nofailover"
                                      : "",
                   g->wants_rebuild ? ", diverged" : "", (unsigned long long)lag);
    add_check(checks, name, is_ok, text);
    return is_ok;
}

void orders_look_before(struct driver *driver, const struct asker *a, uint8_t to)
{
    const struct core *c = &driver->core;
    const struct record *r = core_record(c);
    json_t *checks = json_array();
    unsigned fit = 0;
    json_t *document;

    if (to == c->self)
        add_check(checks, r->member[to].name, false, "it is the primary already");
    add_check(checks, "not paused", !r->is_paused,
              r->is_paused ? "the cluster is paused: resume it first"
                           : "the cluster is not paused");
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (slot != c->self && r->member[slot].role == ROLE_DB && (to == HM_NOBODY || to == slot))
            fit += check_successor(driver, slot, checks);
    document = json_pack("{s:o, s:b}", "checks", checks, "would_be_done", fit > 0 && !r->is_paused);
    if (fit == 0 || r->is_paused) {
        (void)json_object_set_new(document, "error",
                                  json_string("the switchover would be refused"));
        orders_answer(driver->daemon, a, HM_REFUSED, document);
    } else
        orders_answer(driver->daemon, a, HM_OK, document);
}
