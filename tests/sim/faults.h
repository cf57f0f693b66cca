/* faults.h - the kinds of fault that a run may meet, and how each is drawn. */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "sim.h"

/* X(constant, name, weight in a mixed run) */
#define SIM_FAULTS(X)                                                                              \
    X(FAULT_NONE, "none", 0)                                                                       \
    X(FAULT_HOST_LOST, "host lost", 6)                                                             \
    X(FAULT_HOST_PAUSED, "host paused", 4)                                                         \
    X(FAULT_HOST_STOOD, "host paused with its clocks", 4)                                          \
    X(FAULT_SERVER_KILLED, "server killed", 6)                                                     \
    X(FAULT_SERVER_CRASHED, "backend crashed", 3)                                                  \
    X(FAULT_SERVER_HUNG, "server hung", 3)                                                         \
    X(FAULT_DAEMON_KILLED, "hamgrd killed", 7)                                                     \
    X(FAULT_DAEMON_PAUSED, "hamgrd paused", 6)                                                     \
    X(FAULT_HELPER_KILLED, "hamgr-fence killed", 3)                                                \
    X(FAULT_HELPER_PAUSED, "hamgr-fence paused", 2)                                                \
    X(FAULT_LINK_CUT, "one way cut", 6)                                                            \
    X(FAULT_ISOLATED, "host cut off", 6)                                                           \
    X(FAULT_DEAF, "host cannot hear", 3)                                                           \
    X(FAULT_DUMB, "host cannot speak", 3)                                                          \
    X(FAULT_NET_BAD, "network bad", 4)                                                             \
    X(FAULT_DISK_SLOW, "disk slow", 4)                                                             \
    X(FAULT_DISK_FULL, "disk full", 2)                                                             \
    X(FAULT_DISK_HUNG, "disk hung", 2)                                                             \
    X(FAULT_OVERLOADED, "host overloaded", 2)                                                      \
    X(FAULT_STATE_WIPED, "state directory lost", 2)                                                \
    X(FAULT_FILE_LOST, "voter's file lost", 2)                                                     \
    X(FAULT_COPY_WIPED, "data directory lost", 2)                                                  \
    X(FAULT_WALL_JUMP, "wall clock jumps", 1)                                                      \
    X(FAULT_SWITCHOVER, "switchover", 6)                                                           \
    X(FAULT_CANCEL, "switchover called off", 2)                                                    \
    X(FAULT_PAUSE, "cluster paused", 2)                                                            \
    X(FAULT_TIMING, "other timing", 2)                                                             \
    X(FAULT_DURABILITY, "other durability", 2)                                                     \
    X(FAULT_MEMBER, "member added or removed", 3)                                                  \
    X(FAULT_BLIP, "quorum blip", 4)                                                                \
    X(FAULT_REPLAY, "replay blocked", 2)                                                           \
    X(FAULT_ALL_LOST, "all hosts rebooted", 1)                                                     \
    X(FAULT_CLIENT_CUT, "clients cut off", 1)                                                      \
    X(FAULT_TRAP, "trap armed", 4)                                                                 \
    X(FAULT_NO_REWIND, "pg_rewind impossible", 1)                                                  \
    X(FAULT_LOG_GONE, "a standby's log is gone", 1)                                                \
    X(FAULT_REBUILD, "copy given up", 1)                                                           \
    X(FAULT_BY_HAND, "server started by hand", 2)                                                  \
    X(FAULT_FORGED, "standby made a primary by hand", 2)                                           \
    X(FAULT_ROLLING, "every hamgrd restarted", 2)                                                  \
    X(FAULT_WITNESS_LOST, "witness lost", 2)                                                       \
    X(FAULT_REMOVE_WITNESS, "witness removed for a while", 1)                                      \
    X(FAULT_PATTERN, "a pattern begins", 4)                                                        \
    X(FAULT_FORCE, "failover forced", 1)

enum sim_fault_kind {
#define X(name, text, weight) name,
    SIM_FAULTS(X)
#undef X
        SIM_FAULTS_N
};

void sim_draw_weights(struct sim *w);
/* Begins a fault now. host: SIM_NOWHERE to draw one. lasts_us 0: drawn. False: not possible. */
bool sim_fault(struct sim *w, enum sim_fault_kind kind, unsigned int host, int64_t lasts_us);
/* The host of a service's primary that serves, or SIM_NOWHERE. */
uint8_t sim_primary(const struct sim *w, unsigned int service);

/* faults_server.c: a fault of a server begins. False: not possible now, or none of these. */
bool sim_fault_server(struct sim *w, enum sim_fault_kind kind, unsigned int service,
                      unsigned int host);
/* False if what a server acknowledged would be lost with it, and nobody could go on from it. */
bool sim_may_lose_server(struct sim *w, unsigned int host);

/* patterns.c: begins faults that belong together. */
bool sim_fault_pattern(struct sim *w);
/* force.c */
bool sim_force_begin(struct sim *w);
/* True if what the primary acknowledged is elsewhere, too, as the record says it should be. */
bool sim_has_all_elsewhere(const struct sim *w, unsigned int service);
/* Ends all faults that are under way. */
void sim_faults_end(struct sim *w);
/* aimed.c */
void sim_trap_arm(struct sim *w);
/* orders.c: the faults that operators are. False: not possible now. */
bool sim_fault_order(struct sim *w, enum sim_fault_kind kind);
void sim_fault_order_heal(struct sim *w, const struct sim_fault *f);
/* calm.c: one clean fault at a time. */
void sim_calm_next(struct sim *w);
void sim_calm_end(struct sim *w);

#endif
