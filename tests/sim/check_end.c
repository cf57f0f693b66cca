/* check_end.c - what must be true in the end (P4, P6), and what must not be felt (P5). */
#include "check_inner.h"

#include <stdio.h>
#include <string.h>

/* A primary acknowledges a client at least so often once everything is well. */
#define ACKNOWLEDGED_LATELY_US 1000000

/* --- P5 ------------------------------------------------------------------------------------- */

void check_calm(struct check *ck, int64_t gap_us)
{
    const struct record *r = check_newest(ck);

    ck->is_calm = true;
    ck->calm_gap_us = gap_us;
    ck->calm_acked_us = check_now(ck);
    ck->calm_epoch = r == NULL ? 0 : r->epoch;
}

static void no_gap(struct check *ck)
{
    int64_t gap_us = check_now(ck) - ck->calm_acked_us;

    if (ck->is_calm && gap_us > ck->calm_gap_us)
        check_break(ck, INV_P5, "no acknowledgement for %lld ms, and no fault that explains it",
                    (long long)gap_us / 1000);
}

void check_calm_ended(struct check *ck)
{
    no_gap(ck);
    ck->is_calm = false;
}

void check_calm_ack(struct check *ck)
{
    if (!ck->is_calm)
        return;
    no_gap(ck);
    ck->calm_acked_us = check_now(ck);
}

void check_calm_epoch(struct check *ck, uint64_t epoch)
{
    if (ck->is_calm && epoch > ck->calm_epoch)
        check_break(ck, INV_P5, "epoch %llu after epoch %llu, and no fault that asks for it",
                    (unsigned long long)epoch, (unsigned long long)ck->calm_epoch);
}

/* --- P4 and P6 ------------------------------------------------------------------------------ */

static bool missing(char *why, int node, const char *what)
{
    (void)snprintf(why, CHECK_WHAT_MAX, "node %d %s", node, what);
    return false;
}

static bool is_nofailover(const struct check *ck, int node)
{
    const struct core *c = node < 0 ? NULL : ck->eyes.core(ck->eyes.world, node);

    return c != NULL && c->config.is_nofailover;
}

/* In strict nothing is acknowledged unless enough standbys could be waited for, and those that
 * may not become primary are none of them (6.1). */
static bool may_acknowledge(const struct check *ck, const struct record *r, int holder)
{
    unsigned standbys = 0;

    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        int node = check_slot(ck, r, slot);

        standbys += r->member[slot].role == ROLE_DB && node != holder && !is_nofailover(ck, node);
    }
    return r->goal != DURABILITY_STRICT || standbys >= (r->sync_standbys ? r->sync_standbys : 1u);
}

static bool has_working_primary(struct check *ck, const struct record *r, int holder, char *why)
{
    struct check_copy copy;

    if (holder < 0 || !ck->node[holder].is_live)
        return missing(why, holder, "holds the newest record, and its hamgrd does not run");
    if (ck->node[holder].valid_until_ms <= check_local(ck, holder))
        return missing(why, holder, "holds the newest record, and has no lease");
    check_look(ck, holder, &copy);
    if (!check_is_writable(&copy))
        return missing(why, holder,
                       copy.is_suspended ? "is a suspended primary"
                                         : "holds, and its copy is no primary");
    if (copy.copy_id != r->copy_id)
        return missing(why, holder, "runs another copy than its record names");
    if (may_acknowledge(ck, r, holder) &&
        (ck->acked_last_node != holder || check_now(ck) - ck->acked_us > ACKNOWLEDGED_LATELY_US))
        return missing(why, holder, "is primary and acknowledges nothing");
    return true;
}

static bool is_good_standby(struct check *ck, const struct record *r, int node, int holder,
                            char *why)
{
    struct check_copy copy;

    /* A replica of Redis that may not be in a pair may not attach either: WAIT would count it. And
     * there is no pair in strict when too few may be in it. */
    if (r->kind == SERVICE_REDIS && r->goal != DURABILITY_ASYNC &&
        (is_nofailover(ck, node) || !may_acknowledge(ck, r, holder)))
        return true;
    check_look(ck, node, &copy);
    if (copy.state != COPY_STANDBY || copy.is_suspended) {
        (void)snprintf(why, CHECK_WHAT_MAX, "node %d: its copy is %s%s", node,
                       copy_state_name(copy.state), copy.is_suspended ? ", suspended" : "");
        return false;
    }
    if (copy.follows != holder || !copy.is_streaming)
        return missing(why, node,
                       copy.follows == holder ? "follows and does not stream"
                                              : "does not follow the primary");
    return true;
}

static bool knows_the_record(struct check *ck, int node, char *why)
{
    const struct check_node *n = &ck->node[node];
    const struct record *r = check_newest(ck);

    if (!n->is_live)
        return missing(why, node, "is a member, and its hamgrd does not run");
    if (n->entry < 0 || n->disk.record.epoch != r->epoch || n->disk.record.voters != r->voters)
        return missing(why, node, "does not know the record");
    return true;
}

bool check_is_converged(struct check *ck, char *ret_why)
{
    const struct record *r = check_newest(ck);
    int holder;

    ret_why[0] = '\0';
    if (r == NULL) {
        (void)snprintf(ret_why, CHECK_WHAT_MAX, "no record was ever chosen");
        return false;
    }
    holder = check_slot(ck, r, r->holder);
    if (!has_working_primary(ck, r, holder, ret_why))
        return false;
    if (r->old_voters != 0)
        return missing(ret_why, holder, "has a change of members under way");
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        int node = check_slot(ck, r, slot);

        if ((r->voters >> slot & 1u) == 0)
            continue;
        if (node < 0 ||
            ck->identity[ck->node[node].identity].incarnation != r->member[slot].incarnation) {
            (void)snprintf(ret_why, CHECK_WHAT_MAX, "slot %u is a member that is gone", slot);
            return false;
        }
        if (!knows_the_record(ck, node, ret_why))
            return false;
        if (node != holder && r->member[slot].role == ROLE_DB &&
            !is_good_standby(ck, r, node, holder, ret_why))
            return false;
    }
    return true;
}

/* --- is there a copy that may take over? (the premise of P4) ---------------------------------- */

static bool is_of_the_line(const struct check *ck, const struct check_copy *copy)
{
    return ck->promoted_branch == 0 ||
           check_contains(ck, ck->promoted_branch, UINT64_MAX, copy->branch, copy->end);
}

/* The node of a slot if it lives under the very incarnation that the record names, else -1. */
static int member_that_lives(const struct check *ck, const struct record *r, uint8_t slot)
{
    int node = check_slot(ck, r, slot);
    const struct check_node *n = node < 0 ? NULL : &ck->node[node];

    if (n == NULL || !n->is_live || n->is_blank ||
        ck->identity[n->identity].incarnation != r->member[slot].incarnation)
        return -1;
    return node;
}

/* The farthest that anybody heard of the last primary; it was at least where its standbys are. What
 * a replica of Redis has beyond another one, the other cannot get. */
static uint64_t known_end(struct check *ck, const struct record *r)
{
    uint64_t end = r->last_known.offset;

    for (int i = 0; i < ck->nodes; i++)
        if (ck->node[i].heard_epoch == r->epoch && ck->node[i].heard_most > end)
            end = ck->node[i].heard_most;
    /* A primary that has died tells its last position, too; only the members keep that, and what
     * they were told with promises, perhaps by a member that has forgotten it since. */
    for (int i = 0; i < ck->nodes; i++) {
        const struct core *c = ck->eyes.core(ck->eyes.world, i);

        if (c != NULL && c->seen_epoch == r->epoch && c->seen_offset > end)
            end = c->seen_offset;
        for (unsigned slot = 0; c != NULL && slot < HM_MEMBERS_MAX; slot++)
            if (c->heard[slot].epoch == r->epoch && c->heard[slot].offset > end)
                end = c->heard[slot].offset;
    }
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX && ck->kind == SERVICE_REDIS; slot++) {
        int node = member_that_lives(ck, r, slot);
        struct check_copy copy;

        if (node < 0 || r->member[slot].role != ROLE_DB)
            continue;
        check_look(ck, node, &copy);
        if (copy.state == COPY_STANDBY && is_of_the_line(ck, &copy) && copy.end > end)
            end = copy.end;
    }
    return end;
}

/* 6.1, counted over the copies that exist: could their answers be enough for this one? */
static bool pairs_allow(struct check *ck, const struct record *r, const struct check_copy *own)
{
    for (unsigned i = 0; i < r->pairs_n; i++) {
        const struct pair *p = &r->pairs[i];
        unsigned met = 0;

        for (unsigned j = 0; j < p->n; j++) {
            int node = member_that_lives(ck, r, p->copies[j].member);
            struct check_copy copy;

            if (node < 0)
                continue;
            check_look(ck, node, &copy);
            met += copy.copy_id == p->copies[j].copy_id && copy.state == COPY_STANDBY &&
                   check_contains(ck, own->branch, own->end, copy.branch, copy.end);
        }
        if (check_is_alone(p) || met + p->need < p->n + 1u)
            return false;
    }
    return true;
}

/* Redis draws its replication id when it is promoted. Where it and its host are lost before the
 * record has learned the id, who streamed from it goes on only if it heard the id from its hamgrd:
 * else nobody can tell it from a copy that diverged. */
static bool is_of_known_timeline(const struct record *r, const struct core *c)
{
    if (r->timelines_n > 0 && c->seen_epoch == r->epoch &&
        c->seen_timeline == c->copy.at.timeline &&
        (r->timelines[r->timelines_n - 1].timeline & HM_TIMELINE_OPEN) != 0)
        return true;
    for (unsigned i = 0; i < r->timelines_n; i++)
        if (r->timelines[i].timeline == c->copy.at.timeline)
            return true;
    return r->kind != SERVICE_REDIS;
}

static bool is_eligible(struct check *ck, const struct record *r, uint8_t slot)
{
    int node = member_that_lives(ck, r, slot);
    const struct core *c = node < 0 ? NULL : ck->eyes.core(ck->eyes.world, node);
    struct check_copy copy;

    if (c == NULL || r->member[slot].role != ROLE_DB)
        return false;
    check_look(ck, node, &copy);
    if (copy.state == COPY_ABSENT || copy.state == COPY_REBUILDING || copy.state == COPY_UNKNOWN)
        return false;
    if (slot == r->holder && copy.copy_id == r->copy_id)
        return r->kind != SERVICE_REDIS || copy.state != COPY_DOWN;
    if (!is_of_the_line(ck, &copy) || !is_of_known_timeline(r, c) || c->config.is_nofailover)
        return false;
    if (r->durability == DURABILITY_ASYNC)
        return copy.end + r->max_lag_bytes >= known_end(ck, r);
    return pairs_allow(ck, r, &copy);
}

/* Voters that are still there under the incarnation that the record names. */
static bool has_majority(struct check *ck, const struct record *r)
{
    uint32_t there = 0;

    for (int i = 0; i < ck->nodes; i++)
        if (ck->node[i].identity >= 0 && ck->node[i].is_live && !ck->node[i].is_blank)
            there |= 1u << ck->node[i].identity;
    if (!check_majority(ck, r, there, true))
        return false;
    /* A record that is accepted but not chosen yet may have to be adopted: its voters count, too.
     */
    for (int i = 0; i < ck->nodes; i++) {
        const struct check_entry *e = check_accepted(ck, i);

        if (e != NULL && ck->node[i].is_live && !ck->node[i].is_outside &&
            e->record.version > r->version && !check_majority(ck, &e->record, there, true))
            return false;
    }
    return true;
}

bool check_has_eligible(struct check *ck)
{
    const struct record *r = check_newest(ck);

    if (r != NULL && !has_majority(ck, r))
        return false;
    for (uint8_t slot = 0; r != NULL && slot < HM_MEMBERS_MAX; slot++)
        if (is_eligible(ck, r, slot))
            return true;
    return r == NULL;
}

/* Every member's state and reason, as short as it can be said. */
static void tell_everybody(struct check *ck, char *text, size_t size)
{
    size_t used = 0;

    for (int i = 0; i < ck->nodes; i++) {
        const struct core *c = ck->eyes.core(ck->eyes.world, i);
        struct check_copy copy;
        int n;

        if (ck->node[i].identity < 0)
            continue;
        check_look(ck, i, &copy);
        n = snprintf(text + used, size - used, "; %d: %s rule %u copy %s%s epoch %llu", i,
                     c == NULL ? "down" : core_state_name(c->state), c == NULL ? 0 : c->rule,
                     copy_state_name(copy.state), copy.is_suspended ? "/suspended" : "",
                     (unsigned long long)ck->node[i].disk.record.epoch);
        if (n < 0 || used + (size_t)n >= size)
            return;
        used += (size_t)n;
    }
}

void check_too_late(struct check *ck)
{
    char why[CHECK_WHAT_MAX];
    char all[CHECK_WHAT_MAX];
    const struct record *r = check_newest(ck);
    char ignored[CHECK_WHAT_MAX];
    bool is_writable;

    if (check_failed(ck) || check_is_converged(ck, why))
        return;
    is_writable = r != NULL && has_working_primary(ck, r, check_slot(ck, r, r->holder), ignored);
    ck->is_stuck = !is_writable && !check_has_eligible(ck);
    if (ck->is_stuck)
        return; /* all that is safe is to say so: P4 asks for an eligible copy */
    all[0] = '\0';
    tell_everybody(ck, all, sizeof all);
    check_break(ck, is_writable ? INV_P6 : INV_P4, "%s%s", why, all);
}
