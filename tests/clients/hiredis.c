/* hiredis.c - the same as client.mjs with hiredis: client-hiredis SENTINEL-PLACE[,...] NAME
 *
 * hiredis has no support of its own for Sentinel, so this is what an application does by hand: it
 * asks one endpoint after the other, connects to what it is told, and asks again whenever that
 * connection ends, is silent for TIMEOUT_S or refuses to write. */
#include <hiredis/hiredis.h>

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIMEOUT_S = 1, PAUSE_MS = 10, TEXT_MAX = 256 };

#define WRITE                                                                                      \
    "redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('INFO', "                              \
    "'server'):match('run_id:(%x+)')"
#define READ                                                                                       \
    "redis.call('SCARD', KEYS[1]) return redis.call('INFO', 'server'):match('run_id:(%x+)') "      \
    ".. ' ' .. redis.call('INFO', 'replication'):match('role:(%a+)')"

static const char *places, *name;

static void tell(char what, const char *text)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    printf("%c %lld %s\n", what, (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, text);
    if (fflush(stdout) != 0)
        exit(0); /* nobody reads this any more */
}

static redisContext *connect_to(const char *host, int port)
{
    const struct timeval limit = { .tv_sec = TIMEOUT_S };
    redisContext *c = redisConnectWithTimeout(host, port, limit);

    if (c == NULL || c->err != 0 || redisSetTimeout(c, limit) != REDIS_OK) {
        redisFree(c); /* NULL is fine */
        return NULL;
    }
    return c;
}

/* Of a flat list of names and values. */
static const char *field(const redisReply *map, const char *key)
{
    for (size_t i = 0; i + 1 < map->elements; i += 2)
        if (map->element[i]->str != NULL && strcmp(map->element[i]->str, key) == 0)
            return map->element[i + 1]->str;
    return NULL;
}

static redisContext *connect_to_replica(const redisReply *replicas)
{
    for (size_t i = 0; i < replicas->elements; i++) {
        const char *flags = field(replicas->element[i], "flags");
        const char *ip = field(replicas->element[i], "ip");
        const char *port = field(replicas->element[i], "port");

        if (flags == NULL || ip == NULL || port == NULL || strstr(flags, "down") != NULL ||
            strstr(flags, "disconnected") != NULL)
            continue;
        return connect_to(ip, atoi(port));
    }
    return NULL;
}

static redisContext *connect_as_told(redisContext *sentinel, bool is_writer)
{
    redisReply *told = redisCommand(
        sentinel, is_writer ? "SENTINEL GET-MASTER-ADDR-BY-NAME %s" : "SENTINEL REPLICAS %s", name);
    redisContext *c = NULL;

    if (told != NULL && told->type == REDIS_REPLY_ARRAY) {
        if (!is_writer)
            c = connect_to_replica(told);
        else if (told->elements == 2)
            c = connect_to(told->element[0]->str, atoi(told->element[1]->str));
    }
    freeReplyObject(told); /* NULL is fine */
    return c;
}

/* NULL: nobody knows, or nobody is there. */
static redisContext *find(bool is_writer)
{
    char list[TEXT_MAX], *rest = NULL;
    redisContext *c = NULL;

    (void)snprintf(list, sizeof list, "%s", places);
    for (char *place = strtok_r(list, ",", &rest); place != NULL && c == NULL;
         place = strtok_r(NULL, ",", &rest)) {
        char *colon = strrchr(place, ':');
        redisContext *sentinel;

        if (colon == NULL)
            continue;
        *colon = '\0';
        sentinel = connect_to(place, atoi(colon + 1));
        if (sentinel != NULL)
            c = connect_as_told(sentinel, is_writer);
        redisFree(sentinel);
    }
    return c;
}

/* Returns whether the connection is worth another command: a replica that became the primary is
 * not read from. */
static bool ask(redisContext *c, bool is_writer, uint64_t number)
{
    const char what = is_writer ? 'w' : 'r';
    redisReply *reply =
        is_writer ? redisCommand(c, "EVAL %s 1 hamgr_clients:hiredis %" PRIu64, WRITE, number)
                  : redisCommand(c, "EVAL_RO %s 1 hamgr_clients:hiredis", READ);
    bool is_fine = reply != NULL && reply->type == REDIS_REPLY_STRING;
    char text[TEXT_MAX];

    if (!is_fine)
        tell(what, reply != NULL && reply->str != NULL ? reply->str : c->errstr);
    else if (is_writer)
        (void)snprintf(text, sizeof text, "ok %s %" PRIu64, reply->str, number);
    else
        (void)snprintf(text, sizeof text, "ok %s", reply->str);
    if (is_fine)
        tell(what, text);
    if (is_fine && !is_writer && strstr(reply->str, " slave") == NULL)
        is_fine = false;
    freeReplyObject(reply);
    return is_fine;
}

static void *count(void *arg)
{
    const bool is_writer = *(const bool *)arg;
    redisContext *c = NULL;

    for (uint64_t number = 1;; number++) {
        if (c == NULL)
            c = find(is_writer);
        if (c == NULL) {
            tell(is_writer ? 'w' : 'r', "no server was found");
        } else if (!ask(c, is_writer, number)) {
            redisFree(c);
            c = NULL;
        }
        (void)poll(NULL, 0, PAUSE_MS); /* the pace */
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static bool writes = true, reads = false;
    pthread_t reader;

    if (argc != 3) {
        fprintf(stderr, "usage: client-hiredis SENTINEL-PLACE[,SENTINEL-PLACE...] NAME\n");
        return 2;
    }
    places = argv[1];
    name = argv[2];
    (void)signal(SIGPIPE, SIG_IGN); /* hiredis writes to connections that have ended */
    tell('b', "begins");
    if (pthread_create(&reader, NULL, count, &reads) != 0)
        return 1;
    (void)count(&writes); /* for ever */
    return 0;
}
