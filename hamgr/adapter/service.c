#include "adapter/service.h"

#include <inttypes.h>
#include <stdio.h>

#define SERVICE_FULL_BYTES (UINT64_C(1) << 20)

bool service_disk_is_full(const struct service_disk *d)
{
    return d->free_bytes < SERVICE_FULL_BYTES;
}

bool service_disk_is_short(const struct service_disk *d, const struct settings *s)
{
    if (service_disk_is_full(d) ||
        (d->full_in_ms != HM_NEVER && d->full_in_ms < (hm_ms)s->disk_warn_minutes * 60000))
        return true;
    return (double)d->free_bytes * 100 < (double)d->size_bytes * s->disk_warn_percent;
}

/* "1.5 GB" */
static const char *bytes(uint64_t n, char text[16])
{
    static const char units[] = "kMGTP";
    double value = (double)n / 1024;
    size_t unit = 0;

    while (value >= 1000 && units[unit + 1] != '\0') {
        value /= 1024;
        unit++;
    }
    (void)snprintf(text, 16, "%.*f %cB", value < 10 ? 1 : 0, value, units[unit]);
    return text;
}

/* "3 h 20 min", "45 s" */
static const char *span(hm_ms ms, char text[32])
{
    hm_ms s = ms / 1000;

    if (s < 120)
        (void)snprintf(text, 32, "%" PRId64 " s", s);
    else if (s < 7200)
        (void)snprintf(text, 32, "%" PRId64 " min", s / 60);
    else if (s < 48 * 3600)
        (void)snprintf(text, 32, "%" PRId64 " h %" PRId64 " min", s / 3600, s % 3600 / 60);
    else
        (void)snprintf(text, 32, "%" PRId64 " days", s / 86400);
    return text;
}

void service_disk_text(const struct service_disk *d, char text[SERVICE_DISK_TEXT])
{
    char free[16], size[16], time[32];
    unsigned int percent =
        d->size_bytes > 0 ? (unsigned int)((double)d->free_bytes * 100 / (double)d->size_bytes) : 0;

    if (service_disk_is_full(d))
        (void)snprintf(text, SERVICE_DISK_TEXT, "the disk of %s is full: make room", d->what);
    else
        (void)snprintf(text, SERVICE_DISK_TEXT, "the disk of %s has %s of %s left (%u %%)%s%s%s",
                       d->what, bytes(d->free_bytes, free), bytes(d->size_bytes, size), percent,
                       d->full_in_ms != HM_NEVER ? ": full in " : "",
                       d->full_in_ms != HM_NEVER ? span(d->full_in_ms, time) : "",
                       d->full_in_ms != HM_NEVER ? " at the present rate" : "");
}
