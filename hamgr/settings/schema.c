#include "settings/schema.h"

#include <string.h>

static const struct schema_choice timings[] = {
    { "default", TIMING_DEFAULT }, { "lan", TIMING_LAN }, { "wan", TIMING_WAN }, { NULL, 0 }
};
static const struct schema_choice durabilities[] = { { "async", DURABILITY_ASYNC },
                                                     { "sync", DURABILITY_SYNC },
                                                     { "strict", DURABILITY_STRICT },
                                                     { NULL, 0 } };
static const struct schema_choice fences[] = { { "socket", SETTINGS_FENCE_SOCKET },
                                               { "child", SETTINGS_FENCE_CHILD },
                                               { NULL, 0 } };
static const struct schema_choice roles[] = { { "db", ROLE_DB },
                                              { "witness", ROLE_WITNESS },
                                              { NULL, 0 } };
static const struct schema_choice rooms[] = {
    { "auto", ROOM_AUTO }, { "both", ROOM_BOTH }, { "one", ROOM_ONE }, { NULL, 0 }
};
static const struct schema_choice kinds[] = { { "postgres", SERVICE_POSTGRES },
                                              { "redis", SERVICE_REDIS },
                                              { NULL, 0 } };

/* Only what depends on how long a message takes. */
const struct settings_timing schema_timings[] = {
    [TIMING_DEFAULT] = { .ttl_ms = 1500,
                         .heartbeat_ms = 250,
                         .fence_margin_ms = 100,
                         .freeze_timeout_ms = 500 },
    [TIMING_LAN] = { .ttl_ms = 600,
                     .heartbeat_ms = 100,
                     .fence_margin_ms = 50,
                     .freeze_timeout_ms = 500 },
    [TIMING_WAN] = { .ttl_ms = 6000,
                     .heartbeat_ms = 1000,
                     .fence_margin_ms = 300,
                     .freeze_timeout_ms = 2000 },
};

#define FIELD(type, field)                                                                         \
    .offset = offsetof(struct type, field), .size = sizeof(((struct type *)NULL)->field)
#define TOP(name, kind) .path = (name), .in = IN_FILE, .type = (kind)
#define MEMBER(name, kind) .path = "members." name, .in = IN_MEMBER, .type = (kind)
#define POSTGRES(name, kind) .path = "services." name, .in = IN_POSTGRES, .type = (kind)
#define REDIS(name, kind) .path = "services." name, .in = IN_REDIS, .type = (kind)
#define WITNESS(name, kind) .path = (name), .in = IN_WITNESS, .type = (kind)
#define CLUSTER(name, kind) .path = "clusters." name, .in = IN_CLUSTER, .type = (kind)
#define RANGE(low, high) .min = (low), .max = (high)

enum { MS_MAX = HM_TTL_MAX_MS, RUN_DIR_MAX = 90, SOCKET_DIR_MAX = 92, SOCKET_MAX = 107 };
#define SIZE_MAX_BYTES (INT64_C(1) << 50)
#define REBUILD_RATE_MIN (32 << 10) /* as pg_basebackup's --max-rate */
#define REBUILD_RATE_MAX (1 << 30)

/* clang-format off */
/* What services of all kinds have. */
#define SERVICE_NAMES(PLACE, type_shown, name_shown) \
    { PLACE("type", TYPE_CHOICE), FIELD(settings_service, kind), .choices = kinds, .example = (type_shown), \
      .help = "The kind of database." }, \
    { PLACE("name", TYPE_NAME), FIELD(settings_service, name), .example = (name_shown), \
      .help = "What commands call the service." }
#define SERVICE_PROMISES(PLACE) \
    { PLACE("durability", TYPE_CHOICE), FIELD(settings_service, durability), .choices = durabilities, \
      .otherwise = "as for all services", .example = "async", .change = CHANGES_NOTHING_LATER, \
      .help = "The same for this service alone." }, \
    { PLACE("sync_standbys", TYPE_NUMBER), FIELD(settings_service, sync_standbys), \
      RANGE(1, HM_MEMBERS_MAX - 1), .otherwise = "as for all services", .example = "1", \
      .change = CHANGES_NOTHING_LATER, .help = "The same for this service alone." }, \
    { PLACE("max_lag_bytes", TYPE_SIZE), FIELD(settings_service, max_lag_bytes), RANGE(0, SIZE_MAX_BYTES), \
      .otherwise = "as for all services", .example = "16MB", .change = CHANGES_NOTHING_LATER, \
      .help = "The same for this service alone." }

const struct setting schema[] = {
    /* --- who we are --- */
    { TOP("cluster", TYPE_NAME), FIELD(schema_file, s.cluster), .example = "shop",
      .help = "The name of the cluster, the same on every member. Letters, digits, '.', '_' and '-'." },
    { TOP("key_file", TYPE_PATH), FIELD(schema_file, s.key_file), .example = "/etc/hamgr/cluster.key",
      .help = "The cluster's key, which every member must have: `hamgr keygen FILE` makes one. hamgrd's "
              "user must be able to read it, others must not." },
    { TOP("node", TYPE_NAME), FIELD(schema_file, s.node), .example = "db1",
      .otherwise = "the host's name, with or without its domain",
      .help = "Which of the members this host is." },
    { TOP("members", TYPE_LIST), RANGE(1, HM_MEMBERS_MAX), .change = CHANGES_NOTHING_LATER,
      .help = "Everybody who votes, in the same order on every member. An odd number is best: three of "
              "them survive the loss of any one." },
    { TOP("services", TYPE_LIST), RANGE(1, HM_SERVICES_MAX),
      .help = "The databases that hamgr keeps available, in the same order on every member." },

    /* --- how fast --- */
    { TOP("timing", TYPE_CHOICE), FIELD(schema_file, timing), .choices = timings, .preset = "default",
      .help = "A set of times that fit together: \"lan\" for members in one room, \"wan\" for members far "
              "from each other. Single values below go before it." },
    { TOP("ttl_ms", TYPE_NUMBER), FIELD(schema_file, s.timing.ttl_ms), RANGE(400, HM_TTL_MAX_MS),
      .otherwise = "1500, lan 600, wan 6000", .example = "1500", .change = CHANGES_NOTHING_LATER,
      .help = "How long a lease lasts: a primary that no majority hears for so long is fenced, and only "
              "then another takes over. At least three times heartbeat_ms." },
    { TOP("heartbeat_ms", TYPE_NUMBER), FIELD(schema_file, s.timing.heartbeat_ms), RANGE(20, MS_MAX / 3),
      .otherwise = "250, lan 100, wan 1000", .example = "250", .change = CHANGES_NOTHING_LATER,
      .help = "How often the lease is renewed." },
    { TOP("fence_margin_ms", TYPE_NUMBER), FIELD(schema_file, s.timing.fence_margin_ms), RANGE(10, MS_MAX / 3),
      .otherwise = "100, lan 50, wan 300", .example = "100",
      .help = "How long before the end of its lease a primary is suspended. Stopping every process of a "
              "loaded server takes a few milliseconds. Less than a third of ttl_ms." },
    { TOP("freeze_timeout_ms", TYPE_NUMBER), FIELD(schema_file, s.timing.freeze_timeout_ms), RANGE(50, MS_MAX),
      .otherwise = "500, lan 500, wan 2000", .example = "500",
      .help = "With durability async: how long a takeover waits for the positions of the other standbys." },
    { TOP("check_interval_ms", TYPE_NUMBER), FIELD(schema_file, s.timing.check_interval_ms), RANGE(50, MS_MAX),
      .preset = "500", .help = "How often a server is asked how it is." },
    { TOP("check_timeout_ms", TYPE_NUMBER), FIELD(schema_file, s.timing.check_timeout_ms), RANGE(100, MS_MAX),
      .preset = "3000", .help = "A server that has not answered for so long counts as hung." },
    { TOP("stall_timeout_ms", TYPE_NUMBER), FIELD(schema_file, s.timing.stall_timeout_ms), RANGE(500, MS_MAX),
      .preset = "5000",
      .help = "A primary that could not commit for so long hands over, if a standby can take it. One of Redis that is "
              "proved to hang, as it waits for no disk: after check_timeout_ms, if that is less." },
    { TOP("crash_wait_ms", TYPE_NUMBER), FIELD(schema_file, s.timing.crash_wait_ms), RANGE(0, MS_MAX),
      .preset = "1000",
      .help = "With durability async: how long a crashed primary may recover by itself, which loses "
              "nothing, before a standby takes over." },

    /* --- what is promised, unless a service says otherwise --- */
    { TOP("durability", TYPE_CHOICE), FIELD(schema_file, every.durability), .choices = durabilities,
      .preset = "async", .change = CHANGES_NOTHING_LATER,
      .help = "\"async\": a failover may lose the newest commits, up to max_lag_bytes. \"sync\": none that a "
              "client saw acknowledged; without a standby the primary goes on alone and says so. "
              "\"strict\": none, and without a standby nothing is acknowledged. For all services." },
    { TOP("sync_standbys", TYPE_NUMBER), FIELD(schema_file, every.sync_standbys), RANGE(1, HM_MEMBERS_MAX - 1),
      .preset = "1", .change = CHANGES_NOTHING_LATER,
      .help = "With sync and strict: how many standbys must have a commit on disk before it is "
              "acknowledged." },
    { TOP("max_lag_bytes", TYPE_SIZE), FIELD(schema_file, every.max_lag_bytes), RANGE(0, SIZE_MAX_BYTES),
      .preset = "16MB", .change = CHANGES_NOTHING_LATER,
      .help = "With async: a standby further behind than this does not take over by itself. Bytes, or with "
              "a unit in quotes: kB, MB, GB or TB." },

    { TOP("tail_rescue_timeout_ms", TYPE_NUMBER), FIELD(schema_file, s.tail_rescue_timeout_ms), RANGE(0, MS_MAX),
      .preset = "1000",
      .help = "With async: when only the primary's server died and its host lives, a standby first fetches "
              "what it lacks from there, for no longer than this; then nothing is lost. 0: never." },
    { TOP("tail_rescue_max_bytes", TYPE_SIZE), FIELD(schema_file, s.tail_rescue_max_bytes), RANGE(0, SIZE_MAX_BYTES),
      .preset = "256MB", .help = "... and no more than this; there must be room for it beside pg_wal." },

    /* --- this host --- */
    { TOP("disk_warn_percent", TYPE_NUMBER), FIELD(schema_file, s.disk_warn_percent), RANGE(0, 99),
      .preset = "10", .help = "Warn when less of a database's disk is free: data, pg_wal, tablespaces." },
    { TOP("disk_warn_minutes", TYPE_NUMBER), FIELD(schema_file, s.disk_warn_minutes), RANGE(0, 100000),
      .preset = "360", .help = "Warn when such a disk will be full within this time, if it goes on filling "
              "up as in the last ten minutes." },
    { TOP("replay_warn_seconds", TYPE_NUMBER), FIELD(schema_file, s.replay_warn_seconds), RANGE(0, 1000000),
      .preset = "30", .help = "Warn when a standby has not replayed for so long what it has: a takeover would wait for "
              "it. 0: never. One that is delayed on purpose is not warned of." },
    { TOP("state_dir", TYPE_PATH), FIELD(schema_file, s.state_dir), .preset = "/var/lib/hamgr",
      .help = "Where hamgrd keeps what it promised to the others. On a disk: a member whose files are lost "
              "must be removed and added again." },
    { TOP("lost_wal_dir", TYPE_PATH), FIELD(schema_file, s.lost_wal_dir), .otherwise = "'lost' below state_dir",
      .example = "/var/lib/hamgr/lost",
      .help = "Where the log that only an old primary had is kept before it is overwritten, with a summary "
              "of it: `hamgr diverged list`." },
    { TOP("lost_wal_max_bytes", TYPE_SIZE), FIELD(schema_file, s.lost_wal_max_bytes), RANGE(0, SIZE_MAX_BYTES),
      .preset = "1GB",
      .help = "The most that is kept of it for each service; the oldest goes first. A summary is always "
              "kept." },
    { TOP("run_dir", TYPE_PATH), FIELD(schema_file, s.run_dir), RANGE(0, RUN_DIR_MAX), .preset = "/run/hamgr",
      .help = "Sockets, and the deadlines of the fence. Must not survive a reboot." },
    { TOP("fence", TYPE_CHOICE), FIELD(schema_file, s.fence), .choices = fences, .preset = "socket",
      .help = "How hamgrd reaches the fence helper: \"socket\", hamgr-fence runs as its own service, as "
              "root; \"child\", hamgrd starts it under its own user, which has no gate and no priority." },
    { TOP("gate", TYPE_BOOL), FIELD(schema_file, s.is_gate_on), .preset = "true",
      .help = "Let packets of a service leave this host only while it holds the lease (nftables). Off with "
              "fence = \"child\"." },
    { TOP("sentinel_port", TYPE_NUMBER), FIELD(schema_file, s.sentinel_port), RANGE(0, 65535), .preset = "26379",
      .help = "Where clients of Redis ask every member for the primary, in the protocol of Redis Sentinel "
              "(docs/sentinel.md). The same on every member; 0: nowhere. Only opened where there is a service "
              "of Redis." },
    { TOP("sentinel_listen", TYPE_TEXT), FIELD(schema_file, s.sentinel_listen), .example = "0.0.0.0",
      .otherwise = "the host of the member's address, and 127.0.0.1",
      .help = "The literal address on which it listens; 0.0.0.0 and :: are all addresses of the host." },
    { TOP("sentinel_password_file", TYPE_PATH), FIELD(schema_file, s.sentinel_password_file), .otherwise = "none",
      .example = "/etc/hamgr/sentinel.password",
      .help = "A file with the password that clients of the endpoint must say (AUTH), in its first line; "
              "others must not be able to read it. With it SENTINEL FAILOVER is obeyed from other hosts, too." },
    { TOP("sentinel_clients_max", TYPE_NUMBER), FIELD(schema_file, s.sentinel_clients_max), RANGE(10, 100000),
      .preset = "12000", .help = "How many clients the endpoint has at once, if there are descriptors for them "
                                 "(LimitNOFILE=)." },
    { TOP("watchdog", TYPE_PATH), FIELD(schema_file, s.watchdog), .otherwise = "none",
      .example = "/dev/watchdog",
      .help = "The device that resets the host when the fence helper cannot prove that the service is "
              "either rightful or stopped." },
    { TOP("user", TYPE_TEXT), FIELD(schema_file, s.user), .preset = "postgres",
      .help = "hamgrd's user: the only one, besides root, that the fence helper obeys." },

    /* --- members --- */
    { MEMBER("name", TYPE_NAME), FIELD(settings_member, name), .example = "db1",
      .help = "The member's name. It also names its replication slot, in which only small letters and "
              "digits differ." },
    { MEMBER("address", TYPE_ADDRESS), FIELD(settings_member, address), .example = "10.0.0.11:7420",
      .help = "HOST:PORT where its hamgr listens, TCP and UDP; [HOST]:PORT for IPv6. Its databases listen on "
              "the same host. With a name hamgr listens on all addresses of the host." },
    { MEMBER("role", TYPE_CHOICE), FIELD(settings_member, role), .choices = roles, .preset = "db", .example = "db",
      .help = "\"db\": has a copy of every service and votes. \"witness\": only votes." },
    { MEMBER("priority", TYPE_NUMBER), FIELD(settings_member, priority), RANGE(-1000, 1000), .preset = "0",
      .help = "Between equally good standbys the one with the higher priority takes over." },
    { MEMBER("nofailover", TYPE_BOOL), FIELD(settings_member, is_nofailover), .preset = "false",
      .help = "It never becomes primary by itself. What counts is the entry in the member's own file." },
    { MEMBER("follow", TYPE_NAME), FIELD(settings_member, follow), .otherwise = "the primary",
      .example = "db2",
      .help = "A cascade: it streams from that standby instead of the primary, while that one is well and "
              "streams from the primary itself. It is then in no sync pair. What counts is the entry in the "
              "member's own file." },

    /* --- services of PostgreSQL --- */
    SERVICE_NAMES(POSTGRES, "postgres", "pg"),
    { POSTGRES("data_dir", TYPE_PATH), FIELD(settings_service, data_dir),
      .example = "/var/lib/postgresql/15/main", .help = "The data directory, the same on every host." },
    { POSTGRES("port", TYPE_NUMBER), FIELD(settings_service, port), RANGE(1, 65535), .preset = "5432", .example = "5432",
      .help = "The server's port, the same on every host." },
    { POSTGRES("control", TYPE_CONTROL), FIELD(settings_service, control), .preset = "pg_ctl",
      .example = "systemd:postgresql@15-main",
      .help = "How the server is started: \"systemd:UNIT\", or \"pg_ctl\" for one without a unit." },
    { POSTGRES("bin_dir", TYPE_PATH), FIELD(settings_service, bin_dir), .otherwise = "found by the data's version",
      .example = "/usr/lib/postgresql/15/bin",
      .help = "Where pg_ctl, pg_rewind and the others are." },
    { POSTGRES("config_file", TYPE_PATH), FIELD(settings_service, config_file),
      .otherwise = "postgresql.conf in data_dir", .example = "/etc/postgresql/15/main/postgresql.conf",
      .help = "The server's main configuration file; Debian keeps it apart from the data." },
    { POSTGRES("socket_dir", TYPE_PATH), FIELD(settings_service, socket_dir), RANGE(0, SOCKET_DIR_MAX),
      .preset = "/var/run/postgresql", .help = "Where the server's unix socket is: hamgrd connects by it." },
    { POSTGRES("user", TYPE_TEXT), FIELD(settings_service, user), .preset = "postgres",
      .help = "The database user that hamgrd connects as. A superuser." },
    { POSTGRES("dbname", TYPE_TEXT), FIELD(settings_service, dbname), .preset = "postgres",
      .help = "The database that hamgrd connects to." },
    { POSTGRES("replication_user", TYPE_TEXT), FIELD(settings_service, replication_user),
      .otherwise = "the same as user", .example = "postgres",
      .help = "The database user that standbys connect as." },
    { POSTGRES("passfile", TYPE_PATH), FIELD(settings_service, passfile), .otherwise = "none",
      .example = "/var/lib/postgresql/.pgpass",
      .help = "A password file (libpq's .pgpass) for the standbys' connections." },
    SERVICE_PROMISES(POSTGRES),

    { POSTGRES("slot_max_bytes", TYPE_SIZE), FIELD(settings_service, slot_max_bytes), RANGE(0, SIZE_MAX_BYTES),
      .otherwise = "no limit but the disk", .example = "10GB",
      .help = "The most log that a member keeps for another one that is away; then its slot is dropped, and it is "
              "cloned when it comes back. In any case, when less than 10 % of the disk of the log are free, the "
              "slot that holds back most is dropped, if that is 5 % of the disk or more." },
    { POSTGRES("rebuild_rate", TYPE_SIZE), FIELD(settings_service, rebuild_rate),
      RANGE(REBUILD_RATE_MIN, REBUILD_RATE_MAX), .otherwise = "no limit", .example = "100MB",
      .help = "The most that pg_basebackup may read from the primary in a second, when a copy is made anew." },
    { POSTGRES("rebuild_command", TYPE_TEXT), FIELD(settings_service, rebuild_command),
      .otherwise = "pg_basebackup from the primary", .example = "/etc/hamgr/rebuild-pg",
      .help = "A shell command that makes a copy anew instead, in the directory $HAMGR_TARGET: a restore "
              "from a backup (docs/rebuild.md)." },
    { POSTGRES("rebuild_room", TYPE_CHOICE), FIELD(settings_service, rebuild_room), .choices = rooms,
      .preset = "auto",
      .help = "What becomes of the old copy when one is made anew. \"both\": it is kept until the new one "
              "is in its place, and without room for both nothing is done. \"one\": it is removed first. "
              "\"auto\": it is kept if there is room for both, else removed first, and that is reported." },

    /* --- services of Redis --- */
    SERVICE_NAMES(REDIS, "redis", "cache"),
    { REDIS("data_dir", TYPE_PATH), FIELD(settings_service, data_dir), .example = "/var/lib/redis",
      .help = "What redis.conf calls `dir`, the same on every host and of this server alone: by it the fence "
              "helper knows the server." },
    { REDIS("port", TYPE_NUMBER), FIELD(settings_service, port), RANGE(1, 65535), .preset = "6379", .example = "6379",
      .help = "The server's port, the same on every host. redis.conf must `bind` an address that the other "
              "members reach." },
    { REDIS("control", TYPE_CONTROL), FIELD(settings_service, control), .preset = "redis-server",
      .example = "systemd:redis-server",
      .help = "How the server is started: \"systemd:UNIT\", or \"redis-server\" for one without a unit." },
    { REDIS("config_file", TYPE_PATH), FIELD(settings_service, config_file), .example = "/etc/redis/redis.conf",
      .help = "The server's configuration. hamgr never writes it; its last line must be `include "
              "RUN_DIR/redis-NAME.conf`, with this service's name." },
    { REDIS("bin_dir", TYPE_PATH), FIELD(settings_service, bin_dir), .otherwise = "/usr/bin",
      .example = "/usr/local/bin", .help = "Where redis-server is, or valkey-server." },
    { REDIS("socket", TYPE_PATH), FIELD(settings_service, socket), RANGE(0, SOCKET_MAX),
      .example = "/run/redis/redis-server.sock",
      .help = "What redis.conf calls `unixsocket`. hamgrd connects by it, because a closed gate holds back TCP, "
              "also within the host; its user must be allowed to (`unixsocketperm`, and the group)." },
    { REDIS("user", TYPE_TEXT), FIELD(settings_service, user), .otherwise = "the server's default user",
      .example = "hamgr", .help = "The user of the server's ACL that hamgrd connects as." },
    { REDIS("passfile", TYPE_PATH), FIELD(settings_service, passfile), .otherwise = "none",
      .example = "/etc/hamgr/cache.pass",
      .help = "A file whose first line is the password that hamgrd connects with. Its user must be able to read "
              "it, others must not. Replicas need none: hamgr sets how they log in." },
    SERVICE_PROMISES(REDIS),

    /* --- the witness's file --- */
    { WITNESS("listen", TYPE_ADDRESS), FIELD(schema_witness, w.listen), .preset = "[::]:7420",
      .help = "HOST:PORT where the witness listens, TCP and UDP; [::] and 0.0.0.0 are all addresses of the host." },
    { WITNESS("state_dir", TYPE_PATH), FIELD(schema_witness, w.state_dir), .preset = "/var/lib/hamgr-witness",
      .help = "Where the witness keeps what it promised. On a disk: a witness whose files are lost must be "
              "removed from its clusters and added again." },
    { WITNESS("clusters", TYPE_LIST), RANGE(1, SETTINGS_CLUSTERS_MAX),
      .help = "The clusters that this witness votes in. They cannot see each other." },
    { CLUSTER("name", TYPE_NAME), FIELD(schema_cluster, c.name), .example = "shop",
      .help = "The cluster's name, as its members have it." },
    { CLUSTER("key_file", TYPE_PATH), FIELD(schema_cluster, key_file), .example = "/etc/hamgr/shop.key",
      .help = "The cluster's key, as its members have it. Others must not be able to read it." },
};
/* clang-format on */
const size_t schema_rows = HM_ARRAY_LEN(schema);

bool schema_is_required(const struct setting *row)
{
    return row->preset == NULL && row->otherwise == NULL;
}

const char *schema_name(const struct setting *row)
{
    const char *dot = strrchr(row->path, '.');

    return dot != NULL ? dot + 1 : row->path;
}

enum schema_in schema_entries(const struct setting *row)
{
    if (row->in == IN_WITNESS)
        return IN_CLUSTER;
    return strcmp(row->path, "members") == 0 ? IN_MEMBER : IN_POSTGRES;
}

enum schema_in schema_service(enum service_kind kind)
{
    return kind == SERVICE_REDIS ? IN_REDIS : IN_POSTGRES;
}

const struct setting *schema_find(enum schema_in in, const char *name)
{
    for (size_t i = 0; i < schema_rows; i++)
        if (schema[i].in == in && strcmp(schema_name(&schema[i]), name) == 0)
            return &schema[i];
    return NULL;
}

enum { WORD_MAX = 24 };

/* How many letters must be added, dropped, changed or swapped with their neighbour (so that each
 * is touched once) to make b of a. Both are at most WORD_MAX long. */
static size_t distance(const char *a, const char *b)
{
    size_t row[3][WORD_MAX + 1];
    size_t n = strlen(b);
    size_t i = 0;

    for (size_t j = 0; j <= n; j++)
        row[0][j] = j;
    for (; a[i] != '\0'; i++) {
        size_t *before = row[i % 3], *now = row[(i + 1) % 3], *older = row[(i + 2) % 3];

        now[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t best = before[j] + (a[i] != b[j]);

            if (before[j + 1] + 1 < best)
                best = before[j + 1] + 1;
            if (now[j] + 1 < best)
                best = now[j] + 1;
            if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] && older[j - 1] + 1 < best)
                best = older[j - 1] + 1;
            now[j + 1] = best;
        }
    }
    return row[i % 3][n];
}

const char *schema_suggest(enum schema_in in, const char *name)
{
    const char *found = NULL;
    size_t length = strlen(name);
    size_t least = length / 5 + 1; /* more is another word */

    if (length > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < schema_rows; i++) {
        size_t d;

        if (schema[i].in != in)
            continue;
        d = distance(name, schema_name(&schema[i]));
        if (d <= least && (found == NULL || d < least)) {
            least = d;
            found = schema_name(&schema[i]);
        }
    }
    return found;
}
