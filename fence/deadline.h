/* deadline.h - the fence ladder of one service as a table: what a mode, its deadlines and the time
 * ask for. Pure: reads no clock, does nothing. */
#ifndef FENCE_DEADLINE_H
#define FENCE_DEADLINE_H

#include "base/base.h"
#include "view/observation.h"

/* Extensions that must come after the clocks disagreed before the service may go on: the first may
 * have been on its way when the machine was paused. */
enum { DEADLINE_DISTRUST = 2 };

struct deadline {
    enum fence_mode mode;
    hm_ms suspend_ms; /* boot time; these three with FENCE_LEASE */
    hm_ms until_ms;
    bool is_gate_open;
    unsigned int distrust; /* extensions still missing after the clocks disagreed; 0: trusted */
};

/* How a gate stands for somebody. */
enum deadline_gate { DEADLINE_CLOSED, DEADLINE_UNTIL, DEADLINE_OPEN };

/* What has to be so. */
struct deadline_rung {
    bool must_stop; /* every process of the service */
    bool may_thaw;
    enum deadline_gate members;
    enum deadline_gate clients;
    const char *why; /* a constant text for the log */
};

/* From the file of before; without one the service is untold of, unless it is known that there was
 * one: then it is suspended, because its deadline is lost. */
void deadline_start(struct deadline *d, bool has_file, bool was_told);
/* What hamgrd asks for. The deadlines count with FENCE_LEASE only. */
void deadline_take(struct deadline *d, enum fence_mode mode, hm_ms suspend_ms, hm_ms until_ms,
                   bool is_gate_open);
/* The clocks disagree, so the machine may have been paused: true if this changes anything. */
bool deadline_distrust(struct deadline *d);

struct deadline_rung deadline_rung(const struct deadline *d, hm_ms now_ms);
/* When the rung changes by itself; HM_NEVER if it does not. */
hm_ms deadline_next_ms(const struct deadline *d, hm_ms now_ms);
/* May the watchdog be fed: the copy is rightful, or it is proved that all of it is stopped. */
bool deadline_is_safe(const struct deadline *d, hm_ms now_ms, bool is_stop_proved);

/* Clocks, read at one moment, in ms. */
struct deadline_clocks {
    hm_ms boot;
    hm_ms raw; /* monotonic, never adjusted */
    hm_ms real;
    hm_ms tsc; /* the processor's counter; meaningful if has_tsc */
    bool has_tsc;
};

/* True when one clock went on and another did not, as a pause of the machine makes it. Real time
 * counts when it jumps forward only: it is set forward after a pause, and backward by people. */
bool deadline_clocks_disagree(const struct deadline_clocks *before,
                              const struct deadline_clocks *now, hm_ms margin_ms);

#endif
