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
#include "redis/info.h"
#include "redis/rconn.h"

/* Nobody answers there: the connection is refused at once, and nothing leaves the host. */
#define REDIS_NOBODY_HOST "127.0.0.1"
#define REDIS_NOBODY_PORT "1"

struct redis_op;    /* op.c */
struct redis_probe; /* probe.c */

struct service {
    struct service_config config;
    struct rconn *watch; /* the probe's; owned */
    struct rconn *work;  /* the operations'; owned */

    struct record record; /* the newest accepted; epoch 0: none */
    uint8_t self;         /* own slot in it, or HM_NOBODY */
    bool is_followed;

    struct copy seen;  /* the newest finding */
    struct info info;  /* ... and what it was read from; run_id "": the server did not answer */
    uint64_t renewals; /* how often this run of the server took all data anew */

    /* What SET_NAMES put in force on this run of the server; probe.c reports it and cuts off, with
     * every finding, replicas that it does not allow. */
    enum names_state names;
    struct pair pair; /* with NAMES_PAIR */
    char names_run_id[INFO_ID_SIZE];

    bool is_stop_asked; /* op.c, while it ends the server: its end is then no accident */
    bool has_fence;
    struct fence_report fence;
    struct service_facts facts;

    struct redis_op *op;       /* owned; NULL: none under way */
    struct redis_probe *probe; /* owned */
};

/* probe.c */
enum hm_rc redis_probe_new(struct service *s, struct hm_err *err) HM_MUST_CHECK; /* s->probe */
void redis_probe_free(struct service *s);
/* Probes anew, then calls `then` with the finding in s->seen (and the host's on_copy, too): what an
 * operation ends with. then may be NULL. Operations may queue several. */
void redis_look(struct service *s, void (*then)(struct service *s, void *ctx), void *ctx);
/* The fence helper reported something new. */
void redis_probe_note_fence(struct service *s);

/* op.c. Begins an operation, or does what effect.h says of one that is under way. */
void redis_carry_out(struct service *s, const struct core_effect *e);
/* Gives up whatever runs, without telling anybody: the service is closed. */
void redis_op_drop(struct service *s);
/* The server ended: operations that need it fail now. */
void redis_op_note_death(struct service *s);

/* check.c: service_type.check. Not while the service is being closed. */
void redis_check(struct service *s, service_checked *then, void *ctx);

#endif
