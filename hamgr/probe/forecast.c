#include "probe/forecast.h"

static unsigned int newest(const struct forecast *f)
{
    return (f->next + FORECAST_MAX - 1) % FORECAST_MAX;
}

static unsigned int oldest(const struct forecast *f)
{
    return f->n < FORECAST_MAX ? 0 : f->next;
}

void forecast_note(struct forecast *f, uint64_t free_bytes, hm_ms now_ms)
{
    if (f->n > 0 && now_ms < f->at_ms[newest(f)] + FORECAST_STEP_MS)
        return;
    f->free_bytes[f->next] = free_bytes;
    f->at_ms[f->next] = now_ms;
    f->next = (f->next + 1) % FORECAST_MAX;
    if (f->n < FORECAST_MAX)
        f->n++;
}

/* From the oldest to the newest, whatever was in between; negative: it became less. */
static double lost_each_ms(const struct forecast *f)
{
    double bytes = (double)f->free_bytes[newest(f)] - (double)f->free_bytes[oldest(f)];

    return bytes / (double)(f->at_ms[newest(f)] - f->at_ms[oldest(f)]);
}

/* Least squares, unless what is left says that it goes slower: a file that came and went is no
 * trend. Times count from the oldest and bytes from the newest, so that nothing is lost in
 * the sums. */
hm_ms forecast_full_ms(const struct forecast *f)
{
    double sum_t = 0, sum_b = 0, sum_tt = 0, sum_tb = 0, n = f->n, slope;
    double left;

    if (f->n < 2 || f->at_ms[newest(f)] < f->at_ms[oldest(f)] + FORECAST_MIN_MS)
        return HM_NEVER;
    for (unsigned int i = 0; i < f->n; i++) {
        double t = (double)(f->at_ms[i] - f->at_ms[oldest(f)]);
        double b = (double)f->free_bytes[i] - (double)f->free_bytes[newest(f)];

        sum_t += t;
        sum_b += b;
        sum_tt += t * t;
        sum_tb += t * b;
    }
    slope = (n * sum_tb - sum_t * sum_b) / (n * sum_tt - sum_t * sum_t); /* bytes each ms */
    if (lost_each_ms(f) > slope)
        slope = lost_each_ms(f);
    if (slope >= 0)
        return HM_NEVER;
    left = (double)f->free_bytes[newest(f)] / -slope;
    return left > 1e12 ? HM_NEVER : (hm_ms)left; /* thirty years */
}
