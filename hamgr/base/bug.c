#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void hm_bug(const char *file, int line, const char *text)
{
    (void)fprintf(stderr, "%s:%d: bug: %s\n", file, line, text); /* about to end: nobody to tell */
    abort();
}
