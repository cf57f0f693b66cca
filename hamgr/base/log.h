/* log.h - one line per fact on stderr: "level event key=value ...".
 *
 * When stderr is the journal (JOURNAL_STREAM names it) each line begins with the priority, "<6>",
 * else with "PROGRAM: LEVEL ". A line is one write(); control characters become blanks, and what is
 * too long is cut and ends in "...". errno stays as it is. Values are quoted where needed. A
 * failure that repeats is told when it starts, at most once a minute, and when it ends: log_repeat.
 * Never a key, a password or a connection string. */
#ifndef HAMGR_BASE_LOG_H
#define HAMGR_BASE_LOG_H

#include "base/base.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* Sets what is left out and the name in front when stderr is no journal, and looks whether it is.
 * Before: INFO, "hamgr", no journal. Not while other threads log. */
void log_init(const char *program, enum log_level most_detailed);

void log_error(const char *format, ...) HM_PRINTF(1, 2);
void log_warn(const char *format, ...) HM_PRINTF(1, 2);
void log_notice(const char *format, ...) HM_PRINTF(1, 2);
void log_info(const char *format, ...) HM_PRINTF(1, 2);
void log_debug(const char *format, ...) HM_PRINTF(1, 2);

/* A failure that may repeat. Zero-initialised storage of the caller. */
struct log_repeat {
    hm_ms last_ms;   /* when it was told last; 0: it does not last */
    uint64_t hidden; /* since then */
};
/* True when the failure at now_ms is to be told now; *ret_hidden says how many were not. */
bool log_repeat_starts(struct log_repeat *r, hm_ms now_ms, uint64_t *ret_hidden);
/* It ended: true when that is to be told (it had been told before). */
bool log_repeat_ends(struct log_repeat *r);

enum { LOG_BURST_LINES = 16, LOG_BURST_TIMES = 3 };

/* Steps that are taken again and again while something does not work: the same few lines in turns.
 * Zero-initialised storage of the caller. */
struct log_burst {
    struct {
        uint64_t digest; /* of the line; 0: free */
        hm_ms since_ms;  /* its minute began */
        uint64_t told;   /* in that minute, hidden ones too */
    } line[LOG_BURST_LINES];
};
/* True when this line is to be told at now_ms: the first few times in a minute. *ret_hidden says
 * how many were not since it was told last; a line that was not seen for long is forgotten. */
bool log_burst_may(struct log_burst *b, const char *line, hm_ms now_ms, uint64_t *ret_hidden);

#endif
