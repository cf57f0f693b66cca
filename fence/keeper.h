/* keeper.h - keeps the fence of one service: its deadline, its file, its processes and its port.
 *
 * Nothing here waits: what takes time is done in rounds, and keeper_next_us() says when the next
 * one is due. */
#ifndef FENCE_KEEPER_H
#define FENCE_KEEPER_H

#include "base/log.h"
#include "fence/gate.h"
#include "fence/sockets.h"
#include "fence/suspend.h"
#include "fence/verbs.h"
#include "settings/settings.h"

#define KEEPER_NEVER INT64_MAX

/* What the keepers of all services share. */
struct keeper_tools {
    struct gate gate;
    struct sockets sockets;
    bool has_gate;
    bool has_sockets; /* they can be destroyed here */
    int dir;          /* of the lease files */
};

struct keeper {
    const struct settings_service *service; /* borrowed */
    struct keeper_tools *tools;             /* borrowed */
    struct deadline deadline;
    struct suspend procs;
    bool must_stop;         /* so the deadline said in the last turn */
    int64_t round_us;       /* boot time of the next round, in microseconds */
    int64_t began_us;       /* the wish in force */
    int64_t fulfilled_us;   /* when a look found it fulfilled first; 0: not yet */
    struct gate_state gate; /* as it was set last */
    bool is_gate_known;     /* that succeeded */
    bool is_news;           /* something changed by itself: the owner reports it and clears this */
    struct log_repeat repeat;
    char why[FENCE_WHY_MAX]; /* the newest trouble; empty: none */
};

int64_t keeper_now_us(void);

/* Takes over the file of before. To be called before the gate is built: the old one is asked. */
void keeper_start(struct keeper *k, struct keeper_tools *tools,
                  const struct settings_service *service);
/* How the gate stands now. */
struct gate_state keeper_gate(const struct keeper *k, hm_ms now_ms);

/* Does what is due. */
void keeper_turn(struct keeper *k);
/* When it wants its next turn, boot time in microseconds; KEEPER_NEVER. */
int64_t keeper_next_us(const struct keeper *k);

/* The verbs. HM_OK, or why not in err: HM_REFUSED a safety rule, HM_FAILED. */
enum hm_rc keeper_mode(struct keeper *k, const struct fence_request *r,
                       struct hm_err *err) HM_MUST_CHECK;
enum hm_rc keeper_thaw(struct keeper *k, struct hm_err *err) HM_MUST_CHECK;
void keeper_kill(struct keeper *k);
enum hm_rc keeper_destroy(struct keeper *k, const char *peer, struct hm_err *err) HM_MUST_CHECK;

/* Puts the gate in place for all n keepers, which share their tools. HM_FAILED: there is none. */
enum hm_rc keepers_gate(struct keeper *keepers, size_t n, const struct gate_peers *peers,
                        struct hm_err *err) HM_MUST_CHECK;

/* The clocks disagree. */
void keeper_distrust(struct keeper *k);
/* The watchdog may be fed for this service's part. */
bool keeper_is_safe(const struct keeper *k, hm_ms now_ms);
/* Nothing would be left undone if the helper ended now. */
bool keeper_is_idle(const struct keeper *k);

/* Fills in all but version, seq, rc and what the process as a whole has. */
void keeper_report(const struct keeper *k, struct fence_report *ret);

#endif
