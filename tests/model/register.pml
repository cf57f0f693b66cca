/* register.pml - the register and the lease of one hamgr service, for spin.
 *
 * Three voters: 0 and 1 live in the members of candidates 0 and 1, voter 2 is the witness. The model
 * takes every order of messages, writes, crashes and expiries within the bounds below. run.sh says
 * which bounds are verified together, README.md how to read a counterexample. R1 to R9 are the rules
 * of the design for the register.
 *
 * BOUNDS
 *   BALLOTS   how many ballots exist; the odd ones belong to candidate 0, the even ones to candidate 1.
 *   VERSIONS  how often a holder writes a record under one ballot: 1, or 2 (one change by the holder).
 *   INSTANTS  how many instants within one lease can be told apart (see TIME).
 * Restarts, lost, late and repeated messages, and the length of a run are not bounded at all.
 *
 * TIME. There is no number of milliseconds in the model. A stamp counts from the oldest instant that
 * still matters: the present is `now`, and when the oldest instant expires all stamps fall by one, 0
 * being past. An instant expires one ttl after it, by the slowest clock that a holder may have and by
 * the fastest that a voter may have; the drift margin of the holder's deadline (ttl/50 for clocks that
 * differ by 1 %) is what puts both into one order: whatever a holder counts from a sending at or
 * before an instant has ended when a voter gives up a lease that it counts from a receipt at or after
 * it. Nothing else is assumed, neither how ttl, heartbeat and delays compare, nor how long any step
 * takes, so the result holds for every setting. What is bounded is only how many instants within one
 * lease differ; happenings between two of them share one, in any order. A voter whose clock is slower
 * refuses for longer, which the model has as a message that is not delivered yet.
 *
 * MESSAGES. A message that was sent once can be received at any later time, many times, by each voter
 * on its own, or never. That covers loss, any delay, repetition and reordering without a channel. A
 * message is dropped from the state only when no voter could act on it any more (see forget()).
 * Answers: a promise is kept for the attempt that it belongs to, and the candidate proposes from any
 * majority of them at any later time, which covers lost and late answers. The answers that extend a
 * lease are counted at once: a deadline that moves later only makes `one holder` harder to keep, and
 * no step of the model depends on what the deadline is. For the same reason a holder past its deadline
 * is allowed here to go on renewing: the rule that it stops is needed for the others to get their
 * turn, not for safety.
 *
 * DELAYS (a switch). With it the newest transmission of each record has its stamp, which the answer
 * echoes (R2). Without it a transmission that still counts has the stamp of its receipt. That is the
 * worst case: voters do the same whenever it was sent, and an earlier sending gives an earlier
 * deadline. An older transmission than the newest is the same case again.
 *
 * WRITES (a switch). With it a durable change has a beginning and an end, other messages wait in
 * between (R3), and a crash in between leaves the old state. Without it both are one step. For a
 * promise this is exact: its conditions only get easier while the voter waits, so the step can be
 * placed at the end. For an acceptance the step is placed at the end as well, and `late` is by how
 * many instants the receipt, from which lease and answer count, was earlier. A crash after the write
 * and before the answer is an answer that is lost.
 *
 * LEFT OUT, and covered by the simulator: PREVOTE and R8, R9 (they change nothing that is promised);
 * R6 (what copies do with a RENEW), log freezes beyond the promise they make, and what a copy
 * acknowledges; a ttl that changes (R7); members and incarnations that change; failed and torn writes;
 * real proportions of times; that something happens at all (liveness).
 *
 * The properties are named in the comments behind the assertions; run.sh prints which one breaks.
 *   one holder      at no time two members believe to hold a valid lease, and none gets or extends a
 *                   lease once another has a majority of promises for a higher ballot
 *   one record      a ballot and version names one record for ever (R1)
 *   never lost      what is proposed later derives from every record chosen before
 *   one epoch       chosen records of different holders have different, increasing epochs
 *   lease kept      a PREPARE is never answered with a promise while another's lease is live
 *   promise kept    the promised ballot never decreases, not by a restart either
 */

#ifndef BALLOTS
#define BALLOTS 3
#endif
#ifndef VERSIONS
#define VERSIONS 2
#endif
#ifndef INSTANTS
#define INSTANTS 2
#endif

#define WITNESS 2
#define OWNER(b) (((b) + 1) % 2)
#define OTHER(c) (1 - (c))

/* A place in the order (ballot, version). Place 0 is the record that the register starts with: chosen
 * everywhere, holder 1, epoch 1, nobody has a lease. */
#define PLACE(b, v) ((b) * 2 + (v))
#define BALLOT(p) ((p) / 2)
#define VERSION(p) ((p) % 2)
#define HOLDER(p) OWNER(BALLOT(p))

/* What a voter is writing. */
#define NOTHING 0
#define PROMISE 1
#define ACCEPTANCE 2
#define FROZEN 8 /* added to the ballot of a promise that answers no PREPARE but a LOG_FREEZE */

typedef voter_state {
    unsigned promised : 3;   /* durable: a ballot */
    unsigned accepted : 4;   /* durable: a place; its record is that of the ballot */
    unsigned lease : 3;      /* volatile: stamp of the lease of the accepted (or being written) holder */
    unsigned quarantine : 3; /* volatile: stamp of the start of this voter */
    unsigned released : 3;   /* volatile: the ballot of the last RELEASE, one member at a time */
    unsigned writing : 2;    /* volatile: the one durable change under way (R3) */
    unsigned what : 4;       /* volatile: its ballot or place */
    unsigned stamp : 3;      /* volatile: when the ACCEPT that is being written was sent */
    unsigned told : 3        /* for checking only: the highest ballot that an answer promised */
}

typedef ballot_state {
    unsigned prepare : 1; /* PREPARE was sent */
    unsigned freeze : 1;  /* LOG_FREEZE may have been sent: a majority had promised */
    unsigned release : 1; /* RELEASE was sent */
    unsigned counts : 1;  /* answers still count: neither released nor from before a restart (R4, R5) */
    unsigned sent : 4;    /* per version: 0, or 1 + the stamp of the newest ACCEPT or RENEW */
    unsigned acked : 6;   /* per voter: the stamp that its newest answer echoed */
    unsigned took : 6;    /* per version: the voters that accepted it; all three stand for chosen */
    unsigned epoch : 3;   /* of the record; 0 while nothing is proposed */
    unsigned parent : 4   /* for checking only: the place that the record was derived from */
}

typedef candidate_state {
    unsigned preparing : 3; /* the ballot of the attempt, or 0 */
    unsigned ballot : 3;    /* the ballot that it last proposed and still uses, or 0 */
    unsigned version : 1;   /* the version that it last proposed under it */
    unsigned until : 3;     /* stamp of the deadline, 0 is past: the copy may be writable before it */
    unsigned promises : 12  /* per voter: 0, or 1 + the place that its promise for the attempt carried */
}

voter_state voter[3];
ballot_state ballots[BALLOTS + 1];
candidate_state cand[2];
unsigned now : 3 = 1;

/* Scratch, 0 between any two steps. (spin cannot search breadth first with hidden variables.) */
byte i, j;
unsigned x : 4;
unsigned y : 4;
unsigned q : 4;
unsigned s : 4;
unsigned a0 : 3;
unsigned a1 : 3;
unsigned a2 : 3;
#define CLEAN i = 0; j = 0; x = 0; y = 0; q = 0; s = 0; a0 = 0; a1 = 0; a2 = 0

#define MIN(m, n) ((m) < (n) -> (m) : (n))
#define MAX(m, n) ((m) > (n) -> (m) : (n))
#define GET(field, n, bits) (((field) >> ((n) * (bits))) & ((1 << (bits)) - 1))
#define PUT(field, n, bits, value) \
    field = (field & ~(((1 << (bits)) - 1) << ((n) * (bits)))) | ((value) << ((n) * (bits)))

#define SENT(b, v) GET(ballots[b].sent, v, 2)
#define ACKED(b, w) GET(ballots[b].acked, w, 2)
#define TOOK(b, v) GET(ballots[b].took, v, 3)
#define GOT(c, w) GET(cand[c].promises, w, 4)
#define CHOSEN(b, v) (TOOK(b, v) == 7)
#define IS_CHOSEN(b) (CHOSEN(b, 0) || CHOSEN(b, 1))
#define ALL_PROMISED(b) \
    (voter[0].promised >= (b) && voter[1].promised >= (b) && voter[2].promised >= (b))
#define IS_RELEASED(w, b) (OWNER(voter[w].released) == OWNER(b) && (b) <= voter[w].released)

#ifdef DELAYS
#define SENT_NOW (now + 1)
#define STAMP_OF(b, v) (SENT(b, v) - 1)
#else
#define SENT_NOW 1
#define STAMP_OF(b, v) (ballots[b].counts -> now : 0)
#endif

/* A mutant has to be found by what it leads to (two holders at once, a record lost), so the assertions
 * about how that comes are off for mutants. */
#ifdef MUTANT
#define inner_assert(p) skip
#else
#define inner_assert(p) assert(p)
#endif

/* The margin puts the deadline before the end of the voters' leases; without it the holder still
 * believes when the fastest voter's lease has gone. */
#ifdef NO_DRIFT_MARGIN
#define LATE_BELIEF 1
#else
#define LATE_BELIEF 0
#endif

#ifdef NO_QUARANTINE
#define QUARANTINED(w, c) 0
#else
#define QUARANTINED(w, c) (voter[w].quarantine > 0 && HOLDER(voter[w].accepted) != (c))
#endif

#ifdef IGNORE_LEASE
#define LEASED(w, c) 0
#else
#define LEASED(w, c) (voter[w].lease > 0 && HOLDER(voter[w].accepted) != (c))
#endif

/* The table of the design for PREPARE: refused while a lease of another member is live, in quarantine
 * unless the sender is the accepted holder, and at or below the promised ballot. While something is
 * being written it waits (R3). */
#define MAY_PROMISE(w, b) \
    (voter[w].writing == NOTHING && (b) > voter[w].promised && !LEASED(w, OWNER(b)) && \
     !QUARANTINED(w, OWNER(b)))

/* For the checks that need to see one thing before another. */
#ifdef REACH
unsigned mark : 2;
#define MARK(m) mark = m
#define never(p) assert(!(p))
#else
#define MARK(m) skip
#define never(p) skip
#endif

/* Holders of lower ballots than b must be past their deadline. One with a higher ballot may hold: then
 * b came too late and will get no majority. */
inline older_holder_is_past(b)
{
    q = 0;
    for (j : 1 .. BALLOTS) {
        if
        :: j > b && OWNER(j) != OWNER(b) && ballots[j].epoch != 0 -> q = 1
        :: else
        fi
    }
    inner_assert(q == 1 || cand[OTHER(OWNER(b))].until == 0) /* one holder */
}

/* The answer of voter w, which echoes a transmission of stamp st, reaches the proposer of ballot b. The
 * deadline counts from the q-th newest sending that was answered, the own vote included; with three
 * voters that is the middle one. It never moves back. Answers to a released ballot (R5) or to one from
 * before a restart (R4) count for nothing. A deadline that had already passed stays 0 (R2). */
inline count_answer(w, b, st)
{
    if
    :: ballots[b].counts ->
        if
        :: st > ACKED(b, w) -> PUT(ballots[b].acked, w, 2, st)
        :: else
        fi;
        a0 = ACKED(b, 0);
        a1 = ACKED(b, 1);
        a2 = ACKED(b, 2);
        q = MAX(MIN(a0, a1), MIN(MAX(a0, a1), a2));
        if
        :: q > 0 && q + LATE_BELIEF > cand[OWNER(b)].until ->
            cand[OWNER(b)].until = q + LATE_BELIEF;
            assert(cand[OTHER(OWNER(b))].until == 0); /* one holder */
            for (j : 1 .. BALLOTS) {
                inner_assert(!(j > b && OWNER(j) != OWNER(b) && ballots[j].epoch != 0)) /* one holder */
            }
#ifdef REACH_HOLDER_AFTER_VOTER_RESTART
            never(mark == 1 + OTHER(OWNER(b)));
#endif
#ifdef REACH_TAKEOVER_AFTER_RELEASE
            never(mark == 1 + OTHER(OWNER(b)));
#endif
#ifdef REACH_HIGHER_BALLOT_WITHOUT_PAUSE
            never(mark == 1 + OWNER(b) && b == cand[OWNER(b)].ballot);
#endif
#ifdef REACH_RESTARTED_HOLDER_IS_BACK
            never(mark == 1 + OWNER(b));
#endif
#ifdef REACH_THIRD_EPOCH
            never(ballots[b].epoch >= 3);
#endif
        :: else
        fi
    :: else
    fi
}

/* Drops what cannot change anything any more, so that fewer states differ. A promised ballot never
 * decreases, so a PREPARE or LOG_FREEZE at or below all of them is refused for ever, and so is an
 * ACCEPT or RENEW below all of them; an unchosen record of such a ballot stays unchosen. A RELEASE
 * below them only matters while a lease of its sender is left that it would drop. */
inline forget()
{
    for (j : 1 .. BALLOTS) {
        if
        :: ALL_PROMISED(j) ->
            ballots[j].freeze = 0;
            if
            :: cand[OWNER(j)].preparing != j || ALL_PROMISED(j + 1) -> ballots[j].prepare = 0
            :: else
            fi
        :: else
        fi;
        if
        :: ALL_PROMISED(j + 1) ->
            ballots[j].sent = 0;
            ballots[j].acked = 0;
            ballots[j].counts = 0;
            if
            :: cand[OWNER(j)].ballot == j -> cand[OWNER(j)].ballot = 0; cand[OWNER(j)].version = 0
            :: else
            fi;
            if
            :: !IS_CHOSEN(j) ->
                ballots[j].took = 0;
                if
                :: BALLOT(voter[0].accepted) != j && BALLOT(voter[1].accepted) != j &&
                   BALLOT(voter[2].accepted) != j && cand[0].promises == 0 && cand[1].promises == 0 ->
                    ballots[j].epoch = 0;
                    ballots[j].parent = 0
                :: else
                fi
            :: else
            fi;
            q = 0;
            for (i : 0 .. 2) {
                if
                :: voter[i].lease > 0 && HOLDER(voter[i].accepted) == OWNER(j) &&
                   BALLOT(voter[i].accepted) <= j -> q = 1
                :: else
                fi
            }
            if
            :: q == 0 -> ballots[j].release = 0
            :: else
            fi
        :: else
        fi
    }
    for (i : 0 .. 2) {
        if
        :: voter[i].released < voter[i].promised -> voter[i].released = 0
        :: else
        fi
    }
}

/* Voter w answers PREPARE b with what it has accepted. The answer to an attempt that was given up is
 * lost. The own voter is the first to answer, and PREPARE leaves only then (R4); with the second
 * promise there is a majority, and LOG_FREEZE may leave. */
inline answer_promise(w, b)
{
    voter[w].told = b;
    if
    :: cand[OWNER(b)].preparing == b ->
        PUT(cand[OWNER(b)].promises, w, 4, 1 + voter[w].accepted);
        if
        :: w == OWNER(b) -> ballots[b].prepare = 1
        :: else ->
            ballots[b].freeze = 1;
            older_holder_is_past(b)
        fi
    :: else
    fi
}

/* Voter w begins to write the promise of ballot b. */
inline write_promise(w, b)
{
#ifdef WRITES
    voter[w].writing = PROMISE;
    voter[w].what = b;
#ifdef ANSWER_BEFORE_PERSIST
    answer_promise(w, b);
#endif
#else
    voter[w].promised = b;
    answer_promise(w, b);
    forget();
#endif
}

/* The promise is on disk; only now is it answered. */
inline end_promise(w)
{
    d_step {
        voter[w].writing == PROMISE ->
        x = voter[w].what;
        voter[w].writing = NOTHING;
        voter[w].what = 0;
        if
        :: x >= FROZEN ->
            voter[w].promised = x - FROZEN;
            voter[w].told = x - FROZEN
        :: else ->
            inner_assert(!(voter[w].lease > 0 && HOLDER(voter[w].accepted) != OWNER(x))); /* lease kept */
            voter[w].promised = x;
            answer_promise(w, x)
        fi;
        forget();
        printf("voter %d: the promise of ballot %d is on disk\n", w, voter[w].promised);
        CLEAN
    }
}

/* Candidate c begins an attempt with a ballot of its own above its own voter's promise. Its own voter is
 * asked first (R4) and follows the same rules as any other. Which ballots are used after a restart
 * follows from the durable promise: none of before (R4). */
inline start_attempt(c, b)
{
    d_step {
        MAY_PROMISE(c, b) ->
        cand[c].preparing = b;
#ifdef NOTHING_OWN_FIRST
        ballots[b].prepare = 1;
#else
        cand[c].promises = 0;
        write_promise(c, b);
#endif
        printf("candidate %d: begins an attempt with ballot %d\n", c, b);
        CLEAN
    }
}

inline on_prepare(w, b)
{
    d_step {
#ifndef NOTHING_OWN_FIRST
        w != OWNER(b) &&
#endif
        ballots[b].prepare && MAY_PROMISE(w, b) ->
        write_promise(w, b);
        printf("voter %d: receives PREPARE %d and promises\n", w, b);
        CLEAN
    }
}

/* A voter may answer the PREPARE that it has promised already again, also when it was a LOG_FREEZE that
 * made it promise, as long as it accepted nothing under that ballot. */
inline on_prepare_again(w, b)
{
    d_step {
        w != OWNER(b) && ballots[b].prepare && voter[w].writing == NOTHING && voter[w].promised == b &&
        BALLOT(voter[w].accepted) < b && cand[OWNER(b)].preparing == b && GOT(OWNER(b), w) == 0 ->
        answer_promise(w, b);
        printf("voter %d: answers PREPARE %d again\n", w, b);
        CLEAN
    }
}

/* LOG_FREEZE comes after a majority of promises, so it looks at no lease; it raises the promise and is
 * not counted as an answer to PREPARE. Only db members get it. */
inline on_freeze(w, b)
{
    d_step {
        w != OWNER(b) && ballots[b].freeze && voter[w].writing == NOTHING && b > voter[w].promised ->
#ifdef WRITES
        voter[w].writing = PROMISE;
        voter[w].what = b + FROZEN;
#else
        voter[w].promised = b;
        voter[w].told = b;
        forget();
#endif
        printf("voter %d: receives LOG_FREEZE %d and promises\n", w, b);
        CLEAN
    }
}

/* Place p is durably accepted by voter w, and answered; st is when the answered ACCEPT was sent. The own
 * voter is the first, and ACCEPT leaves only then (R4). */
inline note_acceptance(w, p, st)
{
    y = BALLOT(p);
    inner_assert(y >= voter[w].promised); /* promise kept */
    voter[w].promised = y;
    voter[w].told = y;
    voter[w].accepted = p;
    if
    :: w == OWNER(y) && cand[w % 2].ballot == y && SENT(y, VERSION(p)) == 0 ->
        PUT(ballots[y].sent, VERSION(p), 2, SENT_NOW)
    :: else
    fi;
    q = TOOK(y, VERSION(p)) | (1 << w);
    if
    :: q == 3 || q == 5 || q == 6 ->
        q = 7;
        for (j : 1 .. BALLOTS) {
            assert(!(j > y && ballots[j].epoch != 0 && ballots[j].parent < p)); /* never lost */
            assert(!(j != y && IS_CHOSEN(j) && OWNER(j) != OWNER(y) &&
                     ballots[j].epoch == ballots[y].epoch)); /* one epoch */
            assert(!(j > y && IS_CHOSEN(j) && ballots[j].epoch < ballots[y].epoch)); /* one epoch */
            assert(!(j < y && IS_CHOSEN(j) && ballots[j].epoch > ballots[y].epoch)) /* one epoch */
        }
        /* The initial record is chosen and has epoch 1. */
        assert(ballots[y].epoch > 1 || OWNER(y) == OWNER(0)); /* one epoch */
#ifdef REACH_EPOCH_SKIPPED
        j = ballots[y].parent;
        never(ballots[y].epoch == 3 && ballots[BALLOT(j)].epoch == 2 && !CHOSEN(BALLOT(j), VERSION(j)) &&
              BALLOT(ballots[BALLOT(j)].parent) == 0);
#endif
        /* Lower chosen records are not needed from here on: whatever is proposed later is checked to
         * derive from this one, which was checked to derive from them. No majority is left under
         * their ballots. */
        for (j : 1 .. BALLOTS) {
            if
            :: j < y -> ballots[j].took = 0
            :: else
            fi
        }
        PUT(ballots[y].took, VERSION(p), 3, q);
        count_answer(w, y, st);
#ifdef REACH_CHOSEN_WITHOUT_LEASE
        never(ballots[y].counts && cand[OWNER(y)].until == 0);
#endif
    :: else ->
        PUT(ballots[y].took, VERSION(p), 3, q);
        count_answer(w, y, st)
    fi;
    forget()
}

/* Voter w begins to write the acceptance of place p, which was received `late` instants ago and sent
 * with stamp st. The lease counts from the receipt and replaces that of another holder, but a lease of
 * the same holder never gets shorter: a RENEW that was answered since still stands. */
inline write_acceptance(w, p, st, late)
{
#ifdef WRITES
    voter[w].writing = ACCEPTANCE;
    voter[w].what = p;
    voter[w].stamp = st;
    voter[w].lease = now;
#else
    voter[w].lease = MAX(now - late, (HOLDER(voter[w].accepted) == HOLDER(p) -> voter[w].lease : 0));
    st = (st > late -> st - late : 0);
    note_acceptance(w, p, st);
#endif
}

inline end_acceptance(w)
{
    d_step {
        voter[w].writing == ACCEPTANCE ->
        x = voter[w].what;
        s = voter[w].stamp;
        voter[w].writing = NOTHING;
        voter[w].what = 0;
        voter[w].stamp = 0;
#ifdef ACCEPT_SHORTENS_LEASE
        voter[w].lease = s;
#endif
        note_acceptance(w, x, s);
        printf("voter %d: the acceptance of ballot %d version %d is on disk\n", w, BALLOT(voter[w].accepted),
               VERSION(voter[w].accepted));
        CLEAN
    }
}

/* Candidate c has its own promise and that of voter `with`, and of `also` unless that is its own again.
 * It adopts the record with the highest place and derives its own: the same epoch if it is the holder
 * there, else the next. Its own voter accepts first. */
inline propose(c, with, also, late)
{
    d_step {
        late <= now && cand[c].preparing != 0 && GOT(c, with) != 0 && GOT(c, also) != 0 &&
#ifdef NOTHING_OWN_FIRST
        true ->
        x = MAX(GOT(c, with), GOT(c, also)) - 1;
#else
        GOT(c, c) != 0 && voter[c].writing == NOTHING && voter[c].promised == cand[c].preparing ->
#ifdef ADOPT_OLDER
        x = MIN(GOT(c, c), MIN(GOT(c, with), GOT(c, also))) - 1;
#else
        x = MAX(GOT(c, c), MAX(GOT(c, with), GOT(c, also))) - 1;
#endif
#endif
        y = cand[c].preparing;
        older_holder_is_past(y);
#ifdef REACH_MINORITY_RECORD_ADOPTED
        never(BALLOT(x) != 0 && !CHOSEN(BALLOT(x), VERSION(x)));
#endif
#ifdef REACH_SECOND_VERSION_ADOPTED
        never(VERSION(x) == 1 && CHOSEN(BALLOT(x), 1) && HOLDER(x) != c);
#endif
#ifdef REACH_HIGHER_BALLOT_WITHOUT_PAUSE
        MARK((cand[c].until > 0 -> 1 + c : 0));
#endif
        s = (BALLOT(x) == 0 -> 1 : ballots[BALLOT(x)].epoch) + (HOLDER(x) == c -> 0 : 1);
        assert(ballots[y].epoch == 0 || (ballots[y].epoch == s && ballots[y].parent == x)); /* one record */
        for (j : 1 .. BALLOTS) {
            assert(!(j < y && CHOSEN(j, 0) && x < PLACE(j, 0))); /* never lost */
            assert(!(j < y && CHOSEN(j, 1) && x < PLACE(j, 1))) /* never lost */
        }
        ballots[y].epoch = s;
        ballots[y].parent = x;
        ballots[y].counts = 1;
        cand[c].ballot = y;
        cand[c].version = 0;
        cand[c].preparing = 0;
#ifdef NOTHING_OWN_FIRST
        PUT(ballots[y].sent, 0, 2, SENT_NOW);
#else
        cand[c].promises = 0;
        x = PLACE(y, 0);
        s = now;
        write_acceptance(c, x, s, late);
#endif
        printf("candidate %d: proposes ballot %d, epoch %d, begun %d instants ago\n", c,
               cand[c].ballot, ballots[cand[c].ballot].epoch, late);
        CLEAN
    }
}

/* A holder whose record is chosen changes it: the same ballot, the next version, one at a time. */
inline next_version(c, late)
{
    d_step {
        late <= now && cand[c].ballot != 0 && cand[c].version == 0 && CHOSEN(cand[c].ballot, 0) &&
        voter[c].writing == NOTHING && voter[c].promised <= cand[c].ballot &&
        voter[c].accepted == PLACE(cand[c].ballot, 0) && !IS_RELEASED(c, cand[c].ballot) ->
        cand[c].version = 1;
        x = PLACE(cand[c].ballot, 1);
        s = now;
        write_acceptance(c, x, s, late);
        printf("candidate %d: proposes the next version under ballot %d, begun %d instants ago\n", c,
               cand[c].ballot, late);
        CLEAN
    }
}

/* ACCEPT reaches another voter than the proposer's. It looks at no lease: a majority has promised the
 * ballot, so whoever had a lease here is past its deadline. */
inline on_accept(w, b, v, late)
{
    d_step {
#ifndef NOTHING_OWN_FIRST
        w != OWNER(b) &&
#endif
        late <= now && SENT(b, v) != 0 && voter[w].writing == NOTHING &&
#ifndef ACCEPT_BELOW_PROMISED
        b >= voter[w].promised &&
#endif
        PLACE(b, v) > voter[w].accepted && !IS_RELEASED(w, b) ->
#ifdef REACH_ACCEPT_REPLACES_LIVE_LEASE
        never(voter[w].lease > 0 && HOLDER(voter[w].accepted) != OWNER(b));
#endif
        x = PLACE(b, v);
        s = STAMP_OF(b, v);
        write_acceptance(w, x, s, late);
        printf("voter %d: receives ACCEPT of ballot %d version %d, %d instants ago\n", w, b, v, late);
        CLEAN
    }
}

/* RENEW of the accepted ballot and version, or its ACCEPT once more: the lease is extended and the seq,
 * here the stamp, is echoed. Nothing is written. It waits while something is written, except for an
 * acceptance of the same holder (R3). */
#ifdef RENEW_DURING_PREPARE_WRITE
#define RENEW_WAITS(w, b) (voter[w].writing == ACCEPTANCE && HOLDER(voter[w].what) != OWNER(b))
#else
#define RENEW_WAITS(w, b) \
    (voter[w].writing == PROMISE || (voter[w].writing == ACCEPTANCE && HOLDER(voter[w].what) != OWNER(b)))
#endif
inline on_renew(w, b, v)
{
    d_step {
        SENT(b, v) != 0 && PLACE(b, v) == voter[w].accepted && !IS_RELEASED(w, b) &&
#ifndef RENEW_BELOW_PROMISED
        b >= voter[w].promised &&
#endif
        !RENEW_WAITS(w, b) && (voter[w].lease < now || STAMP_OF(b, v) > ACKED(b, w)) ->
#ifndef ANSWER_WITHOUT_LEASE
        voter[w].lease = now;
#endif
        s = STAMP_OF(b, v);
        count_answer(w, b, s);
        printf("voter %d: receives RENEW of ballot %d version %d\n", w, b, v);
        CLEAN
    }
}

#ifdef DELAYS
/* A transmission of its own, with its own sending time (R2): a RENEW, or the ACCEPT again. */
inline transmit(c, v)
{
    d_step {
        cand[c].ballot != 0 && SENT(cand[c].ballot, v) != 0 && SENT(cand[c].ballot, v) < SENT_NOW ->
        PUT(ballots[cand[c].ballot].sent, v, 2, SENT_NOW);
        printf("candidate %d: sends ballot %d version %d again\n", c, cand[c].ballot, v);
        CLEAN
    }
}
#endif

/* The deadline is in the past before RELEASE leaves, and neither the ballot nor one below it is used or
 * counted again (R5). */
inline send_release(c)
{
    d_step {
        cand[c].ballot != 0 && SENT(cand[c].ballot, 0) != 0 && !ballots[cand[c].ballot].release ->
        y = cand[c].ballot;
#ifdef REACH_TAKEOVER_AFTER_RELEASE
        MARK((cand[c].until > 0 -> 1 + c : mark));
#endif
        ballots[y].release = 1;
        cand[c].until = 0;
#ifndef REUSE_BALLOT_AFTER_RELEASE
        cand[c].ballot = 0;
        cand[c].version = 0;
#ifndef COUNT_AFTER_RELEASE
        for (j : 1 .. BALLOTS) {
            if
            :: OWNER(j) == c && j <= y -> ballots[j].counts = 0; ballots[j].acked = 0
            :: else
            fi
        }
#endif
#endif
        printf("candidate %d: sends RELEASE %d\n", c, y);
        CLEAN
    }
}

/* Every lease of the sender up to that ballot is dropped, and its RENEW and ACCEPT are refused from then
 * on. The quarantine stays. */
inline on_release(w, b)
{
    d_step {
        ballots[b].release && voter[w].writing == NOTHING &&
        ((voter[w].lease > 0 && HOLDER(voter[w].accepted) == OWNER(b) && BALLOT(voter[w].accepted) <= b) ||
         (voter[w].promised <= b && !IS_RELEASED(w, b))) ->
        if
        :: HOLDER(voter[w].accepted) == OWNER(b) && BALLOT(voter[w].accepted) <= b -> voter[w].lease = 0
        :: else
        fi;
        if
        :: voter[w].promised <= b && !IS_RELEASED(w, b) -> voter[w].released = b
        :: else
        fi;
        forget();
        printf("voter %d: receives RELEASE %d\n", w, b);
        CLEAN
    }
}

/* Member m stops and starts again, with its durable state. Its voter forgets the lease, what was
 * released and what was being written, and enters quarantine. Its candidate forgets its attempt and its
 * ballots; no answer to them counts any more (R4). The deadline stays: the fence helper and the database
 * outlive hamgrd, and keep to what was counted before. */
inline restart(m)
{
    d_step {
        voter[m].writing != NOTHING || voter[m].lease > 0 || voter[m].released > 0 ||
        voter[m].quarantine < now || (m < 2 && (cand[m % 2].ballot != 0 || cand[m % 2].preparing != 0)) ->
        inner_assert(voter[m].promised >= voter[m].told); /* promise kept */
#ifdef REACH_HOLDER_AFTER_VOTER_RESTART
        MARK((voter[m].lease > 0 && cand[HOLDER(voter[m].accepted)].until > 0
              -> 1 + HOLDER(voter[m].accepted) : mark));
#endif
        voter[m].writing = NOTHING;
        voter[m].what = 0;
        voter[m].stamp = 0;
        voter[m].lease = 0;
        voter[m].released = 0;
        voter[m].quarantine = now;
        if
        :: m < 2 ->
#ifdef REACH_RESTARTED_HOLDER_IS_BACK
            MARK((cand[m % 2].until > 0 -> 1 + m : mark));
#endif
            cand[m % 2].preparing = 0;
#ifdef CONTINUE_AFTER_RESTART
            if
            :: HOLDER(voter[m].accepted) == m && voter[m].accepted > 1 ->
                cand[m % 2].ballot = BALLOT(voter[m].accepted);
                cand[m % 2].version = VERSION(voter[m].accepted);
                ballots[BALLOT(voter[m].accepted)].counts = 1
            :: else
            fi
#else
            cand[m % 2].ballot = 0;
            cand[m % 2].version = 0;
#ifndef NOTHING_OWN_FIRST
            cand[m % 2].promises = 0;
#endif
            for (j : 1 .. BALLOTS) {
                if
                :: OWNER(j) == m -> ballots[j].counts = 0; ballots[j].acked = 0
                :: else
                fi
            }
#endif
        :: else
        fi;
        forget();
        printf("member %d: restarts\n", m);
        CLEAN
    }
}

/* What happens from here on can be told apart from what happened before. Useful only if something has
 * the present stamp, and only as long as the bound allows. */
#define HAS_STAMP(w) \
    (voter[w].lease == now || voter[w].quarantine == now || voter[w].stamp == now)
#define HAS_ANSWER(b) (ACKED(b, 0) == now || ACKED(b, 1) == now || ACKED(b, 2) == now)
#ifdef DELAYS
#define BALLOT_STAMPED(b) (HAS_ANSWER(b) || SENT(b, 0) == SENT_NOW || SENT(b, 1) == SENT_NOW)
#else
#define BALLOT_STAMPED(b) HAS_ANSWER(b)
#endif
inline new_instant()
{
    d_step {
        now < INSTANTS &&
        (HAS_STAMP(0) || HAS_STAMP(1) || HAS_STAMP(2) || cand[0].until == now || cand[1].until == now ||
         BALLOT_STAMPED(1) || BALLOT_STAMPED(2)
#if BALLOTS > 2
         || BALLOT_STAMPED(3)
#endif
#if BALLOTS > 3
         || BALLOT_STAMPED(4)
#endif
         ) ->
        now = now + 1;
        printf("time: a new instant\n")
    }
}

#define FALL(stamp) stamp = stamp - (stamp > 0)

/* The oldest instant is one ttl ago: deadlines counted from it pass, leases counted from it end. */
inline expire()
{
    d_step {
        now > 1 ->
        now = now - 1;
        for (i : 0 .. 2) {
            FALL(voter[i].lease);
            FALL(voter[i].quarantine);
            FALL(voter[i].stamp)
        }
        for (j : 1 .. BALLOTS) {
            for (i : 0 .. 2) {
                PUT(ballots[j].acked, i, 2, ACKED(j, i) - (ACKED(j, i) > 0))
            }
#ifdef DELAYS
            for (i : 0 .. 1) {
                PUT(ballots[j].sent, i, 2, SENT(j, i) - (SENT(j, i) > 1))
            }
#endif
        }
        FALL(cand[0].until);
        FALL(cand[1].until);
#ifdef REACH_TAKEOVER_AFTER_RELEASE
        MARK(0);
#endif
#ifdef REACH_RESTARTED_HOLDER_IS_BACK
        MARK(0);
#endif
#ifdef REACH_HIGHER_BALLOT_WITHOUT_PAUSE
        MARK((mark > 0 && cand[(mark - 1) % 2].until == 0 -> 0 : mark));
#endif
        forget();
        printf("time: the oldest instant expires\n");
        CLEAN
    }
}

#ifdef COUNT_FROM_ANSWER
/* A mutant: the answers of a majority arrive, late, and the deadline counts from their arrival. */
#define MISCOUNT(b) now
#endif
#ifdef COUNT_NEWEST_SENDING
/* A mutant: an answer is taken for one to the newest transmission, whatever it echoes. */
#define MISCOUNT(b) (SENT(b, 0) - 1)
#endif
#ifdef MISCOUNT
inline miscount(b)
{
    d_step {
        ballots[b].counts && CHOSEN(b, 0) && SENT(b, 0) > 0 && MISCOUNT(b) > cand[OWNER(b)].until ->
        cand[OWNER(b)].until = MISCOUNT(b);
        assert(cand[OTHER(OWNER(b))].until == 0); /* one holder */
        printf("candidate %d: late answers move its deadline\n", OWNER(b));
        CLEAN
    }
}
#endif

/* Every step that is possible, by number of voter, ballot, version and lateness. */
#ifdef WRITES
#define LATER(step)
#else
#define LATER(step) step
#endif
#if INSTANTS > 2
#define LATEST(step) LATER(step)
#else
#define LATEST(step)
#endif

#define ACCEPT_STEPS(w, b, v) \
    :: on_accept(w, b, v, 0) LATER(:: on_accept(w, b, v, 1)) LATER(:: on_accept(w, b, v, 2)) \
    LATEST(:: on_accept(w, b, v, 3)) \
    :: on_renew(w, b, v)
#if VERSIONS > 1
#define VERSION_STEPS(w, b) ACCEPT_STEPS(w, b, 0) ACCEPT_STEPS(w, b, 1)
#else
#define VERSION_STEPS(w, b) ACCEPT_STEPS(w, b, 0)
#endif
#define BALLOT_STEPS(w, b) \
    :: on_prepare(w, b) :: on_prepare_again(w, b) :: on_release(w, b) VERSION_STEPS(w, b)

#if BALLOTS > 3
#define VOTER_STEPS(w) BALLOT_STEPS(w, 1) BALLOT_STEPS(w, 2) BALLOT_STEPS(w, 3) BALLOT_STEPS(w, 4)
#elif BALLOTS > 2
#define VOTER_STEPS(w) BALLOT_STEPS(w, 1) BALLOT_STEPS(w, 2) BALLOT_STEPS(w, 3)
#else
#define VOTER_STEPS(w) BALLOT_STEPS(w, 1) BALLOT_STEPS(w, 2)
#endif

active proctype voters()
{
end:
    do
    VOTER_STEPS(0)
    VOTER_STEPS(1)
    VOTER_STEPS(WITNESS)
    :: on_freeze(0, 2)
    :: on_freeze(1, 1)
#if BALLOTS > 2
    :: on_freeze(1, 3)
#endif
#if BALLOTS > 3
    :: on_freeze(0, 4)
#endif
#ifdef WRITES
    :: end_promise(0)
    :: end_promise(1)
    :: end_promise(WITNESS)
    :: end_acceptance(0)
    :: end_acceptance(1)
    :: end_acceptance(WITNESS)
#endif
    od
}

#define PROPOSE_STEPS(c, with, also) \
    :: propose(c, with, also, 0) LATER(:: propose(c, with, also, 1)) LATER(:: propose(c, with, also, 2)) \
    LATEST(:: propose(c, with, also, 3))

#define VERSION_STEP(c) \
    :: next_version(c, 0) LATER(:: next_version(c, 1)) LATER(:: next_version(c, 2)) LATEST(:: next_version(c, 3))

active proctype candidates()
{
end:
    do
    :: start_attempt(0, 1)
    :: start_attempt(1, 2)
#if BALLOTS > 2
    :: start_attempt(0, 3)
#endif
#if BALLOTS > 3
    :: start_attempt(1, 4)
#endif
    PROPOSE_STEPS(0, 1, 0)
    PROPOSE_STEPS(0, WITNESS, 0)
    PROPOSE_STEPS(0, 1, WITNESS)
    PROPOSE_STEPS(1, 0, 1)
    PROPOSE_STEPS(1, WITNESS, 1)
    PROPOSE_STEPS(1, 0, WITNESS)
#if VERSIONS > 1
    VERSION_STEP(0)
    VERSION_STEP(1)
#endif
#ifdef DELAYS
    :: transmit(0, 0)
    :: transmit(1, 0)
#if VERSIONS > 1
    :: transmit(0, 1)
    :: transmit(1, 1)
#endif
#endif
    :: send_release(0)
    :: send_release(1)
#ifdef MISCOUNT
    :: miscount(1)
    :: miscount(2)
#endif
    od
}

active proctype world()
{
end:
    do
    :: new_instant()
    :: expire()
    :: restart(0)
    :: restart(1)
    :: restart(WITNESS)
    od
}
