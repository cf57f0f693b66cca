/* told_redis.h - the made-up world of told.h with a service of Redis. */
#ifndef TESTS_UNIT_TOLD_REDIS_H
#define TESTS_UNIT_TOLD_REDIS_H

#include "tests/unit/told.h"

static inline void told_redis(struct told *t, unsigned dbs, unsigned witnesses, uint8_t self)
{
    struct core_config config;

    told_init(t, dbs, witnesses, self);
    t->first.kind = SERVICE_REDIS;
    told_config(&config, &t->first, self);
    core_init(&t->core, &config);
}

/* db2 of three; db1 leads. What the record has beside its members stays. */
static inline void told_redis_of_three(struct told *t, struct record *record)
{
    told_redis(t, 3, 0, 1);
    record->kind = SERVICE_REDIS;
    record->voters = t->first.voters;
    memcpy(record->member, t->first.member, sizeof record->member);
    for (unsigned slot = 0; slot < 3; slot++)
        record->member[slot].incarnation = told_incarnation(slot);
}

#endif
