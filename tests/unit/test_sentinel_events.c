#include "sentinel/events.h"

#include "tests/unit/made_model.h"

static struct model before, now;
static char told[16384];

static void tell(void *ctx, const char *channel, const char *payload)
{
    size_t n = strlen(told);

    (void)ctx;
    (void)snprintf(told + n, sizeof told - n, "%s %s\n", channel, payload);
}

static int begin(void **state)
{
    (void)state;
    made_model(&before, 1);
    made_model(&now, 1);
    return 0;
}

static void tells(const char *lines)
{
    told[0] = '\0';
    events_between(&before, &now, tell, NULL);
    assert_string_equal(told, lines);
}

#define OLD "master cache 10.0.0.1 6379"
#define NEW_OF_OLD "slave 10.0.0.2:6379 10.0.0.2 6379 @ cache 10.0.0.1 6379"

static void nothing_new_is_no_news(void **state)
{
    (void)state;
    now.master[0].heard_ms += 100;
    now.master[0].replica[0].offset += 100;
    tells("");
}

/* The order and the payloads are those of a real sentinel that led a failover. */
static void a_failover_is_told_in_one_go(void **state)
{
    (void)state;
    made_model(&now, 2);
    now.master[0].epoch = 8;
    now.master[0].replica[0].is_up = false;
    tells("+sdown " OLD "\n"
          "+odown " OLD " #quorum 3/2\n"
          "+new-epoch 8\n"
          "+try-failover " OLD "\n"
          "+vote-for-leader 00000000000000000000000000000000000000a2 8\n"
          "+elected-leader " OLD "\n"
          "+failover-state-select-slave " OLD "\n"
          "+selected-slave " NEW_OF_OLD "\n"
          "+failover-state-send-slaveof-noone " NEW_OF_OLD "\n"
          "+failover-state-wait-promotion " NEW_OF_OLD "\n"
          "-role-change " NEW_OF_OLD " new reported role is master\n"
          "+promoted-slave " NEW_OF_OLD "\n"
          "+failover-state-reconf-slaves " OLD "\n"
          "+failover-end " OLD "\n"
          "+config-update-from sentinel 00000000000000000000000000000000000000a2 10.0.0.2 26379 @ "
          "cache "
          "10.0.0.1 6379\n"
          "+switch-master cache 10.0.0.1 6379 10.0.0.2 6379\n"
          "+slave slave 10.0.0.1:6379 10.0.0.1 6379 @ cache 10.0.0.2 6379\n"
          "+sdown slave 10.0.0.1:6379 10.0.0.1 6379 @ cache 10.0.0.2 6379\n"
          "+slave slave 10.0.0.3:6379 10.0.0.3 6379 @ cache 10.0.0.2 6379\n");
}

static void a_switchover_knows_of_no_fault(void **state)
{
    (void)state;
    now.master[0].is_failover = true;
    tells("+try-failover " OLD "\n");
    before = now;
    made_model(&now, 2);
    now.master[0].is_planned = true;
    now.master[0].epoch = 8;
    told[0] = '\0';
    events_between(&before, &now, tell, NULL);
    assert_null(strstr(told, "down"));
    assert_null(strstr(told, "+try-failover"));
    assert_non_null(strstr(told, "+switch-master cache 10.0.0.1 6379 10.0.0.2 6379\n"));
}

static void what_was_told_is_not_told_again(void **state)
{
    struct model_master *m = &now.master[0];

    (void)state;
    m->is_sdown = true;
    tells("+sdown " OLD "\n");
    before = now;
    m->is_odown = m->is_failover = true;
    m->voters_heard = 2;
    tells("+odown " OLD " #quorum 2/2\n+try-failover " OLD "\n");
    before = now;
    made_model(&now, 3);
    told[0] = '\0';
    events_between(&before, &now, tell, NULL);
    assert_int_equal(strncmp(told, "+new-epoch 7\n+vote-for-leader", 29), 0);
}

static void a_failover_that_came_to_nothing_ends(void **state)
{
    (void)state;
    before.master[0].is_sdown = before.master[0].is_odown = before.master[0].is_failover = true;
    now.master[0].epoch = 9;
    tells("+new-epoch 9\n-failover-abort-not-elected " OLD "\n-sdown " OLD "\n-odown " OLD "\n");
}

static void replicas_come_and_go(void **state)
{
    struct model_replica *r = &now.master[0].replica[1];

    (void)state;
    r->is_up = r->is_linked = false;
    tells("+sdown slave 10.0.0.3:6379 10.0.0.3 6379 @ cache 10.0.0.1 6379\n");
    before = now;
    r->is_up = true;
    r->is_linked = true;
    made_id(33, r->run_id);
    tells("+reboot slave 10.0.0.3:6379 10.0.0.3 6379 @ cache 10.0.0.1 6379\n"
          "-sdown slave 10.0.0.3:6379 10.0.0.3 6379 @ cache 10.0.0.1 6379\n"
          "+slave-reconf-done slave 10.0.0.3:6379 10.0.0.3 6379 @ cache 10.0.0.1 6379\n");
    before = now;
    made_replica(&now.master[0], 4, 1);
    tells("+slave slave 10.0.0.4:6379 10.0.0.4 6379 @ cache 10.0.0.1 6379\n");
    before = now;
    now.master[0].replicas_n = 2;
    tells("+reset-master " OLD "\n");
}

static void the_old_master_is_told_when_it_follows(void **state)
{
    (void)state;
    before.master[0].replica[0].reported = MODEL_ROLE_MASTER;
    tells(
        "+convert-to-slave slave 10.0.0.2:6379 10.0.0.2 6379 @ cache 10.0.0.1 6379\n"
        "+role-change slave 10.0.0.2:6379 10.0.0.2 6379 @ cache 10.0.0.1 6379 new reported role is "
        "slave\n");
}

static void a_master_that_started_again_is_told(void **state)
{
    (void)state;
    made_id(77, now.master[0].run_id);
    tells("+reboot " OLD "\n");
    before = now;
    now.master[0].run_id[0] = '\0';
    tells("");
}

static void sentinels_come_and_go(void **state)
{
    (void)state;
    now.sentinel[1].is_up = true;
    now.sentinel[0].is_up = false;
    tells("+sdown sentinel 00000000000000000000000000000000000000a2 10.0.0.2 26379 @ cache "
          "10.0.0.1 6379\n"
          "-sdown sentinel 00000000000000000000000000000000000000a3 10.0.0.3 26379 @ cache "
          "10.0.0.1 6379\n");
    before.sentinel[1].heard_ms = HM_NEVER;
    now.sentinel[0].is_up = true;
    tells("+sentinel sentinel 00000000000000000000000000000000000000a3 10.0.0.3 26379 @ cache "
          "10.0.0.1 "
          "6379\n");
}

static void a_new_service_is_told_with_its_replicas(void **state)
{
    (void)state;
    before.masters_n = 0;
    now.master[0].replicas_n = 1;
    tells("+monitor " OLD " quorum 2\n"
          "+slave slave 10.0.0.2:6379 10.0.0.2 6379 @ cache 10.0.0.1 6379\n");
}

/* The longest names and addresses fit. */
static void nothing_is_cut(void **state)
{
    char host[HM_ADDRESS_MAX];

    (void)state;
    memset(host, ':', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    for (struct model *m = &before; m != NULL; m = m == &before ? &now : NULL) {
        memset(m->master[0].name, 'n', HM_NAME_MAX - 1);
        memcpy(m->master[0].at.host, host, sizeof host);
        memcpy(m->master[0].replica[0].at.host, host, sizeof host);
        m->master[0].at.port = m->master[0].replica[0].at.port = 65535;
    }
    before.master[0].replica[0].reported = MODEL_ROLE_MASTER;
    told[0] = '\0';
    events_between(&before, &now, tell, NULL);
    assert_string_equal(told + strlen(told) - strlen(" 65535 new reported role is slave\n"),
                        " 65535 new reported role is slave\n");
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_new_is_no_news),
        TEST(a_failover_is_told_in_one_go),
        TEST(a_switchover_knows_of_no_fault),
        TEST(what_was_told_is_not_told_again),
        TEST(a_failover_that_came_to_nothing_ends),
        TEST(replicas_come_and_go),
        TEST(the_old_master_is_told_when_it_follows),
        TEST(a_master_that_started_again_is_told),
        TEST(sentinels_come_and_go),
        TEST(a_new_service_is_told_with_its_replicas),
        TEST(nothing_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
