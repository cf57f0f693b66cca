/* link_rogue.h - connections that no member would make: with what TLS, key and bytes one wants. */
#ifndef TESTS_UNIT_LINK_ROGUE_H
#define TESTS_UNIT_LINK_ROGUE_H

#include "net/tls.h"
#include "tests/unit/link_made.h"

#include <event2/bufferevent_ssl.h>

struct rogue {
    struct bufferevent *bev;
    SSL *ssl;
    const uint8_t *say; /* once it is connected, or once TLS is up */
    size_t say_n;
    bool closes; /* after that */
    bool is_up, is_over;
    size_t heard;
};

static inline void rogue_hears(struct bufferevent *bev, void *arg)
{
    struct rogue *r = arg;
    struct evbuffer *in = bufferevent_get_input(bev);

    r->heard += evbuffer_get_length(in);
    (void)evbuffer_drain(in, evbuffer_get_length(in));
}

static inline void rogue_close(struct rogue *r)
{
    if (r->bev != NULL)
        bufferevent_free(r->bev);
    r->bev = NULL;
    r->is_over = true;
}

static inline void rogue_has_said(struct bufferevent *bev, void *arg)
{
    struct rogue *r = arg;

    (void)bev;
    if (r->closes && r->is_up)
        rogue_close(r);
}

static inline void rogue_changed(struct bufferevent *bev, short what, void *arg)
{
    struct rogue *r = arg;

    if ((what & BEV_EVENT_CONNECTED) == 0) {
        rogue_close(r);
        return;
    }
    r->is_up = true;
    if (r->say_n > 0)
        assert_int_equal(bufferevent_write(bev, r->say, r->say_n), 0);
}

/* ctx: NULL: no TLS at all. */
static inline void rogue_open(struct rogue *r, const struct side *at, SSL_CTX *ctx, const void *say,
                              size_t say_n)
{
    struct sockaddr_in to = made_loopback(link_hub_port(at->hub));

    memset(r, 0, sizeof *r);
    r->say = say;
    r->say_n = say_n;
    if (ctx != NULL) {
        r->ssl = tls_new(ctx, r);
        assert_non_null(r->ssl);
        r->bev = bufferevent_openssl_socket_new(made_base, -1, r->ssl, BUFFEREVENT_SSL_CONNECTING,
                                                BEV_OPT_CLOSE_ON_FREE);
    } else {
        r->bev = bufferevent_socket_new(made_base, -1, BEV_OPT_CLOSE_ON_FREE);
    }
    assert_non_null(r->bev);
    bufferevent_setcb(r->bev, rogue_hears, rogue_has_said, rogue_changed, r);
    assert_int_equal(bufferevent_enable(r->bev, EV_READ | EV_WRITE), 0);
    assert_int_equal(bufferevent_socket_connect(r->bev, (struct sockaddr *)&to, sizeof to), 0);
}

static inline bool rogue_is_over(void *arg)
{
    return ((struct rogue *)arg)->is_over;
}

static struct tls_key rogue_key;

static inline bool find_rogue_key(void *user, const unsigned char *identity, size_t size,
                                  struct tls_key *ret_key)
{
    (void)user;
    (void)identity;
    (void)size;
    *ret_key = rogue_key;
    return true;
}

/* TLS as a member has it, with this key. */
static inline SSL_CTX *member_tls(const char *identity, const uint8_t *key)
{
    struct hm_err err;
    SSL_CTX *ctx;

    rogue_key = (struct tls_key){ .identity = identity, .key = key };
    if (tls_context(find_rogue_key, &ctx, &err) != HM_OK)
        fail_msg("no TLS: %s", err.text);
    return ctx;
}

#endif
