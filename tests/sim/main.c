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
    "usage: sim [--seeds N] [--first S] [--jobs J] [--stop-at-first] [--stuck]\n"
    "           draws N stories (100), from seed S (1) on, in J processes; --stuck names the\n"
    "           seeds that ended without a copy that may take over\n"
    "       sim --seed N [--trace] [--verbose]\n"
    "           one of them again; --trace tells it, --verbose with every heartbeat\n"
    "       sim --story NAME | --stories | --list\n"
    "           a told story with its trace, all of them, what they tell\n"
    "Ends with 0 when no promise was broken, 1 when one was, 2 when it was called wrongly.\n";

/* One run of the program does one of these. */
enum mode { MODE_MANY, MODE_ONE, MODE_STORY, MODE_STORIES, MODE_LIST, MODE_HELP };

struct options {
    enum mode mode;
    uint64_t seeds, first, seed, jobs;
    bool tells_stuck, has_seed, is_traced, is_verbose, stops_at_first;
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
    for (uint64_t j = 0; j < o->jobs; j++) {
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

/* Digits only: strtoull would take a sign, and make -1 a very large number. */
static bool take_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' && *ret >= least &&
           *ret <= most;
}

struct option {
    const char *name;
    enum mode mode;
    const char *wants; /* NULL: no value */
};

static const struct option known[] = {
    { "--seeds", MODE_MANY, "a number from 1 on" },
    { "--first", MODE_MANY, "a number" },
    { "--jobs", MODE_MANY, "a number from 1 to 1024" },
    { "--stop-at-first", MODE_MANY, NULL },
    { "--stuck", MODE_MANY, NULL },
    { "--seed", MODE_ONE, "a number" },
    { "--trace", MODE_ONE, NULL },
    { "--verbose", MODE_ONE, NULL },
    { "--story", MODE_STORY, "a name; --list shows all" },
    { "--stories", MODE_STORIES, NULL },
    { "--list", MODE_LIST, NULL },
    { "--help", MODE_HELP, NULL },
};

static const struct option *find_option(const char *name)
{
    for (size_t i = 0; i < HM_ARRAY_LEN(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return &known[i];
    return NULL;
}

static bool take_value(struct options *o, const char *name, const char *value)
{
    if (strcmp(name, "--seeds") == 0)
        return take_number(value, 1, UINT64_MAX, &o->seeds);
    if (strcmp(name, "--first") == 0)
        return take_number(value, 0, UINT64_MAX, &o->first);
    if (strcmp(name, "--jobs") == 0)
        return take_number(value, 1, 1024, &o->jobs);
    if (strcmp(name, "--seed") == 0)
        return o->has_seed = take_number(value, 0, UINT64_MAX, &o->seed);
    o->story = value;
    return true;
}

static void take_flag(struct options *o, const char *name)
{
    o->stops_at_first |= strcmp(name, "--stop-at-first") == 0;
    o->tells_stuck |= strcmp(name, "--stuck") == 0;
    o->is_verbose |= strcmp(name, "--verbose") == 0;
    o->is_traced |= o->is_verbose || strcmp(name, "--trace") == 0;
}

/* False, and it has said why, when the arguments make no sense. */
static bool take_arguments(struct options *o, char **argv)
{
    const char *first = NULL; /* the option that chose the mode */

    for (argv++; *argv != NULL; argv++) {
        const struct option *k = find_option(*argv);

        if (k == NULL) {
            fprintf(stderr, "sim: there is no option '%s'\n", *argv);
            return false;
        }
        if (first != NULL && k->mode != o->mode) {
            fprintf(stderr, "sim: %s does not go with %s\n", k->name, first);
            return false;
        }
        first = first == NULL ? k->name : first;
        o->mode = k->mode;
        if (k->wants == NULL) {
            take_flag(o, k->name);
        } else if (argv[1] == NULL || !take_value(o, k->name, *++argv)) {
            fprintf(stderr, "sim: %s needs %s\n", k->name, k->wants);
            return false;
        }
    }
    if (o->mode == MODE_ONE && !o->has_seed) {
        fprintf(stderr, "sim: %s needs --seed\n", first);
        return false;
    }
    return true;
}

static int carry_out(const struct options *o)
{
    switch (o->mode) {
    case MODE_MANY:
        return run_many(o);
    case MODE_ONE:
        return replay(o);
    case MODE_STORY:
        return sim_story(world, o->story, true);
    case MODE_STORIES:
        return sim_stories(world);
    case MODE_LIST:
        sim_story_list(stdout);
        return 0;
    case MODE_HELP:
        break;
    }
    printf("%s", usage);
    return 0;
}

int main(int argc, char **argv)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct options o = { .mode = MODE_MANY,
                         .seeds = 100,
                         .first = 1,
                         .jobs = processors < 1 ? 1 : (uint64_t)processors };
    int rc;

    (void)argc; /* argv ends with NULL */
    if (!take_arguments(&o, argv)) {
        fprintf(stderr, "%s", usage);
        return 2;
    }
    world = malloc(sizeof *world);
    if (world == NULL) {
        perror("sim");
        return 1;
    }
    sim_init(world);
    if (o.mode == MODE_MANY || o.mode == MODE_ONE) /* a story has nowhere to go on from */
        (void)signal(SIGABRT, on_abort);           /* a known signal: it cannot fail */
    rc = carry_out(&o);
    sim_done(world);
    free(world);
    return rc;
}
