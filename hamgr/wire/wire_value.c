#include "wire/wire_inner.h"

#include <string.h>

/* --- enums ----------------------------------------------------------------------------------- */
/* The numbers of hamgr.proto are for ever; the order of our own constants may change. */

/* clang-format off */
static const uint8_t msg_types[] = {
    [MSG_NONE]           = HAMGR__MSG_TYPE__MSG_NONE,
    [MSG_PREVOTE]        = HAMGR__MSG_TYPE__MSG_PREVOTE,
    [MSG_PREVOTE_ANSWER] = HAMGR__MSG_TYPE__MSG_PREVOTE_ANSWER,
    [MSG_PREPARE]        = HAMGR__MSG_TYPE__MSG_PREPARE,
    [MSG_PREPARE_ANSWER] = HAMGR__MSG_TYPE__MSG_PREPARE_ANSWER,
    [MSG_ACCEPT]         = HAMGR__MSG_TYPE__MSG_ACCEPT,
    [MSG_ACCEPT_ANSWER]  = HAMGR__MSG_TYPE__MSG_ACCEPT_ANSWER,
    [MSG_RENEW]          = HAMGR__MSG_TYPE__MSG_RENEW,
    [MSG_RENEW_ANSWER]   = HAMGR__MSG_TYPE__MSG_RENEW_ANSWER,
    [MSG_RELEASE]        = HAMGR__MSG_TYPE__MSG_RELEASE,
    [MSG_FREEZE]         = HAMGR__MSG_TYPE__MSG_FREEZE,
    [MSG_FREEZE_ANSWER]  = HAMGR__MSG_TYPE__MSG_FREEZE_ANSWER,
    [MSG_YIELD]          = HAMGR__MSG_TYPE__MSG_YIELD,
    [MSG_GOSSIP]         = HAMGR__MSG_TYPE__MSG_GOSSIP,
    [MSG_QUERY]          = HAMGR__MSG_TYPE__MSG_QUERY,
    [MSG_RECORD]         = HAMGR__MSG_TYPE__MSG_RECORD,
};

static const uint8_t refusals[] = {
    [REFUSE_NOTHING]          = HAMGR__REFUSAL__REFUSE_NOTHING,
    [REFUSE_HIGHER_BALLOT]    = HAMGR__REFUSAL__REFUSE_HIGHER_BALLOT,
    [REFUSE_LIVE_LEASE]       = HAMGR__REFUSAL__REFUSE_LIVE_LEASE,
    [REFUSE_QUARANTINE]       = HAMGR__REFUSAL__REFUSE_QUARANTINE,
    [REFUSE_RELEASED]         = HAMGR__REFUSAL__REFUSE_RELEASED,
    [REFUSE_JUST_PROMISED]    = HAMGR__REFUSAL__REFUSE_JUST_PROMISED,
    [REFUSE_BETTER_CANDIDATE] = HAMGR__REFUSAL__REFUSE_BETTER_CANDIDATE,
    [REFUSE_OTHER_RECORD]     = HAMGR__REFUSAL__REFUSE_OTHER_RECORD,
    [REFUSE_TTL]              = HAMGR__REFUSAL__REFUSE_TTL,
    [REFUSE_NOT_A_MEMBER]     = HAMGR__REFUSAL__REFUSE_NOT_A_MEMBER,
    [REFUSE_INCARNATION]      = HAMGR__REFUSAL__REFUSE_INCARNATION,
    [REFUSE_DISK]             = HAMGR__REFUSAL__REFUSE_DISK,
    [REFUSE_NO_COPY]          = HAMGR__REFUSAL__REFUSE_NO_COPY,
};

static const uint8_t copy_states[] = {
    [COPY_UNKNOWN]    = HAMGR__COPY_STATE__COPY_UNKNOWN,
    [COPY_ABSENT]     = HAMGR__COPY_STATE__COPY_ABSENT,
    [COPY_DOWN]       = HAMGR__COPY_STATE__COPY_DOWN,
    [COPY_STARTING]   = HAMGR__COPY_STATE__COPY_STARTING,
    [COPY_STANDBY]    = HAMGR__COPY_STATE__COPY_STANDBY,
    [COPY_PRIMARY]    = HAMGR__COPY_STATE__COPY_PRIMARY,
    [COPY_SUSPENDED]  = HAMGR__COPY_STATE__COPY_SUSPENDED,
    [COPY_REBUILDING] = HAMGR__COPY_STATE__COPY_REBUILDING,
};

static const uint8_t roles[] = {
    [ROLE_NONE]     = HAMGR__ROLE__ROLE_NONE,
    [ROLE_DB]       = HAMGR__ROLE__ROLE_DB,
    [ROLE_WITNESS]  = HAMGR__ROLE__ROLE_WITNESS,
    [ROLE_OBSERVER] = HAMGR__ROLE__ROLE_OBSERVER,
};

static const uint8_t kinds[] = {
    [SERVICE_POSTGRES] = HAMGR__KIND__KIND_POSTGRES,
    [SERVICE_REDIS]    = HAMGR__KIND__KIND_REDIS,
};

static const uint8_t durabilities[] = {
    [DURABILITY_ASYNC]  = HAMGR__DURABILITY__DURABILITY_ASYNC,
    [DURABILITY_SYNC]   = HAMGR__DURABILITY__DURABILITY_SYNC,
    [DURABILITY_STRICT] = HAMGR__DURABILITY__DURABILITY_STRICT,
};

static const uint8_t switch_phases[] = {
    [SWITCH_NONE]     = HAMGR__SWITCH_PHASE__SWITCH_NONE,
    [SWITCH_PREPARED] = HAMGR__SWITCH_PHASE__SWITCH_PREPARED,
    [SWITCH_FORCED]   = HAMGR__SWITCH_PHASE__SWITCH_FORCED,
};

static const uint8_t change_reasons[] = {
    [CHANGE_FIRST]         = HAMGR__CHANGE_REASON__CHANGE_FIRST,
    [CHANGE_LEASE_RAN_OUT] = HAMGR__CHANGE_REASON__CHANGE_LEASE_RAN_OUT,
    [CHANGE_RELEASED]      = HAMGR__CHANGE_REASON__CHANGE_RELEASED,
    [CHANGE_SWITCHOVER]    = HAMGR__CHANGE_REASON__CHANGE_SWITCHOVER,
    [CHANGE_FORCED]        = HAMGR__CHANGE_REASON__CHANGE_FORCED,
};
/* clang-format on */

_Static_assert(HM_ARRAY_LEN(msg_types) == MSG_TYPES_N, "a type of message has no number");
_Static_assert(HM_ARRAY_LEN(refusals) == REFUSALS_N, "a refusal has no number");
_Static_assert(HM_ARRAY_LEN(copy_states) == COPY_STATES_N, "a state of a copy has no number");

static const struct {
    const uint8_t *number; /* by our own value */
    unsigned n;
    const char *fault;
} enums[WIRE_ENUMS_N] = {
    [WIRE_ENUM_MSG_TYPE] = { msg_types, HM_ARRAY_LEN(msg_types), "type of the message" },
    [WIRE_ENUM_REFUSAL] = { refusals, HM_ARRAY_LEN(refusals), "refusal of the message" },
    [WIRE_ENUM_COPY_STATE] = { copy_states, HM_ARRAY_LEN(copy_states), "state of a copy" },
    [WIRE_ENUM_ROLE] = { roles, HM_ARRAY_LEN(roles), "role of a member" },
    [WIRE_ENUM_KIND] = { kinds, HM_ARRAY_LEN(kinds), "kind of a service" },
    [WIRE_ENUM_DURABILITY] = { durabilities, HM_ARRAY_LEN(durabilities), "durability" },
    [WIRE_ENUM_SWITCH_PHASE] = { switch_phases, HM_ARRAY_LEN(switch_phases),
                                 "phase of a switchover" },
    [WIRE_ENUM_CHANGE_REASON] = { change_reasons, HM_ARRAY_LEN(change_reasons),
                                  "reason of a change" },
};

void wire_note(const char **why, const char *what)
{
    if (*why == NULL)
        *why = what;
}

unsigned wire_put_enum(enum wire_enum e, unsigned value)
{
    HM_BUG_ON(value >= enums[e].n);
    return enums[e].number[value];
}

unsigned wire_get_enum(enum wire_enum e, unsigned number, const char **why)
{
    for (unsigned value = 0; value < enums[e].n; value++)
        if (enums[e].number[value] == number)
            return value;
    wire_note(why, enums[e].fault);
    return 0;
}

/* --- numbers and texts ----------------------------------------------------------------------- */

uint8_t wire_get_u8(uint32_t number, const char **why)
{
    if (number > UINT8_MAX)
        wire_note(why, "a number is out of range");
    return (uint8_t)number;
}

uint16_t wire_get_u16(uint32_t number, const char **why)
{
    if (number > UINT16_MAX)
        wire_note(why, "a number is out of range");
    return (uint16_t)number;
}

int16_t wire_get_i16(int32_t number, const char **why)
{
    if (number < INT16_MIN || number > INT16_MAX)
        wire_note(why, "a number is out of range");
    return (int16_t)number;
}

ProtobufCBinaryData wire_put_text(const char *text, size_t size)
{
    /* protobuf-c only reads what it packs, but its type has no const */
    return (ProtobufCBinaryData){ .len = strnlen(text, size), .data = (uint8_t *)(uintptr_t)text };
}

void wire_get_text(const ProtobufCBinaryData *in, char *text, size_t size, const char **why)
{
    memset(text, 0, size);
    if (in->len >= size)
        wire_note(why, "a text is too long");
    else if (in->len > 0 && memchr(in->data, 0, in->len) != NULL)
        wire_note(why, "a text has a NUL inside");
    else if (in->len > 0)
        memcpy(text, in->data, in->len);
}

Hamgr__Ballot *wire_put_ballot(Hamgr__Ballot *out, const struct ballot *b)
{
    hamgr__ballot__init(out);
    out->counter = b->counter;
    out->incarnation = b->incarnation;
    out->member = b->member;
    return b->counter != 0 || b->incarnation != 0 || b->member != 0 ? out : NULL;
}

struct ballot wire_get_ballot(const Hamgr__Ballot *in, const char **why)
{
    struct ballot b = { .counter = 0 };

    if (in != NULL) {
        b.counter = in->counter;
        b.incarnation = in->incarnation;
        b.member = wire_get_u8(in->member, why);
    }
    return b;
}

Hamgr__Position *wire_put_position(Hamgr__Position *out, const struct position *p)
{
    hamgr__position__init(out);
    out->timeline = p->timeline;
    out->offset = p->offset;
    return p->timeline != 0 || p->offset != 0 ? out : NULL;
}

struct position wire_get_position(const Hamgr__Position *in)
{
    struct position p = { .timeline = 0 };

    if (in != NULL)
        p = (struct position){ .timeline = in->timeline, .offset = in->offset };
    return p;
}

/* --- memory ---------------------------------------------------------------------------------- */

static void *arena_alloc(void *data, size_t size)
{
    struct wire_storage *s = data;
    void *room = s->arena + s->arena_used;

    if (size > sizeof s->arena - s->arena_used)
        return NULL;
    /* whole units of 16, so that everything in the arena is aligned, and never more than is left:
     * the arena itself is a multiple of that */
    s->arena_used += (size + 15) / 16 * 16;
    return room;
}

static void arena_free(void *data, void *room)
{
    (void)data;
    (void)room; /* the arena is emptied as a whole */
}

_Static_assert(WIRE_ARENA_MAX % 16 == 0, "the arena is whole units");

ProtobufCAllocator wire_arena(struct wire_storage *storage)
{
    storage->arena_used = 0;
    return (
        ProtobufCAllocator){ .alloc = arena_alloc, .free = arena_free, .allocator_data = storage };
}
