/* trio.h - three members of one cluster on the loopback addresses 127.0.0.11 to 13, each with its
 * service_postgres on one loop; their operations are asked for as the core would. Configuration
 * lies outside of the data directories, as Debian keeps it. Everything runs as user postgres. */
#ifndef TESTS_PG_TRIO_H
#define TESTS_PG_TRIO_H

#include "adapter/service.h"
#include "tests/cm.h"
#include "tests/pg/bin.h"

#include <libpq-fe.h>
#include <sys/types.h>

#define TRIO_BIN TESTS_PG_BIN
#define TRIO_PORT 54741

enum { TRIO_N = 3 };

struct trio;

struct trio_member {
    struct trio *trio;
    unsigned int number;
    char root[96];
    struct settings settings;
    struct service *service;
    struct copy copy; /* the newest */
    unsigned int died;
    uint32_t done_op; /* the newest that ended */
    bool is_ok;
    char why[256];
    hm_ms done_ms;
};

struct trio {
    char root[64];
    struct event_base *base;
    struct record record;
    uint32_t op;
    struct trio_member member[TRIO_N];
};

struct trio *trio_new(void);
void trio_free(struct trio *t); /* kills what still runs */
/* Services are closed and opened again: hamgrd's restart. */
void trio_reopen(struct trio *t, unsigned int m);
/* The record as it is in t->record goes to everybody. */
void trio_tell(struct trio *t);
/* Asks for an operation; the id is returned. */
uint32_t trio_ask(struct trio *t, unsigned int m, struct core_effect e);
/* Runs the loop until that operation ended; its duration. Fails long after limit_ms (await.h). */
hm_ms trio_wait(struct trio *t, unsigned int m, uint32_t op, hm_ms limit_ms);
/* Both, and it must end well, or badly with a text that has `part` in it. */
hm_ms trio_do(struct trio *t, unsigned int m, struct core_effect e);
void trio_fails(struct trio *t, unsigned int m, struct core_effect e, const char *part);
/* Runs the loop until the question to the member is answered by `wanted`. */
void trio_until(struct trio *t, unsigned int m, const char *sql, const char *wanted,
                hm_ms limit_ms);
void trio_let(struct trio *t, hm_ms ms);
/* A connection over the unix socket; blocks. */
PGconn *trio_connect(struct trio *t, unsigned int m);
/* The only value of a query; "" for none, "!" if it was refused. Static storage. */
const char *trio_value(struct trio *t, unsigned int m, const char *sql);
int trio_shell(const char *format, ...) HM_PRINTF(1, 2);
/* SIGKILL to all processes of a member's server, the main one first; until they are gone. */
void trio_kill(struct trio *t, unsigned int m);

struct core_effect an_effect(enum core_effect_type type);
struct core_effect a_copy_effect(enum core_effect_type type, uint8_t member);
struct core_effect a_promotion(uint64_t timeline, uint64_t epoch);
struct core_effect names_to(enum names_state names, const struct pair *pair);

#endif
