#include "parts.h"

#include <stdlib.h>
#include <string.h>

/* A heap with four children a node: half as deep as a binary one, and a node's children lie in
 * two cache lines. */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct sim *w, const struct sim_event *e)
{
    uint32_t i = w->heap_n++;

    if (w->heap_n > w->heap_size) {
        w->heap_size = w->heap_size * 2;
        w->heap = realloc(w->heap, w->heap_size * sizeof *w->heap);
        HM_BUG_ON(w->heap == NULL);
    }
    while (i > 0) {
        uint32_t up = (i - 1) / 4;

        if (!is_before(e, &w->heap[up]))
            break;
        w->heap[i] = w->heap[up];
        i = up;
    }
    w->heap[i] = *e;
}

void sim_at(struct sim *w, int64_t at_us, enum sim_event_type type, unsigned int service,
            unsigned int host, uint32_t a, uint64_t b, uint32_t life)
{
    struct sim_event e = {
        .at_us = at_us < w->now_us ? w->now_us : at_us,
        .order = w->order++,
        .type = (uint8_t)type,
        .host = (uint8_t)host,
        .service = (uint8_t)service,
        .a = a,
        .life = life,
        .b = b,
    };

    heap_push(w, &e);
}

void sim_push(struct sim *w, struct sim_event *e)
{
    e->order = w->order++;
    heap_push(w, e);
}

bool sim_next(struct sim *w, struct sim_event *ret)
{
    struct sim_event last;
    uint32_t i = 0;

    if (w->heap_n == 0)
        return false;
    *ret = w->heap[0];
    last = w->heap[--w->heap_n];
    for (;;) {
        uint32_t least = i * 4 + 1, end = least + 4;

        if (least >= w->heap_n)
            break;
        if (end > w->heap_n)
            end = w->heap_n;
        for (uint32_t k = least + 1; k < end; k++)
            if (is_before(&w->heap[k], &w->heap[least]))
                least = k;
        if (!is_before(&w->heap[least], &last))
            break;
        w->heap[i] = w->heap[least];
        i = least;
    }
    w->heap[i] = last;
    return true;
}

void sim_queue_clear(struct sim *w)
{
    w->heap_n = 0;
    w->order = w->events_now = 0;
    for (unsigned int h = 0; h < SIM_HOSTS_MAX; h++)
        w->host[h].deferred_n = 0;
    for (uint16_t i = 0; i < SIM_POSTS_MAX; i++)
        w->post[i].next = (uint16_t)(i + 1);
    w->post_free = 0;
    memset(w->record_refs, 0, sizeof w->record_refs);
    w->record_free = 0;
}

/* ---- what waits for a paused process -------------------------------------------------------- */

void sim_defer(struct sim *w, const struct sim_event *e)
{
    struct sim_host *h = &w->host[e->host];

    /* The buffers of the connections are full: messages are lost, but nothing of the host's own. */
    if (h->deferred_n >= 2048 && e->type == EV_POST &&
        w->post[(uint16_t)e->a].ev.type == ON_MESSAGE) {
        sim_post_free(w, (uint16_t)e->a);
        return;
    }
    if (h->deferred_n == w->deferred_size[e->host]) {
        uint32_t size = h->deferred_n == 0 ? 256 : h->deferred_n * 2;

        w->deferred[e->host] = realloc(w->deferred[e->host], size * sizeof *e);
        HM_BUG_ON(w->deferred[e->host] == NULL);
        w->deferred_size[e->host] = size;
    }
    w->deferred[e->host][h->deferred_n++] = *e;
}

/* The helper reads all that waits in its socket and obeys the newest of its kind. */
static bool is_outdated(const struct sim *w, unsigned int host, uint32_t i)
{
    const struct sim_event *e = &w->deferred[host][i];

    if (e->type != EV_HELPER || (e->a & 255) != VERB_FENCE)
        return false;
    for (uint32_t k = i + 1; k < w->host[host].deferred_n; k++) {
        const struct sim_event *newer = &w->deferred[host][k];

        if (newer->type == EV_HELPER && newer->service == e->service &&
            (newer->a & 255) == VERB_FENCE)
            return true;
    }
    return false;
}

void sim_undefer(struct sim *w, unsigned int host)
{
    struct sim_host *h = &w->host[host];

    for (uint32_t i = 0; i < h->deferred_n; i++) {
        struct sim_event *e = &w->deferred[host][i];

        if (is_outdated(w, host, i))
            continue;
        e->at_us = w->now_us;
        e->order = w->order++;
        heap_push(w, e);
    }
    h->deferred_n = 0;
}

/* ---- posts ---------------------------------------------------------------------------------- */

uint16_t sim_post_new(struct sim *w)
{
    uint16_t i = w->post_free;

    if (i >= SIM_POSTS_MAX)
        return SIM_POSTS_MAX;
    w->post_free = w->post[i].next;
    w->post[i].record = SIM_RECORDS_MAX;
    return i;
}

void sim_post_free(struct sim *w, uint16_t post)
{
    struct sim_post *p = &w->post[post];

    if (p->record < SIM_RECORDS_MAX)
        w->record_refs[p->record]--;
    p->next = w->post_free;
    w->post_free = post;
}

/* The next free one is looked for in a ring: records live for milliseconds, so it is near. */
uint16_t sim_record_new(struct sim *w, const struct record *r)
{
    for (unsigned int n = 0; n < SIM_RECORDS_MAX; n++) {
        uint16_t i = w->record_free;

        w->record_free = (uint16_t)((i + 1) % SIM_RECORDS_MAX);
        if (w->record_refs[i] == 0) {
            w->record[i] = *r;
            return i;
        }
    }
    return SIM_RECORDS_MAX;
}

void sim_record_take(struct sim *w, uint16_t record)
{
    w->record_refs[record]++;
}

void sim_post(struct sim *w, unsigned int service, unsigned int host, int64_t delay_us,
              const struct core_event *ev)
{
    uint16_t i = sim_post_new(w);

    if (i >= SIM_POSTS_MAX) {
        sim_violated(w, "LIVE", "the world has no room for what host %u must be told", host);
        return;
    }
    w->post[i].ev = *ev;
    sim_at(w, w->now_us + delay_us, EV_POST, service, host, i, 0, w->host[host].daemon.life);
}

/* ---- draws ---------------------------------------------------------------------------------- */

int64_t sim_draw(struct sim *w, int64_t lo, int64_t hi)
{
    uint64_t span;

    if (hi <= lo)
        return lo;
    span = (uint64_t)(hi - lo) + 1;
    /* A multiplication in place of a division; the bias is below 2^-32 for all that is drawn. */
    if (span < UINT64_C(1) << 32)
        return lo + (int64_t)(((prng_next(&w->prng) >> 32) * span) >> 32);
    return lo + (int64_t)(prng_next(&w->prng) % span);
}

int64_t sim_draw_time(struct sim *w, int64_t typical_us)
{
    uint64_t bits = prng_next(&w->prng);
    int64_t t = typical_us / 3 + typical_us * (int64_t)(bits & 1023) / 1024;

    if ((bits >> 10 & 63) == 0)
        t += typical_us * (int64_t)(bits >> 16 & 15);
    return t;
}

bool sim_chance(struct sim *w, uint32_t ppm)
{
    return ppm != 0 && sim_draw(w, 0, 999999) < (int64_t)ppm;
}
