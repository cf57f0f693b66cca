/* join.h - what `hamgr join` looks at before it begins, and what it leaves on the host. */
#ifndef HAMGR_CLI_JOIN_H
#define HAMGR_CLI_JOIN_H

#include "net/guest.h"
#include "settings/settings.h"

#include <jansson.h>

struct join {
    const char *conf; /* where the settings go */
    char key_file[SETTINGS_PATH_MAX];
    struct settings settings; /* of the cluster, with this host as its last member */
    struct settings_member self;
    uint8_t key[SETTINGS_KEY_SIZE];
    struct guest_answer answer;
    char next[700]; /* of the newest failure; empty: none */
};

/* Looks whether this host can become that member: its programs, its directories, its user. Changes
 * nothing. HM_REFUSED, HM_FAILED: err says what is in the way, j->next what to do. */
enum hm_rc join_look(struct join *j, const json_t *services, struct hm_err *err) HM_MUST_CHECK;

/* Leaves the state directory with its note, the key, and the settings last: what was broken off is
 * begun anew, what has settings is gone on with. */
enum hm_rc join_write(struct join *j, struct hm_err *err) HM_MUST_CHECK;

#endif
