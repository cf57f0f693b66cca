/* prng.h - seeded random numbers for jitter and for the simulator.
 *
 * The same seed always gives the same numbers, on every machine. Never for keys or anything that
 * somebody must not guess. The state belongs to the caller; there is none in here. */

#ifndef HAMGR_BASE_PRNG_H
#define HAMGR_BASE_PRNG_H

#include "base/base.h"

struct prng {
    uint64_t word[4]; /* xoshiro256**; never all zero after prng_seed() */
};

/* Starts the sequence that belongs to seed; every seed is good, 0 too. */
void prng_seed(struct prng *p, uint64_t seed);

/* The next 64 random bits. */
uint64_t prng_next(struct prng *p);

/* A number from 0 to n - 1, each equally likely. n must not be 0: a bug in the caller. */
uint64_t prng_below(struct prng *p, uint64_t n);

/* A number from lo to hi, both included. lo > hi is a bug in the caller. */
int64_t prng_between(struct prng *p, int64_t lo, int64_t hi);

/* True num times out of den: never for num 0, always for num >= den. den must not be 0: a bug in
 * the caller. */
bool prng_chance(struct prng *p, uint64_t num, uint64_t den);

#endif
