#include "witness/clusters.h"

#include "witness/inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATE_MS 100 /* a loop that comes so much later than asked has stalled */

static void for_each_reg(struct clusters *all, void (*what)(struct reg *r))
{
    for (struct cluster *c = all->first; c != NULL; c = c->next)
        for (unsigned i = 0; i < HM_SERVICES_MAX; i++)
            if (c->reg[i] != NULL)
                what(c->reg[i]);
}

static void on_deadline(void *ctx, hm_ms now_ms, hm_ms late_ms)
{
    struct clusters *all = ctx;
    struct deadline *due;
    uint64_t hidden;

    if (late_ms > LATE_MS) {
        if (log_repeat_starts(&all->stall, now_ms, &hidden))
            log_warn("loop_stalled late_ms=%lld hidden=%llu", (long long)late_ms,
                     (unsigned long long)hidden);
        for_each_reg(all, reg_stall);
    }
    while ((due = deadlines_due(&all->deadlines, now_ms)) != NULL)
        reg_tick((struct reg *)due);
}

enum hm_rc clusters_new(const struct clusters_config *config, struct clusters **ret,
                        struct hm_err *err)
{
    struct clusters *all = calloc(1, sizeof *all);
    enum hm_rc rc;

    if (all == NULL)
        return hm_fail(err, HM_FAILED, "out of memory");
    (void)snprintf(all->state_dir, sizeof all->state_dir, "%s", config->state_dir);
    all->config = *config;
    all->config.state_dir = all->state_dir;
    all->end = &all->first;
    rc = deadlines_init(&all->deadlines, config->base, on_deadline, all, err);
    if (rc != HM_OK) {
        free(all);
        return rc;
    }
    *ret = all;
    return HM_OK;
}

void clusters_free(struct clusters *all)
{
    if (all == NULL)
        return;
    while (all->first != NULL) {
        struct cluster *c = all->first;

        all->first = c->next;
        cluster_free(c);
    }
    deadlines_done(&all->deadlines);
    free(all);
}

static bool is_directory_name(const char *name)
{
    size_t length = strnlen(name, HM_NAME_MAX);

    return length > 0 && length < HM_NAME_MAX && name[0] != '.' && strchr(name, '/') == NULL;
}

enum hm_rc clusters_add(struct clusters *all, const struct settings_cluster *settings,
                        struct hm_err *err)
{
    bool has_key;
    struct cluster *c;

    if (!is_directory_name(settings->name))
        return hm_fail(err, HM_BAD_INPUT, "'%.*s' cannot be the name of a directory", HM_NAME_MAX,
                       settings->name);
    if (clusters_has(all, settings, &has_key))
        return HM_OK;
    c = cluster_new(all, settings);
    if (c == NULL)
        return hm_fail(err, HM_FAILED, "cluster '%s': out of memory", settings->name);
    *all->end = c;
    all->end = &c->next;
    cluster_open(c);
    return HM_OK;
}

bool clusters_has(const struct clusters *all, const struct settings_cluster *settings,
                  bool *ret_has_key)
{
    for (const struct cluster *c = all->first; c != NULL; c = c->next)
        if (strcmp(c->settings.name, settings->name) == 0) {
            *ret_has_key = memcmp(c->settings.key, settings->key, sizeof settings->key) == 0;
            return true;
        }
    return false;
}

static void retry_reg(struct reg *r)
{
    if (r->state == REG_BROKEN && (r->work.rc == HM_FAILED || r->work.rc == HM_NO_SPACE))
        reg_settle(r);
}

void clusters_retry(struct clusters *all)
{
    for (struct cluster *c = all->first; c != NULL; c = c->next)
        if (c->state == CLUSTER_FAILED && c->rc != HM_BAD_INPUT)
            cluster_open(c);
    for_each_reg(all, retry_reg);
}

static void count_reg(const struct reg *r, struct clusters_counts *ret)
{
    ret->voting += r->state == REG_VOTES;
    ret->broken += r->state == REG_BROKEN;
    ret->disputed += r->is_dispute_told;
}

void clusters_count(const struct clusters *all, struct clusters_counts *ret)
{
    *ret = (struct clusters_counts){ .messages = all->messages,
                                     .writes = all->writes,
                                     .failed_writes = all->failed_writes,
                                     .ignored = all->ignored };
    for (const struct cluster *c = all->first; c != NULL; c = c->next) {
        ret->clusters += c->state == CLUSTER_SERVED;
        ret->opening += c->state == CLUSTER_OPENING;
        ret->failed += c->state == CLUSTER_FAILED;
        for (unsigned i = 0; i < HM_SERVICES_MAX; i++)
            if (c->reg[i] != NULL)
                count_reg(c->reg[i], ret);
    }
}

static void tell_reg(const struct reg *r)
{
    static const char *const states[] = { "idle", "loading", "votes", "broken" };
    const struct record *record = r->core != NULL ? core_record(r->core) : NULL;

    log_info(
        "register cluster=%s service=%s number=%u state=%s%s holder=%s epoch=%llu version=%llu",
        r->cluster->settings.name, r->name[0] != '\0' ? r->name : "?", r->number, states[r->state],
        r->is_dispute_told ? " disputed=yes" : "",
        record != NULL ? record->member[record->holder].name : "none",
        record != NULL ? (unsigned long long)record->epoch : 0,
        record != NULL ? (unsigned long long)record->version : 0);
}

void clusters_tell(const struct clusters *all)
{
    static const char *const states[] = { "opening", "served", "failed" };

    for (const struct cluster *c = all->first; c != NULL; c = c->next) {
        log_info("cluster name=%s state=%s called=%s", c->settings.name, states[c->state],
                 c->own_name[0] != '\0' ? c->own_name : "?");
        for (unsigned i = 0; i < HM_SERVICES_MAX; i++)
            if (c->reg[i] != NULL)
                tell_reg(c->reg[i]);
    }
}
