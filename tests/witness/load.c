/* load.c - a real hamgr-witness under the load of many clusters, measured from outside.
 *
 * Every cluster is two members with a link each: the holder renews its lease every heartbeat, the
 * other one says how it is. All members live in this process, the witness in its own, between them
 * is the loopback. Measured are the witness's memory (PSS), its processor time, and how long
 * renewals take. The last line on stdout is for programs:
 *
 *   witness-load clusters=1000 seconds=10.0 pss_kib=... cpu_percent=... ... refused=0 missing=0
 *
 * Exit codes: 0 measured and within the limits that were asked for, 1 not, 2 usage. */
#include "base/clock.h"
#include "base/log.h"
#include "net/link.h"
#include "settings/settings.h"

#include <event2/event.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DB1, DB2, WT1, MEMBERS = 2, SLICE_MS = 5, SETTLE_MS = 3000, BEGIN_MS = 120000 };

struct load_cluster;

struct load_member {
    struct load_cluster *cluster;
    unsigned slot;
    struct link_cluster *links;
    struct wire_hello hello;
    uint64_t witness; /* its incarnation; 0: not heard yet */
};

struct load_cluster {
    const struct settings_cluster *settings;
    struct wire_service service;
    struct load_member member[MEMBERS];
    bool has_lease;
    hm_ms asked_ms;
    uint32_t seq;
};

static struct {
    struct event_base *base;
    struct settings_witness settings;
    struct link_hub *hub[MEMBERS];
    struct load_cluster *cluster; /* owned */
    size_t with_lease;
    size_t next; /* whose turn it is */
    uint64_t turns;
    hm_ms began_ms;
    bool is_measuring;
    uint64_t renewals, gossips, answers, refused, others;
    hm_ms waited_ms, waited_max_ms;
    pid_t pid;
    char folder[64];
} load;

static struct {
    size_t clusters;
    double seconds;
    hm_ms heartbeat_ms;
    unsigned port;
    const char *witness;
    long max_pss_kib;
    double max_cpu_percent;
} asked = { 1000, 10, 250, 17420, "build/release/hamgr-witness", 0, 0 };

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

/* True if the witness ended as it should. */
static bool stop_witness(void)
{
    int status = -1;
    bool is_clean = load.pid > 0 && kill(load.pid, SIGTERM) == 0 &&
                    waitpid(load.pid, &status, 0) == load.pid && WIFEXITED(status) &&
                    WEXITSTATUS(status) == 0;

    if (load.folder[0] != '\0')
        (void)nftw(load.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* /tmp is cleaned anyway */
    return is_clean;
}

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "witness-load: %s\n", what); /* nobody is left to be told */
    (void)stop_witness();
    exit(1);
}

/* --- what members say --------------------------------------------------------------------------
 */

static void make_first(struct record *r, uint64_t cluster)
{
    static const char *const names[] = { "db1", "db2", "wt1" };

    memset(r, 0, sizeof *r);
    r->cluster = cluster;
    r->ttl_ms = 6 * asked.heartbeat_ms;
    r->heartbeat_ms = asked.heartbeat_ms;
    r->sync_standbys = 1;
    for (unsigned slot = DB1; slot <= WT1; slot++) {
        r->member[slot].role = slot == WT1 ? ROLE_WITNESS : ROLE_DB;
        (void)snprintf(r->member[slot].name, HM_NAME_MAX, "%s", names[slot]);
        (void)snprintf(r->member[slot].address, HM_ADDRESS_MAX, "192.0.2.%u:7420", slot + 1);
        r->voters |= (uint16_t)(1u << slot);
    }
}

/* A record as it is after a year: long histories. */
static void make_record(struct record *r, const struct load_cluster *c)
{
    *r = c->service.first;
    r->member[DB1].incarnation = c->member[DB1].hello.incarnation;
    r->member[DB2].incarnation = c->member[DB2].hello.incarnation;
    r->member[WT1].incarnation = c->member[DB1].witness;
    r->version = 1;
    r->holder = DB1;
    r->system_id = 7;
    r->pairs_n = 1;
    for (uint64_t i = 1; i <= HM_CHANGES_MAX; i++) {
        r->epoch = i;
        record_add_timeline(r, i, i, i << 30);
        record_add_change(r, CHANGE_LEASE_RAN_OUT, 1);
    }
}

static struct msg message_of(const struct load_member *m, enum msg_type type)
{
    struct msg msg = { .type = type,
                       .from = (uint8_t)m->slot,
                       .to = WT1,
                       .from_incarnation = m->hello.incarnation,
                       .to_incarnation = m->witness,
                       .cluster = m->cluster->settings->cluster_id };

    msg.gossip.copy = m->slot == DB1 ? COPY_PRIMARY : COPY_STANDBY;
    msg.gossip.at = (struct position){ .timeline = HM_CHANGES_MAX, .offset = 20ull << 30 };
    msg.gossip.epoch = HM_CHANGES_MAX;
    msg.gossip.follows = m->slot == DB1 ? HM_NOBODY : DB1;
    msg.gossip.is_healthy = true;
    msg.gossip.is_holder = m->slot == DB1;
    return msg;
}

static bool say(const struct load_member *m, const struct msg *msg)
{
    struct wire_frame f = { .type = WIRE_MSG, .msg = *msg };

    return link_send(m->links, m->witness, "wt1", &f);
}

/* The holder renews, or begins; the other one tells how it is. */
static void speak(struct load_cluster *c)
{
    struct msg renew = message_of(&c->member[DB1], c->has_lease ? MSG_RENEW : MSG_ACCEPT);
    struct msg gossip = message_of(&c->member[DB2], MSG_GOSSIP);
    static struct record record;

    if (c->member[DB1].witness == 0 || c->member[DB2].witness == 0)
        return;
    renew.seq = ++c->seq;
    renew.version = 1;
    renew.ttl_ms = 6 * asked.heartbeat_ms;
    renew.ballot =
        (struct ballot){ .counter = 1, .incarnation = renew.from_incarnation, .member = DB1 };
    if (!c->has_lease) {
        make_record(&record, c);
        renew.record = &record;
    }
    c->asked_ms = clock_boot_ms();
    if (say(&c->member[DB1], &renew))
        load.renewals += load.is_measuring;
    if (c->has_lease && say(&c->member[DB2], &gossip))
        load.gossips += load.is_measuring;
}

static void hear_msg(struct load_cluster *c, const struct msg *m)
{
    hm_ms waited_ms = clock_boot_ms() - c->asked_ms;

    if (m->type == MSG_ACCEPT_ANSWER && m->refusal == REFUSE_NOTHING && !c->has_lease) {
        c->has_lease = true;
        load.with_lease++;
    }
    if (!load.is_measuring)
        return;
    if (m->type != MSG_RENEW_ANSWER) {
        load.others++;
        return;
    }
    load.answers++;
    load.refused += m->refusal != REFUSE_NOTHING;
    load.waited_ms += waited_ms;
    load.waited_max_ms = hm_max_ms(load.waited_max_ms, waited_ms);
}

static void on_frame(void *ctx, const struct link_peer *from, const struct wire_frame *frame)
{
    struct load_member *m = ctx;

    m->witness = from->incarnation;
    if (frame->type == WIRE_MSG)
        hear_msg(m->cluster, &frame->msg);
}

/* The clusters' turns are spread over the heartbeat, as those of independent clusters are. */
static void on_slice(evutil_socket_t fd, short what, void *arg)
{
    hm_ms passed_ms = clock_boot_ms() - load.began_ms;
    uint64_t due = (uint64_t)passed_ms * asked.clusters / (uint64_t)asked.heartbeat_ms;

    (void)fd;
    (void)what;
    (void)arg;
    for (; load.turns < due; load.turns++) {
        speak(&load.cluster[load.next]);
        load.next = (load.next + 1) % asked.clusters;
    }
}

/* --- the witness --------------------------------------------------------------------------------
 */

static void make_files(void)
{
    struct hm_err err;
    char path[128];
    FILE *f;

    (void)snprintf(load.folder, sizeof load.folder, "/tmp/hamgr-witness-load-XXXXXX");
    if (mkdtemp(load.folder) == NULL)
        die("cannot make a directory in /tmp");
    (void)snprintf(path, sizeof path, "%s/state", load.folder);
    if (mkdir(path, 0700) != 0)
        die("cannot make the state directory");
    (void)snprintf(path, sizeof path, "%s/key", load.folder);
    if (settings_make_key(path, &err) != HM_OK)
        die(err.text);
    (void)snprintf(path, sizeof path, "%s/witness.conf", load.folder);
    f = fopen(path, "we");
    if (f == NULL)
        die("cannot write witness.conf");
    (void)fprintf(f, "listen = \"127.0.0.1:%u\";\nstate_dir = \"%s/state\";\nclusters = (\n",
                  asked.port, load.folder);
    for (size_t i = 0; i < asked.clusters; i++)
        (void)fprintf(f, "  { name = \"shop%zu\"; key_file = \"%s/key\"; }%s\n", i, load.folder,
                      i + 1 < asked.clusters ? "," : "");
    (void)fprintf(f, ");\n");
    if (ferror(f) != 0 || fclose(f) != 0)
        die("cannot write witness.conf");
}

/* Its log goes to a file beside its state: it is shown when something is wrong. */
static void start_witness(void)
{
    struct settings_errors errors;
    char file[128], log[128];

    (void)snprintf(file, sizeof file, "%s/witness.conf", load.folder);
    (void)snprintf(log, sizeof log, "%s/log", load.folder);
    if (settings_load_witness(file, &load.settings, &errors) != HM_OK)
        die(errors.n > 0 ? errors.line[0] : "witness.conf is refused");
    settings_errors_done(&errors);
    load.pid = fork();
    if (load.pid < 0)
        die("cannot fork");
    if (load.pid > 0)
        return;
    if (freopen(log, "w", stderr) == NULL)
        _exit(1);
    (void)execl(asked.witness, "hamgr-witness", "-c", file, (char *)NULL);
    _exit(127);
}

struct memory {
    long pss_kib;  /* what is shared with other programs counts in part */
    long rss_kib;  /* ... counts wholly: what a host without any other program would need */
    long anon_kib; /* its own data, without programs and libraries */
};

static struct memory memory_now(void)
{
    struct memory m = { 0 };
    char path[64], line[256];
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)load.pid);
    f = fopen(path, "re");
    if (f == NULL)
        die("the witness is gone, or its smaps_rollup may not be read");
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "Pss:", 4) == 0)
            m.pss_kib = strtol(line + 4, NULL, 10);
        else if (strncmp(line, "Rss:", 4) == 0)
            m.rss_kib = strtol(line + 4, NULL, 10);
        else if (strncmp(line, "Pss_Anon:", 9) == 0)
            m.anon_kib = strtol(line + 9, NULL, 10);
    }
    (void)fclose(f);
    return m;
}

/* Processor time in seconds, of user and of kernel: fields 14 and 15, after the name. */
static double cpu_seconds(void)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, kernel = 0;
    const char *after;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)load.pid);
    f = fopen(path, "re");
    if (f == NULL || fgets(text, sizeof text, f) == NULL)
        die("the witness is gone");
    (void)fclose(f);
    after = strrchr(text, ')');
    if (after == NULL || sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                &user, &kernel) != 2)
        die("the witness's stat cannot be read");
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

/* --- the measurement ----------------------------------------------------------------------------
 */

static void connect_member(struct load_cluster *c, unsigned slot)
{
    struct load_member *m = &c->member[slot];
    struct link_cluster_config config = { .name = c->settings->name,
                                          .key = c->settings->key,
                                          .hello = &m->hello,
                                          .silence_ms = 20 * asked.heartbeat_ms,
                                          .retry_ms = 4 * asked.heartbeat_ms,
                                          .on_frame = on_frame,
                                          .ctx = m };
    char address[HM_ADDRESS_MAX];
    struct hm_err err;

    m->cluster = c;
    m->slot = slot;
    m->hello = (struct wire_hello){
        .version = WIRE_VERSION, .incarnation = 1000 + slot, .services_n = 1, .service = &c->service
    };
    memcpy(m->hello.cluster, c->settings->name, HM_NAME_MAX);
    (void)snprintf(m->hello.from, HM_NAME_MAX, "db%u", slot + 1);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", asked.port);
    if (link_hub_add(load.hub[slot], &config, &m->links, &err) != HM_OK)
        die(err.text);
    link_dial(m->links, "wt1", address);
}

static void connect_cluster(size_t at)
{
    struct load_cluster *c = &load.cluster[at];

    c->settings = &load.settings.cluster[at];
    (void)snprintf(c->service.name, HM_NAME_MAX, "postgres");
    make_first(&c->service.first, c->settings->cluster_id);
    for (unsigned slot = 0; slot < MEMBERS; slot++)
        connect_member(c, slot);
}

static void run_until(hm_ms end_ms)
{
    while (clock_boot_ms() < end_ms)
        if (event_base_loop(load.base, EVLOOP_ONCE) != 0)
            die("the loop ended");
}

static void begin(void)
{
    static const struct timeval slice = { .tv_usec = SLICE_MS * 1000 };
    struct link_hub_config hub = { .base = load.base, .links_max = 65536, .handshake_ms = 30000 };
    struct event *timer = event_new(load.base, -1, EV_PERSIST, on_slice, NULL);
    hm_ms limit_ms = clock_boot_ms() + BEGIN_MS;
    struct hm_err err;

    load.cluster = calloc(asked.clusters, sizeof *load.cluster);
    if (load.cluster == NULL || timer == NULL || event_add(timer, &slice) != 0)
        die("out of memory");
    for (unsigned slot = 0; slot < MEMBERS; slot++)
        if (link_hub_new(&hub, &load.hub[slot], &err) != HM_OK)
            die(err.text);
    load.began_ms = clock_boot_ms();
    for (size_t i = 0; i < asked.clusters; i++)
        connect_cluster(i);
    while (load.with_lease < asked.clusters) {
        if (waitpid(load.pid, NULL, WNOHANG) != 0)
            die("the witness ended by itself");
        if (clock_boot_ms() > limit_ms)
            die("not every cluster got its lease in time");
        run_until(clock_boot_ms() + 100);
    }
    (void)fprintf(stderr, "witness-load: %zu clusters have their lease after %.1f s\n",
                  asked.clusters, (double)(clock_boot_ms() - load.began_ms) / 1000);
    run_until(clock_boot_ms() + SETTLE_MS);
}

static int measure(void)
{
    double cpu = cpu_seconds(), seconds, percent;
    hm_ms start_ms = clock_boot_ms();
    bool is_clean, is_within;
    uint64_t missing;
    struct memory memory;

    load.is_measuring = true;
    run_until(start_ms + (hm_ms)(asked.seconds * 1000));
    load.is_measuring = false;
    cpu = cpu_seconds() - cpu;
    seconds = (double)(clock_boot_ms() - start_ms) / 1000;
    percent = 100 * cpu / seconds;
    memory = memory_now();
    missing = load.renewals > load.answers ? load.renewals - load.answers : 0;
    is_clean = stop_witness();
    printf("witness-load clusters=%zu seconds=%.1f pss_kib=%ld rss_kib=%ld anon_kib=%ld "
           "cpu_percent=%.1f heard_per_s=%.0f "
           "said_per_s=%.0f us_per_heard=%.1f renewal_ms_mean=%.2f renewal_ms_max=%lld "
           "refused=%llu missing=%llu ended=%s\n",
           asked.clusters, seconds, memory.pss_kib, memory.rss_kib, memory.anon_kib, percent,
           (double)(load.renewals + load.gossips) / seconds,
           (double)(load.answers + load.others) / seconds,
           1e6 * cpu / (double)(load.renewals + load.gossips + 1),
           (double)load.waited_ms / (double)(load.answers + 1), (long long)load.waited_max_ms,
           (unsigned long long)load.refused, (unsigned long long)missing,
           is_clean ? "well" : "badly");
    is_within = (asked.max_pss_kib == 0 || memory.pss_kib <= asked.max_pss_kib) &&
                (asked.max_cpu_percent <= 0 || percent <= asked.max_cpu_percent);
    /* Those that were under way when the time was up are missing rightly. */
    return is_clean && is_within && load.refused == 0 && missing <= load.renewals / 50 + 1 ? 0 : 1;
}

static const char usage[] =
    "Usage: witness-load [OPTION...]\n"
    "Measures a hamgr-witness that serves many clusters of two members each.\n"
    "  --clusters N       how many (1000)\n"
    "  --seconds S        how long to measure (10)\n"
    "  --heartbeat MS     between two messages of a member (250)\n"
    "  --port P           on 127.0.0.1 (17420)\n"
    "  --witness FILE     the program (build/release/hamgr-witness)\n"
    "  --max-pss KIB      exit 1 if it has more memory\n"
    "  --max-cpu PERCENT  exit 1 if it takes more of one processor\n";

static const struct option options[] = {
    { "clusters", required_argument, NULL, 'n' },  { "seconds", required_argument, NULL, 's' },
    { "heartbeat", required_argument, NULL, 'b' }, { "port", required_argument, NULL, 'p' },
    { "witness", required_argument, NULL, 'w' },   { "max-pss", required_argument, NULL, 'm' },
    { "max-cpu", required_argument, NULL, 'c' },   { NULL, 0, NULL, 0 },
};

static void read_options(int argc, char **argv)
{
    bool is_usage = false;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'n')
            asked.clusters = strtoul(optarg, NULL, 10);
        else if (option == 's')
            asked.seconds = strtod(optarg, NULL);
        else if (option == 'b')
            asked.heartbeat_ms = strtol(optarg, NULL, 10);
        else if (option == 'p')
            asked.port = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'w')
            asked.witness = optarg;
        else if (option == 'm')
            asked.max_pss_kib = strtol(optarg, NULL, 10);
        else if (option == 'c')
            asked.max_cpu_percent = strtod(optarg, NULL);
        else
            is_usage = true;
    }
    if (is_usage || optind != argc || asked.clusters < 1 ||
        asked.clusters > SETTINGS_CLUSTERS_MAX || asked.seconds <= 0 || asked.heartbeat_ms < 20) {
        (void)fputs(usage, stderr); /* nobody is left to be told */
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    read_options(argc, argv);
    log_init("witness-load", LOG_LEVEL_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* too few show themselves */
    }
    make_files();
    start_witness();
    load.base = event_base_new();
    if (load.base == NULL)
        die("no event loop");
    begin();
    return measure();
}
