/* tls.h - what the links know of TLS: version 1.3 with a cluster's key, and nothing else.
 *
 * There are no certificates, so a handshake in which the key plays no part cannot succeed; that it
 * played its part is looked at once more by tls_is_proven(). No tickets, no early data: bytes of a
 * recorded session are worth nothing to who plays them again. */
#ifndef HAMGR_NET_TLS_H
#define HAMGR_NET_TLS_H

#include "base/err.h"

#include <openssl/ssl.h>

enum { TLS_KEY_SIZE = 32 };

/* A key and the name under which both sides know it. Borrowed, must outlive the handshake. */
struct tls_key {
    const char *identity;
    const uint8_t *key; /* TLS_KEY_SIZE bytes */
};

/* Finds the key of the one that shakes hands. As server `identity` is what the client claims, not
 * NUL-terminated; as client it is NULL. False: there is none. `user` is of tls_new(). */
typedef bool tls_find(void *user, const unsigned char *identity, size_t size,
                      struct tls_key *ret_key);

/* One for all links. HM_FAILED: OpenSSL cannot do what it must. */
enum hm_rc tls_context(tls_find *find, SSL_CTX **ret_ctx, struct hm_err *err) HM_MUST_CHECK;

/* One link; NULL: no memory. */
SSL *tls_new(SSL_CTX *ctx, void *user);

/* True once the handshake has ended and both sides have shown that they know the key. */
bool tls_is_proven(SSL *ssl);

/* What an error of OpenSSL means here, as people understand it; NULL: nothing that the other end
 * did wrong. Borrowed from OpenSSL or constant. */
const char *tls_fault(unsigned long number);

#endif
