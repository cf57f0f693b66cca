/* suspend.h - stops, continues and kills the processes of one service, in rounds.
 *
 * A round looks for the processes and signals them; it never waits. The caller makes rounds until
 * it is proved that the wish is fulfilled. A signal reaches only the process that was seen: its
 * pidfd is opened, then its start time compared. */
#ifndef FENCE_SUSPEND_H
#define FENCE_SUSPEND_H

#include "probe/procs.h"

enum suspend_wish { SUSPEND_NONE, SUSPEND_STOP, SUSPEND_GO, SUSPEND_KILL };

struct suspend {
    struct procs_home home; /* of spec */
    struct procs_spec spec; /* what it points to is borrowed */
    enum suspend_wish wish;
    unsigned int rounds; /* since the wish was made */
    bool is_proved;      /* two looks, one after the other, found it fulfilled */
    bool was_fulfilled;  /* the newest look did */
    uint32_t n;          /* as seen by the newest look */
    uint32_t stopped;
    hm_ms looked_ms; /* boot time before it began; 0: never */
};

/* A new wish, even if it is the old one, begins with its first round. */
void suspend_wish(struct suspend *s, enum suspend_wish wish);
/* Looks only. */
enum hm_rc suspend_look(struct suspend *s, struct hm_err *err) HM_MUST_CHECK;
/* One round. HM_FAILED, HM_NO_SPACE: what could be seen was signalled all the same. */
enum hm_rc suspend_round(struct suspend *s, struct hm_err *err) HM_MUST_CHECK;

#endif
