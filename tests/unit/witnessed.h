/* witnessed.h - a real witness and puppets of members with real links, all in one event base. A
 * puppet asks a register what a member's core would ask it, and remembers what was answered. */
#ifndef TESTS_UNIT_WITNESSED_H
#define TESTS_UNIT_WITNESSED_H

#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/told.h"
#include "witness/witness.h"

#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DB1, DB2, WT1, PUPPETS = 4, CLUSTERS = 3, SERVICES = 2, LIMIT_MS = 8000 };

static struct event_base *base;
static struct event *pulse; /* so that a turn of the loop ends */
static struct witness *witness;
static char folder[64];
static char listen_at[HM_ADDRESS_MAX];
static struct settings_cluster clusters[CLUSTERS];

struct puppet {
    struct link_hub *hub;
    struct link_cluster *links;
    unsigned slot;
    struct wire_hello hello;
    struct wire_service service[SERVICES];
    const struct settings_cluster *cluster;
    uint64_t witness; /* its incarnation, as its HELLO said */
    unsigned heard[MSG_TYPES_N];
    struct msg last[MSG_TYPES_N]; /* without their records ... */
    struct record record;         /* ... the newest one of them is here */
    uint32_t seq;
};

static struct puppet puppets[PUPPETS];

static inline void on_pulse(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

/* Turns the loop until `what` is so; told by its text if it never is. */
#define until(what)                                                                                \
    do {                                                                                           \
        hm_ms limit_ms = clock_boot_ms() + LIMIT_MS;                                               \
                                                                                                   \
        while (!(what)) {                                                                          \
            if (clock_boot_ms() > limit_ms)                                                        \
                fail_msg("never: %s", #what);                                                      \
            assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);                               \
        }                                                                                          \
    } while (0)

/* Turns the loop for so long: what must not happen had time to. */
static inline void turn_for(hm_ms ms)
{
    hm_ms end_ms = clock_boot_ms() + ms;

    until(clock_boot_ms() >= end_ms);
}

/* --- the witness -------------------------------------------------------------------------------
 */

static inline struct clusters_counts counts(void)
{
    struct clusters_counts c;
    struct link_counts links;

    witness_count(witness, &c, &links);
    return c;
}

static inline void start_witness(size_t n)
{
    struct settings_witness settings = { .clusters_n = n, .cluster = clusters };
    struct hm_err err;

    (void)snprintf(settings.listen, sizeof settings.listen, "%s", listen_at);
    (void)snprintf(settings.state_dir, sizeof settings.state_dir, "%s", folder);
    if (witness_new(base, &settings, &witness, &err) != HM_OK)
        fail_msg("%s", err.text);
    (void)snprintf(listen_at, sizeof listen_at, "127.0.0.1:%u", witness_port(witness));
    until(counts().opening == 0);
}

static inline void stop_witness(void)
{
    witness_free(witness);
    witness = NULL;
}

static inline void restart_witness(size_t n)
{
    stop_witness();
    start_witness(n);
}

/* --- puppets -----------------------------------------------------------------------------------
 */

static inline void puppet_hears(void *ctx, const struct link_peer *from,
                                const struct wire_frame *frame)
{
    struct puppet *p = ctx;
    const struct msg *m = &frame->msg;

    assert_string_equal(from->name, "wt1");
    p->witness = from->incarnation;
    if (frame->type != WIRE_MSG)
        return;
    p->heard[m->type]++;
    p->last[m->type] = *m;
    p->last[m->type].record = NULL;
    if (m->record != NULL)
        p->record = *m->record;
}

/* db1 or db2 of a cluster of two and a witness, which is called wt1; not connected yet. */
static inline struct puppet *make_puppet(unsigned at, unsigned cluster, unsigned slot)
{
    static const char *const names[] = { "postgres", "redis" };
    struct puppet *p = &puppets[at];

    memset(p, 0, sizeof *p);
    p->slot = slot;
    p->cluster = &clusters[cluster];
    for (unsigned i = 0; i < SERVICES; i++) {
        struct record *first = &p->service[i].first;

        (void)snprintf(p->service[i].name, HM_NAME_MAX, "%s", names[i]);
        told_first(first, 2, 1);
        first->cluster = clusters[cluster].cluster_id;
        first->service = (uint8_t)i;
        first->kind = i == 0 ? SERVICE_POSTGRES : SERVICE_REDIS;
    }
    p->hello = (struct wire_hello){ .version = WIRE_VERSION,
                                    .incarnation = told_incarnation(slot),
                                    .services_n = 1,
                                    .service = p->service };
    memcpy(p->hello.cluster, p->cluster->name, HM_NAME_MAX);
    memcpy(p->hello.from, p->service[0].first.member[slot].name, HM_NAME_MAX);
    return p;
}

static inline void connect_puppet(struct puppet *p)
{
    struct link_hub_config hub = { .base = base, .handshake_ms = 2000 };
    struct link_cluster_config cluster = { .name = p->cluster->name,
                                           .key = p->cluster->key,
                                           .hello = &p->hello,
                                           .silence_ms = 1000,
                                           .retry_ms = 50,
                                           .on_frame = puppet_hears,
                                           .ctx = p };
    struct hm_err err;

    p->witness = 0;
    if (link_hub_new(&hub, &p->hub, &err) != HM_OK ||
        link_hub_add(p->hub, &cluster, &p->links, &err) != HM_OK)
        fail_msg("%s", err.text);
    link_dial(p->links, "wt1", listen_at);
    until(p->witness != 0);
}

static inline void leave_puppet(struct puppet *p)
{
    link_hub_free(p->hub);
    p->hub = NULL;
    event_base_loop(base, EVLOOP_NONBLOCK);
}

/* hamgrd was restarted there: a new HELLO. */
static inline void reconnect_puppet(struct puppet *p)
{
    leave_puppet(p);
    connect_puppet(p);
}

/* A request of that member, as its core would make it. */
static inline struct msg request_of(struct puppet *p, enum msg_type type, uint64_t counter)
{
    struct msg m = { .type = type,
                     .from = (uint8_t)p->slot,
                     .to = WT1,
                     .from_incarnation = p->hello.incarnation,
                     .to_incarnation = p->witness,
                     .cluster = p->cluster->cluster_id,
                     .seq = ++p->seq };

    m.ballot = told_ballot(counter, (uint8_t)p->slot);
    m.gossip.follows = HM_NOBODY;
    return m;
}

static inline void send_from(struct puppet *p, const struct msg *m)
{
    struct wire_frame f = { .type = WIRE_MSG, .msg = *m };

    until(link_send(p->links, 0, "wt1", &f));
}

/* Sends it, again and again as members do, until the answer to this very one is there. */
static inline const struct msg *answer_to(struct puppet *p, struct msg m, enum msg_type answer)
{
    hm_ms limit_ms = clock_boot_ms() + LIMIT_MS, again_ms = 0;

    while (p->heard[answer] == 0 || p->last[answer].seq != m.seq) {
        if (clock_boot_ms() > limit_ms)
            fail_msg("no %s", msg_type_name(answer));
        if (clock_boot_ms() >= again_ms) {
            again_ms = clock_boot_ms() + 100;
            send_from(p, &m);
        }
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    }
    return &p->last[answer];
}

static inline enum refusal prevote(struct puppet *p, uint64_t counter)
{
    return answer_to(p, request_of(p, MSG_PREVOTE, counter), MSG_PREVOTE_ANSWER)->refusal;
}

static inline enum refusal prepare(struct puppet *p, uint64_t counter)
{
    return answer_to(p, request_of(p, MSG_PREPARE, counter), MSG_PREPARE_ANSWER)->refusal;
}

/* The first record, with that version: this puppet holds its first epoch. */
static inline void record_of(struct puppet *p, uint64_t version, struct record *r)
{
    *r = p->service[0].first;
    r->member[DB1].incarnation = told_incarnation(DB1);
    r->member[DB2].incarnation = told_incarnation(DB2);
    r->member[WT1].incarnation = p->witness;
    r->version = version;
    r->epoch = 1;
    r->holder = (uint8_t)p->slot;
    r->pairs_n = 1;
    r->pairs[0] = pair_alone;
    record_add_timeline(r, 1, 1, 0);
    record_add_change(r, CHANGE_FIRST, 1);
}

static inline enum refusal accept_record(struct puppet *p, uint64_t counter, uint64_t version)
{
    struct msg m = request_of(p, MSG_ACCEPT, counter);
    static struct record r;

    record_of(p, version, &r);
    m.version = version;
    m.ttl_ms = r.ttl_ms;
    m.record = &r;
    return answer_to(p, m, MSG_ACCEPT_ANSWER)->refusal;
}

static inline enum refusal renew(struct puppet *p, uint64_t counter, uint64_t version)
{
    struct msg m = request_of(p, MSG_RENEW, counter);

    m.version = version;
    m.ttl_ms = TOLD_TTL_MS;
    return answer_to(p, m, MSG_RENEW_ANSWER)->refusal;
}

/* Asks, and hears nothing for a while. */
static inline void gets_no_vote(struct puppet *p)
{
    struct msg m = request_of(p, MSG_PREVOTE, 1000);
    unsigned before = p->heard[MSG_PREVOTE_ANSWER];

    for (unsigned i = 0; i < 3; i++) {
        send_from(p, &m);
        turn_for(60);
    }
    assert_int_equal(p->heard[MSG_PREVOTE_ANSWER], before);
}

/* --- for each test -----------------------------------------------------------------------------
 */

static inline int make_witness(void **state)
{
    static const struct timeval often = { .tv_usec = 5000 };

    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)snprintf(folder, sizeof folder, "/tmp/hamgr-witness-XXXXXX");
    (void)snprintf(listen_at, sizeof listen_at, "127.0.0.1:0");
    memset(clusters, 0, sizeof clusters);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        (void)snprintf(clusters[i].name, HM_NAME_MAX, "shop%u", i);
        memset(clusters[i].key, 'a' + (int)i, sizeof clusters[i].key);
        clusters[i].cluster_id = 7000 + i;
    }
    if (mkdtemp(folder) == NULL)
        return -1;
    base = event_base_new();
    pulse = event_new(base, -1, EV_PERSIST, on_pulse, NULL);
    return event_add(pulse, &often);
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline int remove_witness(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PUPPETS; i++) {
        link_hub_free(puppets[i].hub);
        puppets[i].hub = NULL;
    }
    stop_witness();
    event_free(pulse);
    event_base_free(base);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
