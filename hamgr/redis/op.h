/* op.h - a copy operation on Redis under way: what its steps may ask for, and how it ends.
 *
 * A step asks for one thing and names the step that comes next; nothing waits. What still comes in
 * for an operation that is over is dropped. Only op.c, the operations themselves (effects.c,
 * stop.c, names.c) and attach.c include this. */
#ifndef HAMGR_REDIS_OP_H
#define HAMGR_REDIS_OP_H

#include "adapter/child.h"
#include "redis/inner.h"

enum { ROP_WHY_MAX = 240, ROP_ASK_MS = 5000 };

struct redis_op;
typedef void rop_step(struct redis_op *op);
typedef void rop_answered(struct redis_op *op, enum rconn_outcome outcome, const redisReply *reply,
                          const char *why);

struct rop_kind {
    enum core_effect_type type;
    rop_step *begin;
    rop_step *on_death; /* the server ended; NULL: that is a failure */
    hm_ms limit_ms;     /* 0: it may take for ever */
};

struct redis_op {
    struct service *s;
    struct core_effect e; /* as asked for; e.op is the newest id */
    const struct rop_kind *kind;
    struct redis_op *next_old; /* in s->old_ops */
    hm_ms begun_ms;

    struct event *timer; /* owned */
    struct event *limit; /* owned */
    rop_step *on_timer;
    rop_step *on_look;
    rop_step *on_work;
    rop_answered *on_answer;
    hm_ms work_since_ms;
    unsigned int calls; /* that will still come back: rop_is_called_back() */

    bool is_over;   /* nothing that comes back counts any more */
    bool has_ended; /* how is known; the last probe is under way */
    bool is_ok;
    char why[ROP_WHY_MAX];

    /* What the steps keep for each other. */
    struct child *child; /* owned: a server that was started */
    struct rconn *peer;  /* owned: to the server of another member */
    hm_ms since_ms;      /* of the present part */
    hm_ms asked_ms;
    uint64_t offset;
    unsigned int count;
    bool flag;
    enum names_state names; /* being put in force */
    struct pair pair;
    rop_step *after_names;
    rop_step *after_first_names;
    bool is_paused; /* writes are held up: they go on when the operation does not end well */
    char text[ROP_WHY_MAX];
};

extern const struct rop_kind rop_start, rop_stop, rop_promote, rop_follow, rop_freeze, rop_fetch,
    rop_rescue, rop_rewind, rop_clone, rop_init, rop_checkpoint, rop_set_names, rop_prove,
    rop_marker;

/* --- how it ends: the last thing that a step does --- */
void rop_succeed(struct redis_op *op);
void rop_fail(struct redis_op *op, const char *format, ...) HM_PRINTF(2, 3);

/* --- what a step may ask for; one of a kind at a time --- */
void rop_after(struct redis_op *op, hm_ms after_ms, rop_step *then);
void rop_look(struct redis_op *op, rop_step *then); /* the finding is in op->s->seen */
/* The connection s->work is up, after a while; else the operation fails. */
void rop_need_work(struct redis_op *op, rop_step *then);
/* Asks on s->work. RCONN_LOST also when it is not up. */
void rop_ask_words(struct redis_op *op, rop_answered *then, hm_ms timeout_ms, size_t n,
                   const char *const *words);
#define ROP_ASK(op, then, ...)                                                                     \
    rop_ask_words(op, then, ROP_ASK_MS,                                                            \
                  sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *),             \
                  (const char *const[]){ __VA_ARGS__ })
/* Something that was counted in op->calls came back. False: nobody wants to know any more, and the
 * operation may be freed. */
bool rop_is_called_back(struct redis_op *op);
void rop_doing(struct redis_op *op, const char *format, ...) HM_PRINTF(2, 3);

/* --- what several operations share --- */
/* How far a server is, by its answer to ROLE, as a primary or as a replica; 0: not known. */
uint64_t rop_role_offset(const redisReply *reply);
/* names.c: what min-replicas-to-write and min-replicas-max-lag have to be with these names. */
void rop_needed(const struct service *s, enum names_state names, const struct pair *pair,
                char need[16], char lag[16]);
/* names.c: as many as the names need are attached by now, and were not before. */
bool rop_note_enough(struct service *s);
/* names.c: which names the server gets before it becomes writable: nobody, or in async nothing. */
void rop_set_first_names(struct redis_op *op, rop_step *then);
/* attach.c: whether s->names are of this very run of the server, and there is a record. */
bool rop_are_names_known(const struct service *s);
/* attach.c: sees to it who may attach, also on a server that is no primary yet; once more when that
 * is under way. Then rop_kept(), with s->keep_why and s->kept_out. */
void rop_keep(struct service *s);
void rop_kept(struct service *s);
/* attach.c: tells this copy as whom to attach. */
void rop_log_in(struct redis_op *op, rop_step *then);

#endif
