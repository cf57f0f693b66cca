/* rebuild_order.c - `hamgr rebuild` outlives a restart of hamgrd.
 *
 * The core knows which copy the operator gave up; here that is written down, in
 * state_dir/NAME.rebuild, and told to it again after a start, until another copy is there, or this
 * member leads: then what it has is what all others copy from. The file holds the id of the copy
 * and nothing else, so that an old file can never cost a new copy. Writing is the disk's worker's;
 * a power cut between the answer to the operator and the worker's fsync loses the order. */
#include "daemon/daemon.h"

#include "base/clock.h"
#include "core/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ASK_AGAIN_MS = 1000, ID_TEXT = 17, ORDER_ID = 1 };

static void file_name(const struct driver *d, char name[HM_NAME_MAX + 16])
{
    (void)snprintf(name, HM_NAME_MAX + 16, "%s.rebuild", d->settings->name);
}

void rebuild_order_load(struct driver *d)
{
    char name[HM_NAME_MAX + 16], text[ID_TEXT + 1] = "";
    int fd;

    file_name(d, name);
    fd = openat(d->daemon->store.dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return; /* none was left */
    if (read(fd, text, ID_TEXT) != ID_TEXT || sscanf(text, "%16" SCNx64, &d->rebuilt.kept) != 1)
        log_warn("rebuild forgotten service=%s: '%s' cannot be read: give the order again",
                 d->settings->name, name);
    (void)close(fd); /* opened for reading: nothing can be lost */
}

/* --- the file ----------------------------------------------------------------------------------
 */

static void write_order(struct worker_job *job)
{
    struct driver_rebuild *r = (struct driver_rebuild *)job;
    char name[HM_NAME_MAX + 16], text[ID_TEXT + 1];
    int dir = r->driver->daemon->store.dir;

    file_name(r->driver, name);
    (void)snprintf(text, sizeof text, "%016" PRIx64 "\n", r->writing);
    if (r->writing != 0)
        r->rc = store_replace(dir, name, text, ID_TEXT, &r->err);
    else if ((unlinkat(dir, name, 0) == 0 || errno == ENOENT) && fsync(dir) == 0)
        r->rc = HM_OK;
    else
        r->rc = hm_fail_errno(&r->err, "cannot remove '%s'", name);
}

static void order_written(struct worker_job *job)
{
    struct driver_rebuild *r = (struct driver_rebuild *)job;

    r->is_writing = false;
    if (r->rc == HM_OK)
        return;
    log_warn("rebuild order service=%s: %s: a restart of hamgrd would not know of it",
             r->driver->settings->name, r->err.text);
}

static void keep(struct driver *d, uint64_t copy_id)
{
    struct driver_rebuild *r = &d->rebuilt;

    r->kept = copy_id;
    r->writing = copy_id;
    r->is_writing = true;
    r->driver = d;
    r->job.run = write_order;
    r->job.done = order_written;
    worker_add(d->daemon->disk, &r->job);
}

/* --- after a restart ---------------------------------------------------------------------------
 */

static bool is_done(const struct driver *d)
{
    const struct core *c = &d->core;

    return core_is_holder_state(c->state) ||
           (c->copy.copy_id != 0 && c->copy.copy_id != d->rebuilt.kept);
}

/* The core forgot: it was started anew. Refused now, for nobody may be heard yet, it is asked
 * again.
 */
static void tell_again(struct driver *d)
{
    struct core_event ev = { .type = ON_ORDER };
    hm_ms now_ms = clock_boot_ms();
    const char *why = core_rebuild_fault(&d->core);

    if (now_ms < d->rebuilt.ask_ms)
        return;
    d->rebuilt.ask_ms = now_ms + ASK_AGAIN_MS;
    if (why != NULL && why != d->rebuilt.told)
        log_notice("rebuild waits service=%s: it was ordered before the restart: %s",
                   d->settings->name, why);
    d->rebuilt.told = why;
    if (why != NULL)
        return;
    chronicle_note(d->chronicle, clock_wall_ms(), "the rebuild that was ordered goes on");
    ev.order = (struct order){ .kind = ORDER_REBUILD, .id = ORDER_ID, .member = HM_NOBODY };
    driver_feed(d, &ev);
}

void rebuild_order_note(struct driver *d)
{
    const struct core *c = &d->core;

    if (d->rebuilt.is_writing || !d->is_started)
        return;
    if (d->rebuilt.kept != 0 && is_done(d))
        keep(d, 0);
    else if (core_is_given_up(c) && d->rebuilt.kept != c->given_up_copy)
        keep(d, c->given_up_copy);
    else if (d->rebuilt.kept != 0 && c->given_up_copy == 0 && c->copy.copy_id == d->rebuilt.kept)
        tell_again(d);
}
