/* journal.h - a trace in a file: what one core was told, for `hamgr replay`.
 *
 * core/trace.h says what the bytes mean. A journal is for people who look for a cause: no promise
 * depends on it, it is never synced to disk, and a failure to write it must not stop anybody. Each
 * entry leaves with one write() before journal_append() returns, so the end of the process loses
 * none. One core and one start of the daemon to a file: the header holds what core_init() got, and
 * the first event is ON_START. Nothing here logs. */
#ifndef HAMGR_ADAPTER_JOURNAL_H
#define HAMGR_ADAPTER_JOURNAL_H

#include "base/err.h"
#include "core/trace.h"

#include <stdio.h>

struct journal_writer {
    int fd;              /* owned; -1: closed */
    uint64_t size_bytes; /* of what was written wholly */
    bool is_torn;        /* half an entry stands at the end and could not be taken back */
};

/* Makes a new file and writes the header.
 *
 * path    must not exist: a journal is never written over.
 * config  as given to core_init(); borrowed for the call.
 * ret_w   set on HM_OK; then journal_writer_done() is due.
 *
 * HM_BAD_INPUT (a config that cannot be replayed), HM_NO_SPACE, HM_FAILED. On failure no file of
 * ours is left behind. */
enum hm_rc journal_create(const char *path, const struct core_config *config,
                          struct journal_writer *ret_w, struct hm_err *err) HM_MUST_CHECK;

/* Adds an event that core_step() took. May block as long as the file's disk does.
 *
 * HM_BAD_INPUT (the event is malformed), HM_NO_SPACE, HM_FAILED. After a failure the journal ends
 * with the last entry that was written wholly and can be added to; only if that could not be
 * achieved does every later call fail. */
enum hm_rc journal_append(struct journal_writer *w, const struct core_event *ev,
                          struct hm_err *err) HM_MUST_CHECK;

/* Closes the file; also after a failed journal_create(), also twice. */
void journal_writer_done(struct journal_writer *w);

struct journal_reader {
    FILE *file;       /* owned; NULL: closed */
    uint64_t entries; /* read so far */
    struct core_config config;
    struct trace_storage storage; /* of the newest event */
};

/* Opens a journal and reads its header into ret_r->config.
 *
 * ret_r  overwritten; journal_reader_done() is due in any case.
 *
 * HM_BAD_INPUT (no journal, of another format, garbled), HM_FAILED. */
enum hm_rc journal_open(const char *path, struct journal_reader *ret_r,
                        struct hm_err *err) HM_MUST_CHECK;

/* Reads the next event.
 *
 * ret_ev      set on HM_OK if there is one; its pointers lead into r until the next call.
 * ret_is_end  set on HM_OK: true, and ret_ev untouched, after the last entry.
 *
 * HM_BAD_INPUT (an entry is garbled or, when the writer's disk failed or the reader is early, cut
 * short; the text says which one), HM_FAILED. After a failure nothing more can be read. */
enum hm_rc journal_next(struct journal_reader *r, struct core_event *ret_ev, bool *ret_is_end,
                        struct hm_err *err) HM_MUST_CHECK;

/* Closes the file; also after a failed journal_open(), also twice. */
void journal_reader_done(struct journal_reader *r);

#endif
