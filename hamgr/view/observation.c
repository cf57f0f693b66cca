#include "view/observation.h"

const char *copy_state_name(enum copy_state s)
{
    static const char *const names[] = {
#define X(name, text) [name] = text,
        COPY_STATES(X)
#undef X
    };

    return (unsigned)s < COPY_STATES_N ? names[s] : "?";
}

const char *fence_mode_name(enum fence_mode m)
{
    static const char *const names[] = {
        [FENCE_NONE] = "none",       [FENCE_SUSPENDED] = "suspended", [FENCE_LEASE] = "lease",
        [FENCE_STANDBY] = "standby", [FENCE_PAUSED] = "paused",
    };

    return (unsigned)m < HM_ARRAY_LEN(names) ? names[m] : "?";
}
