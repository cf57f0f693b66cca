/* reg.c - one register of one cluster: a core that votes, its file, its deadline. */
#include "witness/inner.h"

#include "base/clock.h"
#include "core/narrate.h"

#include <stdlib.h>
#include <string.h>

/* --- into the core and out of it ---------------------------------------------------------------
 */

static void run_save(struct worker_job *job)
{
    struct reg_job *work = (struct reg_job *)job;
    const struct reg *r = work->reg;

    work->rc = store_save(&r->cluster->store, r->name, work->saving, &work->err);
}

static void done_save(struct worker_job *job);

static void persist(struct reg *r, const struct core_effect *e)
{
    HM_BUG_ON(r->is_writing);
    r->is_writing = true;
    r->work.job.run = run_save;
    r->work.job.done = done_save;
    r->work.ticket = e->persist.ticket;
    r->work.saving = e->persist.state;
    worker_add(r->cluster->all->config.disk, &r->work.job);
}

static void send_msg(struct reg *r, const struct msg *m)
{
    const struct record *record = core_record(r->core);
    struct wire_frame frame = { .type = WIRE_MSG };
    const char *name = NULL;

    if (record == NULL)
        record = &r->core->config.first;
    if (m->to < HM_MEMBERS_MAX && record->member[m->to].role != ROLE_NONE)
        name = record->member[m->to].name;
    frame.msg = *m;
    (void)link_send(r->cluster->links, m->to_incarnation, name, &frame); /* as good as lost */
}

static void alert(const struct reg *r, enum alert_kind kind)
{
    if (kind == ALERT_STOPPED)
        log_error(
            "register_stopped cluster=%s service=%s reason=\"the cluster was forced to go on "
            "without this witness\" next=\"remove the witness's directory of this cluster and "
            "add the witness again\"",
            r->cluster->settings.name, r->name);
    /* ALERT_DISK is told with its reason where the write ended; the others are the holder's. */
}

static void carry_out(struct reg *r, const struct core_effects *todo)
{
    for (size_t i = 0; i < todo->n; i++) {
        const struct core_effect *e = &todo->item[i];

        switch ((int)e->type) {
        case DO_SEND:
            send_msg(r, &e->send);
            break;
        case DO_PERSIST:
            persist(r, e);
            break;
        case DO_ALERT:
            alert(r, e->alert.kind);
            break;
        default: /* a witness has no copy, no clients and no orders */
            break;
        }
    }
}

static void feed(struct reg *r, struct core_event *ev)
{
    struct clusters *all = r->cluster->all;
    enum core_state before = r->core->state;
    char line[300];

    if (ev->type != ON_START)
        ev->at_ms = clock_boot_ms();
    ev->wall_ms = clock_wall_ms();
    if (core_step(r->core, ev, &all->todo) != HM_OK) {
        all->ignored++;
        return;
    }
    if (r->core->state != before && (before != ST_START || r->core->state != ST_VOTING))
        log_info("register_changed cluster=%s service=%s %s", r->cluster->settings.name, r->name,
                 core_narrate(r->core, line, sizeof line));
    carry_out(r, &all->todo);
    deadlines_set(&all->deadlines, &r->deadline, core_deadline(r->core));
}

void reg_hear(struct reg *r, const struct msg *m)
{
    struct core_event ev = { .type = ON_MESSAGE };

    ev.message = *m;
    feed(r, &ev);
}

void reg_tick(struct reg *r)
{
    feed(r, &(struct core_event){ .type = ON_TICK });
}

void reg_stall(struct reg *r)
{
    if (r->core != NULL)
        feed(r, &(struct core_event){ .type = ON_STALL });
}

/* --- writes ---------------------------------------------------------------------------------- */

static void tell_disk(struct reg *r)
{
    const char *cluster = r->cluster->settings.name;
    uint64_t hidden = 0;

    if (r->work.rc == HM_OK) {
        if (log_repeat_ends(&r->trouble))
            log_notice("write_works cluster=%s service=%s", cluster, r->name);
    } else if (log_repeat_starts(&r->trouble, clock_boot_ms(), &hidden)) {
        log_error(
            "write_failed cluster=%s service=%s reason=\"%s\" hidden=%llu next=\"make room or "
            "replace the disk; until then this witness promises nothing new\"",
            cluster, r->name, r->work.err.text, (unsigned long long)hidden);
    }
}

static void tell_epoch(struct reg *r)
{
    const struct record *record = core_record(r->core);

    if (record == NULL || record->epoch == r->told_epoch)
        return;
    r->told_epoch = record->epoch;
    log_info("primary cluster=%s service=%s member=%s epoch=%llu", r->cluster->settings.name,
             r->name, record->member[record->holder].name, (unsigned long long)record->epoch);
}

/* Once there is a record, what a new cluster would begin with is of no use any more. */
static void forget_newest(struct reg *r)
{
    if (r->core == NULL || core_record(r->core) == NULL)
        return;
    free(r->newest);
    r->newest = NULL;
}

static void done_save(struct worker_job *job)
{
    struct reg *r = ((struct reg_job *)job)->reg;
    struct core_event ev = { .type = ON_PERSISTED };

    r->cluster->all->writes++;
    r->cluster->all->failed_writes += r->work.rc != HM_OK;
    tell_disk(r);
    r->is_writing = false;
    ev.persisted.ticket = r->work.ticket;
    ev.persisted.is_ok = r->work.rc == HM_OK;
    feed(r, &ev);
    tell_epoch(r);
    if (r->must_settle && !r->is_writing)
        reg_settle(r);
    else
        forget_newest(r);
}

/* --- beginning ------------------------------------------------------------------------------- */

static void run_load(struct worker_job *job)
{
    struct reg_job *work = (struct reg_job *)job;
    struct reg *r = work->reg;

    work->is_blank = false;
    work->rc = store_load(&r->cluster->store, r->name, work->loaded, &work->is_blank, &work->err);
}

/* Leases that this program granted before are forgotten by a new core: then quarantine begins now.
 * Otherwise it began when the directory became ours, and nobody else could grant any. */
static hm_ms born_ms(const struct reg *r)
{
    return r->cluster->was_dropped ? clock_boot_ms() : r->cluster->born_ms;
}

static bool begin(struct reg *r)
{
    const struct cluster *c = r->cluster;
    struct core_config config = { .cluster = c->settings.cluster_id,
                                  .service = r->number,
                                  .kind = r->kind,
                                  .role = ROLE_WITNESS,
                                  .incarnation = c->hello.incarnation,
                                  .first = r->newest->first };
    struct core_event ev = { .type = ON_START, .at_ms = born_ms(r) };

    r->core = malloc(sizeof *r->core);
    if (r->core == NULL)
        return false;
    /* The members have a record that does not name this witness yet: it waits for it, and votes for
     * no first one. */
    if (r->work.loaded->accepted.counter == 0 && agree_find(r->said, HM_MEMBERS_MAX).has_record) {
        memset(config.first.member, 0, sizeof config.first.member);
        config.first.voters = 0;
    }
    config.first.epoch = 0;
    config.seed = config.incarnation ^ (uint64_t)clock_wall_ms() ^ ((uint64_t)r->number << 56);
    memcpy(config.name, c->own_name, sizeof config.name);
    core_init(r->core, &config);
    r->state = REG_VOTES;
    r->told_epoch = r->work.loaded->accepted.counter != 0 ? r->work.loaded->record.epoch : 0;
    ev.start.state = r->work.loaded;
    feed(r, &ev);
    return true;
}

static void tell_broken(struct reg *r)
{
    const char *why = r->work.is_blank ? "the voter's file is missing" : r->work.err.text;
    const char *next = "make room and check the disk and its rights; it is tried again by itself";
    uint64_t hidden = 0;

    if (r->work.is_blank || r->work.rc == HM_BAD_INPUT)
        next =
            "remove this witness from the cluster, remove its directory of this cluster, and add "
            "the witness again: hamgr member remove, hamgr member add";
    if (log_repeat_starts(&r->trouble, clock_boot_ms(), &hidden))
        log_error("register_broken cluster=%s service=%s reason=\"%s\" next=\"%s\"",
                  r->cluster->settings.name, r->name, why, next);
}

static void done_load(struct worker_job *job)
{
    struct reg *r = ((struct reg_job *)job)->reg;
    struct agreement a = agree_find(r->said, HM_MEMBERS_MAX);
    bool must_settle = r->must_settle;

    r->state = REG_IDLE;
    r->must_settle = false;
    if (r->work.rc != HM_OK || r->work.is_blank) {
        r->state = REG_BROKEN;
        tell_broken(r);
    } else if (!a.is_on_name || a.name != agree_name(r->name, r->kind)) {
        must_settle = true; /* somebody said another name meanwhile */
    } else if (r->work.loaded->accepted.counter == 0 && !a.is_on_first) {
        cluster_tell_dispute(r,
                             "the members are configured differently and there is no record yet");
    } else if (begin(r)) {
        r->is_dispute_told = false;
        if (log_repeat_ends(&r->trouble))
            log_notice("register_works cluster=%s service=%s", r->cluster->settings.name, r->name);
        forget_newest(r);
    }
    free(r->work.loaded);
    r->work.loaded = NULL;
    if (must_settle && r->state != REG_BROKEN)
        reg_settle(r);
}

static bool is_named_so(const struct reg *r, uint64_t name)
{
    for (unsigned i = 0; i < HM_MEMBERS_MAX; i++)
        if (r->said[i].name == name)
            return true;
    return false;
}

/* One file has one register, whatever numbers are named for it. */
static bool is_name_taken(const struct reg *r)
{
    uint64_t name = agree_name(r->newest->name, r->newest->first.kind);

    for (unsigned i = 0; i < HM_SERVICES_MAX; i++) {
        const struct reg *other = r->cluster->reg[i];

        if (other == NULL || other == r)
            continue;
        if (is_named_so(other, name) ||
            ((other->state == REG_VOTES || other->state == REG_LOADING) &&
             strcmp(other->name, r->newest->name) == 0))
            return true;
    }
    return false;
}

static void load(struct reg *r)
{
    if (r->newest == NULL)
        return; /* the next HELLO tells it again */
    if (is_name_taken(r)) {
        cluster_tell_dispute(r, "the members give this service different numbers");
        return;
    }
    r->work.loaded = calloc(1, sizeof *r->work.loaded);
    if (r->work.loaded == NULL)
        return;
    memcpy(r->name, r->newest->name, sizeof r->name);
    r->kind = r->newest->first.kind;
    r->state = REG_LOADING;
    r->work.job.run = run_load;
    r->work.job.done = done_load;
    worker_add(r->cluster->all->config.disk, &r->work.job);
}

/* --- what the members say ----------------------------------------------------------------------
 */

static void drop_core(struct reg *r)
{
    deadlines_set(&r->cluster->all->deadlines, &r->deadline, HM_NEVER);
    free(r->core);
    r->core = NULL;
    r->state = REG_IDLE;
    r->cluster->was_dropped = true;
}

/* The register votes. One that has a record goes on for those who mean it; one that has none must
 * not vote for two first records. */
static void settle_voting(struct reg *r, const struct agreement *a)
{
    bool has_record = core_record(r->core) != NULL;

    if (is_named_so(r, agree_name(r->name, r->kind)) && (has_record || a->is_on_first)) {
        if (a->is_on_name)
            r->is_dispute_told = false;
        else
            cluster_tell_dispute(r, "some members call it otherwise; they get no vote from here");
        forget_newest(r);
        return;
    }
    if (a->is_on_first || (has_record && a->is_on_name)) {
        log_notice(
            "register_left cluster=%s service=%s reason=\"all members call it otherwise now\"",
            r->cluster->settings.name, r->name);
        drop_core(r);
        load(r);
        return;
    }
    cluster_tell_dispute(r, "the members are configured differently");
    if (!has_record)
        drop_core(r);
}

void reg_settle(struct reg *r)
{
    struct agreement a = agree_find(r->said, HM_MEMBERS_MAX);

    if (r->state == REG_LOADING || r->is_writing) {
        r->must_settle = true;
        return;
    }
    r->must_settle = false;
    if (a.sayers == 0)
        return; /* nobody configures it any more: it stays as it is */
    if (r->state == REG_VOTES)
        settle_voting(r, &a);
    else if (!a.is_on_name)
        cluster_tell_dispute(r, "the members name another service by this number");
    else
        load(r);
}

struct reg *reg_new(struct cluster *c, uint8_t number)
{
    struct reg *r;

    if (deadlines_reserve(&c->all->deadlines, c->all->regs + 1) != HM_OK)
        return NULL;
    r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    c->all->regs++;
    r->cluster = c;
    r->number = number;
    r->work.reg = r;
    return r;
}

void reg_free(struct reg *r)
{
    if (r == NULL)
        return;
    if (r->deadline.place != 0)
        deadlines_set(&r->cluster->all->deadlines, &r->deadline, HM_NEVER);
    free(r->core);
    free(r->newest);
    free(r->work.loaded);
    free(r);
}
