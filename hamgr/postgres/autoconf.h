/* autoconf.h - the settings that hamgr owns, in postgresql.auto.conf of a server that is stopped.
 *
 * A running server is told by ALTER SYSTEM instead. Every other line stays as it is. */
#ifndef HAMGR_POSTGRES_AUTOCONF_H
#define HAMGR_POSTGRES_AUTOCONF_H

#include "base/err.h"

#define AUTOCONF_FILE "postgresql.auto.conf"

struct autoconf_setting {
    const char *name;
    const char *value; /* NULL: the setting is taken out */
};

/* The text with the n settings as they shall be, in new memory of the caller. HM_BAD_INPUT: a value
 * holds a newline, which PostgreSQL could not read. HM_FAILED: no memory. */
enum hm_rc autoconf_edit(const char *text, const struct autoconf_setting *set, size_t n, char **ret,
                         struct hm_err *err) HM_MUST_CHECK;
/* The value that the text gives a setting; false: none, or it does not fit. */
bool autoconf_get(const char *text, const char *name, char *buffer, size_t size);
/* Edits the file, durably. Blocks. A missing file is an empty one. HM_BAD_INPUT, HM_FAILED,
 * HM_NO_SPACE: then the file is as it was. */
enum hm_rc autoconf_write(const char *data_dir, const struct autoconf_setting *set, size_t n,
                          struct hm_err *err) HM_MUST_CHECK;

#endif
