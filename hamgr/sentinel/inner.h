/* inner.h - what the files of commands share. Nobody outside this folder includes it. */
#ifndef HAMGR_SENTINEL_INNER_H
#define HAMGR_SENTINEL_INNER_H

#include "sentinel/session.h"

/* One request on its way through the tables. */
struct call {
    struct session *s;
    struct session_host *host;
    const struct resp_command *c;
    struct resp_out *o;
};

typedef void call_take(const struct call *call);

enum call_flags {
    CALL_UNKNOWN_MAY = 1,    /* who has not said the password may use it */
    CALL_SUBSCRIBER_MAY = 2, /* also a subscriber who speaks RESP2 */
};

/* A row of a table: a command, or a subcommand of one. */
struct call_row {
    const char *name; /* in small letters */
    size_t words_min; /* with the command's own name, and that of the subcommand */
    size_t words_max;
    unsigned flags;
    call_take *take;            /* of a command with subcommands: when none is named; may be NULL */
    const struct call_row *sub; /* ended by a NULL name; or NULL */
};

/* The n-th word of the request. */
const struct resp_word *call_word(const struct call *call, size_t n);
void call_fail(const struct call *call, const char *format, ...) HM_PRINTF(2, 3);

extern const struct call_row call_sentinel_rows[]; /* ask.c */
extern const struct call_row call_client_rows[];   /* about.c */
call_take call_info;                               /* about.c */
call_take call_set_name;                           /* commands.c */

/* fields.c: masters, replicas and sentinels with all their fields. */
void put_master(struct resp_out *o, const struct model *all, const struct model_master *m,
                hm_ms now_ms);
void put_replica(struct resp_out *o, const struct model_master *m, const struct model_replica *r,
                 hm_ms now_ms);
void put_sentinel(struct resp_out *o, const struct model_master *m, const struct model_sentinel *s,
                  hm_ms now_ms);
/* Those that are up. */
unsigned count_sentinels(const struct model *all);

#endif
