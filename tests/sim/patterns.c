#include "parts.h"

#include "faults.h"

/* Faults that belong together: each is the story in which one rule of the design matters, told
 * with drawn times. Chance alone would seldom put them in this order. */

static void later(struct sim *w, int64_t after_ms, enum sim_fault_kind kind, unsigned int host,
                  int64_t lasts_ms)
{
    struct sim_event e = {
        .at_us = w->now_us + after_ms * SIM_MS,
        .type = EV_SCRIPT,
        .host = (uint8_t)host,
        .a = kind,
        .b = (uint64_t)(lasts_ms * SIM_MS),
        .c = SIM_NOWHERE,
    };

    sim_push(w, &e);
}

static void later_cut(struct sim *w, int64_t after_ms, unsigned int from, unsigned int to,
                      int64_t lasts_ms)
{
    struct sim_event e = {
        .at_us = w->now_us + after_ms * SIM_MS,
        .type = EV_SCRIPT,
        .host = (uint8_t)from,
        .a = FAULT_LINK_CUT,
        .b = (uint64_t)(lasts_ms * SIM_MS),
        .c = to,
    };

    sim_push(w, &e);
}

void sim_script(struct sim *w, const struct sim_event *e)
{
    if (w->is_healing || w->force.is_on)
        return;
    w->cut_other = (uint8_t)e->c;
    (void)sim_fault(w, (enum sim_fault_kind)e->a, e->host, (int64_t)e->b);
    w->cut_other = SIM_NOWHERE;
}

/* A member of the cluster that is not `a` and not `b`. */
static uint8_t another(struct sim *w, unsigned int a, unsigned int b, bool is_db)
{
    for (unsigned int tries = 0; tries < 12; tries++) {
        unsigned int h = (unsigned int)sim_draw(w, 0, w->hosts_n - 1);

        if (h != a && h != b && w->host[h].is_member && w->node[0][h].is_there &&
            (!is_db || w->node[0][h].is_db))
            return (uint8_t)h;
    }
    return SIM_NOWHERE;
}

/* The holder and a candidate do not hear each other, and the voters between them forget. */
static void forgetful_voters(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    int64_t n = sim_draw(w, 2, 6), at_ms = 0;
    uint8_t voter = another(w, a, b, false);

    later_cut(w, 0, a, b, ttl * 3);
    later_cut(w, 0, b, a, ttl * 3);
    while (n-- > 0 && voter != SIM_NOWHERE) {
        at_ms += sim_draw(w, ttl / 8, ttl / 2);
        later(w, at_ms, sim_chance(w, 800000) ? FAULT_DAEMON_KILLED : FAULT_HOST_LOST, voter,
              sim_draw(w, 3, 60));
    }
}

/* Voters have different versions when the holder dies. */
static void different_versions(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    int64_t at_ms = sim_draw(w, 20, 400);

    later_cut(w, 0, a, another(w, a, SIM_NOWHERE, false), ttl);
    later(w, 5, sim_chance(w, 500000) ? FAULT_SWITCHOVER : FAULT_DURABILITY, a, 1000);
    later(w, 10, FAULT_HOST_LOST, b, ttl);
    later(w, at_ms, sim_chance(w, 500000) ? FAULT_HOST_LOST : FAULT_DAEMON_KILLED, a, ttl);
}

/* A standby reads its log again, or is being made anew, when the holder dies. */
static void standby_not_ready(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    enum sim_fault_kind first = sim_chance(w, 700000)   ? FAULT_SERVER_KILLED
                                : sim_chance(w, 500000) ? FAULT_SERVER_CRASHED
                                                        : FAULT_COPY_WIPED;

    later(w, 0, first, b, 300);
    later(w, sim_draw(w, 10, 1200), sim_chance(w, 700000) ? FAULT_HOST_LOST : FAULT_ISOLATED, a,
          ttl * 2);
}

/* The lease is given away, and whoever should take it cannot. */
static void lost_successor(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    int64_t at_ms = sim_draw(w, 30, 300);

    later(w, 0, sim_chance(w, 600000) ? FAULT_SWITCHOVER : FAULT_SERVER_KILLED, a, 500);
    later(w, at_ms, sim_chance(w, 500000) ? FAULT_HOST_LOST : FAULT_ISOLATED, b,
          sim_draw(w, ttl / 2, ttl * 4));
    if (sim_chance(w, 500000))
        later(w, at_ms + sim_draw(w, 1, 200), FAULT_CANCEL, a, 100);
}

/* Pause, and the holder disappears for longer than a lease. */
static void paused_holder_away(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    (void)b;
    later(w, 0, FAULT_PAUSE, a, ttl * 4);
    later(w, sim_draw(w, 100, 600), sim_chance(w, 500000) ? FAULT_DAEMON_KILLED : FAULT_ISOLATED, a,
          sim_draw(w, ttl, ttl * 3));
    if (sim_chance(w, 500000))
        later_cut(w, ttl * 4 - 5, a, another(w, a, SIM_NOWHERE, false), ttl);
}

/* A member order, and at once one voter more is missing. */
static void members_and_a_cut(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    uint8_t voter = another(w, a, b, false);

    later(w, 0, w->plan.spare_n > 0 ? FAULT_MEMBER : FAULT_REMOVE_WITNESS, a, ttl * 3);
    if (voter != SIM_NOWHERE)
        later(w, sim_draw(w, 0, 600), FAULT_ISOLATED, voter, ttl * 3);
    later(w, sim_draw(w, 50, 1500), sim_chance(w, 500000) ? FAULT_ISOLATED : FAULT_DAEMON_PAUSED, a,
          ttl * 2);
}

/* An old primary with a tail of its own comes back as the new one dies. */
static void old_tail_returns(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    int64_t back_ms = ttl + sim_draw(w, 200, 2000);

    later(w, 0, sim_chance(w, 500000) ? FAULT_HOST_LOST : FAULT_ISOLATED, a, back_ms);
    later(w, back_ms - sim_draw(w, -300, 600), FAULT_HOST_LOST, b, ttl * 3);
}

/* Just as long as a lease: resumed while somebody else's promise is being written. */
static void pause_across_the_deadline(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    uint8_t voter = another(w, a, b, false);

    if (voter != SIM_NOWHERE)
        later(w, 0, FAULT_DISK_SLOW, voter, ttl * 2);
    later(w, 1, sim_chance(w, 500000) ? FAULT_DAEMON_PAUSED : FAULT_HOST_PAUSED, a,
          ttl + sim_draw(w, -ttl / 6, ttl / 2));
}

/* Every voter but one, one after the other. */
static void rolling_losses(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    (void)b;
    for (unsigned int h = 0; h < w->hosts_n; h++)
        later(w, (int64_t)h * sim_draw(w, 20, ttl / 2),
              sim_chance(w, 500000) ? FAULT_DAEMON_KILLED : FAULT_HOST_LOST, h,
              sim_draw(w, 5, ttl));
    later(w, ttl / 2, FAULT_DAEMON_PAUSED, a, ttl);
}

/* The candidate hears the voters but not the holder; the holder is well. */
static void half_deaf_candidate(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    later_cut(w, 0, a, b, ttl * sim_draw(w, 2, 5));
}

/* Back after so long that no pair names it any more, and then it is alone with the witness. */
static void outsider_alone(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl)
{
    uint8_t third = another(w, a, b, true);
    int64_t back_ms = ttl * 2 + sim_draw(w, 0, ttl), at_ms = back_ms + sim_draw(w, 1, 300);

    later(w, 0, sim_chance(w, 500000) ? FAULT_ISOLATED : FAULT_COPY_WIPED, b, back_ms);
    if (third != SIM_NOWHERE)
        later(w, at_ms - sim_draw(w, 0, 60), FAULT_HOST_LOST, third, ttl * 3);
    later(w, at_ms, sim_chance(w, 500000) ? FAULT_HOST_LOST : FAULT_ISOLATED, a, ttl * 3);
}

typedef void pattern(struct sim *w, uint8_t a, uint8_t b, hm_ms ttl);

bool sim_fault_pattern(struct sim *w)
{
    static pattern *const patterns[] = {
        forgetful_voters,   different_versions,  standby_not_ready, lost_successor,
        paused_holder_away, members_and_a_cut,   old_tail_returns,  pause_across_the_deadline,
        rolling_losses,     half_deaf_candidate, outsider_alone,
    };
    unsigned int s = (unsigned int)sim_draw(w, 0, w->plan.services_n - 1);
    uint8_t a = sim_holder(w, s);
    uint8_t b = a == SIM_NOWHERE ? SIM_NOWHERE : another(w, a, SIM_NOWHERE, true);

    if (b == SIM_NOWHERE)
        return false;
    patterns[sim_draw(w, 0, HM_ARRAY_LEN(patterns) - 1)](w, a, b,
                                                         core_record(&w->node[s][a].core)->ttl_ms);
    return true;
}
