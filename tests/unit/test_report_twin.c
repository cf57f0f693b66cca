#include "daemon/report_inner.h"

#include "tests/unit/made_report.h"

static void two_hosts_of_one_name_are_told_with_what_to_do(void **state)
{
    char line[REPORT_WARNING_SIZE];

    (void)state;
    made.links = (struct link_cluster *)&made_links;
    assert_false(report_twin(&made, 0, line));
    made_twins_n = 2;
    made_twin[0] = (struct link_twin){ .name = "db1", .is_self = true, .other = "10.0.0.3" };
    made_twin[1] = (struct link_twin){ .name = "db2", .host = "10.0.0.2", .other = "10.0.0.4" };
    assert_true(report_twin(&made, 0, line));
    assert_string_equal(line,
                        "another host, 10.0.0.3, says it is db1, too: this one does not vote; if "
                        "this is the copy, stop hamgrd here, empty state_dir and data_dir, and "
                        "'hamgr join' under a new name");
    assert_true(report_twin(&made, 1, line));
    assert_string_equal(line,
                        "two hosts say they are db2: 10.0.0.2, which is heard, and 10.0.0.4: stop "
                        "hamgrd on the copy, empty its state_dir and data_dir, and 'hamgr join' "
                        "under a new name");
    assert_false(report_twin(&made, 2, line));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_hosts_of_one_name_are_told_with_what_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
