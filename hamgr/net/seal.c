#include "net/seal.h"

#include "base/bytes.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

enum { NONCE = 12, TAG = SEAL_MORE - SEAL_HEAD };

static const char label[] = "EXPORTER-hamgr-datagram";

bool seal_make(SSL *ssl, struct seal *ret_says, struct seal *ret_hears)
{
    uint8_t made[2][SEAL_ID + SEAL_KEY]; /* of what the client says, then the server */
    unsigned mine = SSL_is_server(ssl) ? 1 : 0;

    if (SSL_export_keying_material(ssl, &made[0][0], sizeof made, label, sizeof label - 1, NULL, 0,
                                   0) != 1)
        return false;
    memset(ret_says, 0, sizeof *ret_says);
    memset(ret_hears, 0, sizeof *ret_hears);
    memcpy(ret_says->id, made[mine], SEAL_ID);
    memcpy(ret_says->key, made[mine] + SEAL_ID, SEAL_KEY);
    memcpy(ret_hears->id, made[1 - mine], SEAL_ID);
    memcpy(ret_hears->key, made[1 - mine] + SEAL_ID, SEAL_KEY);
    OPENSSL_cleanse(made, sizeof made);
    return true;
}

/* A number is used once with a key, so it is the nonce. NULL: no memory. */
static EVP_CIPHER_CTX *begin(const struct seal *s, uint64_t number, bool is_closing)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t nonce[NONCE] = { 0 };

    bytes_put(nonce + NONCE - 8, 8, number);
    if (ctx != NULL &&
        EVP_CipherInit_ex(ctx, EVP_aes_128_gcm(), NULL, s->key, nonce, is_closing ? 1 : 0) == 1)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

bool seal_close(struct seal *s, const uint8_t *plain, size_t size, uint8_t *ret)
{
    EVP_CIPHER_CTX *ctx = begin(s, s->number + 1, true);
    bool is_ok;
    int n;

    if (ctx == NULL)
        return false;
    s->number++;
    memcpy(ret, s->id, SEAL_ID);
    bytes_put(ret + SEAL_ID, 8, s->number);
    is_ok = EVP_CipherUpdate(ctx, NULL, &n, ret, SEAL_HEAD) == 1 &&
            EVP_CipherUpdate(ctx, ret + SEAL_HEAD, &n, plain, (int)size) == 1 &&
            EVP_CipherFinal_ex(ctx, ret + SEAL_HEAD + size, &n) == 1 &&
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, ret + SEAL_HEAD + size) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return is_ok;
}

bool seal_open(struct seal *s, const uint8_t *sealed, size_t size, uint8_t *ret)
{
    uint8_t tag[TAG];
    EVP_CIPHER_CTX *ctx;
    uint64_t number;
    size_t inner;
    bool is_ok;
    int n;

    if (size < SEAL_MORE || memcmp(sealed, s->id, SEAL_ID) != 0)
        return false;
    number = bytes_get(sealed + SEAL_ID, 8);
    inner = size - SEAL_MORE;
    ctx = number > s->number ? begin(s, number, false) : NULL;
    if (ctx == NULL)
        return false;
    memcpy(tag, sealed + SEAL_HEAD + inner, TAG);
    is_ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1 &&
            EVP_CipherUpdate(ctx, NULL, &n, sealed, SEAL_HEAD) == 1 &&
            EVP_CipherUpdate(ctx, ret, &n, sealed + SEAL_HEAD, (int)inner) == 1 &&
            EVP_CipherFinal_ex(ctx, ret + inner, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (is_ok)
        s->number = number;
    return is_ok;
}
