#include "witness/witness.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#define ACCEPTS_MAX 256 /* after a restart all members come at once */
#define HANDSHAKE_MS 2000
#define RETRY_MS 1000       /* of housekeeping, while something has to be tried again */
#define ROUND_MS 5000       /* of housekeeping; less if systemd's watchdog wants it */
#define START_USEC 30000000 /* how long opening the next directories may take */

struct witness {
    char listen[HM_ADDRESS_MAX];
    char state_dir[SETTINGS_PATH_MAX];
    char (*name)[HM_NAME_MAX]; /* owned: of the clusters in the newest file */
    size_t names_n;
    struct link_hub *hub;
    struct worker *disk;
    struct clusters *clusters;
    struct event *round;
    bool is_ready_told;
};

/* Each cluster has its directory and its lock open, and a connection for each member. */
static void want_descriptors(size_t clusters)
{
    rlim_t wanted = (rlim_t)(clusters * (2 + HM_MEMBERS_MAX) + ACCEPTS_MAX + 64);
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        log_warn("few_descriptors limit=%llu wanted=%llu next=\"raise LimitNOFILE of the unit\"",
                 (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

/* --- systemd --------------------------------------------------------------------------------- */

static void tell_systemd(struct witness *s)
{
    struct clusters_counts c;
    struct link_counts links;

    witness_count(s, &c, &links);
    (void)sd_notifyf(0, "WATCHDOG=1\nSTATUS=%zu clusters, %zu registers, %u links%s", c.clusters,
                     c.voting, links.links,
                     c.failed + c.broken + c.disputed > 0 ? "; some have no vote: see the log"
                                                          : "");
    if (s->is_ready_told)
        return;
    if (c.opening > 0) {
        (void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%d", START_USEC);
        return;
    }
    s->is_ready_told = true;
    log_notice("ready listen=%s clusters=%zu failed=%zu", s->listen, c.clusters, c.failed);
    (void)sd_notify(0, "READY=1");
}

static hm_ms round_ms(const struct witness *s)
{
    uint64_t watchdog_usec = 0;
    struct clusters_counts c;
    struct link_counts links;
    hm_ms wanted = 100;

    witness_count(s, &c, &links);
    if (s->is_ready_told)
        wanted = c.failed + c.broken > 0 ? RETRY_MS : ROUND_MS;

    if (sd_watchdog_enabled(0, &watchdog_usec) > 0 && watchdog_usec > 0)
        wanted = hm_min_ms(wanted, (hm_ms)(watchdog_usec / 3000));
    return wanted;
}

static void on_round(evutil_socket_t fd, short what, void *arg)
{
    struct witness *s = arg;
    struct timeval next;

    (void)fd;
    (void)what;
    if (s->is_ready_told)
        clusters_retry(s->clusters);
    tell_systemd(s);
    next = clock_timeval(round_ms(s));
    if (event_add(s->round, &next) != 0)
        log_error("no_timer next=\"restart hamgr-witness\"");
}

/* --- settings -------------------------------------------------------------------------------- */

static bool keep_names(struct witness *s, const struct settings_witness *settings)
{
    char(*name)[HM_NAME_MAX] = calloc(settings->clusters_n + 1, HM_NAME_MAX);

    if (name == NULL)
        return false;
    for (size_t i = 0; i < settings->clusters_n; i++)
        memcpy(name[i], settings->cluster[i].name, HM_NAME_MAX);
    free(s->name);
    s->name = name;
    s->names_n = settings->clusters_n;
    return true;
}

static bool is_named(const struct settings_witness *settings, const char *name)
{
    for (size_t i = 0; i < settings->clusters_n; i++)
        if (strncmp(settings->cluster[i].name, name, HM_NAME_MAX) == 0)
            return true;
    return false;
}

static void add_clusters(struct witness *s, const struct settings_witness *settings)
{
    struct hm_err err;
    bool has_key;

    want_descriptors(settings->clusters_n);
    for (size_t i = 0; i < settings->clusters_n; i++) {
        const struct settings_cluster *c = &settings->cluster[i];

        if (clusters_has(s->clusters, c, &has_key)) {
            if (!has_key)
                log_warn("key_changed cluster=%s next=\"restart hamgr-witness\"", c->name);
        } else if (clusters_add(s->clusters, c, &err) != HM_OK) {
            log_error("cluster_failed cluster=%s reason=\"%s\"", c->name, err.text);
        }
    }
}

void witness_update(struct witness *s, const struct settings_witness *settings)
{
    for (size_t i = 0; i < s->names_n; i++)
        if (!is_named(settings, s->name[i]))
            log_notice(
                "cluster_removed cluster=%s next=\"it is served until hamgr-witness restarts; "
                "its directory stays\"",
                s->name[i]);
    if (strcmp(s->listen, settings->listen) != 0 || strcmp(s->state_dir, settings->state_dir) != 0)
        log_warn("settings_changed what=\"listen or state_dir\" next=\"restart hamgr-witness\"");
    add_clusters(s, settings);
    if (!keep_names(s, settings))
        log_warn("out_of_memory next=\"restart hamgr-witness\"");
}

/* --- the whole ------------------------------------------------------------------------------- */

static enum hm_rc open_all(struct witness *s, struct event_base *base,
                           const struct settings_witness *settings, struct hm_err *err)
{
    struct link_hub_config hub = { .base = base,
                                   .listen = s->listen,
                                   .accepts_max = ACCEPTS_MAX,
                                   .links_max = SETTINGS_CLUSTERS_MAX * HM_MEMBERS_MAX,
                                   .handshake_ms = HANDSHAKE_MS };
    struct clusters_config clusters = { .base = base, .state_dir = s->state_dir };
    enum hm_rc rc = link_hub_new(&hub, &s->hub, err);

    if (rc == HM_OK)
        rc = worker_new(base, "disk", &s->disk, err);
    clusters.hub = s->hub;
    clusters.disk = s->disk;
    if (rc == HM_OK)
        rc = clusters_new(&clusters, &s->clusters, err);
    if (rc == HM_OK && !keep_names(s, settings))
        rc = hm_fail(err, HM_FAILED, "out of memory");
    if (rc != HM_OK)
        return rc;
    s->round = event_new(base, -1, 0, on_round, s);
    if (s->round == NULL)
        return hm_fail(err, HM_FAILED, "no timer");
    return HM_OK;
}

enum hm_rc witness_new(struct event_base *base, const struct settings_witness *settings,
                       struct witness **ret, struct hm_err *err)
{
    struct witness *s = calloc(1, sizeof *s);
    enum hm_rc rc;

    if (s == NULL)
        return hm_fail(err, HM_FAILED, "out of memory");
    (void)snprintf(s->listen, sizeof s->listen, "%s", settings->listen);
    (void)snprintf(s->state_dir, sizeof s->state_dir, "%s", settings->state_dir);
    want_descriptors(settings->clusters_n);
    rc = open_all(s, base, settings, err);
    if (rc != HM_OK) {
        witness_free(s);
        return rc;
    }
    add_clusters(s, settings);
    on_round(-1, 0, s);
    *ret = s;
    return HM_OK;
}

/* First nothing more is heard, then nothing more is written. */
void witness_free(struct witness *s)
{
    if (s == NULL)
        return;
    link_hub_free(s->hub);
    worker_free(s->disk);
    clusters_free(s->clusters);
    if (s->round != NULL)
        event_free(s->round);
    free(s->name);
    free(s);
}

uint16_t witness_port(const struct witness *s)
{
    return link_hub_port(s->hub);
}

void witness_count(const struct witness *s, struct clusters_counts *ret,
                   struct link_counts *ret_links)
{
    clusters_count(s->clusters, ret);
    link_count(s->hub, ret_links);
}

void witness_tell(const struct witness *s)
{
    struct clusters_counts c;
    struct link_counts links;

    clusters_tell(s->clusters);
    witness_count(s, &c, &links);
    log_info(
        "witness clusters=%zu opening=%zu failed=%zu voting=%zu broken=%zu disputed=%zu links=%u "
        "messages=%llu ignored=%llu writes=%llu failed_writes=%llu refused=%llu dropped=%llu",
        c.clusters, c.opening, c.failed, c.voting, c.broken, c.disputed, links.links,
        (unsigned long long)c.messages, (unsigned long long)c.ignored, (unsigned long long)c.writes,
        (unsigned long long)c.failed_writes, (unsigned long long)links.refused,
        (unsigned long long)links.dropped);
}
