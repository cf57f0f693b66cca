/* server.h - the helper's socket: who may ask, what was asked, and the reports.
 *
 * A packet is checked before anything else is done with it; a connection that sends a wrong one,
 * or does not read what it is told, is closed. */
#ifndef FENCE_SERVER_H
#define FENCE_SERVER_H

#include "fence/keeper.h"

#include <poll.h>
#include <sys/types.h>

enum { SERVER_CONNS = 2 * HM_SERVICES_MAX + 4 };

/* What a report says of the process as a whole. */
struct server_state {
    bool has_lock;
    bool has_priority;
    bool has_watchdog;
};

struct server {
    int listener;
    uid_t user;             /* the one besides root that is obeyed */
    struct keeper *keepers; /* borrowed */
    size_t keepers_n;
    struct server_state state;
    struct server_conn {
        int fd;                      /* -1: free */
        bool is_root;                /* and root is not the user */
        bool hears[HM_SERVICES_MAX]; /* about these services */
    } conn[SERVER_CONNS];
};

/* Makes the socket, mode 0660, of that group; a socket that is there is replaced. server_done() is
 * due after HM_OK. */
enum hm_rc server_open(struct server *s, const char *path, uid_t user, gid_t group,
                       struct hm_err *err) HM_MUST_CHECK;
void server_done(struct server *s);

/* Fills in what to poll for; ret has room for SERVER_CONNS + 1. Returns how many. */
size_t server_poll(const struct server *s, struct pollfd *ret);
/* Takes what poll() said; true if somebody new has connected. */
bool server_take(struct server *s, const struct pollfd *polled, size_t n);
/* Tells those who hear about it of what changed by itself. */
void server_tell(struct server *s);

#endif
