#include "net/tls.h"

#include <openssl/err.h>
#include <string.h>

/* A key belongs to one hash, and this suite has SHA-256: offering another would need a second key.
 */
static const unsigned char suite_id[] = { 0x13, 0x01 };
/* OpenSSL wants to know which application a session, thus a key, belongs to. */
static const unsigned char context_name[] = { 'h', 'a', 'm', 'g', 'r' };
static const char suite_name[] = "TLS_AES_128_GCM_SHA256";

static int find_index(void)
{
    static int index = -1;

    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return index;
}

static tls_find *find_of(SSL *ssl)
{
    void *stored = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), find_index());
    tls_find *find;

    memcpy(&find, &stored, sizeof find); /* ISO C has no cast for that */
    return find;
}

/* OpenSSL takes a key as the session that it would resume. */
static SSL_SESSION *session_of(SSL *ssl, const struct tls_key *k)
{
    const SSL_CIPHER *suite = SSL_CIPHER_find(ssl, suite_id);
    SSL_SESSION *s = SSL_SESSION_new();

    if (s != NULL && suite != NULL && SSL_SESSION_set1_master_key(s, k->key, TLS_KEY_SIZE) == 1 &&
        SSL_SESSION_set_cipher(s, suite) == 1 &&
        SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION) == 1 &&
        SSL_SESSION_set1_id_context(s, context_name, sizeof context_name) == 1)
        return s;
    SSL_SESSION_free(s);
    return NULL;
}

static int on_server_key(SSL *ssl, const unsigned char *identity, size_t size,
                         SSL_SESSION **ret_session)
{
    struct tls_key k;

    *ret_session = NULL; /* unknown: the handshake goes on without a key, and fails */
    if (find_of(ssl)(SSL_get_app_data(ssl), identity, size, &k)) {
        *ret_session = session_of(ssl, &k);
        return *ret_session != NULL;
    }
    return 1;
}

static int on_client_key(SSL *ssl, const EVP_MD *md, const unsigned char **ret_identity,
                         size_t *ret_size, SSL_SESSION **ret_session)
{
    struct tls_key k;

    (void)md; /* there is one suite, so it is the hash of the key */
    *ret_session = NULL;
    if (!find_of(ssl)(SSL_get_app_data(ssl), NULL, 0, &k))
        return 0;
    *ret_session = session_of(ssl, &k);
    *ret_identity = (const unsigned char *)k.identity;
    *ret_size = strlen(k.identity);
    return *ret_session != NULL;
}

enum hm_rc tls_context(tls_find *find, SSL_CTX **ret_ctx, struct hm_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    void *stored;

    memcpy(&stored, &find, sizeof stored);
    if (ctx == NULL || find_index() < 0 || SSL_CTX_set_ex_data(ctx, find_index(), stored) != 1 ||
        SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, suite_name) != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519:P-256") != 1 ||
        SSL_CTX_set_num_tickets(ctx, 0) != 1 ||
        SSL_CTX_set_session_id_context(ctx, context_name, sizeof context_name) != 1) {
        const char *why = ERR_reason_error_string(ERR_get_error());

        SSL_CTX_free(ctx);
        return hm_fail(err, HM_FAILED, "cannot set up TLS: %s", why != NULL ? why : "?");
    }
    (void)SSL_CTX_set_options(ctx,
                              SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF /* OpenSSL 1.1.1 ignores it always */
    /* A peer that dies sends no farewell, and frames have their lengths: an end is just an end. */
    (void)SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
    (void)SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL); /* no certificate would be believed */
    SSL_CTX_set_psk_find_session_callback(ctx, on_server_key);
    SSL_CTX_set_psk_use_session_callback(ctx, on_client_key);
    *ret_ctx = ctx;
    return HM_OK;
}

SSL *tls_new(SSL_CTX *ctx, void *user)
{
    SSL *ssl = SSL_new(ctx);

    if (ssl != NULL)
        (void)SSL_set_app_data(ssl, user); /* its index exists from the start */
    return ssl;
}

bool tls_is_proven(SSL *ssl)
{
    return SSL_is_init_finished(ssl) && SSL_session_reused(ssl) == 1 &&
           SSL_version(ssl) == TLS1_3_VERSION;
}

const char *tls_fault(unsigned long number)
{
    if (ERR_GET_LIB(number) != ERR_LIB_SSL)
        return NULL;
    switch (ERR_GET_REASON(number)) {
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING /* OpenSSL 1.1.1 has no such fault */
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return NULL;
#endif
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM: /* no key of ours was named, and we have no other */
    case SSL_R_NO_SHARED_CIPHER:
        return "it names no cluster that is known here";
    case SSL_R_BINDER_DOES_NOT_VERIFY:
        return "its key is not that of the cluster";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return "the other end does not know the cluster";
    case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR: /* the same, from OpenSSL 3.5 on */
        return "the other end has another key for the cluster";
    default:
        return ERR_reason_error_string(number);
    }
}
