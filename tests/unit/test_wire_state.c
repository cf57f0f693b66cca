#include "wire/wire.h"

#include "tests/cm.h"
#include "tests/unit/wire_made.h"

static struct wire_storage storage;
static struct hm_err err;
static uint8_t bytes[WIRE_STATE_MAX];

static void made_state(struct prng *p, struct voter_state *s)
{
    memset(s, 0, sizeof *s);
    s->incarnation = 1 + prng_below(p, UINT64_MAX);
    s->max_ttl_ms = prng_between(p, 0, HM_TTL_MAX_MS);
    if (made_bool(p))
        s->promised = made_ballot(p);
    if (s->promised.counter == 0 || made_bool(p))
        return;
    s->accepted = s->promised;
    made_record(p, &s->record);
}

static size_t pack(const struct voter_state *s)
{
    size_t used = 0;

    if (wire_pack_state(s, "main", bytes, sizeof bytes, &used, &err) != HM_OK)
        fail_msg("not packed: %s", err.text);
    return used;
}

/* Reads bytes that end where their memory ends. */
static enum hm_rc unpack(size_t size, const char *service, struct voter_state *ret)
{
    uint8_t *exact = malloc(size + (size == 0));
    enum hm_rc rc;

    assert_non_null(exact);
    memcpy(exact, bytes, size);
    rc = wire_unpack_state(exact, size, service, &storage, ret, &err);
    free(exact);
    return rc;
}

static void drawn_states_come_out_as_they_went_in(void **state)
{
    static struct voter_state in, out;
    struct prng p;

    (void)state;
    print_message("seed=1\n");
    prng_seed(&p, 1);
    for (unsigned i = 0; i < 3000; i++) {
        made_state(&p, &in);
        if (unpack(pack(&in), "main", &out) != HM_OK)
            fail_msg("not read: %s", err.text);
        made_same_state(&in, &out);
    }
}

static void the_longest_state_fits(void **state)
{
    static struct voter_state in, out;

    (void)state;
    in.incarnation = UINT64_MAX;
    in.promised = in.accepted =
        (struct ballot){ .counter = HM_COUNTER_MAX, .incarnation = UINT64_MAX, .member = 255 };
    in.max_ttl_ms = HM_TTL_MAX_MS;
    made_longest_record(&in.record);
    assert_int_equal(unpack(pack(&in), "main", &out), HM_OK);
    made_same_state(&in, &out);
}

static void every_cut_and_every_flipped_bit_is_noticed(void **state)
{
    static struct voter_state in, out, before;
    struct prng p;
    size_t n;

    (void)state;
    prng_seed(&p, 2);
    do
        made_state(&p, &in);
    while (in.accepted.counter == 0);
    n = pack(&in);
    memset(&out, 0x5a, sizeof out);
    before = out;
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(unpack(cut, "main", &out), HM_BAD_INPUT);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(unpack(n, "main", &out), HM_BAD_INPUT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bytes[n] = 0;
    assert_int_equal(unpack(n + 1, "main", &out), HM_BAD_INPUT);
    assert_memory_equal(&out, &before, sizeof out);
}

static void a_foreign_state_is_named(void **state)
{
    static struct voter_state in = { .incarnation = 5 }, out;
    size_t n = pack(&in);

    (void)state;
    assert_int_equal(unpack(n, "cache", &out), HM_BAD_INPUT);
    assert_string_equal(err.text, "it belongs to the service 'main', not to 'cache'");
    bytes[4] = 7;
    assert_int_equal(unpack(n, "main", &out), HM_BAD_INPUT);
    assert_string_equal(err.text, "format 7 is unknown");
    bytes[0] = 'X';
    assert_int_equal(unpack(n, "main", &out), HM_BAD_INPUT);
    assert_string_equal(err.text, "this is no voter's state");
}

static void an_impossible_state_is_refused(void **state)
{
    static struct voter_state in, out;
    struct prng p;

    (void)state;
    assert_int_equal(unpack(pack(&in), "main", &out), HM_BAD_INPUT);
    assert_string_equal(err.text, "not possible: incarnation of the member");
    prng_seed(&p, 3);
    do
        made_state(&p, &in);
    while (in.accepted.counter == 0);
    in.promised.counter--;
    assert_int_equal(unpack(pack(&in), "main", &out), HM_BAD_INPUT);
    assert_string_equal(err.text, "not possible: a promise below what is accepted");
    in.promised.counter++;
    in.max_ttl_ms = HM_TTL_MAX_MS + 1;
    assert_int_equal(unpack(pack(&in), "main", &out), HM_BAD_INPUT);
    in.max_ttl_ms = HM_TTL_MAX_MS;
    assert_int_equal(unpack(pack(&in), "main", &out), HM_OK);
    in.record.epoch = 0;
    assert_int_equal(unpack(pack(&in), "main", &out), HM_BAD_INPUT);
}

static void a_small_buffer_is_not_overrun(void **state)
{
    static struct voter_state in;
    size_t n, used;
    struct prng p;

    (void)state;
    prng_seed(&p, 4);
    made_state(&p, &in);
    n = pack(&in);
    for (size_t size = 0; size <= n; size++) {
        uint8_t *exact = malloc(size + (size == 0));

        assert_non_null(exact);
        assert_int_equal(wire_pack_state(&in, "main", exact, size, &used, &err),
                         size < n ? HM_NO_SPACE : HM_OK);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn_states_come_out_as_they_went_in),
        cmocka_unit_test(the_longest_state_fits),
        cmocka_unit_test(every_cut_and_every_flipped_bit_is_noticed),
        cmocka_unit_test(a_foreign_state_is_named),
        cmocka_unit_test(an_impossible_state_is_refused),
        cmocka_unit_test(a_small_buffer_is_not_overrun),
    };

    return cmocka_run_group_tests_name("wire_state", tests, NULL, NULL);
}
