/* trace.h - a run as compact bytes, so that it can be recorded and replayed.
 *
 * A trace is a header, which holds what core_init() was given, and then an entry for each event
 * that core_step() took. Fed to another core in the same order they give the same effects. The
 * bytes depend neither on the host's byte order nor on the layout of a struct:
 *
 *     trace  = "HMTR", number of the format (1 byte), frame of the config, frames of events
 *     frame  = length of the body (2 bytes, low one first), body, CRC-32C of the body (4 bytes)
 *     body   = numbers as base-128 varints in their shortest form, low bits first; signed ones
 *              zigzag; truths as 0 or 1; texts and lists as their length and what is in them
 *
 * Everything here works on buffers of the caller: no I/O (adapter/journal.h does that), no
 * allocation, no clock. Bytes from outside are never trusted: a limit is checked before anything
 * is read, and nothing is read beyond the buffer. */
#ifndef HAMGR_CORE_TRACE_H
#define HAMGR_CORE_TRACE_H

#include "core/core.h"

/* Rises with every change of what a body holds; another number is refused. */
#define TRACE_FORMAT 7

enum {
    TRACE_PREFIX = 2,                                    /* bytes of a frame's length */
    TRACE_BODY_MAX = 4096,                               /* bytes of a body */
    TRACE_ENTRY_MAX = TRACE_PREFIX + TRACE_BODY_MAX + 4, /* bytes of an entry */
    TRACE_MAGIC = 5,                                     /* bytes of magic and format */
    TRACE_HEADER_MAX = TRACE_MAGIC + TRACE_ENTRY_MAX,    /* bytes of the header */
};

/* What an event that was read points into; it must live as long as the event is used. */
struct trace_storage {
    struct record record;     /* of a message */
    struct voter_state state; /* of ON_START */
};

/* Writes the header. Bytes of a text after its end, and list elements beyond their number, are
 * not kept: nobody looks at them.
 *
 * buffer, size  of the caller; TRACE_HEADER_MAX bytes are always enough.
 * ret_used      set on HM_OK: bytes written.
 *
 * HM_BAD_INPUT: the config could not be read again; *ret_why is a constant string that says why.
 * HM_NO_SPACE: the buffer is too small. On failure the buffer's content means nothing. */
enum hm_rc trace_put_config(const struct core_config *config, uint8_t *buffer, size_t size,
                            size_t *ret_used, const char **ret_why) HM_MUST_CHECK;

/* Reads the header.
 *
 * bytes, size  borrowed; what comes after the header is not looked at.
 * ret_config   overwritten on HM_OK, otherwise untouched.
 * ret_used     set on HM_OK: bytes of the header.
 *
 * HM_BAD_INPUT: the bytes are no header of this format, are cut short, garbled, or hold a config
 * that no core may be given; *ret_why is a constant string that says why. */
enum hm_rc trace_get_config(const uint8_t *bytes, size_t size, struct core_config *ret_config,
                            size_t *ret_used, const char **ret_why) HM_MUST_CHECK;

/* Writes one entry. Only events that core_event_check() lets pass are written: a core refuses
 * the others as well. Fields that the kind of an order does not use, and the record of a voter
 * that has accepted nothing, are not kept.
 *
 * buffer, size  of the caller; TRACE_ENTRY_MAX bytes are always enough.
 * ret_used      set on HM_OK: bytes written.
 *
 * HM_BAD_INPUT with *ret_why, or HM_NO_SPACE; then the buffer's content means nothing. */
enum hm_rc trace_put_event(const struct core_event *ev, uint8_t *buffer, size_t size,
                           size_t *ret_used, const char **ret_why) HM_MUST_CHECK;

/* Reads one entry.
 *
 * bytes, size  borrowed; what comes after the entry is not looked at.
 * storage      of the caller; overwritten, also on failure.
 * ret_event    overwritten on HM_OK, otherwise untouched; its pointers lead into storage.
 * ret_used     set on HM_OK: bytes of the entry.
 *
 * HM_BAD_INPUT: the entry is cut short, garbled, too long, or core_event_check() refuses its
 * event; *ret_why is a constant string that says why. */
enum hm_rc trace_get_event(const uint8_t *bytes, size_t size, struct trace_storage *storage,
                           struct core_event *ret_event, size_t *ret_used,
                           const char **ret_why) HM_MUST_CHECK;

/* Bytes of the frame that begins with these: for readers that fetch a frame piece by piece. More
 * than TRACE_ENTRY_MAX means that it is none. */
size_t trace_frame_size(const uint8_t prefix[TRACE_PREFIX]);

/* CRC-32C of the bytes, as it ends each frame. */
uint32_t trace_checksum(const uint8_t *bytes, size_t size);

#endif
