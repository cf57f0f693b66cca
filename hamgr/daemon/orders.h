/* orders.h - what the files of orders share: who asked, and the answer that is owed to everybody.
 */
#ifndef HAMGR_DAEMON_ORDERS_H
#define HAMGR_DAEMON_ORDERS_H

#include "daemon/daemon.h"

/* Who wants to know: a client of the control socket or of the Sentinel endpoint, another member, or
 * this hamgrd itself. */
struct asker {
    uint64_t ticket; /* serve_sentinel_answer() takes the answer; 0: no */
    struct serve_call *call;
    bool is_own; /* members_take_answer() takes the answer */
    const char *peer;
    uint64_t peer_id;
};

/* Takes over the document. */
void orders_answer(struct daemon *d, const struct asker *a, enum hm_rc rc, json_t *document);
/* next may be NULL. */
void orders_fail(struct daemon *d, const struct asker *a, enum hm_rc rc, const char *error,
                 const char *next);

/* A place for something that waits; NULL: too much waits. It is taken once it has an id. */
struct daemon_order *orders_free(struct daemon *d);
void orders_begin(struct daemon_order *o, const struct asker *a, hm_ms limit_ms);
void orders_end(struct daemon *d, struct daemon_order *o, enum hm_rc rc, json_t *document);

/* An order, of whatever kind: it is answered in any case, as a rule later. */
void orders_take(struct daemon *d, const struct asker *a, const json_t *request);
/* Gives the core an order; its reply is the asker's answer. */
void orders_give(struct driver *driver, const struct asker *a, struct order *order);

/* The member that it concerns, as a rule the one that leads, takes the order; this one waits for
 * its answer. */
void orders_pass_on(struct driver *driver, const struct asker *a, const json_t *request,
                    uint8_t leader);
/* Who takes orders now. While a new version of the record spreads, its holder is the same. */
uint8_t orders_leader(const struct core *c);

/* orders_force.c: failover --force, asked for by a person here; and by another member, whose data
 * are to go on, of the one that holds the lease. */
void orders_force(struct daemon *d, const struct asker *a, const json_t *request);
void orders_take_force(struct daemon *d, const struct asker *a, const json_t *request);

/* A field of a request; "" if it is not there. */
const char *orders_text(const json_t *request, const char *key);

/* The service that a request is about; NULL: none, and that was answered. */
struct driver *orders_driver(struct daemon *d, const struct asker *a, const json_t *request);

/* orders_check.c: answers what is not as hamgr needs it here. */
void orders_check(struct daemon *d, struct serve_call *call, const json_t *request);

/* orders_switchover.c: answers whether it could be done; to HM_NOBODY: to anybody. */
void orders_look_before(struct driver *driver, const struct asker *a, uint8_t to);

/* orders_member.c: the members change. driver's member leads. */
void orders_add_member(struct driver *driver, const struct asker *a, const json_t *request);
/* Asked of a member before it is added: HM_REFUSED if it would never vote. */
void orders_say_fitness(const struct driver *driver, const struct asker *a, const json_t *request);
/* True: it answered that question. */
bool orders_take_fitness(struct daemon *d, const struct link_peer *from, uint64_t call,
                         const char *text);
void orders_remove_member(struct driver *driver, const struct asker *a, const json_t *request);
/* {"conf", "cluster", "services"}: the file that fits the record, and who leads. The caller owns
 * it; NULL: no memory. */
json_t *orders_config(struct daemon *d);
void orders_answer_config(struct daemon *d, const struct asker *a);

#endif
