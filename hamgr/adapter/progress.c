#include "adapter/progress.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW_MS = 5000, FIRST_MS = 1000 };

static void note_rate(struct progress *p, uint64_t done, hm_ms now_ms)
{
    hm_ms since_ms = now_ms - p->from_ms;

    if (!p->is_known || done < p->from_done) {
        p->from_ms = now_ms;
        p->from_done = done;
        p->bytes_per_s = 0;
        return;
    }
    if (since_ms < (p->bytes_per_s == 0 ? FIRST_MS : WINDOW_MS))
        return;
    p->bytes_per_s = (done - p->from_done) * 1000 / (uint64_t)since_ms;
    p->from_ms = now_ms;
    p->from_done = done;
}

/* "45%" or "45.2%": where the number begins that ends before the sign. */
static bool find_percent(const char *line, unsigned int *ret)
{
    const char *sign = strrchr(line, '%');
    const char *at = sign;

    if (sign == NULL)
        return false;
    while (at > line && (isdigit((unsigned char)at[-1]) || at[-1] == '.'))
        at--;
    if (at == sign || !isdigit((unsigned char)*at))
        return false;
    *ret = (unsigned int)strtoul(at, NULL, 10);
    return true;
}

bool progress_take(struct progress *p, const char *line, hm_ms now_ms)
{
    uint64_t done = 0, total = 0;
    unsigned int percent = 0;

    if (sscanf(line, " %" SCNu64 "/%" SCNu64 " kB", &done, &total) == 2 && total > 0 &&
        total < UINT64_MAX / 102400 && done < UINT64_MAX / 102400) {
        percent = (unsigned int)(done * 100 / total);
        note_rate(p, done * 1024, now_ms);
        p->done = done * 1024;
        p->total = total * 1024;
    } else if (find_percent(line, &percent)) {
        p->done = p->total = p->bytes_per_s = 0;
    } else {
        return false;
    }
    p->is_known = true;
    p->percent = (uint8_t)(percent > 100 ? 100 : percent);
    return true;
}

void progress_bytes(uint64_t bytes, char *buffer, size_t size)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    double n = (double)bytes;
    size_t unit = 0;

    while (n >= 1000 && unit + 1 < HM_ARRAY_LEN(units)) {
        n /= 1024;
        unit++;
    }
    (void)snprintf(buffer, size, unit > 0 && n < 10 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

void progress_print(const struct progress *p, char *buffer, size_t size)
{
    char done[16], total[16], rate[16];

    buffer[0] = 0;
    if (!p->is_known)
        return;
    progress_bytes(p->done, done, sizeof done);
    progress_bytes(p->total, total, sizeof total);
    progress_bytes(p->bytes_per_s, rate, sizeof rate);
    if (p->total == 0)
        (void)snprintf(buffer, size, "%u %%", p->percent);
    else if (p->bytes_per_s == 0)
        (void)snprintf(buffer, size, "%u %%, %s of %s", p->percent, done, total);
    else
        (void)snprintf(buffer, size, "%u %%, %s of %s, %s/s", p->percent, done, total, rate);
}
