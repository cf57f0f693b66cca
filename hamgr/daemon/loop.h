/* loop.h - the event loop's own health, and timers in the time that hamgr counts in.
 *
 * A loop that was late, or clocks that went apart because the machine slept, cannot know what it
 * missed: loop_note() says so, and the core then extends no fence by what was granted before.
 *
 * The base has three priorities: what serves strangers (the Sentinel endpoint) has the lowest, 2.
 */
#ifndef HAMGR_DAEMON_LOOP_H
#define HAMGR_DAEMON_LOOP_H

#include "base/err.h"

#include <event2/event.h>

struct loop {
    struct event_base *base; /* owned */
    hm_ms alarm_ms;          /* a stall at least this long is one */
    hm_ms ahead_ms;          /* boot time less monotonic time: grows while the machine sleeps */
    hm_ms longest_ms;        /* since the start */
    hm_ms latest_ms;         /* the newest stall above the alarm; 0: none yet */
    hm_ms latest_at_ms;      /* when it ended */
};

enum hm_rc loop_init(struct loop *l, hm_ms alarm_ms, struct hm_err *err) HM_MUST_CHECK;
/* Frees the base; all its events are gone before. */
void loop_done(struct loop *l);

/* Looks whether time was lost: due_ms is when something was to be done that is done only now, or
 * HM_NEVER. True: it was, by alarm_ms or more; noted and logged. */
bool loop_note(struct loop *l, hm_ms now_ms, hm_ms due_ms);

/* A timer that follows boot time: libevent's own stand still while the machine sleeps. */
struct loop_timer {
    int fd;
    struct event *event; /* owned */
    hm_ms at_ms;         /* HM_NEVER: not set */
};
enum hm_rc loop_timer_init(struct loop *l, struct loop_timer *t, event_callback_fn then, void *arg,
                           struct hm_err *err) HM_MUST_CHECK;
void loop_timer_done(struct loop_timer *t);
/* Sets it to a moment of boot time, HM_NEVER: not at all. The same moment again costs nothing. */
void loop_timer_set(struct loop_timer *t, hm_ms at_ms);
/* For the callback: the timer has gone off and is not set any more. */
void loop_timer_drain(struct loop_timer *t);

#endif
