/* resp.h - the protocol of Redis' clients: requests read, replies written. Pure: bytes in, bytes
 * out.
 *
 * RESP2 and RESP3 differ in replies only. Requests are arrays of bulk strings, or lines as a person
 * types them. What real servers accept by leniency is accepted here, too; what no client of a
 * Sentinel needs (long commands, thousands of words) is refused with a real server's words. */
#ifndef HAMGR_SENTINEL_RESP_H
#define HAMGR_SENTINEL_RESP_H

#include "base/base.h"

enum {
    RESP_COMMAND_MAX = 16384, /* bytes of a request, with its lengths */
    RESP_WORDS_MAX = 256,     /* of a request */
    RESP_LENGTH_MAX = 64,     /* bytes of a line that says a length */
    RESP_ERROR_MAX = 96,
    RESP_STRANGER_WORDS_MAX = 10, /* of somebody who has not said the password yet */
};

struct resp_word {
    const char *at; /* borrowed from what was parsed; no NUL at its end */
    size_t n;
};

struct resp_command {
    size_t words_n; /* 0: an empty line, to be skipped without a reply */
    struct resp_word word[RESP_WORDS_MAX];
};

enum resp_result {
    RESP_MORE,    /* the request is not complete: come again with more behind the same bytes */
    RESP_COMMAND, /* *ret is the first request ... */
    RESP_BAD, /* no request: say why, and close, because where the next one begins is not known */
};

/* Reads the request that `data` begins with; quotes of a line are resolved in place.
 *
 * words_max     at most RESP_WORDS_MAX.
 * ret_consumed  with RESP_COMMAND: its bytes.
 * ret_why       with RESP_BAD: the text of the error reply.
 * RESP_MORE never comes for RESP_COMMAND_MAX bytes or more. */
enum resp_result resp_parse(char *data, size_t n, size_t words_max, struct resp_command *ret,
                            size_t *ret_consumed, char ret_why[RESP_ERROR_MAX]);

/* The word is `text`, in any case of letters. */
bool resp_is(const struct resp_word *w, const char *text);
/* A decimal number as Redis reads it: no blanks, no '+', no leading zeros. */
bool resp_number_of(const struct resp_word *w, int64_t *ret);

/* Replies, one behind the other in a buffer of the caller. What does not fit is left out, and
 * is_full says so: the connection is of no use then. */
struct resp_out {
    char *at; /* borrowed */
    size_t size;
    size_t n;
    bool is_full;
    bool is_resp3;
};

void resp_out_init(struct resp_out *o, char *buffer, size_t size, bool is_resp3);

void resp_put_simple(struct resp_out *o, const char *text); /* +OK; no line break in it */
void resp_put_error(struct resp_out *o, const char *text);  /* line breaks become blanks */
void resp_put_number(struct resp_out *o, int64_t number);
void resp_put_bulk(struct resp_out *o, const char *bytes, size_t n);
void resp_put_text(struct resp_out *o, const char *text); /* a bulk string */
void resp_put_u64(struct resp_out *o, uint64_t number);   /* a bulk string, too */
/* A text for people: verbatim in RESP3. */
void resp_put_verbatim(struct resp_out *o, const char *text, size_t n);
void resp_put_null(struct resp_out *o);
void resp_put_null_array(struct resp_out *o);
/* n entries follow. */
void resp_put_array(struct resp_out *o, size_t n);
/* n names with values follow: an array of twice as many in RESP2. */
void resp_put_map(struct resp_out *o, size_t n);
/* n entries that nobody asked for follow: an array in RESP2. */
void resp_put_push(struct resp_out *o, size_t n);

#endif
