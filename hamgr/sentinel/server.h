/* server.h - the Sentinel endpoint on its port: connections, limits, and events on their way out.
 *
 * It shares the loop with what keeps the service alive, so nothing here takes long: no more than
 * SENTINEL_SLICE_US at a time, a few requests of each client in turn, a few subscribers at a time,
 * and all of it as events of the lowest priority (SENTINEL_PRIORITY) of a base that has three.
 *
 * What a client may cost: its input is at most one request (RESP_COMMAND_MAX); while its replies
 * cannot leave, it is not read; a subscriber whose events do not leave is cut off at
 * SENTINEL_OUT_MAX, or when it took nothing for SENTINEL_SLOW_S, or when all buffers together reach
 * SENTINEL_BUFFERS_MAX. An idle one costs no buffer at all. */
#ifndef HAMGR_SENTINEL_SERVER_H
#define HAMGR_SENTINEL_SERVER_H

#include "base/err.h"
#include "sentinel/model.h"

#include <event2/event.h>

struct sentinel_server;

enum {
    SENTINEL_PRIORITY = 2, /* of three */
    SENTINEL_SLICE_US = 500,
    SENTINEL_OUT_MAX = 256 << 10,
    SENTINEL_BUFFERS_MAX = 32 << 20,
    SENTINEL_SLOW_S = 30,
    SENTINEL_IDLE_MS =
        600000, /* a client that says nothing for so long and subscribed to nothing */
    SENTINEL_LISTENS_MAX = 2,
    SENTINEL_FILES_KEPT = 512,  /* descriptors that clients may not use up */
    SENTINEL_ACCEPTED_MS = 500, /* a FAILOVER that was not refused within this has begun */
};

struct sentinel_config {
    struct event_base *base; /* borrowed; with the lowest priority SENTINEL_PRIORITY or higher */
    const char *listen[SENTINEL_LISTENS_MAX]; /* literal addresses; the first is needed, the second,
                                               * if not NULL, only tried; copied */
    uint16_t port;                            /* 0: the kernel chooses, for tests */
    unsigned clients_max;
    hm_ms idle_ms;        /* 0: SENTINEL_IDLE_MS */
    const char *password; /* copied; NULL: none */
    /* Begin a switchover: sentinel_server_answer() with that ticket tells how it ended. False: not
     * now. */
    bool (*failover)(void *ctx, uint64_t ticket, const char *master);
    void *ctx;
};

/* A port that is taken is no failure: it is tried again every few seconds, and
 * sentinel_server_trouble() says so meanwhile. */
enum hm_rc sentinel_server_new(const struct sentinel_config *config, struct sentinel_server **ret,
                               struct hm_err *err) HM_MUST_CHECK;
/* NULL is fine. Not from within a callback of it. */
void sentinel_server_free(struct sentinel_server *s);

/* From now on it answers from this snapshot, which is copied, and publishes what changed. */
void sentinel_server_show(struct sentinel_server *s, const struct model *model);
/* Answers a FAILOVER: error NULL: it is done or under way. Tickets that are answered already, or
 * whose client has left, are fine. */
void sentinel_server_answer(struct sentinel_server *s, uint64_t ticket, const char *error);

/* Why it does not listen; "": it does. */
const char *sentinel_server_trouble(const struct sentinel_server *s);
/* The port that it listens on; 0: none yet. */
uint16_t sentinel_server_port(const struct sentinel_server *s);

struct sentinel_counts {
    unsigned clients, subscribers;
    unsigned clients_max;    /* as descriptors allow */
    uint64_t rejected, slow; /* clients too many; cut off because they did not read */
    size_t buffered;         /* bytes, of all clients */
};
void sentinel_server_count(const struct sentinel_server *s, struct sentinel_counts *ret);

#endif
