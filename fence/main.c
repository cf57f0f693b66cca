/* main.c - hamgr-fence: the small privileged process that holds the deadline.
 *
 * Options, settings, one loop over poll(). After the start nothing is allocated. It ends at once
 * when it is told to: the deadlines are in files, and the gate closes by itself. Started by hamgrd
 * as its child (--child) there is nobody who would start it again, so it stays until no service
 * depends on it, and somebody who connects meanwhile keeps it. */
#include "base/clock.h"
#include "base/log.h"
#include "fence/clocks.h"
#include "fence/process.h"
#include "fence/server.h"
#include "fence/unit.h"
#include "fence/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct helper {
    struct settings settings;
    bool is_child;
    bool is_leaving;
    int lock;
    int timer;
    int signals;
    struct keeper keeper[HM_SERVICES_MAX];
    struct keeper_tools tools;
    struct server server;
    struct watchdog watchdog;
    struct clocks clocks;
    struct deadline_clocks seen;
    bool has_seen; /* and a lease ran then */
    hm_ms feed_ms;
    hm_ms notify_ms;
    hm_ms notify_every_ms;
};

static struct helper the_helper;

/* --- the start ---------------------------------------------------------------------------------
 */

static enum hm_rc find_user(const struct helper *h, uid_t *ret_user, gid_t *ret_group,
                            struct hm_err *err)
{
    const struct passwd *p;

    *ret_user = geteuid();
    *ret_group = getegid();
    if (h->is_child)
        return HM_OK; /* whoever started it */
    p = getpwnam(h->settings.user);
    if (p == NULL)
        return hm_fail(err, HM_FAILED, "there is no user '%s'", h->settings.user);
    *ret_user = p->pw_uid;
    *ret_group = p->pw_gid;
    return HM_OK;
}

/* Below /run everything is gone after a boot. */
static enum hm_rc make_dir(const struct helper *h, uid_t user, gid_t group, struct hm_err *err)
{
    if (mkdir(h->settings.run_dir, 0755) != 0)
        return errno == EEXIST ? HM_OK
                               : hm_fail_errno(err, "cannot make '%s'", h->settings.run_dir);
    if (geteuid() == 0 && lchown(h->settings.run_dir, user, group) != 0)
        return hm_fail_errno(err, "cannot give '%s' to its user", h->settings.run_dir);
    return HM_OK;
}

static enum hm_rc open_dir(struct helper *h, struct hm_err *err)
{
    h->tools.dir = open(h->settings.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (h->tools.dir < 0)
        return hm_fail_errno(err, "cannot open '%s'", h->settings.run_dir);
    h->lock = openat(h->tools.dir, "fence.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (h->lock < 0)
        return hm_fail_errno(err, "cannot open '%s/fence.lock'", h->settings.run_dir);
    if (flock(h->lock, LOCK_EX | LOCK_NB) != 0)
        return hm_fail(err, HM_REFUSED, "another hamgr-fence serves '%s'", h->settings.run_dir);
    return HM_OK;
}

static void open_tools(struct helper *h)
{
    struct keeper_tools *t = &h->tools;
    struct hm_err err;

    gate_name(&t->gate, h->settings.cluster, h->settings.run_dir);
    t->sockets.fd = -1;
    if (h->is_child)
        return;
    if (sockets_open(&t->sockets, &err) != HM_OK)
        log_warn("no sockets are destroyed: %s", err.text);
    t->has_sockets = t->sockets.fd >= 0;
    if (h->settings.is_gate_on && gate_open(&t->gate, &err) != HM_OK)
        log_error("no gate: %s", err.text);
}

static void build_gate(struct helper *h)
{
    struct gate_peers peers = { 0 };
    struct hm_err err;

    if (h->tools.gate.fd < 0)
        return;
    for (size_t i = 0; i < h->settings.members_n; i++)
        if (i != h->settings.self && !gate_add_peer(&peers, h->settings.member[i].host))
            log_warn("gate member=%s: '%s' is no literal address: it passes as a client only",
                     h->settings.member[i].name, h->settings.member[i].host);
    if (keepers_gate(h->keeper, h->server.keepers_n, &peers, &err) != HM_OK)
        log_error("no gate: %s", err.text);
}

static void strengthen(struct helper *h)
{
    struct hm_err err;

    h->watchdog.fd = -1;
    if (h->settings.watchdog[0] != '\0' && !h->is_child &&
        watchdog_open(&h->watchdog, h->settings.watchdog, &err) != HM_OK)
        log_error("no watchdog: %s", err.text);
    h->server.state.has_watchdog = h->watchdog.fd >= 0;
    h->server.state.has_priority = process_raise_priority(&err) == HM_OK;
    if (!h->server.state.has_priority)
        log_warn("no priority: %s", err.text);
    h->server.state.has_lock = process_lock_memory(&err) == HM_OK;
    if (!h->server.state.has_lock)
        log_warn("memory is not locked: %s", err.text);
    /* A log that does not read must not stop the helper; a child shares it with hamgrd. */
    if (!h->is_child)
        (void)fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK);
}

static enum hm_rc open_events(struct helper *h, struct hm_err *err)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL); /* these cannot fail */
    (void)signal(SIGCHLD, SIG_DFL);           /* ignored by whoever started it, it would not come */
    h->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    h->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (h->signals < 0 || h->timer < 0)
        return hm_fail_errno(err, "cannot make a timer");
    return HM_OK;
}

static enum hm_rc start(struct helper *h, struct hm_err *err)
{
    char path[SETTINGS_PATH_MAX + 16];
    uid_t user;
    gid_t group;
    enum hm_rc rc = find_user(h, &user, &group, err);

    if (rc == HM_OK)
        rc = make_dir(h, user, group, err);
    if (rc == HM_OK)
        rc = open_dir(h, err);
    if (rc == HM_OK)
        rc = open_events(h, err);
    if (rc != HM_OK)
        return rc;
    open_tools(h);
    h->server.keepers = h->keeper;
    h->server.keepers_n = h->settings.services_n;
    for (size_t i = 0; i < h->server.keepers_n; i++)
        keeper_start(&h->keeper[i], &h->tools, &h->settings.service[i]);
    build_gate(h);
    clocks_init(&h->clocks);
    h->notify_every_ms = process_notify_ms();
    (void)snprintf(path, sizeof path, "%s/fence.sock", h->settings.run_dir); /* as long as both */
    rc = server_open(&h->server, path, user, group, err);
    if (rc != HM_OK)
        return rc;
    strengthen(h);
    process_notify("READY=1");
    log_info("ready services=%zu gate=%d lock=%d priority=%d watchdog=%d", h->server.keepers_n,
             h->tools.has_gate, h->server.state.has_lock, h->server.state.has_priority,
             h->server.state.has_watchdog);
    return HM_OK;
}

/* --- the loop ----------------------------------------------------------------------------------
 */

/* Only while a lease runs: then no two looks are further apart than the lease is long, and a clock
 * that is merely being adjusted stays within the margin. */
static void watch_clocks(struct helper *h)
{
    struct deadline_clocks now;
    bool has_lease = false;

    for (size_t i = 0; i < h->server.keepers_n; i++)
        has_lease |= h->keeper[i].deadline.mode == FENCE_LEASE;
    if (!has_lease) {
        h->has_seen = false;
        return;
    }
    clocks_read(&h->clocks, &now);
    if (h->has_seen &&
        deadline_clocks_disagree(&h->seen, &now, h->settings.timing.fence_margin_ms)) {
        log_warn("clocks disagree boot=%lld raw=%lld real=%lld tsc=%lld",
                 (long long)(now.boot - h->seen.boot), (long long)(now.raw - h->seen.raw),
                 (long long)(now.real - h->seen.real), (long long)(now.tsc - h->seen.tsc));
        for (size_t i = 0; i < h->server.keepers_n; i++)
            keeper_distrust(&h->keeper[i]);
        clocks_init(&h->clocks);
        clocks_read(&h->clocks, &now);
    }
    h->seen = now;
    h->has_seen = true;
}

static bool all_are_safe(const struct helper *h, hm_ms now_ms)
{
    bool is_safe = true;

    for (size_t i = 0; i < h->server.keepers_n; i++)
        is_safe &= keeper_is_safe(&h->keeper[i], now_ms);
    return is_safe;
}

static void feed(struct helper *h)
{
    hm_ms now_ms = clock_boot_ms();

    if (h->watchdog.fd >= 0 && now_ms >= h->feed_ms) {
        if (all_are_safe(h, now_ms))
            watchdog_feed(&h->watchdog);
        h->feed_ms = now_ms + WATCHDOG_FEED_MS;
    }
    if (h->notify_every_ms != HM_NEVER && now_ms >= h->notify_ms) {
        process_notify("WATCHDOG=1");
        h->notify_ms = now_ms + h->notify_every_ms;
    }
}

/* The timer counts boot time: it goes off after the machine slept, too. */
static void arm(struct helper *h)
{
    struct itimerspec at = { 0 };
    int64_t next_us = KEEPER_NEVER;

    for (size_t i = 0; i < h->server.keepers_n; i++) {
        int64_t us = keeper_next_us(&h->keeper[i]);

        next_us = us < next_us ? us : next_us;
    }
    if (h->watchdog.fd >= 0 && h->feed_ms * 1000 < next_us)
        next_us = h->feed_ms * 1000;
    if (h->notify_every_ms != HM_NEVER && h->notify_ms * 1000 < next_us)
        next_us = h->notify_ms * 1000;
    if (next_us != KEEPER_NEVER) {
        if (next_us < 1)
            next_us = 1; /* at once; 0 would be never */
        at.it_value.tv_sec = (time_t)(next_us / 1000000);
        at.it_value.tv_nsec = (long)(next_us % 1000000) * 1000;
    }
    (void)timerfd_settime(h->timer, TFD_TIMER_ABSTIME, &at, NULL); /* cannot fail: valid numbers */
}

static void take_signals(struct helper *h)
{
    struct signalfd_siginfo got;

    while (read(h->signals, &got, sizeof got) == (ssize_t)sizeof got) {
        if (got.ssi_signo == SIGCHLD) {
            unit_reap();
        } else if (!h->is_leaving) {
            log_notice("told to end");
            h->is_leaving = true;
        }
    }
}

static bool may_leave(const struct helper *h)
{
    bool is_idle = true;

    for (size_t i = 0; i < h->server.keepers_n; i++)
        is_idle &= keeper_is_idle(&h->keeper[i]);
    return h->is_leaving && (is_idle || !h->is_child);
}

static void run(struct helper *h)
{
    struct pollfd polled[SERVER_CONNS + 3];
    uint64_t ticks;

    while (!may_leave(h)) {
        size_t n = server_poll(&h->server, polled + 2) + 2;

        polled[0] = (struct pollfd){ .fd = h->timer, .events = POLLIN };
        polled[1] = (struct pollfd){ .fd = h->signals, .events = POLLIN };
        arm(h);
        if (poll(polled, n, -1) < 0)
            continue;                                /* interrupted */
        (void)!read(h->timer, &ticks, sizeof ticks); /* nothing to read is fine */
        watch_clocks(h);
        /* What is overdue comes before anything that is asked for. */
        for (size_t i = 0; i < h->server.keepers_n; i++)
            keeper_turn(&h->keeper[i]);
        if (server_take(&h->server, polled + 2, n - 2))
            h->is_leaving = false;
        if (polled[1].revents != 0)
            take_signals(h);
        server_tell(&h->server);
        feed(h);
    }
}

static void stop(struct helper *h)
{
    process_notify("STOPPING=1");
    watchdog_done(&h->watchdog, all_are_safe(h, clock_boot_ms()));
    server_done(&h->server);
    gate_done(&h->tools.gate);
    sockets_done(&h->tools.sockets);
}

/* --- options -----------------------------------------------------------------------------------
 */

static const char help[] =
    "Usage: hamgr-fence [-c FILE] [--child]\n"
    "       hamgr-fence [-c FILE] --check | --remove-gate\n"
    "Holds the fence of this host's services: suspends them when hamgrd does not extend their\n"
    "deadline in time, and closes their ports.\n\n"
    "  -c, --config FILE   settings (default " SETTINGS_FILE ")\n"
    "      --child         started by hamgrd, without root's rights: no gate\n"
    "      --check         check the settings and end\n"
    "      --remove-gate   take the gate's table out of the kernel and end\n"
    "      --version       print the version and end\n"
    "      --help          print this and end\n";

static bool load(struct helper *h, const char *file)
{
    struct settings_errors errors = { 0 };
    bool is_loaded = settings_load(file, SETTINGS_WITHOUT_KEY, &h->settings, &errors) == HM_OK;

    for (size_t i = 0; i < errors.n; i++)
        (void)fprintf(stderr, "%s\n", errors.line[i]); /* nobody to tell if it fails */
    settings_errors_done(&errors);
    return is_loaded;
}

static int remove_gate(struct helper *h)
{
    struct hm_err err;

    gate_name(&h->tools.gate, h->settings.cluster, h->settings.run_dir);
    if (gate_open(&h->tools.gate, &err) != HM_OK || gate_remove(&h->tools.gate, &err) != HM_OK) {
        log_error("%s", err.text);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static int serve(struct helper *h)
{
    struct hm_err err;
    enum hm_rc rc;

    if (!h->is_child && geteuid() != 0) {
        log_error("hamgr-fence needs root, or --child to run without a gate");
        return EXIT_FAILED;
    }
    rc = start(h, &err);
    if (rc != HM_OK) {
        log_error("%s", err.text);
        return rc == HM_REFUSED && h->is_child ? EXIT_DONE : EXIT_FAILED;
    }
    run(h);
    stop(h);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    enum { OPTION_CHILD = 256, OPTION_CHECK, OPTION_REMOVE, OPTION_VERSION, OPTION_HELP };
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "child", no_argument, NULL, OPTION_CHILD },
        { "check", no_argument, NULL, OPTION_CHECK },
        { "remove-gate", no_argument, NULL, OPTION_REMOVE },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "help", no_argument, NULL, OPTION_HELP },
        { NULL, 0, NULL, 0 },
    };
    struct helper *h = &the_helper;
    const char *file = SETTINGS_FILE;
    int what = 0;
    int option;

    while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
        if (option == 'c')
            file = optarg;
        else if (option == OPTION_CHILD)
            h->is_child = true;
        else if (option == '?')
            return EXIT_USAGE; /* getopt said why */
        else
            what = option;
    }
    log_init("hamgr-fence", LOG_LEVEL_INFO);
    if (optind < argc) {
        (void)fprintf(stderr, "hamgr-fence: unexpected '%s': see --help\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (what == OPTION_VERSION || what == OPTION_HELP) {
        (void)fputs(what == OPTION_HELP ? help : "hamgr-fence " HAMGR_VERSION "\n", stdout);
        return EXIT_DONE;
    }
    if (!load(h, file))
        return EXIT_FAILED;
    if (what == OPTION_CHECK)
        return EXIT_DONE;
    return what == OPTION_REMOVE ? remove_gate(h) : serve(h);
}
