/* main.c - hamgr-witness: options, signals, exit codes. */
#include "base/log.h"
#include "witness/witness.h"

#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "Usage: hamgr-witness [-c FILE] [--check]\n"
    "Votes in the clusters that FILE lists, so that two database nodes can have a majority.\n"
    "\n"
    "  -c, --config FILE  instead of " SETTINGS_WITNESS_FILE "\n"
    "      --check        read FILE, tell every error in it, and end\n"
    "      --example      print a FILE with every setting, its default and its help\n"
    "      --version      print the version\n"
    "      --help         print this\n"
    "\n"
    "Signals: HUP reads FILE again and serves the clusters that are new in it; USR1 logs what is\n"
    "served; TERM ends. Exit codes: 0 done, 1 failed, 2 usage.\n";

struct program {
    const char *file;
    struct event_base *base;
    struct witness *witness;
};

/* --- settings -------------------------------------------------------------------------------- */

static bool load(const char *file, struct settings_witness *ret, void (*tell)(const char *line))
{
    struct settings_errors errors;
    enum hm_rc rc = settings_load_witness(file, ret, &errors);

    for (size_t i = 0; i < errors.n; i++)
        tell(errors.line[i]);
    settings_errors_done(&errors);
    return rc == HM_OK;
}

static void tell_person(const char *line)
{
    (void)fprintf(stderr, "%s\n", line); /* nobody is left to be told that this failed */
}

static void tell_log(const char *line)
{
    log_error("settings_error reason=\"%s\"", line);
}

static int check(const char *file)
{
    struct settings_witness settings;

    if (!load(file, &settings, tell_person))
        return EXIT_FAILED;
    printf("%s: %zu clusters, no errors\n", file, settings.clusters_n);
    settings_witness_done(&settings);
    return EXIT_DONE;
}

/* --- signals --------------------------------------------------------------------------------- */

static void on_end(evutil_socket_t number, short what, void *arg)
{
    struct program *p = arg;

    (void)what;
    log_notice("ending signal=%s", strsignal((int)number));
    (void)sd_notify(0, "STOPPING=1");
    (void)event_base_loopbreak(p->base); /* fails only for a base without a loop */
}

static void on_reload(evutil_socket_t number, short what, void *arg)
{
    struct program *p = arg;
    struct settings_witness settings;

    (void)number;
    (void)what;
    if (!load(p->file, &settings, tell_log)) {
        log_error("reload_refused file=%s next=\"correct it and send HUP again; nothing changed\"",
                  p->file);
        return;
    }
    log_notice("reload file=%s clusters=%zu", p->file, settings.clusters_n);
    witness_update(p->witness, &settings);
    settings_witness_done(&settings);
}

static void on_tell(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    witness_tell(((struct program *)arg)->witness);
}

static const struct {
    int number;
    event_callback_fn call;
} signals[] = {
    { SIGTERM, on_end },
    { SIGINT, on_end },
    { SIGHUP, on_reload },
    { SIGUSR1, on_tell },
};

/* --- the program ----------------------------------------------------------------------------- */

static int serve(struct program *p)
{
    struct event *caught[HM_ARRAY_LEN(signals)] = { NULL };
    int code = EXIT_FAILED;

    for (size_t i = 0; i < HM_ARRAY_LEN(signals); i++) {
        caught[i] = evsignal_new(p->base, signals[i].number, signals[i].call, p);
        if (caught[i] == NULL || event_add(caught[i], NULL) != 0) {
            log_error("start_failed reason=\"signals cannot be caught\"");
            goto out;
        }
    }
    if (event_base_dispatch(p->base) == 0)
        code = EXIT_DONE;
    else
        log_error("loop_failed reason=\"the event loop ended by itself\"");
out:
    for (size_t i = 0; i < HM_ARRAY_LEN(signals); i++)
        if (caught[i] != NULL)
            event_free(caught[i]);
    return code;
}

static int run(const char *file)
{
    struct program p = { .file = file };
    struct settings_witness settings;
    struct hm_err err;
    int code = EXIT_FAILED;
    enum hm_rc rc;

    if (!load(file, &settings, tell_person))
        return EXIT_FAILED;
    (void)signal(SIGPIPE, SIG_IGN); /* a link that breaks is told by its write */
    p.base = event_base_new();
    if (p.base == NULL) {
        log_error("start_failed reason=\"no event loop\"");
        settings_witness_done(&settings);
        return EXIT_FAILED;
    }
    rc = witness_new(p.base, &settings, &p.witness, &err);
    settings_witness_done(&settings);
    if (rc == HM_OK)
        code = serve(&p);
    else
        log_error("start_failed reason=\"%s\"", err.text);
    witness_free(p.witness);
    event_base_free(p.base);
    libevent_global_shutdown();
    return code;
}

enum option_name { OPT_CHECK = 256, OPT_EXAMPLE, OPT_VERSION, OPT_HELP };

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },    { "check", no_argument, NULL, OPT_CHECK },
    { "example", no_argument, NULL, OPT_EXAMPLE }, { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, OPT_HELP },       { NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
    const char *file = SETTINGS_WITNESS_FILE;
    bool is_check = false;
    int option;

    log_init("hamgr-witness", LOG_LEVEL_INFO);
    while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            file = optarg;
            break;
        case OPT_CHECK:
            is_check = true;
            break;
        case OPT_EXAMPLE:
            settings_print_witness_example(stdout);
            return EXIT_DONE;
        case OPT_VERSION:
            printf("hamgr-witness %s\n", HAMGR_VERSION);
            return EXIT_DONE;
        case OPT_HELP:
            (void)fputs(usage, stdout); /* as printf above */
            return EXIT_DONE;
        default:
            (void)fputs(usage, stderr); /* getopt has named the option */
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "hamgr-witness: unexpected argument '%s'\n%s", argv[optind], usage);
        return EXIT_USAGE;
    }
    return is_check ? check(file) : run(file);
}
