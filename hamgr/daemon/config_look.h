/* config_look.h - is the file sound from which hamgrd would start again, and what it names? */
#ifndef HAMGR_DAEMON_CONFIG_LOOK_H
#define HAMGR_DAEMON_CONFIG_LOOK_H

#include "daemon/daemon.h"

/* errors: one line each, none: all is well; borrowed for the call. */
typedef void config_looked(void *ctx, const struct settings_errors *errors);

/* Reads the file beside the loop, and looks at the files and programs that it names; `then` is
 * called on the loop. Changes nothing. False: no memory, it is not called. */
bool config_look(struct daemon *d, config_looked *then, void *ctx);

/* Tells the log; ctx: the daemon. */
void config_tell(void *ctx, const struct settings_errors *errors);

#endif
