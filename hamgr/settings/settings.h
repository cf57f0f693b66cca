/* settings.h - what the administrator asked for, as plain data.
 *
 * settings_load() reads /etc/hamgr/hamgr.conf (hamgrd, hamgr-fence, hamgr), settings_load_witness()
 * the witness's own file. One row in schema.c for each setting drives parsing, defaults, range
 * check, help and the example file. All errors of a file are told, not only the first, each as
 * "FILE:LINE: SETTING: what is wrong"; a file with an error gives no settings at all. Nothing here
 * logs, resolves a name or looks at anything but the file and the key files. */
#ifndef HAMGR_SETTINGS_SETTINGS_H
#define HAMGR_SETTINGS_SETTINGS_H

#include "base/err.h"
#include "core/record.h"

#include <stdio.h>

enum {
    SETTINGS_PATH_MAX = 256, /* bytes of a path, with the final NUL */
    SETTINGS_KEY_SIZE = 32,  /* bytes of a cluster's key */
    SETTINGS_CLUSTERS_MAX = 4096,
};

#define SETTINGS_FILE "/etc/hamgr/hamgr.conf"
#define SETTINGS_WITNESS_FILE "/etc/hamgr/witness.conf"

struct settings_member {
    char name[HM_NAME_MAX];
    char address[HM_ADDRESS_MAX]; /* HOST:PORT or [HOST]:PORT, as in the file */
    char host[HM_ADDRESS_MAX];    /* the HOST of it: where its databases listen, too */
    uint16_t port;
    enum member_role role;
    int16_t priority;         /* higher is better; default 0 */
    bool is_nofailover;       /* never becomes primary by itself */
    char follow[HM_NAME_MAX]; /* the standby that it streams from; empty: the primary */
};

enum settings_control {
    CONTROL_DIRECT, /* by pg_ctl, or by redis-server itself */
    CONTROL_SYSTEMD,
};

/* Where a copy is made anew. */
enum settings_room {
    ROOM_AUTO, /* the old one is kept until the new one is there, if both fit */
    ROOM_BOTH, /* both must fit */
    ROOM_ONE,  /* the old one is removed first */
};

enum { SETTINGS_COMMAND_MAX = 512 }; /* bytes of a command, with the final NUL */

struct settings_service {
    char name[HM_NAME_MAX];
    enum service_kind kind;
    uint8_t number;                   /* place in the list: what messages and records call it */
    char data_dir[SETTINGS_PATH_MAX]; /* Redis calls it `dir` */
    uint16_t port;
    enum settings_control control;
    char unit[64];                   /* with CONTROL_SYSTEMD; without ".service" at its end */
    char bin_dir[SETTINGS_PATH_MAX]; /* of postgres, pg_ctl, ..., or redis-server; found if empty */
    /* postgresql.conf: Debian keeps it apart; empty: in data_dir. redis.conf: never empty. */
    char config_file[SETTINGS_PATH_MAX];
    /* User of hamgrd's own connections. Redis: of its ACL; empty: the default user. */
    char user[HM_NAME_MAX];
    /* PostgreSQL: for replication connections. Redis: the first line is hamgrd's own password, and
     * readable for hamgrd only. Empty: none. */
    char passfile[SETTINGS_PATH_MAX];
    /* PostgreSQL only. */
    char socket_dir[SETTINGS_PATH_MAX]; /* of the server's unix socket */
    char dbname[HM_NAME_MAX];
    char replication_user[HM_NAME_MAX];
    /* Redis only. */
    char socket[SETTINGS_PATH_MAX]; /* the server's unix socket; empty: 127.0.0.1 and the port */
    enum durability durability;
    uint8_t sync_standbys;
    uint64_t max_lag_bytes;
    uint64_t slot_max_bytes; /* that a slot may hold back; 0: what the disk has */
    uint64_t rebuild_rate;   /* bytes a second that a clone may take; 0: any */
    char rebuild_command[SETTINGS_COMMAND_MAX]; /* instead of pg_basebackup; empty: none */
    enum settings_room rebuild_room;
};

struct settings_timing {
    hm_ms ttl_ms;
    hm_ms heartbeat_ms;
    hm_ms fence_margin_ms;   /* how long before the deadline the fence helper suspends */
    hm_ms check_interval_ms; /* between two probes of an unchanged server */
    hm_ms check_timeout_ms;  /* a server that does not answer for so long hangs */
    hm_ms stall_timeout_ms;  /* a primary that cannot commit for so long is given away */
    hm_ms crash_wait_ms;     /* async: how long a primary may recover in place */
    hm_ms freeze_timeout_ms;
};

enum settings_fence {
    SETTINGS_FENCE_SOCKET, /* hamgr-fence runs by itself, as root */
    SETTINGS_FENCE_CHILD,  /* hamgrd starts it as its child: no gate */
};

struct settings {
    char file[SETTINGS_PATH_MAX]; /* where all this was read */
    char cluster[HM_NAME_MAX];
    char key_file[SETTINGS_PATH_MAX];
    uint8_t key[SETTINGS_KEY_SIZE];
    uint64_t cluster_id;    /* of name and key: members with another key are another cluster */
    char node[HM_NAME_MAX]; /* the name of this member; default: the host's name */
    uint8_t self;           /* index into member[] */
    uint8_t members_n;
    struct settings_member member[HM_MEMBERS_MAX];
    uint8_t services_n;
    struct settings_service service[HM_SERVICES_MAX];
    struct settings_timing timing;
    hm_ms tail_rescue_timeout_ms; /* async: how long a dead primary's log is fetched; 0: never */
    uint64_t tail_rescue_max_bytes;
    char state_dir[SETTINGS_PATH_MAX];    /* the voter's files: must survive a power loss */
    char lost_wal_dir[SETTINGS_PATH_MAX]; /* where log that only an old primary had is kept */
    uint64_t lost_wal_max_bytes;
    char run_dir[SETTINGS_PATH_MAX]; /* sockets and the fence's deadlines */
    enum settings_fence fence;
    bool is_gate_on;        /* packets of a service need the lease, with nftables */
    uint16_t sentinel_port; /* of every member's Sentinel endpoint; 0: there is none */
    uint32_t sentinel_clients_max;
    char sentinel_listen[HM_ADDRESS_MAX];           /* empty: where the member is reached */
    char sentinel_password_file[SETTINGS_PATH_MAX]; /* empty: clients need no password */
    uint16_t disk_warn_percent;                     /* free, of a disk of the database */
    uint32_t disk_warn_minutes;                     /* until one is full, at the present rate */
    uint32_t replay_warn_seconds;     /* that a standby may be behind with its replay; 0: any */
    char watchdog[SETTINGS_PATH_MAX]; /* device of the hardware watchdog; empty: none */
    char user[HM_NAME_MAX];           /* hamgrd's user: the only one that hamgr-fence obeys */
};

struct settings_cluster {
    char name[HM_NAME_MAX];
    uint8_t key[SETTINGS_KEY_SIZE];
    uint64_t cluster_id;
};

struct settings_witness {
    char file[SETTINGS_PATH_MAX];
    char listen[HM_ADDRESS_MAX]; /* HOST:PORT; default [::]:7420 */
    char state_dir[SETTINGS_PATH_MAX];
    size_t clusters_n;
    struct settings_cluster *cluster; /* owned: settings_witness_done() */
};

/* Collects the errors of one load. Storage of the caller; settings_errors_done() is due. */
struct settings_errors {
    size_t n;
    char **line; /* owned; each without a newline, in the order of the file */
};
void settings_errors_done(struct settings_errors *e);

enum settings_flags {
    SETTINGS_WITHOUT_NODE = 1, /* the host need not be a member: self is then HM_NOBODY */
    SETTINGS_WITHOUT_KEY = 2,  /* do not read the key files (the reader may not be allowed to):
                                * keys and cluster ids are then 0 */
};

/* Reads and checks a file.
 *
 * path        must exist.
 * flags       of enum settings_flags.
 * ret         overwritten on HM_OK, otherwise untouched.
 * ret_errors  set in any case; settings_errors_done() is due.
 *
 * HM_BAD_INPUT: ret_errors has every error, file and line in front. HM_FAILED: the file cannot be
 * read, which ret_errors says as well. */
enum hm_rc settings_load(const char *path, unsigned int flags, struct settings *ret,
                         struct settings_errors *ret_errors) HM_MUST_CHECK;

/* The same for the witness's file. settings_witness_done() is due after HM_OK. */
enum hm_rc settings_load_witness(const char *path, struct settings_witness *ret,
                                 struct settings_errors *ret_errors) HM_MUST_CHECK;
void settings_witness_done(struct settings_witness *w); /* also of a zeroed one */

/* The same from a text instead of a file; `name` is what errors call it. */
enum hm_rc settings_load_text(const char *text, const char *name, unsigned int flags,
                              struct settings *ret,
                              struct settings_errors *ret_errors) HM_MUST_CHECK;
enum hm_rc settings_load_witness_text(const char *text, const char *name, unsigned int flags,
                                      struct settings_witness *ret,
                                      struct settings_errors *ret_errors) HM_MUST_CHECK;

/* Looks at the files and programs that the settings name, as the caller's user; it may block.
 * ret_errors is set in any case. HM_BAD_INPUT: it names each that is missing or of no use. */
enum hm_rc settings_check_files(const struct settings *s,
                                struct settings_errors *ret_errors) HM_MUST_CHECK;

/* What the record of a new cluster begins with (core_config.first): members and voters by their
 * place in the file, timing, durability. */
void settings_first_record(const struct settings *s, const struct settings_service *service,
                           struct record *ret);

/* The service of that name, or the only one if name is NULL or empty; NULL if there is none. */
const struct settings_service *settings_service(const struct settings *s, const char *name);

/* Writes settings as a file that gives the same ones: only what is not the default. A failed write
 * shows in ferror(out). */
void settings_write(FILE *out, const struct settings *s);

/* Changes what one host has otherwise than the other members: settings in the file's own words,
 * such as: state_dir = "/srv/hamgr"; port = 5433; those of services count for all of them.
 * HM_BAD_INPUT: err says what is wrong, and s is as before. */
enum hm_rc settings_change(struct settings *s, const char *text, struct hm_err *err) HM_MUST_CHECK;

/* Checks a new member: its name and its address, alone and beside the n that are there. The host is
 * left in ret_host, which may be NULL. HM_BAD_INPUT: err says what is wrong. */
enum hm_rc settings_check_member(const char *name, const char *address,
                                 const struct settings_member *member, size_t n,
                                 char ret_host[HM_ADDRESS_MAX], struct hm_err *err) HM_MUST_CHECK;

/* Reads a cluster's key; others may not be able to. HM_BAD_INPUT: err says what is wrong. */
enum hm_rc settings_read_key(const char *path, uint8_t ret_key[SETTINGS_KEY_SIZE],
                             struct hm_err *err) HM_MUST_CHECK;
/* A password that only members of the cluster know: of the key, of what it is for, and of a name.
 * 64 hexadecimal digits. */
enum { SETTINGS_SECRET_SIZE = 2 * SETTINGS_KEY_SIZE + 1 };
void settings_secret(const uint8_t key[SETTINGS_KEY_SIZE], const char *what, const char *name,
                     char ret[SETTINGS_SECRET_SIZE]);
/* Draws a new key from the kernel and writes it as hexadecimal digits into a new file, mode 0600.
 * HM_REFUSED when the file exists already: a key is never written over. HM_FAILED, HM_NO_SPACE. */
enum hm_rc settings_make_key(const char *path, struct hm_err *err) HM_MUST_CHECK;

/* Prints a complete commented example: every setting, its default and its help. */
void settings_print_example(FILE *out);
void settings_print_witness_example(FILE *out);
/* Prints docs/settings.md. */
void settings_print_manual(FILE *out);

#endif
