/* Where two logs of one timeline part: the parts that need no server. */
#include "postgres/parting.h"

#include "tests/cm.h"

#include <string.h>

static void pages_are_compared_to_the_first_byte_that_differs(void **state)
{
    unsigned char a[64], b[64];

    (void)state;
    memset(a, 7, sizeof a);
    memcpy(b, a, sizeof b);
    assert_int_equal(parting_compare(a, b, sizeof a), sizeof a);
    b[63] = 8;
    assert_int_equal(parting_compare(a, b, sizeof a), 63);
    assert_int_equal(parting_compare(a, b, 63), 63); /* behind the own end nothing counts */
    b[0] = 8;
    assert_int_equal(parting_compare(a, b, sizeof a), 0);
}

static void pages_are_read_from_their_text(void **state)
{
    unsigned char page[3];

    (void)state;
    assert_true(parting_read_hex("00ff9a", page, 3));
    assert_memory_equal(page, "\x00\xff\x9a", 3);
    assert_false(parting_read_hex("00ff9", page, 3));
    assert_false(parting_read_hex("00ffg0", page, 3));
    assert_false(parting_read_hex("", page, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_compared_to_the_first_byte_that_differs),
        cmocka_unit_test(pages_are_read_from_their_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
