/* test_redis_check.c - what `hamgr check` finds wrong with real servers, and the next step it
 * names.
 */
#include "redis/include.h"
#include "redis/inner.h"
#include "tests/key.h"
#include "tests/redis/await.h"
#include "tests/redis/world.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DB1, FINDINGS_MAX = 32 };

static struct service_finding findings[FINDINGS_MAX];
static size_t findings_n;
static bool is_told;

static void told(void *ctx, const struct service_finding *f, size_t n)
{
    (void)ctx;
    assert_true(n > 0 && n <= FINDINGS_MAX);
    memcpy(findings, f, n * sizeof *f);
    findings_n = n;
    is_told = true;
}

static void check(struct world *w)
{
    is_told = false;
    service_redis.check(w->service, told, w);
    world_await(w, is_told);
}

static const struct service_finding *find(const char *name)
{
    for (size_t i = 0; i < findings_n; i++)
        if (strcmp(findings[i].name, name) == 0)
            return &findings[i];
    fail_msg("nothing was found about %s", name);
    return NULL;
}

/* Each fault has a next step; what is well needs none. */
static void expect_faults(const char *const *names, size_t n)
{
    size_t faults = 0;

    for (size_t i = 0; i < findings_n; i++) {
        assert_true(findings[i].is_ok == (findings[i].next[0] == 0));
        assert_true(findings[i].text[0] != 0);
        if (findings[i].is_ok)
            continue;
        if (faults < n)
            assert_string_equal(findings[i].name, names[faults]);
        else
            fail_msg("%s: %s", findings[i].name, findings[i].text);
        faults++;
    }
    assert_true(faults == n);
}

static bool is_healthy(const struct world *w)
{
    return w->copy.is_healthy;
}

static void start(struct world *w, const char *lines)
{
    world_signal(w, DB1, SIGKILL);
    world_start(w, DB1, lines);
    world_watch(w, DB1);
    world_await(w, is_healthy(w) && rconn_is_up(w->service->work));
}

static void include_as_last_line(const struct world *w, char lines[640], const char *before)
{
    char path[INCLUDE_PATH_MAX];
    struct hm_err err;

    include_path(w->settings[DB1].run_dir, "cache", path);
    assert_int_equal(include_write(w->settings[DB1].run_dir, "cache", &err), HM_OK);
    (void)snprintf(lines, 640, "%sinclude %s\n", before, path);
}

/* A key and a certificate in one file, which the server finds as tls.pem. */
static void make_certificate(const struct world *w, char path[128])
{
    EVP_PKEY *key = key_new();
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    FILE *f;

    (void)snprintf(path, 128, "%s/tls.pem", w->top);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)"db1", -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(x, name), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 86400));
    assert_int_equal(X509_set_pubkey(x, key), 1);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(PEM_write_X509(f, x), 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0644), 0); /* the server may run as another user */
    X509_free(x);
    EVP_PKEY_free(key);
}

#define GOOD "repl-backlog-size 64mb\nrepl-backlog-ttl 0\n"

static void a_server_as_hamgr_wants_it_has_no_fault(void **state)
{
    struct world *w = *state;
    char lines[640];

    include_as_last_line(w, lines, GOOD "appendonly yes\n");
    start(w, lines);
    check(w);
    expect_faults(NULL, 0);
    assert_non_null(strstr(find("server version")->text, "."));
    assert_non_null(strstr(find("persistence")->text, "AOF"));
    assert_non_null(strstr(find("include")->text, "the last line of"));
}

static void each_setting_that_is_wrong_has_its_next_step(void **state)
{
    static const char *const faults[] = { "replica-serve-stale-data", "replica-ignore-maxmemory",
                                          "repl-diskless-load",       "repl-backlog-size",
                                          "repl-backlog-ttl",         "maxclients",
                                          "replica-announce-ip",      "include" };
    struct world *w = *state;

    start(w, "replica-serve-stale-data no\nreplica-ignore-maxmemory no\nrepl-diskless-load "
             "swapdb\nrepl-backlog-size 1mb\n"
             "repl-backlog-ttl 3600\nmaxclients 40\nreplica-announce-ip 192.0.2.1\n");
    check(w);
    expect_faults(faults, HM_ARRAY_LEN(faults));
    assert_string_equal(find("repl-backlog-size")->next,
                        "CONFIG SET repl-backlog-size 64mb, and the same in redis.conf");
    assert_non_null(strstr(find("include")->next, "add 'include "));
    assert_non_null(strstr(find("persistence")->text, "none: a start finds nothing"));
}

static void a_server_that_others_cannot_reach_is_told(void **state)
{
    static const char *const faults[] = { "bind", "protected-mode" };
    struct world *w = *state;
    char lines[640];

    include_as_last_line(w, lines, GOOD "protected-mode yes\n");
    start(w, lines);
    (void)snprintf(w->settings[DB1].member[DB1].host, sizeof w->settings[DB1].member[DB1].host,
                   "10.1.2.3");
    check(w);
    (void)snprintf(w->settings[DB1].member[DB1].host, sizeof w->settings[DB1].member[DB1].host,
                   "127.0.0.1");
    expect_faults(faults, HM_ARRAY_LEN(faults));
    assert_string_equal(find("bind")->next,
                        "bind 127.0.0.1 10.1.2.3 in redis.conf; restart the server");
}

static void a_command_that_was_renamed_is_told(void **state)
{
    static const char *const faults[] = { "commands" };
    struct world *w = *state;
    char lines[640];

    include_as_last_line(w, lines, GOOD "rename-command SHUTDOWN \"\"\nrename-command WAIT w8\n");
    start(w, lines);
    check(w);
    expect_faults(faults, HM_ARRAY_LEN(faults));
    assert_string_equal(find("commands")->text, "hamgr needs, and it does not know: wait shutdown");
}

static void another_port_is_told(void **state)
{
    static const char *const faults[] = { "port" };
    struct world *w = *state;
    char lines[640];

    include_as_last_line(w, lines, GOOD "port 0\n");
    start(w, lines);
    check(w);
    expect_faults(faults, HM_ARRAY_LEN(faults));
    assert_non_null(strstr(find("port")->text, "is 0, and "));
}

/* The port of another world is as good as any: nobody connects to it. */
static void a_port_for_tls_is_told(void **state)
{
    static const char *const faults[] = { "port", "tls-port" };
    struct world *w = *state;
    const struct settings_service *service = &w->settings[DB1].service[0];
    char lines[640], before[512], pem[128];

    if (strstr(world_ask(w, DB1, "CONFIG GET tls-port"), "tls-port") == NULL) {
        print_message("this redis-server knows no TLS\n");
        return;
    }
    make_certificate(w, pem);
    (void)snprintf(before, sizeof before,
                   GOOD "port 0\ntls-port %u\ntls-cert-file %s\ntls-key-file %s\n"
                        "tls-ca-cert-file %s\n",
                   service->port, pem, pem, pem);
    include_as_last_line(w, lines, before);
    start(w, lines);
    check(w);
    expect_faults(faults, HM_ARRAY_LEN(faults));
    assert_non_null(strstr(find("tls-port")->text, "speak no TLS"));
    assert_non_null(strstr(find("tls-port")->next, "tls-port 0"));
}

/* What is needed only at a takeover is known to be refused before it. */
static void a_right_that_our_user_lacks_is_told(void **state)
{
    static const char *const faults[] = { "permissions" };
    struct world *w = *state;
    char lines[640];

    include_as_last_line(w, lines, GOOD);
    start(w, lines);
    if (strstr(world_ask(w, DB1, "ACL DRYRUN default PING"), "OK") == NULL) {
        print_message("this redis-server does not tell who may run what\n");
        return;
    }
    (void)world_ask(w, DB1, "ACL SETUSER default -wait -replicaof -client|pause");
    check(w);
    (void)world_ask(w, DB1, "ACL SETUSER default +@all");
    expect_faults(faults, HM_ARRAY_LEN(faults));
    assert_string_equal(find("permissions")->text,
                        "user default may not run: REPLICAOF CLIENT WAIT");
    assert_non_null(strstr(find("permissions")->next, "ACL SETUSER default +info +role"));
}

static void a_user_that_may_not_even_ask_is_told_its_rights(void **state)
{
    static const char *const faults[] = { "connection" };
    struct world *w = *state;

    (void)world_ask(w, DB1, "ACL SETUSER default -config");
    check(w);
    (void)world_ask(w, DB1, "ACL SETUSER default +config");
    expect_faults(faults, HM_ARRAY_LEN(faults));
    assert_non_null(strstr(find("connection")->next, "+config|get +config|set"));
}

static void a_renamed_config_is_told_as_such(void **state)
{
    static const char *const faults[] = { "connection" };
    struct world *w = *state;
    char lines[640];

    include_as_last_line(w, lines, GOOD "rename-command CONFIG c0nf\n");
    start(w, lines);
    check(w);
    expect_faults(faults, HM_ARRAY_LEN(faults));
    assert_non_null(strstr(find("connection")->next, "remove rename-command"));
}

static void a_file_that_hamgrd_may_not_read_is_no_fault(void **state)
{
    struct world *w = *state;
    struct settings_service *service = &w->settings[DB1].service[0];
    char kept[SETTINGS_PATH_MAX], lines[640];

    include_as_last_line(w, lines, GOOD);
    start(w, lines);
    memcpy(kept, service->config_file, sizeof kept);
    (void)snprintf(service->config_file, sizeof service->config_file, "%s/gone.conf", w->top);
    check(w);
    memcpy(service->config_file, kept, sizeof kept);
    expect_faults(NULL, 0);
    assert_non_null(strstr(find("include")->text, "gone.conf"));
}

static void a_server_that_does_not_answer_is_one_fault(void **state)
{
    static const char *const faults[] = { "connection" };
    struct world *w = *state;

    world_signal(w, DB1, SIGKILL);
    world_expect(w, COPY_DOWN, NULL, 1000);
    world_await(w, !rconn_is_up(w->service->work));
    check(w);
    expect_faults(faults, 1);
}

static void why_hamgrd_is_not_let_in_is_told(void **state)
{
    static const char *const faults[] = { "connection" };
    struct world *w = *state;

    world_start(w, DB1, "requirepass secret\n");
    world_await(w, strstr(world_trouble(w), "NOAUTH") != NULL);
    check(w);
    expect_faults(faults, 1);
    assert_non_null(strstr(find("connection")->text, "set passfile: NOAUTH"));
}

/* Of a server before 6.2, with which nothing else of this folder has to work. */
static void a_server_that_is_too_old_is_told(void **state)
{
    struct world *w = *state;
    char lines[640];

    include_as_last_line(w, lines, GOOD);
    start(w, lines);
    check(w);
    assert_false(find("server version")->is_ok);
    assert_string_equal(find("server version")->next, "upgrade to 6.2 or later, or to Valkey");
}

static int make_world(void **state)
{
    struct world *w = world_new();

    (void)snprintf(w->settings[DB1].run_dir, sizeof w->settings[DB1].run_dir, "%s", w->top);
    *state = w;
    return 0;
}

static int end_world(void **state)
{
    world_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_as_hamgr_wants_it_has_no_fault),
        cmocka_unit_test(each_setting_that_is_wrong_has_its_next_step),
        cmocka_unit_test(a_server_that_others_cannot_reach_is_told),
        cmocka_unit_test(a_command_that_was_renamed_is_told),
        cmocka_unit_test(another_port_is_told),
        cmocka_unit_test(a_port_for_tls_is_told),
        cmocka_unit_test(a_right_that_our_user_lacks_is_told),
        cmocka_unit_test(a_user_that_may_not_even_ask_is_told_its_rights),
        cmocka_unit_test(a_renamed_config_is_told_as_such),
        cmocka_unit_test(a_file_that_hamgrd_may_not_read_is_no_fault),
        cmocka_unit_test(a_server_that_does_not_answer_is_one_fault),
        cmocka_unit_test(why_hamgrd_is_not_let_in_is_told),
    };
    const struct CMUnitTest too_old[] = { cmocka_unit_test(a_server_that_is_too_old_is_told) };

    if (world_version() < 602)
        return cmocka_run_group_tests(too_old, make_world, end_world);
    return cmocka_run_group_tests(tests, make_world, end_world);
}
