/* report_health.c - how well the own copy does its work: verdict, latencies, room on its disks. */
#include "daemon/report_inner.h"

#include "wire/ctl.h"

const char *report_verdict(const struct report *r, const struct report_service *s)
{
    const struct core *c = s->core;
    const struct copy *copy = &c->copy;

    if (!c->has_copy || copy->state == COPY_ABSENT || copy->state == COPY_REBUILDING ||
        copy->state == COPY_SUSPENDED)
        return NULL;
    if (copy->state == COPY_DOWN || copy->is_crashed)
        return "dead";
    if (view_gray_ms(&c->view, c->config.stall_timeout_ms) <= r->now_ms)
        return "gray";
    return copy->stalled_ms > 0 && !copy->is_healthy ? "overloaded" : "well";
}

static json_t *ms_of(uint32_t us)
{
    return json_real((double)us / 1000);
}

static json_t *commits_of(const struct report *r, const struct latency_summary *l)
{
    if (l->n == 0)
        return json_null();
    return json_pack("{s:i,s:o,s:o,s:o,s:o,s:I}", "n", (int)l->n, "p50_ms", ms_of(l->p50_us),
                     "p95_ms", ms_of(l->p95_us), "p99_ms", ms_of(l->p99_us), "worst_ms",
                     ms_of(l->worst_us), "worst_ms_ago",
                     (json_int_t)hm_max_ms(0, r->now_ms - l->worst_at_ms));
}

static json_t *disks_of(const struct report *r, const struct service_facts *f)
{
    json_t *list = json_array();
    int rc = 0;

    for (size_t i = 0; i < f->disks_n; i++) {
        const struct service_disk *d = &f->disk[i];

        rc |= json_array_append_new(
            list, json_pack("{s:s,s:I,s:I,s:o,s:b}", "what", d->what, "size_bytes",
                            (json_int_t)d->size_bytes, "free_bytes", (json_int_t)d->free_bytes,
                            "full_in_ms",
                            d->full_in_ms != HM_NEVER ? json_integer(d->full_in_ms) : json_null(),
                            "is_short", (int)service_disk_is_short(d, r->settings)));
    }
    if (rc == 0)
        return list;
    json_decref(list);
    return NULL;
}

int report_add_health(json_t *facts, const struct report *r, const struct report_service *s)
{
    const char *verdict = report_verdict(r, s);
    int rc;

    rc =
        json_object_set_new(facts, "verdict", verdict != NULL ? json_string(verdict) : json_null());
    rc |= json_object_set_new(facts, "stall",
                              s->facts.stall[0] != 0 ? ctl_text(s->facts.stall) : json_null());
    rc |= json_object_set_new(facts, "commits", commits_of(r, &s->facts.commits));
    return rc | json_object_set_new(facts, "disks", disks_of(r, &s->facts));
}
