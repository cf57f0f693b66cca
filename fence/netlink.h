/* netlink.h - messages to the kernel, built by hand in a buffer of the caller.
 *
 * The helper allocates nothing after its start and renews the gate several times a second, so it
 * speaks netlink itself instead of through a library that parses text. What does not fit marks the
 * message as too long, and netlink_talk() then refuses it. */
#ifndef FENCE_NETLINK_H
#define FENCE_NETLINK_H

#include "base/err.h"

#include <linux/netlink.h>

enum { NETLINK_SIZE = 16384 };

struct netlink {
    _Alignas(8) unsigned char bytes[NETLINK_SIZE];
    size_t n;
    size_t message; /* where the message under way begins */
    uint32_t seq;   /* of the newest message */
    bool is_too_long;
};

/* HM_FAILED: the kernel lacks that family. */
enum hm_rc netlink_open(int family, int *ret_fd, struct hm_err *err) HM_MUST_CHECK;

void netlink_clear(struct netlink *b);
/* Begins a message with the fixed part that its kind has behind the header. */
void netlink_begin(struct netlink *b, uint16_t type, uint16_t flags, const void *fixed,
                   size_t size);
void netlink_end(struct netlink *b);

void netlink_put(struct netlink *b, uint16_t type, const void *data, size_t size);
void netlink_put_text(struct netlink *b, uint16_t type, const char *text);
void netlink_put_be32(struct netlink *b, uint16_t type, uint32_t number);
void netlink_put_be64(struct netlink *b, uint16_t type, uint64_t number);
/* Begins an attribute that holds others; returns what netlink_close() wants. */
size_t netlink_nest(struct netlink *b, uint16_t type);
void netlink_close(struct netlink *b, size_t nest);

/* Sends all messages in one packet and reads answers until the one that acknowledges `seq`, or a
 * refusal of any message. Returns 0, or the errno of the first refusal, or of a failed call. */
int netlink_talk(int fd, const struct netlink *b, uint32_t seq);

#endif
