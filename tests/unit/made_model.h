/* made_model.h - a snapshot made by hand, for tests of the Sentinel endpoint: "cache" with the
 * master 10.0.0.1, the replicas 10.0.0.2 and 10.0.0.3, and two other sentinels, one of them down.
 */
#ifndef TESTS_UNIT_MADE_MODEL_H
#define TESTS_UNIT_MADE_MODEL_H

#include "sentinel/model.h"
#include "tests/cm.h"

#include <stdio.h>
#include <string.h>

#define MADE_MODEL_NOW_MS 500000

static inline void made_place(unsigned n, uint16_t port, struct model_place *ret)
{
    (void)snprintf(ret->host, sizeof ret->host, "10.0.0.%u", n);
    ret->port = port;
}

static inline void made_id(unsigned n, char id[MODEL_ID_SIZE])
{
    (void)snprintf(id, MODEL_ID_SIZE, "%040x", n);
}

static inline void made_replica(struct model_master *m, unsigned n, unsigned of)
{
    struct model_replica *r = &m->replica[m->replicas_n++];

    *r = (struct model_replica){ .is_up = true,
                                 .changed_ms = 100000,
                                 .heard_ms = MADE_MODEL_NOW_MS - 90,
                                 .reported = MODEL_ROLE_SLAVE,
                                 .reported_ms = 100000,
                                 .is_linked = true,
                                 .link_changed_ms = 100000,
                                 .priority = 100,
                                 .offset = 4711 };
    made_place(n, 6379, &r->at);
    made_place(of, 6379, &r->master);
    made_id(n, r->run_id);
}

static inline void made_sentinel(struct model *m, unsigned n, bool is_up)
{
    struct model_sentinel *s = &m->sentinel[m->sentinels_n++];

    *s = (struct model_sentinel){ .is_up = is_up, .heard_ms = MADE_MODEL_NOW_MS - 80 };
    made_place(n, 26379, &s->at);
    made_id(0xa0 + n, s->id);
}

static inline void made_master(struct model *m, const char *name, unsigned n)
{
    struct model_master *master = &m->master[m->masters_n++];

    *master = (struct model_master){ .epoch = 7,
                                     .is_connected = true,
                                     .heard_ms = MADE_MODEL_NOW_MS - 70,
                                     .unsettled_ms = HM_NEVER,
                                     .reported_ms = 100000,
                                     .down_after_ms = 1500,
                                     .failover_limit_ms = 120000,
                                     .quorum = 2,
                                     .voters_heard = 3 };
    (void)snprintf(master->name, sizeof master->name, "%s", name);
    made_place(n, 6379, &master->at);
    made_id(n, master->run_id);
    made_id(0xa0 + n, master->by);
    for (unsigned i = 1; i <= 3; i++)
        if (i != n)
            made_replica(master, i, n);
}

static inline void made_model(struct model *m, unsigned master)
{
    memset(m, 0, sizeof *m);
    m->now_ms = MADE_MODEL_NOW_MS;
    made_id(0xa1, m->id);
    made_sentinel(m, 2, true);
    made_sentinel(m, 3, false);
    made_master(m, "cache", master);
}

#endif
