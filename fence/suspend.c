/* suspend.c - see suspend.h.
 *
 * Stopped and killed is the main process first, which could make others; continued it is last, so
 * that the list is complete until every backend goes on, and clients, whom only their own backend
 * answers, wait for nothing else. */
#include "fence/suspend.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LIGHT_ROUNDS = 8 }; /* between two whole looks, while processes are on their way to stop */

static struct procs the_procs;          /* too large for a stack; one thread */
static const struct suspend *the_owner; /* whose processes these are */

void suspend_wish(struct suspend *s, enum suspend_wish wish)
{
    s->wish = wish;
    s->rounds = 0;
    s->is_proved = s->was_fulfilled = false;
}

static bool is_fulfilled(const struct suspend *s, const struct procs *p)
{
    switch (s->wish) {
    case SUSPEND_STOP:
        return p->stopped == p->n;
    case SUSPEND_GO:
        return p->stopped == 0;
    case SUSPEND_KILL:
        return p->n == 0;
    case SUSPEND_NONE:
        break;
    }
    return true;
}

/* One look may miss a process that was forked while it went through the list. When everything it
 * had found before was stopped by then, or dead, there was nobody left who could. */
enum hm_rc suspend_look(struct suspend *s, struct hm_err *err)
{
    struct procs *p = &the_procs;
    bool is_now;
    enum hm_rc rc;

    s->looked_ms = clock_boot_ms();
    the_owner = s;
    rc = procs_scan(&s->spec, p, err);
    s->n = (uint32_t)p->n;
    s->stopped = (uint32_t)p->stopped;
    is_now = rc == HM_OK && is_fulfilled(s, p);
    s->is_proved = is_now && s->was_fulfilled;
    s->was_fulfilled = is_now;
    return rc;
}

static void signal_one(const struct procs *p, size_t i, int number)
{
    int fd = (int)syscall(SYS_pidfd_open, p->pid[i], 0);

    if (fd < 0)
        return; /* it ended meanwhile */
    if (procs_is_same(p->pid[i], p->started[i]))
        (void)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0); /* the next look tells */
    (void)close(fd);                                               /* nothing was written */
}

/* To go on is told to those that run, too: a stop may be on its way to them, and is forgotten. */
static bool needs_signal(const struct procs *p, size_t i, int number)
{
    return number != SIGSTOP || !p->is_stopped[i];
}

static void signal_all(const struct procs *p, int number)
{
    bool is_main_first = number != SIGCONT;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < p->n; i++)
            if ((p->pid[i] == p->main_pid) == ((pass == 0) == is_main_first) &&
                needs_signal(p, i, number))
                signal_one(p, i, number);
}

/* All were told to stop and some have not yet: whoever else there is comes later. */
static bool look_is_enough(const struct suspend *s)
{
    return s->wish == SUSPEND_STOP && the_owner == s && s->rounds > 1 && !s->was_fulfilled &&
           s->rounds % LIGHT_ROUNDS != 0;
}

/* Finds it fulfilled at most for the first time: only a whole look after it proves that. */
static enum hm_rc look_again(struct suspend *s)
{
    struct procs *p = &the_procs;

    procs_look_again(p);
    s->stopped = (uint32_t)p->stopped;
    s->was_fulfilled = is_fulfilled(s, p);
    return HM_OK;
}

enum hm_rc suspend_round(struct suspend *s, struct hm_err *err)
{
    static const int numbers[] = { [SUSPEND_NONE] = 0,
                                   [SUSPEND_STOP] = SIGSTOP,
                                   [SUSPEND_GO] = SIGCONT,
                                   [SUSPEND_KILL] = SIGKILL };
    enum hm_rc rc;

    s->rounds++;
    if (look_is_enough(s))
        return look_again(s);
    rc = suspend_look(s, err);
    if (!s->was_fulfilled || (s->wish == SUSPEND_GO && s->rounds == 1))
        signal_all(&the_procs, numbers[s->wish]);
    return rc;
}
