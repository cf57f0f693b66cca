/* probe.c - leads one round of the probe after the other, each to its finding. */
#include "redis/probe.h"

#include "base/clock.h"
#include "base/kernel.h"
#include "probe/procs.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long the server may take to answer before it is looked at whether it runs at all. */
#define SUSPICION_MS 60
/* It ends a connection that it has just taken so often in a row: then that is what it does. */
#define TRIES_MAX 2

static hm_ms timeout_ms(const struct redis_probe *p)
{
    return p->s->config.settings->timing.check_timeout_ms;
}

/* --- the main process ------------------------------------------------------------------------ */

static void forget_process(struct redis_probe *p)
{
    if (p->death != NULL)
        event_free(p->death);
    p->death = NULL;
    if (p->pidfd >= 0)
        (void)close(p->pidfd); /* nothing was written to it */
    p->pidfd = -1;
    stuck_forget(&p->main);
    p->s->info.run_id[0] = 0;
}

/* One that dies again and again looks well in between. A primary's is given away instead. */
static void count_death(struct redis_probe *p)
{
    hm_ms now_ms = clock_boot_ms();

    if (p->died_ms == 0 || now_ms - p->died_ms > REDIS_DEATHS_APART_MS)
        p->deaths = 0;
    p->deaths += !p->s->info.is_master && !p->s->is_stop_asked;
    p->died_ms = now_ms;
}

static void on_death(evutil_socket_t fd, short what, void *arg)
{
    struct redis_probe *p = arg;
    struct service *s = p->s;

    (void)fd;
    (void)what;
    forget_process(p);
    count_death(p);
    if (!s->is_stop_asked)
        s->config.host.on_died(s->config.host.ctx, "its main process died");
    redis_op_note_death(s);
    if (p->phase == PROBE_IDLE)
        redis_probe_look(p);
    else
        redis_probe_begin(p);
}

bool redis_probe_adopt(struct redis_probe *p, pid_t pid)
{
    forget_process(p);
    p->pidfd = pidfd_open(pid, 0); /* always close-on-exec */
    if (p->pidfd < 0)
        return false;
    p->death = event_new(p->s->config.base, p->pidfd, EV_READ, on_death, p);
    if (p->death == NULL || event_add(p->death, NULL) != 0)
        forget_process(p); /* without memory it is tried again */
    return p->pidfd >= 0;
}

bool redis_probe_is_dead(const struct redis_probe *p)
{
    struct pollfd poll_fd = { .fd = p->pidfd, .events = POLLIN };

    return p->pidfd >= 0 && poll(&poll_fd, 1, 0) > 0;
}

/* After a start of hamgrd: the server that was known before, unless another process has its number
 * by now. It may be stopped, and then tells nothing itself. */
static void adopt_noted(struct redis_probe *p)
{
    const struct rnotes *n = &p->s->notes;

    if (n->run_id[0] == 0 || n->boot_id != p->boot_id || !redis_probe_adopt(p, n->pid))
        return;
    (void)stuck_look(&p->main, n->pid, n->pid, clock_boot_ms());
    if (p->main.started != n->started)
        forget_process(p);
}

/* --- asking ---------------------------------------------------------------------------------- */

/* Lost in the middle: it died, it ended our connection, or somebody had it do so. */
static void ask_again(struct redis_probe *p)
{
    if (redis_probe_is_dead(p)) {
        on_death(-1, 0, p);
    } else if (p->tries++ >= TRIES_MAX) {
        redis_probe_trouble(p, "it ends every connection of hamgr");
        redis_probe_finish_unknown(p);
    } else {
        p->phase = PROBE_OPENING;
        p->last = 0;
        rconn_open(p->s->watch, false);
    }
}

static void refused(struct redis_probe *p, const char *why)
{
    if (strncmp(why, "BUSY", 4) == 0) {
        redis_probe_finish_silent(p, "a script runs: SCRIPT KILL or FUNCTION KILL ends one that "
                                     "has not written");
        return;
    }
    redis_probe_trouble(p, "%s%s",
                        strncmp(why, "NOPERM", 6) == 0   ? "let hamgr's user run INFO, CLIENT, "
                                                           "CONFIG, REPLICAOF: "
                        : strncmp(why, "NOAUTH", 6) == 0 ? "set passfile: "
                                                         : "",
                        why);
    redis_probe_finish_unknown(p);
}

static void take_answers(struct redis_probe *p)
{
    struct copy c;
    const char *why = "";

    if (redis_probe_take(p, &c, &why) == HM_OK) {
        p->silent_since_ms = 0;
        stuck_forget(&p->main);
        redis_probe_finish(p, &c);
    } else {
        redis_probe_trouble(p, "%s", why);
        redis_probe_finish_unknown(p);
    }
}

static void keep_text(struct redis_probe *p, const redisReply *reply)
{
    size_t n = reply->type == REDIS_REPLY_STRING ? reply->len : 0;

    if (n > sizeof p->text - p->size)
        n = sizeof p->text - p->size; /* then something is missing, which is told */
    memcpy(p->text + p->size, reply->str, n);
    p->size += n;
}

static void ask(struct redis_probe *p);

static void on_answer(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                      const char *why)
{
    struct redis_probe *p = ctx;
    uint64_t number = ++p->answered;
    bool is_mine = p->phase == PROBE_ASKING && p->last != 0 && number >= p->first;

    if (p->phase != PROBE_ASKING)
        return;
    if (outcome == RCONN_LOST || outcome == RCONN_LATE) {
        if (p->answered == p->asked) /* all of them were told */
            ask_again(p);
    } else if (!is_mine) {
        if (p->answered == p->asked && p->last == 0)
            ask(p); /* what an earlier round asked is out of the way */
    } else if (outcome == RCONN_REFUSED) {
        refused(p, why);
    } else {
        keep_text(p, reply);
        if (number == p->last)
            take_answers(p);
    }
}

/* Four small sections instead of all of it; together, so that they tell of one moment. */
static void ask(struct redis_probe *p)
{
    static const char *const sections[] = { "memory", "persistence", "replication", "server" };

    p->phase = PROBE_ASKING;
    p->size = 0;
    p->last = 0;
    if (p->answered != p->asked)
        return; /* waits for these first */
    p->first = p->asked + 1;
    p->last = p->asked + HM_ARRAY_LEN(sections);
    for (size_t i = 0; i < HM_ARRAY_LEN(sections); i++) {
        const char *const words[] = { "INFO", sections[i] };

        if (!rconn_ask(p->s->watch, HM_ARRAY_LEN(words), words, PROBE_QUESTION_MS, on_answer, p)) {
            redis_probe_trouble(p, "no memory to ask");
            redis_probe_finish_unknown(p);
            return;
        }
        p->asked++;
    }
}

static void open_or_ask(struct redis_probe *p)
{
    if (rconn_is_up(p->s->watch)) {
        ask(p);
    } else {
        p->phase = PROBE_OPENING;
        rconn_open(p->s->watch, false);
    }
}

void redis_probe_note_up(struct redis_probe *p)
{
    if (p->phase == PROBE_OPENING)
        ask(p);
}

static const char *next_step(const char *why)
{
    if (strncmp(why, "ERR max number of clients", 25) == 0)
        return "raise maxclients: ";
    if (strncmp(why, "NOAUTH", 6) == 0)
        return "set passfile: ";
    if (strncmp(why, "WRONGPASS", 9) == 0 || strncmp(why, "ERR AUTH", 8) == 0)
        return "look at user and passfile: ";
    if (strncmp(why, "DENIED", 6) == 0)
        return "set protected-mode no, and a password: ";
    if (strcmp(why, strerror(EACCES)) == 0)
        return "let hamgrd's user open the socket (unixsocketperm, group): ";
    return "";
}

void redis_probe_note_down(struct redis_probe *p, const char *why)
{
    if (p->phase != PROBE_OPENING) {
        if (p->phase == PROBE_IDLE && p->pidfd >= 0)
            redis_probe_look(p);
        return;
    }
    if (redis_probe_is_dead(p)) {
        on_death(-1, 0, p);
    } else if (rconn_is_nobody_there(p->s->watch)) {
        redis_probe_finish_deaf(p, why);
    } else {
        if (strncmp(why, "WRONGPASS", 9) == 0 || strncmp(why, "NOAUTH", 6) == 0)
            redis_read_password_again(p->s);
        redis_probe_trouble(p, "%s%s", next_step(why), why);
        redis_probe_finish_unknown(p);
    }
}

/* --- rounds ---------------------------------------------------------------------------------- */

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
    struct redis_probe *p = arg;
    hm_ms left_ms = p->taken_at_ms + timeout_ms(p) - clock_boot_ms();

    (void)fd;
    (void)what;
    if (p->phase == PROBE_IDLE)
        return;
    if (p->pidfd >= 0)
        (void)stuck_look(&p->main, p->s->notes.pid, p->s->notes.pid, clock_boot_ms());
    if (redis_probe_is_suspended(p))
        redis_probe_finish_suspended(p);
    else if (left_ms > 0)
        redis_probe_arm(p->patience, left_ms);
    else
        redis_probe_finish_silent(p, p->phase == PROBE_OPENING ? "it takes no connection"
                                                               : "it hangs, or is overloaded");
}

void redis_probe_begin(struct redis_probe *p)
{
    p->taken_at_ms = clock_boot_ms();
    p->tries = 0;
    p->is_again = false;
    (void)evtimer_del(p->tick);
    redis_probe_arm(p->patience, hm_min_ms(SUSPICION_MS, timeout_ms(p)));
    waiters_begin(&p->waiters);
    if (redis_probe_is_suspended(p))
        redis_probe_finish_suspended(p);
    else
        open_or_ask(p);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct redis_probe *p = arg;

    (void)fd;
    (void)what;
    if (p->phase == PROBE_IDLE)
        redis_probe_begin(p);
}

void redis_probe_look(struct redis_probe *p)
{
    p->is_again = true;
    if (p->phase == PROBE_IDLE)
        redis_probe_arm(p->tick, 0);
}

void redis_look(struct service *s, waiters_told *then, void *ctx)
{
    waiters_add(&s->probe->waiters, then, ctx);
    redis_probe_look(s->probe);
}

/* A round that asks what was stopped meanwhile gets no answer: it is over, and another begins. */
void redis_probe_note_fence(struct service *s)
{
    struct redis_probe *p = s->probe;

    redis_probe_look(p);
    if (p->phase != PROBE_IDLE && redis_probe_is_suspended(p))
        redis_probe_finish_suspended(p);
}

/* --- the door -------------------------------------------------------------------------------- */

enum hm_rc redis_probe_new(struct service *s, struct hm_err *err)
{
    struct redis_probe *p = calloc(1, sizeof *p);

    if (p == NULL)
        return hm_fail(err, HM_FAILED, "no memory to watch a service");
    s->probe = p;
    p->s = s;
    p->pidfd = -1;
    p->does_refuse = true;
    p->boot_id = procs_boot_id();
    p->tick = evtimer_new(s->config.base, on_tick, p);
    p->patience = evtimer_new(s->config.base, on_patience, p);
    if (p->tick == NULL || p->patience == NULL)
        return hm_fail(err, HM_FAILED, "no memory to watch a service");
    adopt_noted(p);
    return HM_OK;
}

void redis_probe_free(struct service *s)
{
    struct redis_probe *p = s->probe;

    if (p == NULL)
        return;
    forget_process(p);
    if (p->tick != NULL)
        event_free(p->tick);
    if (p->patience != NULL)
        event_free(p->patience);
    waiters_done(&p->waiters);
    free(p);
    s->probe = NULL;
}
