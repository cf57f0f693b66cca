/* told.h - one real core in a small made-up world, for stories that unit tests tell.
 *
 * The other members are puppets: a real voter each, gossip and a frozen log as the test wants
 * them. Messages take a millisecond, writes two, operations on the copy five; the copy does what
 * it is asked. Nothing is drawn by chance but the core's own jitter. */
#ifndef TESTS_UNIT_TOLD_H
#define TESTS_UNIT_TOLD_H

#include "base/text.h"
#include "core/core.h"
#include "core/narrate.h"
#include "tests/cm.h"

#include <string.h>

enum { TOLD_QUEUE_MAX = 128, TOLD_HEARTBEAT_MS = 100, TOLD_TTL_MS = 1500, TOLD_PROBE_MS = 50 };

struct told_event {
    struct core_event ev;
    struct record record;     /* of its message */
    enum core_effect_type op; /* ON_DONE: what has ended */
    struct core_effect asked; /* ... as it was asked for */
    bool is_used;
};

struct told {
    struct core core;
    struct core_effects todo; /* of the newest step */
    struct record first;      /* what the members are configured with */
    hm_ms now_ms;
    uint8_t self;

    struct told_event queue[TOLD_QUEUE_MAX];
    hm_ms probe_ms;
    unsigned probe_rarely; /* only every so manieth time, unless asked for; 0: always */
    unsigned probes_left_out;

    struct voter voter[HM_MEMBERS_MAX]; /* the puppets' */
    struct gossip gossip[HM_MEMBERS_MAX];
    uint16_t deaf;   /* slots that hear and say nothing */
    uint16_t frozen; /* slots that answer LOG_FREEZE with what their gossip tells */
    uint8_t leader;  /* this puppet renews its lease; HM_NOBODY: none does */
    hm_ms renew_ms;
    uint32_t seq;

    struct copy copy;
    bool is_disk_broken; /* writes fail */
    bool is_disk_stuck;  /* writes do not end */
    bool is_fence_stuck; /* hamgr-fence does nothing */
    uint32_t failing;    /* operations that fail: 1 << type */
    uint32_t stuck;      /* operations that do not end */

    unsigned asked[DO_REPLY + 1]; /* how often each effect was asked for */
    struct core_effect last[DO_REPLY + 1];
    unsigned sent[MSG_TYPES_N];
    struct msg last_sent[MSG_TYPES_N];
    size_t most_effects; /* of one step */

    char line[600];
    char story[16384]; /* every step that changed the state, a line each */
    struct text told;
    void (*listen)(const struct core_event *ev); /* hears each event that the core takes */
};

static const uint64_t told_cluster = 77;

static inline uint64_t told_incarnation(unsigned slot)
{
    return 101 + slot;
}

static inline uint64_t told_copy_id(unsigned slot)
{
    return 1001 + slot;
}

static inline struct ballot told_ballot(uint64_t counter, uint8_t member)
{
    return (struct ballot){ .counter = counter,
                            .incarnation = told_incarnation(member),
                            .member = member };
}

/* --- records ---------------------------------------------------------------------------------- */

/* What a cluster of db members db1.. and witnesses w1.. begins with. */
static inline void told_first(struct record *r, unsigned dbs, unsigned witnesses)
{
    memset(r, 0, sizeof *r);
    r->cluster = told_cluster;
    r->ttl_ms = TOLD_TTL_MS;
    r->heartbeat_ms = TOLD_HEARTBEAT_MS;
    r->max_lag_bytes = 1000;
    r->sync_standbys = 1;
    for (unsigned slot = 0; slot < dbs + witnesses; slot++) {
        struct member *m = &r->member[slot];

        m->role = slot < dbs ? ROLE_DB : ROLE_WITNESS;
        m->name[0] = slot < dbs ? 'd' : 'w';
        m->name[1] = slot < dbs ? 'b' : 't';
        m->name[2] = (char)('1' + (slot < dbs ? slot : slot - dbs));
        m->address[0] = 'a';
        r->voters |= (uint16_t)(1u << slot);
    }
}

/* The third epoch of such a cluster: db1 leads since position 1000 on timeline 3. */
static inline void told_record(struct record *r, const struct record *first)
{
    *r = *first;
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (r->member[slot].role != ROLE_NONE)
            r->member[slot].incarnation = told_incarnation(slot);
    r->version = 5;
    r->epoch = 3;
    r->holder = 0;
    r->copy_id = told_copy_id(0);
    r->system_id = 9;
    r->pairs_n = 1;
    r->pairs[0] = pair_alone;
    record_add_timeline(r, 2, 2, 500);
    record_add_timeline(r, 3, 3, 1000);
    record_add_change(r, CHANGE_LEASE_RAN_OUT, 1);
    r->last_known = (struct position){ .timeline = 3, .offset = 2000 };
}

/* Everybody has accepted that record by ballot (7, db1). */
static inline void told_state(struct voter_state *s, const struct record *r, unsigned slot)
{
    memset(s, 0, sizeof *s);
    s->incarnation = told_incarnation(slot);
    s->promised = told_ballot(7, 0);
    s->accepted = s->promised;
    s->max_ttl_ms = r->ttl_ms;
    s->record = *r;
}

static inline void told_standby(struct copy *c, unsigned slot)
{
    memset(c, 0, sizeof *c);
    c->state = COPY_STANDBY;
    c->is_healthy = true;
    c->copy_id = told_copy_id(slot);
    c->system_id = 9;
    c->server_id = 40 + slot;
    c->at = (struct position){ .timeline = 3, .offset = 2000 };
    c->is_final = true;
    c->began_epoch = 3;
    c->follows = 0;
    c->is_streaming = true;
    c->names = NAMES_NOBODY;
    c->is_flag_certain = true;
    c->fence_answers = true;
    c->fence = FENCE_STANDBY;
    c->is_gate_open = true;
}

static inline void told_primary(struct copy *c, unsigned slot)
{
    told_standby(c, slot);
    c->state = COPY_PRIMARY;
    c->was_primary = true;
    c->follows = HM_NOBODY;
    c->is_streaming = false;
    c->names = NAMES_EMPTY;
    c->fence = FENCE_LEASE;
}

static inline void told_gossip(struct gossip *g, unsigned slot)
{
    memset(g, 0, sizeof *g);
    g->copy = COPY_STANDBY;
    g->copy_id = told_copy_id(slot);
    g->at = (struct position){ .timeline = 3, .offset = 2000 };
    g->began_epoch = 3;
    g->epoch = 3;
    g->follows = 0;
    g->is_streaming = true;
    g->is_final = true;
    g->is_healthy = true;
    g->sees_majority = true;
}

static inline void told_config(struct core_config *config, const struct record *first,
                               unsigned slot)
{
    memset(config, 0, sizeof *config);
    config->cluster = told_cluster;
    config->kind = first->kind;
    config->role = first->member[slot].role;
    config->incarnation = told_incarnation(slot);
    config->seed = 1;
    memcpy(config->name, first->member[slot].name, sizeof config->name);
    config->stall_timeout_ms = 1000;
    config->crash_wait_ms = 500;
    config->freeze_timeout_ms = 200;
    config->fence_margin_ms = 50;
    config->first = *first;
}

/* --- the world -------------------------------------------------------------------------------- */

/* Builds the world; the core is not started yet. */
static inline void told_init(struct told *t, unsigned dbs, unsigned witnesses, uint8_t self)
{
    struct core_config config;

    memset(t, 0, sizeof *t);
    told_first(&t->first, dbs, witnesses);
    told_config(&config, &t->first, self);
    core_init(&t->core, &config);
    t->self = self;
    t->leader = HM_NOBODY;
    t->frozen = 0x1ff;
    text_init(&t->told, t->story, sizeof t->story);
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        t->gossip[slot].follows = HM_NOBODY;
        if (slot < dbs)
            told_gossip(&t->gossip[slot], slot);
    }
    if (self < dbs)
        told_standby(&t->copy, self);
}

static inline struct told_event *told_post(struct told *t, enum core_event_type type, hm_ms at_ms)
{
    for (unsigned i = 0; i < TOLD_QUEUE_MAX; i++)
        if (!t->queue[i].is_used) {
            struct told_event *e = &t->queue[i];

            memset(e, 0, sizeof *e);
            e->is_used = true;
            e->ev.type = type;
            e->ev.at_ms = at_ms;
            return e;
        }
    fail_msg("the queue is full");
    return NULL;
}

/* A message of a puppet, with all that addresses it. */
static inline struct msg told_message(const struct told *t, uint8_t from, enum msg_type type)
{
    return (struct msg){ .type = type,
                         .from = from,
                         .to = t->self,
                         .from_incarnation = told_incarnation(from),
                         .to_incarnation = told_incarnation(t->self),
                         .cluster = told_cluster,
                         .cluster_incarnation = t->core.cluster_incarnation,
                         .gossip = t->gossip[from] };
}

static inline void told_post_message(struct told *t, const struct msg *m)
{
    struct told_event *e = told_post(t, ON_MESSAGE, t->now_ms + 1);

    e->ev.message = *m;
    if (m->record == NULL)
        return;
    e->record = *m->record;
    e->ev.message.record = &e->record;
}

/* A puppet answers a request as a real voter does; its disk takes no time. */
static inline void told_ask_puppet(struct told *t, const struct msg *m)
{
    struct voter *v = &t->voter[m->to];
    struct msg answer, full = told_message(t, m->to, MSG_GOSSIP);
    enum voter_says says = voter_take(v, m, t->now_ms, &answer);

    if (says == VOTER_WRITES)
        voter_written(v, true, t->now_ms, &answer);
    else if (says != VOTER_ANSWERS)
        return;
    answer.from = full.from;
    answer.to = full.to;
    answer.from_incarnation = full.from_incarnation;
    answer.to_incarnation = full.to_incarnation;
    answer.cluster = full.cluster;
    answer.cluster_incarnation = full.cluster_incarnation;
    answer.gossip = full.gossip;
    if (m->type == MSG_FREEZE && answer.refusal == REFUSE_NOTHING) {
        if ((t->frozen & (1u << m->to)) == 0)
            return;
        answer.record = NULL;
        answer.at = t->gossip[m->to].at;
        answer.began_epoch = t->gossip[m->to].began_epoch;
        answer.copy_id = t->gossip[m->to].copy_id;
    }
    told_post_message(t, &answer);
}

static inline void told_fence(struct told *t, const struct core_effect *e)
{
    if (t->is_fence_stuck)
        return;
    t->copy.fence = e->fence.mode;
    t->copy.fence_until_ms = e->fence.until_ms;
    t->copy.is_gate_open = e->fence.is_gate_open;
    if (e->fence.mode == FENCE_SUSPENDED && t->copy.state == COPY_PRIMARY) {
        t->copy.state = COPY_SUSPENDED;
        t->copy.was_primary = true;
    }
}

/* What an operation makes of the copy. */
static inline void told_operate(struct told *t, const struct core_effect *e)
{
    struct copy *c = &t->copy;

    switch ((int)e->type) {
    case DO_START:
        c->state = COPY_STANDBY;
        c->server_id += 100;
        c->is_final = true;
        c->follows = HM_NOBODY;
        c->is_healthy = true;
        break;
    case DO_STOP:
        c->state = COPY_DOWN;
        break;
    case DO_PROMOTE:
        c->state = COPY_PRIMARY;
        c->at.timeline = e->copy.timeline;
        if ((e->copy.timeline & HM_TIMELINE_OPEN) != 0)
            c->at.timeline = 777; /* Redis draws its replication id now */
        c->began_epoch = e->copy.epoch;
        c->was_primary = true;
        break;
    case DO_FOLLOW:
        c->follows = e->copy.member;
        c->is_streaming = true;
        break;
    case DO_FREEZE:
        c->follows = HM_NOBODY;
        c->is_streaming = false;
        break;
    case DO_FETCH:
    case DO_RESCUE:
        c->at = e->copy.upto;
        break;
    case DO_REWIND:
    case DO_CLONE:
        c->state = COPY_DOWN;
        c->copy_id += 5000;
        c->lacks_log = false;
        c->system_id = 9;
        c->at = (struct position){ .timeline = 3, .offset = 2000 };
        c->began_epoch = 3;
        c->is_final = true;
        c->was_primary = c->has_written = false;
        break;
    case DO_INIT:
        c->state = COPY_DOWN;
        c->copy_id = 4711;
        c->system_id = 9;
        c->at = (struct position){ .timeline = 1, .offset = 10 };
        c->is_final = true;
        break;
    case DO_SET_NAMES:
        c->names = e->names.names;
        c->names_digest = e->names.names == NAMES_PAIR ? pair_digest(&e->names.pair) : 0;
        break;
    default:
        break;
    }
}

static inline void told_carry_out(struct told *t, const struct core_effect *e)
{
    struct told_event *post;

    t->asked[e->type]++;
    t->last[e->type] = *e;
    if (e->type == DO_SEND) {
        t->sent[e->send.type]++;
        t->last_sent[e->send.type] = e->send;
        if (e->send.to < HM_MEMBERS_MAX && (t->deaf & (1u << e->send.to)) == 0)
            told_ask_puppet(t, &e->send);
    } else if (e->type == DO_PERSIST && !t->is_disk_stuck) {
        post = told_post(t, ON_PERSISTED, t->now_ms + 2);
        post->ev.persisted.ticket = e->persist.ticket;
        post->ev.persisted.is_ok = !t->is_disk_broken;
    } else if (e->type == DO_FENCE) {
        told_fence(t, e);
    } else if (e->type == DO_LOOK) {
        t->probes_left_out = t->probe_rarely;
    } else if (e->type == DO_THAW && t->copy.state == COPY_SUSPENDED) {
        t->copy.state = t->copy.was_primary ? COPY_PRIMARY : COPY_STANDBY;
    } else if (e->type == DO_KILL) {
        t->copy.state = COPY_DOWN;
        t->copy.is_healthy = false;
    } else if (effect_is_copy_operation(e->type) && (t->stuck & (1u << e->type)) == 0) {
        post = told_post(t, ON_DONE, t->now_ms + 5);
        post->ev.done.op = e->op;
        post->op = e->type;
        post->asked = *e;
    }
}

/* Adds the newest step to the story if it changed the state: "1500 db2 rule 39 ...". */
static inline void told_tell(struct told *t)
{
    char line[600];

    if (t->core.moves_n == 0)
        return;
    text_add_i64(&t->told, t->now_ms);
    text_add_char(&t->told, ' ');
    text_add(&t->told, core_narrate(&t->core, line, sizeof line));
    text_add_char(&t->told, '\n');
}

/* Feeds one event, which must be taken, and carries out what the core asks for. Returns the
 * decision as a line. */
static inline const char *told_feed(struct told *t, const struct core_event *ev)
{
    t->now_ms = ev->at_ms;
    if (t->listen != NULL)
        t->listen(ev);
    assert_int_equal(core_step(&t->core, ev, &t->todo), HM_OK);
    if (t->todo.n > t->most_effects)
        t->most_effects = t->todo.n;
    told_tell(t);
    for (size_t i = 0; i < t->todo.n; i++)
        told_carry_out(t, &t->todo.item[i]);
    return core_narrate(&t->core, t->line, sizeof t->line);
}

static inline const char *told_tick(struct told *t, hm_ms at_ms)
{
    return told_feed(t, &(struct core_event){ .type = ON_TICK, .at_ms = at_ms });
}

static inline const char *told_probe(struct told *t)
{
    struct core_event ev = { .type = ON_COPY, .at_ms = t->now_ms };

    t->copy.taken_at_ms = t->now_ms;
    ev.copy = t->copy;
    if (t->copy.stalled_ms > 0) /* what hangs goes on hanging */
        t->copy.stalled_ms += TOLD_PROBE_MS;
    if (t->copy.hung_ms > 0)
        t->copy.hung_ms += TOLD_PROBE_MS;
    return told_feed(t, &ev);
}

static inline const char *told_hear(struct told *t, const struct msg *m)
{
    struct core_event ev = { .type = ON_MESSAGE, .at_ms = t->now_ms };

    ev.message = *m;
    return told_feed(t, &ev);
}

static inline const char *told_order(struct told *t, struct order o)
{
    struct core_event ev = { .type = ON_ORDER, .at_ms = t->now_ms };

    ev.order = o;
    return told_feed(t, &ev);
}

/* Starts the core at `at_ms` with this state on its disk; NULL: the file is missing. */
static inline const char *told_start(struct told *t, const struct voter_state *state, hm_ms at_ms)
{
    struct core_event ev = { .type = ON_START, .at_ms = at_ms };

    ev.start.state = state;
    t->probe_ms = at_ms + 1;
    t->renew_ms = at_ms + 2;
    return told_feed(t, &ev);
}

/* Everybody knows `r`; the core and all puppets start at at_ms. */
static inline const char *told_start_all(struct told *t, const struct record *r, hm_ms at_ms)
{
    struct voter_state s;

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        told_state(&s, r, slot);
        voter_init(&t->voter[slot], &s, at_ms - 2 * TOLD_TTL_MS);
    }
    told_state(&s, r, t->self);
    return told_start(t, &s, at_ms);
}

/* The leading puppet renews, at its own voter and at the core. */
static inline void told_renew(struct told *t)
{
    const struct voter_state *s = &t->voter[t->leader].durable;
    struct msg m = told_message(t, t->leader, MSG_RENEW), answer;

    m.ballot = s->accepted;
    m.version = s->record.version;
    m.ttl_ms = s->record.ttl_ms;
    m.seq = ++t->seq;
    m.gossip.is_holder = true;
    if (m.gossip.copy == COPY_STANDBY)
        m.gossip.copy = COPY_PRIMARY;
    (void)voter_take(&t->voter[t->leader], &m, t->now_ms, &answer);
    (void)told_hear(t, &m);
}

static inline struct told_event *told_next(struct told *t)
{
    struct told_event *next = NULL;

    for (unsigned i = 0; i < TOLD_QUEUE_MAX; i++)
        if (t->queue[i].is_used && (next == NULL || t->queue[i].ev.at_ms < next->ev.at_ms))
            next = &t->queue[i];
    return next;
}

static inline void told_deliver(struct told *t, struct told_event *e)
{
    struct told_event copy = *e;

    e->is_used = false;
    if (copy.ev.type == ON_MESSAGE && copy.ev.message.record != NULL)
        copy.ev.message.record = &copy.record;
    if (copy.ev.type == ON_DONE) {
        copy.ev.done.is_ok = (t->failing & (1u << copy.op)) == 0;
        if (copy.ev.done.is_ok)
            told_operate(t, &copy.asked);
        t->copy.taken_at_ms = copy.ev.at_ms;
        copy.ev.done.copy = t->copy;
    }
    (void)told_feed(t, &copy.ev);
}

/* The puppets that hear say how they are. */
static inline void told_chat(struct told *t)
{
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (slot != t->self && slot != t->leader && t->first.member[slot].role != ROLE_NONE &&
            (t->deaf & (1u << slot)) == 0) {
            struct msg m = told_message(t, slot, MSG_GOSSIP);

            (void)told_hear(t, &m);
        }
}

/* Lets the world go on until `until_ms`, that moment included. */
static inline void told_run(struct told *t, hm_ms until_ms)
{
    for (unsigned steps = 0; steps < 100000; steps++) {
        struct told_event *e = told_next(t);
        hm_ms at_ms = hm_min_ms(core_deadline(&t->core), t->probe_ms);

        at_ms = hm_max_ms(at_ms, t->now_ms);
        if (t->leader != HM_NOBODY)
            at_ms = hm_min_ms(at_ms, t->renew_ms);
        if (e != NULL && e->ev.at_ms <= at_ms && e->ev.at_ms <= until_ms) {
            told_deliver(t, e);
        } else if (at_ms > until_ms) {
            t->now_ms = hm_max_ms(t->now_ms, until_ms);
            return;
        } else if (t->leader != HM_NOBODY && at_ms == t->renew_ms) {
            t->now_ms = at_ms;
            t->renew_ms += TOLD_HEARTBEAT_MS;
            told_renew(t);
        } else if (at_ms == t->probe_ms) {
            t->now_ms = at_ms;
            t->probe_ms += TOLD_PROBE_MS;
            if (t->core.config.role == ROLE_DB && t->probes_left_out++ >= t->probe_rarely) {
                t->probes_left_out = 0;
                (void)told_probe(t);
            }
            told_chat(t);
        } else {
            (void)told_tick(t, at_ms);
        }
    }
    fail_msg("the world does not come to rest; story so far:\n%s", t->story);
}

static inline bool told_has(const struct told *t, const char *what)
{
    return strstr(t->story, what) != NULL;
}

/* Forgets what was asked for and told so far. */
static inline void told_forget(struct told *t)
{
    memset(t->asked, 0, sizeof t->asked);
    memset(t->sent, 0, sizeof t->sent);
    text_init(&t->told, t->story, sizeof t->story);
}

#endif
