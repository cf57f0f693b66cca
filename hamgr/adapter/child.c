#include "adapter/child.h"

#include "base/clock.h"
#include "base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ENV_MAX = 512,
    UNKNOWN_STATUS = 255 << 8, /* exited with 255: somebody else took its end */
};

struct child {
    struct child *next;         /* in the list of those that are forgotten */
    struct child_config config; /* argv and env are not kept here */
    pid_t pid;
    int pid_fd;             /* owned */
    int out_fd;             /* owned; -1: detached, or closed */
    struct event *on_death; /* owned */
    struct event *on_out;   /* owned */
    struct event *on_limit; /* owned */
    struct event *on_quiet; /* owned */
    bool is_detached;
    bool is_forgotten;
    bool is_late;
    size_t output_n;
    char output[CHILD_OUTPUT_MAX];
    size_t line_n;
    char line[CHILD_LINE_MAX];
};

/* --- in the new process: only calls that are safe between fork() and exec() ---------------------
 */

struct birth {
    const char *const *argv;
    char *const *env;
    int in_fd;
    int out_fd;
    int report_fd; /* closed by exec(); errno is written to it when that fails */
    pid_t parent;
    bool is_detached;
};

static void tell_failure(const struct birth *b)
{
    int number = errno;
    ssize_t n = write(b->report_fd, &number, sizeof number);

    (void)n; /* the parent then takes an empty report for success, and sees the exit status */
    _exit(127);
}

static void be_born(const struct birth *b)
{
    struct sigaction plain = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &plain, NULL); /* fails for those that cannot be changed */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (b->is_detached) {
        (void)setsid(); /* cannot fail: a new process leads no group */
    } else {
        (void)setpgid(0, 0); /* the parent does it, too: whoever comes first */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
            tell_failure(b);
        if (getppid() != b->parent)
            _exit(127);
    }
    if (dup2(b->in_fd, 0) < 0 || dup2(b->out_fd, 1) < 0 || dup2(b->out_fd, 2) < 0)
        tell_failure(b);
    /* What this program inherited itself; an old kernel leaves that to its starter. */
    (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    (void)execve(b->argv[0], (char *const *)(uintptr_t)b->argv, b->env);
    tell_failure(b);
}

/* --- starting ----------------------------------------------------------------------------------
 */

static bool names_same(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");

    return n == strcspn(b, "=") && strncmp(a, b, n) == 0;
}

/* What this program has, with the given ones in front of it or in their place. */
static void make_env(const char *const *more, char **ret)
{
    size_t n = 0;

    for (size_t i = 0; more != NULL && more[i] != NULL && n < ENV_MAX; i++)
        ret[n++] = (char *)(uintptr_t)more[i];
    for (char **old = environ; *old != NULL && n < ENV_MAX; old++) {
        bool is_replaced = false;

        for (size_t i = 0; more != NULL && more[i] != NULL; i++)
            is_replaced |= names_same(*old, more[i]);
        if (!is_replaced)
            ret[n++] = *old;
    }
    ret[n] = NULL;
}

/* Waits for exec() only, which does not wait for anybody. */
static enum hm_rc take_report(int fd, const char *path, struct hm_err *err)
{
    int number = 0;
    ssize_t n;

    do
        n = read(fd, &number, sizeof number);
    while (n < 0 && errno == EINTR);
    if (n != sizeof number)
        return HM_OK;
    errno = number;
    return hm_fail_errno(err, "cannot run '%s'", path);
}

static enum hm_rc give_birth(struct child *c, const struct child_config *config, int out_fd,
                             struct hm_err *err)
{
    struct birth b = {
        .argv = config->argv, .out_fd = out_fd, .parent = getpid(), .is_detached = c->is_detached
    };
    char *env[ENV_MAX + 1];
    int report[2] = { -1, -1 };
    enum hm_rc rc;

    make_env(config->env, env);
    b.env = env;
    b.in_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (b.in_fd < 0 || pipe2(report, O_CLOEXEC) != 0) {
        rc = hm_fail_errno(err, "cannot prepare to run '%s'", config->argv[0]);
        goto out;
    }
    b.report_fd = report[1];
    c->pid = fork();
    if (c->pid == 0)
        be_born(&b);
    if (c->pid < 0) {
        rc = hm_fail_errno(err, "cannot fork for '%s'", config->argv[0]);
        goto out;
    }
    if (!c->is_detached)
        (void)setpgid(c->pid, c->pid); /* too late, when it runs already: then it did it itself */
    (void)close(report[1]);
    report[1] = -1;
    rc = take_report(report[0], config->argv[0], err);
    if (rc != HM_OK)
        (void)waitpid(c->pid, NULL, 0); /* it has written its last word */
out:
    for (int i = 0; i < 2; i++)
        if (report[i] >= 0)
            (void)close(report[i]); /* all has been read */
    if (b.in_fd >= 0)
        (void)close(b.in_fd); /* opened for reading */
    return rc;
}

/* --- what it writes ----------------------------------------------------------------------------
 */

static void keep_output(struct child *c, const char *bytes, size_t n)
{
    size_t room = sizeof c->output - 1;

    if (n > room) {
        bytes += n - room;
        n = room;
    }
    if (c->output_n + n > room) {
        size_t surplus = c->output_n + n - room;

        memmove(c->output, c->output + surplus, c->output_n - surplus);
        c->output_n -= surplus;
    }
    memcpy(c->output + c->output_n, bytes, n);
    c->output_n += n;
    c->output[c->output_n] = 0;
}

static void pass_lines(struct child *c, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n' && bytes[i] != '\r') {
            if (c->line_n + 1 < sizeof c->line)
                c->line[c->line_n++] = bytes[i];
            continue;
        }
        c->line[c->line_n] = 0;
        if (c->line_n > 0 && !c->is_forgotten && c->config.on_line != NULL)
            c->config.on_line(c->config.ctx, c->line);
        c->line_n = 0;
    }
}

static void arm(struct event *timer, hm_ms after_ms)
{
    struct timeval tv = clock_timeval(after_ms);

    if (timer != NULL && after_ms > 0)
        (void)evtimer_add(timer, &tv); /* fails only without memory; then a limit is missed */
}

/* False: there is nothing to read now. */
static bool read_output(struct child *c)
{
    char bytes[1024];
    ssize_t n = read(c->out_fd, bytes, sizeof bytes);

    if (n < 0)
        return errno == EINTR;
    if (n == 0) {
        event_free(c->on_out);
        c->on_out = NULL;
        (void)close(c->out_fd); /* opened for reading */
        c->out_fd = -1;
        return false;
    }
    keep_output(c, bytes, (size_t)n);
    arm(c->on_quiet, c->config.silence_ms);
    pass_lines(c, bytes, (size_t)n);
    return true;
}

/* --- callbacks of the loop ---------------------------------------------------------------------
 */

static struct child *forgotten; /* and not ended yet */

static void really_free(struct child *c)
{
    struct event *const all[] = { c->on_death, c->on_out, c->on_limit, c->on_quiet };

    for (struct child **at = &forgotten; *at != NULL; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    for (size_t i = 0; i < HM_ARRAY_LEN(all); i++)
        if (all[i] != NULL)
            event_free(all[i]);
    if (c->pid_fd >= 0)
        (void)close(c->pid_fd); /* nothing can be lost */
    if (c->out_fd >= 0)
        (void)close(c->out_fd); /* opened for reading */
    free(c);
}

static void on_out(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)read_output(arg); /* the loop asks again while there is more */
}

static void kill_group(const struct child *c)
{
    (void)kill(-c->pid, SIGKILL); /* nobody is left: then that is what was wanted */
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
    struct child *c = arg;

    (void)fd;
    (void)what;
    c->is_late = true;
    kill_group(c);
}

static const char *last_line(char *output, size_t n)
{
    while (n > 0 && strchr(" \n\r\t", output[n - 1]) != NULL)
        output[--n] = 0;
    while (n > 0 && output[n - 1] != '\n' && output[n - 1] != '\r')
        n--;
    return output + n;
}

static void on_death(evutil_socket_t fd, short what, void *arg)
{
    struct child *c = arg;
    struct child_end end = { .is_late = c->is_late, .output = c->output };
    char copy[CHILD_OUTPUT_MAX];
    pid_t got;

    (void)fd;
    (void)what;
    if (!c->is_detached)
        kill_group(
            c); /* what it started and left behind; the number is its own until it is reaped */
    got = waitpid(c->pid, &end.status, WNOHANG);
    if (got == 0)
        return;
    /* Others may still hold the pipe: what is there is all that counts. */
    for (int i = 0; i < 4096 && c->out_fd >= 0 && read_output(c); i++)
        ;
    if (got < 0)
        end.status = UNKNOWN_STATUS;
    end.is_ok = WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0 && !c->is_late;
    memcpy(copy, c->output, c->output_n + 1);
    end.last = last_line(copy, c->output_n);
    if (!c->is_forgotten)
        c->config.on_end(c->config.ctx, &end);
    really_free(c);
}

/* --- the door ----------------------------------------------------------------------------------
 */

static enum hm_rc watch(struct child *c, struct hm_err *err)
{
    struct event_base *base = c->config.base;

    c->pid_fd = pidfd_open(c->pid, 0);
    if (c->pid_fd < 0)
        return hm_fail_errno(err, "cannot watch process %d", (int)c->pid);
    c->on_death = event_new(base, c->pid_fd, EV_READ | EV_PERSIST, on_death, c);
    c->on_limit = evtimer_new(base, on_limit, c);
    c->on_quiet = evtimer_new(base, on_limit, c);
    if (c->out_fd >= 0)
        c->on_out = event_new(base, c->out_fd, EV_READ | EV_PERSIST, on_out, c);
    if (c->on_death == NULL || c->on_limit == NULL || c->on_quiet == NULL ||
        (c->out_fd >= 0 && c->on_out == NULL) || event_add(c->on_death, NULL) != 0 ||
        (c->out_fd >= 0 && event_add(c->on_out, NULL) != 0))
        return hm_fail(err, HM_FAILED, "the event loop does not take process %d", (int)c->pid);
    if (!c->is_detached) {
        arm(c->on_limit, c->config.limit_ms);
        arm(c->on_quiet, c->config.silence_ms);
    }
    return HM_OK;
}

/* out_fd: where the program writes to; borrowed. read_fd: where that comes out, or -1; taken. */
static enum hm_rc begin(const struct child_config *config, int out_fd, int read_fd,
                        bool is_detached, struct child **ret, struct hm_err *err)
{
    struct child *c = calloc(1, sizeof *c);
    enum hm_rc rc;

    if (c == NULL) {
        if (read_fd >= 0)
            (void)close(read_fd); /* opened for reading */
        return hm_fail(err, HM_FAILED, "no memory for a child process");
    }
    c->config = *config;
    c->pid_fd = -1;
    c->out_fd = read_fd;
    c->is_detached = is_detached;
    rc = give_birth(c, config, out_fd, err);
    if (rc == HM_OK) {
        rc = watch(c, err);
        if (rc != HM_OK) { /* without being watched it may not run */
            (void)kill(c->pid, SIGKILL);
            (void)waitpid(c->pid, NULL, 0);
        }
    }
    if (rc == HM_OK)
        *ret = c;
    else
        really_free(c);
    return rc;
}

enum hm_rc child_start(const struct child_config *config, struct child **ret, struct hm_err *err)
{
    int fd[2];
    enum hm_rc rc;

    if (pipe2(fd, O_CLOEXEC) != 0)
        return hm_fail_errno(err, "no pipe to '%s'", config->argv[0]);
    (void)fcntl(fd[0], F_SETFL, O_NONBLOCK); /* cannot fail for a pipe */
    rc = begin(config, fd[1], fd[0], false, ret, err);
    (void)close(fd[1]); /* the child has its own */
    return rc;
}

enum hm_rc child_detach(const struct child_config *config, const char *log, struct child **ret,
                        struct hm_err *err)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    enum hm_rc rc;

    if (fd < 0)
        return hm_fail_errno(err, "cannot open '%s'", log);
    rc = begin(config, fd, -1, true, ret, err);
    (void)close(fd); /* nothing was written here */
    return rc;
}

pid_t child_pid(const struct child *c)
{
    return c->pid;
}

void child_free(struct child *c)
{
    if (c == NULL)
        return;
    c->is_forgotten = true;
    c->next = forgotten;
    forgotten = c;
    if (!c->is_detached)
        kill_group(c);
}

void child_done(void)
{
    while (forgotten != NULL)
        really_free(forgotten);
}

void child_describe(const struct child_end *end, char *buffer, size_t size)
{
    const char *separator = end->last[0] != 0 ? ": " : "";

    if (end->is_late)
        (void)snprintf(buffer, size, "killed, because it took too long%s%s", separator, end->last);
    else if (WIFSIGNALED(end->status))
        (void)snprintf(buffer, size, "signal %d (%s)%s%s", WTERMSIG(end->status),
                       strsignal(WTERMSIG(end->status)), separator, end->last);
    else
        (void)snprintf(buffer, size, "exit status %d%s%s", WEXITSTATUS(end->status), separator,
                       end->last);
}
