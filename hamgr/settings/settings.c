#include "settings/settings.h"

#include <string.h>

void settings_first_record(const struct settings *s, const struct settings_service *service,
                           struct record *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->cluster = s->cluster_id;
    ret->service = service->number;
    ret->kind = service->kind;
    ret->ttl_ms = s->timing.ttl_ms;
    ret->heartbeat_ms = s->timing.heartbeat_ms;
    ret->durability = service->durability; /* the first epoch derives from it what it can keep */
    ret->goal = service->durability;
    ret->sync_standbys = service->sync_standbys;
    ret->max_lag_bytes = service->max_lag_bytes;
    for (size_t slot = 0; slot < s->members_n; slot++) {
        const struct settings_member *from = &s->member[slot];
        struct member *m = &ret->member[slot];

        m->role = from->role;
        memcpy(m->name, from->name, sizeof m->name);
        memcpy(m->address, from->address, sizeof m->address);
        ret->voters |= (uint16_t)(1u << slot);
    }
}

const struct settings_service *settings_service(const struct settings *s, const char *name)
{
    if (name == NULL || name[0] == '\0')
        return s->services_n == 1 ? &s->service[0] : NULL;
    for (size_t i = 0; i < s->services_n; i++)
        if (strcmp(s->service[i].name, name) == 0)
            return &s->service[i];
    return NULL;
}
