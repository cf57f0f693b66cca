/* bytes.h - numbers as bytes in the order of networks, the high one first; and what bytes sum up
 * to.
 */
#ifndef HAMGR_BASE_BYTES_H
#define HAMGR_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Writes the low n bytes of a number. */
static inline void bytes_put(uint8_t *to, size_t n, uint64_t number)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(number >> (8 * (n - 1 - i)));
}

/* Of n bytes, at most 8. */
static inline uint64_t bytes_get(const uint8_t *from, size_t n)
{
    uint64_t number = 0;

    for (size_t i = 0; i < n; i++)
        number = number << 8 | from[i];
    return number;
}

/* FNV-1a over 64 bits: a torn or edited text is found, and no more than that is promised. Sums
 * stand in files, so they must stay what they are. */
#define BYTES_SUM_BEGIN 0xcbf29ce484222325u

/* The sum goes on, over n more bytes. */
static inline uint64_t bytes_sum_on(uint64_t sum, const void *from, size_t n)
{
    const uint8_t *byte = (const uint8_t *)from;

    for (size_t i = 0; i < n; i++)
        sum = (sum ^ byte[i]) * 0x100000001b3u;
    return sum;
}

static inline uint64_t bytes_sum(const void *from, size_t n)
{
    return bytes_sum_on(BYTES_SUM_BEGIN, from, n);
}

#endif
