/* wire.h - frames between members as bytes, and the voter's state as bytes for the disk.
 *
 * A frame is a protobuf message (hamgr.proto) behind its length: four bytes, high one first. The
 * format is versioned by what protobuf skips: a field that a reader does not know is left out, so
 * that members of neighbouring versions work together. Limits come first: nothing longer than
 * WIRE_FRAME_MAX is looked at, lists are checked against hamgr's own limits, and what comes out has
 * passed msg_check() or record_check(). Nothing is allocated from the heap: protobuf-c gets an
 * arena of the caller. No I/O, no logging. */
#ifndef HAMGR_WIRE_WIRE_H
#define HAMGR_WIRE_WIRE_H

#include "base/err.h"
#include "core/msg.h"
#include "core/voter.h"

enum {
    WIRE_LENGTH = 4,                     /* bytes in front of every frame */
    WIRE_FRAME_MAX = 64 * 1024,          /* bytes of a frame without them */
    WIRE_TEXT_MAX = 48 * 1024,           /* bytes of a call's or a reply's text */
    WIRE_LOG_MAX = 32 * 1024,            /* bytes of a piece of a log */
    WIRE_STATE_MAX = 8 * 1024,           /* bytes of a voter's state */
    WIRE_VERSION = 1,                    /* of this program; neighbours are understood */
    WIRE_ARENA_MAX = 4 * WIRE_FRAME_MAX, /* bytes for what protobuf-c makes of a frame */
};

/* A service as a member is configured with it: a witness learns of it in no other way. */
struct wire_service {
    char name[HM_NAME_MAX];
    struct record first; /* epoch 0: the record that a new cluster would begin with; else its
                          * speaker begins none: it has a record, or waits to be added */
};

enum { WIRE_RIVAL_MAX = 64 }; /* an address without its port */

/* The first frame in each direction: who is there. */
struct wire_hello {
    uint32_t version;
    char software[24]; /* "hamgr 0.1" : for people */
    char cluster[HM_NAME_MAX];
    char from[HM_NAME_MAX];     /* member that speaks */
    char to[HM_NAME_MAX];       /* member that it believes to speak to; empty in an answer */
    uint64_t incarnation;       /* of the one that speaks */
    uint64_t instance;          /* of its program, drawn at each start; 0: an older one has none */
    char rival[WIRE_RIVAL_MAX]; /* host of another one that says to be who this is sent to, and is
                                 * heard: see net/twin.c; "": none */
    uint8_t services_n;
    const struct wire_service
        *service; /* borrowed; what the speaker is configured with, by number */
};

enum wire_type {
    WIRE_HELLO,
    WIRE_MSG,       /* between cores */
    WIRE_CALL,      /* a request of the command line, passed on: JSON text */
    WIRE_REPLY,     /* its answer */
    WIRE_LOG_ASK,   /* a piece of a dead server's log, please (tail rescue) */
    WIRE_LOG_PIECE, /* here it is */
};

/* A call that every member answers, a witness too, before it is added: the command, and the
 * incarnation of the cluster that it would vote in. HM_REFUSED: its votes are of one before. */
#define CALL_MEMBER_FIT "member_fit"
#define CALL_CLUSTER_INCARNATION "cluster_incarnation"

struct wire_frame {
    enum wire_type type;
    union {
        const struct wire_hello *hello; /* borrowed: of the storage, or of the caller */
        struct msg msg;                 /* its record likewise */
        struct {
            uint64_t id;      /* chosen by the caller, echoed in the reply */
            const char *text; /* borrowed; NUL-terminated */
        } call;               /* and reply */
        struct {
            uint8_t service;
            uint64_t id; /* chosen by who asks, echoed */
            struct ballot ballot;
            struct position at;
            uint32_t size;        /* wanted; of a piece: what there is, 0: it is not given */
            const uint8_t *bytes; /* of a piece; borrowed: of the storage, or of the caller */
        } log;
    };
};

/* Where wire_unpack() puts what a frame points into. One for each program is enough: it is
 * overwritten by the next call. About 350 KiB, of which a usual frame touches a few, so not for the
 * stack. */
struct wire_storage {
    struct wire_hello hello;
    struct wire_service service[HM_SERVICES_MAX];
    struct record record;
    char text[WIRE_TEXT_MAX + 1];
    size_t arena_used;
    _Alignas(16) uint8_t arena[WIRE_ARENA_MAX];
};

/* Writes length and frame.
 *
 * buffer, size  of the caller; WIRE_LENGTH + WIRE_FRAME_MAX bytes are always enough.
 * ret_used      set on HM_OK: bytes written.
 *
 * HM_NO_SPACE: the buffer is too small, or a text is longer than WIRE_TEXT_MAX, or a piece of a log
 * than WIRE_LOG_MAX. */
enum hm_rc wire_pack(const struct wire_frame *f, uint8_t *buffer, size_t size, size_t *ret_used,
                     struct hm_err *err) HM_MUST_CHECK;

/* Reads a frame without its length.
 *
 * ret_frame  set on HM_OK; its pointers lead into storage until the next call.
 *
 * HM_BAD_INPUT: not a frame, over a limit, or a message that msg_check() refuses. A frame of a type
 * that a newer version may have invented: HM_REFUSED; skip it and go on. */
enum hm_rc wire_unpack(const uint8_t *bytes, size_t size, struct wire_storage *storage,
                       struct wire_frame *ret_frame, struct hm_err *err) HM_MUST_CHECK;

/* The voter's state as bytes, with format, checksum and the name of the service in it; and back.
 * HM_BAD_INPUT: torn, garbled, of a newer format, or of another service. */
enum hm_rc wire_pack_state(const struct voter_state *state, const char *service, uint8_t *buffer,
                           size_t size, size_t *ret_used, struct hm_err *err) HM_MUST_CHECK;
enum hm_rc wire_unpack_state(const uint8_t *bytes, size_t size, const char *service,
                             struct wire_storage *storage, struct voter_state *ret,
                             struct hm_err *err) HM_MUST_CHECK;

#endif
