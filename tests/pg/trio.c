#include "tests/pg/trio.h"

#include "tests/pg/await.h"

#include "base/clock.h"
#include "base/log.h"
#include "probe/procs.h"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static _Noreturn void give_up(const char *why)
{
    (void)fprintf(stderr, "tests/pg: %s\n", why);
    exit(1);
}

static void become_postgres(void)
{
    const struct passwd *pw = getpwnam("postgres");

    if (access(TRIO_BIN "/postgres", X_OK) != 0)
        give_up("no " TRIO_BIN "/postgres: install that version (make deps)");
    if (geteuid() != 0)
        return;
    if (pw == NULL || setgroups(0, NULL) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
        give_up("cannot become user postgres: install PostgreSQL (make deps)");
}

int trio_shell(const char *format, ...)
{
    char command[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command);
}

/* --- the members -------------------------------------------------------------------------------
 */

static void on_copy(void *ctx, const struct copy *copy)
{
    ((struct trio_member *)ctx)->copy = *copy;
}

static void on_done(void *ctx, uint32_t op, bool is_ok, const char *why, const struct copy *copy)
{
    struct trio_member *m = ctx;

    m->copy = *copy;
    m->done_op = op;
    m->is_ok = is_ok;
    m->done_ms = clock_boot_ms();
    (void)snprintf(m->why, sizeof m->why, "%s", why);
}

static void on_died(void *ctx, const char *why)
{
    (void)why;
    ((struct trio_member *)ctx)->died++;
}

static bool start_unit(void *ctx)
{
    (void)ctx;
    return false;
}

/* What its gossip would say. */
static bool look_at_peer(void *ctx, uint8_t member, struct gossip *ret)
{
    const struct trio *t = ((struct trio_member *)ctx)->trio;
    const struct copy *c = &t->member[member < TRIO_N ? member : 0].copy;

    if (member >= TRIO_N)
        return false;
    *ret = (struct gossip){ .copy = c->state,
                            .copy_id = c->copy_id,
                            .at = c->at,
                            .follows = c->follows,
                            .is_streaming = c->is_streaming };
    return true;
}

static void write_config(const struct trio_member *m)
{
    const struct settings_service *pg = &m->settings.service[0];
    char path[160];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/pg_hba.conf", m->root);
    f = fopen(path, "we");
    assert_non_null(f);
    (void)fputs("local all all trust\nhost all all 127.0.0.0/8 trust\n"
                "host replication all 127.0.0.0/8 trust\nlocal replication all trust\n",
                f);
    (void)fclose(f);
    f = fopen(pg->config_file, "we");
    assert_non_null(f);
    (void)fprintf(f,
                  "data_directory='%s'\nhba_file='%s/pg_hba.conf'\nlisten_addresses='127.0.0.%u'\n"
                  "port=%u\nunix_socket_directories='%s'\nshared_buffers=16MB\nwal_log_hints=on\n"
                  "max_connections=30\nautovacuum=off\nmax_standby_streaming_delay=-1\n"
                  "wal_keep_size=64MB\nmax_wal_senders=10\nlog_line_prefix='%%m [%%p] %%b %%a '\n",
                  pg->data_dir, m->root, 11 + m->number, TRIO_PORT, m->root);
    (void)fclose(f);
}

static void fill_settings(struct trio *t, struct trio_member *m)
{
    struct settings *s = &m->settings;
    struct settings_service *pg = &s->service[0];

    (void)snprintf(m->root, sizeof m->root, "%s/db%u", t->root, m->number + 1);
    (void)snprintf(s->node, sizeof s->node, "db%u", m->number + 1);
    s->self = (uint8_t)m->number;
    s->services_n = 1;
    (void)snprintf(pg->name, sizeof pg->name, "pg");
    (void)snprintf(pg->data_dir, sizeof pg->data_dir, "%s/data", m->root);
    (void)snprintf(pg->config_file, sizeof pg->config_file, "%s/postgresql.conf", m->root);
    (void)snprintf(pg->socket_dir, sizeof pg->socket_dir, "%s", m->root);
    (void)snprintf(pg->user, sizeof pg->user, "postgres");
    (void)snprintf(pg->dbname, sizeof pg->dbname, "postgres");
    (void)snprintf(pg->replication_user, sizeof pg->replication_user, "postgres");
    pg->port = TRIO_PORT;
    pg->control = CONTROL_DIRECT;
    (void)snprintf(s->state_dir, sizeof s->state_dir, "%s/state", m->root);
    s->timing.ttl_ms = 1500;
    s->timing.heartbeat_ms = 250;
    s->timing.check_interval_ms = 250;
    s->timing.check_timeout_ms = 1000;
    assert_int_equal(mkdir(m->root, 0700), 0);
    assert_int_equal(mkdir(s->state_dir, 0700), 0);
    write_config(m);
}

static void open_member(struct trio_member *m)
{
    struct service_config config = { .base = m->trio->base,
                                     .settings = &m->settings,
                                     .service = &m->settings.service[0],
                                     .host = { .ctx = m,
                                               .on_copy = on_copy,
                                               .on_done = on_done,
                                               .on_died = on_died,
                                               .start_unit = start_unit,
                                               .look_at_peer = look_at_peer } };
    struct hm_err err;

    if (service_postgres.open(&config, &m->service, &err) != HM_OK)
        fail_msg("cannot open the service: %s", err.text);
}

static void fill_record(struct trio *t)
{
    struct record *r = &t->record;

    r->version = r->epoch = 1;
    r->goal = r->durability = DURABILITY_ASYNC;
    for (uint8_t i = 0; i < TRIO_N; i++) {
        r->member[i].role = ROLE_DB;
        r->member[i].incarnation = 1000u + i;
        (void)snprintf(r->member[i].name, sizeof r->member[i].name, "db%u", i + 1);
        (void)snprintf(r->member[i].address, sizeof r->member[i].address, "127.0.0.%u:7420",
                       11 + i);
        r->voters |= (uint16_t)(1u << i);
    }
}

struct trio *trio_new(void)
{
    struct trio *t = calloc(1, sizeof *t);

    if (t == NULL)
        give_up("no memory");
    become_postgres();
    log_init("test", LOG_LEVEL_ERROR);
    strcpy(t->root, "/tmp/hamgr-trio-XXXXXX");
    if (mkdtemp(t->root) == NULL || chdir(t->root) != 0)
        give_up("cannot make a directory in /tmp");
    t->base = event_base_new();
    fill_record(t);
    for (unsigned int i = 0; i < TRIO_N; i++) {
        t->member[i].trio = t;
        t->member[i].number = i;
        fill_settings(t, &t->member[i]);
        open_member(&t->member[i]);
    }
    trio_tell(t);
    return t;
}

void trio_reopen(struct trio *t, unsigned int m)
{
    service_postgres.close(t->member[m].service);
    open_member(&t->member[m]);
    trio_tell(t);
}

void trio_free(struct trio *t)
{
    for (unsigned int i = 0; i < TRIO_N; i++) {
        trio_kill(t, i);
        service_postgres.close(t->member[i].service);
    }
    (void)event_base_loop(t->base, EVLOOP_NONBLOCK); /* the dead are taken from the kernel */
    event_base_free(t->base);
    (void)chdir("/");
    (void)trio_shell("rm -rf '%s'", t->root);
    free(t);
}

void trio_tell(struct trio *t)
{
    for (uint8_t i = 0; i < TRIO_N; i++)
        service_postgres.note_record(t->member[i].service, &t->record, i, true);
}

void trio_kill(struct trio *t, unsigned int m)
{
    const struct procs_spec spec = { .executable = "postgres",
                                     .data_dir = t->member[m].settings.service[0].data_dir };
    struct procs *procs = malloc(sizeof *procs);
    struct hm_err err;

    assert_non_null(procs);
    for (unsigned int round = 0; round < 2000; round++) {
        if (procs_scan(&spec, procs, &err) != HM_OK || procs->n == 0)
            break;
        if (procs->main_pid != 0)
            (void)kill(procs->main_pid, SIGKILL);
        for (size_t i = 0; i < procs->n; i++)
            (void)kill(procs->pid[i], SIGKILL);
        trio_let(t, 2);
    }
    free(procs);
}

/* --- the loop ----------------------------------------------------------------------------------
 */

void trio_let(struct trio *t, hm_ms ms)
{
    hm_ms end_ms = clock_boot_ms() + ms;

    for (hm_ms left_ms = ms; left_ms > 0; left_ms = end_ms - clock_boot_ms()) {
        const struct timeval tv = { .tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000 };

        (void)event_base_loopexit(t->base, &tv);
        (void)event_base_loop(t->base, 0);
    }
}

uint32_t trio_ask(struct trio *t, unsigned int m, struct core_effect e)
{
    e.op = ++t->op;
    service_postgres.carry_out(t->member[m].service, &e);
    return e.op;
}

hm_ms trio_wait(struct trio *t, unsigned int m, uint32_t op, hm_ms limit_ms)
{
    struct trio_member *member = &t->member[m];
    hm_ms begin_ms = clock_boot_ms();
    struct service_facts facts;

    while (member->done_op != op) {
        if (clock_boot_ms() - begin_ms > limit_ms * PG_PATIENCE) {
            service_postgres.describe(member->service, &facts);
            fail_msg("db%u: not done after %lld ms and more: doing '%s', trouble '%s', copy %s",
                     m + 1, (long long)limit_ms, facts.doing, facts.trouble,
                     copy_state_name(member->copy.state));
        }
        (void)event_base_loop(t->base, EVLOOP_ONCE);
    }
    return member->done_ms - begin_ms;
}

hm_ms trio_do(struct trio *t, unsigned int m, struct core_effect e)
{
    hm_ms took_ms = trio_wait(t, m, trio_ask(t, m, e), 60000);

    if (!t->member[m].is_ok)
        fail_msg("db%u: %s failed: %s", m + 1, core_effect_name(e.type), t->member[m].why);
    return took_ms;
}

void trio_fails(struct trio *t, unsigned int m, struct core_effect e, const char *part)
{
    (void)trio_wait(t, m, trio_ask(t, m, e), 60000);
    assert_false(t->member[m].is_ok);
    if (strstr(t->member[m].why, part) == NULL)
        fail_msg("db%u: %s failed with '%s', without '%s'", m + 1, core_effect_name(e.type),
                 t->member[m].why, part);
}

void trio_until(struct trio *t, unsigned int m, const char *sql, const char *wanted, hm_ms limit_ms)
{
    hm_ms begin_ms = clock_boot_ms();

    while (strcmp(trio_value(t, m, sql), wanted) != 0) {
        if (clock_boot_ms() - begin_ms > limit_ms * PG_PATIENCE)
            fail_msg("db%u: '%s' is '%s', not '%s'", m + 1, sql, trio_value(t, m, sql), wanted);
        trio_let(t, 5);
    }
}

PGconn *trio_connect(struct trio *t, unsigned int m)
{
    char conninfo[256];

    (void)snprintf(conninfo, sizeof conninfo, "host=%s port=%u user=postgres dbname=postgres",
                   t->member[m].root, TRIO_PORT);
    return PQconnectdb(conninfo);
}

const char *trio_value(struct trio *t, unsigned int m, const char *sql)
{
    static char value[2048];
    PGconn *pg = trio_connect(t, m);
    PGresult *result = PQexec(pg, sql);

    strcpy(value, "!");
    if (PQresultStatus(result) == PGRES_COMMAND_OK)
        value[0] = 0;
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        (void)snprintf(value, sizeof value, "%s",
                       PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(pg);
    return value;
}

/* --- effects -----------------------------------------------------------------------------------
 */

struct core_effect an_effect(enum core_effect_type type)
{
    return a_copy_effect(type, HM_NOBODY);
}

struct core_effect a_copy_effect(enum core_effect_type type, uint8_t member)
{
    struct core_effect e;

    memset(&e, 0, sizeof e);
    e.type = type;
    if (type != DO_SET_NAMES && type != DO_MARKER)
        e.copy.member = member;
    return e;
}

struct core_effect a_promotion(uint64_t timeline, uint64_t epoch)
{
    struct core_effect e = an_effect(DO_PROMOTE);

    e.copy.timeline = timeline;
    e.copy.epoch = epoch;
    return e;
}

struct core_effect names_to(enum names_state names, const struct pair *pair)
{
    struct core_effect e = an_effect(DO_SET_NAMES);

    e.names.names = names;
    if (pair != NULL)
        e.names.pair = *pair;
    return e;
}
