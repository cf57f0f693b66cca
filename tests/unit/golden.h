/* golden.h - what is printed must be what stands in tests/golden; run with GOLDEN=write to take it
 * as it is, and look at the difference. Tests run in the root of the sources. */
#ifndef TESTS_UNIT_GOLDEN_H
#define TESTS_UNIT_GOLDEN_H

#include "tests/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void golden_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline void golden_is(const char *name, const char *text)
{
    static char expected[65536];
    const char *mode = getenv("GOLDEN");
    char path[200];
    FILE *f;

    (void)snprintf(path, sizeof path, "tests/golden/%s", name);
    if (mode != NULL && strcmp(mode, "write") == 0)
        golden_write(path, text);
    f = fopen(path, "re");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    expected[fread(expected, 1, sizeof expected - 1, f)] = '\0';
    (void)fclose(f);
    if (strcmp(expected, text) != 0)
        fail_msg("%s should be\n%s\nbut is\n%s", path, expected, text);
}

#endif
