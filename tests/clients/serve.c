/* serve.c - the Sentinel endpoint without a cluster behind it: it answers from a snapshot that is
 * made here, and changed by lines on its standard input. For tests of real clients, and of load.
 *
 *   sentinel-made [--listen ADDRESS] [--port N] [--password TEXT] [--clients N] [--idle MS]
 *                 NAME HOST:PORT...      the servers; the first is the master
 *
 * It prints "port N", then for each line that it read "ok" or what was asked for:
 *   switch I [planned]   server I is the master now      down | up     of the master
 *   begin | end          of a failover                   replica I up|down
 *   sentinel I up|down   the I-th other sentinel         voters N      that are heard
 *   refuse TEXT          the next FAILOVER (else it is accepted, and nothing happens)
 *   stats                counts, and by how much the loop was late at worst since the last time;
 *                        own_us: as far as that was not a matter of others on the machine
 * The end of its input ends it. */
#include "base/clock.h"
#include "daemon/loop.h"
#include "sentinel/server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BEAT_MS = 5 };

struct made {
    struct loop loop;
    struct sentinel_server *server;
    struct model model;
    struct model_place place[HM_MEMBERS_MAX];
    size_t places_n, master;
    bool is_down[HM_MEMBERS_MAX];
    char refusal[128];
    uint64_t beat_us; /* when the loop beats next */
    uint64_t late_us;
    uint64_t own_us; /* the same, at most as long as the loop itself was at work */
    uint64_t cpu_us; /* that it had used at the latest beat */
};

static uint64_t read_us(clockid_t which)
{
    struct timespec t;

    (void)clock_gettime(which, &t); /* there is always one */
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool split_place(const char *text, struct model_place *ret)
{
    const char *colon = strrchr(text, ':');

    if (colon == NULL || (size_t)(colon - text) >= sizeof ret->host)
        return false;
    (void)snprintf(ret->host, sizeof ret->host, "%.*s", (int)(colon - text), text);
    ret->port = (uint16_t)atoi(colon + 1);
    return ret->port != 0;
}

/* --- the snapshot -------------------------------------------------------------------------------
 */

static void fill_replicas(struct made *m)
{
    struct model_master *master = &m->model.master[0];

    master->replicas_n = 0;
    for (size_t i = 0; i < m->places_n; i++) {
        struct model_replica *r = &master->replica[master->replicas_n];

        if (i == m->master)
            continue;
        master->replicas_n++;
        *r = (struct model_replica){ .at = m->place[i],
                                     .is_up = !m->is_down[i],
                                     .changed_ms = m->model.now_ms,
                                     .heard_ms = m->model.now_ms,
                                     .reported = MODEL_ROLE_SLAVE,
                                     .reported_ms = m->model.now_ms,
                                     .is_linked = !m->is_down[i],
                                     .link_changed_ms = m->model.now_ms,
                                     .master = m->place[m->master],
                                     .priority = 100,
                                     .offset = 1000 + i };
        (void)snprintf(r->run_id, sizeof r->run_id, "%040zx", i + 1);
    }
}

static void show(struct made *m)
{
    struct model_master *master = &m->model.master[0];

    m->model.now_ms = clock_boot_ms();
    master->at = m->place[m->master];
    (void)snprintf(master->run_id, sizeof master->run_id, "%040zx", m->master + 1);
    (void)snprintf(master->by, sizeof master->by, "%039zxa", m->master + 1);
    master->heard_ms = m->model.now_ms;
    if (!master->is_sdown && !master->is_failover)
        master->unsettled_ms = HM_NEVER;
    else if (master->unsettled_ms == HM_NEVER)
        master->unsettled_ms = m->model.now_ms;
    fill_replicas(m);
    sentinel_server_show(m->server, &m->model);
}

static void fill_model(struct made *m, const char *name)
{
    struct model_master *master = &m->model.master[0];

    m->model.now_ms = clock_boot_ms();
    (void)snprintf(m->model.id, sizeof m->model.id, "%040x", 0xab);
    m->model.masters_n = 1;
    (void)snprintf(master->name, sizeof master->name, "%s", name);
    master->epoch = 1;
    master->unsettled_ms = HM_NEVER;
    master->is_connected = true;
    master->reported_ms = m->model.now_ms;
    master->down_after_ms = 1500;
    master->failover_limit_ms = 120000;
    master->quorum = 2;
    master->voters_heard = 3;
}

/* --- lines --------------------------------------------------------------------------------------
 */

static void switch_to(struct made *m, size_t i, bool is_planned)
{
    struct model_master *master = &m->model.master[0];

    if (i >= m->places_n)
        return;
    m->master = i;
    master->epoch++;
    master->is_planned = is_planned;
    master->is_sdown = master->is_odown = master->is_failover = false;
    master->is_connected = true;
    master->reported_ms = clock_boot_ms();
    show(m);
}

static void set_down(struct made *m, bool is_down)
{
    struct model_master *master = &m->model.master[0];

    master->is_sdown = master->is_odown = is_down;
    master->is_connected = !is_down;
    master->sdown_ms = master->odown_ms = clock_boot_ms();
    show(m);
}

static void set_sentinel(struct made *m, size_t i, bool is_up)
{
    struct model_sentinel *s = &m->model.sentinel[i];

    if (i >= HM_MEMBERS_MAX)
        return;
    for (size_t j = m->model.sentinels_n; j <= i; j++) {
        m->model.sentinel[j] =
            (struct model_sentinel){ .at = { .port = 26379 }, .heard_ms = HM_NEVER };
        (void)snprintf(m->model.sentinel[j].id, MODEL_ID_SIZE, "%039zxa", j + 1);
        (void)snprintf(m->model.sentinel[j].at.host, HM_ADDRESS_MAX, "127.0.0.%zu", 2 + j);
        m->model.sentinels_n = j + 1;
    }
    s->is_up = is_up;
    s->heard_ms = is_up ? clock_boot_ms() : s->heard_ms;
    show(m);
}

static void print_stats(struct made *m)
{
    struct mallinfo2 memory = mallinfo2();
    struct sentinel_counts n;

    sentinel_server_count(m->server, &n);
    (void)printf("stats clients=%u subscribers=%u max=%u rejected=%llu slow=%llu buffered=%zu "
                 "heap=%zu late_us=%llu own_us=%llu\n",
                 n.clients, n.subscribers, n.clients_max, (unsigned long long)n.rejected,
                 (unsigned long long)n.slow, n.buffered, memory.uordblks + memory.hblkhd,
                 (unsigned long long)m->late_us, (unsigned long long)m->own_us);
    m->late_us = m->own_us = 0;
}

static void take_line(struct made *m, char *line)
{
    char word[32] = "", state[32] = "";
    unsigned i = 0;
    int n = sscanf(line, "%31s %u %31s", word, &i, state);

    if (strcmp(word, "stats") == 0) {
        print_stats(m);
        return;
    }
    if (strcmp(word, "switch") == 0 && n >= 2)
        switch_to(m, i, strcmp(state, "planned") == 0);
    else if (strcmp(word, "down") == 0 || strcmp(word, "up") == 0)
        set_down(m, strcmp(word, "down") == 0);
    else if (strcmp(word, "begin") == 0 || strcmp(word, "end") == 0) {
        m->model.master[0].is_failover = strcmp(word, "begin") == 0;
        show(m);
    } else if (strcmp(word, "replica") == 0 && n == 3 && i < m->places_n) {
        m->is_down[i] = strcmp(state, "down") == 0;
        show(m);
    } else if (strcmp(word, "sentinel") == 0 && n == 3)
        set_sentinel(m, i, strcmp(state, "up") == 0);
    else if (strcmp(word, "voters") == 0 && n == 2) {
        m->model.master[0].voters_heard = i;
        show(m);
    } else if (strcmp(word, "refuse") == 0)
        (void)snprintf(m->refusal, sizeof m->refusal, "%s", line + strlen("refuse "));
    else {
        (void)printf("unknown: %s\n", line);
        return;
    }
    (void)puts("ok");
}

static void on_lines(struct bufferevent *bev, void *arg)
{
    char *line;

    while ((line = evbuffer_readln(bufferevent_get_input(bev), NULL, EVBUFFER_EOL_LF)) != NULL) {
        take_line(arg, line);
        free(line);
    }
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
    struct made *m = arg;

    (void)bev;
    (void)what;
    (void)event_base_loopbreak(m->loop.base); /* cannot fail within the loop */
}

static bool on_failover(void *ctx, uint64_t ticket, const char *master)
{
    struct made *m = ctx;

    (void)printf("failover %s\n", master);
    sentinel_server_answer(m->server, ticket, m->refusal[0] != '\0' ? m->refusal : NULL);
    m->refusal[0] = '\0';
    return true;
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
    struct made *m = arg;
    uint64_t now = read_us(CLOCK_MONOTONIC), cpu = read_us(CLOCK_THREAD_CPUTIME_ID);
    uint64_t late = m->beat_us != 0 && now > m->beat_us ? now - m->beat_us : 0;
    uint64_t own = late < cpu - m->cpu_us ? late : cpu - m->cpu_us;

    (void)fd;
    (void)what;
    m->late_us = late > m->late_us ? late : m->late_us;
    m->own_us = own > m->own_us ? own : m->own_us;
    m->beat_us = now + BEAT_MS * 1000;
    m->cpu_us = cpu;
}

/* --- the program --------------------------------------------------------------------------------
 */

static int serve(struct made *m, struct sentinel_config *config)
{
    const struct timeval beat = { .tv_usec = BEAT_MS * 1000 };
    struct bufferevent *input;
    struct event *beats;
    struct hm_err err;

    if (loop_init(&m->loop, 1000, &err) != HM_OK)
        return EXIT_FAILURE;
    config->base = m->loop.base;
    if (sentinel_server_new(config, &m->server, &err) != HM_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    show(m);
    (void)printf("port %u\n", sentinel_server_port(m->server));
    input = bufferevent_socket_new(m->loop.base, 0, 0);
    beats = event_new(m->loop.base, -1, EV_PERSIST, on_beat, m);
    if (input == NULL || beats == NULL || event_add(beats, &beat) != 0)
        return EXIT_FAILURE;
    bufferevent_setcb(input, on_lines, NULL, on_end, m);
    if (bufferevent_enable(input, EV_READ) != 0 || event_base_dispatch(m->loop.base) < 0)
        return EXIT_FAILURE;
    bufferevent_free(input);
    event_free(beats);
    sentinel_server_free(m->server);
    loop_done(&m->loop);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },     { "listen", required_argument, NULL, 'l' },
        { "password", required_argument, NULL, 'w' }, { "clients", required_argument, NULL, 'c' },
        { "idle", required_argument, NULL, 'i' },     { 0 },
    };
    struct sentinel_config config = { .listen = { "127.0.0.1" }, .clients_max = 12000 };
    static struct made m;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p')
            config.port = (uint16_t)atoi(optarg);
        else if (option == 'l')
            config.listen[0] = optarg;
        else if (option == 'w')
            config.password = optarg;
        else if (option == 'c')
            config.clients_max = (unsigned)atoi(optarg);
        else if (option == 'i')
            config.idle_ms = atoi(optarg);
        else
            return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);         /* a valid signal: cannot fail */
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* whoever reads it waits for lines */
    config.failover = on_failover;
    config.ctx = &m;
    if (argc - optind < 2 || argc - optind > HM_MEMBERS_MAX)
        return 2;
    for (int i = optind + 1; i < argc; i++)
        if (!split_place(argv[i], &m.place[m.places_n++]))
            return 2;
    fill_model(&m, argv[optind]);
    return serve(&m, &config);
}
