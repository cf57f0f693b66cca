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
    const char *const *child_argv; /* how to start it as a child, at most 8; NULL: it runs by
                                      itself; a name without '/' lies beside this program, or in the
                                      PATH; copied */
    ad_fence_heard *on_report;
    void *ctx;
};

/* Connects from the loop of `base`, so on_report is not called before this has returned.
 * HM_BAD_INPUT: a text is too long. HM_NO_SPACE. */
enum hm_rc ad_fence_new(const struct ad_fence_config *config, struct ad_fence **ret,
                        struct hm_err *err) HM_MUST_CHECK;
/* Tells a child that it may end; it does so once no lease depends on it. */
void ad_fence_free(struct ad_fence *f);

/* Sends a request; version, seq and service are filled in here. Never calls on_report. False: no
 * connection now, or the helper does not read. A helper that is asked for nothing is greeted
 * once a second, so that one that hangs is noticed. */
bool ad_fence_ask(struct ad_fence *f, const struct fence_request *request);

/* True while a connection stands and the helper answered its last request within timeout_ms. */
bool ad_fence_answers(const struct ad_fence *f, hm_ms now_ms, hm_ms timeout_ms);

#endif
