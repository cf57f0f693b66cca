/* bytes.h - numbers as bytes in the order of networks: the high one first. */
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

#endif
