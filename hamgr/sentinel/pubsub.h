/* pubsub.h - what a client subscribed to, and the events that wait to be told. No sockets.
 *
 * Events lie in one ring for all; each subscriber keeps the number of the next one that it is to be
 * told, so that thousands of them can be told a few at a time. */
#ifndef HAMGR_SENTINEL_PUBSUB_H
#define HAMGR_SENTINEL_PUBSUB_H

#include "sentinel/resp.h"

enum {
    PUBSUB_NAMES_MAX = 64,   /* channels and patterns of one client */
    PUBSUB_NAME_MAX = 128,   /* bytes of one of them */
    PUBSUB_EVENTS_MAX = 256, /* that wait for the slowest subscriber */
    PUBSUB_CHANNEL_MAX = 48, /* bytes of an event's channel, with the final NUL */
    PUBSUB_PAYLOAD_MAX = 320,
};

/* --- one client --- */

struct pubsub_name; /* inside */

/* Zero-initialised storage of the caller; pubsub_done() is due. */
struct pubsub {
    struct pubsub_name *names; /* owned list, in the order of subscription */
    unsigned channels_n;
    unsigned patterns_n;
};
void pubsub_done(struct pubsub *p);

enum pubsub_added {
    PUBSUB_ADDED, /* or it was there */
    PUBSUB_TOO_MANY,
    PUBSUB_TOO_LONG,
    PUBSUB_NO_MEMORY,
};
enum pubsub_added pubsub_add(struct pubsub *p, bool is_pattern, const struct resp_word *name);
/* False: it was not there. */
bool pubsub_remove(struct pubsub *p, bool is_pattern, const struct resp_word *name);
/* The first name of that kind; false: there is none. Borrowed from p until something changes. */
bool pubsub_first(const struct pubsub *p, bool is_pattern, struct resp_word *ret);
/* How many there are of both kinds. */
unsigned pubsub_count(const struct pubsub *p);

/* Writes the messages by which this client is told of an event; none may concern it. */
void pubsub_tell(const struct pubsub *p, const char *channel, const char *payload,
                 struct resp_out *o);

/* --- all events --- */

struct pubsub_event {
    char channel[PUBSUB_CHANNEL_MAX];
    char payload[PUBSUB_PAYLOAD_MAX];
};

struct pubsub_ring {
    uint64_t next; /* number of the next event to come */
    struct pubsub_event event[PUBSUB_EVENTS_MAX];
};
/* What does not fit is cut: both texts are made here and fit. */
void pubsub_publish(struct pubsub_ring *r, const char *channel, const char *payload);
/* The event of that number; NULL: it was overwritten, or is not there yet. */
const struct pubsub_event *pubsub_look(const struct pubsub_ring *r, uint64_t number);

#endif
