#include "core/voter.h"

#include <string.h>

void voter_init(struct voter *v, const struct voter_state *state, hm_ms now_ms)
{
    memset(v, 0, sizeof *v);
    if (state != NULL)
        v->durable = *state;
    v->is_blank = state == NULL;
    v->born_ms = now_ms;
    v->lease.member = HM_NOBODY;
    v->released.member = HM_NOBODY;
    v->just_promised.member = HM_NOBODY;
    v->small_ttl_since_ms = HM_NEVER;
}

/* Times are whole milliseconds, rounded down, of receipt and of now. "Not before the millisecond
 * after" therefore never ends a lease early. */
bool voter_has_lease_of_another(const struct voter *v, uint8_t member, hm_ms now_ms)
{
    return now_ms < voter_lease_end(v, member);
}

hm_ms voter_lease_end(const struct voter *v, uint8_t member)
{
    if (v->lease.member == HM_NOBODY || v->lease.member == member)
        return 0;
    return v->lease.until_ms + 1;
}

hm_ms voter_quarantine_end(const struct voter *v)
{
    return v->durable.max_ttl_ms > 0 ? v->born_ms + v->durable.max_ttl_ms + 1 : 0;
}

static bool is_in_quarantine(const struct voter *v, uint8_t sender, hm_ms now_ms)
{
    bool is_accepted_holder =
        v->durable.accepted.counter != 0 && v->durable.record.holder == sender;

    return !is_accepted_holder && now_ms < voter_quarantine_end(v);
}

static bool has_released(const struct voter *v, const struct msg *m)
{
    return v->released.member == m->from && ballot_compare(&m->ballot, &v->released.ballot) <= 0;
}

static void refuse(struct msg *answer, enum refusal why, hm_ms remaining_ms)
{
    answer->refusal = why;
    answer->remaining_ms = remaining_ms;
}

/* What every answer tells: the promise, and what is accepted. */
static void show_state(const struct voter *v, struct msg *answer)
{
    answer->promised = v->durable.promised;
    answer->accepted = v->durable.accepted;
    answer->record = v->durable.accepted.counter != 0 ? &v->durable.record : NULL;
}

/* Would PREPARE be granted? The verdict goes into the answer. */
static bool may_promise(const struct voter *v, const struct msg *m, hm_ms now_ms,
                        struct msg *answer)
{
    if (voter_has_lease_of_another(v, m->from, now_ms))
        refuse(answer, REFUSE_LIVE_LEASE, voter_lease_end(v, m->from) - now_ms);
    else if (is_in_quarantine(v, m->from, now_ms))
        refuse(answer, REFUSE_QUARANTINE, voter_quarantine_end(v) - now_ms);
    else if (ballot_compare(&m->ballot, &v->durable.promised) <= 0)
        refuse(answer, REFUSE_HIGHER_BALLOT, 0);
    else
        return true;
    return false;
}

static enum voter_says write_promise(struct voter *v, const struct msg *m)
{
    v->pending = v->durable;
    v->pending.promised = m->ballot;
    v->is_writing = true;
    v->request = *m;
    v->request.record = NULL;
    return VOTER_WRITES;
}

static enum voter_says take_prevote(const struct voter *v, const struct msg *m, hm_ms now_ms,
                                    struct msg *answer)
{
    hm_ms heartbeat_ms = v->durable.record.heartbeat_ms;

    if (may_promise(v, m, now_ms, answer) && v->just_promised.member != HM_NOBODY &&
        v->just_promised.member != m->from && now_ms < v->just_promised.at_ms + heartbeat_ms)
        refuse(answer, REFUSE_JUST_PROMISED, v->just_promised.at_ms + heartbeat_ms - now_ms);
    return VOTER_ANSWERS;
}

/* Others are not encouraged for a heartbeat; a candidate that is still at it asks again. */
static void note_promised(struct voter *v, uint8_t member, hm_ms now_ms)
{
    v->just_promised.member = member;
    v->just_promised.at_ms = now_ms;
}

static enum voter_says take_prepare(struct voter *v, const struct msg *m, hm_ms now_ms,
                                    struct msg *answer)
{
    /* The answer was lost: the promise stands, and nothing was accepted since. */
    if (!voter_has_lease_of_another(v, m->from, now_ms) &&
        ballot_compare(&m->ballot, &v->durable.promised) == 0 &&
        ballot_compare(&m->ballot, &v->durable.accepted) > 0) {
        note_promised(v, m->from, now_ms);
        return VOTER_ANSWERS;
    }
    return may_promise(v, m, now_ms, answer) ? write_promise(v, m) : VOTER_ANSWERS;
}

/* LOG_FREEZE comes from a candidate that a majority promised: no other lease can be valid, so a
 * lease that this voter still sees is no reason to refuse. At or below what is accepted it is
 * history and stays unanswered. The same ballot may come again: it is promised already. */
static enum voter_says take_freeze(struct voter *v, const struct msg *m, struct msg *answer)
{
    int order = ballot_compare(&m->ballot, &v->durable.promised);

    if (ballot_compare(&m->ballot, &v->durable.accepted) <= 0)
        return VOTER_SILENT;
    if (order < 0)
        refuse(answer, REFUSE_HIGHER_BALLOT, 0);
    return order > 0 ? write_promise(v, m) : VOTER_ANSWERS;
}

static void grant_lease(struct voter *v, const struct msg *m, hm_ms now_ms)
{
    hm_ms until_ms = now_ms + m->ttl_ms;

    /* Neither a shorter ttl, nor an ACCEPT that was being written while its holder's RENEWs were
     * answered, may shorten what was promised before. */
    if (v->lease.member == m->from)
        until_ms = hm_max_ms(until_ms, v->lease.until_ms);
    v->lease.member = m->from;
    v->lease.ballot = m->ballot;
    v->lease.until_ms = until_ms;
    if (m->ttl_ms >= v->durable.max_ttl_ms) {
        v->small_ttl_since_ms = HM_NEVER;
    } else if (v->small_ttl_since_ms == HM_NEVER || m->ttl_ms > v->small_ttl_ms) {
        v->small_ttl_since_ms = now_ms;
        v->small_ttl_ms = m->ttl_ms;
    }
}

/* R7: the longest ttl is durable before it is granted, and comes down only after it has passed
 * with nothing but shorter ones granted. */
static hm_ms next_max_ttl(const struct voter *v, hm_ms ttl_ms, hm_ms now_ms)
{
    bool may_come_down = v->small_ttl_since_ms != HM_NEVER &&
                         now_ms > v->small_ttl_since_ms + v->durable.max_ttl_ms &&
                         now_ms > v->born_ms + v->durable.max_ttl_ms;

    return may_come_down ? hm_max_ms(v->small_ttl_ms, ttl_ms)
                         : hm_max_ms(v->durable.max_ttl_ms, ttl_ms);
}

static enum voter_says take_accept(struct voter *v, const struct msg *m, hm_ms now_ms,
                                   struct msg *answer)
{
    int order =
        record_order(&m->ballot, m->version, &v->durable.accepted, v->durable.record.version);

    if (has_released(v, m))
        refuse(answer, REFUSE_RELEASED, 0);
    else if (ballot_compare(&m->ballot, &v->durable.promised) < 0)
        refuse(answer, REFUSE_HIGHER_BALLOT, 0);
    else if (order < 0)
        refuse(answer, REFUSE_OTHER_RECORD, 0);
    else if (order == 0)
        grant_lease(v, m, now_ms); /* it is on disk already: R1, the same record for ever */
    if (answer->refusal != REFUSE_NOTHING || order == 0)
        return VOTER_ANSWERS;

    v->pending = v->durable;
    v->pending.promised = m->ballot;
    v->pending.accepted = m->ballot;
    v->pending.record = *m->record;
    v->pending.max_ttl_ms = next_max_ttl(v, m->ttl_ms, now_ms);
    v->is_writing = true;
    v->request = *m;
    v->request.record = NULL;
    return VOTER_WRITES;
}

static enum voter_says take_renew(struct voter *v, const struct msg *m, hm_ms now_ms,
                                  struct msg *answer)
{
    if (has_released(v, m))
        refuse(answer, REFUSE_RELEASED, 0);
    else if (ballot_compare(&m->ballot, &v->durable.promised) < 0)
        refuse(answer, REFUSE_HIGHER_BALLOT, 0);
    else if (record_order(&m->ballot, m->version, &v->durable.accepted,
                          v->durable.record.version) != 0)
        refuse(answer, REFUSE_OTHER_RECORD, 0);
    else if (m->ttl_ms > v->durable.max_ttl_ms)
        refuse(answer, REFUSE_TTL, 0);
    else
        grant_lease(v, m, now_ms);
    answer->record = NULL; /* a holder knows its own record */
    return VOTER_ANSWERS;
}

static enum voter_says take_release(struct voter *v, const struct msg *m)
{
    if (v->lease.member == m->from && ballot_compare(&v->lease.ballot, &m->ballot) <= 0)
        v->lease.member = HM_NOBODY;
    if (v->released.member != m->from || ballot_compare(&v->released.ballot, &m->ballot) < 0) {
        v->released.member = m->from;
        v->released.ballot = m->ballot;
    }
    return VOTER_SILENT;
}

static enum msg_type answer_type(enum msg_type request)
{
    switch ((int)request) {
    case MSG_PREVOTE:
        return MSG_PREVOTE_ANSWER;
    case MSG_PREPARE:
        return MSG_PREPARE_ANSWER;
    case MSG_ACCEPT:
        return MSG_ACCEPT_ANSWER;
    case MSG_RENEW:
        return MSG_RENEW_ANSWER;
    default:
        return MSG_FREEZE_ANSWER;
    }
}

static void begin_answer(const struct msg *m, struct msg *answer)
{
    memset(answer, 0, sizeof *answer);
    answer->type = answer_type(m->type);
    answer->ballot = m->ballot;
    answer->version = m->version;
    answer->seq = m->seq;
    answer->ttl_ms = m->ttl_ms;
}

/* R3: while a change is written everything waits, except the renewals of a holder whose own
 * ACCEPT is being written: its lease must not suffer from a slow disk. */
static bool must_wait(const struct voter *v, const struct msg *m)
{
    if (!v->is_writing)
        return false;
    return m->type != MSG_RENEW || v->request.type != MSG_ACCEPT || v->request.from != m->from;
}

enum voter_says voter_take(struct voter *v, const struct msg *m, hm_ms now_ms,
                           struct msg *ret_answer)
{
    if (v->is_blank)
        return VOTER_SILENT;
    if (must_wait(v, m))
        return VOTER_LATER;
    begin_answer(m, ret_answer);
    show_state(v, ret_answer);
    switch ((int)m->type) {
    case MSG_PREVOTE:
        return take_prevote(v, m, now_ms, ret_answer);
    case MSG_PREPARE:
        return take_prepare(v, m, now_ms, ret_answer);
    case MSG_ACCEPT:
        return take_accept(v, m, now_ms, ret_answer);
    case MSG_RENEW:
        return take_renew(v, m, now_ms, ret_answer);
    case MSG_RELEASE:
        return take_release(v, m);
    case MSG_FREEZE:
        return take_freeze(v, m, ret_answer);
    default:
        return VOTER_SILENT;
    }
}

void voter_written(struct voter *v, bool is_ok, hm_ms now_ms, struct msg *ret_answer)
{
    v->is_writing = false;
    begin_answer(&v->request, ret_answer);
    if (!is_ok) {
        show_state(v, ret_answer);
        refuse(ret_answer, REFUSE_DISK, 0);
        return;
    }
    v->durable = v->pending;
    show_state(v, ret_answer);
    if (v->request.type == MSG_ACCEPT) {
        grant_lease(v, &v->request, now_ms);
    } else {
        note_promised(v, v->request.from, now_ms);
    }
}
