/* report_inner.h - what the files of report share: belief of one service, read for people. */
#ifndef HAMGR_DAEMON_REPORT_INNER_H
#define HAMGR_DAEMON_REPORT_INNER_H

#include "core/explain.h"
#include "daemon/report.h"

/* The record that this member knows: accepted here, else heard of, else what a new cluster would
 * begin with (epoch 0). */
const struct record *report_record(const struct core *c);

/* What is believed of one slot of a service, of the own copy or by gossip. */
struct report_member {
    uint8_t slot;
    const struct member *member; /* borrowed from the record */
    bool is_self;
    bool is_heard;        /* ever */
    bool is_up;           /* within the lease time */
    hm_ms heard_ms_ago;   /* with is_heard; 0 for itself */
    struct gossip gossip; /* empty unless heard */
    bool is_holder;       /* the record names it */
    bool has_lag;
    uint64_t lag_bytes; /* behind the furthest position known of the primary */
};
void report_look(const struct report *r, const struct report_service *s, uint8_t slot,
                 struct report_member *ret);

/* The furthest position known of the primary; 0: none. */
uint64_t report_primary_offset(const struct report_service *s);

/* The slots that this member keeps, and the newest that it dropped although their copies may come
 * back (report_slots.c). The caller owns them; NULL: no memory. */
json_t *report_slots(const struct service_facts *f);
json_t *report_dropped_slots(const struct service_facts *f);
json_t *report_foreign_slots(const struct service_facts *f);

/* Voters of the record, and those heard within the lease time. */
void report_voters(const struct report *r, const struct report_service *s, unsigned *ret_n,
                   unsigned *ret_heard);

/* The i-th member that two hosts say to be (report_twin.c). False: there are no more. */
bool report_twin(const struct report *r, unsigned i, char line[REPORT_WARNING_SIZE]);

/* How long the holder's lease still runs, as far as this member knows; false: it knows of none. */
bool report_lease_left(const struct report *r, const struct report_service *s, hm_ms *ret_left_ms);

/* What is thought of the own copy: "well", "overloaded", "gray", "dead", or NULL: it is neither
 * primary nor standby. */
const char *report_verdict(const struct report *r, const struct report_service *s);
/* Adds verdict, stall, commits and disks to the facts; not 0: no memory. */
int report_add_health(json_t *facts, const struct report *r, const struct report_service *s);

/* Why nobody is primary although a majority lives, and the next command (report_stuck.c). False:
 * that is not so; text is left alone. */
enum { REPORT_STUCK = 300 };
bool report_stuck(const struct record *rec, const struct explanation *x, char text[REPORT_STUCK]);
/* The same now, for a service that a member holds, and for one that nobody took over for long. */
bool report_holder_stuck(const struct report_service *s, char text[REPORT_STUCK]);
bool report_nobody_left(const struct report *r, const struct report_service *s,
                        char text[REPORT_STUCK]);

/* "2026-11-20T20:52:52Z" of a wall clock. */
void report_time(hm_ms wall_ms, char text[32]);

#endif
