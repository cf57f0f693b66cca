/* freeze.c - LOG_FREEZE on the own copy: promised, then proved, then answered (ARCHITECTURE 6, step
 * 4). */
#include "core/inner.h"

/* Frozen from the promise on, until a holder with a ballot not below it renews. */
bool core_is_frozen_by_promise(const struct core *c)
{
    if (c->freeze.ballot.counter == 0)
        return false;
    return !c->renewed.is_there || ballot_compare(&c->renewed.ballot, &c->freeze.ballot) < 0;
}

static void refuse_freeze(struct core *c)
{
    struct msg answer = { .type = MSG_FREEZE_ANSWER, .refusal = REFUSE_NO_COPY };

    answer.ballot = c->freeze.ballot;
    answer.seq = c->freeze.request.seq;
    answer.promised = c->voter.durable.promised;
    if (c->freeze.request.from == c->self)
        return;
    answer.to_incarnation = c->freeze.request.from_incarnation;
    core_send_to(c, c->freeze.request.from, &answer);
}

static void answer_freeze(struct core *c)
{
    struct msg answer = { .type = MSG_FREEZE_ANSWER };

    answer.ballot = c->freeze.ballot;
    answer.seq = c->freeze.request.seq;
    answer.promised = c->voter.durable.promised;
    answer.at = c->copy.at;
    answer.began_epoch = c->copy.began_epoch;
    answer.copy_id = c->copy.copy_id;
    if (c->freeze.request.from != c->self) {
        answer.to_incarnation = c->freeze.request.from_incarnation;
        core_send_to(c, c->freeze.request.from, &answer);
        return;
    }
    if (c->state != ST_FREEZE || ballot_compare(&c->mine, &c->freeze.ballot) != 0)
        return;
    c->answers[c->self] = (struct freeze_answer){ .is_there = true,
                                                  .at = answer.at,
                                                  .began_epoch = answer.began_epoch,
                                                  .copy_id = answer.copy_id };
    c->granted |= core_slot_bit(c->self);
    c->incarnations[c->self] = c->config.incarnation;
    c->has_news = true;
}

static bool is_freezable(const struct core *c)
{
    return c->copy.state == COPY_STANDBY && !c->wants_rebuild && !core_is_forged(c);
}

/* How far the log of a dead server goes is told with the refusal: a candidate may fetch the rest.
 */
static bool is_end_being_read(const struct core *c)
{
    return c->config.kind == SERVICE_POSTGRES && c->copy.state == COPY_DOWN && !c->copy.is_final;
}

/* A copy with no certain position, or one that is or was the primary, has nothing to answer. */
void core_want_frozen(struct core *c)
{
    struct core_effect *e;

    if (core_is_operating(c, DO_RESCUE))
        return; /* the log still grows */
    if (!is_freezable(c)) {
        if (is_end_being_read(c))
            return;
        if (c->freeze.must_answer && c->copy.state != COPY_UNKNOWN &&
            c->copy.state != COPY_STARTING) {
            c->freeze.must_answer = false;
            refuse_freeze(c);
        }
        return;
    }
    if (!c->freeze.is_frozen || c->freeze.server_id != c->copy.server_id ||
        c->copy.follows != HM_NOBODY || c->copy.is_streaming) {
        c->freeze.is_frozen = false;
        e = core_ask_copy(c, DO_FREEZE, c->freeze.ballot.counter);
        if (e != NULL)
            e->copy.ballot = c->freeze.ballot;
        return;
    }
    if (!c->freeze.must_answer || !c->copy.is_final)
        return;
    c->freeze.must_answer = false;
    answer_freeze(c);
}
