/* daemon.h - hamgrd: what its files share. */
#ifndef HAMGR_DAEMON_DAEMON_H
#define HAMGR_DAEMON_DAEMON_H

#include "adapter/ad_fence.h"
#include "adapter/chronicle.h"
#include "adapter/service.h"
#include "adapter/store.h"
#include "adapter/worker.h"
#include "base/log.h"
#include "core/core.h"
#include "daemon/loop.h"
#include "daemon/report.h"
#include "daemon/serve_ctl.h"
#include "daemon/serve_sentinel.h"
#include "net/link.h"
#include "settings/settings.h"

enum { DRIVER_QUEUE_MAX = 64, ORDERS_MAX = 16 };

struct daemon;

/* A voter's state on its way to the disk. */
struct driver_write {
    struct worker_job job;
    struct driver *driver; /* borrowed */
    uint32_t ticket;
    hm_ms began_ms; /* 0: nothing is being written */
    struct voter_state state;
    enum hm_rc rc;
    struct hm_err err;
};

/* An order to make the own copy anew, in state_dir (rebuild_order.c). */
struct driver_rebuild {
    struct worker_job job; /* first: the worker's pointer is ours */
    struct driver *driver; /* borrowed */
    uint64_t kept;         /* the copy that is to be made anew; 0: none is */
    uint64_t writing;
    bool is_writing;
    hm_ms ask_ms;     /* when the core is told again */
    const char *told; /* why it could not be, as the log knows */
    enum hm_rc rc;
    struct hm_err err;
};

/* One service of this member: the only door to its core. */
struct driver {
    struct daemon *daemon; /* borrowed */
    const struct settings_service *settings;
    struct core core;
    struct core_effects todo; /* of the newest step */
    struct core_event queue[DRIVER_QUEUE_MAX];
    size_t queue_first;
    size_t queue_n;
    bool is_stepping;
    bool is_started; /* the core was told ON_START */
    struct loop_timer timer;

    const struct service_type *type;
    struct service *service; /* owned */
    struct ad_fence *fence;  /* owned */
    bool has_report;
    bool is_suspending; /* an operation has it done: renewals do not take that back meanwhile */
    struct fence_report report; /* the newest */
    struct driver_write write, rewrite;
    struct driver_rebuild rebuilt;
    uint64_t last_order; /* the newest id of an order that was given out here */
    struct log_repeat write_trouble;
    hm_ms tried_ms;         /* its disk, after that */
    char write_why[96];     /* why the newest vote could not be written; "": it could */
    struct log_burst steps; /* that are asked for until they work */

    struct chronicle *chronicle; /* owned */
    uint32_t rebuild_op;         /* the newest rewind or clone that was asked for; 0: none */
    char rebuild[64];            /* "the clone from db1" */

    struct ballot told_ballot; /* of the record that the service was told last */
    uint64_t told_version;
    uint8_t told_leader;
    struct ballot released; /* the newest that was told in the log */
    char told_status[160];
};

/* An order or a call that waits for its end. */
struct daemon_order {
    uint64_t id;             /* of the order, or of the call passed on; 0: free */
    struct driver *driver;   /* of an order; NULL: a call that another member answers */
    uint64_t ticket;         /* of a client of the Sentinel endpoint; 0: of none */
    struct serve_call *call; /* borrowed; NULL: asked by another member ... */
    char peer[HM_NAME_MAX];  /* ... this one, or the member that was asked ... */
    uint64_t peer_id;        /* ... under this id */
    hm_ms began_ms;
    hm_ms until_ms;
    uint64_t epoch; /* when it began */
    uint8_t from;
    bool is_switchover;
    bool is_own;         /* this hamgrd asked by itself */
    struct member added; /* role not ROLE_NONE: it waits until that one is reached and linked */
    bool is_reached;
    uint64_t fit_call;  /* ... and has answered this question, or not in time */
    hm_ms fit_until_ms; /* when it counts as answered */
};

/* A member as far as links and the gate go. */
struct daemon_member {
    char name[HM_NAME_MAX];
    char address[HM_ADDRESS_MAX];
    enum member_role role;
    bool is_wanted; /* by the newest records, or by the file while there is none */
    bool is_dialled;
    unsigned silent_rounds; /* since when nothing is heard of it */
};

enum { DAEMON_MEMBERS_MAX = 2 * HM_MEMBERS_MAX };

struct daemon_members {
    struct daemon_member row[DAEMON_MEMBERS_MAX];
    size_t n;
    struct event *timer;
};

/* In state_dir: `hamgr join` left it, and it goes once the records name this member. */
#define DAEMON_JOINING_FILE "joining"

struct daemon {
    struct settings settings;
    struct loop loop;
    struct store store;
    struct worker *disk; /* for the voters' files; owned */
    struct link_hub *hub;
    struct link_cluster *links; /* the hub's */
    struct wire_hello hello;
    struct wire_service hello_service[HM_SERVICES_MAX];
    struct serve_ctl *ctl;
    struct serve_sentinel *sentinel;        /* owned; NULL: there is none */
    struct driver *driver[HM_SERVICES_MAX]; /* owned */
    size_t drivers_n;
    struct daemon_order order[ORDERS_MAX];
    uint64_t calls;
    struct daemon_members members;
    struct worker *reach; /* owned; NULL until something is to be reached */
    bool is_joining;
    bool is_join_asked;            /* an answer is owed */
    char join_leader[HM_NAME_MAX]; /* who leads, as an answer said */
    char join_why[160];            /* why it was not added yet */
    size_t join_next;
    struct event *order_timer;
    struct event *signal[4];
    struct event *watchdog;
    hm_ms started_ms;
    bool is_ready;
};

/* driver.c: events in, effects out. */
enum hm_rc driver_new(struct daemon *d, const struct settings_service *settings,
                      struct driver **ret, struct hm_err *err) HM_MUST_CHECK;
void driver_free(struct driver *d);
/* Gives the core an event, now or, from within a step, after it. A message's record is borrowed. */
void driver_feed(struct driver *d, const struct core_event *ev);

/* carry_out.c: one switch over all effects. */
void driver_carry_out(struct driver *d, const struct core_effect *e);
/* After a vote could not be written: writes again what is on the disk, every few seconds, so that
 * everybody knows when it can be written to. */
void driver_try_disk(struct driver *d);
/* The newest probe with what the fence helper last said. */
void driver_add_fence(const struct driver *d, struct copy *copy);
/* What the core asks for until it is there is told as often as it helps: an outage of a minute must
 * not fill the log. text: a line without what counts up; false: not this time. When it was left out
 * before, how often is added to it, up to size. */
bool driver_is_told(struct driver *d, char *text, size_t size);

/* rebuild_order.c: what was ordered before a restart; and after each step of the core. */
void rebuild_order_load(struct driver *d);
void rebuild_order_note(struct driver *d);

/* pass_log.c: service_host.ask_log, ctx: the driver; and what comes in. */
bool pass_log_ask(void *ctx, uint8_t member, const struct service_log_ask *ask);
void pass_log_take(struct driver *d, const struct link_peer *from, const struct wire_frame *frame);

/* orders.c: requests of the command line, here or passed on by another member. */
void orders_take_request(void *ctx, struct serve_call *call, const json_t *request);
void orders_take_frame(struct daemon *d, const struct link_peer *from,
                       const struct wire_frame *frame);
void orders_take_reply(struct driver *d, uint64_t order, enum hm_rc rc, const char *why);
/* Answers what waits too long; called once a second while something waits. */
void orders_tick(evutil_socket_t fd, short what, void *arg);
void orders_done(struct daemon *d);

/* orders_member.c: a member that is to be added has linked, or its time is over. */
void orders_look_for_member(struct daemon_order *o);
void orders_note_link(struct daemon *d, const char *name);
/* Asks another member on our own; members_take_answer() gets the answer. False: it cannot be asked.
 */
bool orders_ask(struct daemon *d, const char *member, const json_t *request);

/* members.c: links, the gate and our HELLO follow the records. */
enum hm_rc members_new(struct daemon *d, struct hm_err *err) HM_MUST_CHECK;
void members_free(struct daemon *d);
/* Before the drivers are made: is this node joining? */
void members_begin(struct daemon *d);
/* A record changed. */
void members_note(struct daemon *d);
/* The helper is there, perhaps anew. */
void members_tell_fence(struct daemon *d);
void members_take_answer(struct daemon *d, enum hm_rc rc, const json_t *document);

/* sd.c: systemd. All of it does nothing where systemd did not start the program. */
enum hm_rc sd_begin(struct daemon *d, struct hm_err *err) HM_MUST_CHECK;
void sd_end(struct daemon *d);
/* READY when each service was probed once; STATUS when a service changed. */
void sd_tell(struct daemon *d);

void daemon_fill_report(const struct daemon *d, struct report *ret);

#endif
