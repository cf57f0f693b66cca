/* test_waiters.c - who asks during a round is told by the next one. */
#include "probe/waiters.h"

#include "tests/cm.h"

#include <stdio.h>
#include <string.h>

struct asker {
    struct waiters *w;
    const char *name;
    struct asker *asks; /* when it is told; NULL: nobody */
};

static char told[64];

static void on_told(void *ctx)
{
    const struct asker *a = ctx;

    (void)snprintf(told + strlen(told), sizeof told - strlen(told), "%s ", a->name);
    if (a->asks != NULL)
        waiters_add(a->w, on_told, a->asks);
}

static void assert_told(const char *names)
{
    assert_string_equal(told, names);
    told[0] = 0;
}

static void who_asks_during_a_round_is_told_by_the_next(void **state)
{
    struct waiters w = { .due = NULL };
    struct asker first = { &w, "first", NULL };
    struct asker second = { &w, "second", NULL };
    struct asker third = { &w, "third", NULL };

    (void)state;
    waiters_add(&w, on_told, &first);
    waiters_add(&w, on_told, &second);
    waiters_begin(&w);
    waiters_add(&w, on_told, &third);
    waiters_tell(&w);
    assert_told("first second ");
    waiters_tell(&w);
    assert_told("");
    waiters_begin(&w);
    waiters_tell(&w);
    assert_told("third ");
}

static void a_round_that_was_cut_short_leaves_its_waiters_to_the_next(void **state)
{
    struct waiters w = { .due = NULL };
    struct asker first = { &w, "first", NULL };
    struct asker second = { &w, "second", NULL };

    (void)state;
    waiters_add(&w, on_told, &first);
    waiters_begin(&w);
    waiters_add(&w, on_told, &second);
    waiters_begin(&w);
    waiters_tell(&w);
    assert_told("first second ");
}

static void who_is_told_may_ask_again(void **state)
{
    struct waiters w = { .due = NULL };
    struct asker again = { &w, "again", NULL };
    struct asker first = { &w, "first", &again };

    (void)state;
    waiters_add(&w, on_told, &first);
    waiters_begin(&w);
    waiters_tell(&w);
    assert_told("first ");
    waiters_begin(&w);
    waiters_tell(&w);
    assert_told("again ");
}

static void the_forgotten_are_not_told(void **state)
{
    struct waiters w = { .due = NULL };
    struct asker first = { &w, "first", NULL };
    struct asker second = { &w, "second", NULL };

    (void)state;
    waiters_add(&w, on_told, &first);
    waiters_begin(&w);
    waiters_add(&w, on_told, &second);
    waiters_done(&w);
    waiters_begin(&w);
    waiters_tell(&w);
    assert_told("");
    waiters_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_during_a_round_is_told_by_the_next),
        cmocka_unit_test(a_round_that_was_cut_short_leaves_its_waiters_to_the_next),
        cmocka_unit_test(who_is_told_may_ask_again),
        cmocka_unit_test(the_forgotten_are_not_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
