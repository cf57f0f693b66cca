#include "tests/redis/world.h"

#include "tests/redis/await.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Another server, such as valkey-server, or one of another version, is named in the environment. */
#define SERVER_VARIABLE "REDIS_SERVER"
#define SERVER_DEFAULT "/usr/bin/redis-server"

static _Noreturn void give_up(const char *why)
{
    (void)fprintf(stderr, "tests/redis: %s\n", why);
    exit(1);
}

static const char *server_program(void)
{
    const char *program = getenv(SERVER_VARIABLE);

    return program != NULL && program[0] != 0 ? program : SERVER_DEFAULT;
}

/* --- the place ------------------------------------------------------------------------------- */

/* A directory with nothing but that program under its own name, which hamgrd then has to find. */
static void link_program(struct world *w)
{
    const char *name = strrchr(server_program(), '/');
    char path[256];

    if (name == NULL || access(server_program(), X_OK) != 0)
        give_up("no server: install redis-server (make deps), or look at " SERVER_VARIABLE);
    (void)snprintf(path, sizeof path, "%s/bin", w->top);
    assert_int_equal(mkdir(path, 0755), 0);
    (void)snprintf(path, sizeof path, "%s/bin%s", w->top, name);
    assert_int_equal(symlink(server_program(), path), 0);
}

static void fill_settings(struct world *w, unsigned int i)
{
    struct settings *s = &w->settings[i];
    struct settings_service *redis = &s->service[0];

    (void)snprintf(s->cluster, sizeof s->cluster, "test");
    (void)snprintf(s->node, sizeof s->node, "db%u", i + 1);
    s->self = (uint8_t)i;
    s->members_n = WORLD_SERVERS;
    for (unsigned int m = 0; m < WORLD_SERVERS; m++) {
        s->member[m].role = ROLE_DB;
        (void)snprintf(s->member[m].name, sizeof s->member[m].name, "db%u", m + 1);
        (void)snprintf(s->member[m].host, sizeof s->member[m].host, "127.0.0.%u", m + 1);
    }
    s->services_n = 1;
    redis->kind = SERVICE_REDIS;
    redis->port = w->port;
    (void)snprintf(redis->name, sizeof redis->name, "cache");
    (void)snprintf(redis->bin_dir, sizeof redis->bin_dir, "%s/bin", w->top);
    (void)snprintf(redis->data_dir, sizeof redis->data_dir, "%s/data%u", w->top, i + 1);
    (void)snprintf(redis->config_file, sizeof redis->config_file, "%s/redis%u.conf", w->top, i + 1);
    (void)snprintf(redis->socket, sizeof redis->socket, "%s/socket%u", w->top, i + 1);
    (void)snprintf(s->state_dir, sizeof s->state_dir, "%s/state%u", w->top, i + 1);
    s->timing.check_interval_ms = 50;
    s->timing.check_timeout_ms = 1500;
    s->timing.stall_timeout_ms = 3000;
    assert_int_equal(mkdir(redis->data_dir, 0700), 0);
    assert_int_equal(mkdir(s->state_dir, 0700), 0);
}

/* A port that is free on the addresses of all servers. */
static uint16_t free_port(void)
{
    for (unsigned int try = 0; try < 100; try++) {
        struct sockaddr_in address = { .sin_family = AF_INET };
        socklen_t size = sizeof address;
        int fd[WORLD_SERVERS];
        bool is_free = true;

        for (unsigned int i = 0; i < WORLD_SERVERS; i++) {
            fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            address.sin_addr.s_addr = htonl(0x7f000001u + i);
            is_free = is_free && bind(fd[i], (struct sockaddr *)&address, sizeof address) == 0 &&
                      getsockname(fd[i], (struct sockaddr *)&address, &size) == 0;
        }
        for (unsigned int i = 0; i < WORLD_SERVERS; i++)
            (void)close(fd[i]); /* nothing was written to it */
        if (is_free)
            return ntohs(address.sin_port);
    }
    give_up("no port is free");
}

struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);

    if (w == NULL)
        give_up("no memory");
    /* A server that takes no more clients may close before its client has said anything. */
    (void)signal(SIGPIPE, SIG_IGN);
    strcpy(w->top, "/tmp/hamgr-redis-XXXXXX");
    if (mkdtemp(w->top) == NULL)
        give_up("cannot make a directory in /tmp");
    link_program(w);
    w->port = free_port();
    w->base = event_base_new();
    for (unsigned int i = 0; i < WORLD_SERVERS; i++)
        fill_settings(w, i);
    return w;
}

void world_free(struct world *w)
{
    char command[128];

    world_unwatch(w);
    for (unsigned int i = 0; i < WORLD_SERVERS; i++)
        world_signal(w, i, SIGKILL);
    event_base_free(w->base);
    (void)snprintf(command, sizeof command, "rm -rf %s", w->top);
    if (system(command) != 0)
        (void)fprintf(stderr, "tests/redis: cannot remove %s\n", w->top);
    free(w);
}

const char *world_dir(const struct world *w, unsigned int server)
{
    return w->settings[server].service[0].data_dir;
}

const char *world_host(const struct world *w, unsigned int server)
{
    return w->settings[0].member[server].host;
}

/* --- servers --------------------------------------------------------------------------------- */

static const struct settings_service *service_of(const struct world *w, unsigned int server)
{
    return &w->settings[server].service[0];
}

int world_version(void)
{
    static int version;
    char command[256];
    int major = 0, minor = 0;
    FILE *f;

    if (version > 0)
        return version;
    (void)snprintf(command, sizeof command, "%s --version", server_program());
    f = popen(command, "re");
    if (f == NULL || fscanf(f, "%*[^=]=%d.%d", &major, &minor) != 2)
        give_up("the server does not tell its version");
    (void)pclose(f);
    version = 100 * major + minor;
    return version;
}

static void write_config(const struct world *w, unsigned int server, const char *lines)
{
    const struct settings_service *redis = service_of(w, server);
    FILE *f = fopen(redis->config_file, "we");

    assert_non_null(f);
    (void)fprintf(f,
                  "port %u\nbind %s\nunixsocket %s\ndir %s\n"
                  "logfile %s/log%u\nsave \"\"\nprotected-mode no\n"
                  "repl-diskless-sync-delay 0\nrepl-backlog-ttl 0\nrepl-backlog-size 4mb\n",
                  (unsigned int)w->port, world_host(w, server), redis->socket, redis->data_dir,
                  w->top, server + 1);
    if (world_version() >= 700) /* what older ones do not know and do not need */
        (void)fprintf(f, "bind-source-addr %s\nenable-debug-command yes\n", world_host(w, server));
    (void)fprintf(f, "%s", lines != NULL ? lines : "");
    assert_int_equal(fclose(f), 0);
}

static redisContext *connect_to(const struct world *w, unsigned int server)
{
    redisContext *c = redisConnectUnix(service_of(w, server)->socket);

    if (c != NULL && c->err == 0)
        return c;
    if (c != NULL)
        redisFree(c);
    return NULL;
}

void world_start(struct world *w, unsigned int server, const char *lines)
{
    redisContext *c = NULL;
    pid_t pid;

    assert_int_equal(w->pid[server], 0);
    write_config(w, server, lines);
    (void)unlink(service_of(w, server)->socket); /* of one that was killed */
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(server_program(), server_program(), service_of(w, server)->config_file, (char *)NULL);
        _exit(127);
    }
    w->pid[server] = pid;
    world_await(w, waitpid(pid, NULL, WNOHANG) != 0 || (c = connect_to(w, server)) != NULL);
    if (c == NULL)
        w->pid[server] = 0;
    if (c == NULL)
        fail_msg("server %u did not start: see %s/log%u", server + 1, w->top, server + 1);
    redisFree(c);
}

void world_signal(struct world *w, unsigned int server, int signal)
{
    if (w->pid[server] == 0)
        return;
    assert_int_equal(kill(w->pid[server], signal), 0);
    if (signal != SIGKILL && signal != SIGTERM)
        return;
    while (waitpid(w->pid[server], NULL, 0) < 0 && errno == EINTR)
        ;
    w->pid[server] = 0;
}

/* --- what is asked of them ------------------------------------------------------------------- */

static void add_reply(char *text, size_t size, const redisReply *r)
{
    size_t n = strlen(text);

    if (r->type == REDIS_REPLY_INTEGER)
        (void)snprintf(text + n, size - n, "%s%lld", n > 0 ? "\n" : "", r->integer);
    else if (r->type == REDIS_REPLY_ARRAY)
        for (size_t i = 0; i < r->elements; i++)
            add_reply(text, size, r->element[i]);
    else if (r->type != REDIS_REPLY_NIL)
        (void)snprintf(text + n, size - n, "%s%s", n > 0 ? "\n" : "", r->str);
}

const char *world_ask(const struct world *w, unsigned int server, const char *format, ...)
{
    static char text[65536];
    redisContext *c = connect_to(w, server);
    redisReply *reply;
    va_list args;

    text[0] = 0;
    assert_non_null(c);
    (void)redisSetTimeout(c, (struct timeval){ .tv_sec = 30 });
    va_start(args, format);
    reply = redisvCommand(c, format, args);
    va_end(args);
    if (reply != NULL)
        add_reply(text, sizeof text, reply);
    freeReplyObject(reply);
    redisFree(c);
    return text;
}

const char *world_info(const struct world *w, unsigned int server, const char *key)
{
    static char value[256];
    const char *at = world_ask(w, server, "INFO");
    size_t length = strlen(key);

    value[0] = 0;
    for (; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, key, length) == 0 && at[length] == ':') {
            (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(at + length + 1, "\r\n"),
                           at + length + 1);
            break;
        }
    }
    return value;
}

uint64_t world_number(const struct world *w, unsigned int server, const char *key)
{
    return strtoull(world_info(w, server, key), NULL, 10);
}

void world_follow(struct world *w, unsigned int server, unsigned int master)
{
    if (master == WORLD_SERVERS) {
        assert_string_equal(world_ask(w, server, "REPLICAOF 127.0.0.1 1"), "OK");
        return;
    }
    (void)world_ask(w, server, "REPLICAOF %s %u", world_host(w, master), (unsigned int)w->port);
    world_await(w, strcmp(world_info(w, server, "master_link_status"), "up") == 0);
}

void world_write(const struct world *w, unsigned int server, unsigned int n, unsigned int bytes)
{
    assert_string_equal(
        world_ask(w, server, "EVAL %s 0 %u %u",
                  "for i=1,ARGV[1] do redis.call('set','k'..i,string.rep('x',ARGV[2])..i) end "
                  "return 'ok'",
                  n, bytes),
        "ok");
}

/* --- watching -------------------------------------------------------------------------------- */

static void on_copy(void *ctx, const struct copy *copy)
{
    struct world *w = ctx;

    assert_true(copy->taken_at_ms >= w->copy.taken_at_ms);
    w->copy = *copy;
    w->findings++;
    w->seen |= 1u << copy->state;
}

static void on_done(void *ctx, uint32_t op, bool is_ok, const char *why, const struct copy *copy)
{
    struct world *w = ctx;

    on_copy(ctx, copy);
    w->done_n++;
    w->done_op = op;
    w->done_is_ok = is_ok;
    (void)snprintf(w->done_why, sizeof w->done_why, "%s", why != NULL ? why : "");
}

static void on_died(void *ctx, const char *why)
{
    (void)why;
    ((struct world *)ctx)->died_ms = clock_boot_ms();
}

/* Without waiting, as the helper does it. */
static bool start_unit(void *ctx)
{
    struct world *w = ctx;

    if (w->is_helper_deaf)
        return false;
    w->started++;
    return true;
}

/* Stopped processes are reported a moment later, as the helper does it. */
static bool suspend(void *ctx)
{
    struct world *w = ctx;

    if (w->is_helper_deaf)
        return false;
    w->suspended++;
    world_signal(w, w->watched, SIGSTOP);
    return true;
}

static bool scan(void *ctx)
{
    ((struct world *)ctx)->scans++;
    return true;
}

static bool look_at_peer(void *ctx, uint8_t member, struct gossip *ret)
{
    const struct world *w = ctx;

    if (member >= WORLD_SERVERS || !w->is_heard[member])
        return false;
    *ret = w->gossip[member];
    return true;
}

void world_watch(struct world *w, unsigned int server)
{
    struct service_config config = {
        .base = w->base,
        .settings = &w->settings[server],
        .service = service_of(w, server),
        .host = { .ctx = w,
                  .on_copy = on_copy,
                  .on_done = on_done,
                  .on_died = on_died,
                  .start_unit = start_unit,
                  .suspend = suspend,
                  .scan = scan,
                  .look_at_peer = look_at_peer },
    };
    struct hm_err err = { "" };

    world_unwatch(w);
    memset(&w->copy, 0, sizeof w->copy);
    w->findings = w->seen = w->started = w->suspended = w->scans = w->done_n = 0;
    w->died_ms = 0;
    w->is_helper_deaf = false;
    w->watched = server;
    if (service_redis.open(&config, &w->service, &err) != HM_OK)
        fail_msg("cannot watch: %s", err.text);
}

void world_unwatch(struct world *w)
{
    if (w->service != NULL)
        service_redis.close(w->service);
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

const char *world_trouble(const struct world *w)
{
    static struct service_facts facts;

    service_redis.describe(w->service, &facts);
    return facts.trouble;
}

void world_expect(struct world *w, enum copy_state state, bool (*is_it)(const struct world *w),
                  hm_ms limit_ms)
{
    hm_ms begin_ms = clock_boot_ms();

    while (clock_boot_ms() < begin_ms + limit_ms * REDIS_PATIENCE) {
        if (w->copy.taken_at_ms >= begin_ms && w->copy.state == state &&
            (is_it == NULL || is_it(w)))
            return;
        world_let(w, 2);
    }
    fail_msg("after %lld ms and more it is '%s' and not '%s': at %llx/%llu, final %d, healthy %d, "
             "follows %d, streams %d, names %d, stalled %lld ms, trouble '%s'",
             (long long)limit_ms, copy_state_name(w->copy.state), copy_state_name(state),
             (unsigned long long)w->copy.at.timeline, (unsigned long long)w->copy.at.offset,
             w->copy.is_final, w->copy.is_healthy, w->copy.follows, w->copy.is_streaming,
             (int)w->copy.names, (long long)w->copy.stalled_ms, world_trouble(w));
}

/* --- what the service is told ---------------------------------------------------------------- */

void world_note_record(struct world *w, uint8_t holder)
{
    struct record *r = &w->record;

    *r = (struct record){
        .epoch = 7, .version = 1, .holder = holder, .kind = SERVICE_REDIS, .ttl_ms = 1500
    };
    for (unsigned int i = 0; i < WORLD_SERVERS; i++) {
        r->member[i].role = ROLE_DB;
        r->member[i].incarnation = i + 1;
        (void)snprintf(r->member[i].name, sizeof r->member[i].name, "db%u", i + 1);
        (void)snprintf(r->member[i].address, sizeof r->member[i].address, "%s:7420",
                       world_host(w, i));
    }
    r->timelines_n = 1;
    r->timelines[0] = (struct timeline){ .timeline = 1, .epoch = 7 };
    service_redis.note_record(w->service, r, (uint8_t)w->watched, true);
}

void world_note_fence(struct world *w, uint32_t processes, uint32_t stopped)
{
    struct fence_report report = { .version = FENCE_VERSION,
                                   .mode = FENCE_STANDBY,
                                   .processes = processes,
                                   .stopped = stopped,
                                   .is_held = stopped > 0,
                                   .scanned_ms = clock_boot_ms() };

    service_redis.note_fence(w->service, true, &report);
}

void world_hear(struct world *w, unsigned int server, uint64_t copy_id, uint8_t follows)
{
    w->is_heard[server] = true;
    w->gossip[server] = (struct gossip){ .copy = COPY_STANDBY,
                                         .copy_id = copy_id,
                                         .follows = follows,
                                         .is_streaming = true,
                                         .is_healthy = true };
}
