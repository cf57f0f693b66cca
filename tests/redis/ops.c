#include "tests/redis/ops.h"

#include "tests/redis/await.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct world *w;
static uint32_t ops;

int ops_make_world(void **state)
{
    (void)state;
    w = world_new();
    for (unsigned int i = 0; i < WORLD_SERVERS; i++) {
        char dir[sizeof w->settings[i].run_dir];

        (void)snprintf(dir, sizeof dir, "%s/data%u", w->top, i + 1);
        memcpy(w->settings[i].run_dir, dir, sizeof dir);
    }
    return 0;
}

int ops_end_world(void **state)
{
    (void)state;
    world_unwatch(w);
    for (unsigned int i = 0; i < WORLD_SERVERS; i++)
        world_signal(w, i, SIGKILL);
    world_let(w, 20); /* the ends of those that hamgrd started are taken */
    world_free(w);
    return 0;
}

/* --- operations ------------------------------------------------------------------------------ */

struct core_effect ops_effect(enum core_effect_type type)
{
    struct core_effect e = { .type = type };

    e.copy.member = HM_NOBODY;
    return e;
}

struct core_effect ops_following(uint8_t member)
{
    struct core_effect e = ops_effect(DO_FOLLOW);

    e.copy.member = member;
    return e;
}

struct core_effect ops_names(enum core_effect_type type, enum names_state names,
                             const struct pair *pair)
{
    struct core_effect e = { .type = type };

    e.names.names = names;
    e.names.pair = pair != NULL ? *pair : pair_alone;
    return e;
}

uint32_t ops_ask(struct core_effect e)
{
    e.op = ++ops;
    service_redis.carry_out(w->service, &e);
    return e.op;
}

void ops_wait(uint32_t op)
{
    world_await(w, w->done_op == op);
}

/* Until that operation of the watched server has ended well. */
void ops_do(struct core_effect e)
{
    uint32_t op = ops_ask(e);

    ops_wait(op);
    if (!w->done_is_ok)
        fail_msg("'%s' failed: %s", core_effect_name(e.type), w->done_why);
}

void ops_do_twice(struct core_effect e)
{
    ops_do(e);
    ops_do(e);
}

void ops_fails(struct core_effect e, const char *part)
{
    ops_wait(ops_ask(e));
    assert_false(w->done_is_ok);
    if (strstr(w->done_why, part) == NULL)
        fail_msg("'%s' says '%s', not '%s'", core_effect_name(e.type), w->done_why, part);
}

/* Asked for, and still under way a while later. */
uint32_t ops_begin(struct core_effect e)
{
    uint32_t op = ops_ask(e);

    world_let(w, 100);
    assert_int_not_equal(w->done_op, op);
    return op;
}

/* --- worlds ---------------------------------------------------------------------------------- */

void ops_watch(unsigned int server)
{
    world_watch(w, server);
    world_note_record(w, DB1);
}

void ops_note_goal(enum durability goal)
{
    w->record.goal = w->record.durability = goal;
    service_redis.note_record(w->service, &w->record, (uint8_t)w->watched, true);
}

/* Each starts as hamgrd starts it, with what is appended for db1's a primary. */
void ops_start(unsigned int server)
{
    world_start(w, server, "replicaof 127.0.0.1 1\n");
}

bool ops_is_linked(unsigned int server)
{
    return strcmp(world_info(w, server, "master_link_status"), "up") == 0;
}

void ops_follow(unsigned int server, uint8_t master)
{
    ops_watch(server);
    ops_do(ops_following(master));
    world_await(w, ops_is_linked(server));
}

unsigned int ops_attached(unsigned int server)
{
    const char *at = world_ask(w, server, "INFO replication");
    unsigned int n = 0;

    while ((at = strstr(at, "state=online")) != NULL) {
        at++;
        n++;
    }
    return n;
}

/* db1 leads, and so many others follow it. */
void ops_lead(unsigned int followers)
{
    for (unsigned int i = 0; i <= followers; i++)
        ops_start(i);
    ops_watch(DB1);
    ops_do(ops_effect(DO_PROMOTE));
    for (unsigned int i = 1; i <= followers; i++)
        ops_follow(i, DB1);
    /* Redis calls a replica online up to a second before it streams to it. */
    assert_string_equal(world_ask(w, DB1, "SET first 1"), "OK");
    for (unsigned int i = 1; i <= followers; i++)
        world_await(w, strcmp(world_ask(w, i, "EXISTS first"), "1") == 0);
    ops_watch(DB1);
    world_expect(w, COPY_PRIMARY, NULL, LIMIT_MS);
}

struct pair ops_pair_of(unsigned int first, unsigned int n)
{
    struct pair pair = { .need = 1 };

    for (unsigned int i = first; i < first + n; i++) {
        world_hear(w, i, 100 + i, DB1);
        pair_add(&pair, (uint8_t)i, 100 + i);
    }
    return pair;
}

/* db1 leads in sync, with db2 in its pair. */
struct pair ops_lead_in_sync(unsigned int followers)
{
    struct pair pair;

    ops_lead(followers);
    pair = ops_pair_of(DB2, 1);
    w->record.pairs_n = 1;
    w->record.pairs[0] = pair;
    ops_note_goal(DURABILITY_SYNC);
    ops_do(ops_names(DO_SET_NAMES, NAMES_PAIR, &pair));
    world_await(w, ops_attached(DB1) == 1);
    world_await(w, strstr(world_ask(w, DB1, "CONFIG GET min-replicas-to-write"), "\n1") != NULL);
    return pair;
}

/* It lacks something, and confirms nothing. */
void ops_hang_behind(unsigned int server)
{
    world_signal(w, server, SIGSTOP);
    assert_string_equal(world_ask(w, DB1, "SET behind %u", server), "OK");
}
