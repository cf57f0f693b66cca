#include "core/event.h"

#include <string.h>

#define EVENT_TIME_MAX_MS (INT64_MAX / 4) /* sums of times never overflow below it */

const char *core_event_name(enum core_event_type type)
{
    static const char *const names[] = {
#define X(name, text) [name] = text,
        CORE_EVENTS(X)
#undef X
    };

    return (unsigned)type < CORE_EVENTS_N ? names[type] : "?";
}

static const char *state_fault(const struct voter_state *s)
{
    const char *why = NULL;

    if (s->incarnation == 0)
        return "incarnation of the member";
    if (s->max_ttl_ms < 0 || s->max_ttl_ms > HM_TTL_MAX_MS)
        return "longest ttl";
    if (s->promised.counter > HM_COUNTER_MAX)
        return "promised ballot";
    if (s->accepted.counter == 0)
        return NULL;
    if (ballot_compare(&s->promised, &s->accepted) < 0)
        return "a promise below what is accepted";
    return record_check(&s->record, &why) == HM_OK ? NULL : why;
}

static const char *copy_fault(const struct copy *c)
{
    if ((unsigned)c->state >= COPY_STATES_N)
        return "state of the copy";
    if (c->rebuilt_percent > 100)
        return "progress of the copy";
    if ((unsigned)c->names > NAMES_PAIR || (unsigned)c->fence > FENCE_PAUSED)
        return "names or fence of the copy";
    if (c->stalled_ms < 0 || c->stalled_ms > EVENT_TIME_MAX_MS || c->hung_ms < 0 ||
        c->hung_ms > EVENT_TIME_MAX_MS)
        return "stall of the copy";
    return c->follows < HM_MEMBERS_MAX || c->follows == HM_NOBODY || c->follows == HM_STRANGER
               ? NULL
               : "member it follows";
}

static const char *order_shape_fault(const struct order *o)
{
    bool names_member =
        o->kind == ORDER_MEMBER_REMOVE || (o->kind == ORDER_SWITCHOVER && o->member != HM_NOBODY);

    if ((unsigned)o->kind > ORDER_KEEP || o->kind == ORDER_NONE || o->id == 0)
        return "kind or id of the order";
    if (names_member && o->member >= HM_MEMBERS_MAX)
        return "member of the order";
    if (o->kind == ORDER_TIMING &&
        (o->heartbeat_ms < 1 || o->ttl_ms > HM_TTL_MAX_MS || o->heartbeat_ms > o->ttl_ms / 2))
        return "ttl or heartbeat of the order";
    if (o->kind == ORDER_DURABILITY &&
        ((unsigned)o->durability > DURABILITY_STRICT || o->sync_standbys >= HM_MEMBERS_MAX))
        return "durability of the order";
    if (o->kind == ORDER_MEMBER_ADD &&
        (o->added.role == ROLE_NONE || (unsigned)o->added.role > ROLE_OBSERVER ||
         o->added.incarnation == 0 || o->added.name[0] == 0 ||
         memchr(o->added.name, 0, sizeof o->added.name) == NULL ||
         memchr(o->added.address, 0, sizeof o->added.address) == NULL))
        return "the member to add";
    return NULL;
}

enum hm_rc core_event_check(const struct core_event *ev, const char **ret_why)
{
    const char *why = NULL;

    if (ev->at_ms < 0 || ev->at_ms > EVENT_TIME_MAX_MS) {
        *ret_why = "time of the event";
        return HM_BAD_INPUT;
    }
    switch (ev->type) {
    case ON_MESSAGE:
        return msg_check(&ev->message, ret_why);
    case ON_START:
        why = ev->start.state != NULL ? state_fault(ev->start.state) : NULL;
        break;
    case ON_COPY:
        why = copy_fault(&ev->copy);
        break;
    case ON_DONE:
        why = copy_fault(&ev->done.copy);
        break;
    case ON_ORDER:
        why = order_shape_fault(&ev->order);
        break;
    case ON_TICK:
    case ON_PERSISTED:
    case ON_STALL:
        break;
    case CORE_EVENTS_N:
    default:
        why = "type of the event";
    }
    if (why == NULL)
        return HM_OK;
    *ret_why = why;
    return HM_BAD_INPUT;
}
