/* report.h - what hamgrd knows, as JSON for `hamgr status`, `history` and whoever else asks.
 *
 * Only looks, never changes anything. The shape of the documents is part of hamgr's interface:
 * docs/json.md names every field. */
#ifndef HAMGR_DAEMON_REPORT_H
#define HAMGR_DAEMON_REPORT_H

#include "adapter/chronicle.h"
#include "adapter/service.h"
#include "core/core.h"
#include "net/link.h"
#include "settings/settings.h"
#include "wire/ctl.h"

#include <jansson.h>

/* One service of this member, all borrowed. */
struct report_service {
    const struct settings_service *settings;
    const struct core *core;
    struct service_facts facts;
    bool has_fence;
    struct fence_report fence;
    const char *write_why;             /* why votes cannot be written; "": they can; NULL: as "" */
    const struct chronicle *chronicle; /* NULL: nothing is kept */
    hm_ms writing_ms; /* for how long a vote has been on its way to the disk; 0: none is */
};

struct report {
    const struct settings *settings;
    struct link_cluster *links;
    bool is_joining;      /* it asks to be added ... */
    const char *join_why; /* ... and this is why it was not yet; empty: not answered */
    hm_ms now_ms;
    hm_ms started_ms;
    hm_ms stall_longest_ms; /* of the event loop since the start */
    hm_ms stall_latest_ms;  /* ... the newest one above the alarm; 0: none */
    hm_ms stall_at_ms;
    const char
        *sentinel_trouble; /* why clients of Redis cannot ask this member; NULL, "": they can */
    size_t services_n;
    struct report_service service[HM_SERVICES_MAX];
};

/* The documents; the caller owns them. NULL: no memory. `service`: only that one, NULL or "": all.
 */
json_t *report_status(const struct report *r, const char *service);
json_t *report_history(const struct report *r, const char *service);
json_t *report_members(const struct report *r);

/* Who could take over and why not; with members, what if they were lost (report_explain.c).
 * HM_BAD_INPUT: one of them is none. *ret is the caller's; NULL with HM_OK: no memory. */
enum hm_rc report_explain(const struct report *r, const struct ctl_request *request, json_t **ret,
                          struct hm_err *err) HM_MUST_CHECK;

/* What `hamgr failover --force` on this member would do to a service, and what may be lost
 * (report_force.c). *ret_why: why it is not needed or cannot be, a constant; NULL: it can. */
json_t *report_force(const struct report *r, const struct report_service *s, const char **ret_why);

/* Warnings that a person should act on ("w1 has not been heard for 12 s: one failure away from an
 * outage"), one line each; returns how many lines were written. */
enum { REPORT_WARNING_SIZE = 256 };
size_t report_warnings(const struct report *r, char lines[][REPORT_WARNING_SIZE], size_t lines_max);

#endif
