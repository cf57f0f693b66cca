/* gray.h - what stalls, and whether it is proved to hang: the evidence for the core's verdict.
 *
 * Three things may stall: the commit that the probe asks for, the question of the probe itself, and
 * a new connection. Late is not hung: on an overloaded machine everything is late. The proof is
 * that whoever ought to answer has neither run nor waited for the processor since:
 *
 *   - hamgrd's own write to the same disk is stuck in the kernel, and the disk completes no write
 * of anybody (canary.h); or
 *   - the very server process that ought to answer is stopped, or stuck in the kernel while the
 * disk completes nothing; for a new connection, the main process that ought to take it in.
 *
 * A process of the server that merely sleeps proves nothing: it may wait for a lock. gray.c is part
 * of the probe and looks whenever a round ends; it judges nothing but tells for how long. */
#ifndef HAMGR_POSTGRES_GRAY_H
#define HAMGR_POSTGRES_GRAY_H

#include "postgres/accept.h"
#include "postgres/canary.h"
#include "probe/latency.h"
#include "probe/stuck.h"
#include "view/observation.h"

struct probe;

struct gray {
    struct canary *log, *data;   /* owned: on the disks of pg_wal and of the data directory */
    struct accept_probe *accept; /* owned */
    struct stuck pulse, question, postmaster;
    hm_ms question_stuck_ms; /* for how long, when it was given up */
    struct latency commits;
    int64_t pulse_us; /* monotonic; when the commit under way was asked for */
    hm_ms alive_ms;   /* a commit was possible then, as far as is known */
    hm_ms missing_ms; /* since when the data directory is known to have lost files; 0: no */
    hm_ms data_ms;    /* when the data's disk was written to last */
    bool has_begun;   /* each canary has written once: which disks they are is known */
    char words[160];  /* about the worst stall; "": there is none */
};

enum hm_rc gray_new(struct probe *p, struct gray **ret, struct hm_err *err) HM_MUST_CHECK;
void gray_free(struct gray *g);
/* The question of this round is not answered at once, or is about to be given up. */
void gray_note_silence(struct probe *p);
/* A commit of the probe's own begins, and has returned. */
void gray_note_pulse(struct probe *p);
void gray_note_returned(struct probe *p);
/* A commit was possible now. */
void gray_note_alive(struct probe *p);
/* Completes a finding: stalled_ms, hung_ms, and is_healthy where something stalls for too long. */
void gray_look(struct probe *p, struct copy *c);

#endif
