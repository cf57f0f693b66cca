/* settings_file.h - settings for tests: texts made from a good one, key files, and what loading
 * them says. */
#ifndef TESTS_UNIT_SETTINGS_FILE_H
#define TESTS_UNIT_SETTINGS_FILE_H

#include "settings/settings.h"
#include "tests/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NO_FILES = SETTINGS_WITHOUT_NODE | SETTINGS_WITHOUT_KEY };

/* A good file, in pieces; each stands in its own lines. */
#define TOP_LINES "cluster = \"shop\";\nkey_file = \"/etc/hamgr/cluster.key\";\n" /* 1, 2 */
#define MEMBER_LINES                                                              /* 3 to 6 */     \
    "members = ( { name = \"db1\"; address = \"10.0.0.11:7420\"; role = \"db\"; },\n"              \
    "            { name = \"db2\"; address = \"10.0.0.12:7420\"; role = \"db\"; },\n"              \
    "            { name = \"w1\";  address = \"10.0.0.20:7420\"; role = \"witness\"; }\n"          \
    ");\n"
#define SERVICE_LINES /* 7 */                                                                      \
    "services = ( { type = \"postgres\"; name = \"pg\"; data_dir = \"/data/pg\"; } );\n"
#define GOOD TOP_LINES MEMBER_LINES SERVICE_LINES

static inline void files_write(const char *path, const char *text)
{
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

/* All errors, a line each, in a static text. */
static inline const char *files_told(struct settings_errors *e)
{
    static char told[32768];
    size_t used = 0;

    told[0] = '\0';
    for (size_t i = 0; i < e->n; i++)
        used += (size_t)snprintf(told + used, sizeof told - used, "%s\n", e->line[i]);
    assert_true(used < sizeof told);
    settings_errors_done(e);
    return told;
}

/* What loading the text as "f" says; *ret has what it gives. */
static inline const char *load_as(const char *text, unsigned int flags, struct settings *ret)
{
    struct settings_errors e;
    struct settings s;
    enum hm_rc rc;

    memset(&s, 0x55, sizeof s);
    rc = settings_load_text(text, "f", flags, &s, &e);
    assert_int_equal(rc, e.n == 0 ? HM_OK : HM_BAD_INPUT);
    if (rc != HM_OK) /* then nothing of it was touched */
        for (size_t i = 0; i < sizeof s; i++)
            assert_int_equal(((const unsigned char *)&s)[i], 0x55);
    if (ret != NULL)
        *ret = s;
    return files_told(&e);
}

static inline const char *load_told(const char *text)
{
    return load_as(text, NO_FILES, NULL);
}

static inline struct settings load_good(const char *text)
{
    struct settings s;

    assert_string_equal(load_as(text, NO_FILES, &s), "");
    return s;
}

#endif
