#include "settings/settings.h"

#include "tests/unit/settings_file.h"

#include <signal.h>
#include <sys/resource.h>

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

/* The first 8 bytes of sha256("hamgr cluster" "shop" KEY), made elsewhere. */
#define SHOP_ID 0x6588963147ed45a4u

static char folder[32];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/settings.XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    char command[64];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command); /* the folder's name is ours */
}

/* FOLDER/name; the text stays good for four calls. */
static const char *in_folder(const char *name)
{
    static char path[4][64];
    static unsigned int next;

    next = (next + 1) % 4;
    (void)snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static void write_key(const char *text, mode_t mode)
{
    files_write(in_folder("key"), text);
    assert_int_equal(chmod(in_folder("key"), mode), 0);
}

/* What loading says with FOLDER/key as the key file, which stands in line 1. */
static const char *key_told(struct settings *ret)
{
    char text[2048];

    (void)snprintf(text, sizeof text, "key_file = \"%s\"; cluster = \"shop\";\n%s",
                   in_folder("key"), MEMBER_LINES SERVICE_LINES);
    return load_as(text, SETTINGS_WITHOUT_NODE, ret);
}

static void told_of_key(const char *format)
{
    char told[600];

    (void)snprintf(told, sizeof told, "f:1: key_file: '%s'%s\n", in_folder("key"), format);
    assert_string_equal(key_told(NULL), told);
}

/* --- the key ------------------------------------------------------------------------------------
 */

static void the_key_is_read(void **state)
{
    struct settings s;

    (void)state;
    write_key(KEY "\n", 0600);
    assert_string_equal(key_told(&s), "");
    for (unsigned int i = 0; i < SETTINGS_KEY_SIZE; i++)
        assert_int_equal(s.key[i], i);
    write_key(KEY, 0640); /* a group may read it */
    assert_string_equal(key_told(&s), "");
    assert_int_equal(s.key[31], 31);
}

static void the_cluster_id_is_made_of_name_and_key(void **state)
{
    struct settings s;
    struct settings_errors e;
    char text[2048];

    (void)state;
    write_key(KEY, 0600);
    assert_string_equal(key_told(&s), "");
    assert_true(s.cluster_id == SHOP_ID);
    (void)snprintf(text, sizeof text, "key_file = \"%s\"; cluster = \"shoq\";\n%s",
                   in_folder("key"), MEMBER_LINES SERVICE_LINES);
    assert_int_equal(settings_load_text(text, "f", SETTINGS_WITHOUT_NODE, &s, &e), HM_OK);
    assert_true(s.cluster_id != SHOP_ID && s.cluster_id != 0);
    settings_errors_done(&e);
    assert_int_equal(load_good(GOOD).cluster_id, 0); /* the key was not read */
}

static void a_secret_is_made_of_key_purpose_and_name(void **state)
{
    const uint8_t key[SETTINGS_KEY_SIZE] = { 1 }, other[SETTINGS_KEY_SIZE] = { 2 };
    char secret[SETTINGS_SECRET_SIZE], again[SETTINGS_SECRET_SIZE];

    (void)state;
    settings_secret(key, "replication", "db1", secret);
    assert_int_equal(strspn(secret, "0123456789abcdef"), SETTINGS_SECRET_SIZE - 1);
    assert_int_equal(secret[SETTINGS_SECRET_SIZE - 1], 0);
    settings_secret(key, "replication", "db1", again);
    assert_string_equal(again, secret);
    settings_secret(other, "replication", "db1", again);
    assert_string_not_equal(again, secret);
    settings_secret(key, "replication", "db2", again);
    assert_string_not_equal(again, secret);
    settings_secret(key, "replicationd", "b1", again);
    assert_string_not_equal(again, secret);
}

static void a_key_that_others_may_use_is_refused(void **state)
{
    static const mode_t modes[] = { 0604, 0602, 0601, 0620, 0666 };
    char told[256];

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(modes); i++) {
        write_key(KEY, modes[i]);
        (void)snprintf(told, sizeof told,
                       " may be used by others (mode %04o): run `chmod g-w,o= %s`",
                       (unsigned int)modes[i], in_folder("key"));
        told_of_key(told);
    }
}

static void what_is_no_key_is_refused(void **state)
{
    static const char *const bad[] = { "",         "\n",    KEY "0", KEY "\n\n", KEY "\n0",
                                       KEY "\r\n", " " KEY, "g" KEY, "0x" KEY };
    char text[sizeof KEY];

    (void)state;
    for (size_t i = 0; i < HM_ARRAY_LEN(bad); i++) {
        write_key(bad[i], 0600);
        told_of_key(": is no key: 64 hexadecimal digits, as `hamgr keygen` writes them");
    }
    (void)snprintf(text, sizeof text, "%s", KEY);
    text[63] = '\0'; /* a digit less */
    write_key(text, 0600);
    told_of_key(": is no key: 64 hexadecimal digits, as `hamgr keygen` writes them");
    (void)snprintf(text, sizeof text, "%s", KEY);
    text[63] = 'g';
    write_key(text, 0600);
    told_of_key(": is no key: 64 hexadecimal digits, as `hamgr keygen` writes them");
}

static void what_is_no_file_is_no_key(void **state)
{
    char told[256];

    (void)state;
    (void)unlink(in_folder("key"));
    (void)snprintf(told, sizeof told,
                   "f:1: key_file: cannot open '%s': No such file or directory; `hamgr keygen` "
                   "makes a key\n",
                   in_folder("key"));
    assert_string_equal(key_told(NULL), told);
    assert_int_equal(mkfifo(in_folder("key"), 0600), 0); /* nobody writes: it must not wait */
    told_of_key(": is no file");
    assert_int_equal(unlink(in_folder("key")), 0);
    assert_int_equal(mkdir(in_folder("key"), 0700), 0);
    told_of_key(": is no file");
    assert_int_equal(rmdir(in_folder("key")), 0);
}

static void a_new_key_can_be_used_and_differs_from_the_next(void **state)
{
    struct settings one, other;
    struct hm_err err;
    struct stat st;

    (void)state;
    (void)unlink(in_folder("key"));
    (void)umask(0377); /* takes bits from the owner, too */
    assert_int_equal(settings_make_key(in_folder("key"), &err), HM_OK);
    (void)umask(022);
    assert_int_equal(stat(in_folder("key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 65);
    assert_string_equal(key_told(&one), "");
    assert_int_equal(unlink(in_folder("key")), 0);
    assert_int_equal(settings_make_key(in_folder("key"), &err), HM_OK);
    assert_string_equal(key_told(&other), "");
    assert_memory_not_equal(one.key, other.key, sizeof one.key);
    assert_true(one.cluster_id != other.cluster_id);
}

static void a_key_is_never_written_over(void **state)
{
    struct settings s;
    struct hm_err err;
    char told[256];

    (void)state;
    write_key(KEY, 0600);
    (void)snprintf(told, sizeof told, "'%s' exists already: a key is never written over",
                   in_folder("key"));
    assert_int_equal(settings_make_key(in_folder("key"), &err), HM_REFUSED);
    assert_string_equal(err.text, told);
    assert_string_equal(key_told(&s), "");
    assert_int_equal(s.key[31], 31);
    (void)unlink(in_folder("link"));
    assert_int_equal(symlink(in_folder("nowhere"), in_folder("link")), 0);
    assert_int_equal(settings_make_key(in_folder("link"), &err), HM_REFUSED);
    assert_int_equal(access(in_folder("nowhere"), F_OK), -1);
    assert_int_equal(settings_make_key(in_folder("no/key"), &err), HM_FAILED);
    assert_non_null(strstr(err.text, "No such file or directory"));
}

static void a_key_that_does_not_fit_on_the_disk_is_taken_away(void **state)
{
    struct rlimit whole, small;
    struct hm_err err;

    (void)state;
    (void)unlink(in_folder("key"));
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &whole), 0);
    small = whole;
    small.rlim_cur = 10; /* as a full disk: a part of it is written */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(settings_make_key(in_folder("key"), &err), HM_NO_SPACE);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &whole), 0);
    assert_non_null(strstr(err.text, "No space left on device"));
    assert_int_equal(access(in_folder("key"), F_OK), -1);
}

/* --- files --------------------------------------------------------------------------------------
 */

static const char *load_told_of(const char *name, unsigned int flags, enum hm_rc wanted)
{
    struct settings_errors e;
    struct settings s;

    assert_int_equal(settings_load(in_folder(name), flags, &s, &e), wanted);
    return files_told(&e);
}

static void a_file_is_read_and_named_in_errors(void **state)
{
    struct settings_errors e;
    struct settings s;
    char told[256];

    (void)state;
    files_write(in_folder("conf"), GOOD);
    assert_int_equal(settings_load(in_folder("conf"), NO_FILES, &s, &e), HM_OK);
    assert_int_equal(e.n, 0);
    settings_errors_done(&e);
    assert_string_equal(s.file, in_folder("conf"));
    assert_string_equal(s.cluster, "shop");
    files_write(in_folder("conf"), GOOD "ttl_ms = 20;\n");
    (void)snprintf(told, sizeof told, "%s:8: ttl_ms: 20 is below the minimum 400\n",
                   in_folder("conf"));
    assert_string_equal(load_told_of("conf", NO_FILES, HM_BAD_INPUT), told);
}

static void a_file_that_cannot_be_read_is_told(void **state)
{
    char told[256];
    FILE *out;

    (void)state;
    (void)snprintf(told, sizeof told, "%s: cannot open the file: No such file or directory\n",
                   in_folder("nothing"));
    assert_string_equal(load_told_of("nothing", NO_FILES, HM_FAILED), told);
    (void)snprintf(told, sizeof told, "%s: is no file\n", in_folder("."));
    assert_string_equal(load_told_of(".", NO_FILES, HM_FAILED), told);
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    (void)snprintf(told, sizeof told, "%s: is no file\n", in_folder("fifo"));
    assert_string_equal(load_told_of("fifo", NO_FILES, HM_FAILED), told);
    out = fopen(in_folder("zero"), "we");
    assert_non_null(out);
    assert_int_equal(fwrite(GOOD "\0gate = 5;", 1, sizeof GOOD + 10, out), sizeof GOOD + 10);
    assert_int_equal(fclose(out), 0);
    (void)snprintf(told, sizeof told, "%s: is no text: it has a zero byte\n", in_folder("zero"));
    assert_string_equal(load_told_of("zero", NO_FILES, HM_FAILED), told);
}

static void a_file_has_a_greatest_length(void **state)
{
    size_t size = (1 << 20) + 1;
    char told[256], *text = malloc(size + 1);

    (void)state;
    assert_non_null(text);
    memset(text, '\n', size);
    text[size] = '\0';
    memcpy(text, GOOD, strlen(GOOD));
    files_write(in_folder("long"), text);
    (void)snprintf(told, sizeof told, "%s: is longer than 1048576 bytes\n", in_folder("long"));
    assert_string_equal(load_told_of("long", NO_FILES, HM_FAILED), told);
    text[size - 1] = '\0';
    files_write(in_folder("long"), text);
    assert_string_equal(load_told_of("long", NO_FILES, HM_OK), "");
    free(text);
}

/* --- the witness --------------------------------------------------------------------------------
 */

static const char *witness_told(const char *text, unsigned int flags, struct settings_witness *ret)
{
    struct settings_errors e;
    struct settings_witness w;
    enum hm_rc rc = settings_load_witness_text(text, "w", flags, &w, &e);

    assert_int_equal(rc, e.n == 0 ? HM_OK : HM_BAD_INPUT);
    if (rc == HM_OK && ret != NULL)
        *ret = w;
    else if (rc == HM_OK)
        settings_witness_done(&w);
    return files_told(&e);
}

static void the_witness_file_is_read(void **state)
{
    struct settings_errors e;
    struct settings_witness w;
    char text[1024];

    (void)state;
    write_key(KEY, 0600);
    (void)snprintf(text, sizeof text,
                   "listen = \"0.0.0.0:1\"; state_dir = \"/s\";\n"
                   "clusters = ( { name = \"shop\"; key_file = \"%s\"; },\n"
                   "{ name = \"Shop\"; key_file = \"%s\"; } );",
                   in_folder("key"), in_folder("key"));
    files_write(in_folder("conf"), text);
    assert_int_equal(settings_load_witness(in_folder("conf"), &w, &e), HM_OK);
    settings_errors_done(&e);
    assert_string_equal(w.file, in_folder("conf"));
    assert_string_equal(w.listen, "0.0.0.0:1");
    assert_string_equal(w.state_dir, "/s");
    assert_int_equal(w.clusters_n, 2);
    assert_string_equal(w.cluster[0].name, "shop");
    assert_int_equal(w.cluster[0].key[31], 31);
    assert_true(w.cluster[0].cluster_id == SHOP_ID);
    assert_true(w.cluster[1].cluster_id != w.cluster[0].cluster_id);
    settings_witness_done(&w);
    assert_int_equal(w.clusters_n, 0);
    assert_int_equal(settings_load_witness(in_folder("nothing2"), &w, &e), HM_FAILED);
    settings_errors_done(&e);
}

static void the_witness_has_defaults(void **state)
{
    struct settings_witness w;

    (void)state;
    assert_string_equal(witness_told("clusters = ( { name = \"a\"; key_file = \"/k\"; } );",
                                     SETTINGS_WITHOUT_KEY, &w),
                        "");
    assert_string_equal(w.listen, "[::]:7420");
    assert_string_equal(w.state_dir, "/var/lib/hamgr-witness");
    settings_witness_done(&w);
}

static void errors_of_the_witness_file_are_told(void **state)
{
    (void)state;
    assert_string_equal(witness_told("", 0, NULL), "w: clusters: missing\n");
    assert_string_equal(witness_told("clusters = ( );", 0, NULL), "w:1: clusters: is empty\n");
    assert_string_equal(witness_told("lisen = \"x\";\nlisten = \"y\";\n"
                                     "clusters = ( { name = \"a\"; key_file = \"/k\"; },\n"
                                     "{ nam = \"b\"; key_file = \"/k\"; },\n5,\n"
                                     "{ name = \"a\"; key_file = \"k\"; },\n"
                                     "{ name = \"a\"; key_file = 5; } );\n"
                                     "members = ( );\n",
                                     SETTINGS_WITHOUT_KEY, NULL),
                        "w:1: unknown setting 'lisen', did you mean 'listen'?\n"
                        "w:2: listen: 'y' is not HOST:PORT\n"
                        "w:4: clusters.name: missing\n"
                        "w:4: clusters: unknown setting 'nam', did you mean 'name'?\n"
                        "w:5: clusters: expected a group in { }, found the number 5\n"
                        "w:6: clusters.key_file: 'k' does not begin with '/'\n"
                        "w:6: clusters.name: there are two clusters named 'a'\n"
                        "w:7: clusters.key_file: expected a text in quotes, found the number 5\n"
                        "w:7: clusters.name: there are two clusters named 'a'\n"
                        "w:8: unknown setting 'members'\n");
    assert_string_equal(
        witness_told("clusters = ( { name = \"a\"; key_file = \"/nothing/k\"; } );", 0, NULL),
        "w:1: clusters.key_file: cannot open '/nothing/k': No such file or directory; "
        "`hamgr keygen` makes a key\n");
}

static char *with_clusters(unsigned int n)
{
    size_t size = 64 * (size_t)n + 64;
    char *text = malloc(size);
    size_t used;

    assert_non_null(text);
    used = (size_t)snprintf(text, size, "clusters = (");
    for (unsigned int i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, size - used,
                                 "%s{ name = \"c%u\"; key_file = \"/k\"; }", i > 0 ? ",\n" : "", i);
    (void)snprintf(text + used, size - used, ");");
    return text;
}

static void many_clusters_fit(void **state)
{
    struct settings_witness w;
    char *text = with_clusters(4096);

    (void)state;
    assert_string_equal(witness_told(text, SETTINGS_WITHOUT_KEY, &w), "");
    assert_int_equal(w.clusters_n, 4096);
    assert_string_equal(w.cluster[4095].name, "c4095");
    settings_witness_done(&w);
    free(text);
    text = with_clusters(4097);
    assert_string_equal(witness_told(text, SETTINGS_WITHOUT_KEY, NULL),
                        "w:1: clusters: 4097 of them, at most 4096 fit\n");
    free(text);
}

/* --- what is printed ----------------------------------------------------------------------------
 */

static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    print(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void is_the_file(void (*print)(FILE *out), const char *path)
{
    char *text = printed(print), *file = calloc(1, strlen(text) + 2);
    FILE *in = fopen(path, "re"); /* tests run in the repository's root */
    size_t n;

    assert_non_null(in);
    assert_non_null(file);
    n = fread(file, 1, strlen(text) + 1, in);
    (void)fclose(in);
    file[n] = '\0';
    assert_string_equal(file, text);
    free(file);
    free(text);
}

static void the_printed_files_are_those_in_the_repository(void **state)
{
    (void)state; /* else `make golden` */
    is_the_file(settings_print_example, "conf/hamgr.conf.example");
    is_the_file(settings_print_witness_example, "conf/witness.conf.example");
    is_the_file(settings_print_manual, "docs/settings.md");
}

/* Takes the '#' away from lines like "#port = 5432;". */
static void uncomment(char *text)
{
    for (char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += strspn(line, "\n ");
        if (line[0] == '#' && line[1] != ' ' && line[1] != '\n')
            line[0] = ' ';
    }
}

static void the_example_can_be_loaded(void **state)
{
    char *text = printed(settings_print_example);
    struct settings s = load_good(text);

    (void)state;
    assert_string_equal(s.cluster, "shop");
    assert_int_equal(s.members_n, 3);
    assert_string_equal(s.member[2].name, "w1");
    assert_string_equal(s.service[0].unit, "postgresql@15-main");
    free(text);
    text = printed(settings_print_witness_example);
    assert_string_equal(witness_told(text, SETTINGS_WITHOUT_KEY, NULL), "");
    free(text);
}

static void what_the_example_comments_out_is_the_default(void **state)
{
    char *text = printed(settings_print_example);
    struct settings plain = load_good(text), full;
    struct settings_service *a = &plain.service[0], *b = &full.service[0];

    (void)state;
    uncomment(text);
    full = load_good(text);
    free(text);
    assert_string_equal(full.node, "db1");
    assert_memory_equal(&full.timing, &plain.timing, sizeof plain.timing);
    assert_string_equal(full.member[0].follow, "db2");
    memset(full.member[0].follow, 0, sizeof full.member[0].follow);
    assert_memory_equal(full.member, plain.member, sizeof plain.member);
    assert_string_equal(full.state_dir, plain.state_dir);
    assert_string_equal(full.run_dir, plain.run_dir);
    assert_string_equal(full.user, plain.user);
    assert_int_equal(full.fence, plain.fence);
    assert_int_equal(full.is_gate_on, plain.is_gate_on);
    assert_string_equal(full.watchdog, "/dev/watchdog");
    assert_int_equal(b->port, a->port);
    assert_string_equal(b->socket_dir, a->socket_dir);
    assert_string_equal(b->user, a->user);
    assert_string_equal(b->dbname, a->dbname);
    assert_string_equal(b->replication_user, a->replication_user);
    assert_int_equal(b->durability, a->durability);
    assert_int_equal(b->sync_standbys, a->sync_standbys);
    assert_int_equal(b->max_lag_bytes, a->max_lag_bytes);
    text = printed(settings_print_witness_example);
    uncomment(text);
    assert_string_equal(witness_told(text, SETTINGS_WITHOUT_KEY, NULL), "");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_read),
        cmocka_unit_test(the_cluster_id_is_made_of_name_and_key),
        cmocka_unit_test(a_secret_is_made_of_key_purpose_and_name),
        cmocka_unit_test(a_key_that_others_may_use_is_refused),
        cmocka_unit_test(what_is_no_key_is_refused),
        cmocka_unit_test(what_is_no_file_is_no_key),
        cmocka_unit_test(a_new_key_can_be_used_and_differs_from_the_next),
        cmocka_unit_test(a_key_is_never_written_over),
        cmocka_unit_test(a_key_that_does_not_fit_on_the_disk_is_taken_away),
        cmocka_unit_test(a_file_is_read_and_named_in_errors),
        cmocka_unit_test(a_file_that_cannot_be_read_is_told),
        cmocka_unit_test(a_file_has_a_greatest_length),
        cmocka_unit_test(the_witness_file_is_read),
        cmocka_unit_test(the_witness_has_defaults),
        cmocka_unit_test(errors_of_the_witness_file_are_told),
        cmocka_unit_test(many_clusters_fit),
        cmocka_unit_test(the_printed_files_are_those_in_the_repository),
        cmocka_unit_test(the_example_can_be_loaded),
        cmocka_unit_test(what_the_example_comments_out_is_the_default),
    };

    return cmocka_run_group_tests_name("settings files", tests, make_folder, remove_folder);
}
