#include "postgres/crc.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* Castagnoli's, reflected */

static uint32_t table[8][256];
static pthread_once_t is_made = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (unsigned int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? POLYNOMIAL : 0);
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (unsigned int n = 1; n < 8; n++)
            table[n][i] = table[n - 1][i] >> 8 ^ table[0][table[n - 1][i] & 0xff];
}

#if defined(__x86_64__) && defined(__GNUC__)
/* Ten times as fast: how far a dead primary's log goes is waited for by everybody. */
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *bytes,
                                                                 size_t size)
{
    const unsigned char *at = bytes;
    uint64_t sum = ~crc;

    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word;

        memcpy(&word, at, sizeof word);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    for (; size > 0; size--, at++)
        sum = __builtin_ia32_crc32qi((uint32_t)sum, *at);
    return ~(uint32_t)sum;
}

static bool has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2") != 0;
}
#else
static uint32_t by_instruction(uint32_t crc, const void *bytes, size_t size)
{
    return crc_32c_by_table(crc, bytes, size);
}

static bool has_instruction(void)
{
    return false;
}
#endif

uint32_t crc_32c(uint32_t crc, const void *bytes, size_t size)
{
    return has_instruction() ? by_instruction(crc, bytes, size)
                             : crc_32c_by_table(crc, bytes, size);
}

/* Eight bytes at a time: byte k of them still has 7 - k bytes to pass. */
uint32_t crc_32c_by_table(uint32_t crc, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;

    (void)pthread_once(&is_made, make_tables);
    crc = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        uint32_t low = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                              (uint32_t)at[3] << 24);

        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^
              table[4][low >> 24] ^ table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^
              table[0][at[7]];
    }
    for (; size > 0; size--, at++)
        crc = crc >> 8 ^ table[0][(crc ^ *at) & 0xff];
    return ~crc;
}
