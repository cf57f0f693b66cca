/* ad_fence.h - hamgrd's end of the socket to hamgr-fence, for one service.
 *
 * Connects, connects again when the helper went away, or starts it as a child where the settings
 * say so. Never waits: what is asked for goes out at once or, without a connection, is forgotten
 * (the core asks again). Reports are passed on as they come. */
#ifndef HAMGR_ADAPTER_AD_FENCE_H
#define HAMGR_ADAPTER_AD_FENCE_H

#include "base/err.h"
#include "fence/verbs.h"

#include <event2/event.h>

struct ad_fence;

/* A report came (is_there), or the helper is gone (not is_there; the report holds the last known).
 */
typedef void ad_fence_heard(void *ctx, bool is_there, const struct fence_report *report);

struct ad_fence_config {
    struct event_base *base;       /* borrowed */
    const char *socket;            /* path of the helper's socket; copied */
    const char *service;           /* copied */
    const char *const *child_argv; /* how to start it as a child; NULL: it runs by itself */
    ad_fence_heard *on_report;
    void *ctx;
};

enum hm_rc ad_fence_new(const struct ad_fence_config *config, struct ad_fence **ret,
                        struct hm_err *err) HM_MUST_CHECK;
void ad_fence_free(struct ad_fence *f);

/* Sends a request; the seq is filled in here. False: no connection now. */
bool ad_fence_ask(struct ad_fence *f, const struct fence_request *request);

/* True while a connection stands and the helper answered its last request within timeout_ms. */
bool ad_fence_answers(const struct ad_fence *f, hm_ms now_ms, hm_ms timeout_ms);

#endif
