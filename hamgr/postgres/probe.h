/* probe.h - how hamgrd finds out what its copy is: one round after the other, never two at once.
 *
 * A round ends in one struct copy. It begins with the files when no main process is known or the
 * fence holds the service, else with a question to the server; it waits no longer than
 * check_timeout. probe.c leads the rounds, probe_find.c
 * ends them, probe_files.c looks at files and processes in a worker, probe_dir.c at the directory
 * of a server that runs, probe_seen.c reads what the server answers, probe_pulse.c keeps the third
 * connection. Only these and postgres.c include this. */
#ifndef HAMGR_POSTGRES_PROBE_H
#define HAMGR_POSTGRES_PROBE_H

#include "postgres/gray.h"
#include "postgres/inner.h"
#include "postgres/streams.h"
#include "postgres/wal.h"

enum probe_phase {
    PROBE_IDLE,
    PROBE_FILES,   /* the worker looks */
    PROBE_OPENING, /* the connection */
    PROBE_ASKING,
};

/* What the worker found. */
struct files {
    bool has_data;
    bool has_control;
    bool is_control_gone; /* certainly */
    bool is_stopping;     /* the main process says so */
    struct wal_control control;
    int64_t log_changed_ns; /* of the directory of the log */
    int64_t pid_file_ns;    /* of postmaster.pid; 0: none */
    pid_t named;      /* by postmaster.pid, alive or not; 0: nobody, or a server for one user */
    pid_t postmaster; /* alive and really of this directory; else 0 */
    uint64_t started; /* its start time in clock ticks */
    int pidfd;        /* of it; -1 */
    bool is_scanned;
    size_t processes, stopped;
    bool has_notes; /* the directory is another one than before: what is noted of it */
    struct notes notes;
    char place[160];
    char why[200]; /* what could not be read; "" */
};

/* The end of the log of a copy that is down, read once for each death. */
struct log_end {
    int64_t control_ns, log_ns;
    uint64_t control_id, copy_id;
    bool is_known; /* of exactly these */
    bool is_being_read;
    struct position at;
    bool is_final;
    char why[200];
};

struct probe {
    struct service *s;
    struct event *tick;     /* owned: the next round */
    struct event *patience; /* owned: of this round */
    struct event *death;    /* owned: the main process has ended; NULL: none is known */
    int pidfd;              /* owned; -1 */
    struct worker *reader;  /* owned: for the end of the log, which may take seconds */
    enum probe_phase phase;
    hm_ms taken_at_ms;
    uint64_t round;
    uint64_t files_round;     /* in which the newest look at files was asked for */
    bool is_again;            /* something happened during this round */
    bool has_scanned;         /* in this round, while asking */
    bool was_stopped;         /* by hamgr-fence, when this round began */
    unsigned int tries;       /* of this round, to reach the server */
    uint64_t asked, answered; /* questions on the watch connection, ever */
    uint64_t question;        /* the one of this round */
    struct waiters waiters;   /* owned */

    bool is_job_out; /* of the worker */
    bool is_history_out;
    struct files_job *files_job; /* owned, all three: free when no worker runs any more */
    struct end_job *end_job;
    struct history_job *history_job;

    /* probe_dir.c */
    struct dir_job *dir_job; /* owned */
    bool is_dir_out;
    const char *missing;   /* what the server that runs cannot do without, and has not any more */
    int inotify;           /* owned; -1: none */
    struct event *changes; /* owned: in the data directory; NULL: none */

    struct files files; /* the newest */
    hm_ms scanned_ms;
    struct log_end end;
    uint64_t notes_written; /* how often: a job that began before the newest must not undo it */

    /* While this main process lives. */
    uint64_t postmaster_id; /* 0: none */
    uint64_t boot_id;
    bool was_up;

    /* While this server lives: from a start, or from its own recovery after a crash, on. */
    bool is_life_known;
    bool is_prepared; /* of the watch connection */
    uint64_t server_id;
    uint64_t system_id;
    bool is_final;        /* all log on the disk has been read */
    bool is_receiving;    /* as of the newest answer: it streams */
    uint64_t path;        /* the newest timeline that it is known to have gone to; 0: not known */
    bool is_path_certain; /* by the receiver or by the replication protocol */
    struct wal_history history; /* of `history_of`, which becomes `path` once it is read */
    uint64_t history_of;
    struct position reached; /* never less is reported */
    struct copy running;     /* the newest finding of a server that answered */

    /* The third connection: a standby's that receives nothing tells its timeline, a primary's
     * writes now and then. */
    struct conn *third; /* owned; NULL: not needed */
    bool is_third_pulse;
    bool is_pulse_out, is_identify_out;
    bool is_pulse_seen; /* the next position has it */
    hm_ms pulse_ms;     /* when it was asked last */
    uint64_t identify_server_id;
    char third_why[160]; /* why it is not up */
    uint64_t pulse_offset;
    bool has_moved; /* at the last look: others commit */

    struct gray *gray; /* owned */
    struct streams streams;
    char trouble[160];
    bool is_refused;        /* the server answers, but does not let us in: trouble says why */
    hm_ms silent_since_ms;  /* 0: it answers */
    hm_ms orphans_since_ms; /* processes are left of a server that ended; 0: none */
    hm_ms reaped_ms;        /* when the host was told last to kill what must not run */
};

/* probe.c */
enum hm_rc probe_new(struct service *s, struct probe **ret, struct hm_err *err) HM_MUST_CHECK;
void probe_free(struct probe *p);
/* To the main process that was found last, and to no other that got its number meanwhile. False:
 * errno says why; ESRCH: it has ended. */
bool probe_signal(const struct probe *p, int number);
/* Begins a round now, or another one after that under way. */
void probe_look(struct probe *p);
void probe_note_up(struct probe *p);                    /* the watch connection opened */
void probe_note_down(struct probe *p, const char *why); /* it could not be, or was lost */

/* probe_find.c: a round ends, and the finding is told. */
void probe_arm(struct event *timer, hm_ms after_ms);
void probe_trouble(struct probe *p, const char *format, ...) HM_PRINTF(2, 3);
void probe_begin_copy(const struct probe *p, struct copy *ret);
void probe_finish(struct probe *p, const struct copy *found);
void probe_finish_unknown(struct probe *p); /* it runs, and does not tell what it is */
void probe_finish_silent(struct probe *p, const char *why);
void probe_finish_refused(struct probe *p, const char *next, const char *why); /* the login */
void probe_finish_suspended(struct probe *p);
void probe_finish_starting(struct probe *p);
void probe_finish_down(struct probe *p);
void probe_finish_orphans(struct probe *p); /* the main process is gone, others are left */

/* Has the host kill what must not run, at most once a second while it is asked for again. */
void probe_reap(struct probe *p, const char *why);

/* probe_dir.c */
void probe_dir_init(struct probe *p);
void probe_dir_done(struct probe *p);
/* Once a round: is all there that the server needs, and does somebody promote it? */
void probe_dir_look(struct probe *p);

/* probe_files.c */
/* True: a job was queued, or is still out; probe_take_files() comes. */
bool probe_ask_files(struct probe *p, bool must_scan);
void probe_take_files(struct probe *p);
/* Fills in what is known of a copy that is down, and has the end of its log read. */
void probe_see_down(struct probe *p, struct copy *c);
/* Has the history of p->path read. */
void probe_ask_history(struct probe *p);

/* probe_seen.c */
extern const char *const probe_prepare_sql;
extern const char *const probe_ask_sql;
extern const char *const probe_life_sql;
bool probe_take_life(struct probe *p, const PGresult *result);
/* HM_BAD_INPUT: not the columns that were asked for. */
bool probe_take_answer(struct probe *p, const PGresult *result, struct copy *ret);
void probe_note_what_it_shows(struct probe *p, const struct copy *c);

/* probe_pulse.c */
void probe_keep_third(struct probe *p, const struct copy *c);
void probe_drop_third(struct probe *p);

/* Of the log's files, as the control file says; 0: it was not read. */
uint32_t probe_segment_bytes(const struct probe *p);

#endif
