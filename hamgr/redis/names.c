/* names.c - which copies a primary of Redis lets attach, how many of them a write needs, and the
 * marker: that they have what was there under these names.
 *
 * WAIT counts whoever is attached. So in the modes with pairs nobody may be but the copies that the
 * names in force name, see redis_names_keep(). Whether enough of them are there at all is told to
 * the server as min-replicas-to-write, so that a write fails at once that nobody could confirm. */
#include "redis/op.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    POLL_MS = 2,
    MARKER_POLL_MS = 5,
    USER_MAX = HM_NAME_MAX + 16,
    LAG_MIN_S = 2, /* replicas confirm once a second, and whole seconds are counted */
};

/* As many replicas as there never are. */
#define NEED_NEVER "1000"
#define USER_PREFIX "hamgr."

/* --- who may attach --------------------------------------------------------------------------- */

static bool has_pairs(const struct record *r)
{
    return r->goal != DURABILITY_ASYNC && r->durability != DURABILITY_ASYNC;
}

static bool names_member(const struct pair *pair, uint8_t slot)
{
    for (unsigned int i = 0; i < pair->n; i++)
        if (pair->copies[i].member == slot)
            return true;
    return false;
}

/* A copy that was started anew follows nobody until a record names it, so the member is enough.
 * While no write is accepted, copies may attach that a chosen record names: they are needed soon.
 */
static bool may_attach(const struct service *s, uint8_t slot)
{
    const struct record *r = &s->record;

    if (slot == s->self || r->member[slot].role != ROLE_DB)
        return false;
    if (s->names == NAMES_PAIR)
        return names_member(&s->pair, slot);
    if (s->names == NAMES_EMPTY && !has_pairs(r))
        return true;
    for (unsigned int i = 0; i < r->pairs_n; i++)
        if (names_member(&r->pairs[i], slot))
            return true;
    return false;
}

/* In async strangers may replicate, too, as whoever the administrator lets. */
static bool are_strangers_welcome(const struct service *s)
{
    return s->names == NAMES_EMPTY && !has_pairs(&s->record);
}

static void user_of(const struct service *s, uint8_t slot, char user[USER_MAX])
{
    (void)snprintf(user, USER_MAX, USER_PREFIX "%s", s->record.member[slot].name);
}

static void secret_of(const struct service *s, uint8_t slot, char secret[SETTINGS_SECRET_SIZE])
{
    settings_secret(s->config.settings->key, "redis replication", s->record.member[slot].name,
                    secret);
}

/* The member whose copy logs in under that name and may attach, or HM_NOBODY. */
static uint8_t who_may(const struct service *s, const char *user, size_t size)
{
    char own[USER_MAX];

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        if (!may_attach(s, slot))
            continue;
        user_of(s, slot, own);
        if (strlen(own) == size && memcmp(own, user, size) == 0)
            return slot;
    }
    return HM_NOBODY;
}

/* --- seeing to it ----------------------------------------------------------------------------- */

static void kept(struct service *s);
static void ended(struct service *s, const char *why);

static bool are_names_known(const struct service *s)
{
    return s->names != NAMES_UNKNOWN && s->record.epoch != 0 && s->info.run_id[0] != 0 &&
           strcmp(s->names_run_id, s->info.run_id) == 0;
}

static void changed(void *ctx, enum rconn_outcome outcome, const redisReply *reply, const char *why)
{
    struct service *s = ctx;

    (void)reply;
    if (outcome != RCONN_ANSWERED)
        (void)snprintf(s->keep_why, sizeof s->keep_why, "%.*s", (int)sizeof s->keep_why - 1, why);
}

/* What cannot be asked is found undone by the next look. */
static void order(struct service *s, size_t n, const char *const *words)
{
    (void)rconn_ask(s->work, n, words, ROP_ASK_MS, changed, s);
}

#define ORDER(s, ...)                                                                              \
    order(s, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *),                  \
          (const char *const[]){ __VA_ARGS__ })

/* With the user its connections end, too. */
static void remove_users(struct service *s, const redisReply *users, uint16_t *ret_have)
{
    const size_t prefix = strlen(USER_PREFIX);

    *ret_have = 0;
    for (size_t i = 0; i < users->elements; i++) {
        const redisReply *user = users->element[i];
        uint8_t slot;

        if (user->type != REDIS_REPLY_STRING || user->len < prefix ||
            memcmp(user->str, USER_PREFIX, prefix) != 0)
            continue;
        slot = who_may(s, user->str, user->len);
        if (slot == HM_NOBODY)
            ORDER(s, "ACL", "DELUSER", user->str);
        else
            *ret_have |= (uint16_t)(1u << slot);
    }
}

static void add_users(struct service *s, uint16_t have)
{
    char user[USER_MAX], password[SETTINGS_SECRET_SIZE + 1];

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        if (!may_attach(s, slot) || (have >> slot & 1) != 0)
            continue;
        user_of(s, slot, user);
        password[0] = '>';
        secret_of(s, slot, password + 1);
        ORDER(s, "ACL", "SETUSER", user, "reset", "on", password, "+psync", "+replconf", "+ping");
    }
    explicit_bzero(password, sizeof password);
}

static void bar(struct service *s, const char *user)
{
    ORDER(s, "ACL", "SETUSER", user, "-psync", "-sync");
}

static void bar_strangers(struct service *s)
{
    if (are_strangers_welcome(s)) {
        if (s->is_default_barred)
            ORDER(s, "ACL", "SETUSER", "default", "+psync", "+sync");
        s->is_default_barred = false;
        return;
    }
    bar(s, "default");
    s->is_default_barred = true;
}

/* The value behind " KEY=" in a line of CLIENT LIST; its size, 0: not there. */
static size_t field(const char *line, size_t size, const char *key, const char **ret)
{
    size_t n = strlen(key);

    for (const char *at = line; at + n <= line + size; at++)
        if ((at == line || at[-1] == ' ') && memcmp(at, key, n) == 0) {
            *ret = at + n;
            return strcspn(*ret, " \n");
        }
    return 0;
}

/* One whose connection is killed only is back at once: its user may not replicate any more. */
static void cut_off(struct service *s, const char *line, size_t size)
{
    const char *user = NULL, *id = NULL;
    size_t user_size = field(line, size, "user=", &user);
    size_t id_size = field(line, size, "id=", &id);
    char id_text[24], user_text[64];

    if (user_size == 0 || id_size == 0 || who_may(s, user, user_size) != HM_NOBODY)
        return;
    s->kept_out++;
    (void)snprintf(id_text, sizeof id_text, "%.*s", (int)id_size, id);
    (void)snprintf(user_text, sizeof user_text, "%.*s", (int)user_size, user);
    if (user_size < sizeof user_text)
        bar(s, user_text);
    ORDER(s, "CLIENT", "KILL", "ID", id_text);
}

static void list_told(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                      const char *why)
{
    struct service *s = ctx;
    const char *line;

    if (outcome != RCONN_ANSWERED || reply->type != REDIS_REPLY_STRING) {
        ended(s, outcome != RCONN_ANSWERED ? why : "CLIENT LIST gives no list");
        return;
    }
    s->kept_out = 0;
    for (line = reply->str; !are_strangers_welcome(s) && *line != 0;) {
        size_t size = strcspn(line, "\n");

        cut_off(s, line, size);
        line += size + (line[size] != 0);
    }
    kept(s);
}

static void users_told(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                       const char *why)
{
    static const char *const list[] = { "CLIENT", "LIST", "TYPE", "replica" };
    struct service *s = ctx;
    uint16_t have;

    if (outcome != RCONN_ANSWERED || reply->type != REDIS_REPLY_ARRAY) {
        ended(s, outcome != RCONN_ANSWERED ? why : "ACL USERS gives no list");
        return;
    }
    if (!are_names_known(s)) {
        ended(s, "the server was started anew");
        return;
    }
    s->keep_why[0] = 0;
    bar_strangers(s);
    remove_users(s, reply, &have);
    add_users(s, have);
    if (!rconn_ask(s->work, HM_ARRAY_LEN(list), list, ROP_ASK_MS, list_told, s))
        ended(s, "the connection to the server is closed");
}

static void keep(struct service *s)
{
    static const char *const users[] = { "ACL", "USERS" };

    if (s->is_keeping) {
        s->must_keep_again = true;
        return;
    }
    s->is_keeping = true;
    s->must_keep_again = false;
    if (!rconn_ask(s->work, HM_ARRAY_LEN(users), users, ROP_ASK_MS, users_told, s))
        ended(s, "the connection to the server is closed");
}

void redis_names_keep(struct service *s)
{
    if (s->info.is_master && are_names_known(s) && rconn_is_up(s->work) && !s->is_keeping)
        keep(s);
}

/* --- set names -------------------------------------------------------------------------------- */

static void keep_for(struct redis_op *op)
{
    op->flag = true; /* it waits for this */
    keep(op->s);
}

static void ended(struct service *s, const char *why)
{
    struct redis_op *op = s->op;

    s->is_keeping = false;
    if (s->must_keep_again) {
        keep(s);
        return;
    }
    (void)snprintf(s->keep_why, sizeof s->keep_why, "%.*s", (int)sizeof s->keep_why - 1, why);
    if (op == NULL || op->kind != &rop_set_names || !op->flag || op->has_ended)
        return;
    op->flag = false;
    if (why[0] != 0)
        rop_fail(op, "cannot say which replicas may attach: %.*s", 120, why);
    else if (s->kept_out > 0 && s->info.is_master)
        rop_after(op, POLL_MS, keep_for);
    else
        rop_succeed(op);
}

static void kept(struct service *s)
{
    char why[sizeof s->keep_why];

    memcpy(why, s->keep_why, sizeof why);
    ended(s, why);
}

/* A replica that is there counts as lagging by up to a second, and by two when a confirmation is a
 * little late. The mode decides how long a dead one holds up writes, not this: in sync it leaves
 * the pair after the time of a lease. */
static void lag_limit(const struct service *s, char text[16])
{
    hm_ms ttl_s = (s->record.ttl_ms + 999) / 1000;

    (void)snprintf(text, 16, "%d", (int)hm_max_ms(LAG_MIN_S, ttl_s));
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
    char text[16];

    (void)reply;
    if (outcome != RCONN_ANSWERED) {
        rop_fail(op, "cannot set min-replicas-to-write: %s", why);
        return;
    }
    lag_limit(op->s, text);
    ROP_ASK(op, lag_set, "CONFIG", "SET", "min-replicas-max-lag", text);
}

/* Not known meanwhile: a half-made change must not look like the one before. */
static void put_in_force(struct redis_op *op, enum names_state names, const struct pair *pair,
                         rop_step *then)
{
    char text[16] = "0";

    op->names = names;
    op->pair = names == NAMES_PAIR ? *pair : pair_alone;
    op->after_names = then;
    op->s->names = NAMES_UNKNOWN;
    if (names == NAMES_NOBODY)
        (void)snprintf(text, sizeof text, "%s", NEED_NEVER);
    else if (names == NAMES_PAIR)
        (void)snprintf(text, sizeof text, "%u", pair->need);
    ROP_ASK(op, need_set, "CONFIG", "SET", "min-replicas-to-write", text);
}

static void seen_to(struct redis_op *op)
{
    keep(op->s); /* asked before whatever comes next */
    op->after_first_names(op);
}

void rop_set_first_names(struct redis_op *op, rop_step *then)
{
    const struct service *s = op->s;
    bool is_async = s->record.goal == DURABILITY_ASYNC;
    enum names_state names = is_async ? NAMES_EMPTY : NAMES_NOBODY;

    op->after_first_names = then;
    if (s->names == names && are_names_known(s))
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

/* --- logging in as one of them ---------------------------------------------------------------- */

static void secret_set(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                       const char *why)
{
    (void)reply;
    if (outcome != RCONN_ANSWERED)
        rop_fail(op, "cannot set how to log in at the primary: %s", why);
    else
        op->after_names(op);
}

static void user_set(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                     const char *why)
{
    char secret[SETTINGS_SECRET_SIZE];

    if (outcome != RCONN_ANSWERED) {
        secret_set(op, outcome, reply, why);
        return;
    }
    secret_of(op->s, op->s->self, secret);
    ROP_ASK(op, secret_set, "CONFIG", "SET", "masterauth", secret);
    explicit_bzero(secret, sizeof secret);
}

void rop_log_in(struct redis_op *op, rop_step *then)
{
    char user[USER_MAX];

    op->after_names = then;
    user_of(op->s, op->s->self, user);
    ROP_ASK(op, user_set, "CONFIG", "SET", "masteruser", user);
}

/* --- marker ----------------------------------------------------------------------------------- */

static void wait_for_copies(struct redis_op *op);

static bool is_reached(const struct redis_op *op)
{
    const struct pair *pair = &op->e.names.pair;
    unsigned int have = 0;

    for (unsigned int i = 0; i < pair->n; i++) {
        const struct copy_name *name = &pair->copies[i];
        uint8_t slot = name->member;

        have += slot < HM_MEMBERS_MAX && op->s->seen.standby[slot].is_streaming &&
                op->s->seen.standby[slot].copy_id == name->copy_id &&
                op->s->seen.standby[slot].flushed >= op->offset;
    }
    return have >= pair->need;
}

static bool are_names_in_force(const struct redis_op *op)
{
    const struct service *s = op->s;

    return s->names == NAMES_PAIR && are_names_known(s) &&
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
