#include "tests/unit/made_world.h"

/* --- LEGAL ---------------------------------------------------------------------------------- */

static void a_fence_beyond_the_lease_is_found(void **state)
{
    (void)state;
    a_holds();
    tells_fence(A, FENCE_LEASE, RIGHT_NOW + TTL - TTL / 50);
    is_kept();
    tells_fence(A, FENCE_LEASE, RIGHT_NOW + TTL - TTL / 50 + 1);
    is_broken(INV_LEGAL);
}

static void an_open_fence_for_a_primary_is_found(void **state)
{
    (void)state;
    tells_fence(B, FENCE_STANDBY, 0);
    is_kept();
    tells_fence(A, FENCE_STANDBY, 0);
    is_broken(INV_LEGAL);
}

static void an_open_fence_during_a_promotion_is_found(void **state)
{
    (void)state;
    world.core[B].op.type = DO_PROMOTE;
    world.copy[B].state = COPY_DOWN;
    tells_fence(B, FENCE_STANDBY, 0);
    is_kept();
    world.copy[B].state = COPY_STANDBY;
    tells_fence(B, FENCE_STANDBY, 0);
    is_broken(INV_LEGAL);
}

static void a_fence_of_a_pause_that_nobody_chose_is_found(void **state)
{
    (void)state;
    a_holds();
    tells_fence(A, FENCE_PAUSED, 0);
    is_broken(INV_LEGAL);
}

static void a_is_paused(void)
{
    struct record r = a_record(A, 2, 1);

    a_holds();
    r.is_paused = true;
    takes(A, ballot(A, 1), &r);
    tells_fence(A, FENCE_PAUSED, 0);
    is_kept();
}

static void resumes(bool tells)
{
    struct record r = a_record(A, 3, 1);

    a_is_paused();
    accepts(A, ballot(A, 1), &r);
    if (tells) {
        struct core_effect *e = an_effect(DO_FENCE);

        e->fence.mode = FENCE_LEASE;
        e->fence.until_ms = RIGHT_NOW + 1;
    }
    sends_accept(A, B, ballot(A, 1), &r);
}

static void a_resume_that_fences_with_what_it_sends_is_fine(void **state)
{
    (void)state;
    resumes(true);
    is_kept();
}

static void a_resume_that_stays_unfenced_is_found(void **state)
{
    (void)state;
    resumes(false);
    is_broken(INV_LEGAL);
}

static void a_takeover_of_a_paused_cluster_is_found(void **state)
{
    struct record r = a_record(B, 3, 2);

    (void)state;
    a_is_paused();
    passes(2 * TTL);
    loses(A);
    world.copy[B].is_streaming = false;
    attempts(B, ballot(B, 2), 1u << B | 1u << W);
    world.core[B].adopted = world.disk[W].record;
    is_kept();
    takes(B, ballot(B, 2), &r);
    is_broken(INV_LEGAL);
}

static void promotes(int node, uint64_t epoch)
{
    struct core_effect *e = an_effect(DO_PROMOTE);

    e->copy.epoch = epoch;
    e->copy.timeline = epoch;
    step(node);
}

static void a_promotion_under_lease_and_fence_is_fine(void **state)
{
    (void)state;
    world.copy[A].state = COPY_STANDBY;
    a_holds();
    tells_fence(A, FENCE_LEASE, RIGHT_NOW + 1);
    promotes(A, 1);
    is_kept();
}

static void a_promotion_without_a_fence_is_found(void **state)
{
    (void)state;
    world.copy[A].state = COPY_STANDBY;
    a_holds();
    promotes(A, 1);
    is_broken(INV_LEGAL);
}

static void a_promotion_without_a_record_is_found(void **state)
{
    (void)state;
    world.copy[A].state = COPY_STANDBY;
    a_holds();
    tells_fence(A, FENCE_LEASE, RIGHT_NOW + 1);
    promotes(A, 2);
    is_broken(INV_LEGAL);
}

static void a_promotion_after_the_clocks_stood_cannot_know_of_a_takeover(void **state)
{
    struct record r = a_record(B, 2, 2);

    (void)state;
    world.copy[A].state = COPY_STANDBY;
    a_holds();
    check_clocks_stood(&world.check, A);
    passes(TTL);
    attempts(B, ballot(B, 2), 1u << B | 1u << W);
    takes(B, ballot(B, 2), &r);
    believes_until(A, RIGHT_NOW + TTL + 100);
    tells_fence(A, FENCE_LEASE, RIGHT_NOW + TTL + 100);
    promotes(A, 1);
    is_kept();
    promotes(A, 3); /* but an epoch that nobody chose is none */
    is_broken(INV_LEGAL);
}

static void asks(int node, enum core_effect_type type, int member)
{
    an_effect(type)->copy.member = (uint8_t)member;
    step(node);
}

static void following_before_a_renewal_is_found(void **state)
{
    (void)state;
    a_holds();
    asks(B, DO_FOLLOW, A);
    is_broken(INV_LEGAL);
}

static void following_who_renews_is_fine(void **state)
{
    (void)state;
    a_holds();
    hears_renewal(B, A, ballot(A, 1), 1);
    asks(B, DO_FOLLOW, A);
    is_kept();
}

static void following_below_the_own_promise_is_found(void **state)
{
    (void)state;
    a_holds();
    hears_renewal(B, A, ballot(A, 1), 1);
    promises(B, ballot(B, 2));
    asks(B, DO_FOLLOW, A);
    is_broken(INV_LEGAL);
}

static void rebuilding_a_primary_is_found(void **state)
{
    (void)state;
    a_holds();
    hears_renewal(B, A, ballot(A, 1), 1);
    world.copy[B].state = COPY_DOWN;
    asks(B, DO_REWIND, A);
    is_kept();
    world.copy[B].state = COPY_PRIMARY;
    asks(B, DO_REWIND, A);
    is_broken(INV_LEGAL);
}

static void rebuilding_a_copy_of_a_pair_is_found(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    hears_renewal(B, A, ballot(A, 1), 2);
    asks(B, DO_CLONE, A);
    is_broken(INV_LEGAL);
}

static void sets_names(int node, enum names_state names, const struct pair *p)
{
    struct core_effect *e = an_effect(DO_SET_NAMES);

    e->names.names = names;
    if (p != NULL)
        e->names.pair = *p;
    step(node);
}

static void names_that_the_record_has_not_are_found(void **state)
{
    struct pair other = pair_of_b;

    (void)state;
    a_holds_in_sync(&pair_of_b);
    sets_names(A, NAMES_PAIR, &pair_of_b);
    sets_names(A, NAMES_NOBODY, NULL);
    is_kept();
    other.need = 0;
    sets_names(A, NAMES_PAIR, &other);
    is_broken(INV_LEGAL);
}

static void empty_names_in_sync_are_found(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    sets_names(A, NAMES_EMPTY, NULL);
    is_broken(INV_LEGAL);
}

static void a_marker_under_other_names_is_found(void **state)
{
    (void)state;
    a_holds_in_sync(&pair_of_b);
    world.copy[A].names = NAMES_PAIR;
    world.copy[A].names_pair = pair_of_b;
    an_effect(DO_MARKER)->names.pair = pair_of_b;
    step(A);
    is_kept();
    world.copy[A].names = NAMES_NOBODY;
    an_effect(DO_MARKER)->names.pair = pair_of_b;
    step(A);
    is_broken(INV_LEGAL);
}

static void thawing_without_a_lease_is_found(void **state)
{
    (void)state;
    a_holds();
    world.copy[A].is_suspended = true;
    asks(A, DO_THAW, 0);
    is_kept();
    passes(TTL);
    loses(A);
    asks(A, DO_THAW, 0);
    is_broken(INV_LEGAL);
}

static void releasing_a_copy_that_runs_is_found(void **state)
{
    (void)state;
    a_holds();
    loses(A);
    says(A, W, MSG_RELEASE, ballot(A, 1));
    is_broken(INV_LEGAL);
}

static void a_frozen_log_that_is_not_read_is_found(void **state)
{
    (void)state;
    world.copy[B].is_streaming = false;
    world.copy[B].is_final = false;
    world.copy[B].end = 2000; /* on its disk, not read yet */
    promises(B, ballot(A, 4));
    says_frozen(B, A, ballot(A, 4), 1000);
    is_broken(INV_LEGAL);
}

static void a_frozen_log_that_still_grows_is_found(void **state)
{
    (void)state;
    promises(B, ballot(A, 4));
    says_frozen(B, A, ballot(A, 4), 1000);
    is_broken(INV_LEGAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_fence_beyond_the_lease_is_found),
        T(an_open_fence_for_a_primary_is_found),
        T(an_open_fence_during_a_promotion_is_found),
        T(a_fence_of_a_pause_that_nobody_chose_is_found),
        T(a_resume_that_fences_with_what_it_sends_is_fine),
        T(a_resume_that_stays_unfenced_is_found),
        T(a_takeover_of_a_paused_cluster_is_found),
        T(a_promotion_under_lease_and_fence_is_fine),
        T(a_promotion_without_a_fence_is_found),
        T(a_promotion_without_a_record_is_found),
        T(a_promotion_after_the_clocks_stood_cannot_know_of_a_takeover),
        T(following_before_a_renewal_is_found),
        T(following_who_renews_is_fine),
        T(following_below_the_own_promise_is_found),
        T(rebuilding_a_primary_is_found),
        T(rebuilding_a_copy_of_a_pair_is_found),
        T(names_that_the_record_has_not_are_found),
        T(empty_names_in_sync_are_found),
        T(a_marker_under_other_names_is_found),
        T(thawing_without_a_lease_is_found),
        T(releasing_a_copy_that_runs_is_found),
        T(a_frozen_log_that_is_not_read_is_found),
        T(a_frozen_log_that_still_grows_is_found),
    };

    return cmocka_run_group_tests_name("check: legal", tests, NULL, NULL);
}
