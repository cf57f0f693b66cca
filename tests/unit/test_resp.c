#include "sentinel/resp.h"

#include "tests/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a request came to: its words, each followed by '|', or "more", or the error. */
static char told[4096];
static size_t consumed;

static const char *parsed_of(const char *data, size_t n, size_t words_max)
{
    static struct resp_command c;
    char why[RESP_ERROR_MAX];
    char *copy = malloc(n + 1); /* exactly as long: the sanitizer sees what is read beyond it */
    size_t at = 0;

    memcpy(copy, data, n);
    consumed = 0;
    switch (resp_parse(copy, n, words_max, &c, &consumed, why)) {
    case RESP_MORE:
        (void)snprintf(told, sizeof told, "more");
        break;
    case RESP_BAD:
        (void)snprintf(told, sizeof told, "%s", why);
        break;
    case RESP_COMMAND:
        told[0] = '\0';
        for (size_t i = 0; i < c.words_n; i++)
            at += (size_t)snprintf(told + at, sizeof told - at, "%.*s|", (int)c.word[i].n,
                                   c.word[i].at);
        break;
    }
    free(copy);
    return told;
}

static const char *parsed(const char *data)
{
    return parsed_of(data, strlen(data), RESP_WORDS_MAX);
}

static void arrays_of_words_are_read(void **state)
{
    (void)state;
    assert_string_equal(parsed("*1\r\n$4\r\nPING\r\n"), "PING|");
    assert_int_equal(consumed, 14);
    assert_string_equal(parsed("*2\r\n$8\r\nSENTINEL\r\n$7\r\nMASTERS\r\n*1\r\n"),
                        "SENTINEL|MASTERS|");
    assert_int_equal(consumed, 31);
    assert_string_equal(parsed("*1\r\n$0\r\n\r\n"), "|");
    assert_string_equal(parsed("*0\r\n"), "");
    assert_string_equal(parsed("*-1\r\n"), "");
    assert_string_equal(parsed("*-5\r\nPING\r\n"), "");
    assert_int_equal(consumed, 5);
}

static void lines_are_read_as_a_person_types_them(void **state)
{
    (void)state;
    assert_string_equal(parsed("PING\r\n"), "PING|");
    assert_string_equal(parsed("PING\n"), "PING|");
    assert_string_equal(parsed("  sentinel\tmasters  \r\n"), "sentinel|masters|");
    assert_string_equal(parsed("\r\n"), "");
    assert_string_equal(parsed("PING \"a b\"\r\n"), "PING|a b|");
    assert_string_equal(parsed("\"PING\" \"\\x61\\n\\\"q\\q\"\r\n"), "PING|a\n\"qq|");
    assert_string_equal(parsed("'PING' 'a\\'b\\n'\r\n"), "PING|a'b\\n|");
    assert_string_equal(parsed("PING \"\"\r\n"), "PING||");
    assert_string_equal(parsed("PING 'a\r\n"), "Protocol error: unbalanced quotes in request");
    assert_string_equal(parsed("PING \"a\"b\r\n"), "Protocol error: unbalanced quotes in request");
    assert_string_equal(parsed("PING \"a\\"), "more");
    assert_string_equal(parsed("PING \"a\\\n"), "Protocol error: unbalanced quotes in request");
}

/* The words are those of a real server. */
static void what_is_no_request_is_refused(void **state)
{
    static const char *const table[][2] = {
        { "*a\r\n", "Protocol error: invalid multibulk length" },
        { "*01\r\n", "Protocol error: invalid multibulk length" },
        { "*+1\r\n", "Protocol error: invalid multibulk length" },
        { "*\r\n", "Protocol error: invalid multibulk length" },
        { "*-\r\n", "Protocol error: invalid multibulk length" },
        { "*1048577\r\n", "Protocol error: invalid multibulk length" },
        { "*9223372036854775808\r\n", "Protocol error: invalid multibulk length" },
        { "*1\r\nPING\r\n", "Protocol error: expected '$', got 'P'" },
        { "*1\r\nP", "Protocol error: expected '$', got 'P'" },
        { "*1\r\n\x01", "Protocol error: expected '$', got '?'" },
        { "*1\r\n$x\r\n", "Protocol error: invalid bulk length" },
        { "*1\r\n$-1\r\n", "Protocol error: invalid bulk length" },
        { "*1\r\n$536870913\r\n", "Protocol error: invalid bulk length" },
        { "*1\r\n$00000000000000000000000000000000000000000000000000000000000000001",
          "Protocol error: too big bulk count string" },
        { "*11111111111111111111111111111111111111111111111111111111111111111",
          "Protocol error: too big mbulk count string" },
    };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(table); i++)
        assert_string_equal(parsed(table[i][0]), table[i][1]);
}

static void a_request_that_is_cut_anywhere_is_waited_for(void **state)
{
    static const char *const whole[] = { "*2\r\n$4\r\nPING\r\n$3\r\na\rb\r\n", "PING \"a b\"\r\n",
                                         "*-1\r\n", "*3\r\n$0\r\n\r\n$1\r\nx\r\n$0\r\n\r\n" };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(whole); i++)
        for (size_t n = 0; n < strlen(whole[i]); n++)
            assert_string_equal(parsed_of(whole[i], n, RESP_WORDS_MAX), "more");
}

/* Both sides of each limit. */
static void requests_have_limits(void **state)
{
    static char data[RESP_COMMAND_MAX + 64];
    size_t n = 0;

    (void)state;
    n = (size_t)snprintf(data, sizeof data, "*%d\r\n", RESP_WORDS_MAX);
    for (int i = 0; i < RESP_WORDS_MAX; i++)
        n += (size_t)snprintf(data + n, sizeof data - n, "$1\r\na\r\n");
    (void)parsed_of(data, n, RESP_WORDS_MAX);
    assert_int_equal(strlen(told), 2 * RESP_WORDS_MAX);
    assert_string_equal(parsed("*257\r\n"), "Protocol error: invalid multibulk length");
    assert_string_equal(parsed_of("*10\r\n", 5, RESP_STRANGER_WORDS_MAX), "more");
    assert_string_equal(parsed_of("*11\r\n", 5, RESP_STRANGER_WORDS_MAX),
                        "Protocol error: unauthenticated multibulk length");

    /* "*1\r\n$16370\r\n" and "\r\n" are 14 bytes. */
    assert_string_equal(parsed("*1\r\n$16370\r\n"), "more");
    assert_string_equal(parsed("*1\r\n$16371\r\n"), "Protocol error: invalid bulk length");
    memset(data, 'a', sizeof data);
    assert_string_equal(parsed_of(data, RESP_COMMAND_MAX - 1, RESP_WORDS_MAX), "more");
    assert_string_equal(parsed_of(data, RESP_COMMAND_MAX, RESP_WORDS_MAX),
                        "Protocol error: too big inline request");
    memset(data, ' ', sizeof data);
    data[RESP_COMMAND_MAX - 1] = '\n';
    assert_string_equal(parsed_of(data, RESP_COMMAND_MAX, RESP_WORDS_MAX), "");
    assert_int_equal(consumed, RESP_COMMAND_MAX);
}

/* Nobody must wait for more than fits, whatever the lengths say. */
static void a_full_buffer_is_never_waited_with(void **state)
{
    static char data[RESP_COMMAND_MAX];
    size_t n = (size_t)snprintf(data, sizeof data, "*3\r\n$16357\r\n");

    (void)state;
    memset(data + n, 'a', sizeof data - n);
    memcpy(data + n + 16357, "\r\n", 2);
    memcpy(data + n + 16359, "$1\r\n", 4);
    assert_string_equal(parsed_of(data, n + 16363, RESP_WORDS_MAX), "more");
    memcpy(data + n + 16363, "a\r\n", 3);
    assert_int_equal(n + 16366, sizeof data - 6);
    assert_string_equal(parsed_of(data, n + 16366, RESP_WORDS_MAX), "more");
    memset(data + n + 16366, '$', 6);
    assert_string_equal(parsed_of(data, sizeof data, RESP_WORDS_MAX),
                        "Protocol error: invalid multibulk length");
}

static void words_are_compared_and_numbers_read(void **state)
{
    static const struct {
        const char *text;
        bool is_number;
        int64_t number;
    } table[] = { { "0", true, 0 },
                  { "26379", true, 26379 },
                  { "-7", true, -7 },
                  { "9223372036854775807", true, INT64_MAX },
                  { "9223372036854775808", false, 0 },
                  { "-0", false, 0 },
                  { "007", false, 0 },
                  { "", false, 0 },
                  { "-", false, 0 },
                  { " 1", false, 0 },
                  { "1x", false, 0 } };
    const struct resp_word w = { .at = "MASTERS", .n = 6 };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(table); i++) {
        const struct resp_word number = { .at = table[i].text, .n = strlen(table[i].text) };
        int64_t is = 0;

        assert_int_equal(resp_number_of(&number, &is), table[i].is_number);
        assert_int_equal(is, table[i].number);
    }
    assert_true(resp_is(&w, "master"));
    assert_false(resp_is(&w, "masters"));
    assert_false(resp_is(&w, "maste"));
}

static void replies_are_written_in_both_protocols(void **state)
{
    char buffer[256];
    struct resp_out o;

    (void)state;
    for (int is_resp3 = 0; is_resp3 < 2; is_resp3++) {
        resp_out_init(&o, buffer, sizeof buffer, is_resp3);
        resp_put_map(&o, 1);
        resp_put_text(&o, "a");
        resp_put_u64(&o, 12);
        resp_put_push(&o, 2);
        resp_put_null(&o);
        resp_put_null_array(&o);
        resp_put_array(&o, 3);
        resp_put_number(&o, INT64_MIN);
        resp_put_simple(&o, "OK");
        resp_put_error(&o, "ERR a\r\nb");
        resp_put_verbatim(&o, "x\n", 2);
        assert_false(o.is_full);
        buffer[o.n] = '\0';
        assert_string_equal(
            buffer, is_resp3 ? "%1\r\n$1\r\na\r\n$2\r\n12\r\n>2\r\n_\r\n_\r\n*3\r\n"
                               ":-9223372036854775808\r\n+OK\r\n-ERR a  b\r\n=6\r\ntxt:x\n\r\n"
                             : "*2\r\n$1\r\na\r\n$2\r\n12\r\n*2\r\n$-1\r\n*-1\r\n*3\r\n"
                               ":-9223372036854775808\r\n+OK\r\n-ERR a  b\r\n$2\r\nx\n\r\n");
    }
}

static void a_reply_too_long_is_noticed(void **state)
{
    char buffer[8];
    struct resp_out o;

    (void)state;
    resp_out_init(&o, buffer, sizeof buffer, false);
    resp_put_text(&o, "ab");
    assert_false(o.is_full);
    resp_out_init(&o, buffer, sizeof buffer, false);
    resp_put_text(&o, "abc");
    assert_true(o.is_full);
    resp_put_simple(&o, "");
    assert_true(o.n <= sizeof buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_of_words_are_read),
        cmocka_unit_test(lines_are_read_as_a_person_types_them),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(a_request_that_is_cut_anywhere_is_waited_for),
        cmocka_unit_test(requests_have_limits),
        cmocka_unit_test(a_full_buffer_is_never_waited_with),
        cmocka_unit_test(words_are_compared_and_numbers_read),
        cmocka_unit_test(replies_are_written_in_both_protocols),
        cmocka_unit_test(a_reply_too_long_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
