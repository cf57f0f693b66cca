/* main.c - hamgr: the command line. */
#include "cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static unsigned columns_of(int fd)
{
    struct winsize size;

    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : 80;
}

int main(int argc, char **argv)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    struct cli c = { .in = stdin, .out = stdout, .err = stderr };
    enum ctl_exit rc;

    (void)signal(SIGPIPE, SIG_IGN); /* hamgrd may close its end first: a write then just fails */
    c.is_terminal = isatty(STDOUT_FILENO) == 1;
    c.has_colour = c.is_terminal && (no_colour == NULL || no_colour[0] == '\0') && term != NULL &&
                   term[0] != '\0' && !(term[0] == 'd' && term[1] == 'u'); /* "dumb" */
    c.columns = c.is_terminal ? columns_of(STDOUT_FILENO) : 80;
    rc = cli_run(argc, (const char *const *)argv, &c);
    if (fflush(stdout) != 0 && rc == CTL_DONE)
        rc = CTL_FAILED; /* what was asked for did not arrive */
    return (int)rc;
}
