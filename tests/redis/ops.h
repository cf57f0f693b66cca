/* ops.h - operations on the watched server of a world, and worlds in which db1 leads.
 *
 * A server is started as hamgrd starts it, a replica of nobody; what becomes of it is done by
 * operations of service_redis. */
#ifndef TESTS_REDIS_OPS_H
#define TESTS_REDIS_OPS_H

#include "tests/redis/world.h"

enum { DB1, DB2, DB3, LIMIT_MS = 2000 };

extern struct world *w; /* of the test that runs */

int ops_make_world(void **state);
int ops_end_world(void **state);

struct core_effect ops_effect(enum core_effect_type type);
struct core_effect ops_following(uint8_t member);
/* type: DO_SET_NAMES or DO_MARKER; pair: NULL with names that are no pair. */
struct core_effect ops_names(enum core_effect_type type, enum names_state names,
                             const struct pair *pair);

/* Asks the watched server's service for an operation; the id is returned. */
uint32_t ops_ask(struct core_effect e);
void ops_wait(uint32_t op); /* until that one ended, however */
/* Until it has ended well. */
void ops_do(struct core_effect e);
void ops_do_twice(struct core_effect e);
/* It must end badly, with a text that has `part` in it. */
void ops_fails(struct core_effect e, const char *part);
/* Asked for, and still under way a while later. */
uint32_t ops_begin(struct core_effect e);

/* Watches a server and tells it the record, in async, of db1 as the holder. */
void ops_watch(unsigned int server);
void ops_note_goal(enum durability goal); /* promised at once */
void ops_start(unsigned int server);
bool ops_is_linked(unsigned int server);              /* to its primary */
void ops_follow(unsigned int server, uint8_t master); /* watches it, too */
unsigned int ops_attached(unsigned int server);       /* replicas that it calls online */
/* db1 leads, is watched, and so many others follow it and have everything. */
void ops_lead(unsigned int followers);
/* A pair that needs one of the n members from `first` on, whose copies are heard of. */
struct pair ops_pair_of(unsigned int first, unsigned int n);
/* The same in sync, with db2 in the pair, which is returned. */
struct pair ops_lead_in_sync(unsigned int followers);
/* It stops, and lacks something from then on. */
void ops_hang_behind(unsigned int server);

#endif
