/* reader.h - the parts of reading a file that its pieces share; for this folder only.
 *
 * load.c gets the text and walks its groups, value.c takes single values, check.c looks at what
 * several values make together, key.c reads key files. Each error is added to a list and reading
 * goes on; a value with an error leaves zeros. */
#ifndef HAMGR_SETTINGS_READER_H
#define HAMGR_SETTINGS_READER_H

#include "settings/schema.h"

#include <libconfig.h>

struct error_line {
    unsigned int line; /* 0: of no line */
    size_t number;     /* in the order of finding */
    char *text;        /* owned */
};

struct reader {
    const char *file; /* as errors call it; borrowed */
    unsigned int flags;
    size_t errors_n;
    size_t errors_room;
    struct error_line *error; /* owned */
    bool is_out_of_memory;
};

/* Notes an error: "FILE:LINE: " goes in front, control characters are replaced. */
void reader_error(struct reader *r, unsigned int line, const char *format, ...) HM_PRINTF(3, 4);

/* Moves the errors to ret_errors: what a load gives, once nothing more can go wrong. */
enum hm_rc reader_finish(struct reader *r, struct settings_errors *ret_errors) HM_MUST_CHECK;

/* The line of the group's setting of that name; of the group, if it is not there. */
unsigned int reader_line(const config_setting_t *group, const char *name);

/* Takes a setting's value (or the default's text) into the field of target that the row names. */
void value_take(struct reader *r, const struct setting *row, const config_setting_t *value,
                void *target);
void value_take_preset(const struct setting *row, void *target);

/* Says what a setting is, for errors: "the number 5". Returns text. */
const char *value_describe(const config_setting_t *value, char *text, size_t size);

/* True, or what is wrong with a name in why, which has room for 160 bytes. */
bool value_is_name(const char *text, char *why);

/* Splits HOST:PORT; the host comes without brackets. True, or what is wrong with it in why. */
bool value_split_address(const char *address, char *ret_host, size_t host_size, uint16_t *ret_port,
                         char *why, size_t why_size);

/* Reads a key file, and complains in the words of `path` (the setting). False: it did. */
bool key_read(struct reader *r, unsigned int line, const char *path, const char *file,
              uint8_t ret_key[SETTINGS_KEY_SIZE]);
/* The bytes of a key file: true if they are a key. */
bool key_parse(const char *text, size_t size, uint8_t ret_key[SETTINGS_KEY_SIZE]);
uint64_t key_cluster_id(const char *cluster, const uint8_t key[SETTINGS_KEY_SIZE]);

/* What must hold between settings. The groups are those that f and w were read from; f->s.members_n
 * and services_n entries of the lists were read. */
void check_file(struct reader *r, const config_setting_t *root, struct schema_file *f);
void check_witness(struct reader *r, const config_setting_t *root,
                   const struct settings_witness *w);

#endif
