#include "core/effect.h"

const char *core_effect_name(enum core_effect_type type)
{
    static const char *const names[] = {
#define X(name, text) [name] = text,
        CORE_EFFECTS(X)
#undef X
    };

    return (unsigned)type < CORE_EFFECTS_N ? names[type] : "?";
}

bool effect_is_copy_operation(enum core_effect_type type)
{
    return type >= DO_START && type <= DO_MARKER;
}

/* What only waits, or only sets what the next operation sets again. */
bool effect_can_be_given_up(enum core_effect_type type)
{
    return type == DO_FOLLOW || type == DO_FREEZE || type == DO_FETCH || type == DO_CHECKPOINT ||
           type == DO_SET_NAMES || type == DO_PROVE || type == DO_MARKER;
}

bool effect_is_same(const struct core_effect *a, const struct core_effect *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == DO_SET_NAMES || a->type == DO_MARKER)
        return a->names.names == b->names.names &&
               pair_digest(&a->names.pair) == pair_digest(&b->names.pair);
    return a->copy.member == b->copy.member && a->copy.timeline == b->copy.timeline &&
           a->copy.epoch == b->copy.epoch && a->copy.upto.offset == b->copy.upto.offset;
}
