/* extras.h - what an administrator wants to be warned of, asked of the server now and then.
 *
 * How many of the connections that clients may have are taken; and whose commits do not wait for a
 * standby although the service is synchronous: a synchronous_commit below "on" in the settings, or
 * of a role or database. A session that lowers it for itself is not seen. */
#ifndef HAMGR_POSTGRES_EXTRAS_H
#define HAMGR_POSTGRES_EXTRAS_H

#include "adapter/service.h"
#include "postgres/conn.h"

/* One look; storage of the caller until `then` has come. */
struct extras {
    struct conn *conn;           /* borrowed */
    bool wants_lax;              /* else facts->lax is emptied */
    struct service_facts *facts; /* borrowed: sessions, sessions_max and lax are filled in */
    void (*then)(void *ctx);     /* comes once, now or later, also when nothing was found out */
    void *ctx;
};

void extras_ask(struct extras *x);

#endif
