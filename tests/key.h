/* key.h - a key for a certificate of a test, made as OpenSSL 1.1.1 can do it, too. */
#ifndef HAMGR_TESTS_KEY_H
#define HAMGR_TESTS_KEY_H

#include <openssl/ec.h>
#include <openssl/evp.h>

/* NULL: it failed. The caller frees it. */
static inline EVP_PKEY *key_new(void)
{
    EVP_PKEY_CTX *making = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
    EVP_PKEY *key = NULL;

    if (making != NULL && EVP_PKEY_keygen_init(making) == 1 &&
        EVP_PKEY_CTX_set_ec_paramgen_curve_nid(making, NID_X9_62_prime256v1) == 1)
        (void)EVP_PKEY_keygen(making, &key); /* key stays NULL if it fails */
    EVP_PKEY_CTX_free(making);
    return key;
}

#endif
