/* strangers.h - refused connections, told at most once a minute for each address.
 *
 * The table is of fixed size. When more addresses knock within a minute than it has rows, the rest
 * shares one row: whoever has many addresses cannot fill the log either. */
#ifndef HAMGR_NET_STRANGERS_H
#define HAMGR_NET_STRANGERS_H

#include "base/log.h"

enum { STRANGERS_MAX = 64, STRANGERS_ADDRESS_MAX = 48 };

struct strangers {
    struct {
        char address[STRANGERS_ADDRESS_MAX];
        struct log_repeat repeat;
    } row[STRANGERS_MAX];
    struct log_repeat others;
};

/* True when this refusal is to be told now; *ret_hidden: how many of this address, or of all that
 * share a row, were not told before it. address: without a port. */
bool strangers_tell(struct strangers *s, const char *address, hm_ms now_ms, uint64_t *ret_hidden);

#endif
