#include "settings/schema.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { WIDTH = 78 };

/* --- the example files --------------------------------------------------------------------------
 */

/* Sentences as comments, broken between words. */
static void print_comment(FILE *out, int indent, const char *text)
{
    size_t used = (size_t)indent + 1;

    (void)fprintf(out, "%*s#", indent, "");
    while (*text != '\0') {
        size_t n = strcspn(text, " ");

        if (used + 1 + n > WIDTH) {
            (void)fprintf(out, "\n%*s#", indent, "");
            used = (size_t)indent + 1;
        }
        (void)fprintf(out, " %.*s", (int)n, text);
        used += 1 + n;
        text += n + strspn(text + n, " ");
    }
    (void)fputc('\n', out);
}

static bool is_quoted(const struct setting *row, const char *value)
{
    if (row->type == TYPE_NUMBER || row->type == TYPE_BOOL)
        return false;
    return row->type != TYPE_SIZE || value[strspn(value, "0123456789")] != '\0';
}

/* Settings without a default, and those whose default is not what most want, are not commented
 * out. */
static void print_setting(FILE *out, int indent, const struct setting *row)
{
    bool is_shown = row->example != NULL && row->otherwise == NULL;
    const char *value = row->example != NULL ? row->example : row->preset;
    const char *quote = is_quoted(row, value) ? "\"" : "";

    print_comment(out, indent, row->help);
    if (row->otherwise != NULL)
        (void)fprintf(out, "%*s# Default: %s.\n", indent, "", row->otherwise);
    else if (is_shown && row->preset != NULL && strcmp(row->preset, row->example) != 0)
        (void)fprintf(out, "%*s# Default: \"%s\".\n", indent, "", row->preset);
    (void)fprintf(out, "%*s%s%s = %s%s%s;\n", indent, "", is_shown ? "" : "#", schema_name(row),
                  quote, value, quote);
}

/* An entry of a list that shows everything. */
static void print_entry(FILE *out, enum schema_in in)
{
    const char *between = "";

    (void)fputs("    {\n", out);
    for (size_t i = 0; i < schema_rows; i++)
        if (schema[i].in == in) {
            (void)fputs(between, out);
            between = "\n";
            print_setting(out, 8, &schema[i]);
        }
    (void)fputs("    }", out);
}

/* A list with one entry of each form that shows everything, and more in short. */
static void print_list(FILE *out, const struct setting *row, const char *more)
{
    print_comment(out, 0, row->help);
    (void)fprintf(out, "%s = (\n", row->path);
    print_entry(out, schema_entries(row));
    if (schema_entries(row) == IN_POSTGRES) {
        (void)fputs(",\n", out);
        print_entry(out, IN_REDIS);
    }
    (void)fprintf(out, "%s\n);\n", more);
}

static void print_file(FILE *out, enum schema_in in, const char *members)
{
    for (size_t i = 0; i < schema_rows; i++) {
        const struct setting *row = &schema[i];

        if (row->in != in)
            continue;
        (void)fputc('\n', out);
        if (row->type == TYPE_LIST)
            print_list(out, row, schema_entries(row) == IN_MEMBER ? members : "");
        else
            print_setting(out, 0, row);
    }
}

void settings_print_example(FILE *out)
{
    (void)fputs(
        "# /etc/hamgr/hamgr.conf - one cluster; all but `node` is the same on every member.\n"
        "#\n"
        "# A line like \"#priority = 0;\" shows a default. After a change:\n"
        "#     hamgr config check\n"
        "# and restart hamgrd, which leaves the databases alone.\n",
        out);
    print_file(out, IN_FILE,
               ",\n"
               "    { name = \"db2\"; address = \"10.0.0.12:7420\"; role = \"db\"; },\n"
               "    { name = \"w1\";  address = \"10.0.0.20:7420\"; role = \"witness\"; }");
}

void settings_print_witness_example(FILE *out)
{
    (void)fputs(
        "# /etc/hamgr/witness.conf - a witness: it votes in many clusters and has no data.\n"
        "#\n"
        "# A line like \"#listen = ...;\" shows a default. After a change:\n"
        "#     hamgr-witness --check\n"
        "#     systemctl reload hamgr-witness    (clusters that are new in the file)\n"
        "#     systemctl restart hamgr-witness   (everything else)\n",
        out);
    print_file(out, IN_WITNESS, "");
}

/* --- docs/settings.md ---------------------------------------------------------------------------
 */

static void print_value(FILE *out, const struct setting *row)
{
    switch (row->type) {
    case TYPE_NAME:
        (void)fprintf(out, "a name of at most %zu characters", row->size - 1);
        break;
    case TYPE_TEXT:
        (void)fputs("a text", out);
        break;
    case TYPE_PATH:
        (void)fputs("a path from `/` on", out);
        break;
    case TYPE_ADDRESS:
        (void)fputs("`HOST:PORT`", out);
        break;
    case TYPE_NUMBER:
        (void)fprintf(out, "%" PRId64 " to %" PRId64, row->min, row->max);
        break;
    case TYPE_SIZE:
        (void)fputs("bytes, or like `\"16MB\"`", out);
        break;
    case TYPE_BOOL:
        (void)fputs("`true` or `false`", out);
        break;
    case TYPE_CHOICE:
        for (const struct schema_choice *c = row->choices; c->text != NULL; c++)
            (void)fprintf(out, "%s`%s`", c == row->choices ? "" : ", ", c->text);
        break;
    case TYPE_CONTROL:
        (void)fprintf(out, "`%s`, `systemd:UNIT`", row->preset);
        break;
    case TYPE_LIST:
        (void)fprintf(out, "a list of 1 to %" PRId64, row->max);
        break;
    }
}

static void print_table(FILE *out, enum schema_in in, const char *title, const char *intro)
{
    (void)fprintf(out,
                  "\n## %s\n\n%s\n\n| setting | value | default | meaning |\n|---|---|---|---|\n",
                  title, intro);
    for (size_t i = 0; i < schema_rows; i++) {
        const struct setting *row = &schema[i];

        if (row->in != in)
            continue;
        (void)fprintf(out, "| `%s`%s | ", schema_name(row),
                      row->change == CHANGES_NOTHING_LATER ? " *" : "");
        print_value(out, row);
        if (row->preset != NULL)
            (void)fprintf(out, " | `%s`", row->preset);
        else
            (void)fprintf(out, " | %s", row->otherwise != NULL ? row->otherwise : "**required**");
        (void)fprintf(out, " | %s |\n", row->help);
    }
}

void settings_print_manual(FILE *out)
{
    (void)fputs(
        "# Settings\n"
        "\n"
        "Made from `hamgr/settings/schema.c` by `make golden`; the files in `conf/` show the\n"
        "same as examples. A file that has an error is not used at all: `hamgr config check`,\n"
        "for a witness `hamgr-witness --check`, names all errors with their lines. A changed\n"
        "file counts after the daemon's restart, which leaves the databases alone.\n"
        "\n"
        "Settings with a * are what a new cluster begins with. From then on the cluster's\n"
        "record says what counts, and a changed file changes nothing.\n",
        out);
    print_table(out, IN_FILE, "/etc/hamgr/hamgr.conf", "On every host with databases.");
    print_table(out, IN_MEMBER, "members", "Each entry of the list `members`.");
    print_table(out, IN_POSTGRES, "services: PostgreSQL",
                "Each entry of the list `services` with `type = \"postgres\"`.");
    print_table(out, IN_REDIS, "services: Redis",
                "Each entry of the list `services` with `type = \"redis\"`, which is for Redis 6.2 "
                "and later and\n"
                "for Valkey. There may be several, also on the same hosts.");
    print_table(out, IN_WITNESS, "/etc/hamgr/witness.conf",
                "On the host of a witness. A reload serves the clusters that are new in the file;\n"
                "everything else counts after a restart, which the clusters do not notice.");
    print_table(out, IN_CLUSTER, "clusters", "Each entry of the witness's list `clusters`.");
}
