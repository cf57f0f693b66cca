/* exchange.c - requests from other members to the voter, and answers to what this member asked. */
#include "core/inner.h"

#include <string.h>

#define WRITE_AGAIN_HEARTBEATS 4 /* between two changes that the own disk refuses */
#define BACKOFF_DOUBLINGS_MAX 2

/* R8: 0.5 to 1.5 heartbeats, doubling to 4. */
hm_ms core_jitter(struct core *c, unsigned doublings)
{
    hm_ms heartbeat = core_heartbeat_ms(c);

    if (doublings > BACKOFF_DOUBLINGS_MAX)
        doublings = BACKOFF_DOUBLINGS_MAX;
    heartbeat <<= doublings;
    return hm_min_ms(prng_between(&c->prng, heartbeat / 2, heartbeat + heartbeat / 2),
                     4 * core_heartbeat_ms(c));
}

void core_make_gossip(struct core *c, struct gossip *g)
{
    const struct record *r = core_known(c);
    bool is_mine = core_is_holder_copy(c, r);
    bool is_up = c->copy.state == COPY_SUSPENDED || c->copy.state == COPY_PRIMARY;

    memset(g, 0, sizeof *g);
    g->copy = c->copy.state;
    g->copy_id = c->copy.copy_id;
    g->at = c->copy.at;
    g->began_epoch = c->copy.began_epoch;
    g->epoch = core_has_record(c) ? r->epoch : 0;
    g->priority = c->config.priority;
    g->follows = c->copy.follows == HM_STRANGER ? HM_NOBODY : c->copy.follows;
    g->is_streaming = c->copy.is_streaming;
    g->is_final = c->copy.is_final;
    g->is_healthy = c->copy.is_healthy;
    g->is_nofailover = core_is_barred(c);
    g->is_delayed = c->copy.is_delayed;
    g->wants_rebuild = c->wants_rebuild || core_is_forged(c);
    g->sees_majority = c->config.role == ROLE_DB && core_sees_majority(c);
    g->is_holder = core_is_holder_state(c->state) || (is_mine && is_up && c->state != ST_RELEASED);
    g->released = c->released_at_ms != HM_PAST;
    g->is_rebuilding = core_is_rebuilding(c);
    g->rebuilt_percent = g->is_rebuilding ? c->copy.rebuilt_percent : 0;
    g->rebuild_failures = core_is_rebuild(c->op_failed) ? c->op_failures : 0;
    g->is_open = core_lets_clients_in(c);
}

/* --- the own record ------------------------------------------------------------------------- */

void core_notice_record(struct core *c)
{
    const struct record *r = core_known(c);

    c->self =
        r->epoch != 0 ? record_find(r, c->config.incarnation) : record_find_name(r, c->config.name);
    if (r->epoch != 0) {
        c->cluster_incarnation = r->cluster_incarnation;
        c->is_removed = c->self == HM_NOBODY;
        for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
            if (r->member[slot].incarnation != c->seen_incarnation[slot]) {
                c->seen_incarnation[slot] = r->member[slot].incarnation;
                c->acked_newest_ms[slot] = HM_PAST;
                c->acked_until_ms[slot] = HM_PAST; /* that was another member's vote */
                view_forget(&c->view, (uint8_t)slot);
            }
    }
    c->changed_ms = c->now_ms;
    if (core_is_holder_state(c->state))
        c->valid_until_ms = core_lease_until(c, HM_PAST); /* other members, another majority */
}

/* --- requests to the voter ------------------------------------------------------------------ */

static void note_answer(struct core *c, uint8_t from, const struct msg *m);

static void persist(struct core *c)
{
    struct core_effect *e = core_ask(c, DO_PERSIST);

    e->persist.ticket = ++c->ticket;
    e->persist.state = &c->voter.pending;
}

/* The promise to LOG_FREEZE is made; the answer waits for the copy. */
static void begin_freeze(struct core *c, const struct msg *request)
{
    bool is_new = ballot_compare(&request->ballot, &c->freeze.ballot) != 0;

    c->freeze.request = *request;
    c->freeze.ballot = request->ballot;
    c->freeze.must_answer = true;
    if (is_new)
        c->freeze.is_frozen = false;
}

static bool is_from_self(const struct core *c, const struct msg *m)
{
    return m->from == c->self && m->from_incarnation == c->config.incarnation;
}

/* An answer goes to whoever asked; the own attempt hears its own voter at once. */
static void deliver_answer(struct core *c, const struct msg *request, struct msg *answer)
{
    if (request->type == MSG_FREEZE && answer->refusal == REFUSE_NOTHING) {
        begin_freeze(c, request);
        return;
    }
    if (is_from_self(c, request)) {
        answer->from_incarnation = c->config.incarnation;
        note_answer(c, c->self, answer);
        return;
    }
    if (request->type == MSG_PREPARE)
        answer->at.offset = core_primary_offset(c, core_known(c));
    answer->to_incarnation = request->from_incarnation;
    core_send_to(c, request->from, answer);
}

/* A member that can stand, sees a majority and has the longer log objects; for two heartbeats
 * after the lease ended at most, so that it cannot block the others for ever. */
static void object_if_better(struct core *c, const struct msg *m, struct msg *answer)
{
    bool stands = (c->state == ST_STANDING && c->rule >= RULE_NAMED) || c->state == ST_PREVOTE;

    if (answer->refusal != REFUSE_NOTHING || m->from == c->self || !stands || c->failures > 0)
        return;
    if (c->now_ms >= c->lease_end_ms + 2 * core_heartbeat_ms(c) || !core_sees_majority(c))
        return;
    if (core_is_better_than(c, m->from))
        answer->refusal = REFUSE_BETTER_CANDIDATE;
}

static void queue_request(struct core *c, const struct msg *m)
{
    unsigned at = c->inbox_n;

    for (unsigned i = 0; i < c->inbox_n; i++)
        if (c->inbox[i].from_incarnation == m->from_incarnation && c->inbox[i].type == m->type)
            at = i; /* the newer one takes its place: the older would only be refused */
    if (at == CORE_INBOX_MAX)
        return; /* as good as lost; it will be sent again */
    if (at == c->inbox_n)
        c->inbox_n++;
    c->inbox[at] = *m;
    if (m->record != NULL) {
        c->inbox_record[at] = *m->record;
        c->inbox[at].record = &c->inbox_record[at];
    }
}

/* A holder that the voter knows chosen by a majority: its RENEW for the very record accepted. */
static void note_renewal(struct core *c, const struct msg *m)
{
    c->renewed.is_there = true;
    c->renewed.holder = m->from;
    c->renewed.ballot = m->ballot;
    c->renewed.version = m->version;
    c->renewed.at_ms = c->now_ms;
    c->is_removed = false;
    c->is_paused = false; /* another holds: the pause was for the own epoch */
    if (core_known(c)->epoch > c->released_epoch)
        c->released_at_ms = HM_PAST;
}

static void take_request(struct core *c, const struct msg *m)
{
    bool is_own = m->from_incarnation == c->config.incarnation;
    struct msg answer;
    enum voter_says says = voter_take(&c->voter, m, c->now_ms, &answer);

    if (says == VOTER_LATER) {
        queue_request(c, m);
    } else if (says == VOTER_WRITES) {
        persist(c);
    } else if (says == VOTER_ANSWERS) {
        if (m->type == MSG_PREVOTE)
            object_if_better(c, m, &answer);
        if (m->type == MSG_RENEW && !is_own && answer.refusal == REFUSE_NOTHING)
            note_renewal(c, m);
        deliver_answer(c, m, &answer);
    }
}

void core_ask_own_voter(struct core *c, struct msg *m)
{
    m->service = c->config.service;
    m->from = c->self;
    m->to = c->self;
    m->from_incarnation = c->config.incarnation;
    m->to_incarnation = c->config.incarnation;
    take_request(c, m);
}

void core_take_persisted(struct core *c, bool is_ok)
{
    struct msg request = c->voter.request;
    struct msg answer;
    struct msg waiting[CORE_INBOX_MAX];
    unsigned n = c->inbox_n;

    voter_written(&c->voter, is_ok, c->now_ms, &answer);
    c->has_write_failed = !is_ok;
    if (!is_ok) {
        c->change_again_ms = c->now_ms + WRITE_AGAIN_HEARTBEATS * core_heartbeat_ms(c);
        core_alert(c, ALERT_DISK, 0);
    }
    if (is_ok && request.type == MSG_ACCEPT)
        core_notice_record(c);
    if (is_ok && request.type == MSG_ACCEPT && is_from_self(c, &request))
        c->ask_at_ms[c->self] = c->now_ms; /* asked again, its lease counts from when others are */
    else
        deliver_answer(c, &request, &answer);

    memcpy(waiting, c->inbox, sizeof waiting[0] * n);
    c->inbox_n = 0;
    for (unsigned i = 0; i < n; i++)
        take_request(c, &waiting[i]); /* one that must wait again goes to its old place */
}

/* --- answers -------------------------------------------------------------------------------- */

static const struct sent *find_sent(const struct core *c, uint32_t seq)
{
    const struct sent *s = &c->sent[seq % CORE_SENT_MAX];

    return s->seq == seq && seq != 0 ? s : NULL;
}

uint32_t core_next_seq(struct core *c, const struct ballot *ballot, hm_ms ttl)
{
    if (++c->seq == 0)
        c->seq = 1;
    c->sent[c->seq % CORE_SENT_MAX] =
        (struct sent){ .ballot = *ballot, .seq = c->seq, .at_ms = c->now_ms, .ttl_ms = ttl };
    return c->seq;
}

/* A voter granted a transmission: it supports the lease, counted from that one's send time. */
static void note_support(struct core *c, uint8_t from, const struct msg *m)
{
    const struct sent *s = find_sent(c, m->seq);
    hm_ms until_ms;

    if (s == NULL || ballot_compare(&m->ballot, &c->released) <= 0)
        return;
    if (ballot_compare(&m->ballot, &s->ballot) != 0)
        return; /* of a former life */
    until_ms = s->at_ms + s->ttl_ms - (s->ttl_ms + 49) / 50;
    if (s->at_ms > c->acked_sent_ms[from]) {
        c->acked_sent_ms[from] = s->at_ms;
        c->acked_newest_ms[from] = until_ms;
    }
    if (until_ms > c->acked_until_ms[from]) {
        c->acked_until_ms[from] = until_ms;
        c->valid_until_ms = core_lease_until(c, HM_PAST);
    }
}

static void note_higher(struct core *c, const struct msg *m)
{
    if (m->promised.counter > c->top_counter)
        c->top_counter = m->promised.counter;
    if (ballot_compare(&m->promised, &c->mine) > 0)
        c->is_beaten = true;
}

static void adopt(struct core *c, const struct msg *m)
{
    if (m->record == NULL || m->accepted.counter == 0)
        return;
    if (c->adopted.epoch != 0 &&
        record_order(&m->accepted, m->record->version, &c->adopted_ballot, c->adopted.version) <= 0)
        return;
    c->adopted = *m->record;
    c->adopted_ballot = m->accepted;
}

/* What a voter heard of the primary counts for the record that it accepted. One that accepted
 * another epoch, even a later one that was never chosen, takes nothing away from what others heard.
 */
static void note_heard(struct core *c, uint8_t from, const struct msg *m)
{
    c->heard[from].epoch = m->record != NULL ? m->record->epoch : 0;
    c->heard[from].offset = m->at.offset;
}

/* A refusal that ends by itself says when: ask again then, or a heartbeat later, for a lease may be
 * released before it ends. Any other is asked again in turn. */
static void count_vote(struct core *c, uint8_t from, const struct msg *m)
{
    if (m->refusal == REFUSE_NOTHING) {
        c->granted |= core_slot_bit(from);
        c->incarnations[from] = m->from_incarnation;
    } else if (m->remaining_ms > 0) {
        c->ask_at_ms[from] = c->now_ms + hm_min_ms(m->remaining_ms, core_heartbeat_ms(c));
    }
    if (m->accepted.counter != 0)
        c->not_empty |= core_slot_bit(from);
}

static void note_freeze_answer(struct core *c, uint8_t from, const struct msg *m)
{
    c->refused |= m->refusal != REFUSE_NOTHING ? core_slot_bit(from) : 0;
    if (m->refusal != REFUSE_NOTHING)
        return;
    c->granted |= core_slot_bit(from);
    c->incarnations[from] = m->from_incarnation;
    c->answers[from] = (struct freeze_answer){
        .is_there = true, .at = m->at, .began_epoch = m->began_epoch, .copy_id = m->copy_id
    };
}

static void note_accept_answer(struct core *c, uint8_t from, const struct msg *m)
{
    if (m->refusal != REFUSE_NOTHING) {
        note_higher(c, m);
        return;
    }
    note_support(c, from, m);
    core_renew_for(c, m);
    if (m->version == c->draft.version && ballot_compare(&m->ballot, &c->mine) == 0)
        count_vote(c, from, m);
}

static void note_renew_answer(struct core *c, uint8_t from, const struct msg *m)
{
    if (m->refusal == REFUSE_NOTHING)
        note_support(c, from, m);
    else if (m->refusal == REFUSE_OTHER_RECORD)
        c->lagging |= core_slot_bit(from);
    else
        note_higher(c, m);
}

/* Only a record that is newer than the own one can tell that this member is none any more. */
static void note_removal(struct core *c, const struct msg *m)
{
    const struct voter_state *own = &c->voter.durable;

    if (m->record != NULL && record_find(m->record, c->config.incarnation) == HM_NOBODY &&
        record_order(&m->accepted, m->record->version, &own->accepted, own->record.version) > 0)
        c->is_removed = true;
}

static void note_answer(struct core *c, uint8_t from, const struct msg *m)
{
    bool is_mine = ballot_compare(&m->ballot, &c->mine) == 0 &&
                   (m->seq == c->attempt_seq || m->type == MSG_FREEZE_ANSWER);

    if (from == HM_NOBODY)
        return;
    c->has_news = true;
    if (m->refusal == REFUSE_NOT_A_MEMBER)
        note_removal(c, m);
    if (m->type == MSG_RENEW_ANSWER && core_is_holder_state(c->state)) {
        note_renew_answer(c, from, m);
    } else if (m->type == MSG_ACCEPT_ANSWER &&
               (c->state == ST_ACCEPT || core_is_holder_state(c->state))) {
        note_accept_answer(c, from, m);
    } else if (!is_mine) {
        return;
    } else if (m->type == MSG_PREVOTE_ANSWER && c->state == ST_PREVOTE) {
        count_vote(c, from, m);
        note_higher(c, m);
    } else if (m->type == MSG_PREPARE_ANSWER &&
               (c->state == ST_PREPARE || c->state == ST_HOLDER_PREPARE)) {
        if (m->refusal == REFUSE_NOTHING) {
            adopt(c, m);
            note_heard(c, from, m);
        } else
            note_higher(c, m);
        count_vote(c, from, m);
    } else if (m->type == MSG_PREPARE_ANSWER && (c->state == ST_FREEZE || c->state == ST_RESCUE)) {
        if (m->refusal == REFUSE_HIGHER_BALLOT)
            note_higher(c, m);
    } else if (m->type == MSG_FREEZE_ANSWER && (c->state == ST_FREEZE || c->state == ST_YIELD)) {
        if (m->refusal == REFUSE_HIGHER_BALLOT)
            note_higher(c, m);
        note_freeze_answer(c, from, m);
    }
}

/* --- the door ------------------------------------------------------------------------------- */

/* The sender must be who its slot says. A slot that is free here may belong to a member that was
 * added while this one was away: the ballots protect the register from it. */
static bool is_impostor(const struct core *c, const struct msg *m)
{
    const struct record *r = m->type == MSG_ACCEPT ? m->record : core_known(c);
    const struct member *sender;

    if (m->from >= HM_MEMBERS_MAX)
        return true;
    sender = &r->member[m->from];
    return sender->role != ROLE_NONE && sender->incarnation != 0 &&
           sender->incarnation != m->from_incarnation;
}

static void refuse_stranger(struct core *c, const struct msg *m)
{
    struct msg answer = { .type = MSG_PREVOTE_ANSWER, .ballot = m->ballot, .seq = m->seq };

    if (m->type != MSG_PREVOTE || m->from == HM_NOBODY || !core_has_record(c))
        return;
    answer.refusal = REFUSE_NOT_A_MEMBER;
    answer.accepted = c->voter.durable.accepted;
    answer.record = &c->voter.durable.record;
    answer.to_incarnation = m->from_incarnation;
    core_send_to(c, HM_NOBODY, &answer);
}

static void tell_record(struct core *c, const struct msg *m)
{
    struct msg answer = { .type = MSG_RECORD, .seq = m->seq };

    if (!core_has_record(c) || c->voter.is_blank)
        return;
    answer.accepted = c->voter.durable.accepted;
    answer.version = c->voter.durable.record.version;
    answer.record = &c->voter.durable.record;
    answer.to_incarnation = m->from_incarnation;
    core_send_to(c, HM_NOBODY, &answer);
}

/* Whoever speaks as a member and is none is told the record that does not name it: a member that
 * was removed asks nobody for anything any more, and would never learn of it. */
static bool is_none_of_us(const struct core *c, const struct msg *m)
{
    return m->type == MSG_GOSSIP && m->to_incarnation == c->config.incarnation &&
           (m->gossip.epoch == 0 ||
            (core_has_record(c) && record_find(core_known(c), m->from_incarnation) == HM_NOBODY));
}

/* A member that is being added is asked for its vote, and knows no record that names it yet. */
static void ask_for_record(struct core *c, const struct msg *m)
{
    struct msg query = { .type = MSG_QUERY };

    if (core_known(c)->epoch != 0 || c->voter.is_blank || c->is_outdated ||
        m->to_incarnation != c->config.incarnation)
        return;
    query.to_incarnation = m->from_incarnation;
    core_send_to(c, HM_NOBODY, &query);
}

/* A member that missed the first record would wait for empty voters for ever: it builds on what
 * another voter accepted. Its attempt still adopts the highest record of a majority. */
static void take_hint(struct core *c, const struct msg *m)
{
    if (core_has_record(c) || c->voter.is_blank || m->to_incarnation != c->config.incarnation ||
        record_find(m->record, c->config.incarnation) == HM_NOBODY ||
        m->record->version <= c->hint.version)
        return;
    c->hint = *m->record;
    core_notice_record(c);
}

/* An observer believes a record that a majority of its voters, or the holder itself, reports. */
static void take_record(struct core *c, const struct msg *m)
{
    int order;

    if (m->record == NULL || m->from >= HM_MEMBERS_MAX)
        return;
    if (c->config.role != ROLE_OBSERVER) {
        if (core_has_record(c))
            note_removal(c, m);
        take_hint(c, m);
        return;
    }
    order = c->adopted.epoch == 0 ? 1
                                  : record_order(&m->accepted, m->record->version,
                                                 &c->adopted_ballot, c->adopted.version);
    if (order > 0) {
        adopt(c, m);
        c->granted = 0;
    }
    if (order >= 0) {
        c->granted |= core_slot_bit(m->from);
        c->incarnations[m->from] = m->from_incarnation;
    }
    if (record_is_majority(&c->adopted, core_votes(c, &c->adopted)) || m->gossip.is_holder)
        c->draft = order >= 0 ? c->adopted : c->draft;
}

/* A request for this member's vote counts only if the record in it, or the own one, names it. */
static bool is_for_this_voter(const struct core *c, const struct msg *m)
{
    if (m->to_incarnation != 0 && m->to_incarnation != c->config.incarnation)
        return false;
    if (c->config.role == ROLE_OBSERVER || c->is_outdated)
        return false;
    if (m->type == MSG_ACCEPT)
        return record_find(m->record, c->config.incarnation) != HM_NOBODY &&
               m->record->holder == m->from && m->record->service == c->config.service;
    /* One that is being added may stand in another slot than in the list that it was given: it
     * would answer as somebody else, and not be heard. */
    return c->self != HM_NOBODY && m->to == c->self;
}

static bool is_request(enum msg_type type)
{
    return type == MSG_PREVOTE || type == MSG_PREPARE || type == MSG_ACCEPT || type == MSG_RENEW ||
           type == MSG_RELEASE || type == MSG_FREEZE;
}

/* A member that was silent is heard again: what waits for it need not wait longer. */
static void note_return(struct core *c, uint8_t slot)
{
    if (view_recent(&c->view, slot, c->now_ms - core_ttl_ms(c)) != NULL)
        return;
    c->ask_at_ms[slot] = hm_min_ms(c->ask_at_ms[slot], c->now_ms);
    c->stand_at_ms = hm_min_ms(c->stand_at_ms, c->now_ms);
}

/* How far the primary of an epoch was, never less than it once said. A holder that runs as the
 * primary is believed also when this member has not heard of its epoch or its timeline yet. */
void core_note_primary(struct core *c, uint8_t from, const struct gossip *g)
{
    const struct record *r = core_known(c);
    bool is_leading = g->copy == COPY_PRIMARY && g->is_holder && g->epoch >= r->epoch;
    bool has_led = r->epoch != 0 && from == r->holder && g->epoch == r->epoch &&
                   record_is_on_history(r, &g->at, g->began_epoch);

    if (g->epoch < c->seen_epoch || (!is_leading && !has_led))
        return;
    if (g->epoch > c->seen_epoch || g->at.offset > c->seen_offset)
        c->seen_offset = g->at.offset;
    if (g->epoch > c->seen_epoch)
        c->seen_timeline = 0;
    if (is_leading)
        c->seen_timeline = g->at.timeline;
    c->seen_epoch = g->epoch;
}

static void note_sender(struct core *c, const struct msg *m)
{
    core_note_primary(c, m->from, &m->gossip);
    note_return(c, m->from);
    if (m->ballot.counter > c->top_counter)
        c->top_counter = m->ballot.counter;
    view_note_gossip(&c->view, m->from, &m->gossip, c->now_ms);
}

/* Tells a member that lives in an old incarnation of the cluster that it is over. */
static void tell_incarnation(struct core *c, const struct msg *m)
{
    struct msg hint = { .type = MSG_GOSSIP };

    if (m->type == MSG_GOSSIP)
        return;
    hint.to_incarnation = m->from_incarnation;
    core_send_to(c, HM_NOBODY, &hint);
}

void core_take_message(struct core *c, const struct msg *m)
{
    if (m->cluster != c->config.cluster || m->service != c->config.service)
        return;
    if (m->from_incarnation == c->config.incarnation)
        return; /* an echo */
    if (m->type == MSG_QUERY) {
        tell_record(c, m); /* whatever incarnation of the cluster the asker heard of last */
        return;
    }
    if (m->cluster_incarnation > c->cluster_incarnation) {
        /* A member that never accepted anything is not part of the old incarnation. */
        c->is_outdated = c->is_outdated || core_has_record(c);
        if (c->is_outdated)
            return;
        c->cluster_incarnation = m->cluster_incarnation;
    } else if (m->cluster_incarnation < c->cluster_incarnation) {
        tell_incarnation(c, m);
        return;
    }
    if (m->type == MSG_RECORD) {
        take_record(c, m);
    } else if (is_impostor(c, m)) {
        refuse_stranger(c, m);
        if (is_none_of_us(c, m))
            tell_record(c, m);
    } else if (is_request(m->type)) {
        if (!is_for_this_voter(c, m)) {
            ask_for_record(c, m);
            return;
        }
        note_sender(c, m);
        take_request(c, m);
    } else if (m->to_incarnation == 0 || m->to_incarnation == c->config.incarnation) {
        note_sender(c, m);
        if (is_none_of_us(c, m))
            tell_record(c, m);
        if (m->type == MSG_YIELD)
            c->is_yielded_to = true;
        else
            note_answer(c, m->from, m);
    }
}
