/* made_report.h - a cluster as hamgrd on db1 believes it to be, made by hand, for tests of what is
 * told about it. db1 is primary of "pg", db2 its standby, w1 a witness. */
#ifndef TESTS_UNIT_MADE_REPORT_H
#define TESTS_UNIT_MADE_REPORT_H

#include "daemon/report.h"
#include "tests/cm.h"

#include <stdio.h>
#include <string.h>

enum { DB1, DB2, W1 };

#define MADE_NOW_MS 1000000

static struct settings made_settings;
static struct core made_core;
static struct report made;
static struct record *made_rec; /* of made_core: what it accepted */

/* Links are told by the test: the real ones need the members at their other ends. */
static struct link_state made_links[HM_MEMBERS_MAX];

void link_look(const struct link_cluster *c, const char *name, struct link_state *ret)
{
    assert_ptr_equal(c, &made_links);
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (strcmp(made_rec->member[slot].name, name) == 0) {
            *ret = made_links[slot];
            return;
        }
    fail_msg("no member %s", name);
}

static struct link_twin made_twin[2];
static unsigned made_twins_n;

bool link_twin(const struct link_cluster *c, unsigned i, struct link_twin *ret)
{
    assert_ptr_equal(c, &made_links);
    if (i >= made_twins_n)
        return false;
    *ret = made_twin[i];
    return true;
}

static inline void made_member(unsigned slot, const char *name, enum member_role role)
{
    struct member *m = &made_rec->member[slot];

    m->incarnation = 0xa0 + slot;
    m->role = role;
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    (void)snprintf(m->address, sizeof m->address, "10.0.0.%u:7420", slot + 1);
    made_rec->voters |= (uint16_t)(1u << slot);
}

static inline void made_record(void)
{
    memset(made_rec, 0, sizeof *made_rec);
    made_rec->version = 12;
    made_rec->epoch = 7;
    made_rec->holder = DB1;
    made_rec->copy_id = 1;
    made_rec->ttl_ms = 1500;
    made_rec->heartbeat_ms = 250;
    made_rec->durability = DURABILITY_SYNC;
    made_rec->goal = DURABILITY_SYNC;
    made_rec->sync_standbys = 1;
    made_rec->max_lag_bytes = 16u << 20;
    made_rec->pairs_n = 1;
    made_rec->pairs[0].need = 1;
    pair_add(&made_rec->pairs[0], DB2, 2);
    made_member(DB1, "db1", ROLE_DB);
    made_member(DB2, "db2", ROLE_DB);
    made_member(W1, "w1", ROLE_WITNESS);
    record_add_timeline(made_rec, 4, 6, 0x1000000);
    record_add_timeline(made_rec, 5, 7, 0x3000000);
    made_rec->last_known = (struct position){ .timeline = 5, .offset = 0x3000040 };
    made_rec->epoch = 6;
    made_rec->holder = DB2;
    record_add_change(made_rec, CHANGE_LEASE_RAN_OUT, 1795000000000);
    made_rec->epoch = 7;
    made_rec->holder = DB1;
    record_add_change(made_rec, CHANGE_SWITCHOVER, 1795172400000);
}

/* db1, the primary. */
static inline void made_own_copy(void)
{
    struct core *c = &made_core;

    c->has_copy = true;
    c->copy = (struct copy){ .state = COPY_PRIMARY,
                             .is_healthy = true,
                             .copy_id = 1,
                             .at = { .timeline = 5, .offset = 0x3000060 },
                             .follows = HM_NOBODY };
}

static inline void made_heard(unsigned slot, hm_ms ago_ms)
{
    struct peer *p = &made_core.view.peer[slot];

    p->is_known = true;
    p->heard_ms = MADE_NOW_MS - ago_ms;
    made_links[slot] = (struct link_state){ .is_up = true, .heard_ms = p->heard_ms };
    p->gossip.follows = HM_NOBODY;
}

/* db2, its standby. */
static inline void made_standby(unsigned slot, uint8_t of)
{
    struct gossip *g = &made_core.view.peer[slot].gossip;

    *g = (struct gossip){ .copy = COPY_STANDBY,
                          .copy_id = slot + 1,
                          .at = { .timeline = 5, .offset = 0x3000060 },
                          .epoch = 7,
                          .follows = of,
                          .is_streaming = true,
                          .is_final = true,
                          .is_healthy = true,
                          .sees_majority = true };
}

static inline void made_fence(struct fence_report *f)
{
    *f = (struct fence_report){ .mode = FENCE_LEASE,
                                .suspend_ms = MADE_NOW_MS + 1100,
                                .until_ms = MADE_NOW_MS + 1400,
                                .is_gate_open = true,
                                .has_gate = true,
                                .has_lock = true,
                                .has_priority = true,
                                .processes = 9 };
}

static inline void made_config(void)
{
    struct settings *s = &made_settings;

    memset(s, 0, sizeof *s);
    (void)snprintf(s->cluster, sizeof s->cluster, "main");
    (void)snprintf(s->node, sizeof s->node, "db1");
    s->is_gate_on = true;
    s->services_n = 1;
    (void)snprintf(s->service[0].name, sizeof s->service[0].name, "pg");
    s->service[0].port = 5432;
}

/* The cluster on a good day; tests then change what they are about. */
static inline void made_well(void)
{
    struct core *c = &made_core;

    memset(c, 0, sizeof *c);
    view_init(&c->view);
    memset(made_links, 0, sizeof made_links);
    made_config();
    made_rec = &c->voter.durable.record;
    made_record();
    c->voter.durable.accepted = (struct ballot){ .counter = 9, .incarnation = 0xa0, .member = DB1 };
    c->voter.durable.promised = c->voter.durable.accepted;
    c->config.role = ROLE_DB;
    (void)snprintf(c->config.name, sizeof c->config.name, "db1");
    c->state = ST_HOLDER;
    c->rule = 119;
    c->self = DB1;
    c->now_ms = MADE_NOW_MS;
    c->valid_until_ms = MADE_NOW_MS + 1320;
    made_own_copy();
    made_heard(DB2, 90);
    made_standby(DB2, DB1);
    made_heard(W1, 110);
    made = (struct report){ .settings = &made_settings,
                            .links = (struct link_cluster *)&made_links,
                            .now_ms = MADE_NOW_MS,
                            .started_ms = MADE_NOW_MS - 600000,
                            .stall_longest_ms = 3,
                            .services_n = 1 };
    made.service[0] = (struct report_service){ .settings = &made_settings.service[0],
                                               .core = &made_core,
                                               .has_fence = true };
    (void)snprintf(made.service[0].facts.version, sizeof made.service[0].facts.version, "15.14");
    made_fence(&made.service[0].fence);
}

/* The same cluster as db2, its standby, sees it. */
static inline void made_well_on_standby(void)
{
    struct core *c = &made_core;

    made_well();
    (void)snprintf(made_settings.node, sizeof made_settings.node, "db2");
    c->self = DB2;
    c->state = ST_FOLLOWING;
    c->rule = 29;
    c->valid_until_ms = HM_PAST;
    c->voter.lease.member = DB1;
    c->voter.lease.until_ms = MADE_NOW_MS + 1400;
    c->copy.state = COPY_STANDBY;
    c->copy.follows = DB1;
    c->copy.is_streaming = true;
    made_heard(DB1, 80);
    c->view.peer[DB1].gossip = (struct gossip){ .copy = COPY_PRIMARY,
                                                .at = { .timeline = 5, .offset = 0x3000060 },
                                                .follows = HM_NOBODY,
                                                .is_healthy = true,
                                                .is_holder = true,
                                                .sees_majority = true };
    made.service[0].fence.mode = FENCE_STANDBY;
}

/* The warnings are exactly these lines. */
static inline void made_warns(const char *expected)
{
    char lines[32][REPORT_WARNING_SIZE], all[32 * (REPORT_WARNING_SIZE + 1)] = "";
    size_t n = report_warnings(&made, lines, 32), used = 0;

    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, "%s\n", lines[i]);
    assert_string_equal(all, expected);
}

#endif
