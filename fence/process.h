/* process.h - what makes the helper run when nothing else does: locked memory, real-time priority;
 * and its word to systemd. */
#ifndef FENCE_PROCESS_H
#define FENCE_PROCESS_H

#include "base/err.h"

/* Locks what runs after the start: the program, the C library, stack, heap and data. Libraries that
 * only the start needed (TLS, configuration) stay out, they would cost megabytes. To be called
 * last, because nothing is mapped later. HM_FAILED: some of it is not locked. */
enum hm_rc process_lock_memory(struct hm_err *err) HM_MUST_CHECK;
/* Before everything that is not real-time. Children begin without it. */
enum hm_rc process_raise_priority(struct hm_err *err) HM_MUST_CHECK;

/* To systemd, "READY=1" or the like; nothing happens where it does not listen. */
void process_notify(const char *text);
/* How often systemd wants to hear "WATCHDOG=1"; HM_NEVER: it does not. */
hm_ms process_notify_ms(void);

#endif
