/* check.c - the settings that hamgr needs of a Redis server, as a table, and what is wrong with
 * those that a server has. */
#include "redis/include.h"
#include "redis/inner.h"

#include "base/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_TIMEOUT_MS 5000

enum need {
    NEED_IS,       /* exactly this text */
    NEED_IS_NOT,   /* anything else */
    NEED_AT_LEAST, /* this number */
};

static const struct check {
    const char *name;
    enum need need;
    const char *text;
    long long number;
    const char *why;
    const char *advice; /* what to set it to */
} checks[] = {
    /* clang-format off */
    { "replica-read-only",         NEED_IS,       "yes",   0, "a replica would take writes that nobody else has", "yes" },
    { "replica-serve-stale-data",  NEED_IS,       "yes",   0, "hamgr asks a replica without a primary how far it is", "yes" },
    { "replica-ignore-maxmemory",  NEED_IS,       "yes",   0, "a replica would evict keys that the primary keeps", "yes" },
    { "cluster-enabled",           NEED_IS,       "no",    0, "Redis Cluster chooses primaries itself", "no" },
    { "repl-diskless-load",        NEED_IS_NOT,  "swapdb", 0, "the old data is kept, and may not fit beside the new", "disabled" },
    { "repl-backlog-size", NEED_AT_LEAST, NULL, 16777216,     "after a takeover the others would need all data anew", "64mb" },
    { "repl-backlog-ttl",          NEED_IS,       "0",     0, "a primary alone for so long would begin another history", "0" },
    { "maxclients",        NEED_AT_LEAST, NULL,      64,      "hamgr and the replicas need connections, too", "10000" },
    /* clang-format on */
};

/* With the include that makes a server start as a replica, without which nothing is safe; the words
 * are those of COMMAND INFO. */
static const char *const commands[] = { "COMMAND", "INFO",      "acl",  "client", "config",  "info",
                                        "ping",    "replicaof", "role", "wait",   "shutdown" };
enum { COMMANDS_FIRST = 2 };

enum { OTHERS_MAX = 12 };

/* What an ACL user of ours must be let do, as docs/redis.md has it. */
#define RIGHTS                                                                                     \
    "+info +role +ping +wait +replicaof +shutdown +command +config|get +config|set +client +acl"

struct asking {
    struct worker_job base;
    struct service *s; /* borrowed */
    service_checked *then;
    void *ctx;
    struct service_finding findings[HM_ARRAY_LEN(checks) + OTHERS_MAX];
    size_t n;
    size_t rights_asked, rights_told;
    char refused[80]; /* commands that our user may not run */
    char include[INCLUDE_PATH_MAX];
    enum hm_rc include_rc;
    struct hm_err include_err;
};

static struct service_finding *add(struct asking *a, const char *name)
{
    struct service_finding *f = &a->findings[a->n++];

    memset(f, 0, sizeof *f);
    f->is_ok = true;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

/* --- settings: CONFIG GET answers with names and values in turns --------------------------------
 */

static const char *find(const redisReply *reply, const char *name)
{
    for (size_t i = 0; i + 1 < reply->elements; i += 2)
        if (reply->element[i]->type == REDIS_REPLY_STRING &&
            reply->element[i + 1]->type == REDIS_REPLY_STRING &&
            strcmp(reply->element[i]->str, name) == 0)
            return reply->element[i + 1]->str;
    return "";
}

static void look_at(struct asking *a, const struct check *c, const char *value)
{
    struct service_finding *f = add(a, c->name);

    if (c->need == NEED_AT_LEAST)
        f->is_ok = strtoll(value, NULL, 10) >= c->number;
    else
        f->is_ok = (strcmp(value, c->text) == 0) == (c->need == NEED_IS);
    if (f->is_ok) {
        (void)snprintf(f->text, sizeof f->text, "%s", value);
        return;
    }
    (void)snprintf(f->text, sizeof f->text, "is %.40s, but %s", value, c->why);
    if (strcmp(c->name, "cluster-enabled") == 0)
        (void)snprintf(f->next, sizeof f->next, "set it to no in redis.conf; restart the server");
    else
        (void)snprintf(f->next, sizeof f->next, "CONFIG SET %s %s, and the same in redis.conf",
                       c->name, c->advice);
}

static void look_at_version(struct asking *a)
{
    const char *version = a->s->info.version;
    struct service_finding *f = add(a, "server version");
    int major = 0, minor = 0;

    f->is_ok =
        sscanf(version, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 2));
    (void)snprintf(f->text, sizeof f->text, "%s", a->s->facts.version);
    if (!f->is_ok)
        (void)snprintf(f->next, sizeof f->next, "upgrade to 6.2 or later, or to Valkey");
}

static const char *own_host(const struct service *s)
{
    const struct settings *settings = s->config.settings;

    return settings->self < settings->members_n ? settings->member[settings->self].host : "";
}

static bool is_reached_by(const char *address, const char *host)
{
    if (*address == '-')
        address++; /* it need not be there */
    if (strcmp(address, host) == 0 || strcmp(address, "*") == 0 || strcmp(address, "::*") == 0 ||
        strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0)
        return true;
    return !address_is_literal(host) && strncmp(address, "127.", 4) != 0 &&
           strcmp(address, "::1") != 0;
}

static void look_at_bind(struct asking *a, const redisReply *reply)
{
    struct service_finding *f = add(a, "bind");
    const char *host = own_host(a->s);
    char value[256], *rest = NULL;

    (void)snprintf(value, sizeof value, "%s", find(reply, "bind"));
    (void)snprintf(f->text, sizeof f->text, "%.150s", value);
    f->is_ok = value[0] == 0; /* none: it listens everywhere */
    for (char *at = strtok_r(value, " ", &rest); at != NULL; at = strtok_r(NULL, " ", &rest))
        f->is_ok |= is_reached_by(at, host);
    if (f->is_ok)
        return;
    (void)snprintf(f->text, sizeof f->text, "is %.80s: the other members do not reach it",
                   find(reply, "bind"));
    (void)snprintf(f->next, sizeof f->next, "bind 127.0.0.1 %s in redis.conf; restart the server",
                   host);
}

static void look_at_port(struct asking *a, const redisReply *reply)
{
    struct service_finding *f = add(a, "port");
    unsigned int port = a->s->config.service->port;

    f->is_ok = strtoul(find(reply, "port"), NULL, 10) == port;
    (void)snprintf(f->text, sizeof f->text, "%.20s", find(reply, "port"));
    if (f->is_ok)
        return;
    (void)snprintf(f->text, sizeof f->text, "is %.20s, and %u in hamgr.conf", find(reply, "port"),
                   port);
    (void)snprintf(f->next, sizeof f->next,
                   "port %u in redis.conf, the same on every host; restart the server", port);
}

/* A server without TLS in it knows neither setting. */
static void look_at_tls(struct asking *a, const redisReply *reply)
{
    const char *port = find(reply, "tls-port");
    bool is_open = port[0] != 0 && strcmp(port, "0") != 0;
    bool is_asked = strcmp(find(reply, "tls-replication"), "yes") == 0;
    struct service_finding *f;

    if (!is_open && !is_asked)
        return;
    f = add(a, is_open ? "tls-port" : "tls-replication");
    f->is_ok = false;
    (void)snprintf(f->text, sizeof f->text, "is %.20s: hamgr and its replicas speak no TLS%s",
                   is_open ? port : "yes",
                   is_open ? ", and the fence's gate does not close it" : "");
    (void)snprintf(f->next, sizeof f->next,
                   "tls-port 0 and tls-replication no in redis.conf; restart the server");
}

/* Redis refuses other hosts while the default user needs no password, whoever they log in as. */
static void look_at_protection(struct asking *a, const redisReply *reply)
{
    struct service_finding *f = add(a, "protected-mode");
    bool is_on = strcmp(find(reply, "protected-mode"), "yes") == 0;
    bool has_password = find(reply, "requirepass")[0] != 0;

    f->is_ok = !is_on || has_password;
    (void)snprintf(f->text, sizeof f->text, "%s",
                   !is_on         ? "no"
                   : has_password ? "yes, and there is a password"
                                  : "is yes, and there is no password: other hosts are refused");
    if (!f->is_ok)
        (void)snprintf(f->next, sizeof f->next,
                       "set requirepass here and passfile in hamgr.conf, or protected-mode no");
}

static void look_at_announced(struct asking *a, const redisReply *reply)
{
    struct service_finding *f = add(a, "replica-announce-ip");
    const char *address = find(reply, "replica-announce-ip");

    f->is_ok = address[0] == 0 || strcmp(address, own_host(a->s)) == 0;
    (void)snprintf(f->text, sizeof f->text, "%s", address[0] != 0 ? address : "not set");
    if (f->is_ok)
        return;
    (void)snprintf(f->text, sizeof f->text, "is %.60s: the primary cannot tell whose copy it is",
                   address);
    (void)snprintf(f->next, sizeof f->next,
                   "CONFIG SET replica-announce-ip '', and remove it from redis.conf");
}

/* No fault, but what an administrator should know. */
static void tell_persistence(struct asking *a, const redisReply *reply)
{
    struct service_finding *f = add(a, "persistence");
    bool has_aof = strcmp(find(reply, "appendonly"), "yes") == 0;
    bool has_snapshots = find(reply, "save")[0] != 0;

    (void)snprintf(f->text, sizeof f->text, "%s",
                   has_aof         ? "AOF: a start finds what was written"
                   : has_snapshots ? "snapshots: a start finds the last one"
                                   : "none: a start finds nothing, the primary's data is taken");
}

static void look_at_settings(struct asking *a, const redisReply *reply)
{
    look_at_version(a);
    for (size_t i = 0; i < HM_ARRAY_LEN(checks); i++)
        look_at(a, &checks[i], find(reply, checks[i].name));
    look_at_port(a, reply);
    look_at_tls(a, reply);
    look_at_bind(a, reply);
    look_at_protection(a, reply);
    look_at_announced(a, reply);
    tell_persistence(a, reply);
}

/* --- the end -----------------------------------------------------------------------------------
 */

static void tell(struct asking *a)
{
    a->then(a->ctx, a->findings, a->n);
    free(a);
}

static const char *own_user(const struct asking *a)
{
    const char *user = a->s->config.service->user;

    return user[0] != 0 ? user : "default";
}

static void tell_rights(const struct asking *a, struct service_finding *f)
{
    (void)snprintf(f->next, sizeof f->next, "ACL SETUSER %.40s " RIGHTS, own_user(a));
}

static void fail(struct asking *a, const char *why)
{
    struct service_finding *f = add(a, "connection");

    f->is_ok = false;
    (void)snprintf(f->text, sizeof f->text, "the server does not answer: %.120s", why);
    if (strstr(why, "NOPERM") != NULL)
        tell_rights(a, f);
    else
        (void)snprintf(f->next, sizeof f->next, "%s",
                       strstr(why, "unknown command") != NULL
                           ? "remove rename-command for it from redis.conf; restart the server"
                           : "start the server, or look at socket, port, user and passfile");
    tell(a);
}

/* --- the include -------------------------------------------------------------------------------
 */

static void run_include(struct worker_job *base)
{
    struct asking *a = (struct asking *)base;

    a->include_rc = include_check(a->s->config.service->config_file, a->include, &a->include_err);
}

/* redis.conf may be closed to hamgrd: `hamgr guard` reads it as root before each start. */
static void done_include(struct worker_job *base)
{
    struct asking *a = (struct asking *)base;
    struct service_finding *f = add(a, "include");

    f->is_ok = a->include_rc != HM_REFUSED;
    if (a->include_rc == HM_OK)
        (void)snprintf(f->text, sizeof f->text, "the last line of %.100s",
                       a->s->config.service->config_file);
    else
        (void)snprintf(f->text, sizeof f->text, "%.150s", a->include_err.text);
    if (!f->is_ok)
        (void)snprintf(f->next, sizeof f->next, "add 'include %.100s' as the last line",
                       a->include);
    tell(a);
}

static void ask_include(struct asking *a)
{
    include_path(a->s->config.settings->run_dir, a->s->config.service->name, a->include);
    a->base.run = run_include;
    a->base.done = done_include;
    worker_add(a->s->worker, &a->base);
}

/* --- asking ------------------------------------------------------------------------------------
 */

/* What is needed only when something happens must not be refused then. Each as long as it is. */
static const struct right {
    size_t n;
    const char *word[4];
} rights[] = {
    /* clang-format off */
    { 3, { "REPLICAOF", "NO", "ONE" } },
    { 4, { "CONFIG", "SET", "hz", "10" } },
    { 2, { "CLIENT", "LIST" } },
    { 3, { "CLIENT", "PAUSE", "1" } },
    { 3, { "ACL", "SETUSER", "hamgr" } },
    { 3, { "WAIT", "1", "1" } },
    { 1, { "ROLE" } },
    { 1, { "SHUTDOWN" } },
    /* clang-format on */
};

static void add_refused(struct asking *a, const char *command)
{
    size_t n = strlen(a->refused);

    if (strstr(a->refused, command) == NULL)
        (void)snprintf(a->refused + n, sizeof a->refused - n, " %s", command);
}

/* An answer for each; Redis 6.2 does not know the question. */
static void on_right(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                     const char *why)
{
    struct asking *a = ctx;
    const struct right *right = &rights[a->rights_told++];

    if (outcome == RCONN_ANSWERED && reply->type == REDIS_REPLY_STRING)
        add_refused(a, right->word[0]);
    else if (outcome == RCONN_REFUSED && strncmp(why, "NOPERM", 6) == 0)
        add_refused(a, "ACL");
    if (a->rights_told < a->rights_asked)
        return;
    if (a->refused[0] != 0) {
        struct service_finding *f = add(a, "permissions");

        f->is_ok = false;
        (void)snprintf(f->text, sizeof f->text, "user %.40s may not run:%s", own_user(a),
                       a->refused);
        tell_rights(a, f);
    }
    ask_include(a);
}

static void ask_rights(struct asking *a)
{
    a->rights_asked = HM_ARRAY_LEN(rights);
    for (size_t i = 0; i < HM_ARRAY_LEN(rights); i++) {
        const char *words[3 + HM_ARRAY_LEN(rights[i].word)] = { "ACL", "DRYRUN", own_user(a) };

        memcpy(words + 3, rights[i].word, sizeof rights[i].word);
        if (!rconn_ask(a->s->work, 3 + rights[i].n, words, CHECK_TIMEOUT_MS, on_right, a)) {
            a->rights_asked = i;
            break;
        }
    }
    if (a->rights_asked == 0)
        ask_include(a);
}

static void on_commands(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                        const char *why)
{
    struct asking *a = ctx;
    struct service_finding *f;
    char missing[64] = "";

    if (outcome != RCONN_ANSWERED || reply->type != REDIS_REPLY_ARRAY) {
        fail(a, outcome != RCONN_ANSWERED ? why : "an answer that hamgr does not understand");
        return;
    }
    for (size_t i = 0; i < reply->elements && i + COMMANDS_FIRST < HM_ARRAY_LEN(commands); i++) {
        size_t n = strlen(missing);

        if (reply->element[i]->type == REDIS_REPLY_NIL)
            (void)snprintf(missing + n, sizeof missing - n, " %s", commands[i + COMMANDS_FIRST]);
    }
    f = add(a, "commands");
    f->is_ok = missing[0] == 0;
    (void)snprintf(
        f->text, sizeof f->text, "%s%s",
        f->is_ok ? "all that hamgr needs" : "hamgr needs, and it does not know:", missing);
    if (!f->is_ok)
        (void)snprintf(f->next, sizeof f->next,
                       "remove rename-command for these from redis.conf; restart the server");
    ask_rights(a);
}

static void on_settings(void *ctx, enum rconn_outcome outcome, const redisReply *reply,
                        const char *why)
{
    struct asking *a = ctx;

    if (outcome != RCONN_ANSWERED || reply->type != REDIS_REPLY_ARRAY) {
        fail(a, outcome != RCONN_ANSWERED ? why : "an answer that hamgr does not understand");
        return;
    }
    look_at_settings(a, reply);
    if (!rconn_ask(a->s->work, HM_ARRAY_LEN(commands), commands, CHECK_TIMEOUT_MS, on_commands, a))
        fail(a, "it is not connected");
}

void redis_check(struct service *s, service_checked *then, void *ctx)
{
    static const char *const all[] = { "CONFIG", "GET", "*" };
    struct asking *a = calloc(1, sizeof *a);
    const struct service_finding none = { .name = "connection", .text = "no memory" };

    if (a == NULL) {
        then(ctx, &none, 1);
        return;
    }
    a->s = s;
    a->then = then;
    a->ctx = ctx;
    if (!rconn_ask(s->work, HM_ARRAY_LEN(all), all, CHECK_TIMEOUT_MS, on_settings, a))
        fail(a, redis_trouble(s)[0] != 0     ? redis_trouble(s)
                : s->seen.state == COPY_DOWN ? "nobody listens"
                                             : "it is not connected yet");
}
