/* check_register.c - the register as one who sees all disks at once knows it. */
#include "check_inner.h"

#include <string.h>

enum { ENTRIES_DROPPED = 128 }; /* at once, when there is no room for more */

/* --- order ---------------------------------------------------------------------------------- */

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int check_compare(const struct ballot *a, const struct ballot *b)
{
    int by_counter = compare(a->counter, b->counter);
    int by_member = compare(a->member, b->member);

    if (by_counter != 0)
        return by_counter;
    return by_member != 0 ? by_member : compare(a->incarnation, b->incarnation);
}

int check_order(const struct ballot *a, uint64_t a_version, const struct ballot *b,
                uint64_t b_version)
{
    int by_ballot = check_compare(a, b);

    return by_ballot != 0 ? by_ballot : compare(a_version, b_version);
}

/* --- majorities ----------------------------------------------------------------------------- */

uint32_t check_identities(const struct check *ck, const struct record *r, uint16_t slots)
{
    uint32_t set = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        int i = check_identity(ck, r->member[slot].incarnation);

        if (i >= 0 && (slots >> slot & 1) != 0)
            set |= 1u << i;
    }
    return set;
}

static unsigned count(uint32_t set)
{
    unsigned n = 0;

    for (; set != 0; set &= set - 1)
        n++;
    return n;
}

bool check_majority_of(const struct check *ck, const struct record *r, uint16_t slots, uint32_t yes)
{
    /* Slots without a known identity count as voters that never say yes. */
    return 2 * count(check_identities(ck, r, slots) & yes) > count(slots);
}

bool check_majority(const struct check *ck, const struct record *r, uint32_t yes, bool is_joint)
{
    return check_majority_of(ck, r, r->voters, yes) &&
           (!is_joint || r->old_voters == 0 || check_majority_of(ck, r, r->old_voters, yes));
}

/* --- content -------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

static uint64_t mix_text(uint64_t h, const char *text, size_t size)
{
    for (size_t i = 0; i < size && text[i] != '\0'; i++)
        h = mix(h, (unsigned char)text[i]);
    return h;
}

static uint64_t hash_pairs(uint64_t h, const struct record *r)
{
    for (unsigned i = 0; i < r->pairs_n && i < HM_PAIRS_MAX; i++) {
        h = mix(h, (uint64_t)r->pairs[i].n << 8 | r->pairs[i].need);
        for (unsigned j = 0; j < r->pairs[i].n && j < HM_MEMBERS_MAX; j++)
            h = mix(mix(h, r->pairs[i].copies[j].copy_id), r->pairs[i].copies[j].member);
    }
    return h;
}

static uint64_t hash_members(uint64_t h, const struct record *r)
{
    h = mix(h, (uint64_t)r->voters << 16 | r->old_voters);
    for (unsigned i = 0; i < HM_MEMBERS_MAX; i++) {
        h = mix(mix(h, r->member[i].incarnation), (uint64_t)r->member[i].role);
        if (r->member[i].role != ROLE_NONE) {
            h = mix_text(h, r->member[i].name, sizeof r->member[i].name);
            h = mix_text(h, r->member[i].address, sizeof r->member[i].address);
        }
    }
    return h;
}

uint64_t check_hash(const struct record *r)
{
    uint64_t h = mix(r->cluster, r->cluster_incarnation);

    h = mix(mix(h, r->service), (uint64_t)r->kind);
    h = mix(mix(mix(h, r->version), r->epoch), r->holder);
    h = mix(mix(mix(h, r->copy_id), (uint64_t)r->ttl_ms), (uint64_t)r->heartbeat_ms);
    h = mix(mix(h, (uint64_t)r->durability << 8 | (uint64_t)r->goal), r->sync_standbys);
    h = mix(mix(h, r->max_lag_bytes), r->system_id);
    h = hash_pairs(mix(h, r->pairs_n), r);
    h = mix(h, r->timelines_n);
    for (unsigned i = 0; i < r->timelines_n && i < HM_TIMELINES_MAX; i++)
        h = mix(mix(mix(h, r->timelines[i].timeline), r->timelines[i].epoch),
                r->timelines[i].start);
    h = mix(mix(h, r->last_known.timeline), r->last_known.offset);
    h = mix(mix(h, r->is_paused), r->switchover.order);
    h = mix(mix(h, r->switchover.to), (uint64_t)r->switchover.phase);
    h = hash_members(mix(h, r->last_order), r);
    h = mix(h, r->changes_n);
    for (unsigned i = 0; i < r->changes_n && i < HM_CHANGES_MAX; i++)
        h = mix(mix(mix(h, r->changes[i].epoch), (uint64_t)r->changes[i].at),
                (uint64_t)r->changes[i].holder << 8 | (uint64_t)r->changes[i].reason);
    return h;
}

bool check_same_pair(const struct pair *a, const struct pair *b)
{
    if (a->n != b->n || a->need != b->need)
        return false;
    for (unsigned i = 0; i < a->n; i++) {
        bool is_there = false;

        for (unsigned j = 0; j < b->n; j++)
            is_there |= a->copies[i].copy_id == b->copies[j].copy_id &&
                        a->copies[i].member == b->copies[j].member;
        if (!is_there)
            return false;
    }
    return true;
}

bool check_is_alone(const struct pair *p)
{
    return p->need == 0;
}

bool check_has_pair(const struct record *r, const struct pair *p)
{
    for (unsigned i = 0; i < r->pairs_n; i++)
        if (check_same_pair(&r->pairs[i], p))
            return true;
    return false;
}

/* --- entries -------------------------------------------------------------------------------- */

const struct record *check_newest(const struct check *ck)
{
    return ck->newest < 0 ? NULL : &ck->entry[ck->newest].record;
}

static bool is_entry(const struct check_entry *e, const struct ballot *ballot, uint64_t version)
{
    return e->version == version && check_compare(&e->ballot, ballot) == 0;
}

struct check_entry *check_entry(struct check *ck, const struct ballot *ballot, uint64_t version)
{
    for (int i = ck->entries_n - 1; i >= 0; i--)
        if (is_entry(&ck->entry[i], ballot, version))
            return &ck->entry[i];
    return NULL;
}

struct check_entry *check_accepted(struct check *ck, int node)
{
    int i = ck->node[node].entry;

    return i < 0 ? NULL : &ck->entry[i];
}

static int moved_down(int index)
{
    return index < ENTRIES_DROPPED ? -1 : index - ENTRIES_DROPPED;
}

/* The oldest are forgotten; nobody accepts what is hundreds of versions behind. */
static void make_room(struct check *ck)
{
    ck->entries_n -= ENTRIES_DROPPED;
    memmove(ck->entry, ck->entry + ENTRIES_DROPPED, sizeof ck->entry[0] * (size_t)ck->entries_n);
    ck->newest = moved_down(ck->newest);
    for (int i = 0; i < ck->nodes; i++) {
        ck->node[i].entry = moved_down(ck->node[i].entry);
        ck->node[i].own_chosen = moved_down(ck->node[i].own_chosen);
    }
}

static struct check_entry *add_entry(struct check *ck, const struct voter_state *state)
{
    struct check_entry *e;

    if (ck->entries_n == CHECK_ENTRIES_MAX)
        make_room(ck);
    e = &ck->entry[ck->entries_n++];
    e->ballot = state->accepted;
    e->version = state->record.version;
    e->hash = check_hash(&state->record);
    e->acceptors = 0;
    e->is_chosen = false;
    e->chosen_us = 0;
    e->record = state->record;
    return e;
}

/* --- what is chosen ------------------------------------------------------------------------- */

static uint64_t holder_of(const struct record *r)
{
    return r->holder < HM_MEMBERS_MAX ? r->member[r->holder].incarnation : 0;
}

/* Chosen records form a line: the later one, in the order of ballots, knew the earlier one. */
static void must_follow(struct check *ck, const struct check_entry *a, const struct check_entry *b)
{
    const struct record *old = &a->record;
    const struct record *new = &b->record;

    if (new->version < old->version || (new->version == old->version && a->hash != b->hash))
        check_break(ck, INV_REGISTER,
                    "chosen: ballot %llu/%u v%llu does not derive from ballot %llu/%u v%llu",
                    (unsigned long long)b->ballot.counter, b->ballot.member,
                    (unsigned long long)b->version, (unsigned long long)a->ballot.counter,
                    a->ballot.member, (unsigned long long)a->version);
    if (new->epoch < old->epoch)
        check_break(ck, INV_EPOCH, "chosen: epoch goes back from %llu to %llu (v%llu to v%llu)",
                    (unsigned long long)old->epoch, (unsigned long long)new->epoch,
                    (unsigned long long)a->version, (unsigned long long)b->version);
    if (new->epoch == old->epoch && holder_of(new) != holder_of(old))
        check_break(ck, INV_EPOCH, "chosen: epoch %llu has two holders, slots %u and %u",
                    (unsigned long long)new->epoch, old->holder, new->holder);
    if (check_identities(ck, new, new->voters) != check_identities(ck, old, old->voters) &&
        new->old_voters == 0)
        check_break(ck, INV_REGISTER,
                    "chosen: the voters change from v%llu to v%llu without a joint majority",
                    (unsigned long long)a->version, (unsigned long long)b->version);
}

/* The neighbours of a chosen entry in the order of ballots, not of time: an earlier one may
 * become chosen later. */
static void must_fit_in_line(struct check *ck, const struct check_entry *e)
{
    const struct check_entry *before = NULL;
    const struct check_entry *after = NULL;

    for (int i = 0; i < ck->entries_n; i++) {
        const struct check_entry *other = &ck->entry[i];
        int order;

        if (other == e || !other->is_chosen ||
            other->record.cluster_incarnation != e->record.cluster_incarnation)
            continue;
        order = check_order(&other->ballot, other->version, &e->ballot, e->version);
        if (order < 0 && (before == NULL || check_order(&other->ballot, other->version,
                                                        &before->ballot, before->version) > 0))
            before = other;
        if (order > 0 && (after == NULL || check_order(&other->ballot, other->version,
                                                       &after->ballot, after->version) < 0))
            after = other;
    }
    if (before != NULL)
        must_follow(ck, before, e);
    if (after != NULL)
        must_follow(ck, e, after);
}

/* Newer: of a newer cluster, else higher in the order of ballots. */
static bool is_newer(const struct check_entry *a, const struct check_entry *b)
{
    if (a->record.cluster_incarnation != b->record.cluster_incarnation)
        return a->record.cluster_incarnation > b->record.cluster_incarnation;
    return check_order(&a->ballot, a->version, &b->ballot, b->version) > 0;
}

/* Who was left out by a forced failover may be added again. */
static void let_members_in(struct check *ck, const struct record *r)
{
    uint32_t members = check_identities(ck, r, r->voters);

    for (int i = 0; i < ck->nodes; i++)
        if (ck->node[i].identity >= 0 && (members >> ck->node[i].identity & 1u) != 0)
            ck->node[i].is_outside = false;
}

/* After a forced failover nothing that the others did, or do, counts. */
static void begin_new_cluster(struct check *ck, const struct record *r)
{
    uint32_t members = check_identities(ck, r, r->voters);

    for (int i = 0; i < ck->nodes; i++) {
        struct check_node *n = &ck->node[i];

        n->is_outside = n->identity >= 0 && (members >> n->identity & 1u) == 0;
        if (!n->is_outside && n->identity >= 0 && (ck->forced >> i & 1u) == 0)
            check_break(ck, INV_REGISTER, "cluster incarnation %u is chosen; nobody forced it",
                        r->cluster_incarnation);
        if (!n->is_outside)
            continue;
        n->licence_us = 0;
        for (int voter = 0; voter < ck->identities_n; voter++)
            ck->grant[voter][i].until_us = 0;
    }
    for (int i = 0; i < ck->branches_n; i++)
        ck->branch[i].acked = 0;
    ck->forced = 0;
    ck->promoted_epoch = 0;
    ck->promoted_branch = 0;
    ck->promoted_node = -1;
    ck->acked_epoch = 0;
    ck->acked_node = -1;
}

/* A person named the copy that goes on with what it has; in the same cluster, with its votes. */
static void begin_kept_epoch(struct check *ck, const struct record *r, int holder)
{
    const struct record *old = &ck->entry[ck->newest].record;

    if (r->epoch <= old->epoch || r->changes_n == 0 ||
        r->changes[r->changes_n - 1].reason != CHANGE_FORCED ||
        r->changes[r->changes_n - 1].epoch != r->epoch)
        return;
    if (holder < 0 || (ck->forced >> holder & 1u) == 0)
        check_break(ck, INV_REGISTER, "epoch %llu goes on with less; nobody asked for it",
                    (unsigned long long)r->epoch);
    if (old->is_paused)
        check_break(ck, INV_LEGAL, "epoch %llu goes on with less while the cluster is paused",
                    (unsigned long long)r->epoch);
    for (int i = 0; i < ck->branches_n; i++)
        ck->branch[i].acked = 0;
    ck->promoted_branch = 0; /* it need not go on from there */
    ck->forced = 0;
}

/* In async nothing is promised, and nothing that was promised before either. */
static void note_durability(struct check *ck, struct check_node *holder, const struct record *r)
{
    if (r->durability != DURABILITY_ASYNC) {
        if (holder->sync_since_us == INT64_MAX)
            holder->sync_since_us = check_now(ck);
        return;
    }
    holder->sync_since_us = INT64_MAX;
    for (int i = 0; i < ck->branches_n; i++)
        ck->branch[i].acked = 0;
}

static void become_chosen(struct check *ck, struct check_entry *e)
{
    int index = (int)(e - ck->entry);
    int holder = check_slot(ck, &e->record, e->record.holder);
    struct check_node *h = holder < 0 ? NULL : &ck->node[holder];

    e->is_chosen = true;
    e->chosen_us = check_now(ck);
    must_fit_in_line(ck, e);
    if (h != NULL && (h->own_chosen < 0 || is_newer(e, &ck->entry[h->own_chosen])))
        h->own_chosen = index;
    if (ck->newest >= 0 && !is_newer(e, &ck->entry[ck->newest]))
        return;
    if (ck->newest >= 0 &&
        e->record.cluster_incarnation != ck->entry[ck->newest].record.cluster_incarnation)
        begin_new_cluster(ck, &e->record);
    else if (ck->newest >= 0)
        begin_kept_epoch(ck, &e->record, holder);
    ck->newest = index;
    let_members_in(ck, &ck->entry[index].record);
    check_calm_epoch(ck, e->record.epoch);
    if (h != NULL)
        note_durability(ck, h, &e->record);
}

void check_note_accepted(struct check *ck, int node, const struct voter_state *state)
{
    struct check_node *n = &ck->node[node];
    struct check_entry *e = check_accepted(ck, node);

    if (e == NULL || !is_entry(e, &state->accepted, state->record.version)) {
        e = check_entry(ck, &state->accepted, state->record.version);
        if (e == NULL)
            e = add_entry(ck, state);
        n->entry = (int)(e - ck->entry);
    }
    if (memcmp(&e->record, &state->record, sizeof e->record) != 0 &&
        e->hash != check_hash(&state->record))
        check_break(ck, INV_REGISTER, "node %d: ballot %llu/%u v%llu names two records", node,
                    (unsigned long long)e->ballot.counter, e->ballot.member,
                    (unsigned long long)e->version);
    e->acceptors |= 1u << n->identity;
    if (!e->is_chosen && check_majority(ck, &e->record, e->acceptors, true))
        become_chosen(ck, e);
}

/* --- attempts ------------------------------------------------------------------------------- */

struct check_attempt *check_attempt(struct check *ck, const struct ballot *ballot)
{
    int node = check_find(ck, ballot->incarnation);

    if (node >= 0 && check_compare(ballot, &ck->attempt[node].ballot) == 0)
        return &ck->attempt[node];
    memset(&ck->elsewhere, 0, sizeof ck->elsewhere);
    return &ck->elsewhere;
}

void check_begin(struct check *ck, int node, const struct ballot *ballot)
{
    struct check_attempt *a = &ck->attempt[node];

    if (check_compare(ballot, &a->ballot) == 0)
        return;
    memset(a, 0, sizeof *a);
    a->ballot = *ballot;
}
