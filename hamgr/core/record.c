#include "core/record.h"

#include "base/address.h"

#include <string.h>

const struct pair pair_alone;

static unsigned count_slots(uint16_t slots)
{
    unsigned n = 0;

    for (; slots != 0; slots &= (uint16_t)(slots - 1))
        n++;
    return n;
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int ballot_compare(const struct ballot *a, const struct ballot *b)
{
    if (a->counter != b->counter)
        return compare_u64(a->counter, b->counter);
    if (a->counter == 0)
        return 0;
    if (a->member != b->member)
        return a->member < b->member ? -1 : 1;
    return compare_u64(a->incarnation, b->incarnation);
}

int record_order(const struct ballot *a, uint64_t a_version, const struct ballot *b,
                 uint64_t b_version)
{
    int order = ballot_compare(a, b);

    return order != 0 ? order : compare_u64(a_version, b_version);
}

static bool is_majority_of(uint16_t voters, uint16_t votes)
{
    return 2 * count_slots(voters & votes) > count_slots(voters);
}

bool record_is_majority(const struct record *r, uint16_t votes)
{
    if (!is_majority_of(r->voters, votes))
        return false;
    return r->old_voters == 0 || is_majority_of(r->old_voters, votes);
}

bool record_is_lease_majority(const struct record *r, uint16_t votes)
{
    return is_majority_of(r->old_voters != 0 ? r->old_voters : r->voters, votes);
}

uint16_t record_electorate(const struct record *r)
{
    return r->voters | r->old_voters;
}

uint16_t record_db_members(const struct record *r)
{
    uint16_t slots = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (r->member[slot].role == ROLE_DB)
            slots |= (uint16_t)(1u << slot);
    return slots;
}

uint8_t record_find(const struct record *r, uint64_t incarnation)
{
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (r->member[slot].role != ROLE_NONE && r->member[slot].incarnation == incarnation)
            return (uint8_t)slot;
    return HM_NOBODY;
}

uint8_t record_find_name(const struct record *r, const char *name)
{
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (r->member[slot].role != ROLE_NONE &&
            strncmp(r->member[slot].name, name, HM_NAME_MAX) == 0)
            return (uint8_t)slot;
    return HM_NOBODY;
}

bool record_is_on_history(const struct record *r, const struct position *p, uint64_t began_epoch)
{
    for (unsigned i = r->timelines_n; i-- > 0;) {
        const struct timeline *t = &r->timelines[i];

        if (t->timeline != p->timeline)
            continue;
        if (began_epoch != 0 && t->epoch != began_epoch)
            return false;
        return i + 1u == r->timelines_n || p->offset <= r->timelines[i + 1].start;
    }
    return false;
}

int record_compare(const struct position *a, const struct position *b)
{
    return compare_u64(a->offset, b->offset);
}

/* Who held an epoch; of the last 16 changes. */
static uint8_t holder_of(const struct record *r, uint64_t epoch)
{
    for (unsigned i = r->changes_n; i-- > 0;)
        if (r->changes[i].epoch == epoch)
            return r->changes[i].holder;
    return HM_NOBODY;
}

uint8_t record_writer(const struct record *r, uint64_t timeline)
{
    uint8_t slot = HM_NOBODY;

    for (unsigned i = r->timelines_n; i-- > 0 && slot == HM_NOBODY;)
        if (r->timelines[i].timeline == timeline)
            slot = holder_of(r, r->timelines[i].epoch);
    return slot < HM_MEMBERS_MAX && r->member[slot].role == ROLE_DB ? slot : HM_NOBODY;
}

const struct timeline *record_timeline(const struct record *r)
{
    return r->timelines_n > 0 ? &r->timelines[r->timelines_n - 1] : NULL;
}

void record_add_timeline(struct record *r, uint64_t timeline, uint64_t epoch, uint64_t start)
{
    if (r->timelines_n == HM_TIMELINES_MAX) {
        memmove(&r->timelines[0], &r->timelines[1], sizeof r->timelines - sizeof r->timelines[0]);
        r->timelines_n--;
    }
    r->timelines[r->timelines_n++] =
        (struct timeline){ .timeline = timeline, .epoch = epoch, .start = start };
}

void record_add_change(struct record *r, enum change_reason reason, hm_ms wall_ms)
{
    if (r->changes_n == HM_CHANGES_MAX) {
        memmove(&r->changes[0], &r->changes[1], sizeof r->changes - sizeof r->changes[0]);
        r->changes_n--;
    }
    r->changes[r->changes_n++] =
        (struct change){ .epoch = r->epoch, .holder = r->holder, .reason = reason, .at = wall_ms };
}

bool record_host(const struct record *r, uint8_t slot, char host[HM_ADDRESS_MAX])
{
    host[0] = '\0';
    return slot < HM_MEMBERS_MAX && r->member[slot].role != ROLE_NONE &&
           address_host(r->member[slot].address, host);
}

uint64_t record_next_timeline(const struct record *r)
{
    uint64_t highest = 0;

    for (unsigned i = 0; i < r->timelines_n; i++)
        if (r->timelines[i].timeline > highest)
            highest = r->timelines[i].timeline;
    if (r->kind == SERVICE_REDIS)
        return HM_TIMELINE_OPEN | (r->version + 1);
    return highest + 1;
}

static const char *pairs_fault(const struct record *r)
{
    if (r->pairs_n < 1 || r->pairs_n > HM_PAIRS_MAX)
        return "number of sync pairs";
    for (unsigned i = 0; i < r->pairs_n; i++) {
        const struct pair *p = &r->pairs[i];
        uint16_t seen = 0;

        if (p->n > HM_MEMBERS_MAX || p->need > p->n || (p->need == 0) != (p->n == 0))
            return "size of a sync pair";
        for (unsigned j = 0; j < p->n; j++) {
            uint8_t member = p->copies[j].member;

            if (member >= HM_MEMBERS_MAX || member == r->holder || (seen & (1u << member)) != 0)
                return "member of a sync pair";
            seen |= (uint16_t)(1u << member);
        }
    }
    return NULL;
}

static const char *members_fault(const struct record *r)
{
    uint16_t may_vote = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct member *m = &r->member[slot];

        if ((unsigned)m->role > ROLE_OBSERVER)
            return "role of a member";
        if (m->role == ROLE_NONE)
            continue;
        if (memchr(m->name, 0, sizeof m->name) == NULL || m->name[0] == 0)
            return "name of a member";
        if (memchr(m->address, 0, sizeof m->address) == NULL)
            return "address of a member";
        if (m->role != ROLE_OBSERVER)
            may_vote |= (uint16_t)(1u << slot);
    }
    if (r->voters == 0 || (record_electorate(r) & ~may_vote) != 0)
        return "voters";
    if (r->holder >= HM_MEMBERS_MAX || r->member[r->holder].role != ROLE_DB ||
        (r->voters & (1u << r->holder)) == 0)
        return "holder";
    return NULL;
}

enum hm_rc record_check(const struct record *r, const char **ret_why)
{
    const char *why = members_fault(r);

    if (why == NULL)
        why = pairs_fault(r);
    if (why == NULL && (r->epoch == 0 || r->version == 0 || r->epoch > HM_COUNTER_MAX ||
                        r->version > HM_COUNTER_MAX))
        why = "epoch or version";
    if (why == NULL && (r->timelines_n > HM_TIMELINES_MAX || r->changes_n > HM_CHANGES_MAX))
        why = "length of the history";
    if (why == NULL &&
        (r->heartbeat_ms < 1 || r->heartbeat_ms > r->ttl_ms / 2 || r->ttl_ms > HM_TTL_MAX_MS))
        why = "ttl or heartbeat";
    if (why == NULL && ((unsigned)r->durability > DURABILITY_STRICT ||
                        (unsigned)r->goal > DURABILITY_STRICT || (unsigned)r->kind > SERVICE_REDIS))
        why = "durability or kind";
    if (why == NULL && r->switchover.phase != SWITCH_NONE && r->switchover.to >= HM_MEMBERS_MAX)
        why = "target of the switchover";
    if (why == NULL)
        return HM_OK;
    *ret_why = why;
    return HM_BAD_INPUT;
}

/* Finalizer of splitmix64: spreads every bit of x. */
static uint64_t spread(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t pair_digest(const struct pair *p)
{
    uint64_t sum = spread(p->need + 1u);

    for (unsigned i = 0; i < p->n; i++)
        sum += spread(p->copies[i].copy_id ^ spread(p->copies[i].member + 0x9e3779b97f4a7c15u));
    return sum != 0 ? sum : 1;
}

bool pair_is_alone(const struct pair *p)
{
    return p->need == 0;
}

bool pair_has(const struct pair *p, uint8_t member, uint64_t copy_id)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->copies[i].member == member && p->copies[i].copy_id == copy_id)
            return true;
    return false;
}

void pair_add(struct pair *p, uint8_t member, uint64_t copy_id)
{
    if (pair_has(p, member, copy_id))
        return;
    HM_BUG_ON(p->n == HM_MEMBERS_MAX);
    p->copies[p->n++] = (struct copy_name){ .member = member, .copy_id = copy_id };
}

bool record_has_pair(const struct record *r, uint64_t digest)
{
    for (unsigned i = 0; i < r->pairs_n; i++)
        if (pair_digest(&r->pairs[i]) == digest)
            return true;
    return false;
}

bool record_pairs_have(const struct record *r, uint8_t member, uint64_t copy_id)
{
    for (unsigned i = 0; i < r->pairs_n; i++)
        if (pair_has(&r->pairs[i], member, copy_id))
            return true;
    return false;
}

bool record_pairs_name(const struct record *r, uint8_t member, uint64_t copy_id)
{
    if (copy_id != 0)
        return record_pairs_have(r, member, copy_id);
    for (unsigned i = 0; i < r->pairs_n; i++)
        for (unsigned j = 0; j < r->pairs[i].n; j++)
            if (r->pairs[i].copies[j].member == member)
                return true;
    return false;
}

const char *member_role_name(enum member_role role)
{
    static const char *const names[] = { "none", "db", "witness", "observer" };

    return (unsigned)role < HM_ARRAY_LEN(names) ? names[role] : "?";
}

const char *durability_name(enum durability d)
{
    static const char *const names[] = { "async", "sync", "strict" };

    return (unsigned)d < HM_ARRAY_LEN(names) ? names[d] : "?";
}
