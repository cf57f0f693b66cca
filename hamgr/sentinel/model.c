#include "sentinel/model.h"

#include "base/text.h"

#include <string.h>

bool model_is_same_place(const struct model_place *a, const struct model_place *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

const struct model_master *model_find(const struct model *m, const char *name, size_t name_n)
{
    for (size_t i = 0; i < m->masters_n; i++)
        if (strlen(m->master[i].name) == name_n && memcmp(m->master[i].name, name, name_n) == 0)
            return &m->master[i];
    return NULL;
}

void model_place_text(const struct model_place *at, char text[MODEL_PLACE_TEXT])
{
    bool is_ipv6 = strchr(at->host, ':') != NULL;
    struct text t;

    text_init(&t, text, MODEL_PLACE_TEXT);
    text_add(&t, is_ipv6 ? "[" : "");
    text_add(&t, at->host);
    text_add(&t, is_ipv6 ? "]:" : ":");
    text_add_u64(&t, at->port);
}
