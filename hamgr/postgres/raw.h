/* raw.h - numbers in PostgreSQL's files: in the byte order of this machine, at any address. */
#ifndef HAMGR_POSTGRES_RAW_H
#define HAMGR_POSTGRES_RAW_H

#include <stdint.h>
#include <string.h>

static inline uint32_t raw_u32(const unsigned char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t raw_u64(const unsigned char *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

#endif
