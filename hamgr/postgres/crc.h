/* crc.h - the checksum of PostgreSQL's files: CRC-32C. */
#ifndef HAMGR_POSTGRES_CRC_H
#define HAMGR_POSTGRES_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from `crc`, which is 0 at the beginning. From any thread. */
uint32_t crc_32c(uint32_t crc, const void *bytes, size_t size);
/* The same without the processor's instruction for it, where there is one. */
uint32_t crc_32c_by_table(uint32_t crc, const void *bytes, size_t size);

#endif
