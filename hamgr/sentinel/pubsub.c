#include "sentinel/pubsub.h"

#include "base/text.h"
#include "sentinel/glob.h"

#include <stdlib.h>
#include <string.h>

struct pubsub_name {
    struct pubsub_name *next;
    bool is_pattern;
    uint8_t n;
    char text[];
};

_Static_assert(PUBSUB_NAME_MAX <= UINT8_MAX, "the length of a name fits its field");

void pubsub_done(struct pubsub *p)
{
    while (p->names != NULL) {
        struct pubsub_name *gone = p->names;

        p->names = gone->next;
        free(gone);
    }
    p->channels_n = p->patterns_n = 0;
}

/* Where the name hangs, or where a new one would. */
static struct pubsub_name **find(struct pubsub *p, bool is_pattern, const struct resp_word *name)
{
    struct pubsub_name **at = &p->names;

    while (*at != NULL && ((*at)->is_pattern != is_pattern || (*at)->n != name->n ||
                           memcmp((*at)->text, name->at, name->n) != 0))
        at = &(*at)->next;
    return at;
}

static void count(struct pubsub *p, bool is_pattern, int change)
{
    unsigned *n = is_pattern ? &p->patterns_n : &p->channels_n;

    *n = (unsigned)((int)*n + change);
}

enum pubsub_added pubsub_add(struct pubsub *p, bool is_pattern, const struct resp_word *name)
{
    struct pubsub_name **at = find(p, is_pattern, name);
    struct pubsub_name *made;

    if (*at != NULL)
        return PUBSUB_ADDED;
    if (name->n > PUBSUB_NAME_MAX)
        return PUBSUB_TOO_LONG;
    if (pubsub_count(p) >= PUBSUB_NAMES_MAX)
        return PUBSUB_TOO_MANY;
    made = malloc(sizeof *made + name->n);
    if (made == NULL)
        return PUBSUB_NO_MEMORY;
    made->next = NULL;
    made->is_pattern = is_pattern;
    made->n = (uint8_t)name->n;
    memcpy(made->text, name->at, name->n);
    *at = made;
    count(p, is_pattern, 1);
    return PUBSUB_ADDED;
}

bool pubsub_remove(struct pubsub *p, bool is_pattern, const struct resp_word *name)
{
    struct pubsub_name **at = find(p, is_pattern, name);
    struct pubsub_name *gone = *at;

    if (gone == NULL)
        return false;
    *at = gone->next;
    free(gone);
    count(p, is_pattern, -1);
    return true;
}

bool pubsub_first(const struct pubsub *p, bool is_pattern, struct resp_word *ret)
{
    for (const struct pubsub_name *s = p->names; s != NULL; s = s->next)
        if (s->is_pattern == is_pattern) {
            *ret = (struct resp_word){ .at = s->text, .n = s->n };
            return true;
        }
    return false;
}

unsigned pubsub_count(const struct pubsub *p)
{
    return p->channels_n + p->patterns_n;
}

void pubsub_tell(const struct pubsub *p, const char *channel, const char *payload,
                 struct resp_out *o)
{
    size_t n = strlen(channel);

    for (const struct pubsub_name *s = p->names; s != NULL; s = s->next) {
        if (s->is_pattern ? !glob_fits(s->text, s->n, channel, n)
                          : s->n != n || memcmp(s->text, channel, n) != 0)
            continue;
        resp_put_push(o, s->is_pattern ? 4 : 3);
        resp_put_text(o, s->is_pattern ? "pmessage" : "message");
        if (s->is_pattern)
            resp_put_bulk(o, s->text, s->n);
        resp_put_bulk(o, channel, n);
        resp_put_text(o, payload);
    }
}

void pubsub_publish(struct pubsub_ring *r, const char *channel, const char *payload)
{
    struct pubsub_event *e = &r->event[r->next % PUBSUB_EVENTS_MAX];
    struct text t;

    text_init(&t, e->channel, sizeof e->channel);
    text_add(&t, channel);
    text_init(&t, e->payload, sizeof e->payload);
    text_add(&t, payload);
    r->next++;
}

const struct pubsub_event *pubsub_look(const struct pubsub_ring *r, uint64_t number)
{
    if (number >= r->next || r->next - number > PUBSUB_EVENTS_MAX)
        return NULL;
    return &r->event[number % PUBSUB_EVENTS_MAX];
}
