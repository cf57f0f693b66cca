#include "redis/info.h"

#include "base/bytes.h"
#include "core/record.h"

#include <string.h>

enum { VALUE_MAX = 192 }; /* of the values that hamgr reads; longer ones are of no use to it */

/* What must have been told, as bits. */
enum {
    HAS_VERSION = 1,
    HAS_RUN_ID = 2,
    HAS_PID = 4,
    HAS_ROLE = 8,
    HAS_ID = 16,
    HAS_OFFSET = 32,
    HAS_LOADING = 64,
    HAS_MASTER = 128,
    HAS_LINK = 256,
    HAS_REPLICA_OFFSET = 512,
};

static const struct need {
    unsigned int bit;
    bool is_of_replica; /* only */
    const char *why;
} needs[] = {
    /* clang-format off */
    { HAS_VERSION,        false, "INFO does not tell redis_version" },
    { HAS_RUN_ID,         false, "INFO does not tell run_id" },
    { HAS_PID,            false, "INFO does not tell process_id" },
    { HAS_ROLE,           false, "INFO does not tell role" },
    { HAS_ID,             false, "INFO does not tell master_replid" },
    { HAS_OFFSET,         false, "INFO does not tell master_repl_offset" },
    { HAS_LOADING,        false, "INFO does not tell loading" },
    { HAS_MASTER,         true,  "INFO does not tell master_host" },
    { HAS_LINK,           true,  "INFO does not tell master_link_status" },
    { HAS_REPLICA_OFFSET, true,  "INFO does not tell slave_repl_offset" },
    /* clang-format on */
};

/* --- values ---------------------------------------------------------------------------------- */

static bool is_text(const char *value, const char *text)
{
    return strcmp(value, text) == 0;
}

static bool take_u64(const char *value, uint64_t max, uint64_t *ret)
{
    uint64_t number = 0;

    if (*value == 0)
        return false;
    for (; *value != 0; value++) {
        uint64_t digit = (uint64_t)(*value - '0');

        if (*value < '0' || *value > '9' || number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret = number;
    return true;
}

static bool take_port(const char *value, uint16_t *ret)
{
    uint64_t number;

    if (!take_u64(value, UINT16_MAX, &number))
        return false;
    *ret = (uint16_t)number;
    return true;
}

static bool take_id(const char *value, char ret[INFO_ID_SIZE])
{
    if (strlen(value) != INFO_ID_SIZE - 1 ||
        strspn(value, "0123456789abcdefABCDEF") != INFO_ID_SIZE - 1)
        return false;
    memcpy(ret, value, INFO_ID_SIZE);
    return true;
}

static bool take_text(const char *value, char *ret, size_t size)
{
    size_t length = strlen(value);

    if (length == 0 || length >= size)
        return false;
    memcpy(ret, value, length + 1);
    return true;
}

/* --- lines ----------------------------------------------------------------------------------- */

struct reading {
    struct info info;
    unsigned int has;
    /* Of its memory; 0: not told. */
    uint64_t used, uncounted, limit;
    bool evicts_anything;
};

static void note(struct reading *r, unsigned int bit, bool is_read)
{
    if (is_read)
        r->has |= bit;
}

static void take_server(struct reading *r, const char *key, const char *value)
{
    struct info *i = &r->info;
    uint64_t number;

    if (is_text(key, "redis_version")) {
        note(r, HAS_VERSION, take_text(value, i->version, sizeof i->version));
    } else if (is_text(key, "valkey_version")) {
        (void)take_text(value, i->valkey, sizeof i->valkey);
    } else if (is_text(key, "run_id")) {
        note(r, HAS_RUN_ID, take_id(value, i->run_id));
    } else if (is_text(key, "process_id") && take_u64(value, INT32_MAX, &number) && number > 0) {
        i->pid = (pid_t)number;
        note(r, HAS_PID, true);
    } else if (is_text(key, "tcp_port")) {
        (void)take_port(value, &i->port); /* 0 is told where only the unix socket is open */
    }
}

static void take_persistence(struct reading *r, const char *key, const char *value)
{
    struct info *i = &r->info;

    if (is_text(key, "loading")) {
        i->is_loading = !is_text(value, "0");
        note(r, HAS_LOADING, true);
    } else if (is_text(key, "rdb_last_bgsave_status")) {
        i->is_save_ok = is_text(value, "ok");
    } else if (is_text(key, "aof_last_write_status")) {
        i->is_append_ok = is_text(value, "ok");
    }
}

static void take_second_offset(struct info *i, const char *value)
{
    uint64_t number;

    if (take_u64(value, INT64_MAX, &number))
        i->second_offset = (int64_t)number; /* "-1" is what it begins with */
}

static void take_memory(struct reading *r, const char *key, const char *value)
{
    if (is_text(key, "used_memory"))
        (void)take_u64(value, UINT64_MAX, &r->used);
    else if (is_text(key, "mem_not_counted_for_evict"))
        (void)take_u64(value, UINT64_MAX, &r->uncounted);
    else if (is_text(key, "maxmemory"))
        (void)take_u64(value, UINT64_MAX, &r->limit);
    else if (is_text(key, "maxmemory_policy"))
        r->evicts_anything = strncmp(value, "allkeys-", 8) == 0;
}

/* With a policy that removes only keys that expire, it is full, too, when none is left. */
static bool is_memory_full(const struct reading *r)
{
    return r->limit > 0 && r->used > r->uncounted && r->used - r->uncounted > r->limit &&
           !r->evicts_anything;
}

static void take_replication(struct reading *r, const char *key, const char *value)
{
    struct info *i = &r->info;

    if (is_text(key, "role")) {
        i->is_master = is_text(value, "master");
        note(r, HAS_ROLE, i->is_master || is_text(value, "slave") || is_text(value, "replica"));
    } else if (is_text(key, "master_replid")) {
        note(r, HAS_ID, take_id(value, i->replication_id));
    } else if (is_text(key, "master_replid2")) {
        (void)take_id(value, i->second_id); /* none is told as zeros, and so is what is no id */
    } else if (is_text(key, "master_repl_offset")) {
        note(r, HAS_OFFSET, take_u64(value, INT64_MAX, &i->master_offset));
    } else if (is_text(key, "second_repl_offset")) {
        take_second_offset(i, value);
    }
}

static void take_replica(struct reading *r, const char *key, const char *value)
{
    struct info *i = &r->info;

    if (is_text(key, "master_host")) {
        note(r, HAS_MASTER, take_text(value, i->master_host, sizeof i->master_host));
    } else if (is_text(key, "master_port")) {
        (void)take_port(value, &i->master_port); /* 0 is nobody's */
    } else if (is_text(key, "master_link_status")) {
        i->is_linked = is_text(value, "up");
        note(r, HAS_LINK, true);
    } else if (is_text(key, "master_sync_in_progress")) {
        i->is_syncing = !is_text(value, "0");
    } else if (is_text(key, "master_sync_read_bytes")) {
        (void)take_u64(value, UINT64_MAX, &i->synced); /* else how far it is is not known */
    } else if (is_text(key, "slave_repl_offset")) {
        note(r, HAS_REPLICA_OFFSET, take_u64(value, INT64_MAX, &i->replica_offset));
    }
}

/* --- replicas: "slave0:ip=10.0.0.2,port=6379,state=online,offset=42,lag=1" ---------------------
 */

static bool is_replica_key(const char *key)
{
    size_t length = strlen(key);

    return length > 5 && strncmp(key, "slave", 5) == 0 &&
           strspn(key + 5, "0123456789") == length - 5;
}

static void take_field(struct info_replica *x, const char *name, const char *value)
{
    if (is_text(name, "ip"))
        (void)take_text(value, x->address, sizeof x->address); /* without one it is nobody's */
    else if (is_text(name, "port"))
        (void)take_port(value, &x->port); /* the same */
    else if (is_text(name, "state"))
        x->is_online = is_text(value, "online");
    else if (is_text(name, "offset"))
        (void)take_u64(value, INT64_MAX, &x->offset); /* else it has confirmed nothing */
}

static void take_fields(struct info *i, char *at)
{
    struct info_replica x = { .address = "" };

    while (at != NULL) {
        char *end = strchr(at, ',');
        char *value;

        if (end != NULL)
            *end++ = 0;
        value = strchr(at, '=');
        if (value != NULL) {
            *value++ = 0;
            take_field(&x, at, value);
        }
        at = end;
    }
    if (x.address[0] != 0 && i->replicas_n < INFO_REPLICAS_MAX)
        i->replica[i->replicas_n++] = x;
}

/* --- the door -------------------------------------------------------------------------------- */

static void take_line(struct reading *r, const char *line, size_t length)
{
    char text[VALUE_MAX];
    char *value;

    while (length > 0 && line[length - 1] == '\r')
        length--;
    if (length == 0 || length >= sizeof text || line[0] == '#' || memchr(line, 0, length) != NULL)
        return;
    memcpy(text, line, length);
    text[length] = 0;
    value = strchr(text, ':');
    if (value == NULL)
        return;
    *value++ = 0;
    if (is_replica_key(text)) {
        take_fields(&r->info, value);
        return;
    }
    take_server(r, text, value);
    take_persistence(r, text, value);
    take_memory(r, text, value);
    take_replication(r, text, value);
    take_replica(r, text, value);
}

bool info_parse(const char *text, size_t size, struct info *ret, const char **ret_why)
{
    struct reading r = { .info = {
                             .second_offset = -1, .is_save_ok = true, .is_append_ok = true } };

    memset(r.info.second_id, '0', INFO_ID_SIZE - 1);
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t length = end != NULL ? (size_t)(end - text) : size;

        take_line(&r, text, length);
        length += end != NULL;
        text += length;
        size -= length;
    }
    for (size_t i = 0; i < HM_ARRAY_LEN(needs); i++)
        if ((r.has & needs[i].bit) == 0 && !(needs[i].is_of_replica && r.info.is_master)) {
            *ret_why = needs[i].why;
            return false;
        }
    if (r.info.is_master)
        r.info.replica_offset = r.info.master_offset;
    r.info.is_memory_full = is_memory_full(&r);
    *ret = r.info;
    return true;
}

bool info_is_whole(const struct info *info)
{
    return !info->is_loading &&
           (info->replica_offset == info->master_offset || info->master_offset == 0);
}

/* What every number goes through so that similar texts do not give similar ones. */
static uint64_t hash(const char *text, uint64_t more)
{
    uint64_t sum = bytes_sum(text, strlen(text)) ^ more * 0x9e3779b97f4a7c15u;

    sum = (sum ^ (sum >> 30)) * 0xbf58476d1ce4e5b9u;
    sum = (sum ^ (sum >> 27)) * 0x94d049bb133111ebu;
    return sum ^ (sum >> 31);
}

uint64_t info_timeline(const char *replication_id)
{
    uint64_t number = hash(replication_id, 0) & ~(uint64_t)HM_TIMELINE_OPEN;

    return number != 0 ? number : 1;
}

uint64_t info_copy_id(const char *run_id, uint64_t times)
{
    uint64_t id = hash(run_id, times + 1);

    return id != 0 ? id : 1;
}
