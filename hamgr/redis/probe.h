/* probe.h - how hamgrd finds out what a copy of Redis is: one round after the other.
 *
 * A round is one INFO, on a connection that is always open, and ends in one struct copy; it waits
 * no longer than check_timeout. A question that a stopped or hanging server has not answered stays
 * there, and a later round waits for it before it asks its own: what is given up would be queued
 * anew each time. probe.c leads the rounds, probe_find.c ends them, probe_seen.c reads what the
 * server answers. Only these and redis.c include this.
 *
 * What proves that a server hangs: its main thread, which alone answers, has neither run nor waited
 * for the processor since it was asked, and does not wait for a disk. A script that runs for
 * minutes, an overloaded machine, a slow disk prove nothing. */
#ifndef HAMGR_REDIS_PROBE_H
#define HAMGR_REDIS_PROBE_H

#include "probe/stuck.h"
#include "redis/inner.h"

enum probe_phase { PROBE_IDLE, PROBE_OPENING, PROBE_ASKING };

enum { PROBE_TEXT_MAX = 16384 };

/* The connection outlives a suspension, so its own deadline is out of reach; rounds have theirs. */
#define PROBE_QUESTION_MS (24 * 3600 * 1000)

#define REDIS_DEATHS_APART_MS 60000

struct redis_probe {
    struct service *s;
    struct event *tick;     /* owned: the next round */
    struct event *patience; /* owned: of this round */
    enum probe_phase phase;
    hm_ms taken_at_ms;
    bool is_again;            /* something happened during this round */
    unsigned int tries;       /* of this round, to reach the server */
    uint64_t asked, answered; /* questions on the watch connection, ever */
    uint64_t first, last;     /* those of this round; 0: it has not asked yet */
    struct waiters waiters;   /* owned */
    size_t size;              /* of what was answered in this round */
    char text[PROBE_TEXT_MAX];

    /* The main process, while it lives: that of s->notes. */
    int pidfd;           /* owned; -1: none is known */
    struct event *death; /* owned: it has ended */
    hm_ms died_ms;       /* when the last one did; 0: none did */
    struct stuck main;
    uint64_t boot_id;

    struct copy running; /* the newest finding of a server that answered */
    char trouble[160];
    char unmatched[192];   /* of a primary: whose copy attaches from an address not its own */
    unsigned int deaths;   /* of a standby's server, each within a minute of the one before */
    bool is_resyncing;     /* it takes all data of its primary ... */
    uint64_t resynced;     /* ... and has so many bytes of them */
    unsigned int cut_off;  /* how often that ended without the link being up, in a row */
    hm_ms silent_since_ms; /* 0: it answers */
    hm_ms scan_asked_ms;   /* when the helper was asked to look */

    /* Whether a failed snapshot makes the server refuse writes, which INFO does not tell. */
    bool is_config_out;
    bool does_refuse;
    hm_ms config_ms; /* when it was asked; 0: never */
};

/* probe.c */
void redis_probe_begin(struct redis_probe *p); /* a round */
void redis_probe_look(struct redis_probe *p);  /* a round now, or after that under way */
void redis_probe_note_up(struct redis_probe *p);
void redis_probe_note_down(struct redis_probe *p, const char *why);
/* Watches that process until it ends. False: it is not there. */
bool redis_probe_adopt(struct redis_probe *p, pid_t pid);
/* The main process is known and has ended, whether it was told already or not. */
bool redis_probe_is_dead(const struct redis_probe *p);

/* probe_find.c */
void redis_probe_arm(struct event *timer, hm_ms after_ms);
void redis_probe_trouble(struct redis_probe *p, const char *format, ...) HM_PRINTF(2, 3);
void redis_probe_begin_copy(const struct redis_probe *p, struct copy *ret);
void redis_probe_finish(struct redis_probe *p, const struct copy *found);
/* It is there, and does not tell what it is, for a reason that is no stall. */
void redis_probe_finish_unknown(struct redis_probe *p);
void redis_probe_finish_silent(struct redis_probe *p, const char *why); /* it does not answer */
void redis_probe_finish_suspended(struct redis_probe *p);
void redis_probe_finish_starting(struct redis_probe *p);
void redis_probe_finish_deaf(struct redis_probe *p, const char *why); /* nobody listens */
/* As hamgr-fence reported, unless /proc shows that it goes on. */
bool redis_probe_is_suspended(const struct redis_probe *p);

/* What is wrong although the server answers; "": nothing. */
void redis_probe_tell_concern(const struct redis_probe *p, char *buffer, size_t size);

/* probe_seen.c: the finding of what was answered. HM_BAD_INPUT: *ret_why says what is missing. */
enum hm_rc redis_probe_take(struct redis_probe *p, struct copy *ret,
                            const char **ret_why) HM_MUST_CHECK;
/* A snapshot failed: ask whether writes are refused for it. */
void redis_probe_ask_config(struct redis_probe *p);

#endif
