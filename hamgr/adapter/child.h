/* child.h - other programs, run beside the loop: told when they end, never waited for.
 *
 * A child gets no file but its standard ones, a process group of its own and default signals, and
 * dies with this program. It has two limits: for all of its run, and for the time without a word
 * from it. The end of what it writes is kept, the rest is passed on by lines. A detached program is
 * the opposite: a session of its own, its output goes to a file, and it outlives this one. */
#ifndef HAMGR_ADAPTER_CHILD_H
#define HAMGR_ADAPTER_CHILD_H

#include "base/err.h"

#include <event2/event.h>
#include <sys/types.h>

enum { CHILD_OUTPUT_MAX = 2048, CHILD_LINE_MAX = 256 };

struct child;

struct child_end {
    bool is_ok;         /* it exited by itself, with 0 */
    bool is_late;       /* killed at one of the limits */
    int status;         /* as waitpid() tells it; if somebody else took it: exited with 255 */
    const char *output; /* the last CHILD_OUTPUT_MAX - 1 bytes that it wrote; borrowed */
    const char *last;   /* the last line of it that is not blank; borrowed */
};

struct child_config {
    struct event_base *base;
    const char *const *argv; /* argv[0] is a path; NULL at the end; borrowed for the call */
    const char *const *env; /* NAME=VALUE, beside what this program has; NULL at the end, or NULL */
    hm_ms limit_ms;         /* 0: none */
    hm_ms silence_ms;       /* 0: none */
    /* A line, or a piece that ends in a carriage return, as progress does. May be NULL. */
    void (*on_line)(void *ctx, const char *line);
    /* It ended; the child is freed after the call. */
    void (*on_end)(void *ctx, const struct child_end *end);
    void *ctx;
};

/* Starts a program. ret: owned until on_end. HM_FAILED: it cannot be started; nothing is left. */
enum hm_rc child_start(const struct child_config *config, struct child **ret,
                       struct hm_err *err) HM_MUST_CHECK;
/* Starts a detached program; of config only base, argv, env, on_end and ctx count.
 * log: a file that its output is added to; made with mode 0600. */
enum hm_rc child_detach(const struct child_config *config, const char *log, struct child **ret,
                        struct hm_err *err) HM_MUST_CHECK;
pid_t child_pid(const struct child *c);
/* on_end does not come any more. A child is killed with its group, a detached program goes on; its
 * end is still taken from the kernel while the loop runs. NULL is fine. */
void child_free(struct child *c);

/* Frees what is left of children that were forgotten before they ended, as the program ends:
 * nothing watches them any more. Before the loop is freed. */
void child_done(void);

/* "exit status 1", "signal 9 (Killed)"; with what it wrote last, if that is known. */
void child_describe(const struct child_end *end, char *buffer, size_t size);

#endif
