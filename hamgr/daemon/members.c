/* members.c - who the members are: links, the gate and our HELLO follow the records.
 *
 * The file is how a node finds its first peers. Once this member knows a record, that is the truth:
 * whoever it names is dialled where it says, and whoever it does not name any more is not. With
 * several services it is what all their records name together, for they change one after the
 * other. Nothing has to be kept for it: the records are in the voters' files. */
#include "daemon/daemon.h"

#include "base/address.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ROUND_MS = 1000, LOST_ROUNDS = 3 };

/* --- who is wanted ------------------------------------------------------------------------------
 */

static struct daemon_member *find(struct daemon_members *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->row[i].name, name) == 0)
            return &m->row[i];
    return NULL;
}

static void want(struct daemon *d, const char *name, const char *address, enum member_role role)
{
    struct daemon_members *m = &d->members;
    struct daemon_member *row = find(m, name);

    if (strcmp(name, d->settings.node) == 0 || (row != NULL && row->is_wanted))
        return;
    if (row == NULL && m->n == DAEMON_MEMBERS_MAX)
        return; /* as many as all records can have, twice */
    if (row == NULL) {
        row = &m->row[m->n++];
        memset(row, 0, sizeof *row);
        (void)snprintf(row->name, sizeof row->name, "%s", name);
    }
    (void)snprintf(row->address, sizeof row->address, "%s", address);
    row->role = role;
    row->is_wanted = true;
}

static void want_those_of(struct daemon *d, const struct record *r)
{
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (r->member[slot].role != ROLE_NONE)
            want(d, r->member[slot].name, r->member[slot].address, r->member[slot].role);
}

static bool has_record(const struct daemon *d)
{
    for (size_t i = 0; i < d->drivers_n; i++)
        if (core_record(&d->driver[i]->core) != NULL)
            return true;
    return false;
}

static void want_all(struct daemon *d)
{
    for (size_t i = 0; i < d->members.n; i++)
        d->members.row[i].is_wanted = false;
    for (size_t i = 0; i < d->drivers_n; i++)
        if (core_record(&d->driver[i]->core) != NULL)
            want_those_of(d, core_record(&d->driver[i]->core));
    if (!has_record(d))
        for (size_t i = 0; i < d->settings.members_n; i++)
            want(d, d->settings.member[i].name, d->settings.member[i].address,
                 d->settings.member[i].role);
}

/* --- links --------------------------------------------------------------------------------------
 */

/* A witness dials nobody; of two databases the one whose name comes first dials. But whoever has no
 * record may be unknown to the others, and whoever is not heard may have an old one. */
static bool is_to_dial(const struct daemon *d, const struct daemon_member *row)
{
    if (row->role == ROLE_OBSERVER)
        return false; /* it comes to us */
    return row->role == ROLE_WITNESS || strcmp(d->settings.node, row->name) < 0 ||
           row->silent_rounds >= LOST_ROUNDS || !has_record(d);
}

static void dial(struct daemon *d)
{
    struct daemon_members *m = &d->members;

    for (size_t i = 0; i < m->n; i++) {
        struct daemon_member *row = &m->row[i];

        if (row->is_wanted && (row->is_dialled || is_to_dial(d, row))) {
            row->is_dialled = true;
            link_dial(d->links, row->name, row->address);
        } else if (row->is_wanted && row->role == ROLE_DB) {
            link_tell_address(d->links, row->name, row->address);
        } else if (!row->is_wanted) {
            log_notice("no member any more: name=%s", row->name);
            link_undial(d->links, row->name);
            *row = m->row[--m->n];
            i--;
        }
    }
}

/* --- the gate -----------------------------------------------------------------------------------
 */

/* The helper's own list is that of the file; it keeps ours until it ends. */
void members_tell_fence(struct daemon *d)
{
    struct fence_request request = { .verb = FENCE_VERB_PEERS };
    size_t n = 0;

    if (!has_record(d) || d->drivers_n == 0 || d->driver[0]->fence == NULL)
        return;
    for (size_t i = 0; i < d->members.n && n < HM_MEMBERS_MAX; i++)
        n += address_host(d->members.row[i].address, request.peers[n]);
    (void)ad_fence_ask(d->driver[0]->fence, &request); /* not there: told when it comes */
}

/* --- our HELLO ----------------------------------------------------------------------------------
 */

static void fill_hello(struct daemon *d)
{
    for (size_t i = 0; i < d->drivers_n; i++)
        d->hello_service[i].first.epoch = d->is_joining || core_record(&d->driver[i]->core) != NULL;
}

void members_note(struct daemon *d)
{
    struct daemon_members before = d->members;

    if (d->links == NULL || d->drivers_n < d->settings.services_n)
        return; /* still beginning */
    fill_hello(d);
    want_all(d);
    dial(d);
    if (memcmp(&before, &d->members, sizeof before) != 0)
        members_tell_fence(d);
}

/* --- joining ------------------------------------------------------------------------------------
 */

static void joining_path(const struct daemon *d, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/" DAEMON_JOINING_FILE, d->settings.state_dir);
}

void members_begin(struct daemon *d)
{
    char path[SETTINGS_PATH_MAX + 16];

    joining_path(d, path, sizeof path);
    d->is_joining = access(path, F_OK) == 0;
    if (d->is_joining)
        log_notice("joining cluster=%s: asks to be added", d->settings.cluster);
}

static bool is_member_of(const struct driver *driver)
{
    return core_record(&driver->core) != NULL && driver->core.self != HM_NOBODY;
}

static void end_joining(struct daemon *d)
{
    char path[SETTINGS_PATH_MAX + 16];

    d->is_joining = false;
    d->join_why[0] = '\0';
    joining_path(d, path, sizeof path);
    if (unlink(path) != 0)
        log_warn("cannot remove '%s'", path); /* asked again at the next start: it is a member */
    log_notice("joined cluster=%s", d->settings.cluster);
}

/* Another one each time, unless an answer said who leads. */
static const char *next_to_ask(struct daemon *d)
{
    struct link_state link;

    for (size_t i = 0; i < d->members.n; i++) {
        const struct daemon_member *row = &d->members.row[d->join_next++ % d->members.n];

        link_look(d->links, row->name, &link);
        if (row->role == ROLE_DB && link.is_up)
            return row->name;
    }
    return NULL;
}

static void ask_to_be_added(struct daemon *d)
{
    const struct settings_member *self = &d->settings.member[d->settings.self];
    const char *to = d->join_leader[0] != '\0' ? d->join_leader : next_to_ask(d);
    const struct driver *driver = NULL;
    json_t *request;

    for (size_t i = 0; i < d->drivers_n && driver == NULL; i++)
        if (!is_member_of(d->driver[i]))
            driver = d->driver[i];
    if (driver == NULL) {
        end_joining(d);
        return;
    }
    if (to == NULL) {
        (void)snprintf(d->join_why, sizeof d->join_why, "no database member is linked");
        return;
    }
    request = json_pack("{s:s, s:s, s:s, s:s, s:s}", "command", "member_add", "service",
                        driver->settings->name, "name", self->name, "address", self->address,
                        "role", "db");
    d->is_join_asked = orders_ask(d, to, request);
    d->join_leader[0] = '\0';
    json_decref(request);
}

void members_take_answer(struct daemon *d, enum hm_rc rc, const json_t *document)
{
    const char *error = json_string_value(json_object_get(document, "error"));
    const char *leader = json_string_value(json_object_get(document, "leader"));

    d->is_join_asked = false;
    (void)snprintf(d->join_leader, sizeof d->join_leader, "%s", leader != NULL ? leader : "");
    if (rc == HM_OK) {
        d->join_why[0] = '\0';
        return;
    }
    if (leader != NULL)
        return; /* asked there in the next round */
    (void)snprintf(d->join_why, sizeof d->join_why, "%s", error != NULL ? error : "no answer");
    log_warn("not added cluster=%s: %s", d->settings.cluster, d->join_why);
}

/* --- rounds -------------------------------------------------------------------------------------
 */

static void on_round(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval round = { .tv_sec = ROUND_MS / 1000 };
    struct daemon *d = arg;
    struct link_state link;

    (void)fd;
    (void)what;
    (void)event_add(d->members.timer, &round); /* it was added before */
    for (size_t i = 0; i < d->members.n; i++) {
        struct daemon_member *row = &d->members.row[i];

        link_look(d->links, row->name, &link);
        row->silent_rounds =
            link.is_up ? 0 : row->silent_rounds + (row->silent_rounds < LOST_ROUNDS);
    }
    dial(d);
    if (d->is_joining && !d->is_join_asked)
        ask_to_be_added(d);
}

enum hm_rc members_new(struct daemon *d, struct hm_err *err)
{
    const struct timeval round = { .tv_sec = ROUND_MS / 1000 };

    d->members.timer = evtimer_new(d->loop.base, on_round, d);
    if (d->members.timer == NULL || event_add(d->members.timer, &round) != 0)
        return hm_fail(err, HM_FAILED, "cannot make a timer");
    members_note(d);
    return HM_OK;
}

void members_free(struct daemon *d)
{
    if (d->members.timer != NULL)
        event_free(d->members.timer);
    d->members.timer = NULL;
}
