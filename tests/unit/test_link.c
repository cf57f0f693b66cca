#include "net/link.h"

#include "net/inner.h"

#include "tests/cm.h"
#include "tests/unit/link_made.h"

static struct side a, b, w;
static struct relay relay;

static bool a_hears_b(void *arg)
{
    (void)arg;
    return side_is_up(&a, "b");
}

static bool both_are_up(void *arg)
{
    (void)arg;
    return side_is_up(&a, "b") && side_is_up(&b, "a");
}

static bool b_has_message(void *arg)
{
    return b.msgs > 0 && b.last_seq == *(const uint32_t *)arg;
}

static bool a_has_message(void *arg)
{
    return a.msgs > 0 && a.last_seq == *(const uint32_t *)arg;
}

static void open_pair(void)
{
    side_open(&a, "a", 11, NULL);
    side_open(&b, "b", 22, NULL);
    link_dial(a.cluster, "b", b.address);
    assert_true(made_run(both_are_up, NULL, 5000));
}

static void close_pair(void)
{
    side_close(&a);
    side_close(&b);
}

static void frames_go_both_ways(void **state)
{
    struct wire_frame call = { .type = WIRE_CALL, .call = { .id = 7, .text = "status" } };
    uint32_t seq = 5;

    (void)state;
    open_pair();
    assert_int_equal(a.hellos, 1);
    assert_int_equal(b.hellos, 1);
    assert_string_equal(b.last_from.name, "a");
    assert_int_equal(b.last_from.incarnation, 11);
    assert_true(side_say(&a, "b", seq));
    assert_true(made_run(b_has_message, &seq, 1000));
    seq = 6;
    assert_true(side_say(&b, "a", seq)); /* on the link that a made */
    assert_true(made_run(a_has_message, &seq, 1000));
    assert_true(link_send(b.cluster, 11, NULL, &call));
    assert_true(link_send(b.cluster, 99, "a", &call));
    assert_false(link_send(b.cluster, 99, NULL, &call));
    assert_false(link_send(b.cluster, 0, "c", &call));
    made_pass(50);
    assert_int_equal(a.calls, 2);
    assert_string_equal(a.last_text, "status");
    close_pair();
}

static void the_longest_frame_goes_through(void **state)
{
    static char text[WIRE_TEXT_MAX + 1];
    struct wire_frame call = { .type = WIRE_REPLY, .call = { .id = 7, .text = text } };

    (void)state;
    memset(text, 'x', WIRE_TEXT_MAX);
    open_pair();
    assert_true(link_send(a.cluster, 0, "b", &call));
    assert_true(link_send(a.cluster, 0, "b", &call));
    made_pass(100);
    assert_int_equal(b.calls, 2);
    close_pair();
}

static void a_quiet_link_stays(void **state)
{
    struct link_state look;

    (void)state;
    open_pair();
    for (unsigned i = 0; i < 12; i++) {
        made_pass(made_silence_ms / 4);
        assert_true(side_is_up(&a, "b") && side_is_up(&b, "a"));
    }
    link_look(a.cluster, "b", &look);
    assert_int_equal(look.incarnation, 22);
    assert_true(clock_boot_ms() - look.heard_ms < made_silence_ms);
    assert_int_equal(a.hellos + b.hellos, 2); /* it is the first one still */
    close_pair();
}

static void one_who_only_listens_is_heard(void **state)
{
    (void)state;
    open_pair();
    for (uint32_t i = 0; i < 30; i++) {
        made_pass(MADE_RETRY_MS);
        assert_true(side_say(&a, "b", i));
        assert_true(side_is_up(&a, "b"));
    }
    assert_int_equal(a.hellos, 1);
    close_pair();
}

static void members_that_dial_each_other_settle(void **state)
{
    unsigned hellos;

    (void)state;
    side_open(&a, "a", 11, NULL);
    side_open(&b, "b", 22, NULL);
    link_dial(a.cluster, "b", b.address);
    link_dial(b.cluster, "a", a.address);
    assert_true(made_run(both_are_up, NULL, 5000));
    made_pass(300);
    hellos = a.hellos + b.hellos;
    assert_true(hellos <= 4);
    for (uint32_t i = 1; i < 30; i++) {
        made_pass(MADE_RETRY_MS);
        assert_true(side_say(&a, "b", i) && side_say(&b, "a", i));
        assert_true(side_is_up(&a, "b") && side_is_up(&b, "a"));
    }
    made_pass(50);
    assert_int_equal(a.hellos + b.hellos, hellos); /* nobody closes the other's link */
    assert_int_equal(a.msgs, 29);
    assert_int_equal(b.msgs, 29);
    close_pair();
}

/* --- two hosts of one name ------------------------------------------------------------------- */

static struct side copy;

static bool a_knows_two(void *arg)
{
    struct link_twin t;

    (void)arg;
    return link_twin(a.cluster, 0, &t);
}

static bool copy_is_told(void *arg)
{
    struct link_twin t;

    (void)arg;
    return link_twin(copy.cluster, 0, &t) && t.is_self;
}

static bool w_hears_copy(void *arg)
{
    (void)arg;
    return w.hellos > 0 && side_is_up(&w, "b");
}

/* b is heard at another address than its copy, which comes from 127.0.0.1. */
static void open_original(uint64_t instance)
{
    side_open(&a, "a", 11, NULL);
    side_open(&b, "b", 22, "127.0.0.2:0");
    if (instance == 0)
        b.hub->instance = 0; /* an older program */
    (void)snprintf(b.address, sizeof b.address, "127.0.0.2:%u", link_hub_port(b.hub));
    link_dial(a.cluster, "b", b.address);
    assert_true(made_run(both_are_up, NULL, 5000));
}

/* The same incarnation: its state directory was copied. */
static void open_copy(void)
{
    side_open(&copy, "b", 22, NULL);
    link_dial(copy.cluster, "a", a.address);
}

static void of_two_hosts_of_one_name_the_first_is_heard(void **state)
{
    struct link_twin t;
    uint32_t seq = 3;

    (void)state;
    open_original(1);
    open_copy();
    assert_true(made_run(copy_is_told, NULL, 5000));
    assert_false(link_twin(copy.cluster, 1, &t));
    assert_true(link_twin(copy.cluster, 0, &t));
    assert_string_equal(t.name, "b");
    assert_string_equal(t.other, "127.0.0.2");
    assert_true(made_run(a_knows_two, NULL, 5000));
    assert_false(link_twin(a.cluster, 1, &t));
    assert_true(link_twin(a.cluster, 0, &t));
    assert_false(t.is_self);
    assert_string_equal(t.name, "b");
    assert_string_equal(t.host, "127.0.0.2");
    assert_string_equal(t.other, "127.0.0.1");
    assert_false(side_say(&copy, "a", 99));
    assert_true(side_say(&b, "a", seq));
    assert_true(made_run(a_has_message, &seq, 5000));
    assert_false(link_twin(b.cluster, 0, &t)); /* the original need not know */
    assert_int_equal(a.hellos, 1);
    side_close(&copy);
    close_pair();
}

static void who_is_told_of_another_of_its_name_leaves_everybody(void **state)
{
    (void)state;
    side_open(&w, "w", 33, NULL); /* hears only the copy, and would listen to it */
    open_original(1);
    side_open(&copy, "b", 22, NULL);
    link_dial(copy.cluster, "w", w.address);
    assert_true(made_run(w_hears_copy, NULL, 5000));
    link_dial(copy.cluster, "a", a.address);
    assert_true(made_run(copy_is_told, NULL, 5000));
    for (uint32_t i = 0; i < 20; i++) {
        assert_false(side_say(&copy, "w", i));
        assert_false(side_say(&copy, "a", i));
        made_pass(MADE_RETRY_MS);
    }
    assert_true(copy_is_told(NULL));
    assert_int_equal(w.hellos, 1); /* what it asks meanwhile gets it in nowhere */
    assert_int_equal(w.msgs, 0);
    side_close(&copy);
    side_close(&w);
    close_pair();
}

static bool b_is_new(void *arg)
{
    return a.hellos == 2 && both_are_up(arg);
}

static void a_program_that_was_started_anew_is_no_twin(void **state)
{
    char at[HM_ADDRESS_MAX];
    struct link_twin t;

    (void)state;
    open_original(1);
    memcpy(at, b.address, sizeof at);
    side_close(&b);
    side_open(&b, "b", 22, at);
    assert_true(made_run(b_is_new, NULL, 5000));
    assert_false(link_twin(a.cluster, 0, &t) || link_twin(b.cluster, 0, &t));
    close_pair();
}

static bool a_hears_two(void *arg)
{
    (void)arg;
    return a.hellos == 2;
}

/* Members are upgraded one after the other. */
static void an_older_program_is_taken_as_before(void **state)
{
    struct link_twin t;

    (void)state;
    open_original(0);
    open_copy();
    assert_true(made_run(a_hears_two, NULL, 5000));
    assert_false(link_twin(a.cluster, 0, &t) || link_twin(copy.cluster, 0, &t));
    side_close(&copy);
    close_pair();
}

static void a_witness_learns_its_name(void **state)
{
    uint32_t seq = 8;

    (void)state;
    side_open(&a, "a", 11, "");
    side_open(&w, "", 33, NULL);
    w.learns = true;
    w.echoes = true;
    link_dial(a.cluster, "wt1", w.address);
    assert_true(made_run(b_has_message, &seq, 10) == false);
    while (!side_is_up(&a, "wt1"))
        assert_int_not_equal(event_base_loop(made_base, EVLOOP_ONCE), -1);
    assert_string_equal(w.hello.from, "wt1");
    assert_string_equal(a.last_from.name, "wt1");
    assert_int_equal(a.last_from.incarnation, 33);
    assert_true(side_say(&a, "wt1", seq));
    assert_true(made_run(a_has_message, &seq, 1000));
    side_close(&a);
    side_close(&w);
}

static void a_name_that_nobody_told_is_no_link(void **state)
{
    (void)state;
    side_open(&a, "a", 11, "");
    side_open(&w, "", 33, NULL);
    link_dial(a.cluster, "wt1", w.address);
    made_pass(300);
    assert_false(side_is_up(&a, "wt1"));
    assert_int_equal(side_links(&w), 0);
    side_close(&a);
    side_close(&w);
}

static void another_member_at_the_address_is_no_link(void **state)
{
    struct link_state look;

    (void)state;
    side_open(&a, "a", 11, "");
    side_open(&b, "b", 22, NULL);
    link_dial(a.cluster, "c", b.address);
    made_pass(300);
    link_look(a.cluster, "c", &look);
    assert_false(look.is_up);
    assert_string_equal(look.why, "another member answers at this address: 'b'");
    close_pair();
}

static void a_member_that_comes_later_is_found(void **state)
{
    struct link_state look;
    char address[HM_ADDRESS_MAX];

    (void)state;
    side_open(&b, "b", 22, NULL);
    memcpy(address, b.address, sizeof address);
    side_close(&b);
    side_open(&a, "a", 11, "");
    link_dial(a.cluster, "b", address);
    made_pass(250);
    link_look(a.cluster, "b", &look);
    assert_false(look.is_up);
    assert_string_equal(look.why, "cannot connect to 127.0.0.1: Connection refused");
    side_open(&b, "b", 22, address);
    assert_true(made_run(a_hears_b, NULL, 1000));
    close_pair();
}

static void a_member_that_comes_back_is_known_by_its_new_incarnation(void **state)
{
    char address[HM_ADDRESS_MAX];
    struct link_state look;
    uint32_t seq = 3;

    (void)state;
    open_pair();
    memcpy(address, b.address, sizeof address);
    side_close(&b);
    made_pass(150);
    assert_false(side_is_up(&a, "b"));
    assert_false(side_say(&a, "b", seq));
    side_open(&b, "b", 23, address);
    assert_true(made_run(a_hears_b, NULL, 1000));
    link_look(a.cluster, "b", &look);
    assert_int_equal(look.incarnation, 23);
    assert_true(side_say(&a, "b", seq));
    assert_true(made_run(b_has_message, &seq, 1000));
    close_pair();
}

static void the_newest_incarnation_has_the_name(void **state)
{
    struct side twin;
    uint32_t seq = 4;

    (void)state;
    open_pair(); /* a dials b: b has a link with a of 11 */
    link_undial(a.cluster, "c");
    side_open(&twin, "a", 12, "");
    link_dial(twin.cluster, "b", b.address);
    while (b.hellos < 2)
        assert_int_not_equal(event_base_loop(made_base, EVLOOP_ONCE), -1);
    assert_int_equal(side_links(&b), 1);
    assert_true(side_say(&b, "a", seq));
    while (twin.msgs == 0)
        assert_int_not_equal(event_base_loop(made_base, EVLOOP_ONCE), -1);
    assert_int_equal(a.msgs, 0);
    side_close(&twin);
    close_pair();
}

static void a_name_is_resolved(void **state)
{
    char name[HM_ADDRESS_MAX];

    (void)state;
    side_open(&a, "a", 11, "");
    side_open(&b, "b", 22, NULL);
    (void)snprintf(name, sizeof name, "localhost:%u", link_hub_port(b.hub));
    link_dial(a.cluster, "b", name);
    assert_true(made_run(a_hears_b, NULL, 5000));
    close_pair();
}

static void a_name_that_nobody_knows_is_told(void **state)
{
    struct link_state look;

    (void)state;
    side_open(&a, "a", 11, "");
    link_dial(a.cluster, "b", "no-port-here");
    made_pass(150);
    link_look(a.cluster, "b", &look);
    assert_non_null(strstr(look.why, "'no-port-here' is not known"));
    side_close(&a);
}

static void a_closed_link_is_not_dialled_again(void **state)
{
    (void)state;
    open_pair();
    link_undial(a.cluster, "b");
    made_pass(300);
    assert_false(side_is_up(&a, "b"));
    assert_int_equal(side_links(&b), 0);
    link_dial(a.cluster, "b", b.address);
    assert_true(made_run(both_are_up, NULL, 1000));
    close_pair();
}

static int be_impatient(void **state)
{
    (void)state;
    made_silence_ms = MADE_SILENCE_MS;
    return 0;
}

static int be_patient(void **state)
{
    (void)state;
    made_silence_ms = 1000;
    return 0;
}

/* Nothing passes, and the old link stays stuck for ever: only a new one can help. */
static void a_silent_link_is_replaced(void **state)
{
    hm_ms back_ms;
    uint32_t seq = 77;

    (void)state;
    side_open(&a, "a", 11, "");
    side_open(&b, "b", 22, NULL);
    relay_open(&relay, &b);
    link_dial(a.cluster, "b", relay.address);
    assert_true(made_run(both_are_up, NULL, 5000));
    relay.is_cut = true;
    made_pass(800);
    assert_false(side_is_up(&a, "b"));
    assert_false(side_is_up(&b, "a"));
    assert_true(relay.n > 2 && relay.n < 9); /* it has tried since the silence, and not too often */
    relay.lost_n = relay.n;                  /* only those who come now get through */
    relay.is_cut = false;
    back_ms = clock_boot_ms();
    while (!side_is_up(&a, "b") || !side_say(&a, "b", seq) || b.last_seq != seq)
        assert_int_not_equal(event_base_loop(made_base, EVLOOP_ONCE), -1);
    print_message("replaced %lld ms after the relay passed again, attempts=%u\n",
                  (long long)(clock_boot_ms() - back_ms), relay.n);
    assert_true(clock_boot_ms() - back_ms < 1000); /* usually some 20 ms; machines may be busy */
    made_pass(100);
    assert_int_equal(side_links(&a), 1); /* the old one is given up by who made it */
    relay_done(&relay);
    close_pair();
}

static void a_doubted_link_that_is_heard_again_is_kept(void **state)
{
    (void)state;
    side_open(&a, "a", 11, "");
    side_open(&b, "b", 22, NULL);
    relay_open(&relay, &b);
    link_dial(a.cluster, "b", relay.address);
    assert_true(made_run(both_are_up, NULL, 5000));
    relay.is_cut = true;
    made_pass(400);
    relay_cut(&relay, false); /* what was held back arrives, on the old link and the new ones */
    assert_true(made_run(both_are_up, NULL, 1000));
    made_pass(MADE_SILENCE_MS * 12 + 1500);
    assert_true(side_is_up(&a, "b") && side_is_up(&b, "a"));
    assert_int_equal(side_links(&a), 1);
    assert_int_equal(side_links(&b), 1);
    relay_done(&relay);
    close_pair();
}

static void a_peer_that_does_not_take_is_not_waited_for(void **state)
{
    static char text[WIRE_TEXT_MAX + 1];
    struct wire_frame call = { .type = WIRE_REPLY, .call = { .text = text } };
    struct link_counts counts;
    unsigned sent = 0;

    (void)state;
    memset(text, 'x', WIRE_TEXT_MAX);
    open_pair();
    while (sent < 1000 && link_send(a.cluster, 0, "b", &call))
        sent++; /* the loop does not turn, so nothing leaves */
    assert_true(sent == 2);
    link_count(a.hub, &counts);
    assert_int_equal(counts.dropped, 1);
    made_pass(100);
    assert_int_equal(b.calls, sent);
    assert_true(link_send(a.cluster, 0, "b", &call));
    close_pair();
}

static void a_bad_address_to_listen_on_is_named(void **state)
{
    struct link_hub_config config = { .base = made_base, .listen = "192.0.2.1:7420" };
    struct link_hub *hub;
    struct hm_err err;

    (void)state;
    assert_int_equal(link_hub_new(&config, &hub, &err), HM_FAILED);
    assert_non_null(strstr(err.text, "cannot listen on '192.0.2.1:7420'"));
    config.listen = "here";
    assert_int_equal(link_hub_new(&config, &hub, &err), HM_FAILED);
    assert_string_equal(err.text, "'here' is not HOST:PORT");
    config.listen = "::1:7420";
    assert_int_equal(link_hub_new(&config, &hub, &err), HM_FAILED);
}

static void a_cluster_is_added_once(void **state)
{
    struct link_cluster_config config = { .name = "prod", .key = made_key };
    struct link_cluster *again;
    struct hm_err err;

    (void)state;
    side_open(&a, "a", 11, "");
    assert_int_equal(link_hub_add(a.hub, &config, &again, &err), HM_BAD_INPUT);
    assert_string_equal(err.text, "there are two clusters 'prod'");
    config.name = "";
    assert_int_equal(link_hub_add(a.hub, &config, &again, &err), HM_BAD_INPUT);
    side_close(&a);
}

static void a_hub_ends_in_the_middle_of_everything(void **state)
{
    (void)state;
    side_open(&a, "a", 11, NULL);
    side_open(&b, "b", 22, NULL);
    link_dial(a.cluster, "b", b.address);
    link_dial(b.cluster, "a", a.address);
    link_dial(a.cluster, "c", "localhost:1");
    for (unsigned turn = 0; turn < 6; turn++)
        assert_int_not_equal(event_base_loop(made_base, EVLOOP_ONCE), -1);
    close_pair();
    link_hub_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_go_both_ways),
        cmocka_unit_test(the_longest_frame_goes_through),
        cmocka_unit_test(a_quiet_link_stays),
        cmocka_unit_test(one_who_only_listens_is_heard),
        cmocka_unit_test(members_that_dial_each_other_settle),
        cmocka_unit_test(of_two_hosts_of_one_name_the_first_is_heard),
        cmocka_unit_test(who_is_told_of_another_of_its_name_leaves_everybody),
        cmocka_unit_test(a_program_that_was_started_anew_is_no_twin),
        cmocka_unit_test(an_older_program_is_taken_as_before),
        cmocka_unit_test(a_witness_learns_its_name),
        cmocka_unit_test(a_name_that_nobody_told_is_no_link),
        cmocka_unit_test(another_member_at_the_address_is_no_link),
        cmocka_unit_test(a_member_that_comes_later_is_found),
        cmocka_unit_test(a_member_that_comes_back_is_known_by_its_new_incarnation),
        cmocka_unit_test(the_newest_incarnation_has_the_name),
        cmocka_unit_test(a_name_is_resolved),
        cmocka_unit_test(a_name_that_nobody_knows_is_told),
        cmocka_unit_test(a_closed_link_is_not_dialled_again),
        cmocka_unit_test_setup_teardown(a_silent_link_is_replaced, be_impatient, be_patient),
        cmocka_unit_test_setup_teardown(a_doubted_link_that_is_heard_again_is_kept, be_impatient,
                                        be_patient),
        cmocka_unit_test(a_peer_that_does_not_take_is_not_waited_for),
        cmocka_unit_test(a_bad_address_to_listen_on_is_named),
        cmocka_unit_test(a_cluster_is_added_once),
        cmocka_unit_test(a_hub_ends_in_the_middle_of_everything),
    };

    return cmocka_run_group_tests_name("link", tests, made_begin, made_end);
}
