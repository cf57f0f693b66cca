#include "base/prng.h"

/* splitmix64: spreads a seed of few bits over the whole state. */
static uint64_t spread(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, unsigned int bits)
{
    return x << bits | x >> (64 - bits);
}

void prng_seed(struct prng *p, uint64_t seed)
{
    for (size_t i = 0; i < HM_ARRAY_LEN(p->word); i++)
        p->word[i] = spread(&seed);
}

uint64_t prng_next(struct prng *p)
{
    uint64_t *w = p->word;
    uint64_t result = rotate_left(w[1] * 5, 7) * 9;
    uint64_t shifted = w[1] << 17;

    w[2] ^= w[0];
    w[3] ^= w[1];
    w[1] ^= w[2];
    w[0] ^= w[3];
    w[2] ^= shifted;
    w[3] = rotate_left(w[3], 45);
    return result;
}

uint64_t prng_below(struct prng *p, uint64_t n)
{
    uint64_t surplus, number;

    HM_BUG_ON(n == 0);
    surplus = (0 - n) % n; /* 2^64 modulo n: so many of the smallest numbers are one too many */
    do
        number = prng_next(p);
    while (number < surplus);
    return number % n;
}

int64_t prng_between(struct prng *p, int64_t lo, int64_t hi)
{
    uint64_t span;

    HM_BUG_ON(lo > hi);
    span = (uint64_t)hi - (uint64_t)lo;
    if (span == UINT64_MAX)
        return (int64_t)prng_next(p);
    return (int64_t)((uint64_t)lo + prng_below(p, span + 1));
}

bool prng_chance(struct prng *p, uint64_t num, uint64_t den)
{
    HM_BUG_ON(den == 0);
    return prng_below(p, den) < num;
}
