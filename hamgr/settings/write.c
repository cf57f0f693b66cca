/* write.c - settings as a file again: what a node needs that is to join, and what `hamgr config
 * show` prints. Only what is not the default is written, so that the file stays readable. */
#include "settings/schema.h"

#include <inttypes.h>
#include <string.h>

static int64_t number_of(const struct setting *row, const void *field)
{
    int16_t number16;
    int32_t number32;
    int64_t number64;
    uint8_t number8;

    switch (row->size) {
    case sizeof number8:
        memcpy(&number8, field, sizeof number8);
        return number8;
    case sizeof number16:
        memcpy(&number16, field, sizeof number16);
        return row->min < 0 ? number16 : (uint16_t)number16; /* a port, or a priority */
    case sizeof number32:
        memcpy(&number32, field, sizeof number32);
        return number32;
    default:
        HM_BUG_ON(row->size != sizeof number64);
        memcpy(&number64, field, sizeof number64);
        return number64;
    }
}

static bool is_text(enum schema_type type)
{
    return type == TYPE_NAME || type == TYPE_TEXT || type == TYPE_PATH || type == TYPE_ADDRESS;
}

static const char *choice_of(const struct setting *row, const void *field)
{
    int64_t number = number_of(row, field);

    for (const struct schema_choice *c = row->choices; c->text != NULL; c++)
        if (c->value == number)
            return c->text;
    return "";
}

/* The value as it would stand in the file, without quotes. */
static void value_text(const struct setting *row, const void *group, char *text, size_t size)
{
    const void *field = (const char *)group + row->offset;
    const struct settings_service *service = group;

    if (is_text(row->type))
        (void)snprintf(text, size, "%s", (const char *)field);
    else if (row->type == TYPE_BOOL)
        (void)snprintf(text, size, "%s", *(const bool *)field ? "true" : "false");
    else if (row->type == TYPE_CHOICE)
        (void)snprintf(text, size, "%s", choice_of(row, field));
    else if (row->type == TYPE_CONTROL)
        (void)snprintf(text, size, "%s%s",
                       service->control == CONTROL_SYSTEMD ? "systemd:" : row->preset,
                       service->control == CONTROL_SYSTEMD ? service->unit : "");
    else
        (void)snprintf(text, size, "%" PRId64, number_of(row, field));
}

/* A default is left out; so is what was not given and has none. */
static bool is_to_write(const struct setting *row, const void *group, const char *text)
{
    const void *field = (const char *)group + row->offset;

    if (text[0] == '\0')
        return false;
    if (row->type == TYPE_SIZE && row->preset != NULL)
        return true; /* "16MB" and the number of its bytes are the same */
    if (row->preset != NULL)
        return strcmp(text, row->preset) != 0;
    if (row->otherwise != NULL && (row->type == TYPE_NUMBER || row->type == TYPE_SIZE))
        return number_of(row, field) >= row->min;
    return true;
}

static void write_value(FILE *out, const char *before, const struct setting *row, const char *text)
{
    bool has_quotes = row->type != TYPE_NUMBER && row->type != TYPE_SIZE && row->type != TYPE_BOOL;
    bool is_long = row->type == TYPE_SIZE && strlen(text) > 9;

    (void)fprintf(out, "%s%s = %s", before, schema_name(row), has_quotes ? "\"" : "");
    for (const char *c = text; *c != '\0'; c++) {
        if (has_quotes && (*c == '"' || *c == '\\'))
            (void)fputc('\\', out);
        (void)fputc(*c, out);
    }
    (void)fprintf(out, "%s;", has_quotes ? "\"" : is_long ? "L" : "");
}

static void write_group(FILE *out, enum schema_in in, const void *group)
{
    const char *before = "    { ";
    char text[SETTINGS_PATH_MAX + 16];

    for (size_t i = 0; i < schema_rows; i++) {
        if (schema[i].in != in)
            continue;
        value_text(&schema[i], group, text, sizeof text);
        if (!is_to_write(&schema[i], group, text))
            continue;
        write_value(out, before, &schema[i], text);
        before = in == IN_MEMBER ? " " : "\n      ";
    }
    (void)fputs(" }", out);
}

/* The four times that a set names. */
static bool is_set(const struct settings_timing *t, enum schema_timing timing)
{
    const struct settings_timing *set = &schema_timings[timing];

    return t->ttl_ms == set->ttl_ms && t->heartbeat_ms == set->heartbeat_ms &&
           t->fence_margin_ms == set->fence_margin_ms &&
           t->freeze_timeout_ms == set->freeze_timeout_ms;
}

static bool is_of_a_set(const struct setting *row)
{
    static const char *const names[] = { "ttl_ms", "heartbeat_ms", "fence_margin_ms",
                                         "freeze_timeout_ms" };

    for (size_t i = 0; i < HM_ARRAY_LEN(names); i++)
        if (strcmp(row->path, names[i]) == 0)
            return true;
    return false;
}

static void write_list(FILE *out, const struct setting *row, const struct settings *s)
{
    bool is_members = schema_entries(row) == IN_MEMBER;
    size_t n = is_members ? s->members_n : s->services_n;

    (void)fprintf(out, "%s = (\n", row->path);
    for (size_t i = 0; i < n; i++) {
        if (is_members)
            write_group(out, IN_MEMBER, &s->member[i]);
        else
            write_group(out, schema_service(s->service[i].kind), &s->service[i]);
        (void)fputs(i + 1 < n ? ",\n" : "\n", out);
    }
    (void)fputs(");\n", out);
}

static void write_row(FILE *out, const struct setting *row, const struct schema_file *f,
                      bool has_set)
{
    char text[SETTINGS_PATH_MAX + 16];
    /* What services have unless they say otherwise: each of them says it. */
    bool is_for_services =
        row->offset >= offsetof(struct schema_file, every) && row->type != TYPE_LIST;

    if (row->type == TYPE_LIST) {
        write_list(out, row, &f->s);
        return;
    }
    if (is_for_services || (has_set && is_of_a_set(row)))
        return;
    value_text(row, f, text, sizeof text);
    if (!is_to_write(row, f, text))
        return;
    write_value(out, "", row, text);
    (void)fputc('\n', out);
}

void settings_write(FILE *out, const struct settings *s)
{
    static const enum schema_timing sets[] = { TIMING_DEFAULT, TIMING_LAN, TIMING_WAN };
    struct schema_file f = { .s = *s };
    bool has_set = false;

    for (size_t i = 0; i < HM_ARRAY_LEN(sets) && !has_set; i++) {
        has_set = is_set(&s->timing, sets[i]);
        f.timing = has_set ? sets[i] : TIMING_DEFAULT;
    }
    for (size_t i = 0; i < schema_rows; i++)
        if (schema[i].in == IN_FILE)
            write_row(out, &schema[i], &f, has_set);
    explicit_bzero(f.s.key, sizeof f.s.key);
}
