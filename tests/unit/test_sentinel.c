/* What the commands answer, in both protocols: as a real sentinel 7.0.15 does, where it was asked.
 */
#include "sentinel/session.h"

#include "tests/unit/made_model.h"

#include <stdlib.h>

static struct model model;
static struct session_host host;
static struct session session;
static char failover_of[64];
static bool is_failover_taken;
static unsigned refusals;

static bool on_failover(void *ctx, struct session *s, const char *master)
{
    (void)ctx;
    (void)snprintf(failover_of, sizeof failover_of, "%s", master);
    s->is_waiting = is_failover_taken;
    return is_failover_taken;
}

static void describe(void *ctx, const struct session *s, char text[SESSION_ABOUT_MAX])
{
    (void)ctx;
    (void)s;
    (void)snprintf(text, SESSION_ABOUT_MAX, "addr=10.0.0.9:4 laddr=10.0.0.1:26379 fd=9");
}

static void refused(void *ctx, const struct session *s)
{
    (void)ctx;
    (void)s;
    refusals++;
}

static int begin(void **state)
{
    (void)state;
    made_model(&model, 1);
    session_done(&session);
    memset(&session, 0, sizeof session);
    session.id = 3;
    session.is_known = true;
    session.began_ms = MADE_MODEL_NOW_MS - 2500;
    host = (struct session_host){ .model = &model,
                                  .port = 26379,
                                  .now_ms = MADE_MODEL_NOW_MS,
                                  .started_ms = MADE_MODEL_NOW_MS - 90000000,
                                  .clients_n = 4,
                                  .clients_max = 12000,
                                  .failover = on_failover,
                                  .describe = describe,
                                  .refused = refused };
    is_failover_taken = true;
    failover_of[0] = '\0';
    refusals = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    session_done(&session);
    return 0;
}

/* The reply to a line, with '\n' for each line break. */
static const char *said(const char *line)
{
    static char raw[32768], told[32768];
    static struct resp_command c;
    char copy[2048], why[RESP_ERROR_MAX];
    struct resp_out o;
    size_t consumed, n = 0;

    (void)snprintf(copy, sizeof copy, "%s\r\n", line);
    assert_int_equal(resp_parse(copy, strlen(copy), RESP_WORDS_MAX, &c, &consumed, why),
                     RESP_COMMAND);
    resp_out_init(&o, raw, sizeof raw, session.is_resp3);
    session_take(&session, &host, &c, &o);
    assert_false(o.is_full);
    for (size_t i = 0; i < o.n; i++)
        if (raw[i] != '\r')
            told[n++] = raw[i];
    told[n] = '\0';
    return told;
}

static void says(const char *line, const char *reply)
{
    assert_string_equal(said(line), reply);
}

/* The value behind a name of a map, as text. */
static const char *field(const char *reply, const char *name)
{
    static char value[128];
    char head[64];
    const char *at;

    (void)snprintf(head, sizeof head, "$%zu\n%s\n$", strlen(name), name);
    at = strstr(reply, head);
    if (at == NULL)
        fail_msg("no field '%s' in %s", name, reply);
    at = strchr(at + strlen(head), '\n');
    assert_non_null(at);
    (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
    return value;
}

static void hello_chooses_the_protocol(void **state)
{
    (void)state;
    says(
        "HELLO",
        "*12\n$6\nserver\n$5\nredis\n$7\nversion\n$6\n7.0.15\n$5\nproto\n:2\n$2\nid\n:3\n$4\nmode\n"
        "$8\nsentinel\n$7\nmodules\n*0\n");
    says("hello 3 setname me",
         "%6\n$6\nserver\n$5\nredis\n$7\nversion\n$6\n7.0.15\n$5\nproto\n:3\n$2\nid\n"
         ":3\n$4\nmode\n$8\nsentinel\n$7\nmodules\n*0\n");
    assert_true(session.is_resp3);
    says("CLIENT GETNAME", "$2\nme\n");
    says("HELLO 4", "-NOPROTO unsupported protocol version\n");
    says("HELLO x", "-ERR Protocol version is not an integer or out of range\n");
    says("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\n");
    says("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'\n");
    says("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'\n");
    assert_int_equal(strncmp(said("HELLO 3 AUTH default any"), "%6\n", 3), 0);
    says("HELLO 2 AUTH other any",
         "-WRONGPASS invalid username-password pair or user is disabled.\n");
    assert_int_equal(strncmp(said("HELLO 2"), "*12\n", 4), 0);
    says("RESET", "+RESET\n");
    says("CLIENT GETNAME", "$-1\n");
}

static void a_password_is_asked_for_where_there_is_one(void **state)
{
    (void)state;
    says("AUTH x",
         "-ERR AUTH <password> called without any password configured for the default user. Are "
         "you sure your configuration is correct?\n");
    host.password = "secret";
    session.is_known = false;
    says("PING", "-NOAUTH Authentication required.\n");
    says("SENTINEL MASTERS", "-NOAUTH Authentication required.\n");
    says("SUBSCRIBE a", "-NOAUTH Authentication required.\n");
    says("GET a", "-ERR unknown command 'GET', with args beginning with: 'a' \n");
    assert_int_equal(strncmp(said("HELLO 3"), "-NOAUTH HELLO must be called", 28), 0);
    assert_false(session.is_resp3);
    says("AUTH secre", "-WRONGPASS invalid username-password pair or user is disabled.\n");
    says("AUTH secrets", "-WRONGPASS invalid username-password pair or user is disabled.\n");
    says("AUTH secretsecret", "-WRONGPASS invalid username-password pair or user is disabled.\n");
    says("AUTH \"\"", "-WRONGPASS invalid username-password pair or user is disabled.\n");
    says("AUTH other secret", "-WRONGPASS invalid username-password pair or user is disabled.\n");
    says("AUTH a b c", "-ERR syntax error\n");
    says("HELLO 3 AUTH default wrong",
         "-WRONGPASS invalid username-password pair or user is disabled.\n");
    assert_false(session.is_known);
    assert_int_equal(refusals, 6);
    says("AUTH secret", "+OK\n");
    says("PING", "+PONG\n");
    says("RESET", "+RESET\n");
    says("PING", "-NOAUTH Authentication required.\n");
    assert_int_equal(strncmp(said("HELLO 3 AUTH default secret SETNAME x"), "%6\n", 3), 0);
    says("AUTH default secret", "+OK\n");
    says("CLIENT GETNAME", "$1\nx\n");
}

static void the_small_commands_answer(void **state)
{
    (void)state;
    says("PING", "+PONG\n");
    says("PING hello", "$5\nhello\n");
    says("PING a b", "-ERR wrong number of arguments for 'ping' command\n");
    says("ECHO a", "$1\na\n");
    says("SELECT 0", "+OK\n");
    says("SELECT 1", "-ERR DB index is out of range\n");
    says("SELECT x", "-ERR value is not an integer or out of range\n");
    says("ROLE", "*2\n$8\nsentinel\n*1\n$5\ncache\n");
    says("COMMAND", "*0\n");
    says("COMMAND COUNT", ":17\n");
    says("COMMAND DOCS get", "*0\n");
    says("COMMAND INFO get", "*1\n*-1\n");
    says("COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.\n");
    says("PUBLISH a b", "-ERR Only hamgr publishes here.\n");
    says("foo 'a' b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \n");
    says("CONFIG GET port",
         "-ERR unknown command 'CONFIG', with args beginning with: 'GET' 'port' \n");
    says("QUIT", "+OK\n");
    assert_true(session.is_ended);
}

static void clients_may_name_themselves(void **state)
{
    (void)state;
    says("CLIENT", "-ERR wrong number of arguments for 'client' command\n");
    says("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command\n");
    says("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\n");
    says("CLIENT GETNAME", "$-1\n");
    says("CLIENT SETNAME me", "+OK\n");
    says("CLIENT SETNAME 'a b'",
         "-ERR Client names cannot contain spaces, newlines or special characters.\n");
    says("CLIENT GETNAME", "$2\nme\n");
    says("CLIENT ID", ":3\n");
    says("CLIENT SETINFO LIB-NAME ioredis", "+OK\n");
    says("CLIENT NO-EVICT on", "+OK\n");
    says("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip",
         "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\n");
    assert_non_null(strstr(said("CLIENT INFO"),
                           "id=3 addr=10.0.0.9:4 laddr=10.0.0.1:26379 fd=9 name=me age=2 "));
    session.is_resp3 = true;
    assert_int_equal(strncmp(said("CLIENT LIST"), "=", 1), 0);
    says("CLIENT SETNAME \"\"", "+OK\n");
    says("CLIENT GETNAME", "_\n");
}

static void an_address_is_told_by_the_name(void **state)
{
    (void)state;
    says("SENTINEL GET-MASTER-ADDR-BY-NAME cache", "*2\n$8\n10.0.0.1\n$4\n6379\n");
    says("sentinel get-master-addr-by-name cach", "*-1\n");
    says("SENTINEL GET-MASTER-ADDR-BY-NAME Cache", "*-1\n");
    says("SENTINEL MASTER nope", "-ERR No such master with that name\n");
    says("SENTINEL REPLICAS nope", "-ERR No such master with that name\n");
    says("SENTINEL SENTINELS nope", "-ERR No such master with that name\n");
    says("SENTINEL CKQUORUM nope", "-ERR No such master with that name\n");
    says("SENTINEL", "-ERR wrong number of arguments for 'sentinel' command\n");
    says("SENTINEL foo a", "-ERR unknown subcommand 'foo'. Try SENTINEL HELP.\n");
    says("SENTINEL MASTER", "-ERR wrong number of arguments for 'sentinel|master' command\n");
    session.is_resp3 = true;
    says("SENTINEL GET-MASTER-ADDR-BY-NAME nope", "_\n");
}

static void a_master_has_all_its_fields(void **state)
{
    const char *reply;

    (void)state;
    says("SENTINEL MASTERS",
         "*1\n*40\n$4\nname\n$5\ncache\n$2\nip\n$8\n10.0.0.1\n$4\nport\n$4\n6379\n$5\nrunid\n$40\n"
         "0000000000000000000000000000000000000001\n$5\nflags\n$6\nmaster\n$21\nlink-pending-"
         "commands\n"
         "$1\n0\n$13\nlink-refcount\n$1\n1\n$14\nlast-ping-sent\n$1\n0\n$18\nlast-ok-ping-reply\n$"
         "2\n70\n$15\n"
         "last-ping-reply\n$2\n70\n$23\ndown-after-milliseconds\n$4\n1500\n$12\ninfo-refresh\n$"
         "2\n70\n$13\n"
         "role-reported\n$6\nmaster\n$18\nrole-reported-time\n$6\n400000\n$12\nconfig-epoch\n$"
         "1\n7\n$10\n"
         "num-slaves\n$1\n2\n$19\nnum-other-sentinels\n$1\n1\n$6\nquorum\n$1\n2\n$16\nfailover-"
         "timeout\n$6\n"
         "120000\n$14\nparallel-syncs\n$1\n2\n");
    model.master[0].is_sdown = model.master[0].is_odown = true;
    model.master[0].is_connected = false;
    model.master[0].is_failover = true;
    model.master[0].sdown_ms = MADE_MODEL_NOW_MS - 12;
    model.master[0].odown_ms = MADE_MODEL_NOW_MS - 11;
    session.is_resp3 = true;
    reply = said("SENTINEL MASTER cache");
    assert_int_equal(strncmp(reply, "%22\n", 4), 0);
    assert_string_equal(field(reply, "flags"),
                        "s_down,o_down,master,disconnected,failover_in_progress");
    assert_string_equal(field(reply, "s-down-time"), "12");
    assert_string_equal(field(reply, "o-down-time"), "11");
}

static void a_replica_has_all_its_fields(void **state)
{
    const char *reply = said("SENTINEL SLAVES cache");

    (void)state;
    assert_int_equal(strncmp(reply, "*2\n*42\n", 7), 0);
    assert_string_equal(field(reply, "name"), "10.0.0.2:6379");
    assert_string_equal(field(reply, "flags"), "slave");
    assert_string_equal(field(reply, "role-reported"), "slave");
    assert_string_equal(field(reply, "master-link-status"), "ok");
    assert_string_equal(field(reply, "master-host"), "10.0.0.1");
    assert_string_equal(field(reply, "slave-repl-offset"), "4711");
    model.master[0].replica[0].is_up = model.master[0].replica[0].is_linked = false;
    model.master[0].replica[0].master.port = 0;
    reply = said("SENTINEL REPLICAS cache");
    assert_int_equal(strncmp(reply, "*2\n*44\n", 7), 0);
    assert_string_equal(field(reply, "flags"), "s_down,slave,disconnected");
    assert_string_equal(field(reply, "s-down-time"), "400000");
    assert_string_equal(field(reply, "master-link-status"), "err");
    assert_string_equal(field(reply, "master-host"), "?");
    session.is_resp3 = true;
    assert_int_equal(strncmp(said("SENTINEL REPLICAS cache"), "*2\n%22\n", 7), 0);
}

/* For those that connect without a look at the role. Nothing failed, so no event tells of it. */
static void nobody_is_sent_to_a_replica_that_becomes_the_master(void **state)
{
    const char *reply;

    (void)state;
    model.master[0].replica[0].is_promoted = true;
    reply = said("SENTINEL SLAVES cache");
    assert_int_equal(strncmp(reply, "*2\n*44\n", 7), 0);
    assert_string_equal(field(reply, "flags"), "s_down,slave,promoted");
}

static void only_sentinels_that_answer_are_listed(void **state)
{
    const char *reply = said("SENTINEL SENTINELS cache");

    (void)state;
    assert_int_equal(strncmp(reply, "*1\n*28\n", 7), 0);
    assert_string_equal(field(reply, "ip"), "10.0.0.2");
    assert_string_equal(field(reply, "port"), "26379");
    assert_string_equal(field(reply, "flags"), "sentinel");
    assert_string_equal(field(reply, "last-hello-message"), "80");
}

static void the_quorum_is_that_of_the_voters(void **state)
{
    (void)state;
    says("SENTINEL CKQUORUM cache",
         "+OK 3 usable Sentinels. Quorum and failover authorization can be reached\n");
    model.master[0].voters_heard = 1;
    says("SENTINEL CKQUORUM cache", "-NOQUORUM 1 usable Sentinels. Not enough available Sentinels "
                                    "to reach the specified quorum for "
                                    "this master. Not enough available Sentinels to reach the "
                                    "majority and authorize a failover\n");
}

static void nobody_gets_a_vote(void **state)
{
    (void)state;
    says("SENTINEL MYID", "$40\n00000000000000000000000000000000000000a1\n");
    says("SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 6379 9 *", "*3\n:0\n$1\n*\n:0\n");
    model.master[0].is_sdown = true;
    says("SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 6379 9 abc", "*3\n:1\n$1\n*\n:0\n");
    says("SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.2 6379 9 abc", "*3\n:0\n$1\n*\n:0\n");
    says("SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 x 9 abc",
         "-ERR value is not an integer or out of range\n");
    says("SENTINEL PENDING-SCRIPTS", "*0\n");
    says("SENTINEL CONFIG GET announce-[hi]*",
         "*4\n$18\nannounce-hostnames\n$3\nyes\n$11\nannounce-ip\n$0\n\n");
}

static void the_configuration_is_not_changed_here(void **state)
{
    static const char *const lines[] = { "SENTINEL MONITOR a b c d", "SENTINEL REMOVE cache",
                                         "SENTINEL RESET *",         "SENTINEL SET cache quorum 1",
                                         "SENTINEL FLUSHCONFIG",     "SENTINEL CONFIG SET a b" };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(lines); i++)
        says(lines[i],
             "-ERR hamgr's configuration rules here: change hamgr.conf, or use the command "
             "'hamgr'\n");
}

static void a_failover_is_ordered_by_those_who_may(void **state)
{
    (void)state;
    assert_int_equal(strncmp(said("SENTINEL FAILOVER cache"), "-NOPERM ", 8), 0);
    session.is_local = true;
    says("SENTINEL FAILOVER nope", "-ERR No such master with that name\n");
    assert_string_equal(failover_of, "");
    says("SENTINEL FAILOVER cache", "");
    assert_string_equal(failover_of, "cache");
    assert_true(session.is_waiting);

    session.is_local = false;
    host.password = "secret";
    says("SENTINEL FAILOVER cache", "");
    model.master[0].is_failover = true;
    says("SENTINEL FAILOVER cache", "-INPROG Failover already in progress\n");
    model.master[0].is_failover = false;
    model.master[0].replicas_n = 0;
    says("SENTINEL FAILOVER cache", "-NOGOODSLAVE No suitable replica to promote\n");
    model.master[0].replicas_n = 1;
    is_failover_taken = false;
    says("SENTINEL FAILOVER cache", "-ERR too many orders wait for their end: try again\n");
}

static void info_tells_the_state(void **state)
{
    (void)state;
    assert_non_null(strstr(said("INFO"), "redis_mode:sentinel\n"));
    assert_non_null(strstr(said("INFO server"), "uptime_in_seconds:90000\nuptime_in_days:1\n"));
    assert_null(strstr(said("INFO server"), "master0"));
    assert_non_null(
        strstr(said("info Sentinel"),
               "\nmaster0:name=cache,status=ok,address=10.0.0.1:6379,slaves=2,sentinels=2\n"));
    model.master[0].is_sdown = true;
    assert_non_null(strstr(said("info all"), "status=sdown"));
    model.master[0].is_odown = true;
    assert_non_null(strstr(said("info clients sentinel"), "status=odown"));
    says("INFO nothing", "$0\n\n");
}

static void subscribers_hear_and_do_little_else(void **state)
{
    (void)state;
    says("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command\n");
    says("UNSUBSCRIBE", "*3\n$11\nunsubscribe\n$-1\n:0\n");
    says("SUBSCRIBE a b", "*3\n$9\nsubscribe\n$1\na\n:1\n*3\n$9\nsubscribe\n$1\nb\n:2\n");
    says("PSUBSCRIBE x*", "*3\n$10\npsubscribe\n$2\nx*\n:3\n");
    says("PING", "*2\n$4\npong\n$0\n\n");
    says("PING hi", "*2\n$4\npong\n$2\nhi\n");
    says("SENTINEL MASTERS", "-ERR Can't execute 'sentinel|masters': only (P|S)SUBSCRIBE / "
                             "(P|S)UNSUBSCRIBE / PING / QUIT / "
                             "RESET are allowed in this context\n");
    says("UNSUBSCRIBE b nope",
         "*3\n$11\nunsubscribe\n$1\nb\n:2\n*3\n$11\nunsubscribe\n$4\nnope\n:2\n");
    says("PUNSUBSCRIBE", "*3\n$12\npunsubscribe\n$2\nx*\n:1\n");
    says("UNSUBSCRIBE", "*3\n$11\nunsubscribe\n$1\na\n:0\n");
    says("PING", "+PONG\n");
    assert_int_equal(strncmp(said("HELLO 3"), "%", 1), 0);
    says("SUBSCRIBE a", ">3\n$9\nsubscribe\n$1\na\n:1\n");
    says("PING", "+PONG\n");
    says("ROLE", "*2\n$8\nsentinel\n*1\n$5\ncache\n");
    says("RESET", "+RESET\n");
    assert_int_equal(pubsub_count(&session.pubsub), 0);
}

static void a_browser_is_no_client(void **state)
{
    (void)state;
    says("POST / HTTP/1.1", "");
    assert_true(session.is_ended);
}

static bool waits(const char *line)
{
    static struct resp_command c;
    char copy[256], why[RESP_ERROR_MAX];
    size_t consumed;

    (void)snprintf(copy, sizeof copy, "%s\r\n", line);
    assert_int_equal(resp_parse(copy, strlen(copy), RESP_WORDS_MAX, &c, &consumed, why),
                     RESP_COMMAND);
    return session_should_wait(&session, &host, &c);
}

static void who_asks_during_a_failover_waits_for_its_end(void **state)
{
    (void)state;
    made_master(&model, "other", 2);
    assert_false(waits("SENTINEL MASTERS"));
    model.master[0].unsettled_ms = MADE_MODEL_NOW_MS - SESSION_FRESH_MS + 1;
    assert_true(waits("SENTINEL MASTERS"));
    assert_true(waits("sentinel master cache"));
    assert_true(waits("SENTINEL GET-MASTER-ADDR-BY-NAME cache"));
    assert_false(waits("SENTINEL GET-MASTER-ADDR-BY-NAME other"));
    assert_false(waits("SENTINEL GET-MASTER-ADDR-BY-NAME nope"));
    assert_false(waits("SENTINEL REPLICAS cache"));
    assert_false(waits("PING"));
    session.is_known = false;
    assert_false(waits("SENTINEL MASTERS"));
    session.is_known = true;
    model.master[0].unsettled_ms = MADE_MODEL_NOW_MS - SESSION_FRESH_MS;
    assert_false(waits("SENTINEL MASTERS"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hello_chooses_the_protocol),
        TEST(a_password_is_asked_for_where_there_is_one),
        TEST(the_small_commands_answer),
        TEST(clients_may_name_themselves),
        TEST(an_address_is_told_by_the_name),
        TEST(a_master_has_all_its_fields),
        TEST(a_replica_has_all_its_fields),
        TEST(nobody_is_sent_to_a_replica_that_becomes_the_master),
        TEST(only_sentinels_that_answer_are_listed),
        TEST(the_quorum_is_that_of_the_voters),
        TEST(nobody_gets_a_vote),
        TEST(the_configuration_is_not_changed_here),
        TEST(a_failover_is_ordered_by_those_who_may),
        TEST(info_tells_the_state),
        TEST(subscribers_hear_and_do_little_else),
        TEST(a_browser_is_no_client),
        TEST(who_asks_during_a_failover_waits_for_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
