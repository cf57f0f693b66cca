/* sockets.h - destroys TCP sockets of this host, whoever owns them (SOCK_DESTROY).
 *
 * What a process wrote to a socket is the kernel's, which goes on sending it after the process was
 * stopped or killed. Only when the socket is gone does it never arrive. */
#ifndef FENCE_SOCKETS_H
#define FENCE_SOCKETS_H

#include "fence/netlink.h"

#include <stdint.h>

struct sockets {
    int fd; /* -1: none */
    struct netlink buffer;
};

/* HM_FAILED: the kernel has no such interface. sockets_done() is due in any case. */
enum hm_rc sockets_open(struct sockets *s, struct hm_err *err) HM_MUST_CHECK;
void sockets_done(struct sockets *s);

/* Destroys every connection whose local port this is, and looks that none is left. Listening
 * sockets stay; so do half-open ones, which hold nothing, and those that only wait for their time
 * to end. HM_FAILED: some are left, or this process may not (CAP_NET_ADMIN). */
enum hm_rc sockets_destroy(struct sockets *s, uint16_t port, struct hm_err *err) HM_MUST_CHECK;
/* The same for the connections from here to that port of that address. HM_BAD_INPUT: peer is no
 * literal address. */
enum hm_rc sockets_destroy_to(struct sockets *s, const char *peer, uint16_t port,
                              struct hm_err *err) HM_MUST_CHECK;

#endif
