#include "probe/behind.h"

#include <string.h>

static void forget_first(struct behind *b, unsigned int n)
{
    b->n -= n;
    memmove(&b->ahead[0], &b->ahead[n], b->n * sizeof b->ahead[0]);
    memmove(&b->at_ms[0], &b->at_ms[n], b->n * sizeof b->at_ms[0]);
}

/* The oldest stays: it is the answer. */
static void thin_out(struct behind *b)
{
    for (unsigned int i = 1; i < b->n / 2; i++) {
        b->ahead[i] = b->ahead[2 * i];
        b->at_ms[i] = b->at_ms[2 * i];
    }
    b->n /= 2;
    b->step_ms *= 2;
}

void behind_note(struct behind *b, uint64_t ahead, uint64_t taken, hm_ms now_ms)
{
    unsigned int done = 0;

    if (taken < b->taken)
        b->n = 0;
    b->taken = taken;
    while (done < b->n && b->ahead[done] <= taken)
        done++;
    forget_first(b, done);
    if (b->n == 0)
        b->step_ms = BEHIND_STEP_MS;
    if (ahead <= taken ||
        (b->n > 0 && (ahead <= b->ahead[b->n - 1] || now_ms < b->at_ms[b->n - 1] + b->step_ms)))
        return;
    if (b->n == BEHIND_MAX)
        thin_out(b);
    b->ahead[b->n] = ahead;
    b->at_ms[b->n++] = now_ms;
}

hm_ms behind_ms(const struct behind *b, hm_ms now_ms)
{
    return b->n > 0 ? now_ms - b->at_ms[0] : 0;
}
