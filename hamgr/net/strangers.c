#include "net/strangers.h"

#include <stdio.h>
#include <string.h>

enum { QUIET_MS = 60000 };

bool strangers_tell(struct strangers *s, const char *address, hm_ms now_ms, uint64_t *ret_hidden)
{
    unsigned oldest = 0;

    for (unsigned i = 0; i < STRANGERS_MAX; i++) {
        if (strcmp(s->row[i].address, address) == 0)
            return log_repeat_starts(&s->row[i].repeat, now_ms, ret_hidden);
        if (s->row[i].repeat.last_ms < s->row[oldest].repeat.last_ms)
            oldest = i;
    }
    if (s->row[oldest].repeat.last_ms != 0 && now_ms - s->row[oldest].repeat.last_ms < QUIET_MS)
        return log_repeat_starts(&s->others, now_ms, ret_hidden);
    (void)snprintf(s->row[oldest].address, sizeof s->row[oldest].address, "%s", address);
    s->row[oldest].repeat = (struct log_repeat){ 0 };
    return log_repeat_starts(&s->row[oldest].repeat, now_ms, ret_hidden);
}
