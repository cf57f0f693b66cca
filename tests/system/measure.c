#include "tests/system/measure.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile sig_atomic_t is_over;
static sigset_t during_wait;

/* --- the command line ------------------------------------------------------------------------ */

static bool read_option(struct measure *m, int option, bool knows_wait)
{
    switch (option) {
    case 'l':
        m->log = fopen(optarg, "we");
        return m->log != NULL;
    case 'i':
        m->id = atoi(optarg);
        return true;
    case 'n':
        m->interval_us = atoi(optarg) * (int64_t)1000;
        return true;
    case 'p':
        m->port = (uint16_t)atoi(optarg);
        return true;
    case 'w':
        m->patience_us = atoi(optarg) * (int64_t)1000;
        return true;
    case 'k':
        m->wait = atoi(optarg);
        return knows_wait;
    case 'o':
        m->is_pinned = true;
        return true;
    default:
        return false;
    }
}

int measure_options(struct measure *m, int argc, char **argv, bool knows_wait)
{
    static const struct option known[] = {
        { "log", required_argument, NULL, 'l' },
        { "id", required_argument, NULL, 'i' },
        { "interval-ms", required_argument, NULL, 'n' },
        { "port", required_argument, NULL, 'p' },
        { "patience-ms", required_argument, NULL, 'w' },
        { "wait", required_argument, NULL, 'k' },
        { "only", no_argument, NULL, 'o' },
        { NULL, 0, NULL, 0 },
    };
    bool is_good = true;
    int hosts_n, o;

    while (is_good && (o = getopt_long(argc, argv, "", known, NULL)) != -1)
        is_good = read_option(m, o, knows_wait);
    hosts_n = argc - optind;
    if (is_good && m->log != NULL && (m->is_pinned ? hosts_n == 1 : hosts_n > 0))
        return optind;
    fprintf(stderr,
            "usage: %s --log FILE --id N [--interval-ms N] [--patience-ms N] [--only]%s "
            "[--port N] NAME=ADDRESS...\n",
            argv[0], knows_wait ? " [--wait K]" : "");
    return -1;
}

bool measure_split(const char *arg, char name[MEASURE_NAME_SIZE], const char **ret_address)
{
    const char *equals = strchr(arg, '=');
    size_t n = equals != NULL ? (size_t)(equals - arg) : 0;

    if (equals == NULL || n >= MEASURE_NAME_SIZE)
        return false;
    memcpy(name, arg, n);
    name[n] = '\0';
    *ret_address = equals + 1;
    return true;
}

/* --- time and log ---------------------------------------------------------------------------- */

int64_t measure_now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void measure_open(const struct measure *m, const char *host)
{
    fprintf(m->log, "open %" PRId64 " %s\n", measure_now_us(), host);
    (void)fflush(m->log); /* whoever reads the log sees what is missing */
}

void measure_trouble(struct measure *m, const char *host, const char *text)
{
    m->troubles_n++;
    fprintf(m->log, "trouble %" PRId64 " %s %.*s\n", measure_now_us(), host,
            (int)strcspn(text, "\r\n"), text);
    (void)fflush(m->log); /* as above */
}

static void note_at(const struct measure *m, const char *what, const char *host, int64_t number,
                    int64_t at_us)
{
    fprintf(m->log, "%s %" PRId64 " %s %" PRId64 "\n", what, at_us, host, number);
    (void)fflush(m->log); /* as above */
}

void measure_note(const struct measure *m, const char *what, const char *host, int64_t number)
{
    note_at(m, what, host, number, measure_now_us());
}

void measure_ack(struct measure *m, const char *host, int64_t number)
{
    int64_t now = measure_now_us();

    note_at(m, "ack", host, number, now);
    if (m->acks_n++ > 0 && now - m->last_ack_us > m->longest_us)
        m->longest_us = now - m->last_ack_us;
    m->last_ack_us = now;
}

/* --- waiting and ending ---------------------------------------------------------------------- */

static void on_signal(int signo)
{
    (void)signo;
    is_over = 1;
}

/* The signals come only while ppoll() waits, so that none is missed between test and wait. */
void measure_catch_signals(void)
{
    const struct sigaction stop = { .sa_handler = on_signal };
    sigset_t blocked;

    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGTERM);
    (void)sigaddset(&blocked, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &blocked, &during_wait); /* cannot fail with these arguments */
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

bool measure_is_over(void)
{
    return is_over != 0;
}

int measure_wait(struct pollfd *fds, nfds_t n, int64_t now_us, int64_t until_us)
{
    struct timespec wait = { 0, 0 };

    if (until_us > now_us)
        wait = (struct timespec){ (until_us - now_us) / 1000000,
                                  (until_us - now_us) % 1000000 * 1000 };
    return ppoll(fds, n, &wait, &during_wait);
}

void measure_report(struct measure *m)
{
    printf("acknowledged=%" PRId64 " longest_gap_ms=%.1f troubles=%" PRId64 "\n", m->acks_n,
           (double)m->longest_us / 1000.0, m->troubles_n);
    (void)fclose(m->log); /* every line was flushed */
    m->log = NULL;
}
