/* ctl.h - requests of the command line and exit codes, shared by `hamgr` and hamgrd.
 *
 * A request is one line of JSON:
 *     {"command": "switchover", "service": "pg", "to": "db2", "dry_run": false, "timeout_ms":
 * 30000} Only "command" is needed. A field that is not known is refused, not skipped: whoever
 * orders something with a restriction wants it obeyed or not done at all. No I/O, no logging. */
#ifndef HAMGR_WIRE_CTL_H
#define HAMGR_WIRE_CTL_H

#include "base/err.h"
#include "core/record.h"

#include <jansson.h>

enum {
    CTL_REQUEST_MAX = 4096,          /* bytes of a request, without its newline */
    CTL_TIMEOUT_MAX_MS = 3600000,    /* of a request's own time limit */
    CTL_ANSWER_MAX = 1 * 1024 * 1024 /* bytes of an answer that the command line takes */
};

#define CTL_SOCKET "hamgrd.sock" /* in run_dir */

/* X(constant, text) */
#define CTL_COMMANDS(X)                                                                            \
    X(CTL_STATUS, "status")                                                                        \
    X(CTL_HISTORY, "history")                                                                      \
    X(CTL_MEMBERS, "members")                                                                      \
    X(CTL_EXPLAIN, "explain")                                                                      \
    X(CTL_SWITCHOVER, "switchover")                                                                \
    X(CTL_FAILOVER, "failover")                                                                    \
    X(CTL_PAUSE, "pause")                                                                          \
    X(CTL_RESUME, "resume")                                                                        \
    X(CTL_MEMBER_ADD, "member_add")                                                                \
    X(CTL_MEMBER_REMOVE, "member_remove")                                                          \
    X(CTL_CONFIG, "config")                                                                        \
    X(CTL_REBUILD, "rebuild") /* of the member `to` */                                             \
    X(CTL_CHECK, "check")                                                                          \
    X(CTL_VERSION, "version")                                                                      \
    X(CTL_PING, "ping")

enum ctl_command {
#define X(name, text) name,
    CTL_COMMANDS(X)
#undef X
        CTL_COMMANDS_N
};

struct ctl_request {
    enum ctl_command command;
    char service[HM_NAME_MAX]; /* empty: not named */
    char to[HM_NAME_MAX];      /* empty: not named */
    char cluster[HM_NAME_MAX]; /* failover: as typed by the operator; empty: not yet */
    char name[HM_NAME_MAX];    /* of a member; empty: not named */
    char address[HM_ADDRESS_MAX];
    char role[16];
    bool is_dry_run;
    hm_ms timeout_ms; /* 0: not named */
    size_t members_n;
    char member[HM_MEMBERS_MAX][HM_NAME_MAX]; /* explain: supposed to be lost */
};

/* Exit codes of `hamgr`, and "rc" in every answer: documented and stable. */
enum ctl_exit {
    CTL_DONE = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_REFUSED = 3,
    CTL_NO_QUORUM = 4,
    CTL_TIMED_OUT = 5,
};

enum ctl_exit ctl_exit_of(enum hm_rc rc);

const char *ctl_command_name(enum ctl_command c);

/* Any text as JSON: what is no UTF-8, such as the message of a server in another encoding, or one
 * that was cut within a letter, becomes '?'. NULL: no memory. */
json_t *ctl_text(const char *s);

/* Reads a request from bytes that anybody may have sent.
 *
 * line, size  without the newline; need not end in a NUL.
 * ret_json    set on HM_OK: an object whose fields were all checked; the caller owns it.
 *
 * HM_BAD_INPUT: too long, no JSON object, an unknown command or field, a value of a wrong type or
 * out of its range. */
enum hm_rc ctl_parse(const char *line, size_t size, json_t **ret_json,
                     struct hm_err *err) HM_MUST_CHECK;

/* The fields of a request that ctl_parse() made. */
void ctl_read(const json_t *request, struct ctl_request *ret);

/* A request as JSON, without fields that are not named; the caller owns it. NULL: no memory. */
json_t *ctl_make(const struct ctl_request *request);

#endif
