/* watchdog.c - see watchdog.h. */
#include "fence/watchdog.h"

#include <fcntl.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum hm_rc watchdog_open(struct watchdog *w, const char *device, struct hm_err *err)
{
    int timeout_s = WATCHDOG_TIMEOUT_S;

    w->fd = open(device, O_WRONLY | O_CLOEXEC);
    if (w->fd < 0)
        return hm_fail_errno(err, "cannot open the watchdog '%s'", device);
    if (ioctl(w->fd, WDIOC_SETTIMEOUT, &timeout_s) != 0) {
        enum hm_rc rc = hm_fail_errno(err, "cannot set the time of the watchdog '%s'", device);

        watchdog_done(w, true); /* not relied on: it shall not reset anything */
        return rc;
    }
    return HM_OK;
}

void watchdog_feed(struct watchdog *w)
{
    if (w->fd >= 0)
        (void)!write(w->fd, "f", 1); /* if it fails, the machine is reset: that is its task */
}

/* 'V' is the kernel's word for stopping it. */
void watchdog_done(struct watchdog *w, bool is_safe)
{
    if (w->fd < 0)
        return;
    if (is_safe)
        (void)!write(w->fd, "V", 1);
    (void)close(w->fd); /* without the word it stays armed */
    w->fd = -1;
}
