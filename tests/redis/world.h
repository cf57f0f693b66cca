/* world.h - three real Redis servers in a directory of their own, and service_redis watching one of
 * them. Server i listens on 127.0.0.(i+1) and on a unix socket, and connects from that address, so
 * that each looks like a host of its own; the port is the same for all, and was free. */
#ifndef TESTS_REDIS_WORLD_H
#define TESTS_REDIS_WORLD_H

#include "adapter/service.h"
#include "tests/cm.h"

#include <hiredis/hiredis.h>
#include <sys/types.h>

enum { WORLD_SERVERS = 3 };

struct world {
    char top[64];
    uint16_t port;
    struct settings settings[WORLD_SERVERS]; /* of db1, db2, db3 */
    struct event_base *base;
    pid_t pid[WORLD_SERVERS]; /* 0: does not run */
    struct gossip gossip[WORLD_SERVERS];
    bool is_heard[WORLD_SERVERS]; /* the gossip is what the service is told of that member */

    /* Of the service that is watched. */
    unsigned int watched;
    struct service *service; /* NULL: none */
    struct record record;    /* what it was told */
    struct copy copy;        /* the newest finding */
    unsigned int findings;
    unsigned int seen;                      /* states, as bits */
    hm_ms died_ms;                          /* when on_died came; 0: it did not */
    unsigned int started, suspended, scans; /* how often that was asked of the helper */
    bool is_helper_deaf;                    /* it does neither */

    /* The operation that ended last. */
    unsigned int done_n;
    uint32_t done_op;
    bool done_is_ok;
    char done_why[256];
};

/* Makes the directories. Ends the program, saying why, where it cannot. */
struct world *world_new(void);
void world_free(struct world *w); /* kills what still runs in it */

/* Of the server that the tests run, 602 for 6.2; Valkey's are its own. */
int world_version(void);
/* Starts a server with our settings and these lines of redis.conf; NULL: none. It stands there, and
 * may still be loading, when this returns. */
void world_start(struct world *w, unsigned int server, const char *lines);
/* SIGKILL, SIGTERM: until it is gone; any other: as it is. */
void world_signal(struct world *w, unsigned int server, int signal);
const char *world_dir(const struct world *w, unsigned int server);
const char *world_host(const struct world *w, unsigned int server);

/* Asks a server, on a connection of its own; the answer as text, integers too, errors with their
 * text; the values of a list one below the other. Static storage. Does not run the loop. */
const char *world_ask(const struct world *w, unsigned int server, const char *format, ...)
    HM_PRINTF(3, 4);
/* A line of INFO, "" if there is none. Static storage. */
const char *world_info(const struct world *w, unsigned int server, const char *key);
uint64_t world_number(const struct world *w, unsigned int server, const char *key);
/* REPLICAOF that server, or nobody (server == WORLD_SERVERS); waits until the link is up. */
void world_follow(struct world *w, unsigned int server, unsigned int master);
/* Writes n keys of that many bytes. */
void world_write(const struct world *w, unsigned int server, unsigned int n, unsigned int bytes);

/* Watches a server; the earlier one is let go. */
void world_watch(struct world *w, unsigned int server);
void world_unwatch(struct world *w);
/* Lets the loop run until a finding that began after the call is in that state and `is_it` says
 * yes; NULL: any. Fails long after limit_ms, see await.h. */
void world_expect(struct world *w, enum copy_state state, bool (*is_it)(const struct world *w),
                  hm_ms limit_ms);
void world_let(struct world *w, hm_ms ms); /* lets the loop run so long */
/* Why it does not answer, as `hamgr status` shows it. Static storage. */
const char *world_trouble(const struct world *w);

/* Tells the service a record of epoch 7 with db1, db2 and db3; that holder is heard. */
void world_note_record(struct world *w, uint8_t holder);
/* What the helper reports of the watched server. */
void world_note_fence(struct world *w, uint32_t processes, uint32_t stopped);
/* The member of that server tells that its copy, under that id, follows this slot. */
void world_hear(struct world *w, unsigned int server, uint64_t copy_id, uint8_t follows);

#endif
