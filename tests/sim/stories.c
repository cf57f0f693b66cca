#include "parts.h"

#include "faults.h"

#include <string.h>

/* Told scenarios: a quiet cluster, what befalls it, and what must have become of it. What it must
 * never do is judged as in drawn runs. */

enum { STEPS_MAX = 4, ANYBODY = 254, NOT_FIRST = 253, SETTLED_S = 6, SLOW_MS = 80 };

struct step {
    int64_t at_ms;             /* after the cluster has settled */
    enum sim_fault_kind fault; /* FAULT_NONE: `order` */
    uint8_t host;
    int64_t lasts_ms;
    enum order_kind order;
};

struct story {
    const char *name, *tells;
    uint8_t db_n, witness_n;
    enum durability durability;
    enum service_kind kind;
    struct step steps[STEPS_MAX];
    uint8_t primary; /* host that is primary in the end, ANYBODY, NOT_FIRST */
    uint8_t promotions_min, promotions_max;
    int64_t gap_max_ms; /* that clients may have met before all is healed */
    bool is_lossless;   /* no promotion without what clients had heard of, in async neither */
    hm_ms ttl_ms;       /* six heartbeats; 0: 1500 */
    int64_t freeze_ms;  /* ending a WAL receiver may take so long; 0: as usual */
    int64_t write_ms;   /* a durable write of a voter takes about so long; 0: as usual */
    uint8_t nofailover; /* this host takes nothing over; 0: none */
};

/* clang-format off */
static const struct story stories[] = {
    { "host-lost", "the primary's host loses power; a standby takes over when the lease has run out",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_HOST_LOST, 0, 6000, ORDER_NONE } }, 1, 1, 1, 2200, false, 0, 0, 0, 0 },
    { "host-lost-three", "the same with three databases and no witness",
      3, 0, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_HOST_LOST, 0, 6000, ORDER_NONE } }, NOT_FIRST, 1, 1, 2200, false, 0, 0, 0, 0 },
    { "server-killed", "the postmaster dies; nobody waits for a lease",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_SERVER_KILLED, 0, 1000, ORDER_NONE } }, ANYBODY, 1, 2, 700, false, 0, 0, 0, 0 },
    { "backend-crashed", "a backend crashes; the server comes up as a standby",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_SERVER_CRASHED, 0, 1000, ORDER_NONE } }, ANYBODY, 1, 2, 1500, false, 0, 0, 0, 0 },
    { "switchover", "the operator hands the primary over",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_NONE, 0, 0, ORDER_SWITCHOVER } }, 1, 1, 1, 700, false, 0, 0, 0, 0 },
    { "switchover-and-back", "and back again",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_NONE, 0, 0, ORDER_SWITCHOVER }, { 8000, FAULT_NONE, 0, 0, ORDER_SWITCHOVER } },
      0, 2, 2, 700, false, 0, 0, 0, 0 },
    { "switchover-to-the-deaf", "the successor does not hear that the lease is its own: the primary goes on",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DEAF, 1, 9000, ORDER_NONE }, { 110, FAULT_NONE, 0, 0, ORDER_SWITCHOVER } },
      0, 1, 1, 8000, false, 0, 0, 0, 0 },
    { "quorum-blip", "the primary's host is cut off for less than a lease: nothing happens",
      2, 1, DURABILITY_ASYNC, SERVICE_POSTGRES,
      { { 100, FAULT_BLIP, 0, 500, ORDER_NONE } }, 0, 0, 0, 800, false, 0, 0, 0, 0 },
    { "cut-off", "the primary's host is cut off for long: the other takes over, the old one follows",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_ISOLATED, 0, 6000, ORDER_NONE } }, 1, 1, 1, 2200, false, 0, 0, 0, 0 },
    { "partition-one-way", "the primary's host speaks and cannot hear: it says that it gave up",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DEAF, 0, 6000, ORDER_NONE } }, 1, 1, 1, 2200, false, 0, 0, 0, 0 },
    { "partition-one-way-dumb", "it can hear and cannot speak",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DUMB, 0, 6000, ORDER_NONE } }, 1, 1, 1, 2200, false, 0, 0, 0, 0 },
    { "witness-lost", "the witness is lost: nobody notices",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_WITNESS_LOST, 2, 6000, ORDER_NONE } }, 0, 0, 0, 300, false, 0, 0, 0, 0 },
    { "standby-lost", "a standby is lost: commits stall for no longer than the lease",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_HOST_LOST, 1, 6000, ORDER_NONE } }, 0, 0, 0, 2800, false, 0, 0, 0, 0 },
    { "daemon-restarted", "hamgrd of the primary is upgraded: nobody notices",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DAEMON_KILLED, 0, 100, ORDER_NONE } }, 0, 0, 0, 300, false, 0, 0, 0, 0 },
    { "daemon-frozen", "hamgrd of the primary stands still for long: hamgr-fence keeps the deadline",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DAEMON_PAUSED, 0, 6000, ORDER_NONE } }, 1, 1, 1, 2500, false, 0, 0, 0, 0 },
    { "both-hosts-rebooted", "everything loses power and comes back",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_ALL_LOST, 0, 1000, ORDER_NONE } }, ANYBODY, 1, 3, 15000, false, 0, 0, 0, 0 },
    { "disk-hung", "the primary's disk hangs: it hands over to the standby",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DISK_HUNG, 0, 9000, ORDER_NONE } }, ANYBODY, 0, 2, 9500, false, 0, 0, 0, 0 },
    { "server-hung", "the primary answers nothing, and is proved to hang: it hands over",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_SERVER_HUNG, 0, 9000, ORDER_NONE } }, ANYBODY, 1, 2, 4500, false, 0, 0, 0, 0 },
    { "overloaded", "the primary is only late: nobody takes over, however long it lasts",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_OVERLOADED, 0, 14000, ORDER_NONE } }, 0, 0, 0, 300, false, 0, 0, 0, 0 },
    { "disk-full", "the primary's disk is full: it hands over to a standby that has room",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DISK_FULL, 0, 9000, ORDER_NONE } }, ANYBODY, 1, 2, 4500, false, 0, 0, 0, 0 },
    { "paused-while-cut-off", "a paused cluster does nothing while its primary is cut off",
      2, 1, DURABILITY_ASYNC, SERVICE_POSTGRES,
      { { 100, FAULT_NONE, 0, 0, ORDER_PAUSE }, { 1500, FAULT_ISOLATED, 0, 5000, ORDER_NONE } },
      0, 0, 0, 300, false, 0, 0, 0, 0 },
    { "voter-file-lost", "a standby's voter file is lost: it is silent until it is replaced",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_FILE_LOST, 1, 500, ORDER_NONE } }, 0, 0, 0, 5000, false, 0, 0, 0, 0 },
    { "log-gone", "the log that a standby needs is gone: it is cloned, and commits wait no longer than a lease",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_LOG_GONE, 1, 500, ORDER_NONE } }, 0, 0, 0, 2500, false, 0, 0, 0, 0 },
    { "copy-given-up", "the operator has a standby made anew",
      3, 0, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_REBUILD, 1, 500, ORDER_NONE } }, 0, 0, 0, 2500, false, 0, 0, 0, 0 },
    { "two-logs-gone", "two standbys must be cloned: one after the other",
      3, 0, DURABILITY_ASYNC, SERVICE_POSTGRES,
      { { 100, FAULT_LOG_GONE, 1, 500, ORDER_NONE }, { 110, FAULT_LOG_GONE, 2, 500, ORDER_NONE } },
      0, 0, 0, 300, false, 0, 0, 0, 0 },
    { "primary-made-by-hand", "a standby is made a primary past every guard: it is cloned, and has nothing to say",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_FORGED, 1, 3000, ORDER_NONE } }, 0, 0, 0, 2500, false, 0, 0, 0, 0 },
    { "primary-made-by-hand-async", "the same where its log would be the longest when the primary dies",
      3, 0, DURABILITY_ASYNC, SERVICE_POSTGRES,
      { { 100, FAULT_FORGED, 1, 3000, ORDER_NONE }, { 3400, FAULT_HOST_LOST, 0, 5000, ORDER_NONE } },
      2, 1, 1, 2500, false, 0, 0, 0, 0 },
    { "redis-killed", "redis-server dies and comes back empty: a replica takes over",
      2, 1, DURABILITY_SYNC, SERVICE_REDIS,
      { { 100, FAULT_SERVER_KILLED, 0, 1000, ORDER_NONE } }, 1, 1, 1, 1000, false, 0, 0, 0, 0 },
    { "redis-switchover", "a planned change of the Redis primary",
      2, 1, DURABILITY_SYNC, SERVICE_REDIS,
      { { 100, FAULT_NONE, 0, 0, ORDER_SWITCHOVER } }, 1, 1, 1, 500, false, 0, 0, 0, 0 },
    { "tail-rescued", "async: what the standby lacks is taken from the files of the server that died",
      2, 1, DURABILITY_ASYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DISK_SLOW, 1, 60, ORDER_NONE }, { 150, FAULT_SERVER_KILLED, 0, 1000, ORDER_NONE } },
      1, 1, 1, 900, true, 0, 0, 0, 0 },
    { "tail-rescued-of-three", "with three databases the one that fetches is not disturbed by the other",
      3, 0, DURABILITY_ASYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DISK_SLOW, 1, 90, ORDER_NONE }, { 101, FAULT_DISK_SLOW, 2, 90, ORDER_NONE },
        { 230, FAULT_SERVER_KILLED, 0, 1000, ORDER_NONE } },
      NOT_FIRST, 1, 1, 1200, true, 0, 0, 0, 0 },
    { "removed-while-away", "a member is removed while its host is off; when it is back, it is told",
      3, 0, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_HOST_LOST, 2, 8000, ORDER_NONE }, { 4000, FAULT_NONE, 2, 0, ORDER_MEMBER_REMOVE } },
      0, 0, 0, 2200, false, 0, 0, 0, 0 },
    { "switchover-to-the-dead", "a switchover to a member that has just died: the primary goes on",
      2, 1, DURABILITY_ASYNC, SERVICE_POSTGRES,
      { { 100, FAULT_HOST_LOST, 1, 9000, ORDER_NONE },
        { 300, FAULT_NONE, 0, 0, ORDER_SWITCHOVER } },
      0, 1, 1, 2500, false, 0, 0, 0, 0 },
    { "switchover-to-the-dead-sync", "the same where commits wait for it",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_HOST_LOST, 1, 9000, ORDER_NONE },
        { 300, FAULT_NONE, 0, 0, ORDER_SWITCHOVER } },
      0, 1, 1, 4000, false, 0, 0, 0, 0 },
    { "disk-full-and-killed", "the primary cannot write its votes, an order, and then its server dies",
      2, 1, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_DISK_FULL, 0, 9000, ORDER_NONE }, { 300, FAULT_NONE, 0, 0, ORDER_SWITCHOVER },
        { 3000, FAULT_SERVER_KILLED, 0, 1000, ORDER_NONE } },
      1, 1, 1, 700, false, 0, 0, 0, 0 },
    { "host-lost-slow-freezes", "five databases on hosts so slow that the receivers take long to end",
      5, 0, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_HOST_LOST, 0, 14000, ORDER_NONE } }, NOT_FIRST, 1, 1, 3500, false, 600, 900, 0, 0 },
    { "host-lost-slow-votes", "the votes of all members are written slowly, and the lease is short",
      3, 0, DURABILITY_SYNC, SERVICE_POSTGRES,
      { { 100, FAULT_HOST_LOST, 0, 14000, ORDER_NONE } }, NOT_FIRST, 1, 1, 6000, false, 400, 0, 330, 0 },
    { "redis-longest-held-back", "Redis: the longest log is on a replica that takes nothing over, and gives nothing",
      3, 0, DURABILITY_ASYNC, SERVICE_REDIS,
      { { 100, FAULT_ISOLATED, 1, 700, ORDER_NONE }, { 780, FAULT_HOST_LOST, 0, 8000, ORDER_NONE } },
      1, 1, 1, 2700, false, 0, 0, 0, 2 },
    { "redis-switchover-to-the-dead", "the successor has just died: the primary goes on, and keeps its data",
      2, 1, DURABILITY_ASYNC, SERVICE_REDIS,
      { { 100, FAULT_HOST_LOST, 1, 9000, ORDER_NONE }, { 110, FAULT_NONE, 0, 0, ORDER_SWITCHOVER } },
      0, 0, 0, 2200, false, 0, 0, 0, 0 },
    { "redis-switchover-to-the-cut-off", "the same in sync, where the successor is only cut off",
      2, 1, DURABILITY_SYNC, SERVICE_REDIS,
      { { 100, FAULT_ISOLATED, 1, 9000, ORDER_NONE }, { 110, FAULT_NONE, 0, 0, ORDER_SWITCHOVER } },
      0, 0, 0, 2500, false, 0, 0, 0, 0 },
    { "redis-switchover-to-the-deaf", "the successor does not hear that it was given everything",
      2, 1, DURABILITY_SYNC, SERVICE_REDIS,
      { { 100, FAULT_DEAF, 1, 9000, ORDER_NONE }, { 110, FAULT_NONE, 0, 0, ORDER_SWITCHOVER } },
      0, 0, 0, 2500, false, 0, 0, 0, 0 },
    { "redis-all-restarted", "all servers with the data were restarted: nobody is promoted, until a person says whose data go on",
      2, 1, DURABILITY_SYNC, SERVICE_REDIS,
      { { 100, FAULT_ALL_LOST, 0, 1000, ORDER_NONE }, { 12000, FAULT_NONE, 0, 0, ORDER_KEEP } },
      0, 0, 1, 15000, false, 0, 0, 0, 0 },
    { "redis-all-restarted-other", "the same, and the data of the member that does not hold the lease go on",
      2, 1, DURABILITY_SYNC, SERVICE_REDIS,
      { { 100, FAULT_ALL_LOST, 0, 1000, ORDER_NONE }, { 12000, FAULT_NONE, 1, 0, ORDER_KEEP } },
      1, 1, 1, 15000, false, 0, 0, 0, 0 },
};
/* clang-format on */

static void plan(struct sim *w, const struct story *t)
{
    struct sim_plan *p = &w->plan;

    p->profile = PROFILE_STORY;
    p->db_n = t->db_n;
    p->witness_n = t->witness_n;
    p->services_n = 1;
    p->kind[0] = t->kind;
    p->ttl_ms = t->ttl_ms != 0 ? t->ttl_ms : 1500;
    p->heartbeat_ms = p->ttl_ms / 6;
    p->durability = t->durability;
    p->sync_standbys = 1;
    p->max_lag_bytes = 1u << 20;
    p->has_gate = p->is_adopted = p->has_orphans = p->operator_mends = true;
    p->sender_us = 30 * SIM_MS;
    p->checkpointer_us = 15 * SIM_MS;
    p->probe_late_us = 5 * SIM_MS;
    p->is_nofailover[t->nofailover] = t->nofailover != 0;
    p->freeze_us = t->freeze_ms != 0 ? t->freeze_ms * SIM_MS : 20 * SIM_MS;
    p->stream_timeout_us = 2 * SIM_S;
    p->stall_timeout_ms = 3000;
    p->crash_wait_ms = 500;
    p->freeze_timeout_ms = 500;
    p->rescue_timeout_ms = 1000;
    p->rescue_bytes = 64u << 20;
    p->faults_end_us = 22 * SIM_S;
    p->converged_by_us = 50 * SIM_S;
}

/* The slot of a host that nobody shall make a member again. */
static uint8_t leaves(struct sim *w, uint8_t host)
{
    uint8_t holder = sim_holder(w, 0);

    w->host[host].is_member = false;
    return holder == SIM_NOWHERE
               ? HM_NOBODY
               : record_find_name(core_record(&w->node[0][holder].core), w->host[host].name);
}

void sim_story_step(struct sim *w, const struct sim_event *e)
{
    const struct step *s = &stories[w->story].steps[e->a];
    struct order o = { .kind = s->order, .member = HM_NOBODY };

    if (e->a == 0) {
        w->stats.failovers = w->stats.rescues = 0;
        w->stats.lossy = 0;
        sim_gap_begin(w, 0, GAP_HOST_LOST);
    }
    w->client[0].dense_until_us = w->now_us + 10 * SIM_S;
    if (s->order == ORDER_MEMBER_REMOVE)
        o.member = leaves(w, s->host);
    if (s->fault == FAULT_NONE) {
        w->operator[0].wants_pause = s->order == ORDER_PAUSE;
        if (s->order == ORDER_KEEP)
            sim_operator_keep(w, 0, s->host);
        else
            sim_order(w, 0, &o);
    } else if (!sim_fault(w, s->fault, s->host, s->lasts_ms * SIM_MS)) {
        sim_violated(w, "STORY", "the fault '%s' was not possible", sim_fault_name(s->fault));
    } else if (s->fault == FAULT_DISK_SLOW) {
        w->host[s->host].slow_disk_us = SLOW_MS * SIM_MS; /* in drawn stories it may be seconds */
    }
}

void sim_story_ended(struct sim *w)
{
    const struct sim_client *c = &w->client[0];

    w->story_gap_us = c->gap_worst_us;
    if (w->now_us - c->last_ack_us > w->story_gap_us)
        w->story_gap_us = w->now_us - c->last_ack_us;
}

/* Whoever was removed and is back knows it, and does nothing any more. */
static void judge_removed(struct sim *w)
{
    for (unsigned int h = 0; h < w->hosts_n; h++)
        if (!w->host[h].is_member && w->host[h].is_on && w->node[0][h].core.state != ST_OUTSIDE)
            sim_violated(w, "STORY", "host %u was removed and does not know it", h);
}

static void judge_story(struct sim *w, const struct story *t)
{
    uint8_t primary = sim_primary(w, 0);
    bool is_right = t->primary == ANYBODY     ? primary != SIM_NOWHERE
                    : t->primary == NOT_FIRST ? primary != SIM_NOWHERE && primary != 0
                                              : primary == t->primary;

    judge_removed(w);
    if (!is_right)
        sim_violated(w, "STORY", "the primary is host %d in the end",
                     primary == SIM_NOWHERE ? -1 : primary);
    if (w->stats.failovers < t->promotions_min || w->stats.failovers > t->promotions_max)
        sim_violated(w, "STORY", "%lu promotions", (unsigned long)w->stats.failovers);
    if (t->is_lossless && (w->stats.lossy > 0 || w->stats.rescues == 0))
        sim_violated(w, "STORY", "%u promotions lost something, %lu rescues", w->stats.lossy,
                     (unsigned long)w->stats.rescues);
    if (w->story_gap_us > t->gap_max_ms * SIM_MS)
        sim_violated(w, "STORY", "a write gap of %ld ms, and %ld are allowed",
                     (long)(w->story_gap_us / SIM_MS), (long)t->gap_max_ms);
}

static int tell(struct sim *w, uint32_t i)
{
    const struct story *t = &stories[i];

    sim_begin(w, i + 1);
    w->story = i;
    plan(w, t);
    sim_draw_world(w);
    for (uint32_t h = 0; h < w->hosts_n && t->write_ms != 0; h++)
        w->host[h].write_us = t->write_ms * SIM_MS;
    for (uint32_t k = 0; k < STEPS_MAX; k++)
        if (t->steps[k].at_ms != 0)
            sim_at(w, SETTLED_S * SIM_S + t->steps[k].at_ms * SIM_MS, EV_STORY, 0, SIM_NOWHERE, k,
                   0, 0);
    sim_at(w, w->plan.faults_end_us, EV_PHASE, 0, SIM_NOWHERE, 0, 0, 0);
    sim_loop(w);
    if (!w->is_violated)
        judge_story(w, t);
    return w->is_violated ? 1 : 0;
}

static void print_outcome(const struct sim *w, const struct story *t)
{
    uint8_t primary = sim_primary(w, 0);

    printf("%-24s %-5s primary %-4s promotions %lu, write gap %ld ms\n", t->name,
           w->is_violated ? "FAIL" : "ok", primary == SIM_NOWHERE ? "none" : w->host[primary].name,
           (unsigned long)w->stats.failovers, (long)(w->story_gap_us / SIM_MS));
    if (w->is_violated)
        printf("violation: invariant=%s story=%s t_ms=%ld what=%s\n", w->violated, t->name,
               (long)(w->violated_us / 1000), w->what);
}

int sim_story(struct sim *w, const char *name, bool is_traced)
{
    for (uint32_t i = 0; i < HM_ARRAY_LEN(stories); i++) {
        int rc;

        if (strcmp(stories[i].name, name) != 0)
            continue;
        printf("%s: %s\n", stories[i].name, stories[i].tells);
        w->is_traced = is_traced;
        rc = tell(w, i);
        w->is_traced = false;
        if (rc != 0)
            sim_print_state(w, stdout);
        print_outcome(w, &stories[i]);
        return rc;
    }
    fprintf(stderr, "sim: there is no story '%s'; --list shows all\n", name);
    return 2;
}

int sim_stories(struct sim *w)
{
    int rc = 0;

    for (uint32_t i = 0; i < HM_ARRAY_LEN(stories); i++) {
        rc |= tell(w, i);
        print_outcome(w, &stories[i]);
    }
    return rc;
}

void sim_story_list(FILE *out)
{
    for (size_t i = 0; i < HM_ARRAY_LEN(stories); i++)
        fprintf(out, "%-24s %s\n", stories[i].name, stories[i].tells);
}
