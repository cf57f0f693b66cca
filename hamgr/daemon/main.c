/* main.c - hamgrd: one for each database node; runs as the database's user.
 *
 * Sets up what daemon.h holds, turns the loop, and takes it down again. The databases are left as
 * they are: an upgrade of hamgrd that is back within the lease is noticed by no client. */
#include "adapter/child.h"
#include "base/clock.h"
#include "daemon/config_look.h"
#include "daemon/daemon.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCEPTS_MAX 64
#define LINKS_MAX 128
#define HANDSHAKE_MS 2000

struct options {
    const char *file;
    bool is_check;
    bool is_verbose;
};

/* --- links --------------------------------------------------------------------------------------
 */

static struct driver *driver_of(struct daemon *d, uint8_t number)
{
    for (size_t i = 0; i < d->drivers_n; i++)
        if (d->driver[i]->settings->number == number)
            return d->driver[i];
    return NULL;
}

static void on_frame(void *ctx, const struct link_peer *from, const struct wire_frame *frame)
{
    struct daemon *d = ctx;
    struct driver *driver;

    if (frame->type == WIRE_HELLO) {
        log_info("linked member=%s", from->name);
        orders_note_link(d, from->name);
        return;
    }
    if (frame->type == WIRE_LOG_ASK || frame->type == WIRE_LOG_PIECE) {
        driver = driver_of(d, frame->log.service);
        if (driver != NULL)
            pass_log_take(driver, from, frame);
        return;
    }
    if (frame->type != WIRE_MSG) {
        orders_take_frame(d, from, frame);
        return;
    }
    driver = driver_of(d, frame->msg.service);
    if (driver == NULL || frame->msg.from_incarnation != from->incarnation)
        return; /* of a service that this member does not have, or in another member's name */
    driver_feed(driver, &(struct core_event){ .type = ON_MESSAGE, .message = frame->msg });
}

static enum hm_rc open_store(struct daemon *d, struct hm_err *err)
{
    char owner[STORE_OWNER_MAX];

    (void)snprintf(owner, sizeof owner, "%s/%s", d->settings.cluster, d->settings.node);
    members_begin(d);
    return store_open(d->settings.state_dir, owner, &d->store, err);
}

static void fill_hello(struct daemon *d)
{
    const struct settings *s = &d->settings;

    d->hello.version = WIRE_VERSION;
    (void)snprintf(d->hello.software, sizeof d->hello.software, "hamgr %s", HAMGR_VERSION);
    memcpy(d->hello.cluster, s->cluster, sizeof d->hello.cluster);
    memcpy(d->hello.from, s->node, sizeof d->hello.from);
    d->hello.incarnation = d->store.incarnation;
    d->hello.services_n = s->services_n;
    d->hello.service = d->hello_service;
    for (size_t i = 0; i < s->services_n; i++) {
        memcpy(d->hello_service[i].name, s->service[i].name, sizeof s->service[i].name);
        settings_first_record(s, &s->service[i], &d->hello_service[i].first);
    }
}

static enum hm_rc open_links(struct daemon *d, struct hm_err *err)
{
    const struct settings *s = &d->settings;
    struct link_hub_config hub = { .base = d->loop.base,
                                   .listen = s->member[s->self].address,
                                   .accepts_max = ACCEPTS_MAX,
                                   .links_max = LINKS_MAX,
                                   .handshake_ms = HANDSHAKE_MS };
    struct link_cluster_config cluster = { .name = s->cluster,
                                           .key = s->key,
                                           .hello = &d->hello,
                                           .silence_ms = 3 * s->timing.heartbeat_ms,
                                           .retry_ms = s->timing.heartbeat_ms,
                                           .on_frame = on_frame,
                                           .ctx = d };
    enum hm_rc rc;

    fill_hello(d);
    rc = link_hub_new(&hub, &d->hub, err);
    if (rc != HM_OK)
        return rc;
    rc = link_hub_add(d->hub, &cluster, &d->links, err);
    if (rc != HM_OK)
        return rc;
    return HM_OK;
}

/* --- signals ------------------------------------------------------------------------------------
 */

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct daemon *d = arg;

    (void)what;
    log_notice("stopping signal=%s: the databases are left as they are", strsignal((int)number));
    (void)event_base_loopbreak(d->loop.base); /* cannot fail within the loop */
}

static void on_hangup(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    if (!config_look(arg, config_tell, arg))
        log_error("the file was not looked at: no memory");
}

static enum hm_rc catch_signals(struct daemon *d, struct hm_err *err)
{
    static const struct {
        int number;
        event_callback_fn then;
    } table[] = { { SIGTERM, on_signal }, { SIGINT, on_signal }, { SIGHUP, on_hangup } };

    (void)signal(SIGPIPE, SIG_IGN); /* a valid signal: cannot fail */
    (void)signal(SIGCHLD, SIG_DFL); /* ignored by whoever started it, no end would be told */
    for (size_t i = 0; i < HM_ARRAY_LEN(table); i++) {
        d->signal[i] = evsignal_new(d->loop.base, table[i].number, table[i].then, d);
        if (d->signal[i] == NULL || event_add(d->signal[i], NULL) != 0)
            return hm_fail(err, HM_FAILED, "cannot catch signals");
    }
    d->order_timer = evtimer_new(d->loop.base, orders_tick, d);
    return d->order_timer != NULL ? HM_OK : hm_fail(err, HM_FAILED, "cannot make a timer");
}

/* --- beginning and end --------------------------------------------------------------------------
 */

void daemon_fill_report(const struct daemon *d, struct report *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->settings = &d->settings;
    ret->links = d->links;
    ret->is_joining = d->is_joining;
    ret->join_why = d->join_why;
    ret->now_ms = clock_boot_ms();
    ret->started_ms = d->started_ms;
    ret->stall_longest_ms = d->loop.longest_ms;
    ret->stall_latest_ms = d->loop.latest_ms;
    ret->stall_at_ms = d->loop.latest_at_ms;
    ret->sentinel_trouble = serve_sentinel_trouble(d->sentinel);
    for (size_t i = 0; i < d->drivers_n; i++) {
        const struct driver *driver = d->driver[i];
        struct report_service *s = &ret->service[ret->services_n++];

        s->settings = driver->settings;
        s->core = &driver->core;
        s->has_fence = driver->has_report;
        s->fence = driver->report;
        s->write_why = driver->write_why;
        s->chronicle = driver->chronicle;
        if (driver->write.began_ms != 0)
            s->writing_ms = ret->now_ms - driver->write.began_ms;
        driver->type->describe(driver->service, &s->facts);
    }
}

static enum hm_rc open_services(struct daemon *d, struct hm_err *err)
{
    for (size_t i = 0; i < d->settings.services_n; i++) {
        enum hm_rc rc = driver_new(d, &d->settings.service[i], &d->driver[d->drivers_n], err);

        if (rc != HM_OK)
            return rc;
        d->drivers_n++;
    }
    return HM_OK;
}

static enum hm_rc daemon_open(struct daemon *d, struct hm_err *err)
{
    const struct settings *s = &d->settings;
    char path[SETTINGS_PATH_MAX + 16];
    enum hm_rc rc;

    d->started_ms = clock_boot_ms();
    rc = loop_init(&d->loop, s->timing.fence_margin_ms, err);
    if (rc == HM_OK)
        rc = catch_signals(d, err);
    if (rc == HM_OK)
        rc = open_store(d, err);
    if (rc == HM_OK)
        rc = worker_new(d->loop.base, "hamgr-votes", &d->disk, err);
    if (rc == HM_OK)
        rc = open_links(d, err);
    if (rc == HM_OK)
        rc = open_services(d, err);
    if (rc == HM_OK)
        rc = members_new(d, err);
    if (rc != HM_OK)
        return rc;
    (void)snprintf(path, sizeof path, "%s/hamgrd.sock", s->run_dir);
    rc = serve_ctl_new(d->loop.base, path, orders_take_request, d, &d->ctl, err);
    if (rc == HM_OK)
        rc = serve_sentinel_new(d, &d->sentinel, err);
    return rc == HM_OK ? sd_begin(d, err) : rc;
}

static void daemon_close(struct daemon *d)
{
    sd_end(d);
    orders_done(d);
    serve_ctl_free(d->ctl);
    serve_sentinel_free(d->sentinel);
    d->sentinel = NULL;   /* the drivers go on until they are freed */
    worker_free(d->disk); /* first: what it writes is part of a driver */
    worker_free(d->reach);
    members_free(d);
    for (size_t i = 0; i < d->drivers_n; i++)
        driver_free(d->driver[i]);
    link_hub_free(d->hub);
    store_done(&d->store);
    for (size_t i = 0; i < HM_ARRAY_LEN(d->signal); i++)
        if (d->signal[i] != NULL)
            event_free(d->signal[i]);
    if (d->order_timer != NULL)
        event_free(d->order_timer);
    child_done();
    loop_done(&d->loop);
}

static int run(struct daemon *d)
{
    struct hm_err err;
    int code = EXIT_SUCCESS;

    if (daemon_open(d, &err) != HM_OK) {
        log_error("cannot start: %s", err.text);
        code = EXIT_FAILURE;
    } else {
        log_notice("started node=%s cluster=%s version=%s", d->settings.node, d->settings.cluster,
                   HAMGR_VERSION);
        if (event_base_dispatch(d->loop.base) < 0) {
            log_error("the event loop failed");
            code = EXIT_FAILURE;
        }
    }
    daemon_close(d);
    return code;
}

static bool load(const struct options *o, struct settings *ret)
{
    struct settings_errors errors;
    enum hm_rc rc = settings_load(o->file, 0, ret, &errors);

    for (size_t i = 0; i < errors.n; i++)
        (void)fprintf(stderr, "%s\n", errors.line[i]); /* nobody to tell a failure to */
    settings_errors_done(&errors);
    if (rc == HM_OK && ret->member[ret->self].role != ROLE_DB) {
        (void)fprintf(stderr, "hamgrd: %s is no db member: run hamgr-witness on a witness\n",
                      ret->node);
        return false;
    }
    return rc == HM_OK;
}

static void usage(FILE *out)
{
    (void)fprintf(out, "usage: hamgrd [-c FILE] [--check] [--verbose] [--version] [--help]\n"
                       "  -c, --config FILE  the configuration (default " SETTINGS_FILE ")\n"
                       "      --check        check the configuration and end\n"
                       "      --verbose      log details\n"
                       "      --version      print the version\n");
}

/* < 0: go on; else the exit code. */
static int parse(int argc, char **argv, struct options *ret)
{
    static const struct option long_options[] = {
        { "config", required_argument, NULL, 'c' }, { "check", no_argument, NULL, 'k' },
        { "verbose", no_argument, NULL, 'v' },      { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },         { 0 },
    };
    int option;

    *ret = (struct options){ .file = SETTINGS_FILE };
    while ((option = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
        if (option == 'c')
            ret->file = optarg;
        else if (option == 'k')
            ret->is_check = true;
        else if (option == 'v')
            ret->is_verbose = true;
        else if (option == 'V')
            return printf("hamgrd %s\n", HAMGR_VERSION) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else {
            usage(option == 'h' ? stdout : stderr);
            return option == 'h' ? EXIT_SUCCESS : 2;
        }
    }
    if (optind == argc)
        return -1;
    (void)fprintf(stderr, "hamgrd: unexpected argument '%s': try 'hamgrd --help'\n", argv[optind]);
    return 2;
}

int main(int argc, char **argv)
{
    struct options options;
    struct daemon *d;
    int code = parse(argc, argv, &options);

    if (code >= 0)
        return code;
    log_init("hamgrd", options.is_verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    d = calloc(1, sizeof *d);
    if (d == NULL) {
        log_error("no memory");
        return EXIT_FAILURE;
    }
    d->store.dir = d->store.lock = -1;
    if (!load(&options, &d->settings))
        code = 2;
    else if (options.is_check)
        code = printf("%s: fine\n", options.file) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    else
        code = run(d);
    free(d);
    return code;
}
