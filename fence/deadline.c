/* deadline.c - see deadline.h. */
#include "fence/deadline.h"

static bool always(const struct deadline *d, hm_ms now_ms)
{
    (void)d;
    (void)now_ms;
    return true;
}

static bool has_ended(const struct deadline *d, hm_ms now_ms)
{
    return now_ms >= d->until_ms;
}

static bool is_due(const struct deadline *d, hm_ms now_ms)
{
    return now_ms >= d->suspend_ms;
}

static bool is_distrusted(const struct deadline *d, hm_ms now_ms)
{
    (void)now_ms;
    return d->distrust > 0;
}

/* Clients pass as the mode says; this row leaves it to the mode's is_gate_open. */
#define AS_TOLD 0x10

/* The first row that fits wins. A machine that may have been paused lets nothing out: what its
 * kernel holds back was perhaps acknowledged under a lease that is over. */
/* clang-format off */
static const struct row {
    enum fence_mode mode;
    bool (*when)(const struct deadline *d, hm_ms now_ms);
    bool must_stop, may_thaw;
    unsigned int members, clients;
    const char *why;
} ladder[] = {
    /* mode           when            stop   thaw   members          clients */
    { FENCE_NONE,      always,        false, false, DEADLINE_OPEN,   DEADLINE_OPEN | AS_TOLD,  "nothing was told since the boot" },
    { FENCE_SUSPENDED, always,        true,  false, DEADLINE_CLOSED, DEADLINE_CLOSED,          "told to suspend" },
    { FENCE_LEASE,     has_ended,     true,  false, DEADLINE_CLOSED, DEADLINE_CLOSED,          "the lease has ended" },
    { FENCE_LEASE,     is_distrusted, true,  false, DEADLINE_CLOSED, DEADLINE_CLOSED,          "the clocks disagree: the machine may have been paused" },
    { FENCE_LEASE,     is_due,        true,  false, DEADLINE_UNTIL,  DEADLINE_UNTIL | AS_TOLD, "the lease was not extended in time" },
    { FENCE_LEASE,     always,        false, true,  DEADLINE_UNTIL,  DEADLINE_UNTIL | AS_TOLD, "the lease runs" },
    { FENCE_STANDBY,   always,        false, true,  DEADLINE_OPEN,   DEADLINE_OPEN,            "a standby" },
    { FENCE_PAUSED,    always,        false, true,  DEADLINE_OPEN,   DEADLINE_OPEN,            "the cluster is paused" },
};
/* clang-format on */

void deadline_start(struct deadline *d, bool has_file, bool was_told)
{
    if (has_file)
        return; /* the caller took it over */
    *d = (struct deadline){ .mode = was_told ? FENCE_SUSPENDED : FENCE_NONE };
}

void deadline_take(struct deadline *d, enum fence_mode mode, hm_ms suspend_ms, hm_ms until_ms,
                   bool is_gate_open)
{
    bool is_lease = mode == FENCE_LEASE;

    if (is_lease && d->distrust > 0 && until_ms > d->until_ms)
        d->distrust--;
    if (mode == FENCE_STANDBY || mode == FENCE_PAUSED)
        d->distrust = 0; /* no deadline that a pause could have missed */
    d->mode = mode;
    /* A suspension in between keeps them, so that an old extension does not count as new. */
    if (is_lease || !d->distrust) {
        d->suspend_ms = is_lease ? suspend_ms : 0;
        d->until_ms = is_lease ? until_ms : 0;
    }
    d->is_gate_open = is_gate_open;
}

bool deadline_distrust(struct deadline *d)
{
    if (d->mode != FENCE_LEASE)
        return false;
    d->distrust = DEADLINE_DISTRUST;
    return true;
}

static enum deadline_gate gate_of(const struct deadline *d, unsigned int row)
{
    if ((row & AS_TOLD) != 0 && !d->is_gate_open)
        return DEADLINE_CLOSED;
    return (enum deadline_gate)(row & ~(unsigned int)AS_TOLD);
}

struct deadline_rung deadline_rung(const struct deadline *d, hm_ms now_ms)
{
    for (size_t i = 0; i < HM_ARRAY_LEN(ladder); i++) {
        const struct row *r = &ladder[i];

        if (r->mode == d->mode && r->when(d, now_ms))
            return (struct deadline_rung){
                .must_stop = r->must_stop,
                .may_thaw = r->may_thaw,
                .members = gate_of(d, r->members),
                .clients = gate_of(d, r->clients),
                .why = r->why,
            };
    }
    hm_bug(__FILE__, __LINE__, "a mode without a row");
}

hm_ms deadline_next_ms(const struct deadline *d, hm_ms now_ms)
{
    if (d->mode != FENCE_LEASE)
        return HM_NEVER;
    if (now_ms < d->suspend_ms)
        return d->suspend_ms;
    return now_ms < d->until_ms ? d->until_ms : HM_NEVER;
}

bool deadline_is_safe(const struct deadline *d, hm_ms now_ms, bool is_stop_proved)
{
    return is_stop_proved || !deadline_rung(d, now_ms).must_stop;
}

static bool differs(hm_ms a, hm_ms b, hm_ms margin_ms)
{
    return a - b > margin_ms || b - a > margin_ms;
}

bool deadline_clocks_disagree(const struct deadline_clocks *before,
                              const struct deadline_clocks *now, hm_ms margin_ms)
{
    hm_ms boot = now->boot - before->boot;
    hm_ms raw = now->raw - before->raw;

    if (differs(boot, raw, margin_ms) || now->real - before->real - boot > margin_ms)
        return true;
    return before->has_tsc && now->has_tsc && differs(now->tsc - before->tsc, raw, margin_ms);
}
