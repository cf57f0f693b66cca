#include "sentinel/pubsub.h"

#include "sentinel/glob.h"
#include "tests/cm.h"

#include <string.h>

static bool fits(const char *pattern, const char *text)
{
    return glob_fits(pattern, strlen(pattern), text, strlen(text));
}

/* Each row was asked of redis-server 7.0.15 (KEYS PATTERN with that key). */
static void patterns_mean_what_redis_means(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool fits;
    } table[] = {
        { "*", "+switch-master", true },
        { "+switch-master", "+switch-master", true },
        { "switch-master", "+switch-master", false },
        { "+switch-maste", "+switch-master", false },
        { "+switch-masters", "+switch-master", false },
        { "[-+]sdown", "+sdown", true },
        { "[-+]sdown", "-sdown", true },
        { "[-+]sdown", "sdown", false },
        { "[-+]sdown", "+odown", false },
        { "?sdown", "-sdown", true },
        { "?sdown", "sdown", false },
        { "+s*", "+sdown", true },
        { "+s*", "-sdown", false },
        { "*down", "+odown", true },
        { "*down*", "+odown", true },
        { "**o**n", "+odown", true },
        { "*a*b*c", "xaxxbxxc", true },
        { "*a*b*c", "xaxxbxxcd", false },
        { "*ab", "aab", true },
        { "a\\*b", "a*b", true },
        { "a\\*b", "axb", false },
        { "a\\", "a\\", true },
        { "\\a", "a", true },
        { "[a-c]x", "bx", true },
        { "[c-a]x", "bx", true },
        { "[a-c]x", "dx", false },
        { "[^a-c]x", "dx", true },
        { "[^a-c]x", "bx", false },
        { "[^]x", "bx", true },
        { "[a-]", "a", true },
        { "[a-]", "^", true },
        { "[a-]", "-", false },
        { "[\\]]", "]", true },
        { "[]a", "a", false },
        { "[a", "a", true },
        { "[^a", "a", false },
        { "[", "[", false },
        { "[^", "x", true },
        { "[a\\", "\\", true },
        { "", "a", false },
        { "a*", "a", true },
        { "a?", "a", false },
    };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(table); i++)
        if (fits(table[i].pattern, table[i].text) != table[i].fits)
            fail_msg("'%s' and '%s'", table[i].pattern, table[i].text);
    assert_true(fits("", ""));
    assert_false(fits("*", ""));
}

/* 128 bytes against 48: in a blink, although a simple matcher would take years. */
static void no_pattern_takes_long(void **state)
{
    char pattern[PUBSUB_NAME_MAX], text[PUBSUB_CHANNEL_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof pattern; i += 2)
        memcpy(pattern + i, "*a", 2);
    memset(text, 'a', sizeof text);
    for (int i = 0; i < 1000; i++)
        assert_false(glob_fits(pattern, sizeof pattern, text, sizeof text));
}

static enum pubsub_added add(struct pubsub *p, bool is_pattern, const char *name)
{
    return pubsub_add(p, is_pattern, &(struct resp_word){ .at = name, .n = strlen(name) });
}

static bool removed(struct pubsub *p, bool is_pattern, const char *name)
{
    return pubsub_remove(p, is_pattern, &(struct resp_word){ .at = name, .n = strlen(name) });
}

static void subscriptions_come_and_go(void **state)
{
    struct pubsub p = { 0 };
    struct resp_word first;

    (void)state;
    assert_int_equal(add(&p, false, "a"), PUBSUB_ADDED);
    assert_int_equal(add(&p, false, "a"), PUBSUB_ADDED);
    assert_int_equal(add(&p, true, "a"), PUBSUB_ADDED);
    assert_int_equal(p.channels_n, 1);
    assert_int_equal(p.patterns_n, 1);
    assert_true(pubsub_first(&p, true, &first));
    assert_int_equal(first.n, 1);
    assert_true(removed(&p, true, "a"));
    assert_false(removed(&p, true, "a"));
    assert_false(pubsub_first(&p, true, &first));
    assert_int_equal(pubsub_count(&p), 1);
    pubsub_done(&p);
    assert_int_equal(pubsub_count(&p), 0);
}

static void subscriptions_have_limits(void **state)
{
    char name[PUBSUB_NAME_MAX + 2];
    struct pubsub p = { 0 };

    (void)state;
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(add(&p, true, name), PUBSUB_TOO_LONG);
    assert_int_equal(add(&p, true, name + 1), PUBSUB_ADDED);
    for (char i = 1; i < PUBSUB_NAMES_MAX; i++)
        assert_int_equal(add(&p, false, (const char[]){ i, '\0' }), PUBSUB_ADDED);
    assert_int_equal(add(&p, false, "one more"), PUBSUB_TOO_MANY);
    assert_int_equal(add(&p, true, name + 1), PUBSUB_ADDED);
    pubsub_done(&p);
}

static void an_event_is_told_once_for_each_name_that_fits(void **state)
{
    char buffer[512];
    struct pubsub p = { 0 };
    struct resp_out o;

    (void)state;
    assert_int_equal(add(&p, false, "+sdown"), PUBSUB_ADDED);
    assert_int_equal(add(&p, true, "[-+]sdown"), PUBSUB_ADDED);
    assert_int_equal(add(&p, true, "sdown"), PUBSUB_ADDED);
    resp_out_init(&o, buffer, sizeof buffer, false);
    pubsub_tell(&p, "+sdown", "master m 1.2.3.4 1", &o);
    buffer[o.n] = '\0';
    assert_string_equal(buffer,
                        "*3\r\n$7\r\nmessage\r\n$6\r\n+sdown\r\n$18\r\nmaster m 1.2.3.4 1\r\n"
                        "*4\r\n$8\r\npmessage\r\n$9\r\n[-+]sdown\r\n$6\r\n+sdown\r\n"
                        "$18\r\nmaster m 1.2.3.4 1\r\n");
    resp_out_init(&o, buffer, sizeof buffer, true);
    pubsub_tell(&p, "-sdown", "x", &o);
    buffer[o.n] = '\0';
    assert_string_equal(buffer,
                        ">4\r\n$8\r\npmessage\r\n$9\r\n[-+]sdown\r\n$6\r\n-sdown\r\n$1\r\nx\r\n");
    resp_out_init(&o, buffer, sizeof buffer, true);
    pubsub_tell(&p, "+odown", "x", &o);
    assert_int_equal(o.n, 0);
    pubsub_done(&p);
}

static void events_are_kept_for_the_slow_until_they_are_overwritten(void **state)
{
    static struct pubsub_ring r;

    (void)state;
    assert_null(pubsub_look(&r, 0));
    for (int i = 0; i < PUBSUB_EVENTS_MAX; i++)
        pubsub_publish(&r, "+slave", i == 0 ? "first" : "x");
    assert_string_equal(pubsub_look(&r, 0)->payload, "first");
    assert_null(pubsub_look(&r, PUBSUB_EVENTS_MAX));
    pubsub_publish(&r, "+sdown", "last");
    assert_null(pubsub_look(&r, 0));
    assert_string_equal(pubsub_look(&r, 1)->payload, "x");
    assert_string_equal(pubsub_look(&r, PUBSUB_EVENTS_MAX)->channel, "+sdown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_mean_what_redis_means),
        cmocka_unit_test(no_pattern_takes_long),
        cmocka_unit_test(subscriptions_come_and_go),
        cmocka_unit_test(subscriptions_have_limits),
        cmocka_unit_test(an_event_is_told_once_for_each_name_that_fits),
        cmocka_unit_test(events_are_kept_for_the_slow_until_they_are_overwritten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
