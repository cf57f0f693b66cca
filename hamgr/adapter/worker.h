/* worker.h - a thread for what may block: files that are synced, names that are resolved.
 *
 * Jobs of one worker run one after the other, in order; their ends are reported on the loop. A job
 * must not touch anything that the loop touches: it gets what it needs in `job` and leaves its
 * result there. A worker that hangs in the kernel hangs alone. */
#ifndef HAMGR_ADAPTER_WORKER_H
#define HAMGR_ADAPTER_WORKER_H

#include "base/err.h"

#include <event2/event.h>

struct worker;

struct worker_job {
    void (*run)(struct worker_job *job);  /* on the thread */
    void (*done)(struct worker_job *job); /* on the loop; may free the job */
    struct worker_job *next;              /* the worker's */
};

/* name: of the thread, at most 15 characters. HM_FAILED: no thread, no eventfd. */
enum hm_rc worker_new(struct event_base *base, const char *name, struct worker **ret,
                      struct hm_err *err) HM_MUST_CHECK;
/* Waits for the job that runs (callers free workers only when the program ends); jobs that have not
 * begun, or whose end was not reported yet, are dropped without `done`: they are the caller's
 * again. Not from within `done`. NULL is fine. */
void worker_free(struct worker *w);
/* Queues a job; it belongs to the worker until `done`. */
void worker_add(struct worker *w, struct worker_job *job);

#endif
