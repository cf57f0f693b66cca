/* cmd_status.c - hamgr status, once or every second. */
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void name_service(struct cli *c, struct ctl_request *r)
{
    if (c->service != NULL)
        (void)snprintf(r->service, sizeof r->service, "%s",
                       c->service); /* its length was checked */
}

static enum ctl_exit show(struct cli *c)
{
    struct ctl_request request = { .command = CTL_STATUS };
    json_t *answer = NULL;
    enum ctl_exit rc;

    name_service(c, &request);
    rc = cli_ask(c, &request, &answer);
    if (answer == NULL)
        return rc;
    if ((c->given & CLI_JSON) != 0)
        cli_print_json(c, answer);
    else
        cli_print_status(c, answer);
    json_decref(answer);
    return rc;
}

/* False: nobody reads any more. */
static bool show_again(struct cli *c)
{
    bool is_drawn = c->is_terminal && (c->given & CLI_JSON) == 0;

    if (is_drawn)
        (void)fputs("\033[H", c->out); /* over what stands there, so that nothing flickers */
    if (is_drawn)
        (void)fflush(c->out); /* complaints go another way and must come behind it */
    (void)show(c);
    if (is_drawn)
        (void)fputs("\033[J", c->out); /* whatever is left of a longer one */
    else
        (void)fputc('\n', c->out);
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
