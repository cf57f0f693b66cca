/* attach.c - who may attach to a primary of Redis, and as whom a standby does.
 *
 * WAIT counts whoever is attached, so in the modes with pairs nobody may be but the copies that the
 * names in force name. Killing a connection keeps nobody out: Redis is back within a millisecond.
 * A user that is not there does, and with a user its connections end. */
#include "redis/op.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum { USER_MAX = HM_NAME_MAX + 16 };

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

bool rop_are_names_known(const struct service *s)
{
    return s->names != NAMES_UNKNOWN && s->record.epoch != 0 && s->info.run_id[0] != 0 &&
           strcmp(s->names_run_id, s->info.run_id) == 0;
}

static void ended(struct service *s, const char *why)
{
    s->is_keeping = false;
    if (s->must_keep_again) {
        rop_keep(s);
        return;
    }
    (void)snprintf(s->keep_why, sizeof s->keep_why, "%.*s", (int)sizeof s->keep_why - 1, why);
    rop_kept(s);
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
    char trouble[sizeof s->keep_why];
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
    memcpy(trouble, s->keep_why, sizeof trouble);
    ended(s, trouble);
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
    if (!rop_are_names_known(s)) {
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

/* --- how many a write needs -------------------------------------------------------------------
 */

static void put_right(struct service *s, const redisReply *reply, const char *name,
                      const char *value, bool is_ours)
{
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *key = reply->element[i], *is = reply->element[i + 1];

        if (key->type != REDIS_REPLY_STRING || is->type != REDIS_REPLY_STRING ||
            strcmp(key->str, name) != 0 || strcmp(is->str, value) == 0)
            continue;
        if (!is_ours)
            log_warn("setting put right service=%s name=%s was=%.20s is=%s",
                     s->config.service->name, name, is->str, value);
        ORDER(s, "CONFIG", "SET", name, value);
    }
}

/* Somebody set it by hand: then writes are refused for ever, or accepted that nobody could confirm.
 */
static void limits_told(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                        const char *why)
{
    struct service *s = ctx;
    char need[16], lag[16];
    bool is_raised;

    (void)why; /* the question after this one gets it, too */
    if (outcome != RCONN_ANSWERED || reply->type != REDIS_REPLY_ARRAY || !rop_are_names_known(s))
        return;
    is_raised = rop_note_enough(s);
    rop_needed(s, s->names, &s->pair, need, lag);
    put_right(s, reply, "min-replicas-to-write", need, is_raised || !s->is_need_raised);
    put_right(s, reply, "min-replicas-max-lag", lag, false);
}

void rop_keep(struct service *s)
{
    static const char *const users[] = { "ACL", "USERS" };
    static const char *const limits[] = { "CONFIG", "GET", "min-replicas-*" };

    if (s->is_keeping) {
        s->must_keep_again = true;
        return;
    }
    s->is_keeping = true;
    s->must_keep_again = false;
    if (!rconn_ask(s->work, HM_ARRAY_LEN(limits), limits, ROP_ASK_MS, limits_told, s) ||
        !rconn_ask(s->work, HM_ARRAY_LEN(users), users, ROP_ASK_MS, users_told, s))
        ended(s, "the connection to the server is closed");
}

/* --- attaching ---------------------------------------------------------------------------------
 */

static void logged_in(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                      const char *why)
{
    struct service *s = ctx;

    (void)reply;
    (void)why; /* it is tried again */
    if (outcome != RCONN_ANSWERED)
        s->login_run_id[0] = 0;
}

/* One that somebody else had follow the primary, too, before that bars the default user. */
static void log_in(struct service *s)
{
    char user[USER_MAX], secret[SETTINGS_SECRET_SIZE];
    const char *const as[] = { "CONFIG", "SET", "masteruser", user };
    const char *const with[] = { "CONFIG", "SET", "masterauth", secret };

    if (strcmp(s->login_run_id, s->info.run_id) == 0)
        return;
    memcpy(s->login_run_id, s->info.run_id, sizeof s->login_run_id);
    user_of(s, s->self, user);
    secret_of(s, s->self, secret);
    if (!rconn_ask(s->work, HM_ARRAY_LEN(as), as, ROP_ASK_MS, logged_in, s) ||
        !rconn_ask(s->work, HM_ARRAY_LEN(with), with, ROP_ASK_MS, logged_in, s))
        s->login_run_id[0] = 0;
    explicit_bzero(secret, sizeof secret);
}

void redis_names_keep(struct service *s)
{
    if (!rconn_is_up(s->work) || s->record.epoch == 0 || s->self >= HM_MEMBERS_MAX)
        return;
    if (s->info.is_master && rop_are_names_known(s) && !s->is_keeping)
        rop_keep(s);
    else if (!s->info.is_master && s->is_followed && s->record.goal != DURABILITY_ASYNC &&
             s->seen.follows == s->record.holder)
        log_in(s);
}

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
