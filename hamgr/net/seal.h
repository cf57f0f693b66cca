/* seal.h - datagrams that belong to a link: sealed with keys that only its two ends know.
 *
 * The keys come out of the link's own TLS handshake, one for each direction, and end with it. A
 * sealed datagram is the seal's id, a number that rises with each, and the text, encrypted and
 * authenticated together with both; whoever opens it has to refuse numbers that it has seen. */
#ifndef HAMGR_NET_SEAL_H
#define HAMGR_NET_SEAL_H

#include "base/base.h"

#include <openssl/ssl.h>

enum {
    SEAL_ID = 8,
    SEAL_KEY = 16,
    SEAL_HEAD = SEAL_ID + 8, /* in clear: id and number, high byte first */
    SEAL_MORE = SEAL_HEAD + 16
};

struct seal {
    uint8_t id[SEAL_ID];
    uint8_t key[SEAL_KEY];
    uint64_t number; /* of the newest that was sealed, or opened */
};

/* The seals of a link whose handshake has ended: of what we say, and of what we hear. False:
 * OpenSSL cannot, and the link has no datagrams. */
bool seal_make(SSL *ssl, struct seal *ret_says, struct seal *ret_hears);

/* Seals `size` bytes into `ret`, which has room for SEAL_MORE more. False: OpenSSL cannot. */
bool seal_close(struct seal *s, const uint8_t *plain, size_t size, uint8_t *ret);

/* Opens a datagram of `size` bytes into `ret`, which has room for size - SEAL_MORE. False: it is
 * too short, has another id, was opened before, or is older than one that was, or is forged. */
bool seal_open(struct seal *s, const uint8_t *sealed, size_t size, uint8_t *ret);

#endif
