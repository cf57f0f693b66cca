/* made_log.h - write-ahead logs made by hand: pages, records with their checksums, segments of the
 * smallest size. What real servers write is in tests/pg. */
#ifndef TESTS_UNIT_MADE_LOG_H
#define TESTS_UNIT_MADE_LOG_H

#include "postgres/crc.h"
#include "postgres/wal_copy.h"
#include "tests/cm.h"

#include <stdlib.h>
#include <string.h>

enum { LOG_SEGMENT = 1 << 20, LOG_PAGE = 8192, LOG_SEGMENTS = 4, LOG_BYTES = 4 << 20 };
enum { LOG_BASE = 7 * LOG_SEGMENT }; /* where the first segment begins */
static const uint64_t log_system = 0x1122334455667788;

struct made_log {
    unsigned char bytes[LOG_BYTES];
    uint64_t end; /* of the last record */
    uint64_t last;
    uint32_t timeline;
};

static inline void log_put(unsigned char *at, const void *value, size_t size)
{
    memcpy(at, value, size);
}

/* The header of the page at `at`; rest: bytes of a record that goes on here. */
static inline size_t log_page(struct made_log *l, uint64_t at, uint32_t rest)
{
    unsigned char *page = l->bytes + (at - LOG_BASE);
    bool is_long = at % LOG_SEGMENT == 0;
    uint16_t magic = 0xd110, flags = (uint16_t)((rest > 0 ? 1 : 0) | (is_long ? 2 : 0));
    uint32_t segment = LOG_SEGMENT, block = LOG_PAGE;

    log_put(page, &magic, 2);
    log_put(page + 2, &flags, 2);
    log_put(page + 4, &l->timeline, 4);
    log_put(page + 8, &at, 8);
    log_put(page + 16, &rest, 4);
    if (!is_long)
        return 24;
    log_put(page + 24, &log_system, 8);
    log_put(page + 32, &segment, 4);
    log_put(page + 36, &block, 4);
    return 40;
}

static inline void log_begin(struct made_log *l, uint32_t timeline)
{
    memset(l, 0, sizeof *l);
    l->timeline = timeline;
    l->end = LOG_BASE;
}

/* Appends a record with so much in it; returns where it begins. */
static inline uint64_t log_add(struct made_log *l, uint32_t data)
{
    uint32_t size = 24 + data, crc;
    unsigned char *record = calloc(1, size);
    uint64_t at = l->end, begin;
    size_t put = 0;

    assert_non_null(record);
    if (at % LOG_PAGE == 0)
        at += log_page(l, at, 0);
    begin = at;
    memset(record + 24, (int)(at >> 3 & 0xff) | 1, data);
    log_put(record, &size, 4);
    log_put(record + 8, &l->last, 8);
    record[17] = 10;
    crc = crc_32c(crc_32c(0, record + 24, data), record, 20);
    log_put(record + 20, &crc, 4);
    while (put < size) {
        size_t room, piece;

        if (at % LOG_PAGE == 0)
            at += log_page(l, at, size - (uint32_t)put);
        room = LOG_PAGE - at % LOG_PAGE;
        piece = room < size - put ? room : size - put;
        memcpy(l->bytes + (at - LOG_BASE), record + put, piece);
        put += piece;
        at += piece;
    }
    free(record);
    l->last = begin;
    l->end = (at + 7) & ~(uint64_t)7;
    assert_true(l->end < LOG_BASE + LOG_BYTES);
    return begin;
}

/* Until the log is at least so long. */
static inline void log_fill(struct made_log *l, uint64_t upto, uint32_t data)
{
    while (l->end < upto)
        (void)log_add(l, data);
}

#endif
