#include "core/msg.h"

const char *msg_type_name(enum msg_type type)
{
    static const char *const names[] = {
#define X(name, text) [name] = text,
        MSG_TYPES(X)
#undef X
    };

    return (unsigned)type < MSG_TYPES_N ? names[type] : "?";
}

const char *refusal_text(enum refusal why)
{
    static const char *const texts[] = {
#define X(name, text) [name] = text,
        REFUSALS(X)
#undef X
    };

    return (unsigned)why < REFUSALS_N ? texts[why] : "?";
}

static bool is_slot(uint8_t slot)
{
    return slot < HM_MEMBERS_MAX || slot == HM_NOBODY;
}

static bool has_ballot(enum msg_type type)
{
    return type != MSG_GOSSIP && type != MSG_QUERY && type != MSG_RECORD;
}

static const char *shape_fault(const struct msg *m)
{
    if ((unsigned)m->type >= MSG_TYPES_N || m->type == MSG_NONE)
        return "type of the message";
    if (!is_slot(m->from) || !is_slot(m->to) || m->from_incarnation == 0)
        return "sender or receiver of the message";
    if (has_ballot(m->type) && (m->ballot.counter == 0 || m->ballot.counter > HM_COUNTER_MAX ||
                                m->ballot.member >= HM_MEMBERS_MAX))
        return "ballot of the message";
    if (m->promised.counter > HM_COUNTER_MAX || m->accepted.counter > HM_COUNTER_MAX)
        return "promised or accepted ballot of the message";
    if ((unsigned)m->refusal >= REFUSALS_N)
        return "refusal of the message";
    if ((unsigned)m->gossip.copy >= COPY_STATES_N || !is_slot(m->gossip.follows))
        return "gossip of the message";
    if (m->remaining_ms < 0 || m->remaining_ms > 2 * HM_TTL_MAX_MS)
        return "remaining time of the message";
    return NULL;
}

static const char *content_fault(const struct msg *m)
{
    if (m->type == MSG_ACCEPT &&
        (m->record == NULL || m->record->version != m->version || m->record->ttl_ms != m->ttl_ms))
        return "record of the message";
    if ((m->type == MSG_ACCEPT || m->type == MSG_RENEW) &&
        (m->ttl_ms < 1 || m->ttl_ms > HM_TTL_MAX_MS || m->seq == 0))
        return "ttl or seq of the message";
    if (m->record != NULL && m->type != MSG_ACCEPT && m->accepted.counter == 0)
        return "accepted ballot of the message";
    return NULL;
}

enum hm_rc msg_check(const struct msg *m, const char **ret_why)
{
    const char *why = shape_fault(m);

    if (why == NULL)
        why = content_fault(m);
    if (why == NULL)
        return m->record != NULL ? record_check(m->record, ret_why) : HM_OK;
    *ret_why = why;
    return HM_BAD_INPUT;
}
