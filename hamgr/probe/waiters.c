#include "probe/waiters.h"

#include "base/base.h"

#include <stdlib.h>

struct waiter {
    struct waiter *next;
    waiters_told *then;
    void *ctx;
};

/* The lists are short: walking to the end costs nothing. */
static struct waiter **end_of(struct waiter **list)
{
    while (*list != NULL)
        list = &(*list)->next;
    return list;
}

static struct waiter *take_first(struct waiter **list)
{
    struct waiter *first = *list;

    *list = first->next;
    return first;
}

void waiters_add(struct waiters *w, waiters_told *then, void *ctx)
{
    struct waiter *new = calloc(1, sizeof *new);

    HM_BUG_ON(new == NULL); /* no memory: whoever is never told would wait for ever */
    new->then = then;
    new->ctx = ctx;
    *end_of(&w->later) = new;
}

void waiters_begin(struct waiters *w)
{
    *end_of(&w->due) = w->later;
    w->later = NULL;
}

void waiters_tell(struct waiters *w)
{
    struct waiter *told = w->due;

    w->due = NULL; /* who is told may begin another round, which tells others */
    while (told != NULL) {
        struct waiter *first = take_first(&told);

        first->then(first->ctx);
        free(first);
    }
}

void waiters_done(struct waiters *w)
{
    while (w->due != NULL)
        free(take_first(&w->due));
    while (w->later != NULL)
        free(take_first(&w->later));
}
