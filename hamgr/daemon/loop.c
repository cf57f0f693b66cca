/* loop.c - see loop.h. */
#include "daemon/loop.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { PRIORITIES = 3, LOW_SLICE_US = 1000, LOW_AT_ONCE = 32 };

static hm_ms ahead_ms(hm_ms now_ms)
{
    return now_ms - clock_read_ms(CLOCK_MONOTONIC);
}

/* Events of the lowest priority run when there are no others, and not for long at a time: then the
 * loop looks whether there are. All that is made without a word gets the one in the middle. */
static struct event_base *new_base(void)
{
    const struct timeval slice = { .tv_usec = LOW_SLICE_US };
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config != NULL &&
        event_config_set_max_dispatch_interval(config, &slice, LOW_AT_ONCE, PRIORITIES - 1) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    if (base != NULL && event_base_priority_init(base, PRIORITIES) != 0) {
        event_base_free(base);
        base = NULL;
    }
    return base;
}

enum hm_rc loop_init(struct loop *l, hm_ms alarm_ms, struct hm_err *err)
{
    memset(l, 0, sizeof *l);
    l->alarm_ms = alarm_ms;
    l->ahead_ms = ahead_ms(clock_boot_ms());
    l->base = new_base();
    if (l->base == NULL)
        return hm_fail(err, HM_FAILED, "cannot set up the event loop");
    return HM_OK;
}

void loop_done(struct loop *l)
{
    if (l->base != NULL)
        event_base_free(l->base);
    l->base = NULL;
}

/* The two clocks are read one after the other: a few milliseconds between them mean nothing. */
static hm_ms slept_ms(struct loop *l, hm_ms now_ms)
{
    hm_ms ahead = ahead_ms(now_ms);
    hm_ms slept = ahead - l->ahead_ms;

    l->ahead_ms = ahead;
    return slept;
}

bool loop_note(struct loop *l, hm_ms now_ms, hm_ms due_ms)
{
    hm_ms late_ms = due_ms != HM_NEVER && now_ms > due_ms ? now_ms - due_ms : 0;

    late_ms = hm_max_ms(late_ms, slept_ms(l, now_ms));
    l->longest_ms = hm_max_ms(l->longest_ms, late_ms);
    if (late_ms < l->alarm_ms)
        return false;
    l->latest_ms = late_ms;
    l->latest_at_ms = now_ms;
    log_warn("stall ms=%lld: the event loop was late, or the machine stood still",
             (long long)late_ms);
    return true;
}

enum hm_rc loop_timer_init(struct loop *l, struct loop_timer *t, event_callback_fn then, void *arg,
                           struct hm_err *err)
{
    t->at_ms = HM_NEVER;
    t->event = NULL;
    t->fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (t->fd < 0)
        return hm_fail_errno(err, "cannot make a timer");
    t->event = event_new(l->base, t->fd, EV_READ | EV_PERSIST, then, arg);
    if (t->event == NULL || event_add(t->event, NULL) != 0)
        return hm_fail(err, HM_FAILED, "cannot add a timer to the event loop");
    return HM_OK;
}

void loop_timer_done(struct loop_timer *t)
{
    if (t->event != NULL)
        event_free(t->event);
    if (t->fd >= 0)
        (void)close(t->fd); /* nothing can be lost */
    t->event = NULL;
    t->fd = -1;
}

void loop_timer_set(struct loop_timer *t, hm_ms at_ms)
{
    struct itimerspec when = { 0 };

    if (t->at_ms == at_ms)
        return;
    t->at_ms = at_ms;
    if (at_ms != HM_NEVER) {
        at_ms = hm_max_ms(at_ms, 1); /* zero would stop the timer */
        when.it_value.tv_sec = at_ms / 1000;
        when.it_value.tv_nsec = at_ms % 1000 * 1000000;
    }
    (void)timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &when, NULL); /* the values are valid */
}

void loop_timer_drain(struct loop_timer *t)
{
    uint64_t times;

    (void)!read(t->fd, &times, sizeof times); /* EAGAIN: it was set anew meanwhile */
    t->at_ms = HM_NEVER;
}
