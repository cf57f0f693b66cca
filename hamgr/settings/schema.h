/* schema.h - every setting of hamgr.conf and of the witness's file, a row each.
 *
 * The row is all that the program knows of a setting: reading, defaults, ranges, the example files
 * and docs/settings.md come from it. Constant data and nothing else; only this folder includes it.
 */
#ifndef HAMGR_SETTINGS_SCHEMA_H
#define HAMGR_SETTINGS_SCHEMA_H

#include "settings/settings.h"

enum schema_in {
    IN_FILE, /* hamgr.conf itself: struct schema_file */
    IN_MEMBER,
    IN_POSTGRES, /* an entry of `services` whose type is postgres: struct settings_service */
    IN_REDIS,    /* ... and redis */
    IN_WITNESS,  /* the witness's file: struct schema_witness */
    IN_CLUSTER,  /* struct schema_cluster */
};

enum schema_type {
    TYPE_NAME, /* letters, digits and a few signs: part of file names and of slots */
    TYPE_TEXT,
    TYPE_PATH,
    TYPE_ADDRESS, /* HOST:PORT */
    TYPE_NUMBER,
    TYPE_SIZE, /* a number of bytes, or "16MB" */
    TYPE_BOOL,
    TYPE_CHOICE,
    TYPE_CONTROL, /* "systemd:UNIT", or the word of its preset: "pg_ctl", "redis-server" */
    TYPE_LIST,    /* of groups */
};

struct schema_choice {
    const char *text;
    int value;
};

/* What a changed value in the file changes. */
enum schema_change {
    CHANGES_AT_RESTART,    /* of the daemon */
    CHANGES_NOTHING_LATER, /* a new cluster begins with it; then its record says what counts */
};

struct setting {
    const char *path; /* "ttl_ms", "members.address": as errors call it */
    enum schema_in in;
    enum schema_type type;
    enum schema_change change;
    int64_t min;                         /* of numbers, sizes, and the entries of a list */
    int64_t max;                         /* the same; of texts: characters, 0: as many as fit */
    const struct schema_choice *choices; /* ended by a NULL */
    const char *preset;    /* the default as it stands in a file, without quotes; or NULL */
    const char *otherwise; /* without such a default: in words, what counts then */
    const char *example;   /* for the example file, where the default would not do; or NULL */
    size_t offset;         /* in the struct that belongs to `in` */
    size_t size;
    const char *help; /* sentences */
};

extern const struct setting schema[];
extern const size_t schema_rows;

/* A value must stand in the file. */
bool schema_is_required(const struct setting *row);
/* The last part of the path. */
const char *schema_name(const struct setting *row);
/* The groups in a list's parentheses; of services those of PostgreSQL. Only for TYPE_LIST. */
enum schema_in schema_entries(const struct setting *row);
/* The rows of a service of that kind. */
enum schema_in schema_service(enum service_kind kind);
/* The row of that name, or NULL. */
const struct setting *schema_find(enum schema_in in, const char *name);
/* The name in `in` that is most like `name`, or NULL when none is. */
const char *schema_suggest(enum schema_in in, const char *name);

enum schema_timing { TIMING_DEFAULT, TIMING_LAN, TIMING_WAN };
extern const struct settings_timing schema_timings[]; /* by enum schema_timing */

/* What the rows of a file are read into, before it becomes what callers get. */
struct schema_file {
    struct settings s;
    enum schema_timing timing;
    struct settings_service every; /* what services have unless they say otherwise */
};

struct schema_cluster {
    struct settings_cluster c;
    char key_file[SETTINGS_PATH_MAX];
};

struct schema_witness {
    struct settings_witness w;
};

#endif
