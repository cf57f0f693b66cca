#include "tests/pg/world.h"

#include "tests/pg/await.h"

#include "base/clock.h"
#include "probe/procs.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void give_up(const char *why)
{
    (void)fprintf(stderr, "tests/pg: %s\n", why);
    exit(1);
}

static void become_postgres(void)
{
    const struct passwd *pw;

    if (access(WORLD_BIN "/postgres", X_OK) != 0)
        give_up("no " WORLD_BIN "/postgres: install that version (make deps)");
    if (geteuid() != 0)
        return; /* initdb works for any other user */
    pw = getpwnam("postgres");
    if (pw == NULL)
        give_up("there is no user postgres: install PostgreSQL (make deps)");
    if (setgroups(0, NULL) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
        give_up("cannot become user postgres");
}

/* A dead server that nobody waits for still looks alive to pg_ctl, and not every first process of a
 * container waits. So the test goes on in a child, and this process waits for whatever is left. */
static void take_in_orphans(void)
{
    int status = 0;
    pid_t child, ended;

    (void)fflush(NULL);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    child = fork();
    if (child < 0)
        give_up("cannot fork");
    if (child == 0)
        return;
    while ((ended = waitpid(-1, &status, 0)) != child)
        if (ended < 0 && errno != EINTR)
            break;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int world_run(const char *format, ...)
{
    char command[2048];
    va_list args;
    int status;

    va_start(args, format);
    (void)vsnprintf(command, sizeof command, format, args);
    va_end(args);
    status = system(command);
    return status;
}

static void fill_settings(struct world *w, unsigned int i)
{
    struct settings *s = &w->settings[i];
    struct settings_service *pg = &s->service[0];

    (void)snprintf(s->cluster, sizeof s->cluster, "test");
    (void)snprintf(s->node, sizeof s->node, "db%u", i + 1);
    s->self = (uint8_t)i;
    s->members_n = 2;
    for (unsigned int m = 0; m < 2; m++) {
        s->member[m].role = ROLE_DB;
        (void)snprintf(s->member[m].name, sizeof s->member[m].name, "db%u", m + 1);
        (void)snprintf(s->member[m].host, sizeof s->member[m].host, "127.0.0.%u", m + 1);
    }
    s->services_n = 1;
    (void)snprintf(pg->name, sizeof pg->name, "pg");
    (void)snprintf(pg->data_dir, sizeof pg->data_dir, "%s/data%u", w->top, i + 1);
    (void)snprintf(pg->socket_dir, sizeof pg->socket_dir, "%s/s%u", w->top, i + 1);
    (void)snprintf(pg->bin_dir, sizeof pg->bin_dir, "%s", WORLD_BIN);
    (void)snprintf(pg->user, sizeof pg->user, "postgres");
    (void)snprintf(pg->dbname, sizeof pg->dbname, "postgres");
    pg->port = WORLD_PORT;
    (void)snprintf(s->state_dir, sizeof s->state_dir, "%s/state%u", w->top, i + 1);
    s->timing.check_interval_ms = 50;
    s->timing.check_timeout_ms = 1500;
    assert_int_equal(mkdir(pg->socket_dir, 0700), 0);
    assert_int_equal(mkdir(s->state_dir, 0700), 0);
}

struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);

    if (w == NULL)
        give_up("no memory");
    become_postgres();
    take_in_orphans();
    strcpy(w->top, "/tmp/hamgr-pg-XXXXXX");
    if (mkdtemp(w->top) == NULL || chdir(w->top) != 0)
        give_up("cannot make a directory in /tmp");
    w->base = event_base_new();
    fill_settings(w, 0);
    fill_settings(w, 1);
    return w;
}

void world_free(struct world *w)
{
    world_unwatch(w);
    world_signal(w, 0, SIGKILL);
    world_signal(w, 1, SIGKILL);
    event_base_free(w->base);
    (void)chdir("/");
    (void)world_run("rm -rf %s", w->top);
    free(w);
}

/* --- servers --------------------------------------------------------------------------------- */

const char *world_dir(const struct world *w, unsigned int server)
{
    return w->settings[server].service[0].data_dir;
}

static void add_settings(struct world *w, unsigned int server)
{
    const struct settings_service *pg = &w->settings[server].service[0];
    char path[512];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/postgresql.conf", pg->data_dir);
    f = fopen(path, "ae");
    assert_non_null(f);
    (void)fprintf(f,
                  "listen_addresses='127.0.0.%u'\nport=%u\nunix_socket_directories='%s'\n"
                  "shared_buffers=16MB\nwal_log_hints=on\nmax_connections=20\n"
                  "wal_keep_size=256MB\nhot_standby_feedback=off\nautovacuum=off\n"
                  "wal_receiver_status_interval=1\nfsync=on\n",
                  server + 1, WORLD_PORT, pg->socket_dir);
    assert_int_equal(fclose(f), 0);
}

void world_make_primary(struct world *w, unsigned int server)
{
    assert_int_equal(world_run(WORLD_BIN "/initdb -D %s -U postgres -A trust -N --no-locale "
                                         "-E UTF8 >initdb.log 2>&1",
                               world_dir(w, server)),
                     0);
    add_settings(w, server);
}

void world_make_standby(struct world *w, unsigned int server)
{
    assert_int_equal(
        world_run(WORLD_BIN "/pg_basebackup -D %s -h %s -p %u -U postgres -X stream -c fast -N",
                  world_dir(w, server), w->settings[1 - server].service[0].socket_dir, WORLD_PORT),
        0);
    add_settings(w, server);
    assert_int_equal(world_run("touch %s/standby.signal", world_dir(w, server)), 0);
}

void world_start(struct world *w, unsigned int server)
{
    assert_int_equal(world_run(WORLD_BIN "/pg_ctl -D %s -l log%u -w -t 30 start >/dev/null",
                               world_dir(w, server), server + 1),
                     0);
}

void world_stop(struct world *w, unsigned int server, const char *mode)
{
    assert_int_equal(world_run(WORLD_BIN "/pg_ctl -D %s -m %s -w -t 30 stop >/dev/null",
                               world_dir(w, server), mode),
                     0);
}

pid_t world_postmaster(const struct world *w, unsigned int server)
{
    char path[512];
    long pid = 0;
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/postmaster.pid", world_dir(w, server));
    f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%ld", &pid) != 1)
        pid = 0;
    (void)fclose(f);
    return (pid_t)pid;
}

void world_signal(const struct world *w, unsigned int server, int signal)
{
    const struct procs_spec spec = { .executable = "postgres", .data_dir = world_dir(w, server) };
    struct procs *procs = malloc(sizeof *procs);
    pid_t postmaster = world_postmaster(w, server);
    struct hm_err err;

    assert_non_null(procs);
    /* Killed ones hold their shared memory until they are gone; others may have been forked. */
    for (unsigned int round = 0; round < (signal == SIGKILL ? 100000 : 3); round++) {
        if (procs_scan(&spec, procs, &err) != HM_OK || procs->n == 0)
            break;
        for (size_t i = 0; i < procs->n; i++)
            if (procs->pid[i] == postmaster)
                (void)kill(postmaster, signal);
        for (size_t i = 0; i < procs->n; i++)
            (void)kill(procs->pid[i], signal);
    }
    free(procs);
}

PGconn *world_connect(const struct world *w, unsigned int server)
{
    char conninfo[512];
    PGconn *pg;

    (void)snprintf(conninfo, sizeof conninfo, "host=%s port=%u user=postgres dbname=postgres",
                   w->settings[server].service[0].socket_dir, WORLD_PORT);
    pg = PQconnectdb(conninfo);
    if (PQstatus(pg) != CONNECTION_OK)
        (void)fprintf(stderr, "%s", PQerrorMessage(pg));
    return pg;
}

const char *world_ask(const struct world *w, unsigned int server, const char *sql)
{
    static char value[4096];
    PGconn *pg = world_connect(w, server);
    PGresult *result = PQexec(pg, sql);

    value[0] = 0;
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        (void)fprintf(stderr, "%s: %s", sql, PQresultErrorMessage(result));
    else if (PQntuples(result) > 0)
        (void)snprintf(value, sizeof value, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(pg);
    return value;
}

uint64_t world_number(const struct world *w, unsigned int server, const char *sql)
{
    return strtoull(world_ask(w, server, sql), NULL, 10);
}

/* --- watching -------------------------------------------------------------------------------- */

static void on_copy(void *ctx, const struct copy *copy)
{
    struct world *w = ctx;

    assert_true(copy->taken_at_ms >= w->copy.taken_at_ms);
    w->copy = *copy;
    w->findings++;
    w->seen |= 1u << copy->state;
    w->has_seen_crash |= copy->is_crashed;
    w->has_seen_unknown |= copy->state == COPY_UNKNOWN;
}

static void on_done(void *ctx, uint32_t op, bool is_ok, const char *why, const struct copy *copy)
{
    (void)op;
    (void)is_ok;
    (void)why;
    on_copy(ctx, copy);
}

static void on_died(void *ctx, const char *why)
{
    (void)why;
    ((struct world *)ctx)->died_ms = clock_boot_ms();
}

static bool start_unit(void *ctx)
{
    (void)ctx;
    return false;
}

void world_watch(struct world *w, unsigned int server)
{
    struct service_config config = {
        .base = w->base,
        .settings = &w->settings[server],
        .service = &w->settings[server].service[0],
        .host = { .ctx = w,
                  .on_copy = on_copy,
                  .on_done = on_done,
                  .on_died = on_died,
                  .start_unit = start_unit },
    };
    struct hm_err err = { "" };

    world_unwatch(w);
    memset(&w->copy, 0, sizeof w->copy);
    w->findings = w->seen = 0;
    w->died_ms = 0;
    w->has_seen_crash = false;
    w->has_seen_unknown = false;
    w->watched = server;
    if (service_postgres.open(&config, &w->service, &err) != HM_OK)
        fail_msg("cannot watch: %s", err.text);
}

void world_unwatch(struct world *w)
{
    if (w->service != NULL)
        service_postgres.close(w->service);
    w->service = NULL;
}

void world_let(struct world *w, hm_ms ms)
{
    hm_ms end_ms = clock_boot_ms() + ms;

    for (hm_ms left_ms = ms; left_ms > 0; left_ms = end_ms - clock_boot_ms()) {
        const struct timeval tv = { .tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000 };

        (void)event_base_loopexit(w->base, &tv);
        (void)event_base_loop(w->base, 0);
    }
}

void world_expect(struct world *w, enum copy_state state, bool (*is_it)(const struct world *w),
                  hm_ms limit_ms)
{
    hm_ms begin_ms = clock_boot_ms();
    struct service_facts facts;

    while (clock_boot_ms() < begin_ms + limit_ms * PG_PATIENCE) {
        if (w->copy.taken_at_ms >= begin_ms && w->copy.state == state &&
            (is_it == NULL || is_it(w)))
            return;
        world_let(w, 5);
    }
    service_postgres.describe(w->service, &facts);
    (void)world_run("tail -n 20 log1 log2 >&2"); /* they are removed with the world */
    fail_msg("after %lld ms and more it is '%s' and not '%s': at %llu/%llx, final %d, healthy %d, "
             "follows "
             "%d, streams %d, names %d, trouble '%s'",
             (long long)limit_ms, copy_state_name(w->copy.state), copy_state_name(state),
             (unsigned long long)w->copy.at.timeline, (unsigned long long)w->copy.at.offset,
             w->copy.is_final, w->copy.is_healthy, w->copy.follows, w->copy.is_streaming,
             (int)w->copy.names, facts.trouble);
}

/* --- the record, and what is asked of servers ----------------------------------------------------
 */

static struct record made_record(uint8_t holder, uint64_t timeline)
{
    struct record r = { .epoch = 7, .version = 1, .holder = holder };

    for (unsigned int i = 0; i < 2; i++) {
        r.member[i].role = ROLE_DB;
        (void)snprintf(r.member[i].name, sizeof r.member[i].name, "db%u", i + 1);
    }
    r.timelines_n = 1;
    r.timelines[0] = (struct timeline){ .timeline = timeline, .epoch = 7 };
    return r;
}

void world_note_record(struct world *w, uint8_t holder, uint64_t timeline)
{
    struct record r = made_record(holder, timeline);

    service_postgres.note_record(w->service, &r, (uint8_t)w->watched, true);
}

void world_follow(struct world *w, unsigned int server)
{
    char sql[512];

    (void)snprintf(sql, sizeof sql,
                   "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.%u port=%u user=postgres "
                   "application_name=hamgr_db%u'",
                   2 - server, WORLD_PORT, server + 1);
    (void)world_ask(w, server, sql);
    (void)world_ask(w, server, "SELECT pg_reload_conf()");
}

void world_set(struct world *w, unsigned int server, const char *name, const char *value)
{
    char sql[512];

    (void)snprintf(sql, sizeof sql, "ALTER SYSTEM SET %s = '%s'", name, value);
    (void)world_ask(w, server, sql);
    (void)world_ask(w, server, "SELECT pg_reload_conf()");
}

void world_write_some(struct world *w, unsigned int server)
{
    (void)world_ask(w, server,
                    "CREATE TABLE IF NOT EXISTS t(i int, text text);"
                    "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 3000) i");
}
