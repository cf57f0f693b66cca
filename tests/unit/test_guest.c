/* A guest asks a member one question, over real sockets. The member's loop runs here, the guest,
 * who blocks, on a thread. */
#include "net/guest.h"

#include "base/log.h"
#include "net/link.h"
#include "tests/cm.h"

#include <event2/event.h>
#include <pthread.h>
#include <string.h>

static const uint8_t our_key[32] = "0123456789abcdef0123456789abcde";
static const uint8_t other_key[32] = "another key of another cluster!";

static struct {
    struct event_base *base;
    struct link_hub *hub;
    struct link_cluster *cluster;
    struct wire_hello hello;
    struct wire_service service;
    char address[HM_ADDRESS_MAX];
    char asked[64];
    char from[HM_NAME_MAX];
} member;

static struct {
    pthread_t thread;
    const uint8_t *key;
    struct guest_answer answer;
    enum hm_rc rc;
    struct hm_err err;
} guest;

static void on_frame(void *ctx, const struct link_peer *from, const struct wire_frame *f)
{
    struct wire_frame reply = { .type = WIRE_REPLY };

    (void)ctx;
    if (f->type != WIRE_CALL)
        return;
    (void)snprintf(member.asked, sizeof member.asked, "%s", f->call.text);
    (void)snprintf(member.from, sizeof member.from, "%s", from->name);
    reply.call.id = f->call.id;
    reply.call.text = "{\"rc\": 0}";
    assert_true(link_send(member.cluster, 0, from->name, &reply));
}

static struct link_cluster *add_cluster(const char *name, const uint8_t *key)
{
    struct link_cluster_config config = { .name = name,
                                          .key = key,
                                          .hello = &member.hello,
                                          .silence_ms = 1000,
                                          .retry_ms = 100,
                                          .on_frame = on_frame };
    struct link_cluster *c = NULL;
    struct hm_err err;

    assert_int_equal(link_hub_add(member.hub, &config, &c, &err), HM_OK);
    return c;
}

static int open_member(void **state)
{
    struct link_hub_config config = { .listen = "127.0.0.1:0" };
    struct record *first = &member.service.first;
    struct hm_err err;

    (void)state;
    memset(&member, 0, sizeof member);
    memset(&guest, 0, sizeof guest);
    member.base = event_base_new();
    config.base = member.base;
    member.hello =
        (struct wire_hello){ .version = WIRE_VERSION, .incarnation = 7, .services_n = 1 };
    member.hello.service = &member.service;
    memcpy(member.hello.cluster, "prod", 5);
    memcpy(member.hello.from, "db1", 4);
    memcpy(member.service.name, "pg", 3);
    first->ttl_ms = 1000;
    first->heartbeat_ms = 100;
    first->voters = 1;
    first->member[0].role = ROLE_DB;
    memcpy(first->member[0].name, "db1", 4);
    assert_int_equal(link_hub_new(&config, &member.hub, &err), HM_OK);
    member.cluster = add_cluster("prod", our_key);
    (void)snprintf(member.address, sizeof member.address, "127.0.0.1:%u",
                   link_hub_port(member.hub));
    guest.key = our_key;
    return 0;
}

static int close_member(void **state)
{
    (void)state;
    link_hub_free(member.hub);
    event_base_free(member.base);
    return 0;
}

static void *run_guest(void *arg)
{
    (void)arg;
    guest.rc = guest_ask(member.address, guest.key, "{\"command\": \"config\"}", 10000,
                         &guest.answer, &guest.err);
    return NULL;
}

/* The loop turns in short pieces, for the guest's thread may not touch it. */
static void asks(void)
{
    const struct timeval piece = { .tv_usec = 20000 };
    int rc;

    assert_int_equal(pthread_create(&guest.thread, NULL, run_guest, NULL), 0);
    do {
        (void)event_base_loopexit(member.base, &piece);
        (void)event_base_dispatch(member.base);
        rc = pthread_tryjoin_np(guest.thread, NULL);
    } while (rc != 0);
}

static void a_guest_needs_the_key_only(void **state)
{
    (void)state;
    asks();
    assert_int_equal(guest.rc, HM_OK);
    assert_string_equal(guest.answer.text, "{\"rc\": 0}");
    assert_string_equal(guest.answer.cluster, "prod");
    assert_string_equal(guest.answer.from, "db1");
    assert_string_equal(guest.answer.own_host, "127.0.0.1");
    assert_int_equal(guest.answer.version, WIRE_VERSION);
    assert_string_equal(member.asked, "{\"command\": \"config\"}");
    assert_int_equal(strncmp(member.from, "guest-", 6), 0);
}

static void a_guest_with_another_key_is_refused(void **state)
{
    (void)state;
    guest.key = other_key;
    asks();
    assert_int_equal(guest.rc, HM_REFUSED);
    assert_non_null(strstr(guest.err.text, "key"));
    assert_int_equal(member.asked[0], 0);
}

static void nobody_is_a_guest_of_many_clusters(void **state)
{
    (void)state;
    (void)add_cluster("blog", other_key);
    asks();
    assert_int_equal(guest.rc, HM_REFUSED);
}

static void a_witness_answers_no_guest(void **state)
{
    (void)state;
    member.hello.services_n = 0;
    asks();
    assert_int_equal(guest.rc, HM_REFUSED);
    assert_non_null(strstr(guest.err.text, "db1 is a witness"));
}

static void where_nobody_listens_there_is_no_answer(void **state)
{
    (void)state;
    (void)snprintf(member.address, sizeof member.address, "127.0.0.1:1");
    asks();
    assert_int_equal(guest.rc, HM_FAILED);
    assert_non_null(strstr(guest.err.text, "127.0.0.1:1"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_member, close_member)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_guest_needs_the_key_only),
        TEST(a_guest_with_another_key_is_refused),
        TEST(nobody_is_a_guest_of_many_clusters),
        TEST(a_witness_answers_no_guest),
        TEST(where_nobody_listens_there_is_no_answer),
    };

    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
