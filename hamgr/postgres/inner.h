/* inner.h - one copy of PostgreSQL: what the files of this folder share. Nobody else includes it.
 *
 * postgres.c is the door (service_postgres); probe.c finds out what the copy is and fills `seen`;
 * op.c carries out one copy operation at a time; its steps are in the file that has its struct
 * op_kind. */
#ifndef HAMGR_POSTGRES_INNER_H
#define HAMGR_POSTGRES_INNER_H

#include "adapter/service.h"
#include "adapter/worker.h"
#include "postgres/conn.h"
#include "postgres/notes.h"
#include "postgres/room.h"
#include "probe/waiters.h"

struct op;       /* op.c: an operation on the copy */
struct probe;    /* probe.c */
struct note_job; /* postgres.c */

struct service {
    struct service_config config;
    struct worker *worker; /* for files of the data directory and the notes; owned */
    struct conn *watch;    /* the probe's connection, always open; owned */
    struct conn *work;     /* the operations' connection, always open; owned */
    char conninfo[640];    /* of both: the unix socket, hamgrd's user, application_name=hamgr */

    struct record record; /* the newest accepted; epoch 0: none */
    uint8_t self;         /* own slot in it, or HM_NOBODY */
    bool is_followed;

    struct notes notes; /* as on disk, or as being written; changed only by postgres_note() */
    struct copy seen;   /* the newest probe */
    pid_t postmaster;   /* 0: none */
    /* The server (its server_id) of which is certain that its backends wait under names that are
     * not empty. probe.c notes one that started so, op.c one that made a checkpoint after names
     * were set; 0, and again when the names are seen empty: not known. */
    uint64_t flag_server_id;
    bool is_stop_asked; /* op.c, while it stops the server: its end is then no accident */
    bool has_fence;
    struct fence_report fence;
    struct service_facts facts;

    struct op *op;           /* owned; NULL: none under way */
    struct op *next_op;      /* owned; waits until `op` has ended */
    struct op_call *calls;   /* owned; what will still call an operation back */
    struct worker *resolver; /* owned; names of hosts, made when the first is asked for */
    int only_work; /* the server process of `work` once all others that could change settings are
                      gone; 0: not known */
    struct probe *probe;           /* owned */
    struct signal_job *signal_job; /* owned: standby.signal is being written */
    uint64_t signal_server_id;     /* the primary for which that was done; 0: none */
    struct note_job *note_jobs;    /* owned: being written, or waiting for it */
    struct slots *slots;           /* owned */
    uint64_t lacks_log_of;         /* the copy that cannot go on from what it has; 0: none */
    struct room *room;             /* owned */
    bool may_have_old;             /* an older copy may lie beside this one */
    struct lost *lost;             /* owned: what a rebuild is about to overwrite */
    struct give_job *give_jobs;    /* owned: pieces of the log that are being read for another */
    unsigned int give_jobs_n;
};

/* Probes anew, then calls `then` with the finding in s->seen (and the host's on_copy, too): what an
 * operation ends with. Operations may queue several. */
void postgres_look(struct service *s, waiters_told *then, void *ctx);

/* Changes the notes durably in the worker, then calls `then` on the loop. */
void postgres_note(struct service *s, const struct notes *changed,
                   void (*then)(struct service *s, bool is_ok, void *ctx), void *ctx);

/* Tells the host a fact for the history. */
void postgres_tell_history(const struct service_config *config, const char *format, ...)
    HM_PRINTF(2, 3);

/* check.c: service_type.check. Not while the service is being closed. */
void postgres_check(struct service *s, service_checked *then, void *ctx);

/* Sees to it that a rightful primary has standby.signal in its directory; once for each start. */
void postgres_keep_signal(struct service *s);

/* op.c. Begins an operation, or does what effect.h says of one that is under way. */
void postgres_carry_out(struct service *s, const struct core_effect *e);
/* Gives up whatever runs, without telling anybody: the service is closed. */
void postgres_op_drop(struct service *s);
/* The server's main process ended, by itself or not: operations that need it fail now. */
void postgres_op_note_death(struct service *s);

/* rescue.c: service_type.give_log and .take_log. */
bool postgres_give_log(struct service *s, const struct service_log_ask *ask,
                       service_log_given *then, void *ctx);
void postgres_take_log(struct service *s, uint64_t id, uint64_t at, const uint8_t *bytes,
                       size_t size);
/* Forgets what is being read; the worker is gone. */
void postgres_drop_gives(struct service *s);

/* names.c. The replication slot of a copy: hamgr_MEMBER_COPYID in the letters that slots allow. */
void postgres_slot_name(char *buffer, size_t size, const char *member, uint64_t copy_id);
/* The member and copy id that a slot's name stands for; false: not one of ours. */
bool postgres_slot_parse(const struct record *r, const char *slot_name, uint8_t *ret_slot,
                         uint64_t *ret_copy_id);
/* slots.c: keeps a slot for every other copy. */
struct slots;
enum hm_rc slots_new(struct service *s, struct slots **ret, struct hm_err *err) HM_MUST_CHECK;
void slots_free(struct slots *l);
/* Members changed: look soon. */
void slots_hasten(struct slots *l);
/* Fills in what the slots hold back, and which were dropped. */
void slots_describe(const struct slots *l, struct service_facts *ret);
/* Writes the value of synchronous_standby_names: (empty, 0) is the empty one. False: it does not
 * fit, or the record does not know a member of the pair. */
bool postgres_names_value(const struct record *r, enum names_state names, const struct pair *pair,
                          char *buffer, size_t size);
/* What a value says: NAMES_EMPTY, NAMES_NOBODY, or NAMES_PAIR for any other. */
enum names_state postgres_names_state(const char *value);

#endif
