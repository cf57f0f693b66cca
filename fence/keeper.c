/* keeper.c - see keeper.h. */
#include "fence/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "fence/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MS = 1000,
    SHORT_US = 200,      /* between rounds while processes are on their way to stop */
    MIDDLE_US = 2 * MS,  /* ... when they take longer */
    LONG_US = 50 * MS,   /* ... when something hangs in the kernel */
    AGAIN_US = 500 * MS, /* between looks at what has to stay stopped */
    SHORT_ROUNDS = 20,
    MIDDLE_ROUNDS = 100,
    GO_ROUNDS =
        50, /* a process that somebody else keeps stopped is not ours to continue for ever */
};

int64_t keeper_now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_BOOTTIME, &t); /* cannot fail */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- what survives the helper ------------------------------------------------------------------
 */

/* That a file was there in this boot is kept apart from it: without, a deleted file would look like
 * a fresh start. The kernel's gate remembers the same. */
static bool was_told(struct keeper *k)
{
    struct lease mark;
    char name[HM_NAME_MAX];
    bool is_there = false;

    (void)snprintf(name, sizeof name, ".%.30s", k->service->name);
    if (lease_load(k->tools->dir, name, &mark, &is_there, NULL) != HM_OK || is_there)
        return true;
    return k->tools->gate.fd >= 0 && gate_guards(&k->tools->gate, k->service->port);
}

static enum hm_rc save(struct keeper *k, const struct deadline *d, struct hm_err *err)
{
    struct lease l = { .mode = d->mode,
                       .suspend_ms = d->suspend_ms,
                       .until_ms = d->until_ms,
                       .is_gate_open = d->is_gate_open };

    return lease_save(k->tools->dir, k->service->name, &l, err);
}

static void trouble(struct keeper *k, const struct hm_err *err)
{
    uint64_t hidden;

    if (log_repeat_starts(&k->repeat, clock_boot_ms(), &hidden))
        log_warn("trouble service=%s hidden=%llu: %s", k->service->name, (unsigned long long)hidden,
                 err->text);
    (void)snprintf(k->why, sizeof k->why, "%.*s", (int)sizeof k->why - 1, err->text);
}

void keeper_start(struct keeper *k, struct keeper_tools *tools,
                  const struct settings_service *service)
{
    struct lease l = { .mode = FENCE_NONE };
    struct hm_err err = { "" };
    char name[HM_NAME_MAX];
    bool is_redis = service->kind == SERVICE_REDIS;
    bool has_file = false;
    bool had_one;

    *k = (struct keeper){ .service = service, .tools = tools, .round_us = KEEPER_NEVER };
    k->procs.spec = (struct procs_spec){ .executable = is_redis ? "redis-server" : "postgres",
                                         .or_else = is_redis ? "valkey-server" : NULL,
                                         .data_dir = service->data_dir,
                                         .home = &k->procs.home };
    had_one = was_told(k);
    if (lease_load(tools->dir, service->name, &l, &has_file, &err) != HM_OK) {
        trouble(k, &err);
        had_one = true;
    }
    if (has_file)
        k->deadline = (struct deadline){ .mode = l.mode,
                                         .suspend_ms = l.suspend_ms,
                                         .until_ms = l.until_ms,
                                         .is_gate_open = l.is_gate_open };
    deadline_start(&k->deadline, has_file, had_one);
    (void)snprintf(name, sizeof name, ".%.30s", service->name);
    l = (struct lease){ .mode = FENCE_NONE };
    if (save(k, &k->deadline, &err) != HM_OK || lease_save(tools->dir, name, &l, &err) != HM_OK)
        trouble(k, &err);
    if (suspend_look(&k->procs, &err) != HM_OK)
        trouble(k, &err);
    log_info("start service=%s mode=%s file=%s processes=%u stopped=%u", service->name,
             fence_mode_name(k->deadline.mode),
             has_file  ? "taken"
             : had_one ? "lost"
                       : "none",
             k->procs.n, k->procs.stopped);
}

/* --- the gate ----------------------------------------------------------------------------------
 */

struct gate_state keeper_gate(const struct keeper *k, hm_ms now_ms)
{
    struct deadline_rung rung = deadline_rung(&k->deadline, now_ms);

    return (struct gate_state){ .port = k->service->port,
                                .members = rung.members,
                                .clients = rung.clients,
                                .until_ms = k->deadline.until_ms };
}

static enum hm_rc set_gate(struct keeper *k, const struct gate_state *s, struct hm_err *err)
{
    enum hm_rc rc;

    if (!k->tools->has_gate)
        return HM_OK;
    rc = gate_set(&k->tools->gate, s, err);
    k->is_gate_known = rc == HM_OK;
    if (rc == HM_OK)
        k->gate = *s;
    return rc;
}

static void follow_gate(struct keeper *k, hm_ms now_ms)
{
    struct gate_state s = keeper_gate(k, now_ms);
    struct hm_err err;

    if (k->is_gate_known && s.members == k->gate.members && s.clients == k->gate.clients)
        return;
    if (set_gate(k, &s, &err) != HM_OK)
        trouble(k, &err);
}

/* --- rounds ------------------------------------------------------------------------------------
 */

static void wish(struct keeper *k, enum suspend_wish what)
{
    suspend_wish(&k->procs, what);
    k->began_us = keeper_now_us();
    k->fulfilled_us = 0;
    k->round_us = what == SUSPEND_NONE ? KEEPER_NEVER : 0;
}

/* There is a pause even if the next look could come at once: where there is one processor, nobody
 * stops while the helper runs. */
static int64_t pause_us(const struct suspend *p)
{
    if (p->was_fulfilled)
        return 0; /* the look that proves it */
    if (p->rounds < SHORT_ROUNDS)
        return SHORT_US;
    return p->rounds < MIDDLE_ROUNDS ? MIDDLE_US : LONG_US;
}

/* Every process is dead, so nothing writes to the sockets any more. */
static void end_of_kill(struct keeper *k)
{
    struct hm_err err;

    if (k->tools->has_sockets &&
        sockets_destroy(&k->tools->sockets, k->service->port, &err) != HM_OK)
        trouble(k, &err);
    log_notice("killed service=%s took_us=%lld", k->service->name,
               (long long)(keeper_now_us() - k->began_us));
    wish(k, SUSPEND_NONE);
    k->is_news = true;
}

static void after_round(struct keeper *k, bool was_proved, uint32_t n_before, hm_ms now_ms)
{
    const struct suspend *p = &k->procs;

    k->round_us = keeper_now_us() + pause_us(p);
    if (p->was_fulfilled && k->fulfilled_us == 0)
        k->fulfilled_us = keeper_now_us();
    switch (p->wish) {
    case SUSPEND_STOP:
        if (!p->is_proved)
            break;
        if (!was_proved || n_before != p->n)
            k->is_news = true;
        if (!was_proved)
            log_notice("suspended service=%s processes=%u took_us=%lld proved_us=%lld rounds=%u",
                       k->service->name, p->n, (long long)(k->fulfilled_us - k->began_us),
                       (long long)(keeper_now_us() - k->began_us), p->rounds);
        k->round_us = deadline_rung(&k->deadline, now_ms).must_stop ? keeper_now_us() + AGAIN_US
                                                                    : KEEPER_NEVER;
        break;
    case SUSPEND_GO:
        if ((p->was_fulfilled && p->rounds > 1) || p->rounds > GO_ROUNDS) {
            log_notice("thawed service=%s processes=%u stopped=%u", k->service->name, p->n,
                       p->stopped);
            wish(k, SUSPEND_NONE);
            k->is_news = true;
        }
        break;
    case SUSPEND_KILL:
        if (p->is_proved)
            end_of_kill(k);
        break;
    case SUSPEND_NONE:
        k->round_us = KEEPER_NEVER;
        break;
    }
}

void keeper_turn(struct keeper *k)
{
    hm_ms now_ms = clock_boot_ms();
    struct deadline_rung rung = deadline_rung(&k->deadline, now_ms);
    bool is_new = rung.must_stop && k->procs.wish != SUSPEND_KILL &&
                  (k->procs.wish != SUSPEND_STOP || !k->must_stop);
    bool was_proved;
    uint32_t n_before = k->procs.n;
    struct hm_err err;

    /* A stop that was proved before says nothing of a server that started since. */
    if (is_new)
        wish(k, SUSPEND_STOP);
    k->must_stop = rung.must_stop;
    was_proved = k->procs.is_proved;
    /* What was stopped stays stopped until it is thawed or killed; a server that starts now is
     * another one, and nobody asked to stop it. */
    if (!rung.must_stop && k->procs.wish == SUSPEND_STOP && was_proved) {
        k->round_us = KEEPER_NEVER;
        if (k->procs.n == 0)
            wish(k, SUSPEND_NONE);
    }
    if (keeper_now_us() >= k->round_us) {
        if (suspend_round(&k->procs, &err) != HM_OK)
            trouble(k, &err);
        after_round(k, was_proved, n_before, clock_boot_ms());
    }
    if (is_new) /* said after it is done: the log may be slow */
        log_notice("suspends service=%s mode=%s late_ms=%lld: %s", k->service->name,
                   fence_mode_name(k->deadline.mode),
                   k->deadline.mode == FENCE_LEASE ? (long long)(now_ms - k->deadline.suspend_ms)
                                                   : 0,
                   rung.why);
    if (k->tools->has_gate)
        follow_gate(k, now_ms);
}

int64_t keeper_next_us(const struct keeper *k)
{
    hm_ms at_ms = deadline_next_ms(&k->deadline, clock_boot_ms());

    return at_ms == HM_NEVER || at_ms * MS > k->round_us ? k->round_us : at_ms * MS;
}

/* --- the verbs ---------------------------------------------------------------------------------
 */

/* What the copy acknowledged before it became a standby must not leave when the gate opens. */
static enum hm_rc purge(struct keeper *k, struct hm_err *err)
{
    struct gate_state closed = { .port = k->service->port,
                                 .members = DEADLINE_CLOSED,
                                 .clients = DEADLINE_CLOSED };
    enum hm_rc rc;

    if (!k->tools->has_sockets)
        return HM_OK;
    rc = set_gate(k, &closed, err);
    if (rc != HM_OK)
        return rc;
    return sockets_destroy(&k->tools->sockets, k->service->port, err);
}

enum hm_rc keeper_mode(struct keeper *k, const struct fence_request *r, struct hm_err *err)
{
    struct deadline next = k->deadline;
    struct gate_state gate;
    enum hm_rc rc = HM_OK;
    bool is_change = k->deadline.mode != r->mode;

    if (r->mode == FENCE_STANDBY && is_change)
        rc = purge(k, err);
    if (rc != HM_OK)
        return rc;
    deadline_take(&next, r->mode, r->suspend_ms, r->until_ms, r->is_gate_open);
    rc = save(k, &next, err);
    if (rc != HM_OK && r->mode != FENCE_SUSPENDED)
        return rc; /* what forbids more than the file does is taken without it, too */
    k->deadline = next;
    if (is_change)
        log_info("mode service=%s mode=%s gate=%s", k->service->name, fence_mode_name(r->mode),
                 r->is_gate_open ? "open" : "closed");
    keeper_turn(k);
    if (rc == HM_OK && r->mode == FENCE_LEASE) {
        gate = keeper_gate(k, clock_boot_ms());
        rc = set_gate(k, &gate, err);
    }
    if (rc == HM_OK && k->tools->has_gate && !k->is_gate_known)
        rc = hm_fail(err, HM_FAILED, "%s", k->why);
    if (rc == HM_OK && log_repeat_ends(&k->repeat))
        log_notice("well again service=%s", k->service->name);
    if (rc == HM_OK)
        k->why[0] = '\0';
    return rc;
}

enum hm_rc keeper_thaw(struct keeper *k, struct hm_err *err)
{
    struct deadline_rung rung = deadline_rung(&k->deadline, clock_boot_ms());

    if (!rung.may_thaw)
        return hm_fail(err, HM_REFUSED, "not thawed: %s", rung.why);
    if (k->procs.wish == SUSPEND_KILL)
        return hm_fail(err, HM_REFUSED, "not thawed: it is being killed");
    if (k->procs.wish != SUSPEND_GO)
        wish(k, SUSPEND_GO);
    keeper_turn(k);
    return HM_OK;
}

void keeper_kill(struct keeper *k)
{
    if (k->procs.wish != SUSPEND_KILL)
        wish(k, SUSPEND_KILL);
    keeper_turn(k);
}

enum hm_rc keeper_destroy(struct keeper *k, const char *peer, struct hm_err *err)
{
    if (!k->tools->has_sockets)
        return hm_fail(err, HM_FAILED, "sockets cannot be destroyed here");
    return peer[0] == '\0' ? sockets_destroy(&k->tools->sockets, k->service->port, err)
                           : sockets_destroy_to(&k->tools->sockets, peer, k->service->port, err);
}

/* --- the rest ----------------------------------------------------------------------------------
 */

void keeper_distrust(struct keeper *k)
{
    if (!deadline_distrust(&k->deadline))
        return;
    k->is_news = true;
    keeper_turn(k);
}

bool keeper_is_safe(const struct keeper *k, hm_ms now_ms)
{
    return deadline_is_safe(&k->deadline, now_ms,
                            k->procs.wish == SUSPEND_STOP && k->procs.is_proved);
}

bool keeper_is_idle(const struct keeper *k)
{
    return (k->procs.wish == SUSPEND_STOP && k->procs.is_proved) ||
           (k->procs.wish == SUSPEND_NONE && k->deadline.mode != FENCE_LEASE);
}

void keeper_report(const struct keeper *k, struct fence_report *ret)
{
    struct deadline_rung rung = deadline_rung(&k->deadline, clock_boot_ms());

    (void)snprintf(ret->service, sizeof ret->service, "%s", k->service->name);
    ret->mode = k->deadline.mode;
    ret->suspend_ms = k->deadline.suspend_ms;
    ret->until_ms = k->deadline.until_ms;
    ret->is_gate_open =
        rung.clients != DEADLINE_CLOSED && (!k->tools->has_gate || k->is_gate_known);
    ret->is_held = k->procs.wish == SUSPEND_STOP;
    ret->has_gate = k->tools->has_gate;
    ret->processes = k->procs.n;
    ret->stopped = k->procs.stopped;
    ret->scanned_ms = k->procs.looked_ms;
    (void)snprintf(ret->why, sizeof ret->why, "%s", k->why);
}

enum hm_rc keepers_gate(struct keeper *keepers, size_t n, const struct gate_peers *peers,
                        struct hm_err *err)
{
    struct keeper_tools *tools = keepers[0].tools;
    struct gate_state states[HM_SERVICES_MAX];
    enum hm_rc rc;

    memset(states, 0, sizeof states);
    for (size_t i = 0; i < n; i++)
        states[i] = keeper_gate(&keepers[i], clock_boot_ms());
    rc = gate_build(&tools->gate, peers, states, n, err);
    tools->has_gate = rc == HM_OK;
    for (size_t i = 0; i < n; i++) {
        keepers[i].gate = states[i];
        keepers[i].is_gate_known = tools->has_gate;
    }
    return rc;
}
