#include "witness/deadlines.h"

#include "base/clock.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* --- the heap: parent of i is i / 2 ------------------------------------------------------------
 */

static void put(struct deadlines *d, size_t place, struct deadline *which)
{
    d->heap[place] = which;
    which->place = place;
}

static void sift_up(struct deadlines *d, size_t place)
{
    struct deadline *which = d->heap[place];

    for (; place > 1 && d->heap[place / 2]->at_ms > which->at_ms; place /= 2)
        put(d, place, d->heap[place / 2]);
    put(d, place, which);
}

static void sift_down(struct deadlines *d, size_t place)
{
    struct deadline *which = d->heap[place];

    for (;;) {
        size_t child = 2 * place;

        if (child < d->n && d->heap[child + 1]->at_ms < d->heap[child]->at_ms)
            child++;
        if (child > d->n || d->heap[child]->at_ms >= which->at_ms)
            break;
        put(d, place, d->heap[child]);
        place = child;
    }
    put(d, place, which);
}

static void take_out(struct deadlines *d, struct deadline *which)
{
    size_t place = which->place;
    struct deadline *last = d->heap[d->n--];

    which->place = 0;
    if (last == which)
        return;
    put(d, place, last);
    sift_up(d, place);
    sift_down(d, last->place);
}

enum hm_rc deadlines_reserve(struct deadlines *d, size_t n)
{
    struct deadline **heap;
    size_t room = d->room > 0 ? d->room : 16;

    if (n < d->room)
        return HM_OK;
    while (room <= n)
        room *= 2;
    heap = realloc(d->heap, room * sizeof(struct deadline *));
    if (heap == NULL)
        return HM_FAILED;
    d->heap = heap;
    d->room = room;
    return HM_OK;
}

/* --- the timer ------------------------------------------------------------------------------- */

/* Only an earlier deadline sets the timer anew: one that fires for nothing costs less than setting
 * it with every event. */
static void arm(struct deadlines *d)
{
    hm_ms first_ms = d->n > 0 ? d->heap[1]->at_ms : HM_NEVER;
    hm_ms at_ms;
    struct itimerspec when = { { 0, 0 }, { 0, 0 } };

    if (first_ms == HM_NEVER || d->is_firing)
        return;
    if (d->armed_ms != HM_NEVER && first_ms >= d->armed_ms - DEADLINES_STEP_MS)
        return;
    /* One that was set into the past is not one for which the loop came late. */
    first_ms = hm_max_ms(first_ms, clock_boot_ms());
    at_ms = (first_ms / DEADLINES_STEP_MS + 1) * DEADLINES_STEP_MS;
    when.it_value.tv_sec = at_ms / 1000;
    when.it_value.tv_nsec = (long)(at_ms % 1000) * 1000000;
    if (timerfd_settime(d->fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        d->armed_ms = at_ms;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct deadlines *d = arg;
    hm_ms now_ms = clock_boot_ms();
    hm_ms late_ms = d->armed_ms != HM_NEVER ? now_ms - d->armed_ms : 0;
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);

    (void)what;
    (void)n; /* set anew meanwhile: then nothing is due, and that costs nothing */
    d->armed_ms = HM_NEVER;
    d->is_firing = true;
    d->fired(d->ctx, now_ms, late_ms);
    d->is_firing = false;
    arm(d);
}

enum hm_rc deadlines_init(struct deadlines *d, struct event_base *base, deadlines_fired *fired,
                          void *ctx, struct hm_err *err)
{
    enum hm_rc rc = HM_OK;

    *d = (struct deadlines){ .armed_ms = HM_NEVER, .fired = fired, .ctx = ctx };
    d->fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (d->fd < 0)
        return hm_fail_errno(err, "no timer");
    d->event = event_new(base, d->fd, EV_READ | EV_PERSIST, on_timer, d);
    if (d->event == NULL || event_add(d->event, NULL) != 0)
        rc = hm_fail(err, HM_FAILED, "the event loop does not take the timer");
    if (rc != HM_OK)
        deadlines_done(d);
    return rc;
}

void deadlines_done(struct deadlines *d)
{
    if (d->event != NULL)
        event_free(d->event);
    if (d->fd >= 0)
        (void)close(d->fd); /* nothing can be lost */
    free(d->heap);
    *d = (struct deadlines){ .fd = -1, .armed_ms = HM_NEVER };
}

void deadlines_set(struct deadlines *d, struct deadline *which, hm_ms at_ms)
{
    if (at_ms == HM_NEVER) {
        if (which->place != 0)
            take_out(d, which);
        return;
    }
    which->at_ms = at_ms;
    if (which->place == 0) {
        HM_BUG_ON(d->n + 1 >= d->room);
        put(d, ++d->n, which);
    }
    sift_up(d, which->place);
    sift_down(d, which->place);
    arm(d);
}

struct deadline *deadlines_due(struct deadlines *d, hm_ms now_ms)
{
    struct deadline *first = d->n > 0 ? d->heap[1] : NULL;

    if (first == NULL || first->at_ms > now_ms)
        return NULL;
    take_out(d, first);
    return first;
}
