#include "parts.h"

#include "faults.h"

/* Faults that strike at the very moment of a vote, a write, a promotion: chance alone would
 * hardly ever meet the few microseconds in which a guard matters. */

enum aim {
    AIM_SELF_KILL,
    AIM_SELF_PAUSE,
    AIM_SELF_LOST,
    AIM_SELF_CUT,
    AIM_OTHER_CUT,
    AIM_OTHER_KILL,
    AIM_OTHER_PAUSE,
    AIM_SERVER,
    AIM_SLOW_DISK,
    AIM_SELF_STOOD,
    AIM_DUMB,
    AIM_HOLDER_LOST,
    AIMS_N
};

void sim_trap_arm(struct sim *w)
{
    static const struct {
        uint8_t kind, detail;
    } marks[] = {
        { TRAP_SEND, MSG_PREVOTE },        { TRAP_SEND, MSG_PREPARE },
        { TRAP_SEND, MSG_PREPARE_ANSWER }, { TRAP_SEND, MSG_ACCEPT },
        { TRAP_SEND, MSG_ACCEPT_ANSWER },  { TRAP_SEND, MSG_RELEASE },
        { TRAP_SEND, MSG_FREEZE },         { TRAP_SEND, MSG_FREEZE_ANSWER },
        { TRAP_SEND, MSG_YIELD },          { TRAP_SEND, MSG_RENEW },
        { TRAP_EFFECT, DO_PERSIST },       { TRAP_EFFECT, DO_PROMOTE },
        { TRAP_EFFECT, DO_FREEZE },        { TRAP_EFFECT, DO_FOLLOW },
        { TRAP_EFFECT, DO_SET_NAMES },     { TRAP_EFFECT, DO_MARKER },
        { TRAP_EFFECT, DO_PROVE },         { TRAP_EFFECT, DO_REWIND },
        { TRAP_EFFECT, DO_CLONE },         { TRAP_EFFECT, DO_THAW },
        { TRAP_EFFECT, DO_KILL },          { TRAP_EFFECT, DO_STOP },
        { TRAP_STATE, ST_HOLDER },         { TRAP_STATE, ST_ACCEPT },
        { TRAP_STATE, ST_HOLDER_PREPARE }, { TRAP_STATE, ST_HOLDER_CHANGE },
        { TRAP_STATE, ST_HANDOVER },       { TRAP_STATE, ST_RELEASED },
        { TRAP_STATE, ST_FREEZE },         { TRAP_STATE, ST_YIELD },
        { TRAP_STATE, ST_FETCH },
    };
    int64_t i = sim_draw(w, 0, HM_ARRAY_LEN(marks) - 1);

    w->trap.kind = marks[i].kind;
    w->trap.detail = marks[i].detail;
    w->trap.action = (uint8_t)sim_draw(w, 0, AIMS_N - 1);
    w->trap.skip = sim_chance(w, 600000) ? 0 : (uint8_t)sim_draw(w, 1, 4);
}

void sim_trap(struct sim *w, enum sim_trap kind, unsigned int detail, unsigned int service,
              unsigned int host, unsigned int other)
{
    if (w->trap.kind != kind || w->trap.detail != detail || w->is_healing)
        return;
    if (w->trap.skip > 0) {
        w->trap.skip--;
        return;
    }
    w->trap.kind = TRAP_NONE;
    /* The process dies here, or after what this step still does. Dying is always possible: what
     * was asked for and not done is forgotten together with the core that asked. */
    if ((w->trap.action == AIM_SELF_KILL || w->trap.action == AIM_SELF_LOST) &&
        sim_chance(w, 300000)) {
        w->trap.action = AIM_SELF_KILL;
        w->is_cut_short = true;
    }
    sim_at(w,
           w->now_us + (w->is_cut_short || sim_chance(w, 500000) ? 0 : sim_draw(w, 0, 3 * SIM_MS)),
           EV_TRAP, service, host, other, 0, 0);
}

void sim_trap_sprung(struct sim *w, unsigned int service, unsigned int host, unsigned int other)
{
    static const enum sim_fault_kind kinds[AIMS_N] = {
        [AIM_SELF_KILL] = FAULT_DAEMON_KILLED,
        [AIM_SELF_PAUSE] = FAULT_DAEMON_PAUSED,
        [AIM_SELF_LOST] = FAULT_HOST_LOST,
        [AIM_SELF_CUT] = FAULT_ISOLATED,
        [AIM_OTHER_CUT] = FAULT_ISOLATED,
        [AIM_OTHER_KILL] = FAULT_DAEMON_KILLED,
        [AIM_OTHER_PAUSE] = FAULT_DAEMON_PAUSED,
        [AIM_SERVER] = FAULT_SERVER_KILLED,
        [AIM_SLOW_DISK] = FAULT_DISK_SLOW,
        [AIM_SELF_STOOD] = FAULT_HOST_PAUSED,
        [AIM_DUMB] = FAULT_DUMB,
        [AIM_HOLDER_LOST] = FAULT_HOST_LOST,
    };
    unsigned int at = host;

    if (w->is_healing || w->force.is_on)
        return;
    if (w->trap.action == AIM_OTHER_CUT || w->trap.action == AIM_OTHER_KILL ||
        w->trap.action == AIM_OTHER_PAUSE)
        at = other;
    if (w->trap.action == AIM_HOLDER_LOST)
        at = sim_holder(w, service);
    if (at != SIM_NOWHERE)
        (void)sim_fault(w, kinds[w->trap.action], at, 0);
}
