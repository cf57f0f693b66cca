/* world.h - two real PostgreSQL servers in a directory of their own, and service_postgres watching
 * one of them. Everything runs as user postgres; the test program becomes it at once. */
#ifndef TESTS_PG_WORLD_H
#define TESTS_PG_WORLD_H

#include "adapter/service.h"
#include "tests/cm.h"
#include "tests/pg/bin.h"

#include <libpq-fe.h>
#include <sys/types.h>

#define WORLD_BIN TESTS_PG_BIN
#define WORLD_PORT 54731

struct world {
    char top[64];
    struct settings settings[2]; /* of db1 and db2 */
    struct event_base *base;

    /* Of the service that is watched. */
    unsigned int watched; /* 0 or 1 */
    struct service *service;
    struct copy copy; /* the newest finding */
    unsigned int findings;
    unsigned int seen; /* states, as bits */
    bool has_seen_crash;
    bool has_seen_unknown;
    hm_ms died_ms; /* when on_died came; 0: it did not */
};

/* Becomes user postgres; makes the directories. Ends the program, saying why, where it cannot. */
struct world *world_new(void);
void world_free(struct world *w); /* kills what still runs in it */

int world_run(const char *format, ...) HM_PRINTF(1, 2); /* a shell command; its exit code */
const char *world_dir(const struct world *w, unsigned int server);
/* initdb, or pg_basebackup from the other, with our settings. */
void world_make_primary(struct world *w, unsigned int server);
void world_make_standby(struct world *w, unsigned int server);
void world_start(struct world *w, unsigned int server); /* until pg_ctl says that it runs */
void world_stop(struct world *w, unsigned int server, const char *mode);
pid_t world_postmaster(const struct world *w, unsigned int server);
/* Sends a signal to each process of a server, the postmaster first. */
void world_signal(const struct world *w, unsigned int server, int signal);

PGconn *world_connect(const struct world *w, unsigned int server);
/* The only value of a query; "" for none. Static storage. */
const char *world_ask(const struct world *w, unsigned int server, const char *sql);
uint64_t world_number(const struct world *w, unsigned int server, const char *sql);

/* Watches a server; the earlier one is let go. */
void world_watch(struct world *w, unsigned int server);
void world_unwatch(struct world *w);
/* Lets the loop run until a finding that began after the call is in that state and `is_it` says
 * yes; NULL: any. Fails long after limit_ms, see await.h. */
void world_expect(struct world *w, enum copy_state state, bool (*is_it)(const struct world *w),
                  hm_ms limit_ms);
void world_let(struct world *w, hm_ms ms); /* lets the loop run so long */

/* Tells the service a record in which epoch 7 began `timeline`, the newest, and holder is heard. */
void world_note_record(struct world *w, uint8_t holder, uint64_t timeline);
/* A standby follows the other server, as hamgr would write it. */
void world_follow(struct world *w, unsigned int server);
void world_set(struct world *w, unsigned int server, const char *name, const char *value);
void world_write_some(struct world *w, unsigned int server);

#endif
