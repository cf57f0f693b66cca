/* inner.h - one copy of Redis: what the files of this folder share. Nobody else includes it.
 *
 * redis.c is the door (service_redis); probe.c finds out what the copy is and fills `seen`; op.c
 * carries out one copy operation at a time. The data lives and dies with the process: a copy is one
 * run of the server (info_copy_id()).
 *
 * hamgrd runs as another user than Redis, and sees nothing of its processes: that it is there, and
 * how many of its processes are stopped, comes from hamgr-fence (note_fence), its process id from
 * INFO, its death by a pidfd.
 *
 * A copy that follows nobody is a replica of REDIS_NOBODY: it acknowledges no write, and keeps its
 * data, its offset and its replication id. */
#ifndef HAMGR_REDIS_INNER_H
#define HAMGR_REDIS_INNER_H

#include "adapter/service.h"
#include "adapter/worker.h"
#include "probe/waiters.h"
#include "redis/hosts.h"
#include "redis/info.h"
#include "redis/rconn.h"
#include "redis/rnotes.h"

/* Nobody answers there: the connection is refused at once, and nothing leaves the host. */
#define REDIS_NOBODY_HOST "127.0.0.1"
#define REDIS_NOBODY_PORT "1"

struct note_job;    /* redis.c */
struct pass_job;    /* redis.c */
struct redis_op;    /* op.c */
struct redis_probe; /* probe.c */

struct service {
    struct service_config config;
    struct rconn *watch;   /* the probe's; owned */
    struct rconn *work;    /* the operations': the probe opens it while the server answers; owned */
    struct worker *worker; /* for the notes; owned */
    struct hosts *hosts;   /* of the members; owned */
    char *password;        /* hamgrd's own, on every member's server; owned; NULL: none */

    struct record record; /* the newest accepted; epoch 0: none */
    uint8_t self;         /* own slot in it, or HM_NOBODY */
    bool is_followed;

    struct copy seen;    /* the newest finding */
    struct info info;    /* ... and what it was read from; run_id "": the server did not answer */
    struct rnotes notes; /* as on disk, or as being written; changed only by redis_note() */

    /* What SET_NAMES put in force on this run of the server. probe.c reports it, and calls
     * redis_names_keep() with every finding. */
    enum names_state names;
    struct pair pair; /* with NAMES_PAIR */
    char names_run_id[INFO_ID_SIZE];
    bool is_need_raised; /* as many as the pair needs were attached under these names */
    /* attach.c, over `work`: who may attach is being seen to; and then once more. */
    bool is_keeping;
    bool must_keep_again;
    bool is_default_barred;          /* the default user may not replicate, because of us */
    unsigned int kept_out;           /* replicas that were attached and had to go */
    char keep_why[96];               /* why it cannot be seen to; "": it can */
    char login_run_id[INFO_ID_SIZE]; /* the run of the server that was told how to log in */

    bool are_writes_paused; /* by a stop that ended well: its server may go on nevertheless */
    bool is_stop_asked;     /* op.c, while it ends the server: its end is then no accident */
    bool has_fence;
    struct fence_report fence;
    struct service_facts facts;

    struct redis_op *op;       /* owned; NULL: none under way */
    struct redis_op *next_op;  /* owned; waits until `op` has ended */
    struct redis_op *old_ops;  /* owned; over, and something still calls them back */
    struct redis_probe *probe; /* owned */
    struct note_job *note_job; /* owned */
    struct pass_job *pass_job; /* owned */
};

/* redis.c. The server refuses the password: it may have been changed since the file was read. Reads
 * it again, and has the probe look anew if it says something else. */
void redis_read_password_again(struct service *s);

/* probe.c */
enum hm_rc redis_probe_new(struct service *s, struct hm_err *err) HM_MUST_CHECK; /* s->probe */
void redis_probe_free(struct service *s);
/* Probes anew, then calls `then` with the finding in s->seen (and the host's on_copy, too): what an
 * operation ends with. Operations may queue several. */
void redis_look(struct service *s, waiters_told *then, void *ctx);
/* The fence helper reported something new. */
void redis_probe_note_fence(struct service *s);
/* Why it does not answer, or not as it should; "": it does. Borrowed. */
const char *redis_trouble(const struct service *s);
/* Changes the notes, durably after a while. */
void redis_note(struct service *s, const struct rnotes *changed);

/* op.c. Begins an operation, or does what effect.h says of one that is under way. */
void redis_carry_out(struct service *s, const struct core_effect *e);
/* Gives up whatever runs, without telling anybody: the service is closed. */
void redis_op_drop(struct service *s);
/* A primary answers: after a stop nobody took over, and it was let go on. */
void redis_op_note_primary(struct service *s);
/* The server ended: operations that need it fail now. */
void redis_op_note_death(struct service *s);

/* attach.c. Sees to it that only those copies can attach to a primary that the names in force
 * allow: with the names that SET_NAMES put in force on this run of the server, and the record as it
 * is now; and that, in the modes with pairs, a standby that follows the primary logs in as it must.
 * Asks and goes on by itself, over `work`; does nothing when that is closed, or the names are not
 * known.
 *
 * A replica whose connection is killed is back within a millisecond, so it has to be refused: each
 * member's copy logs in as an ACL user of its own, with a password that is derived from the
 * cluster's key, and the primary has the users of those copies only that may attach. In the modes
 * with pairs the default user may not replicate at all. */
void redis_names_keep(struct service *s);

/* check.c: service_type.check. Not while the service is being closed. */
void redis_check(struct service *s, service_checked *then, void *ctx);

#endif
