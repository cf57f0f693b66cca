/* lost.h - what a stretch of diverged log held: transactions and tables, read from what pg_waldump
 * prints, and the summary of it as text and JSON.
 *
 * Nothing here touches a server or a data directory. Long lists have limits; what is left out is
 * counted. */
#ifndef HAMGR_POSTGRES_LOST_H
#define HAMGR_POSTGRES_LOST_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    LOST_COMMITS_MAX = 10000, /* that are listed one by one */
    LOST_TABLES_MAX = 512,
    LOST_DATABASES_MAX = 16,
    LOST_XIDS = 1 << 16,               /* places for transaction numbers; a power of two ... */
    LOST_XIDS_MAX = LOST_XIDS / 4 * 3, /* ... that are taken: a fuller table is slow to look into */
    LOST_ID_MAX = 80,
    LOST_WHY_MAX = 200,
};

struct lost_commit {
    uint32_t xid;
    uint64_t at; /* of its commit record */
    char time[40];
};

struct lost_table {
    uint32_t database, file; /* relfilenode; database 0: shared by all */
    char name[132];          /* SCHEMA.NAME; empty: not resolved */
    uint64_t inserted, updated, deleted;
};

struct lost_database {
    uint32_t oid;
    char name[64];
};

struct lost {
    char id[LOST_ID_MAX];
    char service[64], member[64], made[32]; /* made: when, for people */
    uint64_t system_id, timeline, from, upto;
    uint64_t kept_bytes;    /* of log files that are kept; 0: none */
    uint32_t segment_bytes; /* of a file of the log; 0: not known */
    char why[LOST_WHY_MAX]; /* what is missing in this summary or beside it; empty: nothing */
    uint64_t records, committed, aborted, unfinished;
    char first[40], last[40]; /* times of commit */
    unsigned int commits_n, tables_n, databases_n, xids_n;
    struct lost_commit commit[LOST_COMMITS_MAX];
    struct lost_table table[LOST_TABLES_MAX];
    struct lost_database database[LOST_DATABASES_MAX];
    bool is_full; /* a table or a transaction found no place */
    struct {
        uint32_t xid;
        bool has_ended;
    } xids[LOST_XIDS];
};

/* One line of pg_waldump; others are skipped. */
void lost_take_line(struct lost *l, const char *line);
/* All lines were taken: sorts the tables, and says in `why` if lists were too short. */
void lost_end(struct lost *l);

/* The two forms of the summary. False: it could not be written whole. */
bool lost_print_json(const struct lost *l, FILE *out);
bool lost_print_text(const struct lost *l, FILE *out);

#endif
