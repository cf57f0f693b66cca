/* info.h - what INFO says, as plain data. Pure: text in, struct out. */
#ifndef HAMGR_REDIS_INFO_H
#define HAMGR_REDIS_INFO_H

#include "base/base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { INFO_ID_SIZE = 41, INFO_REPLICAS_MAX = 2 * HM_MEMBERS_MAX };

struct info_replica {
    char address[64];
    uint16_t port;
    bool is_online;  /* it has had all data; else a full resynchronisation is under way */
    uint64_t offset; /* that it confirmed last */
};

struct info {
    char version[24];          /* of Redis; what Valkey says to be compatible with */
    char valkey[24];           /* Valkey's own; "": it is Redis */
    char run_id[INFO_ID_SIZE]; /* another one with every start of the server */
    pid_t pid;
    uint16_t port;
    bool is_master;
    bool is_loading;
    bool is_syncing; /* a replica that takes all data anew */
    uint64_t synced; /* bytes of them so far; 0 before Redis 7 */
    bool is_linked;  /* a replica whose master streams to it */
    char master_host[128];
    uint16_t master_port;
    char replication_id[INFO_ID_SIZE];
    char second_id[INFO_ID_SIZE]; /* "000...": none */
    int64_t second_offset;        /* up to which that one is its history; -1: none */
    uint64_t master_offset;       /* master_repl_offset */
    uint64_t replica_offset;      /* slave_repl_offset: applied; master_offset of a master */
    bool is_save_ok;              /* the last snapshot */
    bool is_append_ok;            /* the last write to the AOF, or there is none */
    bool is_memory_full;          /* writes that need more are refused (OOM) */
    size_t replicas_n;
    struct info_replica replica[INFO_REPLICAS_MAX];
};

/* Reads the sections memory, persistence, replication, server, in any order. False: something hamgr
 * needs is missing, and *ret_why names it (a constant string). Unknown lines are skipped, also very
 * long ones; replicas that do not fit are left out. */
bool info_parse(const char *text, size_t size, struct info *ret, const char **ret_why);
/* The data is what replication_id and master_offset say. Not while it loads; nor when a full
 * resynchronisation emptied it and did not end: then it remembers no master that it could go on
 * from, and slave_repl_offset is not what it was (1 in 6.2 and 7.0). Before the old data is
 * flushed, while the new one is only received, it still is what it was. */
bool info_is_whole(const struct info *info);
/* Stands for a replication id in records: never 0, HM_TIMELINE_OPEN is clear. */
uint64_t info_timeline(const char *replication_id);
/* Stands for a run of the server and, when it took all data anew `times` times since, for that. */
uint64_t info_copy_id(const char *run_id, uint64_t times);

#endif
