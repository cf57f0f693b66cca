/* Datagrams beside a link: what TCP cannot carry any more arrives, and nothing that was not sealed
 * for this very link and this very moment does. */
#include "net/link.h"

#include "tests/cm.h"
#include "tests/unit/link_made.h"

enum { CAUGHT_MAX = 8 };

static struct side a, b;
static struct relay relay;

/* What a sends to b by datagrams comes here: the relay's address, as that of its TCP. */
static struct catcher {
    int fd;
    struct event *readable;
    bool passes_on;
    unsigned n;
    uint8_t caught[CAUGHT_MAX][2048];
    size_t size[CAUGHT_MAX];
} catcher;

static void throw(const uint8_t *bytes, size_t size)
{
    const struct sockaddr_in to = made_loopback(link_hub_port(b.hub));

    assert_int_equal(sendto(catcher.fd, bytes, size, 0, (const struct sockaddr *)&to, sizeof to),
                     size);
}

static void on_caught(evutil_socket_t fd, short what, void *arg)
{
    struct catcher *c = arg;
    unsigned i = c->n % CAUGHT_MAX;
    ssize_t n = recv(fd, c->caught[i], sizeof c->caught[i], 0);

    (void)what;
    assert_true(n > 0);
    c->size[i] = (size_t)n;
    c->n++;
    if (c->passes_on)
        throw(c->caught[i], c->size[i]);
}

static bool both_are_up(void *arg)
{
    (void)arg;
    return side_is_up(&a, "b") && side_is_up(&b, "a");
}

static bool b_has_messages(void *arg)
{
    return b.msgs >= *(const unsigned *)arg;
}

static bool has_caught(void *arg)
{
    return catcher.n >= *(const unsigned *)arg;
}

static bool has_refused(void *arg)
{
    return side_refused(&b) >= *(const uint64_t *)arg;
}

static bool says_urgently(uint32_t seq)
{
    struct wire_frame f = { .type = WIRE_MSG };

    f.msg.type = MSG_GOSSIP;
    f.msg.from_incarnation = a.hello.incarnation;
    f.msg.seq = seq;
    f.msg.gossip.follows = HM_NOBODY;
    return link_send_urgent(a.cluster, 0, "b", &f);
}

/* a dials b through the relay, whose datagrams are caught. */
static int open_world(void **state)
{
    unsigned one = 1;
    struct sockaddr_in at;

    if (made_begin(state) != 0)
        return -1;
    memset(&catcher, 0, sizeof catcher);
    side_open(&a, "a", 11, NULL);
    side_open(&b, "b", 22, NULL);
    relay_open(&relay, &b);
    at = made_loopback((uint16_t)atoi(strchr(relay.address, ':') + 1));
    catcher.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(catcher.fd, (struct sockaddr *)&at, sizeof at), 0);
    catcher.readable = event_new(made_base, catcher.fd, EV_READ | EV_PERSIST, on_caught, &catcher);
    assert_int_equal(event_add(catcher.readable, NULL), 0);
    link_dial(a.cluster, "b", relay.address);
    assert_true(made_run(both_are_up, NULL, 5000));
    assert_true(made_run(has_caught, &one, 5000)); /* the empty one, that shows that they arrive */
    catcher.n = 0;
    return 0;
}

static int close_world(void **state)
{
    event_free(catcher.readable);
    (void)close(catcher.fd);
    relay_done(&relay);
    side_close(&a);
    side_close(&b);
    return made_end(state);
}

/* Caught, and b has not got it by the link either. */
static void catches_one(void)
{
    unsigned one = 1;

    relay_cut(&relay, true);
    assert_true(says_urgently(7));
    assert_true(made_run(has_caught, &one, 2000));
    assert_int_equal(b.msgs, 0);
}

static void what_is_urgent_arrives_while_the_link_is_stuck(void **state)
{
    unsigned one = 1, two = 2;

    (void)state;
    catcher.passes_on = true;
    relay_cut(&relay, true);
    assert_true(says_urgently(7));
    assert_true(made_run(b_has_messages, &one, 2000));
    assert_int_equal(b.last_seq, 7);
    assert_string_equal(b.last_from.name, "a");
    assert_int_equal(b.last_from.incarnation, 11);
    relay_cut(&relay, false);
    assert_true(made_run(b_has_messages, &two, 2000)); /* by the link, too */
    assert_int_equal(b.last_seq, 7);
}

static void a_datagram_counts_once(void **state)
{
    uint64_t before = side_refused(&b) + 1;
    unsigned one = 1;

    (void)state;
    catches_one();
    throw(catcher.caught[0], catcher.size[0]);
    assert_true(made_run(b_has_messages, &one, 2000));
    throw(catcher.caught[0], catcher.size[0]);
    assert_true(made_run(has_refused, &before, 2000));
    assert_int_equal(b.msgs, 1);
}

static void an_older_one_is_refused(void **state)
{
    uint64_t before = side_refused(&b) + 1;
    unsigned one = 1, two = 2;

    (void)state;
    catches_one();
    assert_true(says_urgently(8));
    assert_true(made_run(has_caught, &two, 2000));
    throw(catcher.caught[1], catcher.size[1]);
    assert_true(made_run(b_has_messages, &one, 2000));
    assert_int_equal(b.last_seq, 8);
    throw(catcher.caught[0], catcher.size[0]);
    assert_true(made_run(has_refused, &before, 2000));
    assert_int_equal(b.msgs, 1);
}

static void a_changed_byte_is_refused_wherever_it_is(void **state)
{
    uint64_t refused = side_refused(&b);
    unsigned one = 1;

    (void)state;
    catches_one();
    for (size_t i = 0; i < catcher.size[0]; i++) {
        catcher.caught[0][i] ^= 1;
        throw(catcher.caught[0], catcher.size[0]);
        catcher.caught[0][i] ^= 1;
        refused++;
        assert_true(made_run(has_refused, &refused, 2000));
    }
    for (size_t size = 0; size < catcher.size[0]; size++) {
        throw(catcher.caught[0], size);
        refused++;
        assert_true(made_run(has_refused, &refused, 2000));
    }
    assert_int_equal(b.msgs, 0);
    throw(catcher.caught[0], catcher.size[0]); /* whole, it is still good */
    assert_true(made_run(b_has_messages, &one, 2000));
}

/* The next link has keys of its own. */
static void one_of_a_former_link_is_refused(void **state)
{
    uint64_t refused;

    (void)state;
    catches_one();
    side_close(&a);
    side_open(&a, "a", 12, NULL);
    relay_cut(&relay, false);
    link_dial(a.cluster, "b", b.address);
    assert_true(made_run(both_are_up, NULL, 5000));
    made_pass(50);
    b.msgs = 0;
    refused = side_refused(&b) + 1;
    throw(catcher.caught[0], catcher.size[0]);
    assert_true(made_run(has_refused, &refused, 2000));
    assert_int_equal(b.msgs, 0);
}

/* b does not dial a, and knows where it listens all the same. */
static void who_is_dialled_can_be_urgent_once_it_knows_the_address(void **state)
{
    struct wire_frame f = { .type = WIRE_MSG };
    unsigned one = 1;

    (void)state;
    f.msg.type = MSG_GOSSIP;
    f.msg.from_incarnation = 22;
    f.msg.gossip.follows = HM_NOBODY;
    link_tell_address(b.cluster, "a", relay.address);
    assert_true(link_send_urgent(b.cluster, 11, NULL, &f));
    assert_true(made_run(has_caught, &one, 2000));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(what_is_urgent_arrives_while_the_link_is_stuck),
        TEST(a_datagram_counts_once),
        TEST(an_older_one_is_refused),
        TEST(a_changed_byte_is_refused_wherever_it_is),
        TEST(one_of_a_former_link_is_refused),
        TEST(who_is_dialled_can_be_urgent_once_it_knows_the_address),
    };

    made_silence_ms = 20000; /* the cut relay is not to be replaced */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
