/* sd.c - what systemd is told: READY, STATUS, WATCHDOG, STOPPING. */
#include "daemon/daemon.h"

#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* The loop turns as long as this is called: that is what the watchdog asks. */
static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    (void)sd_notify(0, "WATCHDOG=1"); /* nobody to tell a failure to */
}

enum hm_rc sd_begin(struct daemon *d, struct hm_err *err)
{
    struct timeval half;
    uint64_t usec = 0;

    if (sd_watchdog_enabled(0, &usec) <= 0)
        return HM_OK;
    half.tv_sec = (time_t)(usec / 2000000);
    half.tv_usec = (suseconds_t)(usec / 2 % 1000000);
    d->watchdog = event_new(d->loop.base, -1, EV_PERSIST, on_watchdog, NULL);
    if (d->watchdog == NULL || event_add(d->watchdog, &half) != 0)
        return hm_fail(err, HM_FAILED, "cannot add the watchdog's timer");
    return HM_OK;
}

void sd_end(struct daemon *d)
{
    if (d->watchdog != NULL)
        event_free(d->watchdog);
    d->watchdog = NULL;
    (void)sd_notify(0, "STOPPING=1"); /* nobody to tell a failure to */
}

static void say(struct driver *d, char *text, size_t size)
{
    const struct record *r = core_record(&d->core);
    uint8_t leader = core_leader(&d->core);

    if (r == NULL)
        (void)snprintf(text, size, "%s: no record yet", d->settings->name);
    else if (leader == HM_NOBODY)
        (void)snprintf(text, size, "%s: nobody leads (epoch %llu), here %s", d->settings->name,
                       (unsigned long long)r->epoch, copy_state_name(d->core.copy.state));
    else
        (void)snprintf(text, size, "%s: primary %s (epoch %llu)%s, here %s", d->settings->name,
                       r->member[leader].name, (unsigned long long)r->epoch,
                       r->is_paused ? ", paused" : "", copy_state_name(d->core.copy.state));
}

void sd_tell(struct daemon *d)
{
    char all[HM_SERVICES_MAX * 170] = "";
    bool has_changed = false;
    bool is_ready = true;
    char text[160];

    for (size_t i = 0; i < d->drivers_n; i++) {
        is_ready = is_ready && d->driver[i]->core.has_copy;
        say(d->driver[i], text, sizeof text);
        has_changed = has_changed || strcmp(text, d->driver[i]->told_status) != 0;
        (void)snprintf(d->driver[i]->told_status, sizeof d->driver[i]->told_status, "%s", text);
    }
    if (is_ready && !d->is_ready) {
        d->is_ready = true;
        log_notice("ready");
        (void)sd_notify(0, "READY=1"); /* nobody to tell a failure to */
    }
    if (!has_changed)
        return;
    for (size_t i = 0, used = 0; i < d->drivers_n && used < sizeof all; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i > 0 ? "; " : "",
                                 d->driver[i]->told_status);
    (void)sd_notifyf(0, "STATUS=%s", all); /* the same */
}
