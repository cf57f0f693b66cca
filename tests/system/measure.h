/* measure.h - what the measuring clients of both kinds of database share: the command line, the
 * time, the log, how they wait and end, and what they report then. How a client connects, and what
 * it writes, is its own. */
#ifndef TESTS_SYSTEM_MEASURE_H
#define TESTS_SYSTEM_MEASURE_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { MEASURE_NAME_SIZE = 32 };

struct measure {
    /* As on the command line. */
    int id;
    int wait; /* for so many others; 0: for nobody */
    int64_t interval_us;
    int64_t patience_us; /* for an answer; 0: for ever */
    bool is_pinned;      /* to the only host: never asks for the role, never looks elsewhere */
    uint16_t port;
    FILE *log; /* owned */

    int64_t acks_n;
    int64_t last_ack_us;
    int64_t longest_us; /* between two acknowledgements */
    int64_t troubles_n;
};

/* Reads the options over what *m is set to; --wait is one only if `knows_wait`. Returns where in
 * argv the hosts begin, of which there is at least one, and no other beside that of a pinned
 * client; -1: it is a wrong command line, and how a right one looks was said. */
int measure_options(struct measure *m, int argc, char **argv, bool knows_wait);
/* NAME=ADDRESS; the address is borrowed from arg. False: it is not. */
bool measure_split(const char *arg, char name[MEASURE_NAME_SIZE], const char **ret_address);

/* CLOCK_MONOTONIC. */
int64_t measure_now_us(void);

/* Lines of the log, which whoever reads it sees at once: only the first line of a text. */
void measure_open(const struct measure *m, const char *host);
void measure_trouble(struct measure *m, const char *host, const char *text);
void measure_note(const struct measure *m, const char *what, const char *host, int64_t number);
/* ... and counts. */
void measure_ack(struct measure *m, const char *host, int64_t number);

/* From here on SIGTERM and SIGINT only end measure_wait(). */
void measure_catch_signals(void);
/* One of them came. */
bool measure_is_over(void);
/* Until something happens, or that moment has come, or a signal. Returns what poll() does. */
int measure_wait(struct pollfd *fds, nfds_t n, int64_t now_us, int64_t until_us);

/* One line to stdout; closes the log. */
void measure_report(struct measure *m);

#endif
