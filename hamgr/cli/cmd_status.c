/* cmd_status.c - hamgr status, once or every second. */
#include "base/clock.h"
#include "cli/cli.h"
#include "fence/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void name_service(struct cli *c, struct ctl_request *r)
{
    if (c->service != NULL)
        (void)snprintf(r->service, sizeof r->service, "%s",
                       c->service); /* its length was checked */
}

/* hamgrd is gone; the fence is another process, and its file tells whether a primary may write. */
static void tell_lease(struct cli *c, int run_dir, const char *service)
{
    hm_ms now_ms = clock_boot_ms();
    struct lease lease;
    struct hm_err err;
    bool is_there = false;

    if (lease_load(run_dir, service, &lease, &is_there, &err) != HM_OK)
        (void)fprintf(c->err, "  %s: %s\n", service, err.text);
    else if (!is_there)
        (void)fprintf(c->err, "  %s: the fence has not been told anything since the boot\n",
                      service);
    else if (lease.mode == FENCE_LEASE && lease.until_ms > now_ms)
        (void)fprintf(c->err, "  %s: its lease runs for another %.1f s\n", service,
                      (double)(lease.until_ms - now_ms) / 1000);
    else if (lease.mode == FENCE_LEASE)
        (void)fprintf(c->err, "  %s: its lease has run out: the fence has suspended it\n", service);
    else
        (void)fprintf(c->err, "  %s: the fence's mode is '%s'\n", service,
                      fence_mode_name(lease.mode));
}

static void tell_leases(struct cli *c)
{
    struct settings *settings = malloc(sizeof *settings);
    struct settings_errors errors = { .n = 0 };
    int dir = -1;

    if (settings != NULL && settings_load(c->config, SETTINGS_WITHOUT_NODE | SETTINGS_WITHOUT_KEY,
                                          settings, &errors) == HM_OK)
        dir = open(settings->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; dir >= 0 && i < settings->services_n; i++)
        tell_lease(c, dir, settings->service[i].name);
    if (dir >= 0)
        (void)close(dir); /* opened for reading: nothing can be lost */
    settings_errors_done(&errors);
    free(settings);
}

static enum ctl_exit show(struct cli *c)
{
    struct ctl_request request = { .command = CTL_STATUS };
    json_t *answer = NULL;
    enum ctl_exit rc;

    name_service(c, &request);
    rc = cli_ask(c, &request, &answer);
    if (answer == NULL) {
        if ((c->given & CLI_JSON) == 0 && (rc == CTL_FAILED || rc == CTL_TIMED_OUT))
            tell_leases(c);
        return rc;
    }
    if ((c->given & CLI_JSON) != 0)
        cli_print_json(c, answer);
    else
        cli_print_status(c, answer);
    json_decref(answer);
    return rc;
}

/* Writes a text over what stands on the screen, so that nothing flickers and nothing is left. */
static void draw(FILE *out, const char *text)
{
    (void)fputs("\033[H", out); /* show_again() looks whether it arrived */
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            (void)fputs("\033[K", out);
        (void)fputc(*text, out);
    }
    (void)fputs("\033[J", out);
}

/* The status, or why there is none, as one text first. */
static void show_drawn(struct cli *c)
{
    struct cli drawn = *c;
    char *text = NULL;
    size_t size;

    drawn.out = drawn.err = open_memstream(&text, &size);
    if (drawn.out == NULL) {
        cli_complain(c, "no memory");
        return;
    }
    (void)show(&drawn); /* its failures are part of the text */
    if (fclose(drawn.out) == 0)
        draw(c->out, text);
    free(text);
}

/* False: nobody reads any more. */
static bool show_again(struct cli *c)
{
    if (c->is_terminal && (c->given & CLI_JSON) == 0) {
        show_drawn(c);
    } else {
        (void)show(c); /* it has been told, and the next may be better */
        (void)fputc('\n', c->out);
    }
    return fflush(c->out) == 0;
}

static enum ctl_exit watch(struct cli *c)
{
    const struct itimerspec each_second = { .it_interval = { .tv_sec = 1 },
                                            .it_value = { .tv_nsec = 1 } };
    struct pollfd timer = { .events = POLLIN };
    uint64_t times;
    bool has_reader = true;

    timer.fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer.fd < 0 || timerfd_settime(timer.fd, 0, &each_second, NULL) != 0) {
        cli_complain(c, "cannot make a timer: %s", strerror(errno));
        if (timer.fd >= 0)
            (void)close(timer.fd); /* nothing is in it */
        return CTL_FAILED;
    }
    if (c->is_terminal && (c->given & CLI_JSON) == 0)
        (void)fputs("\033[2J", c->out);
    while (has_reader) { /* Ctrl-C ends the program */
        if (poll(&timer, 1, -1) > 0 && read(timer.fd, &times, sizeof times) > 0)
            has_reader = show_again(c);
    }
    (void)close(timer.fd); /* nothing is in it */
    return CTL_FAILED;
}

enum ctl_exit cli_status(struct cli *c)
{
    return (c->given & CLI_WATCH) != 0 ? watch(c) : show(c);
}
