/* names.c - puts names in force: which copies of Redis may attach, how many of them a write needs;
 * and the marker: that they have what was there under these names.
 *
 * Whether enough of them are there at all is told to the server as min-replicas-to-write, so that a
 * write fails at once that nobody could confirm. */
#include "redis/op.h"

#include <stdio.h>
#include <string.h>

enum {
    POLL_MS = 2,
    MARKER_POLL_MS = 5,
    LAG_MIN_S = 2, /* replicas confirm once a second, and whole seconds are counted */
};

/* As many replicas as there never are. */
#define NEED_NEVER "1000"

/* --- set names -------------------------------------------------------------------------------- */

static void keep_for(struct redis_op *op)
{
    op->flag = true; /* it waits for this */
    rop_keep(op->s);
}

void rop_kept(struct service *s)
{
    struct redis_op *op = s->op;

    if (op == NULL || op->kind != &rop_set_names || !op->flag || op->has_ended)
        return;
    op->flag = false;
    if (s->keep_why[0] != 0)
        rop_fail(op, "cannot say which replicas may attach: %s", s->keep_why);
    else if (s->kept_out > 0 && s->info.is_master)
        rop_after(op, POLL_MS, keep_for);
    else
        rop_succeed(op);
}

/* A replica that is there counts as lagging by up to a second, and by two when a confirmation is a
 * little late. The mode decides how long a dead one holds up writes, not this: in sync it leaves
 * the pair after the time of a lease. */
static void lag_limit(const struct service *s, char text[16])
{
    hm_ms ttl_s = (s->record.ttl_ms + 999) / 1000;

    (void)snprintf(text, 16, "%d", (int)hm_max_ms(LAG_MIN_S, ttl_s));
}

/* How many of the pair's copies are attached and have confirmed that much. */
static unsigned int have_of(const struct service *s, const struct pair *pair, uint64_t offset)
{
    unsigned int have = 0;

    for (unsigned int i = 0; i < pair->n; i++) {
        const struct copy_name *name = &pair->copies[i];
        uint8_t slot = name->member;

        have += slot < HM_MEMBERS_MAX && s->seen.standby[slot].is_streaming &&
                s->seen.standby[slot].copy_id == name->copy_id &&
                s->seen.standby[slot].flushed >= offset;
    }
    return have;
}

/* In sync a copy that comes back is named before it attaches, which may take seconds: writes that
 * went on without it must not fail because of that. From when enough were there it counts: then the
 * core decides how long one that is lost is waited for. In strict it always does. */
static unsigned int need_of(const struct service *s, const struct pair *pair)
{
    unsigned int have = have_of(s, pair, 0);

    if (s->record.goal != DURABILITY_SYNC || s->is_need_raised || have >= pair->need)
        return pair->need;
    return have;
}

bool rop_note_enough(struct service *s)
{
    bool is_news =
        s->names == NAMES_PAIR && !s->is_need_raised && have_of(s, &s->pair, 0) >= s->pair.need;

    s->is_need_raised = s->is_need_raised || is_news;
    return is_news;
}

void rop_needed(const struct service *s, enum names_state names, const struct pair *pair,
                char need[16], char lag[16])
{
    (void)snprintf(need, 16, "%u", names == NAMES_PAIR ? need_of(s, pair) : 0);
    if (names == NAMES_NOBODY)
        (void)snprintf(need, 16, "%s", NEED_NEVER);
    lag_limit(s, lag);
}

static void lag_set(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                    const char *why)
{
    struct service *s = op->s;

    (void)reply;
    if (outcome != RCONN_ANSWERED) {
        rop_fail(op, "cannot set min-replicas-max-lag: %s", why);
        return;
    }
    s->names = op->names;
    s->pair = op->pair;
    memcpy(s->names_run_id, s->info.run_id, sizeof s->names_run_id);
    op->after_names(op);
}

static void need_set(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                     const char *why)
{
    char need[16], lag[16];

    (void)reply;
    if (outcome != RCONN_ANSWERED) {
        rop_fail(op, "cannot set min-replicas-to-write: %s", why);
        return;
    }
    rop_needed(op->s, op->names, &op->pair, need, lag);
    ROP_ASK(op, lag_set, "CONFIG", "SET", "min-replicas-max-lag", lag);
}

/* Not known meanwhile: a half-made change must not look like the one before. */
static void put_in_force(struct redis_op *op, enum names_state names, const struct pair *pair,
                         rop_step *then)
{
    char need[16], lag[16];

    op->names = names;
    op->pair = names == NAMES_PAIR ? *pair : pair_alone;
    op->after_names = then;
    op->s->names = NAMES_UNKNOWN;
    op->s->is_need_raised = false;
    rop_needed(op->s, names, &op->pair, need, lag);
    ROP_ASK(op, need_set, "CONFIG", "SET", "min-replicas-to-write", need);
}

static void seen_to(struct redis_op *op)
{
    rop_keep(op->s); /* asked before whatever comes next */
    op->after_first_names(op);
}

void rop_set_first_names(struct redis_op *op, rop_step *then)
{
    const struct service *s = op->s;
    bool is_async = s->record.goal == DURABILITY_ASYNC;
    enum names_state names = is_async ? NAMES_EMPTY : NAMES_NOBODY;

    op->after_first_names = then;
    if (s->names == names && rop_are_names_known(s))
        then(op);
    else
        put_in_force(op, names, NULL, seen_to);
}

static void set_names_looked(struct redis_op *op)
{
    enum copy_state state = op->s->seen.state;

    if (state != COPY_STANDBY && state != COPY_PRIMARY)
        rop_fail(op, "cannot set names: the copy is %s", copy_state_name(state));
    else
        put_in_force(op, op->e.names.names, &op->e.names.pair, keep_for);
}

static void look_to_set_names(struct redis_op *op)
{
    rop_look(op, set_names_looked);
}

static void begin_set_names(struct redis_op *op)
{
    rop_need_work(op, look_to_set_names);
}

const struct rop_kind rop_set_names = { DO_SET_NAMES, begin_set_names, NULL, 10000 };

/* --- marker ----------------------------------------------------------------------------------- */

static void wait_for_copies(struct redis_op *op);

static bool is_reached(const struct redis_op *op)
{
    const struct pair *pair = &op->e.names.pair;

    return have_of(op->s, pair, op->offset) >= pair->need;
}

static bool are_names_in_force(const struct redis_op *op)
{
    const struct service *s = op->s;

    return s->names == NAMES_PAIR && rop_are_names_known(s) &&
           pair_digest(&s->pair) == pair_digest(&op->e.names.pair);
}

static void marker_looked(struct redis_op *op)
{
    if (op->s->seen.state != COPY_PRIMARY)
        rop_fail(op, "no marker: the copy is %s", copy_state_name(op->s->seen.state));
    else if (!are_names_in_force(op))
        rop_fail(op, "no marker: other names are in force");
    else if (is_reached(op))
        rop_succeed(op);
    else
        rop_after(op, MARKER_POLL_MS, wait_for_copies);
}

static void waited(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                   const char *why)
{
    (void)reply;
    if (outcome == RCONN_ANSWERED)
        rop_look(op, marker_looked);
    else
        rop_fail(op, "the server does not tell what its replicas have: %s", why);
}

/* WAIT has the replicas asked for a confirmation, which they give only once a second by themselves.
 * It waits for what this connection has seen; with more replicas than there are it asks in any
 * case, and gives up with the server's next tick. */
static void wait_for_copies(struct redis_op *op)
{
    char need[8] = NEED_NEVER;

    if (op->count++ % 2 == 0)
        (void)snprintf(need, sizeof need, "%u", op->e.names.pair.need);
    ROP_ASK(op, waited, "WAIT", need, "20");
}

static void marker_end_told(struct redis_op *op, enum rconn_outcome outcome,
                            const redisReply *reply, const char *why)
{
    if (outcome != RCONN_ANSWERED) {
        rop_fail(op, "the server does not tell how far it is: %s", why);
        return;
    }
    op->offset = rop_role_offset(reply);
    rop_doing(op, "marker: until %u of %u copies have what was there", op->e.names.pair.need,
              op->e.names.pair.n);
    wait_for_copies(op);
}

static void marker_first_looked(struct redis_op *op)
{
    if (op->s->seen.state != COPY_PRIMARY)
        rop_fail(op, "no marker: the copy is %s", copy_state_name(op->s->seen.state));
    else if (!are_names_in_force(op))
        rop_fail(op, "no marker: other names are in force");
    else
        ROP_ASK(op, marker_end_told, "ROLE");
}

static void look_to_mark(struct redis_op *op)
{
    rop_look(op, marker_first_looked);
}

static void begin_marker(struct redis_op *op)
{
    rop_need_work(op, look_to_mark);
}

const struct rop_kind rop_marker = { DO_MARKER, begin_marker, NULL, 0 };
