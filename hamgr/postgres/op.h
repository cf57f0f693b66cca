/* op.h - a copy operation under way: what its steps may ask for, and how it ends.
 *
 * A step asks for one thing and names the step that comes next; nothing waits. Whatever still comes
 * in for an operation that is over is dropped. Only op.c and files with steps of operations include
 * this. */
#ifndef HAMGR_POSTGRES_OP_H
#define HAMGR_POSTGRES_OP_H

#include "adapter/child.h"
#include "postgres/autoconf.h"
#include "postgres/inner.h"
#include "postgres/place.h"

enum {
    OP_WHY_MAX = 240,
    OP_REASON_MAX = 128,
    OP_PATH_MAX = SETTINGS_PATH_MAX + 64,
    OP_CONNINFO_MAX = 1024
};

struct op;
typedef void op_step(struct op *op);
typedef void op_answered(struct op *op, enum conn_outcome outcome, const PGresult *result,
                         const char *why);

/* A setting to be changed in the running server; value NULL: reset to the administrator's. */
struct op_setting {
    const char *name;
    char value[OP_CONNINFO_MAX];
    bool is_reset;
};

/* What a job in the worker gets, and what it leaves. */
struct op_job {
    struct worker_job base;
    struct op_call *call;
    op_step *then;
    enum hm_rc (*run)(struct op_job *job, struct hm_err *err);
    char data_dir[SETTINGS_PATH_MAX];
    char path[3][OP_PATH_MAX];  /* as the job needs them */
    char text[OP_CONNINFO_MAX]; /* copied to op->text at the end, like number to op->number */
    char conninfo[OP_CONNINFO_MAX];
    uint64_t number;
    struct layout layout; /* copied to op->layout at the end, like number */
    uint64_t room[2];     /* the same */
    bool is_restored;     /* by the administrator's command */
    enum hm_rc rc;
    struct hm_err err;
};

struct op {
    struct service *s;
    struct core_effect e; /* as asked for; e.op is the newest id */
    const struct op_kind *kind;
    hm_ms begun_ms;
    hm_ms until_ms; /* fails then */

    struct event *timer; /* owned */
    op_step *on_timer;
    struct event *limit;  /* owned */
    struct conn *fresh;   /* owned: a connection of its own */
    op_step *on_fresh;    /* it is up */
    op_step *on_no_fresh; /* it is not, or was lost: why says what was told; NULL: fail */
    struct child *child;  /* owned */
    void (*on_child)(struct op *op, const struct child_end *end);
    op_step *on_progress; /* the child told how far it is; NULL: nobody wants to know */
    op_step *on_look;

    bool has_ended; /* how is known; the last probe is under way */
    bool is_ok;
    char why[OP_WHY_MAX];

    /* What the steps keep for each other. */
    struct op_setting set[4];
    unsigned int set_n;
    unsigned int set_at;
    op_step *after_change;
    op_step *after_work;
    op_step *after_only;
    op_step *after_silence;
    op_step *after_salvage;
    char hostaddr[HM_ADDRESS_MAX];
    char text[OP_CONNINFO_MAX];   /* of the newest job */
    char reason[OP_WHY_MAX - 64]; /* of a failure that is told later */
    uint64_t number;
    uint64_t position;
    uint64_t source_timeline;
    hm_ms since_ms; /* of the present part */
    unsigned int count;
    bool is_touched; /* data were changed: the copy is half-made */
    bool flag;
    int version; /* major, of the data directory */
    char bin_dir[SETTINGS_PATH_MAX];
    char paths[3][OP_PATH_MAX];
    struct layout layout; /* where a new copy is made */
    uint64_t room[2];     /* bytes that are free there, and those of the old copy */
    bool is_measured;     /* room was looked at */
    bool is_removed;      /* the old copy was removed to make room */
    void *own;            /* owned: what only this kind of operation keeps */
};

struct op_kind {
    enum core_effect_type type;
    op_step *begin;
    op_step
        *on_death; /* the server ended; NULL: that is a failure; op_nothing: it does not matter */
    hm_ms limit_ms;
};

extern const struct op_kind op_start, op_stop, op_promote, op_follow, op_freeze, op_fetch,
    op_rescue, op_rewind, op_clone, op_init, op_checkpoint, op_set_names, op_prove, op_marker;

/* --- how it ends: the last thing that a step does --- */
void op_succeed(struct op *op);
void op_fail(struct op *op, const char *format, ...) HM_PRINTF(2, 3);
void op_nothing(struct op *op);

/* --- what op.c asks of op_ask.c --- */
/* Nothing that was asked for comes back to it any more. */
void op_forget_calls(struct op *op);
/* The same for all operations there were, of a service that is closed. */
void op_drop_calls(struct service *s);

/* --- what a step may ask for --- */
void op_after(struct op *op, hm_ms after_ms, op_step *then);
void op_look(struct op *op, op_step *then); /* the finding is in op->s->seen */
void op_note(struct op *op, const struct notes *changed, op_step *then); /* fails the operation */
/* A job with data_dir filled in; op_run_job() queues it, then `then`, or the operation fails.
 * size: of a struct that begins with the job, for what belongs to it behind it. */
struct op_job *op_new_job_of(struct op *op, size_t size,
                             enum hm_rc (*run)(struct op_job *, struct hm_err *));
static inline struct op_job *op_new_job(struct op *op,
                                        enum hm_rc (*run)(struct op_job *, struct hm_err *))
{
    return op_new_job_of(op, sizeof(struct op_job), run);
}
void op_run_job(struct op *op, struct op_job *job, op_step *then);
void op_run_job_in(struct op *op, struct worker *worker, struct op_job *job, op_step *then);
/* Jobs: text to the file path[0], durably, and back ("": there is none). */
enum hm_rc op_save_text(struct op_job *job, struct hm_err *err) HM_MUST_CHECK;
enum hm_rc op_load_text(struct op_job *job, struct hm_err *err) HM_MUST_CHECK;
/* The connection s->work is up, after a while; else the operation fails. */
void op_need_work(struct op *op, op_step *then);
/* On the connection s->work, or on op->fresh. CONN_LOST also when it is not up. */
void op_ask_work(struct op *op, const char *sql, hm_ms timeout_ms, op_answered *then);
void op_ask_fresh(struct op *op, const char *sql, hm_ms timeout_ms, op_answered *then);
/* Opens op->fresh anew; `more` is added to the service's conninfo, which NULL leaves out. */
void op_connect(struct op *op, const char *conninfo, const char *more, op_step *then,
                op_step *or_else);
/* The same to the member that the operation names, once its address is resolved; fails without. */
void op_connect_source(struct op *op, const char *more, op_step *then, op_step *or_else);
void op_close_fresh(struct op *op);
/* Runs a program as a child; env: NAME=VALUE beside what PostgreSQL's programs get, or NULL.
 * silence_ms: how long it may say nothing; 0: for ever. */
void op_run(struct op *op, const char *const *argv, const char *const *env, hm_ms silence_ms,
            void (*then)(struct op *op, const struct child_end *end));
/* Kills that child; `then` does not come. */
void op_end_child(struct op *op);
/* Sets op->hostaddr to the address of the member asked for. */
void op_resolve(struct op *op, op_step *then);
void op_doing(struct op *op, const char *format, ...) HM_PRINTF(2, 3);

/* --- steps and jobs that several operations share --- */
/* Ends readers that hold up replay. */
extern const char *const op_unblock_sql;
/* Job: data_dir is a standby that follows nobody, with names text if that is not empty; number
 * becomes the version. */
enum hm_rc op_make_standby(struct op_job *job, struct hm_err *err) HM_MUST_CHECK;
/* The same with another directory, in a job that has one. */
enum hm_rc op_make_standby_in(const char *data_dir, struct op_job *job,
                              struct hm_err *err) HM_MUST_CHECK;
/* The names that a server starts with; "": those that it has. */
void op_first_names(const struct op *op, char *buffer, size_t size);
void op_poll_fetch(struct op *op);

/* --- rejoin.c: what rewind, clone and init share --- */
/* Places in op->paths. */
enum {
    PATH_NEW,  /* where a new copy is made */
    PATH_KEEP, /* what is kept of the old one's configuration */
};
enum {
    REJOIN_SILENCE_MS = 600000, /* of a program: the source's checkpoint, or a large file */
    REJOIN_MARK_MAX = SETTINGS_PATH_MAX + 24
};
/* What every program has in its environment that works on the files of this copy: should it outlive
 * hamgrd, it is ended before a clone begins. Into REJOIN_MARK_MAX bytes, which it returns. */
const char *rejoin_print_mark(const struct op *op, char *buffer);
void rejoin_set_paths(struct op *op);
/* As child_describe(); but programs tidy up behind an error, and the reason is the line before. */
void rejoin_describe(const struct child_end *end, char *buffer, size_t size);
/* Of the server: then its files must be left alone. */
bool rejoin_has_processes(const struct op *op);
/* From here on the copy never starts and has no position, until rejoin_note_made(). */
void rejoin_note_rebuilding(struct op *op, op_step *then);
/* It is another copy from now on, whose log ends on op->source_timeline; the mark is dropped, and
 * the operation succeeds. */
void rejoin_note_made(struct op *op);
/* Removes what earlier attempts left of new copies and old ones, as op->layout tells. */
void rejoin_remove(struct op *op, op_step *then);
/* The copy runs: has what may be left of the one before removed, beside everything else. */
void rejoin_forget_old(struct op *op, op_step *then);

/* --- change.c: settings of the running server --- */
/* Adds a setting to op->set; value NULL: reset. */
void op_add_setting(struct op *op, const char *name, const char *value);
/* ALTER SYSTEM of op->set[], a reload, and until a new connection shows them; op->fresh is that one
 * then, and the set is empty. */
void op_change(struct op *op, op_step *then);
/* A connection that may change settings, and the only one that does. */
void op_need_only_work(struct op *op, op_step *then);
/* Adds what keeps a standby from receiving anything, restore_command too if it is set. */
void op_add_silence(struct op *op, op_step *then);
/* Adds what gives restore_command back to the administrator, if we took it. */
void op_add_restore_command(struct op *op, op_step *then);
/* From a reload that took primary_conninfo away: until nobody receives, then `then`. */
void op_end_receiver(struct op *op, op_step *then);

/* --- texts --- */
const char *op_member_name(const struct op *op, uint8_t slot);
void sql_quote(char *buffer, size_t size, const char *value);
/* KEY='value', behind a blank. */
void conninfo_add(char *buffer, size_t size, const char *key, const char *value);
/* How this node reaches the member asked for, as replication_user; hostaddr only if it is known. */
bool op_conninfo(const struct op *op, bool has_hostaddr, char *buffer, size_t size);
/* Where PostgreSQL's programs are; "" in bin_dir and a failure when not found. */
bool op_find_programs(struct op *op, int version);
/* lack.c. A standby does not stream: the operation fails when what it needs next is gone from the
 * member that it names, which is remembered; else `then`, also when that could not be found out. */
void op_look_for_log(struct op *op, op_step *then);
/* source.c. Looks whether the member that the operation names can be copied from; its timeline is
 * op->source_timeline then. Fails the operation otherwise. */
void op_need_source(struct op *op, op_step *then);
/* Where a server writes that hamgrd itself starts: beside the data directory, because it may be
 * much, and must not fill the disk of the votes. One that has become long is put aside first.
 * Returns how long it is now. */
uint64_t op_server_log(const struct op *op, char path[OP_PATH_MAX]);
/* Job: the last line with FATAL or PANIC in the log path[0], from byte `number` on; text "": there
 * is none. Never fails. */
enum hm_rc op_read_reason(struct op_job *job, struct hm_err *err);
bool read_lsn(const char *text, uint64_t *ret);
void print_lsn(char *buffer, size_t size, uint64_t lsn);

#endif
