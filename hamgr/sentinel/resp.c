#include "sentinel/resp.h"

#include <string.h>

enum { DIGITS_MAX = 20 };

/* --- small things -------------------------------------------------------------------------------
 */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool resp_is(const struct resp_word *w, const char *text)
{
    for (size_t i = 0; i < w->n; i++)
        if (text[i] == '\0' || lower(w->at[i]) != lower(text[i]))
            return false;
    return text[w->n] == '\0';
}

bool resp_number_of(const struct resp_word *w, int64_t *ret)
{
    bool is_negative = w->n > 0 && w->at[0] == '-';
    size_t first = is_negative ? 1 : 0;
    uint64_t number = 0;

    if (w->n == first || w->n - first > DIGITS_MAX - 1)
        return false;
    if (w->at[first] == '0' && w->n > 1)
        return false;
    for (size_t i = first; i < w->n; i++) {
        if (w->at[i] < '0' || w->at[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(w->at[i] - '0');
    }
    if (number > INT64_MAX)
        return false;
    *ret = is_negative ? -(int64_t)number : (int64_t)number;
    return true;
}

static enum resp_result bad(char ret_why[RESP_ERROR_MAX], const char *why)
{
    size_t n = strlen(why);

    HM_BUG_ON(n >= RESP_ERROR_MAX);
    memcpy(ret_why, why, n + 1);
    return RESP_BAD;
}

/* --- requests: arrays ---------------------------------------------------------------------------
 */

/* Reads the length between the sign at `at` and the end of its line; *ret_next is behind it. */
enum length { LENGTH_THERE, LENGTH_NOT_THERE, LENGTH_TOO_LONG, LENGTH_NO_NUMBER };

static enum length read_length(const char *data, size_t n, size_t at, int64_t *ret,
                               size_t *ret_next)
{
    const char *end = at < n ? memchr(data + at, '\r', n - at) : NULL;
    struct resp_word digits;

    if (end == NULL)
        return n - at > RESP_LENGTH_MAX + 1 ? LENGTH_TOO_LONG : LENGTH_NOT_THERE;
    digits = (struct resp_word){ .at = data + at + 1, .n = (size_t)(end - data) - at - 1 };
    if (digits.n > RESP_LENGTH_MAX)
        return LENGTH_TOO_LONG;
    *ret_next = (size_t)(end - data) + 2;
    if (*ret_next > n)
        return LENGTH_NOT_THERE;
    return resp_number_of(&digits, ret) ? LENGTH_THERE : LENGTH_NO_NUMBER;
}

static enum resp_result wrong_sign(char sign, char ret_why[RESP_ERROR_MAX])
{
    char text[] = "Protocol error: expected '$', got '?'";

    text[sizeof text - 3] = sign >= ' ' && sign <= '~' ? sign : '?';
    return bad(ret_why, text);
}

/* A word of an array begins at *at, which moves behind it. */
static enum resp_result parse_word(const char *data, size_t n, size_t *at, struct resp_word *ret,
                                   char ret_why[RESP_ERROR_MAX])
{
    size_t next = 0;
    int64_t length = 0;
    enum length is;

    if (*at >= n)
        return RESP_MORE;
    if (data[*at] != '$')
        return wrong_sign(data[*at], ret_why);
    is = read_length(data, n, *at, &length, &next);
    if (is == LENGTH_NOT_THERE)
        return RESP_MORE;
    if (is == LENGTH_TOO_LONG)
        return bad(ret_why, "Protocol error: too big bulk count string");
    if (is == LENGTH_NO_NUMBER || length < 0 || length > RESP_COMMAND_MAX ||
        next + (size_t)length + 2 > RESP_COMMAND_MAX)
        return bad(ret_why, "Protocol error: invalid bulk length");
    if (next + (size_t)length + 2 > n)
        return RESP_MORE;
    *ret = (struct resp_word){ .at = data + next, .n = (size_t)length };
    *at = next + (size_t)length + 2;
    return RESP_COMMAND;
}

static enum resp_result parse_array(const char *data, size_t n, size_t words_max,
                                    struct resp_command *ret, size_t *ret_consumed,
                                    char ret_why[RESP_ERROR_MAX])
{
    enum resp_result result;
    int64_t words = 0;
    size_t at = 0;
    enum length is = read_length(data, n, 0, &words, &at);

    if (is == LENGTH_NOT_THERE)
        return RESP_MORE;
    if (is == LENGTH_TOO_LONG)
        return bad(ret_why, "Protocol error: too big mbulk count string");
    if (is == LENGTH_NO_NUMBER || words > RESP_WORDS_MAX)
        return bad(ret_why, "Protocol error: invalid multibulk length");
    if (words > 0 && (size_t)words > words_max)
        return bad(ret_why, "Protocol error: unauthenticated multibulk length");
    for (ret->words_n = 0; (int64_t)ret->words_n < words; ret->words_n++) {
        result = parse_word(data, n, &at, &ret->word[ret->words_n], ret_why);
        if (result != RESP_COMMAND)
            return result;
    }
    *ret_consumed = at;
    return RESP_COMMAND;
}

/* --- requests: lines ----------------------------------------------------------------------------
 */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

static int hex_of(char c)
{
    c = lower(c);
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash in double quotes; *from moves behind it. */
static char unescape(const char *line, size_t n, size_t *from)
{
    static const char names[] = "nrtba", means[] = "\n\r\t\b\a";
    char c = line[*from];
    const char *name = memchr(names, c, sizeof names - 1);

    if (c == 'x' && *from + 2 < n && hex_of(line[*from + 1]) >= 0 && hex_of(line[*from + 2]) >= 0) {
        c = (char)(hex_of(line[*from + 1]) * 16 + hex_of(line[*from + 2]));
        *from += 3;
        return c;
    }
    (*from)++;
    return name != NULL ? means[name - names] : c;
}

/* A quoted part begins at *from; its text goes to *to. False: it does not end. */
static bool take_quoted(char *line, size_t n, size_t *from, size_t *to)
{
    char quote = line[(*from)++];

    while (*from < n && line[*from] != quote) {
        if (line[*from] == '\\' && *from + 1 < n && quote == '"') {
            (*from)++;
            line[(*to)++] = unescape(line, n, from);
        } else if (line[*from] == '\\' && *from + 1 < n && line[*from + 1] == '\'') {
            line[(*to)++] = '\'';
            *from += 2;
        } else {
            line[(*to)++] = line[(*from)++];
        }
    }
    if (*from >= n)
        return false;
    (*from)++;
    return *from >= n || is_blank(line[*from]);
}

static enum resp_result parse_line(char *data, size_t n, size_t words_max, struct resp_command *ret,
                                   size_t *ret_consumed, char ret_why[RESP_ERROR_MAX])
{
    size_t seen = n < RESP_COMMAND_MAX ? n : RESP_COMMAND_MAX;
    const char *end = memchr(data, '\n', seen);
    size_t length, from = 0, to;

    if (end == NULL)
        return n < RESP_COMMAND_MAX ? RESP_MORE
                                    : bad(ret_why, "Protocol error: too big inline request");
    length = (size_t)(end - data);
    *ret_consumed = length + 1;
    ret->words_n = 0;
    for (;;) {
        while (from < length && is_blank(data[from]))
            from++;
        if (from >= length)
            return RESP_COMMAND;
        if (ret->words_n == words_max)
            return bad(ret_why, "Protocol error: too big inline request");
        to = from;
        ret->word[ret->words_n].at = data + from;
        while (from < length && !is_blank(data[from])) {
            if (data[from] != '"' && data[from] != '\'')
                data[to++] = data[from++];
            else if (!take_quoted(data, length, &from, &to))
                return bad(ret_why, "Protocol error: unbalanced quotes in request");
        }
        ret->word[ret->words_n].n = (size_t)(data + to - ret->word[ret->words_n].at);
        ret->words_n++;
    }
}

enum resp_result resp_parse(char *data, size_t n, size_t words_max, struct resp_command *ret,
                            size_t *ret_consumed, char ret_why[RESP_ERROR_MAX])
{
    enum resp_result result = RESP_MORE;

    if (n > 0)
        result = data[0] == '*' ? parse_array(data, n, words_max, ret, ret_consumed, ret_why)
                                : parse_line(data, n, words_max, ret, ret_consumed, ret_why);
    if (result == RESP_MORE && n >= RESP_COMMAND_MAX)
        return bad(ret_why, "Protocol error: invalid multibulk length");
    return result;
}

/* --- replies ------------------------------------------------------------------------------------
 */

void resp_out_init(struct resp_out *o, char *buffer, size_t size, bool is_resp3)
{
    *o = (struct resp_out){ .at = buffer, .size = size, .is_resp3 = is_resp3 };
}

static void put(struct resp_out *o, const char *bytes, size_t n)
{
    if (o->is_full || n > o->size - o->n) {
        o->is_full = true;
        return;
    }
    if (n > 0)
        memcpy(o->at + o->n, bytes, n);
    o->n += n;
}

/* digits[] is filled from its end; the first one is returned. */
static const char *print_u64(uint64_t number, char digits[DIGITS_MAX + 1])
{
    char *at = digits + DIGITS_MAX;

    *at = '\0';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return at;
}

static void put_head(struct resp_out *o, char sign, uint64_t number)
{
    char digits[DIGITS_MAX + 1];
    const char *at = print_u64(number, digits);

    put(o, &sign, 1);
    put(o, at, strlen(at));
    put(o, "\r\n", 2);
}

static void put_line(struct resp_out *o, char sign, const char *text)
{
    put(o, &sign, 1);
    for (; *text != '\0'; text++)
        put(o, *text == '\r' || *text == '\n' ? " " : text, 1);
    put(o, "\r\n", 2);
}

void resp_put_simple(struct resp_out *o, const char *text)
{
    put_line(o, '+', text);
}

void resp_put_error(struct resp_out *o, const char *text)
{
    put_line(o, '-', text);
}

void resp_put_number(struct resp_out *o, int64_t number)
{
    char digits[DIGITS_MAX + 1];
    uint64_t magnitude = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    const char *at = print_u64(magnitude, digits);

    put(o, number < 0 ? ":-" : ":", number < 0 ? 2 : 1);
    put(o, at, strlen(at));
    put(o, "\r\n", 2);
}

void resp_put_bulk(struct resp_out *o, const char *bytes, size_t n)
{
    put_head(o, '$', n);
    put(o, bytes, n);
    put(o, "\r\n", 2);
}

void resp_put_text(struct resp_out *o, const char *text)
{
    resp_put_bulk(o, text, strlen(text));
}

void resp_put_u64(struct resp_out *o, uint64_t number)
{
    char digits[DIGITS_MAX + 1];

    resp_put_text(o, print_u64(number, digits));
}

void resp_put_verbatim(struct resp_out *o, const char *text, size_t n)
{
    static const char kind[] = { 't', 'x', 't', ':' };

    if (!o->is_resp3) {
        resp_put_bulk(o, text, n);
        return;
    }
    put_head(o, '=', n + sizeof kind);
    put(o, kind, sizeof kind);
    put(o, text, n);
    put(o, "\r\n", 2);
}

void resp_put_null(struct resp_out *o)
{
    put(o, o->is_resp3 ? "_\r\n" : "$-1\r\n", o->is_resp3 ? 3 : 5);
}

void resp_put_null_array(struct resp_out *o)
{
    put(o, o->is_resp3 ? "_\r\n" : "*-1\r\n", o->is_resp3 ? 3 : 5);
}

void resp_put_array(struct resp_out *o, size_t n)
{
    put_head(o, '*', n);
}

void resp_put_map(struct resp_out *o, size_t n)
{
    put_head(o, o->is_resp3 ? '%' : '*', o->is_resp3 ? n : 2 * n);
}

void resp_put_push(struct resp_out *o, size_t n)
{
    put_head(o, o->is_resp3 ? '>' : '*', n);
}
