#include "parts.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHOWN_MAX = 5, SHOWN_LINES = 60 };

static const char usage[] =
    "usage: sim [--seeds N] [--first S] [--jobs J] [--stop-at-first]\n"
    "           [--stuck] names the seeds that ended without a copy that may take over\n"
    "       sim --seed N [--trace] [--verbose]\n"
    "       sim --story NAME | --stories | --list\n";

struct options {
    uint64_t seeds, first, seed;
    unsigned int jobs;
    bool tells_stuck, has_seed, is_traced, is_verbose, stops_at_first, is_list, all_stories;
    const char *story;
};

/* What a worker tells about one seed; small enough to be written to a pipe in one piece. */
struct result {
    uint64_t seed;
    bool is_violated;
    char violated[16];
    char what[400];
    int64_t violated_us;
    struct sim_stats stats;
};
_Static_assert(sizeof(struct result) <= 4096, "a result must fit into one write to a pipe");

/* ---- statistics -------------------------------------------------------------------------------
 */

enum { GAPS_MAX = 200000 };

static struct {
    uint32_t *ms; /* owned */
    uint32_t n;
} gaps[GAP_KINDS][2];

static struct totals {
    uint64_t stuck, seeds, violations, failovers, sim_us, events, steps, acks, faults;
} totals;

static void add(const struct result *r)
{
    totals.seeds++;
    totals.violations += r->is_violated;
    totals.failovers += r->stats.failovers;
    totals.stuck += r->is_violated ? 0 : r->stats.stuck;
    totals.sim_us += r->stats.sim_us;
    totals.events += r->stats.events;
    totals.steps += r->stats.steps;
    totals.acks += r->stats.acks;
    totals.faults += r->stats.faults;
    for (uint32_t i = 0; i < r->stats.gaps_n; i++) {
        unsigned int kind = r->stats.gaps[i].kind, timing = r->stats.gaps[i].timing;

        if (timing > 1 || gaps[kind][timing].n == GAPS_MAX)
            continue;
        if (gaps[kind][timing].ms == NULL)
            gaps[kind][timing].ms = malloc(GAPS_MAX * sizeof(uint32_t));
        if (gaps[kind][timing].ms != NULL)
            gaps[kind][timing].ms[gaps[kind][timing].n++] = r->stats.gaps[i].gap_ms;
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void print_gaps(void)
{
    static const char *const kinds[GAP_KINDS] = { "host lost", "process killed", "switchover",
                                                  "quorum blip" };
    static const char *const timings[2] = { "default", "lan" };

    printf("write gap, ms      timing        p50      p99      max        n\n");
    for (unsigned int k = 0; k < GAP_KINDS; k++)
        for (unsigned int t = 0; t < 2; t++) {
            uint32_t n = gaps[k][t].n, *ms = gaps[k][t].ms;

            if (n == 0)
                continue;
            qsort(ms, n, sizeof *ms, by_size);
            printf("  %-16s %-8s %8u %8u %8u %8u\n", kinds[k], timings[t], ms[n / 2],
                   ms[(size_t)n * 99 / 100], ms[n - 1], n);
            free(ms);
        }
}

static double cpu_s(void)
{
    struct rusage self, children;

    (void)getrusage(RUSAGE_SELF, &self); /* cannot fail with these arguments */
    (void)getrusage(RUSAGE_CHILDREN, &children);
    return (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec +
                    children.ru_stime.tv_sec) +
           (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_utime.tv_usec +
                    children.ru_stime.tv_usec) /
               1e6;
}

static void print_totals(void)
{
    print_gaps();
    printf("sim: events=%lu steps=%lu acknowledged=%lu faults=%lu ended_without_safe_copy=%lu\n",
           (unsigned long)totals.events, (unsigned long)totals.steps, (unsigned long)totals.acks,
           (unsigned long)totals.faults, (unsigned long)totals.stuck);
    printf("sim: seeds=%lu violations=%lu failovers=%lu sim_s=%lu cpu_s=%.1f\n",
           (unsigned long)totals.seeds, (unsigned long)totals.violations,
           (unsigned long)totals.failovers, (unsigned long)(totals.sim_us / 1000000), cpu_s());
}

static void print_violation(const struct result *r)
{
    printf("violation: invariant=%s seed=%lu t_ms=%ld what=%s\n", r->violated,
           (unsigned long)r->seed, (long)(r->violated_us / 1000), r->what);
}

/* ---- one seed ---------------------------------------------------------------------------------
 */

static struct sim *world; /* large: lives as long as the program */

static sigjmp_buf out_of_bug;

/* HM_BUG_ON() in the core: that is a finding like any other. */
static void on_abort(int signal_number)
{
    (void)signal_number;
    siglongjmp(out_of_bug, 1);
}

static void run_seed(struct sim *w, uint64_t seed, struct result *ret)
{
    memset(ret, 0, sizeof *ret);
    if (sigsetjmp(out_of_bug, 1) == 0)
        sim_run(w, seed);
    else
        sim_violated(w, "BUG", "the core has ended itself: see above");
    ret->seed = seed;
    ret->is_violated = w->is_violated;
    memcpy(ret->violated, w->violated, sizeof ret->violated);
    memcpy(ret->what, w->is_violated ? w->what : w->why, sizeof ret->what);
    ret->violated_us = w->violated_us;
    ret->stats = w->stats;
}

/* The same seed again, this time for its trace: the run is the same to the last event. */
static void show(uint64_t seed)
{
    struct result r;

    run_seed(world, seed, &r);
    printf("trace of the last decisions of seed %lu:\n", (unsigned long)seed);
    sim_print_trace(world, stdout, SHOWN_LINES);
    sim_print_state(world, stdout);
}

static int replay(const struct options *o)
{
    struct result r;

    world->is_traced = o->is_traced;
    world->is_verbose = o->is_verbose;
    run_seed(world, o->seed, &r);
    if (r.stats.stuck != 0 && !r.is_violated)
        sim_print_state(world, stdout);
    if (r.is_violated) {
        if (!o->is_traced)
            sim_print_trace(world, stdout, SHOWN_LINES);
        sim_print_state(world, stdout);
        print_violation(&r);
    }
    add(&r);
    print_totals();
    return r.is_violated ? 1 : 0;
}

/* ---- many seeds -------------------------------------------------------------------------------
 */

struct shared {
    _Atomic uint64_t next;
    _Atomic bool stops;
};

static void work(const struct options *o, struct shared *shared, int to)
{
    struct result r;

    for (;;) {
        uint64_t i = shared->next++;

        if (i >= o->seeds || shared->stops)
            return;
        run_seed(world, o->first + i, &r);
        if (r.is_violated && o->stops_at_first)
            shared->stops = true;
        if (write(to, &r, sizeof r) != (ssize_t)sizeof r)
            return; /* nobody reads any more */
    }
}

static int collect(const struct options *o, int from)
{
    uint64_t shown[SHOWN_MAX];
    unsigned int shown_n = 0;
    struct result r;
    size_t have = 0;

    for (;;) {
        ssize_t n = read(from, (char *)&r + have, sizeof r - have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
        if (have < sizeof r)
            continue;
        have = 0;
        add(&r);
        if (!r.is_violated) {
            if (o->tells_stuck && r.stats.stuck != 0)
                printf("stuck: seed=%lu %s\n", (unsigned long)r.seed, r.what);
            continue;
        }
        print_violation(&r);
        fflush(stdout);
        if (shown_n < SHOWN_MAX && (!o->stops_at_first || shown_n == 0))
            shown[shown_n++] = r.seed;
    }
    for (unsigned int i = 0; i < shown_n; i++)
        show(shown[i]);
    return totals.violations != 0 ? 1 : 0;
}

static int run_many(const struct options *o)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t ended = 0;
    int ends[2], rc, status;

    if (shared == MAP_FAILED || pipe(ends) != 0) {
        perror("sim");
        return 1;
    }
    for (unsigned int j = 0; j < o->jobs; j++) {
        pid_t pid = fork();

        if (pid < 0) {
            perror("sim: fork");
            return 1;
        }
        if (pid == 0) {
            (void)close(ends[0]); /* only the parent reads */
            work(o, shared, ends[1]);
            exit(0);
        }
    }
    (void)close(ends[1]); /* so that the end of all workers is the end of the pipe */
    rc = collect(o, ends[0]);
    while (wait(&status) > 0)
        ended += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    print_totals();
    if (ended != 0) {
        printf("sim: %lu workers crashed\n", (unsigned long)ended);
        rc = 1;
    }
    return rc;
}

/* ---- options ----------------------------------------------------------------------------------
 */

static bool take_number(const char *text, uint64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

static bool take_option(struct options *o, const char *name, const char *value, bool *ret_used)
{
    uint64_t jobs;

    *ret_used = false;
    if (strcmp(name, "--trace") == 0)
        return o->is_traced = true;
    if (strcmp(name, "--verbose") == 0)
        return o->is_traced = o->is_verbose = true;
    if (strcmp(name, "--stop-at-first") == 0)
        return o->stops_at_first = true;
    if (strcmp(name, "--stuck") == 0)
        return o->tells_stuck = true;
    if (strcmp(name, "--list") == 0)
        return o->is_list = true;
    if (strcmp(name, "--stories") == 0)
        return o->all_stories = true;
    if (value == NULL)
        return false;
    *ret_used = true;
    if (strcmp(name, "--seeds") == 0)
        return take_number(value, &o->seeds);
    if (strcmp(name, "--first") == 0)
        return take_number(value, &o->first);
    if (strcmp(name, "--seed") == 0)
        return (o->has_seed = take_number(value, &o->seed));
    if (strcmp(name, "--story") == 0) {
        o->story = value;
        return true;
    }
    if (strcmp(name, "--jobs") != 0 || !take_number(value, &jobs) || jobs < 1 || jobs > 1024)
        return false;
    o->jobs = (unsigned int)jobs;
    return true;
}

int main(int argc, char **argv)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct options o = { .seeds = 100,
                         .first = 1,
                         .jobs = processors < 1 ? 1 : (unsigned)processors };
    int rc;

    for (int i = 1; i < argc; i++) {
        bool is_used;

        if (!take_option(&o, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &is_used)) {
            fprintf(stderr, "sim: '%s' is not understood\n%s", argv[i], usage);
            return 2;
        }
        i += is_used;
    }
    world = malloc(sizeof *world);
    if (world == NULL) {
        perror("sim");
        return 1;
    }
    sim_init(world);
    (void)signal(SIGABRT, on_abort); /* a known signal: it cannot fail */
    if (o.is_list) {
        sim_story_list(stdout);
        rc = 0;
    } else if (o.all_stories) {
        rc = sim_stories(world);
    } else if (o.story != NULL) {
        rc = sim_story(world, o.story, true);
    } else if (o.has_seed) {
        rc = replay(&o);
    } else {
        rc = run_many(&o);
    }
    sim_done(world);
    free(world);
    return rc;
}
