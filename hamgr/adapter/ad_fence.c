/* ad_fence.c - see ad_fence.h. */
#include "adapter/ad_fence.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    RETRY_MS = 100,
    CHILD_WAIT_FIRST_MS = 100, /* before a child that ended is started again; doubled */
    CHILD_WAIT_LAST_MS = 5000,
    ASK_MS = 1000, /* a helper that is asked for nothing is asked how it is */
    SENT_MAX = 64, /* requests without an answer; a helper that owes so many gets no more */
    READ_AT_ONCE = 32,
    ARGS_MAX = 8,
    PATH_SIZE = 512,
};

extern char **environ;

struct ad_fence {
    struct ad_fence_config config;
    char socket[sizeof((struct sockaddr_un *)NULL)->sun_path];
    char service[HM_NAME_MAX];
    int fd;               /* -1: no connection */
    struct event *reader; /* owned; of fd */
    struct event *timer;  /* owned */
    uint32_t seq;         /* of the newest request */
    uint32_t answered;    /* the newest one with an answer; the socket keeps the order */
    hm_ms sent_ms[SENT_MAX];
    struct fence_report report; /* the last known */
    bool has_report;            /* on this connection */
    struct log_repeat silence;
    char *argv[ARGS_MAX + 1]; /* owned; of the child; [0] is NULL when there is to be none */
    pid_t child;              /* 0: none */
    int child_fd;
    struct event *child_ended; /* owned; of child_fd */
    hm_ms child_from_ms;       /* not started again before */
    hm_ms child_wait_ms;
};

/* --- the connection ----------------------------------------------------------------------------
 */

static void arm(struct ad_fence *f, hm_ms in_ms)
{
    struct timeval tv = clock_timeval(in_ms);

    if (evtimer_add(f->timer, &tv) != 0)
        log_error("fence service=%s: no timer", f->service);
}

static void disconnect(struct ad_fence *f)
{
    if (f->reader != NULL)
        event_free(f->reader);
    f->reader = NULL;
    if (f->fd >= 0)
        (void)close(f->fd); /* what was asked for is asked for again */
    f->fd = -1;
    f->answered = f->seq;
}

/* Not from within ad_fence_ask(): its caller is not to be called. */
static void lose(struct ad_fence *f)
{
    bool was_there = f->has_report;

    disconnect(f);
    f->has_report = false;
    arm(f, RETRY_MS);
    if (was_there)
        f->config.on_report(f->config.ctx, false, &f->report);
}

static void take_report(struct ad_fence *f, const struct fence_report *r)
{
    if (strcmp(r->service, f->service) != 0)
        return; /* whoever connects hears about every service */
    if (r->seq != 0 && (int32_t)(r->seq - f->answered) > 0)
        f->answered = r->seq;
    f->report = *r;
    f->has_report = true;
    f->child_wait_ms = CHILD_WAIT_FIRST_MS;
    f->config.on_report(f->config.ctx, true, &f->report);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    struct ad_fence *f = ctx;
    unsigned char packet[sizeof(struct fence_report) + 1]; /* one more shows what is too long */
    struct fence_report r;
    const char *why;

    (void)what;
    for (int i = 0; i < READ_AT_ONCE && f->fd == fd; i++) {
        ssize_t n = recv(fd, packet, sizeof packet, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n > 0 && fence_report_check(packet, (size_t)n, &r, &why) != HM_OK) {
            log_error("fence service=%s: a wrong report: %s", f->service, why);
            n = 0;
        }
        if (n <= 0) {
            lose(f);
            return;
        }
        take_report(f, &r);
    }
}

static bool connect_now(struct ad_fence *f)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return false;
    memcpy(at.sun_path, f->socket, sizeof at.sun_path);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
        goto failed;
    f->reader = event_new(f->config.base, fd, EV_READ | EV_PERSIST, on_readable, f);
    if (f->reader == NULL || event_add(f->reader, NULL) != 0)
        goto failed;
    f->fd = fd;
    f->answered = f->seq;
    return true;
failed:
    if (f->reader != NULL)
        event_free(f->reader);
    f->reader = NULL;
    (void)close(fd); /* nothing was sent */
    return false;
}

/* --- the child ---------------------------------------------------------------------------------
 */

static void forget_child(struct ad_fence *f)
{
    if (f->child_ended != NULL)
        event_free(f->child_ended);
    f->child_ended = NULL;
    if (f->child_fd >= 0)
        (void)close(f->child_fd); /* only looked at */
    f->child_fd = -1;
    f->child = 0;
}

static void on_child_ended(evutil_socket_t fd, short what, void *ctx)
{
    struct ad_fence *f = ctx;
    siginfo_t info = { 0 };

    (void)fd;
    (void)what;
    if (waitid(P_PID, (id_t)f->child, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
        return; /* not yet */
    log_notice("fence child ended service=%s pid=%d status=%d", f->service, (int)f->child,
               info.si_status);
    forget_child(f);
}

/* A bare name means the program that lies beside this one, as long as there is one. */
static const char *find_program(const char *name, char path[PATH_SIZE])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_SIZE - 1);
    char *end;

    if (strchr(name, '/') != NULL || n <= 0)
        return name;
    path[n] = '\0';
    end = strrchr(path, '/');
    if (end == NULL || (size_t)(end - path) + strlen(name) + 2 > PATH_SIZE)
        return name;
    memcpy(end + 1, name, strlen(name) + 1);
    return access(path, X_OK) == 0 ? path : name;
}

static int spawn(struct ad_fence *f)
{
    char path[PATH_SIZE];
    posix_spawnattr_t attr;
    sigset_t none;
    sigset_t all;
    int failed = posix_spawnattr_init(&attr);

    if (failed != 0)
        return failed;
    (void)sigemptyset(&none); /* these cannot fail */
    (void)sigfillset(&all);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &all);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    failed = posix_spawnp(&f->child, find_program(f->argv[0], path), NULL, &attr, f->argv, environ);
    (void)posix_spawnattr_destroy(&attr);
    return failed;
}

static void start_child(struct ad_fence *f)
{
    int failed;

    if (f->argv[0] == NULL || f->child != 0 || clock_boot_ms() < f->child_from_ms)
        return;
    f->child_from_ms = clock_boot_ms() + f->child_wait_ms;
    f->child_wait_ms = hm_min_ms(2 * f->child_wait_ms, CHILD_WAIT_LAST_MS);
    failed = spawn(f);
    if (failed != 0) {
        f->child = 0;
        log_error("fence child service=%s: cannot run '%s': %s", f->service, f->argv[0],
                  strerror(failed));
        return;
    }
    f->child_fd = (int)syscall(SYS_pidfd_open, f->child, 0);
    if (f->child_fd >= 0)
        f->child_ended =
            event_new(f->config.base, f->child_fd, EV_READ | EV_PERSIST, on_child_ended, f);
    if (f->child_ended == NULL || event_add(f->child_ended, NULL) != 0)
        log_error("fence child service=%s: its end will not be noticed", f->service);
    log_info("fence child started service=%s pid=%d", f->service, (int)f->child);
}

/* --- the rest ----------------------------------------------------------------------------------
 */

static hm_ms oldest_unanswered_ms(const struct ad_fence *f)
{
    return f->seq == f->answered ? HM_NEVER : f->sent_ms[(f->answered + 1) % SENT_MAX];
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    struct ad_fence *f = ctx;
    struct fence_request status = { .verb = FENCE_VERB_STATUS };
    struct fence_request hello = { .verb = FENCE_VERB_HELLO };
    hm_ms now_ms = clock_boot_ms();
    uint64_t hidden;

    (void)fd;
    (void)what;
    arm(f, f->fd >= 0 ? ASK_MS : RETRY_MS);
    if (f->fd >= 0) {
        if (f->seq == f->answered && now_ms - f->sent_ms[f->seq % SENT_MAX] >= ASK_MS &&
            !ad_fence_ask(f, &hello))
            lose(f);
        return;
    }
    if (connect_now(f)) {
        if (log_repeat_ends(&f->silence))
            log_notice("fence is there service=%s", f->service);
        arm(f, ASK_MS);
        if (!ad_fence_ask(f, &status))
            lose(f);
        return;
    }
    if (log_repeat_starts(&f->silence, now_ms, &hidden))
        log_warn("fence is not there service=%s socket=%s: %s", f->service, f->socket,
                 strerror(errno));
    start_child(f);
}

static bool copy_argv(struct ad_fence *f, const char *const *argv)
{
    for (size_t i = 0; argv != NULL && argv[i] != NULL; i++) {
        f->argv[i] = i < ARGS_MAX ? strdup(argv[i]) : NULL;
        if (f->argv[i] == NULL)
            return false; /* too many, or no memory */
    }
    return true;
}

enum hm_rc ad_fence_new(const struct ad_fence_config *config, struct ad_fence **ret,
                        struct hm_err *err)
{
    struct ad_fence *f;

    if (strlen(config->socket) >= sizeof f->socket)
        return hm_fail(err, HM_BAD_INPUT, "'%s' is too long for a socket", config->socket);
    if (strlen(config->service) >= sizeof f->service)
        return hm_fail(err, HM_BAD_INPUT, "'%s' is too long a name", config->service);
    f = calloc(1, sizeof *f);
    if (f == NULL)
        return hm_fail(err, HM_NO_SPACE, "no memory");
    f->config = *config;
    memcpy(f->socket, config->socket, strlen(config->socket) + 1);
    memcpy(f->service, config->service, strlen(config->service) + 1);
    f->fd = f->child_fd = -1;
    f->child_wait_ms = CHILD_WAIT_FIRST_MS;
    f->timer = evtimer_new(config->base, on_timer, f);
    if (f->timer == NULL || !copy_argv(f, config->child_argv)) {
        ad_fence_free(f);
        return hm_fail(err, HM_NO_SPACE, "no memory");
    }
    arm(f, 0); /* nobody is called back before the caller has what it asked for */
    *ret = f;
    return HM_OK;
}

void ad_fence_free(struct ad_fence *f)
{
    if (f == NULL)
        return;
    disconnect(f);
    if (f->child != 0)
        (void)kill(f->child, SIGTERM); /* it goes once no lease depends on it */
    forget_child(f);
    if (f->timer != NULL)
        event_free(f->timer);
    for (size_t i = 0; i < ARGS_MAX; i++)
        free(f->argv[i]);
    free(f);
}

bool ad_fence_ask(struct ad_fence *f, const struct fence_request *request)
{
    struct fence_request r;

    if (f->fd < 0 || f->seq - f->answered >= SENT_MAX)
        return false;
    memset(&r, 0, sizeof r); /* the padding is sent, too */
    r.version = FENCE_VERSION;
    r.seq = f->seq + 1 == 0 ? 1 : f->seq + 1;
    r.verb = request->verb;
    r.mode = request->mode;
    r.suspend_ms = request->suspend_ms;
    r.until_ms = request->until_ms;
    r.is_gate_open = request->is_gate_open;
    memcpy(r.service, f->service, sizeof r.service);
    memcpy(r.peer, request->peer, sizeof r.peer);
    memcpy(r.peers, request->peers, sizeof r.peers);
    if (send(f->fd, &r, sizeof r, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof r)
        return false; /* a helper that is gone is noticed by reading */
    f->seq = r.seq;
    f->sent_ms[f->seq % SENT_MAX] = clock_boot_ms();
    return true;
}

bool ad_fence_answers(const struct ad_fence *f, hm_ms now_ms, hm_ms timeout_ms)
{
    hm_ms oldest_ms = oldest_unanswered_ms(f);

    return f->fd >= 0 && f->has_report &&
           (oldest_ms == HM_NEVER || now_ms - oldest_ms <= timeout_ms);
}
