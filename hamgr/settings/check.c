#include "settings/reader.h"

#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The n-th group of a list that was read; NULL: there is something else. */
static const config_setting_t *entry_of(const config_setting_t *root, const char *list, size_t i)
{
    const config_setting_t *entry =
        config_setting_get_elem(config_setting_get_member(root, list), (unsigned int)i);

    return config_setting_type(entry) == CONFIG_TYPE_GROUP ? entry : NULL;
}

/* The line of a setting in the n-th group of a list. */
static unsigned int line_in(const config_setting_t *root, const char *list, size_t i,
                            const char *name)
{
    const config_setting_t *entry = entry_of(root, list, i);

    return entry != NULL ? reader_line(entry, name) : 0;
}

/* --- times --------------------------------------------------------------------------------------
 */

/* Where the times come from: the first of these that stands in the file. */
static unsigned int timing_line(const config_setting_t *root, const char *name, const char *other)
{
    unsigned int line = reader_line(root, name);

    if (line == 0)
        line = reader_line(root, other);
    return line != 0 ? line : reader_line(root, "timing");
}

/* A value with an error is 0, and told already. */
static void check_timing(struct reader *r, const config_setting_t *root,
                         const struct settings_timing *t)
{
    if (t->ttl_ms > 0 && t->heartbeat_ms > 0 && t->ttl_ms < 3 * t->heartbeat_ms)
        reader_error(r, timing_line(root, "ttl_ms", "heartbeat_ms"),
                     "ttl_ms: %lld is less than three times heartbeat_ms (%lld)",
                     (long long)t->ttl_ms, (long long)t->heartbeat_ms);
    if (t->ttl_ms > 0 && t->fence_margin_ms > 0 && t->ttl_ms <= 3 * t->fence_margin_ms)
        reader_error(r, timing_line(root, "fence_margin_ms", "ttl_ms"),
                     "fence_margin_ms: %lld is not less than a third of ttl_ms (%lld)",
                     (long long)t->fence_margin_ms, (long long)t->ttl_ms);
}

/* --- members ------------------------------------------------------------------------------------
 */

/* What a replication slot makes of a name. */
static void slot_name(const char *name, char ret[HM_NAME_MAX])
{
    size_t i = 0;

    for (; name[i] != '\0' && i + 1 < HM_NAME_MAX; i++) {
        char c = name[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        ret[i] = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_';
    }
    ret[i] = '\0';
}

static bool is_same_host(const char *a, const char *b)
{
    struct in6_addr a6, b6;

    if (inet_pton(AF_INET6, a, &a6) == 1 && inet_pton(AF_INET6, b, &b6) == 1)
        return memcmp(&a6, &b6, sizeof a6) == 0;
    return strcasecmp(a, b) == 0;
}

/* A name is told once, even if more than two have it. */
static void check_member_name(struct reader *r, const config_setting_t *root,
                              const struct settings *s, size_t j)
{
    const struct settings_member *b = &s->member[j];
    unsigned int line = line_in(root, "members", j, "name");
    char slot_a[HM_NAME_MAX], slot_b[HM_NAME_MAX];

    if (b->name[0] == '\0')
        return;
    slot_name(b->name, slot_b);
    for (size_t i = 0; i < j; i++) {
        slot_name(s->member[i].name, slot_a);
        if (strcmp(slot_a, slot_b) != 0)
            continue;
        if (strcmp(s->member[i].name, b->name) == 0)
            reader_error(r, line, "members.name: there are two members named '%s'", b->name);
        else
            reader_error(r, line,
                         "members.name: '%s' and '%s' would have the same replication slot",
                         s->member[i].name, b->name);
        return;
    }
}

static void check_member_address(struct reader *r, const config_setting_t *root,
                                 const struct settings *s, size_t j)
{
    static const char *const any[] = { "0.0.0.0", "::" };
    const struct settings_member *b = &s->member[j];
    unsigned int line = line_in(root, "members", j, "address");

    if (b->address[0] == '\0')
        return;
    for (size_t i = 0; i < HM_ARRAY_LEN(any); i++)
        if (is_same_host(b->host, any[i])) {
            reader_error(r, line, "members.address: '%s' is not where the others reach it",
                         b->address);
            return;
        }
    for (size_t i = 0; i < j; i++)
        if (s->member[i].port == b->port && is_same_host(s->member[i].host, b->host)) {
            reader_error(r, line, "members.address: '%s' is the address of '%s' already",
                         b->address, s->member[i].name);
            return;
        }
}

enum hm_rc settings_check_member(const char *name, const char *address,
                                 const struct settings_member *member, size_t n,
                                 char ret_host[HM_ADDRESS_MAX], struct hm_err *err)
{
    char slot[HM_NAME_MAX], other[HM_NAME_MAX], host[HM_ADDRESS_MAX], why[256];
    char other_host[HM_ADDRESS_MAX];
    uint16_t port = 0, other_port = 0;

    if (name[0] == '\0' || strlen(name) >= HM_NAME_MAX)
        return hm_fail(err, HM_BAD_INPUT, "a name has 1 to %d characters", HM_NAME_MAX - 1);
    if (!value_is_name(name, why) ||
        !value_split_address(address, host, sizeof host, &port, why, sizeof why))
        return hm_fail(err, HM_BAD_INPUT, "%s", why);
    if (is_same_host(host, "0.0.0.0") || is_same_host(host, "::"))
        return hm_fail(err, HM_BAD_INPUT, "'%s' is not where the others reach it", address);
    slot_name(name, slot);
    for (size_t i = 0; i < n; i++) {
        slot_name(member[i].name, other);
        if (strcmp(member[i].name, name) == 0)
            return hm_fail(err, HM_BAD_INPUT, "there is a member named '%s' already", name);
        if (strcmp(slot, other) == 0)
            return hm_fail(err, HM_BAD_INPUT, "'%s' and '%s' would have the same replication slot",
                           name, member[i].name);
        if (value_split_address(member[i].address, other_host, sizeof other_host, &other_port, why,
                                sizeof why) &&
            other_port == port && is_same_host(other_host, host))
            return hm_fail(err, HM_BAD_INPUT, "'%s' is the address of '%s' already", address,
                           member[i].name);
    }
    if (ret_host != NULL)
        memcpy(ret_host, host, sizeof host);
    return HM_OK;
}

static void check_members(struct reader *r, const config_setting_t *root, const struct settings *s)
{
    size_t dbs = 0;

    for (size_t i = 0; i < s->members_n; i++) {
        check_member_name(r, root, s, i);
        check_member_address(r, root, s, i);
        dbs += s->member[i].role != ROLE_WITNESS; /* one with an error may be meant as db */
    }
    if (s->members_n > 0 && dbs == 0)
        reader_error(r, reader_line(root, "members"), "members: none has role = \"db\"");
}

static uint8_t find_member(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->members_n; i++)
        if (strcmp(s->member[i].name, name) == 0)
            return (uint8_t)i;
    return HM_NOBODY;
}

/* The host's name as a member has it: whole, or without the domain. */
static void find_own_name(struct settings *s)
{
    char host[256], *dot;

    if (gethostname(host, sizeof host) != 0)
        host[0] = '\0';
    host[sizeof host - 1] = '\0';
    dot = strchr(host, '.');
    if (find_member(s, host) == HM_NOBODY && dot != NULL)
        *dot = '\0';
    (void)snprintf(s->node, sizeof s->node, "%.*s", (int)sizeof s->node - 1, host);
}

static void check_node(struct reader *r, const config_setting_t *root, struct settings *s)
{
    bool is_set = config_setting_get_member(root, "node") != NULL;

    s->self = HM_NOBODY;
    if (!is_set)
        find_own_name(s);
    else if (s->node[0] == '\0')
        return; /* told already */
    s->self = s->node[0] != '\0' ? find_member(s, s->node) : HM_NOBODY;
    if (s->self != HM_NOBODY || (r->flags & SETTINGS_WITHOUT_NODE) != 0)
        return;
    if (is_set)
        reader_error(r, reader_line(root, "node"), "node: '%s' is none of the members", s->node);
    else
        reader_error(r, 0, "node: missing, and the host's name '%s' is none of the members",
                     s->node);
}

/* --- services -----------------------------------------------------------------------------------
 */

/* What two services on the same hosts cannot share. */
enum shared {
    SHARED_NAME,
    SHARED_DATA_DIR,
    SHARED_PORT,
    SHARED_UNIT,
    SHARED_CONFIG_FILE,
    SHARED_SOCKET,
    SHARED_N
};

static bool share(const struct settings_service *a, const struct settings_service *b,
                  enum shared what)
{
    switch (what) {
    case SHARED_NAME:
        return b->name[0] != '\0' && strcmp(a->name, b->name) == 0;
    case SHARED_DATA_DIR:
        return b->data_dir[0] != '\0' && strcmp(a->data_dir, b->data_dir) == 0;
    case SHARED_PORT:
        return b->port != 0 && a->port == b->port;
    case SHARED_UNIT:
        return b->unit[0] != '\0' && strcmp(a->unit, b->unit) == 0;
    case SHARED_CONFIG_FILE: /* of PostgreSQL, a file may be that of several */
        return b->kind == SERVICE_REDIS && b->config_file[0] != '\0' &&
               strcmp(a->config_file, b->config_file) == 0;
    case SHARED_SOCKET:
        return b->socket[0] != '\0' && strcmp(a->socket, b->socket) == 0;
    case SHARED_N:
        break;
    }
    return false;
}

static const char *shared_text(const struct settings_service *s, enum shared what)
{
    switch (what) {
    case SHARED_DATA_DIR:
        return s->data_dir;
    case SHARED_UNIT:
        return s->unit;
    case SHARED_CONFIG_FILE:
        return s->config_file;
    case SHARED_SOCKET:
        return s->socket;
    case SHARED_NAME:
    case SHARED_PORT:
    case SHARED_N:
        break;
    }
    return s->name;
}

static void check_shared(struct reader *r, const config_setting_t *root, const struct settings *s,
                         size_t j, enum shared what)
{
    static const char *const name[] = { "name",    "data_dir",    "port",
                                        "control", "config_file", "socket" };
    const struct settings_service *b = &s->service[j];
    unsigned int line = line_in(root, "services", j, name[what]);
    size_t i = 0;

    while (i < j && !share(&s->service[i], b, what))
        i++;
    if (i == j)
        return;
    if (what == SHARED_NAME)
        reader_error(r, line, "services.name: there are two services named '%s'", b->name);
    else if (what == SHARED_PORT)
        reader_error(r, line, "services.port: %u is that of '%s' already", (unsigned int)b->port,
                     s->service[i].name);
    else
        reader_error(r, line, "services.%s: '%s' is that of '%s' already", name[what],
                     shared_text(b, what), s->service[i].name);
}

/* strict never acknowledges without sync_standbys others, so as many must exist. */
static void check_strict(struct reader *r, const config_setting_t *root, const struct settings *s,
                         size_t i)
{
    const struct settings_service *service = &s->service[i];
    size_t others = 0;

    for (size_t m = 0; m < s->members_n; m++)
        others += s->member[m].role == ROLE_DB;
    others -= others > 0;
    if (service->durability == DURABILITY_STRICT && service->sync_standbys > others)
        reader_error(r, line_in(root, "services", i, "sync_standbys"),
                     "services.sync_standbys: '%s' is strict and wants %u, but there are %zu "
                     "other db members",
                     service->name, (unsigned int)service->sync_standbys, others);
}

static void check_services(struct reader *r, const config_setting_t *root, const struct settings *s)
{
    for (size_t i = 0; i < s->services_n; i++) {
        for (enum shared what = SHARED_NAME; what < SHARED_N; what++)
            check_shared(r, root, s, i, what);
        check_strict(r, root, s, i);
    }
}

/* A child of hamgrd has no right to open or close the gate. */
static void check_gate(struct reader *r, const config_setting_t *root, struct settings *s)
{
    if (s->fence != SETTINGS_FENCE_CHILD || !s->is_gate_on)
        return;
    if (config_setting_get_member(root, "gate") != NULL)
        reader_error(r, reader_line(root, "gate"), "gate: not possible with fence = \"child\"");
    s->is_gate_on = false;
}

/* Two cannot listen on one port; without a service of Redis nobody listens on this one. */
static void check_sentinel(struct reader *r, const config_setting_t *root, const struct settings *s)
{
    unsigned int line = reader_line(root, "sentinel_port");
    bool has_redis = false;

    if (s->sentinel_listen[0] != '\0' && !address_is_literal(s->sentinel_listen))
        reader_error(r, reader_line(root, "sentinel_listen"),
                     "sentinel_listen: '%s' is no literal address", s->sentinel_listen);
    for (size_t i = 0; i < s->services_n; i++)
        has_redis = has_redis || s->service[i].kind == SERVICE_REDIS;
    if (!has_redis || s->sentinel_port == 0)
        return;
    for (size_t i = 0; i < s->services_n; i++)
        if (s->service[i].port == s->sentinel_port)
            reader_error(r, line != 0 ? line : line_in(root, "services", i, "port"),
                         "sentinel_port: %u is the port of '%s'", s->sentinel_port,
                         s->service[i].name);
    for (size_t i = 0; i < s->members_n; i++)
        if (s->member[i].port == s->sentinel_port && s->member[i].role == ROLE_DB)
            reader_error(r, line != 0 ? line : line_in(root, "members", i, "address"),
                         "sentinel_port: %u is the port of '%s'", s->sentinel_port,
                         s->member[i].name);
}

void check_file(struct reader *r, const config_setting_t *root, struct schema_file *f)
{
    check_timing(r, root, &f->s.timing);
    check_members(r, root, &f->s);
    check_node(r, root, &f->s);
    check_services(r, root, &f->s);
    check_gate(r, root, &f->s);
    check_sentinel(r, root, &f->s);
}

/* --- the witness's file -------------------------------------------------------------------------
 */

struct named {
    const char *name;
    size_t place;
};

static int compare_named(const void *left, const void *right)
{
    const struct named *a = left, *b = right;
    int order = strcmp(a->name, b->name);

    return order != 0 ? order : a->place < b->place ? -1 : a->place > b->place;
}

void check_witness(struct reader *r, const config_setting_t *root, const struct settings_witness *w)
{
    struct named *sorted = calloc(w->clusters_n + 1, sizeof *sorted);

    if (sorted == NULL) {
        r->is_out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < w->clusters_n; i++)
        sorted[i] = (struct named){ .name = w->cluster[i].name, .place = i };
    qsort(sorted, w->clusters_n, sizeof *sorted, compare_named);
    for (size_t i = 1; i < w->clusters_n; i++)
        if (sorted[i].name[0] != '\0' && strcmp(sorted[i].name, sorted[i - 1].name) == 0)
            reader_error(r, line_in(root, "clusters", sorted[i].place, "name"),
                         "clusters.name: there are two clusters named '%s'", sorted[i].name);
    free(sorted);
}
