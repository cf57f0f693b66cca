#include "probe/latency.h"

#include <stdlib.h>
#include <string.h>

void latency_note(struct latency *l, int64_t us, hm_ms now_ms)
{
    l->us[l->next] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    l->at_ms[l->next] = now_ms;
    l->next = (l->next + 1) % LATENCY_MAX;
    if (l->n < LATENCY_MAX)
        l->n++;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The least value that so many percent of them do not exceed. */
static uint32_t percentile(const uint32_t *sorted, unsigned int n, unsigned int percent)
{
    return sorted[(n * percent + 99) / 100 - 1];
}

void latency_summarise(const struct latency *l, struct latency_summary *ret)
{
    uint32_t sorted[LATENCY_MAX];

    memset(ret, 0, sizeof *ret);
    ret->n = l->n;
    if (l->n == 0)
        return;
    memcpy(sorted, l->us, l->n * sizeof sorted[0]);
    qsort(sorted, l->n, sizeof sorted[0], compare);
    ret->p50_us = percentile(sorted, l->n, 50);
    ret->p95_us = percentile(sorted, l->n, 95);
    ret->p99_us = percentile(sorted, l->n, 99);
    for (unsigned int i = 0; i < l->n; i++)
        if (l->us[i] >= ret->worst_us) {
            ret->worst_us = l->us[i];
            ret->worst_at_ms = l->at_ms[i];
        }
}
