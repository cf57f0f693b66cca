/* cluster.c - one cluster: its directory, its members, and what they say about its services. */
#include "witness/inner.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A witness dials nobody; a member that hears nothing else of it hears a sign of life in time. */
#define SILENCE_MS 1000
#define RETRY_MS 1000

/* --- the directory --------------------------------------------------------------------------- */

static void directory_of(const struct cluster *c, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", c->all->state_dir, c->settings.name);
}

/* The name in the state directory must be as durable as what is written below it. */
static enum hm_rc make_directory(const char *parent, const char *path, struct hm_err *err)
{
    enum hm_rc rc = HM_OK;
    int fd;

    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? HM_OK : hm_fail_errno(err, "cannot make '%s'", path);
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        rc = hm_fail_errno(err, "cannot sync '%s'", parent);
    if (fd >= 0)
        (void)close(fd); /* opened for reading */
    if (rc != HM_OK)
        (void)rmdir(path); /* the next try begins anew */
    return rc;
}

static void run_open(struct worker_job *job)
{
    struct cluster *c = (struct cluster *)((char *)job - offsetof(struct cluster, job));
    char path[SETTINGS_PATH_MAX + HM_NAME_MAX];

    directory_of(c, path, sizeof path);
    c->rc = make_directory(c->all->state_dir, path, &c->err);
    if (c->rc == HM_OK)
        c->rc = store_open(path, c->settings.name, &c->store, &c->err);
}

/* --- what members say ------------------------------------------------------------------------ */

/* The place of that member, or HM_MEMBERS_MAX. */
static unsigned find_peer(const struct cluster *c, const char *name)
{
    unsigned i = 0;

    while (i < HM_MEMBERS_MAX && strncmp(c->peer[i].name, name, HM_NAME_MAX) != 0)
        i++;
    return i;
}

/* Members come and go under new names; whoever was silent longest is forgotten. */
static unsigned add_peer(struct cluster *c, const char *name)
{
    unsigned oldest = 0;

    for (unsigned i = 1; i < HM_MEMBERS_MAX; i++)
        if (c->peer[i].heard_ms < c->peer[oldest].heard_ms)
            oldest = i;
    memset(&c->peer[oldest], 0, sizeof c->peer[oldest]);
    (void)snprintf(c->peer[oldest].name, HM_NAME_MAX, "%s", name);
    for (unsigned i = 0; i < HM_SERVICES_MAX; i++)
        if (c->reg[i] != NULL)
            c->reg[i]->said[oldest] = (struct said){ 0, 0 };
    return oldest;
}

static void tell_fault(struct reg *r, const char *service, const char *member, const char *fault)
{
    uint64_t hidden;

    if (log_repeat_starts(&r->fault, clock_boot_ms(), &hidden))
        log_error("service_refused cluster=%s service=%s member=%s reason=\"%s\" next=\"correct "
                  "hamgr.conf there and restart hamgrd\"",
                  r->cluster->settings.name, service, member, fault);
}

static void hear_service(struct cluster *c, unsigned peer, const struct wire_hello *hello,
                         uint8_t number)
{
    bool is_said = number < hello->services_n;
    struct reg *r = c->reg[number];
    const char *fault;

    if (r == NULL && is_said)
        r = c->reg[number] = reg_new(c, number);
    if (r == NULL)
        return; /* not said, or out of memory: as if it had not been said */
    fault = is_said ? agree_fault(hello, number, c->settings.cluster_id) : NULL;
    if (fault != NULL) {
        tell_fault(r, hello->service[number].name, c->peer[peer].name, fault);
        r->said[peer] = (struct said){ 0, 0 };
        return;
    }
    r->said[peer] = agree_said(hello, number);
    if (is_said && r->newest == NULL)
        r->newest = malloc(sizeof *r->newest);
    if (is_said && r->newest != NULL)
        *r->newest = hello->service[number];
}

static void hear_hello(struct cluster *c, const struct wire_hello *hello)
{
    unsigned peer = find_peer(c, hello->from);

    if (hello->from[0] == '\0')
        return;
    if (peer == HM_MEMBERS_MAX)
        peer = add_peer(c, hello->from);
    c->peer[peer].heard_ms = clock_boot_ms();
    if (hello->to[0] != '\0') {
        memcpy(c->own_name, hello->to, sizeof c->own_name);
        memcpy(c->hello.from, hello->to, sizeof c->hello.from);
    }
    for (uint8_t number = 0; number < HM_SERVICES_MAX; number++)
        hear_service(c, peer, hello, number);
    for (unsigned i = 0; i < HM_SERVICES_MAX; i++) /* once all is known */
        if (c->reg[i] != NULL)
            reg_settle(c->reg[i]);
}

void cluster_tell_dispute(struct reg *r, const char *what)
{
    const struct cluster *c = r->cluster;
    char members[HM_MEMBERS_MAX * (HM_NAME_MAX + 1) + 1] = "";
    size_t used = 0;

    if (r->is_dispute_told)
        return;
    r->is_dispute_told = true;
    for (unsigned i = 0; i < HM_MEMBERS_MAX; i++)
        if (r->said[i].name != 0)
            used += (size_t)snprintf(members + used, sizeof members - used, "%s%s",
                                     used > 0 ? "," : "", c->peer[i].name);
    log_error("service_disputed cluster=%s number=%u service=%s members=%s reason=\"%s\" "
              "next=\"make the services, members and timing in hamgr.conf the same on all members "
              "and restart hamgrd there; a member that is gone for good is forgotten when this "
              "witness restarts\"",
              c->settings.name, r->number, r->name[0] != '\0' ? r->name : "?", members, what);
}

/* --- frames ---------------------------------------------------------------------------------- */

/* A member that calls this number by another name means another register. One that says nothing
 * about services is an observer, or is of a version that says less. */
static bool means_this(const struct reg *r, unsigned peer)
{
    return peer == HM_MEMBERS_MAX || r->said[peer].name == 0 ||
           r->said[peer].name == agree_name(r->name, r->kind);
}

static void hear_msg(struct cluster *c, const struct link_peer *from, const struct msg *m)
{
    struct reg *r = m->service < HM_SERVICES_MAX ? c->reg[m->service] : NULL;

    if (r == NULL || r->state != REG_VOTES || m->from_incarnation != from->incarnation ||
        !means_this(r, find_peer(c, from->name))) {
        c->all->ignored++;
        return;
    }
    c->all->messages++;
    reg_hear(r, m);
}

/* Its votes are those of an incarnation of the cluster that is over. */
static bool is_of_before(const struct reg *r, uint64_t incarnation)
{
    const struct record *newest = r->state == REG_VOTES ? core_record(r->core) : NULL;

    return newest != NULL &&
           (r->core->state == ST_STOPPED || newest->cluster_incarnation < incarnation);
}

/* A witness carries no orders out. The one thing that it is asked is whether it would vote, before
 * it is made a member: not with votes of the time before a failover was forced. */
static void answer_call(struct cluster *c, const struct link_peer *from,
                        const struct wire_frame *frame)
{
    struct wire_frame answer = { .type = WIRE_REPLY, .call = { .id = frame->call.id } };
    const char *key = strstr(frame->call.text, "\"" CALL_CLUSTER_INCARNATION "\":");
    uint64_t asked =
        key != NULL ? strtoull(key + sizeof CALL_CLUSTER_INCARNATION + 2, NULL, 10) : 0;
    bool is_left_behind = false;
    char text[400];

    for (unsigned i = 0; i < HM_SERVICES_MAX; i++)
        is_left_behind = is_left_behind || (c->reg[i] != NULL && is_of_before(c->reg[i], asked));
    if (is_left_behind)
        (void)snprintf(
            text, sizeof text,
            "{\"rc\": %d, \"error\": \"%s has votes of the time before a failover was "
            "forced\", \"next\": \"on its host: stop hamgr-witness, move %.150s/%s away, "
            "start it; then again\"}",
            HM_REFUSED, c->own_name, c->all->state_dir, c->settings.name);
    else
        (void)snprintf(text, sizeof text,
                       "{\"rc\": %d, \"error\": \"a witness carries no orders out\"}",
                       HM_BAD_INPUT);
    answer.call.text = text;
    (void)link_send(c->links, from->incarnation, from->name, &answer); /* lost: not asked again */
}

static void on_frame(void *ctx, const struct link_peer *from, const struct wire_frame *frame)
{
    struct cluster *c = ctx;

    switch (frame->type) {
    case WIRE_HELLO:
        hear_hello(c, frame->hello);
        break;
    case WIRE_MSG:
        hear_msg(c, from, &frame->msg);
        break;
    case WIRE_CALL:
        answer_call(c, from, frame);
        break;
    case WIRE_LOG_ASK: /* a witness has no log, and asks nothing */
    case WIRE_LOG_PIECE:
    case WIRE_REPLY:
        c->all->ignored++;
        break;
    }
}

/* --- opening --------------------------------------------------------------------------------- */

static enum hm_rc let_in(struct cluster *c, struct hm_err *err)
{
    struct link_cluster_config config = { .name = c->settings.name,
                                          .key = c->settings.key,
                                          .hello = &c->hello,
                                          .silence_ms = SILENCE_MS,
                                          .retry_ms = RETRY_MS,
                                          .on_frame = on_frame,
                                          .ctx = c };

    c->hello.incarnation = c->store.incarnation;
    return link_hub_add(c->all->config.hub, &config, &c->links, err);
}

static const char *next_step(enum hm_rc rc)
{
    if (rc == HM_BAD_INPUT)
        return "restore the directory if it was changed by hand; otherwise remove this witness "
               "from "
               "the cluster, remove the directory, and add the witness again";
    if (rc == HM_REFUSED)
        return "stop the other program; it is tried again by itself";
    return "make room and check the disk and its rights; it is tried again by itself";
}

static void done_open(struct worker_job *job)
{
    struct cluster *c = (struct cluster *)((char *)job - offsetof(struct cluster, job));
    uint64_t hidden = 0;

    if (c->rc == HM_OK && let_in(c, &c->err) != HM_OK) {
        store_done(&c->store);
        c->rc = HM_BAD_INPUT; /* nothing that time would heal */
    }
    if (c->rc == HM_OK) {
        c->state = CLUSTER_SERVED;
        c->born_ms = clock_boot_ms();
        if (log_repeat_ends(&c->trouble))
            log_notice("cluster_opened cluster=%s", c->settings.name);
        return;
    }
    c->state = CLUSTER_FAILED;
    if (log_repeat_starts(&c->trouble, clock_boot_ms(), &hidden))
        log_error("cluster_failed cluster=%s reason=\"%s\" next=\"%s\"", c->settings.name,
                  c->err.text, next_step(c->rc));
}

void cluster_open(struct cluster *c)
{
    c->state = CLUSTER_OPENING;
    c->job.run = run_open;
    c->job.done = done_open;
    worker_add(c->all->config.disk, &c->job);
}

struct cluster *cluster_new(struct clusters *all, const struct settings_cluster *settings)
{
    struct cluster *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->all = all;
    c->settings = *settings;
    c->store.dir = -1;
    c->store.lock = -1;
    c->hello.version = WIRE_VERSION;
    (void)snprintf(c->hello.software, sizeof c->hello.software, "hamgr " HAMGR_VERSION);
    memcpy(c->hello.cluster, settings->name, sizeof c->hello.cluster);
    return c;
}

void cluster_free(struct cluster *c)
{
    for (unsigned i = 0; i < HM_SERVICES_MAX; i++)
        reg_free(c->reg[i]);
    store_done(&c->store);
    free(c);
}
