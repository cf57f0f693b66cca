#include "settings/reader.h"
#include "settings/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the list of errors -------------------------------------------------------------------------
 */

static void note_line(struct reader *r, unsigned int line, char *text)
{
    if (r->errors_n == r->errors_room) {
        size_t room = 2 * r->errors_room + 16;
        struct error_line *more = reallocarray(r->error, room, sizeof *more);

        if (more == NULL) {
            r->is_out_of_memory = true;
            free(text);
            return;
        }
        r->error = more;
        r->errors_room = room;
    }
    r->error[r->errors_n] =
        (struct error_line){ .line = line, .number = r->errors_n, .text = text };
    r->errors_n++;
}

void reader_error(struct reader *r, unsigned int line, const char *format, ...)
{
    char what[SETTINGS_PATH_MAX + 256], where[16] = "", *text;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    for (char *c = what; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    if (line > 0)
        (void)snprintf(where, sizeof where, "%u:", line);
    if (asprintf(&text, "%s:%s %s", r->file, where, what) < 0)
        r->is_out_of_memory = true;
    else
        note_line(r, line, text);
}

unsigned int reader_line(const config_setting_t *group, const char *name)
{
    const config_setting_t *s = config_setting_get_member(group, name);

    return s != NULL ? config_setting_source_line(s) : config_setting_source_line(group);
}

static int compare_errors(const void *left, const void *right)
{
    const struct error_line *a = left, *b = right;

    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Moves the errors to the caller, in the order of the file, those of no line first. */
static void tell_errors(struct reader *r, struct settings_errors *ret)
{
    *ret = (struct settings_errors){ 0 };
    if (r->errors_n > 0) {
        qsort(r->error, r->errors_n, sizeof r->error[0], compare_errors);
        ret->line = calloc(r->errors_n, sizeof *ret->line);
    }
    for (size_t i = 0; i < r->errors_n; i++)
        if (ret->line != NULL)
            ret->line[ret->n++] = r->error[i].text;
        else
            free(r->error[i].text);
    free(r->error);
}

void settings_errors_done(struct settings_errors *e)
{
    for (size_t i = 0; i < e->n; i++)
        free(e->line[i]);
    free(e->line);
    *e = (struct settings_errors){ 0 };
}

/* --- groups -------------------------------------------------------------------------------------
 */

/* Where a setting of that name belongs, if it stands in the wrong place; or NULL. */
static const char *right_place(enum schema_in in, const char *name)
{
    if (in == IN_FILE &&
        (schema_find(IN_POSTGRES, name) != NULL || schema_find(IN_REDIS, name) != NULL))
        return "into a service";
    if (in == IN_FILE && schema_find(IN_MEMBER, name) != NULL)
        return "into a member";
    if (in == IN_REDIS && schema_find(IN_POSTGRES, name) != NULL)
        return "into a service of type postgres";
    if (in == IN_POSTGRES && schema_find(IN_REDIS, name) != NULL)
        return "into a service of type redis";
    if ((in == IN_MEMBER || in == IN_REDIS || in == IN_POSTGRES) &&
        schema_find(IN_FILE, name) != NULL)
        return "outside of the list";
    return NULL;
}

static void complain_of_unknown(struct reader *r, enum schema_in in, const char *list,
                                const config_setting_t *s)
{
    const char *name = config_setting_name(s), *place = right_place(in, name);
    const char *like = schema_suggest(in, name), *colon = list != NULL ? ": " : "";
    unsigned int line = config_setting_source_line(s);

    if (list == NULL)
        list = "";
    if (place != NULL)
        reader_error(r, line, "%s%sunknown setting '%s': it belongs %s", list, colon, name, place);
    else if (like != NULL)
        reader_error(r, line, "%s%sunknown setting '%s', did you mean '%s'?", list, colon, name,
                     like);
    else
        reader_error(r, line, "%s%sunknown setting '%.60s'", list, colon, name);
}

/* Takes all settings of a group but its lists. list: which list it is in, or NULL. */
static void read_group(struct reader *r, enum schema_in in, const char *list,
                       const config_setting_t *group, void *target)
{
    for (size_t i = 0; i < schema_rows; i++) {
        const struct setting *row = &schema[i];
        const config_setting_t *value;

        if (row->in != in)
            continue;
        value = config_setting_get_member(group, schema_name(row));
        if (value != NULL && row->type != TYPE_LIST)
            value_take(r, row, value, target);
        else if (value == NULL && row->preset != NULL)
            value_take_preset(row, target);
        else if (value == NULL && schema_is_required(row))
            reader_error(r, config_setting_source_line(group), "%s: missing", row->path);
    }
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned int)i);

        if (schema_find(in, config_setting_name(s)) == NULL)
            complain_of_unknown(r, in, list, s);
    }
}

/* The groups of a list, as many as there may be. */
static size_t list_length(struct reader *r, enum schema_in in, const char *name,
                          const config_setting_t *root, const config_setting_t **ret_list)
{
    const struct setting *row = schema_find(in, name);
    const config_setting_t *list = config_setting_get_member(root, name);
    char found[160];
    int n;

    *ret_list = list;
    if (list == NULL)
        return 0; /* told as missing */
    if (config_setting_type(list) != CONFIG_TYPE_LIST) {
        reader_error(r, config_setting_source_line(list), "%s: expected a list in ( ), found %s",
                     name, value_describe(list, found, sizeof found));
        return 0;
    }
    n = config_setting_length(list);
    if (n == 0)
        reader_error(r, config_setting_source_line(list), "%s: is empty", name);
    if (n > row->max)
        reader_error(r, config_setting_source_line(list), "%s: %d of them, at most %d fit", name, n,
                     (int)row->max);
    return (size_t)(n < row->max ? n : row->max);
}

/* One group of a list, or NULL, which is told. */
static const config_setting_t *list_entry(struct reader *r, const char *name,
                                          const config_setting_t *list, size_t i)
{
    const config_setting_t *entry = config_setting_get_elem(list, (unsigned int)i);
    char found[160];

    if (config_setting_type(entry) == CONFIG_TYPE_GROUP)
        return entry;
    reader_error(r, config_setting_source_line(entry), "%s: expected a group in { }, found %s",
                 name, value_describe(entry, found, sizeof found));
    return NULL;
}

/* --- hamgr.conf ---------------------------------------------------------------------------------
 */

static void read_member(struct reader *r, const config_setting_t *group, struct settings_member *m)
{
    char why[256];

    read_group(r, IN_MEMBER, "members", group, m);
    if (m->address[0] != '\0') /* else it was wrong, or missing */
        (void)value_split_address(m->address, m->host, sizeof m->host, &m->port, why, sizeof why);
}

static void read_service(struct reader *r, const config_setting_t *group,
                         struct settings_service *s)
{
    const char *type = NULL;
    bool is_redis =
        config_setting_lookup_string(group, "type", &type) && strcmp(type, "redis") == 0;

    read_group(r, schema_service(is_redis ? SERVICE_REDIS : SERVICE_POSTGRES), "services", group,
               s);
    if (!is_redis && config_setting_get_member(group, "replication_user") == NULL)
        memcpy(s->replication_user, s->user, sizeof s->replication_user);
}

/* Single values go before the set of times that `timing` names. */
static void read_timing(const config_setting_t *root, struct schema_file *f)
{
    const struct settings_timing *preset = &schema_timings[f->timing];
    struct settings_timing *t = &f->s.timing;

    if (config_setting_get_member(root, "ttl_ms") == NULL)
        t->ttl_ms = preset->ttl_ms;
    if (config_setting_get_member(root, "heartbeat_ms") == NULL)
        t->heartbeat_ms = preset->heartbeat_ms;
    if (config_setting_get_member(root, "fence_margin_ms") == NULL)
        t->fence_margin_ms = preset->fence_margin_ms;
    if (config_setting_get_member(root, "freeze_timeout_ms") == NULL)
        t->freeze_timeout_ms = preset->freeze_timeout_ms;
}

static void read_file(struct reader *r, const config_setting_t *root, struct schema_file *f)
{
    const config_setting_t *list, *entry;
    size_t n;

    read_group(r, IN_FILE, NULL, root, f);
    read_timing(root, f);
    if (f->s.lost_wal_dir[0] == '\0')
        (void)snprintf(f->s.lost_wal_dir, sizeof f->s.lost_wal_dir, "%.*s/lost",
                       SETTINGS_PATH_MAX - 6, f->s.state_dir);
    n = list_length(r, IN_FILE, "members", root, &list);
    for (size_t i = 0; i < n; i++) {
        entry = list_entry(r, "members", list, i);
        if (entry != NULL)
            read_member(r, entry, &f->s.member[i]);
        f->s.members_n++;
    }
    n = list_length(r, IN_FILE, "services", root, &list);
    for (size_t i = 0; i < n; i++) {
        f->s.service[i] = f->every;
        f->s.service[i].number = (uint8_t)i;
        entry = list_entry(r, "services", list, i);
        if (entry != NULL)
            read_service(r, entry, &f->s.service[i]);
        f->s.services_n++;
    }
    check_file(r, root, f);
    if (f->s.key_file[0] != '\0' && (r->flags & SETTINGS_WITHOUT_KEY) == 0 &&
        key_read(r, reader_line(root, "key_file"), "key_file", f->s.key_file, f->s.key))
        f->s.cluster_id = key_cluster_id(f->s.cluster, f->s.key);
}

/* --- the witness's file -------------------------------------------------------------------------
 */

static void read_cluster(struct reader *r, const config_setting_t *group,
                         struct settings_cluster *ret)
{
    struct schema_cluster c = { 0 };

    read_group(r, IN_CLUSTER, "clusters", group, &c);
    if (c.key_file[0] != '\0' && (r->flags & SETTINGS_WITHOUT_KEY) == 0 &&
        key_read(r, reader_line(group, "key_file"), "clusters.key_file", c.key_file, c.c.key))
        c.c.cluster_id = key_cluster_id(c.c.name, c.c.key);
    *ret = c.c;
    explicit_bzero(&c, sizeof c);
}

static void read_witness(struct reader *r, const config_setting_t *root, struct schema_witness *f)
{
    const config_setting_t *list, *entry;
    size_t n;

    read_group(r, IN_WITNESS, NULL, root, f);
    n = list_length(r, IN_WITNESS, "clusters", root, &list);
    if (n > 0)
        f->w.cluster = calloc(n, sizeof *f->w.cluster);
    if (n > 0 && f->w.cluster == NULL) {
        r->is_out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        entry = list_entry(r, "clusters", list, i);
        if (entry != NULL)
            read_cluster(r, entry, &f->w.cluster[i]);
        f->w.clusters_n++;
    }
    check_witness(r, root, &f->w);
}

/* --- from outside -------------------------------------------------------------------------------
 */

/* Parses the text; false: told. config_destroy() is due in any case. */
static bool parse(struct reader *r, const char *text, config_t *ret)
{
    struct text_fault fault;
    char *copy = text_for_libconfig(text, &fault);
    bool is_good = false;

    config_init(ret);
    if (copy == NULL) {
        r->is_out_of_memory = true;
    } else if (fault.line > 0) {
        reader_error(r, fault.line, "%s", fault.what);
    } else if (config_read_string(ret, copy) != CONFIG_TRUE) {
        reader_error(r, (unsigned int)config_error_line(ret), "%s", config_error_text(ret));
    } else {
        is_good = true;
    }
    free(copy);
    return is_good;
}

enum hm_rc reader_finish(struct reader *r, struct settings_errors *ret_errors)
{
    enum hm_rc rc = r->errors_n > 0 ? HM_BAD_INPUT : HM_OK;

    if (r->is_out_of_memory) {
        rc = HM_FAILED;
        reader_error(r, 0, "no memory");
    }
    tell_errors(r, ret_errors);
    return rc;
}

enum hm_rc settings_load_text(const char *text, const char *name, unsigned int flags,
                              struct settings *ret, struct settings_errors *ret_errors)
{
    struct reader r = { .file = name, .flags = flags };
    struct schema_file f = { 0 };
    enum hm_rc rc;
    config_t config;

    if (parse(&r, text, &config))
        read_file(&r, config_root_setting(&config), &f);
    config_destroy(&config);
    rc = reader_finish(&r, ret_errors);
    (void)snprintf(f.s.file, sizeof f.s.file, "%s", name);
    if (rc == HM_OK)
        *ret = f.s;
    explicit_bzero(&f, sizeof f);
    return rc;
}

enum hm_rc settings_load_witness_text(const char *text, const char *name, unsigned int flags,
                                      struct settings_witness *ret,
                                      struct settings_errors *ret_errors)
{
    struct reader r = { .file = name, .flags = flags };
    struct schema_witness f = { 0 };
    enum hm_rc rc;
    config_t config;

    if (parse(&r, text, &config))
        read_witness(&r, config_root_setting(&config), &f);
    config_destroy(&config);
    rc = reader_finish(&r, ret_errors);
    (void)snprintf(f.w.file, sizeof f.w.file, "%s", name);
    if (rc == HM_OK)
        *ret = f.w;
    else
        settings_witness_done(&f.w);
    return rc;
}

/* The file as a text; NULL: told. */
static char *read_text(const char *path, struct settings_errors *ret_errors)
{
    struct reader r = { .file = path };
    struct hm_err err;
    char *text;

    if (text_read_file(path, &text, &err) == HM_OK)
        return text;
    reader_error(&r, 0, "%s", err.text);
    tell_errors(&r, ret_errors);
    return NULL;
}

enum hm_rc settings_load(const char *path, unsigned int flags, struct settings *ret,
                         struct settings_errors *ret_errors)
{
    char *text = read_text(path, ret_errors);
    enum hm_rc rc;

    if (text == NULL)
        return HM_FAILED;
    rc = settings_load_text(text, path, flags, ret, ret_errors);
    free(text);
    return rc;
}

enum hm_rc settings_load_witness(const char *path, struct settings_witness *ret,
                                 struct settings_errors *ret_errors)
{
    char *text = read_text(path, ret_errors);
    enum hm_rc rc;

    if (text == NULL)
        return HM_FAILED;
    rc = settings_load_witness_text(text, path, 0, ret, ret_errors);
    free(text);
    return rc;
}

void settings_witness_done(struct settings_witness *w)
{
    if (w->cluster != NULL)
        explicit_bzero(w->cluster, w->clusters_n * sizeof *w->cluster);
    free(w->cluster);
    w->cluster = NULL;
    w->clusters_n = 0;
}
