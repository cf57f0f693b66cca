#include "net/guest.h"

#include "base/clock.h"
#include "net/inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct guest {
    int fd;
    SSL_CTX *tls;
    SSL *ssl;
    const uint8_t *key;
    hm_ms until_ms;
    struct wire_storage storage;
    uint8_t bytes[WIRE_LENGTH + WIRE_FRAME_MAX];
};

/* --- the connection -------------------------------------------------------------------------- */

static bool wait_for(const struct guest *g, short what)
{
    struct pollfd p = { .fd = g->fd, .events = what };
    int n;

    do {
        n = poll(&p, 1, (int)hm_max_ms(0, g->until_ms - clock_boot_ms()));
    } while (n < 0 && errno == EINTR);
    return n > 0;
}

static enum hm_rc connect_one(struct guest *g, const struct addrinfo *at, struct hm_err *err)
{
    socklen_t size = sizeof(int);
    int number = 0;

    g->fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (g->fd < 0)
        return hm_fail_errno(err, "no socket");
    if (connect(g->fd, at->ai_addr, at->ai_addrlen) == 0)
        return HM_OK;
    if (errno != EINPROGRESS)
        return hm_fail_errno(err, "cannot connect");
    if (!wait_for(g, POLLOUT))
        return hm_fail(err, HM_TIMED_OUT, "cannot connect: no answer in time");
    if (getsockopt(g->fd, SOL_SOCKET, SO_ERROR, &number, &size) < 0)
        number = errno;
    errno = number;
    return number == 0 ? HM_OK : hm_fail_errno(err, "cannot connect");
}

static enum hm_rc open_connection(struct guest *g, const char *address, struct hm_err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    char host[HM_ADDRESS_MAX], port[8];
    struct addrinfo *found;
    enum hm_rc rc;
    int number;

    if (!address_split(address, host, port))
        return hm_fail(err, HM_FAILED, "it is not HOST:PORT");
    number = getaddrinfo(host, port, &hints, &found);
    if (number != 0)
        return hm_fail(err, HM_FAILED, "%s", gai_strerror(number));
    rc = connect_one(g, found, err);
    freeaddrinfo(found);
    return rc;
}

static void note_own_host(const struct guest *g, struct guest_answer *ret)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;

    if (getsockname(g->fd, (struct sockaddr *)&own, &size) != 0 ||
        getnameinfo((struct sockaddr *)&own, size, ret->own_host, sizeof ret->own_host, NULL, 0,
                    NI_NUMERICHOST) != 0)
        ret->own_host[0] = '\0';
}

/* --- TLS ------------------------------------------------------------------------------------- */

static bool find_key(void *user, const unsigned char *identity, size_t size,
                     struct tls_key *ret_key)
{
    const struct guest *g = user;

    (void)identity;
    (void)size;
    *ret_key = (struct tls_key){ .identity = GUEST_IDENTITY, .key = g->key };
    return true;
}

/* After a call of OpenSSL that returned n: HM_OK, try again; else why not. */
static enum hm_rc go_on(struct guest *g, int n, struct hm_err *err)
{
    int os_error = errno;
    unsigned long number = ERR_peek_error();
    const char *fault = tls_fault(number);
    int what = SSL_get_error(g->ssl, n);

    ERR_clear_error();
    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
        return wait_for(g, what == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT)
                   ? HM_OK
                   : hm_fail(err, HM_TIMED_OUT, "no answer in time");
    if (fault != NULL)
        return hm_fail(err, HM_REFUSED, "%s", fault);
    if (!SSL_is_init_finished(g->ssl))
        return hm_fail(err, HM_REFUSED,
                       "it ended the handshake: another key, or no hamgr that is a member of one "
                       "cluster");
    return hm_fail(err, HM_FAILED, "%s",
                   os_error != 0 ? strerror(os_error) : "it closed the connection");
}

static enum hm_rc shake_hands(struct guest *g, struct hm_err *err)
{
    enum hm_rc rc = tls_context(find_key, &g->tls, err);
    int n;

    if (rc != HM_OK)
        return rc;
    g->ssl = tls_new(g->tls, g);
    if (g->ssl == NULL || SSL_set_fd(g->ssl, g->fd) != 1)
        return hm_fail(err, HM_FAILED, "no memory for TLS");
    errno = 0;
    while ((n = SSL_connect(g->ssl)) != 1) {
        rc = go_on(g, n, err);
        if (rc != HM_OK)
            return rc;
    }
    return tls_is_proven(g->ssl) ? HM_OK
                                 : hm_fail(err, HM_REFUSED, "the handshake ended without the key");
}

/* --- frames ---------------------------------------------------------------------------------- */

static enum hm_rc send_frame(struct guest *g, const struct wire_frame *f, struct hm_err *err)
{
    size_t used, sent = 0;
    enum hm_rc rc = wire_pack(f, g->bytes, sizeof g->bytes, &used, err);

    while (rc == HM_OK && sent < used) {
        int n = SSL_write(g->ssl, g->bytes + sent, (int)(used - sent));

        if (n > 0)
            sent += (size_t)n;
        else
            rc = go_on(g, n, err);
    }
    return rc;
}

static enum hm_rc read_bytes(struct guest *g, uint8_t *to, size_t size, struct hm_err *err)
{
    enum hm_rc rc = HM_OK;

    for (size_t have = 0; rc == HM_OK && have < size;) {
        int n = SSL_read(g->ssl, to + have, (int)(size - have));

        if (n > 0)
            have += (size_t)n;
        else
            rc = go_on(g, n, err);
    }
    return rc;
}

/* The next frame that is not empty, and of a kind that is known. */
static enum hm_rc read_frame(struct guest *g, struct wire_frame *ret, struct hm_err *err)
{
    uint8_t head[WIRE_LENGTH];
    enum hm_rc rc;
    size_t size;

    do {
        rc = read_bytes(g, head, sizeof head, err);
        if (rc != HM_OK)
            return rc;
        size = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        if (size > WIRE_FRAME_MAX)
            return hm_fail(err, HM_FAILED, "a frame of %zu bytes", size);
        rc = read_bytes(g, g->bytes, size, err);
        if (rc == HM_OK && size > 0) {
            rc = wire_unpack(g->bytes, size, &g->storage, ret, err);
            if (rc == HM_OK)
                return HM_OK;
        }
    } while (rc == HM_OK || rc == HM_REFUSED);
    return HM_FAILED;
}

/* --- the talk -------------------------------------------------------------------------------- */

static enum hm_rc greet(struct guest *g, struct guest_answer *ret, struct hm_err *err)
{
    struct wire_hello hello = { .version = WIRE_VERSION };
    struct wire_frame f = { .type = WIRE_HELLO, .hello = &hello };
    enum hm_rc rc;

    (void)snprintf(hello.software, sizeof hello.software, "hamgr %s", HAMGR_VERSION);
    while (hello.incarnation == 0)
        if (getrandom(&hello.incarnation, sizeof hello.incarnation, 0) < 0)
            return hm_fail_errno(err, "the kernel gives no random bytes");
    (void)snprintf(hello.from, sizeof hello.from, "guest-%08x", (unsigned)hello.incarnation);
    rc = send_frame(g, &f, err);
    if (rc == HM_OK)
        rc = read_frame(g, &f, err);
    if (rc != HM_OK)
        return rc;
    if (f.type != WIRE_HELLO)
        return hm_fail(err, HM_FAILED, "it says no hello");
    memcpy(ret->cluster, f.hello->cluster, sizeof ret->cluster);
    memcpy(ret->from, f.hello->from, sizeof ret->from);
    memcpy(ret->software, f.hello->software, sizeof ret->software);
    ret->version = f.hello->version;
    ret->services_n = f.hello->services_n;
    return ret->services_n > 0
               ? HM_OK
               : hm_fail(err, HM_REFUSED, "%s is a witness: name a database member", ret->from);
}

static enum hm_rc ask(struct guest *g, const char *question, struct guest_answer *ret,
                      struct hm_err *err)
{
    struct wire_frame f = { .type = WIRE_CALL };
    enum hm_rc rc;

    f.call.id = 1;
    f.call.text = question;
    rc = send_frame(g, &f, err);
    while (rc == HM_OK) {
        rc = read_frame(g, &f, err);
        if (rc != HM_OK || f.type != WIRE_REPLY)
            continue;
        (void)snprintf(ret->text, sizeof ret->text, "%s", f.call.text);
        return HM_OK;
    }
    return rc;
}

enum hm_rc guest_ask(const char *address, const uint8_t *key, const char *question, hm_ms limit_ms,
                     struct guest_answer *ret, struct hm_err *err)
{
    struct guest *g = calloc(1, sizeof *g);
    enum hm_rc rc;

    memset(ret, 0, sizeof *ret);
    if (g == NULL)
        return hm_fail(err, HM_FAILED, "no memory");
    g->fd = -1;
    g->key = key;
    g->until_ms = clock_boot_ms() + limit_ms;
    rc = open_connection(g, address, err);
    if (rc == HM_OK) {
        note_own_host(g, ret);
        rc = shake_hands(g, err);
    }
    if (rc == HM_OK)
        rc = greet(g, ret, err);
    if (rc == HM_OK)
        rc = ask(g, question, ret, err);
    if (rc != HM_OK)
        hm_wrap(err, "%s", address);
    SSL_free(g->ssl);
    SSL_CTX_free(g->tls);
    if (g->fd >= 0)
        (void)close(g->fd); /* everything that mattered was heard */
    free(g);
    return rc;
}
