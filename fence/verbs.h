/* verbs.h - what hamgrd may ask of hamgr-fence, and what it hears; the bytes on their socket.
 *
 * A unix SEQPACKET socket, run_dir/fence.sock; one packet for each request and each report, in the
 * machine's own byte order and layout (both ends are of one build; the version says so). The helper
 * obeys the configured user and root only (SO_PEERCRED), and configured services only. Every
 * request is answered by a report with its seq. A report with seq 0 comes by itself: one of every
 * service to whoever connects, then whenever something changed (it suspended at a deadline, a kill
 * or a thaw is done). The newest connection that asked about a service gets its reports; the one
 * before it is closed. Root's own stand beside it.
 *
 * A mode is in the lease file before it is in force. FENCE_STANDBY destroys the port's sockets
 * before the gate opens, whenever another mode was in force before; when that fails, the old mode
 * stays and the answer is HM_FAILED. */
#ifndef FENCE_VERBS_H
#define FENCE_VERBS_H

#include "base/err.h"
#include "view/observation.h"

enum { FENCE_VERSION = 3, FENCE_WHY_MAX = 120 };

enum fence_verb {
    FENCE_VERB_STATUS,   /* look at the processes and report, nothing else */
    FENCE_VERB_MODE,     /* take mode, deadlines and gate: DO_FENCE */
    FENCE_VERB_THAW,     /* let a suspended service go on, unless the deadline forbids it */
    FENCE_VERB_KILL,     /* SIGKILL every process, verify, destroy the port's sockets; answered
                            at once, and again by itself when no process is left */
    FENCE_VERB_START,    /* systemctl start UNIT, without waiting for it */
    FENCE_VERB_DISTRUST, /* destroy sockets only: of the service's own port, or with `peer` those
                            from here to that port there (a PgBouncer's to a dead server) */
    FENCE_VERB_HELLO, /* report as it is known, without looking: what it costs to be asked often */
    FENCE_VERB_PEERS, /* who passes the gate as a member: `peers`, in place of those before */
    FENCE_VERBS_N
};

struct fence_request {
    uint32_t version; /* FENCE_VERSION */
    uint32_t seq;     /* not 0 */
    enum fence_verb verb;
    char service[HM_NAME_MAX];
    enum fence_mode mode; /* the rest with FENCE_VERB_MODE */
    hm_ms suspend_ms;     /* boot time; with FENCE_LEASE */
    hm_ms until_ms;
    bool is_gate_open;         /* to clients; members pass anyway until until_ms */
    char peer[HM_ADDRESS_MAX]; /* with FENCE_VERB_DISTRUST: a literal address, or empty */
    char peers[HM_MEMBERS_MAX][HM_ADDRESS_MAX]; /* with FENCE_VERB_PEERS: hosts; empty ones count
                                                 * for nothing */
};

struct fence_report {
    uint32_t version;
    uint32_t seq;
    char service[HM_NAME_MAX];
    enum hm_rc
        rc; /* of the request; HM_REFUSED: a safety rule, HM_BAD_INPUT: no such service ... */
    enum fence_mode mode;
    hm_ms suspend_ms;
    hm_ms until_ms;
    bool is_gate_open; /* to clients, at the time of the report */
    bool is_held;      /* who is stopped was stopped by the helper, and stays so until a thaw */
    bool has_gate;     /* nftables works here and is on */
    bool has_lock;     /* memory is locked */
    bool has_priority; /* real-time priority */
    bool has_watchdog;
    uint32_t processes;      /* of the service, at the last scan */
    uint32_t stopped;        /* of these: stopped, or in D state with the stop pending */
    hm_ms scanned_ms;        /* boot time of that scan */
    char why[FENCE_WHY_MAX]; /* rc is not HM_OK, or the helper's last trouble; else empty */
};

/* Checks a packet from outside: size, version, a known verb and mode, terminated names, deadlines
 * in order. HM_BAD_INPUT names the first thing wrong in *ret_why (a constant string). */
enum hm_rc fence_request_check(const void *packet, size_t size, struct fence_request *ret,
                               const char **ret_why) HM_MUST_CHECK;
enum hm_rc fence_report_check(const void *packet, size_t size, struct fence_report *ret,
                              const char **ret_why) HM_MUST_CHECK;

#endif
