/* report_slots.c - the log that this member keeps for others, and for whom it does so no longer. */
#include "daemon/report_inner.h"

static json_t *text_or_null(const char *text)
{
    return text[0] != '\0' ? ctl_text(text) : json_null();
}

json_t *report_slots(const struct service_facts *f)
{
    json_t *list = json_array();
    int rc = 0;

    for (size_t i = 0; i < f->slots_n; i++) {
        const struct service_slot *slot = &f->slot[i];

        rc |= json_array_append_new(list, json_pack("{s:s,s:o,s:b,s:I}", "name", slot->name,
                                                    "member", text_or_null(slot->member),
                                                    "is_active", (int)slot->is_active, "held_bytes",
                                                    (json_int_t)slot->held_bytes));
    }
    if (rc == 0)
        return list;
    json_decref(list);
    return NULL;
}

json_t *report_foreign_slots(const struct service_facts *f)
{
    json_t *list = json_array();
    int rc = 0;

    for (size_t i = 0; i < f->foreign_n; i++)
        rc |= json_array_append_new(list,
                                    json_pack("{s:s,s:I}", "name", f->foreign[i].name, "held_bytes",
                                              (json_int_t)f->foreign[i].held_bytes));
    if (rc == 0)
        return list;
    json_decref(list);
    return NULL;
}

json_t *report_dropped_slots(const struct service_facts *f)
{
    json_t *list = json_array();
    int rc = 0;

    for (size_t i = 0; i < f->drops_n; i++) {
        const struct service_drop *d = &f->drop[i];
        char at[32];

        report_time(d->wall_ms, at);
        rc |= json_array_append_new(list, json_pack("{s:s,s:o,s:I,s:s,s:b}", "time", at, "member",
                                                    text_or_null(d->member), "held_bytes",
                                                    (json_int_t)d->held_bytes, "why", d->why,
                                                    "is_over", (int)d->is_over));
    }
    if (rc == 0)
        return list;
    json_decref(list);
    return NULL;
}
