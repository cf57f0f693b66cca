/* fuzz_verbs.c - packets of the helper's socket: what is taken has texts that end, known numbers
 * and deadlines that can be reckoned with. */
#include "fence/verbs.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool is_so)
{
    if (!is_so)
        abort();
}

static void want_deadlines(enum fence_mode mode, hm_ms suspend_ms, hm_ms until_ms)
{
    if (mode == FENCE_LEASE)
        want(suspend_ms <= until_ms && until_ms >= 0 && until_ms < INT64_MAX / 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fence_request request;
    struct fence_report report;
    const char *why = NULL;

    if (fence_request_check(data, size, &request, &why) == HM_OK) {
        want(strlen(request.service) > 0 && strlen(request.peer) < HM_ADDRESS_MAX);
        for (size_t i = 0; i < HM_MEMBERS_MAX; i++)
            want(strlen(request.peers[i]) < HM_ADDRESS_MAX);
        want(request.seq != 0 && request.verb < FENCE_VERBS_N);
        want(fence_mode_name(request.mode)[0] != '\0');
        if (request.verb == FENCE_VERB_MODE)
            want_deadlines(request.mode, request.suspend_ms, request.until_ms);
    } else {
        want(why != NULL);
    }
    if (fence_report_check(data, size, &report, &why) == HM_OK) {
        want(strlen(report.service) < HM_NAME_MAX && strlen(report.why) < FENCE_WHY_MAX);
        want(report.stopped <= report.processes);
        want_deadlines(report.mode, report.suspend_ms, report.until_ms);
    }
    return 0;
}
