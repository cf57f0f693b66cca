#include "postgres/wal.h"

#include "postgres/crc.h"
#include "tests/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whole logs are read in tests/pg/test_pg_probe_log.c: real servers write them, and say themselves
 * where they end. */

static void the_checksum_is_the_known_one(void **state)
{
    static const char digits[] = "123456789";
    unsigned char bytes[1000];

    (void)state;
    assert_true(crc_32c(0, digits, 9) == 0xe3069283u);
    assert_true(crc_32c(crc_32c(0, digits, 4), digits + 4, 5) == 0xe3069283u);
    assert_true(crc_32c(0, "", 0) == 0);
    assert_true(crc_32c_by_table(0, digits, 9) == 0xe3069283u);
    for (unsigned int i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 31 >> 2);
    for (size_t n = 0; n < 40; n++)
        assert_true(crc_32c(7, bytes + n, sizeof bytes - 2 * n) ==
                    crc_32c_by_table(7, bytes + n, sizeof bytes - 2 * n));
}

static void a_history_says_where_each_timeline_ended(void **state)
{
    struct wal_history h;

    (void)state;
    assert_true(wal_parse_history("# why\n1\t0/3000148\tno recovery target specified\n\n"
                                  "3\t1/A0\tbefore\n",
                                  4, &h));
    assert_int_equal(h.n, 3);
    assert_int_equal(wal_timeline_at(&h, 0x3000148), 1); /* the byte before was written by 1 */
    assert_int_equal(wal_timeline_at(&h, 0x3000149), 3);
    assert_int_equal(wal_timeline_at(&h, 0x1000000a0), 3);
    assert_int_equal(wal_timeline_at(&h, 0x1000000a1), 4);
    assert_int_equal(wal_timeline_at(&h, UINT64_MAX - 1), 4);
}

static void a_first_timeline_has_no_history(void **state)
{
    struct wal_history h;

    (void)state;
    assert_true(wal_read_history("/nonexistent", 1, &h));
    assert_int_equal(h.n, 1);
    assert_int_equal(wal_timeline_at(&h, 5), 1);
    assert_false(wal_read_history("/nonexistent", 2, &h)); /* stands alone then */
    assert_int_equal(h.n, 1);
    assert_int_equal(wal_timeline_at(&h, 5), 2);
}

static void a_garbled_history_is_refused(void **state)
{
    static const char *const bad[] = { "1\n", "x\t0/1\n", "2\t0/10\tx\n1\t0/20\tx\n",
                                       "4\t0/10\tx\n", "1\t0-1\n" };
    char text[WAL_HISTORY_MAX * 16] = "";
    struct wal_history h = { .n = 77 };

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(bad); i++)
        assert_false(wal_parse_history(bad[i], 4, &h));
    for (unsigned int i = 1; i < WAL_HISTORY_MAX; i++) {
        char line[16] = { (char)('0' + i / 10), (char)('0' + i % 10), '\t', '0', '/', '1', '\n' };

        strcat(text, line);
    }
    assert_int_equal(h.n, 77);
    assert_true(wal_parse_history(text, 90, &h)); /* as many as there is room for */
    assert_int_equal(h.n, WAL_HISTORY_MAX);
    strcat(text, "80\t0/2\n");
    assert_false(wal_parse_history(text, 90, &h));
}

static void what_is_no_control_file_is_refused(void **state)
{
    struct wal_control c;
    struct hm_err err;

    (void)state;
    assert_int_equal(wal_read_control("/nonexistent", &c, &err), HM_FAILED);
}

/* Writes a control file of that version, whose checksum is at crc_at; can it be read? */
static bool is_read(uint32_t version, size_t crc_at)
{
    static const uint32_t page = 8192, segment = 16u << 20;
    char dir[] = "/tmp/hamgr-wal-XXXXXX", path[64];
    unsigned char raw[8192] = { 0 };
    struct wal_control c;
    struct hm_err err;
    enum hm_rc rc;
    uint32_t crc;
    FILE *f;

    memcpy(raw + 8, &version, sizeof version);
    memcpy(raw + 224, &page, sizeof page);
    memcpy(raw + 228, &segment, sizeof segment);
    crc = crc_32c(0, raw, crc_at);
    memcpy(raw + crc_at, &crc, sizeof crc);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/global", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/global/pg_control", dir);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(raw, sizeof raw, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    rc = wal_read_control(dir, &c, &err);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof path, "%s/global", dir);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_true(rc == HM_OK || rc == HM_BAD_INPUT);
    return rc == HM_OK;
}

/* Where it is was seen in files of real servers, 15.20, 17.11 and others. */
static void the_control_file_of_each_version_is_known(void **state)
{
    (void)state;
    assert_true(is_read(1300, 288)); /* PostgreSQL 13 to 16 */
    assert_true(is_read(1700, 288)); /* 17 */
    assert_true(is_read(1800, 292)); /* 18 */
    assert_false(is_read(1800, 288));
    assert_false(is_read(1900, 292)); /* nobody knows */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_the_known_one),
        cmocka_unit_test(a_history_says_where_each_timeline_ended),
        cmocka_unit_test(a_first_timeline_has_no_history),
        cmocka_unit_test(a_garbled_history_is_refused),
        cmocka_unit_test(what_is_no_control_file_is_refused),
        cmocka_unit_test(the_control_file_of_each_version_is_known),
    };

    return cmocka_run_group_tests_name("wal", tests, NULL, NULL);
}
