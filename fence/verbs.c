/* verbs.c - see verbs.h. */
#include "fence/verbs.h"

#include <string.h>

/* Beyond it is no deadline, and below it no arithmetic with it overflows. */
#define FURTHEST_MS ((hm_ms)1 << 52)

/* Reading an enum or a bool that holds something else is undefined: look at the bytes before. */
static bool number_is_below(const void *packet, size_t at, unsigned int limit)
{
    unsigned int number;

    memcpy(&number, (const unsigned char *)packet + at, sizeof number);
    return number < limit;
}

static bool is_bool(const void *packet, size_t at)
{
    return ((const unsigned char *)packet)[at] <= 1;
}

static bool is_text(const void *packet, size_t at, size_t size)
{
    return memchr((const unsigned char *)packet + at, '\0', size) != NULL;
}

static const char *wrong_deadlines(hm_ms suspend_ms, hm_ms until_ms)
{
    if (until_ms < 0 || until_ms > FURTHEST_MS || suspend_ms < -FURTHEST_MS)
        return "deadline out of range";
    return suspend_ms > until_ms ? "deadlines out of order" : NULL;
}

_Static_assert(sizeof(enum fence_verb) == 4 && sizeof(enum fence_mode) == 4 &&
                   sizeof(enum hm_rc) == 4 && sizeof(bool) == 1,
               "what number_is_below() and is_bool() look at");

static const char *wrong_request(const void *packet, size_t size)
{
    uint32_t head[2];

    if (size != sizeof(struct fence_request))
        return "size";
    memcpy(head, packet, sizeof head);
    if (head[0] != FENCE_VERSION)
        return "version";
    if (head[1] == 0)
        return "number";
    if (!number_is_below(packet, offsetof(struct fence_request, verb), FENCE_VERBS_N))
        return "verb";
    if (!number_is_below(packet, offsetof(struct fence_request, mode), FENCE_PAUSED + 1))
        return "mode";
    if (!is_bool(packet, offsetof(struct fence_request, is_gate_open)))
        return "gate";
    if (!is_text(packet, offsetof(struct fence_request, service), HM_NAME_MAX))
        return "name of the service";
    if (!is_text(packet, offsetof(struct fence_request, peer), HM_ADDRESS_MAX))
        return "address";
    for (size_t i = 0; i < HM_MEMBERS_MAX; i++)
        if (!is_text(packet, offsetof(struct fence_request, peers) + i * HM_ADDRESS_MAX,
                     HM_ADDRESS_MAX))
            return "address of a member";
    return NULL;
}

enum hm_rc fence_request_check(const void *packet, size_t size, struct fence_request *ret,
                               const char **ret_why)
{
    struct fence_request r;
    const char *why = wrong_request(packet, size);

    if (why == NULL) {
        memcpy(&r, packet, sizeof r);
        if (r.service[0] == '\0')
            why = "name of the service";
        else if (r.verb == FENCE_VERB_MODE && r.mode == FENCE_NONE)
            why = "mode"; /* nobody can have told nothing */
        else if (r.verb == FENCE_VERB_MODE && r.mode == FENCE_LEASE)
            why = wrong_deadlines(r.suspend_ms, r.until_ms);
    }
    if (why != NULL) {
        *ret_why = why;
        return HM_BAD_INPUT;
    }
    *ret = r;
    return HM_OK;
}

static const char *wrong_report(const void *packet, size_t size)
{
    static const size_t bools[] = {
        offsetof(struct fence_report, is_gate_open), offsetof(struct fence_report, has_gate),
        offsetof(struct fence_report, has_lock),     offsetof(struct fence_report, has_priority),
        offsetof(struct fence_report, has_watchdog), offsetof(struct fence_report, is_held),
    };
    uint32_t version;

    if (size != sizeof(struct fence_report))
        return "size";
    memcpy(&version, packet, sizeof version);
    if (version != FENCE_VERSION)
        return "version";
    if (!number_is_below(packet, offsetof(struct fence_report, rc), HM_RC_COUNT))
        return "result";
    if (!number_is_below(packet, offsetof(struct fence_report, mode), FENCE_PAUSED + 1))
        return "mode";
    for (size_t i = 0; i < HM_ARRAY_LEN(bools); i++)
        if (!is_bool(packet, bools[i]))
            return "flag";
    if (!is_text(packet, offsetof(struct fence_report, service), HM_NAME_MAX))
        return "name of the service";
    if (!is_text(packet, offsetof(struct fence_report, why), FENCE_WHY_MAX))
        return "text";
    return NULL;
}

enum hm_rc fence_report_check(const void *packet, size_t size, struct fence_report *ret,
                              const char **ret_why)
{
    struct fence_report r;
    const char *why = wrong_report(packet, size);

    if (why == NULL) {
        memcpy(&r, packet, sizeof r);
        if (r.stopped > r.processes)
            why = "number of processes";
        else if (r.mode == FENCE_LEASE)
            why = wrong_deadlines(r.suspend_ms, r.until_ms);
    }
    if (why != NULL) {
        *ret_why = why;
        return HM_BAD_INPUT;
    }
    *ret = r;
    return HM_OK;
}
