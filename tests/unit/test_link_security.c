/* Who is let in, and what those who are not can do: nothing but be counted. Every attack runs
 * beside a good link, which must not notice it. */
#include "net/link.h"

#include "net/tls.h"
#include "tests/cm.h"
#include "tests/key.h"
#include "tests/unit/link_made.h"
#include "tests/unit/link_rogue.h"

#include <event2/bufferevent_ssl.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

static struct side a, b;
static struct relay relay;

/* --- the good ones, and what they must not notice -------------------------------------------- */

static unsigned good_msgs;

static void good_says(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    if (side_say(&a, "b", ++good_msgs))
        return;
    good_msgs--;
}

static struct event *good_beat;

static bool b_hears_a(void *arg)
{
    (void)arg;
    return b.msgs > 2;
}

static int open_good(void **state)
{
    static const struct timeval beat = { .tv_usec = 20000 };

    (void)state;
    good_msgs = 0;
    side_open(&b, "b", 22, NULL);
    side_open(&a, "a", 11, "");
    relay_open(&relay, &b);
    link_dial(a.cluster, "b", relay.address);
    good_beat = event_new(made_base, -1, EV_PERSIST, good_says, NULL);
    assert_non_null(good_beat);
    assert_int_equal(event_add(good_beat, &beat), 0);
    assert_true(made_run(b_hears_a, NULL, 5000));
    return 0;
}

static int close_good(void **state)
{
    (void)state;
    event_free(good_beat);
    side_close(&a);
    side_close(&b);
    relay_done(&relay);
    made_pass(10); /* what libevent frees after a turn of the loop */
    return 0;
}

/* The good link is the one that it was, and nothing that it said was lost. */
static void good_is_untouched(void)
{
    (void)event_del(good_beat);
    made_pass(60);
    assert_true(side_is_up(&a, "b") && side_is_up(&b, "a"));
    assert_int_equal(b.hellos, 1);
    assert_int_equal(a.hellos, 1);
    assert_int_equal(b.msgs, good_msgs);
    assert_int_equal(b.last_from.incarnation, 11);
    assert_string_equal(b.last_from.name, "a");
}

static void expect_refused(struct rogue *r)
{
    assert_true(made_run(rogue_is_over, r, 5000));
    made_pass(20);
    assert_int_equal(side_refused(&b), 1);
    assert_int_equal(side_links(&b), 1);
    good_is_untouched();
}

/* --- strangers ------------------------------------------------------------------------------- */

static void without_a_key_nobody_gets_in(void **state)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    struct rogue r;

    (void)state;
    rogue_open(&r, &b, ctx, NULL, 0);
    expect_refused(&r);
    assert_false(r.is_up);
    SSL_CTX_free(ctx);
}

static void with_another_key_nobody_gets_in(void **state)
{
    SSL_CTX *ctx = member_tls("prod", made_other_key);
    struct rogue r;

    (void)state;
    rogue_open(&r, &b, ctx, NULL, 0);
    expect_refused(&r);
    assert_false(r.is_up);
    SSL_CTX_free(ctx);
}

static void a_cluster_that_is_not_here_does_not_get_in(void **state)
{
    SSL_CTX *ctx = member_tls("test", made_key);
    struct rogue r;

    (void)state;
    rogue_open(&r, &b, ctx, NULL, 0);
    expect_refused(&r);
    assert_false(r.is_up);
    SSL_CTX_free(ctx);
}

static unsigned int psk_of_1_2(SSL *ssl, const char *hint, char *identity,
                               unsigned int identity_max, unsigned char *key, unsigned int key_max)
{
    (void)ssl;
    (void)hint;
    (void)snprintf(identity, identity_max, "prod");
    assert_true(key_max >= sizeof made_key);
    memcpy(key, made_key, sizeof made_key);
    return sizeof made_key;
}

static void an_older_tls_does_not_get_in_with_the_right_key(void **state)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    struct rogue r;

    (void)state;
    SSL_CTX_set_psk_client_callback(ctx, psk_of_1_2);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION), 1);
    assert_int_equal(SSL_CTX_set_cipher_list(ctx, "PSK"), 1);
    rogue_open(&r, &b, ctx, NULL, 0);
    expect_refused(&r);
    assert_false(r.is_up);
    SSL_CTX_free(ctx);
}

static void plain_text_does_not_get_in(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: b\r\n\r\n";
    struct rogue r;

    (void)state;
    rogue_open(&r, &b, NULL, text, sizeof text - 1);
    expect_refused(&r);
}

static void a_frame_without_tls_does_not_get_in(void **state)
{
    struct wire_frame f = { .type = WIRE_HELLO, .hello = &a.hello };
    static uint8_t bytes[4096];
    struct hm_err err;
    struct rogue r;
    size_t n;

    (void)state;
    assert_int_equal(wire_pack(&f, bytes, sizeof bytes, &n, &err), HM_OK);
    rogue_open(&r, &b, NULL, bytes, n);
    expect_refused(&r);
}

/* All that the good peer has said, from its first handshake on, said again. */
static void a_recorded_session_does_not_get_in(void **state)
{
    struct rogue r;

    (void)state;
    assert_true(relay.kept_n > 400);
    rogue_open(&r, &b, NULL, relay.kept, relay.kept_n);
    expect_refused(&r);
}

static void who_only_holds_a_connection_is_dropped(void **state)
{
    hm_ms began_ms = clock_boot_ms();
    struct rogue r;

    (void)state;
    rogue_open(&r, &b, NULL, NULL, 0);
    expect_refused(&r);
    assert_in_range((uintmax_t)(clock_boot_ms() - began_ms), MADE_HANDSHAKE_MS, 4000);
}

/* --- members that misbehave ------------------------------------------------------------------- */

static void a_member_that_does_not_say_hello_is_dropped(void **state)
{
    SSL_CTX *ctx = member_tls("prod", made_key);
    struct rogue r;

    (void)state;
    rogue_open(&r, &b, ctx, "\0\0\1", 3); /* and not even a whole length */
    expect_refused(&r);
    assert_true(r.is_up); /* it has the key */
    assert_int_equal(r.heard, 0);
    SSL_CTX_free(ctx);
}

static void a_frame_of_huge_length_ends_the_connection_at_once(void **state)
{
    static const uint8_t lengths[][WIRE_LENGTH] = { { 0xff, 0xff, 0xff, 0xff }, { 0, 1, 0, 1 } };
    SSL_CTX *ctx = member_tls("prod", made_key);
    struct rogue r;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        hm_ms began_ms = clock_boot_ms();

        rogue_open(&r, &b, ctx, lengths[i], WIRE_LENGTH);
        assert_true(made_run(rogue_is_over, &r, 5000));
        assert_true(clock_boot_ms() - began_ms < MADE_HANDSHAKE_MS);
        assert_int_equal(side_refused(&b), i + 1);
    }
    good_is_untouched();
    SSL_CTX_free(ctx);
}

static void a_cut_frame_is_refused(void **state)
{
    static const uint8_t cut[] = { 0, 0, 1, 0, 10, 7 };
    SSL_CTX *ctx = member_tls("prod", made_key);
    struct rogue r;

    (void)state;
    rogue_open(&r, &b, ctx, cut, sizeof cut);
    r.closes = true;
    expect_refused(&r);
    SSL_CTX_free(ctx);
}

static void refuse_hello(const struct wire_frame *f, unsigned count)
{
    SSL_CTX *ctx = member_tls("prod", made_key);
    static uint8_t bytes[4096];
    struct hm_err err;
    struct rogue r;
    size_t n;

    assert_int_equal(wire_pack(f, bytes, sizeof bytes, &n, &err), HM_OK);
    rogue_open(&r, &b, ctx, bytes, n);
    assert_true(made_run(rogue_is_over, &r, 5000));
    made_pass(20);
    assert_int_equal(side_refused(&b), count);
    assert_int_equal(r.heard, 0);
    SSL_CTX_free(ctx);
}

static void a_wrong_hello_is_refused(void **state)
{
    struct wire_hello hello = { .version = 1, .incarnation = 5, .cluster = "prod", .from = "x" };
    struct wire_frame f = { .type = WIRE_HELLO, .hello = &hello };

    (void)state;
    memcpy(hello.cluster, "test", 5); /* the key is that of prod */
    refuse_hello(&f, 1);
    memcpy(hello.cluster, "prod", 5);
    hello.from[0] = 0;
    refuse_hello(&f, 2);
    hello.from[0] = 'b'; /* our own name */
    refuse_hello(&f, 3);
    hello.from[0] = 'x';
    hello.incarnation = 0;
    refuse_hello(&f, 4);
    f = (struct wire_frame){ .type = WIRE_CALL, .call = { .id = 1, .text = "status" } };
    refuse_hello(&f, 5);
    assert_int_equal(b.calls, 0);
    good_is_untouched();
}

/* --- what those who dial are told ------------------------------------------------------------- */

static struct link_cluster *stray;

static bool stray_knows_why(void *arg)
{
    struct link_state look;

    link_look(stray, "b", &look);
    return strstr(look.why, arg) != NULL;
}

static void dial_b_with(const char *cluster, const uint8_t *key, const char *why)
{
    struct link_cluster_config config = { .name = cluster,
                                          .key = key,
                                          .hello = &a.hello,
                                          .silence_ms = MADE_SILENCE_MS,
                                          .retry_ms = MADE_RETRY_MS,
                                          .on_frame = side_hears,
                                          .ctx = &a };
    struct link_hub_config hub_config = { .base = made_base };
    struct link_hub *hub;
    struct hm_err err;
    char text[96];

    (void)snprintf(text, sizeof text, "%s", why);
    assert_int_equal(link_hub_new(&hub_config, &hub, &err), HM_OK);
    assert_int_equal(link_hub_add(hub, &config, &stray, &err), HM_OK);
    link_dial(stray, "b", b.address);
    assert_true(made_run(stray_knows_why, text, 5000));
    link_hub_free(hub);
}

static void a_wrong_key_is_named_to_who_has_it(void **state)
{
    (void)state;
    dial_b_with("prod", made_other_key, "the other end has another key for the cluster");
    dial_b_with("test", made_key, "the other end does not know the cluster");
    good_is_untouched();
}

/* --- a server that is none of us -------------------------------------------------------------- */

static void sign_ourselves(SSL_CTX *ctx)
{
    EVP_PKEY *key = key_new();
    X509 *cert = X509_new();

    assert_true(key != NULL && cert != NULL);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct bufferevent *impostor;
static SSL_CTX *impostor_tls;
static unsigned impostors;
static size_t impostor_heard;

static void impostor_hears(struct bufferevent *bev, void *arg)
{
    (void)arg;
    impostor_heard += evbuffer_get_length(bufferevent_get_input(bev));
}

static void impostor_takes(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from,
                           int size, void *arg)
{
    (void)l;
    (void)from;
    (void)size;
    (void)arg;
    if (impostor != NULL)
        bufferevent_free(impostor);
    impostors++;
    impostor = bufferevent_openssl_socket_new(made_base, fd, SSL_new(impostor_tls),
                                              BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    assert_non_null(impostor);
    bufferevent_setcb(impostor, impostor_hears, NULL, NULL, NULL);
    assert_int_equal(bufferevent_enable(impostor, EV_READ | EV_WRITE), 0);
}

static bool impostor_was_tried(void *arg)
{
    (void)arg;
    return impostors >= 3;
}

static void a_server_with_a_certificate_hears_nothing(void **state)
{
    struct sockaddr_in at = made_loopback(0);
    socklen_t size = sizeof at;
    struct evconnlistener *l;
    struct link_state look;
    char address[HM_ADDRESS_MAX];

    (void)state;
    impostor_tls = SSL_CTX_new(TLS_method());
    sign_ourselves(impostor_tls);
    l = evconnlistener_new_bind(made_base, impostor_takes, NULL, LEV_OPT_CLOSE_ON_FREE, 8,
                                (struct sockaddr *)&at, sizeof at);
    assert_non_null(l);
    assert_int_equal(getsockname(evconnlistener_get_fd(l), (struct sockaddr *)&at, &size), 0);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", ntohs(at.sin_port));
    link_dial(a.cluster, "c", address);
    assert_true(made_run(impostor_was_tried, NULL, 5000));
    link_look(a.cluster, "c", &look);
    assert_false(look.is_up);
    assert_non_null(strstr(look.why, "certificate verify failed"));
    assert_int_equal(impostor_heard, 0);
    link_undial(a.cluster, "c");
    good_is_untouched();
    evconnlistener_free(l);
    bufferevent_free(impostor);
    made_pass(10);
    SSL_CTX_free(impostor_tls);
}

/* --- crowds ---------------------------------------------------------------------------------- */

enum { CROWD = 100 };

static struct rogue crowd[CROWD];

static unsigned crowd_over(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < CROWD; i++)
        n += crowd[i].is_over;
    return n;
}

static bool crowd_is_over(void *arg)
{
    (void)arg;
    return crowd_over() == CROWD;
}

static bool crowd_is_over_limit(void *arg)
{
    (void)arg;
    return crowd_over() >= CROWD - 64;
}

static bool newcomer_is_up(void *arg)
{
    return side_is_up(arg, "b");
}

static void a_crowd_of_strangers_does_not_keep_members_out(void **state)
{
    struct side newcomer;

    (void)state;
    for (unsigned i = 0; i < CROWD; i++)
        rogue_open(&crowd[i], &b, NULL, NULL, 0);
    assert_true(made_run(crowd_is_over_limit, NULL, 5000)); /* the oldest make room at once */
    side_open(&newcomer, "n", 44, "");
    link_dial(newcomer.cluster, "b", b.address);
    assert_true(made_run(newcomer_is_up, &newcomer, 5000));
    assert_true(made_run(crowd_is_over, NULL, 5000)); /* and the rest goes in time */
    assert_int_equal(side_refused(&b), CROWD);
    assert_int_equal(side_links(&b), 2);
    side_close(&newcomer);
    made_pass(20);
    b.hellos--; /* that of the newcomer */
    (void)event_del(good_beat);
    assert_int_equal(b.hellos, 1);
    assert_true(side_is_up(&a, "b") && side_is_up(&b, "a"));
    assert_int_equal(a.hellos, 1);
}

/* Standard error goes into a file meanwhile. */
static int saved_stderr;
static FILE *caught;

static void catch_log(void)
{
    caught = tmpfile();
    assert_non_null(caught);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0 && dup2(fileno(caught), STDERR_FILENO) >= 0);
}

static unsigned caught_lines(const char *with)
{
    char line[2048];
    unsigned n = 0;

    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    (void)close(saved_stderr);
    rewind(caught);
    while (fgets(line, sizeof line, caught) != NULL)
        n += strstr(line, with) != NULL;
    (void)fclose(caught);
    return n;
}

static void garbage_round(void)
{
    static const char text[] = "\x16\x03\x01 this is no TLS, and it goes on like this";

    for (unsigned i = 0; i < CROWD; i++)
        rogue_open(&crowd[i], &b, NULL, text, sizeof text - 1);
    assert_true(made_run(crowd_is_over, NULL, 10000));
    made_pass(10);
}

static size_t bytes_in_use(void)
{
#if __GLIBC_PREREQ(2, 33)
    return mallinfo2().uordblks;
#else
    return (size_t)mallinfo().uordblks;
#endif
}

static void refusals_cost_no_memory_and_one_line_of_log(void **state)
{
    size_t before, after;

    (void)state;
    catch_log();
    garbage_round();
    garbage_round();
    before = bytes_in_use();
    for (unsigned round = 0; round < 10; round++)
        garbage_round();
    after = bytes_in_use();
    assert_int_equal(caught_lines("link_refused"), 1);
    assert_int_equal(side_refused(&b), 12 * CROWD);
    print_message("bytes in use: %zu before, %zu after 1000 refusals\n", before, after);
    assert_true(after < before + 16 * 1024);
    good_is_untouched();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_good, close_good)
        TEST(without_a_key_nobody_gets_in),
        TEST(with_another_key_nobody_gets_in),
        TEST(a_cluster_that_is_not_here_does_not_get_in),
        TEST(an_older_tls_does_not_get_in_with_the_right_key),
        TEST(plain_text_does_not_get_in),
        TEST(a_frame_without_tls_does_not_get_in),
        TEST(a_recorded_session_does_not_get_in),
        TEST(who_only_holds_a_connection_is_dropped),
        TEST(a_member_that_does_not_say_hello_is_dropped),
        TEST(a_frame_of_huge_length_ends_the_connection_at_once),
        TEST(a_cut_frame_is_refused),
        TEST(a_wrong_hello_is_refused),
        TEST(a_wrong_key_is_named_to_who_has_it),
        TEST(a_server_with_a_certificate_hears_nothing),
        TEST(a_crowd_of_strangers_does_not_keep_members_out),
        TEST(refusals_cost_no_memory_and_one_line_of_log),
    };

    return cmocka_run_group_tests_name("link_security", tests, made_begin, made_end);
}
